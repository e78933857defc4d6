"""import_patients FILE --participant ID --out LINKS [--columns MAP.json]: bulk import of demographics."""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hie.standards.errors import HubError
from patients.importing import import_file, write_links


class Command(BaseCommand):
    """Imports NDJSON of FHIR Patients, or CSV with a column map; plain or gzip."""

    help = "Import a participant's patients from NDJSON (FHIR Patient) or CSV, and write what became of each line."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """FILE, --participant, --out, --columns."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--participant", required=True)
        parser.add_argument("--out", required=True, type=Path)
        parser.add_argument("--columns", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        """Import, then write LINKS in one piece; exit 1 and nothing stored on any error of the file."""
        try:
            columns = read_columns(options["columns"])
            outcomes = import_file(options["file"], participant_id=options["participant"], columns=columns)
        except HubError as error:
            raise CommandError(str(error)) from error
        out: Path = options["out"]
        part = out.with_name(out.name + ".part")
        with part.open("w", encoding="utf-8") as stream:
            write_links(outcomes, stream)
        os.replace(part, out)
        counts = Counter(item.outcome for item in outcomes)
        self.stdout.write(", ".join([f"{len(outcomes)} read", *(f"{n} {name}" for name, n in sorted(counts.items()))]))


def read_columns(path: Path | None) -> dict[str, Any] | None:
    """The column map of a JSON file, or None.

    Raises:
        CommandError: it is not a JSON object.
    """
    if path is None:
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} cannot be read as JSON") from error
    if not isinstance(found, dict):
        raise CommandError(f"{path} must hold a JSON object")
    return found
