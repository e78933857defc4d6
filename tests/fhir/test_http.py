"""What every request meets: authentication, formats, hostile bodies, methods, headers."""

from __future__ import annotations

import gzip
import json
import uuid
from urllib.parse import urlencode

import pytest

from hie.standards.errors import HubError
from tests.fhir.conftest import JSON, MHD, provide_bundle
from tests.fhir.test_consents import consent

pytestmark = pytest.mark.django_db

PUBLISH = "/DocumentReference"


def issue(answer):
    body = answer.json()
    assert body["resourceType"] == "OperationOutcome"
    assert answer["Content-Type"].startswith("application/fhir+json")
    return body["issue"][0]


HOSTILE = {
    "blank": (b" ", 400),
    "not-json": (b"{", 400),
    "truncated": (b'{"resourceType":"DocumentReference","status":', 400),
    "an-array": (b"[]", 400),
    "a-word": (b"null", 400),
    "nul-byte": (b'{"resourceType":"DocumentReference\x00"}', 400),
    "escaped-nul": (b'{"resourceType":"DocumentReference","description":"\\u0000"}', 400),
    "not-utf-8": (b'{"resourceType":"DocumentReference","description":"\xe9"}', 400),
    "utf-16": ('{"resourceType":"DocumentReference"}'.encode("utf-16"), 400),
    "duplicated-key": (b'{"resourceType":"DocumentReference","status":"current","status":"superseded"}', 400),
    "null": (b'{"resourceType":"DocumentReference","status":"current","content":null}', 400),
    "unknown-element": (
        b'{"resourceType":"DocumentReference","status":"current","colour":"red","content":[{"attachment":{}}]}',
        400,
    ),
    "wrong-type": (b'{"resourceType":"DocumentReference","status":1,"content":[{"attachment":{}}]}', 400),
    "list-for-object": (
        b'{"resourceType":"DocumentReference","status":"current","subject":[],"content":[{"attachment":{}}]}',
        400,
    ),
    "empty-array": (b'{"resourceType":"DocumentReference","status":"current","content":[]}', 400),
    "empty-string": (
        b'{"resourceType":"DocumentReference","status":"current","description":"","content":[{"attachment":{}}]}',
        400,
    ),
    "unknown-code": (b'{"resourceType":"DocumentReference","status":"bogus","content":[{"attachment":{}}]}', 400),
    "another-resource": (b'{"resourceType":"Patient"}', 400),
    "no-such-resource": (b'{"resourceType":"Spaceship"}', 400),
    "nan": (b'{"resourceType":"DocumentReference","size":NaN}', 400),
    "deep-arrays": (b'{"a":' * 5000 + b"1" + b"}" * 5000, 400),
    "deep-lists": (b"[" * 100_000, 400),
    "huge-number": (
        b'{"resourceType":"DocumentReference","content":[{"attachment":{"size":' + b"9" * 5000 + b"}}]}",
        400,
    ),
    "lone-surrogate": (
        b'{"resourceType":"DocumentReference","status":"current","description":"\\ud800","content":[{"attachment":{}}]}',
        400,
    ),
    "an-empty-object": (
        b'{"resourceType":"DocumentReference","status":"current","content":[{"attachment":{}}]}',
        400,
    ),
    "valid-but-empty-of-rules": (
        b'{"resourceType":"DocumentReference","status":"current","content":[{"attachment":{"title":"Note"}}]}',
        422,
    ),
}


@pytest.mark.parametrize(("body", "status"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_body_is_refused_with_an_outcome(hub_world, body, status):
    answer = hub_world.hospital.post(PUBLISH, body)
    assert answer.status_code == status, answer.content
    assert issue(answer)["diagnostics"]


@pytest.mark.parametrize("path", ["", "/DocumentReference", "/Consent"])
def test_every_way_in_takes_the_hostile_bodies_alike(hub_world, path):
    for name, (body, status) in HOSTILE.items():
        answer = hub_world.hospital.post(path, body)
        assert 400 <= answer.status_code < 500, (path, name, status)
        issue(answer)


def test_a_gzip_body_is_taken_and_bounded(hub_world, settings):
    body = json.dumps(provide_bundle()).encode()
    packed = {"Content-Encoding": "gzip"}
    assert hub_world.hospital.post("", gzip.compress(body), **packed).status_code == 200
    assert hub_world.hospital.post("", body, **packed).status_code == 400
    assert hub_world.hospital.post("", gzip.compress(body)[:-20], **packed).status_code == 400
    assert hub_world.hospital.post("", body, **{"Content-Encoding": "br"}).status_code == 415
    settings.FHIR_MAX_BODY_BYTES = 4096
    bomb = gzip.compress(b" " * 1_000_000)
    assert hub_world.hospital.post("", bomb, **packed).status_code == 413


def test_an_oversize_body_is_refused(hub_world, settings):
    settings.FHIR_MAX_BODY_BYTES = 1000
    answer = hub_world.hospital.post("", b" " * 1001)
    assert (answer.status_code, issue(answer)["code"]) == (413, "too-long")


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (JSON, 200),
        ("application/json", 200),
        ("text/json; charset=utf-8", 200),
        ("application/fhir+json; fhirVersion=4.0", 200),
        ("application/fhir+json; fhirVersion=5.0", 415),
        ("application/fhir+json; charset=iso-8859-1", 415),
        ("application/fhir+xml", 400),  # it is JSON
        ("application/fhir+xml; charset=utf-16", 415),
        ("text/plain", 415),
        ("", 415),
    ],
)
def test_a_body_is_taken_as_what_it_is_said_to_be(hub_world, content_type, status):
    assert hub_world.hospital.post("", provide_bundle(), content_type=content_type).status_code == status


