"""Survivorship: one demographics out of several records'. Pure; the order of input plays no part.

Field by field: what a steward set by hand, what its sender verified, the source trusted most, the newest, the most
frequent value, the longest. What its sender calls unreliable counts below everything that is not. Names, addresses,
telecoms and identifiers are collected: the winner's first, then what the others add. Records removed or replaced by
their organization count only where no active one is.

Source: spec/mpi.md section 3, Survive; what is verified or unreliable: `hie.standards.reliability`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

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
from hie.standards.reliability import Standing, standing
from patients.demographics import SourceRecordView
from patients.normalise import fold

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """The source record of a value and the date it came with; `grade` is ``manual``, ``verified`` or ""."""

    source_record_id: int
    at: str
    grade: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """The surviving demographics, and for each field where it comes from."""

    demographics: Demographics = field(default_factory=Demographics)
    sources: dict[str, Source] = field(default_factory=dict)


def _name_key(name: HumanName) -> str:
    return fold(" ".join([*name.given, name.family])) or fold(name.text)


def _address_key(address: Address) -> str:
    return fold(" ".join([*address.lines, address.city, address.postal_code])) or fold(address.text)


def _telecom_key(telecom: Telecom) -> str:
    return f"{telecom.system} {''.join(char for char in telecom.value.lower() if char.isalnum() or char in '@+')}"


def _identifier_key(identifier: Identifier) -> str:
    return f"{authority_of(identifier.system)}|{identifier.value}"


_MANUAL = -1
_Rank = tuple[int, int, float]


class _Said(NamedTuple):  # made for each field of each record of an import: a tuple costs half
    """What one record, or a steward, says of one field: the lowest `rank` wins; `tie` makes the order total."""

    value: Any
    rank: _Rank
    tie: tuple[str, str, int]
    source: Source


def survive(records: Iterable[SourceRecordView]) -> Golden:
    """The golden record of these records only; an anchor says what was set by hand there and holds."""
    found = _survivorship(records)
    return found.golden() if found is not None else Golden()


def vital(records: Iterable[SourceRecordView]) -> tuple[str, bool | str | None]:
    """Of the golden record of these records, birth date and death alone."""
    found = _survivorship(records)
    return (found.one("birth_date", ""), found.deceased()) if found is not None else ("", None)


_NOTHING = Demographics()


def _survivorship(records: Iterable[SourceRecordView]) -> _Survivorship | None:
    every = list(records)
    said = [record for record in every if record.demographics != _NOTHING]
    usable = [record for record in said if record.active] or said
    by_hand = any(record.by_hand for record in every)
    if not usable and not by_hand:
        return None
    return _Survivorship(usable, every if by_hand else [])


class _Survivorship:
    def __init__(self, usable: list[SourceRecordView], anchors: list[SourceRecordView]) -> None:
        self.ordered = sorted(usable, key=lambda r: (-r.trust, -r.updated_at.timestamp(), r.authority, r.value))
        self.spoken = [
            (
                record,
                (int(Standing.SAID), -record.trust, -record.updated_at.timestamp()),
                (record.authority, record.value, record.source_record_id),
                Source(record.source_record_id, record.updated_at.isoformat()),
            )
            for record in self.ordered
        ]
        self.by_hand: dict[str, list[_Said]] = {}
        for anchor in anchors:
            for item in anchor.by_hand:
                self.by_hand.setdefault(item.field, []).append(
                    _Said(
                        getattr(item.demographics, item.field),
                        (_MANUAL, 0, -item.set_at.timestamp()),
                        (anchor.authority, anchor.value, item.pk),
                        Source(anchor.source_record_id, item.set_at.isoformat(), "manual"),
                    )
                )
        self.sources: dict[str, Source] = {}

    def golden(self) -> Golden:
        demographics = Demographics(
            names=self.collect("names", _name_key),
            birth_date=self.one("birth_date", ""),
            gender=self.one("gender", "", weak="unknown"),
            addresses=self.collect("addresses", _address_key),
            telecoms=self.collect("telecoms", _telecom_key),
            identifiers=self.identifiers(),
            mothers_maiden_name=self.one("mothers_maiden_name", ""),
            multiple_birth=self.one("multiple_birth", None),
            deceased=self.deceased(),
            languages=self.one("languages", ()),
            marital_status=self.one("marital_status", ""),
            birth_place=self.one("birth_place", None),
            occupation=self.one("occupation", ""),
            active=any(record.active and record.demographics.active is not False for record in self.ordered)
            if self.ordered
            else None,
            extra=self.extra(),
        )
        return Golden(demographics=demographics, sources=self.sources)

    def said(self, name: str, empty: Any) -> list[_Said]:
        """All that is said of a field, by a record each, then by hand."""
        found: list[_Said] = []
        for record, rank, tie, source in self.spoken:
            demographics = record.demographics
            value = getattr(demographics, name)
            if value is None or value == empty:
                continue
            if demographics.reliability and (stands := standing(demographics.reliability, name)) is not Standing.SAID:
                rank = (stands, rank[1], rank[2])
                source = replace(source, grade="verified") if stands is Standing.VERIFIED else source
            found.append(_Said(value, rank, tie, source))
        return found + self.by_hand[name] if name in self.by_hand else found

    def one(self, name: str, empty: Any, *, weak: Any = None) -> Any:
        """The value of a field that a person has one of; `weak` is no statement where another record makes one."""
        present = self.said(name, empty)
        if weak is not None:
            present = [item for item in present if item.value != weak or item.rank[0] == _MANUAL] or present
        if not present:
            return empty
        if len(present) == 1:
            self.sources[name] = present[0].source
            return present[0].value
        best = min(item.rank for item in present)
        among = [item for item in present if item.rank == best]
        if all(item.value == among[0].value for item in among):
            winner = min(among, key=lambda item: item.tie)
        else:
            count = Counter(repr(item.value) for item in present)
            winner = min(among, key=lambda item: (-count[repr(item.value)], -len(repr(item.value)), item.tie))
        self.sources[name] = winner.source
        return winner.value

    def collect(self, name: str, key: Callable[[T], str]) -> tuple[T, ...]:
        """Every value of a field that a person has several of, each once, by the best that says it."""
        present = self.said(name, ())
        if not present:
            return ()
        items = [(key(value), place, value, item) for item in present for place, value in enumerate(item.value)]
        if len(present) > 1:
            often = Counter(text for text, _ in {(text, item.tie) for text, _, _, item in items})
            items.sort(key=lambda one: (one[3].rank, one[1], -often[one[0]], -len(one[0]), one[3].tie))
        seen: dict[str, T] = {}
        for text, _, value, item in items:
            if text and text not in seen:
                if not seen:
                    self.sources[name] = item.source
                seen[text] = value
        return tuple(seen.values())

    def identifiers(self) -> tuple[Identifier, ...]:
        """The records' own identifiers in order of the records, then what else they state."""
        own = [Identifier(system=system_of(record.authority), value=record.value) for record in self.ordered]
        stated = {
            _identifier_key(item): item for record in reversed(self.ordered) for item in record.demographics.identifiers
        }
        local = tuple(stated.get(_identifier_key(item), item) for item in own)
        keys = {_identifier_key(item) for item in local}
        # An identifier that another organization's record states under a local authority is that organization's to say.
        others = (item for item in self.collect("identifiers", _identifier_key) if _identifier_key(item) not in keys)
        return local + tuple(others)

    def deceased(self) -> bool | str | None:
        """A date of death outlives a bare statement, and either outlives "not deceased" of an older record."""
        found: bool | str | None = self.one("deceased", None)
        if found is not True:
            return found
        dated = [item for item in self.said("deceased", None) if isinstance(item.value, str)]
        if not dated:
            return True
        winner = min(dated, key=lambda item: (item.rank, item.tie))
        self.sources["deceased"] = winner.source
        return str(winner.value)

    def extra(self) -> dict[str, Any]:
        """Language and marital status in full, as the record wrote them whose code survives; without a code the best."""
        kept = {}
        for name, key in (("languages", "communication"), ("marital_status", "maritalStatus")):
            won = self.sources.get(name)
            found = [
                record.demographics.extra[key]
                for record in self.ordered
                if key in record.demographics.extra and (won is None or won.source_record_id == record.source_record_id)
            ]
            if found:
                kept[key] = found[0]
        return kept


