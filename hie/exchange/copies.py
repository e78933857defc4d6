"""Those who took copies of documents by a consent are told that it ended.

A copy is what left as bytes by a decision that rested on the consent. Each organization that holds one and subscribes
to ``Consent`` gets a notice, written as rows of the outbox in the transaction of the revocation; the event of the
revocation says who holds copies and who of them is told. A notice names the consent, its status, when it ended and the
documents that were taken by it: ids that the receiver has, nothing else. What was taken lawfully is not taken back.

Source: spec/consent.md 12.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from consent.directives import StoredConsent
from documents import queries as registry
from hie.audit import queries as audit
from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.directory import queries as directory
from hie.exchange import access, release
from hie.exchange.access import Subject
from hie.exchange.errors import AccessRefused
from hie.exchange.models import Subscription
from hie.outbox import outbox
from hie.outbox.outbox import Notice, Topic
from hie.standards.facts import Caller, Operation

CRITERIA = "Consent"
"""What a subscription asks for that wants these notices."""
_MOST = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentEnded:
    """What one receiver is told. `id` stays the same over all attempts; `documents` are those it took by the consent."""

    id: str
    consent_id: str
    version: int
    status: str
    ended_at: datetime
    documents: tuple[str, ...]


def tell(stored: StoredConsent, about: Subject) -> dict[str, Any]:
    """Leave a notice for each holder of copies that asked for such; what the event of the revocation says of it.

    In the transaction that ends the consent. The statements are as many whoever holds copies: 2, and 2 where there are some.
    """
    documents = registry.ids_of(about.identifier_pks)
    taken: dict[str, list[str]] = {}
    for organization, document in audit.released_by(str(stored.id), documents):
        taken.setdefault(organization, []).append(document)
    if not taken:
        return {}
    told: set[str] = set()
    rows: list[tuple[str, str, dict[str, Any]]] = []
    snapshot, now = directory.snapshot(), datetime.now(UTC)
    for row in Subscription.objects.filter(status=Subscription.Status.ACTIVE, criteria=CRITERIA).order_by("pk"):
        if row.ends_at is not None and row.ends_at <= now:
            continue
        mine = sorted(one for one in taken if snapshot.within(one, row.participant_id))
        if mine:
            told.update(mine)
            payload = {
                "consent": str(stored.id),
                "version": stored.version,
                "status": stored.status,
                "ended_at": (stored.revoked_at or now).isoformat(),
                "person": about.person_id,
                "documents": sorted({document for one in mine for document in taken[one]})[:_MOST],
            }
            rows.append((f"subscription/{row.pk}", str(stored.id), payload))
    outbox.add_for(Topic.CONSENT, rows)
    return {"copies": {"held_by": sorted(taken), "told": sorted(told)}}


def change_of(notice: Notice) -> ConsentEnded:
    """What a notice says."""
    said = notice.payload
    return ConsentEnded(
        id=str(notice.id),
        consent_id=said["consent"],
        version=int(said["version"]),
        status=said["status"],
        ended_at=datetime.fromisoformat(said["ended_at"]),
        documents=tuple(said["documents"]),
    )


@release.point
def prepare(notice: Notice, caller: Caller, channel: str) -> tuple[ConsentEnded, release.Basis] | None:
    """A notice as it may be told, recorded before the first byte; None where the receiver may be told of nobody now."""
    with recorder.recording(EventType.NOTIFICATION_SENT, caller) as entry:
        entry.dismiss()
        try:
            access.gate(caller, Operation.NOTIFY)
        except AccessRefused:
            return None
        if not notice.payload.get("recorded"):
            detail = {
                "recipient": caller.organization_id,
                "notice": notice.id,
                "channel": channel,
                "consent": notice.payload["consent"],
            }
            entry.about(UUID(notice.payload["person"]), correlation=f"notice/{notice.id}", detail=detail)
            entry.commit()
            outbox.note(notice, {"recorded": True})
        return change_of(notice), release.basis_of(entry)
