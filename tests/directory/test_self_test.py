"""The self-test of an organization that joins: what is right passes, and what is wrong is named by clause, field and fix."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.utils import timezone

from documents.models import DocumentEntry
from hie.exchange import self_test
from hie.exchange.models import InboundMessage
from patients.models import SourceRecord
from tests.directory.forms import EC_P384, RSA_2048, clinic, jwk
from tests.exchange.world import HOSPITAL_AUTHORITY
from tests.fhir.conftest import provide_bundle
from tests.hl7v2.messages import adt, pid
from tests.soap import messages, v3
from tests.trust.conftest import TOKEN_URL, assertion

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def here(settings: Any) -> None:
    settings.BASE_URL = TOKEN_URL.removesuffix("/oauth/token")


def draft(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = clinic(
        assigning_authority=HOSPITAL_AUTHORITY,
        hl7v2={"application": "EPIC", "facility": "NORTH"},
        jwks={"keys": [jwk(EC_P384, "clinic-1")]},
    )
    return whole | changes


def told(checks: list[dict[str, str]], result: str = "fail") -> dict[str, str]:
    return {check["check"]: check["field"] for check in checks if check["result"] == result}


def of(kind: str, raw: bytes | str, **changes: Any) -> list[dict[str, str]]:
    """The checks of one sample alone."""
    text = raw.encode() if isinstance(raw, str) else raw
    others = {check["check"] for check in self_test.run(draft(**changes), {})}
    return [check for check in self_test.run(draft(**changes), {kind: text}) if check["check"] not in others]


def right() -> dict[str, bytes]:
    return {
        "assertion": assertion().encode(),
        "hl7v2": adt("A04", "1", pid(f"77^^^&{HOSPITAL_AUTHORITY}&ISO^MR")),
        "bundle": json.dumps(provide_bundle()).encode(),
    }


PLACE = "controlActProcess/subject/registrationEvent/subject1/patient"


def of_v3(text: str) -> dict[str, str]:
    return told(of("hl7v3", text.encode(), hl7v2={}, scopes=["ITI-44"]))


def test_a_v3_message_is_read_as_the_real_one_is_alone_and_in_its_envelope() -> None:
    text = v3.message(v3.ADD, v3.ii("77", HOSPITAL_AUTHORITY))
    assert of_v3(text) == {}
    assert of_v3(messages.envelope(text).decode()) == {}


@pytest.mark.parametrize(
    ("text", "check", "where"),
    [
        ("<a", "Message can be read", "hl7v3"),
        ("<PRPA_IN201301UV02/>", "Interaction is one that the hub takes", "hl7v3"),
        (v3.message(v3.ADD, v3.ii("77", HOSPITAL_AUTHORITY), **{'<creationTime value="20260301101501+0100"/>': ""}),
         "Message can be read", "creationTime"),
        (v3.message(v3.ADD, v3.ii("77", HOSPITAL_AUTHORITY), sender="2.999.10.2"), "Sender is the one registered", "sender/device"),
        (v3.message(v3.ADD), "Identifier is of your own domain", f"{PLACE}/id"),
        (v3.message(v3.ADD, v3.ii("77", HOSPITAL_AUTHORITY), person="<name><given>A</given></name>"),
         "Patient has a name", f"{PLACE}/patientPerson/name/family"),
    ],
    ids=["no-xml", "no-namespace", "form", "sender", "domain", "name"],
)  # fmt: skip
def test_what_a_v3_message_gets_wrong_is_named_with_its_place(text: str, check: str, where: str) -> None:
    assert of_v3(text)[check] == where


def test_what_is_right_passes_and_nothing_is_stored():
    checks = self_test.run(draft(), right())
    assert told(checks) == {}
    assert len(checks) >= 12
    assert not SourceRecord.objects.exists()
    assert not DocumentEntry.objects.exists()
    assert not InboundMessage.objects.exists()


def test_what_is_not_sent_fails_and_says_what_to_send():
    checks = self_test.run(draft(), {})
    assert set(told(checks)) == {"Request for a token", "HL7 v2 message", "Document bundle"}
    assert all(check["fix"] for check in checks)


def test_samples_are_asked_for_by_what_it_will_send():
    def kinds(**changes: Any) -> list[str]:
        return [sample.kind for sample in self_test.needed(draft(**changes))]

    assert kinds() == ["assertion", "hl7v2", "bundle"]
    assert kinds(hl7v2={}, scopes=["system/Patient.cu"]) == ["assertion", "patient"]
    assert kinds(hl7v2={}, scopes=["system/Patient.rs", "ITI-67"]) == ["assertion"]
    assert kinds(hl7v2={}, scopes=["ITI-65"]) == ["assertion", "bundle"]
    assert kinds(hl7v2={}, scopes=["ITI-44", "system/Patient.cu"]) == ["assertion", "hl7v3"]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"aud": "https://elsewhere.example/token"}, "aud"),
        ({"sub": "somebody"}, "iss and sub"),
        ({"exp": 10}, "client_assertion"),
        ({"drop": ("jti",)}, "jti"),
        ({"header": {"kid": "other"}}, "client_assertion"),
        ({"key": RSA_2048, "algorithm": "RS384"}, "client_assertion"),
    ],
)
def test_a_request_for_a_token_that_would_be_refused_names_its_claim(changes: dict[str, Any], where: str):
    (check,) = of("assertion", assertion(**changes))
    assert (check["result"], check["field"]) == ("fail", where)
    assert "aud" in check["fix"]


@pytest.mark.parametrize("raw", ["not a token", "a.b.c", "ü"])
def test_what_is_no_token_fails_in_a_sentence(raw: str):
    assert [check["result"] for check in of("assertion", raw)] == ["fail"]


@pytest.mark.parametrize(
    ("raw", "check", "where"),
    [
        (b"PID|1||77", "Message can be read", "MSH"),
        (adt("A04", ""), "Message can be read", "MSH-10"),
        (adt("A04", "1", application="OTHER"), "Sender is the one registered", "MSH-3, MSH-4"),
        (adt("Z99", "1"), "Event is one that the hub takes", "MSH-9"),
        (adt("A04", "1", pid("77^^^&1.2.3&ISO^MR")), "Identifier is of your own domain", "PID-3"),
        (adt("A04", "1", pid(f"77^^^&{HOSPITAL_AUTHORITY}&ISO", name="")), "Patient has a name", "PID-5"),
        (adt("A04", "1", pid(f"77^^^&{HOSPITAL_AUTHORITY}&ISO", birth="")), "Patient has a birth date", "PID-7"),
        (adt("A40", "1", pid(f"77^^^&{HOSPITAL_AUTHORITY}&ISO"), "MRG|88^^^&1.2.3&ISO"), "Identifier is of your own domain", "MRG-1"),
        (adt("A40", "1", pid(f"77^^^&{HOSPITAL_AUTHORITY}&ISO")), "Patient can be read", "MRG-1"),
    ],
)  # fmt: skip
def test_a_message_that_would_be_refused_names_its_field(raw: bytes, check: str, where: str):
    assert told(of("hl7v2", raw)).get(check, "").startswith(where.split("-")[0] if where == "MRG-1" else where)


def test_a_merge_of_ones_own_passes():
    message = adt("A40", "1", pid(f"77^^^&{HOSPITAL_AUTHORITY}&ISO"), f"MRG|88^^^&{HOSPITAL_AUTHORITY}&ISO")
    assert told(of("hl7v2", message)) == {}


def patient(**changes: Any) -> str:
    whole = {
        "resourceType": "Patient", "identifier": [{"system": f"urn:oid:{HOSPITAL_AUTHORITY}", "value": "77"}],
        "name": [{"family": "Quimby", "given": ["Nora"]}], "birthDate": "1970-02-03",
    } | changes  # fmt: skip
    return json.dumps({name: value for name, value in whole.items() if value is not None})


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        ("{", "Patient"),
        ('{"resourceType": "Person"}', "resourceType"),
        (patient(birthDate="yesterday"), "Patient.birthDate"),
        (patient(birthDate=None), "Patient.birthDate"),
        (patient(name=None), "Patient.name"),
        (patient(identifier=[{"system": "urn:oid:1.2.3", "value": "1"}]), "Patient.identifier"),
    ],
)
def test_a_patient_that_would_be_refused_names_its_element(raw: str, where: str):
    found = of("patient", raw, hl7v2={}, scopes=["system/Patient.cu"])
    assert where in told(found).values() or any(one.startswith(where) for one in told(found).values())


def test_a_patient_that_would_be_fed_passes():
    assert told(of("patient", patient(), hl7v2={}, scopes=["system/Patient.cu"])) == {}


def changed(change: Any) -> bytes:
    bundle = provide_bundle()
    change(bundle)
    return json.dumps(bundle).encode()


def reference(bundle: dict[str, Any]) -> dict[str, Any]:
    return next(e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "DocumentReference")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda b: b.update(type="batch"), "Bundle.type"),
        (lambda b: b["meta"].update(profile=["http://elsewhere.example"]), "Bundle.meta.profile"),
        (lambda b: b["entry"].pop(0), "Bundle.entry"),
        (lambda b: b["entry"].pop(2), "Bundle.entry[1].resource.content[0].attachment.url"),
        (lambda b: reference(b).pop("masterIdentifier"), "Bundle.entry[1].resource.masterIdentifier"),
        (lambda b: reference(b).pop("subject"), "Bundle.entry[1].resource.subject"),
        (lambda b: reference(b)["content"][0]["attachment"].update(hash="AAAA" * 6 + "AAA="), "Bundle.entry[1].resource.content[0].attachment.hash"),
        (lambda b: reference(b)["content"][0]["attachment"].update(size=9), "Bundle.entry[1].resource.content[0].attachment.size"),
        (lambda b: b["entry"][0]["request"].update(method="PUT"), "Bundle.entry"),
    ],
)  # fmt: skip
def test_a_bundle_that_would_be_refused_names_its_element(change: Any, where: str):
    assert where in told(of("bundle", changed(change))).values()


def test_a_bundle_about_somebody_elses_patient_is_named():
    def elsewhere(bundle: dict[str, Any]) -> None:
        for entry in bundle["entry"]:
            if "subject" in entry["resource"]:
                entry["resource"]["subject"]["identifier"]["system"] = "urn:oid:1.2.3"

    assert told(of("bundle", changed(elsewhere)))["Patient is named in your own domain"] == "DocumentReference.subject"


def test_keys_that_end_soon_or_cannot_be_used_are_named():
    soon = int((timezone.now() + timedelta(days=3)).timestamp())
    checks = self_test.run(draft(jwks={"keys": [jwk(EC_P384, "clinic-1", exp=soon)]}), right())
    assert told(checks)["A key for the next month"] == "jwks"


class _Server(BaseHTTPRequestHandler):
    answers: dict[str, tuple[int, Any]] = {}

    def do_GET(self) -> None:
        status, body = self.answers.get(self.path, (404, {}))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def peer() -> Iterator[tuple[str, dict[str, tuple[int, Any]]]]:
    answers: dict[str, tuple[int, Any]] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Peer", (_Server,), {"answers": answers}))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", answers
    server.shutdown()
    server.server_close()


def test_a_key_set_by_address_is_fetched(peer: tuple[str, dict[str, tuple[int, Any]]]):
    url, answers = peer
    by_url = {**draft(), "jwks_url": f"{url}/jwks.json"}
    del by_url["jwks"]
    without = told(self_test.run(by_url, right()))
    assert without == {"Key set is there": "jwks_url", "Request for a token": "client_assertion"}
    answers["/jwks.json"] = (200, {"keys": [jwk(EC_P384, "clinic-1"), {"kty": "oct", "k": "AAAA", "kid": "x"}]})
    checks = self_test.run(by_url, right())
    assert told(checks) == {"Key can be used": "jwks_url: keys[1]"}


def test_an_endpoint_that_is_down_or_no_server_of_fhir_is_named(peer: tuple[str, dict[str, tuple[int, Any]]]):
    url, answers = peer
    checks = self_test.run(draft(endpoints=[{"kind": "fhir", "url": f"{url}/fhir"}]), right())
    assert told(checks) == {"Says what it offers": f"endpoints: {url}/fhir/metadata"}
    answers["/fhir/metadata"] = (200, {"resourceType": "CapabilityStatement", "fhirVersion": "5.0.0"})
    checks = self_test.run(draft(endpoints=[{"kind": "fhir", "url": f"{url}/fhir"}]), right())
    assert told(checks) == {"Speaks FHIR R4": "CapabilityStatement.fhirVersion"}
    rest = [{"mode": "server", "resource": [{"type": "Patient"}]}]
    answers["/fhir/metadata"] = (200, {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": rest})
    checks = self_test.run(draft(endpoints=[{"kind": "fhir", "url": f"{url}/fhir"}]), right())
    assert set(told(checks)) == {"Offers DocumentReference", "Answers a question about an unknown person"}


def test_a_listener_is_connected_to_and_one_that_is_down_is_named():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        up = self_test.run(draft(endpoints=[{"kind": "mllp", "url": f"mllp://127.0.0.1:{port}"}]), right())
    down = self_test.run(draft(endpoints=[{"kind": "mllp", "url": f"mllp://127.0.0.1:{port}"}]), right())
    assert told(up) == {}
    assert list(told(down)) == ["Listener takes a connection"]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "169.254.169.254", "0.0.0.0", "10.1.2.3", "192.168.0.9", "[fd00::1]"]
)
def test_in_production_the_hub_does_not_connect_to_itself_or_its_own_network(host: str, settings: Any):
    settings.PRODUCTION = True
    checks = self_test.run(draft(endpoints=[{"kind": "fhir", "url": f"https://{host}/fhir"}]), right())
    assert list(told(checks)) == ["Endpoint can be reached"]
    by_url = {**draft(), "jwks_url": f"https://{host}/jwks"}
    del by_url["jwks"]
    assert told(self_test.run(by_url, right()))["Key set is there"] == "jwks_url"


@pytest.mark.parametrize(
    "statement",
    [
        {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": 5},
        {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": [{"resource": None}, 7]},
        {"resourceType": "CapabilityStatement", "fhirVersion": "4\x00\ud800"},
        {"resourceType": "CapabilityStatement", "fhirVersion": ["4.0"]},
        [[[]]],
    ],
)
def test_what_an_endpoint_says_breaks_nothing_and_is_not_repeated(
    statement: Any, peer: tuple[str, dict[str, tuple[int, Any]]]
):
    url, answers = peer
    answers["/fhir/metadata"] = (200, statement)
    checks = self_test.run(draft(endpoints=[{"kind": "fhir", "url": f"{url}/fhir"}]), right())
    assert told(checks)
    assert "\\u0000" not in json.dumps(checks)
    assert "\\ud800" not in json.dumps(checks)


def test_a_peer_that_names_anothers_token_endpoint_is_given_no_token(peer: tuple[str, dict[str, tuple[int, Any]]]):
    url, answers = peer
    rest = [{"mode": "server", "resource": [{"type": "Patient"}, {"type": "DocumentReference"}]}]
    answers["/fhir/metadata"] = (200, {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": rest})
    elsewhere = {"token_endpoint": "http://127.0.0.1:9/token"}
    answers["/fhir/.well-known/smart-configuration"] = (200, elsewhere)
    checks = self_test.run(draft(endpoints=[{"kind": "fhir", "url": f"{url}/fhir"}]), right())
    assert list(told(checks)) == ["Answers a question about an unknown person"]


def test_a_private_network_is_asked_where_the_operator_says_so(settings: Any):
    settings.PRODUCTION, settings.SELF_TEST_NETWORKS = True, ("10.0.0.0/8",)
    self_test._check_reachable("https://10.1.2.3/fhir")
    with pytest.raises(ValueError, match="open network"):
        self_test._check_reachable("https://192.168.0.9/fhir")


def test_no_more_than_twenty_endpoints_are_asked():
    endpoints = [{"kind": "mllp", "url": f"mllp://127.0.0.1:{port}"} for port in range(1, 30)]
    checks = self_test.run(draft(endpoints=endpoints), right())
    assert told(checks)["Endpoints are asked"] == "endpoints"
    assert len([c for c in checks if c["check"] == "Listener takes a connection"]) == 20
