"""What a directive comes to beside others: permits that nothing is left of, limits of time that meet nothing. Pure.

Everything here errs on the side of silence: a warning is said only where the directive surely has no effect.

Source: spec/consent.md sections 5.4 to 5.7.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from consent.engine import time
from consent.engine.codes import RANK, Tables
from consent.engine.directive import Actor, Directive, Node, Period
from consent.engine.policy import Jurisdiction

Span = tuple[str | None, str | None]
"""When the service of a document took place, start and end as FHIR date text; None: not known."""

_COMPARED = 50_000
"""So many permits are held against denials of other directives, a fraction of a second; of the rest nothing is said."""


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it."""
    yield node
    for child in node.children:
        yield from walk(child)


def chains(node: Node, above: tuple[Node, ...] = ()) -> Iterator[tuple[Node, ...]]:
    """Each node at or below this one, with those above it, the outermost first."""
    chain = (*above, node)
    yield chain
    for child in node.children:
        yield from chains(child, chain)


def element_of(node: Node) -> str:
    """The FHIR element of a node."""
    return "Consent.provision" if node.path in ("provision", "policyRule") else f"Consent.provision.{node.path}"


def closed_beside(directive: Directive, tables: Tables, zone: str) -> Iterator[Node]:
    """Permits of which a denial beside or inside them in the same directive leaves nothing."""
    if directive.root is not None:
        yield from _closed(directive.root, (), tables, zone)


def _closed(node: Node, above: tuple[Node, ...], tables: Tables, zone: str) -> Iterator[Node]:
    chain = (*above, node)
    if node.permit and any(_denies(child, chain, tables, zone) for child in node.children):
        yield node
    denials = [child for child in node.children if not child.permit]
    for child in node.children:
        if child.permit and any(_denies(one, (*chain, child), tables, zone) for one in denials):
            yield child
        else:
            yield from _closed(child, chain, tables, zone)


