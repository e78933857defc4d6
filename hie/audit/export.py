"""The log as a file that anyone can check without us: NDJSON, a header, events, checkpoints.

Lines: ``{"format", "log_id", "public_key", "size", "exported_at"}``; then one an event,
``{"seq", "event_id", "leaf", "chain", "json"}`` where `json` is the canonical JSON that the
leaf is over; then one a checkpoint, ``{"checkpoint": note}``. Personal words stay encrypted.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from hie.audit import checkpoints, keys, log, merkle, tree
from hie.audit.canonical import instant
from hie.audit.models import AuditSeal, Checkpoint
from hie.audit.verify import EXPORT_FORMAT

logger = logging.getLogger(__name__)

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


def inclusion_proof(event_id: UUID, *, seal: int | None = None) -> dict[str, Any]:
    """What shows that one event is in the log, as the smallest checkpoint that covers it was signed.

    ``{"event_id", "seq", "json", "leaf", "path": [hex, nearest first], "checkpoint": note, "links": [{"from": note,
    "to": note, "path": [hex]}]}``: the links lead from that checkpoint to the newest one, or to the one of `seal` events,
    which may be older. A few statements and some hundred hashes whatever the length of the log.

    Raises NotSealed: the event is unknown or not under a checkpoint yet, or there is no checkpoint of `seal` events.
    """
    return inclusion_proofs([event_id], seal=seal)[0]


def inclusion_proofs(event_ids: Sequence[UUID], *, seal: int | None = None) -> list[dict[str, Any]]:
    """The proof of each event, in their order; what they have in common is read and made once. Raises NotSealed."""
    rows = {row.event_id: row for row in AuditSeal.objects.filter(event_id__in=event_ids)}
    other = Checkpoint.objects.filter(size=seal).first() if seal is not None else Checkpoint.objects.first()
    contents = log.contents([(row.event_id, row.at) for row in rows.values()])
    if other is None or not all(one in rows and one in contents for one in event_ids):
        raise NotSealed(", ".join(map(str, event_ids)))
    from_nodes, from_leaves = tree.Paths(), tree.Paths(stored=False)
    links: dict[tuple[int, int], dict[str, Any]] = {}
    proofs: list[dict[str, Any]] = []
    for event_id in event_ids:
        row = rows[event_id]
        note = Checkpoint.objects.filter(size__gte=row.seq).order_by("size").first()
        if note is None:
            raise NotSealed(str(event_id))
        proofs.append(_proof(row, note, contents[event_id].text(row.seq), other, links, (from_nodes, from_leaves)))
    return proofs


def consistency_proof(old_size: int, new_size: int) -> dict[str, Any]:
    """What shows that the log at one checkpoint is the beginning of that at a later one.

    ``{"from": note, "to": note, "path": [hex]}``. Raises NotSealed when there is no checkpoint of a size.
    """
    held = Checkpoint.objects.in_bulk([old_size, new_size])
    if old_size not in held or new_size not in held or old_size > new_size:
        raise NotSealed(f"{old_size} to {new_size}")
    return _link(held[old_size], held[new_size], (tree.Paths(), tree.Paths(stored=False)))


_Ways = tuple[tree.Paths, tree.Paths]


def _proof(
    row: AuditSeal,
    note: Checkpoint,
    text: str,
    other: Checkpoint,
    links: dict[tuple[int, int], dict[str, Any]],
    ways: _Ways,
) -> dict[str, Any]:
    index, leaf, root = row.seq - 1, bytes(row.leaf), bytes(note.root)
    path = _fitting(
        lambda paths: paths.inclusion(index, note.size),
        lambda path: merkle.verify_inclusion(index, note.size, leaf, path, root),
        ways,
    )
    older, newer = sorted((note, other), key=lambda one: one.size)
    key = (older.size, newer.size)
    if older.size != newer.size and key not in links:
        links[key] = _link(older, newer, ways)
    return {
        "event_id": str(row.event_id),
        "seq": row.seq,
        "json": text,
        "leaf": leaf.hex(),
        "path": [node.hex() for node in path],
        "checkpoint": note.note,
        "links": [links[key]] if key in links else [],
    }


def _link(older: Checkpoint, newer: Checkpoint, ways: _Ways) -> dict[str, Any]:
    path = _fitting(
        lambda paths: paths.consistency(older.size, newer.size),
        lambda path: merkle.verify_consistency(older.size, bytes(older.root), newer.size, bytes(newer.root), path),
        ways,
    )
    return {"from": older.note, "to": newer.note, "path": [node.hex() for node in path]}


def _fitting(
    path_of: Callable[[tree.Paths], list[bytes]], fits: Callable[[list[bytes]], bool], ways: _Ways
) -> list[bytes]:
    """A path that holds: by the stored nodes, or from the leaves alone where these are missing or were touched.

    What does not fit even then is given as it is: who checks it shall see that.
    """
    from_nodes, from_leaves = ways
    try:
        path = path_of(from_nodes)
        if fits(path):
            return path
        logger.error("audit.tree: a proof from the stored nodes does not fit its checkpoint")
    except tree.Incomplete:
        pass
    try:
        return path_of(from_leaves)
    except tree.Incomplete as error:
        raise NotSealed(str(error)) from error
