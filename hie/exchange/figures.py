"""What the dashboards show: sums of rolled-up figures over a period, without cells about fewer than eleven people.

Every function reads a fixed number of statements, however much was exchanged; those of today are counted up to the last
run of the scheduled task. A cell is shown or hidden by `hie.exchange.small_cells`; counts that are about nobody's
record (requests refused at the door, messages, answers of the directory) are shown as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from hie.audit import figures, recorder
from hie.audit.figures import Cell
from hie.audit.figures_of_log import SENDING, Came, Group
from hie.audit.figures_of_log import Subject as Logged
from hie.audit.kinds import EventType
from hie.audit.models import Figure
from hie.exchange import figure_sources
from hie.exchange.administrative import Staff
from hie.exchange.figure_sources import Subject
from hie.exchange.small_cells import Shown, shown
from patients.models import MatchModel

LONGEST = timedelta(days=366)
DAYS = {"7": "Last 7 days", "28": "Last 28 days", "90": "Last 90 days", "365": "Last 12 months"}
DEFAULT = "28"
MONTHS_BACK = 12
_MONTH = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Days from `since` to `until`, both included, as the address names them (`key`). By months where days are too many."""

    key: str
    name: str
    since: date
    until: date

    @property
    def step(self) -> str:
        """How fine a line over it is: ``day`` or ``month``."""
        return "day" if (self.until - self.since).days < 100 else "month"

    @property
    def before(self) -> Period:
        """As many days just before; of a calendar month the month before, as far as this one has come."""
        until = self.since - timedelta(days=1)
        since = until - (self.until - self.since)
        if _MONTH.fullmatch(self.key):
            since = until.replace(day=1)
            if (self.until + timedelta(days=1)).day != 1:
                until = min(until, since + (self.until - self.since))
        return Period(key="", name="", since=since, until=until)

    def steps(self) -> list[date]:
        """Every day, or the first day of every month, of it."""
        days = [self.since + timedelta(days=n) for n in range((self.until - self.since).days + 1)]
        return days if self.step == "day" else sorted({one.replace(day=1) for one in days})


def period(asked: str, today: date) -> Period:
    """The period that an address asks for: a number of days of `DAYS`, or a calendar month; else the usual one."""
    if found := _MONTH.fullmatch(asked):
        first = date(int(found[1]), int(found[2]), 1)
        if date(today.year - 1, today.month, 1) <= first <= today:
            last = min(_next_month(first) - timedelta(days=1), today)
            return Period(key=asked, name=f"{first:%B %Y}", since=first, until=last)
    key = asked if asked in DAYS else DEFAULT
    return Period(key=key, name=DAYS[key], since=today - timedelta(days=int(key) - 1), until=today)


def periods(today: date) -> list[tuple[str, str]]:
    """The periods there are to choose from, as (key, name)."""
    months, first = [], today.replace(day=1)
    for _ in range(MONTHS_BACK):
        months.append((f"{first:%Y-%m}", f"{first:%B %Y}"))
        first = (first - timedelta(days=1)).replace(day=1)
    return [*DAYS.items(), *months]


def _next_month(first: date) -> date:
    return (first + timedelta(days=32)).replace(day=1)


def _all(subject: str, at: Period, *by: str, **only: Sequence[str]) -> list[Cell]:
    return figures.cells(subject, at.since, at.until, by=by, only=only)


def _shown(subject: str, at: Period, *by: str, **only: Sequence[str]) -> Shown:
    return shown(_all(subject, at, *by, **only))


def _narrowed(found: Shown, organization: str) -> Shown:
    """The cells of one organization (the first key), without that key; the sums of all where none is asked for."""
    if organization:
        cells = found.of(0, organization)
        return Shown(tuple(_cell(one, one.keys[1:]) for one in cells), 0)
    return found


def _cell(one: Cell, keys: tuple[object, ...]) -> Cell:
    return Cell(keys=keys, n=one.n, total=one.total, people=one.people)


