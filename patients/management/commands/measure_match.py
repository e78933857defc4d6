"""measure_match FILE: how long the index takes to find who is meant, for each Patient of a file; nothing is stored."""

from __future__ import annotations

import json
import statistics
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection

from patients import queries
from patients.reading import read

_WAIT_S = 600


class Command(BaseCommand):
    """The engine alone: blocking, scores, persons; without HTTP, consent and audit. For `./hub bench index`."""

    help = "Time the index's own matching for the Patients of a file; prints times, never persons."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """FILE."""
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        """Each Patient once to warm up, once to be timed, when the tables have been gone over after an import."""
        waited = _settled()
        asked = [line.demographics for line in read(options["file"], authority=None) if not line.reason]
        for demographics in asked[:50]:
            queries.candidates(demographics)
        took: list[float] = []
        found = 0
        cpu, start = time.process_time(), time.perf_counter()
        for demographics in asked:
            began = time.perf_counter()
            found += len(queries.candidates(demographics))
            took.append(time.perf_counter() - began)
        used, elapsed = time.process_time() - cpu, time.perf_counter() - start
        took.sort()
        self.stdout.write(
            json.dumps(
                {
                    "cpu_ms": round(used / len(took) * 1000, 3),
                    "rate_per_s": round(len(took) / elapsed, 1),
                    "p50_ms": round(statistics.median(took) * 1000, 3),
                    "p99_ms": round(took[min(len(took) - 1, int(len(took) * 0.99))] * 1000, 3),
                    "candidates": found / len(took),
                    "waited_s": waited,
                }
            )
        )


def _settled() -> int:
    """Wait until no table is being gone over, ten minutes at most; gives the seconds."""
    began = time.monotonic()
    quiet = 0
    while quiet < 3 and time.monotonic() - began < _WAIT_S:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_progress_vacuum")
            quiet = 0 if cursor.fetchone()[0] else quiet + 1
        time.sleep(1)
    return round(time.monotonic() - began)
