"""This hub's own keys: one ring that signs access tokens, one that signs as a client of others.

A ring is a folder of PEM files (mode 0600) under ``HUB_KEYS_DIR`` (by default ``hub-keys`` among the
hub's secrets). The file's name is the kid and begins with the instant it was made, so the newest signs and older ones
stay published until nothing signed by them can still be in use. Several processes share the
folder; several hosts share it by mounting it or by ``HUB_KEYS_DIR``.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings

_STAMP = "%Y%m%dT%H%M%S%fZ"
_RELOAD_FLOOR_S = 1.0
_RECHECK_S = 30.0


class Ring(StrEnum):
    """What a key is for; the value is the folder."""

    TOKENS = "tokens"
    CLIENT = "client"


_CURVE = {Ring.TOKENS: (ec.SECP256R1(), "ES256"), Ring.CLIENT: (ec.SECP384R1(), "ES384")}
# How long a replaced key stays published: tokens live 5 minutes; peers may hold our JWKS for a day.
_OVERLAP = {Ring.TOKENS: timedelta(minutes=30), Ring.CLIENT: timedelta(days=2)}


@dataclass(frozen=True, slots=True, kw_only=True)
class HubKey:
    """A key pair of this hub, loaded."""

    kid: str
    algorithm: str
    private: ec.EllipticCurvePrivateKey
    public: ec.EllipticCurvePublicKey
    made_at: datetime

    def jwk(self) -> dict[str, Any]:
        """The public JWK."""
        shape: dict[str, Any] = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.public))
        return shape | {"kid": self.kid, "use": "sig", "alg": self.algorithm}


@dataclass(frozen=True, slots=True)
class _Held:
    folder: Path
    keys: tuple[HubKey, ...]  # newest first, never empty
    read_at: float


_held: dict[Ring, _Held] = {}
_lock = threading.Lock()


def signing_key(ring: Ring) -> HubKey:
    """The key to sign with: the newest. Made when the ring is still empty."""
    return _keys(ring)[0]


def verifying_key(ring: Ring, kid: str) -> HubKey | None:
    """The key of this kid, if still published; an unknown kid makes the folder be read again, once a second at most."""
    found = next((key for key in _keys(ring) if key.kid == kid), None)
    if found is None:
        found = next((key for key in _keys(ring, older_than_s=_RELOAD_FLOOR_S) if key.kid == kid), None)
    return found


def jwks() -> dict[str, list[dict[str, Any]]]:
    """All published keys of both rings, as ``/oauth/jwks`` answers."""
    return {"keys": [key.jwk() for ring in Ring for key in _keys(ring)]}


def rotate(ring: Ring) -> HubKey:
    """Make a new signing key; the old one stays published for its overlap, then its file goes."""
    folder = _folder(ring)
    key = _make(ring, folder)
    with _lock:
        _held.pop(ring, None)
    keys = _keys(ring)
    for path in sorted(folder.glob("*.pem")):
        if path.stem not in {kept.kid for kept in keys}:
            path.unlink(missing_ok=True)
    return key


def _folder(ring: Ring) -> Path:
    root = getattr(settings, "HUB_KEYS_DIR", None) or Path(settings.SECRETS_DIR) / "hub-keys"
    return Path(root) / ring.value


def _keys(ring: Ring, *, older_than_s: float = _RECHECK_S) -> tuple[HubKey, ...]:
    folder = _folder(ring)
    held = _held.get(ring)
    if held is not None and held.folder == folder and time.monotonic() - held.read_at < older_than_s:
        return held.keys
    with _lock:
        held = _held.get(ring)
        if held is not None and held.folder == folder and time.monotonic() - held.read_at < older_than_s:
            return held.keys
        keys = _read(ring, folder, held if held is not None and held.folder == folder else None)
        _held[ring] = _Held(folder, keys, time.monotonic())
        return keys


def _read(ring: Ring, folder: Path, held: _Held | None) -> tuple[HubKey, ...]:
    known = {key.kid: key for key in held.keys} if held else {}
    paths = sorted(folder.glob("*.pem"), reverse=True)
    if not paths:
        _make(ring, folder)
        # Another process may have made one at the same moment: read what is there, so all agree on the newest.
        paths = sorted(folder.glob("*.pem"), reverse=True)
    keys = [known.get(path.stem) or _load(ring, path) for path in paths]
    now = datetime.now(UTC)
    published = [keys[0]]
    for newer, key in pairwise(keys):
        if now - newer.made_at < _OVERLAP[ring]:
            published.append(key)
    return tuple(published)


def _load(ring: Ring, path: Path) -> HubKey:
    private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path.name} is not an elliptic-curve key")
    return HubKey(
        kid=path.stem,
        algorithm=_CURVE[ring][1],
        private=private,
        public=private.public_key(),
        made_at=datetime.strptime(path.stem.split("-")[0], _STAMP).replace(tzinfo=UTC),
    )


def _make(ring: Ring, folder: Path) -> HubKey:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    private = ec.generate_private_key(_CURVE[ring][0])
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    kid = f"{datetime.now(UTC).strftime(_STAMP)}-{secrets.token_hex(4)}"
    path = folder / f"{kid}.pem"
    partial = folder / f".{kid}.new"
    # Written apart and renamed: another process never reads half a key.
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    return _load(ring, path)
