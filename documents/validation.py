"""What makes a submission wrong, one function a rule; nothing here needs the database.

Each rule gives the problems it finds; `check` runs them in the order of the standard and gives all of
a stage at once (structure first: attributes of a broken structure say little). How much an object must carry
depends on `Submission.level`; what it carries must be right on every level.

Source: spec/xds.md 3 and 4 (IHE ITI TF-3 4.2.3, TF-2 3.42.4.1.3); levels: spec/fhir.md 3.1 and 3.5.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from documents import dtm
from documents.errors import (
    DuplicateUniqueIdInMessage,
    InvalidAttribute,
    InvalidStructure,
    MissingDocument,
    MissingDocumentMetadata,
    PatientIdDoesNotMatch,
    RequiredAttributeMissing,
    UnknownCode,
)
from documents.metadata import (
    CX,
    ON_DEMAND,
    STABLE,
    AssociationMetadata,
    AssociationType,
    Author,
    Bytes,
    CodedValue,
    EntryMetadata,
    FolderMetadata,
    MetadataLevel,
    Submission,
    SubmissionSetMetadata,
)
from hie.standards import mime, oids
from hie.standards.errors import HubError

Problems = Iterator[HubError]

MAX_VALUE = 4096  # characters of one text; the schema's 256 of a slot value is below what real senders use
DELAYED_HASH = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
RELATIONSHIPS = (
    AssociationType.RPLC,
    AssociationType.XFRM,
    AssociationType.APND,
    AssociationType.XFRM_RPLC,
    AssociationType.SIGNS,
    AssociationType.IS_SNAPSHOT_OF,
)
_PRINTABLE = re.compile(r"[^\x00-\x20\x7f-\x9f](?:[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\x9f])?\Z")
_LANGUAGE = re.compile(
    r"(?:[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4}|[a-z]{5,8}|i|x)(?:-[a-z0-9]{1,8})*\Z", re.IGNORECASE | re.ASCII
)
_HASH = re.compile(r"[0-9a-f]{40}\Z", re.IGNORECASE | re.ASCII)
_UUID_URN = re.compile(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.ASCII)
# Sources in service, the public tests among them, number themselves outside the tree of OIDs (129.6.58…).
_DOTTED = re.compile(r"\d+(\.\d+)+\Z", re.ASCII)
_PID = re.compile(r"PID-(\d{1,2})\|")
_FORBIDDEN_PID = {"2", "4", "12", "19"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was wrong with how a submission was said, found while it was read: of its structure and of its attributes."""

    structure: tuple[HubError, ...] = ()
    attributes: tuple[HubError, ...] = ()


NOTHING_WRONG = Reading()


def check(submission: Submission, reading: Reading = NOTHING_WRONG) -> list[HubError]:
    """Every problem of the first stage that has one: structure, then attributes and ids.

    Those found in `reading` are told with them; an attribute that could not be read is not told to be missing too.
    """
    problems = list(reading.structure)
    if submission.submission_set.entry_uuid or not problems:
        problems += [*check_structure(submission), *check_associations(submission), *check_contents(submission)]
    if problems:
        return problems
    unread = {problem.element for problem in reading.attributes}
    found = [
        *check_submission_set(submission),
        *(p for entry in submission.entries for p in check_entry(entry, submission.level)),
        *(p for entry in submission.entries for p in check_elsewhere(entry, submission.bytes)),
        *(p for folder in submission.folders for p in check_folder(folder, submission.level)),
        *check_no_update(submission),
        *check_unique_ids(submission),
    ]
    return [*reading.attributes, *(problem for problem in found if problem.element not in unread)]


# -- structure ----------------------------------------------------------------------------------


def check_structure(submission: Submission) -> Problems:
    """No two objects share an id; every entry and folder hangs on the submission set. Stage 2."""
    own = submission.submission_set.entry_uuid
    ids = [
        own,
        *(entry.entry_uuid for entry in submission.entries),
        *(folder.entry_uuid for folder in submission.folders),
        *(association.entry_uuid for association in submission.associations),
    ]
    for object_id, number in Counter(ids).items():
        if number > 1:
            yield InvalidStructure(f"{number} objects have the id {object_id}", element=object_id)
        elif not object_id:
            yield InvalidStructure("an object has no id", element="id")
        elif object_id.startswith("urn:uuid:") and _UUID_URN.match(object_id) is None:
            yield InvalidStructure(f"{object_id} is not a lower-case UUID URN", element=object_id)
    members = {a.target for a in submission.associations if a.type is AssociationType.HAS_MEMBER and a.source == own}
    for kind, objects in (("DocumentEntry", submission.entries), ("Folder", submission.folders)):
        for item in objects:
            if item.entry_uuid not in members:
                yield InvalidStructure(
                    f"{kind} {item.entry_uuid} is not a member of the submission set",
                    element=f"{kind}[{item.entry_uuid}]",
                )


