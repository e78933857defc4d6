"""Bulk import through the command: every line answered, repeats harmless, pairs found (design.md, Formats)."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection

from hie.audit.models import AuditEvent
from hie.directory import registration
from hie.standards.fhir_patient import to_fhir
from patients import linking, queries, reviewing
from patients.columns import column_map, demographics_of
from patients.models import ImportRun, Link, MatchModel, Person, ReviewItem
from tests.patients.conftest import participant
from tests.patients.people import demographics, record

SHARED = Path(os.environ.get("HIE_SHARED", "../shared"))
FEBRL = {
    "identifier": "rec_id", "given": "given_name", "family": "surname", "birthDate": "date_of_birth",
    "line": ["street_number", "address_1"], "city": "suburb", "postalCode": "postcode", "state": "state",
    "nationalId": "soc_sec_id",
}  # fmt: skip


def patient(value: str, *, system: str = "urn:oid:2.999.1", **changes: Any) -> str:
    resource = to_fhir(demographics(**changes))
    resource["identifier"] = [{"system": system, "value": value}, *resource.get("identifier", [])]
    return json.dumps(resource)


def run_import(
    tmp_path: Path, text: str, *, columns: dict[str, Any] | None = None, suffix: str = ".ndjson"
) -> list[Any]:
    source, links = tmp_path / f"in{suffix}", tmp_path / "links.ndjson"
    source.write_text(text)
    options: dict[str, Any] = {"participant": "clinic", "out": links}
    if columns is not None:
        (tmp_path / "map.json").write_text(json.dumps(columns))
        options["columns"] = tmp_path / "map.json"
    call_command("import_patients", source, verbosity=0, **options)
    return [json.loads(line) for line in links.read_text().splitlines()]


def test_every_line_is_answered_in_order(clinic: str, tmp_path: Path) -> None:
    known = linking.feed(record("B1", org="hospital"))
    lines = [
        patient("A1", family="Okafor"),
        patient("A2", given="Robert", birth_date="1955-07-30", gender="male", phone="555-111-7777", line="9 Oak Av"),
        patient("A3", given="Robert", birth_date="1955-07-31", gender="male", phone="555-111-7777", line="9 Oak Av"),
        patient("A4", given="Helen"),
        "not json",
        patient("A5", system="urn:oid:2.999.77"),
        json.dumps(
            {"resourceType": "Patient", "identifier": [{"system": "urn:oid:2.999.1", "value": v} for v in "xy"]}
        ),
        json.dumps({"resourceType": "Patient", "birthDate": "yesterday"}),
        "",
        patient("A2", given="Robert", birth_date="1955-07-30", gender="male", phone="555-111-7777", line="9 Oak Av"),
    ]
    found = run_import(tmp_path, "\n".join(lines))
    assert [item["outcome"] for item in found] == [
        "linked", "new", "linked", "review", "refused", "refused", "refused", "refused", "unchanged",
    ]  # fmt: skip
    assert found[0]["person"] == str(known.person_id)
    assert found[0]["identifier"] == "urn:oid:2.999.1|A1"
    assert found[0]["score"] > 0.99
    assert found[1]["person"] == found[2]["person"] == found[8]["person"]
    assert "rule: twin" in found[3]["reason"]
    assert "line 5: not JSON" in found[4]["reason"]
    assert "no identifier" in found[5]["reason"]
    assert "2 identifiers" in found[6]["reason"]
    assert "Patient.birthDate" in found[7]["reason"]
    assert [item["identifier"] for item in found[4:8]] == [""] * 4  # none in the authority of the clinic, or several
    assert all(item["person"] is None and item["score"] is None for item in found[4:8])
    assert ReviewItem.objects.get().source_record.participant_id == "clinic"
    run = ImportRun.objects.get()
    assert (run.status, run.read, run.new, run.linked, run.review, run.refused) == ("done", 9, 1, 2, 1, 4)
    assert Link.objects.exclude(score=None).filter(weights={}).count() == 0
    assert queries.candidates(demographics(family="Okafor"))[0].person_id == known.person_id


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"birthDate": "yesterday"}, "Patient.birthDate", id="date"),
        pytest.param({"implicitRules": "http://x"}, "Patient.implicitRules", id="rules"),
        pytest.param({"link": [{"type": "replaced-by", "other": {"reference": "Patient/1"}}]}, "Patient.link", id="link"),
        pytest.param({"name": [{"family": "A"}] * 300}, "more than 200 of name", id="too-many-names"),
        pytest.param({"active": "yes"}, "Patient.active", id="type"),
    ],
)  # fmt: skip
def test_a_refused_line_is_named_by_its_identifier(
    clinic: str, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    wrong = json.loads(patient("A7")) | changes
    found = run_import(tmp_path, patient("A6") + "\n" + json.dumps(wrong))
    assert [item["outcome"] for item in found] == ["new", "refused"]
    assert found[1]["identifier"] == "urn:oid:2.999.1|A7"
    assert reason in found[1]["reason"]


def test_an_identifier_without_a_number_stops_no_import(clinic: str, tmp_path: Path) -> None:
    resource = json.loads(patient("A1"))
    resource["identifier"].append({"system": "urn:oid:2.999.5"})
    found = run_import(tmp_path, json.dumps(resource) + "\n" + patient("A2", given="Ling", birth_date="1999-12-25"))
    assert [item["outcome"] for item in found] == ["new", "new"]


def test_an_import_again_changes_nothing_and_a_changed_line_revises(clinic: str, tmp_path: Path) -> None:
    first = run_import(
        tmp_path, patient("A1") + "\n" + patient("A2", given="Ling", birth_date="1999-12-25", phone="", line="")
    )
    again = run_import(
        tmp_path, patient("A1") + "\n" + patient("A2", given="Ling", family="Wu", birth_date="1999-12-25")
    )
    assert [item["outcome"] for item in again] == ["unchanged", "updated"]
    assert [item["person"] for item in again] == [item["person"] for item in first]
    assert Person.objects.count() == 2


def test_bulk_and_single_feed_give_one_verdict(clinic: str, tmp_path: Path) -> None:
    changed = demographics(family="Okafor", birth_date="1980-03-15")
    run_import(tmp_path, patient("A1") + "\n" + patient("A2", family="Okafor", birth_date="1980-03-15"))
    bulk = Link.objects.exclude(score=None).get()
    linking.feed(
        record("Z1", demographics("Zoe", birth_date="2001-02-02", phone="555-909-1212", line="1 Elm Ct"), org="lab")
    )
    score = queries.candidates(changed)
    assert bulk.score is not None
    by_feed = linking.feed(record("B2", changed, org="hospital"))
    link = Link.objects.get(source_record=by_feed.source_record_id)
    assert by_feed.person_id == bulk.person_id == score[0].person_id
    assert link.model_version == bulk.model_version == "default-1"


@pytest.mark.parametrize(
    ("other", "linked"),
    [
        pytest.param({"family": "Okafor"}, True, id="marriage"),
        pytest.param({"given": "Nathan", "gender": "male"}, False, id="twin"),
        pytest.param({"given": "Nathan", "birth_date": "1980-01-01", "phone": "555-909-1212"}, False, id="twin-of-a-year"),
        pytest.param({"birth_date": "2003-05-02"}, False, id="junior"),
        pytest.param({"birth_date": "1980-03-15", "line": "9 Oak Av", "phone": ""}, None, id="elsewhere"),
    ],
)  # fmt: skip
def test_a_pair_has_one_score_in_a_file_in_real_time_and_in_a_feed(
    clinic: str, tmp_path: Path, other: dict[str, Any], linked: bool | None
) -> None:
    (tmp_path / "in.ndjson").write_text(patient("A1") + "\n" + patient("A2", **other))
    call_command("match_pairs", tmp_path / "in.ndjson", threshold=0.0, out=tmp_path / "pairs", verbosity=0)
    (pair,) = [json.loads(line) for line in (tmp_path / "pairs").read_text().splitlines()]
    known = linking.feed(record("B1", org="hospital"))
    (candidate,) = queries.candidates(demographics(**other))
    assert candidate.person_id == known.person_id
    assert candidate.probability == pytest.approx(pair["score"], abs=1e-6)
    (line,) = run_import(tmp_path, patient("A2", **other))
    # A line that is somebody new, and asks about nobody, has no score.
    assert line["outcome"] == "new" or line["score"] == pytest.approx(pair["score"], abs=1e-6)
    assert linked is None or (line["person"] == str(known.person_id), pair["score"] >= 0.5) == (linked, linked)


@pytest.mark.parametrize("others", [0, 12])
def test_a_small_and_a_large_import_find_who_is_known(clinic: str, tmp_path: Path, others: int) -> None:
    known = linking.feed(record("B1", demographics("Ines", family="Varga", birth_date="1961-07-19"), org="hospital"))
    for n in range(5):
        linking.feed(record(f"B{n + 2}", demographics(f"Otto{n}", birth_date=f"19{n}1-02-0{n + 2}"), org="hospital"))
    lines = [patient("A1", given="Ines", family="Varga", birth_date="1961-07-19")]
    lines += [patient(f"N{n}", given=f"Ulla{n}", birth_date=f"20{n + 10}-08-11", phone=None) for n in range(others)]
    assert run_import(tmp_path, "\n".join(lines))[0]["person"] == str(known.person_id)


def test_a_line_whom_one_record_of_a_person_fits_and_the_other_does_not_is_asked_about_as_in_a_single_feed(
    clinic: str, tmp_path: Path
) -> None:
    numbered = linking.feed(record("H1", demographics(national_id="111-22-3333"), org="hospital"))
    assert linking.feed(record("L1", demographics(), org="lab")).person_id == numbered.person_id
    moved = {
        "family": "Okafor", "phone": "555-888-0000", "line": "9 Oak Av", "postal_code": "10001", "city": "York",
        "national_id": "111-22-3333",
    }  # fmt: skip
    assert [found.grade for found in queries.candidates(demographics(**moved))] == ["probable"]
    (answer,) = run_import(tmp_path, patient("A1", **moved))
    assert answer["outcome"] == "review"
    item = ReviewItem.objects.get()
    assert (str(item.person_id), item.candidate_id) == (answer["person"], numbered.person_id)


def test_a_linked_line_asks_about_the_father_once_and_never_after_a_steward_kept_the_two_apart(
    clinic: str, tmp_path: Path
) -> None:
    john = {"given": "John", "gender": "male"}
    home = {**john, "birth_date": "1980-06-21", "phone": "555-777-1234"}
    away = {**home, "line": "9 Oak Av", "postal_code": "10001", "city": "York"}
    father = linking.feed(record("F1", demographics(**john, birth_date="1950-03-14"), org="hospital"))
    son = linking.feed(record("S1", demographics(**away), org="hospital"))
    assert not ReviewItem.objects.exists()
    (first,) = run_import(tmp_path, patient("A1", **home))
    assert (first["outcome"], first["person"]) == ("linked", str(son.person_id))
    item = ReviewItem.objects.get()
    assert (item.person_id, item.candidate_id) == (son.person_id, father.person_id)
    run_import(tmp_path, patient("A2", **home))
    assert linking.feed(record("S2", demographics(**home), org="hospital")).outcome == "linked"
    assert ReviewItem.objects.get() == item
    reviewing.settle(item.pk, reviewing.Verdict.DIFFERENT, actor="Staff/ada", reason="father and son")
    run_import(tmp_path, patient("A3", **home))
    assert ReviewItem.objects.get().status == "decided"


def test_a_line_finds_the_person_whom_hands_put_together_as_a_single_feed_does(clinic: str, tmp_path: Path) -> None:
    maria = {"given": "Maria"}
    robert = {
        "given": "Robert", "family": "Okafor", "birth_date": "1955-07-30", "gender": "male", "phone": "555-111-7777",
        "line": "9 Oak Av", "postal_code": "10001", "city": "York",
    }  # fmt: skip
    one, other = (
        linking.feed(record(f"H{n}", demographics(**who), org="hospital")).person_id
        for n, who in enumerate((maria, robert))
    )
    linking.merge(other, one, actor="Staff/ada")
    assert linking.feed(record("L1", demographics(**maria), org="lab")).person_id == other
    answers = run_import(tmp_path, "\n".join([patient("A1", **robert), patient("A2", **maria)]))
    assert [(line["person"], line["outcome"]) for line in answers] == [(str(other), "linked")] * 2


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"surname": "nope"}, "no column nope"),
        ({"shoe": "family"}, "columns.shoe is not a field"),
        ({"given": 5}, "columns.given"),
        ({"identifiers": "x"}, "columns.identifiers"),
    ],
)
def test_a_wrong_column_map_is_refused_by_name(
    clinic: str, tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        run_import(tmp_path, "id,family\n1,x\n", columns=columns, suffix=".csv")
    assert Person.objects.count() == 0


@pytest.mark.django_db
def test_an_unknown_participant_or_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,family\n1,x\n")
    with pytest.raises(CommandError, match="no participant nobody"):
        call_command("import_patients", tmp_path / "in.csv", participant="nobody", out=tmp_path / "out")


def test_a_file_that_breaks_off_leaves_nothing(clinic: str, tmp_path: Path) -> None:
    whole = gzip.compress(b"id,family,given\n1,Okafor,Maria\n2,Adeyemi,Chidi\n")
    (tmp_path / "in.csv").write_bytes(whole[:-12])
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("import_patients", tmp_path / "in.csv", participant="clinic", out=tmp_path / "out")
    assert Person.objects.count() == 0
    assert ImportRun.objects.get().status == "failed"


def test_csv_needs_no_map_where_the_header_is_plain(clinic: str, tmp_path: Path) -> None:
    rows = 'mrn, last_name, first_name, dob, sex, zip\n7, Okafor, "Maria", 14.3.1980, F, 10001\n8,,,,,\n ,x,,,,\n'
    found = run_import(tmp_path, rows, suffix=".csv")
    assert [item["outcome"] for item in found] == ["new", "new", "refused"]
    view = queries.source_record("2.999.1", "7")
    assert view is not None
    assert (view.demographics.names[0].family, view.demographics.gender) == ("Okafor", "female")


def test_lines_that_no_reader_expects_are_refused_and_the_others_taken(clinic: str, tmp_path: Path) -> None:
    registration.apply({"participants": [participant("hospital", "2.999.2")]})
    stolen = json.loads(patient("A2"))
    stolen["identifier"].append({"system": "urn:oid:2.999.2", "value": "B1"})
    giant = json.loads(patient("A3"))
    giant["name"] = [{"family": f"F{n}"} for n in range(300)]
    lines = run_import(
        tmp_path, "\n".join([patient("A1"), '{"a":' + "[" * 100_000, json.dumps(stolen), json.dumps(giant)])
    )
    assert [line["outcome"] for line in lines] == ["new", "refused", "refused", "refused"]
    assert ["not JSON" in lines[1]["reason"], "2.999.2" in lines[2]["reason"], "more than" in lines[3]["reason"]] == [
        True
    ] * 3
    mixed = tmp_path / "mixed.ndjson"
    mixed.write_bytes(patient("A8").encode() + b'\n{"name": "M\xfcller"}\n' + patient("A9").encode())
    call_command("import_patients", mixed, participant="clinic", out=tmp_path / "mixed.links", verbosity=0)
    read = [json.loads(line) for line in (tmp_path / "mixed.links").read_text().splitlines()]
    assert [(line["outcome"] == "refused", line.get("reason", "")) for line in read][1] == (True, "line 2: not UTF-8")
    assert len(read) == 3
    quoted = run_import(tmp_path, 'id,surname,given_name\n1,A,B\n"2,C,D\n3,E,F\n', suffix=".csv")
    assert [line["outcome"] for line in quoted] == ["new", "refused"]


def test_a_large_file_again_takes_no_lock_a_record_and_is_all_unchanged(clinic: str, tmp_path: Path) -> None:
    text = "id,surname,given_name,date_of_birth,phone\n" + "\n".join(
        f"P{n},Fam{n * 7919 % 9973},Giv{n * 104729 % 997},19{n % 90 + 10}-0{n % 9 + 1}-1{n % 9},30355{n:05}"
        for n in range(300)
    )
    first = run_import(tmp_path, text, suffix=".csv")
    second = run_import(tmp_path, text, suffix=".csv")
    assert {line["outcome"] for line in second} == {"unchanged"}
    assert [line["person"] for line in second] == [line["person"] for line in first]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
        held = cursor.fetchone()[0]
    run_import(tmp_path, text.replace("Giv", "Giw"), suffix=".csv")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
        assert cursor.fetchone()[0] <= held + 1


def test_an_import_stands_in_the_log_and_a_suspended_participant_imports_nothing(clinic: str, tmp_path: Path) -> None:
    run_import(tmp_path, patient("A1"))
    event = AuditEvent.objects.get(kind="patient-import")
    assert (event.organization, event.detail["new"]) == ("clinic", 1)
    registration.suspend("clinic", "unpaid", "ops")
    with pytest.raises(CommandError, match="not active"):
        run_import(tmp_path, patient("A2"))
    assert AuditEvent.objects.filter(kind="patient-import").count() == 1


def test_links_lists_every_identifier_but_anchors(clinic: str, tmp_path: Path) -> None:
    from patients import identifiers

    one = linking.feed(record("A1"))
    linking.feed(record("B1", org="hospital"))
    identifiers.anchor(one.person_id)
    call_command("links", out=tmp_path / "links", verbosity=0)
    lines = [json.loads(line) for line in (tmp_path / "links").read_text().splitlines()]
    assert lines == [
        {"identifier": "urn:oid:2.999.1|A1", "person": str(one.person_id)},
        {"identifier": "urn:oid:2.999.2|B1", "person": str(one.person_id)},
    ]


def f1(found: set[tuple[str, str]], truth: set[tuple[str, str]]) -> float:
    return 2 * len(found & truth) / (len(found) + len(truth))


def pairs_of(groups: dict[str, list[str]]) -> set[tuple[str, str]]:
    return {pair for members in groups.values() for pair in combinations(sorted(members), 2)}


@pytest.mark.shared
def test_febrl1_reaches_its_bars_through_the_commands(clinic: str, tmp_path: Path) -> None:
    source = SHARED / "data/mpi/febrl1.csv"
    (tmp_path / "map.json").write_text(json.dumps(FEBRL))
    packed = tmp_path / "febrl1.csv.gz"
    packed.write_bytes(gzip.compress(source.read_bytes()))
    call_command(
        "import_patients",
        packed,
        participant="clinic",
        out=tmp_path / "links",
        columns=tmp_path / "map.json",
        verbosity=0,
    )
    truth: dict[str, list[str]] = {}
    with source.open(newline="") as rows:
        for row in csv.DictReader(rows):
            truth.setdefault(row["cluster"], []).append(row["rec_id"])
    found: dict[str, list[str]] = {}
    lines = [json.loads(line) for line in (tmp_path / "links").read_text().splitlines()]
    for line in lines:
        found.setdefault(line["person"], []).append(line["identifier"].split("|")[1])
    assert f1(pairs_of(found), pairs_of(truth)) >= 0.97
    assert not pairs_of(found) - pairs_of(truth)
    assert Counter(line["outcome"] for line in lines)["refused"] == 0
    assert MatchModel.objects.get().status == "active"
    call_command(
        "match_pairs", source, threshold=0.5, out=tmp_path / "pairs", columns=tmp_path / "map.json", verbosity=0
    )
    scored = [json.loads(line) for line in (tmp_path / "pairs").read_text().splitlines()]
    assert all(item["a"] < item["b"] and 0.5 <= item["score"] <= 1 for item in scored)
    assert f1({(item["a"], item["b"]) for item in scored}, pairs_of(truth)) >= 0.993


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        pytest.param("1980,5,3", "1980-05-03", id="whole"),
        pytest.param("1980,,3", "1980", id="without-month-the-day-is-no-month"),
        pytest.param("1980,5,NA", "1980-5", id="without-day"),
        pytest.param(",5,3", "", id="without-year"),
    ],
)
def test_a_date_in_parts_ends_before_the_part_that_is_missing(cells: str, said: str) -> None:
    header = ["id", "y", "m", "d"]
    columns = column_map({"identifier": "id", "birthDate": ["y", "m", "d"]}, header)
    row = dict(zip(header, f"1,{cells}".split(","), strict=True))
    assert demographics_of(row, columns).birth_date == said


def test_a_line_may_not_say_what_is_not_understood_nor_bring_the_hubs_own_numbers(clinic: str, tmp_path: Path) -> None:
    modified = json.loads(patient("A1"))
    modified["modifierExtension"] = [{"url": "http://example.org/not", "valueBoolean": True}]
    read_back = json.loads(patient("A2"))
    read_back["identifier"].append({"system": f"urn:oid:{settings.HUB_ASSIGNING_AUTHORITY}", "value": str(uuid4())})
    replaced = json.loads(patient("A3"))
    replaced |= {"active": False, "link": [{"type": "replaced-by", "other": {"reference": "Patient/1"}}]}
    found = run_import(tmp_path, "\n".join(map(json.dumps, (modified, read_back, replaced))))
    assert [line["outcome"] for line in found] == ["refused", "new", "refused"]
    assert "Patient.modifierExtension" in found[0]["reason"]
    assert "Patient.link" in found[2]["reason"]
    view = queries.source_record("2.999.1", "A2")
    assert view is not None
    assert all(item.authority != settings.HUB_ASSIGNING_AUTHORITY for item in view.demographics.identifiers)


@pytest.mark.parametrize("columns", [None, {"family": "surname"}])
def test_a_file_that_names_no_record_is_refused_whole(
    clinic: str, tmp_path: Path, columns: dict[str, Any] | None
) -> None:
    with pytest.raises(CommandError, match="no column is the identifier"):
        run_import(tmp_path, "surname,first_name\nOkafor,Maria\n", columns=columns, suffix=".csv")


def test_pairs_of_a_file_are_of_two_records_each_named_once(tmp_path: Path) -> None:
    rows = ["7,Okafor,Maria,1980-03-14", "8,Okafor,Maria,1980-03-14", "7,Okafor,Mary,1980-03-14"]
    for header, names in (("id,surname,first_name,dob", ["7", "8"]), ("x,surname,first_name,dob", ["1", "2", "3"])):
        (tmp_path / "in.csv").write_text("\n".join([header, *rows]))
        call_command("match_pairs", tmp_path / "in.csv", threshold=0.0, out=tmp_path / "pairs", verbosity=0)
        pairs = [json.loads(line) for line in (tmp_path / "pairs").read_text().splitlines()]
        assert [(pair["a"], pair["b"]) for pair in pairs] == list(combinations(names, 2))
