"""Metadata values to ebRIM, valid under the schema: what was sent is said again where it still holds (`kept`).

Every function adds one object to a list (``rim:RegistryObjectList``). Ids of what is within an object are made from the
object's own, so that the same object is written the same every time.

Source: spec/xds.md 3 (IHE ITI TF-3 4.2).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from lxml import etree

from documents import dtm
from documents.metadata import (
    AssociationMetadata,
    Author,
    CodedValue,
    EntryMetadata,
    FolderMetadata,
    Status,
    Submission,
    SubmissionSetMetadata,
)
from hie.faces.soap.ebxml import hl7, names
from hie.faces.soap.ebxml.kept import Kept, Strings
from hie.faces.soap.ebxml.names import RIM, XML_LANG, tag
from hie.standards import oids

Element = etree._Element
_SLOT, _VALUE_LIST, _VALUE = tag(RIM, "Slot"), tag(RIM, "ValueList"), tag(RIM, "Value")
_NAME, _DESCRIPTION, _STRING = tag(RIM, "Name"), tag(RIM, "Description"), tag(RIM, "LocalizedString")
_VERSION, _CLASSIFICATION = tag(RIM, "VersionInfo"), tag(RIM, "Classification")
_IDENTIFIER = tag(RIM, "ExternalIdentifier")
_UNSPEAKABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def object_list() -> Element:
    """An empty ``rim:RegistryObjectList``."""
    return etree.Element(tag(RIM, "RegistryObjectList"), nsmap=names.NSMAP)


def submission(wanted: Submission) -> Element:
    """The objects of a submission, as ITI-42 sends them."""
    listed = object_list()
    for entry in wanted.entries:
        document_entry(listed, entry)
    submission_set(listed, wanted.submission_set)
    for one in wanted.folders:
        folder(listed, one)
    for association in wanted.associations:
        association_between(listed, association)
    return listed


def object_ref(listed: Element, object_id: str, home: str | None = None) -> None:
    """A ``rim:ObjectRef``."""
    ref = etree.SubElement(listed, tag(RIM, "ObjectRef"), {"id": object_id})
    if home:
        ref.set("home", home)


def document_entry(listed: Element, entry: EntryMetadata) -> None:
    """A DocumentEntry with its status."""
    made = _Object(
        listed, "ExtrinsicObject", entry.entry_uuid, entry.extra, entry.home_community_id, entry.logical_id,
        objectType=entry.object_type, mimeType=entry.mime_type, status=entry.availability_status.value,
    )  # fmt: skip
    kept = made.kept
    source_patient = entry.source_patient_id
    authenticator = entry.legal_authenticator
    references = enumerate(entry.reference_ids)
    made.slots(
        ("creationTime", entry.creation_time),
        ("documentAvailability", entry.document_availability),
        ("hash", kept.text("hash", entry.hash) if entry.hash else None),
        ("languageCode", entry.language_code),
        (
            "legalAuthenticator",
            kept.text("legalAuthenticator", hl7.write_xcn(authenticator)) if authenticator else None,
        ),
        (
            names.REFERENCE_ID_LIST,
            [kept.text(f"referenceIdList.{number}", hl7.write_cxi(one)) for number, one in references],
        ),
        ("repositoryUniqueId", entry.repository_unique_id),
        ("serviceStartTime", entry.service_start_time),
        ("serviceStopTime", entry.service_stop_time),
        ("size", kept.text("size", str(entry.size)) if entry.size is not None else None),
        ("sourcePatientId", kept.text("sourcePatientId", hl7.write_cx(source_patient)) if source_patient else None),
        ("sourcePatientInfo", entry.source_patient_info),
        ("URI", entry.uri),
    )
    made.described(entry.title, entry.comments, entry.version)
    made.authors(names.ENTRY_AUTHOR, entry.authors)
    for attribute, codes in (
        ("classCode", (entry.class_code,)),
        ("confidentialityCode", entry.confidentiality_codes),
        ("eventCodeList", entry.event_codes),
        ("formatCode", (entry.format_code,)),
        ("healthcareFacilityTypeCode", (entry.healthcare_facility_type_code,)),
        ("practiceSettingCode", (entry.practice_setting_code,)),
        ("typeCode", (entry.type_code,)),
    ):
        made.codes(names.ENTRY_CODES[attribute], attribute, codes)
    if entry.limited_metadata:
        made.node(names.LIMITED_ENTRY)
    made.further_classifications()
    if entry.patient_id is not None:
        made.identifier(names.ENTRY_PATIENT_ID, kept.text("patientId", hl7.write_cx(entry.patient_id)))
    made.identifier(names.ENTRY_UNIQUE_ID, entry.unique_id)
    made.further_identifiers()


def submission_set(listed: Element, own: SubmissionSetMetadata, status: Status = Status.APPROVED) -> None:
    """A SubmissionSet."""
    made = _Object(
        listed, "RegistryPackage", own.entry_uuid, own.extra, own.home_community_id, None,
        objectType=names.REGISTRY_PACKAGE, status=status.value,
    )  # fmt: skip
    made.slots(("intendedRecipient", own.intended_recipients), ("submissionTime", own.submission_time))
    made.described(own.title, own.comments, None)
    made.node(names.SUBMISSION_SET_NODE)
    made.authors(names.SUBMISSION_SET_AUTHOR, own.authors)
    made.codes(names.CONTENT_TYPE, "contentTypeCode", (own.content_type_code,))
    if own.limited_metadata:
        made.node(names.LIMITED_SUBMISSION_SET)
    made.further_classifications()
    if own.patient_id is not None:
        made.identifier(names.SUBMISSION_SET_PATIENT_ID, made.kept.text("patientId", hl7.write_cx(own.patient_id)))
    made.identifier(names.SUBMISSION_SET_SOURCE_ID, own.source_id)
    made.identifier(names.SUBMISSION_SET_UNIQUE_ID, own.unique_id)
    made.further_identifiers()


def folder(
    listed: Element,
    own: FolderMetadata,
    status: Status = Status.APPROVED,
    last_update_time: datetime | None = None,
) -> None:
    """A Folder; `last_update_time` is the registry's."""
    made = _Object(
        listed, "RegistryPackage", own.entry_uuid, own.extra, own.home_community_id, own.logical_id,
        objectType=names.REGISTRY_PACKAGE, status=status.value,
    )  # fmt: skip
    made.slots(("lastUpdateTime", dtm.from_datetime(last_update_time) if last_update_time else None))
    made.described(own.title, own.comments, own.version)
    made.node(names.FOLDER_NODE)
    made.codes(names.FOLDER_CODES, "codeList", own.codes)
    if own.limited_metadata:
        made.node(names.LIMITED_FOLDER)
    made.further_classifications()
    if own.patient_id is not None:
        made.identifier(names.FOLDER_PATIENT_ID, made.kept.text("patientId", hl7.write_cx(own.patient_id)))
    made.identifier(names.FOLDER_UNIQUE_ID, own.unique_id)
    made.further_identifiers()


