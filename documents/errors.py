"""What the registry and the repository refuse, one class a reason (a flat tree; see hie/standards/errors.py).

`element` names the object and the attribute: ``DocumentEntry[doc1].classCode``.
"""

from __future__ import annotations

from collections.abc import Sequence

from hie.standards.errors import HubError


class SubmissionRefused(HubError):
    """Nothing of a submission was kept; `problems` are all that one stage found, in order."""

    def __init__(self, problems: Sequence[HubError]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0] if self.problems else None
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(f"{first}{more}" if first else "", element=first.element if first else None)


class RequiredAttributeMissing(HubError):
    """An attribute that this kind of submission requires is absent or empty."""


class InvalidAttribute(HubError):
    """An attribute has a value that its format, length or cardinality does not allow."""


class InvalidStructure(HubError):
    """The objects of a submission do not hang together: memberships, associations, ids."""


class UnknownCode(HubError):
    """A code is not in the affinity domain's set for this attribute."""


class UnknownPatientId(HubError):
    """The patient identifier has not been fed to the index, or is no longer active."""


class PatientIdDoesNotMatch(HubError):
    """Objects of one submission, or an object it refers to, belong to different patients."""


class DuplicateUniqueIdInMessage(HubError):
    """One uniqueId is used for two objects of a submission."""


class DuplicateUniqueId(HubError):
    """The uniqueId of a submission set or folder is already registered."""


class NonIdenticalHash(HubError):
    """The document's uniqueId is registered with other content."""


class NonIdenticalSize(HubError):
    """The document's uniqueId is registered with content of another size."""


class UnresolvedReference(HubError):
    """A referenced object is not there, for this submitter."""


class DeprecatedTarget(HubError):
    """A relationship points at a document entry that is deprecated, such as one replaced before."""


class HashMismatch(HubError):
    """The stated hash is not the SHA-1 of the bytes."""


class SizeMismatch(HubError):
    """The stated size is not the number of bytes."""


class MissingDocument(HubError):
    """A document entry comes without its document."""


class MissingDocumentMetadata(HubError):
    """A document comes without its document entry."""


class ContentMismatch(HubError):
    """The bytes are not what the metadata says they are."""


class WrongPatient(HubError):
    """The document's own header names another patient than the metadata."""


class UniqueIdDiffers(HubError):
    """The document's own id is another than the stated uniqueId."""


class ContentTooLarge(HubError):
    """More bytes than the repository accepts for one document."""


class ContentUnavailable(HubError):
    """Stored bytes cannot be read, or are not the bytes that were stored."""


class NoSuchBinary(HubError):
    """There are no bytes under this id."""


class ReviewClosed(HubError):
    """There is no such review, or it has been settled before."""


class ReviewOpen(HubError):
    """There is no such review, or it waits: nothing was decided that could be taken back."""


class NotAnUpdate(HubError):
    """A restricted update has an initial version, or nothing to be updated."""


class UpdateRefused(HubError):
    """Registered metadata is not in a state in which it may be updated so."""


class UpdateOperationWrong(HubError):
    """An operation of an update contradicts itself or another of the same submission."""


class VersionWrong(HubError):
    """What is to be updated is not there, for this submitter, or another version of it is the latest."""


class PatientIdReconciliation(HubError):
    """An update would leave an association between objects of different patients."""


class ObjectTypeWrong(HubError):
    """A restricted update is of something else than a document entry."""


class MetadataIdentifierChanged(HubError):
    """A restricted update changes a uniqueId."""


class UnmodifiableMetadata(HubError):
    """A restricted update changes what it may not."""


class MetadataAnnotationWrong(HubError):
    """A restricted update says wrongly which version it follows."""


class ReferencesExist(HubError):
    """What is to be removed is referred to by an association that stays."""


class UnreferencedObject(HubError):
    """A removal would leave an object that no submission set holds, or a submission set that holds nothing."""


class QueryRefused(HubError):
    """A stored query cannot be answered as it was asked; `problems` are all that is wrong with it."""

    def __init__(self, problems: Sequence[HubError]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        super().__init__(str(first), element=first.element)


class UnknownStoredQuery(HubError):
    """There is no stored query of this id."""


class StoredQueryMissingParam(HubError):
    """A stored query lacks a parameter that it cannot do without."""


class StoredQueryParamNumber(HubError):
    """A parameter of a stored query has more values than it may, or one of another form."""


class StoredQueryParamInvalid(HubError):
    """A parameter of a stored query has a value that cannot be read."""


class TooManyResults(HubError):
    """A query found more than may leave in one answer."""


class ResultNotSinglePatient(HubError):
    """Whole objects of several patients would leave in one answer."""


class UnknownRepositoryId(HubError):
    """The repository that a document is asked of is none of this hub."""


class UnknownCommunity(HubError):
    """A document is asked of another community than this hub's."""


class UnknownDocumentUniqueId(HubError):
    """There is no such document in the repository for this caller: absent and hidden are one answer."""


class RangeNotSatisfiable(HubError):
    """The asked range lies outside the content; `size` is its length."""

    def __init__(self, size: int) -> None:
        super().__init__(f"range outside the {size} bytes of the content")
        self.size = size
