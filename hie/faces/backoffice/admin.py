"""Staff accounts on the desk; what the libraries registered and nobody here should edit is taken away."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Case, Count, DateTimeField, Q, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html_join
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminTextInputWidget

from hie.exchange import staff_pages
from hie.trust import staff, staff_accounts, staff_devices
from hie.trust.models import StaffAccountAct

for app, name in (
    ("auth", "user"), ("auth", "group"), ("otp_totp", "totpdevice"), ("django_celery_beat", "crontabschedule"),
    ("django_celery_beat", "clockedschedule"), ("django_celery_beat", "intervalschedule"),
    ("django_celery_beat", "periodictask"), ("django_celery_beat", "solarschedule"),
):  # fmt: skip
    for model in [one for one in admin.site._registry if (one._meta.app_label, one._meta.model_name) == (app, name)]:
        admin.site.unregister(model)


Kind = StaffAccountAct.Kind


class StaffForm(UserChangeForm):  # type: ignore[misc]  # unfold has no types
    """With who stands behind the account: what takes two people is not done by two accounts of one."""

    staff_number = forms.CharField(
        required=False,
        max_length=64,
        label="Staff number",
        help_text="Of the person behind the account. Two accounts of one number are one person.",
        widget=UnfoldAdminTextInputWidget(),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["staff_number"].initial = staff_accounts.person_of(self.instance.pk)


@admin.register(User)
class StaffAdmin(UserAdmin, ModelAdmin):  # type: ignore[misc,type-arg]  # unfold has no types
    """Staff with their roles; rights come by role only. What is done to an account is noted with it, and in the log."""

    form = StaffForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = (
        "username",
        "first_name",
        "last_name",
        "is_active",
        "roles",
        "second_factor",
        "locked",
        "last_login",
    )
    list_filter = ("is_active", "groups")
    search_fields = ("username", "first_name", "last_name")
    ordering = ("username",)
    fieldsets = (
        (None, {"fields": ("username", "password", "first_name", "last_name", "email", "staff_number")}),
        ("Roles", {"fields": ("is_active", "is_staff", "is_superuser", "groups")}),
        ("When", {"fields": ("last_login", "date_joined", "locked", "done")}),
    )
    readonly_fields = ("last_login", "date_joined", "locked", "done")
    filter_horizontal = ()
    actions = ("new_factor",)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """The name too, once there is an account: the log, cases and proposals call its holder by it."""
        return (*self.readonly_fields, "username") if obj is not None else self.readonly_fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """With roles and devices, whatever the number of accounts."""
        rows: QuerySet[User] = super().get_queryset(request)
        confirmed = Q(totpdevice__confirmed=True)
        locked = staff.locked_until(User.objects.values_list("username", flat=True))
        until = Case(
            *(When(username=name, then=Value(at)) for name, at in locked.items()),
            default=None,
            output_field=DateTimeField(),
        )
        return rows.prefetch_related("groups").annotate(
            n_devices=Count("totpdevice", filter=confirmed, distinct=True), locked_until=until
        )

    @admin.action(description="Let them set up a new second factor")
    def new_factor(self, request: HttpRequest, users: QuerySet[User]) -> None:
        """For who has lost phone and recovery codes; never one's own, which a page of one's own changes."""
        others = [user for user in users if user.pk != request.user.pk]
        for user in others:
            staff_devices.take_off(user, by=request.user.pk, caller=staff_pages.caller_of(request))
        self.message_user(request, f"{len(others)} will set up a new one at the next sign-in.")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """An account is closed, never deleted: the log names it."""
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """The account; who made it, and who stands behind it."""
        form.before = staff_accounts.standing(User.objects.get(pk=obj.pk)) if change else staff_accounts.standing(obj)
        address = User.objects.filter(pk=obj.pk).values_list("email", flat=True).first() if change else obj.email
        super().save_model(request, obj, form, change)
        if not change:
            self._note(request, obj, Kind.CREATED)
        elif address != obj.email:
            self._note(request, obj, Kind.PERSON, email=[address, obj.email])
        if "staff_number" in form.cleaned_data:
            held = staff_accounts.person_of(obj.pk)
            if staff_accounts.set_person(obj, form.cleaned_data["staff_number"]):
                self._note(request, obj, Kind.PERSON, staff_number=[held, staff_accounts.person_of(obj.pk)])

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """The roles; what the account may do otherwise than before."""
        super().save_related(request, form, formsets, change)
        if different := staff_accounts.changes(form.before, staff_accounts.standing(form.instance)):
            self._note(request, form.instance, Kind.ROLES, **different)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """A password set for another, or one's own."""
        with transaction.atomic():
            return staff_pages.noting_password(
                request, id, lambda: super(StaffAdmin, self).user_change_password(request, id, form_url)
            )

    def _note(self, request: HttpRequest, account: User, kind: StaffAccountAct.Kind, **changed: Any) -> None:
        staff_accounts.note(account, kind, by=request.user.pk, caller=staff_pages.caller_of(request), **changed)

    @admin.display(description="what was done to it")
    def done(self, user: User) -> str:
        """What was done to the account, and by whom, newest first."""
        acts = staff_accounts.history(user.pk)
        lines = (
            (
                act.get_kind_display().capitalize(),
                "at the command line" if act.by is None else f"by {act.by_name or f'account {act.by}'}",
                f"{act.at:%-d %B %Y %H:%M} UTC",
            )
            for act in acts
        )
        return format_html_join("", "<div>{} {}, {}</div>", lines) or "nothing is known"

    @admin.display(description="roles")
    def roles(self, user: User) -> str:
        """The names of the roles."""
        return ", ".join(sorted(group.name for group in user.groups.all())) or "–"

    @admin.display(description="locked")
    def locked(self, user: Any) -> str:
        """Until when nobody may try to sign in under this name: too many tries failed."""
        until = getattr(user, "locked_until", None)
        return f"until {until:%H:%M} UTC" if until is not None else "no"

    @admin.display(description="second factor", boolean=True)
    def second_factor(self, user: Any) -> bool:
        """Whether a code is asked at sign-in."""
        return bool(user.n_devices)
