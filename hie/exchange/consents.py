"""Consents as resources: file, change, end, read and search, through the door and with a trace [ITI-108].

A participant files for its own patients (those it feeds a record of), a patient for himself, a proxy where the
grant says so; who may change what is filed stands in `consent/owners.py`. A consent is read as a document of the
participant under whose identifier it was filed, labelled with the sensitivities it names; one that may not be seen
is not there, and what may be seen but not changed is refused.

Source: spec/fhir.md 5; spec/consent.md 5.7, 9 to 12.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db import transaction

from consent import directives
from consent.directives import Beside, Filer, StoredConsent
from consent.errors import DirectiveChanged, DirectiveOfAnother, DirectiveRefused, UnknownDirective
from consent.filing import Checked
from consent.owners import Capacity
from documents import queries as registry
from hie.audit import recorder
from hie.audit.recorder import EventType
from hie.directory import queries as directory
from hie.exchange import access, copies, release, scans
from hie.exchange.access import PRIVACY_OFFICER, Held, Staff, Subject
from hie.exchange.consent_rights import (
    filer,
    is_changeable,
    may_file,
    only_labels,
    own_patient,
)
from hie.exchange.consent_sight import (
    items_of,
    judged,
    secrecy,
    versions_of,
    visible,
)
from hie.exchange.errors import BadRequest, NotFound
from hie.exchange.named_patients import PatientNamed, count_guesses, persons_named, reached
from hie.exchange.scans import Scan
from hie.standards.facts import Caller, Operation
from patients import identifiers

__all__ = ["Checked", "ShownConsent", "StoredConsent", "change", "check", "end", "file", "history", "read", "search"]

_MANY = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownConsent:
    """A consent that may be shown, and the person it is about now."""

    stored: StoredConsent
    person_id: str


# --- filing -----------------------------------------------------------------------------------------------------------


@release.point
def file(resource: dict[str, Any], patient: Sequence[PatientNamed], *, caller: Caller, raw: str = "") -> ShownConsent:
    """File a new consent; in force from the moment this returns. `patient`: every name it gives, all of one person.

    Raises:
        AccessRefused: the caller's role and purpose may not file.
        NotFound: no such patient for this caller.
        DirectiveRefused: every problem found in it.
    """
    with recorder.recording(EventType.CONSENT_FILED, caller, action="C", query=raw) as event:
        capacity = may_file(caller, Operation.REGISTER, resource)
        about, pk, only_labels = own_patient(patient, caller, capacity)
        event.about(UUID(about.person_id))
        scan = scans.taken(resource)
        wanted = _about(scans.without(resource), about.person_id)
        _check_source(scan, wanted, about, caller)
        beside = _beside(caller, about, wanted)
        with transaction.atomic():
            # Alone: what somebody else files or ends at the same time, this decides with, or waits behind.
            release.basis_of(event).hold_alone()
            stored = directives.file(
                _with_scan(scan, wanted, about, caller, pk),
                identifier_pk=pk,
                filer=filer(caller, capacity),
                subject=about.facts,
                beside=beside,
                only_labels=only_labels,
            )
            event.about(UUID(about.person_id), detail=_detail(stored))
            event.commit()
    return ShownConsent(stored=stored, person_id=about.person_id)


@release.point
def check(
    resource: dict[str, Any],
    patient: Sequence[PatientNamed],
    *,
    caller: Caller,
    replaces: UUID | None = None,
    raw: str = "",
) -> Checked:
    """What filing this consent would say: its warnings. Nothing is stored but the trace.

    `replaces`: the consent it would be a new version of, against which it is not held.

    Raises:
        As `file`.
    """
    with recorder.recording(EventType.CONSENT_ACCESS, caller, query=raw) as event:
        capacity = may_file(caller, Operation.REGISTER, resource)
        about, _, only_labels = own_patient(patient, caller, capacity)
        event.about(UUID(about.person_id))
        scan = scans.taken(resource)
        wanted = _about(scans.without(resource), about.person_id)
        _check_source(scan, wanted, about, caller, replaces)
        checked = directives.check(
            wanted, subject=about.facts, beside=_beside(caller, about, wanted, but=replaces), only_labels=only_labels
        )
        event.commit()
    return checked


@release.point
def change(
    consent_id: str,
    resource: dict[str, Any],
    patient: Sequence[PatientNamed],
    *,
    caller: Caller,
    if_version: int | None = None,
    reason: str = "",
    evidence: str = "",
    raw: str = "",
) -> ShownConsent:
    """Store a new version; one that is not active ends it. Nothing that it forbids leaves once this has returned.

    `reason` and `evidence` are kept with the version, and with the consent when it ends.

    Raises:
        AccessRefused: the caller's role and purpose may not file.
        NotFound: no such consent for this caller.
        DirectiveOfAnother: the caller may see it, and not change it.
        DirectiveRefused, DirectiveChanged: nothing was stored.
    """
    with recorder.recording(EventType.CONSENT_FILED, caller, action="U", query=raw) as event:
        capacity = may_file(caller, Operation.UPDATE, resource)
        stored = _stored(consent_id)
        about = access.subject(identifiers.person_of_pk(stored.identifier_pk))
        person_id = UUID(about.person_id)
        event.about(person_id, detail={"consent": str(stored.id)})
        if not is_changeable(caller, capacity, stored, about):
            if not visible(caller, about, [stored], event):
                raise NotFound("no such consent")
            raise DirectiveOfAnother
        if persons_named([[name] for name in patient]) != {person_id}:
            raise DirectiveRefused.at("Consent.patient", "is another patient")
        if if_version is not None and if_version != stored.version:
            raise DirectiveChanged(f"directive {stored.id} is at version {stored.version}", element="meta.versionId")
        scan = scans.taken(resource)
        wanted = _about(scans.without(resource), about.person_id)
        _check_source(scan, wanted, about, caller, stored.id)
        if directives.ends(stored.status, wanted):
            event.note(kind=EventType.CONSENT_REVOKED)
        beside = _beside(caller, about, wanted, but=stored.id)
        with transaction.atomic():
            release.basis_of(event).hold_alone()
            changed = directives.update(
                stored.id,
                _with_scan(scan, wanted, about, caller, stored.identifier_pk, stored),
                filer=filer(caller, capacity),
                reason=reason,
                evidence=evidence,
                # Whose it is was looked up at this version: a change in between may have made it another's.
                if_version=stored.version,
                subject=about.facts,
                beside=beside,
                only_labels=only_labels(about, capacity),
            )
            holders: dict[str, Any] = {}
            if directives.ends(stored.status, changed.resource):
                scans.ended(changed.resource)
                holders = copies.tell(changed, about)
            event.about(person_id, detail=_detail(changed) | holders)
            event.commit()
    return ShownConsent(stored=changed, person_id=about.person_id)


def end(consent_id: UUID, staff: Staff, *, reason: str, evidence: str) -> StoredConsent:
    """End a consent that nobody else may or will: the privacy officer, with reason and evidence, shown to the patient.

    Raises:
        NotFound: no such consent.
        BadRequest: reason or evidence is missing; `element` names it.
        AccessRefused: not a privacy officer; the attempt stands in the patient's log.
    """
    stored = _stored(str(consent_id))
    person_id = identifiers.person_of_pk(stored.identifier_pk)
    officer = replace(staff, roles=staff.roles & {PRIVACY_OFFICER})
    detail = {"consent": str(stored.id), "version": stored.version, "ended": True}
    if not officer.roles:
        # The refusal is written apart, so before a transaction is begun.
        access.administrative(officer, Held.CONSENTS, [person_id], reason=reason, act=True, detail=detail)
    for element, given in (("reason", reason), ("evidence", evidence)):
        if not given.strip():
            raise BadRequest(f"{element} is needed", element=element)
    with transaction.atomic():
        filer = Filer(actor=f"Staff/{staff.user_id}", capacity=Capacity.STAFF)
        revoked = directives.revoke(stored.id, filer=filer, reason=reason.strip(), evidence=evidence.strip())
        holders: dict[str, Any] = {}
        if revoked.version != stored.version:
            scans.ended(revoked.resource)
            holders = copies.tell(revoked, access.subject(person_id))
        access.administrative(officer, Held.CONSENTS, [person_id], reason=reason, act=True, detail=detail | holders)
        return revoked


# --- reading ----------------------------------------------------------------------------------------------------------


@release.point
def read(consent_id: str, *, caller: Caller, version: int | None = None, raw: str = "") -> ShownConsent:
    """One consent, now or at an old version.

    Raises:
        NotFound: absent, or not to be seen by this caller.
    """
    with recorder.recording(EventType.CONSENT_READ, caller, query=raw) as event:
        access.gate(caller, Operation.QUERY)
        held = [one for one in versions_of(consent_id) if version in (None, one.version)]
        about = _whose(held)
        seen = visible(caller, about, held[:1], event)
        if not seen:
            raise NotFound("no such consent")
        event.commit()
    return ShownConsent(stored=seen[0], person_id=about.person_id)


@release.point
def history(consent_id: str, *, caller: Caller, raw: str = "") -> list[ShownConsent]:
    """The versions of a consent that this caller may see, newest first; each is decided by itself.

    Raises:
        NotFound: absent, or none to be seen by this caller.
    """
    with recorder.recording(EventType.CONSENT_READ, caller, query=raw) as event:
        access.gate(caller, Operation.QUERY)
        versions = versions_of(consent_id)
        about = _whose(versions)
        seen = visible(caller, about, versions, event)
        if not seen:
            raise NotFound("no such consent")
        event.commit()
    return [ShownConsent(stored=stored, person_id=about.person_id) for stored in seen]


@release.point
def search(
    patients: Sequence[Sequence[PatientNamed]],
    ids: Sequence[str],
    keep: Callable[[StoredConsent], bool],
    *,
    caller: Caller,
    raw: str = "",
) -> list[ShownConsent]:
    """Consents of a patient, or by id, that may be shown; newest first."""
    with recorder.recording(EventType.CONSENT_ACCESS, caller, query=raw) as event:
        access.gate(caller, Operation.QUERY)
        if patients:
            event.note(detail=access.NAMES_THE_PATIENT)
        found: list[ShownConsent] = []
        for person_id, held in _candidates(patients, ids, caller).items():
            about = access.somebody(person_id)
            wanted = [item for item in held if keep(item)]
            for stored in visible(caller, about, wanted, event):
                found.append(ShownConsent(stored=stored, person_id=about.person_id))
        if patients and not found:
            count_guesses(patients, caller)
        event.commit()
    return found


def _candidates(
    patients: Sequence[Sequence[PatientNamed]], ids: Sequence[str], caller: Caller
) -> dict[UUID | None, list[StoredConsent]]:
    """The consents meant, by the person; under None what nobody has, so that nobody costs what somebody costs."""
    if patients:
        found: list[tuple[UUID | None, frozenset[int] | None]] = [*sorted(reached(patients, caller=caller).items())]
        return {
            person: directives.in_store(
                [pk for pk in identifiers.identifier_pks(person or UUID(int=0)) if reach is None or pk in reach]
            )
            for person, reach in found or [(None, None)]
        }
    stored = [one for consent_id in ids for one in _known_as(consent_id)]
    persons = identifiers.persons_of([one.identifier_pk for one in stored])
    by_person: dict[UUID | None, list[StoredConsent]] = {}
    for one in stored:
        by_person.setdefault(persons[one.identifier_pk], []).append(one)
    return by_person or {None: []}


def _known_as(consent_id: str) -> list[StoredConsent]:
    try:
        return [_stored(consent_id)]
    except NotFound:
        return []


def _whose(held: Sequence[StoredConsent]) -> Subject:
    """The person that consents are about; of none nobody, at the same cost."""
    pk = held[0].identifier_pk if held else 0
    persons = identifiers.persons_of([pk])
    return access.somebody(persons[pk] if held else None)


def _check_source(
    scan: Scan | None, wanted: Mapping[str, Any], about: Subject, caller: Caller, replaces: UUID | None = None
) -> None:
    """What the consent names as its source may be named; what comes with a scan of its own is written anew anyway."""
    earlier = [one.resource for one in directives.history(replaces)] if replaces is not None else []
    named = wanted if scan is None else {key: value for key, value in wanted.items() if key != "sourceAttachment"}
    scans.check_source(named, about, caller, earlier=earlier)


def _with_scan(
    scan: Scan | None,
    wanted: dict[str, Any],
    about: Subject,
    caller: Caller,
    identifier_pk: int,
    held: StoredConsent | None = None,
) -> dict[str, Any]:
    """The consent with its scan kept as a document, as secret as the consent itself and under the same custodian."""
    letter, labels = secrecy(wanted, access.known_labels(), access.label_tables)
    if scan is None:
        scans.raise_with(wanted, letter=letter, labels=labels)
        return wanted
    return scans.keep(
        scan,
        wanted,
        about,
        caller,
        custodian=_custodian(identifier_pk, caller),
        letter=letter,
        labels=labels,
        held=held.resource if held is not None else None,
    )


def _custodian(identifier_pk: int, caller: Caller) -> str:
    """Who answers for a consent, where the filer may speak for that one; else the filer's own organization."""
    owner = identifiers.by_pk({identifier_pk})[identifier_pk].participant_id
    mine = owner in directory.participants() and directory.within(owner, caller.participant_id)
    return owner if mine else caller.organization_id


