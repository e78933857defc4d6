"""Why it did not match, not arrive, not show: pages over HTTP, with a look where a patient is spoken of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from documents.errors import SubmissionRefused
from documents.metadata import CX
from hie.audit.models import AuditEvent
from hie.directory import registration
from hie.directory.models import Agreement, ClientKey
from hie.exchange import submit
from hie.exchange.models import InboundMessage, Query
from hie.faces.hl7v2 import mllp
from patients.models import MatchDecision, ReviewItem
from tests.backoffice.cases import fed, low_score, twins, who
from tests.documents.samples import entry, submission
from tests.exchange.world import CLINIC_AUTHORITY, HOSPITAL_AUTHORITY, exchange, hospital_caller
from tests.hl7v2 import messages
from tests.hl7v2.messages import adt, pid

pytestmark = pytest.mark.django_db
AsRole = Callable[..., Client]
WHY = "The registrar called, 4711"


def looks(kind: str = "staff-look") -> list[UUID | None]:
    return list(AuditEvent.objects.filter(kind=kind).order_by("at", "pk").values_list("person_id", flat=True))


# --- why it did not match ---------------------------------------------------------------------------------------------


def compared(client: Client, person: Any, other: str) -> Any:
    url = reverse("admin:patients_person_why", args=[person])
    client.post(url, {"look_reason": WHY})
    return client.post(url, {"other": other, "reason": WHY})


def people_of(item: ReviewItem) -> tuple[UUID, UUID]:
    assert item.candidate_id is not None
    return item.person_id, item.candidate_id


def test_two_who_wait_for_a_steward_are_told_with_their_case_and_the_score(as_role: AsRole) -> None:
    exchange()
    item = low_score()
    person, other = people_of(item)
    answer = compared(as_role("steward"), person, f"{HOSPITAL_AUTHORITY}|L1")
    content = answer.content.decode()
    match = answer.context_data["match"]
    assert match.why.heading == "A steward must decide, and has not yet"
    assert match.case == item.pk
    assert f"Open case {item.pk}" in content
    assert {step.title: step.sign for step in match.why.steps}["Does enough agree?"] == "bad"
    assert "names that sound alike" in content
    assert [row.name for row in match.rows][:3] == ["Family name", "Given name", "Born"]
    assert match.total in content
    assert set(looks()) == {person, other}


def test_twins_are_told_by_the_rule_that_stands_above_the_score(as_role: AsRole) -> None:
    exchange()
    item = twins()
    person, other = people_of(item)
    ReviewItem.objects.all().delete()
    match = compared(as_role("steward"), person, str(other)).context_data["match"]
    assert match.why.heading == "A rule forbids to link them without a person"
    assert any("Twins are never linked by the machine" in step.found for step in match.why.steps)


def test_two_who_never_met_are_told_so(as_role: AsRole) -> None:
    exchange()
    one = fed(HOSPITAL_AUTHORITY, "N1", who("Amara", "Lindqvist", "1968-12-01", line="1 Fen Street", phone="+12025550188"))  # fmt: skip
    other = fed(CLINIC_AUTHORITY, "N2", who("Felix", "Arden", "1970-08-25", gender="male", line="9 Dock Road", city="Marrow", code="77001", phone="+12025550177"))  # fmt: skip
    answer = compared(as_role("steward"), one.person_id, f"N2^^^&{CLINIC_AUTHORITY}&ISO")
    assert answer.context_data["match"].why.heading == "Their records never met"
    assert set(looks()) == {one.person_id, other.person_id}


def test_a_verdict_of_a_person_is_told_with_who_said_it_and_why(as_role: AsRole) -> None:
    exchange()
    item = low_score()
    person, other = people_of(item)
    records = sorted([item.source_record_id, fed(HOSPITAL_AUTHORITY, "L1", who("Rosamund Ivy", "Quarrel", "1971-04-09")).source_record_id])  # fmt: skip
    ReviewItem.objects.all().delete()
    MatchDecision.objects.create(record_a_id=records[0], record_b_id=records[1], verdict="different", reviewer="Staff/moss", reason="Two cousins")  # fmt: skip
    match = compared(as_role("steward"), person, str(other)).context_data["match"]
    assert match.why.heading == "Somebody said that they are two persons"
    assert any("moss said on" in step.found and "Two cousins" in step.found for step in match.why.steps)


def test_two_records_that_would_be_linked_today_say_what_to_do(as_role: AsRole) -> None:
    exchange()
    home = {"line": "1 Fen Street", "phone": "+12025550188"}
    one = fed(HOSPITAL_AUTHORITY, "T1", who("Amara Jo", "Lindqvist", "1968-12-01", **home))
    other = fed(CLINIC_AUTHORITY, "T2", who("Amara Jo", "Lindqvist", "1968-12-01", **home))
    assert one.person_id == other.person_id
    together = compared(as_role("steward"), one.person_id, "T2").context_data["match"]
    assert together.why.heading == "They are one person already"
    assert any("Linked by the machine" in step.found for step in together.why.steps)


@pytest.mark.parametrize(
    ("form", "field", "says"),
    [
        ({"other": "nobody-has-this", "reason": WHY}, "other", "Nobody has this number or id"),
        ({"other": "", "reason": WHY}, "other", "Write at least 2 letters"),
        ({"other": "P1", "reason": " "}, "why", "Give a reason"),
    ],
)
def test_what_cannot_be_compared_is_said_at_its_field_and_shows_nobody_else(
    world: UUID, as_role: AsRole, form: dict[str, str], field: str, says: str
) -> None:
    steward, url = as_role("steward"), reverse("admin:patients_person_why", args=[world])
    assert "Your reason" in steward.get(url).content.decode()
    steward.post(url, {"look_reason": WHY})
    answer = steward.post(url, form)
    content = answer.content.decode()
    assert (answer.status_code, f'href="#{field}"' in content, says in content) == (422, True, True)
    assert set(looks()) == {world}


def test_where_a_number_is_of_several_one_is_chosen(as_role: AsRole) -> None:
    exchange()
    one = fed(HOSPITAL_AUTHORITY, "S1", who("Amara", "Lindqvist", "1968-12-01"))
    for authority, given in ((HOSPITAL_AUTHORITY, "Felix"), (CLINIC_AUTHORITY, "Bruno")):
        fed(authority, "SAME", who(given, "Arden", "1990-08-25", line="", phone="", city="", code=""))
    answer = compared(as_role("steward"), one.person_id, "SAME")
    assert answer.context_data["match"] is None
    assert len(answer.context_data["others"]) == 2
    assert len(set(looks())) == 3


def test_the_page_costs_no_more_for_a_person_of_many_records(as_role: AsRole) -> None:
    exchange()
    steward = as_role("steward")
    one = fed(HOSPITAL_AUTHORITY, "C0", who("Felix", "Arden", "1970-08-25", line="9 Dock Road", phone=""))
    counts = []
    for many in (1, 6):
        home = {"line": f"{many} Fen Street", "phone": f"+1202555018{many}"}
        for n in range(many):
            last = fed(CLINIC_AUTHORITY, f"C{many}-{n}", who("Amara Jo", f"Lindqvist{many}", "1968-12-01", **home))
        compared(steward, one.person_id, str(last.person_id))
        with CaptureQueriesContext(connection) as seen:
            compared(steward, one.person_id, str(last.person_id))
        counts.append(len(seen))
    assert counts[0] == counts[1]


# --- why it did not arrive: messages ----------------------------------------------------------------------------------


def sent(raw: bytes) -> InboundMessage:
    mllp.answer(raw)
    row = InboundMessage.objects.order_by("-received_at").first()
    assert row is not None
    return row


@pytest.mark.parametrize(
    ("raw", "heading", "title", "todo"),
    [
        pytest.param(adt("A04", "1"), "It arrived and was accepted", "Its records are there", "", id="accepted"),
        pytest.param(adt("A04", "1", pid(birth="soon")), "It came and was refused", "Patient can be read", "Mend the field that is named", id="bad-field"),
        pytest.param(adt("A04", "1", application="NOBODY"), "It came and was refused", "Sender is the one registered", "Register both with the organization", id="unknown-sender"),
        pytest.param(adt("A03", "1"), "It came and was refused", "Event is one that the hub takes", "Send ADT with one of", id="event"),
        pytest.param(b"hello", "It came and was refused", "Message can be read", "Send one message in ER7", id="no-message"),
    ],
)  # fmt: skip
def test_a_message_says_step_by_step_what_became_of_it_and_nothing_of_its_patient(
    as_role: AsRole, raw: bytes, heading: str, title: str, todo: str
) -> None:
    messages.register()
    row = sent(raw)
    answer = as_role("operator").get(reverse("admin:exchange_inboundmessage_change", args=[row.pk]))
    content = answer.content.decode()
    why = answer.context_data["why"]
    assert why.heading == heading
    assert heading in content
    step = next(step for step in why.steps if step.title == title)
    assert (step.sign == "good", todo in step.todo) == (not todo, True)
    assert not any(word in content for word in ("Quimby", "19700203", "Elm St", "hello"))


def test_a_message_that_never_came_is_told_by_what_did(as_role: AsRole) -> None:
    messages.register()
    sent(adt("A04", "1"))
    sent(adt("A04", "2", application="STRANGE"))
    operator = as_role("operator")
    url = reverse("admin:exchange_inboundmessage_missing")
    answer = operator.get(url, {"control": "999", "organization": "org-north"})
    content = answer.content.decode()
    assert "No message with this control id came in" in content
    assert "1 came in that time: 1 accepted" in content
    assert "The last one came on" in content
    assert "STRANGE|NORTH (1)" in content
    assert "EPIC|NORTH" in content
    here = operator.get(url, {"control": "1", "organization": "org-north"}).content.decode()
    assert "It is here" in here
    silent = operator.get(url, {"control": "999", "organization": "org-clinic"}).content.decode()
    assert "None has ever come from org-clinic." in silent
    registration.suspend("org-north", "unpaid", "ops")
    assert "what it sends is refused" in operator.get(url, {"organization": "org-north"}).content.decode()


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"control": ""}, "control"),
        ({"control": "1", "since": "soon"}, "since"),
        ({"control": "1", "until": "9999-12-31"}, "until"),
        ({"control": "1", "since": "2026-02-02", "until": "2026-01-01"}, "until"),
        ({"control": "1", "since": "2020-01-01", "until": "2026-01-01"}, "since"),
    ],
)
def test_a_search_for_a_missing_message_that_says_too_little_names_its_field(
    as_role: AsRole, asked: dict[str, str], field: str
) -> None:
    answer = as_role("operator").get(reverse("admin:exchange_inboundmessage_missing"), asked)
    assert (answer.status_code, f'href="#{field}"' in answer.content.decode()) == (422, True)


def test_messages_are_asked_about_by_who_may_see_them(as_role: AsRole) -> None:
    url = reverse("admin:exchange_inboundmessage_missing")
    assert as_role("steward").get(url).status_code == 403
    assert as_role("operator").get(url).status_code == 200


# --- why it does not show, or did not arrive: documents ---------------------------------------------------------------


def test_a_document_says_rule_by_rule_why_it_does_not_show_to_one_asker(
    document: Any, world: UUID, as_role: AsRole
) -> None:
    officer = as_role("privacy-officer")
    url = reverse("admin:documents_documententry_why", args=[document.entry_uuid])
    form = {"organization": "org-clinic", "purpose": "HMARKT", "role": "physician", "reason": WHY}
    answer = officer.post(url, form)
    why = answer.context_data["why"]
    assert answer.status_code == 200
    assert "is not shown to The Clinic" in why.heading
    decides = [step for step in why.steps if "decides" in step.title]
    assert [step.sign for step in decides] == ["bad"]
    assert any(step.title == "No doubt about it" for step in why.steps)
    assert looks() == [world]
    assert "HIV" not in answer.content.decode()
    none = officer.post(url, form | {"reason": " "})
    assert (none.status_code, looks()) == (422, [world])
    nobody = officer.post(url, form | {"organization": "org-nobody"})
    assert (nobody.status_code, 'href="#organization"' in nobody.content.decode()) == (422, True)


def test_what_would_be_shown_is_said_to_be_shown(document: Any, as_role: AsRole) -> None:
    document.restricted = False
    document.confidentiality, document.labels, document.labelled = "N", [], True
    document.save()
    url = reverse("admin:documents_documententry_why", args=[document.entry_uuid])
    answer = as_role("privacy-officer").post(
        url, {"organization": document.custodian, "purpose": "TREAT", "role": "physician", "reason": WHY}
    )
    why = answer.context_data["why"]
    assert "would be shown to" in why.heading
    assert [step.sign for step in why.steps if "decides" in step.title] == ["good"]


def test_a_document_that_is_there_and_one_that_never_came_are_told_apart(
    document: Any, world: UUID, as_role: AsRole
) -> None:
    steward, url = as_role("steward"), reverse("admin:documents_documententry_missing")
    there = steward.post(url, {"unique": f"urn:oid:{document.unique_id}", "reason": WHY}).content.decode()
    assert "It is registered" in there
    assert f"/admin/documents/documententry/{document.pk}/change/" in there
    assert looks() == [world]
    never = steward.post(url, {"unique": "2.999.404", "organization": "org-clinic", "reason": WHY}).content.decode()
    assert "Nothing with this uniqueId came in" in never
    assert "None from The Clinic is known." in never
    assert steward.post(url, {"unique": "2.999.404", "reason": ""}).status_code == 422
    assert steward.post(url, {"unique": " ", "reason": WHY}).status_code == 422
    assert as_role("operator").get(url).status_code == 403


def test_a_document_whose_submission_was_refused_is_told_with_what_was_wrong(world: UUID, as_role: AsRole) -> None:
    one = entry(unique_id="2.999.8.15", patient_id=CX(value="P404", authority=HOSPITAL_AUTHORITY))
    sent = submission(one, patient_id=CX(value="P404", authority=HOSPITAL_AUTHORITY))
    with pytest.raises(SubmissionRefused):
        submit.submit(sent, hospital_caller())
    url = reverse("admin:documents_documententry_missing")
    content = as_role("steward").post(url, {"unique": "2.999.8.15", "organization": "org-hospital", "reason": WHY}).content.decode()  # fmt: skip
    assert "It was sent, and refused" in content
    assert "Have the sender mend what is named, and send it again." in content
    assert "refused." in content


# --- why it cannot ask ------------------------------------------------------------------------------------------------


def asked_why(client: Client, participant_id: str) -> Any:
    return client.get(reverse("admin:directory_participant_why", args=[participant_id]))


def test_an_organization_that_takes_part_says_what_holds_and_what_it_was_refused(world: UUID, as_role: AsRole) -> None:
    answer = asked_why(as_role("onboarding"), "org-clinic")
    steps = {step.title: step for step in answer.context_data["why"].steps}
    assert answer.status_code == 200
    assert steps["It takes part"].sign == "good"
    assert steps["Agreement in force"].sign == "good"
    assert "treat" in steps["Purposes it may ask for"].found.lower()
    assert steps["Refused in the last 7 days"].found == "Nothing."


@pytest.mark.parametrize(
    ("spoiled", "title", "says"),
    [
        pytest.param("suspended", "It takes part", "It is suspended since", id="suspended"),
        pytest.param("ended", "Agreement’s time", "not today", id="agreement-over"),
        pytest.param("keys", "Keys for its tokens", "have expired", id="keys"),
    ],
)
def test_an_organization_that_cannot_ask_says_which_step_fails_and_what_to_do(
    world: UUID, as_role: AsRole, spoiled: str, title: str, says: str
) -> None:
    if spoiled == "suspended":
        registration.suspend("org-clinic", "unpaid", "ops")
    elif spoiled == "ended":
        Agreement.objects.filter(participant="org-clinic").update(end="2021-01-01")
    else:
        ClientKey.objects.filter(participant="org-clinic").update(expires=timezone.now() - timedelta(days=1))
    answer = asked_why(as_role("onboarding"), "org-clinic")
    why = answer.context_data["why"]
    step = next(step for step in why.steps if step.title == title)
    assert (step.sign, says in step.found, bool(step.todo)) == ("bad", True, True)
    assert "cannot ask now" in why.heading
    assert step.todo in answer.content.decode()


def test_an_organization_that_there_is_not_is_not_found(as_role: AsRole) -> None:
    onboarding = as_role("onboarding")
    assert asked_why(onboarding, "org-nobody").status_code == 404
    assert asked_why(as_role("steward"), "org-clinic").status_code == 403


# --- why there is no answer -------------------------------------------------------------------------------------------


def test_each_community_says_why_it_gave_no_answer_and_what_to_do(question: Query, as_role: AsRole) -> None:
    officer, operator = as_role("privacy-officer"), as_role("operator")
    url = reverse("admin:exchange_query_change", args=[question.pk])
    for client in (officer, operator):
        client.post(url, {"look_reason": WHY})
    content = officer.get(url).content.decode()
    assert "No connection could be made." in content
    assert "A choice of the patient, or the law, keeps it from being asked." in content
    assert "/admin/directory/participant/com-2/why/" in content
    masked = operator.get(url)
    assert "A choice of the patient" not in masked.content.decode()
    kept = next(one for one in masked.context_data["asked"].targets if one.name == "Community 3")
    assert (kept.word, "does not know the patient" in kept.todo) == ("Nothing found", True)
