"""MHD: publishing rules, searches, pages, ranges, replacement, folders."""

from __future__ import annotations

import base64
import hashlib
import uuid
from dataclasses import replace
from urllib.parse import quote

import pytest

from documents.metadata import CX, ON_DEMAND, Bytes
from hie.audit.kinds import EventType
from hie.exchange import submit
from tests.documents import samples
from tests.exchange import world
from tests.fhir.conftest import (
    BASE,
    bundle_of,
    concept,
    document_reference,
    provide_bundle,
    submission_set,
)

pytestmark = pytest.mark.django_db
LOINC = "http://loinc.org"


def publish(world_, data=b"Hello", **changes):
    answer = world_.hospital.post("", provide_bundle(data, **changes))
    assert answer.status_code == 200, answer.content
    return [entry["response"]["location"].split("/_history")[0] for entry in answer.json()["entry"]]


def find(world_, query, api=None):
    answer = (api or world_.clinic).get(f"/DocumentReference?{query}")
    assert answer.status_code == 200, answer.content
    return answer.json()


SEARCHES = {
    "patient": ("patient={person}", 1),
    "absolute-patient": ("patient=https://hub.example/fhir/Patient/{person}", 1),
    "patient.identifier": ("patient.identifier=urn:oid:2.999.10.2.1|P1", 1),
    "chained-with-type": ("patient:Patient.identifier=urn:oid:2.999.10.2.1|P1", 1),
    "patient:identifier": ("patient:identifier=urn:oid:2.999.10.2.1|P1", 1),
    "unknown-patient": ("patient=Patient/00000000-0000-4000-8000-000000000000", 0),
    "status-current": ("patient={person}&status=current", 1),
    "status-either": ("patient={person}&status=current,superseded", 1),
    "status-superseded": ("patient={person}&status=superseded", 0),
    "status-not": ("patient={person}&status:not=current", 0),
    "type": ("patient={person}&type=http://loinc.org|34133-9", 1),
    "type-code-only": ("patient={person}&type=34133-9", 1),
    "type-other-system": ("patient={person}&type=urn:oid:1.2|34133-9", 0),
    "type-system-only": ("patient={person}&type=http://loinc.org|", 1),
    "type-or": ("patient={person}&type=x,34133-9", 1),
    "type-not": ("patient={person}&type:not=34133-9", 0),
    "category": ("patient={person}&category=REPORTS", 1),
    "and": ("patient={person}&category=REPORTS&type=nothing", 0),
    "format": ("patient={person}&format=urn:ihe:iti:xds:2017:mimeTypeSufficient", 1),
    "facility": ("patient={person}&facility=http://snomed.info/sct|22232009", 1),
    "setting": ("patient={person}&setting=408443003", 1),
    "security-label": ("patient={person}&security-label=N", 1),
    "event-none": ("patient={person}&event=x", 0),
    "event-missing": ("patient={person}&event:missing=true", 1),
    "creation-day": ("patient={person}&creation=2026-03-01", 1),
    "creation-ge": ("patient={person}&creation=ge2026-03-01T10:00:00Z", 1),
    "creation-gt": ("patient={person}&creation=gt2026-03-01T10:00:00Z", 0),
    "creation-range": ("patient={person}&creation=ge2026&creation=lt2027", 1),
    "creation-zone": ("patient={person}&creation=2026-03-01T12:00:00%2B02:00", 1),
    "date": ("patient={person}&date=2026-03-01", 1),
    "period": ("patient={person}&period=2026-03-01", 1),
    "period-before": ("patient={person}&period=lt2026-03-01T08:00:00Z", 0),
    "author.family": ("patient={person}&author.family=mull", 1),
    "author.family-accent": ("patient={person}&author.family=MÜLL", 1),
    "author.family-exact": ("patient={person}&author.family:exact=Müller", 1),
    "author.family-not-exact": ("patient={person}&author.family:exact=muller", 0),
    "author.family-contains": ("patient={person}&author.family:contains=lle", 1),
    "author.given": ("patient={person}&author.given=Ann", 1),
    "contenttype": ("patient={person}&contenttype=text/plain", 1),
    "related": ("patient={person}&related:identifier=urn:oid:1.2.3|ORDER-1", 1),
    "last-updated": ("patient={person}&_lastUpdated=ge2020", 1),
    "empty-value": ("patient={person}&type=", 1),
}


