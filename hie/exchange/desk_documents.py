"""Documents that were accepted with doubts: each is restricted until somebody looked, and released it or kept it so.

To look is to compare what the document's metadata and the index say; its bytes are opened to nobody here.

Source: spec/consent.md 7, item 5; 8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID

from documents.models import ReviewItem
from hie.directory import queries as directory
from hie.exchange import access, desk_tasks, relabel
from hie.exchange.access import Held, Staff, StaffView
from hie.exchange.desk_models import DeskTaskAct
from hie.exchange.desk_tasks import Acting, TaskRefused
from hie.exchange.desk_values import Badge, Item, Option, Table, Task, Way
from hie.exchange.errors import NotFound
from hie.standards.facts import ParticipantFacts
from patients import identifiers

DUE_AFTER = timedelta(days=5)
REASON_WORDS: Mapping[str, str] = {
    "name-differs": "The document has another name than the index",
    "given-name-differs": "The document has another given name than the index",
    "birth-date-differs": "The document has another birth date than the index",
    "birth-date-nearly-equal": "The document has nearly the birth date of the index",
    "gender-differs": "The document has another gender than the index",
    "several-patients": "The document names several patients",
    "no-patient": "The document names no patient",
    "identifier-of-another": "The document holds an identifier of another person",
    "unique-id-differs": "The document’s own id is another than its metadata say",
    "confidentiality-unknown": "The document states a confidentiality that nobody knows",
}


class DoubtfulDocuments(desk_tasks.TaskQueue):
    """Reviews that wait, the oldest first."""

    key = "doubtful-documents"
    title = "Documents held back until somebody looks"
    about = "A document comes here when what it says of its patient is not what the index says. It is restricted until then."
    permission = "documents.view_reviewitem"
    deciders = frozenset({"steward", "privacy-officer", "administrator"})
    decided_by = "Stewards and privacy officers decide this."
    held = Held.DOCUMENT_METADATA
    act_words: ClassVar = {"release": "Released", "keep": "Kept restricted"}
    undoable = frozenset({"release", "keep"})

    def everything(self, now: datetime) -> Sequence[Item]:
        """1 statement."""
        rows = ReviewItem.objects.filter(closed_at__isnull=True).select_related("entry").order_by("opened_at", "pk")
        names = directory.participants()
        return [
            Item(
                key=str(row.pk),
                title=f"Document {str(row.entry.entry_uuid)[:8]} of {_name(row.entry.custodian, names)}",
                what="; ".join(_said(reason) for reason in row.reasons),
                since=row.opened_at,
                due_at=row.opened_at + DUE_AFTER,
            )
            for row in rows.only("opened_at", "reasons", "entry__entry_uuid", "entry__custodian")[
                : desk_tasks.MOST_LISTED
            ]
        ]

    def people(self, key: str) -> set[UUID]:
        """Whose document it is."""
        return {identifiers.person_of_pk(_row(key).entry.patient_identifier_id)}

    def task(self, key: str, staff: Staff, view: StaffView | None, now: datetime) -> Task:
        """Some 8 statements."""
        row = _row(key)
        entry, waits = row.entry, row.closed_at is None
        names = directory.participants()
        words = view is not None and view.words_of(entry.confidentiality)
        others = ReviewItem.objects.filter(entry=entry, closed_at__isnull=True).exclude(pk=row.pk).count()
        person = str(next(iter(self.people(key))))
        facts = [
            ("Custodian", _name(entry.custodian, names)),
            ("Unique id", entry.unique_id),
            ("Kind of file", f"{entry.mime_type}, {entry.size or 0:,} bytes"),
            ("Written", entry.creation_time or "Not said"),
            ("Came", f"{row.opened_at:%-d %B %Y, %H:%M} UTC"),
            ("Sender’s own number of the patient", _source(entry.source_patient_id_value, entry.source_patient_id_authority)),
            ("Confidentiality now", f"{entry.confidentiality or 'R'}{', held back' if entry.restricted else ''}"),
            ("Other doubts that wait", str(others) if others else "None"),
        ]  # fmt: skip
        if words:
            facts.append(("Labels", ", ".join(entry.labels) or "None"))
        return Task(
            key=key,
            name=f"Document {str(entry.entry_uuid)[:8]}",
            question="Is this document of this patient?",
            lead="It counts as confidential (R) until this is settled.",
            waits=waits,
            standing="Released" if row.outcome == "released" else "Kept restricted",
            badges=(
                Badge(words="Held back", tone="emergency", icon="lock")
                if entry.restricted
                else Badge(words="Released", tone="good", icon="tick"),
            ),
            facts=tuple(facts),
            tables=(
                Table(
                    title="What is in doubt",
                    head=("Doubt", "As the log calls it"),
                    rows=tuple((_said(reason), reason) for reason in row.reasons),
                ),
            ),
            ways=(
                Way(words="The document’s metadata", name="admin:documents_documententry_change", permission="documents.view_documententry", args=(str(entry.pk),)),
                Way(words="The patient in the index, to compare", name="admin:patients_person_change", permission="patients.view_person", args=(person,)),
                Way(words="Who could see it, and why", name="admin:documents_documententry_who", permission="documents.view_documententry", args=(str(entry.entry_uuid),))
            )[: 3 if access.may_see_decisions(staff.roles) else 2],
            options=(
                Option(
                    value="release",
                    title="Release it: it is of this patient",
                    follows="It gets the confidentiality that labelling set. From then on it is shown as every other document."
                    + (" Not before the other doubts are settled." if others else ""),
                ),
                Option(
                    value="keep",
                    title="Keep it restricted",
                    follows="It stays confidential (R). The organization that sent it can replace or remove it.",
                ),
            ),
            hint="The patient’s log shows your name and this reason. Write nothing of health.",
            undo="The document is restricted again at once, and waits. What was shown meanwhile was shown.",
            final="You can take it back: the document is restricted again then.",
            not_mine=self.not_mine(staff),
            due_at=row.opened_at + DUE_AFTER if waits else None,
        )  # fmt: skip

    def decide(self, outcome: str, acting: Acting) -> str:
        """Release it, or keep it restricted."""
        row = _row(acting.row.key)
        if row.closed_at is not None:
            raise TaskRefused("this was decided: take that back first", element="act")
        relabel.settle_review(row.pk, release=outcome == "release", reason=acting.reason, **_by(acting))
        acting.told = True
        return outcome

    def take_back(self, last: DeskTaskAct, acting: Acting) -> None:
        """Restricted again, and waiting."""
        relabel.reopen_review(_row(acting.row.key).pk, reason=acting.reason, **_by(acting))
        acting.told = True


def _by(acting: Acting) -> dict[str, str]:
    view = access.staff_view(acting.staff.roles, Held.DOCUMENT_METADATA)
    role = view.role if view is not None else min(acting.staff.roles)
    return {"staff_user": acting.staff.user_id, "staff_name": acting.staff.name, "role": role}


def _row(key: str) -> ReviewItem:
    number = int(key) if key.isascii() and key.isdigit() and len(key) < 18 else 0
    row = ReviewItem.objects.filter(pk=number).select_related("entry").first()
    if row is None:
        raise NotFound("no such review")
    return row


def _name(custodian: str, names: Mapping[str, ParticipantFacts]) -> str:
    return names[custodian].name if custodian in names else custodian


def _said(reason: str) -> str:
    return REASON_WORDS.get(reason, reason.replace("-", " ").capitalize())


def _source(value: str | None, authority: str | None) -> str:
    return f"{value} under {authority}" if value else "Not said"
