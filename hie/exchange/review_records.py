"""The records of a review item: which of them are shown side by side, who keeps each, and what hangs on it.

Source: spec/mpi.md section 5.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from django.db.models import Count, Max

from consent.models import Consent, ProxyGrant
from documents.models import DocumentEntry, Folder
from hie.standards.demographics import Demographics
from patients.demographics import SourceRecordView
from patients.identifiers import HUB
from patients.models import ReviewItem

MAX_RECORDS = 5
"""Records shown side by side; more of these persons are counted."""

Kind = ReviewItem.Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One record: who keeps it, and what hangs on it."""

    letter: str
    organization: str
    identifier: str
    person: str
    since: datetime | None
    told: datetime | None
    version: str
    documents: int
    newest: datetime | None
    choices: int
    folders: int
    helpers: int

    @property
    def name(self) -> str:
        """Letter and organization."""
        return f"{self.letter} · {self.organization}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record shown. `person`: 0 would move, 1 of this person, 2 of the other person."""

    letter: str
    organization: str
    view: SourceRecordView
    person: int
    demographics: Demographics
    version: str


def records_of(
    item: ReviewItem,
    here: UUID,
    there: UUID | None,
    views: Mapping[UUID, Sequence[SourceRecordView]],
    revised: Demographics | None,
    names: Mapping[str, str],
) -> tuple[list[Record], int]:
    """The item's record first, then its person's and the other person's, at least one of each; and how many are left out."""
    mine = [view for view in views.get(here, ()) if view.participant_id != HUB]
    own = next(view for view in mine if view.source_record_id == item.source_record_id)
    version = "the current version"
    first = Record(letter="A", organization=names.get(own.participant_id, own.participant_id), view=own, person=1, demographics=own.demographics, version=f"{own.version}")  # fmt: skip
    if revised is not None:
        number = item.version.version if item.version is not None else 0
        kept = replace(first, letter="B", demographics=revised, version=f"{number}, kept aside", organization=f"{first.organization}, new")  # fmt: skip
        return [
            replace(first, version=f"{own.version}, {version}", organization=f"{first.organization}, as it is"),
            kept,
        ], 0
    if item.kind == Kind.PARTING:
        first = replace(first, person=0)
    kin = [
        (0 if view.source_record_id in item.records else 1, view)
        for view in mine
        if (view.active or view.source_record_id in item.records) and view.source_record_id != own.source_record_id
    ]
    kin.sort(key=lambda one: one[0])  # those that would move first
    others = [(2, view) for view in views.get(there, ()) if view.active and view.participant_id != HUB] if there else []
    room = MAX_RECORDS - 1
    shown_others = others[: max(1, room - len(kin))] if len(kin) + len(others) > room else others
    shown_kin = kin[: room - len(shown_others)]
    if kin and kin[-1][0] == 1 and shown_kin and shown_kin[-1][0] == 0:
        shown_kin = [
            *shown_kin[:-1],
            next(one for one in kin if one[0] == 1),
        ]  # one of those that would stay, to compare
    out = [first]
    for number, (person, view) in enumerate([*shown_kin, *shown_others], 1):
        out.append(
            Record(
                letter=chr(65 + number),
                organization=names.get(view.participant_id, view.participant_id),
                view=view,
                person=person,
                demographics=view.demographics,
                version=f"{view.version}",
            )
        )
    return out, len(kin) + len(others) + 1 - len(out)


# --- what hangs on the records ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Hanging:
    """What hangs on records, by record: documents with the day of the newest, choices, folders, helpers."""

    documents: Mapping[int, tuple[int, datetime | None]]
    choices: Mapping[int, int]
    folders: Mapping[int, int]
    helpers: Mapping[int, int]


def hanging_on(source_records: Iterable[int]) -> Hanging:
    """What hangs on these records. 4 statements."""
    records = list(source_records)
    entries = DocumentEntry.objects.filter(patient_identifier__source_record__in=records)
    folders = Folder.objects.filter(patient_identifier__source_record__in=records)
    choices = Consent.objects.filter(identifier__source_record__in=records, status="active")
    helpers = ProxyGrant.objects.filter(identifier__source_record__in=records)
    counted = entries.values_list("patient_identifier__source_record").annotate(
        n=Count("pk"), newest=Max("registered_at")
    )
    return Hanging(
        documents={record: (n, newest) for record, n, newest in counted.order_by("patient_identifier__source_record")},
        choices=_counted(choices.values_list("identifier__source_record", flat=True)),
        folders=_counted(folders.values_list("patient_identifier__source_record", flat=True)),
        helpers=_counted(helpers.values_list("identifier__source_record", flat=True)),
    )


def _counted(records: Iterable[int]) -> Mapping[int, int]:
    return Counter(records)


_PLACES = ("This person; would move", "This person; stays", "The other person")


def column_of(record: Record, hanging: Hanging, *, two: bool, parting: bool) -> Column:
    """The head of a record's column; `two`: records of two persons are shown."""
    key = record.view.source_record_id
    documents, newest = hanging.documents.get(key, (0, None))
    return Column(
        letter=record.letter,
        organization=record.organization,
        identifier=record.view.value,
        person=_PLACES[record.person] if parting else f"Person {record.person}" if two else "One person",
        since=record.view.created_at,
        told=record.view.updated_at,
        version=record.version,
        documents=documents,
        newest=newest,
        choices=hanging.choices.get(key, 0),
        folders=hanging.folders.get(key, 0),
        helpers=hanging.helpers.get(key, 0),
    )
