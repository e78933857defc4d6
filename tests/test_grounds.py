"""A ground is the same for every test that begins with it, and there for no other."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from hie.directory import queries as directory
from hie.directory import registration
from hie.directory.models import Participant
from tests.directory.forms import clinic, file, hospital
from tests.grounds import ground


@ground
def a_clinic() -> list[str]:
    """The clinic alone; the names of all there are."""
    registration.apply(file(clinic()))
    return ["org-clinic"]


@pytest.mark.django_db
@pytest.mark.parametrize("turn", ["first", "next"])
def test_what_a_test_does_to_its_ground_is_gone_for_the_next(a_clinic: list[str], turn: str) -> None:
    assert list(Participant.objects.values_list("id", "status")) == [("org-clinic", "active")]
    assert a_clinic == list(directory.participants())
    registration.suspend("org-clinic", reason="test", actor="test")
    registration.apply(file(hospital()))
    a_clinic.append("org-hospital")
    assert a_clinic == sorted(directory.participants())


@pytest.mark.django_db
def test_a_test_without_a_ground_finds_nothing_of_the_last() -> None:
    assert not Participant.objects.exists()
    assert not directory.participants()


@pytest.mark.django_db(transaction=True)
def test_the_ground_of_a_test_that_commits_is_committed(a_clinic: list[str]) -> None:
    apart: Any = connection.copy()
    try:
        with apart.cursor() as cursor:
            cursor.execute("SELECT id FROM directory_participant")
            assert [name for (name,) in cursor.fetchall()] == a_clinic
    finally:
        apart.close()
