"""Copies of the log to keep: a table, and the events for another system; whole, in the reader's language.

Each is read page by page and looked at again on the way like any long answer; memory is that of one page. Paper:
`hie.faces.portal.log_paper`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone, translation
from django.utils.translation import gettext, gettext_noop

from hie.exchange import access_log, access_log_forms, accounts, release
from hie.exchange.access_log import LogEntry
from hie.exchange.release import Released
from hie.faces.long_answers import pieces
from hie.faces.portal import filters, log, words
from hie.faces.portal.page import page
from hie.faces.portal.session import Reader

_LINES = 500
COLUMNS = (
    gettext_noop("time"), gettext_noop("first time"), gettext_noop("who"), gettext_noop("role"),
    gettext_noop("organization"), gettext_noop("passed on by"), gettext_noop("on behalf of"),
    gettext_noop("what happened"), gettext_noop("why"), gettext_noop("documents"), gettext_noop("result"),
    gettext_noop("rule"), gettext_noop("obligations"), gettext_noop("events"),
    gettext_noop("name held back"),
)  # fmt: skip


@page("GET")
def as_csv(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """The lines asked for, as a table: sentences in the reader's language, times in UTC."""
    language, helper = translation.get_language() or "en", reader.acting is not None
    rest = pages(request, reader)
    first = next(rest)

    def rows() -> Iterator[bytes]:
        start = "\ufeff"
        for one in _all(first, rest):
            with translation.override(language):  # this runs when the request is over, and its language with it
                head = [tuple(gettext(name) for name in COLUMNS)] if start else []
                text = start + access_log_forms.csv_text([*head, *(_row(entry, helper) for entry in one.found.entries)])
            yield from sent(text.encode(), one)
            start = ""

    return download(rows(), "text/csv; charset=utf-8", "csv")


def _row(entry: LogEntry, helper: bool) -> tuple[str, ...]:
    role = gettext(entry.who.role_words) if entry.who.role_words else ""
    return (
        access_log_forms.utc(entry.at), access_log_forms.utc(entry.first_at), entry.who.name, role, entry.who.organization, entry.relay,
        entry.on_behalf_of, words.without_isolates(words.plain_text(entry, helper=helper)), words.why(entry, helper=helper),
        "; ".join(sorted({item.title or item.kind for item in entry.items if item.title or item.kind})),
        gettext(filters.RESULTS[entry.seen]), words.without_isolates(words.rule(entry, helper=helper)),
        " ".join(entry.obligations), " ".join(entry.event_ids),
        words.without_isolates(words.held_back(entry.who)),
    )  # fmt: skip


@page("GET")
def as_fhir(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """The events behind the lines asked for, as a FHIR Bundle of AuditEvents."""
    base = f"{getattr(settings, 'BASE_URL', '')}/fhir"
    rest = pages(request, reader)
    first = next(rest)

    def parts() -> Iterator[bytes]:
        # Page by page, each as it may be shown when it leaves.
        begin, before = '{"resourceType": "Bundle", "type": "collection", "entry": [', False
        for one in _all(first, rest):
            bundle = access_log_forms.as_fhir(one.found, base_url=base, hub_name=getattr(settings, "HUB_NAME", ""))
            more = [json.dumps(entry) for entry in bundle["entry"]]
            yield from sent((begin + (", " if before and more else "") + ", ".join(more)).encode(), one)
            begin, before = "", before or bool(more)
        yield b"]}"

    return download(parts(), "application/fhir+json", "json")


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a download, and what its release rests on."""

    found: access_log.LogPage
    released: list[Released]


def download(parts: Iterator[bytes], kind: str, ending: str) -> StreamingHttpResponse:
    """A file that is made while it is sent."""
    response = StreamingHttpResponse(parts, content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="access-log-{timezone.now():%Y-%m-%d}.{ending}"'
    return response


def sent(content: bytes, page_: Page) -> Iterator[bytes]:
    """The bytes of a page, looked at again on the way like any long answer.

    Raises:
        ConnectionAbortedError: what it was decided from has changed. No length tells the client that it is not whole.
    """
    if not (yield from pieces(content, page_.released)):
        raise ConnectionAbortedError("what may be shown of the log has changed")


def _all(first: Page, rest: Iterator[Page]) -> Iterator[Page]:
    yield first
    yield from rest


def pages(request: HttpRequest, reader: Reader, *, lines: int = _LINES) -> Iterator[Page]:
    """The whole of what is asked for, newest first; each page as it may be shown when it is read."""
    asked = filters.read(request.GET)
    zone = accounts.zone_of(reader.person_id)
    language = translation.get_language() or "en"
    wanted = asked.filters(zone, timezone.now(), said=log.said(reader), everything=True)
    before = None
    while True:
        with release.noted() as released, translation.override(language):
            found = access_log.log_for_patient(reader.caller, reader.person_id, wanted, before=before, limit=lines)
        yield Page(found, released)
        if found.next is None:
            return
        before = found.next
