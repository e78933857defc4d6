"""Permit or deny: the rules in order, one function for every way out.

`decide` is the one decision point. `gate` answers from what the caller is and
claims alone; `explain` runs the same rules and keeps what each of them said.
Nothing here reads a clock, a database or a setting.

Source: spec/consent.md sections 6, 7 and 9.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Final

from consent.engine import time
from consent.engine.codes import (
    KEPT,
    NOPAT,
    OPERATION_ACTIONS,
    PART2,
    PROXY_KINDS,
    RANK,
    RANK_N,
    RANK_R,
    RANK_V,
    TPO,
)
from consent.engine.directive import Branch, Directive, Path
from consent.engine.matching import (
    Asker,
    Subject,
    Verdict,
    called,
    data_periods,
    in_force,
    in_period,
    live_tree,
    root_verdict,
    service_span,
)
from consent.engine.policy import Between, ConsentRequired, Jurisdiction, Policy, Rule
from hie.standards.facts import BasisItem, Decision, DocumentFacts, RequestFacts, SubjectFacts

_DISCLOSE: Final = frozenset({"disclose"})
_MAX_DERIVATION: Final = 32
_EMERGENCY: Final = ("NOREUSE", "NOTIFY-PATIENT", "REVIEW")
_PART2: Final = frozenset({PART2})
# What every document is decided by, its sources apart; what else a directive or a rule asks about is added to it
# (`Branch.asks`, `Between.asks`).
_ALWAYS_ASKED: Final = ("patient", "custodian", "confidentiality", "labels", "labelled")


@dataclass(frozen=True, slots=True)
class PatientPolicy:
    """A person and every directive in store under any of the person's ids, in an order that does not matter."""

    subject: SubjectFacts
    directives: tuple[Directive, ...]
    # By time zone and ages of a law, when a directive begins or ends or an age is reached, in order (`boundaries`).
    instants: dict[tuple[object, ...], tuple[datetime, ...]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )


