"""One event loop per worker carries every question to every community.

The loop takes open targets from the rows under a short lease, asks them all at once, and writes
answers in batches. It looks by itself every `POLL_S`, so a dead broker only costs that long; a killed
worker's leases run out after `LEASE_S` and another loop (or the same one, started again) takes the
rows. An answer is written once: under the row's lock, and only while the row is still open.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import resource
import sys
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import structlog
import uvloop
from django.db import DataError, close_old_connections, connection, transaction

from hie.audit.recorder import Outdated
from hie.directory import queries as directory
from hie.exchange import access, query, remotes
from hie.exchange.errors import AccessRefused
from hie.exchange.models import Query, QueryTarget
from hie.exchange.release import Basis, first_of
from hie.exchange.remotes import Answer, Outcome, Question, RemoteEntry
from hie.standards.demographics import Demographics
from hie.standards.facts import Caller, EndpointFacts, Operation
from hie.standards.recordset import recordset
from hie.trust.peer_session import PeerSession, PeerUnreachable

log = structlog.get_logger(__name__)

POLL_S = 0.5
LEASE_S = 4.0
RENEW_S = 1.5
FLOCK_S = 0.01
LATE_S = 120.0
"""How long past the deadline an answer is still waited for on the open connection."""
MAX_ATTEMPTS = 5
AGAIN_S = 3.0
"""A community that is down reads so, and is asked again after this long, then twice, three times as long: it may be back."""
CLAIM = 400
UNDER_WAY = 200
"""Questions a loop has on the wire at once, those not counted that have been waited for longer than `USUAL_S`."""
USUAL_S = 0.25
STANDS_S = 0.1
"""How long what was decided when a question was claimed stands without another look: it may wait for its turn, or for
the answer to its first part."""
MAX_FILES = 65_536
UNREADABLE = "The community's answer could not be read."


# The targets first, by the index of what is open: planned from the queries' side, a claim reads that index once a query.
_CLAIM = """
WITH due AS MATERIALIZED (
    SELECT id, query_id FROM exchange_querytarget
    WHERE status IN ('pending', 'late', 'down') AND NOT withheld AND claimed_until <= %(at)s
    ORDER BY claimed_until LIMIT %(most)s FOR UPDATE SKIP LOCKED
)
UPDATE exchange_querytarget t
SET attempts = t.attempts + 1,
    claimed_until = CASE WHEN q.status IN ('running', 'complete') AND q.expires_at > %(at)s AND t.attempts < %(attempts)s
        THEN %(until)s ELSE %(never)s END
FROM due JOIN exchange_query q ON q.id = due.query_id
WHERE t.id = due.id
RETURNING t.id, t.query_id, t.target_id, t.participant_id, t.attempts, t.claimed_until < %(never)s
"""
_LOCK_QUERIES = """
SELECT id FROM exchange_query
WHERE id IN (SELECT query_id FROM exchange_querytarget WHERE id = ANY(%s)) AND status NOT IN ('cancelled', 'expired')
ORDER BY id FOR UPDATE
"""
_LOCK_TARGETS = """
SELECT id, participant_id, attempts FROM exchange_querytarget
WHERE id = ANY(%s) AND query_id = ANY(%s) AND status IN ('pending', 'late', 'down')
ORDER BY id FOR UPDATE
"""
# One statement however many answers: the ORM's bulk_update takes milliseconds a row.
_STORE = """
UPDATE exchange_querytarget t
SET status = a.status, message = a.message, cause = a.cause, answered_at = a.answered_at, claimed_until = a.again_at
FROM json_to_recordset(%s)
    AS a(id bigint, status text, message text, cause text, answered_at timestamptz, again_at timestamptz)
WHERE t.id = a.id
"""

_STORED = ("id", "status", "message", "cause", "answered_at", "again_at")

_STORE_DOCUMENTS = """
INSERT INTO exchange_remotedocument
    (id, target_id, remote_id, unique_id, custodian, resource, source_url, content_type, sha1, size, received_at)
