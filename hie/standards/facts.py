"""Values that cross the core: what one app may know of another's things.

Plain frozen values without Django, so that the consent engine, the matching
engine and the faces speak of the same participant, person, document and caller
without importing one another's tables. Nothing is copied between types.

Identifiers: a participant is its directory id (``org-clinic``); a person is the
UUID of the index as text; an OID is bare (``1.2.3``); a code is written
``system|code`` with the system as URI (``http://loinc.org|34117-2``; an OID
without a URI of its own as ``urn:oid:1.2.3|x``). Instants are aware UTC.

Source: spec/consent.md sections 2, 3 and 9.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from hie.standards.values import quick


class Operation(StrEnum):
    """What the requester does with a document (spec/consent.md 3)."""

    QUERY = "query"
    RETRIEVE = "retrieve"
    NOTIFY = "notify"
    BULK = "bulk"
    REGISTER = "register"
    UPDATE = "update"


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who speaks to the hub, as proven by a token, certificate, session or sender.

    `participant_id` owns the client; `organization_id` is the organization acting:
    the same or one below it. `role` or `purpose` of None means the caller may feed
    and publish but every read is refused. `intermediary_id` is the community that
    relayed the request, never shown as the reader. `face` names the door used.
    """

    participant_id: str
    organization_id: str
    client_id: str
    user_id: str
    user_name: str = ""
    role: str | None = None
    purpose: str | None = None
    organization_name: str = ""
    organization_oid: str = ""
    relationship: str | None = None
    care_teams: tuple[str, ...] = ()
    on_behalf_of: str | None = None
    scopes: frozenset[str] = frozenset()
    token_id: str = ""
    intermediary_id: str | None = None
    network_address: str = ""
    request_id: str = ""
    face: str = "fhir"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementFacts:
    """A participation agreement. Dates are FHIR date text, read in the participant's zone."""

    status: str
    start: str | None = None
    end: str | None = None
    purposes: tuple[str, ...] = ()
    labels_documents: bool = False
    decision_point: bool = False
    obligations: tuple[str, ...] = ()
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRule:
    """A custodian's rule against releasing (spec/consent.md 6, O1); absent criterion = no limit."""

    id: str
    absolute: bool = False
    purposes: tuple[str, ...] = ()
    recipient_types: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    except_recipients: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    min_confidentiality: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantFacts:
    """An organization of the directory as policy sees it.

    None means "inherit from the nearest ancestor that has it". `identifiers` are
    ``system|value``. `status` is the registration's own (active, suspended,
    terminated); `agreement.status` the agreement's: both must be active.
    """

    id: str
    name: str = ""
    part_of: str | None = None
    type: str | None = None
    jurisdiction: str | None = None
    status: str = "active"
    agreement: AgreementFacts | None = None
    part2_program: bool | None = None
    requires_relationship: bool | None = None
    release_policy: tuple[ReleaseRule, ...] = ()
    identifiers: tuple[str, ...] = ()
    organization_oid: str = ""
    assigning_authority: str | None = None
    home_community_id: str | None = None
    source_trust: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointFacts:
    """Where another community or an organization's own repository is reached."""

    participant_id: str
    participant_name: str
    participant_type: str
    kind: str  # fhir | xca-query | xca-retrieve | xcpd | xds-repository | mllp
    url: str
    home_community_id: str | None = None
    repository_unique_id: str | None = None
    assigning_authority: str | None = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectFacts:
    """The person a request is about; `linked` are ids that became this one by merge."""

    id: str
    birth_date: str | None = None
    jurisdiction: str | None = None
    linked: frozenset[str] = frozenset()
    deceased: bool = False

    @property
    def ids(self) -> frozenset[str]:
        """Every id under which this person is known."""
        return self.linked | {self.id}


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Perhaps:
    """What may be true of a document: a denial goes by it, a permit never (spec/consent.md 1.3).

    `authors`: further names of its authors. `ids`: other names of the document itself. `related`: what hangs
    together with it at any remove and in either direction. The last two as `hie.standards.naming.bare` writes them.
    """

    authors: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    related: frozenset[str] = frozenset()


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFacts:
    """A document as policy sees it (spec/consent.md 3); never its content.

    Times are FHIR date or dateTime text, of any precision. `confidentiality` None
    counts as R. `labels` are codes without a system. `derived_from` holds whole facts.
    """

    id: str
    patient: str
    custodian: str
    authors: tuple[str, ...] = ()
    classes: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    confidentiality: str | None = None
    labels: frozenset[str] = frozenset()
    labelled: bool = True
    service_start: str | None = None
    service_stop: str | None = None
    created: str | None = None
    encounter: str | None = None
    related: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    derived_from: tuple[DocumentFacts, ...] = ()
    perhaps: Perhaps = Perhaps()


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakGlassGrant:
    """An emergency grant as stored; its validity is decided by the engine (G7)."""

    id: str
    user: str
    organization: str
    patient: str
    start: datetime
    end: datetime
    status: str
    reason: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyGrant:
    """A person's standing permission to act for the patient. Dates are FHIR date text."""

    id: str
    person: str
    patient: str
    kind: str
    status: str
    max_confidentiality: str | None = None
    start: str | None = None
    end: str | None = None
    may_consent: bool = False


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFacts:
    """One request as the engine sees it. None or "" means the caller did not say."""

    organization: str | None
    user: str | None
    role: str | None
    purpose: str | None
    operation: str | None
    relationship: str | None = None
    care_teams: tuple[str, ...] = ()
    break_glass: BreakGlassGrant | None = None
    proxy_grant: ProxyGrant | None = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class BasisItem:
    """One thing that decided: a consent node, a law, a release rule, a default, an agreement."""

    kind: str  # consent | law | release | default | agreement | proxy | break-glass
    id: str
    version: str = ""
    path: str = ""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Permit or deny, with the one rule that decided (spec/consent.md 6, 13).

    Documents of one request that are equal in everything the rules ask about may share it.
    """

    permitted: bool
    rule: str
    reason: str
    obligations: tuple[str, ...] = ()  # sorted
    basis: tuple[BasisItem, ...] = ()

    @property
    def outcome(self) -> str:
        """``permit`` or ``deny``."""
        return "permit" if self.permitted else "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedContent:
    """Codes found in a document's content, for the labelling rules: never text.

    `codes` are ``system|code``; `sections` the LOINC codes of the sections they stood
    in; `confidentiality` the content's own code; `security_labels` its own labels. `at_least` is the highest code of
    documents inside it, which may raise the whole and never stands for it.
    """

    codes: frozenset[str] = frozenset()
    sections: frozenset[str] = frozenset()
    confidentiality: str | None = None
    at_least: str | None = None
    security_labels: frozenset[str] = frozenset()
    read: bool = False  # False: bytes of a kind that holds no codes (PDF, image)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What the labelling service set: labels, the raised confidentiality, which rule set each, and under which rules."""

    labels: frozenset[str] = frozenset()
    confidentiality: str | None = None
    labelled: bool = True
    provenance: Mapping[str, Any] = field(default_factory=dict)  # label -> {"rule", "version"}
    rules: str = ""  # digest of the tables and of what reads them
