"""A document of another community as policy sees it: all its codings, names and sources, whatever the spelling."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from consent import labelling, tables
from consent.engine import Tables
from hie.exchange.remote_documents import NamedDocument
from hie.faces.fhir import remote
from hie.standards.facts import AgreementFacts, DocumentFacts, ParticipantFacts

TABLES = labelling.LabelTables.from_json(tables.shipped("labels"), Tables.from_json(tables.shipped("codes")))
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
VOUCHING = ParticipantFacts(id="com-1", agreement=AgreementFacts(status="active", labels_documents=True))
NORMAL = {"coding": [{"system": CONFIDENTIALITY, "code": "N"}]}


def named(**changes: Any) -> NamedDocument:
    resource = {
        "resourceType": "DocumentReference",
        "id": "d1",
        "status": "current",
        "type": {"coding": [{"system": "http://loinc.org", "code": "34133-9"}]},
        "securityLabel": [NORMAL],
        "date": "2026-03-01T10:00:00Z",
        "content": [{"attachment": {"contentType": "text/xml"}}],
    } | changes
    return NamedDocument(
        uuid.uuid4(),
        1,
        "com-1",
        "Community 1",
        "com-1",
        str(resource["id"]),
        resource,
        datetime(2026, 3, 2, tzinfo=UTC),
    )


def facts(*others: NamedDocument, community: ParticipantFacts = VOUCHING, **changes: Any) -> DocumentFacts:
    return remote.facts(named(**changes), "p", community, TABLES, others)


def test_an_ordinary_document_is_what_it_says() -> None:
    found = facts()
    assert (found.confidentiality, found.labels, found.labelled) == ("N", frozenset(), True)
    assert (found.service_start, found.service_stop, found.created) == (None, None, "2026-03-01T10:00:00Z")


@pytest.mark.parametrize(
    "coding",
    [
        {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "PSY"},
        {"system": "http://hl7.org/fhir/v3/ActCode", "code": "PSY"},
        {"system": "urn:oid:2.16.840.1.113883.5.4", "code": "PSY"},
        {"system": "2.16.840.1.113883.5.4", "code": "PSY"},
        {"code": "PSY"},
    ],
)
@pytest.mark.parametrize("place", ["own", "second", "meta"])
def test_a_label_counts_in_every_spelling_and_place(coding: dict[str, str], place: str) -> None:
    changes: dict[str, Any] = {
        "own": {"securityLabel": [NORMAL, {"coding": [coding]}]},
        "second": {"securityLabel": [{"coding": [*NORMAL["coding"], coding]}]},
        "meta": {"meta": {"security": [coding]}},
    }[place]
    found = facts(**changes)
    assert (found.labels, found.confidentiality, found.labelled) == ({"PSY"}, "R", True)


@pytest.mark.parametrize("system", ["urn:oid:2.16.840.1.113883.5.25", "http://hl7.org/fhir/v3/Confidentiality"])
def test_a_letter_counts_in_every_spelling(system: str) -> None:
    def letter(code: str) -> str | None:
        return facts(securityLabel=[{"coding": [{"system": system, "code": code}]}]).confidentiality

    assert (letter("V"), letter("N")) == ("V", "N")
    assert facts(securityLabel=None).confidentiality == "R"


@pytest.mark.parametrize("place", ["type", "event", "category"])
def test_codes_of_a_value_set_label_it(place: str) -> None:
    concept = {"coding": [{"system": "urn:x", "code": "1"}, {"system": "SNOMED CT", "code": "86406008"}]}
    changes = {"event": {"context": {"event": [concept]}}, "category": {"category": [concept]}}
    found = facts(**changes.get(place, {"type": concept}))
    assert (found.labels, found.confidentiality) == ({"HIV"}, "R")


def test_an_unknown_label_or_a_source_that_vouches_for_none_leaves_it_unlabelled() -> None:
    unknown = {"coding": [{"system": "urn:oid:2.16.840.1.113883.5.4", "code": "SOMETHINGNEW"}]}
    assert not facts(securityLabel=[NORMAL, unknown]).labelled
    assert not facts(community=ParticipantFacts(id="com-1", agreement=AgreementFacts(status="active"))).labelled


def test_authors_are_told_by_every_name() -> None:
    found = facts(
        contained=[
            {
                "resourceType": "Practitioner",
                "id": "a",
                "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "77"}],
            }
        ],
        author=[{"reference": "#a"}, {"reference": "https://ehr.example/fhir/Practitioner/vale"}],
    )
    assert {"urn:oid:2.16.840.1.113883.4.6|77", "https://ehr.example/fhir/Practitioner/vale"} <= set(found.authors)
    assert "Practitioner/vale" in found.perhaps.authors
    assert not any(name.startswith("#") for name in found.authors)


def related(code: str, to: str) -> dict[str, Any]:
    return {"relatesTo": [{"code": code, "target": {"reference": to}}]}


def test_what_it_was_made_from_is_its_source_when_it_was_answered_too() -> None:
    source = named(id="s1", securityLabel=[{"coding": [{"system": CONFIDENTIALITY, "code": "V"}]}])
    (found,) = facts(source, named(id="s2"), **related("transforms", "DocumentReference/s1")).derived_from
    assert (found.id, found.confidentiality) == (str(source.id), "V")


def test_a_source_that_was_not_answered_is_restricted() -> None:
    (found,) = facts(**related("transforms", "https://elsewhere.example/fhir/DocumentReference/s9")).derived_from
    assert (found.confidentiality, found.labelled) == (None, False)


def test_documents_that_transform_one_another_end_somewhere() -> None:
    one = named(id="s1", **related("transforms", "DocumentReference/s2"))
    two = named(id="s2", **related("transforms", "DocumentReference/s1"))
    assert remote.facts(one, "p", VOUCHING, TABLES, (one, two)).derived_from[0].derived_from


@pytest.mark.parametrize("code", ["replaces", "transforms", "appends", "signs"])
def test_what_it_relates_to_is_known(code: str) -> None:
    named_there = "https://elsewhere.example/fhir/DocumentReference/s1"
    found = facts(**related(code, named_there))
    assert found.depends_on == found.related == (named_there,)
    assert "s1" in found.perhaps.related


def test_what_a_community_calls_by_its_own_short_name_is_not_ours_for_a_permit_and_is_for_a_denial() -> None:
    found = facts(
        context={"encounter": [{"reference": "Encounter/5"}]},
        author=[{"reference": "Practitioner/eve"}],
        **related("appends", "DocumentReference/s1"),
    )
    assert (found.encounter, found.authors, found.depends_on) == (None, (), ())
    assert "Practitioner/eve" in found.perhaps.authors
    assert {"5", "s1"} <= found.perhaps.related


def test_authors_that_name_one_another_over_and_over_are_read_once() -> None:
    further = {"url": "urn:hie:fhir:further-organization", "valueReference": {"reference": "#r"}}
    role = {"resourceType": "PractitionerRole", "id": "r", "extension": [further] * 1000}
    assert facts(contained=[role], author=[{"reference": "#r"}] * 3) is not None


def test_elements_of_the_wrong_shape_say_nothing_and_break_nothing() -> None:
    for wrong in ("x", 7, [], {}, [None], ["x"], None):
        changes = dict.fromkeys(("context", "author", "category", "securityLabel", "relatesTo", "meta", "type"), wrong)
        assert facts(**changes).confidentiality == "R"
