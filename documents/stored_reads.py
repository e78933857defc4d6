"""What the stored queries read of the registry: rows as values, a constant number of statements each.

As in `documents.queries`, nothing here asks whether the caller may see a row: `hie.exchange.stored_query` does. `level` is
$MetadataLevel; None leaves nothing out (spec/xds.md 5.1).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db.models import BooleanField, Case, CharField, Exists, Func, Model, OuterRef, Q, QuerySet, Value, When
from django.db.models.functions import Concat

from documents import queries
from documents.conditions import reference_condition, token_condition
from documents.filters import CodeCriterion, EntryFilter
from documents.metadata import AssociationMetadata, AssociationType, Status
from documents.models import (
    Association,
    AuthorRow,
    DocumentEntry,
    Folder,
    FolderCode,
    ReferenceIdRow,
    SubmissionSet,
)
from documents.queries import EntryRow, FolderRow, SubmissionSetRow
from documents.query_parameters import NOTHING, OFFLINE, ONLINE, Named, TextsAsked, TimeBounds
from documents.stored_query import EntriesAsked, FoldersAsked, SetsAsked

_NOBODY = 0
"""The row id of nobody's identifier: asked for where there is nobody to ask for, so that this costs the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationRow:
    """A registered association with its status."""

    metadata: AssociationMetadata
    status: Status
    pk: int

    @property
    def ends(self) -> tuple[str, str]:
        """The UUIDs of source and target."""
        return self.metadata.source, self.metadata.target


# -- by patient -----------------------------------------------------------------------------------------------------


def find_entries(pks: Collection[int] | None, asked: EntriesAsked, *, level: int | None) -> list[EntryRow]:
    """Entries of these patient identifiers (None: of anybody) that match, newest first. Two statements.

    Where approved entries are asked for, those deprecated by their relation to another are among them: whether the
    reader knows of the other is still to be seen.
    """
    if pks is None:
        return queries.entry_values(_asked_of(_entries_at(level), asked))
    return queries.entry_values(queries.selected(_of_patients, pks, asked, level))


def _of_patients(pks: Sequence[int], asked: EntriesAsked, level: int | None) -> QuerySet[DocumentEntry]:
    return _asked_of(_entries_at(level).filter(patient_identifier__in=pks), asked)


def _asked_of(rows: QuerySet[DocumentEntry], asked: EntriesAsked) -> QuerySet[DocumentEntry]:
    if not asked.statuses:
        rows = rows.none()
    rows = queries.apply_entry_filter(
        rows, EntryFilter(statuses=asked.statuses, superseded_too=Status.APPROVED in asked.statuses)
    )
    return _narrowed(rows, asked).order_by("-sorted_at", "-pk")


def _narrowed(rows: QuerySet[DocumentEntry], asked: EntriesAsked) -> QuerySet[DocumentEntry]:
    """The entries that match in everything but their status."""
    criteria = tuple(
        CodeCriterion(attribute=one.attribute, any_of=one.any_of, negate=one.exclude) for one in asked.codes
    )
    rows = queries.apply_entry_filter(rows, EntryFilter(object_types=asked.object_types, codes=criteria))
    for bounds, column in (
        (asked.creation, "creation_time_from"),
        (asked.service_start, "service_start_time_from"),
        (asked.service_stop, "service_stop_time_from"),
    ):
        rows = rows.filter(_within(bounds, column))
    for texts in asked.authors:
        having = Exists(_authored(AuthorRow.objects.filter(entry=OuterRef("pk")), texts))
        rows = rows.filter(~having if texts.exclude else having)
    for references in asked.references:
        having = Exists(ReferenceIdRow.objects.filter(reference_condition(references.any_of), entry=OuterRef("pk")))
        rows = rows.filter(~having if references.exclude else having)
    if asked.availabilities:
        available = Q(document_availability__in=asked.availabilities)
        rows = rows.filter(
            available | Q(document_availability__isnull=True) if ONLINE in asked.availabilities else available
        )
    return rows


def find_sets(pks: Collection[int], asked: SetsAsked) -> list[SubmissionSetRow]:
    """Submission sets of these patient identifiers that match, newest first. Two statements."""
    statuses = [status.value for status in asked.statuses]
    rows = SubmissionSet.objects.filter(
        _within(asked.submitted, "submission_time_from"),
        patient_identifier__in=list(pks) or [_NOBODY],
        availability_status__in=statuses,
    )
    if asked.source_ids:
        rows = rows.filter(source_id__in=asked.source_ids)
    if asked.author is not None:
        texts = TextsAsked(any_of=(asked.author,))
        rows = rows.filter(Exists(_authored(AuthorRow.objects.filter(submission_set=OuterRef("pk")), texts)))
    if asked.content_types:
        condition = Q(pk__in=[])
        for token in asked.content_types:
            condition |= Q(content_type_code=token.code, content_type_scheme=token.scheme)
        rows = rows.filter(condition)
    return queries.set_values(rows.order_by("-submission_time_from", "-pk"))


def find_folders(pks: Collection[int] | None, asked: FoldersAsked, *, level: int | None) -> list[FolderRow]:
    """Folders of these patient identifiers (None: of anybody) that match, last updated first. Two statements.

    When a folder was updated depends on what of it is seen: `asked.updated` is the reader's to apply.
    """
    rows = _folders_at(level).filter(availability_status__in=[status.value for status in asked.statuses])
    if pks is not None:
        rows = rows.filter(patient_identifier__in=list(pks) or [_NOBODY])
    for tokens in asked.codes:
        rows = rows.filter(Exists(FolderCode.objects.filter(token_condition(tokens), folder=OuterRef("pk"))))
    return queries.folder_values(rows.order_by("-last_update_time", "-pk"))


