"""Directives in store: file, change, revoke, and read for deciding.

Versions are never overwritten; each change bumps the consent epoch in its own
transaction, so nothing older is served after it commits.

Source: spec/consent.md sections 5.7 and 12.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from consent import epochs, filing, tables
from consent.engine import Directive, PatientPolicy, compile_directive, compile_patient, time
from consent.engine.directive import Problem
from consent.errors import DirectiveChanged, DirectiveRefused, UnknownDirective
from consent.models import Consent, ConsentVersion
from hie.standards.facts import SubjectFacts

_OUT_OF_FORCE = ("draft", "proposed", "rejected", "inactive", "entered-in-error")
_CACHE_SIZE = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredConsent:
    """A directive as stored; `warnings` only right after filing."""

    id: UUID
    identifier_pk: int
    version: int
    status: str
    resource: dict[str, Any]
    recorded_at: datetime
    unintelligible: bool = False
    revoked_at: datetime | None = None
    revoked_by: str = ""
    revoked_reason: str = ""
    warnings: tuple[Problem, ...] = ()


def file(
    resource: dict[str, Any], *, identifier_pk: int, actor: str, subject: SubjectFacts | None = None, zone: str = "UTC"
) -> StoredConsent:
    """File a patient's FHIR Consent as version 1; own transaction or the caller's.

    `subject`: whose it must be (its reference is held against the person's ids). The
    hub sets `id` and `meta.versionId`; warnings come back with the stored directive.

    Raises:
        DirectiveRefused: every problem found, by element; nothing stored.
    """
    checked = _checked(resource, identifier_pk, subject, zone)
    with transaction.atomic():
        row = Consent(identifier_id=identifier_pk)
        _save(row, resource, checked.directive, version=1, actor=actor, action="file", reason="")
    return _stored(row, checked.warnings)


def import_unchecked(resource: dict[str, Any], *, identifier_pk: int, actor: str) -> StoredConsent:
    """Take over a directive from another system as it is: unintelligible ones deny everything while in force."""
    directive = compile_directive(resource, directive_id="import")
    with transaction.atomic():
        row = Consent(identifier_id=identifier_pk)
        _save(row, resource, directive, version=1, actor=actor, action="import", reason="")
    return _stored(row, directive.problems)


def update(
    consent_id: UUID,
    resource: dict[str, Any],
    *,
    actor: str,
    reason: str = "",
    if_version: int | None = None,
    subject: SubjectFacts | None = None,
    zone: str = "UTC",
) -> StoredConsent:
    """Store a new version of a directive; the old one stays readable.

    Raises:
        UnknownDirective: no such directive.
        DirectiveChanged: `if_version` is not the current version.
        DirectiveRefused: every problem found, by element.
    """
    with transaction.atomic():
        row = _locked(consent_id)
        if if_version is not None and if_version != row.version:
            raise DirectiveChanged(f"directive {consent_id} is at version {row.version}", element="meta.versionId")
        checked = _checked(resource, row.identifier_id, subject, zone)
        _save(row, resource, checked.directive, version=row.version + 1, actor=actor, action="update", reason=reason)
    return _stored(row, checked.warnings)


def revoke(consent_id: UUID, *, actor: str, reason: str, evidence: str = "") -> StoredConsent:
    """Set a directive inactive, with time, actor, reason and evidence; repeating it changes nothing.

    Raises:
        UnknownDirective: no such directive.
    """
    with transaction.atomic():
        row = _locked(consent_id)
        if row.status == "inactive":
            return _stored(row)
        row.revoked_at, row.revoked_by = timezone.now(), actor
        row.revoked_reason, row.evidence = reason, evidence
        resource = {**row.resource, "status": "inactive"}
        directive = compile_directive(resource, directive_id=str(row.id))
        _save(row, resource, directive, version=row.version + 1, actor=actor, action="revoke", reason=reason)
    return _stored(row)


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
    return StoredConsent(
        id=row.id,
        identifier_pk=row.identifier_id,
        version=old.version,
        status=old.status,
        resource=old.resource,
        recorded_at=old.recorded_at,
    )


def in_store(identifier_pks: Iterable[int]) -> list[StoredConsent]:
    """Every directive of these identifiers at its current version, newest first; one statement."""
    rows = Consent.objects.filter(identifier_id__in=list(identifier_pks)).order_by("-updated_at", "pk")
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
    """As `for_subject`, for several persons with their identifiers, by person id; at most two statements."""
    asked = [(subject, tuple(sorted(set(pks)))) for subject, pks in subjects]
    # The epochs first: a change between the two reads is then cached under a key that no reader asks for again.
    epoch_of = dict(epochs.values(pk for _, pks in asked for pk in pks))
    keys: list[_Key] = [(pks, tuple((pk, epoch_of[pk]) for pk in pks if pk in epoch_of)) for _, pks in asked]
    held = {key: _cache.get(key) for key in keys}
    wanted = {pk for key, directives in held.items() if directives is None for pk in key[0]}
    rows: dict[int, list[Directive]] = {}
    if wanted:
        for row in Consent.objects.filter(identifier_id__in=wanted).exclude(status__in=_OUT_OF_FORCE):
            compiled = compile_directive(row.resource, directive_id=str(row.id), version=str(row.version))
            rows.setdefault(row.identifier_id, []).append(compiled)
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


_cache = _Cache(_CACHE_SIZE)


def _checked(resource: dict[str, Any], identifier_pk: int, subject: SubjectFacts | None, zone: str) -> filing.Checked:
    active = Consent.objects.filter(identifier_id=identifier_pk).exclude(status__in=_OUT_OF_FORCE)
    others = [compile_directive(row.resource, directive_id=str(row.id)) for row in active]
    checked = filing.check(
        resource,
        tables=tables.codes(),
        patient_ids=subject.ids if subject is not None else None,
        zone=zone,
        others=others,
    )
    if checked.problems:
        raise DirectiveRefused(checked.problems)
    return checked


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
    actor: str,
    action: str,
    reason: str,
) -> None:
    at = timezone.now()
    given = resource.get("meta")
    meta = dict(given) if isinstance(given, dict) else {}
    meta |= {"versionId": str(version), "lastUpdated": at.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
    row.resource = {**resource, "id": str(row.id), "meta": meta}
    status = resource.get("status")
    row.status = status if isinstance(status, str) else ""
    row.version, row.updated_at = version, at
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
        actor=actor,
        reason=reason,
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
        unintelligible=row.unintelligible,
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
        revoked_reason=row.revoked_reason,
        warnings=warnings,
    )
