"""A FHIR R4 Patient to and from `Demographics`, losing nothing.

Elements without an attribute of their own are kept as JSON in `extra` of the value
they stood in, and come back in `to_fhir`. Types and required codes are checked here;
profile rules are the face's.

Source: HL7 FHIR R4 Patient, HumanName, Address, ContactPoint, Identifier;
extensions patient-mothersMaidenName, patient-birthPlace and patient-unknownIdentity; FR Core fr-core-identity-reliability.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, cast

from hie.standards.demographics import Address, Demographics, HumanName, Identifier, Telecom
from hie.standards.errors import MalformedContent
from hie.standards.reliability import IDENTITY_KNOWN, IDENTITY_UNKNOWN

MOTHERS_MAIDEN_NAME = "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName"
BIRTH_PLACE = "http://hl7.org/fhir/StructureDefinition/patient-birthPlace"
UNKNOWN_IDENTITY = "http://hl7.org/fhir/StructureDefinition/patient-unknownIdentity"
UNKNOWN_IDENTITY_CODES = "http://hl7.org/fhir/patient-unknownIdentity"
IDENTITY_RELIABILITY = "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-identity-reliability"
V2_0445 = "http://terminology.hl7.org/CodeSystem/v2-0445"
ORIGINAL_TEXT = "http://hl7.org/fhir/StructureDefinition/originalText"
V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
MARITAL_STATUS = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"

# What another protocol sent as a date may be none (31 February): kept as evidence, never written as a FHIR date.
_DATE = re.compile(r"[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?\Z")
_MISTYPED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_DATE_TIME = re.compile(
    r"[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01])"
    r"(T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9]))?)?)?\Z"
)
_GENDERS = ("male", "female", "other", "unknown")
_NAME_USES = ("usual", "official", "temp", "nickname", "anonymous", "old", "maiden")
_ADDRESS_USES = ("home", "work", "temp", "old", "billing")
_ADDRESS_TYPES = ("postal", "physical", "both")
_TELECOM_SYSTEMS = ("phone", "fax", "email", "pager", "url", "sms", "other")
_TELECOM_USES = ("home", "work", "temp", "old", "mobile")
_IDENTIFIER_USES = ("usual", "official", "temp", "secondary", "old")


def _bad(element: str, expected: str) -> MalformedContent:
    return MalformedContent(f"{element} must be {expected}", element=element)


def _object(value: Any, element: str) -> Mapping[str, Any]:
    if type(value) is not dict and not isinstance(value, Mapping):
        raise _bad(element, "an object")
    return cast("Mapping[str, Any]", value)


def _objects(data: Mapping[str, Any], key: str, element: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    if key not in data:
        return
    items = data[key]
    if not isinstance(items, list):
        raise _bad(f"{element}.{key}", "a list")
    for n, item in enumerate(items):
        where = f"{element}.{key}[{n}]"
        yield _object(item, where), where


def _is_text(value: str) -> bool:
    """JSON can escape NUL and lone surrogates; neither is text that can be stored or sent."""
    if value.isascii():
        return "\x00" not in value
    return not any(char == "\x00" or "\ud800" <= char <= "\udfff" for char in value)


def _checked(value: Any, key: str, element: str, allowed: Sequence[str] = ()) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _bad(f"{element}.{key}", "text")
    if not _is_text(value):
        raise _bad(f"{element}.{key}", "text without NUL or half characters")
    if allowed and value not in allowed:
        raise _bad(f"{element}.{key}", "one of " + ", ".join(allowed))
    return value


def _text(data: Mapping[str, Any], key: str, element: str, allowed: Sequence[str] = ()) -> str:
    return _checked(data.get(key), key, element, allowed)


def _texts(values: Any, key: str, element: str) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise _bad(f"{element}.{key}", "a list of text")
    for value in values:
        # null stands where the text is replaced by an extension (`_given`).
        if value is not None and (not isinstance(value, str) or not _is_text(value)):
            raise _bad(f"{element}.{key}", "a list of text")
    return tuple([value or "" for value in values])


def _period(period: Any, element: str) -> dict[str, Any]:
    """The bounds of a period as attributes, and what else it holds as `extra`."""
    checked = _object(period, f"{element}.period")
    out: dict[str, Any] = {}
    for key in ("start", "end"):
        text = _text(checked, key, f"{element}.period")
        if text and not _DATE_TIME.match(text):
            raise _bad(f"{element}.period.{key}", "a FHIR dateTime")
        out[f"period_{key}"] = text
    if set(checked) - {"start", "end"}:
        out["extra"] = {"period": dict(checked)}
    return out


@dataclass(frozen=True, slots=True)
class _Text:
    """An element that is text, one of the `allowed` codes where there are any; the attribute it becomes."""

    name: str
    allowed: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Texts:
    """An element that is a list of text; the attribute it becomes."""

    name: str


_NAME: dict[str, _Text | _Texts] = {
    "use": _Text("use", _NAME_USES), "text": _Text("text"), "family": _Text("family"), "given": _Texts("given"),
    "prefix": _Texts("prefix"), "suffix": _Texts("suffix"),
}  # fmt: skip
_ADDRESS: dict[str, _Text | _Texts] = {
    "use": _Text("use", _ADDRESS_USES), "type": _Text("type", _ADDRESS_TYPES), "text": _Text("text"),
    "line": _Texts("lines"), "city": _Text("city"), "district": _Text("district"), "state": _Text("state"),
    "postalCode": _Text("postal_code"), "country": _Text("country"),
}  # fmt: skip
_TELECOM = {"system": _Text("system", _TELECOM_SYSTEMS), "value": _Text("value"), "use": _Text("use", _TELECOM_USES)}
_IDENTIFIER = {"system": _Text("system"), "value": _Text("value"), "use": _Text("use", _IDENTIFIER_USES)}


def _attributes(data: Mapping[str, Any], element: str, known: Mapping[str, _Text | _Texts]) -> dict[str, Any]:
    """The attributes of one complex value: what is `known`, its period, and the rest of it as `extra`."""
    # Each of the millions of values of an import passes here: only what is there is looked at, once.
    out: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    period = None
    for key, value in data.items():
        wanted = known.get(key)
        if wanted is None:
            if key == "period":
                period = value
            else:
                rest[key] = value
        elif type(wanted) is _Text:
            out[wanted.name] = _checked(value, key, element, wanted.allowed)
        else:
            out[wanted.name] = _texts(value, key, element)
    if period is not None:
        bounds = _period(period, element)
        rest |= bounds.pop("extra", {})
        out |= bounds
    out["extra"] = rest
    return out


_PATIENT = frozenset(
    {
        "resourceType", "id", "meta", "active", "name", "telecom", "gender", "birthDate", "deceasedBoolean",
        "deceasedDateTime", "address", "multipleBirthBoolean", "multipleBirthInteger", "identifier",
    }
)  # fmt: skip


def name_from_fhir(data: Mapping[str, Any], element: str = "Patient.name") -> HumanName:
    """One HumanName."""
    return HumanName(**_attributes(data, element, _NAME))


def address_from_fhir(data: Mapping[str, Any], element: str = "Patient.address") -> Address:
    """One Address."""
    return Address(**_attributes(data, element, _ADDRESS))


def telecom_from_fhir(data: Mapping[str, Any], element: str = "Patient.telecom") -> Telecom:
    """One ContactPoint."""
    found = {"system": "", **_attributes(data, element, _TELECOM)}
    rank = found["extra"].pop("rank", None)
    if rank is not None and (not isinstance(rank, int) or isinstance(rank, bool) or rank < 1):
        raise _bad(f"{element}.rank", "a positive integer")
    return Telecom(rank=rank, **found)


def identifier_from_fhir(data: Mapping[str, Any], element: str = "Patient.identifier") -> Identifier:
    """One Identifier; `type` is its code of HL7 table 0203, else the first code it carries."""
    found = {"system": "", "value": "", **_attributes(data, element, _IDENTIFIER)}
    found["value"] = found["value"].strip()
    if data.get("type") is not None:
        concept = _object(data["type"], f"{element}.type")
        codings = [coding for coding, _ in _objects(concept, "coding", f"{element}.type")]
        kind = ""
        for coding in sorted(codings, key=lambda c: c.get("system") != V2_0203):
            kind = kind or _text(coding, "code", f"{element}.type.coding")
        found["type"] = kind
    if isinstance(data.get("assigner"), Mapping):
        found["assigner"] = _text(data["assigner"], "display", f"{element}.assigner")
    return Identifier(**found)


def from_fhir(resource: Mapping[str, Any], *, typing_errors: bool = False) -> Demographics:
    """A Patient resource as demographics; `id` and `meta` are the server's own and left out but for the security labels.

    With `typing_errors` a birth date of the right form that no calendar has (``1980-31-04``) is taken as it is:
    where records are matched a typing error is evidence, and to refuse it would lose the record.

    Raises:
        MalformedContent: `element` names what does not fit the resource.
    """
    data = _object(resource, "Patient")
    if data.get("resourceType") != "Patient":
        raise _bad("Patient.resourceType", "Patient")
    birth_date = _text(data, "birthDate", "Patient")
    if birth_date and not _DATE.match(birth_date) and not (typing_errors and _MISTYPED.match(birth_date)):
        raise _bad("Patient.birthDate", "a FHIR date")
    deceased: bool | str | None = _boolean(data, "deceasedBoolean")
    if data.get("deceasedDateTime") is not None:
        deceased = _text(data, "deceasedDateTime", "Patient")
        if not _DATE_TIME.match(deceased):
            raise _bad("Patient.deceasedDateTime", "a FHIR dateTime")
    multiple: bool | int | None = _boolean(data, "multipleBirthBoolean")
    if data.get("multipleBirthInteger") is not None:
        multiple = data["multipleBirthInteger"]
        if not isinstance(multiple, int) or isinstance(multiple, bool):
            raise _bad("Patient.multipleBirthInteger", "an integer")
    maiden, birth_place = _extensions(data)
    return Demographics(
        names=tuple([name_from_fhir(item, element) for item, element in _objects(data, "name", "Patient")]),
        birth_date=birth_date,
        gender=_text(data, "gender", "Patient", _GENDERS),
        addresses=tuple([address_from_fhir(item, element) for item, element in _objects(data, "address", "Patient")]),
        telecoms=tuple([telecom_from_fhir(item, element) for item, element in _objects(data, "telecom", "Patient")]),
        identifiers=tuple(
            [identifier_from_fhir(item, element) for item, element in _objects(data, "identifier", "Patient")]
        ),
        mothers_maiden_name=maiden,
        multiple_birth=multiple,
        deceased=deceased,
        languages=_languages(data),
        marital_status=_marital_status(data),
        birth_place=birth_place,
        occupation=_occupation(data),
        active=_boolean(data, "active"),
        reliability=_reliability(data),
        protected=_protected(data),
        extra={key: value for key, value in data.items() if key not in _PATIENT},
    )


def _protected(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The codes of `meta.security`, whatever their systems: somebody meant to protect the person."""
    meta = data.get("meta")
    if meta is None:
        return ()
    codes = [
        _text(item, "code", element)
        for item, element in _objects(_object(meta, "Patient.meta"), "security", "Patient.meta")
    ]
    return tuple(dict.fromkeys(code for code in codes if code))


