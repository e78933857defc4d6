"""What depends on the caller alone: 403 before any record is looked up, suspension at once, emergencies with a grant only."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from django.utils import timezone

from consent import break_glass
from hie.directory.models import Participant
from hie.directory.queries import bump_epoch
from hie.exchange import access
from hie.exchange.errors import AccessRefused
from hie.standards.facts import Operation
from patients import identifiers
from tests.exchange import world
from tests.exchange.world import CLINIC_AUTHORITY
from tests.fhir.conftest import World, concept, provide_bundle
from tests.fhir.test_consents import consent
from tests.leaks.answers import answer

pytestmark = pytest.mark.django_db
LOINC = "http://loinc.org"


def suspended(participant_id: str) -> None:
    """Suspend a participant as the admin does."""
    Participant.objects.filter(pk=participant_id).update(status="suspended")
    bump_epoch()


def publish(hub: World, **changes: Any) -> dict[str, str]:
    response = hub.hospital.post("", provide_bundle(**changes))
    assert response.status_code == 200, response.content
    places = [item["response"]["location"].split("/_history")[0] for item in response.json()["entry"]]
    return {place.split("/")[0]: place for place in places}


def reads(hub: World, made: dict[str, str]) -> list[str]:
    """Paths of every way to read over FHIR."""
    return [
        *(f"/{place}" for place in made.values()),
        f"/Patient/{hub.person}",
        "/Patient?family=Quarrel",
        "/Patient/$ihe-pix?sourceIdentifier=urn:oid:2.999.10.2.1%7CP1",
        f"/DocumentReference?patient={hub.person}",
        f"/List?patient={hub.person}",
        f"/Consent?patient={hub.person}",
        "/AuditEvent?date=ge2020-01-01",
    ]


def test_a_suspended_participant_is_refused_on_every_face_with_its_token_in_hand(hub_world: World) -> None:
    made = publish(hub_world)
    query = {"patient": {"reference": f"Patient/{hub_world.person}"}, "deadline_s": 1}
    queries = "https://hub.example/api/queries"
    started = hub_world.clinic.call("POST", queries, query, content_type="application/json")
    assert started.status_code in (200, 202)
    running = started["Location"]
    for path in reads(hub_world, made):
        assert hub_world.clinic.get(path).status_code == 200, path
    suspended("org-clinic")
    for path in reads(hub_world, made):
        assert hub_world.clinic.get(path).status_code == 401, path
    assert hub_world.clinic.post("", provide_bundle()).status_code == 401
    assert hub_world.clinic.post("/Consent", consent(hub_world.person)).status_code == 401
    assert hub_world.clinic.post("/Patient/$match", {"resourceType": "Parameters"}).status_code == 401
    assert hub_world.clinic.call("POST", queries, query, content_type="application/json").status_code == 401
    assert hub_world.clinic.get(running).status_code == 401
    assert hub_world.clinic.get(f"{running}/events").status_code == 401


def test_a_suspended_sender_of_hl7_is_refused() -> None:
    from hie.exchange import inbox
    from hie.faces.hl7v2.handler import envelope_of

    world.exchange()
    message = (
        b"MSH|^~\\&|ADT|HOSPITAL|HUB|HUB|20260301||ADT^A01|{id}|P|2.5.1\rEVN|A01|20260301\r"
        b"PID|1||P9^^^&2.999.10.2.1&ISO||Quarrel^Rosamund||19710409|F\r"
    )
    from hie.directory.queries import snapshot

    sender = next(pair for pair, owner in snapshot().by_sender.items() if owner == "org-hospital")
    whole = message.replace(b"ADT|HOSPITAL", "|".join(sender).encode())
    first = inbox.receive(whole.replace(b"{id}", b"1"), envelope_of(whole)).reply
    assert b"MSA|AA" in first
    suspended("org-hospital")
    second = inbox.receive(whole.replace(b"{id}", b"2"), envelope_of(whole)).reply
    assert b"MSA|AA" not in second
    assert b"Quarrel" not in second


def test_the_documents_and_people_of_a_suspended_custodian_are_absent(hub_world: World) -> None:
    made = publish(hub_world)
    suspended("org-hospital")
    for kind, place in made.items():
        got = answer(hub_world.clinic.get(f"/{place}"))
        assert got == answer(hub_world.clinic.get(f"/{kind}/{uuid.uuid4()}"))
    assert hub_world.clinic.get(f"/DocumentReference?patient={hub_world.person}").json()["total"] == 0
    seen = hub_world.clinic.get("/Patient?family=Quarrel")
    assert world.HOSPITAL_AUTHORITY not in seen.content.decode().replace(
        json.dumps(seen.json()["link"], separators=(",", ":")), ""
    )


REFUSED = (
    ("GET", "/DocumentReference/{id}"),
    ("GET", "/DocumentReference?patient={id}"),
    ("GET", "/List/{id}"),
    ("GET", "/List?patient={id}"),
    ("GET", "/Binary/{id}"),
    ("HEAD", "/Binary/{id}"),
    ("GET", "/Patient/{id}"),
    ("GET", "/Patient?_id={id}"),
    ("GET", "/Consent/{id}"),
    ("GET", "/Consent?patient={id}"),
    ("GET", "/DocumentReference?patient.identifier=urn:oid:2.999.10.2.1%7C{local}"),
    ("GET", "/Patient?identifier=urn:oid:2.999.10.2.1%7C{local}"),
    ("GET", "/Patient/$ihe-pix?sourceIdentifier=urn:oid:2.999.10.2.1%7C{local}"),
)


@pytest.mark.parametrize(("method", "path"), REFUSED, ids=[f"{m} {p}" for m, p in REFUSED])
def test_a_refusal_of_the_caller_is_equal_for_existing_and_invented(hub_world: World, method: str, path: str) -> None:
    made = publish(hub_world)
    filed = hub_world.hospital.post("/Consent", consent(hub_world.person, decision="permit"))
    kind = path.lstrip("/").split("/")[0].split("?")[0]
    by_kind = {**made, "Patient": f"Patient/{hub_world.person}", "Consent": f"Consent/{filed.json()['id']}"}
    real = hub_world.person if "patient=" in path else by_kind[kind].split("/")[1]
    # Emergency as a purpose, without any grant: G7, from the caller alone.
    clinic_btg = type(hub_world.clinic)(token_of("BTG"))
    got = [
        answer(clinic_btg.call(method, path.format(id=one, local=local)), {one: "<asked>", local: "<local>"})
        for one, local in ((real, "P1"), (str(uuid.uuid4()), "P-never"))
    ]
    assert got[0] == got[1]
    assert got[0][0] == 403


def token_of(purpose: str) -> str:
    """A token of Dr Moor's at the clinic with this purpose, as the token service writes it."""
    from hie.trust import token_service

    who = world.caller(purpose=purpose)
    return token_service.encode(who, tuple(who.scopes), now=timezone.now(), lifetime_s=300)


