"""Words of the review pages: values of the exchange as sentences and links. No rule, no query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from hie.exchange.identity_pages import Record
from hie.exchange.review_figures import AGE_WORDS, FEWEST, Ages, Band, Day, Figures
from hie.exchange.review_list import KIND_WORDS, Act, Listed, Waiting
from hie.exchange.review_records import Column
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
    "parting": {"same": "nothing is moved", "different": "the records are moved out"},
    "duplicate-resolved": {},
    "possible-match": {},
}
_ACTS = {
    "opened": "opened this case",
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
    "opened": "Nothing has moved yet.",
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
    words = ago(since, now)
    return "less than a minute" if words == "just now" else words


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
    text = f"{_cases(waiting)}, the oldest for {waited(listed.oldest, now) if listed.oldest else 'less than a minute'}."
    parts = [f"{mine} {'is' if mine == 1 else 'are'} yours"] if mine else []
    parts += [f"{second} need{'s' if second == 1 else ''} a second steward"] if second else []
    return f"{text} {', '.join(parts).capitalize()}." if parts else text


def _cases(number: int) -> str:
    if not number:
        return "No case waits"
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
def text(value: object) -> str:
    """A value as a form sends it."""
    return str(value)


@register.filter
def column_name(column: Column) -> str:
    """Letter and organization."""
    return column.name


@register.filter
def hangs(column: Column | Record) -> str:
    """What hangs on a record: "9 documents, the newest of 2 Nov 2026; 1 choice"."""
    documents = f"{column.documents} document{'' if column.documents == 1 else 's'}"
    if column.newest is not None:
        documents += f", the newest of {column.newest:%-d %b %Y}"
    others = ((column.choices, "choice"), (column.folders, "folder"), (column.helpers, "helper"))
    found = [f"{number} {name}{'' if number == 1 else 's'}" for number, name in others if number]
    return "; ".join([documents, *found])


@register.filter
def permitted(navigation: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """The groups of the side bar with the places this reader may go to; groups without any are left out."""
    groups = [(str(group["title"]), [one for one in group["items"] if one["has_permission"]]) for group in navigation]
    return [(title, items) for title, items in groups if items]


@register.simple_tag(takes_context=True)
def desk_navigation(context: template.Context) -> SafeString:
    """The places of the side bar this reader may go to; a page names them twice and they are written once."""
    request = context["request"]
    held: SafeString | None = getattr(request, "desk_navigation", None)
    if held is None:
        parts = []
        for title, items in permitted(context.get("sidebar_navigation") or ()):
            links = format_html_join(
                "\n",
                '<li><a href="{}"{}>{}</a></li>',
                ((one["link"], _HERE if one["active"] else "", one["title"]) for one in items),
            )
            parts.append(format_html("<div><h2>{}</h2><ul>\n{}\n</ul></div>", title, links))
        held = request.desk_navigation = mark_safe("".join(parts))  # noqa: S308  every part was escaped
    return held


_HERE = mark_safe(' aria-current="page"')


@register.filter
def lower_first(words: str) -> str:
    """The words as they stand inside a sentence or after a colon."""
    return (words[:1].lower() + words[1:]).replace(":", ",")


# --- figures ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Lines over days, in a box of 100 by 50: (class, path) each; `top` is what the upper edge stands for."""

    top: int
    lines: tuple[tuple[str, str], ...]
    first: date
    last: date


def _plot(days: Sequence[Day], **series: Sequence[int]) -> Plot:
    top = max(1, *(max(values) for values in series.values()))
    step = 100 / max(1, len(days) - 1)
    lines = tuple(
        (style, "M" + "L".join(f"{n * step:.2f} {49 - 48 * value / top:.2f}" for n, value in enumerate(values)))
        for style, values in series.items()
    )
    return Plot(top=top, lines=lines, first=days[0].day, last=days[-1].day)


@register.filter
def case_plot(figures: Figures) -> Plot:
    """Cases that came and were decided."""
    return _plot(figures.days, l1=[one.decided for one in figures.days], l2=[one.came for one in figures.days])


@register.filter
def link_plot(figures: Figures) -> Plot:
    """Links that the machine made."""
    return _plot(figures.days, l1=[one.linked for one in figures.days])


@register.filter
def figures_sentence(figures: Figures) -> str:
    """What waits, and what was done."""
    waiting = sum(one.total for one in figures.ages)
    done = sum(one.decided for one in figures.days)
    return f"{_cases(waiting)}. {_number(done)} {_was(done)} decided in the last 14 days."


@register.filter
def ages_sentence(figures: Figures) -> str:
    """How many wait for long, for a second steward, and put off."""
    old = sum(one.counts[-1] for one in figures.ages)
    off = figures.put_off
    text = f"{_number(old)} for more than 30 days, {_number(figures.second).lower()} for a second steward."
    return f"{text} {off:,} more {'is' if off == 1 else 'are'} put off." if off else text


