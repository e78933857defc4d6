"""Checking the log, or an export of it: everything is computed again, the first bad row is named.

Each place of the log states a number (inside its hash), a leaf and a chain value.
What does not fit is told apart by what does: a row whose content fits another number
was moved; a gap in the numbers is a removal; a row that its successor does not build
on was put in; content that fits no number was changed; a log that fits itself but not
a signed checkpoint had its tail rewritten or cut. An event removed at the end of its
time, as the log itself says (`hie.audit.retired`), is not missing: its seal stands for it.

Source: spec/consent.md 17, design of `verify_audit`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from django.db import connection

from hie.audit import checkpoints, keys, log
from hie.audit.checkpoints import BadCheckpoint, Note
from hie.audit.kinds import EventType
from hie.audit.merkle import Frontier, leaf_hash
from hie.audit.retired import Removals

UNSEALED_AFTER_S = 60
EXPORT_FORMAT = "hie-audit-export/1"


class Kind(StrEnum):
    """What is wrong with the first bad row."""

    CHANGED = "changed"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    REWRITTEN_TAIL = "rewritten-tail"
    UNSEALED = "unsealed"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstBad:
    """Where the log first fails; `seq` None for an event that was never sealed."""

    seq: int | None
    event_id: str | None
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The answer of `verify_audit`."""

    events: int
    checkpoints: int
    first_bad: FirstBad | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.first_bad is None

    def as_json(self) -> dict[str, Any]:
        """``{"ok", "events", "checkpoints", "first_bad"}``."""
        bad = self.first_bad
        return {
            "ok": self.ok,
            "events": self.events,
            "checkpoints": self.checkpoints,
            "first_bad": None if bad is None else {"seq": bad.seq, "event_id": bad.event_id, "kind": str(bad.kind)},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One row as found. `own` is the number its content states where leaf and content agree, else None.

    `stated` is the number the row claims; `intact` False when it could not even be read.
    """

    stated: int | None
    own: int | None
    event_id: str | None
    leaf: bytes
    chain: bytes
    missing_event: bool = False


class _Failed(Exception):
    def __init__(self, bad: FirstBad) -> None:
        super().__init__(str(bad))
        self.bad = bad


@dataclass(slots=True)
class _Walk:
    """One pass over the rows in their order, checking chain, numbers and the signed checkpoints on the way."""

    notes: dict[int, list[Note]]
    holds: Callable[[int], bool]  # whether some row later on states this number itself
    seq: int = 0
    chain: bytes = log.GENESIS
    before: bytes = log.GENESIS  # chain value one row earlier
    last_id: str | None = None
    frontier: Frontier = field(default_factory=Frontier)
    good: int = 0  # size of the last checkpoint that fitted
    checked: int = 0
    suspect: FirstBad | None = None

    def step(self, place: Place, following: Place | None) -> None:
        """Check one row; raises _Failed at the first that does not fit."""
        expected = self.seq + 1
        follows = log.chain_hash(self.chain, place.leaf) == place.chain
        if place.missing_event:
            raise _Failed(FirstBad(seq=expected, event_id=place.event_id, kind=Kind.REMOVED))
        if not (follows and place.own == expected and place.stated == expected):
            raise _Failed(self._explain(place, following, expected))
        self.before, self.chain, self.seq, self.last_id = self.chain, place.chain, expected, place.event_id
        self.frontier.add(place.leaf)
        self._checkpoint(expected)

    def _explain(self, place: Place, following: Place | None, expected: int) -> FirstBad:
        if self.seq and log.chain_hash(self.before, place.leaf) == place.chain:
            # This row builds on the one before the last: the last was put in between.
            return FirstBad(seq=self.seq, event_id=self.last_id, kind=Kind.INSERTED)
        if following is not None and log.chain_hash(self.chain, following.leaf) == following.chain:
            # The next row is the one that belongs here.
            if place.own is not None and place.own > expected and place.own != following.own:
                return FirstBad(seq=expected, event_id=place.event_id, kind=Kind.REORDERED)
            return FirstBad(seq=expected, event_id=place.event_id, kind=Kind.INSERTED)
        number = place.own if place.own is not None else place.stated
        if number is not None and number > expected:
            kind = Kind.REORDERED if self.holds(expected) else Kind.REMOVED
            # A removed row has no id left to name; a moved one is named by what stands in its place.
            return FirstBad(seq=expected, event_id=place.event_id if kind is Kind.REORDERED else None, kind=kind)
        if number is not None and number < expected:
            return FirstBad(seq=expected, event_id=place.event_id, kind=Kind.INSERTED)
        return FirstBad(seq=expected, event_id=place.event_id, kind=Kind.CHANGED)

    def _checkpoint(self, size: int) -> None:
        for note in self.notes.pop(size, ()):
            if note.root != self.frontier.root() or note.chain != self.chain:
                raise _Failed(FirstBad(seq=self.good + 1, event_id=None, kind=Kind.REWRITTEN_TAIL))
            self.good = size
            self.checked += 1

    def finish(self) -> None:
        """A checkpoint of a longer log than this one: the tail was cut."""
        if self.notes:
            raise _Failed(FirstBad(seq=self.seq + 1, event_id=None, kind=Kind.REWRITTEN_TAIL))

    def close(self) -> None:
        """Nobody signed for what lies behind the last checkpoint: an export ends with one."""
        if self.good != self.seq:
            raise _Failed(FirstBad(seq=self.good + 1, event_id=None, kind=Kind.REWRITTEN_TAIL))


def _walk(places: Iterable[Place], walk: _Walk) -> None:
    iterator = iter(places)
    place = next(iterator, None)
    while place is not None:
        following = next(iterator, None)
        walk.step(place, following)
        place = following
    walk.finish()


def _by_size(notes: Iterable[Note]) -> dict[int, list[Note]]:
    sizes: dict[int, list[Note]] = {}
    for note in notes:
        if note.size > 0:
            sizes.setdefault(note.size, []).append(note)
    return sizes


# --- the live log ---------------------------------------------------------------


def verify_live(
    *, shown: Iterable[Path] = (), first: int | None = None, last: int | None = None, now: datetime | None = None
) -> Report:
    """Check the database's log against itself and against every checkpoint: rows, files, and those `shown`.

    `first` and `last` bound the numbers whose rows are computed again; the chain, the Merkle
    roots and the checkpoints are checked over the whole log in any case. Memory is
    bounded; three statements for 2,000 events. Raises BadCheckpoint for a `shown` file
    that is none, or not of this log.
    """
    public = keys.public_key()
    raw = keys.public_bytes(public) if public else None
    extra = [checkpoints.read_file(path, public_key=raw) for path in shown]
    notes, problem = _live_notes(raw)
    walk = _Walk(notes=_by_size([*notes, *extra]), holds=_live_holds)
    removals = _live_removals([*notes, *extra])
    try:
        _walk(_live_places(first or 1, last, removals), walk)
        if problem is not None:
            raise _Failed(problem)
        _unsealed(now)
    except _Failed as failed:
        bad = failed.bad
        if bad.kind is Kind.REWRITTEN_TAIL and bad.event_id is None and bad.seq is not None:
            bad = FirstBad(seq=bad.seq, event_id=_event_at(bad.seq), kind=bad.kind)
        return Report(events=walk.seq, checkpoints=walk.checked, first_bad=bad)
    return Report(events=walk.seq, checkpoints=walk.checked)


def _live_notes(public: bytes | None) -> tuple[list[Note], FirstBad | None]:
    """Checkpoints of rows and files, each once; the first that is not what it was signed as."""
    from hie.audit.models import Checkpoint

    found: dict[str, Note] = {}
    problem: FirstBad | None = None
    rows: list[tuple[int, Any]] = [(row.size, row.note) for row in Checkpoint.objects.order_by("size")]
    raw = list(rows)
    for path in checkpoints.files():
        try:
            raw.append((int("".join(c for c in path.stem if c.isdigit()) or 0), json.loads(path.read_bytes())))
        except (ValueError, RecursionError):
            raw.append((0, None))
    for size, note in raw:
        try:
            read = checkpoints.read_note(note, public_key=public)
            found.setdefault(read.digest, read)
        except BadCheckpoint:
            problem = problem or FirstBad(seq=size, event_id=None, kind=Kind.CHANGED)
            continue
        public = read.public_key  # one key over all of them
    before: Note | None = None
    for _, note in rows if problem is None else ():
        # A file alone may be one whose row was never written: only rows are a chain.
        read = found[checkpoints.note_digest(note)]
        problem = problem or _follows(read, before)
        before = read
    return list(found.values()), problem


def _live_holds(seq: int) -> bool:
    """Whether the event that was sealed under this number is still in the log, under another."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT leaf FROM audit_seal WHERE seq = %s", [seq])
        stated = {bytes(leaf) for (leaf,) in cursor.fetchall()}
    for rows in log.seals(batch=2000):
        found = log.contents([(row.event_id, row.at) for row in rows])
        for row in rows:
            content = found.get(row.event_id)
            if content is not None and row.seq != seq and content.leaf(seq) in stated | {row.leaf}:
                return True
    return False


