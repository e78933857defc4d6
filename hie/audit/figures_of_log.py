"""What the log adds to the figures: requests, what was refused and why, what left, changes of choices, sign-ins.

The log is counted in the order of its seals. A request may have several events, one for each patient it was about: `n`
counts the events, `total` the requests, each with its first event. So `total` is the same whoever of the patients is hidden
from the asker, and alone may be shown to him. Events of one request carry its id and lie within ten minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from hie.audit.figures import Numbered, Tally
from hie.audit.kinds import EventType, Outcome


class Subject(StrEnum):
    """What is counted from the log."""

    REQUESTS = "requests"  # by participant and purpose; what: a Group; other: a Came
    REFUSED = "refused"  # by participant and purpose; what: the rule, or the reason where there is none
    LEFT = "left"  # by recipient and purpose; what: metadata, bytes, demographics, query
    HELD = "held"  # by custodian and purpose, a month on its first day; other: the recipient's topmost organization
    CHOICES_CHANGED = "choices-changed"  # what: filed, changed, ended
    SIGNED_IN = "signed-in"  # patients and helpers in the portal


class Group(StrEnum):
    """What was wanted."""

    FIND_PATIENT = "find-patient"
    FIND_DOCUMENTS = "find-documents"
    READ_DOCUMENT = "read-document"
    ASK_OTHERS = "ask-others"
    SEND_PATIENT = "send-patient"
    SEND_DOCUMENT = "send-document"
    DOOR = "door"


class Came(StrEnum):
    """What came of it. `DOOR` events are always refused: before any record was looked up."""

    ANSWERED = "answered"
    PARTLY = "partly"
    REFUSED = "refused"
    FAILED = "failed"


ASKING = (Group.FIND_PATIENT, Group.FIND_DOCUMENTS, Group.READ_DOCUMENT, Group.ASK_OTHERS)
SENDING = (Group.SEND_PATIENT, Group.SEND_DOCUMENT)

_E = EventType
_KINDS: dict[Group, tuple[EventType, ...]] = {
    Group.FIND_PATIENT: (
        _E.PATIENT_QUERY, _E.PATIENT_QUERY_V2, _E.PATIENT_QUERY_V3, _E.PATIENT_MATCH, _E.CROSS_REFERENCE,
        _E.CROSS_REFERENCE_V2, _E.CROSS_REFERENCE_V3, _E.PATIENT_DISCOVERY, _E.PATIENT_READ, _E.IDENTITY_HISTORY,
    ),
    Group.FIND_DOCUMENTS: (
        _E.FIND_DOCUMENT_LISTS, _E.READ_DOCUMENT_LIST, _E.FIND_DOCUMENTS, _E.READ_DOCUMENT_REFERENCE, _E.STORED_QUERY,
        _E.MULTI_PATIENT_QUERY, _E.CROSS_GATEWAY_QUERY,
    ),
    Group.READ_DOCUMENT: (
        _E.RETRIEVE_DOCUMENT, _E.RETRIEVE_DOCUMENT_SET, _E.CROSS_GATEWAY_RETRIEVE, _E.REMOTE_RETRIEVE,
    ),
    Group.ASK_OTHERS: (_E.CROSS_QUERY,),
    Group.SEND_PATIENT: (
        _E.PATIENT_FEED, _E.PATIENT_FEED_V2, _E.PATIENT_FEED_V3, _E.PATIENT_FEED_PMIR, _E.PATIENT_REMOVED,
    ),
    Group.SEND_DOCUMENT: (
        _E.PROVIDE_DOCUMENT_BUNDLE, _E.SIMPLIFIED_PUBLISH, _E.PROVIDE_AND_REGISTER, _E.REGISTER_DOCUMENTS,
        _E.REGISTER_ON_DEMAND, _E.UPDATE_METADATA, _E.UPDATE_METADATA_RESTRICTED, _E.REMOVE_METADATA, _E.REMOVE_DOCUMENTS,
    ),
    Group.DOOR: (_E.ACCESS_REFUSED, _E.TOKEN_REFUSED),
}  # fmt: skip
GROUP_OF = {kind.value: group for group, kinds in _KINDS.items() for kind in kinds}
SAME_REQUEST = timedelta(minutes=10)

_EVENTS = """
SELECT s.seq, e."at", e.kind, e.action, e.outcome, e.participant, e.root_organization, e.purpose, e.person_id, e.rule,
       e.reason, e.request_id, e.denied <> '[]'::jsonb, e.user_ref
  FROM audit_seal s JOIN audit_event e ON e.id = s.event_id AND e."at" = s."at"
 WHERE s.seq > %(after)s AND s.seq <= %(upto)s ORDER BY s.seq
