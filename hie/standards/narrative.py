"""Marked-up text of documents made into pieces: the narrative of a CDA, the XHTML of FHIR, an HTML letter, by one whitelist.

What is not on the list is not shown as markup; its text is. No attribute is copied: spans of cells, places within the
document, a language and the styles that mean something are read, the rest stays where it is. Pictures are not fetched; an
address elsewhere is written out as text.

Source: HL7 CDA R2 4.3.5 (narrative block); FHIR R4 2.4 (narrative).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Protocol
from xml.etree import ElementTree

from hie.standards import pieces
from hie.standards.pieces import Node, Piece, Rows

MAX_DEPTH = 50
"""Markup nested deeper than this is shown as text."""
_SPAN = re.compile(r"\d{1,3}\Z", re.ASCII)
_SAME = {
    "content": "span", "span": "span", "font": "span", "label": "span", "linkhtml": "a", "a": "a",
    "b": "b", "strong": "b", "th": "b", "i": "i", "em": "i", "cite": "i", "u": "u", "ins": "ins", "del": "del",
    "s": "del", "strike": "del", "sub": "sub", "sup": "sup", "code": "code", "tt": "code", "kbd": "code", "samp": "code",
    "paragraph": "p", "p": "p", "div": "div", "blockquote": "div", "section": "div", "article": "div", "center": "div",
    "main": "div", "header": "div", "footer": "div", "dl": "div", "dd": "div", "address": "div", "figure": "div", "pre": "pre",
}  # fmt: skip
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6", "dt", "legend", "figcaption"})
_LISTS = frozenset({"list", "ul", "ol", "menu"})
_ITEMS = frozenset({"item", "li"})
_GROUPS = frozenset({"thead", "tbody", "tfoot"})
_STYLES = {"bold": "b", "emphasis": "i", "italics": "i", "underline": "u", "bolditalics": "b"}
_NUMBERING = {
    "arabic": "1", "littlealpha": "a", "bigalpha": "A", "littleroman": "i", "bigroman": "I",
    "1": "1", "a": "a", "i": "i",
}  # fmt: skip
_BULLETS = frozenset({"disc", "circle", "square"})
_ELSEWHERE = re.compile(r"(?:https?://|mailto:|tel:|ftp://)[^\s<>\"]{1,300}\Z", re.ASCII | re.IGNORECASE)


class Markup(Protocol):
    """An element of lxml or of the standard library's ElementTree."""

    tag: Any
    text: str | None
    tail: str | None
    attrib: Any

    def __iter__(self) -> Iterator[Any]: ...


@dataclass(frozen=True, slots=True)
class Note:
    """A footnote: the number it has in the document, its place, and what it says."""

    number: int
    anchor: str
    body: tuple[Node, ...]


@dataclass(slots=True)
class Places:
    """The names of a whole document: which places its links name, its footnotes by name, its media by name."""

    wanted: set[str] = field(default_factory=set)
    notes: dict[str, int] = field(default_factory=dict)
    media: Mapping[str, int] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)
    counted: int = 0

    def look(self, element: Markup) -> None:
        """Read the names that a text links to, before anything of the document is converted."""
        for one in _all(element):
            name, attributes = _name(one), one.attrib
            if name in {"linkhtml", "a"}:
                target = (attributes.get("href") or "").strip()
                if target.startswith("#"):
                    self.wanted.add(pieces.place(target[1:]))
                elif attributes.get("IDREF"):
                    self.wanted.add(pieces.place(attributes["IDREF"]))
            elif name == "footnote":
                self.counted += 1
                if attributes.get("ID"):
                    self.notes.setdefault(attributes["ID"].strip(), self.counted)
        self.wanted.discard("")

    def name(self, element: Markup) -> str:
        """The place that an element is, where something links to it; the first of a name has it."""
        attributes = element.attrib
        found = pieces.place(attributes.get("ID") or attributes.get("id") or attributes.get("name") or "")
        if not found or found not in self.wanted or found in self.given:
            return ""
        self.given.add(found)
        return found


