"""A document source and consumer of XDS.b as a stranger would write them: messages, and what their answers say.

Beside `hub.Client`, which carries them; nothing of the hub's own codecs, so that what one side gets wrong the other
does not forgive.

Source: spec/xds.md 2 and 12.
"""

from __future__ import annotations

import email
import email.message
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import httpx
from lxml import etree

from hie.ops.sandbox.hub import Client, Unexpected

SOAP = "http://www.w3.org/2003/05/soap-envelope"
WSA = "http://www.w3.org/2005/08/addressing"
RIM = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"
LCM = "urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0"
QUERY = "urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0"
XDS = "urn:ihe:iti:xds-b:2007"
XOP = "http://www.w3.org/2004/08/xop/include"

PROVIDE = "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b"
STORED_QUERY = "urn:ihe:iti:2007:RegistryStoredQuery"
RETRIEVE = "urn:ihe:iti:2007:RetrieveDocumentSet"
REGISTRY_PATH, REPOSITORY_PATH = "/xds/registry", "/xds/repository"

FIND_DOCUMENTS = "urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d"
APPROVED = "urn:oasis:names:tc:ebxml-regrep:StatusType:Approved"
SUCCESS = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Success"
_STABLE = "urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1"
_SUBMISSION_SET = "urn:uuid:a54d6aa5-d40d-43f9-88c5-b4633d873bdd"
_HAS_MEMBER = "urn:oasis:names:tc:ebxml-regrep:AssociationType:HasMember"
_OBJECT = "urn:oasis:names:tc:ebxml-regrep:ObjectType:RegistryObject:"
_CODES = {
    "class": "urn:uuid:41a5887f-8865-4c09-adf7-e362475b143a",
    "type": "urn:uuid:f0306f51-975f-434e-a61c-c59651d33983",
    "format": "urn:uuid:a09d5840-386c-46f2-b5ad-9c3699a4309d",
    "confidentiality": "urn:uuid:f4f85eac-e6cb-4883-b524-f2705394840f",
    "facility": "urn:uuid:f33fb8ac-18af-42cc-ae0e-ed0b0bdb91e1",
    "practice": "urn:uuid:cccf5598-8b07-4b77-a05e-ae952c785ead",
}
_ENTRY_IDS = (
    ("urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427", "XDSDocumentEntry.patientId"),
    ("urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab", "XDSDocumentEntry.uniqueId"),
)
_SET_IDS = (
    ("urn:uuid:6b5aea1a-874d-4603-a4bc-96a0a7b38446", "XDSSubmissionSet.patientId"),
    ("urn:uuid:96fdda7c-d067-4183-912e-bf5ee74998a8", "XDSSubmissionSet.uniqueId"),
    ("urn:uuid:554ac39e-e3fe-47fe-b233-965d2a147832", "XDSSubmissionSet.sourceId"),
)
_CONTENT_TYPE = "urn:uuid:aa543740-bdda-424e-8c96-df4873be8500"
LOINC = "2.16.840.1.113883.6.1"
_SNOMED = "2.16.840.1.113883.6.96"


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A code, the OID of its system, and what it is called."""

    code: str
    scheme: str
    display: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A document to be provided: `created` is DTM, `patient` the source's own identifier as CX."""

    unique_id: str
    patient: str
    content: bytes
    mime_type: str
    title: str
    created: str
    kind: Code
    format: Code


SUMMARY = Code(code="34133-9", scheme=LOINC, display="Summary of episode note")
NORMAL = Code(code="N", scheme="2.16.840.1.113883.5.25", display="normal")
HOSPITAL = Code(code="22232009", scheme=_SNOMED, display="Hospital")
GENERAL = Code(code="408443003", scheme=_SNOMED, display="General medical practice")

FORMAT = {
    "ccda": Code(code="urn:hl7-org:sdwg:ccda-structuredBody:2.1", scheme="1.3.6.1.4.1.19376.1.2.3", display="C-CDA"),
    "dicom": Code(code="1.2.840.10008.5.1.4.1.1.7", scheme="1.2.840.10008.2.6.1", display="Secondary capture"),
}
"""Of each kind of document of the sandbox that is sent here."""
SUFFICIENT = Code(
    code="urn:ihe:iti:xds:2017:mimeTypeSufficient", scheme="1.3.6.1.4.1.19376.1.2.3", display="mimeType Sufficient"
)


def cx(authority: str, value: str) -> str:
    """A patient identifier as XDS writes it."""
    return f"{value}^^^&{authority}&ISO"


# -- messages -------------------------------------------------------------------------------------------------------


