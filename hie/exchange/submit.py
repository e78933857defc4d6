"""Publishing documents [ITI-65, ITI-105, ITI-41, ITI-42]: bytes staged first, then one submission, whole or not at all.

Who submits and for whom is checked at the door; the metadata by `documents.validation`; the bytes against the
metadata and, for a C-CDA, its header against the index; labels are set, rows written, the audit event and the notice
added in one transaction.

Source: spec/xds.md 4; spec/fhir.md 3.1 and 3.5; spec/consent.md 8.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from consent import policies
from consent.labelling import highest
from documents import facts, on_demand, registry, repository, validation
from documents import queries as registry_queries
from documents.errors import (
    ContentMismatch,
    HashMismatch,
    InvalidAttribute,
    MissingDocument,
    SizeMismatch,
    SubmissionRefused,
    UniqueIdDiffers,
    UnknownCode,
    UnknownPatientId,
    WrongPatient,
)
from documents.metadata import CX, Bytes, CodedValue, EntryMetadata, MetadataLevel, Submission
from documents.registry import Receipt
from documents.repository import Readable, Staged
from hie.audit import recorder
from hie.audit.recorder import EventType
from hie.directory import queries as directory
from hie.exchange import access, content, header, labels, release
from hie.outbox import outbox
from hie.standards import cda, mime, oids
from hie.standards.demographics import authority_of
from hie.standards.errors import HubError
from hie.standards.facts import Caller, CodedContent, Labels, Operation
from hie.standards.naming import Names
from hie.terminology import affinity_domain, local_codes
from hie.terminology.local_codes import Met
from patients import identifiers
from patients import queries as index
from patients.demographics import ResolvedIdentifier

__all__ = [
    "Receipt",
    "Staged",
    "Work",
    "check_metadata",
    "discard",
    "labels_said",
    "max_size",
    "pass_on",
    "receive",
    "refuse",
    "rehearse",
    "same_person",
    "stage",
    "submit",
]

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_LETTERS = frozenset("ULMNRV")


def max_size() -> int:
    """How many bytes one document may have."""
    return int(getattr(settings, "DOCUMENT_MAX_SIZE", repository.MAX_SIZE))


def stage(stream: Readable | bytes | Iterable[bytes], content_type: str, caller: Caller) -> Staged:
    """Store bytes for a submission to come; only the same participant can name them in one.

    Streams in bounded memory. What no submission names within a day is swept.

    Raises:
        AccessRefused: the caller's participant is not active.
        InvalidAttribute: `content_type` is no media type.
        ContentTooLarge: more than `max_size()` bytes; nothing is kept.
    """
    with recorder.recording(EventType.STAGE_CONTENT, caller) as event:
        access.may_submit(caller, caller.organization_id)
        if mime.parse(content_type) is None:
            raise InvalidAttribute("contentType is no media type", element="Binary.contentType")
        staged = repository.put(stream, content_type=content_type, owner=caller.participant_id)
        event.about(None, detail={"binary": staged.id, "size": staged.size})
        event.commit()
    return staged


def receive(stream: Readable | bytes | Iterable[bytes], content_type: str, caller: Caller) -> Staged:
    """Store bytes that came in one message with the submission that names them; the event of that one speaks of them.

    Streams in bounded memory. Whoever receives discards what the submission did not take.

    Raises:
        AccessRefused: the caller's participant is not active.
        ContentTooLarge: more than `max_size()` bytes; nothing is kept.
    """
    with directory.one_reading():
        access.may_submit(caller, caller.organization_id)
    return repository.put(stream, content_type=content_type, owner=caller.participant_id)


def pass_on(received: Iterable[Staged], caller: Caller) -> None:
    """Let bytes that were received before it was known for whom be named by the one it is."""
    repository.pass_on([one.id for one in received], owner=caller.participant_id)


def discard(received: Iterable[Staged]) -> None:
    """Remove bytes that were received and that no entry hangs on; what one does is left."""
    repository.discard([one.id for one in received])


@dataclass(slots=True)
class Work:
    """One submission under way: what each step found."""

    submission: Submission
    caller: Caller
    custodian: str
    secret: tuple[str, frozenset[str]] = ("U", frozenset())
    found_by_hub: bool = False
    patients: dict[CX, ResolvedIdentifier] = field(default_factory=dict)
    contents: dict[str, Staged] = field(default_factory=dict)
    labels: dict[str, Labels] = field(default_factory=dict)
    doubts: dict[str, list[str]] = field(default_factory=dict)
    authors: dict[str, Names] = field(default_factory=dict)  # as the documents themselves name them
    warnings: list[str] = field(default_factory=list)
    unknown_codes: list[Met] = field(default_factory=list)

    @property
    def person_id(self) -> UUID:
        """The patient of the submission, once resolved."""
        patient_id = self.submission.submission_set.patient_id
        assert patient_id is not None
        return self.patients[patient_id].person_id

    def doubt(self, object_id: str, reason: str) -> None:
        """Note why an entry is to be looked at by a person."""
        reasons = self.doubts.setdefault(object_id, [])
        if reason not in reasons:
            reasons.append(reason)


@release.point
def submit(
    submission: Submission,
    caller: Caller,
    *,
    kind: EventType = EventType.PROVIDE_DOCUMENT_BUNDLE,
    custodian: str | None = None,
    raw: str | bytes | None = None,
    secret: tuple[str, frozenset[str]] = ("U", frozenset()),
    found_by_hub: bool = False,
    reading: validation.Reading = validation.NOTHING_WRONG,
) -> Receipt:
    """Register a submission whose bytes were staged: check, hold against the index, label, store, announce.

    `kind` is the transaction as the audit calls it, `raw` its request; `custodian` answers for the documents: the
    caller's organization unless said, or one below the caller's participant. An entry without
    staged bytes is registered as kept elsewhere. `secret`: the letter and labels that each entry has at least.
    `found_by_hub`: the patient is one whom the use case around this has let the caller know of. `reading`: what was wrong
    with how the submission was said.

    Of a patient who is hidden from the submitter it is refused as of one who is unknown, unless named by the submitter's own
    identifier.

    A doubtful document (`Receipt.warnings` names it) is stored with confidentiality R and waits for review. Codes that
    the hub does not know are collected for the stewards, whether or not it is refused.

    Raises:
        AccessRefused: caller or custodian not active, or not the caller's to speak for.
        SubmissionRefused: all problems of the stage that failed; nothing was registered.
    """
    owner = custodian or caller.organization_id
    unknown: list[Met] = []
    with _codes_noted(caller, unknown), recorder.recording(kind, caller, query=raw) as event:
        # A refusal says of which documents it is: whoever misses one finds it by its uniqueId.
        event.note(detail={"submitted": [entry.unique_id for entry in submission.entries]})
        access.may_submit(caller, owner)
        work = Work(
            submission=submission, caller=caller, custodian=owner, secret=secret, found_by_hub=found_by_hub,
            unknown_codes=unknown,
        )  # fmt: skip
        check_metadata(work, event, reading)
        refuse([*_take_contents(work)])
        submission = work.submission = _completed(work)
        with transaction.atomic():
            receipt = registry.register(
                submission,
                contents=work.contents,
                labels=work.labels,
                patients={patient_id: found.pk for patient_id, found in work.patients.items()},
                custodian=owner,
                same_person=same_person,
                restricted=work.doubts,
                visible=lambda key: _visible(key, caller),
            )
            work.warnings += [
                f"{receipt.ids[object_id]} is restricted until reviewed: {', '.join(reasons)}"
                for object_id, reasons in work.doubts.items()
            ]
            receipt = replace(receipt, warnings=tuple(work.warnings))
            event.about(work.person_id, detail=_detail(work, receipt))
            event.commit()
            outbox.add(
                outbox.Topic.DOCUMENTS,
                receipt.submission_set_uuid,
                {"entries": list(receipt.entry_uuids), "deprecated": list(receipt.deprecated), "custodian": owner},
            )
    return receipt


@contextmanager
def _codes_noted(caller: Caller, unknown: Collection[Met]) -> Iterator[None]:
    """Collect the codes that no set knows, once what became of the submission is decided and recorded."""
    try:
        yield
    except SubmissionRefused:
        local_codes.note(caller.organization_id, unknown)
        raise
    local_codes.note(caller.organization_id, unknown)


def check_metadata(work: Work, event: recorder.Recording, reading: validation.Reading) -> None:
    """Hold the metadata of a submission against everything but what is registered, and find whom it is about.

    Raises:
        SubmissionRefused: all problems of the stage that failed.
    """
    submission = work.submission
    own = (*_check_repository(submission), *(one for entry in submission.entries for one in on_demand.check(entry)))
    refuse(validation.check(submission, replace(reading, attributes=(*reading.attributes, *own))))
    refuse([*_check_letters(submission), *_check_codes(work)])
    refuse([*_resolve_patients(work, event), *_differing_patients(submission)])
    event.about(work.person_id, patient_identifier=str(submission.submission_set.patient_id))
    refuse(validation.check_patients(submission, lambda one, other: _same(work, one, other)))


def rehearse(submission: Submission, contents: Mapping[str, bytes], caller: Caller) -> list[HubError]:
    """What `submit` would refuse of a submission and its bytes, by id of the entry, whoever the patient is.

    The problems of the first stage that has one. Nothing is stored or recorded, and no patient is looked up.
    """
    work = Work(submission=submission, caller=caller, custodian=caller.organization_id)
    problems = validation.check(submission) or [*_check_letters(submission), *_check_codes(work)]
    problems = problems or list(validation.check_patients(submission, lambda one, other: one == other))
    if problems:
        return problems
    for entry in submission.entries:
        where = f"DocumentEntry[{entry.entry_uuid}]"
        data = contents.get(entry.entry_uuid)
        if data is None:
            problems.append(MissingDocument("the document is not in the submission", element=f"{where}.content"))
            continue
        sha1 = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        problems += _check_stated(entry, Staged(id="", size=len(data), sha1=sha1, digest=""), where)
        try:
            content.inspect(entry, (data,), where=where)
        except HubError as error:
            problems.append(content.named(error, f"{where}.content"))
    return problems


def refuse(problems: Iterable[HubError]) -> None:
    """Refuse a submission for these problems, where there are any.

    Raises:
        SubmissionRefused: with all of them.
    """
    found = list(problems)
    if found:
        raise SubmissionRefused(found)


# -- metadata -----------------------------------------------------------------------------------


def _check_repository(submission: Submission) -> Iterable[HubError]:
    """Nobody but this hub registers for its own repository, which is the one that has the bytes of what it registers.

    Its repository registers what it is given (ITI-41, ITI-65) within the act that stores the bytes. Whoever registers for it
    from outside (ITI-42) names bytes that are not there or, where some of that hash are, metadata that nobody held against
    their content: labels and patient would be what the sender says.
    """
    if submission.bytes is not Bytes.ELSEWHERE:
        return
    for entry in submission.entries:
        if entry.repository_unique_id == settings.REPOSITORY_UNIQUE_ID:
            yield InvalidAttribute(
                f"{entry.repository_unique_id} is this hub's own repository: provide it with the document (ITI-41)",
                element=f"DocumentEntry[{entry.entry_uuid}].repositoryUniqueId",
            )


def _check_letters(submission: Submission) -> Iterable[HubError]:
    """Confidentiality letters other than U to V, and labels outside the table, are refused (spec/consent.md 3)."""
    known = policies.current().tables.label_families
    for entry in submission.entries:
        for code in entry.confidentiality_codes:
            scheme = oids.compared_scheme(code.scheme)
            bad = (scheme == CONFIDENTIALITY and code.code not in _LETTERS) or (
                scheme == ACT_CODE and code.code not in known and code.code not in _HANDLING
            )
            if bad:
                yield UnknownCode(
                    f"confidentialityCode {code.code} is not known",
                    element=f"DocumentEntry[{entry.entry_uuid}].confidentialityCode",
                )


# Handling instructions that may stand among the security labels without being sensitivities.
_HANDLING = frozenset(
    [
        "NORDSCLCD",
        "NORDSCLCDS",
        "NORDSLCD",
        "NOAUTH",
        "NOCOLLECT",
        "NODSCLCD",
        "NOINTEGRATE",
        "NOLIST",
        "NOMOU",
        "NOORGPOL",
        "NOPERSISTP",
        "NORELINK",
        "NOREUSE",
        "NOVIP",
        "NOSYNTHUSE",
        "MINEC",
        "PROCESSINLINELABEL",
        "PRIVMARK",
        "CUIMARK",
        "ENCRYPT",
        "ENCRYPTR",
        "ENCRYPTT",
        "DELAU",
    ]
)


def _check_codes(work: Work) -> Iterable[HubError]:
    """The affinity domain's word on every code; a code it only warns of becomes a warning."""
    asked: dict[affinity_domain.Asked, None] = {}

    def note(attribute: str, code: CodedValue) -> bool:
        asked[affinity_domain.Asked(attribute=attribute, code=code.code, scheme=code.scheme)] = None
        return True

    list(validation.check_codes(work.submission, note))
    verdicts = affinity_domain.check(asked)
    for item, verdict in verdicts.items():
        if verdict is not affinity_domain.Verdict.ACCEPTED:
            work.unknown_codes.append(affinity_domain.as_met(item))

    def none_is(verdict: affinity_domain.Verdict) -> validation.Problems:
        return validation.check_codes(
            work.submission,
            lambda attribute, code: (
                verdicts[affinity_domain.Asked(attribute=attribute, code=code.code, scheme=code.scheme)] is not verdict
            ),
        )

    work.warnings += [f"{said.element}: {said}" for said in none_is(affinity_domain.Verdict.WARN)]
    return none_is(affinity_domain.Verdict.REFUSED)


