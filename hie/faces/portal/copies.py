"""Copies of the log to keep: a table, a paper, and the events for another system; whole, in the reader's language.

Each is read page by page and looked at again on the way like any long answer; memory is that of one page. A paper cannot be
written piece by piece, so it has an end, and says how to get the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone, translation
from django.utils.translation import gettext, gettext_noop

from hie.exchange import access_log, access_log_forms, accounts, release
from hie.exchange.access_log import LogEntry
from hie.exchange.release import Released
from hie.faces.long_answers import pieces
from hie.faces.portal import dates, filters, log, words
from hie.faces.portal.page import page
from hie.faces.portal.paper import Paper
from hie.faces.portal.session import Reader

_LINES = 500
PAPER_LINES = 300
"""Lines of one paper: some fifty pages."""
COLUMNS = (
    gettext_noop("time"), gettext_noop("first time"), gettext_noop("who"), gettext_noop("role"),
    gettext_noop("organization"), gettext_noop("passed on by"), gettext_noop("on behalf of"),
    gettext_noop("what happened"), gettext_noop("why"), gettext_noop("documents"), gettext_noop("result"),
    gettext_noop("rule"), gettext_noop("obligations"), gettext_noop("events"),
)  # fmt: skip


@page("GET")
def as_csv(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """The lines asked for, as a table: sentences in the reader's language, times in UTC."""
    language, helper = translation.get_language() or "en", reader.acting is not None
    pages = _pages(request, reader)
    first = next(pages)

    def rows() -> Iterator[bytes]:
        start = "\ufeff"
        for one in _all(first, pages):
            with translation.override(language):  # this runs when the request is over, and its language with it
                head = [tuple(gettext(name) for name in COLUMNS)] if start else []
                text = start + access_log_forms.csv_text([*head, *(_row(entry, helper) for entry in one.found.entries)])
            yield from _sent(text.encode(), one)
            start = ""

    return _download(rows(), "text/csv; charset=utf-8", "csv")


def _row(entry: LogEntry, helper: bool) -> tuple[str, ...]:
    role = gettext(entry.who.role_words) if entry.who.role_words else ""
    return (
        access_log_forms.utc(entry.at), access_log_forms.utc(entry.first_at), entry.who.name, role, entry.who.organization, entry.relay,
        entry.on_behalf_of, words.without_isolates(words.plain_text(entry, helper=helper)), words.why(entry, helper=helper),
        "; ".join(sorted({item.title or item.kind for item in entry.items if item.title or item.kind})),
        gettext(filters.RESULTS[entry.seen]), words.without_isolates(words.rule(entry, helper=helper)),
        " ".join(entry.obligations), " ".join(entry.event_ids),
    )  # fmt: skip


@page("GET")
def as_fhir(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """The events behind the lines asked for, as a FHIR Bundle of AuditEvents."""
    base = f"{getattr(settings, 'BASE_URL', '')}/fhir"
    pages = _pages(request, reader)
    first = next(pages)

    def parts() -> Iterator[bytes]:
        # Page by page, each as it may be shown when it leaves.
        begin, before = '{"resourceType": "Bundle", "type": "collection", "entry": [', False
        for one in _all(first, pages):
            bundle = access_log_forms.as_fhir(one.found, base_url=base, hub_name=getattr(settings, "HUB_NAME", ""))
            more = [json.dumps(entry) for entry in bundle["entry"]]
            yield from _sent((begin + (", " if before and more else "") + ", ".join(more)).encode(), one)
            begin, before = "", before or bool(more)
        yield b"]}"

    return _download(parts(), "application/fhir+json", "json")


@page("GET")
def as_pdf(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """The lines asked for, on paper: the newest `PAPER_LINES`, with a word on the rest where there is one."""
    zone, now = accounts.zone_of(reader.person_id), timezone.now()
    one = next(_pages(request, reader, lines=PAPER_LINES))
    content = _paper(request, reader, one.found, zone, now)
    answer = _download(_sent(content, one), "application/pdf", "pdf")
    answer["Content-Length"] = str(len(content))
    return answer


def _paper(request: HttpRequest, reader: Reader, found: access_log.LogPage, zone: ZoneInfo, now: datetime) -> bytes:
    helper = reader.acting is not None
    name = reader.acting.name if reader.acting else reader.account.name
    asked = filters.read(request.GET)
    printed = gettext("Printed on {day}.").format(day=dates.day(now.astimezone(zone).date()))
    limits = ", ".join(one.label for one in filters.applied(asked, {}))
    title = gettext("Who looked at the record of {name}").format(name=words.isolate(name))
    paper = Paper(
        title, of=" ".join(part for part in (f"{filters.period_words(asked)}.", limits, printed) if part), foot=name
    )
    day = None
    for entry in found.entries:
        local = entry.at.astimezone(zone).date()
        if local != day:
            day = local
            paper.heading(" ".join(dates.heading(local, local)[1:]))
        line = log.line_of(entry, reader, zone)
        mark = " · ".join(part for part in (line.clock, words.badge(entry, helper=helper)) if part)
        quoted = gettext("The reason given: “{text}”").format(text=line.quotation) if line.quotation else ""
        relayed = gettext("Passed on by {name}.").format(name=words.isolate(line.relay)) if line.relay else ""
        looks = "\n".join(f"– {look.clock} {words.isolate(look.title)}" for look in line.looks)
        more = " ".join(part for part in (*line.reasons, quoted, relayed) if part)
        paper.entry(mark, words.plain_text(entry, helper=helper), f"{more}\n{looks}" if looks else more)
    if not found.entries:
        paper.paragraph(gettext("Nothing stands in the log for this time."))
    if found.next is not None:
        last = dates.day(found.next.at.astimezone(zone).date())
        paper.paragraph(
            gettext("This paper ends here, and the log goes on. For the rest, choose “Until this day”: {day}.").format(
                day=last
            )
        )
    return paper.whole()


@dataclass(frozen=True, slots=True)
class _Page:
    """A page of a download, and what its release rests on."""

    found: access_log.LogPage
    released: list[Released]


def _download(parts: Iterator[bytes], kind: str, ending: str) -> StreamingHttpResponse:
    response = StreamingHttpResponse(parts, content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="access-log-{timezone.now():%Y-%m-%d}.{ending}"'
    return response


def _sent(content: bytes, page_: _Page) -> Iterator[bytes]:
    """The bytes of a page, looked at again on the way like any long answer.

    Raises:
        ConnectionAbortedError: what it was decided from has changed. No length tells the client that it is not whole.
    """
    if not (yield from pieces(content, page_.released)):
        raise ConnectionAbortedError("what may be shown of the log has changed")


def _all(first: _Page, rest: Iterator[_Page]) -> Iterator[_Page]:
    yield first
    yield from rest


def _pages(request: HttpRequest, reader: Reader, *, lines: int = _LINES) -> Iterator[_Page]:
    asked = filters.read(request.GET)
    zone = accounts.zone_of(reader.person_id)
    language = translation.get_language() or "en"
    wanted = asked.filters(zone, timezone.now(), said=log.said(reader), everything=True)
    before = None
    while True:
        with release.noted() as released, translation.override(language):
            found = access_log.log_for_patient(reader.caller, reader.person_id, wanted, before=before, limit=lines)
        yield _Page(found, released)
        if found.next is None:
            return
        before = found.next
