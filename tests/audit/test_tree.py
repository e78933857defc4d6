"""The tree of the log in tiles: the same proofs as over all leaves, at the cost of a few."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest
from django.db import Error, connection, transaction

from hie.audit import merkle, seal, tree
from tests.audit.test_verify import look

SIZE = 66_000  # one node at level 16, 257 at level 8, and a rest


@pytest.fixture
def long_log(db: None) -> list[bytes]:
    """Seals of a long log, without events; their leaves."""
    with connection.cursor() as cursor:
        cursor.execute(
            'INSERT INTO audit_seal (seq, event_id, "at", leaf, chain, sealed_at) SELECT n, gen_random_uuid(), now(),'
            " sha256(n::text::bytea), sha256(n::text::bytea), now() FROM generate_series(1, %s) n",
            [SIZE],
        )
    return [hashlib.sha256(str(n).encode()).digest() for n in range(1, SIZE + 1)]


def test_paths_from_the_tiles_lead_to_the_root_over_all_leaves(
    long_log: list[bytes], django_assert_max_num_queries: Any
) -> None:
    assert tree.extend(SIZE) == 257 + 1
    assert tree.extend(SIZE) == 0
    chosen = random.Random(7)
    for size in (SIZE, 65_536, 65_537, 256, 257, 1, 3_000):
        root = merkle.root(long_log[:size])
        for index in {0, size - 1, chosen.randrange(size), chosen.randrange(size)}:
            with django_assert_max_num_queries(40):
                path = tree.Paths().inclusion(index, size)
            assert merkle.verify_inclusion(index, size, long_log[index], path, root)
        for old in {1, size, chosen.randrange(size) + 1}:
            steps = tree.Paths().consistency(old, size)
            assert merkle.verify_consistency(old, merkle.root(long_log[:old]), size, root, steps)
    assert tree.Paths(stored=False).inclusion(5, 3_000) == tree.Paths().inclusion(5, 3_000)
    with pytest.raises(tree.Incomplete):
        tree.Paths().inclusion(5, SIZE + 1)


def test_the_sealer_writes_the_nodes_as_tiles_fill(db: None, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(tree, "HEIGHT", 2)
    monkeypatch.setattr(tree, "LEVELS", (2, 4))
    for n in range(18):
        look(n)
        seal.seal_batch()
    with connection.cursor() as cursor:
        cursor.execute("SELECT level, count(*) FROM audit_node GROUP BY level ORDER BY level")
        assert cursor.fetchall() == [(2, 4), (4, 1)]
        cursor.execute("SELECT leaf FROM audit_seal ORDER BY seq")
        leaves = [bytes(leaf) for (leaf,) in cursor.fetchall()]
        cursor.execute("SELECT hash FROM audit_node WHERE level = 4")
        assert bytes(cursor.fetchone()[0]) == merkle.root(leaves[:16])


@pytest.mark.parametrize("statement", ["UPDATE audit_node SET hash = hash", "DELETE FROM audit_node"])
def test_nodes_are_written_once(long_log: list[bytes], statement: str) -> None:
    tree.extend(SIZE)
    with pytest.raises(Error), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_a_proof_holds_though_the_nodes_were_touched_or_are_missing(
    db: None, monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Any
) -> None:
    from hie.audit import export
    from hie.audit.models import AuditSeal, Checkpoint

    settings.SECRETS_DIR, settings.CHECKPOINT_DIR = tmp_path / "keys", tmp_path / "checkpoints"
    monkeypatch.setattr(tree, "HEIGHT", 2)
    monkeypatch.setattr(tree, "LEVELS", (2, 4))
    for n in range(9):
        look(n)
    seal.seal_now()
    root = bytes(Checkpoint.objects.get().root)
    for statement in ("SELECT 1", "UPDATE audit_node SET hash = sha256(hash)", "DELETE FROM audit_node"):
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE audit_node DISABLE TRIGGER USER; GRANT ALL ON audit_node TO CURRENT_USER")
            cursor.execute(statement)
        row = AuditSeal.objects.get(seq=2)
        path = [bytes.fromhex(node) for node in export.inclusion_proof(row.event_id)["path"]]
        assert merkle.verify_inclusion(1, 9, bytes(row.leaf), path, root), statement
