"""A participant's own view: what it asked, sent and failed, how complete and timely it is, who asks for its documents, who may.

It learns nothing here that it was not told before. What it asked is counted by requests, each once, whoever it was about
and whatever came of it: a patient hidden from it, one unknown and one without documents are one number, and what was held
back from it is no figure. What it received is what it was sent. Refusals are those from before any record was looked up,
which depend on its token alone, and those of what it sent, which it was told of.

Of others it is told who had its documents, by calendar months that are over, purposes and organizations, where eleven
patients and more are concerned; never who was refused, as that would tell of patients' choices, nor what courts and the
police had, whose orders may bind to silence. A month is told two days after its end, so that no two readings differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.db import transaction
from django.utils import timezone

from hie.audit import figures as rolled
from hie.audit import recorder
from hie.audit.figures import Cell
from hie.audit.figures_of_log import ASKING, SENDING, Came, Group
from hie.audit.figures_of_log import Subject as Logged
from hie.audit.kinds import EventType
from hie.directory import queries as directory
from hie.exchange import emergency_answers, figure_sources, figures, release
from hie.exchange.errors import BadRequest
from hie.exchange.figure_sources import Subject
from hie.exchange.figures import Period
from hie.exchange.small_cells import rounded
from hie.standards.facts import Caller, ParticipantFacts, ReleaseRule

__all__ = ["AskedFor", "MayAsk", "Own", "of_caller", "of_participant"]

CLOSED_AFTER = timedelta(days=2)
SILENT_PURPOSES = frozenset({"HLEGAL"})
SILENT_TYPES = frozenset({"law-enforcement", "patient-portal"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedFor:
    """Documents of the participant that an organization had for a purpose in a calendar month, on its first day."""

    month: date
    organization: str
    purpose: str
    documents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MayAsk:
    """An organization whose agreement lets it ask, and for what; `limited`: rules of the participant's own name it.

    What it would be told of a patient is decided then, by the patient's choices and the law.
    """

    organization: str
    purposes: tuple[str, ...]
    limited: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """The whole view over a period.

    `asked` and `sent`: requests by (day or month, group); `sent_as`: by (group, came); `received`: by (what); `refused`:
    at the door, by (day or month); `broke`: requests that failed by a fault of the exchange. `record_fields` and
    `document_fields`: n and total by (field); `delays` and `feed_delays` by (how long); `messages` by (status, protocol); `records`: those
    in use; `surplus`: those one too many of their person, rounded, None below eleven: that two are of one person may
    rest on a record of somebody else's.
    """

    participants: tuple[str, ...]
    period: Period
    asked: tuple[Cell, ...]
    sent: tuple[Cell, ...]
    sent_as: tuple[Cell, ...]
    received: tuple[Cell, ...]
    refused: tuple[Cell, ...]
    broke: int
    record_fields: tuple[Cell, ...]
    document_fields: tuple[Cell, ...]
    delays: tuple[Cell, ...]
    feed_delays: tuple[Cell, ...]
    messages: tuple[Cell, ...]
    records: int
    surplus: int | None
    asked_for: tuple[AskedFor, ...]
    months: tuple[date, ...]
    may_ask: tuple[MayAsk, ...]
    counted_at: datetime | None


@release.point
def of_caller(asked: str, *, caller: Caller, raw: str = "") -> Own:
    """The view of the caller's own organization and those below it; recorded.

    Raises:
        AccessRefused: as at every door, or the purpose is not that of the organization's own operations (G4).
        BadRequest: no such period.
    """
    with recorder.recording(EventType.AUDIT_SEARCH, caller, action="R", query=raw or "own figures") as event:
        emergency_answers.answering_house(caller)
        today = timezone.now().astimezone(UTC).date()
        at = figures.period(asked, today)
        if asked and at.key != asked:
            raise BadRequest("no such period", element="period")
        found = of_participant(caller.participant_id, at)
        with transaction.atomic():
            release.basis_of(event).hold()
            event.about(None, detail={"what": "own figures", "period": at.key})
            event.commit()
    return found


def of_participant(participant_id: str, at: Period) -> Own:
    """The view of a participant and those below it. 18 statements, 16 where no month is over yet."""
    members = directory.snapshot()
    own = tuple(sorted({participant_id} | {one for one in members.participants if members.within(one, participant_id)}))
    on = figures.newest(Subject.RECORDS, at) or at.until
    records = rolled.cells(Subject.RECORDS, on, on, only={"participant": own})
    asking = _cells(Logged.REQUESTS, at, own, at.step, "what", what=ASKING)
    months = closed_months(at, timezone.now())
    return Own(
        participants=own,
        period=at,
        asked=asking,
        sent=_cells(Logged.REQUESTS, at, own, at.step, "what", what=SENDING),
        sent_as=_cells(Logged.REQUESTS, at, own, "what", "other", what=SENDING),
        received=_cells(Logged.LEFT, at, own, "what", what=("metadata", "bytes", "demographics")),
        refused=_cells(Logged.REQUESTS, at, own, at.step, what=(Group.DOOR,)),
        broke=sum(one.total for one in _cells(Logged.REQUESTS, at, own, what=ASKING, other=(Came.FAILED,))),
        record_fields=_cells(Subject.RECORD_FIELDS, at, own, "what"),
        document_fields=_cells(Subject.DOCUMENT_FIELDS, at, own, "what"),
        delays=_cells(Subject.DELAYS, at, own, "what"),
        feed_delays=_cells(Subject.FEED_DELAYS, at, own, "what"),
        messages=_cells(Subject.MESSAGES, at, own, "what", "other"),
        records=sum(one.n for one in records),
        surplus=_surplus(sum(one.total for one in records)),
        asked_for=asked_for(own, months),
        months=months,
        may_ask=may_ask(own),
        counted_at=figure_sources.counted(),
    )


def _surplus(number: int) -> int | None:
    return rounded(number) if number >= rolled.SMALLEST else None


def _cells(subject: str, at: Period, own: Sequence[str], *by: str, **only: Sequence[str]) -> tuple[Cell, ...]:
    return tuple(rolled.cells(subject, at.since, at.until, by=by, only={"participant": own, **only}))


def closed_months(at: Period, now: datetime) -> tuple[date, ...]:
    """The calendar months that are wholly over, and `CLOSED_AFTER` more, of those that a period touches; by their first days."""
    touched = sorted({(at.since + timedelta(days=n)).replace(day=1) for n in range((at.until - at.since).days + 1)})
    over = (now - CLOSED_AFTER).astimezone(UTC).date().replace(day=1)
    return tuple(one for one in touched if one < over)


def asked_for(own: Sequence[str], months: Sequence[date]) -> tuple[AskedFor, ...]:
    """Who had its documents, by month, organization and purpose, where enough patients are concerned. 2 statements."""
    if not months:
        return ()
    known = directory.snapshot()
    members, house = known.participants, {known.root_of(one) for one in own} | set(own)
    return tuple(
        AskedFor(month=month, organization=str(other), purpose=str(purpose), documents=cell.n)
        for cell in rolled.cells(
            Logged.HELD, months[0], months[-1], by=("day", "other", "purpose"), only={"participant": own}
        )
        for month, other, purpose in [cell.keys]
        if not cell.small and purpose not in SILENT_PURPOSES and other not in house and other in members
        if members[other].type not in SILENT_TYPES
    )


def may_ask(own: Sequence[str]) -> tuple[MayAsk, ...]:
    """Everybody else whose standing and agreement let it ask, by name. As the directory is now."""
    members, now = directory.snapshot(), timezone.now()
    house = {members.root_of(one) for one in own}
    rules = [rule for one in own if (facts := members.participant(one)) is not None for rule in facts.release_policy]
    found: list[tuple[str, MayAsk]] = []
    for facts in members.participants.values():
        agreement = members.agreement_of(facts.id)
        if members.root_of(facts.id) in house or agreement is None or not members.is_active(facts.id, now):
            continue
        if facts.type in SILENT_TYPES or not agreement.purposes:
            continue
        purposes = [one for one in agreement.purposes if not _barred(rules, facts, one, wholly=True)]
        if purposes:
            limited = any(_barred(rules, facts, one, wholly=False) for one in agreement.purposes)
            found.append((facts.name, MayAsk(organization=facts.id, purposes=tuple(sorted(purposes)), limited=limited)))
    return tuple(one for _, one in sorted(found, key=lambda pair: (pair[0], pair[1].organization)))


def _barred(rules: Iterable[ReleaseRule], facts: ParticipantFacts, purpose: str, *, wholly: bool) -> bool:
    """Whether a rule keeps all documents (`wholly`) or some from this organization for this purpose."""
    for rule in rules:
        narrower = bool(rule.labels or rule.classes or rule.codes or rule.min_confidentiality)
        if (
            (not wholly or (rule.absolute and not narrower))
            and (not rule.purposes or purpose in rule.purposes)
            and (not rule.recipient_types or facts.type in rule.recipient_types)
            and (not rule.recipients or facts.id in rule.recipients)
            and facts.id not in rule.except_recipients
        ):
            return True
    return False
