"""Encryption of a blob in segments: the STREAM construction over AES-256-GCM (pure).

A blob is a header (``HIEDOC1`` + NUL, seven random bytes, NUL) and segments of `SEGMENT` bytes of content, each followed by
its tag; the last one may be shorter, and empty content is one empty segment. The nonce of a segment is
the seven bytes, its number (four bytes) and whether it is the last (one byte); the blob's id, the
segment size and the header are authenticated with each. So a segment can be opened by itself (ranges, nothing unverified
released), and one moved, dropped, appended, cut or taken from another blob does not open.

Source: Hoang, Reyhanitabar, Rogaway, Vizár, "Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance" (2015), section 7; the layout Tink calls AES-GCM-HKDF streaming.
"""

from __future__ import annotations

import secrets
import uuid

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from documents.errors import ContentUnavailable

SEGMENT = 1 << 20
TAG = 16
_MAGIC = b"HIEDOC1\0"
HEADER = 16


def count(size: int, segment: int = SEGMENT) -> int:
    """How many segments content of `size` bytes has."""
    return max(1, -(-size // segment))


def offset(number: int, segment: int = SEGMENT) -> int:
    """Where segment `number` begins in the stored bytes."""
    return HEADER + number * (segment + TAG)


class Sealer:
    """Seals the segments of one blob in order, under a key used for nothing else."""

    def __init__(self, key: bytes, blob_id: uuid.UUID, segment: int = SEGMENT) -> None:
        self.header = _MAGIC + secrets.token_bytes(7) + b"\0"
        self._cipher = AESGCM(key)
        self._associated = _associated(blob_id, segment, self.header)
        self._number = 0

    def seal(self, content: bytes, *, last: bool) -> bytes:
        """The next segment as it is stored."""
        nonce = _nonce(self.header, self._number, last)
        self._number += 1
        return self._cipher.encrypt(nonce, content, self._associated)


class Opener:
    """Opens segments of one blob in any order."""

    def __init__(self, key: bytes, blob_id: uuid.UUID, header: bytes, segment: int = SEGMENT) -> None:
        if len(header) != HEADER or not header.startswith(_MAGIC):
            raise ContentUnavailable("stored bytes do not begin as a blob")
        self._header = header
        self._cipher = AESGCM(key)
        self._associated = _associated(blob_id, segment, header)

    def open(self, sealed: bytes, number: int, *, last: bool) -> bytes:
        """The content of segment `number`.

        Raises:
            ContentUnavailable: these are not the bytes that were sealed as this segment.
        """
        try:
            return self._cipher.decrypt(_nonce(self._header, number, last), sealed, self._associated)
        except InvalidTag:
            raise ContentUnavailable(f"stored bytes do not verify in segment {number}") from None


def _nonce(header: bytes, number: int, last: bool) -> bytes:
    return header[8:15] + number.to_bytes(4, "big") + (b"\x01" if last else b"\x00")


def _associated(blob_id: uuid.UUID, segment: int, header: bytes) -> bytes:
    return header + blob_id.bytes + segment.to_bytes(4, "big")
