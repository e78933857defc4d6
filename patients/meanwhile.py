"""What an import must heed of the index while it is stored: feeds that come meanwhile, and what stewards are asked.

Source: spec/mpi.md section 3.
"""

from __future__ import annotations

import uuid

from patients import blocking, bulk, store
from patients.copying import Group, Stage
from patients.deciding import person_scores
from patients.identifiers import survivors_of
from patients.matching import Grade
from patients.models import ReviewItem


class Late:
    """Records that came, or were revised, by single feeds after this run's were matched and before they are stored.

    Only who is certain is joined; what is merely probable comes up when the index is next re-clustered.
    """

    def __init__(self) -> None:
        self.records: dict[int, store.CandidateRecord] = {}
        self.by_key: dict[int, set[int]] = {}

    def add(self, after: int, last: int) -> None:
        """Take in the versions numbered above `after` up to `last`. 1 query, none where there is nothing."""
        if last <= after:
            return
        for item in store.fed_between(after, last):
            self.records[item.record_id] = item
            for key in blocking.hashes(item.features):
                self.by_key.setdefault(key, set()).add(item.record_id)

    def joins(self, stage: Stage, group: Group) -> bool:
        """Whether a group that was to be a new person is one of these by now; it is theirs then."""
        for position in group.positions:
            keys = blocking.hashes(stage.records[position])
            near = sorted({record for key in keys for record in self.by_key.get(key, ())})
            if not near:
                continue
            others = [self.records[record] for record in near]
            found = person_scores(
                stage.scorer,
                stage.records[position],
                [(item.record_id, item.person_id, item.features) for item in others],
                by_hand=store.by_hand(others),
            )
            if found and found[0].grade is Grade.CERTAIN:
                group.person, group.created = survivors_of([found[0].person_id])[found[0].person_id], False
                stage.plan.linked.update(group.positions)
                stage.overtaken[position] = found[0].best
                return True
        return False


class Asked:
    """Review items of a slice: each is stored with the later of the two records it is between."""

    def __init__(self, stage: Stage, known: dict[int, tuple[int, uuid.UUID]]) -> None:
        self.stage = stage
        self.stored = known  # position: record, person; of the positions that matter here
        self.about: dict[int, list[tuple[int, bulk.Review]]] = {}
        self.pairs: set[frozenset[uuid.UUID]] = set()
        for asking, reviews in stage.plan.reviews.items():
            for review in reviews:
                self.about.setdefault(review.about, []).append((asking, review))

    def store(self, groups: list[Group]) -> None:
        """Store what can be asked now that these are, and was neither asked nor answered before. 1 query, and 1 statement
        a thousand items."""
        reviews = self.stage.plan.reviews
        fresh: list[int] = []
        for group in groups:
            for position, (record_id, _, _) in zip(group.positions, group.ids, strict=True):
                if position in reviews or position in self.about:
                    self.stored[position] = (record_id, group.person)
                    fresh.append(position)
        due = [(position, review) for position in fresh for review in reviews.get(position, ())]
        here = set(fresh)
        due += [item for position in fresh for item in self.about.get(position, ()) if item[0] not in here]
        due.sort(key=lambda item: item[0])
        ready = [
            (self.persons(asking, review), asking, review) for asking, review in due if self._ready(asking, review)
        ]
        done = store.asked_or_apart([persons for persons, _, _ in ready])
        ReviewItem.objects.bulk_create(
            [self._item(asking, review) for persons, asking, review in ready if persons not in done],
            batch_size=1000,
            ignore_conflicts=True,
        )

    def persons(self, asking: int, review: bulk.Review) -> tuple[uuid.UUID, uuid.UUID]:
        """The persons that a review is between, both stored."""
        return self.stored[asking][1], self.stored[review.about][1]

    def _ready(self, asking: int, review: bulk.Review) -> bool:
        if asking not in self.stored or review.about not in self.stored:
            return False
        # One item for two persons is enough, however many of their records are alike.
        persons = frozenset(self.persons(asking, review))
        due = len(persons) == 2 and persons not in self.pairs
        self.pairs.add(persons)
        return due

    def _item(self, asking: int, review: bulk.Review) -> ReviewItem:
        pair = self.stage.scorer.score(self.stage.records[asking], self.stage.records[review.about])
        record_id, person = self.stored[asking]
        return ReviewItem(
            kind=ReviewItem.Kind.POSSIBLE_MATCH,
            source_record_id=record_id,
            person_id=person,
            candidate_id=self.stored[review.about][1],
            score=pair.score,
            probability=bulk.shown_probability(review),
            weights=dict(pair.weights),
            reason="; ".join(pair.reasons),
        )
