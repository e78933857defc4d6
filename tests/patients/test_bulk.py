"""Bulk: the arrays give what the plain functions give; an import broken off goes on to the same persons."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.db import OperationalError, connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from hie.standards.fhir_patient import from_fhir, to_fhir
from patients import blocking, bulk, importing, linking, models_of_match, store
from patients.demographics import DateMatch, PatientQuery, RecordFeed
from patients.errors import UnusableFile
from patients.import_runs import lines_of, start
from patients.importing import carry_on, import_file
from patients.models import BlockingKey, IdentityEvent, ImportLine, ImportRun, Link, Person, ReviewItem, SearchTerm
from patients.normalise import Features, features
from patients.search import search
from tests.patients.people import demographics
from tests.patients.people_at_random import ndjson, people


def in_arrays(records: list[Features], asking: int) -> set[tuple[int, int]]:
    hashed = [list(dict.fromkeys(map(blocking.digest, blocking.keys(record)))) for record in records]
    keys = np.array([key for some in hashed for key in some], dtype=np.int64)
    owners = np.repeat(np.arange(len(records)), [len(some) for some in hashed]).astype(np.int64)
    found = list(bulk.pairs(keys, owners, records, asking=asking))
    assert found == sorted(set(found))
    return set(found)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 250), st.integers(1, 4))
def test_pairs_in_arrays_are_those_of_plain_blocking(seed: int, count: int, crowd: int) -> None:
    some = people(count, seed=seed)
    for resource in some:
        # Few towns and names: large blocks, which are split and in the end walked through in windows.
        resource["address"][0]["postalCode"] = f"{int(resource['address'][0]['postalCode']) % crowd}1111"
        resource["name"][0]["family"] = "Same" if seed % 2 else resource["name"][0]["family"][: crowd + 1]
    records = [features(from_fhir(resource)) for resource in some]
    plain = set(blocking.pairs(records))
    assert in_arrays(records, len(records)) == plain
    asking = count // 2
    assert in_arrays(records, asking) == {(a, b) for a, b in plain if a < asking}


@pytest.mark.django_db
@pytest.mark.parametrize(("seed", "crowd"), [(1, 1), (2, 3), (3, 90)])
def test_one_record_is_compared_with_all_whom_bulk_compares_it_with(seed: int, crowd: int, clinic: str) -> None:
    some = people(300, seed=seed)
    for resource in some:
        # Few places and births: blocks of a hundred and more, which only the finest level takes apart.
        place, born = resource["address"][0], resource["birthDate"]
        place["postalCode"], place["city"] = f"{int(place['postalCode']) % crowd}1111", "Crowded"
        resource["birthDate"] = f"{1950 + int(born[:4]) % 4}{born[4:]}"
    records = [features(from_fhir(resource)) for resource in some]
    for resource in some:
        value = resource["identifier"][0]["value"]
        linking.feed(
            RecordFeed(participant_id=clinic, authority="2.999.1", value=value, demographics=from_fhir(resource))
        )
    with connection.cursor() as cursor:
        cursor.execute("SELECT value, source_record_id FROM patients_patientidentifier")
        ids = dict(cursor.fetchall())
    known = [ids[resource["identifier"][0]["value"]] for resource in some]
    partners: dict[int, set[int]] = defaultdict(set)
    for a, b in blocking.pairs(records):
        partners[a].add(known[b])
        partners[b].add(known[a])
    unknown = nothing_known_of_the_tables()
    found, before = 0, rows_read()
    for position, record in enumerate(records):
        near = {item.record_id for item in store.near(record, record_id=known[position])[0]}
        assert partners[position] <= near
        found += len(near)
    assert found < 300 * 150, "and not with everybody"
    # As in the first minutes of a hub: a plan made when nothing is known must not read whole tables.
    assert not unknown or rows_read() - before < 300 * 120


def nothing_known_of_the_tables() -> bool:
    """Take from the planner what it knows of the tables of the index, and its plans; whether this PostgreSQL can do so."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regproc('pg_clear_relation_stats') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return False
        cursor.execute(
            "SELECT pg_clear_relation_stats('public', relname) FROM pg_class"
            " WHERE relname LIKE 'patients_%' AND relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        cursor.execute("DISCARD PLANS")
    return True


def rows_read() -> int:
    """Rows that this transaction has read of the tables of the index."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables WHERE relname LIKE 'patients_%'"
        )
        return int(cursor.fetchone()[0])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, clinic: str) -> None:
    """Chunks so small that an import has many."""
    monkeypatch.setattr(importing, "CHUNK", 40)
    monkeypatch.setattr(importing, "AHEAD", 100)
    monkeypatch.setattr(importing, "_FED", 7)


def persons(run: ImportRun) -> list[tuple[str, ...]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for line in lines_of(run.pk):
        groups[line["person"]].append(line["identifier"])
    return sorted(tuple(sorted(group)) for group in groups.values())


def everything_fits() -> None:
    """No half state: every record has version, identifier, one current link, event, keys, terms; every person a name."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), count(r.current_version_id), count(i.id), count(l.id), count(e.seq)"
            " FROM patients_sourcerecord r LEFT JOIN patients_patientidentifier i ON i.source_record_id = r.id"
            f" LEFT JOIN patients_link l ON l.source_record_id = r.id AND {store.CURRENT}"
            " LEFT JOIN patients_identityevent e ON e.source_record_id = r.id AND e.kind IN ('created', 'linked')"
        )
        assert len(set(cursor.fetchone())) == 1
        cursor.execute(
            "SELECT count(*) FROM patients_person p WHERE p.golden -> 'demographics' -> 'names' IS NULL"
            " OR NOT EXISTS (SELECT 1 FROM patients_link l WHERE l.person_id = p.id)"
        )
        assert cursor.fetchone()[0] == 0
        cursor.execute(
            "SELECT count(*) FROM patients_sourcerecord r WHERE NOT EXISTS (SELECT 1 FROM patients_blockingkey b"
            " WHERE b.record_id = r.id) OR NOT EXISTS (SELECT 1 FROM patients_searchterm t WHERE t.record_id = r.id)"
        )
        assert cursor.fetchone()[0] == 0


