"""Requests of the XDS transactions made of metadata values, and a patient whom they are about."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lxml import etree

from documents.metadata import CX, AssociationMetadata, EntryMetadata, FolderMetadata, Submission
from hie.exchange import feed
from hie.faces.soap.ebxml import encode, names
from hie.faces.soap.message import Answer
from hie.standards.demographics import Demographics, HumanName, Identifier
from hie.standards.facts import Caller
from tests.documents import samples
from tests.exchange.world import CLINIC_AUTHORITY, caller
from tests.soap import handlers

ADA = CX(value="P1", authority=CLINIC_AUTHORITY)
REGISTER = "urn:ihe:iti:2007:RegisterDocumentSet-b"
PROVIDE = "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b"
QUERY = "urn:ihe:iti:2007:RegistryStoredQuery"
MULTI = "urn:ihe:iti:2009:MultiPatientStoredQuery"
RETRIEVE = "urn:ihe:iti:2007:RetrieveDocumentSet"
ELSEWHERE = "1.19.6.24.109.42.1"
APPROVED = "('urn:oasis:names:tc:ebxml-regrep:StatusType:Approved')"
EVERY_STATUS = (
    "('urn:oasis:names:tc:ebxml-regrep:StatusType:Approved','urn:oasis:names:tc:ebxml-regrep:StatusType:Deprecated')"
)


def feed_patient(local_id: str, given: str = "Ada") -> CX:
    """A patient of the clinic."""
    demographics = Demographics(
        names=(HumanName(family="Moor" if given == "Ada" else f"Van{given}aster", given=(given,)),),
        birth_date="1970-05-01" if given == "Ada" else "1991-11-23",
        gender="female" if given == "Ada" else "male",
        identifiers=(Identifier(system=f"urn:oid:{CLINIC_AUTHORITY}", value=local_id),),
    )
    feed.feed(feed.Revision(authority=CLINIC_AUTHORITY, value=local_id, demographics=demographics), caller())
    return CX(value=local_id, authority=CLINIC_AUTHORITY)


def entry(patient: CX = ADA, **changes: Any) -> EntryMetadata:
    """An entry whose document another repository holds."""
    values: dict[str, Any] = {
        "patient_id": patient,
        "source_patient_id": patient,
        "repository_unique_id": ELSEWHERE,
        "hash": hashlib.sha1(b"hello").hexdigest(),
        "size": 5,
    }
    return samples.entry(**values | changes)


def folder(patient: CX = ADA, **changes: Any) -> FolderMetadata:
    return samples.folder(patient_id=patient, **changes)


def submission(
    *entries: EntryMetadata,
    patient: CX = ADA,
    folders: tuple[FolderMetadata, ...] = (),
    associations: tuple[AssociationMetadata, ...] = (),
    **changes: Any,
) -> Submission:
    return samples.submission(*entries, folders=folders, associations=associations, patient_id=patient, **changes)


def registration(wanted: Submission) -> etree._Element:
    """The body of ITI-42."""
    request = etree.Element(names.tag(names.LCM, "SubmitObjectsRequest"), nsmap={"lcm": names.LCM})
    request.append(encode.submission(wanted))
    return request


def register(wanted: Submission, who: Caller | None = None) -> Answer:
    """ITI-42."""
    return handlers.call(REGISTER, registration(wanted), who or caller())


def registered(*entries: EntryMetadata, who: Caller | None = None, **more: Any) -> Submission:
    """A submission that was registered, its objects by UUIDs of their own."""
    wanted = with_uuids(submission(*entries, **more))
    answer = register(wanted, who)
    assert handlers.errors(answer) == []
    assert handlers.status(answer) == "Success"
    return wanted


def with_uuids(wanted: Submission) -> Submission:
    """The same submission with a UUID for every symbolic id."""
    ids: dict[str, str] = {}

    def named(text: str) -> str:
        if text.startswith("urn:uuid:"):
            return text
        return ids.setdefault(text, f"urn:uuid:{uuid.uuid4()}")

    return replace(
        wanted,
        submission_set=replace(wanted.submission_set, entry_uuid=named(wanted.submission_set.entry_uuid)),
        entries=tuple(replace(one, entry_uuid=named(one.entry_uuid)) for one in wanted.entries),
        folders=tuple(replace(one, entry_uuid=named(one.entry_uuid)) for one in wanted.folders),
        associations=tuple(
            replace(one, entry_uuid=named(one.entry_uuid), source=named(one.source), target=named(one.target))
            for one in wanted.associations
        ),
    )


def provide(
    wanted: Submission, documents: dict[str, bytes], who: Caller | None = None, *, inline: bool = False
) -> Answer:
    """ITI-41 with the documents as parts, or within the message."""
    body = etree.Element(names.tag(names.XDS, "ProvideAndRegisterDocumentSetRequest"), nsmap={"xds": names.XDS})
    body.append(registration(wanted))
    parts = {}
    for number, (object_id, data) in enumerate(documents.items()):
        element = etree.SubElement(body, names.tag(names.XDS, "Document"), {"id": object_id})
        if inline:
            element.text = base64.encodebytes(data).decode()
        else:
            parts[f"part {number}@test"] = data
            href = f"cid:part%20{number}@test"
            etree.SubElement(element, names.tag(names.XOP, "Include"), {"href": href}, nsmap={"xop": names.XOP})
    return handlers.call(PROVIDE, body, who or caller(), parts)


def query(query_id: str, who: Caller | None = None, *, refs: bool = False, multi: bool = False, **slots: Any) -> Answer:
    """ITI-18; slots by the name behind the dollar, each a Value or a list of them."""
    return handlers.call(MULTI if multi else QUERY, asking(query_id, slots, refs=refs), who or caller())


def asking(query_id: str, slots: Mapping[str, Any], *, refs: bool = False) -> etree._Element:
    """The body of ITI-18."""
    body = etree.Element(names.tag(names.QUERY, "AdhocQueryRequest"), nsmap={"query": names.QUERY})
    kind = "ObjectRef" if refs else "LeafClass"
    attributes = {"returnComposedObjects": "true", "returnType": kind}
    etree.SubElement(body, names.tag(names.QUERY, "ResponseOption"), attributes)
    adhoc = etree.SubElement(body, names.tag(names.RIM, "AdhocQuery"), {"id": query_id}, nsmap=names.NSMAP)
    for name, values in slots.items():
        slot = etree.SubElement(adhoc, names.tag(names.RIM, "Slot"), {"name": f"${name}"})
        listed = etree.SubElement(slot, names.tag(names.RIM, "ValueList"))
        for value in [values] if isinstance(values, str) else values:
            etree.SubElement(listed, names.tag(names.RIM, "Value")).text = value
    return body


def retrieve(*wanted: tuple[str, ...], who: Caller | None = None) -> Answer:
    """ITI-43 of repository, uniqueId and perhaps home community each."""
    return handlers.call(RETRIEVE, retrieval(*wanted), who or caller())


def retrieval(*wanted: tuple[str, ...]) -> etree._Element:
    """The body of ITI-43."""
    body = etree.Element(names.tag(names.XDS, "RetrieveDocumentSetRequest"), nsmap={"xds": names.XDS})
    for repository, unique_id, *home in wanted:
        one = etree.SubElement(body, names.tag(names.XDS, "DocumentRequest"))
        for community in home:
            etree.SubElement(one, names.tag(names.XDS, "HomeCommunityId")).text = community
        etree.SubElement(one, names.tag(names.XDS, "RepositoryUniqueId")).text = repository
        etree.SubElement(one, names.tag(names.XDS, "DocumentUniqueId")).text = unique_id
    return body


def ids(answer: Answer, name: str = "ExtrinsicObject") -> set[str]:
    """The ids of the objects of a kind in an answer; it is a success."""
    assert handlers.status(answer) == "Success", handlers.errors(answer)
    return {one.get("id", "") for one in answer.body.iter(f"{{*}}{name}")}


def cx(patient: CX = ADA) -> str:
    """A patient as a query names one."""
    return f"'{patient.value}^^^&{patient.authority}&ISO'"
