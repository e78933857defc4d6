"""Prepared statements: planned once a connection, whatever they are asked; counted and checked as any other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.db import DataError, NotSupportedError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from documents.models import Blob, SubmissionSet
from hie.database import insert, prepared
from hie.outbox.models import OutboxMessage
from hie.terminology.models import CodeSet
from tests.documents.conftest import make_patients
from tests.documents.samples import ALICE

pytestmark = pytest.mark.django_db

AT = datetime(2026, 4, 1, 8, tzinfo=UTC)
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


# -- rows written --------------------------------------------------------------------------------------------------


def a_set(number: int, **changes: object) -> SubmissionSet:
    """A submission set with lists, JSON, a uuid and no text where none is needed."""
    values = {
        "entry_uuid": uuid4(), "unique_id": f"2.999.{number}", "identifier_keys": ["a", 'b,"{}\\'], "source_id": "2.999",
        "custodian": "org", "intended_recipients": [], "extra": {"k": ["\u00e9", None, {"x": 1}]}, "metadata": {},
        "submission_time": "20260401", "submission_time_from": AT, "submission_time_until": AT,
    }  # fmt: skip
    return SubmissionSet(**values | changes)


def columns(rows: list[SubmissionSet]) -> list[dict[str, object]]:
    """The rows as they lie there, but for their ids."""
    lying = SubmissionSet.objects.filter(pk__in=[row.pk for row in rows]).order_by("pk").values()
    return [{key: value for key, value in row.items() if key not in {"id", "entry_uuid"}} for row in lying]


@pytest.mark.parametrize("count", [1, 3, 9])
def test_rows_are_written_as_django_writes_them(count: int) -> None:
    patient = make_patients()[ALICE]
    for _ in range(2):  # the second time by the short way
        lying = []
        for write in (insert, SubmissionSet.objects.bulk_create):
            rows = [a_set(n, patient_identifier_id=patient, registered_at=AT, title="t" * n) for n in range(count)]
            write(rows)
            lying.append(columns(rows))
            assert [SubmissionSet.objects.get(pk=row.pk).entry_uuid for row in rows] == [row.entry_uuid for row in rows]
            assert not any(row._state.adding for row in rows)
            SubmissionSet.objects.all().delete()
        assert len(lying[0]) == count
        assert lying[0] == lying[1]


def test_rows_of_plain_columns_are_written_by_one_statement_whatever_their_number(
    django_assert_num_queries: Any,
) -> None:
    for count in (1, 2, 40):
        rows = [CodeSet(attribute=f"a{count}-{n}", mode="off", source="é") for n in range(count)]
        with django_assert_num_queries(1):
            insert(rows)
        assert [CodeSet.objects.get(pk=row.pk).attribute for row in rows] == [row.attribute for row in rows]
    insert([])


def test_a_row_of_which_the_database_makes_a_value_is_left_to_django() -> None:
    row = OutboxMessage(topic="t", key="k")
    insert([row])
    assert OutboxMessage.objects.get(pk=row.pk).receiver == ""


def test_what_is_too_long_for_its_column_is_refused_and_not_cut() -> None:
    blob = Blob(digest=b"d" * 32, size=1, sha1="f" * 41, storage_key="s", segment_size=1, wrapped_key=b"w", key_id="k")
    with pytest.raises(DataError), transaction.atomic():
        insert([blob])
    blob.sha1 = "f" * 40
    insert([blob])
    assert Blob.objects.get().digest == b"d" * 32
