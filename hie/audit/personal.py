"""Words of the log under a key of the patient they are about.

Destroying that key (crypto-shredding, at the end of retention) makes the words
unreadable while every hash of the log stays valid: leaves are over ciphertext.

Source: spec/consent.md 17, "Erasure and retention".
"""

from __future__ import annotations

import json
import secrets
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import BaseDatabaseWrapper

from hie.audit.canonical import plain
from hie.audit.keys import open_text, seal_text, wrap_keys
from hie.database import prepared

_CACHE_SIZE = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientKey:
    """A patient's key, unwrapped; `secret` None once it was shredded."""

    id: UUID
    secret: bytes | None

    def seal(self, words: Mapping[str, Any], *, bound_to: bytes) -> bytes | None:
        """The words encrypted, bound to the event; None when the key was shredded (nothing more is kept then)."""
        if self.secret is None:
            return None
        text = json.dumps(plain(words), ensure_ascii=False, separators=(",", ":")).encode()
        return seal_text(self.secret, text, bound_to=bound_to)

    def open(self, sealed: bytes, *, bound_to: bytes) -> dict[str, Any]:
        """The words; empty when the key was shredded or the ciphertext was altered (verify_audit tells which)."""
        if self.secret is None:
            return {}
        try:
            words: dict[str, Any] = json.loads(open_text(self.secret, sealed, bound_to=bound_to))
        except InvalidTag:
            return {}
        return words


class _Cache:
    """Committed keys of this process by (database, subject); least recently used go first."""

    def __init__(self) -> None:
        self._keys: OrderedDict[tuple[str, str], PatientKey] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, str]) -> PatientKey | None:
        with self._lock:
            found = self._keys.get(key)
            if found is not None:
                self._keys.move_to_end(key)
            return found

    def put(self, key: tuple[str, str], value: PatientKey) -> None:
        with self._lock:
            self._keys[key] = value
            self._keys.move_to_end(key)
            while len(self._keys) > _CACHE_SIZE:
                self._keys.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._keys.clear()


_cache = _Cache()


def keys_for(subjects: Iterable[str], connection: BaseDatabaseWrapper, now: datetime) -> dict[str, PatientKey]:
    """The key of each subject, made where there is none; one statement for those not known to this process, two when made.

    A key this transaction made is remembered only once it is committed.
    """
    database = str(connection.settings_dict["NAME"])
    found: dict[str, PatientKey] = {}
    missing: set[str] = set()
    for subject in subjects:
        known = _cache.get((database, subject))
        if known is None:
            missing.add(subject)
        else:
            found[subject] = known
    if not missing:
        return found
    stored = _read(sorted(missing), connection)
    if missing - stored.keys():
        stored |= _make(sorted(missing - stored.keys()), connection, now)
    for subject, key in stored.items():
        _remember(connection, (database, subject), key)
    found |= stored
    return found


def _remember(connection: BaseDatabaseWrapper, key: tuple[str, str], value: PatientKey) -> None:
    """Only once committed: the row may be one that this very transaction made and will roll back."""
    if connection.in_atomic_block:
        connection.on_commit(lambda: _cache.put(key, value))


def _read(subjects: list[str], connection: BaseDatabaseWrapper) -> dict[str, PatientKey]:
    with prepared(connection) as cursor:
        cursor.execute("SELECT subject, id, wrap_key_id, wrapped FROM audit_key WHERE subject = ANY(%s)", [subjects])
        return {subject: _unwrap(key_id, wrap, wrapped) for subject, key_id, wrap, wrapped in cursor.fetchall()}


def _make(subjects: list[str], connection: BaseDatabaseWrapper, now: datetime) -> dict[str, PatientKey]:
    """New keys, in the order of their subjects (no two transactions wait for one another crosswise)."""
    wrap = wrap_keys()
    rows: list[Any] = []
    made: dict[str, PatientKey] = {}
    for subject in subjects:
        key_id, secret = uuid.uuid4(), secrets.token_bytes(32)
        wrapped = seal_text(wrap.keys[wrap.current], secret, bound_to=key_id.bytes)
        made[subject] = PatientKey(id=key_id, secret=secret)
        rows += [key_id, subject, wrap.current, wrapped, now]
    places = ", ".join(["(%s, %s, %s, %s, %s)"] * len(subjects))
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO audit_key (id, subject, wrap_key_id, wrapped, created_at) VALUES "  # noqa: S608  only placeholders
            f"{places} ON CONFLICT (subject) DO NOTHING RETURNING subject",
            rows,
        )
        ours = {row[0] for row in cursor.fetchall()}
    kept = {subject: key for subject, key in made.items() if subject in ours}
    # Another transaction was first with these.
    theirs = [subject for subject in subjects if subject not in ours]
    return kept | (_read(theirs, connection) if theirs else {})


def _unwrap(key_id: UUID, wrap_key_id: str, wrapped: bytes | memoryview | None) -> PatientKey:
    if wrapped is None:
        return PatientKey(id=key_id, secret=None)
    if wrap_key_id not in wrap_keys().keys:
        raise ImproperlyConfigured(
            f"the audit wrap key {wrap_key_id} is not among this installation's keys (HIE_AUDIT_KEYS)"
        )
    return PatientKey(id=key_id, secret=open_text(wrap_keys().keys[wrap_key_id], bytes(wrapped), bound_to=key_id.bytes))


def open_words(
    rows: Iterable[tuple[UUID, UUID | None, bytes | memoryview | None]], connection: BaseDatabaseWrapper
) -> dict[UUID, dict[str, Any]]:
    """The words of events given as (event id, key id, ciphertext), by event id; one statement for all keys."""
    items = [(event, key, bytes(sealed)) for event, key, sealed in rows if key is not None and sealed is not None]
    if not items:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, wrap_key_id, wrapped FROM audit_key WHERE id = ANY(%s)", [list({k for _, k, _ in items})]
        )
        keys = {key_id: _unwrap(key_id, wrap, wrapped) for key_id, wrap, wrapped in cursor.fetchall()}
    return {event: keys[key].open(sealed, bound_to=event.bytes) for event, key, sealed in items if key in keys}


def forget_keys() -> None:
    """Drop the keys this process remembers: after shredding, or when rows of the database were set back (tests)."""
    _cache.clear()
