"""Figures rolled up by day: counted once from what happened, so that a page reads sums and never the log.

A source of numbered rows is counted in batches, each in one transaction with the mark of how far it got: stopped
anywhere and run again, nothing is counted twice or left out. What commits late is not passed over: the log is counted in
the order of its seals, which only what is committed gets; other tables up to a number below which no transaction is
running any more. A source by days counts each day anew until nothing of it can change.

Patients are told apart by keyed hashes under the hub's own key of the log, at most `SMALLEST` a cell: what falls below it
is known exactly over any days, and no row grows with a busy day. A person whose records were joined since counts as two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from hie.audit import personal
from hie.audit.models import Figure, FigureMark
from hie.audit.recorder import HUB
from hie.standards.recordset import recordset

SMALLEST = 11
"""Fewer people than this are not shown as a group."""
BATCH = 5000
SETTLES_AFTER = timedelta(seconds=5)
"""What a row may need from its number to the first trace of its transaction."""
SIDES = ("participant", "purpose", "what", "other")
_PERIODS = {"day": "day", "month": "date_trunc('month', day)::date"}

Key = tuple[str, date, str, str, str, str]


class Tally:
    """What a batch adds: cells by subject, day and sides."""

    def __init__(self) -> None:
        self.cells: dict[Key, tuple[int, int]] = {}
        self.people: dict[Key, set[int]] = {}
        self._hashes: dict[UUID, int] = {}
        self._secret = b""

    def add(
        self,
        subject: str,
        day: date,
        *,
        participant: str = "",
        purpose: str = "",
        what: str = "",
        other: str = "",
        n: int = 1,
        total: int = 0,
        people: Iterable[UUID | None] = (),
    ) -> None:
        """Add to one cell; `people` are those it is about, as far as known."""
        key = (subject, day, participant, purpose, what, other)
        before = self.cells.get(key, (0, 0))
        self.cells[key] = (before[0] + n, before[1] + total)
        known = self.people.setdefault(key, set())
        for person in people:
            if person is not None and len(known) < SMALLEST:
                known.add(self._hash(person))

    def _hash(self, person: UUID) -> int:
        found = self._hashes.get(person)
        if found is None:
            found = self._hashes[person] = int.from_bytes(
                hashlib.blake2b(person.bytes, key=self._key(), digest_size=8, person=b"figures").digest(),
                "big",
                signed=True,
            )
        return found

    def _key(self) -> bytes:
        if not self._secret:
            kept = personal.keys_for([HUB], connection, datetime.now(UTC))[HUB].secret
            # A hub whose own key was destroyed tells people apart by a key that is nobody's secret: cells stay right.
            self._secret = kept or HUB.encode()
        return self._secret[:64]

    def store(self) -> None:
        """Add all of it to the figures; one statement a thousand cells, in one order so that two never wait in a ring."""
        keys = sorted(self.cells)
        for start in range(0, len(keys), 1000):
            part = [(*key, *self.cells[key], sorted(self.people.get(key, ()))) for key in keys[start : start + 1000]]
            with connection.cursor() as cursor:
                cursor.execute(_ADD, {"rows": recordset(_COLUMNS, part), "most": SMALLEST})


_COLUMNS = ("subject", "day", *SIDES, "n", "total", "people")
_ADD = """
INSERT INTO audit_figure AS f (subject, day, participant, purpose, what, other, n, total, people)
SELECT subject, day, participant, purpose, what, other, n, total, people
  FROM json_to_recordset(%(rows)s) AS r(
       subject text, day date, participant text, purpose text, what text, other text, n bigint, total bigint, people bigint[])
