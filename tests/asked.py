"""What each test asks of PostgreSQL and Redis: kept by the first lane, so that the lane on other versions repeats no row.

Where `HIE_ASKED_KEEP` names a folder, the statements and commands of each test are written there, without their values.
Where `HIE_ASKED` names it, a test of many rows runs with its first one and with those that ask something new:
a statement that no row before it sent. Each test runs, and each statement of each test. Tests that commit, whose locks
and plans are their matter, run with all their rows, and so does what starts processes of its own.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from psycopg import sql as composed

from hie import database
from tests.grounds import commits

OPS = Path(__file__).resolve().parent / "ops"
"""What starts processes of its own, whose statements are not seen here."""
KEEP = os.environ.get("HIE_ASKED_KEEP", "")
"""The folder in which what is asked is kept."""
ASKED = os.environ.get("HIE_ASKED", "")
"""The folder in which an earlier run kept it."""

_NUMBER = re.compile(r"\d+")
_VALUES = re.compile(r"%s(?:::[\w\[\]]+)?(?:, %s(?:::[\w\[\]]+)?)+")
_ROWS = re.compile(r"(\([^()]*\))(?:, \1)+")

_now: set[str] = set()
"""What the test that runs has asked so far."""
_kept: dict[str, list[str]] = {}
_known: dict[str, str] = {}


def shape(statement: str) -> str:
    """A statement without its numbers, and however many values and rows it has."""
    return _ROWS.sub(r"\1", _VALUES.sub("%s", _NUMBER.sub("0", statement)))


def _note(asked: Any) -> None:
    if isinstance(asked, composed.Composable):
        asked = asked.as_string(None)
    text = asked.decode(errors="replace") if isinstance(asked, bytes) else str(asked)
    name = _known.get(text)
    if name is None:
        name = _known[text] = blake2b(shape(text).encode(), digest_size=8).hexdigest()
    _now.add(name)


def _noting(of: type, name: str, what: Callable[[tuple[Any, ...]], Any]) -> tuple[type, str, Callable[..., Any]]:
    real = getattr(of, name)

    def noting(self: Any, *args: Any, **options: Any) -> Any:
        _note(what(args))
        return real(self, *args, **options)

    return of, name, noting


def _command(args: tuple[Any, ...]) -> str:
    # A script is named by what it is; other commands by their first word.
    return " ".join(map(str, args[: 2 if str(args[0]).startswith(("EVAL", "CONFIG", "CLIENT")) else 1]))


@pytest.fixture(scope="session", autouse=True)
def statements_noted() -> Iterator[None]:
    """Note what is asked, where it is to be kept."""
    if not KEEP:
        yield
        return
    with pytest.MonkeyPatch.context() as patched:
        for name in ("execute", "executemany", "copy"):
            patched.setattr(*_noting(psycopg.Cursor, name, lambda args: args[0]))
        patched.setattr(*_noting(psycopg.ServerCursor, "execute", lambda args: args[0]))
        patched.setattr(*_noting(database.prepared, "execute", lambda args: args[0]))
        patched.setattr(*_noting(redis.Redis, "execute_command", _command))
        patched.setattr(*_noting(redis.client.Pipeline, "execute_command", _command))
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """What is asked from here on is asked by this test: its fixtures, itself, and what is put away after it."""
    _now.clear()
    try:
        return (yield)
    finally:
        if KEEP:
            _kept[item.nodeid] = sorted(_now)


def pytest_sessionfinish() -> None:
    """Write down what each test asked; what ends with the run still belonged to the last of them."""
    if not _kept:
        return
    Path(KEEP).mkdir(parents=True, exist_ok=True)
    written = Path(KEEP) / f"{os.environ.get('PYTEST_XDIST_WORKER', 'only')}.json"
    written.write_text(json.dumps(_kept))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the rows that ask nothing new, where it is known what they ask."""
    if not ASKED:
        return
    names = repeated((item.nodeid for item in items), read(Path(ASKED)))
    left = {item for item in items if item.nodeid in names and not commits(item) and OPS not in item.path.parents}
    items[:] = [item for item in items if item not in left]
    config.hook.pytest_deselected(items=list(left))


def read(folder: Path) -> dict[str, frozenset[str]]:
    """What each test asked in an earlier run."""
    found: dict[str, frozenset[str]] = {}
    for path in sorted(folder.glob("*.json")):
        found |= {name: frozenset(statements) for name, statements in json.loads(path.read_text()).items()}
    return found


def repeated(names: Iterable[str], kept: dict[str, frozenset[str]]) -> set[str]:
    """Of the rows of tests, in their order, those that ask nothing that an earlier row of the same test does not ask.

    A test of which nothing is known is none of them.
    """
    found: set[str] = set()
    of_test: dict[str, set[str]] = {}
    for name in names:
        if name not in kept:
            continue
        test = name.partition("[")[0]
        before = of_test.get(test)
        if before is not None and kept[name] <= before:
            found.add(name)
        of_test.setdefault(test, set()).update(kept[name])
    return found
