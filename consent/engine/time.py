"""FHIR dates as intervals: what a date of any precision covers in a time zone.

2026 is the year, 2026-03 the month, 2026-03-10 that local day (23 or 25 hours
when clocks change), a time to the minute, second or fraction that unit. All
results are aware UTC instants; an interval is [start, end).

Source: spec/consent.md section 4.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import cache, lru_cache
from typing import Final
from zoneinfo import ZoneInfo

MIN: Final = datetime.min.replace(tzinfo=UTC)
MAX: Final = datetime.max.replace(tzinfo=UTC)
_ANY_ZONE: Final = "UTC"
Interval = tuple[datetime, datetime]  # [from, until), UTC

_FHIR_TIME: Final = re.compile(
    r"(?P<year>[0-9]{4})"
    r"(?:-(?P<month>0[1-9]|1[0-2])"
    r"(?:-(?P<day>0[1-9]|[12][0-9]|3[01])"
    r"(?:T(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9])"
    r"(?::(?P<second>[0-5][0-9]|60)(?:\.(?P<fraction>[0-9]{1,9}))?)?"
    r"(?P<offset>Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9]|[+-]14:00))?)?)?"
)


class UnreadableDate(ValueError):
    """A date that is not a FHIR date or dateTime, or a time of day without offset."""


@cache  # there are some six hundred
def zone(name: str) -> ZoneInfo:
    """The time zone of this IANA name.

    Raises:
        ValueError: there is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError) as problem:
        raise ValueError(f"unknown time zone {name!r}") from problem


@lru_cache(maxsize=65536)
def interval(text: str, zone_name: str) -> tuple[datetime, datetime]:
    """The instants a FHIR date or dateTime covers, [start, end), in UTC.

    Raises:
        UnreadableDate: the text is no FHIR date, has a time without offset, or names no real day.
    """
    match = _FHIR_TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise UnreadableDate(text)
    part = match.groupdict("")
    try:
        if part["hour"]:
            return _time_interval(part)
        local = zone(zone_name)
        year, month, day = int(part["year"]), part["month"], part["day"]
        if not month:
            return _midnight(year, 1, 1, local), _midnight(year + 1, 1, 1, local)
        if not day:
            after = (year + 1, 1) if month == "12" else (year, int(month) + 1)
            return _midnight(year, int(month), 1, local), _midnight(*after, 1, local)
        first = date(year, int(month), int(day))
        if first == date.max:
            return _midnight(year, 12, 31, local), MAX
        following = first + timedelta(days=1)
        return _midnight(year, first.month, first.day, local), _midnight(
            following.year, following.month, following.day, local
        )
    except ValueError as problem:
        raise UnreadableDate(text) from problem


def readable(text: object) -> bool:
    """Whether this is a date the engine can read (in any zone)."""
    if not isinstance(text, str):
        return False
    try:
        interval(text, _ANY_ZONE)
    except UnreadableDate:
        return False
    return True


def bounds(start: str | None, end: str | None, zone_name: str) -> tuple[datetime, datetime]:
    """A period as [from, until): from the beginning of `start` to the end of `end`; open sides are unbounded.

    Raises:
        UnreadableDate: a side cannot be read.
    """
    since = MIN if start is None else interval(start, zone_name)[0]
    until = MAX if end is None else interval(end, zone_name)[1]
    return since, until


def _time_interval(part: dict[str, str]) -> tuple[datetime, datetime]:
    year, month, day, hour, minute = (int(part[one]) for one in ("year", "month", "day", "hour", "minute"))
    begin = _utc(datetime(year, month, day, hour, minute, tzinfo=_offset(part["offset"])))
    fraction = part["fraction"][:6]
    if not part["second"]:
        return begin, _plus(begin, timedelta(minutes=1))
    # A leap second, 60, has no place of its own in UTC clocks: it is the second after.
    begin = _plus(begin, timedelta(seconds=int(part["second"]), microseconds=int(fraction.ljust(6, "0"))))
    return begin, _plus(begin, timedelta(microseconds=10 ** (6 - len(fraction))))


def _offset(text: str) -> tzinfo:
    if text == "Z":
        return UTC
    sign = {"+": 1, "-": -1}
    return timezone(sign[text[0]] * timedelta(hours=int(text[1:3]), minutes=int(text[4:])))


def _midnight(year: int, month: int, day: int, local: tzinfo) -> datetime:
    if year > 9999:
        return MAX
    # fold=0 gives the first instant of the day also where clocks change at midnight.
    return _utc(datetime(year, month, day, tzinfo=local))


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # year 1 or 9999 at the edge of the calendar
        return MIN if moment.year == 1 else MAX


def _plus(moment: datetime, step: timedelta) -> datetime:
    try:
        return moment + step
    except OverflowError:
        return MAX


@lru_cache(maxsize=16384)
def birthday(birth_date: str | None, years: int, zone_name: str) -> tuple[datetime, datetime]:
    """(earliest, latest) instant at which someone born on this date reaches an age.

    An age is reached at local midnight of the birthday; a 29 February birthday
    in a common year is 1 March. A birth date of less precision gives a range; one
    that is missing or unreadable gives (MIN, MAX): anything is possible.
    """
    if birth_date is None or not isinstance(birth_date, str) or "T" in birth_date or not readable(birth_date):
        return MIN, MAX
    digits = birth_date.split("-")
    year = int(digits[0])
    if len(digits) == 3:
        first = last = date(year, int(digits[1]), int(digits[2]))
    elif len(digits) == 2:
        first = date(year, int(digits[1]), 1)
        last = first.replace(day=monthrange(year, first.month)[1])
    else:
        first, last = date(year, 1, 1), date(year, 12, 31)
    return _anniversary(first, years, zone_name), _anniversary(last, years, zone_name)


def _anniversary(born: date, years: int, zone_name: str) -> datetime:
    year = born.year + years
    if year > 9999:
        return MAX
    try:
        day = born.replace(year=year)
    except ValueError:  # 29 February in a common year
        day = date(year, 3, 1)
    return _midnight(day.year, day.month, day.day, zone(zone_name))
