"""``./hub affinity_domain FILE.xml``: load the code sets of an affinity domain."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hie.standards.errors import HubError
from hie.terminology import affinity_domain
from hie.terminology.models import CodeSet


class Command(BaseCommand):
    """Load a file such as ``spec/affinity-domain/codes.xml``; exit 1 and nothing changed on any error."""

    help = "loads a code set such as spec/affinity-domain/codes.xml"
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The file, the mode of its sets in place of the file's, and whether to leave alone what was loaded before."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--mode", choices=CodeSet.Mode.values)
        parser.add_argument("--unless-loaded", action="store_true", help="do nothing where any set was ever loaded")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line a set."""
        path: Path = options["file"]
        if options["unless_loaded"] and affinity_domain.is_loaded():
            self.stdout.write("sets of codes were loaded before: nothing done")
            return
        try:
            loaded = affinity_domain.load(path.read_bytes(), source=path.name, mode=options["mode"])
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}") from None
        except HubError as error:
            raise CommandError(f"{path}: {error}") from None
        for item in loaded:
            self.stdout.write(f"{item.attribute}: {item.codes} codes, {item.added} new, {item.retired} retired")
