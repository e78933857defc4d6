"""Object identifiers: their syntax, OIDs from UUIDs, and the OIDs that have a URI of their own.

A coding scheme inside the hub is always the URI where one is assigned, else ``urn:oid:…``.

Source: spec/fhir.md 4 (datatypes), FHIR R4 "known systems", HL7 terminology (THO).
"""

from __future__ import annotations

import re
import uuid
from functools import lru_cache

_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+\Z", re.ASCII)
_THO = "http://terminology.hl7.org/CodeSystem/"

URI_OF_OID: dict[str, str] = {
    "2.16.840.1.113883.6.1": "http://loinc.org",
    "2.16.840.1.113883.6.96": "http://snomed.info/sct",
    "2.16.840.1.113883.6.88": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "2.16.840.1.113883.6.8": "http://unitsofmeasure.org",
    "2.16.840.1.113883.6.12": "http://www.ama-assn.org/go/cpt",
    "2.16.840.1.113883.6.285": "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
    "2.16.840.1.113883.6.90": "http://hl7.org/fhir/sid/icd-10-cm",
    "2.16.840.1.113883.6.3": "http://hl7.org/fhir/sid/icd-10",
    "2.16.840.1.113883.6.4": "http://www.cms.gov/Medicare/Coding/ICD10",
    "2.16.840.1.113883.6.103": "http://hl7.org/fhir/sid/icd-9-cm",
    "2.16.840.1.113883.6.104": "http://hl7.org/fhir/sid/icd-9-cm",
    "2.16.840.1.113883.6.42": "http://hl7.org/fhir/sid/icd-9-cm",
    "2.16.840.1.113883.6.2": "http://hl7.org/fhir/sid/icd-9-cm",
    "2.16.840.1.113883.6.69": "http://hl7.org/fhir/sid/ndc",
    "2.16.840.1.113883.6.59": "http://hl7.org/fhir/sid/cvx",
    "2.16.840.1.113883.12.292": "http://hl7.org/fhir/sid/cvx",
    "2.16.840.1.113883.12.227": "http://hl7.org/fhir/sid/mvx",
    "2.16.840.1.113883.6.73": "http://www.whocc.no/atc",
    "2.16.840.1.113883.6.24": "urn:iso:std:iso:11073:10101",
    "2.16.840.1.113883.6.101": "http://nucc.org/provider-taxonomy",
    "2.16.840.1.113883.6.238": "urn:oid:2.16.840.1.113883.6.238",  # CDC race and ethnicity keeps its OID
    "2.16.840.1.113883.6.259": "https://www.cdc.gov/nhsn/cdaportal/terminology/codesystem/hsloc.html",
    "2.16.840.1.113883.6.43.1": "http://terminology.hl7.org/CodeSystem/icd-o-3",
    "2.16.840.1.113883.4.9": "http://fdasis.nlm.nih.gov",
    "2.16.840.1.113883.3.26.1.1": "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl",
    "2.16.840.1.113883.3.26.1.5": "http://terminology.hl7.org/CodeSystem/nciVersionOfNDF-RT",
    "1.2.840.10008.2.16.4": "http://dicom.nema.org/resources/ontology/DCM",
    "1.2.840.10008.2.6.1": "urn:oid:1.2.840.10008.2.6.1",  # DICOM UID registry
    "1.0.3166.1.2.2": "urn:iso:std:iso:3166",
    "2.16.840.1.113883.6.121": "urn:ietf:bcp:47",
    "2.16.840.1.113883.6.316": "urn:ietf:bcp:47",
    "1.3.6.1.4.1.19376.1.2.3": "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
    "2.16.840.1.113883.5.25": _THO + "v3-Confidentiality",
    "2.16.840.1.113883.5.4": _THO + "v3-ActCode",
    "2.16.840.1.113883.5.8": _THO + "v3-ActReason",
    "2.16.840.1.113883.5.6": _THO + "v3-ActClass",
    "2.16.840.1.113883.5.7": _THO + "v3-ActPriority",
    "2.16.840.1.113883.5.14": _THO + "v3-ActStatus",
    "2.16.840.1.113883.5.1001": _THO + "v3-ActMood",
    "2.16.840.1.113883.5.1": _THO + "v3-AdministrativeGender",
    "2.16.840.1.113883.5.2": _THO + "v3-MaritalStatus",
    "2.16.840.1.113883.5.83": _THO + "v3-ObservationInterpretation",
    "2.16.840.1.113883.5.84": _THO + "v3-ObservationMethod",
    "2.16.840.1.113883.5.88": _THO + "v3-ParticipationFunction",
    "2.16.840.1.113883.5.90": _THO + "v3-ParticipationType",
    "2.16.840.1.113883.5.110": _THO + "v3-RoleClass",
    "2.16.840.1.113883.5.111": _THO + "v3-RoleCode",
    "2.16.840.1.113883.5.112": _THO + "v3-RouteOfAdministration",
    "2.16.840.1.113883.5.60": _THO + "v3-LanguageAbilityMode",
    "2.16.840.1.113883.5.1008": _THO + "v3-NullFlavor",
    "2.16.840.1.113883.5.1063": _THO + "v3-ObservationValue",
    "2.16.840.1.113883.5.1070": _THO + "v3-substanceAdminSubstitution",
    "2.16.840.1.113883.5.1076": _THO + "v3-ReligiousAffiliation",
    "2.16.840.1.113883.5.45": _THO + "v3-EntityNameUse",
    "2.16.840.1.113883.5.1119": _THO + "v3-AddressUse",
    "2.16.840.1.113883.5.139": _THO + "v3-TimingEvent",
    "2.16.840.1.113883.12.112": _THO + "v2-0112",
    "2.16.840.1.113883.12.203": _THO + "v2-0203",
    "2.16.840.1.113883.18.108": _THO + "v2-0203",
    "2.16.840.1.113883.4.1": "http://hl7.org/fhir/sid/us-ssn",
    "2.16.840.1.113883.4.6": "http://hl7.org/fhir/sid/us-npi",
    "2.16.840.1.113883.4.572": "http://hl7.org/fhir/sid/us-medicare",
}
OID_OF_URI: dict[str, str] = {}
for _oid, _uri in URI_OF_OID.items():
    OID_OF_URI.setdefault(_uri, _oid)  # the first OID of a URI is the one written

