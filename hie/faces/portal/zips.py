"""A ZIP that is sent while it is made."""

from __future__ import annotations

import io


class Pipe(io.RawIOBase):
    """What a ZIP is written into and taken out of as it grows."""

    def __init__(self) -> None:
        super().__init__()
        self._held = bytearray()
        self._at = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: object) -> int:
        """Keep the bytes until they are taken."""
        view = memoryview(data).cast("B")  # type: ignore[arg-type]  # a buffer, by the contract of RawIOBase
        self._held += view
        self._at += len(view)
        return len(view)

    def tell(self) -> int:
        """How much was written; it cannot be gone back to."""
        return self._at

    def taken(self) -> bytes:
        """What has come since it was last asked."""
        found = bytes(self._held)
        self._held.clear()
        return found
