"""How long things are kept, and the end of a legal hold, as versions that `consent.governance` proposes and activates."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from consent import holds, retention
from consent.errors import PolicyChanged, PolicyRefused
from consent.governed_organizations import Row
from consent.models import PolicyProposal, RetentionRule

Kind = PolicyProposal.Kind
KINDS = frozenset({Kind.RETENTION, Kind.HOLD})
AT_ONCE = frozenset({Kind.HOLD})
"""Kinds of change that cannot be put off."""
LIFTED = {"status": "lifted"}
_STANDING = {"status": "standing"}


def rows(kind: str, subject: str) -> list[Row]:
    """The versions, newest first; of a hold that it stands (1) or has ended (2). One statement."""
    if kind == Kind.RETENTION:
        found = RetentionRule.objects.filter(part=subject).order_by("-version")
        return [Row(version=row.version, body=row.body, effective_from=row.effective_from) for row in found]
    hold = holds.found(subject)
    if hold is None:
        return []
    lifted = hold.lifted_at is not None
    return [Row(version=1 + lifted, body=LIFTED if lifted else _STANDING, effective_from=None)]


def before_any(kind: str, subject: str) -> Any:
    """What is shipped with the hub; None where there is nothing."""
    if kind == Kind.RETENTION and subject in retention.PARTS:
        return {"days": retention.PARTS[retention.Part(subject)].default_days}
    return None


def check(kind: str, subject: str, body: Any) -> None:
    """Refuse a version that cannot be used.

    Raises:
        PolicyRefused: the first thing that is wrong; `element` names it.
    """
    if kind == Kind.RETENTION:
        retention.check(subject, body)
        return
    holds.check_end(subject)
    if body != LIFTED:
        raise PolicyRefused('must be {"status": "lifted"}', element="body")


def store(row: PolicyProposal, *, effective_from: datetime, approved_by: str) -> int:
    """Put a version into force; its number."""
    if row.kind == Kind.HOLD:
        holds.lift(row.subject, by=(row.proposed_by, approved_by), reason=row.reason)
        return row.on_version + 1
    try:
        with transaction.atomic():
            RetentionRule.objects.create(
                part=row.subject, version=row.on_version + 1, body=row.body, effective_from=effective_from
            )
    except IntegrityError as error:
        raise PolicyChanged(f"proposal {row.pk} is on version {row.on_version}", element="on_version") from error
    return row.on_version + 1
