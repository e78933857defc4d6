"""Registry Stored Query [ITI-18, ITI-51], through the door: what the caller may not see is as if it did not exist.

Associations are seen when both their ends are; folders and submission sets by what they hold (`document_lists.judge_lists`); what
only hidden documents deprecated or replaced is current. Whole objects of several persons do not leave in one answer.

Source: spec/xds.md 5; spec/consent.md 6 "How a deny looks".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings

from documents import stored_query, stored_reads
from documents.errors import QueryRefused, ResultNotSinglePatient, StoredQueryParamInvalid, TooManyResults
from documents.filters import EntryFilter
from documents.metadata import CX, AssociationType
from documents.queries import EntryRow, FolderRow, SubmissionSetRow
from documents.query_parameters import Named, Slots
from documents.stored_query import EntriesAsked, Kind, StoredQuery
from documents.stored_reads import AssociationRow
from hie.audit import recorder
from hie.audit.recorder import EventType
from hie.exchange import access, as_seen, document_lists, find, found_pages, named_patients, release
from hie.exchange.access import Subject, Verdict
from hie.exchange.named_patients import PatientNamed
from hie.standards.facts import Caller, Operation
from patients import identifiers

LEAF_CLASS, OBJECT_REF = "LeafClass", "ObjectRef"
_HAS_MEMBER = AssociationType.HAS_MEMBER
_NOBODY = UUID(int=0)
Row = TypeVar("Row", EntryRow, SubmissionSetRow, FolderRow)
Object = EntryRow | SubmissionSetRow | FolderRow


@dataclass(frozen=True, slots=True, kw_only=True)
class AdhocQuery:
    """A stored query as it is sent: its id, its slots in order, whether whole objects are wanted or their ids."""

    id: str
    slots: Slots
    return_type: str = LEAF_CLASS
    raw: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What may leave, in the order of registration or newest first; as the caller sees it."""

    entries: tuple[EntryRow, ...] = ()
    sets: tuple[SubmissionSetRow, ...] = ()
    folders: tuple[FolderRow, ...] = ()
    associations: tuple[AssociationRow, ...] = ()

    @property
    def objects(self) -> tuple[Object, ...]:
        """All but the associations."""
        return (*self.sets, *self.folders, *self.entries)

    @property
    def ids(self) -> set[str]:
        """The UUIDs of the objects."""
        return {row.metadata.entry_uuid for row in self.objects}

    @property
    def count(self) -> int:
        """How many objects there are."""
        return len(self.objects) + len(self.associations)


@release.point
def ask(asked: AdhocQuery, *, caller: Caller, multi_patient: bool = False) -> Answered:
    """The objects that a stored query finds, of those that the caller may see.

    Raises:
        AccessRefused: the caller may search nothing at all.
        QueryRefused: every problem of how it was asked.
        TooManyResults, ResultNotSinglePatient: whole objects were wanted.
    """
    kind = EventType.MULTI_PATIENT_QUERY if multi_patient else EventType.STORED_QUERY
    with recorder.recording(kind, caller, query=asked.raw) as event:
        access.gate(caller, Operation.QUERY)
        if asked.return_type not in (LEAF_CLASS, OBJECT_REF):
            raise QueryRefused([StoredQueryParamInvalid("returnType is LeafClass or ObjectRef", element="returnType")])
        query = stored_query.parse(asked.id, asked.slots, multi_patient=multi_patient)
        sight = _Sight(caller=caller)
        if query.patients:
            event.note(detail=access.NAMES_THE_PATIENT)
        answered = _ANSWERS[query.kind](query, sight)
        if asked.return_type == LEAF_CLASS:
            _check_size(answered, sight, single=not multi_patient)
        sight.record(event, answered)
        if query.patients and not answered.count:
            named_patients.count_guesses([[_patient(cx)] for cx in query.patients], caller)
        event.commit()
    return _under_the_name_asked_by(answered, sight)


def _check_size(answered: Answered, sight: _Sight, *, single: bool) -> None:
    limit = int(settings.XDS_MAX_RESULTS)
    if answered.count > limit:
        raise TooManyResults(f"{answered.count} objects were found, at most {limit} leave whole in one answer")
    if single and len(sight.persons_in(answered)) > 1:
        raise ResultNotSinglePatient(
            "the objects found are of several patients; ask for references, or for each patient"
        )


