"""Permit or deny: the rules in order, one function for every way out.

`decide` is the one decision point. `gate` answers from what the caller is and
claims alone; `explain` runs the same rules and keeps what each of them said.
Nothing here reads a clock, a database or a setting.

Source: spec/consent.md sections 6, 7 and 9.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from consent.engine import time
from consent.engine.codes import (
    NOPAT,
    OPERATION_ACTIONS,
    PART2,
    PROXY_KINDS,
    RANK,
    RANK_N,
    RANK_R,
    RANK_V,
    canonical_codings,
)
from consent.engine.directive import Directive
from consent.engine.matching import Asker, Live, Path, Subject, Verdict, in_force, live_tree, root_verdict
from consent.engine.policy import ConsentRequired, Jurisdiction, Participant, Policy, Rule, matches
from hie.standards.facts import BasisItem, Decision, DocumentFacts, RequestFacts, SubjectFacts

_DISCLOSE: Final = frozenset({"disclose"})
_MAX_DERIVATION: Final = 32
_OWN_CARE: Final = frozenset({"TREAT", "HPAYMT", "HOPERAT"})
_EMERGENCY: Final = ("NOREUSE", "NOTIFY-PATIENT", "REVIEW")
_TPO: Final = frozenset({"TREAT", "HPAYMT", "HOPERAT"})


@dataclass(frozen=True, slots=True)
class PatientPolicy:
    """A person and every directive in store under any of the person's ids, in an order that does not matter."""

    subject: SubjectFacts
    directives: tuple[Directive, ...]


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

    `refusal` is the gate's decision (None: passed). Without a patient only the gate is known.
    """

    __slots__ = (
        "_live",
        "asker",
        "carried_cache",
        "families",
        "ids",
        "known_labels",
        "now",
        "opaque",
        "patient",
        "patient_law",
        "policy",
        "purpose",
        "refusal",
        "request",
        "requester",
        "rules",
        "user",
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
        self.asker: Asker | None = None
        self.opaque: list[Directive] = []
        self._live: list[tuple[Directive, Live]] | None = None
        self.carried_cache: dict[frozenset[str], frozenset[str]] = {}
        self.known_labels = policy.tables.known_labels
        self.refusal = self._gate()
        self.rules = tuple(rule for rule in RULES if rule.concerns(self)) if patient is not None else RULES

    # --- the gate

    def _gate(self) -> Decision | None:
        request, policy, requester = self.request, self.policy, self.requester
        if not self._valid():
            return _deny("G1", "invalid-request")
        agreement = BasisItem(
            kind="agreement", id=requester.agreement_id if requester else str(request.organization or "")
        )
        if requester is None or not requester.active(self.now):
            return _deny("G2", "participant-not-active", agreement)
        if not policy.tables.permits(requester.purposes, self.purpose):
            return _deny("G4", "purpose-not-permitted", agreement)
        if not policy.tables.permits(policy.tables.roles[str(request.role)], self.purpose):
            return _deny("G5", "role-not-permitted")
        if (
            requester.requires_relationship
            and "TREAT" in self.families
            and self.purpose != "BTG"
            and not request.relationship
        ):
            return _deny("G6", "relationship-required", agreement)
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

    def live(self) -> list[tuple[Directive, Live]]:
        """The directives in force that this request can meet at all; fills `opaque` with the unreadable ones."""
        if self._live is not None:
            return self._live
        found: list[tuple[Directive, Live]] = []
        patient = self.patient
        if patient is not None and patient.directives and self.patient_law is not None and self.requester is not None:
            zone = self.patient_law.zone
            asker = Asker.of(self.request, self.requester)
            for directive in patient.directives:
                if not in_force(directive, now=self.now, families=self.families, zone=zone):
                    continue
                if directive.root is None:
                    self.opaque.append(directive)
                    continue
                live = live_tree(directive.root, now=self.now, families=self.families, asker=asker, zone=zone)
                if live is not None:
                    found.append((directive, live))
        self._live = found
        return found

    def considered(self) -> tuple[BasisItem, ...]:
        """Every consent in force for this request, whether it decided or not (spec/consent.md 13)."""
        if self.patient is None or self.patient_law is None:
            return ()
        return tuple(
            BasisItem(kind="consent", id=one.id, version=one.version)
            for one in self.patient.directives
            if in_force(one, now=self.now, families=self.families, zone=self.patient_law.zone)
        )

    # --- documents

    def decide(self, document: DocumentFacts, *, trace: list[RuleTrace] | None = None, depth: int = 0) -> Decision:
        """Decide one document; with `trace`, also note every rule tried."""
        question = _Question(self, document, depth)
        for rule in self.rules if trace is None else RULES:
            basis = rule.fires(question)
            if trace is not None:
                trace.append(RuleTrace(rule.rule, rule.reason, basis is not None, basis or ()))
            if basis is None:
                continue
            obligations = _obligations(rule.rule, question) if rule.permits else ()
            if rule.permits and self._cannot_keep(obligations):
                return _decision(question, False, rule.rule, "obligation-not-supported", (), basis)
            return _decision(question, rule.permits, rule.rule, rule.reason, obligations, basis)
        raise AssertionError("the last rule always fires")

    def _cannot_keep(self, obligations: tuple[str, ...]) -> bool:
        return (
            self.policy.require_obligations
            and self.requester is not None
            and not self.requester.obligations.issuperset(obligations)
        )


class _Question:
    """One document of a prepared request, with what several rules ask about it."""

    __slots__ = (
        "_verdict",
        "carried",
        "classes",
        "codes",
        "custodian",
        "depth",
        "document",
        "law",
        "own",
        "prepared",
        "rank",
    )

    def __init__(self, prepared: Prepared, document: DocumentFacts, depth: int) -> None:
        self.prepared = prepared
        self.document = document
        self.depth = depth
        tables = prepared.policy.tables
        self.custodian = prepared.policy.participants.get(document.custodian)
        labels = document.labels | {PART2} if self.custodian and self.custodian.part2 else document.labels
        carried = prepared.carried_cache.get(labels)
        if carried is None:
            carried = prepared.carried_cache[labels] = tables.carried(labels)
        self.carried = carried
        self.classes = canonical_codings(document.classes)
        self.codes = canonical_codings(document.codes)
        stated = RANK_R if document.confidentiality is None else RANK.get(document.confidentiality, RANK_V)
        self.rank = max(stated, 0 if document.labelled else RANK_R, tables.floor(carried))
        self.law: Jurisdiction | None = self.custodian.jurisdiction if self.custodian is not None else None
        requester = prepared.requester
        self.own = requester is not None and self.custodian is not None and requester.root == self.custodian.root
        self._verdict: tuple[Verdict, tuple[Path, ...]] | None = None

    @property
    def verdict(self) -> Verdict:
        return self._decided()[0]

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths of all consents with the winning verdict."""
        return self._decided()[1]

    def paths_if(self, verdict: Verdict) -> tuple[Path, ...]:
        decided, paths = self._decided()
        return paths if decided is verdict else ()

    def _decided(self) -> tuple[Verdict, tuple[Path, ...]]:
        if self._verdict is None:
            self._verdict = self._evaluate()
        return self._verdict

    def _evaluate(self) -> tuple[Verdict, tuple[Path, ...]]:
        prepared = self.prepared
        law, custodian = prepared.patient_law, self.custodian
        live = prepared.live()
        if not live and not prepared.opaque:
            return Verdict.NOTHING, ()
        found: dict[Verdict, list[Path]] = {}
        if prepared.opaque:
            found[Verdict.DENY] = [Path(one, ()) for one in prepared.opaque]
        if live and law is not None and custodian is not None:
            actions = OPERATION_ACTIONS[str(prepared.request.operation)]
            if "access" in actions and not self.own:
                actions = actions | _DISCLOSE
            subject = Subject(
                document=self.document,
                classes=self.classes,
                codes=self.codes,
                rank=self.rank,
                carried=self.carried,
                custodian=custodian,
                actions=actions,
                zone=law.zone,
            )
            for directive, tree in live:
                verdict, paths = root_verdict(tree, directive, subject)
                found.setdefault(verdict, []).extend(paths)
        for verdict in (Verdict.DENY, Verdict.PERMIT, Verdict.WEAK_DENY):
            if found.get(verdict):
                return verdict, tuple(found[verdict])
        return Verdict.NOTHING, ()


