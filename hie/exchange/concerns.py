"""A patient's doubt about a line of the access log: raised on the line, followed by its number, answered, settled.

Whoever sees a line may say that he does not recognise it: the patient, or a helper of the lines that are shown to him.
The organization that looked is asked at once and must answer within ten working days, by its own system
(`hie.exchange.concern_answers`); what no answer comes to, and what the hub itself did, the hub's office decides
(`hie.exchange.concern_review`). An organization that was told of no such patient is not asked: the question would tell it.
A helper sees the concerns alone that he raised, as long as he sees their lines; the patient sees all.

Source: spec/consent.md 15.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.audit.recorder import HUB, EventDraft
from hie.audit.values import EventRecord
from hie.directory import queries as directory
from hie.directory import working_days
from hie.exchange import access, access_log, accounts, audit_search, patient_notices, release
from hie.exchange import concern_rows as rows
from hie.exchange.access_log import LogEntry
from hie.exchange.concern_rows import PATIENT, Act, ConcernRefused, Outcome, Said, Status
from hie.exchange.errors import BadRequest, NotFound
from hie.exchange.models import Concern
from hie.standards.facts import Caller
from patients import identifiers
from patients.normalise import storable

MAX_WORDS = 1000
MOST_SAID = 50
"""Messages that the patient's side can write about one concern."""
MOST_OPEN_A_LINE = 3
MOST_A_DAY = 20
REASONS = tuple(Concern.Reason.values)
_FOR_THE_ORGANIZATION = frozenset({Act.RAISED, Act.SAID, Act.DISPUTED, Act.ASKED, Act.ANSWERED})
"""What is said to the organization too: the patient is told so as she writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """A concern in a list. `organization` is whom it waits for by name, "" for the hub's office; `mine`: the reader raised it."""

    number: str
    reason: str
    status: str
    outcome: str
    organization: str
    raised_at: datetime
    event_at: datetime
    due_at: datetime
    overdue: bool
    mine: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A concern as its page shows it. `line` is None when the line is no longer in this log; `may` are acts open to the reader."""

    brief: Brief
    line: LogEntry | None
    said: tuple[Said, ...]
    may: frozenset[str]
    asked_at: datetime | None
    read_at: datetime | None
    answered_at: datetime | None
    closed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubted:
    """A line that somebody may doubt: whom a concern would go to ("" the office), by when, and the concerns there are on it."""

    line: LogEntry
    organization: str
    due_at: datetime
    earlier: tuple[Brief, ...]


@release.point
def doubted(event_id: UUID, person_id: UUID | str, *, caller: Caller) -> Doubted:
    """The line that a concern would be about; recorded as a look at the log.

    Raises:
        AccessRefused, NotFound: as `access_log.log_for_patient`, or no such line for this reader.
    """
    with recorder.recording(EventType.ACCESS_LOG_READ, caller, query="concern") as event:
        line, written, about = access_log.line_of(event_id, person_id, caller=caller, event=event)
        there = _of_reader(rows.of_identifiers(about.identifier_pks), about, caller)
        shown = set(line.event_ids)
        participant = _asked_of(written)
        found = Doubted(
            line=line,
            organization=_name(participant),
            due_at=_due(participant, about.person_id, access.now()),
            earlier=tuple(_brief(one, caller) for one in there if str(one.event_id) in shown),
        )
        event.commit()
    return found


@release.point
def open_one(event_id: UUID, person_id: UUID | str, reason: str, words: str, *, caller: Caller) -> str:
    """Keep a concern about a line, and ask whoever looked; gives the number under which it is followed.

    Raises:
        AccessRefused, NotFound: as `doubted`. BadRequest: no reason chosen, too many words, or too many concerns.
    """
    words = _checked(words, may_be_empty=True)
    if reason not in REASONS:
        raise BadRequest("choose what it is", element="reason")
    with recorder.recording(EventType.CONCERN, caller, action="C") as event:
        line, written, about = access_log.line_of(event_id, person_id, caller=caller, event=event)
        identifier_pk = _hangs_on(written, about)
        participant, at = _asked_of(written), access.now()
        due = _due(participant, about.person_id, at)
        with transaction.atomic():
            # Of two at once the second counts the first.
            release.basis_of(event).hold_alone()
            _check_room(rows.of_identifiers(about.identifier_pks), line, at)
            concern = rows.opened(
                now=at,
                identifier_id=identifier_pk,
                event_id=UUID(written.id),
                event_at=written.at,
                looker=written.user,
                participant=participant,
                raised_by=_by(caller),
                reason=reason,
                status=Status.ASKED if participant else Status.OFFICE,
                asked_at=at if participant else None,
                answer_due_at=due if participant else None,
                due_at=due,
            )
            _note(concern, Act.RAISED, about, caller, words, at)
            event.about(UUID(about.person_id), detail=rows.detail(concern, "raised"))
            event.commit()
    return concern.number


@release.point
def listed(person_id: UUID | str, *, caller: Caller) -> list[Brief]:
    """The concerns that this reader is told of, newest first; recorded as a look at the log.

    Raises:
        AccessRefused, NotFound: as `access_log.log_for_patient`.
    """
    with recorder.recording(EventType.ACCESS_LOG_READ, caller, query="concerns") as event:
        found = _readable(person_id, caller, event)
        event.commit()
    return [_brief(one, caller) for one in found[1]]


@release.point
def read(number: str, person_id: UUID | str, *, caller: Caller) -> Told:
    """One concern with its line and what was said; recorded as a look at the log.

    Raises:
        AccessRefused, NotFound: as `listed`, or no such concern for this reader.
    """
    with recorder.recording(EventType.ACCESS_LOG_READ, caller, query="concern") as event:
        about, there = _readable(person_id, caller, event)
        concern = _named(number, there)
        line = _line(concern, about, caller, event)
        event.commit()
    said = tuple(rows.said(concern))
    return Told(
        brief=_brief(concern, caller),
        line=line,
        said=said,
        may=_may(concern, said),
        asked_at=concern.asked_at,
        read_at=concern.read_at,
        answered_at=concern.answered_at,
        closed_at=concern.closed_at,
    )


@release.point
def say(number: str, person_id: UUID | str, words: str, *, caller: Caller) -> None:
    """Write more about an open concern; whoever it waits for reads it too.

    Raises:
        As `read`. BadRequest: no words, or too many. ConcernRefused: it is closed, or too much was written.
    """
    _act(number, person_id, caller, Act.SAID, _checked(words))


@release.point
def look_further(number: str, person_id: UUID | str, words: str, *, caller: Caller) -> None:
    """Say that an answer is not enough: the hub's office looks into it.

    Raises:
        As `say`. ConcernRefused: it has no answer.
    """
    _act(number, person_id, caller, Act.DISPUTED, _checked(words))


@release.point
def close(number: str, person_id: UUID | str, *, caller: Caller) -> None:
    """Take the answer, or take the concern back where there is none yet.

    Raises:
        As `read`. ConcernRefused: it is closed.
    """
    _act(number, person_id, caller, "", "")


def _act(number: str, person_id: UUID | str, caller: Caller, kind: str, words: str) -> None:
    with recorder.recording(EventType.CONCERN, caller, action="U") as event:
        about, there = _readable(person_id, caller, event)
        known, at = _named(number, there), access.now()
        with transaction.atomic():
            concern = rows.locked(known.number)
            if concern is None:
                raise NotFound("no such concern")
            # A step that is refused is told of in no log that the reader of the concern is not told of.
            event.about(UUID(about.person_id), detail=rows.detail(concern, kind or "closed"))
            kind = kind or (Act.ACCEPTED if concern.answered_at is not None else Act.WITHDRAWN)
            if kind not in _may(concern, rows.said(concern)):
                raise ConcernRefused("this concern is closed, or not at this point", element="act")
            if kind == Act.DISPUTED:
                rows.changed(concern, status=Status.OFFICE, due_at=_due("", about.person_id, at))
            elif kind in {Act.ACCEPTED, Act.WITHDRAWN}:
                taken = kind == Act.ACCEPTED
                rows.closed(
                    concern,
                    status=Status.SETTLED if taken else Status.WITHDRAWN,
                    outcome=Outcome.ACCEPTED if taken else "",
                    by=_by(caller),
                    now=at,
                )
            _note(concern, kind, about, caller, words, at)
            event.about(UUID(about.person_id), detail=rows.detail(concern, kind))
            event.commit()


# --- the deadline ------------------------------------------------------------------------------------------------------

_HUB = Caller(participant_id=HUB, organization_id=HUB, client_id="hub", user_id="", role="system", face="hub")
_AT_ONCE = 200


def pass_on_overdue(*, now: datetime | None = None) -> int:
    """Make what no organization answered in time the office's matter, and tell the patient; gives how many are new."""
    at = now or access.now()
    with transaction.atomic():
        late = list(
            Concern.objects.select_for_update(of=("self",), skip_locked=True)
            .filter(status=Status.ASKED, due_at__lte=at)
            .order_by("due_at", "pk")[:_AT_ONCE]
        )
        people = identifiers.persons_of({one.identifier_id for one in late})
        drafts: list[EventDraft] = []
        known = working_days.calendar()
        for concern in late:
            person_id = people[concern.identifier_id]
            due = known.answer_due(at, participant="", zone=accounts.zone_of(str(person_id)))
            rows.changed(concern, status=Status.OFFICE, overdue_at=at, due_at=due)
            rows.note(concern, Act.OVERDUE, actor=rows.HUB, now=at, person_id=person_id)
            drafts.append(rows.event(concern, "overdue", caller=_HUB, person_id=person_id))
            patient_notices.of_concern(concern, now=at)
        recorder.write(drafts)
    return len(late)


