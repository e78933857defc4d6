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
    found, missing = _known(subjects, connection)
    if missing:
        made = _make([_new_key(subject, now) for subject in missing], connection)
        remember(made, connection)
        found |= made
    return found


def keys_or_new(
    subjects: Iterable[str], connection: BaseDatabaseWrapper, now: datetime
) -> tuple[dict[str, PatientKey], list[NewKey]]:
    """The key of each subject, and those among them that are still to be stored, in the order of their subjects.

    For who stores them with what they seal, by one statement; then they are to be `remember`ed. Of two who make one for
    the same subject at once the second one's statement breaks the uniqueness of subjects. At most one statement here.
    """
    found, missing = _known(subjects, connection)
    new = [_new_key(subject, now) for subject in missing]
    return found | {key.subject: key.key for key in new}, new


def _known(subjects: Iterable[str], connection: BaseDatabaseWrapper) -> tuple[dict[str, PatientKey], list[str]]:
    """The keys that are there, and the subjects that have none, in order; one statement for those not remembered."""
    database = str(connection.settings_dict["NAME"])
    found: dict[str, PatientKey] = {}
    unseen: set[str] = set()
    for subject in subjects:
        held = _cache.get((database, subject))
        if held is None:
            unseen.add(subject)
        else:
            found[subject] = held
    if unseen:
        stored = _read(sorted(unseen), connection)
        remember(stored, connection)
        found |= stored
    return found, sorted(unseen - found.keys())


def remember(keys: Mapping[str, PatientKey], connection: BaseDatabaseWrapper) -> None:
    """Keep keys for the next time: once committed, for the row may be one that this very transaction will roll back."""
    database = str(connection.settings_dict["NAME"])

    def keep() -> None:
        for subject, key in keys.items():
            _cache.put((database, subject), key)

    if connection.in_atomic_block:
        connection.on_commit(keep)
    elif connection.get_autocommit():
        keep()


def _read(subjects: list[str], connection: BaseDatabaseWrapper) -> dict[str, PatientKey]:
    with prepared(connection) as cursor:
        cursor.execute("SELECT subject, id, wrap_key_id, wrapped FROM audit_key WHERE subject = ANY(%s)", [subjects])
        return {subject: _unwrap(key_id, wrap, wrapped) for subject, key_id, wrap, wrapped in cursor.fetchall()}


KEY_COLUMNS = ("id", "subject", "wrap_key_id", "wrapped", "created_at")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that is not stored yet; `row` by `KEY_COLUMNS`."""

    subject: str
    key: PatientKey
    row: tuple[Any, ...]


def _new_key(subject: str, now: datetime) -> NewKey:
    wrap = wrap_keys()
    key_id, secret = uuid.uuid4(), secrets.token_bytes(32)
    wrapped = seal_text(wrap.keys[wrap.current], secret, bound_to=key_id.bytes)
    return NewKey(subject, PatientKey(id=key_id, secret=secret), (key_id, subject, wrap.current, wrapped, now))


def _make(new: list[NewKey], connection: BaseDatabaseWrapper) -> dict[str, PatientKey]:
    """Store new keys, in the order of their subjects (no two transactions wait for one another crosswise)."""
    places = ", ".join(["(%s, %s, %s, %s, %s)"] * len(new))
    with prepared(connection) if len(new) == 1 else connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO audit_key ({', '.join(KEY_COLUMNS)}) VALUES "  # noqa: S608  only placeholders
            f"{places} ON CONFLICT (subject) DO NOTHING RETURNING subject",
            [value for key in new for value in key.row],
        )
        ours = {row[0] for row in cursor.fetchall()}
    kept = {key.subject: key.key for key in new if key.subject in ours}
    # Another transaction was first with these.
    theirs = [key.subject for key in new if key.subject not in ours]
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
