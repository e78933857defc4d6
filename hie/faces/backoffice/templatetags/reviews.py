"""Words of the review pages: values of the exchange as sentences and links. No rule, no query."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django import template

from hie.exchange.review_cases import Column
from hie.exchange.review_list import KIND_WORDS, Act, Listed, Waiting
from hie.faces.backoffice.home import ago

register = template.Library()

_STATES = (("waiting", "All"), ("mine", "Yours"), ("second", "For a second steward"), ("deferred", "Put off"))
_OWNERS = (("free", "Nobody"), ("me", "You"), ("others", "Another steward"))
_AGES = (("1", "More than a day"), ("7", "More than 7 days"), ("30", "More than 30 days"))
_VERDICTS = {
    "same": "one person",
    "link": "record A to the other person",
    "different": "not the same person",
    "defer": "not now",
}
_VERDICTS_OF = {
    "overlay": {"same": "the new version is taken", "different": "the former version is kept"},
    "doubtful-link": {"same": "the link is kept", "different": "the record is taken out"},
    "duplicate-resolved": {},
    "possible-match": {},
}
_ACTS = {
    "decided": "{}",
    "confirmed": "confirmed, {}",
    "proposed": "proposed, {}",
    "rejected": "rejected, {}",
    "withdrawn": "took the proposal back, {}",
    "deferred": "put off",
    "resumed": "brought back",
    "undone": "undone, {}",
}
_FOLLOWS = {
    "proposed": "Another steward must agree first. Nothing has moved yet.",
    "rejected": "The case waits as before. Nothing has moved.",
    "withdrawn": "The case waits as before. Nothing has moved.",
    "deferred": "It comes back on the day you chose.",
    "undone": "Everything is where it was, and the case waits again.",
    "resumed": "It waits again.",
}


@register.filter
def act_words(act: Act) -> str:
    """What was done: "one person", "proposed, not the same person"."""
    verdict = _VERDICTS_OF[act.item_kind].get(act.verdict) or _VERDICTS.get(act.verdict, act.verdict)
    return _ACTS[act.kind].format(verdict)


@register.filter
def act_follows(act: Act) -> str:
    """What that means now, in a sentence."""
    return _FOLLOWS.get(act.kind, "")


@register.filter
def kind_of(act: Act) -> str:
    """The kind of the act's case."""
    return KIND_WORDS[act.item_kind]


@register.filter
def waited(since: datetime, now: datetime) -> str:
    """How long something waits: "5 days"."""
    return ago(since, now)


@register.filter
def in_hundred(chance: float) -> str:
    """A chance in words people use: "92 in 100"."""
    if chance < 0.005:
        return "below 1 in 100"
    return f"{min(99, max(1, round(chance * 100)))} in 100" if chance < 1 else "certain"


@register.filter
def live(case: Waiting, now: datetime) -> bool:
    """Whether somebody works on the case."""
    return bool(case.claimed_by) and case.claimed_until is not None and case.claimed_until > now


@register.filter
def name(listed: Listed, actor: str) -> str:
    """The name of a steward."""
    return listed.names.get(actor, actor)


@register.filter
def queue_sentence(listed: Listed, now: datetime) -> str:
    """What waits, in one or two sentences."""
    waiting, mine, second = (listed.counts[state] for state in ("waiting", "mine", "second"))
    if not waiting:
        return "Nothing waits."
    text = f"{_cases(waiting)}, the oldest for {ago(listed.oldest, now)}."
    parts = [f"{mine} {'is' if mine == 1 else 'are'} yours"] if mine else []
    parts += [f"{second} need{'s' if second == 1 else ''} a second steward"] if second else []
    return f"{text} {', '.join(parts).capitalize()}." if parts else text


def _cases(number: int) -> str:
    return f"{number:,} case{' waits' if number == 1 else 's wait'}"


@register.filter
def showing(listed: Listed) -> str:
    """How many of how many."""
    return f"Showing {len(listed.cases)} of {listed.total}."


@register.filter
def tabs(listed: Listed) -> list[tuple[str, str, int]]:
    """The states with their counts."""
    return [(state, words, listed.counts[state]) for state, words in _STATES]


@register.filter
def kinds(listed: Listed) -> list[tuple[str, str, int]]:
    """The kinds with how many of each wait."""
    return [(kind, words, listed.kinds[kind]) for kind, words in KIND_WORDS.items()]


@register.filter
def owners(listed: Listed) -> Sequence[tuple[str, str]]:
    """Who may work on a case."""
    return _OWNERS


@register.filter
def ages(listed: Listed) -> Sequence[tuple[str, str]]:
    """How long a case may wait."""
    return _AGES


@register.filter
def applied(listed: Listed) -> list[tuple[str, str]]:
    """Each filter that is on, with the query of the list without it."""
    chosen = _chosen(listed)
    words = dict(KIND_WORDS.items()) | dict(_OWNERS) | dict(_AGES)
    return [
        (words[value], urlencode({key: other for key, other in chosen.items() if key != field}))
        for field, value in chosen.items()
        if field != "state"
    ]


@register.filter
def query(listed: Listed) -> str:
    """The list's own query, without the page: what a case goes back to."""
    chosen = _chosen(listed)
    return "" if chosen == {"state": "waiting"} else urlencode(chosen)


@register.filter
def page(listed: Listed, step: int) -> str:
    """The query of another page of the same list."""
    return urlencode({**_chosen(listed), "page": str(listed.narrowed.page + step)})


def _chosen(listed: Listed) -> dict[str, str]:
    narrowed = listed.narrowed
    named = {"state": narrowed.state, "kind": narrowed.kind, "owner": narrowed.owner, "age": narrowed.age}
    return {key: value for key, value in named.items() if value}


@register.filter
def at(items: Sequence[Any], place: int) -> Any:
    """The item at a place."""
    return items[place]


@register.filter
def column_name(column: Column) -> str:
    """Letter and organization."""
    return column.name


@register.filter
def hangs(column: Column) -> str:
    """What hangs on a record: "9 documents, the newest of 2 Nov 2026; 1 choice"."""
    documents = f"{column.documents} document{'' if column.documents == 1 else 's'}"
    if column.newest is not None:
        documents += f", the newest of {column.newest:%-d %b %Y}"
    others = ((column.choices, "choice"), (column.folders, "folder"), (column.helpers, "helper"))
    found = [f"{number} {name}{'' if number == 1 else 's'}" for number, name in others if number]
    return "; ".join([documents, *found])


@register.filter
def lower_first(words: str) -> str:
    """The words as they stand inside a sentence."""
    return words[:1].lower() + words[1:]
