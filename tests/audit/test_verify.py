"""Tampering, each way, with the live log and with an export: found, and named."""

from __future__ import annotations

import base64
import hashlib
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
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from hie.audit import checkpoints, export, keys, log, merkle, seal, standalone_verify, tree, verify
from hie.audit.canonical import canonical
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
            # The table's lock first: an ANALYZE under way holds it, and would wait for what GRANT writes of the table.
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER; GRANT ALL ON {table} TO CURRENT_USER")
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


def resigned(line: str) -> str:
    """The same checkpoint, by somebody else's key."""
    key = Ed25519PrivateKey.generate()
    public = keys.public_bytes(key.public_key())
    note = json.loads(line)["checkpoint"] | {"log_id": hashlib.sha256(public).hexdigest(), "public_key": base64.b64encode(public).decode()}  # fmt: skip
    unsigned = {name: value for name, value in note.items() if name != "signature"}
    signature = base64.b64encode(key.sign(canonical(unsigned).encode())).decode()
    return json.dumps({"checkpoint": note | {"signature": signature}}) + "\n"


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
    pytest.param(lambda ls: [*ls[:11], *ls[12:]], "removed", 10, id="a-checkpoint-removed"),
    pytest.param(lambda ls: [*ls[:12], ls[12].replace('"size":10', '"size":9')], "changed", 9, id="a-checkpoint-changed"),
    pytest.param(lambda ls: [*ls[:11], ls[11].replace('"root"', '"roof"'), ls[12]], "changed", 4, id="a-member-of-a-checkpoint-gone"),
    pytest.param(lambda ls: [*ls[:12], resigned(ls[12])], "changed", 10, id="a-checkpoint-signed-with-another-key"),
    pytest.param(lambda ls: [ls[0].replace("hie-audit", "hie-other"), *ls[1:]], "changed", 0, id="the-head"),
]  # fmt: skip


@pytest.mark.parametrize("with_kept", [True, False], ids=["with-a-kept-checkpoint", "by-the-file-alone"])
@pytest.mark.parametrize(("tamper", "kind", "seq"), TAMPERED)
def test_tampering_with_an_export_is_found_and_named_alike_by_both_verifiers(
    sealed: None, tmp_path: Path, tamper: Callable[[list[str]], list[str]], kind: str, seq: int, with_kept: bool
) -> None:
    path, kept = tmp_path / "export.ndjson", tmp_path / "kept.json"
    assert export.write(path) == 10
    kept.write_bytes(checkpoints.files()[-1].read_bytes())
    shown = [kept] if with_kept else []
    before = lines_of(path)
    clean = verify.verify_export(path, shown=shown)
    assert (clean.ok, clean.events, clean.checkpoints) == (True, 10, 2 + with_kept)
    assert alone(path, *shown) == (0, clean.as_json())
    after = tamper(list(before))
    assert after != before
    path.write_text("".join(after))
    report = verify.verify_export(path, shown=shown)
    assert report.first_bad is not None
    # Where tail and checkpoints are gone, only what was kept knows how long the log was.
    expected = (kind, seq)
    if not with_kept and (kind, seq) == ("rewritten-tail", 9):
        expected = ("rewritten-tail", report.first_bad.seq)
        assert report.first_bad.seq in {1, 9}
    assert (report.first_bad.kind, report.first_bad.seq) == expected
    assert alone(path, *shown) == (1, report.as_json())


def alone(*arguments: Path, bare: bool = False) -> tuple[int, Any]:
    """Exit code and report of the standalone verifier; `bare`: in a Python without any package."""
    done = standalone("--json", *arguments, bare=bare)
    assert not done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


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
        with pytest.raises(standalone_verify.Bad) as found:
            standalone_verify.check(str(path), [])
        assert (found.value.row, found.value.kind, found.value.event_id) == (6, "changed", bad.event_id)


def standalone(*arguments: Path | str, bare: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(["-I", "-S"] if bare else []), str(export.STANDALONE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})


