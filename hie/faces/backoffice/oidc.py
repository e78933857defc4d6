"""Signing in to the desk through the organization's OpenID Connect provider, by mozilla-django-oidc.

It brings the trip (state, nonce, PKCE); the token is held to what `hie.trust.provider` holds patients' to, which the
library leaves out: issuer, audience, party and age. It makes no account and gives no role: who comes must have an account
of the name that the provider says, and gives the desk's own second factor all the same.
"""

from __future__ import annotations

from typing import Any

import requests
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from mozilla_django_oidc.auth import OIDCAuthenticationBackend
from mozilla_django_oidc.views import OIDCAuthenticationCallbackView, OIDCAuthenticationRequestView

from hie.exchange import staff_pages
from hie.trust import limits, provider
from hie.trust.errors import NotAuthenticated, ProviderUnavailable, TooManyRequests
from hie.trust.requests import network_address

_SETTINGS: dict[str, Any] = {
    "OIDC_AUTHENTICATION_CALLBACK_URL": "admin:provider_back",
    "OIDC_RP_SCOPES": "openid profile",
    "OIDC_USE_PKCE": True,
    "OIDC_USE_NONCE": True,
    "OIDC_CREATE_USER": False,
    "OIDC_TOKEN_USE_BASIC_AUTH": True,
    "OIDC_TIMEOUT": provider.TIMEOUT_S,
    "LOGIN_REDIRECT_URL": "/admin/",
    "LOGIN_REDIRECT_URL_FAILURE": "/admin/login/?provider=wrong",
}


def _setting(name: str, *default: Any) -> Any:
    """What the library asks for: fixed here, or of the provider that is configured; never of elsewhere."""
    if name in _SETTINGS:
        return _SETTINGS[name]
    here = provider.configured("staff")
    if here is not None and name in {"OIDC_RP_CLIENT_ID", "OIDC_RP_CLIENT_SECRET"}:
        return here.client_id if name.endswith("ID") else here.client_secret
    if here is not None and name == "OIDC_OP_AUTHORIZATION_ENDPOINT":
        return provider.addresses_of(here)["authorization_endpoint"]
    return default[0] if default else None


class StaffBackend(OIDCAuthenticationBackend):  # type: ignore[misc]  # it comes without types
    """Finds the account of the desk of somebody whom the provider vouches for."""

    def __init__(self) -> None:
        # Django makes one at each sign-in by password too: the provider is not asked for that.
        self.UserModel = get_user_model()

    @staticmethod
    def get_settings(attr: str, *args: Any) -> Any:
        """As `_setting`."""
        return _setting(attr, *args)

    def authenticate(self, request: HttpRequest | None, nonce: str, code_verifier: str) -> Any:
        """The account, or None."""
        here = provider.configured("staff")
        if here is None:
            return None
        self.here, where = here, provider.addresses_of(here)
        self.OIDC_RP_CLIENT_ID, self.OIDC_RP_CLIENT_SECRET = here.client_id, here.client_secret
        self.OIDC_OP_TOKEN_ENDPOINT, self.jwks_uri = where["token_endpoint"], where["jwks_uri"]
        return super().authenticate(request, nonce=nonce, code_verifier=code_verifier)

    def verify_token(self, token: str, **kwargs: Any) -> dict[str, Any]:
        """The claims of a token that was made for this hub and this trip."""
        return provider.claims_of(self.here, str(token), nonce=str(kwargs.get("nonce") or ""), jwks_uri=self.jwks_uri)

    def get_userinfo(self, access_token: str, id_token: str, payload: dict[str, Any]) -> dict[str, Any]:
        """What the token says, and nothing besides."""
        return payload

    def verify_claims(self, claims: dict[str, Any]) -> bool:
        """Whether it says who somebody is."""
        return bool(self._name(claims))

    def filter_users_by_claims(self, claims: dict[str, Any]) -> Any:
        """The open account of this very name."""
        return self.UserModel.objects.filter(username=self._name(claims), is_staff=True, is_active=True)

    def _name(self, claims: dict[str, Any]) -> str:
        name = claims.get(settings.STAFF_OIDC["claim"])
        return name if isinstance(name, str) and name.isprintable() else ""


class Away(OIDCAuthenticationRequestView):  # type: ignore[misc]  # it comes without types
    """To the provider."""

    get_settings = staticmethod(_setting)


class Back(OIDCAuthenticationCallbackView):  # type: ignore[misc]  # it comes without types
    """From the provider: to the second factor, or to the sign-in page with what to do."""

    get_settings = staticmethod(_setting)

    def login_success(self) -> HttpResponse:
        """The first step is taken; the second is the desk's own."""
        self.user.backend = "django.contrib.auth.backends.ModelBackend"
        answer: HttpResponse = super().login_success()
        return answer


def away(request: HttpRequest) -> HttpResponse:
    """Start the trip; 404 without a provider."""
    if provider.configured("staff") is None:
        raise Http404
    try:
        return Away.as_view()(request)  # type: ignore[no-any-return]
    except ProviderUnavailable:
        return _wrong()


def back(request: HttpRequest) -> HttpResponse:
    """End it; what fails is recorded, and said on the sign-in page."""
    if provider.configured("staff") is None:
        raise Http404
    try:
        limits.failed_attempts(f"desk:{network_address(request)}")
        answer: HttpResponse = Back.as_view()(request)
    except TooManyRequests:
        answer = _wrong()
    except (
        SuspiciousOperation,
        NotAuthenticated,
        ProviderUnavailable,
        requests.RequestException,
        ValueError,
        TypeError,
    ):
        answer = _wrong()
    if not request.user.is_authenticated:
        staff_pages.sign_in_refused(request, "provider")
        return answer
    request.session.cycle_key()
    return HttpResponseRedirect(reverse("admin:second_factor"))


def _wrong() -> HttpResponse:
    return HttpResponseRedirect(str(_SETTINGS["LOGIN_REDIRECT_URL_FAILURE"]))
