"""The registration's codes are those that decisions know."""

from __future__ import annotations

import json
from pathlib import Path

from hie.directory import codes

TABLE = json.loads((Path(__file__).parents[2] / "consent/data/codes.json").read_text())


def test_purposes_labels_and_roles_are_those_of_the_consent_tables():
    assert set(TABLE["purposeParent"]) == codes.PURPOSES
    assert set(TABLE["labelParent"]) - {"42CFRPart2", "NOPAT"} == codes.LABELS - {"42CFRPart2", "NOPAT"}
    assert set(TABLE["roles"]) == codes.ROLES
