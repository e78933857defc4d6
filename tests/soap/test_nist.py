"""The 54 NIST tests over the wire: 45 by their plans, eight as their readmes tell, one argued."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hie.directory import registration
from hie.exchange import feed
from hie.standards.demographics import Demographics, HumanName, Identifier
from hie.trust import saml
from tests.directory.forms import clinic, file, hospital
from tests.exchange.world import CLINIC_AUTHORITY, caller
from tests.soap import keys, nist, wire, world
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

BY_HAND = ("12029a", "12037", "12038", "12083")
"""What a readme tells a person to do with a repository of his own; done below."""

ASSERTED = ("11990_expired", "11990_unsigned", "11990_withauthzconsent", "11990eval_valid")
"""What is sent with an assertion, by the name at the end of the test; done below."""

ARGUED = ("11965",)
"""What is argued in docs/reference/conformance.md."""

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


OF_CLINIC = {"certificates": [keys.CLINIC.pem], "default_role": "physician", "default_purpose": "TREAT"}


@pytest.fixture
def tool(hub: None, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nist.Tool:
    """The tool beside an empty registry."""
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"
    registration.apply(file(clinic(**OF_CLINIC), hospital(users=[])))
    wire.real(monkeypatch)
    system = Caller(token=trust.token(), address="192.0.2.7")
    made = nist.Tool(
        send=wire.sender(system), new_patient=feed_somebody, repository_unique_id=settings.REPOSITORY_UNIQUE_ID
    )
    made.patient = feed_somebody()
    made.patients = {number: feed_somebody() for number in ("15817b", "15819", "15820")}
    return made


@pytest.mark.parametrize("test", [test for test in TESTS if test not in (*BY_HAND, *ASSERTED, *ARGUED)])
def test_the_hub_does_as_the_plan_expects(test: str, tool: nist.Tool) -> None:
    for before in BEFORE.get(test, ()):
        if before == "12374":
            tool.patient = tool.new_patient()
        tool.run(before)
    tool.run(test)


def test_a_repository_gives_its_own_documents_as_the_readmes_tell(tool: nist.Tool) -> None:
    # 12029a: to the repository, in the registry, from the repository.
    tool.run("12029")
    repository, (one, two) = tool.repository_unique_id, _provided_twice(tool)
    # 12038, and 12083 over TLS: who holds a certificate is known by what the proxy passes on.
    for test, sender in (("12038", tool.send), ("12083", wire.sender(Caller(certificate=keys.CLINIC.header)))):
        tool.send, tool.by_hand = sender, {"REPID": repository, "DOCUID": one}
        tool.run(test)
    # 12037: the same with a second element.
    _, documents = tool.send(world.RETRIEVE, world.retrieval((repository, one), (repository, two)), {})
    assert documents == {one: tool.sent[one], two: tool.sent[two]}


def _provided_twice(tool: nist.Tool) -> list[str]:
    """The uniqueIds of two documents provided by the plan of 12029."""
    for _ in "12":
        tool.run("12029")
    return list(tool.sent)[-2:]


CONSENT = {"urn:ihe:iti:xua:2012:acp": ["urn:oid:2.999.10.1.7"], "urn:ihe:iti:bppc:2007:docid": ["2.999.10.1.8"]}
USERS: dict[str, Callable[[], str]] = {
    "expired": lambda: keys.sign(keys.assertion(not_on_or_after=keys.instant(minutes=-1))),
    "unsigned": keys.assertion,
    "withauthzconsent": lambda: keys.sign(keys.assertion(attributes=CONSENT)),
    "secondrole": lambda: keys.sign(keys.assertion(attributes={saml.ROLE: ["physician", "nurse"]})),
    "unknownaudience": lambda: keys.sign(keys.assertion(audience="https://unknown.example")),
    "secondpurposeofuse": lambda: keys.sign(keys.assertion(attributes={saml.PURPOSE: ["TREAT", "HOPERAT"]})),
    "secondauthncontext": lambda: keys.sign(keys.assertion(signed_in=keys.signed_in(contexts=2))),
    "invalidauthnstatement": lambda: keys.sign(keys.assertion(signed_in=keys.signed_in(contexts=0))),
    "notyetvalid": lambda: keys.sign(keys.assertion(not_before=keys.instant(minutes=5))),
}
"""The assertion that each of the tool's users gets; all but `withauthzconsent` are bad."""


def test_assertions_are_judged_as_the_plans_expect(tool: nist.Tool) -> None:
    with_certificate = Caller(certificate=keys.CLINIC.header)
    for user, made in USERS.items():
        tool.send = wire.sender(with_certificate, lambda made=made: keys.security(made()))
        plan = f"11990_{user}" if f"11990_{user}" in TESTS else "11990_expired"
        tool.run(plan)
        # The kit has the evaluations of all, and the submissions of three.
        tool.given[f"11990_{user}", "submit", "submit"] = tool.given[plan, "submit", "submit"]
    tool.send = wire.sender(with_certificate)
    tool.run("11990eval_valid")


def test_every_plan_is_run_or_says_why_not() -> None:
    assert len(TESTS) == 54
    assert {*BY_HAND, *ASSERTED, *ARGUED} <= set(TESTS)
    assert len(ARGUED) <= 3
