"""Participants for administrators: what is registered is read-only here; it changes by a file or by these actions.

An organization that joins is prepared, tested and let in on pages of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.views.decorators.http import require_safe
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display

from hie.directory import onboarding as rules
from hie.directory import queries, registration
from hie.directory.errors import OnboardingChanged, OnboardingRefused, RegistrationRefused
from hie.directory.models import (
    Agreement,
    AssigningAuthority,
    Certificate,
    ClientKey,
    DirectoryChange,
    Endpoint,
    Facility,
    Onboarding,
    Participant,
    Placement,
    Practitioner,
    PublicHoliday,
    ReleasePolicy,
    Standing,
)
from hie.exchange import governance, holiday_pages, onboarding, onboarding_pages, self_test, why_organization
from hie.exchange.access import Staff
from hie.exchange.staff_pages import NotedAdmin, PolicyAdmin, ReadOnly, bare, roles_of, staff_of
from hie.standards.errors import HubError

_BADGE = {Standing.ACTIVE: "success", Standing.SUSPENDED: "warning", Standing.TERMINATED: "danger"}


class AgreementInline(ReadOnly, TabularInline):  # type: ignore[misc]  # unfold ships no types
    model = Agreement
    fields = (
        "version", "status", "start", "end", "purposes", "obligations", "recorded_at", "recorded_by", "approved_by",
    )  # fmt: skip
    readonly_fields = ("recorded_at",)
    extra = 0
    hide_title = True
    tab = True


class AuthorityInline(ReadOnly, TabularInline):  # type: ignore[misc]  # unfold ships no types
    model = AssigningAuthority
    extra = 0
    hide_title = True
    tab = True


class EndpointInline(ReadOnly, TabularInline):  # type: ignore[misc]  # unfold ships no types
    model = Endpoint
    fields = ("kind", "url", "repository_unique_id")
    extra = 0
    hide_title = True
    tab = True


class KeyInline(ReadOnly, TabularInline):  # type: ignore[misc]  # unfold ships no types
    model = ClientKey
    fields = ("kid", "in_force", "not_before", "expires")
    readonly_fields = ("in_force",)
    extra = 0
    hide_title = True
    tab = True

    @display(description="In force", boolean=True)  # type: ignore[untyped-decorator]  # as above
    def in_force(self, key: ClientKey) -> bool:
        now = timezone.now()
        return (key.not_before is None or key.not_before <= now) and (key.expires is None or now < key.expires)


class CertificateInline(ReadOnly, TabularInline):  # type: ignore[misc]  # unfold ships no types
    model = Certificate
    fields = ("thumbprint", "not_before", "expires")
    extra = 0
    hide_title = True
    tab = True


class FacilityInline(TabularInline):  # type: ignore[misc]  # unfold ships no types
    model = Facility
    fields = ("name", "oid", "address", "active")
    extra = 0
    hide_title = True
    tab = True


class UserInline(ReadOnly, TabularInline):  # type: ignore[misc]  # unfold ships no types
    model = Practitioner
    fields = ("user_id", "name", "role", "purposes")
    extra = 0
    hide_title = True
    tab = True


@admin.register(ReleasePolicy)
class ReleasePolicyAdmin(PolicyAdmin, ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    """Versions of what each organization does not release; a change is proposed, and activated by a second person."""

    list_display = ("participant", "version", "effective_from", "recorded_by", "approved_by", "next")
    list_select_related = ("participant",)
    search_fields = ("participant__id", "participant__name")
    ordering = ("participant", "-version")
    list_per_page = 50

    @display(description="change it")  # type: ignore[untyped-decorator]  # as above
    def next(self, row: ReleasePolicy) -> str:
        """The way to the next version, or back to this one."""
        return _propose_from("release-policy", row.participant_id, row.version)


@admin.register(Placement)
class PlacementAdmin(PolicyAdmin, ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    """Versions of what each organization is part of, and under whose law, as two people put them into force."""

    list_display = ("participant", "version", "part_of", "jurisdiction", "recorded_by", "approved_by", "next")
    list_select_related = ("participant",)
    search_fields = ("participant__id", "participant__name")
    ordering = ("participant", "-version")
    list_per_page = 50

    @display(description="change it")  # type: ignore[untyped-decorator]  # as above
    def next(self, row: Placement) -> str:
        """The way to the next version, or back to this one."""
        return _propose_from("placement", row.participant_id, row.version)


@admin.register(PublicHoliday)
class PublicHolidayAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    """Days that count for no deadline in working days, by place, on one page."""

    def get_urls(self) -> list[Any]:
        """With the page that takes one out."""
        out = path("<int:pk>/out/", self.admin_site.admin_view(self.out_view), name="directory_publicholiday_out")
        return [out, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """All places with their holidays, and the form for more."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return holiday_pages.listed_page(request, self.admin_site.each_context(request))

    def out_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Takes one out, for a reason."""
        return holiday_pages.remove_page(request, pk, self.admin_site.each_context(request))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Everything of a holiday stands in the list."""
        return HttpResponseRedirect(reverse("admin:directory_publicholiday_changelist"))

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """As `change_view`."""
        return self.change_view(request, object_id)


