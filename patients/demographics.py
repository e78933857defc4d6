"""Demographics as a value: the only part of `patients` a face may import.

The dataclasses are those of `hie.standards.demographics` (shared with the pure FHIR
conversion); this module adds the values of the feed and of a match answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from hie.standards.demographics import (
    Address,
    DateMatch,
    Demographics,
    HumanName,
    Identifier,
    IdentifierMatch,
    PatientQuery,
    StringMatch,
    Telecom,
    authority_of,
    from_json,
    system_of,
    to_json,
)
from hie.standards.values import quick

__all__ = [
    "Address",
    "ByHand",
    "Candidate",
    "DateMatch",
    "Demographics",
    "FeedResult",
    "HumanName",
    "Identifier",
    "IdentifierMatch",
    "PatientQuery",
    "RecordFeed",
    "ResolvedIdentifier",
    "SourceRecordView",
    "StringMatch",
    "Telecom",
    "authority_of",
    "from_json",
    "system_of",
    "to_json",
]


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFeed:
    """One organization's record of a patient, as fed: added, or revised in full.

    `authority` (bare OID or URI) and `value` are the local identifier that names the record
    for ever. `actor` is who sent it, for the event; `source` the door (``fhir``, ``hl7v2``, ``import``).
    """

    participant_id: str
    authority: str
    value: str
    demographics: Demographics
    actor: str = ""
    source: str = "fhir"


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class FeedResult:
    """What a feed did.

    `outcome`: ``new`` (a new person), ``linked`` (to an existing one), ``review`` (a new person,
    and somebody must look), ``updated``, ``unchanged``, ``quarantined`` (kept aside as a suspected
    overlay; the former version stays). `version` counts the record's own versions from 1.
    `score` is the match probability 0..1 behind a link or review, else None.
    """

    created: bool
    version: int
    person_id: UUID
    outcome: str
    score: float | None
    reason: str
    identifier_pk: int
    source_record_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedIdentifier:
    """An identifier the hub knows, and the person it leads to now."""

    pk: int
    authority: str
    value: str
    person_id: UUID
    source_record_id: int
    participant_id: str
    active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ByHand:
    """What a steward set by hand for one field of a person: the hub's own statement, kept at an anchor.

    `demographics` holds that field only. `rests_on` are the source records that the steward saw: whoever may not be
    shown each of them is not shown the value either.
    """

    pk: int
    field: str
    demographics: Demographics
    set_at: datetime
    rests_on: frozenset[int]


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecordView:
    """One source record of a person, in its current version.

    `active` is False for a record that was removed or replaced by another of the same organization.
    An anchor (`participant_id` "hub") carries no demographics, but the values set `by_hand` that hold. `replaced_by`
    is the authority and value of the record it was merged into. `trust` is how its participant ranks as a source.
    """

    source_record_id: int
    identifier_pk: int
    participant_id: str
    authority: str
    value: str
    active: bool
    version: int
    demographics: Demographics
    created_at: datetime
    updated_at: datetime
    replaced_by: tuple[str, str] | None = None
    trust: int = 0
    by_hand: tuple[ByHand, ...] = ()


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A person who may be the one described.

    `score` in bits, `probability` 0..1; `grade` one of ``certain probable possible certainly-not``;
    `weights` bits per field; `reasons` the sentences behind the grade (field names and levels, rule names; no values).
    `by_hand`: the source records that a change by hand made the person's; `records`: all that are in use.
    """

    person_id: UUID
    score: float
    probability: float
    grade: str
    weights: Mapping[str, float] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    by_hand: frozenset[int] = frozenset()
    records: frozenset[int] = frozenset()
