"""Public keys and certificates as they arrive: what is taken and what is refused.

Source: RFC 7517; SMART App Launch 2, backend services (RS384, ES384; RS256 and ES256 taken too).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192  # verifying with a giant would cost seconds
_ALGORITHMS = {"RSA": ("RS384", "RS256"), "P-256": ("ES256",), "P-384": ("ES384",)}


class UnusableKey(ValueError):
    """A key or certificate that cannot be registered; the message says why, without any of its material."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key ready to verify with, and the algorithms it may be used with."""

    kid: str
    material: Any
    algorithms: tuple[str, ...]


def read_jwk(jwk: Mapping[str, Any]) -> PublicKey:
    """The key of one public JWK: RSA of 2048 bits or more, or EC on P-256 or P-384.

    Raises:
        UnusableKey: private or symmetric material, another type or curve, no kid, a key for encryption.
    """
    private = sorted(PRIVATE_MEMBERS & set(jwk))
    if private:
        raise UnusableKey(f"holds private material ({', '.join(private)}): register the public key only")
    kid = jwk.get("kid")
    if not isinstance(kid, str) or not kid:
        raise UnusableKey("kid is missing")
    kind = jwk.get("crv") if jwk.get("kty") == "EC" else jwk.get("kty")
    if not isinstance(kind, str) or kind not in _ALGORITHMS:
        raise UnusableKey("kty must be RSA, or EC with crv P-256 or P-384")
    if jwk.get("use", "sig") != "sig":
        raise UnusableKey("use must be sig")
    algorithms = _ALGORITHMS[kind]
    stated = jwk.get("alg")
    if stated is not None:
        if stated not in algorithms:
            raise UnusableKey(f"alg must be one of {', '.join(algorithms)}")
        algorithms = (stated,)
    try:
        material = jwt.PyJWK(dict(jwk), algorithm=algorithms[0]).key
    except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnusableKey("is not a valid key") from error
    if isinstance(material, RSAPublicKey) and not MIN_RSA_BITS <= material.key_size <= MAX_RSA_BITS:
        raise UnusableKey(f"RSA keys need {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")
    return PublicKey(kid=kid, material=material, algorithms=algorithms)


def validity(jwk: Mapping[str, Any]) -> tuple[datetime | None, datetime | None]:
    """`nbf` and `exp` of a JWK (seconds since the epoch), where the client states them."""
    bounds: list[datetime | None] = []
    for member in ("nbf", "exp"):
        value = jwk.get(member)
        if value is None:
            bounds.append(None)
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UnusableKey(f"{member} must be seconds since 1970")
        try:
            bounds.append(datetime.fromtimestamp(value, tz=UTC))
        except (OverflowError, ValueError, OSError) as error:
            raise UnusableKey(f"{member} must be seconds since 1970") from error
    return bounds[0], bounds[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """A certificate as stored: its PEM alone, SHA-256 of its DER in lower hex, its validity."""

    pem: str
    thumbprint: str
    not_before: datetime
    expires: datetime


def read_certificate(pem: str) -> CertificateFacts:
    """One X.509 certificate in PEM.

    Raises:
        UnusableKey: a private key stands in the text, or it is not exactly one certificate.
    """
    if "PRIVATE KEY" in pem:
        raise UnusableKey("holds a private key: register the certificate only")
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise UnusableKey("is not a PEM certificate") from error
    if len(found) != 1:
        raise UnusableKey("must be exactly one certificate")
    return CertificateFacts(
        pem=pem.strip() + "\n",
        thumbprint=found[0].fingerprint(hashes.SHA256()).hex(),
        not_before=found[0].not_valid_before_utc,
        expires=found[0].not_valid_after_utc,
    )
