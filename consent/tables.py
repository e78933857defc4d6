"""Code tables in effect: shipped as data, overridable by rows, versioned."""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.utils import timezone

from consent.engine import Tables
from consent.labelling import LabelTables
from consent.models import CodeTable
from hie.terminology import local_codes

_DATA = Path(__file__).parent / "data"


@lru_cache(maxsize=8)
def shipped(name: str) -> dict[str, Any]:
    """The data file that comes with the hub: ``codes``, ``labels`` or ``jurisdictions``."""
    data: dict[str, Any] = json.loads((_DATA / f"{name}.json").read_text(encoding="utf-8"))
    return data


def in_effect(name: str, at: datetime | None = None) -> dict[str, Any]:
    """A table with the newest override in effect laid over it, member by member; one statement."""
    row = CodeTable.objects.filter(name=name, effective_from__lte=at or timezone.now()).order_by("-version").first()
    return {**shipped(name), **row.body} if row is not None else shipped(name)


def codes(at: datetime | None = None) -> Tables:
    """Purposes, labels, floors and roles in effect; one statement."""
    return Tables.from_json(in_effect("codes", at))


def label_tables(at: datetime | None = None) -> LabelTables:
    """The labelling rules in effect, compiled; three statements."""
    return compiled_labels(in_effect("labels", at), codes(at))


def compiled_labels(body: dict[str, Any], tables: Tables) -> LabelTables:
    """Labelling rules with what local codes mean by decision; one statement.

    Raises:
        ValueError: a rule names a label outside the table.
    """
    return LabelTables.from_json(body, tables, same_as=local_codes.label_codes())
