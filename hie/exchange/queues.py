"""What waits for the exchange's own staff: queues with their count, their oldest, and what is in them.

Counts and causes only: nothing of any patient is read here. The whole is seventeen statements, a few more where somebody is suspended or has taken something, however much waits.
What was put off (`hie.exchange.desk_tasks`) does not wait.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count, F, Min, Q, Sum
from django.utils import timezone

from consent.models import EmergencyReview
from documents.models import ReviewItem as DoubtfulDocument
from hie.directory.models import Onboarding
from hie.exchange import (
    desk_codes,
    desk_consents,
    desk_deaths,
    desk_documents,
    desk_messages,
    desk_notices,
    desk_tasks,
    inbox,
    review_list,
)
from hie.exchange.desk_communities import TroubledCommunities
from hie.exchange.desk_keys import ExpiringKeys
from hie.exchange.desk_participants import RaisedParticipants, SuspendedParticipants
from hie.exchange.desk_tasks import TaskQueue
from hie.exchange.desk_values import Item
from hie.exchange.models import Concern, DeathObjection
from patients import review_queue
from patients.models import ReviewItem

_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """One queue. `model` is the list ("app.name") and `narrowed` its query; `owner` the role whose work it is.

    `oldest_at` is since when the oldest waits, `due_at` when the first must be done; None: it has none. `urgent`
    marks what harms somebody while it waits. `claimed_by`: who works on some of it now, by name, where tasks are taken.
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
    claimed_by: tuple[str, ...] = ()


def waiting(now: datetime | None = None) -> list[Queue]:
    """Every queue, in the order of the desk; empty ones too."""
    at = now or timezone.now()
    off = desk_tasks.off(at)
    return _with_names(
        [
            _emergencies(at),
            _concerns(at),
            _duplicates(at),
            _deaths(),
            _doubtful_documents(),
            _unreadable_consents(off.get("consents", ())),
            _unknown_codes(),
            _failed_messages(off.get("messages", ())),
            _items(TroubledCommunities(), at, off, none="All answer in time", narrowed="trouble=1", owner="operator"),
            _items(RaisedParticipants(), at, off, narrowed="status__exact=active", owner="onboarding", urgent=True),
            _joining(),
            _items(SuspendedParticipants(), at, off, narrowed="status__exact=suspended", owner="onboarding"),
            _items(ExpiringKeys(), at, off, narrowed="soon=1", owner="onboarding"),
            _stuck_notices(at, off.get("notices", ())),
        ]
    )


def _with_names(found: list[Queue]) -> list[Queue]:
    """With the names of who has taken something, in place of what the log calls them; one statement."""
    names = review_list.names_of({actor for queue in found for actor in queue.claimed_by})
    return [
        replace(queue, claimed_by=tuple(sorted(names.get(actor, actor) for actor in set(queue.claimed_by))))
        for queue in found
    ]


def _items(
    tasks: TaskQueue,
    at: datetime,
    off: dict[str, set[str]],
    *,
    narrowed: str,
    owner: str,
    none: str = "None",
    urgent: bool = False,
) -> Queue:
    """A queue whose things are few: by its own list, without what was put off."""
    items: Sequence[Item] = [item for item in tasks.everything(at) if item.key not in off.get(tasks.key, ())]
    words = ", ".join(dict.fromkeys(f"{one.title}: {_inside(one.what)}" for one in items[:_NAMED]))
    return Queue(
        key=tasks.key,
        title=tasks.title,
        what=words or none,
        count=len(items),
        oldest_at=desk_tasks.times([item.since for item in items]),
        due_at=desk_tasks.times([item.due_at for item in items]),
        model=tasks.permission.replace(".view_", "."),
        narrowed=narrowed,
        owner=owner,
        urgent=urgent and bool(items),
    )


def _emergencies(at: datetime) -> Queue:
    waits = Q(status=EmergencyReview.Status.OPEN)
    found = EmergencyReview.objects.filter(waits).aggregate(
        n=Count("pk"),
        oldest=Min("opened_at"),
        due=Min("due_at"),
        objections=Count("pk", filter=Q(objected_at__isnull=False)),
        escalated=Count("pk", filter=Q(escalated_at__isnull=False)),
        taken=_taken(at),
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
        claimed_by=tuple(found["taken"] or ()),
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
        .annotate(n=Count("pk"), oldest=Min("created_at"), second=Count("pk", filter=~Q(proposed="")), taken=_taken(at))
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
        claimed_by=tuple(actor for row in rows for actor in row["taken"] or ()),
    )