def test_an_emergency_without_a_grant_is_refused_by_the_gate(hub_world: World) -> None:
    from hie.directory import registration
    from tests.directory.forms import clinic, file, hospital

    registration.apply(file(clinic(purposes=["TREAT", "BTG"]), hospital(users=[])))
    asking = world.caller(purpose="BTG")
    with pytest.raises(AccessRefused) as refused:
        access.gate(asking, Operation.QUERY)
    assert refused.value.rule == "G7"
    grant = break_glass.open_grant(
        identifier_pk=identifiers.identifier_pks(hub_world.person)[0],
        user_id=asking.user_id,
        organization="org-clinic",
        reason="UNCONSCIOUS",
        text="Found without consciousness in the street",
        now=timezone.now(),
    )
    access.gate(asking, Operation.QUERY)
    break_glass.end_grant(uuid.UUID(grant.id))
    with pytest.raises(AccessRefused) as again:
        access.gate(asking, Operation.QUERY)
    assert again.value.rule == "G7"


@pytest.mark.parametrize("code", ["replaces", "appends", "transforms", "signs"])
def test_relating_to_a_hidden_document_is_refused_like_relating_to_none(hub_world: World, code: str) -> None:
    old = publish(hub_world, type=concept(LOINC, "11488-4"))["DocumentReference"]
    assert hub_world.hospital.post("/Consent", consent(hub_world.person)).status_code == 201
    got = []
    for target in (old, f"DocumentReference/{uuid.uuid4()}"):
        bundle = provide_bundle(relatesTo=[{"code": code, "target": {"reference": target}}])
        for entry in bundle["entry"]:
            if "subject" in entry["resource"]:
                # By its own record: of the hospital's it is told that there is no such patient.
                entry["resource"]["subject"]["identifier"] = {"system": f"urn:oid:{CLINIC_AUTHORITY}", "value": "C1"}
        refused = hub_world.clinic.post("", bundle)
        names = {target: "<target>", target.split("/")[1]: "<target>"}
        got.append(answer(refused, names))
    assert got[0] == got[1]
    assert got[0][0] in (400, 404, 422)
    assert "UnresolvedReference" in got[0][2]
