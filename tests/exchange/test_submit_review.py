"""A doubtful document is released or kept by a person, once, with a reason, and that is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from documents import queries
from documents.errors import InvalidAttribute, ReviewClosed
from documents.models import LabelAssignment
from hie.audit.models import AuditEvent
from hie.exchange import relabel, submit
from tests.documents.cda_samples import clinical_document
from tests.exchange.test_submit import caller, cda_changes, exchange, feed_patient, prepared

pytestmark = pytest.mark.django_db
STAFF: dict[str, str] = {"staff_user": "reviewer", "role": "records"}


@pytest.fixture
def doubtful(settings: Any, tmp_path: Path) -> str:
    """The UUID of an entry whose document gives another day of birth; nothing sensitive in it."""
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"
    exchange()
    feed_patient("P1")
    document = clinical_document(birth="19710909").replace(b"86406008", b"38341003")
    return submit.submit(prepared(document, **cda_changes()), caller()).entry_uuids[0]


def row(uuid: str) -> queries.EntryRow:
    found = queries.entry(uuid)
    assert found is not None
    return found


def test_a_released_document_gets_back_the_letter_that_labelling_set(doubtful: str) -> None:
    (open_review,) = queries.open_reviews()
    assert row(doubtful).confidentiality == "R"
    relabel.settle_review(open_review.id, release=True, reason="typing error confirmed", **STAFF)
    after = row(doubtful)
    assert (after.restricted, after.confidentiality, after.label_version) == (False, "N", 2)
    assert queries.open_reviews() == []
    assert LabelAssignment.objects.get(label_version=2).assigned_by == "reviewer"
    event = AuditEvent.objects.order_by("at").last()
    assert event is not None
    assert event.detail["document"] == doubtful.removeprefix("urn:uuid:")
    assert event.person_id is not None


def test_a_document_kept_restricted_stays_so_and_a_review_is_settled_once(doubtful: str) -> None:
    (open_review,) = queries.open_reviews()
    relabel.settle_review(open_review.id, release=False, reason="not hers", **STAFF)
    assert row(doubtful).restricted
    with pytest.raises(ReviewClosed):
        relabel.settle_review(open_review.id, release=True, reason="again", **STAFF)


def test_a_review_is_not_settled_without_a_reason(doubtful: str) -> None:
    (open_review,) = queries.open_reviews()
    with pytest.raises(InvalidAttribute):
        relabel.settle_review(open_review.id, release=True, reason=" ", **STAFF)
    assert queries.open_reviews() == [open_review]
