"""The directory as others ask it: now, cheaply, with inheritance."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction

from hie.directory import periods, queries, registration
from hie.directory.models import Participant
from tests.directory.forms import clinic, community, file, hospital, ward

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def directory():
    registration.apply(
        file(
            clinic(agreement={"status": "active", "period": {"start": "2026-01-01", "end": "2026-12"}}),
            hospital(agreement={"status": "active", "period": {"start": "2026-01-01"}}),
            ward(),
            community(agreement={"status": "active", "period": {"start": "2026-01-01"}}),
        )
    )


def test_a_question_costs_one_statement_when_nothing_changed(directory, django_assert_num_queries):
    # Directory and time zones are remembered from the first question on.
    assert queries.is_active("org-hospital-ward", NOW)
    with django_assert_num_queries(1):
        queries.participant("org-clinic")
    with django_assert_num_queries(1):
        assert queries.is_active("org-hospital-ward", NOW)


def test_a_change_is_seen_at_the_next_question_however_it_was_made(directory):
    assert queries.is_active("org-clinic", NOW)
    Participant.objects.filter(pk="org-clinic").update(status="suspended")
    assert not queries.is_active("org-clinic", NOW)


def test_a_change_that_was_rolled_back_is_not_remembered(directory):
    try:
        with transaction.atomic():
            registration.suspend("org-clinic", "x", "y")
            assert not queries.is_active("org-clinic", NOW)
            raise RuntimeError
    except RuntimeError:
        pass
    assert queries.is_active("org-clinic", NOW)


def test_the_epoch_never_gives_a_number_twice(directory):
    first = queries.epoch()
    queries.bump_epoch()
    assert queries.epoch() > first


def test_agreement_is_inherited_and_a_suspension_reaches_the_parts(directory):
    assert queries.is_active("org-hospital-ward", NOW)
    registration.suspend("org-hospital", "x", "y")
    assert not queries.is_active("org-hospital-ward", NOW)
    facts = queries.participant("org-hospital-ward")
    assert facts is not None
    assert facts.status == "suspended"


@pytest.mark.parametrize(
    ("now", "active"),
    [
        (datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), True),
        (datetime(2027, 1, 1, 4, 59, 59, tzinfo=UTC), True),
        (datetime(2027, 1, 1, 5, 0, 0, tzinfo=UTC), False),
        (datetime(2026, 1, 1, 4, 59, 59, tzinfo=UTC), False),
        (datetime(2026, 1, 1, 5, 0, 0, tzinfo=UTC), True),
    ],
)
def test_agreement_dates_are_read_in_the_zone_of_the_jurisdiction(directory, monkeypatch, now, active):
    monkeypatch.setattr(queries, "_zone_source", {"JA": "America/New_York"}.get)
    assert queries.is_active("org-clinic", now) is active


@pytest.mark.parametrize(
    ("text", "hours"),
    [("2026-03-08", 23), ("2026-11-01", 25), ("2026-03-10", 24), ("2026-02", 28 * 24), ("2025", 365 * 24)],
)
def test_a_date_covers_its_precision_with_days_of_23_and_25_hours(text, hours):
    first, last = periods.span(text, ZoneInfo("America/New_York"))
    assert (last - first).total_seconds() == hours * 3600


@pytest.mark.parametrize("text", ["", "2026-1-1", "2026-01-01T10:00:00", "tomorrow", "2026-13", "2026-01-01T10"])
def test_what_is_not_a_date_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - any wording
        periods.span(text, ZoneInfo("UTC"))


def test_look_ups_find_by_every_name(directory):
    assert queries.participant_by_oid("urn:oid:2.999.10.2").id == "org-hospital"
    assert queries.participant_by_home_community("2.999.20.1").id == "com-east"
    assert queries.hl7v2_sender("EPIC", "NORTH").id == "org-hospital"
    assert queries.hl7v2_sender("EPIC", "SOUTH") is None
    assert queries.authority_owner("urn:oid:2.999.10.1.1") == "org-clinic"
    assert queries.authority_owner("2.999.1.3") == queries.HUB
    assert queries.authority_owner("2.999.77") is None
    assert queries.user("org-clinic", "Practitioner/ada").role == "physician"
    assert queries.user("org-hospital", "Practitioner/ada") is None


def test_only_active_participants_are_asked(directory):
    [endpoint] = queries.endpoints("fhir", now=NOW)
    assert (endpoint.participant_id, endpoint.home_community_id) == ("com-east", "urn:oid:2.999.20.1")
    registration.suspend("com-east", "x", "y")
    assert queries.endpoints("fhir", now=NOW) == []
