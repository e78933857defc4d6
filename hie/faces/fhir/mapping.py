"""What DocumentReference and List share: coded values, identifiers, and keeping what has no attribute of its own.

Keeping: a resource is decoded to values, the values encoded again, and every element whose encoding
differs from what came is kept beside them in ``extra["fhir"]``, with a digest of the encoding it
replaces. So an answer carries the submitted element as long as its attribute has not changed, and
the new attribute once it has.

Source: spec/fhir.md 4 "Datatypes": round trips must not lose.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from documents.metadata import CodedValue
from hie.standards.fhir import JsonObject, dumps

RFC3986 = "urn:ietf:rfc:3986"
MHD = "https://profiles.ihe.net/ITI/MHD"
MHD_STRUCTURE = f"{MHD}/StructureDefinition"
IDENTIFIER_TYPES = f"{MHD}/CodeSystem/IHE.MHD.MHDIdentifierType"
LIST_TYPES = f"{MHD}/CodeSystem/MHDlistTypes"
HOME_COMMUNITY_EXTENSION = f"{MHD_STRUCTURE}/ihe-HomeCommunityId"
PRECISION = "urn:hie:fhir:dtm"
_OID = re.compile(r"^[0-2](\.(0|[1-9]\d*))+$", re.ASCII)

SYSTEM_BY_OID: Mapping[str, str] = {
    "2.16.840.1.113883.6.1": "http://loinc.org",
    "2.16.840.1.113883.6.96": "http://snomed.info/sct",
    "2.16.840.1.113883.6.8": "http://unitsofmeasure.org",
    "2.16.840.1.113883.6.90": "http://hl7.org/fhir/sid/icd-10-cm",
    "2.16.840.1.113883.6.3": "http://hl7.org/fhir/sid/icd-10",
    "2.16.840.1.113883.6.103": "http://hl7.org/fhir/sid/icd-9-cm",
    "2.16.840.1.113883.6.12": "http://www.ama-assn.org/go/cpt",
    "2.16.840.1.113883.6.88": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "2.16.840.1.113883.6.69": "http://hl7.org/fhir/sid/ndc",
    "2.16.840.1.113883.12.292": "http://hl7.org/fhir/sid/cvx",
    "2.16.840.1.113883.5.25": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
    "2.16.840.1.113883.5.4": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
    "2.16.840.1.113883.5.8": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
    "1.3.6.1.4.1.19376.1.2.3": "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
    "1.2.840.10008.2.16.4": "http://dicom.nema.org/resources/ontology/DCM",
}


def scheme_of(system: str) -> str:
    """A coding system as metadata writes it: the URI where an OID has one of its own."""
    return SYSTEM_BY_OID.get(system[8:], system) if system.startswith("urn:oid:") else system


def decode_code(concept: Any) -> CodedValue | None:
    """The first coding of a CodeableConcept that has a code; None when none has."""
    for coding in concept.get("coding", ()) if isinstance(concept, dict) else ():
        found = decode_coding(coding)
        if found is not None:
            return found
    return None


def decode_coding(coding: Any) -> CodedValue | None:
    """A Coding as code with scheme and display."""
    if not isinstance(coding, dict) or not coding.get("code"):
        return None
    return CodedValue(
        code=coding["code"], scheme=scheme_of(coding.get("system", "")), display=coding.get("display", "")
    )


def encode_coding(value: CodedValue) -> JsonObject:
    """A code as Coding."""
    coding: JsonObject = {}
    if value.scheme:
        # A scheme that is no URI (XDS lets any text stand there) is a URN of ours: Coding.system must be a URI.
        coding["system"] = (
            value.scheme
            if ":" in value.scheme
            else f"urn:oid:{value.scheme}"
            if _OID.match(value.scheme)
            else f"urn:hie:scheme:{value.scheme}"
        )
    coding["code"] = value.code
    if value.display:
        coding["display"] = value.display
    return coding


def encode_code(value: CodedValue) -> JsonObject:
    """A code as CodeableConcept."""
    return {"coding": [encode_coding(value)]}


def typed_identifier(kind: str, value: str) -> JsonObject:
    """An identifier of MHD's types ``entryUUID`` and ``uniqueId``."""
    return {"use": "usual", "type": {"coding": [{"system": IDENTIFIER_TYPES, "code": kind}]}, **uri_identifier(value)}


def uri_identifier(unique_id: str) -> JsonObject:
    """A uniqueId as Identifier: an OID as ``urn:oid:``, ``OID^extension`` in the OID's own system."""
    root, caret, extension = unique_id.partition("^")
    if caret and _OID.match(root):
        return {"system": f"urn:oid:{root}", "value": extension}
    if _OID.match(unique_id):
        return {"system": RFC3986, "value": f"urn:oid:{unique_id}"}
    if unique_id.startswith("urn:") or "://" in unique_id:
        system, bar, value = unique_id.partition("|")
        return {"system": system, "value": value} if bar else {"system": RFC3986, "value": unique_id}
    return {"value": unique_id}