SELECT * FROM json_to_recordset(%s) AS d(
    id uuid, target_id bigint, remote_id text, unique_id text, custodian text, resource jsonb, source_url text,
    content_type text, sha1 text, size bigint, received_at timestamptz)
ON CONFLICT DO NOTHING
"""
_STORED_DOCUMENT = (
    "id", "target_id", "remote_id", "unique_id", "custodian", "resource", "source_url", "content_type", "sha1", "size",
    "received_at",
)  # fmt: skip


class Standing:
    """What the jobs of one question rest on: looked at again when it is needed, once every `STANDS_S` for all of them."""

    def __init__(self, basis: Basis, decided_at: float) -> None:
        self.basis = basis
        self._at = decided_at
        self._looking: asyncio.Task[bool] | None = None

    async def hold(self, off_loop: Callable[[Callable[[], Any]], Awaitable[Any]]) -> None:
        """Go on only while it stands; `off_loop` runs work of the database.

        Raises:
            Outdated: something has changed since the question was decided, or the database cannot say.
        """
        if self.basis.has_ended():
            raise Outdated("came to its end since the question was decided")
        if time.monotonic() - self._at <= STANDS_S:
            return
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(off_loop))
        if not await asyncio.shield(self._looking):
            raise Outdated("changed since the question was decided")

    async def _look(self, off_loop: Callable[[Callable[[], Any]], Awaitable[Any]]) -> bool:
        began = time.monotonic()
        try:
            stands = bool(await off_loop(self.basis.stands))
        finally:
            self._looking = None
        if stands:
            self._at = began
        return stands


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One target to ask now."""

    target: int
    query: uuid.UUID
    endpoint: EndpointFacts
    question: Question
    time_limit_s: float
    standing: Standing


