"""A CSV file's columns to demographics, by a column map. Pure.

The map goes from a field to a column, or to several (given names, or parts of a date, an identifier
or a street, in order). Fields are named as in FHIR; common spellings are taken too. A map may be left
out where the header itself names the fields.

Source: design.md, Formats, import_patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from hie.standards.demographics import Address, Demographics, HumanName, Identifier, Telecom
from patients.errors import UnusableFile

_FIELDS: dict[str, tuple[str, ...]] = {
    "identifier": ("recid", "id", "uniqueid", "mrn", "patientid", "localid", "recordid"),
    "family": ("surname", "lastname", "familyname", "last", "lname"),
    "given": ("givenname", "firstname", "first", "fname", "forename", "givennames"),
    "middle": ("middlename", "middlenames", "secondname"),
    "prefix": ("title", "nameprefix"),
    "suffix": ("namesuffix",),
    "maidenName": ("maiden", "formername", "previoussurname", "birthname"),
    "name": ("fullname", "nametext"),
    "birthDate": ("dateofbirth", "dob", "birthdate", "birth"),
    "gender": ("sex", "administrativegender"),
    "phone": ("telephone", "phonenumber", "mobile", "homephone", "tel", "telecom"),
    "email": ("emailaddress", "mail"),
    "streetNumber": ("housenumber", "number"),
    "line": ("address", "street", "address1", "addressline", "addressline1", "streetaddress", "addressstreet"),
    "line2": ("address2", "addressline2"),
    "city": ("town", "suburb", "locality", "addresscity"),
    "district": ("county", "addressdistrict"),
    "state": ("region", "province", "addressstate"),
    "postalCode": ("postcode", "zip", "zipcode", "postal", "addresspostalcode"),
    "country": ("addresscountry",),
    "birthPlace": ("placeofbirth",),
    "mothersMaidenName": ("mothersmaiden", "mothermaidenname"),
    "maritalStatus": ("marital",),
    "language": ("preferredlanguage",),
    "occupation": ("profession", "job"),
    "multipleBirth": ("multiplebirthinteger", "multiplebirthboolean", "birthorder", "twin"),
    "deceased": ("deceaseddatetime", "deceaseddate", "dateofdeath", "deathdate"),
    "ssn": ("socsecid", "socialsecuritynumber"),
    "nationalId": ("nationalidentifier", "nationalnumber", "nhsnumber", "medicarenumber"),
}
_GENDERS = {"m": "male", "male": "male", "f": "female", "female": "female", "w": "female", "o": "other", "x": "other",
            "other": "other", "u": "unknown", "unknown": "unknown"}  # fmt: skip
_TRUE = {"1", "true", "yes", "y", "t"}
_FALSE = {"", "0", "false", "no", "n", "f"}
SSN = "http://hl7.org/fhir/sid/us-ssn"


def _plain(name: str) -> str:
    return "".join(char for char in name.lower() if char.isalnum())


_ALIASES = {_plain(alias): field for field, aliases in _FIELDS.items() for alias in (field, *aliases)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMap:
    """Which columns make up which field; `identifiers` the columns of further identifiers by system."""

    fields: Mapping[str, tuple[str, ...]]
    identifiers: Mapping[str, tuple[str, ...]]


def column_map(given: Mapping[str, Any] | None, header: Sequence[str]) -> ColumnMap:
    """A column map as written by the user, checked against the header; without one, made from the header.

    Further identifiers: ``"identifiers": {"<system URI>": column}``.

    Raises:
        UnusableFile: an unknown field or column; it is named.
    """
    if given is None:
        chosen: dict[str, tuple[str, ...]] = {}
        for name in header:
            field = _ALIASES.get(_plain(name))
            if field is not None and field not in chosen:
                chosen[field] = (name,)
        if not chosen:
            raise UnusableFile("no column of the header is known: give a column map", element="columns")
        return ColumnMap(fields=chosen, identifiers={})
    fields: dict[str, tuple[str, ...]] = {}
    identifiers: dict[str, tuple[str, ...]] = {}
    for key, value in given.items():
        if key == "identifiers":
            if not isinstance(value, Mapping):
                raise UnusableFile("columns.identifiers must map systems to columns", element="columns.identifiers")
            for system, columns in value.items():
                identifiers[system] = _columns(f"identifiers.{system}", columns, header)
            continue
        field = _ALIASES.get(_plain(key))
        if field is None:
            known = ", ".join([*_FIELDS, "identifiers"])
            raise UnusableFile(f"columns.{key} is not a field; fields are {known}", element=f"columns.{key}")
        fields[field] = fields.get(field, ()) + _columns(key, value, header)
    return ColumnMap(fields=fields, identifiers=identifiers)


def _columns(key: str, value: Any, header: Sequence[str]) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise UnusableFile(f"columns.{key} must be a column or a list of columns", element=f"columns.{key}")
    for name in names:
        if name not in header:
            raise UnusableFile(f"columns.{key}: the file has no column {name}", element=f"columns.{key}")
    return tuple(names)


def identifier_of(row: Mapping[str, str], columns: ColumnMap) -> str:
    """The row's own identifier: "" when it has none."""
    return "-".join(_values(row, columns, "identifier"))