def check_associations(submission: Submission) -> Problems:
    """Each association joins what its type may join. Stage 2; spec/xds.md 3.5."""
    own = submission.submission_set.entry_uuid
    entries = {entry.entry_uuid: entry for entry in submission.entries}
    folders = {folder.entry_uuid for folder in submission.folders}
    associations = {association.entry_uuid: association for association in submission.associations}
    new = {own, *entries, *folders, *associations}
    linked = {a.target for a in associations.values() if a.source == own and a.type is AssociationType.HAS_MEMBER}
    seen: set[tuple[str, str, str]] = set()
    for association in submission.associations:
        where = f"Association[{association.entry_uuid}]"
        key = (association.type, association.source, association.target)
        if key in seen:
            yield InvalidStructure("the same association is given twice", element=where)
        seen.add(key)
        for end, value in (("sourceObject", association.source), ("targetObject", association.target)):
            if value not in new and _UUID_URN.match(value) is None:
                yield InvalidStructure(
                    f"{end} {value} is neither in the submission nor a registered id", element=f"{where}.{end}"
                )
        if association.source == association.target:
            yield InvalidStructure("an association joins an object to itself", element=where)
        if association.type in RELATIONSHIPS:
            if association.source not in entries:
                yield InvalidStructure(
                    "the source of a relationship is an entry of the submission", element=f"{where}.sourceObject"
                )
            if association.target in new and (
                submission.level is MetadataLevel.XDS or association.target not in entries
            ):
                # MHD lets a relatesTo name another DocumentReference of the Bundle.
                yield InvalidStructure(
                    "the target of a relationship is an entry registered before", element=f"{where}.targetObject"
                )
            continue
        if association.documentation is not None:
            yield InvalidStructure("a membership has no documentation code", element=f"{where}.documentation")
        if association.source == own:
            if association.submission_set_status not in (None, "Original", "Reference"):
                text = "SubmissionSetStatus is Original or Reference"
                yield InvalidAttribute(text, element=f"{where}.SubmissionSetStatus")
            target = association.target
            yield from _check_set_member(
                association, own, associations.get(target), target in entries, target in folders
            )
        elif association.target in folders or association.target in associations or association.target == own:
            yield InvalidStructure("a folder holds document entries only", element=f"{where}.targetObject")
        elif association.source in entries or association.source in associations:
            yield InvalidStructure("only a submission set or a folder has members", element=f"{where}.sourceObject")
        elif association.entry_uuid not in linked:
            yield InvalidStructure("a folder membership is a member of the submission set", element=where)


def _check_set_member(
    member: AssociationMetadata, own: str, joined: AssociationMetadata | None, is_entry: bool, is_folder: bool
) -> Problems:
    """What a submission set `own` has as a member: an association `joined`, an entry or a folder of the submission, or neither.

    Told what the target is, not the submission: a submission may have tens of thousands of members.
    """
    where, status = f"Association[{member.entry_uuid}]", member.submission_set_status
    if is_entry and status != "Original":
        yield InvalidAttribute(
            "an entry of the submission is a member with SubmissionSetStatus Original",
            element=f"{where}.SubmissionSetStatus",
        )
    if joined is not None:
        if joined.type is not AssociationType.HAS_MEMBER or joined.source == own:
            yield InvalidStructure(
                "of associations only folder memberships are members of a submission set", element=where
            )
    elif not is_entry and not is_folder and status != "Reference":
        yield InvalidAttribute(
            "an entry registered before is a member with SubmissionSetStatus Reference",
            element=f"{where}.SubmissionSetStatus",
        )


