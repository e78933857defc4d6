"""Nothing leaves by a way that the leak table does not know."""

from __future__ import annotations

import re
import sys
from types import FunctionType, ModuleType
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.utils.module_loading import import_string

from tests.leaks import reach
from tests.leaks.table import HELD_ELSEWHERE, TABLE, Entry, Guarded, Nothing, Within
from tests.leaks.ways import Way, ways


def problems(found: list[Way], table: Any = TABLE) -> list[str]:
    """What is wrong with the table as held against the ways there are."""
    listed = {(kind, name): entry for kind, entries in table.items() for name, entry in entries.items()}
    there = {(way.kind, _plain(way.name)): way for way in found}
    wrong = [f"{kind} {name}: a way out with no entry" for kind, name in there.keys() - listed.keys()]
    wrong += [f"{kind} {name}: an entry without a way" for kind, name in listed.keys() - there.keys()]
    for key in there.keys() & listed.keys():
        wrong += [f"{key[0]} {key[1]}: {problem}" for problem in _entry(listed[key], there[key])]
    return sorted(wrong)


def _plain(name: str) -> str:
    """The one pattern of the admin that names every app, without their names."""
    return re.sub(r"(\(\?P<app_label>)[^)]*\)", r"\1*)", name)


def _entry(entry: Entry, way: Way) -> list[str]:
    if isinstance(entry, Nothing | Within):
        wrong = [] if entry.why.strip() else ["no reason why nothing leaves"]
        if isinstance(entry, Nothing) and reach.reaches(way.target, reach.records()):
            wrong.append("said to read no record, and reads some")
        return wrong
    try:
        guard = import_string(entry.by)
    except ImportError:
        return [f"the guard {entry.by} does not exist"]
    if not isinstance(guard, FunctionType):
        return [f"the guard {entry.by} is no function"]
    wrong = []
    if not reach.reaches(guard, reach.DOOR):
        wrong.append(f"the guard {entry.by} does not ask the door")
    if not _reaches_guard(way, entry.by):
        wrong.append(f"the guard {entry.by} is not on the way")
    return wrong


def _reaches_guard(way: Way, guard: str) -> bool:
    if way.kind == "url" and way.name.startswith("fhir"):
        return True  # the dispatcher calls the handlers of the routing table, each listed by itself
    if way.name == "exchange.run_query":
        from hie.exchange.loop import FanOut

        return reach.reaches(FanOut, frozenset({guard}))  # the task wakes the loop, which asks
    if way.name == "mllp":
        from hie.faces.hl7v2.handler import Hl7v2Handler

        return reach.reaches(
            Hl7v2Handler, frozenset({guard})
        )  # the listener hands to the inbox, the inbox to the handler
    return reach.reaches(way.target, frozenset({guard}))


def test_every_way_out_has_an_entry_and_every_guard_asks_the_door() -> None:
    assert problems(ways("hie.urls")) == []


def test_every_guard_releases_only_what_still_stands_or_says_who_does() -> None:
    guards = {entry.by for entries in TABLE.values() for entry in entries.values() if isinstance(entry, Guarded)}
    points = {guard for guard in guards if getattr(import_string(guard), "release_point", False)}
    assert guards - points == set(HELD_ELSEWHERE)
    assert all(why.strip() for why in HELD_ELSEWHERE.values())


def show_everything(request: HttpRequest) -> HttpResponse:
    """A view that somebody forgot to guard."""
    return HttpResponse("everybody's data")


def test_a_forgotten_url_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("tests.leaks.forgotten_urls")
    module.urlpatterns = [path("", include("hie.urls")), path("backdoor/<int:pk>", show_everything)]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert problems(ways(module.__name__)) == ["url backdoor/<int:pk>: a way out with no entry"]


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        pytest.param(
            {"Patient $everything": Guarded("hie.exchange.identity.match")},
            "fhir Patient $everything: an entry without a way",
            id="stale",
        ),
        pytest.param(
            {"Patient $match": Guarded("hie.exchange.identity.guess")},
            "fhir Patient $match: the guard hie.exchange.identity.guess does not exist",
            id="missing-guard",
        ),
        pytest.param(
            {"Patient $match": Guarded("hie.exchange.document_lists.read_list")},
            "fhir Patient $match: the guard hie.exchange.document_lists.read_list is not on the way",
            id="another-guard",
        ),
        pytest.param(
            {"Patient $match": Guarded("hie.exchange.identity.hub_identifier")},
            "fhir Patient $match: the guard hie.exchange.identity.hub_identifier does not ask the door",
            id="no-guard-at-all",
        ),
        pytest.param(
            {"Patient $match": Nothing(" ")}, "fhir Patient $match: no reason why nothing leaves", id="no-why"
        ),
    ],
)
def test_a_wrong_entry_is_reported(change: dict[str, Entry], reported: str) -> None:
    table = {**TABLE, "fhir": {**TABLE["fhir"], **change}}
    assert reported in problems(ways("hie.urls"), table)
