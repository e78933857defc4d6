"""Consent decisions for worked cases: `./hub decide CASES.json`.

Reads `fixture` and `cases` of one file, prints one JSON line a case, in order.
No database. An unusable case is deny G1; an unusable file ends with exit code 2.
Many cases are shared out among the processors: each is decided by itself, from what the file says and nothing else.
"""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NoReturn

from django.core.management.base import BaseCommand

from consent.case_fixtures import Fixture
from consent.case_values import Unusable
from consent.cases import CaseFile, decide_case

PART = 100
"""Cases that are decided together."""
MANY = 5
"""So many parts are worth further processes."""

_shared: dict[str, Any] = {}


def _lines(file: CaseFile, fixture: Fixture, numbers: range) -> str:
    # Escaped, so that no character of an id fails on its way out.
    return "\n".join(json.dumps(decide_case(file.case(number), fixture)) for number in numbers)


def _shared_lines(numbers: range) -> str:
    return _lines(_shared["file"], _shared["fixture"], numbers)


class Command(BaseCommand):
    """Prints the decision for each case of a file."""

    help = "Consent decisions for the cases of a JSON file; needs no database."
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One argument: the file ("-" for standard input)."""
        parser.add_argument("file", metavar="CASES.json")

    def handle(self, *args: Any, **options: Any) -> None:
        """Decide and print; nothing is stored."""
        name = options["file"]
        try:
            raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
            file = CaseFile(raw.decode("utf-8-sig"))
            del raw
        except OSError as problem:
            self._unusable(f"{name}: {problem.strerror}")
        except Unusable as problem:
            self._unusable(f"{name}: {problem}")
        except (ValueError, RecursionError):
            self._unusable(f"{name}: not JSON in UTF-8")
        numbers = range(len(file))
        parts = [numbers[n : n + PART] for n in range(0, len(numbers), PART)]
        processors = os.cpu_count() or 1
        if len(parts) < MANY or processors < 2:
            fixture = Fixture(file.fixture)
            for part in parts:
                self.stdout.write(_lines(file, fixture, part))
            return
        # Forked, so that each has the text without a copy of it; of its own is what it keeps compiled of the fixture.
        _shared.update(file=file, fixture=Fixture(file.fixture))
        with ProcessPoolExecutor(processors, mp_context=get_context("fork")) as crew:
            for lines in crew.map(_shared_lines, parts):
                self.stdout.write(lines)

    def _unusable(self, message: str) -> NoReturn:
        self.stderr.write(f"decide: {message}")
        raise SystemExit(2)
