"""Finding and reading submission sets and folders, through the door: what may not be seen is not there.

Every function records its event, with one disclosure for each thing that leaves, before it returns.

Source: spec/fhir.md 3.3; spec/consent.md 6 "How a deny looks", 13.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from documents import queries as registry
from documents.filters import DateCriterion, ListFilter
from documents.queries import EntryRow, FolderRow, SubmissionSetRow
from hie.audit import recorder
from hie.audit.recorder import EventType
from hie.exchange import access, release
from hie.exchange.access import Shown, Subject, Verdict
from hie.exchange.document_filter import Asked
from hie.exchange.errors import BadRequest, NotFound
from hie.exchange.found_pages import (
    NOBODY,
    DocumentSearch,
    Found,
    FoundPage,
    Judged,
    ListRow,
    grouped_by_person,
    moment,
    named_alone,
    only,
    page_of,
    whose,
    within,
)
from hie.exchange.named_patients import count_guesses, reached
from hie.standards.facts import Caller, Decision, DocumentFacts, Operation
from patients import identifiers


@dataclass(frozen=True, slots=True)
class ListView:
    """A list with the facts it is decided by: those of the member that lets it be seen, or its own when empty."""

    row: ListRow
    document: DocumentFacts

    def facts(self, person_id: str, identifier_pks: Collection[int] | None = None) -> DocumentFacts:
        return self.document


@release.point
def find_lists(search: DocumentSearch, *, caller: Caller) -> FoundPage:
    """Submission sets and folders that match and have something in them that may be shown [ITI-66].

    A list is seen when one of its documents is, and then with only those; one without any document is decided as
    a normal document of its custodian.
    """
    with recorder.recording(EventType.FIND_DOCUMENT_LISTS, caller, query=search.raw) as event:
        access.gate(caller, Operation.QUERY)
        if not search.patients and not (search.asked.lists.ids or search.asked.lists.identifiers):
            raise BadRequest("patient, patient.identifier, identifier or _id is needed", element="patient")
        if search.patients:
            event.note(detail=access.NAMES_THE_PATIENT)
        found: list[Judged] = []
        members: dict[str, tuple[str, ...]] = {}
        by_person = _lists_by_person(search, caller)
        subjects = access.subjects(by_person or [NOBODY])
        if not subjects:
            subjects[NOBODY] = access.nobody()
            by_person = {NOBODY: []}
        for person_id, rows in by_person.items():
            subject = subjects[person_id]
            judged, seen = judge_lists(caller, subject, [row for row in rows if search.asked.admits(row)])
            members.update(seen)
            found.append(_of_dates(judged, search.asked.lists.dates))
        page, shown_rows = page_of(found, search, _list_key)
        rows_out = []
        for item in page.rows:
            row = item.row.row
            rows_out.append(replace(item, row=row, members=members.get(row.metadata.entry_uuid, ())))
        for judged in found:
            part = only(judged.verdict, shown_rows)
            access.record(
                event, caller, judged.subject, part, what="metadata", shown=shown_list, operation=Operation.QUERY
            )
        if search.patients and not page.total:
            count_guesses(search.patients, caller)
        event.commit()
    return replace(page, rows=tuple(rows_out))


@release.point
def read_list(list_id: str, *, caller: Caller, raw: str = "") -> Found:
    """One submission set or folder by its id.

    Raises:
        NotFound: absent, or nothing of it to be seen by this caller.
    """
    with recorder.recording(EventType.READ_DOCUMENT_LIST, caller, query=raw) as event:
        access.gate(caller, Operation.QUERY)
        one, other = registry.submission_set(list_id), registry.folder(list_id)
        row: ListRow | None = one or other
        subject = whose(row)
        judged, members = judge_lists(caller, subject, [row] if row is not None else [])
        access.record(
            event, caller, subject, judged.verdict, what="metadata", shown=shown_list, operation=Operation.QUERY
        )
        if row is None or not judged.verdict.permitted:
            raise NotFound("no such list")
        event.commit()
        ((view, decision),) = judged.verdict.permitted
        return Found(
            row=view.row,
            person_id=subject.person_id,
            key=(),
            decision=decision,
            members=members.get(row.metadata.entry_uuid, ()),
        )


def judge_lists(caller: Caller, subject: Subject, rows: Sequence[ListRow]) -> tuple[Judged, dict[str, tuple[str, ...]]]:
    """The lists as decided, and for each its members that may be shown (``DocumentReference/id``, ``List/id``)."""
    folders = _folders_among(subject, [member for row in rows for member in row.members])
    lists = [*rows, *folders.values()]
    entries = registry.entries_by_uuid([member for row in lists for member in (*row.members, *_joins(row))])
    own = [row for row in entries.values() if row.identifier_pk in set(subject.identifier_pks)]
    verdict = access.permitted(caller, subject, own, Operation.QUERY)
    decisions = {row.entry_uuid: (row, decision) for row, decision in (*verdict.permitted, *verdict.denied)}
    permitted: list[tuple[ListView, Decision]] = []
    denied: list[tuple[ListView, Decision]] = []
    facts: dict[int, DocumentFacts] = {}
    members: dict[str, tuple[str, ...]] = {}
    empty: list[ListView] = []
    for row in rows:
        held = [decisions[m] for m in (*row.members, *_joins(row)) if m in decisions]
        for member in row.members:
            if member in folders and not _stands_empty(folders[member], decisions):
                held += [decisions[m] for m in folders[member].members if m in decisions]
        if not held or _stands_empty(row, decisions):
            empty.append(ListView(_list_as_seen(row, decisions), _own_facts(row, subject.person_id)))
            members[row.metadata.entry_uuid] = _visible(row, decisions, folders)
            continue
        best = next((item for item in held if item[1].permitted), held[0])
        own_facts = replace(verdict.facts[id(best[0])], id=registry.bare_uuid(row.metadata.entry_uuid))
        view = ListView(_list_as_seen(row, decisions), own_facts)
        facts[id(view)] = view.document
        (permitted if best[1].permitted else denied).append((view, best[1]))
        members[row.metadata.entry_uuid] = _visible(row, decisions, folders)
    alone = access.permitted(caller, subject, empty, Operation.QUERY)
    order = {row.metadata.entry_uuid: n for n, row in enumerate(rows)}
    every: Verdict[Any] = verdict
    both = replace(
        every,
        permitted=tuple(
            sorted((*permitted, *alone.permitted), key=lambda item: order[item[0].row.metadata.entry_uuid])
        ),
        denied=(*denied, *alone.denied),
        facts=facts | alone.facts,
    )
    return Judged(subject, both), members


def _joins(row: ListRow) -> tuple[str, ...]:
    return row.joins if isinstance(row, SubmissionSetRow) else ()


def _stands_empty(row: ListRow, decisions: Mapping[str, tuple[EntryRow, Decision]]) -> bool:
    """Whether a folder was there before all that is in it, of which nothing may be seen: it was seen empty, and still is."""
    if not isinstance(row, FolderRow):
        return False
    came = [(m, at) for m, at in zip(row.members, row.joined_at, strict=True) if m in decisions]
    return all(at > row.registered_at and not decisions[member][1].permitted for member, at in came)


def _list_as_seen(row: ListRow, decisions: Mapping[str, tuple[EntryRow, Decision]]) -> ListRow:
    """A folder as it would be if what may not be seen had never been put into it: its version and its last change."""
    if not isinstance(row, FolderRow):
        return row
    came = list(zip(row.members, row.joined_at, strict=True))
    hidden = {member for member in row.members if member in decisions and not decisions[member][1].permitted}
    if not hidden:
        return row
    seen = {at for member, at in came if member not in hidden and at > row.registered_at}
    last = max(seen, default=row.registered_at)
    return replace(row, revision=1 + len(seen), last_update_time=last, sorted_at=last)


def _of_dates(judged: Judged, dates: Sequence[DateCriterion]) -> Judged:
    """Without the folders, as they are seen, that are of another time; sets the registry has chosen itself."""
    if not dates:
        return judged

    def is_asked_for(view: ListView) -> bool:
        row = view.row
        return not isinstance(row, FolderRow) or all(one.has(row.last_update_time) for one in dates)

    kept = tuple(item for item in judged.verdict.permitted if is_asked_for(item[0]))
    return replace(judged, verdict=replace(judged.verdict, permitted=kept))


def _folders_among(subject: Subject, ids: Iterable[str]) -> dict[str, FolderRow]:
    """Those of the objects that are folders of the person; asked for where there is none too."""
    keys = [key for key in map(registry.as_uuid, ids) if key is not None]
    found = registry.folders(subject.identifier_pks, ListFilter(ids=tuple(keys) or (NOBODY,)))
    return {folder.metadata.entry_uuid: folder for folder in found}


def _visible(
    row: ListRow, decisions: Mapping[str, tuple[EntryRow, Decision]], folders: Mapping[str, FolderRow]
) -> tuple[str, ...]:
    seen: list[str] = []
    for member in row.members:
        if member in decisions and decisions[member][1].permitted:
            seen.append(f"DocumentReference/{registry.bare_uuid(member)}")
        elif member in folders:
            inside = [decisions[m][1].permitted for m in folders[member].members if m in decisions]
            if not inside or any(inside) or _stands_empty(folders[member], decisions):
                seen.append(f"List/{registry.bare_uuid(member)}")
    return tuple(seen)


def _own_facts(row: ListRow, person_id: str) -> DocumentFacts:
    # A submission that brought nothing, for all it named was there already, is its own house's to see: what it named may
    # be hidden, and is not kept with it.
    bare = isinstance(row, SubmissionSetRow) and not row.members
    return DocumentFacts(
        id=registry.bare_uuid(row.metadata.entry_uuid),
        patient=person_id,
        custodian=row.custodian,
        classes=frozenset({f"{registry.RESOURCE_CLASS}|List"}),
        confidentiality="V" if bare else "N",
        labels=frozenset({"NOPAT"}) if bare else frozenset(),
    )


def shown_list(view: ListView) -> Shown:
    row = view.row
    kind = "Folder" if isinstance(row, FolderRow) else "Submission set"
    return Shown(
        document_id=registry.bare_uuid(row.metadata.entry_uuid),
        unique_id=row.metadata.unique_id,
        title=row.metadata.title or "",
        type_display=kind,
    )


def _lists_by_person(search: DocumentSearch, caller: Caller) -> dict[UUID, list[ListRow]]:
    asked = search.asked
    if search.patients:
        persons = reached(search.patients, caller=caller)
        found: dict[UUID, list[ListRow]] = {}
        for person in sorted(persons) or [NOBODY]:
            pks = within(identifiers.identifier_pks(person), persons.get(person))
            found[person] = [] if asked.nothing else _lists(pks, asked)
        return {person: rows for person, rows in found.items() if person in persons}
    if asked.nothing:
        return {}
    identifiers_ = () if asked.lists.ids else named_alone(asked.lists.identifiers[0])
    owners = registry.patients_of_lists(ids=asked.lists.ids, identifiers=identifiers_)
    return grouped_by_person(_lists(sorted(owners), asked))


def _lists(pks: Sequence[int], asked: Asked) -> list[ListRow]:
    rows: list[ListRow] = []
    if "submissionset" in asked.kinds:
        rows += registry.submission_sets(pks, asked.lists)
    if "folder" in asked.kinds:
        # When one was changed last depends on what of it is seen: `_of_dates` chooses by that.
        rows += registry.folders(pks, replace(asked.lists, dates=()))
    return rows


def _list_key(view: ListView, sort: str) -> tuple[str, ...]:
    row = view.row
    # Of what came at one instant the submission before the folder that it made or filled.
    is_folder = isinstance(row, FolderRow)
    tie = f"{moment(row.registered_at)}{is_folder:d}{row.metadata.entry_uuid}"
    match sort:
        case "_lastUpdated":
            return moment(row.last_update_time if isinstance(row, FolderRow) else row.registered_at), tie
        case "_id":
            return row.metadata.entry_uuid, tie
        case _:
            return moment(row.sorted_at), tie