def test_without_any_package_the_standalone_verifier_checks_signatures_by_itself(sealed: None, tmp_path: Path) -> None:
    path = tmp_path / "export.ndjson"
    export.write(path)
    without = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import cryptography"], capture_output=True, check=False
    )
    assert without.returncode == 1, "this Python has the package even so"
    assert alone(path, bare=True)[0] == 0
    lines = lines_of(path)
    note = json.loads(lines[-1])["checkpoint"]
    for signature in (bytes(64), base64.b64decode(note["signature"])[:-1] + b"\xff", b"x" * 63):
        forged_note = note | {"signature": base64.b64encode(signature).decode()}
        path.write_text("".join([*lines[:-1], json.dumps({"checkpoint": forged_note}) + "\n"]))
        assert alone(path, bare=True)[1]["first_bad"] == {"seq": 10, "event_id": None, "kind": "changed"}


# RFC 8032 7.1: tests 1, 2, 3 and 1024 (its message shortened to nothing would be test 1 again, so it is left out).
RFC_8032 = [
    ("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "", "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
    ("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72", "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82", "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
]  # fmt: skip


@pytest.mark.parametrize(("public", "message", "signature"), RFC_8032)
def test_signatures_are_checked_as_rfc_8032_says(public: str, message: str, signature: str) -> None:
    key, said, text = bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature)
    assert standalone_verify.signed_by_rfc_8032(key, text, said)
    order = (2**252 + 27742317777372353535851937790883648493).to_bytes(32, "little")
    stretched = (int.from_bytes(text[32:], "little") + int.from_bytes(order, "little")).to_bytes(32, "little")
    wrong = [
        (key, text, said + b"x"),
        (key, text[:32] + stretched, said),
        (key, text[:-1], said),
        (key[:-1], text, said),
    ]
    wrong += [(key, bytes([text[n] ^ 1 if n == at else text[n] for n in range(64)]), said) for at in (0, 31, 32, 62)]
    wrong += [(bytes([key[n] ^ 1 if n == at else key[n] for n in range(32)]), text, said) for at in (0, 13)]
    wrong += [(b"\xff" * 32, text, said)]
    for one in wrong:
        assert not standalone_verify.signed_by_rfc_8032(*one)
        assert not standalone_verify.is_signed(*one)


def test_a_proof_holds_for_its_own_the_newest_and_an_older_checkpoint(sealed: None, tmp_path: Path) -> None:
    proof = tmp_path / "proof.json"
    older, newest = checkpoints.files()
    for seq in (1, 4, 7, 10):
        event = AuditSeal.objects.get(seq=seq).event_id
        proof.write_text(json.dumps(export.inclusion_proof(event)))
        for bare in (False, True):
            assert standalone(proof, newest, bare=bare).returncode == 0
        said = standalone(proof).stdout
        assert f"line {seq} is in the log" in said
        assert "org-clinic" in said
        assert "Nothing was compared with a checkpoint from elsewhere" in said
        assert standalone(proof, older).returncode == (0 if seq <= 4 else 2)
        proof.write_text(json.dumps(export.inclusion_proof(event, seal=4)))
        assert standalone(proof, older).returncode == 0
        bundle = {"proofs": [export.inclusion_proof(AuditSeal.objects.get(seq=n).event_id) for n in (1, seq)]}
        proof.write_text(json.dumps(bundle))
        assert standalone(proof).returncode == 0
        bundle["proofs"][1]["json"] += " "
        proof.write_text(json.dumps(bundle))
        assert standalone(proof).returncode == 1
    with pytest.raises(export.NotSealed):
        export.inclusion_proof(event, seal=5)


@pytest.mark.parametrize(
    "change_it",
    [
        pytest.param(lambda p: p | {"json": p["json"].replace('"outcome":0', '"outcome":4')}, id="the-text"),
        pytest.param(lambda p: p | {"seq": 8}, id="the-number"),
        pytest.param(lambda p: p | {"seq": 0}, id="no-number"),
        pytest.param(lambda p: p | {"event_id": str(uuid.uuid4())}, id="the-event"),
        pytest.param(lambda p: p | {"path": p["path"][::-1]}, id="the-path-turned"),
        pytest.param(lambda p: p | {"path": p["path"][:-1]}, id="the-path-cut"),
        pytest.param(lambda p: p | {"path": [*p["path"], p["path"][0]]}, id="the-path-longer"),
        pytest.param(lambda p: p | {"path": ["00", *p["path"][1:]]}, id="a-node"),
        pytest.param(lambda p: p | {"path": ["no hex", *p["path"][1:]]}, id="no-node"),
        pytest.param(lambda p: p | {"checkpoint": p["checkpoint"] | {"root": "00" * 32}}, id="the-root"),
        pytest.param(lambda p: p | {"checkpoint": p["checkpoint"] | {"time": "2026-01-01T00:00:00Z"}}, id="the-time"),
        pytest.param(lambda p: p | {"checkpoint": p["links"][0]["to"]}, id="another-checkpoint"),
        pytest.param(lambda p: p | {"links": [p["links"][0] | {"path": p["links"][0]["path"][:-1]}]}, id="a-link"),
        pytest.param(lambda p: p | {"checkpoint": json.loads(resigned(json.dumps({"checkpoint": p["checkpoint"]})))["checkpoint"]}, id="another-key-in-one-place"),
    ],
)  # fmt: skip
def test_a_proof_that_was_touched_is_refused(sealed: None, tmp_path: Path, change_it: Callable[[Any], Any]) -> None:
    proof = tmp_path / "proof.json"
    whole = export.inclusion_proof(AuditSeal.objects.get(seq=3).event_id)
    proof.write_text(json.dumps(change_it(whole)))
    for bare in (False, True):
        done = standalone(proof, bare=bare)
        assert (done.returncode, done.stderr) == (1, ""), done.stdout
        assert done.stdout.startswith("FAIL: ")


def test_a_forgers_own_log_does_not_pass_for_the_one_whose_checkpoint_was_kept(sealed: None, tmp_path: Path) -> None:
    proof, kept = tmp_path / "proof.json", checkpoints.files()[-1]
    text = export.inclusion_proof(AuditSeal.objects.get(seq=3).event_id)["json"].replace('"outcome":0', '"outcome":4').replace('"seq":3', '"seq":1')  # fmt: skip
    leaf = merkle.leaf_hash(text.encode())
    note = json.loads(kept.read_text()) | {"size": 1, "root": leaf.hex()}
    forged_note = json.loads(resigned(json.dumps({"checkpoint": note})))["checkpoint"]
    own = {"event_id": json.loads(text)["event"]["id"], "seq": 1, "json": text, "path": [], "checkpoint": forged_note}
    proof.write_text(json.dumps(own))
    assert "Nothing was compared" in standalone(proof).stdout
    done = standalone(proof, kept)
    assert (done.returncode, "another key" in done.stdout) == (1, True)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", "", "is empty"),
        ("a.ndjson", "", "is empty"),
        ("a.json", "{", "no readable JSON"),
        ("a.json", "[]", "no proof of a line"),
        ("a.json", "{}", "the proof has no"),
        ("a.json", '{"proofs": []}', "holds no proof"),
        ("a.json", '{"seq": 1, "json": "{}", "path": [], "checkpoint": 3}', "cannot be read"),
        ("a.json", '{"seq": 1, "json": 5, "path": 7, "checkpoint": {}}', "no proof of a line"),
        ("a.json", "[" * 100_000, "no readable JSON"),
        ("a.ndjson", "[]\n", "not the head of an export"),
        ("a.ndjson", '{"format": "hie-audit-export/1"}\n', "not the head of an export"),
        ("missing.json", None, "No such file"),
    ],
)
def test_what_is_no_proof_and_no_export_is_answered_in_a_sentence(
    tmp_path: Path, name: str, content: str | None, says: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    done = standalone(path)
    assert done.returncode in {1, 2}
    assert done.stderr == ""
    assert says in done.stdout
    assert done.stdout.startswith(("FAIL: ", "NOT CHECKED: "))
    assert standalone().returncode == 2


def test_a_checkpoint_missing_among_those_of_the_live_log_is_named(sealed: None) -> None:
    look(11)
    seal.seal_now()
    assert verify.verify_live().ok
    sql("DELETE FROM audit_checkpoint WHERE size = 10")
    checkpoints.files()[1].unlink()
    bad = verify.verify_live().first_bad
    assert bad is not None
    assert (bad.kind, bad.seq) == ("removed", 11)


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
    frontier = merkle.Frontier(2, [merkle.root(tree._stored(0, 0, 2))])
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
