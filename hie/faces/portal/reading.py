"""A document read in the portal: its page, its pictures, the PDF that the browser shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import partial

from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext, gettext_noop

from documents.metadata import EntryMetadata
from hie.directory import queries as directory
from hie.exchange import accounts, document_view
from hie.exchange.document_view import Opened, Viewed
from hie.faces.portal import dates
from hie.faces.portal.page import page, render
from hie.faces.portal.pieces import Writing
from hie.faces.portal.session import Reader
from hie.standards import pieces
from hie.standards.readable import Fact, Header, Readable, Section, Writer

LOCKED = "sandbox; default-src 'none'"
"""The policy of bytes that are no page of ours (docs/adr/0009)."""
VIEWER = (
    "default-src 'none'; object-src 'self'; img-src 'self' data:; style-src 'unsafe-inline'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)
"""The policy of a PDF: the browser's own viewer does not run in a sandbox; it is no page and shares nothing with one."""

NULLS: dict[str, str] = {
    "NI": gettext_noop("Nothing was written here."),
    "NA": gettext_noop("This does not apply."),
    "UNK": gettext_noop("This is not known."),
    "ASKU": gettext_noop("You were asked, and it was not known."),
    "NASK": gettext_noop("Nobody asked."),
    "NAV": gettext_noop("This was not known at the time."),
    "MSK": gettext_noop("This was kept back."),
    "OTH": gettext_noop("This stands in another place."),
}
"""Null flavours of HL7 v3, as they are said of a part without text."""
STATES: dict[str, str] = {
    "active": gettext_noop("still so"),
    "completed": gettext_noop("done"),
    "finished": gettext_noop("done"),
    "resolved": gettext_noop("over"),
    "inactive": gettext_noop("not so any more"),
    "stopped": gettext_noop("stopped"),
    "aborted": gettext_noop("stopped"),
    "cancelled": gettext_noop("called off"),
    "suspended": gettext_noop("on hold"),
    "on-hold": gettext_noop("on hold"),
    "planned": gettext_noop("planned"),
    "new": gettext_noop("planned"),
}
"""States of coded entries that mean something to a reader; others are left out."""
RESOURCES: dict[str, str] = {
    "AllergyIntolerance": gettext_noop("Allergies"),
    "Appointment": gettext_noop("Appointments"),
    "CarePlan": gettext_noop("Care plans"),
    "CareTeam": gettext_noop("Care teams"),
    "Claim": gettext_noop("Bills"),
    "Condition": gettext_noop("Health problems"),
    "Device": gettext_noop("Devices"),
    "DiagnosticReport": gettext_noop("Reports of tests"),
    "DocumentReference": gettext_noop("Documents"),
    "Encounter": gettext_noop("Visits"),
    "ExplanationOfBenefit": gettext_noop("Payments"),
    "Goal": gettext_noop("Goals"),
    "ImagingStudy": gettext_noop("Pictures taken"),
    "Immunization": gettext_noop("Vaccines"),
    "Location": gettext_noop("Places"),
    "MedicationAdministration": gettext_noop("Medicines given"),
    "MedicationDispense": gettext_noop("Medicines handed out"),
    "MedicationRequest": gettext_noop("Medicines ordered"),
    "MedicationStatement": gettext_noop("Medicines taken"),
    "Observation": gettext_noop("Measured values"),
    "Organization": gettext_noop("Organizations"),
    "Patient": gettext_noop("About the person"),
    "Practitioner": gettext_noop("Doctors and nurses"),
    "Procedure": gettext_noop("Procedures"),
    "ServiceRequest": gettext_noop("Orders"),
    "Specimen": gettext_noop("Samples"),
}
"""Types of FHIR resources in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A coded entry in words."""

    label: str
    value: str
    more: str
    negated: bool
    inner: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A part of the document as the page shows it; `tag` its heading."""

    anchor: str
    id: str
    tag: str
    title: str
    lang: str
    direction: str
    body: SafeString
    lines: Sequence[Line]
    said: str
    notes: Sequence[tuple[str, str, int, SafeString]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A line of the table of contents."""

    title: str
    href: str
    level: int


