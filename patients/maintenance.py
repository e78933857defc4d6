"""What is done to the whole index from time to time: training, and looking for persons to join.

Nothing here joins or parts persons by itself: arrival order may have kept two records of one person
apart, and a steward is shown them (spec/mpi.md section 3, Cluster and Guard).
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from django.db import connection, transaction

from patients import blocking, bulk, calibration, clustering, models_of_match, packing, store, training
from patients.matching import PairScore, Scorer
from patients.models import MatchModel, ReviewItem
from patients.normalise import Features

_SAMPLE = 100_000
_REVIEWED = 5_000


def _records(limit: int) -> list[tuple[int, UUID, Features]]:
    """Active records with their persons: all, or an even sample of them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT r.id, l.person_id, v.normalised FROM patients_sourcerecord r"  # noqa: S608
            " JOIN patients_sourcerecordversion v ON v.id = r.current_version_id"
            f" JOIN patients_link l ON l.source_record_id = r.id AND {store.CURRENT}"
            " WHERE r.status = 'active' ORDER BY hashint8(r.id), r.id LIMIT %s",
            [limit],
        )
        return sorted((row[0], row[1], Features.read(row[2])) for row in cursor.fetchall())


def train(*, sample: int = _SAMPLE) -> MatchModel | None:
    """Train on the index, corrected by what reviewers decided, and keep the result; None where there are too few records."""
    rows = _records(sample)
    records = packing.Records(features for _, _, features in rows)
    if len(records) < training.MIN_RECORDS:
        return None
    result = models_of_match.trained(records, bulk.pairs_of(records))
    scorer = Scorer(result.model)
    bits = calibration.correction([(scorer.score(one, other).score, same) for one, other, same in _reviewed()])
    return models_of_match.save(replace(result, model=replace(result.model, correction=bits)))


def _reviewed() -> list[tuple[Features, Features, bool]]:
    """Pairs of records that reviewers judged, as they are today, the newest first, and whether they are one person."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT a.normalised, b.normalised, d.same FROM ("
            # What was said of two records, and, where two persons were said to be one, of the records most alike.
            " SELECT record_a_id AS one, record_b_id AS other, verdict = 'same' AS same, decided_at AS at"
            " FROM patients_matchdecision WHERE withdrawn_at IS NULL AND verdict <> 'open'"
            " UNION ALL SELECT * FROM (SELECT DISTINCT ON (t.item_id) i.source_record_id, t.other_record_id, true, t.at"
            " FROM patients_reviewact t JOIN patients_reviewitem i ON i.id = t.item_id AND i.decision = 'same'"
            # A change that was contested says of its own records where they belong, not that two persons are one.
            " AND i.contested_id IS NULL"
            " WHERE t.verdict = 'same' AND t.other_record_id IS NOT NULL ORDER BY t.item_id, t.at DESC, t.id DESC) s) d"
            " JOIN patients_sourcerecord x ON x.id = d.one"
            " JOIN patients_sourcerecord y ON y.id = d.other"
            " JOIN patients_sourcerecordversion a ON a.id = x.current_version_id"
            " JOIN patients_sourcerecordversion b ON b.id = y.current_version_id"
            " ORDER BY d.at DESC, d.one, d.other LIMIT %s",
            [_REVIEWED],
        )
        return [(Features.read(one), Features.read(other), same) for one, other, same in cursor.fetchall()]


def recluster(*, sample: int = _SAMPLE) -> int:
    """Open a review item for each pair of persons that today's model and all records would join; gives their number."""
    rows = _records(sample)
    features = [item for _, _, item in rows]
    scorer = store.scorer()
    scored: dict[tuple[int, int], PairScore] = {}
    for a, b in blocking.pairs(features):
        verdict = scorer.score(features[a], features[b])
        if verdict.automatic:
            scored[(a, b)] = verdict
    links = [(a, b, verdict.score) for (a, b), verdict in scored.items()]
    opened = 0
    with transaction.atomic():
        apart = _apart({record_id: position for position, (record_id, _, _) in enumerate(rows)})
        clusters = clustering.cluster(
            len(rows),
            links,
            lambda a, b: scorer.score(features[a], features[b]).clustering,
            test=clustering.AUTOMATIC,
            apart=apart,
        )
        for members in clusters:
            opened += _review(members, rows, scored)
    return opened


def _apart(position_of: dict[int, int]) -> frozenset[tuple[int, int]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT record_a_id, record_b_id FROM patients_matchdecision"
            " WHERE verdict = 'different' AND withdrawn_at IS NULL"
        )
        pairs = [(position_of.get(a), position_of.get(b)) for a, b in cursor.fetchall()]
    return frozenset((min(a, b), max(a, b)) for a, b in pairs if a is not None and b is not None)


def _review(
    members: list[int], rows: list[tuple[int, UUID, Features]], scored: dict[tuple[int, int], PairScore]
) -> int:
    best: dict[tuple[UUID, UUID], tuple[PairScore, int]] = {}
    for n, a in enumerate(members):
        for b in members[n + 1 :]:
            first, second = rows[a][1], rows[b][1]
            verdict = scored.get((a, b))
            if first == second or verdict is None:
                continue
            key = (min(first, second), max(first, second))
            if key not in best or verdict.score > best[key][0].score:
                # The item hangs on the record whose person is the first of the pair: one item whichever way.
                best[key] = (verdict, a if first == key[0] else b)
    done = store.asked_or_apart(list(best))
    items = [
        ReviewItem(
            kind=ReviewItem.Kind.POSSIBLE_MATCH,
            source_record_id=rows[position][0],
            person_id=first,
            candidate_id=second,
            score=verdict.score,
            probability=verdict.probability,
            weights=dict(verdict.weights),
            reason="re-clustering: " + "; ".join(verdict.reasons),
        )
        for (first, second), (verdict, position) in best.items()
        if (first, second) not in done
    ]
    ReviewItem.objects.bulk_create(items, ignore_conflicts=True)
    return len(items)
