"""What a client reads before it asks for a token: SMART configuration and RFC 8414 metadata."""

from __future__ import annotations

from typing import Any

from hie.trust.addresses import base_url, introspection_url, jwks_url, token_url
from hie.trust.assertions import ALGORITHMS

SCOPES = [
    "system/*.cruds",
    "system/*.rs",
    "system/Patient.cruds",
    "system/DocumentReference.cruds",
    "system/List.cruds",
    "system/Binary.cruds",
    "system/Consent.cruds",
    "system/AuditEvent.rs",
    "system/*.read",
    "system/*.write",
    *(f"ITI-{number}" for number in (65, 66, 67, 68, 78, 81, 83, 104, 105, 108, 119)),
]


def smart_configuration(at: str | None = None) -> dict[str, Any]:
    """The document of ``[base]/.well-known/smart-configuration``; `at` is the hub's base URL, by default its own.

    Source: SMART App Launch 2 "conformance"; spec/fhir.md 7.
    """
    root = (at or base_url()).rstrip("/").removesuffix("/fhir")
    return {
        "token_endpoint": f"{root}/oauth/token",
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": SCOPES,
        "response_types_supported": [],
        "code_challenge_methods_supported": ["S256"],
        "introspection_endpoint": f"{root}/oauth/introspect",
        "jwks_uri": f"{root}/oauth/jwks",
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
    }


def authorization_server_metadata() -> dict[str, Any]:
    """The document of ``/.well-known/oauth-authorization-server`` (RFC 8414, IUA [103])."""
    return {
        "issuer": base_url(),
        "token_endpoint": token_url(),
        "jwks_uri": jwks_url(),
        "introspection_endpoint": introspection_url(),
        "introspection_endpoint_auth_methods_supported": ["Bearer"],
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": [],
        "scopes_supported": SCOPES,
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "access_token_format": "ihe-jwt",
    }
