"""On-demand documents of this repository, made when they are asked for [ITI-43, ITI-68]: a summary of what the caller may read.

It is made of the patient's stable, approved documents that this caller may retrieve now, each decided by itself at the one
door, so it holds nothing that could not be retrieved one by one. What is hidden is as what does not exist: it is in no
count, number, time or id of the summary; with nothing to be read the summary says that nothing is known, whatever there is.

C-CDA documents with a structured body are put in, newest first, as far as `MAX_DOCUMENTS` and `MAX_BYTES` reach; all else is
named, and why it is only named. The same documents make the same bytes under the same id, so a range of one is a range of
the other.

Source: IHE ITI TF-2 3.43.4.2; spec/xds.md 6; spec/consent.md 6 ("How a deny looks"), 13.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from documents import dtm
from documents import queries as registry
from documents.errors import ContentUnavailable
from documents.filters import EntryFilter
from documents.metadata import STABLE, AssociationType, Status
from documents.queries import EntryRow
from documents.query_parameters import OFFLINE
from hie.directory import queries as directory
from hie.exchange import access, as_seen, content, find
from hie.exchange.access import DemographicsRow, Shown, Subject, Verdict
from hie.standards import ccda_summary, cda, mime, oids, xml
from hie.standards.ccda_summary import About, Body, Hub, Listed
from hie.standards.cda_merge import Heading, Merge
from hie.standards.demographics import Demographics, authority_of
from hie.standards.errors import MalformedContent
from hie.standards.facts import Caller, Operation
from patients import queries as index

MAX_DOCUMENTS = 50
"""Documents that are put into one summary, the newest ones."""
MAX_BYTES = 8 << 20
"""Bytes of all documents that are put into one summary: two to three seconds of work, about 80 MB while it is made."""
MAX_OPENED = 200
"""Documents that are looked into for whether they can be put in."""
MAX_LISTED = 1000
"""Documents that are named in one summary."""
AT_ONCE = 4
"""On-demand documents that are made for one request."""
CHUNK = 256 << 10

_NO_SUMMARY = "not a C-CDA document with sections"
_ELSEWHERE = "kept by another repository"
_SNAPSHOT = "itself a summary made on demand"
_TOO_MUCH = "beyond what one summary holds"
_DAMAGED = "could not be read"
_CURRENT = EntryFilter(statuses=(Status.APPROVED,), object_types=(STABLE,), superseded_too=True)
_LOINC = oids.URI_OF_OID["2.16.840.1.113883.6.1"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An on-demand document as it was made: `unique_id` is the OID of what was made, another for other content."""

    data: bytes = field(repr=False)
    unique_id: str

    def chunks(self, first: int, last: int) -> Iterator[bytes]:
        """From one byte to another, inclusive."""
        for start in range(first, last + 1, CHUNK):
            yield self.data[start : min(start + CHUNK, last + 1)]


