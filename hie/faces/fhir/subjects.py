"""Whom a submitted resource is about: references of any kind to one identifier of the index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from documents.metadata import CX
from hie.exchange import named_patients
from hie.exchange.named_patients import PatientNamed
from hie.standards.facts import Caller
from hie.standards.fhir import ID, JsonObject, Problem


class Subjects:
    """Resolves the subjects of one submission; all must be one person."""

    def __init__(self, caller: Caller, base: str, patients: Mapping[str, JsonObject] | None = None) -> None:
        self._caller = caller
        self._base = base
        self._patients = patients or {}
        self._person: UUID | None = None
        self.cx: CX | None = None
        self.problems: list[Problem] = []

    def see(self, path: str, reference: Mapping[str, Any] | None) -> None:
        """Take note of a subject; a missing one is the profile's to complain about."""
        if not reference:
            return
        names = self._names(reference)
        if not names:
            self._add(path, "subject names no Patient of this server", "value", "XDSUnknownPatientId")
            return
        found: tuple[UUID, PatientNamed] | None = None
        for each in names:
            known = named_patients.person_of(each, caller=self._caller)
            if known is not None:
                found = known, each
                break
        if found is None:
            self._add(path, "no such patient", "not-found", "XDSUnknownPatientId")
            return
        person, name = found
        if self._person is None:
            self._person = person
            self.cx = named_patients.patient_cx(name, caller=self._caller)
        elif self._person != person:
            self._add(path, "the subjects are different patients", "invariant", "XDSPatientIdDoesNotMatch")

    def _add(self, path: str, message: str, code: str, details: str) -> None:
        self.problems.append(Problem(expression=path, message=message, code=code, details=details))

    def _names(self, reference: Mapping[str, Any]) -> list[PatientNamed]:
        target = str(reference.get("reference", ""))
        if target in self._patients:
            return [
                PatientNamed(system=item["system"], value=item["value"])
                for item in self._patients[target].get("identifier", ())
                if item.get("system") and item.get("value")
            ]
        local = target.removeprefix(f"{self._base}/").split("/_history/")[0]
        kind, _, logical = local.partition("/")
        if kind == "Patient" and ID.match(logical):
            return [PatientNamed(id=logical)]
        identifier = reference.get("identifier") or {}
        if not target and identifier.get("system") and identifier.get("value"):
            return [PatientNamed(system=identifier["system"], value=identifier["value"])]
        return []
