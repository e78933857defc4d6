"""links --out FILE: every source record's identifier and its person."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection, transaction

from hie.standards.demographics import system_of
from patients.identifiers import HUB
from patients.store import CURRENT


class Command(BaseCommand):
    """Writes ``{"identifier", "person"}`` a line, by authority and value; the hub's own anchors are left out."""

    help = "Write the identifier and person of every source record."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """--out."""
        parser.add_argument("--out", required=True, type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        """One pass with a server-side cursor: memory does not grow with the index."""
        count = 0
        opened = options["out"].open("w", encoding="utf-8")
        with opened as out, transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "DECLARE links NO SCROLL CURSOR FOR SELECT i.authority, i.value, l.person_id"  # noqa: S608
                " FROM patients_patientidentifier i JOIN patients_sourcerecord r ON r.id = i.source_record_id"
                f" JOIN patients_link l ON l.source_record_id = r.id AND {CURRENT}"
                " WHERE r.participant_id <> %s ORDER BY i.authority, i.value",
                [HUB],
            )
            while True:
                cursor.execute("FETCH 5000 FROM links")
                rows = cursor.fetchall()
                if not rows:
                    break
                for authority, value, person in rows:
                    line = {"identifier": f"{system_of(authority)}|{value}", "person": str(person)}
                    out.write(json.dumps(line, ensure_ascii=False) + "\n")
                count += len(rows)
        self.stdout.write(f"{count} identifiers")
