"""The index's set-based SQL: candidates, blocking keys, search terms, golden records. For `patients` only."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson
from django.db import connection, transaction
from django.utils import timezone

from hie.database import prepared
from hie.directory import queries as directory
from hie.standards.demographics import Demographics, from_json
from hie.standards.values import quick
from patients import blocking
from patients.demographics import ByHand, RecordFeed, SourceRecordView
from patients.errors import UnusableDemographics
from patients.golden import golden_json, survive
from patients.identifiers import MAX_REDIRECTS, SURVIVORS
from patients.matching import Model, Scorer, default_model
from patients.models import IdentityEvent, MatchModel
from patients.normalise import Features, birth_digits, phone_digits, search_words

CURRENT = "l.valid_to IS NULL AND l.kind <> 'rejected'"
HAND = "l.kind = 'manual'"
"""Whether a change by hand put a record where it is."""


def _block(spare: int = 0) -> str:
    """SQL that finds a key's block (w.key, w.finer) at the finest level it needs, as an array `members`.

    As in bulk: whole where it is no larger than `blocking.BLOCK_LIMIT` (and `spare`), else the part that shares the
    next refining field with the record that asks.
    """
    few = blocking.BLOCK_LIMIT + spare
    part = "SELECT b.record_id FROM patients_blockingkey b WHERE b.key = w.key"
    # OFFSET 0 keeps each level apart: put into one another they would be worked out twice as often a level.
    sql = f"CROSS JOIN LATERAL (SELECT ARRAY({part} LIMIT {few + 1}) AS members OFFSET 0) d0"
    for depth, mask in enumerate(blocking.MASKS[1:], 1):
        limit = few + 1 if depth < len(blocking.MASKS) - 1 else blocking.WIDEST + spare
        share = f"b.finer BETWEEN w.finer & {mask} AND w.finer | {(1 << 63) - 1 - mask}"
        sql += (
            f" CROSS JOIN LATERAL (SELECT CASE WHEN cardinality(d{depth - 1}.members) <= {few} THEN d{depth - 1}.members"
            f" ELSE ARRAY({part} AND {share} LIMIT {limit}) END AS members OFFSET 0) d{depth}"
        )
    return f"{sql} CROSS JOIN LATERAL unnest(d{len(blocking.MASKS) - 1}.members) AS h(record_id)"


# The records in use of the people found, with what each is matched by.
_MEMBERS = f"""  FROM people CROSS JOIN LATERAL (
    SELECT l.source_record_id, l.person_id, {HAND} AS by_hand FROM patients_link l
     WHERE l.person_id = people.person_id AND {CURRENT} OFFSET 0) l
  CROSS JOIN LATERAL (
    SELECT r.id, r.current_version_id FROM patients_sourcerecord r
     WHERE r.id = l.source_record_id AND r.status = 'active' OFFSET 0) r
  CROSS JOIN LATERAL (
    SELECT v.normalised FROM patients_sourcerecordversion v WHERE v.id = r.current_version_id OFFSET 0) v
"""  # noqa: S608  # constants only

# OFFSET 0 as above: each step is looked up for what the one before found. A planner that knows no table yet, in the first
# minutes of a hub, or of a moment ago, in the middle of an import, would read whole tables for each record.
_CANDIDATES = f"""
WITH hits AS (
  SELECT DISTINCT h.record_id FROM unnest(%(keys)s::bigint[], %(finer)s::bigint[]) AS w(key, finer) {_block()}),
people AS MATERIALIZED (
  SELECT DISTINCT l.person_id FROM hits CROSS JOIN LATERAL (
    SELECT l.person_id FROM patients_link l WHERE l.source_record_id = hits.record_id AND {CURRENT} OFFSET 0) l
   WHERE hits.record_id <> %(record)s)
SELECT r.id, l.person_id, v.normalised, l.by_hand
{_MEMBERS} WHERE r.id <> %(record)s
 ORDER BY r.id
"""  # noqa: S608  # constants only

# The same with more of each block, and the keys by which a record is in it: for an answer that is cut to what may be seen.
_ASKED = f"""
WITH hits AS MATERIALIZED (
  SELECT h.record_id, array_agg(w.key) AS keys
    FROM unnest(%(keys)s::bigint[], %(finer)s::bigint[]) AS w(key, finer) {_block(blocking.SPARE)}
   GROUP BY h.record_id),
