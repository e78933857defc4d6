"""Register Document Set-b [ITI-42], ITI TF-2 3.42: metadata of documents that another repository holds."""

from __future__ import annotations

from dataclasses import replace

from documents.metadata import Bytes
from documents.validation import Reading
from hie.audit.kinds import EventType
from hie.exchange import submit
from hie.faces.soap import answers
from hie.faces.soap.ebxml import decode
from hie.faces.soap.errors import Actor
from hie.faces.soap.message import Request


@answers.registry_response(Actor.REGISTRY)
def register(request: Request) -> list[str]:
    """Register what a repository of any OID holds; all of it, or nothing."""
    found = decode.submission(request.body)
    receipt = submit.submit(
        replace(found.submission, bytes=Bytes.ELSEWHERE),
        request.caller,
        kind=EventType.REGISTER_DOCUMENTS,
        raw=request.raw,
        reading=Reading(structure=found.structure, attributes=(*found.attributes, *decode.misplaced(found))),
    )
    return list(receipt.warnings)
