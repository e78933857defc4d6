"""The engine and the slow evaluator, written apart, agree."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from consent.case_fixtures import Fixture
from consent.cases import decide_case
from tests.consent import fixture as fx
from tests.consent import slow_evaluator
from tests.consent.strategies import cases

FAST = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


def agree(case: dict[str, Any]) -> dict[str, Any]:
    answer = decide_case(case, Fixture(fx.FIXTURE))
    assert answer == slow_evaluator.evaluate(fx.FIXTURE, case)
    return answer


@FAST
@given(cases(wild=True))
def test_engine_and_slow_evaluator_agree(case: dict[str, Any]) -> None:
    assert agree(case)["rule"]


@pytest.mark.shared
def test_slow_evaluator_gives_the_worked_cases() -> None:
    data = json.loads(Path(os.environ.get("HIE_SHARED", "../shared"), "data/consent/worked_cases.json").read_text())
    for case in data["cases"]:
        expected = {"id": case["id"], **case["expected"]}
        assert slow_evaluator.evaluate(data["fixture"], case) == expected
