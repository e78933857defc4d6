"""Consents as resources: file, change, read and search, through the door and with a trace [ITI-108].

A participant files for its own patients (those it feeds a record of), a patient for himself. A consent is
read as a document of the participant under whose identifier it was filed, labelled with the
sensitivities it names; one that may not be seen is not there.

Source: spec/fhir.md 5; spec/consent.md 12.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from consent import directives
from consent.directives import StoredConsent
from consent.errors import UnknownDirective
from hie.audit import recorder
from hie.audit.recorder import EventType
from hie.directory import queries as directory
from hie.exchange import access
from hie.exchange.access import Shown, Subject, Verdict
from hie.exchange.errors import NotFound
from hie.exchange.find import PatientNamed, count_guesses, persons_named
from hie.standards.facts import Caller, Decision, DocumentFacts, Operation
from hie.trust import limits
from patients import identifiers
from patients import queries as index

__all__ = ["ShownConsent", "StoredConsent", "change", "file", "read", "search"]

CONSENT_CLASS = "http://hl7.org/fhir/resource-types|Consent"
_ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_SELF_PURPOSES = frozenset({"PATRQT", "PWATRNY", "FAMRQT", "SUPNWK"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownConsent:
    """A consent that may be shown, and the person it is about now."""

    stored: StoredConsent
    person_id: str


@dataclass(frozen=True, slots=True)
class _ConsentRow:
    """A consent as policy sees it, for one of the participants that may answer for it."""

    stored: StoredConsent
    custodian: str

    def facts(self, person_id: str) -> DocumentFacts:
        """Class Consent; N, or R with the sensitivities the consent names."""
        labels = frozenset(_labels(self.stored.resource))
        return DocumentFacts(
            id=str(self.stored.id),
            patient=person_id,
            custodian=self.custodian,
            classes=frozenset({CONSENT_CLASS}),
            confidentiality="R" if labels else "N",
            labels=labels,
        )


def _labels(node: Any) -> Iterator[str]:
    """Sensitivity codes anywhere in a consent."""
    if isinstance(node, Mapping):
        for coding in node.get("securityLabel", ()) if isinstance(node.get("securityLabel"), list) else ():
            if isinstance(coding, Mapping) and coding.get("system") == _ACT_CODE:
                yield str(coding.get("code", ""))
        for value in node.values():
            yield from _labels(value)
    elif isinstance(node, list):
        for item in node:
            yield from _labels(item)


def file(resource: dict[str, Any], patient: PatientNamed, *, caller: Caller, raw: str = "") -> ShownConsent:
    """File a new consent; in force from the moment this returns.

    Raises:
        NotFound: no such patient for this caller.
        DirectiveRefused: every problem found in it.
    """
    with recorder.recording(EventType.CONSENT_FILED, caller, action="C", query=raw) as event:
        person_id, pk = _own_patient(patient, caller)
        event.about(person_id)
        about = access.subject(person_id)
        with transaction.atomic():
            stored = directives.file(
                _about(resource, about.person_id), identifier_pk=pk, actor=_actor(caller), subject=about.facts
            )
            event.about(person_id, detail=_detail(stored))
            event.commit()
    return ShownConsent(stored=stored, person_id=about.person_id)


def change(
    consent_id: str,
    resource: dict[str, Any],
    patient: PatientNamed,
    *,
    caller: Caller,
    if_version: int | None = None,
    raw: str = "",
) -> ShownConsent:
    """Store a new version; status inactive revokes. Nothing that it forbids leaves once this has returned.

    Raises:
        NotFound: no such consent for this caller.
        DirectiveRefused, DirectiveChanged: nothing was stored.
    """
    with recorder.recording(EventType.CONSENT_FILED, caller, action="U", query=raw) as event:
        # The patient first: with a stranger's, a consent that exists is refused like one that does not.
        person_id, _ = _own_patient(patient, caller)
        stored = _stored(consent_id)
        if identifiers.person_of_pk(stored.identifier_pk) != person_id:
            raise NotFound("no such consent")
        about = access.subject(person_id)
        event.about(person_id)
        wanted = _about(resource, about.person_id)
        only_ended = wanted.get("status") == "inactive" and stored.status == "active" and _same(wanted, stored.resource)
        with transaction.atomic():
            if only_ended and (if_version is None or if_version == stored.version):
                event.note(kind=EventType.CONSENT_REVOKED)
                changed = directives.revoke(stored.id, actor=_actor(caller), reason="set inactive over FHIR")
            else:
                changed = directives.update(
                    stored.id, wanted, actor=_actor(caller), if_version=if_version, subject=about.facts
                )
            event.about(person_id, detail=_detail(changed))
            event.commit()
    return ShownConsent(stored=changed, person_id=about.person_id)


def read(consent_id: str, *, caller: Caller, version: int | None = None, raw: str = "") -> ShownConsent:
    """One consent, now or at an old version.

    Raises:
        NotFound: absent, or not to be seen by this caller.
    """
    with recorder.recording(EventType.CONSENT_READ, caller, query=raw) as event:
        access.gate(caller, Operation.QUERY)
        stored = _stored(consent_id, version)
        about = access.subject(identifiers.person_of_pk(stored.identifier_pk))
        seen = _visible(caller, about, [stored], event)
        if not seen:
            raise NotFound("no such consent")
        event.commit()
    return ShownConsent(stored=stored, person_id=about.person_id)


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
        found: list[ShownConsent] = []
        for person_id, held in _candidates(patients, ids).items():
            about = access.subject(person_id)
            wanted = [item for item in held if keep(item)]
            for stored in _visible(caller, about, wanted, event):
                found.append(ShownConsent(stored=stored, person_id=about.person_id))
        if patients and not found:
            count_guesses(patients, caller)
        event.commit()
    return found


def _candidates(patients: Sequence[Sequence[PatientNamed]], ids: Sequence[str]) -> dict[UUID, list[StoredConsent]]:
    if patients:
        return {
            person: directives.in_store(identifiers.identifier_pks(person))
            for person in sorted(persons_named(patients))
        }
    by_person: dict[UUID, list[StoredConsent]] = {}
    for consent_id in ids:
        try:
            stored = _stored(consent_id)
        except NotFound:
            continue
        by_person.setdefault(identifiers.person_of_pk(stored.identifier_pk), []).append(stored)
    return by_person


def _stored(consent_id: str, version: int | None = None) -> StoredConsent:
    try:
        return directives.read(UUID(consent_id), version)
    except (UnknownDirective, ValueError) as error:
        raise NotFound("no such consent") from error


def _visible(
    caller: Caller, about: Subject, held: Sequence[StoredConsent], event: recorder.Recording
) -> list[StoredConsent]:
    """Those that may be shown, recorded."""
    owners = identifiers.by_pk({item.identifier_pk for item in held}) if held else {}
    sources = sorted({record.participant_id for record in index.source_records(about.person_id)})
    seen: list[StoredConsent] = []
    permitted: list[tuple[_ConsentRow, Decision]] = []
    denied: list[tuple[_ConsentRow, Decision]] = []
    facts: dict[int, DocumentFacts] = {}
    epoch = 0
    for item in held:
        owner = owners[item.identifier_pk].participant_id if item.identifier_pk in owners else ""
        known = directory.participant(owner) is not None
        rows = [_ConsentRow(item, custodian) for custodian in ([owner] if known else sources)]
        verdict = access.permitted(caller, about, rows, Operation.QUERY)
        facts |= verdict.facts
        epoch = verdict.policy_epoch
        if verdict.permitted:
            permitted.append(verdict.permitted[0])
            seen.append(item)
        elif verdict.denied:
            denied.append(verdict.denied[0])
    whole: Verdict[_ConsentRow] = Verdict(
        permitted=tuple(permitted), denied=tuple(denied), facts=facts, policy_epoch=epoch
    )
    access.record(event, caller, about, whole, what="metadata", shown=_shown, operation=Operation.QUERY)
    # The rows are only compared by identity until here.
    return seen


def _shown(row: _ConsentRow) -> Shown:
    return Shown(document_id=str(row.stored.id), title="Consent", type_display="Consent")


def _own_patient(name: PatientNamed, caller: Caller) -> tuple[UUID, int]:
    """The person and the identifier to hang the consent on, when the caller may choose for this person.

    Raises:
        AccessRefused: the participant may not act at all. NotFound: no such patient of this caller.
    """
    access.may_submit(caller, caller.organization_id)
    found = _own(persons_named([[name]]), caller)
    if found is None:
        # Counted whether the patient is unknown or another's: the limit must not tell which.
        limits.guessing(caller, "patient")
        raise NotFound("no such patient")
    return found


def _own(named: Iterable[UUID], caller: Caller) -> tuple[UUID, int] | None:
    person_id = next(iter(named), None)
    if person_id is None:
        return None
    if caller.role == "patient" or caller.user_id.startswith("Patient/"):
        facts = index.subject_facts(person_id)
        own = facts is not None and caller.user_id.removeprefix("Patient/") in facts.ids
        if own and caller.purpose in _SELF_PURPOSES:
            return person_id, identifiers.anchor(person_id).pk
        return None
    for identifier in identifiers.of_person(person_id):
        if identifier.active and directory.within(identifier.participant_id, caller.participant_id):
            return person_id, identifier.pk
    return None


def _about(resource: dict[str, Any], person_id: str) -> dict[str, Any]:
    return {**resource, "patient": {"reference": f"Patient/{person_id}"}}


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    ignored = {"id", "meta", "status", "text"}
    return {k: v for k, v in one.items() if k not in ignored} == {k: v for k, v in other.items() if k not in ignored}


def _actor(caller: Caller) -> str:
    return f"{caller.organization_id}|{caller.user_id}"


def _detail(stored: StoredConsent) -> dict[str, Any]:
    return {"consent": str(stored.id), "version": stored.version, "status": stored.status}
