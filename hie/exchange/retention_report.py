"""What the schedule of retention means in rows: for the page of the desk, and before a term is changed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from consent import governance, governed_retention, holds, retention
from consent.models import LegalHold, PolicyProposal, RetentionRun
from consent.retention import Kept, Part, Term
from hie.exchange import retention_parts

COUNTED_TO = 10_000
LAST_RUNS = 20
_AHEAD = (timedelta(days=30), timedelta(days=365))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A part as the desk shows it; `due` is counted no further than `COUNTED_TO`, `last` the sweep before."""

    part: Part
    kept: Kept
    term: Term
    next: tuple[int, datetime] | None
    due: int
    last: RetentionRun | None

    @property
    def many(self) -> bool:
        """Whether there are more than were counted."""
        return self.due >= COUNTED_TO


def schedule() -> list[Line]:
    """Every part with its term, what is due and the last sweep. A few statements for each part."""
    now = timezone.now()
    lines = []
    for part, term in retention.in_force(now).items():
        coming = [one for one in governance.versions(governance.Kind.RETENTION, part) if one.number > term.version]
        lines.append(
            Line(
                part=part,
                kept=retention.PARTS[part],
                term=term,
                next=_next(part, coming),
                due=retention_parts.count(part, term.ended_before(now), at_most=COUNTED_TO),
                last=RetentionRun.objects.filter(part=part).order_by("-started_at", "-pk").first(),
            )
        )
    return lines


def page() -> dict[str, Any]:
    """What the page of the desk shows: the schedule, holds that stand, changes that wait, and what was removed last."""
    waiting = PolicyProposal.objects.filter(kind__in=governed_retention.KINDS, state=PolicyProposal.State.PROPOSED)
    runs = RetentionRun.objects.exclude(removed=0, held=0)[:LAST_RUNS]
    return {
        "lines": schedule(),
        "holds": holds.standing(),
        "waiting": list(waiting.order_by("proposed_at", "pk")),
        "runs": [(row, retention.PARTS[Part(row.part)].title) for row in runs if row.part in retention.PARTS],
        "for_good": retention.FOR_GOOD,
    }


def made(kind: str, subject: str, body: Any) -> dict[str, Any]:
    """What a proposal would change: of a term how much would go and when, now and then; of a hold what it held.

    ``{"title", "days": [now, then], "rows": [{"when", "now", "then"}], "hold"}``; every row is counted, held ones too.
    """
    if kind == governance.Kind.HOLD:
        row = LegalHold.objects.filter(pk=subject).first()
        others = LegalHold.objects.filter(lifted_at__isnull=True).exclude(pk=subject).count()
        said = f"{row.kind} {row.subject}" if row is not None else ""
        return {"title": "", "days": [], "rows": [], "hold": said, "others": others}
    part, now = Part(subject), timezone.now()
    term = retention.in_force(now)[part]
    days = (term.days, retention.days_of(part, body))
    whens = [("at the next sweep", timedelta(0)), ("within 30 days", _AHEAD[0]), ("within a year", _AHEAD[1])]
    rows = []
    for when, ahead in whens:
        was, would = (retention_parts.count(part, now + ahead - timedelta(days=one)) for one in days)
        rows.append({"when": when, "now": was, "then": would})
    return {"title": retention.PARTS[part].title, "days": list(days), "rows": rows, "hold": "", "others": 0}


def basis() -> str:
    """What a report stands on: the terms in force and the holds that stand."""
    terms = [(term.part.value, term.version, term.days) for term in retention.in_force().values()]
    said = json.dumps([sorted(terms), sorted(str(row.pk) for row in holds.standing())])
    return f"retention {hashlib.sha256(said.encode()).hexdigest()}"


def part_of(kind: str, subject: str) -> Kept | None:
    """What is said of a part of the schedule, for the form that changes its time; None where it is none."""
    known = kind == governance.Kind.RETENTION and subject in retention.PARTS
    return retention.PARTS[Part(subject)] if known else None


def _next(part: Part, coming: list[governance.Version]) -> tuple[int, datetime] | None:
    """The version that is to come: its days, and from when."""
    for one in coming:
        if one.effective_from is not None:
            return retention.days_of(part, one.body), one.effective_from
    return None