def look(staff: Staff, *, page: str, at: Period, organization: str = "", saved: str = "") -> None:
    """Record that a member of staff looked at a dashboard, or saved a table of it; it is about nobody's record."""
    detail = {"what": "figures", "page": page, "period": at.key, "organization": organization, "saved": saved}
    shown_of = {name: value for name, value in detail.items() if value}
    recorder.write([recorder.EventDraft(kind=EventType.STAFF_LOOK, caller=staff.caller(), detail=shown_of)])


def refused(staff: Staff, *, page: str) -> None:
    """Record that a member of staff asked for a dashboard that none of their roles sees."""
    recorder.write_apart(
        [
            recorder.EventDraft(
                kind=EventType.STAFF_LOOK,
                caller=staff.caller(),
                outcome=recorder.Outcome.REFUSED,
                rule="G5",
                reason="role-not-permitted",
                detail={"what": "figures", "page": page},
            )
        ]
    )


# --- the exchange -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Documents that left in full, and what was asked. `days`, `before` and `purposes` are of `organization` where one is named."""

    documents: int | None
    by_organization: Shown
    by_purpose: Shown
    days: Shown
    before: Shown
    asked: Shown
    counted_at: datetime | None


def exchange(at: Period, organization: str = "") -> Exchange:
    """Documents by organization, purpose and day; requests by what was asked and what came of it. 7 statements."""
    what = ("bytes",)
    by_purpose = shown(_all(Logged.LEFT, at, "participant", "purpose", what=what))
    days, before = (shown(_all(Logged.LEFT, one, "participant", one.step, what=what)) for one in (at, at.before))
    if organization:
        purposes, now, then = (_narrowed(one, organization) for one in (by_purpose, days, before))
        asked = _narrowed(_shown(Logged.REQUESTS, at, "participant", "what", "other"), organization)
    else:
        purposes = _shown(Logged.LEFT, at, "purpose", what=what)
        now, then = (_shown(Logged.LEFT, one, one.step, what=what) for one in (at, at.before))
        asked = _shown(Logged.REQUESTS, at, "what", "other")
    organizations = _shown(Logged.LEFT, at, "participant", what=what)
    whole = (
        organizations.of(0, organization)
        if organization
        else tuple(one for one in _all(Logged.LEFT, at, what=what) if not one.small)
    )
    return Exchange(
        documents=sum(one.n for one in whole) if whole else None,
        by_organization=organizations,
        by_purpose=purposes,
        days=now,
        before=then,
        asked=asked,
        counted_at=figure_sources.counted(),
    )


