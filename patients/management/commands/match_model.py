"""match_model list|train|shadow VERSION --out FILE|activate VERSION: the versions of the match weights."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hie.standards.errors import HubError
from patients import maintenance, shadow
from patients.models import MatchModel


class Command(BaseCommand):
    """Trains, runs in shadow and activates match models."""

    help = "List match models, train one on the index, list whom one would merge or split, make one live."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What to do, and with which version."""
        acts = parser.add_subparsers(dest="act", required=True)
        acts.add_parser("list")
        acts.add_parser("train")
        run = acts.add_parser("shadow")
        run.add_argument("version")
        run.add_argument("--out", type=Path, required=True)
        run.add_argument("--sample", type=int, default=shadow.SAMPLE, help="records looked at; whole persons")
        acts.add_parser("activate").add_argument("version")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; what a model would change is written as ``{"merge": [persons]}`` or ``{"split": person, "into": …}``."""
        try:
            getattr(self, f"_{options['act']}")(options)
        except HubError as error:
            raise CommandError(str(error)) from error

    def _list(self, options: dict[str, Any]) -> None:
        for row in MatchModel.objects.order_by("created_at", "pk"):
            self.stdout.write(f"{row.version} {row.status} {json.dumps(row.statistics, sort_keys=True)}")
        if not MatchModel.objects.filter(status=MatchModel.Status.ACTIVE).exists():
            self.stdout.write("the built-in model is live")

    def _train(self, options: dict[str, Any]) -> None:
        row = maintenance.train()
        if row is None:
            raise CommandError("there are too few records to train on")
        self.stdout.write(f"{row.version} {row.status} {json.dumps(row.statistics, sort_keys=True)}")

    def _shadow(self, options: dict[str, Any]) -> None:
        found = shadow.run(options["version"], sample=options["sample"])
        with options["out"].open("w", encoding="utf-8") as out:
            for persons in found.merged:
                out.write(json.dumps({"merge": [str(person) for person in persons]}) + "\n")
            for person, parts in found.split:
                out.write(json.dumps({"split": str(person), "into": parts}) + "\n")
        self.stdout.write(json.dumps(found.statistics(), sort_keys=True))

    def _activate(self, options: dict[str, Any]) -> None:
        shadow.activate(options["version"])
        self.stdout.write(f"{options['version']} is live")
