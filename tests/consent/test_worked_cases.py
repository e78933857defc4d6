"""The worked cases of the specification, through `./hub decide`."""

from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

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


def test_ten_thousand_cases_take_less_than_ten_seconds(tmp_path: Path) -> None:
    path = tmp_path / "many.json"
    consent = fx.consent(fx.node("permit", fx.node("deny", securityLabel=fx.labels("PSY"))))
    path.write_text(json.dumps({"fixture": fx.FIXTURE, "cases": [fx.case(consent, id=str(n)) for n in range(10_000)]}))
    start = time.process_time()
    assert len(run(path)) == 10_000
    assert time.process_time() - start < 10


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