@dataclass(frozen=True, slots=True)
class RuleTrace:
    """One rule as it was tried: whether it fired, and what it rested on."""

    rule: str
    reason: str
    fired: bool
    basis: tuple[BasisItem, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """A decision with the rules in the order they were tried; the last one fired."""

    decision: Decision
    rules: tuple[RuleTrace, ...]
    considered: tuple[BasisItem, ...]


def compile_patient(subject: SubjectFacts, directives: Iterable[Directive]) -> PatientPolicy:
    """A patient's directives in one order, whatever order the store gives them in."""
    return PatientPolicy(subject, tuple(sorted(directives, key=lambda one: (one.id, one.version))))


def decide(
    request: RequestFacts, document: DocumentFacts, patient: PatientPolicy, policy: Policy, *, now: datetime
) -> Decision:
    """Decide one document for one request at one instant.

    Never raises for what a caller, directive or policy says: what cannot be used is
    refused. For many documents of one request use `prepare` once.

    Raises:
        ValueError: `now` is not an aware instant.
    """
    return Prepared(request, patient, policy, now=now).decide(document)


def explain(
    request: RequestFacts, document: DocumentFacts, patient: PatientPolicy, policy: Policy, *, now: datetime
) -> Trace:
    """The same decision with every rule that was tried on the way to it."""
    prepared = Prepared(request, patient, policy, now=now)
    rules: list[RuleTrace] = []
    decision = prepared.decide(document, trace=rules)
    return Trace(decision, tuple(rules), prepared.considered())


def gate(request: RequestFacts, policy: Policy, *, now: datetime) -> Decision | None:
    """The refusal that follows from what the caller is and claims, before any record is looked up.

    G1 (something missing or unknown), G2, G4, G5, G6, and G7 for a grant that is given and bad;
    whether there is one, and whether it is about the patient, `decide` says. None: the
    caller may go on to be decided. Equal for existing and invented patients and documents
    (spec/consent.md 6, "How a deny looks").
    """
    refusal = Prepared(request, None, policy, now=now).refusal
    if refusal is not None and refusal.rule == "G7" and request.break_glass is None:
        return None
    return refusal


class Prepared:
    """One request by one caller about one patient at one instant, ready to decide documents.

    `refusal` is the gate's decision (None: passed). Without a patient only the gate is known. Each document is decided
    by itself; those that are equal in everything that a rule can ask about are of one class, which is decided once.
    """

    __slots__ = (
        "_asked",
        "_decided",
        "_in_force",
        "_periods",
        "_places",
        "birth_date",
        "directed",
        "families",
        "ids",
        "is_proxy",
        "is_self",
        "kind",
        "now",
        "opaque",
        "patient",
        "patient_law",
        "policy",
        "purpose",
        "refusal",
        "request",
        "requester",
        "trees",
        "user",
        "usual",
        "zone",
    )

    def __init__(self, request: RequestFacts, patient: PatientPolicy | None, policy: Policy, *, now: datetime) -> None:
        if now.tzinfo is None:
            raise ValueError("now must be an aware instant")
        self.now = now.astimezone(UTC)
        self.request = request
        self.patient = patient
        self.policy = policy
        self.purpose = request.purpose if isinstance(request.purpose, str) else ""
        self.user = request.user if isinstance(request.user, str) else ""
        self.families = policy.tables.families.get(self.purpose, frozenset())
        organization = request.organization if isinstance(request.organization, str) else ""
        self.requester = policy.participants.get(organization)
        self.ids = patient.subject.ids if patient is not None else frozenset()
        self.patient_law = policy.jurisdiction_of(patient.subject.jurisdiction) if patient is not None else None
        self.birth_date = patient.subject.birth_date if patient is not None else None
        self.zone = self.patient_law.zone if self.patient_law is not None else ""
        self.refusal = self._gate()
        kind, _, identifier = self.user.partition("/")
        by_patient = "PATRQT" in self.families
        self.is_self = by_patient and kind == "Patient" and identifier in self.ids
        self.is_proxy = by_patient and not self.is_self
        self._in_force = self._counting()
        self.opaque, self.trees = self._heard()
        self.directed = bool(self.opaque or self.trees)
        # What the rules that can fire depend on, apart from who holds the document.
        refused = self.refusal.rule if self.refusal is not None else ""
        self.kind = (refused, self.is_self, self.is_proxy, self.directed)
        self.usual = _usual_obligations(self.families)
        self._asked = frozenset().union(*(tree.asks for tree in self.trees))
        self._periods = tuple(frozenset().union(*(data_periods(tree, self.zone) for tree in self.trees)))
        self._places: dict[str, _Place] = {}
        self._decided: dict[object, Decision] = {}

    # --- the gate

    def _gate(self) -> Decision | None:
        request, policy, requester = self.request, self.policy, self.requester
        if not self._valid():
            return _deny("G1", "invalid-request")
        if requester is None:
            return _deny("G2", "participant-not-active", *_no_agreement(request.organization))
        agreement = requester.agreement_basis
        if not requester.active(self.now):
            return _deny("G2", "participant-not-active", *agreement)
        if not policy.tables.permits(requester.purposes, self.purpose):
            return _deny("G4", "purpose-not-permitted", *agreement)
        if not policy.tables.permits(policy.tables.roles[str(request.role)], self.purpose):
            return _deny("G5", "role-not-permitted")
        if (
            requester.requires_relationship
            and "TREAT" in self.families
            and self.purpose != "BTG"
            and not (request.relationship or "").strip()
        ):
            return _deny("G6", "relationship-required", *agreement)
        if self.purpose == "BTG" and not self._grant_valid():
            grant = request.break_glass
            basis = (BasisItem(kind="break-glass", id=grant.id),) if grant is not None else ()
            return _deny("G7", "break-glass-invalid", *basis)
        return None

    def _valid(self) -> bool:
        request, tables = self.request, self.policy.tables
        said = (request.organization, request.user, request.role, request.purpose, request.operation)
        return (
            all(isinstance(one, str) and one.strip() for one in said)
            and request.purpose in tables.families
            and request.role in tables.roles
            and request.operation in OPERATION_ACTIONS
        )

    def _grant_valid(self) -> bool:
        """Everything about a break-glass grant that needs no record: status, reason, user, root, window."""
        grant = self.request.break_glass
        if grant is None or self.requester is None or grant.status != "active":
            return False
        if not grant.reason.strip() or not grant.text.strip() or grant.user != self.user:
            return False
        holder = self.policy.participants.get(grant.organization)
        if holder is None or holder.root != self.requester.root:
            return False
        if grant.start.tzinfo is None or grant.end.tzinfo is None:
            return False
        longest = timedelta(hours=self.policy.tables.break_glass_max_hours)
        return grant.start <= self.now < grant.end and self.now - grant.start < longest

    # --- directives

    def _counting(self) -> tuple[Directive, ...]:
        """The directives in force for this request."""
        if self.patient is None or self.patient_law is None:
            return ()
        now, families, zone = self.now, self.families, self.zone
        return tuple(one for one in self.patient.directives if in_force(one, now=now, families=families, zone=zone))

    def _heard(self) -> tuple[tuple[Path, ...], tuple[Branch, ...]]:
        """Of the directives in force: the paths of the unintelligible ones, and what can match of the others."""
        if not self._in_force or self.requester is None or self.refusal is not None:
            return (), ()
        asker = Asker.of(self.request, self.requester)
        now, families, zone = self.now, self.families, self.zone
        live = [
            live_tree(one.tree, now=now, families=families, asker=asker, zone=zone)
            for one in self._in_force
            if one.tree is not None
        ]
        return (
            tuple(one.path for one in self._in_force if one.tree is None),
            tuple(tree for tree in live if tree is not None),
        )

    def considered(self) -> tuple[BasisItem, ...]:
        """Every consent in force for this request, whether it decided or not (spec/consent.md 13)."""
        return tuple(item for one in self._in_force for item in one.path.basis)

    # --- documents

    def decide(self, document: DocumentFacts, *, trace: list[RuleTrace] | None = None) -> Decision:
        """Decide one document; with `trace`, also note every rule tried."""
        if trace is not None or document.derived_from:
            return self._settle(document, trace)
        place = self._places.get(document.custodian) or self._place(document.custodian)
        class_ = place.class_of(document)
        decided = self._decided.get(class_)
        if decided is None:
            decided = self._decided[class_] = self._settle(document, None)
        return decided

    def decide_all(self, documents: Sequence[DocumentFacts]) -> list[Decision]:
        """Decide each document by itself, in their order: for lists, one look a class."""
        if self._periods or any(map(_SOURCES, documents)):
            return [self.decide(document) for document in documents]
        places = [self._place(custodian_id) for custodian_id in set(map(_CUSTODIAN, documents))]
        members = _members(self._asked.union(*(place.between.asks for place in places)))
        classes = list(map(members, documents))
        decided = {class_: self.decide(one) for class_, one in dict(zip(classes, documents, strict=True)).items()}
        return list(map(decided.__getitem__, classes))

    def _place(self, custodian_id: str) -> _Place:
        """What this request meets with documents that are held there."""
        place = self._places.get(custodian_id)
        if place is not None:
            return place
        between = self.policy.between(self.requester, self.purpose, custodian_id)
        kind = (*self.kind, _holds(self, between))
        rules = between.chains.get(kind)
        if rules is None:
            rules = between.chains[kind] = tuple(rule for rule in RULES if rule.concerns(self, between))
        members = _members(self._asked | between.asks)
        class_of = members
        if self._periods:
            class_of = _with_times(members, self._periods, self.zone)
        place = self._places[custodian_id] = _Place(between, rules, class_of)
        return place

    def _settle(self, document: DocumentFacts, trace: list[RuleTrace] | None, depth: int = 0) -> Decision:
        place = self._place(document.custodian)
        question = _Question(self, document, place.between, depth)
        for rule in place.rules if trace is None else RULES:
            basis = rule.fires(question)
            if trace is not None:
                trace.append(rule.unfired if basis is None else RuleTrace(rule.rule, rule.reason, True, basis))
            if basis is None:
                continue
            obligations = _obligations(rule.rule, question) if rule.permits else ()
            if rule.permits and self._cannot_keep(obligations):
                return _deny(rule.rule, "obligation-not-supported", *basis)
            return Decision(
                permitted=rule.permits, rule=rule.rule, reason=rule.reason, obligations=obligations, basis=basis
            )
        raise AssertionError("the last rule always fires")

    def _cannot_keep(self, obligations: tuple[str, ...]) -> bool:
        return (
            self.policy.require_obligations
            and self.requester is not None
            and not self.requester.obligations.issuperset(obligations)
        )


_SOURCES: Final = attrgetter("derived_from")
_CUSTODIAN: Final = attrgetter("custodian")


@dataclass(frozen=True, slots=True)
class _Place:
    """What a request meets with one custodian.

    `rules`: of the rules, in their order, those that can fire; a document only settles the rest. `class_of`: what
    documents are equal in when nothing that decides tells them apart.
    """

    between: Between
    rules: tuple[_Rule, ...]
    class_of: Callable[[DocumentFacts], object]


@lru_cache(maxsize=KEPT)
def _members(asked: frozenset[str]) -> Callable[[DocumentFacts], object]:
    """The members of a document that decide, where these are asked about besides those that always are."""
    return attrgetter(*_ALWAYS_ASKED, *sorted(asked))


def _with_times(
    members: Callable[[DocumentFacts], object], periods: Sequence[tuple[time.Interval, bool]], zone: str
) -> Callable[[DocumentFacts], object]:
    """These members, and of the document's times whether they are in the periods that directives ask about."""

    def class_of(document: DocumentFacts) -> object:
        span = service_span(document, zone)
        return members(document), *[in_period(period, span, permit=permit) for period, permit in periods]

    return class_of


class _Question(Subject):
    """One document of a prepared request, with what several rules ask about it."""

    __slots__ = ("_heard", "between", "depth", "law", "prepared")

    def __init__(self, prepared: Prepared, document: DocumentFacts, between: Between, depth: int) -> None:
        self.prepared = prepared
        self.document = document
        self.between = between
        self.depth = depth
        self.law = between.law
        self.carried, self.feared, floor = prepared.policy.tables.weighed(
            document.labels | _PART2 if between.part2 else document.labels
        )
        stated = RANK_R if document.confidentiality is None else RANK.get(document.confidentiality, RANK_V)
        self.rank = max(stated, floor) if document.labelled else max(stated, floor, RANK_R)
        self._heard: tuple[Verdict, tuple[Path, ...]] | None = None

    @property
    def heard(self) -> tuple[Verdict, tuple[Path, ...]]:
        """What the patient's directives say together, and the paths of all consents with the winning verdict."""
        if self._heard is None:
            self._heard = self._hear()
        return self._heard

    def paths_if(self, verdict: Verdict) -> tuple[Path, ...]:
        """The winning paths where this is the verdict."""
        winning, paths = self.heard
        return paths if winning is verdict else ()

    def _hear(self) -> tuple[Verdict, tuple[Path, ...]]:
        prepared, custodian = self.prepared, self.between.custodian
        found: dict[Verdict, tuple[Path, ...]] = {Verdict.DENY: prepared.opaque}
        if prepared.trees and custodian is not None:
            actions = OPERATION_ACTIONS[str(prepared.request.operation)]
            self.actions = actions | _DISCLOSE if "access" in actions and not self.between.own else actions
            self.custodian = custodian
            self.zone = prepared.zone
            for tree in prepared.trees:
                verdict, paths = root_verdict(tree, self)
                found[verdict] = found.get(verdict, ()) + paths
        for verdict in _STRONGEST_FIRST:
            if found.get(verdict):
                return verdict, found[verdict]
        return Verdict.NOTHING, ()


_STRONGEST_FIRST: Final = (Verdict.DENY, Verdict.PERMIT, Verdict.WEAK_DENY)


# --- rules: each gives what it rests on when it fires, else None


_Basis = tuple[BasisItem, ...]
_Concern = Callable[[Prepared, Between], bool]


@dataclass(frozen=True, slots=True)
class _Rule:
    """One rule of section 6. `concerns`: whether it can fire at all for such a request (see `Prepared.kind`)."""

    rule: str
    reason: str
    permits: bool
    fires: Callable[[_Question], _Basis | None]
    concerns: _Concern
    unfired: RuleTrace = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "unfired", RuleTrace(self.rule, self.reason, False))


