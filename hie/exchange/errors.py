"""Refusals of the exchange itself; the core's are in each app's `errors.py`."""

from __future__ import annotations

from hie.standards.errors import HubError


class AccessRefused(HubError):
    """Refused for what the caller is and claims; says nothing of any patient or document.

    `rule` and `reason` are the engine's (spec/consent.md 6).
    """

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(f"not permitted: {reason}")
        self.rule = rule
        self.reason = reason


class NotFound(HubError):
    """There is nothing there for this caller: absent and hidden are one answer."""


class RemoteUnavailable(HubError):
    """Another community did not give what was asked of it; `target_id` names it."""

    def __init__(self, target_id: str, message: str) -> None:
        super().__init__(message)
        self.target_id = target_id


class BadRequest(HubError):
    """What the caller sent cannot be used; `element` names the part."""


class TooManyPeople(BadRequest):
    """More people fit a search than are looked at; it is to say more of who is meant."""


class Unsettled(HubError):
    """What the answer rests on changed each time while it was prepared; nothing left. To be asked again in a moment."""

    retry_after_s = 1

    def __init__(self) -> None:
        super().__init__("what this answer rests on is being changed: try again in a moment")


class IdempotencyConflict(HubError):
    """The Idempotency-Key was used before with another request."""


class AuthorityNotOwned(HubError):
    """The caller writes an identifier in a domain that is not its own; `authority` is the domain."""

    element = "Patient.identifier"

    def __init__(self, authority: str, *, element: str | None = None) -> None:
        super().__init__(f"identifiers of {authority} may only be fed by who issues them", element=element)
        self.authority = authority


class InvalidFeed(HubError):
    """A patient feed lacks or contradicts what it needs; `element` names the part."""


class StaleVersion(HubError):
    """The record has another version than the one the caller based its change on."""


class UnknownSourceIdentifier(HubError):
    """sourceIdentifier Patient Identifier not found"""


class UnknownSourceDomain(HubError):
    """sourceIdentifier Assigning Authority not found"""


class UnknownTargetDomain(HubError):
    """targetSystem not found"""


class UnreadableMessage(HubError):
    """A kept message cannot be decrypted."""
