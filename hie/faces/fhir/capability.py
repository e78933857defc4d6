"""The CapabilityStatement, generated from the routing table.

Source: spec/fhir.md 12.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from django.conf import settings

from hie.faces.fhir.resources import Interaction, Resource, resources, system_operations
from hie.standards.fhir import JsonObject
from hie.trust import discovery

_DATE = "2026-11-22"
_IHE = "https://profiles.ihe.net/ITI"
MHD_INSTANTIATES = (
    f"{_IHE}/MHD/CapabilityStatement/IHE.MHD.DocumentRecipient",
    f"{_IHE}/MHD/CapabilityStatement/IHE.MHD.DocumentRecipient.Comprehensive",
    f"{_IHE}/MHD/CapabilityStatement/IHE.MHD.DocumentRecipient.UnContained",
    f"{_IHE}/MHD/CapabilityStatement/IHE.MHD.DocumentRecipient.Simplified",
)


@cache
def statement() -> JsonObject:
    """What this server does, by the tables that do it."""
    table = resources()
    instantiates = list(dict.fromkeys([*MHD_INSTANTIATES, *(url for r in table.values() for url in r.instantiates)]))
    return {
        "resourceType": "CapabilityStatement",
        "id": "hub",
        "url": f"{settings.BASE_URL}/fhir/metadata",
        "version": str(getattr(settings, "VERSION", "0.1.0")),
        "name": "HealthInformationExchangeHub",
        "title": "Health information exchange hub",
        "status": "active",
        "date": _DATE,
        "kind": "instance",
        "instantiates": instantiates,
        "software": {"name": "hub", "version": str(getattr(settings, "VERSION", "0.1.0"))},
        "implementation": {"description": "The hub", "url": f"{settings.BASE_URL}/fhir"},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
        "rest": [
            {
                "mode": "server",
                "security": _security(),
                "resource": [_resource(resource) for resource in table.values()],
                "interaction": [{"code": "transaction", "documentation": "Provide Document Bundle [ITI-65]"}],
                "operation": [
                    {"name": op.name, "definition": op.definition, "documentation": op.interaction.documentation}
                    for op in system_operations().values()
                ],
            }
        ],
    }


def smart_configuration() -> JsonObject:
    """The SMART discovery document."""
    return dict(discovery.smart_configuration())


def _security() -> JsonObject:
    known = discovery.smart_configuration()
    uris = [{"url": "token", "valueUri": known["token_endpoint"]}]
    if known.get("introspection_endpoint"):
        uris.append({"url": "introspect", "valueUri": known["introspection_endpoint"]})
    return {
        "extension": [
            {"url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris", "extension": uris}
        ],
        "cors": False,
        "service": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                        "code": "SMART-on-FHIR",
                    }
                ]
            }
        ],
    }


def _resource(resource: Resource) -> JsonObject:
    names: list[tuple[str, Interaction | None]] = [
        ("read", resource.read),
        ("vread", resource.vread),
        ("history-instance", resource.history),
        ("update", resource.update),
        ("delete", resource.delete),
        ("search-type", resource.search),
        ("create", resource.create),
    ]
    if resource.update is None:
        names.append(("update", resource.conditional_update))
    if resource.delete is None:
        names.append(("delete", resource.conditional_delete))
    declared: JsonObject = {
        "type": resource.type,
        "profile": resource.profile,
        "supportedProfile": list(resource.supported_profiles),
        "documentation": resource.documentation,
        "interaction": [_interaction(code, found) for code, found in names if found is not None],
        "versioning": "versioned",
        "readHistory": resource.vread is not None,
        "updateCreate": False,
        "conditionalCreate": resource.create is not None and resource.search is not None,
        "conditionalRead": "not-supported",
        "conditionalUpdate": resource.conditional_update is not None,
        "conditionalDelete": "single" if resource.conditional_delete is not None else "not-supported",
        "searchInclude": list(resource.includes),
        "searchParam": [
            {
                "name": param.name,
                "definition": param.definition,
                "type": param.type.value,
                "documentation": param.documentation,
            }
            for param in resource.params
            if "." not in param.name
        ],
        "operation": [{"name": op.name, "definition": op.definition} for op in resource.operations],
    }
    kept: JsonObject = _without_empty(declared)
    return kept


def _interaction(code: str, interaction: Interaction) -> JsonObject:
    words = interaction.documentation or ", ".join(f"[{name}]" for name in interaction.transactions)
    return {"code": code, "documentation": words} if words else {"code": code}


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_empty(v) for k, v in value.items() if v not in ("", [], {}, None)}
    if isinstance(value, list):
        return [_without_empty(item) for item in value]
    return value
