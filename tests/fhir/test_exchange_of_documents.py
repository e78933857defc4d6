"""MHD end to end: published by the hospital, found and read by the clinic."""

from __future__ import annotations

import pytest

from tests.fhir.conftest import World, provide_bundle

pytestmark = pytest.mark.django_db


def publish(world: World, data: bytes = b"Hello", **changes):
    answer = world.hospital.post("", provide_bundle(data, **changes))
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_a_document_published_by_one_is_found_and_read_by_another(hub_world):
    response = publish(hub_world)
    assert [entry["response"]["status"] for entry in response["entry"]] == ["201 Created"] * 3
    found = hub_world.clinic.get(f"/DocumentReference?patient=Patient/{hub_world.person}&status=current")
    assert found.status_code == 200, found.content
    bundle = found.json()
    assert bundle["total"] == 1
    resource = bundle["entry"][0]["resource"]
    assert bundle["entry"][0]["fullUrl"] == f"https://hub.example/fhir/DocumentReference/{resource['id']}"
    content = hub_world.clinic.get(resource["content"][0]["attachment"]["url"])
    assert content.status_code == 200
    assert content.getvalue() == b"Hello"
    assert content["Content-Type"] == "text/plain"
