"""Raw inbound messages: kept before they are understood, answered once, replayable.

A face registers one handler for its protocol in `AppConfig.ready()` and hands every message it
receives to `receive`. The bytes are stored, encrypted, before the handler sees them; what became of
them is written beside. The same message sent again (same sender, control id and bytes) gets the reply
it got when it was accepted, and is tried anew when it was refused or failed. `replay` runs a kept
message through today's handler. Errors are grouped by code and element, so that one wrong mapping
shows as one line with a count.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID, uuid4

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Count, Max, Min

from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.exchange.errors import BadRequest, NotFound, UnreadableMessage
from hie.exchange.feed import Fed
from hie.exchange.models import InboundMessage
from hie.exchange.self_test import Check
from hie.standards.facts import Caller

log = logging.getLogger("hie.inbox")


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What a face knows of a message from its outside: never its content.

    `caller` is who sent it, where the connection proved more than the participant; it is not kept, and a message that is
    tried again has none.
    """

    protocol: str
    sender: str = ""
    participant_id: str = ""
    control_id: str = ""
    kind: str = ""
    network_address: str = ""
    caller: Caller | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """What a handler did with a message: the reply's bytes and, for a refusal, the first error.

    `keep_reply` False: the reply holds what was let out then, and a repeat must be decided anew: it is not stored.
    `fed` is what became of each record that it spoke of; `entered_at` when its sender says that was entered.
    """

    accepted: bool
    reply: bytes
    keep_reply: bool = True
    error_code: str = ""
    error_element: str = ""
    error_text: str = ""
    caller: Caller | None = None
    fed: tuple[Fed, ...] = ()
    entered_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """The reply to send, the row's id, and whether the reply is an earlier one given again."""

    message_id: UUID
    status: str
    reply: bytes
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorGroup:
    """Kept messages that were refused or failed for one cause."""

    protocol: str
    error_code: str
    error_element: str
    error_text: str
    kind: str
    count: int
    first_at: datetime
    last_at: datetime


class Handler(Protocol):
    """How a face takes part: it understands bytes of its protocol and answers them."""

    def handle(self, raw: bytes, *, envelope: Envelope, message_id: UUID) -> Handled:
        """Do what the message asks, and say what to answer. Refusals are answered, not raised."""

    def asks(self, kind: str) -> bool:
        """Whether messages of this kind only ask: to replay one would answer nobody."""

    def failed(self, raw: bytes, *, incident: str) -> bytes:
        """The reply when `handle` crashed; `incident` is what the log has."""

    def subjects(self, raw: bytes, *, envelope: Envelope) -> tuple[tuple[str, str], ...]:
        """The records that a message speaks of, as (authority, value); none where it cannot be told. Changes nothing."""

    def checks(self, raw: bytes, *, envelope: Envelope) -> Iterable[Check]:
        """What a message needs, step by step, as far as it can be read; nothing in it is of a patient."""


_handlers: dict[str, Handler] = {}


def register(protocol: str, handler: Handler) -> None:
    """Announce a face's handler; called from `AppConfig.ready()`."""
    _handlers[protocol] = handler


def receive(raw: bytes, envelope: Envelope) -> Received:
    """Keep a message, have it handled, keep the reply.

    Calls for the same message wait for one another, so a repeat that overtakes the first answer does
    no work twice. Must be called outside a transaction: the raw bytes are committed first.
    """
    row, identity = _row(raw, envelope)
    # Held before the row can be seen: a repeat that finds it would else be the first to handle it, and then the first too.
    with alone(row.pk):
        if _keep(row):
            return _run(row, raw, envelope)
    row = InboundMessage.objects.get(**identity)
    with alone(row.pk):
        row.refresh_from_db()
        if row.status == InboundMessage.Status.ACCEPTED and row.reply is not None:
            return Received(message_id=row.pk, status=row.status, reply=bytes(row.reply), repeated=True)
        return _run(row, raw, envelope)


