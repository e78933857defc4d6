"""Patients whom the record says are dead, and who signed in and say that they live (`hie.exchange.deaths`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID

from hie.directory import queries as directory
from hie.exchange import deaths, desk_tasks
from hie.exchange.access import Held, Staff, StaffView
from hie.exchange.desk_models import DeskTaskAct
from hie.exchange.desk_tasks import Acting, TaskRefused
from hie.exchange.desk_values import Badge, Item, Option, Table, Task, Way
from hie.exchange.errors import NotFound
from hie.exchange.models import DeathObjection
from patients import identifiers
from patients import queries as index

DUE_AFTER = timedelta(days=3)


class DeathObjections(desk_tasks.TaskQueue):
    """Objections that wait, the oldest first."""

    key = "deaths"
    title = "Objections to a death"
    about = (
        "Somebody comes here who signed in as a patient said to be dead, and says that they live. Nothing opens by it."
    )
    permission = "exchange.view_deathobjection"
    deciders = deaths.STEWARDS
    decided_by = "Stewards and privacy officers decide this."
    held = Held.IDENTITIES
    act_words: ClassVar = {"right": "The record was set right", "stays": "The record stays"}
    undoable = frozenset({"right", "stays"})

    def everything(self, now: datetime) -> Sequence[Item]:
        """1 statement."""
        rows = DeathObjection.objects.filter(closed_at__isnull=True).order_by("at", "pk")
        return [
            Item(key=str(row.pk), title=f"Objection {row.pk}", what="Waits for a steward", since=row.at, due_at=row.at + DUE_AFTER)
            for row in rows[: desk_tasks.MOST_LISTED]
        ]  # fmt: skip

    def people(self, key: str) -> set[UUID]:
        """Who is said to be dead."""
        return {identifiers.person_of_pk(_row(key).identifier_id)}

    def task(self, key: str, staff: Staff, view: StaffView | None, now: datetime) -> Task:
        """Some 7 statements."""
        row = _row(key)
        waits = row.closed_at is None
        person = identifiers.person_of_pk(row.identifier_id)
        dead = deaths.is_said_dead(person)
        return Task(
            key=key,
            name=f"Objection {row.pk}",
            question="Does this patient live?",
            lead=f"“{row.said}”" if row.said else "The patient wrote nothing.",
            waits=waits,
            standing="It is closed",
            badges=(
                Badge(words="The record says: dead", tone="emergency", icon="emergency")
                if dead
                else Badge(words="The record says: alive", tone="good", icon="tick"),
            ),
            facts=(
                ("Said", f"{row.at:%-d %B %Y, %H:%M} UTC, signed in as the patient"),
                ("Meanwhile", "The patient’s own access is shut." if dead else "The patient’s own access is open."),
            ),
            tables=(_records(person),),
            ways=(
                Way(words="Set the death right by hand", name="admin:patients_person_by_hand", permission="patients.view_person", args=(str(person),)),
                Way(words="The person, to call them", name="admin:patients_person_change", permission="patients.view_person", args=(str(person),)),
            ),
            options=(
                Option(
                    value="right",
                    title="The record was wrong, and is set right",
                    follows="The objection is closed. Set the death right by hand first: this page changes nothing in the record.",
                ),
                Option(value="stays", title="The record stays as it is", follows="The objection is closed. The patient reads the reason in the log."),
            ),
            hint="The patient reads it in the log. Write plain words.",
            undo="It waits again. The record is not changed by that.",
            final="You can open it again.",
            not_mine=self.not_mine(staff),
            due_at=row.at + DUE_AFTER if waits else None,
        )  # fmt: skip

    def decide(self, outcome: str, acting: Acting) -> str:
        """Close it; that the record was set right is looked up."""
        row = _row(acting.row.key)
        if row.closed_at is not None:
            raise TaskRefused("this was decided: take that back first", element="act")
        if outcome == "right" and deaths.is_said_dead(identifiers.person_of_pk(row.identifier_id)):
            raise TaskRefused("the record still says that the patient is dead: set it right first", element="outcome")
        deaths.close(row.pk, acting.staff, reason=acting.reason)
        acting.told = True
        return outcome

    def take_back(self, last: DeskTaskAct, acting: Acting) -> None:
        """It waits again."""
        deaths.reopen(_row(acting.row.key).pk, acting.staff, reason=acting.reason)
        acting.told = True


def _row(key: str) -> DeathObjection:
    number = int(key) if key.isascii() and key.isdigit() and len(key) < 18 else 0
    row = DeathObjection.objects.filter(pk=number).first()
    if row is None:
        raise NotFound("no such objection")
    return row


def _records(person: UUID) -> Table:
    names = directory.participants()
    found = index.source_records(person)
    rows = tuple(
        (
            names[one.participant_id].name if one.participant_id in names else one.participant_id,
            _said(one.demographics.deceased),
            f"{one.updated_at:%-d %B %Y}",
            "In use" if one.active else "Replaced or removed",
        )
        for one in found
        if one.participant_id != "hub"
    )
    by_hand = sum(any(value.field == "deceased" for value in one.by_hand) for one in found)
    return Table(
        title="What the organizations say",
        head=("Organization", "Death", "Last changed", "Record"),
        rows=rows,
        note="A value set by hand counts above these." if by_hand else "",
    )


def _said(deceased: bool | str | None) -> str:
    if deceased is None:
        return "Says nothing"
    return "Alive" if deceased is False else "Dead" if deceased is True else f"Dead, {deceased}"
