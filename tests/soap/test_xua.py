"""Who calls over SOAP: nodes by certificate or token, persons by an assertion; and everything that must not pass."""

from __future__ import annotations

import base64
import copy
import json
import re
from typing import Any

import pytest
from lxml import etree
from signxml import DigestAlgorithm, SignatureMethod
from signxml.algorithms import CanonicalizationMethod

from hie.audit.models import AuditEvent
from hie.directory import registration
from hie.trust import saml, xua
from tests.conftest import SHARED
from tests.soap import echo, keys, messages
from tests.soap.conftest import PROXY, Answered, Caller, participants
from tests.soap.keys import CLINIC, assertion, confirmation, held_by, instant, sign
from tests.trust import conftest as trust

FAILED = "soap:Sender/wsse:FailedAuthentication"
INVALID = "soap:Sender/wsse:InvalidSecurityToken"


def who(answer: Answered) -> dict[str, str]:
    assert answer.status == 200, answer.reason
    return dict(zip((*echo.CALLER, "resource_id"), answer.said["caller"], strict=True))


# --- nodes ------------------------------------------------------------------------------------------------------------


def test_a_certificate_alone_is_the_node_itself_with_what_its_registration_says(by_certificate: Caller) -> None:
    found = who(by_certificate.ask())
    assert found["participant_id"] == found["organization_id"] == found["client_id"] == "org-clinic"
    assert (found["user_id"], found["role"], found["purpose"]) == ("Device/org-clinic", "device", "TREAT")
    assert found["face"] == "soap"


def test_a_token_is_taken_as_on_every_face(by_token: Caller) -> None:
    found = who(by_token.ask())
    assert (found["participant_id"], found["user_id"]) == ("org-clinic", "Device/org-clinic")
    token = trust.token("org-clinic", extensions={"hl7-b2b": trust.b2b()})
    assert who(Caller(token=token).ask())["user_id"] == "Practitioner/ada"


@pytest.mark.parametrize("address", ["192.0.2.7", "127.0.0.1", "10.1.2.4"])
def test_a_certificate_header_from_anyone_but_a_trusted_proxy_is_as_if_not_sent(directory: None, address: str) -> None:
    assert Caller(certificate=CLINIC.header, address=address).ask().code == FAILED
    token = trust.token("org-hospital")
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
    assert Caller(token=trust.token("org-hospital"), certificate=CLINIC.header).ask().code == FAILED
    assert Caller(token=trust.token("org-clinic"), certificate=CLINIC.header).ask().status == 200
    # A certificate that is nobody's says nothing: the token does.
    assert Caller(token=trust.token("org-clinic"), certificate=keys.STRANGER.header).ask().status == 200


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


def test_a_default_purpose_is_never_breaking_the_glass(by_certificate: Caller) -> None:
    registration.apply(participants(default_purpose="BTG"))
    assert who(by_certificate.ask(sign(assertion(attributes={saml.PURPOSE: None}))))["purpose"] == ""


# --- organizations ----------------------------------------------------------------------------------------------------


def of_hospital(organization: str, **changes: Any) -> str:
    return assertion(attributes={saml.ORGANIZATION_ID: [organization]} | changes)


WARD_ID, HOSPITAL_ID = "urn:oid:2.999.10.2.9", "urn:oid:2.999.10.2"


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


# --- what does not hold -----------------------------------------------------------------------------------------------