people AS MATERIALIZED (
  SELECT DISTINCT l.person_id FROM hits CROSS JOIN LATERAL (
    SELECT l.person_id FROM patients_link l WHERE l.source_record_id = hits.record_id AND {CURRENT} OFFSET 0) l)
SELECT r.id, l.person_id, v.normalised, l.by_hand, hits.keys
{_MEMBERS}  LEFT JOIN hits ON hits.record_id = r.id
"""  # noqa: S608  # constants only

_VIEW = f"""
SELECT l.person_id, r.id, i.id, r.participant_id, i.authority, i.value, r.status = 'active', v.version, v.raw,
       r.created_at, v.received_at, r.updated_at, j.authority, j.value, {directory.EPOCH},
       CASE WHEN r.participant_id = 'hub' THEN (
         SELECT json_agg(json_build_array(h.id, h.field, h.value, h.set_at, h.rests_on) ORDER BY h.id)
           FROM patients_valuebyhand h WHERE h.source_record_id = r.id AND h.holds) END
  FROM patients_link l
  JOIN patients_sourcerecord r ON r.id = l.source_record_id
  JOIN LATERAL (SELECT * FROM patients_patientidentifier p WHERE p.source_record_id = r.id ORDER BY p.id LIMIT 1) i ON true
  LEFT JOIN patients_sourcerecordversion v ON v.id = r.current_version_id
  LEFT JOIN LATERAL (SELECT * FROM patients_patientidentifier p WHERE p.source_record_id = r.replaced_by_id
                     ORDER BY p.id LIMIT 1) j ON true
 WHERE {CURRENT} AND """  # noqa: S608  # constants only
_VIEWS = _VIEW + "l.person_id = ANY(%s) ORDER BY i.authority, i.value, i.id"
_KNOWN = f"""
WITH RECURSIVE {SURVIVORS},
merged(root, id) AS (
  SELECT merged_into_id, id FROM patients_person WHERE merged_into_id IN (SELECT id FROM survivors)
  UNION SELECT m.root, p.id FROM patients_person p JOIN merged m ON p.merged_into_id = m.id)
SELECT s.asked, s.id, ARRAY(SELECT m.id FROM merged m WHERE m.root = s.id),
       ARRAY(SELECT i.id FROM patients_patientidentifier i JOIN patients_link l ON l.source_record_id = i.source_record_id
              WHERE {CURRENT} AND l.person_id = s.id ORDER BY i.id),
       v.*
  FROM survivors s LEFT JOIN LATERAL ({_VIEW} l.person_id = s.id ORDER BY i.authority, i.value, i.id) v ON true
