"""Reading the log back: newest first, by keyset, words decrypted.

Three statements a page (events, disclosures, keys). Who may read what is not decided
here: `hie.exchange.access_log` is the only caller on behalf of people.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet

from hie.audit import personal
from hie.audit.kinds import EventType, Outcome
from hie.audit.models import AuditEvent, Disclosure
from hie.audit.recorder import HUB
from hie.audit.values import AuditPage, AuditQuery, Cursor, DisclosureRecord, EventRecord

MAX_LIMIT = 1000
OWN_SIDE = Q(user__startswith="Patient/") | Q(role="proxy")
"""Acts of patients and helpers."""
AUTOMATIC = (Q(organization__in=("", HUB)) | Q(role="system") | Q(user__startswith="Device/", purpose="")) & ~(
    OWN_SIDE | Q(user__startswith="Staff/") | Q(kind__in=(EventType.STAFF_LOOK.value, EventType.STAFF_ACT.value))
)
"""What no person did: the hub's own work, and that of programs that gave no purpose."""

__all__ = [
    "AuditPage",
    "AuditQuery",
    "Cursor",
    "Stopped",
    "any_decided",
    "count",
    "decided_between",
    "decisions_of",
    "disclosed_with",
    "documents_of",
    "events_for_person",
    "readers",
    "received",
    "search",
    "stopped_between",
    "touched",
]


def events_for_person(
    person_ids: Iterable[str],
    *,
    before: Cursor | None = None,
    filters: AuditQuery | None = None,
    limit: int = 50,
) -> AuditPage:
    """A page of what was done about one person, under any of the ids it has had (survivor and linked)."""
    return search(replace(filters or AuditQuery(), person_ids=tuple(person_ids), before=before, limit=limit))


def search(query: AuditQuery) -> AuditPage:
    """A page of events, newest first, ties by id. An id that is no UUID matches nothing."""
    limit = max(0, min(query.limit, MAX_LIMIT))
    # Plain values: a page reads hundreds of rows, and a model of thirty fields each would cost more than reading them.
    rows = list(_matching(query).order_by("-at", "-id").values(*_COLUMNS)[: limit + 1])
    more = len(rows) > limit
    events = _records(rows[:limit])
    last = events[-1] if more and events else None
    return AuditPage(events=tuple(events), next=Cursor(at=last.at, id=last.id) if last else None)


