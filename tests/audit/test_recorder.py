"""Writing to the log: what is kept, when, and at what cost."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.http import Http404

from hie.audit import personal, queries
from hie.audit.models import AuditEvent, AuditKey, AuditUnsealed, Disclosure
from hie.audit.recorder import (
    DisclosureDraft,
    EventDraft,
    EventType,
    Outcome,
    failed_login,
    recording,
    staff_look,
    token_issued,
    write,
    write_apart,
)
from hie.standards.errors import HubError
from hie.standards.facts import BasisItem, Caller

pytestmark = pytest.mark.django_db

ALICE = uuid.UUID(int=1)


def caller(**changes: Any) -> Caller:
    values: dict[str, Any] = {
        "participant_id": "org-clinic",
        "organization_id": "org-clinic",
        "client_id": "clinic",
        "user_id": "Practitioner/eve",
        "user_name": "Dr. Eve Marlowe",
        "role": "physician",
        "purpose": "TREAT",
        "request_id": "req-1",
        "network_address": "192.0.2.7",
    }
    return Caller(**(values | changes))


def words(event: AuditEvent) -> dict[str, Any]:
    return personal.open_words([(event.id, event.personal_key, event.personal)], connection).get(event.id, {})


def test_an_event_keeps_its_caller_patient_and_disclosures() -> None:
    basis = BasisItem(kind="consent", id="c1", version="2", path="provision[0]")
    disclosure = DisclosureDraft(document_id="d1", title="Letter", type_display="Discharge summary", labels={"HIV", "BH"}, basis=(basis,))  # fmt: skip
    (event_id,) = write(
        [
            EventDraft(
                kind=EventType.FIND_DOCUMENTS,
                caller=caller(),
                person_id=ALICE,
                denied=(("d2", "D3"),),
                disclosures=(disclosure,),
            )
        ]
    )
    event = AuditEvent.objects.get(id=event_id)
    assert (event.kind, event.action, event.outcome, event.person_id) == ("ITI-67", "E", 0, ALICE)
    assert (event.organization, event.role, event.purpose, event.user) == ("org-clinic", "physician", "TREAT", "Practitioner/eve")  # fmt: skip
    assert event.denied == [["d2", "D3"]]
    row = Disclosure.objects.get(event_id=event_id)
    assert (row.document_id, row.labels, row.basis) == ("d1", ["BH", "HIV"], [{"kind": "consent", "id": "c1", "version": "2", "path": "provision[0]"}])  # fmt: skip


def test_names_titles_and_raw_queries_are_stored_encrypted_only() -> None:
    draft = EventDraft(kind=EventType.FIND_DOCUMENTS, caller=caller(), person_id=ALICE, query=b"patient.family=Marlowe", disclosures=(DisclosureDraft(document_id="d1", title="Heart letter"),))  # fmt: skip
    (event_id,) = write([draft])
    event = AuditEvent.objects.get(id=event_id)
    with connection.cursor() as cursor:
        cursor.execute("SELECT e::text, (SELECT string_agg(d::text, '') FROM audit_disclosure d) FROM audit_event e")
        stored = "".join(str(cursor.fetchall()))
    assert not [word for word in ("Marlowe", "Eve", "Heart") if word in stored]
    assert words(event) == {"user_name": "Dr. Eve Marlowe", "query": "patient.family=Marlowe", "documents": [["Heart letter", ""]]}  # fmt: skip


def test_shredding_a_patients_key_leaves_the_words_of_others_readable() -> None:
    first, second = write([EventDraft(kind=EventType.PATIENT_READ, caller=caller(), person_id=p) for p in (ALICE, uuid.UUID(int=2))])  # fmt: skip
    AuditKey.objects.filter(subject=str(ALICE)).update(wrapped=None)
    assert words(AuditEvent.objects.get(id=first)) == {}
    assert words(AuditEvent.objects.get(id=second)) == {"user_name": "Dr. Eve Marlowe"}


def test_encrypted_words_do_not_open_on_another_event() -> None:
    first, second = write(
        [EventDraft(kind=EventType.PATIENT_READ, caller=caller(user_name=n), person_id=ALICE) for n in "ab"]
    )
    moved = AuditEvent.objects.get(id=first)
    moved.id = second
    assert words(moved) == {}


def test_many_events_cost_one_statement(django_assert_num_queries: Any) -> None:
    def drafts() -> list[EventDraft]:
        return [EventDraft(kind=EventType.FIND_DOCUMENTS, caller=caller(), person_id=uuid.UUID(int=n), disclosures=[DisclosureDraft(document_id=f"d{d}") for d in range(4)]) for n in range(1, 21)]  # fmt: skip

    with django_assert_num_queries(3):  # keys: look, make; events with their disclosures
        write(drafts())
    with django_assert_num_queries(2):  # keys of this transaction are read again until it commits
        write(drafts())
    assert AuditUnsealed.objects.count() == 40


@pytest.mark.django_db(transaction=True)
def test_a_known_patient_costs_one_statement(django_assert_num_queries: Any) -> None:
    draft = EventDraft(kind=EventType.RETRIEVE_DOCUMENT, caller=caller(), person_id=ALICE, disclosures=(DisclosureDraft(document_id="d1"),))  # fmt: skip
    write([draft])
    with transaction.atomic(), django_assert_num_queries(1):
        write([draft])


@pytest.mark.django_db(transaction=True)
def test_two_who_make_the_key_of_one_patient_at_once_both_write_under_the_one_that_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of several new patients, too: others are there first with one after the other."""
    bea, drafts = uuid.UUID(int=2), []
    for person in (ALICE, bea):
        drafts.append(EventDraft(kind=EventType.PATIENT_READ, caller=caller(), person_id=person))
    look = personal._read
    overtaken: list[str] = []

    def read(subjects: list[str], using: Any) -> Any:
        found = look(subjects, using)
        if len(overtaken) < 2:
            # Between the look and the statement somebody else writes about one of them.
            overtaken.append(subjects[len(overtaken)])
            monkeypatch.setattr(personal, "_read", look)
            other = threading.Thread(target=_write_apart, args=[overtaken[-1]])
            other.start()
            other.join()
            monkeypatch.setattr(personal, "_read", read)
        return found

    monkeypatch.setattr(personal, "_read", read)
    written = write(drafts)
    assert len(overtaken) == 2
    assert AuditKey.objects.count() == 2
    assert [words(AuditEvent.objects.get(id=event_id)) for event_id in written] == [
        {"user_name": "Dr. Eve Marlowe"}
    ] * 2


