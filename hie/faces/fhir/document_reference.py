"""DocumentReference to and from a DocumentEntry. Pure.

Source: spec/fhir.md 4 (IHE MHD, "MHD DocumentReference Mapping").
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.conf import settings

from documents import facts
from documents.metadata import (
    CX,
    AssociationMetadata,
    AssociationType,
    EntryMetadata,
    ReferenceId,
    Status,
)
from hie.faces.fhir import mapping, people, said
from hie.faces.fhir.mapping import Group
from hie.standards import oids
from hie.standards.demographics import authority_of, system_of
from hie.standards.fhir import JsonObject, dtm_to_fhir, fhir_to_dtm, instant_text

ENCOUNTER_ID = "urn:ihe:iti:xds:2015:encounterId"
PROFILES: Mapping[bool, str] = {
    False: f"{mapping.MHD_STRUCTURE}/IHE.MHD.Comprehensive.DocumentReference",
    True: f"{mapping.MHD_STRUCTURE}/IHE.MHD.Minimal.DocumentReference",
}

_GROUPS: Sequence[Group] = (
    ("author", "contained", "authenticator", "context.sourcePatientInfo"),
    ("masterIdentifier",),
    ("identifier",),
    ("type",),
    ("category",),
    ("custodian",),
    ("description", "_description"),
    ("securityLabel",),
    ("language",),
    ("text",),
    ("extension",),
    ("meta.security",),
    ("meta.tag",),
    ("content.extension",),
    ("content.format",),
    ("content.attachment.contentType", "content.attachment._contentType"),
    ("content.attachment.language", "content.attachment._language"),
    ("content.attachment.title", "content.attachment._title"),
    ("content.attachment.creation", "content.attachment._creation"),
    ("content.attachment.extension",),
    ("context.event",),
    ("context.period",),
    ("context.facilityType",),
    ("context.practiceSetting",),
    ("context.related", "context.encounter"),
    ("context.extension",),
)
_LISTS = frozenset({"content"})

RELATES_TO: Mapping[AssociationType, str] = {
    AssociationType.RPLC: "replaces",
    AssociationType.XFRM: "transforms",
    AssociationType.APND: "appends",
    AssociationType.SIGNS: "signs",
    AssociationType.XFRM_RPLC: "replaces",
    AssociationType.IS_SNAPSHOT_OF: "transforms",
}
ASSOCIATION: Mapping[str, AssociationType] = {
    "replaces": AssociationType.RPLC,
    "transforms": AssociationType.XFRM,
    "appends": AssociationType.APND,
    "signs": AssociationType.SIGNS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a DocumentReference says that its entry does not hold.

    `subject` and `attachment_url` are ready to be written; `date` is the submission's DTM.
    `revision` counts what has changed since registration, from 1: the version a client sees.
    """

    subject: JsonObject | None = None
    attachment_url: str = ""
    date: str | None = None
    associations: tuple[AssociationMetadata, ...] = ()
    last_updated: datetime | None = None
    revision: int = 1


# --- decoding ---------------------------------------------------------------------------------------------------------


