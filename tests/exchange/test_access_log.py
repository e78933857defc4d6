"""What a patient, a helper, a participant and the exchange's own staff read of the log."""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consent import policies, proxies
from hie.audit import seal
from hie.audit.models import AuditEvent
from hie.audit.recorder import DisclosureDraft, EventDraft, EventType, Outcome, staff_look, write
from hie.audit.values import AuditQuery, Cursor
from hie.directory import queries as directory
from hie.directory import registration
from hie.exchange import access_log, access_log_forms, access_log_words, audit_search
from hie.exchange.access_log import ActorKind, LogFilters, Part, Seen
from hie.exchange.errors import AccessRefused, BadRequest, NotFound
from hie.standards.facts import Caller
from patients import identifiers, linking
from patients.demographics import Demographics, HumanName, RecordFeed
from tests.directory.forms import clinic, file, hospital

NOW = datetime(2026, 11, 19, 14, 0, tzinfo=UTC)
PORTAL = {"id": "org-portal", "name": "The Portal", "type": "patient-portal", "organization_oid": "2.999.10.9", "scopes": [], "purposes": ["PATRQT"]}  # fmt: skip

EVE = Caller(participant_id="org-clinic", organization_id="org-clinic", client_id="org-clinic", user_id="Practitioner/eve", user_name="Dr. Eve Marlowe", role="physician", purpose="TREAT", organization_name="The Clinic")  # fmt: skip
PAYER = Caller(participant_id="org-hospital", organization_id="org-hospital", client_id="org-hospital", user_id="Device/org-hospital", role="billing", purpose="HPAYMT")  # fmt: skip


@pytest.fixture
def alice(db: None) -> Iterator[str]:
    policies._cached = None
    registration.apply(file(clinic(), hospital(), PORTAL))
    directory.bump_epoch()
    named = Demographics(
        names=(HumanName(family="Delgado", given=("Rosa",)),), birth_date="1970-05-01", gender="female"
    )
    feed = RecordFeed(participant_id="org-clinic", authority="2.999.10.1.1", value="A1", demographics=named)
    yield str(linking.feed(feed).person_id)
    policies._cached = None


def self_caller(person: str) -> Caller:
    return Caller(participant_id="org-portal", organization_id="org-portal", client_id="portal", user_id=f"Patient/{person}", role="patient", purpose="PATRQT", face="portal")  # fmt: skip


def helper(person: str, **grant: Any) -> Caller:
    pk = identifiers.anchor(person).pk
    proxies.grant(
        identifier_pk=pk, person="RelatedPerson/sam", kind="nominated", verified_by="desk", evidence="form 7", **grant
    )
    return replace(self_caller(person), user_id="RelatedPerson/sam", role="proxy", on_behalf_of=f"Patient/{person}")


def document(name: str, **values: Any) -> DisclosureDraft:
    standard: dict[str, Any] = {"document_id": str(uuid.uuid5(uuid.NAMESPACE_OID, name)), "title": f"{name} of May", "type_display": name, "custodian": "org-clinic", "what": "bytes", "confidentiality": "N", "rule": "F1"}  # fmt: skip
    return DisclosureDraft(**(standard | values))


def look(person: str, minute: float, caller: Caller = EVE, kind: EventType = EventType.RETRIEVE_DOCUMENT, **values: Any) -> None:  # fmt: skip
    write([EventDraft(kind=kind, caller=caller, person_id=person, at=NOW - timedelta(minutes=minute), **values)])


def entries(patient: str, /, **filters: Any) -> tuple[access_log.LogEntry, ...]:
    page = access_log.log_for_patient(self_caller(patient), patient, LogFilters(**filters))
    return tuple(entry for entry in page.entries if entry.sentence != "added.person")


def test_near_looks_of_one_reader_are_one_line_with_its_items(alice: str) -> None:
    for minute, name in ((0, "Letter"), (10, "Heart tracing"), (14, "Blood test"), (200, "Letter")):
        look(alice, minute, disclosures=(document(name),))
    first, second = entries(alice)
    assert (first.count, first.at, first.first_at) == (3, NOW, NOW - timedelta(minutes=14))
    assert [item.kind for item in first.items] == ["Letter", "Heart tracing", "Blood test"]
    assert (
        access_log.sentence_words(first)
        == "Dr. Eve Marlowe, doctor at The Clinic, opened 3 of your documents to treat you."
    )
    assert (
        access_log.sentence_words(second) == "Dr. Eve Marlowe, doctor at The Clinic, opened your letter to treat you."
    )
    assert access_log_words.rule_words(second).startswith("Shown under the general rule of")


