"""The acknowledgement of a message of HL7 V3: MCCI_IN000002UV01 with CA, CE or CR, as an acknowledgement of acceptance has them.

Source: ITI TF-2 3.44.4.1.3 and appendix O.1.2; HL7 V3 NE2008, MCCI_MT000200UV01.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from django.conf import settings
from lxml import etree

from hie.faces.soap.hl7v3 import names, reading
from hie.faces.soap.hl7v3.problems import CODES, Refused
from hie.standards.errors import HubError

_CODE_SYSTEM = "2.16.840.1.113883.5.1100"
_BELOW_ROOT = frozenset(
    {"id", "creationTime", "interactionId", "processingCode", "processingModeCode", "acceptAckCode", "receiver", "sender",
     "controlActProcess"}
)  # fmt: skip


def accept(message: etree._Element, warnings: Sequence[HubError] = ()) -> bytes:
    """CA; each warning is a detail of type W."""
    return _written(message, "CA", warnings, "W")


def refuse(message: etree._Element, problems: Sequence[HubError]) -> bytes:
    """CR where the message is rejected as such, else CE; a detail for each problem."""
    rejected = any(isinstance(problem, Refused) and problem.reject for problem in problems)
    return _written(message, "CR" if rejected else "CE", problems, "E")


def failure(message: etree._Element, incident: str) -> bytes:
    """CE: the hub itself failed; `incident` is the number under which the log has it."""
    return _written(message, "CE", [Refused(f"internal error, incident {incident}", code="INTERR")], "E")


def code_of(problem: HubError) -> str:
    """The code under which a refusal is told."""
    return problem.code if isinstance(problem, Refused) else "SYN102"


def _written(message: etree._Element, code: str, problems: Sequence[HubError], severity: str) -> bytes:
    root = etree.Element(names.tag(names.ACKNOWLEDGEMENT), nsmap={None: names.HL7})
    root.set("ITSVersion", "XML_1.0")
    _under(root, "id", root=str(uuid.uuid4()).upper())
    _under(root, "creationTime", value=datetime.now(UTC).strftime("%Y%m%d%H%M%S+0000"))
    _under(root, "interactionId", root=names.INTERACTION_IDS, extension=names.ACKNOWLEDGEMENT)
    _under(root, "processingCode", code=names.code(message, "processingCode") or "P")
    _under(root, "processingModeCode", code="T")
    _under(root, "acceptAckCode", code="NE")
    sent = reading.senders(message)
    _device(root, "receiver", "RCV", sent[0] if sent else None)
    _device(root, "sender", "SND", reading.Ii(root=settings.HOME_COMMUNITY_ID.removeprefix("urn:oid:")))
    acknowledgement = _under(root, "acknowledgement")
    _under(acknowledgement, "typeCode", code=code)
    _id(_under(acknowledgement, "targetMessage"), reading.message_id(message))
    for problem in problems:
        detail = _under(acknowledgement, "acknowledgementDetail", typeCode=severity)
        said = code_of(problem)
        if said:
            _under(detail, "code", code=said, codeSystem=_CODE_SYSTEM, displayName=CODES[said])
        _under(detail, "text").text = str(problem)
        if problem.element:
            _under(detail, "location").text = _xpath(message, problem.element)
    data: bytes = etree.tostring(root, encoding="UTF-8")
    return data


def _xpath(message: etree._Element, element: str) -> str:
    """Where it is, as an XPath; from the root where the path begins there."""
    whole = element.partition("/")[0] in _BELOW_ROOT
    return f"/{etree.QName(message).localname}{'/' if whole else '//'}{element}"


def _under(parent: etree._Element, name: str, **attributes: str) -> etree._Element:
    return etree.SubElement(parent, names.tag(name), attributes)


def _device(root: etree._Element, name: str, kind: str, given: reading.Ii | None) -> None:
    device = _under(_under(root, name, typeCode=kind), "device", classCode="DEV", determinerCode="INSTANCE")
    _id(device, given)


def _id(parent: etree._Element, given: reading.Ii | None) -> None:
    if given is None:
        _under(parent, "id", nullFlavor="NI")
    elif given.extension:
        _under(parent, "id", root=given.root, extension=given.extension)
    else:
        _under(parent, "id", root=given.root)
