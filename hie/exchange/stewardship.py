"""Stewardship of identities: deciding what waits for review, merging persons, and undoing it.

By the hub's own staff, with a reason; each act is one event in the log of every person concerned, shown there
as the exchange's own staff.

Source: spec/mpi.md 5; spec/consent.md 13.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import transaction

from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.directory import queries as directory
from hie.exchange import access
from hie.exchange.access import Held, Staff
from hie.exchange.errors import BadRequest
from hie.standards.demographics import Demographics
from hie.standards.facts import Caller
from patients import identifiers, linking, reviewing
from patients import queries as index
from patients.models import IdentityEvent, ReviewItem
from patients.normalise import fold, phone_digits
from patients.reviewing import Settled, Verdict

MAX_RECORDS = 5
"""Records shown side by side; more of a person are counted."""

_EVENTS = {
    IdentityEvent.Kind.MERGED: EventType.IDENTITY_MERGE,
    IdentityEvent.Kind.UNLINKED: EventType.IDENTITY_UNLINK,
    IdentityEvent.Kind.LINKED: EventType.IDENTITY_LINK,
}


def decide_review(item_id: int, verdict: Verdict | str, staff: Staff, reason: str) -> Settled:
    """Decide one review item: *same*, *different*, or *defer*; see `patients.reviewing`.

    Raises:
        AccessRefused: no role of theirs may. BadRequest: no reason, or no such verdict.
        UnknownReview, ReviewClosed, InvalidMerge: of the item.
    """
    try:
        said = Verdict(verdict)
    except ValueError as error:
        raise BadRequest(f"the verdict is one of {', '.join(Verdict)}", element="verdict") from error
    caller, reason = _caller(staff, reason)
    with transaction.atomic():
        settled = reviewing.settle(item_id, said, actor=caller.user_id, reason=reason)
        kind = _EVENTS.get(IdentityEvent.Kind(settled.event_kind)) if settled.event_kind else None
        detail = {"review": item_id, "verdict": said.value, "item": settled.kind, "event": settled.event_id}
        _record(kind or EventType.IDENTITY_REVIEW, caller, settled.persons, reason, detail)
    return settled


def merge_persons(survivor: UUID, subsumed: UUID, staff: Staff, reason: str) -> UUID:
    """Put two persons together by hand; gives the event by which `unmerge` undoes it.

    Raises:
        AccessRefused, BadRequest: as for `decide_review`. UnknownPatient, InvalidMerge: of the persons.
    """
    caller, reason = _caller(staff, reason)
    with transaction.atomic():
        event_id = linking.merge(survivor, subsumed, actor=caller.user_id, reason=reason)
        _record(EventType.IDENTITY_MERGE, caller, (survivor, subsumed), reason, {"event": event_id})
    return event_id


def unmerge(event_id: UUID | str, staff: Staff, reason: str) -> UUID:
    """Undo a merge, link, unlink or resolved duplicate exactly; gives the new event.

    Raises:
        AccessRefused, BadRequest: as for `decide_review`. UnknownIdentityEvent, AlreadyUndone: of the event.
    """
    caller, reason = _caller(staff, reason)
    with transaction.atomic():
        undone_by = linking.undo(event_id, actor=caller.user_id, reason=reason)
        row = IdentityEvent.objects.get(id=undone_by)
        persons = [one for one in (row.person_id, row.other_person_id) if one is not None]
        _record(EventType.IDENTITY_UNMERGE, caller, persons, reason, {"event": undone_by, "undoes": str(event_id)})
    return undone_by


def _caller(staff: Staff, reason: str) -> tuple[Caller, str]:
    # The door refuses by role and for want of a reason; with nobody named it records no look of its own.
    view = access.administrative(staff, Held.IDENTITIES, [], reason=reason, act=True)
    caller = Caller(
        participant_id=recorder.HUB,
        organization_id=recorder.HUB,
        client_id="backoffice",
        user_id=f"Staff/{staff.user_id}",
        user_name=staff.name,
        role=view.role,
        network_address=staff.network_address,
        request_id=staff.request_id,
        face="backoffice",
    )
    return caller, reason.strip()


def _record(kind: EventType, caller: Caller, persons: Iterable[UUID], reason: str, detail: Mapping[str, Any]) -> None:
    recorder.write(
        [
            recorder.EventDraft(
                kind=kind, caller=caller, person_id=person, detail=dict(detail), personal={"text": reason}
            )
            for person in sorted(set(persons))
        ]
    )


# --- what a steward looks at -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One field of all records: its values in the order of the columns, and in words how they compare."""

    name: str
    values: tuple[str, ...]
    compared: str
    sign: str
    weight: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A review item with its records side by side; `may_decide` while it waits. `choices` are (verdict, words, hint)."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    more: int
    may_decide: bool
    choices: Sequence[tuple[str, str, str]] = field(default_factory=tuple)


