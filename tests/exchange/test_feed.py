"""Feeding records: who may, what becomes of it, and that nothing is done by half or twice."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connections

from hie.audit.models import AuditEvent
from hie.directory import registration
from hie.exchange import feed, identity
from hie.exchange.errors import AccessRefused, AuthorityNotOwned, InvalidFeed, StaleVersion, UnknownSourceIdentifier
from patients import identifiers
from patients import queries as index
from patients.models import Person, SourceRecord, SourceRecordVersion
from tests.directory.forms import ward
from tests.exchange.people import CLINIC, HOSPITAL, QUIET, caller, fed, houses, identifier, ivo, nora  # noqa: F401 - `houses` is a fixture

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _world(houses: None) -> None:  # noqa: F811 - the fixture of that name
    """All tests begin with the three houses."""


def revision(authority: str = HOSPITAL, value: str = "h1", **changes: Any) -> feed.Revision:
    return feed.Revision(**{"authority": authority, "value": value, "demographics": nora()} | changes)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(revision(CLINIC, "c1"), id="another's-domain"),
        pytest.param(revision("1.2.3", "x"), id="nobody's-domain"),
        pytest.param(revision(settings.HUB_ASSIGNING_AUTHORITY, "x"), id="the-hub's-domain"),
        pytest.param(
            revision(demographics=nora(identifiers=(identifier(CLINIC, "c1"),))), id="another's-identifier-besides"
        ),
        pytest.param(feed.Duplicate(survivor=(HOSPITAL, "h1"), subsumed=(CLINIC, "c1")), id="another's-duplicate"),
        pytest.param(feed.Duplicate(survivor=(CLINIC, "c1"), subsumed=(HOSPITAL, "h1")), id="another's-survivor"),
    ],
)
def test_identifiers_are_fed_by_their_issuer_only(change: feed.Change) -> None:
    fed(HOSPITAL, "h0", ivo())
    with pytest.raises(AuthorityNotOwned):
        feed.apply([revision(value="h2"), change], caller(HOSPITAL))
    assert SourceRecord.objects.count() == 1
    assert AuditEvent.objects.filter(kind="ITI-104", outcome=4).count() == 1


def test_an_organization_feeds_for_those_below_it() -> None:
    registration.apply({"participants": [ward(assigning_authority="2.999.10.2.9.1")]})
    feed.feed(revision("2.999.10.2.9.1", "w1"), caller(HOSPITAL))
    assert SourceRecord.objects.get().participant_id == "org-hospital-ward"
    with pytest.raises(AuthorityNotOwned):
        feed.feed(revision("2.999.10.2.9.1", "w2"), caller(CLINIC))


def test_the_hubs_identifier_that_comes_back_with_a_record_is_not_the_records() -> None:
    person = fed(HOSPITAL, "h1", nora())
    hub = identifier(settings.HUB_ASSIGNING_AUTHORITY, str(person))
    done = feed.feed(revision(demographics=nora(identifiers=(hub, identifier(HOSPITAL, "h1")))), caller(HOSPITAL))
    assert done.record is not None
    assert [i.authority for i in done.record.demographics.identifiers] == [HOSPITAL]


def test_the_same_feed_again_changes_nothing_and_a_revision_is_a_version() -> None:
    first = feed.feed(revision(), caller(HOSPITAL))
    again = feed.feed(revision(), caller(HOSPITAL))
    revised = feed.feed(revision(demographics=nora(mothers_maiden_name="Roe")), caller(HOSPITAL))
    outcomes = [(d.result.created, d.result.version, d.outcome) for d in (first, again, revised) if d.result]
    assert outcomes == [(True, 1, "new"), (False, 1, "unchanged"), (False, 2, "updated")]
    events = AuditEvent.objects.filter(kind="ITI-104").order_by("at")
    assert [(e.action, e.detail["outcome"]) for e in events] == [("C", "new"), ("U", "unchanged"), ("U", "updated")]


@pytest.mark.parametrize(("expected", "holds"), [(1, True), (0, False), (2, False)])
def test_a_revision_of_another_version_than_the_current_is_refused(expected: int, holds: bool) -> None:
    feed.feed(revision(), caller(HOSPITAL))
    change = revision(demographics=nora(mothers_maiden_name="Roe"), expected_version=expected)
    if holds:
        assert feed.feed(change, caller(HOSPITAL)).outcome == "updated"
    else:
        with pytest.raises(StaleVersion):
            feed.feed(change, caller(HOSPITAL))
        assert SourceRecordVersion.objects.count() == 1


def test_a_participant_that_is_suspended_feeds_nothing() -> None:
    registration.suspend("org-hospital", "test", "tester")
    with pytest.raises(AccessRefused):
        feed.feed(revision(), caller(HOSPITAL))
    assert SourceRecord.objects.count() == 0


def test_a_duplicate_is_resolved_once_and_stays_resolved() -> None:
    person = fed(HOSPITAL, "h1", nora())
    fed(HOSPITAL, "h2", ivo())
    change = feed.Duplicate(survivor=(HOSPITAL, "h1"), subsumed=(HOSPITAL, "h2"))
    for _ in range(2):
        assert feed.resolve_duplicate(change, caller(HOSPITAL)).outcome == "replaced"
    found = identifiers.resolve(HOSPITAL, "h2")
    assert found is not None
    assert (found.person_id, found.active) == (person, False)
    with pytest.raises(InvalidFeed):
        feed.resolve_duplicate(feed.Duplicate(survivor=(HOSPITAL, "h2"), subsumed=(HOSPITAL, "h1")), caller(HOSPITAL))
    with pytest.raises(InvalidFeed):
        feed.resolve_duplicate(feed.Duplicate(survivor=(HOSPITAL, "h1"), subsumed=(HOSPITAL, "h1")), caller(HOSPITAL))


def test_a_duplicate_that_was_never_fed_leads_to_the_survivor_all_the_same() -> None:
    person = fed(HOSPITAL, "h1", nora())
    feed.resolve_duplicate(feed.Duplicate(survivor=(HOSPITAL, "h1"), subsumed=(HOSPITAL, "h9")), caller(HOSPITAL))
    found = identifiers.resolve(HOSPITAL, "h9")
    assert found is not None
    assert found.person_id == person


def test_removing_is_the_same_answer_whether_or_not_there_was_something() -> None:
    fed(HOSPITAL, "h1", nora())
    assert feed.remove(HOSPITAL, "h1", caller(HOSPITAL)) is True
    assert feed.remove(HOSPITAL, "h1", caller(HOSPITAL)) is False
    assert feed.remove(HOSPITAL, "h9", caller(HOSPITAL)) is False
    with pytest.raises(AuthorityNotOwned):
        feed.remove(QUIET, "q1", caller(HOSPITAL))
    back = feed.feed(revision(), caller(HOSPITAL))
    assert back.record is not None
    assert back.record.active


def test_a_replaced_record_can_be_removed_and_leads_nowhere_any_more() -> None:
    fed(HOSPITAL, "h1", nora())
    fed(HOSPITAL, "h2", ivo())
    feed.resolve_duplicate(feed.Duplicate(survivor=(HOSPITAL, "h1"), subsumed=(HOSPITAL, "h2")), caller(HOSPITAL))
    assert feed.remove(HOSPITAL, "h2", caller(HOSPITAL)) is True
    assert feed.remove(HOSPITAL, "h2", caller(HOSPITAL)) is False
    with pytest.raises(UnknownSourceIdentifier):
        identity.cross_reference(f"urn:oid:{HOSPITAL}", "h2", caller(HOSPITAL))


@pytest.mark.django_db(transaction=True)
def test_equal_feeds_at_once_make_one_record_and_one_person() -> None:
    results: list[tuple[bool, UUID]] = []
    failures: list[BaseException] = []
    barrier = threading.Barrier(6)

    def one(number: int) -> None:
        try:
            barrier.wait(10)
            # The same record three times, and the same new person at two houses.
            authority, value = ((HOSPITAL, "h1"), (CLINIC, "c1"))[number % 2]
            done = feed.feed(revision(authority, value), caller(authority))
            assert done.result is not None
            results.append((done.result.created, done.result.person_id))
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert sorted(created for created, _ in results) == [False] * 4 + [True] * 2
    assert len({person for _, person in results}) == 1
    assert SourceRecord.objects.count() == 2
    assert Person.objects.count() == 1
    record = index.source_record(HOSPITAL, "h1")
    assert record is not None
    assert record.version == 1
