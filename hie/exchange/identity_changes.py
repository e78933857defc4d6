"""Changes of identity over the interfaces: merge, unmerge, link, unlink, split, undo; and who was who on a day.

A change is for clients whom the exchange has entrusted its stewardship: their registration carries the scope
``hie:stewardship``. They change only what they may know of: a person or record that the door does not let through is
answered like one that does not exist. Each change is one event in the log of every person concerned.

The hub's own staff decide in the review queue (`hie.exchange.stewardship`), a second steward with them where documents move;
here that look is the client's own, since an answer that depended on documents would betray hidden ones. An organization
says of its own records by its feed (`hie.exchange.feed`) what it wants linked, parted or replaced.

Source: spec/mpi.md 2; issue 3, point 5.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from django.db import transaction

from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.directory import queries as directory
from hie.exchange import access, identity, release
from hie.exchange.errors import BadRequest, NotFound
from hie.standards.demographics import Identifier, authority_of, system_of
from hie.standards.facts import Caller, Operation
from hie.trust import limits
from hie.trust.errors import NotEntitled
from patients import history, identifiers, linking
from patients.demographics import ResolvedIdentifier
from patients.errors import UnknownIdentityEvent, UnknownPatient
from patients.models import IdentityEvent

SCOPE = "hie:stewardship"
MAX_REASON = 500
_NOT_THERE = "no such patient, identifier or event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A change as its asker is told of it: `event_id` is what undoes it, `persons` all whom it concerns."""

    event_id: UUID
    kind: str
    at: datetime
    persons: tuple[UUID, ...]
    undoes: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Then:
    """Who an identifier was at an instant, as far as this caller may know.

    `person_id` None: a person whom the caller may not know of. `now` is whose it is today. `others` are the
    identifiers the person had besides; `kind` says whether the machine (auto) or somebody (manual) had linked it;
    `reason` is told where nothing of that person is hidden. `event_id` and `event_kind` name the change, if one was.
    """

    identifier: Identifier
    at: datetime
    person_id: UUID | None
    now: UUID
    others: tuple[Identifier, ...]
    kind: str
    since: datetime
    until: datetime | None
    reason: str | None = None
    event_id: UUID | None = None
    event_kind: str = ""


def merge(survivor: UUID, subsumed: UUID, caller: Caller, *, reason: str, raw: str | bytes = "") -> Changed:
    """Put two persons together; `subsumed` becomes a redirect to `survivor`.

    Raises:
        NotEntitled, AccessRefused: of the caller. BadRequest: no reason. NotFound: a person unknown, or not to be
            known. InvalidMerge: the two are one, or one was merged away.
    """

    def act(reason: str) -> UUID:
        _persons(caller, [survivor, subsumed])
        return linking.merge(survivor, subsumed, actor=caller.user_id, reason=reason)

    return _change(EventType.IDENTITY_MERGE, caller, act, reason, raw)


def unmerge(person_id: UUID, caller: Caller, *, reason: str, raw: str | bytes = "") -> Changed:
    """Undo the merge by which this person became part of another.

    Raises:
        As `merge`. NotFound: it was not merged away.
    """

    def act(reason: str) -> UUID:
        _persons(caller, [person_id])
        event_id = linking.merge_of(person_id)
        if event_id is None:
            raise NotFound(_NOT_THERE)
        return linking.unmerge(event_id, actor=caller.user_id, reason=reason)

    return _change(EventType.IDENTITY_UNMERGE, caller, act, reason, raw)


def link(identifier: Identifier, person_id: UUID, caller: Caller, *, reason: str, raw: str | bytes = "") -> Changed:
    """Link the record of an identifier to a person.

    Raises:
        As `merge`. InvalidMerge: it is the person's already, or the person was merged away.
    """

    def act(reason: str) -> UUID:
        _persons(caller, [person_id])
        record = _record(caller, identifier)
        return linking.link(record.source_record_id, person_id, actor=caller.user_id, reason=reason)

    return _change(EventType.IDENTITY_LINK, caller, act, reason, raw)


def unlink(identifier: Identifier, caller: Caller, *, reason: str, raw: str | bytes = "") -> Changed:
    """Take the record of an identifier away from its person: it becomes a person of its own.

    Raises:
        As `merge`. InvalidMerge: it is the person's only record.
    """

    def act(reason: str) -> UUID:
        record = _record(caller, identifier)
        return linking.unlink(record.source_record_id, actor=caller.user_id, reason=reason)

    return _change(EventType.IDENTITY_UNLINK, caller, act, reason, raw)


def split(
    person_id: UUID, parted: Sequence[Identifier], caller: Caller, *, reason: str, raw: str | bytes = ""
) -> Changed:
    """Take the records of several identifiers away from their person: together they become a new one.

    Raises:
        As `merge`. InvalidMerge: not all are the person's, or nothing would remain.
    """

    def act(reason: str) -> UUID:
        _persons(caller, [person_id])
        records = {_record(caller, identifier).source_record_id for identifier in parted}
        return linking.split(person_id, records, actor=caller.user_id, reason=reason)

    return _change(EventType.IDENTITY_UNLINK, caller, act, reason, raw)


