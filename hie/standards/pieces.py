"""What a document's text may be shown by: a few kinds of pieces, nested as a browser keeps them.

Whatever came in (the narrative of a CDA, XHTML of FHIR, an HTML letter) becomes a tree of `Piece`. A piece has no attribute
but those named here, no address but a place in the same document, and no style but a mark of `MARKS`: who writes pieces
out escapes their text and nothing else has to be trusted. Pieces come from `made`, `listed` and `tabled` only, which keep
to what HTML allows inside what, so that no browser moves text to another place.

Source: HTML, content models; HL7 CDA R2 4.3.5 (narrative block).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

INLINE = frozenset({"span", "b", "i", "u", "ins", "del", "sub", "sup", "a", "br", "code"})
BLOCK = frozenset({"p", "div", "ul", "ol", "pre", "table", "media"})
PARTS = frozenset({"li", "caption", "thead", "tbody", "tfoot", "tr", "th", "td"})
NAMES = INLINE | BLOCK | PARTS
MARKS = frozenset({"", "b", "i", "u", "caption", "note", "address", "disc", "circle", "square"})
ELEMENT_WEIGHT = 30
"""What an element adds to the weight of a piece, beside the characters of its text: its tags, about."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece: `name` of `NAMES`, what is in it, and what little may be said of it.

    `id` and `to` are names of places in the document (`place`); `lang` a language tag; `mark` of `MARKS`; `columns` and
    `rows` what a cell spans; `scope` ``col`` or ``row`` of a heading; `style` a list's numbering (``1 a A i I``); `start` the
    number it begins with; `number` of a ``media`` piece counts into the document's media, -1 where what is meant is not there.
    """

    name: str
    children: tuple[Node, ...] = ()
    mark: str = ""
    id: str = ""
    to: str = ""
    lang: str = ""
    columns: int = 1
    rows: int = 1
    scope: str = ""
    style: str = ""
    start: int = 1
    number: int = -1
    weight: int = ELEMENT_WEIGHT

    @property
    def is_block(self) -> bool:
        """Whether it stands by itself, not within a line."""
        return self.name in BLOCK


Node: TypeAlias = Piece | str


def made(
    name: str,
    children: Iterable[Node] = (),
    *,
    mark: str = "",
    id: str = "",
    to: str = "",
    lang: str = "",
    number: int = -1,
) -> Piece:
    """A piece of text, of a block or of media; a line that has blocks in it is a block."""
    inner = tuple(children)
    if (name in INLINE or name == "p") and any(isinstance(one, Piece) and one.is_block for one in inner):
        mark = mark or (name if name in MARKS else "")
        name, to = "div", ""
    if name == "a" and any(one.name == "a" for one in walk(inner)):
        name, to = "span", ""
    return Piece(name, inner, mark=mark, id=id, to=to, lang=lang, number=number, weight=_weight(inner))


def listed(items: Sequence[Piece], *, ordered: bool, style: str = "", start: int = 1, mark: str = "") -> Piece:
    """A list of ``li`` pieces, of which there is at least one."""
    return Piece(
        "ol" if ordered else "ul", tuple(items), style=style, start=start, mark=mark, weight=_weight(items)
    )  # fmt: skip


def item(children: Iterable[Node], *, id: str = "", lang: str = "") -> Piece:
    """One item of a list."""
    inner = tuple(children)
    return Piece("li", inner, id=id, lang=lang, weight=_weight(inner))


def cell(
    children: Iterable[Node],
    *,
    heading: bool,
    columns: int = 1,
    rows: int = 1,
    id: str = "",
    lang: str = "",
    mark: str = "",
) -> Piece:
    """One cell of a table."""
    inner = tuple(children)
    name = "th" if heading else "td"
    return Piece(
        name, inner, columns=columns, rows=rows, id=id, lang=lang, mark=mark, weight=_weight(inner)
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rows:
    """A part of a table: ``thead``, ``tbody`` or ``tfoot``, and its rows of cells."""

    name: str
    rows: tuple[tuple[Piece, ...], ...]


def tabled(groups: Sequence[Rows], *, caption: Sequence[Node] = (), id: str = "", lang: str = "") -> Piece:
    """A table whose headings head something: others are cells in bold, since a reader would look for what they head."""
    grid = _Grid(groups)
    children: list[Node] = []
    if text_of(caption).strip():
        children.append(Piece("caption", tuple(caption), weight=_weight(caption)))
    for place, group in enumerate(groups):
        rows = []
        for row_place, row in enumerate(group.rows):
            cells = tuple(grid.scoped(one, (place, row_place, n)) for n, one in enumerate(row))
            rows.append(Piece("tr", cells, weight=_weight(cells)))
        if rows:
            children.append(Piece(group.name, tuple(rows), weight=_weight(rows)))
    return Piece("table", tuple(children), id=id, lang=lang, weight=_weight(children))


class _Grid:
    """Where each cell of a table lies, and so what a heading is over or before."""

    def __init__(self, groups: Sequence[Rows]) -> None:
        self.at: dict[tuple[int, int, int], tuple[int, int, int]] = {}  # cell -> its row, its first and last column
        self.data_columns: dict[int, int] = {}  # column -> the last row that has data in it
        self.data_rows: dict[int, int] = {}  # row -> the last column that has data in it
        self.alone: set[int] = set()
        self.all_headings: set[int] = set()
        taken: dict[int, int] = {}  # column -> the row down to which an earlier cell reaches
        number = 0
        for place, group in enumerate(groups):
            for row_place, row in enumerate(group.rows):
                self._row(number, row, (place, row_place), taken, group.name == "thead")
                number += 1

    def _row(
        self, number: int, row: Sequence[Piece], where: tuple[int, int], taken: dict[int, int], in_head: bool
    ) -> None:
        column = 0
        if all(one.name == "th" for one in row):
            (self.all_headings if len(row) > 1 or in_head else self.alone).add(number)
        for n, one in enumerate(row):
            while taken.get(column, -1) >= number:
                column += 1
            last = column + one.columns - 1
            self.at[(*where, n)] = number, column, last
            if one.rows > 1:
                taken.update(dict.fromkeys(range(column, last + 1), number + one.rows - 1))
            if one.name == "td":
                self.data_columns.update(dict.fromkeys(range(column, last + 1), number))
                self.data_rows.update(dict.fromkeys(range(number, number + one.rows), last))
            column = last + 1

    def scoped(self, one: Piece, key: tuple[int, int, int]) -> Piece:
        if one.name != "th":
            return one
        row, first, last = self.at[key]
        if text_of(one.children).strip() and row not in self.alone:
            if row in self.all_headings and any(self.data_columns.get(c, -1) > row for c in range(first, last + 1)):
                return replace(one, scope="col")
            if row not in self.all_headings and self.data_rows.get(row, -1) > last:
                return replace(one, scope="row")
        return replace(one, name="td", mark="b")


def labels(table: Piece) -> tuple[str, ...]:
    """The headings of a table's columns, where each row has just a cell under each; () for a table of another build."""
    head = [row for part in table.children if isinstance(part, Piece) and part.name == "thead" for row in part.children]
    body = [
        row
        for part in table.children
        if isinstance(part, Piece) and part.name in {"tbody", "tfoot"}
        for row in part.children
    ]
    if len(head) != 1 or not body:
        return ()
    rows = [[one for one in row.children if isinstance(one, Piece)] for row in (*head, *body) if isinstance(row, Piece)]
    if any(len(row) != len(rows[0]) or any(one.columns > 1 or one.rows > 1 for one in row) for row in rows):
        return ()
    found = tuple(" ".join(text_of(one.children).split()) for one in rows[0])
    return found if any(found) else ()


