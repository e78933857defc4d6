"""MTOM/XOP packages: multipart/related read and written as streams, never a part whole in memory.

Reading forgives what toolkits send: names in any case, parameters with and without quotes, `start` left out, parts in
any order, lines that end in LF alone, anything before the first delimiter and after the last, transfer encodings
binary, 8bit, 7bit, base64 and quoted-printable. It does not forgive a package that ends before its last delimiter.

A line end before a delimiter belongs to the delimiter (RFC 2046, 5.1.1). In a package whose delimiters end in CRLF it is
CRLF, or LF where no CR stands before it; in one whose delimiters end in LF it is LF alone, so that a document's own last
CR stays with it.

Source: XOP 1.0; MTOM 1.0; RFC 2046, 2387, 2392; spec/xds.md 2 (4).
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from hie.faces.soap.message import Attachment
from hie.standards import mime
from hie.standards.errors import MalformedContent

CHUNK = 1 << 16
MAX_HEADERS = 16 * 1024
"""Bytes of the headers of one part."""
MAX_PARTS = 1000
_MAX_BOUNDARY = 256  # RFC 2046 says 70
_MAX_PADDING = 256  # blanks after a delimiter
_MAX_BESIDE = 1 << 20  # before the first delimiter, and after the last
_MAX_LINE = 1 << 16  # of quoted-printable text
_AS_THEY_ARE = frozenset({"", "binary", "8bit", "7bit"})

Read = Callable[[int], bytes]


def content_id_of(href: str) -> str | None:
    """The content id that a ``cid:`` address names (percent-decoded), or None when it is no such address."""
    scheme, colon, rest = href.strip().partition(":")
    return unquote(rest) if colon and scheme.lower() == "cid" and rest else None


def bare_id(header: str) -> str:
    """A Content-ID without its <> and the blanks around it, not decoded."""
    return header.strip().removeprefix("<").removesuffix(">").strip()


@dataclass(slots=True)
class Incoming:
    """A part while it arrives: `chunks` gives its bytes after transfer decoding, once.

    `content_id` as its header has it, without <>; "" where it has none. Names of `headers` are in lower case.
    """

    headers: Mapping[str, str]
    chunks: Iterator[bytes]

    @property
    def content_id(self) -> str:
        """What the part is called."""
        return bare_id(self.headers.get("content-id", ""))

    @property
    def content_type(self) -> str:
        """Its media type as stated; ``application/octet-stream`` where that is none."""
        stated = self.headers.get("content-type", "").strip()
        return stated if mime.parse(stated) is not None else "application/octet-stream"


class Package:
    """The parts of one multipart body, read from `read` (at most so many bytes; b"" at the end) as they are asked for."""

    def __init__(self, read: Read, boundary: str) -> None:
        if not boundary or len(boundary) > _MAX_BOUNDARY or not boundary.isascii():
            raise MalformedContent("the boundary of multipart/related is missing or cannot be one")
        self._source = _Source(read)
        self._dashes = b"--" + boundary.encode()
        self._crlf = True
        self._closed = False

    def parts(self) -> Iterator[Incoming]:
        """Every part in its order; what of a part was not read is passed over when the next is asked for.

        Raises:
            MalformedContent: no delimiter, no closing delimiter, headers too long, too many parts, or an encoding
                that is none or is broken.
        """
        preamble = 0
        for passed in self._until_delimiter():
            preamble += len(passed)
            if preamble > _MAX_BESIDE:
                raise MalformedContent("the package does not begin with its boundary")
        count = 0
        while not self._closed:
            count += 1
            if count > MAX_PARTS:
                raise MalformedContent(f"more than {MAX_PARTS} parts")
            headers, content = self._headers()
            raw = self._until_delimiter() if content else iter(())
            yield Incoming(headers, _decoded(raw, headers.get("content-transfer-encoding", "")))
            for _ in raw:
                pass
        self._source.pass_over(_MAX_BESIDE)

    def _headers(self) -> tuple[dict[str, str], bool]:
        """The headers of a part; whether an empty line ends them, or else a delimiter: a part without content."""
        headers: dict[str, str] = {}
        name, left = "", MAX_HEADERS
        while True:
            if self._delimiter_at(0) is not None:
                self._take_delimiter(0)
                return headers, False
            line = self._source.line(left)
            left -= len(line)
            text = line.rstrip(b"\r\n").decode("utf-8", "replace")
            if not text:
                return headers, True
            if text[0] in " \t":
                if name:
                    headers[name] += " " + text.strip()
                continue
            name, colon, value = text.partition(":")
            name = name.strip().lower()
            if not colon or not name:
                raise MalformedContent("a header of a part is no header")
            if name in headers:
                raise MalformedContent(f"a part has two headers {name[:40]}")
            headers[name] = value.strip()

    def _until_delimiter(self) -> Iterator[bytes]:
        """What stands before the next delimiter, which is taken too."""
        source = self._source
        if self._delimiter_at(0) is not None:
            self._take_delimiter(0)
            return
        needle = b"\n" + self._dashes
        start = 0
        while True:
            found = source.buffer.find(needle, start)
            if found < 0:
                # Kept: what may be the beginning of a delimiter, and a CR that may belong to it.
                keep = len(needle)
                if len(source.buffer) > keep:
                    yield source.take(len(source.buffer) - keep)
                start = 0
                if not source.more():
                    raise MalformedContent("the package ends before its last delimiter")
                continue
            if self._delimiter_at(found + 1) is None:
                start = found + 1
                if start > CHUNK:
                    # Many lines that only begin like a delimiter must not pile up.
                    yield source.take(found)
                    start = 1
                continue
            end = found - 1 if self._crlf and source.buffer[found - 1 : found] == b"\r" else found
            if end:
                yield source.take(end)
            self._take_delimiter(found + 1 - end)
            return

    def _delimiter_at(self, position: int) -> tuple[int, bool, bool] | None:
        """End, whether it is the last, and whether it ends in CRLF, of the delimiter line that begins there, if one does."""
        source, dashes = self._source, self._dashes
        after = position + len(dashes)
        source.fill(after + 2)
        if source.buffer[position:after] != dashes:
            return None
        closing = source.buffer[after : after + 2] == b"--"
        after += 2 if closing else 0
        for end in range(after, after + _MAX_PADDING):
            if not source.fill(end + 2) and end >= len(source.buffer):
                return (end, True, self._crlf) if closing else None
            if source.buffer[end] == 0x0A:
                return end + 1, closing, False
            if source.buffer[end : end + 2] == b"\r\n":
                return end + 2, closing, True
            if source.buffer[end] not in b" \t":
                return None
        return None

    def _take_delimiter(self, position: int) -> None:
        delimiter = self._delimiter_at(position)
        assert delimiter is not None
        end, self._closed, self._crlf = delimiter
        self._source.take(end)


class _Source:
    """Bytes that have been read and not yet used."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self.buffer = bytearray()
        self._ended = False

    def more(self) -> bool:
        """Read on; False at the end."""
        if self._ended:
            return False
        chunk = self._read(CHUNK)
        self._ended = not chunk
        self.buffer += chunk
        return not self._ended

    def fill(self, length: int) -> bool:
        """Read until the buffer holds `length` bytes; False where there are no so many."""
        while len(self.buffer) < length:
            if not self.more():
                return False
        return True

    def take(self, length: int) -> bytes:
        """The first bytes of the buffer, which are used with it."""
        taken = bytes(self.buffer[:length])
        del self.buffer[:length]
        return taken

    def line(self, limit: int) -> bytes:
        """A line with its end, of at most `limit` bytes."""
        start = 0
        while (found := self.buffer.find(b"\n", start)) < 0:
            start = len(self.buffer)
            if start > limit:
                break
            if not self.more():
                raise MalformedContent("the package ends within the headers of a part")
        if found < 0 or found >= limit:
            raise MalformedContent(f"the headers of a part are longer than {MAX_HEADERS} bytes")
        return self.take(found + 1)

    def pass_over(self, limit: int) -> None:
        """Read to the end, of what nobody wants: at most `limit` bytes of it."""
        passed = len(self.buffer)
        self.buffer.clear()
        while passed <= limit and self.more():
            passed += len(self.buffer)
            self.buffer.clear()
        if passed > limit:
            raise MalformedContent("too much follows the last delimiter")