def golden_json(golden: Golden) -> dict[str, Any]:
    """The golden record as stored on the person: of each field's source its record, date, and grade where it has one."""
    return {
        "demographics": to_json(golden.demographics),
        "sources": {
            name: [source.source_record_id, source.at, *([source.grade] if source.grade else [])]
            for name, source in golden.sources.items()
        },
    }


def alone(
    demographics: Demographics, stored: Mapping[str, Any], *, authority: str, value: str
) -> tuple[dict[str, Any], tuple[str, ...]] | None:
    """What `survive` and `golden_json` make of an active record that is its person's only one; None: ask them.

    Its demographics as JSON, and the fields whose source it is. `stored` is `to_json(demographics)`. Most records of an
    import are alone: each survives as it stands, but for what it says twice.
    """
    if not stored or demographics.reliability:
        return None
    shown: dict[str, Any] = {name: stored[name] for name in _SINGLE if name in stored}
    said = list(shown)
    for name, key in _COLLECTED:
        if name in stored:
            places = _first_places([key(item) for item in getattr(demographics, name)])
            if places:
                shown[name] = [stored[name][place] for place in places]
                said.append(name)
    own = Identifier(system=system_of(authority), value=value)
    keys = [_identifier_key(item) for item in demographics.identifiers]
    local, written = _identifier_key(own), stored.get("identifiers", [])
    stated = [item for key, item in zip(keys, written, strict=True) if key == local]
    shown["identifiers"] = [
        stated[-1] if stated else {"system": own.system, "value": own.value},
        *(written[place] for place in _first_places(keys) if keys[place] != local),
    ]
    if keys:
        said.append("identifiers")
    shown["active"] = demographics.active is not False
    extra = {key: demographics.extra[key] for key in ("communication", "maritalStatus") if key in demographics.extra}
    if extra:
        shown["extra"] = extra
    return shown, tuple(said)


_SINGLE = (
    "birth_date", "gender", "mothers_maiden_name", "multiple_birth", "deceased", "languages", "marital_status",
    "birth_place", "occupation",
)  # fmt: skip
_COLLECTED: tuple[tuple[str, Callable[[Any], str]], ...] = (
    ("names", _name_key), ("addresses", _address_key), ("telecoms", _telecom_key),
)  # fmt: skip


def _first_places(keys: list[str]) -> list[int]:
    """Where each key that is not empty comes first."""
    if len(keys) == 1:
        return [0] if keys[0] else []
    seen = {"": 0}
    return [place for place, key in enumerate(keys) if seen.setdefault(key, place + 1) == place + 1]
