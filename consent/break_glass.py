"""Emergency grants as rows (spec/consent.md 9). Whether one is valid, the engine decides (G7)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet, Value

from consent import emergency_reviews, epochs, tables
from consent.errors import EmergencyGrantRefused
from consent.models import BreakGlassGrant as Row
from consent.models import EmergencyBan, SupervisorLeave, user_key
from hie.standards.facts import BreakGlassGrant, SubjectFacts

MIN_TEXT = 15
REASONS = tuple(Row.Reason.values)
MAX_A_DAY = 3
MAX_LEAVES_A_DAY = 3
"""How many emergencies beyond those of a day supervisors may allow one user; each goes to the privacy officer besides."""
A_DAY = timedelta(days=1)
LEAVE_LASTS = timedelta(hours=4)
"""How long a supervisor's leave waits for the emergency that it is for."""
_ONE_ID = re.compile(r"(?!.*/_history/)(?:https?://[^?#]+/)?(?:[A-Za-z]+/)?[^/?#]*\w[^/?#]*")
_UNSEEN = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and signs that nothing is seen of, though they count as such."""


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
            last day (a grant is not renewed), the fourth of a user and day for which no supervisor gave leave, or a user
            whose access is suspended.
    """
    check_reason(reason, text)
    with transaction.atomic():
        houses = {organization, *organizations}
        hold_user(user_id)
        leave = check_user(user_id, houses, now=now)
        theirs = _today(user_id, houses, now).filter(identifier_id__in={identifier_pk, *identifier_pks})
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
        if leave is not None:
            leave.grant = row
            leave.save(update_fields=["grant"])
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


def names_a_person(user_id: str) -> bool:
    """Whether a user is named so that he is known again: by one id, after a type or an address, in signs that are what they look.

    Else whoever is stopped or counted would write his name otherwise: with what cannot be seen, or in letters of another
    script that look alike to a reader.
    """
    plain = user_id.isprintable() and user_id.strip() == user_id and unicodedata.normalize("NFKC", user_id) == user_id
    one_script = len(_scripts(user_id.rpartition("/")[2])) <= 1
    return plain and one_script and _seen(user_id) == user_id and _ONE_ID.fullmatch(user_id) is not None


def _seen(text: str) -> str:
    """A text without marks and signs that change nothing to be seen."""
    return "".join(one for one in text if one not in _UNSEEN and unicodedata.category(one) not in ("Mn", "Me", "Cf"))


def _scripts(text: str) -> set[str]:
    """The scripts of a text's letters, by the first word of their names."""
    return {unicodedata.name(one, "?").partition(" ")[0] for one in text if one.isalpha()}


def is_same_user(one: str, other: str) -> bool:
    """Whether two names of users count as one; as `consent.models.user_key` in the database."""
    return _key(one) == _key(other)


def is_same_name(one: str, other: str) -> bool:
    """Whether two names of people may be one person's: all words of the shorter stand in the other, two at least.

    Without regard to order, case, accents and titles. Two people of one name are taken for one, which only keeps them from
    judging each other.
    """
    first, second = _words(one), _words(other)
    return len(first & second) >= 2 and (first <= second or second <= first)


_TITLES = frozenset({"dr", "prof", "mr", "mrs", "ms", "md", "rn", "phd", "med"})


def _words(name: str) -> frozenset[str]:
    bare = "".join(c for c in unicodedata.normalize("NFKD", name) if unicodedata.category(c) != "Mn")
    return frozenset(re.findall(r"[^\W\d_]+", bare.casefold())) - _TITLES


def _key(user_id: str) -> str:
    return re.sub(r"^.*/|\s+", "", user_id).upper()


def check_user(user_id: str, organizations: Collection[str], *, now: datetime) -> SupervisorLeave | None:
    """Refuse who may open no grant now, whoever it is for; whole only while `hold_user` holds.

    `organizations` are all that count as the user's own now: what was opened before his house got another root counts.
    Gives the supervisor's leave that a further grant today would use up, None where none is needed.

    Raises:
        EmergencyGrantRefused: `element` is ``user``.
    """
    if is_banned(user_id, organizations):
        raise EmergencyGrantRefused("emergency access of this user is suspended", element="user")
    if _today(user_id, organizations, now).count() < MAX_A_DAY:
        return None
    leave = _leaves(user_id, organizations, now).first()
    if leave is None:
        raise EmergencyGrantRefused("the third grant of the day is the last without a supervisor", element="user")
    return leave


def _today(user_id: str, organizations: Collection[str], now: datetime) -> QuerySet[Row]:
    """The grants of a day, however the user's id was written."""
    mine = Row.objects.filter(user_key=user_key(Value(user_id)), organization__in=list(organizations))
    return mine.filter(start__gt=now - A_DAY)


