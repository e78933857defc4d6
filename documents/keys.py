"""Document keys: the keys under which the data key of each blob is wrapped.

``settings.DOCUMENT_KEYS`` maps an id to 32 bytes, the current key first. Where ``settings.DOCUMENT_KEYS_FILE`` names a file,
that is where a rotation adds a key: it is read again when it has changed, so that a new key reaches every
running process without a restart. What only the settings hold still unwraps.

A blob's data key and the repository's digest key are wrapped by AES-256-GCM with a random nonce; what the key is for
is authenticated with it, so that a wrapped key cannot be moved to another row.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connection, transaction

from documents.errors import ContentUnavailable
from documents.models import RepositoryKey
from hie.database import prepared
from hie.settings import secrets as kept

_NONCE = 12
_lock = threading.Lock()
_digest_key: bytes | None = None
_file_state: tuple[tuple[str, int, int], Mapping[str, bytes]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentKeys:
    """Every document key by id, and which of them wraps new data keys."""

    current: str
    keys: Mapping[str, bytes]

    def wrap(self, key: bytes, purpose: bytes) -> tuple[bytes, str]:
        """A data key wrapped by the current key, and that key's id."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + AESGCM(self.keys[self.current]).encrypt(nonce, key, purpose), self.current

    def unwrap(self, wrapped: bytes, key_id: str, purpose: bytes) -> bytes:
        """The data key again.

        Raises:
            ContentUnavailable: the document key is not here, or the wrapped key was tampered with.
        """
        if key_id not in self.keys:
            raise ContentUnavailable(f"document key {key_id} is not available")
        try:
            return AESGCM(self.keys[key_id]).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], purpose)
        except InvalidTag:
            raise ContentUnavailable("wrapped key does not verify") from None


def document_keys() -> DocumentKeys:
    """The keys as they are now.

    Raises:
        ImproperlyConfigured: there is none.
    """
    keys = {**_from_file()}
    for key_id, key in getattr(settings, "DOCUMENT_KEYS", {}).items():
        keys.setdefault(key_id, key)
    if not keys:
        raise ImproperlyConfigured("no document keys: set HIE_DOCUMENT_KEYS")
    return DocumentKeys(current=next(iter(keys)), keys=keys)


def add_key() -> str | None:
    """Make a new current key and keep it where rotations are kept; its id.

    None when the keys come from the environment: then the operator puts one in front there.
    """
    path = getattr(settings, "DOCUMENT_KEYS_FILE", None)
    if path is None:
        return None
    with _lock:
        return kept.add_document_key(Path(path))


def _from_file() -> Mapping[str, bytes]:
    global _file_state
    path = getattr(settings, "DOCUMENT_KEYS_FILE", None)
    if path is None:
        return {}
    try:
        stat = Path(path).stat()
    except FileNotFoundError:
        return {}
    mark = (str(path), stat.st_mtime_ns, stat.st_ino)
    state = _file_state
    if state is None or state[0] != mark:
        state = (mark, kept.read_document_keys(Path(path)))
        _file_state = state
    return state[1]


def digest_key() -> bytes:
    """The key of the content digest: made once, stays the same through every rotation; read once a process."""
    global _digest_key
    if _digest_key is None:
        found = _kept_digest_key()
        if connection.in_atomic_block:  # which may yet take back the row that it was read from
            return found
        _digest_key = found
    return _digest_key


def forget() -> None:
    """Drop what this process remembers (tests that empty the database)."""
    global _digest_key
    _digest_key = None


def _kept_digest_key() -> bytes:
    with prepared() as cursor:
        cursor.execute("SELECT wrapped_key, key_id FROM documents_repositorykey WHERE name = 'digest'")
        found = cursor.fetchone()
    if found is None:
        wrapped, key_id = document_keys().wrap(secrets.token_bytes(32), b"digest")
        try:
            with transaction.atomic():
                row = RepositoryKey.objects.create(name="digest", wrapped_key=wrapped, key_id=key_id)
        except IntegrityError:  # another process was first
            row = RepositoryKey.objects.get(name="digest")
        found = row.wrapped_key, row.key_id
    return document_keys().unwrap(bytes(found[0]), found[1], b"digest")