def _always(prepared: Prepared, between: Between) -> bool:
    return True


def _holds(prepared: Prepared, between: Between) -> bool:
    """Whether the custodian takes part now, and its law is known."""
    return between.law is not None and between.custodian is not None and between.custodian.active(prepared.now)


def _refused(rule: str) -> _Concern:
    return lambda prepared, between: prepared.refusal is not None and prepared.refusal.rule == rule


def _self(prepared: Prepared, between: Between) -> bool:
    return prepared.is_self


def _proxy(prepared: Prepared, between: Between) -> bool:
    return prepared.is_proxy


def _others(prepared: Prepared, between: Between) -> bool:
    return not prepared.is_self and not prepared.is_proxy


def _emergency(prepared: Prepared, between: Between) -> bool:
    return prepared.purpose == "BTG"


def _protects(between: Between) -> bool:
    return between.law is None or bool(between.law.consent_required)


def _by_default(prepared: Prepared, between: Between) -> bool:
    law = between.law
    return law is not None and law.opt_out and not law.default_purposes.isdisjoint(prepared.families)


def _directed(prepared: Prepared, between: Between) -> bool:
    return prepared.directed and _others(prepared, between)


def _if(condition: bool, *basis: BasisItem) -> _Basis | None:
    return basis if condition else None


