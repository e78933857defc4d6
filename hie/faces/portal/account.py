"""My account: the second factor, codes on paper, the password, and where the account is signed in."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext, gettext_noop

from hie.exchange import accounts, own_account
from hie.exchange.errors import NotFound
from hie.faces.portal import dates, session, signing
from hie.faces.portal.page import page, render
from hie.faces.portal.session import Reader
from hie.trust import provider
from hie.trust.errors import NotAuthenticated, TooManyRequests, WeakPassword

LONGEST = 256
WEAK = {
    "password_too_short": gettext_noop("Make it longer: 12 letters, numbers or signs at least."),
    "password_too_common": gettext_noop("Many people use this one. Think of another."),
    "password_too_similar": gettext_noop("This one is too much like your name or login. Think of another."),
}
NOTICES = {
    "app": gettext_noop("Your code app is set up."),
    "off": gettext_noop("Your code app is taken off."),
    "password": gettext_noop("Your new password is saved."),
    "ended": gettext_noop("That device is signed out."),
    "others": gettext_noop("All other devices are signed out."),
    "recovered": gettext_noop("You used a recovery code. It does not work again."),
    "passkey": gettext_noop("Your passkey is saved."),
    "passkey-off": gettext_noop("Your passkey is taken off."),
    "linked": gettext_noop("Your accounts are linked."),
    "unlinked": gettext_noop("Your accounts are not linked any more."),
}

WRONG = {
    "taken": gettext_noop("This account of {name} belongs to another account here."),
    "word-first": gettext_noop("Set a password first. Else you could not sign in any more."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A running session as the page shows one."""

    id: str
    words: str
    started: str
    seen: str
    here: bool


