"""The review queue in Chromium: no axe violation light and dark, no sideways scrolling at 320 px or with large text, by
keyboard alone, without script.

With HIE_SCREENSHOTS set to a folder, each page is also kept there as a picture.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from pytest_django.live_server_helper import LiveServer

from hie.exchange import stewardship
from hie.exchange.access import Staff
from hie.trust.staff import ensure_roles
from patients import identifiers
from patients.models import ReviewItem
from tests.backoffice import cases
from tests.backoffice.conftest import PASSWORD
from tests.backoffice.test_browser import CHROMIUM, FLAGS, axe_playwright, sync_api

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}}
QUEUE = "/admin/patients/reviewitem/"


@pytest.fixture(autouse=True)
def _database_calls_beside_the_browsers_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    # Playwright's loop runs in this thread; Django would refuse the ORM beside it.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")


@pytest.fixture
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


def steward(username: str, first: str, last: str) -> User:
    ensure_roles()
    from django.contrib.auth.models import Group

    user = User.objects.create_user(username, password=PASSWORD, is_staff=True, first_name=first, last_name=last)
    user.groups.set(Group.objects.filter(name="steward"))
    return user


def signed_in(browser: Any, live_server: LiveServer, user: User, **options: Any) -> Any:
    """A page of a browser in which this member of staff has signed in."""
    from django.test import Client

    client = Client()
    client.force_login(user)
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


def case_url(item: ReviewItem) -> str:
    return reverse("admin:patients_reviewitem_change", args=[item.pk])


KINDS = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 320, "height": 700}},
    "phone-dark": {"viewport": {"width": 320, "height": 700}, "color_scheme": "dark"},
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_queue_and_each_kind_of_case_have_no_violation_and_fit(
    browser: Any, live_server: LiveServer, kind: str
) -> None:
    ada, bo = steward("ada", "Ada", "Moss"), steward("bo", "Bo", "Reed")
    every = cases.every_kind()
    page = signed_in(browser, live_server, ada, **KINDS[kind])
    wrong: list[str] = []
    for name, item in every.items():
        if "dark" in kind and name not in {"low-score", "overlay", "many-records"}:
            # The same templates and signs as those.
            stewardship.claim_review(item.pk, Staff(user_id="ada", roles=frozenset({"steward"})))
            continue
        page.goto(live_server.url + case_url(item))
        if name in {"low-score", "overlay"}:
            wrong += look_at(page, f"case-{name}-free", kind)
        page.get_by_role("button", name="Take this case").click()
        page.get_by_role("heading", name="Your decision").wait_for()
        wrong += look_at(page, f"case-{name}", kind)
    page.goto(live_server.url + case_url(every["low-score"]))
    page.get_by_label("One person: merge").check()
    page.get_by_label("Reason (required)").fill("The passport is the same")
    page.get_by_role("button", name="Save, then next case").click()
    page.locator("#notice").wait_for()
    wrong += look_at(page, "proposed-notice", kind)
    page.goto(live_server.url + case_url(every["low-score"]))
    wrong += look_at(page, "own-proposal", kind)
    page.goto(live_server.url + QUEUE)
    wrong += look_at(page, "queue", kind)
    page.goto(live_server.url + QUEUE + "done/")
    wrong += look_at(page, "done", kind)
    page.goto(live_server.url + QUEUE + "figures/")
    wrong += look_at(page, "figures", kind)
    other = signed_in(browser, live_server, bo, **KINDS[kind])
    other.goto(live_server.url + case_url(every["twins"]))
    other.get_by_role("heading", name="Another steward has this case").wait_for()
    wrong += look_at(other, "taken", kind)
    other.goto(live_server.url + case_url(every["low-score"]))
    other.get_by_role("button", name="Take this case").click()
    other.get_by_role("heading", name="The second look is yours").wait_for()
    wrong += look_at(other, "second", kind)
    other.get_by_label("Reason (required)").fill("   ")
    other.get_by_role("button", name="Confirm: one person").click()
    other.get_by_role("alert").wait_for()
    assert other.title().startswith("Error: ")
    wrong += look_at(other, "error", kind)
    other.get_by_label("Reason (required)").fill("Seen the passport")
    other.get_by_role("button", name="Confirm: one person").click()
    other.locator("#notice").wait_for()
    wrong += look_at(other, "confirmed", kind)
    assert wrong == [], "\n".join(wrong)
    for one in (page, other):
        assert [word for word in one.said if "status of 422" not in word] == []
        assert one.elsewhere == []


def test_an_empty_queue_says_so_and_has_no_violation(browser: Any, live_server: LiveServer) -> None:
    page = signed_in(browser, live_server, steward("ada", "Ada", "Moss"))
    wrong = []
    for name in ("", "done/", "figures/", "?kind=overlay"):
        page.goto(live_server.url + QUEUE + name)
        wrong += look_at(page, f"empty-{name.strip('/?') or 'queue'}".replace("=", "-"), "light")
    assert wrong == []
    page.goto(live_server.url + QUEUE)
    assert page.get_by_role("heading", name="Nothing waits").is_visible()


def test_text_of_twice_the_size_loses_nothing(browser: Any, live_server: LiveServer) -> None:
    ada = steward("ada", "Ada", "Moss")
    item = cases.every_kind()["many-records"]
    page = signed_in(browser, live_server, ada, viewport={"width": 1280, "height": 900})
    wrong = []
    for name, url in (("queue", QUEUE), ("case", case_url(item)), ("figures", QUEUE + "figures/")):
        page.goto(live_server.url + url)
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        wrong += look_at(page, name, "large-text")
    assert wrong == []
    assert [word for word in page.said if "style" not in word] == []


def test_a_whole_case_goes_by_keyboard_alone(browser: Any, live_server: LiveServer) -> None:
    ada = steward("ada", "Ada", "Moss")
    cases.every_kind()
    page = signed_in(browser, live_server, ada)
    page.goto(live_server.url + QUEUE)

    def focused() -> str:
        return str(page.evaluate("(document.activeElement.innerText || document.activeElement.value || '').trim()"))

    def tab_to(words: str, *, key: str = "Tab") -> None:
        for _ in range(120):
            page.keyboard.press(key)
            ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert ring != "none" or focused() == "", focused()
            if words in focused():
                return
        raise AssertionError(f"{words} is not reached")

    page.keyboard.press("Tab")
    assert focused() == "Skip to the main part"
    page.keyboard.press("Enter")
    tab_to("Take the next case")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Your decision").wait_for()
    number = int(page.url.split("/reviewitem/")[1].split("/")[0])
    for _ in range(150):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "verdict":
            break
    # Down the choices to the one that keeps apart.
    for _ in range(6):
        if page.evaluate("document.activeElement.value") == "different":
            break
        page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    for _ in range(8):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "why":
            break
    page.keyboard.type("Born at different places")
    tab_to("Save, then next case")
    page.keyboard.press("Enter")
    page.locator("#notice").wait_for()
    assert page.evaluate("document.activeElement.id") == "notice"
    item = ReviewItem.objects.get(pk=number)
    assert (item.status, item.decision) == ("decided", "different")
    tab_to("Undo")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("Too fast")
    tab_to(f"Undo case {number}")
    page.keyboard.press("Enter")
    page.get_by_text("the case waits again").first.wait_for()
    item.refresh_from_db()
    assert item.status == "open"


def test_a_case_is_decided_and_undone_without_script(browser: Any, live_server: LiveServer) -> None:
    ada = steward("ada", "Ada", "Moss")
    item = cases.every_kind()["many-records"]
    page = signed_in(browser, live_server, ada, java_script_enabled=False)
    page.goto(live_server.url + case_url(item))
    page.get_by_role("button", name="Take this case").click()
    page.get_by_label("One person: merge").check()
    page.get_by_label("Reason (required)").fill("Same phone since 1999")
    page.get_by_role("button", name="Save, then next case").click()
    item.refresh_from_db()
    assert item.status == "decided"
    other = item.candidate_id
    assert other is not None
    assert identifiers.survivor(other) == identifiers.survivor(item.person_id)
    page.get_by_text("Undo", exact=False).first.click()
    page.get_by_label("Reason to undo (required)").first.fill("No")
    page.get_by_role("button", name=f"Undo case {item.pk}").first.click()
    assert identifiers.survivor(other) == other