def _write_apart(subject: str) -> None:
    try:
        write([EventDraft(kind=EventType.PATIENT_READ, caller=caller(), person_id=subject)])
    finally:
        personal.forget_keys()
        connection.close()


@pytest.mark.django_db(transaction=True)
def test_a_key_of_a_transaction_that_rolled_back_is_not_used_again() -> None:
    draft = EventDraft(kind=EventType.PATIENT_READ, caller=caller(), person_id=ALICE)
    with transaction.atomic():
        write([draft])
        transaction.set_rollback(True)
    (event_id,) = write([draft])
    assert words(AuditEvent.objects.get(id=event_id)) == {"user_name": "Dr. Eve Marlowe"}


@pytest.mark.parametrize("statement", ["UPDATE audit_event SET rule = 'x'", "DELETE FROM audit_event", "UPDATE audit_disclosure SET rule = 'x'", "DELETE FROM audit_disclosure", "DELETE FROM audit_event_default"])  # fmt: skip
@pytest.mark.parametrize("granted", [False, True], ids=["as-the-role", "with-the-right-taken-back"])
def test_rows_of_the_log_can_neither_be_changed_nor_deleted(statement: str, granted: bool) -> None:
    draft = EventDraft(kind=EventType.PATIENT_READ, caller=caller(), person_id=ALICE, disclosures=(DisclosureDraft(document_id="d1"),))  # fmt: skip
    import datetime

    write([draft, EventDraft(kind=EventType.CLOCK, caller=None, at=datetime.datetime(1999, 1, 1, tzinfo=datetime.UTC))])
    with connection.cursor() as cursor:
        if granted:
            cursor.execute("GRANT UPDATE, DELETE ON audit_event, audit_disclosure, audit_event_default TO CURRENT_USER")
        with pytest.raises(DatabaseError, match="append-only" if granted else "permission denied|append-only"), transaction.atomic():  # fmt: skip
            cursor.execute(statement)


class Odd(HubError):
    """Refused."""


class Refused(HubError):
    """Refused by a rule."""

    rule = "G4"
    reason = "purpose-not-permitted"


