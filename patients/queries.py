"""Reads of the index for the exchange. Each function says how many statements it costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from django.conf import settings
from django.db import connection

from hie.directory import queries as directory
from hie.standards.facts import SubjectFacts
from patients import golden as survivorship
from patients import store
from patients.blocking import Blocks
from patients.deciding import person_scores
from patients.demographics import (
    Candidate,
    Demographics,
    SourceRecordView,
    authority_of,
)
from patients.identifiers import HUB, person_uuid
from patients.matching import PairScore
from patients.models import IdentityEvent
from patients.normalise import Features, features, storable


def source_records(person_id: UUID | str) -> list[SourceRecordView]:
    """The records that belong to a person now, by authority and value; inactive ones and anchors too. 1 query."""
    wanted = person_uuid(person_id)
    return store.views([wanted]).get(wanted, []) if wanted else []


def source_records_of(person_ids: Iterable[UUID | str]) -> dict[UUID, list[SourceRecordView]]:
    """As `source_records`, for several persons. 1 query."""
    wanted = [found for found in map(person_uuid, person_ids) if found]
    return store.views(wanted) if wanted else {}


def source_record(authority: str, value: str) -> SourceRecordView | None:
    """The record that an identifier names, or None. 1 query."""
    return store.view(authority_of(authority), value) if storable(authority + value) else None


def golden(records: Iterable[SourceRecordView], *, about: Iterable[SourceRecordView] = ()) -> Demographics:
    """The surviving demographics of the given records only: what a caller who may see just these is shown. No query.

    `about` are all records of the person. Of what a steward set by hand there, that counts which rests on records that
    are all among the given: what was set in sight of a hidden record is hidden with it.
    """
    return survivorship.survive(_with_hands(records, about)).demographics


def _with_hands(records: Iterable[SourceRecordView], about: Iterable[SourceRecordView]) -> list[SourceRecordView]:
    shown = [record for record in records if record.participant_id != HUB]
    return [*shown, *borne_out(shown, about)]


def borne_out(shown: Iterable[SourceRecordView], about: Iterable[SourceRecordView]) -> list[SourceRecordView]:
    """The anchors among `about` that say something by hand, with what rests on records that are all `shown`. No query."""
    seen = {record.source_record_id for record in shown}
    anchors = (
        replace(anchor, by_hand=tuple(item for item in anchor.by_hand if item.rests_on <= seen))
        for anchor in about
        if anchor.by_hand
    )
    return [anchor for anchor in anchors if anchor.by_hand]


def candidates(demographics: Demographics) -> list[Candidate]:
    """Persons who may be the one described, most likely first; as many as share the blocks of what is described. 1 query."""
    found, blocks = candidates_and_blocks(demographics)
    near = blocks.among(blocks.shared)
    return [item for item in found if not near.isdisjoint(item.records)]


def candidates_and_blocks(demographics: Demographics) -> tuple[list[Candidate], Blocks]:
    """Persons who may be the one described, most likely first, and the blocks they came by. 1 query.

    All of them, and some more of large blocks: whoever cuts the list does so after what may not be seen is out of it,
    by `Blocks.among`, or a hidden person would push a visible one off its end or split a block. Grades: ``certain`` would be linked automatically; ``probable`` at even odds or better; ``possible`` below,
    and at most that where the twin or junior rule speaks. Whoever is certainly not is left out.
    """
    described = features(demographics)
    near, scorer, blocks = store.near_asked(described)
    records: dict[UUID, set[int]] = {}
    for record in near:
        records.setdefault(record.person_id, set()).add(record.record_id)
    by_hand: dict[UUID, set[int]] = {}
    for record in near:
        if record.by_hand:
            by_hand.setdefault(record.person_id, set()).add(record.record_id)
    found = person_scores(
        scorer,
        described,
        [(item.record_id, item.person_id, item.features) for item in near],
        by_hand=by_hand,
    )
    persons = [
        Candidate(
            person_id=item.person_id,
            score=round(item.bits, 3),
            probability=item.probability,
            grade=str(item.grade),
            weights=dict(item.best.weights),
            reasons=item.best.reasons,
            by_hand=frozenset(by_hand.get(item.person_id, ())),
            records=frozenset(records[item.person_id]),
        )
        for item in found
    ]
    return persons, blocks


def compared(one: Features, others: Iterable[Features]) -> list[PairScore]:
    """How today's model compares a record with each of the others. 1 query, one more where the model has changed."""
    scorer = store.scorer()
    return [scorer.score(one, other) for other in others]


def subject_facts(person_id: UUID | str) -> SubjectFacts | None:
    """The person as consent sees it, or None when unknown; a merged id gives its survivor. 5 queries at most.

    The jurisdiction is that of the participant of the earliest active record (its own or the nearest
    ancestor's), else the hub's. `linked` are all ids that became this person by merge.
    """
    wanted = person_uuid(person_id)
    found = known_persons([wanted]) if wanted else {}
    return found[wanted].facts if wanted in found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPerson:
    """A person as consent sees it, with its records and the row ids of its identifiers, all read together."""

    facts: SubjectFacts
    records: tuple[SourceRecordView, ...]
    identifier_pks: tuple[int, ...]


def known_persons(person_ids: Iterable[UUID]) -> dict[UUID, KnownPerson]:
    """Several persons by the id asked for: a merged one gives its survivor, an unknown one is absent.

    2 queries whatever the number.
    """
    read = store.as_read(person_ids)
    places = directory.snapshot()
    known: dict[UUID, KnownPerson] = {}
    for person in read.values():
        if person.id in known:
            continue
        fed = [record for record in person.records if record.participant_id != HUB]
        birth_date, deceased = survivorship.vital(_with_hands(fed, person.records))
        known[person.id] = KnownPerson(
            facts=SubjectFacts(
                id=str(person.id),
                birth_date=birth_date or None,
                jurisdiction=_jurisdiction(fed, places),
                linked=frozenset(map(str, person.linked)),
                deceased=deceased not in (None, False),
            ),
            records=tuple(person.records),
            identifier_pks=person.identifier_pks,
        )
    return {asked: known[person.id] for asked, person in read.items()}


def _jurisdiction(records: Sequence[SourceRecordView], places: directory.Directory) -> str:
    active = sorted((r for r in records if r.active), key=lambda r: (r.created_at, r.source_record_id))
    for record in active[:1]:
        for facts in places.lineage(record.participant_id):
            if facts.jurisdiction:
                return facts.jurisdiction
    return str(settings.HUB_JURISDICTION)


def events(person_id: UUID | str, *, limit: int = 500) -> list[IdentityEvent]:
    """What happened to a person's identity, newest first. 1 query."""
    wanted = person_uuid(person_id)
    if wanted is None:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seq FROM patients_identityevent WHERE person_id = %s OR other_person_id = %s"
            " ORDER BY seq DESC LIMIT %s",
            [wanted, wanted, limit],
        )
        seqs = [row[0] for row in cursor.fetchall()]
    return list(IdentityEvent.objects.filter(seq__in=seqs).order_by("-seq"))
