"""What a patient does not recognise: raised on a line, asked of the organization, answered, settled, decided at the desk."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.utils import timezone

from consent import proxies
from hie.audit import personal
from hie.audit.models import AuditEvent
from hie.audit.recorder import DisclosureDraft, EventType, staff_look
from hie.directory import registration, working_days
from hie.exchange import accounts, concern_answers, concern_review, concern_rows, concerns, queues
from hie.exchange.access import Staff
from hie.exchange.concern_rows import ConcernRefused
from hie.exchange.errors import AccessRefused, BadRequest, NotFound
from hie.exchange.models import Concern, ConcernAct, PatientNotice
from hie.standards.facts import Caller
from hie.trust import token_service
from hie.trust.staff import ensure_roles
from patients import changes, identifiers, linking
from tests import second_factor
from tests.backoffice.emergencies import emergency as opened
from tests.directory.forms import clinic, file, hospital
from tests.portal.conftest import EVE, PAYER, PORTAL, document, fed, look, signed_in

OFFICER = Staff(user_id="ida", roles=frozenset({"privacy-officer"}), account=1)
QUALITY = Caller(
    participant_id="org-clinic", organization_id="org-clinic", client_id="org-clinic", user_id="Practitioner/quinn",
    user_name="Quinn Vale", role="quality", purpose="HOPERAT", organization_name="The Clinic",
    scopes=frozenset({"system/*.cruds"}),
)  # fmt: skip
WORDS = "I was at home on that day, with a cold."


@pytest.fixture
def looked(alice: str) -> str:
    """The id of a look of Dr. Marlowe's at Alice's record; the clinic may ask for its operations."""
    registration.apply(file(clinic(purposes=["TREAT", "HPAYMT", "HOPERAT"]), hospital(), PORTAL))
    look(alice, 30, disclosures=(document("Hospital letter"),))
    return last(alice)


def last(person: str) -> str:
    return str(AuditEvent.objects.filter(person_id=person).exclude(kind="concern").order_by("-at", "-id")[0].pk)


def raised(client: Client, event: str, words: str = WORDS, reason: str = "visit") -> Concern:
    """A concern sent by the form."""
    answer = client.post(f"/my/log/{event}/concern", {"reason": reason, "words": words})
    assert answer.status_code == 302, answer.content.decode()
    number = re.fullmatch(r"/my/concerns/(C-\d{4}-\d{6})\?sent=1#notice", answer.headers["Location"])
    assert number is not None
    return Concern.objects.get(number=number[1])


def text_of(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status, answer.content.decode()
    return answer.content.decode()


def test_a_line_is_doubted_and_the_patient_gets_a_number_a_deadline_and_a_status(looked: str) -> None:
    client = signed_in()
    assert f"/my/log/{looked}/concern" in text_of(client, "/my/")
    form = text_of(client, f"/my/log/{looked}/concern")
    for words in ("Dr. Eve Marlowe", "The Clinic", "must answer by", "will read this, and so will we"):
        assert words in form
    concern = raised(client, looked)
    page = text_of(client, f"/my/concerns/{concern.number}?sent=1")
    for words in (
        concern.number,
        "We have your concern",
        WORDS,
        "Dr. Eve Marlowe",
        "must answer by",
        "I was not there on",
    ):
        assert words in page, words
    assert concern.number in text_of(client, "/my/concerns")
    assert (concern.status, concern.participant, concern.looker) == ("asked", "org-clinic", EVE.user_id)
    events = AuditEvent.objects.filter(kind="concern", outcome=0)
    assert [event.detail["concern"] for event in events] == [concern.number]
    assert "raised a concern about a look" in text_of(client, "/my/?part=own")


def test_the_words_are_kept_encrypted_under_the_patients_key_and_gone_with_it(alice: str, looked: str) -> None:
    concern = raised(signed_in(), looked)
    act = ConcernAct.objects.get(concern=concern)
    assert WORDS.encode() not in bytes(act.words)
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(a)::text FROM exchange_concernact a")
        assert WORDS not in cursor.fetchone()[0]
        cursor.execute("SELECT subject FROM audit_key WHERE id = %s", [act.personal_key])
        assert cursor.fetchone()[0] == alice
        cursor.execute("UPDATE audit_key SET wrapped = NULL, shredded_at = now() WHERE id = %s", [act.personal_key])
    personal.forget_keys()
    assert [one.words for one in concern_rows.said(concern)] == [""]


@pytest.mark.parametrize(
    ("form", "fault"),
    [
        pytest.param({"reason": "", "words": "x"}, "Choose what it is", id="no reason"),
        pytest.param({"reason": "curious", "words": "x"}, "Choose what it is", id="no such reason"),
        pytest.param({"reason": "visit", "words": "x" * 1001}, "at most 1000 letters", id="too long"),
        pytest.param({"reason": "visit", "words": "a zero \x00 in it"}, "at most 1000 letters", id="zero"),
    ],
)
def test_what_cannot_be_kept_is_named_and_nothing_is_kept(looked: str, form: dict[str, str], fault: str) -> None:
    answer = signed_in().post(f"/my/log/{looked}/concern", form)
    page = answer.content.decode()
    assert (answer.status_code, fault in page, "Error: " in page) == (422, True, True)
    assert not Concern.objects.exists()
    assert not AuditEvent.objects.filter(kind="concern").exists()


def test_an_empty_word_is_enough(looked: str) -> None:
    concern = raised(signed_in(), looked, words="  ", reason="person")
    assert [(one.kind, one.words) for one in concern_rows.said(concern)] == [("raised", "")]


def test_a_line_of_somebody_elses_is_doubted_by_nobody(alice: str, looked: str) -> None:
    sam = fed("S1", "Delgado", "Sam", "1995-06-02")
    look(sam, 20, disclosures=(document("Sams letter"),))
    concern = raised(signed_in(), looked)
    client = signed_in("sam")
    for path in (
        f"/my/log/{looked}/concern",
        f"/my/concerns/{concern.number}",
        "/my/log/5a3b4f0e-0000-4000-8000-000000000001/concern",
    ):
        assert client.get(path).status_code == 404, path
    assert client.post(f"/my/log/{looked}/concern", {"reason": "visit"}).status_code == 404
    assert client.post(f"/my/concerns/{concern.number}/say", {"words": "hello"}).status_code == 404
    assert Client().get(f"/my/concerns/{concern.number}").status_code == 302
    assert Concern.objects.count() == 1


# --- the organization ---------------------------------------------------------------------------------------------------


def api(method: str, path: str, caller: Caller = QUALITY, body: Any = None) -> Any:
    encoded = token_service.encode(caller, tuple(caller.scopes), now=timezone.now(), lifetime_s=300)
    data = b"" if body is None else json.dumps(body)
    return Client().generic(method, path, data, content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {encoded}")


@pytest.fixture
def served(settings: Any, tmp_path: Any) -> None:
    from hie.trust import hub_keys

    settings.BASE_URL = "https://hub.example"
    settings.HUB_KEYS_DIR = tmp_path / "keys"
    settings.ALLOWED_HOSTS = ["*"]
    hub_keys._held.clear()


@pytest.mark.usefixtures("served")
def test_the_organization_reads_what_it_is_asked_without_the_patient_and_answers(alice: str, looked: str) -> None:
    client = signed_in()
    concern = raised(client, looked)
    answer = api("GET", "/api/concerns")
    assert answer.status_code == 200, answer.content
    (one,) = answer.json()["concerns"]
    assert (one["number"], one["status"], one["event"], one["user"]) == (concern.number, "asked", looked, EVE.user_id)
    assert [said["text"] for said in one["said"]] == [WORDS]
    for hidden in (alice, "Rosa", "Delgado", "A1"):
        assert hidden not in answer.content.decode()
    assert "read a concern" in text_of(client, "/my/")
    told = api(
        "POST", f"/api/concerns/{concern.number}/answer", body={"text": "She called us; we looked at her letter."}
    )
    assert (told.status_code, told.json()["status"]) == (200, "answered"), told.content
    page = text_of(client, f"/my/concerns/{concern.number}")
    for words in ("There is an answer for you", "She called us", "Is the answer enough?", "The Clinic"):
        assert words in page, words
    assert "answered a concern" in text_of(client, "/my/")
    assert "Quinn Vale" not in page
    again = api("POST", f"/api/concerns/{concern.number}/answer", body={"text": "And once more"})
    assert (again.status_code, again.json()["error"]["code"]) == (422, "concern-refused")
    assert PatientNotice.objects.get(kind="concern").concern == concern


@pytest.mark.usefixtures("served")
def test_only_somebody_of_that_organization_for_its_operations_who_is_not_concerned_answers(looked: str) -> None:
    concern = raised(signed_in(), looked)
    path = f"/api/concerns/{concern.number}/answer"
    other = replace(QUALITY, participant_id="org-hospital", organization_id="org-hospital", client_id="org-hospital")
    treating = replace(QUALITY, purpose="TREAT")
    concerned = replace(QUALITY, user_id="practitioner/EVE")
    assert api("GET", "/api/concerns", treating).status_code == 403
    assert api("POST", path, treating, {"text": "No"}).status_code == 403
    assert api("POST", path, other, {"text": "No"}).status_code in (403, 404)
    assert api("POST", path, concerned, {"text": "No"}).json()["error"]["field"] == "user"
    for number in ("C-2000-000000", "C-1", "%00"):
        assert api("POST", f"/api/concerns/{number}/answer", body={"text": "No"}).status_code == 404
    for text in ("", "x" * 2001, 7):
        wrong = api("POST", path, body={"text": text})
        assert (wrong.status_code, wrong.json()["error"]["field"]) == (422, "text"), text
    concern.refresh_from_db()
    assert (concern.status, concern.answered_at) == ("asked", None)


def test_reading_is_in_the_patients_log_once_however_often_it_is_read(alice: str, looked: str) -> None:
    raised(signed_in(), looked)
    for _ in range(3):
        assert len(concern_answers.cases(caller=QUALITY)) == 1
    assert AuditEvent.objects.filter(person_id=alice, detail__act="read").count() == 1


def test_the_log_of_the_organization_does_not_say_whose_concern_it_answered(alice: str, looked: str) -> None:
    from hie.audit.values import AuditQuery
    from hie.exchange import audit_search

    concern = raised(signed_in(), looked)
    concern_answers.answer(concern.number, "She called us", caller=QUALITY)
    page = audit_search.search_events(
        AuditQuery(since=datetime.now(UTC) - timedelta(hours=2), kinds=("concern",)),
        replace(QUALITY, purpose="TREAT", role="physician"),
    )
    mine = [event for event in page.events if event.organization == "org-clinic"]
    assert mine
    assert {event.person_id for event in mine} == {""}
    assert all("by" not in event.detail for event in mine)


def test_a_concern_taken_back_shows_the_organization_nothing_of_what_was_said(looked: str) -> None:
    client = signed_in()
    concern = raised(client, looked)
    assert client.post(f"/my/concerns/{concern.number}/say", {"act": "close"}).status_code == 302
    (one,) = concern_answers.cases(caller=QUALITY)
    assert (one.status, one.said) == ("withdrawn", ())
    with pytest.raises(ConcernRefused):
        concern_answers.answer(concern.number, "Too late", caller=QUALITY)
    assert "You took it back" in text_of(client, f"/my/concerns/{concern.number}")
    assert client.post(f"/my/concerns/{concern.number}/say", {"words": "still"}).status_code == 409


@pytest.mark.parametrize(
    ("case", "asked"),
    [
        ("shown", "org-clinic"),
        ("refused", ""),
        ("nothing found", ""),
        ("by staff", ""),
        ("by the patient", ""),
        ("by a machine of the hub", ""),
        ("by a machine of the clinic", "org-clinic"),
        ("passed on by a relay", "org-clinic"),
        ("of an unknown place by a relay", ""),
        ("of an unknown place by a community", "org-hospital"),
        ("an emergency", "org-clinic"),
    ],
)
def test_whoever_was_told_of_the_patient_is_asked_and_nobody_else(
    alice: str, looked: str, case: str, asked: str
) -> None:
    """Who was told of no such patient must not learn from a question that there is one."""
    shown: tuple[DisclosureDraft, ...] = (document("Blood test"),)
    system = Caller(participant_id="hub", organization_id="hub", client_id="hub", user_id="", role="system")
    unknown = replace(EVE, organization_id="urn:oid:2.999.77", organization_name="A far place")
    match case:
        case "refused":
            look(alice, 1, PAYER, EventType.FIND_DOCUMENTS, denied=(("5a3b4f0e-0000-4000-8000-000000000002", "D3"),))
        case "nothing found":
            look(alice, 1, kind=EventType.FIND_DOCUMENTS)
        case "by staff":
            staff_look(
                staff_user="ada", role="steward", person_id=alice, what="identity", reason="a possible duplicate"
            )
        case "by the patient":
            text_of(signed_in(), "/my/")
        case "by a machine of the hub":
            look(alice, 1, system, EventType.IDENTITY_LINK)
        case "by a machine of the clinic":
            look(alice, 1, replace(EVE, user_id="Device/org-clinic", user_name="", role="system"), disclosures=shown)
        case "passed on by a relay":
            look(alice, 1, replace(EVE, intermediary_id="org-hospital"), disclosures=shown)
        case "of an unknown place by a relay":
            look(
                alice,
                1,
                replace(unknown, participant_id="org-hospital", intermediary_id="org-hospital"),
                disclosures=shown,
            )
        case "of an unknown place by a community":
            look(alice, 1, replace(unknown, participant_id="org-hospital"), disclosures=shown)
        case "an emergency":
            opened(alice, at=timezone.now() - timedelta(minutes=1))
        case _:
            look(alice, 1, disclosures=shown)
    client = signed_in()
    concern = raised(
        client,
        last(alice)
        if case != "by the patient"
        else str(AuditEvent.objects.filter(kind="access-log-read").latest("at").pk),
    )
    assert (concern.participant, concern.status) == (asked, "asked" if asked else "office")
    assert (concern.asked_at is not None) == bool(asked)
    page = text_of(client, f"/my/concerns/{concern.number}")
    assert ("must answer by" in page, "Our privacy office looks into it" in page) == (bool(asked), not asked)
    if not asked:
        assert concern_answers.cases(caller=QUALITY) == []


# --- the deadline -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-11-19T09:14", "2026-12-03T23:59:59"),
        ("2026-11-20T23:59", "2026-12-04T23:59:59"),
        ("2026-11-21T00:00", "2026-12-04T23:59:59"),
        ("2026-11-22T12:00", "2026-12-04T23:59:59"),
        ("2026-11-23T00:01", "2026-12-07T23:59:59"),
    ],
)
def test_an_answer_is_due_at_the_end_of_the_tenth_working_day_where_the_patient_lives(
    db: None, now: str, due: str
) -> None:
    zone = ZoneInfo("America/New_York")
    begun = datetime.fromisoformat(now).replace(tzinfo=zone)
    found = working_days.answer_due(begun, participant="", zone=zone)
    assert found.astimezone(zone).replace(tzinfo=None).isoformat() == due


def test_what_is_due_counts_the_holidays_of_the_place_that_answers(alice: str, looked: str) -> None:
    """The clinic stands under the law of JA: a week of holidays there puts its answer off by a week, and no other's."""
    day = timezone.now().date()
    week = [day + timedelta(days=n) for n in range(1, 10) if (day + timedelta(days=n)).weekday() < 5][:5]
    client = signed_in()

    def due() -> datetime:
        return raised(client, looked).due_at

    first = due()
    for place in ("JB", settings.HUB_JURISDICTION):
        working_days.enter(place, [(on, "A holiday") for on in week], by="ida", reason="a calendar")
        assert (due() - first).days == (7 if place == settings.HUB_JURISDICTION else 0), place
    told = f"{(first + timedelta(days=7)).astimezone(accounts.zone_of(alice)):%-d %B}"
    assert f"must answer by {told}" in text_of(client, f"/my/log/{looked}/concern").replace("<b>", "").replace(
        "</b>", ""
    )


