"""What somebody changes about identities can be undone exactly (spec/mpi.md 2; bar 16)."""

from __future__ import annotations

import random
from uuid import UUID

import pytest

from patients import changes, identifiers, linking, queries
from patients.errors import AlreadyUndone, InvalidMerge, UnknownIdentityEvent, UnknownPatient
from patients.models import Link, Person, ReviewItem, SourceRecord
from tests.patients import state
from tests.patients.people import demographics, record

pytestmark = pytest.mark.django_db

STRANGERS = [
    demographics("Maria", "Smithson", "1980-03-14"),
    demographics("Robert", "Okafor", "1955-07-30", "male", "555-111-7777", "9 Oak Av", "10001", "York"),
    demographics("Ling", "Zhao", "1999-12-25", "female", "555-444-2222", "77 Hill Rd", "94110", "Oakland"),
    demographics("Pavel", "Novak", "1971-09-09", "male", "555-666-3333", "5 Elm Ct", "30301", "Atlanta"),
]


def _people() -> tuple[list[int], list[UUID]]:
    """Four persons, the first two with two records and an anchor each."""
    results = [linking.feed(record(f"A{n}", person)) for n, person in enumerate(STRANGERS)]
    results += [linking.feed(record(f"B{n}", STRANGERS[n], org="hospital")) for n in range(2)]
    persons = list(dict.fromkeys(item.person_id for item in results))
    assert len(persons) == 4
    for person in persons[:2]:
        identifiers.anchor(person)
    return [item.source_record_id for item in results], persons


def test_merge_then_unmerge_restores_everything() -> None:
    _, persons = _people()
    before = state.dump()
    pks = {person: identifiers.identifier_pks(person) for person in persons}
    event = linking.merge(persons[0], persons[1], actor="steward", reason="same person")
    assert identifiers.survivor(persons[1]) == persons[0]
    assert sorted(identifiers.identifier_pks(persons[0])) == sorted(pks[persons[0]] + pks[persons[1]])
    linking.unmerge(event, actor="steward")
    assert state.dump() == before
    assert {person: identifiers.identifier_pks(person) for person in persons} == pks
    with pytest.raises(AlreadyUndone):
        linking.unmerge(event, actor="steward")


def test_unmerge_keeps_what_happened_in_between() -> None:
    records, persons = _people()
    event = linking.merge(persons[0], persons[1], actor="steward")
    since = linking.feed(record("C1", STRANGERS[1], org="lab"))
    assert since.person_id == persons[0]
    linking.link(records[1], persons[2], actor="steward", reason="belongs to Ling")
    linking.unmerge(event, actor="steward")
    assert identifiers.persons_of([since.identifier_pk])[since.identifier_pk] == persons[0]
    assert _person_of(records[1]) == persons[2]
    assert _person_of(records[5]) == persons[1]


def test_unmerge_works_after_the_survivor_was_merged_on() -> None:
    records, persons = _people()
    first = linking.merge(persons[0], persons[1], actor="steward")
    linking.merge(persons[2], persons[0], actor="steward")
    assert identifiers.survivor(persons[1]) == persons[2]
    linking.unmerge(first, actor="steward")
    assert _person_of(records[1]) == persons[1]
    assert _person_of(records[0]) == persons[2]
    assert identifiers.survivor(persons[1]) == persons[1]


def test_link_and_unlink_are_undone_exactly() -> None:
    records, persons = _people()
    before = state.dump()
    linked = linking.link(records[3], persons[0], actor="steward", reason="same")
    assert identifiers.survivor(persons[3]) == persons[0]
    middle = state.dump()
    unlinked = linking.unlink(records[0], actor="steward", reason="different")
    assert _person_of(records[0]) not in persons
    assert Link.objects.filter(kind="rejected", source_record=records[0], person=persons[0]).exists()
    linking.undo(unlinked, actor="steward")
    assert state.dump() == middle
    linking.undo(linked, actor="steward")
    assert state.dump() == before


@pytest.mark.parametrize("seed", range(12))
def test_any_sequence_of_changes_is_undone_exactly(seed: int) -> None:
    draw = random.Random(seed)
    records, persons = _people()
    known = list(persons)
    done: list[tuple[UUID, str]] = []
    for _ in range(7):
        before = state.dump()
        current = [p.id for p in Person.objects.filter(merged_into__isnull=True).order_by("created_at", "pk")]
        try:
            match draw.choice(["merge", "merge", "link", "unlink", "replace", "undo"]):
                case "merge":
                    a, b = draw.sample(current, 2)
                    done.append((linking.merge(a, b, actor="s"), before))
                case "link":
                    done.append((linking.link(draw.choice(records), draw.choice(current), actor="s"), before))
                case "unlink":
                    done.append((linking.unlink(draw.choice(records), actor="s"), before))
                case "replace":
                    a, b = (f"A{n}" for n in draw.sample(range(4), 2))
                    one, other = identifiers.resolve("2.999.1", a), identifiers.resolve("2.999.1", b)
                    assert one is not None
                    assert other is not None
                    done.append((linking.resolve_duplicate(one, other, actor="s"), before))
                case _ if done:
                    event, was = done.pop()
                    linking.undo(event, actor="s")
                    assert state.dump() == was
        except (InvalidMerge, UnknownPatient, ValueError):
            assert state.dump() == before
    while done:
        event, was = done.pop()
        linking.undo(event, actor="s")
        assert state.dump() == was
    assert [_person_of(item) for item in records] == [*known, *known[:2]]


