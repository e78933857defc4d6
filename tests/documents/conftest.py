"""A repository in a folder of its own, and two patients known to the index."""

from __future__ import annotations

from pathlib import Path

import pytest

from documents.metadata import CX
from patients.models import Link, PatientIdentifier, Person, SourceRecord
from tests.documents.samples import ALICE, ALICE_ELSEWHERE, BOB


@pytest.fixture(autouse=True)
def store_folder(settings: object, tmp_path: Path) -> Path:
    """The document store of this test."""
    settings.DOCUMENT_STORE = "folder"  # type: ignore[attr-defined]  # pytest-django's settings
    settings.DOCUMENT_DIR = tmp_path / "documents"  # type: ignore[attr-defined]  # pytest-django's settings
    settings.DOCUMENT_KEYS = {"k1": b"1" * 32}  # type: ignore[attr-defined]  # pytest-django's settings
    settings.DOCUMENT_KEYS_FILE = None  # type: ignore[attr-defined]  # pytest-django's settings
    return tmp_path / "documents"


@pytest.fixture
def patients(db: None) -> dict[CX, int]:
    """Row ids of Alice's two identifiers and Bob's one."""
    return make_patients()


def make_patients() -> dict[CX, int]:
    """Alice is known in two domains, Bob in one."""
    found: dict[CX, int] = {}
    for identifiers in ((ALICE, ALICE_ELSEWHERE), (BOB,)):
        person = Person.objects.create()
        for cx in identifiers:
            record = SourceRecord.objects.create(participant_id="org-clinic")
            Link.objects.create(source_record=record, person=person)
            found[cx] = PatientIdentifier.objects.create(
                authority=cx.authority, value=cx.value, source_record=record
            ).pk
    return found
