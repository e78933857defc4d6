"""What was taken out of the log at the end of its time, as the log itself says it. Pure.

Seals stay when events go: number, leaf and chain value, so that every checkpoint and every proof of what remains still
fits. That an event is gone is right only where a later event of the log says so (`EventType.LOG_RETIRED`), and where
two signed checkpoints, the first that covers the event and the first that covers that later one, lie `FLOOR` apart. So no
statement made afterwards excuses the removal of an event that was not old, whatever time it states.

Source: spec/consent.md 17, "Erasure and retention"; 45 CFR 164.316(b)(2)(i), 164.528(a)(3).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hie.audit.kinds import EventType

FLOOR = timedelta(days=2192)
"""Six years, as long as six years can be."""


@dataclass(slots=True)
class Removals:
    """What events of the log say was removed: to be `add`ed as they are found, then asked by number."""

    _said: list[tuple[int, int, int]] = field(default_factory=list)  # first, last, number of the event that says so
    _firsts: list[int] = field(default_factory=list)
    _lasts: list[int] = field(default_factory=list)

    def add(self, content: Any, seq: int) -> None:
        """Note what an event says, given as its canonical JSON was read (``{"event", "seq"}``); of other kinds nothing."""
        event = content.get("event") if isinstance(content, Mapping) else None
        if not isinstance(event, Mapping) or event.get("kind") != EventType.LOG_RETIRED or event.get("outcome") != 0:
            return
        detail = event.get("detail")
        ranges = detail.get("ranges") if isinstance(detail, Mapping) else None
        for one in ranges if isinstance(ranges, list) else ():
            if _is_range(one) and one[1] < seq:
                self._said.append((one[0], one[1], seq))

    def settle(self, signed: Iterable[tuple[int, str]]) -> None:
        """Keep what the checkpoints bear out, given as (size, time) of those whose signatures fit."""
        notes = sorted((size, when) for size, time in signed if size and (when := _instant(time)) is not None)
        sizes = [size for size, _ in notes]
        times = [when for _, when in notes]
        held: list[tuple[int, int]] = []
        for first, last, seq in self._said:
            sealed, told = bisect_left(sizes, last), bisect_left(sizes, seq)
            if told < len(notes) and times[told] - times[sealed] >= FLOOR:
                held.append((first, last))
        self._firsts, self._lasts = [], []
        for first, last in sorted(held):
            if self._lasts and first <= self._lasts[-1] + 1:
                self._lasts[-1] = max(self._lasts[-1], last)
            else:
                self._firsts.append(first)
                self._lasts.append(last)

    def covers(self, seq: int) -> bool:
        """Whether the event of this number may be gone."""
        at = bisect_right(self._firsts, seq) - 1
        return at >= 0 and seq <= self._lasts[at]


def ranges_of(numbers: Iterable[int]) -> list[list[int]]:
    """Numbers as [first, last] of each unbroken row of them, in order."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def _is_range(one: Any) -> bool:
    return isinstance(one, list) and len(one) == 2 and all(type(n) is int for n in one) and 0 < one[0] <= one[1]


def _instant(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except (ValueError, TypeError):
        return None
