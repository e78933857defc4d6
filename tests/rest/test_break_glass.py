"""`POST /api/break-glass`: who may, what must be said, signing in again, one answer for unknown and hidden, three a day."""

from __future__ import annotations

import json
import re
import threading
import uuid
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from consent import emergency_reviews
from consent.models import BreakGlassGrant, EmergencyCase, EmergencyReview, SupervisorLeave
from hie.audit.models import AuditEvent
from hie.directory import queries, registration
from hie.exchange import access, emergency, emergency_answers, emergency_review
from hie.exchange.access import Staff
from hie.exchange.errors import AccessRefused
from hie.outbox.models import OutboxMessage
from hie.standards.facts import Operation
from hie.trust import client_keys, hub_keys
from hie.trust.assertions import ASSERTION_TYPE
from hie.trust.models import UsedAssertion
from patients import identifiers, linking
from tests.directory.forms import clinic, file, hospital
from tests.exchange import world
from tests.leaks.test_cost import person as another
from tests.trust import conftest as trust

pytestmark = pytest.mark.django_db(transaction=True)

BTG = ["TREAT", "HPAYMT", "BTG"]
TEXT = "Found in the street, cannot answer"


@pytest.fixture(autouse=True)
def place(settings: Any, tmp_path: Any) -> None:
    settings.BASE_URL = "https://hub.example"
    settings.HUB_KEYS_DIR = tmp_path / "keys"
    settings.ALLOWED_HOSTS = ["*"]
    settings.GUESSING_PER_MINUTE = 100_000
    hub_keys._held.clear()
    client_keys.forget()
    register()


def register(**changes: Any) -> None:
    """Clinic and hospital, both with emergency access, the clinic changed as said."""
    own = {"purposes": BTG, "scopes": ["system/*.cruds"]}
    registration.apply(file(clinic(**own | changes), hospital(users=[], **own)))


@pytest.fixture
def rosa() -> str:
    return world.feed_rosa("P1")


