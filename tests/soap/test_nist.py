"""The 54 NIST tests over the wire, one result a test; those of another's system say why they are not run here."""

from __future__ import annotations

import itertools
import secrets
from pathlib import Path
from typing import Any

import pytest

from hie.exchange import feed
from hie.standards.demographics import Demographics, HumanName, Identifier
from tests.exchange.world import CLINIC_AUTHORITY, caller, exchange
from tests.soap import nist, wire
from tests.soap.conftest import Caller
from tests.trust import conftest as trust

pytestmark = [pytest.mark.django_db, pytest.mark.shared]
_numbers = itertools.count(1)

BEFORE = {
    "11901": ["12346"], "11902": ["12346"], "11903": ["12346"], "11904": ["12346"], "11905": ["12346"],
    "11906": ["12346"], "11907": ["12346"], "11908": ["12346"], "11909": ["12346"],
    "12364": ["12361"], "12368": ["12346", "12374"],
}  # fmt: skip
"""What a test relies on."""

NOT_HERE = {
    "11965": "no plan: the tool's own check of a source",
    "11990_expired": "an assertion on the wire", "11990_unsigned": "an assertion on the wire",
    "11990_withauthzconsent": "an assertion on the wire", "11990eval_valid": "an assertion on the wire",
    "12029a": "no plan", "12037": "no plan", "12038": "another's integrated repository", "12083": "another's integrated repository",
}  # fmt: skip

TESTS = sorted(path.name for path in nist.KIT.iterdir()) if nist.KIT.exists() else []


def feed_somebody() -> str:
    """A patient of the clinic, by identifier."""
    number = next(_numbers)
    demographics = Demographics(
        names=(HumanName(family=secrets.token_hex(6), given=(secrets.token_hex(5),)),),
        birth_date=f"{1930 + 7 * number % 80}-0{1 + number % 9}-1{number % 10}",
        gender="female",
        identifiers=(Identifier(system=f"urn:oid:{CLINIC_AUTHORITY}", value=f"N{number}"),),
    )
    feed.feed(feed.Revision(authority=CLINIC_AUTHORITY, value=f"N{number}", demographics=demographics), caller())
    return f"N{number}^^^&{CLINIC_AUTHORITY}&ISO"


@pytest.fixture
def tool(hub: None, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nist.Tool:
    """The tool beside an empty registry."""
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"
    exchange()
    wire.real(monkeypatch)
    clinic = Caller(token=trust.token(), address="192.0.2.7")
    made = nist.Tool(
        send=wire.sender(clinic), new_patient=feed_somebody, repository_unique_id=settings.REPOSITORY_UNIQUE_ID
    )
    made.patient = feed_somebody()
    made.patients = {number: feed_somebody() for number in ("15817b", "15819", "15820")}
    return made


@pytest.mark.parametrize("test", [test for test in TESTS if test not in NOT_HERE])
def test_the_hub_does_as_the_plan_expects(test: str, tool: nist.Tool) -> None:
    for before in BEFORE.get(test, ()):
        if before == "12374":
            tool.patient = tool.new_patient()
        tool.run(before)
    tool.run(test)


def test_every_plan_is_run_or_says_why_not() -> None:
    assert len(TESTS) == 54
    assert set(NOT_HERE) <= set(TESTS)
