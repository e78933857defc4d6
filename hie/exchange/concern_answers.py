"""What an organization is asked about looks of its users that a patient does not recognise, and its answer.

Whoever asks at the organization for its operations (quality, compliance) reads its concerns and answers them; the user
concerned does not. A concern names the request by what the organization's own log has of it, and the patient's words, of
which the patient was told that they are read there; not the patient. One taken back shows nothing of what was said. That
it was read first, and each answer, stand in the patient's log.

Source: spec/consent.md 15.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from consent import break_glass
from hie.audit import queries as audit
from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.audit.values import AuditQuery, EventRecord
from hie.directory import working_days
from hie.exchange import access, accounts, concerns, patient_notices, release
from hie.exchange import concern_rows as rows
from hie.exchange.concern_rows import Act, ConcernRefused, Said, Status
from hie.exchange.emergency_answers import answering_house
from hie.exchange.errors import BadRequest, NotFound
from hie.exchange.models import Concern
from hie.standards.facts import Caller
from patients import identifiers
from patients.normalise import storable

MAX_ANSWER = 2000
MOST = 200
MAX_RAW = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Answerable:
    """A concern as its organization sees it; `status` is asked, answered, closed or withdrawn.

    `event_id`, `request_id`, `at`, `user`, `role`, `purpose` and `transaction` are those of the look, as in the
    organization's own log; `said` is what the patient and the exchange wrote to it, and its own answers.
    """

    number: str
    reason: str
    status: str
    asked_at: datetime
    due_at: datetime
    overdue: bool
    event_id: UUID
    at: datetime
    request_id: str
    organization: str
    user: str
    role: str
    purpose: str
    transaction: str
    said: tuple[Said, ...]


@release.point
def cases(*, caller: Caller) -> list[Answerable]:
    """What the caller's organization was asked, newest first, at most 200; recorded.

    Raises:
        AccessRefused: as at every door, or the purpose is not that of the organization's own operations (G4).
    """
    with recorder.recording(EventType.CONCERN, caller, action="R", query="concerns of the participant") as event:
        found = rows.of_house(answering_house(caller), limit=MOST)
        at = access.now()
        with transaction.atomic():
            release.basis_of(event).hold()
            _read_first(found, caller, at)
            event.commit()
    return _shown(found)


@release.point
def answer(number: str, text: str, *, caller: Caller, raw: str | bytes = "") -> Answerable:
    """Answer what was asked; the patient and the exchange's office read it.

    Raises:
        AccessRefused: as `cases`. NotFound: no such concern of this organization. BadRequest: no words, or too many.
        ConcernRefused: it is answered or over, or the caller is the user concerned.
    """
    said = text.strip()
    with recorder.recording(EventType.CONCERN, caller, action="U", query=raw[:MAX_RAW]) as event:
        house = answering_house(caller)
        known = rows.one_of_house(house, number) if storable(number) else None
        if known is None:
            raise NotFound("no such concern")
        if not said or len(said) > MAX_ANSWER or not storable(said):
            raise BadRequest(f"write 1 to {MAX_ANSWER} characters", element="text")
        if known.looker and break_glass.is_same_user(caller.user_id, known.looker):
            raise ConcernRefused("who is concerned does not answer for the organization", element="user")
        at = access.now()
        with transaction.atomic():
            release.basis_of(event).hold()
            concern = rows.locked(number)
            if concern is None or not rows.may_be_answered(concern):
                raise ConcernRefused("it is answered, or closed", element="number")
            person_id = identifiers.person_of_pk(concern.identifier_id)
            due = working_days.answer_due(at, participant="", zone=accounts.zone_of(str(person_id)))
            rows.changed(concern, status=Status.ANSWERED, answered_at=at, due_at=due)
            rows.note(
                concern, Act.ANSWERED, actor=caller.user_id, name=concern.participant, now=at, person_id=person_id, words=said
            )  # fmt: skip
            event.about(person_id, detail=rows.detail(concern, "answered"))
            patient_notices.of_concern(concern, now=at)
            event.commit()
    (shown,) = _shown([concern])
    return shown


def _read_first(found: Sequence[Concern], caller: Caller, at: datetime) -> None:
    """Keep that the organization has read what it was asked, once."""
    unread = [one for one in found if one.read_at is None and one.is_open]
    people = identifiers.persons_of({one.identifier_id for one in unread})
    drafts = []
    for concern in unread:
        if Concern.objects.filter(pk=concern.pk, read_at__isnull=True).update(read_at=at):
            person_id = people[concern.identifier_id]
            rows.note(concern, Act.READ, actor=caller.user_id, name=concern.participant, now=at, person_id=person_id)
            drafts.append(rows.event(concern, "read", caller=caller, person_id=person_id, action="R"))
    recorder.write(drafts)


def _shown(found: Sequence[Concern]) -> list[Answerable]:
    """As the organization sees them; five statements."""
    wanted = tuple(sorted({str(one.event_id) for one in found}))
    looks = {one.id: one for one in audit.search(AuditQuery(ids=wanted, limit=len(wanted))).events} if wanted else {}
    said = rows.said_of(one for one in found if one.status != Status.WITHDRAWN)
    return [_answerable(one, looks.get(str(one.event_id)), said.get(one.pk, ())) for one in found]


def _answerable(concern: Concern, look: EventRecord | None, said: Sequence[Said]) -> Answerable:
    waits = rows.may_be_answered(concern)
    withdrawn = concern.status == Status.WITHDRAWN
    return Answerable(
        number=concern.number,
        reason=concern.reason,
        status="withdrawn" if withdrawn else "closed" if not concern.is_open else "asked" if waits else "answered",
        asked_at=concern.asked_at or concern.raised_at,
        due_at=concern.answer_due_at or concern.due_at,
        overdue=waits and concern.overdue_at is not None,
        event_id=concern.event_id,
        at=concern.event_at,
        request_id=look.request_id if look else "",
        organization=look.organization if look else concern.participant,
        user=concern.looker,
        role=look.role if look else "",
        purpose=look.purpose if look else "",
        transaction=look.kind if look else "",
        said=tuple(concerns.for_the_organization(said)),
    )
