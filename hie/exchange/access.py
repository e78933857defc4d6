"""The one door: everything readable leaves through here, and asks `consent.engine`.

Nothing else imports the engine or opens bytes. A use case goes in this order::

    with recorder.recording(EventType.X, caller, action="E", query=raw) as event:
        access.gate(caller, Operation.QUERY)                    # 403-class; before any record is looked up
        subject = access.subject(person_id)                     # consent read once
        verdict = access.permitted(caller, subject, rows, Operation.QUERY)
        access.record(event, caller, subject, verdict, what="metadata")
        event.commit()                                          # no row, no data
    return [row for row, _ in verdict.permitted]

What depends only on the caller raises `AccessRefused` (403). What depends on a
patient's or document's record is simply not in `Verdict.permitted`: hidden and
absent look the same from outside (spec/consent.md 6, "How a deny looks").

Every call reads policies and directives as they are at its own instant (spec/consent.md
1.5), and what was decided in a recording is a condition of its commit: where anything it
rests on has changed by then, nothing leaves and the use case, a `release.point`, runs again
(`hie.exchange.release`). Callers that hold a row longer ask `still_permitted` before they
release it.

The exchange's own staff come in by `access.administrative`, whose rules are in `hie.exchange.administrative`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from time import perf_counter_ns
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from consent import break_glass, directives, engine, kept, labelling, policies, proxies
from consent.drafts import Draft
from consent.engine.codes import PART2
from consent.engine.directive import Node
from documents import repository
from documents.repository import Content as Content
from hie.audit import recorder
from hie.directory import queries as directory
from hie.exchange import decision_record, release
from hie.exchange.administrative import COMMAND_LINE as COMMAND_LINE
from hie.exchange.administrative import PRIVACY_OFFICER as PRIVACY_OFFICER
from hie.exchange.administrative import STAFF_MAY as STAFF_MAY
from hie.exchange.administrative import Held as Held
from hie.exchange.administrative import Staff as Staff
from hie.exchange.administrative import StaffView as StaffView
from hie.exchange.administrative import administrative as administrative
from hie.exchange.administrative import administrative_decisions as administrative_decisions
from hie.exchange.administrative import may_see_decisions as may_see_decisions
from hie.exchange.administrative import staff_view as staff_view
from hie.exchange.decision_record import Decided, Looks
from hie.exchange.errors import AccessRefused, NotFound
from hie.standards.demographics import Demographics
from hie.standards.facts import (
    BasisItem,
    BreakGlassGrant,
    Caller,
    Decision,
    DocumentFacts,
    Operation,
    ProxyGrant,
    RequestFacts,
    SubjectFacts,
)
from patients import queries as index
from patients.demographics import ResolvedIdentifier, SourceRecordView

PATIENT_CLASS = "http://hl7.org/fhir/resource-types|Patient"
"""Class of the demographics pseudo-document (spec/consent.md 8)."""


class Row(Protocol):
    """Anything that stands for a document: it can say what policy needs to know of it."""

    def facts(self, person_id: str, identifier_pks: Collection[int] | None = None) -> DocumentFacts:
        """The document's facts: about this person, where what it hangs on is among the person's identifiers."""


NAMES_THE_PATIENT: Mapping[str, Any] = MappingProxyType({"names": "patient"})
"""Detail of an event that is the patient's whatever it found: the request itself named her."""

T = TypeVar("T")
R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A person with the records and directives that were in store when it was read."""

    facts: SubjectFacts
    identifier_pks: tuple[int, ...]
    policy: engine.PatientPolicy
    consent_epoch: int
    records: tuple[SourceRecordView, ...] = ()

    @property
    def person_id(self) -> str:
        """The person's id as text."""
        return self.facts.id

    @property
    def is_nobody(self) -> bool:
        """Whether this stands for no person (`nobody`)."""
        return self.facts is _NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Generic[T]):
    """What the door said about a set of rows, each decided by itself, in the order given."""

    permitted: tuple[tuple[T, Decision], ...] = ()
    denied: tuple[tuple[T, Decision], ...] = ()
    facts: dict[int, DocumentFacts] = field(default_factory=dict)
    considered: tuple[str, ...] = ()
    root_organization: str = ""
    requests: tuple[RequestFacts, ...] = ()
    policy: engine.Policy | None = None
    at: datetime | None = None
    elapsed_us: int = 0
    ends_s: float | None = None  # when something that it was decided by begins or ends by itself (`release.ends_in`)

    @property
    def emergency(self) -> BreakGlassGrant | None:
        """The emergency grant that the request was made with."""
        return next((one.break_glass for one in self.requests if one.break_glass is not None), None)

    def rows(self) -> list[T]:
        """The permitted rows."""
        return [row for row, _ in self.permitted]