def test_what_no_answer_comes_to_is_the_offices_and_the_patient_is_told(alice: str, looked: str) -> None:
    client = signed_in()
    concern = raised(client, looked)
    assert concerns.pass_on_overdue(now=concern.due_at - timedelta(seconds=1)) == 0
    assert concerns.pass_on_overdue(now=concern.due_at + timedelta(seconds=1)) == 1
    assert concerns.pass_on_overdue(now=concern.due_at + timedelta(seconds=1)) == 0
    late = Concern.objects.get()
    assert (late.status, late.overdue_at is not None, late.due_at > concern.due_at) == ("office", True, True)
    page = text_of(client, f"/my/concerns/{concern.number}")
    assert "No answer came in time" in page
    assert "Our office looks into it" in page
    assert AuditEvent.objects.filter(person_id=alice, detail__act="overdue").count() == 1
    assert PatientNotice.objects.filter(kind="concern").count() == 1
    # It can still answer.
    assert concern_answers.answer(concern.number, "Here it is", caller=QUALITY).status == "answered"
    assert "There is an answer for you" in text_of(client, f"/my/concerns/{concern.number}")


# --- the patient goes on -------------------------------------------------------------------------------------------------


def test_an_answer_is_taken_or_looked_into_further(looked: str) -> None:
    client = signed_in()
    concern = raised(client, looked)
    path = f"/my/concerns/{concern.number}/say"
    assert client.post(path, {"act": "further", "words": "More"}).status_code == 409
    assert client.post(path, {"act": "say", "words": "I asked my son too."}).status_code == 302
    concern_answers.answer(concern.number, "She called us", caller=QUALITY)
    assert client.post(path, {"act": "further", "words": " "}).status_code == 422
    assert client.post(path, {"act": "further", "words": "I did not call."}).status_code == 302
    concern.refresh_from_db()
    assert concern.status == "office"
    assert [one.words for one in concern_answers.cases(caller=QUALITY)[0].said] == [
        WORDS, "I asked my son too.", "She called us", "I did not call.",
    ]  # fmt: skip
    assert client.post(path, {"act": "close"}).status_code == 302
    concern.refresh_from_db()
    assert (concern.status, concern.outcome, concern.closed_by) == ("settled", "accepted", "patient")
    page = text_of(client, f"/my/concerns/{concern.number}")
    assert "It is closed" in page
    assert "Send my words" not in page


