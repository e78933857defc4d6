"""What is counted for the figures besides the log: links, reviews, documents, answers of others, messages, states.

Each source is counted by the rules of `hie.audit.figures`; the numbers of records themselves are reserved long before
they are used, so records are counted by their first link. Sources read rows by number, or a day's by its index.

`roll_up` is the scheduled task's work: run at any time, stopped anywhere, run again.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q

from consent import choices
from consent.models import Consent
from hie.audit import figures
from hie.audit.figures import Daily, Numbered, Tally
from hie.audit.figures_of_log import LOG

__all__ = ["ANSWERS", "DOCUMENTS", "IDENTITY", "LINKS", "MESSAGES", "REVIEWS", "Delay", "Subject", "roll_up"]


class Subject(StrEnum):
    """What is counted here."""

    # By the participant of the record, the hub's own anchors apart; what: certain, first, by-hand, taken-out, put-back.
    LINKS = "links"
    RECORD_FIELDS = "record-fields"  # by participant; what: a field; n: new records, total: those that have it
    IDENTITY = "identity"  # what: the kind of change of identities; plain links are among LINKS
    REVIEWS = "reviews"  # what: act:verdict; other: the kind of case; total: seconds since the case came
    DOCUMENT_FIELDS = "document-fields"  # by custodian; what: a field; n: documents, total: those that have it
    DELAYS = "delays"  # by custodian; what: a Delay; total: seconds
    FEED_DELAYS = (
        "feed-delays"  # by sender; what: a Delay, of messages taken that say when it was entered; total: seconds
    )
    ANSWERS = "answers"  # by the asker; purpose; what: how it was answered; other: who; total: milliseconds
    MESSAGES = "messages"  # by sender; what: what became of it; other: protocol; total: times it came again
    CHOICES = "choices"  # a state; what: a choice; n: patients
    RECORDS = "records"  # a state, by participant; n: records in use, total: those one too many of their person
    PATIENTS = "patients"  # a state; n: patients known


class Delay(StrEnum):
    """How long after its creation a document came, or after it was entered what a message tells."""

    MINUTE = "1-minute"
    QUARTER = "15-minutes"
    HOUR = "1-hour"
    DAY = "1-day"
    WEEK = "7-days"
    LONGER = "longer"
    UNKNOWN = "unknown"


BOUNDS: tuple[tuple[Delay, int], ...] = (
    (Delay.MINUTE, 60), (Delay.QUARTER, 900), (Delay.HOUR, 3600), (Delay.DAY, 86_400), (Delay.WEEK, 604_800),
)  # fmt: skip
RECORD_FIELDS = ("names", "birth_date", "gender", "addresses", "telecoms")
DOCUMENT_FIELDS = (
    "title", "language", "created", "service-start", "author", "class", "type", "setting", "facility", "event", "patient-info",
)  # fmt: skip

_LINKS = """
SELECT (l.valid_from AT TIME ZONE 'UTC')::date, r.participant_id, l.kind, l.score IS NOT NULL, l.restored_at IS NOT NULL,
       l.event_id IS NULL AND l.kind = 'auto', l.person_id, coalesce(v.raw, '{}'::jsonb) ?& ARRAY['names'],
       v.raw ? 'birth_date', v.raw ? 'gender', v.raw ? 'addresses', v.raw ? 'telecoms'
  FROM patients_link l JOIN patients_sourcerecord r ON r.id = l.source_record_id
  LEFT JOIN patients_sourcerecordversion v ON v.id = r.current_version_id
 WHERE l.id > %s AND l.id <= %s AND r.participant_id <> 'hub'
"""
_IDENTITY = """
SELECT (at AT TIME ZONE 'UTC')::date, kind, undoes_id IS NOT NULL, person_id FROM patients_identityevent
 WHERE seq > %s AND seq <= %s AND kind <> 'created' AND (kind <> 'linked' OR undoes_id IS NOT NULL)
"""
_REVIEWS = """
SELECT (a.at AT TIME ZONE 'UTC')::date, a.kind, a.verdict, i.kind, greatest(0, extract(epoch FROM a.at - i.created_at))::bigint, i.person_id
  FROM patients_reviewact a JOIN patients_reviewitem i ON i.id = a.item_id WHERE a.id > %s AND a.id <= %s
"""
_DOCUMENTS = """
SELECT (e.registered_at AT TIME ZONE 'UTC')::date, e.custodian, l.person_id,
       extract(epoch FROM e.registered_at - e.creation_time_until)::bigint,
       coalesce(e.title, '') <> '', coalesce(e.language_code, '') <> '', e.creation_time_from IS NOT NULL,
       e.service_start_time_from IS NOT NULL,
       EXISTS (SELECT FROM documents_authorrow a WHERE a.entry_id = e.id AND (a.family <> '' OR a.person_id <> '')),
       'classCode' = ANY(c.coded), 'typeCode' = ANY(c.coded), 'practiceSettingCode' = ANY(c.coded),
       'healthcareFacilityTypeCode' = ANY(c.coded), 'eventCodeList' = ANY(c.coded), e.source_patient_info <> '{}'
  FROM documents_documententry e
 CROSS JOIN LATERAL (SELECT coalesce(array_agg(attribute), '{}') AS coded FROM documents_entrycode WHERE entry_id = e.id) c
  LEFT JOIN patients_patientidentifier i ON i.id = e.patient_identifier_id
  LEFT JOIN patients_link l ON l.source_record_id = i.source_record_id AND l.valid_to IS NULL AND l.kind <> 'rejected'
 WHERE e.id > %s AND e.id <= %s AND e.version = 1
