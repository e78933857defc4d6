"""Reads of the registry: rows as values, newest first, a constant number of statements each.

Nothing here asks whether the caller may see a row: `hie.exchange.access` does, and is the only
way to these functions.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from django.conf import settings
from django.core.exceptions import EmptyResultSet
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from documents import codec, dtm, facts, on_demand
from documents.conditions import (
    any_range,
    entry_date_condition,
    identifier_condition,
    name_condition,
    reference_condition,
    token_condition,
)
from documents.conditions import as_uuid as as_uuid
from documents.conditions import bare_uuid as bare_uuid
from documents.filters import (
    DateAttribute,
    EntryFilter,
    ListFilter,
    Position,
)
from documents.metadata import (
    ADDING,
    DERIVING,
    ON_DEMAND,
    REPLACING,
    AssociationMetadata,
    AssociationType,
    CodedValue,
    EntryMetadata,
    FolderMetadata,
    Status,
    SubmissionSetMetadata,
)
from documents.models import (
    Association,
    AuthorRow,
    DocumentEntry,
    EntryCode,
    Folder,
    FolderCode,
    ReferenceIdRow,
    ReviewItem,
    SubmissionSet,
)
from documents.query_parameters import OFFLINE
from hie.database import prepared
from hie.standards import naming
from hie.standards.facts import DocumentFacts, Perhaps
from hie.standards.values import quick

_ListRow = TypeVar("_ListRow", SubmissionSet, Folder)

MIME_CLASS = "urn:ietf:bcp:13"
RESOURCE_CLASS = "http://hl7.org/fhir/resource-types"
_NONE = UUID(int=0)
"""The name of no object: asked for where there is none to ask for, so that this costs the same."""
_NO_PATIENT = 0
"""The row id of nobody's identifier, likewise."""
_DERIVING = frozenset(kind.value for kind in DERIVING)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRow:
    """A registered entry: its metadata as registered, with what the registry added.

    `associations` are the relationships (not memberships) with this entry at either end.
    `submission_set_uuid` and `submission_time` are those of the submission that brought it.
    `sources` are the rows it was derived from (transformed, snapshot), filled by `entries`; `around` the UUIDs of
    every entry that hangs together with it, whatever the relationship, its direction and the steps between.
    """

    metadata: EntryMetadata
    identifier_pk: int
    binary_id: str | None
    custodian: str
    associations: tuple[AssociationMetadata, ...]
    registered_at: datetime
    updated_at: datetime
    sorted_at: datetime
    pk: int
    submission_set_uuid: str
    submission_time: str
    labels: frozenset[str] = frozenset()
    confidentiality: str | None = None
    labelled: bool = False
    label_version: int = 1
    restricted: bool = False
    revision: int = 1
    sources: tuple[EntryRow, ...] = ()
    around: frozenset[str] = frozenset()

    @property
    def entry_uuid(self) -> str:
        """``urn:uuid:…``, as the metadata has it."""
        return self.metadata.entry_uuid

    @property
    def position(self) -> Position:
        """Where a list that ends with this row is to be continued."""
        return Position(sorted_at=self.sorted_at, pk=self.pk)

    @property
    def is_made_here(self) -> bool:
        """Whether the document is made here when it is asked for (`documents.on_demand`)."""
        return on_demand.is_made_here(self.metadata)

    @property
    def content_id(self) -> str | None:
        """By which its document is read: the id of its bytes; of one that is made here the bare UUID of the entry.

        None where the document is elsewhere.
        """
        return self.binary_id or (bare_uuid(self.entry_uuid) if self.is_made_here else None)

    @property
    def document_version(self) -> str:
        """Revision of the entry and of its labels, as a decision record names them."""
        return f"{self.metadata.version}.{self.revision}.{self.label_version}"

    def facts(self, person_id: UUID | str, identifier_pks: Collection[int] | None = None) -> DocumentFacts:
        """The document as policy sees it.

        It is about `person_id` when its patient identifier is among that person's (`identifier_pks`; None: not asked);
        else about somebody else, and so is each source it was derived from. The facts carry the entry's UUID without
        the ``urn:uuid:`` in front, as audit and FHIR ids do. Source: spec/consent.md section 3.
        """
        entry, own = self.metadata, self.entry_uuid
        authors = facts.authors(entry)
        found = self.associations
        ends = {bare_uuid(end) for a in found for end in (a.source, a.target)} - {bare_uuid(own)} if found else ()
        belongs = facts.belongs_to(entry)
        mine = identifier_pks is None or self.identifier_pk in identifier_pks
        return DocumentFacts(
            id=bare_uuid(own),
            patient=str(person_id) if mine else f"identifier:{self.identifier_pk}",
            custodian=self.custodian,
            authors=authors.ordered,
            classes=facts.spelled(facts.classes(entry)) | _kind(entry.mime_type),
            # The type is a clinical coding only: a permit by class must not reach a document by its type.
            codes=facts.spelled(facts.clinical(entry)),
            confidentiality=self.confidentiality,
            labels=self.labels,
            labelled=self.labelled,
            service_start=_fhir(entry.service_start_time),
            service_stop=_fhir(entry.service_stop_time),
            created=_fhir(entry.creation_time),
            encounter=next((r.value for r in entry.reference_ids if r.type_code == facts.ENCOUNTER), None),
            related=tuple(sorted(ends)),
            depends_on=tuple(sorted({bare_uuid(a.target) for a in found if a.source == own})),
            derived_from=tuple(source.facts(person_id, identifier_pks) for source in self.sources),
            perhaps=Perhaps(
                authors=authors.perhaps,
                ids=self._other_names(),
                related=self.around.union(map(naming.bare, belongs)) if belongs else self.around,
            ),
        )

    def _other_names(self) -> frozenset[str]:
        """What else the document is called: uniqueId, its bytes, the logical id of all its versions."""
        entry = self.metadata
        names = (entry.entry_uuid, entry.unique_id, self.binary_id, entry.logical_id)
        return frozenset(naming.bare(name) for name in {*names} if name)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionSetRow:
    """A registered submission set; `members` are entry UUIDs (``urn:uuid:…``) in order of registration.

    `joins` are the objects that it put into folders which were there before.
    """

    metadata: SubmissionSetMetadata
    identifier_pk: int
    custodian: str
    members: tuple[str, ...]
    registered_at: datetime
    sorted_at: datetime
    pk: int
    status: Status = Status.APPROVED
    joins: tuple[str, ...] = ()

    @property
    def position(self) -> Position:
        """Where a list that ends with this row is to be continued."""
        return Position(sorted_at=self.sorted_at, pk=self.pk)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderRow:
    """A registered folder; `members` are the UUIDs of its entries; `last_update_time` is the registry's.

    `joined_at` says when each of the members came, in their order.
    """

    metadata: FolderMetadata
    identifier_pk: int
    custodian: str
    members: tuple[str, ...]
    last_update_time: datetime
    registered_at: datetime
    sorted_at: datetime
    pk: int
    status: Status = Status.APPROVED
    revision: int = 1
    joined_at: tuple[datetime, ...] = ()

    @property
    def position(self) -> Position:
        """Where a list that ends with this row is to be continued."""
        return Position(sorted_at=self.sorted_at, pk=self.pk)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRow:
    """A document accepted with doubts and not yet looked at by a person."""

    id: int
    entry_uuid: str
    reasons: tuple[str, ...]
    custodian: str
    opened_at: datetime