def walk(nodes: Iterable[Node]) -> Iterator[Piece]:
    """Every piece, in order."""
    for one in nodes:
        if isinstance(one, Piece):
            yield one
            yield from walk(one.children)


def text_of(nodes: Iterable[Node]) -> str:
    """The text, with a blank where a piece stands by itself or a line ends."""
    found: list[str] = []
    _text(nodes, found)
    return "".join(found)


def _text(nodes: Iterable[Node], found: list[str]) -> None:
    for one in nodes:
        if isinstance(one, str):
            found.append(one)
            continue
        apart = one.name not in INLINE or one.name == "br"
        if apart:
            found.append(" ")
        _text(one.children, found)
        if apart:
            found.append(" ")


def is_empty(nodes: Iterable[Node]) -> bool:
    """Whether there is neither text nor media."""
    held = list(nodes)
    return not text_of(held).strip() and all(one.name != "media" for one in walk(held))


def _weight(nodes: Iterable[Node]) -> int:
    return ELEMENT_WEIGHT + sum(len(one) if isinstance(one, str) else one.weight for one in nodes)


def weight(nodes: Iterable[Node]) -> int:
    """What the nodes weigh: about the characters they take on a page."""
    return _weight(nodes) - ELEMENT_WEIGHT


# --- parts ------------------------------------------------------------------------------------------------------------


