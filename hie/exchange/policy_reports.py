"""What a change of policy would change: of the last month's decisions, refusals at the gate, and documents' labels.

What was decided and recorded in the last 30 days, not what was only tried, is decided again under the policy in force
and under the one proposed, with the directives and at the instant of each record: what differs comes of the proposal
alone. A request that was refused for what its caller is and claims has no record of documents: it is put to both gates.
Where labels may change, each document is read and labelled under both, newest first. A report names events and rules,
never a patient or a document.

Source: spec/consent.md 11.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from consent import governance, governed_retention, kept, policies, replay
from consent.labelling import LabelTables, highest
from consent.models import CodeTable
from documents.models import DocumentEntry
from hie.audit import queries as audit
from hie.exchange import access, decision_record, relabel, retention_report
from hie.exchange import labels as labelling
from hie.standards.facts import Decision, RequestFacts
from patients import queries as index

__all__ = ["Documents", "Report", "Turn", "basis", "made"]

LOOKED_BACK = timedelta(days=30)
LONGEST_S = 60.0
"""So long each part of a report goes on; what it did not come to is said."""
LISTED = 200
GOES_ON = "goes on"
"""What becomes of a request that the gate no longer stops: it is decided, document by document."""
_BATCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Decisions that would come out otherwise, alike: the answer and its rule, before and after.

    `would_be` may be `GOES_ON`, without a rule.
    """

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
class Documents:
    """What would become of the labels of documents.

    Of `there`, `looked_at` were read. `raised` would carry more, or a higher letter, once labelled anew (whatever was
    derived from them follows); of `lower` the rules would ask less than they do now: labels are never taken off, but a new
    document like them would be less secret. `labels`: for each label how many would get it, and how many would not any
    more. `unread`: known by their metadata alone.
    """

    there: int
    looked_at: int
    raised: int
    lower: int
    unread: int
    labels: tuple[Mapping[str, Any], ...] = ()

    @property
    def whole(self) -> bool:
        """Whether all were looked at."""
        return self.looked_at >= self.there


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a change of policy would have changed since `since`.

    `decisions` of `events` were decided again; `left_out` events could not be (records of an older form, versions that
    are not kept). `stopped`: requests refused at the gate that were put to it again. `listed`: the first that would turn,
    each {event, document number (0: the request), organization, purpose, was, rule, would_be, would_rule}. `whole`:
    whether everything since was looked at. `decides`: whether the change reaches decisions at all, `documents` labels,
    `kept` how long something is kept (`hie.exchange.retention_report`).
    """

    since: datetime
    events: int = 0
    decisions: int = 0
    left_out: int = 0
    stopped: int = 0
    turned: tuple[Turn, ...] = ()
    listed: tuple[Mapping[str, Any], ...] = ()
    whole: bool = True
    decides: bool = True
    documents: Documents | None = None
    kept: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """As it is kept with a proposal."""
        documents = self.documents
        return {
            **asdict(self),
            "since": self.since.isoformat(),
            "turned": [asdict(one) for one in self.turned],
            "listed": [dict(one) for one in self.listed],
            "documents": asdict(documents) | {"whole": documents.whole} if documents is not None else None,
            "kept": dict(self.kept) if self.kept is not None else None,
        }


@dataclass(slots=True)
class _Count:
    events: int = 0
    decisions: int = 0
    left_out: int = 0
    stopped: int = 0
    turned: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    listed: list[dict[str, Any]] = field(default_factory=list)

    def note(self, turn: tuple[str, str, str, str], **which: Any) -> None:
        self.turned[turn] += 1
        if len(self.listed) < LISTED:
            self.listed.append(which | dict(zip(("was", "rule", "would_be", "would_rule"), turn, strict=True)))


def basis(kind: str) -> str:
    """What a report on a change of this kind stands on: a digest of the policy in force, of labelling rules too where they matter."""
    if kind in governed_retention.KINDS:
        return retention_report.basis()
    policy = policies.current()
    digest = kept.keep(policy) or f"epoch {policy.epoch}"
    return f"{digest} {policies.labelling().digest}" if kind == governance.Kind.CODE_TABLE else digest


def made(kind: str, subject: str, body: Any) -> Report:
    """The report on a version that can be used; changes nothing.

    Raises:
        PolicyRefused: there is no such participant.
    """
    until = timezone.now()
    since = until - LOOKED_BACK
    if kind in governed_retention.KINDS:
        return Report(since=since, decides=False, kept=retention_report.made(kind, subject, body))
    rules = governance.label_tables_of(kind, subject, body)
    documents = _documents(policies.labelling(), rules) if rules is not None else None
    if kind == governance.Kind.CODE_TABLE and subject == CodeTable.Name.LABELS:
        return Report(since=since, decides=False, documents=documents)
    now, then = policies.current(), policies.drafted(governance.draft_of(kind, subject, body))
    count, stop = _Count(), time.monotonic() + LONGEST_S
    whole = _again(since, until, now, then, count, stop) and _gates(since, until, now, then, count, stop)
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
        stopped=count.stopped,
        turned=turned,
        listed=tuple(count.listed),
        whole=whole,
        documents=documents,
    )


def _again(since: datetime, until: datetime, now: Any, then: Any, count: _Count, stop: float) -> bool:
    """Decide the recorded decisions again; whether it came to the end."""
    ids: list[str] = []
    for identifier in audit.decided_between(since, until, tried=False):
        ids.append(identifier)
        if len(ids) == _BATCH:
            _decide_again(ids, now, then, count)
            ids = []
            if time.monotonic() > stop:
                return False
    _decide_again(ids, now, then, count)
    return True


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
        asked = record["request"]
        for n, (old, new) in enumerate(zip(was, will, strict=True), 1):
            if _alike(old, new):
                continue
            turn = (old.outcome, old.rule, new.outcome, new.rule)
            which = {"event": event_id, "document": n, "at": record["at"]}
            count.note(turn, **which, organization=asked["org"], purpose=asked["purpose"])


def _alike(old: Decision, new: Decision) -> bool:
    return (old.permitted, old.rule, old.obligations) == (new.permitted, new.rule, new.obligations)


def _gates(since: datetime, until: datetime, now: Any, then: Any, count: _Count, stop: float) -> bool:
    """Put what was refused at the gate to both gates; whether it came to the end."""
    for one in audit.stopped_between(since, until):
        count.stopped += 1
        request = RequestFacts(
            organization=one.organization or None,
            user=one.user or None,
            role=one.role or None,
            purpose=one.purpose or None,
            operation="query",
            relationship=one.relationship or None,
        )
        old, new = (access.stops(request, policy, at=one.at) for policy in (now, then))
        if old != new:
            turn = (*_gate_words(old), *_gate_words(new))
            which = {"event": one.event_id, "document": 0, "at": one.at.isoformat()}
            count.note(turn, **which, organization=one.organization, purpose=one.purpose)
        if time.monotonic() > stop:
            return False
    return True


def _gate_words(rule: str) -> tuple[str, str]:
    return ("deny", rule) if rule else (GOES_ON, "")


def _documents(now: LabelTables, then: LabelTables) -> Documents:
    """Label every document under both sets of rules, newest first, as long as there is time."""
    stop = time.monotonic() + LONGEST_S
    rows = DocumentEntry.objects.order_by("-pk")
    there, looked_at, raised, lower, unread = rows.count(), 0, 0, 0, 0
    more: Counter[str] = Counter()
    less: Counter[str] = Counter()
    for row in rows.iterator(chunk_size=_BATCH):
        if time.monotonic() > stop:
            break
        looked_at += 1
        seen = relabel.look(row)
        unread += not seen.readable
        was, will = (labelling.of_entry(seen.entry, seen.content, rules) for rules in (now, then))
        got, lost = will.labels - was.labels - set(row.labels), was.labels - will.labels
        more.update(got)
        less.update(lost)
        held = highest([row.confidentiality or "R", was.confidentiality])
        raised += bool(got) or highest([held, will.confidentiality]) != held
        lower += bool(lost) or highest([was.confidentiality, will.confidentiality]) != will.confidentiality
    named = tuple({"label": name, "more": more[name], "less": less[name]} for name in sorted({*more, *less}))
    return Documents(there=there, looked_at=looked_at, raised=raised, lower=lower, unread=unread, labels=named)
