"""Pages of the desk in Chromium: signed in, and looked at light and dark, at the width of a desk and of a phone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group, User
from pytest_django.live_server_helper import LiveServer

from hie.trust.staff import ensure_roles
from tests import second_factor
from tests.backoffice.conftest import PASSWORD
from tests.chromium import ALL, IN_CHROMIUM, Look, keep_picture, too_wide, violations, wrong_in

__all__ = ["AS_A_PHONE", "EVERY", "IN_CHROMIUM", "PHONE_390", "Keys", "Look", "look_at", "look_at_it_as_it_is", "signed_in", "steward"]  # fmt: skip

EVERY = (
    Look(),
    Look(theme="dark"),
    Look(theme="dark", width=320, height=700),
    # The last one, in which the page is gone on with: what is pressed and typed is found on a phone too.
    Look(width=320, height=700),
)
PHONE_390 = Look(width=390, height=844, colours=False)
AS_A_PHONE: dict[str, Any] = {"viewport": {"width": 320, "height": 700}}


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


def look_at(page: Any, name: str, looks: Iterable[Look] = EVERY, *, tags: Iterable[str] = ALL) -> list[str]:
    """What is wrong with the page in these looks, as "name, look, rule: place"; it stays as the last of them."""
    return wrong_in(page, name, looks, tags=tags)


def look_at_it_as_it_is(page: Any, name: str) -> list[str]:
    """What is wrong with the page in its window, and with the text that a test made larger."""
    keep_picture(page, name)
    return [f"{name} {one}" for one in (*violations(page), *too_wide(page))]


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
