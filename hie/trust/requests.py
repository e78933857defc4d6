"""What every request carries beside its content: an id and the address it came from."""

from __future__ import annotations

import ipaddress
import re
import uuid

from django.conf import settings
from django.http import HttpRequest

_REQUEST_ID = re.compile(r"^[A-Za-z0-9._:-]{1,64}$")


def request_id(request: HttpRequest) -> str:
    """The caller's ``X-Request-Id`` if it is usable, else a new one; the same at every call for a request."""
    known: str | None = getattr(request, "hie_request_id", None)
    if known is None:
        given = request.headers.get("X-Request-Id", "")
        known = given if _REQUEST_ID.match(given) else str(uuid.uuid4())
        request.hie_request_id = known  # type: ignore[attr-defined]  # carried with the request, as Django's own are
    return known


def network_address(request: HttpRequest) -> str:
    """The address of the caller: the peer's, or, behind trusted proxies, the last one they did not add.

    ``X-Forwarded-For`` is read from the right and only as far as each hop is in
    ``TRUSTED_PROXIES`` (addresses or networks): a caller cannot choose its own address.
    """
    address = str(request.META.get("REMOTE_ADDR") or "")
    if not from_trusted_proxy(request):
        return address
    for hop in reversed([part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")]):
        if _parsed(hop) is None:
            break
        address = hop
        if not _trusted(hop):
            break
    return address


def from_trusted_proxy(request: HttpRequest) -> bool:
    """Whether the peer is one of ``TRUSTED_PROXIES``; only then are its headers about the caller believed."""
    return _trusted(str(request.META.get("REMOTE_ADDR") or ""))


def _trusted(address: str) -> bool:
    parsed = _parsed(address)
    networks = getattr(settings, "TRUSTED_PROXIES", ())
    if isinstance(networks, str):
        networks = [part.strip() for part in networks.split(",") if part.strip()]
    return parsed is not None and any(parsed in ipaddress.ip_network(network, strict=False) for network in networks)


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None
