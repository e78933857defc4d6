"""Updating registered metadata [ITI-57, ITI-92]: only what one's own house answers for, all that was asked or nothing.

What belongs to another, seen or hidden, is answered as what is not there.

Source: spec/xds.md 7; spec/consent.md 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db import transaction

from documents import update_plan, updates, validation
from documents.metadata import Submission, UpdateAssociation
from documents.updates import Updated
from documents.validation import Reading
from hie.audit import recorder
from hie.audit.recorder import EventType
from hie.directory import queries as directory
from hie.exchange import access, release, submit
from hie.outbox import outbox
from hie.standards.facts import Caller
from patients import identifiers


@release.point
def update(
    submission: Submission,
    operations: Sequence[UpdateAssociation],
    caller: Caller,
    *,
    restricted: bool,
    reading: Reading = validation.NOTHING_WRONG,
    raw: str = "",
) -> tuple[str, ...]:
    """Do what a submission of updates asks for; its warnings. `restricted`: only what ITI-92 allows.

    A new version keeps the bytes, the labels and the restriction of the one before it. An association that replaces or
    derives has the effects that it has at registration.

    Raises:
        AccessRefused: the caller's participant is not active.
        SubmissionRefused: every problem of the stage that failed; nothing was changed.
    """
    kind = EventType.UPDATE_METADATA_RESTRICTED if restricted else EventType.UPDATE_METADATA
    owner = caller.organization_id
    with recorder.recording(kind, caller, query=raw) as event:
        access.may_submit(caller, owner)
        submit.refuse([*reading.structure] or validation.check_structure(submission))
        plan, problems = update_plan.plan(submission, operations, restricted=restricted)
        submit.refuse(problems)
        work = submit.Work(submission=update_plan.registrable(submission), caller=caller, custodian=owner)
        submit.check_metadata(work, event, reading)
        with transaction.atomic():
            done = updates.update(
                plan,
                patients={patient_id: found.pk for patient_id, found in work.patients.items()},
                labels={one.entry_uuid: submit.labels_said(one, owner) for one in submission.entries},
                custodian=owner,
                may_update=lambda row: _is_own(caller, row),
                same_person=submit.same_person,
                restricted=restricted,
                content_may_change=not settings.RESTRICTED_UPDATES_KEEP_CONTENT,
                own_repository=settings.REPOSITORY_UNIQUE_ID,
                at=access.now(),
            )
            _record(event, done)
            event.commit()
            outbox.add(
                outbox.Topic.DOCUMENTS,
                done.submission_set_uuid,
                {"entries": list(done.versions), "deprecated": list(done.deprecated), "custodian": owner},
            )
    return tuple(work.warnings)


def _is_own(caller: Caller, row: Any) -> bool:
    return directory.within(row.custodian, caller.participant_id)


def _record(event: recorder.Recording, done: Updated) -> None:
    """An event for each patient whose the objects were or are now."""
    detail = {"submission_set": done.submission_set_uuid, "versions": list(done.versions)}
    # What was not named by the submission, but became otherwise by it.
    detail |= {name: list(ids) for name, ids in (("deprecated", done.deprecated), ("raised", done.raised)) if ids}
    for person in sorted(set(identifiers.persons_of(done.patients).values())):
        event.about(person, detail=detail)
