"""My documents, readable: the list as somebody looks for things in it, a document as a page, its pictures, all of them at once.

Bytes come by `find.read_document` and `retrieve.retrieve` as they do for everybody: each look is decided, recorded and asked
about again on its way. What is made of them here is a value; the portal writes it out.

Source: spec/consent.md 14 (the patient's own access); docs/adr/0011.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, tzinfo
from enum import StrEnum
from itertools import chain

from documents.filters import EntryFilter
from documents.metadata import EntryMetadata, Status
from documents.queries import EntryRow
from hie.directory import queries as directory
from hie.exchange import find, found_pages, named_patients, retrieve
from hie.exchange.document_filter import Asked
from hie.exchange.errors import NotFound, Unsettled
from hie.standards import cda, cda_html, fhir_html, mime, narrative, pieces, readable, rtf
from hie.standards.errors import HubError, MalformedContent
from hie.standards.facts import Caller
from hie.standards.narrative import Narrative, Places
from hie.standards.readable import Header, NotThere, Readable, Section

MAX_SHOWN = 32 << 20
"""Bytes of a document that is read into memory to be shown; a larger one is saved."""
MAX_TEXT = 4 << 20
PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""What every browser shows and nothing can hide in: no SVG, which is a program."""
INLINE = PICTURES | {"application/pdf"}


class Kind(StrEnum):
    """How a document can be shown."""

    TEXT = "text"  # as a page: what `Readable` holds
    PDF = "pdf"
    PICTURE = "picture"
    LARGE = "large"  # too large to be shown
    DAMAGED = "damaged"  # not what it says it is; its raw text is the `Readable`
    FILE = "file"  # of a kind that only a program shows
    ELSEWHERE = "elsewhere"  # its bytes are not kept here


class Topic(StrEnum):
    """What a document is about, as people look for it."""

    LETTERS = "letters"
    TESTS = "tests"
    IMAGES = "images"
    MEDICINES = "medicines"
    SUMMARIES = "summaries"


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewed:
    """One document: its entry, how it is shown, and its text where it has one. `media_type` is without parameters."""

    row: EntryRow
    kind: Kind
    media_type: str
    readable: Readable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Bytes that a browser shows by itself, of a type their beginning proves; `size` None where it is not known."""

    content_type: str
    size: int | None
    chunks: Iterator[bytes] = field(repr=False)
    inline: bool = True


# --- the list ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What is looked for: words, a topic, an organization by its id, a language (``en``), a year; "" asks nothing."""

    words: str = ""
    topic: str = ""
    organization: str = ""
    language: str = ""
    year: str = ""

    @property
    def asks(self) -> bool:
        """Whether anything is asked."""
        return any((self.words, self.topic, self.organization, self.language, self.year))


TALLIES = ("topic", "organization", "language", "year")


def listed(
    person_id: str,
    looked: Looked,
    *,
    caller: Caller,
    zone: tzinfo = UTC,
    after: tuple[str, ...] | None = None,
    count: int = 50,
    raw: str = "",
) -> found_pages.FoundPage:
    """Current documents of the patient that may be seen and are looked for, newest first; years are those of `zone`.

    `FoundPage.tallies` counts all that may be seen, by `TALLIES`, whatever is looked for.

    Raises:
        AccessRefused: the caller may not search at all.
    """
    wanted = _folded(looked.words).split()
    members = directory.participants() if wanted else {}

    def facts_of(row: EntryRow) -> Mapping[str, str]:
        return _facts(row, zone)

    def is_looked_for(row: EntryRow) -> bool:
        facts = facts_of(row)
        asked = {
            "topic": looked.topic,
            "organization": looked.organization,
            "language": looked.language,
            "year": looked.year,
        }
        if any(value and facts[name] != value for name, value in asked.items()):
            return False
        keeper = members.get(row.custodian)
        held = _words(row, keeper.name if keeper else "") if wanted else ""
        return all(word in held for word in wanted)

    search = found_pages.DocumentSearch(
        patients=((named_patients.PatientNamed(id=person_id),),),
        asked=Asked(entries=EntryFilter(statuses=(Status.APPROVED,))),
        after=after,
        count=count,
        raw=raw,
        tally=facts_of,
        narrow=is_looked_for if looked.asks else None,
    )
    return find.find_documents(search, caller=caller)