def provide(documents: Sequence[Sent], *, source_id: str, set_unique_id: str, to: str) -> tuple[bytes, str]:
    """Provide and Register Document Set-b [ITI-41]: an MTOM package and its Content-Type."""
    body = etree.Element(f"{{{XDS}}}ProvideAndRegisterDocumentSetRequest", nsmap={"xds": XDS, "lcm": LCM, "rim": RIM})
    objects = etree.SubElement(etree.SubElement(body, f"{{{LCM}}}SubmitObjectsRequest"), _rim("RegistryObjectList"))
    names = [f"Document{number:02d}" for number, _ in enumerate(documents, start=1)]
    for name, document in zip(names, documents, strict=True):
        _entry(objects, name, document)
    package = etree.SubElement(objects, _rim("RegistryPackage"), id="SubmissionSet")
    first = documents[0]
    _slot(package, "submissionTime", first.created)
    _code(package, _CONTENT_TYPE, SUMMARY)
    for (scheme, label), value in zip(_SET_IDS, (first.patient, set_unique_id, source_id), strict=True):
        _identifier(package, scheme, label, value)
    etree.SubElement(
        objects,
        _rim("Classification"),
        id="IsASubmissionSet",
        classifiedObject="SubmissionSet",
        classificationNode=_SUBMISSION_SET,
    )
    for name in names:
        joined = etree.SubElement(
            objects,
            _rim("Association"),
            id=f"{name}IsIn",
            associationType=_HAS_MEMBER,
            sourceObject="SubmissionSet",
            targetObject=name,
        )
        _slot(joined, "SubmissionSetStatus", "Original")
    parts = []
    for name, document in zip(names, documents, strict=True):
        element = etree.SubElement(body, f"{{{XDS}}}Document", id=name)
        etree.SubElement(element, f"{{{XOP}}}Include", {"href": f"cid:{name}@source"}, nsmap={"xop": XOP})
        parts.append((f"{name}@source", document.mime_type, document.content))
    return packed(envelope(body, PROVIDE, to), parts)


def find_documents(patient: str, *, to: str) -> tuple[bytes, str]:
    """Registry Stored Query [ITI-18] for a patient's approved documents, whole."""
    body = etree.Element(f"{{{QUERY}}}AdhocQueryRequest", nsmap={"query": QUERY, "rim": RIM})
    etree.SubElement(body, f"{{{QUERY}}}ResponseOption", returnComposedObjects="true", returnType="LeafClass")
    asked = etree.SubElement(body, _rim("AdhocQuery"), id=FIND_DOCUMENTS)
    _slot(asked, "$XDSDocumentEntryPatientId", f"'{patient}'")
    _slot(asked, "$XDSDocumentEntryStatus", f"('{APPROVED}')")
    return envelope(body, STORED_QUERY, to), f'application/soap+xml; charset=UTF-8; action="{STORED_QUERY}"'


def retrieve(wanted: Sequence[tuple[str, str]], *, to: str) -> tuple[bytes, str]:
    """Retrieve Document Set [ITI-43] of documents by repository and uniqueId."""
    body = etree.Element(f"{{{XDS}}}RetrieveDocumentSetRequest", nsmap={"xds": XDS})
    for repository, unique_id in wanted:
        one = etree.SubElement(body, f"{{{XDS}}}DocumentRequest")
        etree.SubElement(one, f"{{{XDS}}}RepositoryUniqueId").text = repository
        etree.SubElement(one, f"{{{XDS}}}DocumentUniqueId").text = unique_id
    return packed(envelope(body, RETRIEVE, to), [])


def envelope(body: etree._Element, action: str, to: str) -> bytes:
    """A SOAP 1.2 message with WS-Addressing."""
    root = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"soap": SOAP, "wsa": WSA})
    header = etree.SubElement(root, f"{{{SOAP}}}Header")
    said = etree.SubElement(header, f"{{{WSA}}}Action")
    said.set(f"{{{SOAP}}}mustUnderstand", "1")
    said.text = action
    etree.SubElement(header, f"{{{WSA}}}MessageID").text = f"urn:uuid:{uuid.uuid4()}"
    etree.SubElement(header, f"{{{WSA}}}To").text = to
    etree.SubElement(root, f"{{{SOAP}}}Body").append(body)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))


def packed(root: bytes, parts: Sequence[tuple[str, str, bytes]]) -> tuple[bytes, str]:
    """An MTOM package of an envelope and its parts (content id, media type, bytes)."""
    boundary = f"part-{uuid.uuid4().hex}"
    own = ("root@source", 'application/xop+xml; charset=UTF-8; type="application/soap+xml"', root)
    data = [
        f"--{boundary}\r\nContent-Type: {media}\r\nContent-Transfer-Encoding: binary\r\n"
        f"Content-ID: <{name}>\r\n\r\n".encode()
        + content
        + b"\r\n"
        for name, media, content in (own, *parts)
    ]
    said = (
        f'multipart/related; type="application/xop+xml"; start="<root@source>"; '
        f'start-info="application/soap+xml"; boundary="{boundary}"'
    )
    return b"".join(data) + f"--{boundary}--\r\n".encode(), said


def _rim(name: str) -> str:
    return f"{{{RIM}}}{name}"


def _entry(objects: etree._Element, name: str, document: Sent) -> None:
    entry = etree.SubElement(objects, _rim("ExtrinsicObject"), id=name, mimeType=document.mime_type, objectType=_STABLE)
    for slot, value in (
        ("creationTime", document.created),
        ("languageCode", "en-US"),
        ("sourcePatientId", document.patient),
    ):
        _slot(entry, slot, value)
    _title(entry, document.title)
    codes = {
        "class": SUMMARY,
        "type": document.kind,
        "format": document.format,
        "confidentiality": NORMAL,
        "facility": HOSPITAL,
        "practice": GENERAL,
    }
    for attribute, code in codes.items():
        _code(entry, _CODES[attribute], code)
    for (scheme, label), value in zip(_ENTRY_IDS, (document.patient, document.unique_id), strict=True):
        _identifier(entry, scheme, label, value)


