"""An HL7 v2 message as a self-test reads it: every step that a real one takes, up to where something would be stored.

Source: HL7 v2.5.1 2.14.9 (MSH), 3.4.2 (PID), 3.4.9 (MRG); ITI TF-2 3.8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hie.exchange.self_test import Candidate, Check, failed, passed
from hie.faces.hl7v2 import adt, er7, questions
from hie.faces.hl7v2.senders import check_header, spellings
from hie.standards.errors import HubError

_CLAUSES = {
    "MSH": "HL7 2.5.1, 2.14.9",
    "PID": "HL7 2.5.1, 3.4.2",
    "MRG": "HL7 2.5.1, 3.4.9",
    "PD1": "HL7 2.5.1, 3.4.10",
}


def rehearse(raw: bytes, candidate: Candidate | None) -> Iterator[Check]:
    """The checks of one ADT message; the first that stops the reading is the last. None: nobody is registered as its sender."""
    try:
        message = er7.parse(raw)
        check_header(message)
    except HubError as refused:
        yield _of(
            refused,
            "Message can be read",
            "Send one message in ER7 that begins with MSH, with a control id and a version 2",
        )
        return
    yield passed("Message can be read", _CLAUSES["MSH"], "MSH")
    yield _sender(message, candidate)
    if message.type_code != "ADT" or message.event not in adt.EVENTS:
        taken = " ".join(sorted(adt.EVENTS))
        yield failed(
            "Event is one that the hub takes", "ITI TF-2 3.8.4", "MSH-9",
            found=f"it says {message.kind[:20] or 'nothing'}", fix=f"Send ADT with one of {taken}",
        )  # fmt: skip
        return
    yield passed("Event is one that the hub takes", "ITI TF-2 3.8.4", "MSH-9")
    try:
        patients, priors = _people(message)
    except HubError as refused:
        yield _of(refused, "Patient can be read", "Mend the field that is named")
        return
    yield passed("Patient can be read", _CLAUSES["PID"], "PID")
    for segment, found in (("PID-3", patients), ("MRG-1", priors)):
        if candidate is not None and (found or segment == "PID-3"):
            yield _identifier(segment, found, candidate)
    first = patients[0] if patients else None
    named = [
        patient for patient in _patients(message) if patient.demographics.names and patient.demographics.names[0].family
    ]
    yield (
        passed("Patient has a name", _CLAUSES["PID"], "PID-5")
        if named or first is None
        else failed(
            "Patient has a name",
            _CLAUSES["PID"],
            "PID-5",
            found="no family name",
            fix="Send the family name in PID-5.1",
        )
    )
    if message.event in adt.REGISTERING:
        dated = any(patient.demographics.birth_date for patient in _patients(message))
        yield (
            passed("Patient has a birth date", _CLAUSES["PID"], "PID-7")
            if dated
            else failed(
                "Patient has a birth date",
                _CLAUSES["PID"],
                "PID-7",
                found="it is empty",
                fix="Send it in PID-7: people are matched by it",
            )
        )


def _people(message: er7.Message) -> tuple[list[adt.Cx], list[adt.Cx]]:
    """The identifiers of the patients in the message, and of those whom they replace."""
    if message.event in adt.REGISTERING | adt.LINKING | adt.UNLINKING:
        return [cx for patient in _patients(message) for cx in patient.identifiers], []
    pairs = adt.merges(message)
    return [cx for pair in pairs for cx in pair.patient.identifiers], [cx for pair in pairs for cx in pair.prior]


def _patients(message: er7.Message) -> Sequence[adt.Patient]:
    if message.event in adt.REGISTERING:
        return [adt.patient(message)]
    if message.event in adt.LINKING | adt.UNLINKING:
        return list(adt.pair(message))
    return [pair.patient for pair in adt.merges(message)]


def _sender(message: er7.Message, candidate: Candidate | None) -> Check:
    name, where = "Sender is the one registered", "MSH-3, MSH-4"
    header = message.header
    if candidate is None:
        return failed(
            name, _CLAUSES["MSH"], where, found=f"nobody is registered as {header.text(3, 1)[:40]}|{header.text(4, 1)[:40]}",
            fix="Register both with the organization that sends it, or have the sender mend them",
        )  # fmt: skip
    if candidate.application in spellings(header, 3) and candidate.facility in spellings(header, 4):
        return passed(name, _CLAUSES["MSH"], where)
    return failed(
        name, _CLAUSES["MSH"], where, found=f"it says {header.text(3, 1)[:40]}|{header.text(4, 1)[:40]}",
        fix=f"Send {candidate.application}|{candidate.facility}, or change what is registered",
    )  # fmt: skip


def _identifier(segment: str, found: Sequence[adt.Cx], candidate: Candidate) -> Check:
    name = "Identifier is of your own domain"
    clause = f"ITI TF-2 3.8.4; {_CLAUSES[segment.partition('-')[0]]}"
    if not candidate.authority:
        fix = "Register your assigning authority among the details of the organization"
        return failed(name, clause, segment, found="no assigning authority is registered for you", fix=fix)
    for cx in found:
        # As with real messages: one without an OID of its own is of the sender's domain.
        if cx.universal_id == candidate.authority or not questions.OID.match(cx.universal_id):
            return passed(name, clause, segment)
    others = ", ".join(sorted({cx.universal_id[:64] for cx in found})) or "none"
    return failed(name, clause, segment, found=f"its domains: {others}", fix=f"Send {candidate.authority} in {segment}.4.2 and ISO in {segment}.4.3")  # fmt: skip


def _of(refused: HubError, name: str, fix: str) -> Check:
    where = refused.element or "MSH"
    return failed(name, _CLAUSES.get(where[:3], _CLAUSES["MSH"]), where, found=str(refused), fix=fix)
