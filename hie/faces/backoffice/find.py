"""The one search of the desk: one field, answers by kind; a POST, so that no name stands in an address."""

from __future__ import annotations

import time

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from hie.exchange import desk_search, desk_words
from hie.exchange.errors import BadRequest
from hie.exchange.staff_pages import bare, keep_reason, roles_of, staff_of

_REASON, _LASTS_S = "find_reason", 30 * 60
LONGEST_REASON = 500


def page(request: HttpRequest) -> HttpResponse:
    """The field, and what was found of what was typed into it."""
    kinds = desk_search.kinds_for(roles_of(request.user), lambda model: _may_open(request, model))
    typed, reason = request.POST.get("q", ""), request.POST.get("reason", "").strip()[:LONGEST_REASON]
    found, problem = None, ""
    if request.method == "POST":
        try:
            found = desk_search.search(desk_words.words_of(typed), kinds, staff_of(request), reason=reason)
        except BadRequest as refused:
            problem = f"{str(refused)[:1].upper()}{str(refused)[1:]}."
    if reason:
        request.session[_REASON] = (reason, time.time() + _LASTS_S)
        if found is not None and found.shown:
            keep_reason(request, found.shown, reason)
    context = {
        **admin.site.each_context(request), "title": "Search", "found": found, "kinds": kinds, "problem": problem,
        "problem_field": "q", "typed": typed[: desk_words.LONGEST + 1], "reason": reason or _last_reason(request),
        "longest": desk_words.LONGEST, "longest_reason": LONGEST_REASON, "most": desk_search.MOST,
        "by_person": any(kind.key == "persons" for kind in kinds), "may": {kind.key for kind in kinds},
    }  # fmt: skip
    return bare(TemplateResponse(request, "backoffice/find.html", context, status=422 if problem else 200))


def _may_open(request: HttpRequest, model: str) -> bool:
    app, _, name = model.partition(".")
    return bool(request.user.has_perm(f"{app}.view_{name}"))


def _last_reason(request: HttpRequest) -> str:
    """The reason that this session gave last, to begin with: it is shown before it is used."""
    text, until = request.session.get(_REASON, ("", 0))
    return str(text) if until > time.time() else ""
