"""Cross-organization queries: one question, every community, one honest list (design.md).

Rows are the truth. `ask` writes a `Query` and a `QueryTarget` for each community that may be asked,
with the disclosure of the question, in one transaction; `hie.exchange.loop` carries the questions;
what has come in is read in `hie.exchange.query_answers`.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.db import IntegrityError, connection, transaction

from hie.audit import recorder
from hie.directory import queries as directory
from hie.exchange import access, named_patients, release, remotes
from hie.exchange.access import Shown
from hie.exchange.errors import BadRequest, IdempotencyConflict, NotFound
from hie.exchange.models import Query, QueryTarget
from hie.standards.demographics import Demographics
from hie.standards.facts import Caller, EndpointFacts, Operation
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
    named: named_patients.PatientNamed | None = None
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When the question came: its deadline counts from here, also when it waits for its turn."""


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
            reach = named_patients.reached([[request.named]], caller=caller)
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


def expire(*, at: datetime) -> Iterator[UUID]:
    """Mark queries past their day as expired, and yield their ids. Run by beat."""
    for query in Query.objects.filter(expires_at__lte=at).exclude(status=Query.Status.EXPIRED).iterator():
        settle(query, at=at)
        yield query.id
