"""Decisions asked for by others: what would a requester be told about a patient's documents, and who may know that.

A decision is told to the custodian (about its own documents), to the patient (about what the patient may see), to a hub
privacy officer, and to an enforcement point named in its agreement (`decision_point`). Anybody else may ask about
itself alone, and hears of what it may see. Of everything else each hears exactly what he hears of a thing that does
not exist: `NotFound`, in the same words, counted alike, or not listed among the rest.

Source: spec/consent.md 13, 14 "Decision interfaces", 6 "How a deny looks".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from consent import explain
from consent.explain import Audience
from documents import queries as registry
from hie.audit import recorder
from hie.audit.recorder import EventType
from hie.directory import queries as directory
from hie.exchange import access, release
from hie.exchange.access import PRIVACY_OFFICER, Row, Subject, Verdict, World
from hie.exchange.decision_record import Decided
from hie.exchange.errors import BadRequest, NotFound
from hie.exchange.named_patients import PatientNamed, persons_named
from hie.standards.facts import BasisItem, Caller, Decision, DocumentFacts, Operation, RequestFacts
from hie.standards.values import quick
from hie.trust import limits
from hie.trust.extensions import RELATIONSHIPS

__all__ = [
    "MAX_DOCUMENTS",
    "Answer",
    "OrganizationNamed",
    "Question",
    "StatedDocument",
    "Told",
    "TooManyDocuments",
    "decide",
    "organization_id",
    "sentence",
]

MAX_DOCUMENTS = 500
"""So many documents are decided at once; a question that means more is refused."""

_ABSENT = "no such patient or document"
_FOR_THE_PATIENT = ("patient", "proxy")
_OWN_READS = (Operation.QUERY.value, Operation.RETRIEVE.value)


class TooManyDocuments(BadRequest):
    """More documents are meant, and may be told of, than are decided at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationNamed:
    """An organization by the id of this hub, or by an identifier (`system` a URI or OID; with none, an OID or an id)."""

    id: str = ""
    system: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedDocument:
    """A document by its metadata, as an enforcement point holds it; the hub need not know it.

    `facts` are about the patient of the question when `subject` is () or names that patient. `sources` are what it
    was derived from, each with its own subject.
    """

    facts: DocumentFacts
    subject: tuple[PatientNamed, ...] = ()
    sources: tuple[StatedDocument, ...] = ()


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked. `patient`: every name given, all of one person.

    Of the requester, what is None is as the caller says of itself. `documents` are ids of this hub or stated ones; without any, all of the
    patient's are meant, or those with one of `classes` (``system|code``). `at` makes it a simulation.
    `of_a_kind`: with nothing of the kind on file, a normal document of the caller's own is decided instead.
    """

    patient: tuple[PatientNamed, ...]
    organization: OrganizationNamed | None = None
    user: str | None = None
    role: str | None = None
    purpose: str | None = None
    operation: str = Operation.RETRIEVE.value
    relationship: str | None = None
    care_teams: tuple[str, ...] = ()
    documents: tuple[str | StatedDocument, ...] = ()
    classes: frozenset[str] = frozenset()
    at: datetime | None = None
    of_a_kind: bool = False
    raw: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One document as it may be told; `document_id` "" is whatever the asker holds of the kind asked about."""

    document_id: str
    decision: Decision
    letter: str
    labels: frozenset[str]
    classes: frozenset[str]
    custodian: str
    stated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The decision of a set (``permit``, ``deny``, ``partial``) with each of its documents, in the order asked.

    `rule` is that of the set: of the documents that give it, the first. `id` is that of the record. `audience`: in whose
    words it is said. `organization`, `purpose`: who was asked about, and what for.
    """

    id: str
    at: datetime
    simulated: bool
    person_id: str
    documents: tuple[Told, ...]
    audience: Audience
    organization: str
    purpose: str

    @property
    def decision(self) -> str:
        """``permit``, ``deny`` or ``partial``."""
        found = {one.decision.outcome for one in self.documents}
        return "partial" if len(found) > 1 else next(iter(found))


@dataclass(frozen=True, slots=True)
class _Stated:
    """A row for what is no entry of this hub."""

    given: DocumentFacts

    def facts(self, person_id: str, identifier_pks: Collection[int] | None = None) -> DocumentFacts:
        return self.given


@release.point
def decide(question: Question, *, caller: Caller) -> Answer:
    """Decide as the engine would for this requester, and tell what this caller may know of it; recorded.

    Raises:
        AccessRefused: what follows from the caller alone.
        NotFound: no such patient or document, or nothing of it to be told to this caller.
        TooManyDocuments: more than `MAX_DOCUMENTS` are meant.
        TooManyRequests: too many questions about what is not there for this caller.
    """
    simulated = question.at is not None
    kind = EventType.DECISION_SIMULATED if simulated else EventType.CONSENT_DECISION
    with recorder.recording(kind, caller, query=question.raw or None) as event:
        if not _is_officer(caller):
            access.gate(caller, Operation.QUERY)
        about = _about(question)
        if not about.is_nobody:
            # The root in the record is that of the organization asked about; the event is the caller's.
            root = directory.root_of(caller.organization_id)
            event.about(about.person_id, root_organization=root, detail={"mode": "simulate" if simulated else "decide"})
        # Of nobody too it is decided: what is hidden must not cost more than what is not there.
        answer, record = _answered(question, caller, about)
        if answer.documents and not about.is_nobody:
            first = answer.documents[0].decision
            event.about(about.person_id, rule=first.rule, reason=first.reason, decision=record)
            event.commit()
            return replace(answer, id=str(event.event_ids[0]))
        # Counted whether it is not there or not for this caller: the limit must not tell which.
        limits.guessing(caller, "decision")
        raise NotFound(_ABSENT)


def _about(question: Question) -> Subject:
    found = persons_named([[name] for name in question.patient]) if question.patient else set()
    return access.somebody(next(iter(found)) if len(found) == 1 else None)


def _answered(question: Question, caller: Caller, about: Subject) -> tuple[Answer, dict[str, Any]]:
    world = access.as_it_is(about)
    if question.at is not None:
        world = replace(world, at=question.at)
    requests = _requests(question, caller, about, world.at)
    told, verdict = _may_be_told(question, caller, about, world, requests)
    if (
        not told
        and question.of_a_kind
        and (own := _of_the_kind(caller, about, requests[0], question.classes)) is not None
    ):
        told = [own]
        verdict = access.answered(world, about, requests, told)
    if question.at is None:
        # By what is told alone: of what is not, nobody is to hear by how long an answer takes.
        release.rests_on(ends_s=access.ends_of(about, verdict, caller.organization_id))
    decision_on = _by_row(verdict)
    documents = tuple(_told(row, verdict, decision_on[id(row)]) for row in told)
    decided = [
        Decided(
            facts=verdict.facts[id(row)], version=getattr(row, "document_version", ""), decision=decision_on[id(row)]
        )
        for row in told
    ]
    record = access.decision_of(
        about,
        verdict,
        decided,
        mode="simulate" if question.at else "decide",
        stated=[n for n, row in enumerate(told) if isinstance(row, _Stated)],
    )
    answer = Answer(
        id="",
        at=world.at,
        simulated=question.at is not None,
        person_id=about.person_id,
        documents=documents,
        audience=_audience(caller, verdict, told),
        organization=requests[0].organization or "",
        purpose=requests[0].purpose or "",
    )
    return answer, record


def _may_be_told(
    question: Question, caller: Caller, about: Subject, world: World, requests: Sequence[RequestFacts]
) -> tuple[list[Row], Verdict[Row]]:
    """Of what is asked about, all that this caller may be told of, and what was decided on it.

    Raises:
        TooManyDocuments: more than are decided at once. Only what may be told is counted: the number tells nothing else.
    """
    told: list[Row] = []
    parts: list[Verdict[Row]] = []
    for rows in _pages(question, about):
        verdict = access.answered(world, about, requests, rows)
        decision_on = _by_row(verdict)
        may = _listener(question, caller, about, requests[0], verdict, rows)
        chosen = [row for row in rows if may(row, decision_on[id(row)])]
        told += chosen
        if len(told) > MAX_DOCUMENTS:
            raise TooManyDocuments(f"more than {MAX_DOCUMENTS} documents are meant: name those that are")
        parts.append(_only(verdict, {id(row) for row in chosen}))
    return told, parts[0] if len(parts) == 1 else _together(parts)


def _only(verdict: Verdict[Row], rows: Collection[int]) -> Verdict[Row]:
    """What was decided on some of the rows."""
    return replace(
        verdict,
        permitted=tuple(item for item in verdict.permitted if id(item[0]) in rows),
        denied=tuple(item for item in verdict.denied if id(item[0]) in rows),
        facts={key: facts for key, facts in verdict.facts.items() if key in rows},
    )


def _together(parts: Sequence[Verdict[Row]]) -> Verdict[Row]:
    """What was decided part by part, for the same request under the same policy."""
    return replace(
        parts[0],
        permitted=tuple(item for part in parts for item in part.permitted),
        denied=tuple(item for part in parts for item in part.denied),
        facts={key: facts for part in parts for key, facts in part.facts.items()},
        elapsed_us=sum(part.elapsed_us for part in parts),
    )


def _by_row(verdict: Verdict[Any]) -> dict[int, Decision]:
    return {id(row): decision for row, decision in (*verdict.permitted, *verdict.denied)}


def _told(row: Row, verdict: Verdict[Any], decision: Decision) -> Told:
    facts = verdict.facts[id(row)]
    letter, labels = access.effective(facts, verdict)
    return Told(
        document_id=facts.id,
        decision=decision,
        letter=letter,
        labels=labels,
        classes=facts.classes,
        custodian=facts.custodian,
        stated=isinstance(row, _Stated),
    )


# --- what is asked ----------------------------------------------------------------------------------------------------


def _requests(question: Question, caller: Caller, about: Subject, at: datetime) -> list[RequestFacts]:
    """The request in question: one, or one for each grant that its user holds."""
    itself = question.organization is None
    base = RequestFacts(
        organization=caller.organization_id
        if question.organization is None
        else organization_id(question.organization),
        user=caller.user_id if question.user is None else question.user,
        role=caller.role if question.role is None else question.role,
        purpose=caller.purpose if question.purpose is None else question.purpose,
        operation=question.operation,
        # Any text would count as one: only what a token may state is one.
        relationship=question.relationship
        if question.relationship in RELATIONSHIPS
        else caller.relationship
        if itself and question.relationship is None
        else None,
        care_teams=question.care_teams or (caller.care_teams if itself else ()),
    )
    return access.requests_of(base, about, at)


def organization_id(named: OrganizationNamed) -> str:
    """The participant's id; what is unknown stays as it was named, and is unknown to the engine as well."""
    held = directory.snapshot()
    if named.id:
        return named.id
    if not named.value:
        return ""
    bare = directory.bare_oid(named.value)
    if named.system in ("", "urn:ietf:rfc:3986") and bare in held.by_oid:
        return held.by_oid[bare]
    if not named.system and named.value in held.participants:
        return named.value
    wanted = f"{named.system}|{named.value}"
    return next((one.id for one in held.participants.values() if wanted in one.identifiers), f"?{wanted}")


