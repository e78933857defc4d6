"""Consents in force that cannot be understood: each denies everything while it is in force, and nothing here opens it.

An officer asks who filed it to correct it, ends it at the patient's wish with evidence of that wish, or leaves it: to
decide for the patient what was meant is nobody's. Ending is the privacy officer's (`consents.end`), and is not undone
here: only the patient, or who may choose for the patient, takes a choice up again.

Source: spec/consent.md 5.3, 12.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID

from django.db.models import QuerySet

from consent import directives
from consent.models import Consent
from consent.owners import Capacity
from documents import queries as registry
from hie.directory import queries as directory
from hie.exchange import access, consents, desk_tasks
from hie.exchange.access import PRIVACY_OFFICER, Held, Staff, StaffView
from hie.exchange.desk_models import DeskTaskAct
from hie.exchange.desk_tasks import Acting, TaskRefused
from hie.exchange.desk_values import Badge, Field, Item, Option, Table, Task, Way
from hie.exchange.errors import NotFound
from hie.standards.facts import ParticipantFacts
from patients import identifiers

DUE_AFTER = timedelta(days=1)
LONGEST_OFF = timedelta(days=30)
EVIDENCE = "evidence"
_FILED_AS = {
    Capacity.IMPORT: "Taken over from another system",
    Capacity.STAFF: "The exchange’s own staff",
}


class UnreadableConsents(desk_tasks.TaskQueue):
    """Directives in force that are unintelligible, the oldest first."""

    key = "consents"
    title = "Consents that could not be read"
    about = "A choice of a patient comes here when it is in force and cannot be understood. Until it is settled it closes everything."
    permission = "consent.view_consent"
    deciders = frozenset({PRIVACY_OFFICER})
    decided_by = "Privacy officers decide this."
    held = Held.CONSENTS
    act_words: ClassVar = {
        "asked": "Filer asked to correct it",
        "end": "Ended at the patient’s wish",
        "later": "Left as it is",
    }
    undoable = frozenset({"asked", "later"})

    def everything(self, now: datetime) -> Sequence[Item]:
        """1 statement."""
        rows = waiting().order_by("updated_at", "pk")[: desk_tasks.MOST_LISTED]
        names = directory.participants()
        return [
            Item(
                key=str(row.pk),
                title=f"Choice {row.pk}",
                what=_filer(row, names),
                since=row.updated_at,
                due_at=row.updated_at + DUE_AFTER,
            )
            for row in rows
        ]

    def people(self, key: str) -> set[UUID]:
        """Whose choice it is."""
        return {identifiers.person_of_pk(_row(key).identifier_id)}

    def task(self, key: str, staff: Staff, view: StaffView | None, now: datetime) -> Task:
        """Some 12 statements."""
        row = _row(key)
        about = access.subject(identifiers.person_of_pk(row.identifier_id))
        put_off = desk_tasks.standing(self, key, now)
        counts = row.status == "active" and row.unintelligible
        return Task(
            key=key,
            name=f"Choice {str(row.pk)[:8]}",
            question="What is to become of this choice?",
            lead="It cannot be understood, so nothing is shown because of it."
            if counts
            else "It does not count any more, or it can be understood now.",
            waits=counts and not put_off,
            standing=put_off if counts else "It is settled",
            badges=(
                Badge(words="Closes everything", tone="emergency", icon="refused")
                if counts
                else Badge(words="Settled", tone="good", icon="tick"),
            ),
            facts=tuple(_facts(row, about, staff)),
            tables=(_problems(row),),
            ways=_ways(row, about.person_id),
            options=(
                Option(
                    value="asked",
                    title="Ask who filed it to correct it",
                    follows="Nothing opens. It goes on closing everything, and comes back here on the day below.",
                ),
                Option(
                    value="end",
                    title="End it, at the patient’s wish",
                    follows="Only with evidence of that wish. Then the patient’s other choices and the general rule decide. The patient’s log shows it.",
                ),
                Option(
                    value="later",
                    title="Leave it as it is",
                    follows="It goes on closing everything, and comes back here on the day below.",
                ),
            ),
            fields=(
                Field(name=desk_tasks.TOLD, label="Whom you asked, and how", hint="For “Ask who filed it”."),
                Field(
                    name=EVIDENCE,
                    label="Evidence of the patient’s wish",
                    hint="For “End it”: where it can be found, such as “Letter of 3 May, folder 7”.",
                ),
                Field(
                    name=desk_tasks.UNTIL,
                    label="Until",
                    kind="date",
                    hint="For “Ask who filed it” and “Leave it”, at most 30 days.",
                ),
            ),
            hint="The patient’s log shows your name and this reason. Write plain words, and nothing of health.",
            undo="It waits again. What it closes stays closed.",
            final="To ask or to leave it can be taken back. An end cannot: only the patient, or who may choose for the patient, takes it up again.",
            not_mine=self.not_mine(staff),
            due_at=row.updated_at + DUE_AFTER if counts else None,
        )

    def decide(self, outcome: str, acting: Acting) -> str:
        """Nothing of this opens anything but an end, which needs the patient's wish."""
        row = _row(acting.row.key)
        if row.status != "active" or not row.unintelligible:
            raise TaskRefused("it does not count any more, or it can be understood now", element="act")
        if outcome == "end":
            evidence = acting.words(EVIDENCE, "say where the patient’s wish can be found")
            consents.end(row.pk, acting.staff, reason=acting.reason, evidence=evidence)
            acting.told = True
            return outcome
        if outcome == "asked":
            acting.words(desk_tasks.TOLD, "say whom you asked, and how")
        acting.off_until(at_most=LONGEST_OFF)
        return outcome

    def take_back(self, last: DeskTaskAct, acting: Acting) -> None:
        """It waits again; nothing else was done."""


