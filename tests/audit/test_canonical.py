"""Canonical JSON: the quick way gives the text of the slow one, which RFC 8785 describes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hie.audit import canonical as module
from hie.audit.canonical import NotCanonical, canonical

TEXT = st.text(st.characters(max_codepoint=0x2FFF, exclude_categories=("Cs",)), max_size=12)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | TEXT
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def slowly(value: Any) -> str:
    out: list[str] = []
    module._put(value, out)
    return "".join(out)


@given(VALUES)
def test_the_quick_way_and_the_slow_one_give_one_text(value: Any) -> None:
    assert canonical(value) == slowly(value)


def test_every_character_below_128_is_written_alike() -> None:
    every = {f"k{n}": chr(n) for n in range(128)}
    assert module._is_simple(every)
    assert canonical(every) == slowly(every)
    assert json.loads(canonical(every)) == every


@pytest.mark.parametrize("value", [2**53, -(2**53), [2**60], {"a": 2**64}, float("nan"), "\ud800", {"\ud800": 1}])
def test_what_json_cannot_hold_exactly_is_refused(value: Any) -> None:
    with pytest.raises(NotCanonical):
        canonical(value)


def test_what_nests_deeply_has_its_text_too() -> None:
    deep: Any = "x"
    for _ in range(300):
        deep = [deep]
    assert canonical(deep) == "[" * 300 + '"x"' + "]" * 300
