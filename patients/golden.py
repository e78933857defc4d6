"""Survivorship: one demographics out of several records'. Pure; the order of input plays no part.

Field by field the newest record that has the field wins, then the most frequent value, then the
longest. Names, addresses, telecoms and identifiers are collected: the winner's first, then what
the others add. Records removed or replaced by their organization count only where no active one is.

Source: spec/mpi.md section 3, Survive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hie.standards.demographics import (
    Address,
    Demographics,
    HumanName,
    Identifier,
    Telecom,
    authority_of,
    system_of,
    to_json,
)
from patients.demographics import SourceRecordView
from patients.normalise import fold

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """The surviving demographics; `sources` names for each field the source record and the date it came with."""

    demographics: Demographics = field(default_factory=Demographics)
    sources: dict[str, tuple[int, str]] = field(default_factory=dict)


def _name_key(name: HumanName) -> str:
    return fold(" ".join([*name.given, name.family])) or fold(name.text)


def _address_key(address: Address) -> str:
    return fold(" ".join([*address.lines, address.city, address.postal_code])) or fold(address.text)


def _telecom_key(telecom: Telecom) -> str:
    return f"{telecom.system} {''.join(char for char in telecom.value.lower() if char.isalnum() or char in '@+')}"


def _identifier_key(identifier: Identifier) -> str:
    return f"{authority_of(identifier.system)}|{identifier.value}"


def survive(records: Iterable[SourceRecordView]) -> Golden:
    """The golden record of these records only; anchors say nothing."""
    every = [record for record in records if record.demographics != Demographics()]
    usable = [record for record in every if record.active] or every
    ordered = sorted(usable, key=lambda item: (-item.updated_at.timestamp(), item.authority, item.value))
    if not ordered:
        return Golden()
    sources: dict[str, tuple[int, str]] = {}

    def note(name: str, record: SourceRecordView) -> None:
        sources[name] = (record.source_record_id, record.updated_at.isoformat())

    def one(name: str, empty: Any) -> Any:
        values = [(record, getattr(record.demographics, name)) for record in ordered]
        present = [(record, value) for record, value in values if value is not None and value != empty]
        if not present:
            return empty
        if len(present) == 1:
            note(name, present[0][0])
            return present[0][1]
        newest = present[0][0].updated_at
        count = Counter(repr(value) for _, value in present)
        among = [(record, value) for record, value in present if record.updated_at == newest]
        record, value = min(
            among, key=lambda pair: (-count[repr(pair[1])], -len(repr(pair[1])), pair[0].authority, pair[0].value)
        )
        note(name, record)
        return value

    def collect(name: str, key: Callable[[T], str]) -> tuple[T, ...]:
        seen: dict[str, T] = {}
        for record in ordered:
            for item in getattr(record.demographics, name):
                if key(item) and key(item) not in seen:
                    seen[key(item)] = item
                    sources.setdefault(name, (record.source_record_id, record.updated_at.isoformat()))
        return tuple(seen.values())

    own = tuple(Identifier(system=system_of(record.authority), value=record.value) for record in ordered)
    stated = {_identifier_key(item): item for record in reversed(ordered) for item in record.demographics.identifiers}
    local = tuple(stated.get(_identifier_key(item), item) for item in own)
    local_keys = {_identifier_key(item) for item in local}
    # An identifier that another organization's record states under a local authority is that organization's to say.
    others = tuple(item for item in collect("identifiers", _identifier_key) if _identifier_key(item) not in local_keys)
    newest = ordered[0].demographics
    return Golden(
        demographics=Demographics(
            names=collect("names", _name_key),
            birth_date=one("birth_date", ""),
            gender=_gender(ordered, one),
            addresses=collect("addresses", _address_key),
            telecoms=collect("telecoms", _telecom_key),
            identifiers=local + others,
            mothers_maiden_name=one("mothers_maiden_name", ""),
            multiple_birth=one("multiple_birth", None),
            deceased=_deceased(ordered, one),
            languages=one("languages", ()),
            marital_status=one("marital_status", ""),
            birth_place=one("birth_place", None),
            occupation=one("occupation", ""),
            active=any(record.active and record.demographics.active is not False for record in ordered),
            extra={key: value for key, value in newest.extra.items() if key in ("communication", "maritalStatus")},
        ),
        sources=sources,
    )


def _gender(ordered: Sequence[SourceRecordView], one: Callable[[str, Any], Any]) -> str:
    if any(record.demographics.gender not in ("", "unknown") for record in ordered):
        # "unknown" is no statement where another record makes one.
        stated = [record.demographics.gender for record in ordered if record.demographics.gender not in ("", "unknown")]
        found = one("gender", "")
        return found if found != "unknown" else stated[0]
    return str(one("gender", ""))


def _deceased(ordered: Sequence[SourceRecordView], one: Callable[[str, Any], Any]) -> bool | str | None:
    """A date of death outlives a bare statement, and either outlives "not deceased" of an older record."""
    dates = [record.demographics.deceased for record in ordered if isinstance(record.demographics.deceased, str)]
    found: bool | str | None = one("deceased", None)
    return dates[0] if found is True and dates else found


def golden_json(golden: Golden) -> dict[str, Any]:
    """The golden record as stored on the person."""
    return {
        "demographics": to_json(golden.demographics),
        "sources": {name: list(source) for name, source in golden.sources.items()},
    }
