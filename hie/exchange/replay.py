"""Deciding recorded decisions again, from the versions they name: the same must come out.

A difference means that a record was changed, that a version is not what it was, that the engine decides
otherwise than it did, or that something left which the record does not permit. It is logged, kept as an event (`EventType.DECISIONS_REPLAYED`) and shown to administrators; it changes nothing.

Source: spec/consent.md 13, "nightly job replays a random 1 %".
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import structlog
from django.utils import timezone

from consent import kept, replay
from consent.replay import MissingVersion
from hie.audit import queries as audit
from hie.audit import recorder
from hie.audit.recorder import EventType
from hie.exchange import access, decision_record
from hie.exchange.decision_record import ENGINE_VERSION, Decided, Request
from patients import queries as index

log = structlog.get_logger(__name__)

_Named = tuple[tuple[str, str], ...]
SHARE = 0.01
NAMED = 100


class Outcome(StrEnum):
    """What came of deciding a record again."""

    SAME = "same"
    DIFFERENT = "different"
    UNREADABLE = "unreadable"
    MISSING = "missing"  # a policy or a version of a directive that it names is not in store
    OLD = "old"  # written by another version of the engine, or before records were complete


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One record decided again. `differences` name document, what was recorded and what came out, as ``rule``."""

    event_id: str
    outcome: Outcome
    differences: tuple[tuple[str, str, str], ...] = ()
    message: str = ""


@dataclass(slots=True)
class Report:
    """A night's work: how many records of each outcome, and those that do not hold (the first `NAMED`)."""

    counts: Counter[str] = field(default_factory=Counter)
    found: list[Replayed] = field(default_factory=list)

    def add(self, one: Replayed) -> None:
        """Count one, and name it where it does not hold."""
        self.counts[one.outcome] += 1
        if one.outcome not in (Outcome.SAME, Outcome.OLD) and len(self.found) < NAMED:
            self.found.append(one)

    @property
    def holds(self) -> bool:
        """Whether everything came out as it was recorded."""
        return not self.found


@dataclass(frozen=True, slots=True, kw_only=True)
class AsThen:
    """A record read back: what was asked and decided, and the world it was decided in."""

    request: Request
    decided: list[Decided]
    world: access.World


def as_then(record: Mapping[str, Any]) -> AsThen:
    """Read a record and the versions it names back.

    Raises:
        ValueError: not a record that can be read; the message names the member.
        MissingVersion: the policy or a directive that it names is not in store.
    """
    try:
        person = str(record.get("patient", ""))
        subject = index.subject_facts(person)
        request = decision_record.request_of(record, subject.birth_date if subject is not None else None)
        decided = decision_record.decided_of(record)
        considered = [str(one) for one in record["considered"]]
    except (KeyError, TypeError) as problem:
        raise ValueError(str(problem)) from problem
    directives = replay.directives_as_then(request.subject, considered)
    policy = kept.kept(str(record.get("policy", "")))
    if policy is None:
        raise MissingVersion("policy")
    world = access.World(policy=policy, directives=directives, at=request.at)
    return AsThen(request=request, decided=decided, world=world)


def decide_again(event_id: str, record: Mapping[str, Any], denied: _Named = (), *, disclosed: _Named = ()) -> Replayed:
    """Decide one record again. `denied` is the event's own list, which must say the same; `disclosed` what left with it
    (document, rule), which must have been permitted by that rule.
    """
    if record.get("engine_version") != ENGINE_VERSION or "documents" not in record:
        return Replayed(event_id=event_id, outcome=Outcome.OLD)
    if record.get("decision_id") != event_id:
        return Replayed(event_id=event_id, outcome=Outcome.UNREADABLE, message="decision_id")
    try:
        then = as_then(record)
    except ValueError as problem:
        return Replayed(event_id=event_id, outcome=Outcome.UNREADABLE, message=str(problem)[:200])
    except MissingVersion as problem:
        return Replayed(event_id=event_id, outcome=Outcome.MISSING, message=str(problem)[:200])
    recorded = then.decided
    (decisions,) = access.tried(then.world, [then.request.alternatives], [one.facts for one in recorded])
    differences = [
        (one.facts.id, one.decision.rule, again.rule)
        for one, again in zip(recorded, decisions, strict=True)
        if decision_record.without_versions(one.decision) != again
    ]
    refused = sorted((one.facts.id, one.decision.rule) for one in recorded if not one.decision.permitted)
    if not differences and denied and sorted(denied) != refused:
        differences = [("", "denied", "decisions")]
    differences += _let_out(recorded, disclosed)
    outcome = Outcome.DIFFERENT if differences else Outcome.SAME
    return Replayed(event_id=event_id, outcome=outcome, differences=tuple(differences))


def _let_out(recorded: Sequence[Decided], disclosed: _Named) -> list[tuple[str, str, str]]:
    """What left though the record denies it, or by another rule than it names."""
    permitted = {(one.facts.id, one.decision.rule) for one in recorded if one.decision.permitted}
    rules = {one.facts.id: one.decision.rule for one in recorded}
    return [
        (document, f"disclosed by {rule}", rules[document])
        for document, rule in disclosed
        if document in rules and (document, rule) not in permitted
    ]


def nightly(*, share: float = SHARE, since: datetime | None = None, draw: random.Random | None = None) -> Report:
    """Decide a random share of the last day's records again and record what came of it.

    Each record is drawn by itself; one that is not drawn costs nothing but its id.
    """
    draw = draw or random.SystemRandom()
    until = timezone.now()
    report = Report()
    for event_id, record, denied, disclosed in _drawn(since or until - timedelta(days=1), until, share, draw):
        one = decide_again(event_id, record, denied, disclosed=disclosed)
        report.add(one)
        if one.outcome not in (Outcome.SAME, Outcome.OLD):
            log.error("replay.differs", event_id=event_id, outcome=one.outcome, message=one.message)
    detail = {
        "counts": dict(sorted(report.counts.items())),
        "found": [{"event": one.event_id, "outcome": one.outcome} for one in report.found],
    }
    outcome = recorder.Outcome.SUCCESS if report.holds else recorder.Outcome.FAILED
    recorder.write(
        [recorder.EventDraft(kind=EventType.DECISIONS_REPLAYED, caller=None, outcome=outcome, detail=detail)]
    )
    return report


def _drawn(
    since: datetime, until: datetime, share: float, draw: random.Random
) -> Iterator[tuple[str, Mapping[str, Any], _Named, _Named]]:
    ids: list[str] = []
    for identifier in audit.decided_between(since, until):
        if draw.random() < share:
            ids.append(identifier)
    for n in range(0, len(ids), 200):
        some = ids[n : n + 200]
        left = audit.disclosed_with(some)
        for event_id, record, denied in audit.decisions_of(some):
            yield event_id, record, denied, left.get(event_id, ())
