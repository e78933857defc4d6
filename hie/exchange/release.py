"""The release point: an answer leaves with the commit of its audit row, and nothing it rests on may change before.

An answer is decided from what was in store at some instant, and released a little later. A revocation or a suspension
that commits in between must not be lost (spec/consent.md 12). So each use case that decides is a `point`::

    @release.point
    def find(…, *, caller):
        with recorder.recording(EventType.X, caller) as event:
            access.gate(caller, Operation.QUERY)                       # from here on the recording has a condition
            verdict = access.permitted(caller, subject, rows, …)       # which grows with each patient decided about
            access.record(event, caller, subject, verdict, …)
            event.commit()                                             # holds the condition, then writes

`point` notes which transactions were visible before anything was read (`directory.one_reading`). `commit` locks what was
decided from, in the transaction of the audit row, and looks whether a transaction not visible then has raised it
(migrations ``exchange.0007_release_point`` and ``0010_release_by_instants``). If so nothing is written and nothing leaves: the use case runs again from
its start, a few times, then it is refused with `Unsettled`. Where the act is a look, lock, look and row are one statement.

What begins or ends by itself (a version of policy, an agreement, a directive, a grant, an age) raises nothing and keeps
nobody waiting. So an answer has an end, the first such instant after its decision: half a second before it an answer waits
for it and is decided again, and the commit of an audit row looks once more, however long the transaction around it has
taken, and refuses what has come to its end (migration ``exchange.0011_release_in_time``).

Source: spec/consent.md 1.5, 12.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from django.db import OperationalError

from hie.audit import recorder
from hie.audit.recorder import EventType, Outcome, Outdated
from hie.database import prepared
from hie.directory import queries as directory
from hie.exchange.errors import Unsettled

TRIES = 3
PAUSE_S = 0.02
_CONTENDED = frozenset({"55P03", "40P01", "40001"})
"""Waited too long for a lock, or was one of two that waited for each other: somebody changes it just now."""

P = ParamSpec("P")
R = TypeVar("R")


def point(use_case: Callable[P, R]) -> Callable[P, R]:
    """Make a use case one whose answer leaves only while what it rests on is as it was decided from.

    It runs again from its start when something changed, so what it does besides its answer it does in the transaction
    of `commit`. Inside another point it is a part of that one.

    Raises:
        Unsettled: it changed, or was being changed, each time; the attempt is recorded.
    """

    @wraps(use_case)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if directory.reading() is not None:
            return use_case(*args, **kwargs)
        for attempt in range(1, TRIES + 1):
            try:
                # What let the caller in a moment ago will do to begin with: the older a reading, the more counts as changed.
                with directory.one_reading(given=directory.offered() if attempt == 1 else None):
                    return use_case(*args, **kwargs)
            except Outdated as outdated:
                if attempt == TRIES:
                    recorder.write_apart(outdated.refusals)
                    raise Unsettled from outdated
            except OperationalError as error:
                if not contended(error):
                    raise
                if attempt == TRIES:
                    raise Unsettled from error
            time.sleep(PAUSE_S * attempt)
        raise AssertionError("unreachable")

    run.release_point = True  # type: ignore[attr-defined]  # for the test that every way out has one
    return run


def contended(error: OperationalError) -> bool:
    """Whether the database gave up a wait for somebody else's lock."""
    return getattr(error.__cause__, "sqlstate", None) in _CONTENDED


_HOLD = "exchange_hold(%s::text::pg_snapshot, %s::bigint, %s::bigint[], %s::boolean, %s::double precision)"
_LONGEST_S = 3600.0
"""How long the transaction of an answer may take at most: an end that is farther away is none."""


def ends_in(left: timedelta) -> float | None:
    """An instant so far from now, by a clock that is never set; None for one that no answer lasts until."""
    seconds = left.total_seconds()
    return time.monotonic() + seconds if seconds < 2 * _LONGEST_S else None


def first_of(*ends_s: float | None) -> float | None:
    """The first of some ends, None being none."""
    return min((one for one in ends_s if one is not None), default=None)


def _ask(condition: str, values: Callable[[], Sequence[Any]]) -> bool:
    with prepared() as cursor:
        cursor.execute(f"SELECT {condition}", values())
        return bool(cursor.fetchone()[0])


