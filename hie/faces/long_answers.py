"""Long answers are asked about again while they are sent: at every MiB and every second, as documents are.

An answer that has been released is sent whole where it is short. One that is longer than a MiB is sent in pieces, and
on the way it is looked whether anything that it was decided from has changed. If so it ends there; its Content-Length
tells the client that it is not whole, and the log that the transfer broke off.

Source: spec/consent.md 12.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from hie.exchange import release
from hie.exchange.release import Released

PIECE = 1 << 16
ASK_BYTES = 1 << 20
ASK_S = 1.0


class LongAnswers:
    """Middleware around all faces."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with release.noted() as released:
            response = self.get_response(request)
        if not released or not isinstance(response, HttpResponse) or len(response.content) <= ASK_BYTES:
            return response
        long = StreamingHttpResponse(
            pieces(response.content, released), status=response.status_code, reason=response.reason_phrase
        )
        long.headers = response.headers
        long.headers["Content-Length"] = str(len(response.content))
        long.cookies = response.cookies
        return long


def pieces(content: bytes, released: list[Released]) -> Generator[bytes, None, bool]:
    """The content, as long as all that it was decided from stands: looked at every MiB and every second.

    Gives back whether it was sent whole.
    """
    sent, asked_at, unasked = 0, time.monotonic(), 0
    try:
        while sent < len(content):
            if unasked >= ASK_BYTES or (sent and time.monotonic() - asked_at > ASK_S):
                if not all(one.basis.stands() for one in released):
                    return False
                asked_at, unasked = time.monotonic(), 0
            piece = content[sent : sent + PIECE]
            yield piece
            sent += len(piece)
            unasked += len(piece)
        return True
    finally:
        if sent < len(content):
            release.broke_off(released, sent=sent, of=len(content))
