"""What a document's bytes say of themselves: are they what the metadata claims, which codes do they hold.

Content is told by format code and root element, not by media type alone: a document whose format is a CDA format, or
whose root is a ClinicalDocument, is read as one whatever its type is called. XML and JSON are read to the end, so
that nothing broken, cut off or hostile is stored as a document of such a type.

Source: spec/xds.md 3.2; ../shared/data/README "known quirks".
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from documents.errors import ContentMismatch
from documents.metadata import EntryMetadata
from hie.standards import cda, mime, oids, xml
from hie.standards.errors import HubError, MalformedContent
from hie.standards.facts import CodedContent

MAX_JSON = 64 << 20
EMPTY_SHA1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
_V3 = "{urn:hl7-org:v3}"
_FHIR = "{http://hl7.org/fhir}"
_LEVELS = "ULMNRV"
_CDA_FORMATS = (
    "urn:ihe:pcc:",
    "urn:ihe:lab:xd-lab",
    "urn:hl7-org:sdwg:",
    "urn:ihe:iti:bppc",
    "urn:ihe:iti:xds-sd:",
    "urn:ihe:pharm:",
    "urn:ihe:pat:apsr",
    "urn:ihe:eyecare:",
    "urn:ihe:card:",
    "urn:ihe:dent:",
    "urn:ihe:qrph:",
    "2.16.840.1.113883.10.20.",
)
# Parts of a CDA sent on their own: fragments, with or without the namespace.
_CDA_PARTS = frozenset(
    [
        "recordTarget",
        "patientRole",
        "author",
        "custodian",
        "legalAuthenticator",
        "component",
        "structuredBody",
        "nonXMLBody",
        "section",
        "entry",
        "act",
        "observation",
        "organizer",
        "encounter",
        "procedure",
        "substanceAdministration",
        "supply",
        "documentationOf",
        "componentOf",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """What the bytes gave: the codes, and the header when they are a CDA; and why a person should look at them."""

    content: CodedContent
    header: cda.CdaHeader | None = None
    doubts: tuple[str, ...] = ()


def claims_cda(entry: EntryMetadata) -> bool:
    """Whether the format code says that this is a CDA document."""
    if entry.format_code is None:
        return False
    code = entry.format_code.code.lower()
    return code.startswith(_CDA_FORMATS)


def inspect(entry: EntryMetadata, chunks: Iterable[bytes], *, where: str) -> Inspected:
    """Read the bytes as far as their kind needs.

    `where` names the entry in errors.

    Raises:
        ContentMismatch: they are not of the stated media type or format; `element` names which.
        MalformedContent: XML or JSON that cannot be accepted; the message says at which line.
    """
    source = iter(chunks)
    head = _head(source)
    declared = mime.parse(entry.mime_type)
    if declared is None:  # pragma: no cover - validation has refused it before
        raise ContentMismatch("mimeType is no media type", element=f"{where}.mimeType")
    if not head:
        # As one that is assembled later is announced.
        said_so = entry.size == 0 or (entry.hash or "").lower() == EMPTY_SHA1
        if not said_so and (claims_cda(entry) or declared.is_xml or declared.is_json):
            raise ContentMismatch(
                f"the document is empty, which {declared.essence} cannot be", element=f"{where}.content"
            )
        return Inspected(content=CodedContent())
    whole = chain([head], source)
    problem = mime.contradicts(declared, head)
    is_text = not (declared.is_xml or declared.is_json or mime.looks_like_xml(head))
    if claims_cda(entry) and problem is None and is_text:
        # Systems in service give text and pictures the format code of the clinical document that they stand for.
        return Inspected(content=CodedContent(), doubts=("format-differs",))
    if claims_cda(entry) and (problem is None or declared.is_xml):
        return _cda(whole, head, where, f"{where}.formatCode")
    if problem is not None:
        raise ContentMismatch(f"{problem}, stated is {declared.essence}", element=f"{where}.mimeType")
    if mime.is_cda(head):
        return _cda(whole, head, where, f"{where}.mimeType")
    if declared.is_xml:
        return _xml(whole, head, where)
    if declared.is_json:
        return _json(whole, where)
    return Inspected(content=CodedContent())


def _head(source: Iterator[bytes]) -> bytes:
    """The first bytes, enough for a long prolog (comments, style sheets) before the root element."""
    head = b""
    for chunk in source:
        head += chunk
        if len(head) >= 16 * mime.SNIFF_BYTES:
            break
    return head


def _cda(whole: Iterable[bytes], head: bytes, where: str, claim: str) -> Inspected:
    if not mime.looks_like_xml(head):
        raise ContentMismatch("content is not a CDA document", element=claim)
    try:
        document = cda.read(whole)
    except MalformedContent as error:
        raise MalformedContent(str(error), element=f"{where}.content") from None
    except cda.NotClinicalDocument:
        raise ContentMismatch("the root element is not a ClinicalDocument", element=claim) from None
    return Inspected(content=document.content, header=document.header)


def _xml(whole: Iterable[bytes], head: bytes, where: str, *, depth: int = 0) -> Inspected:
    """Any XML: acceptable to its end, and no fragment of a CDA; FHIR is read for its codes as in JSON."""
    root: str | None = None
    found = _Found(depth=depth)
    path: list[_Element] = []
    try:
        for event, element in xml.elements(whole, limits=cda.LIMITS):
            if event == "start":
                root = root or str(element.tag)
                if root.startswith(_FHIR):
                    _begin(path, str(element.tag).removeprefix(_FHIR), element.get("value"), found)
            else:
                if path:
                    _end(path, found)
                element.clear()
                while element.getprevious() is not None:
                    del element.getparent()[0]
    except MalformedContent as error:
        raise MalformedContent(str(error), element=f"{where}.content") from None
    root = root or xml.root_name(head) or ""
    local = root.rpartition("}")[2]
    if (root.startswith(_V3) or "}" not in root) and (local in _CDA_PARTS or local == "ClinicalDocument"):
        raise ContentMismatch("the root element is not a ClinicalDocument", element=f"{where}.content")
    return Inspected(content=found.coded()) if root.startswith(_FHIR) else Inspected(content=CodedContent())


@dataclass(slots=True)
class _Element:
    """An element of FHIR XML under way: its name, and the system and code that it holds."""

    name: str
    system: str | None = None
    code: str | None = None
    content_type: str = ""
    data: str = ""


def _begin(path: list[_Element], name: str, value: str | None, found: _Found) -> None:
    if path and value is not None:
        if name == "system":
            path[-1].system = value
        elif name == "code":
            path[-1].code = value
        elif name == "contentType":
            path[-1].content_type = value
        elif name == "data":
            path[-1].data = value
        elif name == "confidentiality" and path[-1].name == "Composition":
            found.level(value)
    path.append(_Element(name))


def _end(path: list[_Element], found: _Found) -> None:
    ended = path.pop()
    if ended.data:
        _embedded(ended.content_type, ended.data, found)
    if ended.code is None:
        return
    found.coding(ended.name, ended.system or "", ended.code, within=path[-1].name if path else "")
    if ended.name == "coding" and [one.name for one in path[-2:]] == ["section", "code"]:
        found.sections.add(ended.code)


@dataclass(slots=True)
class _Found:
    """Codes found in a FHIR document, in JSON or XML."""

    codes: set[str] = field(default_factory=set)
    security: set[str] = field(default_factory=set)
    letters: set[str] = field(default_factory=set)
    inner: set[str] = field(default_factory=set)  # letters of documents inside
    sections: set[str] = field(default_factory=set)
    depth: int = 0  # of documents within documents

    def coding(self, name: str, system: str, code: str, *, within: str = "") -> None:
        """A code with its system ("" when none is given), in an element of this name inside another."""
        uri = oids.compared_scheme(system)
        if uri == cda.CONFIDENTIALITY:
            self.level(code)
        elif name == "security" or "securityLabel" in (name, within):
            # A letter of another system, or of none, is still meant as one.
            self.level(code)
        else:
            self.codes.add(f"{uri}|{code}")

    def level(self, code: str) -> None:
        """A confidentiality code. Older tables had sensitivities and letters of their own among the levels."""
        (self.letters if code in _LEVELS else self.security).add(code)

    def coded(self) -> CodedContent:
        """All of it, as the labelling rules take it."""
        return CodedContent(
            codes=frozenset(self.codes),
            sections=frozenset(self.sections),
            confidentiality=max(self.letters, key=_LEVELS.index) if self.letters else None,
            at_least=max(self.inner, key=_LEVELS.index) if self.inner else None,
            security_labels=frozenset(self.security),
            read=True,
        )


MAX_EMBEDDED = 3
UNREAD = "unread-part"


def _embedded(content_type: str, data: str, found: _Found) -> None:
    """The codes of a document inside a FHIR resource (an attachment, a Binary), where it is of a kind that holds any.

    One that cannot be read may hold anything: it counts as a security label that nobody knows, which restricts the whole.
    """
    declared = mime.parse(content_type)
    try:
        raw = base64.b64decode("".join(data.split()), validate=True)
    except ValueError:
        if declared is not None:  # else these are no document's bytes: a series of samples, say
            found.security.add(UNREAD)
        return
    coded = mime.is_cda(raw[: 16 * mime.SNIFF_BYTES]) or (
        declared is not None and (declared.is_xml or declared.is_json)
    )
    if not coded:
        return
    if found.depth >= MAX_EMBEDDED:
        found.security.add(UNREAD)
        return
    try:
        inner = _part(raw, declared is not None and declared.is_json, found.depth + 1)
    except HubError:
        found.security.add(UNREAD)
        return
    found.codes |= inner.codes
    found.security |= inner.security_labels
    found.sections |= inner.sections
    found.inner |= {letter for letter in (inner.confidentiality, inner.at_least) if letter}


def _part(raw: bytes, is_json: bool, depth: int) -> CodedContent:
    head = raw[: 16 * mime.SNIFF_BYTES]
    if mime.is_cda(head):
        return _cda([raw], head, "", "").content
    if is_json:
        return _json([raw], "", depth=depth).content
    return _xml([raw], head, "", depth=depth).content


def _json(whole: Iterable[bytes], where: str, *, depth: int = 0) -> Inspected:
    data = bytearray()
    for chunk in whole:
        data += chunk
        if len(data) > MAX_JSON:
            raise ContentMismatch(f"JSON of more than {MAX_JSON} bytes is not read", element=f"{where}.content")
    try:
        value = json.loads(bytes(data).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        at = f" at line {line}" if line else ""
        raise MalformedContent(f"not JSON{at}", element=f"{where}.content") from None
    found = _Found(depth=depth)
    _walk(value, found)
    return Inspected(content=found.coded())


def _walk(root: Any, found: _Found) -> None:
    """Collect codings of a FHIR document; iterative, since depth is the sender's choice."""
    todo: list[tuple[str, str, Any]] = [("", "", root)]
    while todo:
        within, name, value = todo.pop()
        if isinstance(value, list):
            todo.extend((within, name, item) for item in value)
        elif isinstance(value, dict):
            system, code = value.get("system"), value.get("code")
            if isinstance(code, str) and code:
                found.coding(name, system if isinstance(system, str) else "", code, within=within)
            data = value.get("data")
            kind = value.get("contentType")
            if isinstance(data, str) and data:
                _embedded(kind if isinstance(kind, str) else "", data, found)
            confidentiality = value.get("confidentiality")
            if isinstance(confidentiality, str) and value.get("resourceType") == "Composition":
                found.level(confidentiality)
            if name == "section":
                concept = value.get("code")
                listed = concept.get("coding") if isinstance(concept, dict) else None
                for item in listed if isinstance(listed, list) else ():
                    if isinstance(item, dict) and isinstance(item.get("code"), str):
                        found.sections.add(item["code"])
            todo.extend((name, str(key), item) for key, item in value.items())


