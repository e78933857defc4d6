"""Secrets the hub makes for itself and keeps in its data folder, readable by its owner only.

The environment always wins. Only the sandbox profile falls back to kept values;
production refuses to start without its own (check ``hie.E001``).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

KEY_BYTES = 32


def kept(path: Path, make: Callable[[], str]) -> str:
    """The content of a file of mode 0600, made on first use.

    Two processes that start at once agree: the file appears whole or not at all, and the loser reads the winner's.
    """
    with contextlib.suppress(FileNotFoundError):
        return path.read_text().strip()
    write_private(path, make(), replace=False)
    return path.read_text().strip()


def write_private(path: Path, content: str, *, replace: bool = True) -> None:
    """Write a file of mode 0600 in one step; with ``replace=False`` an existing file stays."""
    private_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(content + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        if replace:
            os.replace(name, path)
        else:
            with contextlib.suppress(FileExistsError):
                os.link(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def private_folder(path: Path) -> None:
    """Make a folder of mode 0700, and those above it that are missing; one that exists keeps its mode."""
    for folder in reversed([path, *path.parents]):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)


def new_secret() -> str:
    """A value for ``HIE_SECRET_KEY``."""
    return secrets.token_urlsafe(48)


def new_document_key() -> tuple[str, bytes]:
    """A fresh key-encryption key and its id."""
    return secrets.token_hex(4), secrets.token_bytes(KEY_BYTES)


def encode_document_keys(keys: Mapping[str, bytes]) -> str:
    """``id:base64url,id:base64url``; the first wraps what is new, all unwrap."""
    return ",".join(f"{name}:{base64.urlsafe_b64encode(key).decode()}" for name, key in keys.items())


def decode_document_keys(value: str) -> dict[str, bytes]:
    """The keys of ``HIE_DOCUMENT_KEYS``, in order; the first is the current one.

    Raises:
        ImproperlyConfigured: not ``id:base64`` of 32 bytes each, or an id twice.
    """
    keys: dict[str, bytes] = {}
    for part in filter(None, (piece.strip() for piece in value.split(","))):
        name, _, encoded = part.partition(":")
        try:
            key = base64.b64decode(
                encoded.replace("-", "+").replace("_", "/") + "=" * (-len(encoded) % 4), validate=True
            )
        except binascii.Error:
            key = b""
        if not name or len(key) != KEY_BYTES or name in keys:
            raise ImproperlyConfigured(
                "HIE_DOCUMENT_KEYS must be id:base64,id:base64 with 32 bytes each and no id twice"
            )
        keys[name] = key
    return keys


def read_document_keys(path: Path) -> dict[str, bytes]:
    """The keys kept in the data folder, made on first use; the first is the current one.

    Read again after a rotation: another process may have put a new key in front.
    """
    return decode_document_keys(kept(path, lambda: encode_document_keys(dict([new_document_key()]))))


def add_document_key(path: Path) -> str:
    """Put a new current key in front of the kept ones and give its id; older keys keep unwrapping."""
    name, key = new_document_key()
    write_private(path, encode_document_keys({name: key, **read_document_keys(path)}))
    return name


def drop_document_keys(path: Path, names: set[str]) -> None:
    """Forget keys under which nothing is wrapped any more; the current key always stays."""
    keys = read_document_keys(path)
    current = next(iter(keys))
    write_private(path, encode_document_keys({n: k for n, k in keys.items() if n == current or n not in names}))


def service_urls(path: Path) -> dict[str, str]:
    """``database_url`` and ``redis_url`` of the services that `./hub` started for this data folder; empty when none."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {name: value for name, value in content.items() if isinstance(value, str)}
