"""A scanned consent is a document: encrypted, linked, and read under the rules for the consent."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from consent.models import Consent
from documents.models import Binary, DocumentEntry
from tests.fhir.conftest import JSON
from tests.fhir.test_consents import consent

pytestmark = pytest.mark.django_db
PAPER = b"%PDF-1.7 I agree. Rosamund"
LABEL = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "PSY"}


def scanned(person: str, content: bytes = PAPER, **changes: Any) -> dict[str, Any]:
    attachment = {"contentType": "application/pdf", "title": "Signed form", "data": base64.b64encode(content).decode()}
    made: dict[str, Any] = consent(person, decision="permit", sourceAttachment=attachment)
    return made | changes


def test_a_scan_is_kept_as_a_document_and_never_in_the_consent(hub_world: Any) -> None:
    filed = hub_world.hospital.post("/Consent", scanned(hub_world.person))
    assert filed.status_code == 201, filed.content
    attachment = filed.json()["sourceAttachment"]
    assert "data" not in attachment
    assert attachment["size"] == len(PAPER)
    assert attachment["hash"] == base64.b64encode(hashlib.sha1(PAPER, usedforsecurity=False).digest()).decode()
    entry = DocumentEntry.objects.get()
    assert attachment["extension"][0]["valueReference"]["reference"] == f"DocumentReference/{entry.entry_uuid}"
    assert attachment["url"] == f"Binary/{entry.binary_id}"
    stored = json.dumps(Consent.objects.get().resource)
    assert base64.b64encode(PAPER).decode()[:12] not in stored
    read = hub_world.clinic.get(f"/{attachment['url']}")
    assert b"".join(read.streaming_content) == PAPER
    found = hub_world.clinic.get(f"/DocumentReference?patient={hub_world.person}&status=current").json()
    assert [one["resource"]["content"][0]["attachment"]["title"] for one in found["entry"]] == ["Signed form"]
    # What is sent back as it was read keeps the scan and makes no other.
    again = hub_world.hospital.call("PUT", f"/Consent/{filed.json()['id']}", filed.json(), content_type=JSON)
    assert again.status_code == 200, again.content
    assert again.json()["sourceAttachment"] == attachment
    assert DocumentEntry.objects.count() == 1


def test_who_may_not_see_the_consent_does_not_see_its_scan(hub_world: Any) -> None:
    secret = {"type": "permit", "provision": [{"type": "deny", "securityLabel": [LABEL]}]}
    filed = hub_world.hospital.post("/Consent", scanned(hub_world.person, provision=secret))
    assert filed.status_code == 201, filed.content
    entry = DocumentEntry.objects.get()
    assert (entry.confidentiality, sorted(entry.labels)) == ("R", ["PSY"])
    url = filed.json()["sourceAttachment"]["url"]
    assert hub_world.clinic.get(f"/Consent/{filed.json()['id']}").status_code == 404
    hidden, absent = (
        hub_world.clinic.get(f"/Binary/{one}") for one in (url[7:], "00000000-0000-4000-8000-000000000000")
    )
    assert hidden.status_code == absent.status_code == 404
    assert hidden.content.decode().replace(url[7:], "x") == absent.content.decode().replace(
        "00000000-0000-4000-8000-000000000000", "x"
    )
    assert hub_world.clinic.get(f"/DocumentReference?patient={hub_world.person}&status=current").json()["total"] == 0
    assert b"".join(hub_world.hospital.get(f"/{url}").streaming_content) == PAPER


@pytest.mark.parametrize(
    ("change", "element"),
    [
        ({"data": "no base64!"}, "Consent.sourceAttachment.data"),
        ({"data": "QQ==", "size": 2}, "Consent.sourceAttachment.size"),
        ({"data": "QQ==", "hash": "AAAA"}, "Consent.sourceAttachment.hash"),
        ({"contentType": "pdf"}, "Consent.sourceAttachment.contentType"),
        ({"url": "Binary/1"}, "Consent.sourceAttachment.url"),
    ],
)
def test_a_scan_that_is_not_what_it_says_is_refused_by_element_and_nothing_is_stored(
    hub_world: Any, change: dict[str, Any], element: str
) -> None:
    body = scanned(hub_world.person)
    body["sourceAttachment"] |= change
    answer = hub_world.hospital.post("/Consent", body)
    assert answer.status_code in (400, 422), answer.content
    assert element in {one for issue in answer.json()["issue"] for one in issue.get("expression", ())}
    assert not Consent.objects.exists()
    assert not DocumentEntry.objects.exists()


def test_a_consent_that_is_refused_leaves_no_document(hub_world: Any) -> None:
    bad = {"type": "permit", "purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "X"}]}
    answer = hub_world.hospital.post("/Consent", scanned(hub_world.person, provision=bad))
    assert answer.status_code == 422, answer.content
    assert not DocumentEntry.objects.exists()
    checked = hub_world.hospital.post("/Consent/$validate", scanned(hub_world.person))
    assert checked.status_code == 200, checked.content
    assert not DocumentEntry.objects.exists()
    assert not Binary.objects.exists()
    # The one who files owns the bytes, so that there would be some to find.
    assert hub_world.hospital.post("/Consent", scanned(hub_world.person)).status_code == 201
    assert [one.owner for one in Binary.objects.all()] == ["org-hospital"]


def test_a_source_that_is_no_document_of_the_patient_is_refused_like_one_that_is_not_there(hub_world: Any) -> None:
    secret = {"type": "permit", "provision": [{"type": "deny", "securityLabel": [LABEL]}]}
    hub_world.hospital.post("/Consent", scanned(hub_world.person, provision=secret))
    hidden = str(DocumentEntry.objects.get().entry_uuid)
    answers = []
    for one in (hidden, "00000000-0000-4000-8000-000000000000"):
        body = consent(hub_world.person, decision="permit", sourceReference={"reference": f"DocumentReference/{one}"})
        # The clinic feeds a record of this patient only where the world says so; the hospital may see its own.
        told = hub_world.hospital.post("/Consent", body)
        answers.append(told.status_code)
    assert answers == [201, 422]
