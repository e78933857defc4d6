"""List to and from a SubmissionSet or a Folder. Pure.

Source: spec/fhir.md 4 (IHE MHD, "MHD List Mapping").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from documents.metadata import CX, Author, CodedValue, FolderMetadata, Status, SubmissionSetMetadata
from hie.faces.fhir import mapping, people
from hie.faces.fhir.document_reference import instant_of
from hie.faces.fhir.mapping import Group
from hie.standards.demographics import authority_of
from hie.standards.fhir import JsonObject, fhir_to_dtm, instant_text

SOURCE_ID = f"{mapping.MHD_STRUCTURE}/ihe-sourceId"
DESIGNATION_TYPE = f"{mapping.MHD_STRUCTURE}/ihe-designationType"
INTENDED_RECIPIENT = f"{mapping.MHD_STRUCTURE}/ihe-intendedRecipient"
AUTHOR_ORGANIZATION = f"{mapping.MHD_STRUCTURE}/ihe-authorOrg"
FURTHER_AUTHOR = "urn:hie:fhir:further-author"

_GROUPS: Sequence[Group] = (
    ("source", "contained"),
    ("identifier",),
    ("extension",),
    ("title", "_title"),
    ("note",),
    ("language",),
    ("text",),
    ("meta.security",),
    ("meta.tag",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a List says that its metadata does not hold: `items` are ids of resources (``DocumentReference/…``)."""

    subject: JsonObject | None = None
    items: tuple[str, ...] = ()
    last_updated: datetime | None = None
    status: Status = Status.APPROVED
    revision: int = 1


def kind_of(resource: Mapping[str, Any]) -> str:
    """``submissionset``, ``folder`` or ""."""
    for coding in (resource.get("code") or {}).get("coding", ()):
        if coding.get("system") == mapping.LIST_TYPES:
            return str(coding.get("code", ""))
    return ""


# --- decoding ---------------------------------------------------------------------------------------------------------


def decode_submission_set(
    resource: JsonObject,
    *,
    entry_uuid: str,
    unique_id: str,
    patient_id: CX | None,
    bundle: Mapping[str, JsonObject] | None = None,
    limited_metadata: bool = False,
) -> SubmissionSetMetadata:
    """The submission set of a checked List; `unique_id` is used where it states none."""
    resolver = people.Resolver(resource.get("contained", ()), bundle)
    source = resource.get("source")
    value = SubmissionSetMetadata(
        entry_uuid=entry_uuid,
        unique_id=_unique_id(resource) or unique_id,
        source_id=_source_id(resource),
        patient_id=patient_id,
        submission_time=fhir_to_dtm(resource["date"]) if resource.get("date") else "",
        authors=_authors(source, resolver) if source else (),
        content_type_code=mapping.decode_code(mapping.extension_value(resource, DESIGNATION_TYPE)),
        intended_recipients=tuple(
            _recipient(extension.get("valueReference") or {}, resolver)
            for extension in resource.get("extension", ())
            if extension.get("url") == INTENDED_RECIPIENT
        ),
        title=resource.get("title"),
        comments=_note(resource),
        home_community_id=mapping.extension_value(resource, mapping.HOME_COMMUNITY_EXTENSION),
        limited_metadata=limited_metadata,
    )
    return replace(value, extra=mapping.extra_of(resource, encode_submission_set(value, Surroundings()), _GROUPS))


def decode_folder(
    resource: JsonObject,
    *,
    entry_uuid: str,
    unique_id: str,
    patient_id: CX | None,
    limited_metadata: bool = False,
) -> FolderMetadata:
    """The folder of a checked List; `unique_id` is used where it states none."""
    codes = tuple(
        code
        for extension in resource.get("extension", ())
        if extension.get("url") == DESIGNATION_TYPE
        and (code := mapping.decode_code(extension.get("valueCodeableConcept")))
    )
    value = FolderMetadata(
        entry_uuid=entry_uuid,
        unique_id=_unique_id(resource) or unique_id,
        patient_id=patient_id,
        codes=codes,
        title=resource.get("title"),
        comments=_note(resource),
        home_community_id=mapping.extension_value(resource, mapping.HOME_COMMUNITY_EXTENSION),
        limited_metadata=limited_metadata,
    )
    return replace(value, extra=mapping.extra_of(resource, encode_folder(value, Surroundings(), ""), _GROUPS))


