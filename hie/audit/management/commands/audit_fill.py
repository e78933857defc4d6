"""`./hub audit_fill`: a log of many invented events, for `./hub bench log`; never in production.

A month that no event of is there yet is filled beside the log, without indexes, and then joined to it: that builds its
indexes at once and takes a tenth of the time. Each month is one transaction, and what an earlier run with the same numbers
filled is passed over, so a run that was interrupted goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction

_BATCH = 100_000
# Purposes and kinds as a busy exchange has them: mostly treatment, a few refusals, some work of machines.
_EVENTS = """
INSERT INTO {table} ("id", "at", "kind", "action", "outcome", "participant", "organization", "root_organization",
    "organization_name", "organization_oid", "client", "user_ref", "role", "purpose", "on_behalf_of", "intermediary",
    "relationship", "person_id", "patient_identifier", "rule", "reason", "request_id", "correlation", "token_id",
    "network_address", "face", "detail", "denied", "decision")
SELECT md5(%(seed)s || n)::uuid, %(until)s::timestamptz - make_interval(secs => (n - 0.37) / %(count)s * %(days)s * 86400),
    (ARRAY['ITI-68','ITI-67','ITI-18','ITI-43','patient-read','ITI-81'])[1 + n %% 6], 'R',
    CASE WHEN n %% 37 = 0 THEN 4 ELSE 0 END,
    'org-' || (n %% %(organizations)s), CASE WHEN n %% 3 = 0 AND %(machines)s THEN 'hub' ELSE 'org-' || (n %% %(organizations)s) END,
    'org-' || (n %% %(organizations)s), 'Place ' || (n %% %(organizations)s), '', 'client',
    CASE WHEN n %% 3 = 0 AND %(machines)s THEN 'Device/hub' ELSE 'Practitioner/' || (n * 7919 %% %(users)s) END,
    'physician', (ARRAY['TREAT','TREAT','TREAT','TREAT','HPAYMT','HOPERAT','TREAT','TREAT','HRESCH','PUBHLTH'])[1 + n / 7 %% 10], '', '', '',
    COALESCE(%(person)s::uuid, md5('person' || (n * 31 %% %(people)s))::uuid), 'a' || (n * 31 %% %(people)s),
    CASE WHEN n %% 37 = 0 THEN 'D3' ELSE 'F1' END, '', 'request-' || %(seed)s || n,
    CASE WHEN n %% 5 = 0 THEN 'question-' || %(seed)s || (n / 25) ELSE '' END, '', '10.0.0.1', 'fhir', '{{}}', '[]', '{{}}'
FROM generate_series(%(first)s::bigint, %(last)s::bigint) n
"""
# In the order of its keys: a page of the index is then read once, not once a row.
_DISCLOSURES = """
INSERT INTO audit_disclosure ("id", "event_id", "at", "n", "person_id", "document_id", "unique_id", "custodian", "what",
    "labels", "confidentiality", "rule", "reason", "basis", "obligations", "recipient")
SELECT md5('d' || e.id)::uuid, e.id, e."at", 0, e.person_id, md5('document' || e.person_id || ascii(e.user_ref) || length(e.request_id))::uuid::text,
    '', e.organization, 'bytes', '[]', 'N', e.rule, '', '[]', '[]', ''
