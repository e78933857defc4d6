"""Notices to patients and helpers that somebody looked: in the portal, and by mail to who wants that.

Each account chooses what it is told of: each look, a place that had never looked, emergencies alone, one notice a week,
nothing. A notice says that something happened and to whose record it did, and nothing of what: no kind of information, no
place, no title, in the portal neither. Looks are found in the log by a task, as the account's owner may see them then;
emergencies come from `hie.exchange.emergency` within minutes. What goes by mail is a row of the outbox, written with the
notice and sent after the commit; whether the reader may still know of it is asked again as it is sent, and as it is read.

An address is encrypted under its owner's key and counts once its owner followed the link sent there. The words are a
face's: it registers a `Writer`.

Source: spec/consent.md 9.4, 15 (alerts by choice).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from smtplib import SMTPException, SMTPRecipientsRefused, SMTPResponseException
from typing import Protocol
from uuid import UUID

import structlog
from django.conf import settings
from django.core import mail, signing
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import connection, transaction
from django.db.models import Max
from django.utils import timezone

from hie.audit import personal, recorder
from hie.audit import queries as audit
from hie.audit.kinds import EventType
from hie.audit.recorder import EventDraft
from hie.exchange import access_log, accounts, release
from hie.exchange.access_log import ActorKind, LogEntry, Seen, Verb
from hie.exchange.accounts import Account, ActsFor, Reading, Visit
from hie.exchange.errors import AccessRefused, BadRequest, NotFound
from hie.exchange.models import Concern, NoticeChoice, PatientNotice
from hie.outbox import outbox
from hie.outbox.outbox import Notice, Topic
from hie.standards.facts import Caller
from patients import identifiers
from patients.errors import UnknownPatient

log = structlog.get_logger(__name__)

Wanted, Kind = NoticeChoice.Wanted, PatientNotice.Kind
CHOICES = tuple(Wanted.values)
WEEK = timedelta(days=7)
OVERLAP = timedelta(minutes=10)
"""How long before the last look for news a line may have been written that is only seen now."""
_LINE = timedelta(minutes=30)
"""How far back the looks of one line may lie from one to the next."""
QUIET = timedelta(minutes=15)
"""Between two mails of looks to one account; emergencies do not wait for it."""
LINK_LASTS = timedelta(days=2)
MOST_LINKS_A_DAY = 5
GIVE_UP_AFTER = timedelta(hours=24)
SHOWN = 100
_AT_ONCE, _LEASE_S = 10, 300
_ACCOUNTS_AT_ONCE = 200
_LINK, _UNSUBSCRIBE = "portal notices: address", "portal notices: unsubscribe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A mail in words."""

    subject: str
    text: str


class Writer(Protocol):
    """Words of mails, and the pages they lead to, in a language of the portal ("" is the hub's own)."""

    def notices(self, kinds: Mapping[str, int], *, unsubscribe: str, language: str) -> Letter:
        """What is told, as kinds of `PatientNotice` with how many of each; nothing of health."""

    def address(self, *, token: str, language: str) -> Letter:
        """The mail that asks whether an address is its owner's."""

    def unsubscribe_url(self, token: str) -> str:
        """Where one press ends the mails, signed in or not."""


_writer: list[Writer] = []


def register_writer(writer: Writer) -> None:
    """Announce who words the mails; called from `AppConfig.ready()`."""
    _writer[:] = [writer]


def can_mail() -> bool:
    """Whether this hub sends mail at all."""
    return bool(settings.EMAIL_BACKEND) and not settings.EMAIL_BACKEND.endswith("dummy.EmailBackend")


# --- the choice --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What an account wants. `address` "" where none was given; `verified`: mails go there; `failing`: they do not arrive."""

    wanted: str
    by_mail: bool
    address: str
    verified: bool
    failing: bool
    can_mail: bool


def chosen(account: Account) -> Chosen:
    """What an account wants now. It is the account's own: nothing of a record."""
    row = NoticeChoice.objects.filter(account_id=UUID(account.id)).first()
    return Chosen(
        wanted=row.wanted if row else Wanted.EMERGENCY,
        by_mail=bool(row and row.by_mail),
        address=_address(row) if row else "",
        verified=bool(row and row.verified_at),
        failing=bool(row and row.failed_at),
        can_mail=can_mail(),
    )


