"""Notices: told if and only if what happened committed, and by one worker at a time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from hie.outbox import outbox
from hie.outbox.outbox import Topic


@pytest.mark.django_db
def test_a_notice_of_a_transaction_that_rolled_back_was_never_there() -> None:
    with transaction.atomic():
        outbox.add(Topic.DOCUMENTS, "urn:uuid:1", {"kind": "new"})
        transaction.set_rollback(True)
    assert outbox.claim(Topic.DOCUMENTS) == []


@pytest.mark.django_db
def test_notices_are_claimed_oldest_first_and_not_twice_while_leased() -> None:
    outbox.add(Topic.CONSENT, "a", {"n": 1})
    outbox.add_all(Topic.CONSENT, [("b", {}), ("c", {})])
    outbox.add(Topic.PATIENTS, "other")
    first = outbox.claim(Topic.CONSENT, limit=2)
    assert [(one.key, one.payload, one.attempts) for one in first] == [("a", {"n": 1}, 1), ("b", {}, 1)]
    assert [one.key for one in outbox.claim(Topic.CONSENT)] == ["c"]
    assert outbox.claim(Topic.CONSENT) == []


@pytest.mark.django_db
def test_a_claim_that_nobody_finished_comes_back_after_its_lease() -> None:
    outbox.add(Topic.CONSENT, "a")
    outbox.claim(Topic.CONSENT, lease_s=60)
    later = timezone.now() + timedelta(seconds=61)
    assert [one.attempts for one in outbox.claim(Topic.CONSENT, now=later)] == [2]


@pytest.mark.django_db
def test_a_delivered_notice_is_done_and_not_claimed_again() -> None:
    outbox.add(Topic.CONSENT, "a")
    (notice,) = outbox.claim(Topic.CONSENT)
    assert outbox.delivered([notice.id]) == 1
    assert outbox.delivered([notice.id]) == 0
    later = timezone.now() + timedelta(days=1)
    assert outbox.claim(Topic.CONSENT, now=later) == []


@pytest.mark.django_db
def test_a_failed_notice_waits_longer_each_time() -> None:
    outbox.add(Topic.CONSENT, "a")
    now, waits = timezone.now(), []
    for _ in range(14):
        (notice,) = outbox.claim(Topic.CONSENT, now=now)
        due = outbox.failed(notice, "down", now=now)
        waits.append((due - now).total_seconds())
        assert outbox.claim(Topic.CONSENT, now=now) == []
        now = due
    assert waits[:4] == [2, 4, 8, 16]
    assert max(waits) == outbox.MAX_BACKOFF_S


@pytest.mark.django_db(transaction=True)
def test_two_workers_never_claim_the_same_notice() -> None:
    outbox.add_all(Topic.CONSENT, [(str(n), {}) for n in range(4)])
    other = connection.copy()
    try:
        with transaction.atomic():
            mine = {one.id for one in outbox.claim(Topic.CONSENT, limit=2)}
            with other.cursor() as cursor:
                cursor.execute(
                    "SELECT id FROM outbox_outboxmessage WHERE next_attempt_at <= now() FOR UPDATE SKIP LOCKED"
                )
                theirs = {pk for (pk,) in cursor.fetchall()}
        assert len(mine) == len(theirs) == 2
        assert not mine & theirs
    finally:
        other.close()
