"""The fixture of worked consent cases, compiled: its policy, and what each case overrides in it.

Pure: no database, no clock. A part that cannot be used is not there.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

from consent import engine
from consent.case_values import JSON, Unusable, an_object, participant_from
from hie.standards.facts import ParticipantFacts

Value = TypeVar("Value")

KEPT_OVERRIDES: Final = 256


class Fixture:
    """A fixture and its overrides, each compiled where a case asks.

    An override costs what it changes: everything else is shared with the fixture. The
    last `KEPT_OVERRIDES` are kept, so cases by the hundred thousand need no more memory.
    """

    def __init__(self, data: JSON) -> None:
        self._plain = _Compiled(data)
        self._kept: OrderedDict[str, _Compiled] = OrderedDict()

    def policy(self, override: object) -> tuple[engine.Policy, JSON]:
        """(policy, patients) of the fixture with one case's override merged in.

        Raises:
            Unusable: override or code tables cannot be read.
        """
        if override is not None and not isinstance(override, Mapping):
            raise Unusable("fixtureOverride")
        if not override:
            return self._plain.usable()
        key = json.dumps(override, sort_keys=True)
        compiled = self._kept.get(key)
        if compiled is None:
            compiled = self._kept[key] = self._plain.overridden(override)
            if len(self._kept) > KEPT_OVERRIDES:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return compiled.usable()


_TABLES: Final = frozenset({"purposeParent", "labelParent", "labelMayMean", "labelFloor", "roles", "hub"})
_NOTHING: Final[frozenset[str]] = frozenset()


class _Compiled:
    """A fixture whose organizations and jurisdictions are read when first asked for.

    `base` is the fixture it overrides, of which it uses all that the override leaves as it is.
    """

    def __init__(self, data: JSON, *, base: _Compiled | None = None, override: JSON | None = None) -> None:
        override = override or {}
        self._data = data
        # The code tables of the fixture, where the override changes none of them.
        self._tables_from = base if not _TABLES & override.keys() else None
        self._tables: engine.Tables | None = None
        laws, organizations = (_changed(override, member) for member in ("jurisdictions", "organizations"))
        self._laws: _Laws = _Laws(data.get("jurisdictions"), base._laws if base is not None else None, laws)
        self._organizations: _Organizations = _Organizations(
            data.get("organizations"), base._organizations if base is not None else None, organizations
        )
        shared = base is not None and laws is not None and organizations is not None
        self._participants: _Participants = _Participants(
            self._organizations, self._laws, base._participants if base is not None and shared else None
        )

    def overridden(self, override: JSON) -> _Compiled:
        """This fixture with an override merged in: objects merge, other values replace."""
        return _Compiled(_Merged(self._data, override), base=self, override=override)

    def usable(self) -> tuple[engine.Policy, JSON]:
        """(policy, patients); an organization or jurisdiction that cannot be read is unknown.

        Raises:
            Unusable: the code tables, organizations, jurisdictions or patients are not objects.
        """
        *_, patients = (an_object(self._data, member) for member in ("organizations", "jurisdictions", "patients"))
        policy = engine.Policy(participants=self._participants, jurisdictions=self._laws, tables=self._code_tables())
        return policy, patients

    def _code_tables(self) -> engine.Tables:
        if self._tables_from is not None:
            return self._tables_from._code_tables()
        if self._tables is None:
            try:
                self._tables = engine.Tables.from_json(self._data)
            except ValueError as problem:
                raise Unusable(str(problem)) from problem
        return self._tables


def _changed(override: JSON, member: str) -> frozenset[str] | None:
    """The names within a member of the fixture that an override changes; None: it puts another member there."""
    if member not in override:
        return _NOTHING
    part = override[member]
    return frozenset(part) if isinstance(part, Mapping) else None


class _Lazily(Mapping[str, Value]):
    """Values made when first asked for; what cannot be made is not there."""

    def __init__(self) -> None:
        self._made: dict[str, Value] = {}

    @abstractmethod
    def _make(self, key: str) -> Value | None:
        """The value of a key, None where there is none."""

    def __getitem__(self, key: str) -> Value:
        value = self._made.get(key)
        if value is None:
            value = self._make(key)
            if value is None:
                raise KeyError(key)
            self._made[key] = value
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


class _Laws(_Lazily[engine.Jurisdiction]):
    """Jurisdictions by code."""

    def __init__(self, data: object, base: _Laws | None, changed: frozenset[str] | None) -> None:
        super().__init__()
        self._data: JSON = data if isinstance(data, Mapping) else {}
        self._base = base if changed is not None else None
        self.changed = changed or _NOTHING

    def _make(self, key: str) -> engine.Jurisdiction | None:
        if self._base is not None and key not in self.changed:
            return self._base.get(key)
        try:
            return engine.compile_jurisdiction(key, self._data.get(key))
        except ValueError:
            return None


class _Organizations(_Lazily[ParticipantFacts]):
    """Organizations by id, as registered."""

    def __init__(self, data: object, base: _Organizations | None, changed: frozenset[str] | None) -> None:
        super().__init__()
        self._data: JSON = data if isinstance(data, Mapping) else {}
        self._base = base if changed is not None else None
        self.changed = changed or _NOTHING

    def _make(self, key: str) -> ParticipantFacts | None:
        if self._base is not None and key not in self.changed:
            return self._base.get(key)
        try:
            return participant_from(key, self._data.get(key))
        except Unusable:
            return None


class _Participants(_Lazily[engine.Participant]):
    """Organizations by id, with what they inherit and the law they are under."""

    def __init__(self, organizations: _Organizations, laws: _Laws, base: _Participants | None) -> None:
        super().__init__()
        self._organizations = organizations
        self._laws = laws
        self._base = base

    def _make(self, key: str) -> engine.Participant | None:
        if self._base is not None and self._untouched(key):
            return self._base.get(key)
        return engine.compile_participant(key, self._organizations, self._laws)

    def _untouched(self, identifier: str) -> bool:
        """Whether the override changes neither an organization, nor one above it, nor their law."""
        seen: set[str] = set()
        current: str | None = identifier
        while current is not None and current not in seen:
            seen.add(current)
            facts = self._organizations.get(current)
            if current in self._organizations.changed or facts is None or facts.jurisdiction in self._laws.changed:
                return False
            current = facts.part_of
        return True


class _Merged(Mapping[str, Any]):
    """An object with an override over it, merged member by member as it is read; both stay as they are."""

    def __init__(self, base: JSON, override: JSON) -> None:
        self._base = base
        self._override = override

    def __getitem__(self, key: str) -> Any:
        if key not in self._override:
            return self._base[key]
        value, before = self._override[key], self._base.get(key)
        return _Merged(before, value) if isinstance(value, Mapping) and isinstance(before, Mapping) else value

    def __iter__(self) -> Iterator[str]:
        yield from self._base
        yield from (key for key in self._override if key not in self._base)

    def __len__(self) -> int:
        return len(self._base.keys() | self._override.keys())


def compile_fixture(data: JSON) -> tuple[engine.Policy, JSON]:
    """(policy, patients) of a fixture.

    Raises:
        Unusable: the code tables, organizations, jurisdictions or patients are not objects.
    """
    return Fixture(data).policy(None)
