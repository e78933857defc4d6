"""What the sandbox is told of the hub it is loaded into, and how hubs and peers are added beside it.

`up` makes a `Context` once the database is migrated; `hie.ops.beside.children` adds the sandbox's hubs and peer to
it (`Context.hub` makes one hub each; any other `Child` will do); once all are ready, ``python -m hie.ops.beside
CONTEXT.json`` lets `hie.ops.sandbox.load.ensure` bring in what is missing, in a process of its own.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hie.ops import datafolder
from hie.ops.ports import free_port
from hie.ops.processes import Child
from hie.ops.services import Services

ROOT = Path(__file__).resolve().parent.parent.parent
BLANK = "hie_blank"


@dataclass(slots=True, kw_only=True)
class Beside:
    """A hub beside the main one, as the loader meets it."""

    name: str
    base_url: str
    data_dir: str
    mllp_port: int
    home_community_id: str
    repository_unique_id: str
    assigning_authority: str
    database_url: str
    redis_url: str
    environment: dict[str, str]


@dataclass(slots=True, kw_only=True)
class Context:
    """The running hub in plain values; `services` is there for the supervisor only."""

    data_dir: str
    base_url: str
    port: int
    mllp_port: int
    home_community_id: str
    repository_unique_id: str
    assigning_authority: str
    database_url: str
    redis_url: str
    hubs: list[Beside] = field(default_factory=list)
    # What else the loader needs (the address of the faulty peer).
    extra: dict[str, object] = field(default_factory=dict)
    services: Services | None = None
    taken: set[int] = field(default_factory=set)

    def port_for(self, name: str) -> int:
        """A free port, the same at each start while it stays free."""
        path = Path(self.data_dir) / "ports.json"
        try:
            ports: dict[str, int] = json.loads(path.read_text())
        except (OSError, ValueError):
            ports = {}
        port = free_port(ports.get(name), but=frozenset(self.taken))
        self.taken.add(port)
        if ports.get(name) != port:
            path.write_text(json.dumps(ports | {name: port}, indent=1))
        return port

    def hub(
        self, name: str, *, home_community_id: str, repository_unique_id: str, assigning_authority: str, number: int
    ) -> Child:
        """One further hub of this code: own data folder, keys, database (a clone) and queue, in one process.

        `number` (1 and up) tells the hubs apart in the broker.
        """
        assert self.services is not None, "only the supervisor can start a hub"
        data_dir = Path(self.data_dir) / "hubs" / name
        datafolder.prepare(data_dir)
        port, mllp_port = self.port_for(f"{name}-web"), self.port_for(f"{name}-mllp")
        database_url = self.services.clone_database(f"hie_{name.replace('-', '_')}", template=BLANK)
        redis_url = self.services.broker_numbered(number)
        environment = {
            "HIE_DATA_DIR": str(data_dir),
            "HIE_PORT": str(port),
            "HIE_MLLP_PORT": str(mllp_port),
            "HIE_BASE_URL": f"http://127.0.0.1:{port}",
            "HIE_HOME_COMMUNITY_ID": home_community_id,
            "HIE_REPOSITORY_UNIQUE_ID": repository_unique_id,
            "HIE_ASSIGNING_AUTHORITY": assigning_authority,
            "HIE_NAME": name.replace("-", " ").title(),
            "HIE_CHECKPOINT_DIR": str(data_dir / "checkpoints"),
            "HIE_DOCUMENT_DIR": str(data_dir / "documents"),
            "HIE_ROLE": f"hub-{name}",
            "HIE_DATABASE_POOL": "8",
            "HIE_WEB_THREADS": "8",
            "HIE_WORKER_THREADS": "2",
            "HIE_SECRET_KEY": "",
            "HIE_DOCUMENT_KEYS": "",
            "PROMETHEUS_MULTIPROC_DIR": "",
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
        }
        self.hubs.append(
            Beside(
                name=name,
                base_url=environment["HIE_BASE_URL"],
                data_dir=str(data_dir),
                mllp_port=mllp_port,
                home_community_id=home_community_id,
                repository_unique_id=repository_unique_id,
                assigning_authority=assigning_authority,
                database_url=database_url,
                redis_url=redis_url,
                environment=environment,
            )
        )
        return Child(
            name=f"hub-{name}",
            argv=program("hie.ops.onehub"),
            env=environment,
            ready=answers(f"{environment['HIE_BASE_URL']}/readyz"),
            ready_timeout_s=120,
        )

    def write(self, path: Path) -> None:
        """For the loader; holds addresses with passwords, hence mode 0600."""
        from hie.settings.secrets import write_private

        content = asdict_without_services(self)
        write_private(path, json.dumps(content, indent=1))

    @classmethod
    def read(cls, path: Path) -> Context:
        """What `write` wrote."""
        content = json.loads(path.read_text())
        hubs = [Beside(**hub) for hub in content.pop("hubs")]
        return cls(hubs=hubs, **content)


def asdict_without_services(context: Context) -> dict[str, object]:
    names = [n for n in Context.__slots__ if n not in {"services", "taken", "hubs"}]
    return {n: getattr(context, n) for n in names} | {"hubs": [asdict(hub) for hub in context.hubs]}


def program(module: str, *arguments: str) -> list[str]:
    """The command line of one of our modules, in this environment."""
    return [sys.executable, "-m", module, *arguments]


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """What every child of ours needs to find this code, whatever its working folder."""
    return {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "DJANGO_SETTINGS_MODULE": "hie.settings", **extra}


def answers(url: str) -> Callable[[], bool]:
    """Whether this address answers 200, asked without any proxy of the environment."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask() -> bool:
        try:
            with opener.open(url, timeout=3) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError, ValueError):
            return False

    return ask


def listens(host: str, port: int) -> Callable[[], bool]:
    """Whether something takes connections there."""
    import socket

    def ask() -> bool:
        try:
            socket.create_connection((host, port), timeout=2).close()
        except OSError:
            return False
        return True

    return ask


def environ_without(*names: str) -> dict[str, str]:
    """This process's environment less some variables."""
    return {k: v for k, v in os.environ.items() if k not in names}
