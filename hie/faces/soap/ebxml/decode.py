"""ebRIM to metadata values: one submission with everything that was said, and everything that is wrong with how it was said.

What can be read is read, so that one answer names every problem: `Decoded.structure` comes before `Decoded.attributes`, as
the stages of the standard do (spec/xds.md 4). Ids that are absent are made up; nested or outer classifications, any order
of children and slots of no attribute are taken.

Source: spec/xds.md 3 (IHE ITI TF-3 4.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from lxml import etree

from documents.errors import InvalidAttribute, InvalidStructure
from documents.metadata import (
    CX,
    XCN,
    AssociationMetadata,
    AssociationType,
    Author,
    CodedValue,
    EntryMetadata,
    FolderMetadata,
    Status,
    Submission,
    SubmissionSetMetadata,
    UpdateAssociation,
    UpdateType,
)
from hie.faces.soap.ebxml import hl7, names, reading
from hie.faces.soap.ebxml.kept import Keeping
from hie.faces.soap.ebxml.reading import Classification, RegistryObject, Slotted
from hie.standards import oids
from hie.standards.errors import HubError

T = TypeVar("T")
_TYPES = {kind.value: kind for kind in AssociationType}
_UPDATES = {kind.value: kind for kind in UpdateType}
_STATUSES = {kind.value: kind for kind in Status}
_LIST = names.tag(names.RIM, "RegistryObjectList")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A submission as far as it could be read; `updates` are the associations that only ITI-57 knows."""

    submission: Submission
    structure: tuple[HubError, ...] = ()
    attributes: tuple[HubError, ...] = ()
    updates: tuple[UpdateAssociation, ...] = ()


def submission(request: etree._Element) -> Decoded:
    """The submission of an ``lcm:SubmitObjectsRequest``."""
    return from_objects(request.find(_LIST))


def from_objects(listed: etree._Element | None) -> Decoded:
    """The submission of a ``rim:RegistryObjectList``."""
    found = reading.objects(() if listed is None else listed)
    structure = found.structure
    sets: list[RegistryObject] = []
    folders: list[RegistryObject] = []
    for package in found.packages:
        is_set, is_folder = package.has_node(names.SUBMISSION_SET_NODE), package.has_node(names.FOLDER_NODE)
        if is_set == is_folder:
            structure.append(
                InvalidStructure("a RegistryPackage is classified as SubmissionSet or as Folder", element=package.where)
            )
        elif is_set:
            package.called("SubmissionSet")
            sets.append(package)
        else:
            package.called("Folder")
            folders.append(package)
    if len(sets) != 1:
        structure.append(
            InvalidStructure(f"a submission has one SubmissionSet, this has {len(sets)}", element="SubmissionSet")
        )
    associations, updates = _associations(found.associations, structure)
    return Decoded(
        submission=Submission(
            submission_set=_submission_set(sets[0]) if sets else _NO_SET,
            entries=tuple(_entry(one) for one in found.entries),
            folders=tuple(_folder(one) for one in folders),
            associations=associations,
        ),
        updates=updates,
        structure=tuple(structure),
        attributes=tuple(found.attributes),
    )


_NO_SET = SubmissionSetMetadata(entry_uuid="", unique_id="", source_id="", patient_id=None, submission_time="")


# -- objects --------------------------------------------------------------------------------------------------------


