"""The second factor of whoever works at the desk: set up at the first sign-in, asked for at each, changed here.

Who has given the password and not yet the code reaches this page and no other.
"""

from __future__ import annotations

import time
from typing import Any

import django_otp
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from hie.exchange import staff_pages
from hie.trust import passkeys, second_factor, staff, staff_devices
from hie.trust.errors import NotAuthenticated, TooManyRequests

_SETTING_UP = "second-factor"
_LASTS_S = 15 * 60
NEXT = "second-factor-next"
_CHALLENGE = "second-factor-passkey"
_LONGEST = 20_000
NO_PASSKEY = "That did not work. Try again, or type a code."
WRONG = "The code is not right, or too old. Wait for a new one in your app, then type it here."


def is_given(user: Any) -> bool:
    """Whether this user, as the request carries him, has given a second factor."""
    # Just signed in, the user carries the device; on later requests the middleware has looked.
    return getattr(user, "otp_device", None) is not None or bool(getattr(user, "is_verified", bool)())


def is_half_way(request: HttpRequest) -> bool:
    """Whether somebody of the staff has given the password and not the second factor."""
    user: Any = request.user
    return bool(user.is_authenticated and user.is_active and user.is_staff and not is_given(user))


@never_cache
@sensitive_post_parameters("code")
def page(request: HttpRequest) -> HttpResponse:
    """Set up an app, give its code or use a passkey, or, with that behind one, change the app and make codes on paper."""
    user: Any = request.user
    if not (user.is_authenticated and user.is_active and user.is_staff):
        return HttpResponseRedirect(reverse("admin:login"))
    act = request.POST.get("act", "") if request.method == "POST" else ""
    given, has_one = is_given(user), staff_devices.has_one(user)
    if act == "codes" and given and has_one:
        return _paper(request)
    if has_one and not given:
        return _ask(request, act)
    if act == "set-up" or not has_one or "change" in request.GET:
        return _set_up(request, act)
    return HttpResponseRedirect(reverse("admin:my_account"))


@never_cache
def picture(request: HttpRequest) -> HttpResponse:
    """The secret that is being set up, for the app's camera."""
    secret = _secret(request)
    if not (request.user.is_authenticated and secret):
        raise Http404
    return HttpResponse(second_factor.picture(secret, login=request.user.get_username()), content_type="image/svg+xml")


def _set_up(request: HttpRequest, act: str) -> HttpResponse:
    problem, status = "", 200
    secret = _secret(request)
    if act == "set-up" and secret:
        try:
            staff.count_attempt(request.user.get_username())
            device = staff_devices.set_up(
                request.user, secret, request.POST.get("code", "")[:16], caller=staff_pages.caller_of(request)
            )
        except TooManyRequests as refusal:
            problem, status, device = _wait(refusal), 429, None
        if device is not None:
            request.session.pop(_SETTING_UP, None)
            _let_in(request, device)
            return _paper(request)
        problem = problem or WRONG
    if not secret:
        secret = second_factor.new_secret()
        sealed = second_factor.seal(secret, staff_devices.owner(request.user))
        request.session[_SETTING_UP] = {"secret": sealed, "until": time.time() + _LASTS_S}
    words = {"title": "Set up your second factor", "spelt": second_factor.spelt(secret), "problem": problem}
    return _shown(request, "second_factor_set_up.html", status=422 if problem and status == 200 else status, **words)


def _ask(request: HttpRequest, act: str) -> HttpResponse:
    problem, status = "", 200
    owner = staff_devices.owner(request.user)
    if act in ("give", "passkey"):
        try:
            staff.count_attempt(request.user.get_username())
            device = _given(request, act)
            if device is not None:
                _let_in(request, device)
                return HttpResponseRedirect(_onward(request))
            staff_pages.sign_in_refused(request, "wrong-code" if act == "give" else "wrong-passkey")
            problem, status = (WRONG if act == "give" else NO_PASSKEY), 422
        except TooManyRequests as refusal:
            staff_pages.sign_in_refused(request, "too-many-attempts")
            problem, status = _wait(refusal), 429
    options = ""
    if passkeys.of(owner):
        asked = passkeys.ask(owner)
        request.session[_CHALLENGE], options = asked.challenge, asked.options
    words = {"title": "Your second factor", "problem": problem, "options": options}
    return _shown(request, "second_factor_ask.html", status=status, **words)


def _given(request: HttpRequest, act: str) -> Any:
    """The app that the code, or the passkey in its place, lets in by; None: neither fits."""
    if act == "give":
        return staff_devices.verified(request.user, request.POST.get("code", "")[:40])
    challenge = str(request.session.pop(_CHALLENGE, ""))
    try:
        if not challenge:
            raise NotAuthenticated("no challenge")
        passkeys.check(staff_devices.owner(request.user), request.POST.get("credential", "")[:_LONGEST], challenge)
    except NotAuthenticated:
        return None
    return staff_devices.app_of(request.user)


def _paper(request: HttpRequest) -> HttpResponse:
    made = staff_devices.recovery_codes(request.user, caller=staff_pages.caller_of(request))
    onward = _onward(request) if NEXT in request.session else reverse("admin:my_account")
    return _shown(request, "second_factor_codes.html", title="Your recovery codes", codes=made, onward=onward)


def _let_in(request: HttpRequest, device: Any) -> None:
    """From here on the session is one with a second factor, under a new key; recorded when it is a sign-in."""
    first = not is_given(request.user)
    staff.forget_attempts(request.user.get_username())
    django_otp.login(request, device)
    request.session.cycle_key()
    if first or staff_pages.session_ends_at(request) is None:
        staff_pages.start_session(request)
    if first:
        staff_pages.signed_in(request)


def _secret(request: HttpRequest) -> str:
    held = request.session.get(_SETTING_UP) or {}
    if not held or held["until"] < time.time() or not request.user.pk:
        return ""
    try:
        return second_factor.opened(held["secret"], staff_devices.owner(request.user))
    except second_factor.UnreadableSecret:
        return ""


def _onward(request: HttpRequest) -> str:
    """The page of the desk that was asked for before signing in."""
    wanted, start = str(request.session.get(NEXT, "")), reverse("admin:index")
    safe = url_has_allowed_host_and_scheme(wanted, allowed_hosts=None) and wanted.startswith(start)
    return wanted if safe else start


def _wait(refusal: TooManyRequests) -> str:
    return f"Too many tries. Wait {-(-refusal.retry_after_s // 60)} minutes and try again."


def _shown(request: HttpRequest, template: str, *, status: int = 200, **words: Any) -> HttpResponse:
    context = {**admin.site.each_context(request), "problem_field": "code", **words}
    return staff_pages.bare(render(request, f"backoffice/{template}", context, status=status))
