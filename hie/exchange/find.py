"""Finding and reading documents, through the door: what may not be seen is not there.

Every function records its event, with one disclosure for each thing that leaves, before it returns.

Source: spec/fhir.md 3.2; spec/consent.md 6 "How a deny looks", 13.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db import connection

from documents import queries as registry
from documents.filters import DateAttribute, EntryFilter
from documents.metadata import Status
from documents.queries import EntryRow, FolderRow
from hie.audit import recorder
from hie.audit.recorder import EventType
from hie.directory import queries as directory
from hie.exchange import access, document_filter, release
from hie.exchange.access import Shown, Subject, Verdict
from hie.exchange.as_seen import as_asked, superseded_as_seen, telling_what_is_seen
from hie.exchange.document_filter import Asked
from hie.exchange.errors import BadRequest, NotFound
from hie.exchange.found_pages import (
    NOBODY,
    DocumentSearch,
    Found,
    FoundPage,
    Judged,
    grouped_by_person,
    moment,
    named_alone,
    only,
    page_of,
    whose,
    within,
)
from hie.exchange.named_patients import count_guesses, reached
from hie.standards.facts import Caller, Operation


@release.point
def find_documents(search: DocumentSearch, *, caller: Caller) -> FoundPage:
    """Entries that match and may be shown, with their total [ITI-67].

    Raises:
        AccessRefused: the caller may not search at all.
        BadRequest: neither patient nor id nor identifier.
    """
    with recorder.recording(EventType.FIND_DOCUMENTS, caller, query=search.raw) as event:
        access.gate(caller, Operation.QUERY)
        if not search.patients and not (search.asked.entries.ids or search.asked.entries.identifiers):
            raise BadRequest("patient, patient.identifier, identifier or _id is needed", element="patient")
        if search.patients:
            event.note(detail=access.NAMES_THE_PATIENT)
        found: list[Judged] = []
        tallies: dict[str, Counter[str]] = {}
        subjects: dict[UUID, Subject] = {}
        by_person = _entries_by_person(search, caller, subjects)
        subjects |= access.subjects(set(by_person) - set(subjects))
        if not subjects:
            subjects[NOBODY] = access.nobody()
            by_person = {NOBODY: []}
        for person_id, rows in by_person.items():
            subject = subjects[person_id]
            rows = [row for row in rows if search.asked.admits(row)]
            verdict = access.permitted(caller, subject, rows, Operation.QUERY)
            verdict = as_asked(caller, subject, verdict, search.asked.entries)
            if search.tally is not None:
                _count(tallies, verdict.rows(), search.tally)
            found.append(Judged(subject, _narrowed(verdict, search.narrow)))
        page, shown_rows = page_of(found, search, _keys_as_seen(caller, found, search))
        for judged in found:
            part = only(judged.verdict, shown_rows)
            access.record(event, caller, judged.subject, part, what="metadata", shown=shown, operation=Operation.QUERY)
        told = {
            id(row): told
            for judged in found
            for row, told in _told(caller, judged.subject, [r for r in judged.verdict.rows() if id(r) in shown_rows])
        }
        if search.patients and not page.total:
            count_guesses(search.patients, caller)
        event.commit()
    as_told = tuple(
        item if told[id(item.row)] is item.row else replace(item, row=told[id(item.row)]) for item in page.rows
    )
    return replace(page, rows=as_told, tallies=tallies)


def _count(
    tallies: dict[str, Counter[str]], rows: Iterable[EntryRow], values: Callable[[EntryRow], Mapping[str, str]]
) -> None:
    for row in rows:
        for name, value in values(row).items():
            tallies.setdefault(name, Counter())[value] += 1


def _narrowed(verdict: Verdict[Any], admits: Callable[[EntryRow], bool] | None) -> Verdict[Any]:
    if admits is None:
        return verdict
    return replace(
        verdict,
        permitted=tuple(item for item in verdict.permitted if admits(item[0])),
        denied=tuple(item for item in verdict.denied if admits(item[0])),
    )


def _keys_as_seen(
    caller: Caller, found: Sequence[Judged], search: DocumentSearch
) -> Callable[[EntryRow, str], tuple[str, ...]]:
    """The sort keys of rows as the caller sees them: a change that only a hidden document brought about sorts nothing."""
    if all(name != "_lastUpdated" for name, _ in search.sort):
        return _entry_key
    told: dict[int, EntryRow] = {}
    for judged in found:
        told |= superseded_as_seen(caller, judged.subject, judged.verdict)
    return lambda row, sort: _entry_key(told.get(id(row), row), sort)


def _told(caller: Caller, subject: Subject, rows: Sequence[EntryRow]) -> list[tuple[EntryRow, EntryRow]]:
    return list(zip(rows, telling_what_is_seen(caller, subject, rows), strict=True))


def local_entries(subject: Subject, values: Mapping[str, Any]) -> list[EntryRow]:
    """This registry's entries of a subject that match, newest first; not yet decided, nor chosen by `as_asked`.

    For questions asked in one with other communities, which decide all answers together.
    """
    asked = document_filter.from_values(values)
    if asked.nothing:
        return []
    return [row for row in registry.entries(subject.identifier_pks, _candidates(asked)) if asked.admits(row)]


def asked_of(values: Mapping[str, Any]) -> EntryFilter:
    """The filter that the values of a question make."""
    return document_filter.from_values(values).entries


def _candidates(asked: Asked) -> EntryFilter:
    changed = any(one.attribute is DateAttribute.LAST_UPDATED for one in asked.entries.dates)
    return replace(asked.entries, superseded_too=changed or Status.APPROVED in asked.entries.statuses)


@release.point
def read_document(document_id: str, *, caller: Caller, raw: str = "") -> Found:
    """One entry by its id, superseded ones too.

    Raises:
        NotFound: absent, or not to be seen by this caller.
    """
    with recorder.recording(EventType.READ_DOCUMENT_REFERENCE, caller, query=raw) as event:
        access.gate(caller, Operation.QUERY)
        row = registry.entry(document_id)
        subject = whose(row)
        verdict = access.permitted(caller, subject, [row] if row is not None else [], Operation.QUERY)
        access.record(event, caller, subject, verdict, what="metadata", shown=shown, operation=Operation.QUERY)
        if row is None or not verdict.permitted:
            raise NotFound("no such document")
        (row,) = telling_what_is_seen(caller, subject, [row])
        event.commit()
        return Found(row=row, person_id=subject.person_id, key=(), decision=verdict.permitted[0][1])


def shown(row: EntryRow) -> Shown:
    """What the patient's log calls an entry."""
    entry = row.metadata
    kind = entry.type_code or entry.class_code
    return Shown(
        document_id=registry.bare_uuid(entry.entry_uuid),
        unique_id=entry.unique_id,
        title=entry.title or "",
        type_display=(kind.display or kind.code) if kind else entry.mime_type,
    )