"""
_ANSWERS = """
SELECT q.participant_id, q.purpose, t.target_id,
       CASE WHEN t.withheld THEN 'withheld' WHEN t.answered_at > q.deadline_at THEN 'late'
            WHEN t.status IN ('answered', 'nothing') THEN 'answered' WHEN t.status IN ('down', 'error') THEN 'failed'
            ELSE t.status END,
       count(*), coalesce(sum(extract(epoch FROM t.answered_at - t.asked_at) * 1000) FILTER (WHERE NOT t.withheld), 0)::bigint,
       (array_agg(DISTINCT q.person_id))[1:%(most)s]
  FROM exchange_query q JOIN exchange_querytarget t ON t.query_id = q.id
 WHERE q.created_at >= %(since)s AND q.created_at < %(until)s AND t.kind <> 'local' GROUP BY 1, 2, 3, 4
"""
_MESSAGES = """
SELECT participant_id, status, protocol, count(*), coalesce(sum(greatest(attempts, 1) - 1), 0)::bigint
  FROM exchange_inboundmessage WHERE received_at >= %(since)s AND received_at < %(until)s GROUP BY 1, 2, 3
"""
_FEED_DELAYS = """
SELECT participant_id, extract(epoch FROM received_at - entered_at)::bigint FROM exchange_inboundmessage
 WHERE received_at >= %(since)s AND received_at < %(until)s AND status = 'accepted' AND entered_at IS NOT NULL
"""
_RECORDS = """
SELECT r.participant_id, count(*), count(*) - count(DISTINCT l.person_id) FROM patients_link l
  JOIN patients_sourcerecord r ON r.id = l.source_record_id AND r.status = 'active' AND r.participant_id <> 'hub'
 WHERE l.valid_to IS NULL AND l.kind <> 'rejected' GROUP BY 1
"""
_PATIENTS = "SELECT count(*) FROM patients_person WHERE merged_into_id IS NULL"
_HOLDERS = """
SELECT i.id, l.person_id FROM patients_patientidentifier i
  JOIN patients_link l ON l.source_record_id = i.source_record_id AND l.valid_to IS NULL AND l.kind <> 'rejected'
 WHERE i.id = ANY(%s)
