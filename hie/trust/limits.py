"""Limits on use: rate and concurrency per participant, and guessing of identifiers apart.

Counted in Redis, so all processes share one limit. While Redis is away each process limits on its
own, by the same numbers: patient care does not stop for a broker, and no caller becomes unlimited.

Source: design.md "Interfaces" (429 with Retry-After); issue 2, "Trust".
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import redis
import structlog
from django.conf import settings

from hie.directory import queries
from hie.standards.facts import Caller
from hie.trust.errors import TooManyRequests

log = structlog.get_logger(__name__)

# A slot held longer than this belongs to a process that died.
SLOT_TTL_S = 900
_AWAY_S = 5.0
_PREFIX = "hie:limit:"

_ADMIT = """
local now = redis.call('TIME'); now = tonumber(now[1]) + tonumber(now[2]) / 1e6
local rate, burst, slots, ttl = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[5])
if slots > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  if redis.call('ZCARD', KEYS[2]) >= slots then return {2, '1'} end
end
local held = redis.call('HMGET', KEYS[1], 'n', 't')
local tokens = math.min(burst, (tonumber(held[1]) or burst) + math.max(0, now - (tonumber(held[2]) or now)) * rate)
if tokens < 1 then return {1, tostring((1 - tokens) / rate)} end
redis.call('HSET', KEYS[1], 'n', tostring(tokens - 1), 't', tostring(now))
local life = math.ceil(burst / rate * 1000) + 1000
-- Each write is one in the append-only file too: a life is lengthened when half of it is over.
if redis.call('PTTL', KEYS[1]) < life then redis.call('PEXPIRE', KEYS[1], 2 * life) end
if slots > 0 then
  redis.call('ZADD', KEYS[2], now + ttl, ARGV[4])
  if redis.call('TTL', KEYS[2]) < ttl then redis.call('EXPIRE', KEYS[2], 2 * ttl) end
end
return {0, '0'}
"""


@dataclass(frozen=True, slots=True)
class Limit:
    """`rate_per_s` on the long run, `burst` at once, `concurrency` at the same time (0: not limited)."""

    rate_per_s: float
    burst: float
    concurrency: int = 0


def limit_of(participant_id: str) -> Limit:
    """The participant's own limits where the directory has them, else the hub's (``PARTICIPANT_LIMITS``)."""
    common = {"rate_per_s": 500, "burst": 1000, "concurrency": 64} | dict(getattr(settings, "PARTICIPANT_LIMITS", {}))
    own = queries.snapshot().limits.get(participant_id)
    rate = (own and own.rate_per_s) or common["rate_per_s"]
    burst = (own and own.burst) or max(common["burst"], rate)
    return Limit(rate, burst, (own and own.concurrency) or common["concurrency"])


@contextmanager
def admit(caller: Caller) -> Iterator[None]:
    """Let one request of a participant in, for as long as the block lasts; one statement, two Redis calls,
    of which the second is not waited for.

    Raises:
        TooManyRequests: rate or concurrency reached; the block has not begun.
    """
    slot = uuid.uuid4().hex
    name = caller.participant_id
    taken = _take(name, limit_of(name), slot)
    try:
        yield
    finally:
        taken.release()


def guessing(caller: Caller, key: str) -> None:
    """Count a failed look-up of an identifier; call it whenever one was not found.

    Counted for each user of a participant and, twenty times as much, for the whole participant, apart
    from the rate of its requests: ``GUESSING_PER_MINUTE`` (60) misses of one user. `key` says what was
    looked for and is kept nowhere: it may be a patient's identifier, and who tries many different
    ones must not have a new count for each.

    Raises:
        TooManyRequests: more misses than an honest user has.
    """
    per_minute = int(getattr(settings, "GUESSING_PER_MINUTE", 60))
    for name, allowed in (
        (f"miss:{caller.participant_id}:{caller.user_id}", per_minute),
        (f"miss:{caller.participant_id}", per_minute * 20),
    ):
        _take(name, Limit(allowed / 60, allowed), "", reason="guessing")


def failed_attempts(network_address: str) -> None:
    """Count a refused token request by the address it came from (``REFUSED_TOKENS_PER_MINUTE``, 120).

    Raises:
        TooManyRequests: the address tries too often.
    """
    per_minute = int(getattr(settings, "REFUSED_TOKENS_PER_MINUTE", 120))
    _take(f"refused:{network_address}", Limit(per_minute / 60, per_minute), "", reason="refused log-ins")


@dataclass(frozen=True, slots=True)
class _Taken:
    name: str
    slot: str
    local: bool

    def release(self) -> None:
        if not self.slot:
            return
        if self.local:
            _local.release(self.name)
            return
        try:
            _line().tell("ZREM", f"{_PREFIX}{{{self.name}}}:slots", self.slot)
        except redis.RedisError:
            # The slot ends by itself after SLOT_TTL_S.
            _note_away()


def _take(name: str, limit: Limit, slot: str, *, reason: str = "rate") -> _Taken:
    slots = limit.concurrency if slot else 0
    if time.monotonic() >= _away_until:
        try:
            # The braces keep both keys of a name on one node of a cluster.
            verdict, wait = _line().ask_script(
                (f"{_PREFIX}{{{name}}}:bucket", f"{_PREFIX}{{{name}}}:slots"),
                (limit.rate_per_s, limit.burst, slots, slot, SLOT_TTL_S),
            )
        except redis.RedisError:
            _note_away()
        else:
            if int(verdict) == 0:
                return _Taken(name, slot if slots else "", False)
            raise TooManyRequests(
                max(1, math.ceil(float(wait))), reason if int(verdict) == 1 else "requests at the same time"
            )
    _local.take(name, limit, slots, reason)
    return _Taken(name, slot if slots else "", True)


class _Local:
    """The same limits within this process, for the time that Redis is away."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}
        self._slots: dict[str, int] = {}

    def take(self, name: str, limit: Limit, slots: int, reason: str) -> None:
        now = time.monotonic()
        with self._lock:
            if slots and self._slots.get(name, 0) >= slots:
                raise TooManyRequests(1, "requests at the same time")
            if len(self._buckets) > 10_000:
                self._buckets.clear()
            tokens, at = self._buckets.get(name, (limit.burst, now))
            tokens = min(limit.burst, tokens + (now - at) * limit.rate_per_s)
            if tokens < 1:
                raise TooManyRequests(max(1, math.ceil((1 - tokens) / limit.rate_per_s)), reason)
            self._buckets[name] = (tokens - 1, now)
            if slots:
                self._slots[name] = self._slots.get(name, 0) + 1

    def release(self, name: str) -> None:
        with self._lock:
            left = self._slots.get(name, 1) - 1
            if left > 0:
                self._slots[name] = left
            else:
                self._slots.pop(name, None)