def choose(account: Account, visit: Visit, *, wanted: str, by_mail: bool, address: str) -> bool:
    """Set what an account wants; a new address gets a mail that asks for its owner's word. Whether such a mail goes out.

    Raises:
        BadRequest: no such choice, mail without an address that can be one, no mail at this hub, or too many new addresses.
    """
    address = address.strip()
    if wanted not in CHOICES:
        raise BadRequest("choose what you want to be told of", element="wanted")
    if by_mail and not can_mail():
        raise BadRequest("this hub sends no mail", element="by_mail")
    if by_mail or address:
        _check_address(address)
    asking, at = accounts.caller(account, visit), timezone.now()
    with recorder.recording(EventType.NOTICES_CHOSEN, asking) as event, transaction.atomic():
        event.about(account.person_id, detail={"wanted": wanted, "by_mail": by_mail})
        row = _row(account.id, at)
        if wanted != row.wanted:
            row.chosen_at = row.looked_until = row.digest_at = at
        row.wanted, row.by_mail = wanted, by_mail
        asks = bool(address) and by_mail and (address != _address(row) or not row.verified_at)
        if asks:
            if row.asked_at is None or row.asked_at < at - timedelta(days=1):
                row.asked_at, row.asked = at, 0
            if row.asked >= MOST_LINKS_A_DAY:
                raise BadRequest("too many addresses in one day", element="address")
            row.asked += 1
            if address != _address(row):
                row.nonce, row.verified_at, row.failed_at = secrets.token_urlsafe(24), None, None
                _seal(row, account, address, at)
            outbox.add(Topic.MAIL, str(account.id), {"mail": "address", "nonce": row.nonce})
        elif not address:
            row.nonce, row.verified_at, row.failed_at = "", None, None
            row.personal_key = row.address = None
            row.by_mail = False
        row.save()
        event.commit()
    return asks


def _check_address(address: str) -> None:
    try:
        if len(address) > 254:
            raise ValidationError("too long")
        validate_email(address)
        address.encode("ascii")
    except (ValidationError, UnicodeEncodeError) as error:
        raise BadRequest("write a mail address, as name@example.org", element="address") from error


def _row(account_id: str, at: datetime) -> NoticeChoice:
    """The row of an account, made where there is none, locked."""
    new = {"chosen_at": at, "looked_until": at, "digest_at": at}
    NoticeChoice.objects.get_or_create(account_id=UUID(account_id), defaults=new)
    return NoticeChoice.objects.select_for_update().get(account_id=UUID(account_id))


def _seal(row: NoticeChoice, account: Account, address: str, at: datetime) -> None:
    key = personal.keys_for([account.person_id], connection, at)[account.person_id]
    row.personal_key, row.address = key.id, key.seal({"address": address}, bound_to=UUID(account.id).bytes)


def _address(row: NoticeChoice) -> str:
    if row.address is None:
        return ""
    pk = UUID(str(row.account_id))
    found = personal.open_words([(pk, row.personal_key, row.address)], connection)
    return str(found.get(pk, {}).get("address", ""))


# --- links that work signed out ----------------------------------------------------------------------------------------


def is_link(token: str) -> bool:
    """Whether the link of a mail that asks for an address still counts."""
    return _of_link(token) is not None


def verify(token: str, visit: Visit) -> bool:
    """Take an address as its owner's, by the link sent there; whether the link counted. A second time changes nothing."""
    found = _of_link(token)
    if found is None:
        return False
    return _by_link(found, visit, "verified", _set_verified)


def unsubscribe(token: str, visit: Visit) -> bool:
    """End the mails to an account, by the link in each of them; whether the link counted."""
    found = _of_mail(token)
    return found is not None and _by_link(found, visit, "unsubscribed", _set_unsubscribed)


def is_unsubscribe(token: str) -> bool:
    """Whether the link of a mail that ends the mails counts."""
    return _of_mail(token) is not None


