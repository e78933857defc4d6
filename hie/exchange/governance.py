"""Policy changed by two people: propose with a what-if over the last month's decisions, activate, withdraw, go back.

The report decides again what was decided and recorded in the last 30 days, not what was only tried, under the policy in
force and under the one proposed, with the directives and at the instant of each record: what differs comes of the
proposal alone. It names events and rules, never a patient or a document.

Source: spec/consent.md 11.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from consent import governance, policies, replay
from consent.governance import Version
from consent.models import CodeTable, PolicyProposal
from hie.audit import queries as audit
from hie.audit import recorder
from hie.audit.recorder import EventType
from hie.exchange import access, decision_record
from hie.exchange.access import Staff
from hie.exchange.errors import AccessRefused
from hie.standards.facts import Decision
from patients import queries as index

__all__ = ["Report", "Turn", "activate", "look", "may", "propose", "report", "versions", "withdraw"]

LOOKED_BACK = timedelta(days=30)
LONGEST_S = 60.0
"""So long a report goes on; what it did not come to is said."""
LISTED = 200
_BATCH = 200
ROLES = frozenset({"administrator", "privacy-officer"})
"""Who proposes and activates changes of policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Decisions that would come out otherwise, alike: the answer and its rule, before and after."""

    was: str
    rule: str
    would_be: str
    would_rule: str
    count: int

    @property
    def turns(self) -> bool:
        """Whether the answer itself is another, not its rule alone."""
        return self.was != self.would_be


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a change of policy would have changed of the decisions since `since`.

    `decisions` of `events` were decided again; `left_out` events could not be (records of an older form, versions that
    are not kept). `listed`: the first that would turn, each {event, document number, organization, purpose, was, rule,
    would_be, would_rule}. `whole`: whether everything since was looked at.
    """

    since: datetime
    events: int
    decisions: int
    left_out: int
    turned: tuple[Turn, ...]
    listed: tuple[Mapping[str, Any], ...] = ()
    whole: bool = True
    labels: bool = False

    def as_json(self) -> dict[str, Any]:
        """As it is kept with a proposal."""
        return {
            "since": self.since.isoformat(),
            "events": self.events,
            "decisions": self.decisions,
            "left_out": self.left_out,
            "turned": [
                {
                    "was": one.was,
                    "rule": one.rule,
                    "would_be": one.would_be,
                    "would_rule": one.would_rule,
                    "count": one.count,
                }
                for one in self.turned
            ],
            "listed": list(self.listed),
            "whole": self.whole,
            "labels": self.labels,
        }


@dataclass(slots=True)
class _Count:
    events: int = 0
    decisions: int = 0
    left_out: int = 0
    turned: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    listed: list[dict[str, Any]] = field(default_factory=list)


def may(staff: Staff) -> bool:
    """Whether a member of staff proposes and activates changes of policy, by role."""
    return bool(staff.roles & ROLES)


def look(staff: Staff, *, page: str, subject: str = "") -> None:
    """Record that a member of staff opened a page of policy."""
    recorder.write([_draft(EventType.POLICY_READ, staff, {"page": page, "subject": subject})])


def versions(kind: str, subject: str) -> list[Version]:
    """Every version of a part of policy, newest first."""
    return governance.versions(kind, subject)


def report(kind: str, subject: str, body: Any, staff: Staff) -> Report:
    """What a version would have changed of the last month's decisions; recorded, changes nothing.

    Raises:
        AccessRefused: not by this role. PolicyRefused: the version cannot be used; by element.
    """
    _may_or_refuse(staff, "report", subject)
    governance.check(kind, subject, body)
    found = _report(kind, subject, body)
    detail = {"what": "report", "kind": kind, "subject": subject, "decisions": found.decisions}
    recorder.write([_draft(EventType.POLICY_READ, staff, detail)])
    return found


def propose(
    kind: str, subject: str, body: Any, staff: Staff, *, reason: str, effective_from: datetime | None = None
) -> PolicyProposal:
    """Propose a version, with the report that belongs to it; in force only once another person activates it.

    Raises:
        AccessRefused: not by this role. PolicyRefused: as `consent.governance.propose`.
    """
    _may_or_refuse(staff, "propose", subject)
    governance.check(kind, subject, body)
    made = _report(kind, subject, body).as_json()
    with transaction.atomic():
        row = governance.propose(
            kind, subject, body, reason=reason, by=staff.user_id, effective_from=effective_from, report=made
        )
        recorder.write([_draft(EventType.POLICY_PROPOSED, staff, _about(row))])
    return row


def activate(proposal_id: UUID, staff: Staff, *, reason: str) -> PolicyProposal:
    """Put a proposal into force, as the second person.

    Raises:
        AccessRefused: not by this role. PolicyRefused, FourEyes, PolicyChanged: as `consent.governance.activate`.
    """
    _may_or_refuse(staff, "activate", str(proposal_id))
    with transaction.atomic():
        row = governance.activate(proposal_id, by=staff.user_id, reason=reason)
        recorder.write([_draft(EventType.POLICY_ACTIVATED, staff, _about(row))])
    return row


