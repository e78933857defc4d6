"""The parameters of a stored query as they are written: texts in quotes, lists, codes, times; AND of slots, OR of values. Pure.

Source: spec/xds.md 5.1 (IHE ITI TF-2 3.18.4.1.2.3.5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from documents import dtm
from documents.errors import StoredQueryMissingParam, StoredQueryParamInvalid, StoredQueryParamNumber
from documents.filters import CodeAttribute, CodeToken, ReferenceToken
from documents.metadata import CX, ON_DEMAND, STABLE, AssociationType, Status
from hie.standards import oids
from hie.standards.errors import HubError
from hie.standards.hl7_escapes import plain

Slots = Sequence[tuple[str, Sequence[str]]]
"""The slots of a query in order, each a name with its Values: a name may stand several times."""
ONLINE = "urn:ihe:iti:2010:DocumentAvailability:Online"
OFFLINE = "urn:ihe:iti:2010:DocumentAvailability:Offline"
MOST_VALUES = 10_000
"""Values of one query, all parameters together: a statement of the database has room for some six times as many."""
NOTHING = UUID(int=0)
"""The name of no object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeBounds:
    """``since ≤ time < until``; an object without the time is outside any bound."""

    since: datetime | None = None
    until: datetime | None = None

    def has(self, instant: datetime) -> bool:
        """Whether an instant is within."""
        return (self.since is None or self.since <= instant) and (self.until is None or instant < self.until)


ANY_TIME = TimeBounds()


@dataclass(frozen=True, slots=True, kw_only=True)
class CodesAsked:
    """One slot of a coded attribute: any of the codes; `exclude`: none of them."""

    attribute: CodeAttribute
    any_of: tuple[CodeToken, ...]
    exclude: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TextsAsked:
    """Patterns of which one matches (LIKE: ``%`` and ``_``); `exclude`: none does."""

    any_of: tuple[str, ...]
    exclude: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferencesAsked:
    """Reference ids of which the entry has one; `exclude`: none."""

    any_of: tuple[ReferenceToken, ...]
    exclude: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """The objects that a query names: by entryUUID, uniqueId or logicalID; one of the three."""

    uuids: tuple[UUID, ...] = ()
    unique_ids: tuple[str, ...] = ()
    logical_ids: tuple[UUID, ...] = ()


NOTHING_NAMED = Named()


# -- parameters -----------------------------------------------------------------------------------------------------

_STATUS = {status.value: status for status in Status}
_SUBMITTED = "urn:oasis:names:tc:ebxml-regrep:StatusType:Submitted"
_RELATIONSHIPS = {kind.value: kind for kind in AssociationType}
_TEXT = re.compile(r"'((?:[^']|'')*)'")
_CX = re.compile(r"([^^&|~]+)\^\^\^&([0-9.]+)&ISO\Z")
_CXI = re.compile(r"([^^&|~]+)\^\^\^([^^|~]*)(?:\^([^^|~]*)(?:\^([^^|~]*))?)?\Z")


