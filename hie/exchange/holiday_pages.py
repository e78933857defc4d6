"""The desk's pages of public holidays: one with all places and the form, one that takes a holiday out.

For the `admin.py` of the directory, whose rows they are.

Source: spec/consent.md 15.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from hie.directory.errors import HolidaysRefused
from hie.directory.models import PublicHoliday
from hie.exchange import holidays
from hie.exchange.errors import AccessRefused
from hie.exchange.staff_pages import bare, staff_of

_LONGEST = {"place": 64, "days": 30_000, "reason": 500}


def listed_page(request: HttpRequest, context: Mapping[str, Any]) -> HttpResponse:
    """Every place with its holidays; a POST enters more."""
    staff = staff_of(request)
    given = request.POST if request.method == "POST" else request.GET
    typed = {name: given.get(name, "")[:longest] for name, longest in _LONGEST.items()}
    problem: HolidaysRefused | None = None
    if request.method == "POST":
        try:
            count = holidays.enter(typed["place"], typed["days"], staff, reason=typed["reason"])
            done = urlencode({"entered": count, "place": typed["place"]})
            return HttpResponseRedirect(f"{_list()}?{done}#notice")
        except AccessRefused as refusal:
            raise PermissionDenied(str(refusal)) from refusal
        except HolidaysRefused as refusal:
            problem = refusal
    shown = {
        **context, "title": "Public holidays", "places": holidays.listed(staff), "may": holidays.may(staff),
        "typed": typed, "problem": problem, "problem_field": _field(problem), "longest": 500,
        "entered": _number(request.GET.get("entered", "")), "out": _number(request.GET.get("out", "")),
    }  # fmt: skip
    return bare(TemplateResponse(request, "exchange/holidays.html", shown, status=422 if problem else 200))


def remove_page(request: HttpRequest, pk: int, context: Mapping[str, Any]) -> HttpResponse:
    """Asks for the reason; a POST with one takes the holiday out."""
    staff = staff_of(request)
    if not holidays.may(staff):
        raise PermissionDenied
    row = PublicHoliday.objects.filter(pk=pk, removed_at__isnull=True).first()
    if row is None:
        raise Http404
    reason = request.POST.get("reason", "")[: _LONGEST["reason"]]
    problem: HolidaysRefused | None = None
    if request.method == "POST":
        try:
            holidays.remove(pk, staff, reason=reason)
            return HttpResponseRedirect(f"{_list()}?{urlencode({'out': pk})}#notice")
        except HolidaysRefused as refusal:
            problem = refusal
    shown = {
        **context, "title": "Take out a holiday", "row": row, "row_url": _list(), "typed": {"reason": reason},
        "problem": problem, "problem_field": _field(problem), "longest": _LONGEST["reason"],
    }  # fmt: skip
    return bare(TemplateResponse(request, "exchange/holiday_out.html", shown, status=422 if problem else 200))


def _field(problem: HolidaysRefused | None) -> str:
    """The field of the form that was wrong."""
    element = (problem.element or "") if problem is not None else ""
    return {"reason": "why", "holiday": "main"}.get(element, element)


def _list() -> str:
    return reverse("admin:directory_publicholiday_changelist")


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
