"""`/join/`: an organization that was invited says who it is, gives its keys and endpoints, and tests itself.

It comes in by the code of its invitation, which its session remembers. It sees its own onboarding and nothing else; what
it may ask for stands there to be read, and is the exchange's to say.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_http_methods

from hie.directory import onboarding as rules
from hie.directory.errors import OnboardingChanged, OnboardingRefused
from hie.exchange import onboarding, onboarding_pages, self_test
from hie.exchange.staff_pages import bare
from hie.trust.errors import TooManyRequests
from hie.trust.requests import network_address

_HELD = "onboarding"
STEPS = (*onboarding_pages.parts_of(own=True)[:1], "agreement", *onboarding_pages.parts_of(own=True)[1:], "test")


@require_http_methods(["GET", "POST"])
def code(request: HttpRequest) -> HttpResponse:
    """The form for the code."""
    problem, status = "", 200
    if request.method == "POST":
        try:
            found = onboarding.enter(request.POST.get("code", "")[:100], network_address=network_address(request))
        except TooManyRequests:
            problem, status, found = "Too many tries. Wait a minute, then enter it again.", 429, None
        except OnboardingRefused:
            found = None
        if found is not None:
            request.session.cycle_key()
            request.session[_HELD] = onboarding.ticket(found)
            return HttpResponseRedirect(reverse("join:step", args=["organization"]))
        if not problem:
            problem, status = "This code opens nothing. Look at it again, or ask the exchange for a new one.", 422
    return _answer(request, "backoffice/join_code.html", {"problem": problem}, status)


@require_http_methods(["GET", "POST"])
def step(request: HttpRequest, key: str) -> HttpResponse:
    """One step of the organization's own; a POST saves a part or runs the self-test."""
    row = _own(request)
    if row is None:
        return HttpResponseRedirect(reverse("join:code"))
    if key not in STEPS:
        return HttpResponseRedirect(reverse("join:step", args=["organization"]))
    own = key in onboarding_pages.parts_of(own=True)
    shown: list[onboarding_pages.Shown] = []
    problem = ""
    if request.method == "POST":
        try:
            if key == "test":
                onboarding.test(row.pk, onboarding_pages.samples(request.POST, request.FILES), None)
                return HttpResponseRedirect(f"{request.path}#report")
            if own:
                shown = onboarding_pages.save(row, key, request.POST, None)
                if not shown:
                    return HttpResponseRedirect(reverse("join:step", args=[STEPS[STEPS.index(key) + 1]]))
        except (OnboardingRefused, OnboardingChanged) as refusal:
            problem = f"{refusal}."
            row = _own(request) or row
    faults = {part: [rules.told_outside(one) for one in found] for part, found in rules.faults(row.draft).items()}
    ready = not any(faults.values())
    context = {
        "row": row,
        "step": key,
        "steps": onboarding_pages.steps(row, key, faults, own=True),
        "part": "" if key == "test" else key,
        "fields": shown or ([] if key == "test" else onboarding_pages.form(key, row.draft)),
        "missing": [f"{one.path} {one.message}" for one in faults.get(key, ())]
        if not shown and own and row.version > 1
        else [],
        "may_save": own and row.state == "open",
        "samples": self_test.needed(row.draft) if key == "test" and ready else [],
        "ready": ready,
        "report": onboarding_pages.report(row) if key == "test" else None,
        "report_url": reverse("join:report"),
        "wrong": bool(shown),
        "problem": problem,
    }
    return _answer(request, "backoffice/join.html", context, 422 if shown or problem else 200)


@require_http_methods(["GET"])
def report(request: HttpRequest) -> HttpResponse:
    """The newest report of the self-test as a file."""
    row = _own(request)
    found = onboarding_pages.report(row) if row is not None else None
    if found is None:
        return HttpResponseRedirect(reverse("join:code"))
    told = {"run": found.test.number, "at": found.test.began_at.isoformat(), "checks": found.test.report}
    answer = JsonResponse(told, json_dumps_params={"indent": 2})
    answer.headers["Content-Disposition"] = f'attachment; filename="self-test-{found.test.number}.json"'
    return _kept_nowhere(answer)


@require_http_methods(["POST"])
def leave(request: HttpRequest) -> HttpResponse:
    """Forget the code in this browser."""
    request.session.pop(_HELD, None)
    return HttpResponseRedirect(reverse("join:code"))


def _own(request: HttpRequest) -> Any:
    return onboarding.own(request.session.get(_HELD))


def _answer(request: HttpRequest, template: str, context: dict[str, Any], status: int) -> HttpResponse:
    return _kept_nowhere(bare(TemplateResponse(request, template, context, status=status)))


def _kept_nowhere(answer: HttpResponse) -> HttpResponse:
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Referrer-Policy"] = "same-origin"
    return answer


app_name = "join"
urlpatterns: list[URLPattern] = [
    path("", code, name="code"),
    path("leave", leave, name="leave"),
    path("report.json", report, name="report"),
    path("<slug:key>", step, name="step"),
]