# -- entries ------------------------------------------------------------------------------------


def entries(
    identifier_pks: Iterable[int],
    filter: EntryFilter | None = None,
    *,
    limit: int | None = None,
    after: Position | None = None,
) -> list[EntryRow]:
    """Entries of these patient identifiers that pass the filter, newest first.

    Newest by creationTime (registration where there is none), ties by primary key; continues
    behind `after`. Two statements whatever the count; one more for each step of derivation.
    """
    return entry_values(selected(_of_patients, identifier_pks, filter or EntryFilter(), limit, after))


def _of_patients(
    identifier_pks: Sequence[int], asked: EntryFilter, limit: int | None, after: Position | None
) -> QuerySet[DocumentEntry]:
    rows = apply_entry_filter(_entry_rows().filter(patient_identifier__in=identifier_pks), asked)
    if after is not None:
        rows = rows.filter(Q(sorted_at__lt=after.sorted_at) | Q(sorted_at=after.sorted_at, pk__lt=after.pk))
    rows = rows.order_by("-sorted_at", "-pk")
    return rows[:limit] if limit is not None else rows


def entry(entry_uuid: UUID | str) -> EntryRow | None:
    """One entry by its UUID (with or without ``urn:uuid:``), or None. Two statements."""
    key = as_uuid(entry_uuid)
    if key is None:
        return None
    found = entry_values(_named([key]))
    return found[0] if found else None


