"""A SAML 2.0 assertion to what it states, when a participant's registered key signed it for this hub.

Only what `signxml` gives back as signed is read. The assertion stands alone while it is verified, its one signature is
its own child and covers the whole of it, and of algorithms and transforms only those of `_METHODS` and `_TRANSFORMS`
are taken. Codes are read as they are from a token's extension.

Source: SAML 2.0 Core 2 and 5.4; IHE ITI TF-2 3.40 (XUA); spec/xds.md 2 (7); XML Signature Best Practices.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier

from hie.directory import queries
from hie.directory.queries import Directory
from hie.standards import xml
from hie.standards.errors import MalformedContent
from hie.trust import extensions
from hie.trust.assertions import CLOCK_SKEW_S
from hie.trust.errors import AssertionRefused, TokenRefused
from hie.trust.extensions import MAX_TEXT, Stated

SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
DS = "http://www.w3.org/2000/09/xmldsig#"
HL7 = "urn:hl7-org:v3"
MAX_SIZE = 256 * 1024
MAX_LIFETIME = timedelta(hours=24)
_SKEW = timedelta(seconds=CLOCK_SKEW_S)

BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
HOLDER_OF_KEY = "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"

SUBJECT_ID = "urn:oasis:names:tc:xspa:1.0:subject:subject-id"
ORGANIZATION = "urn:oasis:names:tc:xspa:1.0:subject:organization"
ORGANIZATION_ID = "urn:oasis:names:tc:xspa:1.0:subject:organization-id"
ROLE = "urn:oasis:names:tc:xacml:2.0:subject:role"
PURPOSE = "urn:oasis:names:tc:xspa:1.0:subject:purposeofuse"
RESOURCE_ID = "urn:oasis:names:tc:xacml:2.0:resource:resource-id"
_RESOURCE_IDS = (RESOURCE_ID, "urn:oasis:names:tc:xacml:1.0:resource:resource-id")
CONSENTS = ("urn:ihe:iti:bppc:2007:docid", "urn:ihe:iti:xua:2012:acp")

_METHODS = frozenset(
    {
        SignatureMethod.RSA_SHA256,
        SignatureMethod.RSA_SHA384,
        SignatureMethod.RSA_SHA512,
        SignatureMethod.SHA256_RSA_MGF1,
        SignatureMethod.SHA384_RSA_MGF1,
        SignatureMethod.SHA512_RSA_MGF1,
        SignatureMethod.ECDSA_SHA256,
        SignatureMethod.ECDSA_SHA384,
        SignatureMethod.ECDSA_SHA512,
    }
)
_DIGESTS = frozenset({DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512})
_EXCLUSIVE = frozenset(
    {"http://www.w3.org/2001/10/xml-exc-c14n#", "http://www.w3.org/2001/10/xml-exc-c14n#WithComments"}
)
_ENVELOPED = f"{DS}enveloped-signature"
_TRANSFORMS = _EXCLUSIVE | {_ENVELOPED}
_CONDITIONS = frozenset({"AudienceRestriction", "OneTimeUse", "ProxyRestriction"})
_INSTANT = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?$", re.ASCII)
# A name that could be a FHIR id is one of a person at the organization; any other (a DN, an address) stays as it is.
_PLAIN_ID = re.compile(r"^[A-Za-z0-9.-]{1,64}$", re.ASCII)
_MIN_RSA_BITS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """What a verified assertion says. `signer` is the participant whose registered certificate signed it.

    `resource_id` is the patient it is about (CX) or ""; `consents` the documents and policies of consent it names;
    `once` whether it may be used one time only.
    """

    id: str
    signer: str
    expires_at: datetime
    once: bool
    stated: Stated
    resource_id: str = ""
    consents: tuple[str, ...] = ()


def verify(
    element: etree._Element,
    *,
    directory: Directory,
    participant_id: str,
    audiences: Collection[str],
    certificate: str,
    now: datetime,
) -> Assertion:
    """The assertion, when it holds: signature, signer, times, audience, confirmation of its subject, attributes.

    `participant_id` is the node that brings it: where the signature names no certificate, those of that participant and
    above it are tried. `audiences` are names of this hub. `certificate` is the thumbprint of the TLS client's, or "". 30 s
    of clock difference are forgiven for the beginning, none for the end.

    Raises:
        AssertionRefused: FailedAuthentication when nobody known signed it; InvalidSecurityToken when what it says
            cannot be used here now.
    """
    encoded = etree.tostring(element, with_tail=False)
    signed, signer = _signed(encoded, directory, participant_id, now)
    if signed.get("Version") != "2.0":
        raise _invalid("Version must be 2.0")
    if not _text(_one(signed, "Issuer")):
        raise _invalid("Issuer is empty")
    issued = _instant(signed.get("IssueInstant"), "IssueInstant")
    if issued > now + _SKEW:
        raise _invalid("it is from the future")
    expires, once = _conditions(signed, audiences, now)
    if expires - issued > MAX_LIFETIME:
        raise _invalid(f"it lives longer than {int(MAX_LIFETIME.total_seconds() // 3600)} h")
    subject = _one(signed, "Subject")
    _confirmed(subject, audiences, certificate, now)
    attributes = _attributes(signed)
    return Assertion(
        id=str(signed.get("ID")),
        signer=signer,
        expires_at=expires,
        once=once,
        stated=_stated(subject, attributes),
        resource_id=_single(_texts(attributes, *_RESOURCE_IDS), "resource-id"),
        consents=tuple(_texts(attributes, *CONSENTS))[:100],
    )


# --- the signature -----------------------------------------------------------------------------------------------------


def _signed(encoded: bytes, directory: Directory, participant_id: str, now: datetime) -> tuple[etree._Element, str]:
    """What is signed of an assertion that stands alone, and who signed it."""
    try:
        root = xml.parse(encoded, limits=xml.Limits(size=MAX_SIZE, depth=50))
    except MalformedContent as error:
        raise _invalid(str(error)) from error
    identifier = root.get("ID") or ""
    if root.tag != f"{{{SAML}}}Assertion" or not identifier:
        raise _invalid("it is no SAML 2.0 assertion with an ID")
    signature = _signature(root, identifier)
    for owner, trusted in _signers(signature, directory, participant_id):
        _usable(trusted, now)
        try:
            result = XMLVerifier().verify(
                encoded,
                x509_cert=trusted,
                id_attribute="ID",
                expect_config=SignatureConfiguration(
                    location="./",
                    expect_references=1,
                    signature_methods=_METHODS,
                    digest_algorithms=_DIGESTS,
                    verification_time=now,
                ),
            )
        except (SignXMLException, etree.LxmlError, UnsupportedAlgorithm, ValueError, TypeError, KeyError):
            continue
        signed = None if isinstance(result, list) else result.signed_xml
        # What was verified is the whole assertion and nothing else: only this is read from here on.
        if signed is not None and signed.tag == root.tag and signed.get("ID") == identifier:
            return signed, owner
    raise _failed("its signature is not one of a registered certificate")


def _signature(root: etree._Element, identifier: str) -> etree._Element:
    """The one signature: a child of the assertion that refers to the whole of it, by what is allowed alone."""
    found = list(root.iter(f"{{{DS}}}Signature"))
    if len(found) != 1 or found[0].getparent() is not root:
        raise _failed("it must hold one signature, its own")
    named = root.xpath("//@*[local-name()='ID' or local-name()='Id' or local-name()='id']")
    if [str(value) for value in named].count(identifier) != 1:
        raise _failed("its ID is not its own")
    references = found[0].findall(f"{{{DS}}}SignedInfo/{{{DS}}}Reference")
    if len(references) != 1 or references[0].get("URI") != f"#{identifier}":
        raise _failed("its signature must refer to the assertion and to nothing else")
    transforms = [one.get("Algorithm") for one in references[0].iter(f"{{{DS}}}Transform")]
    if _ENVELOPED not in transforms or not set(transforms) <= _TRANSFORMS or len(transforms) > 2:
        raise _failed("its signature transforms what is signed in a way that is not taken here")
    method = found[0].find(f"{{{DS}}}SignedInfo/{{{DS}}}CanonicalizationMethod")
    if method is None or method.get("Algorithm") not in _EXCLUSIVE:
        raise _failed("its signature is not made over the exclusive canonical form")
    return found[0]


def _signers(
    signature: etree._Element, directory: Directory, participant_id: str
) -> list[tuple[str, x509.Certificate]]:
    """Participants and certificates that may have signed: the registered one that it names, or the node's own."""
    named = signature.findall(f"{{{DS}}}KeyInfo/{{{DS}}}X509Data/{{{DS}}}X509Certificate")
    if named:
        # The first is the signer's; further ones are the chain above it, which nothing hangs on here.
        certificate = _certificate(named[0])
        owner = directory.by_thumbprint.get(certificate.fingerprint(hashes.SHA256()).hex())
        return [(owner, certificate)] if owner is not None else []
    line = [facts.id for facts in directory.lineage(participant_id)]
    return [(owner, x509.load_pem_x509_certificate(pem.encode())) for owner, pem in queries.certificates_of(line)]