_CHOICES: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    ReviewItem.Kind.OVERLAY: (
        ("same", "The same person: take the new data", "The revision becomes the record's current version."),
        ("different", "Another person: keep the former data", "The number was used twice; tell its organization."),
    ),
    ReviewItem.Kind.DOUBTFUL_LINK: (
        ("same", "One person: keep the link", "Remembered. The record stays where it is."),
        ("different", "Not this person: take the record out", "It becomes a person of its own. Can be undone."),
    ),
}
_MERGE = (
    ("same", "One person: merge", "All records come together, and the patient sees one log. Can be undone."),
    ("different", "Not the same person", "Remembered. We do not ask again for these records."),
)
_LATER = ("defer", "Not now", "The item stays in the queue as deferred.")

_FIELDS = (("Family name", "surname"), ("Given name", "given"), ("Born", "birth"), ("Sex", "sex"), ("Address", "street"), ("Phone", "phone"), ("Identifiers", "ident"))  # fmt: skip


def pair(item: ReviewItem) -> Pair:
    """The records that a review item is about, the record itself first; a fixed number of statements."""
    names = directory.participants()
    columns: list[tuple[str, Demographics]] = []
    record_id = item.source_record_id
    person = item.person_id
    candidate = identifiers.survivor(item.candidate_id) if item.candidate_id else None
    here = identifiers.survivor(person) or person
    by_person = index.source_records_of([one for one in (here, candidate) if one is not None])
    views = [
        view for one in (here, candidate) if one for view in by_person.get(one, []) if view.participant_id != "hub"
    ]
    own = [view for view in views if view.source_record_id == record_id]
    others = [view for view in views if view.source_record_id != record_id and view.active]
    for number, view in enumerate([*own, *others][:MAX_RECORDS]):
        owner = names.get(view.participant_id)
        columns.append((f"{chr(65 + number)} · {owner.name if owner else view.participant_id}", view.demographics))
    revised = reviewing.revision_of(item)
    if revised is not None:
        columns = [*columns[:1], ("The revision kept aside", revised)]
    values = [_values(demographics) for _, demographics in columns]
    rows = tuple(_row(title, key, [value[key] for value in values], item.weights) for title, key in _FIELDS)
    waits = item.status in {ReviewItem.Status.OPEN, ReviewItem.Status.DEFERRED}
    return Pair(
        columns=tuple(name for name, _ in columns),
        rows=rows,
        more=0 if revised is not None else max(0, len(own) + len(others) - MAX_RECORDS),
        may_decide=waits,
        choices=(*_CHOICES.get(item.kind, _MERGE), _LATER) if waits else (),
    )


def _values(of: Demographics) -> dict[str, tuple[str, ...]]:
    """The words of each field, every variant once."""
    addresses = (", ".join(part for part in (*one.lines, one.postal_code, one.city) if part) for one in of.addresses)
    found: dict[str, Iterable[str]] = {
        "surname": (name.family or name.text for name in of.names),
        "given": (" ".join(name.given) for name in of.names),
        "birth": (of.birth_date,),
        "sex": (of.gender,),
        "street": addresses,
        "phone": (one.value for one in of.telecoms if one.system != "email"),
        "ident": (f"{one.value} ({one.authority})" for one in of.identifiers),
    }
    return {key: tuple(dict.fromkeys(value for value in values if value)) for key, values in found.items()}


def _row(title: str, key: str, values: Sequence[tuple[str, ...]], weights: Mapping[str, float]) -> Row:
    plain = [{phone_digits(one) or one if key == "phone" else fold(one) for one in some} for some in values]
    given = [some for some in plain if some]
    if len(given) < 2:
        compared, sign = "Not compared", "soft"
    elif all(some & given[0] for some in given[1:]):
        compared, sign = "The same", "t-good"
    else:
        compared, sign = "Different", "t-bad"
    weight = weights.get(key)
    return Row(
        name=title,
        values=tuple("; ".join(some) or "not given" for some in values),
        compared=compared,
        sign=sign,
        weight="" if weight is None else f"{weight:+.1f}",
    )
