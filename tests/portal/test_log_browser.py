"""The log at length, its proof and the accounting in Chromium: in each language, with names of every script, and on paper."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hie.audit import seal
from tests.chromium import keep_picture
from tests.portal.conftest import EVE, busy_log, document, look, world
from tests.portal.test_browser import Browsing, browsing, pytestmark
from tests.portal.test_copies import ARABIC, CHINESE, LONG

__all__ = ["browsing", "pytestmark"]


@pytest.fixture(autouse=True)
def _folders(settings: Any, tmp_path: Path) -> None:
    settings.SECRETS_DIR, settings.CHECKPOINT_DIR = tmp_path / "keys", tmp_path / "checkpoints"


def names(person: str) -> None:
    """Readers, places and documents whose names are Arabic, Chinese, and of eighty letters."""
    for minute, name in ((50, ARABIC), (51, CHINESE), (52, LONG), (53, "W" * 80)):
        who = replace(EVE, user_id=f"Practitioner/{minute}", user_name=name, organization_name=f"{name} {CHINESE}")
        look(person, minute, who, disclosures=(document(f"{ARABIC} {LONG}"),))
    office = replace(EVE, organization_id="org-hospital", organization_name=LONG, purpose="PUBHLTH")
    for minute, kind in ((60, "Lab report"), (9_000, ARABIC)):
        look(person, minute, office, disclosures=(document(kind, rule="L2", obligations=("ACCOUNT",)),))


@pytest.mark.parametrize("language", ["en", "es", "ar"])
def test_log_proof_and_accounting_are_accessible_and_fit_in_each_language(browsing: Browsing, language: str) -> None:
    alice = world()
    busy_log(alice)
    names(alice)
    browsing.sign_in()
    if language != "en":
        browsing.page.click(f"button[lang={language}]")
    browsing.open("/my/?period=all&more=1")
    for summary in browsing.page.query_selector_all("main .day summary"):
        summary.click()
    browsing.hold(f"log-names-{language}", fully=language == "ar")
    browsing.open("/my/?part=automatic")
    browsing.hold(f"log-machines-{language}")
    browsing.open("/my/")
    browsing.page.click("main .entry >> nth=0 >> .entry__acts a")
    browsing.page.click("a[href*='/proof']")
    browsing.hold(f"proof-not-yet-{language}")
    seal.seal_now()
    browsing.page.click("main .empty a")
    browsing.page.click("main summary")
    browsing.hold(f"proof-{language}", fully=True)
    browsing.open("/my/accounting")
    browsing.hold(f"accounting-{language}", fully=True)
    browsing.open("/my/accounting?all=1")
    browsing.hold(f"accounting-all-{language}")


def test_the_accounting_is_accessible_when_there_is_nothing_to_list(browsing: Browsing) -> None:
    world()
    browsing.sign_in()
    browsing.open("/my/accounting")
    browsing.hold("accounting-none")


@pytest.mark.parametrize("language", ["en", "ar"])
def test_paper_shows_the_log_and_what_it_is_about_without_what_can_only_be_pressed(
    browsing: Browsing, language: str
) -> None:
    alice = world()
    busy_log(alice)
    names(alice)
    browsing.sign_in()
    browsing.page.click(f"button[lang={language}]") if language != "en" else None
    browsing.page.emulate_media(media="print")
    for path, shown in (("/my/?period=all", ".entry--emergency"), ("/my/accounting", "main table")):
        browsing.open(path)
        assert browsing.page.is_visible(shown)
        assert browsing.page.is_visible(".only-print")
        for hidden in (".side", ".filter", "nav", ".pager", ".entry__acts", ".fold", ".no-print"):
            assert not any(one.is_visible() for one in browsing.page.query_selector_all(hidden)), (path, hidden)
        browsing.page.set_viewport_size({"width": 720, "height": 1000})
        overflow = browsing.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0
        keep_picture(browsing.page, f"print-{'log' if 'period' in path else 'accounting'}-{language}")
