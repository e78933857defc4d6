"""FHIR's XML to and from the values that its JSON has: elements, kinds and order are those of the StructureDefinitions.

Reading goes through the hardened parser. What is not FHIR is told with its FHIRPath, every problem of it at once.
Elements of one name may stand apart, and in another order than the definition's: nothing of them is lost. Writing
keeps the order of the definitions, whatever the order of the value.

Source: https://hl7.org/fhir/R4/xml.html; spec/fhir.md 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from lxml import etree

from hie.standards import fhir, xml
from hie.standards import fhir_elements as elements
from hie.standards.errors import MalformedContent
from hie.standards.fhir import JsonObject, Problem
from hie.standards.fhir_elements import Kind, Place

FHIR = "http://hl7.org/fhir"
XHTML = "http://www.w3.org/1999/xhtml"
_SCHEMA_LOCATION = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"
_WHOLE = re.compile(r"-?(?:0|[1-9]\d{0,30})\Z|\+[1-9]\d{0,30}\Z", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,100})(?:\.\d{1,100})?(?:[eE][+-]?\d{1,4})?\Z", re.ASCII)
_UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A resource as `fhir.loads` would give it from JSON, and everything in the XML that is not FHIR."""

    resource: JsonObject
    problems: tuple[Problem, ...]


# --- reading ----------------------------------------------------------------------------------------------------------


def loads(body: bytes) -> Parsed:
    """The resource in a body; whether it is right in itself is for `fhir.check`.

    Raises:
        MalformedContent: not XML that is taken here, or nested deeper than `fhir.MAX_DEPTH` as a value.
    """
    # One text may be as long as the body: a document in base64 is the value of one attribute.
    limits = xml.Limits(size=len(body) or 1, depth=2 * fhir.MAX_DEPTH)
    roots = [
        node for event, node in xml.elements([body], limits=limits) if event == "start" and node.getparent() is None
    ]
    reader = _Reader()
    try:
        resource = reader.resource(roots[0], "")
    except _Enough:
        resource = {}
    fhir.check_depth(resource)
    return Parsed(resource=resource, problems=tuple(reader.problems))


class _Enough(Exception):
    """So much is wrong that the rest is not looked at."""


class _Reader:
    """One body while it is read."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def _wrong(self, path: str, message: str, code: str = "structure") -> None:
        self.problems.append(Problem(expression=path, message=message, code=code))
        if len(self.problems) >= fhir.MAX_ISSUES:
            raise _Enough

    def resource(self, node: etree._Element, path: str) -> JsonObject:
        """A resource from the element that is named after its type."""
        namespace, name = _named(node)
        if namespace != FHIR or not elements.is_resource_type(name):
            self._wrong(path or _shown(name), f"not a FHIR resource in the namespace {FHIR}")
            return {}
        path = path or name
        for attribute in node.attrib:
            if attribute != _SCHEMA_LOCATION:
                self._wrong(path, f"a resource has no attribute {_shown(str(attribute))}")
        return {"resourceType": name, **self._children(node, (name,), path)}

    def _children(self, node: etree._Element, place: Place, path: str) -> JsonObject:
        self._no_text(node, path)
        held: JsonObject = {}
        for child in node:
            namespace, name = _named(child)
            at = f"{path}.{_shown(name)}"
            if name == "div" and namespace == XHTML and elements.element(place, name) is not None:
                self._once(held, name, _markup(child), at)
                continue
            found = elements.element(place, name) if namespace == FHIR else None
            if found is None or _is_attribute(place, name):
                self._wrong(at, "unknown element")
                continue
            if found.many:
                self._add(held, name, child, found.kind, place, f"{at}[{_count(held, name)}]")
            else:
                self._put(held, name, child, found.kind, place, at)
        return {name: value for name, value in held.items() if not _holes(value)}

    def _put(self, held: JsonObject, name: str, child: etree._Element, kind: Kind, place: Place, at: str) -> None:
        if name in held or f"_{name}" in held:
            self._wrong(at, "may come once only")
            return
        value, extra = self._value(child, name, kind, place, at)
        if value is not None:
            held[name] = value
        if extra:
            held[f"_{name}"] = extra

    def _add(self, held: JsonObject, name: str, child: etree._Element, kind: Kind, place: Place, at: str) -> None:
        value, extra = self._value(child, name, kind, place, at)
        held.setdefault(name, []).append(value)
        if kind in (Kind.OBJECT, Kind.RESOURCE):
            return
        held.setdefault(f"_{name}", []).append(extra or None)

    def _once(self, held: JsonObject, name: str, value: str, at: str) -> None:
        if name in held:
            self._wrong(at, "may come once only")
        held[name] = value

    def _value(
        self, child: etree._Element, name: str, kind: Kind, place: Place, at: str
    ) -> tuple[Any, JsonObject | None]:
        """The value of an element and, beside that of a primitive one, its id and extensions."""
        if kind is Kind.RESOURCE:
            return self._wrapped(child, at), None
        if kind is Kind.OBJECT:
            below = elements.below(place, name)
            given = self._attributes(child, at, ("id", "url") if below == elements.EXTENSION else ("id",))
            return {**given, **self._children(child, below, at)}, None
        told = len(self.problems)
        given = self._attributes(child, at, ("id", "value"))
        text = given.pop("value", None)
        extra: JsonObject = dict(given)
        if len(child):
            if any(_named(one) != (FHIR, "extension") for one in child):
                self._wrong(at, "a primitive element has extensions only")
            else:
                extra |= self._children(child, elements.PRIMITIVE, at)
        self._no_text(child, at)
        if text is None and not extra and len(self.problems) == told:
            self._wrong(at, "neither a value nor an extension")
        return self._primitive(text, kind, at), extra or None

    def _wrapped(self, child: etree._Element, at: str) -> JsonObject:
        self._attributes(child, at, ())
        self._no_text(child, at)
        if len(child) != 1:
            self._wrong(at, "holds exactly one resource")
            return {}
        return self.resource(child[0], at)

    def _attributes(self, node: etree._Element, at: str, allowed: tuple[str, ...]) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for key, value in node.attrib.items():
            name = str(key)
            if name not in allowed:
                self._wrong(at, f"no attribute {_shown(name)} here")
            elif value == "":
                self._wrong(f"{at}.{name}", "an attribute is not empty")
            else:
                given[name] = str(value)
        return given

    def _primitive(self, text: str | None, kind: Kind, at: str) -> Any:
        if text is None or kind is Kind.TEXT:
            return text
        bare = text.strip(" \t\r\n")
        if kind is Kind.BOOLEAN and bare in ("true", "false"):
            return bare == "true"
        if kind is Kind.WHOLE and _WHOLE.match(bare):
            return int(bare)
        if kind is Kind.NUMBER and _NUMBER.match(bare):
            return Decimal(bare)
        self._wrong(at, f"not a {kind.name.lower()} value", "value")
        return None

    def _no_text(self, node: etree._Element, path: str) -> None:
        texts = [node.text, *(child.tail for child in node)] if len(node) else [node.text]
        if any(text and not text.isspace() for text in texts):
            self._wrong(path, "text between the elements; a value stands in the attribute value")


def _count(held: Mapping[str, Any], name: str) -> int:
    return len(held.get(name, ()))


def _holes(value: Any) -> bool:
    """Whether nothing stands in a list of a repeated primitive's values, or of what goes with them."""
    return isinstance(value, list) and all(item is None for item in value)


