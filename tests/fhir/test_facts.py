"""What the rules are told of a document is true: by whom, from what, with which labels, whatever the spelling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from consent import directives
from documents.models import DocumentEntry
from hie.exchange import access
from hie.exchange.feed import Revision, apply
from hie.standards.fhir_patient import to_fhir
from patients import identifiers
from patients.importing import import_file
from tests.exchange import world
from tests.fhir.conftest import CONFIDENTIALITY, World, concept, provide_bundle
from tests.fhir.test_consents import consent

pytestmark = pytest.mark.django_db

PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
NPI = "http://hl7.org/fhir/sid/us-npi"
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
SNOMED = "http://snomed.info/sct"


def publish(hub: World, data: bytes = b"Hello", **changes: Any) -> tuple[str, str]:
    """A document of the hospital's: its DocumentReference and its Binary."""
    answer = hub.hospital.post("", provide_bundle(data, **changes))
    assert answer.status_code == 200, answer.content
    document, binary = (answer.json()["entry"][n]["response"]["location"].split("/_history")[0] for n in (1, 2))
    return document, binary


def permit_but(hub: World, **denied: Any) -> None:
    """Everything may be seen but what the provision denies."""
    body = consent(hub.person, decision="permit")
    body["provision"] = {"type": "permit", "provision": [{"type": "deny"} | denied]}
    filed = hub.hospital.post("/Consent", body)
    assert filed.status_code == 201, filed.content


def seen(hub: World, document: str, binary: str) -> bool:
    """Whether the clinic sees the document; it is seen everywhere or nowhere."""
    found = hub.clinic.get(f"/DocumentReference?patient={hub.person}&status=current,superseded").json()
    listed = f"{document}" in {f"DocumentReference/{one['resource']['id']}" for one in found.get("entry", ())}
    ways = {listed, hub.clinic.get(f"/{document}").status_code == 200, hub.clinic.get(f"/{binary}").status_code == 200}
    assert len(ways) == 1, (listed, document)
    return listed


def author(**reference: Any) -> dict[str, Any]:
    return {"role": {"coding": [{"system": PARTICIPATION, "code": "AUT"}]}, "reference": reference}


def contained(**practitioner: Any) -> dict[str, Any]:
    return {
        "contained": [{"resourceType": "Practitioner", "id": "a", "name": [{"family": "Vale"}]} | practitioner],
        "author": [{"reference": "#a"}],
    }


BY_ROLE = {
    "contained": [
        {"resourceType": "Practitioner", "id": "p", "identifier": [{"system": NPI, "value": "1999999984"}]},
        {
            "resourceType": "Organization",
            "id": "o",
            "name": "The Hospital",
            "identifier": [{"system": "urn:ietf:rfc:3986", "value": "urn:oid:2.999.10.2"}],
        },
        {
            "resourceType": "PractitionerRole",
            "id": "r",
            "practitioner": {"reference": "#p"},
            "organization": {"reference": "#o"},
        },
    ],
    "author": [{"reference": "#r"}],
}
TWO_IDS = contained(
    identifier=[{"system": "urn:oid:2.999.77", "value": "va-1"}, {"system": NPI, "value": "1999999984"}]
)


