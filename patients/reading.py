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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import orjson

from hie.standards.demographics import Demographics, authority_of
from hie.standards.errors import MalformedContent
from hie.standards.fhir_patient import from_fhir
from patients.columns import ColumnMap, column_map, demographics_of, identifier_of
from patients.errors import UnusableFile

_MAX_LINE = 4_000_000
_PORTION_BYTES = 8_000_000
_UNREADABLE = (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error)

Opener = Callable[[], IO[bytes]]
"""Opens the bytes of a file from their beginning; plain or gzip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line: a record's `value` (local identifier) and demographics, or the `reason` it is refused for.

    `key` is the identifier by which the line is spoken of where there is no participant. A line that is refused keeps
    its `value` where it has one that can be read.
    """

    number: int
    value: str = ""
    key: str = ""
    demographics: Demographics = field(default_factory=Demographics)
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """Some lines of a file as they stand in it, to be parsed by whoever has the time; `first` is the number of the first.

    NDJSON as bytes, CSV as its cells; `columns` and `header` belong to CSV.
    """

    first: int
    rows: Sequence[bytes] | Sequence[list[str]]
    columns: ColumnMap | None = None
    header: tuple[str, ...] = ()


def read(path: Path, *, authority: str | None, columns: Mapping[str, Any] | None = None) -> Iterator[Line]:
    """Every line of the file, in order; blank lines are passed over and not counted.

    With `authority` (bare OID) a FHIR Patient must have exactly one identifier in it. CSV is told by its
    first character: a line that does not begin with ``{``.

    Raises:
        UnusableFile: the file cannot be opened, breaks off in the middle of its packing, or the column map does not
            fit its header.
    """
    for portion in portions(lambda: path.open("rb"), columns=columns, name=path.name):
        yield from parse(portion, authority=authority)


def portions(
    opener: Opener, *, columns: Mapping[str, Any] | None = None, size: int = 2000, name: str = "the file"
) -> Iterator[Portion]:
    """The file in portions of at most `size` lines, in order. Memory is bounded whatever the file.

    Raises:
        UnusableFile: as `read`.
    """
    try:
        with ExitStack() as held:
            raw = held.enter_context(closing(io.BufferedReader(cast(Any, opener()))))
            packed = raw.peek(2)[:2] == b"\x1f\x8b"
            stream = held.enter_context(io.BufferedReader(gzip.GzipFile(fileobj=raw))) if packed else raw
            if stream.peek(3)[:3] == b"\xef\xbb\xbf":
                stream.read(3)
            first = _line(stream)
            while first and not first.strip():
                first = _line(stream)
            if first.lstrip().startswith(b"{"):
                yield from _of_bytes(itertools.chain([first], iter(lambda: _line(stream), b"")), size)
            else:
                yield from _of_cells(first, stream, columns, size)
    except _UNREADABLE as error:
        raise UnusableFile(f"{name} cannot be read: {error.__class__.__name__}") from error


def check_named(portion: Portion | None) -> None:
    """Refuse a file of a participant's records that does not say which column names them.

    Raises:
        UnusableFile: CSV without a column for the identifier.
    """
    if portion is not None and portion.columns is not None and "identifier" not in portion.columns.fields:
        raise UnusableFile("no column is the identifier: name it in a column map", element="columns.identifier")


def _line(stream: IO[bytes]) -> bytes:
    """One line, cut where it is longer than any patient: the rest of it is passed over."""
    line = stream.readline(_MAX_LINE)
    if len(line) == _MAX_LINE and not line.endswith(b"\n"):
        while (rest := stream.readline(_MAX_LINE)) and not rest.endswith(b"\n"):
            pass
    return line


def _of_bytes(lines: Iterator[bytes], size: int) -> Iterator[Portion]:
    rows: list[bytes] = []
    first, held = 1, 0
    for line in lines:
        if not line.strip():
            continue
        rows.append(line)
        held += len(line)
        if len(rows) == size or held > _PORTION_BYTES:
            yield Portion(first=first, rows=rows)
            first, rows, held = first + len(rows), [], 0
    if rows:
        yield Portion(first=first, rows=rows)


