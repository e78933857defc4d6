"""What needs no HTTP: decisions of the engine through `./hub decide`, and rows appended to the log."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from hie.ops.bench.place import ROOT, Place

NAMES = ("decision", "audit")
CASES = 10_000


def run(name: str) -> dict[str, Any]:
    """Decide 10,000 generated cases through the command, less its start."""
    assert name == "decision"
    with tempfile.TemporaryDirectory() as folder:
        few, many = Path(folder, "few.json"), Path(folder, "many.json")
        few.write_text(json.dumps(_cases(10)))
        many.write_text(json.dumps(_cases(CASES)))
        start = _decide(few)
        took = _decide(many) - start
    each = took / CASES
    return {
        "name": name,
        "cpu_ms": round(each * 1000, 4),
        "rate_per_s": round(1 / each, 1),
        "p50_ms": round(each * 1000, 4),
        "p99_ms": round(each * 1000, 4),
        "ceiling": "LEAP 33,000/s, Cedar 20,600/s, in process",
        "note": f"{CASES} cases with a nested consent each, read, compiled and decided; mean in place of quantiles",
    }


def _decide(path: Path) -> float:
    began = time.perf_counter()
    subprocess.run([str(ROOT / "hub"), "decide", str(path)], check=True, capture_output=True, cwd=ROOT)
    return time.perf_counter() - began


def _cases(count: int) -> dict[str, Any]:
    fixture = {
        "jurisdictions": {
            "J": {
                "timezone": "America/New_York",
                "majorityAge": 18,
                "confidentialAge": 14,
                "confidentialLabels": ["SEX"],
                "breakGlassRefusal": True,
                "default": {"model": "opt-out", "purposes": ["TREAT"], "ceiling": "R", "excludeLabels": []},
                "consentRequired": [],
                "prohibitions": [],
                "mandates": [],
            }
        },
        "organizations": {
            name: {
                "type": "hospital",
                "jurisdiction": "J",
                "agreement": {"status": "active", "period": {"start": "2020-01-01"}, "purposes": ["TREAT"]},
            }
            for name in ("a", "b")
        },
        "patients": {"p": {"birthDate": "1980-05-05", "jurisdiction": "J"}},
    }
    from_fixture = json.loads((ROOT / "consent" / "data" / "codes.json").read_text())
    fixture |= {key: value for key, value in from_fixture.items() if key in _TABLES}
    return {"fixture": fixture, "cases": [_case(number) for number in range(count)]}


_TABLES = ("hub", "purposeParent", "labelParent", "labelFloor", "roles")


def _case(number: int) -> dict[str, Any]:
    deny = {
        "type": "deny",
        "securityLabel": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}],
    }
    return {
        "id": f"B{number}",
        "now": "2026-03-10T15:00:00Z",
        "patient": "p",
        "consents": [
            {
                "resourceType": "Consent",
                "status": "active",
                "scope": {
                    "coding": [
                        {"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}
                    ]
                },
                "patient": {"reference": "Patient/p"},
                "dateTime": "2026-01-15",
                "provision": {"type": "permit", "provision": [deny]},
            }
        ],
        "request": {
            "org": "a",
            "user": "Practitioner/x",
            "role": "physician",
            "purpose": "TREAT",
            "operation": "retrieve",
        },
        "document": {
            "id": "d",
            "patient": "p",
            "custodian": "b",
            "confidentiality": "RN"[number % 2],
            "labels": [],
            "class": ["http://loinc.org|34117-2"],
            "created": "2026-02-01T10:00:00Z",
        },
    }


def audit(place: Place) -> dict[str, Any]:
    """Append events with a disclosure each, one transaction an event, rolled back at the end of the run."""
    answer = json.loads(place.hub("audit_append", "--events", "2000").stdout.strip().splitlines()[-1])
    return {
        "name": "audit",
        "cpu_ms": answer["cpu_ms"],
        "rate_per_s": answer["rate_per_s"],
        "p50_ms": answer["p50_ms"],
        "p99_ms": answer["p99_ms"],
        "ceiling": "durable one-row transaction 3,500/s, one client",
        "note": "event and disclosure, one client",
    }
