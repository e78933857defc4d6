"""Document sharing metadata as it travels, in the words of IHE XDS.

Faces translate to and from these values; `documents.validation` says what makes
them wrong; `documents.registry` makes rows of them. Names are the attribute names
of the standard in snake_case. They hold what the submitter sent: nothing is
normalised away (what has no attribute stays in `extra`).

Conventions: OIDs are bare. A coding scheme is a URI (``http://loinc.org``; an OID
without a URI of its own as ``urn:oid:1.2.3``). DTM is ``YYYY[MM[DD[hh[mm[ss]]]]]``
in UTC. `hash` is lower-case hex SHA-1. `entry_uuid` is ``urn:uuid:…`` in lower case,
or symbolic inside one submission.

Source: spec/xds.md section 3 (IHE ITI TF-3 4.2.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hie.standards.values import quick

STABLE = "urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1"
ON_DEMAND = "urn:uuid:34268e47-fdf5-41a6-ba33-82133c465248"


class Status(StrEnum):
    """availabilityStatus, by its URN."""

    APPROVED = "urn:oasis:names:tc:ebxml-regrep:StatusType:Approved"
    DEPRECATED = "urn:oasis:names:tc:ebxml-regrep:StatusType:Deprecated"


class AssociationType(StrEnum):
    """Association types, by their URN (spec/xds.md 3.5)."""

    HAS_MEMBER = "urn:oasis:names:tc:ebxml-regrep:AssociationType:HasMember"
    RPLC = "urn:ihe:iti:2007:AssociationType:RPLC"
    XFRM = "urn:ihe:iti:2007:AssociationType:XFRM"
    APND = "urn:ihe:iti:2007:AssociationType:APND"
    XFRM_RPLC = "urn:ihe:iti:2007:AssociationType:XFRM_RPLC"
    SIGNS = "urn:ihe:iti:2007:AssociationType:signs"
    IS_SNAPSHOT_OF = "urn:ihe:iti:2010:AssociationType:IsSnapshotOf"


class UpdateType(StrEnum):
    """What a submission that updates metadata says beside them (spec/xds.md 3.5, 7); never registered."""

    UPDATE_AVAILABILITY_STATUS = "urn:ihe:iti:2010:AssociationType:UpdateAvailabilityStatus"
    SUBMIT_ASSOCIATION = "urn:ihe:iti:2010:AssociationType:SubmitAssociation"


REPLACING = frozenset({AssociationType.RPLC, AssociationType.XFRM_RPLC})
"""What deprecates its target (spec/xds.md 3.5)."""
ADDING = frozenset({AssociationType.APND, AssociationType.XFRM})
"""What is deprecated with its target."""
DERIVING = frozenset({AssociationType.XFRM, AssociationType.XFRM_RPLC, AssociationType.IS_SNAPSHOT_OF})
"""What makes of its target another form of the same (spec/consent.md 8)."""


class MetadataLevel(StrEnum):
    """How much metadata a submission promises (spec/fhir.md 3.1)."""

    XDS = "xds"  # ITI-41/42 and MHD Comprehensive: XDS source rules
    COMPREHENSIVE = "comprehensive"
    UNCONTAINED = "uncontained"
    MINIMAL = "minimal"  # XDR metadata-limited; also ITI-105


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedValue:
    """A code with its scheme (URI) and display."""

    code: str
    scheme: str
    display: str = ""

    @property
    def key(self) -> str:
        """``scheme|code``, as policy and search write it."""
        return f"{self.scheme}|{self.code}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CX:
    """An identifier in the domain of an assigning authority (bare OID, or a namespace URI)."""

    value: str
    authority: str

    def __str__(self) -> str:
        return f"{self.value}^^^&{self.authority}&ISO"


@dataclass(frozen=True, slots=True, kw_only=True)
class XCN:
    """A person: identifier and name."""

    id: str = ""
    family: str = ""
    given: str = ""
    second: str = ""
    suffix: str = ""
    prefix: str = ""
    degree: str = ""
    authority: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class XON:
    """An organization: name and identifier."""

    name: str
    id: str = ""
    authority: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who wrote it. Roles and specialties are text or codes as sent; telecoms are XTN text."""

    person: XCN | None = None
    institutions: tuple[XON, ...] = ()
    roles: tuple[str, ...] = ()
    specialties: tuple[str, ...] = ()
    telecommunications: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceId:
    """A CXi of referenceIdList."""

    value: str
    type_code: str
    authority: str = ""
    home_community_id: str = ""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class EntryMetadata:
    """A DocumentEntry (spec/xds.md 3.2)."""

    entry_uuid: str
    unique_id: str
    patient_id: CX | None
    mime_type: str
    object_type: str = STABLE
    availability_status: Status = Status.APPROVED
    logical_id: str | None = None
    version: int = 1
    home_community_id: str | None = None
    repository_unique_id: str | None = None
    document_availability: str | None = None
    authors: tuple[Author, ...] = ()
    legal_authenticator: XCN | None = None
    class_code: CodedValue | None = None
    type_code: CodedValue | None = None
    format_code: CodedValue | None = None
    healthcare_facility_type_code: CodedValue | None = None
    practice_setting_code: CodedValue | None = None
    confidentiality_codes: tuple[CodedValue, ...] = ()
    event_codes: tuple[CodedValue, ...] = ()
    creation_time: str | None = None
    service_start_time: str | None = None
    service_stop_time: str | None = None
    language_code: str | None = None
    hash: str | None = None
    size: int | None = None
    source_patient_id: CX | None = None
    source_patient_info: tuple[str, ...] = ()  # "PID-5|…"
    reference_ids: tuple[ReferenceId, ...] = ()
    title: str | None = None
    comments: str | None = None
    uri: str | None = None
    limited_metadata: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)  # slots and FHIR elements without an attribute


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionSetMetadata:
    """A SubmissionSet (spec/xds.md 3.3)."""

    entry_uuid: str
    unique_id: str
    source_id: str
    patient_id: CX | None
    submission_time: str
    authors: tuple[Author, ...] = ()
    content_type_code: CodedValue | None = None
    intended_recipients: tuple[str, ...] = ()
    title: str | None = None
    comments: str | None = None
    home_community_id: str | None = None
    limited_metadata: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderMetadata:
    """A Folder (spec/xds.md 3.4); lastUpdateTime is the registry's."""

    entry_uuid: str
    unique_id: str
    patient_id: CX | None
    codes: tuple[CodedValue, ...] = ()
    title: str | None = None
    comments: str | None = None
    logical_id: str | None = None
    version: int = 1
    home_community_id: str | None = None
    limited_metadata: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationMetadata:
    """An Association; ends are entry UUIDs or symbolic ids of the submission (spec/xds.md 3.5)."""

    entry_uuid: str
    type: AssociationType
    source: str
    target: str
    submission_set_status: str | None = None  # Original | Reference, on SS HasMember
    documentation: CodedValue | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAssociation:
    """An operation of ITI-57, from the submission set to what it is about; `slots` as sent."""

    entry_uuid: str
    type: UpdateType
    source: str
    target: str
    slots: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Bytes(StrEnum):
    """Where the bytes of a submission's stable entries are."""

    GIVEN = "given"  # where a face says so: with some entries, elsewhere for others
    SENT = "sent"  # each with the submission (ITI-41)
    ELSEWHERE = "elsewhere"  # in a repository that has stored them before (ITI-42)
    UPDATED = "updated"  # where those of the version before are (ITI-57)
    ON_DEMAND = "on-demand"  # made when they are asked for: no entry is stable (ITI-61)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One submission: everything of it is registered, or nothing.

    `contents` maps an entry's id to the id of staged bytes (`documents.repository`).
    Entries without staged bytes are allowed only where a face says the bytes live elsewhere: `bytes`.
    """

    submission_set: SubmissionSetMetadata
    entries: tuple[EntryMetadata, ...] = ()
    folders: tuple[FolderMetadata, ...] = ()
    associations: tuple[AssociationMetadata, ...] = ()
    contents: Mapping[str, str] = field(default_factory=dict)
    level: MetadataLevel = MetadataLevel.XDS
    bytes: Bytes = Bytes.GIVEN