def test_a_line_takes_a_second_concern_and_no_more_than_three_open_ones(looked: str) -> None:
    client = signed_in()
    numbers = [raised(client, looked, words=f"number {n}").number for n in range(3)]
    assert len(set(numbers)) == 3
    form = text_of(client, f"/my/log/{looked}/concern")
    assert all(number in form for number in numbers)
    full = client.post(f"/my/log/{looked}/concern", {"reason": "visit", "words": "again"})
    assert (full.status_code, "There are many concerns already" in full.content.decode()) == (422, True)
    client.post(f"/my/concerns/{numbers[0]}/say", {"act": "close"})
    raised(client, looked, words="now there is room")


def test_no_record_brings_more_than_twenty_concerns_a_day(alice: str, looked: str) -> None:
    client = signed_in()
    for _ in range(concerns.MOST_A_DAY):
        concern = raised(client, looked)
        client.post(f"/my/concerns/{concern.number}/say", {"act": "close"})
    assert client.post(f"/my/log/{looked}/concern", {"reason": "visit"}).status_code == 422


# --- helpers --------------------------------------------------------------------------------------------------------------


def sam_for(person: str) -> Client:
    client = signed_in("sam")
    client.post("/my/person", {"person": person})
    return client


def test_a_helper_is_told_of_his_own_concerns_and_of_no_other(alice: str, looked: str) -> None:
    """The patient's may be about the helper himself."""
    client, helper = signed_in(), sam_for(alice)
    hers = raised(client, looked, words="Was it Sam who asked them?")
    assert concern_review.listed("", 1, OFFICER, now=timezone.now()).counts["waiting"] == 1
    boss(f"/admin/exchange/concern/{hers.pk}/change/")
    concern_answers.answer(hers.number, "It was Sam.", caller=QUALITY)
    pages = (
        "/my/",
        "/my/?part=",
        "/my/?part=own",
        "/my/log.csv",
        "/my/log.json",
        "/my/concerns",
        f"/my/log/{looked}/concern",
    )
    for path in pages:
        answer = helper.get(path)
        said = (b"".join(answer.streaming_content) if answer.streaming else answer.content).decode()  # type: ignore[attr-defined]  # the client's answer is a stream or whole
        for hidden in (
            hers.number,
            "raised a concern",
            "answered a concern",
            "read a concern",
            f"Concern {hers.number}",
            "Was it Sam",
        ):
            assert hidden not in said, (path, hidden)
    assert helper.get(f"/my/concerns/{hers.number}").status_code == 404
    for event in AuditEvent.objects.filter(person_id=alice, kind="concern"):
        assert helper.get(f"/my/log/{event.pk}").status_code == 404
    his = raised(helper, looked, words="She was with me")
    assert his.raised_by.startswith("RelatedPerson/")
    assert his.number in text_of(helper, "/my/concerns")
    assert "raised a concern" in text_of(helper, "/my/?part=own")
    page = text_of(client, f"/my/concerns/{his.number}")
    assert "Sam Delgado" in page
    assert "Your helper sent it" in text_of(client, "/my/concerns")
    assert hers.number not in text_of(helper, "/my/concerns")