def _gate_rule(rule: str) -> Callable[[_Question], _Basis | None]:
    def fires(q: _Question) -> _Basis | None:
        refusal = q.prepared.refusal
        return refusal.basis if refusal is not None and refusal.rule == rule else None

    return fires


def _g1(q: _Question) -> _Basis | None:
    refusal = q.prepared.refusal
    if refusal is not None and refusal.rule == "G1":
        return ()
    document = q.document
    usable = (
        document.patient in q.prepared.ids
        and q.prepared.patient_law is not None
        and (document.confidentiality is None or document.confidentiality in RANK)
        and document.labels <= q.prepared.policy.tables.known_labels
    )
    return None if usable else ()


def _g3(q: _Question) -> _Basis | None:
    custodian = q.between.custodian
    if custodian is None:
        return _no_agreement(q.document.custodian)
    return None if _holds(q.prepared, q.between) else custodian.agreement_basis


def _g7(q: _Question) -> _Basis | None:
    refusal = q.prepared.refusal
    if refusal is not None:
        return refusal.basis if refusal.rule == "G7" else None
    grant = q.prepared.request.break_glass
    if q.prepared.purpose == "BTG" and (grant is None or grant.patient not in q.prepared.ids):
        return (BasisItem(kind="break-glass", id=grant.id),) if grant is not None else ()
    return None


