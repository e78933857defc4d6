"""Free ports on loopback, below the range that outgoing connections take theirs from."""

from __future__ import annotations

import secrets
import socket

LOW, HIGH = 16_000, 32_000


class NoFreePort(Exception):
    """Every port that was tried is taken."""


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(preferred: int | None = None, *, but: frozenset[int] = frozenset()) -> int:
    """`preferred` when it is free (so that a restart keeps its addresses), else another one.

    Raises:
        NoFreePort: 200 tries found none.
    """
    if preferred is not None and preferred not in but and is_free(preferred):
        return preferred
    for _ in range(200):
        port = LOW + secrets.randbelow(HIGH - LOW)
        if port not in but and is_free(port):
            return port
    raise NoFreePort(f"no free port between {LOW} and {HIGH}")
