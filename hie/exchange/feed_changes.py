"""What a message of HL7 asks of the index, once it is read: whose its identifiers are, and the changes it comes to.

One place for HL7 v2 and V3: both name a patient by the identifiers of domains, of which only the sender's own count, and
both leave unsaid what stays as it was.

Source: IHE ITI TF-2 3.8, 3.44; spec/mpi.md 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import tzinfo
from enum import Enum, auto

from hie.directory import queries as directory
from hie.exchange import feed
from hie.standards.demographics import Demographics, Identifier
from hie.standards.facts import Caller

Name = tuple[str, str]
"""An identifier as (authority, value)."""


class Whose(Enum):
    """Who issues the identifiers of a domain, as a sender sees it."""

    OWN = auto()
    HUBS = auto()
    ANOTHERS = auto()
    NOBODYS = auto()


def whose(oid: str, caller: Caller) -> Whose:
    """Whose domain an OID names; "" is nobody's. A domain of an organization below the sender is its own."""
    owner = directory.authority_owner(oid) if oid else None
    if owner is None:
        return Whose.NOBODYS
    if owner == directory.HUB:
        return Whose.HUBS
    return Whose.OWN if directory.within(owner, caller.participant_id) else Whose.ANOTHERS


def revision(
    name: Name,
    demographics: Demographics,
    identifiers: Sequence[Identifier],
    *,
    element: str,
    deleted: frozenset[str] = frozenset(),
    only_new: bool = False,
) -> feed.Revision:
    """The record `name` as the message says it; `identifiers` are all that it gives the patient, each kept once."""
    distinct: dict[str, Identifier] = {}
    for item in identifiers:
        distinct.setdefault(item.key, item)
    return feed.Revision(
        authority=name[0],
        value=name[1],
        demographics=replace(demographics, identifiers=tuple(distinct.values())),
        keep_unsaid=True,
        deleted=deleted,
        only_new=only_new,
        element=element,
    )


def duplicates(
    survivor: feed.Revision, survivors: Sequence[Name], priors: Sequence[Name], *, element: str
) -> list[feed.Change]:
    """First the survivor, if it is new; then each prior identifier goes into that of its own domain, or the first."""
    by_domain = dict(reversed(survivors))
    changes: list[feed.Change] = [replace(survivor, only_new=True)]
    for authority, value in priors:
        into = (authority, by_domain[authority]) if authority in by_domain else survivors[0]
        if into != (authority, value):
            changes.append(feed.Duplicate(survivor=into, subsumed=(authority, value), element=element))
    return changes


def zone(caller: Caller) -> tzinfo:
    """The time zone in which a sender writes times without an offset."""
    return directory.zone_of(directory.snapshot().jurisdiction_of(caller.participant_id))