def _stored(consent_id: str, version: int | None = None) -> StoredConsent:
    try:
        return directives.read(UUID(consent_id), version)
    except (UnknownDirective, ValueError) as error:
        raise NotFound("no such consent") from error


def _beside(caller: Caller, about: Subject, wanted: Mapping[str, Any], *, but: UUID | None = None) -> Beside:
    """What the consent may be held against for this caller: a warning must not tell of what is hidden from it."""
    others = [item for item in directives.in_store(about.identifier_pks) if item.id != but]
    on_file: tuple[tuple[str | None, str | None], ...] = ()
    if _limits_time(wanted.get("provision")):
        rows = registry.entries(about.identifier_pks, limit=_MANY)
        # Of a longer record the rest is not looked at: nothing is said then.
        if len(rows) < _MANY:
            seen = access.permitted(caller, about, rows, Operation.QUERY)
            facts = [seen.facts[id(row)] for row in seen.rows()]
            on_file = tuple((one.service_start or one.created, one.service_stop) for one in facts)
    known = access.permitted(caller, about, access.demographics_rows(about.records), Operation.QUERY)
    holders = sorted({row.record.participant_id for row in known.rows()})
    return Beside(others=tuple(judged(caller, about, others)[0]), on_file=on_file, holders=tuple(holders))


def _limits_time(node: Any) -> bool:
    if not isinstance(node, Mapping):
        return False
    return "dataPeriod" in node or any(_limits_time(child) for child in items_of(node.get("provision")))


def _about(resource: dict[str, Any], person_id: str) -> dict[str, Any]:
    return {**resource, "patient": {"reference": f"Patient/{person_id}"}}


def _detail(stored: StoredConsent) -> dict[str, Any]:
    return {"consent": str(stored.id), "version": stored.version, "status": stored.status}