def _live_removals(notes: Iterable[Note]) -> Removals:
    """What the log says was removed from it; of what says so, only what is sealed as it stands."""
    found = Removals()
    with connection.cursor() as cursor:
        cursor.execute(
            'SELECT s.seq, e.id, e."at", s.leaf FROM audit_event e JOIN audit_seal s ON s.event_id = e.id WHERE e.kind = %s',
            [EventType.LOG_RETIRED.value],
        )
        rows = cursor.fetchall()
    contents = log.contents([(event_id, at) for _, event_id, at, _ in rows])
    for seq, event_id, _, leaf in rows:
        content = contents.get(event_id)
        if content is not None and content.leaf(seq) == bytes(leaf):
            found.add(json.loads(content.text(seq)), seq)
    found.settle((note.size, note.at) for note in notes)
    return found


def _live_places(first: int, last: int | None, removals: Removals) -> Iterator[Place]:
    for rows in log.seals():
        wanted = [row for row in rows if row.seq >= first and (last is None or row.seq <= last)]
        found = log.contents([(row.event_id, row.at) for row in wanted])
        checked = {row.seq for row in wanted}
        for row in rows:
            content = found.get(row.event_id)
            own: int | None = row.seq
            gone = content is None and removals.covers(row.seq)
            if row.seq in checked and not gone:
                own = None if content is None else _own_number(content, row)
            yield Place(
                stated=row.seq,
                own=own,
                event_id=str(row.event_id),
                leaf=row.leaf,
                chain=row.chain,
                missing_event=row.seq in checked and content is None and not gone,
            )


