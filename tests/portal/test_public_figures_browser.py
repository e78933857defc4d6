"""The public page in Chromium: axe, widths, light and dark, large text, right to left, without script and from nowhere else."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from hie.exchange import public_figures
from tests.backoffice.conftest import browser  # noqa: F401 - a fixture
from tests.backoffice.looking import IN_CHROMIUM, look_at
from tests.exchange import figures_made
from tests.exchange.world import exchange

pytestmark = IN_CHROMIUM

KINDS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 900}},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "390": {"viewport": {"width": 390, "height": 800}},
    "320": {"viewport": {"width": 320, "height": 700}, "color_scheme": "dark"},
}


@pytest.mark.parametrize("language", ["en", "es", "ar"])
def test_the_page_holds_everywhere(
    browser: Any,  # noqa: F811
    live_server: LiveServer,
    transactional_db: None,
    language: str,
) -> None:
    exchange()
    figures_made.busy(date(2026, 10, 31))
    figures_made.counted(datetime(2026, 11, 3, 1, tzinfo=UTC))
    wrong: list[str] = []
    for kind, options in KINDS.items():
        context = browser.new_context(reduced_motion="reduce", **options)
        page = context.new_page()
        elsewhere: list[str] = []
        said: list[str] = []
        page.on(
            "request",
            lambda sent, all_=elsewhere: None if sent.url.startswith(live_server.url) else all_.append(sent.url),
        )
        page.on(
            "console", lambda word, all_=said: all_.append(word.text) if word.type in {"error", "warning"} else None
        )
        page.goto(f"{live_server.url}/figures/?language={language}")
        if kind == "light":
            wrong += look_at(page, f"public-empty-{language}", kind)
            public_figures.publish(datetime(2026, 11, 3, 1, tzinfo=UTC))
            page.reload()
        wrong += look_at(page, f"public-{language}", kind)
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        wrong += look_at(page, f"public-twice-{language}", kind)
        assert (elsewhere, said, context.cookies()) == ([], [], [])
        context.close()
    assert wrong == []