def _entry(found: RegistryObject) -> EntryMetadata:
    keep = Keeping()
    codes = {
        attribute: _codes(found, scheme, attribute, keep, many=attribute in ("confidentialityCode", "eventCodeList"))
        for attribute, scheme in names.ENTRY_CODES.items()
    }
    limited = found.has_node(names.LIMITED_ENTRY)
    size = found.one("size")
    if size is not None and not (size.isascii() and size.isdigit() and len(size) < 20):
        found.wrong("size", "size is a decimal number of bytes")
        size = None
    digest = found.one("hash")
    if digest is not None:
        keep.sent("hash", digest.lower(), digest)
    if size is not None:
        keep.sent("size", str(int(size)), size)
    return EntryMetadata(
        entry_uuid=found.id,
        unique_id=found.identifier(names.ENTRY_UNIQUE_ID, "uniqueId"),
        patient_id=_identifier(found, names.ENTRY_PATIENT_ID, "patientId", keep),
        mime_type=found.get("mimeType"),
        object_type=found.get("objectType"),
        availability_status=_status(found),
        logical_id=found.get("lid") or None,
        version=found.version,
        home_community_id=found.get("home") or None,
        repository_unique_id=found.one("repositoryUniqueId"),
        document_availability=found.one("documentAvailability"),
        authors=_authors(found, names.ENTRY_AUTHOR, keep),
        legal_authenticator=_read(
            found, "legalAuthenticator", "legalAuthenticator", hl7.check_xcn, hl7.read_xcn, hl7.write_xcn, keep
        ),
        class_code=_first(codes["classCode"]),
        type_code=_first(codes["typeCode"]),
        format_code=_first(codes["formatCode"]),
        healthcare_facility_type_code=_first(codes["healthcareFacilityTypeCode"]),
        practice_setting_code=_first(codes["practiceSettingCode"]),
        confidentiality_codes=codes["confidentialityCode"],
        event_codes=codes["eventCodeList"],
        creation_time=found.one("creationTime"),
        service_start_time=found.one("serviceStartTime"),
        service_stop_time=found.one("serviceStopTime"),
        language_code=found.one("languageCode"),
        hash=digest.lower() if digest is not None else None,
        size=int(size) if size is not None else None,
        source_patient_id=_read(
            found, "sourcePatientId", "sourcePatientId", hl7.check_cx, hl7.read_cx, hl7.write_cx, keep
        ),
        source_patient_info=found.all("sourcePatientInfo"),
        reference_ids=_each(
            found, names.REFERENCE_ID_LIST, "referenceIdList", hl7.check_cxi, hl7.read_cxi, hl7.write_cxi, keep
        ),
        title=_title(found, keep),
        comments=_text(found.description, "comments", keep),
        uri=_uri(found),
        limited_metadata=limited,
        extra=_rest(found, keep),
    )


def _submission_set(found: RegistryObject) -> SubmissionSetMetadata:
    keep = Keeping()
    recipients = found.all("intendedRecipient")
    for text in recipients:
        _check(found, "intendedRecipient", text, hl7.check_recipient)
    return SubmissionSetMetadata(
        entry_uuid=found.id,
        unique_id=found.identifier(names.SUBMISSION_SET_UNIQUE_ID, "uniqueId"),
        source_id=found.identifier(names.SUBMISSION_SET_SOURCE_ID, "sourceId"),
        patient_id=_identifier(found, names.SUBMISSION_SET_PATIENT_ID, "patientId", keep),
        submission_time=found.one("submissionTime") or "",
        authors=_authors(found, names.SUBMISSION_SET_AUTHOR, keep),
        content_type_code=_first(_codes(found, names.CONTENT_TYPE, "contentTypeCode", keep)),
        intended_recipients=recipients,
        title=_title(found, keep),
        comments=_text(found.description, "comments", keep),
        home_community_id=found.get("home") or None,
        limited_metadata=found.has_node(names.LIMITED_SUBMISSION_SET),
        extra=_rest(found, keep),
    )


def _folder(found: RegistryObject) -> FolderMetadata:
    keep = Keeping()
    found.one("lastUpdateTime")  # the registry's own to say, whatever was sent
    return FolderMetadata(
        entry_uuid=found.id,
        unique_id=found.identifier(names.FOLDER_UNIQUE_ID, "uniqueId"),
        patient_id=_identifier(found, names.FOLDER_PATIENT_ID, "patientId", keep),
        codes=_codes(found, names.FOLDER_CODES, "codeList", keep, many=True),
        title=_title(found, keep),
        comments=_text(found.description, "comments", keep),
        logical_id=found.get("lid") or None,
        version=found.version,
        home_community_id=found.get("home") or None,
        limited_metadata=found.has_node(names.LIMITED_FOLDER),
        extra=_rest(found, keep),
    )


