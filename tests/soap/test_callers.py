"""Who calls over SOAP: nodes by certificate or token, persons by an assertion; and everything that must not pass."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from documents.models import Binary
from hie.audit.models import AuditEvent
from hie.directory import registration
from hie.faces.soap import views
from hie.trust import saml
from tests.soap import echo, keys, messages
from tests.soap.conftest import FAILED, HOSPITAL_ID, INVALID, PROXY, WARD_ID, Caller, participants, who
from tests.soap.keys import CLINIC, assertion, sign
from tests.trust import conftest as trust

# --- nodes ------------------------------------------------------------------------------------------------------------


def test_a_certificate_alone_is_the_node_itself_with_what_its_registration_says(by_certificate: Caller) -> None:
    found = who(by_certificate.ask())
    assert found["participant_id"] == found["organization_id"] == found["client_id"] == "org-clinic"
    assert (found["user_id"], found["role"], found["purpose"]) == ("Device/org-clinic", "nurse", "TREAT")
    assert found["face"] == "soap"


def test_a_token_is_taken_as_on_every_face(by_token: Caller) -> None:
    found = who(by_token.ask())
    assert (found["participant_id"], found["user_id"]) == ("org-clinic", "Device/org-clinic")
    token = trust.token("org-clinic", extensions={"hl7-b2b": trust.b2b()})
    assert who(Caller(token=token).ask())["user_id"] == "Practitioner/ada"


@pytest.mark.parametrize("address", ["192.0.2.7", "127.0.0.1", "10.1.2.4"])
def test_a_certificate_header_from_anyone_but_a_trusted_proxy_is_as_if_not_sent(directory: None, address: str) -> None:
    assert Caller(certificate=CLINIC.header, address=address).ask().code == FAILED
    token = trust.token("org-hospital", extensions={})
    found = who(Caller(certificate=CLINIC.header, token=token, address=address).ask())
    assert found["participant_id"] == "org-hospital"


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(keys.STRANGER.header, id="nobodys"),
        pytest.param(keys.EXPIRED.header, id="registered-but-expired"),
        pytest.param("", id="empty"),
        pytest.param("::", id="empty-bytes"),
        pytest.param(CLINIC.header[1:-1], id="no-colons"),
        pytest.param(":" + "A" * 40_000 + ":", id="too-long"),
        pytest.param(":bm90IGEgY2VydGlmaWNhdGU=:", id="no-certificate"),
        pytest.param(":%%%:", id="no-base64"),
        pytest.param(f"{CLINIC.header},{CLINIC.header}", id="two"),
        pytest.param(f"{CLINIC.header}, {keys.STRANGER.header}", id="added-by-the-client"),
        pytest.param(base64.b64encode(CLINIC.pem.encode()).decode(), id="pem"),
    ],
)
def test_a_certificate_that_proves_nobody_is_refused(directory: None, header: str) -> None:
    caller = Caller()
    caller.headers["HTTP_CLIENT_CERT"] = header
    assert caller.ask().code == FAILED
    event = AuditEvent.objects.get(kind="login-failed")
    assert (event.face, event.outcome, event.network_address) == ("soap", 4, PROXY)


def test_a_certificate_that_was_taken_away_is_refused_at_the_next_request(by_certificate: Caller) -> None:
    assert by_certificate.ask().status == 200
    registration.apply(participants(certificates=[keys.FUTURE.pem]))
    assert by_certificate.ask().code == FAILED
    assert Caller(certificate=keys.FUTURE.header).ask().code == FAILED, "not valid yet"


@pytest.mark.parametrize("status", ["suspended", "terminated"])
def test_a_participant_that_is_not_active_is_refused_with_its_certificate(by_certificate: Caller, status: str) -> None:
    registration.apply(participants(status=status))
    assert by_certificate.ask().code == FAILED
    assert by_certificate.ask(sign(assertion())).code == FAILED


def test_token_and_certificate_of_two_participants_are_refused(directory: None) -> None:
    assert Caller(token=trust.token("org-hospital", extensions={}), certificate=CLINIC.header).ask().code == FAILED
    assert Caller(token=trust.token("org-clinic", extensions={}), certificate=CLINIC.header).ask().status == 200
    # A certificate that is nobody's says nothing: the token does.
    assert Caller(token=trust.token("org-clinic", extensions={}), certificate=keys.STRANGER.header).ask().status == 200


def test_an_assertion_alone_lets_nobody_in(directory: None) -> None:
    assert Caller().ask(sign(assertion())).code == FAILED


# --- persons ----------------------------------------------------------------------------------------------------------


def test_an_assertion_says_who_acts_for_the_node(by_certificate: Caller) -> None:
    resource = {saml.RESOURCE_ID: ["P1^^^&amp;2.999.10.1.1&amp;ISO"]}
    found = who(by_certificate.ask(sign(assertion(attributes=resource))))
    assert found == {
        "participant_id": "org-clinic",
        "organization_id": "org-clinic",
        "client_id": "org-clinic",
        "user_id": "Practitioner/ada",
        "user_name": "Ada Moor",
        "role": "physician",
        "purpose": "TREAT",
        "organization_name": "The Clinic",
        "intermediary_id": "",
        "face": "soap",
        "resource_id": "P1^^^&2.999.10.1.1&ISO",
    }


def test_an_assertion_says_who_acts_for_a_node_known_by_its_token(by_token: Caller) -> None:
    assert who(by_token.ask(sign(assertion())))["user_id"] == "Practitioner/ada"


def test_an_assertion_gives_the_caller_that_a_token_of_the_same_words_gives(by_certificate: Caller) -> None:
    said = who(by_certificate.ask(sign(assertion())))
    token = trust.token("org-clinic", extensions={"hl7-b2b": trust.b2b()})
    assert who(Caller(token=token).ask()) == said


@pytest.mark.parametrize("must", ["0", "1"])
def test_other_things_in_the_security_header_are_passed_over(by_certificate: Caller, must: str) -> None:
    timestamp = '<wsu:Timestamp xmlns:wsu="urn:wsu"><wsu:Created>2026-01-01T00:00:00Z</wsu:Created></wsu:Timestamp>'
    answer = by_certificate.ask(more=keys.security(timestamp, sign(assertion()), must=must))
    assert who(answer)["user_id"] == "Practitioner/ada"
    assert who(by_certificate.ask(timestamp))["user_id"] == "Device/org-clinic"


@pytest.mark.parametrize(
    ("name_id", "user_id"),
    [
        ("ada", "Practitioner/ada"),
        ("Practitioner/ada", "Practitioner/ada"),
        (" ada\n ", "Practitioner/ada"),
        ("a<!-- x -->da", "Practitioner/ada"),
        ("ada@clinic.example", "ada@clinic.example"),
        ("CN=Ada Moor, O=The Clinic", "CN=Ada Moor, O=The Clinic"),
    ],
)
def test_the_subject_is_the_user(by_certificate: Caller, name_id: str, user_id: str) -> None:
    assert who(by_certificate.ask(sign(assertion(name_id=name_id))))["user_id"] == user_id


@pytest.mark.parametrize(
    ("value", "purpose"),
    [
        (keys.coded("PurposeOfUse", "HOPERAT", "2.16.840.1.113883.5.8"), "HOPERAT"),
        (keys.coded("PurposeOfUse", "BTG", "urn:oid:2.16.840.1.113883.5.8"), "BTG"),
        ("TREAT", "TREAT"),
        ("urn:oid:2.16.840.1.113883.5.8#TREAT", "TREAT"),
        ("http://terminology.hl7.org/CodeSystem/v3-ActReason#TREAT", "TREAT"),
    ],
)
def test_the_purpose_is_read_as_code_or_text(by_certificate: Caller, value: str, purpose: str) -> None:
    assert who(by_certificate.ask(sign(assertion(attributes={saml.PURPOSE: [value]}))))["purpose"] == purpose


def test_what_an_assertion_leaves_out_comes_from_the_registration(by_certificate: Caller) -> None:
    leaving_out = assertion(attributes=dict.fromkeys(keys.ATTRIBUTES, None))
    found = who(by_certificate.ask(sign(leaving_out)))
    assert (found["user_id"], found["user_name"]) == ("Practitioner/ada", "Ada Moor")
    assert (found["role"], found["purpose"], found["organization_id"]) == ("physician", "TREAT", "org-clinic")


# --- organizations ----------------------------------------------------------------------------------------------------


def of_hospital(organization: str, **changes: Any) -> str:
    return assertion(attributes={saml.ORGANIZATION_ID: [organization]} | changes)


@pytest.mark.parametrize(
    ("node", "signer", "organization", "participant"),
    [
        pytest.param(keys.HOSPITAL, keys.HOSPITAL, WARD_ID, "org-hospital", id="the-hospital-for-its-ward"),
        pytest.param(keys.WARD, keys.HOSPITAL, WARD_ID, "org-hospital-ward", id="signed-above"),
        pytest.param(keys.HOSPITAL, keys.WARD, WARD_ID, "org-hospital-ward", id="signed-below"),
    ],
)
def test_node_and_signer_of_one_line_speak_for_the_lower_of_them(
    directory: None, node: keys.Pair, signer: keys.Pair, organization: str, participant: str
) -> None:
    found = who(Caller(certificate=node.header).ask(sign(of_hospital(organization), signer)))
    assert (found["participant_id"], found["organization_id"]) == (participant, "org-hospital-ward")


@pytest.mark.parametrize(
    ("node", "signer", "organization", "code"),
    [
        pytest.param(keys.HOSPITAL, keys.WARD, HOSPITAL_ID, INVALID, id="a-ward-for-its-hospital"),
        pytest.param(keys.WARD, keys.HOSPITAL, HOSPITAL_ID, INVALID, id="a-wards-node-for-its-hospital"),
        pytest.param(keys.HOSPITAL, CLINIC, HOSPITAL_ID, FAILED, id="signed-by-another"),
        pytest.param(CLINIC, CLINIC, HOSPITAL_ID, INVALID, id="for-another"),
        pytest.param(CLINIC, CLINIC, "urn:oid:2.999.77", INVALID, id="for-one-unknown"),
    ],
)
def test_nobody_speaks_for_another(
    directory: None, node: keys.Pair, signer: keys.Pair, organization: str, code: str
) -> None:
    assert Caller(certificate=node.header).ask(sign(of_hospital(organization), signer)).code == code


def test_neither_node_nor_signer_opens_more_than_is_registered_for_both(directory: None) -> None:
    """The ward is registered to read alone: signing for the hospital's node it may not publish either."""
    posted = messages.envelope(
        messages.provide(), echo.PROVIDE, more=keys.security(sign(of_hospital(WARD_ID), keys.WARD))
    )
    hospital = Caller(certificate=keys.HOSPITAL.header)
    refused = hospital.post("/xds/repository", posted)
    assert "ITI-41" in refused.reason
    assert hospital.post("/xds/repository", messages.envelope(messages.provide(), echo.PROVIDE)).status == 200