def _leaves(user_id: str, organizations: Collection[str], now: datetime) -> QuerySet[SupervisorLeave]:
    held = SupervisorLeave.objects.filter(user_key=user_key(Value(user_id)), organization__in=list(organizations))
    return held.filter(grant__isnull=True, given_at__lte=now, ends_at__gt=now).order_by("given_at", "pk")


def give_leave(
    *, user_id: str, organization: str, given_by: str, text: str, now: datetime, organizations: Collection[str] = ()
) -> SupervisorLeave:
    """Allow a user one emergency more than three a day, within four hours; with the reason why, under `hold_user` of both.

    No participant says who supervises whom, so it is bounded who may: nobody who has opened three today himself, nor for
    somebody who has allowed him one today; so colleagues cannot go on allowing one another.

    Raises:
        EmergencyGrantRefused: a reason shorter than 15 characters; to oneself, to or by somebody whose access is
            suspended, to who has not used the three or was allowed three more, or where one waits already; by who may
            not, see above; `element` names which.
    """
    houses = {organization, *organizations}
    if len(_plain(text)) < MIN_TEXT:
        raise EmergencyGrantRefused(f"at least {MIN_TEXT} characters are needed", element="text")
    if is_same_user(user_id, given_by):
        raise EmergencyGrantRefused("nobody is his own supervisor", element="user")
    if is_banned(given_by, houses) or is_banned(user_id, houses):
        raise EmergencyGrantRefused("emergency access of this user is suspended", element="user")
    if _today(user_id, houses, now).count() < MAX_A_DAY:
        raise EmergencyGrantRefused("this user has not opened three today", element="user")
    if _leaves(user_id, houses, now).exists():
        raise EmergencyGrantRefused("this user has a leave that is not used yet", element="user")
    if len(_given(user_id, houses, since=now - A_DAY)) >= MAX_LEAVES_A_DAY:
        raise EmergencyGrantRefused("this user has been allowed three more today", element="user")
    if _today(given_by, houses, now).count() >= MAX_A_DAY:
        raise EmergencyGrantRefused("who has opened three today himself allows none to others", element="user")
    if _count(_given(given_by, houses, since=now - A_DAY), user_id):
        raise EmergencyGrantRefused("who was allowed one by this user today allows him none", element="user")
    return SupervisorLeave.objects.create(
        user=user_id, organization=organization, given_by=given_by, text=text, given_at=now, ends_at=now + LEAVE_LASTS
    )


def _given(user_id: str, organizations: Collection[str], *, since: datetime) -> list[SupervisorLeave]:
    """The leaves that a user was given since, used or not."""
    rows = SupervisorLeave.objects.filter(user_key=user_key(Value(user_id)), organization__in=list(organizations))
    return list(rows.filter(given_at__gt=since).order_by("given_at", "pk"))


def _count(leaves: Iterable[SupervisorLeave], given_by: str) -> int:
    return sum(is_same_user(one.given_by, given_by) for one in leaves)


def allowed_between(leave: SupervisorLeave, organizations: Collection[str], *, since: datetime) -> tuple[int, int]:
    """How many leaves since its giver gave its user, and its user its giver; two statements."""
    return (
        _count(_given(leave.user, organizations, since=since), leave.given_by),
        _count(_given(leave.given_by, organizations, since=since), leave.user),
    )


def is_banned(user_id: str, organizations: Collection[str]) -> bool:
    """Whether the user's emergency access at any of these, which share a root, is suspended; however the id is written."""
    bans = EmergencyBan.objects.filter(user_key=user_key(Value(user_id)), organization__in=list(organizations))
    return bans.filter(lifted_at__isnull=True).exists()


def hold_user(*user_ids: str) -> None:
    """One act at a time about these users' emergency access, until the transaction ends.

    Of several grants opened at once each would else count those before them only, and one be opened beside a ban.
    """
    with connection.cursor() as cursor:
        for key in sorted({_key(user_id) for user_id in user_ids}):
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('consent.break_glass:' || %s, 0))", [key])


def revoke_all(user_id: str, organizations: Collection[str], *, now: datetime) -> int:
    """Take every grant of a user that still runs away at once; gives how many. Under `hold_user`.

    One that has ended by itself stays what it was: nothing that it let in was let in wrongly.
    """
    rows = Row.objects.filter(
        user_key=user_key(Value(user_id)), organization__in=list(organizations), status=Row.Status.ACTIVE, end__gt=now
    )
    open_rows = list(rows.select_for_update().order_by("pk"))
    for row in open_rows:
        row.status, row.revoked_at = Row.Status.REVOKED, now
        row.save(update_fields=["status", "revoked_at"])
    for identifier_pk in sorted({row.identifier_id for row in open_rows}):
        epochs.bump(identifier_pk)
    return len(open_rows)


def _plain(text: str) -> str:
    """The words without what cannot be seen, in one case."""
    seen = "".join(" " if c.isspace() else c for c in _seen(text) if c.isprintable() or c.isspace())
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