def nothing_hangs() -> None:
    """No key and no term of a record that is not there."""
    for table in ("patients_blockingkey", "patients_searchterm"):
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT count(*) FROM {table} k WHERE NOT EXISTS (SELECT 1 FROM patients_sourcerecord r WHERE r.id = k.record_id)"
            )
            assert cursor.fetchone()[0] == 0
    assert not ImportRun.objects.filter(ahead_first__isnull=False).exists()


class Stop(OperationalError):
    """The database goes away."""


@pytest.mark.parametrize("after", [0, 1, 4])
def test_an_import_broken_off_goes_on_to_the_same_persons(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    path = tmp_path / "in.ndjson"
    path.write_text(ndjson(people(240, seed=after)))
    whole = in_another_index(path)
    committed = 0
    real = importing._Import._store_chunk

    def breaking(self: Any, *arguments: Any) -> None:
        nonlocal committed
        if committed == after:
            raise Stop
        committed += 1
        real(self, *arguments)

    run = start("clinic")
    with monkeypatch.context() as patched:
        patched.setattr(importing._Import, "_store_chunk", breaking)
        with pytest.raises(Stop):
            carry_on(run, lambda: path.open("rb"))
    run.refresh_from_db()
    assert run.status == "running"
    assert run.read == 240
    assert ImportLine.objects.filter(run=run).count() == run.new + run.linked + run.review
    if after:
        assert 0 < run.new < 240
    everything_fits()
    carry_on(run, lambda: path.open("rb"))
    assert run.status == "done"
    assert (run.read, run.new + run.linked + run.review) == (240, 240)
    assert [line["identifier"].split("|")[1] for line in lines_of(run.pk)] == [f"R{after}-{n}" for n in range(240)]
    assert persons(run) == whole
    everything_fits()
    nothing_hangs()


def in_another_index(path: Path) -> list[tuple[str, ...]]:
    """The persons of an import that nothing breaks off; the index is as before afterwards."""
    with transaction.atomic():
        found = persons(import_file(path, participant_id="clinic"))
        transaction.set_rollback(True)
    return found


def test_persons_do_not_depend_on_chunks_processes_or_repeats(
    clinic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.ndjson"
    path.write_text(ndjson(people(700, seed=3)))
    whole = in_another_index(path)
    monkeypatch.setattr(importing, "CHUNK", 60)
    monkeypatch.setattr(bulk, "_FEW", 10)
    run = import_file(path, participant_id="clinic")
    assert persons(run) == whole
    again = import_file(path, participant_id="clinic")
    assert {line["outcome"] for line in lines_of(again.pk)} == {"unchanged"}
    assert persons(again) == whole
    assert (again.new, again.linked, again.updated, again.refused) == (0, 0, 0, 0)


def test_several_slices_find_the_persons_of_one(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "SLICE", 150)
    portions = importing.portions
    monkeypatch.setattr(importing, "portions", lambda opener, columns: portions(opener, columns=columns, size=50))
    path = tmp_path / "in.ndjson"
    path.write_text(ndjson(people(450, seed=8)))
    run = import_file(path, participant_id="clinic")
    assert (run.read, run.new + run.linked + run.review) == (450, 450)
    assert run.linked > 20
    everything_fits()


def test_what_a_single_feed_does_meanwhile_is_seen(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = people(80, seed=4)
    path = tmp_path / "in.ndjson"
    path.write_text(ndjson(some))
    fed: list[Any] = []
    real = models_of_match.for_population

    def feeding(*arguments: Any) -> Any:
        # After the records were matched with the index: the hospital feeds the person of the last line, and the
        # clinic itself the record of the first.
        last = from_fhir(some[-1] | {"identifier": []})
        fed.append(
            linking.feed(RecordFeed(participant_id="hospital", authority="2.999.2", value="H1", demographics=last))
        )
        first = from_fhir(some[0])
        fed.append(
            linking.feed(RecordFeed(participant_id="clinic", authority="2.999.1", value="R4-0", demographics=first))
        )
        return real(*arguments)

    monkeypatch.setattr(models_of_match, "for_population", feeding)
    run = import_file(path, participant_id="clinic")
    lines = list(lines_of(run.pk))
    assert (lines[0]["outcome"], lines[0]["person"]) == ("unchanged", str(fed[1].person_id))
    assert (lines[-1]["outcome"], lines[-1]["person"]) == ("linked", str(fed[0].person_id))
    assert lines[-1]["score"] > 0.99
    everything_fits()
    nothing_hangs()


def test_an_import_that_always_breaks_is_given_up(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in.ndjson"
    path.write_text(ndjson(people(20)))

    def gone(*_: Any) -> None:
        raise Stop

    monkeypatch.setattr(importing._Import, "_store_chunk", gone)
    run = start("clinic")
    for _ in range(importing.MAX_ATTEMPTS):
        with pytest.raises(Stop):
            carry_on(run, lambda: path.open("rb"))
    with pytest.raises(UnusableFile, match="broke off 5 times"):
        carry_on(run, lambda: path.open("rb"))
    assert ImportRun.objects.get().status == "failed"
    assert Person.objects.count() == 0
    nothing_hangs()


def test_nobody_is_found_before_he_is_there(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = people(90, seed=6)
    path = tmp_path / "in.ndjson"
    path.write_text(ndjson(some))
    seen: list[tuple[int, int, int]] = []
    real = importing._Import._store_chunk

    def looking(self: Any, *arguments: Any) -> None:
        described = [from_fhir(resource) for resource in some]
        near = {item.record_id for item in store.near_many([features(each) for each in described])}
        found = {
            person
            for each in described
            for person in search(PatientQuery(birth_dates=((DateMatch(value=each.birth_date),),)))
        }
        seen.append((BlockingKey.objects.values("record").distinct().count(), len(near), len(found)))
        real(self, *arguments)

    monkeypatch.setattr(importing._Import, "_store_chunk", looking)
    import_file(path, participant_id="clinic")
    keyed, near, found = zip(*seen, strict=True)
    assert keyed[0] == 90, "keys and terms are there already"
    assert (near[0], found[0]) == (0, 0)
    assert 0 < near[1] < 90
    assert found[1] > 0


def test_what_a_killed_command_stored_ahead_is_taken_back_by_whatever_is_imported_next(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.ndjson"
    path.write_text(ndjson(people(60, seed=9)))

    def gone(*_: Any) -> None:
        raise Stop

    with monkeypatch.context() as patched:
        patched.setattr(importing._Import, "_store_chunk", gone)
        with pytest.raises(Stop):
            import_file(path, participant_id="clinic")
    assert BlockingKey.objects.exists()
    run = import_file(path, participant_id="clinic")
    assert run.new + run.linked + run.review == 60
    nothing_hangs()
    everything_fits()


def test_reviews_stand_between_the_records_they_name_once(small: None, tmp_path: Path) -> None:
    one = {"given": "Robert", "birth_date": "1955-07-30", "gender": "male", "phone": "555-111-7777", "line": "9 Oak Av"}
    lines = []
    for value, changes in (("A1", one), ("A2", one | {"given": "Helen"}), ("A3", one)):
        resource = to_fhir(demographics(**changes))
        resource["identifier"] = [{"system": "urn:oid:2.999.1", "value": value}]
        lines.append(json.dumps(resource))
    path = tmp_path / "in.ndjson"
    path.write_text("\n".join(lines))
    run = import_file(path, participant_id="clinic")
    assert [line["outcome"] for line in lines_of(run.pk)] == ["new", "review", "linked"]
    item = ReviewItem.objects.get()
    links = {link.source_record.identifiers.get().value: link.person_id for link in Link.objects.all()}
    assert item.source_record.identifiers.get().value == "A2"
    assert (item.person_id, item.candidate_id) == (links["A2"], links["A1"])


def test_a_chunk_costs_the_same_statements_however_many_records(
    clinic: str, tmp_path: Path, django_assert_max_num_queries: Any
) -> None:
    for count, seed in ((20, 11), (200, 12)):
        path = tmp_path / f"in{count}.ndjson"
        path.write_text(ndjson(people(count, seed=seed)))
        with django_assert_max_num_queries(80):
            import_file(path, participant_id="clinic")
    assert IdentityEvent.objects.filter(kind__in=["created", "linked"]).count() == 220
    assert BlockingKey.objects.exists()
    assert SearchTerm.objects.exists()