def _resolve_patients(work: Work, event: recorder.Recording) -> Iterable[HubError]:
    """Every patient identifier leads to a person whom the submitter may know of, through a record that is active."""
    submission = work.submission
    named: list[tuple[str, CX | None]] = [
        (f"SubmissionSet[{submission.submission_set.entry_uuid}]", submission.submission_set.patient_id),
        *((f"DocumentEntry[{entry.entry_uuid}]", entry.patient_id) for entry in submission.entries),
        *((f"Folder[{folder.entry_uuid}]", folder.patient_id) for folder in submission.folders),
    ]
    found = identifiers.resolve_many({(cx.authority, cx.value) for _, cx in named if cx is not None})
    reported: set[CX] = set()
    for where, cx in named:
        if cx is None or cx in work.patients or cx in reported:
            continue
        resolved = found.get((authority_of(cx.authority), cx.value))
        if _is_known(work, resolved) and resolved is not None and resolved.active:
            work.patients[cx] = resolved
        else:
            reported.add(cx)
            if resolved is not None:
                # Who may not be known is told of the attempt, as of every refused look.
                event.about(resolved.person_id)
            yield UnknownPatientId(f"{cx} is not a patient known here", element=f"{where}.patientId")


def _differing_patients(submission: Submission) -> Iterable[HubError]:
    """Objects that name another patient, told with those unknown where the very identifiers are compared."""
    if submission.level is MetadataLevel.XDS:
        yield from validation.check_patients(submission, lambda one, other: one == other)


