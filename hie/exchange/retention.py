"""Removing what has had its time: in bounded portions, by the schedule in force, with a record of each sweep.

`carry_on` is called every few minutes and works for a few seconds. A sweep over a part is a row (`RetentionRun`) that says
by which version of which rule it goes and where it goes on, so that it can be broken off anywhere. A new term counts from
the next sweep on. Nothing under a legal hold goes: each portion asks anew, and no hold is placed while one runs. What went
stands in the log, by part, count, range and version.

Source: spec/consent.md 17; issue 5, item 12.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction
from django.utils import timezone

from consent import holds, retention
from consent.errors import PolicyRefused
from consent.models import LegalHold, RetentionRun
from consent.retention import Part, Term
from hie.audit import recorder, retirement
from hie.audit.recorder import HUB, EventType
from hie.directory import queries as directory
from hie.exchange import held, retention_parts
from hie.exchange.access import PRIVACY_OFFICER, Staff
from hie.exchange.errors import AccessRefused
from hie.standards.facts import Caller
from hie.trust.second_person import Member
from patients import identifiers

log = structlog.get_logger(__name__)

MAY_HOLD = frozenset({"administrator", PRIVACY_OFFICER})
"""Who places a legal hold, and proposes and agrees to its end."""
EVERY = timedelta(days=1)
_EVERY_OF = {Part.BYTES: timedelta(hours=1)}
LOG_PORTION = 2000
ANNOUNCED_AT_ONCE = 10
"""So many portions of the log are announced before what was announced has gone."""
_SWEEPER = Caller(participant_id=HUB, organization_id=HUB, client_id="retention", user_id="", role="system", face="hub")


def carry_on(*, until: float, now: datetime | None = None) -> int:
    """Go over every part as far as `until` (of the monotonic clock) allows; how many rows went. Safe to run twice."""
    removed = 0
    for term in retention.in_force(now).values():
        try:
            removed += _carry_on(term, until, now or timezone.now())
        except Exception:  # the outer edge of each part: a store that is down keeps no other part from its turn
            log.exception("retention.failed", part=term.part.value)
    return removed


def _carry_on(term: Term, until: float, now: datetime) -> int:
    removed, run = 0, _open_run(term, now)
    while run is not None and time.monotonic() < until:
        count, more = _log_portion(run) if term.part is Part.LOG else _portion(run, term.part)
        removed += count
        if not more:
            break
    return removed


def place(kind: str, subject: str, staff: Staff, *, reason: str) -> LegalHold:
    """Place a legal hold; one person is enough, and it counts at once.

    Raises:
        AccessRefused: not by this role. PolicyRefused: no reason, nothing that can be held, or a hold on it stands already.
    """
    with recorder.recording(EventType.HOLD_PLACED, staff.caller()) as event:
        event.note(detail={"kind": kind, "subject": subject})
        if not staff.roles & MAY_HOLD or staff.account is None:
            raise AccessRefused("G5", "role-not-permitted")
        if not reason.strip() or "\0" in reason:
            raise PolicyRefused("a reason is needed", element="reason")
        subject, pks = _subject(kind, subject.strip())
        by = Member(name=staff.user_id, account=staff.account)
        try:
            with transaction.atomic():
                row = holds.place(kind, subject, identifiers=pks, reason=reason.strip(), by=by)
                detail = {"hold": str(row.pk), "kind": kind, "subject": subject, "reason": reason.strip()}
                event.about(None, detail=detail).commit()
        except IntegrityError as error:
            raise PolicyRefused("a hold on it stands already", element="subject") from error
    return row


def _subject(kind: str, subject: str) -> tuple[str, list[int]]:
    """What is to be held as it is kept, with the identifiers of a person."""
    if kind == LegalHold.Kind.PERSON:
        person = identifiers.survivor(subject)
        if person is None:
            raise PolicyRefused("there is no person of this id", element="subject")
        return str(person), identifiers.identifier_pks(person)
    if kind == LegalHold.Kind.DOCUMENT:
        found = held.entries_named(subject) if subject and "\0" not in subject else []
        if not found:
            raise PolicyRefused("there is no document of this unique id or entry id", element="subject")
        return found[0].unique_id, []
    if kind == LegalHold.Kind.ORGANIZATION:
        if directory.participant(subject) is None:
            raise PolicyRefused("there is no participant of this id", element="subject")
        return subject, []
    raise PolicyRefused("is neither a person, a document nor an organization", element="kind")


def _open_run(term: Term, now: datetime) -> RetentionRun | None:
    """The sweep over a part that is under way, or a new one where the last began long enough ago."""
    newest = RetentionRun.objects.filter(part=term.part).order_by("-started_at", "-pk").first()
    if newest is not None and newest.finished_at is None:
        return newest
    if newest is not None and newest.started_at > now - _EVERY_OF.get(term.part, EVERY):
        return None
    try:
        with transaction.atomic():
            # Of sweeps that found nothing the last is enough to say when that was.
            RetentionRun.objects.filter(part=term.part, removed=0, held=0, finished_at__isnull=False).delete()
            return RetentionRun.objects.create(
                part=term.part,
                rule_version=term.version,
                days=term.days,
                ended_before=term.ended_before(now),
                started_at=now,
            )
    except IntegrityError:
        return None  # another process has just begun it


def _portion(run: RetentionRun, part: Part) -> tuple[int, bool]:
    """One portion of a part that is rows or bytes; how many went, and whether there is more."""
    if part is Part.BYTES:
        return _bytes_swept(run)
    with transaction.atomic():
        row = _mine(run)
        if row is None:
            return 0, False
        holds.while_removing()
        done = retention_parts.remove(part, row.ended_before, held.spared(), row.after)
        _add(row, done)
    return done.removed, done.more


def _bytes_swept(run: RetentionRun) -> tuple[int, bool]:
    """All bytes that are due. No transaction is around it: what is deleted from a store comes back by no rollback."""
    with holds.removing():
        done = retention_parts.sweep_bytes(run.ended_before, held.spared())
    with transaction.atomic():
        row = _mine(run)
        if row is not None:
            _add(row, done)
    return done.removed, False


def _add(row: RetentionRun, done: retention_parts.Portion) -> None:
    row.removed, row.held, row.after = row.removed + done.removed, row.held + done.held, done.after
    row.first_at, row.last_at = row.first_at or done.first_at, done.last_at or row.last_at
    _keep(row, finished=not done.more)


def _log_portion(run: RetentionRun) -> tuple[int, bool]:
    """Say what of the log will go, or remove what was said; (0, False) while what was said is not signed for yet."""
    waiting = [UUID(one) for one in run.announced]
    ready = [one for one in waiting if retirement.announced(one)]
    if ready:
        return _retire(run, ready[0])
    if len(waiting) >= ANNOUNCED_AT_ONCE or (waiting and run.after == []):
        return 0, False
    with transaction.atomic():
        row = _mine(run)
        if row is None:
            return 0, False
        holds.while_removing()
        spared = held.spared()
        place = (datetime.fromisoformat(row.after[0]), UUID(row.after[1])) if row.after else None
        found = retirement.oldest(row.ended_before, after=place, limit=LOG_PORTION)
        going = [one for one in found if not _event_stays(one, spared)]
        row.held += len(found) - len(going)
        if going:
            detail = {"part": Part.LOG.value, "rule_version": row.rule_version, "days": row.days, "run": row.pk}
            row.announced = [*row.announced, str(retirement.announce(going, _SWEEPER, detail))]
            row.first_at, row.last_at = row.first_at or going[0].at, going[-1].at
        # An empty place is the end: what was announced still has to go.
        row.after = [found[-1].at.isoformat(), str(found[-1].event_id)] if len(found) == LOG_PORTION else []
        _keep(row, finished=row.after == [] and not row.announced)
    run.after, run.announced = row.after, row.announced
    return 0, row.after != []


def _retire(run: RetentionRun, announcement: UUID) -> tuple[int, bool]:
    spared: list[held.Spared] = []

    def begin() -> None:
        holds.while_removing()
        spared[:] = [held.spared()]

    removed, stayed = retirement.remove(announcement, begin, lambda one: _event_stays(one, spared[0]))
    with transaction.atomic():
        row = _mine(run)
        if row is None:
            return removed, False
        row.removed, row.held = row.removed + removed, row.held + stayed
        row.announced = [one for one in row.announced if one != str(announcement)]
        _keep(row, finished=row.after == [] and not row.announced)
    run.after, run.announced = row.after, row.announced
    return removed, row.finished_at is None


def _mine(run: RetentionRun) -> RetentionRun | None:
    """The sweep's row, locked; None where another process has it, or has ended it."""
    rows = RetentionRun.objects.select_for_update(skip_locked=True)
    return rows.filter(pk=run.pk, finished_at__isnull=True).first()


def _keep(row: RetentionRun, *, finished: bool) -> None:
    if finished:
        row.finished_at = timezone.now()
        if row.removed or row.held:
            recorder.write([recorder.EventDraft(kind=EventType.RETENTION_RUN, caller=_SWEEPER, detail=_told(row))])
    row.save()


def _told(row: RetentionRun) -> dict[str, Any]:
    return {
        "run": row.pk, "part": row.part, "rule_version": row.rule_version, "days": row.days,
        "ended_before": row.ended_before, "removed": row.removed, "held": row.held,
        "first_at": row.first_at, "last_at": row.last_at,
    }  # fmt: skip


def _event_stays(one: retirement.Old, spared: held.Spared) -> bool:
    return (
        one.person_id in spared.persons
        or one.patient_identifier in spared.named
        or not one.organizations.isdisjoint(spared.organizations)
        or not one.documents.isdisjoint(spared.documents)
    )
