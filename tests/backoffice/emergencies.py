"""Emergencies as rows, for the pages that review them."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.utils import timezone

from consent import break_glass
from consent.models import EmergencyReview
from hie.audit.recorder import DisclosureDraft, EventDraft, EventType, write
from patients import identifiers
from tests.exchange import world

TEXT = "Found in the street, cannot answer"


def emergency(person: UUID | str, *, text: str = TEXT, at: datetime | None = None, **who: str) -> EmergencyReview:
    """A grant of Dr Moor's at the clinic as the exchange opens one, with its event; the case."""
    at = at or timezone.now() - timedelta(minutes=30)
    caller = world.caller(purpose="BTG", **who)
    grant = break_glass.open_grant(
        identifier_pk=identifiers.anchor(person).pk,
        user_id=caller.user_id,
        organization=caller.organization_id,
        reason="UNCONSCIOUS",
        text=text,
        now=at,
    )
    event = EventDraft(
        kind=EventType.BREAK_GLASS, caller=caller, person_id=person, at=at, detail={"grant": grant.id},
        personal={"text": text},
        root_organization=caller.organization_id,
    )  # fmt: skip
    write([event])
    return EmergencyReview.objects.select_related("grant").get(grant=grant.id)


def looked(
    person: UUID | str, review: EmergencyReview, title: str, confidentiality: str = "N", rule: str = "D2"
) -> None:
    """The user opens a document under the grant."""
    document = DisclosureDraft(
        document_id="5a3b4f0e-0000-4000-8000-000000000001", title=title, type_display="Letter",
        custodian="org-hospital", what="bytes", confidentiality=confidentiality, rule=rule,
    )  # fmt: skip
    event = EventDraft(
        kind=EventType.RETRIEVE_DOCUMENT, caller=world.caller(purpose="BTG"), person_id=person,
        at=review.opened_at + timedelta(minutes=2), root_organization="org-clinic", disclosures=(document,),
    )  # fmt: skip
    write([event])