"""
_EARLIER = """
SELECT DISTINCT e.participant, e.request_id, e.kind, e."at"
  FROM audit_event e JOIN audit_seal s ON s.event_id = e.id
 WHERE e.request_id = ANY(%(requests)s) AND e.request_id <> '' AND e."at" BETWEEN %(since)s AND %(until)s AND s.seq <= %(after)s
"""
_LEFT = """
SELECT s.seq, d.custodian, d.what, d.recipient, d.person_id, count(*)
  FROM audit_seal s JOIN audit_disclosure d ON d.event_id = s.event_id
 WHERE s.seq > %(after)s AND s.seq <= %(upto)s GROUP BY 1, 2, 3, 4, 5
"""


class _Event(NamedTuple):
    """A row of `_EVENTS`; `partly`: some documents were held back."""

    seq: int
    at: datetime
    kind: str
    action: str
    outcome: int
    participant: str
    root: str
    purpose: str
    person: UUID | None
    rule: str
    reason: str
    request: str
    partly: bool
    user: str

    @property
    def day(self) -> date:
        """The UTC day it counts for."""
        return self.at.astimezone(UTC).date()


def _tally(after: int, upto: int, tally: Tally) -> None:
    """Add the events of these seals, and what left with them; three statements."""
    values = {"after": after, "upto": upto}
    with connection.cursor() as cursor:
        cursor.execute(_EVENTS, values)
        events = {row[0]: _Event(*row) for row in cursor.fetchall()}
        cursor.execute(_LEFT, values)
        left = cursor.fetchall()
    requests = _Requests(after, list(events.values()))
    for event in events.values():
        _add_event(tally, event, requests)
    for seq, custodian, what, recipient, person, count in left:
        event = events[seq]
        to = recipient or event.participant
        tally.add(Subject.LEFT, event.day, participant=to, purpose=event.purpose, what=what, n=count, people=(person,))
        if what in ("metadata", "bytes") and custodian:
            house = recipient or event.root or event.participant
            month = event.day.replace(day=1)
            tally.add(
                Subject.HELD,
                month,
                participant=custodian,
                purpose=event.purpose,
                other=house,
                n=count,
                people=(person,),
            )


def _add_event(tally: Tally, event: _Event, requests: _Requests) -> None:
    day, people, done = event.day, (event.person,), event.outcome == Outcome.SUCCESS
    group = GROUP_OF.get(event.kind)
    if group is not None:
        whose: dict[str, Any] = {"participant": event.participant, "purpose": event.purpose}
        first = requests.is_first(event, group)
        tally.add(Subject.REQUESTS, day, **whose, what=group, other=_came(event), total=int(first), people=people)
        if event.outcome == Outcome.REFUSED:
            tally.add(Subject.REFUSED, day, **whose, what=event.rule or event.reason, people=people)
    elif event.kind in (EventType.CONSENT_FILED, EventType.CONSENT_REVOKED) and done:
        what = "ended" if event.kind == EventType.CONSENT_REVOKED else "filed" if event.action == "C" else "changed"
        tally.add(Subject.CHOICES_CHANGED, day, what=what, people=people)
    elif event.kind == EventType.LOGIN and event.user.startswith(("Patient/", "RelatedPerson/")):
        tally.add(Subject.SIGNED_IN, day, people=(_person_of(event.user),))


def _came(event: _Event) -> Came:
    if event.outcome == Outcome.SUCCESS:
        return Came.PARTLY if event.partly else Came.ANSWERED
    return Came.REFUSED if event.outcome == Outcome.REFUSED else Came.FAILED


def _person_of(user: str) -> UUID | None:
    try:
        return UUID(user.rpartition("/")[2])
    except ValueError:
        return None


class _Requests:
    """Which event of a batch is the first of its request."""

    def __init__(self, after: int, events: Sequence[_Event]) -> None:
        self._seen: dict[tuple[str, str, Group], list[datetime]] = {}
        ids = sorted({event.request for event in events if event.request and event.kind in GROUP_OF})
        if not ids:
            return
        times = [event.at for event in events]
        values: dict[str, Any] = {
            "requests": ids,
            "since": min(times) - SAME_REQUEST,
            "until": max(times) + SAME_REQUEST,
            "after": after,
        }
        with connection.cursor() as cursor:
            cursor.execute(_EARLIER, values)
            for participant, request, kind, at in cursor.fetchall():
                if (group := GROUP_OF.get(kind)) is not None:
                    self._seen.setdefault((participant, request, group), []).append(at)

    def is_first(self, event: _Event, group: Group) -> bool:
        """Whether no event before it belongs to the same request; it is noted. Without an id each is its own."""
        if not event.request:
            return True
        times = self._seen.setdefault((event.participant, event.request, group), [])
        first = all(abs(event.at - other) > SAME_REQUEST for other in times)
        times.append(event.at)
        return first


LOG = Numbered(name="log", newest="SELECT max(seq) FROM audit_seal", tally=_tally, in_order=True)