def _set_verified(row: NoticeChoice, at: datetime) -> None:
    row.verified_at, row.failed_at = row.verified_at or at, None


def _set_unsubscribed(row: NoticeChoice, at: datetime) -> None:
    row.by_mail = False


def _by_link(found: tuple[str, str], visit: Visit, act: str, change: Callable[[NoticeChoice, datetime], None]) -> bool:
    account_id, nonce = found
    reading = next((one for one in accounts.read_by([account_id]) if one.caller.role == "patient"), None)
    if reading is None:
        return False
    at = timezone.now()
    asking = accounts.caller(reading.account, visit)
    with recorder.recording(EventType.NOTICES_CHOSEN, asking) as event, transaction.atomic():
        event.about(reading.account.person_id, detail={"act": act, "by": "link"})
        row = NoticeChoice.objects.select_for_update().filter(account_id=UUID(account_id), nonce=nonce).first()
        if row is None:
            event.dismiss()
            return False
        change(row, at)
        row.save()
        event.commit()
    return True


def _of_link(token: str) -> tuple[str, str] | None:
    return _opened(token, _LINK, LINK_LASTS)


def _of_mail(token: str) -> tuple[str, str] | None:
    return _opened(token, _UNSUBSCRIBE, None)


def _opened(token: str, salt: str, lasts: timedelta | None) -> tuple[str, str] | None:
    """Account and nonce of a token of ours that is not too old and whose address is still the account's."""
    try:
        account_id, nonce = signing.loads(token, salt=salt, max_age=lasts)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    there = NoticeChoice.objects.filter(account_id=account_id, nonce=nonce).exclude(nonce="").exists()
    return (str(account_id), str(nonce)) if there else None


# --- the portal --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A notice in the portal. `whose` is the name of whom the reader helps, "" for the reader's own record."""

    kind: str
    at: datetime
    count: int
    read: bool
    whose: str
    person_id: str
    event_id: str
    event_at: datetime | None
    concern: str


def inbox(account: Account, visit: Visit, people: Sequence[ActsFor]) -> list[Shown]:
    """The notices of an account, newest first, at most 100: of the records alone that it may read now.

    Raises:
        AccessRefused, NotFound: the account's owner may not read the own record (any more).
    """
    rows = list(
        PatientNotice.objects.filter(account_id=UUID(account.id))
        .select_related("concern")
        .order_by("-at", "-pk")[:SHOWN]
    )
    persons = {pk: str(one) for pk, one in identifiers.persons_of({row.identifier_id for row in rows}).items()}
    own = [row for row in rows if persons.get(row.identifier_id) == account.person_id]
    shown = _told(own, account.person_id, "", caller=accounts.caller(account, visit))
    for one in people:
        theirs = [row for row in rows if persons.get(row.identifier_id) == one.person_id]
        if theirs and one.person_id != account.person_id:
            asking = accounts.caller(account, visit, acting_for=one.identifier_pk)
            try:
                shown += _told(theirs, one.person_id, one.name, caller=asking)
            except (NotFound, AccessRefused):
                continue
    return sorted(shown, key=lambda notice: notice.at, reverse=True)


@release.point
def _told(rows: Sequence[PatientNotice], person_id: str, whose: str, *, caller: Caller) -> list[Shown]:
    """Those of these notices that this reader may know of now; recorded as a look at the log."""
    with recorder.recording(EventType.ACCESS_LOG_READ, caller, query="notices") as event:
        kept = _still(rows, person_id, caller, event)
        event.commit()
    return [
        Shown(
            kind=row.kind,
            at=row.at,
            count=row.count,
            read=row.read_at is not None,
            whose=whose,
            person_id=person_id,
            event_id=str(row.event_id) if row.kind in {Kind.LOOK, Kind.NEW} else "",
            event_at=row.at,
            concern=row.concern.number if row.concern is not None else "",
        )
        for row in kept
    ]


def _still(
    rows: Sequence[PatientNotice], person_id: str, caller: Caller, event: recorder.Recording
) -> list[PatientNotice]:
    """Of these notices those whose look this reader may still know of."""
    looks = [row.event_id for row in rows if row.kind in {Kind.LOOK, Kind.NEW} and row.event_id is not None]
    seen, _ = access_log.seen_of_these(looks, person_id, caller=caller, event=event)
    return [row for row in rows if row.kind not in {Kind.LOOK, Kind.NEW} or str(row.event_id) in seen]