def _unique_id(resource: Mapping[str, Any]) -> str:
    for identifier in resource.get("identifier", ()):
        if mapping.identifier_kind(identifier) == "uniqueId":
            return mapping.unique_id_of(identifier)
    for identifier in resource.get("identifier", ()):
        # A client that leaves out the type: what is not the entryUUID is the uniqueId.
        if mapping.identifier_kind(identifier) == "" and str(identifier.get("value", "")).startswith("urn:oid:"):
            return mapping.unique_id_of(identifier)
    return ""


def _source_id(resource: Mapping[str, Any]) -> str:
    found = mapping.extension_value(resource, SOURCE_ID)
    return authority_of(str(found.get("value", ""))) if isinstance(found, dict) else ""


def _authors(source: JsonObject, resolver: people.Resolver) -> tuple[Author, ...]:
    author = people.decode_author(source, resolver)
    for extension in source.get("extension", ()):
        organization = extension.get("valueReference")
        if extension.get("url") == AUTHOR_ORGANIZATION and isinstance(organization, dict):
            held = people.decode_author({**organization, "type": "Organization"}, resolver)
            author = replace(author, institutions=(*author.institutions, *held.institutions))
    further = [e.get("valueReference") for e in source.get("extension", ()) if e.get("url") == FURTHER_AUTHOR]
    return (author, *(people.decode_author(item, resolver) for item in further if item))


def _recipient(reference: JsonObject, resolver: people.Resolver) -> str:
    """``XON|XCN|XTN`` of an intended recipient."""
    author = people.decode_author(reference, resolver)
    organization = author.institutions[0] if author.institutions else None
    person = author.person
    xon = ""
    if organization is not None:
        xon = organization.name
        if organization.id:
            authority = f"&{organization.authority}&ISO" if organization.authority else ""
            xon = f"{organization.name}^^^^^{authority}^^^^{organization.id}"
    xcn = ""
    if person is not None:
        xcn = "^".join(
            (person.id, person.family, person.given, person.second, person.suffix, person.prefix, person.degree)
        )
        if person.authority:
            xcn += f"^^&{person.authority}&ISO"
    xtn = author.telecommunications[0] if author.telecommunications else ""
    return "|".join((xon, xcn.rstrip("^"), xtn)).rstrip("|")


def _note(resource: Mapping[str, Any]) -> str | None:
    notes = [note.get("text") for note in resource.get("note", ()) if note.get("text")]
    return "\n".join(notes) if notes else None


# --- encoding ---------------------------------------------------------------------------------------------------------


def encode_submission_set(value: SubmissionSetMetadata, around: Surroundings) -> JsonObject:
    """The List of a submission set."""
    contained = people.Contained()
    extensions: list[JsonObject] = []
    if value.content_type_code:
        extensions.append(_designation(value.content_type_code))
    if value.source_id:
        identifier = {"value": f"urn:oid:{value.source_id}" if value.source_id[:1].isdigit() else value.source_id}
        extensions.append({"url": SOURCE_ID, "valueIdentifier": identifier})
    for recipient in value.intended_recipients:
        extensions.append({"url": INTENDED_RECIPIENT, "valueReference": _encode_recipient(recipient, contained)})
    source = _encode_source(value.authors, contained)
    resource = _head(value.entry_uuid, value.unique_id, around, "submissionset", value.limited_metadata)
    return _body(
        resource, contained, extensions, value.home_community_id, value.title, value.comments, around,
        date=instant_of(value.submission_time) if value.submission_time else "", source=source, extra=value.extra,
    )  # fmt: skip


def encode_folder(value: FolderMetadata, around: Surroundings, last_update: str) -> JsonObject:
    """The List of a folder; `last_update` is an instant, "" when not known."""
    extensions = [_designation(code) for code in value.codes]
    resource = _head(value.entry_uuid, value.unique_id, around, "folder", value.limited_metadata)
    return _body(
        resource, people.Contained(), extensions, value.home_community_id, value.title, value.comments, around,
        date=last_update, source=None, extra=value.extra,
    )  # fmt: skip


def _designation(code: CodedValue) -> JsonObject:
    return {"url": DESIGNATION_TYPE, "valueCodeableConcept": mapping.encode_code(code)}


def _encode_source(authors: Sequence[Author], contained: people.Contained) -> JsonObject | None:
    if not authors:
        return None
    source = _encode_one_source(authors[0], contained)
    # List.source is one; a submission set may have several authors.
    further = [{"url": FURTHER_AUTHOR, "valueReference": people.encode_author(item, contained)} for item in authors[1:]]
    if further:
        source = {
            "extension": [*source.get("extension", ()), *further],
            **{k: v for k, v in source.items() if k != "extension"},
        }
    return source


