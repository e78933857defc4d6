"""What waits for the exchange's own staff: queues with their count, their oldest, and what is in them.

Counts and causes only: nothing of any patient is read here. The whole is thirteen statements, however much waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, F, Max, Min, Q
from django.utils import timezone

from consent.models import Consent, EmergencyReview
from documents.models import ReviewItem as DoubtfulDocument
from hie.directory import queries as directory
from hie.directory.models import Certificate, ClientKey, Onboarding, Participant, Standing
from hie.exchange import emergency_answers, inbox
from hie.exchange.models import Concern, DeathObjection, QueryTarget
from hie.outbox.models import OutboxMessage
from patients import review_queue
from patients.models import ReviewItem

SLOW_OR_DOWN = (QueryTarget.Status.LATE, QueryTarget.Status.DOWN, QueryTarget.Status.ERROR)
EXPIRES_WITHIN = timedelta(days=30)
LOOKED_BACK = timedelta(days=1)
_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """One queue. `model` is the list ("app.name") and `narrowed` its query; `owner` the role whose work it is.

    `oldest_at` is since when the oldest waits, `due_at` when the first must be done; None: it has none. `urgent`
    marks what harms somebody while it waits.
    """

    key: str
    title: str
    what: str
    count: int
    model: str
    narrowed: str
    owner: str
    oldest_at: datetime | None = None
    due_at: datetime | None = None
    urgent: bool = False


def waiting(now: datetime | None = None) -> list[Queue]:
    """Every queue, in the order of the desk; empty ones too."""
    at = now or timezone.now()
    return [
        _emergencies(at),
        _concerns(at),
        _duplicates(at),
        _deaths(),
        _doubtful_documents(),
        _unreadable_consents(),
        _failed_messages(),
        _communities(at),
        _raised(at),
        _joining(),
        _suspended(),
        _expiring(at),
        _stuck_notices(at),
    ]


def _emergencies(at: datetime) -> Queue:
    waits = Q(status=EmergencyReview.Status.OPEN)
    found = EmergencyReview.objects.filter(waits).aggregate(
        n=Count("pk"),
        oldest=Min("opened_at"),
        due=Min("due_at"),
        objections=Count("pk", filter=Q(objected_at__isnull=False)),
        escalated=Count("pk", filter=Q(escalated_at__isnull=False)),
    )
    after = EmergencyReview.objects.filter(
        status=EmergencyReview.Status.DECIDED, objected_at__gt=F("decided_at")
    ).count()
    parts = [
        words
        for count, words in (
            (found["objections"], f"{found['objections']} with an objection of the patient"),
            (found["escalated"], f"{found['escalated']} escalated"),
            (after, f"{after} decided, and the patient objects since"),
        )
        if count
    ]
    return Queue(
        key="emergency",
        title="Emergency access to review",
        what=", ".join(parts) or ("Somebody read a record on their own word" if found["n"] else "Nothing to do"),
        count=found["n"],
        oldest_at=found["oldest"],
        due_at=found["due"],
        model="consent.emergencyreview",
        narrowed="state=waiting",
        owner="privacy-officer",
        urgent=bool(found["n"]),
    )


def _raised(at: datetime) -> Queue:
    found = emergency_answers.raised_roots(at)
    names = directory.participants() if found else {}
    shown = [names[root].name if root in names else root for root in found]
    return Queue(
        key="raised",
        title="Participants to think about suspending",
        what=f"{', '.join(shown[:_NAMED])}: three emergencies not justified in a month" if shown else "None",
        count=len(found),
        oldest_at=min(found.values(), default=None),
        model="directory.participant",
        narrowed="status__exact=active",
        owner="onboarding",
        urgent=bool(found),
    )


def _joining() -> Queue:
    waits = Q(state=Onboarding.State.WAITING)
    found = Onboarding.objects.aggregate(
        n=Count("pk", filter=waits),
        oldest=Min("asked_at", filter=waits),
        open=Count("pk", filter=Q(state=Onboarding.State.OPEN)),
    )
    return Queue(
        key="joining",
        title="Organizations waiting for approval",
        what=f"Tested, and wait for a second person; {found['open']} being prepared"
        if found["n"]
        else f"{found['open']} being prepared",
        count=found["n"],
        oldest_at=found["oldest"],
        model="directory.onboarding",
        narrowed="state__exact=waiting",
        owner="onboarding",
    )


def _concerns(at: datetime) -> Queue:
    waits = Q(status__in=[Concern.Status.ASKED, Concern.Status.OFFICE, Concern.Status.ANSWERED])
    found = Concern.objects.filter(waits).aggregate(
        n=Count("pk"),
        oldest=Min("raised_at"),
        due=Min("due_at"),
        ours=Count("pk", filter=Q(status__in=[Concern.Status.OFFICE, Concern.Status.ANSWERED])),
        asked=Count("pk", filter=Q(status=Concern.Status.ASKED)),
        late=Count("pk", filter=Q(due_at__lte=at)),
    )
    parts = [
        words
        for count, words in (
            (found["late"], f"{found['late']} overdue"),
            (found["ours"], f"{found['ours']} for us to look at"),
            (found["asked"], f"{found['asked']} with the organization"),
        )
        if count
    ]
    return Queue(
        key="concerns",
        title="Concerns of patients",
        what=", ".join(parts) or "Nothing to do",
        count=found["n"],
        oldest_at=found["oldest"],
        due_at=found["due"],
        model="exchange.concern",
        narrowed="state=waiting",
        owner="privacy-officer",
        urgent=bool(found["late"]),
    )


def _duplicates(at: datetime) -> Queue:
    rows = list(
        ReviewItem.objects.filter(review_queue.waits(at))
        .values("kind")
        .annotate(n=Count("pk"), oldest=Min("created_at"), second=Count("pk", filter=~Q(proposed="")))
        .order_by("-n", "kind")
    )
    second = sum(row["second"] for row in rows)
    words = _listed((row["kind"].replace("-", " "), row["n"]) for row in rows)
    return Queue(
        key="duplicates",
        title="Possible duplicates",
        what=f"{words}; {second} for a second steward" if second else words,
        count=sum(row["n"] for row in rows),
        oldest_at=min((row["oldest"] for row in rows), default=None),
        model="patients.reviewitem",
        narrowed="state=waiting",
        owner="steward",
    )


def _deaths() -> Queue:
    found = DeathObjection.objects.filter(closed_at__isnull=True).aggregate(n=Count("pk"), oldest=Min("at"))
    return Queue(
        key="deaths",
        title="Objections to a death",
        what="Patients said to be dead who say they live" if found["n"] else "None",
        count=found["n"],
        oldest_at=found["oldest"],
        model="exchange.deathobjection",
        narrowed="closed_at__isempty=1",
        owner="steward",
        urgent=bool(found["n"]),
    )


def _doubtful_documents() -> Queue:
    rows = list(
        DoubtfulDocument.objects.filter(closed_at__isnull=True)
        .values_list("reasons")
        .annotate(n=Count("pk"), oldest=Min("opened_at"))
        .order_by("-n")
    )
    causes: Counter[str] = Counter()
    for reasons, count, _ in rows:
        causes.update({reason.replace("-", " "): count for reason in reasons})
    return Queue(
        key="doubtful-documents",
        title="Documents held back until somebody looks",
        what=_listed(causes.most_common()),
        count=sum(row[1] for row in rows),
        oldest_at=min((row[2] for row in rows), default=None),
        model="documents.reviewitem",
        narrowed="closed_at__isempty=1",
        owner="steward",
    )


def _unreadable_consents() -> Queue:
    found = Consent.objects.filter(unintelligible=True, status="active").aggregate(
        n=Count("pk"), oldest=Min("updated_at")
    )
    return Queue(
        key="consents",
        title="Consents that could not be read",
        what="Nothing is shown to anyone until they are settled"
        if found["n"]
        else "Every choice in force is understood",
        count=found["n"],
        oldest_at=found["oldest"],
        model="consent.consent",
        narrowed="unintelligible__exact=1&status__exact=active",
        owner="privacy-officer",
        urgent=bool(found["n"]),
    )


def _failed_messages() -> Queue:
    groups = inbox.error_groups()
    return Queue(
        key="messages",
        title="Messages that were refused or failed",
        what=_listed((f"{group.error_text or group.error_code or 'no reason'}", group.count) for group in groups),
        count=sum(group.count for group in groups),
        oldest_at=min((group.first_at for group in groups), default=None),
        model="exchange.inboundmessage",
        narrowed="open=1",
        owner="operator",
    )


def _communities(at: datetime) -> Queue:
    asked = QueryTarget.objects.filter(withheld=False, query__created_at__gte=at - LOOKED_BACK).exclude(
        participant_id=""
    )
    rows = list(
        asked.values("target_id")
        .annotate(
            name=Max("name"),
            bad=Count("pk", filter=Q(status__in=SLOW_OR_DOWN)),
            all=Count("pk"),
            oldest=Min("asked_at", filter=Q(status__in=SLOW_OR_DOWN)),
        )
        .filter(bad__gt=0)
        .order_by("-bad", "target_id")
    )
    return Queue(
        key="communities",
        title="Communities down or slow in the last day",
        what=", ".join(f"{row['name']}: {row['bad']} of {row['all']} questions" for row in rows[:_NAMED])
        or "All answer in time",
        count=len(rows),
        oldest_at=min((row["oldest"] for row in rows if row["oldest"]), default=None),
        model="exchange.query",
        narrowed="trouble=1",
        owner="operator",
    )


def _suspended() -> Queue:
    names = list(
        Participant.objects.filter(status=Standing.SUSPENDED).order_by("name", "pk").values_list("name", flat=True)
    )
    return Queue(
        key="suspended",
        title="Participants suspended",
        what=", ".join(names[:_NAMED]) or "None",
        count=len(names),
        model="directory.participant",
        narrowed="status__exact=suspended",
        owner="onboarding",
    )


def _expiring(at: datetime) -> Queue:
    soon = at + EXPIRES_WITHIN
    fields = ("participant__name", "expires")
    keys = ClientKey.objects.filter(expires__lt=soon, participant__status=Standing.ACTIVE).values_list(*fields)
    certificates = Certificate.objects.filter(expires__lt=soon, participant__status=Standing.ACTIVE).values_list(
        *fields
    )
    rows = sorted(keys.union(certificates, all=True), key=lambda row: (row[1], row[0]))
    names = list(dict.fromkeys(row[0] for row in rows))
    return Queue(
        key="keys",
        title="Keys and certificates that expire within 30 days",
        what=", ".join(names[:_NAMED]) or "None",
        count=len(rows),
        due_at=rows[0][1] if rows else None,
        model="directory.clientkey",
        narrowed="soon=1",
        owner="onboarding",
    )


def _stuck_notices(at: datetime) -> Queue:
    found = OutboxMessage.objects.filter(
        Q(failed_at__isnull=False) | Q(attempts__gt=0, created_at__lt=at - timedelta(hours=1)),
        delivered_at__isnull=True,
    )
    counted = found.aggregate(n=Count("pk"), oldest=Min("created_at"))
    return Queue(
        key="notices",
        title="Notices that could not be delivered",
        what="Given up, or tried and still on their way after an hour" if counted["n"] else "All delivered",
        count=counted["n"],
        oldest_at=counted["oldest"],
        model="outbox.outboxmessage",
        narrowed="delivered_at__isempty=1",
        owner="operator",
    )


def _listed(causes: Iterable[tuple[str, int]]) -> str:
    items = list(causes)
    shown = ", ".join(f"{count} {cause}" for cause, count in items[:_NAMED])
    more = len(items) - _NAMED
    return f"{shown} and {more} more kinds" if more > 0 else shown or "Nothing to do"
