"""Participants to think about suspending, and those that are suspended.

One person suspends, and it bites at the next request; its end takes two people (`hie.exchange.governance`), so it is
proposed from here and not undone here.

Source: spec/consent.md 9.5, 11.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar

from django.db.models import Max

from consent import emergency_reviews
from hie.directory import queries as directory
from hie.directory.models import DirectoryChange, Participant, Standing
from hie.exchange import desk_tasks, emergency_answers, governance
from hie.exchange.access import Staff, StaffView
from hie.exchange.desk_models import DeskTaskAct
from hie.exchange.desk_tasks import Acting, TaskRefused
from hie.exchange.desk_values import Badge, Field, Item, Option, Table, Task, Way
from hie.exchange.errors import NotFound

DECIDERS = governance.ROLES | {governance.ONBOARDING}
DECIDED_BY = "Onboarding and privacy officers decide this."
DUE_AFTER = timedelta(days=5)


class RaisedParticipants(desk_tasks.TaskQueue):
    """Organizations with three emergencies not justified in a month, the longest so first."""

    key = "raised"
    title = "Participants to think about suspending"
    about = "An organization comes here when three emergency accesses of a month were not justified."
    permission = "directory.view_participant"
    deciders = DECIDERS
    decided_by = DECIDED_BY
    act_words: ClassVar = {"suspend": "Suspended", "spoke": "Spoken with", "later": "Left for later"}
    undoable = frozenset({"spoke", "later"})

    def everything(self, now: datetime) -> Sequence[Item]:
        """1 statement, and the directory's."""
        found = emergency_answers.raised_roots(now)
        names = directory.participants() if found else {}
        return [
            Item(
                key=root,
                title=names[root].name if root in names else root,
                what="Three emergencies not justified in a month",
                since=since,
                due_at=since + DUE_AFTER,
            )
            for root, since in sorted(found.items(), key=lambda one: (one[1], one[0]))
            if root not in names or names[root].status == Standing.ACTIVE
        ]

    def task(self, key: str, staff: Staff, view: StaffView | None, now: datetime) -> Task:
        """Some 6 statements."""
        row = participant(key)
        raised = emergency_answers.raised_roots(now)
        put_off = desk_tasks.standing(self, key, now)
        active = row.status == Standing.ACTIVE
        cases = [
            case for case in emergency_reviews.standing_cases(now=now) if directory.root_of(case.participant) == key
        ]
        names = directory.participants()
        return Task(
            key=key,
            name=row.name,
            question=f"Is {row.name} to be suspended?",
            # One that is not raised can be suspended here as well: for whatever else there is against it.
            waits=active and not put_off,
            standing=put_off if active else "It is suspended",
            badges=(_badge(row),),
            facts=(
                ("Not justified in a month", str(len(cases))),
                ("Answered by the organization", f"{sum(case.answered_at is not None for case in cases)} of {len(cases)}"),
                ("If it is suspended", "Every request of it is refused from the next one on, running ones too. It publishes nothing."),
            ),
            tables=(
                Table(
                    title="Emergencies that were not justified",
                    head=("Case", "Part of the organization", "Found", "Answer"),
                    rows=tuple(
                        (
                            str(case.review_id),
                            names[case.participant].name if case.participant in names else case.participant,
                            f"{case.opened_at:%-d %B %Y}",
                            f"{case.answered_at:%-d %B %Y}" if case.answered_at else "None yet",
                        )
                        for case in cases
                    ),
                ),
            ),
            ways=_ways(row),
            options=(
                Option(value="suspend", title="Suspend it", follows="It bites at once. To let it in again takes two people."),
                Option(value="spoke", title="I spoke with it", follows="It leaves the queue until the day below."),
                Option(value="later", title="Leave it for later", follows="As above, and nobody spoke with it."),
            ),
            fields=(
                Field(name=desk_tasks.TOLD, label="With whom you spoke, and how", hint="For “I spoke with it”."),
                Field(name=desk_tasks.UNTIL, label="Until", kind="date", hint="For “I spoke with it” and “Leave it for later”."),
            ),
            hint="It is kept in the history of the organization and in the log.",
            undo="It waits again.",
            final="A suspension is not undone here: its end takes two people. The others can be taken back.",
            not_mine=self.not_mine(staff),
            due_at=raised[key] + DUE_AFTER if key in raised else None,
        )  # fmt: skip

    def decide(self, outcome: str, acting: Acting) -> str:
        """Suspend it, or put it off."""
        if outcome == "suspend":
            if participant(acting.row.key).status != Standing.ACTIVE:
                raise TaskRefused("it is suspended already", element="act")
            governance.suspend(acting.row.key, acting.staff, reason=acting.reason)
            return outcome
        if outcome == "spoke":
            acting.words(desk_tasks.TOLD, "say with whom you spoke, and how")
        acting.off_until()
        return outcome

    def take_back(self, last: DeskTaskAct, acting: Acting) -> None:
        """It waits again; nothing else was done."""


