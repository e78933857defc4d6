"""How long a decision stands by itself: the next instant at which a period begins or ends, without anybody's act.

Between two such instants nothing changes but by a change in store (spec/consent.md 19.8).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from consent.engine import time
from consent.engine.decide import PatientPolicy
from consent.engine.directive import Directive, Node, Period
from consent.engine.policy import Policy


def next_boundary(patient: PatientPolicy, policy: Policy, participants: Iterable[str], *, now: datetime) -> datetime:
    """The first instant after `now` at which a directive or an agreement of these participants begins or ends.

    Ages and grants are not looked at. `time.MAX` when nothing does.
    """
    at = now.astimezone(UTC)
    law = policy.jurisdiction_of(patient.subject.jurisdiction)
    instants = [instant for one in patient.directives for instant in _of_directive(one, law.zone if law else "UTC")]
    for participant_id in participants:
        participant = policy.participants.get(participant_id)
        if participant is not None:
            instants += [participant.active_from, participant.active_until]
    return min((instant for instant in instants if instant > at), default=time.MAX)


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
