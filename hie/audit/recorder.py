"""Writing to the log: in the transaction of the act, in one statement.

No row, no data: a success is written inside the transaction of the act (a write)
or before the first byte leaves (a read). A refusal or a crash is written in a
transaction of its own, after the act rolled back.

Source: spec/consent.md 13, 16; the writing order is that of `docs/explanation/architecture.md`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cache
from types import TracebackType
from typing import Any, Protocol, Self
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, IntegrityError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from hie.audit import personal
from hie.audit.canonical import plain
from hie.audit.kinds import SHAPES, Action, EventType, Outcome
from hie.database import prepared
from hie.standards.errors import HubError
from hie.standards.facts import BasisItem, Caller
from hie.standards.recordset import recordset
from hie.standards.values import quick

__all__ = [
    "Action",
    "Ask",
    "Condition",
    "DisclosureDraft",
    "EventDraft",
    "EventType",
    "Outcome",
    "Outdated",
    "Recording",
    "current",
    "failed_login",
    "recording",
    "rehearsing",
    "staff_look",
    "token_issued",
    "watching",
    "write",
    "write_apart",
]

HUB = "hub"
_ROWS_A_STATEMENT = 1000


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosureDraft:
    """One document (or demographics, or a question) that leaves; `what`: metadata, bytes, demographics, query.

    `title` and `type_display` are stored encrypted; the rest is clear and searchable.
    `basis` holds `BasisItem` values or their dictionaries; `recipient` is the
    participant it goes to where that is not the caller.
    """

    document_id: str
    unique_id: str = ""
    custodian: str = ""
    title: str = ""
    type_display: str = ""
    what: str = "metadata"
    labels: Iterable[str] = ()
    confidentiality: str | None = None
    rule: str = ""
    reason: str = ""
    basis: Iterable[Any] = ()
    obligations: Iterable[str] = ()
    recipient: str | None = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class EventDraft:
    """What will be one row of the log.

    `query` is the raw request (text or bytes, stored encrypted); `personal` further
    words to be encrypted, such as ``{"text": …}`` of an emergency; `denied` pairs of
    (document id, rule); `decision` the decision record; `correlation` ties the events
    of one question to many communities together; `root_organization` is the topmost
    ancestor of the caller's organization (his organization when absent). `at` None: now.
    """

    kind: EventType
    caller: Caller | None
    action: str | Action | None = None
    outcome: int | Outcome = Outcome.SUCCESS
    person_id: str | UUID | None = None
    patient_identifier: str | None = None
    query: str | bytes | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    personal: Mapping[str, Any] = field(default_factory=dict)
    rule: str = ""
    reason: str = ""
    decision: Mapping[str, Any] = field(default_factory=dict)
    denied: Iterable[Any] = ()
    disclosures: Sequence[DisclosureDraft] = ()
    correlation: str = ""
    root_organization: str = ""
    at: datetime | None = None


EVENT_COLUMNS = (
    "id", "at", "kind", "action", "outcome", "participant", "organization", "root_organization", "organization_name",
    "organization_oid", "client", "user_ref", "role", "purpose", "on_behalf_of", "intermediary", "relationship",
    "person_id", "patient_identifier", "rule", "reason", "request_id", "correlation", "token_id", "network_address",
    "face", "detail", "denied", "decision", "personal_key", "personal",
)  # fmt: skip
DISCLOSURE_COLUMNS = (
    "id", "event_id", "at", "n", "person_id", "document_id", "unique_id", "custodian", "what", "labels",
    "confidentiality", "rule", "reason", "basis", "obligations", "recipient",
)  # fmt: skip


def write(drafts: Iterable[EventDraft], *, using: str = DEFAULT_DB_ALIAS) -> list[UUID]:
    """Insert events and their disclosures in the running transaction, or in one of its own; their ids, in order.

    One statement whatever the count (up to 1,000 rows a table), one more for the patients whose keys this process has
    not seen, and within a transaction one where keys are made.
    """
    return _write(list(drafts), connections[using])


def _write(drafts: list[EventDraft], connection: BaseDatabaseWrapper) -> list[UUID]:
    if not drafts:
        return []
    if _in_transaction(connection):
        rows = _Rows(drafts, connection)
        rows.insert()
        return rows.ids
    return _alone(drafts, connection, lambda rows: rows.insert())


def _released(drafts: list[EventDraft], condition: Condition) -> list[UUID]:
    """Write while the condition holds: by the one statement that asks for it, where the rows are not too many."""
    connection = connections[DEFAULT_DB_ALIAS]
    if _in_transaction(connection):
        # No savepoint: whoever opened the transaction ends it when this raises.
        condition.hold()
        return _write(drafts, connection)
    return _alone(drafts, connection, lambda rows: condition.hold(rows.insert))


def _in_transaction(connection: BaseDatabaseWrapper) -> bool:
    return connection.in_atomic_block or not connection.get_autocommit()


def _alone(drafts: list[EventDraft], connection: BaseDatabaseWrapper, insert: Callable[[_Rows], object]) -> list[UUID]:
    """Write in a transaction of its own: that of the one statement, where one is enough."""
    rows = _Rows(drafts, connection, alone=True)
    if len(rows.parts) == 1:
        try:
            insert(rows)
        except IntegrityError:
            # Somebody else has just made a key of one of the same patients: in a transaction theirs is waited for.
            if not rows.new_keys:
                raise
        else:
            personal.remember({key.subject: key.key for key in rows.new_keys}, connection)
            return rows.ids
    with (
        transaction.atomic(using=connection.alias)
        if connection is connections[connection.alias]
        else _plain_transaction(connection)
    ):
        rows = _Rows(drafts, connection)
        insert(rows)
    return rows.ids


@contextmanager
def _plain_transaction(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """A transaction on a connection that Django's `atomic` does not know by its alias."""
    connection.set_autocommit(False)
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    else:
        connection.commit()
    finally:
        connection.set_autocommit(True)


