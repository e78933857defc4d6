"""What every refusal of the hub is called on the FHIR face: status, issue code, IHE error code.

`OUTCOME` is keyed by class name and held complete by a test over every `HubError` there is.

Source: spec/fhir.md 1.2, 3.1, 13; IHE ITI TF-2 Appendix Z.6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hie.faces.fhir import errors
from hie.standards.errors import HubError
from hie.standards.fhir import JsonObject

XDS_ERROR_SYSTEM = "urn:ihe:iti:xds:error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Status, issue code and, where IHE has one, the error code for `details`."""

    status: int
    code: str
    details: str = ""


def _row(status: int, code: str, details: str = "") -> Row:
    return Row(status=status, code=code, details=details)


OUTCOME: dict[str, Row] = {
    # the face itself and what it reads
    "MalformedContent": _row(400, "structure"),
    "FhirSyntax": _row(400, "structure"),
    "InvalidResource": _row(400, "structure"),
    "ProfileViolation": _row(422, "invariant"),
    "InvalidSearch": _row(400, "value"),
    "PageExpired": _row(410, "expired"),
    "NotAcceptable": _row(406, "not-supported"),
    "UnsupportedBody": _row(415, "not-supported"),
    "MethodNotAllowed": _row(405, "not-supported"),
    "NotFound": _row(404, "not-found"),
    "BodyTooLarge": _row(413, "too-long"),
    "ScopeMissing": _row(403, "forbidden"),
    "MultipleMatches": _row(412, "multiple-matches"),
    "VersionConflict": _row(412, "conflict"),
    "RangeNotSatisfiable": _row(416, "value"),
}
"""Class name to its row; the other parts' refusals follow in `_CORE` below."""

FALLBACK = Row(status=422, code="business-rule")


def row_of(error: HubError) -> Row:
    """The row of a refusal."""
    return OUTCOME.get(type(error).__name__, FALLBACK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One issue of an OperationOutcome. `details` is an IHE error code, `text` a fixed sentence."""

    severity: str = "error"
    code: str
    diagnostics: str = ""
    details: str = ""
    text: str = ""
    expression: str = ""

    def as_json(self) -> JsonObject:
        """The issue as FHIR writes it."""
        issue: dict[str, Any] = {"severity": self.severity, "code": self.code}
        if self.details or self.text:
            details: dict[str, Any] = {}
            if self.details:
                details["coding"] = [{"system": XDS_ERROR_SYSTEM, "code": self.details}]
            details["text"] = self.text or self.details
            issue["details"] = details
        if self.diagnostics:
            issue["diagnostics"] = self.diagnostics
        if self.expression:
            issue["expression"] = [self.expression]
        return issue


def outcome(issues: Iterable[Issue]) -> JsonObject:
    """An OperationOutcome of at least one issue."""
    return {"resourceType": "OperationOutcome", "issue": [issue.as_json() for issue in issues]}


ElementPath = Callable[[HubError], str]


def issues_of(error: HubError, path: ElementPath | None = None) -> list[Issue]:
    """Every problem a refusal carries, as issues.

    `path` turns the element a core refusal names (``DocumentEntry.classCode``) into the FHIRPath of the
    submitted resource.
    """
    if isinstance(error, (errors.InvalidResource, errors.ProfileViolation)):
        return [
            Issue(code=p.code, diagnostics=p.message, expression=p.expression, details=p.details)
            for p in error.problems
        ]
    parts: Sequence[HubError] = getattr(error, "problems", ())
    if parts and all(isinstance(part, HubError) for part in parts):
        return [issue for part in parts for issue in issues_of(part, path)]
    row = row_of(error)
    expression = (path(error) if path is not None else "") or error.element or ""
    return [Issue(code=row.code, diagnostics=str(error), details=row.details, expression=expression)]


def status_of(error: HubError) -> int:
    """The HTTP status; of several problems, that of the first."""
    if type(error).__name__ in OUTCOME:
        return OUTCOME[type(error).__name__].status
    parts: Sequence[HubError] = getattr(error, "problems", ())
    if parts and isinstance(parts[0], HubError):
        return status_of(parts[0])
    return FALLBACK.status
