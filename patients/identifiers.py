"""Identifiers and the persons they lead to. Reads are one statement each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from hie.database import prepared
from patients.demographics import ResolvedIdentifier, authority_of
from patients.errors import UnknownPatient
from patients.models import IdentityEvent, Link, PatientIdentifier, Person, SourceRecord
from patients.normalise import storable

HUB = "hub"
"""The participant id of anchors: records that only give a person an identifier of the hub's own."""

MAX_REDIRECTS = 64

_RESOLVE = """
SELECT i.id, i.authority, i.value, l.person_id, r.id, r.participant_id, r.status = 'active'
  FROM patients_patientidentifier i
  JOIN patients_sourcerecord r ON r.id = i.source_record_id
  JOIN patients_link l ON l.source_record_id = r.id AND l.valid_to IS NULL AND l.kind <> 'rejected'
"""


def _resolved(row: Sequence[object]) -> ResolvedIdentifier:
    pk, authority, value, person_id, record_id, participant_id, active = row
    return ResolvedIdentifier(
        pk=pk,  # type: ignore[arg-type]  # columns of _RESOLVE, typed by the tables
        authority=authority,  # type: ignore[arg-type]
        value=value,  # type: ignore[arg-type]
        person_id=person_id,  # type: ignore[arg-type]
        source_record_id=record_id,  # type: ignore[arg-type]
        participant_id=participant_id,  # type: ignore[arg-type]
        active=active,  # type: ignore[arg-type]
    )


def resolve(authority_oid: str, value: str) -> ResolvedIdentifier | None:
    """The identifier in the domain of an authority (bare OID, ``urn:oid:`` or URI), or None.

    An identifier of a replaced or removed record still resolves, with `active` False, so that
    what hangs on it stays reachable. 1 query.
    """
    if not storable(authority_oid + value):
        return None
    with prepared() as cursor:
        cursor.execute(_RESOLVE + "WHERE i.authority = %s AND i.value = %s", [authority_of(authority_oid), value])
        row = cursor.fetchone()
    return _resolved(row) if row else None


def resolve_many(keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], ResolvedIdentifier]:
    """Several (authority, value) pairs at once; unknown ones are absent. 1 query."""
    wanted = [(authority_of(authority), value) for authority, value in keys if storable(authority + value)]
    if not wanted:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            _RESOLVE + "JOIN unnest(%s::text[], %s::text[]) AS w(a, v) ON w.a = i.authority AND w.v = i.value",
            [[a for a, _ in wanted], [v for _, v in wanted]],
        )
        found = [_resolved(row) for row in cursor.fetchall()]
    return {(item.authority, item.value): item for item in found}


def by_pk(pks: Iterable[int]) -> dict[int, ResolvedIdentifier]:
    """Identifiers by their row ids; unknown ones are absent. 1 query."""
    with prepared() as cursor:
        cursor.execute(_RESOLVE + "WHERE i.id = ANY(%s::bigint[])", [list(pks)])
        found = [_resolved(row) for row in cursor.fetchall()]
    return {item.pk: item for item in found}


def of_person(person_id: UUID | str) -> list[ResolvedIdentifier]:
    """Every identifier that leads to this person, inactive ones too, by authority and value. 1 query."""
    with connection.cursor() as cursor:
        cursor.execute(_RESOLVE + "WHERE l.person_id = %s ORDER BY i.authority, i.value, i.id", [_uuid(person_id)])
        return [_resolved(row) for row in cursor.fetchall()]


def identifier_pks(person_id: UUID | str) -> list[int]:
    """Row ids of every identifier that leads to this person, inactive ones and anchors too. 1 query."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT i.id FROM patients_patientidentifier i"
            " JOIN patients_link l ON l.source_record_id = i.source_record_id"
            " AND l.valid_to IS NULL AND l.kind <> 'rejected' WHERE l.person_id = %s ORDER BY i.id",
            [_uuid(person_id)],
        )
        return [row[0] for row in cursor.fetchall()]


def person_of_pk(pk: int) -> UUID:
    """The person an identifier leads to now.

    Raises:
        UnknownPatient: no identifier has this row id.
    """
    found = persons_of([pk])
    if pk not in found:
        raise UnknownPatient
    return found[pk]


def persons_of(pks: Iterable[int]) -> dict[int, UUID]:
    """The persons of several identifiers by row id; unknown ones are absent. 1 query."""
    with prepared() as cursor:
        cursor.execute(
            "SELECT i.id, l.person_id FROM patients_patientidentifier i JOIN patients_link l"
            " ON l.source_record_id = i.source_record_id AND l.valid_to IS NULL AND l.kind <> 'rejected'"
            " WHERE i.id = ANY(%s::bigint[])",
            [list(pks)],
        )
        return dict(cursor.fetchall())


def first_of(person_id: UUID | str, among: Iterable[int]) -> int | None:
    """Of these identifiers' row ids the first whose record was this person's at any time; None when none was. 1 query.

    Of a person merged away it is one that leaves again with him, if the merge is undone.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT i.id FROM patients_patientidentifier i JOIN patients_link l ON l.source_record_id = i.source_record_id"
            " AND l.kind <> 'rejected' WHERE l.person_id = %s AND i.id = ANY(%s) ORDER BY i.id LIMIT 1",
            [_uuid(person_id), list(among)],
        )
        row = cursor.fetchone()
    return int(row[0]) if row else None