def split(nodes: Sequence[Node], limit: int) -> list[tuple[Node, ...]]:
    """The nodes in runs of at most about `limit`: tables by their rows, each run with their headings, lists by their items,
    long text between words. Nothing is left out, nothing changes its order."""
    runs: list[tuple[Node, ...]] = []
    run: list[Node] = []
    held = 0
    for one in nodes:
        for part in _halved(one, limit):
            size = len(part) if isinstance(part, str) else part.weight
            if run and held + size > limit:
                runs.append(tuple(run))
                run, held = [], 0
            run.append(part)
            held += size
    if run:
        runs.append(tuple(run))
    return runs


def _halved(one: Node, limit: int) -> Iterator[Node]:
    if isinstance(one, str):
        yield from _words(one, limit)
    elif one.weight <= limit:
        yield one
    elif one.name == "table":
        yield from _by_rows(one, limit)
    else:
        runs = split(one.children, limit)
        start = one.start
        for n, run in enumerate(runs):
            # A name stands once; a list goes on counting.
            yield replace(one, children=run, weight=_weight(run), id="" if n else one.id, start=start)
            start += len(run)


def _words(text: str, limit: int) -> Iterator[str]:
    while len(text) > limit:
        at = max(text.rfind(" ", 1, limit), text.rfind("\n", 1, limit))
        at = limit if at <= 0 else at + 1
        yield text[:at]
        text = text[at:]
    yield text


def _by_rows(table: Piece, limit: int) -> Iterator[Piece]:
    """A table in several; one whose cells reach over rows, or whose headings are its bulk, stays whole."""
    parts = [one for one in table.children if isinstance(one, Piece)]
    head = [one for one in parts if one.name in {"caption", "thead"}]
    rows = [row for part in parts if part.name in {"tbody", "tfoot"} for row in part.children if isinstance(row, Piece)]
    fixed = sum(one.weight for one in head)
    spans = any(one.rows > 1 for row in rows for one in row.children if isinstance(one, Piece))
    if spans or len(rows) < 2 or fixed > limit // 2:
        yield table
        return
    held: list[Piece] = []
    size = fixed
    first = True
    for row in [*rows, None]:
        if held and (row is None or size + row.weight > limit):
            body = Piece("tbody", tuple(held), weight=_weight(held))
            children = (*(head if first else map(_without_ids, head)), body)
            yield replace(table, children=children, weight=_weight(children), id=table.id if first else "")
            held, size, first = [], fixed, False
        if row is not None:
            held.append(row)
            size += row.weight


def _without_ids(one: Piece) -> Piece:
    inner = tuple(_without_ids(child) if isinstance(child, Piece) else child for child in one.children)
    return replace(one, id="", children=inner)


# --- names ------------------------------------------------------------------------------------------------------------

_PLACE = re.compile(r"[A-Za-z0-9_.:-]{1,128}\Z", re.ASCII)


def place(name: str) -> str:
    """The name of a place in a document as it stands in a page, "" for one that cannot."""
    name = name.strip()
    return f"n-{name}" if _PLACE.match(name) else ""


