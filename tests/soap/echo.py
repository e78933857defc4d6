"""Small transactions that say what reached them: the wire is tested with them, whatever the real ones do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from lxml import etree

from documents.errors import HashMismatch
from hie.faces.soap import mtom, xop
from hie.faces.soap.ebxml.names import QUERY, RIM, RS, XDS, XOP
from hie.faces.soap.message import Answer, Attachment, Request
from hie.faces.soap.transactions import Transaction
from hie.trust.errors import TooManyRequests

SUCCESS = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Success"
PROVIDE = "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b"
RETRIEVE = "urn:ihe:iti:2007:RetrieveDocumentSet"
STORED_QUERY = "urn:ihe:iti:2007:RegistryStoredQuery"
MULTI_PATIENT = "urn:ihe:iti:2009:MultiPatientStoredQuery"
PIECE = bytes(range(256)) * 256


def provide(request: Request) -> Answer:
    """Say the size, SHA-1 and type of each document, by its id; inline ones are staged first."""
    root = etree.Element(f"{{{RS}}}RegistryResponse", nsmap={"rs": RS, "rim": RIM}, status=SUCCESS)
    slots = etree.SubElement(root, f"{{{RS}}}ResponseSlotList")
    _slot(slots, "caller", request.caller.participant_id, request.caller.user_id, request.caller.purpose or "")
    for document in request.body.iterfind(f"{{{XDS}}}Document"):
        include = document.find(xop.INCLUDE)
        if include is not None:
            part = request.parts[mtom.content_id_of(include.get("href")) or ""]
            said = (str(part.size), part.sha1, part.content_type, part.staged.id)
        else:
            text = (document.text or "").encode()
            staged = request.stage(mtom.base64_chunks(iter([text])), "text/plain")
            said = (str(staged.size), staged.sha1, staged.content_type, staged.id)
        if said[1] == hashlib.sha1(b"refuse me").hexdigest():
            raise HashMismatch("refused by the transaction")
        if said[1] == hashlib.sha1(b"break").hexdigest():
            raise RuntimeError("Rosamund Quarrel broke it")
        _slot(slots, str(document.get("id")), *said)
    return Answer(body=root)


def retrieve(request: Request) -> Answer:
    """A document of as many bytes as each unique id ends in."""
    root = etree.Element(f"{{{XDS}}}RetrieveDocumentSetResponse", nsmap={"xds": XDS, "rs": RS})
    etree.SubElement(root, f"{{{RS}}}RegistryResponse", status=SUCCESS)
    attachments = []
    for number, asked in enumerate(request.body.iterfind(f"{{{XDS}}}DocumentRequest")):
        size = int((asked.findtext(f"{{{XDS}}}DocumentUniqueId") or "").rpartition(".")[2])
        found = etree.SubElement(root, f"{{{XDS}}}DocumentResponse")
        for name in ("RepositoryUniqueId", "DocumentUniqueId"):
            etree.SubElement(found, f"{{{XDS}}}{name}").text = asked.findtext(f"{{{XDS}}}{name}")
        etree.SubElement(found, f"{{{XDS}}}mimeType").text = "application/octet-stream"
        document = etree.SubElement(found, f"{{{XDS}}}Document")
        etree.SubElement(document, xop.INCLUDE, nsmap={"xop": XOP}, href=f"cid:doc{number}@hub")
        attachments.append(
            Attachment(
                content_id=f"doc{number}@hub",
                content_type="application/octet-stream",
                chunks=pieces(size),
                length=size,
            )
        )
    return Answer(body=root, attachments=tuple(attachments))


def query(request: Request) -> Answer:
    """Nothing found; the query id "busy" is too much."""
    asked = request.body.find(f"{{{RIM}}}AdhocQuery")
    if asked is not None and asked.get("id") == "urn:uuid:busy":
        raise TooManyRequests(7)
    root = etree.Element(f"{{{QUERY}}}AdhocQueryResponse", nsmap={"query": QUERY, "rim": RIM}, status=SUCCESS)
    slots = etree.SubElement(root, f"{{{RS}}}ResponseSlotList", nsmap={"rs": RS})
    caller = request.caller
    _slot(slots, "caller", *(str(getattr(caller, name) or "") for name in CALLER), request.resource_id)
    etree.SubElement(root, f"{{{RIM}}}RegistryObjectList")
    return Answer(body=root)


CALLER = (
    "participant_id",
    "organization_id",
    "client_id",
    "user_id",
    "user_name",
    "role",
    "purpose",
    "organization_name",
    "intermediary_id",
    "face",
)


def pieces(size: int) -> Iterator[bytes]:
    """A document of this many bytes, never whole in memory."""
    while size > 0:
        yield PIECE[:size]
        size -= len(PIECE)


def sha1_of(size: int) -> str:
    digest = hashlib.sha1()
    for piece in pieces(size):
        digest.update(piece)
    return digest.hexdigest()


def _slot(slots: Any, name: str, *values: str) -> None:
    slot = etree.SubElement(slots, f"{{{RIM}}}Slot", name=name)
    listed = etree.SubElement(slot, f"{{{RIM}}}ValueList")
    for value in values:
        etree.SubElement(listed, f"{{{RIM}}}Value").text = value


def said(root: Any) -> dict[str, list[str]]:
    """The slots of an answer, by name."""
    return {
        slot.get("name"): [value.text or "" for value in slot.iter(f"{{{RIM}}}Value")]
        for slot in root.iter(f"{{{RIM}}}Slot")
    }


REGISTRY = {
    action: Transaction(
        handler=query, response_action=f"{action}Response", request_root=etree.QName(QUERY, "AdhocQueryRequest")
    )
    for action in (STORED_QUERY, MULTI_PATIENT)
}
REPOSITORY = {
    PROVIDE: Transaction(
        handler=provide,
        response_action=f"{PROVIDE}Response",
        request_root=etree.QName(XDS, "ProvideAndRegisterDocumentSetRequest"),
        mtom=True,
    ),
    RETRIEVE: Transaction(
        handler=retrieve,
        response_action=f"{RETRIEVE}Response",
        request_root=etree.QName(XDS, "RetrieveDocumentSetRequest"),
        mtom=True,
    ),
}
