"""Registry Stored Query: what each query asks of the registry, or everything that is wrong with how it was asked. Pure.

How parameters are written is in `documents.query_parameters`; what they mean for rows in `documents.queries`; who may see
what is found in `hie.exchange.stored_query`.

Source: spec/xds.md 5 (IHE ITI TF-2 3.18.4.1.2.3.7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from documents.errors import QueryRefused, UnknownStoredQuery
from documents.filters import CodeAttribute, CodeToken
from documents.metadata import CX, STABLE, AssociationType, Status
from documents.query_parameters import (
    ANY_TIME,
    NOTHING_NAMED,
    CodesAsked,
    Named,
    Parameters,
    ReferencesAsked,
    Slots,
    TextsAsked,
    TimeBounds,
)


class Kind(StrEnum):
    """The stored queries, by id."""

    FIND_DOCUMENTS = "urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d"
    FIND_DOCUMENTS_BY_REFERENCE_ID = "urn:uuid:12941a89-e02e-4be5-967c-ce4bfc8fe492"
    FIND_DOCUMENTS_EXCLUDE = "urn:uuid:4308b1df-36de-4bef-8e2e-ba91f593c435"
    FIND_SUBMISSION_SETS = "urn:uuid:f26abbcb-ac74-4422-8a30-edb644bbc1a9"
    FIND_FOLDERS = "urn:uuid:958f3006-baad-4929-a4de-ff1114824431"
    GET_ALL = "urn:uuid:10b545ea-725c-446d-9b95-8aeb444eddf3"
    GET_DOCUMENTS = "urn:uuid:5c4f972b-d56b-40ac-a5fc-c8ca9b40b9d4"
    GET_FOLDERS = "urn:uuid:5737b14c-8a1a-4539-b659-e03a34a5e1e4"
    GET_ASSOCIATIONS = "urn:uuid:a7ae438b-4bc2-4642-93e9-be891f7bb155"
    GET_DOCUMENTS_AND_ASSOCIATIONS = "urn:uuid:bab9529a-4a10-40b3-a01f-f68a615d247a"
    GET_SUBMISSION_SETS = "urn:uuid:51224314-5390-4169-9b91-b1980040715a"
    GET_SUBMISSION_SET_AND_CONTENTS = "urn:uuid:e8e3cb2c-e39c-46b9-99e4-c12f57260b83"
    GET_FOLDER_AND_CONTENTS = "urn:uuid:b909a503-523d-4517-8acf-8e5834dfc4c7"
    GET_FOLDERS_FOR_DOCUMENT = "urn:uuid:10cae35a-c7f9-4cf5-b61e-fc3278ffb578"
    GET_RELATED_DOCUMENTS = "urn:uuid:d90e5407-b356-4d91-a89f-873917b4b0e6"


MULTI_PATIENT: Mapping[str, Kind] = {
    "urn:uuid:3d1bdb10-39a2-11de-89c2-2f44d94eaa9f": Kind.FIND_DOCUMENTS,
    "urn:uuid:50d3f5ac-39a2-11de-a1ca-b366239e58df": Kind.FIND_FOLDERS,
    "urn:uuid:1191642d-86c4-42d8-b784-f95445f9f0d5": Kind.FIND_DOCUMENTS_BY_REFERENCE_ID,
}
"""The queries of ITI-51, which may name several patients or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntriesAsked:
    """What is asked of document entries."""

    statuses: tuple[Status, ...] = ()
    object_types: tuple[str, ...] = (STABLE,)
    codes: tuple[CodesAsked, ...] = ()
    creation: TimeBounds = ANY_TIME
    service_start: TimeBounds = ANY_TIME
    service_stop: TimeBounds = ANY_TIME
    authors: tuple[TextsAsked, ...] = ()
    references: tuple[ReferencesAsked, ...] = ()
    availabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SetsAsked:
    """What is asked of submission sets."""

    statuses: tuple[Status, ...] = ()
    source_ids: tuple[str, ...] = ()
    submitted: TimeBounds = ANY_TIME
    author: str | None = None
    content_types: tuple[CodeToken, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldersAsked:
    """What is asked of folders; `codes` are slots, each of alternatives."""

    statuses: tuple[Status, ...] = ()
    updated: TimeBounds = ANY_TIME
    codes: tuple[tuple[CodeToken, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredQuery:
    """A query as it is asked. `patients` are those named, for queries by patient; `named` the objects, for the others."""

    kind: Kind
    multi_patient: bool = False
    patients: tuple[CX, ...] = ()
    named: Named = NOTHING_NAMED
    entries: EntriesAsked = field(default_factory=EntriesAsked)
    sets: SetsAsked = field(default_factory=SetsAsked)
    folders: FoldersAsked = field(default_factory=FoldersAsked)
    association_types: tuple[AssociationType, ...] = ()
    association_statuses: tuple[Status, ...] = (Status.APPROVED,)
    level: int = 1


def parse(query_id: str, slots: Slots, *, multi_patient: bool = False) -> StoredQuery:
    """The query that an AdhocQuery asks. Names of parameters that the query does not have are ignored.

    Raises:
        QueryRefused: every problem of its parameters, or that there is no such query.
    """
    known = MULTI_PATIENT if multi_patient else {kind.value: kind for kind in Kind}
    kind = known.get(query_id)
    if kind is None:
        raise QueryRefused([UnknownStoredQuery(f"there is no stored query {query_id}", element="AdhocQuery.id")])
    read = Parameters(slots)
    query = (_multi if multi_patient else _READERS[kind])(kind, read)
    if read.problems:
        raise QueryRefused(read.problems)
    return query


# -- the queries ----------------------------------------------------------------------------------------------------

_ENTRY, _SET, _FOLDER = "$XDSDocumentEntry", "$XDSSubmissionSet", "$XDSFolder"


def _find_documents(kind: Kind, read: Parameters) -> StoredQuery:
    by_reference = kind is Kind.FIND_DOCUMENTS_BY_REFERENCE_ID
    exclude = kind is Kind.FIND_DOCUMENTS_EXCLUDE
    return StoredQuery(
        kind=kind,
        patients=read.patient(f"{_ENTRY}PatientId"),
        entries=_entries(read, by_reference=by_reference, exclude=exclude),
        level=read.level(),
    )


def _entries(read: Parameters, *, by_reference: bool = False, exclude: bool = False) -> EntriesAsked:
    references: tuple[ReferencesAsked, ...] = ()
    if by_reference or exclude:
        references = read.references(f"{_ENTRY}ReferenceIdList", required=by_reference, exclude=exclude)
    return EntriesAsked(
        statuses=read.statuses(f"{_ENTRY}Status", required=True),
        object_types=read.types(f"{_ENTRY}Type", exclude=exclude),
        codes=tuple(
            one
            for attribute, name, several in _CODED
            for one in read.codes(attribute, f"{_ENTRY}{name}", several=several, exclude=exclude)
        ),
        creation=read.bounds(f"{_ENTRY}CreationTime"),
        service_start=read.bounds(f"{_ENTRY}ServiceStartTime"),
        service_stop=read.bounds(f"{_ENTRY}ServiceStopTime"),
        authors=read.patterns(f"{_ENTRY}AuthorPerson", exclude=exclude),
        references=references,
        availabilities=read.availabilities(f"{_ENTRY}DocumentAvailability"),
    )


_CODED = (
    (CodeAttribute.CLASS, "ClassCode", False),
    (CodeAttribute.TYPE, "TypeCode", False),
    (CodeAttribute.SETTING, "PracticeSettingCode", False),
    (CodeAttribute.FACILITY, "HealthcareFacilityTypeCode", False),
    (CodeAttribute.EVENT, "EventCodeList", True),
    (CodeAttribute.CONFIDENTIALITY, "ConfidentialityCode", True),
    (CodeAttribute.FORMAT, "FormatCode", False),
)


def _find_submission_sets(kind: Kind, read: Parameters) -> StoredQuery:
    return StoredQuery(
        kind=kind,
        patients=read.patient(f"{_SET}PatientId"),
        sets=SetsAsked(
            statuses=read.statuses(f"{_SET}Status", required=True),
            source_ids=read.many(f"{_SET}SourceId"),
            submitted=read.bounds(f"{_SET}SubmissionTime"),
            author=read.pattern(f"{_SET}AuthorPerson"),
            content_types=read.tokens(f"{_SET}ContentType"),
        ),
        level=read.level(),
    )


def _find_folders(kind: Kind, read: Parameters) -> StoredQuery:
    return StoredQuery(
        kind=kind, patients=read.patient(f"{_FOLDER}PatientId"), folders=_folders(read), level=read.level()
    )


def _folders(read: Parameters) -> FoldersAsked:
    return FoldersAsked(
        statuses=read.statuses(f"{_FOLDER}Status", required=True),
        updated=read.bounds(f"{_FOLDER}LastUpdateTime"),
        codes=tuple(read.token_lists(f"{_FOLDER}CodeList")),
    )


def _get_all(kind: Kind, read: Parameters) -> StoredQuery:
    narrowed = _narrowed(read)
    return StoredQuery(
        kind=kind,
        patients=read.patient("$patientId"),
        entries=EntriesAsked(
            statuses=read.statuses(f"{_ENTRY}Status", required=True),
            object_types=narrowed.object_types,
            codes=narrowed.codes,
        ),
        sets=SetsAsked(statuses=read.statuses(f"{_SET}Status", required=True)),
        folders=FoldersAsked(statuses=read.statuses(f"{_FOLDER}Status", required=True)),
        association_statuses=read.association_statuses(),
        level=read.level(),
    )


def _narrowed(read: Parameters) -> EntriesAsked:
    """What may narrow the entries of a list: format, confidentiality, type."""
    return EntriesAsked(
        object_types=read.types(f"{_ENTRY}Type"),
        codes=(
            *read.codes(CodeAttribute.FORMAT, f"{_ENTRY}FormatCode"),
            *read.codes(CodeAttribute.CONFIDENTIALITY, f"{_ENTRY}ConfidentialityCode", several=True),
        ),
    )


def _get_documents(kind: Kind, read: Parameters) -> StoredQuery:
    level = read.level()
    named = read.named(_ENTRY, logical=kind is Kind.GET_DOCUMENTS, level=level)
    return StoredQuery(kind=kind, named=named, association_statuses=read.association_statuses(), level=level)


def _get_folders(kind: Kind, read: Parameters) -> StoredQuery:
    level = read.level()
    return StoredQuery(kind=kind, named=read.named(_FOLDER, logical=True, level=level), level=level)


def _by_uuid(kind: Kind, read: Parameters) -> StoredQuery:
    return StoredQuery(
        kind=kind,
        named=Named(uuids=read.uuids("$uuid", required=True)),
        association_statuses=read.association_statuses(),
        level=read.level(),
    )


def _get_contents(kind: Kind, read: Parameters) -> StoredQuery:
    of = _SET if kind is Kind.GET_SUBMISSION_SET_AND_CONTENTS else _FOLDER
    level = read.level()
    return StoredQuery(
        kind=kind,
        named=read.named(of, single=True, level=level),
        entries=_narrowed(read),
        association_statuses=read.association_statuses(),
        level=level,
    )


def _get_around(kind: Kind, read: Parameters) -> StoredQuery:
    level = read.level()
    related = kind is Kind.GET_RELATED_DOCUMENTS
    return StoredQuery(
        kind=kind,
        named=read.named(_ENTRY, single=True, level=level),
        entries=EntriesAsked(object_types=read.types(f"{_ENTRY}Type")) if related else EntriesAsked(),
        association_types=read.relationships("$AssociationTypes") if related else (),
        association_statuses=read.association_statuses(),
        level=level,
    )


def _multi(kind: Kind, read: Parameters) -> StoredQuery:
    """A query of ITI-51: about several patients, or about all, when something else narrows it."""
    if kind is Kind.FIND_FOLDERS:
        patients = read.patients(f"{_FOLDER}PatientId")
        folders = _folders(read)
        if not patients and not folders.codes:
            read.missing(f"{_FOLDER}CodeList")
        return StoredQuery(kind=kind, multi_patient=True, patients=patients, folders=folders, level=read.level())
    patients = read.patients(f"{_ENTRY}PatientId")
    entries = _entries(read, by_reference=kind is Kind.FIND_DOCUMENTS_BY_REFERENCE_ID)
    narrowing = {CodeAttribute.CLASS, CodeAttribute.EVENT, CodeAttribute.FACILITY}
    if kind is Kind.FIND_DOCUMENTS and not patients and not any(one.attribute in narrowing for one in entries.codes):
        read.missing(f"{_ENTRY}ClassCode")
    return StoredQuery(kind=kind, multi_patient=True, patients=patients, entries=entries, level=read.level())


_READERS: Mapping[Kind, Callable[[Kind, Parameters], StoredQuery]] = {
    Kind.FIND_DOCUMENTS: _find_documents,
    Kind.FIND_DOCUMENTS_BY_REFERENCE_ID: _find_documents,
    Kind.FIND_DOCUMENTS_EXCLUDE: _find_documents,
    Kind.FIND_SUBMISSION_SETS: _find_submission_sets,
    Kind.FIND_FOLDERS: _find_folders,
    Kind.GET_ALL: _get_all,
    Kind.GET_DOCUMENTS: _get_documents,
    Kind.GET_FOLDERS: _get_folders,
    Kind.GET_ASSOCIATIONS: _by_uuid,
    Kind.GET_DOCUMENTS_AND_ASSOCIATIONS: _get_documents,
    Kind.GET_SUBMISSION_SETS: _by_uuid,
    Kind.GET_SUBMISSION_SET_AND_CONTENTS: _get_contents,
    Kind.GET_FOLDER_AND_CONTENTS: _get_contents,
    Kind.GET_FOLDERS_FOR_DOCUMENT: _get_around,
    Kind.GET_RELATED_DOCUMENTS: _get_around,
}
