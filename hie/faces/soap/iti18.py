"""Registry Stored Query [ITI-18] and Multi-Patient Stored Query [ITI-51], ITI TF-2 3.18 and 3.51."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings
from lxml import etree

from hie.exchange import stored_query
from hie.exchange.stored_query import OBJECT_REF, AdhocQuery, Answered
from hie.faces.soap import errors
from hie.faces.soap.ebxml import encode
from hie.faces.soap.ebxml.names import QUERY, RIM, tag
from hie.faces.soap.errors import Actor, RegistryError
from hie.faces.soap.message import Answer, Request
from hie.standards.errors import HubError

_ADHOC = tag(RIM, "AdhocQuery")
_OPTION = tag(QUERY, "ResponseOption")


def registry_stored_query(request: Request) -> Answer:
    """The objects that a query about one patient finds."""
    return _answer(request, multi_patient=False)


def multi_patient_stored_query(request: Request) -> Answer:
    """The objects that a query about several patients finds."""
    return _answer(request, multi_patient=True)


def _answer(request: Request, *, multi_patient: bool) -> Answer:
    asked = read_query(request.body, request.raw)
    try:
        found = stored_query.ask(asked, caller=request.caller, multi_patient=multi_patient)
    except HubError as error:
        if not errors.is_business(error):
            raise
        return Answer(body=response(None, list(errors.errors_of(error, Actor.REGISTRY))))
    return Answer(body=response(written(found, asked.return_type)))


def read_query(body: etree._Element, raw: str) -> AdhocQuery:
    """The query of a ``query:AdhocQueryRequest``.

    Its `home` is passed over, whatever community it names: that is a gateway's to look at (ITI TF-2 3.18.4.1.3).
    """
    option, query = body.find(_OPTION), body.find(_ADHOC)
    slots: list[tuple[str, list[str]]] = []
    for slot in () if query is None else query.iterfind(tag(RIM, "Slot")):
        values = [value.text or "" for value in slot.iterfind(f"{tag(RIM, 'ValueList')}/{tag(RIM, 'Value')}")]
        slots.append((slot.get("name") or "", values))
    return AdhocQuery(
        id=("" if query is None else query.get("id") or "").strip(),
        slots=slots,
        # The schema's default is RegistryObject, which XDS does not have.
        return_type=("" if option is None else option.get("returnType") or "").strip() or "RegistryObject",
        raw=raw,
    )


def written(found: Answered, return_type: str) -> etree._Element:
    """The objects found, whole or by their ids; each says which community holds it, this one unless its sender said more."""
    listed = encode.Objects(home=settings.HOME_COMMUNITY_ID)
    if return_type == OBJECT_REF:
        for row in found.objects:
            listed.object_ref(row.metadata.entry_uuid, row.metadata.home_community_id)
        for association in found.associations:
            listed.object_ref(association.metadata.entry_uuid)
        return listed.element()
    for own in found.sets:
        listed.submission_set(own.metadata, own.status)
    for folder in found.folders:
        listed.folder(folder.metadata, folder.status, folder.last_update_time)
    for entry in found.entries:
        listed.document_entry(entry.metadata)
    for association in found.associations:
        listed.association(association.metadata, association.status)
    return listed.element()


def response(listed: etree._Element | None, problems: Sequence[RegistryError] = ()) -> etree._Element:
    """A ``query:AdhocQueryResponse``; the list is there in a failure too, and empty then."""
    answer = etree.Element(
        tag(QUERY, "AdhocQueryResponse"), {"status": errors.status_of(problems).value}, nsmap={"query": QUERY}
    )
    if problems:
        answer.append(errors.error_list(problems))
    answer.append(encode.Objects().element() if listed is None else listed)
    return answer
