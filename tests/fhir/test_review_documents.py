"""Bodies and searches that a hostile client of MHD tried: each is taken faithfully or refused with its place."""

from __future__ import annotations

import gzip
import json
import uuid

import pytest

from tests.fhir.conftest import MHD, provide_bundle
from tests.fhir.test_documents import find, publish

pytestmark = pytest.mark.django_db


def expressions(answer):
    return [issue.get("expression", [""])[0] for issue in answer.json()["issue"]]


def reference_of(bundle):
    return bundle["entry"][1]["resource"]


def attachment_of(bundle):
    return reference_of(bundle)["content"][0]["attachment"]


NUMBERS = ["72.50", "1" + "0" * 40, "1E+400", "123456789012345678"]


@pytest.mark.parametrize("digits", NUMBERS)
def test_the_digits_of_a_number_come_back_as_they_were_sent(hub_world, digits):
    bundle = provide_bundle(extension=[{"url": "urn:x", "valueDecimal": 77.125}])
    body = json.dumps(bundle).replace("77.125", digits).encode()
    answer = hub_world.hospital.post("", body)
    assert answer.status_code == 200, answer.content
    location = answer.json()["entry"][1]["response"]["location"].split("/_history")[0]
    shown = hub_world.clinic.get(f"/{location}")
    assert f'"valueDecimal":{digits}'.encode() in shown.content


REFUSED = {
    "no-such-day": (lambda b: attachment_of(b).update(creation="2026-02-30"), "content[0].attachment.creation"),
    "year-nought": (lambda b: attachment_of(b).update(creation="0000-01-01"), "content[0].attachment.creation"),
    "no-such-start": (lambda b: reference_of(b)["context"].update(period={"start": "2026-04-31"}), "context.period.start"),
    "home-community-of-another-type": (
        lambda b: reference_of(b).update(
            extension=[{"url": f"{MHD}/ihe-HomeCommunityId", "valueReference": {"reference": "Organization/1"}}]
        ),
        f"extension('{MHD}/ihe-HomeCommunityId')",
    ),
    "author-not-contained": (lambda b: reference_of(b).update(author=[{"reference": "#nobody"}]), "author[0]"),
    "no-oid": (lambda b: reference_of(b)["masterIdentifier"].update(value="urn:oid:abc"), "masterIdentifier.value"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "element"), REFUSED.values(), ids=REFUSED.keys())
def test_what_makes_no_sense_is_refused_with_its_place(hub_world, change, element):
    bundle = provide_bundle()
    change(bundle)
    answer = hub_world.hospital.post("", bundle)
    assert answer.status_code == 422, answer.content
    assert f"Bundle.entry[1].resource.{element}" in expressions(answer)


def test_an_entry_is_posted_to_its_own_type(hub_world):
    bundle = provide_bundle()
    bundle["entry"][1]["request"]["url"] = "Patient"
    answer = hub_world.hospital.post("", bundle)
    assert (answer.status_code, expressions(answer)) == (422, ["Bundle.entry[1].request.url"])


@pytest.mark.parametrize("end", ["9999-12-31", "9999-12-31T23:59:59Z", "9999"])
def test_a_period_without_end_may_be_said_with_the_last_year(hub_world, end):
    bundle = provide_bundle()
    reference_of(bundle)["context"]["period"]["end"] = end
    answer = hub_world.hospital.post("", bundle)
    assert answer.status_code == 200, answer.content
    found = find(hub_world, f"patient={hub_world.person}&period=2030&date=le9999-12-31")
    assert found["entry"][0]["resource"]["context"]["period"]["end"] == end


def test_the_precision_of_a_time_is_believed_only_where_it_fits(hub_world):
    bundle = provide_bundle()
    attachment_of(bundle)["_creation"] = {"extension": [{"url": "urn:hie:fhir:dtm", "valueString": "1999"}]}
    assert hub_world.hospital.post("", bundle).status_code == 200
    assert find(hub_world, f"patient={hub_world.person}&creation=2026")["total"] == 1
    assert find(hub_world, f"patient={hub_world.person}&creation=1999")["total"] == 0


