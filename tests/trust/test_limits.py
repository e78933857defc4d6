"""Limits per participant: in Redis, and without it."""

from __future__ import annotations

import pytest

from hie.directory.models import Participant
from hie.standards.facts import Caller
from hie.trust import limits
from hie.trust.errors import TooManyRequests
from tests.trust.conftest import ask

pytestmark = [pytest.mark.django_db, pytest.mark.urls("hie.trust.urls"), pytest.mark.usefixtures("directory")]
CLINIC = Caller(participant_id="org-clinic", organization_id="org-clinic", client_id="c", user_id="u")
HOSPITAL = Caller(participant_id="org-hospital", organization_id="org-hospital", client_id="h", user_id="u")


@pytest.fixture(params=["redis", "redis-away"])
def counted_in(request, settings, monkeypatch):
    monkeypatch.setattr(limits, "_away_until", 0.0)
    monkeypatch.setattr(limits, "_local", limits._Local())
    if request.param == "redis-away":
        settings.REDIS_URL = "redis://127.0.0.1:1/0"
    return request.param


def passes(caller: Caller, times: int) -> int:
    passed = 0
    for _ in range(times):
        try:
            with limits.admit(caller):
                passed += 1
        except TooManyRequests:
            continue
    return passed


def test_beyond_the_burst_a_participant_waits_and_others_do_not(counted_in, settings):
    settings.PARTICIPANT_LIMITS = {"rate_per_s": 0.01, "burst": 3, "concurrency": 9}
    assert passes(CLINIC, 5) == 3
    assert passes(HOSPITAL, 5) == 3


def test_a_participant_may_have_limits_of_its_own(counted_in, settings):
    settings.PARTICIPANT_LIMITS = {"rate_per_s": 0.01, "burst": 3, "concurrency": 9}
    Participant.objects.filter(pk="org-hospital").update(burst=7)
    assert (passes(CLINIC, 9), passes(HOSPITAL, 9)) == (3, 7)


def test_only_so_many_at_the_same_time_and_a_slot_is_free_again_after_an_error(counted_in, settings):
    settings.PARTICIPANT_LIMITS = {"concurrency": 2}
    with limits.admit(CLINIC), limits.admit(CLINIC):
        with pytest.raises(TooManyRequests, match="at the same time"), limits.admit(CLINIC):
            pass
        with limits.admit(HOSPITAL):
            pass
    with pytest.raises(ZeroDivisionError), limits.admit(CLINIC):
        1 / 0  # noqa: B018 - leaves the block by an error
    with limits.admit(CLINIC), limits.admit(CLINIC):
        pass


def test_guessing_is_counted_apart_from_the_rate(counted_in, settings):
    settings.GUESSING_PER_MINUTE = 4
    for number in range(4):
        limits.guessing(CLINIC, f"urn:oid:2.999.10.1.1|{number}")
    with pytest.raises(TooManyRequests, match="guessing"):
        limits.guessing(CLINIC, "patient-identifier")
    limits.guessing(HOSPITAL, "patient-identifier")
    assert passes(CLINIC, 2) == 2


def test_refused_token_requests_end_in_429_with_retry_after(settings):
    settings.REFUSED_TOKENS_PER_MINUTE = 2
    statuses = [ask("garbage").status_code for _ in range(3)]
    assert statuses == [401, 401, 429]
    assert int(ask("garbage")["Retry-After"]) >= 1


def test_admission_costs_one_statement(django_assert_num_queries):
    passes(CLINIC, 1)
    with django_assert_num_queries(1), limits.admit(CLINIC):
        pass


def held_slots() -> int:
    return limits._redis().zcard(f"{limits._PREFIX}{{org-clinic}}:slots")


def test_a_slot_given_back_on_a_connection_that_was_closed_is_given_back_with_the_next_question(settings):
    settings.PARTICIPANT_LIMITS = {"concurrency": 9}
    passes(CLINIC, 1)
    limits._line().ask("PING")
    with limits.admit(CLINIC):
        before = held_slots()
        # Closed by the other end: the first write to it raises nothing.
        limits._redis().client_kill_filter(_id=limits._line().ask("CLIENT", "ID"))
    passes(HOSPITAL, 1)
    assert (before, held_slots()) == (1, 0)


def test_any_number_of_threads_is_counted_in_redis(settings):
    assert [limits._Line(settings.REDIS_URL).ask("PING") for _ in range(120)] == [b"PONG"] * 120
