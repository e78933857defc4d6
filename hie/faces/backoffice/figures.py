"""The dashboards of the desk, below `/admin/figures/`: one page each, by role, in a period, with its tables as files.

The strictest policy for the browser, no script. Every look is recorded, a table that is saved too, and who is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from hie.directory import queries as directory
from hie.exchange import figures
from hie.exchange.access_log_forms import csv_text
from hie.exchange.figures import Period
from hie.exchange.staff_pages import bare, staff_of
from hie.faces.backoffice import figure_panels, own_panels
from hie.faces.backoffice.figure_panels import Board

View = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Page:
    """A dashboard: its place, its names, and the right it needs."""

    name: str
    route: str
    title: str
    short: str
    right: str

    @property
    def url_name(self) -> str:
        """As `reverse` knows it."""
        return f"admin:{self.name}"


EXCHANGE = Page("figures", "figures/", "Exchange", "Exchange", "audit.see_exchange")
ANSWERS = Page("figures_answers", "figures/answers/", "Answers and refusals", "Answers", "audit.see_queries")
MATCHING = Page("figures_matching", "figures/matching/", "Matching", "Matching", "audit.see_matching")
CHOICES = Page("figures_choices", "figures/choices/", "Choices of patients", "Choices", "audit.see_choices")
FEEDS = Page("figures_feeds", "figures/feeds/", "Completeness and timeliness", "Completeness", "audit.see_feeds")
PARTICIPANT = Page("figures_participant", "figures/participants/<str:participant_id>/", "Figures of a participant", "", "audit.see_participants")  # fmt: skip
PAGES = (EXCHANGE, ANSWERS, MATCHING, CHOICES, FEEDS)


def urls(wrap: Callable[[View], View]) -> list[URLPattern]:
    """The pages, each behind the desk's sign-in; they are read alone."""
    views: dict[Page, View] = {EXCHANGE: exchange, ANSWERS: answers, MATCHING: matching, CHOICES: choices, FEEDS: feeds, PARTICIPANT: participant}  # fmt: skip
    return [path(page.route, wrap(require_safe(view)), name=page.name) for page, view in views.items()]


def exchange(request: HttpRequest) -> HttpResponse:
    """Documents and requests by organization, purpose and day."""
    organization, names = request.GET.get("organization", ""), _names()
    if organization not in names:
        organization = ""
    return _answer(
        request, EXCHANGE, lambda at: figure_panels.exchange(at, organization, names),
        organization=organization, organizations=sorted(names.items(), key=lambda one: (one[1], one[0])),
    )  # fmt: skip


def answers(request: HttpRequest) -> HttpResponse:
    """How communities answered, and what was refused here."""
    return _answer(request, ANSWERS, lambda at: figure_panels.answers(at, _names() | _targets()))


def matching(request: HttpRequest) -> HttpResponse:
    """Links, corrections, reviews, the model in force."""
    return _answer(request, MATCHING, figure_panels.matching)


def choices(request: HttpRequest) -> HttpResponse:
    """What patients chose, without naming anyone."""
    return _answer(request, CHOICES, figure_panels.choices)


def feeds(request: HttpRequest) -> HttpResponse:
    """How complete and timely each participant is."""
    return _answer(request, FEEDS, lambda at: figure_panels.feeds(at, _names()))


def participant(request: HttpRequest, participant_id: str) -> HttpResponse:
    """A participant's own view, as it reads it over the API."""
    names = _names()
    if _may(request, PARTICIPANT) and participant_id not in names:
        raise Http404
    return _answer(
        request, PARTICIPANT, lambda at: own_panels.participant(participant_id, at, names),
        organization=participant_id, title=names.get(participant_id, ""),
    )  # fmt: skip


def _answer(
    request: HttpRequest,
    page: Page,
    build: Callable[[Period], Board],
    *,
    organization: str = "",
    organizations: list[tuple[str, str]] | None = None,
    title: str = "",
) -> HttpResponse:
    if not _may(request, page):
        figures.refused(staff_of(request), page=page.name)
        raise PermissionDenied
    today = timezone.now().date()
    at = figures.period(request.GET.get("period", ""), today)
    board, wanted = build(at), request.GET.get("csv", "")
    panel = next((one for one in board.panels if one.key == wanted), None)
    if wanted and panel is None:
        raise Http404
    figures.look(staff_of(request), page=page.name, at=at, organization=organization, saved=wanted)
    if panel is not None:
        answer = HttpResponse("\ufeff" + csv_text(panel.table()), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="{panel.key}-{at.since}-{at.until}.csv"'
        return bare(answer)
    context = {
        **admin.site.each_context(request), "title": title or page.title, "board": board, "at": at, "page": page,
        "periods": figures.periods(today), "organization": organization, "organizations": organizations or [],
        "tabs": [(one.short, reverse(one.url_name), one is page) for one in PAGES if _may(request, one)],
        "participant": organization if page is PARTICIPANT else "",
    }  # fmt: skip
    return bare(TemplateResponse(request, "backoffice/figures.html", context))


def _may(request: HttpRequest, page: Page) -> bool:
    return bool(request.user.has_perm(page.right))


def _names() -> dict[str, str]:
    return {facts.id: facts.name or facts.id for facts in directory.participants().values()}


def _targets() -> dict[str, str]:
    """Communities by the name their questions are kept under."""
    found = directory.participants().values()
    return {facts.home_community_id: facts.name for facts in found if facts.home_community_id}
