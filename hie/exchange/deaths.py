"""A patient whom the record says is dead, and who signs in: how that is objected to, and how it is settled.

With a death the patient's own access ends (spec/consent.md 10), and a wrong one, of a feed or of a mistaken merge, would
shut the patient out for good. Who signs in as such a patient can say so. Nothing opens by it: a steward asks, sets the
record right where the death stands (by hand, at the person's page), or closes the objection with a reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

from django.db import transaction

from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.exchange import access, release
from hie.exchange.access import Held, Staff
from hie.exchange.errors import AccessRefused, BadRequest, NotFound
from hie.exchange.models import DeathObjection
from hie.standards.facts import Caller, Operation
from patients import identifiers
from patients import queries as index
from patients.normalise import storable

STEWARDS = frozenset({"steward", "privacy-officer", "administrator"})
MAX_SAID = 500


def is_said_dead(person_id: UUID | str) -> bool:
    """Whether the record says that a patient is dead. For the patient's own pages: what to say there is no secret of his."""
    facts = index.subject_facts(person_id)
    return facts is not None and facts.deceased


@release.point
def object_to(person_id: UUID | str, words: str, *, caller: Caller) -> None:
    """Keep that somebody who signed in as this patient says that he lives; a second time while it waits adds the words.

    Raises:
        AccessRefused: not a patient's role. NotFound: not this patient, or one who lives. BadRequest: too many words.
    """
    words = words.strip()
    with recorder.recording(EventType.CONCERN, caller, action="C") as event:
        access.gate(caller, Operation.QUERY)
        if caller.role != "patient":
            raise AccessRefused("G5", "role-not-permitted")
        about = access.subject(person_id)
        release.rests_on(about.identifier_pks)
        event.about(UUID(about.person_id), detail={"about": "death"})
        if caller.user_id.partition("/")[2] not in about.facts.ids or not about.facts.deceased:
            raise NotFound("no such patient")
        if len(words) > MAX_SAID or not storable(words):
            raise BadRequest(f"write at most {MAX_SAID} characters", element="words")
        identifier_pk = identifiers.own_anchor(about.person_id).pk
        event.about(UUID(about.person_id), personal={"text": words})
        with transaction.atomic():
            release.basis_of(event).hold_alone()
            waiting = DeathObjection.objects.select_for_update().filter(
                identifier_id=identifier_pk, closed_at__isnull=True
            )
            row = waiting.first()
            if row is None:
                DeathObjection.objects.create(identifier_id=identifier_pk, said=words, at=access.now())
            elif words and len(row.said) < MAX_SAID * 10:
                row.said = "\n\n".join(filter(None, (row.said, words)))
                row.save(update_fields=["said"])
            event.commit()


def waits(person_id: UUID | str) -> bool:
    """Whether an objection of this patient's waits for a steward."""
    mine = identifiers.identifier_pks(person_id)
    return DeathObjection.objects.filter(identifier_id__in=mine, closed_at__isnull=True).exists()


def close(objection_id: int, staff: Staff, *, reason: str) -> None:
    """Close an objection: the record was set right, or stays as it is; the patient reads the reason in the log.

    Raises:
        AccessRefused: not a steward. BadRequest: no reason. NotFound: no such objection, or it is closed.
    """
    with _acting(objection_id, staff, reason, waits=True) as row:
        row.closed_at, row.closed_by, row.closed_reason = access.now(), f"Staff/{staff.user_id}", reason.strip()


def reopen(objection_id: int, staff: Staff, *, reason: str) -> None:
    """Let a closed objection wait again; the patient reads the reason in the log.

    Raises:
        As `close`. NotFound: no such objection, or it waits, or the patient has objected again since.
    """
    with _acting(objection_id, staff, reason, waits=False) as row:
        if DeathObjection.objects.filter(identifier_id=row.identifier_id, closed_at__isnull=True).exists():
            raise NotFound("the patient has objected again: that objection waits")
        row.closed_at, row.closed_by, row.closed_reason = None, "", ""


@contextmanager
def _acting(objection_id: int, staff: Staff, reason: str, *, waits: bool) -> Iterator[DeathObjection]:
    """One act of a steward about an objection, held meanwhile; recorded with it, or as refused."""
    if len(reason.strip()) > MAX_SAID or not storable(reason):
        raise BadRequest(f"write at most {MAX_SAID} characters", element="reason")
    steward, rows = replace(staff, roles=staff.roles & STEWARDS), DeathObjection.objects.filter(pk=objection_id)
    known = rows.first()
    if known is None:
        raise NotFound("no such objection")
    person_id, detail = identifiers.person_of_pk(known.identifier_id), {"objection": objection_id}
    if not steward.roles:
        # Refused before anything is held: a refusal is written by another connection.
        access.administrative(steward, Held.IDENTITIES, [person_id], reason=reason, act=True, detail=detail)
    with transaction.atomic():
        row = rows.select_for_update().filter(closed_at__isnull=waits).first()
        if row is None:
            raise NotFound("no such objection")
        access.administrative(steward, Held.IDENTITIES, [person_id], reason=reason, act=True, detail=detail)
        yield row
        row.save(update_fields=["closed_at", "closed_by", "closed_reason"])
