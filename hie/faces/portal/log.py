"""The access log: who looked, and why."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string
from django.urls import get_script_prefix, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from hie.exchange import access_log, accounts, audit_search, emergency, log_choices
from hie.exchange.access_log import ActorKind, AuditQuery, Item, LogEntry, LogFilters, Part, Seen, Verb
from hie.exchange.errors import BadRequest, NotFound
from hie.faces.portal import dates, filters, words
from hie.faces.portal.filters import Asked
from hie.faces.portal.page import page, render
from hie.faces.portal.session import Reader

LINES = 50
_MORE = ("since", "until", "org", "doc", "why", "result")
_AROUND_S = 6 * 3600
_NOBODY = str(UUID(int=0))
_DOCUMENT = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\Z", re.ASCII)
_TOLD_FOR = timedelta(days=14)
"""How long the log says at its top that there was an emergency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One document within a line; `address` is where it can be read, "" where it is withheld or no document of this hub."""

    clock: str
    title: str
    custodian: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line as the page shows it."""

    dom_id: str
    shape: str
    mark: SafeString
    badge: str
    sentence: SafeString
    reasons: Sequence[str]
    clock: str
    at: str
    new: bool
    address: str
    doubt: str
    quotation: str = ""
    relay: str = ""
    looks: Sequence[Look] = ()
    looks_label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A day with its lines, or a part of the log with its own heading."""

    dom_id: str
    name: str
    more: str
    lines: Sequence[Line]


@page("GET")
def show(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """The log, newest first."""
    asked = filters.read(request.GET)
    zone = accounts.zone_of(reader.person_id)
    now = timezone.now()
    wanted = asked.filters(zone, now, said=said(reader))
    choices = log_choices.Choices()
    if asked.more:
        choices = log_choices.choices(reader.caller, reader.person_id, since=wanted.since, until=wanted.until)
        users, documents = choices.users.get(wanted.person, ()), choices.of_kind.get(wanted.kind, ())
        wanted = replace(wanted, users=users, documents=documents)
    found = access_log.log_for_patient(reader.caller, reader.person_id, wanted, before=asked.before, limit=LINES)
    entries = found.entries
    days = list(_days(entries, reader, zone, now))
    applied = filters.applied(asked, dict(choices.documents))
    whole = found.next is None and asked.before is None and not asked.narrowed
    context = {
        "days": days,
        "asked": asked,
        "tabs": filters.tabs(asked),
        "periods": filters.periods(asked),
        "offered": asked.more or bool(asked.get("org") or asked.get("doc")),
        "offer": "" if asked.more else f"{asked.query(more='1')}#narrow",
        "organizations": filters.named(choices.organizations, asked.get("org")),
        "people": filters.named(choices.people, asked.get("person")),
        "kinds": filters.named(choices.kinds, asked.get("kind")),
        "documents": filters.documents(choices.documents, asked.get("doc")),
        "reasons": filters.table(filters.REASONS, asked.get("why")),
        "results": filters.table(filters.RESULTS, asked.get("result")),
        "applied": applied,
        "open_filter": bool(applied) or asked.more,
        "open_more": asked.more or any(asked.get(name) for name in _MORE),
        "looked_until": dates.day(found.looked_until.astimezone(zone).date()) if found.looked_until else "",
        "older": f"{asked.query()}&{urlencode({'before': filters.place(found.next)})}" if found.next else "",
        "newest": asked.query() if asked.before else "",
        "showing": _showing(entries),
        "summary": _summary(asked, entries, reader) if whole and not asked.get("part") else None,
        "nobody": whole and not [entry for entry in entries if entry.part is not Part.OWN] and not asked.get("part"),
        "emergency": _is_told(entries, reader, now),
        "copy": asked.query(),
        "zone": zone.key.rpartition("/")[2].replace("_", " "),
        "clock": dates.clock(now, zone),
        "printed": dates.day(now.astimezone(zone).date()),
        "place": "log",
    }
    return render(request, "log.html", context, reader=reader)


@page("GET")
def show_line(request: HttpRequest, reader: Reader, event_id: str) -> HttpResponseBase:
    """One line with everything known of it; codes one step deeper."""
    entry = find(request, reader, str(event_id))
    helper = reader.acting is not None
    zone = accounts.zone_of(reader.person_id)
    line = line_of(entry, reader, zone)
    detail = [(label, str(entry.detail.get(name, ""))) for name, label in _technical() if entry.detail.get(name)]
    context = {
        "line": line,
        "entry": entry,
        "day": dates.day(entry.at.astimezone(zone).date()),
        "why": words.why(entry, helper=helper),
        "who_words": words.who_plain(entry),
        "items": [_look(item, zone) for item in entry.items],
        "keepers": sorted({item.custodian for item in entry.items if item.custodian}),
        "detail": [*detail, *((gettext("Event"), one) for one in entry.event_ids[:20])],
        "obligations": entry.obligations,
        "proof": "" if helper else f"{reverse('portal:proof', args=[entry.id])}?{line.address.partition('?')[2]}",
        "place": "log",
    }
    return render(request, "line.html", context, reader=reader)


@page("GET")
def help_page(request: HttpRequest, reader: Reader) -> HttpResponse:
    """What the log shows, how it is kept honest, what to do in doubt."""
    return render(request, "help.html", {"place": "help"}, reader=reader)


def said(reader: Reader) -> Callable[[LogEntry], str]:
    """What a line says to this reader: what a search for words looks in."""
    return partial(words.said, helper=reader.acting is not None)


def find(request: HttpRequest, reader: Reader, event_id: str) -> LogEntry:
    """The line of an event. The address says where it stands; without that the event is looked up first."""
    at, span = _moment(request.GET.get("at", "")), _seconds(request.GET.get("span", ""))
    if at is None:
        try:
            events = audit_search.search_events(AuditQuery(ids=(event_id,)), reader.caller).events
        except BadRequest as error:
            raise NotFound("no such line") from error
        if not events:
            raise NotFound("no such line")
        at, span = events[0].at, _AROUND_S
    wanted = LogFilters(since=at - timedelta(seconds=span + 1), until=at + timedelta(microseconds=1))
    found = access_log.log_for_patient(reader.caller, reader.person_id, wanted, limit=200)
    for entry in found.entries:
        if event_id in entry.event_ids:
            return entry
    raise NotFound("no such line")


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None


def _seconds(text: str) -> int:
    return min(int(text), 86_400 * 7) if text.isascii() and text.isdigit() and len(text) < 9 else 0


def _days(entries: Sequence[LogEntry], reader: Reader, zone: ZoneInfo, now: datetime) -> Iterator[Day]:
    """Days of people and helpers; then what the reader did, and machines, below their own headings."""
    today = now.astimezone(zone).date()
    shown = [entry for entry in entries if entry.part is not Part.AUTOMATIC and entry.who.kind is not ActorKind.YOU]
    by_day: dict[object, list[LogEntry]] = {}
    for entry in shown:
        by_day.setdefault(entry.at.astimezone(zone).date(), []).append(entry)
    for n, held in enumerate(by_day.values()):
        name, more = dates.heading(held[0].at.astimezone(zone).date(), today)
        yield Day(dom_id=f"day{n}", name=name, more=more, lines=[line_of(entry, reader, zone) for entry in held])
    apart = (
        (
            "own",
            gettext("You"),
            gettext("what you did here yourself"),
            [e for e in entries if e.who.kind is ActorKind.YOU],
        ),
        (
            "machines",
            gettext("Automatic services"),
            gettext("no person looked"),
            [e for e in entries if e.part is Part.AUTOMATIC and e.who.kind is not ActorKind.YOU],
        ),
    )
    for dom_id, name, more, held in apart:
        if held:
            lines = [line_of(entry, reader, zone, with_day=True) for entry in held]
            yield Day(dom_id=dom_id, name=name, more=more, lines=lines)


def line_of(entry: LogEntry, reader: Reader, zone: ZoneInfo, *, with_day: bool = False) -> Line:
    """A line of the log in the reader's words; `with_day` where it does not stand below its day."""
    helper = reader.acting is not None
    clock = dates.clock(entry.at, zone)
    span = (entry.at - entry.first_at).total_seconds()
    looks = [_look(item, zone) for item in entry.items]
    reasons: list[str] = []
    if dates.clock(entry.first_at, zone) != clock:
        reasons.append(gettext("From {first} to {last}.").format(first=dates.clock(entry.first_at, zone), last=clock))
    if entry.count > 1 and len(looks) < 2:
        times = ngettext("This happened {n} time.", "This happened {n} times.", entry.count)
        reasons.append(times.format(n=dates.digits(entry.count)))
    if entry.seen is Seen.PARTLY:
        reasons.append(gettext("Part of it was held back."))
    reasons += [words.rule(entry, helper=helper), words.held_back(entry.who)]
    shape, address = words.shape(entry), address_of("portal:line", entry.id)
    at = entry.at.astimezone(UTC).isoformat()
    new = reader.new_since is not None and entry.at > reader.new_since and entry.who.kind is not ActorKind.YOU
    return Line(
        dom_id=f"e-{entry.id}",
        shape=shape,
        mark=_mark(shape),
        badge=words.badge(entry, helper=helper),
        sentence=words.sentence(entry, helper=helper),
        reasons=[reason for reason in reasons if reason],
        clock=f"{dates.short_day(entry.at.astimezone(zone).date())}, {clock}" if with_day else clock,
        at=at.replace("+00:00", "Z"),
        new=new,
        address=f"{address}?{urlencode({'at': at, 'span': int(span)})}",
        doubt=address_of("portal:concern-new", entry.id),
        # The rule's own sentence says an emergency's reason.
        quotation="" if entry.rule and entry.rule.rule == "D2" else words.isolate(entry.quotation),
        relay=entry.relay,
        looks=looks if len(looks) > 1 else (),
        looks_label=ngettext("Show the {n} look", "Show the {n} looks", len(looks)).format(n=dates.digits(len(looks))),
    )


