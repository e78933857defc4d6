"""Changing what a document carries after registration: settling the review of a doubtful one.

Each change is a new version of the labels, with the person who made it, and an audit event shown to the patient.

Source: spec/consent.md 8.
"""

from __future__ import annotations

from django.db import transaction

from documents import review
from documents.errors import InvalidAttribute
from documents.review import Settled
from hie.audit import recorder
from patients import identifiers


def settle_review(
    review_id: int, *, release: bool, reason: str, staff_user: str, role: str, staff_name: str = ""
) -> Settled:
    """Release a document that was accepted with doubts, or keep it restricted; recorded in the same transaction.

    Raises:
        InvalidAttribute: no reason was given.
        ReviewClosed: no such review, or settled before.
    """
    if not reason.strip():
        raise InvalidAttribute("a reason is required", element="reason")
    with transaction.atomic():
        settled = review.settle(review_id, release=release, settled_by=staff_user)
        recorder.staff_look(
            staff_user=staff_user,
            staff_name=staff_name,
            role=role,
            person_id=identifiers.person_of_pk(settled.identifier_pk),
            what="documents",
            reason=reason,
            act=True,
            detail={
                "document": settled.entry_uuid,
                "outcome": "released" if release else "kept-restricted",
                "confidentiality": settled.confidentiality,
            },
        )
    return settled