def entries_by_uuid(entry_uuids: Iterable[UUID | str]) -> dict[str, EntryRow]:
    """Entries by UUID (``urn:uuid:…`` -> row); unknown ones are absent. Two statements, for none too."""
    keys = [key for key in map(as_uuid, entry_uuids) if key is not None] or [_NONE]
    return {row.entry_uuid: row for row in entry_values(_named(keys))}


def entries_of_binary(binary_id: UUID | str) -> list[EntryRow]:
    """Every entry whose document these bytes are, newest first; or the one whose document is made here. Two statements."""
    key = as_uuid(binary_id)
    if key is None:
        return []
    rows = _entry_rows().filter(Q(binary_id=key) | Q(entry_uuid=key) & _made_here())
    return [row for row in entry_values(rows.order_by("-sorted_at", "-pk")) if row.content_id is not None]


def entries_by_unique_id(unique_id: str, *, repository_unique_id: str | None = None) -> list[EntryRow]:
    """Every entry that names this document, newest first. Two statements."""
    rows = _entry_rows().filter(unique_id=unique_id)
    if repository_unique_id is not None:
        rows = rows.filter(repository_unique_id=repository_unique_id)
    return entry_values(rows.order_by("-sorted_at", "-pk"))


def entries_with_bytes(unique_ids: Iterable[str]) -> list[EntryRow]:
    """Every entry, deprecated ones too, of these documents that this repository holds or makes and that is not offline,
    newest first. Two statements.
    """
    found = entry_values(selected(_online, list(unique_ids) or [""], settings.REPOSITORY_UNIQUE_ID))
    return [row for row in found if row.content_id is not None]


def _online(unique_ids: Sequence[str], repository_unique_id: str) -> QuerySet[DocumentEntry]:
    rows = DocumentEntry.objects.filter(unique_id__in=unique_ids)
    rows = rows.filter(Q(binary__isnull=False) | _made_by(repository_unique_id))
    return rows.exclude(document_availability=OFFLINE).order_by("-sorted_at", "-pk")


def _made_here() -> Q:
    """On-demand entries of this repository, of whatever format."""
    return _made_by(settings.REPOSITORY_UNIQUE_ID)


def _made_by(repository_unique_id: str) -> Q:
    return Q(object_type=ON_DEMAND, repository_unique_id=repository_unique_id)


def ids_of(identifier_pks: Iterable[int]) -> list[str]:
    """The entries of these patient identifiers, whatever their status, by bare UUID in order. One statement."""
    rows = DocumentEntry.objects.filter(patient_identifier__in=list(identifier_pks) or [_NO_PATIENT])
    return sorted(str(one) for one in rows.values_list("entry_uuid", flat=True))


def patients_of_entries(*, ids: Iterable[UUID] = (), identifiers: Sequence[str] = ()) -> set[int]:
    """The patient identifiers of the entries named by UUID, or else by identifier. One statement."""
    named = Q(entry_uuid__in=list(ids)) if ids else identifier_condition(identifiers)
    return set(DocumentEntry.objects.filter(named).values_list("patient_identifier", flat=True))


def patients_of_lists(*, ids: Iterable[UUID] = (), identifiers: Sequence[str] = ()) -> set[int]:
    """The patient identifiers of the submission sets and folders named by UUID, or else by identifier. Two statements."""
    named = Q(entry_uuid__in=list(ids)) if ids else identifier_condition(identifiers)
    found = set(SubmissionSet.objects.filter(named).values_list("patient_identifier", flat=True))
    return found | set(Folder.objects.filter(named).values_list("patient_identifier", flat=True))


