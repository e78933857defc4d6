"""What is read back from the log, its words decrypted. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hie.audit.kinds import EventType


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosureRecord:
    """One thing that left with an event; `title` and `type_display` are "" once shredded."""

    document_id: str
    unique_id: str = ""
    custodian: str = ""
    title: str = ""
    type_display: str = ""
    what: str = "metadata"
    labels: tuple[str, ...] = ()
    confidentiality: str = ""
    rule: str = ""
    reason: str = ""
    basis: tuple[Mapping[str, Any], ...] = ()
    obligations: tuple[str, ...] = ()
    recipient: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameWithheld:
    """That a law, by the id of its rule, holds back the name of who acted from who reads, and who can tell it.

    `office` "" is the privacy office of the organization that acted; a phone number or an address is there.
    """

    rule: str
    office: str = ""
    phone: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One event of the log. `kind` is an `EventType` where this version knows it, else its text.

    `name_withheld`: `user` is a word that stands for the person, and `user_name` is not told.
    """

    id: str
    at: datetime
    kind: str
    action: str
    outcome: int
    participant: str = ""
    organization: str = ""
    root_organization: str = ""
    organization_name: str = ""
    organization_oid: str = ""
    client: str = ""
    user: str = ""
    user_name: str = ""
    role: str = ""
    purpose: str = ""
    on_behalf_of: str = ""
    intermediary: str = ""
    relationship: str = ""
    person_id: str = ""
    patient_identifier: str = ""
    rule: str = ""
    reason: str = ""
    request_id: str = ""
    correlation: str = ""
    token_id: str = ""
    network_address: str = ""
    face: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    denied: tuple[tuple[str, str], ...] = ()
    decision: Mapping[str, Any] = field(default_factory=dict)
    query: str = ""
    words: Mapping[str, Any] = field(default_factory=dict)
    disclosures: tuple[DisclosureRecord, ...] = ()
    name_withheld: NameWithheld | None = None

    @property
    def type(self) -> EventType:
        """The kind as a member; `OTHER` for one written by a newer version."""
        try:
            return EventType(self.kind)
        except ValueError:
            return EventType.OTHER


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A place between two events, newest first: the last one shown."""

    at: datetime
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """Which events; empty means any. Lists are alternatives, members are all required.

    `since` inclusive, `until` exclusive. `organizations` are acting
    organizations, each by itself; `agents` matches user, client, participant or organization; `entities` a document (its id or
    uniqueId), the person, or the patient's identifier; `policies` the last characters of the token's id.
    `automatic`: True for what no person did (`hie.audit.queries.AUTOMATIC`), False for the rest; `own_side`: True for
    what the patient or a helper did, False for the rest; None for either. `held_back`: only what was refused, or of which
    something was not shown; `emergency`: only emergency access and what it opened.
    """

    ids: tuple[str, ...] = ()
    person_ids: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    kinds: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    outcomes: tuple[int, ...] = ()
    purposes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    organizations: tuple[str, ...] = ()
    participants: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    patient_identifiers: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    correlation: str = ""
    automatic: bool | None = None
    own_side: bool | None = None
    held_back: bool = False
    emergency: bool = False
    before: Cursor | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """Events newest first; `next` continues after them, None at the end."""

    events: tuple[EventRecord, ...]
    next: Cursor | None = None
