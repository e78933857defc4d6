"""Worked consent cases: a fixture and cases as JSON, to decisions as JSON.

The form is that of `spec/consent.md` section 20. Pure: no database, no clock.
Only what decides is read; an `expected` or `why` beside it never is. A case that
cannot be used is a deny G1; a part of a fixture that cannot be used is not there.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterator, Mapping
from typing import Any, Final

from consent import engine
from consent.case_fixtures import Fixture
from consent.case_values import JSON, Unusable, document_from, instant, request_from, subject_from
from hie.standards.facts import Decision

_SPACE: Final = re.compile(r"[ \t\n\r]*")


class CaseFile:
    """The text of a case file, read through once; its cases are decoded one at a time, as they are asked for by number.

    Raises:
        Unusable: there is no object `fixture` or no list `cases`.
        ValueError: the text is not JSON.
        RecursionError: it is nested too deep to be read.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._decoder = json.JSONDecoder()
        self._starts = array("q")  # where each case begins
        has_cases = False
        fixture: object = None
        for member, at in self._members():
            if member == "fixture":
                fixture = self._value(at)[0]
            elif member == "cases":
                has_cases = text.startswith("[", at)
        if not isinstance(fixture, Mapping):
            raise Unusable("no object `fixture`")
        if not has_cases:
            raise Unusable("no list `cases`")
        self.fixture = fixture

    def __len__(self) -> int:
        return len(self._starts)

    def case(self, number: int) -> object:
        """The case with this number, from 0, in the order of the file."""
        return self._value(self._starts[number])[0]

    def _members(self) -> Iterator[tuple[object, int]]:
        """Each member of the whole, with where its value begins; all of the text is checked on the way."""
        at = self._skip(0)
        if not self._text.startswith("{", at):
            self._value(at)
            raise Unusable("no object `fixture`")
        at = self._after("{", at)
        while not self._text.startswith("}", at):
            member, at = self._value(at)
            if not isinstance(member, str):
                raise ValueError("a name is not text")
            begin = at = self._after(":", at)
            if member == "cases":
                del self._starts[:]  # of two members of one name the last one counts
            if member == "cases" and self._text.startswith("[", at):
                at = self._after("[", begin)
                for start, end in self._elements(begin):
                    self._starts.append(start)
                    at = end
                at = self._after("]", at)
            else:
                _, at = self._value(at)
            yield member, begin
            if not self._text.startswith("}", at):
                at = self._after(",", at)
                if self._text.startswith("}", at):
                    raise ValueError("a comma before the end of an object")
        if self._after("}", at) != len(self._text):
            raise ValueError("more after the end")

    def _elements(self, at: int) -> Iterator[tuple[int, int]]:
        """Where each value of the list that begins here begins, and where reading goes on after it."""
        at = self._after("[", at)
        while not self._text.startswith("]", at):
            start = at
            _, at = self._value(at)
            yield start, at
            if not self._text.startswith("]", at):
                at = self._after(",", at)
                if self._text.startswith("]", at):
                    raise ValueError("a comma before the end of a list")

    def _value(self, at: int) -> tuple[object, int]:
        value, end = self._decoder.raw_decode(self._text, at)
        return value, self._skip(end)

    def _after(self, mark: str, at: int) -> int:
        if not self._text.startswith(mark, at):
            raise ValueError(f"no {mark} at {at}")
        return self._skip(at + 1)

    def _skip(self, at: int) -> int:
        space = _SPACE.match(self._text, at)
        return space.end() if space else at


def decide_case(case: object, fixture: Fixture) -> dict[str, Any]:
    """The answer to one case, as one JSON object; never raises."""
    identifier = case.get("id") if isinstance(case, Mapping) else None
    if not isinstance(case, Mapping):
        return {"id": identifier, **_answer(_UNUSABLE)}
    try:
        prepared = prepare(case, fixture)
    except (Unusable, RecursionError):
        prepared = None
    if "documents" not in case:
        return {"id": identifier, **_answer(_decide_document(prepared, case.get("document")))}
    documents = case["documents"]
    answers: dict[str, Any] = {}
    for index, document in enumerate(documents if isinstance(documents, list) else []):
        name = document.get("id") if isinstance(document, Mapping) else None
        name = name if isinstance(name, str) else f"documents[{index}]"
        answers[name] = _answer(_decide_document(prepared, document))
    outcomes = {one["decision"] for one in answers.values()}
    together = "partial" if len(outcomes) > 1 else next(iter(outcomes), "deny")
    return {"id": identifier, "decision": together, "documents": answers}


_UNUSABLE = Decision(permitted=False, rule="G1", reason="invalid-request")


def _answer(decision: Decision) -> dict[str, Any]:
    return {
        "decision": decision.outcome,
        "rule": decision.rule,
        "reason": decision.reason,
        "obligations": list(decision.obligations),
    }


def _decide_document(prepared: engine.Prepared | None, document: object) -> Decision:
    try:
        return prepared.decide(document_from(document)) if prepared is not None else _UNUSABLE
    except (Unusable, RecursionError):
        return _UNUSABLE


def prepare(case: JSON, fixture: Fixture) -> engine.Prepared:
    """A case's request and patient, ready to decide its documents.

    Raises:
        Unusable: now, patient, consents or request cannot be read.
    """
    policy, patients = fixture.policy(case.get("fixtureOverride"))
    subject = subject_from(case.get("patient"), patients)
    consents = case.get("consents")
    if not isinstance(consents, list):
        raise Unusable("consents")
    directives = [
        engine.compile_directive(resource, directive_id=_consent_id(resource, index), patient_ids=subject.ids)
        for index, resource in enumerate(consents)
    ]
    patient = engine.compile_patient(subject, directives)
    return engine.Prepared(request_from(case.get("request")), patient, policy, now=instant(case, "now"))


def _consent_id(resource: object, index: int) -> str:
    identifier = resource.get("id") if isinstance(resource, Mapping) else None
    return identifier if isinstance(identifier, str) else f"consents[{index}]"