class Basis:
    """What an answer was decided from: the policy, and the patients by their identifiers' row ids, as then visible.

    `ends_s`: when something of it begins or ends by itself, as `ends_in` gives it.
    """

    def __init__(
        self, reading: directory.Reading, identifier_pks: Iterable[int] = (), ends_s: float | None = None
    ) -> None:
        self.reading = reading
        self.identifier_pks = set(identifier_pks)
        self.ends_s = ends_s

    def ends_no_later(self, ends_s: float | None) -> None:
        """Take note of a further end; the first counts."""
        self.ends_s = first_of(self.ends_s, ends_s)

    def has_ended(self) -> bool:
        """Whether something of it has begun or ended by itself."""
        return self.ends_s is not None and time.monotonic() >= self.ends_s

    def hold(self, ask: recorder.Ask | None = None) -> None:
        """Keep it as it is until the running transaction ends; one statement, or that of `ask`.

        Raises:
            Outdated: policy or patients have changed, or are being changed.
        """
        self._hold(ask or _ask, alone=False)

    def hold_alone(self) -> None:
        """As `hold`, for who will change it in this transaction: of two such one waits, and then decides anew."""
        self._hold(_ask, alone=True)

    def _hold(self, ask: recorder.Ask, *, alone: bool) -> None:
        def values() -> Sequence[Any]:
            left = None if self.ends_s is None else self.ends_s - time.monotonic()
            return (*self._values(), alone, left if left is None or left < _LONGEST_S else None)

        try:
            as_then = ask(_HOLD, values)
        except OperationalError as error:
            if contended(error):
                raise Outdated("being changed") from error
            raise
        if not as_then:
            raise Outdated("changed since it was decided")
        held = _noted.get()
        event = recorder.current()
        if held is not None and event is not None:
            held.append(Released(self, event))

    def stands(self) -> bool:
        """Whether it is still what it was, without holding it; one statement."""
        if self.has_ended():
            return False
        with prepared() as cursor:
            cursor.execute("SELECT exchange_unmoved(%s::text::pg_snapshot, %s::bigint, %s::bigint[])", self._values())
            return bool(cursor.fetchone()[0])

    def _values(self) -> tuple[str, int, list[int]]:
        return self.reading.snapshot, self.reading.epoch, sorted(self.identifier_pks)


def rests_on(identifier_pks: Iterable[int] = (), *, ends_s: float | None = None) -> None:
    """Make the policy, these patients and that this end has not come a condition of what the running recording releases.

    Of decisions under several readings the last one's count: who decides again after a wait releases by that.

    Raises:
        RuntimeError: the recording is in no `point`: what it releases could not be held.
    """
    event = recorder.current()
    if event is None:
        return
    reading = directory.reading()
    if reading is None:
        raise RuntimeError("decided in a recording outside of a release point")
    if not isinstance(event.condition, Basis) or event.condition.reading is not reading:
        event.condition = Basis(reading)
    event.condition.identifier_pks.update(identifier_pks)
    event.condition.ends_no_later(ends_s)


@dataclass(frozen=True, slots=True)
class Released:
    """What was released, for whom: its basis and its recording."""

    basis: Basis
    event: recorder.Recording


_noted: ContextVar[list[Released] | None] = ContextVar("released", default=None)


@contextmanager
def noted() -> Iterator[list[Released]]:
    """Note what is released in a block: for answers that are sent after it."""
    released: list[Released] = []
    token = _noted.set(released)
    try:
        yield released
    finally:
        _noted.reset(token)


def broke_off(released: Iterable[Released], *, sent: int, of: int) -> None:
    """Record that an answer was not sent whole, once for each patient whom it was about."""
    recorder.write_apart(
        recorder.EventDraft(
            kind=EventType.TRANSFER_BROKEN,
            caller=one.event.caller,
            outcome=Outcome.REFUSED,
            person_id=person_id,
            reason="no-longer-permitted" if not one.basis.stands() else "broken-off",
            detail={"sent": sent, "of": of},
        )
        for one in released
        for person_id in one.event.persons
    )


def basis_of(event: recorder.Recording) -> Basis:
    """What the recording rests on.

    Raises:
        RuntimeError: nothing was decided in it.
    """
    if not isinstance(event.condition, Basis):
        raise RuntimeError("nothing was decided")
    return event.condition
