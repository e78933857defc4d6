"""`./hub test [--slow] [pytest args]`: the tests on a throw-away PostgreSQL and Valkey."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hie import settings
from hie.ops import services
from hie.ops.context import ROOT, child_environment
from hie.ops.postgres import PostgresRefused
from hie.ops.processes import ChildDied, NotReady
from hie.ops.supervisor import Stop, Supervisor, report, say, tail_of

LANES = "not browser and not survival and not proxy"
"""What `./hub test` leaves to lanes of their own."""


def main(arguments: list[str]) -> int:
    """Run pytest and give its exit status; services given by the environment are used as they are."""
    arguments = list(arguments)
    slow = "--slow" in arguments
    if slow:
        arguments.remove("--slow")
    options = ["-p", "no:cacheprovider", *selection(arguments, slow=slow), *parallel(arguments)]
    folder = Path(tempfile.mkdtemp(prefix="hie-test-"))
    try:
        for part in ("logs", "run", "secrets"):
            (folder / part).mkdir(mode=0o700)
        with Supervisor(folder) as supervisor:
            began = time.monotonic()
            running = services.start(
                folder,
                database_url=settings.DATABASE_URL if settings.DATABASE_URL_GIVEN else "",
                redis_url=settings.REDIS_URL if settings.REDIS_URL_GIVEN else "",
                durable=False,
                started=supervisor.children,
            )
            if supervisor.children:
                names = " and ".join(child.name for child in supervisor.children)
                say(f"throw-away {names} started in {time.monotonic() - began:.1f} s")
            env = {**os.environ, **child_environment(running.environment), "HIE_DATA_DIR": str(folder / "data")}
            env["HIE_SHARED"] = str(settings.SHARED_DIR)
            process = subprocess.Popen(
                [sys.executable, "-m", "pytest", "--rootdir", str(ROOT), *options, *arguments], cwd=ROOT, env=env
            )
            try:
                while process.poll() is None:
                    supervisor.check()
                    time.sleep(0.2)
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait(20)
            if not settings.SHARED_DIR.is_dir():
                say(f"left out: the tests on shared sample data, since {settings.SHARED_DIR} is missing (HIE_SHARED)")
            return process.returncode
    except Stop:
        return 130
    except (PostgresRefused, ChildDied, NotReady) as error:
        report(error, tail_of(error))
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def selection(arguments: list[str], *, slow: bool) -> list[str]:
    """The marker expression: without the lanes of their own, and `slow` only with `--slow`, unless asked otherwise."""
    if any(a == "-m" or a.startswith("-m=") for a in arguments):
        return []
    return ["-m", LANES if slow else f"not slow and {LANES}"]


def parallel(arguments: list[str]) -> list[str]:
    """One process a core, at most four, unless the caller says otherwise or wants a debugger."""
    if any(a.startswith(("-n", "--pdb", "--trace", "-x", "--collect")) for a in arguments):
        return []
    return ["-n", str(min(4, os.cpu_count() or 1)), "--dist", "worksteal"]
