"""Behind `./hub`: sends each command where it lives."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

# Commands with a program of their own: `main(arguments) -> exit status`.
PROGRAMS = {
    "up": "hie.ops.up",
    "demo": "hie.ops.sandbox.demo",
    "bench": "hie.ops.bench.main",
    "test": "hie.ops.testing",
    "check": "hie.ops.check",
    "lock": "hie.ops.lock",
    "init": "hie.ops.init",
    # The services of a many-host layout, one each; `mllp` and `audit_sealer` are management commands.
    "web": "hie.ops.web",
    "worker": "hie.ops.worker",
    "beat": "hie.ops.beat",
    "healthy": "hie.ops.healthy",
}
# Management commands that need no running services; every other one gets them.
WITHOUT_SERVICES = frozenset(
    [
        "decide",
        "check",
        "help",
        "version",
        "--help",
        "--version",
        "-h",
        "makemigrations",
        "makemessages",
        "compilemessages",
        "collectstatic",
        "findstatic",
        "diffsettings",
        "spectacular",
        "startapp",
        "startproject",
        "sqlmigrate",
        "sendtestemail",
        "testserver",
    ]
)


def main(arguments: list[str]) -> int:
    """Run one command and give its exit status; relative paths in the arguments count from the caller's folder."""
    command, rest = arguments[0], arguments[1:]
    if command in PROGRAMS:
        module = PROGRAMS[command]
        if not present(module):
            print(f"hub: {command} is not part of this release", file=sys.stderr)
            return 2
        return int(importlib.import_module(module).main(rest) or 0)
    return manage(command, rest)


def present(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def manage(command: str, rest: list[str]) -> int:
    """`manage.py COMMAND`, with the embedded services up for as long as it runs where it needs them."""
    if command in WITHOUT_SERVICES or "--help" in rest or "-h" in rest:
        os.execv(sys.executable, [sys.executable, str(ROOT / "manage.py"), command, *rest])
    from hie.ops.up import with_services

    return with_services([sys.executable, str(ROOT / "manage.py"), command, *rest])


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
