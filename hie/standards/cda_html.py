"""A CDA document made readable: header in words, the narrative of each section by the whitelist, pictures that are inside.

Its narrative is what a CDA says to people; codes are for machines, and are shown only where a section has no text. One pass
over the bytes: entries are let go as they end, so memory is that of the narrative and of the pictures.

Source: HL7 CDA R2 4.3 (body), 4.3.5 (narrative block); C-CDA R2.1 (unstructured document).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date

from lxml import etree

from hie.standards import cda, pieces, xml
from hie.standards.demographics import HumanName
from hie.standards.errors import MalformedContent
from hie.standards.narrative import Narrative, Places
from hie.standards.readable import Fact, Header, Media, Readable, Section, Writer, in_parts

MAX_ELEMENTS = 60_000
"""Elements of narrative that are read; what comes behind them is in the file."""
MAX_FACTS = 400
LIMITS = xml.Limits(size=64 * xml.MiB, depth=200)
_V3 = f"{{{cda.NS}}}"
_STATEMENTS = frozenset(
    f"{_V3}{name}"
    for name in ("act", "encounter", "observation", "organizer", "procedure", "substanceAdministration", "supply")
)


def read(chunks: Iterable[bytes], *, limits: xml.Limits = LIMITS, max_elements: int = MAX_ELEMENTS) -> Readable:
    """The document as somebody reads it.

    Raises:
        MalformedContent: not acceptable XML.
        NotClinicalDocument: another root element.
    """
    body = _Body(max_elements)
    root: etree._Element | None = None
    for event, element in xml.elements(chunks, limits=limits):
        if root is None:
            root = element
            if root.tag != cda.ROOT:
                raise cda.NotClinicalDocument(element="/")
        if event == "start":
            body.start(element)
        else:
            body.end(element)
    if root is None:  # pragma: no cover - elements() has raised before
        raise MalformedContent("no element")
    return body.document(root)


@dataclass(slots=True)
class _Body:
    """Takes elements as they open and close; of an entry it keeps its pictures, and its facts until it is known whether the
    section has a text."""

    left: int
    path: list[str] = field(default_factory=list)
    media: list[Media] = field(default_factory=list)
    media_ids: dict[str, int] = field(default_factory=dict)
    facts: dict[etree._Element, list[Fact]] = field(default_factory=dict)
    counted: int = 0
    cut: bool = False
    text: int = 0  # depth at which a section's text opened, 0 outside
    entry: int = 0
    beyond: int = 0  # depth of an element that is beyond what is read, 0 outside
    unstructured: int = -1

    def start(self, element: etree._Element) -> None:
        name = str(element.tag)
        self.path.append(name)
        depth = len(self.path)
        if self.text:
            self.left -= 1
            if self.left < 0 and not self.beyond:
                # From here on nothing is kept, and the page says that there is more.
                self.cut, self.beyond = True, depth
        elif not self.entry and depth > 1 and self.path[-2] == f"{_V3}section":
            if name == f"{_V3}text":
                self.text = depth
            elif name == f"{_V3}entry":
                self.entry = depth

    def end(self, element: etree._Element) -> None:
        depth = len(self.path)
        name = self.path.pop()
        if self.text:
            if self.beyond and depth >= self.beyond:
                _let_go(element)
                self.beyond = 0 if depth == self.beyond else self.beyond
            if depth == self.text:
                self.text = 0
        elif self.entry:
            if name in (f"{_V3}observationMedia", f"{_V3}regionOfInterest"):
                self._picture(element)
            if depth == self.entry:
                self.entry = 0
                section = element.getparent()
                if section is not None:
                    held = self.facts.setdefault(section, [])
                    if len(held) < MAX_FACTS:
                        held.extend(_facts(element, 0))
                _let_go(element)
        elif name == f"{_V3}nonXMLBody":
            self._file(element)

    def _picture(self, element: etree._Element) -> None:
        named = (element.get("ID") or "").strip()
        if element.tag == f"{_V3}regionOfInterest":
            inner = element.find(f".//{_V3}observationMedia")
            number = self.media_ids.get((inner.get("ID") or "").strip(), -1) if inner is not None else -1
            if number < 0 and inner is not None:
                number = len(self.media) - 1  # it ended just before, without a name
            if named and number >= 0:
                self.media_ids.setdefault(named, number)
            return
        value = element.find(f"{_V3}value")
        if value is None:
            return
        if named:
            self.media_ids.setdefault(named, len(self.media))
        self.media.append(_medium(value))

    def _file(self, element: etree._Element) -> None:
        text = element.find(f"{_V3}text")
        if text is not None:
            self.unstructured = len(self.media)
            self.media.append(_medium(text))

    # --- the end --------------------------------------------------------------------------------------------------

    def document(self, root: etree._Element) -> Readable:
        sections = list(_sections(root))
        places = Places(media=self.media_ids)
        for section, _ in sections:
            text = section.find(f"{_V3}text")
            if text is not None:
                places.look(text)
        converted = [self._section(n, section, level, places) for n, (section, level) in enumerate(sections, 1)]
        parts, where = in_parts(converted)
        return Readable(
            header=_header(root),
            sections=tuple(converted),
            media=tuple(self.media),
            parts=parts,
            where=where,
            body=self.unstructured,
            cut=self.cut,
        )

    def _section(self, number: int, section: etree._Element, level: int, places: Places) -> Section:
        title, text = section.find(f"{_V3}title"), section.find(f"{_V3}text")
        code = section.find(f"{_V3}code")
        words = _text(title) or (_display(code) if code is not None else "")
        writer = Narrative(places, first_note=self.counted + 1)
        name = places.name(section)
        body = writer.body(text) if text is not None else ()
        self.counted += len(writer.notes)
        null = (
            "" if body else (section.get("nullFlavor") or (text.get("nullFlavor") if text is not None else None) or "")
        )
        spoken = section.find(f"{_V3}languageCode")
        return Section(
            anchor=f"s-{number}",
            title=words,
            level=level,
            id=name,
            body=body,
            notes=tuple(writer.notes),
            facts=() if body else tuple(self.facts.get(section, ())[:MAX_FACTS]),
            null=null,
            language=pieces.language(spoken.get("code") or "") if spoken is not None else "",
            holds_others=section.find(f"{_V3}component/{_V3}section") is not None,
        )


def _let_go(element: etree._Element) -> None:
    """Free an element that has ended, and the empty one before it: the parser still holds the one itself."""
    element.clear(keep_tail=False)
    parent, before = element.getparent(), element.getprevious()
    if (
        parent is not None
        and before is not None
        and before.tag == element.tag
        and len(before) == 0
        and not before.attrib
    ):
        tail = (before.tail or "").strip()
        if not (before.text or "").strip() and not tail:
            parent.remove(before)


def _sections(root: etree._Element) -> Iterator[tuple[etree._Element, int]]:
    """Sections in the order of the document, each with how deep it lies in others."""
    waiting = [
        (one, 0) for one in reversed(root.findall(f"{_V3}component/{_V3}structuredBody/{_V3}component/{_V3}section"))
    ]
    while waiting:
        section, level = waiting.pop()
        yield section, level
        inner = section.findall(f"{_V3}component/{_V3}section")
        waiting += [(one, level + 1) for one in reversed(inner)]


def _medium(value: etree._Element) -> Media:
    kind = (value.get("mediaType") or "").strip().lower()
    reference = value.find(f"{_V3}reference")
    address = (reference.get("value") or "").strip() if reference is not None else ""
    text = "".join(value.itertext())
    if (value.get("representation") or "").upper() != "B64" and text.strip():
        # Text of the stated kind as it stands.
        return Media(kind or "text/plain", base64.b64encode(text.encode()).decode())
    return Media(kind, text.strip(), address)


# --- facts ------------------------------------------------------------------------------------------------------------


def _facts(entry: etree._Element, depth: int) -> Iterator[Fact]:
    for statement in entry:
        if statement.tag in _STATEMENTS:
            yield from _statement(statement, depth)


def _statement(statement: etree._Element, depth: int) -> Iterator[Fact]:
    if depth > 8:
        return
    code, value = statement.find(f"{_V3}code"), statement.find(f"{_V3}value")
    material = statement.find(f".//{_V3}manufacturedMaterial")
    label = _display(code) if code is not None else ""
    if material is not None:
        named = material.find(f"{_V3}code")
        label = (_display(named) if named is not None else "") or _text(material.find(f"{_V3}name")) or label
    said = _value(value) if value is not None else ""
    if not label:
        label, said = said, ""
    inner = depth
    if label:
        since, until = _times(statement.find(f"{_V3}effectiveTime"))
        status = statement.find(f"{_V3}statusCode")
        yield Fact(
            label=label,
            value=said,
            since=since,
            until=until,
            negated=(statement.get("negationInd") or "").strip().lower() in ("true", "1"),
            state=(status.get("code") or "").strip().lower() if status is not None else "",
            depth=depth,
        )
        inner = depth + 1
    for related in statement:
        if related.tag in (f"{_V3}entryRelationship", f"{_V3}component"):
            yield from _facts(related, inner)


def _display(code: etree._Element) -> str:
    """A code in the words that came with it; "" for a bare one."""
    found = (code.get("displayName") or "").strip() or _text(code.find(f"{_V3}originalText"))
    if not found:
        named = code.find(f"{_V3}translation[@displayName]")
        found = (named.get("displayName") or "").strip() if named is not None else ""
    return found


def _value(value: etree._Element) -> str:
    if value.get("value") is not None:
        unit = (value.get("unit") or "").strip()
        return " ".join(part for part in ((value.get("value") or "").strip(), "" if unit == "1" else unit) if part)
    low, high = value.find(f"{_V3}low"), value.find(f"{_V3}high")
    if low is not None or high is not None:
        ends = [_value(one) if one is not None else "" for one in (low, high)]
        return " – ".join(ends) if any(ends) else ""
    return _display(value) or _text(value)


def _times(time: etree._Element | None) -> tuple[str, str]:
    if time is None:
        return "", ""
    if time.get("value"):
        return _day(time.get("value")), ""
    low, high = time.find(f"{_V3}low"), time.find(f"{_V3}high")
    return (
        _day(low.get("value")) if low is not None else "",
        _day(high.get("value")) if high is not None else "",
    )


# --- header -----------------------------------------------------------------------------------------------------------


def _header(root: etree._Element) -> Header:
    head = cda.header_of(root)
    place = root.find(f"{_V3}componentOf/{_V3}encompassingEncounter")
    since = until = where = ""
    if place is not None:
        since, until = _times(place.find(f"{_V3}effectiveTime"))
        where = _text(place.find(f"{_V3}location/{_V3}healthCareFacility/{_V3}location/{_V3}name")) or _text(
            place.find(f"{_V3}location/{_V3}healthCareFacility/{_V3}serviceProviderOrganization/{_V3}name")
        )
    if not (since or until) and head.service_events:
        since, until = _day(head.service_events[0].low), _day(head.service_events[0].high)
    code = root.find(f"{_V3}code")
    return Header(
        title=head.title,
        kind=_display(code) if code is not None else "",
        language=pieces.language(head.language),
        on=_day(head.effective_time),
        patients=tuple(dict.fromkeys(name for one in head.names[:1] if (name := spoken(one)))),
        birth_date=head.birth_date,
        writers=tuple(dict.fromkeys(_writer(one) for one in head.authors)),
        keeper=head.custodian.organization_name if head.custodian else "",
        signers=(_writer(head.legal_authenticator),) if head.legal_authenticator else (),
        since=since,
        until=until if until != since else "",
        place=where,
        replaces=any(one.type == "RPLC" for one in head.related),
    )


def _writer(one: cda.Participation) -> Writer:
    return Writer(name=spoken(one.name) if one.name else "", place=one.organization_name, on=_day(one.time))


def spoken(name: HumanName) -> str:
    """A name as it is said: title, given names, family name, suffix."""
    if name.text:
        return name.text
    return " ".join(part for part in (*name.prefix, *name.given, name.family, *name.suffix) if part)


def _day(ts: str | None) -> str:
    """The day of an HL7 TS as a FHIR date of its precision, as it was written: no clock, no change of zone; "" for none."""
    digits = ""
    for character in (ts or "").strip():
        if not (character.isascii() and character.isdigit()):
            break
        digits += character
    try:
        date(int(digits[:4]), int(digits[4:6] or 1), int(digits[6:8] or 1))
    except ValueError:
        return ""
    if int(digits[:4]) < 1800:  # 0001-01-01 and the like are said where nothing is known
        return ""
    if len(digits) >= 8:
        return f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}"
    return f"{digits[:4]}-{digits[4:6]}" if len(digits) >= 6 else digits[:4]


def _text(element: etree._Element | None) -> str:
    return "" if element is None else " ".join("".join(element.itertext()).split())
