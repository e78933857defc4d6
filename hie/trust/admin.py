"""Trust for administrators: assertions used, for the time they are kept, and where staff work besides."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db import models, transaction
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextInputWidget

from hie.audit import recorder
from hie.directory import queries as directory
from hie.exchange import staff_pages
from hie.trust.models import StaffAffiliation, UsedAssertion


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