def _taken(at: datetime) -> ArrayAgg:
    """Who has taken some of the cases now, as the log calls them."""
    return ArrayAgg("claimed_by", filter=Q(claimed_until__gt=at) & ~Q(claimed_by=""), distinct=True)


def _due(oldest: datetime | None, term: timedelta) -> datetime | None:
    return oldest + term if oldest is not None else None


def _deaths() -> Queue:
    found = DeathObjection.objects.filter(closed_at__isnull=True).aggregate(n=Count("pk"), oldest=Min("at"))
    return Queue(
        key="deaths",
        title="Objections to a death",
        what="Patients said to be dead who say they live" if found["n"] else "None",
        count=found["n"],
        oldest_at=found["oldest"],
        due_at=_due(found["oldest"], desk_deaths.DUE_AFTER),
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
    oldest = min((row[2] for row in rows), default=None)
    return Queue(
        key="doubtful-documents",
        title="Documents held back until somebody looks",
        what=_listed(causes.most_common()),
        count=sum(row[1] for row in rows),
        oldest_at=oldest,
        due_at=_due(oldest, desk_documents.DUE_AFTER),
        model="documents.reviewitem",
        narrowed="closed_at__isempty=1",
        owner="steward",
    )


def _unreadable_consents(off: Collection[str]) -> Queue:
    found = desk_consents.waiting().exclude(pk__in=off).aggregate(n=Count("pk"), oldest=Min("updated_at"))
    return Queue(
        key="consents",
        title="Consents that could not be read",
        what="Nothing is shown to anyone until they are settled"
        if found["n"]
        else "Every choice in force is understood",
        count=found["n"],
        oldest_at=found["oldest"],
        due_at=_due(found["oldest"], desk_consents.DUE_AFTER),
        model="consent.consent",
        narrowed="unintelligible__exact=1&status__exact=active",
        owner="privacy-officer",
        urgent=bool(found["n"]),
    )


def _unknown_codes() -> Queue:
    found = desk_codes.waiting().aggregate(
        n=Count("pk"), oldest=Min("first_at"), second=Count("pk", filter=~Q(proposed="")), met=Sum("met")
    )
    words = f"Met {found['met']:,} times" if found["n"] else "Every code that came is known"
    return Queue(
        key="codes",
        title="Codes without a mapping",
        what=f"{words}; {found['second']} for a second person" if found["second"] else words,
        count=found["n"],
        oldest_at=found["oldest"],
        due_at=_due(found["oldest"], desk_codes.DUE_AFTER),
        model="terminology.localcode",
        narrowed="",
        owner="steward",
    )


def _failed_messages(off: Collection[str]) -> Queue:
    groups = [group for group in inbox.error_groups() if desk_messages.cause_of(group) not in off]
    oldest = min((group.first_at for group in groups), default=None)
    words = _listed((f"{group.error_text or group.error_code or 'no reason'}", group.count) for group in groups)
    causes = f"{len(groups)} {'cause' if len(groups) == 1 else 'causes'}: " if groups else ""
    return Queue(
        key="messages",
        title="Messages that were refused or failed",
        what=f"{causes}{words}",
        count=sum(group.count for group in groups),
        oldest_at=oldest,
        due_at=_due(oldest, desk_messages.DUE_AFTER),
        model="exchange.inboundmessage",
        narrowed="open=1",
        owner="operator",
    )


def _stuck_notices(at: datetime, off: Collection[str]) -> Queue:
    found = [row for row in desk_notices.groups(at) if desk_notices.key_of(row["topic"], row["receiver"]) not in off]
    oldest = min((row["oldest"] for row in found), default=None)
    receivers = f"For {len(found)} {'receiver' if len(found) == 1 else 'receivers'}"
    return Queue(
        key="notices",
        title="Notices that could not be delivered",
        what=f"{receivers}; given up, or tried and still on their way after an hour" if found else "All delivered",
        count=sum(row["n"] for row in found),
        oldest_at=oldest,
        due_at=_due(oldest, desk_notices.DUE_AFTER),
        model="outbox.outboxmessage",
        narrowed="delivered_at__isempty=1",
        owner="operator",
    )


def _inside(words: str) -> str:
    """Words as they stand within a sentence: "SHA-256" stays as it is."""
    return f"{words[:1].lower()}{words[1:]}" if words[1:2].islower() else words


def _listed(causes: Iterable[tuple[str, int]]) -> str:
    items = list(causes)
    shown = ", ".join(f"{count} {cause}" for cause, count in items[:_NAMED])
    more = len(items) - _NAMED
    return f"{shown} and {more} more kinds" if more > 0 else shown or "Nothing to do"