def mark_read(account: Account) -> None:
    """Mark every notice of an account as read."""
    PatientNotice.objects.filter(account_id=UUID(account.id), read_at__isnull=True).update(read_at=timezone.now())


# --- what is told ------------------------------------------------------------------------------------------------------


def of_emergency(readers: Iterable[Reading], grant_id: UUID, *, now: datetime) -> None:
    """Tell these readers that there was an emergency access, in the transaction in which the patient counts as told."""
    for reader in readers:
        _tell(reader, Kind.EMERGENCY, grant_id, now, mail_at=now)


def of_concern(concern: Concern, *, now: datetime) -> None:
    """Tell whoever raised a concern that something came of it, in the transaction of that."""
    pks = identifiers.identifier_pks(identifiers.person_of_pk(concern.identifier_id))
    for reader in accounts.readers_of(pks):
        raised = "patient" if reader.caller.role == "patient" else reader.caller.user_id
        if raised == concern.raised_by:
            _tell(reader, Kind.CONCERN, None, now, concern=concern, mail_at=now)


def find(*, now: datetime | None = None) -> int:
    """Look in the log for what accounts want to be told of, and tell it; gives how many notices were written."""
    at = now or timezone.now()
    return _find_looks(at) + _find_weeks(at)


def _find_looks(at: datetime) -> int:
    wanting = NoticeChoice.objects.filter(wanted__in=[Wanted.ALL, Wanted.NEW])
    told = 0
    ids = list(wanting.order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(ids), _ACCOUNTS_AT_ONCE):
        some = ids[start : start + _ACCOUNTS_AT_ONCE]
        since = {str(row.pk): _since(row) for row in NoticeChoice.objects.filter(pk__in=some)}
        readings = accounts.read_by([str(pk) for pk in some])
        persons = identifiers.persons_of({one.identifier_pk for one in readings})
        busy = audit.touched(set(persons.values()), min(since.values(), default=at))
        for reader in readings:
            person_id = str(persons.get(reader.identifier_pk, ""))
            if person_id in busy:
                told += _guarded(partial(_tell_looks, reader, person_id, since[reader.account.id], at))
        NoticeChoice.objects.filter(pk__in=some).update(looked_until=at)
    return told


def _since(row: NoticeChoice) -> datetime:
    return max(row.chosen_at, row.looked_until - OVERLAP)


def _guarded(telling: Callable[[], int]) -> int:
    """One reader's trouble keeps nobody else from being told."""
    try:
        return telling()
    except (NotFound, AccessRefused, UnknownPatient):
        return 0  # a permission that does not count now, or a record that is closed
    except Exception:
        log.exception("patient_notices.not_found")
        return 0


def _tell_looks(reader: Reading, person_id: str, since: datetime, at: datetime) -> int:
    found = access_log.looks_since(person_id, since - _LINE, at, caller=reader.caller)
    new = [entry for entry in found if entry.at > since and not _of_an_emergency(entry)]
    if not new:
        return 0
    known = _told_of(reader, new)
    new = [entry for entry in new if not known & set(entry.event_ids)]
    told = 0
    with transaction.atomic():
        choice = NoticeChoice.objects.select_for_update().filter(account_id=UUID(reader.account.id)).first()
        if choice is None:
            return 0
        for entry in reversed(new):
            first = (
                entry.seen is not Seen.REFUSED
                and entry.who.kind in {ActorKind.PERSON, ActorKind.ORGANIZATION}
                and access_log.is_first_look(entry, person_id, caller=reader.caller)
            )
            if first or choice.wanted == Wanted.ALL:
                kind = Kind.NEW if first else Kind.LOOK
                told += _tell(reader, kind, UUID(entry.id), entry.at, mail_at=_quiet(reader.account.id, at))
    return told


