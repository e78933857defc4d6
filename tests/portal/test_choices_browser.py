"""The pages of choices in Chromium: accessible and without sideways scrolling, in three languages, and by keyboard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from documents.models import DocumentEntry
from hie.directory import registration
from tests.directory.forms import file
from tests.portal.conftest import EVE, document, look, world
from tests.portal.test_browser import Browsing, browsing, pytestmark
from tests.portal.test_choices import PAYER, publish

__all__ = ["browsing", "pytestmark"]


@pytest.fixture(autouse=True)
def _store(settings: Any, tmp_path: Path) -> None:
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"


def opened(browsing: Browsing) -> None:
    """Signed in, on the page of choices, with documents that a choice makes a difference to."""
    alice = world()
    registration.apply(file(PAYER))
    publish(1, "Letter", (), "20250301")
    publish(2, "A visit with a rather long title about something that took the whole afternoon", ("MH",), "20260110")
    visit = DocumentEntry.objects.get(title__startswith="A visit")
    nurse = replace(EVE, participant_id="org-hospital", organization_id="org-hospital", client_id="org-hospital")
    look(alice, 60, nurse, disclosures=(document("Visit", document_id=str(visit.entry_uuid)),))
    browsing.sign_in()
    browsing.open("/my/consent/")


def unfold(browsing: Browsing) -> None:
    for summary in browsing.page.query_selector_all("main summary"):
        if summary.is_visible():
            summary.click()


def test_the_pages_of_choices_are_accessible_in_every_language(browsing: Browsing) -> None:
    opened(browsing)
    page = browsing.page
    browsing.hold("choices-first")
    unfold(browsing)
    page.check("input[name=treat][value=named]")
    page.click("main form button[type=submit]")
    assert page.title().startswith("Error: ")
    unfold(browsing)
    browsing.hold("choices-error")
    browsing.open("/my/consent/")
    unfold(browsing)
    page.check("input[name=pay][value=none]")
    page.check("input[name=apart-mental][value=apart]")
    page.check("input[name=emergency][value=no]")
    page.select_option("#rule-0-show", "hide")
    page.select_option("#rule-0-who", "place:org-hospital")
    page.fill("#rule-0-since", "2026-01-01")
    page.click("text=Show what changes")
    assert page.is_visible("#copies")
    browsing.hold("confirm", fully=True)
    page.click("text=Save this choice")
    page.wait_for_url("**/my/consent/?saved=1*")
    assert page.evaluate("document.activeElement.id") in {"note", ""}
    unfold(browsing)
    browsing.hold("choices", fully=True)
    browsing.open("/my/consent/history")
    browsing.hold("choices-history")
    for language in ("es", "ar"):
        browsing.open("/my/consent/")
        page.set_viewport_size({"width": 1280, "height": 900})
        page.click(f"button[lang={language}]")
        unfold(browsing)
        browsing.hold(f"choices-{language}")
        page.check("input[name=research][value=none]")
        page.click(".preview button[type=submit]")
        browsing.hold(f"confirm-{language}")


def test_a_choice_is_made_by_keyboard_and_without_a_script(browsing: Browsing) -> None:
    opened(browsing)
    page = browsing.page
    page.focus("input[name=treat]:checked")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.is_checked("input[name=treat][value=none]")
    page.focus("text=Show what changes")
    page.keyboard.press("Enter")
    page.wait_for_url("**/my/consent/check")
    assert page.evaluate("document.scripts.length") == 0
    assert page.is_visible("text=Now: yes")
    page.focus("text=Save this choice")
    page.keyboard.press("Enter")
    page.wait_for_url("**/my/consent/?saved=1*")
    page.focus("text=Undo the last change")
    page.keyboard.press("Enter")
    page.wait_for_url("**/my/consent/check")
    assert page.is_visible("text=Now: no")