TWICE = {saml.PURPOSE: [*keys.ATTRIBUTES[saml.PURPOSE], keys.coded("PurposeOfUse", "HOPERAT", "2.16.840.1.113883.5.8")]}


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"not_on_or_after": instant(seconds=-1)}, id="expired-a-second-ago"),
        pytest.param({"not_before": lambda: instant(seconds=40)}, id="not-yet"),
        pytest.param({"issued": lambda: instant(seconds=40)}, id="issued-in-the-future"),
        pytest.param({"not_on_or_after": None}, id="without-end"),
        pytest.param({"not_on_or_after": lambda: instant(hours=24, seconds=30)}, id="a-day-and-an-hour"),
        pytest.param({"not_on_or_after": "tomorrow"}, id="no-instant"),
        pytest.param({"not_on_or_after": "2026-13-45T99:00:00Z"}, id="impossible-instant"),
        pytest.param({"audience": "https://other.example"}, id="another-audience"),
        pytest.param({"audience": None}, id="no-audience"),
        pytest.param({"audience": "https://hub.example.evil.example"}, id="longer-audience"),
        pytest.param({"conditions": "<saml2:AudienceRestriction><saml2:Audience>x</saml2:Audience></saml2:AudienceRestriction>"}, id="second-audience"),
        pytest.param({"conditions": '<x:Unheard xmlns:x="urn:x"/>'}, id="condition-unknown"),
        pytest.param({"version": "1.1"}, id="version"),
        pytest.param({"issuer": " "}, id="no-issuer"),
        pytest.param({"name_id": None}, id="no-name-id"),
        pytest.param({"name_id": " "}, id="empty-name-id"),
        pytest.param({"name_id": "x" * 1001}, id="long-name-id"),
        pytest.param({"confirmation": ""}, id="no-confirmation"),
        pytest.param({"confirmation": confirmation("urn:oasis:names:tc:SAML:2.0:cm:sender-vouches")}, id="sender-vouches"),
        pytest.param({"confirmation": confirmation(data=f'NotOnOrAfter="{instant(seconds=-1)}"')}, id="confirmation-ended"),
        pytest.param({"confirmation": lambda: confirmation(data=f'NotBefore="{instant(seconds=40)}"')}, id="confirmation-not-yet"),
        pytest.param({"confirmation": confirmation(data='Recipient="https://other.example/"')}, id="another-recipient"),
        pytest.param({"confirmation": held_by(keys.STRANGER)}, id="held-by-another"),
        pytest.param({"confirmation": confirmation(saml.HOLDER_OF_KEY)}, id="held-by-nobody"),
        pytest.param({"attributes": TWICE}, id="two-purposes"),
        pytest.param({"attributes": {saml.PURPOSE: [keys.coded("PurposeOfUse", "NORM", "2.16.756.5.30.1.127.3.10.5")]}}, id="purpose-of-another-system"),
        pytest.param({"attributes": {saml.PURPOSE: [keys.coded("Role", "TREAT", "")]}}, id="purpose-that-is-a-role"),
        pytest.param({"attributes": {saml.PURPOSE: [""]}}, id="empty-purpose"),
        pytest.param({"attributes": {saml.ROLE: ["physician", "nurse"]}}, id="two-roles"),
        pytest.param({"attributes": {saml.ORGANIZATION_ID: ["urn:oid:2.999.10.1", "urn:oid:2.999.10.2"]}}, id="two-organizations"),
        pytest.param({"attributes": {saml.RESOURCE_ID: ["a", "b"]}}, id="two-patients"),
        pytest.param({"more": f'<saml2:AuthnStatement SessionNotOnOrAfter="{instant(seconds=-1)}"/>'}, id="session-ended"),
    ],
)  # fmt: skip
def test_what_an_assertion_says_must_hold_here_and_now(by_certificate: Caller, broken: dict[str, Any]) -> None:
    assert who(by_certificate.ask(sign(assertion())))["user_id"] == "Practitioner/ada"
    answer = by_certificate.ask(sign(assertion(**broken)))
    assert (answer.status, answer.code) == (400, INVALID), answer.reason
    event = AuditEvent.objects.filter(kind="login-failed").get()
    assert (event.participant, event.face, event.outcome) == ("org-clinic", "soap", 4)


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"not_before": lambda: instant(seconds=20), "issued": lambda: instant(seconds=20)}, id="a-clock-20-s-ahead"),
        pytest.param({"not_before": None}, id="no-beginning"),
        pytest.param({"audience": "https://hub.example/xds/registry"}, id="the-endpoint"),
        pytest.param({"audience": "urn:oid:2.999.1.1"}, id="the-home-community"),
        pytest.param({"audience": "urn:all-communities"}, id="as-set"),
        pytest.param({"confirmation": confirmation(data='Recipient="https://hub.example/xds/registry"')}, id="recipient"),
        pytest.param({"confirmation": confirmation("urn:other") + confirmation()}, id="one-of-two-confirmations"),
        pytest.param({"confirmation": held_by(CLINIC)}, id="held-by-the-tls-client"),
        pytest.param({"confirmation": confirmation().replace("<saml2:SubjectConfirmationData ></saml2:SubjectConfirmationData>", "")}, id="bare"),
        pytest.param({"not_on_or_after": lambda: instant(minutes=5).replace("Z", "0000000Z")}, id="ticks-of-dotnet"),
        pytest.param({"not_on_or_after": lambda: instant(hours=3).replace("Z", "+01:00")}, id="an-offset"),
        pytest.param({"attributes": {saml.ROLE: ["physician"]}}, id="role-as-text"),
        pytest.param({"attributes": {"urn:ihe:iti:bppc:2007:docid": ["urn:oid:2.999.5.5"]}}, id="consent-named"),
    ],
)  # fmt: skip
def test_assertions_are_taken_as_toolkits_write_them(
    by_certificate: Caller, settings: Any, how: dict[str, Any]
) -> None:
    settings.HOME_COMMUNITY_ID = "urn:oid:2.999.1.1"
    settings.SAML_AUDIENCES = frozenset({"urn:all-communities"})
    found = who(by_certificate.ask(sign(assertion(**how))))
    assert (found["user_id"], found["role"]) == ("Practitioner/ada", "physician")