def _certificate(element: etree._Element) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(base64.b64decode("".join(_text(element).split()), validate=True))
    except (binascii.Error, ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise _failed("X509Certificate holds no certificate") from error


def _usable(certificate: x509.Certificate, now: datetime) -> None:
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise _failed("the certificate it is signed with is not valid now")
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _failed("the key it is signed with is of no kind that is taken") from error
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) or (
        isinstance(key, rsa.RSAPublicKey) and key.key_size < _MIN_RSA_BITS
    ):
        raise _failed("the key it is signed with is of no kind that is taken")


# --- what it says --------------------------------------------------------------------------------------------------------


def _conditions(signed: etree._Element, audiences: Collection[str], now: datetime) -> tuple[datetime, bool]:
    """The end of the assertion, and whether it may be used once only."""
    conditions = _one(signed, "Conditions")
    if "NotBefore" in conditions.attrib and _instant(conditions.get("NotBefore"), "NotBefore") > now + _SKEW:
        raise _invalid("it is not valid yet")
    expires = _instant(conditions.get("NotOnOrAfter"), "NotOnOrAfter")
    if expires <= now:
        raise _invalid("it has expired")
    kinds = [etree.QName(child) for child in _elements(conditions)]
    if any(kind.namespace != SAML or kind.localname not in _CONDITIONS for kind in kinds):
        raise _invalid("it has a condition that is not understood")
    restrictions = conditions.findall(f"{{{SAML}}}AudienceRestriction")
    if not restrictions:
        raise _invalid("it names no audience")
    for restriction in restrictions:
        if not any(_text(one) in audiences for one in restriction.findall(f"{{{SAML}}}Audience")):
            raise _invalid("it is meant for another audience")
    for statement in signed.findall(f"{{{SAML}}}AuthnStatement"):
        _authenticated(statement, now)
    return expires, conditions.find(f"{{{SAML}}}OneTimeUse") is not None


