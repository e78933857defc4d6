"""Words of the emergency pages: values of the exchange as sentences. No rule, no query."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from django import template

from hie.exchange.emergency_pages import ACT_WORDS, SOON, Listed

register = template.Library()

_TABS = (
    ("waiting", "All"),
    ("mine", "Yours"),
    ("escalated", "Escalated"),
    ("objected", "Objected since"),
    ("unanswered", "To be answered"),
    ("decided", "Decided"),
)
_FOLLOWS = {
    "justified": "The patient reads your reason in the log.",
    "not-justified": "Their emergency access is suspended, and the organization must answer.",
    "passed-on": "Another reviewer decides it. The deadline stays.",
    "reopened": "It waits again, and what the decision brought is ended.",
    "notice-held": "The patient is told when that time has passed.",
}


class Act(Protocol):
    """What was done with a case."""

    kind: str


@register.filter
def emergency_sentence(listed: Listed) -> str:
    """What waits, in one or two sentences."""
    counts = listed.counts
    if not counts["waiting"]:
        return "Nothing waits."
    text = f"{counts['waiting']} case{' waits' if counts['waiting'] == 1 else 's wait'}, what is due first comes first."
    parts = [f"{counts['mine']} {'is' if counts['mine'] == 1 else 'are'} yours"] if counts["mine"] else []
    if counts["escalated"]:
        parts.append(f"{counts['escalated']} {'is' if counts['escalated'] == 1 else 'are'} escalated")
    return f"{text} {', '.join(parts).capitalize()}." if parts else text


@register.filter
def emergency_tabs(listed: Listed) -> list[tuple[str, str, int]]:
    """The parts of the queue with their counts."""
    return [(state, words, listed.counts[state]) for state, words in _TABS]


@register.filter
def staff_name(listed: Listed, actor: str) -> str:
    """The name of a member of staff."""
    return listed.names.get(actor, actor)


@register.filter
def due_words(at: datetime, now: datetime) -> tuple[str, bool]:
    """When something is due, and whether that is soon: "Due in 9 hours", "Overdue for 2 days"."""
    late, left = at <= now, abs(at - now)
    hours = int(left.total_seconds() // 3600)
    days = hours // 24
    span = f"{days} day{'' if days == 1 else 's'}" if days > 1 else f"{hours} hour{'' if hours == 1 else 's'}"
    if hours < 1:
        span = "less than an hour"
    return (f"Overdue for {span}" if late else f"Due in {span}"), late or at - now <= SOON


@register.filter
def emergency_act(act: Act) -> str:
    """What was done: "justified", "passed on to a second reviewer"."""
    words = ACT_WORDS[act.kind]
    return f"{words[:1].lower()}{words[1:]}"


@register.filter
def emergency_follows(act: Act) -> str:
    """What that means now, in a sentence."""
    return _FOLLOWS.get(act.kind, "")
