"""Kinds of audit event, and what each is called in FHIR AuditEvent along IHE BALP.

One row a kind: adding a transaction adds a member and a row here.

Source: spec/fhir.md section 6, spec/consent.md 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Action(StrEnum):
    """AuditEvent.action."""

    CREATE = "C"
    READ = "R"
    UPDATE = "U"
    DELETE = "D"
    EXECUTE = "E"


class Outcome(IntEnum):
    """AuditEvent.outcome: 4 the caller's fault or a refusal, 8 our fault, 12 the hub itself is in danger."""

    SUCCESS = 0
    REFUSED = 4
    FAILED = 8
    MAJOR = 12


class EventType(StrEnum):
    """What happened: an IHE transaction by its number, or an act of our own under a name of our own."""

    # patients
    PATIENT_FEED = "ITI-104"
    PATIENT_FEED_V2 = "ITI-8"
    PATIENT_FEED_V3 = "ITI-44"
    PATIENT_FEED_PMIR = "ITI-93"
    PATIENT_QUERY = "ITI-78"
    PATIENT_QUERY_V2 = "ITI-21"
    PATIENT_QUERY_V3 = "ITI-47"
    PATIENT_MATCH = "ITI-119"
    CROSS_REFERENCE = "ITI-83"
    CROSS_REFERENCE_V2 = "ITI-9"
    CROSS_REFERENCE_V3 = "ITI-45"
    CROSS_REFERENCE_UPDATE = "ITI-46"
    PATIENT_DISCOVERY = "ITI-55"
    PATIENT_READ = "patient-read"
    PATIENT_REMOVED = "patient-removed"
    PATIENT_IMPORT = "patient-import"
    IDENTITY_LINK = "identity-link"
    IDENTITY_UNLINK = "identity-unlink"
    IDENTITY_MERGE = "identity-merge"
    IDENTITY_UNMERGE = "identity-unmerge"
    IDENTITY_REVIEW = "identity-review"
    IDENTITY_BY_HAND = "identity-by-hand"
    IDENTITY_HISTORY = "identity-history"
    # documents
    PROVIDE_DOCUMENT_BUNDLE = "ITI-65"
    SIMPLIFIED_PUBLISH = "ITI-105"
    GENERATE_METADATA = "ITI-106"
    PROVIDE_AND_REGISTER = "ITI-41"
    REGISTER_DOCUMENTS = "ITI-42"
    REGISTER_ON_DEMAND = "ITI-61"
    UPDATE_METADATA = "ITI-57"
    UPDATE_METADATA_RESTRICTED = "ITI-92"
    REMOVE_METADATA = "ITI-62"
    REMOVE_DOCUMENTS = "ITI-86"
    STAGE_CONTENT = "stage-content"
    FIND_DOCUMENT_LISTS = "ITI-66"
    READ_DOCUMENT_LIST = "document-list-read"
    FIND_DOCUMENTS = "ITI-67"
    READ_DOCUMENT_REFERENCE = "document-reference-read"
    RETRIEVE_DOCUMENT = "ITI-68"
    STORED_QUERY = "ITI-18"
    MULTI_PATIENT_QUERY = "ITI-51"
    RETRIEVE_DOCUMENT_SET = "ITI-43"
    CROSS_GATEWAY_QUERY = "ITI-38"
    CROSS_GATEWAY_RETRIEVE = "ITI-39"
    TRANSFER_BROKEN = "transfer-broken"
    RELABEL = "relabel"
    # other communities
    CROSS_QUERY = "cross-query"
    CROSS_QUERY_RESULT = "cross-query-result"
    CROSS_QUERY_CANCELLED = "cross-query-cancelled"
    QUESTION_SENT = "question-sent"
    QUESTION_WITHHELD = "question-withheld"
    ANSWER_RECEIVED = "answer-received"
    REMOTE_RETRIEVE = "remote-retrieve"
    NOTIFICATION_SENT = "notification-sent"
    SUBSCRIPTION = "subscription"
    DELIVERY = "delivery"
    BULK_EXPORT = "bulk-export"
    # consent
    CONSENT_FILED = "consent-filed"
    CONSENT_REVOKED = "consent-revoked"
    CONSENT_READ = "consent-read"
    CONSENT_DECISION = "consent-decision"
    DECISION_SIMULATED = "decision-simulated"
    DECISION_EXPLAINED = "decision-explained"
    DECISIONS_REPLAYED = "decisions-replayed"
    CONSENT_ACCESS = "ITI-108"
    BREAK_GLASS = "break-glass"
    BREAK_GLASS_REVIEWED = "break-glass-reviewed"
    PROXY_CHANGED = "proxy-changed"
    CONCERN = "concern"
    NOTICES_CHOSEN = "notices-chosen"
    NOTICE_SENT = "notice-sent"
    # trust
    TOKEN_ISSUED = "ITI-71"  # noqa: S105  the transaction's number
    TOKEN_REFUSED = "token-refused"  # noqa: S105  a kind of event
    TOKEN_INTROSPECTED = "ITI-102"  # noqa: S105  the transaction's number
    ACCESS_REFUSED = "access-refused"
    LOGIN = "login"
    LOGIN_FAILED = "login-failed"
    LOGOUT = "logout"
    ACCOUNT_CHANGED = "account-changed"
    ACCOUNT_CODE = "account-code"
    # the log itself, staff, operation
    ACCESS_LOG_READ = "access-log-read"
    AUDIT_SEARCH = "ITI-81"
    AUDIT_RECEIVED = "ITI-20"
    AUDIT_EXPORT = "audit-export"
    STAFF_LOOK = "staff-look"
    STAFF_ACT = "staff-act"
    DESK_PAGE = "desk-page"
    DIRECTORY_CHANGED = "directory-changed"
    TERMINOLOGY_CHANGED = "terminology-changed"
    POLICY_READ = "policy-read"
    POLICY_PROPOSED = "policy-proposed"
    POLICY_ACTIVATED = "policy-activated"
    POLICY_WITHDRAWN = "policy-withdrawn"
    HOLD_PLACED = "hold-placed"
    RETENTION_RUN = "retention-run"
    LOG_RETIRED = "log-retired"
    MESSAGE_REHEARSED = "message-rehearsed"
    MESSAGE_REPLAYED = "message-replayed"
    DESK_TASK = "desk-task"
    APPLICATION_STARTED = "application-started"
    APPLICATION_STOPPED = "application-stopped"
    KEYS_ROTATED = "keys-rotated"
    CLOCK = "clock"
    OTHER = "other"