@pytest.mark.parametrize(
    ("written", "denied"),
    [
        pytest.param(
            {"author": [{"reference": "Practitioner/vale"}]}, {"reference": "Practitioner/vale"}, id="reference"
        ),
        pytest.param(
            {"author": [{"reference": "Practitioner/vale", "display": "Dr Vale"}]},
            {"reference": "Practitioner/vale"},
            id="reference-with-display",
        ),
        pytest.param(
            {"author": [{"reference": "https://ehr.example/fhir/Practitioner/vale"}]},
            {"reference": "Practitioner/vale"},
            id="absolute-written",
        ),
        pytest.param(
            {"author": [{"reference": "Practitioner/vale"}]},
            {"reference": "https://ehr.example/fhir/Practitioner/vale"},
            id="absolute-denied",
        ),
        pytest.param(
            {"author": [{"identifier": {"system": NPI, "value": "1999999984"}, "display": "Dr Vale"}]},
            {"identifier": {"system": NPI, "value": "1999999984"}},
            id="identifier",
        ),
        pytest.param(TWO_IDS, {"identifier": {"system": NPI, "value": "1999999984"}}, id="second-identifier"),
        pytest.param(
            TWO_IDS,
            {"identifier": {"system": "urn:oid:2.16.840.1.113883.4.6", "value": "1999999984"}},
            id="oid-of-the-system",
        ),
        pytest.param(TWO_IDS, {"identifier": {"value": "va-1"}}, id="no-system"),
        pytest.param(TWO_IDS, {"reference": "Practitioner/va-1"}, id="identifier-as-reference"),
        pytest.param(BY_ROLE, {"identifier": {"system": NPI, "value": "1999999984"}}, id="practitioner-of-a-role"),
        pytest.param(BY_ROLE, {"reference": "Organization/org-hospital"}, id="organization-of-a-role-by-its-id-here"),
        pytest.param(
            {"author": [{"reference": "Organization/org-hospital"}]},
            {"identifier": {"system": "urn:ietf:rfc:3986", "value": "urn:oid:2.999.10.2"}},
            id="organization-by-its-oid",
        ),
        pytest.param(
            {"author": [{"reference": "Practitioner/other"}, {"reference": "Practitioner/vale"}]},
            {"reference": "Practitioner/vale"},
            id="second-author",
        ),
    ],
)
def test_a_denial_by_author_hides_what_that_author_wrote_and_nothing_else(
    hub_world: World, written: dict[str, Any], denied: dict[str, Any]
) -> None:
    theirs = publish(hub_world, **written)
    other = publish(hub_world, b"Other", author=[{"reference": "Practitioner/quill"}])
    permit_but(hub_world, actor=[author(**denied)])
    assert not seen(hub_world, *theirs)
    assert seen(hub_world, *other)


def test_a_denial_of_what_somebody_authored_hides_it(hub_world: World) -> None:
    theirs = publish(hub_world, author=[{"reference": "Practitioner/vale", "display": "Dr Vale"}])
    other = publish(hub_world, b"Other", author=[{"reference": "Practitioner/quill"}])
    permit_but(hub_world, data=[{"meaning": "authoredby", "reference": {"reference": "Practitioner/vale"}}])
    assert not seen(hub_world, *theirs)
    assert seen(hub_world, *other)


def test_a_permit_by_author_reaches_only_who_surely_wrote_it(hub_world: World) -> None:
    surely = publish(hub_world, author=[{"identifier": {"system": NPI, "value": "77"}, "display": "Dr Vale"}])
    perhaps = publish(hub_world, b"2", author=[{"identifier": {"system": "urn:oid:2.999.77", "value": "77"}}])
    body = consent(hub_world.person, decision="deny")
    allowed = {"type": "permit", "actor": [author(identifier={"system": NPI, "value": "77"})]}
    body["provision"] = {"type": "deny", "provision": [allowed]}
    assert hub_world.hospital.post("/Consent", body).status_code == 201
    assert seen(hub_world, *surely)
    assert not seen(hub_world, *perhaps)


@pytest.mark.parametrize("meaning", ["related", "dependents"])
@pytest.mark.parametrize("relation", ["appends", "transforms", "replaces", "signs"])
@pytest.mark.parametrize("named", [0, 1], ids=["the-first", "the-second"])
def test_a_denial_of_a_document_and_what_hangs_on_it_reaches_both_ways(
    hub_world: World, meaning: str, relation: str, named: int
) -> None:
    first = publish(hub_world)
    second = publish(hub_world, b"2", relatesTo=[{"code": relation, "target": {"reference": first[0]}}])
    third = publish(hub_world, b"3", relatesTo=[{"code": "appends", "target": {"reference": second[0]}}])
    apart = publish(hub_world, b"4")
    permit_but(hub_world, data=[{"meaning": meaning, "reference": {"reference": (first, second)[named][0]}}])
    assert [seen(hub_world, *one) for one in (first, second, third, apart)] == [False, False, False, True]


