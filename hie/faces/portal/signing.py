"""Signing in and out, whose record is read, and in which language."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext, ngettext

from hie.exchange import accounts
from hie.exchange.accounts import Account
from hie.exchange.errors import NotFound
from hie.faces.portal import dates, session
from hie.faces.portal.page import page, render
from hie.faces.portal.session import Reader
from hie.trust.errors import NotAuthenticated, TooManyRequests

_LONGEST = 256


@page("GET", "POST", signed_in=False)
def sign_in(request: HttpRequest) -> HttpResponseBase:
    """Login and password."""
    onward = onward_of(request)
    if request.method != "POST":
        if session.reader(request) is not None:
            return HttpResponseRedirect(onward)
        return render(request, "sign_in.html", {"next": onward})
    login, password = request.POST.get("login", ""), request.POST.get("password", "")
    empty = [name for name, value in (("login", login.strip()), ("password", password)) if not value]
    if empty:
        return _form(request, {name: _empty(name) for name in empty}, login=login, onward=onward)
    try:
        account = accounts.sign_in(login[:_LONGEST], password[:_LONGEST], session.visit_of(request))
    except NotAuthenticated:
        wrong = gettext("The login or the password is not right. Look at both, then try again.")
        return _form(request, {"login": wrong}, login=login, onward=onward)
    except TooManyRequests as locked:
        answer = _form(request, {"login": wait(locked)}, login=login, onward=onward, status=429)
        answer["Retry-After"] = str(locked.retry_after_s)
        return answer
    return go_on(request, account, onward)


def go_on(request: HttpRequest, account: Account, onward: str) -> HttpResponse:
    """After the first factor: to the code, to setting up an app, or in."""
    if not (account.second_factor_due or account.enrolment_due):
        return let_in(request, account, onward)
    session.start_second_step(request, account)
    request.session["my-next"] = onward
    return HttpResponseRedirect(reverse("portal:code" if account.second_factor_due else "portal:first-app"))


@page("GET", "POST", signed_in=False)
def code(request: HttpRequest) -> HttpResponseBase:
    """The six digits of the code app, or a recovery code."""
    account_id = session.pending(request)
    if not account_id:
        return HttpResponseRedirect(reverse("portal:sign-in"))
    if request.method != "POST":
        return render(request, "code.html", {"paper": "paper" in request.GET})
    status, fault = 200, ""
    try:
        account = accounts.sign_in_with_code(account_id, request.POST.get("code", "")[:40], session.visit_of(request))
        onward = next_page(request)
        return let_in(
            request, account, f"{reverse('portal:account')}?recovered=1#notice" if account.recovered else onward
        )
    except NotAuthenticated:
        fault = wrong_code()
    except TooManyRequests as locked:
        status, fault = 429, wait(locked)
    paper = "paper" in request.POST
    if paper and status == 200:
        fault = gettext("This code is not right, or you have used it.")
    return render(request, "code.html", {"fault": fault, "paper": paper}, status=status)


@page("POST")
def sign_out(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """End the session."""
    accounts.sign_out(reader.account, reader.visit, session=reader.session_id)
    session.end(request)
    return HttpResponseRedirect(f"{reverse('portal:sign-in')}?out=1")


@page("POST")
def act_for(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """Read another person's record, or one's own again (an empty `person`); then the page asked for, or the log."""
    wanted = request.POST.get("person", "")
    chosen = next((one for one in reader.people if one.person_id == wanted), None)
    if wanted and chosen is None:
        raise NotFound("no such person")
    session.act_for(request, chosen.identifier_pk if chosen else None)
    return HttpResponseRedirect(onward_of(request))


@page("POST", signed_in=False)
def language(request: HttpRequest) -> HttpResponseBase:
    """Remember the language, in the browser and with the account."""
    chosen = request.POST.get("language", "")
    answer = HttpResponseRedirect(onward_of(request))
    if chosen not in dict(settings.LANGUAGES):
        return answer
    _remember(answer, chosen)
    reader = session.reader(request)
    if reader is not None:
        accounts.set_language(reader.account, chosen)
    return answer


def wrong_code() -> str:
    """What is said of six digits that are not those of now."""
    return gettext("Wait for a new code in your app, then type it here.")


def next_page(request: HttpRequest) -> str:
    """The page that was asked for before signing in."""
    return str(request.session.get("my-next") or reverse("portal:log"))


def let_in(request: HttpRequest, account: Account, onward: str) -> HttpResponse:
    """Start the session, in the language that the account's owner reads."""
    session.start(request, account)
    answer = HttpResponseRedirect(onward)
    if account.language and account.language in dict(settings.LANGUAGES):
        _remember(answer, account.language)
    return answer


def _remember(answer: HttpResponse, chosen: str) -> None:
    answer.set_cookie(
        settings.LANGUAGE_COOKIE_NAME,
        chosen,
        max_age=365 * 86_400,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def onward_of(request: HttpRequest) -> str:
    """Where to go next: a page of the portal, never elsewhere."""
    start = reverse("portal:log")
    wanted = request.POST.get("next") or request.GET.get("next") or start
    safe = url_has_allowed_host_and_scheme(wanted, allowed_hosts=None) and wanted.startswith(start)
    return wanted if safe else start


def _form(request: HttpRequest, faults: dict[str, str], *, login: str, onward: str, status: int = 200) -> HttpResponse:
    return render(request, "sign_in.html", {"faults": faults, "login": login, "next": onward}, status=status)


def _empty(name: str) -> str:
    return gettext("Type your login.") if name == "login" else gettext("Type your password.")


def wait(locked: TooManyRequests) -> str:
    minutes = max(1, round(locked.retry_after_s / 60))
    return ngettext(
        "There were too many tries. Wait {n} minute, then try again.",
        "There were too many tries. Wait {n} minutes, then try again.",
        minutes,
    ).format(n=dates.digits(minutes))
