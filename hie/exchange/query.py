"""Cross-organization queries: one question, every community, one honest list (design.md).

Rows are the truth. `ask` writes a `Query` and a `QueryTarget` for each community that may be asked,
with the disclosure of the question, in one transaction; `hie.exchange.loop` carries the questions;
`view` renders what has come in, decided again at that instant for the one who asked.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import orjson
from django.conf import settings
from django.db import IntegrityError, connection, transaction

from consent.labelling import LabelTables
from hie.audit import recorder
from hie.directory import queries as directory
from hie.exchange import access, find, release, remotes
from hie.exchange.access import Shown
from hie.exchange.errors import BadRequest, IdempotencyConflict, NotFound
from hie.exchange.models import Query, QueryEvent, QueryTarget, RemoteDocument
from hie.exchange.waiting import ROOM, WATCH
from hie.standards.demographics import Demographics
from hie.standards.facts import Caller, DocumentFacts, EndpointFacts, Operation, ParticipantFacts
from hie.standards.recordset import recordset
from hie.trust import limits

LIFE = timedelta(hours=24)
"""How long a late answer may still come, and the list be read."""
NEVER = datetime(9999, 12, 31, tzinfo=UTC)
"""The `claimed_until` of a target that will not be asked (again)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryRequest:
    """What `POST /api/queries` asks: whose documents (a person, or one `named` by an identifier), which, where, by when."""

    person_id: UUID | None
    filter: Mapping[str, Any]
    targets: tuple[str, ...] = ()
    deadline_s: float = 10.0
    idempotency_key: str | None = None
    raw: bytes = b""
    named: find.PatientNamed | None = None
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When the question came: its deadline counts from here, also when it waits for its turn."""


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


class NamedDocument(NamedTuple):
    """A document that another community named in an answer, as it is decided and shown."""

    id: UUID
    target: int  # the row of the question to its community
    community_id: str  # the participant that was asked
    community_name: str
    custodian: str
    unique_id: str
    resource: Mapping[str, Any]  # the DocumentReference as answered
    received_at: datetime

    @classmethod
    def of(cls, document: RemoteDocument) -> NamedDocument:
        """From its row, the target read with it."""
        target = document.target
        return cls(
            document.id,
            target.pk,
            target.participant_id,
            target.name,
            document.custodian,
            document.unique_id,
            document.resource,
            document.received_at,
        )


class DocumentRendering(Protocol):
    """How the FHIR face writes a document of this hub, and one of another community."""

    def local(self, row: Any, person_id: str) -> dict[str, Any]:
        """The DocumentReference of a registered entry."""

    def remote(self, document: NamedDocument, person_id: str, *, community: ParticipantFacts | None) -> dict[str, Any]:
        """The DocumentReference of a remote document, its attachment under this hub."""

    def remote_facts(
        self,
        document: NamedDocument,
        person_id: str,
        *,
        community: ParticipantFacts | None,
        tables: LabelTables,
        others: Sequence[NamedDocument] = (),
    ) -> DocumentFacts:
        """What policy needs to know of a remote document, labelled by `tables`; `others` are of the same answer."""

    def remote_shown(self, document: NamedDocument) -> Shown:
        """What the patient's log calls it."""


_RENDERING: list[DocumentRendering] = []


def register_rendering(rendering: DocumentRendering) -> None:
    """The FHIR face hands in how documents are written (called from its `AppConfig.ready()`)."""
    _RENDERING[:] = [rendering]


def rendering() -> DocumentRendering:
    """The registered rendering."""
    return _RENDERING[0]