_OLDER = re.compile(r"http://hl7\.org/fhir/v3/([A-Za-z0-9-]+)\Z")


def is_oid(text: str) -> bool:
    """``[0-2](.(0|[1-9]d*))+``, at most 64 characters (spec/xds.md 3.2)."""
    return len(text) <= 64 and _OID.match(text) is not None


def bare(text: str) -> str:
    """The OID behind ``urn:oid:``, or the text as it is."""
    return text[8:] if text[:8].lower() == "urn:oid:" else text


@lru_cache(maxsize=4096)
def scheme_uri(system: str) -> str:
    """The URI under which the hub keeps a coding scheme: from an OID, ``urn:oid:`` or an older spelling."""
    text = system.strip()
    oid = bare(text)
    if is_oid(oid):
        return URI_OF_OID.get(oid, f"urn:oid:{oid}")
    older = _OLDER.match(text)
    return f"{_THO}v3-{older.group(1)}" if older else text


def _plain(uri: str) -> str:
    """A URI without what senders vary: protocol, ``www.``, case, a slash or hash at its end, a version behind a bar."""
    text = uri.partition("|")[0].strip().lower()
    for start in ("https://", "http://"):
        if text.startswith(start):
            text = text.removeprefix(start)
            break
    return text.removeprefix("www.").rstrip("/#").strip()