def _patient(cx: CX) -> PatientNamed:
    return PatientNamed(system=cx.authority, value=cx.value)


def _under_the_name_asked_by(answered: Answered, sight: _Sight) -> Answered:
    """The objects with the patient identifier that each patient is told by."""

    def renamed(rows: Iterable[Row]) -> tuple[Row, ...]:
        return tuple(
            row
            if (name := sight.name_of(row)) is None
            else replace(row, metadata=replace(row.metadata, patient_id=name))
            for row in rows
        )

    return replace(
        answered, entries=renamed(answered.entries), sets=renamed(answered.sets), folders=renamed(answered.folders)
    )


# -- what is seen ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Sight:
    """What was decided for one query: of each person one verdict over everything that was looked at."""

    caller: Caller
    subjects: dict[UUID, Subject] = field(default_factory=dict)
    verdicts: dict[UUID, Verdict[Any]] = field(default_factory=dict)
    persons: dict[int, UUID] = field(default_factory=dict)  # by row id of the identifier
    told: dict[str, Any] = field(default_factory=dict)  # what may be seen, as it is seen, by ``urn:uuid:…``
    named_by: dict[UUID, CX] = field(default_factory=dict)
    of_the_named: bool = False  # the rows looked at are of the patients named, whoever they are

    def person_of(self, row: Object) -> UUID | None:
        """Whom a row is about."""
        return self.persons.get(row.identifier_pk)

    def name_of(self, row: Object) -> CX | None:
        """The identifier that a row's patient is told by: the one that the query named, or the one that took the place of
        the one submitted when a feed merged the two; None where that submitted stands.
        """
        whose = self.person_of(row)
        if whose is None or whose in self.named_by:
            return self.named_by[whose] if whose is not None else None
        records = self.subjects[whose].records
        replaced = {(one.authority, one.value): one.replaced_by for one in records if one.replaced_by is not None}
        own = next((one for one in records if one.identifier_pk == row.identifier_pk), None)
        name = own.replaced_by if own is not None else None
        # Each step leaves one record behind, so that two who name one another end it.
        while name is not None and (further := replaced.pop(name, None)) is not None:
            name = further
        return CX(authority=name[0], value=name[1]) if name is not None else None

    def persons_in(self, answered: Answered) -> set[UUID | None]:
        """Whom the objects are about."""
        return {self.person_of(row) for row in answered.objects}

    def reach(self, patients: Sequence[CX]) -> list[int]:
        """The identifiers that what hangs on these patients hangs on; of one who is not known, none."""
        self.of_the_named = True
        for cx in patients:
            led_to = named_patients.reach([[_patient(cx)]], caller=self.caller, active_only=True)
            self.subjects |= led_to.subjects
            missing = [person for person in led_to.persons if person not in self.subjects]
            if missing or not led_to.persons:
                # Of nobody it is asked too: who is hidden must not cost more than who is not there.
                self.subjects |= access.subjects(missing or [_NOBODY])
            for person, within in led_to.persons.items():
                self.named_by.setdefault(person, cx)
                pks = self.subjects[person].identifier_pks
                self.persons |= {pk: person for pk in pks if within is None or pk in within}
        return list(self.persons)

    def look(
        self,
        entries: Sequence[EntryRow] = (),
        sets: Sequence[SubmissionSetRow] = (),
        folders: Sequence[FolderRow] = (),
        *,
        asked: EntriesAsked | None = None,
    ) -> None:
        """Decide about rows, and keep those that may be seen. With `asked`, entries by the status that the caller sees."""
        rows: list[Object] = [*entries, *sets, *folders]
        if not self.of_the_named:
            self.persons |= identifiers.persons_of({row.identifier_pk for row in rows} or {0})
        of_person: dict[UUID, tuple[list[EntryRow], list[found_pages.ListRow]]] = {}
        for row in rows:
            whose = self.person_of(row)
            if whose is None:
                continue
            documents, lists = of_person.setdefault(whose, ([], []))
            if isinstance(row, EntryRow):
                documents.append(row)
            else:
                lists.append(row)
        for person in self.named_by:
            # Who was asked about reads of it, whatever was found.
            of_person.setdefault(person, ([], []))
        if not self.of_the_named:
            self.subjects |= access.subjects(set(of_person) - set(self.subjects) or {_NOBODY})
        if not of_person:
            of_person[_NOBODY] = ([], [])
            self.subjects.setdefault(_NOBODY, access.nobody())
        for person, (documents, lists) in of_person.items():
            subject = self.subjects[person]
            verdict: Verdict[Any] = access.permitted(self.caller, subject, documents, Operation.QUERY)
            if asked is not None:
                verdict = as_seen.as_asked(self.caller, subject, verdict, EntryFilter(statuses=asked.statuses))
            seen = verdict.rows()
            for told in as_seen.telling_what_is_seen(self.caller, subject, seen):
                self.told[told.entry_uuid] = told
            if lists:
                judged, _ = document_lists.judge_lists(self.caller, subject, lists)
                self.told |= {view.row.metadata.entry_uuid: view.row for view in judged.verdict.rows()}
                verdict = _both(verdict, judged.verdict)
            if person in self.verdicts:
                verdict = _both(self.verdicts[person], verdict)
            self.verdicts[person] = verdict

    def seen(self, rows: Iterable[Row]) -> tuple[Row, ...]:
        """Of these rows those that may be seen, as they are seen."""
        ids = dict.fromkeys(row.metadata.entry_uuid for row in rows)
        return tuple(self.told[key] for key in ids if key in self.told)

    def record(self, event: recorder.Recording, answered: Answered) -> None:
        """Put into the event what leaves, and what was looked at and may not."""
        leaving = answered.ids
        for person, verdict in self.verdicts.items():
            once: dict[str, Any] = {}
            for item in verdict.permitted:
                once.setdefault(_uuid_of(item[0]), item)
            part = replace(verdict, permitted=tuple(item for key, item in once.items() if key in leaving))
            access.record(
                event,
                self.caller,
                self.subjects[person],
                part,
                what="metadata",
                shown=_shown,
                operation=Operation.QUERY,
            )


