"""Who could see a document: told to the patient in plain words, in every language, and to nobody else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from consent import directives
from consent.directives import Filer
from consent.owners import Capacity
from hie.audit.models import AuditEvent
from patients import identifiers
from tests.exchange.releasing import choice
from tests.portal.conftest import signed_in
from tests.portal.test_documents import letter  # noqa: F401 - a fixture
from tests.portal.test_log import text_of


def test_a_patient_reads_who_could_see_a_document_and_why(alice: str, letter: str) -> None:  # noqa: F811 - the fixture
    client = signed_in()
    listed = client.get("/my/documents").content.decode()
    assert f"/my/documents/{letter}/who" in listed
    before = text_of(client.get(f"/my/documents/{letter}/who").content)
    assert "Treatment" in before
    assert "It is their own record of you." in before
    assert "You and your helpers You Yes. This is you. Sam Delgado Yes. You let them act for you." in before
    pk = identifiers.anchor(alice).pk
    resource: dict[str, Any] = {**choice("deny"), "dateTime": "2026-05-03"}
    directives.file(resource, identifier_pk=pk, filer=Filer(actor="Patient", capacity=Capacity.PATIENT))
    after = text_of(client.get(f"/my/documents/{letter}/who").content)
    assert "No. Because of your choice of 3 May 2026." in after
    event = AuditEvent.objects.filter(kind="decision-simulated", person_id=alice).latest("at")
    assert event.detail["document"] == letter
    assert "You looked at who could see your record." in text_of(client.get("/my/?part=own").content)


@pytest.mark.parametrize(("language", "direction", "words"), [("es", "ltr", "Sí\\."), ("ar", "rtl", "[\u0600-\u06ff]")])
def test_the_page_is_there_in_every_language(
    alice: str,
    letter: str,  # noqa: F811 - the fixture of that name
    language: str,
    direction: str,
    words: str,
) -> None:
    client = signed_in()
    client.post("/my/language", {"language": language, "next": "/my/"})
    page = client.get(f"/my/documents/{letter}/who").content.decode()
    assert f'lang="{language}"' in page
    assert f'dir="{direction}"' in page
    assert re.search(words, page)
    assert "Who could see" not in page


def test_others_get_what_an_absent_document_gives(alice: str, letter: str, tmp_path: Path) -> None:  # noqa: F811 - the fixture
    absent = signed_in().get("/my/documents/0d0e3f0a-0000-4000-8000-000000000000/who")
    other = signed_in("sam").get(f"/my/documents/{letter}/who")
    assert (absent.status_code, other.status_code) == (404, 404)
    helper = signed_in("sam")
    people = re.findall(r'name="person" value="([^"]+)"', helper.get("/my/").content.decode())
    helper.post("/my/person", {"person": people[-1] if people else ""})
    assert helper.get(f"/my/documents/{letter}/who").status_code in (403, 404)
