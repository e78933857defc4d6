"""How long a decision stands by itself: the next instant at which a period begins or ends, without anybody's act.

Between two such instants nothing changes but by a change in store (spec/consent.md 19.8).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from consent.engine import time
from consent.engine.decide import PatientPolicy
from consent.engine.directive import Directive, Node, Period
from consent.engine.policy import Policy
from hie.standards.facts import BreakGlassGrant, ProxyGrant


def next_boundary(
    patient: PatientPolicy,
    policy: Policy,
    participants: Iterable[str],
    *,
    now: datetime,
    grants: Iterable[BreakGlassGrant | ProxyGrant] = (),
) -> datetime:
    """The first instant after `now` at which something begins or ends by itself: a directive, an agreement of one of these
    participants, one of these grants, or one of the patient's ages by law.

    `time.MAX` when nothing does.
    """
    law = policy.jurisdiction_of(patient.subject.jurisdiction)
    zone, *ages = (law.zone, law.majority_age, law.confidential_age) if law is not None else ("UTC",)
    key = (zone, *ages)
    instants = patient.instants.get(key)
    if instants is None:
        found = {instant for one in patient.directives for instant in _of_directive(one, zone)}
        found.update(_of_ages(patient.subject.birth_date, ages, zone))
        instants = patient.instants[key] = tuple(sorted(found))
    place = bisect_right(instants, now)
    first = instants[place] if place < len(instants) else time.MAX
    for participant_id in participants:
        participant = policy.participants.get(participant_id)
        if participant is not None:
            for instant in (participant.active_from, participant.active_until):
                if now < instant < first:
                    first = instant
    for grant in grants:
        first = min((instant for instant in _of_grant(grant, zone, policy) if now < instant < first), default=first)
    return first


def _of_ages(birth_date: str | None, ages: Iterable[int | None], zone: str) -> Iterator[datetime]:
    for years in ages:
        if years is not None:
            yield from time.birthday(birth_date, years, zone)


def _of_grant(grant: BreakGlassGrant | ProxyGrant, zone: str, policy: Policy) -> tuple[datetime, ...]:
    if isinstance(grant, BreakGlassGrant):
        return grant.start, grant.end, grant.start + timedelta(hours=policy.tables.break_glass_max_hours)
    try:
        return time.bounds(grant.start, grant.end, zone)
    except time.UnreadableDate:
        return ()


def _of_directive(directive: Directive, zone: str) -> Iterator[datetime]:
    periods = [Period(start=directive.since, end=None), directive.period, *_of_node(directive.root)]
    for period in periods:
        if period is not None:
            yield from time.bounds(period.start, period.end, zone)


def _of_node(node: Node | None) -> Iterator[Period | None]:
    if node is not None:
        yield node.period
        for child in node.children:
            yield from _of_node(child)
