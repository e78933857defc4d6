"""A patient's demographics as a value, in the words of FHIR.

Faces translate FHIR, HL7 v2 and CSV to and from these values; `patients` stores
and matches them. They hold what the sender sent: several names, addresses and
identifiers with their use and period; nothing is cleaned here. What has no
attribute of its own stays, as JSON, in `extra`.

Conventions: codes are bare FHIR codes (``official``, ``female``). Dates are FHIR
date text (``1970``, ``1970-01``, ``1970-01-31``), as sent even where impossible.
An identifier's `system` is a URI (``urn:oid:1.2.3``, ``http://…``); an authority
is the bare OID, or the URI where there is no OID.

Source: HL7 FHIR R4 Patient; IHE ITI PDQm, ITI-104; HL7 v2 PID.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any

from hie.standards.values import quick


def authority_of(system: str) -> str:
    """The bare OID of an ``urn:oid:`` system; any other system unchanged."""
    if system.startswith("urn:oid:"):
        return system[8:]
    return system[8:] if system[:8].lower() == "urn:oid:" else system


def system_of(authority: str) -> str:
    """The URI of an assigning authority: ``urn:oid:`` before a bare OID; a URI unchanged."""
    return f"urn:oid:{authority}" if authority[:1].isdigit() else authority


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class HumanName:
    """One name. `use` is a FHIR name-use (``maiden`` and ``old`` are former names)."""

    family: str = ""
    given: tuple[str, ...] = ()
    use: str = ""
    text: str = ""
    prefix: tuple[str, ...] = ()
    suffix: tuple[str, ...] = ()
    period_start: str = ""
    period_end: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One address; `lines` are the street lines as sent."""

    lines: tuple[str, ...] = ()
    city: str = ""
    district: str = ""
    state: str = ""
    postal_code: str = ""
    country: str = ""
    use: str = ""
    type: str = ""
    text: str = ""
    period_start: str = ""
    period_end: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Telecom:
    """A phone number, e-mail address …; `system` is a FHIR contact-point-system."""

    value: str = ""
    system: str = "phone"
    use: str = ""
    rank: int | None = None
    period_start: str = ""
    period_end: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Identifier:
    """An identifier in the namespace of a system; `type` is a code of HL7 table 0203 (``MR``, ``SS``).

    Senders leave out either: a number of no system, or a system in which the patient has no number.
    """

    system: str = ""
    value: str = ""
    type: str = ""
    use: str = ""
    assigner: str = ""
    period_start: str = ""
    period_end: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def authority(self) -> str:
        """The assigning authority: a bare OID where the system is one."""
        return authority_of(self.system)

    @property
    def key(self) -> str:
        """``system|value``, as FHIR search and the link file write it."""
        return f"{self.system}|{self.value}"


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Demographics:
    """Everything one record says of one patient.

    `deceased` is False, True, or the dateTime text; `multiple_birth` is False, True,
    or the birth order; None means not said. `languages` are BCP 47 codes, the
    preferred one first. `marital_status` and `gender` are FHIR codes. `reliability` is how far the sender vouches for
    it: codes as sent, see `hie.standards.reliability`. `protected` are its security labels as sent, such as ``VIP``
    or ``V``: how secret the record itself is (spec/consent.md 8).
    """

    names: tuple[HumanName, ...] = ()
    birth_date: str = ""
    gender: str = ""
    addresses: tuple[Address, ...] = ()
    telecoms: tuple[Telecom, ...] = ()
    identifiers: tuple[Identifier, ...] = ()
    mothers_maiden_name: str = ""
    multiple_birth: bool | int | None = None
    deceased: bool | str | None = None
    languages: tuple[str, ...] = ()
    marital_status: str = ""
    birth_place: Address | None = None
    occupation: str = ""
    active: bool | None = None
    reliability: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StringMatch:
    """One string parameter: any of `values`; `modifier` is "", ``exact``, ``equal`` or ``contains``.

    "" means: starts with, ignoring case, accents and punctuation; ``equal``: is that text or has that word,
    ignoring the same.
    """

    values: tuple[str, ...]
    modifier: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DateMatch:
    """One date parameter: FHIR prefix (eq ne lt le gt ge sa eb) and date text of any precision."""

    value: str
    prefix: str = "eq"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifierMatch:
    """One token of ``identifier``: `system` None = any system, "" = none; `value` "" = any value."""

    value: str
    system: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientQuery:
    """A PDQm search [ITI-78]. Every element of a tuple must hold; inside one, any value may.

    `identifiers` and `birth_dates` are tuples (and) of tuples (or). `limit` bounds the answer.
    None of `unlike` may hold; of a name in `missing` (an attribute of this class) nothing may be known where it says
    True, something must be where it says False. These two narrow what is shown and find nobody by themselves.
    Without any criterion nobody is meant, or with `anybody` everybody.
    """

    ids: tuple[str, ...] = ()
    family: tuple[StringMatch, ...] = ()
    given: tuple[StringMatch, ...] = ()
    name: tuple[StringMatch, ...] = ()
    identifiers: tuple[tuple[IdentifierMatch, ...], ...] = ()
    birth_dates: tuple[tuple[DateMatch, ...], ...] = ()
    genders: tuple[str, ...] = ()
    telecom: tuple[StringMatch, ...] = ()
    phone: tuple[StringMatch, ...] = ()
    email: tuple[StringMatch, ...] = ()
    address: tuple[StringMatch, ...] = ()
    address_city: tuple[StringMatch, ...] = ()
    address_state: tuple[StringMatch, ...] = ()
    address_country: tuple[StringMatch, ...] = ()
    address_postal_code: tuple[StringMatch, ...] = ()
    mothers_maiden_name: tuple[StringMatch, ...] = ()
    active: bool | None = None
    unlike: tuple[PatientQuery, ...] = ()
    missing: tuple[tuple[str, bool], ...] = ()
    anybody: bool = False
    limit: int = 1000


