"""My documents: the list and the bytes, through the door."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from documents.metadata import CX
from hie.audit.models import AuditEvent
from hie.exchange import submit
from hie.standards.facts import Caller
from tests.documents import samples
from tests.portal.conftest import signed_in
from tests.portal.test_log import text_of

ALICE_ID = CX(value="A1", authority="2.999.10.1.1")
CLINIC = Caller(
    participant_id="org-clinic",
    organization_id="org-clinic",
    client_id="org-clinic",
    user_id="Practitioner/ada",
    role="physician",
    purpose="TREAT",
    organization_name="The Clinic",
)


@pytest.fixture
def letter(alice: str, settings: Any, tmp_path: Path) -> str:
    """A text of the clinic about Alice; its entry's id."""
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"
    entry = samples.entry(
        patient_id=ALICE_ID, source_patient_id=ALICE_ID, title='Letter <b>of</b> "May"/..\\', mime_type="text/plain"
    )
    staged = submit.stage(b"Dear Alice", "text/plain", CLINIC)
    wanted = samples.submission(entry, contents={entry.entry_uuid: staged.id}, patient_id=ALICE_ID)
    receipt = submit.submit(wanted, CLINIC)
    return str(receipt.entry_uuids[0]).removeprefix("urn:uuid:")


def test_a_patient_finds_and_saves_a_document_and_reads_that_in_the_log(alice: str, letter: str) -> None:
    client = signed_in()
    page = client.get("/my/documents")
    text = text_of(page.content)
    assert 'Letter <b>of</b> "May"' in text
    assert "The Clinic" in text
    assert "1 document. You can read and save it." in text
    answer = client.get(f"/my/documents/{letter}/file")
    assert answer.getvalue() == b"Dear Alice"
    assert answer["Content-Disposition"] == 'attachment; filename="Letter-b-of-b-May.txt"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    kinds = set(AuditEvent.objects.filter(person_id=alice, user=f"Patient/{alice}").values_list("kind", flat=True))
    assert {"ITI-67", "ITI-68"} <= kinds
    assert "You opened your" in text_of(client.get("/my/").content)


def test_another_patient_and_a_stranger_get_what_an_absent_document_gives(alice: str, letter: str) -> None:
    absent = "00000000-0000-4000-8000-000000000000"
    other = signed_in("sam")
    assert other.get(f"/my/documents/{letter}/file").status_code == 404
    hidden, none = (text_of(other.get(f"/my/documents/{one}/file").content) for one in (letter, absent))
    assert hidden == none
    assert Client().get(f"/my/documents/{letter}/file").status_code == 302
    assert "There are no documents yet" in text_of(other.get("/my/documents").content)


def test_a_helper_saves_what_the_grant_reaches(alice: str, letter: str) -> None:
    client = signed_in("sam")
    client.post("/my/person", {"person": alice})
    assert "Documents of Rosa Delgado" in text_of(client.get("/my/documents").content)
    assert client.get(f"/my/documents/{letter}/file").getvalue() == b"Dear Alice"


@pytest.mark.parametrize("after", ["x", "||||", "%00", "9" * 500])
def test_whatever_stands_for_a_place_in_the_list_gives_a_page(alice: str, after: str) -> None:
    assert signed_in().get(f"/my/documents?after={after}").status_code in {200, 400, 404}
