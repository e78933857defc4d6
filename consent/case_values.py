"""The values of worked consent cases, from JSON: patient, request, documents, organizations.

The form is that of `spec/consent.md` section 20. What has another shape is refused by the member's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from consent.engine import time
from hie.standards.facts import (
    AgreementFacts,
    BreakGlassGrant,
    DocumentFacts,
    ParticipantFacts,
    ProxyGrant,
    ReleaseRule,
    RequestFacts,
    SubjectFacts,
)

JSON = Mapping[str, Any]


class Unusable(ValueError):
    """A part of a case or fixture has the wrong shape; the message names the member."""


def subject_from(identifier: object, patients: JSON) -> SubjectFacts:
    """The patient of a case.

    Raises:
        Unusable: no such patient, or its jurisdiction or linked ids cannot be read.
    """
    data = patients.get(identifier) if isinstance(identifier, str) else None
    if not isinstance(identifier, str) or not isinstance(data, Mapping):
        raise Unusable("patient")
    birth_date = data.get("birthDate")
    return SubjectFacts(
        id=identifier,
        # A birth date that is no text is an unreadable one: the engine refuses where age matters.
        birth_date=birth_date if isinstance(birth_date, str) else None,
        jurisdiction=_text(data, "jurisdiction"),
        linked=frozenset(_texts(data, "linked")),
    )


def request_from(data: object) -> RequestFacts:
    """The request of a case; a grant that cannot be read is no grant.

    Raises:
        Unusable: not an object, or the care teams cannot be read.
    """
    if not isinstance(data, Mapping):
        raise Unusable("request")
    relationship = data.get("relationship")
    return RequestFacts(
        organization=_word(data, "org"),
        user=_word(data, "user"),
        role=_word(data, "role"),
        purpose=_word(data, "purpose"),
        operation=_word(data, "operation"),
        relationship=relationship if isinstance(relationship, str) else None,
        care_teams=_texts(data, "careTeams"),
        break_glass=_break_glass(data.get("breakGlass")),
        proxy_grant=_proxy_grant(data.get("proxyGrant")),
    )


def _break_glass(data: object) -> BreakGlassGrant | None:
    if not isinstance(data, Mapping):
        return None
    try:
        return BreakGlassGrant(
            id=_text(data, "id") or "",
            user=_text(data, "user") or "",
            organization=_text(data, "org") or "",
            patient=_text(data, "patient") or "",
            start=instant(data, "start"),
            end=instant(data, "end"),
            status=_text(data, "status") or "",
            reason=_text(data, "reason") or "",
            text=_text(data, "text") or "",
        )
    except Unusable:
        return None


def _proxy_grant(data: object) -> ProxyGrant | None:
    if not isinstance(data, Mapping):
        return None
    try:
        period = _optional_object(data, "period")
        return ProxyGrant(
            id=_text(data, "id") or "",
            person=_text(data, "person") or "",
            patient=_text(data, "patient") or "",
            kind=_text(data, "kind") or "",
            status=_text(data, "status") or "",
            max_confidentiality=_text(data, "maxConfidentiality"),
            start=_text(period, "start"),
            end=_text(period, "end"),
        )
    except Unusable:
        return None


def document_from(data: object) -> DocumentFacts:
    """A document of a case, its sources included.

    Raises:
        Unusable: a member has the wrong shape.
    """
    if not isinstance(data, Mapping):
        raise Unusable("document")
    labelled = data.get("labelled", True)
    if not isinstance(labelled, bool):
        raise Unusable("labelled")
    sources = data.get("derivedFrom", [])
    if not isinstance(sources, list):
        raise Unusable("derivedFrom")
    return DocumentFacts(
        id=_text(data, "id") or "",
        patient=_text(data, "patient") or "",
        custodian=_text(data, "custodian") or "",
        authors=_texts(data, "authors"),
        classes=frozenset(_texts(data, "class")),
        codes=frozenset(_texts(data, "codes")),
        confidentiality=_text(data, "confidentiality"),
        labels=frozenset(_texts(data, "labels")),
        labelled=labelled,
        service_start=_text(data, "serviceStart"),
        service_stop=_text(data, "serviceStop"),
        created=_text(data, "created"),
        encounter=_text(data, "encounter"),
        related=_texts(data, "related"),
        depends_on=_texts(data, "dependsOn"),
        derived_from=tuple(document_from(one) for one in sources),
    )


def participant_from(identifier: str, data: object) -> ParticipantFacts:
    """An organization of a fixture.

    Raises:
        Unusable: a member has the wrong shape.
    """
    if not isinstance(data, Mapping):
        raise Unusable(identifier)
    agreement = data.get("agreement")
    if agreement is not None and not isinstance(agreement, Mapping):
        raise Unusable("agreement")
    return ParticipantFacts(
        id=identifier,
        part_of=_text(data, "partOf"),
        type=_text(data, "type"),
        jurisdiction=_text(data, "jurisdiction"),
        status=_text(data, "status") or "active",
        agreement=agreement_from(agreement) if agreement is not None else None,
        part2_program=_flag(data, "part2Program"),
        requires_relationship=_flag(data, "requiresRelationship"),
        release_policy=tuple(release_rule_from(one) for one in _objects(data, "releasePolicy")),
        identifiers=tuple(
            f"{_text(one, 'system') or ''}|{_text(one, 'value') or ''}" for one in _objects(data, "identifiers")
        ),
    )


def agreement_from(data: JSON) -> AgreementFacts:
    """A participation agreement of a fixture.

    Raises:
        Unusable: a member has the wrong shape.
    """
    period = _optional_object(data, "period")
    return AgreementFacts(
        status=_text(data, "status") or "",
        start=_text(period, "start"),
        end=_text(period, "end"),
        purposes=_texts(data, "purposes"),
        obligations=_texts(data, "obligations"),
    )


def release_rule_from(data: JSON) -> ReleaseRule:
    """A release rule of a fixture or registration.

    Raises:
        Unusable: a member has the wrong shape.
    """
    return ReleaseRule(
        id=_text(data, "id") or "",
        absolute=bool(_flag(data, "absolute")),
        purposes=_texts(data, "purposes"),
        recipient_types=_texts(data, "recipientTypes"),
        recipients=_texts(data, "recipients"),
        except_recipients=_texts(data, "exceptRecipients"),
        labels=_texts(data, "labels"),
        classes=_texts(data, "classes"),
        codes=_texts(data, "codes"),
        min_confidentiality=_text(data, "minConfidentiality"),
    )


# --- shapes


def an_object(data: JSON, member: str) -> JSON:
    """A member that must be an object.

    Raises:
        Unusable: it is none.
    """
    value = data.get(member)
    if not isinstance(value, Mapping):
        raise Unusable(member)
    return value


def _optional_object(data: JSON, member: str) -> JSON:
    return {} if data.get(member) is None else an_object(data, member)


def _objects(data: JSON, member: str) -> list[JSON]:
    value = data.get(member)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise Unusable(member)
    return value


def _word(data: JSON, member: str) -> str | None:
    value = data.get(member)
    return value if isinstance(value, str) else None


def _text(data: JSON, member: str) -> str | None:
    value = data.get(member)
    if value is not None and not isinstance(value, str):
        raise Unusable(member)
    return value


def _texts(data: JSON, member: str) -> tuple[str, ...]:
    value = data.get(member)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Unusable(member)
    return tuple(value)


def _flag(data: JSON, member: str) -> bool | None:
    value = data.get(member)
    if value is not None and not isinstance(value, bool):
        raise Unusable(member)
    return value


def instant(data: JSON, member: str) -> datetime:
    """An instant: date, time to the minute at least, and offset."""
    text = _text(data, member)
    if text is None or "T" not in text:
        raise Unusable(member)
    try:
        return time.interval(text, "UTC")[0].astimezone(UTC)
    except time.UnreadableDate as problem:
        raise Unusable(member) from problem
