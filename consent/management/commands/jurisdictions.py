"""Loads or updates jurisdictions: `./hub jurisdictions FILE.json`, in the form of the worked cases' fixture."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from consent import jurisdictions
from consent.errors import JurisdictionRefused


class Command(BaseCommand):
    """Prints `created|updated|unchanged CODE` a line; changes nothing on any error."""

    help = 'Loads jurisdictions from {"jurisdictions": {CODE: {…}}}.'

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One argument: the file ("-" for standard input)."""
        parser.add_argument("file", metavar="FILE.json")

    def handle(self, *args: Any, **options: Any) -> None:
        """Load all or nothing."""
        name = options["file"]
        try:
            data = json.loads(sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes())
        except (OSError, ValueError, RecursionError) as problem:
            raise CommandError(f"{name}: cannot be read as JSON") from problem
        found = data.get("jurisdictions") if isinstance(data, dict) else None
        if not isinstance(found, dict):
            raise CommandError(f"{name}: has no object `jurisdictions`")
        try:
            outcomes = jurisdictions.load(found)
        except JurisdictionRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        for code, outcome in outcomes.items():
            self.stdout.write(f"{outcome} {code}")
