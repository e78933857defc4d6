"""Plots as values: bars, stacks and lines in a box that stretches, with their numbers as words beside. Pure.

A template draws shapes only, by attributes and classes; parts of a stack differ by pattern as well as by colour, lines by
their dashes. What may not be shown is no shape: a bar is left out, a line has a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

STYLES = ("c1", "hatch", "hatch4", "c4")
"""Of the parts of a stack, in order: two colours and two patterns. `PATTERNS` are drawn by a pattern of the sprite."""
PATTERNS = frozenset({"hatch", "hatch4"})


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a bar, in hundredths of its length; `pattern` the sprite's, or "" for the colour of class `style`."""

    style: str
    x: str
    width: str

    @property
    def pattern(self) -> str:
        """The pattern it is filled with."""
        return self.style if self.style in PATTERNS else ""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar and what stands beside it."""

    name: str
    words: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """An entry of the legend; `line` of lines, else of parts."""

    style: str
    words: str
    line: bool = False

    @property
    def pattern(self) -> str:
        """As `Part.pattern`."""
        return self.style if self.style in PATTERNS else ""


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines in a box of 100 by 50: (class, path) each; `top` is what the upper edge stands for, `first` and `last` the ends."""

    top: str
    lines: tuple[tuple[str, str], ...]
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: its header and its cells."""

    name: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One figure of a page: subject, finding, shapes, and the table of its numbers (`columns` name the header too).

    `note` says what is not shown. `told` marks bars that say every number of the table themselves. Without shapes the
    table is the figure.
    """

    key: str
    heading: str
    finding: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""
    bars: tuple[Bar, ...] = ()
    keys: tuple[Key, ...] = ()
    plot: Plot | None = None

    @property
    def told(self) -> bool:
        """Whether the bars say it all."""
        return bool(self.bars) and len(self.columns) == 2

    @property
    def wide(self) -> bool:
        """Whether the table is the figure."""
        return not self.bars and self.plot is None

    def table(self) -> list[list[str]]:
        """Head and rows, as a file holds them."""
        return [list(self.columns), *([row.name, *row.cells] for row in self.rows)]


def bars(rows: Sequence[tuple[str, int]]) -> tuple[Bar, ...]:
    """A bar each, the longest across."""
    top = max([1, *(number for _, number in rows)])
    return tuple(Bar(name, f"{number:,}", (Part("c1", "0", f"{100 * number / top:.2f}"),)) for name, number in rows)


def share_bar(name: str, part: int, whole: int) -> Bar:
    """A bar that is part of a whole."""
    width = 100 * part / max(1, whole)
    return Bar(name, f"{width:.0f} %", (Part("c1", "0", f"{width:.2f}"),))


def stacks(rows: Sequence[tuple[str, Sequence[int]]]) -> tuple[Bar, ...]:
    """A bar of shares each, all of one length; the words are the shares in percent."""
    found = []
    for name, numbers in rows:
        whole, at, parts = max(1, sum(numbers)), 0.0, []
        for style, number in zip(STYLES, numbers, strict=False):
            width = 100 * number / whole
            if width:
                parts.append(Part(style, f"{at:.2f}", f"{width:.2f}"))
            at += width
        words = " · ".join(f"{100 * number / whole:.0f}" for number in numbers)
        found.append(Bar(name, f"{words} %", tuple(parts)))
    return tuple(found)


def lines(steps: Sequence[date], *series: tuple[str, Sequence[int | None]], words: Sequence[str]) -> Plot | None:
    """Lines over days or months, (class, values) each; None is a gap. No plot where there is no value at all."""
    known = [value for _, values in series for value in values if value is not None]
    if not known or not steps:
        return None
    top = _round_up(max(known))
    drawn = tuple((style, path) for style, values in series if (path := _path(values, top)))
    return Plot(f"{top:,}", drawn, words[0], words[-1])


def _path(values: Sequence[int | None], top: int) -> str:
    step, path, before = 100 / max(1, len(values) - 1), "", False
    for n, value in enumerate(values):
        if value is None:
            before = False
            continue
        x, y = n * step, 49 - 48 * value / top
        alone = not before and (n + 1 == len(values) or values[n + 1] is None)
        # A value between two gaps is a short stroke: a path of one point would not be seen.
        path += (
            f"M{max(0.0, x - 0.6):.2f} {y:.2f}H{min(100.0, x + 0.6):.2f}"
            if alone
            else f"{'L' if before else 'M'}{x:.2f} {y:.2f}"
        )
        before = True
    return path


def _round_up(number: int) -> int:
    """The next number that reads well as the top of an axis."""
    if number < 10:
        return max(1, number)
    scale = int(10 ** (len(str(number)) - 1))
    return next(step * scale // 2 for step in range(2, 21) if step * scale // 2 >= number)
