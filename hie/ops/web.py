"""`./hub web`: the hub's HTTP server, Granian over WSGI, bounded in processes and threads."""

from __future__ import annotations

import os
import sys
from typing import Any


def main(arguments: list[str]) -> int:
    """Serve until told to stop; options come from the settings."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hie.settings")
    from hie import heap

    heap.load()
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces

    from hie.ops import lifetime
    from hie.wsgi import application

    warm_up()
    from django.conf import settings

    # Workers are forked from this loaded process; what the collector never touches stays shared between them.
    heap.settle()
    server = Granian(
        "hie.wsgi:application",
        address=settings.BIND,
        port=settings.PORT,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        workers=settings.WEB_WORKERS,
        blocking_threads=settings.WEB_THREADS,
        backlog=1024,
        backpressure=settings.WEB_THREADS * 4,
        respawn_failed_workers=False,
        workers_kill_timeout=20,
        log_access=False,
    )
    with lifetime.recorded("web"):
        server.serve(target_loader=lambda: application, wrap_loader=False)
    return 0


def warm_up() -> None:
    """Load before the fork what the first request would load in each worker: URLs, templates' engine, the queue's client."""
    from django.template import engines
    from django.urls import get_resolver

    from hie.celery import app

    resolver: Any = get_resolver()
    _ = resolver.url_patterns
    engines.all()
    # Nothing connects here; the first task to be sent would else load a tenth of a second of modules.
    app.finalize()
    _ = app.amqp.router, app.backend, app.events
    app.connection_for_write().get_transport_cls()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