SEARCHES = {
    "id-not": ("_id:not={id}", 0),
    "id-not-another": ("_id:not=00000000-0000-4000-8000-000000000000", 1),
    "contenttype-not": ("contenttype:not=text/plain", 0),
    "status-of-another-system": ("status=http://x.example|current", 0),
    "status-with-its-system": ("status=http://hl7.org/fhir/document-reference-status|current", 1),
    "before-the-calendar": ("date=ge0001-01-01T00:00:00%2B14:00", 1),
    "end-of-the-calendar": ("date=le9999-12-31", 1),
}


def test_modifiers_and_the_ends_of_the_calendar_mean_what_they_say(hub_world):
    published = publish(hub_world)[1].split("/")[1]
    for name, (query, expected) in SEARCHES.items():
        bundle = find(hub_world, f"patient={hub_world.person}&{query.format(id=published)}")
        assert (name, bundle["total"]) == (name, expected)
    lists = {"_id:not=00000000-0000-4000-8000-000000000000": 1, "code=http://x.example|submissionset": 0}
    lists |= {"code=https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes|": 1}
    for query, expected in lists.items():
        answer = hub_world.clinic.get(f"/List?patient={hub_world.person}&{query}")
        assert (query, answer.json()["total"]) == (query, expected)


@pytest.mark.parametrize("query", ["_total=bogus", "patient:Group=1"])
def test_a_known_parameter_with_a_bad_value_is_refused(hub_world, query):
    answer = hub_world.clinic.get(f"/DocumentReference?patient={hub_world.person}&{query}")
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (400, [query.split("=")[0]])


def test_a_range_of_any_number_of_digits_is_answered(hub_world):
    binary = publish(hub_world)[2]
    for digits in ("9" * 30, "9" * 5000):
        assert hub_world.clinic.get(f"/{binary}", Range=f"bytes={digits}-").status_code == 416
        assert hub_world.clinic.get(f"/{binary}", Range=f"bytes=1-{digits}").getvalue() == b"ello"
        assert hub_world.clinic.get(f"/{binary}", Range=f"bytes=-{digits}").getvalue() == b"Hello"


def test_if_none_match_is_a_list_or_anything(hub_world):
    locations = publish(hub_world)
    document = hub_world.clinic.get(f"/{locations[1]}")["ETag"]
    binary = hub_world.clinic.get(f"/{locations[2]}")["ETag"]
    for path, etag in ((locations[1], document), (locations[2], binary)):
        for given, status in ((f'"x", {etag}', 304), ("*", 304), ('W/"x"', 200), (etag.removeprefix("W/"), 304)):
            assert (given, hub_world.clinic.get(f"/{path}", If_None_Match=given).status_code) == (given, status)


def test_nothing_may_follow_a_gzip_body(hub_world, settings):
    body = gzip.compress(json.dumps(provide_bundle()).encode())
    packed = {"Content-Encoding": "gzip"}
    assert hub_world.hospital.post("", body + b"x", **packed).status_code == 400
    assert hub_world.hospital.post("", body + b"x" * 200_000, **packed).status_code == 400
    settings.FHIR_MAX_BODY_BYTES = 100_000
    assert hub_world.hospital.post("", body + b"x" * 200_000, **packed).status_code in (400, 413)


def test_two_entries_may_share_one_binary(hub_world):
    bundle = provide_bundle()
    twin = json.loads(json.dumps(bundle["entry"][1])) | {"fullUrl": f"urn:uuid:{uuid.uuid4()}"}
    twin["resource"]["masterIdentifier"]["value"] = f"urn:oid:2.25.{uuid.uuid4().int}"
    bundle["entry"].append(twin)
    assert hub_world.hospital.post("", bundle).status_code == 200
    assert find(hub_world, f"patient={hub_world.person}")["total"] == 2


def test_documents_older_than_the_epoch_stand_in_order_too(hub_world):
    for year in ("1955", "1969", "1962", "2020"):
        bundle = provide_bundle()
        attachment_of(bundle)["creation"] = f"{year}-05-01"
        assert hub_world.hospital.post("", bundle).status_code == 200
    path, seen = f"/DocumentReference?patient={hub_world.person}&_count=1", []
    while path:
        page = hub_world.clinic.get(path).json()
        seen += [entry["resource"]["content"][0]["attachment"]["creation"][:4] for entry in page["entry"]]
        path = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
    assert seen == ["2020", "1969", "1962", "1955"]
