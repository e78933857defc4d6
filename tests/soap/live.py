"""A hub on a real port over the database of the tests, and what is asked of it byte by byte."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.test import override_settings

from hie.directory import registration
from tests.soap.conftest import participants

ROOT = Path(__file__).resolve().parents[2]
STARTING_S = 60


@dataclass(slots=True, kw_only=True)
class Live:
    """The running hub: its port, its folder of documents, its first process."""

    port: int
    documents: Path
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def workers(self) -> list[int]:
        """Processes that answer."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children]

    def highest_mb(self) -> float:
        """The most memory that a worker has held at once so far, in MB."""
        return max(_status(pid, "VmHWM") for pid in self.workers) / 1024

    def held_mb(self) -> float:
        """What the workers hold now, in MB."""
        return max(_status(pid, "VmRSS") for pid in self.workers) / 1024

    def files(self) -> list[Path]:
        """What lies in the store of documents."""
        return [path for path in self.documents.rglob("*") if path.is_file()] if self.documents.exists() else []


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


@contextlib.contextmanager
def running(folder: Path, whole: dict[str, Any] | None = None, **environment: str) -> Iterator[Live]:
    """A hub of one worker, with these participants or those of the tests; the test's rows are to be committed."""
    # Who reads the log here has to know the key that it was written with there.
    key = f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    with override_settings(AUDIT_KEYS=key):
        registration.apply(whole or participants())
        live = _start(folder, {"HIE_AUDIT_KEYS": key, "HIE_TRUSTED_PROXIES": "127.0.0.1", **environment})
        try:
            _wait(live)
            yield live
        finally:
            live.process.send_signal(signal.SIGTERM)
            try:
                live.process.wait(20)
            except subprocess.TimeoutExpired:
                live.process.kill()
                live.process.wait(10)


def _start(folder: Path, environment: dict[str, str]) -> Live:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    database = connection.settings_dict
    user, host = database["USER"], database["HOST"]
    password = f":{database['PASSWORD']}" if database["PASSWORD"] else ""
    documents, log = folder / "live-documents", folder / "live.log"
    unset = {"PYTEST_CURRENT_TEST", "DJANGO_SETTINGS_MODULE"}
    env = {name: value for name, value in os.environ.items() if name not in unset and not name.startswith("HIE_")}
    env |= {
        "DATABASE_URL": f"postgresql://{user}{password}@{host}:{database['PORT']}/{database['NAME']}",
        "REDIS_URL": settings.REDIS_URL,
        "HIE_DATA_DIR": str(folder / "live-data"),
        "HIE_DOCUMENT_DIR": str(documents),
        "HIE_BASE_URL": "https://hub.example",
        "HIE_PORT": str(port),
        "HIE_WEB_WORKERS": "1",
        **environment,
    }
    command = [sys.executable, "-m", "tests.soap.echo_hub"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out)
    return Live(port=port, documents=documents, process=process, log=log)


def _wait(live: Live) -> None:
    until = time.monotonic() + STARTING_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", live.port), 1) as line:
            line.sendall(b"GET /xds/registry HTTP/1.1\r\nHost: hub.example\r\nConnection: close\r\n\r\n")
            if line.recv(64).startswith(b"HTTP/1.1 405"):
                return
        assert live.process.poll() is None, live.log.read_text()
        assert time.monotonic() < until, live.log.read_text()
        time.sleep(0.1)


def eventually(check: Any, *, within_s: float = 20) -> None:
    """Until it holds; fails when it never does."""
    until = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.05)