FROM {table} e WHERE e.outcome = 0{only} ORDER BY e.id
"""
_ONLY = " AND e.id = ANY(SELECT md5(%(seed)s || n)::uuid FROM generate_series(%(first)s::bigint, %(last)s::bigint) n)"
_UNQUEUE = """
DELETE FROM audit_unsealed WHERE event_id = ANY(SELECT md5(%(seed)s || n)::uuid FROM generate_series(%(first)s::bigint, %(last)s::bigint) n)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One kind of events: those of many people, or the many of one. Number n lies so far before the end."""

    seed: str
    count: int
    values: dict[str, Any]

    def numbers(self, low: date, high: date, until: datetime, days: int) -> tuple[int, int]:
        """The first and last number whose time lies in these days (`high` exclusive); first above last for none."""
        day = self.count / days

        def behind(moment: date) -> float:
            return (until - datetime(moment.year, moment.month, moment.day, tzinfo=UTC)) / timedelta(days=1) * day

        # As the statement has it: so no number lies just where two months meet.
        return max(1, int(behind(high) + 0.37) + 1), min(self.count, int(behind(low) + 0.37))


class Command(BaseCommand):
    help = "Fills the log with invented events that are never sealed, and prints how many and how long as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--events", type=int, default=0, help="events of many people")
        parser.add_argument("--person", default=None, help="whose log has --lines besides")
        parser.add_argument("--lines", type=int, default=0, help="events of that one person")
        parser.add_argument("--days", type=int, default=700, help="over how many days they are spread")
        parser.add_argument(
            "--until",
            type=date.fromisoformat,
            default=None,
            help="the day after the last; the same to go on with a run",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError("the log of a production hub holds what happened, nothing else")
        if options["lines"] and not options["person"]:
            raise CommandError("say whose lines: --person")
        last = options["until"] or datetime.now(UTC).date()
        until, days = datetime(last.year, last.month, last.day, tzinfo=UTC), options["days"]
        parts = [part for part in _parts(options) if part.count]
        began, written = time.perf_counter(), 0
        for low, high in _months(until, days):
            written += self._month(low, high, parts, until, days)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE audit_event, audit_disclosure")
        took = round(time.perf_counter() - began, 1)
        self.stdout.write(json.dumps({"events": written, "seconds": took}))

    def _month(self, low: date, high: date, parts: list[Part], until: datetime, days: int) -> int:
        """The events of a month that are not there yet; how many were written."""
        missing: list[dict[str, Any]] = []
        for part in parts:
            first, last = part.numbers(low, high, until, days)
            for start in range(first, last + 1, _BATCH):
                span = {"first": start, "last": min(last, start + _BATCH - 1)}
                if not _is_there(part.seed, start):
                    missing.append(part.values | span | {"until": until, "days": days, "count": part.count})
        if not missing:
            return 0
        table = f"audit_event_{low:%Y%m}"
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s) IS NULL", [table])
            (fresh,) = cursor.fetchone()
            if fresh:
                with transaction.atomic():
                    _fill_beside(cursor, table, low, high, missing)
            else:
                for span in missing:
                    with transaction.atomic():
                        cursor.execute(_EVENTS.format(table="audit_event"), span)
                        cursor.execute(_DISCLOSURES.format(table="audit_event", only=_ONLY), span)
                        # Sealing them would go on beside what is measured.
                        cursor.execute(_UNQUEUE, span)
        return sum(span["last"] - span["first"] + 1 for span in missing)


def _fill_beside(cursor: Any, table: str, low: date, high: date, spans: list[dict[str, Any]]) -> None:
    """A month as a table of its own, then as a part of the log, like `audit_make_partitions` makes one."""
    start, end = f"{low} 00:00:00+00", f"{high} 00:00:00+00"
    cursor.execute("SET LOCAL maintenance_work_mem = '512MB'")
    cursor.execute(f"CREATE TABLE {table} (LIKE audit_event INCLUDING DEFAULTS)")
    for span in spans:
        cursor.execute(_EVENTS.format(table=table), span)
    cursor.execute(_DISCLOSURES.format(table=table, only=""))
    cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT filled CHECK (\"at\" >= '{start}' AND \"at\" < '{end}')")
    cursor.execute(f"ALTER TABLE audit_event ATTACH PARTITION {table} FOR VALUES FROM ('{start}') TO ('{end}')")
    cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT filled")
    cursor.execute("SELECT audit_protect(%s::regclass, false)", [table])


def _is_there(seed: str, number: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT 1 FROM audit_event WHERE id = md5(%s || %s)::uuid)", [seed, str(number)])
        return bool(cursor.fetchone()[0])


def _parts(options: dict[str, Any]) -> Iterator[Part]:
    for count, person in ((options["events"], None), (options["lines"], options["person"])):
        # The same numbers are the same events: what differs in them is another log.
        seed = f"{person or 'many'}-{count}-{options['days']}-"
        values = {
            "seed": seed,
            "person": person,
            "people": max(1, count // 40),
            "organizations": 12 if person else 200,
            "users": 60 if person else 20_000,
            "machines": bool(person),
        }
        yield Part(seed=seed, count=count, values=values)


def _months(until: datetime, days: int) -> Iterator[tuple[date, date]]:
    """First days of the months of this time, each with that of the next, oldest first."""
    low = (until - timedelta(days=days)).date().replace(day=1)
    while low < until.date():
        high = (low + timedelta(days=32)).replace(day=1)
        yield low, high
        low = high