class HasStanding(admin.SimpleListFilter):
    title = "standing"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("active", "Takes part now"), ("inactive", "Does not take part now")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Participant]) -> models.QuerySet[Participant]:
        if self.value() not in {"active", "inactive"}:
            return queryset
        directory, now = queries.snapshot(), timezone.now()
        active = [one for one in directory.participants if directory.is_active(one, now)]
        return queryset.filter(pk__in=active) if self.value() == "active" else queryset.exclude(pk__in=active)


@admin.register(Participant)
class ParticipantAdmin(NotedAdmin, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    noted_as = "directory-changed"
    list_display = ("id", "name", "type", "part_of", "jurisdiction", "standing", "takes_part")
    list_filter = (HasStanding, "type", "status", "jurisdiction")
    search_fields = ("id", "name", "organization_oid", "client_id", "home_community_id")
    list_select_related = ("part_of",)
    ordering = ("id",)
    list_per_page = 50
    inlines = (
        AgreementInline,
        EndpointInline,
        KeyInline,
        CertificateInline,
        AuthorityInline,
        UserInline,
        FacilityInline,
    )
    actions = ("suspend", "reinstate")
    # Everything else is the registration; these an administrator sets, and whoever brings organizations in sees them.
    _own = ("rate_per_s", "burst", "concurrency", "source_trust")
    fieldsets = (
        (None, {"fields": ("id", "name", "type", "status", "organization_oid", "part_of", "jurisdiction", "why")}),
        ("Client", {"fields": ("client_id", "jwks_url", "scopes", "default_role", "default_purpose")}),
        ("Policy", {"fields": ("part2_program", "requires_relationship", "release_policy", "changing", "ending")}),
        ("Addresses", {"fields": ("home_community_id", "source_id", "hl7v2_application", "hl7v2_facility")}),
        ("Trust in it as a source of personal details", {"fields": ("source_trust",)}),
        ("Limits", {"fields": ("rate_per_s", "burst", "concurrency", "registered_at")}),
        ("Figures", {"fields": ("own_view",)}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Participant | None = None) -> tuple[str, ...]:
        own = self._own if "administrator" in roles_of(request.user) else ()
        return (
            *(field.name for field in Participant._meta.fields if field.name not in own),
            "changing",
            "ending",
            "why",
            "own_view",
        )

    def get_urls(self) -> list[Any]:
        """With the page that says why an organization cannot ask or send."""
        view = self.admin_site.admin_view(require_safe(self.why_view))
        return [path("<str:participant_id>/why/", view, name="directory_participant_why"), *super().get_urls()]

    def why_view(self, request: HttpRequest, participant_id: str) -> HttpResponse:
        """What must hold for it to ask and to send, step by step; nothing of a patient."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        row, why = (
            self.get_object(request, participant_id),
            why_organization.organization(participant_id, timezone.now()),
        )
        if row is None or why is None:
            raise Http404
        messages_url = f"{reverse('admin:exchange_inboundmessage_missing')}?organization={quote(participant_id)}"
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": why.heading, "why": why, "row": row,
            "row_url": reverse("admin:directory_participant_change", args=[participant_id]),
            "messages_url": messages_url if request.user.has_perm("exchange.view_inboundmessage") else "",
        }  # fmt: skip
        return bare(TemplateResponse(request, "exchange/organization_why.html", context))

    @display(description="Why it cannot ask or send")  # type: ignore[untyped-decorator]  # as above
    def why(self, participant: Participant) -> str:
        """The way to that page."""
        url = reverse("admin:directory_participant_why", args=[participant.pk])
        return format_html('<a href="{}">See what must hold, step by step</a>', url)

    def get_fieldsets(self, request: HttpRequest, obj: Participant | None = None) -> Any:
        """Without ways at which this member of staff would be refused."""
        staff = staff_of(request)
        ways = {
            "changing": governance.may(staff),
            "ending": governance.may(staff, "reinstatement"),
            "own_view": request.user.has_perm("audit.see_participants"),
        }
        sets = [
            (title, {"fields": tuple(one for one in said["fields"] if ways.get(str(one), True))})
            for title, said in super().get_fieldsets(request, obj)
        ]
        return [(title, said) for title, said in sets if said["fields"]]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Participant | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Participant, form: Any, change: bool) -> None:
        """Limits as they stand in the form; the trust with a line in the history."""
        with transaction.atomic():
            queries.hold_epoch()
            obj.save(update_fields=["rate_per_s", "burst", "concurrency"])
            registration.trust(obj.pk, obj.source_trust, request.user.get_username())

    @display(description="Its own view")  # type: ignore[untyped-decorator]  # as above
    def own_view(self, participant: Participant) -> str:
        """What it asked, sent and failed, as it reads it itself."""
        url = reverse("admin:figures_participant", args=[participant.pk])
        return format_html('<a href="{}">What it asked, sent and failed</a>', url)

    @display(description="Status", label=_BADGE, ordering="status")  # type: ignore[untyped-decorator]  # as above
    def standing(self, participant: Participant) -> str:
        return participant.status

    @display(description="Takes part now", boolean=True)  # type: ignore[untyped-decorator]  # as above
    def takes_part(self, participant: Participant) -> bool:
        return bool(getattr(participant, "active_now", False))

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Participant]:
        directory, now = queries.snapshot(), timezone.now()
        active = [one for one in directory.participants if directory.is_active(one, now)]
        shown = models.Case(models.When(pk__in=active, then=True), default=False, output_field=models.BooleanField())
        rows: models.QuerySet[Participant] = super().get_queryset(request)
        return rows.annotate(active_now=shown)

    @admin.action(description="Suspend …", permissions=["change"])
    def suspend(self, request: HttpRequest, chosen: models.QuerySet[Participant]) -> HttpResponse | None:
        """To its task, where the reason is given."""
        if len(chosen) != 1:
            self.message_user(request, "Choose one organization.", messages.ERROR)
            return None
        return HttpResponseRedirect(reverse("admin:desk_task", args=["raised", chosen[0].pk]))

    @admin.action(description="Propose to end its suspension", permissions=["change"])
    def reinstate(self, request: HttpRequest, chosen: models.QuerySet[Participant]) -> HttpResponse | None:
        if len(chosen) != 1:
            self.message_user(request, "Choose one organization.", messages.ERROR)
            return None
        return HttpResponseRedirect(_proposing("reinstatement", chosen[0].pk))

    @display(description="Change it with a second person")  # type: ignore[untyped-decorator]  # as above
    def changing(self, participant: Participant) -> str:
        """The ways to propose what two people decide."""
        kinds = (
            ("agreement", "Agreement"),
            ("release-policy", "Release policy"),
            ("placement", "What it is part of, and under whose law"),
        )
        links = ((_proposing(kind, participant.pk), words) for kind, words in kinds)
        return format_html_join("", '<div class="py-2"><a href="{}">{}</a></div>', links)

    @display(description="Let it in again with a second person")  # type: ignore[untyped-decorator]  # as above
    def ending(self, participant: Participant) -> str:
        """The way to propose the end of a suspension."""
        if participant.status == Standing.ACTIVE:
            return "it is not suspended"
        return format_html('<a href="{}">Propose to end it</a>', _proposing("reinstatement", participant.pk))


def _propose_from(kind: str, participant_id: str, version: int) -> str:
    url = f"{_proposing(kind, participant_id)}&version={version}"
    return format_html('<a href="{}">Propose a version from this one</a>', url)


def _proposing(kind: str, participant_id: str) -> str:
    query = urlencode({"kind": kind, "subject": participant_id})
    return f"{reverse('admin:consent_policyproposal_propose')}?{query}"


_NEW_CODE = "onboarding_code"


@admin.register(Onboarding)
class OnboardingAdmin(PolicyAdmin, ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    """Organizations on their way in: a list, and for each the steps from invitation to approval by a second person."""

    list_display = ("name", "standing", "begun_at", "begun_by", "asked_by", "decided_by")
    list_filter = ("state",)
    search_fields = ("name", "participant_id", "begun_by")
    ordering = ("-begun_at", "pk")
    list_per_page = 50

    @display(  # type: ignore[untyped-decorator]  # as above
        description="State",
        label={"Being prepared": "info", "Waits for a second person": "warning", "Takes part": "success"},
    )
    def standing(self, row: Onboarding) -> str:
        return row.get_state_display()

    def get_urls(self) -> list[Any]:
        """With the page that invites, and the report as a file."""
        wrap = self.admin_site.admin_view
        return [
            path("invite/", wrap(self.invite_view), name="directory_onboarding_invite"),
            path("<uuid:onboarding_id>/report.json", wrap(self.report_view), name="directory_onboarding_report"),
            *super().get_urls(),
        ]

    def invite_view(self, request: HttpRequest) -> HttpResponse:
        """A form for the name and the reason; the next page shows the code, once."""
        staff = self._staff(request)
        typed = {name: request.POST.get(name, "")[:500] for name in ("name", "reason")}
        problem: HubError | None = None
        if request.method == "POST":
            try:
                made, code = onboarding.invite(typed["name"], staff, reason=typed["reason"])
                request.session[_NEW_CODE] = [str(made), code]
                return HttpResponseRedirect(
                    reverse("admin:directory_onboarding_change", args=[made]) + "?step=invitation"
                )
            except OnboardingRefused as refusal:
                problem = refusal
        context = self._context(request, title="Invite an organization", typed=typed, problem=problem)
        return bare(TemplateResponse(request, "directory/invite.html", context, status=422 if problem else 200))

    def report_view(self, request: HttpRequest, onboarding_id: UUID) -> HttpResponse:
        """The newest report of the self-test, to keep or to send on."""
        row = self._row(request, onboarding_id)
        newest = row.tests.first()
        if newest is None:
            raise Http404
        told = {
            "organization": row.name, "run": newest.number, "at": newest.began_at.isoformat(), "passed": newest.passed,
            "failed": newest.failed, "checks": newest.report,
        }  # fmt: skip
        answer = JsonResponse(told, json_dumps_params={"indent": 2})
        answer.headers["Content-Disposition"] = f'attachment; filename="self-test-{newest.number}.json"'
        return answer

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """What was done stands on the page itself."""
        return HttpResponseRedirect(reverse("admin:directory_onboarding_change", args=[object_id]) + "?step=approval")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The steps of one onboarding; a POST takes one."""
        row = self._row(request, object_id)
        step = request.GET.get("step", "")
        step = step if step in dict(onboarding_pages.STEPS) else self._next_step(row)
        if request.method == "POST":
            return self._act(request, row, step)
        return self._page(request, row, step)

    def _act(self, request: HttpRequest, row: Onboarding, step: str) -> HttpResponse:
        staff, reason = staff_of(request), request.POST.get("reason", "")[:501]
        shown = request.POST.get("version", "")
        version = int(shown) if shown.isascii() and shown.isdigit() and len(shown) < 9 else 0
        acts = {
            "ask": lambda: onboarding.ask(row.pk, staff, reason=reason, version=version),
            "send-back": lambda: onboarding.send_back(row.pk, staff, reason=reason),
            "approve": lambda: onboarding.approve(row.pk, staff, reason=reason, version=version),
            "withdraw": lambda: onboarding.withdraw(row.pk, staff, reason=reason),
        }
        act = request.POST.get("act", "")
        position = [key for key, _ in onboarding_pages.STEPS].index(step)
        try:
            if act == "code":
                request.session[_NEW_CODE] = [str(row.pk), onboarding.new_code(row.pk, staff)]
                step = "invitation"
            elif act == "test":
                onboarding.test(row.pk, onboarding_pages.samples(request.POST, request.FILES), staff)
            elif act in acts:
                take: Callable[[], Any] = acts[act]
                take()
            elif act == "save" and step in rules.PARTS:
                wrong = onboarding_pages.save(row, step, request.POST, staff)
                if wrong:
                    return self._page(request, row, step, shown=wrong)
                step = next(key for key, _ in onboarding_pages.STEPS[position + 1 :])
            return HttpResponseRedirect(f"{request.path}?step={step}#main")
        except (OnboardingRefused, OnboardingChanged, RegistrationRefused) as refusal:
            return self._page(request, self._row(request, row.pk), step, problem=refusal, reason=reason)

    def _page(
        self,
        request: HttpRequest,
        row: Onboarding,
        step: str,
        *,
        shown: list[onboarding_pages.Shown] | None = None,
        problem: HubError | None = None,
        reason: str = "",
    ) -> HttpResponse:
        faults = rules.faults(row.draft)
        part = step if step in rules.PARTS else ""
        held = request.session.get(_NEW_CODE) or ["", ""]
        if held[0] == str(row.pk) and step == "invitation":
            del request.session[_NEW_CODE]
        ready = not any(faults.values())
        context = self._context(
            request,
            title=f"{row.name} joins",
            row=row,
            step=step,
            steps=onboarding_pages.steps(row, step, faults),
            part=part,
            fields=(shown or onboarding_pages.form(part, row.draft, [])) if part else [],
            missing=[f"{one.path} {one.message}" for one in faults[part]]
            if part and shown is None and row.version > 1
            else [],
            may_save=row.state == Onboarding.State.OPEN,
            code=held[1] if held[0] == str(row.pk) else "",
            join_url=request.build_absolute_uri(reverse("join:code")),
            samples=self_test.needed(row.draft) if step == "test" and ready else [],
            ready=ready,
            report=onboarding_pages.report(row) if step in ("test", "approval") else None,
            against=rules.not_ready(row, now=timezone.now()) if step == "approval" else "",
            same=request.user.pk in (row.begun_account, row.asked_account),
            history=onboarding_pages.history(row) if step in ("invitation", "approval") else [],
            problem=problem,
            wrong=bool(shown),
            typed={"reason": reason},
        )
        status = 422 if shown or problem else 200
        return bare(TemplateResponse(request, "directory/onboarding.html", context, status=status))

    def _next_step(self, row: Onboarding) -> str:
        if row.state != Onboarding.State.OPEN:
            return "approval"
        faults = rules.faults(row.draft)
        part = next((part for part in rules.PARTS if faults[part]), "")
        return part or ("test" if rules.not_ready(row, now=timezone.now()) else "approval")

    def _row(self, request: HttpRequest, onboarding_id: Any) -> Onboarding:
        staff = self._staff(request)
        row: Onboarding | None = self.get_object(request, str(onboarding_id))
        if row is None:
            raise Http404
        return onboarding.look(row.pk, staff)

    def _staff(self, request: HttpRequest) -> Staff:
        staff = staff_of(request)
        if not self.has_view_permission(request) or not onboarding.may(staff):
            raise PermissionDenied
        return staff

    def _context(self, request: HttpRequest, **more: Any) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "opts": self.opts, **more}


@admin.register(DirectoryChange)
class DirectoryChangeAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    list_display = ("at", "participant_id", "change", "actor", "reason", "members")
    list_filter = ("kind",)
    search_fields = ("participant_id", "actor", "reason")
    list_per_page = 50

    @display(  # type: ignore[untyped-decorator]  # as above
        description="Change",
        label={"created": "success", "updated": "info", "suspended": "warning", "reinstated": "success"},
    )
    def change(self, row: DirectoryChange) -> str:
        return row.kind

    @display(description="What")  # type: ignore[untyped-decorator]  # as above
    def members(self, row: DirectoryChange) -> str:
        return ", ".join(sorted(row.changed))


class ExpiresSoon(admin.SimpleListFilter):
    """Keys of active participants that end within thirty days, or have ended."""

    title = "expires"
    parameter_name = "soon"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "Within 30 days, or already")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        if self.value() != "1":
            return queryset
        soon = timezone.now() + timedelta(days=30)
        return queryset.filter(expires__lt=soon, participant__status=Standing.ACTIVE)


