"""One's own account at the desk: ways in, sessions to see and end, passkeys; what was done to it, and by whom."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters

from hie.exchange import staff_pages
from hie.trust import passkeys, second_factor, sign_ins, staff, staff_accounts, staff_devices
from hie.trust.errors import NotAuthenticated, TooManyRequests

_CHALLENGE = "my-passkey"
_LONGEST_NAME = 60
_LONGEST_ANSWER = 20_000
SHOWN_ACTS = 20
WRONG_CODE = "The code is not right, or too old. Wait for a new one in your app, then type it here."


def page(request: HttpRequest) -> HttpResponse:
    """The account; a POST ends a session, or all others."""
    owner, here = staff_devices.owner(request.user), staff_pages.session_id(request)
    if request.method == "POST":
        if request.POST.get("act") == "end-others":
            staff_pages.end_sessions(request, but=here)
        elif (which := request.POST.get("session", "")) in {one.id for one in sign_ins.of(owner)}:
            staff_pages.end_sessions(request, only=which)
        return HttpResponseRedirect(f"{reverse('admin:my_account')}?ended=1#notice")
    words: dict[str, Any] = {
        "left": second_factor.recovery_codes_left(owner),
        "passkeys": passkeys.of(owner),
        "sessions": sign_ins.of(owner),
        "here": here,
        "roles": sorted(staff_pages.roles_of(request.user)),
        "acts": staff_accounts.history(owner.staff)[:SHOWN_ACTS],
        "notice": _NOTICES.get(next((name for name in _NOTICES if name in request.GET), ""), ""),
        "idle": int(sign_ins.IDLE.total_seconds() // 60),
        "longest": int(sign_ins.LONGEST.total_seconds() // 3600),
    }
    return _shown(request, "my_account.html", title="My account", **words)


_NOTICES = {
    "ended": "Done. Whoever sat there has to sign in again.",
    "added": "Your passkey is ready. It stands in for the code.",
    "off": "The passkey is taken off.",
}


@sensitive_post_parameters("code", "credential")
def passkeys_page(request: HttpRequest) -> HttpResponse:
    """The account's passkeys: a new one on this device, with a code of the app; one less."""
    owner, problem, field, status = staff_devices.owner(request.user), "", "", 200
    name = request.POST.get("name", "").strip()[:_LONGEST_NAME]
    caller = staff_pages.caller_of(request)
    if request.method == "POST" and request.POST.get("act") == "off":
        which = request.POST.get("passkey", "")
        number = int(which) if which.isascii() and which.isdigit() and len(which) < 18 else 0
        staff_devices.take_off_passkey(request.user, number, caller=caller)
        return HttpResponseRedirect(f"{reverse('admin:my_account')}?off=1#notice")
    if request.method == "POST":
        challenge = str(request.session.pop(_CHALLENGE, ""))
        try:
            if not name:
                problem, field = "Give it a name.", "name"
            elif not _code_fits(request):
                problem, field = WRONG_CODE, "code"
            else:
                answer = request.POST.get("credential", "")[:_LONGEST_ANSWER]
                if not challenge:
                    raise NotAuthenticated("no challenge")
                staff_devices.add_passkey(request.user, answer, challenge, name=name, caller=caller)
                return HttpResponseRedirect(f"{reverse('admin:my_account')}?added=1#notice")
            status = 422
        except NotAuthenticated:
            problem, field, status = "That did not work. Try again.", "passkey", 422
        except TooManyRequests as refusal:
            problem, field = f"Too many tries. Wait {-(-refusal.retry_after_s // 60)} minutes and try again.", "code"
            status = 429
    begun = passkeys.begin(owner, login=request.user.get_username(), name=str(request.user))
    request.session[_CHALLENGE] = begun.challenge
    words: dict[str, Any] = {"passkeys": passkeys.of(owner), "options": begun.options, "name": name, "problem": problem}
    return _shown(request, "my_passkeys.html", title="Passkeys", status=status, problem_field=field, **words)


def stay(request: HttpRequest) -> HttpResponse:
    """Opened beside a page that is about to end: the session goes on by this, and what was typed there stays."""
    return _shown(request, "stay.html", title="You stay signed in")


def _code_fits(request: HttpRequest) -> bool:
    """Whether whoever sits here shows a code of the app. Raises TooManyRequests."""
    login = request.user.get_username()
    staff.count_attempt(login)
    if staff_devices.verified(request.user, request.POST.get("code", "")[:40]) is None:
        return False
    staff.forget_attempts(login)
    return True


def _shown(request: HttpRequest, template: str, *, status: int = 200, **words: Any) -> HttpResponse:
    context = {**admin.site.each_context(request), **words}
    return staff_pages.bare(render(request, f"backoffice/{template}", context, status=status))