_local = _Local()
_away_until = 0.0
_clients: dict[str, redis.Redis] = {}


def _note_away() -> None:
    # Ask Redis again only after a while: a dead one would cost every request its timeout.
    global _away_until
    _away_until = time.monotonic() + _AWAY_S
    log.warning("limits_without_redis", retry_in_s=_AWAY_S)


def _redis() -> redis.Redis:
    url = settings.REDIS_URL
    held = _clients.get(url)
    if held is None:
        held = _clients[url] = redis.Redis.from_url(url, socket_timeout=0.25, socket_connect_timeout=0.25)
    return held


_TOLD = 100
"""So many commands are told at most before their answers are read."""
_SHA = hashlib.sha1(_ADMIT.encode(), usedforsecurity=False).hexdigest()


class _Line:
    """One thread's connection: the client for all purposes costs three times what it sends and receives.

    What is told is not waited for; its answer is read before the next one that is. Until then it is kept and told again
    on a new connection: what is written to one that the other end has closed is lost without an error. So only what can
    be done twice is told.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.pid = os.getpid()
        # The pool's own are limited, and those of threads that have ended count for ever.
        pool = _redis().connection_pool
        self._connection: Any = pool.connection_class(**pool.connection_kwargs)
        self._told: deque[tuple[Any, ...]] = deque()

    def tell(self, *command: Any) -> None:
        """Send a command that may be sent twice; what it answers is nobody's concern.

        Raises:
            redis.RedisError: it is not sent; it will be with the next one.
        """
        if len(self._told) >= _TOLD:
            self.ask("PING")
        try:
            self._send(command)
        except redis.ConnectionError:
            # The other end was away for a moment, or has ended a connection that was not used for long.
            self._send(command)
        finally:
            self._told.append(command)

    def ask(self, *command: Any) -> Any:
        """Send a command and wait for its answer."""
        try:
            return self._ask(command)
        except redis.ConnectionError:
            self._connection.disconnect()
            return self._ask(command)

    def ask_script(self, keys: tuple[str, ...], values: tuple[Any, ...]) -> Any:
        """Run the script that admits."""
        try:
            return self.ask("EVALSHA", _SHA, len(keys), *keys, *values)
        except redis.exceptions.NoScriptError:
            return self.ask("EVAL", _ADMIT, len(keys), *keys, *values)

    def _send(self, command: tuple[Any, ...]) -> None:
        connection = self._connection
        commands = [*self._told, command] if connection._sock is None else [command]
        connection.send_packed_command(connection.pack_commands(commands), check_health=False)

    def _ask(self, command: tuple[Any, ...]) -> Any:
        self._send(command)
        while self._told:
            with suppress(redis.ResponseError):
                self._connection.read_response()
            self._told.popleft()
        return self._connection.read_response()


_lines = threading.local()


def _line() -> _Line:
    held: _Line | None = getattr(_lines, "held", None)
    if held is None or held.url != settings.REDIS_URL or held.pid != os.getpid():
        held = _lines.held = _Line(settings.REDIS_URL)
    return held