def _is_known(work: Work, resolved: ResolvedIdentifier | None) -> bool:
    if work.found_by_hub:
        return resolved is not None
    return access.known_to_publisher(work.caller, resolved.person_id if resolved is not None else None, resolved)


def _same(work: Work, one: CX, other: CX) -> bool:
    return work.patients[one].person_id == work.patients[other].person_id


def same_person(one: int, other: int) -> bool:
    """Whether two identifiers, by row id, lead to one person."""
    if one == other:
        return True
    persons = identifiers.persons_of([one, other])
    return one in persons and persons.get(one) == persons.get(other)


def _completed(work: Work) -> Submission:
    """What the repository fills in: its own id beside the bytes that it holds (spec/xds.md 3.2, note 1), and the names
    that a document has for its authors, so that a denial meets them whatever the metadata says.
    """
    entries = tuple(
        replace(
            facts.with_authors(entry, work.authors.get(entry.entry_uuid, Names())),
            repository_unique_id=settings.REPOSITORY_UNIQUE_ID,
        )
        if entry.entry_uuid in work.contents
        else entry
        for entry in work.submission.entries
    )
    return replace(work.submission, entries=entries)


# -- content ------------------------------------------------------------------------------------


def _take_contents(work: Work) -> Iterable[HubError]:
    """Each entry's bytes: there, the caller's, as stated, of the kind claimed, about this patient; and its labels."""
    label_tables = access.label_tables()
    records: list[Any] | None = None
    for entry in work.submission.entries:
        where = f"DocumentEntry[{entry.entry_uuid}]"
        binary_id = work.submission.contents.get(entry.entry_uuid)
        if binary_id is None:
            work.labels[entry.entry_uuid] = labels_said(entry, work.custodian)
            continue
        kept = repository.look(binary_id)
        if kept is None or kept.staged.owner != work.caller.participant_id:
            yield MissingDocument(
                "the document is not among those sent by this participant", element=f"{where}.content"
            )
            continue
        staged = kept.staged
        stated = list(_check_stated(entry, staged, where))
        if stated:
            yield from stated
            continue
        try:
            inspected = content.inspect(entry, kept.open().chunks, where=where)
        except HubError as error:
            yield content.named(error, f"{where}.content")
            continue
        work.contents[entry.entry_uuid] = staged
        work.unknown_codes += local_codes.met_inside(inspected.content.codes)
        for reason in inspected.doubts:
            work.doubt(entry.entry_uuid, reason)
        if inspected.header is not None:
            if records is None:
                records = index.source_records(work.person_id)
            yield from _check_header(work, entry, inspected.header, records, where)
            work.authors[entry.entry_uuid] = header.authors(inspected.header)
        letter, known = work.secret
        at_least = replace(
            inspected.content,
            at_least=highest([inspected.content.at_least, letter]),
            security_labels=inspected.content.security_labels | known,
        )
        work.labels[entry.entry_uuid] = labels.of_entry(entry, at_least, label_tables)


