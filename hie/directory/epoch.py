"""The policy epoch: one number, new after every change of policy data and from every instant at which a version counts.

Read it once a request and key caches by it. It rises inside the transaction of the
change, so a reader sees the change and the new number together or neither. A version stored for later raises it once
more when its time comes, by the clock of the database and for all readers at once (migration ``0005_policy_instants``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic

from django.db import connection

from hie.database import prepared

# By the start of the statement: a volatile clock would keep the planner from joining what reads it.
_READ = "SELECT value + width_bucket(statement_timestamp(), instants) FROM directory_policyepoch WHERE id = 1"
EPOCH = f"coalesce(({_READ}), 0)"
"""The policy epoch as an SQL expression: who reads rows by one statement reads the epoch with them, for nothing."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The policy epoch at an instant, and what of the database's transactions was to be seen at it (`pg_snapshot`).

    `at`: that instant, by the clock of the database, which is the one that raises the epoch; `read_s`, by a clock of this
    process that is never set.
    """

    epoch: int
    snapshot: str
    at: datetime
    read_s: float = field(default_factory=monotonic, compare=False)


_held: ContextVar[Reading | None] = ContextVar("policy_epoch", default=None)
_offered: ContextVar[Reading | None] = ContextVar("offered_policy_epoch", default=None)
OFFERED_S = 0.05
"""So long a reading stands for one made anew: an act that begins later makes its own."""


def recent(reading: Reading) -> Reading | None:
    """The reading while it stands for one made anew; else None."""
    return reading if monotonic() - reading.read_s <= OFFERED_S else None


def offer(reading: Reading | None) -> None:
    """Let the act that begins at once begin with this reading, by which its caller was let in; None: no more."""
    _offered.set(reading)


def offered() -> Reading | None:
    """The reading that was offered a moment ago, once; else None."""
    held = _offered.get()
    if held is None:
        return None
    _offered.set(None)
    return recent(held)


@contextmanager
def one_reading(*, anew: bool = False, given: Reading | None = None) -> Iterator[Reading]:
    """Read the epoch once for the length of a block: one instant, one policy, one statement; none with one that is given.

    For a short act that neither waits nor sends. What comes after a wait is another act, and reads again; `anew`: also
    inside another reading.
    """
    held = _held.get()
    if held is not None and not anew:
        yield held
        return
    held = given or _read()
    token = _held.set(held)
    try:
        yield held
    finally:
        _held.reset(token)


def reading() -> Reading | None:
    """The reading of the block we are in; None outside."""
    return _held.get()


def reading_now() -> Reading:
    """As `epoch`, with all that was read."""
    held = _held.get()
    return _read() if held is None else held


def epoch() -> int:
    """The policy epoch now: one statement; inside `one_reading` the one read there. 0 before anything was registered."""
    return reading_now().epoch


def read_epoch() -> int:
    """The policy epoch now, whatever was read before: one statement."""
    return _read().epoch


def _read() -> Reading:
    with prepared() as cursor:
        cursor.execute(f"SELECT {EPOCH}, pg_current_snapshot()::text, statement_timestamp()")
        epoch_now, snapshot, at = cursor.fetchone()
    return Reading(int(epoch_now), snapshot, at)


def hold_epoch() -> None:
    """Let nobody else change policy data until the running transaction ends: who checks them before changing them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM directory_policyepoch WHERE id = 1 FOR UPDATE")


def bump_epoch() -> None:
    """Give the policy data a new epoch, in the caller's transaction.

    Writers queue on the one row until the first commits, so the number never
    goes back. Changes to the directory's own tables need no call: a trigger does it.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT directory_bump_epoch()")
