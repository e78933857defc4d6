"""Trust for administrators: assertions used, for the time they are kept, codes for patients, where staff work besides."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextInputWidget

from hie.audit import recorder
from hie.directory import queries as directory
from hie.exchange import activation, helpers, staff_pages
from hie.standards.errors import HubError
from hie.trust.models import ActivationCode, StaffAffiliation, UsedAssertion


@admin.register(UsedAssertion)
class UsedAssertionAdmin(ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    list_display = ("digest", "expires_at")
    ordering = ("-expires_at",)
    list_per_page = 50

    @admin.display(description="Assertion (digest)")
    def digest(self, used: UsedAssertion) -> str:
        return bytes(used.jti_digest).hex()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


@admin.register(ActivationCode)
class ActivationCodeAdmin(staff_pages.ReadOnly, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    """Codes that let patients into the portal: by which organization, until when, whether used; never for whom.

    The privacy officer gives one for an organization that asked; the code is shown once.
    """

    list_display = ("made_at", "organization", "issued_by", "ends_at", "used_at", "attempts")
    list_filter = ("organization",)
    fields = ("organization", "issued_by", "made_at", "ends_at", "used_at", "attempts")
    ordering = ("-made_at", "pk")
    list_per_page = 50
    change_list_template = "trust/codes.html"

    def get_urls(self) -> list[URLPattern]:
        """With the form that gives one."""
        view = self.admin_site.admin_view(self.give_view)
        return [path("give/", view, name="trust_activationcode_give"), *super().get_urls()]

    def give_view(self, request: HttpRequest) -> HttpResponse:
        """A form that asks whose number it is and why; a POST shows the code."""
        if not self.has_view_permission(request) or not staff_pages.roles_of(request.user) & helpers.OFFICERS:
            raise PermissionDenied
        given = error = None
        if request.method == "POST":
            typed = {name: request.POST.get(name, "").strip()[:300] for name in ("identifier", "reason")}
            try:
                given = activation.issue_at_desk(
                    typed["identifier"], staff_pages.staff_of(request), reason=typed["reason"]
                )
            except HubError as refusal:
                error = refusal
        element = error.element or "why" if error is not None else ""
        context = {
            **self.admin_site.each_context(request), "opts": self.opts, "title": "Let a patient in", "given": given,
            "typed": request.POST, "problem": staff_pages.sentence(error),
            "problem_field": "why" if element == "reason" else element,
        }  # fmt: skip
        status = 422 if error is not None else 200
        return staff_pages.bare(TemplateResponse(request, "trust/give_code.html", context, status=status))


class AffiliationForm(forms.ModelForm):  # type: ignore[type-arg]  # generic at type checking only
    """Who works where besides; both must be known."""

    class Meta:
        model = StaffAffiliation
        fields = ("username", "organization")
        widgets = {"username": UnfoldAdminTextInputWidget(), "organization": UnfoldAdminTextInputWidget()}

    def clean_username(self) -> str:
        """An account of the desk."""
        username: str = self.cleaned_data["username"]
        if not get_user_model().objects.filter(username=username).exists():
            raise forms.ValidationError("There is no account of this name.")
        return username

    def clean_organization(self) -> str:
        """A participant."""
        organization: str = self.cleaned_data["organization"]
        if directory.participant(organization) is None:
            raise forms.ValidationError("There is no participant of this id.")
        return organization


@admin.register(StaffAffiliation)
class StaffAffiliationAdmin(ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    """Where staff work besides: emergencies of such a place they do not judge. Added and removed, each recorded."""

    form = AffiliationForm
    list_display = ("username", "organization")
    search_fields = ("username", "organization")
    ordering = ("username", "organization")
    actions = None

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: StaffAffiliation, form: Any, change: bool) -> None:
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            _record(request, obj, "added")

    def delete_model(self, request: HttpRequest, obj: StaffAffiliation) -> None:
        with transaction.atomic():
            _record(request, obj, "removed")
            super().delete_model(request, obj)


def _record(request: HttpRequest, row: StaffAffiliation, act: str) -> None:
    detail = {"what": "second employer", "act": act, "username": row.username, "organization": row.organization}
    caller = staff_pages.caller_of(request)
    recorder.write([recorder.EventDraft(kind=recorder.EventType.STAFF_ACT, caller=caller, detail=detail)])