def _look(item: Item, zone: ZoneInfo) -> Look:
    title = item.title or item.kind or gettext("A document. Your care team wants to talk with you about it first.")
    address = ""
    if _DOCUMENT.match(item.document_id) and not item.withheld and (item.title or item.kind):
        address = address_of("portal:document", item.document_id)
    return Look(clock=dates.clock(item.at, zone), title=title, custodian=item.custodian, address=address)


def address_of(name: str, id_: str) -> str:
    """The address of a page of one line or document: of a hundred on a page only the first is worked out."""
    before, after = _around(name, get_script_prefix())
    return f"{before}{id_}{after}"


@lru_cache(maxsize=32)
def _around(name: str, prefix: str) -> tuple[str, str]:
    """What stands before and after the id, under the prefix that is in force."""
    before, _, after = reverse(name, args=[_NOBODY]).partition(_NOBODY)
    return before, after


@lru_cache(maxsize=32)
def _mark(shape: str) -> SafeString:
    """The sign of a line."""
    return render_to_string("portal/icon.html", {"name": shape})


def _is_told(entries: Sequence[LogEntry], reader: Reader, now: datetime) -> bool:
    """Whether the reader is told of an emergency lately, on a page of its own."""
    lately = any(
        entry.verb is Verb.DECLARED and entry.seen is Seen.EMERGENCY and entry.at > now - _TOLD_FOR for entry in entries
    )
    if not lately or reader.acting is None:
        return lately
    try:
        return bool(emergency.notices(reader.person_id, caller=reader.caller))
    except NotFound:
        return False