# --- rules: each gives what it rests on when it fires, else None


_Basis = tuple[BasisItem, ...]


def _always(prepared: Prepared) -> bool:
    return True


def _refused(rule: str) -> Callable[[Prepared], bool]:
    return lambda prepared: prepared.refusal is not None and prepared.refusal.rule == rule


def _emergency(prepared: Prepared) -> bool:
    return prepared.purpose == "BTG"


@dataclass(frozen=True, slots=True)
class _Rule:
    """One rule of section 6. `concerns`: whether it can fire at all for a request; the document only settles the rest."""

    rule: str
    reason: str
    permits: bool
    fires: Callable[[_Question], _Basis | None]
    concerns: Callable[[Prepared], bool] = _always


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
        and document.labels <= q.prepared.known_labels
    )
    return None if usable else ()


def _g3(q: _Question) -> _Basis | None:
    custodian = q.custodian
    if custodian is None or q.law is None or not custodian.active(q.prepared.now):
        return (BasisItem(kind="agreement", id=custodian.agreement_id if custodian else q.document.custodian),)
    return None


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
        if not q.prepared.decide(source, depth=q.depth + 1).permitted:
            return ()
    return None


def _self_asks(prepared: Prepared) -> bool:
    kind, _, identifier = prepared.user.partition("/")
    return "PATRQT" in prepared.families and kind == "Patient" and identifier in prepared.ids


