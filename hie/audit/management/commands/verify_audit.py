"""`./hub verify_audit`: check the audit log, or an export of it."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.dateparse import parse_datetime

from hie.audit import verify
from hie.audit.checkpoints import BadCheckpoint
from hie.audit.models import AuditSeal


class Command(BaseCommand):
    help = "Checks the audit log and names the first bad row. Exit code 1 when one is found."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--export", type=Path, help="check this export instead of the database")
        parser.add_argument("--checkpoint", type=Path, action="append", default=[], help="a checkpoint you kept")
        parser.add_argument("--from", dest="first", help="compute rows again from this number or instant on")
        parser.add_argument("--to", dest="last", help="… up to this number or instant")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["export"]:
                report = verify.verify_export(options["export"], shown=options["checkpoint"])
            else:
                report = verify.verify_live(
                    shown=options["checkpoint"],
                    first=_number(options["first"], first=True),
                    last=_number(options["last"], first=False),
                )
        except BadCheckpoint as error:
            raise CommandError(f"--checkpoint: {error}", returncode=1) from None
        except OSError as error:
            raise CommandError(f"cannot read {error.filename}: {error.strerror}", returncode=1) from None
        self.stdout.write(json.dumps(report.as_json()))
        if not report.ok:
            sys.exit(1)


def _number(value: str | None, *, first: bool) -> int | None:
    """A number as given, or the first (last) one sealed from (up to) an instant."""
    if value is None or value.isdigit():
        return None if value is None else int(value)
    try:
        moment: datetime | None = parse_datetime(value)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise CommandError(f"{value}: give a number of the log, or an instant such as 2026-11-19T00:00:00Z")
    if first:
        found = AuditSeal.objects.filter(at__gte=moment).order_by("seq").values_list("seq", flat=True).first()
        return found if found is not None else 2**62
    found = AuditSeal.objects.filter(at__lte=moment).order_by("-seq").values_list("seq", flat=True).first()
    return found if found is not None else 0
