"""Bulk import: a file of one participant's records into the index, in committed portions.

Three steps for each slice of at most a million new records. **Read**: lines are made ready in worker processes
(`patients.preparing`); what is refused or unchanged is settled at once. **Match**: the new records are compared
among themselves and with what the index holds, each pair once by the same scorer as a single feed, and put
together by the same test (`patients.bulk`). **Store**: whole persons at a time, by COPY (`patients.copying`), a
few thousand records a transaction, with what became of each line in the same transaction. Records that the
index knows already then go through `feed`.

Nothing is visible before its person is settled. An import that breaks off leaves what was committed, and goes on
from there when it is carried on or repeated: a line with an `ImportLine` is settled, a record that is known and the
same is ``unchanged``. Feeds wait for one transaction of the store at most, reads for none.

Source: spec/mpi.md section 3; design.md, Formats, import_patients.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import uuid
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone

from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.directory import queries as directory
from hie.standards.demographics import from_json
from hie.standards.errors import HubError
from patients import blocking, bulk, models_of_match, store
from patients.ahead import RECORDS as AHEAD
from patients.ahead import Ahead, settle, take_back
from patients.copying import TABLES, Counts, Group, Rows, Stage, rows_of
from patients.demographics import RecordFeed, authority_of, system_of
from patients.errors import UnusableFile
from patients.identifiers import survivors_of
from patients.import_runs import authority_for, caller_of, one_at_a_time, start
from patients.linking import feed
from patients.meanwhile import Asked, Late
from patients.models import ImportLine, ImportRun
from patients.packing import Records
from patients.preparing import Kept, Prepared, Reader, prepare
from patients.reading import Opener, Portion, check_named, portions

log = logging.getLogger(__name__)

SLICE = 1_000_000
"""New records matched together: what bounds the memory of an import."""
CHUNK = 2_000
"""Records stored in one transaction: what bounds how long a feed waits."""
MANY = 50_000
"""Records after which the tables are gone over at once when the run is done."""
_FED = 100
MAX_ATTEMPTS = 5

Progress = Callable[[ImportRun], None]

_COUNTED = {
    "new": "new", "linked": "linked", "review": "review", "quarantined": "review", "updated": "updated",
    "refused": "refused",
}  # fmt: skip
_COPIED = (
    "patients_person", "patients_sourcerecord", "patients_sourcerecordversion", "patients_patientidentifier",
    "patients_link", "patients_blockingkey", "patients_searchterm",
)  # fmt: skip

_KNOWN = """
SELECT i.value, i.source_record_id, CASE WHEN r.status <> 'removed' THEN v.digest END
  FROM patients_patientidentifier i
  JOIN patients_sourcerecord r ON r.id = i.source_record_id
  LEFT JOIN patients_sourcerecordversion v ON v.id = r.current_version_id
 WHERE i.authority = %s AND i.value = ANY(%s)
