"""Events as FHIR AuditEvent: codes, roles and entities of the BALP patterns."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from hie.audit.balp import audit_event, kinds_of_subtype, kinds_of_type
from hie.audit.kinds import SHAPES, EventType
from hie.audit.values import DisclosureRecord, EventRecord

BASE = "https://hub.example/fhir"


def event(kind: EventType = EventType.FIND_DOCUMENTS, **values: Any) -> EventRecord:
    standard: dict[str, Any] = {
        "id": "0b9d4a6e-0000-4000-8000-000000000001", "at": datetime(2026, 11, 19, 14, 0, 0, 123456, tzinfo=UTC), "kind": kind.value,
        "action": SHAPES[kind].action.value, "outcome": 0, "participant": "org-clinic", "organization": "org-clinic-ward", "client": "clinic",
        "user": "Practitioner/eve", "user_name": "Dr. Eve", "role": "physician", "purpose": "TREAT", "person_id": "p1",
        "network_address": "192.0.2.7", "request_id": "r1", "token_id": "jti-1",
    }  # fmt: skip
    return EventRecord(**(standard | values))


def encoded(*arguments: Any, **values: Any) -> dict[str, Any]:
    return audit_event(event(*arguments, **values), base_url=BASE, hub_name="The Hub", hub_oid="2.999.1.1")


@pytest.mark.parametrize("kind", list(EventType))
def test_every_kind_makes_a_whole_audit_event(kind: EventType) -> None:
    resource = encoded(kind)
    assert resource["type"]["code"]
    assert resource["subtype"]
    assert resource["recorded"] == "2026-11-19T14:00:00.123Z"
    assert len(resource["agent"]) >= 2
    assert resource["source"]["observer"] in [agent["who"] for agent in resource["agent"]]
    assert sum(agent["requestor"] for agent in resource["agent"]) == 1


@pytest.mark.parametrize(
    ("kind", "type_", "action", "client", "server", "user"),
    [
        (EventType.FIND_DOCUMENTS, "rest", "E", "110153", "110152", "IRCP"),
        (EventType.RETRIEVE_DOCUMENT, "rest", "R", "110152", "110153", "IRCP"),
        (EventType.PROVIDE_DOCUMENT_BUNDLE, "110107", "C", "110153", "110152", "AUT"),
        (EventType.PATIENT_FEED, "rest", "U", "110153", "110152", "AUT"),
        (EventType.PATIENT_REMOVED, "rest", "D", "110150", "custodian", "AUT"),
        (EventType.TOKEN_ISSUED, "110114", "E", "110153", "110152", "IRCP"),
        (EventType.CONSENT_DECISION, "110113", "E", "110153", "110152", "IRCP"),
    ],
)
def test_types_actions_and_roles_are_those_of_the_pattern(kind: EventType, type_: str, action: str, client: str, server: str, user: str) -> None:  # fmt: skip
    resource = encoded(kind)
    codes = [agent["type"]["coding"][0]["code"] for agent in resource["agent"]]
    assert (resource["type"]["code"], resource["action"], codes[:3]) == (type_, action, [client, server, user])


def test_a_search_carries_interaction_transaction_raw_query_and_token() -> None:
    resource = encoded(query="patient=Patient/1&status=current")
    assert [coding["code"] for coding in resource["subtype"]] == ["search-type", "ITI-67"]
    (query,) = [entity for entity in resource["entity"] if entity.get("role", {}).get("code") == "24"]
    assert base64.b64decode(query["query"]) == b"patient=Patient/1&status=current"
    user = resource["agent"][2]
    assert (user["policy"], user["purposeOfUse"][0]["coding"][0]["code"]) == (
        ["urn:ietf:params:oauth:jti:jti-1"],
        "TREAT",
    )
    assert resource["entity"][-1] == {"what": {"identifier": {"value": "r1"}}, "type": {"system": "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType", "code": "XrequestId"}}  # fmt: skip
    assert resource["meta"]["profile"] == ["https://profiles.ihe.net/ITI/MHD/StructureDefinition/IHE.MHD.FindDocumentReferences.Audit.Responder"]  # fmt: skip


@pytest.mark.parametrize("values", [{"outcome": 4, "reason": "not-found"}, {"person_id": ""}])
def test_a_failure_or_an_event_about_nobody_names_no_profile(values: dict[str, Any]) -> None:
    resource = encoded(**values)
    assert "meta" not in resource
    assert resource["outcome"] == str(values.get("outcome", 0))
    assert resource.get("outcomeDesc", "") == values.get("reason", "")


def test_documents_consents_relay_and_recipients_are_named_apart() -> None:
    shown = DisclosureRecord(document_id="d1", unique_id="1.2.3", title="Letter", labels=("HIV",), confidentiality="R", rule="D6", recipient="com-east")  # fmt: skip
    resource = encoded(disclosures=(shown,), intermediary="com-west", decision={"considered": ["c1@2"]}, rule="D6")
    references = [entity["what"].get("reference") for entity in resource["entity"] if "what" in entity]
    assert references[:3] == ["Patient/p1", "DocumentReference/d1", "Consent/c1/_history/2"]
    others = {agent["who"].get("reference") for agent in resource["agent"]}
    assert {"Organization/org-clinic-ward", "Organization/com-west", "Organization/com-east"} <= others


def test_an_unknown_kind_of_a_newer_version_is_still_written() -> None:
    assert audit_event(event(kind=EventType.OTHER), base_url=BASE)["subtype"][0]["code"] == "other"
    record = EventRecord(id="x", at=datetime(2026, 1, 1, tzinfo=UTC), kind="from-the-future", action="E", outcome=0)
    assert audit_event(record, base_url=BASE)["subtype"][0]["code"] == "from-the-future"


def test_kinds_are_found_by_the_codes_they_are_written_with() -> None:
    assert kinds_of_subtype("ITI-67") == ("ITI-67",)
    assert "ITI-67" in kinds_of_subtype("search-type", "http://hl7.org/fhir/restful-interaction")
    assert kinds_of_subtype("ITI-67", "urn:other") == ()
    assert "ITI-65" in kinds_of_type("110107")
    assert "ITI-65" not in kinds_of_type("rest")