def signed_in(jti: str = "", **said: Any) -> tuple[str, str]:
    """A token of somebody at the clinic, and the jti of the assertion that got it."""
    jti = jti or str(uuid.uuid4())
    encoded = trust.assertion(extensions={"hl7-b2b": trust.b2b(**{"purpose_of_use": ["BTG"]} | said)}, jti=jti)
    form = {
        "grant_type": "client_credentials",
        "scope": "system/*.cruds",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": encoded,
    }
    answer = Browser().post("/oauth/token", urlencode(form), content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 200, answer.content
    return answer.json()["access_token"], jti


def post(token: str, body: Any) -> Any:
    raw = body if isinstance(body, str) else json.dumps(body)
    return Browser().post(
        "/api/break-glass", data=raw, content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {token}"
    )


def said(person: Any, jti: str, **changes: Any) -> dict[str, Any]:
    plain = isinstance(person, str) and not set("/|") & set(person)
    patient = {"reference": f"Patient/{person}"} if plain else person
    whole = {
        "patient": patient,
        "reason": "UNCONSCIOUS",
        "text": TEXT,
        "statement_accepted": True,
        "step_up": jti,
    } | changes
    return {name: value for name, value in whole.items() if value is not None}


def declared(person: str, text: str = TEXT, **who: Any) -> Any:
    """One emergency, with a fresh sign-in of its own."""
    token, jti = signed_in(**who)
    return post(token, said(person, jti, text=text))


def test_a_clinician_opens_a_grant_that_lets_him_in_and_leaves_case_notice_and_trace(rosa: str) -> None:
    token, jti = signed_in()
    answer = post(token, said(rosa, jti))
    assert answer.status_code == 201, answer.content
    body = answer.json()
    assert set(body) == {"id", "start", "end", "status"}
    grant = BreakGlassGrant.objects.get()
    assert (body["id"], body["status"], grant.user, grant.organization) == (
        str(grant.pk), "active", "Practitioner/ada", "org-clinic",
    )  # fmt: skip
    assert grant.end - grant.start == timedelta(hours=4)
    review = EmergencyReview.objects.get()
    assert (review.grant_id, review.status, review.due_at - review.opened_at) == (grant.pk, "open", timedelta(hours=72))
    assert OutboxMessage.objects.get(topic="emergency").key == str(grant.pk)
    (event,) = AuditEvent.objects.filter(kind="break-glass")
    assert (str(event.person_id), event.outcome, event.detail["grant"]) == (rosa, 0, str(grant.pk))
    access.gate(world.caller(purpose="BTG"), Operation.QUERY)
    with pytest.raises(AccessRefused):
        access.gate(world.caller(purpose="BTG", user_id="Practitioner/bo"), Operation.QUERY)


@pytest.mark.parametrize(
    "named",
    [
        lambda person: {"reference": f"Patient/{person}"},
        lambda person: f"Patient/{person}",
        lambda person: {"identifier": {"system": f"urn:oid:{world.HOSPITAL_AUTHORITY}", "value": "P1"}},
        lambda person: f"urn:oid:{world.HOSPITAL_AUTHORITY}|P1",
    ],
)
def test_the_patient_may_be_named_in_four_ways(rosa: str, named: Any) -> None:
    token, jti = signed_in()
    assert post(token, said(named(rosa), jti)).status_code == 201


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({"text": "help"}, "text", id="short"),
        pytest.param({"text": "help" + " " * 30}, "text", id="short-with-blanks"),
        pytest.param({"text": "help" + "\u200b" * 30}, "text", id="short-with-what-cannot-be-seen"),
        pytest.param({"text": 123456789012345678}, "text", id="number-as-text"),
        pytest.param({"text": "x" * 2001}, "text", id="long"),
        pytest.param({"text": "half a character \ud800 here"}, "text", id="half-a-character"),
        pytest.param({"text": "a zero \x00 in the middle of it"}, "text", id="zero"),
        pytest.param({"reason": "CURIOUS"}, "reason", id="unknown-code"),
        pytest.param({"reason": "unconscious"}, "reason", id="other-case"),
        pytest.param({"reason": ["UNCONSCIOUS"]}, "reason", id="list-of-codes"),
        pytest.param({"statement_accepted": False}, "statement_accepted", id="not-accepted"),
        pytest.param({"statement_accepted": "true"}, "statement_accepted", id="text-for-true"),
        pytest.param({"statement_accepted": 1}, "statement_accepted", id="one-for-true"),
        pytest.param({"step_up": "never-seen"}, "step_up", id="unknown-step-up"),
        pytest.param({"step_up": 7}, "step_up", id="number-for-step-up"),
        pytest.param({"step_up": None}, "step_up", id="no-step-up"),
        pytest.param({"patient": None}, "patient", id="no-patient"),
        pytest.param({"patient": 7}, "patient", id="number-for-patient"),
        pytest.param({"patient": {"reference": 7}}, "patient", id="number-for-reference"),
        pytest.param({"end": "2030-01-01T00:00:00Z"}, "end", id="unknown-member"),
    ],
)
def test_what_is_missing_or_wrong_is_named_and_nothing_is_opened(rosa: str, changes: Any, field: str) -> None:
    token, jti = signed_in()
    answer = post(token, said(rosa, jti, **changes))
    assert answer.status_code in (400, 422), answer.content
    if answer.status_code == 422:
        assert answer.json()["error"]["field"].split(".")[0] == field
    else:
        assert field == "text"  # not JSON in UTF-8
    assert not BreakGlassGrant.objects.exists()
    (event,) = AuditEvent.objects.filter(kind="break-glass")
    assert (event.outcome, event.user) == (4, "Practitioner/ada")
    assert post(token, said(rosa, jti)).status_code == 201, "a refusal uses up no step-up"


def test_a_code_that_is_none_stands_nowhere_in_the_clear(rosa: str) -> None:
    token, jti = signed_in()
    assert post(token, said(rosa, jti, reason="She took pills")).status_code == 422
    assert "pills" not in json.dumps(AuditEvent.objects.get(kind="break-glass").detail)


def test_a_member_named_with_half_a_character_is_refused_by_name(rosa: str) -> None:
    token, jti = signed_in()
    body = json.dumps(said(rosa, jti))[:-1] + ', "\\ud800": 1}'
    answer = post(token, body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "\\ud800")


def test_a_body_longer_than_any_is_refused_as_too_long(rosa: str) -> None:
    token, jti = signed_in()
    answer = post(token, json.dumps(said(rosa, jti)) + " " * (3 << 20))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too-long")


