"""Communities and organizations that were down, slow or wrong when they were asked in the last day: one task each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.db.models import Count, Max, Min, Q, QuerySet

from hie.exchange import desk_tasks
from hie.exchange.access import Staff, StaffView
from hie.exchange.desk_models import DeskTaskAct
from hie.exchange.desk_tasks import Acting
from hie.exchange.desk_values import Badge, Field, Item, Option, Table, Task, Way
from hie.exchange.errors import NotFound
from hie.exchange.models import QueryTarget

SLOW_OR_DOWN = (QueryTarget.Status.LATE, QueryTarget.Status.DOWN, QueryTarget.Status.ERROR)
LOOKED_BACK = timedelta(days=1)
LONGEST_OFF = timedelta(days=14)
STATUS_WORDS = {
    "pending": "Not answered yet",
    "answered": "Answered",
    "nothing": "Answered: nothing found",
    "refused": "Refused",
    "late": "Too late",
    "down": "Not reached",
    "error": "Answered wrongly",
}


class TroubledCommunities(desk_tasks.TaskQueue):
    """Communities with questions that were not answered in time, the most of them first."""

    key = "communities"
    title = "Communities down or slow in the last day"
    about = "A community comes here when a question of the last day was not answered in time, or wrongly."
    permission = "exchange.view_query"
    deciders = frozenset({"operator", "administrator"})
    decided_by = "Operators decide this."
    act_words: ClassVar = {"known": "Outage known", "told": "Community told", "seen": "Seen"}
    undoable = frozenset({"known", "told", "seen"})

    def everything(self, now: datetime) -> Sequence[Item]:
        """1 statement."""
        return [
            Item(
                key=row["target_id"],
                title=row["name"],
                what=f"{row['bad']} of {row['all']} questions not answered in time",
                since=row["oldest"],
            )
            for row in troubled(now)
        ]

    def task(self, key: str, staff: Staff, view: StaffView | None, now: datetime) -> Task:
        """Some 5 statements."""
        asked = _asked(now).filter(target_id=key)
        counted = asked.aggregate(
            name=Max("name"),
            all=Count("pk"),
            bad=Count("pk", filter=Q(status__in=SLOW_OR_DOWN)),
            first=Min("asked_at", filter=Q(status__in=SLOW_OR_DOWN)),
            last=Max("asked_at", filter=Q(status__in=SLOW_OR_DOWN)),
            good=Max("answered_at", filter=Q(status__in=["answered", "nothing"])),
        )
        known = counted["name"] or QueryTarget.objects.filter(target_id=key).aggregate(name=Max("name"))["name"]
        if known is None:
            raise NotFound("no such community")
        put_off = desk_tasks.standing(self, key, now)
        return Task(
            key=key,
            name=known,
            question=f"What is to be done about {known}?",
            waits=bool(counted["bad"]) and not put_off,
            standing=put_off or "It answered in time in the last day",
            badges=(
                Badge(words=f"{counted['bad']} of {counted['all']} not in time", tone="emergency", icon="clock")
                if counted["bad"]
                else Badge(words="All in time", tone="good", icon="tick"),
            ),
            facts=(
                ("First in the last day", _at(counted["first"])),
                ("Last", _at(counted["last"])),
                ("Last answer in time", _at(counted["good"])),
                ("Meanwhile", "Every question goes on without it, and its asker is told that it did not answer."),
            ),
            tables=(_outcomes(asked),),
            ways=(
                Way(
                    words="The questions with trouble",
                    name="admin:exchange_query_changelist",
                    permission=self.permission,
                    query={"trouble": "1"},
                ),
                Way(
                    words="The addresses it is asked at",
                    name="admin:directory_endpoint_changelist",
                    permission="directory.view_endpoint",
                ),
            ),
            options=(
                Option(
                    value="known",
                    title="The outage is known",
                    follows="It leaves the queue until the day below. It is asked as before meanwhile.",
                ),
                Option(value="told", title="I told the community", follows="As above, and who was told is kept."),
                Option(
                    value="seen",
                    title="Nothing is to be done",
                    follows="It leaves the queue until tomorrow, and comes back if it is late again.",
                ),
            ),
            fields=(
                Field(name=desk_tasks.TOLD, label="Whom you told, and how", hint="For “I told the community”."),
                Field(
                    name=desk_tasks.UNTIL,
                    label="Until",
                    kind="date",
                    hint="For “The outage is known” and “I told the community”, at most 14 days.",
                ),
            ),
            undo="It waits again, while it has not answered in time in the last day.",
            not_mine=self.not_mine(staff),
        )

    def decide(self, outcome: str, acting: Acting) -> str:
        """Put it off."""
        if outcome == "seen":
            # What was late until now is out of the day that is looked at by then.
            acting.row.until_at = acting.until_at = acting.at + LOOKED_BACK
            return outcome
        if outcome == "told":
            acting.words(desk_tasks.TOLD, "say whom you told, and how")
        acting.off_until(at_most=LONGEST_OFF)
        return outcome

    def take_back(self, last: DeskTaskAct, acting: Acting) -> None:
        """It waits again; nothing else was done."""


def troubled(now: datetime) -> list[dict[str, Any]]:
    """Who did not answer in time in the last day: target_id, name, bad, all, oldest; the most first. One statement."""
    rows = (
        _asked(now)
        .values("target_id")
        .annotate(
            name=Max("name"),
            bad=Count("pk", filter=Q(status__in=SLOW_OR_DOWN)),
            all=Count("pk"),
            oldest=Min("asked_at", filter=Q(status__in=SLOW_OR_DOWN)),
        )
        .filter(bad__gt=0)
    )
    return [dict(row) for row in rows.order_by("-bad", "target_id")]


def _asked(now: datetime) -> QuerySet[QueryTarget]:
    return QueryTarget.objects.filter(withheld=False, query__created_at__gte=now - LOOKED_BACK).exclude(
        participant_id=""
    )


def _outcomes(asked: QuerySet[QueryTarget]) -> Table:
    rows = asked.values("status", "cause").annotate(n=Count("pk"), last=Max("asked_at"))
    return Table(
        title="What became of its questions in the last day",
        head=("Outcome", "Cause", "Questions", "Last"),
        rows=tuple(
            (STATUS_WORDS.get(row["status"], row["status"]), row["cause"] or "–", f"{row['n']:,}", _at(row["last"]))
            for row in rows.order_by("-n", "status", "cause")[:30]
        ),
        empty="It was not asked.",
    )


def _at(at: datetime | None) -> str:
    return f"{at:%-d %B %Y, %H:%M} UTC" if at is not None else "–"
