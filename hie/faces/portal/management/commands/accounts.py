"""``./hub accounts FILE.json``: create or update accounts of patients, their helpers, and the exchange's own staff."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser

from hie.exchange import accounts
from hie.exchange.errors import BadRequest


class Command(BaseCommand):
    help = "Create or update accounts from a JSON file, all or none; prints updated|unchanged LOGIN a line."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="the accounts file")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        try:
            document = orjson.loads(path.read_bytes())
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}") from error
        except orjson.JSONDecodeError as error:
            raise CommandError(f"{path}: not JSON: {error}") from error
        try:
            results = accounts.load(document)
        except BadRequest as refused:
            raise CommandError(f"{refused.element}: {refused}") from refused
        for result, login in results:
            self.stdout.write(f"{result} {login}")