@pytest.mark.parametrize(
    ("who", "status"),
    [
        pytest.param({"purpose_of_use": ["TREAT"]}, 201, id="treating"),
        pytest.param({"subject_role": "nurse"}, 201, id="nurse"),
        pytest.param({"subject_role": "clerk"}, 403, id="clerk"),
        pytest.param({"subject_role": "pharmacist"}, 403, id="role-without-emergencies"),
        pytest.param({"subject_role": "wizard"}, 403, id="unknown-role"),
        pytest.param({"purpose_of_use": ["HPAYMT"]}, 403, id="paying"),
        pytest.param({"purpose_of_use": ["POPHLTH"]}, 403, id="many-patients"),
        pytest.param({"subject_id": "device/scanner"}, 403, id="device-in-small-letters"),
        pytest.param({"subject_id": "Practitioner/ada/2"}, 403, id="more-than-an-id"),
        pytest.param({"subject_id": "Practitioner/a\u200bda"}, 403, id="id-with-what-cannot-be-seen"),
        pytest.param({"subject_id": "Practitioner/\uff41da"}, 403, id="id-in-letters-that-look-alike"),
        pytest.param({"subject_id": "Practitioner/\u0430da"}, 403, id="one-letter-of-another-script"),
        pytest.param({"subject_id": "Practitioner/ada\ufe0f"}, 403, id="a-mark-that-cannot-be-seen"),
        pytest.param({"subject_id": "Practitioner/ada\u3164"}, 403, id="a-letter-that-cannot-be-seen"),
        pytest.param({"subject_id": "https://ehr.example/fhir/Practitioner/ada/_history/2"}, 403, id="a-version"),
        pytest.param({"subject_id": "https://ehr.example/fhir/Practitioner/ada"}, 201, id="an-address"),
        pytest.param({"subject_id": "Practitioner/\u0430\u0434\u0430"}, 201, id="another-script"),
        pytest.param({"subject_id": "ada"}, 201, id="id-alone"),
        pytest.param({"subject_id": "Device/scanner"}, 403, id="device"),
        pytest.param({"subject_id": "Patient/x", "subject_role": "physician"}, 403, id="patient-as-physician"),
    ],
)
def test_only_a_clinician_at_the_work_of_treating_may(rosa: str, who: Any, status: int) -> None:
    token, jti = signed_in(**who)
    for person in (rosa, str(uuid.uuid4())):
        answer = post(token, said(person, jti))
        assert answer.status_code == (status if person == rosa or status == 403 else 404), answer.content
        jti = jti if status == 403 else signed_in(**who)[1]


def test_without_emergency_access_in_the_agreement_nobody_may(rosa: str) -> None:
    register(purposes=["TREAT"])
    token, jti = signed_in(purpose_of_use=["TREAT"])
    answer = post(token, said(rosa, jti))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    assert AuditEvent.objects.get(kind="break-glass").rule == "G4"


def test_unknown_hidden_and_malformed_patients_are_one_answer(rosa: str) -> None:
    silent = {"id": "S1", "recipients": ["org-clinic"], "absolute": True}
    own = {"purposes": BTG, "scopes": ["system/*.cruds"]}
    registration.apply(file(clinic(**own), hospital(users=[], release_policy=[silent], **own)))
    answers = set()
    for person in (
        rosa,
        str(uuid.uuid4()),
        "not-an-id",
        {"identifier": {"system": f"urn:oid:{world.HOSPITAL_AUTHORITY}", "value": "P1"}},
        {"identifier": {"system": f"urn:oid:{world.HOSPITAL_AUTHORITY}", "value": "P2"}},
        {"identifier": {"system": "urn:oid:2.999.77", "value": "P1"}},
    ):
        token, jti = signed_in()
        answer = post(token, said(person, jti))
        headers = {name: value for name, value in answer.headers.items() if name.lower() != "x-request-id"}
        answers.add((answer.status_code, answer.content, tuple(sorted(headers.items()))))
    assert len(answers) == 1
    assert answers.pop()[0] == 404
    assert not BreakGlassGrant.objects.exists()
    assert AuditEvent.objects.filter(kind="break-glass", person_id=rosa, outcome=4).count() == 2


@pytest.mark.parametrize("by", ["id", "number"])
def test_an_unknown_patient_costs_as_many_statements_as_a_hidden_one(rosa: str, by: str) -> None:
    silent = {"id": "S1", "recipients": ["org-clinic"], "absolute": True}
    own = {"purposes": BTG, "scopes": ["system/*.cruds"]}
    registration.apply(file(clinic(**own), hospital(users=[], release_policy=[silent], **own)))
    number = f"urn:oid:{world.HOSPITAL_AUTHORITY}|"
    hidden, unknown = (rosa, str(uuid.uuid4())) if by == "id" else (f"{number}P1", f"{number}P2")
    token, jti = signed_in()
    assert post(token, said(str(uuid.uuid4()), jti)).status_code == 404  # reads what all share: policy and law
    cost: dict[tuple[str, int], list[str]] = {}
    for turn in range(3):
        for person in (hidden, unknown):
            token, jti = signed_in()
            with CaptureQueriesContext(connection) as seen:
                assert post(token, said(person, jti)).status_code == 404
            cost[person, turn] = [re.sub(r"'[^']*'|\d+", "?", one["sql"]) for one in seen.captured_queries]
    # The first time too, but for the key under which the patient's own trace of the attempt is kept.
    assert len(cost[hidden, 1]) == len(cost[unknown, 1])
    assert len(cost[hidden, 2]) == len(cost[unknown, 2])
    assert 0 <= len(cost[hidden, 0]) - len(cost[unknown, 0]) <= 2


