"""Directives, law and grants as administrators see them: read only, but that the privacy officer may end a directive."""

from __future__ import annotations

import difflib
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.decorators import display

from consent import models
from consent.errors import (
    EmergencyClaimed,
    EmergencyClosed,
    EmergencyNotClaimed,
    PolicyChanged,
    PolicyRefused,
    ReportOutdated,
)
from hie.exchange import (
    access,
    consents,
    decision_pages,
    emergency_pages,
    emergency_review,
    governance,
    helpers,
    retention,
    retention_report,
)
from hie.exchange.access import PRIVACY_OFFICER, Held, Staff
from hie.exchange.errors import AccessRefused, BadRequest
from hie.exchange.staff_pages import AuditedAdmin, PolicyAdmin, ReadOnly, TaskAdmin, bare, roles_of, sentence, staff_of
from hie.standards.errors import HubError
from hie.trust.errors import FourEyes

_LONGEST = 500
_REFUSED = (PolicyRefused, PolicyChanged, FourEyes, ReportOutdated)


class ReadOnlyAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Shows rows, fifty a page; adds, changes and deletes nothing."""

    list_per_page = 50


@admin.register(models.Consent)
class ConsentAdmin(AuditedAdmin, ReadOnlyAdmin):
    """Directives; unintelligible ones can be filtered out for attention."""

    held = Held.CONSENTS
    identifier_fields = ("identifier_id",)
    list_display = ("id", "status", "version", "capacity", "filed_by", "unintelligible", "updated_at")
    list_filter = ("status", "capacity", "unintelligible")
    list_select_related = ("identifier",)
    search_fields = ("id", "identifier__value")
    ordering = ("-updated_at", "pk")
    readonly_fields = ("ending", "trying")
    ways: ClassVar = {"ending": lambda roles: PRIVACY_OFFICER in roles, "trying": access.may_see_decisions}

    @display(description="end it")  # type: ignore[untyped-decorator]  # unfold ships no types
    def ending(self, row: models.Consent) -> str:
        """The way to the page that ends it, for the privacy officer."""
        if row.status != "active":
            return "it is not in force"
        url = reverse("admin:consent_consent_end", args=[row.pk])
        return format_html('<a href="{}">End it, with reason and evidence (privacy officer)</a>', url)

    @display(description="what if")  # type: ignore[untyped-decorator]  # unfold ships no types
    def trying(self, row: models.Consent) -> str:
        """The way to the page that works out what another choice would change."""
        url = reverse("admin:consent_consent_what_if", args=[row.pk])
        return format_html('<a href="{}">See what ending or changing it would change for whom</a>', url)

    def get_urls(self) -> list[Any]:
        """With the pages that end a directive and try out another."""
        wrap = self.admin_site.admin_view
        return [
            path("<uuid:consent_id>/end/", wrap(self.end_view), name="consent_consent_end"),
            path("<uuid:consent_id>/what-if/", wrap(self.what_if_view), name="consent_consent_what_if"),
            *super().get_urls(),
        ]

    def what_if_view(self, request: HttpRequest, consent_id: UUID) -> HttpResponse:
        """What ending or changing this directive would change for whom."""
        row: models.Consent | None = self.get_object(request, str(consent_id))
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        if row is None:
            raise Http404
        (person_id,) = self.people([row])
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "row_url": reverse("admin:consent_consent_change", args=[row.pk]),
        }
        return decision_pages.what_if_page(request, person_id, row.pk, row.resource, context)

    def end_view(self, request: HttpRequest, consent_id: UUID) -> HttpResponse:
        """A form that asks for reason and evidence; a POST with both ends the directive."""
        row: models.Consent | None = self.get_object(request, str(consent_id))
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        if row is None:
            raise Http404
        row_url = reverse("admin:consent_consent_change", args=[row.pk])
        typed = {name: request.POST.get(name, "")[:_LONGEST] for name in ("reason", "evidence")}
        problem = field = ""
        if request.method == "POST":
            try:
                consents.end(row.pk, staff_of(request), reason=typed["reason"], evidence=typed["evidence"])
                return HttpResponseRedirect(row_url)
            except AccessRefused as refusal:
                raise PermissionDenied(str(refusal)) from refusal
            except BadRequest as refusal:
                field = refusal.element or "reason"
                problem = f"Give the {field}. One sentence is enough."
        elif PRIVACY_OFFICER not in roles_of(request.user):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": "End a patient's choice", "row": row,
            "row_url": row_url, "typed": typed, "problem": problem, "problem_field": field, "longest": _LONGEST,
        }  # fmt: skip
        return bare(TemplateResponse(request, "consent/end.html", context, status=422 if problem else 200))


@admin.register(models.ConsentVersion)
class ConsentVersionAdmin(AuditedAdmin, ReadOnlyAdmin):
    """Every version of every directive."""

    held = Held.CONSENTS
    identifier_fields = ("consent.identifier_id",)
    list_display = ("consent", "version", "action", "status", "actor", "recorded_at")
    list_filter = ("action",)
    list_select_related = ("consent",)
    search_fields = ("consent__id", "actor")
    ordering = ("-recorded_at", "pk")


def _propose(kind: str, subject: str, version: int, words: str) -> str:
    url = f"{reverse('admin:consent_policyproposal_propose')}?{urlencode({'kind': kind, 'subject': subject, 'version': version})}"
    return format_html('<a href="{}">{}</a>', url, words)


@admin.register(models.PolicyProposal)
class PolicyProposalAdmin(PolicyAdmin, ReadOnlyAdmin):
    """Changes of policy: proposed by one person, put into force by another."""

    list_display = ("subject", "kind", "state", "version", "proposed_by", "proposed_at", "decided_by", "deciding")
    list_filter = ("state", "kind")
    search_fields = ("subject", "proposed_by", "decided_by")
    ordering = ("-proposed_at", "pk")
    readonly_fields = ("deciding",)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Of who brings organizations in only what they decide on: the ends of suspensions."""
        rows = super().get_queryset(request)
        if roles_of(request.user) & (governance.ROLES | {"auditor"}):
            return rows
        return rows.filter(kind=models.PolicyProposal.Kind.REINSTATEMENT)

    @display(description="decide")  # type: ignore[untyped-decorator]  # unfold ships no types
    def deciding(self, row: models.PolicyProposal) -> str:
        """The way to the page that shows what it changes and decides it."""
        return format_html(
            '<a href="{}">See what it changes</a>', reverse("admin:consent_policyproposal_decide", args=[row.pk])
        )

    def get_urls(self) -> list[Any]:
        """With the pages that propose and decide."""
        return [
            path("propose/", self.admin_site.admin_view(self.propose_view), name="consent_policyproposal_propose"),
            path(
                "<uuid:proposal_id>/decide/",
                self.admin_site.admin_view(self.decide_view),
                name="consent_policyproposal_decide",
            ),
            *super().get_urls(),
        ]

    def propose_view(self, request: HttpRequest) -> HttpResponse:
        """A part of policy with its versions, and a form for the next; the report comes before the proposal."""
        staff = staff_of(request)
        given = request.POST if request.method == "POST" else request.GET
        kind, subject = given.get("kind", "")[:32], given.get("subject", "")[:64].strip()
        kinds = [(one, name) for one, name in models.PolicyProposal.Kind.choices if governance.may(staff, one)]
        if not self.has_view_permission(request) or not kinds or (kind and not governance.may(staff, kind)):
            raise PermissionDenied
        typed = {
            name: given.get(name, "")[:limit]
            for name, limit in (("body", 500_000), ("reason", _LONGEST), ("from", 32), ("days", 8))
        }
        problem: HubError | None = None
        report = None
        if "\0" in subject:
            subject, problem = "", PolicyRefused("holds a character that cannot be stored", element="subject")
        found = governance.versions(kind, subject) if kind in models.PolicyProposal.Kind.values and subject else []
        if problem is not None:
            pass
        elif request.method == "POST":
            try:
                body, starts = _body(kind, request), _instant(typed["from"])
                if "propose" in request.POST:
                    row = governance.propose(kind, subject, body, staff, reason=typed["reason"], effective_from=starts)
                    return HttpResponseRedirect(reverse("admin:consent_policyproposal_decide", args=[row.pk]))
                report = governance.report(kind, subject, body, staff)
            except _REFUSED as refusal:
                problem = refusal
        else:
            governance.look(staff, page="propose", subject=subject)
            number = given.get("version", "")
            shown = next((one for one in found if str(one.number) == number), found[0] if found else None)
            typed["body"] = _text(governance.proposed_first(kind, shown.body)) if shown is not None else ""
            typed["days"] = str(shown.body["days"]) if shown is not None and kind == "retention" else ""
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": "Propose a change of policy",
            "kind": kind, "subject": subject, "kinds": kinds, "kept": retention_report.part_of(kind, subject), "versions": found, "at_once": governance.at_once(kind),
            "typed": typed, "report": report, "problem": problem, "longest": _LONGEST,
        }  # fmt: skip
        return bare(TemplateResponse(request, "consent/propose.html", context, status=422 if problem else 200))

    def decide_view(self, request: HttpRequest, proposal_id: UUID) -> HttpResponse:
        """What a proposal changes, and the form of the second person."""
        staff = staff_of(request)
        row: models.PolicyProposal | None = self.get_object(request, str(proposal_id))
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        if row is None:
            raise Http404
        reason, problem = request.POST.get("reason", "")[:_LONGEST], None
        if request.method == "POST":
            try:
                self._decide(request, row.pk, staff, reason)
                return HttpResponseRedirect(f"{request.path}{'#rep' if 'report_again' in request.POST else ''}")
            except AccessRefused as refusal:
                raise PermissionDenied(str(refusal)) from refusal
            except _REFUSED as refusal:
                problem = refusal
        else:
            governance.look(staff, page="decide", subject=str(row.pk))
        found = {one.number: one for one in governance.versions(row.kind, row.subject)}
        base, newest = found.get(row.on_version), governance.newest_report(row)
        waits = row.state == models.PolicyProposal.State.PROPOSED
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": "Change of policy", "row": row,
            "lines": _difference(base.body if base is not None else None, row.body), "made": newest,
            "report": newest.body if newest is not None else None, "waits": waits,
            "outdated": governance.outdated(row, newest) if waits else "",
            "may": governance.may(staff, row.kind), "own": row.proposed_account == staff.account, "reason": reason,
            "not_second": governance.not_second(row, staff) if waits and governance.may(staff, row.kind) else "",
            "problem": problem, "longest": _LONGEST,
        }  # fmt: skip
        return bare(TemplateResponse(request, "consent/decide.html", context, status=422 if problem else 200))

    def _decide(self, request: HttpRequest, proposal_id: UUID, staff: Staff, reason: str) -> None:
        if "report_again" in request.POST:
            governance.report_again(proposal_id, staff)
        elif "activate" in request.POST:
            seen = request.POST.get("report", "")
            number = int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 18 else 0
            governance.activate(proposal_id, staff, reason=reason, report=number)
        else:
            governance.withdraw(proposal_id, staff, reason=reason)


