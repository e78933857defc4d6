"""Jurisdictions in effect: rows over the set shipped with the hub, versioned, never overwritten."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from consent import tables
from consent.engine import compile_jurisdiction
from consent.errors import JurisdictionRefused
from consent.models import Jurisdiction

MEMBERS = frozenset(
    {
        "title", "description", "source", "timezone", "majorityAge", "confidentialAge", "confidentialLabels",
        "breakGlassRefusal", "default", "consentRequired", "prohibitions", "mandates", "withheldNames",
    }
)  # fmt: skip
"""What the law of a place may say."""


def in_effect(at: datetime | None = None) -> dict[str, Mapping[str, Any]]:
    """Every jurisdiction by code as it counts at an instant (default now); one statement."""
    found: dict[str, Mapping[str, Any]] = dict(tables.shipped("jurisdictions")["jurisdictions"])
    rows = Jurisdiction.objects.filter(effective_from__lte=at or timezone.now()).order_by("version")
    found.update({row.code: row.body for row in rows})
    return found


def versions(at: datetime | None = None) -> dict[str, str]:
    """The number of the version that counts of each jurisdiction; "" of one as shipped. One statement."""
    found = dict.fromkeys(tables.shipped("jurisdictions")["jurisdictions"], "")
    rows = Jurisdiction.objects.filter(effective_from__lte=at or timezone.now()).order_by("version")
    found.update({code: str(number) for code, number in rows.values_list("code", "version")})
    return found


def zone_of(code: str) -> str | None:
    """The IANA time zone of a jurisdiction; None when the hub does not know it."""
    body = in_effect().get(code)
    zone = body.get("timezone") if body is not None else None
    return zone if isinstance(zone, str) else None


def readable(data: Mapping[str, Mapping[str, Any] | None]) -> Mapping[str, Any]:
    """The jurisdictions given, when each of them can be read; None stands for one taken away.

    Raises:
        JurisdictionRefused: one cannot; `element` names jurisdiction and member.
    """
    for code, body in data.items():
        try:
            if body is not None:
                compile_jurisdiction(code, body)
        except ValueError as problem:
            place = [part for part in ("jurisdictions", code, place_of(problem)) if part]
            raise JurisdictionRefused(
                f"jurisdiction {code}: {problem} cannot be read", element=".".join(place)
            ) from problem
    return data


def place_of(problem: ValueError) -> str:
    """The place in a law that the engine could not read; "" where it is the law itself."""
    said = str(problem)
    if "time zone" in said:
        return "timezone"
    return said if said.partition("[")[0].partition(".")[0] in MEMBERS else ""


def load(data: Mapping[str, Any], *, effective_from: datetime | None = None) -> dict[str, str]:
    """Store jurisdictions in the form of the fixture, all or nothing: code to created, updated or unchanged.

    Raises:
        JurisdictionRefused: one cannot be read; `element` names jurisdiction and member.
    """
    readable(data)
    outcomes: dict[str, str] = {}
    with transaction.atomic():
        for code, body in data.items():
            newest = Jurisdiction.objects.select_for_update().filter(code=code).order_by("-version").first()
            if newest is not None and newest.body == body:
                outcomes[code] = "unchanged"
                continue
            Jurisdiction.objects.create(
                code=code,
                version=newest.version + 1 if newest is not None else 1,
                body=body,
                effective_from=effective_from or timezone.now(),
            )
            outcomes[code] = "updated" if newest is not None else "created"
    return outcomes
