"""The policy in force: participants, jurisdictions and code tables, compiled once an epoch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from threading import Lock
from typing import Any

from django.conf import settings
from django.db.models import Exists, Min, OuterRef
from django.utils import timezone

from consent import jurisdictions, tables
from consent.drafts import Draft
from consent.engine import Policy, Tables, compile_policy
from consent.errors import CodeTableRefused
from consent.labelling import LabelTables
from consent.models import CodeTable, Jurisdiction
from hie.directory import queries as directory
from hie.standards.facts import ParticipantFacts

_lock = Lock()
_compiling = Lock()
"""Held by the one who compiles: at an instant from which policy counts everybody would at once."""
_cached: tuple[int, datetime | None, Policy] | None = None
_rules: tuple[Policy, LabelTables] | None = None
_compiled_from: tuple[Policy, Sources, datetime] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a policy is compiled from; `versions` by the kind and id that the basis of a decision names."""

    participants: Mapping[str, ParticipantFacts]
    jurisdictions: Mapping[str, Mapping[str, Any]]
    codes: Mapping[str, Any]
    home_jurisdiction: str | None
    require_obligations: bool
    versions: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def compiled(self, *, epoch: int = 0) -> Policy:
        """The policy.

        Raises:
            ValueError: the code tables cannot be read.
        """
        return compile_policy(
            self.participants,
            self.jurisdictions,
            self.codes,
            home_jurisdiction=self.home_jurisdiction,
            require_obligations=self.require_obligations,
            epoch=epoch,
        )


def current() -> Policy:
    """The policy now: one statement (the epoch) when nothing changed.

    Compiled again when the policy epoch rose or a jurisdiction, table or release policy came into effect.
    """
    reading = directory.reading_now()
    held = _held(reading.epoch, timezone.now())
    if held is not None:
        return held
    with _compiling:
        held = _held(reading.epoch, timezone.now())
        # Whoever waited here has the work of whoever did not, unless it was for another epoch.
        return held if held is not None else _compile(reading)


def _held(epoch: int, now: datetime) -> Policy | None:
    """What this process compiled for an epoch, while it is in force."""
    cached = _cached
    return cached[2] if cached is not None and cached[0] == epoch and (cached[1] is None or now < cached[1]) else None


def _compile(reading: directory.Reading) -> Policy:
    global _cached, _compiled_from
    # The epoch rose by the clock of the database: what it rose for counts, though our own clock be behind.
    now = max(timezone.now(), reading.at)
    (members, released), laws = _members(now), jurisdictions.in_effect(now)
    numbers = _versions(members, laws, jurisdictions.versions(now)) | released
    sources = _sources(members, laws, tables.in_effect("codes", now), numbers)
    policy = sources.compiled(epoch=reading.epoch)
    with _lock:
        _cached = (reading.epoch, _next_change(now), policy)
        _compiled_from = (policy, sources, now)
    return policy


def sources_of(policy: Policy) -> Sources | None:
    """What the policy in force was compiled from; None of any other."""
    held = _compiled_from
    return held[1] if held is not None and held[0] is policy else None


def version_of(policy: Policy, kind: str, identifier: str) -> str:
    """The version of a law, default, agreement or release policy; "" where it has none, and of another policy."""
    held = sources_of(policy)
    return held.versions.get((kind, identifier), "") if held is not None else ""


def _sources(
    members: Mapping[str, ParticipantFacts],
    laws: Mapping[str, Mapping[str, Any]],
    codes: Mapping[str, Any],
    versions: Mapping[tuple[str, str], str] | None = None,
) -> Sources:
    return Sources(
        participants=members,
        jurisdictions=laws,
        codes=codes,
        home_jurisdiction=getattr(settings, "HUB_JURISDICTION", None),
        require_obligations=getattr(settings, "CONSENT_REQUIRE_OBLIGATIONS", False),
        versions=versions or {},
    )


def _members(at: datetime) -> tuple[dict[str, ParticipantFacts], dict[tuple[str, str], str]]:
    """The participants with the release policies in effect, and the numbers of these."""
    members, numbers = dict(directory.participants()), {}
    for identifier, (version, rules) in directory.release_policies(at).items():
        if identifier in members:
            members[identifier] = replace(members[identifier], release_policy=rules)
            numbers["release", identifier] = str(version)
    return members, numbers


def _versions(
    members: Mapping[str, ParticipantFacts], laws: Mapping[str, Mapping[str, Any]], numbers: Mapping[str, str]
) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for code, body in laws.items():
        number = numbers.get(code, "")
        found["default", code] = found["law", code] = number
        for member in ("prohibitions", "mandates", "consentRequired"):
            listed = body.get(member)
            for rule in listed if isinstance(listed, list) else ():
                if isinstance(rule, Mapping) and isinstance(rule.get("id"), str):
                    found["law", rule["id"]] = number
    for identifier, facts in members.items():
        if facts.agreement is not None:
            found["agreement", identifier] = facts.agreement.version
        if facts.release_policy:
            # Without a version of its own it has no number: the digest tells whether it is still the same.
            text = json.dumps([asdict(rule) for rule in facts.release_policy], sort_keys=True)
            found["release", identifier] = hashlib.sha256(text.encode()).hexdigest()[:12]
    return found


def drafted(draft: Draft) -> Policy:
    """The policy as it might be: that in force with a draft over it; compiled anew, cached by nobody.

    Raises:
        JurisdictionRefused: a jurisdiction of the draft cannot be read. CodeTableRefused: its code tables cannot.
    """
    if not draft.changes_policy:
        return current()
    now = timezone.now()
    laws = {**jurisdictions.in_effect(now), **jurisdictions.readable(draft.jurisdictions)}
    members = {**_members(now)[0], **draft.participants}
    codes = {**tables.in_effect("codes", now), **(draft.codes or {})}
    try:
        Tables.from_json(codes)
    except ValueError as problem:
        raise CodeTableRefused(f"{problem} of the code tables cannot be read", element=f"codes.{problem}") from problem
    return _sources(
        {key: facts for key, facts in members.items() if facts is not None},
        {code: body for code, body in laws.items() if body is not None},
        codes,
    ).compiled()


def next_change() -> datetime | None:
    """When the policy in force changes by itself: a jurisdiction or table comes into effect. No statement when current."""
    current()
    return _cached[1] if _cached is not None else None


def labelling() -> LabelTables:
    """The labelling rules now, compiled: the same object, and no statement beyond those of `current`, until they change."""
    global _rules
    policy = current()
    held = _rules
    if held is not None and held[0] is policy:
        return held[1]
    made = _compiled_from
    at = made[2] if made is not None and made[0] is policy else None
    compiled = tables.compiled_labels(tables.in_effect("labels", at), policy.tables)
    with _lock:
        _rules = (policy, compiled)
    return compiled


def forget() -> None:
    """Drop what this process remembers (tests that roll policy data back)."""
    global _cached
    with _lock:
        _cached = None


def _next_change(now: datetime) -> datetime | None:
    later = []
    for model, subject in ((Jurisdiction, "code"), (CodeTable, "name")):
        overtaken = model.objects.filter(
            version__gt=OuterRef("version"),
            effective_from__lte=OuterRef("effective_from"),
            **{subject: OuterRef(subject)},
        )
        waiting = model.objects.filter(~Exists(overtaken), effective_from__gt=now)
        if (found := waiting.aggregate(at=Min("effective_from"))["at"]) is not None:
            later.append(found)
    released = directory.next_release_policy(now)
    return min([*later, released] if released is not None else later, default=None)
