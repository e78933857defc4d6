"""Patient Identity Feed HL7 V3 [ITI-44], ITI TF-2 3.44.

Each message is kept, encrypted, before it is understood, and answered once: the inbox holds it as it does those of HL7 v2.
"""

from __future__ import annotations

from lxml import etree

from hie.exchange import inbox
from hie.faces.soap import envelope
from hie.faces.soap.hl7v3 import handler
from hie.faces.soap.message import Answer, Request


def feed(request: Request) -> Answer:
    """Add or revise a patient, or resolve a duplicate; what is refused is said in the acknowledgement."""
    raw: bytes = etree.tostring(request.body, encoding="UTF-8", with_tail=False)
    received = inbox.receive(raw, handler.envelope_of(request.body, request.caller))
    return Answer(body=envelope.parse([received.reply], size=len(received.reply)))