def _boolean(data: Mapping[str, Any], key: str) -> bool | None:
    value = data.get(key)
    if value is not None and not isinstance(value, bool):
        raise _bad(f"Patient.{key}", "true or false")
    return value


def _extensions(data: Mapping[str, Any]) -> tuple[str, Address | None]:
    maiden, birth_place = "", None
    for extension, element in _objects(data, "extension", "Patient"):
        if extension.get("url") == MOTHERS_MAIDEN_NAME:
            maiden = _text(extension, "valueString", element)
        elif extension.get("url") == BIRTH_PLACE and extension.get("valueAddress") is not None:
            birth_place = address_from_fhir(
                _object(extension["valueAddress"], f"{element}.valueAddress"), f"{element}.valueAddress"
            )
    return maiden, birth_place


def _reliability(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The codes of patient-unknownIdentity (a CodeableConcept) and of fr-core-identity-reliability (parts of it)."""
    codings: list[tuple[Mapping[str, Any], str]] = []
    for extension, element in _objects(data, "extension", "Patient"):
        if extension.get("url") == UNKNOWN_IDENTITY and extension.get("valueCodeableConcept") is not None:
            concept = _object(extension["valueCodeableConcept"], f"{element}.valueCodeableConcept")
            codings += _objects(concept, "coding", f"{element}.valueCodeableConcept")
        elif str(extension.get("url")).partition("://")[2] == IDENTITY_RELIABILITY.partition("://")[2]:
            codings += [
                (_object(part["valueCoding"], f"{where}.valueCoding"), f"{where}.valueCoding")
                for part, where in _objects(extension, "extension", element)
                if part.get("url") in ("identityStatus", "comment") and part.get("valueCoding") is not None
            ]
    return tuple(dict.fromkeys(code for coding, where in codings if (code := _text(coding, "code", where))))


def _reliability_extensions(codes: Sequence[str]) -> list[dict[str, Any]]:
    known = [code for code in codes if code in (IDENTITY_KNOWN, IDENTITY_UNKNOWN)]
    rest = [code for code in codes if code not in known]
    out: list[dict[str, Any]] = []
    if known:
        coding = [{"system": UNKNOWN_IDENTITY_CODES, "code": code} for code in known]
        out.append({"url": UNKNOWN_IDENTITY, "valueCodeableConcept": {"coding": coding}})
    if rest:
        parts = [{"url": "identityStatus", "valueCoding": {"system": V2_0445, "code": code}} for code in rest]
        out.append({"url": IDENTITY_RELIABILITY, "extension": parts})
    return out


def _occupation(data: Mapping[str, Any]) -> str:
    """The text of an occupation extension; R4 has none of its own, so the last word of its address tells."""
    for extension, element in _objects(data, "extension", "Patient"):
        if str(extension.get("url")).lower().rsplit("/", 1)[-1].rsplit("-", 1)[-1] != "occupation":
            continue
        if extension.get("valueCodeableConcept") is not None:
            concept = _object(extension["valueCodeableConcept"], f"{element}.valueCodeableConcept")
            return _text(concept, "text", f"{element}.valueCodeableConcept")
        return _text(extension, "valueString", element)
    return ""


def _languages(data: Mapping[str, Any]) -> tuple[str, ...]:
    found: list[tuple[bool, str]] = []
    for item, element in _objects(data, "communication", "Patient"):
        concept = _object(item.get("language", {}), f"{element}.language")
        codes = [_text(coding, "code", where) for coding, where in _objects(concept, "coding", f"{element}.language")]
        found += [(item.get("preferred") is not True, code) for code in codes[:1] if code]
    return tuple(code for _, code in sorted(found, key=lambda pair: pair[0]))


def _marital_status(data: Mapping[str, Any]) -> str:
    if data.get("maritalStatus") is None:
        return ""
    concept = _object(data["maritalStatus"], "Patient.maritalStatus")
    codings = list(_objects(concept, "coding", "Patient.maritalStatus"))
    return _text(codings[0][0], "code", codings[0][1]) if codings else ""


def _put(target: dict[str, Any], **values: Any) -> dict[str, Any]:
    for key, value in values.items():
        if value is not None and value != "" and value != () and value != []:
            target[key] = value
    return target


def _with_period(out: dict[str, Any], start: str, end: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    if start or end:
        out["period"] = _put({}, start=start, end=end)
    out.update(extra)
    return out


def _list(values: Sequence[str]) -> list[str | None]:
    return [value or None for value in values]


def name_to_fhir(name: HumanName) -> dict[str, Any]:
    """One HumanName."""
    out = _put(
        {}, use=name.use, text=name.text, family=name.family, given=_list(name.given),
        prefix=_list(name.prefix), suffix=_list(name.suffix),
    )  # fmt: skip
    return _with_period(out, name.period_start, name.period_end, name.extra)


def address_to_fhir(address: Address) -> dict[str, Any]:
    """One Address."""
    out = _put(
        {}, use=address.use, type=address.type, text=address.text, line=_list(address.lines), city=address.city,
        district=address.district, state=address.state, postalCode=address.postal_code, country=address.country,
    )  # fmt: skip
    return _with_period(out, address.period_start, address.period_end, address.extra)


def telecom_to_fhir(telecom: Telecom) -> dict[str, Any]:
    """One ContactPoint."""
    out = _put({}, system=telecom.system, value=telecom.value, use=telecom.use, rank=telecom.rank)
    return _with_period(out, telecom.period_start, telecom.period_end, telecom.extra)


def identifier_to_fhir(identifier: Identifier) -> dict[str, Any]:
    """One Identifier."""
    out = _put({}, use=identifier.use, system=identifier.system, value=identifier.value)
    if identifier.type and "type" not in identifier.extra:
        out["type"] = {"coding": [{"system": V2_0203, "code": identifier.type}]}
    if identifier.assigner and "assigner" not in identifier.extra:
        out["assigner"] = {"display": identifier.assigner}
    return _with_period(out, identifier.period_start, identifier.period_end, identifier.extra)


def to_fhir(demographics: Demographics) -> dict[str, Any]:
    """A Patient resource without `id` and `meta`, which are the face's. Inverse of `from_fhir`."""
    value = demographics
    out: dict[str, Any] = {"resourceType": "Patient"}
    extra = dict(value.extra)
    extensions = list(extra.pop("extension", []))
    urls = {extension.get("url") for extension in extensions}
    if value.mothers_maiden_name and MOTHERS_MAIDEN_NAME not in urls:
        extensions.append({"url": MOTHERS_MAIDEN_NAME, "valueString": value.mothers_maiden_name})
    if value.birth_place is not None and BIRTH_PLACE not in urls:
        extensions.append({"url": BIRTH_PLACE, "valueAddress": address_to_fhir(value.birth_place)})
    if value.reliability and _reliability({"extension": extensions}) != value.reliability:
        extensions += _reliability_extensions(value.reliability)
    _put(
        out,
        extension=extensions,
        identifier=[identifier_to_fhir(item) for item in value.identifiers],
        active=value.active,
        name=[name_to_fhir(item) for item in value.names],
        telecom=[telecom_to_fhir(item) for item in value.telecoms],
        gender=value.gender,
        birthDate=value.birth_date if _is_day(value.birth_date) else "",
    )
    if value.birth_date and "birthDate" not in out:
        original = {"extension": [{"url": ORIGINAL_TEXT, "valueString": value.birth_date}]}
        out.setdefault("_birthDate", original)
    if value.deceased is not None:
        out["deceasedBoolean" if isinstance(value.deceased, bool) else "deceasedDateTime"] = value.deceased
    _put(out, address=[address_to_fhir(item) for item in value.addresses])
    if value.marital_status and "maritalStatus" not in extra:
        out["maritalStatus"] = {"coding": [{"system": MARITAL_STATUS, "code": value.marital_status}]}
    if value.multiple_birth is not None:
        key = "multipleBirthBoolean" if isinstance(value.multiple_birth, bool) else "multipleBirthInteger"
        out[key] = value.multiple_birth
    if value.languages and "communication" not in extra:
        out["communication"] = [
            {"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": code}]}} for code in value.languages
        ]
    out.update(extra)
    return out


def _is_day(text: str) -> bool:
    """Whether a stored birth date is a date at all; of a full one also whether the calendar has that day."""
    if not _DATE.match(text) or text.startswith("0000"):
        return False
    try:
        return len(text) < 10 or bool(date.fromisoformat(text))
    except ValueError:
        return False
