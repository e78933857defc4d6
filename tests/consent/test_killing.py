"""The engine says of every case what the slow evaluator says, with what each decision rests on."""

from __future__ import annotations

import os

import pytest

from tests.consent import drawn, killing


def test_decisions_with_their_basis_considered_consents_and_gate_are_those_of_the_slow_evaluator() -> None:
    corpus = drawn.corpus(int(os.environ.get("HIE_EXAMPLES", "25")) * 4)
    assert killing.hold(corpus) is None
    assert {one[0] for _, right in corpus for one in right["decisions"]} == {"permit", "deny"}


@pytest.mark.slow
def test_they_are_in_twenty_thousand_cases() -> None:
    assert killing.hold(drawn.corpus(20_000)) is None