# -- by name --------------------------------------------------------------------------------------------------------


def entries_named(named: Named, *, level: int | None = None, asked: EntriesAsked | None = None) -> list[EntryRow]:
    """The entries so named, of those that match. Two statements."""
    rows = _entries_at(level).filter(_names(named, logical=True))
    if asked is not None:
        rows = _narrowed(rows, asked)
    return queries.entry_values(rows.order_by("-sorted_at", "-pk"))


def sets_named(named: Named) -> list[SubmissionSetRow]:
    """The submission sets so named. Two statements."""
    return queries.set_values(SubmissionSet.objects.filter(_names(named)).order_by("-submission_time_from", "-pk"))


def folders_named(named: Named, *, level: int | None = None) -> list[FolderRow]:
    """The folders so named. Two statements."""
    rows = _folders_at(level).filter(_names(named, logical=True))
    return queries.folder_values(rows.order_by("-last_update_time", "-pk"))


# -- associations ---------------------------------------------------------------------------------------------------


def associations(
    *,
    sources: Collection[UUID] = (),
    targets: Collection[UUID] = (),
    named: Collection[UUID] = (),
    types: Collection[AssociationType] = (),
    statuses: Collection[Status] = tuple(Status),
) -> list[AssociationRow]:
    """The associations that start at one of `sources`, end at one of `targets`, or are named; in order of registration.
    One statement.
    """
    condition = Q(source__in=list(sources) or [NOTHING])
    if targets:
        condition |= Q(target__in=list(targets))
    if named:
        condition |= Q(entry_uuid__in=list(named))
    rows = Association.objects.filter(condition, availability_status__in=[status.value for status in statuses])
    if types:
        rows = rows.filter(type__in=[kind.value for kind in types])
    return [
        AssociationRow(metadata=queries.association_value(queries.Relation(*relation)), status=Status(status), pk=pk)
        for *relation, status, pk in rows.order_by("pk").values_list(
            *queries.Relation._fields, "availability_status", "pk"
        )
    ]


def keys(ids: Iterable[str]) -> list[UUID]:
    """UUIDs of ``urn:uuid:…``."""
    return [key for key in map(queries.as_uuid, ids) if key is not None]


# -- conditions -----------------------------------------------------------------------------------------------------


def _names(named: Named, *, logical: bool = False) -> Q:
    if named.uuids:
        return Q(entry_uuid__in=named.uuids)
    if logical and named.logical_ids:
        return Q(logical_id__in=named.logical_ids)
    return Q(unique_id__in=named.unique_ids or [""])


def _within(bounds: TimeBounds, column: str) -> Q:
    condition = Q()
    if bounds.since is not None:
        condition &= Q(**{f"{column}__gte": bounds.since})
    if bounds.until is not None:
        condition &= Q(**{f"{column}__lt": bounds.until})
    return condition


def _entries_at(level: int | None) -> QuerySet[DocumentEntry]:
    """Level 1 knows only the latest version of each entry that is online."""
    rows = DocumentEntry.objects.all()
    if level is None or level > 1:
        return rows
    online = Q(document_availability__isnull=True) | ~Q(document_availability=OFFLINE)
    return rows.filter(online, ~_has_later(DocumentEntry))


def _folders_at(level: int | None) -> QuerySet[Folder]:
    """Level 1 knows only the latest version of each folder that is approved."""
    rows = Folder.objects.all()
    if level is None or level > 1:
        return rows
    return rows.filter(~_has_later(Folder), availability_status=Status.APPROVED.value)


def _has_later(model: type[Model]) -> Exists:
    later = model._default_manager.filter(logical_id=OuterRef("logical_id"), version__gt=OuterRef("version"))
    return Exists(later)


_XCN = ("person_id", "family", "given", "second", "suffix", "prefix", "degree")
_TEXT = CharField()
_PERSON = Concat(
    *(part for name in _XCN for part in (name, Value("^"))),
    Value("^"),
    Case(
        When(person_authority__gt="", then=Concat(Value("&"), "person_authority", Value("&ISO"), output_field=_TEXT)),
        default=Value(""),
        output_field=_TEXT,
    ),
    output_field=_TEXT,
)


def _authored(rows: QuerySet[AuthorRow], texts: TextsAsked) -> QuerySet[AuthorRow]:
    """The authors whose whole XCN is like one of the patterns, whatever its case; what is empty at its end counts for nothing."""
    # A backslash is one: LIKE would take it for what makes the next character mean itself.
    patterns = [pattern.rstrip("^").replace("\\", "\\\\") for pattern in texts.any_of]
    like = Func(
        Func(_PERSON, Value("^"), function="RTRIM", output_field=_TEXT),
        Value(patterns, output_field=ArrayField(_TEXT)),
        template="%(expressions)s)",
        arg_joiner=" ILIKE ANY(",
        output_field=BooleanField(),
    )
    return rows.filter(like)


def distinct(rows: Sequence[AssociationRow]) -> list[AssociationRow]:
    """The associations once each, in order of registration."""
    return sorted({row.pk: row for row in rows}.values(), key=lambda row: row.pk)
