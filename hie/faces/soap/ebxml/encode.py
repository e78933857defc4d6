"""Metadata values to ebRIM, valid under the schema: what was sent is said again where it still holds (`kept`).

Objects are written as text and read into a tree once: building the tree element by element costs eight times that.
Ids of what is within an object are made from the object's own, so that the same object is written the same every time.

Source: spec/xds.md 3 (IHE ITI TF-3 4.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
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
from hie.standards import oids, xml

_TO_BE_ESCAPED = re.compile('[&<>"\t\n\r]')
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
# What is read here was written here: nothing in it is to be looked up, and a long answer is no attack.
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True)


class Objects:
    """A ``rim:RegistryObjectList`` while it is written; `home` is the community of each object that names none of its own."""

    def __init__(self, home: str | None = None) -> None:
        self._text: list[str] = []
        self._home = home

    def element(self) -> etree._Element:
        """The list as written so far."""
        text = f'<rim:RegistryObjectList xmlns:rim="{names.RIM}">{"".join(self._text)}</rim:RegistryObjectList>'
        return etree.fromstring(text, _PARSER)

    def object_ref(self, object_id: str, home: str | None = None) -> None:
        """A ``rim:ObjectRef``."""
        home = home or self._home
        at = f' home="{_q(home)}"' if home else ""
        self._text.append(f'<rim:ObjectRef id="{_q(object_id)}"{at}/>')

    def document_entry(self, entry: EntryMetadata) -> None:
        """A DocumentEntry with its status."""
        made = _Object(
            "ExtrinsicObject", entry.entry_uuid, entry.extra, entry.home_community_id or self._home, entry.logical_id
        )
        made.attribute("mimeType", entry.mime_type)
        made.attribute("objectType", entry.object_type)
        made.attribute("status", entry.availability_status.value)
        kept = made.kept
        source, authenticator = entry.source_patient_id, entry.legal_authenticator
        made.slot("creationTime", entry.creation_time)
        made.slot("documentAvailability", entry.document_availability)
        made.slot("hash", kept.text("hash", entry.hash) if entry.hash else None)
        made.slot("languageCode", entry.language_code)
        if authenticator is not None:
            made.slot("legalAuthenticator", kept.text("legalAuthenticator", hl7.write_xcn(authenticator)))
        references = enumerate(entry.reference_ids)
        made.slots(
            names.REFERENCE_ID_LIST,
            [kept.text(f"referenceIdList.{number}", hl7.write_cxi(one)) for number, one in references],
        )
        made.slot("repositoryUniqueId", entry.repository_unique_id)
        made.slot("serviceStartTime", entry.service_start_time)
        made.slot("serviceStopTime", entry.service_stop_time)
        made.slot("size", kept.text("size", str(entry.size)) if entry.size is not None else None)
        if source is not None:
            made.slot("sourcePatientId", kept.text("sourcePatientId", hl7.write_cx(source)))
        made.slots("sourcePatientInfo", entry.source_patient_info)
        made.slot("URI", entry.uri)
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
        self._text.append(made.end())

    def submission_set(self, own: SubmissionSetMetadata, status: Status = Status.APPROVED) -> None:
        """A SubmissionSet."""
        made = _Object("RegistryPackage", own.entry_uuid, own.extra, own.home_community_id or self._home, None)
        made.attribute("objectType", names.REGISTRY_PACKAGE)
        made.attribute("status", status.value)
        made.slots("intendedRecipient", own.intended_recipients)
        made.slot("submissionTime", own.submission_time)
        made.described(own.title, own.comments, None)
        made.node(names.SUBMISSION_SET_NODE)
        made.authors(names.SUBMISSION_SET_AUTHOR, own.authors)
        made.codes(names.CONTENT_TYPE, "contentTypeCode", (own.content_type_code,))
        if own.limited_metadata:
            made.node(names.LIMITED_SUBMISSION_SET)
        made.further_classifications()
        if own.patient_id is not None:
            patient_id = made.kept.text("patientId", hl7.write_cx(own.patient_id))
            made.identifier(names.SUBMISSION_SET_PATIENT_ID, patient_id)
        made.identifier(names.SUBMISSION_SET_SOURCE_ID, own.source_id)
        made.identifier(names.SUBMISSION_SET_UNIQUE_ID, own.unique_id)
        self._text.append(made.end())

    def folder(
        self, own: FolderMetadata, status: Status = Status.APPROVED, last_update_time: datetime | None = None
    ) -> None:
        """A Folder; `last_update_time` is the registry's."""
        made = _Object(
            "RegistryPackage", own.entry_uuid, own.extra, own.home_community_id or self._home, own.logical_id
        )
        made.attribute("objectType", names.REGISTRY_PACKAGE)
        made.attribute("status", status.value)
        made.slot("lastUpdateTime", dtm.from_datetime(last_update_time) if last_update_time else None)
        made.described(own.title, own.comments, own.version)
        made.node(names.FOLDER_NODE)
        made.codes(names.FOLDER_CODES, "codeList", own.codes)
        if own.limited_metadata:
            made.node(names.LIMITED_FOLDER)
        made.further_classifications()
        if own.patient_id is not None:
            made.identifier(names.FOLDER_PATIENT_ID, made.kept.text("patientId", hl7.write_cx(own.patient_id)))
        made.identifier(names.FOLDER_UNIQUE_ID, own.unique_id)
        self._text.append(made.end())

    def association(self, own: AssociationMetadata, status: Status = Status.APPROVED) -> None:
        """An Association."""
        made = _Object("Association", own.entry_uuid, own.extra, self._home, None)
        made.attribute("associationType", own.type.value)
        made.attribute("objectType", names.ASSOCIATION)
        made.attribute("sourceObject", own.source)
        made.attribute("targetObject", own.target)
        made.attribute("status", status.value)
        made.slot("SubmissionSetStatus", own.submission_set_status)
        made.further_slots()
        made.strings("Name", made.kept.all("name"))
        made.strings("Description", made.kept.all("comments"))
        made.codes(names.DOCUMENTATION, "documentation", (own.documentation,))
        made.further_classifications()
        self._text.append(made.end())