def _pages(question: Question, about: Subject) -> Iterator[list[Row]]:
    """What is asked about: the documents named, else all of the patient's or all of the classes, part by part.

    All: a decision on some of a set, said of the whole, permits what nobody has looked at.
    """
    if question.documents:
        yield _named(question, about)
        return
    after = None
    while True:
        page = registry.entries(about.identifier_pks, limit=MAX_DOCUMENTS, after=after)
        yield [
            one
            for one in page
            if not question.classes or question.classes & one.facts(about.person_id, about.identifier_pks).classes
        ]
        if len(page) < MAX_DOCUMENTS:
            return
        after = page[-1].position


def _named(question: Question, about: Subject) -> list[Row]:
    mine = _Mine(about)
    named = [one for one in question.documents if isinstance(one, str)]
    entries = registry.entries_by_uuid(named) if named else {}
    found: list[Row] = []
    seen: set[str] = set()
    for one in question.documents:
        if isinstance(one, StatedDocument):
            found.append(_Stated(_stated(one, mine)))
            continue
        key = registry.as_uuid(one)
        row = entries.get(f"urn:uuid:{key}") if key is not None else None
        if row is not None and row.entry_uuid not in seen:
            seen.add(row.entry_uuid)
            found.append(row)
    return found


class _Mine:
    """Whether a subject is the patient of the question: each looked up once, whatever the number of documents."""

    def __init__(self, about: Subject) -> None:
        self.about = about
        self._known: dict[PatientNamed, bool] = {}

    def is_named(self, subject: Sequence[PatientNamed]) -> bool:
        """Whether every name is one of the patient; without any the patient is meant."""
        for name in subject:
            if name not in self._known:
                self._known[name] = persons_named([[name]]) == {UUID(self.about.person_id)}
        return all(self._known[name] for name in subject)


