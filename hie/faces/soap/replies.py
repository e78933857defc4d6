"""Answers that go elsewhere than to the connection of the question: asynchronous WS-Addressing.

A message whose wsa:ReplyTo names an address is answered with 202 and nothing; what its transaction answers, or the fault
it meets, is posted there on a connection of its own, with wsa:RelatesTo. Only to places that the operator lists
(`SOAP_REPLY_HOSTS`), over TLS and along no redirect: else anyone who is let in could make this hub send anywhere.

An answer is sent once. Where it does not arrive, that is logged, and of a retrieval recorded as broken off; the sender
asks again.

Source: WS-Addressing 1.0 Core 3.4 and SOAP Binding 5.2; ITI TF-2 Appendix V.3; spec/xds.md 2 (6).
"""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
from django.conf import settings
from django.db import connections
from django.http import HttpResponseBase

from hie.trust import server_certificates
from hie.trust.errors import TooManyRequests

log = logging.getLogger("hie.soap")

AT_ONCE = 4
"""Answers that one process sends at once."""
TIMEOUT_S = 30.0
AGAIN_S = 5
_places = threading.BoundedSemaphore(AT_ONCE)


def may_go_to(address: str) -> bool:
    """Whether an answer may be sent to this address; without TLS to this machine alone, and not in production."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.username is not None or not ({host, f"{host}:{port}"} & set(settings.SOAP_REPLY_HOSTS)):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and not settings.PRODUCTION and _is_here(host))


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(slots=True)
class Reply:
    """A place kept for one answer that goes elsewhere; it is sent or given back."""

    address: str

    def send(self, response: HttpResponseBase, done: Callable[[], None]) -> None:
        """Post an answer in the background; `done` is called when it is over, whatever came of it."""
        threading.Thread(target=self._send, args=(response, done), name="soap-reply", daemon=True).start()

    def _send(self, response: HttpResponseBase, done: Callable[[], None]) -> None:
        try:
            headers = {
                name: response.headers[name] for name in ("Content-Type", "Content-Length") if name in response.headers
            }
            with httpx.Client(
                timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, verify=server_certificates.trusted()
            ) as client:
                answer = client.post(self.address, content=_bytes_of(response), headers=headers)
            if answer.status_code >= 300:
                log.warning("an answer was refused where it was to go: %s", answer.status_code)
        except Exception as error:
            # The outer edge: nobody waits on this thread.
            log.warning("an answer did not arrive where it was to go: %s", type(error).__name__)
        finally:
            try:
                response.close()
                done()
            finally:
                connections.close_all()
                self.give_back()

    def give_back(self) -> None:
        """Let another answer have the place."""
        _places.release()


def _bytes_of(response: HttpResponseBase) -> Iterator[bytes] | bytes:
    if response.streaming:
        return iter(response)
    data: bytes = response.content  # type: ignore[attr-defined]  # what is not streaming has its content
    return data


def place(address: str) -> Reply:
    """A place for an answer to this address.

    Raises:
        TooManyRequests: as many are under way as may be.
    """
    if not _places.acquire(blocking=False):
        raise TooManyRequests(AGAIN_S, "answers under way")
    return Reply(address)
