"""What every test may rely on: the throw-away database, and rows that go back after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

LOG_TABLES = ["audit_event", "audit_disclosure", "audit_seal", "audit_checkpoint"]


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: object) -> None:
    """Let the test runner empty the log between tests that commit; the log itself refuses TRUNCATE."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:  # type: ignore[attr-defined]  # pytest-django's
        cursor.execute("SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relname LIKE 'audit\\_event%'")
        for table in {*LOG_TABLES, *(name for (name,) in cursor.fetchall())}:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER audit_no_truncate")
            cursor.execute(f"GRANT TRUNCATE ON {table} TO CURRENT_USER")


@pytest.fixture(autouse=True)
def _fresh_audit_keys() -> Iterator[None]:
    """A patient's audit key remembered by the process may be a row that the last test took back."""
    from hie.audit import personal

    personal.forget_keys()
    yield
    personal.forget_keys()
