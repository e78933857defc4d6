"""match_pairs FILE --threshold P --out PAIRS [--persons OUT]: scored pairs of a file, nothing stored."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hie.standards.demographics import Identifier
from hie.standards.errors import HubError
from patients import bulk, clustering, packing, setwise, training
from patients.management.commands.import_patients import read_columns
from patients.matching import Model, Scorer, default_model, probability
from patients.normalise import Features, features
from patients.reading import Line, read


class Command(BaseCommand):
    """Scores the pairs of a file by a model trained on it (the built-in one where that is too few or refused)."""

    help = "Write the pairs of a file that are at least as probable as the threshold; nothing is stored."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """FILE, --threshold, --out, --columns, --persons."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--threshold", type=float, default=0.5)
        parser.add_argument("--out", required=True, type=Path)
        parser.add_argument("--columns", type=Path)
        parser.add_argument("--persons", type=Path, help="write which records are one person, by each kind of link")

    def handle(self, *args: Any, **options: Any) -> None:
        """A pair under the twin or junior rule is scored as `$match` scores it, far below even odds.

        `--persons`: ``{"identifier", "certain", "probable"}`` a line, the numbers of the persons that automatic
        links make, and that links at *probable* would make.
        """
        if not 0 <= options["threshold"] <= 1:
            raise CommandError("--threshold must be between 0 and 1")
        try:
            lines = list(read(options["file"], authority=None, columns=read_columns(options["columns"])))
        except HubError as error:
            raise CommandError(str(error)) from error
        # What comes twice in one file is a revision of itself, as in an import: the last one is compared.
        usable = {line.key: line for line in lines if not line.reason}
        taken = list(usable.values())
        records = packing.Records(compared(taken))
        some = bulk.pairs_of(records)
        model, told = self._model(records, some)
        scorer = Scorer(model)
        found = setwise.score(scorer, records, some.first, some.second)
        written = 0
        with options["out"].open("w", encoding="utf-8") as out:
            for (a, b), pair_bits in zip(some, found.clustering.tolist(), strict=True):
                chance = probability(pair_bits)
                if chance >= options["threshold"]:
                    first, second = sorted((taken[a].key, taken[b].key))
                    line = {"a": first, "b": second, "score": round(chance, 9)}
                    out.write(json.dumps(line, ensure_ascii=False) + "\n")
                    written += 1
        if options["persons"]:
            certain = _persons(records, some, found, found.automatic, scorer, clustering.AUTOMATIC)
            probable = _persons(records, some, found, (found.score >= 0) & ~found.vetoed, scorer, clustering.PROBABLE)
            with options["persons"].open("w", encoding="utf-8") as out:
                for item, one, other in zip(taken, certain, probable, strict=True):
                    person = {"identifier": item.key, "certain": one, "probable": other}
                    out.write(json.dumps(person, ensure_ascii=False) + "\n")
        refused = sum(bool(line.reason) for line in lines)
        self.stdout.write(f"{len(taken)} records, {written} pairs" + (f", {refused} lines refused" if refused else ""))
        self.stdout.write(told)

    def _model(self, records: Sequence[Features], some: bulk.Pairs) -> tuple[Model, str]:
        if len(records) < training.MIN_RECORDS:
            return default_model(), f"model: built-in; fewer than {training.MIN_RECORDS} records"
        began = time.perf_counter()
        trained = training.train(records, some, version="file")
        told = f"trained in {time.perf_counter() - began:.1f} s, estimated wrong share {trained.wrong_share:.4f}"
        if trained.acceptable:
            return trained.model, f"model: {told}"
        return default_model(), f"model: built-in; {told}: refused"


def compared(lines: Sequence[Line]) -> list[Features]:
    """What is compared of each line. An identifier that names the records, each by a value of its own, says nothing."""
    named = [next((item for item in line.demographics.identifiers if item.value), None) for line in lines]
    values: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    for item in named:
        if item is not None:
            values.setdefault(item.authority, set()).add(item.value)
            counts[item.authority] = counts.get(item.authority, 0) + 1
    unique = {system for system, held in values.items() if len(held) == counts[system] > 1}

    def own(item: Identifier | None) -> tuple[str, str] | None:
        return (item.authority, item.value) if item is not None and item.authority in unique else None

    return [features(line.demographics, own=own(item)) for line, item in zip(lines, named, strict=True)]


def _persons(
    records: Sequence[Features],
    some: bulk.Pairs,
    found: setwise.Scored,
    chosen: setwise.Bools,
    scorer: Scorer,
    test: clustering.Test,
) -> list[int]:
    """The number of each record's person: the position of its first record."""
    links = list(
        zip(some.first[chosen].tolist(), some.second[chosen].tolist(), found.score[chosen].tolist(), strict=True)
    )
    out = list(range(len(records)))
    for members in clustering.cluster(
        len(records), links, lambda a, b: scorer.score(records[a], records[b]).clustering, test=test
    ):
        for position in members:
            out[position] = members[0]
    return out