@pytest.fixture
def published(hub_world):
    contained = [{"resourceType": "Practitioner", "id": "p", "name": [{"family": "Müller", "given": ["Ann"]}]}]
    reference = {
        "contained": contained,
        "author": [{"reference": "#p"}],
        "context": {
            "facilityType": concept("http://snomed.info/sct", "22232009", "Hospital"),
            "practiceSetting": concept("http://snomed.info/sct", "408443003"),
            "period": {"start": "2026-03-01T09:00:00Z", "end": "2026-03-01T09:30:00Z"},
            "related": [
                {
                    "identifier": {
                        "type": {"coding": [{"code": "urn:ihe:iti:xds:2013:order"}]},
                        "system": "urn:oid:1.2.3",
                        "value": "ORDER-1",
                    }
                }
            ],
        },
    }
    hub_world.locations = publish(hub_world, **reference)
    return hub_world


def test_every_parameter_finds_what_it_says(published):
    for name, (query, expected) in SEARCHES.items():
        bundle = find(published, query.format(person=published.person))
        assert (name, bundle["total"]) == (name, expected)
        assert ("entry" in bundle) == bool(expected)


def test_by_id_and_identifier_no_patient_is_needed(published):
    document = published.locations[1].split("/")[1]
    assert find(published, f"_id={document}")["total"] == 1
    resource = find(published, f"_id={document}")["entry"][0]["resource"]
    master = resource["masterIdentifier"]
    assert find(published, f"identifier={master['system']}|{master['value']}")["total"] == 1
    assert find(published, f"identifier={master['value']}")["total"] == 1
    assert find(published, f"identifier=urn:uuid:{document}")["total"] == 1
    assert published.clinic.get("/DocumentReference?status=current").status_code == 400


BAD = ["_count=-1", "creation=yesterday", "type:exact=x", "status=a|b|c", "_sort=colour", "_summary=maybe", "_page=abc",
       "event:missing=perhaps", "creation=2026-13-01", "patient=Practitioner/1", "_count=1&_count=2", "type=%00"]  # fmt: skip


@pytest.mark.parametrize("query", BAD)
def test_a_bad_value_is_always_refused(hub_world, query):
    answer = hub_world.clinic.get(f"/DocumentReference?patient={hub_world.person}&{query}")
    assert answer.status_code in (400, 410), answer.content
    assert answer.json()["issue"][0].get("expression")


def test_unknown_parameters_are_ignored_and_left_out_of_the_self_link_unless_strict(hub_world):
    query = f"patient={hub_world.person}&colour=red&status=current"
    bundle = find(hub_world, query)
    assert bundle["link"][0] == {
        "relation": "self",
        "url": f"{BASE}/DocumentReference?patient={hub_world.person}&status=current",
    }
    assert "colour" in bundle["entry"][0]["resource"]["issue"][0]["diagnostics"]
    strict = hub_world.clinic.get(f"/DocumentReference?{query}", Prefer="handling=strict")
    assert strict.status_code == 400


def test_pages_are_stable_and_bound_to_the_caller(hub_world):
    for number in range(5):
        publish(hub_world, b"%d" % number)
    query = f"patient={hub_world.person}&status=current&_count=2"
    bundle = find(hub_world, query)
    publish(hub_world, b"later")
    seen = []
    pages = 0
    while True:
        pages += 1
        assert bundle["total"] == 5
        seen += [entry["resource"]["id"] for entry in bundle["entry"]]
        link = {item["relation"]: item["url"] for item in bundle["link"]}.get("next")
        if link is None:
            break
        assert hub_world.hospital.get(link).status_code == 410
        bundle = hub_world.clinic.get(link).json()
    assert (pages, len(seen), len(set(seen))) == (3, 5, 5)
    assert find(hub_world, query.replace("_count=2", "_count=0")).get("entry") is None


