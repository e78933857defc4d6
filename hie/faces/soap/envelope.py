"""The envelope: SOAP 1.2 with WS-Addressing 1.0, read and written.

Read through the hub's one XML parser, so no DOCTYPE, no entity and no network; no deeper than `DEPTH`. Headers are
looked at in the order that the standards give: version, mandatory headers, addressing; then the body.

Source: SOAP 1.2 part 1, 2 and 5; WS-Addressing 1.0 Core 3 and SOAP Binding; spec/xds.md 2 (1 to 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lxml import etree

from hie.faces.soap import faults
from hie.faces.soap.faults import SOAP, WSA, WSSE
from hie.standards import xml

DEPTH = 100
ANONYMOUS = f"{WSA}/anonymous"
_NONE_ROLE = f"{SOAP}/role/none"
_OURS = frozenset({"", f"{SOAP}/role/next", f"{SOAP}/role/ultimateReceiver"})
_ADDRESSING = ("Action", "MessageID", "To", "ReplyTo", "FaultTo", "From")
_UNDERSTOOD = frozenset({*(f"{{{WSA}}}{name}" for name in (*_ADDRESSING, "RelatesTo")), f"{{{WSSE}}}Security"})
_LONGEST = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A message that is well-formed: `action` is wsa:Action or "", `reply_to` the address of ReplyTo or "".

    `body` is the one child of soap:Body, `security` the wsse:Security that are meant for us.
    """

    message_id: str
    to: str
    action: str
    reply_to: str
    fault_to: str
    body: etree._Element
    security: tuple[etree._Element, ...] = ()


@dataclass(slots=True)
class Seen:
    """What is known of a message while it is read, so that a fault can say which message it answers."""

    message_id: str = ""


def parse(chunks: Iterable[bytes], *, size: int) -> etree._Element:
    """The root of the XML, of at most `size` bytes.

    Raises:
        MalformedContent: what the hub's parser refuses.
    """
    root: etree._Element | None = None
    for _event, element in xml.elements(chunks, limits=xml.Limits(size=size, depth=DEPTH)):
        if root is None:
            root = element
    assert root is not None  # elements() has raised before
    return root


def read(root: etree._Element, seen: Seen) -> Envelope:
    """The message in an envelope; `seen` is filled on the way.

    Raises:
        Fault: VersionMismatch, MustUnderstand, or one of WS-Addressing; or Sender, where the form is wrong.
    """
    name = etree.QName(root)
    if name.localname != "Envelope":
        raise faults.Fault("the message is no SOAP envelope")
    if name.namespace != SOAP:
        raise faults.version_mismatch(name.namespace)
    header, body = _parts(root)
    blocks = _ours(header)
    by_name: dict[str, list[etree._Element]] = {}
    for block in blocks:
        by_name.setdefault(str(block.tag), []).append(block)
    identified = by_name.get(f"{{{WSA}}}MessageID", [])
    if len(identified) == 1:
        seen.message_id = _text(identified[0])[:_LONGEST]
    unknown = [etree.QName(block) for block in blocks if _mandatory(block) and block.tag not in _UNDERSTOOD]
    if unknown:
        raise faults.not_understood(unknown)
    for local in _ADDRESSING:
        if len(by_name.get(f"{{{WSA}}}{local}", ())) > 1:
            raise faults.invalid_header(local, f"wsa:{local} stands there more than once", why="InvalidCardinality")
    return Envelope(
        message_id=_required(by_name, "MessageID"),
        to=_required(by_name, "To"),
        action=_value(by_name, "Action") or "",
        reply_to=_address(by_name, "ReplyTo"),
        fault_to=_address(by_name, "FaultTo"),
        body=_only_child(body),
        security=tuple(by_name.get(f"{{{WSSE}}}Security", ())),
    )


def _parts(root: etree._Element) -> tuple[etree._Element | None, etree._Element]:
    children = [child for child in root if isinstance(child.tag, str)]
    header = children.pop(0) if children and children[0].tag == f"{{{SOAP}}}Header" else None
    if len(children) != 1 or children[0].tag != f"{{{SOAP}}}Body":
        raise faults.Fault("an envelope holds a header, if any, and one body, and nothing else")
    return header, children[0]


def _ours(header: etree._Element | None) -> list[etree._Element]:
    """The header blocks in a role that this hub acts in: next, or the ultimate receiver."""
    if header is None:
        return []
    blocks = [block for block in header if isinstance(block.tag, str)]
    return [block for block in blocks if (block.get(f"{{{SOAP}}}role") or "").strip() in _OURS]


def _mandatory(block: etree._Element) -> bool:
    given = (block.get(f"{{{SOAP}}}mustUnderstand") or "").strip()
    if given in ("1", "true"):
        return True
    if given in ("", "0", "false"):
        return False
    raise faults.Fault("mustUnderstand is no boolean")


def _only_child(body: etree._Element) -> etree._Element:
    children = [child for child in body if isinstance(child.tag, str)]
    if len(children) != 1:
        raise faults.Fault("the body holds one element, and nothing else")
    return children[0]


def _required(by_name: Mapping[str, list[etree._Element]], local: str) -> str:
    value = _value(by_name, local)
    if value is None:
        raise faults.header_required(local)
    return value


def _value(by_name: Mapping[str, list[etree._Element]], local: str) -> str | None:
    """The text of an addressing header that is an IRI; None where it is not there."""
    found = by_name.get(f"{{{WSA}}}{local}")
    if not found:
        return None
    value = _text(found[0])
    if not value or len(value) > _LONGEST or len(found[0]) or any(c.isspace() for c in value):
        raise faults.invalid_header(local, f"wsa:{local} is no IRI")
    return value


def _address(by_name: Mapping[str, list[etree._Element]], local: str) -> str:
    """The address of an endpoint reference, "" where there is none or it is the anonymous one."""
    found = by_name.get(f"{{{WSA}}}{local}")
    if not found:
        return ""
    addresses = found[0].findall(f"{{{WSA}}}Address")
    if len(addresses) != 1:
        why = "InvalidCardinality" if addresses else "MissingAddressInEPR"
        raise faults.invalid_header(local, f"wsa:{local} holds one wsa:Address", why=why)
    address = _text(addresses[0])
    if not address or len(address) > _LONGEST:
        raise faults.invalid_header(local, f"the address of wsa:{local} is no IRI", why="InvalidAddress")
    return "" if address == ANONYMOUS else address


def _text(element: etree._Element) -> str:
    # XPath's string(): what stands beside a comment belongs to it, the comment does not.
    return str(element.xpath("string()")).strip()


def write(body: etree._Element, *, action: str, message_id: str, to: str = "") -> bytes:
    """The envelope of an answer to the message `message_id`; `to` is where it goes, "" back on the connection."""
    envelope = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"soap": SOAP, "wsa": WSA})
    header = etree.SubElement(envelope, f"{{{SOAP}}}Header")
    element = etree.SubElement(header, f"{{{WSA}}}Action")
    element.set(f"{{{SOAP}}}mustUnderstand", "1")
    element.text = action
    etree.SubElement(header, f"{{{WSA}}}RelatesTo").text = message_id
    if to:
        etree.SubElement(header, f"{{{WSA}}}To").text = to
    etree.SubElement(envelope, f"{{{SOAP}}}Body").append(body)
    data: bytes = etree.tostring(envelope, xml_declaration=True, encoding="UTF-8")
    return data
