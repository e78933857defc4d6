"""The bytes of one request: its envelope read whole, the parts beside it kept while they arrive.

A part is stored, encrypted, as it is read; what nobody names is passed over. Parts that come before the envelope are
kept too, for whoever the node has proven to be.

Source: spec/xds.md 2 (1, 4).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any
from urllib.parse import unquote

from django.http import HttpRequest
from lxml import etree

from hie.exchange.submit import Staged
from hie.faces.soap import envelope
from hie.faces.soap.faults import Fault
from hie.faces.soap.message import Part
from hie.faces.soap.mtom import CHUNK, Incoming, Package, bare_id
from hie.standards import mime
from hie.standards.errors import MalformedContent
from hie.standards.mime import MediaType

_XML_TYPES = frozenset({"application/soap+xml", "application/xop+xml", "text/xml", "application/xml"})

Keep = Callable[[Iterator[bytes], str], Staged]


class Inbound:
    """One request's body. `keep` stores a part (its bytes, its media type), or refuses to."""

    def __init__(self, http: HttpRequest, keep: Keep) -> None:
        self._keep = keep
        self._body = _Body(http)
        self._media = _media_type(http)
        self._arriving: Iterator[Incoming] = iter(())
        self._by_id: dict[str, Part] = {}
        self._seen: set[str] = set()
        self.action = ""
        """What the Content-Type says of the action, or ""."""

    def root(self, *, size: int) -> etree._Element:
        """The root of the envelope, of at most `size` bytes.

        Raises:
            Fault, MalformedContent: there is none, or it cannot be read.
        """
        if self._media.essence != "multipart/related":
            self.action = self._media.parameters.get("action", "")
            return envelope.parse(self._body.chunks(), size=size)
        parameters = self._media.parameters
        self._arriving = Package(self._body.read, parameters.get("boundary", "")).parts()
        start = bare_id(parameters.get("start", ""))
        for part in self._arriving:
            if not start or start in (part.content_id, unquote(part.content_id)) or unquote(start) == part.content_id:
                self._name(part)
                return self._envelope_of(part, size)
            self._take(part)
        raise Fault("no part of the package is the one that start names")

    def _envelope_of(self, part: Incoming, size: int) -> etree._Element:
        media = mime.parse(part.content_type)
        if media is None or media.essence not in _XML_TYPES:
            raise Fault("the root part of the package is no application/xop+xml")
        self.action = self._media.parameters.get("action") or media.parameters.get("action", "")
        return envelope.parse(part.chunks, size=size)

    def parts(self, wanted: Collection[str]) -> dict[str, Part]:
        """The parts beside the root by content id, each under the forms it may be named by; the rest is read for it.

        Of what is still to come only the `wanted` are kept.

        Raises:
            MalformedContent: the package is none, or two parts have one id. Whatever `keep` raises.
        """
        for part in self._arriving:
            if {part.content_id, unquote(part.content_id)} & set(wanted):
                self._take(part)
            else:
                self._name(part)
        return self._by_id

    def _take(self, part: Incoming) -> None:
        self._name(part)
        if not part.content_id:
            return  # nothing can name it
        staged = self._keep(part.chunks, part.content_type)
        kept = Part(
            content_id=unquote(part.content_id),
            content_type=part.content_type,
            size=staged.size,
            sha1=staged.sha1,
            staged=staged,
        )
        # A toolkit may decode once on either side: the name as it stands is good too, where it is nobody else's.
        self._by_id[kept.content_id] = kept
        self._by_id.setdefault(part.content_id, kept)

    def _name(self, part: Incoming) -> None:
        name = unquote(part.content_id)
        if name and name in self._seen:
            raise MalformedContent("two parts have the same Content-ID")
        self._seen.add(name)


class _Body:
    """The request's body as it arrives; notices when less of it comes than was announced."""

    def __init__(self, http: HttpRequest) -> None:
        self._http = http
        environ: dict[str, Any] = http.META
        length = environ.get("CONTENT_LENGTH") or ""
        self._announced = int(length) if length.isdigit() else None
        self._seen = 0

    def read(self, size: int) -> bytes:
        """At most `size` bytes; b"" at the end."""
        chunk: bytes = self._http.read(size)
        self._seen += len(chunk)
        if not chunk and self._announced is not None and self._seen < self._announced:
            raise MalformedContent("the body broke off")
        return chunk

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces."""
        while chunk := self.read(CHUNK):
            yield chunk


def _media_type(http: HttpRequest) -> MediaType:
    if http.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise Fault("a message is taken without Content-Encoding")
    media = mime.parse(http.headers.get("Content-Type", ""))
    if media is None or media.essence not in _XML_TYPES | {"multipart/related"}:
        raise Fault("a message is taken as application/soap+xml or multipart/related")
    return media
