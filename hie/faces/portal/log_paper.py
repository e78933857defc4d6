"""The log on paper: all lines asked for, however many, in the reader's language.

What fits on one paper is one PDF. A longer log comes as several, newest first, in one ZIP that is made while it is sent:
each part says which time it holds and where the log goes on. Memory is that of two parts, whatever the length of the log.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone, translation
from django.utils.translation import gettext

from hie.exchange import accounts, release
from hie.exchange.access_log import LogEntry
from hie.exchange.release import Released
from hie.faces.long_answers import pieces
from hie.faces.portal import copies, dates, filters, log, words
from hie.faces.portal.page import page
from hie.faces.portal.paper import Paper
from hie.faces.portal.session import Reader
from hie.faces.portal.zips import Pipe

PAPER_LINES = 500
"""Lines of one paper: some eighty pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The lines of one paper, and what they rest on; `number` counts from 1, `last` when the log ends with it."""

    number: int
    last: bool
    entries: tuple[LogEntry, ...]
    released: list[Released]


@page("GET")
def as_pdf(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """One PDF, or where the log is too long for one paper a ZIP of several."""
    zone, now = accounts.zone_of(reader.person_id), timezone.now()
    parts = _parts(request, reader)
    first = next(parts)  # what refuses the whole is an error page, not a broken file
    if not first.last:
        language = translation.get_language() or "en"
        return copies.download(_zip(first, parts, request, reader, zone, now, language), "application/zip", "zip")
    content = _paper(first, request, reader, zone, now)
    answer = copies.download(_sent(content, first.released), "application/pdf", "pdf")
    answer["Content-Length"] = str(len(content))
    return answer


def _parts(request: HttpRequest, reader: Reader) -> Iterator[Part]:
    """The log in papers. Each is held until it is known whether another follows."""
    held: list[LogEntry] = []
    released: list[Released] = []
    number = 1
    for one in copies.pages(request, reader, lines=PAPER_LINES):
        for entry in one.found.entries:
            if len(held) == PAPER_LINES:
                yield Part(number=number, last=False, entries=tuple(held), released=released)
                held, released, number = [], [], number + 1
            released += [basis for basis in one.released if not any(basis is known for known in released)]
            held.append(entry)
    yield Part(number=number, last=True, entries=tuple(held), released=released)


def _zip(
    part: Part | None,
    parts: Iterator[Part],
    request: HttpRequest,
    reader: Reader,
    zone: ZoneInfo,
    now: datetime,
    language: str,
) -> Iterator[bytes]:
    pipe, stamp = Pipe(), now.astimezone(zone).timetuple()[:6]
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED, allowZip64=True) as whole:
        while part is not None:
            with translation.override(language):  # this runs when the request is over, and its language with it
                content = _paper(part, request, reader, zone, now)
            newest, oldest = (part.entries[n].at.astimezone(zone).date() for n in (0, -1))
            info = zipfile.ZipInfo(f"{part.number:03d}-{newest:%Y-%m-%d}-{oldest:%Y-%m-%d}.pdf", stamp)
            info.external_attr = 0o600 << 16
            with whole.open(info, "w") as file:
                for piece in _sent(content, part.released):
                    file.write(piece)
                    yield pipe.taken()
            part = next(parts, None)
    yield pipe.taken()


def _sent(content: bytes, released: list[Released]) -> Iterator[bytes]:
    """The bytes of a paper. Making it took a while, so it is asked again whether it may be sent before it is.

    Raises:
        ConnectionAbortedError: what it was decided from has changed. A file that is cut is taken for whole by nobody.
    """
    if not all(one.basis.stands() for one in released):
        release.broke_off(released, sent=0, of=len(content))
        raise ConnectionAbortedError("what may be shown of the log has changed")
    if not (yield from pieces(content, released)):
        raise ConnectionAbortedError("what may be shown of the log has changed")


def _paper(part: Part, request: HttpRequest, reader: Reader, zone: ZoneInfo, now: datetime) -> bytes:
    helper = reader.acting is not None
    name = reader.acting.name if reader.acting else reader.account.name
    title = gettext("Who looked at the record of {name}").format(name=words.isolate(name))
    foot = name if part.last and part.number == 1 else f"{name} · {_part_words(part)}"
    paper = Paper(title, of=_scope(part, request, zone, now), foot=foot)
    day = None
    for entry in part.entries:
        local = entry.at.astimezone(zone).date()
        if local != day:
            day = local
            paper.heading(" ".join(dates.heading(local, local)[1:]))
        line = log.line_of(entry, reader, zone)
        mark = " · ".join(text for text in (line.clock, words.badge(entry, helper=helper)) if text)
        quoted = gettext("The reason given: “{text}”").format(text=line.quotation) if line.quotation else ""
        relayed = gettext("Passed on by {name}.").format(name=words.isolate(line.relay)) if line.relay else ""
        looks = "\n".join(f"– {look.clock} {words.isolate(look.title)}" for look in line.looks)
        more = " ".join(text for text in (*line.reasons, quoted, relayed) if text)
        paper.entry(mark, words.plain_text(entry, helper=helper), f"{more}\n{looks}" if looks else more)
    if not part.entries:
        paper.paragraph(gettext("Nothing stands in the log for this time."))
    if not part.last:
        goes_on = gettext("The log goes on in part {n}.")
        paper.paragraph(goes_on.format(n=dates.digits(part.number + 1)))
    elif part.number > 1:
        paper.paragraph(gettext("This is the last part."))
    return paper.whole()


def _part_words(part: Part) -> str:
    return gettext("Part {n}").format(n=dates.digits(part.number))


def _scope(part: Part, request: HttpRequest, zone: ZoneInfo, now: datetime) -> str:
    """What the paper holds: the part and its days, the time and the limits that were asked for, the day it was made."""
    asked = filters.read(request.GET)
    said = []
    if not part.last or part.number > 1:
        newest, oldest = (dates.day(part.entries[n].at.astimezone(zone).date()) for n in (0, -1))
        back = gettext("From {newest} back to {oldest}.").format(newest=newest, oldest=oldest)
        said.append(f"{_part_words(part)}. {back}")
    limits = ", ".join(one.label for one in filters.applied(asked, {}))
    printed = gettext("Printed on {day}.").format(day=dates.day(now.astimezone(zone).date()))
    return " ".join(text for text in (*said, f"{filters.period_words(asked)}.", limits, printed) if text)