@pytest.mark.parametrize(
    ("accept", "query", "status"),
    [
        ("*/*", "", 200),
        ("application/fhir+json", "", 200),
        ("application/fhir+xml, application/json;q=0.5", "", 200),
        ("application/fhir+xml; fhirVersion=5.0", "", 406),
        ("text/html", "", 406),
        ("application/fhir+json; fhirVersion=5.0", "", 406),
        ("application/json;q=0", "", 406),
        ("application/fhir+xml", "_format=json", 200),
        ("application/fhir+json", "_format=ttl", 406),
        ("text/html", "_format=json", 200),
        ("*/*", "_format=application/fhir+json", 200),
    ],
)
def test_what_cannot_be_produced_is_not_acceptable(hub_world, accept, query, status):
    answer = hub_world.clinic.get(f"/DocumentReference?patient={hub_world.person}&{query}", Accept=accept)
    assert answer.status_code == status
    if status == 406:
        assert issue(answer)["code"] == "not-supported"


def test_without_a_token_nothing_is_told(hub_world):
    for path in ("/DocumentReference?patient=1", "/Patient/1", "/Spaceship", "/Binary/x", "/List?code=folder"):
        answer = hub_world.nobody.get(path)
        assert (answer.status_code, issue(answer)["code"]) == (401, "login"), path
        assert answer["WWW-Authenticate"].startswith("Bearer")
    answer = hub_world.nobody.get("/Patient", Authorization="Bearer nonsense")
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer["WWW-Authenticate"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/DocumentReference/x", "GET, HEAD"),
        ("PUT", "/DocumentReference/x", "GET, HEAD"),
        ("PATCH", "/List/x", "GET, HEAD"),
        ("GET", "", "POST"),
        ("DELETE", "/Consent/x", "GET, HEAD, PUT"),
        ("POST", "/AuditEvent", "GET, HEAD"),
        ("DELETE", "/AuditEvent/x", "GET, HEAD"),
        ("PUT", "/List/_search", "POST"),
        ("POST", "/metadata", "GET, HEAD"),
    ],
)
def test_what_is_not_offered_is_405_with_what_is(hub_world, method, path, allow):
    answer = hub_world.clinic.call(method, path, {})
    assert (answer.status_code, answer["Allow"]) == (405, allow)
    assert issue(answer)["code"] == "not-supported"


def test_absent_and_hidden_are_the_same_answer(hub_world):
    published = hub_world.hospital.post("", provide_bundle()).json()
    assert hub_world.hospital.post("/Consent", consent(hub_world.person)).status_code == 201
    for kind, number in (("List", 0), ("DocumentReference", 1), ("Binary", 2)):
        hidden = published["entry"][number]["response"]["location"].split("/_history")[0]
        one, other = (hub_world.clinic.get(f"/{path}") for path in (hidden, f"{kind}/{uuid.uuid4()}"))
        assert (one.status_code, one.content) == (404, other.content), kind
        assert {k: v for k, v in one.items() if k != "X-Request-Id"} == {
            k: v for k, v in other.items() if k != "X-Request-Id"
        }


def test_general_headers(hub_world):
    answer = hub_world.clinic.get(f"/DocumentReference?patient={hub_world.person}", **{"X-Request-Id": "abc-1"})
    assert answer["X-Request-Id"] == "abc-1"
    assert answer["Cache-Control"] == "no-store"
    assert answer["X-Content-Type-Options"] == "nosniff"
    packed = hub_world.nobody.get("/metadata", **{"Accept-Encoding": "gzip"})
    assert packed["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(packed.content))["resourceType"] == "CapabilityStatement"


def test_a_search_by_post_is_the_search_by_get(hub_world):
    hub_world.hospital.post("", provide_bundle())
    query = urlencode({"patient": f"Patient/{hub_world.person}", "status": "current"})
    form = "application/x-www-form-urlencoded"
    one = hub_world.clinic.get(f"/DocumentReference?{query}").json()
    other = hub_world.clinic.post("/DocumentReference/_search", query, content_type=form).json()
    assert one["total"] == other["total"] == 1
    assert one["link"][0] == other["link"][0]
    assert hub_world.clinic.post("/DocumentReference/_search", "{}").status_code == 415


def test_every_refusal_of_the_hub_has_a_row():
    from importlib import import_module

    from hie.faces.fhir.outcome import OUTCOME

    for name in ("documents", "patients", "consent", "hie.trust", "hie.directory", "hie.exchange", "hie.faces.fhir"):
        import_module(f"{name}.errors")
    import hie.celery
    import hie.urls  # noqa: F401 - with every face, and all that they raise

    def below(kind: type[HubError]):
        for child in kind.__subclasses__():
            yield child
            yield from below(child)

    ours = {
        c for c in below(HubError) if not c.__module__.startswith(("hie.faces.", "tests.")) or "fhir" in c.__module__
    }
    assert {c.__name__ for c in ours} - set(OUTCOME) == set()
    assert set(OUTCOME) - {c.__name__ for c in ours} == set()


def test_all_problems_of_a_bundle_are_told_with_their_place(hub_world):
    bundle = provide_bundle(level="Comprehensive", type=None, securityLabel=None)
    answer = hub_world.hospital.post("", bundle)
    assert answer.status_code == 422
    told = {i["expression"][0]: i["code"] for i in answer.json()["issue"]}
    assert told["Bundle.entry[1].resource.type"] == "required"
    assert told["Bundle.entry[1].resource.securityLabel"] == "required"
    assert told["Bundle.entry[1].resource.context.sourcePatientInfo"] == "required"
    bundle = provide_bundle()
    bundle["meta"]["profile"] = [f"{MHD}/Other"]
    assert hub_world.hospital.post("", bundle).json()["issue"][0]["expression"] == ["Bundle.meta.profile"]
