"""Whatever puts persons together or takes them apart from the desk goes through the queue, which asks a second steward.

Read from the code: every page and action of the desk is followed to the functions that move records, and may come to them by
the queue's own way alone. What that way does over HTTP is in `test_reviews.py` and `test_person_pages.py`; that its two
people are two is in `test_second_person.py`.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hie.exchange import identity_changes, stewardship
from patients import changes, linking
from tests.leaks import reach
from tests.leaks.ways import Way, ways

MOVES = frozenset(
    f"patients.changes.{name}"
    for name in ("merge", "unmerge", "link", "unlink", "split", "apart", "undo", "resolve_duplicate", "remove")
) | {"patients.reviewing.settle"}
"""What moves records from one person to another."""
BY_THE_QUEUE = frozenset(
    f"hie.exchange.stewardship.{name}" for name in ("_settle", "undo_review", "undo_change", "undo_value")
)
"""What of the queue carries out a verdict, or takes back what was done: each asks for a second steward where documents move."""


def ways_around(start: Callable[..., Any], around: frozenset[str] = BY_THE_QUEUE) -> list[str]:
    """What of `MOVES` a way of the desk comes to otherwise than by these functions."""
    found: set[str] = set()
    seen: set[int] = set()
    waiting: list[Any] = [start]
    while waiting:
        thing = waiting.pop()
        name = reach.dotted(thing)
        if id(thing) in seen or name in around:
            continue
        seen.add(id(thing))
        if name in MOVES:
            found.add(name)
        waiting.extend(reach._uses(thing))
    return sorted(found)


def of_the_desk() -> list[Way]:
    return [one for one in ways("hie.urls") if one.kind in ("admin", "action") or (one.kind == "url" and one.name.startswith("admin/"))]  # fmt: skip


def test_no_way_of_the_desk_moves_records_but_by_the_queue() -> None:
    found = {f"{one.kind} {one.name}": moves for one in of_the_desk() if (moves := ways_around(one.target))}
    assert found == {}


def test_the_walk_sees_a_way_that_goes_around_the_queue() -> None:
    def forgotten() -> None:
        linking.merge(None, None, actor="x")  # type: ignore[arg-type]

    forgotten.__module__ = "hie.exchange.forgotten"
    assert ways_around(forgotten) == ["patients.changes.merge"]
    assert "patients.changes.merge" in ways_around(identity_changes.merge)
    assert "patients.reviewing.settle" in ways_around(stewardship.decide_review, frozenset())
    assert ways_around(stewardship.decide_review) == []


def test_every_function_that_moves_records_is_named_here() -> None:
    """One that is added to `patients.changes` must be looked at."""
    own = {
        name for name, one in vars(changes).items() if inspect.isfunction(one) and one.__module__ == changes.__name__
    }
    quiet = {name for name in own if name.startswith("_")} | {
        "active_records", "confirm", "link_of", "lock_persons", "merge_of", "moved_by_undoing", "replacement_of", "undoable",
    }  # fmt: skip
    assert {f"patients.changes.{name}" for name in own - quiet} | {"patients.reviewing.settle"} == MOVES


def _callers(module: ModuleType, name: str) -> set[str]:
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    return {
        one.name
        for one in tree.body
        if isinstance(one, ast.FunctionDef)
        for call in ast.walk(one)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == name
    }


@pytest.mark.parametrize(
    ("function", "asks"),
    [("decide_review", "documents_moved"), ("_confirmed", "_check_second"), ("undo_change", "documents_brought")],
)
def test_whoever_carries_a_verdict_out_has_asked_whether_documents_move_or_who_the_second_is(
    function: str, asks: str
) -> None:
    assert _callers(stewardship, "_settle") == {"decide_review", "_confirmed"}
    source = inspect.getsource(getattr(stewardship, function))
    moving = "linking.undo(" if function == "undo_change" else "_settle("
    assert 0 < source.index(f"{asks}(") < source.rindex(moving)