def undo(event_id: UUID, caller: Caller, *, reason: str, raw: str | bytes = "") -> Changed:
    """Undo a change exactly, or bring back what was undone.

    Raises:
        As `merge`. NotFound: no such event, not one that can be undone, or of persons the caller may not know of.
        AlreadyUndone: it does not stand. InvalidMerge: what is to be brought back contradicts what was done since.
    """

    def act(reason: str) -> UUID:
        event = IdentityEvent.objects.filter(id=event_id).first()
        if event is None:
            raise NotFound(_NOT_THERE)
        _persons(caller, _of(event))
        return linking.undo(event_id, actor=caller.user_id, reason=reason)

    return _change(EventType.IDENTITY_UNMERGE, caller, act, reason, raw)


@release.point
def who_was(
    identifier: Identifier, at: datetime, caller: Caller, *, raw: str | bytes = "", element: str = "at"
) -> Then:
    """Which person an identifier belonged to at an instant, with which other identifiers, and why.

    Raises:
        AccessRefused: of the caller. BadRequest: the instant is to come. NotFound: the identifier was not known then, was
            removed since, or is not to be known.
    """
    with recorder.recording(EventType.IDENTITY_HISTORY, caller, query=raw or None) as event:
        access.gate(caller, Operation.QUERY)
        if at > datetime.now(UTC):
            raise BadRequest("the instant is to come", element=element)
        then = history.members(authority_of(identifier.system), identifier.value, at)
        people = access.demographics(caller, sorted({member.now for member in then}), Operation.QUERY)
        seen = {record.source_record_id for person in people.values() for record in person.records}
        known = [one for one in then if one.participant_id != directory.HUB and one.status != "removed"]
        shown = [one for one in known if one.source_record_id in seen]
        if not shown or (shown[0].authority, shown[0].value) != (authority_of(identifier.system), identifier.value):
            limits.guessing(caller, "source-identifier")
            raise NotFound("no such identifier at that time")
        asked = shown[0]
        for person_id in sorted({one.now for one in shown}):
            identity.disclose(event, caller, people[person_id])
        event.commit()
    living = identifiers.survivor(asked.person_id)
    told = living in people
    return Then(
        identifier=Identifier(system=system_of(asked.authority), value=asked.value),
        at=at,
        person_id=asked.person_id if told else None,
        now=asked.now,
        others=tuple(Identifier(system=system_of(one.authority), value=one.value) for one in shown[1:]),
        kind=asked.kind,
        since=asked.since,
        until=asked.until,
        reason=asked.reason if told and len(shown) == len(known) else None,
        event_id=asked.event.id if told and asked.event else None,
        event_kind=asked.event.kind if told and asked.event else "",
    )


@release.point
def _change(kind: EventType, caller: Caller, act: Callable[[str], UUID], reason: str, raw: str | bytes) -> Changed:
    """Refuse who may not, do it, and put it into the log of everybody concerned, in one transaction."""
    with recorder.recording(kind, caller, query=raw or None) as event:
        access.gate(caller, Operation.QUERY)
        if SCOPE not in caller.scopes:
            raise NotEntitled(f"the token's scopes do not cover {SCOPE}", scope=SCOPE)
        reason = reason.strip()
        if not reason or len(reason) > MAX_REASON:
            raise BadRequest(f"a reason is needed, of at most {MAX_REASON} characters", element="reason")
        try:
            with transaction.atomic():
                made = IdentityEvent.objects.select_related("undoes").get(id=act(reason))
                for person_id in _of(made):
                    event.about(
                        person_id,
                        detail={"event": made.id, **({"undoes": str(made.undoes.id)} if made.undoes else {})},
                        personal={"text": reason},
                    )
                event.commit()
        except (UnknownPatient, UnknownIdentityEvent) as error:
            raise NotFound(_NOT_THERE) from error
    return Changed(
        event_id=made.id,
        kind=made.kind,
        at=made.at,
        persons=tuple(_of(made)),
        undoes=made.undoes.id if made.undoes else None,
    )


def _of(event: IdentityEvent) -> list[UUID]:
    return [one for one in (event.person_id, event.other_person_id) if one is not None]


def _persons(caller: Caller, person_ids: Collection[UUID]) -> None:
    """Refuse persons whom the caller may not know of, like those there are not."""
    living = identifiers.survivors_of(person_ids)
    known = access.demographics(caller, sorted(set(living.values())), Operation.QUERY)
    if any(living.get(person_id) not in known for person_id in person_ids):
        limits.guessing(caller, "patient")
        raise NotFound(_NOT_THERE)


def _record(caller: Caller, identifier: Identifier) -> ResolvedIdentifier:
    found = identifiers.resolve(authority_of(identifier.system), identifier.value)
    person = access.demographics(caller, [found.person_id], Operation.QUERY).get(found.person_id) if found else None
    seen = {record.source_record_id for record in person.records} if person else set()
    if found is None or found.participant_id == directory.HUB or found.source_record_id not in seen:
        limits.guessing(caller, "source-identifier")
        raise NotFound(_NOT_THERE)
    return found
