"""Signed statements of how long the log is and what is in it, kept outside the database too.

A checkpoint is a JSON file in `settings.CHECKPOINT_DIR` and a row. It is signed with
Ed25519 over the canonical JSON of its other members, and names the hash of the one
before. Publish the files: whoever keeps one can prove a later rewrite.

Source: spec/consent.md 17.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings

from hie.audit import keys
from hie.audit.canonical import NotCanonical, canonical, instant
from hie.audit.merkle import Frontier
from hie.audit.models import Checkpoint

FORMAT = "hie-audit-checkpoint/1"


class BadCheckpoint(Exception):
    """A checkpoint that cannot be read, or whose signature does not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A checkpoint whose signature was verified."""

    log_id: str
    size: int
    root: bytes
    chain: bytes
    at: str
    previous: str
    public_key: bytes
    raw: dict[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 of the whole note: what the next one names as `previous`."""
        return note_digest(self.raw)


def note_digest(note: dict[str, Any]) -> str:
    """SHA-256 (hex) of a note's canonical JSON."""
    return hashlib.sha256(canonical(note).encode()).hexdigest()


def sign(*, frontier: Frontier, chain: bytes, now: datetime, previous: str, may_create_key: bool) -> dict[str, Any]:
    """A signed note over a log of `frontier.size`; `previous` is the digest of the last note, "" for the first."""
    key = keys.signing_key(may_create=may_create_key)
    public = key.public_key()
    note = {
        "format": FORMAT,
        "log_id": keys.log_id(public),
        "size": frontier.size,
        "root": frontier.root().hex(),
        "chain": chain.hex(),
        "time": instant(now),
        "previous": previous,
        "public_key": base64.b64encode(keys.public_bytes(public)).decode(),
    }
    return note | {"signature": base64.b64encode(key.sign(canonical(note).encode())).decode()}


def read_note(note: Any, *, public_key: bytes | None = None) -> Note:
    """A note, verified. `public_key` None: the key it names itself (only the signature's fit is shown then).

    Raises BadCheckpoint.
    """
    try:
        unsigned = {name: value for name, value in note.items() if name != "signature"}
        named = base64.b64decode(note["public_key"], validate=True)
        signature = base64.b64decode(note["signature"], validate=True)
        if public_key is not None and named != public_key:
            raise BadCheckpoint("signed with another key")
        Ed25519PublicKey.from_public_bytes(named).verify(signature, canonical(unsigned).encode())
        if note["format"] != FORMAT or note["log_id"] != hashlib.sha256(named).hexdigest():
            raise BadCheckpoint("not a checkpoint of this log")
        size = note["size"]
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise BadCheckpoint("size is not a count")
        return Note(
            log_id=note["log_id"],
            size=size,
            root=bytes.fromhex(note["root"]),
            chain=bytes.fromhex(note["chain"]),
            at=note["time"],
            previous=note["previous"],
            public_key=named,
            raw=note,
        )
    except InvalidSignature:
        raise BadCheckpoint("the signature does not fit") from None
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error, NotCanonical) as error:
        raise BadCheckpoint(f"not a checkpoint: {type(error).__name__}") from None


def read_file(path: Path, *, public_key: bytes | None = None) -> Note:
    """The verified note of a file. Raises BadCheckpoint, OSError."""
    try:
        return read_note(json.loads(path.read_bytes()), public_key=public_key)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise BadCheckpoint("not JSON") from None


def folder() -> Path:
    """Where the files are."""
    return Path(getattr(settings, "CHECKPOINT_DIR", None) or settings.DATA_DIR / "checkpoints")


def file_name(size: int) -> str:
    """``checkpoint-000000000042.json``: sorted by name is sorted by size."""
    return f"checkpoint-{size:012d}.json"


def files() -> list[Path]:
    """The checkpoint files, smallest log first."""
    return sorted(folder().glob("checkpoint-*.json")) if folder().is_dir() else []


def add(frontier: Frontier, chain: bytes, *, now: datetime | None = None) -> Note | None:
    """Sign and keep a checkpoint of the log as it is; None when the last one has this size or the log is empty.

    The file is written first: a row without its file would be a checkpoint nobody outside can hold.
    """
    last = Checkpoint.objects.first()
    if frontier.size == 0 or (last is not None and last.size >= frontier.size):
        return None
    moment = now or datetime.now(UTC)
    note = sign(
        frontier=frontier,
        chain=chain,
        now=moment,
        previous=note_digest(last.note) if last else "",
        may_create_key=last is None,
    )
    _write_file(note)
    Checkpoint.objects.create(
        size=frontier.size,
        root=frontier.root(),
        chain=chain,
        at=moment,
        note=note,
        frontier=[node.hex() for node in frontier.nodes],
    )
    return read_note(note)


def _write_file(note: dict[str, Any]) -> None:
    target = folder() / file_name(note["size"])
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    with draft.open("w", encoding="utf-8") as file:
        file.write(json.dumps(note, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(target)


def last_frontier() -> tuple[Frontier, Checkpoint | None]:
    """Where the newest checkpoint stands; an empty frontier when there is none, or when it does not fit its own root."""
    last = Checkpoint.objects.first()
    if last is None:
        return Frontier(), None
    frontier = Frontier(last.size, [bytes.fromhex(node) for node in last.frontier])
    return (frontier, last) if frontier.root() == bytes(last.root) else (Frontier(), last)
