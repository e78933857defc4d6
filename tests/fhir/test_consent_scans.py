"""A scanned consent is a document: encrypted, linked, and read under the rules for the consent."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from django.conf import settings

from consent.models import Consent
from documents.models import Binary, DocumentEntry
from patients import identifiers
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
        ({"size": 2}, "Consent.sourceAttachment.size"),
        ({"hash": "AAAA"}, "Consent.sourceAttachment.hash"),
        ({"data": "QQ=="}, "Consent.sourceAttachment.data"),
        ({"data": "/9j/4AAQ"}, "Consent.sourceAttachment.data"),
        ({"data": "PGh0bWw+PC9odG1sPg=="}, "Consent.sourceAttachment.data"),
        ({"contentType": "image/png"}, "Consent.sourceAttachment.data"),
        ({"contentType": "text/html", "data": "PGh0bWw+PC9odG1sPg=="}, "Consent.sourceAttachment.contentType"),
        ({"contentType": "image/svg+xml"}, "Consent.sourceAttachment.contentType"),
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


PICTURES = {
    "image/jpeg": b"\xff\xd8\xff\xe0 paper",
    "image/png": b"\x89PNG\r\n\x1a\n paper",
    "image/tiff": b"II*\x00 paper",
    "Application/PDF; version=1.7": PAPER,
}


@pytest.mark.parametrize("content_type", PICTURES)
def test_a_scan_may_be_a_picture(hub_world: Any, content_type: str) -> None:
    body = scanned(hub_world.person, PICTURES[content_type])
    body["sourceAttachment"]["contentType"] = content_type
    assert hub_world.hospital.post("/Consent", body).status_code == 201
    assert DocumentEntry.objects.get().mime_type == content_type.partition(";")[0].lower()


def put(world: Any, body: dict[str, Any]) -> Any:
    return world.hospital.call("PUT", f"/Consent/{body['id']}", body, content_type=JSON)


def test_the_same_paper_sent_again_is_no_second_document_and_another_replaces_it(hub_world: Any) -> None:
    filed = hub_world.hospital.post("/Consent", scanned(hub_world.person)).json()
    attachment = filed["sourceAttachment"]
    again = put(hub_world, {**scanned(hub_world.person), "id": filed["id"]})
    assert again.status_code == 200, again.content
    assert again.json()["sourceAttachment"] == attachment
    assert DocumentEntry.objects.count() == 1
    other = put(hub_world, {**scanned(hub_world.person, PAPER + b" Again"), "id": filed["id"]})
    assert other.status_code == 200, other.content
    assert other.json()["sourceAttachment"]["url"] != attachment["url"]
    found = DocumentEntry.objects.order_by("pk").values_list("availability_status", flat=True)
    assert [one.rpartition(":")[2] for one in found] == ["Deprecated", "Approved"]
    # What an earlier version was signed on may be taken up again by its reference.
    back = put(hub_world, {**other.json(), "sourceAttachment": attachment})
    assert back.status_code == 200, back.content
    assert DocumentEntry.objects.count() == 2


def test_a_more_secret_version_makes_the_paper_as_secret_and_a_less_secret_one_leaves_it(hub_world: Any) -> None:
    filed = hub_world.hospital.post("/Consent", scanned(hub_world.person)).json()
    url = filed["sourceAttachment"]["url"]
    assert hub_world.clinic.get(f"/{url}").status_code == 200
    secret = {"type": "permit", "provision": [{"type": "deny", "securityLabel": [LABEL]}]}
    assert put(hub_world, {**filed, "provision": secret}).status_code == 200
    entry = DocumentEntry.objects.get()
    assert (entry.confidentiality, sorted(entry.labels), entry.label_version) == ("R", ["PSY"], 2)
    assert hub_world.clinic.get(f"/Consent/{filed['id']}").status_code == 404
    assert hub_world.clinic.get(f"/{url}").status_code == 404
    assert put(hub_world, filed).status_code == 200
    entry.refresh_from_db()
    assert (entry.confidentiality, sorted(entry.labels)) == ("R", ["PSY"])


def test_the_paper_of_a_consent_that_ends_is_deprecated_and_its_bytes_stay(hub_world: Any) -> None:
    filed = hub_world.hospital.post("/Consent", scanned(hub_world.person)).json()
    ended = put(hub_world, {**filed, "status": "inactive"})
    assert ended.status_code == 200, ended.content
    assert DocumentEntry.objects.get().availability_status.endswith("Deprecated")
    found = hub_world.hospital.get(f"/DocumentReference?patient={hub_world.person}&status=current").json()
    assert found["total"] == 0
    assert b"".join(hub_world.hospital.get(f"/{filed['sourceAttachment']['url']}").streaming_content) == PAPER


def test_an_attachment_names_nothing_that_this_hub_writes_but_what_it_wrote_into_the_same_consent(
    hub_world: Any,
) -> None:
    """Neither bytes nor documents of anybody can be named, and hidden ones are refused like those that are not there."""
    filed = hub_world.hospital.post("/Consent", scanned(hub_world.person)).json()
    theirs = filed["sourceAttachment"]
    answers = []
    for attachment, element in (
        ({"url": theirs["url"]}, "url"),
        ({"url": "Binary/00000000-0000-4000-8000-000000000000"}, "url"),
        ({"url": f"{settings.BASE_URL}/fhir/Binary/1"}, "url"),
        ({"url": "javascript:alert(1)"}, "url"),
        ({"url": 7}, "url"),
        ({"extension": theirs["extension"]}, "extension[0]"),
        (theirs, "extension[0]"),
    ):
        body = consent(hub_world.person, decision="permit", sourceAttachment=attachment)
        answer = hub_world.hospital.post("/Consent", body)
        assert answer.status_code in (400, 422), (attachment, answer.content)
        told = {one for issue in answer.json()["issue"] for one in issue.get("expression", ())}
        assert f"Consent.sourceAttachment.{element}" in told, (attachment, told)
        answers.append(answer.json()["issue"][0].get("diagnostics"))
    assert answers[0] == answers[1]
    forged = {
        **theirs,
        "extension": [{**theirs["extension"][0], "valueReference": {"reference": "DocumentReference/1"}}],
    }
    assert put(hub_world, {**filed, "sourceAttachment": forged}).status_code == 422
    elsewhere = {"url": "https://clinic.example/forms/7.pdf", "contentType": "application/pdf"}
    body = consent(hub_world.person, decision="permit", sourceAttachment=elsewhere)
    assert hub_world.hospital.post("/Consent", body).json()["sourceAttachment"] == elsewhere


def test_the_paper_has_the_custodian_of_its_consent(hub_world: Any) -> None:
    assert hub_world.hospital.post("/Consent", scanned(hub_world.person)).status_code == 201
    owner = identifiers.by_pk({Consent.objects.get().identifier_id})[Consent.objects.get().identifier_id]
    assert DocumentEntry.objects.get().custodian == owner.participant_id