def test_a_helper_doubts_only_lines_that_he_sees_and_follows_them_as_long(alice: str, looked: str) -> None:
    secret = document("Counselling", confidentiality="V", labels=("MH",))
    look(alice, 5, disclosures=(secret,))
    hidden, helper = last(alice), sam_for(alice)
    assert helper.get(f"/my/log/{hidden}/concern").status_code == 404
    assert helper.post(f"/my/log/{hidden}/concern", {"reason": "visit"}).status_code == 404
    mine = raised(helper, looked)
    assert mine.number in text_of(helper, "/my/concerns")
    proxies.set_status(proxies.grants_of(identifiers.identifier_pks(alice))[0].pk, "ended")
    assert mine.number not in helper.get("/my/concerns").content.decode()


# --- merged, parted ---------------------------------------------------------------------------------------------------------


def test_a_concern_follows_its_line_through_a_merge_and_back(alice: str, looked: str) -> None:
    """It hangs on an identifier that whoever the line is of had then."""
    other = fed("A2", "Delgado", "Rosa", "1971-05-01")
    look(other, 3, disclosures=(document("Other letter"),))
    of_other, client = last(other), signed_in()
    before = raised(client, looked)
    merged = linking.merge(UUID(alice), UUID(other), actor="steward/ada", reason="same person")
    after = raised(client, of_other)
    for concern in (before, after):
        assert concern.number in text_of(client, "/my/concerns")
        assert "It is about this line" in text_of(client, f"/my/concerns/{concern.number}")
    changes.unmerge(merged, actor="steward/ada", reason="two people after all")
    shown = text_of(client, "/my/concerns")
    assert (before.number in shown, after.number in shown) == (True, False)
    assert client.get(f"/my/concerns/{after.number}").status_code == 404
    assert str(identifiers.person_of_pk(after.identifier_id)) == other