def closed_elsewhere(directive: Directive, others: Sequence[Directive], tables: Tables, zone: str) -> Iterator[Node]:
    """Permits of which a denial of another directive in force leaves nothing."""
    if directive.root is None:
        return
    denials = [(other, chain) for other in others if other.counts for chain in _denials(other)]
    denials = denials[: _COMPARED // max(directive.size, 1)]
    for chain in chains(directive.root):
        node = chain[-1]
        if node.permit and any(_closes(other, denial, directive, chain, tables, zone) for other, denial in denials):
            yield node


def _denials(other: Directive) -> Iterator[tuple[Node, ...]]:
    """Each denial without exceptions, with the nodes above it; one that cannot be understood denies everything."""
    if other.root is None:
        yield ()
        return
    for chain in chains(other.root):
        if not chain[-1].permit and not _has_permits(chain[-1]):
            yield chain


def _closes(
    other: Directive, denial: tuple[Node, ...], directive: Directive, chain: tuple[Node, ...], tables: Tables, zone: str
) -> bool:
    if not _lasts(other.period, directive.period, zone):
        return False
    if other.research and not other.privacy and not _only_family(chain, "HRESCH", tables):
        return False
    # The root's content limits its own verdict only, not its exceptions.
    last = len(denial) - 1
    return all(
        _applies_wherever(node, chain, tables, zone) and (n == 0 < last or _holds_wherever(node, chain, tables, zone))
        for n, node in enumerate(denial)
    )


def names_nobody(node: Node, members: frozenset[str]) -> bool:
    """Whether a recipient or custodian of a node is surely nobody: by numbers, or ids of organizations, that none has.

    A person is not told by numbers here (spec/consent.md 5.4), and by id may be anybody.
    """
    return any(_is_nobody(one, members) for one in (*(node.recipients or ()), *(node.custodians or ())))


def _is_nobody(actor: Actor, members: frozenset[str]) -> bool:
    names = actor.broad | actor.identifiers
    by_id = all(name.rpartition("/")[0].rpartition("/")[2] == "Organization" for name in actor.broad)
    return bool(names) and not actor.uncertain and not actor.loose_values and by_id and names.isdisjoint(members)


def outlived(directive: Directive, zone: str, now: datetime) -> Iterator[str]:
    """The elements whose period is over."""
    if directive.period is not None and _is_over(directive.period, zone, now):
        yield "Consent.provision.period"
    if directive.root is not None:
        for node in walk(directive.root):
            if node.period is not None and _is_over(node.period, zone, now):
                yield f"{element_of(node)}.period"


def missing_everything(directive: Directive, on_file: Sequence[Span], zone: str) -> Iterator[str]:
    """The elements whose `dataPeriod` meets no document of those given; none where nothing is given."""
    if directive.root is None or not on_file:
        return
    for node in walk(directive.root):
        if node.data_period is not None and not any(_meets(node.data_period, span, zone) for span in on_file):
            yield f"{element_of(node)}.dataPeriod"


def says_the_rule(
    directive: Directive, others: Sequence[Directive], laws: Sequence[Jurisdiction], tables: Tables
) -> bool:
    """Whether a directive only denies, and only what the defaults of these laws deny anyway.

    Not where it has effects beside the default: a permit elsewhere that it closes, a refusal of emergency access, a
    person named as recipient, a helper's purpose. A permit never says just what a default says: it opens all labels.
    """
    nodes = list(walk(directive.root)) if directive.root is not None else []
    if not nodes or not laws or not directive.privacy or any(node.permit for node in nodes):
        return False
    if any(node.named_broad - {one for one in node.named_broad if one.startswith("Organization/")} for node in nodes):
        return False
    if any("BTG" in node.listed_purposes or _is_helpers(node, tables) for node in nodes):
        return False
    if any(other.root is None or any(node.permit for node in walk(other.root)) for other in others if other.counts):
        return False
    return all(_denied_by_default(node, law, tables) for law in laws for node in nodes)


def _is_helpers(node: Node, tables: Tables) -> bool:
    return any("PATRQT" in tables.families.get(one, frozenset()) for one in node.purposes or ())


def _denied_by_default(node: Node, law: Jurisdiction, tables: Tables) -> bool:
    if not law.opt_out:
        return True
    if node.purposes is not None and not any(
        _is_below(one, law.default_purposes, tables.families)
        or any(_is_below(default, frozenset({one}), tables.families) for default in law.default_purposes)
        for one in node.purposes
    ):
        return True
    labels, ranks = _labels(node), _ranks(node)
    if not node.labels_given or not (labels or ranks):
        return False
    return min(ranks, default=len(RANK)) > law.default_ceiling and all(
        _is_below(label, law.default_excluded, tables.label_families) for label in labels
    )


def _labels(node: Node) -> frozenset[str]:
    """The labels it surely reaches: in a denial also those without a system."""
    return node.listed_labels if node.permit else node.listed_labels | node.loose_labels


def _ranks(node: Node) -> frozenset[int]:
    return node.ranks if node.permit else node.ranks | node.loose_ranks


# --- covering: whatever meets the chain of a permit surely meets the denial


def _denies(node: Node, chain: Sequence[Node], tables: Tables, zone: str) -> bool:
    """Whether this denial, without exceptions of its own, reaches whatever the last of the chain permits."""
    return (
        not node.permit
        and not _has_permits(node)
        and _applies_wherever(node, chain, tables, zone)
        and _holds_wherever(node, chain, tables, zone)
    )


def _has_permits(node: Node) -> bool:
    return any(child.permit or _has_permits(child) for child in node.children)


def _applies_wherever(denial: Node, chain: Sequence[Node], tables: Tables, zone: str) -> bool:
    """Applicability: who, why, when."""
    if denial.period is not None and not any(_lasts(denial.period, node.period, zone) for node in chain if node.period):
        return False
    if denial.purposes is not None and not any(
        node.purposes is not None and all(_is_below(one, denial.purposes, tables.families) for one in node.purposes)
        for node in chain
    ):
        return False
    if denial.actions is not None and not any(
        node.actions is not None and node.actions <= denial.actions for node in chain
    ):
        return False
    return all(
        wanted is None or any(given is not None and _all_meant(given, wanted) for given in kind)
        for wanted, kind in (
            (denial.recipients, [node.recipients for node in chain]),
            (denial.custodians, [node.custodians for node in chain]),
            (denial.authors, [node.authors for node in chain]),
        )
    )


def _holds_wherever(denial: Node, chain: Sequence[Node], tables: Tables, zone: str) -> bool:
    """Content: what. Of the chain the root's own content binds only the root."""
    bound = [node for n, node in enumerate(chain) if n > 0 or len(chain) == 1]
    if denial.classes is not None and not any(n.classes is not None and n.classes <= denial.classes for n in bound):
        return False
    if denial.codes is not None and not any(n.codes is not None and n.codes <= denial.codes for n in bound):
        return False
    if denial.labels_given and not any(_labels_held(denial, node, tables) for node in bound):
        return False
    if denial.data is not None and not any(n.data is not None and set(n.data) <= set(denial.data) for n in bound):
        return False
    return denial.data_period is None or any(
        node.data_period is not None and _lasts(denial.data_period, node.data_period, zone) for node in bound
    )


def _labels_held(denial: Node, node: Node, tables: Tables) -> bool:
    """Whether every document with one of the permit's labels carries one of the denial's, or stands as high."""
    named = _labels(node) & tables.label_families.keys()
    lowest = min(_ranks(denial), default=len(RANK))
    return bool(named) and all(
        _is_below(label, _labels(denial), tables.label_families) or tables.floor(tables.carried({label})) >= lowest
        for label in named
    )


def _is_below(code: str, listed: frozenset[str], families: Mapping[str, frozenset[str]]) -> bool:
    """Whether a code or an ancestor of it is listed."""
    return not listed.isdisjoint(families.get(code, frozenset()) | {code})


def _all_meant(given: Sequence[Actor], wanted: Sequence[Actor]) -> bool:
    return all(any(_is_meant(one, other) for other in wanted) for one in given)


def _is_meant(one: Actor, other: Actor) -> bool:
    names = one.exact | one.identifiers
    covered = one.exact <= other.broad | other.exact and one.identifiers <= other.identifiers
    return bool(names) and not one.uncertain and covered


def _only_family(chain: Sequence[Node], top: str, tables: Tables) -> bool:
    return any(
        node.purposes is not None and all(top in tables.families.get(one, frozenset()) for one in node.purposes)
        for node in chain
    )


def _lasts(period: Period | None, other: Period | None, zone: str) -> bool:
    """Whether a period holds all of another; None is for ever."""
    if period is None:
        return True
    since, until = time.bounds(period.start, period.end, zone)
    begin, end = time.bounds(other.start, other.end, zone) if other is not None else (time.MIN, time.MAX)
    return since <= begin and end <= until


def _is_over(period: Period, zone: str, now: datetime) -> bool:
    return time.bounds(period.start, period.end, zone)[1] <= now


def _meets(period: Period, span: Span, zone: str) -> bool:
    """Whether a document is, or may be, of this time."""
    start, stop = span
    if start is None:
        return True
    try:
        begin, end = time.interval(start, zone)
        if stop is not None:
            end = time.interval(stop, zone)[1]
    except time.UnreadableDate:
        return True
    since, until = time.bounds(period.start, period.end, zone)
    return begin < until and since < end
