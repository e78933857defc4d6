"""Telling others of changes of identities, PIX Update Notification [ITI-10] and the patient identity feed [ITI-93], and of
consents that ended (`hie.exchange.copies`).

Each identity event leaves one outbox row a receiver, written by the database in the transaction of the event
(migration ``0002_identity_notices``), so no writer can forget it: whatever changes identities, a feed, a steward, an
import or the nightly search. A receiver is a subscription, or an ``mllp`` endpoint of the directory.

What is told is the person as the receiver may see it at that moment, decided by the door at each attempt; a change that
only concerns records it may not see is not told at all. The look is recorded before the first byte leaves, and what was
decided a second ago or longer is sent only while nothing that it rests on has changed. A receiver
that does not answer is tried again, later each time; after a day the notice is given up and waits for an operator.

Source: IHE ITI TF-2 3.10; IHE PMIR 1.5.1, 2:3.93, 2:3.94; spec/mpi.md 3, 4; spec/consent.md 3 (notify).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, overload
from urllib.parse import parse_qsl
from uuid import UUID

from django.db import DatabaseError, connection, transaction

from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.directory import queries as directory
from hie.exchange import access, copies, identity, release, subscriptions
from hie.exchange.copies import ConsentEnded
from hie.exchange.devices import device
from hie.exchange.errors import AccessRefused, BadRequest
from hie.exchange.identity import KnownPatient
from hie.exchange.models import Subscription
from hie.outbox import outbox
from hie.outbox.models import OutboxMessage
from hie.outbox.outbox import Notice
from hie.standards.demographics import authority_of
from hie.standards.errors import HubError
from hie.standards.facts import Caller, Operation
from hie.trust import scopes
from patients import identifiers
from patients.models import IdentityEvent

log = logging.getLogger("hie.notices")

GIVE_UP_AFTER = timedelta(hours=24)
AT_ONCE = 50
LEASE_S = 120
BUDGET_S = 40.0
"""How long a channel goes on with one receiver in one round."""
WAIT_S = 60.0
_THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedPerson:
    """One person after a change, as the receiver may see it.

    `patient` None: none of its records is current any more. `replaced_by`: it was merged into that person.
    """

    person_id: UUID
    patient: KnownPatient | None
    new: bool = False
    replaced_by: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityChange:
    """What one receiver is told of one event. `id` stays the same over all attempts."""

    id: str
    kind: str
    at: datetime
    persons: tuple[ChangedPerson, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What came of one attempt; `final` False is worth another."""

    arrived: bool
    error: str = ""
    final: bool = False


class Channel(Protocol):
    """How a face tells a receiver. Both are called outside transactions; `send` in a thread without a database."""

    def encode(self, change: IdentityChange | ConsentEnded, *, endpoint: str) -> list[bytes]:
        """The messages that tell it; none when this channel has nothing to say of it."""

    def send(self, endpoint: str, batch: Sequence[tuple[str, list[bytes]]]) -> list[Sent]:
        """Send each notice's messages in order; one result a notice. Never raises for what the receiver does.

        Stops after `BUDGET_S`, or where `batch` ends before its length: what may no longer be told as it was prepared.
        What has no result then is told in a later round.
        """


_channels: dict[str, Channel] = {}


def register_channel(kind: str, channel: Channel) -> None:
    """Announce how receivers of a kind (``subscription``, ``mllp``) are told; called from `AppConfig.ready()`."""
    _channels[kind] = channel


@dataclass(frozen=True, slots=True, kw_only=True)
class _Receiver:
    name: str
    kind: str
    endpoint: str
    caller: Caller
    criteria: str = "Patient"
    subscription: Subscription | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """A notice as it may be told: its messages, and what that was decided from, when."""

    notice: Notice
    messages: list[bytes]
    basis: release.Basis


def _stands(basis: release.Basis) -> bool:
    """Whether what was decided may still be told; where the database cannot say, it is held back."""
    try:
        return basis.stands()
    except DatabaseError:
        log.exception("whether notices may still be told could not be looked up")
        return False