def _both(one: Verdict[Any], other: Verdict[Any]) -> Verdict[Any]:
    return replace(
        one,
        permitted=(*one.permitted, *other.permitted),
        denied=(*one.denied, *other.denied),
        facts=one.facts | other.facts,
        ends_s=release.first_of(one.ends_s, other.ends_s),
    )


def _uuid_of(row: EntryRow | document_lists.ListView) -> str:
    return row.row.metadata.entry_uuid if isinstance(row, document_lists.ListView) else row.entry_uuid


def _shown(row: EntryRow | document_lists.ListView) -> access.Shown:
    return document_lists.shown_list(row) if isinstance(row, document_lists.ListView) else find.shown(row)


# -- queries by patient ---------------------------------------------------------------------------------------------


def _find_documents(query: StoredQuery, sight: _Sight) -> Answered:
    pks = sight.reach(query.patients) if query.patients or not query.multi_patient else None
    found = stored_reads.find_entries(pks, query.entries, level=query.level)
    sight.look(found, asked=query.entries)
    return Answered(entries=sight.seen(found))


def _find_submission_sets(query: StoredQuery, sight: _Sight) -> Answered:
    found = stored_reads.find_sets(sight.reach(query.patients), query.sets)
    sight.look(sets=found)
    return Answered(sets=sight.seen(found))


def _find_folders(query: StoredQuery, sight: _Sight) -> Answered:
    pks = sight.reach(query.patients) if query.patients or not query.multi_patient else None
    found = stored_reads.find_folders(pks, query.folders, level=query.level)
    sight.look(folders=found)
    seen = sight.seen(found)
    return Answered(folders=tuple(row for row in seen if query.folders.updated.has(row.last_update_time)))


def _get_all(query: StoredQuery, sight: _Sight) -> Answered:
    pks = sight.reach(query.patients)
    entries = stored_reads.find_entries(pks, query.entries, level=query.level)
    sets = stored_reads.find_sets(pks, query.sets)
    folders = stored_reads.find_folders(pks, query.folders, level=query.level)
    sight.look(entries, sets, folders, asked=query.entries)
    answered = Answered(entries=sight.seen(entries), sets=sight.seen(sets), folders=sight.seen(folders))
    ids = answered.ids
    among = stored_reads.associations(sources=stored_reads.keys(ids), statuses=_statuses(query))
    return replace(answered, associations=_between(among, ids))