def _x1(q: _Question) -> _Basis | None:
    sources = q.document.derived_from
    if not sources:
        return None
    # A chain of derivations too long to follow is treated as one that ends in a denial.
    if q.depth >= _MAX_DERIVATION:
        return ()
    for source in sources:
        if not q.prepared._settle(source, None, q.depth + 1).permitted:
            return ()
    return None


def _reached(q: _Question, years: int | None, *, surely: bool, unknown: bool) -> bool:
    """Whether the patient has reached an age; `unknown` is the answer when the law names none."""
    if years is None:
        return unknown
    earliest, latest = time.birthday(q.prepared.birth_date, years, q.prepared.zone)
    return q.prepared.now >= (latest if surely else earliest)


def _p1_self(q: _Question) -> _Basis | None:
    return _if(q.prepared.is_self and NOPAT in q.carried)


def _p2(q: _Question) -> _Basis | None:
    if not q.prepared.is_self:
        return None
    law = q.prepared.patient_law
    age = None if law is None else law.confidential_age if law.confidential_age is not None else law.majority_age
    return _if(not _reached(q, age, surely=True, unknown=False), *_law_item(law))


def _p3(q: _Question) -> _Basis | None:
    return _if(q.prepared.is_self)


def _proxy_item(q: _Question) -> _Basis:
    grant = q.prepared.request.proxy_grant
    return (BasisItem(kind="proxy", id=grant.id),) if grant is not None else ()


