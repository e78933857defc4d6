"""Working days, and what is due in so many of them: the one rule of every deadline that counts in days.

Monday to Friday count, less the public holidays that the exchange knows of a jurisdiction; where it knows none, all of
them. A deadline once given stays: only holidays count that were known as it began, so none that is entered or taken out
later moves what somebody was told.

Source: spec/consent.md 15 ("participant must answer in 10 working days").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from hie.directory import queries
from hie.directory.errors import HolidaysRefused
from hie.directory.models import PublicHoliday

ANSWER_DAYS = 10
"""Working days in which an organization answers, and the hub's office decides."""
MOST_LINES = 200
LONGEST_NAME = 100
_BACK, _AHEAD = timedelta(days=366), timedelta(days=3653)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A holiday, and while the exchange knew of it."""

    on: date
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Calendar:
    """The holidays of every jurisdiction, by its code."""

    held: Mapping[str, tuple[Known, ...]]

    def answer_due(self, begun: datetime, *, participant: str, zone: tzinfo | None = None) -> datetime:
        """By when a participant ("" is the hub's office) answers what it was asked at an instant.

        The last second of the tenth working day after that day, by the holidays of its place; in `zone`, else in its own.
        """
        place = queries.snapshot().jurisdiction_of(participant) if participant else settings.HUB_JURISDICTION
        return self.due_after(begun, place=place, zone=zone or queries.zone_of(place))

    def due_after(self, begun: datetime, *, place: str, zone: tzinfo, days: int = ANSWER_DAYS) -> datetime:
        """The last second, in a time zone, of the working day of a jurisdiction that comes so many after an instant."""
        off = {
            one.on
            for one in self.held.get(place, ())
            if one.since <= begun and (one.until is None or begun < one.until)
        }
        day, left = begun.astimezone(zone).date(), days
        while left:
            day += timedelta(days=1)
            left -= day.weekday() < 5 and day not in off
        return datetime.combine(day, time(23, 59, 59), zone).astimezone(UTC)


def calendar() -> Calendar:
    """All holidays, those taken out too; one statement."""
    held: dict[str, list[Known]] = {}
    rows = PublicHoliday.objects.values_list("jurisdiction", "on", "recorded_at", "removed_at")
    for place, on, since, until in rows:
        held.setdefault(place, []).append(Known(on=on, since=since, until=until))
    return Calendar({place: tuple(known) for place, known in held.items()})


def answer_due(begun: datetime, *, participant: str, zone: tzinfo | None = None) -> datetime:
    """As `Calendar.answer_due`, for one; one statement."""
    return calendar().answer_due(begun, participant=participant, zone=zone)


# --- entering them ------------------------------------------------------------------------------------------------------


def read(text: str, *, today: date) -> list[tuple[date, str]]:
    """Holidays from lines such as ``2027-01-01 New Year's Day``, in order of their days.

    Raises:
        HolidaysRefused: no line, or one that is no day with a name; it says which.
    """
    found: dict[date, str] = {}
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines or len(lines) > MOST_LINES:
        raise HolidaysRefused(f"write 1 to {MOST_LINES} days, one a line", element="days")
    for n, line in lines:
        day, _, name = line.partition(" ")
        name = name.strip()
        try:
            on = date.fromisoformat(day) if len(day) == 10 else None
        except ValueError:
            on = None
        if on is None:
            raise HolidaysRefused(f"line {n}: begin with the day, such as 2027-01-01", element="days")
        if not name or len(name) > LONGEST_NAME or not name.isprintable():
            raise HolidaysRefused(f"line {n}: name the holiday, in at most {LONGEST_NAME} letters", element="days")
        if not today - _BACK <= on <= today + _AHEAD:
            raise HolidaysRefused(f"line {n}: a day of the last year or of the next ten", element="days")
        if on in found:
            raise HolidaysRefused(f"line {n}: this day stands in another line too", element="days")
        found[on] = name
    return sorted(found.items())


def enter(place: str, days: Iterable[tuple[date, str]], *, by: str, reason: str) -> int:
    """Keep holidays of a jurisdiction; how many. In the caller's transaction.

    Raises:
        HolidaysRefused: no reason, or one of the days is entered already.
    """
    days = list(days)
    _check_reason(reason)
    held = PublicHoliday.objects.filter(jurisdiction=place, removed_at__isnull=True, on__in=[on for on, _ in days])
    there = set(held.values_list("on", flat=True))
    if there:
        raise HolidaysRefused(f"{min(there).isoformat()} is entered already", element="days")
    now = timezone.now()
    rows = [
        PublicHoliday(jurisdiction=place, on=on, name=name, recorded_at=now, recorded_by=by, reason=reason.strip())
        for on, name in days
    ]
    try:
        with transaction.atomic():
            return len(PublicHoliday.objects.bulk_create(rows))
    except IntegrityError as error:
        raise HolidaysRefused("one of these days has just been entered by somebody else", element="days") from error


def remove(pk: int, *, by: str, reason: str) -> PublicHoliday:
    """Take one out: it counts for no deadline that begins from now on. In the caller's transaction.

    Raises:
        HolidaysRefused: no reason, or no such holiday that counts.
    """
    _check_reason(reason)
    row = PublicHoliday.objects.select_for_update().filter(pk=pk, removed_at__isnull=True).first()
    if row is None:
        raise HolidaysRefused("there is no such holiday, or it was taken out", element="holiday")
    row.removed_at, row.removed_by, row.removed_reason = timezone.now(), by, reason.strip()
    row.save(update_fields=["removed_at", "removed_by", "removed_reason"])
    return row


def _check_reason(reason: str) -> None:
    if not reason.strip() or "\0" in reason:
        raise HolidaysRefused("give the reason: one sentence is enough", element="reason")
