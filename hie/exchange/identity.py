"""Finding people: search, read, match and cross-reference, all through the door.

A person comes up only when the demographics of at least one source may be shown to the caller,
and shows only what those sources said: the golden record is made over the permitted records, a
criterion holds only if a permitted record meets it. So "no match" and "match but denied" are the same
answer. Each patient returned leaves one audit event; a question without an answer leaves one too.

Source: spec/consent.md 6 and 8; spec/fhir.md 2.1 to 2.3; IHE ITI-78, ITI-119, ITI-83.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from django.conf import settings

from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.directory import queries as directory
from hie.exchange import access, patient_filter, release
from hie.exchange.errors import (
    NotFound,
    TooManyPeople,
    UnknownSourceDomain,
    UnknownSourceIdentifier,
    UnknownTargetDomain,
)
from hie.standards.demographics import Demographics, Identifier, PatientQuery, authority_of, system_of
from hie.standards.facts import Caller, Operation
from hie.trust import limits
from patients import identifiers as index_identifiers
from patients import queries as index
from patients import store
from patients.deciding import person_scores
from patients.demographics import Candidate, SourceRecordView
from patients.matching import Grade
from patients.normalise import features, fold
from patients.search import search

BATCH = 1000
"""Persons whom a search looks at together."""
MAX_LOOKED_AT = 10_000
"""So many persons a search looks at before what may not be seen is out; what fits more is asked for more narrowly."""
MAX_MATCHED = 50
"""So many hits a match gives where nobody says how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPatient:
    """A person as this caller may see it.

    `demographics` is golden over the permitted records, with their identifiers and the hub's own.
    `version` and `updated_at` speak of the permitted records only; `sources` are these records' participants and
    versions, which is what a feed is told. A person merged into another has `active` False, `replaced_by` and
    nothing else.
    """

    person_id: UUID
    demographics: Demographics
    version: int
    updated_at: datetime
    active: bool = True
    replaced_by: UUID | None = None
    sources: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A page of a search: `total` counts every patient that the caller may see, `more` whether others follow."""

    total: int
    patients: tuple[KnownPatient, ...]
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """One hit of a match: `score` is a probability 0..1, `grade` one of certain, probable, possible, certainly-not."""

    patient: KnownPatient
    score: float
    grade: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossReference:
    """What belongs to a source identifier; `person_id` None and no identifiers when nothing is in the wanted domains."""

    person_id: UUID | None
    identifiers: tuple[Identifier, ...]


def may_ask(caller: Caller) -> None:
    """Refuse who may not ask at all, before anything of the question is looked up.

    Raises:
        AccessRefused: from what the caller is.
    """
    access.gate(caller, Operation.QUERY)


SORTS: Mapping[str, Callable[[KnownPatient], str]] = {
    "_id": lambda patient: str(patient.person_id),
    "_lastUpdated": lambda patient: patient.updated_at.isoformat(timespec="microseconds"),
    "birthdate": lambda patient: patient.demographics.birth_date,
    "family": lambda patient: _first(fold(name.family) for name in patient.demographics.names),
    "given": lambda patient: _first(fold(" ".join(name.given)) for name in patient.demographics.names),
}
"""What patients can be put in order by; one of whom it is not known comes before the others."""
Sort = Sequence[tuple[str, bool]]
"""Names of `SORTS` with whether they descend, the first counting most."""


def standing(patient: KnownPatient, sort: Sort) -> tuple[str, ...]:
    """Where a patient stands in an order; no two stand at one place."""
    return (*(SORTS[name](patient) for name, _ in sort), str(patient.person_id))


def _follows(place: Sequence[str], after: Sequence[str], sort: Sort) -> bool:
    for here, there, (_, descending) in zip(place, after, (*sort, ("_id", False)), strict=False):
        if here != there:
            return (here > there) is not descending
    return not after


def _first(texts: Iterable[str]) -> str:
    return next((text for text in texts if text), "")


@release.point
def find_patients(
    query: PatientQuery,
    caller: Caller,
    *,
    domains: Sequence[str] = (),
    sort: Sort = (),
    after: tuple[str, ...] = (),
    count: int = 50,
    keep: Callable[[KnownPatient], bool] | None = None,
    raw_query: str | bytes = "",
    kind: EventType = EventType.PATIENT_QUERY,
) -> Found:
    """Patients that meet a query in the order of `sort` and then of their ids, at most `count` after that `standing`.

    `domains` (bare OIDs or URIs): only identifiers of these are shown, and only patients that have one.
    `keep` is a further condition on what is shown. With `count` 0 only the total is given.
    A constant number of statements for each `BATCH` of persons who fit, seen or not.

    Raises:
        AccessRefused: from what the caller is. UnknownTargetDomain: nobody issues identifiers in a domain.
        TooManyPeople: more fit than are looked at.
    """
    with recorder.recording(kind, caller, query=raw_query or None) as event:
        access.gate(caller, Operation.QUERY)
        for domain in domains:
            if directory.authority_owner(domain) is None:
                raise UnknownTargetDomain
        hits: list[tuple[KnownPatient, access.PermittedPerson]] = []
        issuers = directory.snapshot().authorities
        people = _people(query)
        for start in range(0, len(people), BATCH) or (0,):  # of nobody too it is asked, as in the door
            part = people[start : start + BATCH]
            for person in access.demographics(caller, part, Operation.QUERY, rest_on_all=False).values():
                patient = _known(person, issuers)
                if patient is None or not _holds(query, person, patient):
                    continue
                patient = restricted(patient, domains)
                if patient.demographics.identifiers and (keep is None or keep(patient)):
                    hits.append((patient, person))
        access.rest_on(person for _, person in hits)
        hits.sort(key=lambda hit: str(hit[0].person_id))
        for name, descending in reversed(sort):
            hits.sort(key=lambda hit: SORTS[name](hit[0]), reverse=descending)
        following = [hit for hit in hits if _follows(standing(hit[0], sort), after, sort)]
        page = following[:count]
        if not hits and query.identifiers:
            limits.guessing(caller, "patient-identifier")
        for _, person in page:
            disclose(event, caller, person)
        event.commit()
    return Found(total=len(hits), patients=tuple(patient for patient, _ in page), more=len(following) > len(page))


@release.point
def read_patient(person_id: str, caller: Caller) -> KnownPatient:
    """One patient by id. A person merged into another that the caller may see is shown as replaced by it.

    Raises:
        NotFound: no such person, or none the caller may know of. AccessRefused: from what the caller is.
    """
    with recorder.recording(EventType.PATIENT_READ, caller, query=f"Patient/{person_id}") as event:
        access.gate(caller, Operation.QUERY)
        survivor = index_identifiers.survivor(person_id)
        # Of nobody too it is asked: what is hidden must not cost more than what is not there.
        known = access.demographics(caller, [survivor] if survivor else [], Operation.QUERY)
        person = known.get(survivor) if survivor else None
        patient = _known(person, directory.snapshot().authorities) if person else None
        if person is None or patient is None or survivor is None:
            raise NotFound("no such patient")
        disclose(event, caller, person)
        event.commit()
    if survivor != UUID(person_id):
        return KnownPatient(
            person_id=UUID(person_id),
            demographics=Demographics(identifiers=(hub_identifier(UUID(person_id)),), active=False),
            version=patient.version,
            updated_at=patient.updated_at,
            active=False,
            replaced_by=survivor,
        )
    return patient


@release.point
def match(
    demographics: Demographics,
    caller: Caller,
    *,
    only_certain: bool = False,
    count: int | None = None,
    raw_query: str | bytes = "",
) -> list[Matched]:
    """Who may be meant by these demographics, best first, at most `count` (`MAX_MATCHED` where it is not said).

    Grades are those of the linking policy, over the records that may be shown. With `only_certain` the answer has the one person of grade certain, or
    nobody when there is none or more than one.

    Raises:
        AccessRefused: from what the caller is.
    """
    with recorder.recording(EventType.PATIENT_MATCH, caller, query=raw_query or None) as event:
        access.gate(caller, Operation.QUERY)
        found, blocks = index.candidates_and_blocks(demographics)
        candidates = {c.person_id: c for c in found}
        hits: list[tuple[Matched, access.PermittedPerson]] = []
        issuers = directory.snapshot().authorities
        permitted = access.demographics(caller, list(candidates), Operation.QUERY, rest_on_all=False)
        shown = {person.person_id: _shown(person) for person in permitted.values()}
        near = blocks.among({record for records in shown.values() for record in records})
        for person in permitted.values():
            patient = _known(person, issuers)
            if patient is None or near.isdisjoint(shown[person.person_id]):
                continue
            hit = _as_seen(demographics, candidates[person.person_id], person, patient)
            if hit is not None:
                hits.append((hit, person))
        access.rest_on(person for _, person in hits)
        if only_certain:
            hits = [hit for hit in hits if hit[0].grade == "certain"]
            hits = hits if len(hits) == 1 else []
        hits.sort(key=lambda hit: (-hit[0].score, str(hit[0].patient.person_id)))
        hits = hits[: MAX_MATCHED if count is None else count]
        for _, person in hits:
            disclose(event, caller, person)
        event.commit()
    return [one for one, _ in hits]


def _shown(person: access.PermittedPerson) -> set[int]:
    """The records of participants that the caller may see of the person, as they are now."""
    return {r.source_record_id for r in person.records if r.active and not _anchor(r)}


@release.point
def cross_reference(
    system: str,
    value: str,
    caller: Caller,
    *,
    targets: Sequence[str] = (),
    raw_query: str | bytes = "",
    kind: EventType = EventType.CROSS_REFERENCE,
) -> CrossReference:
    """The other identifiers of the patient behind one identifier, in the target domains (all when none are named).

    `system` is a domain (URI or bare OID), or this hub's FHIR base with `value` ``Patient/{id}``. An identifier of a
    replaced record answers for the survivor.

    Raises:
        UnknownSourceDomain, UnknownTargetDomain: nobody issues identifiers there.
        UnknownSourceIdentifier: not known, removed, or not to be known.
        AccessRefused: from what the caller is.
    """
    with recorder.recording(kind, caller, query=raw_query or None) as event:
        access.gate(caller, Operation.QUERY)
        logical = system.rstrip("/") == f"{settings.BASE_URL}/fhir" and value.startswith("Patient/")
        if not logical and directory.authority_owner(system) is None:
            raise UnknownSourceDomain
        for target in targets:
            if directory.authority_owner(target) is None:
                raise UnknownTargetDomain
        person_id = _person_behind(authority_of(system), value, logical=logical)
        known = access.demographics(caller, [person_id] if person_id else [], Operation.QUERY)
        person = known.get(person_id) if person_id else None
        patient = _known(person, directory.snapshot().authorities) if person else None
        hub_id = logical or authority_of(system) == settings.HUB_ASSIGNING_AUTHORITY
        if person is None or patient is None or not (hub_id or _may_name(person, authority_of(system), value)):
            limits.guessing(caller, "source-identifier")
            raise UnknownSourceIdentifier
        source = (authority_of(system), value)
        issued = {*directory.snapshot().authorities, settings.HUB_ASSIGNING_AUTHORITY}
        found = tuple(
            item
            for item in restricted(patient, targets).demographics.identifiers
            if (item.authority, item.value) != source and item.authority in issued
        )
        disclose(event, caller, person)
        event.commit()
    return CrossReference(person_id=patient.person_id if found or not targets else None, identifiers=found)


def restricted(patient: KnownPatient, domains: Sequence[str]) -> KnownPatient:
    """The same patient with identifiers of these domains only; unchanged when none are named."""
    if not domains:
        return patient
    wanted = {authority_of(domain) for domain in domains}
    kept = tuple(item for item in patient.demographics.identifiers if item.authority in wanted)
    return replace(patient, demographics=replace(patient.demographics, identifiers=kept))


def own_person(authority: str, value: str) -> UUID | None:
    """The person behind an identifier that its issuer has just fed; for the answer to a feed only."""
    found = index_identifiers.resolve(authority, value)
    return found.person_id if found is not None else None


def hub_identifier(person_id: UUID) -> Identifier:
    """The person's identifier in the hub's own domain."""
    return Identifier(system=system_of(settings.HUB_ASSIGNING_AUTHORITY), value=str(person_id), type="PI", use="usual")


def known(person: access.PermittedPerson) -> KnownPatient | None:
    """The person over its permitted, current records; None when no such record carries demographics."""
    return _known(person, directory.snapshot().authorities)


def _known(person: access.PermittedPerson, issuers: Mapping[str, str]) -> KnownPatient | None:
    """The person over its permitted, current records; None when no such record carries demographics."""
    records = [r for r in person.records if r.active and not _anchor(r)]
    if not records:
        return None
    about = person.subject.records
    by_hand = index.borne_out(person.records, about)
    golden = index.golden(person.records, about=about)
    # In use while any source has it in use; an organization may say of its record that it is not (active=false).
    active = any(r.demographics.active is not False for r in records)
    return KnownPatient(
        person_id=person.person_id,
        demographics=replace(
            golden, identifiers=(hub_identifier(person.person_id), *_identifiers(records, issuers)), active=active
        ),
        active=active,
        version=sum(r.version for r in records),
        updated_at=max(
            [*(r.updated_at for r in records), *(item.set_at for anchor in by_hand for item in anchor.by_hand)]
        ),
        sources=tuple((r.participant_id, r.version) for r in records),
    )


def _identifiers(records: Iterable[SourceRecordView], issuers: Mapping[str, str]) -> list[Identifier]:
    """What identifies these records, and what else they carry that no participant issues, each once."""
    found: dict[tuple[str, str], Identifier] = {}
    for record in records:
        sent = {(i.authority, i.value): i for i in record.demographics.identifiers if i.system and i.value}
        key = (record.authority, record.value)
        found[key] = sent.get(key) or Identifier(system=system_of(record.authority), value=record.value)
        for other, item in sent.items():
            owner = issuers.get(other[0])
            if other[0] != settings.HUB_ASSIGNING_AUTHORITY and owner in (None, record.participant_id):
                found.setdefault(other, item)
    return list(found.values())


def _as_seen(
    asked: Demographics, candidate: Candidate, person: access.PermittedPerson, patient: KnownPatient
) -> Matched | None:
    """The candidate as the permitted records alone bear it out.

    What only a hidden record has in common with the question must neither bring the person up nor grade it, and what
    speaks against the person in a hidden record must not show either: the answer is that without it.
    """
    grade, score, reasons = Grade(candidate.grade), candidate.probability, candidate.reasons
    if any(not _anchor(row.record) for row, _ in person.verdict.denied):
        described = features(asked)
        shown = {
            r.source_record_id: features(r.demographics, own=(r.authority, r.value))
            for r in person.records
            if r.active and not _anchor(r)
        }
        seen = person_scores(
            store.scorer(),
            described,
            [(record_id, person.person_id, said) for record_id, said in shown.items()],
            by_hand=[person.person_id] if candidate.by_hand & shown.keys() else (),
        )
        if not seen:
            return None
        grade, score, reasons = seen[0].grade, seen[0].probability, seen[0].best.reasons
    if grade is Grade.CERTAINLY_NOT:
        return None
    return Matched(patient=patient, score=score, grade=grade.value, reasons=reasons)


def _holds(query: PatientQuery, person: access.PermittedPerson, patient: KnownPatient) -> bool:
    if query.active is not None and query.active is not patient.active:
        return False
    records = [r.demographics for r in person.records if r.active]
    # Identifiers of replaced records still find the survivor, though they are not shown (spec/fhir.md 14.15).
    replaced = [
        Identifier(system=system_of(r.authority), value=r.value)
        for r in person.records
        if not r.active and r.replaced_by is not None
    ]
    merged: list[Identifier] = []
    asked = (either for one in (query, *query.unlike) for either in one.identifiers)
    if any(m.system and authority_of(m.system) == settings.HUB_ASSIGNING_AUTHORITY for e in asked for m in e):
        merged = [
            Identifier(system=system_of(settings.HUB_ASSIGNING_AUTHORITY), value=value)
            for value in (*person.subject.facts.linked, *(r.value for r in person.records if _anchor(r)))
        ]
    return patient_filter.holds(query, records, [*patient.demographics.identifiers, *replaced, *merged])


def _people(query: PatientQuery) -> list[UUID]:
    """Whom the index finds over all records, all of them: who is hidden must not push out who is not.

    The hub's own identifiers are person ids, whether or not a row holds them.

    Raises:
        TooManyPeople: more than `MAX_LOOKED_AT`; nobody of them has been looked at.
    """
    ids: set[str] | None = set(_survivors(query.ids)) if query.ids else None
    identifiers = []
    for either in query.identifiers:
        if not all(m.system and authority_of(m.system) == settings.HUB_ASSIGNING_AUTHORITY for m in either):
            identifiers.append(either)
        elif not any(m.value == "" for m in either):  # a whole domain that everybody is in excludes nobody
            found = (_person_behind(settings.HUB_ASSIGNING_AUTHORITY, m.value, logical=False) for m in either)
            named = {str(person_id) for person_id in found if person_id is not None}
            ids = named if ids is None else ids & named
    if ids is not None and not ids:
        ids = {str(UUID(int=0))}  # nobody is looked for as somebody is
    people = search(
        replace(
            query,
            ids=tuple(sorted(ids or ())),
            identifiers=tuple(identifiers),
            active=None,
            limit=MAX_LOOKED_AT + 1,
        )
    )
    if len(people) > MAX_LOOKED_AT:
        raise TooManyPeople(f"more than {MAX_LOOKED_AT} people fit: say more of who is looked for")
    return people


def _survivors(ids: Sequence[str]) -> tuple[str, ...]:
    wanted = []
    for person_id in ids:
        with suppress(ValueError):
            wanted.append(UUID(person_id))
    return tuple(sorted({str(person_id) for person_id in index_identifiers.survivors_of(wanted).values()}))


def _person_behind(authority: str, value: str, *, logical: bool) -> UUID | None:
    if logical:
        return index_identifiers.survivor(value.removeprefix("Patient/").split("/")[0])
    found = index_identifiers.resolve(authority, value)
    if found is not None:
        return found.person_id
    if authority == settings.HUB_ASSIGNING_AUTHORITY:
        return index_identifiers.survivor(value)
    return None


def _may_name(person: access.PermittedPerson, authority: str, value: str) -> bool:
    """Whether one of the permitted records carries this identifier, or did until it was replaced."""
    return any(
        (record.authority, record.value) == (authority, value) and (record.active or record.replaced_by is not None)
        for record in person.records
    ) or any(
        (item.authority, item.value) == (authority, value)
        for record in person.records
        if record.active
        for item in record.demographics.identifiers
    )


def disclose(
    event: recorder.Recording, caller: Caller, person: access.PermittedPerson, operation: Operation = Operation.QUERY
) -> None:
    """One event about the person: what was shown is the current records of participants, and nothing else."""
    verdict = person.verdict
    shown = replace(
        verdict,
        permitted=tuple((row, d) for row, d in verdict.permitted if row.record.active and not _anchor(row.record)),
        denied=tuple((row, d) for row, d in verdict.denied if not _anchor(row.record)),
    )
    access.record(
        event,
        caller,
        person.subject,
        shown,
        what="demographics",
        shown=lambda row: access.Shown(
            document_id=f"Patient/{person.person_id}#{row.record.source_record_id}", type_display="Demographics"
        ),
        operation=operation,
        patient_identifier=f"{system_of(settings.HUB_ASSIGNING_AUTHORITY)}|{person.person_id}",
    )


def _anchor(record: SourceRecordView) -> bool:
    """Whether the record only gives the person an identifier of the hub's own."""
    return record.participant_id == directory.HUB