def every(person_id: str, *, caller: Caller, raw: str = "") -> Iterator[found_pages.Found]:
    """All current documents of the patient that may be seen, newest first, read page by page as they are taken."""
    after: tuple[str, ...] | None = None
    while True:
        page = listed(person_id, Looked(), caller=caller, after=after, count=200, raw=raw)
        yield from page.rows
        if not page.more or not page.rows:
            return
        after = page.rows[-1].key


def day(row: EntryRow, zone: tzinfo) -> date:
    """The day a document is of: that it was made on in this zone, or as it stands where it says no hour; else that it came."""
    made_on = row.metadata.creation_time or ""
    if 8 <= len(made_on) < 10:
        return row.sorted_at.date()
    return row.sorted_at.astimezone(zone).date()


def _facts(row: EntryRow, zone: tzinfo) -> Mapping[str, str]:
    return {
        "topic": topic(row.metadata),
        "organization": row.custodian,
        "language": (row.metadata.language_code or "").replace("_", "-").partition("-")[0].lower(),
        "year": str(day(row, zone).year),
    }


_CODES: Mapping[str, Topic] = {
    **dict.fromkeys(("11502-2", "26436-6", "18725-2", "18723-7", "26435-8", "11526-1", "60567-5", "LAB"), Topic.TESTS),
    **dict.fromkeys(("18748-4", "68604-8", "55113-5", "18726-0", "IMAGES", "24606-6", "36572-6"), Topic.IMAGES),
    **dict.fromkeys(
        ("10160-0", "29305-0", "57833-6", "57828-6", "60590-7", "60593-1", "56445-0", "61356-2"), Topic.MEDICINES
    ),
    **dict.fromkeys(("34133-9", "60591-5", "18842-5", "11503-0", "34105-7", "28655-9", "52521-2"), Topic.SUMMARIES),
}
_TOPICS: tuple[tuple[Topic, tuple[str, ...]], ...] = (
    (Topic.MEDICINES, ("medication", "medicine", "prescri", "dispens", "pharmac", "drug")),
    (Topic.IMAGES, ("imag", "x-ray", "xray", "radiolog", "ultrasound", "tomograph", "magnetic resonance", "photo")),
    (Topic.TESTS, ("lab", "test", "patholog", "microbiolog", "blood", "ecg", "result")),
    (Topic.SUMMARIES, ("summary", "discharge", "continuity of care")),
)


def topic(entry: EntryMetadata) -> Topic:
    """What an entry is about: by its media type, by its codes, by the words of its codes; a letter where nothing says more."""
    media = entry.mime_type.partition(";")[0].strip().lower()
    if media.startswith("image/") or media == "application/dicom":
        return Topic.IMAGES
    codes = [code for code in (entry.type_code, entry.class_code) if code is not None]
    for code in codes:
        if code.code in _CODES:
            return _CODES[code.code]
    for code in codes:
        said = (code.display or "").lower()
        for one, words in _TOPICS:
            if any(word in said for word in words):
                return one
    return Topic.LETTERS


def _words(row: EntryRow, keeper: str) -> str:
    entry = row.metadata
    said = [entry.title, entry.comments, keeper]
    said += [code.display for code in (entry.type_code, entry.class_code, entry.practice_setting_code) if code]
    for author in entry.authors:
        if author.person is not None:
            said += [author.person.prefix, author.person.given, author.person.second, author.person.family]
        said += [one.name for one in author.institutions]
    return _folded(" ".join(one for one in said if one))


