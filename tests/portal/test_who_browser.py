"""Who could see a document, in Chromium: accessible and without sideways scrolling, in three languages, and by keyboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from consent import directives
from consent.directives import Filer
from consent.owners import Capacity
from documents.models import DocumentEntry
from hie.directory import registration
from patients import identifiers
from tests.directory.forms import file
from tests.exchange.releasing import choice
from tests.portal.conftest import world
from tests.portal.test_browser import Browsing, browsing, pytestmark
from tests.portal.test_choices import PAYER, publish

__all__ = ["browsing", "pytestmark"]


@pytest.fixture(autouse=True)
def _store(settings: Any, tmp_path: Path) -> None:
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"


def test_who_could_see_a_document_is_accessible_in_every_language_and_reached_by_keyboard(browsing: Browsing) -> None:
    alice = world()
    registration.apply(file(PAYER))
    publish(1, "A letter with a rather long title about something that took the whole afternoon", ("HIV",), "20260301")
    resource: dict[str, Any] = {**choice("deny"), "dateTime": "2026-05-03"}
    filer = Filer(actor="Patient", capacity=Capacity.PATIENT)
    directives.file(resource, identifier_pk=identifiers.anchor(alice).pk, filer=filer)
    browsing.sign_in()
    browsing.open("/my/documents")
    page = browsing.page
    way = f"a[href$='/{DocumentEntry.objects.get().entry_uuid}/who']"
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("way => document.activeElement.matches(way)", way):
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/who")
    assert "your choice of 3 May 2026" in page.inner_text("main")
    browsing.hold("who", fully=True)
    here = page.url.removeprefix(browsing.server)
    for language in ("es", "ar"):
        page.click(f"button[lang={language}]")
        browsing.open(here)
        browsing.hold(f"who-{language}")
