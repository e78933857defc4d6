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
from hie.trust.errors import LoginTaken, NotAuthenticated, TooManyRequests, WeakPassword

_KEY = "my-code"
_LASTS_S = 30 * 60


@page("GET", "POST", signed_in=False)
def show(request: HttpRequest) -> HttpResponseBase:
    """The code of the letter, and the date of birth beside it."""
    if request.method != "POST":
        return render(request, "first_visit.html")
    typed = {name: request.POST.get(name, "").strip()[:40] for name in ("code", "born")}
    faults, status = {}, 422
    if not typed["code"]:
        faults["code"] = gettext("Type the code of your letter.")
    if not typed["born"]:
        faults["born"] = gettext("Type your date of birth.")
    if not faults:
        try:
            found = activation.check(typed["code"], typed["born"], session.visit_of(request))
            request.session.flush()
            request.session[_KEY] = {"code": found.code_id, "until": time.time() + _LASTS_S}
            return HttpResponseRedirect(reverse("portal:first-account"))
        except NotAuthenticated:
            faults["code"] = gettext("The code and the date of birth do not fit, or the code is too old or used.")
        except TooManyRequests as locked:
            faults["code"], status = signing.wait(locked), 429
    return render(request, "first_visit.html", {"faults": faults, "born": typed["born"]}, status=status)


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