def _number(count: int) -> str:
    return f"{count:,}" if count else "None"


def _was(count: int) -> str:
    return "was" if count < 2 else "were"


@register.filter
def age_words(figures: Figures) -> Sequence[str]:
    """The heads of the columns."""
    return AGE_WORDS


@register.filter
def by_age(row: Ages) -> list[tuple[str, int]]:
    """The counts of a kind with their heads."""
    return list(zip(AGE_WORDS, row.counts, strict=True))


@register.filter
def throughput_sentence(figures: Figures) -> str:
    """Whether the queue grows, and how long a case takes."""
    came, done = sum(one.came for one in figures.days), sum(one.decided for one in figures.days)
    text = f"{_number(came)} came and {_number(done).lower()} {_was(done)} decided in 14 days."
    return text if figures.median is None else f"{text} Half of those took less than {_long(figures.median)}."


def _long(length: timedelta) -> str:
    hours = length.total_seconds() / 3600
    if hours < 1:
        return "an hour"
    if hours < 48:
        return f"{-(-hours // 1):.0f} hours"
    return f"{-(-hours // 24):.0f} days"


@register.filter
def links_sentence(figures: Figures) -> str:
    """How many, in the period."""
    number = sum(one.linked for one in figures.days)
    records = f"{number:,} record{'' if number == 1 else 's'}" if number else "no record"
    return f"The machine linked {records} to a known person in 14 days."


@register.filter
def link_bars(figures: Figures) -> list[tuple[str, str, str]]:
    """Name, width and number of each source's links."""
    top = max([1, *(one.linked for one in figures.sources)])
    return [(one.name, f"{100 * one.linked / top:.2f}", f"{one.linked:,}") for one in figures.sources]


@register.filter
def duplicates_sentence(figures: Figures) -> str:
    """What counts as a duplicate, and how many there are."""
    number = sum(one.surplus for one in figures.sources)
    if not number:
        return "No record is one too many: no organization has two records of one person."
    return f"{number:,} record{' is' if number == 1 else 's are'} one too many: their organization has another record of the same person."


@register.filter
def duplicate_bars(figures: Figures) -> list[tuple[str, str, str]]:
    """Name, width and number of each source's duplicates."""
    return [
        (one.name, f"{100 * one.surplus / max(1, one.records):.2f}", f"{one.surplus:,} of {one.records:,}")
        for one in figures.sources
    ]


def _percent(share: float) -> str:
    if 0 < share < 0.0001:
        return "below 0.01 %"
    return f"{100 * share:.2g} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"


@register.filter
def model_false(figures: Figures) -> str:
    """The model's own estimate."""
    share = figures.false_by_model.share
    if share is None:
        return "Not known: there is no automatic link in force."
    return f"{_percent(share)} of {figures.false_by_model.whole:,.0f} automatic links in force."


@register.filter
def sample_false(figures: Figures) -> str:
    """What stewards found in the sample, with its interval."""
    found = figures.false_by_sample
    waits = f" {figures.sample_waits} more wait to be looked at." if figures.sample_waits else ""
    if found.share is None or found.low is None or found.high is None:
        return f"Not known: no drawn link has been decided yet.{waits}"
    return (
        f"{found.part:.0f} of {found.whole:.0f} were wrong, {_percent(found.share)}. The true share lies between "
        f"{_percent(found.low)} and {_percent(found.high)}, 95 times in 100.{waits}"
    )


@register.filter
def missed_words(figures: Figures) -> str:
    """Links that are expected among the cases that wait."""
    if figures.missed.share is None:
        return "Not known: there is no link yet, and no case."
    return f"About {figures.missed.part:.1f} links are expected among the cases that wait, {_percent(figures.missed.share)} of all links."


@register.filter
def band_words(band: Band) -> str:
    """A band of chances: "20 to 50 in 100"."""
    return f"{100 * band.low:.0f} to {100 * band.high:.0f} in 100"


@register.filter
def drift_rows(figures: Figures) -> list[tuple[str, int, int]]:
    """Words and counts of each bucket."""
    return list(zip(figures.drift.words, figures.drift.lately, figures.drift.before, strict=True))


@register.filter
def drift_sentence(figures: Figures) -> str:
    """What the stability index says."""
    index = figures.drift.index
    if index is None:
        return f"Too few links to tell: {FEWEST} are needed in each of the two periods."
    found = (
        "as before"
        if index < 0.1
        else "somewhat otherwise than before"
        if index < 0.25
        else "quite otherwise than before: look at what sources send, and train a model"
    )
    return f"Scores of automatic links spread {found} (population stability index {index:.2f}; 0.10 is some change, 0.25 much)."
