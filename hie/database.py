"""Statements of hot paths, which PostgreSQL parses and plans once a connection and not at every use.

Planning the join that finds a person's records takes three times as long as running it. Values travel beside the
statement: its text must be the same every time, and a type that cannot be seen from where a value stands is written
(``%s::bigint[]``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.base import ServerBindingCursor

__all__ = ["prepared"]


_Base: Any = ServerBindingCursor  # Django chooses what it is by the driver it finds


class _Cursor(_Base):  # type: ignore[misc]  # see above
    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        return super().execute(query, params, **{"prepare": True} | options)

    def _send_query_prepared(self, name: bytes, pgq: Any, **options: Any) -> None:
        # The driver keeps the text of unprepared statements only; Django tells it in its list of queries.
        self._query = pgq
        super()._send_query_prepared(name, pgq, **options)


@contextmanager
def prepared(using: BaseDatabaseWrapper | None = None) -> Iterator[Any]:
    """A cursor whose statements are kept ready on the connection, that given or the usual one; else as any other.

    The plan is made without looking at the values: for statements that are to go by the same indexes whatever they
    are asked.
    """
    connection = using or connections[DEFAULT_DB_ALIAS]
    connection.ensure_connection()
    connection.validate_thread_sharing()
    with connection.wrap_database_errors:
        raw: Any = _Cursor(connection.connection)
    with connection.make_debug_cursor(raw) if connection.queries_logged else connection.make_cursor(raw) as cursor:
        yield cursor
