"""Files of patients, line by line: NDJSON of FHIR Patients, or CSV; plain or gzip. No database.

A line that cannot be taken is refused with its reason and stops nothing.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hie.standards.demographics import Demographics
from hie.standards.errors import MalformedContent
from hie.standards.fhir_patient import from_fhir
from patients.columns import column_map, demographics_of, identifier_of
from patients.errors import UnusableFile

_MAX_LINE = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line: a record's `value` (local identifier) and demographics, or the `reason` it is refused for.

    `key` is the identifier by which the line is spoken of where there is no participant.
    """

    number: int
    value: str = ""
    key: str = ""
    demographics: Demographics = field(default_factory=Demographics)
    reason: str = ""


def read(path: Path, *, authority: str | None, columns: Mapping[str, Any] | None = None) -> Iterator[Line]:
    """Every line of the file, in order; blank lines of NDJSON are passed over.

    With `authority` (bare OID) a FHIR Patient must have exactly one identifier in it. CSV is told by its
    first character: a line that does not begin with ``{``.

    Raises:
        UnusableFile: the file cannot be opened, breaks off in the middle of its packing, or the column map does not fit its header.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with (
            (gzip.open if packed else Path.open)(path, "rb") as stream,
            io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="") as text,
        ):
            first = text.readline(_MAX_LINE)
            while first and not first.strip():
                first = text.readline(_MAX_LINE)
            lines = itertools.chain([first], text)
            if first.lstrip().startswith("{"):
                yield from _ndjson(lines, authority)
            else:
                yield from _csv(lines, columns)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise UnusableFile(f"{path.name} cannot be read: {error.__class__.__name__}") from error


def _not_utf8(text: str) -> bool:
    """Whether bytes of this text could not be read (they come as lone surrogates)."""
    return not text.isascii() and any("\udc80" <= char <= "\udcff" for char in text)


def _ndjson(lines: Iterator[str], authority: str | None) -> Iterator[Line]:
    number = 0
    for text in lines:
        if not text.strip():
            continue
        number += 1
        if _not_utf8(text):
            yield Line(number=number, reason="not UTF-8")
            continue
        try:
            resource = json.loads(text)
        except (ValueError, RecursionError):
            yield Line(number=number, reason="not JSON")
            continue
        try:
            demographics = from_fhir(resource, typing_errors=True)
        except MalformedContent as error:
            yield Line(number=number, reason=str(error))
            continue
        own = [item for item in demographics.identifiers if authority is not None and item.authority == authority]
        values = sorted({item.value for item in own if item.value})
        if authority is not None and len(values) != 1:
            found = "no identifier" if not values else f"{len(values)} identifiers"
            yield Line(number=number, reason=f"Patient.identifier: {found} in the participant's own authority")
            continue
        named = [item for item in demographics.identifiers if item.value]
        key = named[0].key if named else str(resource.get("id") or number)
        yield Line(number=number, value=values[0] if values else "", key=key, demographics=demographics)


def _csv(lines: Iterator[str], columns: Mapping[str, Any] | None) -> Iterator[Line]:
    reader = csv.reader(lines, skipinitialspace=True)
    header = [name.strip() for name in next(reader, [])]
    if not any(header):
        raise UnusableFile("the file is empty")
    chosen = column_map(columns, header)
    for number, cells in enumerate((row for row in reader if any(cell.strip() for cell in row)), start=1):
        if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
            yield Line(number=number, reason=f"{len(cells)} cells, but the header has {len(header)}")
            continue
        row = dict(zip(header, cells, strict=False))
        if any(map(_not_utf8, cells)):
            yield Line(number=number, reason="not UTF-8")
            continue
        if any("\x00" in cell for cell in cells):
            yield Line(number=number, reason="a cell holds NUL")
            continue
        value = identifier_of(row, chosen)
        if not value:
            yield Line(number=number, reason="no identifier")
            continue
        if "\n" in value or "\r" in value:
            yield Line(number=number, reason="the identifier runs over several lines: a quote is not closed")
            continue
        yield Line(number=number, value=value, key=value, demographics=demographics_of(row, chosen))
