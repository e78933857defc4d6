"""Dates and times as HL7 writes them, v2 and V3 alike: digits to any precision, with or without an offset. Pure.

Source: HL7 v2.5.1 2.A.21, 2.A.22 (DT, DTM, TS); HL7 V3 data types, TS.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
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
    if len(text.partition("+")[0].partition("-")[0]) < len("YYYYMMDDHHMM"):
        return None
    with suppress(ValueError, OverflowError):
        found: datetime | None = hl7.parse_datetime(text)
        if found is not None:
            return (found if found.tzinfo else found.replace(tzinfo=zone())).astimezone(UTC)
    return None