class _Rows:
    """The rows of some drafts, ready to be inserted; `parts` of at most 1,000 of events and of disclosures each.

    `alone`: in a transaction of their own, so that keys which are still to be made can come with them.
    """

    def __init__(self, drafts: list[EventDraft], connection: BaseDatabaseWrapper, *, alone: bool = False) -> None:
        now = datetime.now(UTC)
        subjects = [_text(draft.person_id) or HUB for draft in drafts]
        self.connection = connection
        self.ids: list[UUID] = []
        self.new_keys: list[personal.NewKey] = []
        if alone:
            keys, self.new_keys = personal.keys_or_new(subjects, connection, now)
        else:
            keys = personal.keys_for(subjects, connection, now)
        events: list[tuple[Any, ...]] = []
        disclosures: list[tuple[Any, ...]] = []
        for draft, subject in zip(drafts, subjects, strict=True):
            event_id = uuid.uuid4()
            at = draft.at or now
            events.append(_event_row(event_id, at, draft, keys[subject]))
            said = _Said()
            disclosures.extend(
                _disclosure_row(event_id, at, n, draft, item, said) for n, item in enumerate(draft.disclosures)
            )
            self.ids.append(event_id)
        self.parts = [
            (events[start : start + _ROWS_A_STATEMENT], disclosures[start : start + _ROWS_A_STATEMENT])
            for start in range(0, max(len(events), len(disclosures)), _ROWS_A_STATEMENT)
        ]

    def insert(self, condition: str = "", values: Callable[[], Sequence[Any]] = tuple) -> bool:
        """Insert them, under an SQL condition only where that holds: whether it did. One statement for each part.

        Of several parts only the first is conditional: the caller's transaction ends where it did not hold.
        """
        new_keys = [key.row for key in self.new_keys]
        with prepared(self.connection) as cursor:
            for part in self.parts:
                if not _insert(cursor, (new_keys, *part), condition, values):
                    return False
                new_keys, condition, values = [], "", tuple
        if (watched := _watched.get()) is not None:
            watched.extend(self.ids)
        return True


_TYPES = {
    "id": "uuid", "event_id": "uuid", "person_id": "uuid", "personal_key": "uuid", "at": "timestamptz", "outcome": "smallint",
    "n": "integer", "detail": "jsonb", "denied": "jsonb", "decision": "jsonb", "labels": "jsonb", "basis": "jsonb",
    "obligations": "jsonb", "personal": "bytea", "wrapped": "bytea", "created_at": "timestamptz",
}  # fmt: skip