def _associations(
    listed: Iterable[RegistryObject], structure: list[HubError]
) -> tuple[tuple[AssociationMetadata, ...], tuple[UpdateAssociation, ...]]:
    usual: list[AssociationMetadata] = []
    updates: list[UpdateAssociation] = []
    for found in listed:
        kind = found.get("associationType")
        source, target = found.get("sourceObject"), found.get("targetObject")
        if kind in _UPDATES:
            slots = {name: tuple(values) for name, values in found.slots.items()}
            updates.append(
                UpdateAssociation(entry_uuid=found.id, type=_UPDATES[kind], source=source, target=target, slots=slots)
            )
            continue
        if kind not in _TYPES:
            # Of the structure: what it was to join hangs on nothing now, and that would be told alone.
            text = f"{kind or 'nothing'} is no type of association"
            structure.append(InvalidStructure(text, element=f"{found.where}.associationType"))
            continue
        if found.get("lid") not in ("", found.id):
            found.wrong("logicalID", "an association has no versions: its lid is its id")
        keep = Keeping()
        status = found.one("SubmissionSetStatus")
        documentation = _first(_codes(found, names.DOCUMENTATION, "documentation", keep))
        keep.all_names("name", found.name)
        keep.all_names("comments", found.description)
        usual.append(
            AssociationMetadata(
                entry_uuid=found.id,
                type=_TYPES[kind],
                source=source,
                target=target,
                submission_set_status=status,
                documentation=documentation,
                extra=_rest(found, keep),
            )
        )
    return tuple(usual), tuple(updates)


# -- attributes -----------------------------------------------------------------------------------------------------


def _status(found: RegistryObject) -> Status:
    return _STATUSES.get(found.get("status"), Status.APPROVED)


def _first(codes: tuple[CodedValue, ...]) -> CodedValue | None:
    return codes[0] if codes else None


def _title(found: RegistryObject, keep: Keeping) -> str | None:
    title = _text(found.name, "title", keep)
    if title is not None and len(title) > 128:
        found.wrong("title", "title has at most 128 characters")
    return title


def _text(strings: list[tuple[str, str, str]], place: str, keep: Keeping) -> str | None:
    keep.names(place, strings)
    return strings[0][2] or None if strings else None


def _uri(found: RegistryObject) -> str | None:
    """URI: one value, or one cut into numbered pieces (``1|http://…``, ``2|…``)."""
    values = found.all("URI")
    if len(values) < 2:
        return values[0] if values else None
    pieces = sorted((value.partition("|") for value in values), key=lambda piece: piece[0].zfill(4))
    if not all(number.isdigit() and bar for number, bar, _ in pieces):
        found.wrong("URI", "URI of several values has them numbered")
        return None
    return "".join(text for _, _, text in pieces)


def _identifier(found: RegistryObject, scheme: str, attribute: str, keep: Keeping) -> CX | None:
    text = found.identifier(scheme, attribute)
    return _value(found, attribute, attribute, text, hl7.check_cx, hl7.read_cx, hl7.write_cx, keep) if text else None


def _codes(
    found: RegistryObject, scheme: str, attribute: str, keep: Keeping, *, many: bool = False
) -> tuple[CodedValue, ...]:
    classified = found.classified(scheme)
    if len(classified) > 1 and not many:
        found.wrong(attribute, f"{attribute} is given {len(classified)} times")
    codes = []
    for number, one in enumerate(classified):
        place = f"{attribute}.{number}"
        coding_scheme = one.one("codingScheme", attribute) or ""
        code = CodedValue(
            code=one.code.strip(),
            scheme=oids.scheme_uri(coding_scheme) if coding_scheme else "",
            display=one.name[0][2] if one.name else "",
        )
        keep.sent(f"{place}.scheme", oids.scheme_oid(code.scheme), coding_scheme)
        keep.names(place, one.name)
        keep.all_names(f"{place}.description", one.description)
        codes.append(code)
        _further(one, f"{place}.slots", keep)
    return tuple(codes)