def revision(entry_uuid: UUID | str) -> int | None:
    """How often an entry or folder has changed since it was registered, from 1; None when there is none."""
    key = as_uuid(entry_uuid)
    if key is None:
        return None
    for model in (DocumentEntry, Folder):
        found: int | None = model._default_manager.filter(entry_uuid=key).values_list("revision", flat=True).first()
        if found is not None:
            return found
    return None


class _Entry(NamedTuple):
    """The columns of an entry that are read, and two of the submission that brought it."""

    pk: int
    entry_uuid: UUID
    metadata: Any
    availability_status: str
    version: int
    revision: int
    identifier_pk: int
    binary_id: UUID | None
    custodian: str
    labels: list[str]
    confidentiality: str | None
    labelled: bool
    label_version: int
    restricted: bool
    registered_at: datetime
    updated_at: datetime
    sorted_at: datetime
    set_uuid: UUID
    set_time: str


_SET = ("submission_set__entry_uuid", "submission_set__submission_time")
_COLUMNS = (*("patient_identifier_id" if name == "identifier_pk" else name for name in _Entry._fields[:-2]), *_SET)
_NAMED = f"""
SELECT {", ".join(f"e.{'id' if name == 'pk' else name}" for name in _COLUMNS[:-2])}, s.entry_uuid, s.submission_time
  FROM documents_documententry e JOIN documents_submissionset s ON s.id = e.submission_set_id
 WHERE e.entry_uuid = ANY(%s::uuid[]) ORDER BY e.id
"""  # noqa: S608  # constants only


def _entry_rows() -> QuerySet[DocumentEntry]:
    return DocumentEntry.objects.all()


def _read(rows: QuerySet[DocumentEntry]) -> list[_Entry]:
    return [_Entry(*row) for row in rows.values_list(*_COLUMNS)]


def _as_read(rows: Iterable[tuple[Any, ...]]) -> list[_Entry]:
    return [_Entry(*row)._replace(metadata=json.loads(row[2])) for row in rows]


def _named(keys: Iterable[UUID]) -> list[_Entry]:
    """The entries of these UUIDs. One statement."""
    with prepared() as cursor:
        cursor.execute(_NAMED, [list(keys)])
        return _as_read(cursor.fetchall())


def selected(
    of: Callable[..., QuerySet[DocumentEntry]], keys: Iterable[int] | Iterable[str], *asked: Hashable
) -> list[_Entry]:
    """The columns of the entries that `of(keys, *asked)` selects: nobody's where there is no key. One statement.

    `keys`: row ids of patient identifiers, or uniqueIds. Different patients and documents are asked about in the same words,
    and putting these together cost Django as much as all that follows: a statement is made once for what is asked of so
    many keys.
    """
    wanted: list[int | str] = list(dict.fromkeys(keys)) or [_NO_PATIENT]
    made = _statement(of, asked, len(wanted), isinstance(wanted[0], int))
    if made is None:
        return []
    values = list(made.values)
    for at, number in made.places:
        values[at] = wanted[number]
    with prepared() as cursor:
        cursor.execute(made.sql, values)
        return _as_read(cursor.fetchall())


class _Statement(NamedTuple):
    """A statement with its values, and which of them, by position, stand for which key."""

    sql: str
    values: tuple[Any, ...]
    places: tuple[tuple[int, int], ...]


@lru_cache(maxsize=512)
def _statement(
    of: Callable[..., QuerySet[DocumentEntry]], asked: tuple[Hashable, ...], count: int, numbers: bool
) -> _Statement | None:
    """The statement for so many keys, numbers or texts; None where nothing can match."""
    # No row has a number below zero, no text a character NUL.
    stand_ins = {-1 - number if numbers else f"\0{number}": number for number in range(count)}
    try:
        sql, values = of(list(stand_ins), *asked).values_list(*_COLUMNS).query.sql_with_params()
    except EmptyResultSet:
        return None
    places = (
        (at, stand_ins[value]) for at, value in enumerate(values) if type(value) in (int, str) and value in stand_ins
    )
    return _Statement(sql, values, tuple(places))


