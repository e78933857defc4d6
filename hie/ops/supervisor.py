"""Runs the hub's processes: starts them in order, watches them, and stops every one of them whatever happens."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from hie.ops.processes import Child, ChildDied, end_leftovers, note, stop_all


class Stop(BaseException):
    """Somebody asked the hub to stop; not an error, hence outside Exception."""


class Supervisor:
    """Use as a context manager: leaving it, in whatever way, stops everything that was started."""

    def __init__(self, data_dir: Path) -> None:
        self.logs = data_dir / "logs"
        self.children: list[Child] = []
        self._note = data_dir / "run" / "children.json"
        self._stopping = False
        self._asked_by = ""

    def __enter__(self) -> Supervisor:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._asked)
        left = end_leftovers(self._note)
        if left:
            say(f"ended what a killed hub had left running: {', '.join(left)}")
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        stop_all(self.children)
        self._note.unlink(missing_ok=True)

    def start(self, *children: Child) -> None:
        """Start them at once, then wait until each is ready.

        Raises:
            ChildDied: one of them, or one started before, ended.
            NotReady: one did not become ready in its time.
        """
        for child in children:
            self.children.append(child)
            child.start(self.logs)
            self.noted()
        for child in children:
            child.wait_ready(self.check)

    def noted(self) -> None:
        """Keep the list of running children where a successor finds it."""
        note(self.children, self._note)

    def check(self) -> None:
        """Raise `ChildDied` for the first child that no longer runs, or `Stop` when that was asked and lost."""
        if self._asked_by:
            # An exception raised from a signal is swallowed when it strikes inside a finalizer.
            raise Stop(self._asked_by)
        for child in self.children:
            child.check()

    def watch(self, *, for_s: float | None = None) -> None:
        """Stay until a child dies (raises) or somebody asks to stop (`Stop`); or for so many seconds."""
        began = time.monotonic()
        trimmed = began
        while for_s is None or time.monotonic() - began < for_s:
            self.check()
            if time.monotonic() - trimmed > 300:
                trimmed = time.monotonic()
                for child in self.children:
                    child.trim_log()
            time.sleep(0.25)

    def _asked(self, number: int, _frame: FrameType | None) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._asked_by = signal.Signals(number).name
        raise Stop(self._asked_by)


def say(text: str) -> None:
    """One line of progress."""
    print(f"hub: {text}", flush=True)


def report(error: Exception, tail: Sequence[str] = ()) -> None:
    """Say what went wrong, with the last lines of the log that knows."""
    print(f"hub: {error}", file=sys.stderr)
    for line in tail:
        print(f"    {line}", file=sys.stderr)
    sys.stderr.flush()


def tail_of(error: Exception) -> Sequence[str]:
    tail = getattr(error, "tail", None)
    return tail if isinstance(tail, list) else []


__all__ = ["ChildDied", "Stop", "Supervisor", "report", "say", "tail_of"]
