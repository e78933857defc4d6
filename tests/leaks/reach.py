"""Which functions of the project a function can reach: a static walk over the names that its source uses.

It over-reaches (a name counts whether or not the line that has it runs), so it can show that a guard is not
called at all, never that it is called in time; that is what the tests over HTTP are for.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from django.apps import apps
from django.db.models import Model

OURS = ("hie.", "patients.", "documents.", "consent.")
DOOR = frozenset({"hie.exchange.administrative.administrative"}) | frozenset(
    f"hie.exchange.access.{name}"
    for name in (
        "gate",
        "gate_emergency",
        "known_in_emergency",
        "known_to_publisher",
        "permitted",
        "still_permitted",
        "demographics",
        "questions",
        "open_permitted",
        "open_upload",
        "may_submit",
    )
)
"""The functions of the door that decide; its values and clocks do not count."""


_OF_PATIENTS: Mapping[str, frozenset[str] | None] = {
    "documents": None,
    "patients": None,
    "consent": frozenset(
        {"Consent", "ConsentVersion", "ProxyGrant", "BreakGlassGrant", "EmergencyReview", "EmergencyAct"}
    ),
    "audit": frozenset({"AuditEvent", "Disclosure"}),
    "trust": frozenset({"ActivationCode"}),
    "exchange": frozenset(
        {
            "Query",
            "QueryTarget",
            "RemoteDocument",
            "InboundMessage",
            "Concern",
            "ConcernAct",
            "NoticeChoice",
            "PatientNotice",
        }
    ),
}
"""Apps and those of their models that hold something of a patient; None: all of them."""
_OF_NOBODY = frozenset({"patients.models.MatchModel"})
"""Of those, what holds weights and thresholds alone."""


@cache
def records() -> frozenset[str]:
    """Where something of a patient is read: the models that hold it, and the bytes of documents."""
    models = (
        model
        for app, names in _OF_PATIENTS.items()
        for model in apps.get_app_config(app).get_models()
        if names is None or model.__name__ in names
    )
    return frozenset({"documents.repository.open", *map(dotted, models)}) - _OF_NOBODY


def dotted(thing: Any) -> str:
    """Where a function or class is defined."""
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', '')}"


def reaches(start: Callable[..., Any], goals: frozenset[str]) -> bool:
    """Whether `start` can come to one of these dotted functions."""
    seen: set[int] = set()
    waiting: list[Any] = [start]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if dotted(thing) in goals:
            return True
        waiting.extend(_uses(thing))
    return False


_held: dict[int, tuple[Any, tuple[Any, ...]]] = {}


def _uses(thing: Any) -> tuple[Any, ...]:
    """As `_used`, found out once; the thing is held beside, so that its id stays its own."""
    if id(thing) not in _held:
        _held[id(thing)] = (thing, tuple(_used(thing)))
    return _held[id(thing)][1]


@cache
def _tree(path: str) -> dict[int, ast.AST]:
    """The functions of a file by the line they begin at (that of the first decorator)."""
    found: dict[int, ast.AST] = {}
    for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found[min([node.lineno, *(item.lineno for item in node.decorator_list)])] = node
        elif isinstance(node, ast.Lambda):
            found.setdefault(node.lineno, node)
    return found


def _source(function: FunctionType) -> ast.AST | None:
    code = function.__code__
    return _tree(code.co_filename).get(code.co_firstlineno) if code.co_filename.endswith(".py") else None


def _names(function: FunctionType) -> tuple[tuple[str, ...], ...]:
    """Each dotted name in a function's source, as its parts."""
    tree = _source(function)
    if tree is None:
        return ()
    found: list[tuple[str, ...]] = []
    for node in ast.walk(tree):
        parts: list[str] = []
        inner: ast.AST = node
        while isinstance(inner, ast.Attribute):
            parts.insert(0, inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            found.append((inner.id, *parts))
    return tuple(found)


def _used(thing: Any) -> Iterator[Any]:
    thing = inspect.unwrap(getattr(thing, "__func__", thing))
    thing = getattr(thing, "__func__", thing)  # what was wrapped may be a bound method
    if isinstance(thing, type):
        for base in thing.__mro__:
            if str(base.__module__).startswith(OURS):
                yield from (item for item in vars(base).values() if callable(item) or isinstance(item, staticmethod))
        return
    view_class = getattr(thing, "view_class", None) or getattr(thing, "cls", None)
    if view_class is not None:
        yield view_class
    if not isinstance(thing, FunctionType) or not thing.__module__.startswith(OURS):
        return
    for cell in thing.__closure__ or ():
        try:
            content = cell.cell_contents
        except ValueError:
            continue
        if callable(content):
            yield content
    local = _imported_inside(thing)
    own = thing.__globals__.get(thing.__qualname__.partition(".")[0])
    for first, *rest in _names(thing):
        value: Any = local.get(first, thing.__globals__.get(first))
        if first == "self" and isinstance(own, type) and rest:
            # The method alone: the class would reach all that any of its methods does.
            value = inspect.getattr_static(own, rest.pop(0), None)
        for part in rest:
            following = getattr(value, part, None) if isinstance(value, (ModuleType, type)) else None
            if following is None:
                break
            value = following
        if callable(value) and str(getattr(value, "__module__", "")).startswith(OURS):
            yield value
        model = local.get(first, thing.__globals__.get(first))
        if isinstance(model, ModuleType) and rest:
            model = getattr(model, rest[0], None)
        if isinstance(model, type) and issubclass(model, Model):
            yield model  # of `Model.objects.filter` the rest is Django's


def functions_of(module: ModuleType) -> Iterator[FunctionType]:
    """The functions and methods that a module defines, as they were written, those in its tables too."""
    for value in vars(module).values():
        held: Iterable[Any] = (value,)
        if isinstance(value, type):
            held = vars(value).values() if value.__module__ == module.__name__ else ()
        elif isinstance(value, (dict, list, tuple)):
            held = value.values() if isinstance(value, dict) else value
        for one in held:
            if isinstance(one, property):
                one = one.fget
            one = getattr(one, "__func__", one)
            one = inspect.unwrap(one) if callable(one) else one
            if isinstance(one, FunctionType) and one.__module__ == module.__name__:
                yield one


def calls(function: FunctionType) -> Iterator[Any]:
    """What of the project a function uses itself."""
    return iter(_uses(function))


def _imported_inside(function: FunctionType) -> dict[str, Any]:
    """Names that the function imports by itself."""
    tree = _source(function)
    if tree is None:
        return {}
    found: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(tuple(p[:-1] for p in OURS)):
            module = importlib.import_module(node.module)
            for name in node.names:
                value = getattr(module, name.name, None)
                if value is None:
                    value = importlib.import_module(f"{node.module}.{name.name}")
                found[name.asname or name.name] = value
    return found
