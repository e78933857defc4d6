"""The walk over cross-organization queries: what other communities hold and the asker may not see is not in any answer.

Another community answers with documents; on the other side it answers with those alone that the asker may see.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from hie.exchange import loop, query, query_answers, tasks
from hie.exchange.models import Query, QueryTarget, RemoteDocument
from hie.exchange.remotes import Answer, Outcome, RemoteEntry
from hie.ops.sandbox.peer import document_reference
from tests.exchange import world
from tests.fhir.conftest import CONFIDENTIALITY, concept
from tests.leaks import place, policies
from tests.leaks.policies import LOINC, TYPES, Document, Policy, actor
from tests.leaks.test_walk_people import HIDINGS, own_record
from tests.leaks.walking import Ear, Heard, Listener, Names, same, taken_back, walks

pytestmark = pytest.mark.django_db


def denying(**criteria: Any) -> Policy:
    """All but what meets these criteria."""
    return Policy(provisions=({"type": "permit", "provision": [{"type": "deny", **criteria}]},))


CASES: dict[str, tuple[Policy, tuple[int, ...]]] = {
    "by code": (denying(code=[concept(LOINC, TYPES[1])]), (1, 2)),
    "by letter": (denying(securityLabel=[{"system": CONFIDENTIALITY, "code": "R"}]), (2, 4)),
    "by label": (denying(securityLabel=policies.labels("HIV")), (4,)),
    "by custodian": (denying(actor=[actor("CST", reference="Organization/com-1")]), (0, 1, 2, 3, 4)),
    "by recipient": (denying(actor=[actor("IRCP", reference="Organization/org-clinic")]), (0, 1, 2, 3, 4)),
    "by law": (
        Policy(prohibitions=({"id": "LAW-8", "codes": [f"{LOINC}|{TYPES[0]}"], "emergencyOverride": False},)),
        (0, 3, 4),
    ),
}
"""Policies, and which of the documents of `remote` they hide from the clinician."""

HELD = (
    Document(type=TYPES[0]),
    Document(type=TYPES[1]),
    Document(type=TYPES[1], letter="R"),
    Document(type=TYPES[0], year=2021),
    Document(type=TYPES[0], letter="R", label="HIV"),
)


def remote(number: int) -> RemoteEntry:
    """One document of the other community."""
    one = HELD[number]
    year = one.year if number == 3 else 2020
    resource = document_reference("http://127.0.0.1:1/c/1/fhir", 1, number) | {
        "type": concept(LOINC, one.type),
        "securityLabel": [
            concept(CONFIDENTIALITY, one.letter),
            *([concept(place.ACT_CODE, one.label)] if one.label else []),
        ],
        "context": {"period": {"start": f"{year}-03-01T09:00:00Z", "end": f"{year}-03-01T09:30:00Z"}},
    }
    return RemoteEntry(
        remote_id=str(resource["id"]),
        unique_id=f"2.999.1.{number}",
        resource=resource,
        source_url=f"http://127.0.0.1:1/c/1/fhir/Binary/{number}",
    )


def answered(asked: Query, documents: tuple[RemoteEntry, ...]) -> None:
    """The community answers, and whoever else was asked has nothing: the query is complete."""
    at = datetime.now(UTC)
    for target in QueryTarget.objects.filter(query=asked, status="pending"):
        if target.participant_id == "com-1" and documents:
            found = Answer(outcome=Outcome.ANSWERED, documents=documents)
        else:
            found = Answer(outcome=Outcome.NOTHING)
        loop.store([(target.pk, found, at)])


def ordered(heard: Heard) -> Heard:
    """Documents that came at one instant stand in the order of ids drawn at random: here in that of their text."""
    if heard.body.startswith("{"):
        whole = json.loads(heard.body)
        whole["documents"] = sorted(whole.get("documents", ()), key=json.dumps)
        return replace(heard, body=json.dumps(whole, sort_keys=True))
    return replace(heard, body="\n\n".join(sorted(heard.body.split("\n\n"))))


def side(policy: Policy, numbers: tuple[int, ...], seen: tuple[int, ...], listener: Listener, *, early: bool) -> Any:
    """One hub where the community holds the documents of these numbers. `early`: answered before the policy is filed."""
    place.takes_part(policy, world.community_at(1, 1))
    person = place.fed()
    assert own_record() == person, "the asker knows her by a record of her own"
    ear = Ear(world.caller(), listener, {person: "<person>"})
    heard: dict[Any, list[Heard]] = {}

    def ask() -> Query:
        body = {"patient": {"reference": f"Patient/{person}"}, "deadline_s": 30}
        first, raw = ear.asked("POST", "/api/queries", body)
        heard["ask", len(heard)] = [first]
        return Query.objects.get(id=json.loads(raw)["id"])

    if not early:
        place.directed(policy, person, [], listener)
    asked = ask()
    answered(asked, tuple(remote(number) for number in numbers))
    if early:
        if seen:
            query_answers.view(
                asked.id, caller=ear.caller
            )  # shown before; what is withdrawn later is not looked at here
        place.directed(policy, person, [], listener)
        asked = ask()
        answered(asked, tuple(remote(number) for number in numbers))
    path = f"/api/queries/{asked.id}"
    ids = {row.remote_id: str(row.id) for row in RemoteDocument.objects.filter(target__query=asked)}
    ear.known |= {str(asked.id): "<query>"}
    for number in seen:
        ear.known |= {ids[remote(number).remote_id]: f"<document {number}>"}
    heard["view",] = [ordered(ear.ask("GET", path))]
    heard["view again",] = [ordered(ear.ask("GET", f"{path}?wait=0"))]
    heard["stream",] = [ordered(ear.ask("GET", f"{path}/events"))]
    for number in range(len(HELD)):
        if number in seen:
            continue
        hidden = ids.get(remote(number).remote_id, str(uuid.uuid4()))
        ear.known |= {hidden: "<asked>"}
        for method, where in (
            ("GET", f"/fhir/Binary/{hidden}"),
            ("HEAD", f"/fhir/Binary/{hidden}"),
            ("GET", f"/fhir/DocumentReference/{hidden}"),
            ("GET", f"/fhir/DocumentReference?_id={hidden}"),
        ):
            heard[method, where.replace(hidden, ""), number] = [ear.ask(method, where)]
        heard["range", number] = [ear.ask("GET", f"/fhir/Binary/{hidden}", Range="bytes=0-3")]
    return heard


@walks("url", "api/queries", "api/queries/<uuid:query_id>", "api/queries/<uuid:query_id>/events")
@walks("fhir", "Binary read")
@pytest.mark.parametrize(
    ("case", "early"),
    # The law of the place is there from the beginning.
    [
        pytest.param(case, early, marks=pytest.mark.slow if early and case != "by label" else ())
        for case, (policy, _) in CASES.items()
        for early in (False, True)
        if policy.provisions or not early
    ],
)
def test_remote_documents_that_are_hidden_are_none(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, case: str, early: bool
) -> None:
    monkeypatch.setattr(tasks, "nudge", lambda query_id: None)
    policy, hidden = CASES[case]
    every = tuple(range(len(HELD)))
    seen = tuple(number for number in every if number not in hidden)
    with_them = taken_back(lambda: side(policy, every, seen, listener, early=early))
    without = taken_back(lambda: side(policy, seen, seen, listener, early=early))
    same(with_them, without)
    view = with_them["view",][0]
    assert view.status == 200, view
    assert view.body.count('"resourceType": "DocumentReference"') == len(seen), "what may be seen is there"


@walks("task", "exchange.run_query")
@pytest.mark.parametrize(
    "hidden", ["she denies these", "the hospital releases nothing", "the law forbids", "the hospital is suspended"]
)
def test_other_communities_are_asked_nothing_that_the_asker_may_not_know(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, hidden: str
) -> None:
    """A hidden record of the same patient adds no name, identifier or address to the question."""
    monkeypatch.setattr(tasks, "nudge", lambda query_id: None)
    hiding = HIDINGS[hidden]

    def questions(there: bool) -> list[tuple[str, Any]]:
        place.takes_part(hiding.policy, world.community_at(1, 1), world.community_at(2, 1))
        if there:
            address = world.Address(lines=("9 Hidden Close",), city="Secretford", postal_code="50010", country="US")
            person = place.fed(**hiding.demographics | {"addresses": (address,)})
            place.directed(hiding.policy, person, [], listener)
            if hiding.after is not None:
                hiding.after()
        elif hiding.after is not None:
            hiding.after()
        own = own_record()
        assert not there or own == person, "the index takes both for one"
        request = query.QueryRequest(person_id=uuid.UUID(own), filter={}, deadline_s=60.0, raw=b"{}")
        query.ask(request, caller=world.caller(), nudge=lambda _: None)
        return sorted(
            (job.endpoint.url, Names({own: "<person>"}).bare(repr(job.question.demographics))) for job in loop.claim()
        )

    with_it, without = taken_back(lambda: questions(True)), taken_back(lambda: questions(False))
    assert with_it == without
