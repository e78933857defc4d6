"""Does a provision match a request for a document? Nesting and verdicts.

What depends only on the request is settled once (`Asker`, `live_tree`); what
depends on the document is looked at per document (`Subject`). Matching follows
"narrow permits, broad denies" at every criterion.

Source: spec/consent.md sections 5.4, 5.5 and 5.6.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final

from consent.engine import time
from consent.engine.codes import KEPT, ORG_TYPE_SYSTEM, ROLE_SYSTEM, has_coding
from consent.engine.directive import Actor, Branch, Directive, Node, Parties, Path, Period, unversioned
from consent.engine.policy import Participant
from hie.standards.facts import DocumentFacts, RequestFacts
from hie.standards.naming import bare

_PERSON_TYPES: Final = ("Practitioner", "PractitionerRole", "RelatedPerson", "Patient", "Device")
_USER_TYPES: Final = frozenset({"Practitioner", "RelatedPerson", "Patient", "Device"})
# Of these no two are ever the same thing, whatever their ids; any other type may be a document's.
_APART: Final = frozenset({"DocumentReference", "Encounter", "Patient", "Practitioner", "Organization", "Location"})


class Verdict(StrEnum):
    """What the patient's directives say together (spec/consent.md 5.6)."""

    DENY = "deny"
    PERMIT = "permit"
    WEAK_DENY = "weak-deny"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Asker:
    """The requester, as actors of provisions see it."""

    exact: frozenset[str]
    broad: frozenset[str]
    identifiers: frozenset[str]
    values: frozenset[str]

    @classmethod
    def of(cls, request: RequestFacts, organization: Participant) -> Asker:
        """The organization and its ancestors, the user and the care teams of a request."""
        user = request.user or ""
        teams = {team if "/" in team else f"CareTeam/{team}" for team in request.care_teams}
        exact = set(organization.references)
        if user.partition("/")[0] in _USER_TYPES:
            exact.add(user)
        # A team is a care team: it must not stand in for an organization or a person.
        exact.update(team for team in teams if team.startswith("CareTeam/"))
        broad = exact.union(teams, organization.lineage, *map(called, (user, *teams)))
        identifiers = {*organization.identifiers, f"{ROLE_SYSTEM}|{request.role}"}
        if organization.type is not None:
            identifiers.add(f"{ORG_TYPE_SYSTEM}|{organization.type}")
        return cls(
            exact=frozenset(exact),
            broad=frozenset(broad),
            identifiers=frozenset(identifiers),
            values=frozenset(one.rpartition("|")[2] for one in identifiers),
        )


@lru_cache(maxsize=KEPT)
def called(name: str) -> frozenset[str]:
    """Every reference by which a denial may mean somebody who is named so: without blanks around it, version and server,
    by the id alone, and where the type is none of a person's, as any person.

    Who asks writes his own name: however he does, what the patient said of him counts.
    """
    plain = unversioned(name.strip())
    kind, _, number = plain.rpartition("/")
    type_ = kind.rpartition("/")[2]
    forms = {name, plain, number, f"{type_}/{number}" if type_ else number}
    if type_ not in _PERSON_TYPES:
        forms.update(f"{one}/{number}" for one in _PERSON_TYPES)
    return frozenset(forms)


class Subject:
    """A document with what matching needs to know about it: its custodian, what it carries, the zone of its dates.

    `carried`: the labels that it surely carries; `feared`: those and all that it may carry.
    """

    __slots__ = ("actions", "carried", "custodian", "document", "feared", "rank", "zone")

    document: DocumentFacts
    custodian: Participant
    actions: frozenset[str]
    carried: frozenset[str]
    feared: frozenset[str]
    rank: int
    zone: str


# --- what depends on the request alone


def in_force(directive: Directive, *, now: datetime, families: frozenset[str], zone: str) -> bool:
    """Whether a directive counts now, for a purpose with these ancestors (spec/consent.md 5.1)."""
    if not directive.counts:
        return False
    if not (directive.privacy or (directive.research and "HRESCH" in families)):
        return False
    if directive.since is not None and now < time.interval(directive.since, zone)[0]:
        return False
    return directive.period is None or _inside(directive.period, now, zone)


def live_tree(branch: Branch, *, now: datetime, families: frozenset[str], asker: Asker, zone: str) -> Branch | None:
    """The node and its exceptions as far as request and time alone allow them to match; None if not at all."""
    node, readings = branch.node, branch.readings
    if node.period is not None and not _inside(node.period, now, zone):
        return None
    if node.purposes is not None and node.purposes.isdisjoint(families):
        return None
    possible = tuple(one for one in readings if _may_receive(one, asker, node.permit))
    if len(possible) < (len(readings) if node.permit else 1):
        return None
    live = [live_tree(child, now=now, families=families, asker=asker, zone=zone) for child in branch.children]
    children = tuple(child for child in live if child is not None)
    if possible == readings and children == branch.children:
        return branch
    return replace(branch, children=children, readings=possible)


def _may_receive(parties: Node | Parties, asker: Asker, permit: bool) -> bool:
    """What the request settles about the actors: other kinds (never in a permit) and recipients."""
    if parties.other_actor and permit:
        return False
    return parties.recipients is None or any(_is_recipient(one, asker, permit) for one in parties.recipients)


