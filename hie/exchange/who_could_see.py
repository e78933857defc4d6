"""Who could see a document, and why: every participant, purpose and role, asked one by one and told in groups.

Source: spec/consent.md 14, "Who could see this?".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from documents import queries as registry
from documents.queries import EntryRow
from hie.audit import recorder
from hie.audit.recorder import EventType
from hie.exchange import access, askers, release
from hie.exchange.access import Held, Staff, Subject
from hie.exchange.askers import Block
from hie.exchange.errors import AccessRefused, NotFound
from hie.standards.facts import Caller, Decision, DocumentFacts, Operation
from patients import identifiers

__all__ = ["Answer", "Seen", "for_patient", "for_staff", "groups"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Who (`block`) is told what (`decision`; its basis without each asker's own agreement and grant)."""

    block: Block
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One document and all who could ask for it, each exactly once, in order of the organizations.

    `title` is "" for staff who may not read it; `custodian` a participant's id.
    """

    document_id: str
    person_id: str
    title: str
    custodian: str
    answers: tuple[Answer, ...]
    facts: DocumentFacts


@release.point
def for_patient(document_id: str, *, caller: Caller, raw: str = "") -> Seen:
    """Who could see one of the patient's own documents; recorded, and only while the patient may see it.

    Helpers are not told: who else may see a document follows from choices that may be about them.

    Raises:
        AccessRefused: the caller is no patient, by role.
        NotFound: absent, or not to be seen by this caller.
    """
    with recorder.recording(EventType.DECISION_SIMULATED, caller, query=raw or None) as event:
        access.gate(caller, Operation.QUERY)
        if caller.role != "patient":
            raise AccessRefused("G5", "role-not-permitted")
        row = registry.entry(document_id)
        if row is None:
            raise NotFound("no such document")
        about = access.subject(identifiers.person_of_pk(row.identifier_pk))
        verdict = access.permitted(caller, about, [row], Operation.QUERY)
        if not verdict.permitted:
            raise NotFound("no such document")
        event.about(about.person_id, detail={"what": "who could see", "document": registry.bare_uuid(row.entry_uuid)})
        seen = _seen(about, row, row.metadata.title or "")
        event.commit()
    return seen


def for_staff(document_id: str, staff: Staff, *, reason: str) -> Seen:
    """As `for_patient`, for the hub's own staff, by role and with a reason; the patient finds the look in the log.

    Raises:
        NotFound: no such document.
        AccessRefused, BadRequest: as `access.administrative`.
    """
    row = registry.entry(document_id)
    if row is None:
        raise NotFound("no such document")
    person_id = identifiers.person_of_pk(row.identifier_pk)
    detail = {"who could see": registry.bare_uuid(row.entry_uuid)}
    view = access.administrative(staff, Held.DOCUMENT_METADATA, [person_id], reason=reason, detail=detail)
    if not view.consent_outcomes:
        # What decides is the patient's choices: documents alone are not enough.
        access.administrative(staff, Held.CONSENTS, [person_id], reason=reason, detail=detail)
    about = access.subject(person_id)
    return _seen(about, row, (row.metadata.title or "") if view.words_of(row.confidentiality) else "")


def groups(about: Subject, facts: DocumentFacts) -> list[Answer]:
    """Who is told what of a document: all participants, purposes and roles, disjoint, as few groups as there are answers."""
    world = access.as_it_is(about)
    field = askers.field(about, [world], [facts])
    told = access.tried(world, field.requests(world), [facts])
    found: Iterable[tuple[Block, Decision]] = (
        (block, askers.same(decision)) for block, (decision,) in zip(field.blocks, told, strict=True)
    )
    return [Answer(block=block, decision=decision) for block, decision in askers.merged(found)]


def _seen(about: Subject, row: EntryRow, title: str) -> Seen:
    facts = row.facts(about.person_id, about.identifier_pks)
    return Seen(
        document_id=registry.bare_uuid(row.entry_uuid),
        person_id=about.person_id,
        title=title,
        custodian=row.custodian,
        answers=tuple(groups(about, facts)),
        facts=facts,
    )