"""  # noqa: S608  # constants only
_NAMED = "r.id = (SELECT source_record_id FROM patients_patientidentifier WHERE authority = %s AND value = %s)"


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRecord:
    """A record near the one asked about, and its person; `by_hand`: a change by hand put it there."""

    record_id: int
    person_id: UUID
    features: Features
    by_hand: bool = False


def digest(raw: Mapping[str, Any]) -> bytes:
    """What two messages must share to be one and the same: 16 bytes over the canonical JSON.

    Raises:
        UnusableDemographics: as `canonical`.
    """
    return digest_of(canonical(raw))


def digest_of(packed: bytes) -> bytes:
    """`digest` of what is canonical JSON already."""
    return hashlib.blake2b(packed, digest_size=16).digest()


def canonical(raw: Mapping[str, Any]) -> bytes:
    """The one JSON of these data: keys in order, no blanks, UTF-8, numbers as Python's json writes them.

    Raises:
        UnusableDemographics: a text holds NUL or half a character, or a number is none: PostgreSQL cannot keep it.
    """
    try:
        # orjson is several times quicker, and writes the same but for numbers with a fraction and long ones.
        packed = orjson.dumps(raw, option=orjson.OPT_SORT_KEYS) if _is_simple(raw) else b""
    except TypeError:
        packed = b""
    if not packed:
        try:
            packed = json.dumps(
                raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
            ).encode()
        except (ValueError, RecursionError) as error:
            raise UnusableDemographics("the demographics hold what is no text or no number") from error
    if b"\\u0000" in packed:
        raise UnusableDemographics("the demographics hold NUL")
    return packed


def _is_simple(data: Any) -> bool:
    """Whether JSON data hold no number with a fraction."""
    held = [data]
    while held:
        item = held.pop()
        kind = type(item)
        if kind is dict:
            held += [value for value in item.values() if type(value) is not str]
        elif kind is list:
            held += [value for value in item if type(value) is not str]
        elif item is not None and kind is not bool and kind is not int and kind is not str:
            return False
    return True


_BULK = int.from_bytes(b"patients", "big", signed=True)


def lock_index() -> None:
    """Hold the index until the transaction ends, for a bulk import or a change of identity: feeds wait, reads do not.

    To be taken before any other lock of the index, and never after `lock`: two who hold a part and want the whole
    would wait for one another.
    """
    with prepared() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_BULK])


def lock(hashes: Iterable[int]) -> None:
    """Hold these until the transaction ends; always taken in ascending order, so that no two feeds wait crosswise.

    Who holds the index is waited for. 1 statement.
    """
    with prepared() as cursor:
        # A row of the join is there only when its part of the index is held, and only then its own lock is asked for.
        cursor.execute(
            "SELECT pg_advisory_xact_lock(o.k) FROM (SELECT pg_advisory_xact_lock_shared(%s)) AS s"
            " LEFT JOIN (SELECT DISTINCT unnest(%s::bigint[]) AS k ORDER BY k) AS o ON true",
            [_BULK, list(hashes)],
        )


_ACTIVE = "SELECT version FROM patients_matchmodel WHERE status = 'active'"
_NEAR = "SELECT m.*, c.* FROM (SELECT ({active}) AS version{ids}) m LEFT JOIN ({near}) c ON true ORDER BY c.id"
_NEAR_ASKED = _NEAR.format(active=_ACTIVE, near=_ASKED, ids="")
_NEAR_KNOWN = _NEAR.format(active=_ACTIVE, near=_CANDIDATES, ids="")
_NEAR_NEW = _NEAR.format(
    active=_ACTIVE,
    near=_CANDIDATES,
    ids="".join(
        f", nextval('patients_{name}_id_seq')" for name in ("sourcerecord", "sourcerecordversion", "patientidentifier")
    ),
)


def near(record: Features, *, record_id: int = 0) -> tuple[list[CandidateRecord], Scorer]:
    """Every active record of the persons who share a blocking key with this one, and the scorer of the active model.

    1 query.
    """
    found, (version,) = _near(_NEAR_KNOWN, record, record_id)
    return found, _scorer(version or "")


def near_asked(record: Features) -> tuple[list[CandidateRecord], Scorer, blocking.Blocks]:
    """As `near`, for an answer of which some may not be seen: of large blocks more, and which blocks they are. 1 query."""
    wanted = blocking.hashes(record)
    finer = blocking.refinement(record)
    with prepared() as cursor:
        cursor.execute(_NEAR_ASKED, {"keys": wanted, "finer": [finer] * len(wanted)})
        rows = cursor.fetchall()
    found = [(_candidate(row[1:5]), row[5]) for row in rows if row[1] is not None]
    shared = {item.record_id: (keys, blocking.refinement(item.features)) for item, keys in found if keys is not None}
    return [item for item, _ in found], _scorer(rows[0][0] or ""), blocking.Blocks(finer=finer, shared=shared)


def near_new(record: Features) -> tuple[list[CandidateRecord], Scorer, NewIds]:
    """As `near`, for a record to come: with the row ids it will have. 1 query."""
    found, (version, record_id, version_id, identifier_id) = _near(_NEAR_NEW, record, 0)
    return found, _scorer(version or ""), NewIds(record=record_id, version=version_id, identifier=identifier_id)


def _near(statement: str, record: Features, record_id: int) -> tuple[list[CandidateRecord], Sequence[Any]]:
    """The candidates, and the columns that stand before theirs."""
    wanted = blocking.hashes(record)
    finer = [blocking.refinement(record)] * len(wanted)
    with prepared() as cursor:
        cursor.execute(statement, {"keys": wanted, "finer": finer, "record": record_id})
        rows = cursor.fetchall()
    before = len(rows[0]) - 4
    return [_candidate(row[before:]) for row in rows if row[before] is not None], rows[0][:before]


def _candidate(row: Sequence[Any]) -> CandidateRecord:
    record_id, person_id, normalised, by_hand = row
    return CandidateRecord(
        record_id=record_id, person_id=person_id, features=Features.read(normalised), by_hand=by_hand
    )


def by_hand(records: Iterable[CandidateRecord]) -> set[UUID]:
    """Of the persons of these records, those whom hands put together: for `deciding.person_scores`."""
    return {item.person_id for item in records if item.by_hand}


_ALL = f"""
SELECT r.id, l.person_id, v.normalised, {HAND}
  FROM patients_link l JOIN patients_sourcerecord r ON r.id = l.source_record_id AND r.status = 'active'
  JOIN patients_sourcerecordversion v ON v.id = r.current_version_id
 WHERE {CURRENT}
 ORDER BY r.id
