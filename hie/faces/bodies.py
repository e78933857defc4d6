"""Bodies of requests, as streams, for every face that takes more than fits in memory."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from django.http import HttpRequest
from django.http.request import RawPostDataException


def open_chunked(http: HttpRequest) -> None:
    """Let a body that came in chunks be read: without a Content-Length Django takes every body for empty.

    Whoever reads it then is bounded, so nobody sends without end.
    """
    environ: Mapping[str, Any] = http.META
    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower() and not environ.get("CONTENT_LENGTH"):
        http._stream = environ["wsgi.input"]  # Django has no public way to it


def pass_over(http: HttpRequest, *, at_most: int) -> None:
    """Read on and throw away: whoever still sends while a connection closes would not read why he was refused."""
    left = at_most
    with suppress(OSError, RawPostDataException):
        while left > 0 and (chunk := http.read(min(left, 1 << 16))):
            left -= len(chunk)