def _p4(q: _Question) -> _Basis | None:
    if not q.prepared.is_proxy:
        return None
    grant, law = q.prepared.request.proxy_grant, q.prepared.patient_law
    if grant is None or law is None:
        return ()
    valid = (
        grant.status == "active"
        and grant.kind in PROXY_KINDS
        and grant.patient in q.prepared.ids
        and grant.person == q.prepared.user
    )
    if valid:
        try:
            since, until = time.bounds(grant.start, grant.end, law.zone)
        except time.UnreadableDate:
            return _proxy_item(q)
        valid = since <= q.prepared.now < until
    return None if valid else _proxy_item(q)


def _p5(q: _Question) -> _Basis | None:
    grant, law = q.prepared.request.proxy_grant, q.prepared.patient_law
    if not q.prepared.is_proxy or grant is None or grant.kind not in ("parent", "guardian-of-minor"):
        return None
    age = law.majority_age if law is not None else None
    return _if(_reached(q, age, surely=False, unknown=True), *_proxy_item(q), *_law_item(law))


def _p1_proxy(q: _Question) -> _Basis | None:
    return _if(q.prepared.is_proxy and NOPAT in q.carried)


def _p6(q: _Question) -> _Basis | None:
    law = q.prepared.patient_law
    if not q.prepared.is_proxy or law is None or law.confidential_labels.isdisjoint(q.feared):
        return None
    if _reached(q, law.majority_age, surely=True, unknown=False):
        return None
    if not _reached(q, law.confidential_age, surely=False, unknown=True):
        return None
    # Surely this person: it opens.
    named = any(q.prepared.user in path.named_exact for path in q.paths_if(Verdict.PERMIT))
    return None if named else _law_item(law)


def _p7(q: _Question) -> _Basis | None:
    if not q.prepared.is_proxy:
        return None
    families, names = q.prepared.families, called(q.prepared.user)
    deciding = [
        path
        for path in q.paths_if(Verdict.DENY)
        if not (names.isdisjoint(path.named_broad) and path.purposes.isdisjoint(families))
    ]
    return _items(tuple(deciding)) if deciding else None


def _p8(q: _Question) -> _Basis | None:
    grant = q.prepared.request.proxy_grant
    if not q.prepared.is_proxy or grant is None:
        return None
    limit = grant.max_confidentiality
    highest = RANK_N if limit is None else RANK.get(limit)
    return _if(highest is None or q.rank > highest, *_proxy_item(q))


def _p9(q: _Question) -> _Basis | None:
    return _if(q.prepared.is_proxy, *_proxy_item(q))


def _c1(q: _Question) -> _Basis | None:
    if not q.between.own or q.prepared.families.isdisjoint(TPO):
        return None
    # Perhaps this person: it closes. A reference with the address of a server, or in a role in doubt, may be exactly it.
    names = called(q.prepared.user)
    named = any(not names.isdisjoint(path.named_broad) for path in q.paths_if(Verdict.DENY))
    return None if named else ()