def decided_between(since: datetime, until: datetime, *, tried: bool = True) -> Iterator[str]:
    """The ids of the events of this time that hold a decision record, oldest first; read in batches.

    `tried`: with the decisions that somebody only tried, by which nothing was released.
    """
    rows = AuditEvent.objects.filter(at__gte=since, at__lt=until).exclude(decision={}).order_by("at", "id")
    if not tried:
        rows = rows.exclude(kind=EventType.DECISION_SIMULATED)
    for identifier in rows.values_list("id", flat=True).iterator(chunk_size=2000):
        yield str(identifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A request that was refused for what its caller is and claims, before any record was looked up."""

    event_id: str
    at: datetime
    organization: str
    user: str
    role: str
    purpose: str
    relationship: str
    rule: str


_GATE = ("G1", "G2", "G4", "G5", "G6", "G7")


def stopped_between(since: datetime, until: datetime) -> Iterator[Stopped]:
    """The participants' requests of this time that got no further than the gate, oldest first; read in batches."""
    rows = (
        AuditEvent.objects.filter(at__gte=since, at__lt=until, outcome=Outcome.REFUSED, rule__in=_GATE, decision={})
        .exclude(organization=HUB)
        .order_by("at", "id")
    )
    columns = ("id", "at", "organization", "user", "role", "purpose", "relationship", "rule")
    for identifier, *rest in rows.values_list(*columns).iterator(chunk_size=2000):
        yield Stopped(event_id=str(identifier), **dict(zip(columns[1:], rest, strict=True)))


# A patient has a hundred thousand looks by fifty readers at a dozen documents: sorting all looks for the newest of each
# took a second. Readers are gathered in a table of their own size; documents are stepped through along their index.
_READERS = """
SELECT g.organization, g.participant, g.user_ref, (
         SELECT e.id FROM audit_event e
          WHERE e.person_id = ANY(%(persons)s::uuid[]) AND e.at = g.at
            AND e.organization = g.organization AND e.participant = g.participant AND e.user_ref = g.user_ref
          ORDER BY e.id DESC LIMIT 1)
  FROM (SELECT organization, participant, user_ref, max(at) AS at FROM audit_event
         WHERE person_id = ANY(%(persons)s::uuid[]){period} GROUP BY 1, 2, 3) g
 ORDER BY 1, 2, 3
"""
_DOCUMENTS = """
WITH RECURSIVE held(person, document) AS (
    SELECT one, (SELECT document_id FROM audit_disclosure WHERE person_id = one ORDER BY document_id LIMIT 1)
      FROM unnest(%(persons)s::uuid[]) one
    UNION ALL
    SELECT person, (SELECT document_id FROM audit_disclosure
                     WHERE person_id = person AND document_id > document ORDER BY document_id LIMIT 1)
      FROM held WHERE document IS NOT NULL)
SELECT DISTINCT ON (document) document, event_id FROM held CROSS JOIN LATERAL (
    SELECT event_id, at FROM audit_disclosure
     WHERE person_id = person AND document_id = document AND what NOT IN ('demographics', 'query'){period}
     ORDER BY at DESC, event_id LIMIT 1) newest
 ORDER BY document, at DESC, event_id
"""


def readers(
    person_ids: Iterable[str], *, since: datetime | None, until: datetime | None
) -> list[tuple[tuple[str, str, str], str]]:
    """Who acted on these persons in this time, each once with the newest event: ((organization, participant, user), event).

    In order of the readers; one statement.
    """
    return [
        ((str(organization), str(participant), str(user)), str(event))
        for organization, participant, user, event in _of_persons(_READERS, person_ids, since, until)
    ]


def documents_of(person_ids: Iterable[str], *, since: datetime | None, until: datetime | None) -> list[tuple[str, str]]:
    """The documents of these persons that left in this time, each with the newest event: (document, event).

    In order of the documents; one statement.
    """
    return [(str(document), str(event)) for document, event in _of_persons(_DOCUMENTS, person_ids, since, until)]


def _of_persons(
    statement: str, person_ids: Iterable[str], since: datetime | None, until: datetime | None
) -> list[tuple[Any, ...]]:
    period = (" AND at >= %(since)s" if since is not None else "") + (
        " AND at < %(until)s" if until is not None else ""
    )
    with connection.cursor() as cursor:
        values = {"persons": _uuids(person_ids), "since": since, "until": until}
        cursor.execute(statement.format(period=period), values)
        return list(cursor.fetchall())


def touched(person_ids: Iterable[UUID | str], since: datetime) -> set[str]:
    """Of these persons those of whom an event was written since; one statement."""
    wanted = _uuids(map(str, person_ids))
    if not wanted:
        return set()
    rows = AuditEvent.objects.filter(person_id__in=wanted, at__gt=since).order_by().values_list("person_id", flat=True)
    return {str(one) for one in rows.distinct()}


def any_decided() -> bool:
    """Whether anything was ever decided about a patient; one statement."""
    return AuditEvent.objects.exclude(decision={}).exists()


def decisions_of(ids: Iterable[str]) -> list[tuple[str, dict[str, Any], tuple[tuple[str, str], ...]]]:
    """The decision records of these events, each with the event's own list of what was denied; one statement."""
    rows = AuditEvent.objects.filter(id__in=_uuids(ids)).order_by("at", "id").values_list("id", "decision", "denied")
    return [
        (str(identifier), dict(decision), tuple((str(document), str(rule)) for document, rule in denied))
        for identifier, decision, denied in rows
    ]


def disclosed_with(ids: Iterable[str]) -> dict[str, tuple[tuple[str, str], ...]]:
    """What left with each of these events, as (document, rule) in order; one statement."""
    found: dict[str, list[tuple[str, str]]] = {}
    rows = Disclosure.objects.filter(event_id__in=_uuids(ids)).order_by("event_id", "n")
    for event_id, document, rule in rows.values_list("event_id", "document_id", "rule"):
        found.setdefault(str(event_id), []).append((str(document), str(rule)))
    return {event_id: tuple(some) for event_id, some in found.items()}


def received(document_ids: Iterable[str], *, since: datetime) -> list[tuple[str, str, datetime]]:
    """Who was given the bytes of these documents, with the document and when last: (organization, document, time), in order.

    Emergencies apart, of which the patient's side may be told later, or by the log alone. One statement.
    """
    wanted = sorted(set(document_ids))
    if not wanted:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT e.organization, d.document_id, max(d.at) FROM audit_disclosure d"
            " JOIN audit_event e ON e.id = d.event_id AND e.at = d.at"
            " WHERE d.document_id = ANY(%s) AND d.at >= %s AND d.what = 'bytes' AND e.outcome = 0 AND e.purpose <> 'BTG'"
            " GROUP BY 1, 2 ORDER BY 1, 2",
            [wanted, since],
        )
        return [(str(organization), str(document), at) for organization, document, at in cursor.fetchall()]