@dataclass(frozen=True, slots=True, kw_only=True)
class PermittedPerson:
    """A person of whom at least one source may be shown, and the sources that may be."""

    person_id: UUID
    subject: Subject
    records: tuple[SourceRecordView, ...]
    verdict: Verdict[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How a row is called in the audit: what the patient will read in the log."""

    document_id: str
    unique_id: str = ""
    title: str = ""
    type_display: str = ""


@dataclass(frozen=True, slots=True)
class DemographicsRow:
    """The demographics pseudo-document of one source record (spec/consent.md 8); see `demographics_rows`."""

    record: SourceRecordView
    protected: frozenset[str] = frozenset()

    @property
    def document_version(self) -> str:
        """The version of the source record."""
        return str(self.record.version)

    def facts(self, person_id: str, identifier_pks: Collection[int] | None = None) -> DocumentFacts:
        """Class Patient, confidentiality N, label DEMO; V and VIP when the person is flagged, R for what else protects."""
        vip = not self.protected.isdisjoint(_FLAGS)
        letter = "V" if vip else labelling.highest(["N", *("R" if c not in engine.RANK else c for c in self.protected)])
        return DocumentFacts(
            id=f"Patient/{person_id}#{self.record.source_record_id}",
            patient=person_id,
            custodian=self.record.participant_id,
            classes=frozenset({PATIENT_CLASS}),
            confidentiality=letter,
            labels=frozenset({"DEMO", "VIP"} if vip else {"DEMO"}),
            labelled=True,
        )


_FLAGS = frozenset({"VIP", "CEL"})


def demographics_rows(records: Iterable[SourceRecordView]) -> list[DemographicsRow]:
    """A row for each source record of a person; what one source flags, all of them keep secret."""
    held = list(records)
    # Where none stands any more, what they flagged as they ended: that they are gone is told to nobody new.
    standing = [record for record in held if record.active or record.replaced_by is not None] or held
    protected = frozenset(code for record in standing for code in record.demographics.protected)
    return [DemographicsRow(record, protected) for record in held]


def now() -> datetime:
    """The instant of decision (UTC)."""
    return datetime.now(UTC)


def known_labels() -> frozenset[str]:
    """The sensitivity labels of the code tables in force."""
    return frozenset(policies.current().tables.label_families)


def label_tables() -> labelling.LabelTables:
    """The labelling rules in force: the same object until they change."""
    return policies.labelling()


def may_submit(caller: Caller, custodian_id: str) -> None:
    """Refuse a submission from, or in the name of, a participant that is not active.

    A submitter may act for its own organization or one below it.

    Raises:
        AccessRefused: inactive participant (G2), inactive custodian (G3) or another's custodian (G1).
    """
    at = now()
    if not directory.is_active(caller.organization_id, at):
        raise AccessRefused("G2", "participant-not-active")
    if not directory.is_active(custodian_id, at):
        raise AccessRefused("G3", "custodian-not-active")
    if not directory.within(custodian_id, caller.participant_id):
        raise AccessRefused("G1", "invalid-request")


def gate(caller: Caller, operation: Operation) -> None:
    """Refuse what can be refused from the caller alone, before any record is looked up.

    Raises:
        AccessRefused: with the rule (G1, G2, G4 to G7) and its reason.
    """
    at = now()
    # A grant is for one patient, but having none at all depends on the caller only: that is G7 here.
    grant = break_glass.any_grant(caller.user_id, _house(caller), now=at) if caller.purpose == "BTG" else None
    decision = engine.gate(_request(caller, operation, grant, None), policies.current(), now=at)
    if decision is not None:
        raise AccessRefused(decision.rule, decision.reason)
    if caller.purpose == "BTG" and grant is None:
        raise AccessRefused("G7", "break-glass-invalid")
    release.rests_on()


def is_at_work(caller: Caller) -> bool:
    """Whether a person of a participant's asks: no device, no patient, no helper, nobody of the exchange's own staff."""
    user = caller.user_id.casefold()
    return bool(user) and not user.startswith(_NO_CLINICIAN) and caller.role not in ("patient", "proxy")


_NO_CLINICIAN = ("device/", "patient/", "relatedperson/", "group/", "staff/")


def gate_emergency(caller: Caller) -> None:
    """Refuse what keeps the caller from opening an emergency grant for whomever: `gate` for BTG, but for the grant.

    A person opens it, known again by name, at the work of treating one patient: no device, no patient, no helper.

    Raises:
        AccessRefused: with the rule (G1, G2, G4, G5) and its reason.
    """
    policy, at = policies.current(), now()
    asked = replace(caller, purpose="BTG")
    decision = engine.gate(_request(asked, Operation.QUERY, None, None), policy, now=at)
    if decision is not None:
        raise AccessRefused(decision.rule, decision.reason)
    if not is_at_work(caller):
        raise AccessRefused("G5", "role-not-permitted")
    if not break_glass.names_a_person(caller.user_id):
        raise AccessRefused("G1", "invalid-request")
    family = policy.tables.families.get(caller.purpose or "", frozenset())
    if caller.purpose != "BTG" and ("TREAT" not in family or "POPHLTH" in family):
        raise AccessRefused("G4", "purpose-not-permitted")
    release.rests_on()


def known_in_emergency(caller: Caller, about: Subject) -> bool:
    """Whether the caller may know of this person: as somebody whom he treats, or with the grant that he asks for.

    Who is known without a grant must be answered as known: else a refusal would tell that the patient refuses
    emergency access.
    """
    rows = demographics_rows(about.records)
    treating = replace(caller, purpose="TREAT")
    if _rested_on(about, _decide(_context(treating, [about]), treating, about, rows, Operation.QUERY)).permitted:
        return True
    at, policy = now(), policies.current()
    grant = BreakGlassGrant(
        id="", user=caller.user_id, organization=directory.root_of(caller.organization_id), patient=about.person_id,
        start=at, end=at + timedelta(minutes=1), status="active", reason="OTHER", text="asked for",
    )  # fmt: skip
    context = _Context(at=at, policy=policy, emergency={about.person_id: grant}, proxy={})
    opened = _decide(context, replace(caller, purpose="BTG"), about, rows, Operation.QUERY)
    return bool(_rested_on(about, opened).permitted)


def known_to_publisher(caller: Caller, person_id: UUID | None, named: ResolvedIdentifier | None = None) -> bool:
    """Whether who publishes may know of this person, who is None where nobody is so named; as a look-up would tell him.

    `named` is the identifier by which the person was named, None for an id of this hub: one of a record that he may not
    know of names nobody, though he know of the person's other records. What its own organization fed it may name. For
    all else it is decided as for its stated purpose, or as if it had asked for treatment where it states none or its
    agreement lists that: whoever only publishes needs no right to look up.

    Source: spec/consent.md 6, "How a deny looks".
    """
    if named is not None and directory.root_of(named.participant_id) == directory.root_of(caller.organization_id):
        return True
    try:
        about = somebody(person_id)
    except NotFound:
        about = nobody()
    release.rests_on(about.identifier_pks)
    rows = demographics_rows(about.records)
    if named is not None and named.participant_id != directory.HUB:
        rows = [row for row in rows if row.record.source_record_id == named.source_record_id]
    return any(
        _rested_on(about, _decide(context, asked, about, rows, Operation.QUERY)).permitted
        for asked, policy in _as_published(caller)
        for context in (replace(_context(asked, [about]), policy=policy),)
    )


def _as_published(caller: Caller) -> Iterator[tuple[Caller, engine.Policy]]:
    """The questions that who publishes might ask of whom he publishes about, and the policy that each is decided by."""
    policy = policies.current()
    role = caller.role or _role_for(caller.purpose, policy.tables)
    if caller.purpose and role:
        yield replace(caller, role=role), policy
    organization = policy.participants.get(caller.organization_id)
    if organization is None:
        return
    tables = policy.tables
    may_treat = tables.permits(organization.purposes, "TREAT")
    if caller.purpose and not may_treat:
        return
    role = _role_for("TREAT", tables, caller.role)
    if not may_treat:
        of_treatment = replace(organization, purposes=organization.purposes | {"TREAT"})
        policy = replace(policy, participants={**policy.participants, organization.id: of_treatment})
    yield replace(caller, role=role, purpose="TREAT", relationship=caller.relationship or "referral"), policy


def _role_for(purpose: str | None, tables: engine.Tables, own: str | None = None) -> str | None:
    """A role that may ask for a purpose: one's own, else that of a system, else any; None where none may."""
    if purpose is None:
        return None
    able = [one for one, purposes in sorted(tables.roles.items()) if tables.permits(purposes, purpose)]
    return next((one for one in (own, "system", *able) if one in able), None)


def subject(person_id: UUID | str) -> Subject:
    """The person's facts and compiled directives, as they are now.

    Raises:
        NotFound: the index knows no such person.
    """
    try:
        wanted = person_id if isinstance(person_id, UUID) else UUID(person_id)
    except ValueError as error:
        raise NotFound("no such patient") from error
    found = subjects([wanted])
    if wanted not in found:
        raise NotFound("no such patient")
    return found[wanted]


_NOBODY = SubjectFacts(id=str(UUID(int=0)))


def somebody(person_id: UUID | None) -> Subject:
    """The person; for None nobody, about whom everything is read and decided that would be about a person.

    A refusal of what is not there then costs what a refusal of what is hidden costs.

    Raises:
        NotFound: the index knows no such person.
    """
    if person_id is not None:
        return subject(person_id)
    subjects([UUID(int=0)])
    return nobody()


def nobody() -> Subject:
    """Who is no patient: nothing is about nobody, and nothing is recorded of it. No statement."""
    return Subject(facts=_NOBODY, identifier_pks=(), policy=engine.compile_patient(_NOBODY, ()), consent_epoch=0)


def subjects(person_ids: Iterable[UUID]) -> dict[UUID, Subject]:
    """Several persons as `subject` gives one, by the id asked for; unknown ones are absent. Constant statements."""
    known = index.known_persons(person_ids)
    distinct = {person.facts.id: person for person in known.values()}
    directed = directives.for_subjects((person.facts, person.identifier_pks) for person in distinct.values())
    read = {
        key: Subject(
            facts=person.facts,
            identifier_pks=person.identifier_pks,
            policy=directed[key].policy,
            consent_epoch=directed[key].epoch,
            records=person.records,
        )
        for key, person in distinct.items()
    }
    return {asked: read[person.facts.id] for asked, person in known.items()}


def permitted(caller: Caller, about: Subject, rows: Iterable[R], operation: Operation) -> Verdict[R]:
    """Decide each row by itself, with one reading of policy, grants and time."""
    return _rested_on(about, _decide(_context(caller, [about]), caller, about, rows, operation))


def still_permitted(
    caller: Caller, person_id: UUID | str, fresh: Callable[[Subject], Sequence[Row]], operation: Operation
) -> release.Basis | None:
    """Ask again, from what is in force now: for streams, late answers and links used later.

    `fresh` reads the rows anew, none when one is no longer there or no longer about this person. What the answer rests
    on, or None for no: when there are none, or any of them may not be seen.
    """
    with directory.one_reading(anew=True) as reading:
        about = subject(person_id)
        verdict = permitted(caller, about, fresh(about), operation)
        may_go = verdict.permitted and not verdict.denied
        return release.Basis(reading, about.identifier_pks, verdict.ends_s) if may_go else None


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What decisions are tried under: the policy, one person's directives, an instant."""

    policy: engine.Policy
    directives: engine.PatientPolicy
    at: datetime


def as_it_is(about: Subject) -> World:
    """What is in force now for a person."""
    release.rests_on(about.identifier_pks)
    return World(policy=policies.current(), directives=about.policy, at=now())


def as_drafted(about: Subject, draft: Draft) -> World:
    """What would be in force for a person with a draft in place of what is.

    Raises:
        DirectiveRefused, JurisdictionRefused, CodeTableRefused: a part of the draft cannot be used; by element.
    """
    release.rests_on(about.identifier_pks)
    return World(
        policy=policies.drafted(draft),
        directives=directives.drafted(about.policy, draft.consents),
        at=draft.at or now(),
    )


def tried(
    world: World, askers: Iterable[Sequence[RequestFacts]], documents: Sequence[DocumentFacts]
) -> Iterator[list[Decision]]:
    """What each asker would be told of each document, in their order; nothing is released by it.

    Each asker comes with the requests it may make of itself, one for each grant it holds: what any of them opens is
    open. Facts are as `Row.facts` gives them, of this person's documents.
    """
    completed = [engine.completed(document, world.policy) for document in documents]
    for requests in askers:
        prepared = _prepared(world, requests)
        yield [_best(prepared, document) for document in completed]


def stops(request: RequestFacts, policy: engine.Policy, *, at: datetime) -> str:
    """The rule by which a policy refuses a request before any record is looked up; "" where it goes on. As a trial."""
    decision = engine.gate(request, policy, now=at)
    return decision.rule if decision is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTried:
    """One rule as it was tried: whether it fired, and on what."""

    rule: str
    reason: str
    fired: bool
    basis: tuple[BasisItem, ...] = ()


def traced(world: World, requests: Sequence[RequestFacts], document: DocumentFacts) -> tuple[RuleTried, ...]:
    """The rules in the order they were tried for one document; the last fired. Nothing is released by it.

    Of several grants it is the request by the one that opens, else by the first.
    """
    completed = engine.completed(document, world.policy)
    traces = [engine.explain(one, completed, world.directives, world.policy, now=world.at) for one in requests]
    chosen = next((one for one in traces if one.decision.permitted), traces[0])
    return tuple(RuleTried(rule=one.rule, reason=one.reason, fired=one.fired, basis=one.basis) for one in chosen.rules)


def answered(world: World, about: Subject, requests: Sequence[RequestFacts], rows: Iterable[R]) -> Verdict[R]:
    """What is decided on each row for a request, of which there is one for each grant that it may rest on."""
    started = perf_counter_ns()
    prepared = _prepared(world, requests)
    allowed: list[tuple[R, Decision]] = []
    denied: list[tuple[R, Decision]] = []
    facts: dict[int, DocumentFacts] = {}
    for row in rows:
        document = engine.completed(row.facts(about.person_id, about.identifier_pks), world.policy)
        facts[id(row)] = document
        decision = _best(prepared, document)
        (allowed if decision.permitted else denied).append((row, decision))
    first = prepared[0]
    return Verdict(
        permitted=tuple(allowed),
        denied=tuple(denied),
        facts=facts,
        requests=tuple(requests),
        policy=world.policy,
        at=world.at,
        considered=tuple(f"{item.id}@{item.version}" for item in first.considered()),
        root_organization=first.requester.root if first.requester is not None else "",
        elapsed_us=(perf_counter_ns() - started) // 1000,
    )


def _prepared(world: World, requests: Iterable[RequestFacts]) -> list[engine.Prepared]:
    return [engine.Prepared(request, world.directives, world.policy, now=world.at) for request in requests]


def _best(prepared: Sequence[engine.Prepared], document: DocumentFacts) -> Decision:
    first, *others = prepared
    decision = first.decide(document)
    for other in others:
        if decision.permitted:
            break
        further = other.decide(document)
        decision = further if further.permitted else decision
    return decision


def open_permitted(
    verdict: Verdict[R],
    row: R,
    binary_id: str,
    *,
    first: int | None = None,
    last: int | None = None,
    held: bool = True,
) -> repository.Content:
    """The bytes behind a row that this door has let through; a row that it has not is not there.

    Raises:
        NotFound: the verdict does not permit the row.
        RangeNotSatisfiable, ContentUnavailable: as `repository.open`.
    """
    if not any(permitted_row is row for permitted_row in verdict.rows()):
        raise NotFound("no such document")
    return repository.open(binary_id, first=first, last=last, held=held)


def open_upload(
    caller: Caller, binary_id: str, *, first: int | None = None, last: int | None = None
) -> repository.Content | None:
    """Bytes staged and not yet hung on an entry, for their uploader alone; None when there are none.

    Raises:
        NotFound: another's.
        RangeNotSatisfiable, ContentUnavailable: as `repository.open`.
    """
    staged = repository.staged(binary_id)
    if staged is None:
        return None
    if staged.owner != caller.participant_id:
        raise NotFound("no such document")
    return repository.open(binary_id, first=first, last=last)


def look_for_upload(binary_id: str) -> None:
    """Look for staged bytes and give nothing of them: the statement of `open_upload`, so that two refusals cost the same."""
    repository.staged(binary_id)


def open_for_labelling(binary_id: str) -> repository.Content:
    """Bytes for the hub's own labelling service, which takes codes from them and gives nothing out.

    Raises:
        ContentUnavailable: as `repository.open`.
    """
    return repository.open(binary_id)


def demographics(
    caller: Caller, person_ids: Sequence[UUID], operation: Operation = Operation.QUERY, *, rest_on_all: bool = True
) -> dict[UUID, PermittedPerson]:
    """Of these persons, those the caller may know of, each with the sources that may be shown.

    A person none of whose sources is permitted is not in the answer, exactly as one that does not exist.
    One reading of policy, records, directives and grants for all of them: constant statements. With `rest_on_all` False
    the caller says by `rest_on` which of them its answer is about: of many candidates, those it names or counts.
    """
    people = {UUID(about.person_id): about for about in subjects(person_ids).values()}
    context = _context(caller, people.values())
    found: dict[UUID, PermittedPerson] = {}
    for person_id, about in people.items():
        rows = demographics_rows(about.records)
        verdict = _decide(context, caller, about, rows, operation)
        if verdict.permitted:
            found[person_id] = PermittedPerson(
                person_id=person_id,
                subject=about,
                records=tuple(row.record for row in verdict.rows()),
                verdict=verdict,
            )
    if rest_on_all:
        rest_on(found.values())
    return found


def rest_on(people: Iterable[PermittedPerson]) -> None:
    """Make these persons, as they were decided about, a condition of what the running recording releases."""
    release.rests_on()
    for person in people:
        _rested_on(person.subject, person.verdict)


def questions(
    caller: Caller, about: Subject, recipient_ids: Sequence[str]
) -> dict[str, tuple[Verdict[DemographicsRow], Demographics | None]]:
    """Whether a question about this person may go to each of these communities, and what it may say.

    The question is itself a disclosure of the demographics pseudo-document to the community asked
    (spec/consent.md 3, "Across communities"): the recipient is the community, purpose and user the asker's; a
    source the asker may not know of is not told to others either. The demographics are golden over the permitted
    sources only; None when nothing may leave. One reading of policy and records whatever the number asked. A verdict
    ends with what the asker himself may know.
    """
    context = _context(caller, [about])
    own = _rested_on(about, _decide(context, caller, about, demographics_rows(about.records), Operation.QUERY))
    answers: dict[str, tuple[Verdict[DemographicsRow], Demographics | None]] = {}
    golden: dict[tuple[Any, ...], Demographics] = {}
    for recipient_id in recipient_ids:
        verdict = _decide(context, caller, about, own.rows(), Operation.NOTIFY, recipient=recipient_id)
        verdict = _rested_on(about, replace(verdict, ends_s=release.first_of(own.ends_s, verdict.ends_s)))
        records = [row.record for row in verdict.rows()]
        key = tuple(item.source_record_id for item in records)
        if records and key not in golden:
            golden[key] = index.golden(records, about=about.records)
        answers[recipient_id] = (verdict, golden.get(key))
    return answers


TOLD_S = 5.0
"""How long what was decided about a question stands while nothing it was decided from has changed."""


def told(
    caller: Caller, about: Subject, answers: Mapping[str, tuple[Verdict[DemographicsRow], Demographics | None]]
) -> dict[str, Any] | None:
    """What a question may say, where it may say the same to all: kept with it for `told_again`.

    None where communities may hear different things, or the asker's right hangs on a grant or on an age. `until` is when
    a period that it was decided by begins or ends by itself.
    """
    said = {
        tuple(row.record.source_record_id for row in verdict.rows())
        for verdict, demographics_ in answers.values()
        if demographics_ is not None
    }
    if len(said) != 1 or caller.purpose == "BTG" or caller.role in ("proxy", "patient"):
        return None
    policy, at = policies.current(), now()
    members = {caller.organization_id, *answers, *(record.participant_id for record in about.records)}
    until = engine.next_boundary(about.policy, policy, members, now=at)
    changes_at = policies.next_change()
    return {
        "until": (until if changes_at is None else min(until, changes_at)).isoformat(),
        "policy": policy.epoch,
        "consent": about.consent_epoch,
        "records": _as_read(about),
        "said": list(said.pop()),
    }


def _as_read(about: Subject) -> list[list[int]]:
    return sorted([record.source_record_id, record.version] for record in about.records)


def told_again(
    about: Subject, kept: Mapping[str, Any] | None, *, since_s: float
) -> tuple[Demographics, float | None] | None:
    """The demographics that were decided to be told, while policy, directives and records are those of then; and until when.

    The release of a question is the commit of its audit row; asked seconds later, by another process, it needs no
    second decision unless an epoch has moved (spec/consent.md 12) or a period has ended. None: decide again.
    """
    # What another version of the hub kept a moment ago may lack the time: then it is decided again.
    if kept is None or "until" not in kept or not 0 <= since_s <= TOLD_S:
        return None
    left = datetime.fromisoformat(kept["until"]) - now()
    if left <= timedelta(0):
        return None
    ends_s = release.ends_in(left)
    was = (kept["policy"], kept["consent"], kept["records"])
    if was != (policies.current().epoch, about.consent_epoch, _as_read(about)):
        return None
    said = set(kept["said"])
    records = [record for record in about.records if record.source_record_id in said]
    return index.golden(records, about=about.records), ends_s


def disclosures(
    verdict: Verdict[R], *, what: str | Callable[[R], str], shown: Callable[[R], Shown], recipient: str | None = None
) -> list[recorder.DisclosureDraft]:
    """A disclosure for each permitted row, with the decision that let it out. `what` left of it, or of each."""
    drafts = []
    for row, decision in verdict.permitted:
        facts = verdict.facts[id(row)]
        name = shown(row)
        drafts.append(
            recorder.DisclosureDraft(
                document_id=name.document_id,
                unique_id=name.unique_id,
                custodian=facts.custodian,
                title=name.title,
                type_display=name.type_display,
                what=what if isinstance(what, str) else what(row),
                labels=tuple(sorted(facts.labels)),
                confidentiality=facts.confidentiality or "R",
                rule=decision.rule,
                reason=decision.reason,
                basis=tuple(decision.basis),
                obligations=decision.obligations,
                recipient=recipient,
            )
        )
    return drafts


def record(
    event: recorder.Recording,
    caller: Caller,
    about: Subject,
    verdict: Verdict[R],
    *,
    what: str | Callable[[R], str],
    shown: Callable[[R], Shown],
    operation: Operation,
    recipient: str | None = None,
    **more: Any,
) -> None:
    """Put the verdict into the event: a disclosure per permitted row, the denied as one compact list.

    `what` is ``metadata``, ``bytes``, ``demographics`` or ``query``, of all rows or of each. Source: spec/consent.md 13.
    """
    if about.is_nobody:
        return
    drafts = disclosures(verdict, what=what, shown=shown, recipient=recipient)
    denied = tuple((verdict.facts[id(row)].id, decision.rule) for row, decision in verdict.denied)
    decided = [
        Decided(facts=verdict.facts[id(row)], version=getattr(row, "document_version", ""), decision=decision)
        for row, decision in (*verdict.permitted, *verdict.denied)
    ]
    # One rule stands for the whole look: the one that says most. An organization's look at its own record says least.
    decisions = [decision for _, decision in verdict.permitted or verdict.denied]
    first = min(decisions, key=lambda decision: decision.rule == "C1", default=None)
    if verdict.emergency is not None and verdict.permitted:
        # The patient reads beside each look the words that opened it.
        more["personal"] = {"text": verdict.emergency.text} | dict(more.get("personal", {}))
    event.about(
        UUID(about.person_id),
        rule=first.rule if first else "",
        reason=first.reason if first else "",
        disclosures=tuple(drafts),
        denied=denied,
        decision=decision_of(about, verdict, decided, on_behalf_of=caller.on_behalf_of) if verdict.requests else {},
        **more,
    )


def decision_of(
    about: Subject, verdict: Verdict[Any], decided: Iterable[Decided], *, on_behalf_of: str | None = None, **more: Any
) -> dict[str, Any]:
    """The decision record of one request about one patient, and the policy kept that it is decided again by.

    Source: spec/consent.md 13.
    """
    policy = verdict.policy or policies.current()
    return decision_record.made(
        requests=verdict.requests,
        root_organization=verdict.root_organization,
        on_behalf_of=on_behalf_of,
        at=verdict.at or now(),
        subject=about.facts,
        decided=decided,
        looks=_looks(about.policy),
        effective=lambda document: _effective(document, policy),
        version_of=lambda kind, identifier: policies.version_of(policy, kind, identifier),
        choices=_made_on(about.policy, verdict.considered),
        considered=list(verdict.considered),
        policy=kept.keep(policy),
        policy_epoch=policy.epoch,
        consent_epoch=about.consent_epoch,
        elapsed_us=verdict.elapsed_us,
        **more,
    )


def _effective(document: DocumentFacts, policy: engine.Policy) -> tuple[str, frozenset[str]]:
    """A document's effective letter and its labels, the custodian's included (spec/consent.md 3)."""
    custodian = policy.participants.get(document.custodian)
    labels = document.labels | {PART2} if custodian is not None and custodian.part2 else document.labels
    restricted = engine.RANK["R"]
    stated = (
        restricted if document.confidentiality is None else engine.RANK.get(document.confidentiality, engine.RANK["V"])
    )
    floor = policy.tables.floor(policy.tables.carried(labels))
    return engine.LETTERS[max(stated, 0 if document.labelled else restricted, floor)], labels


def effective(document: DocumentFacts, verdict: Verdict[Any]) -> tuple[str, frozenset[str]]:
    """A document's effective letter and labels, as the policy of a verdict has them."""
    return _effective(document, verdict.policy or policies.current())


def _looks(policy: engine.PatientPolicy) -> Looks:
    nodes: list[Node] = [one.root for one in policy.directives if one.root is not None]
    at_each = at_times = False
    while nodes:
        node = nodes.pop()
        at_each = at_each or node.data is not None
        at_times = at_times or node.data_period is not None
        nodes += node.children
    return Looks(at_each=at_each, at_times=at_times)


def choices_of(about: Subject) -> dict[str, str]:
    """When each directive in store says it was made, by its id."""
    return {one.id: one.since for one in about.policy.directives if one.since}


def _made_on(policy: engine.PatientPolicy, considered: Sequence[str]) -> dict[str, str]:
    """When each consent in force says it was made: a later change must not change what an old record tells."""
    wanted = {one.rpartition("@")[0] for one in considered}
    return {one.id: one.since for one in policy.directives if one.id in wanted and one.since}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """One instant, and what is in force at it: the policy, and the user's grants by person."""

    at: datetime
    policy: engine.Policy
    emergency: Mapping[str, BreakGlassGrant]
    proxy: Mapping[str, Sequence[ProxyGrant]]


_NOBODY_NOW = "Patient/deceased"


def _context(caller: Caller, about: Iterable[Subject]) -> _Context:
    at, policy = now(), policies.current()
    persons = [(one.facts, one.identifier_pks) for one in about]
    return _Context(
        at=at,
        policy=policy,
        emergency=break_glass.grants_for(caller.user_id, _house(caller), persons, now=at)
        if caller.purpose == "BTG"
        else {},
        proxy=proxies.grants_for(caller.user_id, persons) if caller.role == "proxy" else {},
    )


def _house(caller: Caller) -> tuple[str, ...]:
    """The caller's organization with all that share its root: what a grant of the user's is made out to."""
    return directory.same_organization(caller.organization_id)


def _decide(
    context: _Context,
    caller: Caller,
    about: Subject,
    rows: Iterable[R],
    operation: Operation,
    *,
    recipient: str | None = None,
) -> Verdict[R]:
    """Decide the rows for the caller; with `recipient`, for that organization in the place of the caller's."""
    person_id = about.person_id
    emergency, held = context.emergency.get(person_id), context.proxy.get(person_id, ())
    requests = alternatives(_request(caller, operation, emergency, None, recipient), about, held)
    world = World(policy=context.policy, directives=about.policy, at=context.at)
    verdict = answered(world, about, requests, rows)
    return replace(verdict, ends_s=ends_of(about, verdict))


def ends_of(about: Subject, verdict: Verdict[Any], *further: str) -> float | None:
    """When something that a verdict was decided by begins or ends by itself (`release.ends_in`).

    Of the patient's directives and ages, of the grants in the requests, and of the agreements of who asks, of the
    documents' custodians and of `further` participants.
    """
    organizations = (one.organization for one in verdict.requests)
    involved = {*further, *_custodians(verdict.facts.values()), *(one for one in organizations if one)}
    held = [grant for one in verdict.requests for grant in (one.break_glass, one.proxy_grant) if grant is not None]
    policy, at = verdict.policy or policies.current(), verdict.at or now()
    until = engine.next_boundary(about.policy, policy, involved, now=at, grants=held)
    # Counted from now, which is later than what was decided at.
    return release.ends_in(until - now())


def _rested_on(about: Subject, verdict: Verdict[R]) -> Verdict[R]:
    """The verdict, when it is a condition of what the running recording releases: the person as read, and no later than it ends."""
    release.rests_on(about.identifier_pks, ends_s=verdict.ends_s)
    return verdict


def _custodians(documents: Iterable[DocumentFacts]) -> set[str]:
    """Who holds these documents and what they were derived from."""
    found: set[str] = set()
    for document in documents:
        found.add(document.custodian)
        if document.derived_from:
            found |= _custodians(document.derived_from)
    return found


def alternatives(base: RequestFacts, about: Subject, held: Sequence[ProxyGrant | None]) -> list[RequestFacts]:
    """What is asked about a person: one request, or one for each of the grants held for that person.

    What any of them opens is open, and the first says why the rest is not. Whatever asks the engine makes its requests here.
    """
    if about.facts.deceased and (base.user or "").startswith("Patient/"):
        # With the patient the patient's own access ends (spec/consent.md 10): nobody is he any more.
        base = replace(base, user=_NOBODY_NOW)
    return [replace(base, proxy_grant=grant) for grant in held or (None,)]


def requests_of(base: RequestFacts, about: Subject, at: datetime) -> list[RequestFacts]:
    """As `alternatives`, of a requester with the grants that are in store for its user and its house at an instant."""
    release.rests_on(about.identifier_pks)
    person = [(about.facts, about.identifier_pks)]
    user = base.user or ""
    if base.purpose == "BTG":
        house = directory.same_organization(base.organization or "")
        grant = break_glass.grants_for(user, house, person, now=at).get(about.person_id)
        base = replace(base, break_glass=grant)
    held = proxies.grants_for(user, person).get(about.person_id, ()) if base.role == "proxy" else ()
    return alternatives(base, about, held)


def _request(
    caller: Caller,
    operation: Operation,
    break_glass_grant: BreakGlassGrant | None,
    proxy_grant: ProxyGrant | None,
    recipient: str | None = None,
) -> RequestFacts:
    return RequestFacts(
        organization=caller.organization_id if recipient is None else recipient,
        user=caller.user_id,
        role=caller.role,
        purpose=caller.purpose,
        operation=operation.value,
        relationship=caller.relationship,
        care_teams=caller.care_teams,
        break_glass=break_glass_grant,
        proxy_grant=proxy_grant,
    )