def submission(wanted: Submission) -> etree._Element:
    """The objects of a submission, as ITI-42 sends them."""
    listed = Objects()
    for entry in wanted.entries:
        listed.document_entry(entry)
    listed.submission_set(wanted.submission_set)
    for one in wanted.folders:
        listed.folder(one)
    for association in wanted.associations:
        listed.association(association)
    return listed.element()


class _Object:
    """One object while it is written; the calls come in the order of the schema, attributes first."""

    def __init__(
        self, name: str, object_id: str, extra: Mapping[str, Any], home: str | None, logical_id: str | None
    ) -> None:
        self.id = object_id
        self.kept = Kept(extra)
        self._name = name
        self._parts = 0
        self._attributes = [f'<rim:{name} id="{_q(object_id)}"']
        self._text: list[str] = []
        if logical_id:
            self.attribute("lid", logical_id)
        if home:
            self.attribute("home", home)

    def attribute(self, name: str, value: str) -> None:
        """An attribute of the element."""
        self._attributes.append(f' {name}="{_q(value)}"')

    def end(self) -> str:
        """The whole object."""
        for held in self.kept.identifiers:
            self._identifier(held["scheme"], held["value"], held.get("names", ()))
        return f"{''.join(self._attributes)}>{''.join(self._text)}</rim:{self._name}>"

    def slot(self, name: str, value: str | None) -> None:
        """A slot of one value, where there is one."""
        if value:
            self._text.append(
                f'<rim:Slot name="{name}"><rim:ValueList><rim:Value>{_q(value)}</rim:Value></rim:ValueList></rim:Slot>'
            )

    def slots(self, name: str, values: Iterable[str]) -> None:
        """A slot of several values, where there are any."""
        listed = "".join([f"<rim:Value>{_q(value)}</rim:Value>" for value in values])
        if listed:
            self._text.append(f'<rim:Slot name="{_q(name)}"><rim:ValueList>{listed}</rim:ValueList></rim:Slot>')

    def further_slots(self) -> None:
        """The slots of no attribute."""
        for name, values in self.kept.slots.items():
            self.slots(name, values)

    def described(self, title: str | None, comments: str | None, version: int | None) -> None:
        """The slots of no attribute, then Name, Description and VersionInfo."""
        self.further_slots()
        self.strings("Name", self.kept.strings("title", title))
        self.strings("Description", self.kept.strings("comments", comments))
        if version is not None:
            self._text.append(f'<rim:VersionInfo versionName="{version}"/>')

    def strings(self, name: str, strings: Strings) -> None:
        """A Name or Description, where there is anything to say."""
        if strings:
            self._text.append(f"<rim:{name}>{''.join([_string(*one) for one in strings])}</rim:{name}>")

    def authors(self, scheme: str, authors: Sequence[Author]) -> None:
        """An author as a classification without a code."""
        kept = self.kept
        for number, author in enumerate(authors):
            place = f"author.{number}"
            self._classification(f' classificationScheme="{scheme}"', kept.text(f"{place}.code", ""))
            if author.person is not None:
                self.slot("authorPerson", kept.text(f"{place}.authorPerson", hl7.write_xcn(author.person)))
            institutions = enumerate(author.institutions)
            self.slots(
                "authorInstitution",
                [kept.text(f"{place}.authorInstitution.{n}", hl7.write_xon(one)) for n, one in institutions],
            )
            self.slots("authorRole", author.roles)
            self.slots("authorSpecialty", author.specialties)
            self.slots("authorTelecommunication", author.telecommunications)
            for name, values in kept.slots_of(f"{place}.slots").items():
                self.slots(name, values)
            self.strings("Name", kept.all(place))
            self._text.append("</rim:Classification>")

    def codes(self, scheme: str, attribute: str, codes: Iterable[CodedValue | None]) -> None:
        """A coded attribute as classifications."""
        kept = self.kept
        for number, code in enumerate(codes):
            if code is None:
                continue
            place = f"{attribute}.{number}"
            self._classification(f' classificationScheme="{scheme}"', code.code)
            self.slot("codingScheme", kept.text(f"{place}.scheme", oids.scheme_oid(code.scheme)))
            for name, values in kept.slots_of(f"{place}.slots").items():
                self.slots(name, values)
            self.strings("Name", kept.strings(place, code.display))
            self.strings("Description", kept.all(f"{place}.description"))
            self._text.append("</rim:Classification>")

    def node(self, node: str) -> None:
        """A classification by a node."""
        self._classification(f' classificationNode="{node}"', None)
        self._text.append("</rim:Classification>")

    def further_classifications(self) -> None:
        """Those of no attribute."""
        for held in self.kept.classifications:
            scheme, node = held.get("scheme"), held.get("node")
            at = f' classificationScheme="{_q(scheme)}"' if scheme else ""
            at += f' classificationNode="{_q(node)}"' if node else ""
            self._classification(at, held.get("code") or None)
            for name, values in held.get("slots", {}).items():
                self.slots(name, values)
            self.strings("Name", held.get("names", ()))
            self._text.append("</rim:Classification>")

    def identifier(self, scheme: str, value: str) -> None:
        """An external identifier under its label."""
        self._identifier(scheme, value, (("", "", names.LABELS[scheme]),))

    def _classification(self, at: str, code: str | None) -> None:
        said = "" if code is None else f' nodeRepresentation="{_q(code)}"'
        self._text.append(
            f'<rim:Classification id="{self._part()}" classifiedObject="{_q(self.id)}"{at}{said}'
            f' objectType="{names.CLASSIFICATION}">'
        )

    def _identifier(self, scheme: str, value: str, strings: Strings) -> None:
        self._text.append(
            f'<rim:ExternalIdentifier id="{self._part()}" identificationScheme="{_q(scheme)}"'
            f' registryObject="{_q(self.id)}" value="{_q(value)}" objectType="{names.EXTERNAL_IDENTIFIER}">'
        )
        self.strings("Name", strings)
        self._text.append("</rim:ExternalIdentifier>")

    def _part(self) -> str:
        """An id for what is within: the object's own with its first 32 bits counted on."""
        self._parts += 1
        if self.id.startswith("urn:uuid:"):
            first = (int(self.id[9:17], 16) + self._parts * 0x9E3779B1) & 0xFFFFFFFF
            return f"urn:uuid:{first:08x}{self.id[17:]}"
        return _q(f"{self.id}-{self._parts}")


def _string(language: str, charset: str, value: str) -> str:
    at = f' xml:lang="{_q(language)}"' if language else ""
    at += f' charset="{_q(charset)}"' if charset else ""
    return f'<rim:LocalizedString{at} value="{_q(value)}"/>'


@lru_cache(maxsize=8192)
def _q(text: str) -> str:
    """The text as it stands in XML, without characters that XML cannot carry: another face may have taken them."""
    if text.isalnum():
        return text
    return _TO_BE_ESCAPED.sub(lambda found: _ESCAPES[found[0]], xml.speakable(text))