def _authenticated(statement: etree._Element, now: datetime) -> None:
    """The subject signed in before now, in one way, and the session goes on (SAML Core 2.7.2)."""
    if _instant(statement.get("AuthnInstant"), "AuthnInstant") > now + _SKEW:
        raise _invalid("its subject has not signed in yet")
    contexts = statement.findall(f"{{{SAML}}}AuthnContext")
    if len(contexts) != 1 or len(contexts[0].findall(f"{{{SAML}}}AuthnContextClassRef")) > 1 or not len(contexts[0]):
        raise _invalid("it does not say in which one way its subject signed in")
    ends = statement.get("SessionNotOnOrAfter")
    if ends is not None and _instant(ends, "SessionNotOnOrAfter") <= now:
        raise _invalid("the session it speaks of has ended")


def _confirmed(subject: etree._Element, audiences: Collection[str], certificate: str, now: datetime) -> None:
    """One of the subject's confirmations holds: whoever bears it, or whoever holds the key named in it."""
    for confirmation in subject.findall(f"{{{SAML}}}SubjectConfirmation"):
        method = confirmation.get("Method")
        data = confirmation.find(f"{{{SAML}}}SubjectConfirmationData")
        if data is not None and not _data_hold(data, audiences, now):
            continue
        if method == BEARER:
            return
        if method == HOLDER_OF_KEY and data is not None and certificate:
            held = data.findall(f"{{{DS}}}KeyInfo/{{{DS}}}X509Data/{{{DS}}}X509Certificate")
            if any(_certificate(one).fingerprint(hashes.SHA256()).hex() == certificate for one in held):
                return
    raise _invalid("no confirmation of its subject holds")