class Pattern(StrEnum):
    """The BALP pattern an event follows."""

    CREATE = "PatientCreate"
    UPDATE = "PatientUpdate"
    READ = "PatientRead"
    DELETE = "PatientDelete"
    QUERY = "PatientQuery"
    IMPORT = "import"  # MHD Provide: DCM 110107
    EXPORT = "export"  # a question or document we send out: DCM 110106
    FEED = "feed"  # DCM 110110
    CONSENT = "authz-consent"
    TOKEN = "token"  # noqa: S105  a pattern's name
    LOGIN = "login"
    APPLICATION = "application"  # DCM 110100
    OTHER = "other"


_MHD = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/"
_PDQM = "https://profiles.ihe.net/ITI/PDQm/StructureDefinition/"
_PIXM = "https://profiles.ihe.net/ITI/PIXm/StructureDefinition/"
_BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/"


@dataclass(frozen=True, slots=True)
class Shape:
    """How one kind is written as an AuditEvent: default action, pattern, interaction, profile of a success."""

    action: Action
    pattern: Pattern
    interaction: str = ""  # restful-interaction code; "" when the transaction code stands alone
    profile: str = ""
    title: str = ""


_C, _R, _U, _D, _E = Action.CREATE, Action.READ, Action.UPDATE, Action.DELETE, Action.EXECUTE
_T, _P = EventType, Pattern

