"""Finding and reading documents and lists, through the door: what may not be seen is not there.

Every function records its event, with one disclosure for each thing that leaves, before it returns.

Source: spec/fhir.md 3.2, 3.3; spec/consent.md 6 "How a deny looks", 13.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection

from documents import queries as registry
from documents.filters import DateAttribute, DateCriterion, EntryFilter, ListFilter
from documents.metadata import ADDING, CX, REPLACING, AssociationMetadata, Status
from documents.queries import EntryRow, FolderRow, SubmissionSetRow
from hie.audit import recorder
from hie.audit.recorder import EventType
from hie.directory import queries as directory
from hie.exchange import access, document_filter, release
from hie.exchange.access import Shown, Subject, Verdict
from hie.exchange.document_filter import Asked
from hie.exchange.errors import BadRequest, NotFound
from hie.standards.demographics import authority_of
from hie.standards.facts import Caller, Decision, DocumentFacts, Operation
from hie.trust import limits
from patients import identifiers
from patients.demographics import ResolvedIdentifier

ListRow = SubmissionSetRow | FolderRow
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientNamed:
    """A patient as a search names one: by the id of this hub, or by an identifier (`system` a URI or OID)."""

    id: str = ""
    system: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentSearch:
    """A search of entries or lists.

    `patients` are ANDed groups of alternatives; without any, `asked` must name ids or identifiers. `sort` are keys with
    whether they descend, the first counting most: ``date``, ``creation``, ``period``, ``_lastUpdated``, ``_id``, or
    ``""`` for newest first. `after` is the `key` of the last row seen, `count` the rows wanted (0: the total only). `raw` is the request as sent.
    Of entries that may be seen, `tally` counts values by name before `narrow` leaves only those it is true of.
    """

    patients: tuple[tuple[PatientNamed, ...], ...] = ()
    asked: Asked = field(default_factory=Asked)
    sort: tuple[tuple[str, bool], ...] = (("", True),)
    after: tuple[str, ...] | None = None
    count: int = 50
    raw: str = ""
    tally: Callable[[EntryRow], Mapping[str, str]] | None = None
    narrow: Callable[[EntryRow], bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One row that may be shown, about the person it is about now. `members` are those that may be shown."""

    row: Any
    person_id: str
    key: tuple[str, ...]
    decision: Decision
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPage:
    """A page: its rows, how many there are altogether, and whether more follow."""

    rows: tuple[Found, ...]
    total: int
    more: bool
    tallies: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


# --- documents --------------------------------------------------------------------------------------------------------


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
        found: list[_Judged] = []
        tallies: dict[str, Counter[str]] = {}
        subjects: dict[UUID, Subject] = {}
        by_person = _entries_by_person(search, caller, subjects)
        subjects |= access.subjects(set(by_person) - set(subjects))
        if not subjects:
            subjects[_NOBODY] = access.nobody()
            by_person = {_NOBODY: []}
        for person_id, rows in by_person.items():
            subject = subjects[person_id]
            rows = [row for row in rows if search.asked.admits(row)]
            verdict = access.permitted(caller, subject, rows, Operation.QUERY)
            verdict = as_asked(caller, subject, verdict, search.asked.entries)
            if search.tally is not None:
                _count(tallies, verdict.rows(), search.tally)
            found.append(_Judged(subject, _narrowed(verdict, search.narrow)))
        page, shown_rows = _page(found, search, _keys_as_seen(caller, found, search))
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
    told = _superseded_as_seen(caller, subject, verdict)

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


def _superseded_as_seen(caller: Caller, subject: Subject, verdict: Verdict[Any]) -> dict[int, EntryRow]:
    suspects = [row for row in verdict.rows() if isinstance(row, EntryRow) and _is_deprecated(row)]
    return dict(zip(map(id, suspects), telling_what_is_seen(caller, subject, suspects), strict=True))


def _keys_as_seen(
    caller: Caller, found: Sequence[_Judged], search: DocumentSearch
) -> Callable[[EntryRow, str], tuple[str, ...]]:
    """The sort keys of rows as the caller sees them: a change that only a hidden document brought about sorts nothing."""
    if all(name != "_lastUpdated" for name, _ in search.sort):
        return _entry_key
    told: dict[int, EntryRow] = {}
    for judged in found:
        told |= _superseded_as_seen(caller, judged.subject, judged.verdict)
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


_NOBODY = UUID(int=0)


def whose(row: EntryRow | ListRow | None) -> Subject:
    """The person that a row is about; of no row nobody, at the same cost."""
    persons = identifiers.persons_of([row.identifier_pk if row is not None else 0])
    return access.somebody(persons[row.identifier_pk] if row is not None else None)


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


