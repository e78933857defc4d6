"""What a wrong change of the engine must not survive: everything it says, held against the slow evaluator.

Pure: no Django, no database. `tests.consent.mutation` runs it against each mutant, tests run it against the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from consent import cases
from consent.case_fixtures import Fixture
from consent.case_values import document_from
from consent.engine import compile_directive, gate
from tests.consent import fixture as fx


def said(case: Mapping[str, Any], fixture: Fixture) -> dict[str, Any]:
    """What it says: each document alone, all together, and explained; these must agree."""
    prepared = cases.prepare(case, fixture)
    documents = [document_from(one) for one in case["documents"]]
    together = prepared.decide_all(documents)
    for document, decision in zip(documents, together, strict=True):
        trace: list[Any] = []
        assert prepared.decide(document) == decision
        assert prepared.decide(document, trace=trace) == decision
        assert [one.fired for one in trace] == [False] * (len(trace) - 1) + [True]
        assert (trace[-1].rule, trace[-1].basis) == (decision.rule, decision.basis)
    refusal = gate(prepared.request, prepared.policy, now=prepared.now)
    return {
        "decisions": [
            (
                one.outcome,
                one.rule,
                one.reason,
                list(one.obligations),
                sorted((item.kind, item.id, item.path) for item in one.basis),
            )
            for one in together
        ],
        "considered": sorted(item.id for item in prepared.considered()),
        "gate": refusal.rule if refusal is not None else None,
    }


def hold(corpus: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> int | None:
    """The place of the first (case, expected) that the engine gets wrong; None: it gets all right."""
    fixture = Fixture(fx.FIXTURE)
    return next((place for place, (case, right) in enumerate(corpus) if not says(case, right, fixture)), None)


def says(case: Mapping[str, Any], right: Mapping[str, Any], fixture: Fixture) -> bool:
    """Whether the engine says of a case what is right."""
    try:
        return said(case, fixture) == right
    except Exception:
        return False


def noted(resource: object) -> tuple[list[tuple[str, str]], list[tuple[str, str]], int, int]:
    """What filing is told of a Consent: problems and unknown codes by element, depth and size."""
    read = compile_directive(resource, directive_id="c", patient_ids=frozenset({"ada"}))
    return (
        [(one.element, one.message) for one in read.problems],
        [(one.element, one.message) for one in read.unknown_codes],
        read.depth,
        read.size,
    )