def _encode_one_source(author: Author, contained: people.Contained) -> JsonObject:
    if author.person is not None and author.institutions and not (author.roles or author.specialties):
        reference = people.encode_author(replace(author, institutions=()), contained)
        organizations = [contained.add(people.encode_organization(item), "o") for item in author.institutions]
        return {
            "extension": [{"url": AUTHOR_ORGANIZATION, "valueReference": item} for item in organizations],
            **reference,
        }
    return people.encode_author(author, contained)


def _encode_recipient(text: str, contained: people.Contained) -> JsonObject:
    xon, xcn, xtn = ([*text.split("|"), "", "", ""])[:3]
    organization = [*xon.split("^"), *[""] * 10]
    person = [*xcn.split("^"), *[""] * 9]
    from documents.metadata import XCN, XON

    institutions: tuple[XON, ...] = ()
    if xon:
        authority = organization[5].split("&")[1] if organization[5].count("&") == 2 else ""
        institutions = (XON(name=organization[0], id=organization[9], authority=authority),)
    who = None
    if xcn:
        authority = person[8].split("&")[1] if person[8].count("&") == 2 else ""
        who = XCN(
            id=person[0], family=person[1], given=person[2], second=person[3], suffix=person[4], prefix=person[5],
            degree=person[6], authority=authority,
        )  # fmt: skip
    return people.encode_author(
        Author(person=who, institutions=institutions, telecommunications=(xtn,) if xtn else ()), contained
    )


def _head(entry_uuid: str, unique_id: str, around: Surroundings, kind: str, limited: bool) -> JsonObject:
    resource: JsonObject = {"resourceType": "List"}
    if entry_uuid.startswith("urn:uuid:"):
        resource["id"] = entry_uuid[9:]
    level = "Minimal" if limited else "Comprehensive"
    name = "SubmissionSet" if kind == "submissionset" else "Folder"
    meta: JsonObject = {"profile": [f"{mapping.MHD_STRUCTURE}/IHE.MHD.{level}.{name}"]}
    if around.last_updated is not None:
        meta["lastUpdated"] = instant_text(around.last_updated)
    resource["meta"] = meta
    identifiers = []
    if entry_uuid.startswith("urn:uuid:"):
        identifiers.append(mapping.typed_identifier("entryUUID", entry_uuid))
    if unique_id:
        identifiers.append(mapping.typed_identifier("uniqueId", unique_id))
    if identifiers:
        resource["identifier"] = identifiers
    resource["status"] = "current" if around.status is Status.APPROVED else "retired"
    resource["mode"] = "working"
    resource["code"] = {"coding": [{"system": mapping.LIST_TYPES, "code": kind}]}
    return resource


def _body(
    resource: JsonObject,
    contained: people.Contained,
    extensions: list[JsonObject],
    home_community_id: str | None,
    title: str | None,
    comments: str | None,
    around: Surroundings,
    *,
    date: str,
    source: JsonObject | None,
    extra: Mapping[str, Any],
) -> JsonObject:
    resource["meta"]["versionId"] = str(around.revision)
    if contained.resources:
        resource["contained"] = contained.resources
    if home_community_id:
        extensions.append({"url": mapping.HOME_COMMUNITY_EXTENSION, "valueOid": home_community_id})
    if extensions:
        resource["extension"] = extensions
    if title:
        resource["title"] = title
    if around.subject is not None:
        resource["subject"] = around.subject
    if date:
        resource["date"] = date
    if source is not None:
        resource["source"] = source
    if comments:
        resource["note"] = [{"text": comments}]
    if around.items:
        resource["entry"] = [{"item": {"reference": item}} for item in around.items]
    kept = extra.get("fhir")
    if isinstance(kept, Mapping):
        own = resource.get("identifier", [])
        mapping.restore(resource, kept, _GROUPS, frozenset())
        held = [item for item in resource.get("identifier", ()) if mapping.identifier_kind(item) not in ("entryUUID",)]
        named = {mapping.identifier_kind(item) for item in held}
        resource["identifier"] = [item for item in own if mapping.identifier_kind(item) not in named] + held
        if not resource["identifier"]:
            del resource["identifier"]
    return resource
