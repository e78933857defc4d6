"""What has had its time goes, by a schedule of two people, in portions; and nothing that a legal hold keeps."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from consent import retention as schedule
from consent.errors import PolicyRefused, ReportOutdated
from consent.models import LegalHold, PolicyProposal, RetentionRule, RetentionRun
from consent.retention import PARTS, Part
from documents import repository
from documents.models import Binary
from hie.audit import checkpoints, seal, verify
from hie.audit.models import AuditEvent
from hie.audit.recorder import DisclosureDraft, EventDraft, EventType, write
from hie.exchange import governance, held, retention, retention_parts, retention_report
from hie.exchange.access import Staff
from hie.exchange.errors import AccessRefused
from hie.exchange.models import InboundMessage, PatientNotice, Query
from hie.outbox.models import OutboxMessage
from hie.trust.errors import FourEyes
from hie.trust.models import PatientAccount, SignedIn
from patients import identifiers, linking
from patients.models import ImportLine, ImportRun
from tests.backoffice.conftest import document, question, world
from tests.backoffice.test_governance import activate
from tests.exchange.world import HOSPITAL_AUTHORITY, caller, hospital_caller, rosa

__all__ = ["document", "question", "world"]

IDA = Staff(user_id="ida", roles=frozenset({"administrator"}), account=1)
BO = Staff(user_id="bo", roles=frozenset({"privacy-officer"}), account=2)
EVA = Staff(user_id="eva", roles=frozenset({"auditor"}), account=3)


@pytest.fixture(autouse=True)
def _folders(settings: Any, tmp_path: Path) -> None:
    settings.CHECKPOINT_DIR = tmp_path / "checkpoints"
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"


def sweep(*, seconds: float = 60) -> int:
    return retention.carry_on(until=time.monotonic() + seconds)


def again() -> None:
    """As if a day had gone by since every part was last gone over."""
    RetentionRun.objects.filter(finished_at__isnull=False).update(started_at=timezone.now() - timedelta(days=2))


def ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def message(days: float, participant: str = "org-hospital", **changes: Any) -> InboundMessage:
    values: dict[str, Any] = {
        "protocol": "hl7v2", "sender": "A|B", "control_id": uuid.uuid4().hex, "digest": b"d" * 32, "raw": b"x",
        "key_id": "k", "size": 1, "status": "accepted", "participant_id": participant, "received_at": ago(days),
    }  # fmt: skip
    return InboundMessage.objects.create(**values | changes)


def asked(days: float, person: UUID, status: str = "complete", participant: str = "org-clinic") -> Query:
    at = ago(days)
    return Query.objects.create(
        participant_id=participant, client_id=participant, user_id="u", caller={}, person_id=person, purpose="TREAT",
        status=status, created_at=at, deadline_at=at, expires_at=at + timedelta(days=1),
    )  # fmt: skip


def account_of(person: UUID) -> PatientAccount:
    pk = identifiers.anchor(person).pk
    return PatientAccount.objects.create(login=uuid.uuid4().hex, password="!", name="Rosa", identifier_id=pk)


def notice(days: float, person: UUID) -> PatientNotice:
    account = account_of(person)
    return PatientNotice.objects.create(
        account=account, identifier_id=account.identifier_id, kind="look", event_id=uuid.uuid4(), at=ago(days)
    )


def session(days: float, person: UUID, *, ended: bool = True) -> SignedIn:
    at = ago(days)
    return SignedIn.objects.create(
        account=account_of(person), started_at=at, seen_at=at, ends_at=at, ended_at=at if ended else None
    )


def delivery(days: float, key: str, *, delivered: bool = True, receiver: str = "org-clinic") -> OutboxMessage:
    at = ago(days)
    return OutboxMessage.objects.create(
        topic="consent", key=key, receiver=receiver, created_at=at, delivered_at=at if delivered else None
    )


def imported(days: float, participant: str = "org-hospital", lines: int = 3) -> ImportRun:
    run = ImportRun.objects.create(participant_id=participant, status="done", finished_at=ago(days))
    ImportLine.objects.bulk_create([ImportLine(run=run, number=n, outcome="new") for n in range(1, lines + 1)])
    return run


def upload(days: float, owner: str = "org-hospital") -> Binary:
    staged = repository.put(uuid.uuid4().bytes, content_type="text/plain", owner=owner)
    Binary.objects.filter(pk=staged.id).update(created_at=ago(days))
    return Binary.objects.get(pk=staged.id)


def still(row: Any) -> bool:
    return type(row)._default_manager.filter(pk=row.pk).exists()


# --- the schedule ----------------------------------------------------------------------------------------------------


def test_nobody_goes_below_what_the_law_asks_whatever_stands_in_the_rows(db: None) -> None:
    for part, kept in PARTS.items():
        with pytest.raises(PolicyRefused, match=f"at least {kept.least_days} days"):
            governance.propose("retention", part, {"days": kept.least_days - 1}, IDA, reason="less")
        assert kept.default_days >= kept.least_days
    assert PARTS[Part.LOG].least_days >= 365 * 6 + 2
    for wrong in ({"days": 36_526}, {"days": "90"}, {"days": True}, {"days": 90, "x": 1}, {}, [], {"days": 90.5}):
        with pytest.raises(PolicyRefused):
            governance.propose("retention", "questions", wrong, IDA, reason="more")
    with pytest.raises(PolicyRefused):
        governance.propose("retention", "consents", {"days": 90}, IDA, reason="more")
    # A hand in the database, or an older version of the hub.
    RetentionRule.objects.create(part="log", version=1, body={"days": 30})
    assert schedule.in_force()[Part.LOG].days == PARTS[Part.LOG].least_days
    for statement in ("UPDATE consent_retentionrule SET version = 2", "DELETE FROM consent_retentionrule"):
        with connection.cursor() as cursor, pytest.raises(DatabaseError), transaction.atomic():
            cursor.execute(statement)


def test_a_time_is_changed_by_two_people_who_have_read_what_would_go(world: UUID) -> None:
    rows = [asked(days, world) for days in (10, 40, 70, 100)]
    with pytest.raises(AccessRefused):
        governance.propose("retention", "questions", {"days": 60}, EVA, reason="space")
    proposal = governance.propose("retention", "questions", {"days": 60}, IDA, reason="space")
    kept = proposal.reports.get().body["kept"]
    assert kept["days"] == [90, 60]
    assert [(one["when"], one["now"], one["then"]) for one in kept["rows"]] == [
        ("at the next sweep", 1, 2),
        ("within 30 days", 2, 3),
        ("within a year", 4, 4),
    ]
    with pytest.raises(FourEyes):
        activate(proposal, IDA)
    assert schedule.in_force()[Part.QUESTIONS].days == 90
    assert activate(proposal, BO).version == 1
    assert (schedule.in_force()[Part.QUESTIONS].days, schedule.in_force()[Part.QUESTIONS].version) == (60, 1)
    assert sweep() == 2
    assert [still(row) for row in rows] == [True, True, False, False]
    run = RetentionRun.objects.get(part="questions")
    assert (run.rule_version, run.days, run.removed, run.held) == (1, 60, 2, 0)
    event = AuditEvent.objects.get(kind="retention-run")
    said = {name: event.detail[name] for name in ("part", "rule_version", "days", "removed", "held", "run")}
    assert said == {"part": "questions", "rule_version": 1, "days": 60, "removed": 2, "held": 0, "run": run.pk}
    assert event.detail["first_at"] < event.detail["last_at"] < event.detail["ended_before"]


def test_a_time_that_is_put_off_counts_from_its_instant(world: UUID) -> None:
    later = timezone.now() + timedelta(days=7)
    activate(governance.propose("retention", "questions", {"days": 30}, IDA, reason="x", effective_from=later), BO)
    assert schedule.in_force()[Part.QUESTIONS].days == 90
    assert schedule.in_force(later + timedelta(seconds=1))[Part.QUESTIONS].days == 30
    (line,) = [one for one in retention_report.schedule() if one.part is Part.QUESTIONS]
    assert line.next is not None
    assert line.next[0] == 30


def test_a_report_is_out_of_date_once_a_hold_was_placed(world: UUID) -> None:
    proposal = governance.propose("retention", "questions", {"days": 30}, IDA, reason="x")
    retention.place("person", str(world), BO, reason="matter 12")
    with pytest.raises(ReportOutdated):
        activate(proposal, BO)


# --- each part -------------------------------------------------------------------------------------------------------


def test_of_each_part_only_what_has_had_its_time_goes(world: UUID) -> None:
    going: list[Any] = [
        message(366), asked(91, world), notice(731, world), session(31, world), session(31, world, ended=False),
        delivery(31, "x"), upload(2),
    ]  # fmt: skip
    staying: list[Any] = [
        message(364), message(400, status="received"), asked(89, world), asked(100, world, status="running"),
        notice(729, world), session(29, world), delivery(29, "x"), delivery(400, "x", delivered=False), upload(0.5),
        imported(366), imported(364),
    ]  # fmt: skip
    used = upload(50)
    assert sweep() >= len(going) + 3
    assert [still(row) for row in going] == [False] * len(going)
    assert [still(row) for row in staying] == [True] * len(staying)
    assert not still(used)
    assert [row.lines.count() for row in staying[-2:]] == [0, 3]
    parts = set(RetentionRun.objects.filter(removed__gt=0).values_list("part", flat=True))
    assert parts == set(Part) - {Part.LOG}
    again()
    assert sweep() == 0
    assert not RetentionRun.objects.filter(finished_at__isnull=True).exists()


def test_bytes_of_a_registered_document_stay_whatever_their_age(document: Any) -> None:
    Binary.objects.update(created_at=ago(4000))
    count = Binary.objects.count()
    assert count
    sweep()
    assert Binary.objects.count() == count


def test_a_sweep_goes_in_portions_and_on_where_it_was_broken_off(world: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention_parts, "PORTION", 2)
    rows = [asked(100 + n, world) for n in range(5)]
    ticks = iter(range(1000))
    # The clock gives each call time for one portion of questions and no more.
    monkeypatch.setattr(retention, "time", type("clock", (), {"monotonic": staticmethod(lambda: next(ticks))}))
    monkeypatch.setattr(schedule, "PARTS", {Part.QUESTIONS: PARTS[Part.QUESTIONS]})
    seen = []
    for _ in range(4):
        retention.carry_on(until=next(ticks) + 2)
        seen.append(sum(still(row) for row in rows))
    assert seen == [3, 1, 0, 0]
    (run,) = RetentionRun.objects.filter(part="questions")
    assert (run.removed, run.finished_at is not None) == (5, True)
    assert run.first_at is not None
    assert run.last_at is not None
    assert (run.first_at, run.last_at) == (rows[4].created_at, rows[0].created_at)


def test_a_new_time_counts_from_the_next_sweep_and_each_part_is_gone_over_once_a_day(world: UUID) -> None:
    sweep()
    row = asked(100, world)
    sweep()
    assert still(row)
    again()
    sweep()
    assert not still(row)


# --- the log ---------------------------------------------------------------------------------------------------------


def _look(at: datetime, person: UUID | None, document_id: str, organization: str = "org-clinic") -> UUID:
    shown = DisclosureDraft(document_id=document_id)
    who = caller(organization_id=organization, participant_id=organization)
    (found,) = write([EventDraft(kind=EventType.RETRIEVE_DOCUMENT, caller=who, person_id=person, at=at, disclosures=(shown,))])  # fmt: skip
    return found


def sign(at: datetime | None = None) -> None:
    seal.seal_now(checkpoint=False)
    frontier, _ = checkpoints.last_frontier()
    checkpoints.add(frontier, seal.catch_up(frontier), now=at)


def test_events_of_the_log_go_once_their_removal_is_signed_for_and_the_log_verifies_throughout(db: None) -> None:
    old, young = ago(3700), ago(3000)
    ancient = [_look(old, uuid.UUID(int=n), f"d{n}") for n in range(1, 5)]
    sign(old + timedelta(hours=1))
    younger = [_look(young, uuid.UUID(int=n), f"e{n}") for n in range(1, 3)]
    sign(young + timedelta(hours=1))

    def there() -> list[bool]:
        return [AuditEvent.objects.filter(pk=one).exists() for one in (*ancient, *younger)]

    assert sweep() == 0
    assert there() == [True] * 6
    (event,) = AuditEvent.objects.filter(kind="log-retired")
    assert (event.detail["ranges"], event.detail["rule_version"], event.detail["days"]) == ([[1, 4]], 0, 3653)
    sweep()
    assert there() == [True] * 6, "what was announced is not signed for yet"
    seal.seal_now()
    assert verify.verify_live().ok
    assert sweep() == 4
    assert there() == [False] * 4 + [True] * 2
    assert verify.verify_live().ok
    run = RetentionRun.objects.get(part="log")
    assert (run.removed, run.held, run.finished_at is not None) == (4, 0, True)
    seal.seal_now()
    again()
    assert sweep() == 0
    assert verify.verify_live().ok


@pytest.mark.parametrize("when", ["before-it-was-announced", "between"])
@pytest.mark.parametrize("kind", ["person", "document", "organization"])
def test_events_under_a_hold_stay_whenever_it_was_placed_and_go_once_two_people_lifted_it(
    world: UUID, document: Any, kind: str, when: str
) -> None:
    old = ago(3700)
    entry = str(document.entry_uuid)
    _look(old, uuid.UUID(int=1), "other")
    by = {
        "person": _look(old, world, "other"),
        "document": _look(old, uuid.UUID(int=2), entry),
        "organization": _look(old, uuid.UUID(int=3), "other", "org-hospital"),
    }
    sign(old + timedelta(hours=1))
    subject = {"person": str(world), "document": document.unique_id, "organization": "org-hospital"}[kind]
    if when == "between":
        sweep()
    hold = retention.place(kind, subject, IDA, reason="matter 12")
    sweep()
    seal.seal_now()
    assert sweep() == 3
    assert {name for name, pk in by.items() if AuditEvent.objects.filter(pk=pk).exists()} == {kind}
    assert RetentionRun.objects.get(part="log").held == 1
    assert verify.verify_live().ok
    proposal = governance.propose("hold", str(hold.pk), {"status": "lifted"}, IDA, reason="the matter is over")
    assert kind in proposal.reports.get().body["kept"]["hold"]
    with pytest.raises(FourEyes):
        activate(proposal, IDA)
    hold.refresh_from_db()
    assert hold.lifted_at is None
    activate(proposal, BO)
    hold.refresh_from_db()
    assert (hold.lifted_by, hold.lifted_reason) == ("ida and bo", "the matter is over")
    for _ in range(2):
        again()
        sweep()
        seal.seal_now()
    sweep()
    assert not AuditEvent.objects.filter(pk__in=by.values()).exists()
    assert verify.verify_live().ok


# --- holds -----------------------------------------------------------------------------------------------------------


def test_while_a_hold_on_a_person_stands_nothing_goes_that_is_or_may_be_of_the_person(
    world: UUID, document: Any
) -> None:
    elsewhere = uuid.uuid4()
    kept: list[Any] = [
        message(400, "org-hospital"), message(400, ""), asked(100, world), notice(800, world), session(40, world),
        delivery(40, str(world)), upload(5, "org-hospital"),
    ]  # fmt: skip
    run = imported(400, "org-hospital")
    going: list[Any] = [
        message(400, "com-1"), asked(100, elsewhere), delivery(40, "x"), upload(5, "com-1")
    ]  # fmt: skip
    hold = retention.place("person", str(world), IDA, reason="matter 12")
    sweep()
    assert [still(row) for row in kept] == [True] * len(kept)
    assert run.lines.count() == 3
    assert [still(row) for row in going] == [False] * len(going)
    held_by_part = dict(RetentionRun.objects.exclude(held=0).values_list("part", "held"))
    assert held_by_part == {
        "messages": 2, "questions": 1, "notices": 1, "sessions": 1, "deliveries": 1, "bytes": 1, "imports": 3,
    }  # fmt: skip
    activate(governance.propose("hold", str(hold.pk), {"status": "lifted"}, IDA, reason="over"), BO)
    again()
    sweep()
    assert [still(row) for row in kept] == [False] * len(kept)
    assert run.lines.count() == 0


def test_a_hold_on_a_person_follows_merges_and_their_undoing(world: UUID) -> None:
    other = linking.feed(
        linking.RecordFeed(
            participant_id="org-hospital",
            authority=HOSPITAL_AUTHORITY,
            value="P77",
            demographics=rosa("P77", birth_date="1950-01-01", names=()),
        )
    ).person_id
    retention.place("person", str(other), IDA, reason="matter 13")
    assert held.spared().persons == {other}
    merged = linking.merge(world, other, actor="ida", reason="same")
    assert held.spared().persons == {other, world}
    linking.undo(merged, actor="ida", reason="not the same")
    assert held.spared().persons == {other}


@pytest.mark.parametrize(
    ("kind", "subject", "reason", "element"),
    [
        pytest.param("person", "00000000-0000-0000-0000-000000000001", "matter", "subject", id="nobody"),
        pytest.param("person", "no id", "matter", "subject", id="no-id"),
        pytest.param("document", "2.999.404", "matter", "subject", id="no-document"),
        pytest.param("organization", "org-404", "matter", "subject", id="no-organization"),
        pytest.param("country", "x", "matter", "kind", id="no-kind"),
        pytest.param("organization", "org-clinic", "  ", "reason", id="no-reason"),
    ],
)
def test_a_hold_needs_something_to_hold_and_a_reason(
    world: UUID, kind: str, subject: str, reason: str, element: str
) -> None:
    with pytest.raises(PolicyRefused) as refused:
        retention.place(kind, subject, IDA, reason=reason)
    assert refused.value.element == element
    event = AuditEvent.objects.filter(kind="hold-placed").latest("at")
    assert event.outcome == 4
    assert not LegalHold.objects.exists()


def test_a_hold_is_placed_once_by_role_and_never_changed(world: UUID) -> None:
    with pytest.raises(AccessRefused):
        retention.place("person", str(world), EVA, reason="matter")
    hold = retention.place("person", str(world), BO, reason="matter")
    with pytest.raises(PolicyRefused, match="stands already"):
        retention.place("person", str(world), IDA, reason="matter")
    outcomes = list(AuditEvent.objects.filter(kind="hold-placed").order_by("at").values_list("outcome", flat=True))
    assert outcomes == [4, 0, 4]
    changes: list[Callable[[], Any]] = [
        lambda: LegalHold.objects.filter(pk=hold.pk).update(subject="x"),
        lambda: LegalHold.objects.filter(pk=hold.pk).delete(),
        lambda: LegalHold.objects.filter(pk=hold.pk).update(lifted_at=timezone.now()),
    ]
    for change in changes:
        with pytest.raises(DatabaseError), transaction.atomic():
            change()
    with pytest.raises(PolicyRefused):
        governance.propose("hold", str(uuid.uuid4()), {"status": "lifted"}, IDA, reason="x")
    with pytest.raises(PolicyRefused):
        governance.propose("hold", str(hold.pk), {"status": "gone"}, IDA, reason="x")
    assert PolicyProposal.objects.count() == 0
    assert hospital_caller().organization_id in held.spared().senders
