"""What is written into the log when the hub is started and when it is stopped.

Source: ITI TF-2 3.20.4.1.1.1 (Actor-start-stop); DICOM PS3.15 A.5.3.1.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import structlog
from django.db import connections

from hie.audit.kinds import EventType

log = structlog.get_logger("hie.lifetime")


@contextlib.contextmanager
def recorded(process: str) -> Iterator[None]:
    """Record that the hub's `process` begins to serve, and when it ends by being told to; killed, it says nothing.

    A database that is away, or a key that is missing, keeps nobody from serving: what could not be written stands in the
    hub's own log. No connection is left open, in no pool: what is forked within would share it.
    """
    _write(EventType.APPLICATION_STARTED, process)
    try:
        yield
    finally:
        _write(EventType.APPLICATION_STOPPED, process)


def _write(kind: EventType, process: str) -> None:
    # Of the log, and of Django, nothing can be loaded before the hub is set up.
    from hie.audit import recorder

    try:
        recorder.write([recorder.EventDraft(kind=kind, caller=None, detail={"process": process})])
    except Exception as error:  # the edge of a process: to serve matters more than to have said so
        log.warning("start or stop could not be recorded", kind=kind.value, error=type(error).__name__)
    finally:
        _let_go()


def _let_go() -> None:
    """Close what this process holds of the database, the connections that a pool keeps for later among it."""
    for connection in connections.all(initialized_only=True):
        connection.close()
        close_pool = getattr(connection, "close_pool", None)
        if close_pool is not None:
            close_pool()
