"""A document's facts completed by what the policy knows: sources it was derived from, organizations that wrote it.

A derived document carries whatever its sources carry now, not what they carried when it was made.

Source: spec/consent.md 1.3 and 8.
"""

from __future__ import annotations

from dataclasses import replace

from consent.engine.codes import LETTERS, PART2, RANK, RANK_R, RANK_V
from consent.engine.policy import Policy
from hie.standards.facts import DocumentFacts


def completed(document: DocumentFacts, policy: Policy) -> DocumentFacts:
    """The facts with the highest letter and every label of the sources, and the authors by all their names.

    A source that was not labelled yet makes the document one; that of a substance-use program makes it a Part 2
    record. An author that is an organization of the directory is also called as that is; perhaps as one above it.
    """
    if document.authors or document.perhaps.authors:
        document = _with_organizations(document, policy)
    return _with_sources(document, policy) if document.derived_from else document


def _with_organizations(document: DocumentFacts, policy: Policy) -> DocumentFacts:
    wrote = [policy.by_name[name] for name in document.authors if name in policy.by_name]
    perhaps_wrote = [policy.by_name[name] for name in document.perhaps.authors if name in policy.by_name]
    if not wrote and not perhaps_wrote:
        return document
    sure = {*document.authors, *(f"Organization/{one.id}" for one in wrote)}
    above = [names for one in (*wrote, *perhaps_wrote) for names in (one.references, one.identifiers)]
    perhaps = document.perhaps.authors.union(*above)
    return replace(document, authors=tuple(sorted(sure)), perhaps=replace(document.perhaps, authors=perhaps))


def _with_sources(document: DocumentFacts, policy: Policy) -> DocumentFacts:
    sources = tuple(completed(source, policy) for source in document.derived_from)
    labels, labelled, rank = set(document.labels), document.labelled, _rank(document)
    for source in sources:
        custodian = policy.participants.get(source.custodian)
        labels |= source.labels | ({PART2} if custodian is not None and custodian.part2 else set())
        labelled = labelled and source.labelled
        rank = max(rank, _rank(source))
    return replace(
        document,
        derived_from=sources,
        labels=frozenset(labels),
        labelled=labelled,
        confidentiality=LETTERS[rank] if rank != _rank(document) else document.confidentiality,
    )


def _rank(document: DocumentFacts) -> int:
    return RANK_R if document.confidentiality is None else RANK.get(document.confidentiality, RANK_V)
