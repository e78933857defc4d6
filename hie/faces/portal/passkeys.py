"""Passkeys: made and taken off on a page of the account, used on one beside the sign-in. The only pages with a script."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext

from hie.exchange import accounts, own_account
from hie.exchange.errors import NotFound
from hie.faces.portal import dates, session, signing
from hie.faces.portal.account import ask_first
from hie.faces.portal.page import page, render
from hie.faces.portal.session import Reader
from hie.trust.errors import NotAuthenticated, TooManyRequests

_KEY = "my-passkey"
_LONGEST_NAME = 60
_LONGEST_ANSWER = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A passkey as the page shows one."""

    id: int
    name: str
    made: str


@page("GET", "POST", script=True)
def mine(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """The account's passkeys; a new one on this device."""
    if not session.is_confirmed(request):
        return ask_first(request)
    faults: dict[str, str] = {}
    name = request.POST.get("name", "").strip()[:_LONGEST_NAME]
    if request.method == "POST":
        challenge = str(request.session.pop(_KEY, ""))
        if not name:
            faults["name"] = gettext("Give it a name.")
        else:
            try:
                if not challenge:
                    raise NotAuthenticated("no challenge")
                answer = request.POST.get("credential", "")[:_LONGEST_ANSWER]
                own_account.finish_passkey(reader.account, answer, challenge, reader.visit, name=name)
                return HttpResponseRedirect(f"{reverse('portal:account')}?passkey=1#notice")
            except NotAuthenticated:
                faults["name"] = gettext("That did not work. Try again.")
    zone = accounts.zone_of(reader.account.person_id)
    shown = [
        Shown(id=one.id, name=one.name, made=dates.day(one.made_at.astimezone(zone).date()))
        for one in own_account.passkeys(reader.account)
    ]
    options = ""
    if reader.account.second_factor:
        begun = own_account.begin_passkey(reader.account)
        request.session[_KEY], options = begun.challenge, begun.options
    context = {"passkeys": shown, "options": options, "faults": faults, "name": name, "place": "account"}
    return render(request, "passkeys.html", context, reader=reader, status=422 if faults else 200)


@page("POST")
def take_off(request: HttpRequest, reader: Reader, passkey_id: int) -> HttpResponseBase:
    """One passkey less."""
    if not session.is_confirmed(request):
        return ask_first(request)
    if not own_account.take_off_passkey(reader.account, passkey_id, reader.visit):
        raise NotFound("no such passkey")
    return HttpResponseRedirect(f"{reverse('portal:account')}?passkey-off=1#notice")


@page("GET", "POST", signed_in=False, script=True)
def sign_in(request: HttpRequest) -> HttpResponseBase:
    """Sign in by a passkey: what the device verified needs no second step."""
    onward = signing.onward_of(request)
    fault, status = "", 200
    if request.method == "POST":
        challenge = str(request.session.pop(_KEY, ""))
        try:
            if not challenge:
                raise NotAuthenticated("no challenge")
            answer = request.POST.get("credential", "")[:_LONGEST_ANSWER]
            account = accounts.sign_in_with_passkey(answer, challenge, session.visit_of(request))
            return signing.let_in(request, account, onward)
        except NotAuthenticated:
            fault, status = gettext("That did not work. Try again, or sign in with your password."), 422
        except TooManyRequests as locked:
            fault, status = signing.wait(locked), 429
    return _asked(request, onward, fault, status)


def _asked(request: HttpRequest, onward: str, fault: str, status: int) -> HttpResponse:
    begun = own_account.ask_passkey()
    request.session[_KEY] = begun.challenge
    context = {"options": begun.options, "next": onward, "fault": fault}
    return render(request, "passkey_sign_in.html", context, status=status)