class Gathered:
    """What a caller may read of one patient, decided once for all on-demand documents of a request; then `made` of it.

    An entry that hangs on an identifier whose record the caller may not know of is made of what hangs on that identifier
    alone: whose it is would be told by the rest (spec/consent.md 8).
    """

    def __init__(self, caller: Caller, about: Subject) -> None:
        self._about = about
        asked: list[access.Row] = [
            *registry.entries(about.identifier_pks, _CURRENT), *access.demographics_rows(about.records)
        ]  # fmt: skip
        verdict = access.permitted(caller, about, asked, Operation.RETRIEVE)
        self._verdict: Verdict[Any] = as_seen.as_asked(caller, about, verdict, _CURRENT)
        seen = [row for row in self._verdict.rows() if isinstance(row, EntryRow) and not _is_offline(row)]
        self._snapshots = {
            row.entry_uuid for row in as_seen.telling_what_is_seen(caller, about, seen) if _is_snapshot(row)
        }
        self._seen = seen
        self._records = [row for row in self._verdict.rows() if isinstance(row, DemographicsRow)]
        self._contents: dict[int | None, _Contents] = {}

    def made(self, entry: EntryRow, letter: str) -> Made:
        """The document of an on-demand entry that may be read; `letter` its own confidentiality."""
        stated = entry.metadata
        contents = self._of(entry)
        kind = stated.type_code
        is_loinc = kind is not None and oids.compared_scheme(kind.scheme) == _LOINC
        known, ids = self._patient(entry, contents)
        about = About(
            salt=entry.entry_uuid,
            title=stated.title or "Summary of documents",
            made_at=_ts(max([entry.registered_at, *(row.registered_at for row in contents.rows())])),
            language=stated.language_code or "en-US",
            level=self._level(letter, contents),
            hub=Hub(
                oid=oids.bare(settings.HOME_COMMUNITY_ID),
                name=settings.HUB_NAME,
                software="Health information exchange",
            ),
            code=(kind.code, kind.display) if kind is not None and is_loinc else (ccda_summary.SUMMARY, ""),
            patient_ids=ids,
            patient=known,
            period=_period(contents.put_in),
        )
        made = contents.body.summary(about)
        return Made(data=made.data, unique_id=made.unique_id)

    def leaves(self) -> Verdict[Any]:
        """What was decided, with only what is in the documents made among the permitted."""
        leaving = {id(row) for one in self._contents.values() for row in (*one.rows(), *one.records)}
        return replace(
            self._verdict,
            permitted=tuple(item for item in self._verdict.permitted if id(item[0]) in leaving),
            denied=tuple(item for item in self._verdict.denied if not _is_anchor(item[0])),
        )

    def what(self, row: Any, of_bytes: str = "bytes") -> str:
        """What of a row leaves; `of_bytes` of documents that were put in, and of those asked for."""
        if isinstance(row, DemographicsRow):
            return "demographics"
        put_in = any(one is row for contents in self._contents.values() for one in contents.put_in)
        named = any(one is row for contents in self._contents.values() for one in contents.named)
        return "metadata" if named and not put_in else of_bytes

    def left(self, entry: EntryRow) -> Left:
        """What left with the document of an entry, to be asked about again."""
        contents = self._of(entry)
        return Left(
            entry_uuids=frozenset(row.entry_uuid for row in (entry, *contents.rows())),
            record_ids=frozenset(row.record.source_record_id for row in contents.records),
        )

    def _of(self, entry: EntryRow) -> _Contents:
        hidden = {record.identifier_pk for record in self._about.records if record.participant_id != directory.HUB}
        hidden -= {row.record.identifier_pk for row in self._records}
        reach = entry.identifier_pk if entry.identifier_pk in hidden else None
        if reach not in self._contents:
            rows = [row for row in self._seen if reach is None or row.identifier_pk == reach]
            records = [] if reach is not None else [row for row in self._records if _is_current(row)]
            self._contents[reach] = _Contents(self._verdict, _once(rows), self._snapshots, records)
        return self._contents[reach]

    def _patient(self, entry: EntryRow, contents: _Contents) -> tuple[Demographics, tuple[tuple[str, str], ...]]:
        """Who the patient is by the records that the caller may know of; by none of them, the identifier of the entry alone."""
        records = [row.record for row in contents.records]
        if records:
            ids = sorted({(record.authority, record.value) for record in records})
            return index.golden(records, about=self._about.records), tuple(ids)
        cx = entry.metadata.patient_id
        return Demographics(), ((authority_of(cx.authority), cx.value),) if cx is not None else ()

    def _level(self, letter: str, contents: _Contents) -> str:
        facts = self._verdict.facts
        letters = [letter, *(access.effective(facts[id(row)], self._verdict)[0] for row in contents.rows())]
        return next((one for one in "VR" if one in letters), "N")


