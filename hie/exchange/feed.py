"""Patient identity feeds: add or revise, resolve a duplicate, remove; for ITI-104 and ADT alike.

Who issues the identifiers of a domain, and only he (or an organization above him), feeds it. What a
message asks is done whole or not at all, recorded in the same transaction, and visible to every
question that comes after the answer.

Where a channel goes by the time that its messages bear (HL7 v2 and V3), news that are older than the newest about a record
change nothing, whenever they come: of what a record says by its own, of what it was joined to or parted from by theirs.

Source: spec/fhir.md 2.4; spec/mpi.md 3; spec/xds.md 10; IHE ITI-104, ITI-8, ITI-44.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from django.db import transaction

from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.database import prepared
from hie.directory import queries as directory
from hie.exchange import access
from hie.exchange.errors import AuthorityNotOwned, InvalidFeed, NotFound, StaleVersion
from hie.standards.demographics import Demographics, Identifier, authority_of, system_of
from hie.standards.facts import Caller
from hie.standards.hl7_time import Span
from hie.standards.reliability import still_said
from patients import identifiers, linking, store
from patients import queries as index
from patients.demographics import FeedResult, RecordFeed, SourceRecordView


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A record added or revised, named by an identifier in its issuer's domain (bare OID or ``urn:oid:``).

    `keep_unsaid`: attributes that `demographics` leaves empty stay as they were, but for those named in
    `deleted` (HL7 v2); otherwise the record is replaced in full (FHIR). `expected_version` is the record
    version the sender saw, None when it does not say. `only_new`: a record that is known is left as it is.
    `element` is what an error will name.
    """

    authority: str
    value: str
    demographics: Demographics
    keep_unsaid: bool = False
    deleted: frozenset[str] = frozenset()
    expected_version: int | None = None
    only_new: bool = False
    element: str = "Patient.identifier"


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """The issuer says that its record `subsumed` is a duplicate of its record `survivor`; (authority, value) each.

    A subsumed record that was never fed is taken note of all the same, so that its identifier leads to the survivor.
    """

    survivor: tuple[str, str]
    subsumed: tuple[str, str]
    element: str = "Patient.link"


@dataclass(frozen=True, slots=True, kw_only=True)
class Renaming:
    """The issuer gives the patient of its record `former` a new identifier: that of `revision` (ADT A47).

    A new record takes over what the former one said and the person it belonged to; the former identifier goes on
    leading there. Where the new identifier is known already, the two are duplicates. Where it is one that gave way to
    the former before, the change is taken back: that record is in use again.
    """

    revision: Revision
    former: tuple[str, str]
    element: str = "MRG-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Linking:
    """The issuer says that its records `first` and `second` are one person, or with `apart` that they are not.

    Both stay records of their own (ADT A24, A37, A43). Only the record `second` moves.
    """

    first: tuple[str, str]
    second: tuple[str, str]
    apart: bool = False
    element: str = "PID-3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """The issuer withdraws its record: it is never again found or answered. Nothing happens when there is none."""

    authority: str
    value: str
    element: str = "identifier"


Change = Revision | Duplicate | Renaming | Linking | Removal


@dataclass(frozen=True, slots=True, kw_only=True)
class Fed:
    """What came of one change. `record` is the sender's own record as it is now; None after a duplicate."""

    result: FeedResult | None
    record: SourceRecordView | None
    outcome: str


def feed(revision: Revision, caller: Caller, *, raw: str | bytes | None = None, source: str = "fhir") -> Fed:
    """Add or revise one record; see `apply`."""
    return apply([revision], caller, raw=raw, source=source)[0]


def resolve_duplicate(
    duplicate: Duplicate, caller: Caller, *, raw: str | bytes | None = None, source: str = "fhir"
) -> Fed:
    """Make one of the sender's records a duplicate of another; see `apply`."""
    return apply([duplicate], caller, raw=raw, source=source)[0]