def test_a_step_up_is_of_this_user_just_now_and_opens_one_grant(rosa: str) -> None:
    token, jti = signed_in()
    _, of_another = signed_in(subject_id="Practitioner/bo")
    _, old = signed_in()
    UsedAssertion.objects.filter(jti_digest=_digest(old)).update(accepted_at=timezone.now() - timedelta(minutes=5))
    for stale in (of_another, old):
        answer = post(token, said(rosa, stale))
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, "step_up")
    assert post(token, said(rosa, jti)).status_code == 201
    again = post(token, said(rosa, jti, text="Another emergency, hours later"))
    assert (again.status_code, again.json()["error"]["field"]) == (422, "step_up")


def test_a_step_up_at_one_organization_is_none_at_another_of_the_same_client(rosa: str) -> None:
    token, jti = signed_in()
    UsedAssertion.objects.filter(jti_digest=_digest(jti)).update(organization="org-clinic-ward")
    answer = post(token, said(rosa, jti))
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "step_up")


def _digest(jti: str) -> bytes:
    from hie.trust.assertions import _digest as digest

    return digest("org-clinic", jti)


def test_a_grant_is_not_renewed_with_the_words_of_the_last(rosa: str) -> None:
    assert declared(rosa).status_code == 201
    answer = declared(rosa, f"  {TEXT.upper()} ")
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "text")
    assert declared(rosa, "Her heart has stopped since").status_code == 201


def test_nor_by_naming_the_patient_otherwise(rosa: str) -> None:
    assert declared(rosa).status_code == 201
    answer = declared(f"urn:oid:{world.HOSPITAL_AUTHORITY}|P1")
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "text")


def test_the_fourth_of_a_day_is_refused_whomever_it_is_for_and_another_user_is_not(rosa: str) -> None:
    for number in range(3):
        assert declared(rosa, f"{TEXT}, number {number}").status_code == 201
    for person in (rosa, str(uuid.uuid4())):
        answer = declared(person, "A fourth emergency of this day")
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, "user")
    assert declared(rosa, subject_id="Practitioner/bo").status_code == 201


@pytest.mark.parametrize("spelled", ["Practitioner/ADA", "practitioner/ada", "ada", "PractitionerRole/Ada"])
def test_a_user_is_counted_and_stopped_however_the_id_is_written(rosa: str, spelled: str) -> None:
    for number, name in enumerate(("Practitioner/ada", spelled, "Practitioner/ada")):
        assert declared(rosa, f"{TEXT}, number {number}", subject_id=name).status_code == 201
    answer = declared(rosa, "A fourth emergency of this day", subject_id=spelled)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "user")
    officer = Staff(user_id="ida", roles=frozenset({"privacy-officer"}))
    review = EmergencyReview.objects.filter(grant__user="Practitioner/ada")[0]
    emergency_review.claim(review.pk, officer)
    emergency_review.decide(review.pk, "not-justified", officer, "No emergency that day")
    assert set(BreakGlassGrant.objects.values_list("status", flat=True)) == {"revoked"}
    BreakGlassGrant.objects.update(start=F("start") - timedelta(days=2), end=F("end") - timedelta(days=2))
    answer = declared(rosa, "Another emergency of another day", subject_id=spelled)
    assert answer.json()["error"]["message"] == "emergency access of this user is suspended"
    assert declared(rosa, "Another emergency of another day", subject_id="Practitioner/adam").status_code == 201


def leave(rosa: str, user: str = "Practitioner/ada", text: str = "Many injured at once", **who: Any) -> Any:
    """A colleague of Ada's allows one more."""
    token, jti = signed_in(**{"subject_id": "Practitioner/bo", "subject_name": "Bo Haze"} | who)
    body = json.dumps({"user": user, "text": text, "step_up": jti})
    return Browser().post(
        "/api/break-glass/leaves", data=body, content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {token}"
    )