_BASIS = tuple(member.name for member in fields(BasisItem))
_MANY = -1
# Rows of _TABLES that travel as a list of values, beyond which they are one JSON text. Each number of rows is a statement
# of its own to be kept ready, so only the usual ones have one.
_FEW = (1, 1, 4)


_TABLES = (
    ("audit_key", personal.KEY_COLUMNS),
    ("audit_event", EVENT_COLUMNS),
    ("audit_disclosure", DISCLOSURE_COLUMNS),
)


def _insert(
    cursor: Any, tables: Sequence[list[tuple[Any, ...]]], condition: str, values: Callable[[], Sequence[Any]]
) -> bool:
    """Insert the rows of each table (as `_TABLES`) if the condition holds, and whether it does; one statement."""
    sizes = tuple(len(rows) if len(rows) <= few else _MANY for rows, few in zip(tables, _FEW, strict=True))
    parameters: list[Any] = []
    for (_, columns), rows, size in zip(_TABLES, tables, sizes, strict=True):
        if size == _MANY:
            parameters.append(recordset(columns, [[_hex(value) for value in row] for row in rows]))
        else:
            parameters += [_dumped(value) for row in rows for value in row]
    cursor.execute(_statement(condition, sizes), [*values(), *parameters])
    return bool(cursor.fetchone()[0])


@cache
def _statement(condition: str, sizes: tuple[int, ...]) -> str:
    """An INSERT of so many rows into each table; the same text each time, so that it is parsed once.

    The condition is worked out before any row is: what it locks is locked until the statement's transaction ends.
    """
    steps = [f"held AS MATERIALIZED (SELECT {condition} AS as_then)"] if condition else []
    where = " CROSS JOIN held WHERE held.as_then" if condition else ""
    for (table, columns), rows in zip(_TABLES, sizes, strict=True):
        if rows:
            names = _names(columns)
            steps.append(
                f"{table} AS (INSERT INTO {table} ({names}) SELECT {names} FROM {_source(columns, rows)}{where})"  # noqa: S608  constants
            )
    return f"WITH {', '.join(steps)} SELECT {'as_then FROM held' if condition else 'true'}"  # noqa: S608  constants


