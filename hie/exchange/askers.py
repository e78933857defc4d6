"""Everybody who could ask about a patient, and what each would be told: participant, purpose and role; grouped.

Nothing is described here: each answer is one of the engine, through the one door. Askers between whom nothing in
policy and directives can tell are asked once for all of them. Assumed are a treatment relationship, for the
purpose BTG a valid emergency grant, and a user whom nobody has named. Besides those unnamed stand the patient, each
helper with a grant, each person of a participant whom a directive names, and whoever asks for a care team that one names.

Source: spec/consent.md 14, "Who could see this?".
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NamedTuple

from consent import directives, proxies
from consent.drafts import Draft
from hie.directory import queries as directory
from hie.exchange import access
from hie.exchange.access import Subject, World
from hie.standards.facts import BreakGlassGrant, Decision, DocumentFacts, Operation, ProxyGrant, RequestFacts

UNNAMED = "Practitioner/?"
"""A user whom no directive can name: it is no FHIR id."""

_ASSUMED = "assumed"
_OWN_TO_EACH = ("agreement", "proxy", "break-glass")
_TEAM = re.compile(r"CareTeam/[A-Za-z0-9.-]{1,64}")
_PERSON = re.compile(r"(?:Practitioner|PractitionerRole|Device)/[A-Za-z0-9.-]{1,64}")
_DECIDING = frozenset({"TREAT", "HPAYMT", "HOPERAT", "HRESCH", "PATRQT", "BTG"})
"""Purposes that rules and obligations of the engine name themselves."""


class Asker(NamedTuple):
    """Who asks and why. `person` is a reference where it is one certain person, or a care team that is asked for; "" for
    whoever has the role."""

    organization: str
    purpose: str
    role: str
    person: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Askers who are told the same of every document: each of the organizations, for each purpose, in each role."""

    organizations: tuple[str, ...]
    purposes: tuple[str, ...]
    roles: tuple[str, ...]
    person: str = ""

    def askers(self) -> Iterator[Asker]:
        """Those it stands for, in order."""
        for organization in self.organizations:
            for purpose in self.purposes:
                for role in self.roles:
                    yield Asker(organization, purpose, role, self.person)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """All blocks, disjoint, with the grants by which each may ask: of a helper all it holds, else none."""

    about: Subject
    blocks: tuple[Block, ...]
    grants: tuple[tuple[ProxyGrant | None, ...], ...]
    looks_at_each: bool
    """Whether a directive speaks of single documents or of times, so that two documents alike in all else differ."""

    def requests(self, world: World) -> Iterator[list[RequestFacts]]:
        """For each block what it may ask under a world: one request, or one for each grant."""
        for block, grants in zip(self.blocks, self.grants, strict=True):
            yield access.alternatives(request(self.about, next(block.askers()), world), self.about, grants)


def same(decision: Decision) -> Decision:
    """A decision without what each asker has of its own (agreement, grant): two that agree are one answer."""
    basis = tuple(item for item in decision.basis if item.kind not in _OWN_TO_EACH)
    return replace(decision, basis=basis)


def field(
    about: Subject, worlds: Sequence[World], documents: Iterable[DocumentFacts], draft: Draft | None = None
) -> Field:
    """Everybody who could ask about these documents of a person, as far as any of the worlds knows them.

    Two organizations are in one block when type, law, standing, agreement and flags are the same, both or neither are
    a custodian's own, and no directive, law or release rule mentions either. Roles and purposes likewise.
    """
    said = _Said(about, worlds, draft or Draft())
    custodians = _custodians(documents)
    organizations = _classes(
        {one for world in worlds for one in world.policy.participants},
        lambda one: tuple(_organization(world, one, custodians, said) for world in worlds),
    )
    purposes = _classes(
        {one for world in worlds for one in world.policy.tables.families},
        lambda one: tuple(_purpose(world, one, said) for world in worlds),
    )
    roles = _classes(
        {one for world in worlds for one in world.policy.tables.roles},
        lambda one: tuple(_role(world, one, said) for world in worlds),
    )
    blocks = [
        Block(organizations=some, purposes=why, roles=as_what)
        for some in organizations
        for why in purposes
        for as_what in roles
    ]
    blocks += [
        Block(organizations=(user.participant_id,), purposes=why, roles=(user.role,), person=user.id)
        for user in directory.users_named(said.persons())
        for why in purposes
    ]
    blocks += [
        Block(organizations=some, purposes=why, roles=as_what, person=team)
        for team in sorted(said.teams())
        for some in organizations
        for why in purposes
        for as_what in roles
    ]
    grants: list[tuple[ProxyGrant | None, ...]] = [(None,)] * len(blocks)
    for person, held in proxies.held_for(about.facts, about.identifier_pks).items():
        for some in organizations:
            for why in purposes:
                blocks.append(Block(organizations=some, purposes=why, roles=("proxy",), person=person))
                grants.append(held)
    return Field(about=about, blocks=tuple(blocks), grants=tuple(grants), looks_at_each=said.each_document)


def request(about: Subject, asker: Asker, world: World) -> RequestFacts:
    """What an asker would ask: to open a document, with nothing missing that he could have."""
    team = asker.person if is_team(asker.person) else ""
    user = (asker.person if not team else "") or (f"Patient/{about.person_id}" if asker.role == "patient" else UNNAMED)
    grant = None
    if asker.purpose == "BTG":
        grant = BreakGlassGrant(
            id=_ASSUMED,
            user=user,
            organization=asker.organization,
            patient=about.person_id,
            start=world.at,
            end=world.at + timedelta(hours=1),
            status="active",
            reason="OTHER",
            text=_ASSUMED,
        )
    return RequestFacts(
        organization=asker.organization,
        user=user,
        role=asker.role,
        purpose=asker.purpose,
        operation=Operation.RETRIEVE.value,
        relationship=_ASSUMED,
        care_teams=(team,) if team else (),
        break_glass=grant,
    )