def _stated(one: StatedDocument, mine: _Mine) -> DocumentFacts:
    patient = mine.about.person_id if mine.is_named(one.subject) else "another"
    return replace(
        one.facts,
        patient=patient,
        derived_from=tuple(
            _stated(source, mine)
            for source in (*one.sources, *(StatedDocument(facts=facts) for facts in one.facts.derived_from))
        ),
    )


def _of_the_kind(caller: Caller, about: Subject, request: RequestFacts, classes: frozenset[str]) -> _Stated | None:
    """What an enforcement point, or a holder of the patient's record, may hold of the kind asked about.

    Nothing where it asks about its own house: with that every one of its own documents would count as permitted (C1).
    """
    if caller.role in _FOR_THE_PATIENT or not (_is_point(caller) or _holds(caller, about)):
        return None
    if request.organization in directory.same_organization(caller.organization_id):
        return None
    return _Stated(
        DocumentFacts(
            id="",
            patient=about.person_id,
            custodian=caller.organization_id,
            classes=classes,
            confidentiality="N",
        )
    )


# --- who may know -----------------------------------------------------------------------------------------------------


def _listener(
    question: Question,
    caller: Caller,
    about: Subject,
    request: RequestFacts,
    verdict: Verdict[Row],
    rows: Sequence[Row],
) -> Callable[[Row, Decision], bool]:
    """Whether this caller may be told of a row what was decided on it."""
    if _is_officer(caller) or _is_point(caller):
        return lambda row, decision: True
    if caller.role in _FOR_THE_PATIENT:
        # Never as the house whose portal he uses: of what it holds he hears what he may see himself.
        entries = [row for row in rows if not isinstance(row, _Stated)]
        seen = {id(row) for row in access.permitted(caller, about, entries, Operation.QUERY).rows()}
        return lambda row, decision: id(row) in seen
    house = frozenset(directory.same_organization(caller.organization_id))
    holds = _holds(caller, about)
    itself = (
        request.organization == caller.organization_id
        and (request.user, request.role, request.purpose) == (caller.user_id, caller.role, caller.purpose)
        and request.relationship in (None, caller.relationship)
        and set(request.care_teams) <= set(caller.care_teams)
        and request.operation in _OWN_READS
        and question.at is None
    )

    def may(row: Row, decision: Decision) -> bool:
        stated = isinstance(row, _Stated)
        if verdict.facts[id(row)].custodian in house:
            return holds or not stated
        return itself and decision.permitted and not stated

    return may