def same_unique_id(stated: str, header: cda.CdaHeader) -> bool | None:
    """Whether a stated uniqueId is the document's own id; None when that cannot be said.

    The spellings of one id count as one: ``root^extension``, ``extension^^^&root&ISO``, ``urn:oid:``, ``urn:uuid:``, the
    ``2.25`` form of a UUID, any case of a UUID. An id that XDS cannot carry (an extension over 16
    characters, a root that is neither OID nor UUID) could not have been stated: nothing can be said.
    Source: spec/xds.md 3.2.
    """
    if header.id is None or not header.id.root:
        return None
    root, extension = header.id.root, header.id.extension
    spellings = {_plain(header.unique_id), _plain(f"{extension}^^^&{root}&iso")}
    if not extension:
        spellings.add(_plain(root))
        if _is_uuid(root):
            spellings.add(oids.from_uuid(root))
    else:
        spellings.add(_plain(f"{root}.{extension}"))
        spellings.add(_plain(f"urn:oid:{root}^{extension}"))
    if _plain(stated) in spellings:
        return True
    carried = oids.is_oid(root) and len(extension) <= 16 and " " not in extension
    carried = carried or (not extension and _is_uuid(root))
    return False if carried else None


def _plain(text: str) -> str:
    return text.strip().lower().removeprefix("urn:uuid:").removeprefix("urn:oid:")


def _is_uuid(text: str) -> bool:
    try:
        oids.from_uuid(text)
    except ValueError:
        return False
    return True


def named(error: HubError, where: str) -> HubError:
    """The error with an element, when it came without one."""
    if error.element is None:
        error.element = where
    return error
