"""Statements of hot paths, which PostgreSQL parses and plans once a connection and not at every use.

Planning the join that finds a person's records takes three times as long as running it. Values travel beside the
statement: its text must be the same every time, and a type that cannot be seen from where a value stands is written
(``%s::bigint[]``).

A statement that the driver has prepared on a connection is from then on sent by one call of libpq, and its rows are read
by the converters that the driver chose for it the first time: a cursor of Django over one of the driver costs three
times that (0.17 against 0.05 ms).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.base import ServerBindingCursor
from django.db.models import NOT_PROVIDED, Model
from psycopg import OperationalError
from psycopg._queries import PostgresQuery
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.types.datetime import TimestamptzLoader

__all__ = ["insert", "prepared"]

_ROWS, _DONE, _IDLE = ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK, TransactionStatus.IDLE
_TO_BE_PREPARED_ANEW = frozenset({"0A000", "26000"})
"""A table that the statement reads was altered, or the statement is not known: every other error leaves it prepared."""
_MOST = 200
"""Statements known on a connection; the driver keeps a hundred of them prepared."""
_MOST_ROWS, _MOST_AT_ONCE = 4, 1000
"""Rows that `insert` writes by one statement: of a model with lists or JSON each number of them is another statement."""

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


def insert(rows: Iterable[Model]) -> None:
    """Write rows of one model and give each its id, as `bulk_create` does; one statement, kept ready.

    For the few rows that a hot path writes each time: Django would put the same statement together anew. The values
    go the way of the model's fields; no signal is sent, as by `bulk_create`.
    """
    given = list(rows)
    if not given:
        return
    model = type(given[0])
    shape = _shape(model)
    if shape is None or len(given) > (_MOST_ROWS if shape.nested else _MOST_AT_ONCE):
        model._default_manager.bulk_create(given)
        return
    using = connections[DEFAULT_DB_ALIAS]
    values = [[f.get_db_prep_save(f.pre_save(row, True), using) for f in shape.fields] for row in given]
    with prepared(using) as cursor:
        if shape.nested:
            cursor.execute(_insertion(model, len(given)), [value for row in values for value in row])
        else:
            cursor.execute(_insertion(model, 0), [*map(list, zip(*values, strict=True))])
        # A statement gives the rows in the order in which it made them.
        for row, found in zip(given, cursor.fetchall() if shape.returning else (), strict=bool(shape.returning)):
            row.pk = found[0]
    for row in given:
        row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS


class _Shape(NamedTuple):
    """How rows of a model are written: its fields, their types in SQL, and whether a value may be a list or JSON."""

    fields: tuple[Any, ...]
    kinds: tuple[str, ...]
    nested: bool
    into: str
    returning: str


@lru_cache(maxsize=64)
def _shape(model: type[Model]) -> _Shape | None:
    """None for a model that `insert` leaves to Django: of which the database makes a value, or which has a parent."""
    using = connections[DEFAULT_DB_ALIAS]
    meta = model._meta
    own = meta.auto_field
    fields = tuple(field for field in meta.local_concrete_fields if field is not own)
    if meta.parents or any(field.db_default is not NOT_PROVIDED or field.generated for field in fields):
        return None
    # A cast to a length would cut what is too long; as text it is refused.
    kinds = tuple("text" if (kind := str(field.db_type(using))).startswith("varchar") else kind for field in fields)
    quote = using.ops.quote_name
    columns = ", ".join(quote(str(field.column)) for field in fields)
    into = f"INSERT INTO {quote(meta.db_table)} ({columns})"
    returning = f"RETURNING {quote(str(own.column))}" if own is not None else ""
    return _Shape(fields, kinds, any(kind == "jsonb" or kind.endswith("]") for kind in kinds), into, returning)


@lru_cache(maxsize=256)
def _insertion(model: type[Model], rows: int) -> str:
    """The statement for so many rows, each column of each being a value; 0: for any number, each column being a list."""
    shape = _shape(model)
    assert shape is not None
    if rows:
        line = f"({', '.join(f'%s::{kind}' for kind in shape.kinds)})"
        return f"{shape.into} VALUES {', '.join([line] * rows)} {shape.returning}"
    columns = ", ".join(f"%s::{kind}[]" for kind in shape.kinds)
    return f"{shape.into} SELECT * FROM unnest({columns}) {shape.returning}"  # noqa: S608  # names of tables and columns