SHAPES: dict[EventType, Shape] = {
    _T.PATIENT_FEED: Shape(
        _U, _P.UPDATE, "update", _PIXM + "IHE.PIXm.Feed.Audit.Manager.Update", "Patient Identity Feed FHIR"
    ),
    _T.PATIENT_FEED_V2: Shape(_U, _P.FEED, "", "", "Patient Identity Feed"),
    _T.PATIENT_FEED_V3: Shape(_U, _P.FEED, "", "", "Patient Identity Feed HL7 V3"),
    _T.PATIENT_FEED_PMIR: Shape(_U, _P.FEED, "operation", "", "Mobile Patient Identity Feed"),
    _T.PATIENT_QUERY: Shape(
        _E, _P.QUERY, "search-type", _PDQM + "IHE.PDQm.Query.Audit.Supplier", "Mobile Patient Demographics Query"
    ),
    _T.PATIENT_QUERY_V2: Shape(_E, _P.QUERY, "", "", "Patient Demographics Query HL7 V2"),
    _T.PATIENT_QUERY_V3: Shape(_E, _P.QUERY, "", "", "Patient Demographics Query HL7 V3"),
    _T.PATIENT_MATCH: Shape(
        _E, _P.QUERY, "operation", _PDQM + "IHE.PDQm.Match.Audit.Supplier", "Patient Demographics Match"
    ),
    _T.CROSS_REFERENCE: Shape(
        _E,
        _P.QUERY,
        "operation",
        _PIXM + "IHE.PIXm.Query.Audit.Manager",
        "Mobile Patient Identifier Cross-reference Query",
    ),
    _T.CROSS_REFERENCE_V2: Shape(_E, _P.QUERY, "", "", "PIX Query"),
    _T.CROSS_REFERENCE_V3: Shape(_E, _P.QUERY, "", "", "PIXV3 Query"),
    _T.CROSS_REFERENCE_UPDATE: Shape(_U, _P.EXPORT, "", "", "PIXV3 Update Notification"),
    _T.PATIENT_DISCOVERY: Shape(_E, _P.QUERY, "", "", "Cross Gateway Patient Discovery"),
    _T.PATIENT_READ: Shape(_R, _P.READ, "read", _BALP + "IHE.BasicAudit.PatientRead", "Patient read"),
    _T.PATIENT_REMOVED: Shape(
        _D, _P.DELETE, "delete", _BALP + "IHE.BasicAudit.PatientDelete", "Patient record removed"
    ),
    _T.PATIENT_IMPORT: Shape(_C, _P.FEED, "", "", "Patients imported"),
    _T.IDENTITY_LINK: Shape(_U, _P.OTHER, "", "", "Records linked"),
    _T.IDENTITY_UNLINK: Shape(_U, _P.OTHER, "", "", "Records separated"),
    _T.IDENTITY_MERGE: Shape(_U, _P.OTHER, "", "", "Records merged"),
    _T.IDENTITY_UNMERGE: Shape(_U, _P.OTHER, "", "", "Merge undone"),
    _T.IDENTITY_REVIEW: Shape(_U, _P.OTHER, "", "", "Possible duplicate reviewed"),
    _T.IDENTITY_BY_HAND: Shape(_U, _P.OTHER, "", "", "Personal details corrected by hand"),
    _T.IDENTITY_HISTORY: Shape(_E, _P.QUERY, "", "", "Identity on a day asked"),
    _T.PROVIDE_DOCUMENT_BUNDLE: Shape(
        _C, _P.IMPORT, "", _MHD + "IHE.MHD.ProvideBundle.Audit.Recipient", "Provide Document Bundle"
    ),
    _T.SIMPLIFIED_PUBLISH: Shape(
        _C, _P.IMPORT, "create", _MHD + "IHE.MHD.SimplifiedPublish.Audit.Recipient", "Simplified Publish"
    ),
    _T.GENERATE_METADATA: Shape(_C, _P.IMPORT, "operation", "", "Generate Metadata"),
    _T.PROVIDE_AND_REGISTER: Shape(_C, _P.IMPORT, "", "", "Provide and Register Document Set-b"),
    _T.REGISTER_DOCUMENTS: Shape(_C, _P.IMPORT, "", "", "Register Document Set-b"),
    _T.REGISTER_ON_DEMAND: Shape(_C, _P.IMPORT, "", "", "Register On-Demand Document Entry"),
    _T.UPDATE_METADATA: Shape(_U, _P.IMPORT, "", "", "Update Document Set"),
    _T.UPDATE_METADATA_RESTRICTED: Shape(_U, _P.IMPORT, "", "", "Restricted Update Document Set"),
    _T.REMOVE_METADATA: Shape(_D, _P.DELETE, "", "", "Remove Metadata"),
    _T.REMOVE_DOCUMENTS: Shape(_D, _P.DELETE, "", "", "Remove Documents"),
    _T.STAGE_CONTENT: Shape(_C, _P.IMPORT, "create", "", "Content received"),
    _T.FIND_DOCUMENT_LISTS: Shape(
        _E, _P.QUERY, "search-type", _MHD + "IHE.MHD.FindDocumentLists.Audit.Responder", "Find Document Lists"
    ),
    _T.READ_DOCUMENT_LIST: Shape(_R, _P.READ, "read", _BALP + "IHE.BasicAudit.PatientRead", "Document list read"),
    _T.FIND_DOCUMENTS: Shape(
        _E, _P.QUERY, "search-type", _MHD + "IHE.MHD.FindDocumentReferences.Audit.Responder", "Find Document References"
    ),
    _T.READ_DOCUMENT_REFERENCE: Shape(
        _R, _P.READ, "read", _BALP + "IHE.BasicAudit.PatientRead", "Document reference read"
    ),
    _T.RETRIEVE_DOCUMENT: Shape(
        _R, _P.READ, "read", _MHD + "IHE.MHD.RetrieveDocument.Audit.Responder", "Retrieve Document"
    ),
    _T.STORED_QUERY: Shape(_E, _P.QUERY, "", "", "Registry Stored Query"),
    _T.MULTI_PATIENT_QUERY: Shape(_E, _P.QUERY, "", "", "Multi-Patient Stored Query"),
    _T.RETRIEVE_DOCUMENT_SET: Shape(_R, _P.READ, "", "", "Retrieve Document Set"),
    _T.CROSS_GATEWAY_QUERY: Shape(_E, _P.QUERY, "", "", "Cross Gateway Query"),
    _T.CROSS_GATEWAY_RETRIEVE: Shape(_R, _P.READ, "", "", "Cross Gateway Retrieve"),
    _T.TRANSFER_BROKEN: Shape(_R, _P.OTHER, "", "", "Transfer broke off"),
    _T.RELABEL: Shape(_U, _P.OTHER, "", "", "Document labelled again"),
    _T.CROSS_QUERY: Shape(_E, _P.QUERY, "", "", "Question to other communities"),
    _T.CROSS_QUERY_RESULT: Shape(_R, _P.QUERY, "", "", "Answers of other communities read"),
    _T.CROSS_QUERY_CANCELLED: Shape(_U, _P.OTHER, "", "", "Question cancelled"),
    _T.QUESTION_SENT: Shape(_E, _P.EXPORT, "", "", "Question sent to a community"),
    _T.QUESTION_WITHHELD: Shape(_E, _P.EXPORT, "", "", "Question not sent because of consent"),
    _T.ANSWER_RECEIVED: Shape(_R, _P.OTHER, "", "", "Answer received from a community"),
    _T.REMOTE_RETRIEVE: Shape(_R, _P.READ, "read", "", "Document of another community read"),
    _T.NOTIFICATION_SENT: Shape(_R, _P.EXPORT, "", "", "Notification sent"),
    _T.SUBSCRIPTION: Shape(_C, _P.OTHER, "", "", "Subscription changed"),
    _T.DELIVERY: Shape(_R, _P.EXPORT, "", "", "Documents delivered"),
    _T.BULK_EXPORT: Shape(_R, _P.EXPORT, "", "", "Bulk export"),
    _T.CONSENT_FILED: Shape(_C, _P.CREATE, "create", _BALP + "IHE.BasicAudit.PatientCreate", "Consent filed"),
    _T.CONSENT_REVOKED: Shape(_U, _P.UPDATE, "update", _BALP + "IHE.BasicAudit.PatientUpdate", "Consent revoked"),
    _T.CONSENT_READ: Shape(_R, _P.READ, "read", _BALP + "IHE.BasicAudit.PatientRead", "Consent read"),
    _T.CONSENT_DECISION: Shape(_E, _P.CONSENT, "", "", "Consent decision"),
    _T.DECISION_SIMULATED: Shape(_E, _P.CONSENT, "", "", "Consent decision tried, nothing released by it"),
    _T.DECISIONS_REPLAYED: Shape(_E, _P.OTHER, "", "", "Decisions decided again"),
    _T.DECISION_EXPLAINED: Shape(_R, _P.CONSENT, "", "", "Consent decision explained"),
    _T.CONSENT_ACCESS: Shape(_E, _P.QUERY, "search-type", _BALP + "IHE.BasicAudit.PatientQuery", "Access Consent"),
    _T.BREAK_GLASS: Shape(_E, _P.OTHER, "", "", "Emergency access declared"),
    _T.BREAK_GLASS_REVIEWED: Shape(_U, _P.OTHER, "", "", "Emergency access reviewed"),
    _T.PROXY_CHANGED: Shape(_U, _P.OTHER, "", "", "Proxy changed"),
    _T.CONCERN: Shape(_C, _P.OTHER, "", "", "Concern"),
    _T.NOTICES_CHOSEN: Shape(_U, _P.OTHER, "", "", "Notices to the patient chosen"),
    _T.NOTICE_SENT: Shape(_E, _P.OTHER, "", "", "Notice sent by mail"),
    _T.TOKEN_ISSUED: Shape(_E, _P.TOKEN, "", "", "Get Access Token"),
    _T.TOKEN_REFUSED: Shape(_E, _P.TOKEN, "", "", "Access token refused"),
    _T.TOKEN_INTROSPECTED: Shape(_E, _P.TOKEN, "", "", "Introspect Token"),
    _T.ACCESS_REFUSED: Shape(_E, _P.OTHER, "", "", "Refused before any record was looked up"),
    _T.LOGIN: Shape(_E, _P.LOGIN, "", "", "Signed in"),
    _T.LOGIN_FAILED: Shape(_E, _P.LOGIN, "", "", "Sign-in failed"),
    _T.LOGOUT: Shape(_E, _P.LOGIN, "", "", "Signed out"),
    _T.ACCOUNT_CHANGED: Shape(_U, _P.OTHER, "", "", "Account of the portal changed"),
    _T.ACCOUNT_CODE: Shape(_C, _P.OTHER, "", "", "Code for an account of the portal given out"),
    _T.ACCESS_LOG_READ: Shape(_R, _P.QUERY, "", "", "Access log read"),
    _T.AUDIT_SEARCH: Shape(_E, _P.QUERY, "search-type", "", "Retrieve ATNA Audit Event"),
    _T.AUDIT_RECEIVED: Shape(_C, _P.OTHER, "create", "", "Record Audit Event"),
    _T.AUDIT_EXPORT: Shape(_R, _P.OTHER, "", "", "Audit log exported"),
    _T.STAFF_LOOK: Shape(_R, _P.OTHER, "", "", "Looked at by the exchange's own staff"),
    _T.STAFF_ACT: Shape(_U, _P.OTHER, "", "", "Changed by the exchange's own staff"),
    _T.DESK_PAGE: Shape(_R, _P.OTHER, "", "", "Page of the desk opened"),
    _T.DIRECTORY_CHANGED: Shape(_U, _P.OTHER, "", "", "Directory changed"),
    _T.TERMINOLOGY_CHANGED: Shape(_U, _P.OTHER, "", "", "Terminology changed"),
    _T.POLICY_READ: Shape(_R, _P.OTHER, "", "", "Policy looked at"),
    _T.POLICY_PROPOSED: Shape(_C, _P.OTHER, "", "", "Change of policy proposed"),
    _T.POLICY_ACTIVATED: Shape(_U, _P.OTHER, "", "", "Change of policy activated"),
    _T.POLICY_WITHDRAWN: Shape(_U, _P.OTHER, "", "", "Change of policy withdrawn"),
    _T.HOLD_PLACED: Shape(_C, _P.OTHER, "", "", "Legal hold placed"),
    _T.RETENTION_RUN: Shape(_D, _P.OTHER, "", "", "Removed at the end of its time"),
    _T.LOG_RETIRED: Shape(_D, _P.OTHER, "", "", "Events of the log to be removed at the end of their time"),
    _T.MESSAGE_REHEARSED: Shape(_R, _P.OTHER, "", "", "Looked ahead at what a message would do"),
    _T.MESSAGE_REPLAYED: Shape(_E, _P.OTHER, "", "", "Message replayed"),
    _T.DESK_TASK: Shape(_U, _P.OTHER, "", "", "Task of the desk"),
    _T.APPLICATION_STARTED: Shape(_E, _P.APPLICATION, "", "", "Hub started"),
    _T.APPLICATION_STOPPED: Shape(_E, _P.APPLICATION, "", "", "Hub stopped"),
    _T.KEYS_ROTATED: Shape(_E, _P.OTHER, "", "", "Keys rotated"),
    _T.CLOCK: Shape(_E, _P.OTHER, "", "", "Clock"),
    _T.OTHER: Shape(_E, _P.OTHER, "", "", "Other"),
}
