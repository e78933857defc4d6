"""The log as a file that anyone can check without us: NDJSON, a header, events, checkpoints.

Lines: ``{"format", "log_id", "public_key", "size", "exported_at"}``; then one an event,
``{"seq", "event_id", "leaf", "chain", "json"}`` where `json` is the canonical JSON that the
leaf is over; then one a checkpoint, ``{"checkpoint": note}``. Personal words stay encrypted.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from hie.audit import checkpoints, keys, log, merkle
from hie.audit.canonical import instant
from hie.audit.models import AuditSeal, Checkpoint
from hie.audit.verify import EXPORT_FORMAT

STANDALONE = Path(__file__).with_name("standalone_verify.py")


class NotSealed(Exception):
    """The event is unknown, or not sealed and under a checkpoint yet."""


def lines() -> Iterator[str]:
    """The lines of an export of the log as sealed now, under a checkpoint of exactly that size. Memory is bounded."""
    size, _ = log.head()
    if size and not Checkpoint.objects.exists():
        keys.signing_key(may_create=True)
    public = keys.public_key()
    yield _line(
        {
            "format": EXPORT_FORMAT,
            "log_id": keys.log_id(public) if public else "",
            "public_key": base64.b64encode(keys.public_bytes(public)).decode() if public else "",
            "size": size,
            "exported_at": instant(datetime.now(UTC)),
        }
    )
    frontier, chain = merkle.Frontier(), log.GENESIS
    for rows in log.seals(until=size):
        found = log.contents([(row.event_id, row.at) for row in rows])
        for row in rows:
            content = found.get(row.event_id)
            frontier.add(row.leaf)
            chain = row.chain
            yield _line(
                {
                    "seq": row.seq,
                    "event_id": str(row.event_id),
                    "leaf": row.leaf.hex(),
                    "chain": row.chain.hex(),
                    "json": content.text(row.seq) if content else "",
                }
            )
    last: dict[str, Any] | None = None
    for checkpoint in Checkpoint.objects.filter(size__lte=size).order_by("size").iterator():
        last = checkpoint.note
        yield _line({"checkpoint": last})
    if size and (last is None or last["size"] < size):
        # The sealer's next one is still to come: this one closes the copy, and is kept nowhere else.
        now, previous = datetime.now(UTC), checkpoints.note_digest(last) if last else ""
        note = checkpoints.sign(frontier=frontier, chain=chain, now=now, previous=previous, may_create_key=False)
        yield _line({"checkpoint": note})


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"


def write(path: Path) -> int:
    """Write an export to `path`, and the standalone verifier beside it; how many events."""
    count = -1
    with path.open("w", encoding="utf-8") as file:
        for line in lines():
            file.write(line)
            count += '"checkpoint"' not in line[:14]
    path.with_name("standalone_verify.py").write_bytes(STANDALONE.read_bytes())
    return count


def inclusion_proof(event_id: UUID) -> dict[str, Any]:
    """What shows that one event is in the log, as the smallest checkpoint that covers it was signed.

    ``{"event_id", "seq", "json", "leaf", "path": [hex, nearest first], "checkpoint": note}``. Raises NotSealed.
    Reads the leaves below that checkpoint: 32 bytes each.
    """
    seal = AuditSeal.objects.filter(event_id=event_id).first()
    checkpoint = Checkpoint.objects.filter(size__gte=seal.seq).order_by("size").first() if seal else None
    content = log.contents([(event_id, seal.at)]).get(event_id) if seal else None
    if seal is None or checkpoint is None or content is None:
        raise NotSealed(str(event_id))
    path = merkle.inclusion_proof(seal.seq - 1, log.leaves(checkpoint.size))
    return {
        "event_id": str(event_id),
        "seq": seal.seq,
        "json": content.text(seal.seq),
        "leaf": bytes(seal.leaf).hex(),
        "path": [node.hex() for node in path],
        "checkpoint": checkpoint.note,
    }


def consistency_proof(old_size: int, new_size: int) -> dict[str, Any]:
    """What shows that the log at one checkpoint is the beginning of that at a later one.

    ``{"from": note, "to": note, "path": [hex]}``. Raises NotSealed when there is no checkpoint of a size.
    """
    notes = dict(Checkpoint.objects.filter(size__in=[old_size, new_size]).values_list("size", "note"))
    if old_size not in notes or new_size not in notes or old_size > new_size:
        raise NotSealed(f"{old_size} to {new_size}")
    path = merkle.consistency_proof(old_size, log.leaves(new_size))
    return {"from": notes[old_size], "to": notes[new_size], "path": [node.hex() for node in path]}
