"""`./hub audit_sealer`: seal the log until told to stop."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from hie.audit import seal


class Command(BaseCommand):
    help = "Seals audit events in the order they are committed and signs checkpoints; stops cleanly on SIGTERM."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="seal what waits, sign a checkpoint, and end")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["once"]:
            self.stdout.write(f"sealed {seal.seal_now()}")
            return
        # Whoever waits for an answer goes first: a seal may be two seconds behind.
        os.nice(10)
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        seal.run(stop)