def _inside(period: Period, now: datetime, zone: str) -> bool:
    since, until = _bounds(period, zone)
    return since <= now < until


def _is_recipient(actor: Actor, asker: Asker, permit: bool) -> bool:
    if permit:
        return _surely(actor, asker.exact, asker.identifiers)
    return (
        actor.uncertain
        or not actor.identifiers.isdisjoint(asker.identifiers)
        or not actor.broad.isdisjoint(asker.broad)
        or not actor.loose_values.isdisjoint(asker.values)
    )


def _surely(actor: Actor, references: Collection[str], identifiers: Collection[str]) -> bool:
    """Whether an actor of a permit is meant: reference and identifier, where both are given, must both match."""
    return (
        bool(actor.exact or actor.identifiers)
        and (not actor.exact or not actor.exact.isdisjoint(references))
        and (not actor.identifiers or not actor.identifiers.isdisjoint(identifiers))
    )


# --- what depends on the document


def root_verdict(root: Branch, subject: Subject) -> tuple[Verdict, tuple[Path, ...]]:
    """What one directive says about a document; its root's content limits only the root's own verdict."""
    if not _applies(root, subject):
        return Verdict.NOTHING, ()
    decided = _of_children(root, subject)
    if decided is None:
        if not _content(root, subject):
            return (Verdict.WEAK_DENY, (root.path,)) if root.node.permit else (Verdict.NOTHING, ())
        decided = root.node.permit, (root.path,)
    permit, paths = decided
    return (Verdict.PERMIT if permit else Verdict.DENY), paths


def _outcome(branch: Branch, subject: Subject) -> tuple[bool, tuple[Path, ...]] | None:
    """The outcome of a nested node (permit?, the paths that decided); None when it does not match."""
    if not _applies(branch, subject) or not _content(branch, subject):
        return None
    return _of_children(branch, subject) or (branch.node.permit, (branch.path,))


def _of_children(branch: Branch, subject: Subject) -> tuple[bool, tuple[Path, ...]] | None:
    denies: tuple[Path, ...] = ()
    permits: tuple[Path, ...] = ()
    for child in branch.children:
        result = _outcome(child, subject)
        if result is not None:
            permit, paths = result
            if permit:
                permits += paths
            else:
                denies += paths
    if denies:
        return False, denies
    return (True, permits) if permits else None


def _applies(branch: Branch, subject: Subject) -> bool:
    """The part of applicability that depends on the document: action, custodian, author."""
    node = branch.node
    if node.actions is not None and node.actions.isdisjoint(subject.actions):
        return False
    if not branch.by_party:
        return True
    # A permit matches when every reading of its actors does, a deny when any does.
    if node.permit:
        return all(_concerns(parties, subject, permit=True) for parties in branch.readings)
    return any(_concerns(parties, subject, permit=False) for parties in branch.readings)


def _concerns(parties: Node | Parties, subject: Subject, permit: bool) -> bool:
    if parties.custodians is not None and not any(_is_custodian(a, subject, permit) for a in parties.custodians):
        return False
    return parties.authors is None or any(_is_author(a, subject.document, permit) for a in parties.authors)


def _is_custodian(actor: Actor, subject: Subject, permit: bool) -> bool:
    custodian = subject.custodian
    identifiers = custodian.identifiers
    if custodian.type is not None:
        identifiers = identifiers.union((f"{ORG_TYPE_SYSTEM}|{custodian.type}",))
    if permit:
        return _surely(actor, custodian.references, identifiers)
    return (
        actor.uncertain
        or not actor.identifiers.isdisjoint(identifiers)
        or not actor.broad.isdisjoint(custodian.references)
        or not actor.broad.isdisjoint(custodian.lineage)
        or any(one.rpartition("|")[2] in actor.loose_values for one in identifiers)
    )


def _is_author(actor: Actor, document: DocumentFacts, permit: bool) -> bool:
    if permit:
        return _surely(actor, document.authors, document.authors)
    authors = document.perhaps.authors.union(document.authors)
    return (
        actor.uncertain
        or not actor.identifiers.isdisjoint(authors)
        or not actor.broad.isdisjoint(authors.union(map(_last, authors)))
        or any(one.rpartition("|")[2] in actor.loose_values for one in authors)
    )


def _content(branch: Branch, subject: Subject) -> bool:
    if not branch.by_content:
        return True
    node, document = branch.node, subject.document
    if node.classes is not None and not has_coding(
        node.classes, node.loose_classes, document.classes, opens=node.permit
    ):
        return False
    if node.codes is not None and not has_coding(node.codes, node.loose_codes, document.codes, opens=node.permit):
        return False
    if node.labels_given and not (_permit_label(node, subject) if node.permit else _deny_label(node, subject)):
        return False
    if node.data is not None and not any(_is_data(m, r, document, node.permit) for m, r in node.data):
        return False
    if node.data_period is None:
        return True
    span = service_span(document, subject.zone)
    return in_period(_bounds(node.data_period, subject.zone), span, permit=node.permit)