# --- within ------------------------------------------------------------------------------------------------------------


def whom(participant: str) -> str:
    """The name of the organization that is asked; "" for the hub's office."""
    return _name(participant)


def for_the_organization(said: Iterable[Said]) -> list[Said]:
    """Of what was said, what the organization reads."""
    return [one for one in said if one.kind in _FOR_THE_ORGANIZATION]


def _checked(words: str, *, may_be_empty: bool = False) -> str:
    words = words.replace("\r\n", "\n").strip()
    if (not words and not may_be_empty) or len(words) > MAX_WORDS or not storable(words):
        raise BadRequest(f"write 1 to {MAX_WORDS} characters", element="words")
    return words


def _check_room(there: Sequence[Concern], line: LogEntry, at: datetime) -> None:
    shown = set(line.event_ids)
    if sum(one.is_open and str(one.event_id) in shown for one in there) >= MOST_OPEN_A_LINE:
        raise BadRequest("this line has open concerns enough: write there", element="line")
    if sum(one.raised_at > at - timedelta(days=1) for one in there) >= MOST_A_DAY:
        raise BadRequest("too many concerns in one day: call us", element="line")


def _due(participant: str, person_id: str, at: datetime) -> datetime:
    """By when whoever is asked ("" the office) answers: the working days are theirs, the clock is the patient's."""
    return working_days.answer_due(at, participant=participant, zone=accounts.zone_of(person_id))