def _folded(text: str) -> str:
    """Without accents and vowel signs, in one case: what a reader types finds what a clinic wrote."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return plain.casefold().replace("أ", "ا").replace("إ", "ا").replace("آ", "ا").replace("ى", "ي").replace("ة", "ه")


# --- one document -----------------------------------------------------------------------------------------------------


def view(entry_id: str, *, person_id: str, caller: Caller, raw: str = "") -> Viewed:
    """A document of the patient as a page. Its bytes are read only where the page needs them.

    Raises:
        NotFound: absent, or not to be seen by this caller, or of somebody else.
        ContentUnavailable: the stored bytes are damaged.
    """
    row = _row(entry_id, person_id, caller, raw)
    media = _media_type(row.metadata.mime_type)
    how = shown_as(media) if row.content_id else Kind.ELSEWHERE
    if how is not Kind.TEXT:
        return Viewed(row=row, kind=how, media_type=media)
    if (row.metadata.size or 0) > MAX_SHOWN:
        return Viewed(row=row, kind=Kind.LARGE, media_type=media)
    data = _whole(row, caller, raw)
    if data is None:
        return Viewed(row=row, kind=Kind.LARGE, media_type=media)
    kind, made = as_text(data, row.metadata.mime_type, language=row.metadata.language_code or "")
    return Viewed(row=row, kind=kind, media_type=media, readable=made)


def shown_as(mime_type: str) -> Kind:
    """How a document of a media type is shown, as far as the type tells."""
    media = _media_type(mime_type)
    declared = mime.parse(media)
    if media == "application/pdf":
        return Kind.PDF
    if media in PICTURES:
        return Kind.PICTURE
    if declared is None or media == "image/svg+xml":
        return Kind.FILE
    textual = declared.is_xml or declared.is_json or media.startswith("text/") or media == "application/rtf"
    return Kind.TEXT if textual else Kind.FILE


def as_text(data: bytes, content_type: str, *, language: str = "") -> tuple[Kind, Readable]:
    """The bytes of a textual document as somebody reads them: what they are is told by themselves, then by their type."""
    declared = mime.parse(content_type) or mime.MediaType(essence="text/plain")
    head = data[: 16 * mime.SNIFF_BYTES]
    spoken = pieces.language(language)
    try:
        if mime.is_cda(head):
            made = cda_html.read([data])
            return Kind.TEXT, made if made.body < 0 else _unstructured(made)
        if declared.is_json:
            return Kind.TEXT, fhir_html.read(data)
        if declared.is_xml and b"http://hl7.org/fhir" in head:
            return Kind.TEXT, fhir_html.read(data, is_xml=True)
    except (MalformedContent, cda.NotClinicalDocument):
        return Kind.DAMAGED, readable.of_text(decoded(data[:MAX_TEXT], declared), language=spoken)
    if declared.essence in {"text/rtf", "application/rtf"} or data.startswith(b"{\\rtf"):
        return Kind.TEXT, readable.of_text(rtf.text(data[:MAX_TEXT]), language=spoken)
    text = decoded(data[:MAX_TEXT], declared)
    if declared.essence in {"text/html", "application/xhtml+xml"}:
        return Kind.TEXT, _of_html(text, spoken)
    made = readable.of_text(text, language=spoken)
    if len(data) > MAX_TEXT:
        made = Readable(header=made.header, sections=made.sections, parts=made.parts, where=made.where, cut=True)
    return (Kind.DAMAGED if declared.is_xml else Kind.TEXT), made


def _unstructured(made: Readable) -> Readable:
    """A CDA around another document: a text inside becomes the page's text; a picture or file stays the medium it is."""
    medium = made.media[made.body]
    kind = medium.kind()
    if medium.elsewhere or not (kind.startswith("text/") or kind in {"application/rtf", "application/xml"}):
        return made
    stated = medium.content_type or kind
    try:
        inner = as_text(medium.content(), stated, language=made.header.language)[1]
    except NotThere:
        return made
    return Readable(
        header=made.header,
        sections=inner.sections,
        media=made.media,
        parts=inner.parts,
        where=inner.where,
        cut=inner.cut,
    )


def _of_html(text: str, language: str) -> Readable:
    root, cut = narrative.html(text)
    places = Places()
    places.look(root)
    writer = Narrative(places)
    section = Section(anchor="s-1", body=writer.body(root), notes=tuple(writer.notes))
    parts, where = readable.in_parts([section])
    return Readable(header=Header(language=language), sections=(section,), parts=parts, where=where, cut=cut)


