"""The filter bar of the log: a GET form that can be kept as a bookmark. Unreadable values count as not given."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any
from urllib.parse import urlencode

from django.utils.translation import gettext, gettext_noop, ngettext

from hie.exchange.access_log import Cursor, LogEntry, LogFilters, Part, Seen
from hie.faces.portal import dates

PERIODS = {"30": 30, "365": 365, "all": None}
RESULTS = {
    Seen.SEEN: gettext_noop("Shown"),
    Seen.PARTLY: gettext_noop("Partly shown"),
    Seen.REFUSED: gettext_noop("Refused"),
    Seen.EMERGENCY: gettext_noop("Emergency access"),
}
REASONS = {
    "TREAT": gettext_noop("To treat me"),
    "HPAYMT": gettext_noop("Payment"),
    "HOPERAT": gettext_noop("To run the hospital"),
    "HRESCH": gettext_noop("Research"),
    "PUBHLTH": gettext_noop("Public health"),
    "BTG": gettext_noop("Emergency"),
    "PATRQT": gettext_noop("I asked"),
    "HLEGAL": gettext_noop("A court"),
    "HMARKT": gettext_noop("Advertising"),
}
PARTS = {
    "": gettext_noop("Everyone"),
    Part.PEOPLE: gettext_noop("People and organizations"),
    Part.OWN: gettext_noop("You and your helpers"),
    Part.AUTOMATIC: gettext_noop("Automatic services"),
}
_NAMES = ("text", "period", "since", "until", "org", "person", "why", "kind", "doc", "result", "part")
_CURSOR = re.compile(r"^(\d{1,18})\.([0-9a-f-]{36})$")
_LONGEST = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One choice of a select."""

    value: str
    label: str
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A filter that is on, and the link that takes it off."""

    label: str
    without: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the address of the page asks for."""

    values: Mapping[str, str]
    before: Cursor | None = None
    more: bool = False  # whether every place, person, kind and document of the log is to be offered

    def get(self, name: str) -> str:
        """A value, "" when not given."""
        return self.values.get(name, "")

    @property
    def narrowed(self) -> bool:
        """Whether anything but the time is asked for."""
        return any(value for name, value in self.values.items() if name not in {"period", "part"})

    def query(self, **changes: str) -> str:
        """The address of the same page with changes, without its place in the list; starts with "?" or is "?"."""
        values = {**self.values, **changes}
        return "?" + urlencode({name: value for name, value in values.items() if value})

    def period(self, zone: tzinfo, now: datetime) -> tuple[datetime | None, datetime | None]:
        """From (inclusive) and until (exclusive), from dates when given, else the period."""
        first, last = _date(self.get("since")), _date(self.get("until"))
        if first or last:
            since = datetime.combine(first, time(), tzinfo=zone).astimezone(UTC) if first else None
            end = last + timedelta(days=1) if last and last < date.max else None
            until = datetime.combine(end, time(), tzinfo=zone).astimezone(UTC) if end else None
            return since, until
        days = PERIODS.get(self.get("period") or "30", 30)
        return (now - timedelta(days=days) if days else None), None

    def filters(
        self, zone: tzinfo, now: datetime, *, said: Callable[[LogEntry], str], everything: bool = False
    ) -> LogFilters:
        """As the exchange takes them; `said` is the text of a line that words are looked for in.

        The page shows what machines did on a tab of its own, so that they push nobody off it; `everything` holds both.
        """
        since, until = self.period(zone, now)
        return LogFilters(
            text=self.get("text"),
            organization=self.get("org"),
            person=self.get("person"),
            purpose=self.get("why"),
            kind=self.get("kind"),
            seen=Seen(self.get("result")) if self.get("result") else None,
            document=self.get("doc"),
            part=Part(self.get("part")) if self.get("part") else None if everything else Part.EVERYONE,
            words=said,
            since=since,
            until=until,
        )


