"""Signing in through the OpenID Connect provider that the hub knows, and linking an account to who one is there."""

from __future__ import annotations

import time

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext

from hie.exchange import accounts, own_account
from hie.exchange.errors import NotFound
from hie.faces.portal import first_visit, session, signing
from hie.faces.portal.account import ask_first
from hie.faces.portal.page import page, render
from hie.faces.portal.session import Reader
from hie.trust import addresses, provider
from hie.trust.errors import NotAuthenticated, ProviderLinked, ProviderUnavailable, TooManyRequests
from hie.trust.provider import Known, Provider, Trip

_KEY = "my-trip"
_TRIP_S = 15 * 60


@page("GET", signed_in=False)
def start(request: HttpRequest) -> HttpResponseBase:
    """To the provider: by a link, since a form would be held to its own site."""
    return _away(request, "sign-in", onward=signing.onward_of(request))


@page("GET", signed_in=False)
def open_account(request: HttpRequest) -> HttpResponseBase:
    """To the provider, to open the account that a code of a letter leads to."""
    if first_visit.held(request) is None:
        return HttpResponseRedirect(reverse("portal:first-visit"))
    return _away(request, "open", onward=reverse("portal:welcome"))


@page("GET")
def link(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """To the provider, to link this account to who one is there."""
    if not session.is_confirmed(request):
        return ask_first(request)
    return _away(request, f"link {reader.account.id}", onward=reverse("portal:account"))


@page("POST")
def unlink(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """The account signs in here alone from now on."""
    if not session.is_confirmed(request):
        return ask_first(request)
    if not reader.account.has_password:
        return HttpResponseRedirect(f"{reverse('portal:account')}?word-first=1#notice")
    if not own_account.unlink(reader.account, reader.visit):
        raise NotFound("not linked")
    return HttpResponseRedirect(f"{reverse('portal:account')}?unlinked=1#notice")


@page("GET", signed_in=False)
def back(request: HttpRequest) -> HttpResponseBase:
    """From the provider: in, linked, or to the code of a letter when nobody here is known by this name there."""
    known_here = _provider()
    trip = request.session.pop(_KEY, None) or {}
    if trip.get("until", 0) < time.time():
        return _wrong(request, known_here, 422)
    act, onward = str(trip["act"]), str(trip["onward"])
    answer = {name: request.GET.get(name, "") for name in ("state", "code", "error", "iss") if name in request.GET}
    try:
        known = accounts.back_from_provider(
            known_here, Trip(**trip["trip"]), answer, back=_back_address(), visit=session.visit_of(request)
        )
        if act.startswith("link "):
            return _link(request, known, act.removeprefix("link "))
        account = accounts.sign_in_through_provider(known, session.visit_of(request))
        if account is not None:
            return signing.go_on(request, account, onward)
    except NotAuthenticated:
        return _wrong(request, known_here, 422)
    except ProviderUnavailable:
        return _wrong(request, known_here, 503)
    except TooManyRequests as locked:
        return _wrong(request, known_here, 429, signing.wait(locked))
    request.session[first_visit.PROVIDER] = {
        "issuer": known.issuer, "subject": known.subject, "strong": known.strong,
        "until": time.time() + first_visit.LASTS_S,
    }  # fmt: skip
    request.session.cycle_key()
    if act == "open" and first_visit.held(request) is not None:
        return first_visit.open_with_provider(request)
    return HttpResponseRedirect(reverse("portal:first-visit"))


def _link(request: HttpRequest, known: Known, account_id: str) -> HttpResponse:
    reader = session.reader(request)
    if reader is None or reader.account.id != account_id:
        return HttpResponseRedirect(reverse("portal:sign-in"))
    try:
        own_account.link(reader.account, known, reader.visit)
    except ProviderLinked:
        return HttpResponseRedirect(f"{reverse('portal:account')}?taken=1#notice")
    return HttpResponseRedirect(f"{reverse('portal:account')}?linked=1#notice")


def _away(request: HttpRequest, act: str, *, onward: str) -> HttpResponse:
    known_here = _provider()
    try:
        address, trip = provider.begin(known_here, back=_back_address())
    except ProviderUnavailable:
        return _wrong(request, known_here, 503)
    request.session[_KEY] = {
        "trip": {"state": trip.state, "nonce": trip.nonce, "verifier": trip.verifier},
        "act": act, "onward": onward, "until": time.time() + _TRIP_S,
    }  # fmt: skip
    return HttpResponseRedirect(address)


def _provider() -> Provider:
    found = provider.configured()
    if found is None:
        raise NotFound("no provider")
    return found


def _back_address() -> str:
    return f"{addresses.base_url()}{reverse('portal:provider-back')}"


def _wrong(request: HttpRequest, known_here: Provider, status: int, words: str = "") -> HttpResponse:
    said = words or gettext("That did not work at {name}. Try again, or sign in with your password.").format(
        name=known_here.name
    )
    context = {"faults": {"login": said}, "next": reverse("portal:log")}
    return render(request, "sign_in.html", context, status=status)
