"""What has come of a cross-organization query: waited for, read as a list or as a stream of events (design.md).

Each answer is decided again at its own instant for the one who asked; what is shown for the first time is disclosed
before it leaves.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from django.db import connection, transaction

from hie.audit import recorder
from hie.directory import queries as directory
from hie.exchange import access, as_seen, find, release
from hie.exchange.access import Shown
from hie.exchange.models import Query, QueryEvent, QueryTarget
from hie.exchange.query import owned, settle
from hie.exchange.remote_documents import NamedDocument, RemoteRow, remote_rows, rendering
from hie.exchange.waiting import ROOM, WATCH
from hie.standards.facts import Caller, Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetView:
    """One target as the asker sees it."""

    id: str
    name: str
    kind: str
    status: str
    found: int
    asked_at: datetime | None
    answered_at: datetime | None
    elapsed_ms: int | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryView:
    """A query as the asker sees it now: `found` and `documents` are after consent."""

    id: UUID
    status: str
    created_at: datetime
    deadline_at: datetime
    completed_at: datetime | None
    person_id: UUID
    purpose: str
    targets: tuple[TargetView, ...]
    documents: tuple[tuple[str, dict[str, Any]], ...]  # (key, DocumentReference)


Ahead = Mapping[UUID, RemoteRow]
"""Documents of others that were read before the list is decided, by their id here."""
AHEAD_S = 0.4
"""How long before the deadline what has come in is read, by those who wait: at the deadline all of them want it at once."""


def wait(query: Query, *, until_s: float) -> Ahead:
    """Hold until the query, as just asked or read, is complete, or for `until_s` seconds; documents read meanwhile.

    The caller has a place in `waiting.ROOM`, which others use meanwhile; it holds no transaction and no connection.
    Whoever stores an answer also completes its query, so one reader for all who wait here looks at its status
    (`hie.exchange.waiting`); the clock's part (deadline, withheld targets) is settled when it is due.
    """
    end = time.monotonic() + until_s
    ahead_at = query.deadline_at - timedelta(seconds=AHEAD_S)
    ahead: Ahead | None = None
    due = None
    while query.status == Query.Status.RUNNING and time.monotonic() < end:
        due = due or _due(query)
        at = datetime.now(UTC)
        if due <= at:
            settle(query, at=at)
            due = None
            continue
        if ahead is None and ahead_at <= at:
            ahead = _read_ahead(query)
        until = due if ahead is not None else min(due, ahead_at)
        with ROOM.left():
            ended = WATCH.wait(query.pk, min((until - at).total_seconds(), end - time.monotonic()))
        if ended:
            break
    return ahead or {}


def _read_ahead(query: Query) -> Ahead:
    """What has come in by now, with all that is made of it whoever looks; who may see it is decided when it is shown."""
    person_id = str(query.person_id)
    with directory.one_reading():
        rows = _remote(_answered(_targets(query)), {})
    for row in rows:
        row.facts(person_id), row.rendered(person_id), row.shown()
    return {row.document.id: row for row in rows}


_NEXT_WITHHELD = """
SELECT min(answered_at) FROM exchange_querytarget WHERE query_id = %s AND status = 'pending' AND withheld
"""


def _due(query: Query) -> datetime:
    """When the clock next changes this query's rows: a withheld target seems to answer, or the deadline comes."""
    with connection.cursor() as cursor:
        cursor.execute(_NEXT_WITHHELD, [query.pk])
        (withheld,) = cursor.fetchone()
    return min(query.deadline_at, withheld) if withheld is not None else query.deadline_at


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """A query as decided at one instant, before it is shown."""

    query: Query
    view: QueryView
    subject: access.Subject | None = None
    verdict: access.Verdict[Any] = field(default_factory=access.Verdict)
    keys: Mapping[int, str] = field(default_factory=dict)


@release.point
def view(query: UUID | Query, *, caller: Caller, ahead: Ahead | None = None) -> QueryView:
    """The list as it may be shown now, of a query by its id or as just read; what is shown for the first time is
    disclosed before it leaves. `ahead` spares reading again what `wait` has read.

    Each document is decided again at this instant (consent, suspension, agreement): what came in under
    another consent is not shown.

    Raises:
        AccessRefused: the caller may no longer ask.
        NotFound: another's query, or an unknown one.
    """
    with recorder.recording(recorder.EventType.CROSS_QUERY_RESULT, caller, action="R") as event:
        looked = _look(query, caller, ahead or {})
        event.note(correlation=str(looked.query.id), detail=access.NAMES_THE_PATIENT)
        with transaction.atomic():
            _disclose(event, looked, caller, _first_shown(looked.query, list(looked.keys.values())))
            event.commit()
    return looked.view


class _Asked(NamedTuple):
    """What a list needs of a target's row."""

    pk: int
    target_id: str
    participant_id: str
    name: str
    kind: str
    status: str
    asked_at: datetime | None
    answered_at: datetime | None
    message: str


