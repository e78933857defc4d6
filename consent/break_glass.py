"""Emergency grants as rows (spec/consent.md 9). Whether one is valid, the engine decides (G7)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet

from consent import epochs, tables
from consent.errors import EmergencyGrantRefused
from consent.models import BreakGlassGrant as Row
from hie.standards.facts import BreakGlassGrant, SubjectFacts

MIN_TEXT = 15
MAX_A_DAY = 3


def grant_for(
    user_id: str, organizations: Collection[str], subject: SubjectFacts, identifier_pks: Sequence[int], *, now: datetime
) -> BreakGlassGrant | None:
    """The user's grant for this person: one that is open now before others, the newest first; one statement.

    `organizations` are those that count as the user's own (one root): who works at two houses has grants of both,
    and that of one says nothing at the other.
    """
    return grants_for(user_id, organizations, [(subject, identifier_pks)], now=now).get(subject.id)


def grants_for(
    user_id: str,
    organizations: Collection[str],
    subjects: Iterable[tuple[SubjectFacts, Sequence[int]]],
    *,
    now: datetime,
) -> dict[str, BreakGlassGrant]:
    """As `grant_for`, for several persons with their identifiers, by person id; one statement."""
    persons = {pk: subject.id for subject, pks in subjects for pk in pks}
    rows = list(_of(user_id, organizations).filter(identifier_id__in=list(persons)).order_by("-start", "pk"))
    rows.sort(key=lambda row: not (row.status == Row.Status.ACTIVE and row.start <= now < row.end))
    found: dict[str, BreakGlassGrant] = {}
    for row in rows:
        person = persons[row.identifier_id]
        found.setdefault(person, _facts(row, person))
    return found


def any_grant(user_id: str, organizations: Collection[str], *, now: datetime) -> BreakGlassGrant | None:
    """An open grant of the user's for whomever: whether he has one at all depends on him only; one statement."""
    held = _of(user_id, organizations)
    row = held.filter(status=Row.Status.ACTIVE, start__lte=now, end__gt=now).order_by("-start", "pk").first()
    return _facts(row, "") if row is not None else None


def _of(user_id: str, organizations: Collection[str]) -> QuerySet[Row]:
    return Row.objects.filter(user=user_id, organization__in=list(organizations))


def open_grant(
    *, identifier_pk: int, user_id: str, organization: str, reason: str, text: str, now: datetime
) -> BreakGlassGrant:
    """Open a grant from now for the longest time allowed; `organization` is the user's root organization.

    The caller has shown the statement, had it accepted and stepped the user up.

    Raises:
        EmergencyGrantRefused: unknown reason, text shorter than 15 characters, or the fourth of a user and day.
    """
    if reason not in Row.Reason.values:
        raise EmergencyGrantRefused(f"{reason!r} is not a reason", element="reason")
    if len(text.strip()) < MIN_TEXT:
        raise EmergencyGrantRefused(f"at least {MIN_TEXT} characters are needed", element="text")
    with transaction.atomic():
        # One at a time for each user: of several at once each would count those before them only.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('consent.break_glass:' || %s, 0))", [user_id])
        if Row.objects.filter(user=user_id, start__gt=now - timedelta(days=1)).count() >= MAX_A_DAY:
            raise EmergencyGrantRefused("the third grant of the day is the last without a supervisor", element="user")
        row = Row.objects.create(
            identifier_id=identifier_pk,
            user=user_id,
            organization=organization,
            start=now,
            end=now + timedelta(hours=tables.codes().break_glass_max_hours),
            reason=reason,
            text=text,
        )
        epochs.bump(identifier_pk)
    return _facts(row, "")


def end_grant(grant_id: UUID, *, status: str = "ended") -> None:
    """End or revoke a grant at once; one that is not active stays as it is."""
    with transaction.atomic():
        row = Row.objects.select_for_update().filter(pk=grant_id, status=Row.Status.ACTIVE).first()
        if row is not None:
            row.status = status
            row.save(update_fields=["status"])
            epochs.bump(row.identifier_id)


def _facts(row: Row, patient: str) -> BreakGlassGrant:
    return BreakGlassGrant(
        id=str(row.id),
        user=row.user,
        organization=row.organization,
        patient=patient,
        start=row.start,
        end=row.end,
        status=row.status,
        reason=row.reason,
        text=row.text,
    )
