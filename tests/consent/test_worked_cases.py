"""The worked cases of the specification, through `./hub decide`."""

from __future__ import annotations

import io
import json
import os
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from consent.case_fixtures import Fixture
from consent.cases import decide_case
from tests.consent import fixture as fx


def run(path: Path) -> list[dict[str, Any]]:
    out = io.StringIO()
    call_command("decide", str(path), stdout=out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.fixture
def worked() -> Path:
    return Path(os.environ.get("HIE_SHARED", "../shared")) / "data/consent/worked_cases.json"


@pytest.mark.shared
def test_every_worked_case_gives_the_stated_decision_rule_reason_and_obligations(worked: Path) -> None:
    data = json.loads(worked.read_text())
    assert run(worked) == [{"id": case["id"], **case["expected"]} for case in data["cases"]]
    assert len(data["cases"]) == 62


@pytest.mark.shared
def test_expected_and_why_are_never_read(worked: Path, tmp_path: Path) -> None:
    data = json.loads(worked.read_text())
    for case in data["cases"]:
        case["expected"] = {"decision": "permit"}
        case["why"] = 7
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(data))
    assert run(path) == run(worked)


def test_own_cases_of_the_repository_give_the_stated_decision() -> None:
    path = Path(__file__).parent / "cases.json"
    data = json.loads(path.read_text())
    assert run(path) == [{"id": case["id"], **case["expected"]} for case in data["cases"]]


def own_override(n: int) -> dict[str, Any]:
    """An override that no other case has, of one part of the fixture or another."""
    return [
        {"patients": {"ada": {"birthDate": f"{1900 + n % 100}-01-01", "note": n}}},
        {"organizations": {"hill": {"agreement": {"note": n}}, f"new-{n}": {"partOf": "lake"}}},
        {"jurisdictions": {"JA": {"note": n}}},
        {"roles": {f"role-{n}": ["TREAT"]}},
    ][n % 4]