@dataclass(frozen=True, slots=True)
class RemoteRow:
    """A remote document as the door sees it, with its community and the labelling rules, as they are now.

    `others` of the same answer are there where it says that it was made from another document.

    What is made of it is made once: nothing of that depends on who looks, or when.
    """

    document: NamedDocument
    community: ParticipantFacts | None
    tables: LabelTables
    others: tuple[NamedDocument, ...] = ()
    _made: dict[tuple[str, str], Any] = field(default_factory=dict, compare=False, repr=False)

    def facts(self, person_id: str, identifier_pks: Collection[int] | None = None) -> DocumentFacts:
        """Facts from the answered metadata; the custodian is its organization, or the community."""
        found: DocumentFacts | None = self._made.get(("facts", person_id))
        if found is None:
            found = rendering().remote_facts(
                self.document, person_id, community=self.community, tables=self.tables, others=self.others
            )
            self._made["facts", person_id] = found
        return found

    def rendered(self, person_id: str) -> dict[str, Any]:
        """Its DocumentReference, the attachment under this hub."""
        found: dict[str, Any] | None = self._made.get(("rendered", person_id))
        if found is None:
            found = rendering().remote(self.document, person_id, community=self.community)
            self._made["rendered", person_id] = found
        return found

    def shown(self) -> Shown:
        """What the patient's log calls it."""
        found: Shown | None = self._made.get(("shown", ""))
        if found is None:
            found = self._made["shown", ""] = rendering().remote_shown(self.document)
        return found


def remote_rows(documents: Iterable[NamedDocument]) -> list[RemoteRow]:
    """The rows of remote documents, with one reading of the directory and the labelling rules."""
    named = list(documents)
    participants, tables = directory.participants(), access.label_tables()
    answers = _answers_with({item.target for item in named if item.resource.get("relatesTo")})
    return [
        RemoteRow(
            item,
            participants.get(item.community_id),
            tables,
            answers.get(item.target, ()) if item.resource.get("relatesTo") else (),
        )
        for item in named
    ]


def _answers_with(targets: Collection[int]) -> dict[int, tuple[NamedDocument, ...]]:
    """Every document of these answers, by target; one statement, none when there are none."""
    if not targets:
        return {}
    found: dict[int, list[NamedDocument]] = {}
    rows = RemoteDocument.objects.filter(target__in=targets).select_related("target").order_by("pk")
    for row in rows:
        found.setdefault(row.target_id, []).append(NamedDocument.of(row))
    return {target: tuple(items) for target, items in found.items()}


def local_target_id() -> str:
    """The id of this hub's own registry among the targets: its home community."""
    return str(settings.HOME_COMMUNITY_ID)


def targets_available() -> dict[str, EndpointFacts]:
    """Every community and organization with a repository of its own that can be asked, by target id."""
    found: dict[str, EndpointFacts] = {}
    for kind in sorted(remotes.spoken()):
        for endpoint in directory.endpoints(kind):
            found.setdefault(target_id(endpoint), endpoint)
    found.pop(local_target_id(), None)
    return found


def target_id(endpoint: EndpointFacts) -> str:
    """``urn:oid:<home>`` of a community, ``Organization/<id>`` of an organization's own repository."""
    if endpoint.home_community_id:
        home = endpoint.home_community_id
        return home if home.startswith("urn:oid:") else f"urn:oid:{home}"
    return f"Organization/{endpoint.participant_id}"


