"""A look at a page finds what is wrong in one look alone: in the dark, on a phone, with large text, or everywhere."""

from __future__ import annotations

from typing import Any

import pytest

from tests.backoffice.looking import EVERY
from tests.chromium import IN_CHROMIUM, Look, wrong_in

pytestmark = IN_CHROMIUM

LARGE = (Look(width=1280), Look(width=320, theme="dark", text=200))
PAGE = """<!doctype html><html lang="en"><head><title>A page</title><meta name="viewport" content="width=device-width">
<style>:root {{ color: #111; background: #fff }} @media (prefers-color-scheme: dark) {{ :root {{ color: #eee; background: #111 }} }}
.wide, .narrow {{ display: none }} @media (min-width: 40em) {{ .wide {{ display: block }} }} @media (max-width: 40em) {{ .narrow {{ display: block }} }}
{style}</style></head><body><main><h1>A page</h1>{body}<p>Words.</p></main></body></html>"""


def dark(style: str) -> str:
    return f"@media (prefers-color-scheme: dark) {{ {style} }}"


def phone(style: str) -> str:
    return f"@media (max-width: 40em) {{ {style} }}"


@pytest.mark.parametrize(
    ("style", "body", "looks", "found"),
    [
        pytest.param("", "", (*EVERY, *LARGE), {}, id="nothing-wrong"),
        pytest.param("", "<img src='data:,'>", EVERY, {"image-alt": "1440-light-100"}, id="everywhere"),
        pytest.param("p { color: #ccc }", "", EVERY, {"color-contrast": "1440-light-100 320-light-100"}, id="light"),
        pytest.param(
            dark("p { color: #333 }"), "", EVERY, {"color-contrast": "1440-dark-100 320-dark-100"}, id="dark"
        ),
        pytest.param(
            dark("p:nth-of-type(17) { color: #333 }"),
            "<p>Words.</p>" * 30,
            EVERY,
            {"color-contrast": "1440-dark-100 320-dark-100"},
            id="one-of-many-in-the-dark",
        ),
        pytest.param(
            dark("section:nth-of-type(2) { background: #ddd }"),
            "<section><p>Words.</p></section>" * 3,
            EVERY,
            {"color-contrast": "1440-dark-100 320-dark-100"},
            id="on-another-ground-in-the-dark",
        ),
        pytest.param(
            phone("p { color: #999; background: #777 }"),
            "",
            EVERY,
            {"color-contrast": "320-dark-100 320-light-100"},
            id="pale-on-a-phone",
        ),
        pytest.param(
            dark("a { color: #fff; text-decoration: none }"),
            "<p>See <a href='#x'>the plan</a> for more words.</p>",
            EVERY,
            {"link-in-text-block": "1440-dark-100 320-dark-100"},
            id="link-lost-in-the-dark",
        ),
        pytest.param(
            "", "<div class='narrow'><input></div>", EVERY, {"label": "320-dark-100"}, id="shown-on-a-phone-alone"
        ),
        pytest.param(
            dark(".wide { display: none } .other { display: block !important }"),
            "<div class='wide'>Words.</div><div class='other' style='display: none'><input></div>",
            EVERY,
            {"label": "1440-dark-100"},
            id="shown-in-the-dark-alone",
        ),
        pytest.param(
            "button { width: 24px; height: 24px; padding: 0; border: 0; display: block }"
            + phone("button { width: 12px; height: 12px }"),
            "<button aria-label='One'></button><button aria-label='Two'></button>",
            EVERY,
            {"target-size": "320-dark-100"},
            id="small-on-a-phone",
        ),
        pytest.param("", "<div style='width: 30rem'>W</div>", EVERY, {"px": "320-dark-100 320-light-100"}, id="too-wide"),
        pytest.param("", "<div style='width: 15rem'>W</div>", LARGE, {"px": "320-dark-200"}, id="too-wide-when-large"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found_in_the_looks_that_it_is_wrong_in(
    browser: Any, style: str, body: str, looks: tuple[Look, ...], found: dict[str, str]
) -> None:
    page = browser.new_context().new_page()
    page.set_content(PAGE.format(style=style, body=body))
    wrong = wrong_in(page, "page", looks)
    for rule, where in found.items():
        assert {line.split(" ")[1] for line in wrong if rule in line} == set(where.split(" ")), wrong
    assert found or wrong == []