def test_each_kind_of_look_has_its_verb_result_and_part(alice: str) -> None:
    nurse = replace(EVE, user_id="Practitioner/jo", user_name="Jo Ade", role="nurse", intermediary_id="org-hospital")
    look(alice, 1, PAYER, EventType.FIND_DOCUMENTS, denied=((str(uuid.uuid4()), "D3"),))
    look(
        alice,
        2,
        nurse,
        EventType.FIND_DOCUMENTS,
        disclosures=(document("Letter", what="metadata"),),
        denied=(("x", "D3"),),
    )
    look(
        alice,
        3,
        replace(EVE, purpose="BTG"),
        disclosures=(document("Letter", rule="D2"),),
        personal={"text": "Found at home"},
    )
    look(alice, 4, replace(EVE, user_id="Device/org-clinic", user_name=""), EventType.PATIENT_MATCH, disclosures=(document("x", what="demographics", document_id="Patient/x#1"),))  # fmt: skip
    look(alice, 5, replace(EVE, user_id="", user_name="", role=None, purpose=None), EventType.PROVIDE_DOCUMENT_BUNDLE)
    staff_look(staff_user="ada", role="steward", person_id=alice, what="identity", reason="duplicate review")
    found = {entry.sentence: entry for entry in entries(alice)}
    assert {key: (entry.seen, entry.who.kind, entry.part) for key, entry in found.items()} == {
        "asked-for.documents": (Seen.REFUSED, ActorKind.ORGANIZATION, Part.PEOPLE),
        "looked-at.one": (Seen.PARTLY, ActorKind.PERSON, Part.PEOPLE),
        "opened.one": (Seen.EMERGENCY, ActorKind.PERSON, Part.PEOPLE),
        "looked-up": (Seen.SEEN, ActorKind.ORGANIZATION, Part.PEOPLE),
        "added.documents": (Seen.SEEN, ActorKind.ORGANIZATION, Part.PEOPLE),
        "staff": (Seen.SEEN, ActorKind.STAFF, Part.PEOPLE),
    }
    assert access_log.sentence_words(found["asked-for.documents"]) == "The Hospital asked for your documents to decide on a payment. Nothing was shown."  # fmt: skip
    assert access_log_words.rule_words(found["asked-for.documents"]) == "Refused because of your choice."
    assert (found["looked-at.one"].relay, found["looked-at.one"].who.name) == ("The Hospital", "Jo Ade")
    assert found["opened.one"].quotation == "Found at home"


def test_reading_the_own_log_is_an_event_shown_apart(alice: str) -> None:
    assert entries(alice) == ()
    (entry,) = entries(alice)
    assert (entry.who.kind, entry.part, access_log.sentence_words(entry)) == (
        ActorKind.YOU,
        Part.OWN,
        "You read this log.",
    )
    assert AuditEvent.objects.filter(kind="access-log-read", person_id=alice).count() == 2


@pytest.mark.parametrize("other", ["another-patient", "a-participant", "a-helper-without-grant"])
def test_nobody_else_reads_the_log_and_the_attempt_is_kept(alice: str, other: str) -> None:
    caller = {
        "another-patient": self_caller(str(uuid.uuid4())),
        "a-participant": EVE,
        "a-helper-without-grant": replace(self_caller(alice), user_id="RelatedPerson/sam", role="proxy"),
    }[other]
    with pytest.raises((NotFound, AccessRefused)):
        access_log.log_for_patient(caller, alice)
    assert AuditEvent.objects.get(kind="access-log-read").outcome == Outcome.REFUSED
    shown = [entry for entry in entries(alice) if entry.seen is Seen.REFUSED]
    assert len(shown) == (other != "a-participant")  # refused for what it is, before any record was looked up


def test_an_unknown_person_and_a_hidden_one_are_the_same_refusal(alice: str) -> None:
    caller = self_caller(str(uuid.uuid4()))
    raised = []
    for person in (alice, str(uuid.uuid4())):
        with pytest.raises(NotFound) as error:
            access_log.log_for_patient(caller, person)
        raised.append(str(error.value))
    assert raised[0] == raised[1]


def test_a_helper_sees_no_trace_of_a_document_above_the_grant(alice: str) -> None:
    sam = helper(alice, max_confidentiality="N")
    look(alice, 1, disclosures=(document("Secret", confidentiality="R", labels=("HIV",)),))
    look(alice, 100, disclosures=(document("Letter"), document("Secret", confidentiality="R", labels=("HIV",))))
    look(alice, 200, denied=((document("Secret").document_id, "D3"),))
    page = access_log.log_for_patient(sam, alice)
    shown = [entry for entry in page.entries if entry.sentence.startswith(("opened", "asked"))]
    assert [(entry.sentence, [item.kind for item in entry.items]) for entry in shown] == [("opened.one", ["Letter"])]
    assert "Secret" not in str(page)
    assert "Secret" not in str(access_log_forms.as_fhir(page, base_url="https://hub.example/fhir"))
    for words in ({"text": "secret"}, {"kind": "secret"}):
        assert not access_log.log_for_patient(sam, alice, LogFilters(**words)).entries
    assert len([e for e in entries(alice) if e.sentence.startswith(("opened", "asked"))]) == 3


