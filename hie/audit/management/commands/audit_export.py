"""`./hub audit_export --out FILE`: the log as a file anyone can check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from hie.audit import export, seal
from hie.audit.recorder import EventDraft, EventType, write


class Command(BaseCommand):
    help = "Exports the sealed audit log (NDJSON) with the standalone verifier beside it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--out", type=Path, required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        write([EventDraft(kind=EventType.AUDIT_EXPORT, caller=None, detail={"command": "audit_export"})])
        seal.seal_now()
        self.stdout.write(f"exported {export.write(options['out'])} events to {options['out']}")
