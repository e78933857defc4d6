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
    "ParameterMissing": _row(400, "required"),
    "ParameterMalformed": _row(400, "invalid"),
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
    # who may
    "NotAuthenticated": _row(401, "login"),
    "AssertionRefused": _row(401, "login"),
    "NotEntitled": _row(403, "forbidden"),
    "AccessRefused": _row(403, "forbidden"),
    "AuthorityNotOwned": _row(403, "forbidden"),
    "IdentifierNotOwned": _row(403, "forbidden"),
    "TooManyRequests": _row(429, "throttled", "XDSRegistryBusy"),
    "TokenRefused": _row(401, "login"),
    # submissions
    "SubmissionRefused": _row(422, "business-rule", "XDSRegistryError"),
    "RequiredAttributeMissing": _row(422, "required", "XDSRegistryMetadataError"),
    "InvalidAttribute": _row(422, "value", "XDSRegistryMetadataError"),
    "InvalidStructure": _row(422, "invariant", "XDSRegistryMetadataError"),
    "UnknownCode": _row(422, "code-invalid", "XDSRegistryMetadataError"),
    "UnknownPatientId": _row(422, "not-found", "XDSUnknownPatientId"),
    "PatientIdDoesNotMatch": _row(422, "invariant", "XDSPatientIdDoesNotMatch"),
    "DuplicateUniqueIdInMessage": _row(422, "duplicate", "XDSRegistryDuplicateUniqueIdInMessage"),
    "DuplicateUniqueId": _row(422, "duplicate", "XDSDuplicateUniqueIdInRegistry"),
    "NonIdenticalHash": _row(422, "duplicate", "XDSNonIdenticalHash"),
    "NonIdenticalSize": _row(422, "duplicate", "XDSNonIdenticalHash"),
    "UnresolvedReference": _row(422, "not-found", "UnresolvedReferenceException"),
    "DeprecatedTarget": _row(422, "business-rule", "XDSRegistryDeprecatedDocumentError"),
    "HashMismatch": _row(422, "value", "XDSRepositoryMetadataError"),
    "SizeMismatch": _row(422, "value", "XDSRepositoryMetadataError"),
    "MissingDocument": _row(422, "required", "XDSMissingDocument"),
    "MissingDocumentMetadata": _row(422, "required", "XDSMissingDocumentMetadata"),
    "ContentMismatch": _row(422, "value", "XDSRepositoryMetadataError"),
    "WrongPatient": _row(422, "business-rule", "XDSPatientIdDoesNotMatch"),
    "UniqueIdDiffers": _row(422, "value", "XDSRepositoryMetadataError"),
    "ContentTooLarge": _row(413, "too-long", "XDSRepositoryError"),
    "ContentUnavailable": _row(500, "exception", "XDSRepositoryError"),
    "NoSuchBinary": _row(404, "not-found"),
    # what only XDS asks
    "NotAnUpdate": _row(422, "business-rule", "XDSInvalidRequestException"),
    "UpdateRefused": _row(409, "conflict", "XDSMetadataUpdateError"),
    "UpdateOperationWrong": _row(422, "business-rule", "XDSMetadataUpdateOperationError"),
    "VersionWrong": _row(409, "conflict", "XDSMetadataVersionError"),
    "PatientIdReconciliation": _row(422, "business-rule", "XDSPatientIDReconciliationError"),
    "ObjectTypeWrong": _row(422, "business-rule", "XDSObjectTypeError"),
    "MetadataIdentifierChanged": _row(422, "business-rule", "XDSMetadataIdentifierError"),
    "UnmodifiableMetadata": _row(422, "business-rule", "UnmodifiableMetadataError"),
    "MetadataAnnotationWrong": _row(422, "value", "XDSMetadataAnnotationError"),
    "ReferencesExist": _row(409, "conflict", "ReferencesExistException"),
    "UnreferencedObject": _row(409, "conflict", "XDSUnreferencedObjectException"),
    "QueryRefused": _row(400, "value", "XDSRegistryError"),
    "UnknownStoredQuery": _row(400, "not-supported", "XDSUnknownStoredQuery"),
    "StoredQueryMissingParam": _row(400, "required", "XDSStoredQueryMissingParam"),
    "StoredQueryParamNumber": _row(400, "value", "XDSStoredQueryParamNumber"),
    "StoredQueryParamInvalid": _row(400, "value", "XDSRegistryError"),
    "TooManyResults": _row(422, "too-costly", "XDSTooManyResults"),
    "ResultNotSinglePatient": _row(422, "too-costly", "XDSResultNotSinglePatient"),
    "UnknownCommunity": _row(404, "not-found", "XDSUnknownCommunity"),
    "UnknownRepositoryId": _row(404, "not-found", "XDSUnknownRepositoryId"),
    "UnknownDocumentUniqueId": _row(404, "not-found", "XDSDocumentUniqueIdError"),
    # the exchange
    "BadRequest": _row(400, "value"),
    "TooManyDocuments": _row(422, "too-costly"),
    "TooManyPeople": _row(422, "too-costly"),
    "RemoteUnavailable": _row(502, "transient", "XDSUnavailableCommunity"),
    "Unsettled": _row(503, "transient", "XDSRegistryBusy"),
    "IdempotencyConflict": _row(409, "conflict"),
    "UnreadableMessage": _row(500, "exception"),
    "PeerRefused": _row(502, "transient", "XDSUnavailableCommunity"),
    "InvalidFeed": _row(422, "value"),
    "StaleVersion": _row(412, "conflict"),
    "UnknownSourceIdentifier": _row(404, "not-found"),
    "UnknownSourceDomain": _row(400, "code-invalid"),
    "UnknownTargetDomain": _row(403, "code-invalid"),
    # patients
    "UnknownPatient": _row(404, "not-found"),
    "UnknownIdentityEvent": _row(404, "not-found"),
    "AlreadyUndone": _row(409, "conflict"),
    "UnknownValue": _row(404, "not-found"),
    "UnknownReview": _row(404, "not-found"),
    "ReviewClosed": _row(409, "conflict"),
    "ReviewOpen": _row(409, "conflict"),
    "TaskRefused": _row(409, "conflict"),
    "ReviewClaimed": _row(409, "lock-error"),
    "NotClaimed": _row(409, "lock-error"),
    "OwnProposal": _row(409, "conflict"),
    "InvalidMerge": _row(422, "business-rule"),
    "MissingIdentifier": _row(422, "required"),
    "UnusableDemographics": _row(422, "value"),
    "UnusableFile": _row(400, "invalid"),
    "ModelRefused": _row(422, "business-rule"),
    # consent and the directory
    "DirectiveRefused": _row(422, "value"),
    "DirectiveOfAnother": _row(403, "forbidden"),
    "UnknownDirective": _row(404, "not-found"),
    "DirectiveChanged": _row(412, "conflict"),
    "JurisdictionRefused": _row(422, "value"),
    "CodeTableRefused": _row(422, "value"),
    "ChoicesRefused": _row(422, "value"),
    "ChoicesMoved": _row(409, "conflict"),
    "NothingToSave": _row(422, "business-rule"),
    "PolicyRefused": _row(422, "value"),
    "PolicyChanged": _row(409, "conflict"),
    "FourEyes": _row(403, "forbidden"),
    "ReportOutdated": _row(409, "conflict"),
    "EmergencyGrantRefused": _row(422, "value"),
    "EmergencyReviewRefused": _row(422, "business-rule"),
    "UnknownEmergency": _row(404, "not-found"),
    "EmergencyClosed": _row(409, "conflict"),
    "EmergencyClaimed": _row(409, "lock-error"),
    "EmergencyNotClaimed": _row(409, "lock-error"),
    "ProxyGrantRefused": _row(422, "value"),
    "RegistrationRefused": _row(422, "value"),
    "ConcernRefused": _row(422, "business-rule"),
    "LoginTaken": _row(409, "duplicate"),
    "ProviderLinked": _row(409, "duplicate"),
    "ProviderUnavailable": _row(503, "transient"),
    "WeakPassword": _row(422, "value"),
    "OnboardingRefused": _row(422, "business-rule"),
    "HolidaysRefused": _row(422, "business-rule"),
    "OnboardingChanged": _row(409, "conflict"),
    "UnknownParticipant": _row(404, "not-found"),
    "InvalidCodeFile": _row(422, "value"),
    "NotClinicalDocument": _row(422, "value", "XDSRepositoryMetadataError"),
}
"""Class name to its row."""

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
    told: Sequence[Any] = getattr(error, "problems", ())
    if told and all(hasattr(part, "element") and hasattr(part, "message") for part in told):
        # A directive's problems name element and reason, and are no refusals of their own.
        return [Issue(code=row.code, diagnostics=p.message, expression=p.element) for p in told]
    expression = (path(error) if path is not None else "") or error.element or ""
    return [Issue(code=row.code, diagnostics=str(error), details=row.details, expression=expression)]


def status_of(error: HubError) -> int:
    """The HTTP status; of several problems, that of the first."""
    parts: Sequence[HubError] = getattr(error, "problems", ())
    if parts and isinstance(parts[0], HubError):
        return status_of(parts[0])
    return row_of(error).status
