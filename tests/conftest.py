"""What every test may rely on, and which lanes are left out with a word about it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.isolation import django_db_setup, fresh_caches  # noqa: F401 - fixtures for every test
from django.db import connection

SHARED = Path(os.environ.get("HIE_SHARED") or Path(__file__).resolve().parent.parent.parent / "shared")


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("HIE_SHARED", str(SHARED))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without the sample data the tests on it are left out; the summary says so once."""
    if SHARED.is_dir():
        return
    left = [item for item in items if item.get_closest_marker("shared")]
    if left:
        items[:] = [item for item in items if item not in left]
        config.hook.pytest_deselected(items=left)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not SHARED.is_dir():
        terminalreporter.write_line(f"left out: the tests on shared sample data ({SHARED} is missing; set HIE_SHARED)")


LOG_TABLES = ("audit_event", "audit_disclosure", "audit_seal", "audit_checkpoint")


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
