"""A desk with staff of every role, a small exchange, one patient with documents, a choice and questions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from documents.metadata import CX
from hie.directory import registration
from hie.exchange.models import InboundMessage, Query, QueryTarget, RemoteDocument
from hie.trust.staff import ensure_roles
from tests import second_factor
from tests.documents.samples import ALICE, ALICE_ELSEWHERE, entry, register, submission
from tests.exchange.world import HOSPITAL_AUTHORITY, community_at, exchange, feed_rosa
from tests.grounds import ground
from tests.portal.conftest import alice  # noqa: F401 - a fixture

PASSWORD = "a long enough one"


@ground
def roles() -> None:
    """What each role of the staff may do."""
    ensure_roles()


@ground
def world() -> UUID:
    """Rosa, fed by the hospital; the id of her person."""
    portal = {"id": "org-portal", "name": "The Portal", "type": "patient-portal", "organization_oid": "2.999.10.9", "scopes": [], "purposes": ["PATRQT"]}  # fmt: skip
    exchange(community_at(1, 1), community_at(2, 1), community_at(3, 1), portal)
    return UUID(feed_rosa())


@pytest.fixture
def as_role(roles: None) -> Callable[..., Client]:
    """A signed-in member of staff with these roles."""

    def sign_in(*roles: str, username: str = "") -> Client:
        user = User.objects.create_user(
            username or "-".join(roles) or "nobody",
            password=PASSWORD,
            is_staff=True,
            first_name="Ida",
            last_name="Moss",
        )
        user.is_superuser = "administrator" in roles
        user.save()
        user.groups.set(Group.objects.filter(name__in=roles))
        return second_factor.sign_in(user)

    return sign_in


@pytest.fixture
def document(world: UUID) -> Any:
    """A registered document of Rosa's, accepted with doubts; its row."""
    from documents.models import DocumentEntry
    from patients import identifiers

    found = identifiers.resolve(HOSPITAL_AUTHORITY, "P1")
    assert found is not None
    cx = CX(value="P1", authority=HOSPITAL_AUTHORITY)
    one = entry(title="Result of the HIV test", patient_id=cx)
    register(
        submission(one, patient_id=cx),
        {cx: found.pk, ALICE: found.pk, ALICE_ELSEWHERE: found.pk},
        restricted={one.entry_uuid: ["name-differs"]},
    )
    return DocumentEntry.objects.get()


@pytest.fixture
def question(world: UUID) -> Query:
    """Dr Moor's question to three communities: one answered, one was down, one consent kept from being asked."""
    at = timezone.now() - timedelta(minutes=20)
    query = Query.objects.create(
        participant_id="org-clinic", client_id="org-clinic", user_id="Practitioner/ada", caller={}, person_id=world,
        purpose="TREAT", status="complete", created_at=at, deadline_at=at + timedelta(seconds=2),
        completed_at=at + timedelta(seconds=2.03), expires_at=at + timedelta(hours=24),
    )  # fmt: skip
    rows = (
        ("com-1", "answered", 0.41, False, ""), ("com-2", "down", 0.02, False, "unreachable"),
        ("com-3", "pending", None, True, ""),
    )  # fmt: skip
    for number, (name, status, after, withheld, cause) in enumerate(rows, 1):
        target = QueryTarget.objects.create(
            query=query, target_id=f"urn:oid:2.999.30.{number}", participant_id=name, name=f"Community {number}",
            kind="community", status=status, withheld=withheld, cause=cause, attempts=1,
            asked_at=None if after is None else at, answered_at=None if after is None else at + timedelta(seconds=after),
        )  # fmt: skip
        if status == "answered":
            RemoteDocument.objects.create(
                target=target, remote_id="d1", custodian="com-1", resource={"description": "Secret letter"},
                source_url="http://peer/d1", content_type="application/pdf", received_at=at,
            )  # fmt: skip
    return query


@pytest.fixture
def failed_message(db: None) -> InboundMessage:
    """A message that was refused for a bad date."""
    return InboundMessage.objects.create(
        protocol="hl7v2", sender="LAB|NORTH", control_id="77", kind="ADT^A08", digest=b"d" * 32, raw=b"SECRETBYTES",
        key_id="k", size=11, status="refused", error_code="102", error_element="PID-7", error_text="Not a date",
        reply=b"MSA|AR", attempts=1, received_at=timezone.now() - timedelta(hours=3),
    )  # fmt: skip


def suspend(participant: str) -> None:
    """Take a participant out."""
    registration.suspend(participant, "unpaid", "ops")