# -- queries by name ------------------------------------------------------------------------------------------------


def _get_documents(query: StoredQuery, sight: _Sight) -> Answered:
    found = stored_reads.entries_named(query.named, level=query.level)
    sight.look(found)
    return Answered(entries=sight.seen(found))


def _get_folders(query: StoredQuery, sight: _Sight) -> Answered:
    found = stored_reads.folders_named(query.named, level=query.level)
    sight.look(folders=found)
    return Answered(folders=sight.seen(found))


def _get_associations(query: StoredQuery, sight: _Sight) -> Answered:
    keys = query.named.uuids
    found = stored_reads.associations(sources=keys, targets=keys, statuses=_statuses(query))
    return Answered(associations=_visible(found, sight))


def _get_documents_and_associations(query: StoredQuery, sight: _Sight) -> Answered:
    entries = stored_reads.entries_named(query.named, level=query.level)
    keys = stored_reads.keys(row.entry_uuid for row in entries)
    found = stored_reads.associations(sources=keys, targets=keys, statuses=_statuses(query))
    associations = _visible(found, sight, entries)
    return Answered(entries=sight.seen(entries), associations=associations)


def _get_submission_sets(query: StoredQuery, sight: _Sight) -> Answered:
    found = stored_reads.associations(targets=query.named.uuids, types=[_HAS_MEMBER], statuses=_statuses(query))
    sets = stored_reads.sets_named(Named(uuids=tuple(stored_reads.keys(row.metadata.source for row in found))))
    own = {row.metadata.entry_uuid for row in sets}
    associations = _visible([row for row in found if row.metadata.source in own], sight, sets=sets)
    holding = {row.metadata.source for row in associations}
    return Answered(
        sets=tuple(row for row in sight.seen(sets) if row.metadata.entry_uuid in holding), associations=associations
    )


def _get_submission_set_and_contents(query: StoredQuery, sight: _Sight) -> Answered:
    sets = stored_reads.sets_named(query.named)
    own = stored_reads.associations(
        sources=stored_reads.keys(row.metadata.entry_uuid for row in sets),
        types=[_HAS_MEMBER],
        statuses=_statuses(query),
    )
    members = Named(uuids=tuple(stored_reads.keys(row.metadata.target for row in own)))
    entries = stored_reads.entries_named(members, level=query.level, asked=query.entries)
    folders = stored_reads.folders_named(members, level=query.level)
    linked = stored_reads.associations(named=members.uuids, statuses=_statuses(query))
    sight.look(entries, sets, folders)
    answered = Answered(entries=sight.seen(entries), sets=sight.seen(sets), folders=sight.seen(folders))
    if not answered.sets:
        return Answered()
    return replace(answered, associations=_between([*own, *linked], answered.ids))


def _get_folder_and_contents(query: StoredQuery, sight: _Sight) -> Answered:
    folders = stored_reads.folders_named(query.named, level=query.level)
    own = stored_reads.associations(
        sources=stored_reads.keys(row.metadata.entry_uuid for row in folders),
        types=[_HAS_MEMBER],
        statuses=_statuses(query),
    )
    members = Named(uuids=tuple(stored_reads.keys(row.metadata.target for row in own)))
    entries = stored_reads.entries_named(members, level=query.level, asked=query.entries)
    sight.look(entries, folders=folders)
    answered = Answered(entries=sight.seen(entries), folders=sight.seen(folders))
    if not answered.folders:
        return Answered()
    return replace(answered, associations=_between(own, answered.ids))


def _get_folders_for_document(query: StoredQuery, sight: _Sight) -> Answered:
    entries = stored_reads.entries_named(query.named, level=query.level)
    own = stored_reads.associations(
        targets=stored_reads.keys(row.entry_uuid for row in entries) or [_NOBODY],
        types=[_HAS_MEMBER],
        statuses=_statuses(query),
    )
    held_by = Named(uuids=tuple(stored_reads.keys(row.metadata.source for row in own)))
    folders = stored_reads.folders_named(held_by, level=query.level)
    sight.look(entries, folders=folders)
    known = {row.entry_uuid for row in sight.seen(entries)}
    holding = {row.metadata.source for row in own if row.metadata.target in known}
    return Answered(folders=tuple(row for row in sight.seen(folders) if row.metadata.entry_uuid in holding))