def unique_id_of(identifier: Mapping[str, Any]) -> str:
    """The uniqueId that an Identifier stands for; "" when it has no value."""
    return unique_id_from(identifier.get("system", ""), identifier.get("value", ""))


def unique_id_from(system: str, value: str) -> str:
    """The uniqueId of a system and value, the inverse of `uri_identifier`."""
    if not value:
        return ""
    if system in (RFC3986, ""):
        return value[8:] if value.startswith("urn:oid:") else value
    if system.startswith("urn:oid:"):
        return f"{system[8:]}^{value}"
    return f"{system}|{value}"


def further_identifiers(resource: Mapping[str, Any]) -> list[list[str]]:
    """System and value of the identifiers a resource was sent with, those that the metadata holds left out."""
    held = ("entryUUID", "uniqueId")
    return [
        [str(item.get("system", "")), str(item["value"])]
        for item in resource.get("identifier", ())
        if item.get("value") and identifier_kind(item) not in held
    ]


def identifier_kind(identifier: Mapping[str, Any]) -> str:
    """``entryUUID``, ``uniqueId`` or ""."""
    for coding in (identifier.get("type") or {}).get("coding", ()):
        if coding.get("system") == IDENTIFIER_TYPES:
            return str(coding.get("code", ""))
    return ""


def extension_value(resource: Mapping[str, Any], url: str) -> Any:
    """The value of the first extension of this url, whatever its type; None when there is none."""
    for extension in resource.get("extension", ()):
        if isinstance(extension, dict) and extension.get("url") == url:
            return next((value for key, value in extension.items() if key.startswith("value")), None)
    return None


# --- keeping ----------------------------------------------------------------------------------------------------------


def digest(value: Any) -> str:
    """A short digest of a JSON value, the same for equal values."""
    text = json.dumps(value, sort_keys=True, default=str, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _get(resource: Mapping[str, Any], path: str) -> Any:
    value: Any = resource
    for part in path.split("."):
        if isinstance(value, list):
            value = value[0] if value else None
        value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            return None
    return value


def _set(resource: JsonObject, path: str, value: Any, lists: frozenset[str]) -> None:
    *parents, last = path.split(".")
    node: Any = resource
    for name in parents:
        if name in lists:
            node = node.setdefault(name, [{}])[0]
        else:
            node = node.setdefault(name, {})
    if value is None:
        node.pop(last, None)
    else:
        node[last] = value


Group = tuple[str, ...]


def keep(original: JsonObject, encoded: JsonObject, groups: Sequence[Group]) -> dict[str, Any]:
    """What of `original` its encoding would lose, by group of paths that only make sense together."""
    kept: dict[str, Any] = {}
    for group in groups:
        came = {path: found for path in group if (found := _get(original, path)) is not None}
        made = {path: found for path in group if (found := _get(encoded, path)) is not None}
        if digest(came) != digest(made):
            kept[group[0]] = {"of": digest(made), "is": _storable(came)}
    return kept


def extra_of(original: JsonObject, encoded: JsonObject, groups: Sequence[Group]) -> dict[str, Any]:
    """What an object keeps beside its attributes: elements its encoding would lose, identifiers a search may name."""
    kept, identifiers = keep(original, encoded, groups), further_identifiers(original)
    return ({"fhir": kept} if kept else {}) | ({"identifiers": identifiers} if identifiers else {})


def _storable(came: JsonObject) -> JsonObject | str:
    """As plain JSON; as text where numbers would lose digits in it (``72.50``)."""
    text = dumps(came)
    try:
        plain: JsonObject = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text.decode()
    return plain if orjson.dumps(plain) == text else text.decode()


def kept_elements(held: Mapping[str, Any]) -> JsonObject:
    """The elements kept for one group, by path."""
    found: JsonObject | str = held.get("is", {})
    if isinstance(found, str):
        found = json.loads(found, parse_float=Decimal, parse_int=Decimal)
    return found if isinstance(found, dict) else {}


def restore(encoded: JsonObject, kept: Mapping[str, Any], groups: Sequence[Group], lists: frozenset[str]) -> None:
    """Put back what `keep` kept, where the attribute behind it is still the one that came."""
    for group in groups:
        held = kept.get(group[0])
        if not isinstance(held, Mapping):
            continue
        made = {path: found for path in group if (found := _get(encoded, path)) is not None}
        if digest(made) != held.get("of"):
            continue
        elements = kept_elements(held)
        for path in group:
            _set(encoded, path, elements.get(path), lists)