def association_between(
    listed: Element, own: AssociationMetadata, status: Status = Status.APPROVED, home: str | None = None
) -> None:
    """An Association."""
    made = _Object(
        listed, "Association", own.entry_uuid, own.extra, home, None,
        objectType=names.ASSOCIATION, associationType=own.type.value, sourceObject=own.source,
        targetObject=own.target, status=status.value,
    )  # fmt: skip
    made.slots(("SubmissionSetStatus", own.submission_set_status))
    made.strings(made.element, _NAME, made.kept.all("name"))
    made.strings(made.element, _DESCRIPTION, made.kept.all("comments"))
    made.codes(names.DOCUMENTATION, "documentation", (own.documentation,))
    made.further_classifications()
    made.further_identifiers()


class _Object:
    """One object while it is written; the calls come in the order of the schema."""

    def __init__(
        self,
        listed: Element,
        name: str,
        object_id: str,
        extra: Mapping[str, Any],
        home: str | None,
        logical_id: str | None,
        **attributes: str,
    ) -> None:
        given = {"id": object_id, **attributes}
        if logical_id:
            given["lid"] = logical_id
        if home:
            given["home"] = home
        self.element = etree.SubElement(listed, tag(RIM, name), {key: _said(value) for key, value in given.items()})
        self.id = object_id
        self.kept = Kept(extra)
        self._parts = 0

    def slots(self, *known: tuple[str, str | Sequence[str] | None]) -> None:
        """The slots of attributes, then those of none."""
        for name, values in known:
            if values:
                _slot(self.element, name, (values,) if isinstance(values, str) else values)
        for name, values in self.kept.slots.items():
            _slot(self.element, name, values)

    def described(self, title: str | None, comments: str | None, version: int | None) -> None:
        """Name, Description and VersionInfo."""
        self.strings(self.element, _NAME, self.kept.strings("title", title))
        self.strings(self.element, _DESCRIPTION, self.kept.strings("comments", comments))
        if version is not None:
            etree.SubElement(self.element, _VERSION, {"versionName": str(version)})

    def authors(self, scheme: str, authors: Iterable[Author]) -> None:
        """An author as a classification without a code."""
        for number, author in enumerate(authors):
            place = f"author.{number}"
            made = self._classification(
                classificationScheme=scheme, nodeRepresentation=self.kept.text(f"{place}.code", "")
            )
            person, kept = author.person, self.kept
            institutions = [
                kept.text(f"{place}.authorInstitution.{n}", hl7.write_xon(one))
                for n, one in enumerate(author.institutions)
            ]
            for name, values in (
                ("authorPerson", [kept.text(f"{place}.authorPerson", hl7.write_xcn(person))] if person else ()),
                ("authorInstitution", institutions),
                ("authorRole", author.roles),
                ("authorSpecialty", author.specialties),
                ("authorTelecommunication", author.telecommunications),
                *kept.slots_of(f"{place}.slots").items(),
            ):
                if values:
                    _slot(made, name, values)
            self.strings(made, _NAME, kept.all(place))

    def codes(self, scheme: str, attribute: str, codes: Iterable[CodedValue | None]) -> None:
        """A coded attribute as classifications."""
        for number, code in enumerate(codes):
            if code is None:
                continue
            place = f"{attribute}.{number}"
            made = self._classification(classificationScheme=scheme, nodeRepresentation=code.code)
            coding_scheme = self.kept.text(f"{place}.scheme", oids.scheme_oid(code.scheme))
            if coding_scheme:
                _slot(made, "codingScheme", (coding_scheme,))
            for name, values in self.kept.slots_of(f"{place}.slots").items():
                _slot(made, name, values)
            self.strings(made, _NAME, self.kept.strings(place, code.display))
            self.strings(made, _DESCRIPTION, self.kept.all(f"{place}.description"))

    def node(self, node: str) -> None:
        """A classification by a node."""
        self._classification(classificationNode=node)

    def further_classifications(self) -> None:
        """Those of no attribute."""
        for held in self.kept.classifications:
            keys = (("classificationScheme", "scheme"), ("classificationNode", "node"), ("nodeRepresentation", "code"))
            made = self._classification(**{name: held[key] for name, key in keys if held.get(key)})
            for name, values in held.get("slots", {}).items():
                _slot(made, name, values)
            self.strings(made, _NAME, held.get("names", ()))

    def identifier(self, scheme: str, value: str) -> None:
        """An external identifier under its label."""
        self._identifier(scheme, value, (("", "", names.LABELS[scheme]),))

    def further_identifiers(self) -> None:
        """Those of no attribute."""
        for held in self.kept.identifiers:
            self._identifier(held["scheme"], held["value"], held.get("names", ()))

    def strings(self, holder: Element, name: str, strings: Strings) -> None:
        """A Name or Description, where there is anything to say."""
        if not strings:
            return
        made = etree.SubElement(holder, name)
        for language, charset, value in strings:
            one = etree.SubElement(made, _STRING, {"value": _said(value)})
            if language:
                one.set(XML_LANG, _said(language))
            if charset:
                one.set("charset", _said(charset))

    def _classification(self, **attributes: str) -> Element:
        given = {"classifiedObject": self.id, "id": self._part(), "objectType": names.CLASSIFICATION, **attributes}
        return etree.SubElement(self.element, _CLASSIFICATION, {key: _said(value) for key, value in given.items()})

    def _identifier(self, scheme: str, value: str, strings: Strings) -> None:
        given = {
            "id": self._part(),
            "identificationScheme": scheme,
            "objectType": names.EXTERNAL_IDENTIFIER,
            "registryObject": self.id,
            "value": value,
        }
        made = etree.SubElement(self.element, _IDENTIFIER, {key: _said(value) for key, value in given.items()})
        self.strings(made, _NAME, strings)

    def _part(self) -> str:
        self._parts += 1
        return f"urn:uuid:{uuid.uuid5(_PARTS, f'{self.id}/{self._parts}')}"


_PARTS = uuid.UUID("5a1c3a0e-6b0e-5f5d-9a39-0c3f0d2b8b11")


def _slot(holder: Element, name: str, values: Iterable[str]) -> None:
    listed = etree.SubElement(etree.SubElement(holder, _SLOT, {"name": _said(name)}), _VALUE_LIST)
    for value in values:
        etree.SubElement(listed, _VALUE).text = _said(value)


def _said(text: str) -> str:
    """The text without characters that XML cannot carry: another face may have taken them."""
    return text if text.isascii() and text.isprintable() else _UNSPEAKABLE.sub("\ufffd", text)
