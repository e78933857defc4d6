"""The home of the desk: what waits, since when, whose it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from hie.exchange import queues, staff_pages
from hie.exchange.desk_queues import QUEUES
from hie.exchange.queues import Queue
from hie.faces.backoffice import tasks

OWNERS = {
    "privacy-officer": "Privacy officer",
    "steward": "Stewards",
    "operator": "Operators",
    "onboarding": "Onboarding",
    "auditor": "Auditors",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One queue as the page shows it."""

    queue: Queue
    url: str
    oldest: str
    due: str
    owner: str
    claimed: str


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The template's words: the queues whose list this reader may open, and the one sentence above them."""
    now = timezone.now()
    roles = staff_pages.roles_of(request.user)
    rows = [_row(queue, roles, now) for queue in queues.waiting(now) if _may(request, queue)]
    waiting = [row for row in rows if row.queue.count]
    mine = sum(row.queue.count for row in waiting if row.queue.owner in roles)
    context |= {
        "title": "Tasks",
        "rows": rows,
        "summary": _summary(len(waiting), sum(row.queue.count for row in waiting), mine),
        "urgent": next((row for row in waiting if row.queue.urgent), None),
        "checked_at": now,
    }
    return context


def _may(request: HttpRequest, queue: Queue) -> bool:
    app, _, name = queue.model.partition(".")
    return request.user.has_perm(f"{app}.view_{name}")


def _row(queue: Queue, roles: frozenset[str], now: datetime) -> Row:
    app, _, name = queue.model.partition(".")
    return Row(
        queue=queue,
        url=tasks.url_of(queue.key)
        if queue.key in QUEUES
        else f"{reverse(f'admin:{app}_{name}_changelist')}?{queue.narrowed}",
        oldest=ago(queue.oldest_at, now) if queue.count else "",
        due=_due(queue.due_at, now) if queue.count else "",
        owner="You" if queue.owner in roles else OWNERS.get(queue.owner, queue.owner),
        claimed=", ".join(queue.claimed_by),
    )


def _summary(queues_waiting: int, tasks: int, mine: int) -> str:
    if not tasks:
        return "Nothing waits."
    things = f"{tasks:,} {'thing waits' if tasks == 1 else 'things wait'}"
    text = f"{things} in {queues_waiting} {'queue' if queues_waiting == 1 else 'queues'}."
    return f"{text} {mine:,} {'is' if mine == 1 else 'are'} yours." if mine else text


def ago(moment: datetime | None, now: datetime) -> str:
    """How long something waits, in one unit: "5 days", "3 hours", "26 minutes"."""
    if moment is None:
        return ""
    minutes = max(0, int((now - moment).total_seconds() // 60))
    for unit, length in (("day", 1440), ("hour", 60), ("minute", 1)):
        if minutes >= length:
            count = minutes // length
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "just now"


def _due(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return ""
    return "overdue" if moment <= now else f"{moment:%-d %b}"
