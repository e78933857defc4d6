"""Records packed by column are the records they were made of."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hie.standards.fhir_patient import from_fhir
from patients import packing, training
from patients.matching import frequency_terms
from patients.normalise import Features, features
from tests.patients.people_at_random import people


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_a_record_comes_out_as_it_went_in(seed: int, count: int) -> None:
    records = [
        features(from_fhir(resource), own=("2.999.1", str(n))) for n, resource in enumerate(people(count, seed=seed))
    ]
    assert list(packing.Records(records)) == records


@pytest.mark.parametrize(
    "record",
    [
        Features(),
        Features(given=("anna", "ann"), multiple=True, order=10**30),
        Features(emails=("\ud800@x",), own=("a|B",)),
    ],
    ids=["nothing-said", "a-number-beyond-64-bits", "half-a-character"],
)
def test_whatever_a_record_holds_is_kept(record: Features) -> None:
    packed = packing.Records([Features(surname=("berg",)), record])
    assert packed[1] == record
    assert packed[0:2] == [Features(surname=("berg",)), record]
    with pytest.raises(IndexError):
        packed[2]


def test_values_are_counted_by_column_as_by_record() -> None:
    records = [features(from_fhir(resource)) for resource in people(400, seed=5)]
    plain: dict[str, Counter[str]] = {}
    for record in records:
        for table, value in frequency_terms(record):
            plain.setdefault(table, Counter())[value] += 1
    tables, floor = training.frequencies(records)
    assert set(tables) == {table for table, counts in plain.items() if counts.total() >= 150}
    for table, shares in tables.items():
        total = plain[table].total()
        assert shares == {value: count / total for value, count in plain[table].items() if count > 2}
        assert floor[table] == 2 / total
