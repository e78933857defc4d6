"""Retrieve Document Set [ITI-43], ITI TF-2 3.43: the bytes of documents by repository and uniqueId."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from lxml import etree

from hie.exchange import retrieve
from hie.exchange.retrieve import DocumentRequest, Retrieved
from hie.faces.soap import errors
from hie.faces.soap.ebxml.names import RS, XDS, XOP, tag
from hie.faces.soap.errors import Actor, RegistryError
from hie.faces.soap.message import Answer, Attachment, Request
from hie.standards.errors import HubError


def retrieve_document_set(request: Request) -> Answer:
    """Each document asked for that may be read, and an error for each other."""
    wanted = list(requested(request.body))
    problems: list[RegistryError] = []
    documents: list[etree._Element] = []
    attachments: list[Attachment] = []
    try:
        given = retrieve.retrieve_set(wanted, caller=request.caller, raw=request.raw).found
    except HubError as error:
        if not errors.is_business(error):
            raise
        given = ()
        problems += errors.errors_of(error, Actor.REPOSITORY)
    for asked, found in given:
        if isinstance(found, HubError):
            problems += errors.errors_of(found, Actor.REPOSITORY)
        else:
            attachment = _attachment(found)
            attachments.append(attachment)
            documents.append(_document(asked, found, attachment))
    answer = etree.Element(tag(XDS, "RetrieveDocumentSetResponse"), nsmap={"xds": XDS, "rs": RS})
    answer.append(errors.registry_response(problems, some_done=bool(documents)))
    answer.extend(documents)
    return Answer(body=answer, attachments=tuple(attachments))


def requested(body: etree._Element) -> Iterator[DocumentRequest]:
    """The documents that a request names."""
    for element in body.iterfind(tag(XDS, "DocumentRequest")):
        yield DocumentRequest(
            repository_unique_id=_text(element, "RepositoryUniqueId"),
            unique_id=_text(element, "DocumentUniqueId"),
            home_community_id=_text(element, "HomeCommunityId"),
        )


def _text(element: etree._Element, name: str) -> str:
    return (element.findtext(tag(XDS, name)) or "").strip()


def _attachment(found: Retrieved) -> Attachment:
    return Attachment(
        content_id=f"{uuid.uuid4()}@hub",
        content_type=found.content_type,
        chunks=found.chunks,
        length=found.size,
    )


def _document(asked: DocumentRequest, found: Retrieved, attachment: Attachment) -> etree._Element:
    element = etree.Element(tag(XDS, "DocumentResponse"))
    for name, value in (
        ("HomeCommunityId", asked.home_community_id),
        ("RepositoryUniqueId", asked.repository_unique_id),
        ("DocumentUniqueId", asked.unique_id),
        ("NewDocumentUniqueId", found.new_unique_id),
        ("mimeType", found.content_type),
    ):
        if value:
            etree.SubElement(element, tag(XDS, name)).text = value
    document = etree.SubElement(element, tag(XDS, "Document"))
    etree.SubElement(document, tag(XOP, "Include"), {"href": f"cid:{attachment.content_id}"}, nsmap={"xop": XOP})
    return element
