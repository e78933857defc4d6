"""The policy in force: participants, jurisdictions and code tables, compiled once an epoch."""

from __future__ import annotations

from datetime import datetime
from threading import Lock

from django.conf import settings
from django.db.models import Min
from django.utils import timezone

from consent import jurisdictions, tables
from consent.drafts import Draft
from consent.engine import Policy, Tables, compile_policy
from consent.errors import CodeTableRefused
from consent.labelling import LabelTables
from consent.models import CodeTable, Jurisdiction
from hie.directory import queries as directory

_lock = Lock()
_cached: tuple[int, datetime | None, Policy] | None = None
_rules: tuple[Policy, LabelTables] | None = None


def current() -> Policy:
    """The policy now: one statement (the epoch) when nothing changed.

    Compiled again when the policy epoch rose or a jurisdiction or table came into effect.
    """
    global _cached
    epoch, now = directory.epoch(), timezone.now()
    cached = _cached
    if cached is not None and cached[0] == epoch and (cached[1] is None or now < cached[1]):
        return cached[2]
    policy = compile_policy(
        directory.participants(),
        jurisdictions.in_effect(now),
        tables.codes(now),
        home_jurisdiction=getattr(settings, "HUB_JURISDICTION", None),
        require_obligations=getattr(settings, "CONSENT_REQUIRE_OBLIGATIONS", False),
        epoch=epoch,
    )
    with _lock:
        _cached = (epoch, _next_change(now), policy)
    return policy


def drafted(draft: Draft) -> Policy:
    """The policy as it might be: that in force with a draft over it; compiled anew, cached by nobody.

    Raises:
        JurisdictionRefused: a jurisdiction of the draft cannot be read. CodeTableRefused: its code tables cannot.
    """
    if not draft.changes_policy:
        return current()
    now = timezone.now()
    laws = jurisdictions.in_effect(now) | jurisdictions.readable(draft.jurisdictions)
    members = dict(directory.participants()) | dict(draft.participants)
    codes = {**tables.in_effect("codes", now), **(draft.codes or {})}
    try:
        compiled = Tables.from_json(codes)
    except ValueError as problem:
        raise CodeTableRefused(f"{problem} of the code tables cannot be read", element=f"codes.{problem}") from problem
    return compile_policy(
        {key: facts for key, facts in members.items() if facts is not None},
        {code: body for code, body in laws.items() if body is not None},
        compiled,
        home_jurisdiction=getattr(settings, "HUB_JURISDICTION", None),
        require_obligations=getattr(settings, "CONSENT_REQUIRE_OBLIGATIONS", False),
        epoch=directory.epoch(),
    )


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
    compiled = LabelTables.from_json(tables.in_effect("labels"), policy.tables)
    with _lock:
        _rules = (policy, compiled)
    return compiled


def forget() -> None:
    """Drop what this process remembers (tests that roll policy data back)."""
    global _cached
    with _lock:
        _cached = None


def _next_change(now: datetime) -> datetime | None:
    later = [
        found
        for model in (Jurisdiction, CodeTable)
        if (found := model.objects.filter(effective_from__gt=now).aggregate(at=Min("effective_from"))["at"])
    ]
    return min(later) if later else None
