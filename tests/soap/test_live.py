"""The SOAP face on the hub's real web server: large documents in bounded memory, connections that break, odd transport."""

from __future__ import annotations

import hashlib
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from documents.models import Binary, Blob
from hie.faces.soap import mtom
from hie.standards import mime
from tests.soap import echo, keys, live, messages
from tests.soap.live import Live
from tests.soap.messages import include, package, part

pytestmark = pytest.mark.django_db(transaction=True)

MiB = 1 << 20
BOUNDARY = "=_part-of-a-large-package"
BOUND_MB = 48
"""A worker's memory may grow by so much while a document of any size passes: buffers of a few segments, and the noise of
an allocator."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Live]:
    with live.running(tmp_path) as started:
        yield started


HEADERS = {"Host": "hub.example", "Client-Cert": keys.CLINIC.header}


def sent(size: int) -> Iterator[bytes]:
    """A package with one document of this many bytes, in pieces."""
    root = messages.envelope(messages.provide(include("d")), echo.PROVIDE)
    data, _ = package(root, part("d", b"@@@@", "application/octet-stream"), boundary=BOUNDARY)
    before, _, after = data.partition(b"@@@@")
    yield before
    yield from echo.pieces(size)
    yield after


def length(size: int) -> int:
    return sum(map(len, sent(0))) + size


CONTENT_TYPE = f'multipart/related; type="application/xop+xml"; start="<root@test>"; boundary="{BOUNDARY}"'


def post(hub: Live, path: str, body: Any, content_type: str, **headers: str) -> http.client.HTTPResponse:
    line = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=600)
    named = (
        HEADERS | {"Content-Type": content_type} | {name.replace("_", "-"): value for name, value in headers.items()}
    )
    line.request("POST", path, body=body, headers=named, encode_chunked="Content-Length" not in named)
    return line.getresponse()


def provide(hub: Live, size: int, *, chunked: bool) -> dict[str, list[str]]:
    more = {"Transfer_Encoding": "chunked"} if chunked else {"Content_Length": str(length(size))}
    response = post(hub, "/xds/repository", sent(size), CONTENT_TYPE, **more)
    root, _ = messages.opened(response.read(), response.headers["Content-Type"])
    assert response.status == 200, messages.text(root, ".//s:Reason")
    return echo.said(root)


def retrieve(hub: Live, size: int) -> tuple[int, str]:
    """Size and SHA-1 of the document that comes, read piece by piece."""
    body = messages.envelope(messages.retrieve(f"1.{size}"), echo.RETRIEVE)
    response = post(hub, "/xds/repository", body, messages.PLAIN, Content_Length=str(len(body)))
    assert response.status == 200
    media = mime.parse(response.headers["Content-Type"])
    assert media is not None
    found = (0, "")
    for arriving in mtom.Package(response.read, media.parameters["boundary"]).parts():
        if arriving.content_id == "doc0@hub":
            found = _digest(arriving.chunks)
    return found


def _digest(chunks: Iterator[bytes]) -> tuple[int, str]:
    digest, size = hashlib.sha1(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()


def passes_in_bounded_memory(hub: Live, size: int, *, chunked: bool) -> None:
    provide(hub, MiB, chunked=chunked)
    retrieve(hub, MiB)
    before = hub.highest_mb()
    assert provide(hub, size, chunked=chunked)["d0"][:2] == [str(size), echo.sha1_of(size)]
    inward = hub.highest_mb() - before
    assert retrieve(hub, size) == (size, echo.sha1_of(size))
    outward = hub.highest_mb() - before
    print(
        f"{size // MiB} MiB{' chunked' if chunked else ''}: {inward:.0f} MB more in, {outward:.0f} MB more in and out"
    )
    assert max(inward, outward) < BOUND_MB
    assert (Binary.objects.count(), Blob.objects.count(), hub.files()) == (0, 0, [])


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
def test_a_document_of_64_mib_passes_in_and_out_in_bounded_memory(hub: Live, chunked: bool) -> None:
    passes_in_bounded_memory(hub, 64 * MiB, chunked=chunked)


@pytest.mark.slow
@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
def test_a_document_of_a_gib_passes_in_and_out_in_bounded_memory(hub: Live, chunked: bool) -> None:
    passes_in_bounded_memory(hub, 1024 * MiB, chunked=chunked)


def test_a_connection_that_breaks_leaves_nothing(hub: Live) -> None:
    pieces = list(sent(8 * MiB))
    for announced in (f"Content-Length: {length(8 * MiB)}", "Transfer-Encoding: chunked"):
        with socket.create_connection(("127.0.0.1", hub.port), 10) as line:
            line.sendall(_head("/xds/repository", CONTENT_TYPE, announced))
            for piece in pieces[: len(pieces) // 2]:
                line.sendall(_chunk(piece) if "chunked" in announced else piece)
            live.eventually(hub.files)  # the document is being stored
        live.eventually(lambda: not hub.files())
        assert (Binary.objects.count(), Blob.objects.count()) == (0, 0)
    assert provide(hub, 10, chunked=True)["d0"][0] == "10", "the hub goes on"


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
def test_who_is_refused_while_he_still_sends_reads_why(hub: Live, chunked: bool) -> None:
    line = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=60)
    size = 900_000
    more = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(length(size))}
    headers = {"Host": "hub.example", "Content-Type": CONTENT_TYPE} | more
    line.request("POST", "/xds/repository", sent(size), headers, encode_chunked=chunked)
    response = line.getresponse()
    root, _ = messages.opened(response.read(), response.headers["Content-Type"])
    assert (response.status, messages.code(root)) == (400, "soap:Sender/wsse:FailedAuthentication")
    assert hub.files() == []


def test_who_reads_only_the_beginning_of_an_answer_costs_the_hub_nothing(hub: Live) -> None:
    body = messages.envelope(messages.retrieve(f"1.{512 * MiB}"), echo.RETRIEVE)
    with socket.create_connection(("127.0.0.1", hub.port), 10) as line:
        line.sendall(_head("/xds/repository", messages.PLAIN, f"Content-Length: {len(body)}") + body)
        assert line.recv(1000).startswith(b"HTTP/1.1 200")
    assert retrieve(hub, 100)[0] == 100


def test_a_client_that_waits_to_be_told_to_continue_is_told(hub: Live) -> None:
    body = messages.envelope()
    with socket.create_connection(("127.0.0.1", hub.port), 10) as line:
        line.sendall(_head("/xds/registry", messages.PLAIN, f"Content-Length: {len(body)}\r\nExpect: 100-continue"))
        assert line.recv(1000).startswith(b"HTTP/1.1 100")
        line.sendall(body)
        assert line.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("header", ["Client-Cert: :" + "A" * 200_000 + ":", "Authorization: Bearer " + "x" * 2_000_000])
def test_giant_headers_are_refused_and_the_hub_goes_on(hub: Live, header: str) -> None:
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", hub.port), 10) as line:
            head = _head("/xds/registry", messages.PLAIN, "Content-Length: 0")
            line.sendall(head.replace(b"\r\n", b"\r\n" + header.encode() + b"\r\n", 1))
            answer = line.recv(1000)
    except (ConnectionError, BrokenPipeError):
        pass  # cut off while it was still sending
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert retrieve(hub, 100)[0] == 100


def _head(path: str, content_type: str, *more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in HEADERS.items())]
    return "\r\n".join([*lines, f"Content-Type: {content_type}", *more, "", ""]).encode()


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"
