"""What might be in place of what is: directives, law, members and labels as somebody thinks of changing them. Values.

A draft is never stored and changes nothing; `hie.exchange.access` decides with it for what-if questions.

Source: spec/consent.md 11 and 14, "What-if".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from hie.standards.facts import ParticipantFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentDraft:
    """One directive as it might be: a new one (`replaces` None), a changed one, or one ended (`resource` None).

    `resource` is a FHIR Consent as it would be filed; a status other than active takes it out of force.
    """

    resource: Mapping[str, Any] | None = None
    replaces: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelDraft:
    """A document's confidentiality and labels as they might be; `confidentiality` None counts as R."""

    confidentiality: str | None = None
    labels: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Everything that might be otherwise; what is left out stays as it is.

    `participants` and `jurisdictions` lie over those in force, by id and code (None: taken away); `codes` over the
    code tables, member by member; `documents` over the labels of documents, by the id of the document. `at` is the
    instant to decide at, an aware one.
    """

    consents: tuple[ConsentDraft, ...] = ()
    participants: Mapping[str, ParticipantFacts | None] = field(default_factory=dict)
    jurisdictions: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    codes: Mapping[str, Any] | None = None
    documents: Mapping[str, LabelDraft] = field(default_factory=dict)
    at: datetime | None = None

    @property
    def changes_policy(self) -> bool:
        """Whether more than the patient's own directives and documents is otherwise."""
        return bool(self.participants or self.jurisdictions) or self.codes is not None
