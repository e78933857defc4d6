"""What every page of the portal must bear, in Chromium: errors, every language, forced colours, names of any script and length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hie.directory import registration
from hie.exchange import access_log, accounts
from hie.exchange.errors import AccessRefused, BadRequest, NotFound, RemoteUnavailable
from hie.standards.errors import HubError
from hie.trust.errors import TooManyRequests
from hie.trust.models import PatientAccount
from tests.backoffice.emergencies import emergency
from tests.chromium import violations
from tests.directory.forms import clinic, file, hospital
from tests.portal.conftest import ALICE, EVE, PASSWORD, busy_log, document, look, world
from tests.portal.documents import CDA_FORMAT, HOSPITAL, cda, published, section
from tests.portal.test_accounts import SECRET
from tests.portal.test_browser import Browsing, browsing, pytestmark
from tests.portal.test_choices_browser import opened as choices_opened
from tests.portal.test_documents_browser import speak, unfold

__all__ = ["browsing", "pytestmark"]

EIGHTY = "Dr. Maximiliane Featherstonehaugh-Wojciechowska-Schwarzenberger de Monteverde-Es"
UNBROKEN = "Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunterbeamtengesellschaft"
ARABIC = "د. عبد الرحمن بن عبد العزيز المستشفى التخصصي"
CHINESE = "林美華醫師與國立大學附設醫院心臟內科"


@pytest.fixture(autouse=True)
def _store(settings: Any, tmp_path: Path) -> None:
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"


def quietly(browsing: Browsing) -> None:
    """A refused page is named so by the browser, which is not the page's own noise."""
    browsing.noise[:] = [line for line in browsing.noise if "Failed to load resource" not in line]


def raising(error: Exception) -> Callable[..., Any]:
    def use_case(*_: Any, **__: Any) -> Any:
        raise error

    return use_case


ERRORS: list[tuple[int, HubError | RuntimeError]] = [
    (400, BadRequest("x")),
    (403, AccessRefused("G5", "x")),
    (404, NotFound("x")),
    (429, TooManyRequests(60)),
    (500, RuntimeError("x")),
    (503, RemoteUnavailable("x", "y")),
]


def test_pages_that_say_what_went_wrong_are_accessible_in_every_language(
    browsing: Browsing, monkeypatch: pytest.MonkeyPatch
) -> None:
    world()
    browsing.sign_in()
    for language in ("en", "es", "ar"):
        if language != "en":
            monkeypatch.undo()
            browsing.open("/my/help")
            speak(browsing, language)
        for status, error in ERRORS:
            monkeypatch.setattr(access_log, "log_for_patient", raising(error))
            answer = browsing.page.goto(browsing.server + "/my/")
            assert answer.status == status
            browsing.hold(f"error-{status}-{language}")
        browsing.open("/my/no-such-page")
        browsing.hold(f"error-absent-{language}")
        monkeypatch.undo()
    browsing.page.context.clear_cookies()
    browsing.open("/my/no-such-page")
    browsing.hold("error-stranger")
    browsing.open("/my/sign-in")
    browsing.page.context.clear_cookies()
    browsing.page.fill("#login", "alice")
    browsing.page.fill("#password", PASSWORD)
    browsing.page.click("main button[type=submit]")
    browsing.hold("error-expired")
    quietly(browsing)