def _check_stated(entry: EntryMetadata, staged: Staged, where: str) -> Iterable[HubError]:
    """Hash and size, where the submitter states them, are those of the bytes (spec/xds.md 3.2, note 2)."""
    delayed = entry.size == 0 and (entry.hash or "").lower() == content.EMPTY_SHA1 and staged.size > 0
    if delayed:
        yield ContentMismatch("the entry announces a document that comes later", element=f"{where}.size")
        return
    if entry.hash is not None and entry.hash.lower() != staged.sha1:
        yield HashMismatch("hash is not the SHA-1 of the document", element=f"{where}.hash")
    if entry.size is not None and entry.size != staged.size:
        yield SizeMismatch(f"size is {entry.size}, the document has {staged.size} bytes", element=f"{where}.size")


def _check_header(
    work: Work, entry: EntryMetadata, found: cda.CdaHeader, records: list[Any], where: str
) -> Iterable[HubError]:
    """The document's own header against the metadata and the index."""
    # The uniqueId is the document's own where the format code says what it is (spec/xds.md 3.2); one that says no more than
    # the media type binds nobody: senders of XDS number such documents themselves.
    bound = entry.format_code is None or entry.format_code.code != mime.MIME_TYPE_SUFFICIENT
    own_id = content.same_unique_id(entry.unique_id, found) if bound else None
    policy = getattr(settings, "UNIQUE_ID_CHECK", "refuse")
    if own_id is False and policy == "refuse":
        yield UniqueIdDiffers("the document's own id is another than uniqueId", element=f"{where}.uniqueId")
    elif own_id is False and policy == "doubt":
        work.doubt(entry.entry_uuid, "unique-id-differs")
    if found.record_targets != 1:
        work.doubt(entry.entry_uuid, "several-patients" if found.record_targets else "no-patient")
    if found.confidentiality and found.confidentiality not in _LETTERS:
        work.doubt(entry.entry_uuid, "confidentiality-unknown")
    persons, sure = _persons_named(work, found)
    mine = work.person_id
    if mine not in persons and any(person != mine for person in sure):
        yield WrongPatient("the document names a patient whom the index knows as another", element=f"{where}.patientId")
        return
    if any(person != mine for person in persons):
        work.doubt(entry.entry_uuid, "identifier-of-another")
    compared = header.compare(found, [record.demographics for record in records if record.active])
    if compared.wrong:
        yield WrongPatient("the document's patient is not the one of the metadata", element=f"{where}.patientId")
    for reason in compared.doubts:
        work.doubt(entry.entry_uuid, reason)


