"""The public figures: how much the exchange is used, by calendar months that are over, without anything of a patient.

A month is counted once, two days after its end, and kept as published: it is never counted again, so no two readings of
it differ and none can be subtracted from another. Numbers are rounded, to ten below a thousand and to two figures that say
something above; what fewer than eleven people stand behind is left out, as in `hie.exchange.small_cells`, before rounding.
No organization is named beside a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from hie.audit import figures
from hie.audit.figures_of_log import ASKING, SENDING
from hie.audit.figures_of_log import Subject as Logged
from hie.audit.models import Figure, FigureMark, PublishedMonth
from hie.directory import queries as directory
from hie.exchange.figure_sources import Subject
from hie.exchange.own_figures import CLOSED_AFTER
from hie.exchange.small_cells import rounded, shown

MONTHS = 13
PURPOSES = ("TREAT", "HPAYMT", "HOPERAT", "PATRQT", "PUBHLTH", "HRESCH", "BTG")
_NOT_CONNECTED = frozenset({"patient-portal", "community"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A month as published. None: too few people stand behind the number. `purposes`: documents by purpose, largest first."""

    month: date
    documents: int | None
    asked: int | None
    sent: int | None
    patients: int | None
    choosing: int | None
    signed_in: int | None
    communities: int | None
    organizations: int
    purposes: tuple[tuple[str, int], ...]


def published() -> list[Month]:
    """The months that were published, newest first, at most 13. 1 statement."""
    return [
        Month(
            month=row.month,
            purposes=tuple((purpose, number) for purpose, number in row.body["purposes"]),
            **{name: row.body[name] for name in _NUMBERS},
        )
        for row in PublishedMonth.objects.order_by("-month")[:MONTHS]
    ]


_NUMBERS = ("documents", "asked", "sent", "patients", "choosing", "signed_in", "communities", "organizations")


def publish(now: datetime | None = None) -> int:
    """Publish every month that is over and counted, once; how many were. Each in its turn, from the first there is anything of."""
    at = now or datetime.now(UTC)
    over = (at - CLOSED_AFTER).astimezone(UTC).date().replace(day=1)
    last = PublishedMonth.objects.order_by("-month").values_list("month", flat=True).first()
    first = _next(last) if last else _oldest(over)
    done = 0
    while first is not None and first < over and _counted(_next(first)):
        row = PublishedMonth(month=first, body=_body(first), published_at=at)
        # Somebody else may have published it between: then theirs stands.
        PublishedMonth.objects.bulk_create([row], ignore_conflicts=True)
        first, done = _next(first), done + 1
    return done


def _oldest(over: date) -> date | None:
    """The first month there is anything of, of those that the page has room for."""
    room = over
    for _ in range(MONTHS):
        room = (room - timedelta(days=1)).replace(day=1)
    found = Figure.objects.filter(subject=Logged.REQUESTS, day__gte=room).order_by("day")
    day = found.values_list("day", flat=True).first()
    return day.replace(day=1) if day else None


def _counted(until: date) -> bool:
    """Whether the log was counted to its end after this day began, with what is late."""
    mark = FigureMark.objects.filter(source="log").values_list("counted_at", flat=True).first()
    return mark is not None and mark >= datetime.combine(until, time.min, UTC) + CLOSED_AFTER


def _next(month: date) -> date:
    return (month + timedelta(days=32)).replace(day=1)


def _body(month: date) -> dict[str, Any]:
    last = _next(month) - timedelta(days=1)

    def people(subject: str, **only: Any) -> int | None:
        found = figures.cells(subject, month, last, only=only)
        # Of requests each counts once, however many patients it was about.
        return (
            rounded(found[0].total if subject == Logged.REQUESTS else found[0].n)
            if found and not found[0].small
            else None
        )

    def state(subject: str, what: str = "") -> int | None:
        days = figures.cells(subject, month, last, by=("day",), only={"what": (what,)})
        return rounded(days[-1].n) if days and days[-1].n >= figures.SMALLEST else None

    purposes = shown(figures.cells(Logged.LEFT, month, last, by=("purpose",), only={"what": ("bytes",)})).cells
    named = [(str(one.keys[0]), rounded(one.n)) for one in purposes if one.keys[0] in PURPOSES]
    return {
        "documents": people(Logged.LEFT, what=("bytes",)),
        "asked": people(Logged.REQUESTS, what=ASKING),
        "sent": people(Logged.REQUESTS, what=SENDING),
        "patients": state(Subject.PATIENTS),
        "choosing": state(Subject.CHOICES, "any"),
        "signed_in": people(Logged.SIGNED_IN),
        "communities": people(Subject.ANSWERS),
        "organizations": _organizations(),
        "purposes": sorted(named, key=lambda one: (-one[1], one[0])),
    }


def _organizations() -> int:
    """Organizations that take part now, each with all below it once; who takes part is public, so the number is exact."""
    members, now = directory.snapshot(), datetime.now(UTC)
    return len(
        {
            members.root_of(facts.id)
            for facts in members.participants.values()
            if facts.type not in _NOT_CONNECTED and members.is_active(facts.id, now)
        }
    )