def _authors(found: RegistryObject, scheme: str, keep: Keeping) -> tuple[Author, ...]:
    authors = []
    for number, one in enumerate(found.classified(scheme)):
        place = f"author.{number}"
        telecommunications = one.all("authorTelecommunication")
        for text in telecommunications:
            _check(one, "authorTelecommunication", text, hl7.check_xtn)
        person: XCN | None = _read(
            one, "authorPerson", f"{place}.authorPerson", hl7.check_xcn, hl7.read_xcn, hl7.write_xcn, keep
        )
        institutions = _each(
            one, "authorInstitution", "authorInstitution", hl7.check_xon, hl7.read_xon, hl7.write_xon, keep, f"{place}."
        )
        roles, specialties = one.all("authorRole"), one.all("authorSpecialty")
        keep.sent(f"{place}.code", "", one.code)
        keep.all_names(place, one.name)
        _further(one, f"{place}.slots", keep)
        authors.append(
            Author(
                person=person,
                institutions=institutions,
                roles=roles,
                specialties=specialties,
                telecommunications=telecommunications,
            )
        )
    return tuple(authors)


def _further(one: Classification, place: str, keep: Keeping) -> None:
    """Slots of a classification that mean nothing to XDS."""
    if one.slots:
        keep.slots(place, one.slots)


def _rest(found: RegistryObject, keep: Keeping) -> dict[str, object]:
    """What is left when every attribute has been read."""
    for one in found.classifications:
        keep.classification(
            {
                "scheme": one.scheme,
                "node": one.node,
                "code": one.code,
                "slots": {name: list(values) for name, values in one.slots.items()},
                "names": [list(string) for string in one.name],
            }
        )
    for other in found.identifiers:
        keep.identifier(
            {"scheme": other.scheme, "value": other.value, "names": [list(string) for string in other.name]}
        )
    return keep.as_extra(found.slots)


# -- HL7 data types -------------------------------------------------------------------------------------------------

_Check = Callable[[str], Iterator[str]]


def _check(found: Slotted, attribute: str, text: str, check: _Check) -> bool:
    problems = list(check(text))
    for message in problems:
        found.wrong(attribute, message)
    return not problems


def _read(
    found: Slotted,
    slot: str,
    place: str,
    check: _Check,
    read: Callable[[str], T],
    write: Callable[[T], str],
    keep: Keeping,
) -> T | None:
    text = found.one(slot)
    return _value(found, slot, place, text, check, read, write, keep) if text else None


def _each(
    found: Slotted,
    slot: str,
    attribute: str,
    check: _Check,
    read: Callable[[str], T],
    write: Callable[[T], str],
    keep: Keeping,
    before: str = "",
) -> tuple[T, ...]:
    texts = [text for text in found.all(slot) if text]
    return tuple(
        _value(found, attribute, f"{before}{attribute}.{number}", text, check, read, write, keep)
        for number, text in enumerate(texts)
    )


def _value(
    found: Slotted,
    attribute: str,
    place: str,
    text: str,
    check: _Check,
    read: Callable[[str], T],
    write: Callable[[T], str],
    keep: Keeping,
) -> T:
    _check(found, attribute, text, check)
    value = read(text)
    keep.sent(place, write(value), text)
    return value


def misplaced(found: Decoded) -> list[HubError]:
    """The operations of ITI-57 among what is registered anew: they have no place there (spec/xds.md 4, stage 9)."""
    return [
        InvalidAttribute(
            f"{one.type.name} belongs to an update of metadata",
            element=f"Association[{one.entry_uuid}].associationType",
        )
        for one in found.updates
    ]
