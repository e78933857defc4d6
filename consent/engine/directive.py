"""A FHIR R4 Consent read into a tree the engine can walk.

Reading never raises and never guesses: a Consent that cannot be understood
becomes a directive that denies everything for as long as it is in force. The
same reader gives filing its list of problems.

Where a criterion is uncertain, a permit node reaches only what surely matches
and a deny node whatever may match; so some criteria are read twice, once
exactly and once broadly.

Where the specification leaves a shape of input open, the comment at the rule says
how it is settled; `tests/consent/slow_evaluator.py` settles the same on its own.

Source: spec/consent.md section 5; HL7 FHIR R4 Consent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any, Final

from consent.engine import time
from consent.engine.codes import (
    ACT_CODE,
    ACT_REASON,
    ACTION,
    ACTIONS,
    CONFIDENTIALITY,
    DATA_MEANINGS,
    KEPT,
    OPTED,
    PARTICIPATION,
    RANK,
    RECIPIENT_ROLES,
    SCOPE,
    TPO,
    canonical_system,
)
from hie.standards.facts import BasisItem
from hie.standards.values import quick

MAX_DEPTH: Final = 64  # far beyond what filing allows (6); deeper is not read at all
MAX_READINGS: Final = 64  # of actors whose role is in doubt, in one provision
_KINDS: Final = ("recipient", "custodian", "author", "other")
_SCOPES: Final = frozenset({"patient-privacy", "research", "treatment", "adr"})
_NONE: Final[frozenset[str]] = frozenset()
_STATUSES: Final = frozenset({"draft", "proposed", "active", "rejected", "inactive", "entered-in-error"})


@dataclass(frozen=True, slots=True)
class Problem:
    """What makes a Consent unintelligible: the FHIR element and why, in one sentence."""

    element: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """One actor of a provision.

    `exact` and `broad` are references ("Type/id"), all that are exact among the broad; `identifiers` are ``system|value``,
    `loose_values` values without a system; `uncertain`: it cannot be told who is meant.
    """

    exact: frozenset[str] = frozenset()
    broad: frozenset[str] = frozenset()
    identifiers: frozenset[str] = frozenset()
    loose_values: frozenset[str] = frozenset()
    uncertain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A Period as text, each side readable or absent."""

    start: str | None
    end: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parties:
    """The actors of a provision by kind; None = no actor of that kind, that is, no limit."""

    recipients: tuple[Actor, ...] | None = None
    custodians: tuple[Actor, ...] | None = None
    authors: tuple[Actor, ...] | None = None
    other_actor: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One provision. None = criterion absent, that is, no limit.

    `listed_purposes`, `listed_labels` and `listed_letters` are the codes it lists by
    name. `purposes` is what matches (in a deny node also codes without a system).
    `letters_given`: some code is of the confidentiality system, `ranks` the known ones of
    these; `loose_ranks` and `loose_labels` come from label codes without a system.
    `or_else`: the other readings of the actors, where the role of one is in doubt.
    """

    path: str
    permit: bool
    period: Period | None = None
    purposes: frozenset[str] | None = None
    listed_purposes: frozenset[str] = frozenset()
    actions: frozenset[str] | None = None
    recipients: tuple[Actor, ...] | None = None
    custodians: tuple[Actor, ...] | None = None
    authors: tuple[Actor, ...] | None = None
    other_actor: bool = False
    or_else: tuple[Parties, ...] = ()
    classes: frozenset[str] | None = None
    loose_classes: frozenset[str] = frozenset()
    codes: frozenset[str] | None = None
    loose_codes: frozenset[str] = frozenset()
    labels_given: bool = False
    letters_given: bool = False
    unknown_letter: bool = False
    ranks: frozenset[int] = frozenset()
    loose_ranks: frozenset[int] = frozenset()
    loose_labels: frozenset[str] = frozenset()
    listed_labels: frozenset[str] = frozenset()
    listed_letters: frozenset[str] = frozenset()
    data: tuple[tuple[str, str], ...] | None = None  # (meaning or "", reference or "")
    data_period: Period | None = None
    named_exact: frozenset[str] = frozenset()
    named_broad: frozenset[str] = frozenset()
    children: tuple[Node, ...] = ()


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """The nodes from the root of a directive to one of them, as the rules of section 6 ask about all of them together.

    `basis` names the last node; a directive that is unintelligible has a path of no nodes, which names and lists nothing.
    `named_exact` and `named_broad` are the recipients, `purposes` what matches (in a deny node also codes without a
    system), `refused` the same of the deny nodes alone, `labels` and `letters` the codes listed. `for_a_purpose`: some
    node lists one; `for_tpo`: some node lists TREAT, HPAYMT and HOPERAT.
    """

    basis: tuple[BasisItem]
    policy_codes: frozenset[str] = _NONE
    named_exact: frozenset[str] = _NONE
    named_broad: frozenset[str] = _NONE
    purposes: frozenset[str] = _NONE
    refused: frozenset[str] = _NONE
    labels: frozenset[str] = _NONE
    letters: frozenset[str] = _NONE
    for_a_purpose: bool = False
    for_tpo: bool = False

    def to(self, node: Node) -> Path:
        """This path and one node more."""
        matching = node.purposes if node.purposes is not None else _NONE
        (of_directive,) = self.basis
        return Path(
            basis=(replace(of_directive, path=node.path),),
            policy_codes=self.policy_codes,
            named_exact=self.named_exact | node.named_exact,
            named_broad=self.named_broad | node.named_broad,
            purposes=self.purposes | matching,
            refused=self.refused if node.permit else self.refused | matching,
            labels=self.labels | node.listed_labels,
            letters=self.letters | node.listed_letters,
            for_a_purpose=self.for_a_purpose or bool(node.listed_purposes),
            for_tpo=self.for_tpo or node.listed_purposes >= TPO,
        )


_OF_AUTHORS: Final = ("authors", "perhaps")
_OF_DATA: Final = ("id", "encounter", "related", "depends_on", "authors", "perhaps")


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A node with the path to it and its exceptions: the tree of a directive, or what a request leaves of it.

    `readings`: those of its actors that the request leaves possible (see `Node.or_else`). `by_party`: it asks who holds
    or wrote the document. `by_content`: it asks what the document is. `asks`: the members of `DocumentFacts` that the
    node or one below it looks at, besides those that every document is decided by and its times.
    """

    node: Node
    path: Path
    children: tuple[Branch, ...]
    readings: tuple[Node | Parties, ...]
    by_party: bool
    by_content: bool
    asks: frozenset[str]

    @classmethod
    def of(cls, node: Node, above: Path) -> Branch:
        """The whole tree of a node below a path."""
        path = above.to(node)
        children = tuple(cls.of(child, path) for child in node.children)
        readings: tuple[Node | Parties, ...] = (node, *node.or_else)
        by_author = any(one.authors is not None for one in readings)
        by = {
            ("classes",): node.classes is not None,
            ("codes",): node.codes is not None,
            _OF_DATA: node.data is not None,
        }
        asks = [members for members, asked in {**by, _OF_AUTHORS: by_author}.items() if asked]
        return cls(
            node=node,
            path=path,
            children=children,
            readings=readings,
            by_party=by_author or any(one.custodians is not None for one in readings),
            by_content=node.labels_given or node.data_period is not None or any(by.values()),
            asks=frozenset().union(*asks, *(child.asks for child in children)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """A Consent as the engine sees it.

    `counts`: status and patient allow it to be in force at all. With `problems` it
    is unintelligible, `root` and `tree` are None. `since` and `period` bound the time in force.
    """

    id: str
    version: str
    counts: bool
    privacy: bool
    research: bool
    since: str | None = None
    period: Period | None = None
    policy_codes: frozenset[str] = frozenset()
    root: Node | None = None
    problems: tuple[Problem, ...] = ()
    unknown_codes: tuple[Problem, ...] = ()
    depth: int = 0
    size: int = 0
    tree: Branch | None = None

    @property
    def path(self) -> Path:
        """The path of no nodes: of the directive as a whole."""
        return Path(
            basis=(BasisItem(kind="consent", id=self.id, version=self.version),), policy_codes=self.policy_codes
        )


@dataclass(slots=True)
class _Reading:
    """What is noticed while reading one Consent."""

    problems: list[Problem] = field(default_factory=list)
    unknown: list[Problem] = field(default_factory=list)
    depth: int = 0
    size: int = 0

    def problem(self, element: str, message: str) -> None:
        self.problems.append(Problem(element, message))


def compile_directive(
    resource: object,
    *,
    directive_id: str,
    version: str = "",
    patient_ids: frozenset[str] | None = None,
) -> Directive:
    """Read a FHIR Consent; any JSON value is accepted.

    `patient_ids` are the ids (without ``Patient/``) under which the patient is known:
    a Consent of somebody else does not count. None: the store vouches for whose it is.
    Whatever cannot be understood makes the directive a deny of everything.
    """
    try:
        return _read(resource, directive_id, version, patient_ids)
    except Exception as problem:  # any shape at all may be in store: what cannot be read must deny, not crash
        return _opaque(directive_id, version, Problem("Consent", f"cannot be read ({type(problem).__name__})"))


def _opaque(directive_id: str, version: str, problem: Problem) -> Directive:
    return Directive(id=directive_id, version=version, counts=True, privacy=True, research=True, problems=(problem,))


def _read(resource: object, directive_id: str, version: str, patient_ids: frozenset[str] | None) -> Directive:
    if not isinstance(resource, dict):
        return _opaque(directive_id, version, Problem("Consent", "is not a JSON object"))
    reading = _Reading()
    if resource.get("resourceType", "Consent") != "Consent":
        reading.problem("Consent.resourceType", "is not Consent")
    counts = _status_counts(resource, reading) and _about(resource, patient_ids, reading)
    privacy, research = _scope(resource, reading)
    if not _is_plain(resource):
        _modifiers(resource, reading)
        _dates(resource, reading)
    since = _date(resource, "dateTime", "Consent.dateTime", reading)
    base, perhaps, policy_codes = _policy_rule(resource, reading)
    period: Period | None = None
    root: Node | None = None
    provision = resource.get("provision", {} if "provision" not in resource else None)
    if not isinstance(provision, dict):
        reading.problem("Consent.provision", "is not an object")
    else:
        stated = provision.get("type")
        if "type" in provision and stated not in ("permit", "deny"):
            reading.problem("Consent.provision.type", "is neither permit nor deny")
        elif stated is not None and perhaps - {stated}:
            reading.problem("Consent.provision.type", "contradicts Consent.policyRule")
        decided = stated if stated in ("permit", "deny") else base
        if decided is None and not reading.problems:
            reading.problem(
                "Consent.provision.type", "no base decision: neither type nor policyRule says permit or deny"
            )
        before = len(reading.problems)
        period = _period(provision, "period", "Consent.provision.period", reading)
        if len(reading.problems) > before:
            period = None  # a period that cannot be read does not take the consent out of force
        path = "provision" if stated is not None else "policyRule"
        root = _node(provision, path, "Consent.provision", decided == "permit", reading, depth=0)
    directive = Directive(
        id=directive_id,
        version=version,
        counts=counts,
        privacy=privacy,
        research=research,
        since=since,
        period=period,
        policy_codes=policy_codes,
        root=None if reading.problems else root,
        problems=tuple(dict.fromkeys(reading.problems)),
        unknown_codes=tuple(reading.unknown),
        depth=reading.depth,
        size=reading.size,
    )
    if directive.root is None:
        return directive
    return replace(directive, tree=Branch.of(directive.root, directive.path))


def _status_counts(resource: Mapping[str, Any], reading: _Reading) -> bool:
    status = resource.get("status")
    if status not in _STATUSES if isinstance(status, str) else True:
        reading.problem("Consent.status", "is missing or unknown")
        return True
    return status == "active"


def _about(resource: Mapping[str, Any], patient_ids: frozenset[str] | None, reading: _Reading) -> bool:
    """Whether the Consent is about this patient; one that does not say counts, and denies."""
    patient = resource.get("patient")
    if patient_ids is None:
        return True
    reference = patient.get("reference") if isinstance(patient, dict) else None
    if not isinstance(reference, str) or not reference:
        reading.problem("Consent.patient", "is missing or has no reference")
        return True
    kind, _, identifier = unversioned(reference).partition("/")
    if kind != "Patient" or not identifier or "/" in identifier:
        reading.problem("Consent.patient.reference", "is not a reference to a patient of this hub")
        return True
    return identifier in patient_ids


def _scope(resource: Mapping[str, Any], reading: _Reading) -> tuple[bool, bool]:
    """(counts for every purpose, counts for research)."""
    try:
        codings = _codings_of_concept(resource.get("scope"), "Consent.scope", reading)
    except _WrongShape:
        return True, True
    # A code without a system, or one that the system does not have, may mean privacy: a denial must not
    # fall out of force by it, nor a permit come into force. A code of another system means nothing (section 2).
    sure = {code for system, code in codings if system == SCOPE}
    perhaps = {code for system, code in codings if system in (SCOPE, None)}
    unknown = bool(perhaps - _SCOPES)
    if "patient-privacy" in sure:
        return True, "research" in sure
    privacy, research = "patient-privacy" in perhaps or unknown, "research" in perhaps or unknown
    if privacy or (research and "research" not in sure):
        reading.problem("Consent.scope", f"has a code that is none of the system {SCOPE}")
    return privacy, research


_NOT_OF_THE_CONSENT: Final = ("contained", "extension", "modifierExtension")


def _modifiers(resource: Mapping[str, Any], reading: _Reading) -> None:
    """Note every modifier that this hub does not implement, on the Consent and all of its parts.

    A part of a provision (an actor, a data reference) counts as the provision. What is contained,
    and what an extension holds, is not the Consent: there a modifier modifies nothing that is read.
    """
    # Not in the list of 5.3, but rules that nobody here knows are unknown input (section 1, fail closed).
    if "implicitRules" in resource:
        reading.problem("Consent.implicitRules", "rules that this hub does not know")
    stack: list[tuple[str, object]] = [("Consent", resource)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict):
            if "modifierExtension" in value:
                reading.problem(f"{path}.modifierExtension", "a modifier that this hub does not implement")
            stack.extend(
                (f"{path}.{key}", item)
                for key, item in value.items()
                if isinstance(item, dict | list) and key not in _NOT_OF_THE_CONSENT
            )
        elif isinstance(value, list):
            stack.extend((f"{path}[{index}]", item) for index, item in enumerate(value))


_DATE_NAMES: Final = frozenset({"date", "dateTime", "lastUpdated", "creation", "created", "recorded", "issued"})
_DATE_ENDINGS: Final = ("Date", "DateTime", "Instant")


def _dates(resource: Mapping[str, Any], reading: _Reading) -> None:
    """Note every date anywhere in the resource that cannot be read, in extensions and contained resources too.

    A date is what has the name of one in FHIR: `dateTime`, `…Date`, `…DateTime`, `…Instant`, the start and
    end of a `period` or `…Period`. One that is there as an extension only has no value to read.
    """
    stack: list[tuple[str, str, object]] = [("Consent", "", resource)]
    while stack:
        path, name, value = stack.pop()
        if isinstance(value, list):
            stack.extend((f"{path}[{index}]", name, item) for index, item in enumerate(value))
        if not isinstance(value, dict):
            continue
        for key, item in value.items():
            named = _date_of(key, name)
            if named:
                if key == named:
                    _date(value, key, f"{path}.{key}", reading)
                elif named not in value:
                    reading.problem(f"{path}.{named}", "has no value")
            if isinstance(item, dict | list):
                stack.append((f"{path}.{key}", key, item))


@lru_cache(maxsize=KEPT)
def _date_of(key: str, holder: str) -> str:
    """The element that a key says the value of, where that is a date for its name or for the `holder` it stands in; else ""."""
    named = key.removeprefix("_")
    is_side = named in ("start", "end") and (holder == "period" or holder.endswith("Period"))
    return named if is_side or named in _DATE_NAMES or named.endswith(_DATE_ENDINGS) else ""


def _is_plain(resource: Mapping[str, Any]) -> bool:
    """Whether `_modifiers` and `_dates` find nothing: one quick look for both, as of nearly every Consent."""
    if "implicitRules" in resource:
        return False
    stack: list[tuple[str, Any, bool]] = [("", resource, True)]
    while stack:
        name, value, own = stack.pop()
        if isinstance(value, list):
            stack += [(name, item, own) for item in value if isinstance(item, dict | list)]
            continue
        if own and "modifierExtension" in value:
            return False
        for key, item in value.items():
            named = _date_of(key, name)
            if named and (named not in value if key != named else not time.readable(item)):
                return False
            if isinstance(item, dict | list):
                stack.append((key, item, own and key not in _NOT_OF_THE_CONSENT))
    return True


def _policy_rule(resource: Mapping[str, Any], reading: _Reading) -> tuple[str | None, frozenset[str], frozenset[str]]:
    """(base decision that policyRule gives, those it may mean, its ActCode codes)."""
    if "policyRule" not in resource:
        return None, frozenset(), frozenset()
    rule = resource["policyRule"]
    if not isinstance(rule, dict):
        reading.problem("Consent.policyRule", "is not an object")
        return None, frozenset(), frozenset()
    if "coding" not in rule:
        return None, frozenset(), frozenset()  # text only: says nothing to a machine
    try:
        codings = _codings_of_concept(rule, "Consent.policyRule", reading)
    except _WrongShape:
        return None, frozenset(), frozenset()
    codes = frozenset(code for system, code in codings if system == ACT_CODE)
    sure = _opted(codes)
    # A code without a system gives no base decision (5.2 with section 2), or exceptions would open below a
    # denial that nobody stated; but what it may mean can contradict one that is stated.
    perhaps = sure | _opted(code for system, code in codings if system is None)
    if len(perhaps) > 1:
        reading.problem("Consent.policyRule", "says both opt in and opt out")
        return None, perhaps, codes
    return next(iter(sure), None), perhaps, codes


def _opted(codes: Iterable[str]) -> frozenset[str]:
    """The base decisions that these codes mean."""
    return frozenset(OPTED[code] for code in codes if code in OPTED)


# --- one provision


def _node(
    provision: Mapping[str, Any], path: str, element: str, permit: bool, reading: _Reading, *, depth: int
) -> Node:
    reading.size += 1
    reading.depth = max(reading.depth, depth)
    if depth > MAX_DEPTH:
        reading.problem(element, "nested too deep to be read")
        return Node(path=path, permit=permit)
    fields: dict[str, Any] = {}
    _read_purposes(provision, element, permit, reading, fields)
    _read_actions(provision, element, permit, reading, fields)
    _read_actors(provision, element, reading, fields)
    _read_labels(provision, element, reading, fields)
    fields["classes"], fields["loose_classes"] = _content_codes(_codings(provision, "class", element, reading), permit)
    fields["codes"], fields["loose_codes"] = _content_codes(_concepts(provision, "code", element, reading), permit)
    fields["data"] = _data(provision, element, reading)
    if depth > 0:  # the root's own period belongs to "in force"
        fields["period"] = _period(provision, "period", f"{element}.period", reading)
    fields["data_period"] = _period(provision, "dataPeriod", f"{element}.dataPeriod", reading)
    children: list[Node] = []
    for index, child in enumerate(_list(provision, "provision", f"{element}.provision", reading)):
        child_element = f"{element}.provision[{index}]"
        if not isinstance(child, dict):
            reading.problem(child_element, "is not an object")
            continue
        if child.get("type") not in ("permit", "deny"):
            reading.problem(f"{child_element}.type", "is neither permit nor deny")
        child_path = f"provision[{index}]" if depth == 0 else f"{path}.provision[{index}]"
        children.append(
            _node(child, child_path, child_element, child.get("type") == "permit", reading, depth=depth + 1)
        )
    return Node(path=path, permit=permit, children=tuple(children), **fields)


def _read_purposes(
    provision: Mapping[str, Any], element: str, permit: bool, reading: _Reading, fields: dict[str, Any]
) -> None:
    codings = _codings(provision, "purpose", element, reading)
    if codings is None:
        return
    fields["listed_purposes"] = frozenset(code for system, code in codings if system == ACT_REASON)
    fields["purposes"] = frozenset(
        code for system, code in codings if system == ACT_REASON or (system is None and not permit)
    )
    for system, code in codings:
        if system != ACT_REASON:
            reading.unknown.append(Problem(f"{element}.purpose", f"{code} is not of the system {ACT_REASON}"))


def _read_actions(
    provision: Mapping[str, Any], element: str, permit: bool, reading: _Reading, fields: dict[str, Any]
) -> None:
    codings = _concepts(provision, "action", element, reading)
    if codings is None:
        return
    fields["actions"] = frozenset(
        code for system, code in codings if system == ACTION or (system is None and not permit)
    )
    for system, code in codings:
        if system != ACTION or code not in ACTIONS:
            reading.unknown.append(Problem(f"{element}.action", f"{code} is not a consent action"))


def _read_labels(provision: Mapping[str, Any], element: str, reading: _Reading, fields: dict[str, Any]) -> None:
    codings = _codings(provision, "securityLabel", element, reading)
    if codings is None:
        return
    letters = frozenset(code for system, code in codings if system == CONFIDENTIALITY)
    loose = frozenset(code for system, code in codings if system is None)
    fields["labels_given"], fields["letters_given"] = True, bool(letters)
    fields["listed_letters"] = letters & RANK.keys()
    fields["listed_labels"] = frozenset(code for system, code in codings if system == ACT_CODE)
    fields["ranks"] = frozenset(RANK[one] for one in letters & RANK.keys())
    fields["unknown_letter"] = bool(letters - RANK.keys())
    fields["loose_ranks"] = frozenset(RANK[one] for one in loose & RANK.keys())
    fields["loose_labels"] = loose - RANK.keys()
    for system, code in codings:
        if not ((system == CONFIDENTIALITY and code in RANK) or system == ACT_CODE):
            reading.unknown.append(Problem(f"{element}.securityLabel", f"{code} is not a known label"))


def _read_actors(provision: Mapping[str, Any], element: str, reading: _Reading, fields: dict[str, Any]) -> None:
    if "actor" not in provision:
        return
    actors: list[tuple[tuple[str, ...], Actor]] = []
    named_exact: set[str] = set()
    named_broad: set[str] = set()
    for index, item in enumerate(_list(provision, "actor", f"{element}.actor", reading, empty_ok=False)):
        where = f"{element}.actor[{index}]"
        if not isinstance(item, dict):
            reading.problem(where, "is not an object")
            continue
        kinds = _actor_kinds(item, where, reading)
        actor = _actor(item.get("reference"), f"{where}.reference", "reference" in item, reading)
        if kinds == ("recipient",):
            named_exact |= actor.exact
        if "recipient" in kinds:
            named_broad |= actor.broad
        actors.append((kinds, actor))
    first, *others = _readings(actors)
    fields["recipients"], fields["custodians"], fields["authors"] = first.recipients, first.custodians, first.authors
    fields["other_actor"], fields["or_else"] = first.other_actor, tuple(others)
    fields["named_exact"], fields["named_broad"] = frozenset(named_exact), frozenset(named_broad)


def _readings(actors: list[tuple[tuple[str, ...], Actor]]) -> list[Parties]:
    """Every way to tell the actors' kinds apart; one, unless a role is in doubt.

    A permit matches when all readings do, a deny when one does.
    """
    if prod(len(kinds) for kinds, _ in actors) > MAX_READINGS:
        return [Parties(other_actor=True)]  # too many to try: a permit never matches, a deny always
    found: dict[Parties, None] = {}
    for chosen in product(*(kinds for kinds, _ in actors)):
        by_kind: dict[str, list[Actor]] = {}
        for kind, (_, actor) in zip(chosen, actors, strict=True):
            by_kind.setdefault(kind, []).append(actor)
        parties = Parties(
            recipients=tuple(by_kind["recipient"]) if "recipient" in by_kind else None,
            custodians=tuple(by_kind["custodian"]) if "custodian" in by_kind else None,
            authors=tuple(by_kind["author"]) if "author" in by_kind else None,
            other_actor="other" in by_kind,
        )
        found[parties] = None
    return list(found)


def _actor_kinds(item: Mapping[str, Any], where: str, reading: _Reading) -> tuple[str, ...]:
    """The kinds an actor may be of; several where its role does not tell.

    A role with codes of several kinds may mean any of them; one without a code, any kind at all. A code
    without a system may be of the right one or of another. Beside a code that names a kind, codes that
    name none are translations. A code of another system is another role (section 2).
    """
    role = item.get("role")
    if "role" not in item or (isinstance(role, dict) and "coding" not in role):
        reading.unknown.append(Problem(f"{where}.role", "is missing or has no code"))
        return _KINDS
    try:
        codings = _codings_of_concept(role, f"{where}.role", reading)
    except _WrongShape:
        return ("other",)
    sure = {_kind(code) for system, code in codings if system == PARTICIPATION} - {"other"}
    perhaps = sure | {_kind(code) for system, code in codings if system is None}
    kinds = perhaps - {"other"} if sure else {*perhaps, "other"}
    if not sure or len(kinds) > 1:
        reading.unknown.append(Problem(f"{where}.role", "is not recipient, custodian or author"))
    return tuple(kind for kind in _KINDS if kind in kinds)


def _kind(code: str) -> str:
    return "recipient" if code in RECIPIENT_ROLES else {"CST": "custodian", "AUT": "author"}.get(code, "other")


def _actor(reference: object, element: str, given: bool, reading: _Reading) -> Actor:
    if not isinstance(reference, dict):
        if given:
            reading.problem(element, "is not an object")
        return Actor(uncertain=True)
    exact: set[str] = set()
    broad: set[str] = set()
    identifiers: set[str] = set()
    loose: set[str] = set()
    uncertain = "reference" not in reference and "identifier" not in reference
    if "reference" in reference:
        text = reference["reference"]
        if not isinstance(text, str) or not text:
            reading.problem(f"{element}.reference", "is not a reference")
        elif text.startswith("#"):
            uncertain = True  # a contained resource: nobody the hub knows by id
        else:
            exact.add(unversioned(text))
            broad.update({unversioned(text), "/".join(unversioned(text).split("/")[-2:])})
    if "identifier" in reference:
        identifier = reference["identifier"]
        if not isinstance(identifier, dict):
            reading.problem(f"{element}.identifier", "is not an object")
        else:
            system, value = identifier.get("system"), identifier.get("value")
            if not isinstance(value, str | None) or not isinstance(system, str | None):
                reading.problem(f"{element}.identifier", "system and value must be text")
            elif not value:
                uncertain = True
            elif not system:
                loose.add(value)
            else:
                identifiers.add(f"{system}|{value}")
    return Actor(
        exact=frozenset(exact),
        broad=frozenset(broad),
        identifiers=frozenset(identifiers),
        loose_values=frozenset(loose),
        uncertain=uncertain,
    )


def _content_codes(
    codings: list[tuple[str | None, str]] | None, permit: bool
) -> tuple[frozenset[str] | None, frozenset[str]]:
    if codings is None:
        return None, frozenset()
    exact = frozenset(f"{system}|{code}" for system, code in codings if system is not None)
    loose = frozenset(code for system, code in codings if system is None)
    return exact, frozenset() if permit else loose


def _data(provision: Mapping[str, Any], element: str, reading: _Reading) -> tuple[tuple[str, str], ...] | None:
    if "data" not in provision:
        return None
    found: list[tuple[str, str]] = []
    for index, item in enumerate(_list(provision, "data", f"{element}.data", reading, empty_ok=False)):
        where = f"{element}.data[{index}]"
        if not isinstance(item, dict):
            reading.problem(where, "is not an object")
            continue
        meaning, reference = item.get("meaning"), item.get("reference")
        if not isinstance(meaning, str | None) or not isinstance(reference, dict | None):
            reading.problem(where, "meaning must be a code and reference an object")
            continue
        text = reference.get("reference") if reference is not None else None
        if not isinstance(text, str | None):
            reading.problem(f"{where}.reference.reference", "is not a reference")
            continue
        known = meaning if meaning in DATA_MEANINGS else ""
        if not known:
            reading.unknown.append(Problem(f"{where}.meaning", "is missing or unknown"))
        if not text:
            reading.unknown.append(Problem(f"{where}.reference", "is missing"))
        found.append((known or "", unversioned(text) if text else ""))
    return tuple(found)


# --- shapes


class _WrongShape(Exception):
    """A value has the wrong JSON shape; the problem is already noted."""


def unversioned(reference: str) -> str:
    """A reference without its ``/_history/…``."""
    return reference.split("/_history/", 1)[0]


def _list(
    holder: Mapping[str, Any], member: str, element: str, reading: _Reading, *, empty_ok: bool = True
) -> Iterable[object]:
    if member not in holder:
        return ()
    value = holder[member]
    if not isinstance(value, list):
        reading.problem(element, "is not a list")
        return ()
    if not value and not empty_ok:
        reading.problem(element, "is an empty list")
    return value


def _coding(item: object, element: str, reading: _Reading) -> tuple[str | None, str]:
    if not isinstance(item, dict):
        reading.problem(element, "is not a coding")
        raise _WrongShape
    system, code = item.get("system"), item.get("code")
    if not isinstance(code, str) or not code:
        reading.problem(f"{element}.code", "is missing")
        raise _WrongShape
    if "system" not in item:
        return None, code
    if not isinstance(system, str) or not system:
        reading.problem(f"{element}.system", "is not a URI")
        raise _WrongShape
    return canonical_system(system), code


def _codings(
    provision: Mapping[str, Any], member: str, element: str, reading: _Reading
) -> list[tuple[str | None, str]] | None:
    """The codings of a criterion of Codings; None when it is absent."""
    if member not in provision:
        return None
    found: list[tuple[str | None, str]] = []
    for index, item in enumerate(_list(provision, member, f"{element}.{member}", reading, empty_ok=False)):
        try:
            found.append(_coding(item, f"{element}.{member}[{index}]", reading))
        except _WrongShape:
            continue
    return found


def _codings_of_concept(concept: object, element: str, reading: _Reading) -> list[tuple[str | None, str]]:
    if not isinstance(concept, dict):
        reading.problem(element, "is not a concept")
        raise _WrongShape
    coding = concept.get("coding")
    if not isinstance(coding, list) or not coding:
        reading.problem(f"{element}.coding", "is missing or not a list")
        raise _WrongShape
    return [_coding(item, f"{element}.coding[{index}]", reading) for index, item in enumerate(coding)]


def _concepts(
    provision: Mapping[str, Any], member: str, element: str, reading: _Reading
) -> list[tuple[str | None, str]] | None:
    """The codings of a criterion of CodeableConcepts; None when it is absent."""
    if member not in provision:
        return None
    found: list[tuple[str | None, str]] = []
    for index, item in enumerate(_list(provision, member, f"{element}.{member}", reading, empty_ok=False)):
        try:
            found.extend(_codings_of_concept(item, f"{element}.{member}[{index}]", reading))
        except _WrongShape:
            continue
    return found


def _date(holder: Mapping[str, Any], member: str, element: str, reading: _Reading) -> str | None:
    if member not in holder:
        return None
    value = holder[member]
    if not time.readable(value):
        reading.problem(element, "is not a date that can be read")
        return None
    return str(value)


def _period(holder: Mapping[str, Any], member: str, element: str, reading: _Reading) -> Period | None:
    if member not in holder:
        return None
    value = holder[member]
    if not isinstance(value, dict):
        reading.problem(element, "is not a period")
        return None
    return Period(
        start=_date(value, "start", f"{element}.start", reading), end=_date(value, "end", f"{element}.end", reading)
    )
