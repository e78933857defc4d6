"""A steward's verdict is undone like any other change of identity: exactly, in any order (spec/mpi.md 2, 5)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from uuid import UUID

import pytest

from patients import identifiers, linking, reviewing
from patients.errors import AlreadyUndone, InvalidMerge, UnknownIdentityEvent
from patients.models import IdentityEvent, Link, MatchDecision, ReviewItem
from patients.reviewing import Verdict
from tests.patients import state
from tests.patients.people import demographics, record

pytestmark = pytest.mark.django_db

MARIA = demographics()
MOVED = demographics(birth_date="1980-03-19", phone="", line="", postal_code="", city="")
ROBERT = demographics("Robert", "Okafor", "1955-07-30", "male", "555-111-7777", "9 Oak Av", "10001", "York")


def settle(item: ReviewItem, verdict: str) -> UUID:
    settled = reviewing.settle(item.pk, Verdict(verdict), actor="Staff/ida", reason="asked by phone")
    assert settled.event_id is not None
    return settled.event_id


def possible() -> ReviewItem:
    linking.feed(record("A1", MARIA))
    linking.feed(record("B1", MOVED, org="hospital"))
    return ReviewItem.objects.get(kind="possible-match")


def resolved() -> ReviewItem:
    linking.feed(record("A1", MARIA))
    linking.feed(record("A2", ROBERT))
    linking.feed(record("B2", ROBERT, org="hospital"))
    surviving, subsumed = identifiers.resolve("2.999.1", "A1"), identifiers.resolve("2.999.1", "A2")
    assert surviving is not None
    assert subsumed is not None
    linking.resolve_duplicate(surviving, subsumed, actor="clinic")
    return ReviewItem.objects.get(kind="duplicate-resolved")


def doubtful() -> ReviewItem:
    one = linking.feed(record("A1", MARIA))
    two = linking.feed(record("B1", MARIA, org="hospital"))
    assert one.person_id == two.person_id
    return ReviewItem.objects.create(
        kind="doubtful-link", source_record_id=two.source_record_id, person_id=one.person_id
    )


def overlay() -> ReviewItem:
    linking.feed(record("A1", MARIA))
    linking.feed(record("A1", ROBERT))
    return ReviewItem.objects.get(kind="overlay")


@pytest.mark.parametrize("verdict", ["same", "different"])
@pytest.mark.parametrize("make", [possible, resolved, doubtful, overlay])
def test_every_verdict_is_undone_exactly_and_brought_back_exactly(make: Callable[[], ReviewItem], verdict: str) -> None:
    item = make()
    before = state.dump()
    event = settle(item, verdict)
    after = state.dump()
    assert after != before
    undone = linking.undo(event, actor="Staff/ida")
    assert state.dump() == before
    with pytest.raises(AlreadyUndone):
        linking.undo(event, actor="Staff/ida")
    linking.undo(undone, actor="Staff/ida")
    assert state.dump() == after
    linking.undo(event, actor="Staff/ida")  # it stands again, so it can be undone again
    assert state.dump() == before
    settle(ReviewItem.objects.get(pk=item.pk), verdict)  # and the item waits for a verdict


def test_a_deferred_item_waits_as_deferred_again() -> None:
    item = possible()
    reviewing.settle(item.pk, Verdict.DEFER, actor="Staff/ida", reason="later")
    before = state.dump()
    linking.undo(settle(item, "same"), actor="Staff/ida")
    assert state.dump() == before
    item.refresh_from_db()
    assert (item.status, item.claimed_by) == ("deferred", "Staff/ida")


def test_an_item_put_off_between_two_verdicts_waits_as_put_off() -> None:
    item = possible()
    undone = linking.undo(settle(item, "same"), actor="Staff/ida")
    reviewing.settle(item.pk, Verdict.DEFER, actor="Staff/ida", reason="later")
    before = state.dump()
    again = linking.undo(undone, actor="Staff/ida")
    linking.undo(again, actor="Staff/ida")
    assert state.dump() == before


def test_an_undone_adoption_of_an_overlay_recognises_the_repeated_message() -> None:
    item = overlay()
    linking.undo(settle(item, "same"), actor="Staff/ida")
    before = state.dump()
    assert linking.feed(record("A1", ROBERT)).outcome == "quarantined"
    assert state.dump() == before
    later = linking.feed(record("A1", demographics(phone="555-201-0000")))
    assert (later.outcome, later.version) == ("updated", 3)


def test_an_adoption_undone_after_a_later_revision_leaves_the_later_revision() -> None:
    event = settle(overlay(), "same")
    newer = demographics("Robert", "Okafor", "1955-07-30", "male", "555-111-0000", "9 Oak Av", "10001", "York")
    assert linking.feed(record("A1", newer)).outcome == "updated"
    before = state.rows()
    linking.undo(event, actor="Staff/ida")
    after = state.rows()
    assert after["records"] == before["records"]
    assert after["terms"] == before["terms"]
    assert ReviewItem.objects.get().status == "open"


def joined_by_the_machine() -> tuple[UUID, UUID, UUID]:
    """Two persons that a revision shows to be one; gives the survivor, whom it took in, and the event."""
    one = linking.feed(record("A1", MARIA))
    two = linking.feed(record("B1", demographics(family="Okafor", birth_date="", phone="", line=""), org="hospital"))
    assert one.person_id != two.person_id
    assert linking.feed(record("B1", MARIA, org="hospital")).outcome == "linked"
    event = IdentityEvent.objects.get(kind="merged")
    return one.person_id, two.person_id, event.id


def person_of(value: str, authority: str = "2.999.2") -> UUID:
    found = identifiers.resolve(authority, value)
    assert found is not None
    return found.person_id


def test_who_parts_what_the_machine_joined_binds_the_machine() -> None:
    one, two, event = joined_by_the_machine()
    linking.unmerge(event, actor="Staff/ida", reason="sisters")
    decision = MatchDecision.objects.get(withdrawn_at__isnull=True)
    assert (decision.verdict, decision.reviewer, decision.reason) == ("different", "Staff/ida", "sisters")
    for value, org in (("B1", "hospital"), ("A1", "clinic")):
        linking.feed(record(value, demographics(phone="555-201-9999"), org=org))
        assert (person_of("B1"), person_of("A1", "2.999.1")) == (two, one)
    assert not ReviewItem.objects.filter(status="open", kind="possible-match").exists()


def test_undoing_the_parting_withdraws_its_decision() -> None:
    one, _, event = joined_by_the_machine()
    before = state.dump()
    parted = linking.unmerge(event, actor="Staff/ida")
    apart = state.dump()
    linking.undo(parted, actor="Staff/ida")
    assert state.dump() == before
    assert person_of("B1") == one
    assert not MatchDecision.objects.filter(withdrawn_at__isnull=True).exists()
    linking.undo(event, actor="Staff/ida")
    assert state.dump() == apart


def test_undoing_a_human_merge_decides_nothing() -> None:
    item = possible()
    event = settle(item, "same")
    linking.undo(event, actor="Staff/ida")
    assert not MatchDecision.objects.filter(withdrawn_at__isnull=True).exists()
    linked = linking.link(item.source_record_id, person_of("A1", "2.999.1"), actor="Staff/ida")
    assert MatchDecision.objects.get(withdrawn_at__isnull=True).verdict == "same"
    linking.undo(linked, actor="Staff/ida")
    assert not MatchDecision.objects.filter(withdrawn_at__isnull=True).exists()


def test_a_merge_takes_back_a_different_and_its_undoing_says_it_again() -> None:
    item = possible()
    settle(item, "different")
    before = state.dump()
    event = linking.merge(person_of("A1", "2.999.1"), person_of("B1"), actor="Staff/ida")
    assert MatchDecision.objects.get(withdrawn_at__isnull=True).verdict == "open"
    linking.undo(event, actor="Staff/ida")
    assert state.dump() == before


def test_a_split_takes_several_records_into_one_new_person_and_is_undone_exactly() -> None:
    fed = [linking.feed(record(f"A{n}", MARIA, org=f"org{n}")) for n in range(4)]
    person = fed[0].person_id
    assert {one.person_id for one in fed} == {person}
    before = state.dump()
    records = [one.source_record_id for one in fed]
    event = linking.split(person, records[2:], actor="Staff/ida", reason="two women")
    made = IdentityEvent.objects.get(id=event).other_person_id
    assert [_person(one) for one in records] == [person, person, made, made]
    said = MatchDecision.objects.filter(verdict="different", withdrawn_at__isnull=True)
    assert {(row.record_a_id, row.record_b_id) for row in said} == set(itertools.product(records[:2], records[2:]))
    linking.undo(event, actor="Staff/ida")
    assert state.dump() == before
    assert identifiers.survivor(made or "") == person
    for refused in (records, [], [*records[:1], 10**9]):
        with pytest.raises(InvalidMerge):
            linking.split(person, refused, actor="Staff/ida")
    assert state.dump() == before


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_in_whatever_order_changes_are_undone_the_state_comes_back(order: tuple[int, ...]) -> None:
    fed = [
        linking.feed(record("A1", MARIA)),
        linking.feed(record("A2", ROBERT)),
        linking.feed(record("L1", ROBERT, org="lab")),
    ]
    third = linking.feed(
        record("B3", demographics("Ling", "Zhao", "1999-12-25", phone="", line="77 Hill Rd"), org="hospital")
    )
    one, two = fed[0].person_id, fed[1].person_id
    assert fed[2].person_id == two
    identifiers.anchor(two)
    before = state.dump()
    done = [
        linking.link(fed[2].source_record_id, one, actor="s"),
        linking.merge(third.person_id, two, actor="s"),
        linking.merge(one, third.person_id, actor="s"),
        linking.unlink(fed[1].source_record_id, actor="s"),
    ]
    for n in order:
        linking.undo(done[n], actor="s")
    assert state.dump() == before


def test_a_merge_is_not_brought_back_into_a_circle() -> None:
    one, two = linking.feed(record("A1", MARIA)).person_id, linking.feed(record("A2", ROBERT)).person_id
    undone = linking.unmerge(linking.merge(one, two, actor="s"), actor="s")
    linking.merge(two, one, actor="s")
    before = state.dump()
    with pytest.raises(InvalidMerge):
        linking.undo(undone, actor="s")
    assert state.dump() == before


@pytest.mark.parametrize("event", [UUID(int=1), "no id at all"])
def test_an_unknown_event_is_refused(event: UUID | str) -> None:
    with pytest.raises(UnknownIdentityEvent):
        linking.undo(event, actor="s")
    linking.feed(record("A1", MARIA))
    with pytest.raises(UnknownIdentityEvent):  # what a feed did is corrected, not undone
        linking.undo(IdentityEvent.objects.get(kind="created").id, actor="s")


def _person(source_record_id: int) -> UUID:
    return Link.objects.exclude(kind="rejected").get(source_record=source_record_id, valid_to__isnull=True).person_id
