"""One whole hub in one process: web, worker, beat, MLLP and sealer as threads.

For the communities beside the sandbox's hub, where memory counts more than throughput. The code that serves is the
same as in separate processes; only the arrangement differs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import structlog

log = structlog.get_logger("hie.onehub")


def main(arguments: list[str]) -> int:
    """Serve until told to stop; ends with an error as soon as one of its parts does."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hie.settings")
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    from hie.ops import lifetime
    from hie.wsgi import application

    parts: list[tuple[str, Callable[[], Any]]] = [
        ("worker", run_worker),
        ("beat", run_beat),
        ("mllp", command("mllp")),
        ("audit-sealer", command("audit_sealer")),
    ]
    keep_signals_to_main_thread()
    for name, part in parts:
        threading.Thread(target=guarded, args=(name, part), name=name, daemon=True).start()
    status = 1
    try:
        with lifetime.recorded("hub"):
            serve(application)
        status = 0
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else 0
    finally:
        # The other threads sit in system calls; what they do is rows, and safe to leave at any moment.
        logging.shutdown()
        os._exit(status)


def guarded(name: str, part: Callable[[], Any]) -> None:
    """Run a part; its end is the end of the process, so that the supervisor sees it."""
    try:
        part()
    except BaseException as error:  # the edge of a thread: nothing above would see it
        log.error("a part of the hub ended", part=name, exc_info=error)
    else:
        log.error("a part of the hub ended", part=name)
    os._exit(1)


def keep_signals_to_main_thread() -> None:
    """Make handlers for signals do nothing in other threads, where setting one would raise."""
    original = signal.signal

    def in_main_thread_only(number: int, handler: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            return original(number, handler)
        return signal.getsignal(number)

    setattr(signal, "signal", in_main_thread_only)  # noqa: B010  # mypy forbids replacing a function
    loops = asyncio.SelectorEventLoop
    on_loop = loops.add_signal_handler

    def on_main_loop_only(self: Any, number: int, *rest: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            on_loop(self, number, *rest)

    setattr(loops, "add_signal_handler", on_main_loop_only)  # noqa: B010  # as above


def serve(application: Any) -> None:
    """Granian's WSGI worker in threads of this process, until SIGTERM or SIGINT."""
    from django.conf import settings
    from granian.constants import HTTPModes, Interfaces
    from granian.server.mt import MTServer

    class InThreads(MTServer):
        """Granian keeps its threaded server to builds without the GIL; for a handful of requests a second it serves
        as well with one, and saves the memory of a second process."""

        def _check_gil(self) -> None:
            return None

    server = InThreads(
        "hie.wsgi:application",
        address=settings.BIND,
        port=settings.PORT,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        workers=1,
        blocking_threads=settings.WEB_THREADS,
        backpressure=settings.WEB_THREADS * 4,
        log_access=False,
    )
    server.serve(target_loader=lambda: application, wrap_loader=False)


def run_worker() -> None:
    """Tasks, in threads of this process."""
    from django.conf import settings

    from hie.celery import app

    app.set_default()
    asyncio.set_event_loop(asyncio.new_event_loop())
    worker = app.Worker(
        pool_cls="threads",
        concurrency=settings.WORKER_THREADS,
        loglevel="INFO",
        queues=["hie"],
        without_gossip=True,
        without_mingle=True,
        hostname=f"{os.environ.get('HIE_ROLE', 'onehub')}@localhost",
    )
    worker.start()


def run_beat() -> None:
    """The clock."""
    from celery.beat import Service

    from hie.celery import app

    Service(app, scheduler_cls=app.conf.beat_scheduler).start()


def command(name: str) -> Callable[[], None]:
    """A management command as a part, its checks done once by the process."""

    def run() -> None:
        from django.core.management import call_command

        call_command(name, skip_checks=True)

    return run


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