class Narrative:
    """Converts the text of one section; `notes` are the footnotes met, in order."""

    def __init__(self, places: Places, *, first_note: int = 1) -> None:
        self.places = places
        self.notes: list[Note] = []
        self._next = first_note

    def body(self, element: Markup) -> tuple[Node, ...]:
        """What is in an element, as pieces of a page; () where nothing is."""
        found = tuple(self._mixed(element, 0))
        return () if pieces.is_empty(found) else found

    def _mixed(self, element: Markup, depth: int) -> Iterator[Node]:
        if element.text:
            yield element.text
        for child in element:
            if isinstance(child.tag, str):  # no comment, no instruction
                yield from self._one(child, depth + 1)
            if child.tail:
                yield child.tail

    def _one(self, element: Markup, depth: int) -> Iterator[Node]:
        name = _name(element)
        if depth > MAX_DEPTH:
            yield "".join(_texts(element))
        elif name in _LISTS:
            yield from self._list(element, name, depth)
        elif name == "table":
            yield from self._table(element, depth)
        elif name == "br" or name == "hr":
            yield pieces.made("br")
        elif name == "footnote":
            yield self._footnote(element, depth)
        elif name == "footnoteref":
            yield from self._to_note(element, depth)
        elif name == "rendermultimedia":
            yield from self._media(element, depth)
        elif name == "img":
            yield from self._picture(element)
        elif name in _HEADINGS or name in {"caption", "title"}:
            yield pieces.made("p", self._mixed(element, depth), mark="caption", id=self.places.name(element))
        elif name in _ITEMS:
            yield pieces.listed([self._item(element, depth)], ordered=False)  # an item without its list
        elif name in {"tr", "td", *_GROUPS}:
            yield pieces.made("div", self._mixed(element, depth))  # part of a table without its table
        else:
            yield from self._text(element, name, depth)

    def _text(self, element: Markup, name: str, depth: int) -> Iterator[Node]:
        attributes = element.attrib
        kind = _SAME.get(name)
        place = self.places.name(element)
        lang = _language(element)
        inner = list(self._mixed(element, depth))
        if kind is None:
            if place or lang:
                yield pieces.made("span", inner, id=place, lang=lang)
            else:
                yield from inner
            return
        if kind == "a":
            yield from self._link(element, inner, place)
            return
        revised = (attributes.get("revised") or "").strip().lower()
        mark = _mark(element)
        if kind == "span" and not (mark or place or lang or revised):
            if any(isinstance(one, Piece) and one.is_block for one in inner):
                yield pieces.made("div", inner)
            else:
                yield from inner
            return
        if kind == "span" and revised in {"delete", "insert"}:
            kind = "del" if revised == "delete" else "ins"
        elif kind == "span" and mark:
            kind, mark = mark, ""
        yield pieces.made(kind, inner, mark=mark, id=place, lang=lang)

    def _link(self, element: Markup, inner: list[Node], place: str) -> Iterator[Node]:
        target = (element.attrib.get("href") or "").strip()
        inside = pieces.place(target[1:]) if target.startswith("#") else pieces.place(element.attrib.get("IDREF") or "")
        if inside:
            words = inner if pieces.text_of(inner).strip() else ["→"]
            yield pieces.made("a", words, to=inside, id=place)
            return
        if place:
            yield pieces.made("span", inner, id=place)
        else:
            yield from inner
        # Where it would have led is said, not gone to.
        if _ELSEWHERE.match(target) and target not in pieces.text_of(inner):
            yield " "
            yield pieces.made("span", [f"({target})"], mark="address")

    def _footnote(self, element: Markup, depth: int) -> Node:
        number, self._next = self._next, self._next + 1
        anchor = f"note-{number}"
        self.notes.append(Note(number, anchor, tuple(self._mixed(element, depth))))
        return pieces.made("sup", [pieces.made("a", [f"[{number}]"], to=anchor, id=f"to-{anchor}")])

    def _to_note(self, element: Markup, depth: int) -> Iterator[Node]:
        number = self.places.notes.get((element.attrib.get("IDREF") or "").strip())
        yield from self._mixed(element, depth)
        if number is not None:
            yield pieces.made("sup", [pieces.made("a", [f"[{number}]"], to=f"note-{number}")])

    def _media(self, element: Markup, depth: int) -> Iterator[Node]:
        caption = [one for child in element if _name(child) == "caption" for one in self._mixed(child, depth)]
        other = [one for child in element if _name(child) != "caption" for one in self._one(child, depth + 1)]
        named = (element.attrib.get("referencedObject") or "").split() or [""]
        for n, one in enumerate(named):
            yield pieces.made("media", caption if n == 0 else (), number=self.places.media.get(one, -1))
        yield from other

    def _picture(self, element: Markup) -> Iterator[Node]:
        """A picture in XHTML: one of the same resource by its place, else only what stands for it in words."""
        source = (element.attrib.get("src") or "").strip()
        words = (element.attrib.get("alt") or "").strip()
        yield pieces.made("media", [words] if words else (), number=self.places.media.get(source, -1))

    # --- lists ----------------------------------------------------------------------------------------------------

    def _list(self, element: Markup, name: str, depth: int) -> Iterator[Node]:
        ordered = name == "ol" or (element.attrib.get("listType") or "").strip().lower() == "ordered"
        style = mark = ""
        for word in (element.attrib.get("styleCode") or element.attrib.get("type") or "").split():
            plain = word.lower()
            style = style or (word if word in ("A", "I") else _NUMBERING.get(plain, ""))
            mark = mark or (plain if plain in _BULLETS else "")
        items: list[Piece] = []
        for part in self._children(element, depth):
            if isinstance(part, str):
                if part.strip():
                    items.append(pieces.item([part]))
            elif _name(part) in _ITEMS:
                items.append(self._item(part, depth + 1))
            elif _name(part) == "caption":
                yield pieces.made("p", self._mixed(part, depth + 1), mark="caption", id=self.places.name(part))
            else:
                items.append(pieces.item(self._one(part, depth + 1)))
        if items:
            yield pieces.listed(items, ordered=ordered, style=style if ordered else "", mark="" if ordered else mark)

    def _item(self, element: Markup, depth: int) -> Piece:
        inner: list[Node] = []
        for part in self._children(element, depth):
            if isinstance(part, str):
                inner.append(part)
            elif _name(part) == "caption":
                inner += [pieces.made("b", self._mixed(part, depth + 1)), " "]
            else:
                inner += self._one(part, depth + 1)
        return pieces.item(inner, id=self.places.name(element), lang=_language(element))

    # --- tables ---------------------------------------------------------------------------------------------------

    def _table(self, element: Markup, depth: int) -> Iterator[Node]:
        captions: list[tuple[Node, ...]] = []
        groups: list[tuple[str, list[tuple[Piece, ...]]]] = []

        def rows_of(kind: str) -> list[tuple[Piece, ...]]:
            if not groups or groups[-1][0] != kind:
                groups.append((kind, []))
            return groups[-1][1]

        for part in self._children(element, depth):
            if isinstance(part, str):
                if part.strip():
                    rows_of("tbody").append((pieces.cell([part], heading=False),))
                continue
            name = _name(part)
            if name == "caption":
                captions.append(tuple(self._mixed(part, depth + 1)))
            elif name in _GROUPS:
                rows_of(name).extend(self._rows(part, depth + 1))
            elif name == "tr":
                rows_of("tbody").append(self._cells(part, depth + 1))
            elif name in {"td", "th"}:
                rows_of("tbody").append((self._cell(part, depth + 1),))
            elif name not in {"col", "colgroup"} or "".join(_texts(part)).strip():
                rows_of("tbody").append((pieces.cell(self._one(part, depth + 1), heading=False),))
        for more in captions[1:]:
            yield pieces.made("p", more, mark="caption")
        built = [Rows(kind, tuple(row for row in rows if row)) for kind, rows in groups]
        # A head that comes after the body heads nothing, and a browser would show it where it stands.
        built = [Rows("tbody", one.rows) if one.name == "thead" and n else one for n, one in enumerate(built)]
        if any(one.rows for one in built):
            caption = captions[0] if captions else ()
            yield pieces.tabled(built, caption=caption, id=self.places.name(element), lang=_language(element))
        elif captions:
            yield pieces.made("p", captions[0], mark="caption")

    def _rows(self, element: Markup, depth: int) -> Iterator[tuple[Piece, ...]]:
        for part in self._children(element, depth):
            if isinstance(part, str):
                if part.strip():
                    yield (pieces.cell([part], heading=False),)
            elif _name(part) == "tr":
                yield self._cells(part, depth + 1)
            elif _name(part) in {"td", "th"}:
                yield (self._cell(part, depth + 1),)
            else:
                yield (pieces.cell(self._one(part, depth + 1), heading=False),)

    def _cells(self, element: Markup, depth: int) -> tuple[Piece, ...]:
        found: list[Piece] = []
        place = self.places.name(element)
        for part in self._children(element, depth):
            if isinstance(part, str):
                if part.strip():
                    found.append(pieces.cell([part], heading=False))
            elif _name(part) in {"td", "th"}:
                found.append(self._cell(part, depth + 1))
            else:
                found.append(pieces.cell(self._one(part, depth + 1), heading=False))
        if place and found:
            first = found[0]
            named = [pieces.made("span", (), id=place), *first.children]
            found[0] = pieces.cell(
                named, heading=first.name == "th", columns=first.columns, rows=first.rows, id=first.id, lang=first.lang
            )
        return tuple(found)

    def _cell(self, element: Markup, depth: int) -> Piece:
        mark = _mark(element)
        return pieces.cell(
            self._mixed(element, depth),
            heading=_name(element) == "th",
            columns=_span(element.attrib.get("colspan")),
            rows=_span(element.attrib.get("rowspan")),
            id=self.places.name(element),
            lang=_language(element),
            mark=mark,
        )

    def _children(self, element: Markup, depth: int) -> Iterator[Any]:
        """Text and elements in order."""
        if element.text:
            yield element.text
        for child in element:
            if isinstance(child.tag, str):
                yield child
            if child.tail:
                yield child.tail


