"""What a client is told of versions, conditions and preferences, and what it may then do with it."""

from __future__ import annotations

import base64
import io
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hie.audit.models import AuditEvent as Event
from hie.exchange import find as exchange_find
from tests.exchange import world
from tests.fhir.conftest import BASE, Api, bundle_of, concept, document_reference, provide_bundle, submission_set
from tests.fhir.test_documents import find, publish
from tests.trust import conftest as trust

pytestmark = pytest.mark.django_db

DESIGNATION = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/ihe-designationType"
FOLDER = {
    "resourceType": "List",
    "extension": [{"url": DESIGNATION, "valueCodeableConcept": concept("http://loinc.org", "34117-2")}],
    "status": "current",
    "mode": "working",
    "title": "Episode",
    "code": {"coding": [{"system": "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes", "code": "folder"}]},
    "subject": {"identifier": {"system": f"urn:oid:{world.HOSPITAL_AUTHORITY}", "value": "P1"}},
}


def simplified(data=b"Hi", **changes):
    reference = document_reference(data, "", **changes)
    attachment = reference["content"][0]["attachment"]
    del attachment["url"]
    attachment["data"] = base64.b64encode(data).decode()
    return reference


def test_a_document_replaced_is_another_version(hub_world):
    old = publish(hub_world, b"one")[1]
    before = hub_world.clinic.get(f"/{old}")["ETag"]
    publish(hub_world, b"two", relatesTo=[{"code": "replaces", "target": {"reference": old}}])
    answer = hub_world.clinic.get(f"/{old}", If_None_Match=before)
    assert (answer.status_code, answer.json()["status"]) == (200, "superseded")
    assert answer["ETag"] != before


def test_every_location_given_can_be_read(hub_world):
    answer = hub_world.hospital.post("", provide_bundle())
    for entry in answer.json()["entry"]:
        location = entry["response"]["location"]
        assert "/_history/" in location
        assert (location, hub_world.hospital.get(f"/{location}").status_code) == (location, 200)
        gone = location.rpartition("/")[0] + "/7"
        assert (gone, hub_world.hospital.get(f"/{gone}").status_code) == (gone, 404)
    one = hub_world.hospital.post("/DocumentReference", simplified())
    assert hub_world.hospital.get(one["Location"].removeprefix(BASE)).status_code == 200


def test_a_folder_changed_meanwhile_is_not_changed_by_version(hub_world):
    first = publish(hub_world)[1]
    url = f"urn:uuid:{uuid.uuid4()}"
    folder = FOLDER | {"entry": [{"item": {"reference": first}}]}
    made = hub_world.hospital.post("", bundle_of(("List", "urn:uuid:1", submission_set([])), ("List", url, folder)))
    assert made.status_code == 200, made.content
    location = made.json()["entry"][1]["response"]["location"].split("/_history")[0]
    for number, (if_match, status) in enumerate([('W/"1"', 200), ('W/"1"', 412), ('W/"2"', 200), ("", 200)]):
        added = publish(hub_world, f"{number}".encode())[1]
        folder = FOLDER | {"entry": [{"item": {"reference": added}}]}
        bundle = bundle_of(("List", "urn:uuid:1", submission_set([])), ("List", f"{BASE}/{location}", folder))
        bundle["entry"][1]["request"] = {"method": "PUT", "url": location} | ({"ifMatch": if_match} if if_match else {})
        answer = hub_world.hospital.post("", bundle)
        assert answer.status_code == status, answer.content
        if status == 412:
            assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[1].request.ifMatch"]
        else:
            told = answer.json()["entry"][1]["response"]
            shown = hub_world.hospital.get(f"/{location}")
            assert told["etag"] == shown["ETag"]
            assert told["location"] == f"{location}/_history/{shown.json()['meta']['versionId']}"


def test_a_transaction_answers_as_much_as_is_preferred(hub_world):
    def answered(prefer):
        answer = hub_world.hospital.post("", provide_bundle(), **({"Prefer": prefer} if prefer else {}))
        assert answer.status_code == 200, answer.content
        return answer.json()["entry"]

    assert all("resource" not in entry for prefer in ("", "return=minimal") for entry in answered(prefer))
    shown = answered("return = representation")
    assert [entry.get("resource", {}).get("resourceType") for entry in shown] == ["List", "DocumentReference", None]
    assert all(entry["response"]["outcome"]["issue"] for entry in answered("return=OperationOutcome"))


def test_a_conditional_create_happens_once(hub_world):
    reference = simplified()
    master = reference["masterIdentifier"]
    condition = {"If-None-Exist": f"identifier={master['system']}|{master['value']}&status=current"}
    first = hub_world.hospital.post("/DocumentReference", reference, **condition)
    assert first.status_code == 201, first.content
    again = hub_world.hospital.post("/DocumentReference", reference, **condition)
    assert (again.status_code, again["Location"]) == (200, first["Location"])
    assert find(hub_world, f"patient={hub_world.person}", hub_world.hospital)["total"] == 1
    assert hub_world.hospital.post("/DocumentReference", reference).status_code == 201
    assert hub_world.hospital.post("/DocumentReference", reference, **condition).status_code == 412
    for criteria in ("", "colour=red", "status=a|b|c", "status=current"):
        refused = hub_world.hospital.post("/DocumentReference", reference, **{"If-None-Exist": criteria})
        assert (criteria, refused.status_code) == (criteria, 400)