def _proxy_asks(prepared: Prepared) -> bool:
    return "PATRQT" in prepared.families and not _self_asks(prepared)


def _is_self(q: _Question) -> bool:
    return _self_asks(q.prepared)


def _is_proxy(q: _Question) -> bool:
    return _proxy_asks(q.prepared)


def _reached(q: _Question, years: int | None, *, surely: bool, unknown: bool) -> bool:
    """Whether the patient has reached an age; `unknown` is the answer when the law names none."""
    law, patient = q.prepared.patient_law, q.prepared.patient
    if years is None or law is None or patient is None:
        return unknown
    earliest, latest = time.birthday(patient.subject.birth_date, years, law.zone)
    return q.prepared.now >= (latest if surely else earliest)


def _p1_self(q: _Question) -> _Basis | None:
    return _if(_is_self(q) and NOPAT in q.carried)


def _p2(q: _Question) -> _Basis | None:
    if not _is_self(q):
        return None
    law = q.prepared.patient_law
    age = None if law is None else law.confidential_age if law.confidential_age is not None else law.majority_age
    return _if(not _reached(q, age, surely=True, unknown=False), *_law_item(law))


def _p3(q: _Question) -> _Basis | None:
    return _if(_is_self(q))


def _proxy_item(q: _Question) -> _Basis:
    grant = q.prepared.request.proxy_grant
    return (BasisItem(kind="proxy", id=grant.id),) if grant is not None else ()


def _p4(q: _Question) -> _Basis | None:
    if not _is_proxy(q):
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
    if not _is_proxy(q) or grant is None or grant.kind not in ("parent", "guardian-of-minor"):
        return None
    age = law.majority_age if law is not None else None
    return _if(_reached(q, age, surely=False, unknown=True), *_proxy_item(q), *_law_item(law))


def _p1_proxy(q: _Question) -> _Basis | None:
    return _if(_is_proxy(q) and NOPAT in q.carried)


def _p6(q: _Question) -> _Basis | None:
    law = q.prepared.patient_law
    if not _is_proxy(q) or law is None or law.confidential_labels.isdisjoint(q.carried):
        return None
    if _reached(q, law.majority_age, surely=True, unknown=False):
        return None
    if not _reached(q, law.confidential_age, surely=False, unknown=True):
        return None
    named = any(_names(path, q.prepared.user, exactly=True) for path in q.paths_if(Verdict.PERMIT))
    return None if named else _law_item(law)


def _p7(q: _Question) -> _Basis | None:
    if not _is_proxy(q):
        return None
    families = q.prepared.families
    deciding = [
        path
        for path in q.paths_if(Verdict.DENY)
        if _names(path, q.prepared.user, exactly=False)
        or any(node.purposes is not None and not node.purposes.isdisjoint(families) for node in path.nodes)
    ]
    return _items(deciding) if deciding else None


def _p8(q: _Question) -> _Basis | None:
    grant = q.prepared.request.proxy_grant
    if not _is_proxy(q) or grant is None:
        return None
    limit = grant.max_confidentiality
    return _if(q.rank > (RANK_N if limit is None else RANK.get(limit, -1)), *_proxy_item(q))


def _p9(q: _Question) -> _Basis | None:
    return _if(_is_proxy(q), *_proxy_item(q))


def _c1(q: _Question) -> _Basis | None:
    if not q.own or q.prepared.families.isdisjoint(_OWN_CARE):
        return None
    named = any(_names(path, q.prepared.user, exactly=False) for path in q.paths_if(Verdict.DENY))
    return None if named else ()


