"""Prepared statements: planned once a connection, whatever they are asked; counted and checked as any other."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.db import DataError, NotSupportedError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from hie.database import prepared

pytestmark = pytest.mark.django_db

SQL = "SELECT count(*) FROM generate_series(1, %s::int) AS n WHERE n = ANY(%s::bigint[])"


def plans() -> list[tuple[int, int]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE %s",
            ["%generate_series(1, $1::int)%"],
        )
        return [tuple(row) for row in cursor.fetchall()]


def test_a_statement_is_planned_once_whatever_it_is_asked() -> None:
    for limit, wanted, found in ((10, [1, 2, 400], 2), (500, [1, 2, 400], 3), (1, [5], 0)):
        with prepared() as cursor:
            cursor.execute(SQL, [limit, wanted])
            assert cursor.fetchone() == (found,)
    assert {custom for _, custom in plans()} == {0}
    assert sum(generic for generic, _ in plans()) == 3


def test_an_ordinary_statement_is_planned_for_its_values() -> None:
    with connection.cursor() as cursor:
        for _ in range(8):
            cursor.execute(SQL, [10, [1]])
    assert plans() == []


def test_prepared_statements_are_counted_and_their_errors_are_those_of_django() -> None:
    with (
        CaptureQueriesContext(
            connection,
        ) as seen,
        prepared() as cursor,
    ):
        cursor.execute("SELECT %s::int", [1])
    assert [query["sql"] for query in seen.captured_queries] == ["SELECT $1::int"]
    with pytest.raises(DataError), prepared() as cursor:
        cursor.execute("SELECT 1 / %s::int", [0])


def asked(sql: str, params: object = None) -> list[tuple[object, ...]]:
    with prepared() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()


def test_a_statement_answers_the_same_by_the_short_way_as_by_the_drivers() -> None:
    sql = "SELECT %s::bigint, %s::text, %s::timestamptz, %s::uuid, %s::jsonb, %s::bytea, ARRAY[1, NULL]::int[]"
    values = [2**40, "one", datetime(2026, 5, 3, 1, 2, tzinfo=UTC), uuid4(), '{"a": 1}', b"\x00\xff"]
    nothing: list[object] = [None] * 6
    first = [asked(sql, values), asked(sql, nothing)]
    assert first[0][0][:4] == tuple(values[:4])
    again = [asked(sql, values), asked(sql, nothing)]
    assert again == first
    assert [[type(one) for one in rows[0]] for rows in again] == [[type(one) for one in rows[0]] for rows in first]


def test_an_error_by_the_short_way_is_that_of_django_and_the_statement_can_be_asked_again() -> None:
    sql = "SELECT 10 / %s::int"
    assert asked(sql, [5]) == asked(sql, [5]) == [(2,)]
    with pytest.raises(DataError), transaction.atomic():
        asked(sql, [0])
    assert asked(sql, [2]) == [(5,)]


def test_a_statement_goes_on_when_the_table_it_reads_has_another_column() -> None:
    sql = "SELECT * FROM made_for_a_test WHERE %s::int = 1"
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE made_for_a_test AS SELECT 1 AS one")
    assert asked(sql, [1]) == asked(sql, [1]) == asked(sql, [1]) == [(1,)]
    # Not by the driver, which would take notice of it: as if somebody else did.
    connection.connection.pgconn.exec_(b"ALTER TABLE made_for_a_test ADD COLUMN two text DEFAULT 'two'")
    with pytest.raises(NotSupportedError), transaction.atomic():
        asked(sql, [1])
    assert asked(sql, [1]) == asked(sql, [1]) == asked(sql, [1]) == [(1, "two")]


def test_a_statement_that_was_asked_before_begins_the_transaction_it_is_the_first_of() -> None:
    asked("SELECT %s::int", [1])
    with transaction.atomic():
        assert asked("SELECT %s::int", [1]) == [(1,)]
        assert connection.connection.info.transaction_status.name == "INTRANS"


def test_nothing_is_asked_by_the_short_way_in_a_transaction_that_is_to_be_rolled_back() -> None:
    asked("SELECT %s::int", [1])
    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(TransactionManagementError):
            asked("SELECT %s::int", [1])


def test_rows_are_given_once_and_counted() -> None:
    for _ in range(2):
        with prepared() as cursor:
            cursor.execute("SELECT n FROM generate_series(1, %s::int) AS n", [3])
            assert (cursor.rowcount, cursor.fetchone(), cursor.fetchall()) == (3, (1,), [(2,), (3,)])
            assert (cursor.fetchone(), cursor.fetchall()) == (None, [])


def test_a_value_that_cannot_be_sent_and_a_row_that_cannot_be_read_are_errors_of_django() -> None:
    for sql, good, bad in (
        ("SELECT %s::text", "a", "a\x00b"),
        ("SELECT %s::text::timestamptz", "2026-05-03T00:00:00Z", "infinity"),
    ):
        assert asked(sql, [good]) == asked(sql, [good])
        with pytest.raises(DataError):
            asked(sql, [bad])
        assert len(asked(sql, [good])) == 1


def test_rows_are_read_by_the_types_that_the_values_give_them() -> None:
    assert [asked("SELECT %s", [value])[0][0] for value in (1, 1, "x", 1, "x", 1)] == [1, 1, "x", 1, "x", 1]


@pytest.mark.django_db(transaction=True)
def test_an_error_outside_of_a_transaction_leaves_no_statement_behind() -> None:
    sql = "SELECT 10 / %s::int AS left_behind"
    for _ in range(3):
        assert asked(sql, [5]) == asked(sql, [5]) == [(2,)]
        with pytest.raises(DataError):
            asked(sql, [0])
    assert asked("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%%$1::int AS left_behind'", []) == [
        (1,)
    ]
