"""Reads and writes of documents go by indexes however many there are, and whatever is guessed of how many hang together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from documents import queries, replacement, repository, stored_reads
from documents.metadata import CX, AssociationType
from documents.models import DocumentEntry
from documents.stored_query import EntriesAsked
from tests.documents import samples
from tests.documents.samples import ALICE

pytestmark = pytest.mark.django_db

MANY = 4_000
# As of ten million: few sources for many associations, so that each seems to have hundreds.
FILLED = {
    "documents_documententry": "'id', 1000000 + n, 'entry_uuid', md5('e' || n)::uuid, 'logical_id', md5('e' || n)::uuid,"
    " 'unique_id', '2.999.50.' || n, 'patient_identifier_id', 5000000 + n, 'binary_id', md5('b' || n)::uuid",
    "documents_association": "'id', 1000000 + n, 'entry_uuid', md5('a' || n)::uuid, 'source', md5('s' || n % 100)::uuid,"
    " 'target', md5('e' || n)::uuid",
}


@pytest.fixture
def much(patients: dict[CX, int]) -> Iterator[list[str]]:
    """A document and what replaced it, among many others; their uniqueIds."""
    old, new = samples.entry(entry_uuid="old"), samples.entry(entry_uuid="new")
    content = {"old": b"old", "new": b"new"}
    receipt = samples.register(samples.submission(old), patients, bytes_of={"old": content["old"]})
    with_replacement = samples.submission(
        new, associations=(samples.relation(AssociationType.RPLC, "new", receipt.ids["old"]),)
    )
    samples.register(with_replacement, patients, bytes_of={"new": content["new"]})
    with connection.cursor() as cursor:
        for table, different in FILLED.items():
            cursor.execute(
                f"INSERT INTO {table} SELECT (jsonb_populate_record(one.o, jsonb_build_object({different}))).*"
                f" FROM (SELECT o FROM {table} o LIMIT 1) one, generate_series(1, {MANY}) n"
            )
            cursor.execute(f"ANALYZE {table}")
    yield [old.unique_id, new.unique_id]
    with connection.cursor() as cursor:
        # Patients and bytes of theirs there are not, which is held against them at the end of a test.
        for table in FILLED:
            cursor.execute(f"DELETE FROM {table} WHERE id > 1000000")


def read_in_a_row() -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname, seq_tup_read FROM pg_stat_xact_user_tables")
        return {name: read for name, read in cursor.fetchall() if name in FILLED}


def test_nothing_of_a_document_is_looked_for_by_reading_through_all(much: list[str], patients: dict[CX, int]) -> None:
    pk = patients[ALICE]
    keys = list(DocumentEntry.objects.filter(unique_id__in=much).values_list("entry_uuid", flat=True))
    staged = repository.put(b"a third", content_type="text/plain", owner="org")
    at = datetime(2026, 4, 1, tzinfo=UTC)

    def superseded() -> list[Any]:
        return list(replacement.superseded({keys[0]: UUID(int=1)}))

    acts: dict[str, Callable[[], Any]] = {
        "entries of a patient": lambda: queries.entries([pk]),
        "a stored query": lambda: stored_reads.find_entries([pk], EntriesAsked(), level=None),
        "retrieval": lambda: queries.entries_with_bytes(much),
        "by uuid": lambda: queries.entry(keys[0]),
        "what a replacement deprecates": superseded,
        "deprecation": lambda: replacement.deprecate([UUID(int=2)], at=at),
        "a registration": lambda: samples.register(samples.submission(samples.entry()), patients),
        "what nothing hangs on": lambda: repository.discard([staged.id]),
    }
    for name, act in acts.items():
        for _ in range(2):  # the second time by the statement that is kept ready
            before = read_in_a_row()
            act()
            read = {table: rows - before.get(table, 0) for table, rows in read_in_a_row().items()}
            assert {table: rows for table, rows in read.items() if rows} == {}, name