def _entries_by_person(
    search: DocumentSearch, caller: Caller, subjects: dict[UUID, Subject]
) -> dict[UUID, list[EntryRow]]:
    """The entries of each person; subjects read on the way are put into `subjects`."""
    asked = search.asked
    if search.patients:
        persons = reached(search.patients, caller=caller)
        if asked.nothing:
            return {person: [] for person in sorted(persons)}
        subjects |= access.subjects(persons)
        if not persons:
            registry.entries([], _candidates(asked))
        return {
            person: registry.entries(within(subjects[person].identifier_pks, persons[person]), _candidates(asked))
            for person in sorted(persons)
        }
    if asked.nothing:
        return {}
    identifiers_ = () if asked.entries.ids else named_alone(asked.entries.identifiers[0])
    pks = registry.patients_of_entries(ids=asked.entries.ids, identifiers=identifiers_)
    return grouped_by_person(registry.entries(pks, _candidates(asked)))


def _entry_key(row: EntryRow, sort: str) -> tuple[str, ...]:
    # Not the primary key: it travels in page links, and its gaps count what others registered in between.
    tie = moment(row.registered_at) + row.entry_uuid
    match sort:
        case "date":
            return row.submission_time, tie
        case "creation":
            return row.metadata.creation_time or "", tie
        case "period":
            return row.metadata.service_start_time or "", tie
        case "_lastUpdated":
            return moment(row.updated_at), tie
        case "_id":
            return row.entry_uuid, tie
        case _:
            return moment(row.sorted_at), tie


def folder_to_extend(folder_id: str, *, caller: Caller) -> FolderRow | None:
    """A folder that documents are to be added to: one of the caller's own organization, else none."""
    row = registry.folder(folder_id)
    if row is None or not directory.within(row.custodian, caller.participant_id):
        return None
    return row


@contextmanager
def one_at_a_time(key: str) -> Iterator[None]:
    """Let one caller at a time, on all hosts, look for something and create it where it is not there."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [f"hie.exchange.create:{key}"])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [f"hie.exchange.create:{key}"])


def revision_of(entry_uuid: str) -> int:
    """The version a client sees of an entry or folder of a submission of its own, counted from 1."""
    return registry.revision(entry_uuid) or 1
