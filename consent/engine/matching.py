"""Does a provision match a request for a document? Nesting and verdicts.

What depends only on the request is settled once (`Asker`, `live_tree`); what
depends on the document is looked at per document (`Subject`). Matching follows
"narrow permits, broad denies" at every criterion.

Source: spec/consent.md sections 5.4, 5.5 and 5.6.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from consent.engine import time
from consent.engine.codes import ORG_TYPE_SYSTEM, ROLE_SYSTEM
from consent.engine.directive import Actor, Directive, Node, Parties, Period
from consent.engine.policy import Participant
from hie.standards.facts import DocumentFacts, RequestFacts
from hie.standards.naming import bare

_PERSON_TYPES: Final = ("Practitioner", "PractitionerRole", "RelatedPerson", "Patient", "Device")
_USER_TYPES: Final = frozenset({"Practitioner", "RelatedPerson", "Patient", "Device"})


class Verdict(StrEnum):
    """What the patient's directives say together (spec/consent.md 5.6)."""

    DENY = "deny"
    PERMIT = "permit"
    WEAK_DENY = "weak-deny"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Path:
    """The nodes from the root of a directive to the node that decided; none when it is unintelligible."""

    directive: Directive
    nodes: tuple[Node, ...]


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
        exact |= {team for team in teams if team.startswith("CareTeam/")}
        broad = exact | {user} | teams
        if user and "/" not in user:
            broad |= {f"{kind}/{user}" for kind in _PERSON_TYPES}
        identifiers = set(organization.identifiers) | {f"{ROLE_SYSTEM}|{request.role}"}
        if organization.type is not None:
            identifiers.add(f"{ORG_TYPE_SYSTEM}|{organization.type}")
        return cls(
            exact=frozenset(exact),
            broad=frozenset(broad),
            identifiers=frozenset(identifiers),
            values=frozenset(one.rpartition("|")[2] for one in identifiers),
        )


@dataclass(frozen=True, slots=True)
class Live:
    """A node whose request-only criteria hold, with its children of the same kind.

    `readings`: those of its actors that the request leaves possible (see `Node.or_else`).
    """

    node: Node
    children: tuple[Live, ...]
    readings: tuple[Node | Parties, ...]


@dataclass(slots=True)
class Subject:
    """A document with what matching needs to know about it, worked out once."""

    document: DocumentFacts
    classes: frozenset[str]
    codes: frozenset[str]
    rank: int
    carried: frozenset[str]
    custodian: Participant
    actions: frozenset[str]
    zone: str
    _span: tuple[datetime, datetime] | None = None
    _span_known: bool | None = None

    def span(self) -> tuple[datetime, datetime] | None:
        """When the service took place; None when that is not known for certain (then `may_overlap` decides)."""
        if self._span_known is None:
            self._span = _service_span(self.document, self.zone)
            self._span_known = self._span is not None
        return self._span


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


def live_tree(node: Node, *, now: datetime, families: frozenset[str], asker: Asker, zone: str) -> Live | None:
    """The node and its exceptions as far as request and time alone allow them to match; None if not at all."""
    if node.period is not None and not _inside(node.period, now, zone):
        return None
    if node.purposes is not None and node.purposes.isdisjoint(families):
        return None
    readings: tuple[Node | Parties, ...] = (node, *node.or_else) if node.or_else else (node,)
    possible = tuple(one for one in readings if _may_receive(one, asker, node.permit))
    if len(possible) < (len(readings) if node.permit else 1):
        return None
    children = (live_tree(c, now=now, families=families, asker=asker, zone=zone) for c in node.children)
    return Live(node, tuple(child for child in children if child is not None), possible)


def _may_receive(parties: Node | Parties, asker: Asker, permit: bool) -> bool:
    """What the request settles about the actors: other kinds (never in a permit) and recipients."""
    if parties.other_actor and permit:
        return False
    return parties.recipients is None or any(_is_recipient(one, asker, permit) for one in parties.recipients)


def _inside(period: Period, now: datetime, zone: str) -> bool:
    since, until = time.bounds(period.start, period.end, zone)
    return since <= now < until