class FanOut:
    """The loop, in a thread of its own, for the life of the worker process."""

    def __init__(self) -> None:
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._turns = asyncio.Semaphore(UNDER_WAY)
        self._stopping = False
        self._active: dict[int, asyncio.Task[None]] = {}
        self._writing: asyncio.Task[None] | None = None
        self._database = ThreadPoolExecutor(max_workers=2, thread_name_prefix="fanout-db")
        self._answers: queue.SimpleQueue[tuple[int, Answer, datetime]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._main, name="fanout", daemon=True)

    def start(self) -> None:
        """Start the thread and wait until it listens."""
        _allow_many_connections()
        self._thread.start()
        self._started.wait()

    def nudge(self) -> None:
        """Look at the rows now."""
        if self._loop is not None and self._wake is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    def stop(self) -> None:
        """Give up all leases at once and end; what was open is taken up by the next loop."""
        self._stopping = True
        self.nudge()
        self._thread.join(timeout=10)
        self._database.shutdown(wait=False)

    def _main(self) -> None:
        # Thousands of small exchanges at once are this loop's whole work; uvloop halves what each costs.
        # The loop must not wait the usual 5 ms for its turn each time the database thread computes.
        sys.setswitchinterval(0.001)
        uvloop.run(self._run())

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._started.set()
        async with PeerSession() as session:
            renewing = asyncio.create_task(self._renew())
            while not self._stopping:
                self._wake.clear()
                jobs = await self._off_loop(claim)
                for n, job in enumerate(jobs or ()):
                    if job.target not in self._active:
                        # Those begun get on first: they answer sooner, and leave their connections to the next.
                        await self._turns.acquire()
                        try:
                            await job.standing.hold(self._off_loop)
                        except Outdated:
                            self._turns.release()
                            await self._off_loop(partial(give_back, [late.target for late in jobs[n:]]))
                            break
                        self._active[job.target] = asyncio.create_task(self._ask(job, session))
                if not jobs:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), POLL_S)
            renewing.cancel()
            open_targets = list(self._active)
            for task in self._active.values():
                task.cancel()
            await self._off_loop(lambda: release(open_targets))

    async def _off_loop(self, work: Callable[[], Any]) -> Any:
        """Run database work beside the loop; a database that is away is tried again at the next turn."""

        def guarded() -> Any:
            close_old_connections()
            try:
                return work()
            except Exception:
                log.exception("fanout.database")
                connection.close()
                return None

        return await asyncio.get_running_loop().run_in_executor(self._database, guarded)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            targets = list(self._active)
            if targets:
                await self._off_loop(partial(renew, targets))

    async def _ask(self, job: Job, session: PeerSession) -> None:
        turn = _Turn(self._turns)
        try:
            answer = await asyncio.wait_for(self._answer(job, session), job.time_limit_s)
        except TimeoutError:
            answer = Answer(outcome=Outcome.LATE, message="No answer by the deadline.", cause="timeout")
        except Outdated:
            await self._off_loop(partial(give_back, [job.target]))
            self._active.pop(job.target, None)
            self.nudge()
            return
        except asyncio.CancelledError:
            self._active.pop(job.target, None)
            raise
        finally:
            turn.end()
        self._answers.put((job.target, answer, datetime.now(UTC)))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_soon())
        await self._writing
        self._active.pop(job.target, None)

    async def _write_soon(self) -> None:
        """Write what comes in within a moment together, until nothing is left: answers come in flocks."""
        while not self._answers.empty():
            # The more are being asked, the larger the flock: each write costs the same few statements.
            await asyncio.sleep(FLOCK_S * min(10.0, 1 + len(self._active) / 200))
            if await self._off_loop(self._write) is None:
                # The database is away; the answers are still in the queue.
                await asyncio.sleep(POLL_S)

    async def _answer(self, job: Job, session: PeerSession) -> Answer:
        client = remotes.client_for(job.endpoint.kind)

        question = replace(job.question, still=partial(job.standing.hold, self._off_loop))
        try:
            return await client.ask(job.endpoint, question, session=session)
        except PeerUnreachable:
            return Answer(outcome=Outcome.DOWN, message="The community cannot be reached.", cause="unreachable")
        except ConnectionError:
            return Answer(outcome=Outcome.DOWN, message="The community broke off.", cause="broken-off")
        except (asyncio.CancelledError, TimeoutError, Outdated):
            raise
        except Exception:
            # The outer edge of the fan-out: one peer's nonsense costs its own answer only.
            incident = uuid.uuid4().hex[:12]
            log.exception("fanout.peer", target=job.target, incident=incident)
            return Answer(outcome=Outcome.ERROR, message=f"The answer could not be read ({incident}).", cause="garbage")

    def _write(self) -> int:
        """Write every answer that has come in by now, in one transaction; how many there were."""
        batch: list[tuple[int, Answer, datetime]] = []
        while True:
            try:
                batch.append(self._answers.get_nowait())
            except queue.Empty:
                break
        if batch:
            try:
                store_readable(batch)
            except Exception:
                for item in batch:
                    self._answers.put(item)
                raise
        return len(batch)


class _Turn:
    """A place among the questions under way, given up with the answer or after `USUAL_S`: who is slow keeps nobody waiting."""

    def __init__(self, turns: asyncio.Semaphore) -> None:
        self._turns = turns
        self._timer = asyncio.get_running_loop().call_later(USUAL_S, self._give_up)
        self._held = True

    def end(self) -> None:
        """Give it up, if it is still held."""
        self._timer.cancel()
        self._give_up()

    def _give_up(self) -> None:
        if self._held:
            self._held = False
            self._turns.release()


def _allow_many_connections() -> None:
    """Use as many open files as the system allows: a question to a hundred communities holds a hundred connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A target taken under a lease."""

    pk: int
    query_id: uuid.UUID
    target_id: str
    participant_id: str
    attempts: int