def test_a_concern_raised_before_its_person_was_merged_away_is_read_by_the_survivor(alice: str, looked: str) -> None:
    other = fed("A2", "Delgado", "Rosa", "1971-05-01")
    mine = raised(signed_in(), looked)
    linking.merge(UUID(other), UUID(alice), actor="steward/ada", reason="same person")
    page = text_of(signed_in(), f"/my/concerns/{mine.number}")
    assert WORDS in page
    assert "Dr. Eve Marlowe" in page


# --- the desk ---------------------------------------------------------------------------------------------------------------


def boss(path: str, sent: dict[str, Any] | None = None, name: str = "boss", role: str = "privacy-officer") -> Any:
    ensure_roles()
    user, _ = User.objects.get_or_create(username=name, is_staff=True)
    user.groups.set(Group.objects.filter(name=role))
    client = second_factor.sign_in(user)
    return client.get(path) if sent is None else client.post(path, sent)


def test_home_shows_the_queue_with_count_oldest_deadline_and_owner(looked: str) -> None:
    (queue,) = [one for one in queues.waiting() if one.key == "concerns"]
    assert (queue.count, queue.due_at, queue.urgent) == (0, None, False)
    concern = raised(signed_in(), looked)
    (queue,) = [one for one in queues.waiting() if one.key == "concerns"]
    assert (queue.count, queue.oldest_at, queue.due_at, queue.owner) == (
        1,
        concern.raised_at,
        concern.due_at,
        "privacy-officer",
    )
    (queue,) = [one for one in queues.waiting(concern.due_at) if one.key == "concerns"]
    assert (queue.urgent, "1 overdue" in queue.what) == (True, True)
    assert "Concerns of patients" in boss("/admin/").content.decode()


