"""Media types: reading them, and telling from the first bytes what content really is.

`sniff` looks at a few bytes and claims only what it is sure of; `contradicts` says whether content
declared as one type is plainly something else, which is all that a registry may refuse: a type
it has no signature for is believed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hie.standards import xml

SNIFF_BYTES = 4096
"""How much of the beginning `sniff` wants to see."""

_TYPE = re.compile(r"\s*([A-Za-z0-9!#$&^_.+-]{1,127})/([A-Za-z0-9!#$&^_.+-]{1,127})\s*(?:;(.*))?\Z", re.DOTALL)
_PARAMETER = re.compile(r';?\s*([A-Za-z0-9!#$&^_.+-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;\s]*)\s*')

MIME_TYPE_SUFFICIENT = "urn:ihe:iti:xds:2017:mimeTypeSufficient"
"""The format code that says: the media type tells all there is to tell."""

CDA_ROOT = "{urn:hl7-org:v3}ClinicalDocument"


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaType:
    """``type/subtype`` in lower case, with its parameters (names in lower case)."""

    essence: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def is_xml(self) -> bool:
        """XML by name: text/xml, application/xml or any ``+xml``."""
        return self.essence in ("text/xml", "application/xml") or self.essence.endswith("+xml")

    @property
    def is_json(self) -> bool:
        """JSON by name: application/json or any ``+json``."""
        return self.essence in ("application/json", "text/json") or self.essence.endswith("+json")


def parse(text: str) -> MediaType | None:
    """A media type with parameters, or None when this is none (RFC 9110, 8.3.1)."""
    match = _TYPE.match(text)
    if match is None:
        return None
    parameters: dict[str, str] = {}
    for name, value in _PARAMETER.findall(match.group(3) or ""):
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        parameters.setdefault(name.lower(), value)
    return MediaType(essence=f"{match.group(1)}/{match.group(2)}".lower(), parameters=parameters)


_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (128, b"DICM", "application/dicom"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"{\\rtf", "application/rtf"),
    (0, b"OggS", "application/ogg"),
    (0, b"ID3", "audio/mpeg"),
)


def sniff(head: bytes) -> str | None:
    """The media type that the first `SNIFF_BYTES` bytes prove, or None.

    XML is ``application/xml`` (see `xml.root_name` for which), text in UTF-8 without control
    characters ``text/plain``, JSON ``application/json`` by its first characters.
    """
    for offset, magic, essence in _SIGNATURES:
        if head[offset : offset + len(magic)] == magic:
            return essence
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "audio/wav"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp":
        return "video/mp4"
    if b"%PDF-" in head[:1024]:
        return "application/pdf"
    if looks_like_xml(head):
        return "application/xml"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if re.match(rb'[\[{]\s*(["\[{\]}]|-?\d|true|false|null)', text):
        return "application/json"
    if head and is_text(head):
        return "text/plain"
    return None


def looks_like_xml(head: bytes) -> bool:
    """Begins as XML does, well-formed or not: a declaration, a comment or an element."""
    text = head
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = head.replace(b"\x00", b"")[2:]
    text = text.removeprefix(b"\xef\xbb\xbf").lstrip()
    return (
        re.match(
            rb"<(\?[A-Za-z_:\x80-\xff]|!--|!DOCTYPE|[A-Za-z_:\x80-\xff][\w.:\x80-\xff-]*[\s/>])", text, re.IGNORECASE
        )
        is not None
    )


def is_text(head: bytes) -> bool:
    """No control characters but white space, in UTF-8 or an eight-bit encoding."""
    return not re.search(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]", head)


_FAMILY = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "application/x-zip-compressed": "application/zip",
    "application/x-zip": "application/zip",
    "application/x-pdf": "application/pdf",
    "text/rtf": "application/rtf",
    "application/x-gzip": "application/gzip",
}
_PROVABLE = {
    "application/dicom",
    "image/jpeg",
    "image/png",
    "image/gif",
    "image/tiff",
    "application/zip",
    "application/gzip",
    "audio/wav",
    "application/pdf",
    "application/rtf",
    "image/webp",
}


def contradicts(declared: MediaType, head: bytes) -> str | None:
    """The reason why content cannot be of its declared type, or None.

    A type with a signature needs it (DICOM may come without its 128-byte preamble, so a DICOM
    object is only refused when it is provably something else); a text, XML or JSON type must not
    be a known binary. Anything else is believed.
    """
    essence = _FAMILY.get(declared.essence, declared.essence)
    found = sniff(head)
    if not head:
        return None
    if essence == "application/dicom":
        provable = (_PROVABLE - {essence}) | {"application/xml"}
        return f"content is {found}" if found in provable else None
    if essence in _PROVABLE:
        return None if found == essence else f"content is not {essence}"
    if declared.is_xml:
        return None if found == "application/xml" else "content is not XML"
    if declared.is_json:
        text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        return None if text[:1] in (b"{", b"[") else "content is not JSON"
    if essence.startswith("text/"):
        if found in _PROVABLE:
            return f"content is {found}"
        return None if is_text(head) or _is_wide_text(head) else "content is not text"
    return None


def _is_wide_text(head: bytes) -> bool:
    return head[:2] in (b"\xff\xfe", b"\xfe\xff")


def is_cda(head: bytes) -> bool:
    """Whether the root element seen in the first bytes is a ClinicalDocument."""
    return xml.root_name(head) == CDA_ROOT