def claim() -> list[Job]:
    """Take open targets under a lease and decide, now, what may be asked of each.

    Consent, agreement and suspension are read at this instant, before the question leaves: a target that may
    no longer be asked is withheld. Where none of them has moved since the question was decided and recorded, a few
    seconds ago at most, that decision stands (`access.told_again`).
    """
    at = datetime.now(UTC)
    with connection.cursor() as cursor:
        cursor.execute(
            _CLAIM,
            {
                "at": at,
                "until": at + timedelta(seconds=LEASE_S),
                "never": query.NEVER,
                "attempts": MAX_ATTEMPTS,
                "most": CLAIM,
            },
        )
        claimed = sorted((_Claimed(*row) for *row, taken in cursor.fetchall() if taken), key=lambda target: target.pk)
    if not claimed:
        return []
    by_query: dict[uuid.UUID, list[_Claimed]] = {}
    for target in claimed:
        by_query.setdefault(target.query_id, []).append(target)
    queries = Query.objects.in_bulk(list(by_query))
    jobs: list[Job] = []
    with directory.one_reading() as reading:
        decided_at = time.monotonic()
        about = access.subjects({asked.person_id for asked in queries.values()})
        available = query.targets_available()
        for query_id, targets in by_query.items():
            asked = queries[query_id]
            person = about.get(asked.person_id)
            basis = Basis(reading, person.identifier_pks if person is not None else ())
            jobs += _jobs(asked, person, targets, available, at, Standing(basis, decided_at))
    return jobs


def _jobs(
    asked: Query,
    about: access.Subject | None,
    targets: list[_Claimed],
    available: Mapping[str, EndpointFacts],
    at: datetime,
    standing: Standing,
) -> list[Job]:
    caller = query.caller_of(asked)
    said: dict[str, Demographics | None] = {}
    try:
        access.gate(caller, Operation.QUERY)
        if about is not None:
            said, ends_s = _said(asked, about, caller, targets, at)
            standing.basis.ends_no_later(ends_s)
    except AccessRefused:
        said = {}
    jobs: list[Job] = []
    withheld: list[int] = []
    # One question for all that may hear the same of the patient: a client encodes it once.
    questions: dict[int, Question] = {}
    remaining = (asked.deadline_at - at).total_seconds()
    for target in targets:
        demographics = said.get(target.participant_id)
        endpoint = available.get(target.target_id)
        if demographics is None or endpoint is None:
            withheld.append(target.pk)
            continue
        jobs.append(
            Job(
                target=target.pk,
                query=asked.id,
                endpoint=endpoint,
                question=questions.setdefault(
                    id(demographics), Question(demographics=demographics, filter=asked.filter, caller=caller)
                ),
                time_limit_s=max(remaining, 0.0) + LATE_S,
                standing=standing,
            )
        )
    if withheld:
        QueryTarget.objects.filter(pk__in=withheld).update(withheld=True, answered_at=at, claimed_until=query.NEVER)
    return jobs


def _said(
    asked: Query, about: access.Subject, caller: Caller, targets: list[_Claimed], at: datetime
) -> tuple[dict[str, Demographics | None], float | None]:
    """What each participant may be told of the patient now, None: nothing; and when that ends (`release.ends_in`)."""
    recipients = sorted({target.participant_id for target in targets})
    if all(target.attempts == 1 for target in targets):
        since_s = (at - asked.created_at).total_seconds()
        again = access.told_again(about, asked.told, since_s=since_s)
        if again is not None:
            demographics, ends_s = again
            return dict.fromkeys(recipients, demographics), ends_s
    answers = access.questions(caller, about, recipients)
    ends = [verdict.ends_s for verdict, demographics in answers.values() if demographics is not None]
    return {key: demographics for key, (_, demographics) in answers.items()}, first_of(*ends)


def renew(targets: Iterable[int]) -> None:
    """Keep the leases of targets still being asked."""
    with connection.cursor() as cursor:
        cursor.execute(
            # Never sooner than it says already: the answer may just have been stored.
            "UPDATE exchange_querytarget SET claimed_until = GREATEST(claimed_until, %s) WHERE id = ANY(%s)",
            [datetime.now(UTC) + timedelta(seconds=LEASE_S), list(targets)],
        )


