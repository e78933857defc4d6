"""`./hub worker`: takes tasks from the queue, in threads: the work waits on the network and the database."""

from __future__ import annotations

import os
import sys


def main(arguments: list[str]) -> int:
    """Work until told to stop; further Celery options may be given."""
    from hie import heap

    heap.load()
    from celery.signals import worker_ready

    from hie.celery import app

    app.set_default()
    from django.conf import settings

    refuse_if_wrong()
    # Whoever waits at the hub's door goes first: what a worker asks of others takes its time with them anyway.
    os.nice(5)
    worker_ready.connect(heap.settle, weak=False)
    options = ["worker", "--pool=threads", f"--concurrency={settings.WORKER_THREADS}", "--loglevel=INFO"]
    options += ["--without-gossip", "--without-mingle", "-Q", "hie", *arguments]
    app.worker_main(options)
    return 0


def refuse_if_wrong() -> None:
    """The worker runs no management command, hence no system check: ask here."""
    import django

    django.setup()
    from hie.ops.checks import refuse_to_start_on_errors

    refuse_to_start_on_errors()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
