"""The walk over sets and folders: one with something hidden in it is as one into which that was never put.

A folder is there before its documents; each comes into it by a submission of its own, the first two documents are of one
submission set, and one may replace the one before and so take its place in the folder. On the other hub the hidden ones
were never published. What is asked after instants between the submissions is answered alike too.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from hie.standards.fhir import instant_text
from tests.leaks import place, policies
from tests.leaks.policies import Document, Policy
from tests.leaks.test_walk_documents import EXAMPLES, bare
from tests.leaks.walking import Ear, Heard, Listener, same, taken_back, walks

pytestmark = pytest.mark.django_db

OF_TIMES = (
    "&_lastUpdated=ge{at}",
    "&_lastUpdated=lt{at}",
    "&_lastUpdated=ne{at}",
    "&_lastUpdated=sa{at}",
    "&_lastUpdated=lt{at}&status=current",
    "&_lastUpdated=ge{at}&status=superseded",
)
DOCUMENTS = (*OF_TIMES, "&_sort=_lastUpdated", "&_sort=-_lastUpdated&_count=1")
LISTS = (
    *OF_TIMES[:4],
    "&date=ge{at}",
    "&date=lt{at}",
    "",
    "&code=folder",
    "&_sort=_lastUpdated",
    "&_sort=-date&_count=1",
    "&_summary=count",
    "&designationType=34117-2",
)


def side(
    who: str, held: list[Document], policy: Policy, there: list[bool], seen: list[bool], listener: Listener
) -> dict[Any, list[Heard]]:
    """One hub: the documents that are `there`, in sets and a folder; what is heard of these."""
    place.takes_part(policy)
    person = place.fed()
    place.helped()
    made, folder, puts = place.published_in_sets(held, there, listener)
    place.directed(policy, person, made, listener)
    ear = Ear(policies.requester(who, person), listener)
    ear.known = {person: "<person>", folder.split("/")[1]: "<folder>"} | place.called(made, seen)
    ear.known |= {
        put.split("/")[1]: f"<put {n}>" for n, (put, may) in enumerate(zip(puts, seen, strict=True)) if put and may
    }
    shared = next((ids["List"].split("/")[1] for ids, may in zip(made[:2], seen[:2], strict=True) if ids and may), "")
    ear.known |= {shared: "<set>"} if shared else {}
    # The last instant at which a document came that may be seen, as the hub itself tells it; the hidden come later or before.
    instants = _instants(made, seen, listener)
    heard: dict[Any, list[Heard]] = {}
    for kind, queries in (("DocumentReference", DOCUMENTS), ("List", LISTS)):
        for query in queries:
            for n, at in enumerate(instants if "{at}" in query else [""]):
                ear.known |= {at: f"<at {n}>", quote(at): f"<at {n}>"} if at else {}
                heard[kind, query, n] = ear.pages(f"/fhir/{kind}?patient={person}{query.format(at=quote(at))}")
    heard["folder",] = [ear.ask("GET", f"/fhir/{folder}")]
    heard["folder of version",] = [ear.ask("GET", f"/fhir/{folder}/_history/{n}") for n in range(1, 6)]
    heard["folder by time",] = [ear.ask("GET", f"/fhir/{folder}", **{"If-None-Match": f'W/"{n}"'}) for n in range(1, 6)]
    if shared:
        heard["set",] = [ear.ask("GET", f"/fhir/List/{shared}")]
    return heard


def _instants(made: list[dict[str, str] | None], seen: list[bool], listener: Listener) -> list[str]:
    from documents.models import DocumentEntry

    del listener
    shown = [ids["DocumentReference"].split("/")[1] for ids, may in zip(made, seen, strict=True) if ids and may]
    rows = (
        DocumentEntry.objects.filter(entry_uuid__in=shown)
        .order_by("registered_at")
        .values_list("registered_at", flat=True)
    )
    return [instant_text(at) for at in rows]


@walks("fhir", "List search", "List read", "List vread", "DocumentReference search")
@pytest.mark.parametrize(
    "who",
    [
        pytest.param(who, marks=() if who in ("clinician", "proxy") else pytest.mark.slow)
        for who in ("clinician", "payer", "patient", "proxy")
    ],
)
@settings(
    max_examples=EXAMPLES,
    derandomize="HIE_EXAMPLES" not in os.environ,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(held=policies.documents, policy=policies.policies)
def test_sets_and_folders_with_hidden_documents_are_as_those_that_never_had_them(
    listener: Listener, who: str, held: list[Document], policy: Policy
) -> None:
    # One that is seen by nobody but its own house replaces one that most may see.
    held = [*held, Document(), Document(letter="V", relation="replaces")][-5:]
    held[:2] = [
        Document(type=one.type, category=one.category, letter=one.letter, label=one.label, year=one.year)
        for one in held[:2]
    ]
    seen = policies.visible(who, held, policy)
    with_them = taken_back(lambda: side(who, held, policy, [True] * len(held), seen, listener))
    without = taken_back(lambda: side(who, held, policy, seen, seen, listener))
    same(bare(with_them), bare(without))
