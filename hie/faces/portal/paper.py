"""Papers that a patient can keep: PDF in the reader's language, from right to left where it runs so. Nothing here decides what is shown.

Text stays text: it can be searched, copied and read aloud; headings are bookmarks, and the language is stated. Fonts are
Noto Sans and Noto Sans Arabic; letters of other scripts are written in Latin ones, and the paper says so at its end.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from django.utils import timezone
from django.utils.translation import get_language, get_language_bidi, gettext
from fpdf import FPDF
from fpdf.enums import Align, XPos, YPos
from fpdf.fonts import TTFFont
from unidecode import unidecode

from hie.faces.portal import dates

# It tells at length, for each paper, which tables of a font it left out.
logging.getLogger("fontTools").setLevel(logging.WARNING)
FONTS = Path(__file__).parent / "fonts"
_LATIN, _ARABIC = "NotoSans", "NotoSansArabic"
_RUNS_RIGHT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]")
_LINE = 1.45  # height of a line, in sizes of its letters
_MM = 25.4 / 72
_MEASURED = 20_000


class Paper(FPDF):
    """A4, in the language that is active; call `heading`, `entry`, `paragraph`, then `whole`."""

    def __init__(self, title: str, *, of: str, foot: str) -> None:
        super().__init__(format="A4")
        self.rtl = get_language_bidi()
        self.rewritten = False
        self._widths: dict[tuple[str, tuple[bool, bool]], float] = {}
        self._foot = foot
        for style, name in (("", "Regular"), ("B", "Bold")):
            self.add_font(_LATIN, style, FONTS / f"{_LATIN}-{name}.ttf")
            self.add_font(_ARABIC, style, FONTS / f"{_ARABIC}-{name}.ttf")
        self._letters: frozenset[int] = frozenset(
            letter for font in self.fonts.values() if isinstance(font, TTFFont) for letter in font.cmap
        )
        self.set_fallback_fonts([_ARABIC, _LATIN], exact_match=True)
        self.set_margins(20, 18, 20)
        self.set_auto_page_break(True, margin=20)
        self.set_lang(get_language() or "en")
        self.set_title(self.known(title))
        self.set_creation_date(timezone.now())
        self.set_display_mode("real")
        self.add_page()
        self._say(title, 18, bold=True)
        self._say(of, 11)
        self.ln(3)

    def known(self, text: str) -> str:
        """The text in letters that the fonts have."""
        letters = self._letters
        if all(ord(c) in letters or c in "\n\u2068\u2069" for c in text):
            return text.replace("\u2068", "").replace("\u2069", "") if not self.rtl else text
        self.rewritten = True
        return "".join(c if ord(c) in letters or c in "\n\u2068\u2069" else unidecode(c) or "?" for c in text)

    def footer(self) -> None:
        """Whose paper it is, and which page."""
        self.set_y(-14)
        self._say(f"{self._foot} · {dates.digits(self.page_no())}", 8)

    def heading(self, text: str, *, level: int = 0) -> None:
        """A heading, kept with what follows, and a bookmark."""
        if self.will_page_break(24):
            self.add_page()
        self.ln(3)
        self.start_section(self.known(text), level=level)
        self._say(text, 13 if level == 0 else 11, bold=True)
        self.ln(1)

    def entry(self, mark: str, sentence: str, more: str) -> None:
        """A line of the log: when and of what state, the sentence, what decided."""
        if self.will_page_break(20):
            self.add_page()
        self._say(mark, 9)
        self._say(sentence, 11, bold=True)
        if more:
            self._say(more, 10)
        self.ln(2)

    def paragraph(self, text: str) -> None:
        """A paragraph."""
        self._say(text, 11)
        self.ln(1)

    def whole(self) -> bytes:
        """The file."""
        if self.rewritten:
            self.ln(2)
            self._say(gettext("Letters that this paper does not have are written in Latin ones."), 9)
        return bytes(self.output())

    def _say(self, text: str, size: int, *, bold: bool = False) -> None:
        shown = self.known(text)
        # Latin letters stand as they are; shaping them takes five times as long.
        shaped = bool(_RUNS_RIGHT.search(shown))
        # What is mostly Arabic has its blanks from that font: else each word is shaped, and written, by itself.
        self.set_font(_ARABIC if shaped and self.rtl else _LATIN, "B" if bold else "", size)
        self.set_text_shaping(shaped)
        align = Align.R if self.rtl else Align.L
        for paragraph in shown.split("\n"):
            for line in self._lines(paragraph, size, (bold, shaped)):
                self.cell(0, size * _LINE * _MM, line, align=align, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _lines(self, text: str, size: int, style: tuple[bool, bool]) -> Iterator[str]:
        """A paragraph in lines that fit: as `multi_cell` breaks it, which measures each line anew at each letter."""
        room, blank = self.epw - 2 * self.c_margin, self._width(" ", size, style)
        line, used = "", 0.0
        for word in text.split(" "):
            wide = self._width(word, size, style)
            if line and used + blank + wide > room:
                yield line
                line, used = "", 0.0
            while wide > room:
                # A word longer than a line ends where the line does.
                fits = max(1, int(len(word) * room / wide))
                while fits > 1 and self._width(word[:fits], size, style) > room:
                    fits -= 1
                yield word[:fits]
                word = word[fits:]
                wide = self._width(word, size, style)
            line, used = (f"{line} {word}", used + blank + wide) if line else (word, wide)
        yield line

    def _width(self, word: str, size: int, style: tuple[bool, bool]) -> float:
        """How wide a word stands in a size; measured once for all sizes."""
        held = self._widths.get((word, style))
        if held is None:
            if len(self._widths) >= _MEASURED:
                self._widths.clear()
            held = self._widths[word, style] = self.get_string_width(word) / size
        return held * size
