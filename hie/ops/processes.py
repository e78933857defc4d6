"""Child processes that never outlive the one that started them."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LOG_BYTES = 20 * 1024 * 1024
PR_SET_PDEATHSIG = 1


class ChildDied(Exception):
    """A child ended that should run as long as the hub."""

    def __init__(self, name: str, status: int, tail: Sequence[str]) -> None:
        ending = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        super().__init__(f"{name} ended ({ending})")
        self.name = name
        self.tail = list(tail)


class NotReady(Exception):
    """A child runs but did not become ready in time."""

    def __init__(self, name: str, after_s: float, tail: Sequence[str]) -> None:
        super().__init__(f"{name} was not ready after {after_s:.0f} s")
        self.name = name
        self.tail = list(tail)


@dataclass(slots=True, kw_only=True)
class Child:
    """One process, or one group of processes behind it.

    `env` is laid over the supervisor's own environment. `ready` is asked again and again until it is true; without it
    the child counts as ready once started. `stop_signal` asks it to end; after `stop_timeout_s` its whole group is
    killed.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | None = None
    ready_timeout_s: float = 60
    stop_signal: int = signal.SIGTERM
    stop_timeout_s: float = 40
    # Others rely on it while they stop: it is stopped after them.
    service: bool = False
    cwd: Path | None = None
    user: int | None = None
    process: subprocess.Popen[bytes] | None = None
    log: Path | None = None

    def start(self, logs: Path) -> None:
        """Start it in a session of its own, its output going to `logs`/name.log."""
        self.log = logs / f"{self.name}.log"
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            os.replace(self.log, self.log.with_suffix(".log.1"))
        parent, ending = os.getpid(), self.stop_signal
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                list(self.argv),
                env={**os.environ, **self.env},
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: end_with(parent, ending),
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else [],
            )

    def check(self) -> None:
        """Raise `ChildDied` when it no longer runs."""
        if self.process is not None and (status := self.process.poll()) is not None:
            raise ChildDied(self.name, status, self.tail())

    def wait_ready(self, check_others: Callable[[], None] = lambda: None) -> None:
        """Wait until `ready` says so.

        Raises:
            ChildDied: it, or another, ended meanwhile.
            NotReady: `ready_timeout_s` passed.
        """
        began = time.monotonic()
        while self.ready is not None and not self.ready():
            self.check()
            check_others()
            if time.monotonic() - began > self.ready_timeout_s:
                raise NotReady(self.name, self.ready_timeout_s, self.tail())
            time.sleep(0.05)

    def ask_to_stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(self.stop_signal)

    def finish(self, deadline: float) -> None:
        """Wait for the end until `deadline` (monotonic), then kill what is left of its group."""
        if self.process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.0, deadline - time.monotonic()))
        # Also after an orderly end: a helper of it may still hold a port.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def tail(self, lines: int = 15) -> list[str]:
        """The last lines of its log."""
        if self.log is None:
            return []
        with contextlib.suppress(OSError), open(self.log, "rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - 8192))
            return stream.read().decode(errors="replace").splitlines()[-lines:]
        return []

    def trim_log(self) -> None:
        """Keep a long-lived child's log bounded; it is opened for appending, so cutting it is safe."""
        if self.log is not None and self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            with open(self.log, "rb+") as stream:
                stream.seek(-LOG_BYTES // 4, os.SEEK_END)
                kept = stream.read()
                stream.seek(0)
                stream.truncate()
                stream.write(kept)


def package_folder(name: str) -> Path:
    """Where an installed package lies; found, not imported, since a launcher's import may do more than we want."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{name} is not installed; ./hub installs it from requirements.txt")
    return Path(spec.origin).parent


def end_with(parent: int, ending: int) -> None:
    """In the new process, before its program: default signals, and `ending` when the supervisor dies."""
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ending)
        if os.getppid() != parent:
            os._exit(1)


def stop_all(children: Iterable[Child]) -> None:
    """Stop everything: first what uses the services, all asked at once, then the services; kill what takes too long."""
    running = [child for child in children if child.process is not None]
    for service in (False, True):
        wave = [child for child in reversed(running) if child.service is service]
        began = time.monotonic()
        for child in wave:
            child.ask_to_stop()
        for child in wave:
            child.finish(began + child.stop_timeout_s)


# --- Processes a killed supervisor left behind -----------------------------------------------------------------------


def started_at(pid: int) -> str | None:
    """When a process started, in the kernel's own count; None when there is none. With the pid it names a process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def note(children: Iterable[Child], path: Path) -> None:
    """Write down who runs, so that a successor can end them should this process be killed."""
    rows = [
        {"name": child.name, "pid": child.process.pid, "started": started_at(child.process.pid)}
        for child in children
        if child.process is not None
    ]
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(rows))
    os.replace(fresh, path)


def end_leftovers(path: Path, *, grace_s: float = 10) -> list[str]:
    """End the processes of a note whose supervisor is gone; gives their names. A pid used by another is left alone."""
    try:
        rows = json.loads(path.read_text())
    except (OSError, ValueError):
        return []
    alive = [row for row in rows if row["started"] and started_at(row["pid"]) == row["started"]]
    for row in alive:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(row["pid"], signal.SIGINT if row["name"] == "postgres" else signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline and any(is_running(row) for row in alive):
        time.sleep(0.05)
    for row in alive:
        if is_running(row):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(row["pid"], signal.SIGKILL)
    path.unlink(missing_ok=True)
    return [row["name"] for row in alive]


def is_running(row: Mapping[str, object]) -> bool:
    pid = int(str(row["pid"]))
    if started_at(pid) != row["started"]:
        return False
    # A zombie whose parent has not looked yet is no longer running.
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
