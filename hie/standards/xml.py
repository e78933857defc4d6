"""The one XML parser: every XML that comes into the hub is read through here.

Bytes only, never a path (libxml2 unpacks gzip by itself). Refused before any tree exists: DOCTYPE and
with it every entity declaration, compressed bytes, NUL characters, encodings outside a short list, bytes
that are not in the encoding they claim, more than `Limits.size` bytes, deeper than `Limits.depth`. The
network is off. A refusal is `MalformedContent` whose `element` says where, by line and column; it never
quotes what was read.

Source: ../spec/xds.md 2 (5); OWASP XML external entity prevention.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from xml.parsers import expat

from lxml import etree

from hie.standards.errors import MalformedContent

MiB = 1 << 20
_PROLOG = 256 * 1024  # a first element must come within so many bytes
Element = etree._Element
_ENCODINGS = re.compile(
    rb"(utf-?8|us-ascii|ascii|iso-?8859-?\d{1,2}|iso_8859-\d{1,2}|latin-?[1-9]|windows-125\d|cp125\d|utf-?16(le|be)?)",
    re.IGNORECASE,
)
_DECLARATION = re.compile(rb"<\?xml\s[^>]{0,300}?encoding\s*=\s*[\"']([^\"'>]{1,60})[\"']")
_ERROR_NAMES = {code: name for name, code in vars(etree.ErrorTypes).items() if isinstance(code, int)}
_SAFE: dict[str, bool] = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "dtd_validation": False,
    "remove_comments": True,
    "remove_pis": True,
}
_UNSPEAKABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is read at most: bytes, and elements within elements."""

    size: int = 64 * MiB
    depth: int = 200


class _Prolog(Exception):
    """The prolog is over: the first element, or a DOCTYPE, has been met."""

    def __init__(self, *, doctype: bool) -> None:
        self.doctype = doctype


def parse(data: bytes, *, limits: Limits = Limits()) -> etree._Element:
    """The root of a document held in memory.

    Raises:
        MalformedContent: anything the module refuses; nothing has been kept.
    """
    parser = etree.XMLParser(huge_tree=False, **_SAFE)
    try:
        for piece in _checked([data], limits):
            parser.feed(piece)
        root: etree._Element = parser.close()
    except etree.XMLSyntaxError as error:
        raise _syntax(error) from None
    # One step down the whole tree for each level: an event for each element would cost more than all else.
    if _deeper(limits.depth)(root):
        raise _refuse(f"elements nested deeper than {limits.depth}")
    _check_no_doctype(root)
    return root


def elements(
    chunks: Iterable[bytes],
    *,
    limits: Limits = Limits(),
    huge: bool = True,
) -> Iterator[tuple[str, etree._Element]]:
    """Yield ("start"|"end", element) while bytes come in; the whole input is read to its end.

    At "start" only name and attributes are there. Memory grows with what the caller does not `clear()`.
    `huge` lifts libxml2's own bound on one text (a 20 MB picture in base64); `limits` hold all the same.

    Raises:
        MalformedContent: at the place where the input stops being acceptable.
    """
    parser = etree.XMLPullParser(events=("start", "end"), huge_tree=huge, **_SAFE)
    depth, deepest = 0, limits.depth
    for piece in _checked(chunks, limits):
        try:
            parser.feed(piece)
        except etree.XMLSyntaxError as error:
            raise _syntax(error) from None
        for event, element in parser.read_events():
            if event == "end":
                depth -= 1
            elif depth >= deepest:
                raise _refuse(f"elements nested deeper than {deepest}")
            else:
                depth += 1
            yield event, element
    try:
        root = parser.close()
    except etree.XMLSyntaxError as error:
        raise _syntax(error) from None
    yield from parser.read_events()
    _check_no_doctype(root)


@lru_cache(maxsize=8)
def _deeper(depth: int) -> etree.XPath:
    return etree.XPath(f"boolean({'/*' * (depth + 1)})")


def _check_no_doctype(root: etree._Element) -> None:
    if root.getroottree().docinfo.internalDTD is not None:
        raise _refuse("DOCTYPE is not accepted")