_NESTED: dict[str, type] = {
    "names": HumanName,
    "addresses": Address,
    "telecoms": Telecom,
    "identifiers": Identifier,
}


_MEMBERS: dict[type, tuple[str, ...]] = {
    kind: tuple(item.name for item in fields(kind)) for kind in (Demographics, *_NESTED.values())
}
_CONTENTS = {kind: attrgetter(*names) for kind, names in _MEMBERS.items()}


def _pack(value: Any) -> dict[str, Any]:
    # Each record that comes or is shown passes here: types are told apart by identity.
    out: dict[str, Any] = {}
    for name, content in zip(_MEMBERS[type(value)], _CONTENTS[type(value)](value), strict=True):
        kind = type(content)
        if kind is str:
            if content:
                out[name] = content
        elif kind is tuple:
            if content:
                out[name] = [item if type(item) is str else _pack(item) for item in content]
        elif content is None:
            continue
        elif kind in _MEMBERS:
            out[name] = _pack(content)
        elif kind is dict or isinstance(content, Mapping):
            if content:
                out[name] = dict(content)
        else:
            out[name] = content
    return out


def to_json(demographics: Demographics) -> dict[str, Any]:
    """The value as JSON data for storage; empty members are left out. `from_json` is its inverse."""
    return _pack(demographics)


def _unpack(kind: type, data: Mapping[str, Any]) -> Any:
    return kind(**{key: tuple(content) if isinstance(content, list) else content for key, content in data.items()})


def from_json(data: Mapping[str, Any]) -> Demographics:
    """Demographics from what `to_json` gave."""
    values: dict[str, Any] = {}
    for key, content in data.items():
        if key in _NESTED:
            values[key] = tuple(_unpack(_NESTED[key], item) for item in content)
        elif key == "birth_place":
            values[key] = _unpack(Address, content)
        else:
            values[key] = tuple(content) if isinstance(content, list) else content
    return Demographics(**values)
