"""Every URL on the test client, and no limit that an honest test would meet."""

from __future__ import annotations

from typing import Any

import pytest

from tests.decisions.loaded import loaded_lake  # noqa: F401 - a fixture
from tests.fhir.conftest import hub as keys_and_folders  # noqa: F401 - a fixture


@pytest.fixture(autouse=True)
def every_face(keys_and_folders: None, settings: Any) -> None:  # noqa: F811 - the fixture of that name
    settings.ROOT_URLCONF = "tests.leaks.urls"
    settings.GUESSING_PER_MINUTE = 100_000