"""


def _links(after: int, upto: int, tally: Tally) -> None:
    for day, participant, kind, scored, restored, first, person, *has in _rows(_LINKS, (after, upto)):
        if restored:
            what = "put-back"
        elif kind == "auto":
            what = "certain" if scored else "first"
        else:
            what = {"manual": "by-hand", "rejected": "taken-out"}[kind]
        tally.add(Subject.LINKS, day, participant=participant, what=what, people=(person,))
        if first:
            for name, said in zip(RECORD_FIELDS, has, strict=True):
                tally.add(
                    Subject.RECORD_FIELDS,
                    day,
                    participant=participant,
                    what=name,
                    total=int(bool(said)),
                    people=(person,),
                )


def _identity(after: int, upto: int, tally: Tally) -> None:
    for day, kind, undoes, person in _rows(_IDENTITY, (after, upto)):
        tally.add(Subject.IDENTITY, day, what=f"undo-{kind}" if undoes else kind, people=(person,))


def _reviews(after: int, upto: int, tally: Tally) -> None:
    for day, act, verdict, kind, waited, person in _rows(_REVIEWS, (after, upto)):
        tally.add(Subject.REVIEWS, day, what=f"{act}:{verdict}", other=kind, total=waited, people=(person,))


def _documents(after: int, upto: int, tally: Tally) -> None:
    for day, custodian, person, waited, *has in _rows(_DOCUMENTS, (after, upto)):
        for name, said in zip(DOCUMENT_FIELDS, has, strict=True):
            tally.add(
                Subject.DOCUMENT_FIELDS, day, participant=custodian, what=name, total=int(bool(said)), people=(person,)
            )
        # A creation time of a day alone ends with the day: what came within it came at once.
        late = None if waited is None else max(0, waited)
        tally.add(Subject.DELAYS, day, participant=custodian, what=_delay(late), total=late or 0, people=(person,))


def _delay(seconds: int | None) -> Delay:
    if seconds is None:
        return Delay.UNKNOWN
    return next((name for name, bound in BOUNDS if seconds <= bound), Delay.LONGER)


def _answers(day: date, tally: Tally) -> None:
    for asker, purpose, whom, how, count, took, people in _rows(_ANSWERS, {**_day(day), "most": figures.SMALLEST}):
        tally.add(
            Subject.ANSWERS,
            day,
            participant=asker,
            purpose=purpose,
            what=how,
            other=whom,
            n=count,
            total=took,
            people=people,
        )


def _messages(day: date, tally: Tally) -> None:
    for sender, became, protocol, count, again in _rows(_MESSAGES, _day(day)):
        tally.add(Subject.MESSAGES, day, participant=sender, what=became, other=protocol, n=count, total=again)
    for sender, waited in _rows(_FEED_DELAYS, _day(day)):
        # Its clock may be ahead of the hub's: then it came at once.
        late = max(0, waited)
        tally.add(Subject.FEED_DELAYS, day, participant=sender, what=_delay(late), total=late)


def _choices(tally: Tally) -> None:
    """Who has made which choices of those in force; each patient once a choice."""
    now, today = datetime.now(UTC), datetime.now(UTC).date()
    rows = Consent.objects.filter(
        Q(in_force_from__isnull=True) | Q(in_force_from__lte=now),
        Q(in_force_until__isnull=True) | Q(in_force_until__gt=now),
        status="active",
    ).order_by("pk")
    found: set[tuple[str, UUID]] = set()
    batch: list[tuple[int, Collection[str]]] = []
    for identifier, unread, resource in rows.values_list("identifier_id", "unintelligible", "resource").iterator(2000):
        batch.append((identifier, ("unread",) if unread else _chosen(resource, now)))
        if len(batch) == 2000:
            found |= _of_persons(batch)
            batch = []
    for what, person in sorted(found | _of_persons(batch)):
        tally.add(Subject.CHOICES, today, what=what, people=(person,))
    ((patients,),) = _rows(_PATIENTS, ())
    tally.add(Subject.PATIENTS, today, n=patients)


def _chosen(resource: dict[str, Any], now: datetime) -> Collection[str]:
    said = choices.choices_of(resource, now=now)
    if said is None:
        return ("other-words",)
    cards = {f"{card}:{said.answer(card)}" for card in choices.PURPOSES if said.answer(card) != choices.Answer.GENERAL}
    more = {"apart": said.apart, "finer": said.rules, "no-emergency": said.refuse_emergency}
    return cards | {name for name, value in more.items() if value}


def _of_persons(batch: Collection[tuple[int, Collection[str]]]) -> set[tuple[str, UUID]]:
    persons = dict(_rows(_HOLDERS, ([identifier for identifier, _ in batch],)))
    return {
        (what, persons[identifier])
        for identifier, chosen in batch
        if identifier in persons
        for what in (*chosen, "any")
    }


def _records(tally: Tally) -> None:
    today = datetime.now(UTC).date()
    for participant, records, surplus in _rows(_RECORDS, ()):
        tally.add(Subject.RECORDS, today, participant=participant, n=records, total=surplus)


def _day(day: date) -> dict[str, datetime]:
    since = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return {"since": since, "until": since + timedelta(days=1)}


def _rows(sql: str, values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())


LINKS = Numbered(name="links", newest="SELECT max(id) FROM patients_link", tally=_links)
IDENTITY = Numbered(name="identity", newest="SELECT max(seq) FROM patients_identityevent", tally=_identity)
REVIEWS = Numbered(name="reviews", newest="SELECT max(id) FROM patients_reviewact", tally=_reviews)
DOCUMENTS = Numbered(name="documents", newest="SELECT max(id) FROM documents_documententry", tally=_documents)
NUMBERED = (LOG, LINKS, IDENTITY, REVIEWS, DOCUMENTS)

# A question takes late answers for its day of life (`query.LIFE`), and the loop minutes more to write them.
ANSWERS = Daily(
    name="answers",
    subjects=(Subject.ANSWERS,),
    oldest="SELECT min(created_at) FROM exchange_query",
    settles_after=timedelta(hours=26),
    tally=_answers,
)
# As it stands a day later: what is mended within it was no failure of the sender for long.
MESSAGES = Daily(
    name="messages",
    subjects=(Subject.MESSAGES, Subject.FEED_DELAYS),
    oldest="SELECT min(received_at) FROM exchange_inboundmessage",
    settles_after=timedelta(hours=26),
    tally=_messages,
)
DAILY = (ANSWERS, MESSAGES)
STATES = (("choices", (Subject.CHOICES, Subject.PATIENTS), _choices), ("records", (Subject.RECORDS,), _records))
STATES_EVERY = timedelta(hours=1)


def roll_up(*, seconds: float) -> int:
    """Count what came since, for about so long; how many rows and days that was. The rest waits for the next run."""
    until = time.monotonic() + seconds
    done = 0
    for source in NUMBERED:
        while count := figures.carry_on(source):
            done += count
            if time.monotonic() >= until:
                break
    for daily in DAILY:
        done += figures.recount(daily)
    for name, subjects, fill in STATES:
        done += figures.state(name, subjects, fill, every=STATES_EVERY)
    return done


def counted(sources: Iterable[str] = ("log",)) -> datetime | None:
    """Up to when these sources are counted; None: not yet."""
    return figures.counted_at(list(sources))
