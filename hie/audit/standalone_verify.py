#!/usr/bin/env python3
"""Check an audit export, or the proof of one line, without trusting the hub that made it.

    python3 standalone_verify.py export.ndjson [checkpoint.json]      python3 standalone_verify.py proof.json [checkpoint.json]

Needs only Python; with the package `cryptography` installed, signatures are checked too.
A checkpoint that you kept or got elsewhere is worth more than those inside the file.
"""

import base64
import hashlib
import json
import sys
from typing import Any


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def check_note(note: dict[str, Any], kept: dict[str, Any] | None) -> None:
    unsigned = {name: value for name, value in note.items() if name != "signature"}
    text = json.dumps(unsigned, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    if kept and note["public_key"] != kept["public_key"]:
        sys.exit(f"FAIL: checkpoint {note['size']} is signed with another key than yours")
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return print("note: signatures not checked (package cryptography is not installed)")
    try:
        Ed25519PublicKey.from_public_bytes(base64.b64decode(note["public_key"])).verify(
            base64.b64decode(note["signature"]), text
        )
    except Exception:
        sys.exit(f"FAIL: the signature of checkpoint {note['size']} does not fit")


def check_proof(proof: dict[str, Any], kept: dict[str, Any] | None) -> None:
    note, node, index, last = (
        proof["checkpoint"],
        sha(b"\0", proof["json"].encode()),
        proof["seq"] - 1,
        proof["checkpoint"]["size"] - 1,
    )
    check_note(note, kept)
    for sibling in map(bytes.fromhex, proof["path"]):
        if index & 1 or index == last:
            node = sha(b"\1", sibling, node)
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            node = sha(b"\1", node, sibling)
        index, last = index >> 1, last >> 1
    if last or node.hex() != note["root"] or json.loads(proof["json"])["seq"] != proof["seq"]:
        sys.exit("FAIL: this line is not in the log that was sealed")
    print(f"OK: line {proof['seq']} is in the log as sealed at {note['time']}")


def check_export(lines: list[dict[str, Any]], kept: dict[str, Any] | None) -> None:
    chain, seq, stack, roots, notes = bytes(32), 0, [], {}, [kept] if kept else []
    for line in lines[1:]:
        if "checkpoint" in line:
            notes.append(line["checkpoint"])
            continue
        seq += 1
        leaf = sha(b"\0", line["json"].encode())
        chain = sha(chain, leaf)
        fits = (leaf.hex(), chain.hex(), seq) == (line["leaf"], line["chain"], line["seq"])
        if not fits or json.loads(line["json"])["seq"] != seq:
            sys.exit(f"FAIL: row {seq} ({line['event_id']}) is not what was sealed")
        stack.append((0, leaf))
        while len(stack) > 1 and stack[-1][0] == stack[-2][0]:
            (height, right), (_, left) = stack.pop(), stack.pop()
            stack.append((height + 1, sha(b"\1", left, right)))
        root = stack[-1][1]
        for _, node in reversed(stack[:-1]):
            root = sha(b"\1", node, root)
        roots[seq] = (root.hex(), chain.hex())
    if lines[0]["size"] != seq:
        sys.exit(f"FAIL: the file says {lines[0]['size']} events and holds {seq}")
    for note in sorted(notes, key=lambda note: note["size"]):
        check_note(note, kept)
        if roots.get(note["size"]) != (note["root"], note["chain"]):
            sys.exit(f"FAIL: the log does not fit checkpoint {note['size']}: its tail was cut or rewritten")
    print(f"OK: {seq} events fit {len(notes)} checkpoints")


def load(path: str) -> Any:
    with open(path, encoding="utf-8") as file:
        try:
            return [json.loads(line) for line in file] if path.endswith(".ndjson") else json.load(file)
        except ValueError as error:
            sys.exit(f"FAIL: {path} cannot be read: {error}")


if __name__ == "__main__":
    content, kept_note = load(sys.argv[1]), load(sys.argv[2]) if len(sys.argv) > 2 else None
    check_proof(content, kept_note) if isinstance(content, dict) else check_export(content, kept_note)
