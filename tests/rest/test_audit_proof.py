"""`/api/audit/{id}/proof`: the patient can hold what shows that a line is in the log."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any

import pytest
from django.test import Client as Browser

from hie.audit import seal
from hie.audit.models import AuditEvent
from hie.exchange import find, found_pages, named_patients
from tests.directory.forms import clinic, file, hospital
from tests.exchange.world import HOSPITAL_AUTHORITY, caller, feed_rosa
from tests.rest.test_queries import bearer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def person_id(settings: Any, tmp_path: Any) -> str:
    from hie.directory import registration

    settings.HUB_KEYS_DIR = tmp_path / "keys"
    settings.CHECKPOINT_DIR = tmp_path / "checkpoints"
    portal = clinic(
        id="portal",
        type="patient-portal",
        organization_oid="2.999.10.7",
        assigning_authority=None,
        jwks={"keys": []},
        purposes=["PATRQT"],
        users=[],
    )
    registration.apply(file(clinic(), hospital(users=[]), portal))
    rosa = feed_rosa()
    asked = found_pages.DocumentSearch(
        patients=((named_patients.PatientNamed(system=f"urn:oid:{HOSPITAL_AUTHORITY}", value="P1"),),)
    )
    find.find_documents(asked, caller=caller())
    seal.seal_now()
    return rosa


def get(event_id: Any, **changes: Any) -> Any:
    return Browser().get(f"/api/audit/{event_id}/proof", **bearer(**changes))


def as_patient(person_id: str) -> dict[str, Any]:
    return {
        "participant_id": "portal",
        "organization_id": "portal",
        "client_id": "portal",
        "user_id": f"Patient/{person_id}",
        "role": "patient",
        "purpose": "PATRQT",
    }


def test_the_patient_gets_a_proof_whose_leaf_is_the_hash_of_its_text(person_id: str) -> None:
    event = AuditEvent.objects.get(kind="ITI-67")
    answer = get(event.id, **as_patient(person_id))
    assert answer.status_code == 200, answer.content
    proof = answer.json()
    assert hashlib.sha256(b"\x00" + proof["json"].encode()).hexdigest() == proof["leaf"]
    assert str(event.id) in json.dumps(json.loads(proof["json"]))
    assert proof["checkpoint"]


def test_anyone_else_gets_what_an_invented_event_gives(person_id: str) -> None:
    event = AuditEvent.objects.get(kind="ITI-67")
    others = get(event.id)
    invented = get(uuid.uuid4(), **as_patient(person_id))
    assert others.status_code == invented.status_code == 404
    assert others.content == invented.content
