"""`./hub audit_append`: how fast the log takes events, for `./hub bench audit`; never in production."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from hie.audit.recorder import DisclosureDraft, EventDraft, EventType, write
from hie.standards.facts import Caller


class Command(BaseCommand):
    help = "Appends events with one disclosure each, one transaction an event, and prints what that cost as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--events", type=int, default=2000)

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError("the log of a production hub holds what happened, nothing else")
        people = [uuid.uuid4() for _ in range(50)]
        caller = Caller(
            participant_id="bench",
            organization_id="bench",
            client_id="bench",
            user_id="Practitioner/bench",
            user_name="Bench",
            role="physician",
            purpose="TREAT",
        )
        took: list[float] = []
        began, used = time.perf_counter(), time.process_time()
        for number in range(options["events"]):
            one = time.perf_counter()
            disclosure = DisclosureDraft(document_id=str(uuid.uuid4()), custodian="bench", title="note", rule="F1")
            draft = EventDraft(
                kind=EventType.RETRIEVE_DOCUMENT,
                caller=caller,
                person_id=people[number % len(people)],
                rule="F1",
                disclosures=(disclosure,),
            )
            with transaction.atomic():
                write([draft])
            took.append(time.perf_counter() - one)
        elapsed, used = time.perf_counter() - began, time.process_time() - used
        took.sort()
        answer = {
            "cpu_ms": round(used / len(took) * 1000, 3),
            "rate_per_s": round(len(took) / elapsed, 1),
            "p50_ms": round(took[len(took) // 2] * 1000, 3),
            "p99_ms": round(took[int(len(took) * 0.99)] * 1000, 3),
        }
        self.stdout.write(json.dumps(answer))