def test_a_supervisor_allows_one_more_and_no_second(rosa: str) -> None:
    for number in range(3):
        assert declared(rosa, f"{TEXT}, number {number}").status_code == 201
    answer = leave(rosa)
    assert answer.status_code == 201, answer.content
    assert set(answer.json()) == {"user", "start", "end"}
    again = leave(rosa)
    assert (again.status_code, again.json()["error"]["field"]) == (422, "user")
    assert declared(rosa, "A fourth emergency of this day").status_code == 201
    assert declared(rosa, "A fifth emergency of this day").status_code == 422
    fourth = BreakGlassGrant.objects.get(text="A fourth emergency of this day")
    assert (fourth.leave.given_by, fourth.leave.text) == ("Practitioner/bo", "Many injured at once")
    event = AuditEvent.objects.get(kind="break-glass", action="U", outcome=0)
    assert (event.user, event.person_id, event.detail["for"]) == ("Practitioner/bo", None, "Practitioner/ada")


def test_who_was_allowed_more_by_a_colleague_allows_him_none_that_day_nor_who_has_opened_three(rosa: str) -> None:
    for number in range(3):
        assert declared(rosa, f"{TEXT}, number {number}").status_code == 201
    assert leave(rosa).status_code == 201
    for number in range(3):
        assert declared(rosa, f"Of Bo's, number {number}", subject_id="Practitioner/bo").status_code == 201
    back = leave(rosa, "Practitioner/bo", subject_id="Practitioner/ada", subject_name="Ada Moor")
    assert back.json()["error"]["message"] == "who has opened three today himself allows none to others"
    BreakGlassGrant.objects.filter(user="Practitioner/ada").update(
        start=F("start") - timedelta(days=1), end=F("end") - timedelta(days=1)
    )
    back = leave(rosa, "Practitioner/bo", subject_id="Practitioner/ada", subject_name="Ada Moor")
    assert back.json()["error"]["message"] == "who was allowed one by this user today allows him none"
    other = leave(rosa, "Practitioner/bo", subject_id="Practitioner/cy", subject_name="Cy Doe")
    assert other.status_code == 201, other.content
    SupervisorLeave.objects.filter(user="Practitioner/ada").update(
        given_at=F("given_at") - timedelta(days=1), ends_at=F("ends_at") - timedelta(days=1)
    )
    assert declared(rosa, "A fourth emergency of Bo's day", subject_id="Practitioner/bo").status_code == 201
    back = leave(rosa, "Practitioner/bo", subject_id="Practitioner/ada", subject_name="Ada Moor")
    assert back.status_code == 201, back.content


def test_a_user_is_allowed_three_more_of_a_day_and_no_fourth_whoever_allows_it(rosa: str) -> None:
    for number in range(3):
        assert declared(rosa, f"{TEXT}, number {number}").status_code == 201
    for number, name in enumerate(("Bo Haze", "Cy Doe", "Di Lens")):
        by = {"subject_id": f"Practitioner/{name[:2].casefold()}", "subject_name": name}
        assert leave(rosa, **by).status_code == 201
        assert declared(rosa, f"One more of many, number {number}").status_code == 201
    last = leave(rosa, subject_id="Practitioner/em", subject_name="Em North")
    assert last.json()["error"]["message"] == "this user has been allowed three more today"


@pytest.mark.parametrize("name", ["Ada Moor", "Dr. Moor, Ada", "ADA MARIA MOOR"])
def test_nobody_supervises_himself_under_another_id(rosa: str, name: str) -> None:
    for number in range(3):
        assert declared(rosa, f"{TEXT}, number {number}").status_code == 201
    answer = leave(rosa, subject_id="Practitioner/a-moor", subject_name=name)
    assert (answer.status_code, answer.json()["error"]["message"]) == (422, "nobody is his own supervisor")
    assert leave(rosa, subject_id="Practitioner/a-moor", subject_name="Adam Moor").status_code == 201


def test_a_leave_that_is_not_used_in_time_opens_nothing(rosa: str) -> None:
    for number in range(3):
        assert declared(rosa, f"{TEXT}, number {number}").status_code == 201
    assert leave(rosa).status_code == 201
    hours = timedelta(hours=5)
    SupervisorLeave.objects.update(given_at=F("given_at") - hours, ends_at=F("ends_at") - hours)
    assert declared(rosa, "A fourth emergency of this day").status_code == 422


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        pytest.param({"subject_id": "practitioner/ADA"}, 422, "user", id="oneself"),
        pytest.param({"subject_role": "clerk"}, 403, None, id="who-may-open-none"),
        pytest.param({"text": "please"}, 422, "text", id="no-reason"),
        pytest.param({"text": "half a character \ud800 here"}, 422, "text", id="half-a-character"),
        pytest.param({"user": "Practitioner/ada/2"}, 422, "user", id="no-id"),
    ],
)
def test_nobody_allows_more_to_himself_nor_without_right_or_reason(
    rosa: str, changes: Any, status: int, field: str | None
) -> None:
    answer = leave(rosa, **changes)
    assert answer.status_code in (400, status), answer.content
    if answer.status_code == status:
        assert answer.json()["error"]["field"] == field
    assert not SupervisorLeave.objects.exists()