@pytest.mark.parametrize(
    ("error", "outcome", "rule", "reason"),
    [
        pytest.param(Odd("no", element="DocumentEntry.classCode"), Outcome.REFUSED, "", "odd", id="a-refusal"),
        pytest.param(Refused("no"), Outcome.REFUSED, "G4", "purpose-not-permitted", id="a-refusal-by-rule"),
        pytest.param(Http404(), Outcome.REFUSED, "", "http404", id="absent"),
        pytest.param(ZeroDivisionError("Alice"), Outcome.FAILED, "", "zero-division-error", id="our-fault"),
    ],
)
@pytest.mark.django_db(transaction=True)
def test_an_exception_leaves_one_refusal_and_nothing_of_the_act(error: Exception, outcome: Outcome, rule: str, reason: str) -> None:  # fmt: skip
    def act() -> None:
        with recording(EventType.PROVIDE_DOCUMENT_BUNDLE, caller()) as event, transaction.atomic():
            event.about(ALICE, disclosures=(DisclosureDraft(document_id="d1"),))
            event.commit()
            event.about(ALICE)
            raise error

    with pytest.raises(type(error)):
        act()
    kept = AuditEvent.objects.get()
    assert (kept.outcome, kept.rule, kept.reason, kept.person_id) == (outcome, rule, reason, ALICE)
    assert not Disclosure.objects.exists()
    assert "Alice" not in str(kept.detail)


@pytest.mark.django_db(transaction=True)
def test_a_refusal_inside_a_transaction_survives_its_rollback() -> None:
    with pytest.raises(Odd), transaction.atomic(), recording(EventType.PATIENT_READ, caller()):
        raise Odd
    assert AuditEvent.objects.get().reason == "odd"


def test_leaving_without_commit_writes_one_event_a_patient() -> None:
    with recording(EventType.PATIENT_QUERY, caller(), query="family=x") as event:
        event.about(ALICE).about(uuid.UUID(int=2)).about(ALICE, rule="F1")
    assert sorted(AuditEvent.objects.values_list("person_id", "rule")) == [(ALICE, "F1"), (uuid.UUID(int=2), "")]


def test_finding_nobody_is_an_event_too() -> None:
    with recording(EventType.PATIENT_QUERY, caller()):
        pass
    assert AuditEvent.objects.get().person_id is None


@pytest.mark.django_db(transaction=True)
def test_what_was_committed_is_not_written_twice() -> None:
    with recording(EventType.PATIENT_READ, caller()) as event, transaction.atomic():
        event.about(ALICE)
        event.commit()
    assert AuditEvent.objects.count() == 1


@pytest.mark.parametrize("value", ["a\x00b", "\ud800", "x" * 5000, "né"])
def test_odd_text_from_outside_does_not_cost_the_event(value: str) -> None:
    odd = caller(user_id=value, request_id=value, user_name=value)
    write([EventDraft(kind=EventType.OTHER, caller=odd, detail={value: [value, float("nan"), 2**70]}, query=value, denied=[(value, "D3")])])  # fmt: skip
    assert AuditEvent.objects.count() == 1


def test_failed_logins_tokens_and_looks_of_staff_are_events() -> None:
    failed_login(client_id="c", participant_id=None, reason="unknown-client", network_address="192.0.2.1", request_id="r", face="oauth")  # fmt: skip
    token_issued(caller(scopes=frozenset({"system/*.rs"})))
    staff_look(staff_user="ada", role="steward", person_id=str(ALICE), what="identity", reason="duplicate review")
    found = AuditEvent.objects.order_by("at")
    assert [(e.kind, e.outcome) for e in found] == [("token-refused", 4), ("ITI-71", 0), ("staff-look", 0)]
    assert words(found[2]) == {"text": "duplicate review"}


@pytest.mark.django_db(transaction=True)
def test_two_first_events_of_a_patient_share_one_key() -> None:
    def once() -> None:
        write([EventDraft(kind=EventType.PATIENT_READ, caller=caller(), person_id=ALICE)])
        connection.close()

    threads = [threading.Thread(target=once) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert AuditKey.objects.count() == 1
    assert [words(event) for event in AuditEvent.objects.all()] == [{"user_name": "Dr. Eve Marlowe"}] * 4


def test_write_apart_inside_a_tests_own_transaction_is_an_ordinary_write() -> None:
    write_apart([EventDraft(kind=EventType.OTHER, caller=None)])
    assert AuditEvent.objects.count() == 1


def test_who_has_received_a_document_leaves_out_emergencies() -> None:
    """Of which the patient's side may be told later."""
    for organization, purpose in (("org-clinic", "TREAT"), ("org-hospital", "BTG")):
        write(
            [
                EventDraft(
                    kind=EventType.RETRIEVE_DOCUMENT,
                    caller=caller(participant_id=organization, organization_id=organization, purpose=purpose),
                    person_id=ALICE,
                    disclosures=(DisclosureDraft(document_id="d1", what="bytes"),),
                )
            ]
        )
    found = queries.received(["d1"], since=datetime(2020, 1, 1, tzinfo=UTC))
    assert [(organization, document) for organization, document, _ in found] == [("org-clinic", "d1")]
