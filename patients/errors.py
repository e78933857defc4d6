"""Refusals of the patient index."""

from __future__ import annotations

from datetime import datetime

from hie.standards.errors import HubError


class UnknownPatient(HubError):
    """No such patient is known to this hub."""


class UnknownIdentityEvent(HubError):
    """No such identity event, or not one that can be undone."""


class AlreadyUndone(HubError):
    """This identity change was undone before."""


class InvalidMerge(HubError):
    """These two cannot be merged."""


class MissingIdentifier(HubError):
    """A record needs a local identifier in its organization's assigning authority."""

    element = "Patient.identifier"


class IdentifierNotOwned(HubError):
    """This identifier belongs to a record of another organization."""

    element = "Patient.identifier"


class UnusableDemographics(HubError):
    """These demographics cannot be taken."""


class UnusableFile(HubError):
    """The file to import cannot be read."""


class ModelRefused(HubError):
    """A trained match model did not pass the guard and was not activated."""


class UnknownReview(HubError):
    """No such review item."""


class ReviewClosed(HubError):
    """This review item was decided before."""


class ReviewClaimed(HubError):
    """Another steward is working on this review item."""

    def __init__(self, claimed_by: str, until: datetime) -> None:
        super().__init__("another steward is working on this review item")
        self.claimed_by = claimed_by
        self.until = until


class NotClaimed(HubError):
    """Whoever decides a review item must have taken it before."""


class OwnProposal(HubError):
    """A verdict that moves documents is confirmed by another steward than the one who proposed it."""


class UnknownValue(HubError):
    """No such value was set by hand, or it holds no more."""