def decode(
    resource: JsonObject,
    *,
    entry_uuid: str,
    patient_id: CX | None,
    bundle: Mapping[str, JsonObject] | None = None,
    limited_metadata: bool = False,
) -> EntryMetadata:
    """The entry that a DocumentReference, already checked for structure and profile, describes.

    `entry_uuid` may be symbolic; `bundle` finds referenced resources by fullUrl. Subject, url and relatesTo
    are the caller's: they name other objects of the submission.
    """
    content = resource["content"][0]
    attachment = content["attachment"]
    context = resource.get("context", {})
    resolver = people.Resolver(resource.get("contained", ()), bundle)
    authenticator = resource.get("authenticator")
    source_id, source_info = _source_patient(context.get("sourcePatientInfo"), resolver)
    entry = EntryMetadata(
        entry_uuid=entry_uuid,
        unique_id=mapping.unique_id_of(resource.get("masterIdentifier", {})),
        patient_id=patient_id,
        mime_type=attachment.get("contentType", ""),
        availability_status=Status.DEPRECATED if resource.get("status") == "superseded" else Status.APPROVED,
        home_community_id=mapping.extension_value(resource, mapping.HOME_COMMUNITY_EXTENSION),
        authors=tuple(people.decode_author(item, resolver) for item in resource.get("author", ())),
        legal_authenticator=people.decode_author(authenticator, resolver).person if authenticator else None,
        class_code=mapping.decode_code((resource.get("category") or [None])[0]),
        type_code=mapping.decode_code(resource.get("type")),
        format_code=mapping.decode_coding(content.get("format")),
        healthcare_facility_type_code=mapping.decode_code(context.get("facilityType")),
        practice_setting_code=mapping.decode_code(context.get("practiceSetting")),
        confidentiality_codes=tuple(
            c for item in resource.get("securityLabel", ()) if (c := mapping.decode_code(item))
        ),
        event_codes=tuple(c for item in context.get("event", ()) if (c := mapping.decode_code(item))),
        creation_time=_dtm(attachment, "creation"),
        service_start_time=_dtm(context.get("period", {}), "start"),
        service_stop_time=_dtm(context.get("period", {}), "end"),
        language_code=attachment.get("language"),
        hash=hash_to_hex(attachment["hash"]) if attachment.get("hash") else None,
        size=attachment.get("size"),
        source_patient_id=source_id,
        source_patient_info=source_info,
        reference_ids=_reference_ids(context),
        title=attachment.get("title"),
        comments=resource.get("description"),
        limited_metadata=limited_metadata,
    )
    kept = mapping.extra_of(resource, encode(entry, Surroundings()), _GROUPS)
    return replace(entry, extra=kept | _beyond(entry, resource, bundle))


def _beyond(entry: EntryMetadata, resource: JsonObject, bundle: Mapping[str, JsonObject] | None) -> dict[str, Any]:
    """What the resource says to policy and labelling beyond the attributes, for `documents.facts`."""
    named, held = said.authors(resource, bundle), facts.authors(entry)
    has = {(oids.compared_scheme(system), code) for system, code in map(_parted, facts.codings(entry))}
    codings = {
        kind: further
        for kind, listed in said.codings(resource).items()
        if (further := [one for one in listed if (oids.compared_scheme(one[0]), one[1]) not in has])
    }
    found: dict[str, Any] = {
        "codings": codings,
        "authors": sorted(named.sure - held.sure),
        "perhaps_authors": sorted(named.perhaps - held.perhaps - held.sure),
        "belongs_to": sorted(set(said.belongs_to(resource)) - facts.belongs_to(entry)),
    }
    beyond = {name: value for name, value in found.items() if value}
    return {"said": beyond} if beyond else {}


def _parted(coding: str) -> tuple[str, str]:
    system, _, code = coding.rpartition("|")
    return system, code