def _own_number(content: log.Content, row: log.SealRow) -> int | None:
    """The number under which this event has the leaf its seal states, or another seal's leaf (pointers swapped)."""
    if content.leaf(row.seq) == row.leaf:
        # The time beside the seal only narrows the search for rows; it must still be the event's.
        return row.seq if row.at == content.at else None
    size = log.head()[0]
    for seq in range(1, size + 1):
        if content.leaf(seq) == row.leaf:
            return seq
    with connection.cursor() as cursor:
        near = range(max(1, row.seq - 1000), min(size, row.seq + 1000) + 1)
        cursor.execute("SELECT seq FROM audit_seal WHERE leaf = ANY(%s) LIMIT 1", [[content.leaf(s) for s in near]])
        found = cursor.fetchone()
    return int(found[0]) if found else None


def _event_at(seq: int) -> str | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT event_id FROM audit_seal WHERE seq = %s", [seq])
        row = cursor.fetchone()
    return str(row[0]) if row else None


def _unsealed(now: datetime | None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            'SELECT e.id FROM audit_event e WHERE e."at" < COALESCE(%s, now()) - make_interval(secs => %s) '
            'AND NOT EXISTS (SELECT 1 FROM audit_seal s WHERE s.event_id = e.id) ORDER BY e."at", e.id LIMIT 1',
            [now, UNSEALED_AFTER_S],
        )
        row = cursor.fetchone()
    if row:
        raise _Failed(FirstBad(seq=None, event_id=str(row[0]), kind=Kind.UNSEALED))


# --- an export --------------------------------------------------------------------


def verify_export(
    path: Path, *, shown: Iterable[Path] = (), first: int | None = None, last: int | None = None
) -> Report:
    """Check an export (see `hie.audit.export`) against itself, its own checkpoints and those `shown`.

    Needs no database. Raises BadCheckpoint for a `shown` file that is none; OSError.
    """
    extra = [checkpoints.read_file(item) for item in shown]
    public = extra[0].public_key if extra else None
    own_numbers, notes, problem, header, removals = _scan(path, public)
    removals.settle((note.size, note.at) for note in [*notes, *extra])
    walk = _Walk(notes=_by_size([*notes, *extra]), holds=lambda seq: seq in own_numbers)
    ids: dict[int, str | None] = {}
    try:
        if problem is not None and problem.seq == 0:
            raise _Failed(problem)
        _walk(_export_places(path, removals), walk)
        if header is not None and header != walk.seq:
            raise _Failed(FirstBad(seq=min(header, walk.seq) + 1, event_id=None, kind=Kind.REWRITTEN_TAIL))
        if problem is not None:
            raise _Failed(problem)
        walk.close()
    except _Failed as failed:
        bad = failed.bad
        if bad.kind is Kind.REWRITTEN_TAIL and bad.seq is not None:
            ids = {place.stated: place.event_id for place in _export_places(path, removals) if place.stated is not None}
            bad = FirstBad(seq=bad.seq, event_id=ids.get(bad.seq), kind=bad.kind)
        return Report(events=walk.seq, checkpoints=walk.checked, first_bad=bad)
    return Report(events=walk.seq, checkpoints=walk.checked)


