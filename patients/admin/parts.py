"""What the index's pages of the desk have in common: nothing is edited there, and a refusal is said in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from hie.exchange.access import Held
from hie.exchange.errors import BadRequest
from hie.exchange.staff_pages import AuditedAdmin, sentence
from hie.trust.errors import FourEyes
from patients import review_queue
from patients.errors import (
    AlreadyUndone,
    InvalidMerge,
    NotClaimed,
    OwnProposal,
    ReviewClaimed,
    ReviewClosed,
    UnknownIdentityEvent,
    UnknownPatient,
    UnknownValue,
)
from patients.models import Link


class OfRecords(AuditedAdmin):
    """For rows that speak of source records: their persons are those the records are linked to now."""

    held = Held.IDENTITIES
    record_fields: tuple[str, ...] = ()

    def people(self, rows: Iterable[Any]) -> set[UUID]:
        """1 query."""
        records = {getattr(row, name) for row in rows for name in self.record_fields}
        links = Link.objects.filter(source_record__in=records, valid_to__isnull=True).exclude(kind=Link.Kind.REJECTED)
        return set(links.values_list("person_id", flat=True))


class LookAgain(Exception):
    """The records have changed since the steward's page was made."""


REFUSALS: Mapping[type[Exception], str] = {
    ReviewClaimed: "Another steward took this case before you. Nothing was decided.",
    NotClaimed: "Take this case first, then decide. Nothing was decided; what you typed is kept.",
    OwnProposal: "You proposed this verdict yourself. Another steward must confirm or reject it.",
    ReviewClosed: "This case was decided before. What was done stands below.",
    InvalidMerge: "The records were linked otherwise meanwhile, so this cannot be carried out. Look again.",
    AlreadyUndone: "This was undone before.",
    UnknownIdentityEvent: "This cannot be undone.",
    UnknownPatient: "One of the two has no record in use, so there is nothing to compare.",
    UnknownValue: "This value does not hold any more. Look again.",
    LookAgain: "A record changed while you looked. Nothing was decided: look again, then decide.",
}


FIELDS_SAY: Mapping[str, tuple[str, str]] = {
    "reason": ("Give a reason. One sentence is enough.", "why"),
    "verdict": ("Choose what you decide.", "verdict-first"),
    "until": (f"Choose a day from tomorrow on, within {review_queue.LONGEST_DEFERRAL.days} days.", "until"),
    "act": ("There is nothing here to undo, confirm or reject now.", "decision"),
}


def problem_of(error: Exception | None) -> tuple[str, str, int]:
    """A refusal in words, the id of what it is about, and the status of the answer."""
    if error is None:
        return "", "", 200
    if isinstance(error, BadRequest):
        return *FIELDS_SAY.get(error.element or "", (f"{error}.", "decision")), 422
    if isinstance(error, FourEyes):
        return f"{sentence(error)} Nothing was decided.", "decision", 409
    return REFUSALS.get(type(error), "This could not be done. Nothing was changed."), "decision", 409