def check_contents(submission: Submission) -> Problems:
    """Each stable entry has its document and each document its entry (ITI-41).

    A face that leaves the bytes where they are (ITI-42) gives no contents at all.
    """
    entries = {entry.entry_uuid: entry for entry in submission.entries}
    for object_id in submission.contents:
        if object_id not in entries:
            yield MissingDocumentMetadata(f"document {object_id} has no entry", element=object_id)
        elif entries[object_id].object_type == ON_DEMAND:
            yield InvalidStructure("an on-demand entry has no document", element=f"DocumentEntry[{object_id}]")
    if submission.contents or submission.bytes is Bytes.SENT:
        for object_id, entry in entries.items():
            if entry.object_type == STABLE and object_id not in submission.contents:
                yield MissingDocument(f"entry {object_id} has no document", element=f"DocumentEntry[{object_id}]")


# -- attributes ---------------------------------------------------------------------------------


def check_entry(entry: EntryMetadata, level: MetadataLevel) -> Problems:
    """Presence, format and length of an entry's attributes. Stage 3; spec/xds.md 3.2."""
    where = f"DocumentEntry[{entry.entry_uuid}]"
    on_demand = entry.object_type == ON_DEMAND
    required: dict[str, object] = {
        "uniqueId": entry.unique_id,
        "mimeType": entry.mime_type,
        "objectType": entry.object_type,
        "patientId": entry.patient_id,
    }
    if level is not MetadataLevel.MINIMAL:
        required |= {
            "classCode": entry.class_code,
            "typeCode": entry.type_code,
            "formatCode": entry.format_code,
            "healthcareFacilityTypeCode": entry.healthcare_facility_type_code,
            "practiceSettingCode": entry.practice_setting_code,
            "confidentialityCode": entry.confidentiality_codes,
            "languageCode": entry.language_code,
            "sourcePatientId": entry.source_patient_id,
        }
        if not on_demand:
            required["creationTime"] = entry.creation_time
    yield from _missing(required, where)
    if entry.object_type not in (STABLE, ON_DEMAND):
        yield InvalidAttribute("objectType is neither stable nor on-demand document", element=f"{where}.objectType")
    if on_demand:
        forbidden = {
            "hash": entry.hash,
            "size": entry.size,
            "creationTime": entry.creation_time,
            "legalAuthenticator": entry.legal_authenticator,
        }
        for name, value in forbidden.items():
            if value is not None:
                yield InvalidAttribute(f"an on-demand entry has no {name}", element=f"{where}.{name}")
    if level is MetadataLevel.XDS and entry.limited_metadata:
        yield InvalidAttribute("limitedMetadata is not accepted here", element=f"{where}.limitedMetadata")
    yield from _check_unique_id(entry.unique_id, f"{where}.uniqueId")
    yield from _check_cx(entry.patient_id, f"{where}.patientId")
    yield from _check_cx(entry.source_patient_id, f"{where}.sourcePatientId")
    if entry.mime_type and mime.parse(entry.mime_type) is None:
        yield InvalidAttribute("mimeType is no media type", element=f"{where}.mimeType")
    codes: list[tuple[str, CodedValue]] = [
        (name, code)
        for name, code in (
            ("classCode", entry.class_code),
            ("typeCode", entry.type_code),
            ("formatCode", entry.format_code),
            ("healthcareFacilityTypeCode", entry.healthcare_facility_type_code),
            ("practiceSettingCode", entry.practice_setting_code),
        )
        if code is not None
    ]
    codes += [("confidentialityCode", code) for code in entry.confidentiality_codes]
    codes += [("eventCodeList", code) for code in entry.event_codes]
    yield from _check_coded(codes, where)
    yield from _check_times(
        {
            "creationTime": entry.creation_time,
            "serviceStartTime": entry.service_start_time,
            "serviceStopTime": entry.service_stop_time,
        },
        where,
    )
    yield from check_service_period(entry)
    if entry.hash is not None and _HASH.match(entry.hash) is None:
        yield InvalidAttribute("hash is not a SHA-1 in 40 hexadecimal digits", element=f"{where}.hash")
    if entry.size is not None and not 0 <= entry.size < 1 << 63:
        yield InvalidAttribute("size is not a number of bytes", element=f"{where}.size")
    if entry.language_code is not None and _LANGUAGE.match(entry.language_code) is None:
        yield InvalidAttribute("languageCode is no RFC 5646 tag", element=f"{where}.languageCode")
    if entry.repository_unique_id is not None and not oids.is_oid(entry.repository_unique_id):
        yield InvalidAttribute("repositoryUniqueId is no OID", element=f"{where}.repositoryUniqueId")
    yield from _check_home(entry.home_community_id, where)
    yield from _check_texts({"title": entry.title, "comments": entry.comments, "URI": entry.uri}, where)
    yield from _check_source_patient_info(entry, where)
    for author in entry.authors:
        yield from _check_author(author, where)
    for reference in entry.reference_ids:
        if not reference.value or (not reference.type_code and level is MetadataLevel.XDS):
            yield InvalidAttribute("a reference id needs an id and a type", element=f"{where}.referenceIdList")
    if entry.document_availability not in (
        None,
        "urn:ihe:iti:2010:DocumentAvailability:Online",
        "urn:ihe:iti:2010:DocumentAvailability:Offline",
    ):
        yield InvalidAttribute("documentAvailability is Online or Offline", element=f"{where}.documentAvailability")


