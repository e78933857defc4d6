"""The sealer: gives committed events their number and their place in the chain.

One process seals (an advisory lock of the session keeps others waiting). The queue
`audit_unsealed` is written by a trigger in the transaction of the event, so a
transaction that commits late only appears late: nothing is passed over, and no
number is promised before it is used. An idle sealer looks every `POLL_S`; a NOTIFY in
each commit would make all commits of the hub queue for one lock.

Source: spec/consent.md 17.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime

from django.db import Error, connection, transaction

from hie.audit import checkpoints, log, tree
from hie.audit.merkle import Frontier

logger = logging.getLogger(__name__)

LOCK = 0x4155_4449_54  # "AUDIT"
BATCH = 1000
POLL_S = 0.5
CHECKPOINT_EVERY_S = 60.0
CHECKPOINT_EVERY = 10_000
_PARTITIONS_EVERY_S = 6 * 3600.0
_MONTHS_AHEAD = 4


def seal_batch(limit: int = BATCH) -> int:
    """Seal up to `limit` waiting events in one transaction; how many were sealed. Five statements, more as tiles fill.

    Caller holds the sealer's lock (`holding_lock`), so the head read here is the head.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM audit_unsealed WHERE id IN (SELECT id FROM audit_unsealed ORDER BY id LIMIT %s) "
                'RETURNING id, event_id, "at"',
                [limit],
            )
            waiting = sorted(cursor.fetchall())
        if not waiting:
            return 0
        found = log.contents([(event_id, at) for _, event_id, at in waiting])
        seq, chain = log.head()
        tiles = seq >> tree.HEIGHT
        now = datetime.now(UTC)
        rows = []
        for _, event_id, at in waiting:
            content = found.get(event_id)
            if content is None:
                # Only a hand in the database makes a queue row without an event; there is nothing to seal.
                logger.error("audit.sealer: queued event %s does not exist", event_id)
                continue
            seq += 1
            leaf = content.leaf(seq)
            chain = log.chain_hash(chain, leaf)
            rows.append((seq, event_id, at, leaf, chain, now))
        with connection.cursor() as cursor:
            if rows:
                places = ", ".join(["(%s, %s, %s, %s, %s, %s)"] * len(rows))
                cursor.execute(
                    f'INSERT INTO audit_seal (seq, event_id, "at", leaf, chain, sealed_at) VALUES {places}',  # noqa: S608
                    [value for row in rows for value in row],
                )
        if seq >> tree.HEIGHT > tiles:
            tree.extend(seq)
    return len(waiting)


def try_lock() -> bool:
    """Take the sealer's lock for this session; False when another process has it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])


def unlock() -> None:
    """Give the lock back."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


def catch_up(frontier: Frontier) -> bytes:
    """Add every seal the frontier has not seen; the chain value at its end."""
    chain = log.GENESIS
    seen = False
    for rows in log.seals(after=frontier.size, batch=20_000):
        for row in rows:
            frontier.add(row.leaf)
        chain, seen = rows[-1].chain, True
    return chain if seen else log.head()[1]


def make_partitions() -> int:
    """Make the event tables of this and the coming months; how many were made."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_make_partitions(CURRENT_DATE, %s)", [_MONTHS_AHEAD])
        return int(cursor.fetchone()[0])


def seal_now(*, checkpoint: bool = True) -> int:
    """Seal everything that waits, and sign a checkpoint: for commands, tests and a stop. 0 when another process seals."""
    if not try_lock():
        return 0
    try:
        sealed = 0
        while count := seal_batch():
            sealed += count
        if checkpoint:
            frontier, _ = checkpoints.last_frontier()
            checkpoints.add(frontier, catch_up(frontier))
        return sealed
    finally:
        unlock()


def run(stop: threading.Event) -> None:
    """Seal until `stop` is set, then once more, with a last checkpoint. Survives a database that goes away for a while."""
    while not stop.is_set():
        try:
            _run_connected(stop)
        except Error as error:
            logger.warning("audit.sealer: database trouble (%s), trying again", type(error).__name__)
            connection.close()
            stop.wait(2.0)


def _run_connected(stop: threading.Event) -> None:
    while not try_lock():
        if stop.wait(POLL_S):
            return
    try:
        tree.extend(log.head()[0])
        frontier, _ = checkpoints.last_frontier()
        chain = catch_up(frontier)
        checkpointed = frontier.size
        next_checkpoint = next_partitions = 0.0
        while True:
            stopping = stop.is_set()
            count = seal_batch()
            if count:
                chain = catch_up(frontier)
            done = stopping and count == 0
            moment = time.monotonic()
            if done or moment >= next_checkpoint or frontier.size - checkpointed >= CHECKPOINT_EVERY:
                checkpoints.add(frontier, chain)
                checkpointed, next_checkpoint = frontier.size, moment + CHECKPOINT_EVERY_S
            if moment >= next_partitions:
                make_partitions()
                next_partitions = moment + _PARTITIONS_EVERY_S
            if done:
                return
            if count < BATCH and not stopping:
                stop.wait(POLL_S)
    finally:
        if connection.connection is not None and not connection.connection.closed:
            unlock()