def _by(caller: Caller) -> str:
    """Who raises it, as the row and the events name him: never the patient's id, which organizations read."""
    return PATIENT if caller.role == "patient" else caller.user_id


def _note(concern: Concern, kind: str, about: access.Subject, caller: Caller, words: str, at: datetime) -> None:
    name = "" if caller.role == "patient" else caller.user_name
    rows.note(concern, kind, actor=_by(caller), name=name, now=at, person_id=about.person_id, words=words)


def _asked_of(written: EventRecord) -> str:
    """The root of the organization that looked; "" where the hub's office answers.

    That is for what the hub, its staff, its portal and helpers did; where only a relay is known here; and where whoever
    asked was told of no patient, who would learn by the question that there is one.
    """
    declared = written.type is EventType.BREAK_GLASS and not written.outcome
    if not (audit_search.was_told(written) or declared) or written.role in {"patient", "proxy"}:
        return ""
    members = directory.participants()
    own = [one for one in (written.organization, written.participant) if one in members and one != written.intermediary]
    if not own or written.organization in {"", HUB} or members[own[0]].type == accounts.PORTAL_TYPE:
        return ""
    return directory.root_of(own[0])


def _hangs_on(written: EventRecord, about: access.Subject) -> int:
    """The identifier that a concern about this event hangs on: one of the person it was about then."""
    if written.person_id and written.person_id != about.person_id:
        # Merged since: one that leaves again with her, if that was wrong.
        found = identifiers.first_of(written.person_id, about.identifier_pks)
        if found is not None:
            return found
    return identifiers.own_anchor(about.person_id).pk


def _readable(
    person_id: UUID | str, caller: Caller, event: recorder.Recording
) -> tuple[access.Subject, Sequence[Concern]]:
    """Whose log it is, and the concerns that this reader is told of, newest first."""
    _, about = access_log.seen_of_these((), person_id, caller=caller, event=event)
    return about, _of_reader(rows.of_identifiers(about.identifier_pks), about, caller, event)


def _of_reader(
    there: Sequence[Concern], about: access.Subject, caller: Caller, event: recorder.Recording | None = None
) -> Sequence[Concern]:
    if caller.role == "patient":
        return there
    mine = [one for one in there if one.raised_by == caller.user_id]
    if not mine or event is None:
        return mine
    seen, _ = access_log.seen_of_these((one.event_id for one in mine), about.person_id, caller=caller, event=event)
    return [one for one in mine if str(one.event_id) in seen]


def _named(number: str, there: Sequence[Concern]) -> Concern:
    found = next((one for one in there if one.number == number), None)
    if found is None:
        raise NotFound("no such concern")
    return found


def _line(concern: Concern, about: access.Subject, caller: Caller, event: recorder.Recording) -> LogEntry | None:
    """The line; None where it stands in this log no more, as after a merge was undone."""
    try:
        return access_log.line_of(concern.event_id, about.person_id, caller=caller, event=event)[0]
    except NotFound:
        return None


def _may(concern: Concern, said: Sequence[Said]) -> frozenset[str]:
    """What the patient's side may do with it now."""
    if not concern.is_open:
        return frozenset()
    may = {Act.ACCEPTED if concern.answered_at is not None else Act.WITHDRAWN}
    if sum(one.kind in {Act.SAID, Act.DISPUTED} for one in said) < MOST_SAID:
        may.add(Act.DISPUTED if concern.status == Status.ANSWERED else Act.SAID)
    return frozenset(may)


def _brief(concern: Concern, caller: Caller) -> Brief:
    return Brief(
        number=concern.number,
        reason=concern.reason,
        status=concern.status,
        outcome=concern.outcome,
        organization=_name(concern.participant),
        raised_at=concern.raised_at,
        event_at=concern.event_at,
        due_at=concern.due_at,
        overdue=concern.overdue_at is not None,
        mine=concern.raised_by == _by(caller),
    )


def _name(participant: str) -> str:
    facts = directory.participants().get(participant)
    return (facts.name or participant) if facts is not None else participant