# --- lists ------------------------------------------------------------------------------------------------------------


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
        found: list[_Judged] = []
        members: dict[str, tuple[str, ...]] = {}
        by_person = _lists_by_person(search, caller)
        subjects = access.subjects(by_person or [_NOBODY])
        if not subjects:
            subjects[_NOBODY] = access.nobody()
            by_person = {_NOBODY: []}
        for person_id, rows in by_person.items():
            subject = subjects[person_id]
            judged, seen = judge_lists(caller, subject, [row for row in rows if search.asked.admits(row)])
            members.update(seen)
            found.append(_of_dates(judged, search.asked.lists.dates))
        page, shown_rows = _page(found, search, _list_key)
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


def judge_lists(
    caller: Caller, subject: Subject, rows: Sequence[ListRow]
) -> tuple[_Judged, dict[str, tuple[str, ...]]]:
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
    return _Judged(subject, both), members


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


def _of_dates(judged: _Judged, dates: Sequence[DateCriterion]) -> _Judged:
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
    found = registry.folders(subject.identifier_pks, ListFilter(ids=tuple(keys) or (_NOBODY,)))
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


# --- patients ---------------------------------------------------------------------------------------------------------


def person_of(name: PatientNamed, *, caller: Caller) -> UUID | None:
    """The person a name means, as it is now (merged ones answer for the survivor); None when unknown to the caller.

    For what is published: a failed look-up is recorded as a refused attempt to publish, which a patient who is hidden
    reads in the log, and counts against guessing by identifier. A search counts by what it
    may show (`count_guesses`): else the limit itself would tell a hidden patient from one that does not exist.

    Raises:
        TooManyRequests: too many failed look-ups.
    """
    named = _resolved(name)
    found = identifiers.survivor(name.id) if name.id else named.person_id if named is not None else None
    if access.known_to_publisher(caller, found, named):
        return found
    recorder.write_apart(
        [
            recorder.EventDraft(
                kind=EventType.PROVIDE_DOCUMENT_BUNDLE, caller=caller, outcome=recorder.Outcome.REFUSED,
                person_id=found, reason="not-found",
            )
        ]
    )  # fmt: skip
    if not name.id:
        limits.guessing(caller, f"{name.system}|{name.value}")
    return None


def _person(name: PatientNamed) -> UUID | None:
    if name.id:
        return identifiers.survivor(name.id)
    resolved = _resolved(name)
    return resolved.person_id if resolved is not None else None


def _resolved(name: PatientNamed) -> ResolvedIdentifier | None:
    named = not name.id and name.system and name.value
    return identifiers.resolve(authority_of(name.system), name.value) if named else None


def persons_named(groups: Sequence[Sequence[PatientNamed]]) -> set[UUID]:
    """The persons that every group of alternatives names."""
    found = [{person for name in group if (person := _person(name)) is not None} for group in groups]
    return set.intersection(*found) if found else set()


def identifier_of(named: PatientNamed, person_id: UUID | str) -> int:
    """The identifier row that something said of a person hangs on: the one named, which goes with its record when records
    are parted; of one named by id the person's own anchor, so that nothing leaves with somebody whom the person took in.

    Raises:
        UnknownPatient: there is no such person, or it was merged away.
    """
    if not named.id:
        found = identifiers.resolve(authority_of(named.system), named.value)
        if found is not None and str(found.person_id) == str(person_id):
            return found.pk
    return identifiers.own_anchor(person_id).pk


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Whom names lead to: each person with what of it they reach, None for all, else identifiers' row ids.

    `subjects` are those of them, as they were read, whom the caller may know of.
    """

    persons: Mapping[UUID, frozenset[int] | None]
    subjects: Mapping[UUID, Subject]


def reached(
    groups: Sequence[Sequence[PatientNamed]], *, caller: Caller, active_only: bool = False
) -> Mapping[UUID, frozenset[int] | None]:
    """The persons of `reach`."""
    return reach(groups, caller=caller, active_only=active_only).persons


def reach(groups: Sequence[Sequence[PatientNamed]], *, caller: Caller, active_only: bool = False) -> Reach:
    """The persons that every group names, each with what of it the names reach.

    An identifier of a record that the caller may not know of does not lead to what hangs on the person's other records:
    whose it is would be told by what is found (spec/consent.md 8). It reaches what hangs on that identifier itself,
    which is decided by itself. With `active_only` an identifier of a record that was replaced or removed names nobody.
    No statement more than `persons_named` where only ids of this hub are named.
    """
    resolved = {
        name: found
        for name in {name for group in groups for name in group if not name.id and name.system and name.value}
        if (found := identifiers.resolve(authority_of(name.system), name.value)) is not None
        and (found.active or not active_only)
    }
    by_identifier = any(not name.id for group in groups for name in group)
    led_to = sorted({found.person_id for found in resolved.values()})
    known = access.demographics(caller, led_to) if by_identifier else {}

    def of(name: PatientNamed) -> tuple[UUID, frozenset[int] | None] | None:
        if name.id:
            person_id = identifiers.survivor(name.id)
            return (person_id, None) if person_id is not None else None
        found = resolved.get(name)
        if found is None:
            return None
        if found.participant_id == directory.HUB or _is_known_by(found, known.get(found.person_id)):
            return found.person_id, None
        return found.person_id, frozenset({found.pk})

    whole: dict[UUID, frozenset[int] | None] | None = None
    for group in groups:
        named: dict[UUID, frozenset[int] | None] = {}
        for person_id, pks in filter(None, map(of, group)):
            before = named.get(person_id, frozenset())
            named[person_id] = None if pks is None or before is None else before | pks
        whole = named if whole is None else _both(whole, named)
    persons = whole or {}
    return Reach(persons=persons, subjects={person: known[person].subject for person in persons if person in known})


def persons_known(groups: Sequence[Sequence[PatientNamed]], *, caller: Caller) -> set[UUID]:
    """The persons that every group names by what the caller may know; the hub's own staff may know every identifier."""
    if caller.participant_id == directory.HUB:
        return persons_named(groups)
    return {person for person, pks in reached(groups, caller=caller).items() if pks is None}