def test_the_pages_of_a_patient_are_accessible_in_spanish_and_arabic(browsing: Browsing) -> None:
    alice = world()
    busy_log(alice)
    published(cda(section("x")), "text/xml", format_code=CDA_FORMAT, title="Letter")
    accounts.load({"patients": [{**ALICE, "totp_secret": SECRET}]})
    for language in ("es", "ar"):
        browsing.page.context.clear_cookies()
        browsing.open("/my/sign-in")
        speak(browsing, language)
        browsing.hold(f"sign-in-{language}")
        browsing.page.fill("#login", "nobody")
        browsing.page.fill("#password", "wrong")
        browsing.page.click("main button[type=submit]")
        browsing.hold(f"sign-in-error-{language}")
        browsing.page.fill("#login", "alice")
        browsing.page.fill("#password", PASSWORD)
        browsing.page.click("main button[type=submit]")
        browsing.hold(f"code-{language}")
        browsing.page.fill("#code", "000000")
        browsing.page.click("main button[type=submit]")
        browsing.hold(f"code-error-{language}")
    PatientAccount.objects.filter(login=ALICE["login"]).update(totp_secret="")
    browsing.page.context.clear_cookies()
    browsing.sign_in()
    for language in ("es", "ar"):
        speak(browsing, language)
        browsing.open("/my/")
        unfold(browsing)
        browsing.hold(f"log-{language}", fully=True)
        browsing.open("/my/?text=nothing+like+this&why=HRESCH")
        browsing.hold(f"log-no-result-{language}")
        browsing.open("/my/?result=emergency")
        browsing.page.click(".entry__acts a")
        unfold(browsing)
        browsing.hold(f"line-{language}")
        for name in ("documents", "help", "helpers", "helpers/name"):
            browsing.open(f"/my/{name}")
            browsing.hold(f"{name.replace('/', '-')}-{language}")
        browsing.open("/my/helpers")
        browsing.page.click("main a[href$='/end']")
        browsing.hold(f"helper-end-{language}")


def test_a_choice_that_warns_and_the_history_of_choices_are_accessible_in_every_language(browsing: Browsing) -> None:
    choices_opened(browsing)
    page = browsing.page
    for language in ("en", "es", "ar"):
        browsing.open("/my/consent/")
        if language != "en":
            speak(browsing, language)
        unfold(browsing)
        page.check("input[name=treat][value=none]")
        page.check("input[name=emergency][value=no]")
        page.click(".preview button[type=submit]")
        browsing.hold(f"confirm-warning-{language}", fully=language == "ar")
        page.click("main form button[type=submit]:not(.btn--quiet)")
        page.wait_for_url("**/my/consent/?saved=1*")
        browsing.open("/my/consent/history")
        browsing.hold(f"choices-history-{language}", fully=language != "es")
        browsing.open("/my/consent/")
        unfold(browsing)
        page.check("input[name=treat][value=all]")
        page.check("input[name=emergency][value=yes]")
        page.click(".preview button[type=submit]")
        page.click("main form button[type=submit]:not(.btn--quiet)")
        page.wait_for_url("**/my/consent/?saved=1*")


def named(name: str, place: str) -> str:
    """A world in which everybody and everything is called so; Alice's person."""
    alice = world()
    registration.apply(file(clinic(name=place), hospital(name=place)))
    PatientAccount.objects.update(name=name)
    for minutes, kind in ((5, "one"), (40, "two"), (80, "three")):
        who = replace(EVE, user_id=f"Practitioner/{kind}", user_name=name, organization_name=place)
        look(alice, minutes, who, disclosures=(document(place, title=f"{name} {kind}"),))
    relayed = replace(EVE, user_id="Practitioner/far", user_name=name, intermediary_id="org-hospital", purpose="BTG")
    look(alice, 200, relayed, disclosures=(document(place, rule="D2"),), personal={"text": f"{name}: {place}"})
    emergency(alice, text=f"{name} {place}")
    for by in (None, HOSPITAL):
        more = {"by": by} if by else {}
        published(cda(section(f"<table><thead><tr><th>{name}</th><th>{place}</th></tr></thead><tbody><tr><td>{place}</td><td>{name}</td></tr></tbody></table>", title=name), title=name), "text/xml", format_code=CDA_FORMAT, title=f"{name} {place}", **more)  # fmt: skip
    return alice


