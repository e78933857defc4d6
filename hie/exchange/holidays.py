"""Public holidays at the desk: seen by place, entered and taken out with a reason; every look and act is recorded.

They count for no deadline in working days that begins while they are known (`hie.directory.working_days`).

Source: spec/consent.md 15.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import transaction
from django.utils import timezone

from consent import jurisdictions
from hie.audit import recorder
from hie.audit.recorder import EventType
from hie.directory import working_days
from hie.directory.errors import HolidaysRefused
from hie.directory.models import PublicHoliday
from hie.exchange import governance
from hie.exchange.access import Staff
from hie.exchange.errors import AccessRefused

ROLES = frozenset({"administrator", "privacy-officer"})
"""Who enters holidays and takes them out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A jurisdiction with its holidays: those to come, those that have passed this year, and those taken out."""

    code: str
    title: str
    ahead: tuple[PublicHoliday, ...]
    passed: tuple[PublicHoliday, ...]
    removed: tuple[PublicHoliday, ...]


def may(staff: Staff) -> bool:
    """Whether a member of staff enters holidays, by role."""
    return bool(staff.roles & ROLES)


def listed(staff: Staff) -> list[Place]:
    """Every jurisdiction that the hub knows, or has holidays of, by code; the look is recorded. Three statements."""
    governance.look(staff, page="directory.publicholiday")
    today = timezone.now().date()
    held: dict[str, list[PublicHoliday]] = {}
    for row in PublicHoliday.objects.order_by("jurisdiction", "on", "pk"):
        held.setdefault(row.jurisdiction, []).append(row)
    laws = jurisdictions.in_effect()
    return [
        Place(
            code=code,
            title=str(laws.get(code, {}).get("title") or code),
            ahead=tuple(row for row in held.get(code, ()) if row.removed_at is None and row.on >= today),
            passed=tuple(row for row in held.get(code, ()) if row.removed_at is None and _this_year(row.on, today)),
            removed=tuple(row for row in held.get(code, ()) if row.removed_at is not None),
        )
        for code in sorted(laws.keys() | held.keys())
    ]


def enter(place: str, text: str, staff: Staff, *, reason: str) -> int:
    """Keep the holidays of a jurisdiction, a line each (`working_days.read`); how many.

    Raises:
        AccessRefused: not by this role. HolidaysRefused: no such place, no reason, or a line that cannot be kept.
    """
    with _act(staff, what="holidays entered", place=place[:64]) as event:
        if place not in jurisdictions.in_effect():
            raise HolidaysRefused("choose the place", element="place")
        days = working_days.read(text, today=timezone.now().date())
        with transaction.atomic():
            count = working_days.enter(place, days, by=staff.user_id, reason=reason)
            event.note(detail=_about("holidays entered", place, [on for on, _ in days], reason))
            event.commit()
    return count


def remove(pk: int, staff: Staff, *, reason: str) -> PublicHoliday:
    """Take one out; deadlines that began before still count by it.

    Raises:
        AccessRefused: not by this role. HolidaysRefused: no reason, or none such that counts.
    """
    with _act(staff, what="holiday taken out", holiday=pk) as event, transaction.atomic():
        row = working_days.remove(pk, by=staff.user_id, reason=reason)
        event.note(detail=_about("holiday taken out", row.jurisdiction, [row.on], reason))
        event.commit()
    return row


def _this_year(on: date, today: date) -> bool:
    return on < today and on.year == today.year


def _about(what: str, place: str, days: list[date], reason: str) -> dict[str, Any]:
    return {"what": what, "place": place, "days": [on.isoformat() for on in days], "reason": reason.strip()}


@contextmanager
def _act(staff: Staff, **detail: Any) -> Iterator[recorder.Recording]:
    with recorder.recording(EventType.DIRECTORY_CHANGED, staff.caller()) as event:
        event.note(detail=detail)
        if not may(staff):
            raise AccessRefused("G5", "role-not-permitted")
        yield event