def apply(
    changes: Sequence[Change],
    caller: Caller,
    *,
    raw: str | bytes | None = None,
    source: str = "fhir",
    kind: EventType = EventType.PATIENT_FEED,
    said: Span | None = None,
) -> list[Fed]:
    """Everything one message asks, in order, whole or not at all; recorded in the same transaction.

    `raw` is the message as sent, for the log. Repeating a message changes nothing. `said` is the time that the message
    bears, where its channel goes by that: what is older than the newest news of the same kind about a record is passed over
    (outcome ``outdated``), and of one moment the later to come counts. One from the future counts as of now, and so goes by
    its arrival: a clock that runs ahead once must not make everything after it old. Without `said` everything does.

    Raises:
        AuthorityNotOwned: an identifier of a domain the caller does not issue in.
        InvalidFeed: a change contradicts itself. NotFound: a record to be linked or parted is not known. StaleVersion: `expected_version` is not the current one.
        AccessRefused: the participant is not active.
    """
    with recorder.recording(kind, caller, query=raw) as event:
        told = Told.of(said, access.now())
        checked: list[tuple[Change, str, Demographics | None]] = []
        with directory.one_reading():
            for change in changes:
                owners = [_owner(authority, caller, change.element) for authority, _ in named_by(change)]
                access.may_submit(caller, owners[0])
                words = None
                if isinstance(change, Revision) and not change.only_new and change.expected_version is None:
                    words = _own_view(change.demographics, owners[0], change.element)
                checked.append((change, owners[0], words))
        with transaction.atomic():
            _lock(changes)
            done: list[Fed] = []
            for change, owner, words in checked:
                match change:
                    case Revision():
                        done.append(_revise(change, owner, caller, source, event, told, words))
                    case Duplicate() | Renaming() | Linking():
                        done.append(_join(change, owner, caller, source, event, told))
                    case Removal():
                        done.append(_remove(change, caller, event))
            event.commit()
    return done


def remove(authority: str, value: str, caller: Caller, *, raw: str | bytes | None = None) -> bool:
    """Remove the record of an identifier: it is never again found or answered. False when there was none.

    Raises:
        AuthorityNotOwned, AccessRefused: as for `apply`.
    """
    removal = Removal(authority=authority, value=value)
    return apply([removal], caller, raw=raw, kind=EventType.PATIENT_REMOVED)[0].outcome == "removed"


def replaced(authority: str, value: str, caller: Caller) -> bool:
    """Whether the caller's own record of this identifier was made a duplicate of another; False for any other's."""
    record = index.source_record(authority_of(authority), value) if owned(authority, caller) else None
    return record is not None and record.replaced_by is not None


def own_record(person_id: str, caller: Caller) -> tuple[str, str] | None:
    """Authority and value of the one active record that the caller feeds of a person; None when none or several."""
    survivor = identifiers.survivor(person_id)
    found = [
        (record.authority, record.value)
        for record in (index.source_records(survivor) if survivor is not None else ())
        if record.active and owned(record.authority, caller)
    ]
    return found[0] if len(found) == 1 else None


def owned(authority: str, caller: Caller) -> bool:
    """Whether the caller's participant, or one below it, issues identifiers in this domain."""
    owner = directory.authority_owner(authority_of(authority))
    return owner is not None and owner != directory.HUB and directory.within(owner, caller.participant_id)


def _owner(authority: str, caller: Caller, element: str) -> str:
    owner = directory.authority_owner(authority_of(authority))
    if owner is None or not owned(authority, caller):
        raise AuthorityNotOwned(authority_of(authority), element=element)
    return owner


def named_by(change: Change) -> list[tuple[str, str]]:
    """The identifiers of the records that a change concerns, as (authority, value)."""
    match change:
        case Revision() | Removal():
            return [(change.authority, change.value)]
        case Duplicate():
            return [change.survivor, change.subsumed]
        case Renaming():
            return [*named_by(change.revision), change.former]
        case Linking():
            return [change.first, change.second]


def _lock(changes: Sequence[Change]) -> None:
    """One message at a time for each record: what is kept of the former version must be the former version.

    Whatever is more than one record's own news holds the index from the beginning: a lock widened half-way would let
    two messages wait for one another.
    """
    names = {
        f"exchange/record/{authority_of(authority)}|{value}"
        for change in changes
        for authority, value in named_by(change)
    }
    with prepared() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(k) FROM"
            " (SELECT DISTINCT hashtextextended(n, 0) AS k FROM unnest(%s::text[]) AS n ORDER BY k) AS o",
            [sorted(names)],
        )
    if len(changes) != 1 or not isinstance(changes[0], Revision):
        store.lock_index()


