"""A patient as a use case gives it to the Patient resource of IHE.PDQm.Patient."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from hie.exchange.identity import KnownPatient, hub_identifier
from hie.standards import fhir_patient
from hie.standards.demographics import Demographics
from hie.standards.fhir import JsonObject, instant_text
from patients.demographics import SourceRecordView

PROFILE = "https://profiles.ihe.net/ITI/PDQm/StructureDefinition/IHE.PDQm.Patient"
_NOT_OURS = ("link", "contained", "modifierExtension", "implicitRules", "text")


def patient_json(patient: KnownPatient) -> JsonObject:
    """A person over the records that the caller may see."""
    body = fhir_patient.to_fhir(patient.demographics)
    body = _resource(body, patient.person_id, patient.version, patient.updated_at, active=patient.active)
    if patient.replaced_by is not None:
        body["link"] = [{"other": {"reference": f"Patient/{patient.replaced_by}"}, "type": "replaced-by"}]
    return body


def record_json(record: SourceRecordView, person_id: UUID) -> JsonObject:
    """A source record as answered to the organization that fed it: its own words, under the person's id."""
    body = fhir_patient.to_fhir(record.demographics)
    hub = fhir_patient.identifier_to_fhir(hub_identifier(person_id))
    body["identifier"] = [hub, *body.get("identifier", [])]
    active = record.active and record.demographics.active is not False
    return _resource(body, person_id, record.version, record.updated_at, active=active)


_DECIMAL = "__decimal__"


def demographics_from(resource: JsonObject) -> Demographics:
    """A Patient as demographics that can be stored as JSON: decimals of extensions keep their digits.

    Raises:
        MalformedContent: `element` names what does not fit the resource.
    """
    return fhir_patient.from_fhir(_storable(resource))


def _storable(value: Any) -> Any:
    if isinstance(value, Decimal):
        return {_DECIMAL: str(value)}
    if isinstance(value, dict):
        return {key: _storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return value


def _as_sent(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_DECIMAL}:
            return Decimal(value[_DECIMAL])
        return {key: _as_sent(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_sent(item) for item in value]
    return value


def _resource(body: JsonObject, person_id: UUID, version: int, updated_at: datetime, *, active: bool) -> JsonObject:
    kept = {key: _as_sent(value) for key, value in body.items() if key not in _NOT_OURS and key != "resourceType"}
    kept["name"] = [name for name in kept.get("name", []) if name] or [
        {
            "extension": [
                {
                    "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
                    "valueCode": "unknown",
                }
            ]
        }
    ]
    kept["active"] = active
    meta = {"versionId": str(version), "lastUpdated": instant_text(updated_at), "profile": [PROFILE]}
    return {"resourceType": "Patient", "id": str(person_id), "meta": meta, **kept}
