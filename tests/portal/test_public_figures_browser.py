"""The public page in Chromium: axe, widths, light and dark, large text, right to left, without script and from nowhere else."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from hie.exchange import public_figures
from tests.backoffice.looking import IN_CHROMIUM, Look, look_at
from tests.exchange import figures_made
from tests.exchange.world import exchange

pytestmark = IN_CHROMIUM

LOOKS = (
    Look(width=1280),
    Look(width=1280, theme="dark"),
    Look(width=390, colours=False),
    Look(width=320, theme="dark"),
)


@pytest.mark.parametrize("language", ["en", "es", "ar"])
def test_the_page_holds_everywhere(
    browser: Any,
    live_server: LiveServer,
    transactional_db: None,
    language: str,
) -> None:
    exchange()
    figures_made.busy(date(2026, 10, 31))
    figures_made.counted(datetime(2026, 11, 3, 1, tzinfo=UTC))
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    elsewhere: list[str] = []
    said: list[str] = []
    page.on("request", lambda sent: None if sent.url.startswith(live_server.url) else elsewhere.append(sent.url))
    page.on("console", lambda word: said.append(word.text) if word.type in {"error", "warning"} else None)
    page.goto(f"{live_server.url}/figures/?language={language}")
    wrong = look_at(page, f"public-empty-{language}", LOOKS[:1])
    public_figures.publish(datetime(2026, 11, 3, 1, tzinfo=UTC))
    page.reload()
    wrong += look_at(page, f"public-{language}", LOOKS)
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    wrong += look_at(page, f"public-twice-{language}", LOOKS)
    assert (elsewhere, said, context.cookies()) == ([], [], [])
    assert wrong == []
