"""Proxy grants: who may act for a patient (spec/consent.md 10). The engine decides what a grant reaches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from consent import epochs, owners
from consent.engine import RANK, time
from consent.errors import ProxyGrantRefused
from consent.models import HelperCode
from consent.models import ProxyGrant as Row
from hie.standards.facts import ProxyGrant, SubjectFacts
from hie.trust import codes


def grants_for(
    user_id: str, subjects: Iterable[tuple[SubjectFacts, Sequence[int]]]
) -> dict[str, tuple[ProxyGrant, ...]]:
    """Every grant made out to this user for each of these persons, by person id; one statement.

    Active ones before others, the newest first: which of them is valid now, and how far it reaches, the engine says.
    Of one who has died an executor's alone (spec/consent.md 10).
    """
    held = list(subjects)
    persons = {pk: subject.id for subject, pks in held for pk in pks}
    # For nobody too it is asked: what is hidden must not cost more than what is not there.
    rows = list(
        Row.objects.filter(person=user_id, identifier_id__in=list(persons) or [0]).order_by("-created_at", "pk")
    )
    dead = {subject.id for subject, _ in held if subject.deceased}
    rows = [row for row in rows if persons[row.identifier_id] not in dead or outlives(row)]
    rows.sort(key=lambda row: row.status != Row.Status.ACTIVE)
    found: dict[str, list[ProxyGrant]] = {}
    for row in rows:
        person = persons[row.identifier_id]
        found.setdefault(person, []).append(_facts(row, person))
    return {person: tuple(grants) for person, grants in found.items()}


def grants_of(identifier_pks: Sequence[int]) -> list[Row]:
    """Every grant for a person, newest first; one statement."""
    return list(Row.objects.filter(identifier_id__in=list(identifier_pks)).order_by("-created_at", "pk"))


def held_for(subject: SubjectFacts, identifier_pks: Sequence[int]) -> dict[str, tuple[ProxyGrant, ...]]:
    """The grants for a person by who holds them, helpers in order, active ones before others; one statement.

    Of one who has died an executor's alone, as `grants_for`.
    """
    found: dict[str, list[ProxyGrant]] = {}
    rows = [row for row in grants_of(identifier_pks) if not subject.deceased or outlives(row)]
    for row in sorted(rows, key=lambda row: (row.person, row.status != Row.Status.ACTIVE)):
        found.setdefault(row.person, []).append(_facts(row, subject.id))
    return {person: tuple(grants) for person, grants in found.items()}


def active_of(user_id: str) -> list[Row]:
    """The active grants that a user holds, for whomever, in order of their identifiers; one statement."""
    return list(Row.objects.filter(person=user_id, status=Row.Status.ACTIVE).order_by("identifier_id", "pk"))


def grant(
    *,
    identifier_pk: int,
    person: str,
    kind: str,
    max_confidentiality: str | None = None,
    start: str | None = None,
    end: str | None = None,
    may_consent: bool = False,
    evidence: str = "",
    verified_by: str = "",
    executor: bool = False,
) -> Row:
    """Store a grant; it counts from its start in the patient's time zone. An executor's is for one who has died.

    Raises:
        ProxyGrantRefused: unknown kind or letter, or a date that cannot be read; `element` names it.
    """
    if kind not in Row.Kind.values:
        raise ProxyGrantRefused(f"{kind!r} is not a kind of grant", element="kind")
    if max_confidentiality is not None and max_confidentiality not in RANK:
        raise ProxyGrantRefused("not a confidentiality letter", element="max_confidentiality")
    for element, date in (("start", start), ("end", end)):
        if date is not None and not time.readable(date):
            raise ProxyGrantRefused("not a date that can be read", element=element)
    if start and end and time.bounds(start, end, "UTC")[0] >= time.bounds(start, end, "UTC")[1]:
        raise ProxyGrantRefused("ends before it begins", element="end")
    with transaction.atomic():
        row = Row.objects.create(
            identifier_id=identifier_pk,
            person=person,
            kind=kind,
            max_confidentiality=max_confidentiality,
            start=start,
            end=end,
            may_consent=may_consent,
            evidence=evidence,
            verified_by=verified_by,
            executor=executor,
        )
        epochs.bump(identifier_pk)
    return row


CODE_LASTS = timedelta(days=7)


def make_code(person: str, *, now: datetime) -> str:
    """A code by which a patient can name this helper, once within a week; an older one of his that was not used is gone.

    It stands nowhere in the clear, and cannot be shown again. In groups of four, as it is told.
    """
    code = codes.new_code()
    with transaction.atomic():
        HelperCode.objects.filter(person=person, grant__isnull=True).delete()
        HelperCode.objects.create(digest=_digest(code), person=person, made_at=now, ends_at=now + CODE_LASTS)
    return code


def helper_of_code(code: str, *, now: datetime) -> str | None:
    """Whose code it is; None: nobody's, used, or too old. One statement."""
    return HelperCode.objects.filter(_open_code(code, now)).values_list("person", flat=True).first()


def use_code(code: str, grant: Row, *, now: datetime) -> bool:
    """Use a code up for a grant to its helper, in the transaction that gives it; of several at once exactly one may."""
    return HelperCode.objects.filter(_open_code(code, now), person=grant.person).update(grant=grant) == 1


def _open_code(code: str, now: datetime) -> Q:
    return Q(digest=_digest(code), grant__isnull=True, made_at__lte=now, ends_at__gt=now)


def _digest(code: str) -> bytes:
    return codes.digest("helper-code", code)


def set_status(grant_id: UUID, status: str, *, evidence: str = "") -> Row:
    """Suspend, end or take up again a grant; one that has ended stays so. Evidence stands beside that of the acts before.

    Raises:
        ProxyGrantRefused: no such grant or status, or it has ended.
    """
    if status not in Row.Status.values:
        raise ProxyGrantRefused(f"{status!r} is not a status", element="status")
    with transaction.atomic():
        row = Row.objects.select_for_update().filter(pk=grant_id).first()
        if row is None:
            raise ProxyGrantRefused(f"no grant {grant_id}", element="id")
        if row.status == Row.Status.ENDED and status != Row.Status.ENDED:
            raise ProxyGrantRefused("it has ended: a new one is given instead", element="status")
        row.status = status
        row.evidence = "\n".join(filter(None, (row.evidence, evidence)))
        row.save(update_fields=["status", "evidence"])
        epochs.bump(row.identifier_id)
    return row


def outlives(row: Row) -> bool:
    """Whether a grant counts after the patient's death: an executor's, kind attorney, with evidence."""
    return owners.outlives(row)


def of_minors(*, untold: bool = True) -> list[Row]:
    """Active grants that end by themselves when the patient comes of age; `untold`: where nobody has been told."""
    rows = Row.objects.filter(status=Row.Status.ACTIVE, kind__in=sorted(owners.OF_MINORS)).order_by("created_at", "pk")
    return list(rows.filter(end_told_at__isnull=True) if untold else rows)


def end_told(grant_id: UUID, *, now: datetime) -> bool:
    """Note that patient and helper have been told when the grant ends; whether it is new."""
    return bool(Row.objects.filter(pk=grant_id, end_told_at__isnull=True).update(end_told_at=now))


def _facts(row: Row, patient: str) -> ProxyGrant:
    return ProxyGrant(
        id=str(row.id),
        person=row.person,
        patient=patient,
        kind=row.kind,
        status=row.status,
        max_confidentiality=row.max_confidentiality,
        start=row.start,
        end=row.end,
        may_consent=row.may_consent,
    )
