"""What an object said in ebRIM beyond what its value holds: kept in ``extra["ebxml"]``, and said again. Pure.

``sent``: texts as sent where they differ from how their value is written, by place (``author.0.authorPerson``) as
``[canonical, sent]``; said again while the value still is what was sent. ``names``: the localized strings of a place
where there are several or one that names its language. ``slots``: slots of a classification that mean nothing to XDS, by place.
``classifications`` and ``identifiers``: those of no XDS attribute, whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Strings = Sequence[Sequence[str]]
"""Localized strings as (language, charset, value), "" for what was not said."""


class Keeping:
    """Collects what is to be kept of one object."""

    def __init__(self) -> None:
        self._held: dict[str, Any] = {}

    def sent(self, place: str, canonical: str, text: str) -> None:
        """Note a text, where writing its value again would give another."""
        if text != canonical:
            self._held.setdefault("sent", {})[place] = [canonical, text]

    def names(self, place: str, strings: Strings) -> None:
        """Note localized strings, where the first one's value is not all they say."""
        if len(strings) > 1 or any(language or charset for language, charset, _ in strings):
            self.all_names(place, strings)

    def all_names(self, place: str, strings: Strings) -> None:
        """Note localized strings of what has no value for them."""
        if strings:
            self._held.setdefault("names", {})[place] = [list(one) for one in strings]

    def slots(self, place: str, slots: Mapping[str, Sequence[str]]) -> None:
        """Note slots of a classification."""
        self._held.setdefault("slots", {})[place] = {name: list(values) for name, values in slots.items()}

    def classification(self, found: Mapping[str, Any]) -> None:
        """Note a classification of no attribute."""
        self._held.setdefault("classifications", []).append(dict(found))

    def identifier(self, found: Mapping[str, Any]) -> None:
        """Note an external identifier of no attribute."""
        self._held.setdefault("identifiers", []).append(dict(found))

    def as_extra(self, slots: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """The object's `extra`: these slots, and what was noted."""
        found: dict[str, Any] = {}
        if slots:
            found["slots"] = {name: list(values) for name, values in slots.items()}
        if self._held:
            found["ebxml"] = self._held
        return found


class Kept:
    """What was kept of one object, for writing it again."""

    def __init__(self, extra: Mapping[str, Any]) -> None:
        held = extra.get("ebxml", {})
        slots = extra.get("slots", {})
        self.slots: Mapping[str, Sequence[str]] = slots if isinstance(slots, Mapping) else {}
        self.classifications: Sequence[Mapping[str, Any]] = held.get("classifications", ())
        self.identifiers: Sequence[Mapping[str, Any]] = held.get("identifiers", ())
        self._sent: Mapping[str, Sequence[str]] = held.get("sent", {})
        self._names: Mapping[str, Strings] = held.get("names", {})
        self._slots: Mapping[str, Mapping[str, Sequence[str]]] = held.get("slots", {})

    def text(self, place: str, canonical: str) -> str:
        """How a value is written at a place: as it was sent, where it still is that value."""
        held = self._sent.get(place)
        return held[1] if held is not None and held[0] == canonical else canonical

    def slots_of(self, place: str) -> Mapping[str, Sequence[str]]:
        """The further slots of a classification."""
        return self._slots.get(place, {})

    def all(self, place: str) -> Strings:
        """The localized strings kept of a place that has no value."""
        return self._names.get(place, ())

    def strings(self, place: str, value: str | None) -> Strings:
        """The localized strings of a place: those sent, where the value still is the first of them."""
        held = self._names.get(place)
        if held and held[0][2] == (value or ""):
            return held
        return (("", "", value),) if value else ()
