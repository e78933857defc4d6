"""Patient Master Identity Registry: Mobile Patient Identity Feed [ITI-93], ``POST [base]/$process-message``.

A message holds a MessageHeader and a history Bundle of Patients; it is done whole or not at all. Which record of the
sender a Patient is, its identifier in a domain of the sender says.

Source: IHE PMIR 1.5.1, 2:3.93; spec/fhir.md 2.5.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

from hie.audit.kinds import EventType
from hie.exchange import feed
from hie.exchange.errors import AuthorityNotOwned
from hie.faces.fhir.errors import FhirSyntax, InvalidResource, MethodNotAllowed, ProfileViolation
from hie.faces.fhir.http import Answer, FhirRequest, base_url
from hie.faces.fhir.people_codec import demographics_from
from hie.faces.fhir.resources import Interaction, OperationDefinition
from hie.standards.demographics import Demographics, authority_of
from hie.standards.errors import MalformedContent
from hie.standards.facts import Caller
from hie.standards.fhir import JsonObject, Problem, instant_text

EVENT = "urn:ihe:iti:pmir:2019:patient-feed"
RESPONSE_EVENT = "urn:ihe:iti:pmir:2019:patient-feed-response"
DEFINITION = "https://profiles.ihe.net/ITI/PMIR/MessageDefinition/IHE.PMIR.MessageDefinition"
MAX_ENTRIES = 1000

Named = tuple[str, str]


def process_message(request: FhirRequest) -> Answer:
    """Take a feed message; the answer is a message of one MessageHeader."""
    body = request.resource_body
    problems = request.problems()
    if problems:
        raise InvalidResource(problems)
    header, entries = _parts(body)
    reader = _Reader(entries, request.caller)
    changes = reader.changes()
    if changes:
        feed.apply(changes, request.caller, raw=request.raw, source="fhir", kind=EventType.PATIENT_FEED_PMIR)
    return Answer(resource=_response(request, header))


def _parts(body: JsonObject) -> tuple[JsonObject, list[JsonObject]]:
    """MessageHeader and history entries.

    Raises:
        ProfileViolation: everything that is not as the profile has it.
    """
    problems: list[Problem] = []

    def need(holds: bool, expression: str, message: str, code: str = "value") -> None:
        if not holds:
            problems.append(Problem(expression=expression, message=message, code=code))

    outer = [entry if isinstance(entry, dict) else {} for entry in body.get("entry", ())]
    need(body.get("type") == "message", "Bundle.type", "a message is expected")
    need(len(outer) == 2, "Bundle.entry", "exactly two entries: MessageHeader and history", "invariant")
    if problems:
        raise ProfileViolation(problems)
    header, history = (entry.get("resource") or {} for entry in outer)
    for index, entry in enumerate(outer):
        need(bool(entry.get("fullUrl")), f"Bundle.entry[{index}].fullUrl", "fullUrl is needed", "required")
    head = "Bundle.entry[0].resource"
    need(header.get("resourceType") == "MessageHeader", head, "a MessageHeader is expected first")
    need(header.get("eventUri") == EVENT, f"{head}.eventUri", f"the event is {EVENT}")
    need(bool((header.get("source") or {}).get("endpoint")), f"{head}.source.endpoint", "is needed", "required")
    need(bool(header.get("destination")), f"{head}.destination", "at least one is needed", "required")
    need(bool(header.get("id")), f"{head}.id", "is needed for the answer", "required")
    focus = [item.get("reference") for item in header.get("focus", ())]
    whole = outer[1].get("fullUrl")
    relative = f"Bundle/{history.get('id')}"
    need(
        len(focus) == 1 and focus[0] in (whole, relative),
        f"{head}.focus",
        "the focus is the history Bundle",
        "invariant",
    )
    inner = "Bundle.entry[1].resource"
    need(history.get("resourceType") == "Bundle", inner, "a Bundle is expected second")
    need(history.get("type") == "history", f"{inner}.type", "a history is expected")
    entries = list(history.get("entry", ()))
    need(len(entries) <= MAX_ENTRIES, f"{inner}.entry", f"at most {MAX_ENTRIES} entries", "too-long")
    for index, entry in enumerate(entries[:MAX_ENTRIES]):
        where = f"{inner}.entry[{index}]"
        asked = entry.get("request") or {}
        method = asked.get("method")
        need(method in ("POST", "PUT", "DELETE"), f"{where}.request.method", "POST, PUT or DELETE")
        need(bool(asked.get("url")), f"{where}.request.url", "is needed", "required")
        need(bool((entry.get("response") or {}).get("status")), f"{where}.response.status", "is needed", "required")
        resource = entry.get("resource") or {}
        if method in ("POST", "PUT"):
            need(resource.get("resourceType") == "Patient", f"{where}.resource", "a Patient is expected", "required")
    if problems:
        raise ProfileViolation(problems)
    return header, entries


class _Reader:
    """The entries of one message as changes; every problem found is told at once."""

    def __init__(self, entries: list[JsonObject], caller: Caller) -> None:
        self._entries, self._caller = entries, caller
        self._problems: list[Problem] = []
        self._names: dict[str, Named] = {}

    def changes(self) -> list[feed.Change]:
        """In the order of the message, but survivors before those they replace.

        Raises:
            ProfileViolation: with every problem. MethodNotAllowed: an entry takes a merge back.
            AuthorityNotOwned: a Patient of which the sender issues no identifier.
        """
        read: list[tuple[int, JsonObject, Demographics, Named | None]] = []
        for index, entry in enumerate(self._entries):
            resource = entry.get("resource")
            demographics = self._demographics(index, resource) if isinstance(resource, dict) else Demographics()
            named = self._named(demographics)
            if named is not None:
                for key in (entry.get("fullUrl"), f"Patient/{(resource or {}).get('id')}"):
                    if key:
                        self._names[str(key)] = named
            read.append((index, entry, demographics, named))
        first: list[feed.Change] = []
        later: list[feed.Change] = []
        for index, entry, demographics, named in read:
            change = self._change(index, entry, demographics, named)
            if change is not None:
                (later if isinstance(change, (feed.Duplicate, feed.Removal)) else first).append(change)
        if self._problems:
            raise ProfileViolation(self._problems)
        return [*first, *later]

    def _change(
        self, index: int, entry: JsonObject, demographics: Demographics, named: Named | None
    ) -> feed.Change | None:
        where, method = _where(index), entry["request"]["method"]
        if method == "DELETE":
            found = named or self._by_url(str(entry["request"]["url"]))
            if found is None:
                self._problem(f"{where}.request.url", "names no record of the sender", "not-found")
                return None
            return feed.Removal(authority=found[0], value=found[1], element=f"{where}.request.url")
        resource: JsonObject = entry["resource"]
        for element in ("modifierExtension", "implicitRules"):
            if element in resource:
                self._problem(f"{where}.resource.{element}", "not understood here, and may not be ignored", "invariant")
        if named is None:
            if demographics.identifiers:
                systems = next((item.authority for item in demographics.identifiers), "")
                raise AuthorityNotOwned(systems, element=f"{where}.resource.identifier")
            self._problem(f"{where}.resource.identifier", "at least one with system and value", "required")
            return None
        links = [link for link in resource.get("link", ()) if link.get("type") == "replaced-by"]
        if links:
            return self._merge(index, resource, links, named)
        if feed.replaced(*named, self._caller) and resource.get("active") is not False:
            raise MethodNotAllowed(f"a merge is not taken back by a message ({where})", allow=())
        if not demographics.names:
            self._problem(f"{where}.resource.name", "at least one is needed", "required")
        return feed.Revision(
            authority=named[0], value=named[1], demographics=demographics, element=f"{where}.resource.identifier"
        )

    def _merge(self, index: int, resource: JsonObject, links: list[Any], named: Named) -> feed.Change | None:
        where = f"{_where(index)}.resource"
        if resource.get("active") is not False:
            self._problem(f"{where}.active", "a replaced record has active=false", "invariant")
        if len(links) > 1 or len(resource.get("link", ())) > 1:
            self._problem(f"{where}.link", "exactly one link, replaced-by", "invariant")
        other = links[0].get("other") or {}
        identifier, reference = other.get("identifier") or {}, str(other.get("reference", ""))
        survivor: Named | None = None
        if identifier.get("system") and identifier.get("value"):
            survivor = (authority_of(identifier["system"]), identifier["value"])
        elif reference:
            survivor = self._names.get(reference) or self._by_url(reference)
        if survivor is None:
            self._problem(f"{where}.link[0].other", "names no record of the sender", "not-found")
            return None
        return feed.Duplicate(survivor=survivor, subsumed=named, element=f"{where}.link[0].other")

    def _demographics(self, index: int, resource: JsonObject) -> Demographics:
        try:
            return demographics_from(resource)
        except MalformedContent as problem:
            element = (problem.element or "Patient").removeprefix("Patient")
            self._problem(f"{_where(index)}.resource{element}", str(problem), "structure")
            return Demographics()

    def _named(self, demographics: Demographics) -> Named | None:
        """The first identifier in a domain of the sender."""
        for item in demographics.identifiers:
            if item.system and item.value and feed.owned(item.system, self._caller):
                return item.authority, item.value
        return None

    def _by_url(self, url: str) -> Named | None:
        """``Patient?identifier=system|value`` of a domain of the sender, or ``Patient/{id}`` of this hub."""
        path, _, query = url.removeprefix(f"{base_url()}/").partition("?")
        if query and path == "Patient":
            given = parse_qsl(query)
            system, bar, value = (
                given[0][1].rpartition("|") if len(given) == 1 and given[0][0] == "identifier" else ("", "", "")
            )
            return (authority_of(system), value) if bar and system and value else None
        return feed.own_record(path.removeprefix("Patient/"), self._caller) if path.startswith("Patient/") else None

    def _problem(self, expression: str, message: str, code: str) -> None:
        self._problems.append(Problem(expression=expression, message=message, code=code))


def _where(index: int) -> str:
    return f"Bundle.entry[1].resource.entry[{index}]"


def _response(request: FhirRequest, header: JsonObject) -> JsonObject:
    if not isinstance(header.get("id"), str):
        raise FhirSyntax("an id is needed", element="Bundle.entry[0].resource.id")
    answer = str(uuid4())
    return {
        "resourceType": "Bundle",
        "id": str(uuid4()),
        "type": "message",
        "timestamp": instant_text(request.now),
        "entry": [
            {
                "fullUrl": f"urn:uuid:{answer}",
                "resource": {
                    "resourceType": "MessageHeader",
                    "id": answer,
                    "eventUri": RESPONSE_EVENT,
                    "source": {"endpoint": f"{base_url()}/$process-message"},
                    "response": {"identifier": header["id"], "code": "ok"},
                    "definition": f"{DEFINITION}.Response",
                },
            }
        ],
    }


PROCESS_MESSAGE = OperationDefinition(
    name="process-message",
    definition="http://hl7.org/fhir/OperationDefinition/MessageHeader-process-message",
    interaction=Interaction(
        handler=process_message,
        verb="",
        transactions=("ITI-93",),
        body="json",
        lenient=True,
        documentation="Mobile Patient Identity Feed [ITI-93]",
    ),
)
