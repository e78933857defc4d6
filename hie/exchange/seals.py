"""The published seals of the log: signed checkpoints, for anybody, and the program that checks a proof against one.

A checkpoint says how long the log is and holds hashes; nothing of a patient is in it. Whoever keeps one can show any
later rewrite of what lies before it, so they are given to everyone, without signing in.

Source: spec/consent.md 17.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hie.audit import export
from hie.audit.models import Checkpoint
from hie.exchange.errors import NotFound

PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Seals:
    """Notes, newest first; `before` goes on behind them with that size, None at the end."""

    notes: tuple[dict[str, Any], ...]
    before: int | None = None


def listed(*, before: int | None = None, limit: int = PAGE) -> Seals:
    """The checkpoints of logs shorter than `before`, newest first; one statement."""
    rows = Checkpoint.objects.order_by("-size")
    if before is not None:
        rows = rows.filter(size__lt=before)
    notes = [dict(note) for note in rows.values_list("note", flat=True)[: limit + 1]]
    more = len(notes) > limit
    return Seals(notes=tuple(notes[:limit]), before=int(notes[limit - 1]["size"]) if more else None)


def note(size: int | None = None) -> dict[str, Any]:
    """The checkpoint of the log of `size` events, as signed; the newest for None. Raises NotFound."""
    rows = Checkpoint.objects.order_by("-size")
    found = (rows if size is None else rows.filter(size=size)).values_list("note", flat=True).first()
    if found is None:
        raise NotFound("no such checkpoint")
    return dict(found)


def verifier() -> bytes:
    """The text of the standalone verifier."""
    return export.STANDALONE.read_bytes()
