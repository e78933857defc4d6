"""Small HL7 v2 messages, written for these tests, and the participants that send them."""

from __future__ import annotations

from typing import Any

from hie.directory import registration

HOSPITAL = "org-north"
HOSPITAL_OID = "2.999.31.1"
CLINIC_OID = "2.999.32.1"


def participant(identifier: str, oid: str, application: str, facility: str, **more: Any) -> dict[str, Any]:
    """A participant that may send HL7 v2 and, with the role and purpose of its registration, ask over it."""
    return {
        "id": identifier,
        "name": identifier,
        "type": "hospital",
        "organization_oid": f"{oid}.9",
        "assigning_authority": oid,
        "scopes": [],
        "purposes": ["TREAT"],
        "default_role": "system",
        "default_purpose": "TREAT",
        "hl7v2": {"application": application, "facility": facility},
    } | more


def register() -> None:
    """A hospital and a clinic."""
    registration.apply(
        {
            "participants": [
                participant(HOSPITAL, HOSPITAL_OID, "EPIC", "NORTH"),
                participant("org-clinic", CLINIC_OID, "CLIN", "SOUTH", type="primary-care"),
            ]
        }
    )


def msh(event: str = "A01", control_id: str = "1", **fields: str) -> str:
    """MSH of the hospital."""
    parts = {
        "application": "EPIC",
        "facility": "NORTH",
        "kind": f"ADT^{event}",
        "processing": "P",
        "version": "2.5.1",
        "charset": "",
    } | fields
    return (
        f"MSH|^~\\&|{parts['application']}|{parts['facility']}|HIE|HUB|20260101120000||{parts['kind']}|{control_id}"
        f"|{parts['processing']}|{parts['version']}||||||{parts['charset']}"
    )


def pid(identifiers: str = f"77^^^&{HOSPITAL_OID}&ISO^MR", name: str = "Quimby^Nora^L", **fields: str) -> str:
    """PID of one invented patient."""
    parts = {"birth": "19700203", "sex": "F", "address": "5 Elm St^^Ames^IA^50010^US^H"} | fields
    return f"PID|1||{identifiers}||{name}||{parts['birth']}|{parts['sex']}|||{parts['address']}||^PRN^PH^^1^515^5550101"


def adt(event: str = "A01", control_id: str = "1", *segments: str, **fields: str) -> bytes:
    """A message: MSH, EVN and the segments given, a PID when none is."""
    lines = [msh(event, control_id, **fields), f"EVN|{event}|20260101120000", *(segments or (pid(),))]
    return ("\r".join(lines) + "\r").encode()


def msa(reply: bytes) -> list[str]:
    """The fields of MSA."""
    return next(line.split("|") for line in reply.decode().split("\r") if line.startswith("MSA"))


def err(reply: bytes) -> list[list[str]]:
    """The fields of each ERR."""
    return [line.split("|") for line in reply.decode().split("\r") if line.startswith("ERR")]
