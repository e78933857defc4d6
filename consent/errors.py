"""What consent refuses."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Self

from consent.engine.directive import Problem
from hie.standards.errors import HubError


class DirectiveRefused(HubError):
    """A directive cannot be filed: it cannot be understood, or names codes the hub does not know.

    `problems` names each FHIR element and why (spec/consent.md 5.7); nothing was stored.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0] if self.problems else Problem("Consent", "cannot be filed")
        super().__init__(f"{first.element} {first.message}", element=first.element)

    @classmethod
    def at(cls, element: str, message: str) -> Self:
        """The refusal of one element."""
        return cls([Problem(element, message)])


class DirectiveOfAnother(HubError):
    """A directive that the caller may read but not change: somebody else stands behind it; nothing was stored.

    Source: spec/consent.md 10, 12.
    """

    reason = "directive-of-another"

    def __init__(self) -> None:
        super().__init__("only who filed this choice, or the patient, may change it")


class UnknownDirective(HubError):
    """No directive with this id is in store."""


class DirectiveChanged(HubError):
    """The directive was changed by somebody else since it was read; nothing was stored."""


class JurisdictionRefused(HubError):
    """A jurisdiction cannot be loaded: a member of its JSON cannot be read."""


class EmergencyGrantRefused(HubError):
    """An emergency grant cannot be opened as asked; `element` names the field."""


class ProxyGrantRefused(HubError):
    """A proxy grant cannot be stored as asked; `element` names the field."""


class EmergencyReviewRefused(HubError):
    """What is to be done about an emergency case does not fit it; `element` says what."""


class UnknownEmergency(HubError):
    """There is no such emergency case."""

    def __init__(self) -> None:
        super().__init__("no such emergency case")


class EmergencyClosed(HubError):
    """The emergency case is decided."""

    def __init__(self) -> None:
        super().__init__("this emergency case is decided")


class EmergencyClaimed(HubError):
    """Somebody else works on the emergency case, until `until`."""

    def __init__(self, until: datetime) -> None:
        super().__init__("another reviewer works on this emergency case")
        self.until = until


class EmergencyNotClaimed(HubError):
    """Nobody has claimed the emergency case: it is decided by whoever works on it."""

    def __init__(self) -> None:
        super().__init__("take the case before you decide it")


class CodeTableRefused(HubError):
    """Code tables cannot be used: a member of their JSON cannot be read; `element` names it."""


class PolicyRefused(HubError):
    """A change of policy cannot be proposed or decided as asked; `element` names the field. Nothing was stored."""


class PolicyChanged(HubError):
    """What a proposal was written on is not the newest version any more: it is to be proposed anew."""


class ReportOutdated(HubError):
    """A change of policy is activated only by its newest report, made of late on the policy in force then."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the report {why}: make it again, and read it", element="report")