def test_an_assertion_for_one_use_is_good_once_and_any_other_until_it_ends(by_certificate: Caller) -> None:
    once = sign(assertion(conditions="<saml2:OneTimeUse/>"))
    assert by_certificate.ask(once).status == 200
    assert by_certificate.ask(once).code == INVALID
    often = sign(assertion())
    assert [by_certificate.ask(often).status for _ in range(2)] == [200, 200]


def test_one_assertion_is_taken_and_none_that_is_encrypted(by_certificate: Caller) -> None:
    assert by_certificate.ask(sign(assertion()), sign(assertion())).code == INVALID
    assert by_certificate.ask(f'<saml2:EncryptedAssertion xmlns:saml2="{saml.SAML}"/>').code == INVALID
    more = keys.security(sign(assertion()), must="0") + keys.security(sign(assertion()), must="0")
    assert by_certificate.ask(more=more).code == INVALID


# --- signatures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"method": SignatureMethod.RSA_SHA384, "digest": DigestAlgorithm.SHA512}, id="rsa-sha384"),
        pytest.param({"method": SignatureMethod.SHA256_RSA_MGF1}, id="rsa-pss"),
        pytest.param({"pair": keys.HOSPITAL}, id="ecdsa"),
        pytest.param({"with_certificate": False}, id="no-key-info"),
        pytest.param(
            {"c14n": CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0_WITH_COMMENTS}, id="with-comments"
        ),
    ],
)
def test_signatures_of_the_usual_kinds_hold(directory: None, how: dict[str, Any]) -> None:
    pair = how.pop("pair", CLINIC)
    organization = HOSPITAL_ID if pair is keys.HOSPITAL else "urn:oid:2.999.10.1"
    text = sign(assertion(attributes={saml.ORGANIZATION_ID: [organization]}), pair, **how)
    assert who(Caller(certificate=pair.header).ask(text))["user_id"] == "Practitioner/ada"


def exchanged(text: str) -> str:
    """The assertion as if the clinic's certificate had signed it."""
    mine = base64.b64encode(CLINIC.der).decode()
    changed = re.sub(r"(X509Certificate>)[^<]+", rf"\g<1>{mine}", text)
    assert changed != text
    return changed


def sha1(text: str) -> str:
    return sign(text, method=SignatureMethod.RSA_SHA1, digest=DigestAlgorithm.SHA1)