@page("GET")
def show(request: HttpRequest, reader: Reader, entry_id: str) -> HttpResponseBase:
    """A document as a page; of one that no page can show, what it is and how to save it."""
    viewed = document_view.view(str(entry_id), person_id=reader.person_id, caller=reader.caller, raw=request.path)
    made = viewed.readable or Readable()
    count = max(1, len(made.parts))
    asked = request.GET.get("part", "")
    part = min(int(asked), count) - 1 if re.fullmatch(r"[1-9]\d{0,5}", asked) else 0
    entry = viewed.row.metadata
    header = made.header
    language = header.language or pieces.language(entry.language_code or "")
    writing = Writing(
        part=part,
        where=made.where,
        media=made.media,
        address=partial(_medium_address, str(entry_id)),
        isolate=pieces.direction(language) != "ltr",
    )
    sections = sections_of(made.parts[part] if made.parts else (), writing)
    zone = accounts.zone_of(reader.person_id)
    context = {
        "title_of": entry.title or header.title or kind_of(entry) or gettext("A document"),
        "facts": _facts(viewed, header, zone),
        "replaces": header.replaces,
        "kind": str(viewed.kind),
        "media_type": viewed.media_type,
        "sections": sections,
        "contents": _contents(made, writing) if len(made.sections) > 1 else [],
        "parts": count,
        "parts_said": gettext("Part {n} of {all}").format(n=dates.digits(part + 1), all=dates.digits(count)),
        "before": f"?part={part}" if part else "",
        "after": f"?part={part + 2}" if part + 1 < count else "",
        "cut": made.cut,
        "empty": viewed.readable is not None and not sections and made.body < 0,
        "inside": writing.medium(made.body, gettext("What this document holds")) if made.body >= 0 else "",
        "lang": language,
        "direction_of": pieces.direction(language),
        "other_language": bool(language) and language.partition("-")[0] != (get_language() or "en").partition("-")[0],
        "opens": reverse("portal:open", args=[entry_id]),
        "saves": reverse("portal:save", args=[entry_id]),
        "who": reverse("portal:who", args=[entry_id]),
        "place": "documents",
    }
    return render(request, "document.html", context, reader=reader)


@page("GET")
def open_(request: HttpRequest, reader: Reader, entry_id: str) -> HttpResponseBase:
    """A PDF or a picture, shown by the browser itself."""
    found = document_view.opened(str(entry_id), person_id=reader.person_id, caller=reader.caller, raw=request.path)
    return _sent(found, "document")


@page("GET")
def medium(request: HttpRequest, reader: Reader, entry_id: str, number: int) -> HttpResponseBase:
    """A picture or file from inside a document."""
    found = document_view.medium(
        str(entry_id), number, person_id=reader.person_id, caller=reader.caller, raw=request.path
    )
    return _sent(found, f"part-{number + 1}")


def _sent(found: Opened, name: str) -> HttpResponseBase:
    """Bytes for the browser to show, locked up as their kind allows; what it cannot show is saved."""
    response = StreamingHttpResponse(found.chunks, content_type=found.content_type)
    if found.size is not None:
        response["Content-Length"] = str(found.size)
    ending = ENDINGS.get(found.content_type, "bin")
    response["Content-Disposition"] = f'{"inline" if found.inline else "attachment"}; filename="{name}.{ending}"'
    response["Content-Security-Policy"] = VIEWER if found.content_type == "application/pdf" else LOCKED
    response["Cross-Origin-Resource-Policy"] = "same-origin"
    return response


def _medium_address(entry_id: str, number: int) -> str:
    return reverse("portal:medium", args=[entry_id, number])


ENDINGS = {
    "text/xml": "xml",
    "application/xml": "xml",
    "application/hl7-cda+xml": "xml",
    "application/fhir+xml": "xml",
    "application/pdf": "pdf",
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/tiff": "tif",
    "application/dicom": "dcm",
    "application/fhir+json": "json",
    "application/json": "json",
    "application/zip": "zip",
    "application/rtf": "rtf",
    "text/rtf": "rtf",
    "text/plain": "txt",
    "text/html": "html",
    "text/csv": "csv",
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
    "video/mp4": "mp4",
}


def file_name(entry: EntryMetadata, media_type: str) -> str:
    """What a saved document is called: letters and digits of its title, and the ending of its type."""
    mime = media_type.partition(";")[0].strip().lower()
    title = re.sub(r"[^A-Za-z0-9]+", "-", entry.title or kind_of(entry)).strip("-")[:60] or "document"
    return f"{title}.{ENDINGS.get(mime, 'bin')}"


def kind_of(entry: EntryMetadata) -> str:
    """The kind of an entry in the words that were published with it; "" for none."""
    return next((code.display for code in (entry.type_code, entry.class_code) if code and code.display), "") or ""


