"""import_patients FILE --participant ID --out LINKS [--columns MAP.json]: bulk import of demographics."""

from __future__ import annotations

import json
import os
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hie.standards.errors import HubError
from patients.import_runs import write_links
from patients.importing import import_file
from patients.models import ImportRun


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
        """Import, showing how far it is, then write LINKS in one piece; exit 1 on any error of the file.

        Repeating an import that broke off goes on where it was: what is stored already is ``unchanged``.
        """
        shown = _Shown(self.stderr if options["verbosity"] else None)
        try:
            columns = read_columns(options["columns"])
            run = import_file(
                options["file"], participant_id=options["participant"], columns=columns, progress=shown.progress
            )
        except HubError as error:
            raise CommandError(str(error)) from error
        finally:
            shown.close()
        out: Path = options["out"]
        part = out.with_name(out.name + ".part")
        with part.open("w", encoding="utf-8") as stream:
            write_links(run.pk, stream)
        os.replace(part, out)
        self.stdout.write(_counts(run))


def _counts(run: ImportRun) -> str:
    names = ("new", "linked", "review", "updated", "refused")
    return ", ".join([f"{run.read} read", *(f"{n} {name}" for name in names if (n := getattr(run, name)))])


class _Shown:
    """Progress on the error stream: one line, rewritten on a terminal, else every ten seconds."""

    def __init__(self, out: Any) -> None:
        self.out = out
        self.at = time.monotonic()
        self.open = False

    def progress(self, run: ImportRun) -> None:
        if self.out is None:
            return
        live = self.out.isatty()
        if time.monotonic() - self.at < (0.5 if live else 10):
            return
        self.at = time.monotonic()
        self.out.write(("\r\x1b[K" if live else "") + _counts(run), ending="" if live else "\n")
        self.out.flush()
        self.open = live

    def close(self) -> None:
        if self.open:
            self.out.write("")


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
