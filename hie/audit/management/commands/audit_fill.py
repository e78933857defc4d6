"""`./hub audit_fill`: a log of many invented events, for `./hub bench log`; never in production."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction

# Purposes and kinds as a busy exchange has them: mostly treatment, a few refusals, some work of machines.
_EVENTS = """
INSERT INTO audit_event ("id", "at", "kind", "action", "outcome", "participant", "organization", "root_organization",
    "organization_name", "organization_oid", "client", "user_ref", "role", "purpose", "on_behalf_of", "intermediary",
    "relationship", "person_id", "patient_identifier", "rule", "reason", "request_id", "correlation", "token_id",
    "network_address", "face", "detail", "denied", "decision")
SELECT md5(%(seed)s || n)::uuid, now() - (n::float8 / %(count)s) * make_interval(days => %(days)s),
    (ARRAY['ITI-68','ITI-67','ITI-18','ITI-43','patient-read','ITI-81'])[1 + n %% 6], 'R',
    CASE WHEN n %% 37 = 0 THEN 4 ELSE 0 END,
    'org-' || (n %% %(organizations)s), CASE WHEN n %% 3 = 0 AND %(machines)s THEN 'hub' ELSE 'org-' || (n %% %(organizations)s) END,
    'org-' || (n %% %(organizations)s), 'Place ' || (n %% %(organizations)s), '', 'client', 
    CASE WHEN n %% 3 = 0 AND %(machines)s THEN 'Device/hub' ELSE 'Practitioner/' || (n * 7919 %% %(users)s) END,
    'physician', (ARRAY['TREAT','TREAT','TREAT','TREAT','HPAYMT','HOPERAT','TREAT','TREAT','HRESCH','PUBHLTH'])[1 + n / 7 %% 10], '', '', '',
    COALESCE(%(person)s::uuid, md5('person' || (n * 31 %% %(people)s))::uuid), 'a' || (n * 31 %% %(people)s),
    CASE WHEN n %% 37 = 0 THEN 'D3' ELSE 'F1' END, '', 'request-' || %(seed)s || n,
    CASE WHEN n %% 5 = 0 THEN 'question-' || %(seed)s || (n / 25) ELSE '' END, '', '10.0.0.1', 'fhir', '{}', '[]', '{}'
FROM generate_series(%(first)s::bigint, %(last)s::bigint) n
"""
_DISCLOSURES = """
INSERT INTO audit_disclosure ("id", "event_id", "at", "n", "person_id", "document_id", "unique_id", "custodian", "what",
    "labels", "confidentiality", "rule", "reason", "basis", "obligations", "recipient")
SELECT md5('d' || e.id)::uuid, e.id, e."at", 0, e.person_id, md5('document' || e.person_id || ascii(e.user_ref) || length(e.request_id))::uuid::text,
    '', e.organization, 'bytes', '[]', 'N', e.rule, '', '[]', '[]', ''
FROM audit_event e WHERE e.id = ANY(SELECT md5(%(seed)s || n)::uuid FROM generate_series(%(first)s::bigint, %(last)s::bigint) n)
    AND e.outcome = 0
"""
_UNQUEUE = """
DELETE FROM audit_unsealed WHERE event_id = ANY(SELECT md5(%(seed)s || n)::uuid FROM generate_series(%(first)s::bigint, %(last)s::bigint) n)
"""


class Command(BaseCommand):
    help = "Fills the log with invented events that are never sealed, and prints how many and how long as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--events", type=int, required=True)
        parser.add_argument("--person", default=None, help="whose log; without it those of many")
        parser.add_argument("--days", type=int, default=700, help="over how many days until now they are spread")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError("the log of a production hub holds what happened, nothing else")
        count, batch = options["events"], 100_000
        values = {
            "seed": uuid.uuid4().hex,
            "count": max(1, count),
            "days": options["days"],
            "person": options["person"],
            "people": max(1, count // 40),
            "organizations": 12 if options["person"] else 200,
            "users": 60 if options["person"] else 20_000,
            "machines": bool(options["person"]),
        }
        began = time.perf_counter()
        with connection.cursor() as cursor:
            cursor.execute("SELECT audit_make_partitions((CURRENT_DATE - make_interval(days => %s))::date, %s)", [options["days"], options["days"] // 28 + 3])  # fmt: skip
            for first in range(1, count + 1, batch):
                span = values | {"first": first, "last": min(count, first + batch - 1)}
                with transaction.atomic():
                    cursor.execute(_EVENTS, span)
                    cursor.execute(_DISCLOSURES, span)
                    # Sealing them would go on beside what is measured.
                    cursor.execute(_UNQUEUE, span)
            cursor.execute("ANALYZE audit_event, audit_disclosure")
        self.stdout.write(json.dumps({"events": count, "seconds": round(time.perf_counter() - began, 1)}))