def test_what_came_while_a_conditional_create_waited_is_seen(hub_world, monkeypatch):
    """Equal creates at once wait for one another; the second looks at what the first has made meanwhile."""
    reference = simplified()
    master = reference["masterIdentifier"]

    @contextmanager
    def another_was_faster(key: str) -> Iterator[None]:
        monkeypatch.undo()
        assert hub_world.hospital.post("/DocumentReference", reference).status_code == 201
        yield

    monkeypatch.setattr(exchange_find, "one_at_a_time", another_was_faster)
    condition = {"If-None-Exist": f"identifier={master['system']}|{master['value']}"}
    assert hub_world.hospital.post("/DocumentReference", reference, **condition).status_code == 200


IDENTIFIERS = {
    "further": ("http://lab.example|ACC-1", 1),
    "further-without-system": ("ACC-1", 1),
    "further-of-another-system": ("http://x.example|ACC-1", 0),
    "further-said-to-have-none": ("|ACC-1", 0),
    "master-value-alone": ("DOC%5C|7", 1),
    "master": ("http://acme.example/ids|DOC%5C|7", 1),
}


def test_a_document_is_found_by_each_of_its_identifiers(hub_world):
    master = document_reference(b"", "")["masterIdentifier"] | {"system": "http://acme.example/ids", "value": "DOC|7"}
    publish(hub_world, identifier=[{"system": "http://lab.example", "value": "ACC-1"}], masterIdentifier=master)
    for name, (value, expected) in IDENTIFIERS.items():
        for query in (f"identifier={value}", f"patient={hub_world.person}&identifier={value}"):
            assert (name, find(hub_world, query)["total"]) == (name, expected)
    assert find(hub_world, f"patient={hub_world.person}&identifier=http://lab.example|")["total"] == 1
    assert find(hub_world, f"patient={hub_world.person}&identifier:not=ACC-1")["total"] == 0
    assert hub_world.clinic.get("/DocumentReference?identifier=urn:ietf:rfc:3986|").status_code == 400


def test_a_list_is_found_by_its_identifier_without_a_patient(hub_world):
    publish(hub_world)
    shown = hub_world.clinic.get(f"/List?patient={hub_world.person}").json()["entry"][0]["resource"]
    for identifier in shown["identifier"]:
        for text in (f"{identifier['system']}|{identifier['value']}", identifier["value"]):
            assert (text, hub_world.clinic.get(f"/List?identifier={text}").json()["total"]) == (text, 1)


def test_a_page_names_itself(hub_world):
    for _ in range(3):
        publish(hub_world)
    page = find(hub_world, f"patient={hub_world.person}&_count=1")
    following = next(link["url"] for link in page["link"] if link["relation"] == "next")
    second = hub_world.clinic.get(following).json()
    assert second["link"][0] == {"relation": "self", "url": following}
    assert second["entry"] == hub_world.clinic.get(second["link"][0]["url"]).json()["entry"]


def test_more_entries_than_one_submission_may_hold_are_refused_at_once(hub_world, settings):
    settings.MHD_MAX_ENTRIES = 2
    answer = hub_world.hospital.post("", provide_bundle())
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (413, ["Bundle.entry"])


def test_a_refusal_for_want_of_scope_leaves_a_record(hub_world):
    narrow = Api(trust.token("org-clinic", scope="system/List.rs"))
    for method, path in (("GET", f"/DocumentReference?patient={hub_world.person}"), ("POST", "")):
        before = Event.objects.filter(kind="access-refused").count()
        assert narrow.call(method, path, None if method == "GET" else provide_bundle()).status_code == 403
        assert Event.objects.filter(kind="access-refused", reason="scope-missing").count() == before + 1


def test_the_base_is_the_same_with_a_slash_at_its_end(hub_world):
    assert hub_world.hospital.post("/", provide_bundle()).status_code == 200
    answer = hub_world.hospital.get("/")
    assert (answer.status_code, answer.json()["resourceType"]) == (405, "OperationOutcome")


def test_every_challenge_names_the_realm(hub_world):
    for api, error in ((hub_world.nobody, False), (Api("nonsense"), True)):
        challenge = api.get(f"/Patient/{hub_world.person}")["WWW-Authenticate"]
        assert challenge.startswith('Bearer realm="')
        assert ("invalid_token" in challenge) is error


def test_a_body_in_chunks_is_not_taken_for_an_empty_one(hub_world):
    """Streaming clients do not know the length before; Django by itself would store nothing and say 201."""
    made = hub_world.hospital.client.generic(
        "POST",
        "/fhir/Binary",
        b"",
        CONTENT_TYPE="text/plain",
        CONTENT_LENGTH="",
        **{"wsgi.input": io.BytesIO(b"not empty")},
        HTTP_TRANSFER_ENCODING="chunked",
        HTTP_AUTHORIZATION=f"Bearer {hub_world.hospital.token}",
    )
    assert made.status_code == 201, made.content
    path = made["Location"].removeprefix(BASE)
    assert hub_world.hospital.get(path).getvalue() == b"not empty"