def test_the_case_shows_the_look_what_it_rests_on_and_what_was_said(alice: str, looked: str) -> None:
    concern = raised(signed_in(), looked)
    page = boss(f"/admin/exchange/concern/{concern.pk}/change/").content.decode()
    for words in (
        concern.number,
        WORDS,
        "Dr. Eve Marlowe",
        "Hospital letter of May",
        "Rule F1",
        "The Clinic",
        looked,
        alice,
        "was not there",
    ):
        assert words in page, words
    trace = AuditEvent.objects.filter(person_id=alice, kind="staff-look").latest("at")
    assert trace.detail["concern"] == concern.number
    listed = boss("/admin/exchange/concern/?state=waiting").content.decode()
    assert concern.number in listed
    assert WORDS not in listed
    assert boss(f"/admin/exchange/concern/?number={concern.number.lower()}").status_code == 302
    assert "There is no concern C-1" in boss("/admin/exchange/concern/?number=C-1").content.decode()


def test_a_title_above_normal_secrecy_is_for_the_privacy_officer_alone(alice: str, looked: str) -> None:
    look(alice, 1, disclosures=(document("Counselling", confidentiality="R"),))
    concern = raised(signed_in(), last(alice))
    path = f"/admin/exchange/concern/{concern.pk}/change/"
    assert "Counselling of May" in boss(path).content.decode()
    assert "Counselling" not in boss(path, name="aud", role="auditor").content.decode()


