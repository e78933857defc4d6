"""The worked cases through each decision service, on a hub that has the fixture loaded."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from documents.models import DocumentEntry
from hie.audit.models import AuditEvent
from hie.directory.models import Participant
from hie.exchange import access
from tests.conftest import SHARED
from tests.decisions import asking
from tests.decisions.asking import CDS, FHIR, XACML
from tests.decisions.loaded import Hub

pytestmark = pytest.mark.django_db
OWN = Path(__file__).parents[1] / "consent/cases.json"
POINT = "point"
"""An enforcement point of the exchange: not one of the fixture, so that it changes none of its decisions."""


@cache
def cases(path: Path) -> Any:
    return json.loads(path.read_text())


def loaded(path: Path) -> tuple[Hub, list[dict[str, Any]]]:
    data = copy.deepcopy(cases(path))
    fixture = data["fixture"]
    fixture["organizations"][POINT] = {
        "type": "hospital",
        "jurisdiction": "JA",
        "agreement": {"status": "active", "period": {"start": "2020"}, "purposes": ["TREAT"]},
    }
    # What no hub can have in store is for the pure engine: tests/consent/test_worked_cases.py.
    usable = [case for case in data["cases"] if "fixtureOverride" not in case and isinstance(case.get("request"), dict)]
    return Hub(fixture, points=frozenset({POINT})), usable


def expected(case: dict[str, Any]) -> list[dict[str, Any]]:
    found = case["expected"]
    return list(found["documents"].values()) if "documents" in found else [found]


def documents(case: dict[str, Any]) -> list[dict[str, Any]]:
    return case["documents"] if "documents" in case else [case["document"]]


@pytest.mark.shared
def test_every_worked_case_is_decided_alike_over_every_face(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, listed = loaded(SHARED / "data/consent/worked_cases.json")
    assert len(listed) == 62
    token = hub.token(POINT)
    real = access.now
    for case in listed:
        hub.consents(case)
        hub.grants(case)
        request, person = hub.in_hub(case["request"]), hub.persons[case["patient"]]
        kept = hub.documents(case)
        wanted = expected(case)
        by_reference = asking.post(FHIR, asking.parameters(person, request, list(kept.values()), case["now"]), token)
        assert asking.told(by_reference) == wanted, case["id"]
        stated = [(asking.reference_of(one), one.get("labelled", True)) for one in documents(case)]
        by_metadata = asking.post(FHIR, asking.parameters(person, request, stated, case["now"]), token)
        assert asking.told(by_metadata) == wanted, case["id"]
        for one, entry in zip(wanted, kept.values(), strict=True):
            answer = asking.post(XACML, asking.xacml(person, request, entry, case["now"]), token)
            (result,) = answer.json()["Response"]
            word = {"G1": "Indeterminate", "F3": "NotApplicable"}.get(
                one["rule"], {"permit": "Permit", "deny": "Deny"}[one["decision"]]
            )
            assert result["Decision"] == word, case["id"]
            codes = [item["Id"].rpartition(":")[2] for item in result.get("Obligations", ())]
            assert codes == one["obligations"], case["id"]
            assert result["PolicyIdentifierList"]["PolicyIdReference"][0] == {"Id": f"urn:hie:rule:{one['rule']}"}
        if request.get("relationship") or any("derivedFrom" in one for one in documents(case)):
            # The context of the hook has no place for a relationship; and the sources of a derived document are on file too.
            DocumentEntry.objects.update(patient_identifier=hub.pk("pat-leo"))
            continue
        monkeypatch.setattr(access, "now", real)
        at_case = case["now"]
        identifier = (
            f"urn:oid:{hub.authority(hub.holder(hub.fixture['patients'][case['patient']]['jurisdiction']))}",
            case["patient"],
        )
        asked = asking.consult(identifier, request)
        asked["context"]["actor"][0] = {"system": "urn:ietf:rfc:3986", "value": oid_of(request["org"])}
        with monkeypatch.context() as frozen:
            asking.at(frozen, at_case)
            answer = asking.post(CDS, asked, token)
        (card,) = answer.json()["cards"]
        permitted = [one for one in wanted if one["decision"] == "permit"]
        first = (permitted or wanted)[0]
        summary = (
            "NO_CONSENT" if first["rule"] in ("F1", "F2", "F3") else "CONSENT_PERMIT" if permitted else "CONSENT_DENY"
        )
        assert (card["summary"], card["extension"]["decision"], card["extension"]["rule"]) == (
            summary,
            first["decision"],
            first["rule"],
        ), case["id"]
        codes = [item["id"]["code"] for item in card["extension"]["obligations"]]
        redacted = ["REDACT"] if permitted and len(permitted) < len(wanted) else []
        assert codes == [*first["obligations"], *redacted], case["id"]
        DocumentEntry.objects.update(patient_identifier=hub.pk("pat-leo"))
    kinds = set(AuditEvent.objects.values_list("kind", flat=True))
    assert {"consent-decision", "decision-simulated"} <= kinds


def oid_of(organization: str) -> str:
    return f"urn:oid:{Participant.objects.get(id=organization).organization_oid}"


def test_the_repositorys_own_cases_are_decided_alike_by_reference_and_by_metadata() -> None:
    hub, listed = loaded(OWN)
    token = hub.token(POINT)
    done = 0
    for case in listed:
        request = hub.in_hub(case["request"])
        if any(
            not isinstance(request.get(name), str) or not request[name]
            for name in ("org", "user", "role", "purpose", "operation")
        ):
            continue
        if any(
            set(one)
            - {
                "id",
                "patient",
                "custodian",
                "confidentiality",
                "labels",
                "class",
                "codes",
                "created",
                "labelled",
                "serviceStart",
                "serviceStop",
                "derivedFrom",
            }
            for one in documents(case)
        ):
            continue
        if any(source["patient"] != one["patient"] for one in documents(case) for source in one.get("derivedFrom", ())):
            continue
        hub.consents(case)
        hub.grants(case)
        person = hub.persons[case["patient"]]
        wanted = expected(case)
        kept = list(hub.documents(case).values())
        answer = asking.post(FHIR, asking.parameters(person, request, kept, case["now"]), token)
        assert asking.told(answer) == wanted, case["id"]
        done += 1
    assert done > 40
