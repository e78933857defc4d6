"""The first visit: a code from a letter opens an account, or lets its owner into it again."""

from __future__ import annotations

import time

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext

from hie.exchange import activation
from hie.exchange.activation import Opening
from hie.faces.portal import session, signing
from hie.faces.portal.account import LONGEST, password_faults, weak_words
from hie.faces.portal.page import page, render
from hie.faces.portal.session import Reader
from hie.trust import provider
from hie.trust.errors import LoginTaken, NotAuthenticated, ProviderLinked, TooManyRequests, WeakPassword
from hie.trust.provider import Known

_KEY = "my-code"
PROVIDER = "my-provider"
LASTS_S = 30 * 60


@page("GET", "POST", signed_in=False)
def show(request: HttpRequest) -> HttpResponseBase:
    """The code of the letter, and the date of birth beside it."""
    if request.method != "POST":
        return render(request, "first_visit.html", {"came": _came(request)})
    typed = {name: request.POST.get(name, "").strip()[:40] for name in ("code", "born")}
    faults, status = {}, 422
    if not typed["code"]:
        faults["code"] = gettext("Type the code of your letter.")
    if not typed["born"]:
        faults["born"] = gettext("Type your date of birth.")
    if not faults:
        try:
            found = activation.check(typed["code"], typed["born"], session.visit_of(request))
            came = request.session.get(PROVIDER)
            request.session.flush()
            if came:
                request.session[PROVIDER] = came
            request.session[_KEY] = {"code": found.code_id, "until": time.time() + LASTS_S}
            return (
                open_with_provider(request)
                if _known(request)
                else HttpResponseRedirect(reverse("portal:first-account"))
            )
        except NotAuthenticated:
            faults["code"] = gettext("The code and the date of birth do not fit, or the code is too old or used.")
        except TooManyRequests as locked:
            faults["code"], status = signing.wait(locked), 429
    context = {"faults": faults, "born": typed["born"], "came": _came(request)}
    return render(request, "first_visit.html", context, status=status)


def open_with_provider(request: HttpRequest) -> HttpResponse:
    """Open the account that the code leads to for who came through the provider."""
    known, opening = _known(request), held(request)
    if known is None or opening is None:
        return HttpResponseRedirect(reverse("portal:first-visit"))
    try:
        account = activation.open_with_provider(opening.code_id, known, visit=session.visit_of(request))
    except (NotAuthenticated, ProviderLinked):
        request.session.flush()
        return HttpResponseRedirect(reverse("portal:first-visit"))
    return signing.go_on(request, account, reverse("portal:welcome"))


def _known(request: HttpRequest) -> Known | None:
    """Who came through the provider in this session and is not known here yet."""
    kept = request.session.get(PROVIDER) or {}
    if kept.get("until", 0) < time.time():
        return None
    return Known(issuer=kept["issuer"], subject=kept["subject"], strong=bool(kept["strong"]))


def _came(request: HttpRequest) -> str:
    known_here = provider.configured()
    if known_here is None or _known(request) is None:
        return ""
    return gettext("You came through {name}. Type the code of your letter once, and we know you from then on.").format(
        name=known_here.name
    )


@page("GET", "POST", signed_in=False)
def choose(request: HttpRequest) -> HttpResponseBase:
    """A login and a password of one's own; for who has an account already, a new password."""
    opening = held(request)
    if opening is None:
        return HttpResponseRedirect(reverse("portal:first-visit"))
    if request.method != "POST":
        return _form(request, opening)
    login = request.POST.get("login", "").strip()[:LONGEST]
    password, again = (request.POST.get(name, "")[:LONGEST] for name in ("password", "again"))
    faults = {}
    if not opening.login and not login:
        faults["login"] = gettext("Choose a login.")
    faults |= password_faults(password, again)
    if faults:
        return _form(request, opening, faults=faults, login=login)
    try:
        account = activation.open_with_password(
            opening.code_id, login=login, password=password, visit=session.visit_of(request)
        )
    except WeakPassword as weak:
        return _form(request, opening, faults={"password": weak_words(weak)}, login=login)
    except LoginTaken as taken:
        return _form(request, opening, faults={"login": _login_words(taken)}, login=login)
    except NotAuthenticated:
        request.session.flush()
        return HttpResponseRedirect(reverse("portal:first-visit"))
    return signing.go_on(request, account, reverse("portal:welcome"))


def held(request: HttpRequest) -> Opening | None:
    """What the code opens that was typed in this session; None when none was, or it does not open anything any more."""
    kept = request.session.get(_KEY) or {}
    if kept.get("until", 0) < time.time():
        return None
    try:
        return activation.opening(int(kept["code"]), session.visit_of(request))
    except NotAuthenticated:
        return None


@page("GET", signed_in=False)
def forgotten(request: HttpRequest) -> HttpResponseBase:
    """What to do when the password or the phone is gone."""
    return render(request, "forgotten.html")


@page("GET")
def welcome(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """What there is to do here, for who came in for the first time."""
    return render(request, "welcome.html", {"place": ""}, reader=reader)


def _form(
    request: HttpRequest, opening: Opening, *, faults: dict[str, str] | None = None, login: str = ""
) -> HttpResponse:
    context = {"opening": opening, "faults": faults or {}, "login": login}
    return render(request, "first_account.html", context, status=422 if faults else 200)


def _login_words(taken: LoginTaken) -> str:
    if taken.why == "length":
        return gettext("Choose a login of 3 to 64 letters or numbers.")
    return gettext("Somebody has this login. Choose another one.")
