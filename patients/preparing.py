"""Lines of an import made ready, in worker processes: what a record is matched by, and what is to be stored of it.

No database: what a line may say is told by a snapshot of the directory.

Source: design.md, Formats, import_patients.
"""

from __future__ import annotations

import json
import pickle
from array import array
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import orjson

from hie.directory import queries as directory
from hie.standards.demographics import Demographics, to_json
from patients import blocking, golden, store
from patients.errors import UnusableDemographics
from patients.linking import MAX_IDENTIFIER, check_repeats
from patients.normalise import features, storable
from patients.packing import packed
from patients.reading import Line, Portion, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """What a worker needs to know to read lines; no database."""

    authority: str
    participant_id: str
    places: directory.Directory
    hub_authority: str

    def said(self, demographics: Demographics) -> Demographics:
        """What a line says of itself: without the hub's own identifiers, which come back from whoever read the patient."""
        if all(item.authority != self.hub_authority for item in demographics.identifiers):
            return demographics
        kept = tuple(item for item in demographics.identifiers if item.authority != self.hub_authority)
        return replace(demographics, identifiers=kept)

    def stolen(self, demographics: Demographics) -> str:
        """Why a line may not name an identifier that another participant issues: it would be evidence of being his."""
        for item in demographics.identifiers:
            issuer = self.places.authorities.get(item.authority) if item.system else None
            if issuer is None or item.authority == self.authority:
                continue
            near = self.places.within(issuer, self.participant_id) or self.places.within(self.participant_id, issuer)
            if not near:
                return f"Patient.identifier: identifiers of {item.authority} may only be fed by who issues them"
        return ""


class Prepared(NamedTuple):
    """A line read: refused for a `reason`, or its features, `packed`, and what is to be stored of it.

    `keys` are blocking keys, 8 bytes each, `finer` their refinement; `terms` search terms as COPY text that lacks the
    record; `blob` is the rest, a pickled `Kept`.
    """

    number: int
    value: str
    reason: str = ""
    digest: bytes = b""
    features: bytes = b""
    keys: bytes = b""
    finer: int = 0
    terms: bytes = b""
    blob: bytes = b""


# A line in the spool: number, value, digest, raw (JSON), normalised (JSON), what survives of it where it is alone: the
# demographics (JSON) and the names of the fields it is the source of; empty where that is to be worked out.
Kept = tuple[int, str, bytes, bytes, bytes, bytes, tuple[str, ...]]


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def copy_text(value: Any) -> str:
    """One value of COPY's text format."""
    if value is None:
        return "\\N"
    text = value if type(value) is str else str(value)
    return text if text.isprintable() and "\\" not in text else text.translate(_ESCAPES)


def copy_json(data: bytes) -> bytes:
    """JSON as a value of COPY's text format: JSON itself writes no character that this format takes for its own but one."""
    return data.replace(b"\\", b"\\\\")


def prepare(reader: Reader, portion: Portion) -> list[Prepared]:
    return [_prepared(reader, line) for line in parse(portion, authority=reader.authority)]


def _prepared(reader: Reader, line: Line) -> Prepared:
    if line.reason:
        return Prepared(number=line.number, value=_shown(line.value), reason=line.reason)
    if len(line.value) > MAX_IDENTIFIER // 2 or not storable(line.value):
        return Prepared(number=line.number, value=_shown(line.value), reason="the identifier is too long or no text")
    demographics = reader.said(line.demographics)
    try:
        check_repeats(demographics)
        stored = to_json(demographics)
        raw = store.canonical(stored)
    except UnusableDemographics as error:
        return Prepared(number=line.number, value=line.value, reason=str(error))
    reason = reader.stolen(demographics)
    if reason:
        return Prepared(number=line.number, value=line.value, reason=reason)
    cleaned = features(demographics, own=(reader.authority, line.value))
    digest = store.digest_of(raw)
    shown, said = golden.alone(demographics, stored, authority=reader.authority, value=line.value) or (None, ())
    kept: Kept = (
        line.number, line.value, digest, raw, dumped(cleaned.to_json()), dumped(shown) if shown else b"", said,
    )  # fmt: skip
    terms = [f"{field}\t{copy_text(term)}\n" for field, term in store.terms(demographics)]
    return Prepared(
        number=line.number,
        value=line.value,
        digest=digest,
        features=packed(cleaned),
        keys=array("q", blocking.hashes(cleaned)).tobytes(),
        finer=blocking.refinement(cleaned),
        terms="".join(terms).encode(),
        blob=pickle.dumps(kept, protocol=pickle.HIGHEST_PROTOCOL),
    )


def _shown(value: str) -> str:
    """An identifier that may be no text, as a report names it: so much of it as can be stored."""
    text = value[: MAX_IDENTIFIER // 2]
    return text if storable(text) else ""


def dumped(data: Any) -> bytes:
    """JSON data as bytes."""
    try:
        return orjson.dumps(data)
    except TypeError:  # a number of more than 64 bits
        return json.dumps(data).encode()