def decoded(data: bytes, declared: mime.MediaType) -> str:
    """The characters of a text: by its byte order mark, the charset it states, UTF-8, else as Windows wrote Latin."""
    for mark, name in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(name, errors="replace")
    for name in (declared.parameters.get("charset", ""), "utf-8"):
        try:
            if name:
                return data.decode(name)
        except (UnicodeDecodeError, LookupError):
            continue
    return data.decode("cp1252", errors="replace")


# --- bytes that a browser shows ---------------------------------------------------------------------------------------


def opened(entry_id: str, *, person_id: str, caller: Caller, raw: str = "") -> Opened:
    """A PDF or picture of the patient's, to be shown by the browser itself.

    Raises:
        NotFound: as `view`; or a document of a kind that is not shown so, whatever it calls itself.
    """
    row = _row(entry_id, person_id, caller, raw)
    media = _media_type(row.metadata.mime_type)
    if media not in INLINE or not row.content_id:
        raise NotFound("no such document")
    content = retrieve.retrieve(retrieve.Wanted(binary_id=str(row.content_id), raw=raw), caller=caller)
    chunks = iter(content.chunks)
    head = next(chunks, b"")
    if mime.sniff(head[: mime.SNIFF_BYTES]) != media:
        _close(content.chunks)
        raise NotFound("no such document")
    return Opened(content_type=media, size=content.size, chunks=_whole_of(head, chunks, content.chunks))


def medium(entry_id: str, number: int, *, person_id: str, caller: Caller, raw: str = "") -> Opened:
    """A picture or file inside a document of the patient's.

    Raises:
        NotFound: as `view`; or there is no such medium, or its bytes are elsewhere or none.
    """
    row = _row(entry_id, person_id, caller, raw)
    if (row.metadata.size or 0) > MAX_SHOWN or not row.content_id:
        raise NotFound("no such document")
    data = _whole(row, caller, raw)
    if data is None:
        raise NotFound("no such document")
    try:
        if mime.is_cda(data[: 16 * mime.SNIFF_BYTES]):
            made = cda_html.read([data])
        else:
            declared = mime.parse(row.metadata.mime_type)
            made = fhir_html.read(data, is_xml=declared is not None and declared.is_xml)
        one = made.media[number]
        content = one.content()
    except (HubError, IndexError, NotThere) as error:
        raise NotFound("no such document") from error
    kind = mime.sniff(content[: mime.SNIFF_BYTES]) or one.content_type.partition(";")[0].strip().lower()
    if mime.parse(kind) is None:
        kind = "application/octet-stream"
    return Opened(content_type=kind, size=len(content), chunks=iter([content]), inline=kind in INLINE)


def _row(entry_id: str, person_id: str, caller: Caller, raw: str) -> EntryRow:
    found = find.read_document(entry_id, caller=caller, raw=raw)
    row: EntryRow = found.row
    if found.person_id != person_id:
        raise NotFound("no such document")
    return row


def _media_type(mime_type: str) -> str:
    media = mime_type.partition(";")[0].strip().lower()
    return {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "application/x-pdf": "application/pdf"}.get(
        media, media
    )


def _whole(row: EntryRow, caller: Caller, raw: str) -> bytes | None:
    """All bytes of a document; None when there are more than `MAX_SHOWN`.

    Raises:
        Unsettled: what it may be shown by changed on the way; it is decided again when it is asked again.
    """
    content = retrieve.retrieve(retrieve.Wanted(binary_id=str(row.content_id), raw=raw), caller=caller)
    data = bytearray()
    for chunk in content.chunks:
        data += chunk
        if len(data) > MAX_SHOWN:
            _close(content.chunks)
            return None
    if content.size is not None and len(data) != content.size:
        raise Unsettled
    return bytes(data)


def _whole_of(head: bytes, rest: Iterator[bytes], source: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from chain([head] if head else [], rest)
    finally:
        _close(source)


def _close(chunks: Iterator[bytes]) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()
