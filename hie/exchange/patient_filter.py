"""Whether a patient query holds on what one caller may see of a patient.

The index finds candidates over all records; a record that the caller may not see must not
make a patient come up. So every criterion is asked again of the permitted records. Pure.

Source: spec/consent.md 8; spec/fhir.md 1.4, 2.1.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from hie.standards.demographics import (
    DateMatch,
    Demographics,
    Identifier,
    IdentifierMatch,
    PatientQuery,
    StringMatch,
    authority_of,
)
from patients.normalise import fold, search_words

Values = Callable[[Demographics], Iterable[str]]
_DAY = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?")


def holds(query: PatientQuery, records: Sequence[Demographics], identifiers: Iterable[Identifier]) -> bool:
    """Whether every criterion holds on at least one of these records or identifiers, and none of `unlike` does.

    `ids`, `active` and `limit` are not asked.
    """
    known = list(identifiers)
    return (
        all(_all(getattr(query, name), records, values) for name, values in _WORDS.items())
        and all(_telecom(match, records, ()) for match in query.telecom)
        and all(_telecom(match, records, _PHONE) for match in query.phone)
        and all(_telecom(match, records, _EMAIL) for match in query.email)
        and all(any(_identifier(m, i) for m in either for i in known) for either in query.identifiers)
        and all(any(_date(m, r.birth_date) for m in either for r in records) for either in query.birth_dates)
        and (not query.genders or any(r.gender in query.genders for r in records))
        and all(_is_known(name, records, known) is not absent for name, absent in query.missing)
        and not any(holds(one, records, known) for one in query.unlike)
    )


def _is_known(name: str, records: Sequence[Demographics], identifiers: Sequence[Identifier]) -> bool:
    """Whether anything is known of what an attribute of the query asks about."""
    if name == "identifiers":
        return bool(identifiers)
    values = _WORDS.get(name) or _OTHERS[name]
    return any(value for r in records for value in values(r))


def _all(matches: Iterable[StringMatch], records: Sequence[Demographics], values: Values) -> bool:
    return all(any(_string(match, value) for r in records for value in values(r)) for match in matches)


def _string(match: StringMatch, value: str) -> bool:
    if not value:
        return False
    if match.modifier == "exact":
        return value in match.values
    if match.modifier == "contains":
        folded = fold(value)
        return any(fold(wanted) in folded for wanted in match.values)
    words = search_words(value)
    if match.modifier == "equal":
        return any(fold(wanted) in words for wanted in match.values)
    return any(word.startswith(fold(wanted)) for wanted in match.values for word in words)


def _families(record: Demographics) -> Iterable[str]:
    return (name.family for name in record.names)


def _givens(record: Demographics) -> Iterable[str]:
    for name in record.names:
        yield from name.given
        yield " ".join(name.given)


def _names(record: Demographics) -> Iterable[str]:
    yield from _families(record)
    yield from _givens(record)
    for name in record.names:
        yield from (name.text, *name.prefix, *name.suffix)


def _address_parts(record: Demographics) -> Iterable[str]:
    for a in record.addresses:
        yield from (*a.lines, a.city, a.district, a.state, a.postal_code, a.country, a.text)


_PHONE = ("phone", "sms", "fax", "pager")
_EMAIL = ("email",)
_WORDS: Mapping[str, Values] = {
    "family": _families,
    "given": _givens,
    "name": _names,
    "mothers_maiden_name": lambda r: (r.mothers_maiden_name,),
    "address": _address_parts,
    "address_city": lambda r: (a.city for a in r.addresses),
    "address_state": lambda r: (a.state for a in r.addresses),
    "address_country": lambda r: (a.country for a in r.addresses),
    "address_postal_code": lambda r: (a.postal_code for a in r.addresses),
}
"""The string parameters: where in a record each looks."""
_OTHERS: Mapping[str, Values] = {
    "birth_dates": lambda r: (r.birth_date,),
    "genders": lambda r: (r.gender,),
    "telecom": lambda r: _contacts(r, ()),
    "phone": lambda r: _contacts(r, _PHONE),
    "email": lambda r: _contacts(r, _EMAIL),
}


def _contacts(record: Demographics, systems: tuple[str, ...]) -> Iterable[str]:
    return (item.value for item in record.telecoms if not systems or item.system in systems)


def _telecom(match: StringMatch, records: Sequence[Demographics], systems: tuple[str, ...]) -> bool:
    wanted = {*match.values, *map(_contact, match.values)}
    return any(
        value in wanted or _contact(value) in wanted for r in records for value in _contacts(r, systems) if value
    )


def _contact(value: str) -> str:
    """E-mail without case; a number as its last ten digits, however it is written."""
    if "@" in value:
        return value.strip().casefold()
    digits = re.sub(r"\D", "", re.split(r"(?i)x|ext", value)[0])
    return digits[-10:] or value.casefold()


def _identifier(match: IdentifierMatch, identifier: Identifier) -> bool:
    if match.system is not None and authority_of(match.system) != identifier.authority:
        return False
    return match.value in ("", identifier.value)


def _date(match: DateMatch, stored: str) -> bool:
    wanted, held = _days(match.value), _days(stored)
    if wanted is None or held is None:
        return False
    (first, last), (low, high) = wanted, held
    within = first <= low and high <= last
    match match.prefix:
        case "ne":
            return not within
        case "lt":
            return low < first
        case "le":
            return low < first or within
        case "gt":
            return high > last
        case "ge":
            return high > last or within
        case "sa":
            return low > last
        case "eb":
            return high < first
        case "ap":
            return low <= last and high >= first
        case _:
            return within


def _days(text: str) -> tuple[tuple[int, int, int], tuple[int, int, int]] | None:
    found = _DAY.match(text)
    if not found:
        return None
    year, month, day = int(found[1]), int(found[2] or 0), int(found[3] or 0)
    if not month:
        return (year, 1, 1), (year, 12, 31)
    if not day:
        last = calendar.monthrange(year, month)[1] if 1 <= month <= 12 and year else 31
        return (year, month, 1), (year, month, last)
    return (year, month, day), (year, month, day)
