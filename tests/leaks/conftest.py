"""The whole hub on the test client, as `tests/fhir` has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fhir.conftest import hub, hub_world, rosa_at_both  # noqa: F401 - fixtures
from tests.leaks.walking import Listener, guards_asked


@pytest.fixture(autouse=True)
def every_face(hub: None, settings: Any) -> None:  # noqa: F811 - the fixture of that name
    """All URLs, not those of one face; no limit that an honest test would meet."""
    settings.ROOT_URLCONF = "tests.leaks.urls"
    settings.GUESSING_PER_MINUTE = 100_000


@pytest.fixture
def listener() -> Iterator[Listener]:
    """What the hub logs during the test."""
    with Listener().listening() as one:
        yield one


@pytest.fixture(autouse=True)
def came_by(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that says which ways it goes has asked their guards."""
    ways = getattr(getattr(request, "function", None), "walks", ())
    if not ways:
        yield
        return
    with guards_asked(ways):
        yield
