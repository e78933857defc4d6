"""Patients as callers name them: who is meant, what of a person a name reaches, and what looking costs who guesses.

Source: spec/fhir.md 3.2; spec/consent.md 8, 13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from documents.metadata import CX
from hie.audit import recorder
from hie.audit.recorder import EventType
from hie.directory import queries as directory
from hie.exchange import access
from hie.exchange.access import Subject
from hie.standards.demographics import authority_of
from hie.standards.facts import Caller
from hie.trust import limits
from patients import identifiers
from patients.demographics import ResolvedIdentifier


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientNamed:
    """A patient as a search names one: by the id of this hub, or by an identifier (`system` a URI or OID)."""

    id: str = ""
    system: str = ""
    value: str = ""


def person_of(name: PatientNamed, *, caller: Caller) -> UUID | None:
    """The person a name means, as it is now (merged ones answer for the survivor); None when unknown to the caller.

    For what is published: a failed look-up is recorded as a refused attempt to publish, which a patient who is hidden
    reads in the log, and counts against guessing by identifier. A search counts by what it
    may show (`count_guesses`): else the limit itself would tell a hidden patient from one that does not exist.

    Raises:
        TooManyRequests: too many failed look-ups.
    """
    named = _resolved(name)
    found = identifiers.survivor(name.id) if name.id else named.person_id if named is not None else None
    if access.known_to_publisher(caller, found, named):
        return found
    recorder.write_apart(
        [
            recorder.EventDraft(
                kind=EventType.PROVIDE_DOCUMENT_BUNDLE, caller=caller, outcome=recorder.Outcome.REFUSED,
                person_id=found, reason="not-found",
            )
        ]
    )  # fmt: skip
    if not name.id:
        limits.guessing(caller, f"{name.system}|{name.value}")
    return None


def _person(name: PatientNamed) -> UUID | None:
    if name.id:
        return identifiers.survivor(name.id)
    resolved = _resolved(name)
    return resolved.person_id if resolved is not None else None


def _resolved(name: PatientNamed) -> ResolvedIdentifier | None:
    named = not name.id and name.system and name.value
    return identifiers.resolve(authority_of(name.system), name.value) if named else None


def persons_named(groups: Sequence[Sequence[PatientNamed]]) -> set[UUID]:
    """The persons that every group of alternatives names."""
    found = [{person for name in group if (person := _person(name)) is not None} for group in groups]
    return set.intersection(*found) if found else set()


def identifier_of(named: PatientNamed, person_id: UUID | str) -> int:
    """The identifier row that something said of a person hangs on: the one named, which goes with its record when records
    are parted; of one named by id the person's own anchor, so that nothing leaves with somebody whom the person took in.

    Raises:
        UnknownPatient: there is no such person, or it was merged away.
    """
    if not named.id:
        found = identifiers.resolve(authority_of(named.system), named.value)
        if found is not None and str(found.person_id) == str(person_id):
            return found.pk
    return identifiers.own_anchor(person_id).pk


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Whom names lead to: each person with what of it they reach, None for all, else identifiers' row ids.

    `subjects` are those of them, as they were read, whom the caller may know of.
    """

    persons: Mapping[UUID, frozenset[int] | None]
    subjects: Mapping[UUID, Subject]


def reached(
    groups: Sequence[Sequence[PatientNamed]], *, caller: Caller, active_only: bool = False
) -> Mapping[UUID, frozenset[int] | None]:
    """The persons of `reach`."""
    return reach(groups, caller=caller, active_only=active_only).persons


