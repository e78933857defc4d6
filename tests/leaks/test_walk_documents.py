"""The walk over documents: with generated policies, the hub with what is hidden answers as the one without it.

Two hubs are built one after the other from one state: one has all documents of the case, the other those that the slow
evaluator lets the requester see. Whatever is asked of both is answered alike.
"""

from __future__ import annotations

import os
import uuid
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from consent import directives
from consent.models import Consent
from tests.exchange import world
from tests.exchange.releasing import PATIENT
from tests.leaks import place, policies
from tests.leaks.policies import CLASS, LOINC, TYPES, Document, Policy
from tests.leaks.walking import Ear, Heard, Listener, Names, same, taken_back, walks

pytestmark = pytest.mark.django_db
EXAMPLES = int(os.environ.get("HIE_EXAMPLES", "1"))

SEARCHES = (
    "",
    "&_count=1",
    "&_count=2&_sort=creation",
    "&_summary=count",
    "&_count=0",
    "&_total=accurate&_count=1",
    "&_sort=-_lastUpdated",
    "&_sort=-date&_count=3",
    "&_sort=period",
    "&status=current",
    "&status=superseded",
    *(f"&type={LOINC}%7C{code}" for code in TYPES),
    f"&type:not={TYPES[0]}",
    f"&category={CLASS}%7CIMAGES",
    "&category:not=REPORTS",
    "&security-label=R",
    "&security-label=HIV",
    "&security-label:not=R",
    "&creation=ge2021",
    "&creation=lt2021-04-03",
    "&period=2021",
    "&date=ge2000",
    "&_lastUpdated=ge2020",
    "&facility=22232009",
    "&setting=408443003",
    "&format=urn:ihe:iti:xds:2017:mimeTypeSufficient",
    "&contenttype=text/plain",
    "&language=en-US",
    "&event:missing=true",
    "&related:missing=true",
    "&relation=replaces",
    "&relatesto:missing=false",
    "&author.family=North",
    "&description:contains=Title",
    "&_elements=type",
    "&_summary=true",
    "&_include=DocumentReference:subject",
    "&_include=DocumentReference:relatesto",
    "&_include:iterate=*",
    "&_revinclude=List:item",
    "&_has:List:item:code=submissionset",
    "&subject:Patient.name=Vanterpool",
    "&patient.family=Vanterpool",
)
LISTS = (
    "",
    "&code=submissionset",
    "&code=folder",
    "&_count=1",
    "&_summary=count",
    "&sourceId=urn:oid:2.999.10.2",
    "&_include=List:item",
    "&item:missing=true",
    "&_sort=-date",
)


@st.composite
def walks_drawn(draw: Any) -> tuple[list[str], list[str], bool]:
    """Which searches of entries and lists are made, and whether all are made once before the policy is in force."""
    return (
        draw(st.lists(st.sampled_from(SEARCHES), min_size=5, max_size=5, unique=True)),
        draw(st.lists(st.sampled_from(LISTS), min_size=2, max_size=2, unique=True)),
        draw(st.booleans()),
    )


