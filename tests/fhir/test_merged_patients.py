"""What hangs on a patient follows her through a merge and comes back when it is undone (spec/mpi.md 2)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from consent import proxies
from hie.directory import registration
from hie.exchange import feed, find, found_pages, named_patients
from hie.standards.demographics import HumanName
from patients import identifiers, linking
from tests.directory.forms import clinic, file, hospital
from tests.exchange import world
from tests.fhir.conftest import World, provide_bundle
from tests.fhir.test_consents import consent

pytestmark = pytest.mark.django_db
HOSPITAL, CLINIC = (f"urn:oid:{world.HOSPITAL_AUTHORITY}", f"urn:oid:{world.CLINIC_AUTHORITY}")


@pytest.fixture
def other(hub_world: World) -> UUID:
    """Another patient of the hospital, P9; she and Rosa have a document each."""
    name = HumanName(family="Oddfellow", given=("Barnaby",), use="official")
    demographics = world.rosa("P9", names=(name,), birth_date="1933-11-30", gender="male", addresses=(), telecoms=())
    fed = feed.feed(
        feed.Revision(authority=world.HOSPITAL_AUTHORITY, value="P9", demographics=demographics),
        world.hospital_caller(),
    )
    assert fed.result is not None
    subject = {"identifier": {"system": HOSPITAL, "value": "P9"}}
    second = provide_bundle(b"Of Barnaby", subject=subject)
    second["entry"][0]["resource"]["subject"] = subject
    for bundle in (provide_bundle(b"Of Rosa"), second):
        answer = hub_world.hospital.post("", bundle)
        assert answer.status_code == 200, answer.content
    return fed.result.person_id


def documents(hub_world: World, system: str, value: str) -> set[str]:
    """What the clinic finds by an identifier: the ids of documents."""
    answer = hub_world.clinic.get(f"/DocumentReference?patient.identifier={system}|{value}&status=current")
    assert answer.status_code == 200, answer.content
    found = answer.json()
    subjects = {entry["resource"]["subject"]["reference"] for entry in found.get("entry", ())}
    assert len(subjects) <= 1, "one answer is about one person"
    return {entry["resource"]["id"] for entry in found.get("entry", ())}


def everything(hub_world: World) -> dict[str, Any]:
    """What the clinic finds by each identifier of the two."""
    asked = ((HOSPITAL, "P1"), (CLINIC, "C1"), (HOSPITAL, "P9"))
    return {value: documents(hub_world, system, value) for system, value in asked}


def test_documents_are_found_by_every_identifier_of_the_person_and_part_with_her(hub_world: World, other: UUID) -> None:
    before = everything(hub_world)
    assert (len(before["P1"]), len(before["P9"]), before["P1"] & before["P9"]) == (1, 1, set())
    event = linking.merge(UUID(hub_world.person), other, actor="Staff/ida")
    both = before["P1"] | before["P9"]
    assert everything(hub_world) == {"P1": both, "C1": both, "P9": both}
    linking.unmerge(event, actor="Staff/ida")
    assert everything(hub_world) == before


def test_what_is_filed_for_a_person_by_id_stays_with_her_when_whom_she_took_in_leaves(
    hub_world: World, other: UUID
) -> None:
    identifiers.own_anchor(other)
    event = linking.merge(UUID(hub_world.person), other, actor="Staff/ida")
    filed = named_patients.patient_cx(named_patients.PatientNamed(id=hub_world.person), caller=world.hospital_caller())
    assert filed is not None
    linking.unmerge(event, actor="Staff/ida")
    resolved = identifiers.resolve(filed.authority, filed.value)
    assert resolved is not None
    assert str(resolved.person_id) == hub_world.person


def test_a_consent_covers_the_person_while_she_is_one(hub_world: World, other: UUID) -> None:
    filed = hub_world.hospital.post("/Consent", consent(str(other)))
    assert filed.status_code == 201, filed.content
    before = everything(hub_world)
    assert (len(before["C1"]), before["P9"]) == (1, set())
    event = linking.merge(UUID(hub_world.person), other, actor="Staff/ida")
    assert everything(hub_world) == {"P1": set(), "C1": set(), "P9": set()}
    linking.unmerge(event, actor="Staff/ida")
    assert everything(hub_world) == before


def test_a_proxy_sees_the_person_while_she_is_one(hub_world: World, other: UUID) -> None:
    portal = clinic(
        id="portal", type="patient-portal", organization_oid="2.999.10.7", assigning_authority=None,
        jwks={"keys": []}, purposes=["PATRQT"], users=[],
    )  # fmt: skip
    scopes = ["system/*.cruds"]
    registration.apply(file(clinic(scopes=scopes), hospital(scopes=scopes, users=[]), portal))
    held = identifiers.resolve(world.HOSPITAL_AUTHORITY, "P9")
    assert held is not None
    proxies.grant(
        identifier_pk=held.pk, person="RelatedPerson/sam", kind="guardian", verified_by="desk", evidence="form 7"
    )
    sam = world.caller(
        participant_id="portal", organization_id="portal", client_id="portal", user_id="RelatedPerson/sam",
        user_name="Sam", role="proxy", purpose="PATRQT", organization_oid="2.999.10.7",
    )  # fmt: skip

    def seen(value: str) -> int:
        named = named_patients.PatientNamed(system=HOSPITAL, value=value)
        asked = found_pages.DocumentSearch(patients=((named,),))
        here = replace(sam, on_behalf_of=f"Patient/{identifiers.person_of_pk(held.pk)}")
        return find.find_documents(asked, caller=here).total or 0

    assert (seen("P1"), seen("P9")) == (0, 1)
    event = linking.merge(UUID(hub_world.person), other, actor="Staff/ida")
    assert (seen("P1"), seen("P9")) == (2, 2)
    linking.unmerge(event, actor="Staff/ida")
    assert (seen("P1"), seen("P9")) == (0, 1)


@pytest.mark.parametrize(
    ("grants", "sees"),
    [
        pytest.param([{"end": "2020"}], False, id="only-an-old-one"),
        pytest.param([{}, {"end": "2020"}], True, id="a-newer-one-that-has-ended"),
        pytest.param([{"max_confidentiality": "R"}, {"max_confidentiality": "L"}], True, id="a-newer-narrower-one"),
        pytest.param([{}, {"kind": "parent"}], True, id="a-newer-one-that-ended-with-majority"),
    ],
)
def test_a_helper_sees_what_any_of_his_grants_opens(
    hub_world: World, other: UUID, grants: list[dict[str, str]], sees: bool
) -> None:
    portal = clinic(
        id="portal", type="patient-portal", organization_oid="2.999.10.7", assigning_authority=None,
        jwks={"keys": []}, purposes=["PATRQT"], users=[],
    )  # fmt: skip
    scopes = ["system/*.cruds"]
    registration.apply(file(clinic(scopes=scopes), hospital(scopes=scopes, users=[]), portal))
    held = identifiers.resolve(world.HOSPITAL_AUTHORITY, "P9")
    assert held is not None
    for grant in grants:
        proxies.grant(**{"identifier_pk": held.pk, "person": "RelatedPerson/sam", "kind": "guardian"} | grant)
    sam = world.caller(
        participant_id="portal", organization_id="portal", client_id="portal", user_id="RelatedPerson/sam",
        user_name="Sam", role="proxy", purpose="PATRQT", organization_oid="2.999.10.7",
        on_behalf_of=f"Patient/{identifiers.person_of_pk(held.pk)}",
    )  # fmt: skip
    asked = found_pages.DocumentSearch(patients=((named_patients.PatientNamed(system=HOSPITAL, value="P9"),),))
    assert ((find.find_documents(asked, caller=sam).total or 0) == 1) is sees