"""  # noqa: S608  # constants only


_MORE_THAN = f"SELECT 1 FROM patients_link l WHERE {CURRENT} OFFSET %s LIMIT 1"  # noqa: S608  # constants only


def near_many(records: Sequence[Features]) -> Iterator[CandidateRecord]:
    """As `near`, for many records that are not stored yet; each found record once, in order.

    Many records come near almost everybody: where the index holds no more records than these, all of it is read, in
    1 query, and no more of it held than is given; else 1 query a thousand records. More records may be put behind
    these meanwhile.
    """
    count = len(records)
    with connection.cursor() as cursor:
        cursor.execute(_MORE_THAN, [count])
        few = cursor.fetchone() is None
    if few:
        with transaction.atomic(), connection.chunked_cursor() as reading:
            reading.execute(_ALL)
            for row in reading:
                yield _candidate(row)
        return
    found: dict[int, CandidateRecord] = {}
    for start in range(0, count, 1000):
        wanted = {
            (key, finer)
            for record in records[start : min(start + 1000, count)]
            for finer in [blocking.refinement(record)]
            for key in blocking.hashes(record)
        }
        ordered = sorted(wanted)
        with connection.cursor() as cursor:
            cursor.execute(
                _CANDIDATES,
                {"keys": [key for key, _ in ordered], "finer": [finer for _, finer in ordered], "record": 0},
            )
            for row in cursor.fetchall():
                if row[0] not in found:
                    found[row[0]] = _candidate(row)
    for record_id in sorted(found):
        yield found[record_id]


_FED = f"""
SELECT r.id, l.person_id, v.normalised, {HAND}
  FROM patients_sourcerecordversion v
  JOIN patients_sourcerecord r ON r.id = v.source_record_id AND r.current_version_id = v.id AND r.status = 'active'
  JOIN patients_link l ON l.source_record_id = r.id AND {CURRENT}
 WHERE v.id > %s AND v.id <= %s AND v.source <> 'import' AND r.participant_id <> 'hub'
 ORDER BY r.id
"""  # noqa: S608  # constants only


def fed_between(after: int, last: int) -> list[CandidateRecord]:
    """Active records whose current version has a number above `after` up to `last` and came by a single feed. 1 query."""
    with connection.cursor() as cursor:
        cursor.execute(_FED, [after, last])
        return [_candidate(row) for row in cursor.fetchall()]


_ASKED_OR_APART = """
SELECT w.a, w.b FROM unnest(%s::uuid[], %s::uuid[]) AS w(a, b)
 WHERE EXISTS (
   SELECT 1 FROM (VALUES (w.a, w.b), (w.b, w.a)) AS s(one, other)
     JOIN patients_link h ON h.person_id = s.one AND h.valid_to IS NULL AND h.kind <> 'rejected'
    WHERE EXISTS (
            SELECT 1 FROM patients_reviewitem q JOIN patients_person c ON c.id = q.candidate_id
             WHERE q.source_record_id = h.source_record_id AND q.kind = 'possible-match'
               AND q.status IN ('open', 'deferred') AND s.other IN (c.id, c.merged_into_id))
       OR EXISTS (
            SELECT 1 FROM patients_matchdecision d
              JOIN patients_link o ON o.source_record_id = d.record_b_id AND o.valid_to IS NULL AND o.kind <> 'rejected'
             WHERE d.record_a_id = h.source_record_id AND o.person_id = s.other AND d.verdict = 'different'
               AND d.withdrawn_at IS NULL))
