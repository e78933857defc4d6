"""Emergency access as the patient is told of it, and her objection; nothing for who may not know."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from consent import emergency_reviews, policies, proxies
from consent.models import EmergencyReview
from hie.audit.models import AuditEvent
from hie.audit.recorder import DisclosureDraft, EventDraft, EventType, write
from hie.directory import registration
from hie.exchange import access, accounts, emergency, emergency_review
from hie.exchange.access import Held, Staff
from hie.outbox import outbox
from hie.outbox.outbox import Topic
from hie.standards.facts import Caller
from hie.trust.models import PatientAccount
from patients import identifiers, linking
from patients.demographics import Demographics, HumanName, RecordFeed
from tests.backoffice.emergencies import TEXT
from tests.backoffice.emergencies import emergency as opened
from tests.directory.forms import clinic, file, hospital
from tests.exchange import world
from tests.portal.conftest import PASSWORD, PORTAL, fed, signed_in

OFFICER = Staff(user_id="ida", roles=frozenset({"privacy-officer"}))


def page(client: Client) -> str:
    answer = client.get("/my/emergencies")
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_patient_reads_who_where_and_why_and_that_it_waits(alice: str) -> None:
    opened(alice)
    client = signed_in()
    text = page(client)
    for words in ("Ada Moor", "doctor", "The Clinic", TEXT, "you were not awake", "It waits to be checked"):
        assert words in text
    log = client.get("/my/").content.decode()
    assert "There was an emergency look at your record" in log
    assert "/my/emergencies" in log


def test_without_an_emergency_the_page_says_so(alice: str) -> None:
    client = signed_in()
    assert "There was no emergency" in page(client)
    assert "emergency look at your record" not in client.get("/my/").content.decode()


def test_what_came_of_it_is_told_with_the_checkers_words(alice: str) -> None:
    review = opened(alice)
    emergency_review.claim(review.pk, OFFICER)
    emergency_review.decide(review.pk, "not-justified", OFFICER, "You were not at the clinic")
    client = signed_in()
    text = page(client)
    assert "It was checked: this was not an emergency." in text
    assert "They cannot look this way any more" in text
    emergency_review.give_access_back(review.pk, OFFICER, "Trained anew")
    assert "They cannot look this way any more" not in page(client)
    assert "You were not at the clinic" in text
    assert "which was not right" in client.get("/my/?part=").content.decode()


def test_an_objection_reaches_the_reviewer_and_stands_in_the_log(alice: str) -> None:
    review = opened(alice)
    client = signed_in()
    answer = client.post(f"/my/emergencies/{review.pk}/object", {"words": " I was at home "})
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/my/emergencies?sent={review.pk}#notice")
    assert "We have your words" in client.get(answer.headers["Location"]).content.decode()
    review.refresh_from_db()
    assert (review.objection, review.objected_at is not None) == ("I was at home", True)
    assert AuditEvent.objects.get(kind="concern").outcome == 0
    for words in ("   ", "x" * 1001, "a zero \x00 in it"):
        wrong = client.post(f"/my/emergencies/{review.pk}/object", {"words": words})
        assert wrong.status_code == 422
        assert 'aria-invalid="true"' in wrong.content.decode()


def test_nobody_objects_to_or_reads_what_is_anothers(alice: str) -> None:
    sam = fed("S1", "Delgado", "Sam", "1995-06-02")
    review = opened(sam)
    client = signed_in()
    assert TEXT not in page(client)
    for number in (review.pk, review.pk + 1000):
        assert client.post(f"/my/emergencies/{number}/object", {"words": "Not mine"}).status_code == 404
    review.refresh_from_db()
    assert review.objection == ""
    assert Client().get("/my/emergencies").status_code == 302


def test_what_is_held_back_for_safety_is_told_when_the_time_has_passed(alice: str) -> None:
    review = opened(alice)
    emergency_review.hold_notice(review.pk, OFFICER, "Threatened at home", timezone.now() + timedelta(hours=2))
    look = DisclosureDraft(document_id=f"Patient/{alice}#1", custodian="org-clinic", what="demographics", rule="D2")
    eve = world.caller(purpose="BTG")
    write([EventDraft(kind=EventType.PATIENT_READ, caller=eve, person_id=alice, action="R", disclosures=(look,), personal={"text": TEXT})])  # fmt: skip
    reviewing = f"Review of emergency access, case {review.pk}"
    access.administrative(
        OFFICER,
        Held.AUDIT,
        [alice],
        reason=reviewing,
        detail={"page": "consent.emergencyreview", "row": str(review.pk)},
    )
    client = signed_in()
    addresses = ("/my/emergencies", "/my/", "/my/log.json", "/my/log.csv")

    def read(address: str) -> str:
        answer = client.get(address)
        return (b"".join(answer.streaming_content) if answer.streaming else answer.content).decode()  # type: ignore[attr-defined]  # the client's answer is a stream or whole

    for address in addresses:
        text = read(address)
        assert TEXT not in text
        assert "emergency look at your record" not in text
        assert "Ada Moor" not in text
        assert "Review of emergency" not in text
    assert AuditEvent.objects.filter(kind="break-glass-reviewed", detail__act="notice-held").count() == 1
    EmergencyReview.objects.update(held_until=timezone.now() - timedelta(minutes=1))
    for address in addresses:
        assert "Ada Moor" in read(address)
    assert TEXT in page(client)
    assert any("Review of emergency" in read(address) for address in addresses)


def test_an_adults_helper_is_not_told(alice: str) -> None:
    opened(alice)
    client = signed_in("sam")
    client.post("/my/person", {"person": alice})
    assert client.get("/my/emergencies").status_code == 404
    assert "emergency look at this record" not in client.get("/my/").content.decode()


def child(birth_date: str) -> str:
    """Mia, for whom Sam, her parent, acts."""
    policies.forget()
    registration.apply(file(clinic(), hospital(), PORTAL))
    mia = fed("M9", "Delgado", "Mia", birth_date)
    fed("S1", "Delgado", "Sam", "1980-06-02")
    account("sam", "S1")
    proxies.grant(
        identifier_pk=identifiers.anchor(mia).pk, person=f"RelatedPerson/{PatientAccount.objects.get(login='sam').pk}",
        kind="parent", max_confidentiality="N", verified_by="desk", evidence="form 7",
    )  # fmt: skip
    return mia


def account(login: str, value: str) -> None:
    accounts.load({"patients": [{"login": login, "password": PASSWORD, "name": login.title(), "identifier": f"{value}^^^&2.999.10.1.1&ISO"}]})  # fmt: skip


def acting_for(person: str) -> Client:
    client = signed_in("sam")
    client.post("/my/person", {"person": person})
    return client


YEAR = datetime.now(UTC).year


@pytest.mark.parametrize(
    ("birth_date", "told"),
    [
        pytest.param(f"{YEAR - 6}-01-01", True, id="a child"),
        pytest.param(f"{YEAR - 15}-01-01", False, id="of the age for confidential care"),
        pytest.param(f"{YEAR - 14}", False, id="perhaps of that age"),
    ],
)
def test_a_parent_is_told_of_the_emergency_of_a_child_who_surely_is_one(db: None, birth_date: str, told: bool) -> None:
    mia = child(birth_date)
    review = opened(mia)
    client = acting_for(mia)
    assert (TEXT in page(client)) is told
    log = client.get("/my/").content.decode()
    assert (TEXT in log, "emergency look at this record" in log, "Ada Moor" in log) == (told, told, told)
    status = client.post(f"/my/emergencies/{review.pk}/object", {"words": "I was not asked"}).status_code
    assert status == (302 if told else 404)


@pytest.mark.parametrize(("birth_date", "read"), [(f"{YEAR - 6}-01-01", True), (f"{YEAR - 15}-01-01", False)])
def test_no_word_of_a_teenagers_emergency_reaches_the_parent_by_looks_objection_or_review(
    db: None, birth_date: str, read: bool
) -> None:
    mia = child(birth_date)
    review = opened(mia)
    look = DisclosureDraft(document_id=f"Patient/{mia}#1", custodian="org-clinic", what="demographics", rule="D2")
    write(
        [
            EventDraft(
                kind=EventType.PATIENT_READ, caller=world.caller(purpose="BTG"), person_id=mia, action="R",
                personal={"text": "asked for a test in confidence"}, query="code=pregnancy", disclosures=(look,),
            ),
            EventDraft(
                kind=EventType.CONCERN, caller=Caller(participant_id="org-portal", organization_id="org-portal",
                client_id="portal", user_id=f"Patient/{mia}", role="patient", purpose="PATRQT"), person_id=mia,
                action="C", detail={"grant": str(review.grant_id)}, personal={"text": "my mother must not know"},
            ),
        ]
    )  # fmt: skip
    emergency_review.claim(review.pk, OFFICER)
    emergency_review.decide(review.pk, "not-justified", OFFICER, "the test could have waited")
    client = acting_for(mia)
    pages = [client.get(f"/my/{rest}") for rest in ("", "?part=own", "?q=pregnan", "log.csv", "log.json")]
    seen = b"".join(b"".join(one.streaming_content) if one.streaming else one.content for one in pages).decode()  # type: ignore[attr-defined]  # the client's answer is a stream or whole
    for event in AuditEvent.objects.filter(person_id=mia):
        seen += client.get(f"/my/log/{event.pk}").content.decode()
    query = base64.b64encode(b"code=pregnancy").decode()
    for words in (TEXT, "in confidence", "must not know", "could have waited"):
        assert (words in seen) is read, words
    # Neither a line of it, nor the notice that leads to a page where there is none.
    assert ("Ada Moor" in seen) is read
    assert ("There was an emergency look at this record" in seen) is read
    assert ("/my/emergencies" in seen) is read
    assert client.get("/my/emergencies").status_code == 200
    # What was asked could name more than was shown: of a look at documents no helper reads it.
    assert query not in seen
    assert "emergency justified" not in seen


def test_who_has_no_account_is_shown_to_the_reviewer_as_not_told(alice: str) -> None:
    mia = fed("M1", "Delgado", "Mia", f"{datetime.now(UTC).year - 30}-01-01")
    for person in (alice, mia):
        review = opened(person, user_id=f"Practitioner/{person[:4]}")
        outbox.add(Topic.EMERGENCY, str(review.grant_id))
    assert emergency.tell() == 1
    states = {str(identifiers.person_of_pk(one.grant.identifier_id)): one for one in EmergencyReview.objects.all()}
    assert states[alice].told_at is not None
    assert states[mia].told_at is None
    assert states[mia].acts.filter(kind=emergency_reviews.Act.NOT_TOLD).count() == 1
    assert emergency.tell() == 0


@pytest.mark.parametrize("who", ["a child with an account of her own", "a teenager's parent", "the dead"])
def test_nobody_counts_as_told_who_cannot_read_it(db: None, who: str) -> None:
    mia = child(f"{YEAR - (15 if 'parent' in who else 6)}-01-01")
    if "child" in who:
        account("mia", "M9")
        proxies.set_status(proxies.grants_of(identifiers.identifier_pks(mia))[0].pk, "ended")
    review = opened(mia)
    if who == "the dead":
        account("mia", "M9")
        dead = Demographics(names=(HumanName(family="Delgado", given=("Mia",)),), birth_date=f"{YEAR - 6}-01-01", gender="female", deceased=True)  # fmt: skip
        linking.feed(RecordFeed(participant_id="org-clinic", authority="2.999.10.1.1", value="M9", demographics=dead))
    outbox.add(Topic.EMERGENCY, str(review.grant_id))
    assert emergency.tell() == 0
    review.refresh_from_db()
    assert review.told_at is None
    assert review.acts.filter(kind=emergency_reviews.Act.NOT_TOLD).count() == 1


def test_who_opens_an_account_later_is_told_when_she_reads_it(alice: str) -> None:
    mia = fed("M7", "Delgado", "Mia", "1990-01-01")
    review = opened(mia)
    outbox.add(Topic.EMERGENCY, str(review.grant_id))
    assert emergency.tell() == 0
    account("mia", "M7")
    assert TEXT in page(signed_in("mia"))
    review.refresh_from_db()
    assert review.told_at is not None
