"""Settling the review of a document that was accepted with doubts, and taking that back (spec/consent.md 8)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from documents.errors import ReviewClosed, ReviewOpen
from documents.models import LabelAssignment, ReviewItem
from documents.rows import highest

_LETTER = "confidentiality:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The entry whose review is over, and the letter it carries now."""

    entry_uuid: str
    identifier_pk: int
    custodian: str
    confidentiality: str


def settle(review_id: int, *, release: bool, settled_by: str, now: datetime | None = None) -> Settled:
    """Close a review: `release` gives the entry the letter that labelling had set, else it stays restricted.

    An entry with another review still open stays restricted until that one is settled too.

    Raises:
        ReviewClosed: no such review, or settled before.
    """
    at = now or timezone.now()
    with transaction.atomic():
        review = (
            ReviewItem.objects.select_for_update().select_related("entry").filter(pk=review_id, closed_at=None).first()
        )
        if review is None:
            raise ReviewClosed
        review.closed_at, review.closed_by = at, settled_by
        review.outcome = "released" if release else "kept-restricted"
        review.save(update_fields=["closed_at", "closed_by", "outcome"])
        entry = review.entry
        others = ReviewItem.objects.filter(entry=entry).exclude(pk=review.pk)
        if release and not others.filter(closed_at=None).exists():
            letters = LabelAssignment.objects.filter(entry=entry, label__startswith=_LETTER).values_list(
                "label", flat=True
            )
            entry.restricted = False
            entry.confidentiality = highest(label.removeprefix(_LETTER) for label in letters) or "R"
            entry.label_version += 1
            entry.updated_at = at
            entry.save(update_fields=["restricted", "confidentiality", "label_version", "updated_at"])
            LabelAssignment.objects.create(
                entry=entry,
                label_version=entry.label_version,
                label=f"{_LETTER}{entry.confidentiality}",
                rule="review",
                assigned_by=settled_by,
                assigned_at=at,
            )
    return Settled(
        entry_uuid=str(entry.entry_uuid),
        identifier_pk=entry.patient_identifier_id,
        custodian=entry.custodian,
        confidentiality=entry.confidentiality or "R",
    )


def reopen(review_id: int, *, now: datetime | None = None) -> Settled:
    """Take back what settled a review: it waits again, and its entry is restricted until it is settled.

    Raises:
        ReviewOpen: no such review, or it waits.
    """
    at = now or timezone.now()
    with transaction.atomic():
        review = (
            ReviewItem.objects.select_for_update()
            .select_related("entry")
            .filter(pk=review_id, closed_at__isnull=False)
            .first()
        )
        if review is None:
            raise ReviewOpen
        review.closed_at, review.closed_by, review.outcome = None, "", ""
        review.save(update_fields=["closed_at", "closed_by", "outcome"])
        entry = review.entry
        if not entry.restricted:
            entry.restricted = True
            entry.confidentiality = highest(["R", entry.confidentiality or "R"]) or "R"
            entry.label_version += 1
            entry.updated_at = at
            entry.save(update_fields=["restricted", "confidentiality", "label_version", "updated_at"])
    return Settled(
        entry_uuid=str(entry.entry_uuid),
        identifier_pk=entry.patient_identifier_id,
        custodian=entry.custodian,
        confidentiality=entry.confidentiality or "R",
    )
