"""Patient Identity Feed HL7 V3 [ITI-44], ITI TF-2 3.44.

Each message is kept, encrypted, before it is understood, and answered once: the inbox holds it as it does those of HL7 v2.
"""

from __future__ import annotations

from lxml import etree

from hie.exchange import inbox
from hie.faces.soap import envelope
from hie.faces.soap.faults import Fault
from hie.faces.soap.hl7v3 import handler
from hie.faces.soap.message import Answer, Request

LONGEST = 4 * 1024 * 1024
"""Bytes of one message, which is kept whole: no document comes in it."""


def feed(request: Request) -> Answer:
    """Add or revise a patient, or resolve a duplicate; what is refused is said in the acknowledgement.

    Raises:
        Fault: the message is longer than any that speaks of a patient.
    """
    raw: bytes = etree.tostring(request.body, encoding="UTF-8", with_tail=False)
    if len(raw) > LONGEST:
        raise Fault(f"a message of the patient identity feed has at most {LONGEST} bytes")
    received = inbox.receive(raw, handler.envelope_of(request.body, request.caller))
    return Answer(body=envelope.parse([received.reply], size=len(received.reply)))
