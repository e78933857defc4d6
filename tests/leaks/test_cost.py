"""What the door costs: the same number of statements, whatever the number of people or documents."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hie.exchange import access, feed, find, found_pages, identity, loop, named_patients, query
from hie.exchange.document_filter import entry_filter
from hie.exchange.remotes import Answer, Outcome
from hie.standards.demographics import Address, HumanName, Identifier, PatientQuery, StringMatch
from patients import identifiers
from tests.exchange import world

pytestmark = pytest.mark.django_db


def person(number: int) -> str:
    """One of several people of one family name, with nothing else in common."""
    done = feed.feed(
        feed.Revision(
            authority=world.HOSPITAL_AUTHORITY,
            value=f"N{number}",
            demographics=world.rosa(
                f"N{number}",
                names=(HumanName(family="Abernathy", given=(f"{'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[number % 26] * 6}",)),),
                birth_date=f"19{10 + number}-0{number % 9 + 1}-1{number % 9}",
                addresses=(
                    Address(lines=(f"{number} Lane",), city=f"Town{number}", postal_code=f"{10000 + number * 7}"),
                ),
                telecoms=(),
                identifiers=(Identifier(system=f"urn:oid:{world.HOSPITAL_AUTHORITY}", value=f"N{number}"),),
            ),
        ),
        world.hospital_caller(),
    )
    assert done.result is not None
    return str(done.result.person_id)


def statements(ask: Any) -> int:
    """How many statements a question costs, caches warm."""
    ask()
    with CaptureQueriesContext(
        connection,
    ) as seen:
        ask()
    return len(seen)


def test_a_search_of_twenty_people_costs_what_one_of_two_costs() -> None:
    world.exchange()
    query = PatientQuery(family=(StringMatch(values=("Abernathy",)),))
    counts = []
    for upto in (2, 20):
        for number in range(0 if upto == 2 else 2, upto):
            person(number)
        found = identity.find_patients(query, world.caller())
        assert found.total == upto
        counts.append(statements(lambda: identity.find_patients(query, world.caller())))
    assert counts[0] == counts[1]
    assert counts[1] <= 25


def test_the_door_reads_many_people_in_a_constant_number_of_statements() -> None:
    world.exchange()
    people = [identifiers.survivor(person(number)) for number in range(8)]
    few = statements(lambda: access.demographics(world.caller(), [p for p in people[:1] if p]))
    many = statements(lambda: access.demographics(world.caller(), [p for p in people if p]))
    assert few == many
    assert many <= 8
    for changes in ({"purpose": "BTG"}, {"role": "proxy", "purpose": "FAMRQT"}):
        asker = world.caller(**changes)
        few = statements(partial(access.demographics, asker, [p for p in people[:1] if p]))
        assert few == statements(partial(access.demographics, asker, [p for p in people if p]))


def test_a_search_of_fifty_documents_costs_what_one_of_two_costs(hub_world: Any) -> None:
    from tests.fhir.conftest import provide_bundle

    search = found_pages.DocumentSearch(
        patients=((named_patients.PatientNamed(id=hub_world.person),),), asked=entry_filter([]), count=100
    )
    counts = []
    for upto in (2, 50):
        for number in range(0 if upto == 2 else 2, upto):
            assert hub_world.hospital.post("", provide_bundle(f"n {number}".encode())).status_code == 200
        assert find.find_documents(search, caller=world.caller()).total == upto
        counts.append(statements(lambda: find.find_documents(search, caller=world.caller())))
    assert counts[0] == counts[1]
    assert counts[1] <= 25


def test_what_an_answer_rests_on_is_held_in_one_statement_and_the_policy_read_in_one(hub_world: Any) -> None:
    from tests.fhir.conftest import provide_bundle

    assert hub_world.hospital.post("", provide_bundle(b"a note")).status_code == 200
    search = found_pages.DocumentSearch(
        patients=((named_patients.PatientNamed(id=hub_world.person),),), asked=entry_filter([])
    )
    for ask in (
        lambda: find.find_documents(search, caller=world.caller()),
        lambda: identity.match(world.rosa(), world.caller()),
        lambda: identity.read_patient(hub_world.person, world.caller()),
    ):
        ask()
        texts: list[str] = []

        def noted(execute: Any, sql: Any, *rest: Any, texts: list[str] = texts) -> Any:
            texts.append(str(sql))
            return execute(sql, *rest)

        with connection.execute_wrapper(noted):
            ask()
        assert len([text for text in texts if "exchange_hold" in text]) == 1
        assert len([text for text in texts if "pg_current_snapshot" in text]) == 1


def test_a_claim_and_a_list_cost_the_same_for_one_question_and_for_ten() -> None:
    world.exchange(*(world.community_at(number, 1) for number in range(1, 11)))
    person_id = UUID(world.feed_rosa())
    request = query.QueryRequest(person_id=person_id, filter={}, deadline_s=5.0, raw=b"{}")

    def asked(count: int) -> int:
        for _ in range(count):
            query.ask(request, caller=world.caller(), nudge=lambda _: None)
        with CaptureQueriesContext(connection) as seen:
            jobs = loop.claim()
        assert len(jobs) == 10 * count
        at = datetime.now(UTC)
        with CaptureQueriesContext(connection) as stored:
            loop.store([(job.target, Answer(outcome=Outcome.NOTHING), at) for job in jobs])
        return len(seen) * 100 + len(stored)

    asked(1)
    assert asked(1) == asked(10)