def test_a_resolved_duplicate_follows_the_surviving_record() -> None:
    one = linking.feed(record("A1"))
    two = linking.feed(record("A2", STRANGERS[1]))
    surviving, duplicate = identifiers.resolve("2.999.1", "A1"), identifiers.resolve("2.999.1", "A2")
    assert surviving is not None
    assert duplicate is not None
    event = linking.resolve_duplicate(surviving, duplicate, actor="clinic")
    after = identifiers.resolve("2.999.1", "A2")
    assert after is not None
    assert (after.person_id, after.active) == (one.person_id, False)
    assert identifiers.survivor(two.person_id) == one.person_id
    view = queries.source_record("2.999.1", "A2")
    assert view is not None
    assert view.replaced_by == ("2.999.1", "A1")
    assert [item.person_id for item in queries.candidates(STRANGERS[1])] == []
    with pytest.raises(InvalidMerge):
        linking.resolve_duplicate(surviving, after, actor="clinic")
    linking.undo(event, actor="clinic")
    back = identifiers.resolve("2.999.1", "A2")
    assert back is not None
    assert (back.person_id, back.active) == (two.person_id, True)
    assert queries.candidates(STRANGERS[1])[0].person_id == two.person_id


def test_undoing_a_resolved_duplicate_does_not_bring_back_a_record_removed_since() -> None:
    linking.feed(record("A1"))
    two = linking.feed(record("A2", STRANGERS[1]))
    event = _resolve("A1", "A2")
    subsumed = identifiers.resolve("2.999.1", "A2")
    assert subsumed is not None
    changes.remove(subsumed, actor="clinic")
    linking.undo(event, actor="clinic")
    assert SourceRecord.objects.get(pk=two.source_record_id).status == "removed"
    assert queries.candidates(STRANGERS[1]) == []


def test_a_resolved_duplicate_leaves_other_organizations_records_and_asks() -> None:
    linking.feed(record("A1"))
    two = linking.feed(record("A2", STRANGERS[1]))
    other = linking.feed(record("B2", STRANGERS[1], org="hospital"))
    surviving, duplicate = identifiers.resolve("2.999.1", "A1"), identifiers.resolve("2.999.1", "A2")
    assert surviving is not None
    assert duplicate is not None
    linking.resolve_duplicate(surviving, duplicate, actor="clinic")
    assert identifiers.person_of_pk(other.identifier_pk) == two.person_id
    assert ReviewItem.objects.get().kind == "duplicate-resolved"


def _resolve(surviving: str, duplicate: str) -> UUID:
    one, two = identifiers.resolve("2.999.1", surviving), identifiers.resolve("2.999.1", duplicate)
    assert one is not None
    assert two is not None
    return linking.resolve_duplicate(one, two, actor="clinic")


def test_a_chain_of_resolved_duplicates_ends_with_everybody_at_the_last_survivor() -> None:
    fed = [linking.feed(record(f"A{n}", STRANGERS[n])) for n in range(3)]
    identifiers.anchor(fed[1].person_id)
    records, persons = [item.source_record_id for item in fed], [item.person_id for item in fed]
    _resolve("A1", "A0")
    before = state.dump()
    last = _resolve("A2", "A1")
    assert [_person_of(item) for item in records] == [persons[2]] * 3
    assert [identifiers.survivor(item) for item in persons] == [persons[2]] * 3
    assert not identifiers.identifier_pks(persons[1])  # the anchor came along, with what hangs on it
    assert not ReviewItem.objects.exists()
    linking.undo(last, actor="clinic")
    assert state.dump() == before


@pytest.mark.parametrize("kind", ["itself", "merged", "unknown"])
def test_an_impossible_merge_is_refused(kind: str) -> None:
    _, persons = _people()
    linking.merge(persons[0], persons[1], actor="s")
    other = {"itself": persons[2], "merged": persons[1], "unknown": UUID(int=1)}[kind]
    with pytest.raises((InvalidMerge, UnknownPatient)):
        linking.merge(persons[2], other, actor="s")
    with pytest.raises(UnknownIdentityEvent):
        linking.undo(UUID(int=1), actor="s")


def _person_of(source_record_id: int) -> UUID:
    link = Link.objects.exclude(kind="rejected").get(source_record=source_record_id, valid_to__isnull=True)
    return link.person_id
