"""The decision record of one request and patient: enough to explain it in words later, and to decide it again. Pure.

It stands in the audit event, permits and denials alike (`EventRecord.decision`)::

    {"decision_id", "at", "elapsed_us", "engine_version", "policy_epoch", "consent_epoch", "policy",
     "request": {"org", "root_org", "user", "role", "purpose", "operation", "on_behalf_of", "relationship", "care_teams",
                 "grant_id"}, "grants": [{…}], "patient", "jurisdiction", "linked": [ids],
     "considered": ["id@version"], "choices": {consent id: date it was made on},
     "decisions": [{"decision", "rule", "reason", "obligations", "basis": [{kind, id, version, path}],
                    "explanation": {"key", "parameters"}}],
     "facts": [{"custodian", "confidentiality", "labels", "effective": {"confidentiality", "labels"}, …}],
     "documents": [[id, version, number of its facts, number of its decision, {what else is its own}], …],
     "stated": [numbers of those documents that an asker stated: their ids are its words for them]}

Equal decisions and equal facts stand once. Of a document's facts is kept what the directives of the patient look at, never
content. `policy` is the digest under which the policy was kept (`consent/kept.py`); a document's `version` is its
revision and that of its labels. `decision_id` is the id of the event, set when it is written.

Source: spec/consent.md 13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from operator import attrgetter
from typing import Any

from consent import explain
from hie.standards.facts import (
    BasisItem,
    BreakGlassGrant,
    Decision,
    DocumentFacts,
    Perhaps,
    ProxyGrant,
    RequestFacts,
    SubjectFacts,
)

ENGINE_VERSION = "1"
_GIVEN = "given"
_TIMES = ("service_start", "service_stop", "created")
_OWN = frozenset({"id", *_TIMES, "encounter", "related", "depends_on", "perhaps"})
_common = attrgetter(*(member.name for member in fields(DocumentFacts) if member.name not in _OWN))
"""What documents of one kind have in common; of what they may be, the authors alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """One document as it was decided: its facts, its version in store ("" where it has none), the decision."""

    facts: DocumentFacts
    version: str
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """What the directives of a patient look at beside what all decisions do: single documents, times."""

    at_each: bool = True
    at_times: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The request of a record as it was asked: one, or one for each grant that was held."""

    alternatives: tuple[RequestFacts, ...]
    at: datetime
    subject: SubjectFacts


def made(
    *,
    requests: Sequence[RequestFacts],
    root_organization: str,
    on_behalf_of: str | None,
    at: datetime,
    subject: SubjectFacts,
    decided: Iterable[Decided],
    looks: Looks,
    effective: Callable[[DocumentFacts], tuple[str, frozenset[str]]],
    version_of: Callable[[str, str], str],
    choices: Mapping[str, str],
    **more: Any,
) -> dict[str, Any]:
    """The record. `effective` gives a document's effective letter and labels, `version_of` the version of a part of policy
    by kind and id, `choices` when each consent was made; `more` are members by their names."""
    request = requests[0]
    numbered: dict[Decision, int] = {}
    kinds: dict[object, int] = {}
    rows: list[list[Any]] = []
    facts: list[dict[str, Any]] = []
    for one in decided:
        number = numbered.setdefault(one.decision, len(numbered))
        own = _own(one.facts, looks)
        kind = _common(one.facts), one.facts.perhaps.authors
        if kind not in kinds:
            kinds[kind] = len(kinds)
            letter, labels = effective(one.facts)
            facts.append(
                _written(one.facts, subject.id, looks)
                | {"effective": {"confidentiality": letter, "labels": sorted(labels)}}
            )
        rows.append([one.facts.id, one.version, kinds[kind], number, *([own] if own else [])])
    grants = [_grant(grant) for one in requests if (grant := one.break_glass or one.proxy_grant) is not None]
    return {
        "at": at.isoformat(),
        "engine_version": ENGINE_VERSION,
        "request": {
            "org": request.organization,
            "root_org": root_organization,
            "user": request.user,
            "role": request.role,
            "purpose": request.purpose,
            "operation": request.operation,
            "on_behalf_of": on_behalf_of,
            "relationship": request.relationship,
            "care_teams": list(request.care_teams),
            "grant_id": grants[0]["id"] if grants else None,
        },
        "grants": grants,
        "patient": subject.id,
        "linked": sorted(subject.linked),
        "jurisdiction": subject.jurisdiction,
        "choices": dict(choices),
        "decisions": [_decision(one, version_of, choices) for one in numbered],
        "facts": facts,
        "documents": rows,
        **more,
    }


def _decision(one: Decision, version_of: Callable[[str, str], str], choices: Mapping[str, str]) -> dict[str, Any]:
    basis = [_basis(item, version_of) for item in one.basis]
    chosen = next((choices[item.id] for item in one.basis if item.kind == "consent" and choices.get(item.id)), None)
    place = next((item.id for item in one.basis if item.kind in ("default", "law")), None)
    parameters = {"choice_on": chosen, "jurisdiction": place if one.rule.startswith("F") else None}
    return {
        "decision": one.outcome,
        "rule": one.rule,
        "reason": one.reason,
        "obligations": list(one.obligations),
        "basis": basis,
        "explanation": {
            "key": explain.rule_key(one.rule),
            "parameters": {name: value for name, value in parameters.items() if value},
        },
    }


def _basis(item: BasisItem, version_of: Callable[[str, str], str]) -> dict[str, str]:
    # The path of a release rule is the organization whose rule it is, and that is what has a version.
    owner = item.path if item.kind == "release" else item.id
    version = item.version or version_of(item.kind, owner)
    told = {"kind": item.kind, "id": item.id, "version": version, "path": item.path}
    return {name: value for name, value in told.items() if value}


def _own(facts: DocumentFacts, looks: Looks) -> dict[str, Any]:
    """What a document has of its own, as far as anything looks at it."""
    own: dict[str, Any] = {}
    if looks.at_times:
        own |= {name: value for name in _TIMES if (value := getattr(facts, name)) is not None}
    if looks.at_each:
        if facts.encounter:
            own["encounter"] = facts.encounter
        own |= {name: sorted(value) for name in ("related", "depends_on") if (value := getattr(facts, name))}
        own |= {
            f"perhaps_{name}": sorted(value) for name in ("ids", "related") if (value := getattr(facts.perhaps, name))
        }
    return own


def _written(facts: DocumentFacts, patient: str, looks: Looks) -> dict[str, Any]:
    """What a document has in common with others of its kind (`_common`)."""
    found: dict[str, Any] = {"custodian": facts.custodian}
    if facts.patient != patient:
        found["patient"] = facts.patient
    for name in ("authors", "classes", "codes", "labels"):
        value = getattr(facts, name)
        if value:
            found[name] = sorted(value)
    if facts.confidentiality is not None:
        found["confidentiality"] = facts.confidentiality
    if not facts.labelled:
        found["labelled"] = False
    if facts.perhaps.authors:
        found["perhaps_authors"] = sorted(facts.perhaps.authors)
    if facts.derived_from:
        found["derived_from"] = [_source(one, patient, looks) for one in facts.derived_from]
    return found


def _source(facts: DocumentFacts, patient: str, looks: Looks) -> dict[str, Any]:
    return {"id": facts.id, **_written(facts, patient, looks), **_own(facts, looks)}


def _grant(grant: BreakGlassGrant | ProxyGrant) -> dict[str, Any]:
    """A grant as it was, without what somebody wrote in it."""
    if isinstance(grant, BreakGlassGrant):
        return {
            "kind": "break-glass",
            "id": grant.id,
            "user": grant.user,
            "organization": grant.organization,
            "patient": grant.patient,
            "start": grant.start.isoformat(),
            "end": grant.end.isoformat(),
            "status": grant.status,
            "reason": grant.reason,
            "explained": bool(grant.text.strip()),
        }
    return {
        "kind": "proxy",
        "id": grant.id,
        "person": grant.person,
        "patient": grant.patient,
        "proxy_kind": grant.kind,
        "status": grant.status,
        "max_confidentiality": grant.max_confidentiality,
        "start": grant.start,
        "end": grant.end,
    }


# --- reading it back --------------------------------------------------------------------------------------------------


def request_of(record: Mapping[str, Any], birth_date: str | None) -> Request:
    """The request as it was asked, of the patient as she was then but for the birth date, which no record holds.

    Raises:
        ValueError: not a record that can be read; the message names the member.
    """
    try:
        said = record["request"]
        base = RequestFacts(
            organization=said["org"],
            user=said["user"],
            role=said["role"],
            purpose=said["purpose"],
            operation=said["operation"],
            relationship=said["relationship"],
            care_teams=tuple(said["care_teams"]),
        )
        grants = [_grant_of(one) for one in record["grants"]]
        alternatives = tuple(
            replace(base, break_glass=one) if isinstance(one, BreakGlassGrant) else replace(base, proxy_grant=one)
            for one in grants
        )
        return Request(
            alternatives=alternatives or (base,),
            at=datetime.fromisoformat(record["at"]),
            subject=SubjectFacts(
                id=record["patient"],
                birth_date=birth_date,
                jurisdiction=record["jurisdiction"],
                linked=frozenset(record["linked"]),
            ),
        )
    except (KeyError, TypeError, AttributeError) as problem:
        raise ValueError(str(problem)) from problem


def decided_of(record: Mapping[str, Any]) -> list[Decided]:
    """The documents and what was decided on each; the basis with its versions.

    Raises:
        ValueError: not a record that can be read.
    """
    try:
        decisions = [_decision_of(one) for one in record["decisions"]]
        found = []
        for identifier, version, kind, number, *own in record["documents"]:
            if min(kind, number) < 0:
                raise ValueError("documents")
            facts = _facts_of(record["facts"][kind] | {"id": identifier} | (own[0] if own else {}), record["patient"])
            found.append(Decided(facts=facts, version=version, decision=decisions[number]))
        return found
    except (KeyError, TypeError, IndexError, AttributeError) as problem:
        raise ValueError(str(problem)) from problem


def without_versions(decision: Decision) -> Decision:
    """A decision as the engine gives it: versions of consents alone."""
    return replace(
        decision,
        basis=tuple(item if item.kind == "consent" else replace(item, version="") for item in decision.basis),
    )


def _decision_of(data: Mapping[str, Any]) -> Decision:
    return Decision(
        permitted=data["decision"] == "permit",
        rule=data["rule"],
        reason=data["reason"],
        obligations=tuple(data["obligations"]),
        basis=tuple(BasisItem(**item) for item in data["basis"]),
    )


def _facts_of(data: Mapping[str, Any], patient: str) -> DocumentFacts:
    return DocumentFacts(
        id=data["id"],
        patient=data.get("patient", patient),
        custodian=data["custodian"],
        authors=tuple(data.get("authors", ())),
        classes=frozenset(data.get("classes", ())),
        codes=frozenset(data.get("codes", ())),
        confidentiality=data.get("confidentiality"),
        labels=frozenset(data.get("labels", ())),
        labelled=data.get("labelled", True),
        service_start=data.get("service_start"),
        service_stop=data.get("service_stop"),
        created=data.get("created"),
        encounter=data.get("encounter"),
        related=tuple(data.get("related", ())),
        depends_on=tuple(data.get("depends_on", ())),
        derived_from=tuple(_facts_of(one, patient) for one in data.get("derived_from", ())),
        perhaps=Perhaps(
            authors=frozenset(data.get("perhaps_authors", ())),
            ids=frozenset(data.get("perhaps_ids", ())),
            related=frozenset(data.get("perhaps_related", ())),
        ),
    )


def _grant_of(data: Mapping[str, Any]) -> BreakGlassGrant | ProxyGrant:
    if data["kind"] == "break-glass":
        return BreakGlassGrant(
            id=data["id"],
            user=data["user"],
            organization=data["organization"],
            patient=data["patient"],
            start=datetime.fromisoformat(data["start"]),
            end=datetime.fromisoformat(data["end"]),
            status=data["status"],
            reason=data["reason"],
            text=_GIVEN if data["explained"] else "",
        )
    return ProxyGrant(
        id=data["id"],
        person=data["person"],
        patient=data["patient"],
        kind=data["proxy_kind"],
        status=data["status"],
        max_confidentiality=data["max_confidentiality"],
        start=data["start"],
        end=data["end"],
    )
