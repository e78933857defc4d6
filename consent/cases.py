"""Worked consent cases: a fixture and cases as JSON, to decisions as JSON.

The form is that of `spec/consent.md` section 20. Pure: no database, no clock.
Only what decides is read; an `expected` or `why` beside it never is. A case that
cannot be used is a deny G1; a part of a fixture that cannot be used is not there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from consent import engine
from consent.case_fixtures import Fixture
from consent.case_values import JSON, Unusable, document_from, instant, request_from, subject_from
from hie.standards.facts import Decision

_SPACE: Final = re.compile(r"[ \t\n\r]*")


class CaseFile:
    """The text of a case file, read through once; its cases are decoded one at a time, as they are asked for.

    Raises:
        Unusable: there is no object `fixture` or no list `cases`.
        ValueError: the text is not JSON.
        RecursionError: it is nested too deep to be read.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._decoder = json.JSONDecoder()
        self._cases_at: int | None = None
        fixture: object = None
        for member, at in self._members():
            if member == "fixture":
                fixture = self._value(at)[0]
            elif member == "cases":
                self._cases_at = at if text.startswith("[", at) else None
        if not isinstance(fixture, Mapping):
            raise Unusable("no object `fixture`")
        if self._cases_at is None:
            raise Unusable("no list `cases`")
        self.fixture = fixture

    def cases(self) -> Iterator[object]:
        """The cases, in order."""
        if self._cases_at is not None:
            for case, _ in self._elements(self._cases_at):
                yield case

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
            if member == "cases" and self._text.startswith("[", at):
                ends = (end for _, end in self._elements(begin))
                at = self._after("]", max(ends, default=self._after("[", begin)))
            else:
                _, at = self._value(at)
            yield member, begin
            if not self._text.startswith("}", at):
                at = self._after(",", at)
                if self._text.startswith("}", at):
                    raise ValueError("a comma before the end of an object")
        if self._after("}", at) != len(self._text):
            raise ValueError("more after the end")

    def _elements(self, at: int) -> Iterator[tuple[object, int]]:
        """Each value of the list that begins here, with where reading goes on after it."""
        at = self._after("[", at)
        while not self._text.startswith("]", at):
            value, at = self._value(at)
            yield value, at
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
