"""The dashboards in Chromium: axe, widths, light and dark, large text, on paper, by keyboard, and without script."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from hie.directory import registration
from hie.trust.staff import ensure_roles
from tests.backoffice.conftest import PASSWORD
from tests.backoffice.looking import (
    AS_A_PHONE,
    EVERY,
    IN_CHROMIUM,
    PHONE_390,
    Keys,
    Look,
    look_at,
    look_at_it_as_it_is,
    signed_in,
)
from tests.exchange import figures_made
from tests.exchange.world import community_at, exchange, feed_rosa

pytestmark = IN_CHROMIUM

BOARDS = ("figures", "figures_answers", "figures_matching", "figures_choices", "figures_feeds", "figures_participant")
LOOKS = (Look(width=1280), Look(width=1280, theme="dark"), PHONE_390, *EVERY[2:])
TWICE = "document.documentElement.style.fontSize = '200%'"


def place(board: str) -> str:
    return reverse(f"admin:{board}", args=["org-hospital"] if board == "figures_participant" else [])


@pytest.fixture
def boss(transactional_db: None) -> User:
    long = {"name": "Schwarzwald-Baar-Rechtsanwaltskammerversorgungszentrum für Kinder- und Jugendmedizin"}
    exchange(community_at(1, 1), community_at(2, 1, **long))
    feed_rosa()
    ensure_roles()
    figures_made.busy(timezone.now().date())
    return User.objects.create_user(
        "boss", password=PASSWORD, is_staff=True, is_superuser=True, first_name="Ida", last_name="Moss"
    )


def test_every_dashboard_holds_in_light_and_dark_narrow_and_with_large_text(
    browser: Any, live_server: LiveServer, boss: User
) -> None:
    page = signed_in(browser, live_server, boss)
    wrong = []
    for board in BOARDS:
        page.goto(f"{live_server.url}{place(board)}?period=28")
        wrong += look_at(page, board, LOOKS)
        for summary in page.locator(".chart summary").all():
            summary.click()
        wrong += look_at(page, f"{board}-open", LOOKS)
        page.evaluate(TWICE)
        wrong += look_at(page, f"{board}-twice", LOOKS)
    assert wrong == []
    assert page.said == []
    assert page.elsewhere == []


def test_an_empty_hub_holds_too(browser: Any, live_server: LiveServer, transactional_db: None) -> None:
    exchange()
    ensure_roles()
    someone = User.objects.create_user("boss", password=PASSWORD, is_staff=True, is_superuser=True)
    page = signed_in(browser, live_server, someone, **AS_A_PHONE)
    wrong = []
    for board in BOARDS:
        page.goto(f"{live_server.url}{place(board)}")
        wrong += look_at_it_as_it_is(page, f"{board}-empty")
    assert wrong == []


def test_a_period_is_chosen_by_keyboard_without_script_and_the_numbers_stand_on_paper(
    browser: Any, live_server: LiveServer, boss: User
) -> None:
    page = signed_in(browser, live_server, boss, java_script_enabled=True)
    page.goto(f"{live_server.url}{place('figures')}")
    keys = Keys(page)
    keys.tab_to_id("period")
    page.keyboard.press("ArrowUp")
    keys.tab_to("Show")
    page.keyboard.press("Enter")
    page.wait_for_url("**/figures/?period=7**")
    keys.tab_to("Show the numbers")
    page.keyboard.press("Enter")
    assert page.locator("#days table").is_visible()
    page.reload()
    page.emulate_media(media="print")
    assert page.locator("#days table").is_visible()
    assert not page.locator("#days summary").is_visible()
    assert not page.locator(".desk__nav").first.is_visible()
    bare = signed_in(browser, live_server, boss, java_script_enabled=False)
    bare.goto(f"{live_server.url}{place('figures')}?period=90")
    assert bare.locator("figure.chart svg").count() > 4


def test_suspended_participants_keep_their_page(browser: Any, live_server: LiveServer, boss: User) -> None:
    registration.suspend("org-hospital", reason="test", actor="test")
    page = signed_in(browser, live_server, boss)
    page.goto(f"{live_server.url}{place('figures_participant')}")
    assert page.get_by_role("heading", level=1).inner_text().startswith("Figures of")