@pytest.mark.parametrize("root_at", [0, 1], ids=["envelope-first", "envelope-last"])
def test_documents_are_kept_for_whom_the_envelope_says(
    directory: None, monkeypatch: pytest.MonkeyPatch, root_at: int
) -> None:
    """Only the participant that bytes are kept for can register them, and the envelope may come last."""
    whole = participants()
    whole["participants"][2]["scopes"] = ["system/*.cruds"]
    registration.apply(whole)
    owners: list[str] = []
    monkeypatch.setattr(
        views.submit, "discard", lambda received: owners.extend(Binary.objects.values_list("owner", flat=True))
    )
    sent = messages.envelope(
        messages.provide(messages.include("d")),
        echo.PROVIDE,
        more=keys.security(sign(of_hospital(WARD_ID), keys.WARD)),
    )
    packed = messages.package(sent, messages.part("d", b"a letter"), root_at=root_at)
    answer = Caller(certificate=keys.HOSPITAL.header).post("/xds/repository", *packed)
    assert answer.said["caller"][0] == "org-hospital-ward", answer.reason
    assert owners == ["org-hospital-ward"]


def test_a_community_is_the_intermediary_of_whom_it_speaks_for(directory: None) -> None:
    attributes = {saml.ORGANIZATION_ID: ["urn:oid:2.999.20.1.7"], saml.ORGANIZATION: ["Far Clinic"]}
    found = who(Caller(certificate=keys.EAST.header).ask(sign(assertion(attributes=attributes), keys.EAST)))
    assert (found["organization_id"], found["intermediary_id"], found["organization_name"]) == (
        "com-east",
        "com-east",
        "Far Clinic",
    )


def test_a_suspended_ward_is_not_spoken_for(directory: None) -> None:
    whole = participants()
    whole["participants"][2]["status"] = "suspended"
    registration.apply(whole)
    assert Caller(certificate=keys.HOSPITAL.header).ask(sign(of_hospital(WARD_ID), keys.HOSPITAL)).code == FAILED
