"""ADT: PID, PD1 and MRG to demographics, as sent. Pure; who owns which identifier is decided elsewhere.

What a field leaves empty is not said, and stays as it was; ``""`` deletes it (HL7 v2.5.1 2.5.3).
A name, phone or address that carries nothing but a type code is nothing.

Source: HL7 v2.5.1 3.4.2 (PID), 3.4.9 (MRG), 3.4.10 (PD1), 2.A (CX, XPN, XAD, XTN); HL7 V2-to-FHIR mapping.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from itertools import takewhile
from typing import Any

from hie.faces.hl7v2.er7 import NULL, Message, MessageRefused, Segment, part
from hie.standards import hl7_time
from hie.standards.demographics import Address, Demographics, HumanName, Identifier, Telecom
from hie.standards.reliability import IDENTITY_KNOWN, IDENTITY_UNKNOWN

Repetition = tuple[tuple[str, ...], ...]

REGISTERING = frozenset({"A01", "A04", "A05", "A08", "A28", "A31"})
MERGING = frozenset({"A40"})
RENAMING = frozenset({"A47"})
MOVING = frozenset({"A43"})
LINKING = frozenset({"A24"})
UNLINKING = frozenset({"A37"})
EVENTS = REGISTERING | MERGING | RENAMING | MOVING | LINKING | UNLINKING
"""Every ADT event that is acted on; any other is rejected and kept."""
PERSONAL_TYPES = frozenset({"SS", "DL", "PPN", "NI", "NH", "NNUSA", "NIIP", "TAX", "MC", "MA", "BC"})
"""Types of table 0203 issued by states and payers: never a hospital's own number."""
SSN = "http://hl7.org/fhir/sid/us-ssn"