# --- transfer encodings ---------------------------------------------------------------------------------------------------


def _decoded(raw: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    name = encoding.strip().lower()
    if name in _AS_THEY_ARE:
        return raw
    if name == "base64":
        return base64_chunks(raw)
    if name == "quoted-printable":
        return _quoted_printable(raw)
    raise MalformedContent(f"a part's Content-Transfer-Encoding is none that is known: {name[:40]}")


def base64_chunks(raw: Iterator[bytes]) -> Iterator[bytes]:
    """The bytes that base64 in pieces stands for; white space is passed over.

    Raises:
        MalformedContent: it is no base64.
    """
    held, ended = b"", False
    for chunk in raw:
        text = held + chunk.translate(None, b" \t\r\n")
        if ended and text:
            raise MalformedContent("something follows the end of the base64")
        whole = len(text) - len(text) % 4
        held = text[whole:]
        if whole:
            ended = text[whole - 1 : whole] == b"="
            yield _base64(text[:whole])
    if held:
        raise MalformedContent("the base64 is cut off")


def _base64(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        raise MalformedContent("a part is no base64") from None


def _quoted_printable(raw: Iterator[bytes]) -> Iterator[bytes]:
    held = b""
    for chunk in raw:
        held += chunk
        whole = held.rfind(b"\n") + 1
        if whole:
            yield binascii.a2b_qp(held[:whole])
            held = held[whole:]
        if len(held) > _MAX_LINE:
            raise MalformedContent("a line of quoted-printable text is too long")
    if held:
        yield binascii.a2b_qp(held)


# --- writing --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A package to be sent: `length` in bytes where it is known; `chunks` once, and it is closed whatever happens."""

    content_type: str
    length: int | None
    chunks: Iterator[bytes]


@dataclass(slots=True)
class _Pieces:
    """The parts of a package in their order; closing it closes what was not sent."""

    root: bytes
    attachments: Sequence[Attachment]
    heads: Sequence[bytes]
    tail: bytes
    _sent: Iterator[bytes] | None = field(default=None)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._sent is None:
            self._sent = self._all()
        return next(self._sent)

    def _all(self) -> Iterator[bytes]:
        yield self.heads[0] + self.root
        for head, attachment in zip(self.heads[1:], self.attachments, strict=True):
            yield head
            yield from attachment.chunks
        yield self.tail

    def close(self) -> None:
        """Give back what the documents hold open."""
        for attachment in self.attachments:
            close = getattr(attachment.chunks, "close", None)
            if close is not None:
                close()


def package(root: bytes, attachments: Sequence[Attachment], *, boundary: str, action: str) -> Written:
    """The envelope `root` with its attachments; `boundary` is a fresh random one."""
    content_type = (
        f'multipart/related; type="application/xop+xml"; start="<root@{boundary}>"; '
        f'start-info="application/soap+xml"; action="{action}"; boundary="{boundary}"'
    )
    dashes = f"--{boundary}\r\n"
    heads = [
        (
            f'{dashes}Content-Type: application/xop+xml; charset=UTF-8; type="application/soap+xml"\r\n'
            f"Content-Transfer-Encoding: binary\r\nContent-ID: <root@{boundary}>\r\n\r\n"
        ).encode()
    ]
    for attachment in attachments:
        length = f"Content-Length: {attachment.length}\r\n" if attachment.length is not None else ""
        head = (
            f"\r\n{dashes}Content-Type: {_one_line(attachment.content_type)}\r\n"
            f"Content-Transfer-Encoding: binary\r\nContent-ID: <{_one_line(attachment.content_id)}>\r\n{length}\r\n"
        )
        heads.append(head.encode())
    tail = f"\r\n--{boundary}--\r\n".encode()
    lengths = [attachment.length for attachment in attachments]
    whole = None
    if None not in lengths:
        whole = len(root) + sum(map(len, heads)) + len(tail) + sum(length or 0 for length in lengths)
    return Written(content_type=content_type, length=whole, chunks=_Pieces(root, attachments, heads, tail))


def _one_line(text: str) -> str:
    """A value that ends no header, whatever a document's type was said to be."""
    return "".join(c if c.isprintable() else " " for c in text)
