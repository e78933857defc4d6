"""Directives as they were: the versions that a decision record names, compiled to decide it again.

Source: spec/consent.md 13.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db.models import Q

from consent import directives
from consent.engine import Directive, PatientPolicy, compile_directive, compile_patient
from consent.models import ConsentVersion
from hie.standards.facts import SubjectFacts


class MissingVersion(Exception):
    """A version of a directive that a record names is not in store."""


def directives_as_then(subject: SubjectFacts, considered: Iterable[str]) -> PatientPolicy:
    """The person's directives of these versions (``id@version``), compiled; one statement.

    Raises:
        MissingVersion: one is not in store, or its name cannot be read.
    """
    wanted: dict[tuple[UUID, int], str] = {}
    for name in considered:
        identifier, _, version = name.rpartition("@")
        try:
            wanted[UUID(identifier), int(version)] = name
        except ValueError as problem:
            raise MissingVersion(name) from problem
    found: list[Directive] = []
    if wanted:
        any_of = Q()
        for key, number in wanted:
            any_of |= Q(consent_id=key, version=number)
        for row in ConsentVersion.objects.filter(any_of):
            del wanted[row.consent_id, row.version]
            found.append(
                compile_directive(
                    directives.spelt(row.resource), directive_id=str(row.consent_id), version=str(row.version)
                )
            )
    if wanted:
        raise MissingVersion(", ".join(sorted(wanted.values())))
    return compile_patient(subject, found)
