"""What of one organization two people decide: its release policy, its agreement, its place, the end of its suspension.

The rows are the directory's; `consent.governance` proposes and activates. A release policy may be put off to an instant;
the others count from their activation on. An agreement has a period of its own.

Source: spec/consent.md 11.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from consent import jurisdictions
from consent.drafts import Draft
from consent.errors import PolicyRefused
from consent.models import PolicyProposal
from hie.directory import forms, registration
from hie.directory import queries as directory
from hie.directory.errors import Fault, RegistrationRefused, UnknownParticipant
from hie.directory.models import Agreement, Participant, Placement, ReleasePolicy, Standing
from hie.standards.facts import ParticipantFacts

Kind = PolicyProposal.Kind
KINDS = frozenset({Kind.RELEASE_POLICY, Kind.AGREEMENT, Kind.PLACEMENT, Kind.REINSTATEMENT})
AT_ONCE = KINDS - {Kind.RELEASE_POLICY}
"""Kinds of change that cannot be put off."""
_IN = {"status": Standing.ACTIVE.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A version as stored; `effective_from` None: it counts whatever the time."""

    version: int
    body: Any
    effective_from: datetime | None


def rows(kind: str, subject: str) -> list[Row]:
    """The versions of an organization's part of policy, newest first. One statement, of its standing two."""
    if kind == Kind.RELEASE_POLICY:
        released = ReleasePolicy.objects.filter(participant_id=subject).order_by("-version")
        return [Row(version=row.version, body=row.rules, effective_from=row.effective_from) for row in released]
    if kind == Kind.AGREEMENT:
        agreed = Agreement.objects.filter(participant_id=subject).order_by("-version")
        return [
            Row(version=row.version, body=registration.agreement_form(row), effective_from=row.recorded_at)
            for row in agreed
        ]
    if kind == Kind.PLACEMENT:
        placed = Placement.objects.filter(participant_id=subject, version__gt=0).order_by("-version")
        return [Row(version=row.version, body=_said(row), effective_from=row.recorded_at) for row in placed]
    status = Participant.objects.filter(pk=subject).values_list("status", flat=True).first()
    if status is None:
        return []
    return [Row(version=registration.standings(subject), body={"status": status}, effective_from=None)]


def before_any(kind: str, subject: str) -> Any:
    """What there was before any version; None where there was nothing."""
    if kind == Kind.RELEASE_POLICY:
        return []
    if kind == Kind.PLACEMENT:
        first = Placement.objects.filter(participant_id=subject, version=0).first()
        row = Participant.objects.filter(pk=subject).first() if first is None else None
        return _said(first) if first is not None else registration.placement_of(row) if row is not None else None
    return None


def check(kind: str, subject: str, body: Any) -> None:
    """Refuse a new version that could not be read, or names what the hub does not know.

    Raises:
        PolicyRefused: the first thing that is wrong; `element` names it.
    """
    row = Participant.objects.filter(pk=subject).first()
    if row is None:
        raise PolicyRefused("there is no such participant", element="subject")
    if kind == Kind.RELEASE_POLICY:
        _first(forms.read_release_policy(body, "body")[1])
    elif kind == Kind.AGREEMENT:
        _first(forms.read_agreement(body, "body")[1])
    elif kind == Kind.PLACEMENT:
        read, faults = forms.read_placement(body, "body")
        _first(faults or registration.check_placement(subject, read, "body"))
        if "jurisdiction" in read and read["jurisdiction"] not in jurisdictions.in_effect():
            raise PolicyRefused(f"{read['jurisdiction']} is not known", element="body.jurisdiction")
    elif body != _IN:
        raise PolicyRefused('must be {"status": "active"}', element="body")
    elif row.status == Standing.ACTIVE:
        raise PolicyRefused("is not suspended", element="subject")


def draft_of(kind: str, subject: str, body: Any) -> Draft:
    """A version as a draft to decide with.

    Raises:
        PolicyRefused: there is no such participant.
    """
    facts = directory.participant(subject)
    if facts is None:
        raise PolicyRefused("there is no such participant", element="subject")
    if kind == Kind.REINSTATEMENT:
        standing = directory.standing_if(subject, Standing.ACTIVE)
        members = directory.participants()
        return Draft(
            participants={one: replace(members[one], status=standing[one]) for one in standing if one in members}
        )
    return Draft(participants={subject: _DRAFTED[kind](facts, body)})


def store(kind: str, subject: str, body: Any, *, effective_from: datetime, actor: str, approved_by: str) -> int:
    """Put a version into force; its number.

    Raises:
        PolicyRefused: there is no such participant, or the directory refuses it.
    """
    names = {"actor": actor, "approved_by": approved_by}
    try:
        if kind == Kind.RELEASE_POLICY:
            return registration.release(subject, body, effective_from=effective_from, **names)
        if kind == Kind.AGREEMENT:
            return registration.agree(subject, body, **names)
        if kind == Kind.PLACEMENT:
            return registration.place(subject, body, **names)
        return registration.reinstate(subject, "by two people", f"{actor} and {approved_by}")
    except UnknownParticipant as error:
        raise PolicyRefused("there is no such participant", element="subject") from error
    except RegistrationRefused as error:
        raise PolicyRefused(str(error), element="body") from error


def _said(row: Placement) -> dict[str, str]:
    said = {"part_of": row.part_of, "jurisdiction": row.jurisdiction}
    return {member: value for member, value in said.items() if value}


def _first(faults: list[Fault]) -> None:
    if faults:
        raise PolicyRefused(f"{faults[0].path} {faults[0].message}", element=faults[0].path)


def _released(facts: ParticipantFacts, body: Any) -> ParticipantFacts:
    return replace(facts, release_policy=tuple(directory.release_rule(rule) for rule in body))


def _agreed(facts: ParticipantFacts, body: Any) -> ParticipantFacts:
    read, _ = forms.read_agreement(body)
    return replace(facts, agreement=directory.agreement_facts(read))


def _placed(facts: ParticipantFacts, body: Any) -> ParticipantFacts:
    return replace(facts, part_of=body.get("part_of"), jurisdiction=body.get("jurisdiction"))


_DRAFTED: dict[str, Callable[[ParticipantFacts, Any], ParticipantFacts]] = {
    Kind.RELEASE_POLICY: _released,
    Kind.AGREEMENT: _agreed,
    Kind.PLACEMENT: _placed,
}
