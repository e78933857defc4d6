"""The embedded PostgreSQL and Valkey survive kill -9, keep what was committed, and open to the right role only."""

from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
import redis

from hie.ops import datafolder, postgres, services
from hie.ops.processes import stop_all


@pytest.fixture
def data(tmp_path: Path) -> Path:
    # As deep and odd as a home folder may be: no socket file whose path could be too long, no blank that splits.
    folder = tmp_path / "a folder with spaces" / ("x" * 90)
    datafolder.prepare(folder)
    return folder


def test_services_keep_their_data_and_addresses_over_kill_9(data):
    first = services.start(data)
    try:
        with psycopg.connect(first.database_url) as connection:
            connection.execute("CREATE TABLE kept (n int)")
            connection.execute("INSERT INTO kept VALUES (7)")
        redis.Redis.from_url(first.redis_url).set("kept", "7")
        rights = "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user"
        assert ask(first.database_url, rights) == (False, False, False, False)
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(wrong_password(first.database_url))
        with pytest.raises(redis.AuthenticationError):
            redis.Redis.from_url("redis://:wrong@" + first.redis_url.split("@")[1]).ping()
        # A clone of an idle database belongs to the same role.
        clone = first.clone_database("copy", template="hie")
        assert ask(clone, "SELECT n FROM kept") == (7,)
    finally:
        for child in first.children:
            assert child.process is not None
            os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()
    # The pid in the left-over file now belongs to somebody else: this very process.
    pid_file = postgres.place(data).cluster / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    second = services.start(data)
    try:
        assert second.database_url == first.database_url
        assert ask(second.database_url, "SELECT n FROM kept") == (7,)
        assert redis.Redis.from_url(second.redis_url).get("kept") in {b"7", None}  # synced every second
    finally:
        stop_all(second.children)


def ask(url: str, statement: LiteralString) -> object:
    with psycopg.connect(url) as connection:
        return connection.execute(statement).fetchone()


def wrong_password(url: str) -> str:
    return postgres.application_url(int(url.rsplit(":", 1)[1].split("/")[0]), "wrong")


def test_a_running_server_a_killed_hub_left_is_stopped_first(data):
    first = services.start(data)
    second = services.start(data)
    try:
        assert first.children[0].process is not None
        assert first.children[0].process.wait(10) is not None
        assert ask(second.database_url, "SELECT 1") == (1,)
    finally:
        stop_all([*first.children, *second.children])


def test_passwords_stand_in_private_files_only(data):
    running = services.start(data, durable=False)
    try:
        kept = json.loads((data / "services.json").read_text())
        assert stat.S_IMODE((data / "services.json").stat().st_mode) == 0o600
        secrets = [value for name, value in kept.items() if name.endswith("password")]
        assert len(secrets) == 3
        for child in running.children:
            assert child.process is not None
            arguments = Path(f"/proc/{child.process.pid}/cmdline").read_text()
            assert not any(secret in arguments for secret in secrets)
        assert not (data / "postgres.password").exists()
    finally:
        stop_all(running.children)