def _checked(chunks: Iterable[bytes], limits: Limits) -> Iterator[bytes]:
    """The bytes in pieces for the parser, each checked for what it does not refuse itself."""
    head, size = b"", 0
    wide: bool | None = None
    for chunk in chunks:
        if not chunk:
            continue
        size += len(chunk)
        if size > limits.size:
            raise _refuse(f"XML larger than {limits.size} bytes")
        if wide is None:
            head += chunk
            if len(head) < 4096 and not _ends(head):
                continue  # a first chunk of a few bytes says nothing yet
            wide = _check_start(head)
            chunk = head
        yield from _pieces(chunk, wide=wide)
    if wide is None:
        yield from _pieces(head, wide=_check_start(head))


def _pieces(data: bytes, *, wide: bool) -> Iterator[bytes]:
    if not wide and b"\x00" in data:
        raise _refuse("NUL character")
    for start in range(0, len(data), 65536):
        yield data[start : start + 65536]


def root_name(head: bytes) -> str | None:
    """``{namespace}name`` of the first element, seen from the first bytes; None when these are no XML.

    A cheap look to tell kinds of content apart: says nothing about the rest.
    """
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text.startswith(b"<") and head[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return None
    found: list[str] = []

    def start(name: str, _attributes: dict[str, str]) -> None:
        found.append(name)
        raise _Prolog(doctype=False)

    def doctype(*_: object) -> None:
        raise _Prolog(doctype=True)

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(head.lstrip(b" \t\r\n"), False)
    except _Prolog:
        pass
    except (expat.ExpatError, LookupError, ValueError):  # the last two: an encoding nobody knows, or unfit for XML
        return None
    if not found:
        return None
    namespace, _, name = found[0].rpartition(" ")
    return f"{{{namespace}}}{name}" if namespace else name


def speakable(text: str) -> str:
    """The text with U+FFFD for what XML has no letter for: what did not come as XML may hold it."""
    return text if text.isascii() and text.isprintable() else _UNSPEAKABLE.sub("\ufffd", text)


def _ends(head: bytes) -> bool:
    return False if len(head) < 4 else head.rstrip().endswith(b">")


def _check_start(head: bytes) -> bool:
    """Refuse by the first bytes; True when the encoding is one of two bytes a character."""
    if not head.strip(b" \t\r\n\xef\xbb\xbf"):
        raise _refuse("no content")
    if head.startswith(_COMPRESSED):
        raise _refuse("compressed bytes where XML was expected")
    if head[:4] in (b"\x00\x00\xfe\xff", b"\xff\xfe\x00\x00"):
        raise _refuse("encoding is not accepted")
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    declared = _DECLARATION.search(head[:400])
    if declared is not None and _ENCODINGS.fullmatch(declared.group(1).strip()) is None:
        raise _refuse("encoding is not accepted")
    _check_prolog(head)
    return wide


def _check_prolog(head: bytes) -> None:
    def start(*_: object) -> None:
        raise _Prolog(doctype=False)

    def doctype(*_: object) -> None:
        raise _Prolog(doctype=True)

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(head[:_PROLOG], False)
    except _Prolog as met:
        if met.doctype:
            raise _refuse("DOCTYPE is not accepted") from None
        return
    except expat.ExpatError as error:
        raise _refuse("not well-formed XML", line=error.lineno, column=error.offset + 1) from None
    except (LookupError, ValueError):
        raise _refuse("the encoding is unknown") from None
    # No element yet: short input is left to the real parser, a padded prolog is not.
    if b"<!DOCTYPE" in head.replace(b"\x00", b""):
        raise _refuse("DOCTYPE is not accepted")
    if len(head) >= _PROLOG:
        raise _refuse("no element")


def _syntax(error: etree.XMLSyntaxError) -> MalformedContent:
    line, column = error.position if error.position else (None, None)
    kind = _ERROR_NAMES.get(error.code, "")
    if kind == "ERR_RESOURCE_LIMIT":
        return _refuse("elements nested too deep, or a text too long", line=line, column=column)
    return _refuse(f"not well-formed XML{f' ({kind})' if kind else ''}", line=line, column=column)


def _refuse(what: str, *, line: int | None = None, column: int | None = None) -> MalformedContent:
    where = None if line is None else f"line {line}, column {column}"
    return MalformedContent(f"{what}{f' at {where}' if where else ''}", element=where)