def test_a_denial_of_one_document_alone_leaves_what_hangs_on_it(hub_world: World) -> None:
    first = publish(hub_world)
    second = publish(hub_world, b"2", relatesTo=[{"code": "appends", "target": {"reference": first[0]}}])
    permit_but(hub_world, data=[{"meaning": "instance", "reference": {"reference": first[0]}}])
    assert [seen(hub_world, *one) for one in (first, second)] == [False, True]


@pytest.mark.parametrize("meaning", ["instance", "related", "dependents"])
def test_a_document_is_denied_by_whatever_it_is_called(hub_world: World, meaning: str) -> None:
    first = publish(hub_world)
    apart = publish(hub_world, b"2")
    unique_id = DocumentEntry.objects.get(entry_uuid=first[0].partition("/")[2]).unique_id
    permit_but(hub_world, data=[{"meaning": meaning, "reference": {"reference": f"urn:oid:{unique_id}"}}])
    assert [seen(hub_world, *one) for one in (first, apart)] == [False, True]


def test_a_denial_of_an_encounter_hides_what_came_of_it_however_it_is_named(hub_world: World) -> None:
    def context(encounter: dict[str, Any]) -> dict[str, Any]:
        return {"context": {"encounter": [{"reference": "Encounter/e0"}, encounter]}}

    by_reference = publish(hub_world, **context({"reference": "Encounter/e7"}))
    by_identifier = publish(hub_world, b"2", **context({"identifier": {"system": "urn:oid:2.999.8", "value": "e7"}}))
    apart = publish(hub_world, b"3", **context({"reference": "Encounter/e8"}))
    permit_but(hub_world, data=[{"meaning": "related", "reference": {"reference": "Encounter/e7"}}])
    assert [seen(hub_world, *one) for one in (by_reference, by_identifier, apart)] == [False, False, True]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(
            {"type": {"coding": [{"system": "http://loinc.org", "code": "34133-9"}, {"system": ICD, "code": "B20"}]}},
            id="second-coding-of-the-type",
        ),
        pytest.param(
            {
                "context": {
                    "event": [{"coding": [{"system": "urn:oid:2.999.1", "code": "x"}, {"system": ICD, "code": "B20"}]}]
                }
            },
            id="second-coding-of-an-event",
        ),
        pytest.param({"context": {"event": [concept("urn:oid:2.16.840.1.113883.6.96", "86406008")]}}, id="oid"),
        pytest.param({"context": {"event": [concept("http://snomed.info/sct/", "86406008")]}}, id="slash"),
        pytest.param({"meta": {"security": [{"system": "http://hl7.org/fhir/v3/ActCode", "code": "HIV"}]}}, id="meta"),
        pytest.param(
            {
                "securityLabel": [
                    concept(CONFIDENTIALITY, "N"),
                    concept("urn:oid:2.16.840.1.113883.5.4", "HIV"),
                ]
            },
            id="security-label-by-oid",
        ),
        pytest.param(
            {
                "securityLabel": [
                    {"coding": [{"system": CONFIDENTIALITY, "code": "N"}, {"system": "urn:x", "code": "HIV"}]}
                ]
            },
            id="security-label-of-another-system-as-a-second-coding",
        ),
    ],
)
def test_a_denial_by_label_meets_a_label_from_any_coding_in_any_spelling(
    hub_world: World, changes: dict[str, Any]
) -> None:
    labelled = publish(hub_world, **changes)
    plain = publish(hub_world, b"2")
    row = DocumentEntry.objects.get(entry_uuid=labelled[0].partition("/")[2])
    assert (row.labels, row.confidentiality) == (["HIV"], "R")
    permit_but(
        hub_world,
        securityLabel=[{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV"}],
    )
    assert not seen(hub_world, *labelled)
    assert seen(hub_world, *plain)


def test_a_denial_by_code_meets_every_coding_of_the_type_and_events_in_any_spelling(hub_world: World) -> None:
    coded = publish(
        hub_world,
        context={
            "event": [{"coding": [{"system": "urn:oid:2.999.1", "code": "x"}, {"system": SNOMED, "code": "73211009"}]}]
        },
    )
    by_oid = publish(hub_world, b"2", context={"event": [concept("urn:oid:2.16.840.1.113883.6.96", "73211009")]})
    plain = publish(hub_world, b"3")
    permit_but(hub_world, code=[concept("https://snomed.info/sct", "73211009")])
    assert [seen(hub_world, *one) for one in (coded, by_oid, plain)] == [False, False, True]


def test_a_derived_document_carries_what_its_source_carries_from_registration_on(hub_world: World) -> None:
    source = publish(hub_world, context={"event": [concept(ICD, "B20")]})
    made = publish(hub_world, b"2", relatesTo=[{"code": "transforms", "target": {"reference": source[0]}}])
    row = DocumentEntry.objects.get(entry_uuid=made[0].partition("/")[2])
    assert (row.labels, row.confidentiality) == (["HIV"], "R")
    assert set(row.label_assignments.values_list("label", "rule")) >= {("HIV", "source")}


FLAG = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "VIP"}


@pytest.mark.parametrize(
    ("security", "known"), [((), True), (({"code": "N"},), True), ((FLAG,), False), (({"code": "VIP"},), False)]
)
def test_who_is_flagged_by_one_source_is_not_known_to_others(
    hub_world: World, security: tuple[dict[str, str], ...], known: bool
) -> None:
    patient = {
        "resourceType": "Patient",
        **({"meta": {"security": list(security)}} if security else {}),
        "identifier": [{"system": f"urn:oid:{world.HOSPITAL_AUTHORITY}", "value": "V1"}],
        "name": [{"family": "Star", "given": ["Vera"]}],
        "gender": "female",
        "birthDate": "1961-02-03",
    }
    query = f"identifier=urn:oid:{world.HOSPITAL_AUTHORITY}|V1"
    fed = hub_world.hospital.call("PUT", f"/Patient?{query}", patient)
    assert fed.status_code in (200, 201), fed.content
    assert (hub_world.clinic.get(f"/Patient?{query}").json()["total"] == 1) is known
    assert hub_world.hospital.get(f"/Patient?{query}").json()["total"] == 1


def test_a_flag_counts_for_answers_that_are_under_way(hub_world: World) -> None:
    pks = identifiers.identifier_pks(hub_world.person)

    def feed(**protected: Any) -> int:
        revision = world.rosa("P1", **protected)
        said = Revision(authority=world.HOSPITAL_AUTHORITY, value="P1", demographics=revision)
        apply([said], world.hospital_caller())
        as_by_commit()
        return directives.consent_epoch(pks)

    before = feed(birth_date="1971-04-09")
    assert feed(protected=("VIP",)) > before
    assert access_of(hub_world) == "V"


def test_a_flag_that_an_import_brings_counts_for_answers_that_are_under_way(hub_world: World, tmp_path: Path) -> None:
    pks = identifiers.identifier_pks(hub_world.person)
    before = directives.consent_epoch(pks)
    levels = []
    for value, flags in (("P8", ()), ("P9", ("VIP",))):
        resource = to_fhir(world.rosa("P1"))
        resource["meta"] = {"security": [{"code": flag} for flag in flags]}
        resource["identifier"] = [{"system": f"urn:oid:{world.HOSPITAL_AUTHORITY}", "value": value}]
        path = tmp_path / f"{value}.ndjson"
        path.write_text(json.dumps(resource))
        import_file(path, participant_id="org-hospital")
        as_by_commit()
        assert len(identifiers.identifier_pks(hub_world.person)) > len(pks), "it is hers"
        levels.append(directives.consent_epoch(pks))
    assert levels[0] == before
    assert levels[1] > before
    assert access_of(hub_world) == "V"


def as_by_commit() -> None:
    """Let the triggers fire that wait for the end of the transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def access_of(hub: World) -> str | None:
    """The letter of the clinic's own record of the person, which is not the one that was flagged."""
    rows = access.demographics_rows(access.subject(hub.person).records)
    (own,) = [row for row in rows if row.record.participant_id == "org-clinic"]
    return own.facts(hub.person).confidentiality
