"""The engine says of every case what the slow evaluator says, with what each decision rests on."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from consent.engine.decide import RULES
from tests.consent import drawn, killing


def test_decisions_with_their_basis_considered_consents_and_gate_are_those_of_the_slow_evaluator() -> None:
    corpus = drawn.corpus(int(os.environ.get("HIE_EXAMPLES", "25")) * 4)
    assert killing.hold(corpus) is None
    assert {one[0] for _, right in corpus for one in right["decisions"]} == {"permit", "deny"}


@pytest.mark.slow
@pytest.mark.parametrize("portion", range(2, 6))
def test_they_are_in_five_thousand_cases_that_reach_every_rule(portion: int) -> None:
    corpus = drawn.corpus(5_000, first=portion)
    assert killing.hold(corpus) is None
    reached = Counter(one[1] for _, right in corpus for one in right["decisions"])
    print(f"{reached.total()} decisions: {', '.join(f'{rule} {reached[rule]}' for rule in sorted(reached))}")
    assert reached.keys() == {rule.rule for rule in RULES}