def _names(columns: tuple[str, ...]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _source(columns: tuple[str, ...], rows: int) -> str:
    """So many rows of these columns: a list of values, or any number that travel as one JSON text."""
    if rows == _MANY:
        types = ", ".join(f'"{column}" {_TYPES.get(column, "text")}' for column in columns)
        return f"json_to_recordset(%s) AS r({types})"
    one = "(" + ", ".join(f"%s::{_TYPES.get(column, 'text')}" for column in columns) + ")"
    return f"(VALUES {', '.join([one] * rows)}) AS r({_names(columns)})"


def _dumped(value: Any) -> Any:
    return _json(value) if isinstance(value, list | dict) else value


def _hex(value: Any) -> Any:
    """A `bytea` as PostgreSQL reads it from text."""
    return f"\\x{value.hex()}" if isinstance(value, bytes) else value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _event_row(event_id: UUID, at: datetime, draft: EventDraft, key: personal.PatientKey) -> tuple[Any, ...]:
    caller = draft.caller or _NOBODY
    organization = caller.organization_id or caller.participant_id
    words = _words(draft, caller)
    return (
        event_id, at, str(draft.kind), str(draft.action or SHAPES[draft.kind].action), int(draft.outcome),
        _cut(caller.participant_id, 128), _cut(organization, 128), _cut(_root(draft) or organization, 128),
        _cut(caller.organization_name, 255), _cut(caller.organization_oid, 128), _cut(caller.client_id, 255),
        _cut(caller.user_id, 255), _cut(caller.role, 64), _cut(caller.purpose, 64), _cut(caller.on_behalf_of, 255),
        _cut(caller.intermediary_id, 128), _cut(caller.relationship, 64), _person(draft.person_id),
        _cut(draft.patient_identifier, 512), _cut(draft.rule, 16), _cut(draft.reason, 128), _cut(caller.request_id, 255),
        _cut(draft.correlation, 255), _cut(caller.token_id, 255), _cut(caller.network_address, 64), _cut(caller.face, 32),
        plain(draft.detail), plain([_denied(item) for item in draft.denied]),
        plain({"decision_id": str(event_id), **draft.decision} if draft.decision else {}),
        key.id if words else None, key.seal(words, bound_to=event_id.bytes) if words else None,
    )  # fmt: skip


def _root(draft: EventDraft) -> str:
    """The caller's topmost organization: as given, else as the decision record says it."""
    request = draft.decision.get("request")
    return draft.root_organization or str((request.get("root_org") if isinstance(request, Mapping) else "") or "")


def _words(draft: EventDraft, caller: Caller) -> dict[str, Any]:
    words: dict[str, Any] = {}
    if caller.user_name:
        words["user_name"] = caller.user_name
    if draft.query is not None:
        words["query"] = draft.query.decode("utf-8", "replace") if isinstance(draft.query, bytes) else draft.query
    for name, value in draft.personal.items():
        words[str(name)] = value
    if any(item.title or item.type_display for item in draft.disclosures):
        words["documents"] = [[item.title, item.type_display] for item in draft.disclosures]
    return words


class _Said:
    """The columns that many disclosures of one event share, written once: labels, basis, obligations."""

    def __init__(self) -> None:
        self._written: dict[Any, tuple[Any, Any, Any]] = {}

    def of(self, item: DisclosureDraft) -> tuple[Any, Any, Any]:
        key = (tuple(item.labels), tuple(item.basis), tuple(item.obligations))
        try:
            found = self._written.get(key)
        except TypeError:  # a basis given as a dictionary has no hash
            return self._write(item)
        if found is None:
            found = self._written[key] = self._write(item)
        return found

    def _write(self, item: DisclosureDraft) -> tuple[Any, Any, Any]:
        return (
            plain(sorted(item.labels)),
            plain([_basis(basis) for basis in item.basis]),
            plain(sorted(item.obligations)),
        )


def _disclosure_row(
    event_id: UUID, at: datetime, n: int, draft: EventDraft, item: DisclosureDraft, said: _Said
) -> tuple[Any, ...]:
    labels, basis, obligations = said.of(item)
    return (
        uuid.uuid4(), event_id, at, n, _person(draft.person_id), _cut(item.document_id, 255), _cut(item.unique_id, 255),
        _cut(item.custodian, 128), _cut(item.what, 16), labels,
        _cut(item.confidentiality, 8), _cut(item.rule, 16), _cut(item.reason, 128), basis, obligations,
        _cut(item.recipient, 128),
    )  # fmt: skip


def _basis(item: Any) -> Any:
    """A `BasisItem` or its dictionary, without empty members."""
    values = dict(item) if isinstance(item, Mapping) else {name: getattr(item, name) for name in _BASIS}
    return {name: value for name, value in values.items() if value not in ("", None)}


def _denied(item: Any) -> list[str]:
    document, rule = item
    return [str(document), str(rule)]


def _cut(value: object, length: int) -> str:
    """Text that fits its column: an over-long identifier must not cost the event."""
    if type(value) is str and len(value) <= length and value.isascii() and "\x00" not in value:
        return value
    return plain("" if value is None else str(value))[:length]  # type: ignore[no-any-return]  # plain of text is text


def _person(value: str | UUID | None) -> UUID | None:
    if value is None or isinstance(value, UUID):
        return value
    return UUID(value)


def _text(value: str | UUID | None) -> str:
    return str(_person(value)) if value is not None else ""


_NOBODY = Caller(participant_id="", organization_id="", client_id="", user_id="", face="")


class Outdated(Exception):
    """What an answer rests on has changed since it was decided: nothing was written, nothing may leave.

    `refusals`: what is to be written where the answer is not prepared again.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.refusals: list[EventDraft] = []


Ask = Callable[[str, Callable[[], Sequence[Any]]], bool]
"""Asks the database whether an SQL condition with these values holds, and does what is to be done if so.

The values are asked for when all else is ready to be sent: one may be how much time is left.
"""


class Condition(Protocol):
    """What a release rests on."""

    def hold(self, ask: Ask | None = None) -> None:
        """Keep it as it is until the running transaction ends; `ask` carries the question to the database.

        Raises:
            Outdated: it is no longer what it was.
        """


_current: ContextVar[Recording | None] = ContextVar("recording", default=None)
_watched: ContextVar[list[UUID] | None] = ContextVar("watched", default=None)


@contextmanager
def watching() -> Iterator[list[UUID]]:
    """The ids of the events that are written meanwhile, as they are: for whoever records what nobody else did."""
    written: list[UUID] = []
    token = _watched.set(written)
    try:
        yield written
    finally:
        _watched.reset(token)


def current() -> Recording | None:
    """The innermost recording we are in."""
    return _current.get()


class Recording:
    """What one use case will have to say; see `recording`.

    `condition`, where one is set, is held in the transaction of each `commit`, before anything is written.
    """

    condition: Condition | None = None

    def __init__(
        self, kind: EventType, caller: Caller | None, *, action: str | Action | None, query: str | bytes | None
    ) -> None:
        self._base = EventDraft(kind=kind, caller=caller, action=action, query=query)
        self._drafts: dict[str, EventDraft] = {}
        self._written = False
        self._outer: Token[Recording | None] | None = None
        self.event_ids: list[UUID] = []
        self.persons: list[str] = []
        """The patients whose events are written."""

    @property
    def caller(self) -> Caller | None:
        """Whose act it is."""
        return self._base.caller

    def about(self, person_id: str | UUID | None, **values: Any) -> Self:
        """Add or update the draft of one patient (None: the event about nobody); fields as in `EventDraft`."""
        key = _text(person_id)
        self._drafts[key] = replace(self._drafts.get(key, self._base), person_id=person_id, **values)
        return self

    def note(self, **values: Any) -> Self:
        """Set fields of every draft, those to come as well: ``correlation``, ``detail``, ``kind`` …"""
        self._base = replace(self._base, **values)
        self._drafts = {key: replace(draft, **values) for key, draft in self._drafts.items()}
        return self

    def commit(self) -> list[UUID]:
        """Write what is collected, in the running transaction. A second call writes only what came since.

        Raises:
            Outdated: the condition holds no more; nothing was written.
        """
        drafts = list(self._drafts.values())
        if not drafts and not self._written:
            drafts = [self._base]
        written = write(drafts) if self.condition is None else _released(drafts, self.condition)
        self.event_ids += written
        self.persons += [key for key in self._drafts if key]
        self._drafts.clear()
        self._written = True
        return written

    def dismiss(self) -> None:
        """Leave no event unless it ends in a refusal: nothing was shown that had not been."""
        self._drafts.clear()
        self._written = True

    def __enter__(self) -> Self:
        self._outer = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._end(error)
        finally:
            if self._outer is not None:
                _current.reset(self._outer)

    def _end(self, error: BaseException | None) -> None:
        if error is None:
            if not self._written or self._drafts:
                self.commit()
            return
        outcome = _outcome_of(error)
        drafts = list(self._drafts.values()) or [self._base]
        refusals = [_refusal(draft, error, outcome) for draft in drafts]
        if isinstance(error, Outdated):
            error.refusals += refusals
        else:
            write_apart(refusals)


def recording(
    kind: EventType, caller: Caller | None, *, action: str | Action | None = None, query: str | bytes | None = None
) -> Recording:
    """A context that makes sure a use case leaves its trace, whatever happens.

    `.about(person_id, **draft_fields)` collects; `.commit()` writes inside the running
    transaction; leaving without it writes then. Leaving with an exception writes a
    refusal (outcome 4 for a `HubError` or a 4xx of Django or DRF, else 8) for each patient
    collected and not yet written, or one about nobody, in a transaction of its own,
    and the exception goes on. `action` None: the usual one of `kind`.
    """
    return Recording(kind, caller, action=action, query=query)


def _outcome_of(error: BaseException) -> Outcome:
    from django.core.exceptions import PermissionDenied, SuspiciousOperation
    from django.http import Http404

    status = getattr(error, "status_code", 500)
    if isinstance(error, HubError | PermissionDenied | SuspiciousOperation | Http404):
        return Outcome.REFUSED
    return Outcome.REFUSED if isinstance(status, int) and 400 <= status < 500 else Outcome.FAILED


def _refusal(draft: EventDraft, error: BaseException, outcome: Outcome) -> EventDraft:
    """The draft as a refusal: nothing left, so no disclosures; the error by its name, and its sentence if it is ours."""
    detail = dict(draft.detail) | {"error": type(error).__name__}
    if isinstance(error, HubError):
        detail["message"] = str(error)[:500]
        if error.element:
            detail["element"] = error.element
    # What a refusal says of itself (AccessRefused: the engine's rule) outranks what was collected before it.
    rule = str(getattr(error, "rule", "") or draft.rule)
    reason = str(getattr(error, "reason", "") or draft.reason or _kebab(type(error).__name__))
    return replace(draft, outcome=outcome, disclosures=(), detail=detail, rule=rule, reason=reason)


def _kebab(name: str) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


_rehearsing: ContextVar[bool] = ContextVar("rehearsing", default=False)


@contextmanager
def rehearsing() -> Iterator[None]:
    """While something is only tried, in a transaction that will be rolled back: nothing is written apart from it.

    What was refused did not happen either. Whoever tries it records that it was tried.
    """
    token = _rehearsing.set(True)
    try:
        yield
    finally:
        _rehearsing.reset(token)


def write_apart(drafts: Iterable[EventDraft], *, using: str = DEFAULT_DB_ALIAS) -> list[UUID]:
    """Write in a transaction of its own, so that it stays although the caller's rolls back.

    Outside a transaction this is an ordinary write. Inside one, a second connection
    is opened for it: rare, a few milliseconds. (A test's own enclosing transaction
    does not count.) While `rehearsing`, nothing is written; the ids are of no event.
    """
    items = list(drafts)
    if _rehearsing.get():
        return [uuid.uuid4() for _ in items]
    connection = connections[using]
    if not any(not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
        return _write(items, connection)
    apart = connection.copy()
    try:
        return _write(items, apart)
    finally:
        apart.close()


def failed_login(
    *, client_id: str, participant_id: str | None, reason: str, network_address: str, request_id: str, face: str
) -> UUID:
    """Record a log-in, token request or authentication that failed; kept although the caller's work rolls back."""
    caller = Caller(
        participant_id=participant_id or "",
        organization_id=participant_id or "",
        client_id=client_id,
        user_id="",
        network_address=network_address,
        request_id=request_id,
        face=face,
    )
    kind = EventType.TOKEN_REFUSED if face in {"oauth", "token"} else EventType.LOGIN_FAILED
    return write_apart([EventDraft(kind=kind, caller=caller, outcome=Outcome.REFUSED, reason=reason)])[0]


def token_issued(caller: Caller) -> UUID:
    """Record that an access token was given out, in the running transaction."""
    detail = {"scopes": sorted(caller.scopes)}
    return write([EventDraft(kind=EventType.TOKEN_ISSUED, caller=caller, detail=detail)])[0]


def staff_look(
    *,
    staff_user: str,
    role: str,
    person_id: str | UUID | None,
    what: str,
    reason: str,
    staff_name: str = "",
    network_address: str = "",
    request_id: str = "",
    act: bool = False,
    detail: Mapping[str, Any] | None = None,
) -> UUID:
    """Record that the exchange's own staff looked at (`act`: changed) something of a person.

    `what` is a word for the kind of thing, such as ``identity``, ``documents``, ``consents``,
    ``access-log``; `reason` the task or reason given, kept encrypted. Shown to the patient.
    """
    caller = Caller(
        participant_id=HUB,
        organization_id=HUB,
        client_id="backoffice",
        user_id=staff_user if "/" in staff_user else f"Staff/{staff_user}",
        user_name=staff_name,
        role=role,
        network_address=network_address,
        request_id=request_id,
        face="backoffice",
    )
    draft = EventDraft(
        kind=EventType.STAFF_ACT if act else EventType.STAFF_LOOK,
        caller=caller,
        person_id=person_id,
        detail={"what": what} | dict(detail or {}),
        personal={"text": reason} if reason else {},
    )
    return write([draft])[0]