class _Contents:
    """What documents that may be read are as one body: those `put_in`, those `named`; and the records that say whose it is."""

    def __init__(
        self, verdict: Verdict[Any], rows: Sequence[EntryRow], snapshots: set[str], records: list[DemographicsRow]
    ) -> None:
        self._verdict = verdict
        self.records = records
        self.put_in: list[EntryRow] = []
        self.named: list[EntryRow] = []
        self.body = self._merged(rows, snapshots)

    def rows(self) -> list[EntryRow]:
        """All documents of which anything is in it."""
        return [*self.put_in, *self.named]

    def _merged(self, rows: Sequence[EntryRow], snapshots: set[str]) -> Body:
        merge, left = Merge(), MAX_BYTES
        listed: list[Listed] = []
        opened = over = unnamed = 0
        for row in rows:
            why = _SNAPSHOT if row.entry_uuid in snapshots else "" if row.binary_id else _ELSEWHERE
            if not why and not _may_be_cda(row):
                why = _NO_SUMMARY
            if not why and (len(self.put_in) >= MAX_DOCUMENTS or opened >= MAX_OPENED):
                why = _TOO_MUCH
            if not why:
                opened += 1
                why, size = self._put(merge, row, left)
                left -= size
            over += why == _TOO_MUCH
            if not why:
                self.put_in.append(row)
            elif len(listed) < MAX_LISTED:
                listed.append(_listed(row, why))
                self.named.append(row)
            else:
                unnamed += 1
        return Body(merge, listed, _note(over, unnamed))

    def _put(self, merge: Merge, row: EntryRow, left: int) -> tuple[str, int]:
        """Put a document of at most so many bytes in; why it cannot be ("" where it is), and the bytes read for it."""
        try:
            opened = access.open_permitted(self._verdict, row, row.binary_id or "")
            if opened.size > left:
                return _TOO_MUCH, 0
            first = next(opened.chunks, b"")
            if not mime.is_cda(first[: 16 * mime.SNIFF_BYTES]):
                return _NO_SUMMARY, 0
            root = xml.parse(b"".join([first, *opened.chunks]), limits=cda.LIMITS)
        except (ContentUnavailable, MalformedContent):
            return _DAMAGED, row.metadata.size or 0
        taken = merge.add(root, _heading(row, cda.header_of(root)))
        return "" if taken else _NO_SUMMARY, opened.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What a summary on its way is made of, by ids: entries, its own among them, and source records."""

    entry_uuids: frozenset[str]
    record_ids: frozenset[int]

    def again(self, about: Subject) -> list[access.Row]:
        """All of it as it is now; [] when something is no longer there or no longer about this person."""
        now = registry.entries_by_uuid(self.entry_uuids)
        pks = set(about.identifier_pks)
        rows = access.demographics_rows(about.records)
        records = [row for row in rows if _is_current(row) and row.record.source_record_id in self.record_ids]
        whole = len(now) == len(self.entry_uuids) and len(records) == len(self.record_ids)
        return [*now.values(), *records] if whole and all(row.identifier_pk in pks for row in now.values()) else []


def together(requested: Verdict[Any], gathered: Gathered | None, leaving: Iterable[EntryRow]) -> Verdict[Any]:
    """One verdict on the documents that were asked for, of which these leave, and on those that summaries are made of.

    A document that leaves both ways is there once, as the one that was asked for.
    """
    ids = {id(row) for row in leaving}
    asked = tuple(item for item in requested.permitted if id(item[0]) in ids)
    if gathered is None:
        return replace(requested, permitted=asked)
    inner = gathered.leaves()
    named = {requested.facts[id(row)].id for row, _ in (*asked, *requested.denied)}
    return replace(
        requested,
        permitted=(*asked, *(item for item in inner.permitted if inner.facts[id(item[0])].id not in named)),
        denied=(*requested.denied, *(item for item in inner.denied if inner.facts[id(item[0])].id not in named)),
        facts={**requested.facts, **inner.facts},
        elapsed_us=requested.elapsed_us + inner.elapsed_us,
    )


def shown(row: Any) -> Shown:
    """How the patient's log calls what left."""
    if isinstance(row, DemographicsRow):
        return Shown(document_id=row.facts("").id, type_display="Demographics")
    return find.shown(row)


