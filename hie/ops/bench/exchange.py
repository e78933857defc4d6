"""Requests of one hub: token, feed, match, publish, find, read; consent and audit on."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Iterator
from json import dumps
from typing import Any
from urllib.parse import urlencode

from hie.ops.bench.place import USER, Place
from hie.ops.sandbox import make
from hie.ops.sandbox.hub import FHIR_JSON, Client

NAMES = ("token", "feed", "match", "publish", "find", "read")
FAMILIES = ("Abney", "Birkholt", "Castor", "Dunmore", "Esterly", "Farrow", "Garrick", "Holloway", "Ingram", "Jessop")
GIVEN = ("Anya", "Boris", "Clara", "Dmitri", "Edda", "Fabio", "Greta", "Hugo", "Irena", "Jonas", "Kira", "Lars")
PEOPLE = 300
DOCUMENTS = 10


def patient(number: int, authority: str) -> dict[str, Any]:
    """An invented patient; different numbers are different people."""
    return {
        "resourceType": "Patient",
        "identifier": [{"system": f"urn:oid:{authority}", "value": f"B{number}"}],
        "active": True,
        "name": [
            {
                "use": "official",
                "family": f"{FAMILIES[number % 10]}{_word(number // 7)}",
                "given": [f"{GIVEN[number % 12]}{_word(number // 11)[:3]}"],
            }
        ],
        "gender": "female" if number % 2 else "male",
        "birthDate": f"{1930 + number % 80}-{number % 12 + 1:02d}-{number % 28 + 1:02d}",
        "address": [{"line": [f"{number} Bench Road"], "city": "Velmoor", "postalCode": f"{40000 + number % 900}"}],
        "telecom": [{"system": "phone", "value": f"+1202555{number % 10000:04d}"}],
    }


def _word(number: int) -> str:
    return "".join(chr(97 + (number * 7 + position * 5) % 26) for position in range(4)) + _tail(number)


def _tail(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 26)
        text += chr(97 + digit)
    return text


def reference(authority: str, local_id: str, content: bytes) -> dict[str, Any]:
    """A DocumentReference for ITI-105 with its bytes."""
    return {
        "resourceType": "DocumentReference",
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:2.25.{uuid.uuid4().int}"},
        "status": "current",
        "type": {"coding": [{"system": "http://loinc.org", "code": "34133-9"}]},
        "subject": {"identifier": {"system": f"urn:oid:{authority}", "value": local_id}},
        "securityLabel": [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"}]}
        ],
        "content": [
            {
                "attachment": {
                    "contentType": "text/plain",
                    "data": base64.b64encode(content).decode(),
                    "creation": "2026-04-01T08:00:00Z",
                    "language": "en",
                }
            }
        ],
    }


def acts(place: Place, wanted: list[str], *, count: int) -> Iterator[tuple[str, Callable[[int], None], str, str]]:
    """Prepare people and documents, then give each act: name, function, ceiling, note."""
    place.register(
        [
            place.participant("bench-hospital", "hospital", 1, ["TREAT", "HPAYMT", "HOPERAT"]),
            place.participant("bench-clinic", "primary-care", 2, ["TREAT", "HOPERAT"]),
        ]
    )
    hospital, clinic = place.clients["bench-hospital"], place.clients["bench-clinic"]
    authority = f"{hospital.organization_oid}.1"
    for number in range(PEOPLE):
        hospital.feed(patient(number, authority), f"urn:oid:{authority}", f"B{number}")
    documents = [
        hospital.call(
            "POST", "/fhir/DocumentReference", json=reference(authority, "B0", f"note {number}\n".encode() * 300)
        )
        for number in range(DOCUMENTS)
    ]
    url = documents[0].json()["content"][0]["attachment"]["url"]
    token = clinic.token(USER, "TREAT")
    content = make.pdf(("bench", *("line of text" for _ in range(200))))

    def send(method: str, path: str, bearer: str, expect: int, *, json: Any = None) -> None:
        headers = {"Authorization": f"Bearer {bearer}", "Accept": "*/*"}
        if json is not None:
            headers["Content-Type"] = FHIR_JSON
        status, answer = place.request(
            method, path, headers=headers, body=b"" if json is None else dumps(json).encode()
        )
        if status not in (expect, 200):
            raise RuntimeError(f"{method} {path.split('?')[0]}: {status} {answer[:300]!r}")

    own = hospital.token()
    assertions = [_form(hospital) for _ in range(count + 40)]

    def take_token(number: int) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        status, answer = place.request(
            "POST", "/oauth/token", headers=headers, body=urlencode(assertions.pop()).encode()
        )
        if status != 200:
            raise RuntimeError(f"token: {status} {answer[:300]!r}")

    def feed(number: int) -> None:
        value = 100_000 + number
        send(
            "PUT",
            f"/fhir/Patient?identifier=urn:oid:{authority}|B{value}",
            own,
            201,
            json=patient(value, authority),
        )

    def match(number: int) -> None:
        resource = patient(abs(number) % PEOPLE, authority)
        resource.pop("identifier")
        send("POST", "/fhir/Patient/$match", token, 200, json=resource)

    def publish(number: int) -> None:
        body = reference(authority, f"B{abs(number) % PEOPLE}", content + str(number).encode())
        body["content"][0]["attachment"]["contentType"] = "application/pdf"
        send("POST", "/fhir/DocumentReference", own, 201, json=body)

    def find(number: int) -> None:
        send("GET", f"/fhir/DocumentReference?patient.identifier=urn:oid:{authority}|B0&status=current", token, 200)

    def read(number: int) -> None:
        send("GET", url, token, 200)

    table: dict[str, tuple[Callable[[int], None], str, str]] = {
        "token": (take_token, "ES384 verify and ES256 sign, 0.3 ms", "single-use row per assertion"),
        "feed": (feed, "one durable transaction, 6,700/s at 8 clients", "new patients"),
        "match": (match, "blocking look-up 0.2 ms, scoring 0.07 ms", ""),
        "publish": (publish, "one durable transaction; AES-GCM 11 GB/s", "ITI-105, PDF of 3 kB"),
        "find": (find, "DRF-less view, token and one statement: 0.5 ms", f"{DOCUMENTS} entries"),
        "read": (read, "one durable audit row, 6,700/s at 8 clients", "ITI-68, 2 kB"),
    }
    for name in wanted:
        act, ceiling, note = table[name]
        yield name, act, ceiling, note


def _form(client: Client) -> dict[str, str]:
    return {
        "grant_type": "client_credentials",
        "scope": " ".join(client.scopes),
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": client.assertion(None),
    }