ON CONFLICT (subject, day, participant, purpose, what, other) DO UPDATE
   SET n = f.n + EXCLUDED.n, total = f.total + EXCLUDED.total,
       people = CASE WHEN cardinality(f.people) >= %(most)s THEN f.people
                     ELSE ARRAY(SELECT DISTINCT h FROM unnest(f.people || EXCLUDED.people) AS h ORDER BY h LIMIT %(most)s) END
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """Rows that are only added and carry a rising number.

    `newest` is SQL for the highest number there is. `tally(after, upto, tally)` adds the rows of these numbers, each to
    the day it tells of. `in_order`: a number is given only to what is committed, so there is nothing to wait for.
    """

    name: str
    newest: str
    tally: Callable[[int, int, Tally], None]
    in_order: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Daily:
    """Rows that change for a while: each day is counted anew until `settles_after` its end.

    `oldest` is SQL for the first instant there is anything of; `tally(day, tally)` adds the rows of a day, to `subjects`.
    """

    name: str
    subjects: Collection[str]
    oldest: str
    settles_after: timedelta
    tally: Callable[[date, Tally], None]


def carry_on(source: Numbered, *, batch: int = BATCH) -> int:
    """Count one batch more; how many numbers that was. 0: all that is settled is counted, or somebody else counts it."""
    with transaction.atomic():
        mark = _mark(source.name)
        if mark is None:
            return 0
        settled = _settled(source, mark)
        upto = min(settled, mark.counted + batch)
        advanced = max(0, upto - mark.counted)
        if advanced:
            tally = Tally()
            source.tally(mark.counted, upto, tally)
            tally.store()
            mark.counted = upto
        if upto >= settled:
            mark.counted_at = datetime.now(UTC)
        mark.save()
    return advanced


def recount(source: Daily, *, now: datetime | None = None) -> int:
    """Count every day that can still change anew, each in a transaction of its own; how many days that was."""
    at = now or datetime.now(UTC)
    days = 0
    while _recount_one(source, at):
        days += 1
    return days


def _recount_one(source: Daily, at: datetime) -> bool:
    with transaction.atomic():
        mark = _mark(source.name)
        if mark is None:
            return False
        if mark.counted == 0:
            oldest = _first(source.oldest)
            if oldest is None:
                mark.counted_at = at
                mark.save()
                return False
            mark.counted = oldest.astimezone(UTC).date().toordinal() - 1
        open_days = [
            one for one in range(mark.counted + 1, at.date().toordinal() + 1) if mark.seen is None or one > mark.seen
        ]
        if not open_days:
            # One round is over: `seen`, the last day of the round, is taken back so that the next begins at the first.
            mark.seen, mark.counted_at = None, at
            mark.save()
            return False
        day = date.fromordinal(open_days[0])
        replace(source.subjects, day, lambda tally: source.tally(day, tally))
        if datetime.combine(day + timedelta(days=1), time.min, UTC) + source.settles_after < at:
            mark.counted = day.toordinal()
        mark.seen = day.toordinal()
        mark.save()
    return True


def replace(subjects: Collection[str], day: date, fill: Callable[[Tally], None]) -> None:
    """Put what `fill` adds in the place of the figures of these subjects of a day, in one transaction."""
    with transaction.atomic():
        Figure.objects.filter(subject__in=subjects, day=day).delete()
        tally = Tally()
        fill(tally)
        tally.store()


def state(source: str, subjects: Collection[str], fill: Callable[[Tally], None], *, every: timedelta) -> bool:
    """Count a state of now as that of today, unless that was done within `every`; whether it was counted.

    The last count of a day stands for the day.
    """
    now = datetime.now(UTC)
    with transaction.atomic():
        mark = _mark(source)
        if mark is None or (mark.counted_at is not None and mark.counted_at > now - every):
            return False
        replace(subjects, now.date(), fill)
        mark.counted_at = now
        mark.save()
    return True


def _mark(source: str) -> FigureMark | None:
    """The mark of a source, locked to the end of the transaction; None while another process counts it."""
    FigureMark.objects.bulk_create([FigureMark(source=source)], ignore_conflicts=True)
    return FigureMark.objects.select_for_update(skip_locked=True).filter(pk=source).first()


