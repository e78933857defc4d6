"""PDQm and the identity feed over HTTP: real tokens, real JSON."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.conf import settings

from hie.audit.models import AuditEvent
from hie.standards import fhir
from patients.models import SourceRecord
from tests.exchange.people import CLINIC, HOSPITAL, QUIET, fed, houses, ivo, nora, zander  # noqa: F401 - `houses` is a fixture
from tests.fhir.conftest import BASE, Api
from tests.trust import conftest as trust

pytestmark = pytest.mark.django_db

HUB = settings.HUB_ASSIGNING_AUTHORITY
OID = "urn:oid:"


@pytest.fixture
def clinic(hub: None, houses: None) -> Api:  # noqa: F811 - the fixture of that name
    return Api(trust.token("org-clinic"))


@pytest.fixture
def hospital(clinic: Api) -> Api:
    extension = trust.b2b(subject_id="Practitioner/bo", organization_id="urn:oid:2.999.10.2")
    return Api(trust.token("org-hospital", extensions={"hl7-b2b": extension}))


def patient(authority: str = CLINIC, value: str = "c1", **changes: Any) -> dict[str, Any]:
    whole = {
        "resourceType": "Patient",
        "identifier": [{"system": f"{OID}{authority}", "value": value}],
        "active": True,
        "name": [{"family": "Quimby", "given": ["Nora"]}],
        "gender": "female",
        "birthDate": "1970-02-03",
        "telecom": [{"system": "phone", "value": "515-555-0101"}],
        "address": [{"line": ["5 Elm Street"], "city": "Ames", "state": "IA", "postalCode": "50010", "country": "US"}],
    } | changes
    return {key: item for key, item in whole.items() if item is not None}


def put(api: Api, body: dict[str, Any], authority: str = CLINIC, value: str = "c1", **headers: str) -> Any:
    return api.call("PUT", f"/Patient?identifier={quote(f'{OID}{authority}|{value}')}", body, **headers)


def found(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.content
    bundle = answer.json()
    assert bundle["type"] == "searchset"
    assert fhir.check(answer.content, bundle) == []
    entries = [e["resource"] for e in bundle.get("entry", []) if e["search"]["mode"] == "match"]
    assert bundle["total"] >= len(entries)
    return entries


def ids(answer: Any) -> set[str]:
    return {resource["id"] for resource in found(answer)}


def domains(resource: dict[str, Any]) -> set[str]:
    return {item["system"].removeprefix(OID) for item in resource["identifier"]}


# --- feed [ITI-104] ---------------------------------------------------------------------------------------------------


def test_a_feed_creates_then_revises_with_the_headers_of_a_stored_resource(clinic: Api) -> None:
    created = put(clinic, patient())
    assert created.status_code == 201, created.content
    body = created.json()
    assert fhir.check(created.content, body) == []
    assert created["Location"] == f"{BASE}/Patient/{body['id']}/_history/1"
    assert created["ETag"] == 'W/"1"'
    assert created["Last-Modified"]
    assert domains(body) == {HUB, CLINIC}
    revised = put(clinic, patient(maritalStatus={"text": "Married"}))
    assert (revised.status_code, revised["ETag"]) == (200, 'W/"2"')
    assert revised.json()["maritalStatus"] == {"text": "Married"}
    assert put(clinic, patient(maritalStatus={"text": "Married"}))["ETag"] == 'W/"2"'
    assert clinic.get(f"/Patient/{body['id']}").json()["maritalStatus"] == {"text": "Married"}


def test_a_feed_may_ask_for_no_body(clinic: Api) -> None:
    answer = put(clinic, patient(), Prefer="return=minimal")
    assert (answer.status_code, answer.content) == (201, b"")


@pytest.mark.parametrize(
    ("etag", "status"), [('W/"1"', 200), ('W/"2"', 412), ('"1"', 200), ("nonsense", 412), ('W/"x"', 412)]
)
def test_if_match_holds_the_feed_to_the_version_seen(clinic: Api, etag: str, status: int) -> None:
    put(clinic, patient())
    answer = put(clinic, patient(gender="other"), **{"If-Match": etag})
    assert answer.status_code == status, answer.content


@pytest.mark.parametrize(
    ("path", "changes", "status", "code"),
    [
        pytest.param("", {}, 400, "value", id="no-criteria"),
        pytest.param("?family=Quimby", {}, 400, "value", id="other-criteria"),
        pytest.param("?identifier=c1", {}, 400, "value", id="no-system"),
        pytest.param(f"?identifier={OID}{CLINIC}|", {}, 400, "value", id="no-value"),
        pytest.param(f"?identifier={OID}{CLINIC}|c2", {}, 400, "structure", id="query-and-body-differ"),
        pytest.param(f"?identifier={OID}{CLINIC}|c1,{OID}{CLINIC}|c2", {}, 412, "multiple-matches", id="two-identifiers"),
        pytest.param(f"?identifier={OID}{HOSPITAL}|c1", {"identifier": [{"system": f"{OID}{HOSPITAL}", "value": "c1"}]}, 403, "forbidden", id="another's-domain"),
        pytest.param("?identifier=http://x|c1", {"identifier": [{"system": "http://x", "value": "c1"}]}, 403, "forbidden", id="nobody's-domain"),
        pytest.param(f"?identifier={OID}{CLINIC}|c1", {"identifier": None}, 422, "required", id="no-identifier"),
        pytest.param(f"?identifier={OID}{CLINIC}|c1", {"name": None}, 422, "required", id="no-name"),
        pytest.param(f"?identifier={OID}{CLINIC}|c1", {"name": [{"use": "official"}]}, 422, "required", id="empty-name"),
        pytest.param(f"?identifier={OID}{CLINIC}|c1", {"birthDate": "03.02.1970"}, 400, "value", id="bad-date"),
        pytest.param(f"?identifier={OID}{CLINIC}|c1", {"gender": "f"}, 400, "code-invalid", id="bad-code"),
        pytest.param(f"?identifier={OID}{CLINIC}|c1", {"implicitRules": "http://x"}, 422, "invariant", id="implicit-rules"),
        pytest.param(f"?identifier={OID}{CLINIC}|c1", {"telecom": [{}]}, 400, "structure", id="empty-object"),
        pytest.param(f"?identifier={OID}{CLINIC}|c1", {"address": []}, 400, "structure", id="empty-list"),
        pytest.param(f"?identifier={OID}{CLINIC}|c1", {"resourceType": "Person"}, 400, "structure", id="another-type"),
    ],
)  # fmt: skip
def test_a_feed_that_breaks_one_rule_is_refused_by_name(
    clinic: Api, path: str, changes: dict[str, Any], status: int, code: str
) -> None:
    body = {k: v for k, v in patient().items() if changes.get(k, v) is not None} | {
        k: v for k, v in changes.items() if v is not None
    }
    answer = clinic.call("PUT", f"/Patient{path}", body)
    assert answer.status_code == status, answer.content
    issues = answer.json()["issue"]
    assert code in {issue["code"] for issue in issues}, issues
    assert "Quimby" not in answer.content.decode()
    assert SourceRecord.objects.count() == 0


def test_a_contact_point_without_a_value_is_kept_and_read_again(clinic: Api) -> None:
    telecom = [{"system": "phone", "use": "home"}, {"system": "email", "value": "nora@example.org"}]
    assert put(clinic, patient(telecom=telecom)).status_code == 201
    again = put(clinic, patient(telecom=telecom, gender="other"))
    assert again.status_code == 200, again.content
    assert again.json()["telecom"] == telecom
    (shown,) = found(clinic.get(f"/Patient?identifier={OID}{CLINIC}%7Cc1"))
    assert {"system": "phone", "use": "home"} not in shown.get("telecom", []) or shown["telecom"] == telecom


@pytest.mark.parametrize("given", ["ap9999-12-31", "ap0001-01-01", "ap9999-12-31T23:59:59Z"])
def test_a_time_near_the_end_of_the_calendar_finds_nobody(clinic: Api, given: str) -> None:
    put(clinic, patient())
    assert found(clinic.get(f"/Patient?family=Quimby&_lastUpdated={given}")) == []


def test_a_duplicate_is_resolved_into_its_survivor(clinic: Api) -> None:
    survivor = put(clinic, patient()).json()["id"]
    other = patient(value="c2", name=[{"family": "Zander", "given": ["Ivo"]}], birthDate="1921-01-09", gender="male")
    former = put(clinic, other, value="c2").json()["id"]
    assert former != survivor
    link = [{"other": {"identifier": {"system": f"{OID}{CLINIC}", "value": "c1"}}, "type": "replaced-by"}]
    answer = put(clinic, other | {"active": False, "link": link}, value="c2")
    assert answer.status_code == 200, answer.content
    assert ids(clinic.get(f"/Patient?identifier={OID}{CLINIC}|c2")) == {survivor}
    old = clinic.get(f"/Patient/{former}").json()
    assert old["active"] is False
    assert old["link"] == [{"other": {"reference": f"Patient/{survivor}"}, "type": "replaced-by"}]
    broken = put(clinic, other | {"active": True, "link": link}, value="c2")
    assert broken.status_code == 422


def test_remove_answers_alike_whether_or_not_there_was_something(clinic: Api, hospital: Api) -> None:
    person = put(clinic, patient()).json()["id"]
    for _ in range(2):
        answer = clinic.call("DELETE", f"/Patient?identifier={OID}{CLINIC}|c1")
        assert (answer.status_code, answer.content) == (204, b"")
    assert clinic.get(f"/Patient/{person}").status_code == 404
    assert hospital.call("DELETE", f"/Patient?identifier={OID}{CLINIC}|c1").status_code == 403
    several = clinic.call("DELETE", f"/Patient?identifier={OID}{CLINIC}|c1,{OID}{CLINIC}|c2")
    assert several.status_code == 412


def test_a_record_said_not_to_be_in_use_is_shown_so(clinic: Api) -> None:
    body = put(clinic, patient(active=False)).json()
    assert body["active"] is False
    assert clinic.get(f"/Patient/{body['id']}").json()["active"] is False
    assert ids(clinic.get("/Patient?family=quimby&active=false")) == {body["id"]}
    assert ids(clinic.get("/Patient?family=quimby&active=true")) == set()


def test_a_revision_that_is_another_person_is_kept_aside_and_said_so(clinic: Api) -> None:
    put(clinic, patient())
    other = patient(
        name=[{"family": "Zander", "given": ["Ivo"]}], birthDate="1921-01-09", gender="male", telecom=None, address=None
    )
    answer = put(clinic, other)
    assert answer.status_code == 200
    assert answer.json()["issue"][0]["severity"] == "warning"
    assert found(clinic.get("/Patient?family=quimby"))
    assert not found(clinic.get("/Patient?family=zander"))


# --- search and read [ITI-78] -----------------------------------------------------------------------------------------


FILTERS: list[tuple[str, bool]] = [
    ("family=quim", True),
    ("family=QUIMBY", True),
    ("family:exact=Quimby", True),
    ("family:exact=quimby", False),
    ("family:contains=imb", True),
    ("given=nora", True),
    ("given:exact=Nora", True),
    ("name=quimby", True),
    ("birthdate=1970-02-03", True),
    ("birthdate=1970", True),
    ("birthdate=ge1970-02-03", True),
    ("birthdate=gt1970-02-03", False),
    ("birthdate=lt1970-02-04", True),
    ("birthdate=ne1970-02-03", False),
    ("gender=female&family=quimby", True),
    ("gender=male&family=quimby", False),
    ("family=quimby,other", True),
    ("family=quimby&birthdate=1971", False),
    ("birthdate=1970-02-03&family=quimby", True),
    ("telecom=515-555-0101", True),
    ("phone=5155550101", True),
    ("telecom=515-555-9999", False),
    ("address=elm", True),
    ("address=5 elm", True),
    ("address-city=ames", True),
    ("address-state=IA", True),
    ("address-postalcode=50010", True),
    ("address-country=US", True),
    ("address-city:exact=ames", False),
    ("mothersMaidenName=roe", True),
    ("mothersMaidenName=doe", False),
    ("active=true&family=quimby", True),
    ("active=false&family=quimby", False),
    (f"identifier={OID}{HOSPITAL}|h1", True),
    ("identifier=h1", True),
    ("identifier=|h1", False),
    (f"identifier={OID}{CLINIC}|h1", False),
    (f"identifier={OID}{HOSPITAL}|h1&identifier={OID}{HOSPITAL}|h2", False),
    ("_lastUpdated=gt2020-01-01&family=quimby", True),
    ("_lastUpdated=lt2020-01-01&family=quimby", False),
    ("active=true&active=false&family=quimby", False),
    ("active:not=true&family=quimby", False),
    ("active:not=false&family=quimby", True),
    ("active:missing=true&family=quimby", False),
    ("active:missing=false&family=quimby", True),
    ("gender:not=male", True),
    ("gender:not=female,male", False),
    ("gender=http://hl7.org/fhir/administrative-gender|female&family=quimby", True),
    ("gender=urn:x|female&family=quimby", False),
    ("gender:not=urn:x|female&family=quimby", True),
    ("gender:missing=true", False),
    ("gender:missing=false", True),
    ("family:missing=true", False),
    ("family:missing=false&given:missing=false", True),
    ("mothersMaidenName:missing=true", False),
    ("birthdate:missing=true&family=quimby", False),
    ("birthdate:missing=false&family=quimby", True),
    ("email:missing=true&family=quimby", True),
    ("phone:missing=true&family=quimby", False),
    ("telecom:missing=false", True),
    ("telecom:not=515-555-9999&family=quimby", True),
    ("phone:not=5155550101&family=quimby", False),
    ("address-country:missing=false", True),
    ("address:missing=true", False),
    (f"identifier:not={OID}{HOSPITAL}|h1", False),
    (f"identifier:not={OID}{HOSPITAL}|h2&family=quimby", True),
    (f"identifier:not={OID}{HOSPITAL}|", False),
    (f"identifier:not={OID}{CLINIC}|", True),
    ("identifier:missing=true", False),
    ("identifier:missing=false", True),
    ("_id:not=no-such-id&family=quimby", True),
    ("_id:missing=true&family=quimby", False),
    ("_id:missing=false&family=quimby", True),
    ("_lastUpdated:missing=true&family=quimby", False),
    ("_lastUpdated:missing=false&family=quimby", True),
]


def test_each_parameter_filters_alone_and_together_by_get_and_post(clinic: Api) -> None:
    person = str(fed(HOSPITAL, "h1", nora(mothers_maiden_name="Roe", addresses=(_address(),))))
    fed(HOSPITAL, "h2", ivo())
    form = "application/x-www-form-urlencoded"
    wrong = []
    for query, hit in FILTERS:
        encoded = urlencode([tuple(part.split("=", 1)) for part in query.split("&")])
        by_get = ids(clinic.get(f"/Patient?{encoded}"))
        by_post = ids(clinic.post("/Patient/_search", encoded, content_type=form))
        if (person in by_get) is not hit or by_post != by_get:
            wrong.append((query, by_get, by_post))
    assert wrong == []


def _address() -> Any:
    from hie.standards.demographics import Address

    return Address(lines=("5 Elm Street",), city="Ames", state="IA", postal_code="50010", country="US")


def test_a_known_parameter_with_a_bad_value_is_refused(clinic: Api) -> None:
    bad = (
        "birthdate=yesterday", "gender=f", "active=maybe", "family:phonetic=x", "_count=-1", "", "gender:not=f",
        "active:not=maybe", "family:not=x", "family:missing=perhaps", "birthdate:not=1970", "identifier:of-type=a|b|c",
        "_sort=shoe-size&family=x", "_sort=gender",
    )  # fmt: skip
    assert {query: clinic.get(f"/Patient?{query}").status_code for query in bad} == dict.fromkeys(bad, 400)


def test_one_of_whom_it_is_not_known_is_found_by_missing_and_by_not(clinic: Api) -> None:
    person = str(fed(HOSPITAL, "h1", nora(gender="", birth_date="", telecoms=(), addresses=())))
    other = str(fed(HOSPITAL, "h2", ivo()))
    queries = "gender:missing=true", "birthdate:missing=true", "phone:missing=true", "address:missing=true"
    for query in (*queries, "&".join(queries)):
        assert person in ids(clinic.get(f"/Patient?{query}")), query
        assert other not in ids(clinic.get(f"/Patient?{query}&gender:missing=true")), query
    assert {person, other} <= ids(clinic.get("/Patient?gender:not=female"))
    assert ids(clinic.get(f"/Patient?gender:not=female&_id:not={person}")) == {other}


def test_what_only_a_hidden_record_says_neither_finds_nor_excludes_anybody(clinic: Api) -> None:
    person = str(fed(HOSPITAL, "h1", nora(gender="", mothers_maiden_name="")))
    fed(QUIET, "q1", nora(mothers_maiden_name="Roe"))
    shown = found(clinic.get(f"/Patient?_id={person}"))
    assert [domains(one) for one in shown] == [{HUB, HOSPITAL}]
    for query in (
        "gender:missing=true", "mothersMaidenName:missing=true", "gender:not=female", f"identifier:not={OID}{QUIET}|q1",
    ):  # fmt: skip
        assert ids(clinic.get(f"/Patient?{query}")) == {person}, query
    for query in ("gender:missing=false", "mothersMaidenName:missing=false", f"identifier={OID}{QUIET}|q1"):
        assert ids(clinic.get(f"/Patient?{query}")) == set(), query


@pytest.mark.parametrize("sort", ["family", "-family", "birthdate,-given", "-birthdate", "_lastUpdated", "-_id"])
def test_an_order_that_was_asked_for_holds_over_all_pages(clinic: Api, sort: str) -> None:
    for number, (family, given, birth) in enumerate(
        [
            ("Abel", "Una", "1950"),
            ("Abel", "Kim", "1950"),
            ("Moss", "Una", ""),
            ("Zander", "", "1990-01-02"),
            ("Abel", "Una", "1971-05-06"),
        ]
    ):
        name = {"family": family} | ({"given": [given]} if given else {})
        person = patient(value=f"s{number}", name=[name], birthDate=birth or None, telecom=None, address=None)
        assert put(clinic, person, value=f"s{number}").status_code == 201
    whole = found(clinic.get(f"/Patient?gender=female&_sort={sort}"))
    seen, answer = [], clinic.get(f"/Patient?gender=female&_count=2&_sort={sort}")
    while True:
        seen += [one["id"] for one in found(answer)]
        following = [link["url"] for link in answer.json()["link"] if link["relation"] == "next"]
        if not following:
            break
        answer = clinic.get(following[0])
    assert seen == [one["id"] for one in whole]
    assert len(set(seen)) == 5
    values = {
        "family": lambda one: one["name"][0]["family"].lower(),
        "birthdate": lambda one: one.get("birthDate", ""),
        "_id": lambda one: one["id"],
        "_lastUpdated": lambda one: one["meta"]["lastUpdated"],
    }
    key = sort.split(",")[0]
    in_order = [values[key.removeprefix("-")](one) for one in whole]
    assert in_order == sorted(in_order, reverse=key.startswith("-"))


@pytest.mark.parametrize(
    ("query", "hit"),
    [("active=true", True), ("active=false", False), ("_lastUpdated=ge2020", True), ("_lastUpdated=lt2020", False)],
)
def test_active_and_last_updated_are_processed_alone(clinic: Api, query: str, hit: bool) -> None:
    person = str(fed(HOSPITAL, "h1", nora()))
    assert (person in ids(clinic.get(f"/Patient?{query}"))) is hit


def test_an_unknown_parameter_is_ignored_and_named_or_refused_under_strict_handling(clinic: Api) -> None:
    fed(HOSPITAL, "h1", nora())
    answer = clinic.get("/Patient?family=quimby&shoe-size=44")
    assert len(found(answer)) == 1
    bundle = answer.json()
    assert "shoe-size" not in bundle["link"][0]["url"]
    assert any(entry["search"]["mode"] == "outcome" for entry in bundle["entry"])
    strict = clinic.get("/Patient?family=quimby&shoe-size=44", Prefer="handling=strict")
    assert strict.status_code == 400


def test_nobody_found_is_an_empty_bundle(clinic: Api) -> None:
    bundle = clinic.get("/Patient?family=nobody").json()
    assert (bundle["total"], "entry" in bundle) == (0, False)


def test_returned_patients_follow_the_profile(clinic: Api) -> None:
    fed(HOSPITAL, "h1", nora(names=()))
    (resource,) = found(clinic.get(f"/Patient?identifier={OID}{HOSPITAL}|h1"))
    assert all(item["system"] and item["value"] for item in resource["identifier"])
    assert resource["active"] is True
    assert resource["name"][0]["extension"][0]["url"].endswith("data-absent-reason")
    assert resource["meta"]["versionId"]


def test_domains_asked_for_restrict_what_is_shown_and_who(clinic: Api) -> None:
    fed(HOSPITAL, "h1", nora())
    fed(HOSPITAL, "h2", ivo())
    fed(CLINIC, "c1", nora())
    both = found(clinic.get(f"/Patient?family=quimby,zander&identifier={OID}{CLINIC}|,{OID}{HOSPITAL}|"))
    assert sorted(sorted(domains(p)) for p in both) == [sorted({CLINIC, HOSPITAL}), [HOSPITAL]]
    (one,) = found(clinic.get(f"/Patient?family=quimby,zander&identifier={OID}{CLINIC}|"))
    assert domains(one) == {CLINIC}
    (own,) = found(clinic.get(f"/Patient?identifier={OID}{HOSPITAL}|h1&identifier={OID}{CLINIC}|"))
    assert domains(own) == {CLINIC}
    unknown = clinic.get("/Patient?family=quimby&identifier=urn:oid:1.2.3|")
    assert unknown.status_code == 404
    (issue,) = unknown.json()["issue"]
    assert (issue["severity"], issue["code"], issue["diagnostics"]) == (
        "warning",
        "not-found",
        "targetSystem not found",
    )


def test_pages_are_followed_without_gap_repeat_or_stranger(clinic: Api, hospital: Api) -> None:
    people = {str(fed(HOSPITAL, f"h{n}", zander(n))) for n in range(5)}
    assert len(people) == 5
    seen: list[str] = []
    url = "/Patient?family=zander&_count=2"
    while url:
        answer = clinic.get(url)
        seen += [p["id"] for p in found(answer)]
        assert answer.json()["total"] == len(people)
        links = {link["relation"]: link["url"] for link in answer.json()["link"]}
        url = links.get("next", "")
        if url:
            assert hospital.get(url).status_code == 410
    assert (len(seen), set(seen)) == (len(people), people)
    counted = clinic.get("/Patient?family=zander&_summary=count").json()
    assert (counted["total"], "entry" in counted) == (len(people), False)


def test_a_read_gives_the_person_and_304_for_the_version_held(clinic: Api) -> None:
    person = fed(HOSPITAL, "h1", nora())
    answer = clinic.get(f"/Patient/{person}")
    assert fhir.check(answer.content, answer.json()) == []
    assert answer.json()["id"] == str(person)
    assert clinic.get(f"/Patient/{person}", **{"If-None-Match": answer["ETag"]}).status_code == 304


def test_the_address_a_feed_was_told_can_be_read(clinic: Api) -> None:
    for gender, version in (("female", "1"), ("other", "2")):
        told = put(clinic, patient(gender=gender)).headers["Location"]
        assert told.endswith(f"/_history/{version}")
        answer = clinic.get(told)
        assert answer.status_code == 200, answer.content
        assert answer.json()["gender"] == gender
    gone = clinic.get(told.replace("/_history/2", "/_history/1"))
    assert gone.status_code == 404, gone.content


def test_hidden_and_absent_are_one_answer_to_the_byte(clinic: Api) -> None:
    hidden = fed(QUIET, "q1", nora())
    absent = "0f8fad5b-d9cb-469f-a165-70867728950e"
    one, other = clinic.get(f"/Patient/{hidden}"), clinic.get(f"/Patient/{absent}")
    assert (one.status_code, one.content) == (404, other.content)
    assert one.status_code == other.status_code
    same = [
        clinic.get(f"/Patient?identifier={OID}{QUIET}|{value}").json() | {"id": "", "meta": {}, "link": []}
        for value in ("q1", "q9")
    ]
    assert same[0] == same[1]


@pytest.mark.parametrize("path", ["/Patient/no-such-id", "/Patient/" + "x" * 64])
def test_an_id_that_is_no_uuid_is_absent(clinic: Api, path: str) -> None:
    assert clinic.get(path).status_code == 404


def test_a_feed_token_reads_nothing(clinic: Api) -> None:
    from hie.directory import registration
    from tests.directory.forms import clinic as form

    registration.apply({"participants": [form(jurisdiction="JA", default_role=None)]})
    silent = Api(trust.token("org-clinic", extensions={}))
    assert put(silent, patient()).status_code == 201
    assert silent.get("/Patient?family=quimby").status_code == 403


def test_each_answer_leaves_its_event(clinic: Api) -> None:
    person = fed(HOSPITAL, "h1", nora())
    clinic.get("/Patient?family=quimby")
    clinic.get("/Patient?family=nobody")
    clinic.get(f"/Patient/{person}")
    events = AuditEvent.objects.exclude(kind__in=["ITI-104", "ITI-71"]).order_by("at")
    assert [(e.kind, e.person_id) for e in events] == [("ITI-78", person), ("ITI-78", None), ("patient-read", person)]


@pytest.mark.shared
def test_all_sample_patients_feed_and_are_found_again(clinic: Api) -> None:
    folder = Path(os.environ.get("HIE_SHARED", "../shared")) / "data" / "fhir" / "synthea-r4"
    files = sorted(folder.glob("*.json.gz"))
    assert len(files) == 60
    people = set()
    for number, file in enumerate(files):
        bundle = json.loads(gzip.decompress(file.read_bytes()))
        body = next(e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Patient")
        body["identifier"].append({"system": f"{OID}{CLINIC}", "value": str(number)})
        answer = put(clinic, body, value=str(number))
        assert answer.status_code == 201, (file.name, answer.content[:500])
        back = answer.json()
        for element in ("name", "address", "extension", "communication", "maritalStatus", "birthDate", "gender"):
            assert back[element] == body[element], element
        assert ids(clinic.get(f"/Patient?identifier={OID}{CLINIC}|{number}")) == {back["id"]}
        people.add(back["id"])
    assert len(people) == 60


def test_a_logical_id_of_this_server_names_the_callers_own_record(hub_world):
    body = {
        "resourceType": "Patient",
        "identifier": [{"system": f"urn:oid:{HOSPITAL}", "value": "P1"}],
        "name": [{"family": "Quarrel", "given": ["Rosamund"]}],
    }
    path = f"/Patient?identifier={BASE}|Patient/{hub_world.person}"
    revised = hub_world.hospital.call("PUT", path, body)
    assert (revised.status_code, revised.json()["id"]) == (200, hub_world.person)
    other = {**body, "identifier": [{"system": f"urn:oid:{HOSPITAL}", "value": "P2"}]}
    assert hub_world.hospital.call("PUT", path, other).status_code == 400
    nobody = f"/Patient?identifier={BASE}|Patient/00000000-0000-4000-8000-000000000000"
    assert hub_world.hospital.call("PUT", nobody, body).status_code == 404
    assert hub_world.hospital.call("DELETE", nobody).status_code == 204


def test_a_birth_date_that_the_calendar_lacks_is_not_written_as_one(hub_world):
    person = fed(HOSPITAL, "odd", ivo(birth_date="1984-02-31"))
    shown = hub_world.clinic.get(f"/Patient/{person}")
    assert shown.status_code == 200
    assert "birthDate" not in shown.json()
    assert fhir.check(shown.content, shown.json()) == []
