"""``./hub rotate_keys``: a new document key; data keys are wrapped anew while the hub runs."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from documents import keys, repository


class Command(BaseCommand):
    """Add a document key where the hub keeps them, then re-wrap every data key under the current one."""

    help = "new document key; re-wraps the keys of stored documents, content is not touched"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Options."""
        parser.add_argument("--only-rewrap", action="store_true", help="no new key: use the current one")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the current key's id and how many keys were wrapped anew."""
        if not options["only_rewrap"]:
            added = keys.add_key()
            if added is None:
                self.stdout.write("keys come from HIE_DOCUMENT_KEYS: put the new one in front there; re-wrapping only")
        total = repository.rotate()
        self.stdout.write(f"current document key {keys.document_keys().current}; {total} keys re-wrapped")