def reach(groups: Sequence[Sequence[PatientNamed]], *, caller: Caller, active_only: bool = False) -> Reach:
    """The persons that every group names, each with what of it the names reach.

    An identifier of a record that the caller may not know of does not lead to what hangs on the person's other records:
    whose it is would be told by what is found (spec/consent.md 8). It reaches what hangs on that identifier itself,
    which is decided by itself. With `active_only` an identifier of a record that was replaced or removed names nobody.
    No statement more than `persons_named` where only ids of this hub are named.
    """
    resolved = {
        name: found
        for name in {name for group in groups for name in group if not name.id and name.system and name.value}
        if (found := identifiers.resolve(authority_of(name.system), name.value)) is not None
        and (found.active or not active_only)
    }
    by_identifier = any(not name.id for group in groups for name in group)
    led_to = sorted({found.person_id for found in resolved.values()})
    known = access.demographics(caller, led_to) if by_identifier else {}

    def of(name: PatientNamed) -> tuple[UUID, frozenset[int] | None] | None:
        if name.id:
            person_id = identifiers.survivor(name.id)
            return (person_id, None) if person_id is not None else None
        found = resolved.get(name)
        if found is None:
            return None
        if found.participant_id == directory.HUB or _is_known_by(found, known.get(found.person_id)):
            return found.person_id, None
        return found.person_id, frozenset({found.pk})

    whole: dict[UUID, frozenset[int] | None] | None = None
    for group in groups:
        named: dict[UUID, frozenset[int] | None] = {}
        for person_id, pks in filter(None, map(of, group)):
            before = named.get(person_id, frozenset())
            named[person_id] = None if pks is None or before is None else before | pks
        whole = named if whole is None else _both(whole, named)
    persons = whole or {}
    return Reach(persons=persons, subjects={person: known[person].subject for person in persons if person in known})


def persons_known(groups: Sequence[Sequence[PatientNamed]], *, caller: Caller) -> set[UUID]:
    """The persons that every group names by what the caller may know; the hub's own staff may know every identifier."""
    if caller.participant_id == directory.HUB:
        return persons_named(groups)
    return {person for person, pks in reached(groups, caller=caller).items() if pks is None}


def _both(
    one: Mapping[UUID, frozenset[int] | None], other: Mapping[UUID, frozenset[int] | None]
) -> dict[UUID, frozenset[int] | None]:
    met: dict[UUID, frozenset[int] | None] = {}
    for person_id in one.keys() & other.keys():
        a, b = one[person_id], other[person_id]
        met[person_id] = b if a is None else a if b is None else a & b
    return met


def count_guesses(groups: Sequence[Sequence[PatientNamed]], caller: Caller) -> None:
    """Count each identifier of a search without result whose patient this caller does not know of.

    Raises:
        TooManyRequests: more misses than an honest user has.
    """
    for name in {name for group in groups for name in group if not name.id}:
        # Whom this identifier does not lead to is not known by it, though he may be by another.
        led_to = [person for person, pks in reached([[name]], caller=caller).items() if pks is None]
        if not access.demographics(caller, led_to):
            limits.guessing(caller, f"{name.system}|{name.value}")


def _is_known_by(identifier: ResolvedIdentifier, person: access.PermittedPerson | None) -> bool:
    """Whether an identifier is of a record of this person that may be shown."""
    if person is None:
        return False
    seen = {record.source_record_id for record in person.records}
    hidden = {record.source_record_id for record in person.subject.records} - seen
    return identifier.source_record_id not in hidden


def patient_cx(name: PatientNamed, *, caller: Caller) -> CX | None:
    """The identifier to file a submission under: the one named, or the person's own anchor for an id of this hub, so that
    it does not leave with somebody whom the person took in.

    None when there is no such patient.
    """
    if not name.id:
        if not name.system or not name.value:
            return None
        if identifiers.resolve(authority_of(name.system), name.value) is None:
            limits.guessing(caller, f"{name.system}|{name.value}")
            return None
        return CX(value=name.value, authority=authority_of(name.system))
    person_id = identifiers.survivor(name.id)
    if person_id is None:
        return None
    anchor = identifiers.own_anchor(person_id)
    return CX(value=anchor.value, authority=anchor.authority)


def person_id_of(cx: CX) -> str:
    """The person an identifier of the index leads to now, as text; "" when it is not known."""
    resolved = identifiers.resolve(cx.authority, cx.value)
    return str(resolved.person_id) if resolved is not None else ""