class SuspendedParticipants(desk_tasks.TaskQueue):
    """Organizations that are suspended, the longest so first."""

    key = "suspended"
    title = "Participants suspended"
    about = "An organization stands here as long as it is suspended, so that none stays so by being forgotten."
    permission = "directory.view_participant"
    deciders = DECIDERS
    decided_by = DECIDED_BY
    act_words: ClassVar = {"stays": "Stays suspended"}
    undoable = frozenset({"stays"})

    def everything(self, now: datetime) -> Sequence[Item]:
        """2 statements."""
        rows = list(Participant.objects.filter(status=Standing.SUSPENDED).order_by("name", "pk"))
        changes = DirectoryChange.objects.filter(
            participant_id__in=[row.pk for row in rows], kind=DirectoryChange.Kind.SUSPENDED
        )
        since = dict(changes.values("participant_id").annotate(at=Max("at")).values_list("participant_id", "at"))
        found = [
            Item(key=row.pk, title=row.name, what="Refused at every request", since=since.get(row.pk)) for row in rows
        ]
        return sorted(found, key=lambda item: (item.since or now, item.key))

    def task(self, key: str, staff: Staff, view: StaffView | None, now: datetime) -> Task:
        """Some 4 statements."""
        row = participant(key)
        put_off = desk_tasks.standing(self, key, now)
        changes = DirectoryChange.objects.filter(
            participant_id=key, kind__in=[DirectoryChange.Kind.SUSPENDED, DirectoryChange.Kind.REINSTATED]
        ).order_by("-at", "-pk")[:20]
        suspended = row.status == Standing.SUSPENDED
        return Task(
            key=key,
            name=row.name,
            question=f"Is {row.name} to stay suspended?",
            waits=suspended and not put_off,
            standing=put_off if suspended else "It is not suspended",
            badges=(_badge(row),),
            facts=(("Meanwhile", "Every request of it is refused, and its documents are shown to nobody else."),),
            tables=(
                Table(
                    title="How it came to this",
                    head=("When", "What", "By", "Why"),
                    rows=tuple(
                        (f"{one.at:%-d %B %Y, %H:%M}", one.get_kind_display(), one.actor, one.reason or "No reason")
                        for one in changes
                    ),
                    empty="It came suspended by a file.",
                ),
            ),
            ways=(
                Way(
                    words="Propose to end the suspension, for a second person",
                    name="admin:consent_policyproposal_propose",
                    permission="consent.view_policyproposal",
                    query={"kind": "reinstatement", "subject": row.pk},
                ),
                *_ways(row),
            ),
            options=(
                Option(
                    value="stays",
                    title="It stays suspended for now",
                    follows="It leaves the queue until the day below. Its end can still be proposed.",
                ),
            ),
            fields=(Field(name=desk_tasks.UNTIL, label="Look at it again on", kind="date"),),
            undo="It waits again. The suspension is not changed by that.",
            final="You can take it back. To end the suspension takes two people: propose it.",
            not_mine=self.not_mine(staff),
        )  # fmt: skip

    def decide(self, outcome: str, acting: Acting) -> str:
        """Put it off."""
        if participant(acting.row.key).status != Standing.SUSPENDED:
            raise TaskRefused("it is not suspended any more", element="act")
        acting.off_until()
        return outcome

    def take_back(self, last: DeskTaskAct, acting: Acting) -> None:
        """It waits again; nothing else was done."""


def participant(key: str) -> Participant:
    """The organization of a task.

    Raises:
        NotFound: there is none.
    """
    row = Participant.objects.filter(pk=key).first()
    if row is None:
        raise NotFound("no such participant")
    return row


def _badge(row: Participant) -> Badge:
    if row.status == Standing.ACTIVE:
        return Badge(words="Takes part", tone="good", icon="tick")
    return Badge(words=row.get_status_display(), tone="emergency", icon="refused")


def _ways(row: Participant) -> tuple[Way, ...]:
    return (
        Way(
            words="The organization’s page",
            name="admin:directory_participant_change",
            permission="directory.view_participant",
            args=(row.pk,),
        ),
    )
