"""Writing to the log: in the transaction of the act, in one statement a table.

No row, no data: a success is written inside the transaction of the act (a write)
or before the first byte leaves (a read). A refusal or a crash is written in a
transaction of its own, after the act rolled back.

Source: spec/consent.md 13, 16; the writing order is that of `docs/explanation/architecture.md`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cache
from types import TracebackType
from typing import Any, Protocol, Self
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from hie.audit import personal
from hie.audit.canonical import plain
from hie.audit.kinds import SHAPES, Action, EventType, Outcome
from hie.database import prepared
from hie.standards.errors import HubError
from hie.standards.facts import BasisItem, Caller
from hie.standards.recordset import recordset

__all__ = [
    "Action",
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
    "staff_look",
    "token_issued",
    "write",
    "write_apart",
]

HUB = "hub"
_ROWS_A_STATEMENT = 1000


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
    """Insert events and their disclosures in the running transaction; their ids, in order.

    One statement a table whatever the count (up to 1,000 rows each), and one more
    for each patient whose key this process has not seen. Must run inside `atomic`
    or stand alone (then it makes its own transaction).
    """
    return _write(list(drafts), connections[using])


def _write(drafts: list[EventDraft], connection: BaseDatabaseWrapper) -> list[UUID]:
    if not drafts:
        return []
    if not connection.in_atomic_block and connection.get_autocommit():
        with (
            transaction.atomic(using=connection.alias)
            if connection is connections[connection.alias]
            else _plain_transaction(connection)
        ):
            return _write_rows(drafts, connection)
    return _write_rows(drafts, connection)


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


def _write_rows(drafts: list[EventDraft], connection: BaseDatabaseWrapper) -> list[UUID]:
    now = datetime.now(UTC)
    keys = personal.keys_for([_text(draft.person_id) or HUB for draft in drafts], connection, now)
    events: list[tuple[Any, ...]] = []
    disclosures: list[tuple[Any, ...]] = []
    ids: list[UUID] = []
    for draft in drafts:
        event_id = uuid.uuid4()
        at = draft.at or now
        events.append(_event_row(event_id, at, draft, keys[_text(draft.person_id) or HUB]))
        said = _Said()
        disclosures.extend(
            _disclosure_row(event_id, at, n, draft, item, said) for n, item in enumerate(draft.disclosures)
        )
        ids.append(event_id)
    with prepared(connection) as cursor:
        _insert(cursor, "audit_event", EVENT_COLUMNS, events)
        _insert(cursor, "audit_disclosure", DISCLOSURE_COLUMNS, disclosures)
    return ids


_TYPES = {
    "id": "uuid", "event_id": "uuid", "person_id": "uuid", "personal_key": "uuid", "at": "timestamptz", "outcome": "smallint",
    "n": "integer", "detail": "jsonb", "denied": "jsonb", "decision": "jsonb", "labels": "jsonb", "basis": "jsonb",
    "obligations": "jsonb", "personal": "bytea",
}  # fmt: skip


_BASIS = tuple(member.name for member in fields(BasisItem))
_FEW = 12  # up to here a list of values is the cheaper form, beyond it one JSON text is (measured)


@cache
def _few(table: str, columns: tuple[str, ...], rows: int) -> str:
    """An INSERT of so many rows; the same text each time, so that it is parsed once."""
    one = "(" + ", ".join(["%s"] * len(columns)) + ")"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([one] * rows)}"  # noqa: S608  constants


@cache
def _many(table: str, columns: tuple[str, ...]) -> str:
    """An INSERT of any number of rows, which travel as one JSON text."""
    types = ", ".join(f"{column} {_TYPES.get(column, 'text')}" for column in columns)
    names = ", ".join(columns)
    return f"INSERT INTO {table} ({names}) SELECT {names} FROM json_to_recordset(%s) AS r({types})"  # noqa: S608  constants


def _insert(cursor: Any, table: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    if 0 < len(rows) <= _FEW:
        flat = [_dumped(value) for row in rows for value in row]
        cursor.execute(_few(table, columns, len(rows)), flat)
        return
    for start in range(0, len(rows), _ROWS_A_STATEMENT):
        part = rows[start : start + _ROWS_A_STATEMENT]
        cursor.execute(_many(table, columns), [recordset(columns, [[_hex(value) for value in row] for row in part])])


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


class Condition(Protocol):
    """What a release rests on."""

    def hold(self) -> None:
        """Keep it as it is until the running transaction ends.

        Raises:
            Outdated: it is no longer what it was.
        """


_current: ContextVar[Recording | None] = ContextVar("recording", default=None)


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
        if self.condition is None:
            written = write(drafts)
        elif connections[DEFAULT_DB_ALIAS].in_atomic_block:
            # No savepoint: whoever opened the transaction ends it when this raises.
            self.condition.hold()
            written = write(drafts)
        else:
            with transaction.atomic():
                self.condition.hold()
                written = write(drafts)
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


def write_apart(drafts: Iterable[EventDraft], *, using: str = DEFAULT_DB_ALIAS) -> list[UUID]:
    """Write in a transaction of its own, so that it stays although the caller's rolls back.

    Outside a transaction this is an ordinary write. Inside one, a second connection
    is opened for it: rare, a few milliseconds. (A test's own enclosing transaction
    does not count.)
    """
    items = list(drafts)
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