def hash_to_hex(text: str) -> str:
    """FHIR's base64 of the 20 bytes of a SHA-1 as 40 hex digits.

    Raises:
        ValueError: not base64 of 20 bytes.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if len(raw) != 20:
        raise ValueError("not a SHA-1")
    return raw.hex()


def hash_from_hex(text: str) -> str:
    """40 hex digits as FHIR writes a SHA-1."""
    return base64.b64encode(bytes.fromhex(text)).decode()


def _dtm(holder: Mapping[str, Any], name: str) -> str | None:
    text = holder.get(name)
    if not text:
        return None
    full = fhir_to_dtm(text)
    exact = mapping.extension_value(holder.get(f"_{name}", {}), mapping.PRECISION)
    return exact if isinstance(exact, str) and len(exact) in (10, 12) and full.startswith(exact) else full


def _source_patient(reference: JsonObject | None, resolver: people.Resolver) -> tuple[CX | None, tuple[str, ...]]:
    if not reference:
        return None, ()
    patient = resolver.find(reference)
    if patient is not None:
        return people.decode_source_patient(patient)
    identifier = reference.get("identifier") or {}
    if identifier.get("value") and identifier.get("system"):
        return CX(value=identifier["value"], authority=authority_of(identifier["system"])), ()
    return None, ()


def _reference_ids(context: Mapping[str, Any]) -> tuple[ReferenceId, ...]:
    found: list[ReferenceId] = []
    for item, encounter in [(i, False) for i in context.get("related", ())] + [
        (i, True) for i in context.get("encounter", ())
    ]:
        identifier = item.get("identifier") or {}
        if not identifier.get("value"):
            continue
        kind = (identifier.get("type") or {}).get("coding", [{}])[0].get("code", "")
        found.append(
            ReferenceId(
                value=identifier["value"],
                type_code=ENCOUNTER_ID if encounter else kind or "urn:ihe:iti:xds:2013:uniqueId",
                authority=authority_of(identifier.get("system", "")),
            )
        )
    return tuple(found)


def render(row: Any, person_id: str) -> JsonObject:
    """The DocumentReference of a registered entry (`documents.queries.EntryRow`), as this hub answers it."""
    url = f"{settings.BASE_URL}/fhir/Binary/{row.content_id}" if row.content_id else row.metadata.uri or ""
    return encode(
        row.metadata,
        Surroundings(
            subject={"reference": f"Patient/{person_id}"},
            attachment_url=url,
            date=row.submission_time,
            associations=row.associations,
            last_updated=row.updated_at,
            revision=row.revision,
        ),
    )


# --- encoding ---------------------------------------------------------------------------------------------------------


def encode(entry: EntryMetadata, around: Surroundings) -> JsonObject:
    """The DocumentReference of an entry; on-demand entries have neither hash nor size."""
    contained = people.Contained()
    resource: JsonObject = {"resourceType": "DocumentReference"}
    if entry.entry_uuid.startswith("urn:uuid:"):
        resource["id"] = entry.entry_uuid[9:]
    meta: JsonObject = {"versionId": str(around.revision)}
    if around.last_updated is not None:
        meta["lastUpdated"] = instant_text(around.last_updated)
    meta["profile"] = [PROFILES[entry.limited_metadata]]
    resource["meta"] = meta
    authors = [people.encode_author(author, contained) for author in entry.authors]
    authenticator = None
    if entry.legal_authenticator is not None:
        authenticator = contained.add(people.encode_person(entry.legal_authenticator), "p")
    source = people.encode_source_patient(entry.source_patient_id, entry.source_patient_info)
    source_reference = contained.add(source, "s") if source is not None else None
    if contained.resources:
        resource["contained"] = contained.resources
    if entry.home_community_id:
        resource["extension"] = [{"url": mapping.HOME_COMMUNITY_EXTENSION, "valueOid": entry.home_community_id}]
    if entry.unique_id:
        resource["masterIdentifier"] = mapping.typed_identifier("uniqueId", entry.unique_id)
    if entry.entry_uuid.startswith("urn:uuid:"):
        resource["identifier"] = [mapping.typed_identifier("entryUUID", entry.entry_uuid)]
    resource["status"] = "superseded" if entry.availability_status is Status.DEPRECATED else "current"
    if entry.type_code:
        resource["type"] = mapping.encode_code(entry.type_code)
    if entry.class_code:
        resource["category"] = [mapping.encode_code(entry.class_code)]
    if around.subject is not None:
        resource["subject"] = around.subject
    if around.date:
        resource["date"] = instant_of(around.date)
    if authors:
        resource["author"] = authors
    if authenticator:
        resource["authenticator"] = authenticator
    relates = _relates_to(entry.entry_uuid, around.associations)
    if relates:
        resource["relatesTo"] = relates
    if entry.comments:
        resource["description"] = entry.comments
    if entry.confidentiality_codes:
        resource["securityLabel"] = [mapping.encode_code(code) for code in entry.confidentiality_codes]
    resource["content"] = [_content(entry, around)]
    context = _context(entry, source_reference)
    if context:
        resource["context"] = context
    kept = entry.extra.get("fhir")
    if isinstance(kept, Mapping):
        mapping.restore(resource, kept, _GROUPS, _LISTS)
        _own_identifier(resource, entry)
    return resource


def _own_identifier(resource: JsonObject, entry: EntryMetadata) -> None:
    """The submitted identifiers, with the entryUUID the registry gave among them."""
    if not entry.entry_uuid.startswith("urn:uuid:"):
        return
    others = [item for item in resource.get("identifier", ()) if mapping.identifier_kind(item) != "entryUUID"]
    resource["identifier"] = [mapping.typed_identifier("entryUUID", entry.entry_uuid), *others]


def _content(entry: EntryMetadata, around: Surroundings) -> JsonObject:
    attachment: JsonObject = {}
    if entry.mime_type:
        attachment["contentType"] = entry.mime_type
    if entry.language_code:
        attachment["language"] = entry.language_code
    if around.attachment_url:
        attachment["url"] = around.attachment_url
    if entry.size is not None:
        attachment["size"] = entry.size
    if entry.hash:
        attachment["hash"] = hash_from_hex(entry.hash)
    if entry.title:
        attachment["title"] = entry.title
    if entry.creation_time:
        _put_time(attachment, "creation", entry.creation_time)
    content: JsonObject = {"attachment": attachment}
    if entry.format_code:
        content["format"] = mapping.encode_coding(entry.format_code)
    return content


def _put_time(holder: JsonObject, name: str, dtm: str) -> None:
    try:
        text = dtm_to_fhir(dtm)
    except ValueError:
        return
    holder[name] = text
    if len(dtm) in (10, 12):
        holder[f"_{name}"] = {"extension": [{"url": mapping.PRECISION, "valueString": dtm}]}


def instant_of(dtm: str) -> str:
    """A DTM as instant: missing parts are the first ones of their kind."""
    full = (dtm + "0101000000"[len(dtm) - 4 :])[:14] if len(dtm) < 14 else dtm[:14]
    return dtm_to_fhir(full)


def _context(entry: EntryMetadata, source: JsonObject | None) -> JsonObject:
    context: JsonObject = {}
    encounters = [item for item in entry.reference_ids if item.type_code == ENCOUNTER_ID]
    others = [item for item in entry.reference_ids if item.type_code != ENCOUNTER_ID]
    if encounters:
        context["encounter"] = [{"identifier": _reference_identifier(item)} for item in encounters]
    if entry.event_codes:
        context["event"] = [mapping.encode_code(code) for code in entry.event_codes]
    period: JsonObject = {}
    if entry.service_start_time:
        _put_time(period, "start", entry.service_start_time)
    if entry.service_stop_time:
        _put_time(period, "end", entry.service_stop_time)
    if period:
        context["period"] = period
    if entry.healthcare_facility_type_code:
        context["facilityType"] = mapping.encode_code(entry.healthcare_facility_type_code)
    if entry.practice_setting_code:
        context["practiceSetting"] = mapping.encode_code(entry.practice_setting_code)
    if source is not None:
        context["sourcePatientInfo"] = source
    if others:
        context["related"] = [{"identifier": _reference_identifier(item)} for item in others]
    return context


def _reference_identifier(item: ReferenceId) -> JsonObject:
    identifier: JsonObject = {"type": {"coding": [{"system": "urn:ietf:rfc:3986", "code": item.type_code}]}}
    if item.authority:
        identifier["system"] = system_of(item.authority)
    identifier["value"] = item.value
    return identifier


def _relates_to(own: str, associations: Sequence[AssociationMetadata]) -> list[JsonObject]:
    found = []
    for item in associations:
        code = RELATES_TO.get(item.type)
        if item.source == own and code:
            found.append(
                {"code": code, "target": {"reference": f"DocumentReference/{item.target.removeprefix('urn:uuid:')}"}}
            )
    return found
