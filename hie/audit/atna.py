"""An event of the log as a DICOM audit message, as audit repositories of IHE ATNA take it. Pure.

What each transaction has of participants and objects follows its section "Security Audit Considerations": the source of a
message is who sends data, so a query's is its consumer, a retrieval's this hub. Besides transactions it is told who signed
in or out or was refused, who used the log, when the hub was started and stopped, and who changed how it is set up: its
participants with their agreements and keys, its policies, its codes and calendar, the accounts of its staff.

Source: DICOM PS3.15 A.5 (A.5.3.1 Application Activity, A.5.3.2 Audit Log Used, A.5.3.11 Security Alert, A.5.3.12 User
Authentication), PS3.16 CID 403 (Security Alert Type); ITI TF-2 3.20 and the transactions' own sections.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC
from typing import Any

from lxml import etree

from hie.audit.kinds import SHAPES, EventType, Pattern
from hie.audit.values import DisclosureRecord, EventRecord

_DCM, _IHE, _RFC, _METADATA = "DCM", "IHE Transactions", "RFC-3881", "IHE XDS Metadata"
_EVENTS = {
    Pattern.IMPORT: ("110107", "Import"),
    Pattern.CREATE: ("110107", "Import"),
    Pattern.UPDATE: ("110107", "Import"),
    Pattern.EXPORT: ("110106", "Export"),
    Pattern.READ: ("110106", "Export"),
    Pattern.QUERY: ("110112", "Query"),
    Pattern.FEED: ("110110", "Patient Record"),
    Pattern.DELETE: ("110110", "Patient Record"),
    Pattern.TOKEN: ("110114", "User Authentication"),
}
_APPLICATION_ACTIVITY = ("110100", "Application Activity")
_AUDIT_LOG_USED = ("110101", "Audit Log Used")
_USER_AUTHENTICATION = ("110114", "User Authentication")
_LOGIN = ("110122", "Login")
_TYPES = {
    EventType.APPLICATION_STARTED: ("110120", "Application Start"),
    EventType.APPLICATION_STOPPED: ("110121", "Application Stop"),
    EventType.LOGIN: _LOGIN,
    EventType.LOGIN_FAILED: _LOGIN,
    EventType.TOKEN_REFUSED: _LOGIN,
    EventType.LOGOUT: ("110123", "Logout"),
}
"""What DICOM itself calls a kind that is no transaction."""
_LOG_USED = frozenset({EventType.AUDIT_SEARCH, EventType.AUDIT_EXPORT, EventType.ACCESS_LOG_READ})
_DESK = frozenset({EventType.DESK_PAGE, EventType.STAFF_LOOK})
_SECURITY_ALERT = ("110113", "Security Alert")
_SECURITY, _SOFTWARE = ("110129", "Security Configuration"), ("110131", "Software Configuration")
_ROLES, _ATTRIBUTES = ("110136", "Security Roles Changed"), ("110137", "User security Attributes Changed")
_SET_UP = {
    EventType.DIRECTORY_CHANGED: _SECURITY,
    EventType.POLICY_ACTIVATED: _SECURITY,
    EventType.KEYS_ROTATED: _SECURITY,
    EventType.TERMINOLOGY_CHANGED: _SOFTWARE,
}
"""Kinds that change what the hub goes by."""
_ACCOUNTS = {
    "created": _ATTRIBUTES, "password": _ATTRIBUTES, "second-factor": _ATTRIBUTES, "person": _ATTRIBUTES, "roles": _ROLES,
    "added": _ATTRIBUTES, "removed": _ATTRIBUTES,
}  # fmt: skip
"""What is done to accounts of staff, and to where their holders work besides."""
_ALERT_SAYS = (
    "what", "act", "kind", "subject", "proposal", "version", "participant", "onboarding", "row", "changed", "codes", "place",
    "days", "holiday", "account", "username", "organization",
)  # fmt: skip
"""Members of an event that tell what was changed; the reasons that people gave are their own words, and stay here."""
_APPLICATION = ("110150", "Application")
_SOURCE, _DESTINATION = ("110153", "Source Role ID"), ("110152", "Destination Role ID")
_SUBMISSION_SET = ("urn:uuid:a54d6aa5-d40d-43f9-88c5-b4633d873bdd", _METADATA, "submission set classificationNode")
_REPOSITORY = frozenset({EventType.PROVIDE_AND_REGISTER, EventType.RETRIEVE_DOCUMENT_SET, EventType.REMOVE_DOCUMENTS})
_IP, _NAME = "2", "1"


def is_told(event: EventRecord) -> bool:
    """Whether an event is one of an IHE transaction, or one that DICOM has a message for: nothing else is told."""
    return event.kind.startswith("ITI-") or event.type in _TYPES or _uses_log(event) or _alert(event) is not None


def _alert(event: EventRecord) -> tuple[str, str] | None:
    """The type of Security Alert of an event that changed how the hub is set up, or was refused to; None of any other.

    What an organization enters while it joins changes nothing before staff have let it in.
    """
    if event.type is EventType.STAFF_ACT:
        of_accounts = event.detail.get("what") in ("staff account", "second employer")
        return _ACCOUNTS.get(str(event.detail.get("act"))) if of_accounts else None
    if event.user.startswith("Onboarding/"):
        return None
    if event.type is EventType.DIRECTORY_CHANGED and str(event.detail.get("what", "")).startswith("holiday"):
        return _SOFTWARE
    return _SET_UP.get(event.type)


def _uses_log(event: EventRecord) -> bool:
    """Whether the log was looked at: asked over an interface, exported, read by a patient, or opened at the desk."""
    if event.type in _DESK:
        page, what = str(event.detail.get("page", "")), event.detail.get("what")
        return page.startswith(("admin:audit_", "audit.")) or what == "access log"
    return event.type in _LOG_USED


def message(event: EventRecord, *, base_url: str, site: str, repository_unique_id: str) -> bytes:
    """The AuditMessage of an event of a transaction; `site` is what this hub is called as the source of messages."""
    root = etree.Element("AuditMessage")
    shape = SHAPES[event.type]
    alert = _alert(event)
    instant = event.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    identification = etree.SubElement(
        root,
        "EventIdentification",
        EventActionCode=event.action if alert is None else "E",
        EventDateTime=instant,
        EventOutcomeIndicator=str(event.outcome),
    )
    _code(identification, "EventID", *_event_id(event), system=_DCM)
    if alert is not None:
        _code(identification, "EventTypeCode", *alert, system=_DCM)
    elif event.type in _TYPES:
        _code(identification, "EventTypeCode", *_TYPES[event.type], system=_DCM)
    elif event.kind.startswith("ITI-"):
        _code(identification, "EventTypeCode", event.kind, shape.title, system=_IHE)
    if event.purpose:
        _code(identification, "PurposeOfUse", event.purpose, event.purpose, system="2.16.840.1.113883.5.8")
    if alert is not None and event.user:
        _person(root, event, address=event.network_address)
    if alert is not None or shape.pattern is Pattern.APPLICATION:
        alone = alert is not None and not event.user
        _participant(root, base_url, requestor=alone, role=_APPLICATION, address=_host(base_url), address_type=_NAME)
    else:
        _participants(root, event, shape.pattern, base_url)
    source = etree.SubElement(
        root, "AuditSourceIdentification", AuditEnterpriseSiteID=site, AuditSourceID=f"{site}:{event.face or 'hub'}"
    )
    _code(source, "AuditSourceTypeCode", "4", "Application Server", system=_DCM)
    if _uses_log(event):
        _object(root, f"{base_url}/fhir/AuditEvent", ("2", "13"), ("12", _RFC, "URI"), name="Security Audit Log")
    if alert is not None:
        _alert_subject(root, event, base_url)
    else:
        _objects(root, event, repository_unique_id)
    data: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return data


def _event_id(event: EventRecord) -> tuple[str, str]:
    if _uses_log(event):
        return _AUDIT_LOG_USED
    if _alert(event) is not None:
        return _SECURITY_ALERT
    pattern = SHAPES[event.type].pattern
    return _USER_AUTHENTICATION if pattern is Pattern.LOGIN else _EVENTS.get(pattern, _APPLICATION_ACTIVITY)


def _host(base_url: str) -> str:
    return base_url.partition("://")[2].partition("/")[0]


def _participants(root: etree._Element, event: EventRecord, pattern: Pattern, base_url: str) -> None:
    hub_sends = pattern in (Pattern.READ, Pattern.EXPORT)
    client = event.client or event.participant or "unknown"
    address = event.network_address
    _participant(
        root,
        client,
        requestor=not event.user,
        role=_DESTINATION if hub_sends else _SOURCE,
        name=event.organization_name,
        address=address,
        address_type=_IP,
    )
    _participant(
        root,
        _endpoint(event, base_url),
        requestor=False,
        role=_SOURCE if hub_sends else _DESTINATION,
        address=_host(base_url),
        address_type=_NAME,
    )
    if event.user:
        _person(root, event)


def _person(root: etree._Element, event: EventRecord, *, address: str = "") -> None:
    person = _participant(root, event.user, requestor=True, name=event.user_name, address=address, address_type=_IP)
    if event.role:
        _code(person, "RoleIDCode", event.role, event.role, system="HL7 RoleCode")


def _alert_subject(root: etree._Element, event: EventRecord, base_url: str) -> None:
    """What was changed: a security resource or a master file of this hub, and what was done to it."""
    role = "5" if _alert(event) == _SOFTWARE else "13"
    element = _object(root, f"{base_url}/admin/", ("2", role), ("12", _RFC, "URI"), name=SHAPES[event.type].title)
    said = {name: event.detail[name] for name in _ALERT_SAYS if name in event.detail}
    if said.get("act") == "person":
        # Whose an account is stays here: which members, not their words.
        said["changed"] = sorted(said.get("changed", ()))
    _detail(element, "Alert Description", json.dumps(said, ensure_ascii=False, sort_keys=True, default=str))


def _endpoint(event: EventRecord, base_url: str) -> str:
    if event.face != "soap":
        return base_url
    if event.type == EventType.PATIENT_FEED_V3:
        return f"{base_url}/pix"
    return f"{base_url}/xds/{'repository' if event.type in _REPOSITORY else 'registry'}"


def _participant(
    root: etree._Element,
    user_id: str,
    *,
    requestor: bool,
    role: tuple[str, str] | None = None,
    name: str = "",
    address: str = "",
    address_type: str = "",
) -> etree._Element:
    said = {"UserID": user_id} | ({"UserName": name} if name else {})
    said["UserIsRequestor"] = "true" if requestor else "false"
    if address:
        said |= {"NetworkAccessPointID": address, "NetworkAccessPointTypeCode": address_type}
    element = etree.SubElement(root, "ActiveParticipant", _allowed(said))
    if role is not None:
        _code(element, "RoleIDCode", *role, system=_DCM)
    return element


def _objects(root: etree._Element, event: EventRecord, repository_unique_id: str) -> None:
    patient = event.patient_identifier or event.person_id
    if patient:
        _object(root, patient, ("1", "1"), ("2", _RFC, "Patient Number"))
    if event.query and SHAPES[event.type].pattern is Pattern.QUERY:
        query = _object(root, event.request_id or event.id, ("2", "24"), (event.kind, _IHE, SHAPES[event.type].title))
        etree.SubElement(query, "ParticipantObjectQuery").text = _base64(event.query)
        _detail(query, "QueryEncoding", "UTF-8")
    set_id = event.detail.get("unique_id")
    if set_id and "submission_set" in event.detail:
        _object(root, str(set_id), ("2", "20"), _SUBMISSION_SET)
    named = [item for item in event.disclosures if item.unique_id and item.what != "demographics"]
    for item in named:
        _document(root, item.unique_id, repository_unique_id, item)
    if not named:
        for one in event.detail.get("documents", ()):
            _document(root, str(one.get("unique_id", "")), repository_unique_id, None)


def _document(root: etree._Element, unique_id: str, repository_unique_id: str, item: DisclosureRecord | None) -> None:
    if not unique_id:
        return
    element = _object(root, unique_id, ("2", "3"), ("9", _RFC, "Report Number"))
    _detail(element, "Repository Unique Id", repository_unique_id)
    if item is not None and item.confidentiality:
        _detail(element, "confidentialityCode", item.confidentiality)


def _object(
    root: etree._Element, object_id: str, kind: tuple[str, str], named: tuple[str, str, str], *, name: str = ""
) -> etree._Element:
    element = etree.SubElement(
        root,
        "ParticipantObjectIdentification",
        _allowed(
            {
                "ParticipantObjectID": object_id,
                "ParticipantObjectTypeCode": kind[0],
                "ParticipantObjectTypeCodeRole": kind[1],
            }
        ),
    )
    code, system, text = named
    _code(element, "ParticipantObjectIDTypeCode", code, text, system=system)
    if name:
        etree.SubElement(element, "ParticipantObjectName").text = name
    return element


def _detail(element: etree._Element, kind: str, value: str) -> None:
    etree.SubElement(element, "ParticipantObjectDetail", type=kind, value=_base64(value))


def _code(parent: etree._Element, name: str, code: str, text: str, *, system: str) -> None:
    said = {"csd-code": code, "codeSystemName": system, "originalText": text or code}
    etree.SubElement(parent, name, _allowed(said))


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _allowed(said: dict[str, Any]) -> dict[str, str]:
    """The attributes without what XML cannot hold."""
    return {
        name: "".join(
            c
            for c in str(value)
            if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff" and not "\ud800" <= c <= "\udfff")
        )
        for name, value in said.items()
    }