def _told_of(reader: Reading, entries: Sequence[LogEntry]) -> set[str]:
    ids = {one for entry in entries for one in entry.event_ids}
    rows = PatientNotice.objects.filter(account_id=UUID(reader.account.id), event_id__in=ids)
    return {str(one) for one in rows.values_list("event_id", flat=True)}


def _of_an_emergency(entry: LogEntry) -> bool:
    """Whether it belongs to an emergency that was opened, of which is told by itself, and perhaps later."""
    return (entry.purpose == "BTG" or entry.verb is Verb.DECLARED) and entry.seen is not Seen.REFUSED


def _find_weeks(at: datetime) -> int:
    due = NoticeChoice.objects.filter(wanted=Wanted.WEEKLY, digest_at__lte=at - WEEK)
    ids = list(due.order_by("pk").values_list("pk", flat=True))
    return sum(_guarded(partial(_tell_week, str(pk), at)) for pk in ids)


def _tell_week(account_id: str, at: datetime) -> int:
    readings = accounts.read_by([account_id])
    persons = identifiers.persons_of({one.identifier_pk for one in readings})
    told = 0
    with transaction.atomic():
        choice = NoticeChoice.objects.select_for_update(skip_locked=True).filter(account_id=UUID(account_id)).first()
        if choice is None or choice.wanted != Wanted.WEEKLY or choice.digest_at > at - WEEK:
            return 0
        since = at - WEEK
        for reader in readings:
            try:
                found = access_log.looks_since(persons[reader.identifier_pk], since, at, caller=reader.caller)
            except (NotFound, AccessRefused, UnknownPatient):
                continue
            if found:
                told += _tell(reader, Kind.WEEK, None, at, count=len(found), mail_at=at)
        # From now on, whatever was missed while the hub was down: not one mail for each week.
        choice.digest_at = at
        choice.save(update_fields=["digest_at"])
    return told


def _quiet(account_id: str, at: datetime) -> datetime:
    """When the next mail of looks may go to an account."""
    last = PatientNotice.objects.filter(account_id=UUID(account_id)).aggregate(last=Max("mailed_at"))["last"]
    return max(at, last + QUIET) if last is not None else at


def _tell(
    reader: Reading,
    kind: str,
    event_id: UUID | None,
    at: datetime,
    *,
    mail_at: datetime,
    concern: Concern | None = None,
    count: int = 1,
) -> int:
    """Put a notice into the portal of an account, once, and where it wants mail into the outbox. Whether it is new."""
    choice = NoticeChoice.objects.filter(account_id=UUID(reader.account.id)).first()
    if choice is not None and choice.wanted == Wanted.NONE:
        return 0
    mine = PatientNotice.objects.filter(account_id=UUID(reader.account.id), kind=kind, event_id=event_id)
    if event_id is not None and mine.exists():
        return 0
    mail_id = None
    if choice is not None and choice.by_mail and choice.verified_at and not choice.failed_at:
        mail_id = outbox.add(Topic.MAIL, reader.account.id, {"mail": "notices"}, not_before=mail_at)
    PatientNotice.objects.create(
        account_id=UUID(reader.account.id),
        identifier_id=reader.identifier_pk,
        kind=kind,
        event_id=event_id,
        concern=concern,
        count=count,
        at=at,
        mail_id=mail_id,
    )
    return 1


# --- mail --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A mail as it goes out, with the notices it tells."""

    to: str
    letter: Letter
    unsubscribe: str = ""
    rows: tuple[int, ...] = ()


def send(*, now: datetime | None = None) -> int:
    """Send the mails that are due; gives how many went out. One that does not arrive is tried again for a day.

    An address that the mail server refuses is given up at once, and its owner reads so in the portal.
    """
    if not can_mail() or not _writer:
        return 0
    sent = 0
    for notice in outbox.claim(Topic.MAIL, limit=_AT_ONCE, lease_s=_LEASE_S, now=now):
        at = now or timezone.now()
        try:
            sent += _send(notice, at)
        except SMTPRecipientsRefused as error:
            _not_sent(notice, error, at, final=all(code >= 500 for code, _ in error.recipients.values()))
        except (SMTPException, OSError) as error:
            _not_sent(notice, error, at, final=False)
        except Exception as error:
            log.exception("patient_notices.not_sent", notice=notice.id)
            _not_sent(notice, error, at, final=False)
    return sent


