"""Waiting for queries to complete: one reader of rows for all who wait in this process.

Twenty callers that each poll would cost more than the questions they wait for.
"""

from __future__ import annotations

import threading
import time
from uuid import UUID

import structlog
from django.db import DatabaseError, close_old_connections, connection

from hie.exchange.models import Query

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
                ended = Query.objects.filter(pk__in=awaited).exclude(status=Query.Status.RUNNING)
                for query_id in ended.values_list("pk", flat=True):
                    with self._lock:
                        for event in self._waiting.get(query_id, ()):
                            event.set()
            except DatabaseError:
                # Those who wait settle by the clock as well; the database may be back at the next turn.
                log.exception("query.watch")
                close_old_connections()
            time.sleep(POLL_S)
        connection.close()


WATCH = Watch()
