"""Which cells of a table may be shown, so that no group of fewer than eleven people can be read off or worked out. Pure.

A cell about fewer is not shown. Where a sum over a line is shown besides, what it leaves for the hidden cells of the line
is about enough people too: else the smallest cell that could be shown is hidden with them. Cells that no known person
stands behind (a question about somebody unknown) are hidden, and hide no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hie.audit.figures import SMALLEST, Cell


@dataclass(frozen=True, slots=True)
class Shown:
    """The cells of a table that may be shown, and how many may not."""

    cells: tuple[Cell, ...]
    hidden: int = 0

    @property
    def n(self) -> int:
        """The sum of what is shown."""
        return sum(one.n for one in self.cells)

    @property
    def total(self) -> int:
        """The sum of the measure of what is shown."""
        return sum(one.total for one in self.cells)

    def at(self, *keys: Any) -> Cell | None:
        """The cell of these keys; None where there is none, or none to be shown."""
        return next((one for one in self.cells if one.keys == keys), None)

    def of(self, place: int, value: Any) -> tuple[Cell, ...]:
        """The cells whose key at this place is this."""
        return tuple(one for one in self.cells if one.keys[place] == value)


def shown(cells: Sequence[Cell]) -> Shown:
    """The cells of a table of any number of sides that may be shown beside all sums along any one side."""
    hidden = {one.keys for one in cells if one.small}
    sides = max((len(one.keys) for one in cells), default=0)
    changed = bool(hidden)
    while changed:
        changed = False
        for line in _lines(cells, sides):
            small = [one for one in line if one.keys in hidden]
            people: set[int] = set().union(*(one.people or () for one in small))
            if not people or len(people) >= SMALLEST or any(not one.small for one in small):
                continue
            rest = [one for one in line if one.keys not in hidden]
            if rest:
                hidden.add(min(rest, key=lambda one: (one.n, one.keys)).keys)
                changed = True
    return Shown(tuple(one for one in cells if one.keys not in hidden), len(hidden))


def _lines(cells: Sequence[Cell], sides: int) -> Iterable[list[Cell]]:
    """The cells along each side: of one side all of them, of several those that differ in it alone."""
    for side in range(sides):
        lines: dict[tuple[Any, ...], list[Cell]] = {}
        for one in cells:
            lines.setdefault((*one.keys[:side], *one.keys[side + 1 :]), []).append(one)
        yield from lines.values()


def rounded(number: int) -> int:
    """A number as it may be published: to the nearest ten, of a thousand and more to two figures that say something."""
    step = 10
    while number >= step * 100:
        step *= 10
    return (number + step // 2) // step * step