@release.point
def ask(request: QueryRequest, *, caller: Caller, nudge: Callable[[UUID], None]) -> Query:
    """Start a query: decide whom the question may reach, disclose it, write the rows.

    The same `idempotency_key` from the same client with the same request gives the same query.

    Raises:
        AccessRefused: the caller may not ask at all (403).
        NotFound: the patient is unknown, or not to be known to the caller: one answer.
        BadRequest: an unknown target, a deadline outside 1 to 60 seconds.
        IdempotencyConflict: the key came before with another request.
    """
    with recorder.recording(
        recorder.EventType.CROSS_QUERY, caller, action="E", query=request.raw.decode("utf-8", "replace")
    ) as event:
        access.gate(caller, Operation.QUERY)
        if not 1 <= request.deadline_s <= 60:
            raise BadRequest("deadline_s is between 1 and 60 seconds", element="deadline_s")
        available = targets_available()
        unknown = [item for item in request.targets if item not in available and item != local_target_id()]
        if unknown:
            raise BadRequest(f"no such target: {unknown[0]}", element="targets")
        digest = hashlib.sha256(request.raw).hexdigest()
        earlier = _earlier(caller, request.idempotency_key, digest)
        if earlier is not None:
            event.commit()
            return earlier
        person_id = request.person_id
        if request.named is not None:
            # An identifier of a record that the asker may not know of names nobody, known otherwise or not.
            reach = find.reached([[request.named]], caller=caller)
            person_id = next((one for one, pks in reach.items() if pks is None), None)
        known = access.demographics(caller, [person_id] if person_id else [])
        if not known:
            # By what may be known, not by what there is: else the limit itself would tell a hidden patient.
            limits.guessing(caller, "patient")
            raise NotFound("the patient is not known here")
        (person,) = known.values()
        chosen = {key: value for key, value in available.items() if not request.targets or key in request.targets}
        ask_local = not request.targets or local_target_id() in request.targets
        recipients = sorted({item.participant_id for item in chosen.values()})
        answers = access.questions(caller, person.subject, recipients)
        told = access.told(caller, person.subject, answers)
        try:
            with transaction.atomic():
                query = _create(request, caller, person.person_id, digest, told)
                asked = _create_targets(query, answers, chosen, local=ask_local)
                event.note(correlation=str(query.id))
                _record_question(event, caller, person.subject, asked)
                event.commit()
                transaction.on_commit(lambda: nudge(query.id))
        except IntegrityError:
            raced = _earlier(caller, request.idempotency_key, digest)
            if raced is None:
                raise
            return raced
    return query


def _record_question(
    event: recorder.Recording,
    caller: Caller,
    about: access.Subject,
    asked: Sequence[tuple[access.Verdict[access.DemographicsRow], str]],
) -> None:
    """One event for the question, with a disclosure of the demographics to each community it goes to."""
    if not asked:
        event.about(about.person_id)
        return
    drafts: list[recorder.DisclosureDraft] = []
    for verdict, recipient in asked:
        drafts += access.disclosures(
            verdict,
            what="query",
            shown=lambda row: Shown(document_id=f"Patient/{about.person_id}", type_display="question"),
            recipient=recipient,
        )
    access.record(
        event,
        caller,
        about,
        asked[0][0],
        what="query",
        shown=lambda row: Shown(document_id=f"Patient/{about.person_id}"),
        operation=Operation.NOTIFY,
    )
    event.about(about.person_id, disclosures=tuple(drafts))


def _earlier(caller: Caller, key: str | None, digest: str) -> Query | None:
    if not key:
        return None
    earlier = Query.objects.filter(client_id=caller.client_id, idempotency_key=key).first()
    if earlier is not None and earlier.request_digest != digest:
        raise IdempotencyConflict(element="Idempotency-Key")
    return earlier


def _create(request: QueryRequest, caller: Caller, person_id: UUID, digest: str, told: dict[str, Any] | None) -> Query:
    created = request.received_at
    return Query.objects.create(
        participant_id=caller.participant_id,
        client_id=caller.client_id,
        user_id=caller.user_id,
        caller=orjson.loads(orjson.dumps(asdict(caller), default=sorted)),
        person_id=person_id,
        purpose=caller.purpose or "",
        filter=dict(request.filter),
        created_at=created,
        deadline_at=created + timedelta(seconds=request.deadline_s),
        expires_at=created + LIFE,
        idempotency_key=request.idempotency_key or None,
        request_digest=digest,
        told=told,
    )