def _text(body: Any) -> str:
    return json.dumps(body, indent=1, ensure_ascii=False)


def _body(kind: str, request: HttpRequest) -> Any:
    """The version that a form holds: as text, or of how long something is kept as a number of days."""
    days = request.POST.get("days", "").strip()[:8]
    if kind != models.PolicyProposal.Kind.RETENTION or not days:
        return _json(request.POST.get("body", "")[:500_000])
    if not (days.isascii() and days.isdigit()):
        raise PolicyRefused("is no number of days", element="body")
    return {"days": int(days)}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PolicyRefused("is no JSON", element="body") from error


def _instant(text: str) -> datetime | None:
    if not text.strip():
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise PolicyRefused("is no time", element="effective_from") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _difference(old: Any, new: Any) -> list[tuple[str, str]]:
    """The lines of both, each with whether it is new, gone or the same."""
    before = _text(old).splitlines() if old is not None else []
    found = difflib.unified_diff(before, _text(new).splitlines(), lineterm="", n=2)
    return [(line[:1], line[1:]) for line in found if not line.startswith(("---", "+++"))]


@admin.register(models.Jurisdiction)
class JurisdictionAdmin(PolicyAdmin, ReadOnlyAdmin):
    """Versions of the law of each place."""

    list_display = ("code", "version", "effective_from", "created_at", "next")
    search_fields = ("code",)
    ordering = ("code", "-version")

    @display(description="change it")  # type: ignore[untyped-decorator]  # unfold ships no types
    def next(self, row: models.Jurisdiction) -> str:
        """The way to the next version, or back to this one."""
        return _propose("jurisdiction", row.code, row.version, "Propose a version from this one")


