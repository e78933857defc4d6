"""Working days: weekends, the holidays of a place as they were known, and lines that cannot be holidays."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from consent.emergency_reviews import answer_due
from consent.models import EmergencyCase
from hie.directory import registration, working_days
from hie.directory.errors import HolidaysRefused
from hie.directory.models import PublicHoliday
from hie.directory.working_days import Calendar, Known
from tests.directory.forms import clinic, file, ward

NEW_YORK = ZoneInfo("America/New_York")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
THANKSGIVING, CHRISTMAS = date(2026, 11, 26), date(2026, 12, 25)


def known(*days: date, since: datetime = LONG_AGO, until: datetime | None = None) -> Calendar:
    return Calendar({"JA": tuple(Known(on=on, since=since, until=until) for on in days)})


def due(calendar: Calendar, begun: str, place: str = "JA", zone: ZoneInfo = NEW_YORK) -> str:
    found = calendar.due_after(datetime.fromisoformat(begun).replace(tzinfo=zone), place=place, zone=zone)
    return found.astimezone(zone).replace(tzinfo=None).isoformat()


@pytest.mark.parametrize(
    ("calendar", "begun", "place", "expected"),
    [
        pytest.param(known(), "2026-11-19T09:14", "JA", "2026-12-03T23:59:59", id="weekends-alone"),
        pytest.param(known(THANKSGIVING), "2026-11-19T09:14", "JA", "2026-12-04T23:59:59", id="one-holiday"),
        pytest.param(known(date(2026, 11, 28)), "2026-11-19T09:14", "JA", "2026-12-03T23:59:59", id="on-a-saturday"),
        pytest.param(known(THANKSGIVING), "2026-11-26T09:14", "JA", "2026-12-10T23:59:59", id="begun-on-a-holiday"),
        pytest.param(known(date(2026, 12, 3)), "2026-11-19T09:14", "JA", "2026-12-04T23:59:59", id="on-the-last-day"),
        pytest.param(known(THANKSGIVING), "2026-11-19T09:14", "JB", "2026-12-03T23:59:59", id="of-another-place"),
        pytest.param(known(CHRISTMAS), "2026-11-19T09:14", "JA", "2026-12-03T23:59:59", id="later"),
    ],
)
def test_the_tenth_working_day_is_counted_without_weekends_and_holidays(
    calendar: Calendar, begun: str, place: str, expected: str
) -> None:
    assert due(calendar, begun, place) == expected


def test_a_date_once_given_stays_whatever_is_entered_or_taken_out_later() -> None:
    moment = datetime(2026, 11, 20, tzinfo=UTC)
    entered_later = known(THANKSGIVING, since=moment)
    assert due(entered_later, "2026-11-19T09:14") == "2026-12-03T23:59:59"
    assert due(entered_later, "2026-11-20T09:14") == "2026-12-07T23:59:59"
    taken_out_later = known(THANKSGIVING, until=moment)
    assert due(taken_out_later, "2026-11-19T09:14") == "2026-12-04T23:59:59"
    assert due(taken_out_later, "2026-11-20T09:14") == "2026-12-04T23:59:59"


def test_who_answers_for_an_emergency_has_ten_working_days_of_its_own_place(db: None) -> None:
    registration.apply(file(clinic(jurisdiction="JB"), ward(part_of="org-clinic", id="org-ward")))
    begun = timezone.now()
    paris = ZoneInfo("Europe/Paris")
    day, left = begun.astimezone(paris).date(), 10
    while left:
        day += timedelta(days=1)
        left -= day.weekday() < 5
    case = EmergencyCase(participant="org-ward", opened_at=begun)
    assert (
        answer_due(case, working_days.calendar()).astimezone(paris).replace(tzinfo=None).isoformat()
        == f"{day}T23:59:59"
    )
    working_days.enter("JB", [(day, "A holiday")], by="ida", reason="calendar")
    case.opened_at = timezone.now()
    assert answer_due(case, working_days.calendar()).astimezone(paris).date() > day


def test_the_calendar_is_read_by_one_statement(db: None, django_assert_num_queries: object) -> None:
    for place in ("JA", "JB"):
        working_days.enter(place, [(date(2026, 12, n), "x") for n in range(1, 20)], by="ida", reason="calendar")
    with django_assert_num_queries(1):  # type: ignore[operator]  # a fixture
        working_days.calendar()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "write 1 to 200 days"),
        ("2026-12-25", "line 1: name the holiday"),
        ("\n25.12.2026 Christmas", "line 2: begin with the day"),
        ("2026-13-25 Christmas", "line 1: begin with the day"),
        ("2026-12-25 Christmas\n2026-12-25 Yule", "line 2: this day stands in another line"),
        ("2036-12-25 Christmas", "line 1: a day of the last year or of the next ten"),
        ("2024-12-25 Christmas", "line 1: a day of the last year or of the next ten"),
        (f"2026-12-25 {'x' * 101}", "line 1: name the holiday"),
        ("2026-12-25 Christ\x07mas", "line 1: name the holiday"),
        ("\n".join(f"2027-01-{n % 28 + 1:02d} x" for n in range(201)), "write 1 to 200 days"),
    ],
)
def test_a_line_that_is_no_holiday_is_named(text: str, words: str) -> None:
    today = date(2026, 11, 30)
    assert working_days.read("2026-12-25  Christmas \r\n2026-11-30 Today", today=today) == [
        (today, "Today"), (CHRISTMAS, "Christmas"),
    ]  # fmt: skip
    with pytest.raises(HolidaysRefused, match=words):
        working_days.read(text, today=today)


def test_a_holiday_is_entered_once_and_never_changed_or_deleted(db: None) -> None:
    place = settings.HUB_JURISDICTION
    working_days.enter(place, [(CHRISTMAS, "Christmas")], by="ida", reason="calendar")
    with pytest.raises(HolidaysRefused, match="2026-12-25 is entered already"):
        working_days.enter(place, [(CHRISTMAS, "Yule")], by="bo", reason="calendar")
    row = PublicHoliday.objects.get()
    for change in ({"name": "Yule"}, {"on": THANKSGIVING}, {"removed_by": "bo"}):
        with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
            PublicHoliday.objects.filter(pk=row.pk).update(**change)
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        PublicHoliday.objects.filter(pk=row.pk).delete()
    working_days.remove(row.pk, by="bo", reason="wrong year")
    with pytest.raises(HolidaysRefused, match="taken out"):
        working_days.remove(row.pk, by="bo", reason="again")
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        PublicHoliday.objects.filter(pk=row.pk).update(removed_at=None, removed_by="", removed_reason="")
    assert working_days.enter(place, [(CHRISTMAS, "Christmas")], by="ida", reason="it was right") == 1