def check_elsewhere(entry: EntryMetadata, where_bytes_are: Bytes) -> Problems:
    """An entry whose document another repository holds or makes says which, and what its bytes are. Stage 3; columns R, O."""
    where = f"DocumentEntry[{entry.entry_uuid}]"
    if where_bytes_are is Bytes.SENT and entry.object_type == ON_DEMAND:
        yield InvalidAttribute("an on-demand entry is registered by ITI-61", element=f"{where}.objectType")
    if where_bytes_are not in (Bytes.ELSEWHERE, Bytes.ON_DEMAND, Bytes.UPDATED):
        return
    yield from _missing({"repositoryUniqueId": entry.repository_unique_id}, where)
    if where_bytes_are is Bytes.ON_DEMAND:
        if entry.object_type == STABLE:
            yield InvalidAttribute("only on-demand entries are registered here", element=f"{where}.objectType")
        return
    if entry.object_type == ON_DEMAND:
        if where_bytes_are is not Bytes.UPDATED:
            yield InvalidAttribute("an on-demand entry is registered by ITI-61", element=f"{where}.objectType")
    else:
        yield from _missing({"hash": entry.hash, "size": entry.size}, where)


UPDATE_SLOTS = ("PreviousVersion", "AssociationPropagation", "OriginalStatus", "NewStatus")


def check_no_update(submission: Submission) -> Problems:
    """What only an update of metadata says (ITI-57) is not said in a registration. Stage 9."""
    for association in submission.associations:
        slots = association.extra.get("slots", {})
        for name in UPDATE_SLOTS:
            if name in slots:
                yield InvalidAttribute(
                    f"{name} belongs to an update of metadata", element=f"Association[{association.entry_uuid}].{name}"
                )
    if submission.level is not MetadataLevel.XDS or submission.bytes is Bytes.UPDATED:
        return
    for kind, objects in (("DocumentEntry", submission.entries), ("Folder", submission.folders)):
        for one in objects:
            if one.logical_id not in (None, one.entry_uuid):
                yield InvalidAttribute(
                    "a logicalID of another object belongs to an update of metadata",
                    element=f"{kind}[{one.entry_uuid}].logicalID",
                )


def check_service_period(entry: EntryMetadata) -> Problems:
    """serviceStartTime is not after serviceStopTime, at the precision both have."""
    start = dtm.interval(entry.service_start_time or "")
    stop = dtm.interval(entry.service_stop_time or "")
    if start is not None and stop is not None and start[0] >= stop[1]:
        yield InvalidAttribute(
            "serviceStartTime is after serviceStopTime",
            element=f"DocumentEntry[{entry.entry_uuid}].serviceStartTime",
        )


def check_submission_set(submission: Submission) -> Problems:
    """Presence and format of the submission set's attributes. Stage 3; spec/xds.md 3.3."""
    own: SubmissionSetMetadata = submission.submission_set
    where = f"SubmissionSet[{own.entry_uuid}]"
    required: dict[str, object] = {
        "uniqueId": own.unique_id,
        "sourceId": own.source_id,
        "submissionTime": own.submission_time,
        "patientId": own.patient_id,
    }
    if submission.level is not MetadataLevel.MINIMAL:
        required["contentTypeCode"] = own.content_type_code
    yield from _missing(required, where)
    if own.unique_id and not oids.is_oid(own.unique_id):
        yield InvalidAttribute("uniqueId of a submission set is an OID", element=f"{where}.uniqueId")
    if own.source_id and (len(own.source_id) > 64 or _DOTTED.match(own.source_id) is None):
        yield InvalidAttribute("sourceId is an OID", element=f"{where}.sourceId")
    yield from _check_cx(own.patient_id, f"{where}.patientId")
    yield from _check_times({"submissionTime": own.submission_time or None}, where)
    if own.content_type_code is not None:
        yield from _check_coded([("contentTypeCode", own.content_type_code)], where)
    yield from _check_texts({"title": own.title, "comments": own.comments}, where)
    yield from _check_home(own.home_community_id, where)
    for author in own.authors:
        yield from _check_author(author, where)
    if submission.level is MetadataLevel.XDS and own.limited_metadata:
        yield InvalidAttribute("limitedMetadata is not accepted here", element=f"{where}.limitedMetadata")


