"""`./hub consent_cost`: what consent costs a search of one patient's documents, for `./hub bench consent`; never in production."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from consent import directives
from hie import heap
from hie.exchange import access, find, named_patients
from hie.exchange.access import R, Subject, Verdict
from hie.exchange.found_pages import DocumentSearch
from hie.exchange.named_patients import PatientNamed
from hie.standards.facts import Caller, Decision, DocumentFacts, Operation, SubjectFacts

_ALL: Decision = Decision(permitted=True, rule="F1", reason="default-opt-out")


class Command(BaseCommand):
    help = "Searches a patient's documents with and without consent, and prints what that cost as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("patient", help="system|value")
        parser.add_argument("organization")
        parser.add_argument("user")
        parser.add_argument("--times", type=int, default=20)

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError("in a production hub nothing is ever searched without consent")
        system, _, value = options["patient"].partition("|")
        caller = Caller(
            participant_id=options["organization"],
            organization_id=options["organization"],
            client_id=options["organization"],
            user_id=options["user"],
            role="physician",
            purpose="TREAT",
            scopes=frozenset(),
        )
        named = PatientNamed(system=system, value=value)
        person = named_patients.person_of(named, caller=caller)
        if person is None:
            raise CommandError("no such patient")
        search = DocumentSearch(patients=((named,),), count=500, sort=(("", True),))
        times = options["times"]
        subject = access.subject(person)
        asked = [(subject.facts, subject.identifier_pks)]

        def load() -> None:
            directives.forget_compiled()
            directives.for_subjects(asked)

        found = find.find_documents(search, caller=caller)
        heap.settle()  # as in the processes that serve
        loaded = _each(load, times * 5)
        # In turn, so that what else the machine does falls on both.
        with_consent: list[float] = []
        without: list[float] = []
        for _ in range(times):
            with_consent += _each(lambda: find.find_documents(search, caller=caller), 1)
            with _without_consent(subject.policy):
                without += _each(lambda: find.find_documents(search, caller=caller), 1)
        answer = {
            "directives": len(subject.policy.directives),
            "documents": len(found.rows),
            "load_ms": [round(one, 3) for one in sorted(loaded)],
            "with_ms": [round(one, 3) for one in sorted(with_consent)],
            "without_ms": [round(one, 3) for one in sorted(without)],
        }
        self.stdout.write(json.dumps(answer))


def _each(act: Callable[[], object], times: int) -> list[float]:
    """CPU of this process and what it waited for the database, in ms."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        took.append((time.perf_counter() - began) * 1000)
    return took


@contextmanager
def _without_consent(as_read: Any) -> Iterator[None]:
    """The same search where every document may be seen: no directives are read, no facts made up, nothing is decided.

    What the audit writes of each document stays.
    """

    def permitted(caller: Caller, about: Subject, rows: Iterable[R], operation: Operation) -> Verdict[R]:
        held = list(rows)
        facts = {
            id(row): DocumentFacts(
                id=row.entry_uuid.removeprefix("urn:uuid:"),  # type: ignore[attr-defined]  # rows of a search
                patient=about.person_id,
                custodian=row.custodian,  # type: ignore[attr-defined]
                confidentiality=row.confidentiality,  # type: ignore[attr-defined]
                labels=row.labels,  # type: ignore[attr-defined]
            )
            for row in held
        }
        return Verdict(permitted=tuple((row, _ALL) for row in held), facts=facts, root_organization="bench")

    def none(subjects: Iterable[tuple[SubjectFacts, Collection[int]]]) -> dict[str, directives.Directed]:
        return {
            about.id: directives.Directed(policy=replace(as_read, subject=about, directives=()), epoch=0)
            for about, _ in subjects
        }

    with mock.patch.object(access, "permitted", permitted), mock.patch.object(directives, "for_subjects", none):
        yield
