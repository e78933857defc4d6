"""Provide and Register Document Set-b [ITI-41], ITI TF-2 3.41: documents with their metadata."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from dataclasses import replace

from lxml import etree

from documents.errors import InvalidStructure
from documents.metadata import Bytes, EntryMetadata
from documents.validation import Reading
from hie.audit.kinds import EventType
from hie.exchange import submit
from hie.faces.soap import answers, mtom
from hie.faces.soap.ebxml import decode
from hie.faces.soap.ebxml.names import LCM, XDS, XOP, tag
from hie.faces.soap.errors import Actor
from hie.faces.soap.message import Request
from hie.standards import mime
from hie.standards.errors import HubError

_CHUNK = 1 << 20  # of base64 text; a multiple of four


@answers.registry_response(Actor.REPOSITORY)
def provide_and_register(request: Request) -> list[str]:
    """Store the documents and register them; all of it, or nothing."""
    submitted = request.body.find(tag(LCM, "SubmitObjectsRequest"))
    found = decode.submission(submitted if submitted is not None else request.body)
    contents, problems = _documents(request, {one.entry_uuid: one for one in found.submission.entries})
    receipt = submit.submit(
        replace(found.submission, bytes=Bytes.SENT, contents=contents),
        request.caller,
        kind=EventType.PROVIDE_AND_REGISTER,
        raw=request.raw,
        reading=Reading(
            structure=(*found.structure, *problems), attributes=(*found.attributes, *decode.misplaced(found))
        ),
    )
    request.taken.update(contents.values())
    return list(receipt.warnings)


def _documents(request: Request, entries: dict[str, EntryMetadata]) -> tuple[dict[str, str], list[HubError]]:
    """The staged bytes by the id of their entry; those that came inline are staged here."""
    contents: dict[str, str] = {}
    problems: list[HubError] = []
    for element in request.body.iterfind(tag(XDS, "Document")):
        object_id = (element.get("id") or "").strip()
        where = f"Document[{object_id}]"
        if object_id in contents:
            problems.append(InvalidStructure("two documents are of one entry", element=where))
            continue
        try:
            contents[object_id] = _staged(request, element, entries.get(object_id), where)
        except InvalidStructure as problem:
            problems.append(problem)
    return contents, problems


def _staged(request: Request, element: etree._Element, entry: EntryMetadata | None, where: str) -> str:
    include = element.find(tag(XOP, "Include"))
    if include is None:
        stated = entry.mime_type if entry is not None else ""
        content_type = stated if mime.parse(stated) is not None else "application/octet-stream"
        return request.stage(_decoded(element.text or "", where), content_type).id
    part = request.parts.get(mtom.content_id_of(include.get("href") or "") or "")
    if part is None:
        raise InvalidStructure("the part that xop:Include names is not in the message", element=where)
    return part.staged.id


def _decoded(text: str, where: str) -> Iterable[bytes]:
    """The bytes of base64 text, blanks in it ignored."""

    def chunks() -> Iterator[bytes]:
        left = ""
        for start in range(0, len(text), _CHUNK):
            left += "".join(text[start : start + _CHUNK].split())
            whole = len(left) - len(left) % 4
            yield base64.b64decode(left[:whole], validate=True)
            left = left[whole:]
        if left:
            raise binascii.Error("cut off")

    try:
        # A first time through, so that nothing is staged of what is no base64.
        for _ in chunks():
            pass
    except binascii.Error as error:
        raise InvalidStructure("the document is no base64", element=where) from error
    return chunks()
