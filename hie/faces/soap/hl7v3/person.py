"""The patient of a registration to demographics, as sent. Pure; who owns which identifier is decided elsewhere.

What is not there is not said, and stays as it was; ``updateMode="D"`` takes it away. A nullFlavor says nothing.

Source: HL7 V3 NE2008, PRPA_MT201301 to 303 (Patient, Person); data types EN, AD, TEL, TS; ITI TF-2 3.44.4.1.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lxml import etree

from hie.faces.soap.hl7v3.names import attribute, boolean, code, each, first, path, tag, text
from hie.faces.soap.hl7v3.problems import Refused
from hie.standards import hl7_time
from hie.standards.demographics import Address, Demographics, HumanName, Telecom

PERSON = "patientPerson"
_GENDER = {"M": "male", "F": "female", "UN": "other", "U": "unknown", "UNK": "unknown"}
_MARITAL = frozenset({"A", "C", "D", "I", "L", "M", "P", "S", "T", "U", "W"})
_NAME_USE = {"L": "official", "C": "official", "P": "nickname", "A": "anonymous", "OR": "official"}
_ADDRESS_USE = {
    "H": "home", "HP": "home", "HV": "home", "WP": "work", "DIR": "work", "PUB": "work", "TMP": "temp", "BAD": "old", "OLD": "old",
}  # fmt: skip
_TELECOM_USE = {"H": "home", "HP": "home", "HV": "home", "WP": "work", "DIR": "work", "PUB": "work", "MC": "mobile", "TMP": "temp"}  # fmt: skip
_TELECOM_SYSTEM = {"tel": "phone", "x-text-fax": "fax", "fax": "fax", "mailto": "email", "http": "url", "https": "url"}
_MOTHERS = frozenset({"MTH", "NMTH", "PRN", "NPRN", "PRNMTH"})
_NOT_SECRET = frozenset({"N", "L", "M", "U"})
_SECRET = frozenset({"R", "V"})
_NO = frozenset({"N", "NO", "0", "F", "FALSE", "NONE"})
_ATTRIBUTES: tuple[tuple[str, str], ...] = (
    (f"{PERSON}/name", "names"),
    (f"{PERSON}/administrativeGenderCode", "gender"),
    (f"{PERSON}/birthTime", "birth_date"),
    (f"{PERSON}/addr", "addresses"),
    (f"{PERSON}/telecom", "telecoms"),
    (f"{PERSON}/deceasedInd", "deceased"),
    (f"{PERSON}/deceasedTime", "deceased"),
    (f"{PERSON}/multipleBirthInd", "multiple_birth"),
    (f"{PERSON}/multipleBirthOrderNumber", "multiple_birth"),
    (f"{PERSON}/maritalStatusCode", "marital_status"),
    (f"{PERSON}/languageCommunication", "languages"),
    (f"{PERSON}/birthPlace", "birth_place"),
    (f"{PERSON}/personalRelationship", "mothers_maiden_name"),
)


def demographics(patient: etree._Element) -> Demographics:
    """What a Patient says of its person, but for identifiers.

    Raises:
        Refused: a date that is none.
    """
    person = first(patient, PERSON)
    if person is None:
        return Demographics(protected=_protected(patient)[0])
    return Demographics(
        names=tuple(name for one in each(person, "name") if (name := _name(one)) is not None),
        birth_date=_date(person, "birthTime"),
        gender=_gender(person),
        addresses=tuple(found for one in each(person, "addr") if (found := _address(one)) is not None),
        telecoms=_telecoms(person),
        mothers_maiden_name=_maiden_name(person),
        multiple_birth=_multiple_birth(person),
        deceased=_deceased(person),
        languages=_languages(person),
        marital_status=_marital_status(person),
        birth_place=_birth_place(person),
        protected=_protected(patient)[0],
    )


def deleted(patient: etree._Element) -> frozenset[str]:
    """The attributes of `Demographics` that the message takes away, as `feed.Revision` names them."""
    gone = {
        name for names, name in _ATTRIBUTES for one in patient.iterfind(path(names)) if one.get("updateMode") == "D"
    }
    return frozenset(gone | _protected(patient)[1])


def _protected(patient: etree._Element) -> tuple[tuple[str, ...], set[str]]:
    """How secret the record is, and which of it is taken back: a code that is there and says no does that."""
    kept = {one for item in each(patient, "confidentialityCode") if (one := (item.get("code") or "").strip().upper())}
    important = code(patient, "veryImportantPersonCode").upper()
    vip = important not in ("", *_NO)
    found = tuple(sorted((kept & _SECRET) | ({"VIP"} if vip else set())))
    withdrawn = {"protected:VIP"} if important and not vip else set()
    if kept & _NOT_SECRET and not kept & _SECRET:
        withdrawn |= {f"protected:{one}" for one in _SECRET}
    return found, withdrawn


def _name(element: etree._Element) -> HumanName | None:
    family = [(text(one), one.get("qualifier") or "") for one in each(element, "family") if text(one)]
    given = tuple(word for one in each(element, "given") for word in text(one).split())
    whole = _bare(element)
    if not family and not given and not whole:
        return None
    uses = (element.get("use") or "").split()
    birth_name = bool(family) and all("BR" in qualifier.split() for _, qualifier in family)
    start, end = _period(first(element, "validTime"))
    return HumanName(
        family=" ".join(one for one, _ in family),
        given=given,
        use="maiden" if birth_name else next((_NAME_USE[use] for use in uses if use in _NAME_USE), ""),
        text=whole,
        prefix=_texts(element, "prefix"),
        suffix=_texts(element, "suffix"),
        period_start=start,
        period_end=end,
    )


def _bare(element: etree._Element) -> str:
    """The text of an element that has no parts."""
    return "" if any(isinstance(child.tag, str) for child in element) else text(element)


def _texts(element: etree._Element, names: str) -> tuple[str, ...]:
    return tuple(found for one in each(element, names) if (found := text(one)))


def _period(interval: etree._Element | None) -> tuple[str, str]:
    low, high = (hl7_time.date(attribute(interval, end, "value")) or "" for end in ("low", "high"))
    return low, high


def _date(person: etree._Element, name: str) -> str:
    value = attribute(person, name, "value")
    found = hl7_time.date(value) if value else ""
    if found is None:
        raise Refused(f"{name} is not a date", code="SYN102", location=f"{PERSON}/{name}")
    return found


def _gender(person: etree._Element) -> str:
    """Administrative gender is open to local codes: what is not known is ``unknown``, not an error."""
    found = code(person, "administrativeGenderCode").upper()
    return _GENDER.get(found, "unknown") if found else ""


def _marital_status(person: etree._Element) -> str:
    found = code(person, "maritalStatusCode").upper()
    return found if found in _MARITAL else ""


def _address(element: etree._Element) -> Address | None:
    lines = list(_texts(element, "streetAddressLine"))
    parts = (*_texts(element, "houseNumber"), *_texts(element, "direction"), *_texts(element, "streetName"))
    if parts and not lines:
        lines.append(" ".join(parts))
    lines += [*_texts(element, "unitID"), *_texts(element, "additionalLocator")]
    uses = (element.get("use") or "").split()
    start, end = _period(first(element, "useablePeriod"))
    address = Address(
        lines=tuple(lines),
        city=text(first(element, "city")),
        district=text(first(element, "county")),
        state=text(first(element, "state")),
        postal_code=text(first(element, "postalCode")),
        country=text(first(element, "country")),
        use=next((_ADDRESS_USE[use] for use in uses if use in _ADDRESS_USE), ""),
        type="postal" if "PST" in uses else "",
        text=_bare(element),
        period_start=start,
        period_end=end,
    )
    said = address.lines or address.city or address.postal_code or address.state or address.text
    return address if said else None


def _telecoms(person: etree._Element) -> tuple[Telecom, ...]:
    found: dict[tuple[str, str], Telecom] = {}
    for one in each(person, "telecom"):
        scheme, colon, rest = (one.get("value") or "").strip().partition(":")
        if not colon:
            scheme, rest = "mailto" if "@" in scheme else "tel", scheme
        system = _TELECOM_SYSTEM.get(scheme.lower(), "other")
        value = f"{scheme}:{rest}" if system in ("url", "other") else rest.strip()
        uses = (one.get("use") or "").split()
        if "PG" in uses and system == "phone":
            system = "pager"
        if not rest.strip() or (system in ("phone", "fax", "pager") and not any(c.isdigit() for c in value)):
            continue
        # Mobile says more than where it rings.
        use = "mobile" if "MC" in uses else next((_TELECOM_USE[use] for use in uses if use in _TELECOM_USE), "")
        found.setdefault((system, value), Telecom(value=value, system=system, use=use))
    return tuple(found.values())


def _maiden_name(person: etree._Element) -> str:
    """The family name of the mother: the one of her birth, where she has several."""
    for relationship in each(person, "personalRelationship"):
        if code(relationship, "code").upper() in _MOTHERS:
            names = [name for one in _holders(relationship) for name in each(one, "name")]
            family = [one for name in names for one in each(name, "family") if text(one)]
            family.sort(key=lambda one: "BR" not in (one.get("qualifier") or "").split())
            if family:
                return text(family[0])
    return ""


def _holders(relationship: etree._Element) -> Iterator[etree._Element]:
    for child in relationship:
        if child.tag in (tag("relationshipHolder1"), tag("relationshipHolder2"), tag("relationshipHolder")):
            yield child


def _multiple_birth(person: etree._Element) -> bool | int | None:
    order = attribute(person, "multipleBirthOrderNumber", "value")
    said = boolean(person, "multipleBirthInd")
    if said is not False and order.isascii() and order.isdigit() and 0 < int(order[:3]) < 20:
        return int(order)
    return said


def _deceased(person: etree._Element) -> bool | str | None:
    said = boolean(person, "deceasedInd")
    died = _date(person, "deceasedTime")
    return died if died and said is not False else said


def _languages(person: etree._Element) -> tuple[str, ...]:
    spoken = sorted(
        each(person, "languageCommunication"), key=lambda one: boolean(one, "preferenceInd") is not True
    )  # a stable sort: the preferred one first, else as sent
    codes = (code(one, "languageCode") for one in spoken)
    return tuple(dict.fromkeys(one.lower() for one in codes if re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", one)))


def _birth_place(person: etree._Element) -> Address | None:
    place = first(person, "birthPlace")
    address = first(place, "addr")
    found = _address(address) if address is not None else None
    if found is not None:
        return found
    name = text(first(place, "birthplace/name"))
    return Address(text=name) if name else None
