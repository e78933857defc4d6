"""Tampering, each way, with the live log and with an export: found, and named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from hie.audit import checkpoints, export, keys, log, merkle, seal, verify
from hie.audit.models import AuditEvent, AuditSeal, AuditUnsealed, Checkpoint
from hie.audit.recorder import DisclosureDraft, EventDraft, EventType, write
from hie.standards.facts import Caller

EVE = Caller(participant_id="org-clinic", organization_id="org-clinic", client_id="c", user_id="Practitioner/eve", user_name="Eve", purpose="TREAT")  # fmt: skip


@pytest.fixture(autouse=True)
def _folders(settings: Any, tmp_path: Path) -> None:
    settings.SECRETS_DIR = tmp_path / "keys"
    settings.CHECKPOINT_DIR = tmp_path / "checkpoints"


def look(n: int) -> None:
    person = uuid.UUID(int=n % 3 + 1)
    write([EventDraft(kind=EventType.RETRIEVE_DOCUMENT, caller=EVE, person_id=person, detail={"n": n, "f": 0.5}, disclosures=(DisclosureDraft(document_id=f"d{n}"),))])  # fmt: skip


@pytest.fixture
def sealed(db: None) -> None:
    """Ten events; a checkpoint after four, another at the end."""
    for n in range(1, 11):
        look(n)
        if n in (4, 10):
            seal.seal_now()


def sql(statement: str, parameters: Any = ()) -> None:
    """As a hand in the database would: with the rights taken back and the triggers off."""
    tables = ("audit_event", "audit_disclosure", "audit_seal", "audit_checkpoint")
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"GRANT ALL ON {table} TO CURRENT_USER; ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(statement, parameters)
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def event_of(seq: int) -> str:
    return str(AuditSeal.objects.get(seq=seq).event_id)


def rechain(first: int) -> None:
    """What a careful forger does: leaves and chain computed anew, to the end."""
    chain = bytes(AuditSeal.objects.get(seq=first - 1).chain) if first > 1 else log.GENESIS
    for row in AuditSeal.objects.filter(seq__gte=first).order_by("seq"):
        leaf = log.contents([(row.event_id, row.at)])[row.event_id].leaf(row.seq)
        chain = log.chain_hash(chain, leaf)
        sql("UPDATE audit_seal SET leaf = %s, chain = %s WHERE seq = %s", [leaf, chain, row.seq])


CHANGE = "UPDATE audit_event SET outcome = 4 WHERE id = (SELECT event_id FROM audit_seal WHERE seq = %s)"
SHIFT_DOWN = (
    "UPDATE audit_seal SET seq = seq - 1000 WHERE seq > %s; UPDATE audit_seal SET seq = seq + 999 WHERE seq < 0"
)
SHIFT_UP = (
    "UPDATE audit_seal SET seq = seq + 1000 WHERE seq >= %s; UPDATE audit_seal SET seq = seq - 999 WHERE seq > 1000"
)
SWAP_NUMBERS = "UPDATE audit_seal SET seq = -7 WHERE seq = 7; UPDATE audit_seal SET seq = 7 WHERE seq = %s; UPDATE audit_seal SET seq = %s WHERE seq = -7"  # fmt: skip


def change(seq: int) -> None:
    sql(CHANGE, [seq])


def remove_and_renumber(seq: int) -> None:
    sql("DELETE FROM audit_event WHERE id = %s", [event_of(seq)])
    sql("DELETE FROM audit_seal WHERE seq = %s", [seq])
    sql(SHIFT_DOWN, [seq])


def insert_forged(seq: int) -> None:
    look(99)
    event = AuditEvent.objects.order_by("-at")[0]
    AuditUnsealed.objects.all().delete()
    sql(SHIFT_UP, [seq])
    leaf = log.contents([(event.id, event.at)])[event.id].leaf(seq)
    chain = log.chain_hash(bytes(AuditSeal.objects.get(seq=seq - 1).chain), leaf)
    AuditSeal.objects.create(seq=seq, event_id=event.id, at=event.at, leaf=leaf, chain=chain, sealed_at=event.at)


def swap_pointers(a: int, b: int) -> None:
    one, two = event_of(a), event_of(b)
    sql("UPDATE audit_seal SET event_id = %s WHERE seq = %s", [uuid.uuid4(), a])
    sql("UPDATE audit_seal SET event_id = %s WHERE seq = %s", [one, b])
    sql("UPDATE audit_seal SET event_id = %s WHERE seq = %s", [two, a])


def rewrite(seq: int) -> None:
    change(seq)
    rechain(seq)


def cut(size: int) -> None:
    sql("DELETE FROM audit_event WHERE id IN (SELECT event_id FROM audit_seal WHERE seq > %s)", [size])
    sql("DELETE FROM audit_seal WHERE seq > %s", [size])


@pytest.mark.parametrize(
    ("tamper", "kind", "seq"),
    [
        pytest.param(lambda: change(6), "changed", 6, id="an-event-changed"),
        pytest.param(lambda: sql("UPDATE audit_disclosure SET document_id = 'other' WHERE document_id = 'd6'"), "changed", 6, id="a-disclosure-changed"),
        pytest.param(lambda: sql("DELETE FROM audit_disclosure WHERE document_id = 'd6'"), "changed", 6, id="a-disclosure-removed"),
        pytest.param(lambda: sql("UPDATE audit_event SET \"at\" = \"at\" - interval '3 years' WHERE id = %s", [event_of(6)]), "changed", 6, id="an-event-dated-back"),
        pytest.param(lambda: sql("UPDATE audit_seal SET leaf = chain WHERE seq = 6"), "changed", 6, id="a-leaf-changed"),
        pytest.param(lambda: sql("UPDATE audit_seal SET chain = leaf WHERE seq = 6"), "changed", 6, id="a-chain-value-changed"),
        pytest.param(lambda: sql("DELETE FROM audit_event WHERE id = %s", [event_of(6)]), "removed", 6, id="an-event-removed"),
        pytest.param(lambda: sql("DELETE FROM audit_seal WHERE seq = 6"), "removed", 6, id="a-seal-removed"),
        pytest.param(lambda: remove_and_renumber(6), "removed", 6, id="removed-and-renumbered"),
        pytest.param(lambda: remove_and_renumber(1), "removed", 1, id="the-first-removed-and-renumbered"),
        pytest.param(lambda: insert_forged(6), "inserted", 6, id="an-event-put-in"),
        pytest.param(lambda: sql(SWAP_NUMBERS, [8, 8]), "reordered", 7, id="neighbours-swapped"),
        pytest.param(lambda: sql(SWAP_NUMBERS, [3, 3]), "reordered", 3, id="far-rows-swapped"),
        pytest.param(lambda: sql(SWAP_NUMBERS, [10, 10]), "reordered", 7, id="last-row-swapped"),
        pytest.param(lambda: swap_pointers(6, 7), "reordered", 6, id="contents-swapped"),
        pytest.param(lambda: rewrite(6), "rewritten-tail", 5, id="tail-rewritten-after-the-first-checkpoint"),
        pytest.param(lambda: rewrite(2), "rewritten-tail", 1, id="tail-rewritten-from-before-it"),
        pytest.param(lambda: cut(8), "rewritten-tail", 9, id="tail-cut"),
        pytest.param(lambda: cut(0), "rewritten-tail", 1, id="all-cut"),
        pytest.param(lambda: (cut(8), sql("DELETE FROM audit_checkpoint WHERE size = 10")), "rewritten-tail", 9, id="tail-cut-with-its-checkpoint-row"),
        pytest.param(lambda: sql("UPDATE audit_checkpoint SET note = jsonb_set(note, '{root}', '\"00\"') WHERE size = 10"), "changed", 10, id="a-checkpoint-changed"),
    ],
)  # fmt: skip
def test_tampering_with_the_live_log_is_found_and_named(sealed: None, tamper: Callable[[], object], kind: str, seq: int) -> None:  # fmt: skip
    clean = verify.verify_live()
    assert (clean.ok, clean.events, clean.checkpoints) == (True, 10, 2)
    tamper()
    report = verify.verify_live()
    assert report.first_bad is not None
    assert (report.first_bad.kind, report.first_bad.seq) == (kind, seq)


def test_an_event_left_unsealed_for_a_minute_is_named(sealed: None) -> None:
    look(11)
    assert verify.verify_live().ok
    import datetime

    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=61)
    bad = verify.verify_live(now=later).first_bad
    assert bad is not None
    assert (bad.kind, bad.seq, bad.event_id) == ("unsealed", None, str(AuditEvent.objects.order_by("-at")[0].id))


def test_only_the_asked_range_is_computed_again(sealed: None) -> None:
    change(6)
    assert verify.verify_live(first=7).ok
    assert verify.verify_live(last=5).ok
    assert not verify.verify_live(first=6, last=6).ok


# --- exports --------------------------------------------------------------------


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines(keepends=True)


def swap(lines: list[str], a: int, b: int) -> list[str]:
    lines[a], lines[b] = lines[b], lines[a]
    return lines


def forged(lines: list[str], seq: int) -> list[str]:
    line = json.loads(lines[seq])
    line["json"] = line["json"].replace('"outcome":0', '"outcome":4')
    previous = bytes.fromhex(json.loads(lines[seq - 1])["chain"])
    leaf = merkle.leaf_hash(line["json"].encode())
    line |= {"leaf": leaf.hex(), "chain": log.chain_hash(previous, leaf).hex()}
    lines.insert(seq, json.dumps(line) + "\n")
    return lines


def rewritten(lines: list[str], seq: int) -> list[str]:
    previous = bytes.fromhex(json.loads(lines[seq - 1])["chain"])
    for n in range(seq, 11):
        line = json.loads(lines[n])
        line["json"] = line["json"].replace('"outcome":0', '"outcome":4')
        leaf = merkle.leaf_hash(line["json"].encode())
        previous = log.chain_hash(previous, leaf)
        lines[n] = json.dumps(line | {"leaf": leaf.hex(), "chain": previous.hex()}) + "\n"
    return lines


TAMPERED = [
    pytest.param(lambda ls: [*ls[:6], ls[6].replace("d6", "d7"), *ls[7:]], "changed", 6, id="a-byte-of-the-event"),
    pytest.param(lambda ls: [*ls[:6], ls[6].replace('"leaf"', '"leax"'), *ls[7:]], "changed", 6, id="a-byte-of-a-name"),
    pytest.param(lambda ls: [*ls[:6], "x" + ls[6][1:], *ls[7:]], "changed", 6, id="a-byte-that-breaks-the-line"),
    pytest.param(lambda ls: [*ls[:6], ls[6].replace('"seq":6', '"seq":5', 1), *ls[7:]], "changed", 6, id="the-number"),
    pytest.param(lambda ls: [*ls[:6], *ls[7:]], "removed", 6, id="a-line-removed"),
    pytest.param(lambda ls: [*ls[:1], *ls[2:]], "removed", 1, id="the-first-line-removed"),
    pytest.param(lambda ls: forged(ls, 6), "inserted", 6, id="a-forged-line"),
    pytest.param(lambda ls: [*ls[:6], ls[2], *ls[6:]], "inserted", 6, id="an-older-line-again"),
    pytest.param(lambda ls: swap(ls, 6, 7), "reordered", 6, id="neighbours-swapped"),
    pytest.param(lambda ls: swap(ls, 2, 9), "reordered", 2, id="far-lines-swapped"),
    pytest.param(lambda ls: [*ls[:9], *ls[11:]], "rewritten-tail", 9, id="tail-cut"),
    pytest.param(lambda ls: ls[:9], "rewritten-tail", 9, id="tail-and-checkpoints-cut"),
    pytest.param(lambda ls: [ls[0].replace('"size":10', '"size":8'), *ls[1:9]], "rewritten-tail", 9, id="tail-cut-and-header-mended"),
    pytest.param(lambda ls: rewritten(ls, 6), "rewritten-tail", 5, id="tail-rewritten"),
]  # fmt: skip


@pytest.mark.parametrize(("tamper", "kind", "seq"), TAMPERED)
def test_tampering_with_an_export_is_found_and_named(
    sealed: None, tmp_path: Path, tamper: Callable[[list[str]], list[str]], kind: str, seq: int
) -> None:
    path, kept = tmp_path / "export.ndjson", tmp_path / "kept.json"
    assert export.write(path) == 10
    kept.write_bytes(checkpoints.files()[-1].read_bytes())
    before = lines_of(path)
    clean = verify.verify_export(path, shown=[kept])
    assert (clean.ok, clean.events, clean.checkpoints) == (True, 10, 3)
    after = tamper(list(before))
    assert after != before
    path.write_text("".join(after))
    bad = verify.verify_export(path, shown=[kept]).first_bad
    assert bad is not None
    assert (bad.kind, bad.seq) == (kind, seq)
    assert standalone(path, kept).returncode == 1


def test_every_single_changed_byte_of_an_exported_event_is_found(sealed: None, tmp_path: Path) -> None:
    path = tmp_path / "export.ndjson"
    export.write(path)
    whole = path.read_bytes()
    start = whole.index(b"\n", whole.index(b'{"seq":6')) - 1
    for position in range(whole.index(b'{"seq":6'), start, 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        bad = verify.verify_export(path).first_bad
        assert bad is not None, whole[position - 5 : position + 5]
        assert (bad.seq, bad.kind) == (6, "changed"), whole[position - 5 : position + 5]


def standalone(*arguments: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(export.STANDALONE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})


def test_the_standalone_verifier_accepts_export_and_proof_and_refuses_a_forged_proof(
    sealed: None, tmp_path: Path
) -> None:
    path, proof = tmp_path / "export.ndjson", tmp_path / "proof.json"
    export.write(path)
    assert standalone(path).returncode == 0, standalone(path)
    for seq in (1, 4, 7, 10):
        value = export.inclusion_proof(AuditSeal.objects.get(seq=seq).event_id)
        proof.write_text(json.dumps(value))
        assert standalone(proof, checkpoints.files()[-1]).returncode == 0
        proof.write_text(json.dumps(value | {"json": value["json"].replace('"outcome":0', '"outcome":4')}))
        assert standalone(proof).returncode == 1


def test_one_checkpoint_is_shown_to_be_the_beginning_of_the_next(sealed: None) -> None:
    proof = export.consistency_proof(4, 10)
    path = [bytes.fromhex(node) for node in proof["path"]]
    roots = [bytes.fromhex(proof[end]["root"]) for end in ("from", "to")]
    assert merkle.verify_consistency(4, roots[0], 10, roots[1], path)
    with pytest.raises(export.NotSealed):
        export.consistency_proof(5, 10)


def test_the_command_prints_the_agreed_line_and_exit_code(sealed: None, tmp_path: Path) -> None:
    out = StringIO()
    call_command("verify_audit", stdout=out)
    assert json.loads(out.getvalue()) == {"ok": True, "events": 10, "checkpoints": 2, "first_bad": None}
    event = event_of(6)
    change(6)
    out = StringIO()
    with pytest.raises(SystemExit) as stop:
        call_command("verify_audit", stdout=out)
    assert stop.value.code == 1
    assert json.loads(out.getvalue())["first_bad"] == {"seq": 6, "event_id": event, "kind": "changed"}
    (tmp_path / "no.json").write_text("[]")
    with pytest.raises(CommandError):
        call_command("verify_audit", checkpoint=[tmp_path / "no.json"])


def test_a_checkpoint_signed_with_another_key_is_refused(sealed: None, tmp_path: Path, settings: Any) -> None:
    ours = checkpoints.files()[-1]
    settings.SECRETS_DIR = tmp_path / "other"
    frontier = merkle.Frontier(2, [merkle.root(log.leaves(2))])
    note = checkpoints.sign(frontier=frontier, chain=bytes(32), now=Checkpoint.objects.first().at, previous="", may_create_key=True)  # type: ignore[union-attr]  # fmt: skip
    with pytest.raises(checkpoints.BadCheckpoint):
        checkpoints.read_file(ours, public_key=keys.public_bytes(keys.signing_key(may_create=False).public_key()))
    checkpoints.read_note(note)
    with pytest.raises(checkpoints.BadCheckpoint):
        checkpoints.read_note(note | {"size": 3})


def test_a_lost_signing_key_is_not_quietly_replaced(sealed: None, tmp_path: Path, settings: Any) -> None:
    settings.SECRETS_DIR = tmp_path / "lost"
    settings.SECRETS_DIR.mkdir()
    (settings.SECRETS_DIR / "audit-wrap.key").write_bytes((tmp_path / "keys" / "audit-wrap.key").read_bytes())
    look(11)
    with pytest.raises(keys.SigningKeyMissing):
        seal.seal_now()


@pytest.mark.django_db(transaction=True)
def test_an_event_that_commits_late_is_sealed_after_younger_ones() -> None:
    apart = connection.copy()
    apart.set_autocommit(False)
    from hie.audit.recorder import _write

    (late,) = _write([EventDraft(kind=EventType.PATIENT_READ, caller=EVE, person_id=uuid.UUID(int=50))], apart)
    look(1)
    seal.seal_now()
    assert list(AuditSeal.objects.values_list("seq", flat=True)) == [1]
    apart.commit()
    apart.close()
    seal.seal_now()
    assert AuditSeal.objects.get(event_id=late).seq == 2
    assert verify.verify_live().ok


@pytest.mark.django_db(transaction=True)
def test_a_second_sealer_waits_for_the_first() -> None:
    look(1)
    apart = connection.copy()
    with apart.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [seal.LOCK])
    assert seal.seal_now() == 0
    with apart.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(%s)", [seal.LOCK])
    apart.close()
    assert seal.seal_now() == 1


@pytest.mark.django_db(transaction=True)
def test_the_running_sealer_stops_with_everything_sealed_under_a_checkpoint() -> None:
    import threading

    for n in range(5):
        look(n)
    stop = threading.Event()
    stop.set()  # told to stop before it began: it still finishes what waits
    seal._run_connected(stop)
    assert Checkpoint.objects.get().size == 5
    assert verify.verify_live().ok


def test_a_batch_costs_seven_statements_whatever_its_size(db: None, django_assert_num_queries: Any) -> None:
    for n in range(20):
        look(n)
    with (
        transaction.atomic(),
        django_assert_num_queries(7),
    ):  # savepoint, take, events, disclosures, head, seals, release
        assert seal.seal_batch() == 20


def test_partitions_are_made_once_for_the_months_ahead(db: None) -> None:
    assert seal.make_partitions() == 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_make_partitions('2030-01-15', 3)")
        assert cursor.fetchone() == (3,)
        cursor.execute(
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'audit_event_203002'::regclass AND tgname = 'audit_no_truncate'"
        )
        assert cursor.fetchone() == (1,)
