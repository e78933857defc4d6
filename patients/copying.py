"""The rows of a portion of an import, made in worker processes: COPY text, and what became of each record.

Source: spec/mpi.md section 3.
"""

from __future__ import annotations

import json
import os
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from hie.standards.demographics import from_json
from patients import bulk, golden
from patients.demographics import SourceRecordView, system_of
from patients.matching import PairScore, Scorer
from patients.models import IdentityEvent
from patients.normalise import Features
from patients.preparing import Kept, copy_json, copy_text, dumped

Counts = Counter[str]


@dataclass(slots=True, kw_only=True)
class Group:
    """Records of one person that are stored together: positions, their row ids, the person, whether it is new."""

    positions: list[int]
    ids: list[tuple[int, int, int]]  # record, identifier, version
    person: uuid.UUID
    created: bool


@dataclass(slots=True, kw_only=True)
class Stage:
    """What workers share while rows are made."""

    run_id: uuid.UUID
    participant_id: str
    authority: str
    actor: str
    now: datetime
    scorer: Scorer
    spool: bulk.Spool
    records: Sequence[Features]
    plan: bulk.Plan
    overtaken: dict[int, PairScore] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Rows:
    """COPY text by table, what became of the records, counted, and their identifiers."""

    text: dict[str, bytes]
    outcomes: Counts
    values: list[str]


TABLES: dict[str, str] = {
    "patients_person": "id, golden, created_at, updated_at",
    "patients_sourcerecord": "id, participant_id, status, current_version_id, created_at, updated_at",
    "patients_sourcerecordversion": "id, source_record_id, version, raw, normalised, digest, quarantined, source, actor, received_at",
    "patients_patientidentifier": "id, authority, value, source_record_id, created_at",
    "patients_link": "source_record_id, person_id, kind, model_version, score, weights, reason, valid_from",
    "patients_identityevent": "id, kind, person_id, source_record_id, actor, reason, detail, at",
    "patients_importline": "run_id, number, identifier, outcome, source_record_id, score, reason",
}
_ORDER = (
    "patients_sourcerecord", "patients_sourcerecordversion", "patients_patientidentifier", "patients_link",
    "patients_identityevent", "patients_importline", "patients_person",
)  # fmt: skip
_CREATED, _LINKED = IdentityEvent.Kind.CREATED.encode(), IdentityEvent.Kind.LINKED.encode()


def rows_of(stage: Stage, groups: list[Group]) -> Rows:
    """The rows of these groups."""
    lines: dict[str, list[bytes]] = {table: [] for table in TABLES}
    records, versions, identifiers, links, events, told, persons = (lines[table].append for table in _ORDER)
    outcomes: Counter[bytes] = Counter()
    values: list[str] = []
    at = stage.now.isoformat()
    now, actor, version, authority, participant = (
        copy_text(text).encode()
        for text in (at, stage.actor, stage.scorer.model.version, stage.authority, stage.participant_id)
    )
    system = copy_text(f"{system_of(stage.authority)}|").encode()
    run = str(stage.run_id).encode()
    ids = _event_ids(sum(len(group.positions) for group in groups))
    for group in groups:
        kept: list[Kept] = [stage.spool.get(position) for position in group.positions]
        person = str(group.person).encode()
        first = group.created
        for position, (number, value, digest, raw, normalised, *_), (record_id, identifier_pk, version_pk) in zip(
            group.positions, kept, group.ids, strict=True
        ):
            values.append(value)
            verdict = _verdict(stage, position)
            outcomes[verdict.outcome] += 1
            name = copy_text(value).encode()
            records(b"%d\t%b\tactive\t%d\t%b\t%b\n" % (record_id, participant, version_pk, now, now))
            versions(
                b"%d\t%d\t1\t%b\t%b\t\\\\x%b\tf\timport\t%b\t%b\n"
                % (version_pk, record_id, copy_json(raw), copy_json(normalised), digest.hex().encode(), actor, now)
            )
            identifiers(b"%d\t%b\t%b\t%d\t%b\n" % (identifier_pk, authority, name, record_id, now))
            links(b"%d\t%b\tauto\t%b\t%b\t%b\n" % (record_id, person, version, verdict.link, now))
            kind = _CREATED if first else _LINKED
            events(
                b"%b\t%b\t%b\t%d\t%b\t%b\t{}\t%b\n" % (next(ids), kind, person, record_id, actor, verdict.reason, now)
            )
            told(b"%b\t%d\t%b%b\t%b\t%d\t%b\n" % (run, number, system, name, verdict.outcome, record_id, verdict.told))
            first = False
        if group.created:
            persons(b"%b\t%b\t%b\t%b\n" % (person, copy_json(_golden(stage, group, kept, at)), now, now))
    return Rows(
        text={table: b"".join(parts) for table, parts in lines.items()},
        outcomes=Counter({outcome.decode(): count for outcome, count in outcomes.items()}),
        values=values,
    )


