"""PostgreSQL and Valkey for one data folder: given by the environment, or embedded and started here."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from hie.ops import postgres, valkey
from hie.ops.ports import free_port
from hie.ops.processes import Child, stop_all
from hie.settings.secrets import write_private

FILE = "services.json"


@dataclass(slots=True, kw_only=True)
class Services:
    """Where database and broker answer.

    `admin_url` may create databases; it is the application's own when the database was given. `children` are the
    processes started here, in the order of their start.
    """

    database_url: str
    redis_url: str
    admin_url: str
    embedded_database: bool
    embedded_broker: bool
    children: list[Child] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What a child needs to find them."""
        return {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}

    def database_named(self, name: str) -> str:
        """The application's URL of another database in the same cluster."""
        return urlunsplit(urlsplit(self.database_url)._replace(path=f"/{name}"))

    def broker_numbered(self, number: int) -> str:
        """The broker's URL with another database number, so that hubs beside each other share no queue."""
        return urlunsplit(urlsplit(self.redis_url)._replace(path=f"/{number}"))

    def clone_database(self, name: str, *, template: str) -> str:
        """A copy of `template` under `name`, made unless it is there; gives its URL.

        Nobody may be connected to the template.
        """
        owner = urlsplit(self.database_url).username or postgres.ROLE
        postgres.clone(self.admin_url, name, template=template, owner=owner)
        return self.database_named(name)

    def stop(self) -> None:
        stop_all(self.children)


def kept_values(data_dir: Path) -> dict[str, str]:
    try:
        content = json.loads((data_dir / FILE).read_text())
    except (OSError, ValueError):
        return {}
    return {name: value for name, value in content.items() if isinstance(value, str)}


def start(
    data_dir: Path,
    *,
    database_url: str = "",
    redis_url: str = "",
    say: Callable[[str], None] = lambda _text: None,
    durable: bool = True,
    started: list[Child] | None = None,
) -> Services:
    """Start what is not given, wait until it answers, and note its addresses in ``services.json`` (mode 0600).

    Addresses and passwords stay as they were at the last start where the ports are still free. `started` receives
    each child as soon as it runs, so that a caller who is interrupted can stop it.

    Raises:
        PostgresRefused, ChildDied, NotReady: it cannot be had; nothing keeps running.
    """
    children: list[Child] = [] if started is None else started
    logs = data_dir / "logs"
    logs.mkdir(mode=0o700, exist_ok=True)
    kept = kept_values(data_dir)
    fresh = dict(kept)
    admin = database_url
    try:
        if not database_url:
            where = postgres.place(data_dir)
            fresh.setdefault("postgres_admin_password", secrets.token_urlsafe(24))
            fresh.setdefault("postgres_password", secrets.token_urlsafe(24))
            # Before the cluster: the passwords it is made with must outlive an interruption.
            write_private(data_dir / FILE, json.dumps(fresh, indent=1))
            if not (where.cluster / "PG_VERSION").exists():
                say("making the PostgreSQL cluster …")
            postgres.create(where, password=fresh["postgres_admin_password"], durable=durable)
            postgres.clear_stale_pid(where)
            port = free_port(port_of(kept, "postgres_port"))
            database = postgres.server(where, port=port, password=fresh["postgres_admin_password"], durable=durable)
            children.append(database)
            database.start(logs)
        if not redis_url:
            fresh.setdefault("valkey_password", secrets.token_urlsafe(24))
            valkey_port = free_port(port_of(kept, "valkey_port"))
            broker = valkey.server(data_dir, port=valkey_port, password=fresh["valkey_password"], durable=durable)
            children.append(broker)
            broker.start(logs)
            fresh |= {"valkey_port": str(valkey_port), "redis_url": valkey.url(valkey_port, fresh["valkey_password"])}
        for child in children:
            child.wait_ready()
        if not database_url:
            postgres.ensure_role(
                port, fresh["postgres_admin_password"], fresh["postgres_password"], may_create_databases=not durable
            )
            admin = postgres.admin_url(port, fresh["postgres_admin_password"])
            fresh |= {
                "postgres_port": str(port),
                "database_url": postgres.application_url(port, fresh["postgres_password"]),
            }
        write_private(data_dir / FILE, json.dumps(fresh, indent=1))
    except BaseException:
        if started is None:
            stop_all(children)
        raise
    return Services(
        database_url=database_url or fresh["database_url"],
        redis_url=redis_url or fresh["redis_url"],
        admin_url=admin,
        embedded_database=not database_url,
        embedded_broker=not redis_url,
        children=children,
    )


def port_of(kept: dict[str, str], name: str) -> int | None:
    value = kept.get(name, "")
    return int(value) if value.isdigit() else None
