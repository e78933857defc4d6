"""Authors, authenticators and source patients: XCN, XON, XTN and PID values to and from contained FHIR resources.

Pure. What a value cannot hold (a photograph, a second name) is kept by the caller as it came.

Source: spec/fhir.md 4 "Datatypes"; spec/xds.md 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from documents.metadata import CX, XCN, XON, Author
from hie.standards.demographics import authority_of, system_of
from hie.standards.fhir import JsonObject, dtm_to_fhir, fhir_to_dtm

FURTHER_ORGANIZATION = "urn:hie:fhir:further-organization"
AUTHOR_TEXT = "urn:hie:fhir:text"


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


# --- decoding ---------------------------------------------------------------------------------------------------------


class Resolver:
    """Finds the resource of a reference: contained, or in the Bundle that is being read."""

    def __init__(self, contained: Iterable[JsonObject], bundle: Mapping[str, JsonObject] | None = None) -> None:
        self._contained = {f"#{item.get('id')}": item for item in contained}
        self._bundle = bundle or {}

    def find(self, reference: Mapping[str, Any] | None) -> JsonObject | None:
        """The resource referred to, or None when it is neither contained nor in the Bundle."""
        target = _text((reference or {}).get("reference"))
        return self._contained.get(target) or self._bundle.get(target)

    def is_contained(self, reference: Mapping[str, Any]) -> bool:
        """Whether the reference points at a contained resource that is there."""
        return _text(reference.get("reference")) in self._contained


def decode_author(reference: Mapping[str, Any], resolver: Resolver) -> Author:
    """One `author` of a DocumentReference or `source` of a List."""
    resource = resolver.find(reference)
    kind = resource.get("resourceType") if resource else ""
    if resource is None:
        target = _text(reference.get("reference"))
        if target.startswith("Organization/") or reference.get("type") == "Organization":
            return Author(institutions=(_reference_organization(reference),))
        return Author(person=_reference_person(reference))
    if kind == "Organization":
        return Author(institutions=(decode_organization(resource),), telecommunications=_telecoms(resource))
    if kind == "PractitionerRole":
        return _decode_role(resource, resolver)
    person = decode_person(resource)
    return Author(person=person, telecommunications=_telecoms(resource))


def _decode_role(role: JsonObject, resolver: Resolver) -> Author:
    institutions: list[XON] = []
    references = [role.get("organization")] if role.get("organization") else []
    references += [e.get("valueReference") for e in role.get("extension", ()) if e.get("url") == FURTHER_ORGANIZATION]
    for reference in references:
        if isinstance(reference, dict):
            found = resolver.find(reference)
            institutions.append(decode_organization(found) if found else _reference_organization(reference))
    person: XCN | None = None
    telecoms = _telecoms(role)
    held = role.get("practitioner")
    if isinstance(held, dict):
        practitioner = resolver.find(held)
        person = decode_person(practitioner) if practitioner else _reference_person(held)
        telecoms += _telecoms(practitioner) if practitioner else ()
    return Author(
        person=person,
        institutions=tuple(institutions),
        roles=tuple(_coded_text(item) for item in role.get("code", ())),
        specialties=tuple(_coded_text(item) for item in role.get("specialty", ())),
        telecommunications=telecoms,
    )


def _coded_text(concept: Mapping[str, Any]) -> str:
    """A CX-like ``code^^^&oid&ISO`` where there is a code with an OID, else the words."""
    coding = _first(concept.get("coding")) or {}
    code, system = _text(coding.get("code")), _text(coding.get("system"))
    if code and system.startswith("urn:oid:"):
        return f"{code}^^^&{system[8:]}&ISO"
    return _text(concept.get("text")) or _text(coding.get("display")) or code


def decode_person(resource: Mapping[str, Any]) -> XCN:
    """A Practitioner, Patient, RelatedPerson or Device as XCN."""
    identifier = _first(resource.get("identifier")) or {}
    name = _first(resource.get("name")) or _first(resource.get("deviceName")) or {}
    given = [item for item in name.get("given", ()) if isinstance(item, str)]
    degree = _first(resource.get("qualification")) or {}
    return XCN(
        id=_text(identifier.get("value")),
        authority=authority_of(_text(identifier.get("system"))) if identifier.get("value") else "",
        family=_text(name.get("family")) or ("" if given else _text(name.get("text")) or _text(name.get("name"))),
        given=given[0] if given else "",
        second=" ".join(given[1:]),
        prefix=" ".join(item for item in name.get("prefix", ()) if isinstance(item, str)),
        suffix=" ".join(item for item in name.get("suffix", ()) if isinstance(item, str)),
        degree=_text((degree.get("code") or {}).get("text")),
    )


def decode_organization(resource: Mapping[str, Any]) -> XON:
    """An Organization as XON; one without a name is called by its identifier."""
    identifier = _first(resource.get("identifier")) or {}
    value, system = _text(identifier.get("value")), _text(identifier.get("system"))
    if system == "urn:ietf:rfc:3986":
        value, system = authority_of(value), ""
    return XON(name=_text(resource.get("name")) or value, id=value, authority=authority_of(system) if value else "")


def _reference_person(reference: Mapping[str, Any]) -> XCN:
    identifier = reference.get("identifier") or {}
    display = _text(reference.get("display"))
    value = _text(identifier.get("value"))
    if not value and not display:
        return XCN(id=_text(reference.get("reference")))
    return XCN(id=value, authority=authority_of(_text(identifier.get("system"))) if value else "", family=display)


def _reference_organization(reference: Mapping[str, Any]) -> XON:
    identifier = reference.get("identifier") or {}
    value = _text(identifier.get("value"))
    name = _text(reference.get("display")) or value or _text(reference.get("reference"))
    return XON(name=name, id=value, authority=authority_of(_text(identifier.get("system"))) if value else "")


def _telecoms(resource: Mapping[str, Any]) -> tuple[str, ...]:
    found: list[str] = []
    for item in resource.get("telecom", ()):
        value = _text(item.get("value"))
        if not value:
            continue
        if item.get("system") == "email":
            found.append(f"^NET^Internet^{value}")
        else:
            kind = "CP" if item.get("use") == "mobile" else "PH"
            found.append(f"^{'PRN' if item.get('use') == 'home' else 'WPN'}^{kind}" + "^" * 9 + value)
    return tuple(found)


def decode_source_patient(patient: Mapping[str, Any]) -> tuple[CX | None, tuple[str, ...]]:
    """sourcePatientId and sourcePatientInfo of a contained Patient."""
    cx: CX | None = None
    for identifier in patient.get("identifier", ()):
        if identifier.get("value") and identifier.get("system"):
            cx = CX(value=identifier["value"], authority=authority_of(identifier["system"]))
            break
    info: list[str] = []
    name = _first(patient.get("name")) or {}
    if name.get("family") or name.get("given"):
        given = list(name.get("given", ()))
        parts = [
            _text(name.get("family")),
            given[0] if given else "",
            " ".join(str(item) for item in given[1:]),
            " ".join(name.get("suffix", ())),
            " ".join(name.get("prefix", ())),
        ]
        info.append("PID-5|" + "^".join(_plain(part) for part in parts).rstrip("^"))
    if patient.get("birthDate"):
        info.append("PID-7|" + patient["birthDate"].replace("-", ""))
    if patient.get("gender"):
        info.append("PID-8|" + {"male": "M", "female": "F", "other": "O"}.get(patient["gender"], "U"))
    for address in patient.get("address", ()):
        parts = [
            " ".join(address.get("line", ())),
            "",
            _text(address.get("city")),
            _text(address.get("state")),
            _text(address.get("postalCode")),
            _text(address.get("country")),
        ]
        if any(parts):
            info.append("PID-11|" + "^".join(_plain(part) for part in parts).rstrip("^"))
    return cx, tuple(info)


def _plain(text: Any) -> str:
    """Text without the separators of HL7 v2."""
    return "".join(" " if c in "^~|&\\" else c for c in _text(text))


# --- encoding ---------------------------------------------------------------------------------------------------------


class Contained:
    """Collects contained resources and hands out their references."""

    def __init__(self) -> None:
        self.resources: list[JsonObject] = []

    def add(self, resource: JsonObject, letter: str) -> JsonObject:
        """The reference to a resource that is now contained; the same resource is kept once."""
        for held in self.resources:
            if {k: v for k, v in held.items() if k != "id"} == resource:
                return {"reference": f"#{held['id']}"}
        key = f"{letter}{len(self.resources) + 1}"
        kind = resource["resourceType"]
        rest = {k: v for k, v in resource.items() if k != "resourceType"}
        self.resources.append({"resourceType": kind, "id": key, **rest})
        return {"reference": f"#{key}"}


def encode_author(author: Author, contained: Contained) -> JsonObject:
    """An author as reference to what is now contained."""
    organizations = [contained.add(encode_organization(item), "o") for item in author.institutions]
    only_organization = author.person is None and len(organizations) == 1
    if only_organization and not (author.roles or author.specialties or author.telecommunications):
        return organizations[0]
    telecom = [encode_telecom(item) for item in author.telecommunications]
    if author.person is not None and not (organizations or author.roles or author.specialties):
        person = encode_person(author.person)
        return contained.add(person | ({"telecom": telecom} if telecom else {}), "p")
    role: JsonObject = {"resourceType": "PractitionerRole"}
    if len(organizations) > 1:
        role["extension"] = [{"url": FURTHER_ORGANIZATION, "valueReference": item} for item in organizations[1:]]
    if author.person is not None:
        role["practitioner"] = contained.add(encode_person(author.person), "p")
    if organizations:
        role["organization"] = organizations[0]
    if author.roles:
        role["code"] = [_concept(item) for item in author.roles]
    if author.specialties:
        role["specialty"] = [_concept(item) for item in author.specialties]
    if telecom:
        role["telecom"] = telecom
    return contained.add(role, "r")


def _concept(text: str) -> JsonObject:
    parts = text.split("^")
    if len(parts) >= 4 and parts[3].startswith("&"):
        return {"coding": [{"system": system_of(parts[3].split("&")[1]), "code": parts[0]}]}
    return {"text": text}


def encode_person(person: XCN) -> JsonObject:
    """XCN as Practitioner."""
    resource: JsonObject = {"resourceType": "Practitioner"}
    if person.id:
        identifier = {"system": system_of(person.authority)} if person.authority else {}
        resource["identifier"] = [identifier | {"value": person.id}]
    name: JsonObject = {}
    if person.family:
        name["family"] = person.family
    given = [part for part in (person.given, *person.second.split(" ")) if part]
    if given:
        name["given"] = given
    if person.prefix:
        name["prefix"] = [person.prefix]
    if person.suffix:
        name["suffix"] = [person.suffix]
    if name:
        resource["name"] = [name]
    if person.degree:
        resource["qualification"] = [{"code": {"text": person.degree}}]
    return resource


def encode_organization(organization: XON) -> JsonObject:
    """XON as Organization."""
    resource: JsonObject = {"resourceType": "Organization"}
    if organization.id:
        if organization.authority:
            resource["identifier"] = [{"system": system_of(organization.authority), "value": organization.id}]
        elif organization.id[:1].isdigit() and "." in organization.id:
            resource["identifier"] = [{"system": "urn:ietf:rfc:3986", "value": f"urn:oid:{organization.id}"}]
        else:
            resource["identifier"] = [{"value": organization.id}]
    resource["name"] = organization.name or organization.id or "unknown"
    return resource


def encode_telecom(text: str) -> JsonObject:
    """XTN as ContactPoint."""
    parts = text.split("^") + [""] * 12
    if parts[2] == "Internet" or "@" in parts[3]:
        return {"system": "email", "value": parts[3] or text}
    number = parts[11] or "".join(part for part in parts[4:8] if part) or parts[0] or text
    use = "mobile" if parts[2] == "CP" else "home" if parts[1] == "PRN" else "work"
    return {"system": "phone", "value": number, "use": use}


def encode_source_patient(cx: CX | None, info: Iterable[str]) -> JsonObject | None:
    """The contained Patient of sourcePatientId and sourcePatientInfo, None when both are absent."""
    patient: JsonObject = {"resourceType": "Patient"}
    if cx is not None:
        patient["identifier"] = [{"system": system_of(cx.authority), "value": cx.value}]
    for item in info:
        field, _, value = item.partition("|")
        parts = value.split("~")[0].split("^") + [""] * 6
        if field == "PID-5":
            given = [part for part in (parts[1], *parts[2].split(" ")) if part]
            name = {
                "family": parts[0],
                "given": given,
                "suffix": [parts[3]] if parts[3] else [],
                "prefix": [parts[4]] if parts[4] else [],
            }
            kept = {k: v for k, v in name.items() if v}
            if kept:
                patient["name"] = [kept]
        elif field == "PID-7":
            try:
                patient["birthDate"] = dtm_to_fhir(value[:8])
                fhir_to_dtm(patient["birthDate"])
            except ValueError:
                patient.pop("birthDate", None)
        elif field == "PID-8":
            patient["gender"] = {"M": "male", "F": "female", "O": "other"}.get(value, "unknown")
        elif field == "PID-11":
            address = {
                "line": [parts[0]] if parts[0] else [],
                "city": parts[2],
                "state": parts[3],
                "postalCode": parts[4],
                "country": parts[5],
            }
            kept = {k: v for k, v in address.items() if v}
            if kept:
                patient.setdefault("address", []).append(kept)
    return patient if len(patient) > 1 else None
