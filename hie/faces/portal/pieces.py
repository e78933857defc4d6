"""The text of a document written out as HTML: every character escaped, every tag and attribute one of ours.

What pieces there are, and that they nest as a browser keeps them, is `hie.standards.pieces`; here they get their tags. An
address is a place in the same document or a picture that this hub serves. Simple tables become cards where it is narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language, get_language_bidi, gettext

from hie.exchange.document_view import PICTURES
from hie.faces.portal import dates
from hie.standards import pieces
from hie.standards.pieces import Node, Piece
from hie.standards.readable import Media

_PLAIN = frozenset({"p", "div", "b", "i", "u", "sub", "sup", "code", "li", "span", "thead", "tbody", "tfoot", "tr"})
_FEW = 4
"""Columns that fit beside each other in any width that is shown as a table."""


@dataclass(slots=True)
class Writing:
    """What is known around a text: the part it stands in, where each place is, how media are reached (None: not from here).

    `isolate`: cells keep a direction of their own, as "140 mmol/l" needs it in a text from right to left.
    """

    part: int
    where: Mapping[str, int]
    media: Sequence[Media]
    address: Callable[[int], str] | None
    isolate: bool = False
    tables: int = 0

    def written(self, nodes: Iterable[Node]) -> SafeString:
        """The nodes as HTML."""
        out: list[str] = []
        self._nodes(nodes, out, 0)
        return mark_safe("".join(out))  # noqa: S308  every text in it was escaped, every tag is written below

    def link(self, place: str) -> str:
        """The address of a place in the document, "" where there is none such."""
        part = self.where.get(place)
        if part is None:
            return ""
        return f"#{place}" if part == self.part else f"?part={part + 1}#{place}"

    def _nodes(self, nodes: Iterable[Node], out: list[str], in_table: int) -> None:
        for one in nodes:
            if isinstance(one, str):
                out.append(escape(one))
            else:
                self._piece(one, out, in_table)

    def _piece(self, one: Piece, out: list[str], in_table: int) -> None:
        if one.name == "br":
            out.append("<br>")
        elif one.name == "media":
            self._medium(one, out, in_table)
        elif one.name == "table":
            self._table(one, out, in_table)
        elif one.name == "a":
            target = self.link(one.to)
            name, more = ("a", f' href="{escape(target)}"') if target else ("span", "")
            self._tag(name, one, out, in_table, more)
        elif one.name in {"ol", "ul"}:
            more = f' type="{one.style}"' if one.style else ""
            more += f' start="{one.start}"' if one.name == "ol" and one.start > 1 else ""
            self._tag(one.name, one, out, in_table, more)
        elif one.name in {"ins", "del"}:
            said = gettext("Put in later:") if one.name == "ins" else gettext("Taken out later:")
            out.append(f'<span class="visually-hidden">{escape(said)} </span>')
            self._tag(one.name, one, out, in_table)
        elif one.name == "pre":
            self._tag("div", one, out, in_table, ' class="plain"')
        elif one.name in _PLAIN:
            self._tag(one.name, one, out, in_table)
        else:  # nothing else is made; its text is shown all the same
            self._nodes(one.children, out, in_table)

    def _tag(
        self, name: str, one: Piece, out: list[str], in_table: int, more: str = "", *, isolated: bool = False
    ) -> None:
        shown = more
        if one.mark and "class=" not in more:
            shown += f' class="m-{one.mark}"'
        if one.mark == "address":
            shown += ' dir="ltr"'
        if one.id:
            shown += f' id="{escape(one.id)}"'
        if one.lang:
            shown += f' lang="{one.lang}" dir="{pieces.direction(one.lang)}"'
        out.append(f"<{name}{shown}><bdi>" if isolated else f"<{name}{shown}>")
        self._nodes(one.children, out, in_table)
        out.append(f"</bdi></{name}>" if isolated else f"</{name}>")

    # --- tables ---------------------------------------------------------------------------------------------------

    def _table(self, table: Piece, out: list[str], in_table: int) -> None:
        if in_table:
            self._rows(table, out, in_table, ())
            return
        inner = any(one.name == "table" for one in pieces.walk(table.children))
        labels = () if inner else pieces.labels(table)
        columns = max((len(one.children) for one in pieces.walk(table.children) if one.name == "tr"), default=0)
        self.tables += 1
        few = columns <= _FEW and bool(labels)
        out.append('<div class="fits">')
        if not few:
            name = gettext("Table {n}").format(n=dates.digits(self.tables))
            out.append(f'<div class="scroll" role="group" tabindex="0" aria-label="{escape(name)}">')
        self._rows(table, out, in_table, labels)
        out.append("</div>" if few else "</div></div>")

    def _rows(self, table: Piece, out: list[str], in_table: int, labels: Sequence[str]) -> None:
        kind = "table table--cards" if labels else "table"
        # Where a table becomes cards its meaning goes with its display, unless it is said again.
        role = ' role="table"' if labels else ""
        name = f' id="{escape(table.id)}"' if table.id else ""
        lang = f' lang="{table.lang}" dir="{pieces.direction(table.lang)}"' if table.lang else ""
        out.append(f'<table class="{kind}"{role}{name}{lang}>')
        for part in table.children:
            if not isinstance(part, Piece):
                continue
            if part.name == "caption":
                self._tag("caption", part, out, in_table + 1)
                continue
            out.append(f"<{part.name}{' role=' + chr(34) + 'rowgroup' + chr(34) if labels else ''}>")
            for row in part.children:
                if isinstance(row, Piece):
                    self._row(row, out, in_table, labels if part.name != "thead" else (), bool(labels))
            out.append(f"</{part.name}>")
        out.append("</table>")

    def _row(self, row: Piece, out: list[str], in_table: int, labels: Sequence[str], roles: bool) -> None:
        out.append('<tr role="row">' if roles else "<tr>")
        for n, one in enumerate(row.children):
            if not isinstance(one, Piece):
                continue
            more = f' colspan="{one.columns}"' if one.columns > 1 else ""
            more += f' rowspan="{one.rows}"' if one.rows > 1 else ""
            more += f' scope="{one.scope}"' if one.scope else ""
            if roles:
                heading = {"col": "columnheader", "row": "rowheader"}.get(one.scope, "cell")
                more += f' role="{heading}"'
                if one.name == "td" and n < len(labels) and labels[n] and not pieces.is_empty(one.children):
                    more += f' data-label="{escape(labels[n])}"'
            of_lines = not any(inner.is_block for inner in pieces.walk(one.children))
            self._tag(one.name, one, out, in_table + 1, more, isolated=self.isolate and of_lines)
        out.append("</tr>")

    # --- pictures -------------------------------------------------------------------------------------------------

    def _medium(self, one: Piece, out: list[str], in_table: int) -> None:
        """A picture with its words, a file to be opened, or that there was one."""
        words = " ".join(pieces.text_of(one.children).split())
        out.append("<figure>")
        out.append(self.medium(one.number, words))
        if words:
            out.append("<figcaption>")
            self._nodes(one.children, out, in_table)
            out.append("</figcaption>")
        out.append("</figure>")

    def medium(self, number: int, words: str = "") -> SafeString:
        """A medium by its number: shown, or a link to it, or a sentence that it is not here."""
        if not 0 <= number < len(self.media):
            return _said(gettext("There is a picture here that did not come with the document."))
        one = self.media[number]
        kind = one.kind()
        if self.address is None:
            return _said(gettext("There is a picture or file here. You find it in the document itself."))
        address = escape(self.address(number))
        if not kind:
            if one.elsewhere:
                return _said(gettext("This part is kept in another place. We cannot show it here."))
            return _said(gettext("This part did not come with the document, or it is damaged."))
        if kind in PICTURES:
            alt = words or gettext("Picture {n} of this document").format(n=dates.digits(number + 1))
            return mark_safe(f'<img class="picture" src="{address}" alt="{escape(alt)}">')  # noqa: S308  both escaped
        label = gettext("Open the PDF") if kind == "application/pdf" else gettext("Save the file")
        return mark_safe(  # noqa: S308  all of it escaped
            f'<p><a class="btn btn--quiet" href="{address}">{escape(label)}</a> <span class="soft small" dir="ltr">'
            f"{escape(kind)}</span></p>"
        )


def _said(text: str) -> SafeString:
    """A sentence of ours within a text that may be of another language and direction."""
    direction = "rtl" if get_language_bidi() else "ltr"
    language = (get_language() or "en").split("-")[0]
    return format_html('<p class="soft" lang="{}" dir="{}">{}</p>', language, direction, text)
