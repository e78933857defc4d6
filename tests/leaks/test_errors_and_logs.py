"""Errors and logs carry ids: no name, birth date or content, and in no answer the data of somebody else."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tests.exchange import world
from tests.fhir.conftest import World, provide_bundle
from tests.fhir.test_consents import consent

pytestmark = pytest.mark.django_db

NAME, BIRTH, CONTENT = "Featherstonehaugh", "1953-07-19", "Xanthelasma palpebrarum"
HL7_BIRTH = "19530719"


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that any logger says, at every level."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    named = [logging.getLogger(name) for name in list(logging.Logger.manager.loggerDict)]
    quiet = [item for item in named if not item.propagate]
    for item in quiet:
        item.addHandler(handler)
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=out), cache_logger_on_first_use=False)
    yield out
    structlog.configure(**before)
    for item in quiet:
        item.removeHandler(handler)
    root.removeHandler(handler)
    root.setLevel(level)


def faults(hub: World) -> list[Any]:
    """Requests that go wrong with a patient's data in them."""
    patient = {
        "resourceType": "Patient",
        "identifier": [{"system": "urn:oid:2.999.77", "value": "1"}],
        "name": [{"family": NAME, "given": [NAME]}],
        "birthDate": BIRTH,
    }
    key = "identifier=urn:oid:2.999.77%7C1"
    api = hub.clinic
    broken = dict(patient, gender=NAME, birthDate=f"{BIRTH} {NAME}")
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": broken}]}
    mismatched = provide_bundle(CONTENT.encode(), description=CONTENT)
    mismatched["entry"][1]["resource"]["content"][0]["attachment"]["hash"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAA="
    cda = (
        f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e "{NAME}">]><ClinicalDocument xmlns="urn:hl7-org:v3">'
        f"<title>{CONTENT} &e;</title></ClinicalDocument>"
    ).encode()
    return [
        api.call("PUT", f"/Patient?{key}", patient),
        api.call("PUT", f"/Patient?{key}", broken),
        api.call("PUT", f"/Patient?{key}", f'{{"resourceType":"Patient","name":[{{"family":"{NAME}",'),
        api.post("/Patient/$match", parameters),
        api.post("/Patient/$match", patient),
        api.get(f"/Patient?birthdate={BIRTH}&family={NAME}&bogus:mod={NAME}", Prefer="handling=strict"),
        api.get(f"/Patient?birthdate={NAME}"),
        api.get(f"/Patient?family={NAME}&_count=x"),
        api.get(f"/Patient/{NAME}"),
        api.get("/Patient/$ihe-pix?sourceIdentifier=urn:oid:2.999.404%7C1"),
        api.post("", mismatched),
        api.post("", provide_bundle(cda, "text/xml")),
        api.post("", provide_bundle(subject={"identifier": {"system": "urn:oid:2.999.404", "value": "1"}})),
        api.call("POST", "/Binary", CONTENT.encode(), content_type=f"not a type {NAME}"),
        api.post("/Consent", consent(hub.person, note=NAME)),
        api.call(
            "POST", "https://hub.example/api/queries", {"patient": {}, NAME: BIRTH}, content_type="application/json"
        ),
        api.call("POST", "https://hub.example/api/queries", f'{{"patient": "{NAME}', content_type="application/json"),
    ]


def test_no_log_has_a_name_a_birth_date_or_content(hub_world: World, logged: io.StringIO) -> None:
    answers = faults(hub_world)
    assert {item.status_code // 100 for item in answers} <= {2, 4}
    logging.getLogger("hie.probe").warning("probe")
    said = logged.getvalue()
    assert "probe" in said, "the capture itself works"
    for secret in (NAME, BIRTH, CONTENT):
        lines = [line for line in said.splitlines() if secret in line and "db.backends" not in line]
        assert not lines, lines[:3]


def test_no_refusal_has_the_data_of_somebody_else(hub_world: World) -> None:
    for item in faults(hub_world):
        body = item.getvalue().decode("utf-8", "replace")
        if item.status_code >= 400:
            for secret in ("Quarrel", "1971-04-09", "Tern Street", "2025550119"):
                assert secret not in body, body
            assert "Traceback" not in body


def test_a_refused_hl7_message_leaves_no_name_in_log_or_answer(logged: io.StringIO) -> None:
    from hie.exchange import inbox
    from hie.faces.hl7v2.handler import envelope_of

    world.exchange()
    for body in (
        f"MSH|^~\\&|X|Y|HUB|HUB|2026||ADT^A01|1|P|2.5.1\rPID|1||9^^^&2.999.404&ISO||{NAME}^A||{HL7_BIRTH}|F\r",
        f"MSH|^~\\&|X|Y|HUB|HUB|2026||ADT^A99|2|P|2.5.1\rPID|1||{NAME}\r",
        f"PID|1||{NAME}\r",
    ):
        answered = inbox.receive(body.encode(), envelope_of(body.encode())).reply
        assert NAME.encode() not in answered
        assert HL7_BIRTH.encode() not in answered
    said = "\n".join(line for line in logged.getvalue().splitlines() if "INSERT INTO" not in line)
    assert NAME not in said
    assert HL7_BIRTH not in said