def release(targets: Iterable[int]) -> None:
    """Give leases back, so that another loop asks at once."""
    QueryTarget.objects.filter(pk__in=list(targets), claimed_until__lt=query.NEVER).update(
        claimed_until=datetime.now(UTC)
    )


def give_back(targets: Iterable[int]) -> None:
    """Give back leases of questions that were not sent, to be decided again; it counts as no attempt."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE exchange_querytarget SET claimed_until = %s, attempts = greatest(attempts - 1, 0)"
            " WHERE id = ANY(%s) AND claimed_until < %s",
            [datetime.now(UTC), list(targets), query.NEVER],
        )


def store_readable(batch: list[tuple[int, Answer, datetime]]) -> None:
    """As `store`; an answer that the database cannot hold costs its own community only, and reads ``error``."""
    try:
        store(batch)
    except (DataError, TypeError):
        for target, answer, at in batch:
            try:
                store([(target, answer, at)])
            except (DataError, TypeError):
                log.exception("fanout.unstorable", target=target)
                store([(target, Answer(outcome=Outcome.ERROR, message=UNREADABLE, cause="garbage"), at)])


def store(batch: list[tuple[int, Answer, datetime]]) -> None:
    """Write answers once each; what was answered, cancelled or expired meanwhile is left as it is."""
    answers = {target: (answer, at) for target, answer, at in batch}
    with transaction.atomic(), connection.cursor() as cursor:
        # Lock in one order, here and in `query.settle`: the query, then its targets.
        cursor.execute(_LOCK_QUERIES, [list(answers)])
        queries = [row[0] for row in cursor.fetchall()]
        cursor.execute(_LOCK_TARGETS, [list(answers), queries])
        documents: list[tuple[Any, ...]] = []
        rows: list[tuple[int, str, str, str, datetime | None, datetime]] = []
        with directory.one_reading():
            for pk, participant_id, attempts in cursor.fetchall():
                answer, at = answers[pk]
                answered_at = None if answer.outcome is Outcome.LATE else at
                # What will not be asked again leaves the range that each claim reads.
                again_at = query.NEVER
                if answer.outcome is Outcome.DOWN and attempts < MAX_ATTEMPTS:
                    # A peer killed in the middle of its answer, or starting just now, still gives it.
                    again_at = at + timedelta(seconds=AGAIN_S * attempts)
                rows.append((pk, answer.outcome.value, answer.message, answer.cause, answered_at, again_at))
                documents += [_document_row(pk, participant_id, entry, at) for entry in answer.documents]
        if rows:
            cursor.execute(_STORE, [recordset(_STORED, rows)])
        if documents:
            cursor.execute(_STORE_DOCUMENTS, [recordset(_STORED_DOCUMENT, documents)])
        query.complete(queries, at=datetime.now(UTC))


def _document_row(target: int, participant_id: str, entry: RemoteEntry, at: datetime) -> tuple[Any, ...]:
    return (
        uuid.uuid4(),
        target,
        entry.remote_id,
        entry.unique_id,
        _custodian(participant_id, entry.custodian_oid),
        entry.resource,
        entry.source_url,
        entry.content_type,
        entry.sha1,
        entry.size,
        at,
    )


def _custodian(participant_id: str, custodian_oid: str) -> str:
    """A remote document's custodian: its organization where the directory knows it below that community."""
    if custodian_oid:
        known = directory.participant_by_oid(custodian_oid)
        if known is not None and directory.within(known.id, participant_id):
            return known.id
    return participant_id


_RUNNING: list[FanOut] = []
_LOCK = threading.Lock()


def running() -> FanOut:
    """This process's loop, started at first need (and by the worker when it is ready)."""
    with _LOCK:
        if not _RUNNING:
            loop = FanOut()
            loop.start()
            _RUNNING.append(loop)
        return _RUNNING[0]


def stop() -> None:
    """Stop this process's loop, if it runs."""
    with _LOCK:
        while _RUNNING:
            _RUNNING.pop().stop()
