"""The portal in Chromium: accessible, quiet, and usable at every width, in light and dark, by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from consent import policies
from hie.exchange import emergency_review
from tests.backoffice.emergencies import emergency
from tests.chromium import IN_CHROMIUM, Look, keep_picture, wrong_in
from tests.portal.conftest import PASSWORD, busy_log, world
from tests.portal.test_deaths import said_dead
from tests.portal.test_emergencies import OFFICER

pytestmark = IN_CHROMIUM
STATES = tuple(
    Look(width=width, theme=theme, text=percent)
    for width, theme, percent in (
        (1280, "light", 100), (320, "dark", 200), (1280, "dark", 200), (390, "dark", 100), (320, "light", 100),
    )
)  # fmt: skip


@dataclass
class Browsing:
    """A page with what it said and asked for beside itself."""

    page: Any
    server: str
    noise: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        """Go to a path and wait for it."""
        self.page.goto(self.server + path, wait_until="load")

    def sign_in(self, login: str = "alice") -> None:
        """Sign in as somebody would."""
        self.open("/my/sign-in")
        self.page.fill("#login", login)
        self.page.fill("#password", PASSWORD)
        self.page.click("main button[type=submit]")
        self.page.wait_for_url("**/my/")

    def hold(self, name: str, *, fully: bool = False) -> None:
        """No violation, no sideways scrolling; `fully`: in every width, text size and theme, else at both extremes."""
        wrong = wrong_in(self.page, name, STATES if fully else STATES[:2], tables=False)
        assert wrong == [], "\n".join(wrong)


@pytest.fixture
def browsing(chromium: Any, live_server: LiveServer, transactional_db: None) -> Iterator[Browsing]:
    """A fresh visitor; leaving checks that the page was silent and asked nobody else."""
    context = chromium.new_context(bypass_csp=False, locale="en-GB", reduced_motion="reduce")
    page = context.new_page()
    held = Browsing(page, str(live_server))
    page.on("console", lambda message: held.noise.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: held.noise.append(f"error: {error}"))
    page.on(
        "request",
        lambda request: None if request.url.startswith(held.server) else held.noise.append(f"request: {request.url}"),
    )
    yield held
    context.close()
    policies.forget()
    assert [line for line in held.noise if "axe" not in line] == []


def test_every_page_is_accessible_quiet_and_fits(browsing: Browsing) -> None:
    alice = world()
    browsing.open("/my/sign-in")
    browsing.hold("sign-in")
    browsing.page.fill("#login", "alice")
    browsing.page.fill("#password", "wrong")
    browsing.page.click("main button[type=submit]")
    assert browsing.page.title().startswith("Error: ")
    browsing.hold("sign-in-error")
    browsing.sign_in()
    browsing.hold("log-empty")
    busy_log(alice)
    browsing.open("/my/")
    for summary in browsing.page.query_selector_all("main summary"):
        if summary.is_visible():
            summary.click()
    browsing.hold("log", fully=True)
    browsing.open("/my/?text=nothing+like+this&why=HRESCH")
    browsing.hold("log-no-result")
    browsing.open("/my/?result=emergency")
    browsing.page.click("text=See details")
    browsing.page.click("text=Technical details")
    browsing.hold("line")
    browsing.open("/my/documents")
    browsing.hold("documents")
    browsing.open("/my/help")
    browsing.hold("help")


def test_the_pages_of_emergencies_and_helpers_are_accessible_and_fit_in_every_language(browsing: Browsing) -> None:
    alice = world()
    browsing.sign_in()
    browsing.open("/my/emergencies")
    browsing.hold("emergencies-none")
    asked, checked = emergency(alice), emergency(alice, text="She fell from the stairs at noon")
    emergency_review.claim(checked.pk, OFFICER)
    emergency_review.decide(checked.pk, "not-justified", OFFICER, "You were not at the clinic that day")
    browsing.open("/my/")
    browsing.hold("log-emergency")
    browsing.page.click("text=See who it was, and say if you object")
    browsing.page.click("text=I object >> nth=-1")
    browsing.page.fill(f"#words-{asked.pk}", "I was at home that day")
    browsing.hold("emergencies", fully=True)
    browsing.page.click("text=Send my objection >> nth=-1")
    browsing.page.wait_for_selector("#notice")
    browsing.hold("emergencies-sent")
    browsing.open("/my/helpers")
    browsing.hold("helpers")
    browsing.page.click("text=End this help")
    browsing.hold("helper-end")
    browsing.page.click("main button[type=submit]")
    browsing.page.wait_for_selector("#notice")
    browsing.hold("helpers-ended")
    for language in ("es", "ar"):
        browsing.page.click(f"button[lang={language}]")
        for name in ("emergencies", "helpers"):
            browsing.open(f"/my/{name}")
            browsing.hold(f"{name}-{language}")


def test_a_helper_is_named_by_a_code_on_pages_that_are_accessible_and_fit(browsing: Browsing) -> None:
    world()
    browsing.sign_in("sam")
    browsing.open("/my/helpers")
    browsing.page.click("main button:has-text('Make a code')")
    browsing.hold("helper-code")
    code = browsing.page.text_content("#code").strip()
    browsing.page.click("text=Sign out")
    browsing.sign_in()
    browsing.open("/my/helpers")
    browsing.page.click("text=End this help")
    browsing.page.click("main button[type=submit]")
    browsing.page.click("a:has-text('Name a helper')")
    browsing.hold("helper-name")
    browsing.page.fill("#code", code)
    browsing.page.click("main button[type=submit]")
    browsing.page.wait_for_selector("h1:has-text('Sam Delgado')")
    browsing.hold("helper-name-whose", fully=True)
    browsing.page.click("button[lang=ar]")
    browsing.page.goto(browsing.server + "/my/helpers/name")
    browsing.page.fill("#code", code)
    browsing.page.click("main button[type=submit]")
    browsing.page.wait_for_selector("#letter")
    browsing.hold("helper-name-whose-ar")
    browsing.page.click("main button[type=submit]")
    browsing.page.wait_for_selector("#notice")
    browsing.hold("helper-named-ar")


def test_what_is_said_to_whom_the_record_calls_dead_is_accessible_and_fits(browsing: Browsing) -> None:
    world()
    browsing.sign_in()
    said_dead()
    browsing.open("/my/")
    browsing.hold("said-dead", fully=True)
    browsing.page.fill("#words", "Call 555-0100")
    browsing.page.click("main button[type=submit]")
    browsing.page.wait_for_selector("#notice")
    browsing.hold("said-dead-sent")
    for language in ("es", "ar"):
        browsing.page.click(f"button[lang={language}]")
        browsing.hold(f"said-dead-{language}")
    # A page that is refused is named so by the browser, which is not the page's own noise.
    browsing.noise[:] = [line for line in browsing.noise if "status of 403" not in line]


def test_a_helper_and_other_languages_are_accessible_too(browsing: Browsing) -> None:
    alice = world()
    busy_log(alice)
    browsing.sign_in("sam")
    browsing.page.click("summary:has-text('Sam Delgado')")
    browsing.hold("switch")
    browsing.page.click("button:has-text('Rosa Delgado')")
    assert "Rosa Delgado" in browsing.page.text_content("h1")
    browsing.hold("helper")
    for language in ("es", "ar"):
        browsing.page.set_viewport_size({"width": 1280, "height": 900})
        browsing.page.click(f"button[lang={language}]")
        browsing.hold(f"helper-{language}")


def test_the_keyboard_alone_signs_in_reads_and_signs_out(browsing: Browsing) -> None:
    busy_log(world())
    page = browsing.page
    browsing.open("/my/sign-in")
    press = page.keyboard.press
    press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    press("Enter")
    page.wait_for_function("document.activeElement.id == 'main'")
    press("Tab")
    page.keyboard.type("alice")
    press("Tab")
    page.keyboard.type(PASSWORD)
    press("Enter")
    page.wait_for_url("**/my/")
    stops: list[str] = []
    for _ in range(80):
        press("Tab")
        seen = page.evaluate(
            "(() => { const e = document.activeElement, r = e.getBoundingClientRect(), s = getComputedStyle(e);"
            " return [e === document.body ? '' : e.innerText || e.getAttribute('aria-label') || e.id || '', s.outlineStyle,"
            " r.width, r.height] })()"
        )
        if not seen[0].strip():
            break
        stops.append(seen[0].strip())
        assert seen[1] != "none", f"{seen[0]}: focus is not seen"
        assert min(seen[2], seen[3]) >= 24, f"{seen[0]}: {seen[2]} by {seen[3]} px"
    wanted = ["Skip to the main part", "Sign out", "Access log", "See details", "Table (CSV)"]
    places = [stops.index(next(stop for stop in stops if stop.startswith(name))) for name in wanted]
    assert places == sorted(places)
    page.focus("text=Show the 3 looks")
    press("Enter")
    assert page.is_visible("text=Heart tracing of May")
    page.focus("text=Sign out")
    press("Enter")
    page.wait_for_url("**/my/sign-in?out=1")


def test_nothing_runs_on_a_page_and_paper_shows_the_log(browsing: Browsing) -> None:
    busy_log(world())
    browsing.sign_in()
    assert browsing.page.evaluate("document.scripts.length") == 0
    browsing.page.emulate_media(media="print")
    assert not browsing.page.is_visible(".side")
    assert browsing.page.is_visible(".only-print")
    assert browsing.page.is_visible(".entry--emergency")
    keep_picture(browsing.page, "print")