def _create_targets(
    query: Query,
    answers: Mapping[str, tuple[access.Verdict[access.DemographicsRow], Demographics | None]],
    chosen: Mapping[str, EndpointFacts],
    *,
    local: bool,
) -> list[tuple[access.Verdict[access.DemographicsRow], str]]:
    """Write the targets; those that consent keeps from being asked read ``nothing`` at an ordinary time."""
    rows: list[tuple[Any, ...]] = []
    disclosed = []
    at = query.created_at
    if local:
        rows.append((local_target_id(), "hub", settings.HUB_NAME, "local", "", "answered", False, at))
    usual = _usual_times() if any(demographics is None for _, demographics in answers.values()) else []
    for key, endpoint in chosen.items():
        verdict, demographics = answers[endpoint.participant_id]
        withheld = demographics is None
        kind = "community" if endpoint.home_community_id else "organization"
        answered_at = at + _ordinary_time(usual) if withheld else None
        rows.append(
            (
                key,
                endpoint.participant_id,
                endpoint.participant_name,
                kind,
                endpoint.url,
                "pending",
                withheld,
                answered_at,
            )
        )
        if not withheld:
            disclosed.append((verdict, endpoint.participant_id))
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(_NEW_TARGETS, {"query": query.pk, "at": at, "targets": recordset(_NEW_TARGET, rows)})
    return disclosed


# One statement: the ORM's bulk_create takes a tenth of a millisecond a row.
_NEW_TARGETS = """
INSERT INTO exchange_querytarget
    (query_id, asked_at, target_id, participant_id, name, kind, endpoint_url, status, withheld, answered_at,
     message, cause, attempts, claimed_until)
SELECT %(query)s, %(at)s, t.*, '', '', 0, %(at)s FROM json_to_recordset(%(targets)s) AS t(
    target_id text, participant_id text, name text, kind text, endpoint_url text, status text, withheld boolean,
    answered_at timestamptz)
"""
_NEW_TARGET = ("target_id", "participant_id", "name", "kind", "endpoint_url", "status", "withheld", "answered_at")


def _usual_times() -> list[timedelta]:
    """How long communities that found nothing took lately."""
    recent = QueryTarget.objects.filter(
        status=QueryTarget.Status.NOTHING, withheld=False, answered_at__isnull=False, asked_at__isnull=False
    ).order_by("-pk")
    pairs = list(recent.values_list("asked_at", "answered_at")[:50])
    return [answered - asked for asked, answered in pairs if asked is not None and answered is not None]


def _ordinary_time(usual: Sequence[timedelta]) -> timedelta:
    """The time a community that was not asked seems to take: drawn from the recent real ones."""
    if usual:
        return min(timedelta(seconds=1), max(timedelta(milliseconds=20), random.choice(usual)))  # noqa: S311 - no secret
    return timedelta(milliseconds=random.randint(60, 240))  # noqa: S311 - no secret


def caller_of(query: Query) -> Caller:
    """Who asked, as proven then."""
    values = dict(query.caller)
    values["scopes"] = frozenset(values.get("scopes", ()))
    values["care_teams"] = tuple(values.get("care_teams", ()))
    return Caller(**values)


def owned(query_id: UUID, caller: Caller) -> Query:
    """The caller's own query.

    Raises:
        NotFound: another's, or unknown: one answer.
    """
    query = Query.objects.filter(id=query_id, client_id=caller.client_id, user_id=caller.user_id).first()
    if query is None:
        raise NotFound("no such query")
    return query


def cancel(query_id: UUID, *, caller: Caller) -> None:
    """Stop asking; answers that still come are dropped."""
    with transaction.atomic():
        query = owned(query_id, caller)
        running = Query.objects.filter(pk=query.pk, status=Query.Status.RUNNING)
        if running.update(status=Query.Status.CANCELLED, completed_at=datetime.now(UTC)):
            _ask_no_more(query)


def _ask_no_more(query: Query) -> None:
    """Take what is still open of an ended query out of what the loops look through; its statuses stay."""
    still_open = (QueryTarget.Status.PENDING, QueryTarget.Status.LATE, QueryTarget.Status.DOWN)
    query.targets.filter(status__in=still_open).update(claimed_until=NEVER)


