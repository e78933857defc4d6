"""Directives in store: file, change, revoke, and read for deciding.

Versions are never overwritten; each change bumps the consent epoch in its own
transaction, so nothing older is served after it commits.

Source: spec/consent.md sections 5.7 and 12.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from consent import epochs, filing, policies
from consent.drafts import ConsentDraft
from consent.effects import Span
from consent.engine import Directive, PatientPolicy, Policy, compile_directive, compile_patient, time
from consent.engine.codes import ORG_TYPE_SYSTEM, ROLE_SYSTEM
from consent.engine.directive import MAX_DEPTH, Problem
from consent.errors import DirectiveChanged, DirectiveRefused, UnknownDirective
from consent.models import Consent, ConsentVersion
from consent.owners import Capacity
from hie.database import prepared
from hie.directory.models import ParticipantType
from hie.standards import fhir, oids
from hie.standards.facts import SubjectFacts

_ENDED = ("rejected", "inactive", "entered-in-error")
_OUT_OF_FORCE = ("draft", "proposed", *_ENDED)
_CACHE_SIZE = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredConsent:
    """A directive as stored; `warnings` only right after filing.

    `capacity` and `organization` (a participant's id) say who stands behind this version.
    """

    id: UUID
    identifier_pk: int
    version: int
    status: str
    resource: dict[str, Any]
    recorded_at: datetime
    capacity: str = Capacity.IMPORT
    organization: str = ""
    unintelligible: bool = False
    revoked_at: datetime | None = None
    revoked_by: str = ""
    revoked_reason: str = ""
    evidence: str = ""
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filer:
    """Who files, changes or ends a directive, and as what; `actor` is kept in the version."""

    actor: str
    capacity: Capacity
    organization: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What a directive is held against for warnings: only what its filer may know of (spec/consent.md 1.4).

    `others`: directives of the patient; `on_file`: start and end of the services of the documents on file; `holders`:
    the participants that hold records of the patient.
    """

    others: tuple[StoredConsent, ...] = ()
    on_file: tuple[Span, ...] = ()
    holders: tuple[str, ...] = ()


def file(
    resource: dict[str, Any],
    *,
    identifier_pk: int,
    filer: Filer,
    subject: SubjectFacts | None = None,
    beside: Beside | None = None,
    only_labels: frozenset[str] | None = None,
) -> StoredConsent:
    """File a patient's FHIR Consent as version 1; own transaction or the caller's.

    `subject`: whose it must be (its reference is held against the person's ids, dates are read in its zone). The
    hub sets `id` and `meta.versionId`; warnings come back with the stored directive. `only_labels`: as `filing.check`.

    Raises:
        DirectiveRefused: every problem found, by element; nothing stored.
    """
    checked = check(resource, subject=subject, beside=beside, only_labels=only_labels)
    with transaction.atomic():
        row = Consent(identifier_id=identifier_pk)
        _save(row, resource, checked.directive, version=1, filer=filer, action="file")
    return _stored(row, checked.warnings)


def check(
    resource: dict[str, Any],
    *,
    subject: SubjectFacts | None = None,
    beside: Beside | None = None,
    only_labels: frozenset[str] | None = None,
) -> filing.Checked:
    """What filing would say of a Consent; nothing is stored.

    Raises:
        DirectiveRefused: every problem found, by element.
    """
    beside = beside or Beside()
    policy = policies.current()
    law = policy.jurisdiction_of(subject.jurisdiction) if subject is not None else None
    holders = [policy.participants.get(one) for one in beside.holders]
    laws = {holder.jurisdiction.code: holder.jurisdiction for holder in holders if holder and holder.jurisdiction}
    others = [_compiled(one.resource, one.id) for one in beside.others if one.status not in _OUT_OF_FORCE]
    checked = filing.check(
        spelt(resource),
        tables=policy.tables,
        patient_ids=subject.ids if subject is not None else None,
        zone=law.zone if law is not None else "UTC",
        known=filing.Known(
            others=tuple(others),
            on_file=beside.on_file,
            laws=tuple(laws[code] for code in sorted(laws)),
            members=_members(policy),
        ),
        only_labels=only_labels,
        now=timezone.now(),
    )
    if checked.problems:
        raise DirectiveRefused(checked.problems)
    return checked


def _members(policy: Policy) -> frozenset[str]:
    """Every name by which a provision can mean an organization, a role, or a type of organization."""
    roles = (f"{ROLE_SYSTEM}|{role}" for role in policy.tables.roles)
    types = (f"{ORG_TYPE_SYSTEM}|{type_}" for type_ in ParticipantType.values)
    named = (one.references | one.identifiers for one in policy.participants.values())
    return frozenset((*roles, *types)).union(*named)


def import_unchecked(resource: dict[str, Any], *, identifier_pk: int, actor: str) -> StoredConsent:
    """Take over a directive from another system as it is: unintelligible ones deny everything while in force."""
    directive = compile_directive(spelt(resource), directive_id="import")
    with transaction.atomic():
        row = Consent(identifier_id=identifier_pk)
        filer = Filer(actor=actor, capacity=Capacity.IMPORT)
        _save(row, resource, directive, version=1, filer=filer, action="import")
    return _stored(row, directive.problems)


def update(
    consent_id: UUID,
    resource: dict[str, Any],
    *,
    filer: Filer,
    reason: str = "",
    evidence: str = "",
    if_version: int | None = None,
    subject: SubjectFacts | None = None,
    beside: Beside | None = None,
    only_labels: frozenset[str] | None = None,
) -> StoredConsent:
    """Store a new version of a directive; the old one stays readable.

    A version that takes it out of force ends it: time, actor, reason and evidence are kept, whatever else changes
    with it. To end one as it stands it need not be one that could be filed.

    Raises:
        UnknownDirective: no such directive.
        DirectiveChanged: `if_version` is not the current version.
        DirectiveRefused: every problem found, by element.
    """
    with transaction.atomic():
        row = _locked(consent_id)
        if if_version is not None and if_version != row.version:
            raise DirectiveChanged(f"directive {consent_id} is at version {row.version}", element="meta.versionId")
        if ends(row.status, resource) and _same(resource, row.resource):
            checked = filing.Checked(_compiled(resource, row.id), (), ())
        else:
            checked = check(resource, subject=subject, beside=beside, only_labels=only_labels)
        if ends(row.status, resource):
            action = "revoke"
            _end(row, filer.actor, reason, evidence)
        else:
            action = "update"
            if resource.get("status") not in _OUT_OF_FORCE:
                row.revoked_at, row.revoked_by, row.revoked_reason, row.evidence = None, "", "", ""
        _save(
            row,
            resource,
            checked.directive,
            version=row.version + 1,
            filer=filer,
            action=action,
            reason=reason,
            evidence=evidence,
        )
    return _stored(row, checked.warnings)


def revoke(consent_id: UUID, *, filer: Filer, reason: str, evidence: str = "") -> StoredConsent:
    """Set a directive inactive, with time, actor, reason and evidence; repeating it changes nothing.

    Raises:
        UnknownDirective: no such directive.
    """
    with transaction.atomic():
        row = _locked(consent_id)
        if row.status in _ENDED:
            return _stored(row)
        resource = {**row.resource, "status": "inactive"}
        _end(row, filer.actor, reason, evidence)
        directive = _compiled(resource, row.id)
        _save(
            row,
            resource,
            directive,
            version=row.version + 1,
            filer=filer,
            action="revoke",
            reason=reason,
            evidence=evidence,
        )
    return _stored(row)


def ends(status: str, resource: Mapping[str, Any]) -> bool:
    """Whether storing this over a directive of this status takes it out of force."""
    return status not in _OUT_OF_FORCE and resource.get("status") in _OUT_OF_FORCE


def read(consent_id: UUID, version: int | None = None) -> StoredConsent:
    """A directive, now or at an old version.

    Raises:
        UnknownDirective: no such directive or version.
    """
    row = Consent.objects.filter(pk=consent_id).first()
    if row is None:
        raise UnknownDirective(f"no directive {consent_id}")
    if version is None or version == row.version:
        return _stored(row)
    old = ConsentVersion.objects.filter(consent_id=consent_id, version=version).first()
    if old is None:
        raise UnknownDirective(f"no version {version} of directive {consent_id}")
    return _stored_version(row, old)


def history(consent_id: UUID) -> list[StoredConsent]:
    """Every version of a directive, newest first; two statements.

    Raises:
        UnknownDirective: no such directive.
    """
    row = Consent.objects.filter(pk=consent_id).first()
    # Asked for whether or not there is one: what is hidden must not cost more than what is not there.
    versions = list(ConsentVersion.objects.filter(consent_id=consent_id).order_by("-version"))
    if row is None:
        raise UnknownDirective(f"no directive {consent_id}")
    versions = [old for old in versions if old.version <= row.version]
    return [_stored(row) if old.version == row.version else _stored_version(row, old) for old in versions]


def in_store(identifier_pks: Iterable[int]) -> list[StoredConsent]:
    """Every directive of these identifiers at its current version, newest first; one statement."""
    # For nobody too it is asked: what is hidden must not cost more than what is not there.
    rows = Consent.objects.filter(identifier_id__in=list(identifier_pks) or [0]).order_by("-updated_at", "pk")
    return [_stored(row) for row in rows]


def consent_epoch(identifier_pks: Iterable[int]) -> int:
    """A number that rises with every change of these identifiers' directives and grants; one statement."""
    return sum(value for _, value in epochs.values(identifier_pks))


def for_subject(subject: SubjectFacts, identifier_pks: Sequence[int]) -> PatientPolicy:
    """The person's directives, compiled: one statement when cached, two otherwise.

    The store vouches for whose a directive is (by identifier), so one that was filed under
    a person since merged or parted counts where its identifier now belongs.
    """
    return for_subjects([(subject, identifier_pks)])[subject.id].policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Directed:
    """A person's directives, compiled, and the consent epoch at which they were read."""

    policy: PatientPolicy
    epoch: int


def for_subjects(subjects: Iterable[tuple[SubjectFacts, Sequence[int]]]) -> dict[str, Directed]:
    """As `for_subject`, for several persons with their identifiers, by person id; at most two statements.

    One where all are cached, or none has ever filed anything.
    """
    asked = [(subject, tuple(sorted(set(pks)))) for subject, pks in subjects]
    # The epochs first: a change between the two reads is then cached under a key that no reader asks for again.
    known = epochs.of(pk for _, pks in asked for pk in pks)
    keys: list[_Key] = [(pks, tuple((pk, known[pk][0]) for pk in pks if known[pk][0])) for _, pks in asked]
    held = {key: _cache.get(key) for key in keys}
    wanted = sorted({pk for key, directives in held.items() if directives is None for pk in key[0] if known[pk][1]})
    rows: dict[int, list[Directive]] = {}
    if wanted:
        with prepared() as cursor:
            cursor.execute(_IN_FORCE, [wanted, list(_OUT_OF_FORCE)])
            for identifier_pk, directive_id, version, resource in cursor.fetchall():
                compiled = _compiled(json.loads(resource, cls=fhir.Decoder), directive_id, str(version))
                rows.setdefault(identifier_pk, []).append(compiled)
    found: dict[str, Directed] = {}
    for (subject, pks), key in zip(asked, keys, strict=True):
        directives = held[key]
        if directives is None:
            directives = tuple(directive for pk in pks for directive in rows.get(pk, ()))
            _cache.put(key, directives)
        found[subject.id] = Directed(
            policy=compile_patient(subject, directives), epoch=sum(value for _, value in key[1])
        )
    return found


def problems(resource: Mapping[str, Any]) -> tuple[Problem, ...]:
    """What cannot be understood in a directive as stored, by the rules of today; none where all can."""
    return compile_directive(spelt(dict(resource)), directive_id="read").problems


def drafted(policy: PatientPolicy, drafts: Iterable[ConsentDraft]) -> PatientPolicy:
    """A person's directives as they might be: those that a draft replaces give way to it.

    Raises:
        DirectiveRefused: one could not be filed; by element.
    """
    drafts = list(drafts)
    gone = {str(one.replaces) for one in drafts if one.replaces is not None}
    kept = [one for one in policy.directives if one.id not in gone]
    for n, one in enumerate(drafts):
        if one.resource is not None and one.resource.get("status") not in _OUT_OF_FORCE:
            subject = policy.subject
            resource = {**one.resource, "patient": {"reference": f"Patient/{subject.id}"}}
            check(resource, subject=subject)
            kept.append(compile_directive(spelt(resource), directive_id=f"draft-{n + 1}", version="draft"))
    return compile_patient(policy.subject, kept)


_IN_FORCE = """
SELECT identifier_id, id, version, resource FROM consent_consent
 WHERE identifier_id = ANY(%s::bigint[]) AND status <> ALL(%s::text[]) ORDER BY id
"""
_Key = tuple[tuple[int, ...], tuple[tuple[int, int], ...]]


class _Cache:
    """Compiled directives by identifiers and their epochs, least recently used out first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: OrderedDict[_Key, tuple[Directive, ...]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: _Key) -> tuple[Directive, ...] | None:
        with self._lock:
            found = self._items.get(key)
            if found is not None:
                self._items.move_to_end(key)
            return found

    def put(self, key: _Key, value: tuple[Directive, ...]) -> None:
        with self._lock:
            self._items[key] = value
            if len(self._items) > self._size:
                self._items.popitem(last=False)

    def clear(self) -> None:
        """Keep nothing."""
        with self._lock:
            self._items.clear()


_cache = _Cache(_CACHE_SIZE)


def forget_compiled() -> None:
    """Read and compile every person's directives anew when next asked for: to measure what that costs."""
    _cache.clear()


def spelt(resource: object) -> object:
    """The resource as its provisions are compared: each `class` and `code` in every spelling of its coding scheme, and
    references with the address of this hub as the relative ones that they are.

    A document's codes are stored by one face as a URI, by another as an OID: a denial must meet both. What is
    stored stays as it was filed; a shape that cannot be read is left for the engine to refuse.
    """
    if not isinstance(resource, dict) or "provision" not in resource:
        return resource
    return {**resource, "provision": _spelt_provision(resource["provision"], 0)}


def _spelt_provision(provision: object, depth: int) -> object:
    if not isinstance(provision, dict) or depth > MAX_DEPTH:
        return provision
    made = dict(provision)
    if isinstance(made.get("class"), list):
        made["class"] = _spelt_codings(made["class"])
    if isinstance(made.get("code"), list):
        made["code"] = [
            {**concept, "coding": _spelt_codings(concept["coding"])}
            if isinstance(concept, dict) and isinstance(concept.get("coding"), list)
            else concept
            for concept in made["code"]
        ]
    for member in ("actor", "data"):
        if isinstance(made.get(member), list):
            made[member] = [_referring(item) for item in made[member]]
    if isinstance(made.get("provision"), list):
        made["provision"] = [_spelt_provision(child, depth + 1) for child in made["provision"]]
    return made


def _referring(item: object) -> object:
    """An actor or a data reference; what it names by this hub's own address is the same by none."""
    own = f"{settings.BASE_URL}/fhir/"
    reference = item.get("reference") if isinstance(item, dict) else None
    text = reference.get("reference") if isinstance(reference, dict) else None
    if (
        not isinstance(item, dict)
        or not isinstance(reference, dict)
        or not isinstance(text, str)
        or not text.startswith(own)
    ):
        return item
    return {**item, "reference": {**reference, "reference": text.removeprefix(own)}}


def _spelt_codings(codings: list[object]) -> list[object]:
    added = [
        {"system": system, "code": coding.get("code")}
        for coding in codings
        if isinstance(coding, dict) and isinstance(coding.get("system"), str) and coding["system"]
        for system in oids.spellings(coding["system"])
        if system != coding["system"]
    ]
    return [*codings, *added]


def _compiled(resource: object, directive_id: UUID, version: str = "") -> Directive:
    return compile_directive(spelt(resource), directive_id=str(directive_id), version=version)


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two resources say the same but for status, subject (held elsewhere) and what is noted about them."""
    ignored = {"id", "meta", "status", "text", "patient", "extension"}
    return {k: v for k, v in one.items() if k not in ignored} == {k: v for k, v in other.items() if k not in ignored}


def _end(row: Consent, actor: str, reason: str, evidence: str) -> None:
    row.revoked_at, row.revoked_by = timezone.now(), actor
    row.revoked_reason, row.evidence = reason, evidence


def _locked(consent_id: UUID) -> Consent:
    row = Consent.objects.select_for_update().filter(pk=consent_id).first()
    if row is None:
        raise UnknownDirective(f"no directive {consent_id}")
    return row


def _save(
    row: Consent,
    resource: dict[str, Any],
    directive: Directive,
    *,
    version: int,
    filer: Filer,
    action: str,
    reason: str = "",
    evidence: str = "",
) -> None:
    at = timezone.now()
    given = resource.get("meta")
    meta = dict(given) if isinstance(given, dict) else {}
    meta |= {"versionId": str(version), "lastUpdated": at.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
    row.resource = {**resource, "id": str(row.id), "meta": meta}
    status = resource.get("status")
    row.status = status if isinstance(status, str) else ""
    row.version, row.updated_at = version, at
    row.capacity, row.filed_by = filer.capacity, filer.organization
    row.unintelligible = bool(directive.problems)
    start, end = filing.in_force_bounds(directive)
    row.in_force_from = time.interval(start, "Pacific/Kiritimati")[0] if start else None
    row.in_force_until = time.interval(end, "Etc/GMT+12")[1] if end else None
    row.save()
    ConsentVersion.objects.create(
        consent=row,
        version=version,
        status=row.status,
        resource=row.resource,
        action=action,
        actor=filer.actor,
        capacity=filer.capacity,
        reason=reason,
        evidence=evidence,
        recorded_at=at,
    )
    epochs.bump(row.identifier_id)


def _stored(row: Consent, warnings: tuple[Problem, ...] = ()) -> StoredConsent:
    return StoredConsent(
        id=row.id,
        identifier_pk=row.identifier_id,
        version=row.version,
        status=row.status,
        resource=row.resource,
        recorded_at=row.updated_at,
        capacity=row.capacity,
        organization=row.filed_by,
        unintelligible=row.unintelligible,
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
        revoked_reason=row.revoked_reason,
        evidence=row.evidence,
        warnings=warnings,
    )


def _stored_version(row: Consent, old: ConsentVersion) -> StoredConsent:
    return StoredConsent(
        id=row.id,
        identifier_pk=row.identifier_id,
        version=old.version,
        status=old.status,
        resource=old.resource,
        recorded_at=old.recorded_at,
        capacity=old.capacity,
    )
