"""Whom we trust to certify the servers that we call, read once a process.

Reading them takes ten milliseconds; a notice or a token is sent in less.
"""

from __future__ import annotations

import functools
import ssl

import httpx

__all__ = ["trusted"]


@functools.cache
def trusted() -> ssl.SSLContext:
    """What `httpx` checks a server's certificate by of itself, whatever stands in the environment."""
    return httpx.create_ssl_context(trust_env=False)
