"""Wire and transactions together: what is provided over SOAP is found and retrieved there, and over FHIR, as it was sent."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from lxml import etree

from documents.models import Binary, DocumentEntry
from documents.stored_query import Kind
from hie.audit.models import AuditEvent
from hie.faces.soap.ebxml import names
from tests.exchange.world import CLINIC_AUTHORITY, exchange
from tests.grounds import ground
from tests.soap import messages, wire, world
from tests.soap.conftest import Answered, Caller, files
from tests.trust import conftest as trust

pytestmark = pytest.mark.django_db
LETTER = "Dear colleague,\r\n--not-a-boundary\r\n\u00e9\n".encode() * 4000


@ground
def ada_of_the_clinic() -> None:
    """Clinic and hospital, and the patient whom the clinic feeds."""
    exchange()
    world.feed_patient("P1")


@pytest.fixture(autouse=True)
def _real(hub: None, ada_of_the_clinic: None, monkeypatch: pytest.MonkeyPatch) -> None:
    wire.real(monkeypatch)


@pytest.fixture
def clinic(_real: None) -> Caller:
    return Caller(token=trust.token(), address="192.0.2.7")


def letter(**changes: Any) -> Any:
    values = {"entry_uuid": "Document01", "repository_unique_id": None, "hash": None, "size": None}
    return world.entry(**values | {"mime_type": "text/plain"} | changes)


def provided(caller: Caller, one: Any, data: bytes = LETTER) -> Answered:
    """ITI-41 of one document, as a part of the package."""
    body = etree.Element(names.tag(names.XDS, "ProvideAndRegisterDocumentSetRequest"), nsmap={"xds": names.XDS})
    body.append(world.registration(world.submission(one)))
    return wire.asked(caller, world.PROVIDE, body, {one.entry_uuid: data})


def status(answer: Answered) -> str:
    assert answer.status == 200, answer.reason
    found = next(one.get("status", "") for one in answer.root.iter() if "ResponseStatusType" in one.get("status", ""))
    return found.rpartition(":")[2]


def codes(answer: Answered) -> list[str]:
    return [one.get("errorCode", "") for one in answer.root.iter("{*}RegistryError")]


def test_a_document_provided_over_the_wire_is_the_same_by_every_way(clinic: Caller, settings: Any) -> None:
    one = letter()
    answer = provided(clinic, one)
    assert (status(answer), codes(answer)) == ("Success", []), etree.tostring(answer.root)
    assert answer.response.headers["Content-Type"].startswith("multipart/related")
    row = DocumentEntry.objects.get()
    assert (row.size, row.custodian, Binary.objects.count()) == (len(LETTER), "org-clinic", 1)

    slots = {"XDSDocumentEntryPatientId": world.cx(), "XDSDocumentEntryStatus": world.APPROVED}
    found = wire.asked(clinic, world.QUERY, world.asking(Kind.FIND_DOCUMENTS, slots))
    assert status(found) == "Success"
    (entry,) = found.root.iter(names.tag(names.RIM, "ExtrinsicObject"))
    assert entry.get("id") == f"urn:uuid:{row.entry_uuid}"

    pair = (settings.REPOSITORY_UNIQUE_ID, one.unique_id)
    got = wire.asked(clinic, world.RETRIEVE, world.retrieval(pair))
    assert status(got) == "Success"
    assert wire.retrieved(got) == {one.unique_id: LETTER}
    assert [element.text for element in got.root.iter("{*}mimeType")] == ["text/plain"]

    fhir = Client(headers={"Authorization": clinic.headers["HTTP_AUTHORIZATION"]})
    query = {"patient.identifier": f"urn:oid:{CLINIC_AUTHORITY}|P1", "status": "current"}
    bundle = fhir.get("/fhir/DocumentReference", query).json()
    (reference,) = (
        item["resource"] for item in bundle["entry"] if item["resource"]["resourceType"] != "OperationOutcome"
    )
    assert reference["masterIdentifier"]["value"] == f"urn:oid:{one.unique_id}"
    (content,) = reference["content"]
    url = content["attachment"]["url"].removeprefix("https://hub.example")
    shown = fhir.get(url, headers={"Accept": "text/plain"})
    assert (b"".join(shown) if shown.streaming else shown.content) == LETTER
    assert {"ITI-41", "ITI-18", "ITI-43"} <= set(AuditEvent.objects.values_list("kind", flat=True))


def test_a_document_that_came_inline_is_retrieved_as_it_was(clinic: Caller, settings: Any) -> None:
    one = letter()
    body = etree.Element(names.tag(names.XDS, "ProvideAndRegisterDocumentSetRequest"), nsmap={"xds": names.XDS})
    body.append(world.registration(world.submission(one)))
    etree.SubElement(body, names.tag(names.XDS, "Document"), {"id": one.entry_uuid}).text = messages.inline(LETTER)
    assert status(wire.asked(clinic, world.PROVIDE, body)) == "Success"
    got = wire.asked(clinic, world.RETRIEVE, world.retrieval((settings.REPOSITORY_UNIQUE_ID, one.unique_id)))
    assert wire.retrieved(got) == {one.unique_id: LETTER}


def test_nothing_stays_of_a_document_whose_metadata_is_refused(clinic: Caller) -> None:
    answer = provided(clinic, letter(type_code=None))
    assert (status(answer), codes(answer)) == ("Failure", ["XDSRepositoryMetadataError"])
    assert (DocumentEntry.objects.count(), Binary.objects.count(), files()) == (0, 0, [])


def test_what_is_nowhere_is_an_error_of_the_answer_and_no_fault(clinic: Caller, settings: Any) -> None:
    got = wire.asked(clinic, world.RETRIEVE, world.retrieval((settings.REPOSITORY_UNIQUE_ID, "2.999.404")))
    assert (status(got), codes(got), got.parts) == ("Failure", ["XDSDocumentUniqueIdError"], {})


def test_metadata_is_removed_and_bytes_are_kept_until_they_are_too(clinic: Caller, settings: Any) -> None:
    """The wire discards what a message brought and nobody took, and nothing else."""
    one = letter()
    assert status(provided(clinic, one)) == "Success"
    row = DocumentEntry.objects.get()
    everything = wire.asked(
        clinic, world.QUERY, world.asking(Kind.GET_SUBMISSION_SETS, {"uuid": f"('urn:uuid:{row.entry_uuid}')"})
    )
    ids = [
        el.get("id", "") for kind in ("RegistryPackage", "Association") for el in everything.root.iter(f"{{*}}{kind}")
    ]
    body = etree.Element(names.tag(names.LCM, "RemoveObjectsRequest"), nsmap={"lcm": names.LCM})
    listed = etree.SubElement(body, names.tag(names.RIM, "ObjectRefList"), nsmap=names.NSMAP)
    for object_id in (*ids, f"urn:uuid:{row.entry_uuid}"):
        etree.SubElement(listed, names.tag(names.RIM, "ObjectRef"), {"id": object_id})
    removed = wire.asked(clinic, "urn:ihe:iti:2010:DeleteDocumentSet", body)
    assert (status(removed), codes(removed)) == ("Success", [])
    assert (DocumentEntry.objects.count(), Binary.objects.count()) == (0, 1)

    body = etree.Element(names.tag(names.RMD, "RemoveDocumentsRequest"), nsmap={"rmd": names.RMD})
    body.extend(list(world.retrieval((settings.REPOSITORY_UNIQUE_ID, one.unique_id))))
    gone = wire.asked(clinic, "urn:ihe:iti:2017:RemoveDocuments", body)
    assert (status(gone), codes(gone), Binary.objects.count()) == ("Success", [], 0)