def _is_anchor(row: Any) -> bool:
    """Whether a row is a record that only gives the person an identifier of the hub's own."""
    return isinstance(row, DemographicsRow) and row.record.participant_id == directory.HUB


def _is_current(row: DemographicsRow) -> bool:
    """Whether a record is what a participant says now of who the patient is."""
    return row.record.active and not _is_anchor(row)


def _period(rows: Sequence[EntryRow]) -> tuple[str, str]:
    """From when to when documents speak; "" where none says."""
    starts = [_day(row.metadata.service_start_time or row.metadata.creation_time) for row in rows]
    stops = [
        _day(row.metadata.service_stop_time or row.metadata.service_start_time or row.metadata.creation_time)
        for row in rows
    ]
    return min(filter(None, starts), default=""), max(filter(None, stops), default="")


def _once(seen: Sequence[EntryRow]) -> list[EntryRow]:
    """Each document once, by its uniqueId and by its bytes, in the order given.

    What is kept elsewhere only says which bytes it has: it stands for nothing that is kept here.
    """
    kept: set[int] = set()
    met: set[str] = set()
    for row in sorted(seen, key=lambda row: row.binary_id is None):
        stated = row.metadata
        marks = {stated.unique_id, *([f"sha1:{stated.hash.lower()}"] if stated.hash and row.binary_id else [])}
        if met.isdisjoint(marks):
            kept.add(id(row))
        met |= marks
    return [row for row in seen if id(row) in kept]


def _is_offline(row: EntryRow) -> bool:
    return row.metadata.document_availability == OFFLINE


def _is_snapshot(row: EntryRow) -> bool:
    return any(one.type is AssociationType.IS_SNAPSHOT_OF and one.source == row.entry_uuid for one in row.associations)


def _may_be_cda(row: EntryRow) -> bool:
    declared = mime.parse(row.metadata.mime_type)
    return content.claims_cda(row.metadata) or (declared is not None and declared.is_xml)


def _heading(row: EntryRow, header: cda.CdaHeader) -> Heading:
    stated = row.metadata
    organizations = [one.organization_name for one in header.authors]
    organizations += [header.custodian.organization_name] if header.custodian is not None else []
    organizations += [one.name for author in stated.authors for one in author.institutions]
    title = stated.title or header.title or _kind(row)
    made_on = stated.creation_time or cda.to_utc(header.effective_time) or ""
    return Heading(
        title=title,
        organization=next(filter(None, organizations), ""),
        day=_written(made_on),
        language=header.language or stated.language_code or "",
    )


def _listed(row: EntryRow, why: str) -> Listed:
    stated = row.metadata
    return Listed(
        title=stated.title or _kind(row),
        type=_kind(row),
        day=_written(stated.creation_time or ""),
        unique_id=stated.unique_id,
        why=why,
    )


def _kind(row: EntryRow) -> str:
    code = row.metadata.type_code or row.metadata.class_code
    return (code.display or code.code) if code is not None else row.metadata.mime_type


def _note(over: int, unnamed: int) -> str:
    said = []
    if over:
        said.append(
            f"Of the patient's documents the newest are put in, at most {MAX_DOCUMENTS} documents and"
            f" {MAX_BYTES >> 20} MiB. {over} more are left out; they can be retrieved by themselves."
        )
    if unnamed:
        said.append(f"{unnamed} older documents are not named here; a search finds them.")
    return " ".join(said)


def _day(time: str | None) -> str:
    return (time or "")[:8]


def _written(time: str) -> str:
    """A DTM as a date ``YYYY-MM-DD``, shorter where it is."""
    return dtm.to_fhir(time[:8]) if time else ""


def _ts(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%d%H%M%S}+0000"