_SNOMED, _LOINC, _RXNORM = (URI_OF_OID[f"2.16.840.1.113883.6.{n}"] for n in (96, 1, 88))
_ICD_10, _ICD_9 = "http://hl7.org/fhir/sid/icd-10", "http://hl7.org/fhir/sid/icd-9-cm"
_URI_OF_PLAIN = {_plain(uri): uri for uri in URI_OF_OID.values()}
# Names that stand where a URI or OID belongs: those of HL7 table 0396 and of CDA's codeSystemName.
_URI_OF_NAME = {
    **dict.fromkeys(("loinc", "ln"), _LOINC),
    **dict.fromkeys(("snomed", "snomedct", "snomedclinicalterms", "sct", "sct2", "snomedctus"), _SNOMED),
    **dict.fromkeys(("rxnorm", "rxn"), _RXNORM),
    **dict.fromkeys(("i10c", "icd10cm"), "http://hl7.org/fhir/sid/icd-10-cm"),
    **dict.fromkeys(("i10", "icd10", "icd10who"), _ICD_10),
    **dict.fromkeys(("i9", "i9c", "icd9", "icd9cm", "icd9cmdiagnosis", "i9cdx"), _ICD_9),
    **dict.fromkeys(("actcode", "v3actcode", "hl7actcode"), _THO + "v3-ActCode"),
    **dict.fromkeys(("confidentiality", "confidentialitycode", "v3confidentiality"), _THO + "v3-Confidentiality"),
}
_ICD_10_DUAL, _ICD_10_US = "urn:oid:2.16.840.1.113883.6.3.1", "urn:oid:2.16.840.1.113883.6.3.2"
_ICD = re.compile(r"icd[-_ ]?(10|9)(?![0-9])")


@lru_cache(maxsize=4096)
def compared_scheme(system: str) -> str:
    """The URI under which a coding scheme is *compared*, however a sender spells it; "" when none is given.

    Beyond `scheme_uri`: another protocol or case, a version, an edition of SNOMED CT, and the names (``LOINC``,
    ``SNOMED CT``, ``I10C``) that stand in the place of a URI. What is stored stays as `scheme_uri` has it.
    """
    uri = scheme_uri(system)
    if uri in OID_OF_URI or not uri:
        return uri
    plain = _plain(uri)
    plain = plain.removeprefix("urn:hie:scheme:")
    if is_oid(bare(plain)):
        return scheme_uri(plain)
    known = _URI_OF_PLAIN.get(plain) or _URI_OF_NAME.get(re.sub(r"[^a-z0-9]", "", plain))
    if known is not None:
        return known
    if plain.startswith("hl7.org/fhir/v3/"):
        return f"{_THO}v3-{uri.rstrip('/#').rpartition('/')[2].partition('|')[0]}"
    if plain.startswith("snomed.info/sct/") or plain.startswith("snomed.info/xsct/"):
        return _SNOMED
    return uri


@lru_cache(maxsize=4096)
def kin_scheme(system: str) -> str:
    """As `compared_scheme`, and national forms of ICD as the ICD they come from.

    For what may only close: their codes mean the same down to where a value set looks, but they are not the same system.
    """
    uri = compared_scheme(system)
    if uri in (_ICD_10_DUAL, _ICD_10_US):
        return _ICD_10
    found = _ICD.search(_plain(uri))
    if uri in OID_OF_URI or found is None or "pcs" in uri.lower():
        return uri
    return _ICD_10 if found.group(1) == "10" else _ICD_9


@lru_cache(maxsize=4096)
def spellings(system: str) -> tuple[str, ...]:
    """Every way a coding scheme is written: as given, its URI, its OIDs with and without ``urn:oid:``, the older URI.

    For comparing with what was stored as it came; the one spelling to store is `scheme_uri`.
    """
    uri = compared_scheme(system)
    found = [system, uri]
    for oid in sorted(oid for oid, known in URI_OF_OID.items() if known == uri) or [bare(uri)]:
        if is_oid(oid):
            found += [f"urn:oid:{oid}", oid]
    if uri.startswith(f"{_THO}v3-"):
        found.append(f"http://hl7.org/fhir/v3/{uri.removeprefix(f'{_THO}v3-')}")
    return tuple(dict.fromkeys(found))


def scheme_oid(uri: str) -> str:
    """The bare OID of a coding scheme where it has one, else the URI itself."""
    return OID_OF_URI.get(uri) or bare(uri)


def from_uuid(value: uuid.UUID | str) -> str:
    """The OID ``2.25.n`` of a UUID (ITU-T X.667)."""
    number = value if isinstance(value, uuid.UUID) else uuid.UUID(str(value).removeprefix("urn:uuid:"))
    return f"2.25.{number.int}"


def new() -> str:
    """A fresh OID."""
    return from_uuid(uuid.uuid4())
