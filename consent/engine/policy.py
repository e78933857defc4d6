"""Participants and jurisdictions, compiled for deciding.

Agreement, type, jurisdiction and flags come from the organization itself or the
nearest ancestor that has them. What cannot be read is not there: a participant
or jurisdiction of the wrong shape is unknown, and unknown is refused.

Source: spec/consent.md sections 3, 6 and 11.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from consent.engine import time
from consent.engine.codes import RANK, Tables, has_coding, keep, split_codings
from hie.standards.facts import AgreementFacts, BasisItem, DocumentFacts, ParticipantFacts, ReleaseRule

_RULE_LISTS: Final = ("purposes", "recipientTypes", "recipients", "exceptRecipients", "labels", "classes", "codes")
_RULE_WORDS: Final = frozenset(
    {"id", "title", "name", "description", "source", "note", "text", "version", "law", "citation", "comment", "why"}
)
"""Members of a rule that say what it is and limit nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A prohibition, mandate or release rule; None = criterion not given.

    `opens`: a mandate, which reaches only what surely matches; the others whatever may match.
    `overridable`: a valid break-glass grant passes over it. `never`: a mandate that
    asks for something the engine cannot check, and therefore reaches nothing.
    `loose_classes` and `loose_codes` are codes that it lists without a system.
    """

    basis: tuple[BasisItem, ...]  # what a decision by this rule rests on
    opens: bool
    overridable: bool
    never: bool = False
    purposes: frozenset[str] | None = None
    recipient_types: frozenset[str] | None = None
    recipients: frozenset[str] | None = None
    except_recipients: frozenset[str] | None = None
    labels: frozenset[str] | None = None
    classes: frozenset[str] | None = None
    loose_classes: frozenset[str] = frozenset()
    codes: frozenset[str] | None = None
    loose_codes: frozenset[str] = frozenset()
    min_rank: int = 0

    def concerns(self, requester: Participant, families: frozenset[str]) -> bool:
        """Whether it can match at all when this organization asks; `families`: the purpose and its ancestors."""
        return (
            not self.never
            and (self.purposes is None or not self.purposes.isdisjoint(families))
            and (self.recipient_types is None or requester.type in self.recipient_types)
            and (self.recipients is None or not self.recipients.isdisjoint(requester.lineage))
            and (self.except_recipients is None or self.except_recipients.isdisjoint(requester.lineage))
        )

    def reaches(self, document: DocumentFacts, labels: frozenset[str], rank: int) -> bool:
        """Whether the criteria about the document hold.

        `labels`: those it carries, for what closes also those it may carry; `rank`: its effective letter.
        """
        return (
            rank >= self.min_rank
            and (self.labels is None or not self.labels.isdisjoint(labels))
            and (
                self.classes is None or has_coding(self.classes, self.loose_classes, document.classes, opens=self.opens)
            )
            and (self.codes is None or has_coding(self.codes, self.loose_codes, document.codes, opens=self.opens))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRequired:
    """A label that needs an explicit consent, and what such a consent must name."""

    basis: tuple[BasisItem, ...]
    label: str
    covered_by: frozenset[str]
    policy_codes: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Jurisdiction:
    """The law of a place, compiled. Ages of None are unknown and refuse."""

    code: str
    zone: str
    opt_out: bool
    default_purposes: frozenset[str]
    default_ceiling: int
    default_excluded: frozenset[str]
    consent_required: tuple[ConsentRequired, ...]
    prohibitions: tuple[Rule, ...]
    mandates: tuple[Rule, ...]
    majority_age: int | None
    confidential_age: int | None
    confidential_labels: frozenset[str]
    honours_refusal: bool
    basis: tuple[BasisItem, ...]
    default_basis: tuple[BasisItem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """An organization with everything inherited filled in."""

    id: str
    chain: tuple[str, ...]  # itself, parent, … root
    lineage: frozenset[str]
    root: str
    type: str | None
    jurisdiction: Jurisdiction | None
    registered: bool  # its own registration and those above it are active
    agreement_basis: tuple[BasisItem, ...]
    agreement_status: str
    active_from: datetime
    active_until: datetime
    purposes: frozenset[str]
    obligations: frozenset[str]
    part2: bool
    requires_relationship: bool
    release_rules: tuple[Rule, ...]  # its own and those of what is above it
    identifiers: frozenset[str]
    references: frozenset[str]

    def active(self, now: datetime) -> bool:
        """Whether registration and agreement are active and `now` is inside the agreement's period."""
        return self.registered and self.agreement_status == "active" and self.active_from <= now < self.active_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """What holds when one organization asks another for a purpose, whoever the patient is and whatever the document.

    `law` is that of the custodian's place. Of the rules those are left that can match at all; a document settles
    the rest. `asks`: the members of `DocumentFacts` that they look at, besides those that every document is decided
    by. `chains`: for each kind of request the rules of the procedure that can fire (`decide.Prepared`).
    """

    custodian: Participant | None
    law: Jurisdiction | None
    own: bool
    part2: bool
    prohibitions: tuple[Rule, ...]
    mandates: tuple[Rule, ...]
    release_rules: tuple[Rule, ...]
    asks: frozenset[str]
    chains: dict[tuple[str, bool, bool, bool, bool], tuple[Any, ...]] = field(
        default_factory=dict, compare=False, repr=False
    )

    @classmethod
    def of(cls, requester: Participant | None, purpose: str, custodian: Participant | None, tables: Tables) -> Between:
        """With none of the rules where the requester or the custodian is unknown: then the gate refuses."""
        law = custodian.jurisdiction if custodian is not None else None
        families = tables.families.get(purpose, frozenset())

        def concern(rule: Rule) -> bool:
            # A valid grant passes over what yields to it (spec/consent.md 7, exception 2); G7 has seen to it that it is.
            passed_over = purpose == "BTG" and rule.overridable and not rule.opens
            return requester is not None and not passed_over and rule.concerns(requester, families)

        prohibitions = tuple(filter(concern, law.prohibitions)) if law is not None else ()
        mandates = tuple(filter(concern, law.mandates)) if law is not None else ()
        release_rules = tuple(filter(concern, custodian.release_rules)) if custodian is not None else ()
        rules = (*prohibitions, *mandates, *release_rules)
        return cls(
            custodian=custodian,
            law=law,
            own=requester is not None and custodian is not None and requester.root == custodian.root,
            part2=custodian is not None and custodian.part2,
            prohibitions=prohibitions,
            mandates=mandates,
            release_rules=release_rules,
            asks=frozenset(
                [
                    *("classes" for rule in rules if rule.classes is not None),
                    *("codes" for rule in rules if rule.codes is not None),
                ]
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything that is not the patient's: participants, laws, code tables."""

    participants: Mapping[str, Participant]
    jurisdictions: Mapping[str, Jurisdiction]
    tables: Tables
    home_jurisdiction: str | None = None
    require_obligations: bool = False
    epoch: int = 0
    by_name: Mapping[str, Participant] = field(default_factory=dict)  # by reference, and by identifier
    # Of this policy alone: a changed copy (`dataclasses.replace`) begins anew.
    _between: dict[tuple[str, str, str], Between] = field(default_factory=dict, init=False, compare=False, repr=False)

    def jurisdiction_of(self, code: str | None) -> Jurisdiction | None:
        """A jurisdiction by code; None means the hub's own where the deployment has one."""
        code = code if code is not None else self.home_jurisdiction
        return self.jurisdictions.get(code) if isinstance(code, str) else None

    def between(self, requester: Participant | None, purpose: str, custodian_id: str) -> Between:
        """What holds between an organization that asks for a purpose and a custodian; worked out once."""
        key = (requester.id if requester is not None else "", purpose, custodian_id)
        found = self._between.get(key)
        if found is None:
            custodian = self.participants.get(custodian_id)
            found = keep(self._between, key, Between.of(requester, purpose, custodian, self.tables))
        return found


def compile_policy(
    participants: Mapping[str, ParticipantFacts],
    jurisdictions: Mapping[str, Mapping[str, Any]],
    tables: Tables | Mapping[str, Any],
    *,
    home_jurisdiction: str | None = None,
    require_obligations: bool = False,
    epoch: int = 0,
) -> Policy:
    """Participants by id, jurisdictions in the form of the fixture and code tables as one policy.

    `home_jurisdiction` stands in for a participant or patient that has none (None: such
    a one is refused). `require_obligations`: a permit with an obligation that the requester's
    agreement does not declare becomes a deny.

    Raises:
        ValueError: the code tables cannot be read; without them nothing can be decided.
    """
    compiled_tables = tables if isinstance(tables, Tables) else Tables.from_json(tables)
    laws: dict[str, Jurisdiction] = {}
    for code, data in jurisdictions.items():
        try:
            laws[code] = compile_jurisdiction(code, data)
        except ValueError:
            continue  # unknown: everything that needs it is refused
    compiled: dict[str, Participant] = {}
    for identifier in participants:
        participant = compile_participant(identifier, participants, laws, home_jurisdiction)
        if participant is not None:
            compiled[identifier] = participant
    return Policy(
        participants=compiled,
        jurisdictions=laws,
        tables=compiled_tables,
        home_jurisdiction=home_jurisdiction,
        require_obligations=require_obligations,
        epoch=epoch,
        by_name={
            name: compiled[identifier]
            for identifier in sorted(compiled)
            for name in (f"Organization/{identifier}", *participants[identifier].identifiers)
        },
    )


def compile_jurisdiction(code: str, data: object) -> Jurisdiction:
    """One jurisdiction from the form of the fixture.

    Raises:
        ValueError: a member has the wrong shape; the message names it.
    """
    if not isinstance(data, Mapping):
        raise ValueError(code)
    default = data.get("default", {})
    if not isinstance(default, Mapping):
        raise ValueError("default")
    zone = data.get("timezone")
    if not isinstance(zone, str):
        raise ValueError("timezone")
    time.zone(zone)
    refusal = data.get("breakGlassRefusal", False)
    if not isinstance(refusal, bool):
        raise ValueError("breakGlassRefusal")
    ceiling = default.get("ceiling")
    return Jurisdiction(
        code=code,
        zone=zone,
        opt_out=default.get("model") == "opt-out",
        default_purposes=_strings(default, "purposes"),
        # Without a ceiling the default reaches nothing.
        default_ceiling=RANK.get(ceiling, -1) if isinstance(ceiling, str) else -1,
        default_excluded=_strings(default, "excludeLabels"),
        consent_required=tuple(_consent_required(item) for item in _objects(data, "consentRequired")),
        prohibitions=tuple(compile_rule(item, against=True) for item in _objects(data, "prohibitions")),
        mandates=tuple(compile_rule(item, against=False) for item in _objects(data, "mandates")),
        majority_age=_age(data, "majorityAge"),
        confidential_age=_age(data, "confidentialAge"),
        confidential_labels=_strings(data, "confidentialLabels"),
        honours_refusal=refusal,
        basis=(BasisItem(kind="law", id=code),),
        default_basis=(BasisItem(kind="default", id=code),),
    )


def compile_rule(data: Mapping[str, Any], *, against: bool) -> Rule:
    """A rule against releasing (`against`) or a mandate to release.

    What is uncertain in a rule against is no limit, in a mandate it reaches nothing:
    an empty list, an unknown letter, a criterion the engine does not know.

    Raises:
        ValueError: a member has the wrong shape.
    """
    never = False
    lists: dict[str, frozenset[str] | None] = {}
    for member in _RULE_LISTS:
        given = _strings(data, member) if data.get(member) is not None else None
        if given is not None and not given:
            never, given = True, None
        lists[member] = given
    letter = data.get("minConfidentiality")
    min_rank = 0
    if letter is not None:
        min_rank = RANK.get(letter, 0) if isinstance(letter, str) else 0
        never = never or not isinstance(letter, str) or letter not in LETTER_SET
    known = {*_RULE_LISTS, *_RULE_WORDS, "minConfidentiality", "emergencyOverride", "absolute"}
    never = never or not known.issuperset(data)
    override = data.get("emergencyOverride", False)
    if not isinstance(override, bool):
        raise ValueError("emergencyOverride")
    classes, loose_classes = _codings(lists["classes"])
    codes, loose_codes = _codings(lists["codes"])
    return Rule(
        basis=_of_law(data),
        opens=not against,
        overridable=override,
        never=never and not against,
        purposes=lists["purposes"],
        recipient_types=lists["recipientTypes"],
        recipients=lists["recipients"],
        except_recipients=lists["exceptRecipients"],
        labels=lists["labels"],
        classes=classes,
        loose_classes=loose_classes,
        codes=codes,
        loose_codes=loose_codes,
        min_rank=min_rank,
    )


LETTER_SET: Final = frozenset(RANK)


def _codings(given: frozenset[str] | None) -> tuple[frozenset[str] | None, frozenset[str]]:
    """(codings with a system, or None for no limit; codes without one)."""
    return split_codings(given) if given else (None, frozenset())


def _of_law(data: Mapping[str, Any]) -> tuple[BasisItem, ...]:
    return (BasisItem(kind="law", id=str(data.get("id", ""))),)


def _release_rule(owner: str, rule: ReleaseRule) -> Rule:
    classes, loose_classes = _codings(frozenset(rule.classes))
    codes, loose_codes = _codings(frozenset(rule.codes))
    return Rule(
        basis=(BasisItem(kind="release", id=rule.id, path=owner),),
        opens=False,
        overridable=not rule.absolute,
        purposes=frozenset(rule.purposes) or None,
        recipient_types=frozenset(rule.recipient_types) or None,
        recipients=frozenset(rule.recipients) or None,
        except_recipients=frozenset(rule.except_recipients) or None,
        labels=frozenset(rule.labels) or None,
        classes=classes,
        loose_classes=loose_classes,
        codes=codes,
        loose_codes=loose_codes,
        min_rank=RANK.get(rule.min_confidentiality or "", 0),
    )


def compile_participant(
    identifier: str,
    participants: Mapping[str, ParticipantFacts],
    laws: Mapping[str, Jurisdiction],
    home: str | None = None,
) -> Participant | None:
    """One organization with what it inherits; None when its place cannot be told, so that it is unknown."""
    line: list[ParticipantFacts] = []
    current: str | None = identifier
    while current is not None:
        facts = participants.get(current)
        # A circle or a parent nobody knows: the organization's place is unknown, and so is it.
        if facts is None or any(above.id == current for above in line):
            return None
        line.append(facts)
        current = facts.part_of
    code = next((f.jurisdiction for f in line if f.jurisdiction is not None), home)
    law = laws.get(code) if code is not None else None
    holder = next((f for f in line if f.agreement is not None), None)
    agreement = holder.agreement if holder is not None and holder.agreement is not None else None
    active_from, active_until = _agreement_period(agreement, law)
    chain = tuple(f.id for f in line)
    return Participant(
        id=identifier,
        chain=chain,
        lineage=frozenset(chain),
        root=chain[-1],
        type=next((f.type for f in line if f.type is not None), None),
        jurisdiction=law,
        registered=all(f.status == "active" for f in line),
        agreement_basis=(BasisItem(kind="agreement", id=holder.id if holder is not None else ""),),
        agreement_status=agreement.status if agreement is not None else "",
        active_from=active_from,
        active_until=active_until,
        purposes=frozenset(agreement.purposes) if agreement is not None else frozenset(),
        obligations=frozenset(agreement.obligations) if agreement is not None else frozenset(),
        part2=bool(next((f.part2_program for f in line if f.part2_program is not None), False)),
        requires_relationship=bool(
            next((f.requires_relationship for f in line if f.requires_relationship is not None), False)
        ),
        release_rules=tuple(_release_rule(f.id, rule) for f in line for rule in f.release_policy),
        identifiers=frozenset(i for f in line for i in f.identifiers),
        references=frozenset(f"Organization/{one}" for one in chain),
    )


def _agreement_period(agreement: AgreementFacts | None, law: Jurisdiction | None) -> tuple[datetime, datetime]:
    if agreement is None or law is None:
        return time.MAX, time.MIN  # never
    try:
        return time.bounds(agreement.start, agreement.end, law.zone)
    except time.UnreadableDate:
        return time.MAX, time.MIN


def _consent_required(data: Mapping[str, Any]) -> ConsentRequired:
    label = data.get("label")
    if not isinstance(label, str):
        raise ValueError("consentRequired.label")
    return ConsentRequired(
        basis=_of_law(data),
        label=label,
        covered_by=_strings(data, "coveredBy"),
        policy_codes=_strings(data, "policyCodes"),
    )


def _strings(data: Mapping[str, Any], member: str) -> frozenset[str]:
    value = data.get(member)
    if value is None:
        return frozenset()
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError(member)
    return frozenset(value)


def _objects(data: Mapping[str, Any], member: str) -> Iterable[Mapping[str, Any]]:
    value = data.get(member)
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(item, Mapping) for item in value):
        raise ValueError(member)
    return value


def _age(data: Mapping[str, Any], member: str) -> int | None:
    value = data.get(member)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 150:
        raise ValueError(member)
    return value
