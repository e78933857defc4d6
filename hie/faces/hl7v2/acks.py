"""Acknowledgements in original mode: MSH, MSA and, for a refusal, one ERR an error.

AA accepted; AE the content is wrong or the hub failed; AR the message is not for us: unknown
sender, unsupported type, event or version, somebody else's identifiers. ERR carries the location
and a code of table 0357 in the form of 2.5, and for older versions the older ERR-1 as well.
No acknowledgement quotes a name, a birth date or any other content of the message.

Source: HL7 v2.5.1 2.9.2, 2.15.5 (ERR), 2.15.8 (MSA), table 0357; IHE ITI TF-2 C.2.3.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from hie.faces.hl7v2 import qbp
from hie.faces.hl7v2.er7 import Message, MessageRefused, Segment, encode, escape
from hie.standards.errors import HubError

ERROR_TEXT = {  # HL7 table 0357
    "0": "Message accepted",
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "206": "Application record locked",
    "207": "Application internal error",
}
OUR_APPLICATION = "HIE"
_VERSION = re.compile(r"2\.\d(\.\d)?$")


def accept(message: Message, warnings: Sequence[HubError] = ()) -> bytes:
    """AA; each warning is an ERR of severity W."""
    return _build(message, "AA", warnings, severity="W")


def refuse(message: Message | None, problems: Sequence[HubError]) -> bytes:
    """AR when any problem rejects the message as such, else AE. `message` is None when MSH itself is unreadable."""
    rejects = message is None or any(isinstance(p, MessageRefused) and p.reject for p in problems)
    return _build(message, "AR" if rejects else "AE", problems)


def failure(message: Message | None, incident: str) -> bytes:
    """AE 207: the hub itself failed; `incident` is the number under which the log has it."""
    problem = MessageRefused(f"internal error, incident {incident}", code="207", reject=False)
    return _build(message, "AE", (problem,))


def wrap(replies: Sequence[bytes], *, batch: bool, file: bool) -> bytes:
    """Replies to the messages of one block: alone, or inside BHS/BTS and FHS/FTS as they came."""
    body = b"".join(replies)
    if batch:
        body = b"BHS|^~\\&|HIE\r" + body + f"BTS|{len(replies)}\r".encode()
    if file:
        body = b"FHS|^~\\&|HIE\r" + body + b"FTS|1\r"
    return body


def code_of(reply: bytes) -> str:
    """MSA-1 of an acknowledgement."""
    found = re.search(rb"(?:^|\r)MSA\|([A-Z]{2})", reply)
    return found[1].decode() if found else ""


def response(
    message: Message,
    *,
    hits: int,
    bodies: Sequence[str] = (),
    remaining: int = 0,
    pointer: str = "",
) -> bytes:
    """RSP of a query that was answered: AA with OK, or with NF when nothing was found.

    `bodies` are the segments of the answer, `hits` how many there are in all; `pointer` is where the next part begins.
    """
    counts = f"|{hits}|{len(bodies)}|{remaining}" if message.event == qbp.DEMOGRAPHICS else ""
    after = [f"DSC|{escape(pointer)}|I"] if pointer else []
    return _build(message, "AA", (), qak=("OK" if hits else "NF", counts), tail=[*bodies, *after])


def _build(
    message: Message | None,
    code: str,
    problems: Sequence[HubError],
    *,
    severity: str = "E",
    qak: tuple[str, str] | None = None,
    tail: Sequence[str] = (),
) -> bytes:
    """MSH, MSA, ERR; of a query also QAK and QPD, and what was found. `qak`: status and counts; None: that of `code`."""
    version = message.version if message and _VERSION.match(message.version) else "2.5"
    header = message.header if message else None
    event = message.event if message else ""
    now = datetime.now(UTC).strftime("%Y%m%d%H%M%S+0000")
    question = message is not None and message.type_code == "QBP" and event in qbp.QUESTIONS
    kind = f"ACK^{escape(event)}^ACK" if event else "ACK"
    if question:
        kind = "RSP^K22^RSP_K21" if event == qbp.DEMOGRAPHICS else "RSP^K23^RSP_K23"
    msh = [
        "MSH",
        "^~\\&",
        _echo(header, 5) or OUR_APPLICATION,
        _echo(header, 6),
        _echo(header, 3),
        _echo(header, 4),
        now,
        "",
        kind,
        uuid.uuid4().hex[:20],
        _echo(header, 11) or "P",
        version,
    ]
    control_id = escape(message.control_id) if message else ""
    said = list(problems)
    msa = ["MSA", code, control_id]
    if said and severity == "E" and _older(version):
        msa.append(escape(ERROR_TEXT[_code(said[0])]))
    segments = ["|".join(msa), *(_err(p, version, severity) for p in said)]
    if question and message is not None:
        status, counts = qak or (code, "")
        asked = message.first("QPD")
        name = encode(asked).split("|") if asked is not None else ["", ""]
        title = name[1] if len(name) > 1 and counts else ""
        segments.append(f"QAK|{escape(qbp.tag_of(message))}|{status}" + (f"|{title}{counts}" if counts else ""))
        if asked is not None:
            segments.append(encode(asked))
    segments.extend(tail)
    body = "\r".join(segments) + "\r"
    if not body.isascii() or not "".join(msh).isascii():
        msh.extend(["", "", "", "", "", "UNICODE UTF-8"])
    return ("|".join(msh) + "\r" + body).encode()


def _err(problem: HubError, version: str, severity: str) -> str:
    location = problem.location if isinstance(problem, MessageRefused) else _location(problem.element)
    code = _code(problem)
    place = "^".join(escape(str(p)) for p in location)
    older = ""
    if _older(version):
        parts = [escape(str(p)) for p in location[:3]] + [""] * (3 - len(location[:3]))
        older = "^".join([*parts, f"{code}&{ERROR_TEXT[code]}&HL70357"])
    return "|".join(
        ["ERR", older, place, f"{code}^{ERROR_TEXT[code]}^HL70357", severity, "", "", "", escape(str(problem))]
    )


def _code(problem: HubError) -> str:
    return problem.code if isinstance(problem, MessageRefused) else "102"


def _location(element: str | None) -> tuple[str | int, ...]:
    found = re.match(r"([A-Z][A-Z0-9]{2})(?:-(\d+))?", element or "")
    if not found:
        return ()
    return (found[1], 1, int(found[2])) if found[2] else (found[1], 1)


def _older(version: str) -> bool:
    return version < "2.5"


def _echo(header: Segment | None, number: int) -> str:
    if header is None or number >= len(header.fields):
        return ""
    reps = header.repetitions(number)
    if not reps:
        return ""
    components = ["&".join(escape(sub.strip()) for sub in comp) for comp in reps[0]]
    return "^".join(components).rstrip("^&")