def _name(element: Markup) -> str:
    return element.tag.rpartition("}")[2].lower() if isinstance(element.tag, str) else ""


def _all(element: Markup) -> Iterator[Any]:
    iterate: Any = element
    return (one for one in iterate.iter() if isinstance(one.tag, str))


def _texts(element: Markup) -> Iterable[str]:
    """The text within, comments and instructions left out."""
    if element.text and isinstance(element.tag, str):
        yield element.text
    yield from _within(element)


def _within(element: Markup) -> Iterator[str]:
    waiting: list[Any] = [(child, False) for child in reversed(list(element))]
    while waiting:
        one, done = waiting.pop()
        if done:
            if one.tail:
                yield one.tail
            continue
        waiting.append((one, True))
        if isinstance(one.tag, str):
            if one.text:
                yield one.text
            waiting += [(child, False) for child in reversed(list(one))]


def _mark(element: Markup) -> str:
    for word in (element.attrib.get("styleCode") or "").split():
        if word.lower() in _STYLES:
            return _STYLES[word.lower()]
    return ""


def _language(element: Markup) -> str:
    attributes = element.attrib
    return pieces.language(
        attributes.get("language")
        or attributes.get("lang")
        or attributes.get("{http://www.w3.org/XML/1998/namespace}lang")
        or ""
    )


