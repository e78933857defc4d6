"""The paper a consent was signed on: a document like any, encrypted in the repository, as secret as what the consent names.

A Consent comes with it in ``sourceAttachment.data``. What is stored of it in the Consent is where it is found: the
bytes (``url``), their size and digest, and the DocumentReference. Whoever asks for them goes through the door like for
any document.

Source: spec/consent.md 5.7; spec/fhir.md 5; IHE PCF ITI-108 (Consent.source[x]); BPPC 57016-8 for its kind.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from consent.errors import DirectiveRefused
from documents import queries as registry
from documents.metadata import (
    CX,
    AssociationMetadata,
    AssociationType,
    CodedValue,
    EntryMetadata,
    MetadataLevel,
    Submission,
    SubmissionSetMetadata,
)
from hie.directory import queries as directory
from hie.exchange import access, submit
from hie.exchange.access import Subject
from hie.standards import mime, oids
from hie.standards.facts import Caller, Operation
from patients import identifiers

DOCUMENT = "urn:hie:fhir:document"
"""The extension of an attachment that names the DocumentReference of its bytes."""

_ATTACHMENT = "Consent.sourceAttachment"
_KIND = CodedValue(code="57016-8", scheme="http://loinc.org", display="Privacy Policy Acknowledgement Document")
_FORMAT = CodedValue(
    code="urn:ihe:iti:xds:2017:mimeTypeSufficient",
    scheme="urn:oid:1.3.6.1.4.1.19376.1.2.3",
    display="mimeType Sufficient",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A scanned consent as it came."""

    content: bytes
    content_type: str
    title: str


def taken(resource: Mapping[str, Any]) -> Scan | None:
    """The scan that comes with a Consent; None where none does.

    Raises:
        DirectiveRefused: what comes is no scan, or not the one that it says.
    """
    attachment = resource.get("sourceAttachment")
    if not isinstance(attachment, Mapping) or "data" not in attachment:
        return None
    data, content_type = attachment.get("data"), attachment.get("contentType")
    try:
        content = base64.b64decode("".join(data.split()), validate=True) if isinstance(data, str) else b""
    except (binascii.Error, ValueError) as error:
        raise DirectiveRefused.at(f"{_ATTACHMENT}.data", "is no base64") from error
    if not content:
        raise DirectiveRefused.at(f"{_ATTACHMENT}.data", "is empty")
    if not isinstance(content_type, str) or mime.parse(content_type) is None:
        raise DirectiveRefused.at(f"{_ATTACHMENT}.contentType", "is the media type of the data")
    if attachment.get("url"):
        raise DirectiveRefused.at(f"{_ATTACHMENT}.url", "stands beside data: give one of them")
    size, digest = attachment.get("size"), attachment.get("hash")
    if size is not None and size != len(content):
        raise DirectiveRefused.at(f"{_ATTACHMENT}.size", f"is not the size of the data, {len(content)}")
    if digest is not None and digest != _digest(content):
        raise DirectiveRefused.at(f"{_ATTACHMENT}.hash", "is not the SHA-1 of the data")
    title = attachment.get("title")
    return Scan(
        content=content, content_type=content_type, title=title if isinstance(title, str) and title else "Consent"
    )


def without(resource: dict[str, Any]) -> dict[str, Any]:
    """The Consent without the bytes of its scan."""
    attachment = resource.get("sourceAttachment")
    if not isinstance(attachment, Mapping) or "data" not in attachment:
        return resource
    return {**resource, "sourceAttachment": {key: value for key, value in attachment.items() if key != "data"}}


def keep(
    scan: Scan, resource: dict[str, Any], about: Subject, caller: Caller, *, letter: str, labels: frozenset[str]
) -> dict[str, Any]:
    """Register the scan as a document of this person in the running transaction; the Consent that names it in its place.

    `letter` and `labels` are those of the Consent read as a document.

    Raises:
        AccessRefused, SubmissionRefused: as `submit.submit`; nothing was registered.
    """
    staged = submit.stage(scan.content, scan.content_type, caller)
    anchor = identifiers.own_anchor(about.person_id)
    patient_id = CX(value=anchor.value, authority=anchor.authority)
    made_at = access.now().astimezone(UTC).strftime("%Y%m%d%H%M%S")
    organization = directory.participant(caller.organization_id)
    entry = EntryMetadata(
        entry_uuid="scan",
        unique_id=oids.new(),
        patient_id=patient_id,
        source_patient_id=patient_id,
        mime_type=scan.content_type,
        title=scan.title[:200],
        class_code=_KIND,
        type_code=_KIND,
        format_code=_FORMAT,
        confidentiality_codes=(CodedValue(code=letter, scheme=submit.CONFIDENTIALITY, display=letter),),
        creation_time=made_at,
        limited_metadata=True,
    )
    own = SubmissionSetMetadata(
        entry_uuid="set",
        unique_id=oids.new(),
        source_id=organization.organization_oid if organization is not None else "",
        patient_id=patient_id,
        submission_time=made_at,
        content_type_code=_KIND,
        limited_metadata=True,
    )
    member = AssociationMetadata(
        entry_uuid="member",
        type=AssociationType.HAS_MEMBER,
        source=own.entry_uuid,
        target=entry.entry_uuid,
        submission_set_status="Original",
    )
    receipt = submit.submit(
        Submission(
            submission_set=own,
            entries=(entry,),
            folders=(),
            associations=(member,),
            contents={entry.entry_uuid: staged.id},
            level=MetadataLevel.MINIMAL,
        ),
        caller,
        secret=(letter, labels),
    )
    attachment = {key: value for key, value in resource["sourceAttachment"].items() if key != "data"}
    attachment |= {
        "url": f"Binary/{staged.id}",
        "size": staged.size,
        "hash": _digest(scan.content),
        "extension": [
            {
                "url": DOCUMENT,
                "valueReference": {"reference": f"DocumentReference/{registry.bare_uuid(receipt.entry_uuids[0])}"},
            }
        ],
    }
    return {**resource, "sourceAttachment": attachment}


def check_reference(resource: Mapping[str, Any], about: Subject, caller: Caller) -> None:
    """A document that a Consent names as its source is one of this patient that the filer may see.

    Raises:
        DirectiveRefused: it is not, whether it is another's, hidden or not there.
    """
    reference = resource.get("sourceReference")
    text = reference.get("reference") if isinstance(reference, Mapping) else None
    if not isinstance(text, str) or not text.startswith("DocumentReference/"):
        return
    row = registry.entry(text.partition("/")[2].partition("/")[0])
    mine = row is not None and row.identifier_pk in about.identifier_pks
    if row is None or not mine or not access.permitted(caller, about, [row], Operation.QUERY).permitted:
        raise DirectiveRefused.at("Consent.sourceReference", "is no document of this patient")


def _digest(content: bytes) -> str:
    return base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()
