"""Every item that waits can be decided, once, with a reason; the patients see by whom (spec/mpi.md 5)."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from hie.audit.models import AuditEvent
from hie.exchange import stewardship
from hie.exchange.access import Staff
from hie.exchange.errors import AccessRefused, BadRequest
from patients import identifiers, linking, queries
from patients.errors import AlreadyUndone, ReviewClosed, UnknownReview
from patients.models import MatchDecision, ReviewItem, SourceRecordVersion
from tests.patients.people import demographics, record

pytestmark = pytest.mark.django_db

STEWARD = Staff(user_id="ida", roles=frozenset({"steward"}), name="Ida Moss")
WHY = "Same passport, asked by phone"


def possible() -> tuple[ReviewItem, UUID, UUID]:
    """A woman, and a record that may be hers: same name, another day of birth, moved."""
    one = linking.feed(record("A1", demographics()))
    two = linking.feed(
        record("B1", demographics(birth_date="1980-03-19", phone="", line="", postal_code="", city=""), org="hospital")
    )
    item = ReviewItem.objects.get(kind="possible-match")
    assert one.person_id != two.person_id
    return item, one.person_id, two.person_id


def identity_events() -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(kind__startswith="identity-").order_by("at"))


def test_same_merges_and_tells_both_and_can_be_undone() -> None:
    item, one, two = possible()
    settled = stewardship.decide_review(item.pk, "same", STEWARD, WHY)
    assert identifiers.survivor(two) == identifiers.survivor(one)
    assert len(queries.source_records(one)) == 2
    assert {event.kind for event in identity_events()} == {"identity-merge"}
    assert {str(event.person_id) for event in identity_events()} == {str(one), str(two)}
    item.refresh_from_db()
    assert (item.status, item.decision, item.decided_by) == ("decided", "same", "Staff/ida")
    assert settled.event_id is not None
    stewardship.unmerge(settled.event_id, STEWARD, "It was the sister")
    assert identifiers.survivor(two) == two
    assert identity_events()[-1].kind == "identity-unmerge"
    with pytest.raises(AlreadyUndone):
        stewardship.unmerge(settled.event_id, STEWARD, "again")


def test_different_is_remembered_and_the_next_revision_does_not_ask_again() -> None:
    item, _, two = possible()
    stewardship.decide_review(item.pk, "different", STEWARD, WHY)
    assert identifiers.survivor(two) == two
    assert MatchDecision.objects.get(withdrawn_at__isnull=True).verdict == "different"
    linking.feed(record("B1", demographics(birth_date="1980-03-19", phone="", line="", city="Ames"), org="hospital"))
    assert not ReviewItem.objects.filter(status="open").exists()
    assert {event.kind for event in identity_events()} == {"identity-review"}


def test_deferred_stays_in_the_queue_and_can_be_decided_later() -> None:
    item, _, _ = possible()
    stewardship.decide_review(item.pk, "defer", STEWARD, "Waiting for the clinic")
    item.refresh_from_db()
    assert item.status == "deferred"
    stewardship.decide_review(item.pk, "same", STEWARD, WHY)
    with pytest.raises(ReviewClosed):
        stewardship.decide_review(item.pk, "different", STEWARD, WHY)


def overlay() -> ReviewItem:
    linking.feed(record("A1", demographics()))
    linking.feed(record("A1", demographics("Robert", "Okafor", "1955-07-30", "male")))
    return ReviewItem.objects.get(kind="overlay")


def test_an_overlay_that_is_the_same_person_takes_the_revision_in() -> None:
    item = overlay()
    stewardship.decide_review(item.pk, "same", STEWARD, "Registered without papers")
    view = queries.source_record("2.999.1", "A1")
    assert view is not None
    assert view.demographics.names[0].family == "Okafor"
    assert SourceRecordVersion.objects.filter(quarantined=True).count() == 1  # nothing is rewritten
    assert linking.feed(record("A1", demographics("Robert", "Okafor", "1955-07-30", "male"))).outcome == "unchanged"


def test_an_overlay_of_another_person_keeps_the_former_version() -> None:
    item = overlay()
    stewardship.decide_review(item.pk, "different", STEWARD, "Number used twice")
    view = queries.source_record("2.999.1", "A1")
    assert view is not None
    assert view.demographics.names[0].family == "Smithson"
    again = linking.feed(record("A1", demographics("Robert", "Okafor", "1955-07-30", "male")))
    assert again.outcome == "quarantined"
    assert not ReviewItem.objects.filter(status="open").exists()


@pytest.mark.parametrize("verdict", ["same", "different"])
def test_a_doubtful_link_is_kept_or_taken_apart(verdict: str) -> None:
    one = linking.feed(record("A1"))
    two = linking.feed(record("B1", org="hospital"))
    assert one.person_id == two.person_id
    item = ReviewItem.objects.create(
        kind="doubtful-link", source_record_id=two.source_record_id, person_id=one.person_id
    )
    stewardship.decide_review(item.pk, verdict, STEWARD, WHY)
    found = identifiers.resolve("2.999.2", "B1")
    assert found is not None
    assert (found.person_id == one.person_id) is (verdict == "same")
    expected = "identity-review" if verdict == "same" else "identity-unlink"
    assert {event.kind for event in identity_events()} == {expected}


def test_who_may_not_or_gives_no_reason_decides_nothing() -> None:
    item, one, two = possible()
    for roles in ("auditor", "operator", "onboarding", ""):
        with pytest.raises(AccessRefused):
            stewardship.decide_review(item.pk, "same", replace(STEWARD, roles=frozenset({roles})), WHY)
    for verdict, reason in (("same", " "), ("maybe", WHY), ("", WHY)):
        with pytest.raises(BadRequest):
            stewardship.decide_review(item.pk, verdict, STEWARD, reason)
    with pytest.raises(UnknownReview):
        stewardship.decide_review(10**9, "same", STEWARD, WHY)
    with pytest.raises(AccessRefused):
        stewardship.merge_persons(one, two, replace(STEWARD, roles=frozenset()), WHY)
    assert identifiers.survivor(two) == two
    assert identity_events() == []


def test_an_item_whose_persons_are_merged_is_answered_and_asked_again_when_they_are_parted() -> None:
    item, one, two = possible()
    event = stewardship.merge_persons(one, two, STEWARD, WHY)
    item.refresh_from_db()
    assert (item.status, item.decision, item.decided_by) == ("decided", "same", "Staff/ida")
    with pytest.raises(ReviewClosed):
        stewardship.decide_review(item.pk, "same", STEWARD, WHY)
    stewardship.unmerge(event, STEWARD, "It was the sister")
    item.refresh_from_db()
    assert (item.status, item.decision, item.decided_by, item.decided_at) == ("open", "", "", None)


def test_the_records_stand_side_by_side_with_words_for_agreement() -> None:
    item, _, _ = possible()
    pair = stewardship.pair(item)
    rows = {row.name: row for row in pair.rows}
    assert len(pair.columns) == 2
    assert rows["Family name"].compared == "The same"
    assert rows["Born"].compared == "Different"
    assert rows["Born"].values == ("1980-03-19", "1980-03-14")
    assert rows["Phone"].compared == "Not compared"
    assert [verdict for verdict, _, _ in pair.choices] == ["same", "different", "defer"]
