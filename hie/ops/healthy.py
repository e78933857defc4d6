"""`./hub healthy SERVICE`: exit 0 while that service of this host does its work; what container health checks call."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from hie import settings
from hie.ops.context import answers, listens

FRESH_S = 90


def main(arguments: list[str]) -> int:
    """Say whether the named service is well: web, worker, beat, mllp or sealer."""
    probes = {"web": web, "worker": worker, "beat": beat, "mllp": mllp, "sealer": sealer}
    if len(arguments) != 1 or arguments[0] not in probes:
        print(f"usage: ./hub healthy {'|'.join(probes)}", file=sys.stderr)
        return 2
    problem = probes[arguments[0]]()
    print(f"{arguments[0]}: {problem or 'well'}")
    return 1 if problem else 0


def web() -> str:
    return "" if answers(f"http://127.0.0.1:{settings.PORT}/readyz")() else "not ready"


def worker() -> str:
    """Its heartbeat to the broker, which it sends every few seconds."""
    mark = settings.DATA_DIR / "run" / "worker.alive"
    return "" if mark.exists() and time.time() - mark.stat().st_mtime < FRESH_S else "no heartbeat"


def mllp() -> str:
    return "" if listens("127.0.0.1", settings.MLLP_PORT)() else "takes no connection"


def beat() -> str:
    return runs("beat") or database_answers()


def sealer() -> str:
    return runs("audit_sealer") or database_answers()


def runs(command: str) -> str:
    """Whether a process of this host runs that command."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if command.encode() in words or f"hie.ops.{command}".encode() in words:
            return ""
    return "does not run"


def database_answers() -> str:
    import psycopg

    try:
        psycopg.connect(settings.DATABASE_URL, connect_timeout=3).close()
    except psycopg.OperationalError:
        return "the database does not answer"
    return ""
