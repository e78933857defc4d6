"""Each reader and each document of a log once, with its newest event: as going through every row finds them."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from hie.audit import queries
from hie.audit.models import AuditEvent, Disclosure
from hie.audit.recorder import DisclosureDraft, EventDraft, EventType, write
from tests.audit.test_recorder import caller

pytestmark = pytest.mark.django_db

PERSONS = [UUID(int=n) for n in (1, 2, 3)]
DAY = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _log() -> None:
    """Looks of few readers at few documents of three persons over two months, many at one instant."""
    drawn = random.Random(7)
    write(
        [
            EventDraft(
                kind=EventType.RETRIEVE_DOCUMENT,
                caller=caller(
                    organization_id=f"org-{drawn.randrange(2)}",
                    participant_id=f"org-{drawn.randrange(2)}",
                    user_id=f"Practitioner/{drawn.randrange(3)}" if drawn.randrange(5) else "",
                ),
                person_id=drawn.choice(PERSONS),
                at=DAY + timedelta(days=drawn.randrange(45)),
                disclosures=[
                    DisclosureDraft(
                        document_id=f"d{drawn.randrange(6)}", what=drawn.choice(["bytes", "demographics", "query"])
                    )
                    for _ in range(drawn.randrange(3))
                ],
            )
            for _ in range(300)
        ]
    )


@pytest.mark.parametrize("since", [None, DAY + timedelta(days=20)])
@pytest.mark.parametrize("until", [None, DAY + timedelta(days=33)])
@pytest.mark.parametrize("persons", [PERSONS[:1], PERSONS[1:], []])
def test_the_newest_of_each_is_the_last_that_all_rows_have(
    persons: list[UUID], since: datetime | None, until: datetime | None
) -> None:
    def is_meant(person: UUID | None, at: datetime) -> bool:
        return person in persons and (since is None or at >= since) and (until is None or at < until)

    readers: dict[tuple[str, str, str], tuple[datetime, UUID]] = {}
    for one in AuditEvent.objects.all():
        if is_meant(one.person_id, one.at):
            key = (one.organization, one.participant, one.user)
            readers[key] = max(readers.get(key, (one.at, one.id)), (one.at, one.id))
    documents: dict[str, tuple[timedelta, UUID]] = {}
    for left in Disclosure.objects.filter(what="bytes"):
        if is_meant(left.person_id, left.at):
            newest = (DAY - left.at, left.event_id)
            documents[left.document_id] = min(documents.get(left.document_id, newest), newest)
    ids = [str(person) for person in persons]
    assert bool(readers) == bool(documents) == bool(persons)
    assert dict(queries.readers(ids, since=since, until=until)) == {
        key: str(found[1]) for key, found in readers.items()
    }
    assert queries.documents_of(ids, since=since, until=until) == [
        (document, str(found[1])) for document, found in sorted(documents.items())
    ]