def _both(
    one: Mapping[UUID, frozenset[int] | None], other: Mapping[UUID, frozenset[int] | None]
) -> dict[UUID, frozenset[int] | None]:
    met: dict[UUID, frozenset[int] | None] = {}
    for person_id in one.keys() & other.keys():
        a, b = one[person_id], other[person_id]
        met[person_id] = b if a is None else a if b is None else a & b
    return met


def count_guesses(groups: Sequence[Sequence[PatientNamed]], caller: Caller) -> None:
    """Count each identifier of a search without result whose patient this caller does not know of.

    Raises:
        TooManyRequests: more misses than an honest user has.
    """
    for name in {name for group in groups for name in group if not name.id}:
        # Whom this identifier does not lead to is not known by it, though he may be by another.
        led_to = [person for person, pks in reached([[name]], caller=caller).items() if pks is None]
        if not access.demographics(caller, led_to):
            limits.guessing(caller, f"{name.system}|{name.value}")


def _is_known_by(identifier: ResolvedIdentifier, person: access.PermittedPerson | None) -> bool:
    """Whether an identifier is of a record of this person that may be shown."""
    if person is None:
        return False
    seen = {record.source_record_id for record in person.records}
    hidden = {record.source_record_id for record in person.subject.records} - seen
    return identifier.source_record_id not in hidden


def patient_cx(name: PatientNamed, *, caller: Caller) -> CX | None:
    """The identifier to file a submission under: the one named, or the person's own anchor for an id of this hub, so that
    it does not leave with somebody whom the person took in.

    None when there is no such patient.
    """
    if not name.id:
        if not name.system or not name.value:
            return None
        if identifiers.resolve(authority_of(name.system), name.value) is None:
            limits.guessing(caller, f"{name.system}|{name.value}")
            return None
        return CX(value=name.value, authority=authority_of(name.system))
    person_id = identifiers.survivor(name.id)
    if person_id is None:
        return None
    anchor = identifiers.own_anchor(person_id)
    return CX(value=anchor.value, authority=anchor.authority)


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
            person: registry.entries(_within(subjects[person].identifier_pks, persons[person]), _candidates(asked))
            for person in sorted(persons)
        }
    if asked.nothing:
        return {}
    identifiers_ = () if asked.entries.ids else _named_alone(asked.entries.identifiers[0])
    pks = registry.patients_of_entries(ids=asked.entries.ids, identifiers=identifiers_)
    return _by_person(registry.entries(pks, _candidates(asked)))


def _within(pks: Sequence[int], reach: frozenset[int] | None) -> Sequence[int]:
    return pks if reach is None else [pk for pk in pks if pk in reach]


def _named_alone(identifiers_: Sequence[str]) -> Sequence[str]:
    """Identifiers that may stand without a patient: a bare system would name everybody.

    Raises:
        BadRequest: one is only a system.
    """
    if any(item.endswith("|") for item in identifiers_):
        raise BadRequest("without a patient an identifier needs its value", element="identifier")
    return identifiers_


def _lists_by_person(search: DocumentSearch, caller: Caller) -> dict[UUID, list[ListRow]]:
    asked = search.asked
    if search.patients:
        persons = reached(search.patients, caller=caller)
        found: dict[UUID, list[ListRow]] = {}
        for person in sorted(persons) or [_NOBODY]:
            pks = _within(identifiers.identifier_pks(person), persons.get(person))
            found[person] = [] if asked.nothing else _lists(pks, asked)
        return {person: rows for person, rows in found.items() if person in persons}
    if asked.nothing:
        return {}
    identifiers_ = () if asked.lists.ids else _named_alone(asked.lists.identifiers[0])
    owners = registry.patients_of_lists(ids=asked.lists.ids, identifiers=identifiers_)
    return _by_person(_lists(sorted(owners), asked))


