"""A message of the patient identity feed as a self-test reads it: every step that a real one takes, but for what is stored.

The message alone, or in its SOAP envelope.

Source: ITI TF-2 3.44.4; HL7 V3 NE2008.
"""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from hie.exchange.self_test import Candidate, Check, failed, passed
from hie.faces.soap import envelope as soap
from hie.faces.soap.hl7v3 import names, reading, structure
from hie.faces.soap.hl7v3.problems import Malformed
from hie.standards.errors import HubError

_CLAUSE = "ITI TF-2 3.44.4"
_READ = "Message can be read"


def rehearse(raw: bytes, candidate: Candidate) -> Iterator[Check]:
    """The checks of one message; the first that stops the reading is the last."""
    try:
        root = soap.parse([raw], size=len(raw))
    except HubError as refused:
        fix = f"Send one {names.ADDED}, or one of its kin, as XML"
        yield failed(_READ, _CLAUSE, "hl7v3", found=str(refused), fix=fix)
        return
    found = next((one for one in root.iter() if one.tag in {names.tag(name) for name in names.INTERACTIONS}), None)
    if found is None:
        taken = ", ".join(names.INTERACTIONS)
        yield failed(
            "Interaction is one that the hub takes", _CLAUSE, "hl7v3",
            found=f"it is {etree.QName(root).localname[:40]}", fix=f"Send one of {taken}, of the namespace {names.HL7}",
        )  # fmt: skip
        return
    yield passed("Interaction is one that the hub takes", _CLAUSE, etree.QName(found).localname)
    try:
        message = reading.read(found)
    except Malformed as refused:
        for one in refused.problems:
            yield failed(
                _READ, _CLAUSE, one.element or "", found=str(one), fix="Send each element as often as HL7 has it"
            )
        return
    except HubError as refused:
        yield failed(_READ, _CLAUSE, refused.element or "", found=str(refused), fix="Mend the element that is named")
        return
    yield passed(_READ, _CLAUSE, etree.QName(found).localname)
    yield _sender(message, candidate)
    yield _identifier(message, candidate)
    said = message.demographics
    for name, there, where in (
        ("Patient has a name", any(one.family for one in said.names), "patientPerson/name/family"),
        ("Patient has a birth date", bool(said.birth_date), "patientPerson/birthTime"),
    ):
        place = f"{structure.PATIENT}/{where}"
        fix = "Send it: people are matched by it"
        yield passed(name, _CLAUSE, place) if there else failed(name, _CLAUSE, place, found="it is empty", fix=fix)


def _sender(message: reading.Message, candidate: Candidate) -> Check:
    name, where = "Sender is the one registered", "sender/device"
    if candidate.organization_oid in {one.root for one in message.senders}:
        return passed(name, _CLAUSE, where)
    said = ", ".join(one.root[:64] for one in message.senders)
    return failed(
        name, _CLAUSE, where, found=f"it says {said}",
        fix=f"Send {candidate.organization_oid or 'your OID'} as device/id or as device/asAgent/representedOrganization/id",
    )  # fmt: skip


def _identifier(message: reading.Message, candidate: Candidate) -> Check:
    name, where = "Identifier is of your own domain", f"{structure.PATIENT}/id"
    if not candidate.authority:
        fix = "Register your assigning authority among the details of the organization"
        return failed(name, _CLAUSE, where, found="no assigning authority is registered for you", fix=fix)
    if candidate.authority in {one.root for one in message.ids}:
        return passed(name, _CLAUSE, where)
    others = ", ".join(sorted({one.root[:64] for one in message.ids}))
    return failed(name, _CLAUSE, where, found=f"its roots: {others}", fix=f"Send {candidate.authority} as its root")
