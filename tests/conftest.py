"""What every test may rely on, and which lanes are left out with a word about it."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

from hie import heap
from tests import asked
from tests.chromium import browser, chromium  # noqa: F401 - fixtures
from tests.grounds import _django_db_helper, _ground, grounds  # noqa: F401 - fixtures for every test
from tests.isolation import (  # noqa: F401 - fixtures for every test
    django_db_setup,
    fresh_caches,
    static_files_listed_once,
)

LANES = frozenset({"browser", "survival", "proxy"})
"""Marks of the tests that run in lanes of their own."""
OPS = Path(__file__).resolve().parent / "ops"
SHARED = Path(os.environ.get("HIE_SHARED") or Path(__file__).resolve().parent.parent.parent / "shared")

# A shared machine draws slowly at times, above all the first example of a process: nothing is tested worse for it.
hypothesis.settings.register_profile("hub", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("hub")


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("HIE_SHARED", str(SHARED))
    config.pluginmanager.register(asked)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker.removeprefix("gw").isdigit():
        # Limits are counted in Redis: each worker has a database of its own there, as it has in PostgreSQL.
        from django.conf import settings

        base, _, _ = settings.REDIS_URL.rpartition("/")
        settings.REDIS_URL = f"{base}/{1 + int(worker.removeprefix('gw'))}"
        # So are stored bytes and their keys: what one worker sweeps or rotates is nothing of another's.
        settings.DOCUMENT_DIR = settings.DOCUMENT_DIR / worker
        settings.DOCUMENT_KEYS_FILE = settings.DOCUMENT_KEYS_FILE and settings.DOCUMENT_KEYS_FILE.with_name(
            f"keys-{worker}"
        )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """In a lane of its own read no file that does not say the lane's name: all files together take over a minute."""
    lane = config.option.markexpr
    if lane in LANES and collection_path.name.startswith("test_") and collection_path.suffix == ".py":
        return True if lane not in collection_path.read_text() else None
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs the services. Without the sample data the tests on it are left out; the summary says so once."""
    for item in items:
        if _needs_services(item):
            item.add_marker(pytest.mark.services)
        for lane in LANES:
            if item.get_closest_marker(lane) and lane not in item.path.read_text():
                raise pytest.UsageError(f"{item.path} is of the lane {lane}: it must say so, or the lane leaves it out")
    if SHARED.is_dir():
        return
    left = [item for item in items if item.get_closest_marker("shared")]
    if left:
        items[:] = [item for item in items if item not in left]
        config.hook.pytest_deselected(items=left)


def _needs_services(item: pytest.Item) -> bool:
    """Whether it opens the database by a fixture, or is of the part that starts and stops services itself."""
    fixtures = getattr(item, "fixturenames", ())
    return "django_db_setup" in fixtures or item.get_closest_marker("django_db") is not None or OPS in item.path.parents


def pytest_collection_finish(session: pytest.Session) -> None:
    """Nine thousand tests and all they import stay until the end; nothing is gained by walking them over and over."""
    heap.settle()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not SHARED.is_dir():
        terminalreporter.write_line(f"left out: the tests on shared sample data ({SHARED} is missing; set HIE_SHARED)")