def test_several_keys_sort_each_in_its_own_direction_across_pages(hub_world):
    for number, year in enumerate((2021, 2020, 2021, 2020, 2022)):
        data = b"%d" % number
        bundle = provide_bundle(data)
        for entry in bundle["entry"]:
            for content in entry["resource"].get("content", ()):
                content["attachment"]["creation"] = f"{year}-03-01T10:00:00Z"
        assert hub_world.hospital.post("", bundle).status_code == 200

    def walk(sort: str) -> list[tuple[str, str]]:
        bundle = find(hub_world, f"patient={hub_world.person}&status=current&_count=2&_sort={sort}")
        rows: list[tuple[str, str]] = []
        while True:
            held = [entry["resource"] for entry in bundle["entry"]]
            rows += [(one["content"][0]["attachment"]["creation"][:4], one["id"]) for one in held]
            link = {item["relation"]: item["url"] for item in bundle["link"]}.get("next")
            if link is None:
                return rows
            bundle = hub_world.clinic.get(link).json()

    both = walk("-creation,_id")
    assert [year for year, _ in both] == ["2022", "2021", "2021", "2020", "2020"]
    assert both[1][1] < both[2][1]
    assert both[3][1] < both[4][1]
    assert walk("creation,-_id") == both[::-1]


def test_a_search_costs_the_same_number_of_statements_whatever_it_finds(
    hub_world, django_assert_max_num_queries, django_assert_num_queries
):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    query = f"/DocumentReference?patient={hub_world.person}&status=current"
    counts = []
    for _ in range(2):
        publish(hub_world)
        hub_world.clinic.get(query)
        with CaptureQueriesContext(
            connection,
        ) as captured:
            hub_world.clinic.get(query)
        counts.append(len(captured))
        publish(hub_world, uuid.uuid4().hex.encode())
        publish(hub_world, uuid.uuid4().hex.encode())
    assert counts[0] == counts[1] <= 20, counts


