"""Legal holds: while one stands on a person, a document or an organization, nothing of it is removed.

One person places a hold; it ends by a proposal that another one activates (`consent.governance`, kind ``hold``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from django.db import connection
from django.utils import timezone

from consent.errors import PolicyRefused
from consent.models import LegalHold
from hie.trust.second_person import Member

Kind = LegalHold.Kind
_LOCK = 0x484F_4C44  # "HOLD"


def place(kind: str, subject: str, *, identifiers: list[int], reason: str, by: Member) -> LegalHold:
    """Place a hold; it stands when the transaction ends, behind every removal that runs now.

    `identifiers`: of a person, the ones it has today, so that the hold follows them wherever they go.
    """
    between_removals()
    return LegalHold.objects.create(
        kind=kind,
        subject=subject,
        identifiers=identifiers,
        reason=reason,
        placed_by=by.name,
        placed_account=by.account,
    )


def standing() -> list[LegalHold]:
    """The holds that stand, oldest first; one statement."""
    return list(LegalHold.objects.filter(lifted_at__isnull=True).order_by("placed_at", "pk"))


def found(subject: str) -> LegalHold | None:
    """The hold of this id."""
    try:
        return LegalHold.objects.filter(pk=UUID(subject)).first()
    except ValueError:
        return None


def check_end(subject: str) -> None:
    """Refuse the end of a hold that is not there or does not stand.

    Raises:
        PolicyRefused: as said.
    """
    row = found(subject)
    if row is None:
        raise PolicyRefused("there is no such hold", element="subject")
    if row.lifted_at is not None:
        raise PolicyRefused("was lifted already", element="subject")


def lift(subject: str, *, by: tuple[str, str], reason: str, at: datetime | None = None) -> None:
    """End a hold, in the names of the two who decided it."""
    LegalHold.objects.filter(pk=UUID(subject), lifted_at__isnull=True).update(
        lifted_at=at or timezone.now(), lifted_by=" and ".join(by), lifted_reason=reason
    )


def between_removals() -> None:
    """Wait for removals that run and let none begin until the caller's transaction ends."""
    _lock("pg_advisory_xact_lock")


def while_removing() -> None:
    """Let no hold be placed until the caller's transaction ends."""
    _lock("pg_advisory_xact_lock_shared")


@contextmanager
def removing() -> Iterator[None]:
    """As `while_removing`, for a removal that is several transactions: until it leaves."""
    _lock("pg_advisory_lock_shared")
    try:
        yield
    finally:
        _lock("pg_advisory_unlock_shared")


def _lock(how: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {how}(%s)", [_LOCK])