_ISO_639_1 = frozenset(
    [
        "aa",
        "ab",
        "ae",
        "af",
        "ak",
        "am",
        "an",
        "ar",
        "as",
        "av",
        "ay",
        "az",
        "ba",
        "be",
        "bg",
        "bh",
        "bi",
        "bm",
        "bn",
        "bo",
        "br",
        "bs",
        "ca",
        "ce",
        "ch",
        "co",
        "cr",
        "cs",
        "cu",
        "cv",
        "cy",
        "da",
        "de",
        "dv",
        "dz",
        "ee",
        "el",
        "en",
        "eo",
        "es",
        "et",
        "eu",
        "fa",
        "ff",
        "fi",
        "fj",
        "fo",
        "fr",
        "fy",
        "ga",
        "gd",
        "gl",
        "gn",
        "gu",
        "gv",
        "ha",
        "he",
        "hi",
        "ho",
        "hr",
        "ht",
        "hu",
        "hy",
        "hz",
        "ia",
        "id",
        "ie",
        "ig",
        "ii",
        "ik",
        "io",
        "is",
        "it",
        "iu",
        "ja",
        "jv",
        "ka",
        "kg",
        "ki",
        "kj",
        "kk",
        "kl",
        "km",
        "kn",
        "ko",
        "kr",
        "ks",
        "ku",
        "kv",
        "kw",
        "ky",
        "la",
        "lb",
        "lg",
        "li",
        "ln",
        "lo",
        "lt",
        "lu",
        "lv",
        "mg",
        "mh",
        "mi",
        "mk",
        "ml",
        "mn",
        "mr",
        "ms",
        "mt",
        "my",
        "na",
        "nb",
        "nd",
        "ne",
        "ng",
        "nl",
        "nn",
        "no",
        "nr",
        "nv",
        "ny",
        "oc",
        "oj",
        "om",
        "or",
        "os",
        "pa",
        "pi",
        "pl",
        "ps",
        "pt",
        "qu",
        "rm",
        "rn",
        "ro",
        "ru",
        "rw",
        "sa",
        "sc",
        "sd",
        "se",
        "sg",
        "si",
        "sk",
        "sl",
        "sm",
        "sn",
        "so",
        "sq",
        "sr",
        "ss",
        "st",
        "su",
        "sv",
        "sw",
        "ta",
        "te",
        "tg",
        "th",
        "ti",
        "tk",
        "tl",
        "tn",
        "to",
        "tr",
        "ts",
        "tt",
        "tw",
        "ty",
        "ug",
        "uk",
        "ur",
        "uz",
        "ve",
        "vi",
        "vo",
        "wa",
        "wo",
        "xh",
        "yi",
        "yo",
        "za",
        "zh",
        "zu",
    ]
)
_ISO_639_2 = dict(
    pair.split(":")
    for pair in [
        "eng:en",
        "spa:es",
        "fra:fr",
        "fre:fr",
        "deu:de",
        "ger:de",
        "ara:ar",
        "zho:zh",
        "chi:zh",
        "por:pt",
        "ita:it",
        "rus:ru",
        "jpn:ja",
        "kor:ko",
        "hin:hi",
        "urd:ur",
        "fas:fa",
        "per:fa",
        "heb:he",
        "vie:vi",
        "pol:pl",
        "tgl:tl",
        "tur:tr",
        "nld:nl",
        "dut:nl",
        "swe:sv",
        "dan:da",
        "nor:no",
        "fin:fi",
        "ell:el",
        "gre:el",
        "ukr:uk",
        "ben:bn",
        "pan:pa",
    ]
)
_RIGHT_TO_LEFT = frozenset({"ar", "dv", "fa", "he", "ks", "ps", "sd", "ug", "ur", "yi"})


def language(text: str) -> str:
    """A language tag that a browser knows (``en``, ``en-US``), "" for what is none."""
    parts = text.strip().replace("_", "-").split("-")
    first = parts[0].lower()
    first = _ISO_639_2.get(first, first)
    if first not in _ISO_639_1:
        return ""
    region = parts[1].upper() if len(parts) > 1 and re.fullmatch(r"[A-Za-z]{2}", parts[1]) else ""
    return f"{first}-{region}" if region else first


def direction(tag: str) -> str:
    """``rtl`` or ``ltr`` for a language tag of `language`; ``auto`` for none."""
    if not tag:
        return "auto"
    return "rtl" if tag.partition("-")[0] in _RIGHT_TO_LEFT else "ltr"
