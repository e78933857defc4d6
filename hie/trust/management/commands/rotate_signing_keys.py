"""``./hub rotate_signing_keys``: new keys for access tokens and for this hub as a client; old ones overlap."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from hie.trust import hub_keys


class Command(BaseCommand):
    help = "Make new signing keys; tokens and peers that know the old ones are not cut off."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "ring", nargs="?", choices=[ring.value for ring in hub_keys.Ring], help="tokens, client; default both"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for ring in [options["ring"]] if options["ring"] else hub_keys.Ring:
            self.stdout.write(f"{hub_keys.Ring(ring).value} {hub_keys.rotate(hub_keys.Ring(ring)).kid}")
