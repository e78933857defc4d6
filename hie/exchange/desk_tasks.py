"""Tasks of the desk: what every queue's page has in common, in one place.

A queue says what waits in it, the evidence of one thing, and what may be decided; here is who may, that a reason is given,
that nobody decides on what he has not seen, that each act is kept, and that each act and each look stands in the log. A
`TaskQueue` a queue, all in `hie.exchange.desk_queues`; the pages are those of `hie.faces.backoffice.tasks`.

Whoever acts holds the task's row until his act is committed, and says how many acts he had seen: of two officers at once,
or of a form sent twice, the first counts and the second is told.

Source: issue 5, item 8; spec/consent.md 7, item 5.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.audit.recorder import EventDraft
from hie.exchange import access, review_list
from hie.exchange.access import Held, Staff, StaffView
from hie.exchange.desk_models import DeskTask, DeskTaskAct
from hie.exchange.desk_values import Done, Item, Task
from hie.exchange.errors import AccessRefused, BadRequest
from hie.standards.errors import HubError
from patients.normalise import storable

MAX_REASON = 500
MOST_LISTED = 500
"""A list holds the oldest so many things; how many there are in all, its queue says on the desk's home."""
DONE_LISTED = 50
REOPENED = "reopened"
UNTIL, TOLD = "until", "told"
LONGEST_OFF = timedelta(days=90)


class TaskRefused(HubError):
    """A task is not as it was shown, or this cannot be done about it."""