@admin.register(models.CodeTable)
class CodeTableAdmin(PolicyAdmin, ReadOnlyAdmin):
    """Overrides of the code tables shipped with the hub."""

    list_display = ("name", "version", "effective_from", "created_at", "next")
    ordering = ("name", "-version")

    @display(description="change it")  # type: ignore[untyped-decorator]  # unfold ships no types
    def next(self, row: models.CodeTable) -> str:
        """The way to the next version, or back to this one."""
        return _propose("code-table", row.name, row.version, "Propose a version from this one")


@admin.register(models.RetentionRun)
class RetentionRunAdmin(PolicyAdmin, ReadOnlyAdmin):
    """How long things are kept, on one page: the schedule, what is due, legal holds, what was removed."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The page."""
        staff = staff_of(request)
        if not self.has_view_permission(request):
            raise PermissionDenied
        governance.look(staff, page=self.opts.label_lower)
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": "How long things are kept",
            "may": governance.may(staff, "retention"), **retention_report.page(),
        }  # fmt: skip
        return bare(TemplateResponse(request, "consent/retention.html", context))


@admin.register(models.LegalHold)
class LegalHoldAdmin(PolicyAdmin, ReadOnlyAdmin):
    """Legal holds: placed by one person, lifted by two."""

    list_display = ("subject", "kind", "placed_by", "placed_at", "lifted_at", "lifted_by")
    list_filter = ("kind", ("lifted_at", admin.EmptyFieldListFilter))
    search_fields = ("subject",)
    ordering = ("-placed_at", "pk")

    def get_urls(self) -> list[Any]:
        """With the page that places one."""
        view = self.admin_site.admin_view(self.place_view)
        return [path("place/", view, name="consent_legalhold_place"), *super().get_urls()]

    def place_view(self, request: HttpRequest) -> HttpResponse:
        """A form that asks what to hold and why; a POST places the hold."""
        staff, error = staff_of(request), None
        if request.method == "POST":
            try:
                typed = {name: request.POST.get(name, "")[:_LONGEST] for name in ("kind", "subject", "reason")}
                retention.place(typed["kind"], typed["subject"], staff, reason=typed["reason"])
                return HttpResponseRedirect(f"{reverse('admin:consent_retentionrun_changelist')}#holds")
            except AccessRefused as refusal:
                raise PermissionDenied(str(refusal)) from refusal
            except PolicyRefused as refusal:
                error = refusal
        elif not staff.roles & retention.MAY_HOLD:
            raise PermissionDenied
        element = (error.element or "reason") if error is not None else ""
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": "Place a legal hold",
            "typed": request.POST, "kinds": models.LegalHold.Kind.choices,
            "problem": f"{str(error)[:1].upper()}{str(error)[1:]}." if error is not None else "",
            "problem_field": "why" if element == "reason" else element,
        }  # fmt: skip
        return bare(TemplateResponse(request, "consent/hold.html", context, status=422 if error else 200))


