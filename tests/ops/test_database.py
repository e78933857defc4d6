"""Prepared statements: planned once a connection, whatever they are asked; counted and checked as any other."""

from __future__ import annotations

import pytest
from django.db import DataError, connection
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