def check_folder(folder: FolderMetadata, level: MetadataLevel) -> Problems:
    """Presence and format of a folder's attributes. Stage 3; spec/xds.md 3.4."""
    where = f"Folder[{folder.entry_uuid}]"
    required: dict[str, object] = {"uniqueId": folder.unique_id, "patientId": folder.patient_id}
    if level is not MetadataLevel.MINIMAL:
        required |= {"codeList": folder.codes, "title": folder.title}
    yield from _missing(required, where)
    if folder.unique_id and not oids.is_oid(folder.unique_id):
        yield InvalidAttribute("uniqueId of a folder is an OID", element=f"{where}.uniqueId")
    yield from _check_cx(folder.patient_id, f"{where}.patientId")
    yield from _check_coded([("codeList", code) for code in folder.codes], where)
    yield from _check_texts({"title": folder.title, "comments": folder.comments}, where)
    yield from _check_home(folder.home_community_id, where)
    if level is MetadataLevel.XDS and folder.limited_metadata:
        yield InvalidAttribute("limitedMetadata is not accepted here", element=f"{where}.limitedMetadata")


def check_patients(submission: Submission, same: Callable[[CX, CX], bool]) -> Problems:
    """All objects of a submission name the same patient. Stage 5.

    `same` says whether two identifiers are one patient's; ITI-42 wants the very same identifier.
    """
    own = submission.submission_set.patient_id
    objects: list[tuple[str, CX | None]] = [
        *((f"DocumentEntry[{entry.entry_uuid}]", entry.patient_id) for entry in submission.entries),
        *((f"Folder[{folder.entry_uuid}]", folder.patient_id) for folder in submission.folders),
    ]
    for where, patient_id in objects:
        if own is None or patient_id is None or patient_id == own:
            continue
        if submission.level is MetadataLevel.XDS or not same(own, patient_id):
            yield PatientIdDoesNotMatch(
                "the patient is another than that of the submission set", element=f"{where}.patientId"
            )


def check_unique_ids(submission: Submission) -> Problems:
    """No uniqueId is used twice in a message. Stage 6."""
    seen: dict[str, str] = {}
    objects = [
        (f"SubmissionSet[{submission.submission_set.entry_uuid}]", submission.submission_set.unique_id),
        *((f"DocumentEntry[{entry.entry_uuid}]", entry.unique_id) for entry in submission.entries),
        *((f"Folder[{folder.entry_uuid}]", folder.unique_id) for folder in submission.folders),
    ]
    for where, unique_id in objects:
        if unique_id and unique_id in seen:
            yield DuplicateUniqueIdInMessage(
                f"uniqueId {unique_id} is also that of {seen[unique_id]}", element=f"{where}.uniqueId"
            )
        seen.setdefault(unique_id, where)


def check_codes(submission: Submission, accepted: Callable[[str, CodedValue], bool]) -> Problems:
    """Codes and media types belong to the affinity domain. Stage 4.

    `accepted(attribute, code)` says so; a media type is asked as attribute ``mimeType`` with an empty scheme.
    """
    for entry in submission.entries:
        where = f"DocumentEntry[{entry.entry_uuid}]"
        asked: list[tuple[str, CodedValue | None]] = [
            ("classCode", entry.class_code),
            ("typeCode", entry.type_code),
            ("formatCode", entry.format_code),
            ("healthcareFacilityTypeCode", entry.healthcare_facility_type_code),
            ("practiceSettingCode", entry.practice_setting_code),
            *(("confidentialityCode", code) for code in entry.confidentiality_codes),
            *(("eventCodeList", code) for code in entry.event_codes),
            ("mimeType", CodedValue(code=entry.mime_type, scheme="")),
        ]
        yield from _not_accepted(asked, where, accepted)
    own = submission.submission_set
    yield from _not_accepted([("contentTypeCode", own.content_type_code)], f"SubmissionSet[{own.entry_uuid}]", accepted)
    for folder in submission.folders:
        yield from _not_accepted(
            (("folderCodeList", code) for code in folder.codes), f"Folder[{folder.entry_uuid}]", accepted
        )
    for association in submission.associations:
        yield from _not_accepted(
            [("associationDocumentation", association.documentation)],
            f"Association[{association.entry_uuid}]",
            accepted,
        )