def test_who_is_suspended_allows_nothing_and_a_used_step_up_neither(rosa: str) -> None:
    assert leave(rosa).json()["error"]["message"] == "this user has not opened three today"
    for number in range(3):
        assert declared(rosa, f"{TEXT}, number {number}").status_code == 201
    not_justified(rosa, subject_id="Practitioner/bo")
    assert leave(rosa).json()["error"]["message"] == "emergency access of this user is suspended"
    token, jti = signed_in(subject_id="Practitioner/cy", subject_name="Cy Doe")
    assert post(token, said(rosa, jti)).status_code == 201
    body = json.dumps({"user": "Practitioner/ada", "text": "Many injured at once", "step_up": jti})
    answer = Browser().post(
        "/api/break-glass/leaves", data=body, content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {token}"
    )
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "step_up")


def not_justified(rosa: str, **who: Any) -> EmergencyReview:
    """An emergency that was none, as the exchange's officer found."""
    assert declared(rosa, **who).status_code == 201
    officer = Staff(user_id="ida", roles=frozenset({"privacy-officer"}))
    review = EmergencyReview.objects.order_by("-pk")[0]
    emergency_review.claim(review.pk, officer)
    emergency_review.decide(review.pk, "not-justified", officer, "She looked at what she should not have")
    return review


def quality(**who: Any) -> str:
    """A token of the clinic's quality office."""
    said = {"subject_id": "Practitioner/quinn", "subject_role": "quality", "purpose_of_use": ["HQUALIMP"]}
    return signed_in(**said | who)[0]


def cases(token: str) -> Any:
    return Browser().get("/api/break-glass/cases", HTTP_AUTHORIZATION=f"Bearer {token}")


def answers(token: str, grant: Any, text: str = "We have spoken with her") -> Any:
    return Browser().post(
        f"/api/break-glass/cases/{grant}/answer", data=json.dumps({"text": text}), content_type="application/json",
        HTTP_AUTHORIZATION=f"Bearer {token}",
    )  # fmt: skip


def test_a_participant_reads_what_it_answers_for_and_answers_once(rosa: str) -> None:
    register(purposes=[*BTG, "HOPERAT"])
    review = not_justified(rosa)
    (case,) = cases(quality()).json()["cases"]
    assert (case["id"], case["user"], case["status"], case["raised"], case["answer"]) == (
        str(review.grant_id), "Practitioner/ada", "open", False, None,
    )  # fmt: skip
    opened, due = (datetime.fromisoformat(case[name]) for name in ("opened_at", "due_at"))
    zone = queries.zone_of(queries.snapshot().jurisdiction_of("org-clinic"))
    begun, last = opened.astimezone(zone).date(), due.astimezone(zone)
    days = [begun + timedelta(days=n) for n in range(1, (last.date() - begun).days + 1)]
    assert (sum(day.weekday() < 5 for day in days), last.weekday() < 5, f"{last:%T}") == (10, True, "23:59:59")
    assert rosa not in json.dumps(case)
    assert "should not have" not in json.dumps(case)
    answer = answers(quality(), review.grant_id)
    assert (answer.status_code, answer.json()["status"], answer.json()["answer"]) == (
        200, "answered", "We have spoken with her",
    )  # fmt: skip
    assert answers(quality(), review.grant_id).status_code == 422
    (told,) = review.acts.filter(kind="answered")
    assert (told.actor, told.reason) == ("Practitioner/quinn", "We have spoken with her")
    assert {e.outcome for e in AuditEvent.objects.filter(kind="break-glass-reviewed", detail__act="answered")} == {0, 4}