def _data_hold(data: etree._Element, audiences: Collection[str], now: datetime) -> bool:
    if "NotBefore" in data.attrib and _instant(data.get("NotBefore"), "NotBefore") > now + _SKEW:
        return False
    if "NotOnOrAfter" in data.attrib and _instant(data.get("NotOnOrAfter"), "NotOnOrAfter") <= now:
        return False
    return data.get("Recipient") is None or data.get("Recipient") in audiences


def _stated(subject: etree._Element, attributes: dict[str, list[etree._Element]]) -> Stated:
    name_id = _limited(_text(_one(subject, "NameID")), "NameID")
    if not name_id:
        raise _invalid("NameID is empty")
    organizations = _texts(attributes, ORGANIZATION)
    return Stated(
        given=True,
        user_id=f"Practitioner/{name_id}" if _PLAIN_ID.match(name_id) else name_id,
        user_name=_single(_texts(attributes, SUBJECT_ID), "subject-id"),
        role=_coded(attributes, ROLE, "Role", "role"),
        organization_id=_single(_texts(attributes, ORGANIZATION_ID), "organization-id"),
        organization_name=organizations[0] if len(organizations) == 1 else "",
        purpose=_coded(attributes, PURPOSE, "PurposeOfUse", "purposeofuse"),
    )


def _coded(attributes: dict[str, list[etree._Element]], name: str, element: str, said: str) -> str | None:
    """The one code of an attribute: a coded element of HL7 v3, or text as ``code`` or ``system#code``."""
    values = attributes.get(name, [])
    if not values:
        return None
    if len(values) != 1:
        raise _invalid(f"{said} must have exactly one value")
    inside = _elements(values[0])
    given: str | dict[str, str]
    if inside:
        if len(inside) != 1 or inside[0].tag != f"{{{HL7}}}{element}":
            raise _invalid(f"{said} must be a {element}")
        given = {"system": inside[0].get("codeSystem") or "", "code": inside[0].get("code") or ""}
    else:
        given = _text(values[0])
    try:
        return extensions.purpose_code(given, said) if name == PURPOSE else extensions.read_code(given, said)[1]
    except TokenRefused as refused:
        raise _invalid(refused.description) from refused


def _attributes(signed: etree._Element) -> dict[str, list[etree._Element]]:
    """The values of every attribute, by its name."""
    found: dict[str, list[etree._Element]] = {}
    for attribute in signed.iterfind(f"{{{SAML}}}AttributeStatement/{{{SAML}}}Attribute"):
        values = found.setdefault(attribute.get("Name") or "", [])
        values += attribute.findall(f"{{{SAML}}}AttributeValue")
    return found


def _texts(attributes: dict[str, list[etree._Element]], *names: str) -> list[str]:
    values = (_limited(_text(value), names[0]) for name in names for value in attributes.get(name, ()))
    return list(dict.fromkeys(value for value in values if value))


def _single(values: Iterable[str], said: str) -> str:
    found = list(values)
    if len(found) > 1:
        raise _invalid(f"{said} must have one value")
    return found[0] if found else ""


def _limited(value: str, said: str) -> str:
    if len(value) > MAX_TEXT:
        raise _invalid(f"{said} is longer than {MAX_TEXT} characters")
    return value


def _one(parent: etree._Element, local: str) -> etree._Element:
    found = parent.findall(f"{{{SAML}}}{local}")
    if len(found) != 1:
        raise _invalid(f"it must have one {local}")
    return found[0]


def _elements(parent: etree._Element) -> list[etree._Element]:
    return [child for child in parent if isinstance(child.tag, str)]


def _text(element: etree._Element) -> str:
    """The text with its white space drawn together; a comment in it neither ends nor divides it."""
    return " ".join(str(element.xpath("string()")).split())


def _instant(text: str | None, said: str) -> datetime:
    """An xs:dateTime; without a zone it is UTC, as SAML writes every time (Core 1.3.3)."""
    if text is None or not _INSTANT.match(text.strip()):
        raise _invalid(f"{said} is no instant")
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise _invalid(f"{said} is no instant") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _invalid(reason: str) -> AssertionRefused:
    return AssertionRefused("InvalidSecurityToken", reason)


def _failed(reason: str) -> AssertionRefused:
    return AssertionRefused("FailedAuthentication", reason)