class _Batch(Sequence[tuple[str, list[bytes]]]):
    """What a channel sends; it ends before the first notice that may no longer be told as it was prepared."""

    def __init__(self, prepared: Sequence[_Prepared]) -> None:
        self._prepared = prepared
        self.outdated: list[int] = []
        """The notices that were held back, and those behind them."""

    def __len__(self) -> int:
        return len(self._prepared)

    @overload
    def __getitem__(self, index: int) -> tuple[str, list[bytes]]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[str, list[bytes]]]: ...
    def __getitem__(self, index: int | slice) -> tuple[str, list[bytes]] | Sequence[tuple[str, list[bytes]]]:
        raise TypeError("to be iterated: each is looked at before it is sent")

    def __iter__(self) -> Iterator[tuple[str, list[bytes]]]:
        for n, one in enumerate(self._prepared):
            if not _stands(one.basis):
                self.outdated += [late.notice.id for late in self._prepared[n:]]
                return
            yield str(one.notice.id), one.messages


def deliver(*, limit: int = AT_ONCE, now: datetime | None = None) -> int:
    """One round: claim what is due, decide, record, send; gives how many notices were claimed. Safe to run twice."""
    claimed = [
        notice
        for topic in (outbox.Topic.CONSENT, outbox.Topic.IDENTITIES)
        for notice in outbox.claim(topic, limit=limit, lease_s=LEASE_S, now=now)
    ]
    receivers = _receivers(claimed)
    batches: dict[str, list[_Prepared]] = {}
    for notice in claimed:
        receiver = receivers.get(notice.receiver)
        if receiver is None:
            outbox.delivered([notice.id])
            OutboxMessage.objects.filter(pk=notice.id).update(last_error="nobody to tell any more")
            continue
        try:
            prepared = _ended(notice, receiver) if notice.topic == outbox.Topic.CONSENT else _prepare(notice, receiver)
        except Exception:  # one notice must not keep the others
            log.exception("notice %s could not be prepared", notice.id)
            _again(notice, receiver, "internal error", now=now)
            continue
        if prepared is not None:
            batches.setdefault(notice.receiver, []).append(prepared)
        else:
            outbox.delivered([notice.id])
    _send_all(batches, receivers, now=now)
    return len(claimed)


def deliver_all(*, rounds: int = 20) -> int:
    """Rounds until nothing is due, at most `rounds`; gives how many notices were claimed."""
    total = 0
    for _ in range(rounds):
        done = deliver()
        total += done
        if done == 0:
            break
    return total


def try_again(notice_ids: Iterable[int], actor: Caller, reason: str) -> int:
    """Put notices that were given up back among those to be told; recorded with who asked and why. Gives how many were.

    Raises:
        BadRequest: no reason.
    """
    if not reason.strip():
        raise BadRequest("a reason is needed", element="reason")
    ids = sorted(notice_ids)
    with recorder.recording(EventType.MESSAGE_REPLAYED, actor, action="E") as event, transaction.atomic():
        done = outbox.try_again(ids)
        event.about(None, detail={"notices": ids, "reason": reason.strip(), "count": done})
        event.commit()
    return done


def _send_all(
    batches: Mapping[str, list[_Prepared]], receivers: Mapping[str, _Receiver], *, now: datetime | None
) -> None:
    if not batches:
        return

    sending = {name: _Batch(prepared) for name, prepared in batches.items()}

    def send(name: str) -> list[Sent]:
        receiver = receivers[name]
        try:
            return _channels[receiver.kind].send(receiver.endpoint, sending[name])
        finally:
            connection.close()

    # A receiver that hangs costs its own notices the wait, not those of the others: they are settled as they end.
    pool = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="notices")
    running = {pool.submit(_caught(send), name): name for name in batches}
    hung = set(batches)
    try:
        for future in as_completed(running, timeout=WAIT_S):
            name = running[future]
            hung.discard(name)
            _settle(batches[name], future.result(), receivers[name], now=now)
            outbox.give_back(sending[name].outdated, now=now)
    except TimeoutError:
        log.warning("%d receivers did not answer in time", len(hung))
    pool.shutdown(wait=False, cancel_futures=True)
    for name in sorted(hung):
        late = Sent(arrived=False, error="no answer in time")
        _settle(batches[name], [late] * len(batches[name]), receivers[name], now=now)


