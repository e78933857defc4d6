"""What the records of an import are found by, stored ahead of them and in the order of its indexes.

An index entry at a random place costs a page that is read, logged and written; a million records have thirty-six
million. In order, and of many records at a time, each page is touched once. Until a record is there its keys and terms
lead to nobody, so that nothing is visible before its time; those of records that were never stored after all are taken
away again (`take_back`).

Source: spec/mpi.md section 3.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from django.db import connection, transaction
from numpy.typing import NDArray

from patients import bulk
from patients.models import ImportRun
from patients.preparing import Prepared

RECORDS = 250_000
"""Records whose keys and terms are stored together: what bounds the memory, and how often each page is touched."""
_ROW = np.dtype(
    [("fields", ">i2"), *((name, kind) for column in ("key", "finer", "record") for name, kind in (
        (f"{column}_size", ">i4"), (column, ">i8")))]
)  # fmt: skip
_BEGIN, _END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
_PIECE = 1 << 20
_TABLES = ("patients_blockingkey", "patients_searchterm")
_UNSTORED = (
    "k.record_id BETWEEN %s AND %s AND NOT EXISTS (SELECT 1 FROM patients_sourcerecord r WHERE r.id = k.record_id)"
)

Ints = NDArray[np.int64]


class Ahead:
    """The blocking keys and search terms of one slice's new records, by position."""

    def __init__(self) -> None:
        self._terms = bulk.Spool()
        self._keys: list[bytes] = []
        self._sizes = array("i")
        self._finer = array("q")

    def add(self, lines: Sequence[Prepared]) -> None:
        """Further records, in the order of their positions."""
        self._finer.extend(line.finer for line in lines)
        self._terms.put(line.terms for line in lines)
        self._keys.append(b"".join([line.keys for line in lines]))
        self._sizes.extend(len(line.keys) // 8 for line in lines)

    def keys(self) -> tuple[Ints, NDArray[np.int32]]:
        """Every key, and the position it belongs to (ascending)."""
        if len(self._keys) > 1:
            self._keys = [b"".join(self._keys)]
        keys = np.frombuffer(self._keys[0] if self._keys else b"", dtype=np.int64)
        sizes = np.frombuffer(self._sizes, dtype=np.int32)
        return keys, np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)

    def store(self, run: ImportRun, positions: Sequence[int], record_ids: Sequence[int]) -> None:
        """Store what the records at these positions are found by, under the ids they are going to have.

        One transaction, which holds nobody up.
        """
        numbers = np.zeros(len(self._finer), dtype=np.int64)
        numbers[np.array(positions, dtype=np.int64)] = record_ids
        with transaction.atomic(), connection.cursor() as cursor:
            ImportRun.objects.filter(pk=run.pk).update(ahead_first=min(record_ids), ahead_last=max(record_ids))
            with cursor.copy("COPY patients_blockingkey (key, finer, record_id) FROM STDIN (FORMAT binary)") as copy:
                for piece in self._rows(numbers):
                    copy.write(piece)
            cursor.execute(
                'CREATE TEMPORARY TABLE ahead_of_import (field text, term text COLLATE "C", record_id bigint)'
            )
            with cursor.copy("COPY ahead_of_import FROM STDIN") as copy:
                for piece in self._lines(positions, record_ids):
                    copy.write(piece)
            cursor.execute("SET LOCAL work_mem = '128MB'")
            cursor.execute(
                "INSERT INTO patients_searchterm (field, term, record_id) SELECT field, term, record_id FROM ahead_of_import"
                " ORDER BY field, term, record_id"
            )
            cursor.execute("DROP TABLE ahead_of_import")

    def _rows(self, numbers: Ints) -> Iterator[bytes]:
        """Rows of COPY's binary format, by key."""
        keys, owners = self.keys()
        chosen = np.flatnonzero(numbers[owners])
        chosen = chosen[np.argsort(keys[chosen])]
        finer = np.frombuffer(self._finer, dtype=np.int64)
        yield _BEGIN
        for start in range(0, len(chosen), _PIECE):
            some = chosen[start : start + _PIECE]
            rows = np.empty(len(some), dtype=_ROW)
            rows["fields"] = 3
            for column, values in (
                ("key", keys[some]),
                ("finer", finer[owners[some]]),
                ("record", numbers[owners[some]]),
            ):
                rows[f"{column}_size"], rows[column] = 8, values
            yield rows.tobytes()
        yield _END

    def _lines(self, positions: Iterable[int], record_ids: Iterable[int]) -> Iterator[bytes]:
        """Lines of COPY's text format."""
        self._terms.flush()
        held: list[bytes] = []
        size = 0
        for position, record_id in zip(positions, record_ids, strict=True):
            held.append(self._terms.read(position).replace(b"\n", b"\t%d\n" % record_id))
            size += len(held[-1])
            if size > _PIECE:
                yield b"".join(held)
                held, size = [], 0
        yield b"".join(held)

    def close(self) -> None:
        """Let go of the file."""
        self._terms.close()


def settle(run: ImportRun, *, given_up: Sequence[int]) -> None:
    """All that `Ahead.store` stored has its records now, but for these: their keys and terms go. 3 statements at most."""
    with transaction.atomic():
        if given_up:
            with connection.cursor() as cursor:
                for table in _TABLES:
                    cursor.execute(f"DELETE FROM {table} WHERE record_id = ANY(%s)", [list(given_up)])  # noqa: S608  # a constant
        ImportRun.objects.filter(pk=run.pk).update(ahead_first=None, ahead_last=None)


def take_back(run: ImportRun) -> None:
    """Take away what was stored ahead for records that were never stored, of a run that broke off. 1 statement, 4
    where there may be such."""
    with transaction.atomic():
        held = ImportRun.objects.select_for_update().get(pk=run.pk)
        if held.ahead_first is None:
            return
        with connection.cursor() as cursor:
            for table in _TABLES:
                cursor.execute(f"DELETE FROM {table} k WHERE {_UNSTORED}", [held.ahead_first, held.ahead_last])  # noqa: S608  # a constant
        ImportRun.objects.filter(pk=run.pk).update(ahead_first=None, ahead_last=None)
