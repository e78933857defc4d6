"""The desk: unfold's admin site with a second factor, recorded sign-ins, and a policy for the browser.

The policy is wider than that of `/my/`: unfold's Alpine evaluates the expressions in its attributes, and its colours
stand in a style element. What must not weaken is in it all the same: nothing from elsewhere, no inline script, no
framing, no plug-in, no form sent elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from django.contrib import auth
from django.db import transaction
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from unfold.sites import UnfoldAdminSite

from hie.exchange import staff_pages
from hie.faces.backoffice import figures, find, my_account, oidc, second_factor, tasks
from hie.faces.backoffice.sign_in import SignInForm
from hie.trust import provider, sign_ins

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)


class DeskSite(UnfoldAdminSite):  # type: ignore[misc]  # unfold has no types
    """The administrators' pages under /admin/."""

    login_form = SignInForm
    login_template = "backoffice/sign_in.html"
    index_template = "backoffice/home.html"
    index_title = "Tasks"
    enable_nav_sidebar = True

    def has_permission(self, request: HttpRequest) -> bool:
        """Staff, with the second factor given, in a session that runs."""
        given = bool(super().has_permission(request)) and second_factor.is_given(request.user)
        return given and staff_pages.session_ends_at(request) is not None

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """With the end of a session that comes whatever is done, once it is near."""
        ends_at = getattr(request, "_desk_ends_at", None)
        soon = ends_at is not None and ends_at - timezone.now() < sign_ins.IDLE
        context: dict[str, Any] = super().each_context(request)
        return context | {"desk_session": ends_at is not None, "desk_ends_at": ends_at if soon else None}

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """The lists that this member of staff may open, found when they are asked for: most pages show none."""
        return cast("list[Any]", SimpleLazyObject(partial(super().get_app_list, request, app_label)))

    def frame_context(self, request: HttpRequest) -> dict[str, Any]:
        """What a page in the desk's own frame needs: none of unfold's colours, no list of all models."""
        return {
            "site_title": self._get_config("SITE_TITLE", request),
            "sidebar_navigation": self.get_sidebar_list(request),
        }

    def extra_urls(self) -> list[URLPattern]:
        """The pages that whoever has given the password alone reaches, the one search, the dashboards, the tasks."""

        def bare(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
            return lambda request: _guarded(view(request))

        return [
            path("find/", self.admin_view(find.page), name="find"),
            path("second-factor/", bare(second_factor.page), name="second_factor"),
            path("provider/", bare(oidc.away), name="provider"),
            path("provider/back/", bare(oidc.back), name="provider_back"),
            path("second-factor/code.svg", bare(second_factor.picture), name="second_factor_picture"),
            path("account/", self.admin_view(my_account.page), name="my_account"),
            path("account/passkeys/", self.admin_view(my_account.passkeys_page), name="my_passkeys"),
            path("account/stay/", self.admin_view(my_account.stay), name="stay"),
            *tasks.urls(self.admin_view),
            *figures.urls(self.admin_view),
        ]

    def admin_view(
        self, view: Callable[..., HttpResponseBase], cacheable: bool = False
    ) -> Callable[..., HttpResponseBase]:
        """Every page of the desk, with the policy for the browser; that it was opened is recorded, if nothing else was."""
        inner = super().admin_view(view, cacheable)

        def page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not self.has_permission(request) or view == self.i18n_javascript:
                return _guarded(inner(request, *args, **kwargs))
            return _guarded(staff_pages.recorded(request, lambda: inner(request, *args, **kwargs)))

        return page

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """The sign-in page; a sign-in that holds is recorded before the answer leaves."""
        ended = False
        if second_factor.is_given(request.user) and not self.has_permission(request):
            # A session that has ended, here or from another browser: nothing of it is left in this one.
            auth.logout(request)
            ended = True
        known_here = provider.configured("staff")
        more = {"provider": known_here, "provider_wrong": known_here is not None and "provider" in request.GET}
        more |= {"session_ended": ended}
        answer = super().login(request, (extra_context or {}) | more)
        if (request.method == "GET" or answer.status_code == 302) and second_factor.is_half_way(request):
            request.session[second_factor.NEXT] = request.POST.get("next") or request.GET.get("next") or ""
            return _guarded(HttpResponseRedirect(reverse("admin:second_factor")))
        if request.method == "POST" and answer.status_code == 302 and second_factor.is_given(request.user):
            staff_pages.start_session(request)
            staff_pages.signed_in(request)
        return _guarded(answer)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """One's own password; noted with the account."""
        change = super().password_change
        with transaction.atomic():
            return _guarded(
                staff_pages.noting_password(request, request.user.pk, lambda: change(request, extra_context))
            )

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """Sign out; recorded."""
        if request.method == "POST" and request.user.is_authenticated:
            staff_pages.signed_out(request)
        return _guarded(super().logout(request, extra_context))


def _guarded(answer: HttpResponseBase) -> HttpResponseBase:
    answer.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    answer.headers.setdefault("Cache-Control", "no-store")
    return answer
