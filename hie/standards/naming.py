"""All the names by which somebody or something can be meant: references, and identifiers in every spelling.

A directive may name an author by reference, by an identifier of whatever system, or by an OID; a document by its
UUID or its uniqueId. `Names.sure` are those that surely mean the same; `perhaps` those that may, which only a denial
goes by (spec/consent.md 1.3).

Source: spec/consent.md 3 and 5.4; HL7 FHIR R4 Reference, Identifier; IHE ITI TF-3 4.2.3.1 (XCN, XON).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hie.standards import oids

RFC3986 = "urn:ietf:rfc:3986"
_PERSONS = ("Practitioner", "PractitionerRole", "RelatedPerson", "Patient", "Person", "Device")


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names of one or several, without order."""

    sure: frozenset[str] = frozenset()
    perhaps: frozenset[str] = frozenset()

    @property
    def ordered(self) -> tuple[str, ...]:
        """The sure ones, sorted."""
        return tuple(sorted(self.sure))

    @staticmethod
    def union(names: Iterable[Names]) -> Names:
        """All of them."""
        found = list(names)
        return Names(
            sure=frozenset().union(*(one.sure for one in found)),
            perhaps=frozenset().union(*(one.perhaps for one in found)),
        )


def identifier(system: str, value: str) -> frozenset[str]:
    """An identifier as ``system|value`` in every spelling of its system; an OID or URN also as a URI of its own."""
    value = value.strip()
    if not value:
        return frozenset()
    if system.strip() in ("", RFC3986):
        oid = oids.bare(value)
        if oids.is_oid(oid):
            return frozenset({f"{RFC3986}|urn:oid:{oid}", f"{RFC3986}|{oid}"})
        return frozenset({f"{RFC3986}|{value}"}) if system.strip() else frozenset()
    return frozenset(f"{spelled}|{value}" for spelled in oids.spellings(system))


@lru_cache(maxsize=4096)
def person(value: str, authority: str = "") -> Names:
    """A person of an XCN: id and assigning authority (bare OID or URI), or a reference in the place of the id."""
    value = value.strip()
    if not value:
        return Names()
    if "/" in value or value.startswith("urn:"):
        return reference(value)
    guessed = {f"{kind}/{value}" for kind in _PERSONS} | {value}
    return Names(sure=identifier(authority, value) if authority else frozenset(), perhaps=frozenset(guessed))


@lru_cache(maxsize=4096)
def organization(value: str, authority: str = "") -> Names:
    """An organization of an XON: id with its authority, an OID of its own, or a reference in the place of either."""
    value = value.strip()
    if not value:
        return Names()
    if "/" in value:
        return reference(value)
    sure = identifier(authority, value)
    root = oids.bare(authority)
    if oids.is_oid(root) and oids.is_oid(f"{root}.{value}"):
        return Names(sure=sure, perhaps=identifier("", f"{root}.{value}") | {f"Organization/{value}", value})
    return Names(sure=sure, perhaps=frozenset({f"Organization/{value}", value}))


@lru_cache(maxsize=4096)
def reference(text: str) -> Names:
    """A literal reference: as written without its version; perhaps as the same relative to any server."""
    plain = text.strip().split("/_history/", 1)[0]
    if not plain or plain.startswith("#"):
        return Names()
    return Names(sure=frozenset({plain}), perhaps=frozenset({"/".join(plain.split("/")[-2:])}))


def referred(value: Any) -> Names:
    """A FHIR Reference: its literal reference and its identifier."""
    if not isinstance(value, Mapping):
        return Names()
    text = value.get("reference")
    return Names.union([reference(text) if isinstance(text, str) else Names(), *_identified(value, "identifier")])


def resource(value: Any) -> Names:
    """A contained or sent FHIR resource that stands for somebody: its identifiers; its own id means nothing outside."""
    return Names.union(_identified(value, "identifier")) if isinstance(value, Mapping) else Names()


def _identified(holder: Mapping[str, Any], member: str) -> Iterable[Names]:
    items = holder.get(member)
    for item in items if isinstance(items, list) else (items,):
        if isinstance(item, Mapping) and isinstance(item.get("value"), str):
            system = item.get("system")
            value = item["value"].strip()
            spelled = identifier(system if isinstance(system, str) else "", value)
            yield Names(sure=spelled, perhaps=frozenset({value}))


def bare(text: str) -> str:
    """The last part of a reference, or a URN without its scheme, in lower case: for telling whether two may be one."""
    last = text.strip().split("/_history/", 1)[0].rpartition("/")[2].lower()
    return last.removeprefix("urn:uuid:").removeprefix("urn:oid:")