def _rule_matches(rule: Rule, q: _Question) -> bool:
    requester = q.prepared.requester
    return requester is not None and matches(
        rule,
        families=q.prepared.families,
        requester=requester,
        carried=q.carried,
        classes=q.classes,
        codes=q.codes,
        rank=q.rank,
    )


def _l1(q: _Question) -> _Basis | None:
    emergency = q.prepared.purpose == "BTG"
    found = tuple(
        BasisItem(kind="law", id=rule.id)
        for rule in (q.law.prohibitions if q.law is not None else ())
        if not (emergency and rule.overridable) and _rule_matches(rule, q)
    )
    return found or None


def _l2(q: _Question) -> _Basis | None:
    if q.law is None or any(required.label in q.carried for required in q.law.consent_required):
        return None
    found = tuple(BasisItem(kind="law", id=rule.id) for rule in q.law.mandates if _rule_matches(rule, q))
    return found or None


def _o1(q: _Question) -> _Basis | None:
    emergency = q.prepared.purpose == "BTG"
    custodian: Participant | None = q.custodian
    found = tuple(
        BasisItem(kind="release", id=rule.id, path=owner)
        for owner, rule in (custodian.release_rules if custodian is not None else ())
        if not (emergency and rule.overridable) and _rule_matches(rule, q)
    )
    return found or None


def _d1(q: _Question) -> _Basis | None:
    if q.prepared.purpose != "BTG" or q.law is None or not q.law.honours_refusal:
        return None
    deciding = [
        path
        for path in q.paths_if(Verdict.DENY)
        if any(not node.permit and node.purposes is not None and "BTG" in node.purposes for node in path.nodes)
    ]
    return _items(deciding) if deciding else None


def _d2(q: _Question) -> _Basis | None:
    if q.prepared.purpose != "BTG" or q.rank > RANK_R:
        return None
    grant = q.prepared.request.break_glass
    return (BasisItem(kind="break-glass", id=grant.id),) if grant is not None else None


def _d3(q: _Question) -> _Basis | None:
    return _items(q.paths) if q.verdict is Verdict.DENY else None


def _d4(q: _Question) -> _Basis | None:
    if q.law is None:
        return ()
    permitting = q.paths_if(Verdict.PERMIT)
    missing = tuple(
        BasisItem(kind="law", id=required.id)
        for required in q.law.consent_required
        if required.label in q.carried and not any(_covers(path, required) for path in permitting)
    )
    return missing or None


def _d5(q: _Question) -> _Basis | None:
    if q.rank < RANK_V:
        return None
    opened = any("V" in node.listed_letters for path in q.paths_if(Verdict.PERMIT) for node in path.nodes)
    return None if opened else _items(q.paths)


def _d6(q: _Question) -> _Basis | None:
    return _items(q.paths) if q.verdict is Verdict.PERMIT else None


def _d7(q: _Question) -> _Basis | None:
    return _items(q.paths) if q.verdict is Verdict.WEAK_DENY else None


def _default_item(q: _Question) -> _Basis:
    return (BasisItem(kind="default", id=q.law.code),) if q.law is not None else ()


def _f3(q: _Question) -> _Basis | None:
    return _if(q.law is None or not q.law.opt_out, *_default_item(q))


def _f1(q: _Question) -> _Basis | None:
    law = q.law
    return _if(
        law is not None
        and law.opt_out
        and not law.default_purposes.isdisjoint(q.prepared.families)
        and q.rank <= law.default_ceiling
        and q.document.labelled
        and law.default_excluded.isdisjoint(q.carried),
        *_default_item(q),
    )


