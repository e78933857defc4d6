"""A hub on the test client: clinic, hospital and a payer with tokens, Rosa known to hospital and clinic."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from typing import Any

import pytest
from django.test import Client

from hie.directory import registration
from hie.exchange import feed
from hie.trust import client_keys, clients, hub_keys, limits
from tests.directory.forms import EC_P256, clinic, file, hospital, jwk
from tests.exchange import world
from tests.grounds import ground
from tests.trust import conftest as trust

BASE = "https://hub.example/fhir"
JSON = "application/fhir+json"
MHD = "https://profiles.ihe.net/ITI/MHD/StructureDefinition"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"


@pytest.fixture(autouse=True)
def hub(settings, tmp_path):
    settings.BASE_URL = "https://hub.example"
    settings.HUB_KEYS_DIR = tmp_path / "hub-keys"
    settings.DATA_DIR = tmp_path / "data"
    settings.ALLOWED_HOSTS = ["*"]
    settings.ROOT_URLCONF = "tests.fhir.urls"
    settings.SECURE_SSL_REDIRECT = False
    from hie.faces.fhir import capability

    capability.statement.cache_clear()
    for key in limits._redis().scan_iter("hie:limit:*"):
        limits._redis().delete(key)
    hub_keys._held.clear()
    client_keys.forget()
    clients._tokens.clear()


def payer(**changes: Any) -> dict[str, Any]:
    return {
        "id": "org-payer",
        "name": "The Payer",
        "type": "payer",
        "organization_oid": "2.999.10.3",
        "assigning_authority": "2.999.10.3.1",
        "jwks": {"keys": [jwk(EC_P256, "payer-1")]},
        "scopes": ["system/*.rs"],
        "purposes": ["HPAYMT"],
    } | changes


class Api:
    """A participant's client of `/fhir`."""

    def __init__(self, token: str | None) -> None:
        self.token = token
        self.client = Client()

    def call(self, method: str, path: str, body: Any = None, *, content_type: str = JSON, **headers: str) -> Any:
        """One request; `body` is JSON unless it is bytes or text."""
        data = body if isinstance(body, (bytes, str)) else b"" if body is None else json.dumps(body)
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        named = {"HTTP_" + name.replace("-", "_").upper(): value for name, value in headers.items()}
        target = path.removeprefix("https://hub.example") if path.startswith("https://") else f"/fhir{path}"
        return self.client.generic(method, target, data, content_type=content_type, **named)

    def get(self, path: str, **headers: str) -> Any:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any, **more: Any) -> Any:
        return self.call("POST", path, body, **more)


@ground
def rosa_at_both() -> str:
    """Clinic, hospital and payer; Rosa, fed by the first two; her person's id."""
    registration.apply(file(clinic(scopes=["system/*.cruds"]), hospital(scopes=["system/*.cruds"], users=[]), payer()))
    person = world.feed_rosa("P1")
    fed = feed.feed(
        feed.Revision(authority=world.CLINIC_AUTHORITY, value="C1", demographics=world.rosa("P1", identifiers=())),
        world.caller(),
    )
    assert fed.result is not None
    assert str(fed.result.person_id) == person
    return person


class World:
    """The participants and their patient."""

    def __init__(self, person: str) -> None:
        self.person = person
        self.hospital = Api(
            trust.token(
                "org-hospital",
                extensions={
                    "hl7-b2b": trust.b2b(
                        subject_id="Practitioner/north",
                        subject_name="Bo North",
                        organization_id="urn:oid:2.999.10.2",
                        organization_name="The Hospital",
                    )
                },
            )
        )
        self.clinic = Api(trust.token("org-clinic"))
        self.nobody = Api(None)

    def payer(self) -> Api:
        """The payer, for payment."""
        trust.KEYS["org-payer"] = (EC_P256, "payer-1", "ES256")
        extension = trust.b2b(
            subject_id="Practitioner/clerk",
            subject_name="Cy Clerk",
            subject_role="claims-clerk",
            organization_id="urn:oid:2.999.10.3",
            organization_name="The Payer",
            purpose_of_use=["HPAYMT"],
        )
        return Api(trust.token("org-payer", scope="system/*.rs", extensions={"hl7-b2b": extension}))


@pytest.fixture
def hub_world(rosa_at_both: str) -> World:
    return World(rosa_at_both)


# --- resources --------------------------------------------------------------------------------------------------------