def _values(row: Mapping[str, str], columns: ColumnMap, field: str) -> list[str]:
    return [value for name in columns.fields.get(field, ()) if (value := _value(row, name))]


def _value(row: Mapping[str, str], name: str) -> str:
    value = (row.get(name) or "").strip()
    return "" if value.lower() in ("null", "na", "n/a", "none") else value


def _date(row: Mapping[str, str], columns: ColumnMap, field: str) -> str:
    """A date of one column, or of parts in their order: what follows a part that is missing has no place of its own."""
    text = "-".join(takewhile(bool, (_value(row, name) for name in columns.fields.get(field, ()))))
    if len(text) == 8 and text.isdigit():
        return f"{text[:4]}-{text[4:6]}-{text[6:]}"
    parts = text.split("-")
    if len(parts) == 3 and len(parts[0]) == 4 and all(part.isdigit() for part in parts):
        return f"{parts[0]}-{parts[1]:0>2}-{parts[2]:0>2}"
    return text


def demographics_of(row: Mapping[str, str], columns: ColumnMap) -> Demographics:
    """One row as demographics. Values are kept as written; an impossible date stays (a typing error is evidence)."""

    def text(field: str) -> str:
        return " ".join(_values(row, columns, field))

    names: list[HumanName] = []
    given = (*_values(row, columns, "given"), *_values(row, columns, "middle"))
    if given or text("family"):
        names.append(
            HumanName(
                family=text("family"), given=given, prefix=tuple(_values(row, columns, "prefix")),
                suffix=tuple(_values(row, columns, "suffix")),
            )
        )  # fmt: skip
    elif text("name"):
        names.append(HumanName(text=text("name")))
    if text("maidenName"):
        names.append(HumanName(use="maiden", family=text("maidenName"), given=given))
    line = " ".join([*_values(row, columns, "streetNumber"), *_values(row, columns, "line")])
    lines = tuple(part for part in (line, text("line2")) if part)
    address = Address(
        lines=lines, city=text("city"), district=text("district"), state=text("state"),
        postal_code=text("postalCode"), country=text("country"),
    )  # fmt: skip
    telecoms = [Telecom(value=value) for value in _values(row, columns, "phone")]
    telecoms += [Telecom(value=value, system="email") for value in _values(row, columns, "email")]
    identifiers = [Identifier(system=SSN, value=value, type="SS") for value in _values(row, columns, "ssn")]
    national = columns.fields.get("nationalId", ())
    identifiers += [
        Identifier(system=f"urn:hie:national-id:{_plain(name)}", value=value, type="NI")
        for name in national
        if (value := (row.get(name) or "").strip())
    ]
    for system, parts in columns.identifiers.items():
        value = "".join((row.get(name) or "").strip() for name in parts)
        if value:
            identifiers.append(Identifier(system=system, value=value))
    birth_place = text("birthPlace")
    return Demographics(
        names=tuple(names),
        birth_date=_date(row, columns, "birthDate"),
        gender=_GENDERS.get(text("gender").lower(), ""),
        addresses=(address,) if address != Address() else (),
        telecoms=tuple(telecoms),
        identifiers=tuple(identifiers),
        mothers_maiden_name=text("mothersMaidenName"),
        multiple_birth=_multiple(text("multipleBirth")),
        deceased=_deceased(text("deceased")),
        languages=tuple(_values(row, columns, "language")),
        marital_status=text("maritalStatus"),
        birth_place=Address(city=birth_place) if birth_place else None,
        occupation=text("occupation"),
    )


def _multiple(text: str) -> bool | int | None:
    lowered = text.lower()
    if lowered in _FALSE:
        return None if not lowered else False
    return int(lowered) if lowered.isdigit() else True


def _deceased(text: str) -> bool | str | None:
    lowered = text.lower()
    if lowered in _FALSE:
        return None if not lowered else False
    return True if lowered in _TRUE else text