def test_only_its_own_operations_read_and_answer_and_not_the_user_concerned(rosa: str) -> None:
    register(purposes=[*BTG, "HOPERAT"])
    review = not_justified(rosa)
    treating = signed_in(purpose_of_use=["TREAT"])[0]
    assert (cases(treating).status_code, answers(treating, review.grant_id).status_code) == (403, 403)
    concerned = answers(quality(subject_id="practitioner/ADA"), review.grant_id)
    assert (concerned.status_code, concerned.json()["error"]["field"]) == (422, "user")
    assert answers(quality(), uuid.uuid4()).status_code == 404
    assert answers(quality(), review.grant_id, "  ").status_code == 422
    BreakGlassGrant.objects.update(organization="org-hospital")
    EmergencyCase.objects.update(participant="org-hospital")
    assert cases(quality()).json() == {"cases": []}
    assert answers(quality(), review.grant_id).status_code == 404
    assert not review.acts.filter(kind="answered").exists()


def test_no_device_answers_a_case_and_no_patient_or_helper_reads_one(rosa: str) -> None:
    register(purposes=[*BTG, "HOPERAT"])
    review = not_justified(rosa)
    assert answers(quality(subject_id="Device/org-clinic"), review.grant_id).status_code == 403
    for changes in ({"user_id": "Patient/1"}, {"user_id": "RelatedPerson/sam"}, {"role": "patient"}, {"role": "proxy"}):
        asker = world.caller(**{"role": "quality", "purpose": "HQUALIMP"} | changes)
        with pytest.raises(AccessRefused):
            emergency_answers.cases(caller=asker)
        with pytest.raises(AccessRefused):
            emergency_answers.answer(review.grant_id, "We have spoken with her", caller=asker)
    assert not review.acts.filter(kind="answered").exists()
    assert emergency_answers.cases(caller=world.caller(role="quality", purpose="HQUALIMP"))


def test_whoever_may_declare_is_shown_the_statement_and_that_more_may_be_there_and_nobody_else(rosa: str) -> None:
    def asked(token: str) -> Any:
        return Browser().get("/api/break-glass", HTTP_AUTHORIZATION=f"Bearer {token}")

    answer = asked(signed_in()[0])
    assert answer.status_code == 200
    body = answer.json()
    assert (body["statement"], body["hint"]) == (emergency.STATEMENT, emergency.HINT)
    assert (body["min_text"], body["hours"], body["a_day"]) == (15, 4, 3)
    assert asked(signed_in(subject_role="clerk")[0]).status_code == 403
    # It names no patient, and asks for none: the answer cannot depend on one.
    assert asked(signed_in()[0]).json() == body


def test_a_merge_between_the_look_and_the_grant_is_declared_anew_for_whom_it_became(
    rosa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = another(3)
    merged: list[str] = []
    real = emergency.identifier_of

    def meanwhile(named: Any, person_id: Any) -> int:
        if not merged:
            merged.append(str(person_id))
            linking.merge(uuid.UUID(rosa), uuid.UUID(other), actor="steward", reason="same person")
        return real(named, person_id)

    monkeypatch.setattr(emergency, "identifier_of", meanwhile)
    token, jti = signed_in()
    answer = post(token, said(other, jti))
    assert answer.status_code == 201, answer.content
    assert str(identifiers.person_of_pk(BreakGlassGrant.objects.get().identifier_id)) == rosa


def test_of_many_at_once_three_are_opened_and_one_step_up_opens_one(rosa: str) -> None:
    tries = [signed_in() for _ in range(6)]
    same, once = signed_in(subject_id="Practitioner/bo")
    got: list[tuple[str, int]] = []
    together = threading.Barrier(10)

    def press(kind: str, token: str, body: Any) -> None:
        try:
            together.wait(20)
            got.append((kind, post(token, body).status_code))
        finally:
            connection.close()

    bodies = [("many", token, said(rosa, jti, text=f"{TEXT}, {n}")) for n, (token, jti) in enumerate(tries)]
    bodies += [("same", same, said(rosa, once, text=f"{TEXT}, again {n}")) for n in range(4)]
    pressing = [threading.Thread(target=press, args=one) for one in bodies]
    for one in pressing:
        one.start()
    for one in pressing:
        one.join(60)
    assert {status for _, status in got} <= {201, 422, 503}
    assert BreakGlassGrant.objects.filter(user="Practitioner/ada").count() == sum(
        1 for kind, status in got if (kind, status) == ("many", 201)
    )
    assert 1 <= BreakGlassGrant.objects.filter(user="Practitioner/ada").count() <= 3
    assert BreakGlassGrant.objects.filter(user="Practitioner/bo").count() == 1


def test_who_was_found_not_justified_is_stopped_at_the_next_request(rosa: str) -> None:
    token, jti = signed_in()
    assert post(token, said(rosa, jti)).status_code == 201
    officer = Staff(user_id="ida", roles=frozenset({"privacy-officer"}))
    review = EmergencyReview.objects.get()
    access.gate(world.caller(purpose="BTG"), Operation.QUERY)
    emergency_review.claim(review.pk, officer)
    emergency_review.decide(review.pk, "not-justified", officer, "No emergency that day")
    with pytest.raises(AccessRefused) as refused:
        access.gate(world.caller(purpose="BTG"), Operation.QUERY)
    assert refused.value.rule == "G7"
    answer = declared(rosa, "Another emergency on the next day")
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "user")
    assert declared(rosa, subject_id="Practitioner/bo").status_code == 201
    emergency_review.reopen(review.pk, officer, "The ambulance's sheet has come")
    assert declared(rosa, "Another emergency on the next day").status_code == 201