"""


# --- the run ----------------------------------------------------------------------------------------------------------


def import_file(
    path: Path,
    *,
    participant_id: str,
    columns: Mapping[str, Any] | None = None,
    run: ImportRun | None = None,
    progress: Progress | None = None,
) -> ImportRun:
    """Import a file and give the run when all is settled; what came of its lines is told by `lines_of`.

    Raises:
        UnusableFile: the file or its column map is unusable, or the participant is unknown or issues no
            identifiers, or is not active now. Of a file that breaks off within its first slice nothing is stored.
    """
    authority_for(participant_id)
    run = run or start(participant_id, columns=columns)
    with one_at_a_time(wait=True):
        carry_on(run, lambda: path.open("rb"), progress=progress)
    return run


def carry_on(run: ImportRun, opener: Opener, *, progress: Progress | None = None) -> None:
    """Settle what of a run is not settled yet; the caller holds `one_at_a_time`. A finished run is left as it is.

    Where the database goes away in the middle the run stays running, for whoever carries it on.

    Raises:
        UnusableFile: as `import_file`; the run has failed, what was committed stays.
    """
    run.refresh_from_db()
    if run.status != ImportRun.Status.RUNNING:
        return
    try:
        if run.attempts >= MAX_ATTEMPTS:
            raise UnusableFile(f"broke off {run.attempts} times at the same place")
        ImportRun.objects.filter(pk=run.pk).update(attempts=F("attempts") + 1)
        # Of other runs too: a command that was killed is repeated as another run, and nobody carries the first one on.
        for broken in ImportRun.objects.filter(ahead_first__isnull=False):
            take_back(broken)
        importing = _Import(run, authority_for(run.participant_id), progress)
        importing.settle(opener)
        if importing.stored >= MANY:
            _tidy()
    except (OperationalError, InterfaceError):
        raise
    except BaseException as error:
        take_back(run)
        message = str(error) if isinstance(error, UnusableFile) else error.__class__.__name__
        ImportRun.objects.filter(pk=run.pk).update(
            status=ImportRun.Status.FAILED, message=message, finished_at=timezone.now()
        )
        run.refresh_from_db()
        raise
    run.refresh_from_db()


# --- one import -------------------------------------------------------------------------------------------------------


class _Slice:
    """The lines of one slice: new records with their keys, and those that the index knew (`again_spool`)."""

    def __init__(self) -> None:
        self.spool, self.again_spool = bulk.Spool(), bulk.Spool()
        self.ahead = Ahead()
        self.records = Records()
        self.count = 0  # new ones; the known ones follow
        self.known: list[tuple[int, uuid.UUID]] = []  # record, person
        self.by_hand: set[uuid.UUID] = set()
        self.known_keys, self.known_sizes = array("q"), list[int]()
        self.seen: set[str] = set()

    def add(self, lines: Sequence[Prepared]) -> None:
        """Further new records."""
        self.records.add_packed(line.features for line in lines)
        self.count = len(self.records)
        self.spool.put(line.blob for line in lines)
        self.ahead.add(lines)

    def add_known(self, known: Iterable[store.CandidateRecord]) -> None:
        """What the index holds near the new records; none of these comes any more."""
        sizes: list[int] = []
        for item in known:
            self.records.add([item.features])
            self.known.append((item.record_id, item.person_id))
            if item.by_hand:
                self.by_hand.add(item.person_id)
            hashes = blocking.hashes(item.features)
            self.known_keys.extend(hashes)
            sizes.append(len(hashes))
        self.known_sizes = sizes

    def pairs(self) -> bulk.Pairs:
        """Pairs to compare: of new records, and of new ones with the known ones that follow them."""
        keys, owners = self.ahead.keys()
        if self.known:
            others = np.arange(self.count, len(self.records), dtype=np.int32)
            keys = np.concatenate([keys, np.frombuffer(self.known_keys, dtype=np.int64)])
            owners = np.concatenate([owners, np.repeat(others, self.known_sizes)])
        return bulk.pairs(keys, owners, self.records, asking=self.count)

    def close(self) -> None:
        """Let go of the files."""
        self.spool.close()
        self.again_spool.close()
        self.ahead.close()


class _Import:
    """One run under way."""

    def __init__(self, run: ImportRun, authority: str, progress: Progress | None) -> None:
        self.run = run
        self.authority = authority
        self.system = system_of(authority)
        self.progress = progress
        self.actor = str(run.actor.get("user_id") or run.participant_id)
        self.reader = Reader(
            authority=authority,
            participant_id=run.participant_id,
            places=directory.snapshot(),
            hub_authority=authority_of(settings.HUB_ASSIGNING_AUTHORITY),
        )
        self.late_after = 0
        self.late = Late()
        self.given_up: list[int] = []
        self.stored = 0

    def settle(self, opener: Opener) -> None:
        crew = bulk.Workers(self.reader, processes=1)
        try:
            some = portions(opener, columns=self.run.columns)
            first = next(some, None)
            check_named(first)
            if first is not None:
                if len(first.rows) >= CHUNK:
                    crew = bulk.Workers(self.reader, processes=os.cpu_count() or 1)
                self._slices(crew, _chained(first, some))
        finally:
            crew.close()
        self._finish()

    def _slices(self, crew: bulk.Workers, some: Iterator[Portion]) -> None:
        current = _Slice()
        try:
            for lines in crew.map(prepare, some):
                self._take(current, lines)
                if len(current.records) >= SLICE:
                    self._store(current)
                    current.close()
                    current = _Slice()
            # All is read: what the readers remember (names, dates, places) is memory that matching can do with.
            crew.close()
            self._store(current)
        finally:
            current.close()

    def _take(self, current: _Slice, lines: list[Prepared]) -> None:
        """Settle what is refused or unchanged; keep the rest for its turn. One transaction."""
        numbers = [line.number for line in lines]
        settled = set(
            ImportLine.objects.filter(run=self.run, number__range=(numbers[0], numbers[-1])).values_list(
                "number", flat=True
            )
        )
        open_lines = [line for line in lines if line.number not in settled]
        known = self._known([line.value for line in open_lines if not line.reason])
        rows: list[tuple[Any, ...]] = []
        new: list[Prepared] = []
        counts: Counts = Counter()
        for line in open_lines:
            name = f"{self.system}|{line.value}" if line.value else ""
            if line.reason:
                counts["refused"] += 1
                rows.append((line.number, name, "refused", None, None, f"line {line.number}: {line.reason}"))
                continue
            record_id, digest = known.get(line.value, (None, b""))
            if record_id is not None and line.value not in current.seen and digest == line.digest:
                counts["unchanged"] += 1
                rows.append((line.number, name, "unchanged", record_id, None, ""))
            elif record_id is not None or line.value in current.seen:
                # What comes twice in one file is a revision of itself, in the order of the lines.
                current.seen.add(line.value)
                current.again_spool.put([line.blob])
            else:
                current.seen.add(line.value)
                new.append(line)
        if new:
            current.add(new)
        with transaction.atomic():
            self._write_lines(rows)
            self._count(counts, read=max(numbers))
        self._tell()

    def _known(self, values: list[str]) -> dict[str, tuple[int, bytes]]:
        """Which of these identifiers have a record: its id, and the digest of what is current (empty: not in use)."""
        if not values:
            return {}
        with connection.cursor() as cursor:
            cursor.execute(_KNOWN, [self.authority, values])
            return {value: (record_id, bytes(digest or b"")) for value, record_id, digest in cursor.fetchall()}

    # -- match and store --

    def _store(self, current: _Slice) -> None:
        if current.records:
            self._store_new(current)
        self._feed_again(current)

    def _store_new(self, current: _Slice) -> None:
        count = current.count
        current.spool.flush()
        with transaction.atomic():
            # No feed is under way now: whatever comes after this number is looked at when the records are stored.
            store.lock_index()
            self.late_after = _last_version()
        self.late = Late()
        if self.late_after:
            current.add_known(store.near_many(current.records))
        persons: list[uuid.UUID | None] = [None] * count + [person for _, person in current.known]
        some = current.pairs()
        scorer = models_of_match.for_population(current.records, some)
        found = bulk.scored(current.records, some, scorer)
        planned = bulk.plan(count, current.records, persons, found, scorer, by_hand=current.by_hand)
        del some, found
        stage = Stage(
            run_id=self.run.pk, participant_id=self.run.participant_id, authority=self.authority, actor=self.actor,
            now=timezone.now(), scorer=scorer, spool=current.spool, records=current.records, plan=planned,
        )  # fmt: skip
        asked = Asked(stage, dict(enumerate(current.known, start=count)))
        with bulk.workers(stage, wanted=count) as crew:
            for n, wave in enumerate(_waves(planned)):
                self._store_wave(stage, current, crew, wave, asked, first=n == 0)
        _analyse()
        self.stored += count

    def _store_wave(
        self, stage: Stage, current: _Slice, crew: bulk.Workers, wave: list[list[Group]], asked: Asked, *, first: bool
    ) -> None:
        records = [item for groups in wave for group in groups for item in zip(group.positions, group.ids, strict=True)]
        current.ahead.store(self.run, [position for position, _ in records], [ids[0] for _, ids in records])
        if first:
            # The planner knows nothing yet of what was copied in, and would read whole tables for each person.
            _analyse()
        for n, (groups, rows) in enumerate(zip(wave, crew.map(rows_of, wave), strict=True)):
            self._store_chunk(stage, current, groups, rows, asked)
            self._tell()
            if first and n in (0, 9, 99):
                _analyse()
        settle(self.run, given_up=self.given_up)
        self.given_up.clear()

    def _store_chunk(self, stage: Stage, current: _Slice, groups: list[Group], rows: Rows, asked: Asked) -> None:
        with transaction.atomic():
            store.lock_index()
            if self._overtaken(stage, current, groups, rows.values):
                rows = rows_of(stage, groups)
            for table, names in TABLES.items():
                _copy(table, names, rows.text[table])
            asked.store(groups)
            store.refresh_golden([group.person for group in groups if not group.created])
            self._count(rows.outcomes)

    def _overtaken(self, stage: Stage, current: _Slice, groups: list[Group], values: list[str]) -> bool:
        """Take account of what others did since the records were matched; whether that changed anything here."""
        changed = False
        joined = [group.person for group in groups if not group.created]
        gone = survivors_of(joined) if joined else {}
        for group in groups:
            if not group.created and gone.get(group.person, group.person) != group.person:
                group.person, changed = gone[group.person], True
        taken = self._known(values)
        if taken:
            # Fed by itself meanwhile: the line goes on as a revision.
            changed = True
            for group in groups:
                kept = []
                for position, ids in zip(group.positions, group.ids, strict=True):
                    line = stage.spool.get(position)
                    if line[1] in taken:
                        current.again_spool.put([pickle.dumps(line)])
                        self.given_up.append(ids[0])
                    else:
                        kept.append((position, ids))
                group.positions, group.ids = [position for position, _ in kept], [ids for _, ids in kept]
            groups[:] = [group for group in groups if group.positions]
        last = _last_version()
        self.late.add(self.late_after, last)
        self.late_after = last
        if self.late.records:
            for group in groups:
                if group.created and self.late.joins(stage, group):
                    changed = True
        return changed

    def _feed_again(self, current: _Slice) -> None:
        """Records that the index knows: revisions, one by one, a few in a transaction."""
        current.again_spool.flush()
        for start_at in range(0, len(current.again_spool), _FED):
            rows: list[tuple[Any, ...]] = []
            counts: Counts = Counter()
            with transaction.atomic():
                store.lock_index()
                for place in range(start_at, min(start_at + _FED, len(current.again_spool))):
                    row = self._feed(current.again_spool.get(place))
                    counts[row[2]] += 1
                    rows.append(row)
                self._write_lines(rows)
                self._count(counts)
            self._tell()

    def _feed(self, kept: Kept) -> tuple[Any, ...]:
        number, value, _, raw, *_ = kept
        name = f"{self.system}|{value}"
        try:
            with transaction.atomic():
                result = feed(
                    RecordFeed(
                        participant_id=self.run.participant_id,
                        authority=self.authority,
                        value=value,
                        demographics=from_json(json.loads(raw)),
                        actor=self.actor,
                        source="import",
                    ),
                    alone=True,
                )
        except HubError as error:
            return number, name, "refused", None, None, f"line {number}: {error}"
        reason = "" if result.outcome == "unchanged" else result.reason
        return number, name, result.outcome, result.source_record_id, result.score, reason

    # -- the run's own rows --

    def _write_lines(self, rows: list[tuple[Any, ...]]) -> None:
        ImportLine.objects.bulk_create(
            [
                ImportLine(
                    run=self.run, number=number, identifier=name, outcome=outcome, source_record_id=record_id,
                    score=score, reason=reason,
                )
                for number, name, outcome, record_id, score, reason in rows
            ]
        )  # fmt: skip

    def _count(self, outcomes: Counts, *, read: int = 0) -> None:
        changes: dict[str, Any] = {}
        for outcome, number in outcomes.items():
            name = _COUNTED.get(outcome)
            if name is not None:
                changes[name] = changes.get(name, F(name)) + number
        if outcomes:
            changes["attempts"] = 0
        if read:
            changes["read"] = Greatest("read", read)
        if changes:
            ImportRun.objects.filter(pk=self.run.pk).update(**changes)

    def _tell(self) -> None:
        if self.progress is not None:
            self.run.refresh_from_db()
            self.progress(self.run)

    def _finish(self) -> None:
        # One event a run: what came of each record stands in the index's own events.
        with transaction.atomic():
            self.run.refresh_from_db()
            counts = {
                name: getattr(self.run, name) for name in sorted(set(_COUNTED.values())) if getattr(self.run, name)
            }
            detail = {"run": str(self.run.pk), "read": self.run.read, **counts}
            draft = recorder.EventDraft(kind=EventType.PATIENT_IMPORT, caller=caller_of(self.run), detail=detail)
            recorder.write([draft])
            ImportRun.objects.filter(pk=self.run.pk).update(status=ImportRun.Status.DONE, finished_at=timezone.now())
        self.run.refresh_from_db()


def _waves(planned: bulk.Plan) -> Iterator[list[list[Group]]]:
    """The chunks of `_chunks`, as many together as have their keys and terms stored ahead together."""
    wave: list[list[Group]] = []
    for groups in _chunks(planned):
        wave.append(groups)
        if len(wave) * CHUNK >= AHEAD:
            yield wave
            wave = []
    if wave:
        yield wave


def _chunks(planned: bulk.Plan) -> Iterator[list[Group]]:
    """The groups in chunks of about `CHUNK` records, with row ids and persons."""
    chunk: list[int] = []
    size = 0
    for n, positions in enumerate(planned.groups):
        chunk.append(n)
        size += len(positions)
        if size >= CHUNK or n == len(planned.groups) - 1:
            yield _groups(planned, chunk, size)
            chunk, size = [], 0


def _groups(planned: bulk.Plan, chunk: list[int], size: int) -> list[Group]:
    ids = zip(
        _next_ids("patients_sourcerecord", size),
        _next_ids("patients_patientidentifier", size),
        _next_ids("patients_sourcerecordversion", size),
        strict=True,
    )
    return [
        Group(
            positions=list(planned.groups[n]),
            ids=[next(ids) for _ in planned.groups[n]],
            person=planned.person_of.get(n) or uuid.uuid4(),
            created=n not in planned.person_of,
        )
        for n in chunk
    ]


def _last_version() -> int:
    """The last number given to a version: whatever holds the index alone knows that all up to here are committed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_value, is_called FROM patients_sourcerecordversion_id_seq")
        last, called = cursor.fetchone()
    return int(last) if called else 0


def _next_ids(table: str, count: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)", [table, count])
        return [row[0] for row in cursor.fetchall()]


def _copy(table: str, columns: str, text: bytes) -> None:
    # Django's wrapper hands `copy` through to psycopg; names are constants of this module.
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        copy.write(text)


def _analyse() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {', '.join(_COPIED)}")


def _tidy() -> None:
    """Mark the pages just filled as seen by all, so that the indexes alone answer again.

    PostgreSQL would come to it by itself, minutes later and for many minutes; a search reads twice as much till then.
    The run is done already: where this fails it is left to PostgreSQL.
    """
    if connection.in_atomic_block:
        return
    try:
        with connection.cursor() as cursor:
            for table in _COPIED:
                cursor.execute(f"VACUUM (ANALYZE, SKIP_LOCKED) {table}")
    except DatabaseError as error:
        log.warning("the tables of the index could not be gone over after an import: %s", type(error).__name__)


def _chained(first: Portion, others: Iterable[Portion]) -> Iterator[Portion]:
    yield first
    yield from others