def _settle(batch: Sequence[_Prepared], results: Sequence[Sent], receiver: _Receiver, *, now: datetime | None) -> None:
    """What came of each; those without a result come back when their lease ends."""
    for notice, sent in zip((one.notice for one in batch), results, strict=False):
        if sent.arrived:
            outbox.delivered([notice.id])
        elif sent.final:
            _give_up(notice, receiver, sent.error)
        else:
            _again(notice, receiver, sent.error, now=now)


def _caught(send: Callable[[str], list[Sent]]) -> Callable[[str], list[Sent]]:
    def work(name: str) -> list[Sent]:
        try:
            return send(name)
        except Exception:  # the lease brings the notices back
            log.exception("a channel failed")
            return []

    return work


def _again(notice: Notice, receiver: _Receiver, error: str, *, now: datetime | None) -> None:
    if (now or datetime.now(UTC)) - notice.created_at > GIVE_UP_AFTER:
        _give_up(notice, receiver, error)
    else:
        outbox.failed(notice, error, now=now)


def _give_up(notice: Notice, receiver: _Receiver, error: str) -> None:
    with transaction.atomic():
        outbox.give_up(notice, error)
        if receiver.subscription is not None:
            Subscription.objects.filter(pk=receiver.subscription.pk, status=Subscription.Status.ACTIVE).update(
                status=Subscription.Status.ERROR, error=error[:500], updated_at=datetime.now(UTC)
            )


def _ended(notice: Notice, receiver: _Receiver) -> _Prepared | None:
    """A notice that a consent has ended, recorded; None when the receiver may be told of nobody."""
    found = copies.prepare(notice, receiver.caller, receiver.kind)
    if found is None:
        return None
    change, basis = found
    messages = _channels[receiver.kind].encode(change, endpoint=receiver.endpoint)
    return _Prepared(notice=notice, messages=messages, basis=basis) if messages else None


@release.point
def _prepare(notice: Notice, receiver: _Receiver) -> _Prepared | None:
    """A notice as it may be told, recorded; None when the receiver may not be told."""
    event = IdentityEvent.objects.filter(seq=int(notice.payload["seq"])).first()
    if event is None or not _of_patients(receiver.criteria):
        return None
    with recorder.recording(EventType.NOTIFICATION_SENT, receiver.caller) as entry:
        entry.dismiss()
        try:
            known, change = change_for(event, receiver.caller, notice_id=str(notice.id), criteria=receiver.criteria)
        except AccessRefused:
            return None
        if change is None:
            return None
        messages = _channels[receiver.kind].encode(change, endpoint=receiver.endpoint)
        if not messages:
            return None
        shown = sorted(record.source_record_id for person in known for record in person.records)
        with transaction.atomic():
            if notice.payload.get("recorded") == shown:
                # What is tried again is not another look; it is told only while it may be.
                release.basis_of(entry).hold()
            else:
                # Before the first byte.
                for person in known:
                    identity.disclose(entry, receiver.caller, person, Operation.NOTIFY)
                    entry.about(
                        UUID(person.subject.person_id),
                        correlation=f"notice/{notice.id}",
                        detail={
                            "recipient": receiver.caller.organization_id,
                            "notice": notice.id,
                            "channel": receiver.kind,
                        },
                    )
                entry.commit()
                OutboxMessage.objects.filter(pk=notice.id).update(payload=notice.payload | {"recorded": shown})
        return _Prepared(notice=notice, messages=messages, basis=release.basis_of(entry))


