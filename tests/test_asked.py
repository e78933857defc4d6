"""Of the rows of a test only those are left out that ask nothing new of PostgreSQL or Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.asked import read, repeated, shape

ROOT = Path(__file__).resolve().parents[1]


def test_a_row_is_left_out_only_if_its_own_test_asked_all_of_it_before() -> None:
    asked = {
        "a.py::test_one[x]": {"1", "2"},
        "a.py::test_one[y]": {"2"},
        "a.py::test_one[z]": {"2", "3"},
        "a.py::test_one[w]": {"1", "3"},
        "a.py::test_two[x]": {"1"},
        "a.py::test_three": {"1"},
    }
    kept = {name: frozenset(statements) for name, statements in asked.items()}
    assert repeated(asked, kept) == {"a.py::test_one[y]", "a.py::test_one[w]"}
    assert repeated(["a.py::test_one[new]", *asked], kept) == {"a.py::test_one[y]", "a.py::test_one[w]"}
    assert repeated(asked, {name: kept[name] for name in ("a.py::test_one[y]", "a.py::test_one[z]")}) == set()
    assert repeated(asked, {}) == set()


def test_statements_are_one_whatever_their_values_and_another_with_another_word() -> None:
    assert shape("SELECT a FROM b WHERE c IN (%s, %s, %s) LIMIT 21") == shape("SELECT a FROM b WHERE c IN (%s) LIMIT 5")
    assert shape("INSERT INTO b VALUES (%s, %s), (%s, %s)") == shape("INSERT INTO b VALUES (%s, %s)")
    assert shape('SAVEPOINT "s1_x2"') == shape('SAVEPOINT "s77_x31"')
    assert shape("SELECT a FROM b WHERE c = %s") != shape("SELECT a FROM b WHERE c > %s")
    assert shape("SELECT a FROM b WHERE c = %s OR c IS NULL") != shape("SELECT a FROM b WHERE c = %s")


def test_a_run_keeps_for_each_test_what_it_asked_and_a_run_after_it_leaves_out_the_repeated_rows(
    tmp_path: Path,
) -> None:
    """By whole runs of pytest over a module of three rows: two that ask the same, one that asks more."""
    kept, tests = tmp_path / "kept", tmp_path / "test_rows.py"
    tests.write_text(
        "import psycopg, pytest\n"
        "class Deaf(psycopg.Cursor):\n"
        "    def __init__(self): pass\n"
        "@pytest.mark.parametrize('n', [1, 2, 3])\n"
        "def test_it(n):\n"
        "    for word in ['SELECT 1', 'UPDATE x'][:1 + n // 3]:\n"
        "        with pytest.raises(AttributeError):\n"
        "            psycopg.Cursor.execute(Deaf(), word)\n"
    )

    def run(**environment: str) -> str:
        command = [sys.executable, "-m", "pytest", "--rootdir", str(ROOT), "-p", "no:cacheprovider", "-v"]
        command += ["-p", "tests.asked", "-p", "no:django", "-p", "no:xdist", "-p", "no:hypothesispytest", str(tests)]
        env = {name: value for name, value in os.environ.items() if not name.startswith(("HIE_ASKED", "PYTEST_"))}
        done = subprocess.run(command, cwd=ROOT, env=env | environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(HIE_ASKED_KEEP=str(kept))
    statements = [frozenset(row) for row in json.loads((kept / "only.json").read_text()).values()]
    assert statements[0] == statements[1] < statements[2]
    assert list(read(kept).values()) == statements
    said = run(HIE_ASKED=str(kept))
    assert "2 passed, 1 deselected" in said
    assert "test_it[2]" not in said
