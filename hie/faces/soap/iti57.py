"""Update Document Set [ITI-57] and Restricted Update Document Set [ITI-92], ITI TF-2 3.57 and 3.92."""

from __future__ import annotations

from documents.validation import Reading
from hie.exchange import update
from hie.faces.soap import answers
from hie.faces.soap.ebxml import decode
from hie.faces.soap.errors import Actor
from hie.faces.soap.message import Request


@answers.registry_response(Actor.REGISTRY)
def update_document_set(request: Request) -> list[str]:
    """Further versions, associations, and other statuses; all of it, or nothing."""
    return _updated(request, restricted=False)


@answers.registry_response(Actor.REGISTRY)
def restricted_update_document_set(request: Request) -> list[str]:
    """Further versions of document entries; all of them, or none."""
    return _updated(request, restricted=True)


def _updated(request: Request, *, restricted: bool) -> list[str]:
    found = decode.submission(request.body)
    reading = Reading(structure=found.structure, attributes=found.attributes)
    warnings = update.update(
        found.submission, found.updates, request.caller, restricted=restricted, reading=reading, raw=request.raw
    )
    return list(warnings)