def replay(message_id: UUID, actor: Caller, reason: str, *, run: str = "") -> Received:
    """Run a kept message again through the handler of its protocol; recorded with who asked and why.

    `run` ties the messages together that were tried at once.

    Raises:
        NotFound: no such message. UnreadableMessage: its bytes cannot be decrypted any more.
        BadRequest: no reason, or the message only asked: there is nobody left to answer.
    """
    if not reason.strip():
        raise BadRequest("a reason is needed", element="reason")
    row = InboundMessage.objects.filter(pk=message_id).first()
    if row is None:
        raise NotFound("no such message")
    if _handlers[row.protocol].asks(row.kind):
        raise BadRequest("a question is not tried again: nobody waits for its answer", element="message")
    detail = {"message": str(message_id), "reason": reason}
    with recorder.recording(EventType.MESSAGE_REPLAYED, actor, action="E", query=None) as event, alone(row.pk):
        event.note(correlation=run, detail=detail)
        row.refresh_from_db()
        result = _run(row, _decrypt(row), envelope_of(row))
        event.about(None, detail={**detail, "status": result.status})
        event.commit()
    return result


def raw(message_id: UUID) -> bytes:
    """The bytes of a kept message, for the handler's own tools; not for showing to people.

    Raises:
        NotFound: no such message. UnreadableMessage: its bytes cannot be decrypted any more.
    """
    row = InboundMessage.objects.filter(pk=message_id).first()
    if row is None:
        raise NotFound("no such message")
    return _decrypt(row)


def handler_of(row: InboundMessage) -> Handler:
    """Who understands a kept message.

    Raises:
        UnreadableMessage: nobody does any more: its face is not installed here.
    """
    if row.protocol not in _handlers:
        raise UnreadableMessage(f"nobody here understands {row.protocol}")
    return _handlers[row.protocol]


def opened(row: InboundMessage) -> bytes:
    """As `raw`, of a row that is at hand."""
    return _decrypt(row)


def error_groups(protocol: str | None = None, *, put_aside: bool = False) -> list[ErrorGroup]:
    """Refused and failed messages by cause, most frequent first; one query. `put_aside`: those that wait for nobody too."""
    rows = InboundMessage.objects.filter(status__in=[InboundMessage.Status.REFUSED, InboundMessage.Status.FAILED])
    if not put_aside:
        rows = rows.filter(aside__isnull=True)
    if protocol is not None:
        rows = rows.filter(protocol=protocol)
    grouped = (
        rows.values("protocol", "error_code", "error_element", "kind")
        .annotate(count=Count("pk"), text=Max("error_text"), first=Min("received_at"), last=Max("received_at"))
        .order_by("-count", "protocol", "error_code", "error_element", "kind")
    )
    return [
        ErrorGroup(
            protocol=g["protocol"],
            error_code=g["error_code"],
            error_element=g["error_element"],
            error_text=g["text"],
            kind=g["kind"],
            count=g["count"],
            first_at=g["first"],
            last_at=g["last"],
        )
        for g in grouped
    ]


def rewrap(*, limit: int = 1000) -> int:
    """Put messages kept under an older document key under the current one; how many were. Repeat until 0.

    A key may be dropped from the configuration only when no message is left under it.
    """
    key_id, key = _current_key()
    done = 0
    for pk in InboundMessage.objects.exclude(key_id=key_id).order_by("pk").values_list("pk", flat=True)[:limit]:
        with transaction.atomic():
            row = InboundMessage.objects.select_for_update().get(pk=pk)
            row.raw, row.key_id = _encrypt(_decrypt(row), key, row.pk), key_id
            row.save(update_fields=["raw", "key_id"])
        done += 1
    return done