def _reaching(rules: tuple[Rule, ...], q: _Question, labels: frozenset[str]) -> _Basis | None:
    found = [rule for rule in rules if rule.reaches(q.document, labels, q.rank)]
    return _together(found) if found else None


def _l1(q: _Question) -> _Basis | None:
    return _reaching(q.between.prohibitions, q, q.feared)


def _l2(q: _Question) -> _Basis | None:
    if q.law is None or any(required.label in q.feared for required in q.law.consent_required):
        return None
    return _reaching(q.between.mandates, q, q.carried)


def _o1(q: _Question) -> _Basis | None:
    return _reaching(q.between.release_rules, q, q.feared)


def _d1(q: _Question) -> _Basis | None:
    if q.prepared.purpose != "BTG" or q.law is None or not q.law.honours_refusal:
        return None
    deciding = [path for path in q.paths_if(Verdict.DENY) if "BTG" in path.refused]
    return _items(tuple(deciding)) if deciding else None


def _d2(q: _Question) -> _Basis | None:
    if q.prepared.purpose != "BTG" or q.rank > RANK_R:
        return None
    grant = q.prepared.request.break_glass
    return (BasisItem(kind="break-glass", id=grant.id),) if grant is not None else None


def _by_verdict(q: _Question, verdict: Verdict) -> _Basis | None:
    paths = q.paths_if(verdict)
    return _items(paths) if paths else None


def _d3(q: _Question) -> _Basis | None:
    return _by_verdict(q, Verdict.DENY)


def _d4(q: _Question) -> _Basis | None:
    if q.law is None:
        return ()
    missing = [
        required
        for required in q.law.consent_required
        if required.label in q.feared and not any(_covers(path, required) for path in q.paths_if(Verdict.PERMIT))
    ]
    return _together(missing) if missing else None


def _d5(q: _Question) -> _Basis | None:
    if q.rank < RANK_V:
        return None
    opened = any("V" in path.letters for path in q.paths_if(Verdict.PERMIT))
    return None if opened else _items(q.heard[1])


def _d6(q: _Question) -> _Basis | None:
    return _by_verdict(q, Verdict.PERMIT)


def _d7(q: _Question) -> _Basis | None:
    return _by_verdict(q, Verdict.WEAK_DENY)


def _f3(q: _Question) -> _Basis | None:
    if q.law is None:
        return ()
    return None if q.law.opt_out else q.law.default_basis


def _f1(q: _Question) -> _Basis | None:
    law = q.law
    if (
        law is not None
        and _by_default(q.prepared, q.between)
        and q.rank <= law.default_ceiling
        and q.document.labelled
        and law.default_excluded.isdisjoint(q.feared)
    ):
        return law.default_basis
    return None


def _f2(q: _Question) -> _Basis | None:
    return q.law.default_basis if q.law is not None else ()


