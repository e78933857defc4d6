"""Alice, her son Sam, a hub with a portal, and looks at her record."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.test import Client

from consent import policies, proxies
from hie.audit.recorder import DisclosureDraft, EventDraft, EventType, staff_look, write
from hie.directory import queries as directory
from hie.directory import registration
from hie.exchange import accounts
from hie.standards.facts import Caller
from hie.trust.models import PatientAccount
from patients import identifiers, linking
from patients.demographics import Demographics, HumanName, RecordFeed
from tests.directory.forms import clinic, file, hospital
from tests.grounds import ground

PORTAL = {
    "id": "org-portal",
    "name": "The Portal",
    "type": "patient-portal",
    "organization_oid": "2.999.10.9",
    "scopes": [],
    "purposes": ["PATRQT"],
}
PASSWORD = "correct horse battery"
ALICE = {"login": "alice", "password": PASSWORD, "name": "Rosa Delgado", "identifier": "A1^^^&2.999.10.1.1&ISO"}
SON = {"login": "sam", "password": PASSWORD, "name": "Sam Delgado", "identifier": "S1^^^&2.999.10.1.1&ISO"}
CHILD = "M1^^^&2.999.10.1.1&ISO"
EVE = Caller(
    participant_id="org-clinic",
    organization_id="org-clinic",
    client_id="org-clinic",
    user_id="Practitioner/eve",
    user_name="Dr. Eve Marlowe",
    role="physician",
    purpose="TREAT",
    organization_name="The Clinic",
)
PAYER = Caller(
    participant_id="org-hospital",
    organization_id="org-hospital",
    client_id="org-hospital",
    user_id="Device/org-hospital",
    role="billing",
    purpose="HPAYMT",
)


def fed(value: str, family: str, given: str, birth_date: str, **changes: Any) -> str:
    """A patient of the clinic; the person's id."""
    name = HumanName(family=family, given=(given,))
    person = Demographics(names=(name,), birth_date=birth_date, gender="female", **changes)
    record = RecordFeed(participant_id="org-clinic", authority="2.999.10.1.1", value=value, demographics=person)
    return str(linking.feed(record).person_id)


def world() -> str:
    """Clinic, hospital, portal, Alice (who may act for nobody), Sam (whom she named), Mia (a child); Alice's person."""
    policies.forget()
    registration.apply(file(clinic(), hospital(), PORTAL))
    directory.bump_epoch()
    alice = fed("A1", "Delgado", "Rosa", "1970-05-01")
    fed("S1", "Delgado", "Sam", "1995-06-02")
    fed("M1", "Delgado", "Mia", f"{datetime.now(UTC).year - 6}-01-01")
    accounts.load({"patients": [ALICE, SON]})
    proxies.grant(
        identifier_pk=identifiers.anchor(alice).pk,
        person=f"RelatedPerson/{PatientAccount.objects.get(login='sam').pk}",
        kind="nominated",
        max_confidentiality="R",
        verified_by="desk",
        evidence="form 7",
    )
    return alice


def document(name: str, **values: Any) -> DisclosureDraft:
    """A document that was shown."""
    standard: dict[str, Any] = {
        "document_id": str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
        "title": f"{name} of May",
        "type_display": name,
        "custodian": "org-clinic",
        "what": "bytes",
        "confidentiality": "N",
        "rule": "F1",
    }
    return DisclosureDraft(**(standard | values))


def look(
    person: str, minutes_ago: float, caller: Caller = EVE, kind: EventType = EventType.RETRIEVE_DOCUMENT, **values: Any
) -> None:
    """Something stands in the log of a person."""
    at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    write([EventDraft(kind=kind, caller=caller, person_id=person, at=at, **values)])


def busy_log(person: str) -> None:
    """A line of every shape."""
    nurse = replace(
        EVE, user_id="Practitioner/jo", user_name="Jo Adeyemi-Clarke", role="nurse", intermediary_id="org-hospital"
    )
    for minute, name in ((30, "Hospital letter"), (34, "Heart tracing"), (40, "Blood test")):
        look(person, minute, disclosures=(document(name),))
    look(person, 90, nurse, EventType.FIND_DOCUMENTS, disclosures=(document("List of medicines", what="metadata"),))
    look(person, 100, PAYER, EventType.FIND_DOCUMENTS, denied=((str(uuid.uuid4()), "D3"),))
    look(
        person,
        1600,
        replace(EVE, user_id="Practitioner/varga", user_name="Dr. Tomas Varga", purpose="BTG"),
        disclosures=(document("List of allergies", rule="D2"), document("List of medicines", rule="D2")),
        personal={"text": "Found at home, could not speak."},
    )
    pharmacist = replace(
        EVE,
        user_id="Practitioner/lin",
        user_name="Lin Mei-Hua (林美華)",
        role="pharmacist",
        organization_id="org-hospital",
    )
    look(
        person,
        1700,
        pharmacist,
        EventType.FIND_DOCUMENTS,
        disclosures=(document("List of medicines", what="metadata"),),
        denied=((str(uuid.uuid4()), "D3"),),
    )
    look(
        person,
        4400,
        replace(EVE, user_name="Dr. Maximiliane Featherstonehaugh-Wojciechowska de la Torre y Monteverde-Esterhazy"),
        EventType.PATIENT_MATCH,
        disclosures=(document("x", what="demographics", document_id=f"Patient/{person}#1"),),
    )
    look(
        person,
        4500,
        Caller(
            participant_id="hub",
            organization_id="hub",
            client_id="hub",
            user_id="Device/hub",
            organization_name="Wayfold",
            role="system",
        ),
        EventType.IDENTITY_LINK,
    )
    staff_look(staff_user="ada", role="steward", person_id=person, what="identity", reason="a possible duplicate")


@ground
def alice() -> str:
    """Alice's person; her account is `ALICE`, Sam may act for her."""
    return world()


def signed_in(login: str = "alice", password: str = PASSWORD) -> Client:
    """A browser that signed in."""
    client = Client()
    answer = client.post("/my/sign-in", {"login": login, "password": password})
    assert answer.status_code == 302, answer.content.decode()
    return client
