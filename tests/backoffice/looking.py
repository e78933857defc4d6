"""Pages of the desk in Chromium: signed in, looked at by axe and by width, and kept as pictures where these are wanted.

With HIE_SCREENSHOTS set to a folder, each page that is looked at is also kept there.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from pytest_django.live_server_helper import LiveServer

from hie.trust.staff import ensure_roles
from tests import second_factor
from tests.backoffice.conftest import PASSWORD

axe_playwright = pytest.importorskip("axe_playwright_python.sync_playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
IN_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}}
KINDS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 320, "height": 700}},
    "phone-dark": {"viewport": {"width": 320, "height": 700}, "color_scheme": "dark"},
}


def steward(username: str, first: str, last: str) -> User:
    """A member of staff who decides on identities."""
    ensure_roles()
    user = User.objects.create_user(username, password=PASSWORD, is_staff=True, first_name=first, last_name=last)
    user.groups.set(Group.objects.filter(name="steward"))
    return user


def signed_in(browser: Any, live_server: LiveServer, user: User, **options: Any) -> Any:
    """A page of a browser in which this member of staff has signed in."""
    client = second_factor.sign_in(user)
    # Without motion, as the portal is looked at: a colour on its way from light to dark is no colour of the page.
    context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, "reduced_motion": "reduce", **options})
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}])
    page = context.new_page()
    page.set_default_timeout(90_000)
    page.said = []
    page.elsewhere = []
    page.on("console", lambda word: page.said.append(word.text) if word.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda sent: None if sent.url.startswith((live_server.url, "data:")) else page.elsewhere.append(sent.url))  # fmt: skip
    return page


def look_at(page: Any, name: str, kind: str) -> list[str]:
    """What is wrong with the page, as "rule: place"; and a picture where one is wanted."""
    folder = os.environ.get("HIE_SCREENSHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}-{kind}.png"), full_page=True)
    wrong = [
        f"{name} {kind} {rule['id']}: {node['html'][:160]}"
        for rule in axe_playwright.Axe().run(page, options=WCAG).response["violations"]
        for node in rule["nodes"]
    ]
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    over = page.evaluate(
        "[...document.querySelectorAll('.table')].filter(t => t.scrollWidth > t.clientWidth"
        " || t.getBoundingClientRect().right > t.parentElement.getBoundingClientRect().right + 1).length"
    )
    return [
        *wrong,
        *([f"{name} {kind}: {wide} px too wide"] if wide > 0 else []),
        *([f"{name} {kind}: {over} tables wider than their place"] if over else []),
    ]


class Keys:
    """A page gone through by keyboard alone; each stop must show a ring."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def focused(self) -> str:
        """What the focused element says."""
        said = self.page.evaluate("document.activeElement.innerText || document.activeElement.value || ''")
        return " ".join(str(said).split())

    def tab_to(self, words: str) -> None:
        """Go on by Tab until an element that says these words has the focus."""
        for _ in range(150):
            self.page.keyboard.press("Tab")
            ring = self.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert ring != "none" or self.focused() == "", self.focused()
            if words in self.focused():
                return
        raise AssertionError(f"{words} is not reached")

    def tab_to_id(self, name: str) -> None:
        """Go on by Tab until the element of this id has the focus."""
        for _ in range(150):
            self.page.keyboard.press("Tab")
            if self.page.evaluate("document.activeElement.id") == name:
                return
        raise AssertionError(f"#{name} is not reached")
