"""The whole hub on the test client, as `tests/fhir` has it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fhir.conftest import hub, hub_world  # noqa: F401 - fixtures


@pytest.fixture(autouse=True)
def every_face(hub: None, settings: Any) -> None:  # noqa: F811 - the fixture of that name
    """All URLs, not those of one face; no limit that an honest test would meet."""
    settings.ROOT_URLCONF = "tests.leaks.urls"
    settings.GUESSING_PER_MINUTE = 100_000
