"""The public keys of clients: by value from the directory, or fetched from their JWKS URL.

Fetching: http(s) only, no redirects, 3 s, 64 kB. A set is held for 5 minutes, so a key that the
client withdraws stops soon; an unknown kid fetches again, at most every 10 s per URL. While the URL
does not answer, the set last fetched is used for an hour more, then nothing is.

Source: spec/fhir.md 7 (exactly one key by kid and kty); SMART backend services.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import httpx
import orjson
import structlog

from hie.directory.keys import PublicKey, UnusableKey, read_jwk, validity
from hie.directory.queries import ClientFacts
from hie.trust import server_certificates

log = structlog.get_logger(__name__)

TIMEOUT_S = 3.0
MAX_BYTES = 64 * 1024
MAX_AGE_S = 300.0
REFETCH_FLOOR_S = 10.0
STALE_S = 3600.0


@dataclass(frozen=True, slots=True)
class _Fetched:
    keys: tuple[Mapping[str, Any], ...]
    fetched_at: float  # monotonic; of the last success
    tried_at: float


_sets: dict[str, _Fetched] = {}
_locks: dict[str, threading.Lock] = {}
_guard = threading.Lock()


def find(client: ClientFacts, *, kid: str, algorithm: str, now: datetime) -> PublicKey | None:
    """The one key of this client with this kid that is in force now and may be used with this algorithm."""
    if client.jwks_url:
        candidates = [dict(jwk) for jwk in fetched(client.jwks_url, kid=kid) if jwk.get("kid") == kid]
    else:
        candidates = [
            dict(key.jwk)
            for key in client.keys
            if key.kid == kid
            and (key.not_before is None or key.not_before <= now)
            and (key.expires is None or now < key.expires)
        ]
    usable = [key for jwk in candidates if (key := _usable(jwk, algorithm, now)) is not None]
    return usable[0] if len(usable) == 1 else None


def _usable(jwk: dict[str, Any], algorithm: str, now: datetime) -> PublicKey | None:
    try:
        not_before, expires = validity(jwk)
        key = _loaded(orjson.dumps(jwk, option=orjson.OPT_SORT_KEYS))
    except (UnusableKey, orjson.JSONEncodeError):
        return None
    if (not_before and now < not_before) or (expires and now >= expires):
        return None
    return key if algorithm in key.algorithms else None


@lru_cache(maxsize=2048)
def _loaded(jwk: bytes) -> PublicKey:
    # Reading a key costs more than verifying with it.
    return read_jwk(orjson.loads(jwk))


def fetched(url: str, *, kid: str) -> tuple[Mapping[str, Any], ...]:
    """The keys at a JWKS URL, fetched when not held, too old, or without this kid."""
    held = _sets.get(url)
    if held is not None and _fresh(held) and any(jwk.get("kid") == kid for jwk in held.keys):
        return held.keys
    with _guard:
        lock = _locks.setdefault(url, threading.Lock())
    # One fetch at a time per URL; those who waited find it done.
    with lock:
        held = _sets.get(url)
        now = time.monotonic()
        if held is not None:
            known = _fresh(held) and any(jwk.get("kid") == kid for jwk in held.keys)
            if known or now - held.tried_at < REFETCH_FLOOR_S:
                return held.keys if now - held.fetched_at < STALE_S else ()
        try:
            keys = _fetch(url)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            log.warning("jwks_not_fetched", url=url, error=type(error).__name__)
            if held is None:
                _sets[url] = _Fetched((), now - STALE_S, now)
                return ()
            _sets[url] = _Fetched(held.keys, held.fetched_at, now)
            return held.keys if now - held.fetched_at < STALE_S else ()
        _sets[url] = _Fetched(keys, now, now)
        return keys


def _fresh(held: _Fetched) -> bool:
    return time.monotonic() - held.fetched_at < MAX_AGE_S


def renewed(url: str) -> tuple[Mapping[str, Any], ...]:
    """The keys at a JWKS URL as they are now, whatever is held; from here on these are.

    Raises:
        ValueError: not reached by http, no JWKS, too large or too slow. httpx.HTTPError, httpx.InvalidURL: no answer.
    """
    keys = _fetch(url)
    now = time.monotonic()
    _sets[url] = _Fetched(keys, now, now)
    return keys


def _fetch(url: str) -> tuple[Mapping[str, Any], ...]:
    if not url.startswith(("https://", "http://")):
        raise ValueError("only http and https are fetched")
    deadline = time.monotonic() + TIMEOUT_S
    body = bytearray()
    headers = {"Accept": "application/json"}
    # `trust_env` off: a proxy from the environment must not see or answer for a client's keys.
    with (
        httpx.Client(
            timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, verify=server_certificates.trusted()
        ) as session,
        session.stream("GET", url, headers=headers) as answer,
    ):
        if answer.status_code != 200:
            raise ValueError(f"status {answer.status_code}")
        for chunk in answer.iter_bytes():
            body += chunk
            if len(body) > MAX_BYTES:
                raise ValueError("too large")
            if time.monotonic() > deadline:
                raise ValueError("too slow")
    document = orjson.loads(bytes(body))
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise ValueError("not a JWKS")
    return tuple(jwk for jwk in keys if isinstance(jwk, dict))


def forget() -> None:
    """Drop every set held, for an operator who knows that a client's keys were stolen."""
    _sets.clear()