def _audience(caller: Caller, verdict: Verdict[Row], told: Sequence[Row]) -> Audience:
    """In whose words an answer is said: whoever is told of denials too reads which rule it was, anybody else never."""
    if caller.role == "patient":
        return Audience.PATIENT
    house = frozenset(directory.same_organization(caller.organization_id))
    of_the_house = all(verdict.facts[id(row)].custodian in house for row in told)
    if caller.role != "proxy" and (_is_officer(caller) or _is_point(caller) or of_the_house):
        return Audience.ADMINISTRATOR
    return Audience.PARTICIPANT


def sentence(answer: Answer, one: Told) -> str:
    """What was decided on one document, in the words of whoever asked."""
    name = _name_of(answer.organization)
    holder = _name_of(one.custodian)
    parameters = {
        "o": holder if answer.audience is Audience.PATIENT and one.decision.rule in ("P1", "G3") else name,
        "o2": holder,
        "w": explain.purpose_words(answer.purpose),
    }
    return explain.sentence(one.decision, answer.audience, {key: value for key, value in parameters.items() if value})


def _name_of(participant_id: str) -> str:
    facts = directory.participant(participant_id)
    return facts.name if facts is not None and facts.name else ""


def _is_officer(caller: Caller) -> bool:
    return caller.participant_id == recorder.HUB and caller.role == PRIVACY_OFFICER


def _is_point(caller: Caller) -> bool:
    """Whether an enforcement point asks: the system itself, none of the persons who sign in there."""
    agreement = directory.snapshot().agreement_of(caller.organization_id)
    itself = caller.user_id == f"Device/{caller.client_id}" and caller.role not in _FOR_THE_PATIENT
    return agreement is not None and agreement.decision_point and itself


def _holds(caller: Caller, about: Subject) -> bool:
    """Whether the caller's own house has a record of the patient."""
    house = directory.same_organization(caller.organization_id)
    return any(record.active and record.participant_id in house for record in about.records)


def redactions(documents: Iterable[Told]) -> list[tuple[str, str]]:
    """Codes (system, code) that take out of a set all that is denied, and nothing else where that can be said.

    Labels and classes of denied documents that no permitted one has; where a denied document has none of its own, its id.

    Source: spec/consent.md 14, "REDACT obligations listing label and class codes that are denied".
    """
    listed = list(documents)
    kept: set[tuple[str, str]] = set()
    for one in listed:
        if one.decision.permitted:
            kept |= _codes(one)
    found: set[tuple[str, str]] = set()
    for one in listed:
        if not one.decision.permitted:
            telling = _codes(one) - kept
            found |= telling or {("urn:ietf:rfc:3986", f"urn:uuid:{one.document_id}")}
    return sorted(found)


_ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def _codes(one: Told) -> set[tuple[str, str]]:
    found = {(_ACT_CODE, label) for label in one.labels}
    for coding in one.classes:
        system, _, code = coding.rpartition("|")
        found.add((system, code))
    return found


def basis_of(decision: Decision) -> list[Mapping[str, str]]:
    """What decided, as every face tells it: kind, id, version and path, without what is empty."""
    return [_item(one) for one in decision.basis]


def _item(one: BasisItem) -> Mapping[str, str]:
    told = {"kind": one.kind, "id": one.id, "version": one.version, "path": one.path}
    return {name: value for name, value in told.items() if value}
