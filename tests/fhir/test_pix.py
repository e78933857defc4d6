"""``$ihe-pix`` [ITI-83] over HTTP: statuses and texts as PIXm fixes them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings

from hie.standards import fhir
from tests.exchange.people import CLINIC, HOSPITAL, QUIET, fed, houses, nora  # noqa: F401 - `houses` is a fixture
from tests.fhir.conftest import BASE, Api
from tests.trust import conftest as trust

pytestmark = pytest.mark.django_db

HUB = settings.HUB_ASSIGNING_AUTHORITY


@pytest.fixture
def clinic(hub: None, houses: None) -> Api:  # noqa: F811 - the fixture of that name
    return Api(trust.token("org-clinic"))


def pix(api: Api, source: str | None, *targets: str, **more: str) -> Any:
    pairs = [("sourceIdentifier", source)] if source is not None else []
    return api.get("/Patient/$ihe-pix?" + urlencode([*pairs, *(("targetSystem", t) for t in targets), *more.items()]))


def posted(source: str | None, *targets: str, **more: str) -> dict[str, Any]:
    """The same question as Parameters."""
    pairs = [("sourceIdentifier", "valueString", source)] if source is not None else []
    parts = [
        *pairs,
        *(("targetSystem", "valueUri", t) for t in targets),
        *((n, "valueString", v) for n, v in more.items()),
    ]
    body: dict[str, Any] = {"resourceType": "Parameters"}
    return body | ({"parameter": [{"name": name, kind: value} for name, kind, value in parts]} if parts else {})


def told(answer: Any) -> tuple[set[tuple[str, str]], list[str]]:
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert body["resourceType"] == "Parameters"
    assert fhir.check(answer.content, body) == []
    parts = body.get("parameter", [])
    identifiers = {
        (p["valueIdentifier"]["system"], p["valueIdentifier"]["value"])
        for p in parts
        if p["name"] == "targetIdentifier"
    }
    return identifiers, [p["valueReference"]["reference"] for p in parts if p["name"] == "targetId"]


def test_the_other_identifiers_come_back_and_the_source_does_not(clinic: Api) -> None:
    person = fed(HOSPITAL, "h1", nora())
    fed(CLINIC, "c1", nora())
    fed(QUIET, "q1", nora())
    identifiers, references = told(pix(clinic, f"urn:oid:{HOSPITAL}|h1"))
    assert identifiers == {(f"urn:oid:{CLINIC}", "c1"), (f"urn:oid:{HUB}", str(person))}
    assert references == [f"{BASE}/Patient/{person}"]
    assert told(pix(clinic, f"urn:oid:{HOSPITAL}|h1", f"urn:oid:{CLINIC}"))[0] == {(f"urn:oid:{CLINIC}", "c1")}
    several = told(pix(clinic, f"urn:oid:{HOSPITAL}|h1", f"urn:oid:{CLINIC}", f"urn:oid:{HUB}"))
    assert several[0] == identifiers
    by_id = told(pix(clinic, f"{BASE}|Patient/{person}"))
    assert by_id[0] == identifiers | {(f"urn:oid:{HOSPITAL}", "h1")}


def test_a_known_source_without_hits_is_an_empty_answer(clinic: Api) -> None:
    fed(HOSPITAL, "h1", nora())
    answer = pix(clinic, f"urn:oid:{HOSPITAL}|h1", f"urn:oid:{QUIET}")
    assert answer.json() == {"resourceType": "Parameters"}


@pytest.mark.parametrize(
    ("source", "targets", "status", "code", "text"),
    [
        (f"urn:oid:{HOSPITAL}|h9", [], 404, "not-found", "sourceIdentifier Patient Identifier not found"),
        ("urn:oid:1.2.3|h1", [], 400, "code-invalid", "sourceIdentifier Assigning Authority not found"),
        (f"urn:oid:{HOSPITAL}|h1", ["urn:oid:1.2.3"], 403, "code-invalid", "targetSystem not found"),
        (f"urn:oid:{QUIET}|q1", [], 404, "not-found", "sourceIdentifier Patient Identifier not found"),
        (f"urn:oid:{HOSPITAL}", [], 400, "invalid", None),
        (f"urn:oid:{HOSPITAL}|", [], 400, "invalid", None),
        ("|h1", [], 400, "invalid", None),
        (None, [], 400, "required", None),
    ],
)
def test_each_failure_has_its_own_status_and_text(
    clinic: Api, source: str | None, targets: list[str], status: int, code: str, text: str | None
) -> None:
    fed(HOSPITAL, "h1", nora())
    fed(QUIET, "q1", nora())
    assert pix(clinic, f"urn:oid:{HOSPITAL}|h1").status_code == 200
    answer = pix(clinic, source, *targets)
    assert answer.status_code == status, answer.content
    (issue,) = answer.json()["issue"]
    assert (issue["severity"], issue["code"]) == ("error", code)
    if text:
        assert issue["diagnostics"] == text
    by_post = clinic.post("/Patient/$ihe-pix", posted(source, *targets))
    assert (by_post.status_code, by_post.content) == (status, answer.content)


def test_a_posted_question_is_the_same_question(clinic: Api) -> None:
    fed(HOSPITAL, "h1", nora())
    fed(CLINIC, "c1", nora())
    fed(QUIET, "q1", nora())
    for asked in ((f"urn:oid:{HOSPITAL}|h1",), (f"urn:oid:{HOSPITAL}|h1", f"urn:oid:{CLINIC}", f"urn:oid:{HUB}")):
        answer = clinic.post("/Patient/$ihe-pix", posted(*asked))
        assert told(answer)[0]
        assert answer.content == pix(clinic, *asked).content
    hidden, unknown = (clinic.post("/Patient/$ihe-pix", posted(f"urn:oid:{QUIET}|{v}")) for v in ("q1", "q9"))
    assert (hidden.status_code, hidden.content) == (404, unknown.content)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({"resourceType": "Patient"}, 400, id="another-resource"),
        pytest.param({"resourceType": "Parameters", "parameter": [{"name": "sourceIdentifier"}]}, 400, id="no-value"),
        pytest.param({"resourceType": "Parameters", "parameter": [{"name": "sourceIdentifier", "valueBoolean": True}]}, 400, id="another-type"),
        pytest.param({"resourceType": "Parameters", "parameter": [{"name": "x", "valueString": "y"}, 7]}, 400, id="no-part"),
        pytest.param({"resourceType": "Parameters", "parameter": "x"}, 400, id="no-list"),
        pytest.param({"resourceType": "Parameters", "parameter": 2 * posted("urn:oid:1.2|3")["parameter"]}, 400, id="two-sources"),
        pytest.param(posted(f"urn:oid:{HOSPITAL}|h1", shoe="44"), 200, id="unknown-parameter"),
    ],
)  # fmt: skip
def test_a_posted_question_that_is_none_is_refused(clinic: Api, body: dict[str, Any], status: int) -> None:
    fed(HOSPITAL, "h1", nora())
    answer = clinic.post("/Patient/$ihe-pix", body)
    assert answer.status_code == status, answer.content
    if status == 200:
        strict = clinic.post("/Patient/$ihe-pix", body, Prefer="handling=strict")
        assert strict.status_code == 400


def test_a_denied_source_and_an_unknown_one_are_one_answer_to_the_byte(clinic: Api) -> None:
    fed(QUIET, "q1", nora())
    assert pix(clinic, f"urn:oid:{QUIET}|q1").content == pix(clinic, f"urn:oid:{QUIET}|q9").content


def test_two_sources_are_refused(clinic: Api) -> None:
    pairs = [("sourceIdentifier", f"urn:oid:{HOSPITAL}|h1"), ("sourceIdentifier", f"urn:oid:{HOSPITAL}|h2")]
    assert clinic.get("/Patient/$ihe-pix?" + urlencode(pairs)).status_code == 400


def test_guessing_is_throttled_apart(clinic: Api, settings: Any) -> None:
    settings.GUESSING_PER_MINUTE = 3
    statuses = [pix(clinic, f"urn:oid:{HOSPITAL}|x{n}").status_code for n in range(5)]
    assert statuses[:3] == [404, 404, 404]
    assert 429 in statuses
