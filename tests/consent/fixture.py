"""An invented exchange for consent cases, in the form of the case files, and builders for Consents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[2] / "consent" / "data"
CODES = json.loads((DATA / "codes.json").read_text())
LAW = json.loads((DATA / "jurisdictions.json").read_text())["jurisdictions"]
HL7 = "http://terminology.hl7.org/CodeSystem/"
NOW = "2026-06-15T12:00:00Z"


def agreement(*purposes: str, **more: Any) -> dict[str, Any]:
    return {"status": "active", "period": {"start": "2020"}, "purposes": list(purposes), **more}


FIXTURE: dict[str, Any] = {
    **{k: CODES[k] for k in ("hub", "purposeParent", "labelParent", "labelFloor", "roles")},
    "jurisdictions": LAW,
    "organizations": {
        "lake": {
            "type": "hospital",
            "jurisdiction": "JA",
            "identifiers": [{"system": "urn:oid:2.999.7", "value": "lake"}],
            "agreement": agreement("TREAT", "HPAYMT", "HOPERAT", "HRESCH", "BTG"),
            "releasePolicy": [
                {"id": "LK-1", "recipientTypes": ["payer"], "labels": ["HIV"], "absolute": False},
                {"id": "LK-2", "minConfidentiality": "V", "recipientTypes": ["research"], "absolute": True},
            ],
        },
        "lake-eye": {"partOf": "lake"},
        "lake-mind": {
            "partOf": "lake",
            "releasePolicy": [
                {"id": "LM-1", "labels": ["MH"], "exceptRecipients": ["lake", "hill"], "absolute": False}
            ],
        },
        "hill": {"type": "primary-care", "jurisdiction": "JA", "agreement": agreement("TREAT", "HOPERAT", "BTG")},
        "shore": {
            "type": "sud-program",
            "jurisdiction": "JA",
            "part2Program": True,
            "agreement": agreement("TREAT", "HPAYMT", "BTG"),
            "releasePolicy": [{"id": "SH-1", "classes": ["http://loinc.org|11488-4"], "absolute": True}],
        },
        "coin": {"type": "payer", "jurisdiction": "JA", "agreement": agreement("HPAYMT", "HOPERAT")},
        "call": {
            "type": "telehealth",
            "jurisdiction": "JA",
            "requiresRelationship": True,
            "agreement": agreement("TREAT", "BTG"),
        },
        "study": {"type": "research", "jurisdiction": "JA", "agreement": agreement("HRESCH")},
        "watch": {"type": "public-health", "jurisdiction": "JA", "agreement": agreement("PUBHLTH")},
        "guard": {"type": "law-enforcement", "jurisdiction": "JA", "agreement": agreement("HLEGAL")},
        "door": {"type": "patient-portal", "jurisdiction": "JA", "agreement": agreement("PATRQT")},
        "mer": {
            "type": "hospital",
            "jurisdiction": "JB",
            "agreement": agreement("TREAT", "HOPERAT", "BTG", period={"start": "2026", "end": "2026-12"}),
        },
        "asleep": {
            "type": "lab",
            "jurisdiction": "JA",
            "agreement": {"status": "suspended", "purposes": ["TREAT", "BTG"]},
        },
    },
    "patients": {
        "ada": {"birthDate": "1970-04-01", "jurisdiction": "JA", "linked": ["ada-old"]},
        "bea": {"birthDate": "1982-11-30", "jurisdiction": "JB"},
        "teo": {"birthDate": "2011-01-20", "jurisdiction": "JA"},
        "kit": {"birthDate": "2017-07-07", "jurisdiction": "JA"},
        "leap": {"birthDate": "2008-02-29", "jurisdiction": "JA"},
    },
}


def coding(system: str, code: str) -> dict[str, str]:
    return {"system": HL7 + system, "code": code}


def purposes(*codes: str) -> list[dict[str, str]]:
    return [coding("v3-ActReason", c) for c in codes]


def labels(*codes: str) -> list[dict[str, str]]:
    return [coding("v3-Confidentiality" if c in "ULMNRV" else "v3-ActCode", c) for c in codes]


def actor(role: str, **reference: Any) -> dict[str, Any]:
    return {"role": {"coding": [coding("v3-ParticipationType", role)]}, "reference": reference}


def to(reference: str) -> list[dict[str, Any]]:
    return [actor("IRCP", reference=reference)]


def node(kind: str | None, *children: dict[str, Any], **criteria: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"type": kind} if kind else {}
    made |= criteria
    return made | ({"provision": list(children)} if children else {})


def consent(provision: Any = None, patient: str = "ada", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "resourceType": "Consent",
        "id": "c",
        "status": "active",
        "scope": {"coding": [coding("consentscope", "patient-privacy")]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{patient}"},
        "dateTime": "2026-01-01",
    }
    if provision is not None:
        made["provision"] = provision
    return made | more


def rule(*codes: str) -> dict[str, Any]:
    return {"coding": [coding("v3-ActCode", c) for c in codes]}


def document(**more: Any) -> dict[str, Any]:
    return {
        "id": "d",
        "patient": "ada",
        "custodian": "lake",
        "confidentiality": "N",
        "labels": [],
        "class": ["http://loinc.org|34133-9"],
        "created": "2026-05-01T08:00:00Z",
    } | more


def request(**more: Any) -> dict[str, Any]:
    return {
        "org": "hill",
        "user": "Practitioner/ivo",
        "role": "physician",
        "purpose": "TREAT",
        "operation": "retrieve",
    } | more


def emergency(**more: Any) -> dict[str, Any]:
    grant = {
        "user": "Practitioner/ivo",
        "org": "hill",
        "patient": "ada",
        "start": "2026-06-15T11:00:00Z",
        "end": "2026-06-15T14:00:00Z",
        "status": "active",
        "reason": "LIFE-THREAT",
        "text": "collapsed in the waiting room",
    }
    return request(purpose="BTG", breakGlass=grant | more)


def case(*consents: Any, **more: Any) -> dict[str, Any]:
    made = {
        "id": "case",
        "now": NOW,
        "patient": "ada",
        "consents": list(consents),
        "request": request(),
        "document": document(),
    } | more
    if "documents" in made:
        made.pop("document")
    return made
