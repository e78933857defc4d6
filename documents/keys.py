"""Document keys: the keys under which the data key of each blob is wrapped.

``settings.DOCUMENT_KEYS`` is ``{"current": id, "keys": {id: base64 of 32 bytes}}``. Where it is unset, the keys live
in ``document-keys.json`` of the data folder, mode 0600, made on first use in the sandbox only. The file is
read again when it has changed, so that a rotation reaches every running process without a restart.

A blob's data key and the repository's digest key are wrapped by AES-256-GCM with a random nonce; what the key is for is
authenticated with it, so that a wrapped key cannot be moved to another row.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, transaction

from documents.errors import ContentUnavailable
from documents.models import RepositoryKey

_NONCE = 12
_lock = threading.Lock()
_file_state: tuple[tuple[str, int, int], DocumentKeys] | None = None


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
    """The keys as they are now."""
    configured = getattr(settings, "DOCUMENT_KEYS", None)
    if configured:
        return _decode(configured)
    global _file_state
    path = _path()
    for _ in range(2):
        try:
            stat = path.stat()
        except FileNotFoundError:
            if getattr(settings, "PROFILE", "sandbox") == "production":
                raise ImproperlyConfigured(f"no document keys: set HIE_DOCUMENT_KEYS or provide {path.name}") from None
            _create(path)
            continue
        mark = (str(path), stat.st_mtime_ns, stat.st_ino)
        state = _file_state
        if state is None or state[0] != mark:
            state = (mark, _decode(json.loads(path.read_text())))
            _file_state = state
        return state[1]
    raise ImproperlyConfigured("document keys cannot be read")


def add_key() -> str | None:
    """Make a new current key and keep it in the data folder; its id.

    None when the keys come from the environment: then the operator adds one there.
    """
    if getattr(settings, "DOCUMENT_KEYS", None):
        return None
    with _lock:
        present = document_keys()
        key_id = _new_id(present.keys)
        _write(
            _path(), DocumentKeys(current=key_id, keys={**present.keys, key_id: secrets.token_bytes(32)}), replace=True
        )
    return key_id


def digest_key() -> bytes:
    """The key of the content digest: made once, stays the same through every rotation."""
    row = RepositoryKey.objects.filter(name="digest").first()
    if row is None:
        wrapped, key_id = document_keys().wrap(secrets.token_bytes(32), b"digest")
        try:
            with transaction.atomic():
                row = RepositoryKey.objects.create(name="digest", wrapped_key=wrapped, key_id=key_id)
        except IntegrityError:  # another process was first
            row = RepositoryKey.objects.get(name="digest")
    return document_keys().unwrap(bytes(row.wrapped_key), row.key_id, b"digest")


def _path() -> Path:
    return Path(settings.DATA_DIR) / "document-keys.json"


def _decode(configured: Mapping[str, Any] | str) -> DocumentKeys:
    data = json.loads(configured) if isinstance(configured, str) else configured
    try:
        keys = {str(key_id): base64.b64decode(value, validate=True) for key_id, value in data["keys"].items()}
        current = str(data["current"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ImproperlyConfigured('document keys are {"current": id, "keys": {id: base64}}') from None
    if current not in keys or any(len(key) != 32 for key in keys.values()):
        raise ImproperlyConfigured("document keys: the current one must be among them, each of 32 bytes")
    return DocumentKeys(current=current, keys=keys)


def _new_id(present: Mapping[str, bytes]) -> str:
    today = datetime.now(UTC).strftime("%Y%m%d")
    return next(name for n in range(1, 100_000) if (name := f"k{today}-{n}") not in present)


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    key_id = _new_id({})
    _write(path, DocumentKeys(current=key_id, keys={key_id: secrets.token_bytes(32)}), replace=False)


def _write(path: Path, keys: DocumentKeys, *, replace: bool) -> None:
    body = json.dumps(
        {"current": keys.current, "keys": {k: base64.b64encode(v).decode() for k, v in keys.keys.items()}}, indent=1
    )
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".document-keys-")  # made with mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(name, path)
        else:
            with suppress(FileExistsError):  # another process has made it: its keys count
                os.link(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