def _settled(source: Numbered, mark: FigureMark) -> int:
    """Up to which number every row there will ever be is visible."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT coalesce(({source.newest}), 0), pg_snapshot_xmin(pg_current_snapshot())::text::bigint,"
            " pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
        )
        newest, xmin, xmax = cursor.fetchone()
    if source.in_order:
        return int(newest)
    now = datetime.now(UTC)
    if mark.seen is not None and mark.horizon is not None and mark.seen_at is not None and mark.seen > mark.counted:
        return mark.seen if xmin >= mark.horizon and now - mark.seen_at >= SETTLES_AFTER else mark.counted
    mark.seen, mark.horizon, mark.seen_at = newest, xmax, now
    return mark.counted


def _first(sql: str) -> datetime | None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        found: datetime | None = cursor.fetchone()[0]
    return found


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The sum of some figures. `keys` are the sides asked for, in order; a day as a date.

    `people` are the hashes of all people concerned, or None: `SMALLEST` or more.
    """

    keys: tuple[Any, ...]
    n: int
    total: int
    people: frozenset[int] | None

    @property
    def small(self) -> bool:
        """Whether fewer people are concerned than may be shown as a group."""
        return self.people is not None


def cells(
    subject: str, since: date, until: date, *, by: Sequence[str] = (), only: Mapping[str, Sequence[str]] | None = None
) -> list[Cell]:
    """Sums from `since` to `until` (both days included), a cell for each value of `by` there is; ordered by it. One statement.

    `by` names sides, and ``day`` or ``month``; `only` narrows sides to some values.
    """
    names = [f"{_PERIODS.get(name, name)} AS k{n}" for n, name in enumerate(by)] or ["'' AS k0"]
    unknown = set(by) - {*SIDES, *_PERIODS} | set(only or ()) - set(SIDES)
    if unknown:
        raise ValueError(f"no such side: {', '.join(sorted(unknown))}")
    keys = ", ".join(f"k{n}" for n in range(len(names)))
    narrowed = "".join(f" AND {side} = ANY(%({side})s)" for side in (only or {}))
    values: dict[str, Any] = {"subject": subject, "since": since, "until": until, "most": SMALLEST} | {
        side: list(some) for side, some in (only or {}).items()
    }
    with connection.cursor() as cursor:
        cursor.execute(
            # Only cells that no day alone makes large enough need their people counted over the days.
            f"""
WITH narrowed AS MATERIALIZED (
     SELECT {", ".join(names)}, n, total, people FROM audit_figure
      WHERE subject = %(subject)s AND day BETWEEN %(since)s AND %(until)s{narrowed}),
     sums AS (SELECT {keys}, sum(n)::bigint AS n, sum(total)::bigint AS total, max(cardinality(people)) AS most FROM narrowed GROUP BY {keys}),
     few AS (SELECT {keys}, array_agg(DISTINCT h) AS people
               FROM narrowed JOIN sums USING ({keys}) CROSS JOIN LATERAL unnest(narrowed.people) AS h
              WHERE sums.most < %(most)s GROUP BY {keys})
SELECT {keys}, n, total, most >= %(most)s OR coalesce(cardinality(people), 0) >= %(most)s, coalesce(people, '{{}}')
  FROM sums LEFT JOIN few USING ({keys}) ORDER BY {keys}
""",  # noqa: S608  names of a fixed set
            values,
        )
        rows = cursor.fetchall()
    return [
        Cell(keys=tuple(row[: len(by)]), n=row[-4], total=row[-3], people=None if row[-2] else frozenset(row[-1]))
        for row in rows
    ]


def counted_at(sources: Collection[str]) -> datetime | None:
    """Up to when all of these sources are counted; None while one of them never was."""
    found = dict(FigureMark.objects.filter(source__in=sources).values_list("source", "counted_at"))
    instants = [found.get(one) for one in sources]
    known = [one for one in instants if one is not None]
    return min(known) if len(known) == len(instants) and known else None
