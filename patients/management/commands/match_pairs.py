"""match_pairs FILE --threshold P --out PAIRS: scored pairs of a file, nothing stored."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hie.standards.errors import HubError
from patients import blocking, training
from patients.management.commands.import_patients import read_columns
from patients.matching import Scorer, default_model, probability
from patients.normalise import features
from patients.reading import read


class Command(BaseCommand):
    """Scores the pairs of a file by a model trained on it (the built-in one where that is too few or refused)."""

    help = "Write the pairs of a file that are at least as probable as the threshold; nothing is stored."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """FILE, --threshold, --out, --columns."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--threshold", type=float, default=0.5)
        parser.add_argument("--out", required=True, type=Path)
        parser.add_argument("--columns", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        """A pair under the twin or junior rule is scored below even odds, as `$match` does."""
        if not 0 <= options["threshold"] <= 1:
            raise CommandError("--threshold must be between 0 and 1")
        try:
            lines = list(read(options["file"], authority=None, columns=read_columns(options["columns"])))
        except HubError as error:
            raise CommandError(str(error)) from error
        taken = [line for line in lines if not line.reason]
        records = [features(line.demographics) for line in taken]
        pairs = list(blocking.pairs(records))
        model = default_model()
        if len(records) >= training.MIN_RECORDS:
            trained = training.train(records, pairs, version="file")
            if trained.acceptable:
                model = trained.model
        scorer = Scorer(model)
        written = 0
        with options["out"].open("w", encoding="utf-8") as out:
            for a, b in pairs:
                verdict = scorer.score(records[a], records[b])
                bits = min(verdict.score, -1.0) if verdict.vetoed else verdict.score
                found = probability(bits)
                if found >= options["threshold"]:
                    first, second = sorted((taken[a].key, taken[b].key))
                    line = {"a": first, "b": second, "score": round(found, 9)}
                    out.write(json.dumps(line, ensure_ascii=False) + "\n")
                    written += 1
        refused = len(lines) - len(taken)
        self.stdout.write(f"{len(taken)} records, {written} pairs" + (f", {refused} lines refused" if refused else ""))
