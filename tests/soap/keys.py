"""Certificates of participants, and assertions that they sign."""

from __future__ import annotations

import base64
import ipaddress
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from lxml import etree
from signxml import DigestAlgorithm, SignatureMethod, XMLSigner
from signxml.algorithms import CanonicalizationMethod

from hie.trust import saml

DS = saml.DS
XSI = "http://www.w3.org/2001/XMLSchema-instance"


class Pair:
    """A key and its certificate, good from yesterday to next year unless said; self-signed without an issuer."""

    def __init__(
        self,
        name: str,
        key: Any = None,
        *,
        days: tuple[int, int] = (-1, 365),
        issuer: Pair | None = None,
        authority: bool = False,
        address: str = "",
    ) -> None:
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(subject)
        builder = builder.issuer_name(issuer.certificate.subject if issuer else subject)
        builder = builder.public_key(self.key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now + timedelta(days=days[0])).not_valid_after(now + timedelta(days=days[1]))
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        if address:
            names = [x509.IPAddress(ipaddress.ip_address(address))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        self.certificate = builder.sign(issuer.key if issuer else self.key, hashes.SHA256())

    @property
    def key_pem(self) -> str:
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def header(self) -> str:
        """As RFC 9440 writes it."""
        return f":{base64.b64encode(self.der).decode()}:"


CLINIC = Pair("clinic", rsa.generate_private_key(public_exponent=65537, key_size=2048))
HOSPITAL = Pair("hospital")
WARD = Pair("ward")
EAST = Pair("east")
EXPIRED = Pair("expired", days=(-30, -1))
FUTURE = Pair("future", days=(1, 30))
STRANGER = Pair("stranger")
WEAK = Pair("weak", rsa.generate_private_key(public_exponent=65537, key_size=1024))


def instant(**ago: float) -> str:
    return (datetime.now(UTC) + timedelta(**ago)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def coded(name: str, code: str, system: str) -> str:
    return f'<{name} xmlns="urn:hl7-org:v3" xmlns:xsi="{XSI}" xsi:type="CE" code="{code}" codeSystem="{system}"/>'


ATTRIBUTES: dict[str, list[str]] = {
    saml.SUBJECT_ID: ["Ada Moor"],
    saml.ORGANIZATION: ["The Clinic"],
    saml.ORGANIZATION_ID: ["urn:oid:2.999.10.1"],
    saml.ROLE: [coded("Role", "physician", "2.999.5")],
    saml.PURPOSE: [coded("PurposeOfUse", "TREAT", "2.16.840.1.113883.5.8")],
}


def assertion(**changes: Any) -> str:
    """An assertion for Dr Moor at the clinic, not signed yet; `None` leaves a piece out, attributes replace their own.

    A change may be a function: instants of a table of cases are to be told when its test runs.
    """
    given: dict[str, Any] = {
        "id": f"_{uuid.uuid4()}",
        "version": "2.0",
        "issuer": "https://clinic.example/sts",
        "issued": instant(seconds=-5),
        "name_id": "ada",
        "confirmation": confirmation(),
        "not_before": instant(seconds=-5),
        "not_on_or_after": instant(minutes=5),
        "audience": "https://hub.example",
        "conditions": "",
        "signed_in": None,
        "more": "",
        "attributes": {},
    } | {name: change() if callable(change) else change for name, change in changes.items()}
    attributes = {name: values for name, values in (ATTRIBUTES | given["attributes"]).items() if values is not None}
    said = "".join(
        f'<saml2:Attribute Name="{name}">'
        + "".join(f"<saml2:AttributeValue>{value}</saml2:AttributeValue>" for value in values)
        + "</saml2:Attribute>"
        for name, values in attributes.items()
    )
    times = "".join(
        f' {name}="{given[key]}"'
        for name, key in (("NotBefore", "not_before"), ("NotOnOrAfter", "not_on_or_after"))
        if given[key] is not None
    )
    audience = (
        f"<saml2:AudienceRestriction><saml2:Audience>{given['audience']}</saml2:Audience></saml2:AudienceRestriction>"
        if given["audience"] is not None
        else ""
    )
    name_id = f"<saml2:NameID>{given['name_id']}</saml2:NameID>" if given["name_id"] is not None else ""
    return (
        f'<saml2:Assertion xmlns:saml2="{saml.SAML}" xmlns:xsd="http://www.w3.org/2001/XMLSchema" ID="{given["id"]}"'
        f' IssueInstant="{given["issued"]}" Version="{given["version"]}">'
        f"<saml2:Issuer>{given['issuer']}</saml2:Issuer>"
        f"<saml2:Subject>{name_id}{given['confirmation']}</saml2:Subject>"
        f"<saml2:Conditions{times}>{audience}{given['conditions']}</saml2:Conditions>"
        f"{signed_in(at=given['issued']) if given['signed_in'] is None else given['signed_in']}"
        f"<saml2:AttributeStatement>{said}</saml2:AttributeStatement>{given['more']}</saml2:Assertion>"
    )


def signed_in(*, at: str = "", contexts: int = 1, more: str = "") -> str:
    """An AuthnStatement."""
    context = (
        "<saml2:AuthnContext><saml2:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:X509"
        "</saml2:AuthnContextClassRef></saml2:AuthnContext>"
    )
    return (
        f'<saml2:AuthnStatement AuthnInstant="{at or instant(seconds=-5)}" {more}>{context * contexts}'
        "</saml2:AuthnStatement>"
    )


def confirmation(method: str = saml.BEARER, data: str = "", inside: str = "") -> str:
    return (
        f'<saml2:SubjectConfirmation Method="{method}"><saml2:SubjectConfirmationData {data}>{inside}'
        "</saml2:SubjectConfirmationData></saml2:SubjectConfirmation>"
    )


def held_by(pair: Pair) -> str:
    """A confirmation by the holder of this key."""
    inside = (
        f'<ds:KeyInfo xmlns:ds="{DS}"><ds:X509Data><ds:X509Certificate>{base64.b64encode(pair.der).decode()}'
        "</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
    )
    return confirmation(saml.HOLDER_OF_KEY, inside=inside)


def sign(
    text: str,
    pair: Pair = CLINIC,
    *,
    method: SignatureMethod | None = None,
    digest: DigestAlgorithm = DigestAlgorithm.SHA256,
    c14n: CanonicalizationMethod = CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
    with_certificate: bool = True,
) -> str:
    """The assertion with its signature behind the issuer, as XUA writes it."""
    root = etree.fromstring(text)
    placeholder = etree.Element(f"{{{DS}}}Signature", Id="placeholder")
    root.insert(1, placeholder)
    is_rsa = isinstance(pair.key, rsa.RSAPrivateKey)
    signer = _Signer(
        signature_algorithm=method or (SignatureMethod.RSA_SHA256 if is_rsa else SignatureMethod.ECDSA_SHA256),
        digest_algorithm=digest,
        c14n_algorithm=c14n,
    )
    signed = signer.sign(
        root, key=pair.key, cert=[pair.certificate], reference_uri=f"#{root.get('ID')}", id_attribute="ID"
    )
    if not with_certificate:
        info = signed.find(f"{{{DS}}}Signature/{{{DS}}}KeyInfo")
        info.getparent().remove(info)
    return etree.tostring(signed).decode()


class _Signer(XMLSigner):
    """As an older toolkit signs, too."""

    def check_deprecated_methods(self) -> None:
        """Old algorithms are to be refused by who verifies."""


def security(*inside: str, must: str = "1") -> str:
    return f'<wsse:Security s:mustUnderstand="{must}">{"".join(inside)}</wsse:Security>'
