"""Tests that commit leave nothing behind: their rows go, what migrations seeded comes back, and caches forget.

Loaded for every test by `conftest.py`.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.db import connection, transaction
from django.test import TransactionTestCase
from whitenoise.middleware import WhiteNoiseMiddleware

KEPT = frozenset({"django_migrations", "django_content_type", "auth_permission"})
"""Made by migrating and by nothing else."""

_tables: list[str] = []
_seeded: list[str] = []
_on_delete: list[tuple[str, str]] = []
"""Tables with a trigger on DELETE, such as those that only grow."""
_no_delete: list[str] = []
"""Tables that the hub's role may not delete from."""
FEW = 1000
"""Rows of all tables together that are sooner deleted than their tables truncated."""


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: object) -> Iterator[None]:
    """Let the test runner empty the log between tests that commit; the log itself refuses TRUNCATE."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:  # type: ignore[attr-defined]  # pytest-django's
        cursor.execute(
            "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal AND (tgtype & 60) = 32"
        )
        for table, trigger in cursor.fetchall():
            cursor.execute(f'ALTER TABLE {table} DISABLE TRIGGER "{trigger}"')
            cursor.execute(f"GRANT TRUNCATE ON {table} TO CURRENT_USER")
        _remember_seeds(cursor)
    # Django's way empties every table one by one and makes all content types and permissions anew: over a second.
    TransactionTestCase._fixture_teardown = _empty  # type: ignore[attr-defined,method-assign,assignment]  # for all tests
    yield
    # A connection refers to itself: that of a thread that ended stays open, and the database in use, until then.
    gc.collect()


def _remember_seeds(cursor: object) -> None:
    """Keep what the migrations wrote in tables beside, to bring it back after a test that commits."""
    execute, fetchall = cursor.execute, cursor.fetchall  # type: ignore[attr-defined]  # Django's cursor
    execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1")
    _tables[:] = [name for (name,) in fetchall() if name not in KEPT]
    _seeded[:] = _with_rows(cursor)
    execute(
        "SELECT relname, tgname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid WHERE NOT tgisinternal"
        " AND tgenabled = 'O' AND tgtype & 8 <> 0 AND relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1, 2"
    )
    _on_delete[:] = fetchall()
    execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        " AND NOT has_table_privilege(oid, 'DELETE')"
    )
    _no_delete[:] = [name for (name,) in fetchall()]
    execute("DROP SCHEMA IF EXISTS seeds CASCADE")
    execute("CREATE SCHEMA seeds")
    for table in _seeded:
        execute(f'CREATE TABLE seeds."{table}" AS TABLE public."{table}"')


def _with_rows(cursor: object) -> list[str]:
    """Tables that are not empty. One statement."""
    asked = " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT FROM public.\"{name}\")" for name in _tables)
    cursor.execute(asked)  # type: ignore[attr-defined]  # Django's cursor
    return [name for (name,) in cursor.fetchall()]  # type: ignore[attr-defined]  # Django's cursor


def _few(cursor: object, filled: list[str]) -> bool:
    """Whether these tables hold few rows together. One statement."""
    if not filled:
        return True
    counts = " + ".join(f'(SELECT count(*) FROM (SELECT FROM public."{name}" LIMIT {FEW}) x)' for name in filled)
    cursor.execute(f"SELECT {counts}")  # type: ignore[attr-defined]  # Django's cursor
    return int(cursor.fetchone()[0]) < FEW  # type: ignore[attr-defined]  # Django's cursor


def _empty(_test: TransactionTestCase) -> None:
    """Empty the tables that hold rows, and bring the seeds back, in one transaction.

    Row by row where there are few: TRUNCATE makes new files for each table and index, ten times as long.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        filled = _with_rows(cursor)
        emptied = [name for name in filled if name in _no_delete] if _few(cursor, filled) else filled
        if emptied:
            names = ", ".join(f'public."{name}"' for name in emptied)
            cursor.execute(f"TRUNCATE {names} CASCADE")
        if emptied != filled:
            guarded = [(name, trigger) for name, trigger in _on_delete if name in filled]
            for name, trigger in guarded:
                cursor.execute(f'ALTER TABLE public."{name}" DISABLE TRIGGER "{trigger}"')
            for name in filled:
                if name not in _no_delete:
                    cursor.execute(f'DELETE FROM public."{name}"')
            # What refers to what is looked at now, since no trigger can be put back while that is still to come.
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            for name, trigger in guarded:
                cursor.execute(f'ALTER TABLE public."{name}" ENABLE TRIGGER "{trigger}"')
        for table in _seeded:
            # Emptied again: a trigger on a table just truncated may have written here.
            cursor.execute(f'DELETE FROM public."{table}"')
            cursor.execute(f'INSERT INTO public."{table}" TABLE seeds."{table}"')


@pytest.fixture(scope="session", autouse=True)
def static_files_listed_once() -> Iterator[None]:
    """Each test client makes the middleware anew, and WhiteNoise would list two hundred files each time."""
    listed: dict[str, dict[str, Any]] = {}
    list_files = WhiteNoiseMiddleware.add_files_from_finders

    def add(self: Any) -> None:
        if self.static_prefix not in listed:
            list_files(self)
            listed[self.static_prefix] = dict(self.files)
        self.files.update(listed[self.static_prefix])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(WhiteNoiseMiddleware, "add_files_from_finders", add)
        yield


@pytest.fixture(autouse=True)
def fresh_caches() -> Iterator[None]:
    """What a process remembers of rows that the last test took back, and of tries: all tests come from one address."""
    forget()
    _forget_tries()
    yield
    forget()


def _forget_tries() -> None:
    from hie.trust import limits

    with contextlib.suppress(redis.RedisError):  # where there is none, nothing counts in it
        client = limits._redis()
        held = list(client.scan_iter(match=f"{limits._PREFIX}{{refused:*", count=1000))
        if held:
            client.delete(*held)


def forget() -> None:
    from consent import directives, kept, policies
    from documents import keys
    from hie.audit import personal
    from hie.directory import queries as directory
    from hie.terminology import local_codes

    keys.forget()
    local_codes.forget()
    personal.forget_keys()
    policies.forget()
    kept.forget()
    # The caches are keyed by epochs; a test that commits takes the epochs themselves back.
    directory._cached = None
    directory._zones.clear()
    directives.forget_compiled()
