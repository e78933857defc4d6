"""Whose choices a caller may file, change or end: as a participant for its patients, as the patient, or as a helper.

Who may change what is filed stands in `consent/owners.py`.

Source: spec/consent.md 10, 12; spec/fhir.md 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from consent import owners, policies, proxies
from consent.directives import Filer, StoredConsent
from consent.owners import Capacity
from hie.directory import queries as directory
from hie.exchange import access
from hie.exchange.access import Subject
from hie.exchange.consent_sight import items_of, judged
from hie.exchange.errors import AccessRefused, NotFound
from hie.exchange.named_patients import PatientNamed, persons_named
from hie.standards.facts import Caller, Operation
from hie.trust import limits
from patients import identifiers

_DESK = frozenset({"TREAT", "HPAYMT", "HOPERAT"})
"""Families of the purposes in which an organization does its own work: in these it takes down patients' choices.

The specification names roles by the purposes they may use; it leaves open who files. Emergency access (BTG) opens a
record, it changes nothing of it; research files consents to research alone.
"""
_PERSONS = ("Patient/", "RelatedPerson/")
_PORTAL = {"patient": Capacity.PATIENT, "proxy": Capacity.PROXY}
"""Roles of those who choose for themselves or for one they help."""


def may_file(caller: Caller, operation: Operation, resource: Mapping[str, Any]) -> Capacity:
    """As what the caller files, when it may file anything at all; equal for existing and invented consents.

    Raises:
        AccessRefused: the gate's rules, and a purpose in which nobody files.
    """
    access.gate(caller, operation)
    capacity = _PORTAL.get(caller.role or "", Capacity.PARTICIPANT)
    if capacity is not Capacity.PARTICIPANT:
        return capacity
    if caller.user_id.startswith(_PERSONS):
        raise AccessRefused("G5", "role-not-permitted")
    families = policies.current().tables.families.get(caller.purpose or "", frozenset())
    if caller.purpose == "BTG" or not families & (_DESK | ({"HRESCH"} if _is_research(resource) else frozenset())):
        raise AccessRefused("G4", "purpose-not-permitted")
    return capacity


def _is_research(resource: Mapping[str, Any]) -> bool:
    """Whether a consent is to research and to nothing else."""
    scope = resource.get("scope")
    codings = items_of(scope.get("coding")) if isinstance(scope, Mapping) else ()
    return bool(codings) and all(isinstance(one, Mapping) and one.get("code") == "research" for one in codings)


def own_patient(
    names: Sequence[PatientNamed], caller: Caller, capacity: Capacity
) -> tuple[Subject, int, frozenset[str] | None]:
    """The person, the identifier to hang the consent on, and what a minor is limited to, when it is the caller's.

    Raises:
        NotFound: no such patient of this caller.
    """
    found = persons_named([[name] for name in names])
    for person_id in sorted(found)[:1]:
        about = access.subject(person_id)
        pk = _own(about, caller, capacity)
        if pk is not None:
            return about, pk, only_labels(about, capacity)
    # Counted whether the patient is unknown or another's: the limit must not tell which.
    limits.guessing(caller, "patient")
    raise NotFound("no such patient")


def _own(about: Subject, caller: Caller, capacity: Capacity) -> int | None:
    if capacity is not Capacity.PARTICIPANT:
        stands = _is_self(caller, about) if capacity is Capacity.PATIENT else _is_consenting_proxy(caller, about)
        return identifiers.own_anchor(about.person_id).pk if stands else None
    for identifier in identifiers.of_person(about.person_id):
        if identifier.active and directory.within(identifier.participant_id, caller.participant_id):
            return identifier.pk
    return None


def is_changeable(caller: Caller, capacity: Capacity, stored: StoredConsent, about: Subject) -> bool:
    """Whether the consent is the caller's to change (`consent/owners.py`)."""
    if capacity is Capacity.PATIENT:
        # A minor's own are about confidential care; what a parent or an organization chose for him stays theirs.
        own = stored.capacity == Capacity.PATIENT or only_labels(about, capacity) is None
        return own and _is_self(caller, about)
    if capacity is Capacity.PROXY:
        # A helper changes only what he may know of: a teenager's own choice about confidential care he may not.
        return _is_consenting_proxy(caller, about) and bool(judged(caller, about, [stored])[0])
    families = policies.current().tables.families.get(caller.purpose or "", frozenset())
    if not families & _DESK and not _is_research(stored.resource):
        return False
    return stored.capacity == Capacity.PARTICIPANT and stored.organization in directory.same_organization(
        caller.organization_id
    )


def chooses_for(caller: Caller, about: Subject) -> bool:
    """Whether choices about this person's record are the caller's to make: as the patient, or as a helper who may."""
    return (caller.role == "patient" and _is_self(caller, about)) or (
        caller.role == "proxy" and _is_consenting_proxy(caller, about)
    )


def _is_self(caller: Caller, about: Subject) -> bool:
    kind, _, number = caller.user_id.partition("/")
    law = policies.current().jurisdiction_of(about.facts.jurisdiction)
    return (
        kind == "Patient" and number in about.facts.ids and owners.patient_may_file(about.facts, law, now=access.now())
    )


def _is_consenting_proxy(caller: Caller, about: Subject) -> bool:
    patient = (caller.on_behalf_of or "").removeprefix("Patient/")
    if patient and patient not in about.facts.ids:
        return False
    law = policies.current().jurisdiction_of(about.facts.jurisdiction)
    grants = proxies.grants_of(about.identifier_pks)
    return owners.consenting_grant(grants, caller.user_id, about.facts, law, now=access.now()) is not None


def only_labels(about: Subject, capacity: Capacity) -> frozenset[str] | None:
    """The labels that a minor's own choices are limited to; None: no limit."""
    if capacity is not Capacity.PATIENT:
        return None
    law = policies.current().jurisdiction_of(about.facts.jurisdiction)
    return owners.only_confidential_care(about.facts, law, now=access.now())


def may_change(caller: Caller, stored: StoredConsent, about: Subject) -> bool:
    """Whether a consent is this patient's or helper's to change or end; of others, no."""
    capacity = _PORTAL.get(caller.role or "")
    return capacity is not None and is_changeable(caller, capacity, stored, about)


def refusal_honoured(about: Subject) -> frozenset[bool]:
    """Whether the laws of those who hold records of the person let her refuse emergency access: some, all or none do."""
    members = policies.current().participants
    laws = [members[one.participant_id].jurisdiction for one in about.records if one.participant_id in members]
    return frozenset(law is not None and law.honours_refusal for law in laws)


def limited_to(caller: Caller, about: Subject) -> frozenset[str] | None:
    """The labels that this caller's choices about the person are limited to (None: no limit)."""
    return only_labels(about, _PORTAL.get(caller.role or "", Capacity.PARTICIPANT))


def filer(caller: Caller, capacity: Capacity) -> Filer:
    """Who files, as it is kept with the consent."""
    organization = caller.organization_id if capacity is Capacity.PARTICIPANT else ""
    return Filer(actor=f"{caller.organization_id}|{caller.user_id}", capacity=capacity, organization=organization)
