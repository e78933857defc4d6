"""Trying kept messages again, one or many: what would come of it, then the trying, then what came of it.

What would come of it is found by doing it: each message goes through today's handler, in the order in which they came in,
in one transaction that is rolled back. So a later message of a patient is looked at as after the earlier ones. While that
lasts, other news of the same patients waits: hence a limit in number and in seconds. Nothing of a patient is told but
which parts of a record would change.

The trying itself follows the same order. A run is done once however often its button is pressed: what was tried stands in
the log under the run's id, and is not tried again.

Source: style.md 6; HL7 v2.5.1 2.10.2 (messages of one patient in their order).
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid4

from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from hie.audit import queries as audit
from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.audit.values import AuditQuery, EventRecord
from hie.directory import queries as directory
from hie.exchange import inbox
from hie.exchange.errors import AccessRefused, BadRequest, NotFound
from hie.exchange.feed import Fed
from hie.exchange.models import InboundMessage
from hie.standards.demographics import Demographics, authority_of
from hie.standards.demographics import from_json as demographics_of
from hie.standards.errors import HubError
from hie.standards.facts import Caller
from patients import identifiers
from patients.models import SourceRecordVersion

log = logging.getLogger("hie.inbox")

AT_ONCE = 200
"""Messages of one run."""
LOOKS_AHEAD_S = 5.0
"""So long may a look ahead hold up other news of the same patients."""
_WAITS_S = 2
_LASTS = timedelta(hours=1)
_EARLIER = 500
_SLACK = timedelta(seconds=2)

Status = InboundMessage.Status


class Came(StrEnum):
    """What came, or would come, of trying a message."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    FAILED = "failed"
    QUESTION = "question"
    UNREADABLE = "unreadable"
    UNTRIED = "untried"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What would become of one record: `organization` keeps it; `parts` of it change, by name and never by value.

    `passed_over`: nothing of it, for newer news of it was taken in before.
    """

    organization: str
    words: str
    parts: tuple[str, ...] = ()
    passed_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """One message of a look ahead. `patients` are numbers of this page; `troubles` what its order would spoil.

    `wise`: it would be accepted and nothing speaks against it, so that the page proposes it.
    """

    message: InboundMessage
    came: Came
    text: str = ""
    code: str = ""
    element: str = ""
    effects: tuple[Effect, ...] = ()
    patients: tuple[int, ...] = ()
    troubles: tuple[str, ...] = ()

    @property
    def wise(self) -> bool:
        """Whether to propose it."""
        return self.came is Came.ACCEPTED and not self.troubles

    @property
    def again(self) -> bool:
        """Whether it would be refused as it was before."""
        one = self.message
        return self.came is Came.REFUSED and (one.status, one.error_code, one.error_element) == (Status.REFUSED, self.code, self.element)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A look ahead, recorded under `run`, by which the trying must name it."""

    run: UUID
    reason: str
    messages: tuple[Foreseen, ...]

    @property
    def counts(self) -> Mapping[Came, int]:
        """How many of each."""
        return Counter(one.came for one in self.messages)

    @property
    def tried(self) -> tuple[Foreseen, ...]:
        """Those that were looked at."""
        return tuple(one for one in self.messages if one.came is not Came.UNTRIED)

    @property
    def troubled(self) -> int:
        """How many have trouble with their order."""
        return sum(bool(one.troubles) for one in self.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Messages to be tried, in the order they came; `left` more fit than can be tried at once."""

    ids: tuple[UUID, ...]
    causes: tuple[tuple[str, int], ...]
    left: int = 0


def chosen(ids: Iterable[str]) -> Chosen:
    """These messages, those that there are.

    Raises:
        BadRequest: none, or too many.
    """
    wanted = {found for found in map(identifiers.person_uuid, ids) if found is not None}
    if len(wanted) > AT_ONCE:
        raise BadRequest(f"choose at most {AT_ONCE} messages at once", element="messages")
    rows = list(_rows(wanted).defer("raw", "reply", "digest"))
    if not rows:
        raise BadRequest("choose at least one message", element="messages")
    return Chosen(ids=tuple(row.pk for row in rows), causes=_causes(rows))


def of_cause(protocol: str, code: str, element: str, kind: str) -> Chosen:
    """The messages that wait for one cause, the oldest first; 2 statements.

    Raises:
        NotFound: none waits for it any more.
    """
    waits = InboundMessage.objects.filter(
        status__in=[Status.REFUSED, Status.FAILED], protocol=protocol, error_code=code, error_element=element, kind=kind
    )
    rows = list(waits.defer("raw", "reply", "digest").order_by("received_at", "pk")[:AT_ONCE])
    if not rows:
        raise NotFound("no message waits for this cause")
    left = waits.count() - len(rows) if len(rows) == AT_ONCE else 0
    return Chosen(ids=tuple(row.pk for row in rows), causes=_causes(rows), left=left)


def _causes(rows: Iterable[InboundMessage]) -> tuple[tuple[str, int], ...]:
    counted = Counter(
        f"{row.protocol} {row.kind}, {row.status}" + (f": {row.error_text}" if row.error_text else "") for row in rows
    )
    return tuple(counted.most_common(10))


def _rows(ids: Collection[UUID]) -> QuerySet[InboundMessage]:
    return InboundMessage.objects.filter(pk__in=list(ids)).order_by("received_at", "pk")


# --- looking ahead ----------------------------------------------------------------------------------------------------


def look_ahead(ids: Sequence[UUID], actor: Caller, reason: str) -> Preview:
    """What would come of trying these messages now, in the order they came in; recorded, and nothing else is kept.

    Ends after `LOOKS_AHEAD_S`: the rest is ``untried``.

    Raises:
        BadRequest: no reason, no message, or too many.
    """
    if not reason.strip():
        raise BadRequest("give a reason", element="reason")
    if not 0 < len(ids) <= AT_ONCE:
        raise BadRequest(f"choose at least one message, and at most {AT_ONCE}", element="messages")
    rows = list(_rows(set(ids)))
    subjects = {row.pk: _subjects(row) for row in rows}
    troubles = _troubles(rows, subjects)
    numbers: dict[tuple[str, str], int] = {}
    found: list[Foreseen] = []
    with recorder.rehearsing(), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{_WAITS_S}s'")
        until = time.monotonic() + LOOKS_AHEAD_S
        people = _numbered(subjects, numbers)
        for row in rows:
            one = _tried(row) if time.monotonic() < until else Foreseen(message=row, came=Came.UNTRIED)
            # A message that is older by its own time spoils nothing, whatever came meanwhile.
            harmless = bool(one.effects) and all(effect.passed_over for effect in one.effects)
            said = troubles.get(row.pk, ()) if one.came is Came.ACCEPTED and not harmless else ()
            found.append(replace(one, patients=people[row.pk], troubles=said))
        transaction.set_rollback(True)
    run = uuid4()
    with recorder.recording(EventType.MESSAGE_REHEARSED, actor) as event:
        detail = {"messages": {str(one.message.pk): one.came for one in found}, "reason": reason.strip()}
        event.note(correlation=str(run), detail=detail)
        event.commit()
    return Preview(run=run, reason=reason.strip(), messages=tuple(found))


def _subjects(row: InboundMessage) -> tuple[tuple[str, str], ...]:
    try:
        handler = inbox.handler_of(row)
        return () if handler.asks(row.kind) else handler.subjects(inbox.opened(row), envelope=inbox.envelope_of(row))
    except HubError:
        return ()


def _numbered(
    subjects: Mapping[UUID, Sequence[tuple[str, str]]], numbers: dict[tuple[str, str], int]
) -> dict[UUID, tuple[int, ...]]:
    """Patients by numbers of the page: records of one person today are one patient. 1 query."""
    known = identifiers.resolve_many({key for keys in subjects.values() for key in keys})
    out = {}
    for message, keys in subjects.items():
        names = [(str(known[key].person_id), "") if key in known else key for key in map(_bare, keys)]
        out[message] = tuple(dict.fromkeys(numbers.setdefault(name, len(numbers) + 1) for name in names))
    return out


def _bare(key: tuple[str, str]) -> tuple[str, str]:
    return authority_of(key[0]), key[1]


def _tried(row: InboundMessage) -> Foreseen:
    try:
        handler, raw = inbox.handler_of(row), inbox.opened(row)
    except HubError as problem:
        return Foreseen(message=row, came=Came.UNREADABLE, text=str(problem))
    if handler.asks(row.kind):
        return Foreseen(message=row, came=Came.QUESTION, text="It only asked. Nobody waits for its answer any more.")
    try:
        # What it does stays for those behind it, until all of it is rolled back.
        with transaction.atomic():
            handled = handler.handle(raw, envelope=inbox.envelope_of(row), message_id=row.pk)
            effects = tuple(_effect(one) for one in handled.fed)
    except OperationalError:
        return Foreseen(message=row, came=Came.FAILED, text="Other news of this patient is being taken in. Look again in a moment.")  # fmt: skip
    except Exception:  # the outer edge of every message, as when it comes in
        log.exception("looking ahead: %s message %s failed", row.protocol, row.pk)
        return Foreseen(message=row, came=Came.FAILED, text="The hub itself would fail. The operators’ log has the cause.")  # fmt: skip
    came = Came.ACCEPTED if handled.accepted else Came.REFUSED
    return Foreseen(
        message=row, came=came, text=handled.error_text, code=handled.error_code, element=handled.error_element, effects=effects
    )  # fmt: skip


_OUTCOMES = {
    "new": "A person not known before would be made known",
    "linked": "The record would join a person known already",
    "review": "A new person would be made known, and a steward asked whether it is somebody known",
    "updated": "The record would be revised",
    "unchanged": "The record says this already",
    "outdated": "Newer news of the patient was taken in before: it would change nothing",
    "quarantined": "It looks like another person than before: it would be kept aside and a steward asked",
    "replaced": "One record would give way to another of the same organization",
    "removed": "The record would be withdrawn",
    "unlinked": "The two records would be parted",
}
_PARTS = {
    "names": "name", "birth_date": "date of birth", "gender": "sex", "addresses": "address", "telecoms": "phone or e-mail",
    "identifiers": "other numbers", "deceased": "death", "mothers_maiden_name": "mother’s former family name",
    "multiple_birth": "born as one of several", "marital_status": "marital status", "languages": "language",
    "birth_place": "place of birth", "protected": "protection of the record", "reliability": "how sure the sender is",
}  # fmt: skip


def _effect(fed: Fed) -> Effect:
    record, result = fed.record, fed.result
    facts = directory.participant(record.participant_id) if record is not None else None
    parts: tuple[str, ...] = ()
    if (
        result is not None
        and record is not None
        and not result.created
        and fed.outcome not in ("unchanged", "outdated", "quarantined")
    ):
        # The version before this one is what it would change.
        former = SourceRecordVersion.objects.filter(
            source_record_id=result.source_record_id, version__lt=result.version, quarantined=False
        ).order_by("-version")[:1]
        parts = tuple(part for one in former for part in _different(demographics_of(one.raw), record.demographics))
    return Effect(
        organization=facts.name if facts is not None else "",
        words=_OUTCOMES.get(fed.outcome, fed.outcome.capitalize()),
        parts=parts,
        passed_over=fed.outcome == "outdated",
    )


def _different(old: Demographics, new: Demographics) -> list[str]:
    return [_PARTS.get(f.name, f.name.replace("_", " ")) for f in fields(Demographics) if getattr(old, f.name) != getattr(new, f.name)]  # fmt: skip


# --- the order of a patient's messages --------------------------------------------------------------------------------


def _troubles(
    rows: Sequence[InboundMessage], subjects: Mapping[UUID, Sequence[tuple[str, str]]]
) -> dict[UUID, tuple[str, ...]]:
    """What the order of a patient's messages speaks against, by message: newer news was taken in, or older still waits."""
    out: dict[UUID, list[str]] = {}
    news = _newest(subjects)
    for row in rows:
        told = (row.settled_at if row.status == Status.ACCEPTED else None) or row.received_at
        newer = max((at for key in subjects[row.pk] if (at := news.get(_bare(key))) is not None), default=None)
        if newer is not None and newer > told + _SLACK:
            out.setdefault(row.pk, []).append(
                f"Newer news of this patient was taken in on {newer:%-d %B %Y, %H:%M} UTC. This older message would put its words over it."
            )
    for row, older in _waiting_before(rows, subjects):
        out.setdefault(row.pk, []).append(
            f"An older message of this patient waits too and is not among these: control id {older.control_id or 'missing'}, of {older.received_at:%-d %B %Y, %H:%M} UTC."
        )
    return {pk: tuple(words) for pk, words in out.items()}


def _newest(subjects: Mapping[UUID, Sequence[tuple[str, str]]]) -> dict[tuple[str, str], datetime]:
    """When the current version of each record came; 2 queries."""
    known = identifiers.resolve_many({key for keys in subjects.values() for key in keys})
    if not known:
        return {}
    current = SourceRecordVersion.objects.filter(source_record__in={one.source_record_id for one in known.values()})
    at: dict[int, datetime] = {}
    for record, received in current.values_list("source_record_id", "received_at"):
        at[record] = max(received, at.get(record, received))
    return {key: at[one.source_record_id] for key, one in known.items() if one.source_record_id in at}


def _waiting_before(
    rows: Sequence[InboundMessage], subjects: Mapping[UUID, Sequence[tuple[str, str]]]
) -> Iterable[tuple[InboundMessage, InboundMessage]]:
    """Of each chosen message the newest older one of the same patient that waits and was not chosen.

    Whom a message speaks of stands in its bytes alone, so those that wait are opened: the newest `_EARLIER` of the same senders.
    """
    wanted = {_bare(key) for keys in subjects.values() for key in keys}
    if not wanted:
        return
    waits = InboundMessage.objects.filter(
        status__in=[Status.REFUSED, Status.FAILED, Status.RECEIVED],
        sender__in={row.sender for row in rows},
        received_at__lt=max(row.received_at for row in rows),
    ).exclude(pk__in=[row.pk for row in rows])
    found: list[tuple[InboundMessage, set[tuple[str, str]]]] = []
    for other in waits.order_by("-received_at", "pk")[:_EARLIER]:
        keys = {_bare(key) for key in _subjects(other)} & wanted
        if keys:
            found.append((other, keys))
    for row in rows:
        mine = {_bare(key) for key in subjects[row.pk]}
        older = next((other for other, keys in found if keys & mine and other.received_at < row.received_at), None)
        if older is not None:
            yield row, older


# --- trying -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Became:
    """One message of a run: what was foreseen, and what came of it; None: it was left out."""

    message: InboundMessage
    foreseen: str
    status: str | None

    @property
    def otherwise(self) -> bool:
        """Whether it came otherwise than it was foreseen."""
        return self.status is not None and self.status != self.foreseen


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of a run; `by` tried it, for `reason`."""

    id: UUID
    at: datetime
    by: str
    reason: str
    messages: tuple[Became, ...] = field(default=())

    @property
    def counts(self) -> tuple[tuple[str, int], ...]:
        """How many became what."""
        return tuple(sorted(Counter(one.status for one in self.messages if one.status is not None).items()))

    @property
    def left_out(self) -> int:
        """How many were looked at and not tried."""
        return sum(one.status is None for one in self.messages)


def run(run_id: UUID, ids: Collection[str], actor: Caller, reason: str) -> int:
    """Try those of a look ahead's messages that are named, in the order they came in; how many were tried now.

    Whoever presses twice, or comes back to a run that broke off, tries no message twice.

    Raises:
        NotFound: there was no such look ahead. AccessRefused: it was another's.
        BadRequest: it is too old, no reason, or none of its messages is named.
    """
    if not reason.strip():
        raise BadRequest("give a reason", element="reason")
    with inbox.alone(run_id):
        ahead, done = _events(run_id)
        if ahead.user != actor.user_id:
            raise AccessRefused("G5", "another-looked-ahead")
        if timezone.now() - ahead.at > _LASTS:
            raise BadRequest("this look ahead is more than an hour old: look again", element="messages")
        foreseen = ahead.detail["messages"]
        wanted = {one for one in ids if foreseen.get(one, Came.UNTRIED) != Came.UNTRIED}
        if not wanted:
            raise BadRequest("choose at least one message", element="messages")
        left = wanted - {str(event.detail.get("message")) for event in done}
        tried = 0
        for row in InboundMessage.objects.filter(pk__in=left).only("pk").order_by("received_at", "pk"):
            try:
                inbox.replay(row.pk, actor, reason.strip(), run=str(run_id))
            except HubError:
                continue  # recorded with what was wrong
            tried += 1
    return tried


def result(run_id: UUID) -> Run:
    """What came of a run, from the log; 3 statements.

    Raises:
        NotFound: there was no such look ahead.
    """
    ahead, done = _events(run_id)
    became = {str(event.detail.get("message")): _status(event) for event in done}
    foreseen: Mapping[str, str] = ahead.detail["messages"]
    rows = _rows([UUID(one) for one in foreseen]).defer("raw", "reply", "digest")
    last = done[0] if done else ahead
    return Run(
        id=run_id,
        at=last.at,
        by=ahead.user_name or ahead.user.removeprefix("Staff/"),
        reason=str(last.detail.get("reason", "")),
        messages=tuple(
            Became(message=row, foreseen=foreseen[str(row.pk)], status=became.get(str(row.pk))) for row in rows
        ),
    )


def _status(event: EventRecord) -> str:
    return str(event.detail.get("status") or (Came.UNREADABLE if event.outcome else Came.FAILED))


def _events(run_id: UUID) -> tuple[EventRecord, list[EventRecord]]:
    """The look ahead, and what was tried since, newest first. 1 query, and 1 for the words."""
    kinds = (EventType.MESSAGE_REHEARSED.value, EventType.MESSAGE_REPLAYED.value)
    found = audit.search(AuditQuery(correlation=str(run_id), kinds=kinds, limit=2 * AT_ONCE + 1)).events
    ahead = next((event for event in found if event.type == EventType.MESSAGE_REHEARSED), None)
    if ahead is None:
        raise NotFound("no such look ahead")
    return ahead, [event for event in found if event.type == EventType.MESSAGE_REPLAYED]
