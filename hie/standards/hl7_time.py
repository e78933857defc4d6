"""Dates and times as HL7 writes them, v2 and V3 alike: digits to any precision, with or without an offset. Pure.

Source: HL7 v2.5.1 2.A.21, 2.A.22 (DT, DTM, TS); HL7 V3 data types, TS.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import takewhile

import hl7

_DATE = re.compile(r"(\d{4})-?(\d{2})?-?(\d{2})?")


def date(text: str) -> str | None:
    """FHIR date text of a date of any precision, "" where the year is not known; None: it is no date.

    An impossible day stays, being evidence all the same.
    """
    found = _DATE.match(text)
    if found is None:
        return None
    year, *rest = (p for p in found.groups() if p)
    # Zeros stand for what is not known.
    known = list(takewhile(lambda p: p != "00", rest))
    return "" if year == "0000" else "-".join([year, *known])


def moment(text: str, *, zone: Callable[[], tzinfo]) -> datetime | None:
    """A time in UTC; None where it is not said to the minute. Without an offset it is one of `zone`, asked only then."""
    found = span(text, zone=zone)
    return found.start if found is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """All that a time may mean, from its earliest instant to its latest, both in UTC."""

    start: datetime
    end: datetime


def span(text: str, *, zone: Callable[[], tzinfo]) -> Span | None:
    """What a time may mean: the whole of a minute where it says no second, both of the hours that a clock set back has.

    None where it is not said to the minute; `zone` as in `moment`.
    """
    digits = text.partition("+")[0].partition("-")[0]
    if len(digits) < len("YYYYMMDDHHMM"):
        return None
    with suppress(ValueError, OverflowError):
        found: datetime | None = hl7.parse_datetime(text)
        if found is not None:
            local = found if found.tzinfo else found.replace(tzinfo=zone())
            first, second = (local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
            unsaid = timedelta(0) if len(digits) >= len("YYYYMMDDHHMMSS") else timedelta(seconds=59)
            return Span(start=first, end=max(first, second) + unsaid)
    return None
