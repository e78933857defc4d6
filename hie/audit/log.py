"""The log as it is hashed: what of an event's rows goes into its leaf, and reading it back in order.

The sealer, the verifier and the export all hash the text that `entry` gives: every
column of the event and of its disclosures, and the number the sealer gave it, as
canonical JSON. With the number inside the hash, a row that was moved is told apart
from one that was changed.

Source: spec/consent.md 17.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from hie.audit.canonical import canonical, instant, plain
from hie.audit.recorder import DISCLOSURE_COLUMNS, EVENT_COLUMNS

VERSION = 1
GENESIS = bytes(32)  # the chain value before the first event

_EVENTS = f"SELECT {', '.join(EVENT_COLUMNS)} FROM audit_event"  # noqa: S608  constants
_DISCLOSURES = f"SELECT {', '.join(DISCLOSURE_COLUMNS)} FROM audit_disclosure"  # noqa: S608  constants
_JSON_COLUMNS = {"detail", "denied", "decision", "labels", "basis", "obligations"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """An event as its leaf sees it, without its number."""

    event_id: UUID
    at: datetime
    before: str  # canonical JSON up to and with `"seq":`
    after: str

    def text(self, seq: int) -> str:
        """The canonical JSON of this event at this place of the log."""
        return f"{self.before}{seq}{self.after}"

    def leaf(self, seq: int) -> bytes:
        """SHA-256(0x00 || canonical JSON)."""
        return hashlib.sha256(b"\x00" + self.text(seq).encode()).digest()


def chain_hash(previous: bytes, leaf: bytes) -> bytes:
    """SHA-256(previous chain || leaf)."""
    return hashlib.sha256(previous + leaf).digest()


def entry(event: dict[str, Any], disclosures: Sequence[dict[str, Any]]) -> Content:
    """The content of one event from its rows (columns by name), disclosures in order of `n`."""
    # "seq" sorts between "event" and "v": the three members are joined by hand to keep its place known.
    body = {name: _value(value) for name, value in event.items()}
    body["disclosures"] = [{name: _value(value) for name, value in row.items()} for row in disclosures]
    return Content(
        event_id=event["id"], at=event["at"], before=f'{{"event":{canonical(body)},"seq":', after=f',"v":{VERSION}}}'
    )


def _value(value: Any) -> Any:
    if type(value) is str:
        return value if value.isascii() else plain(value)
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode()
    return plain(value)


def contents(places: Iterable[tuple[UUID, datetime]]) -> dict[UUID, Content]:
    """The contents of events given as (id, time), by id; absent ones are missing. Two statements.

    The times only narrow which months are read.
    """
    items = list(places)
    if not items:
        return {}
    ids = [event_id for event_id, _ in items]
    times = [at for _, at in items]
    with connection.cursor() as cursor:
        cursor.execute(f'{_EVENTS} WHERE id = ANY(%s) AND "at" BETWEEN %s AND %s', [ids, min(times), max(times)])
        events = {row[0]: _row(EVENT_COLUMNS, row) for row in cursor.fetchall()}
        missing = [event_id for event_id in ids if event_id not in events]
        if missing:
            # A changed time must read as changed, not as removed.
            cursor.execute(f"{_EVENTS} WHERE id = ANY(%s)", [missing])
            events |= {row[0]: _row(EVENT_COLUMNS, row) for row in cursor.fetchall()}
        cursor.execute(f"{_DISCLOSURES} WHERE event_id = ANY(%s) ORDER BY event_id, n, id", [ids])
        children: dict[UUID, list[dict[str, Any]]] = {}
        for row in cursor.fetchall():
            children.setdefault(row[1], []).append(_row(DISCLOSURE_COLUMNS, row))
    return {event_id: entry(event, children.get(event_id, ())) for event_id, event in events.items()}


def _row(columns: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    """A row by column; JSON columns arrive as text or parsed, as the connection has it."""
    import json

    return {
        name: json.loads(value) if name in _JSON_COLUMNS and isinstance(value, str) else value
        for name, value in zip(columns, values, strict=True)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class SealRow:
    """A row of audit_seal."""

    seq: int
    event_id: UUID
    at: datetime
    leaf: bytes
    chain: bytes


def seals(*, after: int = 0, until: int | None = None, batch: int = 2000) -> Iterator[list[SealRow]]:
    """The seals with a number above `after` (and at most `until`), in order, in batches."""
    last = after
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                'SELECT seq, event_id, "at", leaf, chain FROM audit_seal WHERE seq > %s AND seq <= %s ORDER BY seq LIMIT %s',
                [last, until if until is not None else 2**62, batch],
            )
            rows = [
                SealRow(seq=seq, event_id=event_id, at=at, leaf=bytes(leaf), chain=bytes(chain))
                for seq, event_id, at, leaf, chain in cursor.fetchall()
            ]
        if not rows:
            return
        yield rows
        last = rows[-1].seq


def head() -> tuple[int, bytes]:
    """The last number and chain value; (0, zeros) for an empty log."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq, chain FROM audit_seal ORDER BY seq DESC LIMIT 1")
        row = cursor.fetchone()
    return (row[0], bytes(row[1])) if row else (0, GENESIS)
