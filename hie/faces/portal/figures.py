"""`/figures/`: the public page of adoption and use. Nobody signs in; nothing of a patient, and no organization's numbers.

The page is the same for everybody who reads its language, so it may be kept by caches for an hour: it reads no session and
sets no cookie. The language is that of the address, else the browser's.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render as django_render
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext, gettext_noop
from django.utils.translation.trans_real import parse_accept_lang_header
from django.views.decorators.csrf import csrf_exempt

from hie.exchange import public_figures
from hie.exchange.public_figures import Month
from hie.faces.portal import dates
from hie.faces.portal.page import harden

KEPT_S = 3600
PURPOSES = {
    "TREAT": gettext_noop("To treat patients"),
    "HPAYMT": gettext_noop("To decide on payment"),
    "HOPERAT": gettext_noop("To run a hospital or clinic"),
    "PATRQT": gettext_noop("Patients, to read their own"),
    "PUBHLTH": gettext_noop("For public health"),
    "HRESCH": gettext_noop("For research"),
    "BTG": gettext_noop("In an emergency"),
}


@dataclass(frozen=True, slots=True)
class Bar:
    """A number in words, and how long its bar is, in hundredths."""

    name: str
    number: str
    width: str


@csrf_exempt
def show(request: HttpRequest) -> HttpResponse:
    """The months that were published, newest first."""
    if request.method not in ("GET", "HEAD"):
        answer = HttpResponse(status=405)
        answer["Allow"] = "GET, HEAD"
        return _public(answer)
    language = _language(request)
    with translation.override(language):
        months = public_figures.published()
        newest = months[0] if months else None
        context = {
            "hub_name": settings.HUB_NAME,
            "language": language,
            "direction": "rtl" if translation.get_language_bidi() else "ltr",
            "languages": list(settings.LANGUAGES),
            "month": dates.month(newest.month) if newest else "",
            "facts": _facts(newest) if newest else [],
            "purposes": _bars([(gettext(PURPOSES[code]), number) for code, number in newest.purposes])
            if newest
            else [],
            "documents": _bars([(dates.month(one.month), one.documents) for one in months]),
            "columns": [name for name, _ in _row(None)],
            "rows": [(dates.month(one.month), _row(one)) for one in months],
        }
        return _public(django_render(request, "portal/figures.html", context))


def _facts(one: Month) -> list[tuple[str, str]]:
    """What the newest month says, each a number and what it counts."""
    said = (
        (one.organizations, gettext("places take part")),
        (one.patients, gettext("patients are known here")),
        (one.documents, gettext("times a document was read")),
        (one.asked, gettext("questions were asked")),
        (one.sent, gettext("messages came in")),
        (one.communities, gettext("questions went to other networks")),
        (one.choosing, gettext("patients have made a choice of their own")),
        (one.signed_in, gettext("times a patient signed in")),
    )
    return [(_number(number), words) for number, words in said if number is not None]


def _row(one: Month | None) -> list[tuple[str, str]]:
    """The columns of the table with a month's numbers; without a month, their heads alone."""
    numbers = (one.documents, one.asked, one.sent, one.patients, one.choosing, one.signed_in) if one else (None,) * 6
    heads = (
        gettext("Documents read"),
        gettext("Questions"),
        gettext("Messages that came in"),
        gettext("Patients known"),
        gettext("Patients with a choice"),
        gettext("Sign-ins of patients"),
    )
    return [(name, _number(number)) for name, number in zip(heads, numbers, strict=True)]


def _bars(rows: list[tuple[str, int]] | list[tuple[str, int | None]]) -> list[Bar]:
    top = max((number for _, number in rows if number), default=1)
    return [Bar(name, _number(number), f"{100 * (number or 0) / top:.2f}") for name, number in rows]


def _number(number: int | None) -> str:
    """A number as the language writes it; a dash for what is left out."""
    if number is None:
        return "–"
    separator = {"es": ".", "ar": "٬"}.get((translation.get_language() or "en").split("-")[0], ",")
    return dates.digits(f"{number:,}".replace(",", separator))


def _language(request: HttpRequest) -> str:
    known = dict(settings.LANGUAGES)
    wanted = request.GET.get("language", "")
    if wanted in known:
        return wanted
    for code, _ in parse_accept_lang_header(request.headers.get("Accept-Language", "")):
        if code.split("-")[0] in known:
            return code.split("-")[0]
    return "en"


def _public(answer: HttpResponse) -> HttpResponse:
    harden(answer)
    answer["Cache-Control"] = f"public, max-age={KEPT_S}"
    patch_vary_headers(answer, ["Accept-Language"])
    return answer
