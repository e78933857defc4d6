"""Keys and certificates of participants that end soon: one task each, due on the day it ends.

The hub holds no address of a person at a participant: who is told, and how, is written down by who told them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from hie.directory.models import Certificate, ClientKey, Participant, Standing
from hie.exchange import desk_tasks
from hie.exchange.access import Staff, StaffView
from hie.exchange.desk_models import DeskTaskAct
from hie.exchange.desk_tasks import Acting, TaskRefused
from hie.exchange.desk_values import Badge, Field, Item, Option, Table, Task, Way
from hie.exchange.errors import NotFound

EXPIRES_WITHIN = timedelta(days=30)
_KEY = re.compile(r"(key|certificate)-([0-9]{1,17})-([0-9]{8})\Z", re.ASCII)
_MODELS: dict[str, type[ClientKey] | type[Certificate]] = {"key": ClientKey, "certificate": Certificate}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A key or certificate with its end. Under a new end it is another task."""

    kind: str
    pk: int
    name: str
    participant: Participant
    ends_at: datetime

    @property
    def key(self) -> str:
        """What the task is called."""
        return f"{self.kind}-{self.pk}-{self.ends_at:%Y%m%d}"


class ExpiringKeys(desk_tasks.TaskQueue):
    """Keys and certificates that end within 30 days or have ended, the first first."""

    key = "keys"
    title = "Keys and certificates that expire within 30 days"
    about = "A key or certificate of an organization that takes part comes here 30 days before it ends."
    permission = "directory.view_clientkey"
    deciders = frozenset({"onboarding", "operator", "administrator"})
    decided_by = "Onboarding and operators decide this."
    act_words: ClassVar = {"told": "Organization told", "unused": "Left to end: not used any more"}
    undoable = frozenset({"told", "unused"})

    def everything(self, now: datetime) -> Sequence[Item]:
        """2 statements."""
        return [
            Item(
                key=one.key,
                title=f"{one.kind.capitalize()} of {one.participant.name}",
                what=f"{one.name} · {_ends(one, now)}",
                due_at=one.ends_at,
            )
            for one in ending(now)
        ]

    def task(self, key: str, staff: Staff, view: StaffView | None, now: datetime) -> Task:
        """Some 5 statements."""
        one = _one(key)
        put_off = desk_tasks.standing(self, key, now)
        others = [
            (other.kid, other.expires)
            for other in ClientKey.objects.filter(participant=one.participant).order_by("kid")
        ] + [
            (other.thumbprint[:16], other.expires)
            for other in Certificate.objects.filter(participant=one.participant).order_by("thumbprint")
        ]
        jwks = one.participant.jwks_url
        return Task(
            key=key,
            name=f"{one.kind.capitalize()} of {one.participant.name}",
            question=f"Does {one.participant.name} know that its {one.kind} ends?",
            waits=not put_off,
            standing=put_off,
            badges=(
                Badge(words=_ends(one, now), tone="emergency", icon="clock")
                if one.ends_at <= now + timedelta(days=7)
                else Badge(words=_ends(one, now), icon="clock"),
            ),
            facts=(
                ("Name", one.name),
                ("Ends", f"{one.ends_at:%-d %B %Y, %H:%M} UTC"),
                ("From then on", "Requests with it are refused."),
                ("New ones are read from", jwks or "A file of the hub: the organization sends the new one, and it is loaded"),
            ),
            tables=(
                Table(
                    title="All keys and certificates of the organization",
                    head=("Name", "Ends"),
                    rows=tuple((name, f"{ends:%-d %B %Y}" if ends else "Has no end") for name, ends in others),
                ),
            ),
            ways=(
                Way(
                    words="The organization’s page",
                    name="admin:directory_participant_change",
                    permission="directory.view_participant",
                    args=(one.participant.pk,),
                ),
            ),
            options=(
                Option(
                    value="told",
                    title="I told the organization",
                    follows="It leaves the queue until the day below, and is back while the old one is still in use.",
                ),
                Option(
                    value="unused",
                    title="It is not used any more",
                    follows="It ends as it stands, and leaves the queue.",
                ),
            ),
            fields=(
                Field(name=desk_tasks.TOLD, label="Whom you told, and how", hint="For “I told the organization”."),
                Field(name=desk_tasks.UNTIL, label="Ask again on", kind="date", hint="For “I told the organization”: a day before it ends."),
            ),
            undo="It waits again.",
            not_mine=self.not_mine(staff),
            due_at=one.ends_at,
        )  # fmt: skip

    def decide(self, outcome: str, acting: Acting) -> str:
        """Put it off to a day before it ends, or settle it."""
        one = _one(acting.row.key)
        if outcome == "unused":
            acting.settle()
            return outcome
        acting.words(desk_tasks.TOLD, "say whom you told, and how")
        day = acting.off_until()
        if one.ends_at > acting.at and day >= one.ends_at:
            raise TaskRefused("choose a day before it ends", element=desk_tasks.UNTIL)
        return outcome

    def take_back(self, last: DeskTaskAct, acting: Acting) -> None:
        """It waits again; nothing else was done."""


def ending(now: datetime) -> list[Ending]:
    """What ends within 30 days or has ended, of participants that take part; the first first. 2 statements."""
    soon = now + EXPIRES_WITHIN
    found: list[Ending] = []
    for kind, model in _MODELS.items():
        rows = model._default_manager.filter(expires__lt=soon, participant__status=Standing.ACTIVE)
        found += [_of(kind, row) for row in rows.select_related("participant").order_by("expires", "pk")]
    return sorted(found, key=lambda one: (one.ends_at, one.participant.name, one.key))


def _of(kind: str, row: ClientKey | Certificate) -> Ending:
    assert row.expires is not None
    return Ending(
        kind=kind,
        pk=row.pk,
        name=row.kid if isinstance(row, ClientKey) else f"SHA-256 {row.thumbprint[:16]}…",
        participant=row.participant,
        ends_at=row.expires,
    )


def _one(key: str) -> Ending:
    named = _KEY.match(key)
    if named is not None:
        rows = _MODELS[named[1]]._default_manager.filter(pk=int(named[2]), expires__isnull=False)
        row = rows.select_related("participant").first()
        if row is not None and (found := _of(named[1], row)).key == key:
            return found
    raise NotFound("there is no such key, or it ends on another day now")


def _ends(one: Ending, now: datetime) -> str:
    if one.ends_at <= now:
        return "Has ended"
    days = (one.ends_at - now).days
    return "Ends today" if days == 0 else f"Ends in {days} {'day' if days == 1 else 'days'}"