_KINDS = (
    ("parent", "Parent of a minor"),
    ("guardian-of-minor", "Guardian of a minor"),
    ("guardian", "Guardian of an adult"),
    ("attorney", "Power of attorney, or executor"),
    ("nominated", "Named by the patient"),
)
_LETTERS = (("N", "Ordinary documents (N)"), ("R", "Private documents too (R)"), ("V", "Very private ones too (V)"))
_STATUSES = {
    "active": (
        ("suspended", "Suspend", "As of a court: the helper sees nothing until it is taken up again."),
        ("ended", "End", "For good."),
    ),
    "suspended": (
        ("active", "Take up again", "The helper sees the record again."),
        ("ended", "End", "For good."),
    ),
    "ended": (),
}


@admin.register(models.ProxyGrant)
class ProxyGrantAdmin(AuditedAdmin, ReadOnlyAdmin):
    """Who may act for whom; the privacy officer gives, suspends and ends."""

    held = Held.CONSENTS
    identifier_fields = ("identifier_id",)
    list_display = ("id", "person", "kind", "status", "max_confidentiality", "start", "end")
    list_filter = ("kind", "status")
    list_select_related = ("identifier",)
    search_fields = ("person", "identifier__value")
    ordering = ("-created_at", "pk")
    readonly_fields = ("changing",)

    @display(description="change it")  # type: ignore[untyped-decorator]  # unfold ships no types
    def changing(self, row: models.ProxyGrant) -> str:
        """The way to the page that changes it, for the privacy officer."""
        url = reverse("admin:consent_proxygrant_status", args=[row.pk])
        return format_html('<a href="{}">Suspend, end or take up, with reason (privacy officer)</a>', url)

    def get_urls(self) -> list[Any]:
        """With the pages that give and change a permission."""
        view = self.admin_site.admin_view
        return [
            path("give/", view(self.give_view), name="consent_proxygrant_give"),
            path("<uuid:grant_id>/status/", view(self.status_view), name="consent_proxygrant_status"),
            *super().get_urls(),
        ]

    def give_view(self, request: HttpRequest) -> HttpResponse:
        """A form that asks who helps whom, and how far; a POST gives it."""
        self._officer_only(request)
        error: HubError | None = None
        if request.method == "POST":
            try:
                row = helpers.give(helpers.Asked.of(request.POST), staff_of(request), reason=_reason(request))
                return HttpResponseRedirect(reverse("admin:consent_proxygrant_status", args=[row.pk]))
            except HubError as refusal:
                error = refusal
        return self._form(request, "consent/give.html", "Name a helper", error, kinds=_KINDS, letters=_LETTERS)

    def status_view(self, request: HttpRequest, grant_id: UUID) -> HttpResponse:
        """A form that asks for the new state; a POST with a reason sets it."""
        self._officer_only(request)
        row: models.ProxyGrant | None = self.get_object(request, str(grant_id))
        if row is None:
            raise Http404
        error: HubError | None = None
        if request.method == "POST":
            said = {name: request.POST.get(name, "") for name in ("status", "evidence")}
            try:
                helpers.set_status(
                    row.pk, said["status"], staff_of(request), reason=_reason(request), evidence=said["evidence"]
                )
                return HttpResponseRedirect(request.path)
            except HubError as refusal:
                error = refusal
        row_url = reverse("admin:consent_proxygrant_change", args=[row.pk])
        acts = _STATUSES[row.status]
        title = "Change a helper's permission"
        return self._form(request, "consent/grant_status.html", title, error, row=row, row_url=row_url, acts=acts)

    def _officer_only(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request) or not roles_of(request.user) & helpers.OFFICERS:
            raise PermissionDenied

    def _form(
        self, request: HttpRequest, template: str, title: str, error: HubError | None, **more: Any
    ) -> HttpResponse:
        element = error.element or "why" if error is not None else ""
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": title, "typed": request.POST,
            "problem": sentence(error),
            "problem_field": "why" if element == "reason" else element, "longest": _LONGEST, **more,
        }  # fmt: skip
        return bare(TemplateResponse(request, template, context, status=422 if error is not None else 200))