def _span(text: str | None) -> int:
    return max(1, int(text.strip())) if text and _SPAN.match(text.strip()) else 1


# --- HTML -------------------------------------------------------------------------------------------------------------

_VOID = frozenset(
    {"br", "hr", "img", "col", "input", "meta", "link", "base", "wbr", "embed", "source", "area", "param"}
)
_UNSEEN = frozenset({"script", "style", "head", "template", "noscript", "iframe", "object", "svg", "math", "select"})
_ENDS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    # An element that opens ends these, as far up as one of those.
    "li": (frozenset({"li", "p"}), frozenset({"ul", "ol", "menu"})),
    "dt": (frozenset({"dt", "dd", "p"}), frozenset({"dl"})),
    "dd": (frozenset({"dt", "dd", "p"}), frozenset({"dl"})),
    "tr": (frozenset({"tr", "td", "th", "p"}), frozenset({"table"})),
    "td": (frozenset({"td", "th", "p"}), frozenset({"tr", "table"})),
    "th": (frozenset({"td", "th", "p"}), frozenset({"tr", "table"})),
    "thead": (frozenset({"tr", "td", "th", "thead", "tbody", "p"}), frozenset({"table"})),
    "tbody": (frozenset({"tr", "td", "th", "thead", "tbody", "p"}), frozenset({"table"})),
    "tfoot": (frozenset({"tr", "td", "th", "thead", "tbody", "p"}), frozenset({"table"})),
    **{
        name: (frozenset({"p"}), frozenset({"td", "th", "li", "div", "table"}))
        for name in (
            "p",
            "div",
            "ul",
            "ol",
            "table",
            "pre",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "blockquote",
            "dl",
            "hr",
        )
    },
}