def _targets(query: Query) -> list[_Asked]:
    # Read without the ORM's objects: a hundred of them cost more than all that is decided about them.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, target_id, participant_id, name, kind, status, asked_at, answered_at, message"
            " FROM exchange_querytarget WHERE query_id = %s ORDER BY id",
            [query.pk],
        )
        return [_Asked._make(row) for row in cursor.fetchall()]


def _look(asked: UUID | Query, caller: Caller, ahead: Ahead) -> _Looked:
    access.gate(caller, Operation.QUERY)
    query = settle(asked if isinstance(asked, Query) else owned(asked, caller), at=datetime.now(UTC))
    targets = _targets(query)
    known = access.demographics(caller, [query.person_id])
    if not known:
        return _Looked(query=query, view=_view(query, targets, {}, ()))
    (person,) = known.values()
    subject = person.subject
    rows, keys, owner = _rows(query, subject, targets, ahead)
    verdict = access.permitted(caller, subject, rows, Operation.QUERY)
    verdict = as_seen.as_asked(caller, subject, verdict, find.asked_of(query.filter))
    shown = verdict.rows()
    found: dict[int, int] = {}
    for row in shown:
        found[owner[id(row)]] = found.get(owner[id(row)], 0) + 1
    own = [row for row in shown if not isinstance(row, RemoteRow)]
    told = dict(zip(map(id, own), as_seen.telling_what_is_seen(caller, subject, own), strict=True))
    documents = tuple((keys[id(row)], _render(told.get(id(row), row), subject.person_id)) for row in shown)
    return _Looked(
        query=query,
        view=_view(query, targets, found, documents),
        subject=subject,
        verdict=verdict,
        keys={id(row): keys[id(row)] for row in shown},
    )


def _disclose(event: recorder.Recording, looked: _Looked, caller: Caller, fresh: set[str]) -> None:
    """Put what is shown for the first time into the event; a repeated look adds no second disclosure."""
    if looked.subject is None:
        return
    new = replace(
        looked.verdict,
        permitted=tuple(pair for pair in looked.verdict.permitted if looked.keys[id(pair[0])] in fresh),
    )
    access.record(event, caller, looked.subject, new, what="metadata", shown=_shown, operation=Operation.QUERY)


def _rows(
    query: Query, subject: access.Subject, targets: Sequence[_Asked], ahead: Ahead
) -> tuple[list[Any], dict[int, str], dict[int, int]]:
    """Every row of the answer, its key in the list, and the pk of the target it came from."""
    rows: list[Any] = []
    keys: dict[int, str] = {}
    owner: dict[int, int] = {}
    for target in targets:
        if target.kind == "local":
            for entry in find.local_entries(subject, query.filter):
                rows.append(entry)
                keys[id(entry)] = str(entry.metadata.entry_uuid)
                owner[id(entry)] = target.pk
    for row in _remote(_answered(targets), ahead):
        rows.append(row)
        keys[id(row)] = str(row.document.id)
        owner[id(row)] = row.document.target
    return rows, keys, owner


def _answered(targets: Iterable[_Asked]) -> dict[int, _Asked]:
    return {target.pk: target for target in targets if target.status == QueryTarget.Status.ANSWERED}


