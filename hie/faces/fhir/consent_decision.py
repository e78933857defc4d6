"""``POST Consent/$consent-decision``: what a requester would be told about a patient's documents, and why.

In: Parameters of ``patient`` (valueReference or valueIdentifier), ``requester`` with the parts ``organization``
(valueReference or valueIdentifier), ``user`` (valueReference), ``role``, ``relationship``, ``careTeam``; ``purpose``,
``operation`` (retrieve where it is not given), ``document`` (valueReference, or resource: a DocumentReference; with
``labelled`` as a part where its labels are not to be relied on), ``now`` (a simulation). Of the requester, what is left out is as
the token says. Out: Parameters of ``decision``, ``id`` (of the record), ``now``, ``mode``, and a ``document`` for each that may be told.

Source: spec/consent.md 14.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from documents import facts as facts_of_entries
from hie.exchange import access, decisions, labels
from hie.exchange.decisions import Answer, OrganizationNamed, Question, StatedDocument, Told
from hie.exchange.named_patients import PatientNamed
from hie.faces.fhir import said
from hie.faces.fhir.errors import FhirSyntax, InvalidResource, ProfileViolation
from hie.faces.fhir.http import Answer as HttpAnswer
from hie.faces.fhir.http import FhirRequest
from hie.faces.fhir.references import local_id
from hie.faces.fhir.remote import MIME_CLASS, NO_LABELS, RANK, RESOURCE_TYPES
from hie.faces.fhir.resources import Interaction, OperationDefinition
from hie.standards import fhir, naming
from hie.standards.facts import CodedContent, DocumentFacts, Operation, Perhaps
from hie.standards.fhir import JsonObject, Problem, instant_text
from hie.trust.extensions import PURPOSE_SYSTEMS
from patients.normalise import storable

OBLIGATIONS = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
MAX_BODY = 1 << 20
_ROOT = "Parameters.parameter"
_ONCE = ("patient", "requester", "purpose", "operation", "now")
_MANY = ("document",)
_PARTS = ("organization", "user", "role", "relationship", "careTeam")
_TEXTS = ("valueCode", "valueString", "valueUri", "valueId")
_LONGEST = 1000
_MAX_SOURCES = 50
_DEPTH = 1


def decide(request: FhirRequest) -> HttpAnswer:
    """Decide, and tell what the caller may know."""
    question = _question(request)
    return HttpAnswer(resource=_parameters(decisions.decide(question, caller=request.caller), request.base))


# --- reading ----------------------------------------------------------------------------------------------------------


class _Parameter:
    """One parameter or part, with where it stands."""

    def __init__(self, given: JsonObject, where: str) -> None:
        self.given = given
        self.where = where

    @property
    def name(self) -> str:
        return str(self.given["name"])

    def refuse(self, message: str, member: str = "") -> FhirSyntax:
        return FhirSyntax(message, element=f"{self.where}.{member}" if member else self.where)

    def only(self, *members: str) -> str:
        """The one member besides the name, which must be one of these.

        Raises:
            FhirSyntax: none, another, or several.
        """
        held = [key for key in self.given if key != "name"]
        if len(held) != 1 or held[0] not in members:
            raise self.refuse(f"{self.name} has one of: {' '.join(members)}")
        return held[0]

    def text(self, systems: Collection[str] | None = ("",)) -> str:
        """A code or text, not empty; of one of these systems where it has one (None: of any)."""
        member = self.only(*_TEXTS, "valueCoding", "valueCodeableConcept")
        value = self.given[member]
        if member == "valueCodeableConcept":
            listed = value.get("coding") if isinstance(value, dict) else None
            value = listed[0] if isinstance(listed, list) and len(listed) == 1 else None
            member = "valueCoding"
        if member == "valueCoding":
            system = value.get("system", "") if isinstance(value, dict) else ""
            if systems is not None and (not isinstance(system, str) or system not in systems):
                raise self.refuse(f"{self.name} is of an unknown code system", member)
            value = value.get("code") if isinstance(value, dict) else None
        if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST:
            raise self.refuse(f"{self.name} is a code of at most {_LONGEST} characters", member)
        return self.readable(value.strip(), member)

    def readable(self, text: str, member: str) -> str:
        """The text; half of a surrogate pair and NUL are JSON, and no text.

        Raises:
            FhirSyntax: no text.
        """
        if not storable(text):
            raise self.refuse("is no text", member)
        return text

    def reference(self, member: str = "valueReference") -> tuple[str, tuple[str, str] | None]:
        """The literal reference and the identifier of a Reference; at least one of them."""
        value = self.given[member]
        value = value if isinstance(value, dict) else {}
        literal = value.get("reference", "")
        if not isinstance(literal, str) or len(literal) > _LONGEST:
            raise self.refuse("a reference is a text", f"{member}.reference")
        identifier = self.identifier(value["identifier"], f"{member}.identifier") if "identifier" in value else None
        if not literal and identifier is None:
            raise self.refuse(f"{self.name} has a reference or an identifier", member)
        return self.readable(literal, f"{member}.reference"), identifier

    def identifier(self, value: Any, member: str) -> tuple[str, str]:
        """System and value of an Identifier."""
        found = value if isinstance(value, dict) else {}
        system, text = found.get("system", ""), found.get("value", "")
        fits = all(isinstance(one, str) and len(one) <= _LONGEST for one in (system, text))
        if not fits or not str(text).strip():
            raise self.refuse("an identifier has a system and a value", member)
        return self.readable(system, f"{member}.system"), self.readable(text, f"{member}.value")


def _listed(value: Any, where: str) -> list[_Parameter]:
    if not isinstance(value, list) or not value:
        raise FhirSyntax("is a list of parameters", element=where)
    found = []
    for n, one in enumerate(value):
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise FhirSyntax("a parameter is an object with a name", element=f"{where}[{n}].name")
        found.append(_Parameter(one, f"{where}[{n}]"))
    return found


def _named(given: Iterable[_Parameter], once: Iterable[str], many: Iterable[str]) -> dict[str, list[_Parameter]]:
    found: dict[str, list[_Parameter]] = {}
    for one in given:
        if one.name not in (*once, *many):
            raise one.refuse("no such parameter of $consent-decision", "name")
        if one.name in found and one.name not in many:
            raise one.refuse(f"{one.name} is given twice", "name")
        found.setdefault(one.name, []).append(one)
    return found


def _question(request: FhirRequest) -> Question:
    body = request.resource_body
    if body.get("resourceType") != "Parameters":
        raise FhirSyntax("Parameters are expected here", element="resourceType")
    given = _named(_listed(body.get("parameter"), _ROOT), _ONCE, _MANY)
    if "patient" not in given:
        problem = Problem(expression=_ROOT, message="patient is needed", code="required")
        raise ProfileViolation([problem])
    listed = given.get("document", [])
    if len(listed) > decisions.MAX_DOCUMENTS:
        raise listed[decisions.MAX_DOCUMENTS].refuse(f"at most {decisions.MAX_DOCUMENTS} documents are decided at once")
    question = Question(
        patient=_patient(given["patient"][0], request.base),
        purpose=given["purpose"][0].text(PURPOSE_SYSTEMS) if "purpose" in given else None,
        operation=given["operation"][0].text() if "operation" in given else Operation.RETRIEVE.value,
        documents=tuple(_document(one, request.base) for one in listed),
        at=_now(given["now"][0]) if "now" in given else None,
        raw=request.raw.decode("utf-8", "replace"),
    )
    return _with_requester(question, given["requester"][0], request.base) if "requester" in given else question


def _with_requester(question: Question, given: _Parameter, base: str) -> Question:
    given.only("part")
    parts = _named(_listed(given.given["part"], f"{given.where}.part"), _PARTS[:-1], _PARTS[-1:])

    def one(name: str, read: Callable[[_Parameter], Any]) -> Any:
        return read(parts[name][0]) if name in parts else None

    return replace(
        question,
        organization=one("organization", lambda part: _organization(part, base)),
        user=one("user", lambda part: _user(part, base)),
        role=one("role", lambda part: part.text(None)),
        relationship=one("relationship", _Parameter.text),
        care_teams=tuple(_user(part, base) for part in parts.get("careTeam", ())),
    )


def _patient(given: _Parameter, base: str) -> tuple[PatientNamed, ...]:
    literal, identifier = _either(given)
    names = []
    if literal:
        logical = local_id(literal, "Patient", base)
        if logical is None:
            raise given.refuse("names a patient of this hub", "valueReference.reference")
        names.append(PatientNamed(id=logical))
    if identifier is not None:
        names.append(PatientNamed(system=identifier[0], value=identifier[1]))
    return tuple(names)


def _either(given: _Parameter) -> tuple[str, tuple[str, str] | None]:
    member = given.only("valueReference", "valueIdentifier")
    if member == "valueIdentifier":
        return "", given.identifier(given.given[member], member)
    return given.reference()


def _organization(given: _Parameter, base: str) -> OrganizationNamed:
    literal, identifier = _either(given)
    if not literal:
        system, value = identifier or ("", "")
        return OrganizationNamed(system=system, value=value)
    logical = local_id(literal, "Organization", base)
    if logical is None:
        raise given.refuse("names an organization of this hub", "valueReference.reference")
    return OrganizationNamed(id=logical)


def _user(given: _Parameter, base: str) -> str:
    """A reference to a user or care team, relative where it is to this hub."""
    if given.only("valueReference", *_TEXTS) != "valueReference":
        return given.text()
    literal, _ = given.reference()
    if not literal:
        raise given.refuse(f"{given.name} has a reference", "valueReference.reference")
    return literal.removeprefix(f"{base}/")


def _now(given: _Parameter) -> datetime:
    member = given.only("valueInstant", "valueDateTime")
    text = given.given[member]
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) and "T" in text else None
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or not 1900 < found.year < 9000:
        raise given.refuse("now is an instant with its offset", member)
    return found.astimezone(UTC)


def _document(given: _Parameter, base: str) -> str | StatedDocument:
    held = {key for key in given.given if key != "name"}
    if held == {"valueReference"}:
        literal, _ = given.reference()
        logical = local_id(literal, "DocumentReference", base)
        if logical is None:
            raise given.refuse("names a DocumentReference of this hub", "valueReference.reference")
        return logical
    if held == {"resource"}:
        return _stated(given, given.given["resource"], None, base)
    if held == {"part"}:
        parts = _named(_listed(given.given["part"], f"{given.where}.part"), ("metadata", "labelled"), ())
        if "metadata" in parts:
            parts["metadata"][0].only("resource")
            labelled = None
            if "labelled" in parts:
                parts["labelled"][0].only("valueBoolean")
                labelled = parts["labelled"][0].given["valueBoolean"]
                if not isinstance(labelled, bool):
                    raise parts["labelled"][0].refuse("labelled is true or false", "valueBoolean")
            return _stated(parts["metadata"][0], parts["metadata"][0].given["resource"], labelled, base)
    raise given.refuse("a document is a valueReference, a resource, or the parts metadata and labelled")


def _stated(given: _Parameter, resource: Any, labelled: bool | None, base: str) -> StatedDocument:
    if not isinstance(resource, dict) or resource.get("resourceType") != "DocumentReference":
        raise given.refuse("a DocumentReference is expected here", "resource.resourceType")
    try:
        raw = fhir.dumps(resource)
    except TypeError as error:  # half of a surrogate pair is JSON, and no text
        raise given.refuse("a text is not Unicode", "resource") from error
    if b"\\u0000" in raw:
        raise given.refuse("a text has NUL in it", "resource")
    problems = fhir.check(raw, resource)
    if problems:
        raise InvalidResource(
            [replace(one, expression=f"{given.where}.resource: {one.expression}") for one in problems]
        )
    for element in ("modifierExtension", "implicitRules"):
        if element in resource:
            raise given.refuse(f"{element} is not understood here, and may not be ignored", f"resource.{element}")
    return _described(given, resource, labelled, base)


def _subject(given: _Parameter, resource: Mapping[str, Any], base: str) -> tuple[PatientNamed, ...]:
    subject = resource.get("subject") or {}
    names = []
    logical = local_id(str(subject.get("reference", "")), "Patient", base)
    if logical is not None:
        names.append(PatientNamed(id=logical))
    identifier = subject.get("identifier") or {}
    if identifier.get("value"):
        names.append(PatientNamed(system=str(identifier.get("system", "")), value=identifier["value"]))
    if subject.get("reference") and logical is None:
        raise given.refuse("names a patient of this hub", "resource.subject.reference")
    return tuple(names)


def _described(
    given: _Parameter, resource: Mapping[str, Any], labelled: bool | None, base: str, depth: int = 0
) -> StatedDocument:
    """What the metadata says, labelled from it by the rules in force.

    Labels that are stated are relied on unless it says otherwise; without any, or with one that is not known, the
    document counts as not labelled.
    """
    tables = access.label_tables()
    codings = {kind: [(system, code) for system, code in found] for kind, found in said.codings(resource).items()}
    security = codings.get("security", [])
    every = frozenset(f"{system}|{code}" for listed in codings.values() for system, code in listed)
    found = labels.of(every, security, CodedContent(), tables)
    attachment = (resource.get("content") or [{}])[0].get("attachment") or {}
    context = resource.get("context") or {}
    period = context.get("period") or {}
    names = said.authors(resource)
    classes = facts_of_entries.spelled(codings.get("class", ())) | {f"{RESOURCE_TYPES}|DocumentReference"}
    if attachment.get("contentType"):
        classes |= {f"{MIME_CLASS}|{attachment['contentType'].split(';')[0].strip().lower()}"}
    known = {code for _, code in security if code not in RANK} <= tables.tables.known_labels | NO_LABELS
    related, derived = _relations(given, resource, labelled, base, depth)
    encounter = next((one.get("reference", "") for one in context.get("encounter") or ()), "")
    facts = DocumentFacts(
        id=_name_of(resource),
        patient="",
        custodian=_custodian(resource, base),
        authors=names.ordered,
        classes=classes,
        codes=facts_of_entries.spelled(codings.get("clinical", ())),
        confidentiality=found.confidentiality,
        labels=found.labels,
        labelled=known and (bool(security) if labelled is None else labelled),
        service_start=period.get("start"),
        service_stop=period.get("end"),
        created=attachment.get("creation") or resource.get("date"),
        encounter=encounter or None,
        related=tuple(sorted(related)),
        depends_on=tuple(sorted(related)),
        perhaps=Perhaps(
            authors=names.perhaps | names.sure,
            related=frozenset(naming.bare(one) for one in (*said.belongs_to(resource), *related)),
        ),
    )
    return StatedDocument(facts=facts, subject=_subject(given, resource, base), sources=tuple(derived))


def _relations(
    given: _Parameter, resource: Mapping[str, Any], labelled: bool | None, base: str, depth: int
) -> tuple[list[str], list[StatedDocument]]:
    """What it is related to, and what it was made from: contained, or else nothing known of it."""
    contained = {f"#{one.get('id')}": one for one in resource.get("contained", ()) if isinstance(one, dict)}
    related: list[str] = []
    derived: list[StatedDocument] = []
    if len(resource.get("relatesTo") or ()) > _MAX_SOURCES:
        raise given.refuse(f"at most {_MAX_SOURCES} relations are looked at", "resource.relatesTo")
    for item in resource.get("relatesTo") or ():
        reference = str((item.get("target") or {}).get("reference", ""))
        related.append(reference)
        if item.get("code") != "transforms":
            continue
        source = contained.get(reference)
        if source is not None and source.get("resourceType") == "DocumentReference" and depth < _DEPTH:
            inner = {**source, "contained": resource.get("contained", [])}
            derived.append(_described(given, inner, labelled, base, depth + 1))
        else:
            derived.append(_unknown(reference, _custodian(resource, base)))
    return related, derived


def _unknown(reference: str, custodian: str) -> StatedDocument:
    """A source of which nothing is known: as closed as anything may be."""
    facts = DocumentFacts(id=reference, patient="", custodian=custodian, confidentiality="V", labelled=False)
    return StatedDocument(facts=facts)


def _name_of(resource: Mapping[str, Any]) -> str:
    """What the asker calls the document: its id, or its uniqueId."""
    return str(resource.get("id") or (resource.get("masterIdentifier") or {}).get("value") or "")


def _custodian(resource: Mapping[str, Any], base: str) -> str:
    """The participant that answers for it; one that is not known here stays unknown, and is refused (G3)."""
    custodian = resource.get("custodian") or {}
    logical = local_id(str(custodian.get("reference", "")), "Organization", base)
    if logical is not None:
        return logical
    identifier = custodian.get("identifier") or {}
    return decisions.organization_id(
        OrganizationNamed(system=str(identifier.get("system", "")), value=str(identifier.get("value", "")))
    )


# --- telling ----------------------------------------------------------------------------------------------------------


def _parameters(answer: Answer, base: str) -> JsonObject:
    listed: list[JsonObject] = [
        {"name": "decision", "valueCode": answer.decision},
        {"name": "id", "valueString": answer.id},
        {"name": "now", "valueInstant": instant_text(answer.at)},
        {"name": "mode", "valueCode": "simulate" if answer.simulated else "decide"},
    ]
    listed += [{"name": "document", "part": _parts(one)} for one in answer.documents]
    return {"resourceType": "Parameters", "parameter": listed}


def _parts(one: Told) -> list[JsonObject]:
    parts: list[JsonObject] = []
    if one.document_id:
        # What was stated is called as the asker called it; a reference here would name something of this hub.
        stated = {"name": "id", "valueString": one.document_id}
        entry = {"name": "reference", "valueReference": {"reference": f"DocumentReference/{one.document_id}"}}
        parts.append(stated if one.stated else entry)
    parts += [
        {"name": "decision", "valueCode": one.decision.outcome},
        {"name": "rule", "valueCode": one.decision.rule},
        {"name": "reason", "valueCode": one.decision.reason},
    ]
    parts += [{"name": "obligations", "valueCode": code} for code in one.decision.obligations]
    for item in decisions.basis_of(one.decision):
        parts.append({"name": "basis", "part": [{"name": name, "valueString": value} for name, value in item.items()]})
    return parts


OPERATION = OperationDefinition(
    name="consent-decision",
    interaction=Interaction(
        handler=decide,
        verb="r",
        transactions=("ITI-108",),
        body="json",
        lenient=True,
        max_body=MAX_BODY,
        documentation="what a requester would be told about a patient's documents, for whoever may know that",
    ),
    definition="urn:hie:fhir:OperationDefinition:consent-decision",
)