RULES: Final = (
    _Rule("G1", "invalid-request", False, _g1, _always),
    _Rule("G2", "participant-not-active", False, _gate_rule("G2"), _refused("G2")),
    _Rule("G3", "custodian-not-active", False, _g3, lambda p, b: not _holds(p, b)),
    _Rule("G4", "purpose-not-permitted", False, _gate_rule("G4"), _refused("G4")),
    _Rule("G5", "role-not-permitted", False, _gate_rule("G5"), _refused("G5")),
    _Rule("G6", "relationship-required", False, _gate_rule("G6"), _refused("G6")),
    _Rule("G7", "break-glass-invalid", False, _g7, lambda p, b: _emergency(p, b) or _refused("G7")(p, b)),
    _Rule("X1", "derived-from-denied", False, _x1, _always),
    _Rule("P1", "withheld-from-patient", False, _p1_self, _self),
    _Rule("P2", "minor-too-young", False, _p2, _self),
    _Rule("P3", "self-access", True, _p3, _self),
    _Rule("P4", "proxy-not-authorized", False, _p4, _proxy),
    _Rule("P5", "proxy-ended-majority", False, _p5, _proxy),
    _Rule("P1", "withheld-from-patient", False, _p1_proxy, _proxy),
    _Rule("P6", "minor-confidential", False, _p6, _proxy),
    _Rule("P7", "proxy-denied-by-patient", False, _p7, _proxy),
    _Rule("P8", "proxy-scope", False, _p8, _proxy),
    _Rule("P9", "proxy-access", True, _p9, _proxy),
    _Rule("C1", "own-organization", True, _c1, lambda p, b: _others(p, b) and b.own),
    _Rule("L1", "legal-prohibition", False, _l1, lambda p, b: _others(p, b) and bool(b.prohibitions)),
    _Rule("L2", "legal-mandate", True, _l2, lambda p, b: _others(p, b) and bool(b.mandates)),
    _Rule("O1", "release-policy", False, _o1, lambda p, b: _others(p, b) and bool(b.release_rules)),
    _Rule("D1", "patient-refused-emergency", False, _d1, _emergency),
    _Rule("D2", "break-glass", True, _d2, _emergency),
    _Rule("D3", "patient-deny", False, _d3, _directed),
    _Rule("D4", "explicit-consent-required", False, _d4, lambda p, b: _others(p, b) and _protects(b)),
    _Rule("D5", "very-restricted", False, _d5, _others),
    _Rule("D6", "patient-permit", True, _d6, _directed),
    _Rule("D7", "outside-consent-scope", False, _d7, _directed),
    _Rule("F3", "no-consent", False, _f3, _others),
    _Rule("F1", "default-opt-out", True, _f1, lambda p, b: _others(p, b) and _by_default(p, b)),
    _Rule("F2", "default-not-covered", False, _f2, _others),
)


# --- what paths cover, and obligations


def _covers(path: Path, required: ConsentRequired) -> bool:
    named = not path.labels.isdisjoint(required.covered_by)
    by_policy = not path.policy_codes.isdisjoint(required.policy_codes)
    return (named or by_policy) and path.for_a_purpose


@lru_cache(maxsize=KEPT)
def _usual_obligations(families: frozenset[str]) -> tuple[str, ...]:
    """What goes with a permit by consent or default for a purpose with these ancestors."""
    minimum = () if families.isdisjoint(("HPAYMT", "HOPERAT")) else ("MINEC",)
    return (*minimum, "NORELINK") if "HRESCH" in families else minimum


def _obligations(rule: str, q: _Question) -> tuple[str, ...]:
    """Obligations and refrains that go with a permit, sorted."""
    part2 = PART2 in q.carried
    if rule == "L2":
        return ("ACCOUNT",)
    if rule == "F1":
        return q.prepared.usual
    if rule == "D2":
        return tuple(sorted((*_EMERGENCY, "PART2-NOTICE", "NORDSCLCD"))) if part2 else _EMERGENCY
    if rule == "D6":
        found = [*q.prepared.usual]
        if q.prepared.purpose == "BTG":
            found += _EMERGENCY
        if part2 and not q.between.own:
            found += ("PART2-NOTICE", "REDISCLOSE-HIPAA" if any(path.for_tpo for path in q.heard[1]) else "NORDSCLCD")
        return tuple(sorted(found))
    return ()


def _together(several: Iterable[Rule | ConsentRequired]) -> _Basis:
    return tuple(item for one in several for item in one.basis)


def _items(paths: tuple[Path, ...]) -> _Basis:
    """What these paths name, each once, in one order whatever that of the directives and their provisions."""
    if len(paths) == 1:
        return paths[0].basis
    items = {item for path in paths for item in path.basis}
    return tuple(sorted(items, key=lambda one: (one.id, one.version, one.path)))


def _no_agreement(organization: str | None) -> _Basis:
    return (BasisItem(kind="agreement", id=organization or ""),)


def _law_item(law: Jurisdiction | None) -> _Basis:
    return law.basis if law is not None else ()


def _deny(rule: str, reason: str, *basis: BasisItem) -> Decision:
    return Decision(permitted=False, rule=rule, reason=reason, basis=basis)
