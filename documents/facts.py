"""An entry as policy and labelling see it: every coding in every spelling, every name of its authors.

Pure. `EntryMetadata.extra["said"]` holds what a submission said beyond the attributes of XDS (written by the face that
read it): ``codings`` by ``class``, ``clinical``, ``security`` and ``other`` as ``[system, code]``; ``authors`` and ``perhaps_authors``, names
as `hie.standards.naming` writes them; ``belongs_to``, references of encounters and related things.

Source: spec/consent.md 3, 5.4, 8.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from documents.metadata import Author, EntryMetadata
from hie.standards import naming, oids
from hie.standards.naming import Names

ENCOUNTER = "urn:ihe:iti:xds:2015:encounterId"
Coding = tuple[str, str]


def classes(entry: EntryMetadata) -> Iterable[Coding]:
    """Document class and format, as (scheme, code)."""
    yield from ((code.scheme, code.code) for code in (entry.class_code, entry.format_code) if code is not None)
    yield from _further(entry, "class")


def clinical(entry: EntryMetadata) -> Iterable[Coding]:
    """Type and event codes."""
    yield from ((code.scheme, code.code) for code in (entry.type_code, *entry.event_codes) if code is not None)
    yield from _further(entry, "clinical")


def security(entry: EntryMetadata) -> Iterable[Coding]:
    """Confidentiality codes and whatever else was sent as a security label."""
    yield from ((code.scheme, code.code) for code in entry.confidentiality_codes)
    yield from _further(entry, "security")


def codings(entry: EntryMetadata) -> frozenset[str]:
    """Every coding of an entry, ``system|code``: what the labelling rules look through."""
    others = (entry.healthcare_facility_type_code, entry.practice_setting_code)
    found = {f"{system}|{code}" for part in (classes, clinical, security) for system, code in part(entry)}
    found |= {code.key for code in others if code is not None}
    return frozenset(found | {f"{system}|{code}" for system, code in _further(entry, "other")})


def spelled(found: Iterable[Coding]) -> frozenset[str]:
    """``system|code`` in every spelling of the system: a rule or directive may write it in any."""
    return _spelled(tuple(found))


def authors(entry: EntryMetadata) -> Names:
    """Every name of every author."""
    named = _authors(entry.authors)
    said = entry.extra.get("said")
    if not said:
        return named
    return Names.union([named, Names(sure=_texts(said.get("authors")), perhaps=_texts(said.get("perhaps_authors")))])


def with_authors(entry: EntryMetadata, names: Names) -> EntryMetadata:
    """The entry with further names by which a denial may mean its authors, such as those that its own header gives."""
    more = (names.sure | names.perhaps) - authors(entry).sure - authors(entry).perhaps
    if not more:
        return entry
    held = _said(entry)
    kept = {**held, "perhaps_authors": sorted(more | _texts(held.get("perhaps_authors")))}
    return replace(entry, extra={**entry.extra, "said": kept})


def belongs_to(entry: EntryMetadata) -> frozenset[str]:
    """Names of the encounters and things that an entry says it belongs to."""
    if not entry.reference_ids and not entry.extra:
        return _NOTHING
    found = set(_texts(_said(entry).get("belongs_to")))
    for reference in entry.reference_ids:
        found |= {reference.value, *naming.identifier(reference.authority, reference.value)}
        if reference.type_code == ENCOUNTER:
            found.add(f"Encounter/{reference.value}")
    return frozenset(found)


_NOTHING: frozenset[str] = frozenset()


# Many documents of a patient have the same codes and authors: what these come to is worked out once.
@lru_cache(maxsize=8192)
def _spelled(found: tuple[Coding, ...]) -> frozenset[str]:
    return frozenset(f"{one}|{code}" for system, code in found for one in (oids.spellings(system) if system else ("",)))


@lru_cache(maxsize=8192)
def _authors(found: tuple[Author, ...]) -> Names:
    names = []
    for author in found:
        names += [naming.organization(one.id, one.authority) for one in author.institutions]
        if author.person is not None:
            names.append(naming.person(author.person.id, author.person.authority))
    return Names.union(names)


def _said(entry: EntryMetadata) -> Mapping[str, Any]:
    held = entry.extra.get("said")
    return held if isinstance(held, Mapping) else {}


def _further(entry: EntryMetadata, kind: str) -> Iterable[Coding]:
    if not entry.extra:
        return
    listed = _said(entry).get("codings")
    for item in listed.get(kind, ()) if isinstance(listed, Mapping) else ():
        yield item[0], item[1]


def _texts(value: Any) -> frozenset[str]:
    return frozenset(value) if isinstance(value, list | tuple) else frozenset()