def test_ranges_head_and_etag(hub_world):
    binary = publish(hub_world, b"0123456789")[2]
    whole = hub_world.clinic.get(f"/{binary}")
    assert whole["ETag"] == f'"{hashlib.sha1(b"0123456789").hexdigest()}"'
    assert whole["Content-Length"] == "10"
    for wanted, status, content, told in (
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=0-99", 200, b"0123456789", None),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ):
        answer = hub_world.clinic.get(f"/{binary}", Range=wanted)
        assert (answer.status_code, answer.getvalue(), answer.get("Content-Range")) == (status, content, told), wanted
    beyond = hub_world.clinic.get(f"/{binary}", Range="bytes=10-")
    assert (beyond.status_code, beyond["Content-Range"]) == (416, "bytes */10")
    head = hub_world.clinic.call("HEAD", f"/{binary}")
    assert (head.status_code, head["Content-Length"], head.content) == (200, "10", b"")
    assert hub_world.clinic.get(f"/{binary}", **{"If-None-Match": whole["ETag"]}).status_code == 304


def test_accept_decides_between_the_bytes_and_the_resource(hub_world):
    binary = publish(hub_world)[2]
    for accept, status, kind in (
        ("*/*", 200, "text/plain"),
        ("text/plain", 200, "text/plain"),
        ("text/*;q=0.5", 200, "text/plain"),
        ("application/fhir+json", 200, "application/fhir+json; charset=utf-8"),
        ("application/pdf", 406, "application/fhir+json; charset=utf-8"),
    ):
        answer = hub_world.clinic.get(f"/{binary}", Accept=accept)
        assert (answer.status_code, answer["Content-Type"]) == (status, kind), accept
    resource = hub_world.clinic.get(f"/{binary}", Accept="application/fhir+json").json()
    assert base64.b64decode(resource["data"]) == b"Hello"


def test_raw_bytes_are_staged_for_their_sender_alone_until_a_document_names_them(hub_world):
    data = b"\x00\x01" * 3_000_000
    answer = hub_world.hospital.post("/Binary", data, content_type="application/dicom")
    assert answer.status_code == 201
    location = answer["Location"].split("/_history")[0]
    assert hub_world.hospital.get(location).getvalue() == data
    assert hub_world.clinic.get(location).status_code == 404
    bundle = provide_bundle(data, "application/dicom")
    bundle["entry"][1]["resource"]["content"][0]["attachment"]["url"] = location
    del bundle["entry"][2]
    published = hub_world.hospital.post("", bundle)
    assert published.status_code == 200, published.content
    assert hub_world.clinic.get(location).getvalue() == data


def test_simplified_publish_derives_the_submission_set(hub_world):
    reference = document_reference(b"Hi", "")
    attachment = reference["content"][0]["attachment"]
    del attachment["url"]
    attachment["data"] = base64.b64encode(b"Hi").decode()
    answer = hub_world.hospital.post("/DocumentReference", reference)
    assert answer.status_code == 201, answer.content
    shown = answer.json()
    assert answer["Location"] == f"{BASE}/DocumentReference/{shown['id']}/_history/1"
    assert "data" not in shown["content"][0]["attachment"]
    assert hub_world.clinic.get(shown["content"][0]["attachment"]["url"]).getvalue() == b"Hi"
    assert hub_world.clinic.get(f"/DocumentReference/{shown['id']}").json()["subject"] == shown["subject"]
    lists = hub_world.clinic.get(f"/List?patient={hub_world.person}&code=submissionset&status=current").json()
    assert lists["total"] == 1
    for broken in ({"status": "superseded"}, {"subject": None}, {"masterIdentifier": None}):
        wrong = {k: v for k, v in {**reference, **broken}.items() if v is not None}
        assert hub_world.hospital.post("/DocumentReference", wrong).status_code == 422, broken


def test_a_replaced_document_is_superseded_and_still_read_by_id(hub_world):
    old = publish(hub_world, b"one")[1]
    patch = {
        "resourceType": "Parameters",
        "parameter": [
            {
                "name": "operation",
                "part": [
                    {"name": "type", "valueCode": "replace"},
                    {"name": "path", "valueString": "DocumentReference.status"},
                    {"name": "value", "valueCode": "superseded"},
                ],
            }
        ],
    }
    bundle = provide_bundle(b"two", relatesTo=[{"code": "replaces", "target": {"reference": old}}])
    entry = {"fullUrl": f"urn:uuid:{uuid.uuid4()}", "resource": patch, "request": {"method": "PATCH", "url": old}}
    bundle["entry"].append(entry)
    answer = hub_world.hospital.post("", bundle)
    assert answer.status_code == 200, answer.content
    assert answer.json()["entry"][3]["response"]["status"] == "200 OK"
    assert find(hub_world, f"patient={hub_world.person}&status=current")["total"] == 1
    current = find(hub_world, f"patient={hub_world.person}&status=current")["entry"][0]["resource"]
    assert current["relatesTo"] == [{"code": "replaces", "target": {"reference": old}}]
    assert hub_world.clinic.get(f"/{old}").json()["status"] == "superseded"
    again = provide_bundle(b"three", relatesTo=[{"code": "replaces", "target": {"reference": old}}])
    refused = hub_world.hospital.post("", again)
    assert refused.status_code == 422
    assert refused.json()["issue"][0]["details"]["coding"][0]["code"] == "XDSRegistryDeprecatedDocumentError"


def test_two_documents_of_a_bundle_do_not_replace_one(hub_world):
    old = publish(hub_world, b"one")[1]
    relation = [{"code": "replaces", "target": {"reference": old}}]
    bundle = provide_bundle(b"two", relatesTo=relation)
    more = provide_bundle(b"three", relatesTo=relation)["entry"][1:]
    bundle["entry"][0]["resource"]["entry"].append({"item": {"reference": more[0]["fullUrl"]}})
    bundle["entry"] += more
    refused = hub_world.hospital.post("", bundle)
    assert refused.status_code == 422
    (issue,) = refused.json()["issue"]
    assert issue["details"]["coding"][0]["code"] == "XDSRegistryDeprecatedDocumentError"
    assert hub_world.clinic.get(f"/{old}").json()["status"] == "current"
    del more[0]["resource"]["relatesTo"]
    assert hub_world.hospital.post("", bundle).status_code == 200


BREAKS = {
    "hash": (lambda b: b[1]["content"][0]["attachment"].update(hash=base64.b64encode(b"x" * 20).decode()), "XDSRepositoryMetadataError"),
    "size": (lambda b: b[1]["content"][0]["attachment"].update(size=6), "XDSRepositoryMetadataError"),
    "unknown-patient": (lambda b: b[1].update(subject={"reference": "Patient/nobody"}), "XDSUnknownPatientId"),
    "missing-document": (lambda b: b[1]["content"][0]["attachment"].update(url="urn:uuid:none"), "XDSMissingDocument"),
    "elsewhere": (lambda b: b[1]["content"][0]["attachment"].update(url="https://x.example/y"), "XDSMissingDocument"),
    "relates-to-nothing": (
        lambda b: b[1].update(relatesTo=[{"code": "appends", "target": {"reference": f"DocumentReference/{uuid.uuid4()}"}}]),
        "UnresolvedReferenceException",
    ),
    "data-in-attachment": (lambda b: b[1]["content"][0]["attachment"].update(data="SGVsbG8="), "XDSRegistryMetadataError"),
    "doc-status": (lambda b: b[1].update(docStatus="final"), "XDSRegistryMetadataError"),
    "two-categories": (lambda b: b[1].update(category=[concept(LOINC, "1"), concept(LOINC, "2")]), "XDSRegistryMetadataError"),
    "no-source-id": (lambda b: b[0].pop("extension"), "XDSRegistryMetadataError"),
    "mode": (lambda b: b[0].update(mode="snapshot"), "XDSRegistryMetadataError"),
    "set-names-nothing": (lambda b: b[0].update(entry=[{"item": {"reference": "urn:uuid:none"}}]), "UnresolvedReferenceException"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "code"), BREAKS.values(), ids=BREAKS.keys())
def test_one_broken_rule_refuses_the_whole_and_stores_nothing(hub_world, change, code):
    bundle = provide_bundle()
    change([entry["resource"] for entry in bundle["entry"]])
    answer = hub_world.hospital.post("", bundle)
    assert answer.status_code == 422, answer.content
    body = answer.json()
    assert body["resourceType"] == "OperationOutcome"
    codes = [item["details"]["coding"][0]["code"] for item in body["issue"] if "details" in item]
    assert code in codes, body
    assert all(item["expression"][0].startswith("Bundle.entry[") for item in body["issue"]), body
    assert find(hub_world, f"patient={hub_world.person}")["total"] == 0


def test_the_closed_list_refuses_other_entries(hub_world):
    bundle = provide_bundle()
    bundle["entry"].append({"fullUrl": "urn:uuid:x", "resource": {"resourceType": "Observation", "status": "final", "code": concept(LOINC, "1")}, "request": {"method": "POST", "url": "Observation"}})  # fmt: skip
    assert hub_world.hospital.post("", bundle).status_code == 422
    bundle = provide_bundle()
    bundle["entry"][1]["request"]["method"] = "PUT"
    assert hub_world.hospital.post("", bundle).status_code == 422


def test_a_folder_grows_by_put_and_never_shrinks(hub_world):
    first, second = publish(hub_world, b"a")[1], publish(hub_world, b"b")[1]
    subject = {"identifier": {"system": f"urn:oid:{world.HOSPITAL_AUTHORITY}", "value": "P1"}}
    designation = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/ihe-designationType"
    folder = {
        "resourceType": "List",
        "extension": [{"url": designation, "valueCodeableConcept": concept(LOINC, "34117-2")}],
        "status": "current",
        "mode": "working",
        "title": "Episode",
        "code": {"coding": [{"system": "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes", "code": "folder"}]},
        "subject": subject,
        "entry": [{"item": {"reference": first}}],
    }
    url = f"urn:uuid:{uuid.uuid4()}"
    answer = hub_world.hospital.post(
        "", bundle_of(("List", "urn:uuid:1", submission_set([url])), ("List", url, folder))
    )
    assert answer.status_code == 200, answer.content
    location = answer.json()["entry"][1]["response"]["location"].split("/_history")[0]
    shown = hub_world.clinic.get(f"/{location}").json()
    assert [item["item"]["reference"] for item in shown["entry"]] == [first]
    folder["entry"] = [{"item": {"reference": second}}]
    bundle = bundle_of(("List", "urn:uuid:1", submission_set([])), ("List", f"{BASE}/{location}", folder))
    bundle["entry"][1]["request"] = {"method": "PUT", "url": location}
    answer = hub_world.hospital.post("", bundle)
    assert answer.status_code == 200, answer.content
    shown = hub_world.clinic.get(f"/{location}").json()
    assert [item["item"]["reference"] for item in shown["entry"]] == [first, second]
    found = hub_world.clinic.get(
        f"/List?patient={hub_world.person}&code=folder&status=current&designationType={quote(LOINC)}|34117-2"
    )
    assert found.json()["total"] == 1


def test_an_unknown_intended_recipient_is_warned_of(hub_world):
    bundle = provide_bundle()
    bundle["entry"][0]["resource"]["extension"].append(
        {
            "url": "https://profiles.ihe.net/ITI/MHD/StructureDefinition/ihe-intendedRecipient",
            "valueReference": {"identifier": {"value": "urn:oid:9.9.9"}, "display": "Nobody"},
        }
    )
    answer = hub_world.hospital.post("", bundle)
    assert answer.status_code == 200, answer.content
    warning = answer.json()["entry"][0]["response"]["outcome"]["issue"][0]
    assert (warning["severity"], warning["details"]["text"]) == ("warning", "UnknownRecipient")


def test_a_comprehensive_bundle_is_taken_with_everything_contained(hub_world):
    bundle = provide_bundle(level="Comprehensive")
    reference = bundle["entry"][1]["resource"]
    reference["contained"] = [
        {"resourceType": "Patient", "id": "s", "identifier": [{"system": "urn:oid:2.999.10.2.1", "value": "P1"}]},
        {"resourceType": "Practitioner", "id": "p", "name": [{"family": "North"}]},
    ]
    reference["author"] = [{"reference": "#p"}]
    reference["context"]["sourcePatientInfo"] = {"reference": "#s"}
    answer = hub_world.hospital.post("", bundle)
    assert answer.status_code == 200, answer.content
    shown = hub_world.clinic.get("/" + answer.json()["entry"][1]["response"]["location"].split("/_history")[0]).json()
    assert shown["contained"] == reference["contained"]


def test_an_unknown_binary_is_not_found_and_the_look_is_recorded(hub_world):
    for unknown in (str(uuid.uuid4()), "nonsense"):
        answer = hub_world.clinic.get(f"/Binary/{unknown}")
        assert (answer.status_code, answer.json()["issue"][0]["code"]) == (404, "not-found")


# --- made on demand ---------------------------------------------------------------------------------------------------


def test_a_document_made_on_demand_is_found_without_hash_and_read_like_any_other(hub_world, settings):
    rosa = CX(value="C1", authority=world.CLINIC_AUTHORITY)
    form = "urn:hl7-org:sdwg:ccda-structuredBody:2.1"
    entry = samples.entry(
        patient_id=rosa, source_patient_id=rosa, object_type=ON_DEMAND, creation_time=None, mime_type="text/xml",
        format_code=samples.code(form, "urn:oid:1.3.6.1.4.1.19376.1.2.3"), title="Summary of Rosa",
        repository_unique_id=settings.REPOSITORY_UNIQUE_ID,
    )  # fmt: skip
    wanted = replace(samples.submission(entry, patient_id=rosa), bytes=Bytes.ON_DEMAND)
    submit.submit(wanted, world.caller(), kind=EventType.REGISTER_ON_DEMAND)
    publish(hub_world)
    found = hub_world.clinic.get(f"/DocumentReference?patient={hub_world.person}&identifier=urn:oid:{entry.unique_id}")
    (reference,) = [item["resource"] for item in found.json()["entry"]]
    attachment = reference["content"][0]["attachment"]
    assert attachment["contentType"] == "text/xml"
    assert not {"hash", "size"} & attachment.keys()
    answer = hub_world.clinic.get(attachment["url"])
    data = b"".join(answer.streaming_content)
    assert answer["Content-Type"] == "text/xml"
    assert answer["Content-Length"] == str(len(data))
    assert b"<td>A note</td>" in data
    assert b"Quarrel" in data
    again = hub_world.clinic.get(attachment["url"], If_None_Match=answer["ETag"])
    assert again.status_code == 304
    part = hub_world.clinic.get(attachment["url"], Range="bytes=10-19")
    assert (part.status_code, b"".join(part.streaming_content)) == (206, data[10:20])
    assert hub_world.clinic.get(attachment["url"], Range=f"bytes={len(data)}-").status_code == 416
    assert hub_world.clinic.get(attachment["url"] + "/_history/1").status_code == 404
    assert hub_world.nobody.get(attachment["url"]).status_code == 401
