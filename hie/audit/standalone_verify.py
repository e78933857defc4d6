#!/usr/bin/env python3
"""Check an audit export, or the proof of a line, without trusting the hub that made it.

    python3 standalone_verify.py [--json] FILE [CHECKPOINT ...]

FILE is an export (NDJSON) or a proof (JSON). Each CHECKPOINT is a seal that you kept or got elsewhere: worth more
than those inside the file, which the hub could have made anew. Needs only Python 3.9 or newer: signatures are checked
by the package `cryptography` where it is installed, else by the algorithm of RFC 8032 written out below.

Ends with 0 when all of it was checked and fits, 1 when something does not fit (the first bad row is named, as
changed, removed, inserted, reordered or rewritten-tail), 2 when it could not be checked.

It shares no code with the hub, on purpose: whoever reads these lines has read all that is relied on.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple, NoReturn

EXPORT, CHECKPOINT, RETIRED = "hie-audit-export/1", "hie-audit-checkpoint/1", "log-retired"
SIX_YEARS = timedelta(days=2192)
NOTHING = bytes(32)
WORDS = {
    "changed": "is not what was sealed",
    "removed": "is missing",
    "inserted": "was put in later",
    "reordered": "stands in the place of another",
    "rewritten-tail": "and what follows was cut or written anew: it does not fit a signed checkpoint",
}


UNTOLD = "its text is held back, as a law wants for a name in it: what this line says could not be checked"


class Bad(Exception):
    """The first thing that does not fit: its row, the id of its event where known, and in which way."""

    def __init__(self, row: int, event_id: str | None, kind: str, why: str = "") -> None:
        super().__init__(why or f"row {row}{f' ({event_id})' if event_id else ''} {WORDS[kind]}")
        self.row, self.event_id, self.kind = row, event_id, kind
        self.events = self.checkpoints = 0  # how many fitted before it


class NotChecked(Exception):
    """The files cannot be read, or do not belong together: nothing is said about the log."""


# --- hashes and signatures ------------------------------------------------------------


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
Point = tuple[int, int, int, int]


def add(a: Point, b: Point) -> Point:
    """RFC 8032, 5.1.4: the sum of two points in extended coordinates."""
    one, two = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    three, four = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = two - one, four - three, four + three, two + one
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(number: int, point: Point) -> Point:
    total = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = add(total, point)
        point, number = add(point, point), number >> 1
    return total


def point_of(text: bytes) -> Point | None:
    """RFC 8032, 5.1.3: the point that 32 bytes stand for, None when there is none."""
    y = int.from_bytes(text, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def text_of(point: Point) -> bytes:
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


BASE = point_of((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def signed_by_rfc_8032(public: bytes, signature: bytes, message: bytes) -> bool:
    """RFC 8032, 5.1.7 (Ed25519): whether [S]B = R + [k]A."""
    key = point_of(public) if len(public) == 32 and len(signature) == 64 else None
    s = int.from_bytes(signature[32:], "little")
    if key is None or BASE is None or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    minus = (P - key[0], key[1], key[2], P - key[3])
    return text_of(add(multiply(s, BASE), multiply(k, minus))) == signature[:32]


def is_signed(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return signed_by_rfc_8032(public, signature, message)
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


# --- checkpoints ------------------------------------------------------------------------


class Note(NamedTuple):
    """A checkpoint whose signature fits: so many events, with this root and chain value."""

    size: int
    root: bytes
    chain: bytes
    time: str
    key: bytes
    previous: str
    digest: str


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def read_note(value: Any, key: bytes | None) -> Note:
    """A signed checkpoint; `key` the one it must be signed with, None for any. Raises ValueError in words."""
    try:
        size, time, previous = value["size"], value["time"], value["previous"]
        root, chain = bytes.fromhex(value["root"]), bytes.fromhex(value["chain"])
        public = base64.b64decode(value["public_key"], validate=True)
        signature = base64.b64decode(value["signature"], validate=True)
        unsigned = canonical({name: member for name, member in value.items() if name != "signature"})
        whole = type(size) is int and size >= 0 and type(time) is str and type(previous) is str
        named = value["format"] == CHECKPOINT and value["log_id"] == sha(public).hex()
    except KeyError as error:
        raise ValueError(f"a checkpoint has no {error}") from None
    except (TypeError, ValueError, AttributeError, RecursionError):
        raise ValueError("a checkpoint cannot be read") from None
    if not (whole and named):
        raise ValueError("a checkpoint is not one of this form, or names another log than that of its key")
    if key is not None and public != key:
        raise ValueError(f"checkpoint {size} is signed with another key")
    if not is_signed(public, signature, unsigned):
        raise ValueError(f"the signature of checkpoint {size} does not fit")
    return Note(size, root, chain, time, public, previous, sha(canonical(value)).hex())


# --- the proof of a line ----------------------------------------------------------------


def included(index: int, size: int, leaf: bytes, path: list[bytes]) -> bytes | None:
    """RFC 9162, 2.1.3.2: the root that a path of siblings leads to from a leaf; None when its length is not right."""
    node, last = leaf, size - 1
    for sibling in path:
        if not last:
            return None
        if index & 1 or index == last:
            node = sha(b"\1", sibling, node)
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            node = sha(b"\1", node, sibling)
        index, last = index >> 1, last >> 1
    return None if last else node


def begins(older: Note, newer: Note, path: list[bytes]) -> bool:
    """RFC 9162, 2.1.4.2: whether the log of the older checkpoint is the beginning of that of the newer."""
    if older.size == newer.size:
        return older.root == newer.root and not path
    if not 0 < older.size < newer.size or not path:
        return False
    nodes = [older.root, *path] if older.size & (older.size - 1) == 0 else list(path)
    index, last = older.size - 1, newer.size - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    old = new = nodes[0]
    for node in nodes[1:]:
        if not last:
            return False
        if index & 1 or index == last:
            old, new = sha(b"\1", node, old), sha(b"\1", node, new)
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            new = sha(b"\1", new, node)
        index, last = index >> 1, last >> 1
    return not last and (old, new) == (older.root, newer.root)


def check_proof(proof: Any, kept: list[Note]) -> str:
    """The sentence about one proven line; of one without its text that it is there, and no more. Raises Bad, NotChecked."""
    key = kept[0].key if kept else None
    try:
        row, text, path = proof["seq"], proof["json"], [bytes.fromhex(node) for node in proof["path"]]
        links = [
            (link["from"], link["to"], [bytes.fromhex(node) for node in link["path"]])
            for link in proof.get("links", [])
        ]
        note = read_note(proof["checkpoint"], key)
        inner = json.loads(text) if text != "" else {"seq": row, "event": {"id": proof["event_id"]}}
        stated, event = inner["seq"], inner["event"]
        event_id, leaf = event["id"], sha(b"\0", text.encode()) if text != "" else bytes.fromhex(proof["leaf"])
    except KeyError as error:
        raise NotChecked(f"the proof has no {error}") from None
    except (TypeError, AttributeError, RecursionError):
        raise NotChecked("this is no proof of a line") from None
    except ValueError as error:
        raise Bad(0, None, "changed", f"the proof does not hold: {error}") from None
    fits = type(row) is int and 0 < row <= note.size and stated == row and event_id == proof.get("event_id")
    if not fits or included(row - 1, note.size, leaf, path) != note.root:
        raise Bad(row if type(row) is int else 0, event_id if type(event_id) is str else None, "changed", "this line is not in the log that was sealed")  # fmt: skip
    known = {note.size: note}
    for older, newer, steps in links:
        try:
            one, two = read_note(older, note.key), read_note(newer, note.key)
        except ValueError as error:
            raise Bad(row, event_id, "changed", str(error)) from None
        if not begins(one, two, steps):
            raise Bad(one.size + 1, None, "rewritten-tail", f"the log of checkpoint {one.size} is not the beginning of that of checkpoint {two.size}")  # fmt: skip
        if (note.size, note.root) in ((one.size, one.root), (two.size, two.root)):
            known.update({one.size: one, two.size: two})
    for mine in kept:
        if mine.size not in known:
            raise NotChecked(f"your checkpoint is of {mine.size} events, the proof of {sorted(known)}: get the proof for yours, with ?seal={mine.size}")  # fmt: skip
        if mine.root != known[mine.size].root:
            raise Bad(row, event_id, "rewritten-tail", f"the log that this proof is from is not that of your checkpoint {mine.size}")  # fmt: skip
    said = told(event) if text != "" else f"    {UNTOLD}\n"
    return f"line {row} is in the log as sealed at {note.time}\n{said}{told_key(note, kept)}"


def told(event: Any) -> str:
    """What the sealed text says in clear; names of people and titles stand in it encrypted."""
    place = " ".join(str(event.get(name, "")) for name in ("organization_name", "organization") if event.get(name))
    shown = [item for item in event.get("disclosures", []) if isinstance(item, dict)]
    rows = (
        ("time", event.get("at")), ("place", place), ("person", event.get("user_ref")), ("role", event.get("role")),
        ("purpose", event.get("purpose")), ("request", event.get("kind")), ("rule", event.get("rule")),
        ("outcome", "done" if event.get("outcome") == 0 else f"not done ({event.get('outcome')})"),
        ("shown", ", ".join(str(item.get("document_id")) for item in shown) or "nothing"),
    )  # fmt: skip
    return "".join(f"    {name}: {value}\n" for name, value in rows if value)


def told_key(note: Note, kept: list[Note]) -> str:
    fingerprint = sha(note.key).hex()
    if kept:
        return f"    log {fingerprint}, the one of your checkpoint"
    return f"    log {fingerprint}\n    Nothing was compared with a checkpoint from elsewhere: see that others know this log by the same number."


# --- an export --------------------------------------------------------------------------


class Place(NamedTuple):
    """A row as it stands in the file; `own` is the number in its text, where that has the leaf it states."""

    stated: int | None
    own: int | None
    event_id: str | None
    leaf: bytes
    chain: bytes


def objects(path: str) -> Iterator[Any]:
    """The lines of a file, one after another; None for one that is no JSON object."""
    with open(path, "rb") as file:
        for line in file:
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                value = None
            yield value if isinstance(value, dict) else None


def digest(value: Any) -> bytes:
    try:
        return bytes.fromhex(value) if len(value) == 64 and value == value.lower() else b""
    except (TypeError, ValueError, AttributeError):
        return b""


def place_of(line: dict[str, Any]) -> Place:
    row, text, event_id, leaf = line.get("seq"), line.get("json"), line.get("event_id"), digest(line.get("leaf"))
    own = None
    try:
        content = json.loads(text) if type(text) is str and sha(b"\0", text.encode()) == leaf else None
        if content is not None and content["event"]["id"] == event_id and type(content["seq"]) is int:
            own = content["seq"]
    except (ValueError, TypeError, KeyError, RecursionError):
        own = None
    return Place(
        row if type(row) is int else None,
        own,
        event_id if type(event_id) is str else None,
        leaf,
        digest(line.get("chain")),
    )


def said_gone(line: dict[str, Any]) -> Iterator[tuple[int, int, int]]:
    """What a row says was removed at the end of its time: first and last number, and its own. Of other rows nothing."""
    row = place_of(line).own
    if row is None:
        return
    event = json.loads(line["json"])["event"]
    detail = event.get("detail")
    ranges = detail.get("ranges") if isinstance(detail, dict) else None
    if event.get("kind") != RETIRED or event.get("outcome") != 0 or not isinstance(ranges, list):
        return
    for one in ranges:
        if isinstance(one, list) and len(one) == 2 and all(type(n) is int for n in one) and 0 < one[0] <= one[1] < row:
            yield one[0], one[1], row


Gone = list[tuple[int, int]]


def rightly_gone(said: list[tuple[int, int, int]], notes: list[Note]) -> Gone:
    """Of what rows say was removed, that which signed checkpoints bear out, in order: from the first checkpoint over the
    removed rows to the first over the row that says so six years went by. What is excused afterwards is missing."""
    sizes: list[int] = []
    times: list[datetime] = []
    for note in sorted(notes, key=lambda one: one.size):
        try:
            times.append(datetime.strptime(note.time, "%Y-%m-%dT%H:%M:%S.%fZ"))  # noqa: DTZ007  all of them are UTC
            sizes.append(note.size)
        except ValueError:
            continue
    right: Gone = []
    for first, last, row in sorted(said):
        sealed, told = bisect_left(sizes, last), bisect_left(sizes, row)
        if told < len(times) and times[told] - times[sealed] >= SIX_YEARS:
            if right and first <= right[-1][1] + 1:
                right[-1] = (right[-1][0], max(right[-1][1], last))
            else:
                right.append((first, last))
    return right


def is_gone(row: int | None, gone: Gone) -> bool:
    at = bisect_right(gone, (row or 0, sys.maxsize)) - 1
    return at >= 0 and row is not None and row <= gone[at][1]


def places(path: str, gone: Gone) -> Iterator[Place]:
    """The rows of an export in their order; the seal stands for one that is rightly gone, whose text is empty."""
    for position, line in enumerate(objects(path)):
        if not position or (line is not None and "checkpoint" in line):
            continue
        place = place_of(line or {})
        if line is not None and line.get("json") == "" and is_gone(place.stated, gone):
            place = place._replace(own=place.stated)
        yield place


def why(path: str, place: Place, after: Place | None, row: int, chain: bytes, before: bytes, last: str | None) -> Bad:
    """In which way the first row that does not fit is wrong."""
    if row > 1 and sha(before, place.leaf) == place.chain:
        return Bad(row - 1, last, "inserted")  # this row builds on the one before the last: the last was put in
    if after is not None and sha(chain, after.leaf) == after.chain:  # the next row is the one that belongs here
        moved = place.own is not None and place.own > row and place.own != after.own
        return Bad(row, place.event_id, "reordered" if moved else "inserted")
    number = place.own if place.own is not None else place.stated
    if number is not None and number > row:
        if any(other.own == row for other in places(path, [])):
            return Bad(row, place.event_id, "reordered")
        return Bad(row, None, "removed")
    return Bad(row, place.event_id, "inserted" if number is not None and number < row else "changed")


def check_export(path: str, kept: list[Note]) -> tuple[int, int]:
    """How many events fit how many checkpoints. Raises Bad, NotChecked."""
    notes, trouble, stated, key = list(kept), None, None, kept[0].key if kept else None
    before_this: Note | None = None
    said: list[tuple[int, int, int]] = []
    for position, line in enumerate(objects(path)):
        if not position:
            if line is None or line.get("format") != EXPORT or type(line.get("size")) is not int:
                raise Bad(0, None, "changed", "the first line is not the head of an export")
            stated = line["size"]
        elif line is not None and "checkpoint" in line:
            size = line["checkpoint"].get("size") if isinstance(line["checkpoint"], dict) else None
            at = size if type(size) is int else 0
            try:
                note = read_note(line["checkpoint"], key)
            except ValueError as error:
                trouble = trouble or Bad(at, None, "changed", str(error))
                continue
            key = note.key  # one key over all of them
            if note.previous != (before_this.digest if before_this else ""):
                trouble = trouble or Bad(at, None, "removed", f"the checkpoint that checkpoint {at} follows is missing")
            before_this = note
            notes.append(note)
        elif line is not None and RETIRED in str(line.get("json")):
            said += said_gone(line)
    gone = rightly_gone(said, notes)
    if trouble and not trouble.row:
        raise trouble
    waiting: dict[int, list[Note]] = {}
    for note in notes:
        if note.size:
            waiting.setdefault(note.size, []).append(note)
    events, chain, before, last, good, fitting = 0, NOTHING, NOTHING, None, 0, 0
    stack: list[tuple[int, bytes]] = []  # roots of complete subtrees with their height, largest first
    rows = places(path, gone)
    place = next(rows, None)
    try:
        while place is not None:
            after = next(rows, None)
            row = events + 1
            if not (sha(chain, place.leaf) == place.chain and place.own == row == place.stated):
                raise why(path, place, after, row, chain, before, last)
            events, before, chain, last = row, chain, place.chain, place.event_id
            stack.append((0, place.leaf))
            while len(stack) > 1 and stack[-1][0] == stack[-2][0]:
                (height, right), (_, left) = stack.pop(), stack.pop()
                stack.append((height + 1, sha(b"\1", left, right)))
            for note in waiting.pop(row, ()):
                root = stack[-1][1]
                for _, node in reversed(stack[:-1]):
                    root = sha(b"\1", node, root)
                if (root, chain) != (note.root, note.chain):
                    raise Bad(good + 1, event_at(path, good + 1), "rewritten-tail")
                good, fitting = row, fitting + 1
            place = after
        if waiting:
            raise Bad(events + 1, event_at(path, events + 1), "rewritten-tail")
        if stated != events:
            row = min(stated or 0, events) + 1
            raise Bad(row, event_at(path, row), "rewritten-tail")
        if trouble:
            raise trouble
        if good != events:  # nobody signed for what lies behind the last checkpoint
            raise Bad(good + 1, event_at(path, good + 1), "rewritten-tail")
    except Bad as bad:
        bad.events, bad.checkpoints = events, fitting
        raise
    return events, fitting


def event_at(path: str, row: int) -> str | None:
    return next((place.event_id for place in places(path, []) if place.stated == row), None)


# --- the command ------------------------------------------------------------------------


def load(path: str) -> Any:
    with open(path, encoding="utf-8-sig") as file:
        try:
            return json.load(file)
        except (ValueError, RecursionError):
            raise NotChecked(f"{path} holds no readable JSON") from None


def is_export(path: str) -> bool:
    with open(path, "rb") as file:
        first = file.readline()
    if not first.strip():
        raise NotChecked(f"{path} is empty")
    return path.endswith(".ndjson") or EXPORT.encode() in first


def check(path: str, kept_paths: list[str]) -> tuple[str, int, int]:
    """What is to be said, and how many events and checkpoints fit. Raises Bad, NotChecked, OSError."""
    kept: list[Note] = []
    for one in kept_paths:
        try:
            kept.append(read_note(load(one), kept[0].key if kept else None))
        except ValueError as error:
            raise NotChecked(f"{one}: {error}") from None
    if is_export(path):
        events, notes = check_export(path, kept)
        said = f"{events} events fit {notes} checkpoints"
        return (said if kept or not events else f"{said}, all from the file itself"), events, notes
    value = load(path)
    proofs = value["proofs"] if isinstance(value, dict) and isinstance(value.get("proofs"), list) else [value]
    if not proofs:
        raise NotChecked(f"{path} holds no proof")
    said = "\n".join(check_proof(proof, kept) for proof in proofs)
    if UNTOLD in said:
        raise NotChecked(said)
    return said, len(proofs), max(1, len(kept))


def end(as_json: bool, code: int, said: str, **report: Any) -> NoReturn:
    print(json.dumps(report) if as_json else f"{('OK', 'FAIL', 'NOT CHECKED')[code]}: {said}")
    sys.exit(code)


def main(arguments: list[str]) -> NoReturn:
    as_json = "--json" in arguments
    paths = [one for one in arguments if one != "--json"]
    if not paths or paths[0].startswith("-"):
        end(False, 2, "say which file: python3 standalone_verify.py [--json] FILE [CHECKPOINT ...]")
    try:
        said, events, notes = check(paths[0], paths[1:])
    except Bad as bad:
        where = {"seq": bad.row, "event_id": bad.event_id, "kind": bad.kind}
        end(as_json, 1, f"{bad.kind}: {bad}", ok=False, events=bad.events, checkpoints=bad.checkpoints, first_bad=where)
    except (NotChecked, OSError, UnicodeDecodeError) as error:
        end(as_json, 2, str(error), ok=None, error=str(error))
    end(as_json, 0, said, ok=True, events=events, checkpoints=notes, first_bad=None)


if __name__ == "__main__":
    main(sys.argv[1:])
