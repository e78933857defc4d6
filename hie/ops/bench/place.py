"""A hub of the benchmark's own: started empty in a folder of its own, measured from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from hie.ops import ports
from hie.ops.sandbox.hub import Client, new_key, public_jwk
from hie.ops.sandbox.load import write_private
from hie.ops.sandbox.world import FEED, READ

ROOT = Path(__file__).resolve().parents[3]
STARTING_S = 180
_IDLE_S = 2.0
"""The hub closes a connection over which nothing was asked for a while."""
_LOOK_S = 5.0
_RESTING = 0.1
"""Of one core."""
_local = threading.local()
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True, kw_only=True)
class Place:
    """The running hub, its clients, and the process whose tree is measured."""

    folder: Path
    base_url: str
    process: Any  # subprocess.Popen; None before the first start
    env: Mapping[str, str]
    clients: dict[str, Client] = field(default_factory=dict)

    def cpu_s(self) -> float:
        """CPU seconds of the hub's whole tree so far, PostgreSQL and Valkey included."""
        return sum(_cpu_of(pid) for pid in tree(self.process.pid))

    def request(self, method: str, path: str, *, headers: Mapping[str, str], body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of an answer, on a connection that this thread keeps.

        By the leanest client there is: it runs on the machine that is measured, and httpx would take a fifth of it.
        """
        held: dict[str, tuple[HTTPConnection, float]] = _local.__dict__.setdefault("connections", {})
        connection, used_s = held.pop(self.base_url, (None, 0.0))
        if connection is None or time.monotonic() - used_s > _IDLE_S:
            address = urlsplit(self.base_url)
            connection = HTTPConnection(address.hostname or "", address.port, timeout=900)
        target = quote(path.removeprefix(self.base_url), safe="/?&=%|:$+,-._~")
        connection.request(method, target, body=body or None, headers=dict(headers))
        answer = connection.getresponse()
        content = answer.read()
        held[self.base_url] = connection, time.monotonic()
        return answer.status, content

    def pss_mb(self) -> float:
        """Proportional memory of the tree, in MB."""
        return sum(_pss_of(pid) for pid in tree(self.process.pid)) / 1024

    def settle(self, *, at_most_s: float = 300) -> None:
        """Wait until the hub has come to rest: what a filling leaves to be sealed, told and vacuumed is none of what is asked next."""
        until = time.monotonic() + at_most_s
        while time.monotonic() < until:
            before = self.cpu_s()
            time.sleep(_LOOK_S)
            if self.cpu_s() - before < _RESTING * _LOOK_S:
                return
        print(f"the hub had not come to rest after {at_most_s:.0f} s", flush=True)

    def hub(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a `./hub` command against this hub."""
        done = subprocess.run(
            [str(ROOT / "hub"), *arguments], env=dict(self.env), capture_output=True, text=True, check=False, cwd=ROOT
        )
        if done.returncode:
            raise RuntimeError(f"./hub {arguments[0]}: {done.stdout[-800:]}{done.stderr[-1500:]}")
        return done

    def register(self, entries: list[dict[str, Any]]) -> None:
        """Register participants."""
        path = self.folder / "bench-participants.json"
        write_private(path, {"participants": entries})
        self.hub("participants", str(path))

    def participant(
        self, participant_id: str, kind: str, number: int, purposes: list[str], *, scopes: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """A participant entry with a key of its own, and a client for it; `scopes` besides feeding and reading."""
        key = self.folder / "keys" / f"{participant_id}.pem"
        if not key.exists():
            new_key(key)
        scopes = (*FEED, *READ, *scopes)
        self.clients[participant_id] = Client(
            base_url=self.base_url,
            client_id=participant_id,
            kid="k1",
            key=key.read_bytes(),
            scopes=scopes,
            organization_oid=f"2.999.8.{number}",
            organization_name=participant_id,
            http=httpx.Client(base_url=self.base_url, timeout=60.0),
        )
        return {
            "id": participant_id,
            "name": participant_id,
            "type": kind,
            "organization_oid": f"2.999.8.{number}",
            "assigning_authority": f"2.999.8.{number}.1",
            "source_id": f"2.999.8.{number}.2",
            "jwks": {"keys": [public_jwk(key, "k1")]},
            "scopes": list(scopes),
            "purposes": purposes,
            "users": [{"id": "Practitioner/bench", "name": "Bench Physician", "role": "physician"}],
        }


USER = {"id": "Practitioner/bench", "name": "Bench Physician", "role": "physician"}


@contextlib.contextmanager
def running(*, keep: Path | None = None, **settings: str) -> Iterator[Place]:
    """A hub for the length of a block. `settings` are laid over its environment.

    It is empty, and its folder goes with it; with `keep` it is the one in that folder, which stays.
    """
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as name:
        folder = (keep or Path(name)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        port, mllp = free_port(), free_port()
        unset = {"DATABASE_URL", "REDIS_URL", "HIE_BASE_URL", "DJANGO_SETTINGS_MODULE", "PYTEST_CURRENT_TEST"}
        env = {key: value for key, value in os.environ.items() if key not in unset}
        env |= {
            "HIE_DATA_DIR": str(folder / "data"),
            "HIE_PORT": str(port),
            "HIE_MLLP_PORT": str(mllp),
            # The limits protect a hub from its participants; here they would measure themselves.
            "HIE_RATE_PER_S": "1000000",
            "HIE_BURST": "1000000",
            "HIE_CONCURRENCY": "10000",
            **settings,
        }
        place = Place(folder=folder, base_url=f"http://127.0.0.1:{port}", process=None, env=env)
        try:
            start(place)
            yield place
        finally:
            stop(place)


def start(place: Place) -> None:
    """Start the hub of this place, again or for the first time, and wait until it is ready."""
    log = place.folder / "hub.log"
    with open(log, "wb") as out:
        place.process = subprocess.Popen(
            [str(ROOT / "hub"), "up", "--no-sandbox"], env=dict(place.env), stdout=out, stderr=out, cwd=ROOT
        )
    _wait(place)


def stop(place: Place) -> None:
    """Ask the hub to end, as Ctrl-C does."""
    if place.process is None or place.process.poll() is not None:
        return
    place.process.send_signal(signal.SIGINT)
    try:
        place.process.wait(60)
    except subprocess.TimeoutExpired:
        place.process.kill()


def _wait(place: Place) -> None:
    until = time.monotonic() + STARTING_S
    log = place.folder / "hub.log"
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if (
                httpx.get(f"{place.base_url}/readyz", timeout=2).status_code == 200
                and b"ready after" in log.read_bytes()
            ):
                return
        if place.process.poll() is not None or time.monotonic() > until:
            raise RuntimeError("the hub did not start:\n" + log.read_text(errors="replace")[-3000:])
        time.sleep(0.2)


_given: set[int] = set()


def free_port() -> int:
    """A port nobody listens on now and not given before; drawn, so that two measured hubs of one machine do not meet."""
    port = ports.free_port(but=frozenset(_given))
    _given.add(port)
    return port


def tree(root: int) -> list[int]:
    """A process and everything below it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _cpu_of(pid: int) -> float:
    with contextlib.suppress(OSError):
        values = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        # Own time and that of children already gone.
        return sum(int(values[index]) for index in (11, 12, 13, 14)) / TICK
    return 0.0


def _pss_of(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