def read(given: Mapping[str, str]) -> Asked:
    """The form as sent; what cannot be meant is dropped."""
    values = {name: given.get(name, "").replace("\0", "").strip()[:_LONGEST] for name in _NAMES}
    allowed: dict[str, Iterable[str]] = {"period": PERIODS, "result": [*RESULTS], "part": [*PARTS]}
    for name, known in allowed.items():
        if values[name] not in {str(one) for one in known}:
            values[name] = ""
    for name in ("since", "until"):
        if _date(values[name]) is None:
            values[name] = ""
    place = _CURSOR.match(given.get("before", ""))
    before = Cursor(at=_EPOCH + timedelta(microseconds=int(place[1])), id=place[2]) if place else None
    more = given.get("more") == "1" or any(values[name] for name in ("person", "kind"))
    return Asked(values={name: value for name, value in values.items() if value}, before=before, more=more)


def place(cursor: Cursor) -> str:
    """A cursor as the address carries it."""
    return f"{(cursor.at - _EPOCH) // timedelta(microseconds=1)}.{cursor.id}"


def periods(asked: Asked) -> list[Option]:
    """The select "Time"."""
    labels = {"30": gettext("Last 30 days"), "365": gettext("Last 12 months"), "all": gettext("All")}
    chosen = asked.get("period") or "30"
    return [Option(value=value, label=dates.digits(label), chosen=value == chosen) for value, label in labels.items()]


def table(known: Mapping[Any, str], chosen: str) -> list[Option]:
    """A select over a fixed table, "All" first."""
    rows = [
        Option(value=str(value), label=gettext(label), chosen=str(value) == chosen) for value, label in known.items()
    ]
    return [Option(value="", label=gettext("All"), chosen=not chosen), *rows]


def named(names: Iterable[str], chosen: str) -> list[Option]:
    """A select over names, and what is chosen though it is none of them."""
    held = list(names)
    return _select([(name, name) for name in (held if not chosen or chosen in held else [*held, chosen])], chosen)


def documents(held: Iterable[tuple[str, str]], chosen: str) -> list[Option]:
    """A select over documents by their titles."""
    pairs = list(held)
    known = not chosen or any(document == chosen for document, _ in pairs)
    return _select(pairs if known else [*pairs, (chosen, gettext("One document"))], chosen)


def _select(rows: Iterable[tuple[str, str]], chosen: str) -> list[Option]:
    options = [Option(value=value, label=label, chosen=value == chosen) for value, label in rows]
    return [Option(value="", label=gettext("All"), chosen=not chosen), *options]


def tabs(asked: Asked) -> list[tuple[str, str, bool]]:
    """Label, address and whether it is the current one, for each part of the log."""
    return [
        (gettext(label), asked.query(part=str(part)), str(part) == asked.get("part")) for part, label in PARTS.items()
    ]


def applied(asked: Asked, titles: Mapping[str, str]) -> list[Applied]:
    """Every filter that is on, with the address of the page without it; `titles` of documents by their ids."""
    on: list[Applied] = []
    for name, value in asked.values.items():
        if name == "part" or (name == "period" and (value == "30" or asked.get("since") or asked.get("until"))):
            continue
        label = titles.get(value) or gettext("One document") if name == "doc" else _label(name, value)
        on.append(Applied(label=label, without=asked.query(**{name: ""})))
    return on


def period_words(asked: Asked) -> str:
    """The time looked at, as the first words of the page."""
    chosen = asked.get("period") or "30"
    days = PERIODS[chosen]
    if days == 365:
        return dates.digits(gettext("In the last 12 months"))
    if days is None:
        return gettext("Since the start of this log")
    return dates.digits(ngettext("In the last {n} day", "In the last {n} days", days).format(n=days))


def _label(name: str, value: str) -> str:
    if name == "period":
        return next(option.label for option in periods(Asked(values={"period": value})) if option.chosen)
    if name == "result":
        return gettext(RESULTS[Seen(value)])
    if name == "why":
        return gettext(REASONS.get(value, value))
    day = _date(value) if name in {"since", "until"} else None
    if day:
        words = gettext("From {day}") if name == "since" else gettext("Until {day}")
        return words.format(day=dates.day(day))
    return value


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        return None
