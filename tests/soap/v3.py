"""Messages of the patient identity feed of HL7 V3, of which a test changes one thing; and acknowledgements taken apart."""

from __future__ import annotations

import itertools
import os
from functools import cache
from pathlib import Path

from lxml import etree

from hie.faces.soap.hl7v3 import names
from tests.exchange.world import CLINIC_AUTHORITY
from tests.soap import messages
from tests.soap.conftest import Answered, Caller

ADD, REVISE, RESOLVE = names.INTERACTIONS
SCHEMAS = Path(os.environ.get("HIE_SHARED", "../shared")) / "spec/wsdl/hl7v3/schema/HL7V3/NE2008/multicacheschemas"
CLINIC_OID = "2.999.10.1"
NAME = '<name use="L"><family>Quarrel</family><given>Rosamund</given><given>Ivy</given></name>'
PERSON = (
    f"{NAME}"
    '<telecom value="tel:+12025550119" use="HP"/><telecom value="mailto:rosamund@mail.example" use="HP"/>'
    '<administrativeGenderCode code="F" codeSystem="2.16.840.1.113883.5.1"/><birthTime value="19710409"/>'
    '<addr use="HP"><streetAddressLine>7 Tern Street</streetAddressLine><city>Velmoor</city><state>VM</state>'
    "<postalCode>40129</postalCode><country>US</country></addr>"
)
_numbers = itertools.count(1)


def ii(extension: str, root: str = CLINIC_AUTHORITY) -> str:
    return f'<id root="{root}" extension="{extension}"/>'


def message(
    interaction: str = ADD,
    *ids: str,
    person: str = PERSON,
    priors: tuple[str, ...] = (),
    number: str | None = None,
    sender: str = CLINIC_OID,
    patient: str = "",
    time: str = "20260301101500+0100",
    created: str = "20260301101501+0100",
    **changes: str,
) -> str:
    """One message; `changes` replace a text in it by another, `person` is what stands in patientPerson."""
    named = "".join(ids) or ii("P7")
    own = f'<id root="2.999.77.1" extension="{number or next(_numbers)}"/>'
    replaced = "".join(
        '<replacementOf typeCode="RPLC"><priorRegistration classCode="REG" moodCode="EVN"><statusCode code="obsolete"/>'
        '<subject1 typeCode="SBJ"><priorRegisteredRole classCode="PAT">'
        f"{prior}</priorRegisteredRole></subject1></priorRegistration></replacementOf>"
        for prior in priors
    )
    device = '<device classCode="DEV" determinerCode="INSTANCE"><id root="{}"/></device>'
    text = (
        f'<{interaction} xmlns="urn:hl7-org:v3" ITSVersion="XML_1.0">{own}<creationTime value="{created}"/>'
        f'<interactionId root="2.16.840.1.113883.1.6" extension="{interaction}"/><processingCode code="P"/>'
        '<processingModeCode code="T"/><acceptAckCode code="AL"/>'
        f'<receiver typeCode="RCV">{device.format("2.999.1.1")}</receiver>'
        f'<sender typeCode="SND">{device.format(sender)}</sender>'
        '<controlActProcess classCode="CACT" moodCode="EVN">'
        f'<effectiveTime value="{time}"/>'
        f'<subject typeCode="SUBJ" contextConductionInd="false">'
        '<registrationEvent classCode="REG" moodCode="EVN"><id nullFlavor="NA"/><statusCode code="active"/>'
        f'<subject1 typeCode="SBJ"><patient classCode="PAT">{named}<statusCode code="active"/>{patient}'
        f'<patientPerson classCode="PSN" determinerCode="INSTANCE">{person}</patientPerson>'
        '<providerOrganization classCode="ORG" determinerCode="INSTANCE"><id root="2.999.10.1"/>'
        '<contactParty classCode="CON"/></providerOrganization></patient></subject1>'
        '<custodian typeCode="CST"><assignedEntity classCode="ASSIGNED"><id root="2.999.10.1"/></assignedEntity></custodian>'
        f"{replaced}</registrationEvent></subject></controlActProcess></{interaction}>"
    )
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


def sent(caller: Caller, text: str, *, more: str = "") -> Answered:
    """The answer to one message over the wire."""
    interaction = text[1:].partition(" ")[0]
    data = messages.envelope(text, f"urn:hl7-org:v3:{interaction}", to="https://hub.example/pix", more=more)
    return caller.post("/pix", data)


@cache
def _schema(name: str) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(SCHEMAS / f"{name}.xsd")))


def valid(element: etree._Element) -> None:
    """Hold an element against HL7's own schema."""
    copied = etree.fromstring(etree.tostring(element))
    _schema(etree.QName(copied).localname).assertValid(copied)


def acknowledged(answer: Answered) -> tuple[str, list[tuple[str, str, str]]]:
    """The code of an acknowledgement, and of each detail its type, code and location; the whole is valid."""
    assert answer.status == 200, answer.reason
    (ack,) = answer.root.iter(names.tag(names.ACKNOWLEDGEMENT))
    valid(ack)
    details = []
    for one in ack.iter(names.tag("acknowledgementDetail")):
        code, location = one.find(names.tag("code")), one.findtext(names.tag("location")) or ""
        assert location == "" or location.startswith("/PRPA_IN20130"), "an XPath from the root of the message"
        place = location.partition("//")[2] or location.lstrip("/").partition("/")[2]
        details.append((one.get("typeCode", ""), code.get("code") if code is not None else "", place))
    return ack.find(names.path("acknowledgement/typeCode")).get("code"), details