def waiting() -> QuerySet[Consent]:
    """Directives in force that cannot be understood."""
    return Consent.objects.filter(unintelligible=True, status="active")


def _row(key: str) -> Consent:
    try:
        row = Consent.objects.filter(pk=UUID(key)).first()
    except ValueError:
        row = None
    if row is None:
        raise NotFound("no such choice")
    return row


def _filer(row: Consent, names: Mapping[str, ParticipantFacts]) -> str:
    if row.filed_by:
        return f"Filed by {names[row.filed_by].name if row.filed_by in names else row.filed_by}"
    return _FILED_AS.get(Capacity(row.capacity), f"Filed as {row.capacity}")


def _on_file(about: access.Subject, staff: Staff) -> str:
    """How many documents it closes, for who may look at documents."""
    if access.staff_view(staff.roles, Held.DOCUMENT_METADATA) is None:
        return "All documents"
    count = len(registry.entries(about.identifier_pks, limit=desk_tasks.MOST_LISTED))
    return f"All documents ({count}{' or more' if count == desk_tasks.MOST_LISTED else ''} on file)"


def _facts(row: Consent, about: access.Subject, staff: Staff) -> list[tuple[str, str]]:
    others = [one for one in directives.in_store(about.identifier_pks) if one.id != row.pk and one.status == "active"]
    return [
        ("Filed", f"{_filer(row, directory.participants())}, version {row.version}, {row.updated_at:%-d %B %Y}"),
        ("Closed meanwhile", f"{_on_file(about, staff)}, and who the patient is, to every other organization, for every reason."),
        (
            "Still open",
            "To the patient and helpers; to the organization that holds a document, for its own care; to whom the law requires; in an emergency.",
        ),
        ("Other choices in force", f"{len(others)}. They open nothing while this one counts." if others else "None."),
    ]  # fmt: skip


def _problems(row: Consent) -> Table:
    found = directives.problems(row.resource)
    return Table(
        title="What cannot be understood",
        head=("Element", "Why"),
        rows=tuple((one.element, f"{one.message[:1].upper()}{one.message[1:]}") for one in found),
        empty="It can be understood by the rules of today.",
    )


def _ways(row: Consent, person_id: str) -> tuple[Way, ...]:
    return (
        Way(words="The choice as it was filed", name="admin:consent_consent_change", permission="consent.view_consent", args=(str(row.pk),)),
        Way(words="What ending it would change for whom", name="admin:consent_consent_what_if", permission="consent.view_consent", args=(str(row.pk),)),
        Way(words="The person, to call them", name="admin:patients_person_change", permission="patients.view_person", args=(person_id,)),
    )  # fmt: skip
