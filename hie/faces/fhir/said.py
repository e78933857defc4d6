"""What a DocumentReference says that policy asks: every coding, every name of its authors, what it belongs to.

XDS metadata has room for one code an attribute and one identifier an author; a resource may say more, and a denial
or a labelling rule must meet all of it. What is local is kept beside the metadata (`documents.facts` reads it), what
is remote is read anew.

Source: spec/consent.md 3 and 8; spec/fhir.md 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hie.faces.fhir import people
from hie.standards import naming
from hie.standards.fhir import JsonObject
from hie.standards.naming import Names

_FURTHER = ("practitioner", "organization")
_DEPTH = 4


def codings(resource: Mapping[str, Any]) -> dict[str, list[list[str]]]:
    """Every coding as ``[system, code]``, "" for a system that is not given.

    By what policy calls it: ``class`` (category, format), ``clinical`` (type, events), ``security`` (security labels of
    the document and of the resource), ``other`` (facility and practice setting).
    """
    context, meta = _object(resource.get("context")), _object(resource.get("meta"))
    formats = [_object(one).get("format") for one in _list(resource.get("content"))]
    found = {
        "class": _codings([resource.get("category"), formats]),
        "clinical": _codings([resource.get("type"), context.get("event")]),
        "security": _codings([resource.get("securityLabel"), meta.get("security")]),
        "other": _codings([context.get("facilityType"), context.get("practiceSetting")]),
    }
    return {kind: listed for kind, listed in found.items() if listed}


def authors(resource: Mapping[str, Any], bundle: Mapping[str, JsonObject] | None = None) -> Names:
    """Every name of every author: of the reference, and of what it refers to where that is contained or sent along."""
    contained = [one for one in _list(resource.get("contained")) if isinstance(one, dict)]
    resolver = people.Resolver(contained, bundle)
    return Names.union(_named(one, resolver, _DEPTH, set()) for one in _list(resource.get("author")))


def _named(reference: Any, resolver: people.Resolver, depth: int, seen: set[int]) -> Names:
    names = [naming.referred(reference)]
    found = resolver.find(reference) if isinstance(reference, Mapping) else None
    if found is not None and depth and id(found) not in seen:
        seen.add(id(found))  # each resource once: they may name one another over and over
        names.append(naming.resource(found))
        further = [found.get(member) for member in _FURTHER]
        further += [
            one.get("valueReference")
            for one in _list(found.get("extension"))
            if isinstance(one, Mapping) and one.get("url") == people.FURTHER_ORGANIZATION
        ]
        names += [_named(one, resolver, depth - 1, seen) for one in further if one is not None]
    return Names.union(names)


def belongs_to(resource: Mapping[str, Any]) -> list[str]:
    """What the document is said to belong to: encounters and related things, by reference, identifier or uniqueId."""
    context = _object(resource.get("context"))
    found: set[str] = set()
    for one in [*_list(context.get("encounter")), *_list(context.get("related"))]:
        names = naming.referred(one)
        found |= names.sure | names.perhaps
    return sorted(found)


def _codings(value: Any) -> list[list[str]]:
    """Codings of a Coding or CodeableConcept, and of lists of them, in order, each once."""
    found: dict[tuple[str, str], None] = {}
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, list):
            todo += reversed(item)
        elif isinstance(item, Mapping):
            if isinstance(item.get("coding"), list):
                todo += reversed(item["coding"])
            system, code = item.get("system"), item.get("code")
            if isinstance(code, str) and code.strip():
                found[system.strip() if isinstance(system, str) else "", code.strip()] = None
    return [[system, code] for system, code in found]


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
