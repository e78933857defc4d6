"""The rows of a portion of an import, made in worker processes: COPY text, and what became of each record.

Source: spec/mpi.md section 3.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from hie.standards.demographics import from_json
from patients import bulk, golden
from patients.demographics import SourceRecordView, system_of
from patients.matching import PairScore, Scorer
from patients.models import IdentityEvent
from patients.normalise import Features
from patients.preparing import Kept, copy_text

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


def rows_of(stage: Stage, groups: list[Group]) -> Rows:
    lines: dict[str, list[str]] = {table: [] for table in TABLES}
    outcomes: Counts = Counter()
    values: list[str] = []
    now, actor, version = stage.now.isoformat(), copy_text(stage.actor), copy_text(stage.scorer.model.version)
    authority, participant = copy_text(stage.authority), copy_text(stage.participant_id)
    system = system_of(stage.authority)
    for group in groups:
        views: list[SourceRecordView] = []
        for n, (position, (record_id, identifier_pk, version_pk)) in enumerate(
            zip(group.positions, group.ids, strict=True)
        ):
            kept: Kept = stage.spool.get(position)
            number, value, digest, raw, normalised = kept
            values.append(value)
            outcome, score, weights, reason, told = _verdict(stage, position)
            outcomes[outcome] += 1
            first = group.created and n == 0
            kind = IdentityEvent.Kind.CREATED if first else IdentityEvent.Kind.LINKED
            lines["patients_sourcerecord"].append(f"{record_id}\t{participant}\tactive\t{version_pk}\t{now}\t{now}\n")
            lines["patients_sourcerecordversion"].append(
                f"{version_pk}\t{record_id}\t1\t{copy_text(raw.decode())}\t{copy_text(normalised.decode())}\t\\\\x{digest.hex()}"
                f"\tf\timport\t{actor}\t{now}\n"
            )
            lines["patients_patientidentifier"].append(
                f"{identifier_pk}\t{authority}\t{copy_text(value)}\t{record_id}\t{now}\n"
            )
            bits = repr(score) if score is not None else "\\N"
            lines["patients_link"].append(
                f"{record_id}\t{group.person}\tauto\t{version}\t{bits}\t{copy_text(weights)}\t{copy_text(reason)}\t{now}\n"
            )
            lines["patients_identityevent"].append(
                f"{uuid.uuid4()}\t{kind}\t{group.person}\t{record_id}\t{actor}\t{copy_text(reason)}\t{{}}\t{now}\n"
            )
            chance, why = told
            lines["patients_importline"].append(
                f"{stage.run_id}\t{number}\t{copy_text(f'{system}|{value}')}\t{outcome}\t{record_id}\t{copy_text(chance)}\t{copy_text(why)}\n"
            )
            if group.created:
                views.append(_view(stage, value, record_id, identifier_pk, raw))
        if group.created:
            shown = orjson.dumps(golden.golden_json(golden.survive(views))).decode()
            lines["patients_person"].append(f"{group.person}\t{copy_text(shown)}\t{now}\t{now}\n")
    return Rows(
        text={table: "".join(parts).encode() for table, parts in lines.items()}, outcomes=outcomes, values=values
    )


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


def _verdict(stage: Stage, position: int) -> tuple[str, float | None, str, str, tuple[float | None, str]]:
    """Outcome; the link's score, weights and reason; probability and reason for the link file."""
    planned = stage.plan
    if position in planned.linked:
        other, pair = planned.best.get(position), stage.overtaken.get(position)
        if other is None and pair is None:
            reason = "linked with records that are linked to it"
            return "linked", None, "{}", reason, (None, reason)
        if pair is None and other is not None:
            pair = stage.scorer.score(stage.records[position], stage.records[other])
        assert pair is not None
        reason = "; ".join(pair.reasons)
        return "linked", pair.score, json.dumps(dict(pair.weights)), reason, (pair.probability, reason)
    reviews = planned.reviews.get(position)
    if reviews:
        pair = stage.scorer.score(stage.records[position], stage.records[reviews[0].about])
        return "review", None, "{}", "a new person", (bulk.shown_probability(reviews[0]), "; ".join(pair.reasons))
    return "new", None, "{}", "a new person", (None, "")