def test_a_title_the_care_team_holds_back_is_not_in_the_patients_log_yet(alice: str) -> None:
    look(alice, 1, disclosures=(document("Diagnosis", labels=("NOPAT",)),))
    page = access_log.log_for_patient(self_caller(alice), alice)
    (entry,) = [entry for entry in page.entries if entry.sentence == "opened.withheld"]
    assert entry.items[0].withheld
    forms = (
        str(page.entries),
        str(access_log_forms.as_fhir(page, base_url="https://h/fhir")),
    )
    assert not [form for form in forms if "Diagnosis" in form]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"organization": "The Hospital"}, {"asked-for.documents"}),
        ({"organization": "org-clinic"}, {"opened.one"}),
        ({"purpose": "HPAYMT"}, {"asked-for.documents"}),
        ({"person": "marlowe"}, {"opened.one"}),
        ({"kind": "letter"}, {"opened.one"}),
        ({"text": "decide on a payment"}, {"asked-for.documents"}),
        ({"seen": Seen.REFUSED}, {"asked-for.documents"}),
        ({"part": Part.OWN}, set()),
        ({"since": NOW - timedelta(minutes=5), "until": NOW}, {"opened.one"}),
        ({"text": "nowhere"}, set()),
    ],
)  # fmt: skip
def test_filters_narrow_the_log(alice: str, filters: dict[str, Any], expected: set[str]) -> None:
    look(alice, 1, disclosures=(document("Letter"),))
    look(alice, 60, PAYER, EventType.FIND_DOCUMENTS, denied=(("x", "D3"),))
    assert {entry.sentence for entry in entries(alice, **filters)} == expected


def test_pages_hold_each_event_once_even_with_equal_times(alice: str) -> None:
    for n in range(23):
        look(alice, 0, replace(EVE, user_id=f"Practitioner/{n}"), disclosures=(document(f"D{n}"),))
    seen: list[str] = []
    cursor: Cursor | None = None
    for _ in range(10):
        page = access_log.log_for_patient(self_caller(alice), alice, LogFilters(purpose="TREAT"), cursor, 5)
        seen += [event for entry in page.entries for event in entry.event_ids]
        cursor = page.next
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 23


def test_a_long_look_through_the_log_is_continued_where_it_would_be_without_what_is_hidden(
    alice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log, "_MAX_LOOKED_AT", 3)
    monkeypatch.setattr(access_log, "_CHUNK", 2)
    sam = helper(alice, max_confidentiality="N")

    def places() -> list[Cursor]:
        """Where each page ends for a helper who looks for a word that stands nowhere in a log of eight letters."""
        found: list[Cursor] = []
        while len(found) < 20:
            page = access_log.log_for_patient(
                sam, alice, LogFilters(text="nowhere", until=NOW), before=found[-1] if found else None
            )
            assert not page.entries
            if page.next is None:
                return found
            found.append(page.next)
        raise AssertionError("pages without end")

    for minute in range(8):
        look(alice, minute + 1, disclosures=(document("Letter"),))
    without = places()
    assert len(without) >= 2
    for minute in range(8):
        look(alice, minute + 1.5, disclosures=(document("Notes", confidentiality="V"),))
    assert places() == without


def test_a_page_costs_the_same_whatever_its_length(alice: str, django_assert_max_num_queries: Any) -> None:
    def cost(count: int) -> int:
        for n in range(count):
            look(alice, n, replace(EVE, user_id=f"Practitioner/{n}"), disclosures=(document(f"D{n}"),))
        with django_assert_max_num_queries(40) as context:
            access_log.log_for_patient(self_caller(alice), alice, LogFilters(purpose="TREAT"))
        return len(context)

    cost(1)
    few = cost(2)
    assert cost(30) == few


def test_csv_cells_cannot_act_as_formulas() -> None:
    table = access_log_forms.csv_text(
        [["who", "what"], ["=HYPERLINK(1)", "@cmd"], ["+1", "-1"], ["\tx", "Letter, of May"]]
    )
    assert list(csv.reader(io.StringIO(table))) == [
        ["who", "what"], ["'=HYPERLINK(1)", "'@cmd"], ["'+1", "'-1"], ["'\tx", "Letter, of May"]
    ]  # fmt: skip