class Relation(NamedTuple):
    """The columns of an association that are read."""

    entry_uuid: UUID
    type: str
    source: UUID
    target: UUID
    submission_set_status: str | None
    documentation_code: str | None
    documentation_scheme: str | None
    documentation_display: str | None
    extra: Any


def _relations(keys: Sequence[UUID]) -> list[Relation]:
    with prepared() as cursor:
        cursor.execute(_RELATIONS, {"keys": list(keys), "types": _RELATING, "status": _APPROVED})
        return [Relation._make((*row[:-1], json.loads(row[-1]))) for row in cursor.fetchall()]


def entry_values(rows: QuerySet[DocumentEntry] | list[_Entry]) -> list[EntryRow]:
    """The entries that a selection of rows gives, in its order, with all that hangs together with them. Two statements."""
    found = rows if isinstance(rows, list) else _read(rows)
    # Relations are asked for whether or not anything was found: what is hidden afterwards must not cost more than nothing.
    keys = [row.entry_uuid for row in found]
    relations = _relations(keys)
    ends: dict[UUID, list[AssociationMetadata]] = defaultdict(list)
    derived: dict[UUID, list[UUID]] = defaultdict(list)
    for relation in relations:
        value = association_value(relation)
        for end in {relation.source, relation.target}:
            ends[end].append(value)
        if relation.type in _DERIVING:
            derived[relation.source].append(relation.target)
    around = _around(relations)

    def made(row: _Entry) -> EntryRow:
        return _entry_value(row, tuple(ends[row.entry_uuid]), around.get(row.entry_uuid, _NOBODY))

    values = {row.entry_uuid: made(row) for row in found}
    if not derived:
        return list(values.values())
    # All that a document was made from, however many steps back: whether or not what stands between is on this page.
    above = {key: _above(key, derived) for key in values}
    known = dict(values)
    missing = frozenset().union(*above.values()) - known.keys()
    if missing:
        known |= {row.entry_uuid: made(row) for row in _named(missing)}
    return [
        replace(value, sources=tuple(known[one] for one in sorted(above[key]) if one in known)) if above[key] else value
        for key, value in values.items()
    ]


def _above(key: UUID, derived: Mapping[UUID, Sequence[UUID]]) -> frozenset[UUID]:
    """What this was made from, and what that was made from in turn; a ring of associations is not followed for ever."""
    reached: set[UUID] = set()
    todo = list(derived.get(key, ()))
    while todo:
        one = todo.pop()
        if one != key and one not in reached:
            reached.add(one)
            todo += derived.get(one, ())
    return frozenset(reached)


@lru_cache(maxsize=256)
def _kind(mime_type: str) -> frozenset[str]:
    """The classes that an entry has by its media type, and as the resource it is shown as."""
    return frozenset({f"{MIME_CLASS}|{mime_type.split(';')[0].strip().lower()}", f"{RESOURCE_CLASS}|DocumentReference"})


_NOBODY: frozenset[str] = frozenset()
_APPROVED = Status.APPROVED.value
_RELATING = [kind.value for kind in AssociationType if kind is not AssociationType.HAS_MEMBER]
_RELATIONS = f"""
WITH RECURSIVE near(key) AS (
    SELECT unnest(%(keys)s::uuid[])
  UNION
    SELECT other.key FROM near CROSS JOIN LATERAL (
        SELECT a.target AS key FROM documents_association a
         WHERE a.source = near.key AND a.type = ANY(%(types)s::text[]) AND a.availability_status = %(status)s::text
        UNION ALL
        SELECT a.source FROM documents_association a
         WHERE a.target = near.key AND a.type = ANY(%(types)s::text[]) AND a.availability_status = %(status)s::text
    ) AS other
)
SELECT {", ".join(f"a.{name}" for name in Relation._fields)} FROM near CROSS JOIN LATERAL (
    SELECT * FROM documents_association a
     WHERE a.source = near.key AND a.type = ANY(%(types)s::text[]) AND a.availability_status = %(status)s::text OFFSET 0
) AS a ORDER BY a.id
"""  # noqa: S608  # constants only
# By the index for each key, which OFFSET 0 keeps a join from being made of: of ten million it would read all.


