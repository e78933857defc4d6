"""HTTP to other communities: what carries the questions, and the tokens they need.

One session lives as long as the loop that asks, so that connections are used again. A peer may send anything: an
exchange is bounded in size, follows no redirect, keeps no cookie, uses no proxy, and what goes wrong comes as one of
a few errors. Time limits are the caller's: cancelling an exchange ends it and hangs up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError

CONNECT_S = 10.0
IDLE_S = 30.0
_LARGE = 256 * 1024


class PeerUnreachable(ConnectionError):
    """No connection to the peer."""


class PeerBrokeOff(ConnectionError):
    """The peer ended the connection before its answer was whole."""


class PeerGarbled(Exception):
    """What came is no HTTP; or the peer's address or token cannot be sent."""


class PeerTooLarge(PeerGarbled):
    """The answer is larger than allowed."""


class PeerSession:
    """Connections to all peers; an async context manager, for one event loop."""

    def __init__(self) -> None:
        # No limit a host: many communities may stand behind one address, and a slow one must not starve the others.
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, limit_per_host=0, ttl_dns_cache=60, keepalive_timeout=IDLE_S, happy_eyeballs_delay=None
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def __aenter__(self) -> Self:
        """The session itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of all connections."""
        await self._client.close()

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, *, at_most: int
    ) -> tuple[int, bytes]:
        """One request: the status and the whole body, decompressed, of `at_most` bytes.

        Raises:
            PeerUnreachable, PeerBrokeOff, PeerTooLarge, PeerGarbled: as they say, without the address that was asked.
        """
        try:
            async with self._client.request(method, url, data=body, headers=headers, allow_redirects=False) as answer:
                return answer.status, await _bounded(answer.content, at_most)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise PeerUnreachable(type(error).__name__) from error
        except aiohttp.ClientPayloadError as error:
            if isinstance(error.__cause__, ContentEncodingError):
                raise PeerGarbled(type(error).__name__) from error
            raise PeerBrokeOff(type(error).__name__) from error
        except aiohttp.ClientConnectionError as error:
            raise PeerBrokeOff(type(error).__name__) from error
        except (aiohttp.ClientError, ValueError) as error:
            # The library's words may hold the address that was asked, and with it what was asked.
            raise PeerGarbled(type(error).__name__) from error


async def _bounded(content: aiohttp.StreamReader, at_most: int) -> bytes:
    chunks: list[bytes] = []
    total = 0
    while chunk := await content.readany():
        total += len(chunk)
        if total > at_most:
            raise PeerTooLarge("the answer is too large")
        chunks.append(chunk)
        if total > _LARGE:
            await asyncio.sleep(0)  # a large answer leaves the others their turn
    return b"".join(chunks)