def _lists(pks: Sequence[int], asked: Asked) -> list[ListRow]:
    rows: list[ListRow] = []
    if "submissionset" in asked.kinds:
        rows += registry.submission_sets(pks, asked.lists)
    if "folder" in asked.kinds:
        # When one was changed last depends on what of it is seen: `_of_dates` chooses by that.
        rows += registry.folders(pks, replace(asked.lists, dates=()))
    return rows


def _by_person(rows: Sequence[T]) -> dict[UUID, list[T]]:
    persons = identifiers.persons_of({row.identifier_pk for row in rows})  # type: ignore[attr-defined]  # every row of the registry has it
    grouped: dict[UUID, list[T]] = {}
    for row in rows:
        person = persons.get(row.identifier_pk)  # type: ignore[attr-defined]  # as above
        if person is not None:
            grouped.setdefault(person, []).append(row)
    return grouped


# --- pages ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Judged:
    subject: Subject
    verdict: Verdict[Any]


def _moment(value: datetime) -> str:
    """An instant as text of the same order, those before 1970 too."""
    return f"{int(value.timestamp() * 1_000_000) + 10**17:020d}"


def _entry_key(row: EntryRow, sort: str) -> tuple[str, ...]:
    # Not the primary key: it travels in page links, and its gaps count what others registered in between.
    tie = _moment(row.registered_at) + row.entry_uuid
    match sort:
        case "date":
            return row.submission_time, tie
        case "creation":
            return row.metadata.creation_time or "", tie
        case "period":
            return row.metadata.service_start_time or "", tie
        case "_lastUpdated":
            return _moment(row.updated_at), tie
        case "_id":
            return row.entry_uuid, tie
        case _:
            return _moment(row.sorted_at), tie


def _list_key(view: ListView, sort: str) -> tuple[str, ...]:
    row = view.row
    # Of what came at one instant the submission before the folder that it made or filled.
    is_folder = isinstance(row, FolderRow)
    tie = f"{_moment(row.registered_at)}{is_folder:d}{row.metadata.entry_uuid}"
    match sort:
        case "_lastUpdated":
            return _moment(row.last_update_time if isinstance(row, FolderRow) else row.registered_at), tie
        case "_id":
            return row.metadata.entry_uuid, tie
        case _:
            return _moment(row.sorted_at), tie


def _page(
    found: Sequence[_Judged], search: DocumentSearch, key: Callable[[Any, str], tuple[str, ...]]
) -> tuple[FoundPage, set[int]]:
    """The rows of this page in order, and the identities of the rows on it."""
    rows = [
        Found(row=row, person_id=judged.subject.person_id, key=_whole_key(row, search, key), decision=decision)
        for judged in found
        for row, decision in judged.verdict.permitted
    ]
    total = len(rows)
    # Ties go the way of the last key asked for.
    descending = [*(down for _, down in search.sort), search.sort[-1][1]]
    for place in reversed(range(len(descending))):
        rows.sort(key=lambda item: item.key[place], reverse=descending[place])
    if search.after is not None:
        after = search.after
        rows = [item for item in rows if _behind(item.key, after, descending)]
    page = rows[: search.count]
    return (
        FoundPage(rows=tuple(page), total=total, more=len(rows) > len(page) > 0),
        {id(item.row) for item in page},
    )


def _whole_key(row: Any, search: DocumentSearch, key: Callable[[Any, str], tuple[str, ...]]) -> tuple[str, ...]:
    parts = [key(row, name) for name, _ in search.sort]
    return (*(part[0] for part in parts), parts[-1][1])


def _behind(key: tuple[str, ...], after: tuple[str, ...], descending: Sequence[bool]) -> bool:
    for mine, seen, down in zip(key, after, descending, strict=True):
        if mine != seen:
            return mine < seen if down else mine > seen
    return False


def only(verdict: Verdict[Any], rows: set[int]) -> Verdict[Any]:
    """The verdict with only what leaves on this page among the permitted."""
    return replace(verdict, permitted=tuple(item for item in verdict.permitted if id(item[0]) in rows))


def status_of(row: EntryRow | ListRow) -> Status:
    """Approved or deprecated."""
    return row.metadata.availability_status if isinstance(row, EntryRow) else row.status


def person_id_of(cx: CX) -> str:
    """The person an identifier of the index leads to now, as text; "" when it is not known."""
    resolved = identifiers.resolve(cx.authority, cx.value)
    return str(resolved.person_id) if resolved is not None else ""


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
