"""Parts of CDA documents copied into another: nothing foreign comes along, and what points at a place still finds it.

A copy has elements of HL7 v3 and of its extension for the US realm (``sdtc``) alone; a narrative has the elements and
attributes of the CDA narrative block alone. Whatever else a document holds (scripts, XHTML, extensions of one maker,
schema locations) stays behind; of markup in a narrative its text comes along.

Names of places (``ID``) are given anew, so that those of two documents never meet, and every ``#name`` is turned to the
new one: that of its own section, else the first of its document. `settle` takes away what then points nowhere.

Source: HL7 CDA R2 4.3.5 (narrative block), 4.3.5.9 (references between narrative and entries).
"""

from __future__ import annotations

import re

from lxml import etree

from hie.standards.cda import NS, SDTC

XSI = "http://www.w3.org/2001/XMLSchema-instance"
XML = "http://www.w3.org/XML/1998/namespace"
NSMAP = {None: NS, "xsi": XSI, "sdtc": SDTC}
_TYPE = f"{{{XSI}}}type"
_KEPT = (f"{{{SDTC}}}", f"{{{XML}}}")
_NARRATIVE = frozenset({
    "content", "linkHtml", "sub", "sup", "br", "footnote", "footnoteRef", "renderMultiMedia", "paragraph", "list",
    "item", "caption", "table", "col", "colgroup", "thead", "tfoot", "tbody", "tr", "th", "td",
})  # fmt: skip
_ATTRIBUTES = frozenset({
    "ID", "language", "styleCode", "mediaType", "revised", "href", "name", "rel", "rev", "title", "IDREF",
    "referencedObject", "listType", "summary", "width", "border", "frame", "rules", "cellspacing", "cellpadding", "abbr",
    "axis", "headers", "scope", "rowspan", "colspan", "align", "char", "charoff", "valign", "span",
})  # fmt: skip
_PROGRAMS = frozenset({
    "script", "style", "iframe", "frame", "object", "embed", "applet", "svg", "form", "input", "button", "select",
    "textarea", "link", "meta", "base", "head", "noscript", "template", "audio", "video", "img", "math",
})  # fmt: skip
"""Markup of pages of which not even the text is a text."""
_BLOCKS = frozenset({"p", "div", "h1", "h2", "h3", "h4", "h5", "h6", "li", "ul", "ol", "pre", "blockquote", "section"})
_LINKS = ("http://", "https://", "mailto:", "tel:", "#")
_UNSAFE = re.compile(r"[\x00-\x20]*(javascript|vbscript|data)[\x00-\x20]*:", re.IGNORECASE)
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOWHERE = "-"
"""What a reference to nothing is turned to until `settle`: no name that is given begins so."""


def q(name: str) -> str:
    """A name of HL7 v3."""
    return f"{{{NS}}}{name}"


def new(name: str, **attributes: str) -> etree._Element:
    """An element of HL7 v3 that belongs nowhere yet."""
    return etree.Element(q(name), attributes, nsmap=NSMAP)


def add(parent: etree._Element, name: str, text: str = "", **attributes: str) -> etree._Element:
    """A further child of HL7 v3 of an element, with text and attributes as far as XML can carry them."""
    child = etree.SubElement(parent, q(name), {key: plain(value) for key, value in attributes.items()})
    if text:
        child.text = plain(text)
    return child


def plain(text: str) -> str:
    """A text without the characters that XML cannot carry."""
    return _NO_XML.sub("", text)


def local(element: etree._Element) -> str:
    """The name of an element of HL7 v3 without its namespace; "" of any other and of what is no element."""
    tag = element.tag
    return tag[len(NS) + 2 :] if isinstance(tag, str) and tag.startswith(f"{{{NS}}}") else ""