def _is_attribute(place: Place, name: str) -> bool:
    """What XML writes as an attribute: the id of an element that is no resource, the url of an extension."""
    return (name == "id" and len(place) > 1) or (name == "url" and place == elements.EXTENSION)


def _named(node: etree._Element) -> tuple[str, str]:
    namespace, _, name = str(node.tag).rpartition("}")
    return namespace[1:], name


def _shown(name: str) -> str:
    """A name of the sender's, short and printable."""
    return "".join(c for c in name.rpartition("}")[2][:64] if c.isprintable())


def _markup(node: etree._Element) -> str:
    """The narrative as JSON carries it: the div with its own namespace alone, and no prefix."""
    return str(etree.tostring(_copied(node, etree.Element(node.tag, nsmap={None: XHTML})), encoding="unicode"))


def _copied(node: etree._Element, into: etree._Element) -> etree._Element:
    into.attrib.update(node.attrib)
    into.text = node.text
    for child in node:
        _copied(child, etree.SubElement(into, child.tag)).tail = child.tail
    return into


# --- writing ----------------------------------------------------------------------------------------------------------


def dumps(value: Any) -> bytes:
    """A resource as XML in UTF-8, of whatever `fhir.dumps` writes; what XML has no letter for becomes U+FFFD."""
    resource = fhir.plain(value)
    root = etree.Element(f"{{{FHIR}}}{resource['resourceType']}", nsmap={None: FHIR})
    _write(root, resource, (str(resource["resourceType"]),))
    return bytes(etree.tostring(root, encoding="UTF-8", xml_declaration=True))


def _write(node: etree._Element, held: Mapping[str, Any], place: Place) -> None:
    """The elements of a value below its node, in the order of the definition."""
    names = frozenset(name.removeprefix("_") for name in held) - {"resourceType"}
    for name in elements.in_order(place, names):
        value, extra = held.get(name), held.get(f"_{name}")
        if value is not None and _is_attribute(place, name):
            node.set(name, _text(value))
        elif isinstance(value, list) or isinstance(extra, list):
            values, extras = value or [], extra or []
            for index in range(max(len(values), len(extras))):
                _write_one(node, name, _at(values, index), _at(extras, index), place)
        else:
            _write_one(node, name, value, extra, place)


def _at(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else None


def _write_one(parent: etree._Element, name: str, value: Any, extra: Any, place: Place) -> None:
    if name == "div" and isinstance(value, str):
        parent.append(_narrative(value))
        return
    node = etree.SubElement(parent, f"{{{FHIR}}}{name}")
    if isinstance(value, dict) and "resourceType" in value:
        kind = str(value["resourceType"])
        _write(etree.SubElement(node, f"{{{FHIR}}}{kind}"), value, (kind,))
    elif isinstance(value, dict):
        _write(node, value, elements.below(place, name))
    elif value is not None:
        node.set("value", _text(value))
    if isinstance(extra, dict):
        _write(node, extra, elements.PRIMITIVE)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _UNWRITABLE.sub("\ufffd", str(value))


def _narrative(text: str) -> etree._Element:
    """The div of a narrative; one that is not XHTML is written as its letters."""
    try:
        root = xml.parse(_UNWRITABLE.sub("\ufffd", text).encode())
    except MalformedContent:
        root = None
    if root is not None and root.tag == f"{{{XHTML}}}div":
        return root
    plain = etree.Element(f"{{{XHTML}}}div", nsmap={None: XHTML})
    plain.text = _UNWRITABLE.sub("\ufffd", text)
    return plain