def _event_ids(count: int) -> Iterator[bytes]:
    """Random UUIDs (version 4) as text."""
    digits = os.urandom(16 * count).hex()
    for start in range(0, len(digits), 32):
        one = digits[start : start + 32]
        variant = "89ab"[int(one[16], 16) & 3]
        yield f"{one[:8]}-{one[8:12]}-4{one[13:16]}-{variant}{one[17:20]}-{one[20:]}".encode()


def _golden(stage: Stage, group: Group, kept: list[Kept], at: str) -> bytes:
    """The golden record of a new person, as JSON."""
    if len(kept) == 1 and kept[0][5]:
        *_, shown, said = kept[0]
        source = f'[{group.ids[0][0]},"{at}"]'
        sources = ",".join([f'"{name}":{source}' for name in said])
        return b'{"demographics":%b,"sources":{%b}}' % (shown, sources.encode())
    views = [
        _view(stage, value, record_id, identifier_pk, raw)
        for (_, value, _, raw, *_), (record_id, identifier_pk, _) in zip(kept, group.ids, strict=True)
    ]
    return dumped(golden.golden_json(golden.survive(views)))


def _view(stage: Stage, value: str, record_id: int, identifier_pk: int, raw: bytes) -> SourceRecordView:
    return SourceRecordView(
        source_record_id=record_id,
        identifier_pk=identifier_pk,
        participant_id=stage.participant_id,
        authority=stage.authority,
        value=value,
        active=True,
        version=1,
        demographics=from_json(orjson.loads(raw)),
        created_at=stage.now,
        updated_at=stage.now,
    )


class _Verdict(NamedTuple):
    """What became of a record, as COPY text: `link` is the link's score, weights and reason, `told` probability and
    reason for the link file."""

    outcome: bytes
    link: bytes
    reason: bytes
    told: bytes


def _made(outcome: str, score: float | None, weights: str, reason: str, chance: float | None, why: str) -> _Verdict:
    def text(*values: Any) -> bytes:
        return "\t".join(map(copy_text, values)).encode()

    bits = None if score is None else repr(score)
    return _Verdict(outcome.encode(), text(bits, weights, reason), text(reason), text(chance, why))


_NEW = _made("new", None, "{}", "a new person", None, "")


def _verdict(stage: Stage, position: int) -> _Verdict:
    planned = stage.plan
    if position in planned.linked:
        other, pair = planned.best.get(position), stage.overtaken.get(position)
        if other is None and pair is None:
            reason = "linked with records that are linked to it"
            return _made("linked", None, "{}", reason, None, reason)
        if pair is None and other is not None:
            pair = stage.scorer.score(stage.records[position], stage.records[other])
        assert pair is not None
        reason = "; ".join(pair.reasons)
        return _made("linked", pair.score, json.dumps(dict(pair.weights)), reason, pair.probability, reason)
    reviews = planned.reviews.get(position)
    if reviews:
        pair = stage.scorer.score(stage.records[position], stage.records[reviews[0].about])
        chance, why = bulk.shown_probability(reviews[0]), "; ".join(pair.reasons)
        return _made("review", None, "{}", "a new person", chance, why)
    return _NEW