@pytest.mark.parametrize("many", [2_500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_cases_each_with_its_own_override_take_less_than_a_millisecond_each(tmp_path: Path, many: int) -> None:
    path = tmp_path / "many.json"
    consent = fx.consent(fx.node("permit", fx.node("deny", securityLabel=fx.labels("PSY"))))
    cases = [fx.case(consent, id=str(n), fixtureOverride=own_override(n)) for n in range(many)]
    path.write_text(json.dumps({"fixture": fx.FIXTURE, "cases": cases}))
    start = time.process_time()
    assert {one["rule"] for one in run(path)} == {"D6"}
    assert time.process_time() - start < many / 1_000


def test_many_cases_shared_out_among_processes_are_answered_in_order_as_each_by_itself(tmp_path: Path) -> None:
    kinds = [fx.consent(fx.node("permit")), fx.consent(fx.node("deny")), None, 5]
    cases = [fx.case(id=str(n), consents=[kinds[n % 4]], fixtureOverride=own_override(n)) for n in range(777)]
    path = tmp_path / "many.json"
    path.write_text(
        json.dumps({"cases": [7], "fixture": fx.FIXTURE, "cases ": 1}).replace(
            '"cases ": 1', f'"cases": {json.dumps(cases)}'
        )
    )
    fixture = Fixture(fx.FIXTURE)
    assert run(path) == [decide_case(case, fixture) for case in cases]


def test_cases_with_an_override_each_need_the_memory_of_a_few(tmp_path: Path) -> None:
    fixture = Fixture(fx.FIXTURE)
    decided = 0
    tracemalloc.start()
    try:
        for n in range(1_500):
            decided += decide_case(fx.case(fixtureOverride=own_override(n)), fixture)["rule"] == "F1"
            if n == 300:
                early = tracemalloc.get_traced_memory()[0]
        late = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert decided == 1_500
    assert late < early * 1.5  # four times as many overrides, and what is kept of them is kept full


def test_an_override_changes_what_inherits_from_it_and_nothing_for_the_next_case() -> None:
    fixture = Fixture(fx.FIXTURE)
    of_department = fx.case(request=fx.request(org="lake-eye"), document=fx.document(custodian="hill"))
    suspended = {"organizations": {"lake": {"agreement": {"status": "suspended"}}}}
    lawless = {"jurisdictions": {"JA": {"timezone": "Nowhere/Land"}}}
    elsewhere = {"organizations": {"lake-eye": {"partOf": "coin"}}}
    gone = {"organizations": {"lake": None}}
    for override, rule in [(None, "F1"), (suspended, "G2"), (None, "F1"), (lawless, "G1"), (elsewhere, "G4"), (gone, "G2"),
                           ({}, "F1"), ({"roles": {"physician": []}}, "G5"), (suspended, "G2"), (None, "F1")]:  # fmt: skip
        assert decide_case(of_department | {"fixtureOverride": override}, fixture)["rule"] == rule


def test_an_override_mends_a_part_of_the_fixture_that_cannot_be_used() -> None:
    for member in ("organizations", "jurisdictions", "patients", "roles", "purposeParent"):
        broken = Fixture(fx.FIXTURE | {member: 3})
        assert decide_case(fx.case(), broken)["rule"] == "G1"
        assert decide_case(fx.case(fixtureOverride={member: fx.FIXTURE[member]}), broken)["rule"] == "F1"


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param('{{"fixture": {fixture}, "cases": [{case}, {case}]}}', id="fixture-first"),
        pytest.param('{{"cases": [{case}, {case}], "fixture": {fixture}}}', id="fixture-last"),
        pytest.param('\n{{ "spec" : [ {{ }} ] ,"cases":\t[ {case}\r\n,{case} ] , "fixture" : {fixture} }} \n', id="spaces"),
        pytest.param('\ufeff{{"fixture": {fixture}, "cases": [{case}, {case}]}}', id="byte-order-mark"),
        pytest.param('{{"cases": 3, "fixture": 4, "fixture": {fixture}, "cases": [{case}, {case}]}}', id="last-member-counts"),
    ],
)  # fmt: skip
def test_members_of_a_file_come_in_any_order_and_layout(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "cases.json"
    path.write_text(layout.format(fixture=json.dumps(fx.FIXTURE), case=json.dumps(fx.case())), encoding="utf-8")
    assert [one["rule"] for one in run(path)] == ["F1", "F1"]


@pytest.mark.parametrize("tail", ["", "]", "] }x", ",]}", "] ,}", "]}{}"])
def test_a_file_that_breaks_off_after_good_cases_prints_none_of_them(tmp_path: Path, tail: str) -> None:
    path = tmp_path / "cases.json"
    path.write_text('{"fixture": ' + json.dumps(fx.FIXTURE) + ', "cases": [' + json.dumps(fx.case()) + tail)
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("decide", str(path), stdout=out)
    assert (ended.value.code, out.getvalue()) == (2, "")


def test_an_id_of_any_characters_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    names = ["d\u00e9", "\ud800", "\u2028", 7, None]
    path.write_text(json.dumps({"fixture": fx.FIXTURE, "cases": [fx.case(id=name) for name in names]}))
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    call_command("decide", str(path), stdout=out)
    out.seek(0)
    assert [json.loads(line)["id"] for line in out] == names


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"fixture": {}, "cases": {}}', '{"cases": []}', '{"fixture": [], "cases": []}', "[" * 100_000],
)
def test_an_unusable_file_ends_with_exit_code_2(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(SystemExit) as ended:
        run(path)
    assert ended.value.code == 2


def test_a_file_that_is_not_there_ends_with_exit_code_2(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        run(tmp_path / "none.json")
    assert ended.value.code == 2


@pytest.mark.parametrize(
    "broken",
    [
        {"now": "yesterday"},
        {"now": "2026-06-15"},
        {"now": "2026-06-15T12:00:00"},
        {"now": None},
        {"patient": "nobody"},
        {"patient": ["ada"]},
        {"consents": None},
        {"consents": {}},
        {"request": None},
        {"request": []},
        {"request": fx.request(purpose=["TREAT"])},
        {"request": fx.request(operation="peek")},
        {"request": fx.request(role=None)},
        {"request": fx.request(user="")},
        {"request": fx.request(org=None)},
        {"request": fx.request(careTeams="t1")},
        {"document": None},
        {"document": fx.document(labels="HIV")},
        {"document": fx.document(labels=["NONSENSE"])},
        {"document": fx.document(confidentiality="X")},
        {"document": fx.document(confidentiality=3)},
        {"document": fx.document(labelled="yes")},
        {"document": fx.document(patient="bea")},
        {"document": fx.document(derivedFrom={})},
        {"fixtureOverride": []},
        {"fixtureOverride": {"purposeParent": None}},
        {"fixtureOverride": {"patients": {"ada": {"jurisdiction": "ZZ"}}}},
        {"fixtureOverride": {"jurisdictions": {"JA": {"timezone": "Nowhere/Land"}}, "organizations": 3}},
    ],
)
def test_an_unusable_case_is_denied_and_the_others_still_decided(tmp_path: Path, broken: dict[str, Any]) -> None:
    path = tmp_path / "cases.json"
    path.write_text(json.dumps({"fixture": fx.FIXTURE, "cases": [fx.case(**broken), fx.case(id="good"), 5]}))
    bad, good, number = run(path)
    denied = {"decision": "deny", "rule": "G1", "reason": "invalid-request", "obligations": []}
    assert bad == {"id": "case", **denied}
    assert good["rule"] == "F1"
    assert number == {"id": None, **denied}


def test_a_set_of_documents_is_partial_when_only_some_are_permitted(tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    documents = [fx.document(id="a"), fx.document(id="b", labels=["SDV"]), "broken"]
    path.write_text(json.dumps({"fixture": fx.FIXTURE, "cases": [fx.case(documents=documents)]}))
    (answer,) = run(path)
    assert answer["decision"] == "partial"
    assert {name: one["rule"] for name, one in answer["documents"].items()} == {
        "a": "F1",
        "b": "F2",
        "documents[2]": "G1",
    }