def test_events_under_an_id_from_before_a_merge_stay_in_the_log(alice: str) -> None:
    other = Demographics(names=(HumanName(family="Quist", given=("Ada",)),), birth_date="1950-01-01", gender="female")
    feed = RecordFeed(participant_id="org-hospital", authority="2.999.10.2.1", value="B1", demographics=other)
    old = str(linking.feed(feed).person_id)
    assert old != alice
    look(old, 1, disclosures=(document("Letter"),))
    linking.merge(uuid.UUID(alice), uuid.UUID(old), actor="steward", reason="same person")
    survivor = str(identifiers.survivor(old))
    assert "opened.one" in {entry.sentence for entry in entries(survivor)}


RANGE = {"since": NOW - timedelta(days=30), "until": NOW + timedelta(days=3650)}


def test_a_search_of_events_needs_a_date_or_an_id(alice: str) -> None:
    with pytest.raises(BadRequest):
        audit_search.search_events(AuditQuery(), self_caller(alice))


def test_a_participant_finds_its_own_events_without_a_word_on_what_was_hidden(alice: str) -> None:
    look(alice, 1, disclosures=(document("Letter"),), denied=(("hidden", "D3"),), decision={"considered": ["c@1"]})
    look(alice, 2, denied=(("hidden", "D3"),), rule="D3", reason="patient-deny", kind=EventType.FIND_DOCUMENTS)
    look(alice, 3, PAYER, disclosures=(document("Letter"),))
    page = audit_search.search_events(AuditQuery(**RANGE, kinds=("ITI-67", "ITI-68")), EVE)
    assert [(e.kind, e.person_id, e.denied, e.rule, dict(e.decision)) for e in page.events] == [
        ("ITI-68", alice, (), "", {}),
        ("ITI-67", "", (), "", {}),
    ]
    by_patient = audit_search.search_events(AuditQuery(**RANGE, person_ids=(alice,), kinds=("ITI-67", "ITI-68")), EVE)
    assert [e.kind for e in by_patient.events] == ["ITI-68"]
    assert audit_search.search_events(AuditQuery(**RANGE, organizations=("org-hospital",)), EVE).events == ()


def test_a_page_of_events_tells_nothing_of_those_left_out(alice: str) -> None:
    for minute in range(1, 6):
        look(alice, minute, denied=(("hidden", "D3"),), rule="D3", kind=EventType.FIND_DOCUMENTS)
    asked = AuditQuery(**RANGE, person_ids=(alice,), limit=2)
    absent = audit_search.search_events(replace(asked, person_ids=(str(uuid.uuid4()),)), EVE)
    assert audit_search.search_events(asked, EVE) == absent
    for minute in (10, 20, 30):
        look(alice, minute, disclosures=(document("Letter"),))
    first = audit_search.search_events(asked, EVE)
    assert len(first.events) == 2
    second = audit_search.search_events(replace(asked, before=first.next), EVE)
    assert [len(second.events), second.next] == [1, None]


def test_a_patient_finds_own_events_only_and_staff_all(alice: str) -> None:
    look(alice, 1, disclosures=(document("Letter"),))
    look(str(uuid.uuid4()), 1, disclosures=(document("Letter"),))
    asked = AuditQuery(**RANGE, kinds=("ITI-68",))
    assert {e.person_id for e in audit_search.search_events(asked, self_caller(alice)).events} == {alice}
    officer = Caller(participant_id="hub", organization_id="hub", client_id="backoffice", user_id="Staff/po", role="privacy-officer")  # fmt: skip
    assert len(audit_search.search_events(asked, officer).events) == 2
    assert AuditEvent.objects.filter(kind="ITI-81", outcome=0, person_id=alice).count() == 2
    with pytest.raises(AccessRefused):
        audit_search.search_events(asked, replace(EVE, role=None, purpose=None))


def test_a_proof_is_for_the_patient_and_staff_only(alice: str, settings: Any, tmp_path: Any) -> None:
    settings.SECRETS_DIR, settings.CHECKPOINT_DIR = tmp_path / "secrets", tmp_path / "checkpoints"
    look(alice, 1, disclosures=(document("Letter"),))
    event_id = str(AuditEvent.objects.get(kind="ITI-68").id)
    with pytest.raises(NotFound):
        audit_search.proof(event_id, self_caller(alice))  # not sealed yet
    seal.seal_now()
    assert audit_search.proof(event_id, self_caller(alice))["event_id"] == event_id
    for caller in (EVE, helper(alice), self_caller(str(uuid.uuid4()))):
        with pytest.raises(NotFound):
            audit_search.proof(event_id, caller)
