"""Participants for administrators: what is registered is read-only here; it changes by a file or by these actions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display

from hie.directory import queries, registration
from hie.directory.models import (
    Agreement,
    AssigningAuthority,
    Certificate,
    ClientKey,
    DirectoryChange,
    Endpoint,
    Facility,
    Participant,
    Placement,
    Practitioner,
    ReleasePolicy,
    Standing,
)
from hie.exchange import governance
from hie.exchange.errors import AccessRefused
from hie.exchange.staff_pages import PolicyAdmin, staff_of

_BADGE = {Standing.ACTIVE: "success", Standing.SUSPENDED: "warning", Standing.TERMINATED: "danger"}


class ReadOnly:
    """No adding, changing or deleting: the registered is changed where every change is checked and recorded."""

    def has_add_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


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
class ParticipantAdmin(ModelAdmin):  # type: ignore[misc]  # unfold ships no types
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
    # Limits are the operator's; everything else is the registration.
    _own = ("rate_per_s", "burst", "concurrency", "source_trust")
    fieldsets = (
        (None, {"fields": ("id", "name", "type", "status", "organization_oid", "part_of", "jurisdiction")}),
        ("Client", {"fields": ("client_id", "jwks_url", "scopes", "default_role", "default_purpose")}),
        ("Policy", {"fields": ("part2_program", "requires_relationship", "release_policy", "changing", "ending")}),
        ("Addresses", {"fields": ("home_community_id", "source_id", "hl7v2_application", "hl7v2_facility")}),
        ("Trust in it as a source of personal details", {"fields": ("source_trust",)}),
        ("Limits", {"fields": ("rate_per_s", "burst", "concurrency", "registered_at")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Participant | None = None) -> tuple[str, ...]:
        return (
            *(field.name for field in Participant._meta.fields if field.name not in self._own),
            "changing",
            "ending",
        )

    def get_fieldsets(self, request: HttpRequest, obj: Participant | None = None) -> Any:
        """Without ways at which this member of staff would be refused."""
        staff = staff_of(request)
        ways = {"changing": governance.may(staff), "ending": governance.may(staff, "reinstatement")}
        return [
            (title, {"fields": tuple(one for one in said["fields"] if ways.get(one, True))})
            for title, said in super().get_fieldsets(request, obj)
        ]

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

    @admin.action(description="Suspend: refused from the next request on", permissions=["change"])
    def suspend(self, request: HttpRequest, chosen: models.QuerySet[Participant]) -> None:
        try:
            for participant in chosen:
                governance.suspend(participant.pk, staff_of(request), reason="by an administrator")
        except AccessRefused as refusal:
            raise PermissionDenied(str(refusal)) from refusal
        self.message_user(request, f"{len(chosen)} suspended. To let one in again takes two people.", messages.WARNING)

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
        return format_html_join("", '<div><a href="{}">{}</a></div>', links)

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
