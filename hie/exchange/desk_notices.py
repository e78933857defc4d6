"""Notices that did not arrive, by whom they are for: one task a receiver. They hold ids and codes, never content.

What its receiver may know is decided anew at each attempt, so to try again is never a risk to a patient.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.db.models import Count, Max, Min, Q, QuerySet

from hie.exchange import desk_tasks, notices
from hie.exchange.access import Staff, StaffView
from hie.exchange.desk_models import DeskTaskAct
from hie.exchange.desk_tasks import Acting, TaskRefused
from hie.exchange.desk_values import Badge, Field, Item, Option, Table, Task, Way
from hie.exchange.errors import NotFound
from hie.outbox import outbox
from hie.outbox.models import OutboxMessage

DUE_AFTER = timedelta(days=1)
ON_THE_WAY_FOR = timedelta(hours=1)
AT_ONCE = 10_000
_SHOWN = 20
_OWN = "of the hub’s own"


class UndeliveredNotices(desk_tasks.TaskQueue):
    """Receivers with notices that were given up, or are tried and on their way for an hour; the most first."""

    key = "notices"
    title = "Notices that could not be delivered"
    about = "A notice comes here when it was given up, or was tried and is still on its way after an hour."
    permission = "outbox.view_outboxmessage"
    deciders = frozenset({"operator", "administrator"})
    decided_by = "Operators decide this."
    act_words: ClassVar = {"again": "Tried again", "aside": "Put aside: not to be told", "later": "Left for later"}
    undoable = frozenset({"aside", "later"})

    def everything(self, now: datetime) -> Sequence[Item]:
        """1 statement."""
        return [
            Item(
                key=key_of(row["topic"], row["receiver"]),
                title=_name(row["topic"], row["receiver"]),
                what=row["error"] or "No answer yet",
                since=row["oldest"],
                due_at=row["oldest"] + DUE_AFTER,
                count=row["n"],
            )
            for row in groups(now)
        ]

    def task(self, key: str, staff: Staff, view: StaffView | None, now: datetime) -> Task:
        """Some 5 statements."""
        topic, receiver = _named(key)
        mine = stuck(now).filter(topic=topic, receiver=receiver)
        counted = mine.aggregate(
            n=Count("pk"),
            given_up=Count("pk", filter=Q(failed_at__isnull=False)),
            oldest=Min("created_at"),
            last=Max("created_at"),
            tried=Max("attempts"),
        )
        put_off = desk_tasks.standing(self, key, now)
        return Task(
            key=key,
            name=_name(topic, receiver),
            question="What is to be done about these notices?",
            waits=bool(counted["n"]) and not put_off,
            standing=put_off or "None waits",
            badges=(Badge(words=f"{counted['n']:,} not delivered", tone="emergency" if counted["n"] else "good", icon="bell"),),
            facts=(
                ("For", receiver or _OWN.capitalize()),
                ("About", topic),
                ("Given up", f"{counted['given_up']:,}"),
                ("Still tried", f"{counted['n'] - counted['given_up']:,}"),
                ("First", _at(counted["oldest"])),
                ("Last", _at(counted["last"])),
                ("Attempts, at most", str(counted["tried"] or 0)),
            ),
            tables=(_errors(mine),),
            ways=(
                Way(
                    words="The notices themselves",
                    name="admin:outbox_outboxmessage_changelist",
                    permission=self.permission,
                    query={"delivered_at__isempty": "1", "topic": topic, **({"q": receiver} if receiver else {})},
                ),
            ),
            options=(
                Option(
                    value="again",
                    title="Try those that were given up again",
                    follows="They go out within a minute. What the receiver may know is decided anew.",
                ),
                Option(
                    value="aside",
                    title="Put those that were given up aside",
                    follows="They are never told. What is still tried goes on.",
                ),
                Option(value="later", title="Leave it for later", follows="It leaves the queue until the day below."),
            ),
            fields=(Field(name=desk_tasks.UNTIL, label="Until", kind="date", hint="For “Leave it for later”."),),
            undo="What was put aside waits again.",
            final="To put aside or to leave can be taken back. What was tried again was sent: that cannot.",
            not_mine=self.not_mine(staff),
            due_at=counted["oldest"] + DUE_AFTER if counted["oldest"] else None,
        )  # fmt: skip

    def decide(self, outcome: str, acting: Acting) -> str:
        """Try again, put aside, or put off."""
        if outcome == "later":
            acting.off_until()
            return outcome
        topic, receiver = _named(acting.row.key)
        given_up = stuck(acting.at).filter(topic=topic, receiver=receiver, failed_at__isnull=False)
        ids = list(given_up.order_by("pk").values_list("pk", flat=True)[:AT_ONCE])
        if not ids:
            raise TaskRefused("none of them was given up: they are still tried", element="outcome")
        if outcome == "again":
            done = notices.try_again(ids, acting.staff.caller(min(acting.staff.roles)), acting.reason)
        else:
            done = outbox.put_aside(ids, now=acting.at)
        acting.more["set"] = f"{done} notices"
        return outcome

    def take_back(self, last: DeskTaskAct, acting: Acting) -> None:
        """What the last act put aside waits again."""
        topic, receiver = _named(acting.row.key)
        if last.kind == "aside":
            outbox.take_up(OutboxMessage.objects.filter(topic=topic, receiver=receiver, aside_at=last.at))


def stuck(now: datetime) -> QuerySet[OutboxMessage]:
    """Notices that were given up, or tried and on their way for an hour, and that nobody put aside."""
    return OutboxMessage.objects.filter(
        Q(failed_at__isnull=False) | Q(attempts__gt=0, created_at__lt=now - ON_THE_WAY_FOR),
        delivered_at__isnull=True,
        aside_at__isnull=True,
    )


def groups(now: datetime) -> list[dict[str, Any]]:
    """By topic and receiver: n, oldest, error; the most first. One statement."""
    rows = (
        stuck(now)
        .values("topic", "receiver")
        .annotate(n=Count("pk"), oldest=Min("created_at"), error=Max("last_error"))
    )
    return [dict(row) for row in rows.order_by("-n", "topic", "receiver")[: desk_tasks.MOST_LISTED]]


def key_of(topic: str, receiver: str) -> str:
    """What the task of a receiver is called: its name may be an address."""
    return hashlib.sha256(f"{topic}\x1f{receiver}".encode()).hexdigest()[:16]


def _named(key: str) -> tuple[str, str]:
    rows = OutboxMessage.objects.filter(delivered_at__isnull=True).values_list("topic", "receiver").distinct()
    found = next((pair for pair in rows.order_by("topic", "receiver") if key_of(*pair) == key), None)
    if found is None:
        raise NotFound("no such receiver")
    return found


def _name(topic: str, receiver: str) -> str:
    return f"{topic.capitalize()} for {receiver}" if receiver else f"{topic.capitalize()} {_OWN}"


def _errors(mine: QuerySet[OutboxMessage]) -> Table:
    rows = mine.values("last_error").annotate(
        n=Count("pk"), given_up=Count("pk", filter=Q(failed_at__isnull=False)), last=Max("created_at")
    )
    return Table(
        title="Why they did not arrive",
        head=("Error", "Notices", "Given up", "Last"),
        rows=tuple(
            (row["last_error"] or "No answer yet", f"{row['n']:,}", f"{row['given_up']:,}", _at(row["last"]))
            for row in rows.order_by("-n", "last_error")[:_SHOWN]
        ),
        empty="None waits.",
    )


def _at(at: datetime | None) -> str:
    return f"{at:%-d %B %Y, %H:%M} UTC" if at is not None else "–"