@admin.register(Agreement)
class AgreementAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    list_display = ("participant", "version", "standing", "start", "end", "allowed", "approved_by", "next")
    list_filter = ("status",)
    list_select_related = ("participant",)
    search_fields = ("participant__id", "participant__name")
    ordering = ("participant", "-version")
    list_per_page = 50

    @display(description="Status", label=_BADGE, ordering="status")  # type: ignore[untyped-decorator]  # as above
    def standing(self, agreement: Agreement) -> str:
        return agreement.status

    @display(description="change it")  # type: ignore[untyped-decorator]  # as above
    def next(self, row: Agreement) -> str:
        """The way to the next version, or back to this one."""
        return _propose_from("agreement", row.participant_id, row.version)

    @display(description="Purposes")  # type: ignore[untyped-decorator]  # as above
    def allowed(self, agreement: Agreement) -> str:
        return ", ".join(agreement.purposes)


@admin.register(Endpoint)
class EndpointAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    list_display = ("participant", "kind", "url", "repository_unique_id")
    list_filter = ("kind",)
    list_select_related = ("participant",)
    search_fields = ("participant__id", "participant__name", "url")
    ordering = ("participant", "kind", "pk")
    list_per_page = 50


@admin.register(ClientKey)
class ClientKeyAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    list_display = ("kid", "participant", "not_before", "expires")
    list_filter = (ExpiresSoon,)
    list_select_related = ("participant",)
    search_fields = ("kid", "participant__id", "participant__name")
    ordering = ("expires", "participant", "kid")
    list_per_page = 50


@admin.register(Certificate)
class CertificateAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    list_display = ("thumbprint", "participant", "not_before", "expires")
    list_filter = (ExpiresSoon,)
    list_select_related = ("participant",)
    search_fields = ("thumbprint", "participant__id", "participant__name")
    ordering = ("expires", "participant", "thumbprint")
    list_per_page = 50