def side(
    who: str, held: list[Document], policy: Policy, there: list[bool], seen: list[bool], drawn: Any, listener: Listener
) -> dict[Any, list[Heard]]:
    """One hub: all documents that are `there`; what is heard of them. `seen` are those the requester may see."""
    searches, lists, warm = drawn
    place.takes_part(policy)
    person = place.fed()
    place.helped()
    made = place.published(held, there, listener)
    ear = Ear(policies.requester(who, person), listener)
    paths = [f"/fhir/DocumentReference?patient={person}{query}" for query in searches]
    paths += [f"/fhir/DocumentReference?patient.identifier={place.SYSTEM}%7C{place.LOCAL}{searches[0]}"]
    paths += [f"/fhir/List?patient={person}{query}" for query in lists]
    if warm:
        for path in paths:
            ear.ask("GET", path)  # what is remembered of the time before must not outlive it
    filed = place.directed(policy, person, made, listener)
    names = {person: "<person>"} | {one: f"<consent {number}>" for number, one in enumerate(filed)}
    names |= place.called(made, seen)
    ear.known = names
    heard: dict[Any, list[Heard]] = {}
    for query, path in zip([*searches, "by identifier", *lists], paths, strict=True):
        heard[path.split("?")[0], query] = ear.pages(path)
    for number, (ids, may) in enumerate(zip(made, seen, strict=True)):
        if may:
            assert ids is not None
            for kind in place.KINDS:
                heard[kind, number] = [ear.ask("GET", f"/fhir/{ids[kind]}")]
            assert heard["DocumentReference", number][0].status == 200, "the slow evaluator lets it through"
            assert heard["Binary", number][0].status == 200
    for number, hidden in place.not_seen(made, seen):
        unique = hidden["unique"]
        ear.known = names | {unique.removeprefix("urn:oid:"): "<asked>"}
        ear.known |= {hidden[kind].split("/")[1]: f"<asked {kind}>" for kind in place.KINDS}
        key = hidden["DocumentReference"].split("/")[1]
        for method, path in (
            ("GET", f"/fhir/{hidden['DocumentReference']}"),
            ("HEAD", f"/fhir/{hidden['DocumentReference']}"),
            ("GET", f"/fhir/{hidden['DocumentReference']}/_history/1"),
            ("GET", f"/fhir/{hidden['DocumentReference']}/_history"),
            ("GET", f"/fhir/{hidden['Binary']}"),
            ("HEAD", f"/fhir/{hidden['Binary']}"),
            ("GET", f"/fhir/{hidden['Binary']}/_history/1"),
            ("GET", f"/fhir/{hidden['List']}"),
            ("GET", f"/fhir/List?_id={hidden['List'].split('/')[1]}"),
            ("GET", f"/fhir/DocumentReference?_id={key}"),
            ("GET", f"/fhir/DocumentReference?identifier={quote(unique)}"),
            ("GET", f"/fhir/DocumentReference?patient={person}&related=DocumentReference/{key}"),
            ("GET", f"/fhir/DocumentReference?patient={person}&relatesto=DocumentReference/{key}"),
            ("GET", f"/fhir/List?patient={person}&item=DocumentReference/{key}"),
            *([] if warm else [("GET", f"/fhir/AuditEvent?date=ge2020&entity=DocumentReference/{key}")]),
        ):
            heard[method, path.replace(key, "<key>").replace(person, "<person>").replace(unique, ""), number] = [
                ear.ask(method, path)
            ]
        heard["bytes", number] = [ear.ask("GET", f"/fhir/{hidden['Binary']}", Range="bytes=0-3")]
        ear.known = names
    paths = [f"/fhir/Consent?patient={person}", f"/fhir/Patient/{person}"]
    if who not in ("own clinician", "patient") and not warm:
        # Who published a document or saw it before, and whom it is about, find that this was so.
        paths += [f"/fhir/AuditEvent?date=ge2020&patient={person}", "/fhir/AuditEvent?date=ge2020&_count=7"]
    for path in paths:
        heard[path.replace(person, ""),] = ear.pages(path) if "Audit" not in path else [ear.ask("GET", path)]
    heard["one event",] = [ear.ask("GET", f"/fhir/AuditEvent?_id={uuid.UUID(int=1)}&patient={person}")]
    return heard


def bare(questions: dict[Any, list[Heard]]) -> dict[Any, list[Heard]]:
    """The questions without the ids in them."""
    names = Names({})
    return {tuple(names.bare(str(part)) for part in key): heard for key, heard in questions.items()}


@walks("fhir", "DocumentReference search", "DocumentReference read", "DocumentReference vread")
@walks("fhir", "Binary read", "Binary vread", "List search", "List read", "Consent search", "AuditEvent search")
@pytest.mark.parametrize(
    "who",
    [
        pytest.param(who, marks=() if who in ("clinician", "payer", "proxy") else pytest.mark.slow)
        for who in policies.REQUESTERS
    ],
)
@settings(
    max_examples=EXAMPLES,
    derandomize="HIE_EXAMPLES" not in os.environ,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(held=policies.documents, policy=policies.policies, drawn=walks_drawn())
def test_the_hub_with_hidden_documents_answers_as_one_that_never_had_them(
    listener: Listener, who: str, held: list[Document], policy: Policy, drawn: Any
) -> None:
    seen = policies.visible(who, held, policy)
    with_them = taken_back(lambda: side(who, held, policy, [True] * len(held), seen, drawn, listener))
    without = taken_back(lambda: side(who, held, policy, seen, seen, drawn, listener))
    same(bare(with_them), bare(without))


@walks("fhir", "Binary read")
def test_an_answer_of_before_is_not_served_from_memory_after(listener: Listener) -> None:
    """The same questions before a denial and after it, and before a permit and after it."""

    def asked(turns: int) -> list[list[Heard]]:
        place.takes_part()
        person = place.fed()
        (ids,) = place.published([Document()], [True], listener)
        assert ids is not None
        ear = Ear(world.caller(), listener, {person: "<person>"})
        found = []
        for turn in range(turns):
            if turn:
                kind = ("deny", "permit")[(turn - 1) % 2]
                resource = {"type": "permit"} if kind == "permit" else {"type": "deny"}
                made = place.directed(Policy(provisions=(resource,)), person, [], listener)
                _only(made)
            found.append(
                [
                    ear.ask("GET", f"/fhir/{ids['Binary']}"),
                    ear.ask("GET", f"/fhir/DocumentReference?patient={person}"),
                    ear.ask("GET", f"/fhir/Patient/{person}"),
                ]
            )
        return found

    first, second, third = taken_back(lambda: asked(3))
    assert [one.status for one in first] == [200, 200, 200]
    assert [one.status for one in second] == [404, 200, 404]
    assert '"total": 0' in second[1].body
    assert [one.status for one in third] == [200, 200, 200]


def _only(ids: list[str]) -> None:
    """Of the patient's directives these alone stay in force."""
    for row in Consent.objects.exclude(id__in=ids).filter(status="active"):
        directives.revoke(row.id, filer=PATIENT, reason="changed")