def _persons_named(work: Work, found: cda.CdaHeader) -> tuple[set[UUID], set[UUID]]:
    """Persons that the submitter may know of and the header's identifiers lead to; second, those under an authority of
    the exchange. Whoever is hidden from him is not meant: else a header would tell whose identifier is known here.
    """
    named = {(authority_of(i.root), i.extension) for i in found.patient_ids if i.root and i.extension}
    resolved = {(authority_of(cx.authority), cx.value): item for cx, item in work.patients.items()}
    # Most name whom the metadata names.
    resolved |= identifiers.resolve_many(named - resolved.keys())
    persons: set[UUID] = set()
    sure: set[UUID] = set()
    for key in sorted(named):
        item, of_exchange = resolved.get(key), directory.authority_owner(key[0]) is not None
        if item is None and not of_exchange:
            continue
        # Of one whom nobody has it is asked too: what is hidden must not cost more than what is not there.
        if (
            access.known_to_publisher(work.caller, item.person_id if item is not None else None, item)
            and item is not None
        ):
            persons.add(item.person_id)
            sure |= {item.person_id} if of_exchange else set()
    return persons, sure


def labels_said(entry: EntryMetadata, custodian: str) -> Labels:
    """The labels of an entry by what its metadata says, its document not being looked at.

    A document that the hub makes on demand is the hub's to label: whatever is put in is decided by labels of its own.
    """
    found = labels.of_entry(entry, CodedContent(), access.label_tables())
    return replace(found, labelled=on_demand.is_made_here(entry) or _source_labels(custodian))