def is_team(person: str) -> bool:
    """Whether the `person` of an asker is a care team."""
    return person.startswith("CareTeam/")


def apart(found: Iterable[tuple[Block, Hashable]]) -> list[tuple[Block, Any]]:
    """Without care teams for which nobody is told anything else than who asks for none."""
    listed = list(found)
    plain = {(block.organizations, block.purposes, block.roles): told for block, told in listed if not block.person}
    return [
        (block, told)
        for block, told in listed
        if not is_team(block.person) or plain.get((block.organizations, block.purposes, block.roles)) != told
    ]


def merged(found: Iterable[tuple[Block, Hashable]]) -> list[tuple[Block, Any]]:
    """Blocks with one answer put together to fewer and larger ones, disjoint still; in order of their first asker.

    The answer of a block is whatever it is given with; equal ones are one.
    """
    roles: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for block, told in found:
        for organization in block.organizations:
            for purpose in block.purposes:
                roles[told, block.person, organization, purpose].update(block.roles)
    purposes: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for (told, person, organization, purpose), some in roles.items():
        purposes[told, person, organization, frozenset(some)].add(purpose)
    organizations: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for (told, person, organization, some_roles), some in purposes.items():
        organizations[told, person, some_roles, frozenset(some)].add(organization)
    made = [
        (
            Block(
                organizations=tuple(sorted(some)),
                purposes=tuple(sorted(some_purposes)),
                roles=tuple(sorted(some_roles)),
                person=person,
            ),
            told,
        )
        for (told, person, some_roles, some_purposes), some in organizations.items()
    ]
    return sorted(made, key=lambda one: (one[0].person, one[0].organizations, one[0].purposes, one[0].roles))


class _Said:
    """Every text of a person's directives and of the rules of law and custodians: what is not in it, no rule can name."""

    def __init__(self, about: Subject, worlds: Sequence[World], draft: Draft) -> None:
        resources: list[Any] = [one.resource for one in directives.in_store(about.identifier_pks)]
        resources += [one.resource for one in draft.consents if one.resource is not None]
        self.directives = "\n".join(_texts(resources)).casefold()
        self._teams = frozenset(found for text in _texts(resources) for found in _TEAM.findall(text))
        self._persons = frozenset(found for text in _texts(resources) for found in _PERSON.findall(text))
        self.each_document = not {"data", "dataPeriod"}.isdisjoint(_texts(resources))
        self.rules: set[str] = set()
        self.purposes: set[str] = set(_DECIDING)
        for world in worlds:
            policy = world.policy
            for law in policy.jurisdictions.values():
                self.purposes |= law.default_purposes
                for rule in (*law.prohibitions, *law.mandates):
                    self._note(rule)
            for participant in policy.participants.values():
                self.purposes |= participant.purposes
                for rule in participant.release_rules:
                    self._note(rule)
            for listed in policy.tables.roles.values():
                self.purposes |= listed

    def _note(self, rule: Any) -> None:
        self.rules |= (rule.recipients or frozenset()) | (rule.except_recipients or frozenset())
        self.purposes |= rule.purposes or frozenset()

    def mentions(self, *names: str) -> bool:
        """Whether a directive may name one of these; what merely contains a name counts too."""
        return any(name and name.casefold() in self.directives for name in names)

    def teams(self) -> frozenset[str]:
        """The care teams that directives name."""
        return self._teams

    def persons(self) -> frozenset[str]:
        """The persons that directives name."""
        return self._persons


def _texts(value: Any) -> Iterator[str]:
    """Every text in JSON, member names too."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            waiting += one.keys()
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one
        elif isinstance(one, str):
            yield one


def _classes(names: Iterable[str], of: Callable[[str], Hashable]) -> list[tuple[str, ...]]:
    found: dict[Hashable, list[str]] = {}
    for name in sorted(names):
        found.setdefault(of(name), []).append(name)
    return [tuple(some) for some in found.values()]


def _organization(world: World, identifier: str, custodians: frozenset[str], said: _Said) -> Hashable:
    one = world.policy.participants.get(identifier)
    if one is None:
        return None
    names = (*one.chain, *(name.rpartition("|")[2] for name in one.identifiers))
    roots = {holder.root for name in custodians if (holder := world.policy.participants.get(name)) is not None}
    return (
        one.type,
        one.jurisdiction.code if one.jurisdiction is not None else None,
        one.active(world.at),
        one.purposes,
        one.obligations,
        one.requires_relationship,
        one.root if one.root in roots else "",
        frozenset(said.rules & one.lineage),
        identifier if said.mentions(*names) else "",
    )


def _purpose(world: World, code: str, said: _Said) -> Hashable:
    family = world.policy.tables.families.get(code)
    return None if family is None else frozenset(one for one in family if one in said.purposes or said.mentions(one))


def _role(world: World, code: str, said: _Said) -> Hashable:
    tables = world.policy.tables
    if code not in tables.roles:
        return None
    permitted = frozenset(one for one in tables.families if tables.permits(tables.roles[code], one))
    return permitted, code if code in ("patient", "proxy") or said.mentions(code) else ""


def _custodians(documents: Iterable[DocumentFacts]) -> frozenset[str]:
    found: set[str] = set()
    waiting = list(documents)
    while waiting:
        one = waiting.pop()
        found.add(one.custodian)
        waiting += one.derived_from
    return frozenset(found)