@page("GET")
def show(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """What there is, and what can be done about it."""
    ways = own_account.ways(reader.account)
    zone = accounts.zone_of(reader.account.person_id)
    devices = [
        Device(
            id=one.id,
            words=_device_words(one.browser, one.system),
            started=f"{dates.day(one.started_at.astimezone(zone).date())}, {dates.clock(one.started_at, zone)}",
            seen=f"{dates.day(one.seen_at.astimezone(zone).date())}, {dates.clock(one.seen_at, zone)}",
            here=one.id == reader.session_id,
        )
        for one in ways.sessions
    ]
    devices.sort(key=lambda one: not one.here)
    done = next((gettext(words) for key, words in NOTICES.items() if key in request.GET), "")
    known_here = provider.configured()
    wrong = next((gettext(words) for key, words in WRONG.items() if key in request.GET), "")
    context = {
        "ways": ways,
        "devices": devices,
        "done": done,
        "wrong": wrong.format(name=known_here.name if known_here else ""),
        "place": "account",
    }
    return render(request, "account.html", context, reader=reader)


def _device_words(browser: str, system: str) -> str:
    if browser and system:
        return gettext("{browser} on {system}").format(browser=browser, system=system)
    return browser or system or gettext("A device that does not say what it is")


# --- shown to be hers ----------------------------------------------------------------------------------------------------


def ask_first(request: HttpRequest) -> HttpResponse:
    """To the page that asks for the password again, and from there back."""
    return HttpResponseRedirect(f"{reverse('portal:confirm')}?{urlencode({'next': request.path})}")


@page("GET", "POST")
def confirm(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """Ask for the password again, or for a code where there is none, before a way in is changed."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    allowed = {
        reverse(f"portal:{name}") for name in ("app", "app-off", "codes", "password", "passkeys", "provider-link")
    }
    onward = wanted if wanted in allowed else reverse("portal:account")
    fault, status = "", 200
    if request.method == "POST":
        typed = request.POST.get("typed", "")[:LONGEST]
        try:
            said = {"password": typed} if reader.account.has_password else {"code": typed}
            own_account.confirm(reader.account, reader.visit, **said)
            session.confirm(request)
            return HttpResponseRedirect(onward)
        except NotAuthenticated:
            fault = gettext("That is not right. Type it again.")
            status = 422
        except TooManyRequests as locked:
            fault, status = signing.wait(locked), 429
    context = {"next": onward, "fault": fault, "place": "account"}
    return render(request, "confirm_owner.html", context, reader=reader, status=status)


# --- second factor -------------------------------------------------------------------------------------------------------


@page("GET", "POST")
def app(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """Set up a code app, or another one in place of it."""
    if not session.is_confirmed(request):
        return ask_first(request)
    fault, status = "", 200
    if request.method == "POST":
        secret = session.secret(request, reader.account.id)
        try:
            if not secret:
                raise NotAuthenticated("nothing is being set up")
            code = request.POST.get("code", "")[:16]
            changed, codes = own_account.finish_app(
                reader.account, secret, code, reader.visit, session=reader.session_id
            )
            session.go_on(request, changed)
            return _codes_page(request, codes, onward=f"{reverse('portal:account')}?app=1#notice", reader=reader)
        except NotAuthenticated:
            fault, status = signing.wrong_code(), 422
        except TooManyRequests as locked:
            fault, status = signing.wait(locked), 429
    return _app_page(request, reader.account.id, fault=fault, status=status, first=False, reader=reader)


@page("GET", "POST", signed_in=False)
def first_app(request: HttpRequest) -> HttpResponseBase:
    """Set up a code app at the first sign-in, where nobody is let in without."""
    account_id = session.pending(request, "app")
    if not account_id:
        return HttpResponseRedirect(reverse("portal:sign-in"))
    fault, status = "", 200
    if request.method == "POST":
        secret = session.secret(request, account_id)
        onward = signing.next_page(request)
        try:
            if not secret:
                raise NotAuthenticated("nothing is being set up")
            account, codes = own_account.sign_in_with_new_app(
                account_id, secret, request.POST.get("code", "")[:16], session.visit_of(request)
            )
            signing.let_in(request, account, onward)
            return _codes_page(request, codes, onward=onward, reader=session.reader(request))
        except NotAuthenticated:
            fault, status = signing.wrong_code(), 422
        except TooManyRequests as locked:
            fault, status = signing.wait(locked), 429
    return _app_page(request, account_id, fault=fault, status=status, first=True)


@page("GET")
def app_picture(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """The secret that is being set up, for the app's camera."""
    return _picture(request, reader.account.id)


@page("GET", signed_in=False)
def first_app_picture(request: HttpRequest) -> HttpResponseBase:
    """As `app_picture`, at the first sign-in."""
    return _picture(request, session.pending(request, "app"))


@page("GET", "POST")
def app_off(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """Ask, then take the code app off, where the hub leaves that to the patient."""
    if not session.is_confirmed(request):
        return ask_first(request)
    if request.method == "POST":
        session.go_on(request, own_account.take_off_app(reader.account, reader.visit, session=reader.session_id))
        return HttpResponseRedirect(f"{reverse('portal:account')}?off=1#notice")
    ways = own_account.ways(reader.account)
    if ways.required or not ways.second_factor:
        raise NotFound("nothing to take off")
    return render(request, "app_off.html", {"place": "account"}, reader=reader)


@page("GET", "POST")
def codes(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """New recovery codes, shown once."""
    if not session.is_confirmed(request):
        return ask_first(request)
    if not reader.account.second_factor:
        raise NotFound("nothing to recover")
    if request.method != "POST":
        return render(request, "codes_ask.html", {"place": "account"}, reader=reader)
    made = own_account.recovery_codes(reader.account, reader.visit)
    return _codes_page(request, made, onward=reverse("portal:account"), reader=reader)


def _app_page(
    request: HttpRequest, account_id: str, *, fault: str, status: int, first: bool, reader: Reader | None = None
) -> HttpResponse:
    secret = session.secret(request, account_id, begin=True)
    context = {
        "fault": fault,
        "first": first,
        "spelt": " ".join(secret.rstrip("=")[at : at + 4] for at in range(0, len(secret.rstrip("=")), 4)),
        "picture": reverse("portal:first-app-picture" if first else "portal:app-picture"),
        "place": "account",
    }
    return render(request, "app.html", context, reader=reader, status=status)


def _picture(request: HttpRequest, account_id: str) -> HttpResponse:
    secret = session.secret(request, account_id) if account_id else ""
    if not secret:
        raise Http404
    made = own_account.picture(secret, own_account.login_of(account_id))
    return HttpResponse(made, content_type="image/svg+xml")


def _codes_page(request: HttpRequest, made: list[str], *, onward: str, reader: Reader | None) -> HttpResponse:
    return render(request, "codes.html", {"codes": made, "onward": onward, "place": "account"}, reader=reader)


# --- password, sessions --------------------------------------------------------------------------------------------------


@page("GET", "POST")
def password(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """A new password, typed twice."""
    if not session.is_confirmed(request):
        return ask_first(request)
    faults: dict[str, str] = {}
    if request.method == "POST":
        typed, again = (request.POST.get(name, "")[:LONGEST] for name in ("password", "again"))
        faults = password_faults(typed, again)
        if not faults:
            try:
                changed = own_account.set_password(reader.account, typed, reader.visit, session=reader.session_id)
                session.go_on(request, changed)
                return HttpResponseRedirect(f"{reverse('portal:account')}?password=1#notice")
            except WeakPassword as weak:
                faults = {"password": weak_words(weak)}
    context = {"faults": faults, "place": "account"}
    return render(request, "password.html", context, reader=reader, status=422 if faults else 200)


def password_faults(typed: str, again: str) -> dict[str, str]:
    """What is wrong with a new password before anything is asked about it, by field."""
    if not typed:
        return {"password": gettext("Type a new password.")}
    return {} if typed == again else {"again": gettext("The two are not the same. Type it again.")}


def weak_words(weak: WeakPassword) -> str:
    """What to do about a password that is easily guessed."""
    return gettext(WEAK.get(weak.rule, WEAK["password_too_common"]))


@page("POST")
def end_session(request: HttpRequest, reader: Reader, session_id: UUID) -> HttpResponseBase:
    """Sign another device out; this one, as signing out does."""
    if str(session_id) == reader.session_id:
        accounts.sign_out(reader.account, reader.visit, session=reader.session_id)
        session.end(request)
        return HttpResponseRedirect(f"{reverse('portal:sign-in')}?out=1")
    if not own_account.end_session(reader.account, reader.visit, only=str(session_id)):
        raise NotFound("no such session")
    return HttpResponseRedirect(f"{reverse('portal:account')}?ended=1#notice")


@page("POST")
def end_others(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """Sign all other devices out."""
    own_account.end_session(reader.account, reader.visit, but=reader.session_id)
    return HttpResponseRedirect(f"{reverse('portal:account')}?others=1#notice")


@page("GET")
def stay(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """A small page for another tab: asking for it keeps the session, and what is typed in the first tab stays there."""
    return render(request, "stay.html", {"place": ""}, reader=reader)