def concept(system: str, code: str, display: str = "") -> dict[str, Any]:
    coding = {"system": system, "code": code} | ({"display": display} if display else {})
    return {"coding": [coding]}


def oid() -> str:
    return f"2.25.{uuid.uuid4().int}"


def document_reference(data: bytes, url: str, **changes: Any) -> dict[str, Any]:
    """The smallest DocumentReference of a Minimal bundle, with what every test asserts on."""
    whole = {
        "resourceType": "DocumentReference",
        "masterIdentifier": {
            "type": {
                "coding": [
                    {
                        "system": "https://profiles.ihe.net/ITI/MHD/CodeSystem/IHE.MHD.MHDIdentifierType",
                        "code": "uniqueId",
                    }
                ]
            },
            "system": "urn:ietf:rfc:3986",
            "value": f"urn:oid:{oid()}",
        },
        "status": "current",
        "subject": {"identifier": {"system": f"urn:oid:{world.HOSPITAL_AUTHORITY}", "value": "P1"}},
        "type": concept("http://loinc.org", "34133-9", "Summary of episode note"),
        "category": [concept("urn:oid:1.3.6.1.4.1.19376.1.2.6.1", "REPORTS")],
        "securityLabel": [concept(CONFIDENTIALITY, "N")],
        "content": [
            {
                "attachment": {
                    "contentType": "text/plain",
                    "language": "en-US",
                    "url": url,
                    "size": len(data),
                    "hash": base64.b64encode(hashlib.sha1(data).digest()).decode(),
                    "title": "A note",
                    "creation": "2026-03-01T10:00:00Z",
                },
                "format": {
                    "system": "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
                    "code": "urn:ihe:iti:xds:2017:mimeTypeSufficient",
                },
            }
        ],
        "context": {
            "facilityType": concept("http://snomed.info/sct", "22232009", "Hospital"),
            "practiceSetting": concept("http://snomed.info/sct", "408443003", "General medical practice"),
            "period": {"start": "2026-03-01T09:00:00Z", "end": "2026-03-01T09:30:00Z"},
        },
    } | changes
    return {key: value for key, value in whole.items() if value is not None}


def submission_set(items: list[str], **changes: Any) -> dict[str, Any]:
    whole = {
        "resourceType": "List",
        "extension": [
            {
                "url": f"{MHD}/ihe-designationType",
                "valueCodeableConcept": concept("http://snomed.info/sct", "225728007"),
            },
            {"url": f"{MHD}/ihe-sourceId", "valueIdentifier": {"value": "urn:oid:2.999.10.2"}},
        ],
        "status": "current",
        "mode": "working",
        "code": {
            "coding": [{"system": "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes", "code": "submissionset"}]
        },
        "subject": {"identifier": {"system": f"urn:oid:{world.HOSPITAL_AUTHORITY}", "value": "P1"}},
        "date": "2026-03-01T11:00:00Z",
        "entry": [{"item": {"reference": item}} for item in items],
    } | changes
    return {key: value for key, value in whole.items() if value not in (None, [])}


def provide_bundle(
    data: bytes = b"Hello", content_type: str = "text/plain", *, level: str = "Minimal", **changes: Any
) -> dict[str, Any]:
    """A Provide Document Bundle of one document."""
    document, binary = f"urn:uuid:{uuid.uuid4()}", f"urn:uuid:{uuid.uuid4()}"
    reference = document_reference(data, binary, **changes)
    reference["content"][0]["attachment"]["contentType"] = content_type
    payload = {"resourceType": "Binary", "contentType": content_type, "data": base64.b64encode(data).decode()}
    if not payload["data"]:
        del payload["data"]
    return bundle_of(
        ("List", f"urn:uuid:{uuid.uuid4()}", submission_set([document])),
        ("DocumentReference", document, reference),
        ("Binary", binary, payload),
        level=level,
    )


def bundle_of(*entries: tuple[str, str, dict[str, Any]], level: str = "Minimal") -> dict[str, Any]:
    return {
        "resourceType": "Bundle",
        "meta": {"profile": [f"{MHD}/IHE.MHD.{level}.ProvideBundle"]},
        "type": "transaction",
        "entry": [
            {"fullUrl": full_url, "resource": resource, "request": {"method": "POST", "url": kind}}
            for kind, full_url, resource in entries
        ],
    }
