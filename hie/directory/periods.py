"""FHIR dates as the span of time they cover, in a zone.

A date covers the whole of its precision: ``2026`` the year, ``2026-03`` the month, ``2026-03-10`` that
local day; a time the second it names. A period runs from the beginning of start to the end of end.

Source: spec/consent.md 4.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

_DATE = re.compile(r"^(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?$")
_INSTANT = re.compile(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(\.\d+)?)?(?:Z|[+-]\d{2}:\d{2})$")


@lru_cache(maxsize=4096)
def span(text: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The instants from which and before which `text` holds: ``[first, last)``, in UTC.

    Raises:
        ValueError: not a FHIR date or dateTime, or a time without offset.
    """
    date = _DATE.match(text)
    if date is not None:
        year, month, day = int(date[1]), int(date[2] or 1), int(date[3] or 1)
        first = datetime(year, month, day, tzinfo=zone)
        if date[3]:
            following = first.replace(tzinfo=None) + timedelta(days=1)
            last = following.replace(tzinfo=zone)
        elif date[2]:
            last = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=zone)
        else:
            last = datetime(year + 1, 1, 1, tzinfo=zone)
        return first.astimezone(UTC), last.astimezone(UTC)
    instant = _INSTANT.match(text)
    if instant is None:
        raise ValueError("not a FHIR date or dateTime with offset")
    first = datetime.fromisoformat(text).astimezone(UTC)
    if instant[1]:
        width = timedelta(milliseconds=1)
    elif text.count(":", 0, 19) == 2:
        width = timedelta(seconds=1)
    else:
        width = timedelta(minutes=1)
    return first, first + width


def covers(start: str | None, end: str | None, now: datetime, zone: ZoneInfo) -> bool:
    """Whether `now` lies in the period; an open side is unbounded, unreadable text covers nothing."""
    try:
        if start and now < span(start, zone)[0]:
            return False
        return not (end and now >= span(end, zone)[1])
    except (ValueError, OverflowError):
        return False
