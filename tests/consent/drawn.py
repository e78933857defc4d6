"""A fixed corpus of drawn cases with the answers of the slow evaluator; it imports nothing of the engine."""

from __future__ import annotations

import copy
import warnings
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.consent import fixture as fx
from tests.consent import slow_evaluator
from tests.consent.strategies import cases, documents


def corpus(size: int, first: int = 1) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Cases, the same for the same size and seed, each with two documents more, and what is right about each."""
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []

    @seed(first)
    @settings(
        max_examples=size,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(wild=True), st.lists(documents(), min_size=2, max_size=2))
    def draw(case: dict[str, Any], more: list[dict[str, Any]]) -> None:
        case = copy.deepcopy(case)
        about = [case.pop("document"), *more]
        case["documents"] = [one | {"id": f"d{number}"} for number, one in enumerate(about)]
        case["documents"][0]["id"] = "d"
        found.append((case, right(case)))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        draw()
    return found


def right(case: dict[str, Any]) -> dict[str, Any]:
    """What the engine is to say of a case: decisions with basis, considered consents, gate."""
    told = slow_evaluator.Case(fx.FIXTURE, case)
    return {
        "decisions": [
            (decision, rule, reason, obligations, sorted(basis))
            for decision, rule, reason, obligations, basis in map(told.decide, case["documents"])
        ],
        "considered": told.considered() if told.pj else [],
        "gate": told.gate(),
    }
