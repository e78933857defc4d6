"""Register Document Set-b [ITI-42] and Register On-Demand Document Entry [ITI-61], ITI TF-2 3.42 and 3.61."""

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
    """Register documents that a repository of any OID holds; all of it, or nothing."""
    return _registered(request, EventType.REGISTER_DOCUMENTS, Bytes.ELSEWHERE)


@answers.registry_response(Actor.REGISTRY)
def register_on_demand(request: Request) -> list[str]:
    """Register documents that their source makes when they are asked for; all of it, or nothing."""
    return _registered(request, EventType.REGISTER_ON_DEMAND, Bytes.ON_DEMAND)


def _registered(request: Request, kind: EventType, where_bytes_are: Bytes) -> list[str]:
    found = decode.submission(request.body)
    receipt = submit.submit(
        replace(found.submission, bytes=where_bytes_are),
        request.caller,
        kind=kind,
        raw=request.raw,
        reading=Reading(structure=found.structure, attributes=(*found.attributes, *decode.misplaced(found))),
    )
    return list(receipt.warnings)