@pytest.mark.parametrize(
    "signing",
    [
        pytest.param(lambda text: text, id="not-signed"),
        pytest.param(lambda text: sign(text, keys.STRANGER), id="by-a-stranger"),
        pytest.param(lambda text: sign(text, keys.HOSPITAL), id="by-another-participant"),
        pytest.param(lambda text: sign(text, keys.EXPIRED), id="by-a-certificate-that-has-ended"),
        pytest.param(lambda text: sign(text, keys.STRANGER, with_certificate=False), id="by-a-key-that-is-not-named"),
        pytest.param(lambda text: sign(text, digest=DigestAlgorithm.SHA1), id="sha1-digest"),
        pytest.param(lambda text: sha1(text), id="sha1-signature"),
        pytest.param(
            lambda text: sign(text, c14n=CanonicalizationMethod.CANONICAL_XML_1_0), id="inclusive-canonical-form"
        ),
        pytest.param(lambda text: sign(text).replace("Ada Moor", "Eve Moor"), id="changed"),
        pytest.param(lambda text: sign(text).replace("TREAT", "HOPERAT"), id="purpose-changed"),
        pytest.param(lambda text: sign(text).replace("<saml2:Subject>", "<saml2:Subject> "), id="a-blank-added"),
        pytest.param(lambda text: re.sub(r'ID="_[^"]+"', 'ID="_other"', sign(text), count=1), id="id-changed"),
        pytest.param(lambda text: re.sub(r'URI="#[^"]+"', 'URI=""', sign(text)), id="reference-to-the-document"),
        pytest.param(lambda text: exchanged(sign(text, keys.STRANGER)), id="certificate-exchanged"),
    ],
)  # fmt: skip
def test_a_signature_that_is_not_the_participants_own_over_the_whole_is_refused(
    by_certificate: Caller, signing: Any
) -> None:
    assert by_certificate.ask(sign(assertion())).status == 200
    answer = by_certificate.ask(signing(assertion()))
    assert (answer.status, answer.code) == (400, FAILED), answer.reason


def test_a_key_too_short_to_be_trusted_is_refused(by_certificate: Caller) -> None:
    registration.apply(participants(certificates=[CLINIC.pem, keys.WEAK.pem]))
    assert by_certificate.ask(sign(assertion(), keys.WEAK)).code == FAILED


def parsed(text: str) -> Any:
    return etree.fromstring(text)


def wrapped(kind: str) -> list[str]:
    """Blocks of wsse:Security in which a good assertion is hidden behind a forged one (XSW 1 to 8)."""
    good = parsed(sign(assertion()))
    forged = parsed(assertion(name_id="eve"))
    signature = good.find(f"{{{saml.DS}}}Signature")
    text = lambda element: etree.tostring(element).decode()  # noqa: E731  a short one
    if kind in ("forged-first", "forged-second"):
        pair = [text(forged), text(good)]
        return pair if kind == "forged-first" else pair[::-1]
    if kind == "good-inside-the-signature":
        moved = copy.deepcopy(signature)
        inner = copy.deepcopy(good)
        inner.remove(inner.find(f"{{{saml.DS}}}Signature"))
        holder = etree.SubElement(moved, f"{{{saml.DS}}}Object")
        holder.append(inner)
        forged.insert(1, moved)
    elif kind == "good-inside-advice":
        advice = etree.SubElement(forged, f"{{{saml.SAML}}}Advice")
        advice.append(copy.deepcopy(good))
    elif kind == "signature-moved-good-inside":
        inner = copy.deepcopy(good)
        inner.remove(inner.find(f"{{{saml.DS}}}Signature"))
        forged.insert(1, copy.deepcopy(signature))
        etree.SubElement(forged, f"{{{saml.SAML}}}Advice").append(inner)
    elif kind == "same-id":
        forged.set("ID", good.get("ID"))
        inner = copy.deepcopy(good)
        inner.remove(inner.find(f"{{{saml.DS}}}Signature"))
        forged.insert(1, copy.deepcopy(signature))
        etree.SubElement(forged, f"{{{saml.SAML}}}Advice").append(inner)
    elif kind == "same-id-other-case":
        forged.set("ID", "_x")
        inner = copy.deepcopy(good)
        forged.insert(1, copy.deepcopy(signature))
        etree.SubElement(forged, "{urn:x}y", Id=good.get("ID")).append(inner)
    elif kind == "signature-of-two":
        forged.insert(1, copy.deepcopy(signature))
        forged.insert(1, copy.deepcopy(signature))
    elif kind == "signature-alone":
        forged.insert(1, copy.deepcopy(signature))
    elif kind == "forged-around":
        holder = etree.Element("{urn:x}holder")
        holder.append(good)
        return [text(forged), text(holder)]
    else:
        raise AssertionError(kind)
    return [text(forged)]


