"""The accounting of disclosures: who received what of the record, as the law asks for it, and all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop, ngettext

from hie.exchange import access_log_forms, accounting, accounts
from hie.exchange.access_log_lines import purpose_words
from hie.exchange.accounting import Exempt
from hie.faces.portal import dates, words
from hie.faces.portal.page import page, render
from hie.faces.portal.paper import Paper
from hie.faces.portal.session import Reader

COLUMNS = (
    gettext_noop("recipient"), gettext_noop("what was given"), gettext_noop("why"), gettext_noop("first day"),
    gettext_noop("last day"), gettext_noop("how often"), gettext_noop("kept by"), gettext_noop("listed because"),
)  # fmt: skip
BECAUSE = {
    None: gettext_noop("The law asks for it."),
    Exempt.CARE: gettext_noop("It was for care, payment or running a place."),
    Exempt.OWN: gettext_noop("You asked for it."),
    Exempt.AUTHORIZED: gettext_noop("You agreed to it."),
}
REQUIRED = gettext_noop("A law made the place report it.")
_DEMOGRAPHICS = gettext_noop("Name and contact data")
_WITHHELD = gettext_noop("A document that your care team wants to talk about first")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A row in words."""

    recipient: str
    kinds: Sequence[str]
    why: str
    first: str
    last: str
    times: str
    custodians: Sequence[str]
    because: str
    first_on: str
    last_on: str
    count: int


@page("GET")
def show(request: HttpRequest, reader: Reader) -> HttpResponse:
    """Who received what in six years: what the law asks for, or with `all=1` everything."""
    everything = request.GET.get("all") == "1"
    found, rows = _told(reader, everything)
    zone = accounts.zone_of(reader.person_id)
    context = {
        "rows": rows,
        "everything": everything,
        "since": dates.day(found.since.astimezone(zone).date()),
        "printed": dates.day(timezone.now().astimezone(zone).date()),
        "copy": "?all=1" if everything else "",
        "place": "log",
    }
    return render(request, "accounting.html", context, reader=reader)


@page("GET")
def as_csv(request: HttpRequest, reader: Reader) -> HttpResponse:
    """The same as a table."""
    _, rows = _told(reader, request.GET.get("all") == "1")
    table: list[Sequence[str]] = [[gettext(name) for name in COLUMNS]]
    for row in rows:
        cells = (row.recipient, "; ".join(row.kinds), row.why, row.first_on, row.last_on, str(row.count), "; ".join(row.custodians), row.because)  # fmt: skip
        table.append([words.without_isolates(cell) for cell in cells])
    return _download(("\ufeff" + access_log_forms.csv_text(table)).encode(), "text/csv; charset=utf-8", "csv")


@page("GET")
def as_pdf(request: HttpRequest, reader: Reader) -> HttpResponse:
    """The same on paper."""
    found, rows = _told(reader, request.GET.get("all") == "1")
    zone = accounts.zone_of(reader.person_id)
    name = reader.acting.name if reader.acting else reader.account.name
    since = gettext("Since {day}.").format(day=dates.day(found.since.astimezone(zone).date()))
    printed = gettext("Printed on {day}.").format(day=dates.day(timezone.now().astimezone(zone).date()))
    title = gettext("Who received data of {name}").format(name=words.isolate(name))
    paper = Paper(title, of=f"{since} {printed}", foot=name)
    for row in rows:
        paper.entry(
            f"{row.first} – {row.last}" if row.first != row.last else row.first,
            words.isolate(row.recipient),
            "\n".join(
                part for part in (", ".join(map(words.isolate, row.kinds)), row.why, row.times, row.because) if part
            ),
        )
    if not rows:
        paper.paragraph(gettext("There is nothing that has to be listed."))
    return _download(paper.whole(), "application/pdf", "pdf")


def _told(reader: Reader, everything: bool) -> tuple[accounting.Accounting, list[Told]]:
    found = accounting.accounting(reader.caller, reader.person_id, everything=everything)
    zone = accounts.zone_of(reader.person_id)
    return found, [_row(row, zone, helper=reader.acting is not None) for row in found.rows]


def _row(row: accounting.Row, zone: ZoneInfo, *, helper: bool) -> Told:
    first, last = (moment.astimezone(zone).date() for moment in (row.first_at, row.last_at))
    times = ngettext("This happened {n} time.", "This happened {n} times.", row.count)
    why = purpose_words(row.purpose)
    shown = {"demographics": gettext(_DEMOGRAPHICS), "": gettext(_WITHHELD)}
    return Told(
        recipient=row.recipient,
        kinds=sorted(shown.get(kind, kind) for kind in row.kinds),
        why=words.reason(row.purpose, why, helper=helper),
        first=dates.day(first),
        last=dates.day(last),
        times=times.format(n=dates.digits(row.count)),
        custodians=sorted(row.custodians),
        because=gettext(REQUIRED if row.required else BECAUSE[row.exempt]),
        first_on=first.isoformat(),
        last_on=last.isoformat(),
        count=row.count,
    )


def _download(content: bytes, kind: str, ending: str) -> HttpResponse:
    answer = HttpResponse(content, content_type=kind)
    answer["Content-Disposition"] = f'attachment; filename="disclosures-{timezone.now():%Y-%m-%d}.{ending}"'
    return answer
