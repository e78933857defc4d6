"""Who sends an HL7 v2 message, by MSH-3 and MSH-4, and what its header must hold.

Source: HL7 v2.5.1 2.14.9 (MSH).
"""

from __future__ import annotations

from hie.directory import queries as directory
from hie.exchange.self_test import Candidate
from hie.faces.hl7v2 import er7
from hie.faces.hl7v2.er7 import MessageRefused
from hie.standards.facts import ParticipantFacts


def registered(header: er7.Segment) -> ParticipantFacts | None:
    """By namespace, by universal id, or by the whole field as written."""
    for application in spellings(header, 3):
        for facility in spellings(header, 4):
            found = directory.hl7v2_sender(application, facility)
            if found is not None:
                return found
    return None


def spellings(header: er7.Segment, number: int) -> list[str]:
    """How a field of MSH that names the sender may be registered: its namespace, the whole of it, its universal id."""
    whole = "^".join(header.text(number, n) for n in (1, 2, 3)).rstrip("^")
    return list(dict.fromkeys([header.text(number, 1), whole, header.text(number, 2)]))


def check_header(message: er7.Message) -> None:
    """Refuse a message without control id, or of another version of HL7 than 2.

    Raises:
        MessageRefused: as it says.
    """
    if not message.control_id.strip():
        raise MessageRefused("MSH-10 is empty", code="101", location=("MSH", 1, 10))
    if message.version and not message.version.startswith("2."):
        raise MessageRefused("MSH-12 is not a version 2", code="203", location=("MSH", 1, 12))


def candidate(header: er7.Segment) -> Candidate | None:
    """The registered sender as a self-test knows it; None where nobody is registered under these names."""
    facts = registered(header)
    if facts is None:
        return None
    names = next(
        (pair for pair, owner in directory.snapshot().by_sender.items() if owner == facts.id and pair[0] in spellings(header, 3)),
        ("", ""),
    )  # fmt: skip
    return Candidate(
        id=facts.id, name=facts.name, authority=facts.assigning_authority or "", application=names[0], facility=names[1]
    )