def _lines(path: Path) -> Iterator[dict[str, Any] | None]:
    """Each line as an object; None for one that is none."""
    with path.open("rb") as file:
        for line in file:
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                value = None
            yield value if isinstance(value, dict) else None


def _scan(path: Path, public: bytes | None) -> tuple[set[int], list[Note], FirstBad | None, int | None, Removals]:
    """Numbers that the contents state, the checkpoints, what is wrong with head or checkpoints, stated size, removals."""
    numbers: set[int] = set()
    notes: list[Note] = []
    problem: FirstBad | None = None
    size: int | None = None
    removals = Removals()
    for position, line in enumerate(_lines(path)):
        if position == 0:
            if line is None or line.get("format") != EXPORT_FORMAT or not isinstance(line.get("size"), int):
                problem = FirstBad(seq=0, event_id=None, kind=Kind.CHANGED)
            else:
                size = line["size"]
        elif line is not None and "checkpoint" in line:
            try:
                note = checkpoints.read_note(line["checkpoint"], public_key=public)
            except BadCheckpoint:
                stated = line["checkpoint"].get("size") if isinstance(line["checkpoint"], dict) else None
                problem = problem or FirstBad(seq=stated if isinstance(stated, int) else 0, event_id=None, kind=Kind.CHANGED)  # fmt: skip
                continue
            public = note.public_key  # one key over all of them
            problem = problem or _follows(note, notes[-1] if notes else None)
            notes.append(note)
        elif line is not None:
            own = _export_place(line).own
            if own is not None:
                numbers.add(own)
                if EventType.LOG_RETIRED in line["json"]:
                    removals.add(json.loads(line["json"]), own)
    return numbers, notes, problem, size, removals


def _follows(note: Note, before: Note | None) -> FirstBad | None:
    """A checkpoint names the one before it: what is wrong where that one is missing."""
    if note.previous == (before.digest if before else ""):
        return None
    return FirstBad(seq=note.size, event_id=None, kind=Kind.REMOVED)


def _export_places(path: Path, removals: Removals) -> Iterator[Place]:
    for position, line in enumerate(_lines(path)):
        if position == 0 or (line is not None and "checkpoint" in line):
            continue
        if line is None:
            yield Place(stated=None, own=None, event_id=None, leaf=b"", chain=b"")
        else:
            yield _export_place(line, removals)


def _export_place(line: dict[str, Any], removals: Removals | None = None) -> Place:
    seq, text = line.get("seq"), line.get("json")
    stated = seq if isinstance(seq, int) and not isinstance(seq, bool) else None
    named = line.get("event_id")
    event_id = named if isinstance(named, str) else None
    leaf, chain = _hex(line.get("leaf")), _hex(line.get("chain"))
    own = None
    if isinstance(text, str):
        try:
            content = json.loads(text)
            inner, inner_id = content["seq"], content["event"]["id"]
            # The outer copies are for reading; they must say what the hashed text says.
            if leaf_hash(text.encode()) == leaf and isinstance(inner, int):
                own = inner if inner_id == event_id else None
        except (ValueError, TypeError, KeyError, RecursionError):
            own = None
    if text == "" and stated is not None and removals is not None and removals.covers(stated):
        own = stated  # gone at the end of its time: its seal stands for it
    return Place(stated=stated, own=own, event_id=event_id, leaf=leaf, chain=chain)


def _hex(value: Any) -> bytes:
    """32 bytes from lower-case hex; empty for anything else."""
    if not isinstance(value, str) or len(value) != 64 or value != value.lower():
        return b""
    try:
        return bytes.fromhex(value)
    except ValueError:
        return b""