# --- answers and refusals ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """How communities answered (keys: target, how), by day (day, how); refusals by rule and by organization.

    `at_the_door`: requests refused before any record was looked up, by participant; they are about nobody.
    """

    by_community: Shown
    by_day: Shown
    by_rule: Shown
    by_organization: Shown
    at_the_door: Shown
    counted_at: datetime | None


def answers(at: Period) -> Answers:
    """What was asked of others and refused here. 6 statements."""
    inside = [one.value for one in Group if one is not Group.DOOR]
    return Answers(
        by_community=_shown(Subject.ANSWERS, at, "other", "what"),
        by_day=_shown(Subject.ANSWERS, at, at.step, "what"),
        by_rule=_shown(Logged.REFUSED, at, "what"),
        by_organization=_shown(Logged.REQUESTS, at, "participant", what=inside, other=(Came.REFUSED,)),
        at_the_door=Shown(tuple(_all(Logged.REQUESTS, at, "participant", what=(Group.DOOR,)))),
        counted_at=figure_sources.counted(("log", "answers")),
    )


# --- matching ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """Links by how they came (what), and by day; changes of identities; what stewards decided (kind of case, act:verdict)."""

    links: Shown
    days: Shown
    changes: Shown
    reviews: Shown
    model: str
    model_since: datetime | None
    counted_at: datetime | None


def matching(at: Period) -> Matching:
    """How records were linked, corrected and reviewed. 6 statements."""
    model = MatchModel.objects.filter(status=MatchModel.Status.ACTIVE).first()
    return Matching(
        links=_shown(Subject.LINKS, at, "what"),
        days=_shown(Subject.LINKS, at, at.step, what=("certain",)),
        changes=_shown(Subject.IDENTITY, at, "what"),
        reviews=_shown(Subject.REVIEWS, at, "other", "what"),
        model=model.version if model else "",
        model_since=model.created_at if model else None,
        counted_at=figure_sources.counted(("links", "identity", "reviews")),
    )


# --- choices ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """How many patients made which choice, as counted on `on`, of `patients` known; with any choice over days; changes by day.

    A patient may have made several. None: never counted.
    """

    on: date | None
    patients: int
    choices: Shown
    days: Shown
    changes: Shown
    counted_at: datetime | None


def chosen(at: Period) -> Chosen:
    """What patients chose, without naming anyone. 6 statements."""
    on = newest(Subject.CHOICES, at) or newest(Subject.PATIENTS, at)
    day = Period(key="", name="", since=on or at.until, until=on or at.until)
    return Chosen(
        on=on,
        patients=sum(one.n for one in _all(Subject.PATIENTS, day)),
        choices=shown(_all(Subject.CHOICES, day, "what")),
        days=Shown(tuple(one for one in _all(Subject.CHOICES, at, "day", what=("any",)) if not one.small)),
        changes=_shown(Logged.CHOICES_CHANGED, at, at.step, "what"),
        counted_at=figure_sources.counted(("choices", "log")),
    )


def newest(subject: str, at: Period) -> date | None:
    """The last day of the period on which a state was counted. 1 statement."""
    found = Figure.objects.filter(subject=subject, day__range=(at.since, at.until)).order_by("-day")
    return found.values_list("day", flat=True).first()


# --- what participants send -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeds:
    """What each participant sent. Keys: (participant, field), (participant, delay), (participant, came), (participant, status).

    `records`: those in use and those one too many of their person, as last counted in the period.
    """

    record_fields: Shown
    document_fields: Shown
    document_fields_before: Shown
    delays: Shown
    feed_delays: Shown
    sent: Shown
    messages: Shown
    records: Shown
    counted_at: datetime | None

    def participants(self) -> list[str]:
        """Everybody there is a figure of."""
        some = (
            self.record_fields,
            self.document_fields,
            self.delays,
            self.feed_delays,
            self.sent,
            self.messages,
            self.records,
        )
        return sorted({str(cell.keys[0]) for one in some for cell in one.cells} - {"", "hub"})


def feeds(at: Period, organization: str = "") -> Feeds:
    """How complete and timely what they send is, and what failed. 10 statements."""
    only = {"participant": (organization,)} if organization else {}
    on = newest(Subject.RECORDS, at)
    day = Period(key="", name="", since=on or at.until, until=on or at.until)
    return Feeds(
        record_fields=_large(_all(Subject.RECORD_FIELDS, at, "participant", "what", **only)),
        document_fields=_large(_all(Subject.DOCUMENT_FIELDS, at, "participant", "what", **only)),
        document_fields_before=_large(_all(Subject.DOCUMENT_FIELDS, at.before, "participant", "what", **only)),
        delays=_shown(Subject.DELAYS, at, "participant", "what", **only),
        feed_delays=Shown(tuple(_all(Subject.FEED_DELAYS, at, "participant", "what", **only))),
        sent=_shown(Logged.REQUESTS, at, "participant", "other", what=SENDING, **only),
        messages=Shown(tuple(_all(Subject.MESSAGES, at, "participant", "what", **only))),
        records=Shown(
            tuple(one for one in _all(Subject.RECORDS, day, "participant", **only) if one.n >= figures.SMALLEST)
        ),
        counted_at=figure_sources.counted(("log", "links", "documents", "messages")),
    )


def _large(cells: Sequence[Cell]) -> Shown:
    """Shares of a field: every field of a participant is about the same records, and no sum over fields is shown."""
    return Shown(tuple(one for one in cells if not one.small), sum(one.small for one in cells))
