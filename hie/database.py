"""Statements of hot paths, which PostgreSQL parses and plans once a connection and not at every use.

Planning the join that finds a person's records takes three times as long as running it. Values travel beside the
statement: its text must be the same every time, and a type that cannot be seen from where a value stands is written
(``%s::bigint[]``).

A statement that the driver has prepared on a connection is from then on sent by one call of libpq, and its rows are read
by the converters that the driver chose for it the first time: a cursor of Django over one of the driver costs three
times that (0.17 against 0.05 ms).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from types import TracebackType
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.base import ServerBindingCursor
from psycopg import OperationalError
from psycopg._queries import PostgresQuery
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.types.datetime import TimestamptzLoader

__all__ = ["prepared"]

_ROWS, _DONE, _IDLE = ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK, TransactionStatus.IDLE
_TO_BE_PREPARED_ANEW = frozenset({"0A000", "26000"})
"""A table that the statement reads was altered, or the statement is not known: every other error leaves it prepared."""
_MOST = 200
"""Statements known on a connection; the driver keeps a hundred of them prepared."""

_Base: Any = ServerBindingCursor  # Django chooses what it is by the driver it finds


class _Cursor(_Base):  # type: ignore[misc]  # see above
    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        return super().execute(query, params, **{"prepare": True} | options)

    def _send_query_prepared(self, name: bytes, pgq: Any, **options: Any) -> None:
        # The driver keeps the text of unprepared statements only; Django tells it in its list of queries.
        self._query = pgq
        super()._send_query_prepared(name, pgq, **options)


class _Instant(TimestamptzLoader):
    """An instant as the standard library reads it: in UTC, as the sessions of the hub are."""

    def load(self, data: Any) -> datetime:
        try:
            return datetime.fromisoformat(str(data, "ascii"))
        except ValueError:  # an instant before our era, or none at all
            return super().load(data)


class _Context:
    """What values and rows of a connection are converted by: the connection's own, but for instants."""

    def __init__(self, raw: Any) -> None:
        self.connection = raw
        self.adapters = AdaptersMap(raw.adapters)
        self.adapters.register_loader("timestamptz", _Instant)


class _Known:
    """A statement on one connection, with the converters of its values and of its rows."""

    __slots__ = ("bare", "loads", "query", "transformer")

    def __init__(self, raw: Any, sql: str, params: Any) -> None:
        self.transformer = Transformer(_Context(raw))
        self.query = PostgresQuery(self.transformer)
        self.query.convert(sql, params)
        self.bare = params is None
        self.loads: tuple[int, ...] | None = None

    def rows(self, result: Any) -> list[Any]:
        """All rows; nothing of them is kept."""
        # The columns may be of other types where the values are.
        self.transformer.set_pgresult(result, set_loaders=self.loads != self.query.types)
        self.loads = self.query.types
        rows = self.transformer.load_rows(0, result.ntuples, tuple)
        self.transformer.set_pgresult(None, set_loaders=False)
        return rows


def _check(raw: Any, result: Any) -> Any:
    """The status of a result that is none of an error.

    Raises:
        psycopg.Error: what the driver would raise.
    """
    status = result.status
    if status != _ROWS and status != _DONE:
        if raw.pgconn.status != ConnStatus.OK:
            raise OperationalError("the connection is lost")
        raise error_from_result(result)
    return status


class prepared:  # noqa: N801  # a function in all but its making: a generator would cost more than what it does
    """A cursor whose statements are kept ready on the connection, that given or the usual one; else as any other.

    The plan is made without looking at the values: for statements that are to go by the same indexes whatever they
    are asked. All rows of a statement are there when it has been executed.
    """

    __slots__ = ("_connection", "_rows", "_slow", "rowcount")

    def __init__(self, using: BaseDatabaseWrapper | None = None) -> None:
        self._connection: Any = using or connections[DEFAULT_DB_ALIAS]
        self._slow: Any = None
        self._rows: list[Any] | None = None
        self.rowcount = -1

    def __enter__(self) -> prepared:
        if self._connection.connection is None:
            self._connection.ensure_connection()
        self._connection.validate_thread_sharing()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._slow is not None:
            self._slow.close()

    def execute(self, sql: str, params: Any = None) -> None:
        """Run a statement."""
        connection = self._connection
        raw = connection.connection
        known: dict[str, _Known] = raw.__dict__.setdefault("_hie_known", {})
        held = known.get(sql)
        name = None
        if held is not None and not (connection.needs_rollback or connection.execute_wrappers):
            try:
                name = self._name(held, raw, params)
            except Exception:
                with connection.wrap_database_errors:
                    raise
        if held is None or name is None or connection.queries_logged:
            # Prepared anew it may have other columns than before.
            known.pop(sql, None)
            self._run(sql, params)
            if len(known) >= _MOST:
                known.clear()
            known[sql] = _Known(raw, sql, params)
            return
        try:
            if not raw._autocommit and raw.pgconn.transaction_status == _IDLE:
                _check(raw, raw.pgconn.exec_(raw._get_tx_start_command()))
            result = raw.pgconn.exec_prepared(name, held.query.params, held.query.formats)
            status = _check(raw, result)
            self._rows = held.rows(result) if status == _ROWS else None
        except Exception as error:
            if getattr(error, "sqlstate", None) in _TO_BE_PREPARED_ANEW:
                raw._prepared._names.pop((held.query.query, held.query.types), None)
                if raw.pgconn.transaction_status == _IDLE:
                    # The driver has the server forget it; in a transaction that it rolls back it does so of itself.
                    raw._prepared._to_flush.append(name)
            with connection.wrap_database_errors:
                raise
        self.rowcount = result.ntuples if status == _ROWS else result.command_tuples

    @staticmethod
    def _name(held: _Known, raw: Any, params: Any) -> bytes | None:
        """What the driver calls the statement on this connection; None where it is not prepared or has to wait its turn."""
        manager = raw._prepared
        if manager._to_flush or held.bare != (params is None) or raw._pipeline is not None:
            return None
        query = held.query
        query.dump(params)
        key = (query.query, query.types)
        name: bytes | None = manager._names.get(key)
        if name is not None:
            manager._names.move_to_end(key)
        return name

    def _run(self, sql: str, params: Any) -> None:
        connection = self._connection
        if self._slow is None:
            with connection.wrap_database_errors:
                raw: Any = _Cursor(connection.connection)
            self._slow = connection.make_debug_cursor(raw) if connection.queries_logged else connection.make_cursor(raw)
        self._slow.execute(sql, params)
        self._rows = self._slow.fetchall() if self._slow.description is not None else None
        self.rowcount = self._slow.rowcount

    def fetchall(self) -> list[Any]:
        """The rows that were not fetched yet."""
        rows, self._rows = self._rows or [], []
        return rows

    def fetchone(self) -> Any:
        """The next row, None after the last."""
        return self._rows.pop(0) if self._rows else None

    def __iter__(self) -> Iterator[Any]:
        return iter(self.fetchall())
