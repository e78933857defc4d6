"""Staff accounts on the desk; what the libraries registered and nobody here should edit is taken away."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

for app, name in (
    ("auth", "user"), ("auth", "group"), ("otp_totp", "totpdevice"), ("django_celery_beat", "crontabschedule"),
    ("django_celery_beat", "clockedschedule"), ("django_celery_beat", "intervalschedule"),
    ("django_celery_beat", "periodictask"), ("django_celery_beat", "solarschedule"),
):  # fmt: skip
    for model in [one for one in admin.site._registry if (one._meta.app_label, one._meta.model_name) == (app, name)]:
        admin.site.unregister(model)


@admin.register(User)
class StaffAdmin(UserAdmin, ModelAdmin):  # type: ignore[misc,type-arg]  # unfold has no types
    """Staff with their roles; rights come by role only."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "first_name", "last_name", "is_active", "roles", "second_factor", "last_login")
    list_filter = ("is_active", "groups")
    search_fields = ("username", "first_name", "last_name")
    ordering = ("username",)
    fieldsets = (
        (None, {"fields": ("username", "password", "first_name", "last_name", "email")}),
        ("Roles", {"fields": ("is_active", "is_staff", "is_superuser", "groups")}),
        ("When", {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("last_login", "date_joined")
    filter_horizontal = ()

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """The name too, once there is an account: the log, cases and proposals call its holder by it."""
        return (*self.readonly_fields, "username") if obj is not None else self.readonly_fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """With roles and devices, whatever the number of accounts."""
        rows: QuerySet[User] = super().get_queryset(request)
        confirmed = Q(totpdevice__confirmed=True)
        return rows.prefetch_related("groups").annotate(n_devices=Count("totpdevice", filter=confirmed, distinct=True))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """An account is closed, never deleted: the log names it."""
        return False

    @admin.display(description="roles")
    def roles(self, user: User) -> str:
        """The names of the roles."""
        return ", ".join(sorted(group.name for group in user.groups.all())) or "–"

    @admin.display(description="second factor", boolean=True)
    def second_factor(self, user: Any) -> bool:
        """Whether a code is asked at sign-in."""
        return bool(user.n_devices)
