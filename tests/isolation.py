"""Tests that commit leave nothing behind: the log may be emptied between them, and caches forget.

Loaded for every test by `conftest.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: object) -> None:
    """Let the test runner empty the log between tests that commit; the log itself refuses TRUNCATE."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:  # type: ignore[attr-defined]  # pytest-django's
        cursor.execute(
            "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal AND (tgtype & 60) = 32"
        )
        for table, trigger in cursor.fetchall():
            cursor.execute(f'ALTER TABLE {table} DISABLE TRIGGER "{trigger}"')
            cursor.execute(f"GRANT TRUNCATE ON {table} TO CURRENT_USER")


@pytest.fixture(autouse=True)
def fresh_caches() -> Iterator[None]:
    """What a process remembers of rows that the last test took back."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    from consent import directives, policies
    from hie.audit import personal
    from hie.directory import queries as directory

    personal.forget_keys()
    policies.forget()
    # The caches are keyed by epochs; a test that commits takes the epochs themselves back.
    directory._cached = None
    directives._cache._items.clear()
