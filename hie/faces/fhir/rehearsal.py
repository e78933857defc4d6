"""A FHIR Patient and a Provide Document Bundle as a self-test reads them: up to where something would be stored.

Source: PMIR ITI-104 (ITI TF-2 3.104), MHD ITI-65 (ITI TF-2 3.65).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from documents.metadata import CX
from hie.exchange.self_test import Candidate, Check, failed, passed
from hie.faces.fhir import transaction
from hie.faces.fhir.errors import ProfileViolation
from hie.faces.fhir.patient import check_profile
from hie.faces.fhir.people_codec import demographics_from
from hie.standards import fhir
from hie.standards.demographics import authority_of
from hie.standards.errors import HubError
from hie.standards.fhir import JsonObject, Problem

_MOST = 20
_FEED, _PROVIDE = "ITI TF-2 3.104", "ITI TF-2 3.65"


def patient(raw: bytes, candidate: Candidate) -> Iterator[Check]:
    """The checks of one Patient as it would be fed; the first step that fails is the last."""
    resource, wrong = _read(raw, "Patient", "FHIR R4, Patient")
    yield from wrong
    if resource is None:
        return
    yield passed("Patient can be read", "FHIR R4, Patient", "Patient")
    try:
        demographics = demographics_from(resource)
        own = next((one for one in demographics.identifiers if authority_of(one.system) == candidate.authority), None)
        if own is None or not candidate.authority:
            yield failed(
                "Identifier is of your own domain", _FEED, "Patient.identifier",
                found="no identifier of your assigning authority",
                fix=f"Send system urn:oid:{candidate.authority}" if candidate.authority
                else "Register your assigning authority among the details of the organization",
            )  # fmt: skip
            return
        yield passed("Identifier is of your own domain", _FEED, "Patient.identifier")
        check_profile(resource, demographics, own.system, own.value)
    except HubError as refused:
        yield from _refused(refused, "Patient holds the profile", f"{_FEED}; IHE PDQm Patient", "Patient")
        return
    yield passed("Patient holds the profile", f"{_FEED}; IHE PDQm Patient", "Patient")
    yield (
        passed("Patient has a birth date", _FEED, "Patient.birthDate")
        if demographics.birth_date
        else failed(
            "Patient has a birth date",
            _FEED,
            "Patient.birthDate",
            found="it is missing",
            fix="Send it: people are matched by it",
        )
    )


def bundle(raw: bytes, candidate: Candidate) -> Iterator[Check]:
    """The checks of one Provide Document Bundle; of each step that fails every problem."""
    resource, wrong = _read(raw, "Bundle", "FHIR R4, Bundle")
    yield from wrong
    if resource is None:
        return
    yield passed("Bundle can be read", "FHIR R4, Bundle", "Bundle")
    subject, check = _subject(resource, candidate)
    yield check
    try:
        steps = transaction.rehearse(resource, subject)
        for name, problems in steps:
            if problems:
                yield from _told(problems, name, _PROVIDE)
                return
            yield passed(name, _PROVIDE, "Bundle")
    except HubError as refused:
        yield from _refused(refused, "Bundle holds the profile", _PROVIDE, "Bundle")


def _read(raw: bytes, kind: str, clause: str) -> tuple[JsonObject | None, list[Check]]:
    name = f"{kind} can be read"
    try:
        resource = fhir.loads(raw)
    except HubError as refused:
        return None, list(_refused(refused, name, clause, kind))
    if resource.get("resourceType") != kind:
        fix = f"Send one {kind} as JSON"
        return None, [failed(name, clause, "resourceType", found=f"it is no {kind}", fix=fix)]
    problems = fhir.check(raw, resource)
    return (None, list(_told(problems, name, clause))) if problems else (resource, [])


def _subject(resource: JsonObject, candidate: Candidate) -> tuple[CX, Check]:
    """The patient of the submission, whom the hub need not know; named in the candidate's own domain."""
    name, where = "Patient is named in your own domain", "DocumentReference.subject"
    found: list[tuple[str, str]] = []
    for entry in resource.get("entry", ()):
        held: Any = entry.get("resource") or {}
        named: list[Any] = []
        if held.get("resourceType") in ("DocumentReference", "List"):
            named = [(held.get("subject") or {}).get("identifier") or {}]
        elif held.get("resourceType") == "Patient":
            named = held.get("identifier", [])
        found += [(str(one.get("system", "")), str(one.get("value", ""))) for one in named if one.get("value")]
    for system, value in found:
        if candidate.authority and authority_of(system) == candidate.authority:
            return CX(value=value, authority=candidate.authority), passed(name, _PROVIDE, where)
    subject = CX(value="rehearsal", authority=candidate.authority or "2.999")
    fix = (
        f"Name the patient by subject.identifier with system urn:oid:{candidate.authority or 'and your own authority'}"
    )
    return subject, failed(name, _PROVIDE, where, found="no identifier of your assigning authority", fix=fix)


def _refused(refused: HubError, name: str, clause: str, where: str) -> Iterator[Check]:
    if isinstance(refused, ProfileViolation):
        yield from _told(refused.problems, name, clause)
    else:
        yield failed(name, clause, refused.element or where, found=str(refused), fix="Mend the element that is named")


def _told(problems: Any, name: str, clause: str) -> Iterator[Check]:
    found: list[Problem] = list(problems)
    for problem in found[:_MOST]:
        code = f" ({problem.details})" if problem.details else ""
        yield failed(name, f"{clause}{code}", problem.expression, found=problem.message, fix="Mend this element")
    if len(found) > _MOST:
        yield failed(
            name, clause, "", found=f"{len(found) - _MOST} more problems", fix="Mend those above and run the test again"
        )