@pytest.mark.parametrize(
    ("name", "place", "language"),
    [
        pytest.param(ARABIC, ARABIC, "en", id="arabic-on-english"),
        pytest.param(CHINESE, CHINESE, "ar", id="chinese-on-arabic"),
        pytest.param(EIGHTY, UNBROKEN, "en", id="eighty-letters"),
        pytest.param(EIGHTY, UNBROKEN, "ar", id="eighty-letters-on-arabic"),
    ],
)
def test_names_of_any_script_and_length_fit_on_every_kind_of_page(
    browsing: Browsing, name: str, place: str, language: str
) -> None:
    assert len(EIGHTY) == 80
    alice = named(name, place)
    browsing.sign_in()
    if language != "en":
        speak(browsing, language)
    tag = f"{language}-{'long' if name is EIGHTY else 'script'}"
    for path in ("/my/", "/my/documents", "/my/emergencies", "/my/consent/", "/my/helpers", "/my/help", "/my/nothing"):
        browsing.open(path)
        unfold(browsing)
        browsing.hold(f"names-{path.strip('/').replace('/', '-')}-{tag}")
        if path == "/my/":
            browsing.page.click(".entry__acts a >> nth=0")
            unfold(browsing)
            browsing.hold(f"names-line-{tag}")
        if path == "/my/documents":
            browsing.page.click(".docs__acts a >> nth=0")
            browsing.hold(f"names-document-{tag}")
            browsing.page.go_back()
            browsing.page.click("a[href$='/who'] >> nth=0")
            browsing.hold(f"names-who-{tag}")
        if path == "/my/helpers":
            browsing.page.click("main a[href$='/end']")
            browsing.hold(f"names-helper-end-{tag}")
    browsing.page.set_viewport_size({"width": 1280, "height": 900})
    browsing.open("/my/help")
    browsing.page.click("form[action$='sign-out'] button")
    browsing.sign_in("sam")
    browsing.page.click("details.switch > summary")
    browsing.hold(f"names-switch-{tag}")
    browsing.page.click(".switch__list button >> nth=0")
    assert browsing.page.is_visible(".acting")
    browsing.hold(f"names-acting-{tag}")
    assert alice
    quietly(browsing)


def test_in_forced_colours_shapes_edges_and_focus_are_still_seen(browsing: Browsing) -> None:
    alice = world()
    busy_log(alice)
    entry = published(cda(section("<table><thead><tr><th>A</th><th>B</th></tr></thead><tbody><tr><td>1</td><td>2</td></tr></tbody></table>")), "text/xml", format_code=CDA_FORMAT, title="Letter")  # fmt: skip
    browsing.sign_in()
    page = browsing.page
    page.emulate_media(forced_colors="active")
    for path in ("/my/", "/my/consent/", "/my/documents", f"/my/documents/{entry}", "/my/helpers"):
        browsing.open(path)
        unfold(browsing)
        for width in (1280, 320):
            page.set_viewport_size({"width": width, "height": 900})
            # Colours are the reader's own here, whatever the style says: all other rules hold.
            assert violations(page, without=["color-contrast"]) == [], path
            assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), path
        assert page.evaluate("matchMedia('(forced-colors: active)').matches")
        unseen = page.evaluate(
            "[...document.querySelectorAll('.badge, .btn:not(.btn--link), .pick, .notice, .panel, .tabs a[aria-current], .input')]"
            ".filter(e => e.getClientRects().length && (s => parseFloat(s.borderTopWidth) + parseFloat(s.outlineWidth) === 0)(getComputedStyle(e)))"
            ".map(e => e.className)"
        )
        assert unseen == [], path
        page.locator("main a:visible, main button:visible, main summary:visible").first.focus()
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", path
    browsing.open("/my/")
    shapes = page.evaluate("[...document.querySelectorAll('.entry .badge svg')].map(e => getComputedStyle(e).stroke)")
    assert shapes
    assert all(stroke not in {"none", "rgba(0, 0, 0, 0)"} for stroke in shapes)
