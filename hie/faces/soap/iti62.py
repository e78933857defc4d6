"""Remove Metadata [ITI-62], ITI TF-2 3.62, and Remove Documents [ITI-86], ITI TF-2 3.86."""

from __future__ import annotations

from hie.exchange import remove
from hie.exchange.errors import BadRequest
from hie.faces.soap import answers, errors, iti43
from hie.faces.soap.ebxml.names import RIM, tag
from hie.faces.soap.errors import Actor, RegistryError
from hie.faces.soap.message import Answer, Request

_ALL = "urn:oasis:names:tc:ebxml-regrep:DeletionScopeType:DeleteAll"


@answers.registry_response(Actor.REGISTRY)
def remove_metadata(request: Request) -> list[str]:
    """Remove the objects named; all of them, or none.

    Of what ebRS knows besides, the removal of what a query finds or of the bytes alone, nothing is done: it is refused.
    """
    if request.body.get("deletionScope", _ALL).strip() != _ALL:
        raise BadRequest("deletionScope is DeleteAll: documents are removed by ITI-86", element="deletionScope")
    if request.body.find(tag(RIM, "AdhocQuery")) is not None:
        raise BadRequest("objects are removed by their ids, not by a query", element="AdhocQuery")
    refs = request.body.iterfind(f"{tag(RIM, 'ObjectRefList')}/{tag(RIM, 'ObjectRef')}")
    wanted = [(ref.get("id") or "").strip() for ref in refs]
    if not wanted:
        raise BadRequest("no object is named", element="ObjectRefList")
    remove.remove_metadata(wanted, caller=request.caller, raw=request.raw)
    return []


def remove_documents(request: Request) -> Answer:
    """Remove the documents named, each by itself."""
    wanted = list(iti43.requested(request.body))
    results = remove.remove_documents(wanted, caller=request.caller, raw=request.raw).results
    problems: list[RegistryError] = []
    for _, error in results:
        if error is not None:
            problems += errors.errors_of(error, Actor.REPOSITORY)
    return Answer(body=errors.registry_response(problems, some_done=any(error is None for _, error in results)))