"""


def asked_or_apart(pairs: Sequence[tuple[UUID, UUID]]) -> set[tuple[UUID, UUID]]:
    """Of these pairs of persons, those that a steward is asked about already, or has said of that they are two. 1 query."""
    if not pairs:
        return set()
    with prepared() as cursor:
        cursor.execute(_ASKED_OR_APART, [[one for one, _ in pairs], [other for _, other in pairs]])
        return set(cursor.fetchall())


def as_json(value: Any) -> Any:
    """A jsonb column of a raw cursor as data."""
    return json.loads(value) if isinstance(value, str) else value


def write_keys(record_id: int, record: Features) -> None:
    """Replace a record's blocking keys. 2 statements."""
    with prepared() as cursor:
        cursor.execute("DELETE FROM patients_blockingkey WHERE record_id = %s", [record_id])
        cursor.execute(
            "INSERT INTO patients_blockingkey (key, finer, record_id)"
            " SELECT k, %s::bigint, %s::bigint FROM unnest(%s::bigint[]) k",
            [blocking.refinement(record), record_id, blocking.hashes(record)],
        )


def terms(demographics: Demographics) -> list[tuple[str, str]]:
    """What a record is found by in a search: (field, folded text), without repeats."""
    out: list[tuple[str, str]] = []

    def add(field: str, *texts: str) -> None:
        for text in texts:
            if text:
                out.extend([(field, word) for word in search_words(text)])

    for name in demographics.names:
        add("family", name.family)
        add("given", *name.given)
        if len(name.given) > 1:
            add("given", " ".join(name.given))
        add("name", *name.prefix, *name.suffix, name.text)
    for address in demographics.addresses:
        add("address", *address.lines, address.text, address.district)
        add("city", address.city)
        add("state", address.state)
        add("country", address.country)
        add("postal", address.postal_code)
    for telecom in demographics.telecoms:
        kind = "email" if telecom.system == "email" else "phone"
        out += [(kind, value) for value in {telecom.value.strip().lower(), phone_digits(telecom.value)} if value]
    add("maiden", demographics.mothers_maiden_name)
    if demographics.gender:
        out.append(("gender", demographics.gender))
    if demographics.birth_date:
        out.append(("birth", birth_digits(demographics.birth_date) or demographics.birth_date))
    out += [("identifier", f"{item.authority}|{item.value}") for item in demographics.identifiers if item.value]
    out += [("value", item.value) for item in demographics.identifiers if item.value]
    return list(dict.fromkeys([(field, text[:400]) for field, text in out]))