class _Html(HTMLParser):
    """HTML of any kind as a tree; what is not meant to be read (scripts, styles, the head) is not in it."""

    def __init__(self, max_elements: int) -> None:
        super().__init__(convert_charrefs=True)
        self.root = ElementTree.Element("div")
        self.open = [self.root]
        self.unseen = 0
        self.left = max_elements
        self.cut = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element opens."""
        if tag in _UNSEEN:
            self.unseen += 1
        elif tag == "body":
            self.unseen = 0  # a head need not be closed
        if self.unseen:
            return
        self.left -= 1
        if self.left < 0:
            self.cut = True
            return
        ends, within = _ENDS.get(tag, (frozenset(), frozenset()))
        for n in range(len(self.open) - 1, 0, -1):
            if self.open[n].tag in within:
                break
            if self.open[n].tag in ends:
                del self.open[n:]
        if len(self.open) > 4 * MAX_DEPTH:
            return
        kept = {name: value or "" for name, value in attrs if name in _READ}
        one = ElementTree.SubElement(self.open[-1], tag, kept)
        if tag not in _VOID:
            self.open.append(one)

    def handle_endtag(self, tag: str) -> None:
        """An element ends; one that was not open ends nothing."""
        if tag in _UNSEEN:
            self.unseen = max(0, self.unseen - 1)
        elif not self.unseen:
            for n in range(len(self.open) - 1, 0, -1):
                if self.open[n].tag == tag:
                    del self.open[n:]
                    break

    def handle_data(self, data: str) -> None:
        """Text."""
        if self.unseen or self.cut:
            return
        parent = self.open[-1]
        if len(parent):
            parent[-1].tail = (parent[-1].tail or "") + data
        else:
            parent.text = (parent.text or "") + data


_READ = frozenset({"href", "name", "id", "colspan", "rowspan", "lang", "alt", "src", "type"})


def html(text: str, *, max_elements: int = 50_000) -> tuple[ElementTree.Element, bool]:
    """An HTML or XHTML text as a tree for `Narrative`, and whether it was cut at so many elements."""
    parser = _Html(max_elements)
    parser.feed(text.replace("\x00", ""))
    parser.close()
    return parser.root, parser.cut
