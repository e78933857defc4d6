"""DTM, the date and time of XDS metadata: text with a precision, and the interval it covers.

``YYYY[MM[DD[hh[mm[ss]]]]]``, UTC, no zone, no fraction, valid in the calendar.

Source: spec/xds.md 3.2 (IHE ITI TF-3 table 4.2.3.1.7-2).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_DTM = re.compile(r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d))?)?)?)?)?\Z", re.ASCII)


def interval(dtm: str) -> tuple[datetime, datetime] | None:
    """The half-open interval ``[from, until)`` of instants, or None when this is no DTM."""
    match = _DTM.match(dtm)
    if match is None:
        return None
    year, month, day, hour, minute, second = (None if part is None else int(part) for part in match.groups())
    try:
        start = datetime(year or 0, month or 1, day or 1, hour or 0, minute or 0, second or 0, tzinfo=UTC)
    except ValueError:
        return None
    try:
        if month is None:
            end = start.replace(year=start.year + 1)
        elif day is None:
            end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
        elif hour is None:
            end = start + timedelta(days=1)
        elif minute is None:
            end = start + timedelta(hours=1)
        elif second is None:
            end = start + timedelta(minutes=1)
        else:
            end = start + timedelta(seconds=1)
    except (ValueError, OverflowError):
        end = datetime.max.replace(tzinfo=UTC)  # the last moment of the calendar: "for ever" is often written so
    return start, end


def is_dtm(text: str) -> bool:
    """Whether this is a valid DTM."""
    return interval(text) is not None


def from_datetime(moment: datetime) -> str:
    """An aware instant as a DTM to the second."""
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S")


def to_fhir(dtm: str) -> str:
    """The DTM as FHIR date or dateTime text of the same precision where FHIR has it.

    FHIR knows no hour alone and no minute alone: both are written out to the second.
    """
    parts = [dtm[:4], dtm[4:6], dtm[6:8]]
    day = "-".join(part for part in parts if part)
    if len(dtm) <= 8:
        return day
    clock = (dtm[8:] + "0000")[:6]
    return f"{day}T{clock[:2]}:{clock[2:4]}:{clock[4:6]}Z"
