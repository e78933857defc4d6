"""Concerns as rows: opened, said something about, passed on, closed; each step kept, its words under the patient's key.

Who may do what is decided by the callers (`concerns` for patients, `concern_answers` for organizations, `concern_review`
for the office). Each function is called in the transaction of the act and of its audit event.

Source: spec/consent.md 15, "I don't recognise this".
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from hie.audit import personal
from hie.audit.kinds import EventType
from hie.audit.recorder import EventDraft
from hie.exchange.models import Concern, ConcernAct
from hie.standards.errors import HubError
from hie.standards.facts import Caller

REOPENED_WITHIN = timedelta(days=30)
PATIENT = "patient"
HUB = "hub"
Act, Status, Outcome = ConcernAct.Kind, Concern.Status, Concern.Outcome
OPEN = (Status.ASKED, Status.OFFICE, Status.ANSWERED)


class ConcernRefused(HubError):
    """The concern is in no state for this act, or not for this person to decide; `element` names the part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One act with its words; `name` is how its actor was called then."""

    kind: str
    actor: str
    name: str
    at: datetime
    words: str


def opened(*, now: datetime, **values: Any) -> Concern:
    """A new concern under a number of its own, which says nothing of how many there are."""
    for _ in range(20):
        number = f"C-{now:%Y}-{secrets.randbelow(900_000) + 100_000}"
        try:
            with transaction.atomic():
                return Concern.objects.create(number=number, raised_at=now, **values)
        except IntegrityError:
            if not Concern.objects.filter(number=number).exists():
                raise
    raise RuntimeError("no free number for a concern")


def note(
    concern: Concern, kind: str, *, actor: str, now: datetime, person_id: UUID | str, name: str = "", words: str = ""
) -> None:
    """Keep what was done, its words under the key of the person."""
    act = ConcernAct(id=uuid.uuid4(), concern=concern, kind=kind, actor=actor, name=name, at=now)
    if words:
        key = personal.keys_for([str(person_id)], connection, now)[str(person_id)]
        act.personal_key, act.words = key.id, key.seal({"text": words}, bound_to=act.id.bytes)
    act.save(force_insert=True)


def said(concern: Concern) -> list[Said]:
    """Every act in order, with its words; two statements."""
    return said_of([concern])[concern.pk]


def said_of(concerns: Iterable[Concern]) -> dict[int, list[Said]]:
    """As `said`, for several concerns by row id; two statements."""
    found: dict[int, list[Said]] = {one.pk: [] for one in concerns}
    acts = list(ConcernAct.objects.filter(concern__in=found).order_by("at", "id"))
    words = personal.open_words(((act.id, act.personal_key, act.words) for act in acts), connection)
    for act in acts:
        text = str(words.get(act.id, {}).get("text", ""))
        found[act.concern_id].append(Said(kind=act.kind, actor=act.actor, name=act.name, at=act.at, words=text))
    return found


def locked(number: str) -> Concern | None:
    """The concern, locked until the transaction ends; None when there is none."""
    return Concern.objects.select_for_update(of=("self",)).filter(number=number).first()


def check_open(concern: Concern) -> None:
    """Let only one pass that waits for somebody.

    Raises:
        ConcernRefused: it is over.
    """
    if not concern.is_open:
        raise ConcernRefused("this concern is closed", element="act")


def changed(concern: Concern, **values: Any) -> None:
    """Set fields of the row."""
    for name, value in values.items():
        setattr(concern, name, value)
    concern.save(update_fields=list(values))


def closed(concern: Concern, *, status: str, outcome: str, by: str, now: datetime) -> None:
    """End it."""
    changed(concern, status=status, outcome=outcome, closed_by=by, closed_at=now)


def may_be_answered(concern: Concern) -> bool:
    """Whether the organization was asked something that it has not answered."""
    asked = concern.asked_at
    return bool(
        concern.participant
        and concern.is_open
        and asked is not None
        and (concern.answered_at is None or concern.answered_at < asked)
    )


def detail(concern: Concern, act: str) -> dict[str, Any]:
    """What an event of the log says of an act about a concern. Nobody who may not know of it is shown one (`by`)."""
    return {"concern": concern.number, "by": concern.raised_by, "act": act, "what": f"concern {act}"}


def event(concern: Concern, act: str, *, caller: Caller, person_id: UUID | str, action: str = "U") -> EventDraft:
    """An event about an act, for the log of the person."""
    return EventDraft(
        kind=EventType.CONCERN, caller=caller, person_id=person_id, action=action, detail=detail(concern, act)
    )


def of_identifiers(identifier_pks: Iterable[int]) -> Sequence[Concern]:
    """Every concern of a person who has these identifiers, newest first; one statement."""
    return list(Concern.objects.filter(identifier_id__in=list(identifier_pks)).order_by("-raised_at", "-pk"))


def of_house(organizations: Iterable[str], *, limit: int) -> Sequence[Concern]:
    """The concerns that an organization was asked about, newest first; one statement."""
    rows = Concern.objects.filter(participant__in=list(organizations), asked_at__isnull=False)
    return list(rows.order_by("-asked_at", "-pk")[:limit])


def one_of_house(organizations: Iterable[str], number: str) -> Concern | None:
    """The concern of this number, where one of these organizations was asked about it."""
    return Concern.objects.filter(participant__in=list(organizations), asked_at__isnull=False, number=number).first()