def write_terms(record_id: int, demographics: Demographics) -> None:
    """Replace a record's search terms. 2 statements."""
    found = terms(demographics)
    with prepared() as cursor:
        cursor.execute("DELETE FROM patients_searchterm WHERE record_id = %s", [record_id])
        cursor.execute(
            "INSERT INTO patients_searchterm (field, term, record_id)"
            " SELECT f, t, %s::bigint FROM unnest(%s::text[], %s::text[]) AS w(f, t)",
            [record_id, [field for field, _ in found], [text for _, text in found]],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewIds:
    """The row ids of a record to come."""

    record: int
    version: int
    identifier: int


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class NewRecord:
    """A record to be stored with its first version, identifier and link; `created`: the person is new too."""

    record: RecordFeed
    authority: str
    value: str
    features: Features
    raw: Mapping[str, Any]
    digest: bytes
    person_id: UUID
    created: bool
    model_version: str
    score: float | None
    weights: Mapping[str, float]
    reason: str


# References between these rows are checked when the transaction ends, so their order is free.
_ADD = """
WITH person AS (
  INSERT INTO patients_person (id, golden, created_at, updated_at)
  SELECT %(person)s, %(golden)s::jsonb, %(now)s, %(now)s WHERE %(created)s),
record AS (
  INSERT INTO patients_sourcerecord (id, participant_id, status, current_version_id, created_at, updated_at)
  VALUES (%(record)s, %(participant)s, 'active', %(version)s, %(now)s, %(now)s)),
version AS (
  INSERT INTO patients_sourcerecordversion
    (id, source_record_id, version, raw, normalised, digest, quarantined, source, actor, received_at)
  VALUES (%(version)s, %(record)s, 1, %(raw)s::jsonb, %(normalised)s::jsonb, %(digest)s, false, %(source)s, %(actor)s,
          %(now)s)),
identifier AS (
  INSERT INTO patients_patientidentifier (id, authority, value, source_record_id, created_at)
  VALUES (%(identifier)s, %(authority)s, %(value)s, %(record)s, %(now)s)),
link AS (
  INSERT INTO patients_link (source_record_id, person_id, kind, model_version, score, weights, reason, valid_from)
  VALUES (%(record)s, %(person)s, 'auto', %(model)s, %(score)s, %(weights)s::jsonb, %(reason)s, %(now)s)),
event AS (
  INSERT INTO patients_identityevent (id, kind, person_id, source_record_id, actor, reason, detail, at)
  VALUES (gen_random_uuid(), %(kind)s, %(person)s, %(record)s, %(actor)s, %(reason)s, '{}', %(now)s)),
keys AS (
  INSERT INTO patients_blockingkey (key, finer, record_id)
  SELECT k, %(finer)s, %(record)s FROM unnest(%(keys)s::bigint[]) AS k)
INSERT INTO patients_searchterm (field, term, record_id)
SELECT f, t, %(record)s FROM unnest(%(fields)s::text[], %(terms)s::text[]) AS w(f, t)
"""


def add_record(ids: NewIds, new: NewRecord) -> None:
    """Store a record, and its person where that is new, with golden record, event, keys and terms. 1 statement.

    The golden record of a person who was there before is the caller's to refresh.
    """
    now = timezone.now()
    golden = "{}"
    if new.created:
        view = SourceRecordView(
            source_record_id=ids.record,
            identifier_pk=ids.identifier,
            participant_id=new.record.participant_id,
            authority=new.authority,
            value=new.value,
            active=True,
            version=1,
            demographics=new.record.demographics,
            created_at=now,
            updated_at=now,
        )
        golden = json.dumps(golden_json(survive([view])))
    found = terms(new.record.demographics)
    values: dict[str, Any] = {
        "person": new.person_id, "golden": golden, "created": new.created, "now": now, "record": ids.record,
        "version": ids.version, "identifier": ids.identifier, "participant": new.record.participant_id,
        "raw": json.dumps(new.raw), "normalised": json.dumps(new.features.to_json()), "digest": new.digest,
        "source": new.record.source, "actor": new.record.actor, "authority": new.authority, "value": new.value,
        "model": new.model_version, "score": new.score, "weights": json.dumps(dict(new.weights)), "reason": new.reason,
        "kind": str(IdentityEvent.Kind.CREATED if new.created else IdentityEvent.Kind.LINKED),
        "keys": blocking.hashes(new.features), "finer": blocking.refinement(new.features), "fields": [field for field, _ in found],
        "terms": [text for _, text in found],
    }  # fmt: skip
    with prepared() as cursor:
        cursor.execute(_ADD, values)


def drop_index(record_id: int) -> None:
    """Take a record out of candidate search and search. 2 statements."""
    with prepared() as cursor:
        cursor.execute("DELETE FROM patients_blockingkey WHERE record_id = %s", [record_id])
        cursor.execute("DELETE FROM patients_searchterm WHERE record_id = %s", [record_id])


@dataclass(frozen=True, slots=True)
class PersonAsRead:
    """A person who was not merged away: the ids that became it, its identifiers' row ids, its records."""

    id: UUID
    linked: tuple[UUID, ...]
    identifier_pks: tuple[int, ...]
    records: list[SourceRecordView]


def as_read(person_ids: Iterable[UUID]) -> dict[UUID, PersonAsRead]:
    """Several persons by the id asked for; a merged one gives its survivor, an unknown one is absent. 1 query.

    The records are those of `views`, in its order.
    """
    found: dict[UUID, PersonAsRead] = {}
    with prepared() as cursor:
        cursor.execute(_KNOWN, {"asked": list(person_ids), "redirects": MAX_REDIRECTS})
        rows = cursor.fetchall()
    places = _places(row[4:] for row in rows)
    for asked, person_id, linked, pks, *record in rows:
        person = found.setdefault(asked, PersonAsRead(person_id, tuple(linked), tuple(pks), []))
        if record[1] is not None and places is not None:
            person.records.append(_view(record, places))
    return found


def views(person_ids: Sequence[UUID]) -> dict[UUID, list[SourceRecordView]]:
    """The records of persons in their current version, anchors and inactive ones too. 1 query."""
    with prepared() as cursor:
        cursor.execute(_VIEWS, [list(person_ids)])
        rows = cursor.fetchall()
    out: dict[UUID, list[SourceRecordView]] = defaultdict(list)
    if (places := _places(rows)) is not None:
        for row in rows:
            out[row[0]].append(_view(row, places))
    return dict(out)


def view(authority: str, value: str) -> SourceRecordView | None:
    """The record that an identifier names, in its current version, or None. 1 query."""
    with prepared() as cursor:
        cursor.execute(_VIEW + _NAMED, [authority, value])
        row = cursor.fetchone()
    places = _places([row] if row is not None else [])
    found = _view(row, places) if places is not None else None
    return found if found is not None and (found.authority, found.value) == (authority, value) else None


def _places(rows: Iterable[Sequence[Any]]) -> directory.Directory | None:
    """The directory as it was for one statement's rows, by the epoch read with them; None where there is no record."""
    epoch = next((row[14] for row in rows if row[1] is not None), None)
    return directory.snapshot(at=epoch) if epoch is not None else None


def _view(row: Sequence[Any], places: directory.Directory) -> SourceRecordView:
    return SourceRecordView(
        source_record_id=row[1],
        identifier_pk=row[2],
        participant_id=row[3],
        authority=row[4],
        value=row[5],
        active=row[6],
        version=row[7] or 1,
        demographics=from_json(as_json(row[8])) if row[8] is not None else Demographics(),
        created_at=row[9],
        updated_at=row[10] or row[11],
        replaced_by=(row[12], row[13]) if row[12] is not None else None,
        trust=places.trust_of(row[3]),
        by_hand=tuple(
            ByHand(
                pk=pk,
                field=field,
                demographics=from_json(value),
                set_at=datetime.fromisoformat(set_at),
                rests_on=frozenset(rests_on),
            )
            for pk, field, value, set_at, rests_on in as_json(row[15]) or ()
        ),
    )


_REFRESH = """
WITH fresh AS (
  SELECT id, text::jsonb AS golden FROM unnest(%(ids)s::uuid[], %(golden)s::text[]) AS x(id, text)),
stale AS (
  SELECT p.id, p.golden AS old, f.golden FROM patients_person p JOIN fresh f ON f.id = p.id
   WHERE p.golden IS DISTINCT FROM f.golden),
changed AS (
  UPDATE patients_person p SET golden = s.golden, updated_at = %(now)s FROM stale s WHERE p.id = s.id)
INSERT INTO patients_identityevent (id, kind, person_id, actor, reason, detail, at)
SELECT gen_random_uuid(), 'survivorship-changed', s.id, '', '', jsonb_build_object('fields', d.fields), %(now)s
  FROM stale s, LATERAL (
    SELECT jsonb_agg(k ORDER BY k) AS fields FROM jsonb_object_keys((s.old -> 'demographics') || (s.golden -> 'demographics')) k
     WHERE s.old -> 'demographics' -> k IS DISTINCT FROM s.golden -> 'demographics' -> k) d
 WHERE s.old -> 'demographics' <> '{}'::jsonb AND d.fields IS NOT NULL
"""


def refresh_golden(person_ids: Iterable[UUID]) -> None:
    """Recompute the golden records of persons from their records; note which fields changed. 2 statements in all.

    A person's first golden record is no change. The trust in sources is read with the records: who holds the persons
    leaves nothing that an earlier change of trust had not reached.
    """
    wanted = sorted(set(person_ids))
    records = views(wanted)
    golden = [json.dumps(golden_json(survive(records.get(person_id, [])))) for person_id in wanted]
    with prepared() as cursor:
        cursor.execute(_REFRESH, {"ids": wanted, "golden": golden, "now": timezone.now()})


@lru_cache(maxsize=4)
def _scorer(version: str) -> Scorer:
    row = MatchModel.objects.filter(version=version).values_list("parameters", flat=True).first()
    return Scorer(Model.from_json(row)) if row is not None else Scorer(default_model())


def scorer() -> Scorer:
    """The scorer of the active model, the built-in one when none is active. 1 query."""
    with prepared() as cursor:
        cursor.execute(_ACTIVE)
        row = cursor.fetchone()
    return _scorer(row[0] if row else "")
