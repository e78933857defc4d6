"""The walk over a participant's own figures: what it asked about somebody hidden counts as what it asked about nobody.

One hub has the patient, the other never heard of her. The asker asks by every way that counts, one after the other; then
everything is counted, and it reads its own view.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest

from hie.audit import figures, seal
from hie.audit.figures_of_log import LOG
from hie.directory import registration
from tests.directory.forms import clinic, file
from tests.exchange import world
from tests.leaks import place
from tests.leaks.place import FAMILY, LOCAL, SYSTEM
from tests.leaks.policies import BIRTH
from tests.leaks.test_walk_people import HIDINGS, each, made
from tests.leaks.walking import Ear, Heard, Listener, same, taken_back, walks

pytestmark = pytest.mark.django_db

FIGURES = "/api/participants/self/figures"


def questions(names: dict[str, str]) -> list[tuple[str, str, Any]]:
    """What is asked about her: by name, by number, by id, of others, and what is published in her name."""
    match = {
        "resourceType": "Parameters",
        "parameter": [
            {
                "name": "resource",
                "resource": {"resourceType": "Patient", "name": [{"family": FAMILY, "given": ["Rosamund"]}], "birthDate": BIRTH},
            }
        ],
    }  # fmt: skip
    asked = {"patient": {"identifier": {"system": SYSTEM, "value": LOCAL}}}
    return [
        ("GET", f"/fhir/Patient?family={FAMILY}&birthdate={BIRTH}", None),
        ("POST", "/fhir/Patient/$match", match),
        ("GET", f"/fhir/Patient/{names['person']}", None),
        ("GET", f"/fhir/Patient/$ihe-pix?sourceIdentifier={SYSTEM}|{LOCAL}", None),
        ("GET", f"/fhir/DocumentReference?patient.identifier={SYSTEM}|{LOCAL}", None),
        ("GET", f"/fhir/DocumentReference?patient=Patient/{names['person']}", None),
        ("GET", f"/fhir/List?patient.identifier={SYSTEM}|{LOCAL}&code=submissionset", None),
        ("GET", f"/fhir/DocumentReference/{names['DocumentReference']}", None),
        ("GET", f"/fhir/Binary/{names['Binary']}", None),
        ("POST", "/api/queries", asked),
        ("GET", f"/api/queries/{names['query']}", None),
    ]


@walks("url", "api/participants/self/figures")
@pytest.mark.parametrize("hiding", each("the hospital is suspended"))
def test_what_was_asked_about_a_hidden_patient_counts_as_what_was_asked_about_nobody(
    hiding: str, listener: Listener
) -> None:
    how = HIDINGS[hiding]
    place.takes_part(how.policy)
    registration.apply(file(clinic(purposes=["TREAT", "HOPERAT"])))
    asker = world.caller(purpose="TREAT")

    def side(there: bool) -> dict[Any, list[Heard]]:
        known = made(how, listener) if there else {}
        names = {
            part: known.get(part) or str(uuid.uuid4()) for part in ("person", "DocumentReference", "Binary", "query")
        }
        ear = Ear(asker, listener, {value: f"<{part}>" for part, value in names.items()})
        statuses = [ear.ask(*question).status for question in questions(names)]
        seal.seal_now(checkpoint=False)
        while figures.carry_on(LOG):
            pass
        office = Ear(replace(asker, purpose="HOPERAT", role="quality"), listener, ear.known)
        heard, raw = office.asked("GET", FIGURES)
        assert heard.status == 200, raw
        assert raw.count(b'"requests"') >= 4, raw  # they do count
        return {"figures": [heard], "statuses": [replace(heard, status=status) for status in statuses]}

    same(taken_back(lambda: side(True)), taken_back(lambda: side(False)))
