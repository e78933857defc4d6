"""Mails to whoever has an account, in the account's language: that something happened, never what. Plain text."""

from __future__ import annotations

from collections.abc import Mapping

from django.conf import settings
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext, ngettext

from hie.exchange.patient_notices import Letter
from hie.faces.portal import dates


class Letters:
    """The portal's words for `hie.exchange.patient_notices`."""

    def notices(self, kinds: Mapping[str, int], *, unsubscribe: str, language: str) -> Letter:
        """One sentence for each kind, where to read more, and how to end the mails."""
        with translation.override(_known(language)):
            said = [_sentence(kind, kinds[kind]) for kind in sorted(kinds, key=_first)]
            parts = [
                gettext("Hello,"),
                "\n".join(said),
                gettext("Sign in to see who it was:"),
                _address("portal:notices"),
                gettext("We never write by mail what was seen."),
                gettext("If you want no more mail, open this page:"),
                self.unsubscribe_url(unsubscribe),
                settings.HUB_NAME,
            ]
            return Letter(
                subject=gettext("A notice for you from {hub}").format(hub=_one_line(settings.HUB_NAME)),
                text="\n\n".join(parts) + "\n",
            )

    def address(self, *, token: str, language: str) -> Letter:
        """The mail with the link that takes an address."""
        with translation.override(_known(language)):
            parts = [
                gettext("Hello,"),
                gettext("Someone gave us this mail address for notices. If it was you, open this page:"),
                _address("portal:notice-address", token),
                gettext("The link is good for two days. If it was not you, do nothing."),
                settings.HUB_NAME,
            ]
            return Letter(
                subject=gettext("Is this your address? A question from {hub}").format(hub=_one_line(settings.HUB_NAME)),
                text="\n\n".join(parts) + "\n",
            )

    def unsubscribe_url(self, token: str) -> str:
        """The page that ends the mails."""
        return _address("portal:notice-unsubscribe", token)


def _sentence(kind: str, count: int) -> str:
    shown = dates.digits(count)
    if kind == "emergency":
        return ngettext(
            "There was {n} emergency look at a record.", "There were {n} emergency looks at a record.", count
        ).format(n=shown)
    if kind == "new-organization":
        return ngettext("{n} new place looked at a record.", "{n} new places looked at a record.", count).format(
            n=shown
        )
    if kind == "concern":
        return gettext("There is news about your concern.")
    return ngettext("There was {n} look at a record.", "There were {n} looks at a record.", count).format(n=shown)


def _first(kind: str) -> int:
    order = ("emergency", "concern", "new-organization", "look", "week")
    return order.index(kind) if kind in order else len(order)


def _known(language: str) -> str:
    return language if language in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE


def _address(name: str, *args: str) -> str:
    return f"{settings.BASE_URL}{reverse(name, args=args)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
