"""Consent decisions for worked cases: `./hub decide CASES.json`.

Reads `fixture` and `cases` of one file, prints one JSON line a case, in order.
No database. An unusable case is deny G1; an unusable file ends with exit code 2.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, NoReturn

from django.core.management.base import BaseCommand

from consent.case_fixtures import Fixture
from consent.case_values import Unusable
from consent.cases import CaseFile, decide_case


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
        fixture = Fixture(file.fixture)
        for case in file.cases():
            # Escaped, so that no character of an id fails on its way out.
            self.stdout.write(json.dumps(decide_case(case, fixture)))

    def _unusable(self, message: str) -> NoReturn:
        self.stderr.write(f"decide: {message}")
        raise SystemExit(2)