RULES: Final = (
    _Rule("G1", "invalid-request", False, _g1),
    _Rule("G2", "participant-not-active", False, _gate_rule("G2"), _refused("G2")),
    _Rule("G3", "custodian-not-active", False, _g3),
    _Rule("G4", "purpose-not-permitted", False, _gate_rule("G4"), _refused("G4")),
    _Rule("G5", "role-not-permitted", False, _gate_rule("G5"), _refused("G5")),
    _Rule("G6", "relationship-required", False, _gate_rule("G6"), _refused("G6")),
    _Rule("G7", "break-glass-invalid", False, _g7, lambda p: _emergency(p) or _refused("G7")(p)),
    _Rule("X1", "derived-from-denied", False, _x1),
    _Rule("P1", "withheld-from-patient", False, _p1_self, _self_asks),
    _Rule("P2", "minor-too-young", False, _p2, _self_asks),
    _Rule("P3", "self-access", True, _p3, _self_asks),
    _Rule("P4", "proxy-not-authorized", False, _p4, _proxy_asks),
    _Rule("P5", "proxy-ended-majority", False, _p5, _proxy_asks),
    _Rule("P1", "withheld-from-patient", False, _p1_proxy, _proxy_asks),
    _Rule("P6", "minor-confidential", False, _p6, _proxy_asks),
    _Rule("P7", "proxy-denied-by-patient", False, _p7, _proxy_asks),
    _Rule("P8", "proxy-scope", False, _p8, _proxy_asks),
    _Rule("P9", "proxy-access", True, _p9, _proxy_asks),
    _Rule("C1", "own-organization", True, _c1),
    _Rule("L1", "legal-prohibition", False, _l1),
    _Rule("L2", "legal-mandate", True, _l2),
    _Rule("O1", "release-policy", False, _o1),
    _Rule("D1", "patient-refused-emergency", False, _d1, _emergency),
    _Rule("D2", "break-glass", True, _d2, _emergency),
    _Rule("D3", "patient-deny", False, _d3),
    _Rule("D4", "explicit-consent-required", False, _d4),
    _Rule("D5", "very-restricted", False, _d5),
    _Rule("D6", "patient-permit", True, _d6),
    _Rule("D7", "outside-consent-scope", False, _d7),
    _Rule("F3", "no-consent", False, _f3),
    _Rule("F1", "default-opt-out", True, _f1),
    _Rule("F2", "default-not-covered", False, lambda q: _default_item(q)),
)


# --- paths and obligations


def _names(path: Path, person: str, *, exactly: bool) -> bool:
    """Whether some node of a path has this very person as recipient (spec/consent.md 6).

    `exactly`: surely this person, for what opens (P6). Otherwise perhaps, for what closes (C1, P7): a
    reference with the address of a server, or in a role that is in doubt, may be exactly that person.
    """
    if exactly:
        return any(person in node.named_exact for node in path.nodes)
    return any(person in node.named_broad for node in path.nodes)


def _covers(path: Path, required: ConsentRequired) -> bool:
    named = any(not node.listed_labels.isdisjoint(required.covered_by) for node in path.nodes)
    by_policy = not path.directive.policy_codes.isdisjoint(required.policy_codes)
    return (named or by_policy) and any(node.listed_purposes for node in path.nodes)


def _obligations(rule: str, q: _Question) -> tuple[str, ...]:
    """Obligations and refrains that go with a permit, sorted."""
    found: set[str] = set()
    families = q.prepared.families
    if rule == "L2":
        found.add("ACCOUNT")
    if rule == "D2" or (rule == "D6" and q.prepared.purpose == "BTG"):
        found.update(_EMERGENCY)
    if rule == "D2" and PART2 in q.carried:
        found.update(("PART2-NOTICE", "NORDSCLCD"))
    if rule in ("D6", "F1"):
        if not families.isdisjoint(("HPAYMT", "HOPERAT")):
            found.add("MINEC")
        if "HRESCH" in families:
            found.add("NORELINK")
    if rule == "D6" and PART2 in q.carried and not q.own:
        found.add("PART2-NOTICE")
        tpo = any(node.listed_purposes >= _TPO for path in q.paths for node in path.nodes)
        found.add("REDISCLOSE-HIPAA" if tpo else "NORDSCLCD")
    return tuple(sorted(found))


def _items(paths: Iterable[Path]) -> _Basis:
    items = {
        BasisItem(
            kind="consent",
            id=path.directive.id,
            version=path.directive.version,
            path=path.nodes[-1].path if path.nodes else "",
        )
        for path in paths
    }
    return tuple(sorted(items, key=lambda one: (one.id, one.version, one.path)))


def _law_item(law: Jurisdiction | None) -> _Basis:
    return (BasisItem(kind="law", id=law.code),) if law is not None else ()


def _deny(rule: str, reason: str, *basis: BasisItem) -> Decision:
    return Decision(permitted=False, rule=rule, reason=reason, basis=basis)


def _decision(
    q: _Question, permitted: bool, rule: str, reason: str, obligations: tuple[str, ...], basis: _Basis
) -> Decision:
    return Decision(
        permitted=permitted,
        rule=rule,
        reason=reason,
        obligations=obligations,
        basis=basis,
        document_id=q.document.id,
    )