class Parameters:
    """The slots of one query; `problems` are what was wrong with those that were read."""

    def __init__(self, slots: Slots) -> None:
        self.problems: list[HubError] = []
        self._slots: dict[str, list[list[str]]] = {}
        self._counts: dict[str, int] = {}
        for name, values in slots:
            self._slots.setdefault(name.strip(), []).append(list(values))

    # what is told

    def missing(self, name: str) -> None:
        """Note a parameter that the query cannot do without."""
        self.problems.append(StoredQueryMissingParam(f"{name} is missing", element=name))

    def _number(self, name: str, message: str) -> None:
        self.problems.append(StoredQueryParamNumber(f"{name} {message}", element=name))

    def _invalid(self, name: str, message: str) -> None:
        self.problems.append(StoredQueryParamInvalid(f"{name} {message}", element=name))

    # how values are written

    def slots(self, name: str, *, required: bool = False, several: bool = False) -> list[tuple[str, ...]]:
        """The values of a parameter, of each of its slots; only some may have more than one."""
        given = self._slots.get(name, [])
        found = [tuple(v for text in values for v in self._values(name, text)) for values in given]
        found = [values for values in found if values]
        if len(found) > 1 and not several:
            self._number(name, "stands in one slot only")
        before, self._counts[name] = sum(self._counts.values()), sum(map(len, found))
        if before <= MOST_VALUES < sum(self._counts.values()):
            self._invalid(name, f"is one value too many: a query has at most {MOST_VALUES}")
        if required and not found:
            self.missing(name)
        return found

    def _values(self, name: str, text: str) -> Iterator[str]:
        """The values of one Value: ``'a'``, ``('a','b')``, or digits."""
        rest = text.strip()
        if rest.startswith("(") and rest.endswith(")"):
            rest = rest[1:-1].strip()
        elif rest.startswith("(") or rest.endswith(")"):
            self._invalid(name, "has a list that is not closed")
            return
        while rest:
            if rest.startswith("'"):
                found = _TEXT.match(rest)
                if found is None:
                    self._invalid(name, "has a text that is not closed")
                    return
                yield found.group(1).replace("''", "'").strip()
                rest = rest[found.end() :].lstrip()
            else:
                bare, comma, behind = rest.partition(",")
                if not bare.strip() or "'" in bare:
                    self._invalid(name, "has a value that is neither text in quotes nor a number")
                    return
                yield bare.strip()
                rest = f"{comma}{behind}"
            if rest and not rest.startswith(","):
                self._invalid(name, "has values without a comma between them")
                return
            if rest == ",":
                self._invalid(name, "ends with a comma")
                return
            rest = rest[1:].lstrip()

    def many(self, name: str, *, required: bool = False) -> tuple[str, ...]:
        """The values of a parameter that stands in one slot."""
        return next(iter(self.slots(name, required=required)), ())

    def one(self, name: str, *, required: bool = False) -> str | None:
        """The value of a parameter that has one."""
        values = self.many(name, required=required)
        if len(values) > 1:
            self._number(name, "has one value")
        return values[0] if values else None

    # what values mean

    def level(self) -> int:
        """$MetadataLevel."""
        text = self.one("$MetadataLevel")
        if text is None:
            return 1
        if text not in ("1", "2"):
            self._invalid("$MetadataLevel", "is 1 or 2")
            return 1
        return int(text)

    def patient(self, name: str) -> tuple[CX, ...]:
        """The one patient that a query is about."""
        text = self.one(name, required=True)
        return tuple(self._cx(name, text)) if text is not None else ()

    def patients(self, name: str) -> tuple[CX, ...]:
        """Several patients, or none."""
        return tuple(cx for text in self.many(name) for cx in self._cx(name, text))

    def _cx(self, name: str, text: str) -> Iterator[CX]:
        found = _CX.match(text)
        if found is None or not oids.is_oid(found.group(2)):
            self._invalid(name, "is id^^^&OID&ISO")
        else:
            yield CX(value=plain(found.group(1)), authority=found.group(2))

    def statuses(self, name: str, *, required: bool = False) -> tuple[Status, ...]:
        """Statuses by their full URN."""
        found = []
        values = self.many(name, required=required)
        for text in values:
            if text in _STATUS:
                found.append(_STATUS[text])
            elif text != _SUBMITTED:  # which nothing that is registered has
                self._invalid(name, f"{text!r} is no status")
        return tuple(dict.fromkeys(found)) if found or not values else ()

    def association_statuses(self) -> tuple[Status, ...]:
        """$XDSAssociationStatus, Approved unless said."""
        return self.statuses("$XDSAssociationStatus") or (Status.APPROVED,)

    def types(self, name: str, *, exclude: bool = False) -> tuple[str, ...]:
        """Kinds of entry: stable unless said."""
        wanted = self._object_types(name)
        unwanted = self._object_types(f"{name}Exclude") if exclude else ()
        if wanted and unwanted:
            self._number(name, f"and {name}Exclude exclude each other")
        if unwanted:
            return tuple(kind for kind in (STABLE, ON_DEMAND) if kind not in unwanted)
        return wanted or (STABLE,)

    def _object_types(self, name: str) -> tuple[str, ...]:
        found = []
        for text in self.many(name):
            if text in (STABLE, ON_DEMAND):
                found.append(text)
            else:
                self._invalid(name, f"{text!r} is no type of document entry")
        return tuple(dict.fromkeys(found))

    def codes(
        self, attribute: CodeAttribute, name: str, *, several: bool = False, exclude: bool = False
    ) -> Iterator[CodesAsked]:
        """Codes of an attribute, slot by slot, and those excluded where the query has that."""
        for slot in self.token_lists(name, several=several):
            yield CodesAsked(attribute=attribute, any_of=slot)
        if exclude and self._exclusive(name):
            for slot in self.token_lists(f"{name}Exclude", several=several):
                yield CodesAsked(attribute=attribute, any_of=slot, exclude=True)

    def _exclusive(self, name: str) -> bool:
        """Whether the Exclude form may be read: it and the parameter exclude each other."""
        if name in self._slots and f"{name}Exclude" in self._slots:
            self._number(name, f"and {name}Exclude exclude each other")
            return False
        return True

    def tokens(self, name: str) -> tuple[CodeToken, ...]:
        """Codes of a parameter in one slot."""
        return next(iter(self.token_lists(name, several=False)), ())

    def token_lists(self, name: str, *, several: bool = True) -> list[tuple[CodeToken, ...]]:
        """Codes, slot by slot."""
        return [tuple(self._code(name, text) for text in values) for values in self.slots(name, several=several)]

    def _code(self, name: str, text: str) -> CodeToken:
        parts = text.split("^")
        if len(parts) != 3 or not parts[0] or parts[1] or not parts[2]:
            self._number(name, "has a code that is not code^^scheme")
            return CodeToken(code=text)
        return CodeToken(code=parts[0], scheme=oids.scheme_uri(parts[2]))

    def bounds(self, name: str) -> TimeBounds:
        """The times From and To of a parameter."""
        return TimeBounds(since=self._time(f"{name}From"), until=self._time(f"{name}To"))

    def _time(self, name: str) -> datetime | None:
        text = self.one(name)
        if text is None:
            return None
        found = dtm.interval(text)
        if found is None:
            self._invalid(name, "is no time YYYY[MM[DD[hh[mm[ss]]]]]")
            return None
        return found[0]

    def patterns(self, name: str, *, exclude: bool = False) -> tuple[TextsAsked, ...]:
        """Patterns of LIKE."""
        found = [TextsAsked(any_of=tuple(map(plain, values))) for values in self.slots(name)]
        if exclude and self._exclusive(name):
            found += [
                TextsAsked(any_of=tuple(map(plain, values)), exclude=True) for values in self.slots(f"{name}Exclude")
            ]
        return tuple(found)

    def pattern(self, name: str) -> str | None:
        """One pattern of LIKE."""
        text = self.one(name)
        return plain(text) if text is not None else None

    def references(self, name: str, *, required: bool, exclude: bool) -> tuple[ReferencesAsked, ...]:
        """Reference ids, slot by slot."""
        found = [
            ReferencesAsked(any_of=tuple(one for text in values for one in self._cxi(name, text)))
            for values in self.slots(name, required=required, several=True)
        ]
        if exclude and self._exclusive(name):
            found += [
                ReferencesAsked(any_of=tuple(one for text in values for one in self._cxi(name, text)), exclude=True)
                for values in self.slots(f"{name}Exclude", several=True)
            ]
        return tuple(found)

    def _cxi(self, name: str, text: str) -> Iterator[ReferenceToken]:
        found = _CXI.match(text)
        if found is None:
            self._invalid(name, "is id^^^&OID&ISO^type")
            return
        value, authority, kind, home = found.groups()
        yield ReferenceToken(
            value=plain(value),
            authority=_universal(authority or ""),
            type_code=plain(kind or "") or None,
            home_community_id=_universal(home) if home else None,
        )

    def availabilities(self, name: str) -> tuple[str, ...]:
        """Online and Offline."""
        found = self.many(name)
        for text in found:
            if text not in (ONLINE, OFFLINE):
                self._invalid(name, f"{text!r} is no availability")
        return found

    def relationships(self, name: str) -> tuple[AssociationType, ...]:
        """Types of relationship by their full URN."""
        found = []
        for text in self.many(name, required=True):
            if text not in _RELATIONSHIPS:
                self._invalid(name, f"{text!r} is no type of association")
            else:
                found.append(_RELATIONSHIPS[text])
        return tuple(found)

    def uuids(self, name: str, *, required: bool = False) -> tuple[UUID, ...]:
        """Objects by UUID; what is none names nothing."""
        return tuple(map(_uuid, self.many(name, required=required)))

    def named(self, of: str, *, level: int, single: bool = False, logical: bool = False) -> Named:
        """Objects by exactly one of their names."""
        ways = [f"{of}EntryUUID", f"{of}UniqueId", *([f"{of}LogicalID"] if logical else [])]
        given = [
            name for name in ways if any(value.strip(" ()\t\r\n") for one in self._slots.get(name, ()) for value in one)
        ]
        if not given:
            self.missing(ways[0])
            return Named()
        if len(given) > 1:
            self._number(given[0], f"and {given[1]} exclude each other")
            return Named()
        (name,) = given
        if name.endswith("LogicalID") and level < 2:
            self._invalid(name, "needs $MetadataLevel 2")
        values = self.many(name)
        if single and len(values) > 1:
            self._number(name, "has one value")
        if name.endswith("UniqueId"):
            return Named(unique_ids=values)
        uuids = tuple(map(_uuid, values))
        return Named(uuids=uuids) if name.endswith("EntryUUID") else Named(logical_ids=uuids)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text.removeprefix("urn:uuid:"))
    except ValueError:
        return NOTHING


def _universal(hd: str) -> str:
    """The universal id of an HD, or its namespace."""
    namespace, _, rest = hd.partition("&")
    return rest.partition("&")[0] or namespace