_NAME_USE = {
    "L": "official",
    "R": "official",
    "D": "usual",
    "M": "maiden",
    "B": "old",
    "BAD": "old",
    "N": "nickname",
    "S": "anonymous",
    "MSK": "anonymous",
    "T": "temp",
}
_ADDRESS_USE = {"H": "home", "P": "home", "L": "home", "B": "work", "O": "work", "C": "temp", "BA": "old"}
_GENDER = {
    "M": "male",
    "MALE": "male",
    "F": "female",
    "FEMALE": "female",
    "O": "other",
    "A": "other",
    "X": "other",
    "U": "unknown",
    "N": "unknown",
}
_TELECOM_USE = {"PRN": "home", "ORN": "home", "VHN": "home", "WPN": "work", "PRS": "mobile"}
_TELECOM_SYSTEM = {"FX": "fax", "BP": "pager", "Internet": "email", "X.400": "email", "SAT": "phone"}
_MARITAL = {"A": "L", "E": "L", "D": "D", "I": "I", "M": "M", "P": "T", "R": "T", "G": "T", "S": "S", "W": "W", "C": "C", "N": "A", "U": "UNK"}  # fmt: skip
_NO = ("N", "NO", "0", "F", "FALSE", "NONE")
_PID_FIELDS: tuple[tuple[int, str], ...] = (
    (5, "names"),
    (6, "mothers_maiden_name"),
    (7, "birth_date"),
    (8, "gender"),
    (11, "addresses"),
    (13, "telecoms"),
    (15, "languages"),
    (16, "marital_status"),
    (23, "birth_place"),
    (24, "multiple_birth"),
    (29, "deceased"),
    (30, "deceased"),
    (31, "reliability"),
    (32, "reliability"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cx:
    """An identifier as PID-3 or MRG-1 writes it, and where it stood (for the error location)."""

    value: str
    namespace: str = ""
    universal_id: str = ""
    universal_type: str = ""
    type: str = ""
    location: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """One PID: its identifiers, what else it says, and which attributes it deletes.

    `demographics.identifiers` holds only what stands outside PID-3 (the social security number of PID-19).
    `external` is PID-2, where old senders name the patient a record is moved to.
    """

    identifiers: tuple[Cx, ...]
    demographics: Demographics
    deleted: frozenset[str] = frozenset()
    sequence: int = 1
    external: tuple[Cx, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """One PID with the MRG that follows it: the records of `prior` are duplicates of `patient`."""

    patient: Patient
    prior: tuple[Cx, ...] = field(default=())


def patient(message: Message) -> Patient:
    """The patient of a registering event.

    Raises:
        MessageRefused: no PID, several (the others would be lost), or an unusable field of it.
    """
    found = message.all("PID")
    if len(found) != 1:
        text = "more than one PID segment" if found else "the PID segment is missing"
        raise MessageRefused(text, code="100", location=("PID", min(len(found), 1) + 1), reject=False)
    return _with_standing(found[0], message.segments, 1)


def _with_standing(pid: Segment, around: Sequence[Segment], sequence: int) -> Patient:
    """A PID with what the segments around it say of the same patient: the practice, and how secret the record is."""
    registered = _patient(pid, next((one for one in around if one.name == "PD1"), None), sequence)
    protected, withdrawn = _protected(around)
    return replace(
        registered,
        demographics=replace(registered.demographics, protected=protected),
        deleted=registered.deleted | withdrawn,
    )


def _after(message: Message, pid: Segment) -> list[Segment]:
    """The segments that follow a PID, as far as the next one."""
    place = next(n for n, one in enumerate(message.segments) if one is pid)
    return list(takewhile(lambda one: one.name != "PID", message.segments[place + 1 :]))


def _protected(around: Sequence[Segment]) -> tuple[tuple[str, ...], frozenset[str]]:
    """How secret the record is, and which of it is taken back, as `Patient.deleted` names it.

    ``VIP``: PV1-16 flags the patient (table 0099 is the sender's own: any value does), or ARV-4. ``R``: PD1-12 or an
    ARV keeps the record from others. A field that is there and says no takes back what it once said.
    """
    pv1, pd1 = (next((one for one in around if one.name == name), None) for name in ("PV1", "PD1"))
    restricted = [one for one in around if one.name == "ARV"]
    indicator, kept = pv1.text(16).upper() if pv1 else "", pd1.text(12).upper() if pd1 else ""
    vip = indicator not in ("", NULL, *_NO) or any("VIP" in arv.text(4).upper() for arv in restricted)
    secret = kept not in ("", NULL, *_NO) or any(arv.text(3) for arv in restricted)
    found = tuple(code for code, said in (("R", secret), ("VIP", vip)) if said)
    withdrawn = {"protected:VIP"} if indicator and not vip else set()
    return found, frozenset(withdrawn | ({"protected:R"} if kept and not secret else set()))


def pair(message: Message) -> tuple[Patient, Patient]:
    """The two patients of a link or unlink (A24, A37).

    Raises:
        MessageRefused: other than two PIDs, or an unusable field.
    """
    found = message.all("PID")
    if len(found) != 2:
        text = "two PID segments are needed" if len(found) < 2 else "more than two PID segments"
        raise MessageRefused(text, code="100", location=("PID", min(len(found), 2) + 1), reject=False)
    first, second = (_with_standing(pid, _after(message, pid), n) for n, pid in enumerate(found, start=1))
    return first, second


def merges(message: Message) -> list[Merge]:
    """The PID and MRG pairs of an A40, A43 or A47, in order.

    Raises:
        MessageRefused: a PID without its MRG, or the other way round, or an unusable field.
    """
    pairs: list[Merge] = []
    waiting: Patient | None = None
    pids = mrgs = 0
    for segment in message.segments:
        if segment.name == "PID":
            if waiting is not None:
                raise MessageRefused("MRG is missing", code="100", location=("MRG", mrgs + 1), reject=False)
            pids += 1
            waiting = _with_standing(segment, _after(message, segment), pids)
        elif segment.name == "MRG":
            mrgs += 1
            if waiting is None:
                raise MessageRefused("MRG without PID before it", code="100", location=("MRG", mrgs), reject=False)
            prior = _identifiers(segment, 1, mrgs)
            if not prior:
                raise MessageRefused("MRG-1 is empty", code="101", location=("MRG", mrgs, 1), reject=False)
            pairs.append(Merge(patient=waiting, prior=prior))
            waiting = None
    if waiting is not None or not pairs:
        name, number = ("MRG", mrgs + 1) if pids else ("PID", 1)
        raise MessageRefused(f"the {name} segment is missing", code="100", location=(name, number), reject=False)
    return pairs


def _patient(pid: Segment, pd1: Segment | None, sequence: int) -> Patient:
    identifiers = _identifiers(pid, 3, sequence) or _identifiers(pid, 2, sequence)
    if not identifiers:
        raise MessageRefused("PID-3 is empty", code="101", location=("PID", sequence, 3), reject=False)
    ssn = pid.text(19)
    demographics = Demographics(
        names=_names(pid.repetitions(5)),
        birth_date=_date(pid.text(7), ("PID", sequence, 7)),
        gender=gender_of(pid.text(8)),
        addresses=_addresses(pid.repetitions(11)),
        telecoms=_telecoms(pid),
        identifiers=(Identifier(system=SSN, value=ssn, type="SS"),) if ssn and ssn != NULL else (),
        mothers_maiden_name=_maiden_name(pid.repetitions(6)),
        multiple_birth=_multiple_birth(pid),
        deceased=_deceased(pid, sequence),
        languages=_languages(pid.text(15)),
        marital_status=_MARITAL.get(pid.text(16).upper(), ""),
        birth_place=Address(text=pid.text(23)) if pid.text(23) not in ("", NULL) else None,
        reliability=_reliability(pid),
        extra=_practice(pd1),
    )
    deleted = frozenset(name for number, name in _PID_FIELDS if pid.is_null(number))
    return Patient(
        identifiers=identifiers,
        demographics=demographics,
        deleted=deleted,
        sequence=sequence,
        external=_identifiers(pid, 2, sequence),
    )


def _identifiers(segment: Segment, number: int, sequence: int) -> tuple[Cx, ...]:
    found = []
    for index, rep in enumerate(segment.repetitions(number), start=1):
        value = part(rep, 1)
        if value in ("", NULL):
            continue
        found.append(
            Cx(
                value=value,
                namespace=part(rep, 4, 1),
                universal_id=part(rep, 4, 2),
                universal_type=part(rep, 4, 3).upper(),
                type=part(rep, 5).upper(),
                location=(segment.name, sequence, number, index, 4),
            )
        )
    return tuple(found)


def _said(value: str) -> str:
    return "" if value == NULL else value


def _names(repetitions: Iterable[Repetition]) -> tuple[HumanName, ...]:
    names = []
    for rep in repetitions:
        family = _said(part(rep, 1))
        given = tuple(g for g in (_said(part(rep, 2)), *_said(part(rep, 3)).split()) if g)
        if not family and not given:
            continue
        names.append(
            HumanName(
                family=family,
                given=given,
                use=_NAME_USE.get(part(rep, 7).upper(), ""),
                prefix=_one(part(rep, 5)),
                suffix=(*_one(part(rep, 4)), *_one(part(rep, 6))),
                period_start=_timestamp(part(rep, 12)),
                period_end=_timestamp(part(rep, 13)),
            )
        )
    return tuple(names)


def _one(value: str) -> tuple[str, ...]:
    return (value,) if _said(value) else ()


def _maiden_name(repetitions: tuple[Repetition, ...]) -> str:
    return _said(part(repetitions[0], 1)) if repetitions else ""


def _date(text: str, location: tuple[str | int, ...]) -> str:
    if text in ("", NULL):
        return ""
    found = hl7_time.date(text)
    if found is None:
        raise MessageRefused(f"{location[0]}-{location[2]} is not a date", code="102", location=location, reject=False)
    return found


def _timestamp(text: str) -> str:
    found = re.match(r"(\d{4})(\d{2})?(\d{2})?", text)
    return "-".join(p for p in found.groups() if p) if found else ""


def said(message: Message, *, zone: Callable[[], tzinfo]) -> hl7_time.Span | None:
    """The time of the message (MSH-7), else when its sender was told of the event (EVN-2); None where neither says it to
    the minute. `zone` as in `entered_at`.

    What a patient is like is said as of when the message was made: what EVN-2 tells of may have been entered long before,
    and EVN-6, when it happened, is behind both for whatever is put down or corrected afterwards. So an event of last week that is
    entered today is newer than yesterday's message, and a message that an engine kept and sends again is as old as it was.

    Source: HL7 v2.5.1 2.15.9.7 (MSH-7), 3.4.1.2, 3.4.1.6 (EVN); spec/xds.md 10 ("ordering by message time").
    """
    event = message.first("EVN")
    for text in (message.header.text(7), event.text(2) if event is not None else ""):
        found = hl7_time.span(text, zone=zone)
        if found is not None:
            return found
    return None


def entered_at(message: Message, *, zone: Callable[[], tzinfo]) -> datetime | None:
    """When the sender's system was told of the event (EVN-2), else when the message was made (MSH-7).

    None where neither says it to the minute. A time without an offset is one of `zone`, the sender's, asked only then.
    Source: HL7 v2.5 3.4.1.2, 2.15.9.7, 2.A.21 ("local time of the sender").
    """
    event = message.first("EVN")
    for text in (event.text(2) if event is not None else "", message.header.text(7)):
        found = hl7_time.moment(text, zone=zone)
        if found is not None:
            return found
    return None


def gender_of(text: str) -> str:
    """Administrative sex is a user-defined table: what is not in the suggested one is ``unknown``, not an error."""
    return "" if text in ("", NULL) else _GENDER.get(text.upper(), "unknown")


def _addresses(repetitions: Iterable[Repetition]) -> tuple[Address, ...]:
    found = []
    for rep in repetitions:
        street = " ".join(_said(s.strip()) for s in (rep[0] if rep else ()) if _said(s.strip()))
        lines = tuple(line for line in (street, _said(part(rep, 2))) if line)
        address = Address(
            lines=lines,
            city=_said(part(rep, 3)),
            district=_said(part(rep, 9)),
            state=_said(part(rep, 4)),
            postal_code=_said(part(rep, 5)),
            country=_said(part(rep, 6)),
            use=_ADDRESS_USE.get(part(rep, 7).upper(), ""),
            type="postal" if part(rep, 7).upper() == "M" else "",
        )
        if address.lines or address.city or address.postal_code or address.state:
            found.append(address)
    return tuple(found)


def _telecoms(pid: Segment) -> tuple[Telecom, ...]:
    found: dict[tuple[str, str], Telecom] = {}
    for number, use in ((13, "home"), (14, "work"), (40, "")):
        for rep in pid.repetitions(number):
            for telecom in _telecom(rep, use):
                found.setdefault((telecom.system, telecom.value), telecom)
    return tuple(found.values())


def _telecom(rep: Repetition, default_use: str) -> Iterable[Telecom]:
    kind, equipment = part(rep, 2), part(rep, 3)
    use = _TELECOM_USE.get(kind, default_use)
    if equipment == "CP":
        use = "mobile"
    number = _said(part(rep, 1))
    email = _said(part(rep, 4))
    if "@" in number and not email:
        email, number = number, ""
    if not number:
        number = _said(part(rep, 12)) or "-".join(p for p in (part(rep, 5), part(rep, 6), part(rep, 7)) if _said(p))
        extension = part(rep, 8)
        number = f"{number} x{extension}" if number and extension else number
    if "@" in email:
        yield Telecom(value=email, system="email", use="work" if use == "work" else "home" if use else "")
    if number and any(c.isdigit() for c in number):
        system = _TELECOM_SYSTEM.get(equipment, "phone")
        yield Telecom(value=number, system="phone" if system == "email" else system, use=use)


def _languages(text: str) -> tuple[str, ...]:
    code = text.lower()
    return (code,) if re.fullmatch(r"[a-z]{2,3}(-[a-z0-9]{2,8})*", code) else ()


def _multiple_birth(pid: Segment) -> bool | int | None:
    order = pid.text(25)
    if order.isascii() and order.isdigit() and 0 < int(order) < 20 and pid.text(24).upper() == "Y":
        return int(order)
    return {"Y": True, "N": False}.get(pid.text(24).upper())


def _deceased(pid: Segment, sequence: int) -> bool | str | None:
    died = _date(pid.text(29), ("PID", sequence, 29))
    indicator = pid.text(30).upper()
    if died and indicator != "N":
        return died
    return {"Y": True, "N": False}.get(indicator)


def _reliability(pid: Segment) -> tuple[str, ...]:
    """PID-31 (table 0136; the identity is unknown, or known) and PID-32 (table 0445), as sent."""
    known = {"Y": IDENTITY_UNKNOWN, "N": IDENTITY_KNOWN}.get(pid.text(31).upper(), "")
    codes = [part(rep, 1).upper() for rep in pid.repetitions(32)]
    return tuple(dict.fromkeys(code for code in (known, *codes) if _said(code)))


def _practice(pd1: Segment | None) -> Mapping[str, Any]:
    """PD1-3 and PD1-4, the practice and physician the patient names, as FHIR writes them."""
    if pd1 is None:
        return {}
    practices = [{"display": part(rep, 1)} for rep in pd1.repetitions(3) if _said(part(rep, 1))]
    for rep in pd1.repetitions(4):
        display = " ".join(p for p in (part(rep, 6), part(rep, 3), part(rep, 2)) if _said(p))
        if display:
            practices.append({"display": display})
    return {"generalPractitioner": practices} if practices else {}
