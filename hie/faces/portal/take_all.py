"""Take all with you: every document in one ZIP, with a page that lists them and those that are text as pages to read.

Each document is looked for, decided, recorded and sent as if it had been asked for alone, one after the other; nothing is put
together before. The list is written last, so it names what is really in the file. Where a document may no longer be sent
while it is being sent, the answer breaks off: a file that is cut is no ZIP, and nobody takes it for whole.
"""

from __future__ import annotations

import zipfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from datetime import tzinfo

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.template.loader import render_to_string
from django.utils import timezone, translation
from django.utils.translation import gettext

from documents.errors import ContentUnavailable
from hie.exchange import accounts, document_view, found_pages, retrieve
from hie.exchange.errors import NotFound
from hie.faces.portal import dates
from hie.faces.portal.page import page
from hie.faces.portal.pieces import Writing
from hie.faces.portal.reading import Shown, author_of, file_name, keeper_of, kind_of, sections_of
from hie.faces.portal.session import Reader
from hie.faces.portal.zips import Pipe

_PIECE = 1 << 16
_SMALL = 4 << 20
"""Texts up to this size come as a page as well."""
_DEFLATED = ("text/", "application/xml", "application/json", "application/fhir", "application/hl7", "application/dicom")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A document in the file: its name there, that of its page ("" for none), what it is; `lost` where it could not be read."""

    title: str
    kind: str
    place: str
    author: str
    day: str
    file: str
    page: str = ""
    lost: bool = False


@page("GET")
def save_all(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """All documents that the reader may see, as a ZIP that is made while it is sent."""
    rows = document_view.every(reader.person_id, caller=reader.caller, raw=request.path)
    first = next(rows, None)  # what refuses the whole is an error page, not a broken file
    language = translation.get_language() or "en"
    response = StreamingHttpResponse(_zip(first, rows, reader, language, request.path), content_type="application/zip")
    response["Content-Disposition"] = f'attachment; filename="documents-{timezone.now():%Y-%m-%d}.zip"'
    return response


def _zip(
    first: found_pages.Found | None, rows: Iterator[found_pages.Found], reader: Reader, language: str, raw: str
) -> Iterator[bytes]:
    pipe = Pipe()
    zone = accounts.zone_of(reader.person_id)
    now = timezone.now().astimezone(zone)
    stamp = now.timetuple()[:6]
    taken: list[Taken] = []
    with zipfile.ZipFile(pipe, "w", allowZip64=True) as whole:
        number = 0
        while first is not None:
            number += 1
            one: found_pages.Found = first
            with translation.override(language):
                about = _about(one, number, zone)
            document = yield from _document(whole, pipe, one, about, reader, stamp, language, raw)
            if document is not None:
                taken.append(document)
            first = next(rows, None)
        with translation.override(language):
            index = _written("take_all.html", {"documents": taken, "name": _name(reader), "day": dates.day(now.date())})
        whole.writestr(zipfile.ZipInfo("index.html", stamp), index, zipfile.ZIP_DEFLATED)
        yield pipe.taken()
    yield pipe.taken()


def _document(
    whole: zipfile.ZipFile,
    pipe: Pipe,
    one: found_pages.Found,
    about: Taken,
    reader: Reader,
    stamp: tuple[int, ...],
    language: str,
    raw: str,
) -> Generator[bytes, None, Taken | None]:
    """One document, and its page where it is a text. None where it is not there any more.

    Raises:
        ConnectionAbortedError: it may no longer be sent.
    """
    entry = one.row.metadata
    # A document made on demand is made of the others, which are all in the file.
    if one.person_id != reader.person_id or not one.row.binary_id:
        return None
    try:
        content = retrieve.retrieve(
            retrieve.Wanted(binary_id=str(one.row.binary_id), raw=f"{raw}#{about.file}"), caller=reader.caller
        )
    except NotFound:
        return None
    except ContentUnavailable:
        return replace(about, file="", lost=True)
    info = zipfile.ZipInfo(about.file, stamp)  # type: ignore[arg-type]  # six numbers
    text = content.content_type.startswith(_DEFLATED)
    info.compress_type = zipfile.ZIP_DEFLATED if text else zipfile.ZIP_STORED
    info.external_attr = 0o600 << 16
    kept: bytearray | None = bytearray() if text and (content.size or 0) <= _SMALL else None
    sent = 0
    with whole.open(info, "w", force_zip64=True) as file:
        for chunk in content.chunks:
            file.write(chunk)
            sent += len(chunk)
            if kept is not None:
                kept += chunk
            yield pipe.taken()
    if content.size is not None and sent != content.size:
        raise ConnectionAbortedError("what may be shown of the documents has changed")
    yield pipe.taken()
    if kept is None or content.content_type.startswith("application/dicom"):
        return about
    kind, made = document_view.as_text(bytes(kept), entry.mime_type, language=entry.language_code or "")
    if kind is not document_view.Kind.TEXT or not made.sections:
        return about
    named = f"{about.file.rpartition('.')[0]}.page.html"
    with translation.override(language):
        writing = Writing(part=0, where=dict.fromkeys(made.where, 0), media=made.media, address=None)
        parts: list[Shown] = [shown for part in made.parts for shown in sections_of(part, writing)]
        body = _written(
            "take_all_page.html", {"about": about, "sections": parts, "file": about.file.rpartition("/")[2]}
        )
    page_info = zipfile.ZipInfo(named, stamp)  # type: ignore[arg-type]  # as above
    page_info.external_attr = 0o600 << 16
    whole.writestr(page_info, body, zipfile.ZIP_DEFLATED)
    yield pipe.taken()
    return replace(about, page=named)


def _about(one: found_pages.Found, number: int, zone: tzinfo) -> Taken:
    entry = one.row.metadata
    kind = kind_of(entry)
    made_on = document_view.day(one.row, zone)
    return Taken(
        title=entry.title or kind or gettext("A document"),
        kind=kind,
        place=keeper_of(one.row.custodian),
        author=author_of(entry),
        day=dates.day(made_on),
        file=f"documents/{number:05d}-{made_on:%Y-%m-%d}-{file_name(entry, entry.mime_type)}",
    )


def _name(reader: Reader) -> str:
    return reader.acting.name if reader.acting else reader.account.name


def _written(template: str, context: dict[str, object]) -> bytes:
    frame = {
        "language": (translation.get_language() or "en").split("-")[0],
        "direction": "rtl" if translation.get_language_bidi() else "ltr",
        "hub_name": getattr(settings, "HUB_NAME", ""),
    }
    return render_to_string(f"portal/{template}", {**frame, **context}).encode()
