"""What FHIR R4 says of an element: how often it comes, what its value is, and where it stands among its siblings.

The StructureDefinitions speak through the checker that holds every resource against them (`fhirkit`, made from the
official ones): each question is put to it once and remembered. So no list of elements is kept here that could differ
from what is checked.

A place is a path of element names from a resource type: ``("Patient", "name")``. An extension is the same everywhere,
so its place is `EXTENSION` however deep it stands.

Source: https://hl7.org/fhir/R4/elementdefinition.html; spec/fhir.md 1.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Any

import fhirkit
import orjson

Place = tuple[str, ...]

EXTENSION: Place = ("Basic", "extension")
PRIMITIVE: Place = ("Basic", "code")
"""Where id and extensions of a primitive value are asked about: they are those of any element."""
_REFERENCE: Place = ("Basic", "author")
_REMEMBERED = 32_768  # four times what R4 defines: nobody can push out what is needed by naming much
_FILLINGS: tuple[Any, ...] = (
    "2000-01-01", "2000-01-01T00:00:00Z", "urn:oid:1.2.3", "urn:uuid:00000000-0000-4000-8000-000000000000", "00:00:00",
    "AAAA", '<div xmlns="http://www.w3.org/1999/xhtml">-</div>', "x",
)  # fmt: skip
"""Of every primitive type written as text one value."""


class Kind(Enum):
    """What the value of an element is."""

    OBJECT = auto()
    RESOURCE = auto()
    BOOLEAN = auto()
    WHOLE = auto()
    NUMBER = auto()
    TEXT = auto()


_KINDS = {
    "expected true or false": Kind.BOOLEAN,
    "expected a whole number": Kind.WHOLE,
    "expected a number": Kind.NUMBER,
    "expected a string": Kind.TEXT,
    "a resource needs a resourceType": Kind.RESOURCE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One element as defined: the kind of its value, and whether it may come more than once."""

    kind: Kind
    many: bool


def is_resource_type(name: str) -> bool:
    """Whether FHIR R4 has a resource of this name."""
    return name in _TYPES


_TYPES = frozenset(fhirkit.RESOURCE_TYPES)


def below(place: Place, name: str) -> Place:
    """The place of a child; those that can hold themselves are the same however deep they stand."""
    if name in ("extension", "modifierExtension"):
        return EXTENSION
    return _REFERENCE if name == "assigner" else (*place, name)


@lru_cache(maxsize=_REMEMBERED)
def element(place: Place, name: str) -> Element | None:
    """The definition of a child of this place, None where FHIR has no such child. The place must be one."""
    told = _said(place, name, {})
    if told is None:
        return Element(kind=Kind.OBJECT, many=False)
    if told == "unknown element":
        return None
    many = told.startswith("expected an array")
    if many:
        told = _said(place, name, [{}])
    return Element(kind=_kind(told), many=many)


def _kind(told: str | None) -> Kind:
    return next((kind for start, kind in _KINDS.items() if told is not None and told.startswith(start)), Kind.OBJECT)


@lru_cache(maxsize=_REMEMBERED)
def in_order(place: Place, names: frozenset[str]) -> tuple[str, ...]:
    """Children of this place in the order of their definition; those that FHIR does not have come last, by name."""
    filled = {name: value for name in names if (value := _filling(place, name)) is not None}
    kept = _kept(place, filled)
    return (*(name for name in kept if name in names), *sorted(names - set(kept)))


@lru_cache(maxsize=_REMEMBERED)
def _filling(place: Place, name: str) -> Any:
    """A value the element may have, None where none is known."""
    found = element(place, name)
    if found is None:
        return None
    choices: tuple[Any, ...] = {
        Kind.OBJECT: ({"id": "x"},),
        Kind.RESOURCE: ({"resourceType": "Basic", "id": "x"},),
        Kind.BOOLEAN: (True,),
        Kind.WHOLE: (1,),
        Kind.NUMBER: (1,),
        Kind.TEXT: _FILLINGS,
    }[found.kind]
    for choice in choices:
        value = [choice] if found.many else choice
        if name in _kept(place, {name: value}):
            return value
    return None


def _within(place: Place, content: dict[str, Any]) -> dict[str, Any]:
    """The least resource that has this content at the place."""
    for depth in range(len(place) - 1, 0, -1):
        found = element(place[:depth], place[depth])
        content = {place[depth]: [content] if found is not None and found.many else content}
    return {"resourceType": place[0], **content}


def _said(place: Place, name: str, value: Any) -> str | None:
    """What is wrong with this value of the element, None when nothing is."""
    issues = fhirkit.validate(orjson.dumps(_within(place, {name: value})))
    ends = (f".{name}", f".{name}[0]")
    depth = len(place)
    return next((i.message for i in issues if i.path.count(".") == depth and i.path.endswith(ends)), None)


def _kept(place: Place, content: dict[str, Any]) -> dict[str, Any]:
    """The content as it comes back, in the order of the definitions."""
    held: Any = fhirkit.parse(orjson.dumps(_within(place, content))).to_dict()
    for name in place[1:]:
        held = held.get(name, {})
        held = held[0] if isinstance(held, list) else held
    return dict(held)
