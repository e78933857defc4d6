"""Words of the pages of concerns: values of the exchange as sentences. No rule, no query."""

from __future__ import annotations

from typing import Protocol

from django import template

from hie.exchange.concern_review import ACT_WORDS, Listed

register = template.Library()

_TABS = (
    ("waiting", "All"),
    ("office", "For us"),
    ("asked", "With organizations"),
    ("overdue", "Overdue"),
    ("closed", "Closed"),
)
_FOLLOWS = {
    "explained": "The patient reads your reason.",
    "upheld": "The patient reads your reason, and it counts against the organization.",
    "asked": "It has ten working days. The patient reads the question too.",
    "wrote": "The patient reads it.",
    "reopened": "It waits for us again, and the patient reads why.",
}


class Act(Protocol):
    """What was done with a concern."""

    kind: str


@register.filter
def concern_sentence(listed: Listed) -> str:
    """What waits, in one or two sentences."""
    waiting, office, late = (listed.counts[state] for state in ("waiting", "office", "overdue"))
    if not waiting:
        return "Nothing waits."
    text = f"{waiting} concern{' waits' if waiting == 1 else 's wait'}, what is due first comes first."
    parts = [f"{office} {'is' if office == 1 else 'are'} for us"] if office else []
    parts += [f"{late} {'is' if late == 1 else 'are'} overdue"] if late else []
    return f"{text} {', '.join(parts).capitalize()}." if parts else text


@register.filter
def concern_tabs(listed: Listed) -> list[tuple[str, str, int]]:
    """The parts of the queue with their counts."""
    return [(state, words, listed.counts[state]) for state, words in _TABS]


@register.filter
def concern_act(act: Act) -> str:
    """What was done: "the look was right"."""
    words = ACT_WORDS[act.kind]
    return f"{words[:1].lower()}{words[1:]}"


@register.filter
def concern_follows(act: Act) -> str:
    """What that means now, in a sentence."""
    return _FOLLOWS.get(act.kind, "")
