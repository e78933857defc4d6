"""Naming a helper and suspending one at the desk."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from django.test import Client

from consent.models import ProxyGrant
from hie.exchange import accounts
from tests.exchange.world import HOSPITAL_AUTHORITY, hospital_caller, rosa

pytestmark = pytest.mark.django_db
GIVE = "/admin/consent/proxygrant/give/"
AsRole = Callable[..., Client]


@pytest.fixture
def sam(world: UUID) -> None:
    from hie.exchange import feed
    from hie.standards.demographics import HumanName

    other = rosa("P9", names=(HumanName(family="Reed", given=("Sam",)),), birth_date="1990-01-02", telecoms=(), addresses=(), identifiers=())  # fmt: skip
    feed.feed(feed.Revision(authority=HOSPITAL_AUTHORITY, value="P9", demographics=other), hospital_caller())
    accounts.load(
        {
            "patients": [
                {
                    "login": "sam",
                    "password": "long enough",
                    "name": "Sam Reed",
                    "identifier": f"P9^^^&{HOSPITAL_AUTHORITY}&ISO",
                }
            ]
        }
    )


def said(world: UUID, **changes: str) -> dict[str, str]:
    return {
        "patient": str(world), "login": "sam", "kind": "nominated", "max_confidentiality": "R", "evidence": "form 7",
        "reason": "Asked at the desk",
    } | changes  # fmt: skip


def test_a_helper_is_named_suspended_with_evidence_and_ended(world: UUID, sam: None, as_role: AsRole) -> None:
    client = as_role("privacy-officer")
    assert client.get(GIVE).status_code == 200
    for name in ("patient", "login", "evidence", "reason"):
        wrong = client.post(GIVE, said(world, **{name: ""}))
        assert (wrong.status_code, 'role="alert"' in wrong.content.decode()) == (422, True)
    assert not ProxyGrant.objects.exists()
    answer = client.post(GIVE, said(world, may_consent="yes"))
    row = ProxyGrant.objects.get()
    status = f"/admin/consent/proxygrant/{row.pk}/status/"
    assert (answer.status_code, answer.headers["Location"], row.may_consent) == (302, status, True)
    assert client.post(status, {"status": "suspended", "reason": "By order"}).status_code == 422
    order = {"status": "suspended", "reason": "By order", "evidence": "Court order 12/2026"}
    assert client.post(status, order).status_code == 302
    row.refresh_from_db()
    assert (row.status, row.evidence) == ("suspended", "form 7\nCourt order 12/2026")
    assert client.post(status, {"status": "ended", "reason": "Asked for"}).status_code == 302
    assert "It has ended" in client.get(status).content.decode()
    assert client.post(status, {"status": "active", "reason": "x", "evidence": "y"}).status_code == 422


@pytest.mark.parametrize("role", ["steward", "auditor", "operator", "onboarding"])
def test_others_name_nobody(world: UUID, sam: None, as_role: AsRole, role: str) -> None:
    client = as_role(role)
    assert client.get(GIVE).status_code == 403
    assert client.post(GIVE, said(world)).status_code == 403
    assert not ProxyGrant.objects.exists()
