"""The accounting of disclosures: what the law lists, what it leaves out, and all of it (45 CFR 164.528)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from consent import policies
from hie.audit.recorder import EventType, Outcome
from hie.exchange import accounting
from hie.exchange.accounting import Exempt
from hie.exchange.errors import NotFound
from tests.exchange.test_access_log import EVE, PAYER, alice, document, helper, look, self_caller

__all__ = ["alice"]
YEAR = 365 * 24 * 60
HEALTH_OFFICE = replace(EVE, organization_id="org-phd", participant_id="org-phd", organization_name="The Health Office", purpose="PUBHLTH", role="public-health-officer")  # fmt: skip


@pytest.fixture(autouse=True)
def _laws() -> None:
    policies._cached = None


def rows(patient: str, **asked: Any) -> list[accounting.Row]:
    return list(accounting.accounting(self_caller(patient), patient, **asked).rows)


def test_what_the_law_asks_for_is_listed_with_recipient_day_kind_and_purpose(alice: str) -> None:
    look(alice, 60, HEALTH_OFFICE, disclosures=(document("Lab report", rule="L2", obligations=("ACCOUNT",)),))
    (row,) = rows(alice)
    assert (row.recipient, row.purpose, row.kinds, row.custodians) == ("The Health Office", "PUBHLTH", {"Lab report"}, {"The Clinic"})  # fmt: skip
    assert (row.count, row.exempt, row.required) == (1, None, True)


@pytest.mark.parametrize(
    ("changes", "item", "exempt"),
    [
        ({"purpose": "TREAT"}, {}, Exempt.CARE),
        ({"purpose": "COC"}, {}, Exempt.CARE),
        ({"purpose": "BTG"}, {"rule": "D2"}, Exempt.CARE),
        ({"purpose": "COVAUTH"}, {}, Exempt.CARE),
        ({"purpose": "PATSFTY"}, {}, Exempt.CARE),
        ({"purpose": "CLINTRCH"}, {"rule": "D6"}, Exempt.AUTHORIZED),
        ({"purpose": "HMARKT"}, {"rule": "D6"}, Exempt.AUTHORIZED),
        ({"purpose": "SUPNWK", "role": "proxy", "user_id": "RelatedPerson/x"}, {"rule": "P9"}, Exempt.OWN),
        ({"purpose": "PATRQT"}, {"rule": "P3"}, Exempt.OWN),
        ({"purpose": "HRESCH"}, {"rule": "F1"}, None),
        ({"purpose": "HLEGAL"}, {"rule": "L2"}, None),
        ({"purpose": "PUBHLTH"}, {"rule": "L2"}, None),
        ({"purpose": "TREAT"}, {"rule": "L2", "obligations": ("ACCOUNT",)}, None),
    ],
)
def test_the_exemptions_are_those_of_the_law(
    alice: str, changes: dict[str, Any], item: dict[str, Any], exempt: Exempt | None
) -> None:
    look(alice, 60, replace(EVE, **changes), disclosures=(document("Letter", **item),))
    assert [row.exempt for row in rows(alice)] == ([None] if exempt is None else [])
    assert [row.exempt for row in rows(alice, everything=True)] == [exempt]


def test_what_left_again_and_again_is_one_row_with_its_first_and_last_day(alice: str) -> None:
    for n in range(5):
        look(alice, 60 + n * 1440, HEALTH_OFFICE, disclosures=(document(f"Report {n % 2}", rule="L2"),))
    look(alice, 30, replace(HEALTH_OFFICE, purpose="HLEGAL"), disclosures=(document("Letter", rule="L2"),))
    court, health = rows(alice)
    assert (court.purpose, court.count) == ("HLEGAL", 1)
    assert (health.count, (health.last_at - health.first_at).days) == (5, 4)
    assert health.kinds == {"Report 0", "Report 1"}


def test_what_did_not_leave_is_not_listed(alice: str) -> None:
    look(alice, 60, HEALTH_OFFICE, denied=(("x", "D3"),))
    look(alice, 61, HEALTH_OFFICE, disclosures=(document("Letter"),), outcome=Outcome.REFUSED)
    look(alice, 62, HEALTH_OFFICE, disclosures=(document("Letter", rule="C1"),))  # its own record
    look(alice, 63, HEALTH_OFFICE)
    assert rows(alice) == []
    assert rows(alice, everything=True) == []


def test_it_reaches_six_years_back_and_no_further(alice: str) -> None:
    for years in (0.1, 5.9, 6.1):
        look(alice, years * YEAR, replace(HEALTH_OFFICE, organization_name=f"Office {years}"), disclosures=(document("Letter"),))  # fmt: skip
    assert [row.recipient for row in rows(alice)] == ["Office 0.1", "Office 5.9"]


def test_what_the_hub_sent_is_listed_with_whom_it_was_sent_to(alice: str) -> None:
    look(alice, 60, replace(EVE, purpose="PUBHLTH"), EventType.DELIVERY, disclosures=(document("Letter", recipient="org-hospital"),))  # fmt: skip
    look(alice, 90, replace(PAYER, purpose="HLEGAL"), EventType.PATIENT_READ, disclosures=(document("x", what="demographics", document_id=f"Patient/{alice}#1"),))  # fmt: skip
    assert [(row.recipient, row.purpose, row.kinds) for row in rows(alice)] == [
        ("The Hospital", "PUBHLTH", {"Letter"}),
        ("The Hospital", "HLEGAL", {"demographics"}),
    ]


def test_a_helper_reads_it_as_if_what_is_hidden_were_not_there(alice: str) -> None:
    sam = helper(alice, max_confidentiality="N")
    secret = {"confidentiality": "R", "labels": ("HIV",)}
    look(alice, 60, HEALTH_OFFICE, disclosures=(document("Secret", **secret), document("Letter")))
    look(alice, 90, replace(HEALTH_OFFICE, organization_name="Secret Office"), disclosures=(document("Secret", **secret),))  # fmt: skip
    (row,) = accounting.accounting(sam, alice).rows
    assert (row.recipient, row.kinds, row.count) == ("The Health Office", {"Letter"}, 1)
    with pytest.raises(NotFound):
        accounting.accounting(replace(sam, user_id="RelatedPerson/other"), alice)


def test_a_title_held_back_by_the_care_team_is_not_named(alice: str) -> None:
    look(alice, 60, HEALTH_OFFICE, disclosures=(document("Diagnosis", labels=("NOPAT",)),))
    (row,) = rows(alice)
    assert row.kinds == {""}
