"""Every way of the leak table that tells of patients is walked by a test that holds hidden against absent."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping

import pytest

import tests.leaks
from tests.leaks.table import TABLE, Entry, Guarded
from tests.leaks.walking import guards_asked, walked

_ACKNOWLEDGED = "an acknowledgement of the feeder's own record, as ADT^A28, which is walked"

NOT_WALKED: Mapping[tuple[str, str], str] = {
    ("url", "my/helpers/code"): "gives a helper a code of his own account, of no patient",
    (
        "url",
        "my/helpers/name",
    ): "takes a code in of somebody signed in as the patient; the name it shows is the helper's",
    **dict.fromkeys(
        (
            ("url", "my/first-visit"),
            ("url", "my/first-visit/account"),
            ("url", "my/first-visit/provider"),
            ("url", "my/sign-in/provider/back"),
        ),
        "a code that opens nothing, for whatever cause, is one answer: tests/portal/test_first_visit.py",
    ),
    (
        "url",
        "admin/trust/activationcode/give/",
    ): "for the privacy officer, who may see all; tests/portal/test_first_visit.py",
    **{
        ("url", f"my/log/<uuid:event_id>/{name}"): "for the patient alone, who sees all; the API's way is walked"
        for name in ("proof", "proof.json")
    },
    ("url", "api/concerns"): "asked alone of looks that told the asker of the patient: tests/portal/test_concerns.py",
    ("url", "api/concerns/<str:number>/answer"): "as api/concerns",
    ("url", "my/notices/choose"): "the page of my/notices again, which is walked, with what was typed",
    ("task", "exchange.send_mails"): "a mail names no record; what it may still tell of: tests/portal/test_notices.py",
    ("url", "my/alive"): "it takes words in of somebody signed in as the patient, and shows nothing of the record",
    **{
        ("url", f"xds/{name}"): "hands to the transactions, each of which is walked as a way of its own, kind xds"
        for name in ("registry", "repository")
    },
    ("url", "pix"): "hands to the feed of HL7 V3, each message of which is a way of its own, kind xds",
    ("fhir", "Binary create"): "takes bytes in; gives back their name",
    ("url", "api/patients/imports"): "takes a file in; gives back the run's name",
    ("command", "mllp"): "hands each message to what the events of HL7 v2 are walked by",
    ("fhir", "$process-message"): "the feed by message: answered like Patient conditional_update, which is walked",
    ("channel", "source hie.exchange.remote_retrieve.source"): "asked for Binary read, which is walked",
    **{("xds", f"PRPA_IN20130{number}UV02"): _ACKNOWLEDGED for number in (1, 2, 4)},
    **{("hl7v2", f"ADT^{event}"): _ACKNOWLEDGED for event in ("A24", "A37", "A40", "A43", "A47")},
}
"""Guarded ways without a walk, and why nothing can be told there."""


def unwalked(walks: Iterable[tuple[str, str]], table: Mapping[str, Mapping[str, Entry]] = TABLE) -> list[str]:
    """What is wrong with the walks as held against the table."""
    going = set(walks)
    guarded = {
        (kind, name) for kind, entries in table.items() for name, one in entries.items() if isinstance(one, Guarded)
    }
    wrong = [f"{kind} {name}: guarded, and nobody walks it" for kind, name in guarded - going - set(NOT_WALKED)]
    wrong += [f"{kind} {name}: walked, and not in the table" for kind, name in going - guarded]
    wrong += [f"{kind} {name}: walked, and said not to be" for kind, name in going & set(NOT_WALKED)]
    wrong += [f"{kind} {name}: said not to be walked, and not in the table" for kind, name in set(NOT_WALKED) - guarded]
    return sorted(wrong)


def all_walks() -> set[tuple[str, str]]:
    """The ways that the walking tests go."""
    names = [item.name for item in pkgutil.iter_modules(tests.leaks.__path__) if item.name.startswith("test_walk_")]
    return {way for name in names for way in walked(importlib.import_module(f"tests.leaks.{name}"))}


def test_every_way_that_tells_of_patients_is_walked() -> None:
    assert unwalked(all_walks()) == []
    assert all(why.strip() for why in NOT_WALKED.values())


def test_a_new_way_without_a_walk_is_reported() -> None:
    more = {**TABLE, "fhir": {**TABLE["fhir"], "Patient $everything": Guarded("hie.exchange.identity.match")}}
    assert unwalked(all_walks(), more) == ["fhir Patient $everything: guarded, and nobody walks it"]


def test_a_walk_that_does_not_come_by_its_guard_fails() -> None:
    with pytest.raises(AssertionError, match=r"identity\.match"), guards_asked([("fhir", "Patient $match")]):
        pass