def _around(relations: Iterable[Relation]) -> dict[UUID, frozenset[str]]:
    """For each end of a relationship, all that it hangs together with, itself among them: one set for all of these."""
    groups: dict[UUID, set[UUID]] = {}
    for relation in relations:
        one, other = (groups.setdefault(end, {end}) for end in (relation.source, relation.target))
        if one is not other:
            small, large = sorted((one, other), key=len)
            large |= small
            for member in small:
                groups[member] = large
    shared = {id(group): frozenset(map(str, group)) for group in groups.values()}
    return {key: shared[id(group)] for key, group in groups.items()}


def _entry_value(row: _Entry, associations: tuple[AssociationMetadata, ...], around: frozenset[str]) -> EntryRow:
    # What the registry changed since goes before what was submitted.
    now = {"availability_status": row.availability_status, "version": row.version}
    return EntryRow(
        metadata=codec.decode_entry({**row.metadata, **now}),
        identifier_pk=row.identifier_pk,
        binary_id=None if row.binary_id is None else str(row.binary_id),
        custodian=row.custodian,
        associations=associations,
        around=around,
        registered_at=row.registered_at,
        updated_at=row.updated_at,
        sorted_at=row.sorted_at,
        pk=row.pk,
        submission_set_uuid=f"urn:uuid:{row.set_uuid}",
        submission_time=row.set_time,
        labels=frozenset(row.labels),
        confidentiality=row.confidentiality,
        labelled=row.labelled,
        label_version=row.label_version,
        restricted=row.restricted,
        revision=row.revision,
    )


def association_value(row: Relation) -> AssociationMetadata:
    """An association row as the value it was registered from."""
    documentation = None
    if row.documentation_code is not None:
        documentation = CodedValue(
            code=row.documentation_code,
            scheme=row.documentation_scheme or "",
            display=row.documentation_display or "",
        )
    return AssociationMetadata(
        entry_uuid=f"urn:uuid:{row.entry_uuid}",
        type=AssociationType(row.type),
        source=f"urn:uuid:{row.source}",
        target=f"urn:uuid:{row.target}",
        submission_set_status=row.submission_set_status,
        documentation=documentation,
        extra=row.extra,
    )


def _related() -> Q:
    """Deprecated with another document: replaced by it, or added to one that was replaced."""
    relations = Association.objects.filter(availability_status=Status.APPROVED.value)
    replaced = relations.filter(type__in=[kind.value for kind in REPLACING], target=OuterRef("entry_uuid"))
    added = relations.filter(type__in=[kind.value for kind in ADDING], source=OuterRef("entry_uuid"))
    return Q(availability_status=Status.DEPRECATED.value) & (Q(Exists(replaced)) | Q(Exists(added)))


def apply_entry_filter(rows: QuerySet[DocumentEntry], asked: EntryFilter) -> QuerySet[DocumentEntry]:
    """The entries that pass."""
    if asked.ids:
        rows = rows.filter(entry_uuid__in=asked.ids)
    if asked.statuses:
        passing = Q(availability_status__in=[status.value for status in asked.statuses])
        rows = rows.filter(passing | _related() if asked.superseded_too else passing)
    if asked.object_types:
        rows = rows.filter(object_type__in=asked.object_types)
    if asked.mime_types:
        rows = rows.filter(mime_type__in=asked.mime_types)
    if asked.custodians:
        rows = rows.filter(custodian__in=asked.custodians)
    if asked.registered_until is not None:
        rows = rows.filter(registered_at__lte=asked.registered_until)
    for criterion in asked.codes:
        having = Exists(
            EntryCode.objects.filter(
                token_condition(criterion.any_of), entry=OuterRef("pk"), attribute=criterion.attribute.value
            )
        )
        rows = rows.filter(~having if criterion.negate else having)
    for date in asked.dates:
        passing = entry_date_condition(date)
        if asked.superseded_too and date.attribute is DateAttribute.LAST_UPDATED:
            passing |= any_range(date.any_of, "registered_at", None) & _related()
        rows = rows.filter(passing)
    for names in asked.author_family:
        rows = rows.filter(Exists(AuthorRow.objects.filter(name_condition(names, "family"), entry=OuterRef("pk"))))
    for names in asked.author_given:
        rows = rows.filter(Exists(AuthorRow.objects.filter(name_condition(names, "given"), entry=OuterRef("pk"))))
    for identifiers in asked.identifiers:
        rows = rows.filter(identifier_condition(identifiers))
    for references in asked.related:
        rows = rows.filter(Exists(ReferenceIdRow.objects.filter(reference_condition(references), entry=OuterRef("pk"))))
    return rows


