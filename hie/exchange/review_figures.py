"""How the review queue and the links are doing: ages, throughput, links a day, estimates of error, duplicates, drift.

Every figure is counted from rows when it is asked for, and says of how many; what cannot be known is None, never 0.
An estimate says whose it is: the model's own, which is known to be too low, or that of stewards who looked at a
random sample. 10 statements, of which those over all links cost about a second a million.

Source: spec/mpi.md sections 3 (Guard) and 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import log, sqrt
from typing import Any

from django.utils import timezone

from hie.directory import queries as directory
from hie.exchange import review_list
from hie.exchange.review_stakes import reads
from patients.matching import AUTOMATIC_BITS

DAYS = 14
DRIFT_DAYS = 28
FEWEST = 50
"""Fewer links than this in either period say nothing of drift."""
AGE_WORDS = ("Up to a day", "1 to 7 days", "7 to 30 days", "More than 30 days")
BANDS = ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.01))
BITS = (15.0, 20.0, 25.0, 30.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ages:
    """Cases of one kind that wait, by how long; `AGE_WORDS` names the counts."""

    kind: str
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """All of the kind."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One day: cases that came, cases decided, links that the machine made."""

    day: date
    came: int
    decided: int
    linked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """`part` of `whole`, with the interval in which the true share lies 95 times in 100; None where there is none."""

    part: float
    whole: float
    low: float | None = None
    high: float | None = None

    @property
    def share(self) -> float | None:
        """Between 0 and 1; None of nothing."""
        return self.part / self.whole if self.whole else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Possible matches of one band of probability that stewards decided: what the model said, what they said."""

    low: float
    high: float
    decided: int
    expected: float
    same: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One organization: its records in use, how many of them are one too many of their person, links by day."""

    name: str
    records: int
    surplus: int
    links: tuple[int, ...]

    @property
    def linked(self) -> int:
        """Links in the period."""
        return sum(self.links)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How the scores of automatic links are spread, lately and before; `index` is None where either is too few."""

    words: tuple[str, ...]
    lately: tuple[int, ...]
    before: tuple[int, ...]
    index: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All of them, as counted `at`. Shares of wrong links are of the automatic ones in force."""

    at: datetime
    ages: tuple[Ages, ...]
    second: int
    put_off: int
    days: tuple[Day, ...]
    median: timedelta | None
    false_by_model: Share
    false_by_sample: Share
    sample_waits: int
    missed: Share
    bands: tuple[Band, ...]
    sources: tuple[Source, ...]
    drift: Drift


_AGES = """
SELECT q.kind, count(*) FILTER (WHERE q.created_at > %(day)s),
       count(*) FILTER (WHERE q.created_at <= %(day)s AND q.created_at > %(week)s),
       count(*) FILTER (WHERE q.created_at <= %(week)s AND q.created_at > %(month)s),
       count(*) FILTER (WHERE q.created_at <= %(month)s),
       count(*) FILTER (WHERE q.proposed <> ''), count(*) FILTER (WHERE q.sampled),
       coalesce(sum(q.probability) FILTER (WHERE q.kind = 'possible-match'), 0)
  FROM patients_reviewitem q
 WHERE q.status IN ('open', 'deferred') AND NOT (q.status = 'deferred' AND coalesce(q.deferred_until, %(now)s) > %(now)s)
 GROUP BY q.kind
"""
_PUT_OFF = "SELECT count(*) FROM patients_reviewitem WHERE status = 'deferred' AND deferred_until > %(now)s"
_CAME = """
SELECT (created_at AT TIME ZONE 'UTC')::date, count(*) FROM patients_reviewitem
 WHERE created_at >= %(since)s AND NOT sampled GROUP BY 1
"""
_DECIDED = """
SELECT (t.at AT TIME ZONE 'UTC')::date, count(*),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM t.at - q.created_at)), grouping((t.at AT TIME ZONE 'UTC')::date)
  FROM patients_reviewact t JOIN patients_reviewitem q ON q.id = t.item_id
 WHERE t.kind IN ('decided', 'confirmed') AND t.at >= %(since)s GROUP BY GROUPING SETS (((t.at AT TIME ZONE 'UTC')::date), ())
"""
_LINKED = """
SELECT r.participant_id, (l.valid_from AT TIME ZONE 'UTC')::date, count(*) FROM patients_link l
  JOIN patients_sourcerecord r ON r.id = l.source_record_id
 WHERE l.kind = 'auto' AND l.score IS NOT NULL AND l.valid_from >= %(since)s GROUP BY 1, 2
"""
_SOURCES = """
SELECT r.participant_id, count(*), count(*) - count(DISTINCT l.person_id) FROM patients_link l
  JOIN patients_sourcerecord r ON r.id = l.source_record_id AND r.status = 'active' AND r.participant_id <> 'hub'
 WHERE l.valid_to IS NULL AND l.kind <> 'rejected' GROUP BY 1
"""
_SCORES = """
SELECT count(*), coalesce(sum(1 / (1 + power(2, least(l.score, 60)))), 0)
  FROM patients_link l WHERE l.kind = 'auto' AND l.score IS NOT NULL AND l.valid_to IS NULL
"""
_REVIEWED = """
SELECT q.sampled, q.decision, q.probability FROM patients_reviewitem q
 WHERE q.status = 'decided' AND q.decision IN ('same', 'link', 'different') AND q.probability IS NOT NULL
   AND (q.sampled OR q.kind = 'possible-match') AND q.decided_by LIKE 'Staff/%%'
"""
_DRIFT = """
SELECT width_bucket(l.score::double precision, %(bits)s::double precision[]), count(*) FILTER (WHERE l.valid_from >= %(recent)s),
       count(*) FILTER (WHERE l.valid_from < %(recent)s)
  FROM patients_link l
 WHERE l.kind = 'auto' AND l.score IS NOT NULL AND l.valid_from >= %(earlier)s GROUP BY 1
"""


