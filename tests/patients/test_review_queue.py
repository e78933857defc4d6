"""Claims that hold against another steward, verdicts that wait for a second one, and what is written down of both."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from patients import linking, review_queue
from patients.errors import NotClaimed, OwnProposal, ReviewClaimed, ReviewClosed, UnknownReview
from patients.models import ReviewAct, ReviewItem
from tests.patients.people import demographics, record

pytestmark = pytest.mark.django_db
ADA, BO = "Staff/ada", "Staff/bo"


def possible() -> ReviewItem:
    """A woman, and a record that may be hers: same name, another day of birth, moved."""
    linking.feed(record("A1", demographics()))
    moved = demographics(birth_date="1980-03-19", phone="", line="", postal_code="", city="")
    linking.feed(record("B1", moved, org="hospital"))
    return ReviewItem.objects.get(kind="possible-match")


def test_a_claim_keeps_others_out_until_it_ends_or_is_given_back() -> None:
    item, now = possible(), timezone.now()
    until = review_queue.claim(item.pk, actor=ADA, now=now)
    assert until == now + review_queue.CLAIM_LASTS
    with pytest.raises(ReviewClaimed) as refused:
        review_queue.claim(item.pk, actor=BO, now=now + timedelta(minutes=29))
    assert (refused.value.claimed_by, refused.value.until) == (ADA, until)
    assert review_queue.claim(item.pk, actor=BO, now=until) == until + review_queue.CLAIM_LASTS
    assert not review_queue.release(item.pk, actor=ADA)
    assert review_queue.release(item.pk, actor=BO)
    review_queue.claim(item.pk, actor=ADA, now=until)


def test_whoever_has_a_case_may_keep_it_for_longer() -> None:
    item, now = possible(), timezone.now()
    review_queue.claim(item.pk, actor=ADA, now=now)
    later = now + timedelta(minutes=20)
    assert review_queue.claim(item.pk, actor=ADA, now=later) == later + review_queue.CLAIM_LASTS


def test_only_the_holder_may_decide_and_late_is_not_lost_while_nobody_took_over() -> None:
    item, now = possible(), timezone.now()
    with pytest.raises(NotClaimed):
        review_queue.held(item.pk, actor=ADA)
    until = review_queue.claim(item.pk, actor=ADA, now=now)
    assert review_queue.held(item.pk, actor=ADA, now=until + timedelta(hours=2)).pk == item.pk
    with pytest.raises(ReviewClaimed):
        review_queue.held(item.pk, actor=BO, now=now)
    with pytest.raises(NotClaimed):
        review_queue.held(item.pk, actor=BO, now=until)
    review_queue.claim(item.pk, actor=BO, now=until)
    with pytest.raises(ReviewClaimed):
        review_queue.held(item.pk, actor=ADA, now=until)


def test_what_is_closed_or_unknown_cannot_be_claimed() -> None:
    item = possible()
    ReviewItem.objects.update(status="decided")
    with pytest.raises(ReviewClosed):
        review_queue.claim(item.pk, actor=ADA)
    with pytest.raises(UnknownReview):
        review_queue.claim(10**9, actor=ADA)
    assert review_queue.claim_first([10**9, item.pk], actor=ADA) is None


def test_a_proposal_is_for_anybody_but_its_maker() -> None:
    item = possible()
    review_queue.claim(item.pk, actor=ADA)
    review_queue.propose(review_queue.held(item.pk, actor=ADA), "same", actor=ADA, reason="one passport")
    for refused in (lambda: review_queue.claim(item.pk, actor=ADA), lambda: review_queue.held(item.pk, actor=ADA)):
        with pytest.raises(OwnProposal):
            refused()
    review_queue.claim(item.pk, actor=BO)
    review_queue.drop_proposal(review_queue.held(item.pk, actor=BO), actor=BO, reason="not sure")
    item.refresh_from_db()
    assert (item.status, item.proposed, item.proposed_by, item.claimed_by) == ("open", "", "", "")
    acts = list(ReviewAct.objects.order_by("pk").values_list("kind", "verdict", "actor", "reason"))
    assert acts == [("proposed", "same", ADA, "one passport"), ("rejected", "same", BO, "not sure")]


def test_a_proposal_always_has_a_maker() -> None:
    item = possible()
    with pytest.raises(IntegrityError, match="patients_review_proposal"), transaction.atomic():
        ReviewItem.objects.filter(pk=item.pk).update(proposed="same")


def test_what_was_done_cannot_be_rewritten() -> None:
    item = possible()
    review_queue.note(item.pk, "decided", "same", actor=ADA, reason="x")
    for change in (lambda: ReviewAct.objects.update(reason="y"), lambda: ReviewAct.objects.all().delete()):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            change()


def test_what_is_put_off_waits_again_on_its_day_and_opens_no_second_case() -> None:
    item, now = possible(), timezone.now()
    review_queue.claim(item.pk, actor=ADA)
    day = now + timedelta(days=7)
    review_queue.defer(review_queue.held(item.pk, actor=ADA), day, actor=ADA, reason="letter sent")
    waiting = ReviewItem.objects.filter(review_queue.waits(now))
    assert not waiting.exists()
    assert ReviewItem.objects.filter(review_queue.waits(day)).exists()
    again = demographics(birth_date="1980-03-19", phone="", line="", postal_code="", city="Ames")
    linking.feed(record("B1", again, org="hospital"))
    assert ReviewItem.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_stewards_at_once_one_gets_the_case() -> None:
    item = possible()
    for _ in range(10):
        ReviewItem.objects.filter(pk=item.pk).update(claimed_by="", claimed_until=None)
        start = threading.Barrier(2)
        got: list[str] = []
        refused: list[str] = []

        def take(actor: str, start: threading.Barrier = start, got: list[str] = got, refused: list[str] = refused) -> None:  # fmt: skip
            try:
                start.wait(10)
                review_queue.claim(item.pk, actor=actor)
                got.append(actor)
            except ReviewClaimed as error:
                refused.append(error.claimed_by)
            finally:
                connection.close()

        stewards = [threading.Thread(target=take, args=(actor,)) for actor in (ADA, BO)]
        for steward in stewards:
            steward.start()
        for steward in stewards:
            steward.join(20)
        assert len(got) == 1
        assert refused == got
        item.refresh_from_db()
        assert item.claimed_by == got[0]


@pytest.mark.django_db(transaction=True)
def test_a_case_cannot_be_taken_over_while_its_decision_is_being_written() -> None:
    item = possible()
    review_queue.claim(item.pk, actor=ADA, now=timezone.now() - timedelta(hours=1))
    outcome: list[str] = []

    def take_over() -> None:
        try:
            review_queue.claim(item.pk, actor=BO)
            outcome.append("taken")
        except ReviewClosed:
            outcome.append("closed")
        finally:
            connection.close()

    other = threading.Thread(target=take_over)
    with transaction.atomic():
        review_queue.held(item.pk, actor=ADA)
        other.start()
        other.join(0.5)
        assert outcome == []  # waits for the row
        ReviewItem.objects.filter(pk=item.pk).update(status="decided")
    other.join(20)
    assert outcome == ["closed"]