class Names:
    """The names of places of one document, given anew as ``d1-1``, ``d1-2`` …, `number` being the document's."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._count = 0
        self._all: dict[str, str] = {}

    def of(self, section: etree._Element) -> dict[str, str]:
        """New names for the places of a section, by the old; the first of two alike has it."""
        own: dict[str, str] = {}
        for element in section.iter(etree.Element):
            name = (element.get("ID") or "").strip()
            if name and name not in own:
                self._count += 1
                own[name] = f"d{self._number}-{self._count}"
        self.also(own)
        return own

    def also(self, own: dict[str, str]) -> None:
        """Let what else the document points at be found by names that were given to the same section of another."""
        for name, given in own.items():
            self._all.setdefault(name, given)

    def find(self, name: str, own: dict[str, str]) -> str:
        """The new name of what is called so, seen from a section; one that leads nowhere where there is none."""
        return own.get(name) or self._all.get(name) or _NOWHERE


class Copy:
    """Copies parts of one section."""

    def __init__(self, names: Names, own: dict[str, str]) -> None:
        self._names = names
        self._own = own
        self._left = dict(own)

    def part(self, element: etree._Element) -> etree._Element | None:
        """A copy of a part with all that is in it, narrative and entries; None where it is foreign."""
        if not _is_ours(element):
            return None
        copied = etree.Element(element.tag, nsmap=NSMAP)
        self._attributes(element, copied)
        if local(element) == "text" and (parent := element.getparent()) is not None and local(parent) == "section":
            self.narrative(element, copied)
            return copied
        inside = list(element.iterchildren(etree.Element))
        text = element.text or ""
        copied.text = text if text.strip() or not inside else None
        for child in inside:
            made = self.part(child)
            if made is not None:
                copied.append(made)
            if child.tail and child.tail.strip():
                _say(copied, child.tail)
        return copied

    def narrative(self, element: etree._Element, into: etree._Element) -> None:
        """Put what is in a narrative behind what is in an element."""
        _say(into, element.text)
        for child in element:
            self._marked(child, into)
            _say(into, child.tail)

    def name(self, element: etree._Element) -> str:
        """The new name of a place; "" where it has none, or another before it had the same."""
        return self._left.pop((element.get("ID") or "").strip(), "")

    def _marked(self, element: etree._Element, into: etree._Element) -> None:
        if not isinstance(element.tag, str):
            return
        name = etree.QName(element).localname
        if name in _NARRATIVE and local(element):
            made = etree.SubElement(into, element.tag)
            for key, value in element.attrib.items():
                if key in _ATTRIBUTES:
                    self._put(made, name, str(key), str(value), element)
            self.narrative(element, made)
        elif name.lower() not in _PROGRAMS:
            self.narrative(element, into)
            if name.lower() in _BLOCKS:
                add(into, "br")

    def _attributes(self, element: etree._Element, copied: etree._Element) -> None:
        name = local(element)
        for raw_key, raw_value in element.attrib.items():
            key, value = str(raw_key), str(raw_value)
            if key == _TYPE:
                kind = _kind(element, value)
                if kind:
                    copied.set(_TYPE, kind)
            elif not key.startswith("{"):
                self._put(copied, name, key, value, element)
            elif key.startswith(_KEPT):
                copied.set(key, value)

    def _put(self, made: etree._Element, name: str, key: str, value: str, source: etree._Element) -> None:
        if key == "ID":
            given = self.name(source)
            if given:
                made.set(key, given)
        elif key in {"IDREF", "referencedObject", "headers"}:
            made.set(key, " ".join(self._names.find(one, self._own) for one in value.split()))
        elif key == "href":
            target = value.strip()
            if target.startswith("#"):
                made.set(key, "#" + self._names.find(target[1:], self._own))
            elif target.lower().startswith(_LINKS):
                made.set(key, target)
        elif key == "value" and name in {"reference", "telecom"}:
            target = value.strip()
            if target.startswith("#"):
                made.set(key, "#" + self._names.find(target[1:], self._own))
            elif not _UNSAFE.match(target):
                made.set(key, value)
        else:
            made.set(key, value)


def _is_ours(element: etree._Element) -> bool:
    tag = element.tag
    if not isinstance(tag, str) or not tag.startswith((f"{{{NS}}}", f"{{{SDTC}}}")):
        return False
    return etree.QName(element).localname.lower() not in _PROGRAMS


def _kind(element: etree._Element, value: str) -> str:
    """An ``xsi:type`` as the copy writes it; "" for a type of neither namespace."""
    prefix, _, name = value.strip().rpartition(":")
    namespace = element.nsmap.get(prefix or None)
    return name if namespace == NS else f"sdtc:{name}" if namespace == SDTC else ""


def _say(element: etree._Element, text: str | None) -> None:
    """Put text behind what is in an element."""
    if not text:
        return
    if len(element):
        element[-1].tail = (element[-1].tail or "") + text
    else:
        element.text = (element.text or "") + text


def settle(root: etree._Element) -> None:
    """Take away what points at a place that is not in the document: a null flavour or plain text stays instead."""
    given = {name for element in root.iter(etree.Element) if (name := element.get("ID"))}
    for element in list(root.iter(etree.Element)):
        for key in ("value", "href"):
            target = element.get(key, "")
            if target.startswith("#") and local(element) in {"reference", "linkHtml"} and target[1:] not in given:
                del element.attrib[key]
                if key == "value":
                    element.set("nullFlavor", "NI")
        for key in ("IDREF", "referencedObject", "headers"):
            if key not in element.attrib:
                continue
            found = [one for one in element.get(key, "").split() if one in given]
            if found:
                element.set(key, " ".join(found))
                continue
            del element.attrib[key]
            if local(element) in {"footnoteRef", "renderMultiMedia"}:
                element.tag = q("content")
