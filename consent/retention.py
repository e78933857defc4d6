"""How long each kind of thing is kept: what there is, how short it may be, and the versions that two people decided.

A version is a number of days. Below `least_days` nobody can go, and `why_least` names what asks for that. What the hub
removes nothing of is in `FOR_GOOD`, so that a reader of the schedule misses nothing.

Source: spec/consent.md 17; 45 CFR 164.316(b)(2)(i), 164.528; issue 5, item 12.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.utils import timezone

from consent.errors import PolicyRefused
from consent.models import RetentionRule
from hie.audit.retired import FLOOR

LONGEST_DAYS = 36_525


class Part(StrEnum):
    """What is kept for a time of its own."""

    LOG = "log"
    MESSAGES = "messages"
    BYTES = "bytes"
    QUESTIONS = "questions"
    IMPORTS = "imports"
    NOTICES = "notices"
    DELIVERIES = "deliveries"
    SESSIONS = "sessions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is said of a part: its name, what is in it, from when its time counts, and how long by default and at least."""

    title: str
    holds: str
    counts_from: str
    default_days: int
    least_days: int
    why_least: str


PARTS: Mapping[Part, Kept] = {
    Part.LOG: Kept(
        title="The log of access",
        holds="events, what was disclosed with them, and the records of decisions",
        counts_from="the first signed checkpoint over the event",
        default_days=3653,
        least_days=FLOOR.days,
        why_least="six years: 45 CFR 164.316(b)(2)(i) and 164.528",
    ),
    Part.MESSAGES: Kept(
        title="Messages as they came in",
        holds="the bytes of settled messages, and what they were answered",
        counts_from="their arrival",
        default_days=365,
        least_days=30,
        why_least="so long a refused message can still be mended and replayed",
    ),
    Part.BYTES: Kept(
        title="Bytes that no document uses",
        holds="files that were uploaded and never registered, and those of documents that were removed whole",
        counts_from="their upload",
        default_days=1,
        least_days=1,
        why_least="so long a submission may take, and a backup be brought in line",
    ),
    Part.QUESTIONS: Kept(
        title="Questions to others, with their answers",
        holds="who asked, which community answered what, and the documents that were named",
        counts_from="the question",
        default_days=90,
        least_days=2,
        why_least="answers can be read for 24 hours",
    ),
    Part.IMPORTS: Kept(
        title="Lines of imports",
        holds="what became of each line of a bulk import; its counts stay",
        counts_from="the end of the import",
        default_days=365,
        least_days=7,
        why_least="so long the sender may ask which lines were refused",
    ),
    Part.NOTICES: Kept(
        title="Notices to patients",
        holds="that something happened, as told in the portal",
        counts_from="the notice",
        default_days=730,
        least_days=30,
        why_least="so long a patient may be away",
    ),
    Part.DELIVERIES: Kept(
        title="Delivered notices to organizations, and mails",
        holds="ids of what was told to whom",
        counts_from="their delivery",
        default_days=30,
        least_days=7,
        why_least="so long a receiver may ask what it was told",
    ),
    Part.SESSIONS: Kept(
        title="Sessions of the portal and the desk that have ended",
        holds="when somebody was signed in, and with what kind of browser",
        counts_from="the end of the session",
        default_days=30,
        least_days=1,
        why_least="so long an owner may ask where an account was open",
    ),
}
FOR_GOOD: tuple[tuple[str, str], ...] = (
    ("Documents and their metadata", "as long as the organization that answers for them keeps them there"),
    ("Choices of patients, helpers, and their versions", "for life and ten years: the hub removes none by itself"),
    ("Changes of identity, verdicts and what they rested on", "each can be undone, and undoing replays them"),
    ("Emergency cases and concerns, with what was said", "six years at least: 45 CFR 164.530(j)"),
    ("Policy, agreements, proposals and who decided them", "an old decision is explained by the policy of its day"),
    ("Seals and checkpoints of the log, and what says which events went", "hashes; without them nothing verifies"),
)
"""What is never removed by the hub, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """How long a part is kept now; `version` 0 as shipped."""

    part: Part
    days: int
    version: int

    def ended_before(self, now: datetime) -> datetime:
        """What is older than this has had its time."""
        return now - timedelta(days=self.days)


def in_force(now: datetime | None = None) -> dict[Part, Term]:
    """The term of each part: of the versions whose time has come the newest. One statement."""
    found = {part: Term(part=part, days=kept.default_days, version=0) for part, kept in PARTS.items()}
    rows = RetentionRule.objects.filter(effective_from__lte=now or timezone.now()).order_by("version")
    for row in rows:
        if row.part in PARTS:
            part = Part(row.part)
            found[part] = Term(part=part, days=days_of(part, row.body), version=row.version)
    return found


def days_of(part: Part, body: Any) -> int:
    """The days that a version says, or the least where it says fewer: the law may have changed since it was written."""
    return max(int(body["days"]), PARTS[part].least_days)


def check(subject: str, body: Any) -> None:
    """Refuse what is no term of a part, or too short a one.

    Raises:
        PolicyRefused: the first thing that is wrong; `element` names it.
    """
    if subject not in PARTS:
        raise PolicyRefused(f"is none of {', '.join(PARTS)}", element="subject")
    kept = PARTS[Part(subject)]
    if not isinstance(body, dict) or set(body) != {"days"} or type(body["days"]) is not int:
        raise PolicyRefused('must be {"days": a whole number}', element="body")
    if body["days"] < kept.least_days:
        raise PolicyRefused(f"at least {kept.least_days} days, {kept.why_least}", element="body")
    if body["days"] > LONGEST_DAYS:
        raise PolicyRefused(f"more than {LONGEST_DAYS} days", element="body")