def test_the_patient_is_told_within_minutes_and_later_only_for_a_reason_of_safety(rosa: str) -> None:
    registration.apply(
        file(
            {
                "id": "org-portal",
                "name": "The Portal",
                "type": "patient-portal",
                "organization_oid": "2.999.10.9",
                "scopes": [],
                "purposes": ["PATRQT"],
            }
        )
    )
    from hie.exchange import accounts

    accounts.load(
        {
            "patients": [
                {
                    "login": "rosa",
                    "password": "long enough",
                    "name": "Rosa",
                    "identifier": f"P1^^^&{world.HOSPITAL_AUTHORITY}&ISO",
                }
            ]
        }
    )
    assert declared(rosa).status_code == 201
    officer = Staff(user_id="ida", roles=frozenset({"privacy-officer"}))
    review = EmergencyReview.objects.get()
    emergency_review.hold_notice(review.pk, officer, "Threatened at home", timezone.now() + timedelta(hours=2))
    assert emergency.tell() == 0
    review.refresh_from_db()
    assert review.told_at is None
    assert emergency.tell(now=timezone.now() + timedelta(hours=2, minutes=1)) == 1
    assert declared(rosa, "A second emergency, nothing held").status_code == 201
    assert emergency.tell(now=timezone.now() + timedelta(minutes=3)) == 0
    assert emergency.tell(now=timezone.now() + timedelta(minutes=5)) == 1
    second = EmergencyReview.objects.order_by("-pk")[0]
    assert second.told_at is not None
    with pytest.raises(emergency_reviews.EmergencyReviewRefused):
        emergency_review.hold_notice(second.pk, officer, "Threatened at home", timezone.now() + timedelta(hours=2))


def test_beside_each_look_the_log_has_the_words_that_opened_it(rosa: str) -> None:
    from hie.audit import queries as audit
    from hie.audit.values import AuditQuery
    from hie.exchange import identity

    body = declared(rosa).json()
    identity.read_patient(rosa, world.caller(purpose="BTG"))
    (event,) = audit.events_for_person([rosa], filters=AuditQuery(kinds=("patient-read",))).events
    assert event.words["text"] == TEXT
    assert event.decision["request"]["grant_id"] == body["id"]
    assert {item.rule for item in event.disclosures} <= {"D2", "C1"}


def test_no_grant_outlives_the_decision_that_takes_access_away(rosa: str) -> None:
    officer = Staff(user_id="ida", roles=frozenset({"privacy-officer"}))
    first = declared(rosa).json()["id"]
    review = EmergencyReview.objects.get(grant=first)
    emergency_review.claim(review.pk, officer)
    tries = [signed_in() for _ in range(2)]
    got: list[int] = []
    together = threading.Barrier(3)

    def press(token: str, body: Any) -> None:
        try:
            together.wait(20)
            got.append(post(token, body).status_code)
        finally:
            connection.close()

    def judge() -> None:
        try:
            together.wait(20)
            emergency_review.decide(review.pk, "not-justified", officer, "No emergency that day")
        finally:
            connection.close()

    pressing = [
        threading.Thread(target=press, args=(token, said(rosa, jti, text=f"{TEXT}, {n}")))
        for n, (token, jti) in enumerate(tries)
    ]
    pressing.append(threading.Thread(target=judge))
    for one in pressing:
        one.start()
    for one in pressing:
        one.join(60)
    review.refresh_from_db()
    assert review.outcome == "not-justified"
    assert len(got) == 2
    assert not BreakGlassGrant.objects.filter(status="active").exists(), got


def test_the_schema_names_the_request(rosa: str) -> None:
    schema = Browser().get("/api/schema", HTTP_ACCEPT="application/json")
    assert schema.status_code == 200
    assert "/api/break-glass" in json.loads(schema.content)["paths"]