def _run(row: InboundMessage, raw: bytes, envelope: Envelope) -> Received:
    handler = _handlers[row.protocol]
    try:
        handled = handler.handle(raw, envelope=envelope, message_id=row.pk)
    except Exception:  # the outer edge of every message: an incident number, never content
        incident = uuid4().hex[:12]
        log.exception("incident %s: %s message %s failed", incident, row.protocol, row.pk)
        handled = Handled(
            accepted=False,
            reply=handler.failed(raw, incident=incident),
            error_code="207",
            error_text=f"internal error, incident {incident}",
        )
        status = InboundMessage.Status.FAILED
    else:
        status = InboundMessage.Status.ACCEPTED if handled.accepted else InboundMessage.Status.REFUSED
    row.status = status
    row.reply = handled.reply if handled.keep_reply else None
    row.error_code = handled.error_code
    row.error_element = handled.error_element
    row.error_text = handled.error_text
    if handled.caller is not None:
        row.participant_id = handled.caller.participant_id
    row.entered_at = handled.entered_at
    row.attempts += 1
    row.settled_at = datetime.now(UTC)
    row.aside = None  # what was decided was about the attempt before
    row.save()
    return Received(message_id=row.pk, status=status.value, reply=handled.reply)


def _row(raw: bytes, envelope: Envelope) -> tuple[InboundMessage, dict[str, Any]]:
    """The unsaved row of a message, and what it is the same message by."""
    key_id, key = _current_key()
    digest = _digest(raw)
    identity = {
        "protocol": envelope.protocol,
        "sender": envelope.sender,
        "control_id": envelope.control_id,
        "digest": digest,
    }
    row = InboundMessage(
        **identity,
        participant_id=envelope.participant_id,
        kind=envelope.kind,
        size=len(raw),
        key_id=key_id,
        network_address=envelope.network_address,
        received_at=datetime.now(UTC),
    )
    row.raw = _encrypt(raw, key, row.pk)
    return row, identity


def _keep(row: InboundMessage) -> bool:
    """Save a message; False when it is there already."""
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        return False
    return True


@contextmanager
def alone(message_id: UUID) -> Iterator[None]:
    """One handling of a message (or of a run of them) at a time, across processes: a session lock, so no transaction stays open."""
    number = int.from_bytes(message_id.bytes[:8], "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [number])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [number])


def envelope_of(row: InboundMessage) -> Envelope:
    """What was known of a kept message from its outside."""
    return Envelope(
        protocol=row.protocol,
        sender=row.sender,
        participant_id=row.participant_id,
        control_id=row.control_id,
        kind=row.kind,
        network_address=row.network_address,
    )


def _keys() -> Mapping[str, Any]:
    keys: Mapping[str, Any] = settings.DOCUMENT_KEYS
    return keys


def _current_key() -> tuple[str, bytes]:
    key_id = next(iter(_keys()))
    return key_id, _derived(key_id, b"hie inbound messages v1")


def _derived(key_id: str, purpose: bytes) -> bytes:
    material = _keys().get(key_id)
    if material is None:
        raise UnreadableMessage(f"document key {key_id} is not configured")
    secret = material if isinstance(material, bytes) else str(material).encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret)


def _digest(raw: bytes) -> bytes:
    # Keyed with the oldest key, which stays configured while rows under it exist, so that a rotation
    # does not make a repeat look new.
    oldest = list(_keys())[-1]
    return hmac.new(_derived(oldest, b"hie inbound digest v1"), raw, hashlib.sha256).digest()


def _encrypt(raw: bytes, key: bytes, message_id: UUID) -> bytes:
    nonce = os.urandom(12)
    return nonce + AESGCM(key).encrypt(nonce, raw, message_id.bytes)


def _decrypt(row: InboundMessage) -> bytes:
    sealed = bytes(row.raw)
    key = _derived(row.key_id, b"hie inbound messages v1")
    try:
        return AESGCM(key).decrypt(sealed[:12], sealed[12:], row.pk.bytes)
    except InvalidTag as problem:
        raise UnreadableMessage(f"message {row.pk} cannot be decrypted") from problem
