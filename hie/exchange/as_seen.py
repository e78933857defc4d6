"""Documents as they would be if what the reader may not see did not exist.

Source: spec/consent.md 19.7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from documents import queries as registry
from documents.filters import DateAttribute, EntryFilter
from documents.metadata import ADDING, REPLACING, AssociationMetadata, Status
from documents.queries import EntryRow
from hie.exchange import access
from hie.exchange.access import Subject, Verdict
from hie.standards.facts import Caller, Operation


def telling_what_is_seen(caller: Caller, subject: Subject, rows: Sequence[EntryRow]) -> list[EntryRow]:
    """The rows as they would be if what this caller may not see did not exist.

    Relations to hidden documents are left out, and a document that only hidden ones replaced is current
    (spec/consent.md 19.7). No statement where nothing is related, a constant number otherwise.
    """
    known = {row.entry_uuid: row for row in rows}
    _read_related(known, subject, rows)
    # What was added to a replaced document stands and falls with it: whether that one is replaced lies a step further.
    added = {item.target for row in rows if _is_deprecated(row) for item in row.associations if _adds(item, row)}
    if added:
        _read_related(known, subject, [known[key] for key in added if key in known])
    seen = {row.entry_uuid for row in rows}
    theirs = [row for key, row in known.items() if key not in seen]
    if theirs:
        seen |= {row.entry_uuid for row in access.permitted(caller, subject, theirs, Operation.QUERY).rows()}
    return [_as_seen(row, seen, known) for row in rows]


def _read_related(known: dict[str, EntryRow], subject: Subject, rows: Sequence[EntryRow]) -> None:
    ends = {end for row in rows for item in row.associations for end in (item.source, item.target)} - known.keys()
    pks = set(subject.identifier_pks)
    found = registry.entries_by_uuid(ends) if ends else {}
    known |= {key: row for key, row in found.items() if row.identifier_pk in pks}


def _as_seen(row: EntryRow, seen: set[str], known: Mapping[str, EntryRow]) -> EntryRow:
    associations = tuple(item for item in row.associations if {item.source, item.target} <= seen)
    if _is_deprecated(row) and _is_current(row, seen, known, frozenset()):
        # Its status is all that changed since it was registered: version and instant of the change go with it.
        metadata = replace(row.metadata, availability_status=Status.APPROVED)
        row = replace(row, metadata=metadata, revision=row.revision - 1, updated_at=row.registered_at)
    return row if associations == row.associations else replace(row, associations=associations)


def _is_current(row: EntryRow, seen: set[str], known: Mapping[str, EntryRow], path: frozenset[str]) -> bool:
    """Whether nothing that is seen deprecates the document; one deprecated by itself stays so."""
    if not _is_deprecated(row) or row.entry_uuid in path:
        return not _is_deprecated(row)
    replacing = [item.source for item in row.associations if item.type in REPLACING and item.target == row.entry_uuid]
    if replacing:
        return seen.isdisjoint(replacing)
    parents = [known.get(item.target) for item in row.associations if _adds(item, row)]
    path = path | {row.entry_uuid}
    return bool(parents) and all(parent is not None and _is_current(parent, seen, known, path) for parent in parents)


def _is_deprecated(row: EntryRow) -> bool:
    return row.metadata.availability_status is Status.DEPRECATED


def _adds(item: AssociationMetadata, row: EntryRow) -> bool:
    return item.type in ADDING and item.source == row.entry_uuid


def as_asked(caller: Caller, subject: Subject, verdict: Verdict[Any], asked: EntryFilter) -> Verdict[Any]:
    """Of rows read with `superseded_too`, those whose status and last change, as the caller sees them, are asked for."""
    changed = [one for one in asked.dates if one.attribute is DateAttribute.LAST_UPDATED]
    if not asked.statuses and not changed:
        return verdict
    told = superseded_as_seen(caller, subject, verdict)

    def is_asked_for(row: Any) -> bool:
        shown_row = told.get(id(row), row)
        return not isinstance(shown_row, EntryRow) or (
            (not asked.statuses or shown_row.metadata.availability_status in asked.statuses)
            and all(one.has(shown_row.updated_at) for one in changed)
        )

    return replace(
        verdict,
        permitted=tuple(item for item in verdict.permitted if is_asked_for(item[0])),
        denied=tuple(item for item in verdict.denied if is_asked_for(item[0])),
    )


def superseded_as_seen(caller: Caller, subject: Subject, verdict: Verdict[Any]) -> dict[int, EntryRow]:
    suspects = [row for row in verdict.rows() if isinstance(row, EntryRow) and _is_deprecated(row)]
    return dict(zip(map(id, suspects), telling_what_is_seen(caller, subject, suspects), strict=True))
