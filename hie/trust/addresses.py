"""Where the hub is, under the names that tokens and metadata carry."""

from __future__ import annotations

from django.conf import settings


def base_url() -> str:
    """The hub's own address without a slash at the end; also the issuer of its tokens."""
    return str(settings.BASE_URL).rstrip("/")


def fhir_base() -> str:
    return f"{base_url()}/fhir"


def token_url() -> str:
    return f"{base_url()}/oauth/token"


def jwks_url() -> str:
    return f"{base_url()}/oauth/jwks"


def introspection_url() -> str:
    return f"{base_url()}/oauth/introspect"
