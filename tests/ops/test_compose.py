"""The many-host layout holds together, and each of its services starts with the command it names."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from django.conf import settings

from hie.ops import healthy
from hie.ops.ports import free_port
from hie.ops.processes import Child, stop_all

ROOT = Path(__file__).resolve().parents[2]
LAYOUT: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = LAYOUT["services"]
OURS = {name: service for name, service in SERVICES.items() if service.get("image", "").startswith("hie-hub")}


def test_the_layout_has_every_part():
    assert set(SERVICES) == {"postgres", "redis", "storage", "migrate", "web", "worker", "beat", "mllp", "sealer"}
    assert OURS["web"]["deploy"]["replicas"] > 1


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_watched_and_runs_as_an_ordinary_user(name):
    service = SERVICES[name]
    assert str(service["user"]).split(":")[0] not in {"0", "root"}
    # `migrate` ends; everything else stays and is asked how it is.
    assert "healthcheck" in service or name == "migrate"


def test_no_secret_has_a_default():
    text = (ROOT / "docker-compose.yml").read_text()
    for line in text.splitlines():
        if "PASSWORD:" in line or "ACCESS_KEY" in line:
            assert ":?" in line, line


@pytest.fixture(scope="module")
def database() -> Any:
    """A database of its own: other tests hold theirs in a transaction."""
    own = settings.DATABASES["default"]
    admin = psycopg.connect(
        host=own["HOST"],
        port=own["PORT"] or 5432,
        user=own["USER"],
        password=own["PASSWORD"],
        dbname="postgres",
        autocommit=True,
    )
    name = f"compose_{os.getpid()}"
    admin.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]  # our own name
    password = f":{own['PASSWORD']}" if own["PASSWORD"] else ""
    yield f"postgresql://{own['USER']}{password}@{own['HOST']}:{own['PORT'] or 5432}/{name}"
    admin.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[call-overload]  # our own name
    admin.close()


def test_each_service_starts_with_its_command_and_becomes_healthy(database, tmp_path):
    env = {
        "DATABASE_URL": database,
        "REDIS_URL": settings.REDIS_URL,
        "HIE_DATA_DIR": str(tmp_path / "data"),
        "HIE_PORT": str(free_port()),
        "HIE_MLLP_PORT": str(free_port()),
        "HIE_PROFILE": "sandbox",
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "hie.settings",
    }

    def argv(command: list[str]) -> list[str]:
        """The command inside this environment: `./hub` would install one first."""
        assert command[0] == "./hub"
        return [sys.executable, "-m", "hie.ops.door", *command[1:]]

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv(command), env={**os.environ, **env}, capture_output=True, text=True, timeout=120)

    prepared = run(OURS["migrate"]["command"])
    assert prepared.returncode == 0, prepared.stdout[-2000:] + prepared.stderr[-2000:]
    services = [name for name in OURS if name != "migrate"]
    children = [
        Child(name=name, argv=argv(OURS[name]["command"]), env=env, stop_signal=signal.SIGTERM, stop_timeout_s=20)
        for name in services
    ]
    try:
        for child in children:
            child.start(tmp_path)
        ill = set(services)
        deadline = time.monotonic() + 60
        while ill and time.monotonic() < deadline:
            for child in children:
                child.check()
            ill = {name for name in ill if run(OURS[name]["healthcheck"]["test"][1:]).returncode != 0}
        assert not ill, {child.name: child.tail() for child in children if child.name in ill}
    finally:
        stop_all(children)


def test_a_service_that_does_not_run_is_not_called_well():
    assert healthy.runs("hie.ops.no-such-service") == "does not run"
    assert healthy.main(["no-such-service"]) == 2
