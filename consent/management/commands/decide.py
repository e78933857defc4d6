"""Consent decisions for worked cases: `./hub decide CASES.json`.

Reads `fixture` and `cases` of one file, prints one JSON line a case, in order.
No database. An unusable case is deny G1; an unusable file ends with exit code 2.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from consent.cases import Fixture, decide_case


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
            data = json.loads(raw)
        except OSError as problem:
            self._unusable(f"{name}: {problem.strerror}")
        except (ValueError, RecursionError):
            self._unusable(f"{name}: not JSON in UTF-8")
        if not isinstance(data, dict) or not isinstance(data.get("fixture"), dict):
            self._unusable(f"{name}: has no object `fixture`")
        if not isinstance(data.get("cases"), list):
            self._unusable(f"{name}: has no list `cases`")
        fixture = Fixture(data["fixture"])
        for case in data["cases"]:
            self.stdout.write(json.dumps(decide_case(case, fixture), ensure_ascii=False))

    def _unusable(self, message: str) -> None:
        self.stderr.write(f"decide: {message}")
        raise SystemExit(2)