@pytest.mark.parametrize(
    "kind",
    [
        "forged-first", "forged-second", "good-inside-the-signature", "good-inside-advice", "signature-moved-good-inside",
        "same-id", "same-id-other-case", "signature-of-two", "signature-alone", "forged-around",
    ],
)  # fmt: skip
def test_a_good_signature_never_carries_a_forged_assertion(by_certificate: Caller, kind: str) -> None:
    answer = by_certificate.ask(*wrapped(kind))
    assert answer.code in (FAILED, INVALID), kind
    assert "eve" not in json.dumps(answer.said)


def test_a_good_assertion_elsewhere_in_the_message_is_not_looked_at(by_certificate: Caller) -> None:
    more = f'<x:y xmlns:x="urn:x">{sign(assertion())}</x:y>'
    assert who(by_certificate.ask(more=more))["user_id"] == "Device/org-clinic"
    other = f'<wsse:Security s:role="http://example.org/other">{sign(assertion())}</wsse:Security>'
    assert who(by_certificate.ask(more=other))["user_id"] == "Device/org-clinic"


def test_only_what_was_signed_is_read(by_certificate: Caller) -> None:
    """A transform that leaves a part out would leave it unsigned: only those that leave nothing out are taken."""
    text = sign(assertion())
    xpath = '<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"><ds:XPath>false()</ds:XPath></ds:Transform>'
    base = '<ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#base64"/>'
    exclusive = '<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>'
    assert exclusive in text
    for other in (xpath, base):
        answer = by_certificate.ask(text.replace(exclusive, other))
        assert (answer.code, "transforms" in answer.reason) == (FAILED, True)


def test_an_assertion_is_verified_in_whatever_message_it_stands(by_certificate: Caller) -> None:
    """Names that the envelope declares, and those the assertion uses in its values, do not change what was signed."""
    typed = keys.coded("Role", "physician", "2.999.5").replace('xsi:type="CE"', 'xsi:type="xsd:string"')
    text = sign(assertion(attributes={saml.ROLE: [typed]}))
    declared = text.replace(' xmlns:xsd="http://www.w3.org/2001/XMLSchema"', "")
    assert declared != text
    for one in (text, declared):
        assert who(by_certificate.ask(one, message_id="urn:uuid:1"))["role"] == "physician"


def test_a_long_assertion_is_refused(by_certificate: Caller) -> None:
    text = sign(assertion(attributes={"urn:x": ["x" * 300_000]}))
    assert by_certificate.ask(text).code == INVALID


@pytest.mark.shared
def test_the_sample_of_another_toolkit_is_refused_for_what_it_is(by_certificate: Caller) -> None:
    """Its certificate is left out and it is long ended: that nobody known signed it is said first."""
    sample = SHARED / "data" / "xds" / "ipf-consent-xacml" / "xua-assertion.xml"
    assert by_certificate.ask(sample.read_text()).code == FAILED


def test_nobody_unknown_fills_the_log(directory: None, settings: Any) -> None:
    settings.REFUSED_TOKENS_PER_MINUTE = 3
    for _ in range(6):
        assert Caller(certificate=keys.STRANGER.header).ask().code == FAILED
    assert AuditEvent.objects.filter(kind="login-failed").count() == 3


def test_the_audience_is_this_hub_and_what_it_is_set_to(settings: Any) -> None:
    settings.BASE_URL, settings.HOME_COMMUNITY_ID = "https://hub.example/", "urn:oid:2.999.1.1"
    settings.SAML_AUDIENCES = frozenset({"urn:all"})
    assert xua.audiences("https://hub.example/xds/registry") == {
        "https://hub.example",
        "https://hub.example/",
        "https://hub.example/xds/registry",
        "urn:oid:2.999.1.1",
        "urn:all",
    }
