"""Run the MLLP listener until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from hie.faces.hl7v2.mllp import Listener, Tls


class Command(BaseCommand):
    help = "Receive HL7 v2 messages over MLLP. Prints one line when ready; SIGTERM stops it after the message in hand."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=getattr(settings, "MLLP_BIND", "127.0.0.1"))
        parser.add_argument("--port", type=int, default=settings.MLLP_PORT)

    def handle(self, *args: Any, **options: Any) -> None:
        certificate = getattr(settings, "MLLP_TLS_CERTIFICATE", None)
        tls = None
        if certificate:
            tls = Tls(
                certificate=str(certificate),
                key=str(settings.MLLP_TLS_KEY),
                client_ca=str(settings.MLLP_TLS_CLIENT_CA),
            )
        try:
            listener = Listener(options["host"], options["port"], tls=tls)
            asyncio.run(self._run(listener, options["host"], tls is not None))
        except (ValueError, OSError) as problem:
            raise CommandError(str(problem)) from problem

    async def _run(self, listener: Listener, host: str, tls: bool) -> None:
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        # As one thread of a whole hub in one process, the process's own end is the listener's.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, done.set)
        await listener.start()
        self.stdout.write(f"mllp ready on {host}:{listener.port}{' (TLS)' if tls else ''}")
        self.stdout.flush()
        await done.wait()
        await listener.stop()
        self.stdout.write("mllp stopped")
