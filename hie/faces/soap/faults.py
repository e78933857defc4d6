"""Faults of SOAP 1.2: what is wrong with a message itself, never with what it asks for.

What a transaction refuses is no fault: it is answered with a RegistryErrorList. `of` is the one place that turns a
refusal of the hub into a fault. Status: 400 where the sender is at fault, 500 otherwise.

Source: SOAP 1.2 part 1, 5.4 and appendix A; WS-Addressing 1.0 SOAP Binding 6; WSS SOAP Message Security 1.1, 12;
spec/xds.md 2 (3, 7).
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from django.http.request import RawPostDataException, UnreadablePostError
from lxml import etree

from hie.standards import xml
from hie.standards.errors import HubError
from hie.trust.errors import AssertionRefused, NotAuthenticated

log = logging.getLogger("hie.soap")

SOAP = "http://www.w3.org/2003/05/soap-envelope"
SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
WSA = "http://www.w3.org/2005/08/addressing"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
FAULT_ACTION = f"{WSA}/fault"
SOAP_FAULT_ACTION = f"{WSA}/soap/fault"
CONTENT_TYPE = "application/soap+xml; charset=UTF-8"
_XML = "http://www.w3.org/XML/1998/namespace"
_PREFIX = {SOAP: "soap", WSA: "wsa", WSSE: "wsse"}


class Code(StrEnum):
    """The codes of SOAP 1.2 that are used here."""

    SENDER = "Sender"
    RECEIVER = "Receiver"
    MUST_UNDERSTAND = "MustUnderstand"
    VERSION_MISMATCH = "VersionMismatch"


@dataclass(frozen=True, slots=True)
class Name:
    """A subcode: a name in a namespace that has a prefix here."""

    namespace: str
    local: str

    def __str__(self) -> str:
        return f"{_PREFIX[self.namespace]}:{self.local}"


class Fault(Exception):
    """A message that is answered with a fault.

    `subcodes` nest in their order. `detail` and `headers` are elements put into the fault's detail and the envelope's
    header. `soap_11`: answered in SOAP 1.1, which is what the sender reads.
    """

    def __init__(
        self,
        reason: str,
        *,
        code: Code = Code.SENDER,
        subcodes: Sequence[Name] = (),
        detail: Sequence[etree._Element] = (),
        headers: Sequence[etree._Element] = (),
        http_headers: Mapping[str, str] | None = None,
        soap_11: bool = False,
    ) -> None:
        super().__init__(reason)
        # A reason may quote a header of HTTP or of a part, which can hold what XML cannot.
        self.reason = xml.speakable(reason)
        self.code = code
        self.subcodes = tuple(subcodes)
        self.detail = tuple(detail)
        self.headers = tuple(headers)
        self.http_headers = dict(http_headers or {})
        self.soap_11 = soap_11

    @property
    def status_code(self) -> int:
        """The status of the answer."""
        return 400 if self.code is Code.SENDER else 500

    @property
    def action(self) -> str:
        """wsa:Action of the answer: faults of WS-Addressing have one of their own."""
        own = bool(self.subcodes) and self.subcodes[0].namespace == WSA
        return FAULT_ACTION if own else SOAP_FAULT_ACTION


def of(error: BaseException) -> Fault:
    """The fault that says a refusal; what was not foreseen says nothing but the number under which it is logged."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, AssertionRefused):
        return Fault(error.reason, subcodes=[Name(WSSE, error.code)])
    if isinstance(error, NotAuthenticated):
        # Toolkits read the fault, HTTP clients the header.
        challenge = {"WWW-Authenticate": error.www_authenticate}
        return Fault(str(error), subcodes=[Name(WSSE, "FailedAuthentication")], http_headers=challenge)
    if isinstance(error, UnreadablePostError | RawPostDataException):
        return Fault("the body broke off")
    if isinstance(error, HubError):
        retry = getattr(error, "retry_after_s", None)
        if retry is not None:
            wait = {"Retry-After": str(max(1, round(float(retry))))}
            return Fault(str(error), code=Code.RECEIVER, http_headers=wait)
        return Fault(str(error))
    incident = uuid.uuid4().hex[:12]
    log.error("incident %s", incident, exc_info=error)
    return Fault(f"something went wrong here; quote {incident}", code=Code.RECEIVER)


# --- faults that are raised in several places ----------------------------------------------------------------------------


def header_required(local: str) -> Fault:
    """A header of WS-Addressing is missing."""
    return Fault(
        f"the message has no wsa:{local}",
        subcodes=[Name(WSA, "MessageAddressingHeaderRequired")],
        detail=[_problem_header(local)],
    )