def author_of(entry: EntryMetadata) -> str:
    """The first author of an entry by name; "" for none."""
    person = entry.authors[0].person if entry.authors else None
    return " ".join(part for part in (person.prefix, person.given, person.family) if part) if person else ""


def keeper_of(participant_id: str) -> str:
    """The organization that keeps a document."""
    held = directory.participant(participant_id)
    return held.name if held else ""


# --- parts of the page ------------------------------------------------------------------------------------------------


def _facts(viewed: Viewed, header: Header, zone: tzinfo) -> list[tuple[str, list[SafeString]]]:
    """Who wrote it, when, for whom, where: by the document itself, else by its entry. Names keep their own direction."""
    entry = viewed.row.metadata
    writers = [_writer(one, header.on) for one in header.writers] or [_named([author_of(entry)])]
    on = dates.fhir_date(header.on) if header.on else dates.day(document_view.day(viewed.row, zone))
    about = [_named([one]) for one in header.patients]
    if about and header.birth_date:
        born = gettext("born on {day}").format(day=dates.fhir_date(header.birth_date))
        about[0] = _named([header.patients[0]], born)
    time = ""
    if header.since and header.until:
        time = gettext("{since} to {until}").format(
            since=dates.fhir_date(header.since), until=dates.fhir_date(header.until)
        )
    elif header.since or header.until:
        time = dates.fhir_date(header.since or header.until)
    keeper = keeper_of(viewed.row.custodian)
    lines = [
        (gettext("Written by"), writers),
        (gettext("Written on"), [_named([], on)]),
        (gettext("About"), about),
        (gettext("For the time"), [_named([], time)]),
        (gettext("Place of care"), [_named([header.place])]),
        (gettext("Signed by"), [_writer(one, header.on) for one in header.signers]),
        (gettext("Kept by"), [_named([keeper]), _named([header.keeper])]),
        (gettext("Kind"), [_named([header.kind or kind_of(entry)])]),
    ]
    told = [(label, [one for one in dict.fromkeys(values) if one]) for label, values in lines]
    return [(label, values) for label, values in told if values]


def _named(names: Iterable[str], *said: str) -> SafeString:
    """Names, each in its own direction, and what we say beside them."""
    parts = [format_html("<bdi>{}</bdi>", name) for name in names if name]
    parts += [format_html("{}", one) for one in said if one]
    return format_html_join(", ", "{}", ((part,) for part in parts))


def _writer(one: Writer, on: str) -> SafeString:
    names = [part for part in (one.name, one.place) if part]
    day = dates.fhir_date(one.on) if names and one.on and one.on[:10] != on else ""
    return _named(names, day)


def sections_of(sections: Iterable[Section], writing: Writing) -> list[Shown]:
    """Sections of a document as a page shows them."""
    return [_section(one, writing) for one in sections]


def _section(section: Section, writing: Writing) -> Shown:
    notes = []
    for note in section.notes:
        back = writing.link(f"to-{note.anchor}")
        notes.append((note.anchor, back, note.number, writing.written(note.body)))
    said = ""
    if section.null and not section.body and not section.facts:
        said = gettext(NULLS.get(section.null, NULLS["NI"]))
    elif section.is_silent:
        said = gettext("This part has no text. What it holds is for programs, and is in the file.")
    return Shown(
        anchor=section.anchor,
        id=section.id,
        tag=f"h{min(2 + section.level, 6)}",
        title=_title(section),
        lang=section.language,
        direction=pieces.direction(section.language) if section.language else "",
        body=writing.written(section.body),
        lines=[_line(one) for one in section.facts],
        said=said,
        notes=notes,
    )


def _title(section: Section) -> str:
    if section.title or not section.resource:
        return section.title
    return gettext(RESOURCES[section.resource]) if section.resource in RESOURCES else section.resource


def _line(fact: Fact) -> Line:
    since, until = (dates.fhir_date(one) if one else "" for one in (fact.since, fact.until))
    when = gettext("{since} to {until}").format(since=since, until=until) if since and until else since or until
    state = gettext(STATES[fact.state]) if fact.state in STATES and not fact.negated else ""
    return Line(
        label=fact.label,
        value=fact.value,
        more=" · ".join(part for part in (when, state) if part),
        negated=fact.negated,
        inner=fact.depth > 0,
    )


def _contents(made: Readable, writing: Writing) -> list[Place]:
    return [
        Place(
            title=_title(one),
            href=writing.link(one.anchor),
            level=min(one.level, 3),
        )
        for one in made.sections
    ]
