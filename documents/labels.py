"""Labels of entries as rows: inherited from sources, raised later, never lowered.

A document that was made from others carries what they carry: the highest letter, every label. That holds at
registration and again whenever a source is raised (spec/consent.md 8).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from documents.metadata import DERIVING, Status
from documents.models import Association, DocumentEntry, LabelAssignment
from documents.rows import highest, label_assignments
from hie.standards.facts import Labels

SOURCE = "source"


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """An entry that carries more than before, or is labelled now."""

    entry_uuid: UUID
    identifier_pk: int
    custodian: str
    label_version: int
    labels: tuple[str, ...]
    confidentiality: str | None


def labels_of(row: DocumentEntry) -> Labels:
    """What a registered entry carries."""
    return Labels(labels=frozenset(row.labels), confidentiality=row.confidentiality, labelled=row.labelled)


def inherited(own: Labels, source: Labels) -> Labels:
    """`own` with every label of a source and its letter where that is higher; no letter counts as R."""
    return replace(
        own,
        labels=own.labels | source.labels,
        confidentiality=highest([own.confidentiality or "R", source.confidentiality or "R"]),
        provenance={**_from_source(source.labels - own.labels), **own.provenance},
    )


def _from_source(labels: Iterable[str]) -> dict[str, dict[str, str]]:
    return {label: {"rule": SOURCE, "version": ""} for label in sorted(labels)}


def derive(row: DocumentEntry, source: DocumentEntry, *, assigned_by: str, at: datetime) -> list[Raised]:
    """Give an entry that is said to be derived from another what that one carries; see `raise_to`."""
    return raise_to(row, _of_source(labels_of(source)), assigned_by=assigned_by, at=at)


def _of_source(source: Labels) -> Labels:
    return replace(source, labelled=False, rules="", provenance=_from_source(source.labels))


def raise_to(row: DocumentEntry, found: Labels, *, assigned_by: str, at: datetime) -> list[Raised]:
    """Give an entry what was found of it on top of what it carries, and then whatever was derived from it.

    The row is locked by the caller, in its transaction. Nothing is taken away: a label stays, a letter stays or
    rises, `labelled` stays or becomes true. Each entry that changes gets a new version of its labels with the rules that set
    them. Entries derived from it are locked in order of their keys.
    """
    changed = _raise(row, found, assigned_by=assigned_by, at=at)
    done = [changed] if changed is not None else []
    seen, todo = {row.entry_uuid}, [row]
    while todo:
        by_uuid = {one.entry_uuid: one for one in todo}
        steps = list(
            Association.objects.filter(
                target__in=by_uuid,
                type__in=[kind.value for kind in DERIVING],
                availability_status=Status.APPROVED.value,
            ).order_by("pk")
        )
        wanted = {step.source for step in steps} - seen
        derived = {
            one.entry_uuid: one
            for one in DocumentEntry.objects.select_for_update().filter(entry_uuid__in=wanted).order_by("pk")
        }
        todo = []
        for step in steps:
            target = derived.get(step.source)
            if target is None:
                continue
            more = _of_source(labels_of(by_uuid[step.target]))
            changed = _raise(target, more, assigned_by=assigned_by, at=at)
            if changed is not None:
                done.append(changed)
            if target not in todo:
                todo.append(target)
        seen |= wanted
    return done


def _raise(row: DocumentEntry, found: Labels, *, assigned_by: str, at: datetime) -> Raised | None:
    labels = sorted({*row.labels, *found.labels})
    letter = highest([row.confidentiality or "R", found.confidentiality or "R"])
    labelled = row.labelled or found.labelled
    if (labels, letter, labelled) == (sorted(row.labels), row.confidentiality, row.labelled):
        if row.restricted:
            _note_letter(row, found, assigned_by=assigned_by, at=at)
        _under(row, found.rules)
        return None
    new = Labels(
        labels=frozenset(found.labels) - set(row.labels),
        confidentiality=found.confidentiality,
        labelled=labelled,
        provenance=found.provenance,
    )
    row.labels, row.confidentiality, row.labelled = labels, letter, labelled
    row.label_version += 1
    row.updated_at = at
    row.labelled_under = found.rules or row.labelled_under
    row.save(update_fields=["labels", "confidentiality", "labelled", "label_version", "updated_at", "labelled_under"])
    LabelAssignment.objects.bulk_create(label_assignments(row, new, row.label_version, at, assigned_by))
    return Raised(
        entry_uuid=row.entry_uuid,
        identifier_pk=row.patient_identifier_id,
        custodian=row.custodian,
        label_version=row.label_version,
        labels=tuple(labels),
        confidentiality=letter,
    )


def _note_letter(row: DocumentEntry, found: Labels, *, assigned_by: str, at: datetime) -> None:
    """Keep the letter that was found behind a review's restriction: releasing it goes back to that, not below."""
    only = Labels(confidentiality=found.confidentiality or "R", labelled=found.labelled, provenance=found.provenance)
    noted = LabelAssignment.objects.filter(entry=row, label=f"confidentiality:{only.confidentiality}")
    if not noted.exists():
        LabelAssignment.objects.bulk_create(label_assignments(row, only, row.label_version, at, assigned_by))


def _under(row: DocumentEntry, rules: str) -> None:
    if rules and row.labelled_under != rules:
        row.labelled_under = rules
        row.save(update_fields=["labelled_under"])


def to_label(rules: str, *, behind: tuple[str, int] = ("", 0), limit: int) -> list[DocumentEntry]:
    """The next entries, at most `limit`, that these rules were not applied to yet, behind a place; one to four statements.

    A place is the rules that were applied to an entry before, and its key: in that order each statement reads its
    rows off the index, and none when nothing waits.
    """
    value, key = behind
    rows = DocumentEntry.objects.order_by("labelled_under", "pk")
    while True:
        found = list(rows.filter(labelled_under=value, pk__gt=key)[:limit]) if value != rules else []
        if found:
            return found
        following = rows.filter(labelled_under__gt=value).exclude(labelled_under=rules)
        if value < rules:
            # In two parts: "another than" would be read from the whole table.
            following = rows.filter(labelled_under__gt=value, labelled_under__lt=rules)
            if not following[:1]:
                following = rows.filter(labelled_under__gt=rules)
        first = following.first()
        if first is None:
            return []
        value, key = first.labelled_under, 0


def count_to_label(rules: str, *, limit: int) -> int:
    """How many entries these rules were not applied to yet, counted up to a limit."""
    parts = (DocumentEntry.objects.filter(**{f"labelled_under__{side}": rules}) for side in ("lt", "gt"))
    return min(limit, sum(part[:limit].count() for part in parts))
