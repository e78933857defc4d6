"""Who could see a document, and why: every participant, purpose and role, asked one by one and told in groups.

Source: spec/consent.md 14, "Who could see this?".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from consent import jurisdictions, policies
from documents import queries as registry
from documents.queries import EntryRow
from hie.audit import recorder
from hie.audit.recorder import EventType
from hie.directory import queries as directory
from hie.exchange import access, accounts, askers, found_pages, release
from hie.exchange.access import Staff, Subject
from hie.exchange.askers import Block
from hie.exchange.errors import AccessRefused, NotFound
from hie.standards.facts import BasisItem, Caller, Decision, DocumentFacts, Operation
from patients import identifiers

__all__ = ["IN_SHORT", "Answer", "Line", "Seen", "for_patient", "for_staff", "groups", "in_short"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Who (`block`) is told what (`decision`; its basis without each asker's own agreement and grant)."""

    block: Block
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One document and all who could ask for it, each exactly once, in order of the organizations.

    `title` is "" for staff who may not read it; `custodian` a participant's id; `choices` when each directive was made;
    `jurisdiction` the name of the place whose law counts.
    """

    document_id: str
    person_id: str
    title: str
    custodian: str
    answers: tuple[Answer, ...]
    facts: DocumentFacts
    choices: Mapping[str, str] = field(default_factory=dict)
    jurisdiction: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The answer to one purpose in short: these organizations are told `decision`; `roles` () for whoever works there.

    `types` are participant types of which these are all the active members that may ask for this at all; `others` the
    rest, by id. `person` is one certain person: a helper, or somebody whom a choice names; or a care team that one names.
    """

    purpose: str
    types: tuple[str, ...]
    others: tuple[str, ...]
    decision: Decision
    roles: tuple[str, ...] = ()
    person: str = ""


IN_SHORT = ("TREAT", "BTG", "HPAYMT", "HOPERAT", "HRESCH", "PUBHLTH", "HLEGAL", "PATRQT")
_NOT_ASKING = frozenset({"G1", "G2", "G4", "G5"})
"""What stops an asker before any patient is looked at: such a one is no answer to who could see this."""


def in_short(seen: Seen) -> list[Line]:
    """The answers purpose by purpose, without those who may not ask at all; organizations together where they are told alike.

    A purpose below one of `IN_SHORT` has lines of its own for those who are told otherwise for it than for that one.
    """
    above = {
        code: code if code in IN_SHORT else next((one for one in IN_SHORT if one in family), "")
        for code, family in policies.current().tables.families.items()
    }
    asking: dict[tuple[str, str, str], dict[tuple[bool, str, tuple[BasisItem, ...]], set[str]]] = {}
    decisions: dict[tuple[bool, str, tuple[BasisItem, ...]], Decision] = {}
    for answer in seen.answers:
        one = answer.decision
        key = (one.permitted, one.rule, one.basis)
        if one.rule in _NOT_ASKING or (one.rule == "P4" and not answer.block.person):
            continue
        decisions.setdefault(key, one)
        for asker in answer.block.askers():
            if above[asker.purpose]:
                told = asking.setdefault((asker.purpose, asker.person, asker.organization), {})
                told.setdefault(key, set()).add(asker.role)
    for (purpose, person, organization), told in list(asking.items()):
        whole_of = asking.get((above[purpose], person, organization), {})
        if purpose not in IN_SHORT and _by_role(told).items() <= _by_role(whole_of).items():
            del asking[purpose, person, organization]
    members = directory.participants()
    together: dict[tuple[str, str, tuple[bool, str, tuple[BasisItem, ...]], tuple[str, ...]], set[str]] = {}
    of_type: dict[tuple[str, str, str], set[str]] = {}
    for (purpose, person, organization), told in asking.items():
        kind = type_of(organization)
        of_type.setdefault((purpose, person, kind), set()).add(organization)
        for key, roles in told.items():
            some = tuple(sorted(roles)) if len(told) > 1 else ()
            together.setdefault((purpose, person, key, some), set()).add(organization)
    lines = []
    for (purpose, person, key, only_roles), organizations in together.items():
        whole = sorted(
            kind
            for (p, who, kind), every in of_type.items()
            if (p, who) == (purpose, person) and every <= organizations
        )
        rest = sorted(one for one in organizations if type_of(one) not in whole and one in members)
        lines.append(
            Line(
                purpose=purpose,
                types=tuple(whole),
                others=tuple(rest),
                decision=decisions[key],
                roles=only_roles,
                person=person,
            )
        )
    return sorted(
        lines,
        key=lambda one: (
            IN_SHORT.index(above[one.purpose]),
            one.purpose not in IN_SHORT,
            one.purpose,
            one.person,
            not one.decision.permitted,
            one.types,
            one.others,
        ),
    )