def settle(query: Query, *, at: datetime) -> Query:
    """Bring the rows up to the clock: pending past the deadline is late; all final is complete; a day is the end.

    Every reader does this, so a list is honest at its deadline even when no worker is alive.
    """
    if query.status in (Query.Status.CANCELLED, Query.Status.EXPIRED):
        return query
    if at >= query.expires_at:
        with transaction.atomic():
            Query.objects.filter(pk=query.pk).exclude(status=Query.Status.CANCELLED).update(status=Query.Status.EXPIRED)
            _ask_no_more(query)
        query.status = Query.Status.EXPIRED
        return query
    if query.status != Query.Status.RUNNING:
        return query
    with transaction.atomic(), connection.cursor() as cursor:
        # Lock in one order, here and where answers are stored: the query, then its targets.
        cursor.execute("SELECT status, completed_at FROM exchange_query WHERE id = %s FOR UPDATE", [query.pk])
        found = cursor.fetchone()
        if found is not None and found[0] == Query.Status.RUNNING:
            cursor.execute(_CLOCK, {"query": query.pk, "at": at, "overdue": at >= query.deadline_at})
            found = complete([query.pk], at=at).get(query.pk, found)
    if found is not None:
        query.status, query.completed_at = found
    return query


# Targets whose time has come: withheld ones seem to answer, others are late at the deadline.
_CLOCK = """
UPDATE exchange_querytarget
SET status = CASE WHEN withheld THEN 'nothing' ELSE 'late' END,
    message = CASE WHEN withheld THEN message ELSE 'No answer by the deadline.' END
WHERE query_id = %(query)s AND status = 'pending'
  AND CASE WHEN withheld THEN answered_at <= %(at)s ELSE %(overdue)s END
"""
_COMPLETE = """
UPDATE exchange_query q SET status = 'complete', completed_at = LEAST(%s, q.deadline_at)
WHERE q.id = ANY(%s) AND q.status = 'running'
  AND NOT EXISTS (SELECT 1 FROM exchange_querytarget t WHERE t.query_id = q.id AND t.status = 'pending')
RETURNING q.id, q.status, q.completed_at
"""


def complete(query_ids: Sequence[UUID], *, at: datetime) -> dict[UUID, tuple[str, datetime]]:
    """Mark those of these running queries complete in which nothing is pending any more, with when; one statement."""
    with connection.cursor() as cursor:
        cursor.execute(_COMPLETE, [at, list(query_ids)])
        return {query_id: (status, completed_at) for query_id, status, completed_at in cursor.fetchall()}


def is_finished(query_id: UUID) -> bool:
    """Whether nothing more is awaited; settles the rows first."""
    query = Query.objects.get(pk=query_id)
    return bool(settle(query, at=datetime.now(UTC)).status != Query.Status.RUNNING)


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
    verdict = find.as_asked(caller, subject, verdict, find.asked_of(query.filter))
    shown = verdict.rows()
    found: dict[int, int] = {}
    for row in shown:
        found[owner[id(row)]] = found.get(owner[id(row)], 0) + 1
    own = [row for row in shown if not isinstance(row, RemoteRow)]
    told = dict(zip(map(id, own), find.telling_what_is_seen(caller, subject, own), strict=True))
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


def remote_document(document_id: UUID) -> RemoteDocument | None:
    """A remote document some query brought in and that has not expired."""
    return (
        RemoteDocument.objects.filter(id=document_id, target__query__expires_at__gt=datetime.now(UTC))
        .exclude(target__query__status=Query.Status.CANCELLED)
        .select_related("target__query")
        .first()
    )


def expire(*, at: datetime) -> Iterator[UUID]:
    """Mark queries past their day as expired, and yield their ids. Run by beat."""
    for query in Query.objects.filter(expires_at__lte=at).exclude(status=Query.Status.EXPIRED).iterator():
        settle(query, at=at)
        yield query.id
