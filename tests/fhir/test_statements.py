"""What a register, a match and a search cost in statements: a constant number, however large the index is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hie.trust import token_service
from patients.importing import import_file
from tests.exchange.world import CLINIC_AUTHORITY, HOSPITAL_AUTHORITY, caller, exchange, hospital_caller
from tests.patients.people_at_random import ndjson, people

pytestmark = pytest.mark.django_db(transaction=True)
FHIR = "application/fhir+json"


def bearer(who: Any) -> dict[str, str]:
    token = token_service.encode(who, tuple(who.scopes), now=timezone.now(), lifetime_s=300)
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


def test_register_match_and_search_cost_the_same_statements_small_and_large(settings: Any, tmp_path: Any) -> None:
    settings.HUB_KEYS_DIR = tmp_path / "keys"
    exchange()
    browser, hospital, clinic = Browser(), bearer(hospital_caller()), bearer(caller())
    asked = people(12, seed=21, authority=HOSPITAL_AUTHORITY)
    fresh = iter(people(60, seed=22, authority=HOSPITAL_AUTHORITY))

    def register() -> None:
        resource = next(fresh)
        value = resource["identifier"][0]["value"]
        url = f"/fhir/Patient?identifier=urn:oid:{HOSPITAL_AUTHORITY}|{value}"
        answer = browser.put(url, data=json.dumps(resource), content_type=FHIR, **hospital)  # type: ignore[arg-type]
        assert answer.status_code == 201, answer.content

    def match() -> None:
        resource = {k: v for k, v in asked[0].items() if k != "identifier"}
        answer = browser.post("/fhir/Patient/$match", data=json.dumps(resource), content_type=FHIR, **clinic)  # type: ignore[arg-type]
        assert answer.json()["total"] >= 1, answer.content

    def search() -> None:
        name = asked[0]["name"][0]
        answer = browser.get(f"/fhir/Patient?family={name['family']}&given={name['given'][0]}", **clinic)  # type: ignore[arg-type]
        assert answer.json()["total"] >= 1, answer.content

    def cost(act: Any) -> int:
        act()  # what a process learns once
        counts = []
        for _ in range(3):  # what it looks at again every few seconds falls into one of them at most
            with CaptureQueriesContext(connection) as seen:
                act()
            counts.append(len(seen))
        return min(counts)

    def grow(resources: list[dict[str, Any]], participant_id: str, name: str) -> None:
        path = tmp_path / name
        path.write_text(ndjson(resources))
        assert import_file(path, participant_id=participant_id).refused == 0

    grow(asked, "org-hospital", "small.ndjson")
    small = {act.__name__: cost(act) for act in (register, match, search)}
    assert small["register"] <= 20
    assert small["match"] <= 15
    assert small["search"] <= 16
    # The same people again at another organization, and many others.
    again = people(12, seed=21, authority=CLINIC_AUTHORITY)
    grow([*again, *people(600, seed=23, authority=CLINIC_AUTHORITY)], "org-clinic", "large.ndjson")
    assert {act.__name__: cost(act) for act in (register, match, search)} == small