def _source_labels(custodian: str) -> bool:
    """Whether the custodian's agreement (its own or the nearest ancestor's) says that it labels its documents."""
    seen: set[str] = set()
    participant = directory.participant(custodian)
    while participant is not None and participant.id not in seen:
        if participant.agreement is not None:
            return participant.agreement.labels_documents
        seen.add(participant.id)
        participant = directory.participant(participant.part_of) if participant.part_of else None
    return False


# -- references and the record --------------------------------------------------------------------


def _visible(key: UUID, caller: Caller) -> bool:
    """Whether the submitter may know of a registered object: its own organization's, or what it might read."""
    entry = registry_queries.entry(key)
    if entry is not None:
        return _may_know(caller, entry.custodian, [entry])
    folder = registry_queries.folder(key)
    if folder is not None:
        return _may_know(caller, folder.custodian, list(registry_queries.entries_by_uuid(folder.members).values()))
    return False


def _may_know(caller: Caller, custodian: str, rows: list[registry_queries.EntryRow]) -> bool:
    if directory.root_of(custodian) == directory.root_of(caller.organization_id):
        return True
    if caller.role is None or caller.purpose is None or not rows:
        return False
    persons = identifiers.persons_of([row.identifier_pk for row in rows])
    for person_id in set(persons.values()):
        about = access.subject(person_id)
        theirs = [row for row in rows if persons.get(row.identifier_pk) == person_id]
        if access.permitted(caller, about, theirs, Operation.UPDATE).permitted:
            return True
    return False


def _detail(work: Work, receipt: Receipt) -> Mapping[str, Any]:
    detail: dict[str, Any] = {
        "submission_set": receipt.submission_set_uuid,
        "unique_id": work.submission.submission_set.unique_id,
        "custodian": work.custodian,
        "documents": [
            {"id": receipt.ids[entry.entry_uuid].removeprefix("urn:uuid:"), "unique_id": entry.unique_id}
            for entry in work.submission.entries
        ],
    }
    if receipt.deprecated:
        detail["deprecated"] = [key.removeprefix("urn:uuid:") for key in receipt.deprecated]
    if work.doubts:
        detail["restricted"] = {receipt.ids[key].removeprefix("urn:uuid:"): r for key, r in work.doubts.items()}
    return detail
