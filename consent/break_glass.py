"""Emergency grants as rows (spec/consent.md 9). Whether one is valid, the engine decides (G7)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet

from consent import emergency_reviews, epochs, tables
from consent.errors import EmergencyGrantRefused
from consent.models import BreakGlassGrant as Row
from consent.models import EmergencyBan
from hie.standards.facts import BreakGlassGrant, SubjectFacts

MIN_TEXT = 15
REASONS = tuple(Row.Reason.values)
MAX_A_DAY = 3
A_DAY = timedelta(days=1)


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
    # For nobody too it is asked: what is hidden must not cost more than what is not there.
    rows = list(_of(user_id, organizations).filter(identifier_id__in=list(persons) or [0]).order_by("-start", "pk"))
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
    *,
    identifier_pk: int,
    user_id: str,
    organization: str,
    reason: str,
    text: str,
    now: datetime,
    identifier_pks: Collection[int] = (),
    organizations: Collection[str] = (),
) -> BreakGlassGrant:
    """Open a grant from now for the longest time allowed, and the case of its review.

    `organization` is the user's root organization, `organizations` all that count as the same now; `identifier_pks` are
    the patient's other identifiers: however he is named, it is the same patient. The caller has shown the statement, had it accepted and stepped the
    user up.

    Raises:
        EmergencyGrantRefused: unknown reason, text shorter than 15 characters or that of a grant for this patient in the
            last day (a grant is not renewed), the fourth of a user and day, or a user whose access is suspended.
    """
    check_reason(reason, text)
    with transaction.atomic():
        houses = {organization, *organizations}
        hold_user(user_id)
        check_user(user_id, houses, now=now)
        theirs = _of(user_id, houses).filter(identifier_id__in={identifier_pk, *identifier_pks}, start__gt=now - A_DAY)
        if any(_plain(row.text) == _plain(text) for row in theirs):
            raise EmergencyGrantRefused("a further emergency needs a reason of its own", element="text")
        row = Row.objects.create(
            identifier_id=identifier_pk,
            user=user_id,
            organization=organization,
            start=now,
            end=now + timedelta(hours=tables.codes().break_glass_max_hours),
            reason=reason,
            text=text,
        )
        emergency_reviews.open_for(row, now=now)
        epochs.bump(identifier_pk)
    return _facts(row, "")


def check_reason(reason: str, text: str) -> None:
    """Refuse a reason that is no code, and words that say too little.

    Raises:
        EmergencyGrantRefused: `element` names which.
    """
    if reason not in REASONS:
        raise EmergencyGrantRefused(f"is one of {', '.join(REASONS)}", element="reason")
    if len(_plain(text)) < MIN_TEXT:
        raise EmergencyGrantRefused(f"at least {MIN_TEXT} characters are needed", element="text")


def check_user(user_id: str, organizations: Collection[str], *, now: datetime) -> None:
    """Refuse who may open no grant now, whoever it is for; whole only while `hold_user` holds.

    `organizations` are all that count as the user's own now: what was opened before his house got another root counts.

    Raises:
        EmergencyGrantRefused: `element` is ``user``.
    """
    if is_banned(user_id, organizations):
        raise EmergencyGrantRefused("emergency access of this user is suspended", element="user")
    if _of(user_id, organizations).filter(start__gt=now - A_DAY).count() >= MAX_A_DAY:
        raise EmergencyGrantRefused("the third grant of the day is the last without a supervisor", element="user")


def is_banned(user_id: str, organizations: Collection[str]) -> bool:
    """Whether the user's emergency access at any of these, which share a root, is suspended."""
    bans = EmergencyBan.objects.filter(user=user_id, organization__in=list(organizations))
    return bans.filter(lifted_at__isnull=True).exists()


def hold_user(user_id: str) -> None:
    """One act at a time about a user's emergency access, until the transaction ends.

    Of several grants opened at once each would else count those before them only, and one be opened beside a ban.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('consent.break_glass:' || %s, 0))", [user_id])


def revoke_all(user_id: str, organizations: Collection[str], *, now: datetime) -> int:
    """Take every grant of a user that still runs away at once; gives how many. Under `hold_user`.

    One that has ended by itself stays what it was: nothing that it let in was let in wrongly.
    """
    rows = _of(user_id, organizations).filter(status=Row.Status.ACTIVE, end__gt=now)
    open_rows = list(rows.select_for_update().order_by("pk"))
    for row in open_rows:
        row.status, row.revoked_at = Row.Status.REVOKED, now
        row.save(update_fields=["status", "revoked_at"])
    for identifier_pk in sorted({row.identifier_id for row in open_rows}):
        epochs.bump(identifier_pk)
    return len(open_rows)


def _plain(text: str) -> str:
    """The words without what cannot be seen, in one case."""
    seen = "".join(" " if c.isspace() else c for c in text if c.isprintable() or c.isspace())
    return " ".join(seen.split()).casefold()


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
