"""No group below eleven people can be read off a table, or worked out from it and the sums along its sides."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hie.audit.figures import SMALLEST, Cell
from hie.exchange.small_cells import rounded, shown


def cell(*keys: Any, n: int, people: set[int]) -> Cell:
    known = None if len(people) >= SMALLEST else frozenset(people)
    return Cell(keys=keys, n=n, total=n, people=known)


# Neighbours out of a hundred: cells overlap, and one costs two draws.
PEOPLE = st.builds(
    lambda first, many: set(range(first, first + many)), st.integers(1, 60), st.integers(0, 10) | st.integers(11, 40)
)
TABLES = st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 3)), PEOPLE, max_size=16)


@given(TABLES)
def test_what_sums_leave_for_hidden_cells_is_about_enough_people_or_all_of_the_line_is_hidden(
    table: dict[tuple[int, int], set[int]],
) -> None:
    found = shown([cell(*keys, n=1 + 3 * len(people), people=people) for keys, people in table.items()])
    seen = {one.keys for one in found.cells}
    assert found.hidden == len(table) - len(seen)
    assert all(len(table[keys]) >= SMALLEST for keys in seen)
    for side in (0, 1):
        for value in range(4):
            line = [keys for keys in table if keys[side] == value]
            # What a reader knows of the line: its sum, and the cells shown. The rest is the people of the hidden ones.
            hidden = set().union(*(table[keys] for keys in line if keys not in seen))
            assert not hidden or len(hidden) >= SMALLEST or not any(keys in seen for keys in line), (side, value)


def test_a_table_without_small_cells_is_shown_whole() -> None:
    cells = [cell(name, n=20, people=set(range(20))) for name in "abc"]
    found = shown(cells)
    assert (found.cells, found.hidden, found.n) == (tuple(cells), 0, 60)


def test_one_small_cell_hides_the_smallest_beside_it() -> None:
    cells = [cell("a", n=40, people=set(range(40))), cell("b", n=13, people=set(range(13))), cell("c", n=2, people={7})]
    assert [one.keys for one in shown(cells).cells] == [("a",)]


def test_a_cell_about_nobody_known_hides_no_other() -> None:
    cells = [cell("a", n=40, people=set(range(40))), cell("b", n=5, people=set())]
    assert [one.keys for one in shown(cells).cells] == [("a",)]


@pytest.mark.parametrize(
    ("number", "as_published"),
    [(11, 10), (16, 20), (994, 990), (996, 1000), (1049, 1000), (1051, 1100), (61_432, 61_000), (1_849_000, 1_800_000)],
)
def test_a_published_number_is_rounded(number: int, as_published: int) -> None:
    assert rounded(number) == as_published