def _by_role(told: Mapping[tuple[bool, str, tuple[BasisItem, ...]], set[str]]) -> dict[str, bool]:
    """Whether each role is let through."""
    return {role: permitted for (permitted, _, _), roles in told.items() for role in roles}


def type_of(participant_id: str) -> str:
    """The participant's type, or that of the nearest organization above it that has one."""
    line = directory.snapshot().lineage(participant_id)
    return next((facts.type for facts in line if facts.type), "")


@release.point
def for_patient(document_id: str, *, caller: Caller, raw: str = "") -> Seen:
    """Who could see one of the patient's own documents; recorded, and only while the patient may see it.

    Helpers are not told: who else may see a document follows from choices that may be about them.

    Raises:
        AccessRefused: the caller is no patient, by role.
        NotFound: absent, or not to be seen by this caller.
    """
    with recorder.recording(EventType.DECISION_SIMULATED, caller, query=raw or None) as event:
        access.gate(caller, Operation.QUERY)
        if caller.role != "patient":
            raise AccessRefused("G5", "role-not-permitted")
        row = registry.entry(document_id)
        about = found_pages.whose(row)
        verdict = access.permitted(caller, about, [row] if row is not None else [], Operation.QUERY)
        if row is None or not verdict.permitted:
            raise NotFound("no such document")
        event.about(about.person_id, detail={"what": "who could see", "document": registry.bare_uuid(row.entry_uuid)})
        seen = _seen(about, row, row.metadata.title or "")
        event.commit()
    return seen


def for_staff(document_id: str, staff: Staff, *, reason: str) -> Seen:
    """As `for_patient`, for the hub's own staff, by role and with a reason; the patient finds the look in the log.

    Raises:
        NotFound: no such document.
        AccessRefused, BadRequest: as `access.administrative`.
    """
    row = registry.entry(document_id)
    if row is None:
        raise NotFound("no such document")
    person_id = identifiers.person_of_pk(row.identifier_pk)
    detail = {"who could see": registry.bare_uuid(row.entry_uuid)}
    view = access.administrative_decisions(staff, [person_id], reason=reason, detail=detail)
    about = access.subject(person_id)
    return _seen(about, row, (row.metadata.title or "") if view.words_of(row.confidentiality) else "")


def groups(about: Subject, facts: DocumentFacts) -> list[Answer]:
    """Who is told what of a document: all participants, purposes and roles, disjoint, as few groups as there are answers."""
    world = access.as_it_is(about)
    everybody = askers.field(about, [world], [facts])
    told = access.tried(world, everybody.requests(world), [facts])
    found: Iterable[tuple[Block, Decision]] = (
        (block, askers.same(decision)) for block, (decision,) in zip(everybody.blocks, told, strict=True)
    )
    return [Answer(block=block, decision=decision) for block, decision in askers.merged(askers.apart(found))]


def _seen(about: Subject, row: EntryRow, title: str) -> Seen:
    facts = row.facts(about.person_id, about.identifier_pks)
    return Seen(
        document_id=registry.bare_uuid(row.entry_uuid),
        person_id=about.person_id,
        title=title,
        custodian=row.custodian,
        answers=tuple(groups(about, facts)),
        facts=facts,
        choices=access.choices_of(about),
        jurisdiction=_place(row.custodian),
    )


def _place(custodian: str) -> str:
    code = directory.snapshot().jurisdiction_of(custodian)
    law = jurisdictions.in_effect().get(code, {})
    return str(law.get("name") or law.get("title") or code)


def name_of(person: str) -> str:
    """A person of a participant by name, where one is registered; a helper by the name of the account; a care team by its
    id; else the reference."""
    if askers.is_team(person):
        return f"care team {person.partition('/')[2]}"
    found = directory.users_named([person])
    if found:
        return found[0].name
    return accounts.name_of(person) or person