_NAMED = """
WITH RECURSIVE domain(authority) AS (
  (SELECT authority FROM patients_patientidentifier ORDER BY authority LIMIT 1)
  UNION ALL
  SELECT (SELECT i.authority FROM patients_patientidentifier i WHERE i.authority > d.authority ORDER BY i.authority LIMIT 1)
    FROM domain d WHERE d.authority IS NOT NULL),
record(id) AS (
  SELECT i.source_record_id FROM domain d CROSS JOIN LATERAL (
    SELECT i.source_record_id FROM patients_patientidentifier i
     WHERE i.authority = d.authority AND i.value = %(value)s OFFSET 0) i
  UNION
  SELECT t.record_id FROM patients_searchterm t WHERE t.field = 'value' AND t.term = %(value)s)
SELECT DISTINCT l.person_id FROM record r CROSS JOIN LATERAL (
    SELECT l.person_id FROM patients_link l
     WHERE l.source_record_id = r.id AND l.valid_to IS NULL AND l.kind <> 'rejected' OFFSET 0) l
 ORDER BY l.person_id LIMIT %(limit)s
"""
# OFFSET keeps the planner, which takes the domains for many, from reading the whole table to join them.


def named(value: str, *, limit: int) -> list[UUID]:
    """Persons one of whose records has this identifier, or states it, in whatever domain; by id, at most `limit`.

    1 query, a probe of the index for each domain: nothing looks identifiers up by value alone often enough for an index.
    """
    if not storable(value):
        return []
    with connection.cursor() as cursor:
        cursor.execute(_NAMED, {"value": value, "limit": limit})
        return [row[0] for row in cursor.fetchall()]


def values_of(source_record_ids: Iterable[int]) -> dict[int, str]:
    """The identifier that each record came with first, as its issuer writes it. 1 query."""
    rows = PatientIdentifier.objects.filter(source_record__in=list(source_record_ids)).order_by("-pk")
    return dict(rows.values_list("source_record_id", "value"))


def survivor(person_id: UUID | str) -> UUID | None:
    """The person that this one has become by merges (itself when it was not merged); None when unknown. 1 query."""
    try:
        wanted = _uuid(person_id)
    except ValueError:
        return None
    return survivors_of([wanted]).get(wanted)


SURVIVORS = """
chain(asked, id, merged_into_id, depth) AS (
  SELECT id, id, merged_into_id, 0 FROM patients_person WHERE id = ANY(%(asked)s)
  UNION ALL SELECT c.asked, p.id, p.merged_into_id, c.depth + 1
    FROM patients_person p JOIN chain c ON p.id = c.merged_into_id WHERE c.depth < %(redirects)s),
survivors AS (SELECT asked, id FROM chain WHERE merged_into_id IS NULL)
"""


def survivors_of(person_ids: Iterable[UUID]) -> dict[UUID, UUID]:
    """As `survivor`, for several persons; unknown ones are absent. 1 query."""
    wanted = list(person_ids)
    if not wanted:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH RECURSIVE {SURVIVORS} SELECT asked, id FROM survivors",  # noqa: S608  # constants only
            {"asked": wanted, "redirects": MAX_REDIRECTS},
        )
        return dict(cursor.fetchall())


def anchor(person_id: UUID | str) -> ResolvedIdentifier:
    """An identifier in the hub's own authority that leads to this person: found, or made now.

    Anchors travel with merge and unmerge like any record.

    Raises:
        UnknownPatient: there is no such person, or it was merged away.
    """
    return _anchor(person_id, "", [])


def own_anchor(person_id: UUID | str) -> ResolvedIdentifier:
    """The anchor made for this very person: found, or made now. What is said of somebody by hand hangs on it.

    Of a person who has taken in others `anchor` may give one of theirs, which leaves with them.

    Raises:
        UnknownPatient: there is no such person, or it was merged away.
    """
    own = str(_uuid(person_id))
    return _anchor(person_id, "AND (i.value = %s OR i.value LIKE %s) ", [own, f"{own}.%"])


def _anchor(person_id: UUID | str, which: str, values: list[str]) -> ResolvedIdentifier:
    wanted = _uuid(person_id)
    with transaction.atomic():
        # Lock the person: two requests may ask for its first anchor at once, or a merge may run.
        person = Person.objects.select_for_update().filter(pk=wanted).first()
        if person is None or person.merged_into_id is not None:
            raise UnknownPatient
        with connection.cursor() as cursor:
            cursor.execute(
                f"{_RESOLVE}WHERE l.person_id = %s AND r.participant_id = %s AND r.status = 'active'"
                f" {which}ORDER BY i.id LIMIT 1",
                [wanted, HUB, *values],
            )
            row = cursor.fetchone()
        return _resolved(row) if row else _new_anchor(person)


def _new_anchor(person: Person) -> ResolvedIdentifier:
    record = SourceRecord.objects.create(participant_id=HUB)
    taken = PatientIdentifier.objects.filter(authority=settings.HUB_ASSIGNING_AUTHORITY, value=str(person.id)).exists()
    identifier = PatientIdentifier.objects.create(
        authority=settings.HUB_ASSIGNING_AUTHORITY,
        # An earlier anchor of this person may have moved away by an unlink: then any further one is numbered.
        value=f"{person.id}.{record.pk}" if taken else str(person.id),
        source_record=record,
    )
    Link.objects.create(source_record=record, person=person, kind=Link.Kind.MANUAL, reason="anchor of the hub")
    IdentityEvent.objects.create(
        kind=IdentityEvent.Kind.LINKED, person=person, source_record=record, actor=HUB, reason="anchor of the hub"
    )
    return ResolvedIdentifier(
        pk=identifier.pk,
        authority=identifier.authority,
        value=identifier.value,
        person_id=person.id,
        source_record_id=record.pk,
        participant_id=HUB,
        active=True,
    )


def person_uuid(value: UUID | str) -> UUID | None:
    """A person's id, None where the text is none."""
    try:
        return _uuid(value)
    except ValueError:
        return None


def _uuid(value: UUID | str) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)
