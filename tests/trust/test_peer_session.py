"""What peers may send over the wire, from servers that misbehave on purpose."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from hie.trust.peer_session import PeerBrokeOff, PeerGarbled, PeerSession, PeerTooLarge, PeerUnreachable

OK = b"HTTP/1.1 200 OK\r\n"


def answered(sent: bytes, *, at_most: int = 1000, token: str = "Bearer t") -> tuple[int, bytes]:
    """What an exchange makes of these bytes from a server that then hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        writer.close()

    async def run() -> tuple[int, bytes]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, PeerSession() as session:
            port = server.sockets[0].getsockname()[1]
            return await session.exchange(
                "GET", f"http://127.0.0.1:{port}/a", {"Authorization": token}, at_most=at_most
            )

    return asyncio.run(run())


def zipped(data: bytes) -> bytes:
    packed = gzip.compress(data, mtime=0)  # of no day: tests are named after it
    return OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (OK + b"Content-Length: 3\r\n\r\nabc", b"abc"),
        (OK + b"Content-Length: 0\r\n\r\n", b""),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", b"abc"),
        (OK + b"\r\nuntil the end", b"until the end"),
        (zipped(b"abc" * 300), b"abc" * 300),
        (OK + b"Content-Length: 1000\r\n\r\n" + b"y" * 1000, b"y" * 1000),
    ],
)
def test_a_whole_answer_is_read_whole(sent: bytes, body: bytes) -> None:
    assert answered(sent) == (200, body)


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    sent = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    assert answered(sent) == (302, b"")


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"", PeerBrokeOff),
        (OK + b"Content-Length: 100\r\n\r\nabc", PeerBrokeOff),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab", PeerBrokeOff),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", PeerGarbled),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", PeerGarbled),
        (OK + b"Content-Length: 1001\r\n\r\n" + b"y" * 1001, PeerTooLarge),
        (OK + b"\r\n" + b"y" * 5000, PeerTooLarge),
        (zipped(b"y" * 5_000_000), PeerTooLarge),
    ],
)
def test_what_is_no_answer_has_one_error_of_three(sent: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        answered(sent)


def test_the_words_of_an_error_hold_nothing_of_the_address() -> None:
    async def run(url: str) -> None:
        async with PeerSession() as session:
            await session.exchange("GET", url, {}, at_most=10)

    for url in (
        "http://127.0.0.1:1/Patient?family=Quarrel",
        "http://[/Patient?family=Quarrel",
        "ftp://a/?family=Quarrel",
    ):
        with pytest.raises((PeerUnreachable, PeerGarbled)) as refused:
            asyncio.run(run(url))
        assert "Quarrel" not in str(refused.value)


def test_a_header_that_cannot_be_sent_is_no_crash() -> None:
    with pytest.raises(PeerGarbled):
        answered(OK + b"Content-Length: 0\r\n\r\n", token="Bearer a\nb")


def test_who_gives_up_waiting_ends_the_exchange() -> None:
    async def run() -> bool:
        hung_up = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()  # until the other side hangs up
            hung_up.set()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, PeerSession() as session:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await session.exchange("GET", f"http://127.0.0.1:{port}/a", {}, at_most=10)
            async with asyncio.timeout(5):
                return await hung_up.wait()

    assert asyncio.run(run())
