"""The TLS client certificate of a request, as the proxy in front of the hub passes it on.

The header ``Client-Cert`` (RFC 9440: the DER in base64 between colons) is believed only from one of
``HIE_TRUSTED_PROXIES``; from anyone else it is as if it had not been sent. The proxy proves that the client holds the
key; which certificate is whose the directory says, by its SHA-256.

Source: RFC 9440; design.md "Interfaces"; IHE ITI TF-2 3.19 (Authenticate Node).
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from django.http import HttpRequest

from hie.trust.errors import NotAuthenticated
from hie.trust.requests import from_trusted_proxy

HEADER = "Client-Cert"
MAX_LENGTH = 32 * 1024
_BYTES = re.compile(r"^:([A-Za-z0-9+/]+={0,2}):$", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """A certificate whose key the client holds: SHA-256 of its DER in lower hex, its validity."""

    thumbprint: str
    not_before: datetime
    expires: datetime


def presented(request: HttpRequest, *, now: datetime) -> ClientCertificate | None:
    """The certificate that the client has shown to a trusted proxy, or None when it has shown none.

    Raises:
        NotAuthenticated: the header holds something else, or a certificate that is not valid now.
    """
    header = request.headers.get(HEADER)
    if header is None or not from_trusted_proxy(request):
        return None
    certificate = _read(header.strip())
    if certificate is None:
        raise NotAuthenticated("Client-Cert holds no certificate")
    if not certificate.not_before <= now <= certificate.expires:
        raise NotAuthenticated("the client certificate is not valid now")
    return certificate


# One connection brings the same header with every request.
@lru_cache(maxsize=1024)
def _read(header: str) -> ClientCertificate | None:
    match = _BYTES.match(header) if len(header) <= MAX_LENGTH else None
    if match is None:
        return None
    try:
        return of_der(base64.b64decode(match[1], validate=True))
    except binascii.Error:
        return None


def of_der(der: bytes) -> ClientCertificate | None:
    """What a certificate in DER says, or None when it is none."""
    try:
        found = x509.load_der_x509_certificate(der)
        return ClientCertificate(
            thumbprint=found.fingerprint(hashes.SHA256()).hex(),
            not_before=found.not_valid_before_utc,
            expires=found.not_valid_after_utc,
        )
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        return None
