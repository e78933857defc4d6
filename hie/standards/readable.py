"""A document as somebody reads it: who wrote it, its parts with their text, the pictures in it; split where it is long.

Made by `cda_html`, `fhir_html` and `of_text`; what it is shown by is up to whoever shows it. Source: docs/adr/0011.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hie.standards import mime, pieces
from hie.standards.narrative import Note
from hie.standards.pieces import Node

PART = 150_000
"""About how many characters of a page one part may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who wrote, signed or keeps a document: a name, a place, a day as a FHIR date; "" for what is not said."""

    name: str = ""
    place: str = ""
    on: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the document says of itself, in its own words; days as FHIR dates, as they stand there."""

    title: str = ""
    kind: str = ""
    language: str = ""
    on: str = ""
    patients: tuple[str, ...] = ()
    birth_date: str = ""
    writers: tuple[Writer, ...] = ()
    keeper: str = ""
    signers: tuple[Writer, ...] = ()
    since: str = ""
    until: str = ""
    place: str = ""
    replaces: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One coded entry, where nobody has written a text: what, its value, from when to when.

    `negated`: it is said not to be so. `state` is a code such as ``active``. `depth` counts from 0 what it belongs to.
    """

    label: str
    value: str = ""
    since: str = ""
    until: str = ""
    negated: bool = False
    state: str = ""
    depth: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part with its heading. `level` 0 is the outermost; `title` "" where it has none; `resource` the FHIR type that it
    stands for; `null` the null flavour where it says why there is no text."""

    anchor: str
    title: str = ""
    level: int = 0
    resource: str = ""
    id: str = ""
    body: tuple[Node, ...] = ()
    notes: tuple[Note, ...] = ()
    facts: tuple[Fact, ...] = ()
    null: str = ""
    language: str = ""
    holds_others: bool = False
    continued: bool = False

    @property
    def is_silent(self) -> bool:
        """Whether it has nothing to show but its heading."""
        return not (self.body or self.facts or self.null or self.holds_others)


class NotThere(ValueError):
    """The bytes of a medium are not in the document, or are no bytes."""


@dataclass(frozen=True, slots=True)
class Media:
    """A picture or file inside the document, or the address where it is kept (`elsewhere`)."""

    content_type: str
    data: str = field(default="", repr=False)
    elsewhere: str = ""

    def content(self) -> bytes:
        """The bytes.

        Raises:
            NotThere: there are none.
        """
        try:
            found = base64.b64decode("".join(self.data.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise NotThere from error
        if not found:
            raise NotThere
        return found

    def kind(self) -> str:
        """The media type its first bytes prove, else the one that is stated; "" when it has no bytes."""
        head = "".join(self.data[: 2 * mime.SNIFF_BYTES].split())[: mime.SNIFF_BYTES]
        try:
            start = base64.b64decode(head[: len(head) - len(head) % 4], validate=True)
        except (binascii.Error, ValueError):
            return ""
        return (mime.sniff(start) or self.content_type.partition(";")[0].strip().lower()) if start else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readable:
    """The whole of it. `parts` are the sections in runs that make one page each; `where` the part of each place.

    `body` is what an unstructured document holds: the number of its medium, -1 for none. `cut`: more follows that is not
    shown here, since the document is longer than is read.
    """

    header: Header = field(default_factory=Header)
    sections: tuple[Section, ...] = ()
    media: tuple[Media, ...] = ()
    parts: tuple[tuple[Section, ...], ...] = ()
    where: Mapping[str, int] = field(default_factory=dict)
    body: int = -1
    cut: bool = False


def in_parts(sections: Sequence[Section], limit: int = PART) -> tuple[tuple[tuple[Section, ...], ...], dict[str, int]]:
    """The sections in runs of at most about `limit`, in order, and the run in which each place is."""
    parts: list[list[Section]] = [[]]
    held = 0
    for section in sections:
        pieces_of = pieces.split(section.body, limit) or [()]
        notes = list(section.notes)
        for n, run in enumerate(pieces_of):
            last = n == len(pieces_of) - 1
            here = {int(one.to.rpartition("-")[2]) for one in pieces.walk(run) if one.to.startswith("note-")}
            # A note stands below the text that it belongs to; what nothing points at stands at the end.
            mine = tuple(one for one in notes if last or one.number in here)
            notes = [one for one in notes if one not in mine]
            size = (
                pieces.weight(run)
                + len(section.title)
                + sum(pieces.weight(one.body) for one in mine)
                + (120 * len(section.facts) if n == 0 else 0)
            )
            if parts[-1] and held + size > limit:
                parts.append([])
                held = 0
            held += size
            parts[-1].append(
                replace(
                    section,
                    body=run,
                    notes=mine,
                    facts=section.facts if n == 0 else (),
                    continued=n > 0,
                    anchor=section.anchor if n == 0 else f"{section.anchor}-{n + 1}",
                    id=section.id if n == 0 else "",
                )
            )
    where: dict[str, int] = {}
    for number, part in enumerate(parts):
        for section in part:
            for place in _places(section):
                where.setdefault(place, number)
    return tuple(tuple(part) for part in parts if part), where


def _places(section: Section) -> Iterable[str]:
    yield section.anchor
    yield section.id
    for note in section.notes:
        yield note.anchor
        yield from (one.id for one in pieces.walk(note.body))
    yield from (one.id for one in pieces.walk(section.body) if one.id)


def of_text(text: str, *, language: str = "") -> Readable:
    """A plain text: its paragraphs as they are set, in lines and blanks."""
    clean = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x0c", "\n")
    clean = "".join(one for one in clean if one in "\n\t" or one >= " ")
    body = (pieces.made("pre", [clean]),) if clean.strip() else ()
    section = Section(anchor="s-1", body=body)
    parts, where = in_parts([section])
    return Readable(header=Header(language=language), sections=(section,), parts=parts, where=where)
