"""Whatever stands in a participants file, the answer is a form or named faults, never a crash."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hie.directory.forms import read_documents
from tests.directory.forms import EC_P384, RSA_2048, clinic, file, jwk

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
WHOLE = file(
    clinic(
        jurisdiction="JA",
        status="active",
        client_id="c",
        jwks={"keys": [jwk(EC_P384, "a", exp=1_900_000_000), jwk(RSA_2048, "b")]},
        certificates=["x"],
        default_role="system",
        default_purpose="TREAT",
        agreement={"status": "active", "period": {"start": "2026", "end": "2027-01-01"}, "obligations": ["MINEC"]},
        part2_program=True,
        home_community_id="urn:oid:2.999.9",
        source_id="2.999.8",
        hl7v2={"application": "A", "facility": "B"},
        endpoints=[{"kind": "fhir", "url": "https://a.example/fhir", "repository_unique_id": "2.999.7"}],
        release_policy=[{"id": "R", "labels": ["HIV"], "minConfidentiality": "R"}],
    )
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        for member, inner in value.items():
            found += places(inner, (*path, member))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += places(inner, (*path, index))
    return found


@settings(max_examples=150, deadline=None)
@given(place=st.sampled_from(places(WHOLE)), replacement=ANYTHING)
def test_a_file_with_anything_anywhere_is_read_or_refused_by_name(place, replacement):
    document: Any = copy.deepcopy(WHOLE)
    if place:
        holder = document
        for step in place[:-1]:
            holder = holder[step]
        holder[place[-1]] = replacement
    else:
        document = replacement
    forms, faults = read_documents(document)
    assert forms or faults or document == {"participants": []}
    assert all(fault.message for fault in faults)


@settings(max_examples=100, deadline=None)
@given(document=ANYTHING)
def test_any_json_is_refused_or_read(document):
    forms, faults = read_documents(document)
    assert faults or not forms
