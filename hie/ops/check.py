"""`./hub check`: everything that can be said about the code without running it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from hie.ops.context import ROOT, child_environment
from hie.ops.supervisor import say

PYTHON = [sys.executable, "-m"]
MANAGE = [sys.executable, str(ROOT / "manage.py")]
STEPS: list[tuple[str, list[str]]] = [
    ("ruff", [*PYTHON, "ruff", "check", "."]),
    ("format", [*PYTHON, "ruff", "format", "--check", "."]),
    ("types", [*PYTHON, "mypy"]),
    ("tests", [*PYTHON, "mypy", "--config-file", "tests/mypy.ini"]),
    ("imports", [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]),
    ("settings", [*MANAGE, "check"]),
    # Compares models with migrations; that no database is there to be compared too is no fault.
    (
        "migrations",
        [sys.executable, "-W", "ignore::RuntimeWarning", *MANAGE[1:], "makemigrations", "--check", "--dry-run"],
    ),
]


def main(arguments: list[str]) -> int:
    """Run every step, or the named ones; 0 when all hold."""
    wanted = [step for step in STEPS if not arguments or step[0] in arguments]
    unknown = set(arguments) - {name for name, _ in STEPS}
    if unknown:
        print(
            f"hub: unknown step {', '.join(sorted(unknown))}; there are {', '.join(n for n, _ in STEPS)}",
            file=sys.stderr,
        )
        return 2
    env = {**os.environ, **child_environment({}), "HIE_DATABASE_POOL": "0"}
    failed = []
    for name, command in wanted:
        began = time.monotonic()
        say(f"check {name} …")
        done = subprocess.run(command, cwd=ROOT, env=env, check=False)
        outcome = "holds" if done.returncode == 0 else "FAILS"
        say(f"check {name}: {outcome} ({time.monotonic() - began:.1f} s)")
        if done.returncode:
            failed.append(name)
    say("check: all hold" if not failed else f"check: failed: {', '.join(failed)}")
    return 1 if failed else 0