@pytest.mark.parametrize(("outcome", "told"), [("explained", "the look was right"), ("upheld", "the look was wrong")])
def test_a_decision_needs_a_reason_reaches_the_patient_and_is_taken_back(
    alice: str, looked: str, outcome: str, told: str
) -> None:
    client = signed_in()
    concern = raised(client, looked)
    path = f"/admin/exchange/concern/{concern.pk}/change/"
    seen = {"act": "decide", "outcome": outcome, "seen": "1"}
    assert boss(path, {**seen, "reason": " "}).status_code == 422
    assert boss(path, {**seen, "outcome": "", "reason": "x"}).status_code == 422
    assert boss(path, {**seen, "seen": "0", "reason": "I asked them"}).status_code == 409
    done = boss(path, {**seen, "reason": "I asked them, and they told me why"})
    assert done.status_code == 302
    assert f"{concern.number}: " in boss(done.headers["Location"]).content.decode()
    page = text_of(client, f"/my/concerns/{concern.number}")
    assert f"Checked: {told}" in page
    assert "I asked them, and they told me why" in page
    assert "checked a concern and closed it" in text_of(client, "/my/")
    assert boss(path, {**seen, "reason": "again"}).status_code == 409
    assert boss(path, {"act": "reopen", "reason": ""}).status_code == 422
    assert boss(path, {"act": "reopen", "reason": "I read it wrong"}).status_code == 302
    concern.refresh_from_db()
    assert (concern.status, concern.outcome, concern.closed_at) == ("office", "", None)
    assert "We opened it again" in text_of(client, f"/my/concerns/{concern.number}")