# -- submission sets and folders ----------------------------------------------------------------


def submission_sets(
    identifier_pks: Iterable[int],
    filter: ListFilter | None = None,
    *,
    limit: int | None = None,
    after: Position | None = None,
) -> list[SubmissionSetRow]:
    """Submission sets of these patient identifiers, newest submissionTime first. Two statements."""
    asked = filter or ListFilter()
    rows = SubmissionSet.objects.filter(patient_identifier__in=list(identifier_pks) or [_NO_PATIENT])
    if asked.source_ids:
        rows = rows.filter(source_id__in=asked.source_ids)
    for tokens in asked.codes:
        condition = Q(pk__in=[])
        for token in tokens:
            one = Q()
            if token.code is not None:
                one &= Q(content_type_code=token.code)
            if token.scheme is not None:
                one &= Q(content_type_scheme=token.scheme)
            condition |= one
        rows = rows.filter(condition)
    for names in asked.source_family:
        rows = rows.filter(
            Exists(AuthorRow.objects.filter(name_condition(names, "family"), submission_set=OuterRef("pk")))
        )
    for names in asked.source_given:
        rows = rows.filter(
            Exists(AuthorRow.objects.filter(name_condition(names, "given"), submission_set=OuterRef("pk")))
        )
    for date in asked.dates:
        if date.attribute is DateAttribute.LAST_UPDATED:
            rows = rows.filter(any_range(date.any_of, "registered_at", None))
        else:
            rows = rows.filter(any_range(date.any_of, "submission_time_from", "submission_time_until"))
    return set_values(_list_rows(rows, asked, "submission_time_from", limit, after))


def submission_set(entry_uuid: UUID | str) -> SubmissionSetRow | None:
    """One submission set by its UUID, or None. Two statements."""
    key = as_uuid(entry_uuid)
    found = [] if key is None else set_values(SubmissionSet.objects.filter(entry_uuid=key))
    return found[0] if found else None


def folders(
    identifier_pks: Iterable[int],
    filter: ListFilter | None = None,
    *,
    limit: int | None = None,
    after: Position | None = None,
) -> list[FolderRow]:
    """Folders of these patient identifiers, last updated first. Two statements."""
    asked = filter or ListFilter()
    rows = Folder.objects.filter(patient_identifier__in=list(identifier_pks) or [_NO_PATIENT])
    for tokens in asked.codes:
        rows = rows.filter(Exists(FolderCode.objects.filter(token_condition(tokens), folder=OuterRef("pk"))))
    for date in asked.dates:
        rows = rows.filter(any_range(date.any_of, "last_update_time", None))
    return folder_values(_list_rows(rows, asked, "last_update_time", limit, after))


def folder(entry_uuid: UUID | str) -> FolderRow | None:
    """One folder by its UUID, or None. Two statements."""
    key = as_uuid(entry_uuid)
    found = [] if key is None else folder_values(Folder.objects.filter(entry_uuid=key))
    return found[0] if found else None


