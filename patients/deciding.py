"""From scored pairs to one person: the decision on one record. Pure; the same test as in bulk clustering.

Source: spec/mpi.md section 3, Decide and Cluster.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from hie.standards.values import quick
from patients import clustering
from patients import levels as lv
from patients.matching import (
    AUTOMATIC_BITS,
    POSSIBLE_BITS,
    PROBABLE_BITS,
    Grade,
    PairScore,
    Scorer,
    compare,
    mean_score,
    probability,
)
from patients.normalise import Features

AUTOMATIC_MEAN = 5.0
PROBABLE_MEAN = 0.0
RULE_LOW, PROBABLE_LOW = -20.0, -6.0


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class PersonScore:
    """What all records of one person say of one record. `best` is its nearest pair, `record_id` that pair's record.

    `needs_review`: at even odds or better beside one of her records; unless the record is linked to her, a steward is asked.
    """

    person_id: UUID
    record_id: int
    best: PairScore
    mean: float
    grade: Grade
    needs_review: bool

    @property
    def bits(self) -> float:
        """The score shown for the person: the best pair's, held below even odds where rules or the mean say no."""
        if self.grade in (Grade.CERTAIN, Grade.PROBABLE):
            return self.best.score
        if self.best.score < PROBABLE_BITS:
            return self.best.clustering
        return min(self.best.clustering, self.mean, -1.0)

    @property
    def probability(self) -> float:
        """`bits` as a probability."""
        return probability(self.bits)


def person_scores(
    scorer: Scorer,
    record: Features,
    others: Iterable[tuple[int, UUID, Features]],
    *,
    different: Collection[int] = (),
    by_hand: Collection[UUID] = (),
) -> list[PersonScore]:
    """Each person among `others` (record id, person, features), most likely first; certainly-not is left out.

    The records of persons whom hands put together (`by_hand`) may differ in everything, and so may what the machine has
    linked to them since: each of the `parts` of such a person speaks for itself, and the best counts.

    A person of whom a reviewer said of any record (`different`) that it is somebody else is left out too.
    """
    by_person: dict[UUID, list[tuple[int, Features]]] = defaultdict(list)
    refused: set[UUID] = set()
    for record_id, person_id, features in others:
        if record_id in different:
            refused.add(person_id)
        by_person[person_id].append((record_id, features))
    order = list(Grade)
    out: list[PersonScore] = []
    for person_id, records in by_person.items():
        if person_id in refused:
            continue
        compared = [compare(record, features) for _, features in records]
        # Most of those who are found are nobody near: their verdicts need not be written out.
        if all(scorer.at_most(*both) < POSSIBLE_BITS for both in compared):
            continue
        rows = [
            (record_id, scorer.verdict(record, features, *both), features)
            for (record_id, features), both in zip(records, compared, strict=True)
        ]
        together = [list(range(len(rows)))]
        # Below even odds no part could say more than all of them do.
        if person_id in by_hand and any(pair.score >= PROBABLE_BITS for _, pair, _ in rows):
            together = parts(scorer, [features for _, _, features in rows])
        scores = [_group_score(person_id, [rows[place][:2] for place in members]) for members in together]
        out.append(min(scores, key=lambda item: (order.index(item.grade), not item.needs_review, -item.mean)))
    kept = [item for item in out if item.grade is not Grade.CERTAINLY_NOT]
    return sorted(kept, key=lambda item: (order.index(item.grade), -item.mean, item.record_id))


def parts(scorer: Scorer, records: Sequence[Features]) -> list[list[int]]:
    """The records of one person, by place, as the machine would put them together if no hand had: each in one part.

    By what they say today, not by who moved them when: so it plays no part in which order persons were merged, what of
    it was undone, or what came in between.
    """
    pairs = {(a, b): scorer.score(records[a], records[b]) for b in range(len(records)) for a in range(b)}
    found = clustering.cluster(
        len(records),
        [(*places, pair.score) for places, pair in sorted(pairs.items()) if pair.automatic],
        lambda a, b: pairs[(a, b)].clustering,
        test=clustering.AUTOMATIC,
    )
    joined = {place for members in found for place in members}
    return sorted([*found, *([place] for place in range(len(records)) if place not in joined)])


def _group_score(person_id: UUID, pairs: list[tuple[int, PairScore]]) -> PersonScore:
    scores = [pair.clustering for _, pair in pairs]
    automatic_mean = mean_score(scores, low=RULE_LOW)
    probable_mean = mean_score(scores, low=PROBABLE_LOW)
    record_id, best = max(pairs, key=lambda item: (item[1].automatic, _probable(item[1]), item[1].score, -item[0]))
    eligible = any(pair.automatic for _, pair in pairs)
    probable = any(_probable(pair) for _, pair in pairs)
    if eligible and automatic_mean >= AUTOMATIC_MEAN:
        grade = Grade.CERTAIN
    elif probable and probable_mean >= PROBABLE_MEAN:
        grade = Grade.PROBABLE
    elif any(pair.score >= POSSIBLE_BITS for _, pair in pairs):
        grade = Grade.POSSIBLE
    else:
        grade = Grade.CERTAINLY_NOT
    return PersonScore(
        person_id=person_id,
        record_id=record_id,
        best=best,
        mean=automatic_mean,
        grade=grade,
        # A steward looks at what is probable, at twins and juniors, and at who would fit but for one bad record: at
        # every pair that is as likely as not, as in bulk.
        needs_review=best.score >= PROBABLE_BITS,
    )


def _probable(pair: PairScore) -> bool:
    return pair.score >= PROBABLE_BITS and not pair.vetoed


def of_versions(scorer: Scorer, former: Features, revised: Features) -> PairScore:
    """Two versions of one record against each other. Its own number, under which both came, says nothing: an overlay is
    somebody else's data under it."""
    return scorer.score(replace(former, own=()), replace(revised, own=()))


def is_overlay(scorer: Scorer, former: Features, revised: Features) -> bool:
    """Whether a revision describes somebody else: several person-specific fields differ together.

    A marriage (surname only) or the correction of one field is no overlay; nor is a value that was
    missing or a placeholder before, nor anything under the same shared identifier.
    """
    levels = of_versions(scorer, former, revised).levels
    given, surname, birth, sex, street, _, phone, email, ident, _ = levels
    if ident == 2 and former.idents:
        return False
    given_differs, surname_differs = 0 <= given <= 1, 0 <= surname <= 1
    birth_differs = 0 <= birth <= lv.BIRTH_YEAR_JANUARY - 1
    if given_differs and birth_differs:
        return True
    if given_differs and surname_differs and (sex == 0 or birth < 0):
        return True
    if birth_differs and sex == 0 and (given_differs or surname_differs):
        return True
    # A common given name, or a day and a month, agree by chance; then nothing else ties the two together.
    tied = street >= lv.STREET_SAME or phone == 2 or email >= 2 or ident >= 1
    return surname_differs and not tied and (birth_differs or (given_differs and birth < lv.BIRTH_EQUAL))


__all__ = [
    "AUTOMATIC_BITS",
    "AUTOMATIC_MEAN",
    "PROBABLE_MEAN",
    "PersonScore",
    "is_overlay",
    "parts",
    "person_scores",
]
