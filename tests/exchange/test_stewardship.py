"""Every item that waits can be decided, once, with a reason; the patients see by whom (spec/mpi.md 5)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from documents.metadata import CX
from hie.audit.models import AuditEvent
from hie.exchange import review_stakes, stewardship
from hie.exchange.access import Staff
from hie.exchange.errors import AccessRefused, BadRequest
from hie.exchange.stewardship import Done
from hie.trust import staff_accounts
from hie.trust.errors import FourEyes
from patients import identifiers, linking, maintenance, queries
from patients.errors import NotClaimed, OwnProposal, ReviewClosed, UnknownReview
from patients.models import MatchDecision, ReviewAct, ReviewItem, SourceRecordVersion
from patients.reviewing import Verdict
from tests.documents.samples import ALICE, ALICE_ELSEWHERE, entry, register, submission
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


def decided(item: ReviewItem, verdict: str, reason: str = WHY) -> Done:
    """What a steward does: take the case, then decide it."""
    stewardship.claim_review(item.pk, STEWARD)
    return stewardship.decide_review(item.pk, verdict, STEWARD, reason)


def identity_events() -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(kind__startswith="identity-").order_by("at"))


def test_same_merges_and_tells_both_and_can_be_undone() -> None:
    item, one, two = possible()
    settled = decided(item, "same", WHY)
    assert identifiers.survivor(two) == identifiers.survivor(one)
    assert len(queries.source_records(one)) == 2
    assert {event.kind for event in identity_events()} == {"identity-merge"}
    assert {str(event.person_id) for event in identity_events()} == {str(one), str(two)}
    item.refresh_from_db()
    assert (item.status, item.decision, item.decided_by) == ("decided", "same", "Staff/ida")
    assert settled.event_id is not None
    stewardship.undo_review(item.pk, STEWARD, "It was the sister")
    assert identifiers.survivor(two) == two
    assert identity_events()[-1].kind == "identity-unmerge"
    with pytest.raises(BadRequest):
        stewardship.undo_review(item.pk, STEWARD, "again")


def test_different_is_remembered_and_the_next_revision_does_not_ask_again() -> None:
    item, _, two = possible()
    decided(item, "different", WHY)
    assert identifiers.survivor(two) == two
    assert MatchDecision.objects.get(withdrawn_at__isnull=True).verdict == "different"
    linking.feed(record("B1", demographics(birth_date="1980-03-19", phone="", line="", city="Ames"), org="hospital"))
    assert not ReviewItem.objects.filter(status="open").exists()
    assert {event.kind for event in identity_events()} == {"identity-review"}


def test_deferred_stays_in_the_queue_and_can_be_decided_later() -> None:
    item, _, _ = possible()
    stewardship.claim_review(item.pk, STEWARD)
    for day in (None, timezone.now(), timezone.now() + timedelta(days=400)):
        with pytest.raises(BadRequest):
            stewardship.decide_review(item.pk, "defer", STEWARD, "Waiting for the clinic", until=day)
    tomorrow = timezone.now() + timedelta(days=1)
    stewardship.decide_review(item.pk, "defer", STEWARD, "Waiting for the clinic", until=tomorrow)
    item.refresh_from_db()
    assert item.status == "deferred"
    decided(item, "same", WHY)
    with pytest.raises(ReviewClosed):
        decided(item, "different", WHY)


def overlay() -> ReviewItem:
    linking.feed(record("A1", demographics()))
    linking.feed(record("A1", demographics("Robert", "Okafor", "1955-07-30", "male")))
    return ReviewItem.objects.get(kind="overlay")


def test_an_overlay_that_is_the_same_person_takes_the_revision_in() -> None:
    item = overlay()
    decided(item, "same", "Registered without papers")
    view = queries.source_record("2.999.1", "A1")
    assert view is not None
    assert view.demographics.names[0].family == "Okafor"
    assert SourceRecordVersion.objects.filter(quarantined=True).count() == 1  # nothing is rewritten
    assert linking.feed(record("A1", demographics("Robert", "Okafor", "1955-07-30", "male"))).outcome == "unchanged"


def test_an_overlay_of_another_person_keeps_the_former_version() -> None:
    item = overlay()
    decided(item, "different", "Number used twice")
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
    decided(item, verdict, WHY)
    found = identifiers.resolve("2.999.2", "B1")
    assert found is not None
    assert (found.person_id == one.person_id) is (verdict == "same")
    expected = "identity-review" if verdict == "same" else "identity-unlink"
    assert {event.kind for event in identity_events()} == {expected}


def test_who_may_not_or_gives_no_reason_decides_nothing() -> None:
    item, _, two = possible()
    for roles in ("auditor", "operator", "onboarding", ""):
        with pytest.raises(AccessRefused):
            stewardship.decide_review(item.pk, "same", replace(STEWARD, roles=frozenset({roles})), WHY)
    for verdict, reason in (("same", " "), ("maybe", WHY), ("", WHY)):
        with pytest.raises(BadRequest):
            stewardship.decide_review(item.pk, verdict, STEWARD, reason)
    with pytest.raises(UnknownReview):
        stewardship.decide_review(10**9, "same", STEWARD, WHY)
    assert identifiers.survivor(two) == two
    assert identity_events() == []


def test_an_item_whose_persons_are_merged_is_answered_and_asked_again_when_they_are_parted() -> None:
    item, one, two = possible()
    event = linking.merge(one, two, actor="Staff/ida", reason=WHY)
    item.refresh_from_db()
    assert (item.status, item.decision, item.decided_by) == ("decided", "same", "Staff/ida")
    with pytest.raises(ReviewClosed):
        stewardship.decide_review(item.pk, "same", STEWARD, WHY)
    linking.undo(event, actor="Staff/ida", reason="It was the sister")
    item.refresh_from_db()
    assert (item.status, item.decision, item.decided_by, item.decided_at) == ("open", "", "", None)


def documented(local_id: str = "A1", authority: str = "2.999.1") -> None:
    """A document that hangs on this identifier."""
    found = identifiers.resolve(authority, local_id)
    assert found is not None
    cx = CX(value=local_id, authority=authority)
    one = entry(patient_id=cx)
    register(submission(one, patient_id=cx), {cx: found.pk, ALICE: found.pk, ALICE_ELSEWHERE: found.pk})


BO = replace(STEWARD, user_id="bo", name="Bo Reed")


def test_a_verdict_that_moves_documents_waits_for_another_steward_and_moves_nothing_before() -> None:
    item, one, two = possible()
    documented()
    first = decided(item, "same", "one passport")
    assert (first.act, first.event_id) == ("proposed", None)
    assert identifiers.survivor(two) == two
    assert {event.kind for event in identity_events()} == {"identity-review"}
    with pytest.raises(OwnProposal):
        stewardship.claim_review(item.pk, STEWARD)
    with pytest.raises(OwnProposal):
        stewardship.confirm_review(item.pk, STEWARD, "me again")
    with pytest.raises(NotClaimed):
        stewardship.confirm_review(item.pk, BO, WHY)
    assert identifiers.survivor(two) == two
    stewardship.claim_review(item.pk, BO)
    with pytest.raises(BadRequest):
        stewardship.decide_review(item.pk, "different", BO, WHY)
    done = stewardship.confirm_review(item.pk, BO, "the passport is on file")
    assert done.act == "confirmed"
    assert identifiers.survivor(two) == identifiers.survivor(one)
    acts = list(ReviewAct.objects.order_by("pk").values_list("kind", "actor", "reason"))
    assert acts == [("proposed", "Staff/ida", "one passport"), ("confirmed", "Staff/bo", "the passport is on file")]


def test_a_steward_whose_account_the_first_made_is_no_second_steward() -> None:
    accounts = {name: User.objects.create_user(name, is_staff=True) for name in ("ida", "bo", "eva")}
    staff_accounts.note(accounts["bo"], staff_accounts.Kind.CREATED, by=accounts["ida"].pk)
    item, one, two = possible()
    documented()
    decided(item, "same", "one passport")
    stewardship.claim_review(item.pk, BO)
    with pytest.raises(FourEyes, match="made by the other"):
        stewardship.confirm_review(item.pk, BO, WHY)
    assert identifiers.survivor(two) == two
    (refused,) = [event for event in identity_events() if event.outcome == 4]
    assert (refused.user, refused.reason, refused.detail["review"]) == ("Staff/bo", "four-eyes", item.pk)
    stewardship.release_review(item.pk, BO)
    other = replace(STEWARD, user_id="eva")
    stewardship.claim_review(item.pk, other)
    assert stewardship.confirm_review(item.pk, other, WHY).act == "confirmed"
    assert identifiers.survivor(two) == identifiers.survivor(one)


def test_a_proposal_is_rejected_by_another_steward_or_taken_back_by_its_own() -> None:
    item, _, two = possible()
    documented()
    decided(item, "same")
    with pytest.raises(BadRequest):
        stewardship.undo_review(item.pk, BO, "not mine")
    assert stewardship.undo_review(item.pk, STEWARD, "too early").act == "withdrawn"
    decided(item, "same")
    stewardship.claim_review(item.pk, BO)
    assert stewardship.reject_review(item.pk, BO, "another address").act == "rejected"
    item.refresh_from_db()
    assert (item.status, item.proposed) == ("open", "")
    assert identifiers.survivor(two) == two
    assert decided(item, "different").act == "decided"  # keeping apart moves nothing


def test_an_overlay_and_a_link_taken_out_need_a_second_steward_only_for_the_verdict_that_moves() -> None:
    item = overlay()
    documented()
    assert review_stakes.documents_moved(item, Verdict.SAME) == 1
    assert review_stakes.documents_moved(item, Verdict.DIFFERENT) == 0
    item.kind = "doubtful-link"
    assert review_stakes.documents_moved(item, Verdict.DIFFERENT) == 1
    assert review_stakes.documents_moved(item, Verdict.SAME) == 0


def test_what_was_decided_is_undone_and_the_case_waits_again() -> None:
    item, one, two = possible()
    for verdict in ("same", "different"):
        decided(item, verdict)
        item.refresh_from_db()
        assert item.status == "decided"
        undone = stewardship.undo_review(item.pk, BO, "It was the sister")
        assert undone.act == "undone"
        item.refresh_from_db()
        assert (item.status, item.decision) == ("open", "")
        assert (identifiers.survivor(one), identifiers.survivor(two)) == (one, two)
        assert not MatchDecision.objects.filter(withdrawn_at__isnull=True).exists()
    with pytest.raises(BadRequest):
        stewardship.undo_review(item.pk, BO, "again")


def test_a_deferral_is_undone() -> None:
    item, _, _ = possible()
    stewardship.claim_review(item.pk, STEWARD)
    stewardship.decide_review(item.pk, "defer", STEWARD, WHY, until=timezone.now() + timedelta(days=9))
    assert stewardship.undo_review(item.pk, BO, "The letter came").act == "resumed"
    item.refresh_from_db()
    assert item.status == "open"


def test_one_record_alone_goes_to_the_other_person() -> None:
    item, one, two = possible()
    third = linking.feed(record("C1", demographics(birth_date="1980-03-19", line="", postal_code="", phone="", city="", national_id="900-11-2233"), org="lab"))  # fmt: skip
    if third.person_id != two:
        linking.link(third.source_record_id, two, actor="x", reason="by hand")
    item = ReviewItem.objects.get(pk=item.pk)
    moved = item.source_record_id
    here, there = review_stakes.sides(item)
    stewardship.claim_review(item.pk, STEWARD)
    assert stewardship.decide_review(item.pk, "link", STEWARD, WHY).act == "decided"
    members = {view.source_record_id for view in queries.source_records(there or one)}
    assert moved in members
    assert third.source_record_id not in members
    stewardship.undo_review(item.pk, STEWARD, "no")
    assert moved in {view.source_record_id for view in queries.source_records(here)}


def test_what_stewards_call_one_person_is_learned_from_until_it_is_undone() -> None:
    item, _, _ = possible()
    decided(item, "same")
    ((_, _, same),) = maintenance._reviewed()
    assert same
    stewardship.undo_review(item.pk, STEWARD, "no")
    assert maintenance._reviewed() == []
    decided(item, "different")
    ((_, _, same),) = maintenance._reviewed()
    assert not same