def _reason(request: HttpRequest) -> str:
    return request.POST.get("reason", "").strip()[: _LONGEST + 1]


@admin.register(models.BreakGlassGrant)
class BreakGlassGrantAdmin(AuditedAdmin, ReadOnlyAdmin):
    """Emergency grants."""

    held = Held.CONSENTS
    identifier_fields = ("identifier_id",)
    list_display = ("id", "user", "organization", "reason", "status", "start", "end")
    list_filter = ("reason", "status")
    list_select_related = ("identifier",)
    search_fields = ("user", "organization", "identifier__value")
    ordering = ("-start", "pk")


@admin.register(models.EmergencyReview)
class EmergencyReviewAdmin(TaskAdmin, ReadOnlyAdmin):
    """The queue of emergency access: a list by deadline, and one page a case; a GET shows it, a POST acts on it."""

    held = Held.AUDIT
    identifier_fields = ("grant.identifier_id",)
    list_select_related = ("grant",)

    def task(self, row: models.EmergencyReview) -> str:
        """Every case is a task."""
        return f"Review of emergency access, case {row.pk}"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """What waits, due first; a POST takes the first case that is free."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self._next(request)
        page = request.GET.get("page", "1")
        number = int(page) if page.isascii() and page.isdigit() and len(page) < 6 else 1
        now = timezone.now()
        found = emergency_pages.listed(request.GET.get("state", ""), number, staff_of(request), now=now)
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": "Emergency access to review",
            "listed": found, "now": now, "me": f"Staff/{request.user.get_username()}", "done": self._done_case(request),
            "may_take": bool(roles_of(request.user) & emergency_review.REVIEWERS),
        }  # fmt: skip
        return bare(TemplateResponse(request, "backoffice/emergency_queue.html", context))

    def _act(self, request: HttpRequest, row: models.EmergencyReview) -> HttpResponse:
        staff, said = staff_of(request), request.POST.get("reason", "")[: _LONGEST + 1]
        match request.POST.get("act", ""):
            case "claim":
                emergency_review.claim(row.pk, staff)
                return self._to(row.pk, anchor="decision")
            case "release":
                emergency_review.give_back(row.pk, staff)
                return self._to(None)
            case "skip":
                emergency_review.give_back(row.pk, staff)
                return self._next(request, after=row.pk)
            case "decide":
                outcome = request.POST.get("outcome", "")
                seen = request.POST.get("seen", "")
                if outcome == "escalate":
                    emergency_review.pass_on(row.pk, staff, said, as_seen=seen)
                else:
                    emergency_review.decide(row.pk, outcome, staff, said, as_seen=seen)
                return self._next(request, after=row.pk, done=row.pk)
            case "reopen":
                emergency_review.reopen(row.pk, staff, said)
            case "give-back":
                emergency_review.give_access_back(row.pk, staff, said)
            case "answer":
                emergency_review.answer(row.pk, staff, said)
            case "hold":
                emergency_review.hold_notice(row.pk, staff, said, _hours_from_now(request.POST.get("hours", "")))
            case _:
                raise BadRequest("choose what to do", element="act")
        return self._to(row.pk, done=row.pk)

    def _page(self, request: HttpRequest, row: models.EmergencyReview, error: HubError | None = None) -> HttpResponse:
        now, staff = timezone.now(), staff_of(request)
        view = self.staff_view(request)
        if view is None:
            raise PermissionDenied
        self._look(request, self.people([row]), self.task(row), {"page": self.opts.label_lower, "row": str(row.pk)})
        found = emergency_pages.case(row, staff, view, now=now)
        field, status = "", 200
        if error is not None:
            field = {"reason": "why", "outcome": "outcome-first", "until": "hours"}.get(error.element or "", "main")
            status = 409 if isinstance(error, EmergencyClosed | EmergencyClaimed | EmergencyNotClaimed) else 422
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": "Was this emergency access justified?",
            "case": found, "review": row, "grant": row.grant, "now": now, "problem": sentence(error),
            "problem_field": field,
            "typed": {name: request.POST.get(name, "")[:_LONGEST] for name in ("outcome", "reason", "act", "hours")},
            "done": self._done_case(request), "queue_url": reverse("admin:consent_emergencyreview_changelist"),
        }  # fmt: skip
        return bare(TemplateResponse(request, "backoffice/emergency_case.html", context, status=status))

    def _done_case(self, request: HttpRequest) -> models.EmergencyAct | None:
        """What this reviewer did last with the case that the address names."""
        number = request.GET.get("done", "")
        if not (number.isascii() and number.isdigit() and len(number) < 18):
            return None
        last = models.EmergencyAct.objects.filter(review=int(number)).order_by("-at", "-pk").first()
        return last if last is not None and last.actor == f"Staff/{request.user.get_username()}" else None

    def _next(self, request: HttpRequest, *, after: int | None = None, done: int | None = None) -> HttpResponse:
        """To the case due first of those that are free, taken; to the queue when there is none."""
        staff = staff_of(request)
        if staff.roles & emergency_review.REVIEWERS:
            for number in emergency_pages.next_for(staff, after=after, now=timezone.now()):
                with suppress(HubError):
                    emergency_review.claim(number, staff)
                    return self._to(number, done=done)
        return self._to(None, done=done)

    def _to(self, number: int | None, *, done: int | None = None, anchor: str = "") -> HttpResponse:
        name = (
            "admin:consent_emergencyreview_change" if number is not None else "admin:consent_emergencyreview_changelist"
        )
        asked, anchor = (f"?done={done}", "notice") if done is not None else ("", anchor)
        url = reverse(name, args=[number] if number is not None else [])
        return HttpResponseRedirect(f"{url}{asked}{'#' + anchor if anchor else ''}")


def _hours_from_now(text: str) -> datetime | None:
    hours = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
    return timezone.now() + timedelta(hours=hours) if hours else None
