"""The paper a consent was signed on: a document like any, encrypted in the repository, as secret as what the consent names.

A Consent comes with it in ``sourceAttachment.data``: a PDF, JPEG, PNG or TIFF. What is stored of it in the Consent is
where it is found: the bytes (``url``), their size and digest, and the DocumentReference. Whoever asks for them goes
through the door like for any document. A later version keeps the scan by sending it back as it was read, or with the same bytes;
with others the new scan replaces it. A scan becomes as secret as each version that keeps it, and is deprecated when the consent ends.

Source: spec/consent.md 5.7; spec/fhir.md 5; IHE PCF ITI-108 (Consent.source[x]); BPPC 57016-8 for its kind.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from django.conf import settings

from consent.errors import DirectiveRefused
from documents import labels as entry_labels
from documents import queries as registry
from documents import replacement
from documents.metadata import (
    CX,
    AssociationMetadata,
    AssociationType,
    CodedValue,
    EntryMetadata,
    MetadataLevel,
    Status,
    Submission,
    SubmissionSetMetadata,
)
from documents.models import DocumentEntry
from hie.directory import queries as directory
from hie.exchange import access, submit
from hie.exchange.access import Subject
from hie.standards import mime, oids
from hie.standards.facts import Caller, Labels, Operation
from patients import identifiers

DOCUMENT = "urn:hie:fhir:document"
"""The extension of an attachment that names the DocumentReference of its bytes."""

TYPES = {"application/pdf": "PDF", "image/jpeg": "JPEG", "image/png": "PNG", "image/tiff": "TIFF"}
"""What a scan may be, as its first bytes show: nothing that runs, and nothing that looks like another thing elsewhere."""

_ATTACHMENT = "Consent.sourceAttachment"
_ELSEWHERE = ("https://", "http://")
_KIND = CodedValue(code="57016-8", scheme="http://loinc.org", display="Privacy Policy Acknowledgement Document")
_FORMAT = CodedValue(
    code=mime.MIME_TYPE_SUFFICIENT,
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
    given = mime.parse(content_type) if isinstance(content_type, str) else None
    if given is None or given.essence not in TYPES:
        raise DirectiveRefused.at(f"{_ATTACHMENT}.contentType", f"is one of: {', '.join(TYPES)}")
    # Readers look for the mark of a PDF further on as well; what begins with another thing is that thing elsewhere.
    other = given.essence == "application/pdf" and not content.startswith(b"%PDF-")
    if other or mime.sniff(content[: mime.SNIFF_BYTES]) != given.essence:
        raise DirectiveRefused.at(f"{_ATTACHMENT}.data", f"is no {TYPES[given.essence]}")
    if attachment.get("url"):
        raise DirectiveRefused.at(f"{_ATTACHMENT}.url", "stands beside data: give one of them")
    size, digest = attachment.get("size"), attachment.get("hash")
    if size is not None and size != len(content):
        raise DirectiveRefused.at(f"{_ATTACHMENT}.size", f"is not the size of the data, {len(content)}")
    if digest is not None and digest != _digest(content):
        raise DirectiveRefused.at(f"{_ATTACHMENT}.hash", "is not the SHA-1 of the data")
    title = attachment.get("title")
    return Scan(
        content=content, content_type=given.essence, title=title if isinstance(title, str) and title else "Consent"
    )


def without(resource: dict[str, Any]) -> dict[str, Any]:
    """The Consent without the bytes of its scan."""
    attachment = resource.get("sourceAttachment")
    if not isinstance(attachment, Mapping) or "data" not in attachment:
        return resource
    return {**resource, "sourceAttachment": {key: value for key, value in attachment.items() if key != "data"}}


def keep(
    scan: Scan,
    resource: dict[str, Any],
    about: Subject,
    caller: Caller,
    *,
    custodian: str,
    letter: str,
    labels: frozenset[str],
    held: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Register the scan as a document of this person in the running transaction; the Consent that names it in its place.

    `custodian` answers for the Consent, `letter` and `labels` are those of it read as a document. `held`: the version
    that this one follows: the same bytes are no second document, others replace those of the same custodian.

    Raises:
        AccessRefused, SubmissionRefused: as `submit.submit`; nothing was registered.
    """
    kept = _row_of(held)
    before = held.get("sourceAttachment") if held is not None else None
    if kept is not None and isinstance(before, Mapping) and before.get("hash") == _digest(scan.content):
        given = {name: value for name, value in resource["sourceAttachment"].items() if name in ("title", "language")}
        same = {**resource, "sourceAttachment": {**before, **given}}
        raise_with(same, letter=letter, labels=labels)
        return same
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
    replaced = () if kept is None else _replaced(kept, entry, custodian)
    receipt = submit.submit(
        Submission(
            submission_set=own,
            entries=(entry,),
            folders=(),
            associations=(member, *replaced),
            contents={entry.entry_uuid: staged.id},
            level=MetadataLevel.MINIMAL,
        ),
        caller,
        custodian=custodian,
        secret=(letter, labels),
        found_by_hub=True,
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


def raise_with(resource: Mapping[str, Any], *, letter: str, labels: frozenset[str]) -> None:
    """Make the scan that a Consent names at least as secret as the Consent, in the running transaction."""
    row = _row_of(resource)
    if row is None:
        return
    held = DocumentEntry.objects.select_for_update().get(entry_uuid=registry.bare_uuid(row.entry_uuid))
    found = Labels(
        labels=labels,
        confidentiality=letter,
        labelled=held.labelled,
        provenance={label: {"rule": "consent", "version": ""} for label in sorted(labels)},
    )
    entry_labels.raise_to(held, found, assigned_by="consent", at=access.now())


def ended(resource: Mapping[str, Any]) -> None:
    """Deprecate the scan of a Consent that ends: what it agreed to does not stand any more. In the running transaction."""
    row = _row_of(resource)
    if row is not None:
        replacement.deprecate([row.entry_uuid], at=access.now())


def _replaced(kept: registry.EntryRow, entry: EntryMetadata, custodian: str) -> tuple[AssociationMetadata, ...]:
    if kept.custodian != custodian or kept.metadata.availability_status is not Status.APPROVED:
        return ()
    step = AssociationMetadata(
        entry_uuid="replaces", type=AssociationType.RPLC, source=entry.entry_uuid, target=kept.entry_uuid
    )
    return (step,)


def _row_of(resource: Mapping[str, Any] | None) -> registry.EntryRow | None:
    """The registered scan that a stored Consent names."""
    attachment = resource.get("sourceAttachment") if resource is not None else None
    named = _named_in(attachment) if isinstance(attachment, Mapping) else ""
    return registry.entry(named.partition("/")[2]) if named else None


def _named_in(attachment: Mapping[str, Any]) -> str:
    extensions = attachment.get("extension")
    for one in extensions if isinstance(extensions, list) else ():
        reference = one.get("valueReference") if isinstance(one, Mapping) and one.get("url") == DOCUMENT else None
        if isinstance(reference, Mapping) and isinstance(reference.get("reference"), str):
            return str(reference["reference"])
    return ""


def check_source(
    resource: Mapping[str, Any], about: Subject, caller: Caller, *, earlier: Sequence[Mapping[str, Any]] = ()
) -> None:
    """What a Consent names as its source, beside data that it brings, is what its filer may name.

    A document (``sourceReference``) is one of this patient that the filer may see. An attachment is elsewhere on the web,
    or as one of the `earlier` versions of this Consent has it: what this hub writes into one, only this hub writes.

    Raises:
        DirectiveRefused: it is not, whether it is another's, hidden or not there.
    """
    attachment = resource.get("sourceAttachment")
    if isinstance(attachment, Mapping) and attachment not in [one.get("sourceAttachment") for one in earlier]:
        _check_attachment(attachment)
    reference = resource.get("sourceReference")
    text = reference.get("reference") if isinstance(reference, Mapping) else None
    if not isinstance(text, str) or not text.startswith("DocumentReference/"):
        return
    row = registry.entry(text.partition("/")[2].partition("/")[0])
    mine = row is not None and row.identifier_pk in about.identifier_pks
    if row is None or not mine or not access.permitted(caller, about, [row], Operation.QUERY).permitted:
        raise DirectiveRefused.at("Consent.sourceReference", "is no document of this patient")


def _check_attachment(attachment: Mapping[str, Any]) -> None:
    extensions = attachment.get("extension")
    for n, one in enumerate(extensions if isinstance(extensions, list) else ()):
        if isinstance(one, Mapping) and one.get("url") == DOCUMENT:
            raise DirectiveRefused.at(
                f"{_ATTACHMENT}.extension[{n}]",
                "is written here alone: send data, or name a document as sourceReference",
            )
    url = attachment.get("url")
    if url is None:
        return
    own = settings.BASE_URL.lower() + "/"
    if not isinstance(url, str) or not url.lower().startswith(_ELSEWHERE) or url.lower().startswith(own):
        raise DirectiveRefused.at(
            f"{_ATTACHMENT}.url", "is an address elsewhere on the web: send data, or name a document as sourceReference"
        )


def _digest(content: bytes) -> str:
    return base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()
