"""An event of the log as a FHIR R4 AuditEvent along IHE BALP. Pure; the FHIR face and the patient's download share it.

Source: spec/fhir.md section 6; IHE BALP 1.1.5.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

from hie.audit.kinds import SHAPES, EventType, Pattern
from hie.audit.values import EventRecord

DCM = "http://dicom.nema.org/resources/ontology/DCM"
TYPE_SYSTEM = "http://terminology.hl7.org/CodeSystem/audit-event-type"
INTERACTION = "http://hl7.org/fhir/restful-interaction"
TRANSACTION = "urn:ihe:event-type-code"
OWN_SUBTYPE = "urn:hie:event-type"
ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
ENTITY_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
BASIC_ENTITY = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
PURPOSE = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
AUTHZ_SUBTYPE = "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType"

_SOURCE = ("110153", "Source Role ID")
_DESTINATION = ("110152", "Destination Role ID")
_APPLICATION = ("110150", "Application")

_TYPES: dict[Pattern, tuple[str, str, str]] = {
    Pattern.IMPORT: (DCM, "110107", "Import"),
    Pattern.EXPORT: (DCM, "110106", "Export"),
    Pattern.FEED: (DCM, "110110", "Patient Record"),
    Pattern.CONSENT: (DCM, "110113", "Security Alert"),
    Pattern.TOKEN: (DCM, "110114", "User Authentication"),
    Pattern.LOGIN: (DCM, "110114", "User Authentication"),
    Pattern.APPLICATION: (DCM, "110100", "Application Activity"),
}

_OUTCOME = {4: "refused", 8: "failed", 12: "failed gravely"}


def audit_event(event: EventRecord, *, base_url: str, hub_name: str = "", hub_oid: str = "") -> dict[str, Any]:
    """The AuditEvent of one event; `base_url` is the FHIR base. Profiles are named only on a success that fits them."""
    shape = SHAPES[event.type]
    resource: dict[str, Any] = {"resourceType": "AuditEvent", "id": event.id}
    if shape.profile and event.outcome == 0 and event.action == shape.action and _fits(event):
        resource["meta"] = {"profile": [shape.profile]}
    system, code, display = _TYPES.get(shape.pattern, (TYPE_SYSTEM, "rest", "Restful Operation"))
    resource["type"] = {"system": system, "code": code, "display": display}
    resource["subtype"] = _subtypes(event)
    resource["action"] = event.action
    resource["recorded"] = _instant(event)
    resource["outcome"] = str(event.outcome)
    if event.outcome:
        resource["outcomeDesc"] = event.reason or _OUTCOME.get(event.outcome, "failed")
    if event.purpose:
        resource["purposeOfEvent"] = [{"coding": [{"system": PURPOSE, "code": event.purpose}]}]
    hub = {"display": hub_name or "Health information exchange"}
    if hub_oid:
        hub["identifier"] = {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:{hub_oid.removeprefix('urn:oid:')}"}  # type: ignore[assignment]  # an Identifier
    resource["agent"] = _agents(event, hub, base_url)
    resource["source"] = {
        "observer": hub,
        "type": [{"system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4", "display": "Application Server"}],
    }  # fmt: skip
    if entities := _entities(event):
        resource["entity"] = entities
    return resource


def _fits(event: EventRecord) -> bool:
    """Patient-specific profiles need a patient; a search that found nobody follows none of them."""
    return bool(event.person_id or event.patient_identifier)


def _instant(event: EventRecord) -> str:
    return event.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _subtypes(event: EventRecord) -> list[dict[str, str]]:
    shape = SHAPES[event.type]
    codes: list[dict[str, str]] = []
    if shape.interaction:
        codes.append({"system": INTERACTION, "code": shape.interaction, "display": shape.interaction})
    if event.type is EventType.CONSENT_DECISION:
        codes.append({"system": AUTHZ_SUBTYPE, "code": "AuthZ-Consent", "display": "Consent Authorization"})
    elif event.kind.startswith("ITI-"):
        codes.append({"system": TRANSACTION, "code": event.kind, "display": shape.title})
    else:
        codes.append({"system": OWN_SUBTYPE, "code": event.kind, "display": shape.title})
    return codes


def _agents(event: EventRecord, hub: dict[str, Any], base_url: str) -> list[dict[str, Any]]:
    shape = SHAPES[event.type]
    client_role, server_role = _roles(shape.pattern)
    server: dict[str, Any] = {
        "type": {"coding": [server_role]},
        "who": hub,
        "requestor": False,
        "network": {"address": base_url, "type": "5"},
    }
    agents: list[dict[str, Any]] = []
    if event.client or event.participant:
        who: dict[str, Any] = {"identifier": {"value": event.client or event.participant}}
        if event.organization_name:
            who["display"] = event.organization_name
        client: dict[str, Any] = {
            "type": {"coding": [client_role]},
            "who": who,
            "requestor": not event.user,
        }
        client["network"] = {
            "address": event.network_address or "unknown",
            "type": "2" if event.network_address else "5",
        }
        agents.append(client)
    agents.append(server)
    if event.user:
        agents.append(_user(event, writes=event.action in "CUD"))
    if event.organization and event.organization != event.client:
        organization: dict[str, Any] = {"reference": f"Organization/{event.organization}"}
        if event.organization_oid:
            value = f"urn:oid:{event.organization_oid.removeprefix('urn:oid:')}"
            organization["identifier"] = {"system": "urn:ietf:rfc:3986", "value": value}
        if event.organization_name:
            organization["display"] = event.organization_name
        agents.append({"type": _participation("PROV", "healthcare provider"), "who": organization, "requestor": False})
    if event.on_behalf_of:
        who = {"identifier": {"value": event.on_behalf_of}}
        agents.append({"type": _participation("GUAR", "Guarantor"), "role": [{"text": "on behalf of"}], "who": who, "requestor": False})  # fmt: skip
    if event.intermediary:
        who = {"reference": f"Organization/{event.intermediary}"}
        agents.append({"type": _participation("TRANS", "Transcriber"), "role": [{"text": "intermediary"}], "who": who, "requestor": False})  # fmt: skip
    for recipient in sorted({item.recipient for item in event.disclosures if item.recipient}):
        who = {"reference": f"Organization/{recipient}"}
        agents.append({"type": _participation("IRCP", "information recipient"), "who": who, "requestor": False})
    return agents


def _roles(pattern: Pattern) -> tuple[dict[str, str], dict[str, str]]:
    """Codings of client and server; a read swaps them, since data flows to the client."""
    if pattern is Pattern.DELETE:
        system = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
        return _dcm(*_APPLICATION), {"system": system, "code": "custodian", "display": "Custodian"}
    if pattern in {Pattern.READ, Pattern.EXPORT}:
        return _dcm(*_DESTINATION), _dcm(*_SOURCE)
    return _dcm(*_SOURCE), _dcm(*_DESTINATION)


def _dcm(code: str, display: str) -> dict[str, str]:
    return {"system": DCM, "code": code, "display": display}


def _participation(code: str, display: str) -> dict[str, Any]:
    return {"coding": [{"system": PARTICIPATION, "code": code, "display": display}]}


def _user(event: EventRecord, *, writes: bool) -> dict[str, Any]:
    kind = _participation("AUT", "author (originator)") if writes else _participation("IRCP", "information recipient")
    who: dict[str, Any] = {"identifier": {"value": event.user}}
    if event.user_name:
        who["display"] = event.user_name
    agent: dict[str, Any] = {"type": kind, "who": who, "requestor": True}
    if event.role:
        agent["role"] = [{"coding": [{"code": event.role}]}]
    if event.user_name:
        agent["name"] = event.user_name
    if event.name_withheld is not None:
        agent["_name"] = {"extension": [{"url": _ABSENT, "valueCode": "masked"}]}
        who["display"] = _held_back(event)
    if event.token_id:
        agent["policy"] = [f"urn:ietf:params:oauth:jti:{event.token_id}"]
    if event.purpose:
        agent["purposeOfUse"] = [{"coding": [{"system": PURPOSE, "code": event.purpose}]}]
    return agent


def _held_back(event: EventRecord) -> str:
    """That the name is held back by law, and who can tell it."""
    told = event.name_withheld
    parts = (told.office or "the privacy office of the organization", told.phone, told.address) if told else ()
    return f"held back by law; can be told by {', '.join(part for part in parts if part)}"


def _entities(event: EventRecord) -> list[dict[str, Any]]:
    entities: list[dict[str, Any]] = []
    if event.person_id or event.patient_identifier:
        entities.append({"what": _patient(event), "type": _object("1", "Person"), "role": _role("1", "Patient")})
    if event.query:
        entities.append(
            {
                "type": _object("2", "System Object"),
                "role": _role("24", "Query"),
                "query": base64.b64encode(event.query.encode()).decode(),
            }
        )
    for item in event.disclosures:
        if item.what in {"demographics", "query"} and item.document_id.startswith("Patient/"):
            continue
        what: dict[str, Any] = {"identifier": {"value": item.unique_id or item.document_id}}
        if item.document_id and "/" not in item.document_id and ":" not in item.document_id:
            what["reference"] = f"DocumentReference/{item.document_id}"
        if item.title:
            what["display"] = item.title
        details = [{"type": name, "valueString": value} for name, value in _disclosure_details(item) if value]
        one: dict[str, Any] = {"what": what, "type": _object("2", "System Object"), "role": _role("3", "Report")}
        if item.confidentiality or item.labels:
            one["securityLabel"] = _security_labels(item.confidentiality, item.labels)
        if details:
            one["detail"] = details
        entities.append(one)
    for consent in event.decision.get("considered", ()) if isinstance(event.decision.get("considered"), list) else ():
        consent_id, _, version = str(consent).partition("@")
        reference = f"Consent/{consent_id}" + (f"/_history/{version}" if version else "")
        entities.append(
            {"what": {"reference": reference}, "type": _object("2", "System Object"), "role": _role("13", "Security Resource")}
        )  # fmt: skip
    if event.rule:
        entities.append(
            {
                "what": {"identifier": {"system": "urn:hie:decision", "value": event.id}},
                "type": {"system": OWN_SUBTYPE, "code": "decision"},
                "detail": [{"type": "rule", "valueString": event.rule}]
                + ([{"type": "reason", "valueString": event.reason}] if event.reason else []),
            }
        )
    if event.request_id:
        entities.append({"what": {"identifier": {"value": event.request_id}}, "type": {"system": BASIC_ENTITY, "code": "XrequestId"}})  # fmt: skip
    return entities


def _patient(event: EventRecord) -> dict[str, Any]:
    what: dict[str, Any] = {}
    if event.person_id:
        what["reference"] = f"Patient/{event.person_id}"
    system, _, value = event.patient_identifier.rpartition("|")
    if event.patient_identifier:
        what["identifier"] = {"system": system, "value": value} if system else {"value": event.patient_identifier}
    return what


def _disclosure_details(item: Any) -> list[tuple[str, str]]:
    return [
        ("rule", item.rule),
        ("custodian", item.custodian),
        ("what", item.what),
        ("obligations", " ".join(item.obligations)),
    ]


def _security_labels(confidentiality: str, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    codes = [("http://terminology.hl7.org/CodeSystem/v3-Confidentiality", confidentiality)] if confidentiality else []
    codes += [("http://terminology.hl7.org/CodeSystem/v3-ActCode", label) for label in labels]
    return [{"coding": [{"system": system, "code": code}]} for system, code in codes]


def _object(code: str, display: str) -> dict[str, str]:
    return {"system": ENTITY_TYPE, "code": code, "display": display}


def _role(code: str, display: str) -> dict[str, str]:
    return {"system": ENTITY_ROLE, "code": code, "display": display}


def kinds_of_type(code: str, system: str | None = None) -> tuple[str, ...]:
    """The kinds whose AuditEvent.type has this code (and system); for searching."""
    found = []
    for kind, shape in SHAPES.items():
        own_system, own_code, _ = _TYPES.get(shape.pattern, (TYPE_SYSTEM, "rest", ""))
        if own_code == code and system in (None, own_system):
            found.append(kind.value)
    return tuple(found)


def kinds_of_subtype(code: str, system: str | None = None) -> tuple[str, ...]:
    """The kinds one of whose AuditEvent.subtype codings has this code (and system); for searching."""
    found = []
    for kind in SHAPES:
        for coding in _subtypes(EventRecord(id="", at=_EPOCH, kind=kind, action="E", outcome=0)):
            if coding["code"] == code and system in (None, coding["system"]):
                found.append(kind.value)
                break
    return tuple(found)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
