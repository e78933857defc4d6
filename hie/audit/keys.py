"""Keys of the log: the wrap key of patients' keys, and the signing key of checkpoints.

Both live outside the database: a copy of the database alone reads no name and
signs nothing. Wrap keys come from `settings.AUDIT_KEYS` (``id:base64`` of 32
bytes, comma separated, the first is used for new keys), or from the file
`audit-wrap.key` in `settings.SECRETS_DIR`, made on first use (mode 0600). The signing
key is `audit-signing.pem` beside it, Ed25519.

Source: spec/consent.md 17.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

NONCE_BYTES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class WrapKeys:
    """The keys that wrap patients' keys: `current` for new ones, all for reading."""

    current: str
    keys: dict[str, bytes]


def key_dir() -> Path:
    """The folder of keys, outside the database (`settings.SECRETS_DIR`)."""
    return Path(getattr(settings, "SECRETS_DIR", None) or settings.DATA_DIR / "keys")


def wrap_keys() -> WrapKeys:
    """The wrap keys in force. Raises ImproperlyConfigured on a key that is not 32 bytes."""
    return _wrap_keys(getattr(settings, "AUDIT_KEYS", "") or "", key_dir())


@cache
def _wrap_keys(configured: str, folder: Path) -> WrapKeys:
    text = configured or create_once(folder / "audit-wrap.key", lambda: _new_wrap_key().encode()).decode()
    keys: dict[str, bytes] = {}
    for item in filter(None, (part.strip() for part in text.replace("\n", ",").split(","))):
        key_id, _, encoded = item.partition(":")
        try:
            # `./hub init` writes keys in the alphabet for URLs, others in the standard one: both are read.
            key = base64.b64decode(encoded.replace("-", "+").replace("_", "/"), validate=True)
        except binascii.Error:
            key = b""
        if not key_id or len(key) != 32:
            raise ImproperlyConfigured("HIE_AUDIT_KEYS: each key is written id:base64 of 32 bytes")
        keys[key_id] = key
    if not keys:
        raise ImproperlyConfigured("HIE_AUDIT_KEYS holds no key")
    return WrapKeys(current=next(iter(keys)), keys=keys)


def _new_wrap_key() -> str:
    return f"a{secrets.token_hex(3)}:{base64.b64encode(secrets.token_bytes(32)).decode()}\n"


def create_once(path: Path, make: Callable[[], bytes]) -> bytes:
    """The content of `path`, made by `make()` when absent; two processes starting at once get the same."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(make())
        file.flush()
        os.fsync(file.fileno())
    try:
        # A hard link fails when the name is taken: whoever was first wins, and nobody reads half a key.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_bytes()


def seal_text(key: bytes, plain: bytes, *, bound_to: bytes) -> bytes:
    """AES-256-GCM: nonce then ciphertext, bound to `bound_to` so that it cannot be moved to another row."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, bound_to)


def open_text(key: bytes, sealed: bytes, *, bound_to: bytes) -> bytes:
    """The reverse of `seal_text`. Raises cryptography's InvalidTag when altered or moved."""
    return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to)


class SigningKeyMissing(Exception):
    """The checkpoint key is gone although checkpoints were signed with it; a new one would hide a rewrite."""


def signing_key(*, may_create: bool) -> Ed25519PrivateKey:
    """The Ed25519 key that signs checkpoints; made when absent and `may_create`, else SigningKeyMissing."""
    path = key_dir() / "audit-signing.pem"
    if not path.exists() and not may_create:
        raise SigningKeyMissing(
            f"no signing key at {path}, though this log has checkpoints: restore it from the backup"
        )
    pem = create_once(
        path,
        lambda: Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ImproperlyConfigured(f"{path} is not an Ed25519 private key")
    return key


def public_key() -> Ed25519PublicKey | None:
    """The public half of the checkpoint key, None when this installation has none."""
    if not (key_dir() / "audit-signing.pem").exists():
        return None
    return signing_key(may_create=False).public_key()


def public_bytes(key: Ed25519PublicKey) -> bytes:
    """The 32 raw bytes of a public key."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def log_id(key: Ed25519PublicKey) -> str:
    """The name of a log: SHA-256 of its public key, hex."""
    return hashlib.sha256(public_bytes(key)).hexdigest()