def _not_sent(notice: Notice, error: Exception, at: datetime, *, final: bool) -> None:
    # What a mail server says may hold the address: its number is enough.
    words = (
        f"{type(error).__name__} {error.smtp_code}"
        if isinstance(error, SMTPResponseException)
        else type(error).__name__
    )
    if final:
        NoticeChoice.objects.filter(account_id=UUID(notice.key)).update(failed_at=at)
    if final or at - notice.created_at >= GIVE_UP_AFTER:
        outbox.give_up(notice, words, now=at)
    else:
        outbox.failed(notice, words, now=at)


def _send(notice: Notice, at: datetime) -> int:
    ready = _prepared(notice)
    if ready is not None:
        headers = {}
        if ready.unsubscribe:
            headers = {
                "List-Unsubscribe": f"<{ready.unsubscribe}>",
                "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            }
        headers["Auto-Submitted"] = "auto-generated"
        message = mail.EmailMessage(
            ready.letter.subject, ready.letter.text, settings.DEFAULT_FROM_EMAIL, [ready.to], headers=headers
        )
        message.send()
    with transaction.atomic():
        if ready is not None:
            PatientNotice.objects.filter(pk__in=ready.rows).update(mailed_at=at)
            detail = {"account": notice.key, "mail": str(notice.payload.get("mail", "")), "notices": len(ready.rows)}
            recorder.write([EventDraft(kind=EventType.NOTICE_SENT, caller=_HUB, detail=detail)])
        outbox.delivered([notice.id], now=at)
    return int(ready is not None)


_HUB = Caller(
    participant_id=recorder.HUB, organization_id=recorder.HUB, client_id="hub", user_id="", role="system", face="hub"
)


def _prepared(notice: Notice) -> _Ready | None:
    """The mail of a row of the outbox; None: there is nothing (more) to send."""
    choice = NoticeChoice.objects.filter(account_id=UUID(notice.key)).first()
    readings = accounts.read_by([notice.key])
    if choice is None or not readings or not choice.by_mail:
        return None
    to, language = _address(choice), readings[0].account.language
    if not to or choice.failed_at:
        return None
    if notice.payload.get("mail") == "address":
        if choice.verified_at or notice.payload.get("nonce") != choice.nonce:
            return None
        token = signing.dumps([notice.key, choice.nonce], salt=_LINK)
        return _Ready(to=to, letter=_writer[0].address(token=token, language=language))
    if not choice.verified_at or choice.wanted == Wanted.NONE:
        return None
    rows = _to_mail(notice.key, readings)
    if not rows:
        return None
    kinds: dict[str, int] = {}
    for row in rows:
        kinds[row.kind] = kinds.get(row.kind, 0) + row.count
    token = signing.dumps([notice.key, choice.nonce], salt=_UNSUBSCRIBE)
    letter = _writer[0].notices(kinds, unsubscribe=token, language=language)
    return _Ready(
        to=to, letter=letter, unsubscribe=_writer[0].unsubscribe_url(token), rows=tuple(row.pk for row in rows)
    )


def _to_mail(account_id: str, readings: Sequence[Reading]) -> list[PatientNotice]:
    """The notices of an account that are to go by mail and did not, as far as its owner may still know of them."""
    waiting = list(
        PatientNotice.objects.filter(
            account_id=UUID(account_id), mail_id__isnull=False, mailed_at__isnull=True
        ).order_by("pk")
    )
    persons = identifiers.persons_of({row.identifier_id for row in waiting} | {one.identifier_pk for one in readings})
    kept: list[PatientNotice] = []
    for reader in readings:
        person_id = persons.get(reader.identifier_pk)
        rows = [row for row in waiting if row not in kept and persons.get(row.identifier_id) == person_id]
        if not rows or person_id is None:
            continue
        asking = recorder.Recording(EventType.ACCESS_LOG_READ, reader.caller, action=None, query=None)
        try:
            kept += _still(rows, str(person_id), reader.caller, asking)
        except (NotFound, AccessRefused):
            continue
    return kept
