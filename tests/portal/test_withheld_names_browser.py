"""A name that the law holds back, in Chromium: the line, its page, its proof and an emergency, in each language."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hie.audit import seal
from tests.backoffice.emergencies import emergency as opened
from tests.portal.conftest import busy_log, world
from tests.portal.test_browser import Browsing, browsing, pytestmark
from tests.portal.test_withheld_names import DOCTORS, holds_back

__all__ = ["browsing", "pytestmark"]


@pytest.fixture(autouse=True)
def _folders(settings: Any, tmp_path: Path) -> None:
    settings.SECRETS_DIR, settings.CHECKPOINT_DIR = tmp_path / "keys", tmp_path / "checkpoints"


@pytest.mark.parametrize("language", ["en", "es", "ar"])
def test_a_name_held_back_is_accessible_and_fits_in_each_language(browsing: Browsing, language: str) -> None:
    alice = world()
    busy_log(alice)
    opened(alice)
    address = "1 Tern Street, Velmoor, second floor, behind the library"
    contact = {
        "office": "Office for the Protection of Personal Data of Dunmarrow",
        "phone": "555-0142",
        "address": address,
    }
    holds_back(DOCTORS, {"id": "JA-PHARMACY", "roles": ["pharmacist"], "contact": contact})
    seal.seal_now()
    browsing.sign_in()
    if language != "en":
        browsing.page.click(f"button[lang={language}]")
    browsing.open("/my/?period=all")
    assert browsing.page.get_by_text("555-0142").count() >= 2
    browsing.hold(f"withheld-log-{language}", fully=language == "ar")
    browsing.open("/my/emergencies")
    browsing.hold(f"withheld-emergency-{language}")
    browsing.open("/my/?period=all&why=TREAT")
    browsing.page.click("main .entry:has-text('555-0142') >> nth=0 >> .entry__acts a")
    browsing.hold(f"withheld-line-{language}")
    browsing.page.click("a[href*='/proof']")
    browsing.hold(f"withheld-proof-{language}")