def _remote(asked: Mapping[int, _Asked], ahead: Ahead) -> list[RemoteRow]:
    """The documents of these targets, by target, newest first; those read `ahead` are not read again."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT target_id, id, custodian, unique_id, resource, received_at FROM exchange_remotedocument"
            " WHERE target_id = ANY(%s) AND NOT id = ANY(%s)",
            [list(asked), list(ahead)],
        )
        named = [
            NamedDocument(
                id=document_id,
                target=target_id,
                community_id=asked[target_id].participant_id,
                community_name=asked[target_id].name,
                custodian=custodian,
                unique_id=unique_id,
                resource=orjson.loads(resource),
                received_at=received_at,
            )
            for target_id, document_id, custodian, unique_id, resource, received_at in cursor.fetchall()
        ]
    participants, tables = directory.participants(), access.label_tables()
    rows = []
    for row in ahead.values():
        if row.document.target in asked:
            as_then = row.community is participants.get(row.document.community_id) and row.tables is tables
            rows += [row] if as_then else remote_rows([row.document])
    rows += remote_rows(named)
    rows.sort(key=lambda row: row.document.id)
    rows.sort(key=lambda row: row.document.received_at, reverse=True)
    rows.sort(key=lambda row: row.document.target)
    return rows


def _render(row: Any, person_id: str) -> dict[str, Any]:
    if isinstance(row, RemoteRow):
        return row.rendered(person_id)
    return rendering().local(row, person_id)


def _shown(row: Any) -> Shown:
    if isinstance(row, RemoteRow):
        return row.shown()
    return find.shown(row)


_MARK_SHOWN = """
INSERT INTO exchange_queryevent (query_id, kind, key, at)
SELECT %s, 'document', key, %s FROM json_array_elements_text(%s) AS key
ON CONFLICT DO NOTHING RETURNING key
"""


def _first_shown(query: Query, keys: Sequence[str]) -> set[str]:
    """Those of `keys` never shown before; marks them shown. Two readers at once: one wins each key."""
    if not keys:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(_MARK_SHOWN, [query.pk, datetime.now(UTC), orjson.dumps(keys).decode()])
        return {row[0] for row in cursor.fetchall()}


def _view(
    query: Query,
    targets: Sequence[_Asked],
    found: Mapping[int, int],
    documents: tuple[tuple[str, dict[str, Any]], ...],
) -> QueryView:
    return QueryView(
        id=query.id,
        status=query.status,
        created_at=query.created_at,
        deadline_at=query.deadline_at,
        completed_at=query.completed_at,
        person_id=query.person_id,
        purpose=query.purpose,
        targets=tuple(_target_view(target, found.get(target.pk, 0)) for target in targets),
        documents=documents,
    )


def _target_view(target: _Asked, found: int) -> TargetView:
    status = target.status
    # A community whose documents are all hidden from the asker looks like one that has none.
    if status == QueryTarget.Status.ANSWERED and found == 0:
        status = QueryTarget.Status.NOTHING
    pending = status == QueryTarget.Status.PENDING
    answered_at = None if pending else target.answered_at
    elapsed = None
    if answered_at is not None and target.asked_at is not None:
        elapsed = max(0, round((answered_at - target.asked_at).total_seconds() * 1000))
    return TargetView(
        id=target.target_id,
        name=target.name,
        kind=target.kind,
        status=status,
        found=found,
        asked_at=target.asked_at,
        answered_at=answered_at,
        elapsed_ms=elapsed,
        message=target.message,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEvent:
    """One event of the stream; `id` is the row's, so a reader can resume after it."""

    id: int
    kind: str
    data: dict[str, Any]


@release.point
def changes(query_id: UUID, *, caller: Caller, after: int) -> tuple[list[StreamEvent], bool]:
    """What the asker has not been told yet, in order, and whether all is told.

    A document shown before that may no longer be is told as ``withdrawn``. Each call decides anew.
    """
    with recorder.recording(recorder.EventType.CROSS_QUERY_RESULT, caller, action="R") as event:
        looked = _look(query_id, caller, {})
        query, current = looked.query, looked.view
        with transaction.atomic():
            fresh = _first_shown(query, list(looked.keys.values()))
            if fresh:
                event.note(correlation=str(query_id))
                _disclose(event, looked, caller, fresh)
                event.commit()
            told = _to_tell(query, current, after)
            if not fresh:
                event.dismiss()
                if told:
                    # Nothing is disclosed that was not before; it is told again only while it may be.
                    release.basis_of(event).hold()
    # `done` closes the stream even when late answers came between it and the end.
    return told, current.status != "running"


def _to_tell(query: Query, current: QueryView, after: int) -> list[StreamEvent]:
    """What stands in the rows behind `after`, those that this look adds among them."""
    documents = dict(current.documents)
    at = datetime.now(UTC)
    news = [
        QueryEvent(query=query, kind="target", key=f"{item.id} {item.status}", at=at)
        for item in current.targets
        if item.status != "pending"
    ]
    before = set(query.events.filter(kind="document").values_list("key", flat=True))
    news += [QueryEvent(query=query, kind="withdrawn", key=key, at=at) for key in before - documents.keys()]
    if current.status != "running":
        news.append(QueryEvent(query=query, kind="done", key=current.status, at=at))
    QueryEvent.objects.bulk_create(news, ignore_conflicts=True)
    by_target = {item.id: item for item in current.targets}
    events: list[StreamEvent] = []
    for row in query.events.filter(pk__gt=after).order_by("pk"):
        data = _event_data(row, documents, by_target, current)
        if data is not None:
            events.append(StreamEvent(id=row.pk, kind=row.kind, data=data))
    return events


def _event_data(
    event: QueryEvent, documents: Mapping[str, dict[str, Any]], targets: Mapping[str, TargetView], current: QueryView
) -> dict[str, Any] | None:
    if event.kind == "document":
        return documents.get(event.key)
    if event.kind == "withdrawn":
        return {"id": event.key} if event.key not in documents else None
    if event.kind == "target":
        target = targets.get(event.key.rsplit(" ", 1)[0])
        return target_json(target) if target is not None else None
    return {"id": str(current.id), "status": current.status}


def target_json(target: TargetView) -> dict[str, Any]:
    """A target in the form of design.md."""
    document: dict[str, Any] = {
        "id": target.id,
        "name": target.name,
        "kind": target.kind,
        "status": target.status,
        "found": target.found,
        "asked_at": instant(target.asked_at),
        "answered_at": instant(target.answered_at),
        "elapsed_ms": target.elapsed_ms,
    }
    if target.message:
        document["message"] = target.message
    return document


def instant(value: datetime | None) -> str | None:
    """RFC 3339 with Z, milliseconds."""
    if value is None:
        return None
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
