"""Several at once never make two persons of one, nor one of two, and never see a deadlock (spec/mpi.md 3, Race)."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import connections

from patients import identifiers, linking, reviewing
from patients.errors import AlreadyUndone, InvalidMerge, ReviewClosed
from patients.models import IdentityEvent, Link, Person, ReviewItem, SourceRecord
from patients.reviewing import Verdict
from tests.patients import state
from tests.patients.people import demographics, record
from tests.patients.sequences import ORGS, REFUSALS, VALUES, Sequence, somebody

pytestmark = pytest.mark.django_db(transaction=True)

MARIA = demographics()
ROBERT = demographics("Robert", "Okafor", "1955-07-30", "male", "555-111-7777", "9 Oak Av", "10001", "York")
LING = demographics("Ling", "Zhao", "1999-12-25", "female", "555-444-2222", "77 Hill Rd", "94110", "Oakland")


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Run all at the same time, each on a connection of its own; what each gave, or raised."""
    outcomes: list[Any] = [None] * len(acts)
    barrier = threading.Barrier(len(acts))

    def run(number: int) -> None:
        try:
            barrier.wait(timeout=30)
            outcomes[number] = acts[number]()
        except Exception as error:
            outcomes[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in threads), "somebody waits for ever"
    return outcomes


def people() -> tuple[UUID, UUID, UUID]:
    """Three strangers; the first has a second record."""
    one = linking.feed(record("A1", MARIA)).person_id
    assert linking.feed(record("B1", MARIA, org="hospital")).person_id == one
    return one, linking.feed(record("A2", ROBERT)).person_id, linking.feed(record("A3", LING)).person_id


def refusals(outcomes: list[Any]) -> list[type[Exception]]:
    return [type(one) for one in outcomes if isinstance(one, Exception)]


@pytest.mark.parametrize("crosswise", [False, True])
def test_two_administrators_who_merge_one_pair_make_one_merge(crosswise: bool) -> None:
    one, two, _ = people()
    before = state.dump()
    for _ in range(5):
        first, second = (one, two), (two, one) if crosswise else (one, two)
        outcomes = at_once(
            lambda: linking.merge(*first, actor="Staff/ada"),  # noqa: B023  # run before the loop goes on
            lambda: linking.merge(*second, actor="Staff/ben"),  # noqa: B023
        )
        assert refusals(outcomes) == [InvalidMerge]
        assert identifiers.survivor(one) == identifiers.survivor(two)
        linking.unmerge(next(event for event in outcomes if isinstance(event, UUID)), actor="Staff/ada")
        assert state.dump() == before


def test_three_merges_in_a_ring_make_one_person_and_never_a_circle() -> None:
    one, two, three = people()
    outcomes = at_once(
        lambda: linking.merge(one, two, actor="Staff/ada"),
        lambda: linking.merge(two, three, actor="Staff/ben"),
        lambda: linking.merge(three, one, actor="Staff/cal"),
    )
    assert refusals(outcomes) == [InvalidMerge]
    assert len(set(identifiers.survivors_of([one, two, three]).values())) == 1
    Sequence(0).consistent()


def test_a_merge_undone_by_two_at_once_is_undone_once() -> None:
    one, two, _ = people()
    before = state.dump()
    event = linking.merge(one, two, actor="Staff/ada")
    outcomes = at_once(*[lambda who=who: linking.unmerge(event, actor=who) for who in ("Staff/ada", "Staff/ben")])
    assert refusals(outcomes) == [AlreadyUndone]
    assert state.dump() == before


def test_a_merge_undone_while_its_survivor_is_merged_on_leaves_what_stands() -> None:
    one, two, three = people()
    for _ in range(5):
        event = linking.merge(one, two, actor="Staff/ada")
        outcomes = at_once(
            lambda: linking.unmerge(event, actor="Staff/ada"),  # noqa: B023
            lambda: linking.merge(three, one, actor="Staff/ben"),
        )
        assert refusals(outcomes) == []
        assert identifiers.survivors_of([one, two, three]) == {one: three, two: two, three: three}
        linking.unmerge(outcomes[1], actor="Staff/ben")


def test_two_stewards_decide_an_item_once() -> None:
    linking.feed(record("A1", MARIA))
    linking.feed(
        record("B1", demographics(birth_date="1980-03-19", phone="", line="", postal_code="", city=""), org="lab")
    )
    item = ReviewItem.objects.get()
    said = [Verdict.SAME, Verdict.DIFFERENT, Verdict.SAME]
    outcomes = at_once(
        *[lambda one=one: reviewing.settle(item.pk, one, actor="Staff/ada", reason="asked") for one in said]
    )
    assert refusals(outcomes) == [ReviewClosed, ReviewClosed]
    assert IdentityEvent.objects.filter(kind__in=["merged", "decided"]).count() == 1


def test_twenty_feeds_of_one_person_while_administrators_merge_and_part_make_no_second_person() -> None:
    one, two, three = people()

    def administrator(survivor: UUID, subsumed: UUID) -> None:
        for _ in range(6):
            event = linking.merge(survivor, subsumed, actor="Staff/ada")
            linking.unmerge(event, actor="Staff/ada")

    def clerk(number: int) -> Callable[[], Any]:
        return lambda: linking.feed(record("X1", MARIA, org=f"org{number}"))

    outcomes = at_once(
        lambda: administrator(two, one), lambda: administrator(two, three), *[clerk(number) for number in range(20)]
    )
    assert refusals(outcomes) == []
    # Whoever came while Maria was part of Robert was linked to him, by her record; nobody made her a second time.
    assert Person.objects.count() == 3
    held = Link.objects.filter(valid_to__isnull=True).exclude(kind="rejected")
    assert set(held.values_list("person_id", flat=True)) <= {one, two, three}
    assert held.count() == SourceRecord.objects.count() == 24
    Sequence(0).consistent()


def test_feeds_and_changes_of_all_kinds_at_once_end_consistent_and_without_a_deadlock() -> None:
    for n, org in enumerate(ORGS):
        linking.feed(record(f"{org[0].upper()}{n}", somebody(random.Random(n)), org=org))

    def clerk(seed: int) -> Callable[[], None]:
        def feed_on() -> None:
            draw = random.Random(seed)
            for _ in range(15):
                org = draw.choice(list(ORGS))
                linking.feed(record(f"{org[0].upper()}{draw.randrange(VALUES)}", somebody(draw), org=org))

        return feed_on

    def administrator(seed: int) -> Callable[[], int]:
        def change_on() -> int:
            sequence, done = Sequence(seed), 0
            client = sequence.clients[0]
            for _ in range(12):
                client.look()
                try:
                    verb = sequence.draw.choice(["merge", "link", "unlink", "split", "replace", "verdict", "undo"])
                    event = sequence._asked(client, verb)
                except REFUSALS:
                    continue
                if event is not None:
                    client.done.append(event)
                    done += 1
            return done

        return change_on

    outcomes = at_once(*[clerk(seed) for seed in range(5)], *[administrator(seed) for seed in range(50, 53)])
    assert refusals(outcomes) == []
    assert sum(outcomes[5:]) > 5
    sequence = Sequence(1)
    sequence.consistent()
    sequence.undo_everything()
    sequence.consistent()