def _showing(entries: Sequence[LogEntry]) -> str:
    return ngettext("Showing {n} entry", "Showing {n} entries", len(entries)).format(n=dates.digits(len(entries)))


def _summary(asked: Asked, entries: Sequence[LogEntry], reader: Reader) -> list[tuple[str, str]]:
    """What the page says first: sentences, each with the id of the line it leads to ("" for none)."""
    helper = reader.acting is not None
    people = [entry for entry in entries if entry.part is Part.PEOPLE]
    places = {entry.who.organization_id for entry in people if entry.seen is not Seen.REFUSED}
    emergencies = [entry for entry in people if entry.seen is Seen.EMERGENCY]
    refusals = [entry for entry in people if entry.seen is Seen.REFUSED]
    if helper:
        template = ngettext(
            "{period}, {n} organization looked at this record.",
            "{period}, {n} organizations looked at this record.",
            len(places),
        )
    else:
        template = ngettext(
            "{period}, {n} organization looked at your record.",
            "{period}, {n} organizations looked at your record.",
            len(places),
        )
    if not places:
        template = (
            gettext("{period}, no one looked at this record.")
            if helper
            else gettext("{period}, no one looked at your record.")
        )
    when = gettext("In this time") if asked.get("since") or asked.get("until") else filters.period_words(asked)
    said = [(template.format(period=when, n=dates.digits(len(places))), "")]
    if emergencies:
        text = ngettext("{n} look was an emergency.", "{n} looks were emergencies.", len(emergencies))
        said.append((text.format(n=dates.digits(len(emergencies))), f"e-{emergencies[0].id}"))
    if refusals:
        text = ngettext("{n} request was refused.", "{n} requests were refused.", len(refusals))
        said.append((text.format(n=dates.digits(len(refusals))), f"e-{refusals[0].id}"))
    return said


def _technical() -> list[tuple[str, str]]:
    return [
        ("transaction", gettext("Kind of request")),
        ("rule", gettext("Rule that decided")),
        ("policy", gettext("Policy that decided, and its version")),
        ("reason", gettext("Reason code")),
        ("user", gettext("User")),
        ("client", gettext("Program")),
        ("request_id", gettext("Number of the request")),
        ("correlation", gettext("Part of")),
    ]
