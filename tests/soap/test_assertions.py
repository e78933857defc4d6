"""Assertions at the SOAP face: what must hold of one, and every way to forge one that must not pass."""

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
from tests.soap import keys
from tests.soap.conftest import FAILED, HOSPITAL_ID, INVALID, Caller, participants, who
from tests.soap.keys import CLINIC, assertion, confirmation, held_by, instant, sign, signed_in

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
        pytest.param({"more": lambda: signed_in(more=f'SessionNotOnOrAfter="{instant(seconds=-1)}"')}, id="session-ended"),
        pytest.param({"more": lambda: signed_in(at=instant(seconds=40))}, id="not-signed-in-yet"),
        pytest.param({"more": lambda: signed_in(contexts=0)}, id="signed-in-in-no-way"),
        pytest.param({"more": lambda: signed_in(contexts=2)}, id="signed-in-in-two-ways"),
        pytest.param({"more": "<saml2:AuthnStatement/>"}, id="no-instant-of-signing-in"),
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
    pair = how.get("pair", CLINIC)
    how = {name: value for name, value in how.items() if name != "pair"}
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
