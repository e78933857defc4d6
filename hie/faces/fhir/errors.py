"""Refusals of the FHIR face itself; what they are called on the wire stands in `outcome.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hie.standards.errors import HubError
from hie.standards.fhir import Problem


class FhirSyntax(HubError):
    """The body is not a FHIR resource of the kind asked for: 400."""


class InvalidResource(HubError):
    """A readable resource breaks the base specification; `problems` tells each place: 400."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: Sequence[Problem] = tuple(problems)
        super().__init__(f"{len(self.problems)} problems in the resource")


class ProfileViolation(HubError):
    """A well-formed resource breaks a profile or a rule of the transaction; `problems` tells each place: 422."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: Sequence[Problem] = tuple(problems)
        super().__init__(f"{len(self.problems)} rules of the profile are broken")


class InvalidSearch(HubError):
    """A search parameter has a value or modifier that cannot be processed: 400."""


class ParameterMissing(InvalidSearch):
    """A parameter that an operation cannot do without is not there: 400."""


class ParameterMalformed(InvalidSearch):
    """A parameter of an operation is given twice, or not in its form: 400."""


class PageExpired(HubError):
    """The page link is not one this hub gave to this caller, or is too old: 410."""


class NotAcceptable(HubError):
    """No format the client accepts can be produced: 406."""


class UnsupportedBody(HubError):
    """The body's media type or encoding is not taken: 415."""


class MethodNotAllowed(HubError):
    """The interaction is not offered here: 405."""

    def __init__(self, message: str, *, allow: Sequence[str]) -> None:
        super().__init__(message)
        self.allow = tuple(allow)


class NotFound(HubError):
    """Nothing there, or nothing the caller may know of: 404."""


class BodyTooLarge(HubError):
    """The body is larger than this hub takes at this address: 413."""


class ScopeMissing(HubError):
    """The token's scopes do not cover this interaction: 403."""


class MultipleMatches(HubError):
    """The criteria of a conditional interaction match several resources: 412."""


class VersionConflict(HubError):
    """If-Match names another version than the current one: 412."""
