"""A SOAP message as the transactions see it: the wire has been taken off, and who asks is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from lxml import etree

from hie.exchange.submit import Staged
from hie.standards.facts import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One MIME part beside the root, already received: `size` and `sha1` are of the bytes after transfer decoding.

    `content_id` stands without <> and percent-decoded; `staged` is encrypted, and swept when no entry is hung on it.
    """

    content_id: str
    content_type: str
    size: int
    sha1: str
    staged: Staged


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request: `body` is the one child of soap:Body, with its xop:Include left in place.

    `parts` are by content id; `stage` takes a document that came inline (chunks, content type); `raw` is what the
    audit event keeps of the request. A handler puts into `taken` the ids of received documents that hang on entries by now:
    the others are discarded. `resource_id` is the patient that the caller's assertion names (CX) or "", and
    `consents` the documents and policies of consent it names.
    """

    action: str
    message_id: str
    to: str
    body: etree._Element
    parts: Mapping[str, Part]
    caller: Caller
    stage: Callable[[Iterable[bytes], str], Staged]
    raw: str = ""
    resource_id: str = ""
    consents: tuple[str, ...] = ()
    taken: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One part of an MTOM answer; `length` in bytes where it is known."""

    content_id: str
    content_type: str
    chunks: Iterator[bytes]
    length: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a transaction gives back: the one child of soap:Body, and the parts that its xop:Include name."""

    body: etree._Element
    attachments: tuple[Attachment, ...] = ()


Handler = Callable[[Request], Answer]
