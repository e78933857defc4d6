"""Bulk and real time give one verdict for one pair (spec/mpi.md 6, row 15)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hie.standards.demographics import HumanName, Identifier, Telecom
from patients import packing, setwise
from patients.matching import Model, Scorer, default_model
from patients.normalise import Features, features
from tests.patients.people import demographics

FREQUENT = default_model().to_json() | {
    "frequency": {
        "given": {"maria": 0.05}, "surname": {"smithson": 0.02}, "birth": {"19800101": 0.01}, "town": {"york": 0.2},
        "code": {"62701": 0.1}, "phone": {"5552013344": 0.001},
    },
    "floor": {"given": 1e-4, "surname": 1e-4, "birth": 1e-4, "town": 1e-3, "code": 1e-3, "phone": 1e-5},
}  # fmt: skip
SCORERS = [Scorer(default_model()), Scorer(Model.from_json(FREQUENT))]

names = st.sampled_from(["Maria", "Marie", "Mary Ann", "Ann", "John", "Jon", "J", "Smithson", "Smithsen", "Li", ""])
texts = st.builds(
    demographics,
    given=names,
    family=names,
    birth_date=st.sampled_from(["1980-03-14", "1980-01-01", "1980-14-03", "1955-12-30", "1980", ""]),
    gender=st.sampled_from(["male", "female", ""]),
    phone=st.sampled_from(["555-201-3344", "555-201-3345", ""]),
    line=st.sampled_from(["12 Main St", "13 Main Street", "Oak Rd", ""]),
    city=st.sampled_from(["York", "Yorke", "Springfield", ""]),
    postal_code=st.sampled_from(["62701", "62702", "10001", ""]),
    national_id=st.sampled_from(["219094471", "219094472", ""]),
    multiple_birth=st.sampled_from([None, True, 1, 2]),
)
records = st.builds(
    lambda one, former, mail, own, named: features(
        replace(
            one,
            names=(*one.names, *([HumanName(use="old", family=former, given=("Ann",))] if former else [])),
            telecoms=(*one.telecoms, *([Telecom(system="email", value=mail)] if mail else [])),
            # Another organization's record may name the local identifier of this one.
            identifiers=(*one.identifiers, *([Identifier(system="urn:oid:2.999.1", value=named)] if named else [])),
        ),
        own=("2.999.1", own),
    ),
    texts,
    names,
    st.sampled_from(["maria@example.org", "mary@example.org", ""]),
    st.sampled_from(["A-1", "A-2"]),
    st.sampled_from(["A-1", "A-3", ""]),
)


@pytest.mark.parametrize("scorer", SCORERS, ids=["built-in", "with-frequencies"])
@settings(max_examples=150, deadline=None)
@given(people=st.lists(records, min_size=2, max_size=6))
def test_many_pairs_at_once_get_the_verdict_of_one_pair(scorer: Scorer, people: list[Features]) -> None:
    first, second = np.triu_indices(len(people), 1)
    found = setwise.score(scorer, packing.Records(people), first.astype(np.int64), second.astype(np.int64))
    for row, (a, b) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        for one, other in ((a, b), (b, a)):
            verdict = scorer.score(people[one], people[other])
            assert verdict.score == pytest.approx(found.score[row], abs=1e-9)
            assert verdict.levels == tuple(found.levels[row].tolist())
            assert verdict.vetoed == found.vetoed[row]
            assert verdict.automatic == found.automatic[row]
            assert verdict.clustering == pytest.approx(found.clustering[row], abs=1e-9)


def test_no_pairs_give_no_verdicts() -> None:
    nothing = np.empty(0, dtype=np.int64)
    assert len(setwise.score(SCORERS[0], packing.Records([]), nothing, nothing).score) == 0
