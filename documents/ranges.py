"""Ranges of bytes as requests name them.

Source: RFC 9110 section 14.
"""

from __future__ import annotations

from documents.errors import RangeNotSatisfiable


def span(size: int, first: int | None, last: int | None) -> tuple[int, int]:
    """The first and last byte, inclusive, that a range names of so many bytes.

    `first` alone: from there to the end; `last` alone: the last so many bytes; neither: all.

    Raises:
        RangeNotSatisfiable: nothing of the range is in the content.
    """
    if first is None and last is None:
        return 0, size - 1
    if first is None:
        if not last or size == 0:
            raise RangeNotSatisfiable(size)
        return max(0, size - last), size - 1
    if first < 0 or first >= size or (last is not None and last < first):
        raise RangeNotSatisfiable(size)
    return first, size - 1 if last is None else min(last, size - 1)
