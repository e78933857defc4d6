"""``./hub participants FILE.json``: create or update participants; ``--export`` writes them out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser

from hie.directory import registration
from hie.directory.errors import RegistrationRefused


class Command(BaseCommand):
    help = "Create or update participants from a JSON file; prints created|updated|unchanged ID a line."
    # What serves has checked its settings as it started, and checking loads every page: a third of the time.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="the participants file; with --export, where to write")
        parser.add_argument("--export", action="store_true", help="write all participants to FILE in the same form")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        if options["export"]:
            path.write_bytes(orjson.dumps(registration.export(), option=orjson.OPT_INDENT_2) + b"\n")
            return
        try:
            document = orjson.loads(path.read_bytes())
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}") from error
        except orjson.JSONDecodeError as error:
            raise CommandError(f"{path}: not JSON: {error}") from error
        try:
            results = registration.apply(document)
        except RegistrationRefused as refused:
            raise CommandError("\n".join(str(fault) for fault in refused.faults)) from refused
        for result, participant_id in results:
            self.stdout.write(f"{result} {participant_id}")