def _of_cells(first: bytes, stream: IO[bytes], columns: Mapping[str, Any] | None, size: int) -> Iterator[Portion]:
    text = io.TextIOWrapper(cast(Any, stream), encoding="utf-8", errors="surrogateescape", newline="")
    try:
        opening = first.decode("utf-8", "surrogateescape")
        reader = csv.reader(itertools.chain([opening] if opening else [], text), skipinitialspace=True)
        header = tuple(name.strip() for name in next(reader, []))
        if not any(header):
            raise UnusableFile("the file is empty")
        chosen = column_map(columns, header)
        number = 1
        rows = (row for row in reader if any(cell.strip() for cell in row))
        while some := list(itertools.islice(rows, size)):
            yield Portion(first=number, rows=some, columns=chosen, header=header)
            number += len(some)
    finally:
        text.detach()


def parse(portion: Portion, *, authority: str | None) -> list[Line]:
    """The lines of a portion; with `authority` as `read` says. Pure."""
    if portion.columns is None:
        return [
            _ndjson(number, cast(bytes, row), authority) for number, row in enumerate(portion.rows, start=portion.first)
        ]
    return [
        _csv(number, cast("list[str]", row), portion.header, portion.columns, authority)
        for number, row in enumerate(portion.rows, start=portion.first)
    ]


def _json(row: bytes) -> Any:
    try:
        return orjson.loads(row)
    except ValueError:
        return json.loads(row.decode())  # slower, and takes what only that one takes: numbers of any length


def _ndjson(number: int, row: bytes, authority: str | None) -> Line:
    if len(row) >= _MAX_LINE:
        return Line(number=number, reason=f"longer than {_MAX_LINE} bytes")
    try:
        resource = _json(row)
    except UnicodeDecodeError:
        return Line(number=number, reason="not UTF-8")
    except (ValueError, RecursionError):
        return Line(number=number, reason="not JSON")
    stated = _stated(resource, authority)
    try:
        demographics = from_fhir(resource, typing_errors=True)
    except MalformedContent as error:
        return Line(number=number, value=stated, reason=str(error))
    for element in ("modifierExtension", "implicitRules"):
        if element in resource:
            reason = f"Patient.{element}: not understood here, and may not be ignored"
            return Line(number=number, value=stated, reason=reason)
    if _is_replaced(resource):
        reason = "Patient.link: a record that another replaces is fed by itself (ITI-104)"
        return Line(number=number, value=stated, reason=reason)
    own = [item for item in demographics.identifiers if authority is not None and item.authority == authority]
    values = sorted({item.value for item in own if item.value})
    if authority is not None and len(values) != 1:
        found = "no identifier" if not values else f"{len(values)} identifiers"
        return Line(number=number, reason=f"Patient.identifier: {found} in the participant's own authority")
    named = [item for item in demographics.identifiers if item.value]
    key = named[0].key if named else str(resource.get("id") or number)
    return Line(number=number, value=values[0] if values else "", key=key, demographics=demographics)


def _stated(resource: Any, authority: str | None) -> str:
    """The one identifier in this authority that a line names, whatever else is wrong with it; "" where none does."""
    items = resource.get("identifier") if isinstance(resource, dict) else None
    found = {
        item["value"]
        for item in (items if isinstance(items, list) else ())
        if isinstance(item, dict)
        and isinstance(item.get("system"), str)
        and isinstance(item.get("value"), str)
        and authority_of(item["system"]) == authority
    }
    return found.pop() if len(found) == 1 else ""


def _is_replaced(resource: Mapping[str, Any]) -> bool:
    links = resource.get("link")
    return isinstance(links, list) and any(isinstance(one, dict) and one.get("type") == "replaced-by" for one in links)


def _not_utf8(text: str) -> bool:
    """Whether bytes of this text could not be read (they come as lone surrogates)."""
    return not text.isascii() and any("\udc80" <= char <= "\udcff" for char in text)


def _csv(number: int, cells: list[str], header: tuple[str, ...], columns: ColumnMap, authority: str | None) -> Line:
    if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
        # Which cell is the identifier is not known: a comma too many may stand before it.
        return Line(number=number, reason=f"{len(cells)} cells, but the header has {len(header)}")
    row = dict(zip(header, cells, strict=False))
    value = identifier_of(row, columns)
    if any(map(_not_utf8, cells)):
        return Line(number=number, value=value, reason="not UTF-8")
    if any("\x00" in cell for cell in cells):
        return Line(number=number, value=value, reason="a cell holds NUL")
    if authority is None and "identifier" not in columns.fields:
        value = str(number)  # where nobody owns the file, a line may go by its number
    if not value:
        return Line(number=number, reason="no identifier")
    if "\n" in value or "\r" in value:
        return Line(number=number, reason="the identifier runs over several lines: a quote is not closed")
    return Line(number=number, value=value, key=value, demographics=demographics_of(row, columns))