def _get_related_documents(query: StoredQuery, sight: _Sight) -> Answered:
    originals = stored_reads.entries_named(query.named, level=query.level)
    own = stored_reads.keys(row.entry_uuid for row in originals)
    types = [kind for kind in query.association_types if kind is not _HAS_MEMBER]
    found = []
    if types:
        found = stored_reads.associations(sources=own, targets=own, types=types, statuses=_statuses(query))
    ends = {end for row in found for end in row.ends} - {row.entry_uuid for row in originals}
    named = Named(uuids=tuple(stored_reads.keys(ends)))
    related = stored_reads.entries_named(named, level=query.level, asked=query.entries)
    sight.look([*originals, *related])
    ids = {row.entry_uuid for row in sight.seen([*originals, *related])}
    associations = _between(found, ids)
    touched = {end for row in associations for end in row.ends}
    return Answered(
        entries=tuple(row for row in sight.seen([*originals, *related]) if row.entry_uuid in touched),
        associations=associations,
    )


_ANSWERS: Mapping[Kind, Callable[[StoredQuery, _Sight], Answered]] = {
    Kind.FIND_DOCUMENTS: _find_documents,
    Kind.FIND_DOCUMENTS_BY_REFERENCE_ID: _find_documents,
    Kind.FIND_DOCUMENTS_EXCLUDE: _find_documents,
    Kind.FIND_SUBMISSION_SETS: _find_submission_sets,
    Kind.FIND_FOLDERS: _find_folders,
    Kind.GET_ALL: _get_all,
    Kind.GET_DOCUMENTS: _get_documents,
    Kind.GET_FOLDERS: _get_folders,
    Kind.GET_ASSOCIATIONS: _get_associations,
    Kind.GET_DOCUMENTS_AND_ASSOCIATIONS: _get_documents_and_associations,
    Kind.GET_SUBMISSION_SETS: _get_submission_sets,
    Kind.GET_SUBMISSION_SET_AND_CONTENTS: _get_submission_set_and_contents,
    Kind.GET_FOLDER_AND_CONTENTS: _get_folder_and_contents,
    Kind.GET_FOLDERS_FOR_DOCUMENT: _get_folders_for_document,
    Kind.GET_RELATED_DOCUMENTS: _get_related_documents,
}


# -- associations ---------------------------------------------------------------------------------------------------


def _statuses(query: StoredQuery) -> tuple[Any, ...]:
    """The statuses of associations that a query may see: at level 1 those approved."""
    if query.level > 1:
        return query.association_statuses
    return tuple(status for status in query.association_statuses if status.name == "APPROVED")


def _between(found: Sequence[AssociationRow], ids: Collection[str]) -> tuple[AssociationRow, ...]:
    """The associations whose ends are among these objects, or among the associations so found."""
    kept = [row for row in found if set(row.ends) <= set(ids)]
    linked = {row.metadata.entry_uuid for row in kept}
    kept += [row for row in found if row.metadata.source in ids and row.metadata.target in linked]
    return tuple(stored_reads.distinct(kept))


def _visible(
    found: Sequence[AssociationRow],
    sight: _Sight,
    entries: Sequence[EntryRow] = (),
    sets: Sequence[SubmissionSetRow] = (),
) -> tuple[AssociationRow, ...]:
    """Of the associations those whose ends may both be seen; what they join is looked at here."""
    ends = {end for row in found for end in row.ends}
    # A submission set holds folder memberships, which are associations with ends of their own.
    linked = stored_reads.associations(named=stored_reads.keys(ends))
    ends |= {end for row in linked for end in row.ends}
    ends -= Answered(entries=tuple(entries), sets=tuple(sets)).ids
    named = Named(uuids=tuple(stored_reads.keys(ends)))
    sight.look(
        [*entries, *stored_reads.entries_named(named)],
        [*sets, *stored_reads.sets_named(named)],
        stored_reads.folders_named(named),
    )
    seen = set(sight.told)
    seen |= {row.metadata.entry_uuid for row in linked if set(row.ends) <= seen}
    return tuple(stored_reads.distinct([row for row in found if set(row.ends) <= seen]))