def withdraw(proposal_id: UUID, staff: Staff, *, reason: str) -> PolicyProposal:
    """End a proposal without effect.

    Raises:
        AccessRefused: not by this role. PolicyRefused: as `consent.governance.withdraw`.
    """
    _may_or_refuse(staff, "withdraw", str(proposal_id))
    with transaction.atomic():
        row = governance.withdraw(proposal_id, by=staff.user_id, reason=reason)
        recorder.write([_draft(EventType.POLICY_WITHDRAWN, staff, _about(row))])
    return row


def _report(kind: str, subject: str, body: Any) -> Report:
    until = timezone.now()
    since = until - LOOKED_BACK
    if kind == governance.Kind.CODE_TABLE and subject == CodeTable.Name.LABELS:
        # What it changes are labels, when documents are labelled anew; decisions follow those.
        return Report(since=since, events=0, decisions=0, left_out=0, turned=(), labels=True, whole=False)
    now = policies.current()
    then = policies.drafted(governance.draft_of(kind, subject, body))
    count, stop = _Count(), time.monotonic() + LONGEST_S
    whole, ids = True, []
    for identifier in audit.decided_between(since, until, tried=False):
        ids.append(identifier)
        if len(ids) == _BATCH:
            _decide_again(ids, now, then, count)
            ids = []
            if time.monotonic() > stop:
                whole = False
                break
    _decide_again(ids, now, then, count)
    turned = tuple(
        Turn(was=was, rule=rule, would_be=would_be, would_rule=would_rule, count=number)
        for (was, rule, would_be, would_rule), number in sorted(
            count.turned.items(), key=lambda item: (item[0][0] == item[0][2], -item[1], item[0])
        )
    )
    return Report(
        since=since,
        events=count.events,
        decisions=count.decisions,
        left_out=count.left_out,
        turned=turned,
        listed=tuple(count.listed),
        whole=whole,
    )


def _decide_again(ids: list[str], now: Any, then: Any, count: _Count) -> None:
    for event_id, record, _ in audit.decisions_of(ids):
        try:
            person = index.subject_facts(str(record.get("patient", "")))
            request = decision_record.request_of(record, person.birth_date if person is not None else None)
            facts = [one.facts for one in decision_record.decided_of(record)]
            directives = replay.directives_as_then(request.subject, [str(one) for one in record["considered"]])
        except (ValueError, KeyError, TypeError, replay.MissingVersion):
            count.left_out += 1
            continue
        count.events += 1
        count.decisions += len(facts)
        (was,), (will,) = (
            list(
                access.tried(
                    access.World(policy=policy, directives=directives, at=request.at), [request.alternatives], facts
                )
            )
            for policy in (now, then)
        )
        for n, (old, new) in enumerate(zip(was, will, strict=True)):
            _note(count, event_id, n, record, old, new)


def _note(count: _Count, event_id: str, n: int, record: Mapping[str, Any], old: Decision, new: Decision) -> None:
    if (old.permitted, old.rule, old.obligations) == (new.permitted, new.rule, new.obligations):
        return
    turn = (old.outcome, old.rule, new.outcome, new.rule)
    count.turned[turn] += 1
    if len(count.listed) < LISTED:
        asked = record["request"]
        count.listed.append(
            {
                "event": event_id,
                "document": n + 1,
                "at": record["at"],
                "organization": asked["org"],
                "purpose": asked["purpose"],
                "was": old.outcome,
                "rule": old.rule,
                "would_be": new.outcome,
                "would_rule": new.rule,
            }
        )


def _about(row: PolicyProposal) -> dict[str, Any]:
    return {
        "proposal": str(row.pk),
        "kind": row.kind,
        "subject": row.subject,
        "on_version": row.on_version,
        "version": row.version,
        "reason": row.decided_reason or row.reason,
    }


def _may_or_refuse(staff: Staff, what: str, subject: str) -> None:
    if may(staff):
        return
    draft = _draft(EventType.POLICY_READ, staff, {"what": what, "subject": subject})
    recorder.write_apart([_refused(draft)])
    raise AccessRefused("G5", "role-not-permitted")


def _refused(draft: recorder.EventDraft) -> recorder.EventDraft:
    return recorder.EventDraft(
        kind=draft.kind,
        caller=draft.caller,
        outcome=recorder.Outcome.REFUSED,
        rule="G5",
        reason="role-not-permitted",
        detail=draft.detail,
    )


def _draft(kind: EventType, staff: Staff, detail: Mapping[str, Any]) -> recorder.EventDraft:
    return recorder.EventDraft(kind=kind, caller=staff.caller(), detail=dict(detail))