def released_by(consent_id: str, document_ids: Iterable[str]) -> list[tuple[str, str]]:
    """Who was given the bytes of these documents by a decision that rests on this consent: (organization, document), in order.

    One statement.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT coalesce(nullif(d.recipient, ''), e.organization), d.document_id FROM audit_disclosure d"
            " JOIN audit_event e ON e.id = d.event_id AND e.at = d.at"
            " WHERE d.document_id = ANY(%s) AND d.what = 'bytes' AND e.outcome = 0 AND d.basis @> %s::jsonb ORDER BY 1, 2",
            [sorted(set(document_ids)), json.dumps([{"kind": "consent", "id": consent_id}])],
        )
        return [(str(organization), str(document)) for organization, document in cursor.fetchall()]


def count(query: AuditQuery, *, at_most: int = 10_000) -> int:
    """How many events match, counted no further than `at_most`."""
    return len(_matching(replace(query, before=None)).order_by().values_list("id", flat=True)[:at_most])


def _matching(query: AuditQuery) -> QuerySet[AuditEvent]:
    events = AuditEvent.objects.all()
    if query.ids:
        events = events.filter(id__in=_uuids(query.ids))
    if query.person_ids is not None:
        events = events.filter(person_id__in=_uuids(query.person_ids))
    if query.since is not None:
        events = events.filter(at__gte=query.since)
    if query.until is not None:
        events = events.filter(at__lt=query.until)
    for column, wanted in (
        ("kind", query.kinds),
        ("action", query.actions),
        ("outcome", query.outcomes),
        ("purpose", query.purposes),
        ("role", query.roles),
        ("user", query.users),
        ("organization", query.organizations),
        ("participant", query.participants),
        ("patient_identifier", query.patient_identifiers),
        ("network_address", query.addresses),
    ):
        if wanted:
            events = events.filter(**{f"{column}__in": wanted})
    if query.automatic is not None:
        events = events.filter(AUTOMATIC) if query.automatic else events.exclude(AUTOMATIC)
    if query.own_side is not None:
        events = events.filter(OWN_SIDE) if query.own_side else events.exclude(OWN_SIDE)
    if query.held_back:
        events = events.filter(Q(outcome__gt=0) | ~Q(denied=[]) | Q(kind=EventType.QUESTION_WITHHELD.value))
    if query.emergency:
        events = events.filter(Q(purpose="BTG") | Q(kind=EventType.BREAK_GLASS.value))
    if query.correlation:
        events = events.filter(correlation=query.correlation)
    if query.rules:
        events = events.filter(Q(rule__in=query.rules) | Exists(_disclosures(rule__in=query.rules)))
    if query.agents:
        agents = list(query.agents)
        events = events.filter(
            Q(user__in=agents) | Q(client__in=agents) | Q(participant__in=agents) | Q(organization__in=agents)
        )
    if query.documents:
        events = events.filter(_about_documents(query.documents))
    if query.entities:
        people = Q(person_id__in=_uuids(query.entities)) | Q(patient_identifier__in=query.entities)
        events = events.filter(people | _about_documents(query.entities))
    if query.policies:
        wanted_tokens = Q()
        for token in query.policies:
            wanted_tokens |= Q(token_id__endswith=token)
        events = events.filter(wanted_tokens)
    if query.before is not None:
        at, last = query.before.at, query.before.id
        # The first condition lets the index and the month pruning work; the second breaks the tie.
        events = events.filter(at__lte=at).filter(Q(at__lt=at) | Q(at=at, id__lt=_uuids([last])[0]))
    return events


def _about_documents(ids: Sequence[str]) -> Exists:
    return Exists(Disclosure.objects.filter(Q(document_id__in=ids) | Q(unique_id__in=ids), event_id=OuterRef("id")))


def _disclosures(**conditions: Any) -> QuerySet[Disclosure]:
    return Disclosure.objects.filter(event_id=OuterRef("id"), **conditions)


def _uuids(values: Iterable[str]) -> list[UUID]:
    found: list[UUID] = []
    for value in values:
        try:
            found.append(UUID(value))
        except ValueError:
            continue
    return found


def events_of(ids: Sequence[UUID]) -> dict[UUID, EventRecord]:
    """Events by id, whoever they are about: for what tells the whole log. Three statements."""
    rows = list(AuditEvent.objects.filter(id__in=ids).values(*_COLUMNS))
    return {UUID(record.id): record for record in _records(rows)}


def _records(rows: Sequence[dict[str, Any]]) -> list[EventRecord]:
    if not rows:
        return []
    children: dict[UUID, list[dict[str, Any]]] = {}
    disclosed = Disclosure.objects.filter(event_id__in=[row["id"] for row in rows]).order_by("event_id", "n")
    for child in disclosed.values("event_id", "n", "labels", "basis", "obligations", *_DISCLOSED):
        children.setdefault(child["event_id"], []).append(child)
    words = personal.open_words([(row["id"], row["personal_key"], row["personal"]) for row in rows], connection)
    return [_record(row, children.get(row["id"], []), words.get(row["id"], {})) for row in rows]


_SAME = (
    "at", "kind", "action", "outcome", "participant", "organization", "root_organization", "organization_name",
    "organization_oid", "client", "user", "role", "purpose", "on_behalf_of", "intermediary", "relationship",
    "patient_identifier", "rule", "reason", "request_id", "correlation", "token_id", "network_address", "face",
    "detail", "decision",
)  # fmt: skip
_COLUMNS = ("id", "person_id", "denied", "personal_key", "personal", *_SAME)
_DISCLOSED = ("document_id", "unique_id", "custodian", "what", "confidentiality", "rule", "reason", "recipient")


def _record(row: dict[str, Any], children: Sequence[dict[str, Any]], words: dict[str, Any]) -> EventRecord:
    titles = words.pop("documents", [])
    return EventRecord(
        id=str(row["id"]),
        person_id=str(row["person_id"] or ""),
        denied=tuple((str(document), str(rule)) for document, rule in row["denied"]),
        user_name=str(words.pop("user_name", "")),
        query=str(words.pop("query", "")),
        words=words,
        disclosures=tuple(
            _disclosure(child, titles[child["n"]] if child["n"] < len(titles) else ("", "")) for child in children
        ),
        **{name: row[name] for name in _SAME},
    )


def _disclosure(row: dict[str, Any], words: Sequence[str]) -> DisclosureRecord:
    title, type_display = words
    return DisclosureRecord(
        title=title,
        type_display=type_display,
        labels=tuple(row["labels"]),
        basis=tuple(row["basis"]),
        obligations=tuple(row["obligations"]),
        **{name: row[name] for name in _DISCLOSED},
    )