def change_for(
    event: IdentityEvent, caller: Caller, *, notice_id: str, criteria: str = "Patient"
) -> tuple[list[access.PermittedPerson], IdentityChange | None]:
    """What this caller may be told of an event, with the persons as let through; None: nothing.

    Nothing is told unless the event concerns a record that the caller may see, and the criteria fit what it sees.

    Raises:
        AccessRefused: from what the caller is.
    """
    access.gate(caller, Operation.NOTIFY)
    named = [one for one in (event.person_id, event.other_person_id) if one is not None]
    survivors = identifiers.survivors_of(named)
    living = list(dict.fromkeys(survivors.values()))
    known = access.demographics(caller, living, Operation.NOTIFY)
    concerned = _records(event)
    seen = {
        record.source_record_id: record
        for person in known.values()
        for record in person.records
        if record.participant_id != directory.HUB
    }
    touched = [record for pk, record in seen.items() if pk in concerned]
    if not touched:
        return [], None
    shown = {person_id: identity.known(person) for person_id, person in known.items()}
    if not _meets(criteria, named, {r.participant_id for r in touched}, [p for p in shown.values() if p is not None]):
        return [], None
    persons: list[ChangedPerson] = []
    for person_id in living:
        if person_id in known:
            new = event.kind == IdentityEvent.Kind.CREATED and person_id == event.person_id
            persons.append(ChangedPerson(person_id=person_id, patient=shown[person_id], new=new))
    persons.extend(
        ChangedPerson(person_id=one, patient=None, replaced_by=survivors[one])
        for one in named
        if one in survivors and survivors[one] != one and survivors[one] in known
    )
    change = IdentityChange(id=notice_id, kind=event.kind, at=event.at, persons=tuple(persons))
    return [known[person_id] for person_id in living if person_id in known], change


def _of_patients(criteria: str) -> bool:
    return criteria.partition("?")[0] == "Patient"


def _records(event: IdentityEvent) -> set[int]:
    """The records that an event moved or changed."""
    found = {event.source_record_id} if event.source_record_id is not None else set()
    for name in ("moved", "undone"):
        for item in event.detail.get(name, ()):
            found.add(int(item["record"] if isinstance(item, Mapping) else item))
    return found


def _meets(criteria: str, named: Iterable[UUID], participants: set[str], patients: Sequence[KnownPatient]) -> bool:
    """Whether a change fits ``Patient``, ``Patient?_id=``, ``?organization=`` or ``?identifier=``."""
    _, _, query = criteria.partition("?")
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "_id":
            wanted = value.removeprefix("Patient/")
            # Who asked for a person that was merged since goes on hearing of the survivor.
            asked = {wanted, str(identifiers.survivor(wanted))}
            fits = bool(asked & ({str(one) for one in named} | {str(p.person_id) for p in patients}))
        elif name == "organization":
            fits = value.removeprefix("Organization/") in participants
        else:
            system, bar, code = value.rpartition("|")
            fits = any(
                (not bar or not system or item.authority == authority_of(system)) and (not code or item.value == code)
                for patient in patients
                for item in patient.demographics.identifiers
            )
        if not fits:
            return False
    return True


def _receivers(claimed: Iterable[Notice]) -> dict[str, _Receiver]:
    """Who is to be told, by name; suspended, ended, off or without the scope: not there."""
    names = sorted({notice.receiver for notice in claimed})
    now = datetime.now(UTC)
    found: dict[str, _Receiver] = {}
    for name, row in subscriptions.receivers_named(names).items():
        if row.status == Subscription.Status.OFF or (row.ends_at is not None and row.ends_at <= now):
            continue
        registered = directory.client(row.client_id)
        wanted = "Patient" if _of_patients(row.criteria) else copies.CRITERIA
        if registered is None or not scopes.allows(registered.scopes, wanted, "r"):
            continue
        try:
            subscriptions.check_endpoint(row.endpoint, row.participant_id)
        except HubError:
            continue
        found[name] = _Receiver(
            name=name,
            kind="subscription",
            endpoint=row.endpoint,
            caller=subscriptions.caller_of(row),
            criteria=row.criteria,
            subscription=row,
        )
    for endpoint in directory.endpoints("mllp"):
        facts = directory.participant(endpoint.participant_id)
        name = f"mllp/{endpoint.participant_id}/{endpoint.url}"
        if name in names and facts is not None:
            caller = device(facts, face="hl7v2")
            found[name] = _Receiver(name=name, kind="mllp", endpoint=endpoint.url, caller=caller)
    return found
