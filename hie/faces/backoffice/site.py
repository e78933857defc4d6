"""The desk: unfold's admin site with a second factor, recorded sign-ins, and a policy for the browser.

The policy is wider than that of `/my/`: unfold's Alpine evaluates the expressions in its attributes, and its colours
stand in a style element. What must not weaken is in it all the same: nothing from elsewhere, no inline script, no
framing, no plug-in, no form sent elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django_otp import user_has_device
from unfold.sites import UnfoldAdminSite

from hie.exchange import staff_pages
from hie.faces.backoffice.sign_in import SignInForm

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
        """Staff, and with the second factor given if the account has one."""
        if not super().has_permission(request):
            return False
        user: Any = request.user
        known: bool | None = getattr(user, "_second_factor_given", None)
        if known is None:
            # Just signed in, the user carries the device; on later requests the middleware has looked.
            verified = getattr(user, "otp_device", None) is not None or bool(getattr(user, "is_verified", bool)())
            known = user._second_factor_given = verified or not user_has_device(user)
        return known

    def admin_view(
        self, view: Callable[..., HttpResponseBase], cacheable: bool = False
    ) -> Callable[..., HttpResponseBase]:
        """Every page of the desk, with the policy for the browser."""
        inner = super().admin_view(view, cacheable)

        def page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return _guarded(inner(request, *args, **kwargs))

        return page

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """The sign-in page; a sign-in that holds is recorded before the answer leaves."""
        answer = super().login(request, extra_context)
        if request.method == "POST" and answer.status_code == 302 and self.has_permission(request):
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