def invalid_header(local: str, reason: str, *, why: str = "") -> Fault:
    """A header of WS-Addressing cannot be used; `why` is the third level of the code, where there is one."""
    subcodes = [Name(WSA, "InvalidAddressingHeader"), *([Name(WSA, why)] if why else [])]
    return Fault(reason, subcodes=subcodes, detail=[_problem_header(local)])


def action_not_supported(action: str) -> Fault:
    """The action is none of this address."""
    problem = etree.Element(f"{{{WSA}}}ProblemAction", nsmap={"wsa": WSA})
    etree.SubElement(problem, f"{{{WSA}}}Action").text = xml.speakable(action)
    return Fault(
        "the action cannot be processed at this address",
        subcodes=[Name(WSA, "ActionNotSupported")],
        detail=[problem],
    )


def not_understood(names: Sequence[etree.QName]) -> Fault:
    """Headers that must be understood are not."""
    blocks = []
    for name in names:
        nsmap = {"soap": SOAP} | ({"ns": name.namespace} if name.namespace else {})
        block = etree.Element(f"{{{SOAP}}}NotUnderstood", nsmap=nsmap)
        block.set("qname", f"ns:{name.localname}" if name.namespace else name.localname)
        blocks.append(block)
    return Fault("a header that must be understood is not", code=Code.MUST_UNDERSTAND, headers=blocks)


def version_mismatch(namespace: str | None) -> Fault:
    """The envelope is none of SOAP 1.2."""
    upgrade = etree.Element(f"{{{SOAP}}}Upgrade", nsmap={"soap": SOAP})
    etree.SubElement(upgrade, f"{{{SOAP}}}SupportedEnvelope").set("qname", "soap:Envelope")
    return Fault(
        "only SOAP 1.2 is spoken here",
        code=Code.VERSION_MISMATCH,
        headers=[upgrade],
        soap_11=namespace == SOAP_11,
    )


def _problem_header(local: str) -> etree._Element:
    problem = etree.Element(f"{{{WSA}}}ProblemHeaderQName", nsmap={"wsa": WSA})
    problem.text = f"wsa:{local}"
    return problem


# --- as bytes ------------------------------------------------------------------------------------------------------------


def document(fault: Fault, *, message_id: str = "") -> bytes:
    """The envelope of a fault; `message_id` is that of the message it answers, where one was read."""
    return _document_11(fault) if fault.soap_11 else _document_12(fault, message_id)


def _document_12(fault: Fault, message_id: str) -> bytes:
    envelope = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"soap": SOAP, "wsa": WSA, "wsse": WSSE})
    header = etree.SubElement(envelope, f"{{{SOAP}}}Header")
    action = etree.SubElement(header, f"{{{WSA}}}Action")
    action.set(f"{{{SOAP}}}mustUnderstand", "1")
    action.text = fault.action
    if message_id:
        etree.SubElement(header, f"{{{WSA}}}RelatesTo").text = message_id
    header.extend(fault.headers)
    body = etree.SubElement(envelope, f"{{{SOAP}}}Body")
    element = etree.SubElement(body, f"{{{SOAP}}}Fault")
    level = etree.SubElement(element, f"{{{SOAP}}}Code")
    etree.SubElement(level, f"{{{SOAP}}}Value").text = f"soap:{fault.code}"
    for subcode in fault.subcodes:
        level = etree.SubElement(level, f"{{{SOAP}}}Subcode")
        etree.SubElement(level, f"{{{SOAP}}}Value").text = str(subcode)
    reason = etree.SubElement(etree.SubElement(element, f"{{{SOAP}}}Reason"), f"{{{SOAP}}}Text")
    reason.set(f"{{{_XML}}}lang", "en")
    reason.text = fault.reason
    if fault.detail:
        etree.SubElement(element, f"{{{SOAP}}}Detail").extend(fault.detail)
    data: bytes = etree.tostring(envelope, xml_declaration=True, encoding="UTF-8")
    return data


def _document_11(fault: Fault) -> bytes:
    """As the older version says it, with the header that names the newer one (SOAP 1.2 part 1, appendix A)."""
    envelope = etree.Element(f"{{{SOAP_11}}}Envelope", nsmap={"env": SOAP_11})
    etree.SubElement(envelope, f"{{{SOAP_11}}}Header").extend(fault.headers)
    element = etree.SubElement(etree.SubElement(envelope, f"{{{SOAP_11}}}Body"), f"{{{SOAP_11}}}Fault")
    etree.SubElement(element, "faultcode").text = f"env:{fault.code}"
    etree.SubElement(element, "faultstring").text = fault.reason
    data: bytes = etree.tostring(envelope, xml_declaration=True, encoding="UTF-8")
    return data
