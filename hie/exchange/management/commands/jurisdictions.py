"""Loads jurisdictions: `./hub jurisdictions FILE.json`, in the form of the worked cases' fixture.

A change of a law in force becomes a proposal: `--as USERNAME --reason TEXT` say whose; another person activates it at
the desk.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from consent.errors import JurisdictionRefused, PolicyChanged, PolicyRefused
from hie.exchange import governance
from hie.exchange.access import COMMAND_LINE, Staff
from hie.exchange.errors import AccessRefused
from hie.exchange.staff_pages import roles_of


class Command(BaseCommand):
    """Prints `created|updated|unchanged|kept|proposed|waits CODE` a line, with what there is to say; changes nothing on any error."""

    help = 'Loads jurisdictions from {"jurisdictions": {CODE: {…}}}.'
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The file ("-" for standard input), and who proposes what would change a law in force, and why."""
        parser.add_argument("file", metavar="FILE.json")
        parser.add_argument("--as", dest="username", metavar="USERNAME", default="")
        parser.add_argument("--reason", metavar="TEXT", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        """Load or propose, all or nothing."""
        name = options["file"]
        try:
            data = json.loads(sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes())
        except (OSError, ValueError, RecursionError) as problem:
            raise CommandError(f"{name}: cannot be read as JSON") from problem
        found = data.get("jurisdictions") if isinstance(data, dict) else None
        if not isinstance(found, dict):
            raise CommandError(f"{name}: has no object `jurisdictions`")
        staff = _staff(options["username"]) if options["username"] else None
        try:
            outcomes = governance.load_laws(found, staff=staff, reason=options["reason"])
        except JurisdictionRefused as refusal:
            raise CommandError(f"{refusal.element}: {refusal}") from refusal
        except (PolicyRefused, PolicyChanged) as refusal:
            more = "" if staff is not None else " (whose change is it? --as USERNAME --reason TEXT)"
            raise CommandError(f"{refusal.element}: {refusal}{more}") from refusal
        except AccessRefused as refusal:
            raise CommandError(f"{options['username']} may not change policy") from refusal
        for code, became in outcomes.items():
            self.stdout.write(f"{became.outcome} {code}{f': {became.why}' if became.why else ''}")
        if not {one.outcome for one in outcomes.values()} & {"created", "updated", "proposed"}:
            kept = any(one.outcome == "kept" for one in outcomes.values())
            self.stdout.write(f"nothing to do{' (to go back: --as USERNAME --reason TEXT)' if kept else ''}")


def _staff(username: str) -> Staff:
    user = get_user_model().objects.filter(username=username, is_active=True, is_staff=True).first()
    if user is None:
        raise CommandError(f"{username} is no account of the desk")
    return Staff(user_id=user.get_username(), roles=roles_of(user), account=user.pk, channel=COMMAND_LINE)
