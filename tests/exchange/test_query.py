"""Cross-organization queries: real peers over loopback, the real loop, rows as the truth."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from hie.directory import registration
from hie.exchange import access, feed, loop, query, query_answers, waiting
from hie.exchange.errors import AccessRefused, BadRequest, IdempotencyConflict, NotFound
from hie.exchange.models import Query, QueryTarget, RemoteDocument
from hie.exchange.query import QueryRequest
from hie.exchange.remotes import Answer, Outcome
from hie.ops.sandbox import peer
from tests.exchange.world import (
    HOSPITAL_AUTHORITY,
    Peers,
    caller,
    community_at,
    exchange,
    feed_rosa,
    hospital_caller,
    peers,
    rosa,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def others() -> Iterator[Peers]:
    with peers() as running:
        yield running


@pytest.fixture
def fan_out(others: Peers) -> Iterator[loop.FanOut]:
    running = loop.FanOut()
    running.start()
    yield running
    running.stop()


def ask(person_id: str | None, fan_out: loop.FanOut | None = None, **changes: Any) -> Query:
    request = QueryRequest(
        **{"person_id": uuid.UUID(person_id) if person_id else None, "filter": {}, "deadline_s": 5.0, "raw": b"{}"}
        | changes
    )
    return query.ask(request, caller=caller(), nudge=lambda _: fan_out.nudge() if fan_out else None)


def settled(asked: Query, within_s: float = 8.0) -> query_answers.QueryView:
    until = time.monotonic() + within_s
    while not query.is_finished(asked.id):
        assert time.monotonic() < until, "the query did not complete"
        time.sleep(0.02)
    return query_answers.view(asked.id, caller=caller())


def statuses(view: query_answers.QueryView) -> dict[str, str]:
    return {target.name: target.status for target in view.targets}


def test_every_target_is_named_with_what_came_of_it(others: Peers, fan_out: loop.FanOut) -> None:
    exchange(*(community_at(number, others.port) for number in range(1, 7)), community_at(7, 1))
    person_id = feed_rosa()
    others[2].mode = "refuse"
    others[3].mode = "garbage"
    others[4].mode, others[4].delay_s = "slow", 30
    others[5].mode, others[5].delay_s = "drip", 30
    others[6].documents = 0
    view = settled(ask(person_id, fan_out, deadline_s=1.5))
    found = statuses(view)
    found.pop("This exchange", None)
    assert {name: state for name, state in found.items() if name.startswith("Community")} == {
        "Community 1": "answered",
        "Community 2": "refused",
        "Community 3": "error",
        "Community 4": "late",
        "Community 5": "late",
        "Community 6": "nothing",
        "Community 7": "down",
    }
    assert view.status == "complete"
    assert len(view.documents) == 1
    assert view.completed_at is not None
    assert view.completed_at <= view.deadline_at


@pytest.mark.parametrize("changed", ["consent", "policy", "record", "time", "nothing"])
def test_a_question_decided_a_moment_ago_is_decided_again_when_anything_has_changed(
    others: Peers, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    from consent import directives
    from patients import identifiers

    exchange(community_at(1, others.port))
    person_id = feed_rosa()
    asked = ask(person_id)
    decided: list[Any] = []
    questions = access.questions
    monkeypatch.setattr(access, "questions", lambda *given: decided.append(given) or questions(*given))
    match changed:
        case "consent":
            pk = identifiers.identifier_pks(person_id)[0]
            directives.import_unchecked(_deny_community(1), identifier_pk=pk, actor="test")
        case "policy":
            registration.apply({"participants": [community_at(2, others.port)]})
        case "record":
            changed_rosa = feed.Revision(authority=HOSPITAL_AUTHORITY, value="P1", demographics=rosa("P1", telecoms=()))
            feed.feed(changed_rosa, hospital_caller())
        case "time":
            Query.objects.filter(pk=asked.pk).update(created_at=timezone.now() - timedelta(seconds=30))
    jobs = loop.claim()
    assert len(decided) == (0 if changed == "nothing" else 1)
    assert len(jobs) == (0 if changed == "consent" else 1)


@pytest.mark.parametrize(
    "odd",
    [
        {"description": "a\x00b"},
        {"id": "x" * 5000},
        {"id": 7},
        {"category": json.loads("[" * 300 + "]" * 300)},
        {"content": [{"attachment": {"url": "http://["}}]},
        {"content": [{"attachment": "none"}]},
        {"content": []},
    ],
    ids=["nul", "long-id", "number-id", "deep", "no-url", "no-attachment", "no-content"],
)
def test_one_community_s_odd_document_costs_its_own_answer_only(
    others: Peers, fan_out: loop.FanOut, monkeypatch: pytest.MonkeyPatch, odd: dict[str, Any]
) -> None:
    good = peer.document_reference

    def altered(base: str, community: int, number: int) -> dict[str, Any]:
        return good(base, community, number) | (odd if community == 1 else {})

    monkeypatch.setattr(peer, "document_reference", altered)
    exchange(community_at(1, others.port), community_at(2, others.port))
    view = settled(ask(feed_rosa(), fan_out))
    assert (statuses(view)["Community 1"], statuses(view)["Community 2"]) == ("error", "answered")
    assert len(view.documents) == 1


@pytest.mark.parametrize("odd", [{"size": 2**63}, {"hash": 5, "size": "x"}, {"title": ["x"], "contentType": {}}])
def test_odd_words_about_bytes_do_not_cost_the_document(
    others: Peers, fan_out: loop.FanOut, monkeypatch: pytest.MonkeyPatch, odd: dict[str, Any]
) -> None:
    good = peer.document_reference

    def altered(base: str, community: int, number: int) -> dict[str, Any]:
        resource = good(base, community, number)
        resource["content"][0]["attachment"] |= odd
        return resource

    monkeypatch.setattr(peer, "document_reference", altered)
    exchange(community_at(1, others.port))
    assert len(settled(ask(feed_rosa(), fan_out)).documents) == 1


def test_an_answer_the_database_cannot_hold_costs_its_own_community_only(others: Peers) -> None:
    exchange(community_at(1, others.port), community_at(2, others.port))
    asked = ask(feed_rosa())
    first, second = loop.claim()
    at = timezone.now()
    bad = replace(_entry(), resource=_entry().resource | {"description": "a\x00b"})
    loop.store_readable(
        [
            (first.target, Answer(outcome=Outcome.ANSWERED, documents=(bad,)), at),
            (second.target, Answer(outcome=Outcome.ANSWERED, documents=(_entry(),)), at),
        ]
    )
    found = dict(QueryTarget.objects.filter(query=asked).exclude(kind="local").values_list("pk", "status"))
    assert found == {first.target: "error", second.target: "answered"}


def test_documents_of_others_are_addressed_through_this_hub(others: Peers, fan_out: loop.FanOut, settings: Any) -> None:
    exchange(community_at(1, others.port))
    view = settled(ask(feed_rosa(), fan_out))
    ((key, resource),) = view.documents
    attachment = resource["content"][0]["attachment"]
    assert attachment["url"] == f"{settings.BASE_URL}/fhir/Binary/{key}"
    assert str(others.port) not in str(resource)


def test_a_late_answer_turns_late_into_answered(others: Peers, fan_out: loop.FanOut) -> None:
    exchange(community_at(1, others.port))
    others[1].mode, others[1].delay_s = "slow", 0.6
    asked = ask(feed_rosa(), fan_out, deadline_s=1)
    view = settled(asked)
    assert statuses(view)["Community 1"] == "late"
    until = time.monotonic() + 6
    while statuses(view)["Community 1"] != "answered":
        assert time.monotonic() < until, "the late answer never came"
        time.sleep(0.05)
        view = query_answers.view(asked.id, caller=caller())
    assert len(view.documents) == 1


def test_an_unknown_patient_and_one_not_to_be_known_are_one_answer(others: Peers) -> None:
    exchange(community_at(1, others.port))
    person_id = feed_rosa()
    with pytest.raises(NotFound) as unknown:
        ask(None)
    registration.apply({"participants": [community_at(1, others.port)]})
    from consent import directives
    from patients import identifiers

    pk = identifiers.identifier_pks(person_id)[0]
    directives.import_unchecked(_deny_all(), identifier_pk=pk, actor="test")
    with pytest.raises(NotFound) as hidden:
        ask(person_id)
    assert str(unknown.value) == str(hidden.value)


def _deny_all() -> dict[str, Any]:
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "patient": {"reference": "Patient/x"},
        "dateTime": "2026-01-01",
        "provision": {"type": "deny"},
    }


def _deny_community(number: int) -> dict[str, Any]:
    consent = _deny_all()
    actor = {
        "role": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]},
        "reference": {"reference": f"Organization/com-{number}"},
    }
    consent["provision"] = {"type": "permit", "provision": [{"type": "deny", "actor": [actor]}]}
    return consent


def test_a_community_that_consent_keeps_from_being_asked_is_not_asked_and_reads_nothing(
    others: Peers, fan_out: loop.FanOut
) -> None:
    exchange(community_at(1, others.port), community_at(2, others.port))
    person_id = feed_rosa()
    from consent import directives
    from patients import identifiers

    directives.import_unchecked(
        _deny_community(2), identifier_pk=identifiers.identifier_pks(person_id)[0], actor="test"
    )
    view = settled(ask(person_id, fan_out))
    assert statuses(view)["Community 1"] == "answered"
    assert statuses(view)["Community 2"] == "nothing"
    assert others[1].asked
    assert others[2].asked == []


def test_consent_withdrawn_while_running_hides_what_comes_and_what_had_come(
    others: Peers, fan_out: loop.FanOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the machine: the second community is asked all before it is withdrawn.
    monkeypatch.setattr(loop, "STANDS_S", 60.0)
    exchange(community_at(1, others.port), community_at(2, others.port))
    person_id = feed_rosa()
    others[2].mode, others[2].delay_s = "slow", 0.3
    asked = ask(person_id, fan_out)
    until = time.monotonic() + 5
    while len(query_answers.view(asked.id, caller=caller()).documents) < 1:
        assert time.monotonic() < until
        time.sleep(0.02)
    from consent import directives
    from patients import identifiers

    directives.import_unchecked(_deny_all(), identifier_pk=identifiers.identifier_pks(person_id)[0], actor="test")
    view = settled(asked)
    assert view.documents == ()
    assert {target.found for target in view.targets} == {0}
    assert RemoteDocument.objects.filter(target__query=asked).count() == 2


def test_a_community_is_not_asked_the_second_part_of_a_question_that_was_closed_meanwhile(
    others: Peers, fan_out: loop.FanOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    from consent import directives
    from patients import identifiers

    monkeypatch.setattr(loop, "STANDS_S", 0.2)
    exchange(community_at(1, others.port), community_at(2, others.port))
    person_id = feed_rosa()
    others[1].mode, others[1].delay_s = "slow", 0.6
    others[2].mode, others[2].delay_s = "slow", 0.6
    asked = ask(person_id, fan_out, deadline_s=30.0)
    until = time.monotonic() + 20
    while not (others[1].asked and others[2].asked):
        assert time.monotonic() < until
        time.sleep(0.01)
    directives.import_unchecked(
        _deny_community(2), identifier_pk=identifiers.identifier_pks(person_id)[0], actor="test"
    )
    view = settled(asked, within_s=30)
    assert statuses(view)["Community 2"] == "nothing"
    assert [step for step in others[2].asked if "DocumentReference" in str(step)] == []
    assert statuses(view)["Community 1"] == "answered"


def test_what_the_communities_of_one_question_wait_for_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Grounds:
        looks, answer, ended = 0, True, False

        def has_ended(self) -> bool:
            return self.ended

        def stands(self) -> bool:
            self.looks += 1
            return self.answer

    async def off_loop(work: Callable[[], Any]) -> Any:
        await asyncio.sleep(0.01)
        return work()

    async def wait(standing: loop.Standing, count: int) -> list[Any]:
        return await asyncio.gather(*(standing.hold(off_loop) for _ in range(count)), return_exceptions=True)

    monkeypatch.setattr(loop, "STANDS_S", 0.5)
    grounds: Any = Grounds()
    long_ago = time.monotonic() - 10
    standing = loop.Standing(grounds, long_ago)
    assert asyncio.run(wait(standing, 50)) == [None] * 50
    assert asyncio.run(wait(standing, 50)) == [None] * 50
    assert grounds.looks == 1
    grounds.answer = False
    refused = asyncio.run(wait(loop.Standing(grounds, long_ago), 3))
    assert [type(one) for one in refused] == [loop.Outdated] * 3
    # What has ended by itself ends it however short the wait was.
    grounds.ended, looks = True, grounds.looks
    assert [type(one) for one in asyncio.run(wait(loop.Standing(grounds, time.monotonic()), 3))] == [loop.Outdated] * 3
    assert grounds.looks == looks


def test_suspending_the_asker_ends_its_running_query(others: Peers) -> None:
    exchange(community_at(1, others.port))
    asked = ask(feed_rosa())
    registration.suspend("org-clinic", reason="test", actor="test")
    with pytest.raises(AccessRefused):
        query_answers.view(asked.id, caller=caller())
    assert loop.claim() == []


def test_another_partys_query_is_not_there(others: Peers) -> None:
    exchange(community_at(1, others.port))
    asked = ask(feed_rosa())
    with pytest.raises(NotFound):
        query_answers.view(asked.id, caller=caller(client_id="org-hospital"))
    with pytest.raises(NotFound):
        query_answers.view(uuid.uuid4(), caller=caller())


@pytest.mark.parametrize(
    ("changes", "element"),
    [
        pytest.param({"deadline_s": 0.5}, "deadline_s", id="deadline-too-short"),
        pytest.param({"deadline_s": 61}, "deadline_s", id="deadline-too-long"),
        pytest.param({"targets": ("urn:oid:2.999.404",)}, "targets", id="unknown-target"),
    ],
)
def test_bad_requests_name_their_member(others: Peers, changes: dict[str, Any], element: str) -> None:
    exchange(community_at(1, others.port))
    person_id = feed_rosa()
    with pytest.raises(BadRequest) as refused:
        ask(person_id, **changes)
    assert refused.value.element == element
    assert not Query.objects.exists()


def test_the_same_idempotency_key_gives_the_same_query_and_another_request_is_refused(others: Peers) -> None:
    exchange(community_at(1, others.port))
    person_id = feed_rosa()
    first = ask(person_id, idempotency_key="k1")
    assert ask(person_id, idempotency_key="k1").id == first.id
    with pytest.raises(IdempotencyConflict):
        ask(person_id, idempotency_key="k1", raw=b'{"other": 1}')


def test_an_answer_is_stored_once_however_often_it_comes(others: Peers) -> None:
    exchange(community_at(1, others.port))
    asked = ask(feed_rosa())
    (job,) = loop.claim()
    entry = _entry()
    answer = Answer(outcome=Outcome.ANSWERED, documents=(entry,))
    at = timezone.now()
    loop.store([(job.target, answer, at)])
    loop.store([(job.target, answer, at)])
    assert RemoteDocument.objects.filter(target__query=asked).count() == 1


def _entry() -> Any:
    from hie.exchange.remotes import RemoteEntry
    from hie.ops.sandbox.peer import document_reference

    resource = document_reference("http://127.0.0.1:1/c/1/fhir", 1, 1)
    return RemoteEntry(
        remote_id=resource["id"],
        unique_id="2.999.1",
        resource=resource,
        source_url="http://127.0.0.1:1/c/1/fhir/Binary/1",
    )


def test_a_target_of_a_dead_worker_is_taken_up_when_its_lease_ends(others: Peers, fan_out: loop.FanOut) -> None:
    exchange(community_at(1, others.port))
    asked = ask(feed_rosa(), deadline_s=10)
    # A worker took the row and died: the lease stands, nobody asks.
    QueryTarget.objects.filter(query=asked, kind="community").update(
        claimed_until=timezone.now() + timedelta(seconds=0.8),
        attempts=1,
    )
    fan_out.nudge()
    view = settled(asked)
    assert statuses(view)["Community 1"] == "answered"


def test_a_leased_target_is_not_asked_twice_at_once(others: Peers) -> None:
    exchange(community_at(1, others.port))
    ask(feed_rosa())
    assert len(loop.claim()) == 1
    assert loop.claim() == []


def test_a_cancelled_query_takes_no_more_answers(others: Peers) -> None:
    exchange(community_at(1, others.port))
    asked = ask(feed_rosa())
    (job,) = loop.claim()
    query.cancel(asked.id, caller=caller())
    loop.store([(job.target, Answer(outcome=Outcome.ANSWERED, documents=(_entry(),)), timezone.now())])
    view = query_answers.view(asked.id, caller=caller())
    assert view.status == "cancelled"
    assert not RemoteDocument.objects.exists()


def test_a_query_is_complete_at_its_deadline_without_any_worker(others: Peers) -> None:
    exchange(community_at(1, others.port))
    asked = ask(feed_rosa(), deadline_s=1)
    view = settled(asked, within_s=2)
    assert statuses(view)["Community 1"] == "late"
    assert view.status == "complete"


def test_the_stream_tells_targets_documents_and_what_was_withdrawn(others: Peers, fan_out: loop.FanOut) -> None:
    exchange(community_at(1, others.port))
    person_id = feed_rosa()
    asked = ask(person_id, fan_out)
    settled(asked)
    told, done = query_answers.changes(asked.id, caller=caller(), after=0)
    assert done
    kinds = [event.kind for event in told]
    assert kinds.count("document") == 1
    assert kinds[-1] == "done"
    again, _ = query_answers.changes(asked.id, caller=caller(), after=told[-1].id)
    assert again == []
    from consent import directives
    from patients import identifiers

    directives.import_unchecked(_deny_all(), identifier_pk=identifiers.identifier_pks(person_id)[0], actor="test")
    later, _ = query_answers.changes(asked.id, caller=caller(), after=told[-1].id)
    assert {event.kind for event in later} == {"target", "withdrawn"}


def test_the_question_itself_is_disclosed_to_each_community_asked(others: Peers) -> None:
    from hie.audit.models import Disclosure

    exchange(community_at(1, others.port), community_at(2, others.port))
    ask(feed_rosa())
    asked = Disclosure.objects.filter(what="query").values_list("recipient", flat=True)
    assert sorted(asked) == ["com-1", "com-2"]


def test_a_document_shown_twice_is_disclosed_once(others: Peers, fan_out: loop.FanOut) -> None:
    from hie.audit.models import Disclosure

    exchange(community_at(1, others.port))
    asked = ask(feed_rosa(), fan_out)
    settled(asked)
    query_answers.view(asked.id, caller=caller())
    assert Disclosure.objects.filter(what="metadata").count() == 1


def _read(key: str, **changes: Any) -> Any:
    from hie.exchange import retrieve

    return retrieve.retrieve(retrieve.Wanted(binary_id=key, **changes), caller=caller())


def test_a_document_of_another_community_is_read_through_this_hub_and_the_patient_sees_it(
    others: Peers, fan_out: loop.FanOut
) -> None:
    from hie.audit.models import Disclosure
    from hie.ops.sandbox.peer import content_of

    exchange(community_at(1, others.port))
    ((key, _),) = settled(ask(feed_rosa(), fan_out)).documents
    found = _read(key)
    assert b"".join(found.chunks) == content_of(1, 1)
    part = _read(key, first=2, last=5)
    assert b"".join(part.chunks) == content_of(1, 1)[2:6]
    assert Disclosure.objects.filter(what="bytes", document_id=key, custodian="com-1").count() == 2


def test_bytes_that_do_not_match_their_hash_never_leave(others: Peers, fan_out: loop.FanOut) -> None:
    from hie.audit.models import Disclosure
    from hie.exchange.errors import RemoteUnavailable

    exchange(community_at(1, others.port))
    ((key, _),) = settled(ask(feed_rosa(), fan_out)).documents
    RemoteDocument.objects.update(sha1="0" * 40)
    with pytest.raises(RemoteUnavailable, match="hash"):
        _read(key)
    assert not Disclosure.objects.filter(what="bytes").exists()


@pytest.mark.parametrize("mode", ["down", "refuse"])
def test_a_community_that_does_not_give_the_document_is_named(others: Peers, fan_out: loop.FanOut, mode: str) -> None:
    from hie.exchange.errors import RemoteUnavailable

    exchange(community_at(1, others.port))
    ((key, _),) = settled(ask(feed_rosa(), fan_out)).documents
    others[1].mode = mode
    with pytest.raises(RemoteUnavailable):
        _read(key)


def test_a_remote_document_is_not_there_for_another_participant_or_after_consent_is_withdrawn(
    others: Peers, fan_out: loop.FanOut
) -> None:
    from consent import directives
    from hie.exchange import retrieve
    from patients import identifiers
    from tests.exchange.world import hospital_caller

    exchange(community_at(1, others.port))
    person_id = feed_rosa()
    ((key, _),) = settled(ask(person_id, fan_out)).documents
    with pytest.raises(NotFound) as others_document:
        retrieve.retrieve(retrieve.Wanted(binary_id=key), caller=hospital_caller())
    directives.import_unchecked(_deny_all(), identifier_pk=identifiers.identifier_pks(person_id)[0], actor="test")
    with pytest.raises(NotFound) as withdrawn:
        _read(key)
    assert str(others_document.value) == str(withdrawn.value)


def test_a_label_this_hub_does_not_know_leaves_a_remote_document_unlabelled(
    others: Peers, fan_out: loop.FanOut
) -> None:
    exchange(community_at(1, others.port))
    asked = ask(feed_rosa(), fan_out)
    assert len(settled(asked).documents) == 1
    document = RemoteDocument.objects.get()
    document.resource["securityLabel"].append(
        {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "SOMETHINGNEW"}]}
    )
    document.save()
    assert query_answers.view(asked.id, caller=caller()).documents == ()


def test_what_was_read_ahead_is_decided_when_it_is_shown(others: Peers, fan_out: loop.FanOut) -> None:
    from consent import directives
    from patients import identifiers

    exchange(community_at(1, others.port), community_at(2, others.port), community_at(3, others.port))
    others[3].mode, others[3].delay_s = "slow", 1.0
    person_id = feed_rosa()
    asked = ask(person_id, fan_out)
    until = time.monotonic() + 5
    while len(ahead := query_answers._read_ahead(asked)) < 2:
        assert time.monotonic() < until, "the two quick ones did not answer"
        time.sleep(0.02)
    settled(asked)

    def seen() -> dict[str, Any]:
        plain = dict(query_answers.view(asked.id, caller=caller()).documents)
        assert dict(query_answers.view(asked, caller=caller(), ahead=ahead).documents) == plain
        return plain

    assert len(seen()) == 3
    # A community whose word on labels is not taken any more is another one than the one that was read.
    agreement = {"status": "active", "period": {"start": "2020-01-01"}, "labels_documents": False}
    exchange(community_at(1, others.port, agreement=agreement))
    assert len(seen()) == 2
    directives.import_unchecked(_deny_all(), identifier_pk=identifiers.identifier_pks(person_id)[0], actor="test")
    assert seen() == {}


def test_the_deadline_counts_from_when_the_question_came(others: Peers, fan_out: loop.FanOut) -> None:
    exchange(community_at(1, others.port))
    others[1].mode = "slow"
    came = timezone.now() - timedelta(seconds=0.8)
    asked = ask(feed_rosa(), fan_out, deadline_s=1.0, received_at=came)
    began = time.monotonic()
    with waiting.ROOM.entered():
        query_answers.wait(asked, until_s=5)
    assert time.monotonic() - began < 0.8
    view = query_answers.view(asked.id, caller=caller())
    assert (view.deadline_at - came).total_seconds() == 1.0
    assert statuses(view)["Community 1"] == "late"


def test_who_waits_for_answers_leaves_the_room_to_others() -> None:
    room = waiting.Room(1)
    inside, let_go = threading.Event(), threading.Event()

    def waits() -> None:
        with room.entered(), room.left():
            inside.set()
            let_go.wait(5)
        connection.close()

    thread = threading.Thread(target=waits)
    thread.start()
    assert inside.wait(5)
    with room.entered():
        assert not room._places.acquire(blocking=False)
        let_go.set()
        time.sleep(0.05)
        assert thread.is_alive(), "it came back although there was no place"
    thread.join(5)
    assert not thread.is_alive()


def test_a_community_that_breaks_off_reads_down_and_is_asked_again(
    others: Peers, fan_out: loop.FanOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "AGAIN_S", 0.1)
    exchange(community_at(1, others.port))
    others[1].mode = "down"
    asked = ask(feed_rosa(), fan_out)
    view = settled(asked)
    assert statuses(view)["Community 1"] == "down"
    others[1].mode = "ok"
    until = time.monotonic() + 5
    while statuses(view)["Community 1"] != "answered":
        assert time.monotonic() < until, "it was never asked again"
        time.sleep(0.05)
        view = query_answers.view(asked.id, caller=caller())
    assert len(view.documents) == 1


def test_a_dead_broker_costs_neither_the_query_nor_time(others: Peers, fan_out: loop.FanOut) -> None:
    from hie.celery import app
    from hie.exchange import tasks

    exchange(community_at(1, others.port))
    broker, app.conf.broker_url = app.conf.broker_url, "redis://127.0.0.1:1/0"
    app.pool.force_close_all()  # type: ignore[attr-defined]  # kombu's stubs lack it
    try:
        began = time.monotonic()
        asked = query.ask(
            QueryRequest(person_id=uuid.UUID(feed_rosa()), filter={}, deadline_s=5.0, raw=b"{}"),
            caller=caller(),
            nudge=tasks.nudge,
        )
        assert time.monotonic() - began < 4
    finally:
        app.conf.broker_url = broker
        app.pool.force_close_all()  # type: ignore[attr-defined]  # kombu's stubs lack it
    assert statuses(settled(asked))["Community 1"] == "answered"


def test_every_answer_of_a_flock_is_written_however_they_fall_between_writes(
    others: Peers, fan_out: loop.FanOut
) -> None:
    exchange(*(community_at(number, others.port) for number in range(1, 61)))
    person_id = feed_rosa()
    for _ in range(3):
        view = settled(ask(person_id, fan_out, deadline_s=20.0), within_s=15)
        assert sum(target.status == "answered" for target in view.targets) == 60


@pytest.mark.parametrize("denied", ["author", "dependents", "label"])
def test_a_denial_by_author_dependents_or_label_takes_own_documents_out_of_an_answer(
    settings: Any, tmp_path: Any, denied: str
) -> None:
    from consent import directives
    from documents.metadata import CX, XCN, AssociationMetadata, AssociationType, Author, CodedValue
    from hie.exchange import submit
    from patients import identifiers
    from tests.documents import samples

    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"
    exchange()
    person_id = feed_rosa()
    rosa_id = CX(value="P1", authority=HOSPITAL_AUTHORITY)

    def published(text: bytes, appended_to: str = "", **changes: Any) -> str:
        entry = samples.entry(patient_id=rosa_id, source_patient_id=rosa_id, **changes)
        staged = submit.stage(text, entry.mime_type, hospital_caller())
        more = (
            AssociationMetadata(entry_uuid="r", type=AssociationType.APND, source=entry.entry_uuid, target=appended_to),
        )
        made = samples.submission(
            entry,
            contents={entry.entry_uuid: staged.id},
            patient_id=rosa_id,
            associations=more if appended_to else (),
        )
        return submit.submit(made, hospital_caller()).entry_uuids[0].removeprefix("urn:uuid:")

    vale = Author(person=XCN(id="77", authority="2.16.840.1.113883.4.6", family="Vale"))
    theirs = published(b"one", authors=(vale,))
    appended = published(b"two", f"urn:uuid:{theirs}")
    labelled = published(b"three", event_codes=(CodedValue(code="B20", scheme="urn:oid:2.16.840.1.113883.6.90"),))
    everything = {theirs, appended, labelled}

    def seen() -> set[str]:
        asked = ask(person_id)
        return {key.removeprefix("urn:uuid:") for key, _ in query_answers.view(asked.id, caller=caller()).documents}

    registry_pks = list(identifiers.identifier_pks(person_id))
    assert seen() == everything
    role = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "AUT"}]}
    npi = {"system": "http://hl7.org/fhir/sid/us-npi", "value": "77"}
    provision: dict[str, Any] = {
        "author": {"actor": [{"role": role, "reference": {"identifier": npi}}]},
        "dependents": {"data": [{"meaning": "dependents", "reference": {"reference": f"DocumentReference/{theirs}"}}]},
        "label": {"securityLabel": [{"system": "http://hl7.org/fhir/v3/ActCode", "code": "HIV"}]},
    }[denied]
    resource = _deny_all()
    resource["provision"] = {"type": "permit", "provision": [{"type": "deny"} | provision]}
    resource.pop("policyRule", None)
    directives.import_unchecked(resource, identifier_pk=registry_pks[0], actor="test")
    hidden = {"author": {theirs}, "dependents": {theirs, appended}, "label": {labelled}}[denied]
    assert seen() == everything - hidden