def figures(now: datetime | None = None) -> Figures:
    """Everything the page shows."""
    at = now or timezone.now()
    first = at.date() - timedelta(days=DAYS - 1)
    values: dict[str, Any] = {
        "now": at, "day": at - timedelta(days=1), "week": at - timedelta(days=7), "month": at - timedelta(days=30),
        "since": datetime(first.year, first.month, first.day, tzinfo=at.tzinfo), "bits": list(BITS),
        "recent": at - timedelta(days=DRIFT_DAYS), "earlier": at - timedelta(days=2 * DRIFT_DAYS),
    }  # fmt: skip
    waiting = {row[0]: row for row in reads(_AGES, values)}
    ages = tuple(
        Ages(kind=words, counts=tuple(waiting[kind][1:5]) if kind in waiting else (0, 0, 0, 0))
        for kind, words in review_list.KIND_WORDS.items()
    )
    came = dict(reads(_CAME, values))
    rows = reads(_DECIDED, values)
    decided = {row[0]: row[1] for row in rows if not row[3]}
    median = next((row[2] for row in rows if row[3]), None)
    linked: dict[str, dict[date, int]] = {}
    for participant, day, count in reads(_LINKED, values):
        linked.setdefault(participant, {})[day] = count
    days = [first + timedelta(days=n) for n in range(DAYS)]
    links, wrong = reads(_SCORES, values)[0]
    reviewed = reads(_REVIEWED, values)
    sampled = [decision == "different" for drawn, decision, _ in reviewed if drawn]
    expected = sum(row[7] for row in waiting.values())
    return Figures(
        at=at,
        ages=ages,
        second=sum(row[5] for row in waiting.values()),
        put_off=reads(_PUT_OFF, values)[0][0],
        days=tuple(
            Day(
                day=day,
                came=came.get(day, 0),
                decided=decided.get(day, 0),
                linked=sum(some.get(day, 0) for some in linked.values()),
            )
            for day in days
        ),
        median=None if median is None else timedelta(seconds=float(median)),
        false_by_model=Share(part=wrong, whole=links),
        false_by_sample=_interval(sum(sampled), len(sampled)),
        sample_waits=sum(row[6] for row in waiting.values()),
        missed=Share(part=expected, whole=links + expected),
        bands=tuple(_bands([(row[2], row[1]) for row in reviewed if not row[0]])),
        sources=tuple(_sources(reads(_SOURCES, values), linked, days)),
        drift=_drift(reads(_DRIFT, values)),
    )


def _interval(part: int, whole: int) -> Share:
    """Wilson's interval: it holds for few cases, and for none wrong, as well."""
    if not whole:
        return Share(part=0, whole=0)
    z, share = 1.96, part / whole
    middle = (share + z * z / (2 * whole)) / (1 + z * z / whole)
    spread = z * sqrt(share * (1 - share) / whole + z * z / (4 * whole * whole)) / (1 + z * z / whole)
    return Share(part=part, whole=whole, low=max(0.0, middle - spread), high=min(1.0, middle + spread))


def _bands(reviewed: Sequence[tuple[float, str]]) -> list[Band]:
    found = []
    for low, high in BANDS:
        here = [(chance, said in ("same", "link")) for chance, said in reviewed if low <= chance < high]
        found.append(
            Band(
                low=low,
                high=min(1.0, high),
                decided=len(here),
                expected=sum(chance for chance, _ in here),
                same=sum(same for _, same in here),
            )
        )
    return found


def _sources(
    rows: Sequence[tuple[Any, ...]], linked: Mapping[str, Mapping[date, int]], days: Sequence[date]
) -> list[Source]:
    names = directory.participants()
    found = {participant: (records, surplus) for participant, records, surplus in rows}
    out = [
        Source(
            name=names[one].name if one in names else one,
            records=found.get(one, (0, 0))[0],
            surplus=found.get(one, (0, 0))[1],
            links=tuple(linked.get(one, {}).get(day, 0) for day in days),
        )
        for one in {*found, *linked}
    ]
    return sorted(out, key=lambda source: (-source.records, source.name))


def _drift(rows: Sequence[tuple[Any, ...]]) -> Drift:
    lately, before = [0] * (len(BITS) + 1), [0] * (len(BITS) + 1)
    for bucket, recent, earlier in rows:
        lately[bucket], before[bucket] = recent, earlier
    edges = [AUTOMATIC_BITS, *BITS]
    words = [f"{low:.0f} to {high:.0f} bits" for low, high in zip(edges, BITS, strict=False)]
    return Drift(
        words=(*words, f"{BITS[-1]:.0f} bits and more"),
        lately=tuple(lately),
        before=tuple(before),
        index=stability(lately, before) if min(sum(lately), sum(before)) >= FEWEST else None,
    )


def stability(lately: Sequence[int], before: Sequence[int]) -> float:
    """The population stability index of two spreads over the same buckets: 0 for equal ones.

    An empty bucket counts as half a case, so that one new bucket is a finite change.
    """
    sums = sum(max(n, 0.5) for n in lately), sum(max(n, 0.5) for n in before)
    shares = [(max(a, 0.5) / sums[0], max(b, 0.5) / sums[1]) for a, b in zip(lately, before, strict=True)]
    return sum((a - b) * log(a / b) for a, b in shares)