def test_what_was_decided_a_month_ago_or_by_the_patient_is_not_taken_back(looked: str) -> None:
    client = signed_in()
    concern = raised(client, looked)
    concern_review.decide(concern.pk, "explained", OFFICER, "They told me why")
    Concern.objects.update(closed_at=timezone.now() - timedelta(days=31))
    with pytest.raises(ConcernRefused):
        concern_review.reopen(concern.pk, OFFICER, "I read it wrong")
    other = raised(client, looked)
    client.post(f"/my/concerns/{other.number}/say", {"act": "close"})
    with pytest.raises(ConcernRefused):
        concern_review.reopen(other.pk, OFFICER, "I read it wrong")


def test_the_office_asks_more_and_writes_to_the_patient(looked: str) -> None:
    client = signed_in()
    concern = raised(client, looked)
    with pytest.raises(ConcernRefused):
        concern_review.ask(concern.pk, OFFICER, "Asked twice")
    concern_answers.answer(concern.number, "She called us", caller=QUALITY)
    concern_review.ask(concern.pk, OFFICER, "From which number did she call?")
    concern_review.write(concern.pk, OFFICER, "We asked them for the number.")
    (one,) = concern_answers.cases(caller=QUALITY)
    assert one.status == "asked"
    assert [said.words for said in one.said] == [WORDS, "She called us", "From which number did she call?"]
    page = text_of(client, f"/my/concerns/{concern.number}")
    assert "From which number did she call?" in page
    assert "We asked them for the number." in page
    concern.refresh_from_db()
    assert (concern.status, concern.owner) == ("asked", "Staff/ida")


@pytest.mark.parametrize("case", ["no role", "works there", "own look"])
def test_nobody_judges_who_may_not(alice: str, looked: str, case: str) -> None:
    from hie.trust import staff as staff_roles

    staff, event = OFFICER, looked
    if case == "no role":
        staff = Staff(user_id="olga", roles=frozenset({"auditor"}))
    elif case == "works there":
        staff_roles.set_employers("ida", ["org-clinic"])
    else:
        staff_look(staff_user="ida", role="privacy-officer", person_id=alice, what="identity", reason="curious")
        event = last(alice)
    concern = raised(signed_in(), event)
    for act in (
        lambda: concern_review.decide(concern.pk, "explained", staff, "It was right"),
        lambda: concern_review.write(concern.pk, staff, "Hello"),
    ):
        with pytest.raises((AccessRefused, ConcernRefused)):
            act()
    assert concern_review.next_for(staff, after=None, now=timezone.now()) is None
    concern.refresh_from_db()
    assert concern.is_open
    with pytest.raises((BadRequest, NotFound)):
        concern_review.decide(concern.pk + 1000, "explained", OFFICER, "It was right")


def test_what_was_said_about_a_concern_is_never_changed_or_removed(looked: str) -> None:
    raised(signed_in(), looked)
    for change in ("UPDATE exchange_concernact SET actor = 'x'", "DELETE FROM exchange_concernact"):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(change)


def test_the_list_and_a_case_cost_the_same_however_much_waits(looked: str, django_assert_max_num_queries: Any) -> None:
    client = signed_in()
    for _ in range(3):
        concern = raised(client, looked)
    with django_assert_max_num_queries(6):
        concern_review.listed("waiting", 1, OFFICER, now=timezone.now())
    with django_assert_max_num_queries(45):
        text_of(client, f"/my/concerns/{concern.number}")
