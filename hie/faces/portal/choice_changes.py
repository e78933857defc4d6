"""What a change of choices does, by who and why, as the page that asks to confirm it shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from django.utils.translation import gettext, ngettext

from consent import explain
from hie.exchange import access_log_lines as log
from hie.exchange import askers
from hie.exchange.choices import Preview
from hie.faces.portal import dates
from hie.faces.portal.words import FOR_THE_PURPOSE, THEIR_WHY

_TITLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A change of who could see what."""

    who: tuple[str, ...]
    why: tuple[str, ...]
    count: str
    titles: tuple[str, ...]
    more: str
    opens: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A place that keeps copies, and of what."""

    who: str
    day: str
    count: str
    titles: tuple[str, ...]
    more: str


def rows(shown: Preview, names: Mapping[str, str], *, helper: bool) -> list[Row]:
    """The changes by who and why: documents that turn alike for the same askers are one row, what closes first."""
    turned: dict[tuple[str, tuple[str, ...], bool], dict[str, str]] = {}
    for change in shown.found.changes:
        why = _reasons(change.block.purposes, helper=helper)
        people = (change.block.person,) if change.block.person else change.block.organizations
        for one in people:
            held = turned.setdefault((one, why, change.opens), {})
            held.update({seen.document_id: seen.title or seen.type_display for seen in change.documents})
    alike: dict[tuple[tuple[str, ...], bool, tuple[str, ...]], list[str]] = {}
    titles: dict[str, str] = {}
    for (one, why, opens), documents in turned.items():
        titles |= documents
        alike.setdefault((why, opens, tuple(sorted(documents))), []).append(_who(one, names))
    rows = [
        Row(
            who=tuple(sorted(set(who), key=str.casefold)),
            why=why,
            count=_count(len(ids)),
            titles=tuple(sorted(titles[one] for one in ids)[:_TITLES]),
            more=_more(len(ids)),
            opens=opens,
        )
        for (why, opens, ids), who in alike.items()
    ]
    return sorted(rows, key=lambda row: (row.opens, row.why, row.who))


def received(shown: Preview, names: Mapping[str, str], zone: ZoneInfo) -> list[Copy]:
    """Who keeps copies of what would close, the newest look first."""
    return [
        Copy(
            who=names.get(one.organization, one.organization),
            day=dates.day(one.last_at.astimezone(zone).date()),
            count=_count(len(one.documents)),
            titles=tuple(seen.title or seen.type_display for seen in one.documents[:_TITLES]),
            more=_more(len(one.documents)),
        )
        for one in shown.received
    ]


def _count(n: int) -> str:
    return ngettext("{n} document", "{n} documents", n).format(n=dates.digits(n))


def _more(n: int) -> str:
    """How many titles are not written out."""
    left = n - _TITLES
    return ngettext("and {n} more", "and {n} more", left).format(n=dates.digits(left)) if left > 0 else ""


def _reasons(purposes: Iterable[str], *, helper: bool) -> tuple[str, ...]:
    """Purposes in words, those that the log has words for first of all; the rest only where there is no such."""
    named = {log.PURPOSE_WORDS[code] for code in purposes if code in log.PURPOSE_WORDS}
    if named:
        return tuple(sorted(gettext(THEIR_WHY.get(words, words) if helper else words) for words in named))
    rest = {
        gettext(explain.PURPOSE_WORDS[code])
        if code in explain.PURPOSE_WORDS
        else gettext(FOR_THE_PURPOSE).format(code=code)
        for code in purposes
    }
    return tuple(sorted(rest))


def _who(one: str, names: Mapping[str, str]) -> str:
    if one.startswith("RelatedPerson/"):
        return gettext("A helper")
    if askers.is_team(one):
        return gettext("A care team named in a choice")
    if "/" in one:
        return gettext("A person named in a choice")
    return names.get(one, one)
