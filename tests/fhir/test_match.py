"""``$match`` [ITI-119] over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hie.standards import fhir
from tests.exchange.people import CLINIC, HOSPITAL, QUIET, fed, houses, ivo, nora  # noqa: F401 - `houses` is a fixture
from tests.fhir.conftest import Api
from tests.trust import conftest as trust

pytestmark = pytest.mark.django_db

GRADE = "http://hl7.org/fhir/StructureDefinition/match-grade"


@pytest.fixture
def clinic(hub: None, houses: None) -> Api:  # noqa: F811 - the fixture of that name
    return Api(trust.token("org-clinic"))


def asked(**changes: Any) -> dict[str, Any]:
    whole = {
        "resourceType": "Patient",
        "name": [{"family": "Quimby", "given": ["Nora"]}],
        "birthDate": "1970-02-03",
        "gender": "female",
        "address": [{"line": ["5 Elm Street"], "city": "Ames", "postalCode": "50010"}],
        "telecom": [{"system": "phone", "value": "515-555-0101"}],
    } | changes
    return {key: value for key, value in whole.items() if value is not None}


def parameters(patient: dict[str, Any] | None, **parts: Any) -> dict[str, Any]:
    given: list[dict[str, Any]] = [] if patient is None else [{"name": "resource", "resource": patient}]
    for name, value in parts.items():
        given.append({"name": name, "valueBoolean" if isinstance(value, bool) else "valueInteger": value})
    return {"resourceType": "Parameters", "parameter": given}


def hits(answer: Any) -> list[tuple[str, str, float]]:
    assert answer.status_code == 200, answer.content
    bundle = answer.json()
    assert fhir.check(answer.content, bundle) == []
    assert bundle["type"] == "searchset"
    out = []
    for entry in bundle.get("entry", []):
        assert entry["search"]["mode"] == "match"
        (grade,) = entry["search"]["extension"]
        assert grade["url"] == GRADE
        out.append((entry["resource"]["id"], grade["valueCode"], entry["search"]["score"]))
    assert bundle["total"] == len(out)
    return out


def test_hits_come_best_first_with_grade_and_score(clinic: Api) -> None:
    person = str(fed(HOSPITAL, "h1", nora()))
    like = str(fed(HOSPITAL, "h2", ivo(names=nora().names, birth_date="1970-03-02")))
    found = hits(clinic.post("/Patient/$match", parameters(asked())))
    assert found[0][:2] == (person, "certain")
    assert [score for *_, score in found] == sorted((score for *_, score in found), reverse=True)
    assert all(0 <= score <= 1 for *_, score in found)
    assert {grade for identifier, grade, _ in found if identifier == like} <= {"probable", "possible"}


def test_a_bare_patient_is_the_same_question(clinic: Api) -> None:
    fed(HOSPITAL, "h1", nora())
    assert hits(clinic.post("/Patient/$match", asked())) == hits(clinic.post("/Patient/$match", parameters(asked())))


def test_only_certain_matches_are_one_person_or_none(clinic: Api) -> None:
    person = str(fed(HOSPITAL, "h1", nora()))
    assert [h[0] for h in hits(clinic.post("/Patient/$match", parameters(asked(), onlyCertainMatches=True)))] == [
        person
    ]
    vague = asked(birthDate=None, address=None, telecom=None, gender=None)
    assert hits(clinic.post("/Patient/$match", parameters(vague, onlyCertainMatches=True))) == []
    assert hits(clinic.post("/Patient/$match", parameters(asked(), count=0))) == []


def test_a_hidden_person_and_nobody_are_one_answer(clinic: Api) -> None:
    fed(QUIET, "q1", nora())

    def told(patient: dict[str, Any]) -> str:
        bundle = clinic.post("/Patient/$match", patient).json()
        return json.dumps({k: v for k, v in bundle.items() if k not in ("id", "meta")})

    assert told(asked()) == told(asked(name=[{"family": "Nobody"}], birthDate="1850-01-02", address=None, telecom=None))
    fed(CLINIC, "c1", nora())
    assert len(hits(clinic.post("/Patient/$match", asked()))) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(parameters(None), 422, id="no-resource"),
        pytest.param(parameters({"resourceType": "Person"}), 400, id="another-type"),
        pytest.param({"resourceType": "Bundle", "type": "collection"}, 400, id="another-body"),
        pytest.param(parameters({"resourceType": "Patient"}), 422, id="nothing-to-match-on"),
        pytest.param(parameters(asked(gender="f")), 400, id="bad-code"),
        pytest.param(parameters(asked(birthDate="soon")), 400, id="bad-date"),
        pytest.param(parameters(asked(implicitRules="http://x")), 422, id="implicit-rules"),
        pytest.param(parameters(asked(), limit=3), 400, id="unknown-parameter"),
        pytest.param(parameters(asked(), count=-1), 400, id="negative-count"),
        pytest.param(parameters(asked(), count=True), 400, id="count-that-is-no-number"),
        pytest.param(parameters(asked(), onlyCertainMatches=1), 400, id="flag-that-is-none"),
        pytest.param(parameters(asked()) | {"colour": "red"}, 400, id="unknown-element"),
        pytest.param(
            {"resourceType": "Parameters", "parameter": [*parameters(asked())["parameter"], {"name": "count"}]},
            400,
            id="count-without-value",
        ),
        pytest.param({"resourceType": "Parameters", "parameter": "x"}, 400, id="parameter-that-is-no-list"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(clinic: Api, body: dict[str, Any], status: int) -> None:
    answer = clinic.post("/Patient/$match", body)
    assert answer.status_code == status, answer.content
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert "Quimby" not in answer.content.decode()


def test_it_is_offered_with_post_only(clinic: Api) -> None:
    assert clinic.get("/Patient/$match").status_code == 405
