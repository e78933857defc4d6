"""Rows that many tests begin with, made once for all that follow one another and taken back after the last of them.

A ground lies in a transaction under the test's own, as Django's `setUpTestData` does: each test finds it as it was
made, and what the test does to it goes with the test. It is rows alone: keys, folders and settings are the test's.
A test that commits has its ground made for itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, transaction

from tests import isolation

Make = Callable[[], Any]
_makers: dict[Any, Make] = {}
"""What each ground's fixture is made by."""
_laid: list[tuple[Make, transaction.Atomic, Any]] = []
"""The grounds that lie now, each in a transaction within the one before."""


def ground(make: Make) -> Any:
    """A fixture of the function's name: its rows, and a copy of the value it gives."""

    def laid(db: None) -> Any:
        held = {one: value for one, _, value in _laid}
        return copy.deepcopy(held[make]) if make in held else make()

    laid.__doc__ = make.__doc__
    _makers[laid] = make
    return pytest.fixture(name=make.__name__)(laid)


def commits(item: Any) -> bool:
    """Whether a test commits what it writes."""
    marker = item.get_closest_marker("django_db")
    if not {"transactional_db", "live_server"}.isdisjoint(getattr(item, "fixturenames", ())):
        return True
    return marker is not None and bool(marker.args or marker.kwargs)


@pytest.fixture(scope="session")
def grounds(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Take back the last ground before the database goes."""
    yield
    with django_db_blocker.unblock():
        _lay(())


@pytest.fixture
def _ground(request: pytest.FixtureRequest, grounds: None, django_db_blocker: Any) -> None:
    """The grounds that a test asks for, under its transaction, and no others."""
    # The last of a name is the one that the test sees.
    used = {defined[-1].func for defined in request.node._fixtureinfo.name2fixturedefs.values()}
    wanted = () if commits(request.node) else tuple(make for fixture, make in _makers.items() if fixture in used)
    with django_db_blocker.unblock():
        _lay(wanted)


@pytest.fixture
def _django_db_helper(_ground: None, _django_db_helper: None) -> None:
    """The test's own transaction, above its ground."""


def _lay(wanted: tuple[Make, ...]) -> None:
    keep = 0
    while keep < len(_laid) and keep < len(wanted) and _laid[keep][0] == wanted[keep]:
        keep += 1
    if connection.connection is None or connection.connection.closed:
        keep = 0
    if keep == len(_laid) == len(wanted):
        return
    while len(_laid) > keep:
        _, block, _ = _laid.pop()
        transaction.set_rollback(True)
        block.__exit__(None, None, None)
    isolation.forget()
    for make in wanted[keep:]:
        block = transaction.atomic()
        block._from_testcase = True  # type: ignore[attr-defined]  # as Django marks those of its test cases
        block.__enter__()
        try:
            value = make()
            connection.check_constraints()
        except BaseException:
            transaction.set_rollback(True)
            block.__exit__(None, None, None)
            raise
        _laid.append((make, block, value))
    isolation.forget()