@dataclass(slots=True, kw_only=True)
class Acting:
    """One act under way: the task's row, locked; who acts, when, why; what the form holds besides.

    `more` is kept with the act. `told`: what is done writes into the patient's log itself.
    """

    row: DeskTask
    staff: Staff
    at: datetime
    reason: str
    typed: Mapping[str, str]
    more: dict[str, str] = field(default_factory=dict)
    until_at: datetime | None = None
    told: bool = False

    @property
    def actor(self) -> str:
        """Who acts, as the log calls them."""
        return f"Staff/{self.staff.user_id}"

    def words(self, name: str, what: str) -> str:
        """What was typed in a field that this act needs; kept with the act.

        Raises:
            BadRequest: nothing, or what cannot be kept.
        """
        given = self.typed.get(name, "").strip()
        if not given or len(given) > MAX_REASON or not storable(given):
            raise BadRequest(f"{what}, in at most {MAX_REASON} characters", element=name)
        self.more[name] = given
        return given

    def off_until(self, *, at_most: timedelta = LONGEST_OFF) -> datetime:
        """Put it off until the day in the form: the beginning of that day, UTC.

        Raises:
            BadRequest: no day, or not one of those to come.
        """
        try:
            day = datetime.strptime(self.typed.get(UNTIL, "").strip(), "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError as error:
            raise BadRequest("choose a day", element=UNTIL) from error
        if not self.at < day <= self.at + at_most:
            raise BadRequest(f"choose a day from tomorrow to {self.at + at_most:%-d %B %Y}", element=UNTIL)
        self.row.until_at = self.until_at = day
        return day

    def settle(self) -> None:
        """It waits no more as it is."""
        self.row.settled, self.row.until_at = True, None


class TaskQueue(ABC):
    """One queue: what waits, the evidence of each thing, and what may be decided about it.

    `permission` opens it, `held` is what it shows of patients (None: nothing), `deciders` the roles that decide.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]
    permission: ClassVar[str]
    deciders: ClassVar[frozenset[str]]
    decided_by: ClassVar[str]
    held: ClassVar[Held | None] = None
    act_words: ClassVar[Mapping[str, str]]
    undoable: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def everything(self, now: datetime) -> Sequence[Item]:
        """All that there is, put off or not, what is due or came first first; a few statements whatever the count."""

    @abstractmethod
    def task(self, key: str, staff: Staff, view: StaffView | None, now: datetime) -> Task:
        """The page of one thing.

        Raises:
            NotFound: there is no such thing.
        """

    @abstractmethod
    def decide(self, outcome: str, acting: Acting) -> str:
        """Do what was decided, in the transaction of the act; what was done by it, a word of `act_words`.

        Raises:
            BadRequest: no such outcome, or a field is missing; `element` names it. TaskRefused: not as things are now.
        """

    def people(self, key: str) -> set[UUID]:
        """Whom the page of a thing shows something of.

        Raises:
            NotFound: there is no such thing.
        """
        return set()

    @abstractmethod
    def take_back(self, last: DeskTaskAct, acting: Acting) -> None:
        """Undo the last act, beyond that the thing waits again.

        Raises:
            TaskRefused: it cannot be taken back now.
        """

    # --- for all ---

    def split(self, now: datetime) -> tuple[list[Item], list[Item]]:
        """What waits, and what was put off; one statement more than `everything`."""
        off = off_of(self.key, now)
        waits: list[Item] = []
        rest: list[Item] = []
        for item in self.everything(now):
            (rest if item.key in off else waits).append(item)
        return waits, rest

    def not_mine(self, staff: Staff) -> str:
        """Why this member of staff does not decide here, in words; "" where they do."""
        return "" if staff.roles & self.deciders else self.decided_by


# --- reading -----------------------------------------------------------------------------------------------------------


def off(now: datetime) -> dict[str, set[str]]:
    """The keys of what does not wait now, by queue; one statement."""
    found: dict[str, set[str]] = {}
    for queue, key in DeskTask.objects.filter(_off(now)).values_list("queue", "key"):
        found.setdefault(queue, set()).add(key)
    return found


def off_of(queue: str, now: datetime) -> frozenset[str]:
    """As `off`, of one queue; one statement."""
    return frozenset(DeskTask.objects.filter(_off(now), queue=queue).values_list("key", flat=True))


def _off(now: datetime) -> Q:
    return Q(settled=True) | Q(until_at__gt=now)


def standing(queue: TaskQueue, key: str, now: datetime) -> str:
    """How a thing that was put off stands, in words; "" when it waits. One statement."""
    row = DeskTask.objects.filter(_off(now), queue=queue.key, key=key).first()
    if row is None:
        return ""
    return "Settled as it is" if row.settled or row.until_at is None else f"Put off until {row.until_at:%-d %B %Y}"


def history(queue: TaskQueue, key: str, staff: Staff) -> list[Done]:
    """What was done about one thing, newest first; two statements."""
    acts = DeskTaskAct.objects.filter(task__queue=queue.key, task__key=key)
    return _in_words(queue, acts.select_related("task").order_by("-pk"), staff)


def done_lately(queue: TaskQueue, staff: Staff) -> list[Done]:
    """The newest fifty acts in a queue; two statements."""
    acts = DeskTaskAct.objects.filter(task__queue=queue.key).select_related("task").order_by("-pk")
    return _in_words(queue, acts[:DONE_LISTED], staff)


def my_last(queue: TaskQueue, key: str, staff: Staff) -> Done | None:
    """The last act about a thing, where this member of staff did it."""
    found = history(queue, key, staff)[:1]
    return found[0] if found and found[0].mine else None


_MORE_WORDS = {TOLD: "Told", "evidence": "Evidence", "to": "Means", "set": "Set"}


def _in_words(queue: TaskQueue, acts: Iterable[DeskTaskAct], staff: Staff) -> list[Done]:
    rows = list(acts)
    names = review_list.names_of({one.actor for one in rows})
    found = []
    for one in rows:
        words = "Opened again" if one.kind == REOPENED else queue.act_words.get(one.kind, one.kind)
        if one.until_at is not None:
            words = f"{words}, until {one.until_at:%-d %B %Y}"
        found.append(
            Done(
                key=one.task.key, kind=one.kind, words=words, at=one.at, by=names.get(one.actor, one.actor),
                mine=one.actor == f"Staff/{staff.user_id}", reason=one.reason,
                more=tuple((_MORE_WORDS.get(name, name), str(text)) for name, text in sorted(one.more.items())),
            )
        )  # fmt: skip
    return found


def next_after(queue: TaskQueue, key: str, now: datetime) -> str | None:
    """The thing that waits behind this one, from the end again at the first; None where no other waits."""
    keys = [item.key for item in queue.split(now)[0]]
    if key in keys:
        n = keys.index(key)
        keys = keys[n + 1 :] + keys[:n]
    return keys[0] if keys else None


def seen(queue: TaskQueue, key: str) -> str:
    """What changes with every act about a thing; one statement."""
    return str(DeskTaskAct.objects.filter(task__queue=queue.key, task__key=key).count())


def look(queue: TaskQueue, staff: Staff, key: str = "") -> StaffView | None:
    """Record that a list, or the page of a thing, is looked at; what may be shown of its patients.

    Raises:
        AccessRefused: no role of theirs may look at such things. NotFound: there is no such thing.
    """
    people = queue.people(key) if key else set()
    if people and queue.held is not None:
        detail = {"queue": queue.key, "task": key}
        return access.administrative(staff, queue.held, people, reason=f"{queue.title}: {key}", detail=detail)
    detail = {"queue": queue.key, **({"task": key} if key else {})}
    recorder.write([EventDraft(kind=EventType.DESK_TASK, caller=staff.caller(), action="R", detail=detail)])
    return access.staff_view(staff.roles, queue.held) if queue.held is not None else None


# --- acts --------------------------------------------------------------------------------------------------------------


def decide(
    queue: TaskQueue, key: str, outcome: str, staff: Staff, *, reason: str, as_seen: str, typed: Mapping[str, str]
) -> None:
    """Decide on a thing, with a reason; recorded with it, or as refused.

    Raises:
        AccessRefused: not by this role. BadRequest: no reason, outcome or field; `element` names it.
        TaskRefused: something was done about it since it was shown, or it cannot be done now. NotFound: no such thing.
    """
    if outcome not in queue.act_words:
        raise BadRequest("choose what you decide", element="outcome")

    def act(acting: Acting) -> str:
        acting.row.until_at, acting.row.settled = None, False
        return queue.decide(outcome, acting)

    _acting(queue, key, outcome, staff, reason=reason, as_seen=as_seen, typed=typed, act=act)


def undo(queue: TaskQueue, key: str, staff: Staff, *, reason: str, as_seen: str) -> None:
    """Take the last act about a thing back: it waits again.

    Raises:
        As `decide`. TaskRefused: there is nothing to take back.
    """

    def act(acting: Acting) -> str:
        last = acting.row.acts.order_by("-pk").first()
        if last is None or last.kind not in queue.undoable:
            raise TaskRefused("there is nothing to take back", element="act")
        acting.row.until_at, acting.row.settled = None, False
        queue.take_back(last, acting)
        return REOPENED

    _acting(queue, key, REOPENED, staff, reason=reason, as_seen=as_seen, typed={}, act=act)


def _acting(
    queue: TaskQueue,
    key: str,
    kind: str,
    staff: Staff,
    *,
    reason: str,
    as_seen: str,
    typed: Mapping[str, str],
    act: Callable[[Acting], str],
) -> None:
    deciding = replace(staff, roles=staff.roles & queue.deciders)
    detail = {"queue": queue.key, "task": key, "act": kind}
    with recorder.recording(EventType.DESK_TASK, staff.caller(min(deciding.roles, default=""))) as event:
        event.note(detail=detail)
        if not deciding.roles:
            raise AccessRefused("G5", "role-not-permitted")
        _check_reason(reason)
        people = queue.people(key)
        with transaction.atomic():
            row = _held(queue.key, key)
            if as_seen != str(row.acts.count()):
                raise TaskRefused("somebody has done something about it: read it again", element="act")
            acting = Acting(row=row, staff=deciding, at=timezone.now(), reason=reason.strip(), typed=typed)
            kind = act(acting)
            if people and queue.held is not None and not acting.told:
                access.administrative(deciding, queue.held, people, reason=acting.reason, detail=detail)
            row.save()
            DeskTaskAct.objects.create(
                task=row, kind=kind, actor=acting.actor, reason=acting.reason, more=acting.more,
                until_at=acting.until_at, at=acting.at,
            )  # fmt: skip
            # Of a patient's task the words stand in the event of the patient's own log, sealed under their key.
            words = {} if people else {"reason": acting.reason} | acting.more
            event.about(None, detail=detail | {"act": kind} | words)
            event.commit()


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise BadRequest("a reason is needed", element="reason")
    if len(reason.strip()) > MAX_REASON:
        raise BadRequest(f"write at most {MAX_REASON} characters", element="reason")
    if not storable(reason):
        raise BadRequest("holds a character that cannot be kept", element="reason")


def _held(queue: str, key: str) -> DeskTask:
    """The row of a task, made where there is none, and locked: two who act at once wait for each other here."""
    DeskTask.objects.bulk_create([DeskTask(queue=queue, key=key)], ignore_conflicts=True)
    return DeskTask.objects.select_for_update().get(queue=queue, key=key)


def times(found: Collection[datetime | None]) -> datetime | None:
    """The first of some instants; None where there is none."""
    return min((one for one in found if one is not None), default=None)
