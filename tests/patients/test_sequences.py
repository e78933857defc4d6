"""Undoing what was done, in any order, leaves what the feeds say; arrival order does not matter (spec/mpi.md 2, 6)."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from django.db import transaction

from patients import linking
from patients.models import MatchDecision
from tests.patients.people import record
from tests.patients.sequences import ORGS, Sequence, somebody

pytestmark = pytest.mark.django_db

PORTION = 50


def run(seeds: range, *, probes: float) -> Counter[str]:
    """Each sequence in an index of its own, which is taken back afterwards."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        sequence = Sequence(seed, probes=probes)
        with transaction.atomic():
            try:
                sequence.run()
            except AssertionError as error:
                raise AssertionError(f"sequence {seed}: {error}") from error
            finally:
                transaction.set_rollback(True)
        counts.update(sequence.counts)
    return counts


def relinked(seeds: range) -> int:
    """The same records in three orders of arrival; gives the number of persons of several records."""
    persons = 0
    for seed in seeds:
        draw = random.Random(seed)
        feeds = [
            record(f"{org[0].upper()}{n}", somebody(draw), org=org) for org in ORGS for n in range(draw.randint(2, 5))
        ]
        pairs = [draw.sample(feeds, 2) for _ in range(draw.randrange(3))]
        found = []
        for _ in range(3):
            draw.shuffle(feeds)
            with transaction.atomic():
                fed = {feed.value: linking.feed(feed).source_record_id for feed in feeds}
                for one, other in pairs:
                    keep_apart(fed[one.value], fed[other.value])
                found.append(Sequence(seed).persons_after_a_relink())
                transaction.set_rollback(True)
        assert found[0] == found[1] == found[2], f"sequence {seed}"
        persons += len(found[0])
    return persons


def keep_apart(one: int, other: int) -> None:
    """Somebody has said that two records are two people."""
    first, second = sorted((one, other))
    if not MatchDecision.objects.filter(record_a=first, record_b=second).exists():
        MatchDecision.objects.create(record_a_id=first, record_b_id=second, verdict="different", reviewer="Staff/ada")


def test_a_few_sequences_come_back_to_what_the_feeds_say() -> None:
    counts = run(range(15), probes=0.1)
    assert counts["probes"] > 10
    for verb in ("merge", "link", "unlink", "split", "replace", "verdict", "undo", "feed", "refused"):
        assert counts[verb] > 0, verb


def test_records_that_arrive_in_another_order_are_the_same_persons_after_a_relink() -> None:
    assert relinked(range(5)) > 2


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 1000, PORTION))
def test_a_thousand_sequences_of_thirty_operations_come_back_to_what_the_feeds_say(first: int) -> None:
    assert run(range(1000 + first, 1000 + first + PORTION), probes=0.1)["probes"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 1000, PORTION))
def test_a_thousand_sets_of_records_are_the_same_persons_in_any_order_of_arrival(first: int) -> None:
    assert relinked(range(first, first + PORTION)) > 0
