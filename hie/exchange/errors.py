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
