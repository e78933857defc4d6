"""What every refusal of the hub is called in XDS: errorCode, severity, codeContext; and the status of an answer.

`XDS_CODE` is keyed by class name. What is not in it is about the caller or the message and is let through to the wire, which
answers with a fault. A test holds it complete over everything that `documents` refuses.

Source: spec/xds.md 9 (IHE ITI TF-3 table 4.2.4.1-2).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lxml import etree

from hie.faces.soap.ebxml.names import RS, tag
from hie.standards.errors import HubError


class Status(StrEnum):
    """Status of an answer."""

    SUCCESS = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Success"
    FAILURE = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Failure"
    PARTIAL_SUCCESS = "urn:ihe:iti:2007:ResponseStatusType:PartialSuccess"


class Severity(StrEnum):
    """Severity of an error."""

    ERROR = "urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:Error"
    WARNING = "urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:Warning"


class Actor(StrEnum):
    """Who answers: some codes are named after it."""

    REGISTRY = "Registry"
    REPOSITORY = "Repository"


_METADATA = "XDS{actor}MetadataError"
_ERROR = "XDS{actor}Error"
_BUSY = "XDS{actor}Busy"

XDS_CODE: Mapping[str, str] = {
    # submissions
    "RequiredAttributeMissing": _METADATA,
    "InvalidAttribute": _METADATA,
    "InvalidStructure": _METADATA,
    "UnknownCode": _METADATA,
    "UnknownPatientId": "XDSUnknownPatientId",
    "PatientIdDoesNotMatch": "XDSPatientIdDoesNotMatch",
    "DuplicateUniqueIdInMessage": "XDS{actor}DuplicateUniqueIdInMessage",
    "DuplicateUniqueId": "XDSDuplicateUniqueIdInRegistry",
    "NonIdenticalHash": "XDSNonIdenticalHash",
    "NonIdenticalSize": "XDSNonIdenticalSize",
    "UnresolvedReference": "UnresolvedReferenceException",
    "DeprecatedTarget": "XDSRegistryDeprecatedDocumentError",
    "HashMismatch": "XDSRepositoryMetadataError",
    "SizeMismatch": "XDSRepositoryMetadataError",
    "ContentMismatch": "XDSRepositoryMetadataError",
    "UniqueIdDiffers": "XDSRepositoryMetadataError",
    "NotClinicalDocument": "XDSRepositoryMetadataError",
    "MalformedContent": "XDSRepositoryMetadataError",
    "WrongPatient": "XDSPatientIdDoesNotMatch",
    "MissingDocument": "XDSMissingDocument",
    "MissingDocumentMetadata": "XDSMissingDocumentMetadata",
    "ContentTooLarge": "XDSRepositoryOutOfResources",
    "ContentUnavailable": "XDSRepositoryError",
    # updates
    "NotAnUpdate": "XDSInvalidRequestException",
    "UpdateRefused": "XDSMetadataUpdateError",
    "UpdateOperationWrong": "XDSMetadataUpdateOperationError",
    "VersionWrong": "XDSMetadataVersionError",
    "PatientIdReconciliation": "XDSPatientIDReconciliationError",
    "ObjectTypeWrong": "XDSObjectTypeError",
    "MetadataIdentifierChanged": "XDSMetadataIdentifierError",
    "UnmodifiableMetadata": "UnmodifiableMetadataError",
    "MetadataAnnotationWrong": "XDSMetadataAnnotationError",
    # removal
    "ReferencesExist": "ReferencesExistException",
    "UnreferencedObject": "XDSUnreferencedObjectException",
    # queries
    "UnknownStoredQuery": "XDSUnknownStoredQuery",
    "StoredQueryMissingParam": "XDSStoredQueryMissingParam",
    "StoredQueryParamNumber": "XDSStoredQueryParamNumber",
    "StoredQueryParamInvalid": "XDSRegistryError",
    "TooManyResults": "XDSTooManyResults",
    "ResultNotSinglePatient": "XDSResultNotSinglePatient",
    # documents
    "UnknownCommunity": "XDSUnknownCommunity",
    "UnknownRepositoryId": "XDSUnknownRepositoryId",
    "UnknownDocumentUniqueId": "XDSDocumentUniqueIdError",
    "NoSuchBinary": "XDSDocumentUniqueIdError",
    # anything
    "TooManyRequests": _BUSY,
    "Unsettled": _BUSY,
    "BadRequest": _ERROR,
}
"""Class name to error code; ``{actor}`` is Registry or Repository."""

CARRIERS = frozenset({"SubmissionRefused", "QueryRefused"})
"""Refusals that carry others, each of which is said."""
NOT_OF_XDS = frozenset({"RangeNotSatisfiable", "ReviewClosed", "ReviewOpen"})
"""Refusals of documents that no transaction of XDS meets; were one met, it would be an internal error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryError:
    """One error of a RegistryErrorList; `location` is a home community only where a gateway answers."""

    code: str
    context: str
    severity: Severity = Severity.ERROR
    location: str = ""


def is_business(error: HubError) -> bool:
    """Whether a refusal is said in the answer; any other is a fault."""
    return bool(_parts(error)) or type(error).__name__ in XDS_CODE


def errors_of(error: HubError, actor: Actor) -> Iterator[RegistryError]:
    """Every problem that a refusal carries."""
    for part in _parts(error) or (error,):
        code = XDS_CODE.get(type(part).__name__, _ERROR).format(actor=actor.value)
        text = str(part)
        context = f"{part.element}: {text}" if part.element and part.element not in text else text
        yield RegistryError(code=code, context=context)


def warnings_of(texts: Iterable[str], actor: Actor) -> list[RegistryError]:
    """What a submission was accepted with."""
    return [
        RegistryError(code=_METADATA.format(actor=actor.value), context=text, severity=Severity.WARNING)
        for text in texts
    ]


def _parts(error: HubError) -> Sequence[HubError]:
    parts = getattr(error, "problems", ())
    return tuple(part for part in parts if isinstance(part, HubError))


def status_of(errors: Sequence[RegistryError], *, some_done: bool = False) -> Status:
    """Success with warnings only; with an error Failure, or PartialSuccess where a part was done and the transaction has it."""
    if all(error.severity is Severity.WARNING for error in errors):
        return Status.SUCCESS
    return Status.PARTIAL_SUCCESS if some_done else Status.FAILURE


def error_list(errors: Sequence[RegistryError]) -> etree._Element:
    """A ``rs:RegistryErrorList``; every error has its location, for a released client fails without."""
    worst = Severity.ERROR if any(error.severity is Severity.ERROR for error in errors) else Severity.WARNING
    listed = etree.Element(tag(RS, "RegistryErrorList"), {"highestSeverity": worst.value}, nsmap={"rs": RS})
    for error in errors:
        etree.SubElement(
            listed,
            tag(RS, "RegistryError"),
            {
                "codeContext": error.context,
                "errorCode": error.code,
                "location": error.location,
                "severity": error.severity.value,
            },
        )
    return listed


def registry_response(errors: Sequence[RegistryError] = (), *, some_done: bool = False) -> etree._Element:
    """A ``rs:RegistryResponse``."""
    status = status_of(errors, some_done=some_done)
    response = etree.Element(tag(RS, "RegistryResponse"), {"status": status.value}, nsmap={"rs": RS})
    if errors:
        response.append(error_list(errors))
    return response
