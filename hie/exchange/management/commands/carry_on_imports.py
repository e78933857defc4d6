"""carry_on_imports: settle the bulk imports that came over HTTP; started by the worker, ends with it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from hie.exchange import imports


class Command(BaseCommand):
    """One pass over what waits; nothing where another process is at it."""

    help = "Carry on the bulk imports that came over HTTP (the worker does this by itself)."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Behind everybody who waits for an answer, and gone when the worker is."""
        signal.signal(signal.SIGTERM, lambda *_: os._exit(1))  # what is committed stays, the rest is done again
        if not os.isatty(0):
            threading.Thread(target=_end_with_parent, daemon=True).start()
        with contextlib.suppress(OSError):
            os.nice(10)
        imports.carry_on()


def _end_with_parent() -> None:
    # Not through sys.stdin: processes forked meanwhile would find its lock taken for good.
    while os.read(0, 1024):
        pass
    os._exit(1)