def _not_accepted(
    asked: Iterable[tuple[str, CodedValue | None]], where: str, accepted: Callable[[str, CodedValue], bool]
) -> Problems:
    for attribute, code in asked:
        if code is not None and not accepted(attribute, code):
            yield UnknownCode(
                f"{attribute} {code.code} of {code.scheme or 'no scheme'} is not in the affinity domain",
                element=f"{where}.{attribute}",
            )


# -- formats ------------------------------------------------------------------------------------


def _missing(required: dict[str, object], where: str) -> Problems:
    for name, value in required.items():
        if value is None or value == "" or value == ():
            yield RequiredAttributeMissing(f"{name} is required", element=f"{where}.{name}")


def _check_unique_id(value: str, where: str) -> Problems:
    """At most 128 printable characters; the framework leaves the rest to the format (spec/xds.md 3.2)."""
    if value and (len(value) > 128 or _PRINTABLE.match(value) is None):
        yield InvalidAttribute("uniqueId has at most 128 printable characters", element=where)


def _check_cx(value: CX | None, where: str) -> Problems:
    if value is None:
        return
    if not value.value or not value.authority:
        yield InvalidAttribute("an identifier needs a value and an assigning authority", element=where)
    elif len(value.value) > 256 or _PRINTABLE.match(value.value) is None:
        yield InvalidAttribute("an identifier has at most 256 printable characters", element=where)


def _check_coded(codes: Iterable[tuple[str, CodedValue]], where: str) -> Problems:
    for name, code in codes:
        if not code.code or not code.scheme:
            yield InvalidAttribute(f"{name} needs a code and a coding scheme", element=f"{where}.{name}")
        elif len(code.code) > 256 or len(code.scheme) > 256 or _PRINTABLE.match(code.code) is None:
            yield InvalidAttribute(f"{name} has at most 256 printable characters", element=f"{where}.{name}")
        yield from _check_texts({name: code.display}, where)


def _check_times(times: dict[str, str | None], where: str) -> Problems:
    for name, value in times.items():
        if value is not None and not dtm.is_dtm(value):
            yield InvalidAttribute(f"{name} is no time YYYY[MM[DD[hh[mm[ss]]]]]", element=f"{where}.{name}")


def _check_home(value: str | None, where: str) -> Problems:
    if value is not None and not (value.startswith("urn:oid:") and oids.is_oid(value[8:])):
        yield InvalidAttribute("homeCommunityId is urn:oid: with an OID", element=f"{where}.homeCommunityId")


def _check_texts(texts: dict[str, str | None], where: str) -> Problems:
    for name, value in texts.items():
        if value is not None and (len(value) > MAX_VALUE or "\x00" in value):
            yield InvalidAttribute(f"{name} has at most {MAX_VALUE} characters and no NUL", element=f"{where}.{name}")


def _check_source_patient_info(entry: EntryMetadata, where: str) -> Problems:
    for value in entry.source_patient_info:
        field = _PID.match(value)
        if field is None:
            yield InvalidAttribute(
                "sourcePatientInfo holds PID fields as PID-n|value", element=f"{where}.sourcePatientInfo"
            )
        elif field.group(1) in _FORBIDDEN_PID:
            yield InvalidAttribute(
                f"sourcePatientInfo may not hold PID-{field.group(1)}", element=f"{where}.sourcePatientInfo"
            )


def _check_author(author: Author, where: str) -> Problems:
    if author.person is None and not author.institutions and not author.telecommunications:
        yield InvalidAttribute(
            "an author has a person, an institution or a telecommunication", element=f"{where}.author"
        )
    if author.person is not None and not (author.person.id or author.person.family or author.person.given):
        yield InvalidAttribute("authorPerson needs an id or a name", element=f"{where}.author")
    for institution in author.institutions:
        if not institution.name and not institution.id:
            yield InvalidAttribute("authorInstitution needs a name", element=f"{where}.author")
