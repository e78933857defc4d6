"""Waiting for queries to complete: one reader of rows for all who wait in this process.

Twenty callers that each poll would cost more than the questions they wait for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog
from django.db import DatabaseError, close_old_connections, connection

log = structlog.get_logger(__name__)

POLL_S = 0.03


class Watch:
    """Tells those who wait that their query no longer runs. Its thread lives while somebody waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[UUID, list[threading.Event]] = {}
        self._alive = False

    def wait(self, query_id: UUID, seconds: float) -> bool:
        """Whether the query stopped running within `seconds`; it may be late to notice by `POLL_S`."""
        event = threading.Event()
        with self._lock:
            self._waiting.setdefault(query_id, []).append(event)
            if not self._alive:
                self._alive = True
                threading.Thread(target=self._look, name="query-watch", daemon=True).start()
        try:
            return event.wait(seconds)
        finally:
            with self._lock:
                others = self._waiting.get(query_id, [])
                if event in others:
                    others.remove(event)
                if not others:
                    self._waiting.pop(query_id, None)

    def _look(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._alive = False
                    break
                awaited = list(self._waiting)
            try:
                for query_id in _ended(awaited):
                    with self._lock:
                        for event in self._waiting.get(query_id, ()):
                            event.set()
            except DatabaseError:
                # Those who wait settle by the clock as well; the database may be back at the next turn.
                log.exception("query.watch")
                close_old_connections()
            time.sleep(POLL_S)
        connection.close()


def _ended(query_ids: list[UUID]) -> list[UUID]:
    # Thirty times a second: without the ORM this costs a tenth.
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM exchange_query WHERE id = ANY(%s) AND status <> 'running'", [query_ids])
        return [row[0] for row in cursor.fetchall()]


WATCH = Watch()


class Room:
    """Room for a few who ask or read at once in this process, each with a database connection; the others wait outside.

    More at once would only take turns at the interpreter, and twenty callers in one moment would open twenty
    connections, each of which costs more than what it is opened for.
    """

    def __init__(self, places: int) -> None:
        self._places = threading.BoundedSemaphore(places)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Take a place for the length of the block."""
        with self._places:
            yield

    @contextmanager
    def left(self) -> Iterator[None]:
        """Give up the place taken with `entered`, and the connection, for the length of the block."""
        if not connection.in_atomic_block:
            connection.close()
        self._places.release()
        try:
            yield
        finally:
            self._places.acquire()


ROOM = Room(3)