def _slot(element: etree._Element, name: str, *values: str) -> None:
    listed = etree.SubElement(etree.SubElement(element, _rim("Slot"), name=name), _rim("ValueList"))
    for value in values:
        etree.SubElement(listed, _rim("Value")).text = value


def _title(element: etree._Element, text: str) -> None:
    etree.SubElement(etree.SubElement(element, _rim("Name")), _rim("LocalizedString"), value=text)


def _code(element: etree._Element, scheme: str, code: Code) -> None:
    said = etree.SubElement(
        element,
        _rim("Classification"),
        id=f"code-{uuid.uuid4()}",
        classifiedObject=element.get("id", ""),
        classificationScheme=scheme,
        nodeRepresentation=code.code,
        objectType=f"{_OBJECT}Classification",
    )
    _slot(said, "codingScheme", code.scheme)
    _title(said, code.display)


def _identifier(element: etree._Element, scheme: str, label: str, value: str) -> None:
    said = etree.SubElement(
        element,
        _rim("ExternalIdentifier"),
        id=f"id-{uuid.uuid4()}",
        registryObject=element.get("id", ""),
        identificationScheme=scheme,
        value=value,
        objectType=f"{_OBJECT}ExternalIdentifier",
    )
    _title(said, label)


# -- answers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An envelope, and the parts beside it by content id."""

    root: etree._Element
    parts: Mapping[str, bytes]

    @property
    def status(self) -> str:
        """The status that the response states, "" where there is none."""
        return next((one.get("status", "") for one in self.root.iter() if one.get("status", "").count("Response")), "")

    @property
    def errors(self) -> list[str]:
        """Each error as code and context; the reason of a fault."""
        said = [f"{one.get('errorCode')} ({one.get('codeContext')})" for one in self.root.iter("{*}RegistryError")]
        return said + [str(one.text) for one in self.root.iter(f"{{{SOAP}}}Text")]

    def documents(self) -> dict[str, bytes]:
        """The documents of ITI-43 by uniqueId, each the part that its xop:Include names."""
        found = {}
        for one in self.root.iter(f"{{{XDS}}}DocumentResponse"):
            include = next(one.iter(f"{{{XOP}}}Include"))
            name = unquote(include.get("href", "").removeprefix("cid:"))
            found[one.findtext(f"{{{XDS}}}DocumentUniqueId", "")] = self.parts[name]
        return found

    def entries(self) -> dict[str, dict[str, str]]:
        """The slots of each document entry of ITI-18, by uniqueId; of a slot its first value."""
        found = {}
        for one in self.root.iter(_rim("ExtrinsicObject")):
            (unique_id,) = (
                child.get("value", "")
                for child in one.iterfind(_rim("ExternalIdentifier"))
                if child.get("identificationScheme") == _ENTRY_IDS[1][0]
            )
            slots = {
                slot.get("name", ""): slot.findtext(f".//{_rim('Value')}", "") for slot in one.iterfind(_rim("Slot"))
            }
            found[unique_id] = slots
        return found


def read(response: httpx.Response) -> Answer:
    """An answer taken apart, an MTOM package or a plain envelope."""
    content_type = response.headers.get("Content-Type", "")
    if not content_type.startswith("multipart/related"):
        return Answer(root=etree.fromstring(response.content, _parser()), parts={})
    said = email.message.Message()
    said["Content-Type"] = content_type
    pieces = (b"\r\n" + response.content).split(f"\r\n--{said.get_param('boundary')}".encode())
    parts: dict[str, bytes] = {}
    for piece in pieces[1:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        parts[str(email.message_from_bytes(head.lstrip())["Content-ID"]).strip("<>")] = content
    root = parts.pop(str(said.get_param("start")).strip("<>"))
    return Answer(root=etree.fromstring(root, _parser()), parts=parts)


def _parser() -> etree.XMLParser:
    return etree.XMLParser(resolve_entities=False, no_network=True)


def send(
    client: Client,
    path: str,
    message: tuple[bytes, str],
    *,
    user: Mapping[str, Any] | None = None,
    purpose: str | None = None,
) -> Answer:
    """Send a message; raises `Unexpected` unless the answer is a success."""
    data, content_type = message
    headers = {"Content-Type": content_type, "Accept": "*/*"}
    response = client.call("POST", path, user=user, purpose=purpose, content=data, headers=headers, expect=())
    try:
        answer = read(response)
    except (etree.XMLSyntaxError, KeyError) as error:
        raise Unexpected(f"POST {path}: {response.status_code} {response.text[:400]}") from error
    if response.status_code != 200 or answer.status != SUCCESS:
        raise Unexpected(f"POST {path}: {response.status_code} {answer.status} {'; '.join(answer.errors)}")
    return answer