def _is_recipient(actor: Actor, asker: Asker, permit: bool) -> bool:
    if permit:
        return _surely(actor, asker.exact, asker.identifiers)
    return (
        actor.uncertain
        or not actor.exact.isdisjoint(asker.exact)
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


def outcome(live: Live, subject: Subject) -> tuple[bool, list[tuple[Node, ...]]] | None:
    """The outcome of a nested node (permit?, paths below and including it); None when it does not match."""
    node = live.node
    if not _applies(live, subject) or not _content(node, subject):
        return None
    return _of_children(live, subject) or (node.permit, [(node,)])


def root_verdict(live: Live, directive: Directive, subject: Subject) -> tuple[Verdict, list[Path]]:
    """What one directive says about a document; its root's content limits only the root's own verdict."""
    node = live.node
    if not _applies(live, subject):
        return Verdict.NOTHING, []
    decided = _of_children(live, subject)
    if decided is not None:
        permit, paths = decided
        return (Verdict.PERMIT if permit else Verdict.DENY), [Path(directive, nodes) for nodes in paths]
    if _content(node, subject):
        return (Verdict.PERMIT if node.permit else Verdict.DENY), [Path(directive, (node,))]
    return (Verdict.WEAK_DENY, [Path(directive, (node,))]) if node.permit else (Verdict.NOTHING, [])


def _of_children(live: Live, subject: Subject) -> tuple[bool, list[tuple[Node, ...]]] | None:
    denies: list[tuple[Node, ...]] = []
    permits: list[tuple[Node, ...]] = []
    for child in live.children:
        result = outcome(child, subject)
        if result is not None:
            permit, paths = result
            (permits if permit else denies).extend((live.node, *path) for path in paths)
    if denies:
        return False, denies
    return (True, permits) if permits else None


def _applies(live: Live, subject: Subject) -> bool:
    """The part of applicability that depends on the document: action, custodian, author."""
    node = live.node
    if node.actions is not None and node.actions.isdisjoint(subject.actions):
        return False
    # A permit matches when every reading of its actors does, a deny when any does.
    every = all if node.permit else any
    return every(_concerns(parties, subject, node.permit) for parties in live.readings)


def _concerns(parties: Node | Parties, subject: Subject, permit: bool) -> bool:
    if parties.custodians is not None and not any(_is_custodian(a, subject, permit) for a in parties.custodians):
        return False
    return parties.authors is None or any(_is_author(a, subject.document, permit) for a in parties.authors)


def _is_custodian(actor: Actor, subject: Subject, permit: bool) -> bool:
    custodian = subject.custodian
    identifiers = custodian.identifiers
    if custodian.type is not None:
        identifiers = identifiers | {f"{ORG_TYPE_SYSTEM}|{custodian.type}"}
    if permit:
        return _surely(actor, custodian.references, identifiers)
    return (
        actor.uncertain
        or not actor.exact.isdisjoint(custodian.references)
        or not actor.identifiers.isdisjoint(identifiers)
        or not actor.broad.isdisjoint(custodian.references)
        or any(one.rpartition("|")[2] in actor.loose_values for one in identifiers)
    )


def _is_author(actor: Actor, document: DocumentFacts, permit: bool) -> bool:
    if permit:
        return _surely(actor, document.authors, document.authors)
    authors = document.perhaps.authors.union(document.authors)
    return (
        actor.uncertain
        or not actor.exact.isdisjoint(authors)
        or not actor.identifiers.isdisjoint(authors)
        or not actor.broad.isdisjoint(authors)
        or any(one.rpartition("|")[2] in actor.loose_values for one in authors)
    )


def _content(node: Node, subject: Subject) -> bool:
    document = subject.document
    if node.classes is not None and not _has_code(node.classes, node.loose_classes, subject.classes, node.permit):
        return False
    if node.codes is not None and not _has_code(node.codes, node.loose_codes, subject.codes, node.permit):
        return False
    if node.labels_given and not (_permit_label(node, subject) if node.permit else _deny_label(node, subject)):
        return False
    if node.data is not None and not any(_is_data(m, r, document, node.permit) for m, r in node.data):
        return False
    return node.data_period is None or _in_data_period(node.data_period, subject, node.permit)


def _has_code(exact: frozenset[str], loose: frozenset[str], codings: frozenset[str], permit: bool) -> bool:
    """Whether a coding is among the document's; in a denial one without a system, on either side, may be of any."""
    if not exact.isdisjoint(codings):
        return True
    if permit:
        return False
    if loose and any(one.rpartition("|")[2] in loose for one in codings):
        return True
    unknown = {one[1:] for one in codings if one.startswith("|")}
    return bool(unknown) and any(one.rpartition("|")[2] in unknown for one in exact)


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
    """A letter covers itself and higher; any code suffices; an unlabelled document may carry anything.

    A letter nobody knows may be any, so every document may be at or above it. A label nobody knows may
    be on a document that was not labelled yet, never on one that was: it would have been refused.
    """
    ranks = node.ranks | node.loose_ranks if node.loose_ranks else node.ranks
    if node.unknown_letter or (ranks and subject.rank >= min(ranks)):
        return True
    labels = node.listed_labels | node.loose_labels if node.loose_labels else node.listed_labels
    return bool(labels) and (not subject.document.labelled or not labels.isdisjoint(subject.carried))


def _is_data(meaning: str, reference: str, document: DocumentFacts, permit: bool) -> bool:
    if not meaning or not reference:
        return not permit  # uncertain
    perhaps = document.perhaps
    if meaning == "authoredby":
        if reference in document.authors:
            return True
        return not permit and not {reference, _tail(reference)}.isdisjoint(perhaps.authors.union(document.authors))
    if _same_document(reference, document.id, permit):
        return True
    if not permit and perhaps.ids and bare(reference) in perhaps.ids:
        return True
    # What depends on a document and what belongs together with it is not told apart in a denial.
    if not permit and meaning in ("related", "dependents") and perhaps.related and bare(reference) in perhaps.related:
        return True
    if meaning == "related":
        encounter = document.encounter
        if encounter is not None and _same(reference, encounter, "Encounter", permit):
            return True
        return any(_same_document(reference, one, permit) or reference == one for one in document.related)
    return meaning == "dependents" and any(
        _same_document(reference, one, permit) or reference == one for one in document.depends_on
    )


def _same_document(reference: str, identifier: str, permit: bool) -> bool:
    return _same(reference, identifier, "DocumentReference", permit)


def _same(reference: str, identifier: str, kind: str, permit: bool) -> bool:
    """Whether a reference means a thing known by id or by reference."""
    wanted = identifier if "/" in identifier or ":" in identifier else f"{kind}/{identifier}"
    if reference in (wanted, identifier):
        return True
    return not permit and reference.rpartition("/")[2] == identifier.rpartition("/")[2]


def _tail(reference: str) -> str:
    return "/".join(reference.split("/")[-2:])


def _service_span(document: DocumentFacts, zone: str) -> tuple[datetime, datetime] | None:
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


def _in_data_period(period: Period, subject: Subject, permit: bool) -> bool:
    """Permit: the whole span inside; deny: any overlap; no time known: permit no, deny yes."""
    since, until = time.bounds(period.start, period.end, subject.zone)
    span = subject.span()
    if span is not None:
        begin, end = span
        return since <= begin and end <= until if permit else begin < until and since < end
    return not permit
