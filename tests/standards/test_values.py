"""Frozen values made the quick way are the values that dataclasses make."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from typing import Any

import pytest

from hie.standards.values import quick


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    name: str
    number: int = 3
    given: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    name: str
    number: int = 3
    given: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


GIVEN: list[dict[str, Any]] = [
    {"name": "a"},
    {"name": "a", "number": 0, "given": ("b", "c"), "extra": {"d": [1]}},
    {"name": None, "number": None, "given": None, "extra": None},
]


@pytest.mark.parametrize("values", GIVEN)
def test_a_value_holds_what_it_is_given_and_else_its_defaults(values: dict[str, Any]) -> None:
    slow, made = Slow(**values), Quick(**values)
    assert type(made) is Quick
    assert [getattr(made, f.name) for f in fields(Quick)] == [getattr(slow, f.name) for f in fields(Slow)]
    assert repr(made) == repr(slow).replace("Slow", "Quick")
    assert made == Quick(**values) == replace(made) == copy.copy(made) == pickle.loads(pickle.dumps(made))
    assert replace(made, number=9).number == 9


def test_what_makes_a_value_says_whose_it_is() -> None:
    assert (Quick.__init__.__module__, Quick.__init__.__qualname__) == (__name__, "Quick.__init__")
    assert Quick.__init__.__annotations__ == Slow.__init__.__annotations__


def test_each_value_has_its_own_of_what_is_made_for_it() -> None:
    one, other = Quick(name="a"), Quick(name="a")
    assert one.extra == other.extra == {}
    assert one.extra is not other.extra


def test_a_value_is_frozen_and_has_no_other_members() -> None:
    made = Quick(name="a")
    for name in ("name", "other"):
        with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
            setattr(made, name, "b")
    assert made == Quick(name="a")
    assert not hasattr(made, "__dict__")


@pytest.mark.parametrize("values", [{}, {"name": "a", "other": 1}])
def test_what_is_missing_or_unknown_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Quick(**values)
    with pytest.raises(TypeError):
        Quick("a")  # type: ignore[misc]  # on purpose


def test_what_is_checked_when_made_is_still_checked() -> None:
    @quick
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Checked:
        number: int

        def __post_init__(self) -> None:
            if self.number < 0:
                raise ValueError(self.number)

    assert Checked(number=1).number == 1
    with pytest.raises(ValueError, match="-1"):
        Checked(number=-1)


def test_only_plain_frozen_values_are_made_so() -> None:
    @dataclass(frozen=True, kw_only=True)
    class WithoutSlots:
        number: int = 1

    @dataclass(frozen=True, slots=True)
    class ByPosition:
        number: int = 1

    for kind in (WithoutSlots, ByPosition, int):
        with pytest.raises(TypeError):
            quick(kind)
