"""Pages in Chromium: one browser for all of them, and a look at a page as everybody may have it, by axe and by width.

A page is loaded once and looked at as it is: the window is made narrower, the colours turned, the text enlarged, and
axe asked again about what that can change. With HIE_SCREENSHOTS set to a folder, each look is also kept there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

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

WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
ALL = (*WCAG, "best-practice")
BY_COLOUR = ("color-contrast", "link-in-text-block")
"""Rules of axe that read colours."""
BY_PLACE = ("target-size", "scrollable-region-focusable")
"""Rules of axe that measure. All others read the document and which parts of it are shown."""

_SHOWN_AND_PLACED = """() => {
    let shown = "", placed = "";
    for (const one of document.querySelectorAll("*")) {
        const box = one.getBoundingClientRect();
        const seen = one.checkVisibility({ opacityProperty: true, visibilityProperty: true, contentVisibilityAuto: true });
        const small = box.width <= 1 || box.height <= 1, away = box.right <= 0 || box.bottom + scrollY <= 0;
        shown += (seen ? 1 : 0) + (small ? 2 : 0) + (away ? 4 : 0);
        placed += [box.x + scrollX, box.y + scrollY, box.width, box.height].map(Math.round) + ";";
    }
    return [shown, placed];
}"""
"""Which elements are shown, and where all of them lie."""

_TWO_OF_EACH_COLOUR = """() => {
    const behind = new Map(), kinds = new Map();
    const ground = one => {
        if (!one) return "";
        if (!behind.has(one)) {
            const s = getComputedStyle(one);
            const own = [s.backgroundColor, s.backgroundImage, s.opacity, s.filter, s.mixBlendMode, s.position].join();
            const clear = "rgba(0, 0, 0, 0),none,1,none,normal,";
            behind.set(one, ground(one.parentElement) + (own === clear + "static" || own === clear + "relative" ? "" : "/" + own));
        }
        return behind.get(one);
    };
    const hasText = one => [...one.childNodes].some(part => part.nodeType === 3 && part.data.trim());
    for (const one of document.body.querySelectorAll("*")) {
        if (!hasText(one) && !one.matches("input, select, textarea, button")) continue;
        if (!one.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
        const s = getComputedStyle(one), box = one.getBoundingClientRect();
        const kind = [
            one.tagName, one.className, one.type, one.matches(":disabled") || !!one.closest("[aria-disabled], :disabled, label"),
            box.width <= 1 || box.height <= 1 || box.right <= 0 || box.bottom + scrollY <= 0,
            s.color, s.fontSize, s.fontWeight, s.textShadow, s.webkitTextFillColor, s.webkitTextStroke, s.textDecoration,
            getComputedStyle(one.parentElement).color, getComputedStyle(one, "::before").content, ground(one),
        ].join("|");
        kinds.set(kind, kinds.has(kind) ? [kinds.get(kind)[0], one] : [one]);
    }
    return [...kinds.values()].flat();
}"""
"""The first and the last element of each kind of text: of one colour, size and weight on the same backgrounds."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """How somebody has a page: window, colours, and the size of text in percent."""

    width: int = 1440
    height: int = 900
    theme: str = "light"
    text: int = 100
    colours: bool = True
    """False: as in another look of the same page and theme."""

    def __str__(self) -> str:
        return f"{self.width}-{self.theme}-{self.text}"


@pytest.fixture(scope=lambda fixture_name, config: "session" if config.option.markexpr == "browser" else "module")
def chromium(django_db_setup: None) -> Iterator[Any]:
    """One browser: two at once would be two loops in one thread. In a lane of its own it lasts for the lane."""
    from playwright.sync_api import sync_playwright

    os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # Playwright's loop runs in this thread
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
        # Beside that loop Django keeps a connection of its own, which nobody else would close.
        connections.close_all()


@pytest.fixture
def browser(chromium: Any) -> Iterator[Any]:
    """The browser, in which this test's windows are closed after it."""
    yield chromium
    for context in chromium.contexts:
        context.close()


def violations(
    page: Any,
    *,
    tags: Iterable[str] = ALL,
    rules: Iterable[str] = (),
    without: Iterable[str] = (),
    of_each_colour: bool = False,
) -> list[str]:
    """What axe finds on the page as it stands, as "rule: place"; of these rules alone where some are named.

    `of_each_colour`: asked about two of all texts that have the same colours, not of each: fifty lines of a table
    that are written alike take axe most of its time.
    """
    if not page.evaluate("typeof axe === 'object'"):
        from axe_playwright_python.base import AXE_SCRIPT

        page.evaluate(AXE_SCRIPT)
    only = {"type": "rule", "values": list(rules)} if rules else {"type": "tag", "values": list(tags)}
    off = {rule: {"enabled": False} for rule in without}
    # What holds is as much as the page itself, and would be sent from the browser for nothing.
    options = {"runOnly": only, "rules": off, "resultTypes": ["violations"], "reporter": "no-passes"}
    where = f"{{ include: ({_TWO_OF_EACH_COLOUR})() }}" if of_each_colour else "document"
    found = page.evaluate(f"options => axe.run({where}, options).then(all => all.violations)", options)
    return [f"{rule['id']}: {node['html'][:160]}" for rule in found for node in rule["nodes"]]


def too_wide(page: Any, *, tables: bool = True) -> list[str]:
    """Sideways scrolling of the page, and tables that stick out of their place."""
    wide, over = page.evaluate(
        "[document.documentElement.scrollWidth - document.documentElement.clientWidth,"
        " [...document.querySelectorAll('.table')].filter(t => t.scrollWidth > t.clientWidth"
        " || t.getBoundingClientRect().right > t.parentElement.getBoundingClientRect().right + 1).length]"
    )
    return [
        *([f"{wide} px too wide"] if wide > 0 else []),
        *([f"{over} tables wider than their place"] if over and tables else []),
    ]


def wrong_in(
    page: Any, name: str, looks: Iterable[Look], *, tags: Iterable[str] = ALL, tables: bool = True
) -> list[str]:
    """What is wrong with the loaded page in any of these looks; the page stays as the last of them, its text at 100 %.

    All rules are asked in the first look, and again in each that shows other parts of the page. Where the same parts
    are shown only colours and places can differ: those about places are asked where something moved, and those about
    colours in every look for which no other one stands, after the first time about two of all texts written alike.
    `tables`: False where a wide one is scrolled in a place of its own.
    """
    wrong: list[str] = []
    seen: set[str] = set()
    measured: set[str] = set()
    coloured = False
    for look in looks:
        page.set_viewport_size({"width": look.width, "height": look.height})
        page.emulate_media(color_scheme=look.theme)
        text_size(page, look.text)
        shown, placed = page.evaluate(_SHOWN_AND_PLACED)
        found: list[str] = []
        # The first look asks about everything at once: to begin costs axe as much as most of its rules.
        whole = look.colours and not coloured and set(WCAG) <= set(tags)
        if shown not in seen:
            found += violations(page, tags=tags, without=() if whole else BY_COLOUR)
        elif placed not in measured:
            found += violations(page, rules=BY_PLACE)
        if look.colours:
            if not whole or shown in seen:
                found += violations(page, rules=BY_COLOUR, of_each_colour=coloured)
            coloured = True
        seen.add(shown)
        measured.add(placed)
        wrong += [f"{name} {look} {one}" for one in (*found, *too_wide(page, tables=tables))]
        keep_picture(page, f"{name}-{look}")
    text_size(page, 100)
    return wrong


def keep_picture(page: Any, name: str) -> None:
    """Keep the whole page as a picture, where pictures are wanted."""
    folder = os.environ.get("HIE_SCREENSHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def text_size(page: Any, percent: int) -> None:
    """The size of text as a reader sets it in the browser: widths in `em` follow it."""
    devtools = getattr(page, "text_devtools", None)
    if devtools is None:
        if percent == 100:
            return
        devtools = page.text_devtools = page.context.new_cdp_session(page)
        page.text_percent = 100
    if page.text_percent == percent:
        return
    size = 16 * percent // 100
    devtools.send("Page.setFontSizes", {"fontSizes": {"standard": size, "fixed": size}})
    page.wait_for_function("s => getComputedStyle(document.documentElement).fontSize === s", arg=f"{size}px")
    page.text_percent = percent