def _revise(
    change: Revision,
    owner: str,
    caller: Caller,
    source: str,
    event: recorder.Recording,
    told: Told | None,
    said: Demographics | None = None,
) -> Fed:
    """Feed a record; `said`: what it says of itself (`_own_view`), where the caller has looked already."""
    authority = authority_of(change.authority)
    asks = change.only_new or change.keep_unsaid or told is not None or change.expected_version is not None
    current = index.source_record(authority, change.value) if asks else None
    if change.only_new and current is not None:
        return Fed(result=None, record=current, outcome="unchanged")
    if change.expected_version is not None:
        held = current.version if current is not None else 0
        if held != change.expected_version:
            raise StaleVersion(f"the record is at version {held}", element="If-Match")
    if told is not None and current is not None and told.is_older(linking.said_at(current.source_record_id)):
        return _passed_over((current.authority, change.value), current, event)
    if said is None:
        with directory.one_reading():
            said = _own_view(change.demographics, owner, change.element)
    if change.keep_unsaid and current is not None:
        said = merged(current.demographics, said, change.deleted)
    result = linking.feed(
        RecordFeed(
            participant_id=owner,
            authority=authority,
            value=change.value,
            demographics=_named(said, authority, change.value),
            actor=caller.user_id,
            source=source,
        )
    )
    if told is not None and result.outcome != "quarantined":
        linking.note_said([result.source_record_id], told.at)
    detail: dict[str, Any] = {"outcome": result.outcome, "version": result.version}
    event.about(
        result.person_id,
        patient_identifier=f"{system_of(authority)}|{change.value}",
        detail=detail,
        action=_action(result),
    )
    return Fed(result=result, record=index.source_record(authority, change.value), outcome=result.outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """When a message was told: `at`, the earliest that its time may mean, and `until`, the latest."""

    at: datetime
    until: datetime

    @classmethod
    def of(cls, said: Span | None, now: datetime) -> Told | None:
        """The time that a message bears; what lies in the future is now."""
        return cls(at=min(said.start, now), until=max(min(said.start, now), said.end)) if said is not None else None

    def is_older(self, newest: datetime | None) -> bool:
        """Whether it is certainly from before the newest news."""
        return newest is not None and self.until < newest


def _passed_over(name: tuple[str, str], current: SourceRecordView, event: recorder.Recording) -> Fed:
    """Newer news of the record was taken in before: the message is recorded, and its words are not taken."""
    found = identifiers.resolve(*name)
    if found is not None:
        event.about(
            found.person_id,
            patient_identifier=f"{system_of(name[0])}|{name[1]}",
            detail={"outcome": "outdated", "version": current.version},
            action="U",
        )
    return Fed(result=None, record=current, outcome="outdated")


def _action(result: FeedResult) -> str:
    return "C" if result.created else "U"


def _join(
    change: Duplicate | Renaming | Linking,
    owner: str,
    caller: Caller,
    source: str,
    event: recorder.Recording,
    told: Told | None,
) -> Fed:
    """Join two records or part them, unless both were joined or parted by newer news: that would be undone."""
    names = dict.fromkeys((authority_of(authority), value) for authority, value in named_by(change))
    if told is not None and len(names) == 2:
        records = [index.source_record(*name) for name in names]
        known = [record for record in records if record is not None]
        newest = [linking.joined_at(record.source_record_id) for record in known]
        if len(known) == 2 and all(told.is_older(one) for one in newest):
            return _passed_over(next(iter(names)), known[0], event)
    match change:
        case Duplicate():
            fed = _resolve(change, owner, caller, source, event)
        case Renaming():
            fed = _rename(change, owner, caller, source, event, told)
        case Linking():
            fed = _link(change, owner, caller, source, event)
    if told is not None:
        held = [found.source_record_id for name in names if (found := identifiers.resolve(*name)) is not None]
        linking.note_said(held, told.at, joining=True)
    return fed


def _resolve(change: Duplicate, owner: str, caller: Caller, source: str, event: recorder.Recording) -> Fed:
    survivor = (authority_of(change.survivor[0]), change.survivor[1])
    subsumed = (authority_of(change.subsumed[0]), change.subsumed[1])
    if survivor == subsumed:
        raise InvalidFeed("a record cannot be a duplicate of itself", element=change.element)
    for authority, value in (survivor, subsumed):
        _take_note(authority, value, owner, caller, source)
    before = index.source_record(*subsumed)
    if before is None or before.replaced_by != survivor:
        surviving, duplicate = identifiers.resolve(*survivor), identifiers.resolve(*subsumed)
        if surviving is None or duplicate is None or not surviving.active or not duplicate.active:
            raise InvalidFeed("the survivor or the duplicate is itself replaced or removed", element=change.element)
        linking.resolve_duplicate(surviving, duplicate, actor=caller.user_id, reason="duplicate resolved by its issuer")
    after = identifiers.resolve(*survivor)
    if after is not None:
        event.about(
            after.person_id,
            patient_identifier=f"{system_of(survivor[0])}|{survivor[1]}",
            detail={"outcome": "replaced", "subsumed": f"{system_of(subsumed[0])}|{subsumed[1]}"},
        )
    return Fed(result=None, record=index.source_record(*survivor), outcome="replaced")


def _take_note(authority: str, value: str, owner: str, caller: Caller, source: str) -> None:
    """An identifier that was never fed, but is said to be the same patient's as another: a record that says nothing yet."""
    if identifiers.resolve(authority, value) is None:
        linking.feed(
            RecordFeed(
                participant_id=directory.authority_owner(authority) or owner,
                authority=authority,
                value=value,
                demographics=_named(Demographics(), authority, value),
                actor=caller.user_id,
                source=source,
            )
        )


def _rename(
    change: Renaming, owner: str, caller: Caller, source: str, event: recorder.Recording, told: Told | None
) -> Fed:
    new = (authority_of(change.revision.authority), change.revision.value)
    former = (authority_of(change.former[0]), change.former[1])
    if new == former:
        return _revise(change.revision, owner, caller, source, event, told)
    before = index.source_record(*former)
    if before is not None and before.replaced_by == new:
        return Fed(result=None, record=index.source_record(*new), outcome="unchanged")
    known = index.source_record(*new)
    if known is not None and before is not None and before.active and _gave_way(known, before):
        _take_back(new, former, caller)
        known = None
    if known is None or not (known.active or known.replaced_by):
        revision = replace(change.revision, only_new=False)
        if before is not None and before.active:
            said = tuple(i for i in before.demographics.identifiers if (i.authority, i.value) != former)
            former_words, words = replace(before.demographics, identifiers=()), revision.demographics
            newest = linking.said_at(before.source_record_id)
            if told is not None and newest is not None and told.is_older(newest):
                # The change of the number is news all the same; what the patient is like was said anew since.
                kept, told = replace(former_words, identifiers=words.identifiers), Told(at=newest, until=newest)
            else:
                kept = merged(former_words, words, revision.deleted)
            kept = replace(kept, identifiers=_each_once((*kept.identifiers, *said)))
            revision = replace(revision, demographics=kept)
        fed = _revise(revision, owner, caller, source, event, told)
        held = identifiers.resolve(*former)
        if fed.result is not None and held is not None and held.active and held.person_id != fed.result.person_id:
            # The person stays the one it was, whatever a match of the new record alone would say.
            linking.link(
                fed.result.source_record_id, held.person_id, actor=caller.user_id, reason="renamed by its issuer"
            )
    return _resolve(Duplicate(survivor=new, subsumed=former, element=change.element), owner, caller, source, event)


def _gave_way(record: SourceRecordView, to: SourceRecordView) -> bool:
    """Whether a record was replaced by another, directly or through others that were themselves replaced."""
    seen: set[tuple[str, str]] = set()
    at: SourceRecordView | None = record
    while at is not None and at.replaced_by is not None and at.replaced_by not in seen:
        seen.add(at.replaced_by)
        if at.replaced_by == (to.authority, to.value):
            return True
        at = index.source_record(*at.replaced_by)
    return False


def _take_back(identifier: tuple[str, str], former: tuple[str, str], caller: Caller) -> None:
    """A record that gave way to `former` is one in use again: its issuer returns to the identifier it had before.

    Undoing puts every record where it was then; the patient of `former` stays with the person it has now.
    """
    held, before = identifiers.resolve(*identifier), identifiers.resolve(*former)
    event = linking.replacement_of(held.source_record_id) if held is not None else None
    if event is None or before is None:
        return
    linking.undo(event, actor=caller.user_id, reason="its issuer returns to this identifier")
    now, person = identifiers.resolve(*former), identifiers.survivor(before.person_id)
    if now is not None and person is not None and now.person_id != person:
        linking.link(now.source_record_id, person, actor=caller.user_id, reason="renamed by its issuer")


def _each_once(items: Sequence[Identifier]) -> tuple[Identifier, ...]:
    return tuple({(item.authority, item.value): item for item in reversed(items)}.values())[::-1]


def _remove(change: Removal, caller: Caller, event: recorder.Recording) -> Fed:
    authority = authority_of(change.authority)
    found = identifiers.resolve(authority, change.value)
    record = index.source_record(authority, change.value) if found is not None else None
    # A replaced record is removed too: its identifier would else go on leading to the survivor.
    if found is None or record is None or not (record.active or record.replaced_by is not None):
        return Fed(result=None, record=record, outcome="unchanged")
    linking.remove(found, actor=caller.user_id, reason="removed by its issuer")
    event.about(found.person_id, patient_identifier=f"{system_of(authority)}|{change.value}", action="D")
    return Fed(result=None, record=None, outcome="removed")


def _link(change: Linking, owner: str, caller: Caller, source: str, event: recorder.Recording) -> Fed:
    if not change.apart:
        _take_note(authority_of(change.second[0]), change.second[1], owner, caller, source)
    first, second = (identifiers.resolve(authority_of(a), v) for a, v in (change.first, change.second))
    if first is None or second is None:
        raise NotFound("a record that is to be linked or parted is not known", element=change.element)
    if first.source_record_id == second.source_record_id:
        raise InvalidFeed("both identifiers name one record", element=change.element)
    if not first.active or not second.active:
        raise InvalidFeed("one of the records is itself replaced or removed", element=change.element)
    together = first.person_id == second.person_id
    outcome = "unchanged"
    if change.apart and together:
        linking.unlink(second.source_record_id, actor=caller.user_id, reason="parted by its issuer")
        outcome = "unlinked"
    elif not change.apart and not together:
        linking.link(second.source_record_id, first.person_id, actor=caller.user_id, reason="linked by its issuer")
        outcome = "linked"
    now = identifiers.resolve(authority_of(change.second[0]), change.second[1])
    for person in dict.fromkeys([first.person_id, second.person_id, now.person_id if now else first.person_id]):
        event.about(
            person,
            patient_identifier=f"{system_of(authority_of(change.second[0]))}|{change.second[1]}",
            detail={"outcome": outcome, "first": f"{system_of(authority_of(change.first[0]))}|{change.first[1]}"},
        )
    return Fed(result=None, record=index.source_record(*change.first), outcome=outcome)


def merged(old: Demographics, new: Demographics, deleted: frozenset[str]) -> Demographics:
    """`new`, with what it leaves empty taken from `old` unless it is named in `deleted`.

    How far the sender vouches is said of what it says: of former words only those stay that speak of what is left out.
    What protects the record stays until it is taken back by name (``protected:VIP``).
    """
    protected = {*new.protected, *(code for code in old.protected if f"protected:{code}" not in deleted)}
    new, old = replace(new, protected=tuple(sorted(protected))), replace(old, protected=())
    if not new.reliability and "reliability" not in deleted:
        restated = {f.name for f in fields(Demographics) if not _empty(getattr(new, f.name))} | deleted
        old = replace(old, reliability=still_said(old.reliability, restated))
    kept = {
        f.name: getattr(old, f.name)
        for f in fields(Demographics)
        if f.name not in deleted and _empty(getattr(new, f.name))
    }
    return replace(new, **kept)


def _empty(value: object) -> bool:
    return value is None or value == "" or value == () or value == {}


def _own_view(demographics: Demographics, owner: str, element: str) -> Demographics:
    """The demographics without the hub's own identifiers, which come back from a client that read the patient.

    Raises:
        AuthorityNotOwned: an identifier that another participant issues: it would be shown as that one's.
    """
    kept: list[Identifier] = []
    for item in demographics.identifiers:
        issuer = directory.authority_owner(item.authority) if item.system else None
        if issuer == directory.HUB:
            continue
        if issuer is not None and not (directory.within(issuer, owner) or directory.within(owner, issuer)):
            raise AuthorityNotOwned(item.authority, element=element)
        kept.append(item)
    return replace(demographics, identifiers=tuple(kept))


def _named(demographics: Demographics, authority: str, value: str) -> Demographics:
    if any((item.authority, item.value) == (authority, value) for item in demographics.identifiers):
        return demographics
    own = Identifier(system=system_of(authority), value=value)
    return replace(demographics, identifiers=(own, *demographics.identifiers))
