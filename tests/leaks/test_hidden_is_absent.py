"""What may not be seen is not there: the same hub with the denied documents never sent gives the same answers.

Two patients of one shape are published side by side: one has the documents of the case, of which a
directive denies some; the other has only those that the directive lets through. A clinic that asks the same of both
must get the same, but for ids and times.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from hie.exchange import feed
from hie.trust import limits
from tests.exchange import world
from tests.fhir.conftest import (
    CONFIDENTIALITY,
    World,
    bundle_of,
    concept,
    document_reference,
    provide_bundle,
    submission_set,
)
from tests.fhir.test_consents import consent
from tests.leaks.answers import answer

pytestmark = pytest.mark.django_db

ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
LOINC = "http://loinc.org"
DOCUMENT_CLASS = "urn:oid:1.3.6.1.4.1.19376.1.2.6.1"
TYPES = ("34133-9", "11488-4", "57133-1")
LETTERS = ("N", "R")
EXAMPLES = int(os.environ.get("HIE_EXAMPLES", "7"))


@dataclass(frozen=True)
class Document:
    """One document of a case."""

    type: str
    letter: str
    year: int
    after: bool = False  # replaces the one before


documents = st.lists(
    st.builds(
        Document,
        type=st.sampled_from(TYPES),
        letter=st.sampled_from(LETTERS),
        year=st.integers(2020, 2022),
    ),
    min_size=1,
    max_size=4,
)
denials = st.lists(
    st.one_of(
        st.sampled_from(TYPES).map(lambda code: {"code": [concept(LOINC, code)]}),
        st.just({"securityLabel": [{"system": CONFIDENTIALITY, "code": "R"}]}),
        st.integers(2020, 2022).map(lambda year: {"dataPeriod": {"start": str(year), "end": str(year)}}),
        st.just({"actor": [{"role": concept("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP"),
                            "reference": {"reference": "Organization/org-clinic"}}]}),
    ),
    min_size=1,
    max_size=2,
)  # fmt: skip


def denied(document: Document, nodes: list[dict[str, Any]]) -> bool:
    """Whether one of the nodes denies it to the clinic; written apart from the engine."""
    for node in nodes:
        if "actor" in node:
            return True
        if "code" in node and node["code"][0]["coding"][0]["code"] == document.type:
            return True
        if "securityLabel" in node and document.letter == "R":
            return True
        if "dataPeriod" in node and node["dataPeriod"]["start"] == str(document.year):
            return True
    return False


def fed(local_id: str, family: str) -> str:
    """A patient known to the hospital, born on a day of her own: the index must not take two examples for one."""
    day = date(1940, 1, 1) + timedelta(days=int(hashlib.sha256(local_id.encode()).hexdigest(), 16) % 20_000)
    done = feed.feed(
        feed.Revision(
            authority=world.HOSPITAL_AUTHORITY,
            value=local_id,
            demographics=world.rosa(
                local_id,
                names=(world.HumanName(family=family, given=("Rosamund",), use="official"),),
                birth_date=day.isoformat(),
                telecoms=(),
                addresses=(),
            ),
        ),
        world.hospital_caller(),
    )
    assert done.result is not None
    return str(done.result.person_id)


def publish(hub: World, local_id: str, shown: list[tuple[int, Document]]) -> list[dict[str, str]]:
    """Publish documents of a patient; for each its ids."""
    subject = {"identifier": {"system": f"urn:oid:{world.HOSPITAL_AUTHORITY}", "value": local_id}}
    made: list[dict[str, str]] = []
    for number, document in shown:
        bundle = provide_bundle(
            f"document {number}".encode(),
            subject=subject,
            type=concept(LOINC, document.type),
            securityLabel=[concept(CONFIDENTIALITY, document.letter)],
            context={
                "facilityType": concept("http://snomed.info/sct", "22232009", "Hospital"),
                "practiceSetting": concept("http://snomed.info/sct", "408443003", "General medical practice"),
                "period": {
                    "start": f"{document.year}-03-01T09:00:00Z",
                    "end": f"{document.year}-03-01T09:30:00Z",
                },
            },
        )
        bundle["entry"][0]["resource"]["subject"] = subject
        bundle["entry"][1]["resource"]["content"][0]["attachment"]["creation"] = (
            f"{document.year}-04-0{number + 1}T10:00:00Z"
        )
        unique_id = bundle["entry"][1]["resource"]["masterIdentifier"]["value"]
        response = hub.hospital.post("", bundle)
        assert response.status_code == 200, response.content
        places = [item["response"]["location"].split("/_history")[0] for item in response.json()["entry"]]
        made.append({"List": places[0], "DocumentReference": places[1], "Binary": places[2], "unique": unique_id})
    return made


SEARCHES = (
    "",
    "&_count=1",
    "&_count=2&_sort=creation",
    "&_summary=count",
    "&_count=0",
    "&_total=accurate&_count=1",
    "&_sort=-_lastUpdated",
    "&_sort=-date&_count=3",
    "&status=current",
    "&status=superseded",
    *(f"&type={LOINC}%7C{code}" for code in TYPES),
    f"&type:not={TYPES[0]}",
    "&category=REPORTS",
    "&security-label=R",
    "&security-label:not=R",
    "&creation=ge2021",
    "&period=2021",
    "&date=ge2000",
    "&facility=22232009",
    "&setting=408443003",
    "&format=urn:ihe:iti:xds:2017:mimeTypeSufficient",
    "&contenttype=text/plain",
    "&event:missing=true",
    "&_elements=type",
)
HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"Range": "bytes=0-3"},
    {"Range": "bytes=900-"},
    {"If-None-Match": 'W/"1"'},
    {"Accept": "application/fhir+json"},
    {"Accept": "text/plain"},
    {"If-Modified-Since": "Sun, 01 Mar 2026 10:00:00 GMT"},
)
LISTS = ("", "&code=submissionset", "&code=folder", "&_count=1", "&_summary=count", "&sourceId=urn:oid:2.999.10.2")


@pytest.mark.parametrize("examples", [EXAMPLES, pytest.param(100, marks=pytest.mark.slow)])
def test_a_hub_with_denied_documents_answers_like_one_without(hub_world: World, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, phases=(Phase.explicit, Phase.generate))
    @given(
        held=documents,
        nodes=denials,
        searches=st.lists(st.sampled_from(SEARCHES), min_size=5, max_size=5, unique=True),
        lists=st.lists(st.sampled_from(LISTS), min_size=2, max_size=2, unique=True),
        headers=st.sampled_from(HEADERS),
    )
    def answers(**drawn: Any) -> None:
        _answers_like_one_without(hub_world, **drawn)

    answers()


def _answers_like_one_without(
    hub_world: World,
    held: list[Document],
    nodes: list[dict[str, Any]],
    searches: list[str],
    lists: list[str],
    headers: dict[str, str],
) -> None:
    tag = uuid.uuid4().hex[:8]
    sides: list[tuple[str, str, dict[str, str], list[dict[str, str]]]] = []
    for side, family in (("with", f"Quarrel{tag}"), ("without", f"Zondervan{tag}")):
        local = f"{side}-{tag}"
        person = fed(local, family)
        shown = [(n, d) for n, d in enumerate(held) if side == "with" or not denied(d, nodes)]
        made = publish(hub_world, local, shown)
        resource = consent(person, decision="permit")
        resource["provision"] = {"type": "permit", "provision": [{"type": "deny", **node} for node in nodes]}
        filed = hub_world.hospital.post("/Consent", resource)
        assert filed.status_code == 201, filed.content
        names = {local: "<local>", family: "<family>", person: "<person>"}
        visible = [ids for (n, d), ids in zip(shown, made, strict=True) if not denied(d, nodes)]
        for index, ids in enumerate(visible):
            names |= {value: f"<{kind} {index}>" for kind, value in ids.items()}
            names |= {ids["unique"].removeprefix("urn:oid:"): f"<unique {index}>"}
        hidden = [ids for (n, d), ids in zip(shown, made, strict=True) if denied(d, nodes)]
        sides.append((person, local, names, hidden))
    for kind, queries in (("DocumentReference", searches), ("List", lists)):
        for query in queries:
            got = []
            for person, local, names, _ in sides:
                got.append(followed(hub_world, f"/{kind}?patient=Patient/{person}{query}", names))
                by_identifier = f"patient.identifier=urn:oid:{world.HOSPITAL_AUTHORITY}%7C{local}"
                got.append(followed(hub_world, f"/{kind}?{by_identifier}{query}", names))
            assert got[0] == got[2], (kind, query)
            assert got[1] == got[3], (kind, query)
    for ids in sides[0][3]:
        for path, invented in (
            (f"/{ids['DocumentReference']}", f"/DocumentReference/{uuid.uuid4()}"),
            (f"/{ids['Binary']}", f"/Binary/{uuid.uuid4()}"),
            (f"/{ids['List']}", f"/List/{uuid.uuid4()}"),
            (f"/DocumentReference?identifier={quote(ids['unique'])}", "/DocumentReference?identifier=urn:oid:2.999.404"),
            (f"/DocumentReference?_id={ids['DocumentReference'].split('/')[1]}", f"/DocumentReference?_id={uuid.uuid4()}"),
            (f"/List?_id={ids['List'].split('/')[1]}", f"/List?_id={uuid.uuid4()}"),
        ):  # fmt: skip
            same(hub_world, path, invented, headers)


def test_a_document_that_only_a_hidden_one_replaced_is_current_with_all_that_was_added_to_it(hub_world: World) -> None:
    """spec/consent.md 19.7: as if what is hidden did not exist; who sees the replacement sees the old one superseded."""
    person = fed("replaced-1", "Quillfeather")
    subject = {"identifier": {"system": f"urn:oid:{world.HOSPITAL_AUTHORITY}", "value": "replaced-1"}}

    def put(text: bytes, kind: str, **more: Any) -> str:
        bundle = provide_bundle(text, subject=subject, type=concept(LOINC, kind), **more)
        bundle["entry"][0]["resource"]["subject"] = subject
        done = hub_world.hospital.post("", bundle)
        assert done.status_code == 200, done.content
        return str(done.json()["entry"][1]["response"]["location"].split("/_history")[0])

    shown, secret = TYPES[0], TYPES[1]
    old = put(b"old", shown)
    note = put(b"addendum", shown, relatesTo=[{"code": "appends", "target": {"reference": old}}])
    resource = consent(person, decision="permit")
    resource["provision"] = {
        "type": "permit",
        "provision": [{"type": "deny", "code": [concept(LOINC, secret)]}],
    }
    assert hub_world.hospital.post("/Consent", resource).status_code == 201

    def seen(caller: Any, query: str) -> list[tuple[str, str, Any]]:
        bundle = caller.get(f"/DocumentReference?patient=Patient/{person}{query}").json()
        found = [item["resource"] for item in bundle.get("entry", []) if item["search"]["mode"] == "match"]
        assert bundle["total"] == len(found)
        return [(f"DocumentReference/{r['id']}", r["status"], r.get("relatesTo")) for r in found]

    before = {query: seen(hub_world.clinic, query) for query in ("", "&status=current", "&status=superseded")}
    new = put(b"new", secret, relatesTo=[{"code": "replaces", "target": {"reference": old}}])
    assert {query: seen(hub_world.clinic, query) for query in before} == before
    assert {name for name, _, _ in before["&status=current"]} == {old, note}
    assert [hub_world.clinic.get(f"/{name}").json()["status"] for name in (old, note)] == ["current", "current"]
    assert {name for name, _, _ in seen(hub_world.hospital, "&status=current")} == {new}
    assert {name for name, _, _ in seen(hub_world.hospital, "&status=superseded")} == {old, note}


def followed(hub: World, path: str, names: dict[str, str]) -> list[Any]:
    """The answer and those of the pages that it leads to."""
    found = []
    for _ in range(8):
        response = hub.clinic.get(path)
        found.append(answer(response, names))
        following = [link["url"] for link in response.json().get("link", ()) if link["relation"] == "next"]
        if not following:
            return found
        path = following[0]
    raise AssertionError("pages without end")


def same(hub: World, hidden: str, invented: str, headers: dict[str, str]) -> None:
    """Hidden and invented give one answer, whatever is asked of them."""
    for method in ("GET", "HEAD"):
        one, two = (
            answer(hub.clinic.call(method, path, **headers), {unquote(path.split("=")[-1]): "<asked>"})
            for path in (hidden, invented)
        )
        assert one == two, (method, hidden, headers)


def test_a_relation_to_a_hidden_document_is_not_told(hub_world: World) -> None:
    old = publish_old(hub_world)
    data = b"newer"
    new, binary = f"urn:uuid:{uuid.uuid4()}", f"urn:uuid:{uuid.uuid4()}"
    reference = document_reference(
        data, binary, relatesTo=[{"code": "replaces", "target": {"reference": old}}], type=concept(LOINC, "57133-1")
    )
    from base64 import b64encode

    payload = {"resourceType": "Binary", "contentType": "text/plain", "data": b64encode(data).decode()}
    bundle = bundle_of(
        ("List", f"urn:uuid:{uuid.uuid4()}", submission_set([new])),
        ("DocumentReference", new, reference),
        ("Binary", binary, payload),
    )
    published = hub_world.hospital.post("", bundle)
    assert published.status_code == 200, published.content
    place = published.json()["entry"][1]["response"]["location"].split("/_history")[0]
    assert old in str(hub_world.clinic.get(f"/{place}").json()["relatesTo"])
    resource = consent(hub_world.person, decision="permit")
    resource["provision"] = {"type": "permit", "provision": [{"type": "deny", "code": [concept(LOINC, "11488-4")]}]}
    assert hub_world.hospital.post("/Consent", resource).status_code == 201
    for path in (f"/{place}", f"/DocumentReference?patient=Patient/{hub_world.person}"):
        seen = hub_world.clinic.get(path)
        assert seen.status_code == 200
        assert old.split("/")[1] not in seen.content.decode()
        assert "relatesTo" not in seen.content.decode()


def publish_old(hub: World) -> str:
    """A document of a type that will be denied."""
    response = hub.hospital.post("", provide_bundle(b"older", type=concept(LOINC, "11488-4")))
    return str(response.json()["entry"][1]["response"]["location"].split("/_history")[0])


PATIENT_WAYS = (
    ("GET", "/Patient?family={family}", None),
    ("GET", "/Patient?identifier=urn:oid:2.999.10.2.1%7C{local}", None),
    ("GET", "/Patient?identifier=urn:oid:2.999.10.2.1%7C{local}&_summary=count", None),
    ("GET", "/Patient?family={family}&_count=1&_total=accurate", None),
    ("GET", "/Patient?_id={person}", None),
    ("GET", "/Patient/{person}", None),
    ("HEAD", "/Patient/{person}", None),
    ("GET", "/Patient/$ihe-pix?sourceIdentifier=urn:oid:2.999.10.2.1%7C{local}", None),
    ("GET", "/DocumentReference?patient={person}", None),
    ("GET", "/DocumentReference?patient.identifier=urn:oid:2.999.10.2.1%7C{local}", None),
    ("GET", "/List?patient.identifier=urn:oid:2.999.10.2.1%7C{local}", None),
    ("GET", "/Consent?patient={person}", None),
    ("GET", "/Consent?patient.identifier=urn:oid:2.999.10.2.1%7C{local}", None),
    ("GET", "/AuditEvent?date=ge2020-01-01&patient={person}", None),
    ("POST", "/Patient/$match", "match"),
    ("POST", "/Consent", "consent"),
    ("QUERY", "/api/queries", "identifier"),
    ("QUERY", "/api/queries", "reference"),
)


def asked(hub: World, way: tuple[str, str, str | None], who: dict[str, str]) -> Any:
    """One way out, asked about somebody."""
    method, path, body = way
    path = path.format(**who)
    if body == "match":
        return hub.clinic.post(
            path,
            {
                "resourceType": "Parameters",
                "parameter": [
                    {
                        "name": "resource",
                        "resource": {
                            "resourceType": "Patient",
                            "name": [{"family": who["family"], "given": ["Rosamund"]}],
                            "birthDate": who["birth"],
                            "gender": "female",
                        },
                    }
                ],
            },
        )
    if body == "consent":
        return hub.clinic.post(path, consent(who["person"]))
    if method == "QUERY":
        named = (
            {"reference": f"Patient/{who['person']}"}
            if body == "reference"
            else {"identifier": {"system": "urn:oid:2.999.10.2.1", "value": who["local"]}}
        )
        return hub.clinic.call(
            "POST", f"https://hub.example{path}", {"patient": named, "deadline_s": 1}, content_type="application/json"
        )
    return hub.clinic.call(method, path)


@pytest.fixture
def hidden(hub_world: World) -> dict[str, str]:
    """A patient whose only source may not be shown to the clinic."""
    person = fed("hidden-1", "Vanterpool")
    publish(hub_world, "hidden-1", [(0, Document("34133-9", "N", 2021))])
    filed = hub_world.hospital.post("/Consent", consent(person, decision="deny"))
    assert filed.status_code == 201, filed.content
    return {"person": person, "local": "hidden-1", "family": "Vanterpool", "birth": "1971-04-09"}


INVENTED = {
    "person": "3f6c1a52-9d0e-4b7a-8f21-5c6d7e8f9a0b",
    "local": "absent-1",
    "family": "Wolstenholme",
    "birth": "1971-04-09",
}


@pytest.mark.parametrize("way", PATIENT_WAYS, ids=lambda way: " ".join(filter(None, way)))
def test_a_hidden_patient_and_one_who_never_was_give_one_answer(
    hub_world: World, hidden: dict[str, str], way: tuple[str, str, str | None]
) -> None:
    got = [answer(asked(hub_world, way, who), {v: f"<{k}>" for k, v in who.items()}) for who in (hidden, INVENTED)]
    assert got[0] == got[1]
    assert got[0][0] in (200, 404)


@pytest.mark.parametrize("way", PATIENT_WAYS, ids=lambda way: " ".join(filter(None, way)))
def test_a_hidden_patient_counts_as_a_failed_look_up_like_one_who_never_was(
    hub_world: World,
    hidden: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    way: tuple[str, str, str | None],
) -> None:
    counted: list[str] = []
    monkeypatch.setattr(limits, "guessing", lambda caller, key: counted.append(caller.user_id))
    got = []
    for who in (hidden, INVENTED):
        counted.clear()
        asked(hub_world, way, who)
        got.append(len(counted))
    assert got[0] == got[1]