def _permit_label(node: Node, subject: Subject) -> bool:
    """A letter covers itself and lower; both kinds given, both must match; unknown codes match nothing.

    A code of the confidentiality system that is no letter, and one of ActCode that is no known label, are
    still of their kind: [N, unknown label] reaches nothing, else what cannot be read would widen N with a
    label to all of N. With a code without a system the node must match whether or not it is one.
    """
    if not _both_kinds(subject, node.letters_given, node.ranks, node.listed_labels):
        return False
    if not node.loose_ranks and not node.loose_labels:
        return True
    return _both_kinds(
        subject,
        node.letters_given or bool(node.loose_ranks),
        node.ranks | node.loose_ranks,
        node.listed_labels | node.loose_labels,
    )


def _both_kinds(subject: Subject, letters_given: bool, ranks: frozenset[int], labels: frozenset[str]) -> bool:
    if not letters_given and not labels:
        return False
    if letters_given and not (ranks and subject.rank <= max(ranks)):
        return False
    return not labels or not labels.isdisjoint(subject.carried)


def _deny_label(node: Node, subject: Subject) -> bool:
    """A letter covers itself and higher; any code suffices that the document may carry; an unlabelled one may carry any.

    A letter nobody knows may be any, so every document may be at or above it. A label nobody knows may
    be on a document that was not labelled yet, never on one that was: it would have been refused.
    """
    ranks = node.ranks | node.loose_ranks if node.loose_ranks else node.ranks
    if node.unknown_letter or (ranks and subject.rank >= min(ranks)):
        return True
    labels = node.listed_labels | node.loose_labels if node.loose_labels else node.listed_labels
    return bool(labels) and (not subject.document.labelled or not labels.isdisjoint(subject.feared))


def _is_data(meaning: str, reference: str, document: DocumentFacts, permit: bool) -> bool:
    if not meaning or not reference:
        return not permit  # uncertain
    perhaps = document.perhaps
    if meaning == "authoredby":
        if reference in document.authors:
            return True
        authors = perhaps.authors.union(document.authors)
        return not permit and not {reference, _tail(reference)}.isdisjoint(authors.union(map(_last, authors)))
    if _same_document(reference, document.id, permit):
        return True
    if not permit and perhaps.ids and bare(reference) in perhaps.ids and not _is_other(reference, "DocumentReference"):
        return True
    # What depends on a document and what belongs together with it is not told apart in a denial.
    if not permit and meaning in ("related", "dependents") and perhaps.related and bare(reference) in perhaps.related:
        return True
    encounter = document.encounter
    if meaning == "related" and encounter is not None and _same(reference, encounter, "Encounter", permit):
        return True
    others = {"related": document.related, "dependents": document.depends_on}.get(meaning, ())
    return any(_same_document(reference, one, permit) for one in others)


def _same_document(reference: str, identifier: str, permit: bool) -> bool:
    return _same(reference, identifier, "DocumentReference", permit)


def _same(reference: str, identifier: str, kind: str, permit: bool) -> bool:
    """Whether a reference means a thing known by id or by reference."""
    wanted = identifier if "/" in identifier or ":" in identifier else f"{kind}/{identifier}"
    if reference in (wanted, identifier):
        return True
    if permit or reference.rpartition("/")[2] != identifier.rpartition("/")[2]:
        return False
    return not _is_other(reference, _type_of(identifier) or kind)


def _is_other(reference: str, kind: str) -> bool:
    """Whether a reference names a type that a thing of this kind cannot be."""
    named = _type_of(reference)
    return named != kind and named in _APART and kind in _APART


def _type_of(reference: str) -> str:
    return reference.rpartition("/")[0].rpartition("/")[2]


def _tail(reference: str) -> str:
    return "/".join(reference.split("/")[-2:])


def _last(reference: str) -> str:
    return reference.rpartition("/")[2]


def service_span(document: DocumentFacts, zone: str) -> time.Interval | None:
    """When the service took place, [from, until); None when that is not known for certain."""
    start, stop = document.service_start, document.service_stop
    if start is None and stop is None:
        start = document.created
    if start is None:
        return None
    try:
        begin, end = time.interval(start, zone)
        if stop is not None:
            end = time.interval(stop, zone)[1]
    except time.UnreadableDate:
        return None
    return (begin, end) if begin < end else None


def in_period(period: time.Interval, span: time.Interval | None, *, permit: bool) -> bool:
    """Permit: the whole span inside the period; deny: any overlap; no time known: permit no, deny yes."""
    if span is None:
        return not permit
    (since, until), (begin, end) = period, span
    return since <= begin and end <= until if permit else begin < until and since < end


def data_periods(branch: Branch, zone: str) -> frozenset[tuple[time.Interval, bool]]:
    """Every period that the node and those below it ask about the time of the service, with whether they permit."""
    node = branch.node
    own = {(_bounds(node.data_period, zone), node.permit)} if node.data_period is not None else ()
    return frozenset(own).union(*(data_periods(child, zone) for child in branch.children))


def _bounds(period: Period, zone: str) -> time.Interval:
    return time.bounds(period.start, period.end, zone)
