"""What is quick must give the very bytes that the plain way gives: they are stored, and compared with what is stored."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
from typing import Any

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from patients import blocking, store
from patients.demographics import from_json
from patients.errors import UnusableDemographics
from patients.normalise import features, phone_digits
from tests.patients.people import demographics

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
NUMBER = st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False)
DATA = st.dictionaries(
    TEXT,
    st.recursive(
        TEXT | NUMBER | st.booleans() | st.none(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@given(DATA)
@example({"b": 1e16, "a": [1.0, -0.0, {"é": 1e-7, "\x1f\x7f\u2028": 2**64, "z": True}]})
def test_canonical_json_is_that_of_the_standard_library(data: dict[str, Any]) -> None:
    plain = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert store.canonical(data) == plain
    assert store.digest(data) == hashlib.blake2b(plain, digest_size=16).digest()


def _nested(depth: int) -> Any:
    return [_nested(depth - 1)] if depth else 1


@pytest.mark.parametrize("value", [math.nan, math.inf, "a\0b", "\ud800", _nested(400), {"x": [1, {"y": "\ud800"}]}])
def test_what_postgresql_cannot_keep_is_refused_however_deep_it_stands(value: Any) -> None:
    if value == _nested(400):
        assert store.canonical({"a": value}) == json.dumps({"a": value}, separators=(",", ":")).encode()
        return
    with pytest.raises(UnusableDemographics):
        store.canonical({"a": "text", "extra": {"deep": value}})


@given(st.from_regex(r"(\+|00)1[0-9]{8,11}", fullmatch=True))
@example("+12015550123")
@example("+11234567890")
def test_a_north_american_number_is_what_the_library_says(text: str) -> None:
    try:
        digits = str(phonenumbers.parse("+" + text.lstrip("+0"), None).national_number)
    except phonenumbers.NumberParseException:
        return
    assert phone_digits(text) in ("", digits[-10:])
    assert phone_digits(text) or len(digits) < 6 or len(set(digits)) <= 2 or digits == "1234567890"


@given(TEXT)
def test_a_key_is_stored_under_its_own_hash(text: str) -> None:
    alone = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)
    assert blocking.digest(text) == alone
    assert list(blocking.digests([text, "other", text])) == [alone, blocking.digest("other"), alone]


def test_features_come_out_of_another_process_as_they_went_in() -> None:
    found = features(demographics(), own=("2.999.1", "A1"))
    assert pickle.loads(pickle.dumps(found)) == found  # our own


def test_an_identifier_without_a_number_or_a_system_is_kept() -> None:
    held = from_json({"identifiers": [{"system": "urn:oid:2.999.1"}, {"value": "7"}]}).identifiers
    assert [(item.system, item.value) for item in held] == [("urn:oid:2.999.1", ""), ("", "7")]