def _list_rows(
    rows: QuerySet[_ListRow], asked: ListFilter, sort_key: str, limit: int | None, after: Position | None
) -> QuerySet[_ListRow]:
    if asked.ids:
        rows = rows.filter(entry_uuid__in=asked.ids)
    if asked.statuses:
        rows = rows.filter(availability_status__in=[status.value for status in asked.statuses])
    for identifiers in asked.identifiers:
        rows = rows.filter(identifier_condition(identifiers))
    if asked.members:
        rows = rows.filter(
            Exists(
                Association.objects.filter(
                    source=OuterRef("entry_uuid"), type=AssociationType.HAS_MEMBER.value, target__in=asked.members
                )
            )
        )
    if asked.registered_until is not None:
        rows = rows.filter(registered_at__lte=asked.registered_until)
    if after is not None:
        rows = rows.filter(
            Q(**{f"{sort_key}__lt": after.sorted_at}) | Q(**{sort_key: after.sorted_at, "pk__lt": after.pk})
        )
    rows = rows.order_by(f"-{sort_key}", "-pk")
    return rows[:limit] if limit is not None else rows


@dataclass(slots=True)
class _Members:
    """Members as ``urn:uuid:…`` and when each came, in order; and what else was put into folders beside them."""

    at: dict[str, datetime] = field(default_factory=dict)
    joins: list[str] = field(default_factory=list)


def _members(keys: Sequence[UUID]) -> dict[UUID, _Members]:
    """The members of lists. One statement."""
    members = {key: _Members() for key in keys}
    put = Association.objects.filter(entry_uuid=OuterRef("target"), type=AssociationType.HAS_MEMBER.value)
    for source, target, at, joins in (
        Association.objects.filter(
            source__in=keys or [_NONE], type=AssociationType.HAS_MEMBER.value, availability_status=Status.APPROVED.value
        )
        .order_by("pk")
        .values_list("source", "target", "registered_at", Subquery(put.values("target")[:1]))
    ):
        members[source].at.setdefault(f"urn:uuid:{target}", at)
        if joins is not None:
            members[source].joins.append(f"urn:uuid:{joins}")
    return members


def set_values(rows: Iterable[SubmissionSet]) -> list[SubmissionSetRow]:
    """The submission sets with their members. One statement and that of `rows`."""
    found = list(rows)
    members = _members([row.entry_uuid for row in found])
    return [
        SubmissionSetRow(
            metadata=codec.decode_submission_set(row.metadata),
            identifier_pk=row.patient_identifier_id,
            custodian=row.custodian,
            members=tuple(members[row.entry_uuid].at),
            registered_at=row.registered_at,
            sorted_at=row.submission_time_from,
            pk=row.pk,
            status=Status(row.availability_status),
            joins=tuple(members[row.entry_uuid].joins),
        )
        for row in found
    ]


def folder_values(rows: Iterable[Folder]) -> list[FolderRow]:
    """The folders with their members. One statement and that of `rows`."""
    found = list(rows)
    members = _members([row.entry_uuid for row in found])
    return [
        FolderRow(
            metadata=replace(codec.decode_folder(row.metadata), version=row.version),
            identifier_pk=row.patient_identifier_id,
            custodian=row.custodian,
            members=tuple(members[row.entry_uuid].at),
            joined_at=tuple(members[row.entry_uuid].at.values()),
            last_update_time=row.last_update_time,
            registered_at=row.registered_at,
            sorted_at=row.last_update_time,
            pk=row.pk,
            status=Status(row.availability_status),
            revision=row.revision,
        )
        for row in found
    ]


# -- review -------------------------------------------------------------------------------------


def open_reviews(*, limit: int = 100) -> list[ReviewRow]:
    """Documents waiting for a person, longest waiting first. One statement."""
    rows = ReviewItem.objects.filter(closed_at__isnull=True).select_related("entry").order_by("opened_at", "pk")
    return [
        ReviewRow(
            id=row.pk,
            entry_uuid=f"urn:uuid:{row.entry.entry_uuid}",
            reasons=tuple(row.reasons),
            custodian=row.entry.custodian,
            opened_at=row.opened_at,
        )
        for row in rows[:limit]
    ]


def _fhir(time: str | None) -> str | None:
    return None if time is None else dtm.to_fhir(time)
