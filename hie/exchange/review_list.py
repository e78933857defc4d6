"""The review queue as a list: what waits, by what is at stake, and who works on it. Nobody's name is read here.

Source: spec/mpi.md section 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.utils import timezone

from hie.directory import queries as directory
from hie.exchange import review_stakes
from patients.models import ReviewAct, ReviewItem

PAGE = 20
STATES = ("waiting", "mine", "second", "deferred")
AGES: Mapping[str, timedelta] = {"1": timedelta(days=1), "7": timedelta(days=7), "30": timedelta(days=30)}
OWNERS = ("free", "me", "others")
KIND_WORDS: Mapping[str, str] = {
    ReviewItem.Kind.POSSIBLE_MATCH: "Possible match",
    ReviewItem.Kind.OVERLAY: "Number used for somebody else?",
    ReviewItem.Kind.DOUBTFUL_LINK: "Doubtful link",
    ReviewItem.Kind.DUPLICATE_RESOLVED: "Duplicate resolved by an organization",
    ReviewItem.Kind.PARTING: "Records of somebody else?",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowed:
    """How the list is narrowed. Anything that is no such word counts as "" (not narrowed)."""

    state: str = "waiting"
    kind: str = ""
    owner: str = ""
    age: str = ""
    page: int = 1

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Narrowed:
        """From the words of an address."""

        def one(name: str, known: Sequence[str], otherwise: str = "") -> str:
            return value if (value := query.get(name, "")) in known else otherwise

        page = query.get("page", "1")
        return cls(
            state=one("state", STATES, "waiting"),
            kind=one("kind", list(ReviewItem.Kind)),
            owner=one("owner", OWNERS),
            age=one("age", list(AGES)),
            page=min(10_000, max(1, int(page))) if page.isascii() and page.isdigit() else 1,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One case of the list. `chance` that things are wrong as they stand, 0 to 1; `stake` = chance × `documents`."""

    item_id: int
    kind: str
    since: datetime
    chance: float
    documents: int
    stake: float
    records: int
    organizations: tuple[str, ...]
    claimed_by: str
    claimed_until: datetime | None
    deferred_until: datetime | None
    proposed_by: str
    sampled: bool

    @property
    def words(self) -> str:
        """The kind in words."""
        return "Link drawn at random" if self.sampled else KIND_WORDS[self.kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A page of the queue. `counts` by state, and by kind under ``kind``, of all that waits; `total` is what is narrowed to."""

    cases: tuple[Waiting, ...]
    narrowed: Narrowed
    total: int
    counts: Mapping[str, int]
    kinds: Mapping[str, int]
    oldest: datetime | None
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def pages(self) -> int:
        """How many pages there are, one at least."""
        return max(1, -(-self.total // PAGE))


_LIVE = "q.claimed_by <> '' AND q.claimed_until > %(now)s"
_WAITS = (
    "q.status IN ('open', 'deferred') AND NOT (q.status = 'deferred' AND coalesce(q.deferred_until, %(now)s) > %(now)s)"
)
_LATER = "q.status = 'deferred' AND q.deferred_until > %(now)s"
_STATE = {
    "waiting": _WAITS,
    "mine": f"{_WAITS} AND {_LIVE} AND q.claimed_by = %(actor)s",
    "second": f"{_WAITS} AND q.proposed <> ''",
    "deferred": _LATER,
}
_OWNER = {
    "free": f"NOT ({_LIVE})",
    "me": f"({_LIVE} AND q.claimed_by = %(actor)s)",
    "others": f"({_LIVE} AND q.claimed_by <> %(actor)s)",
}
_COUNTS = f"""
SELECT count(*) FILTER (WHERE {_STATE["waiting"]}), count(*) FILTER (WHERE {_STATE["mine"]}),
       count(*) FILTER (WHERE {_STATE["second"]}), count(*) FILTER (WHERE {_STATE["deferred"]}),
       min(q.created_at) FILTER (WHERE {_WAITS}), q.kind
  FROM patients_reviewitem q WHERE q.status IN ('open', 'deferred') GROUP BY q.kind
"""  # noqa: S608  # constants only
_STAKES = f"""
SELECT q.id, q.created_at, {review_stakes.CHANCE} AS chance, d.documents, count(*) OVER () AS total,
       ({review_stakes.CHANCE}) * d.documents AS stake
  FROM patients_reviewitem q {review_stakes.SIDES}
  CROSS JOIN LATERAL (SELECT count(*) AS documents FROM documents_documententry e
    JOIN patients_patientidentifier i ON i.id = e.patient_identifier_id
   WHERE i.source_record_id IN ({review_stakes.RECORDS})) d
 WHERE {{where}}
 ORDER BY stake DESC, chance DESC, q.created_at, q.id LIMIT %(limit)s OFFSET %(offset)s
"""  # noqa: S608  # constants only
_LIST = f"""
WITH s AS ({_STAKES})
SELECT q.id, q.kind, q.created_at, s.chance, s.documents, s.stake, n.records, n.organizations, q.claimed_by,
       q.claimed_until, q.deferred_until, q.proposed_by, q.sampled, s.total
  FROM s JOIN patients_reviewitem q ON q.id = s.id {review_stakes.SIDES}
  CROSS JOIN LATERAL (SELECT count(*) AS records, array_agg(DISTINCT r.participant_id) AS organizations
    FROM patients_sourcerecord r WHERE r.status = 'active' AND r.participant_id <> 'hub'
     AND r.id IN ({review_stakes.MEMBERS})) n
 ORDER BY s.stake DESC, s.chance DESC, q.created_at, q.id
"""  # noqa: S608  # constants only
_ORDER = f"SELECT o.id FROM ({_STAKES}) o"  # noqa: S608  # constants only


def listed(narrowed: Narrowed, *, actor: str, now: datetime | None = None) -> Listed:
    """One page of the queue, what is most at stake first. 3 statements, whatever waits."""
    at = now or timezone.now()
    values: dict[str, Any] = {"now": at, "actor": actor}
    counts, kinds, oldest = dict.fromkeys(STATES, 0), dict.fromkeys(KIND_WORDS, 0), None
    for waiting, mine, second, deferred, first, kind in review_stakes.reads(_COUNTS, values):
        for state, count in zip(STATES, (waiting, mine, second, deferred), strict=True):
            counts[state] += count
        kinds[kind] = waiting
        oldest = min(filter(None, (oldest, first)), default=None)
    where = _where(narrowed, values, at)
    values |= {"limit": PAGE, "offset": (narrowed.page - 1) * PAGE}
    rows = review_stakes.reads(_LIST.format(where=where), values)
    if not rows and narrowed.page > 1:
        return listed(replace(narrowed, page=1), actor=actor, now=at)
    names = directory.participants()
    cases = tuple(_waiting(row, names) for row in rows)
    people = {case.claimed_by for case in cases} | {case.proposed_by for case in cases}
    return Listed(
        cases=cases,
        narrowed=narrowed,
        total=rows[0][13] if rows else 0,
        counts=counts,
        kinds=kinds,
        oldest=oldest,
        names=names_of(people),
    )


def in_order(narrowed: Narrowed, *, actor: str, after: int | None = None, limit: int = 50) -> list[int]:
    """The items that somebody could take next, in the order of the list, without `after`. 1 statement."""
    at = timezone.now()
    values: dict[str, Any] = {"now": at, "actor": actor, "limit": limit, "offset": 0, "after": after or 0}
    open_to_me = f"AND NOT ({_LIVE} AND q.claimed_by <> %(actor)s) AND q.proposed_by <> %(actor)s AND q.id <> %(after)s"
    where = _where(narrowed, values, at) + open_to_me
    return [row[0] for row in review_stakes.reads(_ORDER.format(where=where), values)]


def names_of(actors: set[str]) -> dict[str, str]:
    """The names of members of staff by the id that the log calls them (``Staff/ida``). 1 statement."""
    ids = {actor.removeprefix("Staff/"): actor for actor in actors if actor.startswith("Staff/")}
    users = get_user_model().objects.filter(username__in=ids).order_by("pk") if ids else ()
    return {ids[user.get_username()]: user.get_full_name() or user.get_username() for user in users}


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing a steward did with a case. `undoable`: it is the last word on its item, and can be taken back."""

    item_id: int
    kind: str
    item_kind: str
    verdict: str
    actor: str
    name: str
    reason: str
    at: datetime
    undoable: bool = False


UNDOABLE = (
    ReviewAct.Kind.DECIDED,
    ReviewAct.Kind.CONFIRMED,
    ReviewAct.Kind.DEFERRED,
    ReviewAct.Kind.PROPOSED,
)


def acts(*, actor: str = "", item_id: int | None = None, me: str = "", limit: int = 50) -> list[Act]:
    """What was done, newest first: by one steward, with one item, or by all. 3 statements."""
    rows = ReviewAct.objects.select_related("item")
    if actor:
        rows = rows.filter(actor=actor)
    if item_id is not None:
        rows = rows.filter(item=item_id)
    found = list(rows.order_by("-at", "-pk")[:limit])
    last: dict[int, int] = {}
    for item, act in ReviewAct.objects.filter(item__in={row.item_id for row in found}).order_by("at", "pk").values_list("item", "pk"):  # fmt: skip
        last[item] = act
    names = names_of({row.actor for row in found})
    return [
        Act(
            item_id=row.item_id,
            kind=row.kind,
            item_kind=row.item.kind,
            verdict=row.verdict,
            actor=row.actor,
            name=names.get(row.actor, row.actor),
            reason=row.reason,
            at=row.at,
            undoable=last.get(row.item_id) == row.pk and row.kind in UNDOABLE and _may_undo(row, me),
        )
        for row in found
    ]


def _may_undo(row: ReviewAct, me: str) -> bool:
    # A proposal is withdrawn by whoever made it; anybody else rejects it.
    return row.kind != ReviewAct.Kind.PROPOSED or row.actor == me


def _where(narrowed: Narrowed, values: dict[str, Any], at: datetime) -> str:
    clauses = [_STATE[narrowed.state]]
    if narrowed.kind:
        values["kind"] = narrowed.kind
        clauses.append("q.kind = %(kind)s")
    if narrowed.owner:
        clauses.append(_OWNER[narrowed.owner])
    if narrowed.age:
        values["before"] = at - AGES[narrowed.age]
        clauses.append("q.created_at < %(before)s")
    return " AND ".join(clauses) + " "


def _waiting(row: Sequence[Any], names: Mapping[str, Any]) -> Waiting:
    return Waiting(
        item_id=row[0],
        kind=row[1],
        since=row[2],
        chance=row[3],
        documents=row[4],
        stake=row[5],
        records=row[6],
        organizations=tuple(names[one].name if one in names else one for one in row[7] or ()),
        claimed_by=row[8],
        claimed_until=row[9],
        deferred_until=row[10],
        proposed_by=row[11],
        sampled=row[12],
    )
