"""Values that a steward sets by hand for one field of a person, and withdraws: survivorship's highest grade.

A value hangs on the hub's own anchor of that person (`identifiers.own_anchor`): links carry it through merges, and
undoing brings it back, exactly like a record. Setting and withdrawing are changes of identity with an event each, so
`changes.undo` undoes them in any order (`standing.settle_values`).

Source: spec/mpi.md section 3, Survive.
"""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from patients import changes, standing, store
from patients.demographics import Demographics, to_json
from patients.errors import UnknownPatient, UnknownValue, UnusableDemographics
from patients.identifiers import HUB, own_anchor
from patients.models import IdentityEvent, SourceRecord, ValueByHand

FIELDS = (
    "names",
    "birth_date",
    "gender",
    "addresses",
    "telecoms",
    "mothers_maiden_name",
    "multiple_birth",
    "deceased",
    "languages",
    "marital_status",
    "birth_place",
    "occupation",
)
"""What can be set: what a person is described by. Identifiers are their issuers' to say."""


def set_value(person_id: UUID, field: str, demographics: Demographics, *, actor: str, reason: str) -> UUID:
    """Set one field of a person by hand: what `demographics` has there, and nothing else of it.

    A former value by hand of the same field gives way. Returns the id of the event, by which `changes.undo` undoes it.

    Raises:
        UnknownPatient: there is no such person, or it was merged away.
        UnusableDemographics: no such field, no value in it, or one that cannot be stored.
    """
    value = {name: content for name, content in to_json(demographics).items() if name == field}
    if field not in FIELDS or not value:
        raise UnusableDemographics("no field that can be set by hand, or no value", element=field)
    store.digest(value)  # refuses what PostgreSQL cannot keep
    with transaction.atomic():
        store.lock_index()
        changes.lock_persons([person_id])
        anchor = own_anchor(person_id)
        seen = SourceRecord.objects.filter(
            pk__in=[link.source_record_id for link in standing.current_links(person_id=person_id)]
        ).exclude(participant_id=HUB)
        return _change(
            anchor.source_record_id, person_id, field, value, sorted(seen.values_list("pk", flat=True)), actor, reason
        )


def withdraw(value_id: int, *, actor: str, reason: str) -> UUID:
    """Take back a value that holds: the field is again what the records say. Returns the event, which can be undone.

    Raises:
        UnknownValue: there is no such value, or it does not hold.
    """
    with transaction.atomic():
        store.lock_index()
        row = ValueByHand.objects.filter(pk=value_id, holds=True).first()
        if row is None:
            raise UnknownValue
        person_id = changes.link_of(row.source_record_id).person_id
        changes.lock_persons([person_id])
        return _change(row.source_record_id, person_id, row.field, None, [], actor, reason)


def _change(
    anchor: int, person_id: UUID, field: str, value: dict[str, object] | None, seen: list[int], actor: str, reason: str
) -> UUID:
    event = IdentityEvent.objects.create(
        kind=IdentityEvent.Kind.DECIDED,
        person_id=person_id,
        source_record_id=anchor,
        actor=actor,
        reason=reason,
        detail={"moved": [], "by_hand": field, "withdrawn": value is None},
    )
    ValueByHand.objects.create(
        source_record_id=anchor,
        field=field,
        value=value,
        rests_on=seen,
        actor=actor,
        reason=reason,
        set_at=event.at,
        event=event,
    )
    standing.settle_values([event.seq])
    store.refresh_golden([person_id])
    return event.id


def holding(person_id: UUID) -> list[ValueByHand]:
    """The values by hand that hold for a person, by field, then the newest first. 2 queries."""
    anchors = [link.source_record_id for link in standing.current_links(person_id=person_id)]
    return list(ValueByHand.objects.filter(source_record__in=anchors, holds=True).order_by("field", "-set_at", "-pk"))


def person_of(value_id: int) -> UUID:
    """The person whom a value is said of now.

    Raises:
        UnknownValue: there is no such value.
    """
    row = ValueByHand.objects.filter(pk=value_id).first()
    if row is None:
        raise UnknownValue
    try:
        return changes.link_of(row.source_record_id).person_id
    except UnknownPatient as error:
        raise UnknownValue from error


def event_of(value_id: int) -> UUID:
    """The event that a value came with, by which setting or withdrawing it is undone.

    Raises:
        UnknownValue: there is no such value.
    """
    row = ValueByHand.objects.filter(pk=value_id).select_related("event").first()
    if row is None:
        raise UnknownValue
    return row.event.id
