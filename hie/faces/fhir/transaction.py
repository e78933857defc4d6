"""Provide Document Bundle [ITI-65].

Read in steps: the slots of the closed list, the rules of the profile, the subjects, what hangs together; every
problem found is told, each with its FHIRPath. Then the bytes are staged and one submission is made.

Source: spec/fhir.md 3.1, 1.5.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from documents.metadata import (
    CX,
    AssociationMetadata,
    AssociationType,
    EntryMetadata,
    FolderMetadata,
    MetadataLevel,
    Submission,
)
from hie.directory import queries as directory
from hie.exchange import document_lists, find, submit
from hie.faces.fhir import document_reference, formats, list_resource, lists, mapping, mhd, outcome
from hie.faces.fhir.binary import decode_data
from hie.faces.fhir.errors import BodyTooLarge, FhirSyntax, ProfileViolation, VersionConflict
from hie.faces.fhir.http import Answer, FhirRequest
from hie.faces.fhir.outcome import Issue
from hie.faces.fhir.paths import element_path, told_with
from hie.faces.fhir.references import entry_uuid_of, local_id
from hie.faces.fhir.resources import Interaction
from hie.faces.fhir.subjects import Subjects
from hie.standards import oids
from hie.standards.errors import HubError
from hie.standards.facts import Caller
from hie.standards.fhir import JsonObject, Problem, instant_text
from hie.trust import scopes

_SET = "submission-set"
MAX_ENTRIES = 1000
"""Entries of one Bundle: a submission holds its locks and its worker until the last of them is registered."""


@dataclass(slots=True)
class _Slot:
    """One entry of the Bundle and what becomes of it."""

    index: int
    full_url: str
    resource: JsonObject
    method: str
    url: str
    if_match: str = ""
    kind: str = ""
    id: str = ""

    @property
    def path(self) -> str:
        return f"Bundle.entry[{self.index}].resource"


@dataclass(slots=True)
class _Reading:
    """A Bundle while it is read."""

    request: FhirRequest
    level: MetadataLevel
    slots: list[_Slot] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    by_url: dict[str, _Slot] = field(default_factory=dict)
    warnings: dict[int, list[Issue]] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)

    def of(self, kind: str) -> list[_Slot]:
        return [slot for slot in self.slots if slot.kind == kind]

    def add(self, expression: str, message: str, code: str = "business-rule", details: str = "") -> None:
        self.problems.append(Problem(expression=expression, message=message, code=code, details=details))

    def named(self, reference: str) -> _Slot | None:
        """The entry a reference points at: by fullUrl, absolute or relative to the base."""
        return self.by_url.get(reference) or self.by_url.get(f"{self.request.base}/{reference}")

    def stop_if_wrong(self) -> None:
        if self.problems:
            raise ProfileViolation(self.problems)


def provide(request: FhirRequest) -> Answer:
    """Everything of the Bundle is registered, or nothing; the answer has one entry for each of the request."""
    bundle = request.resource_body
    if bundle.get("type") != "transaction":
        raise FhirSyntax("a Bundle of type transaction is expected here", element="Bundle.type")
    limit = int(getattr(settings, "MHD_MAX_ENTRIES", MAX_ENTRIES))
    if len(bundle.get("entry", ())) > limit:
        raise BodyTooLarge(f"at most {limit} entries are taken in one Bundle", element="Bundle.entry")
    reading = _Reading(request=request, level=_level(bundle))
    _read_slots(reading, bundle)
    _check_profiles(reading)
    subjects = _subjects(reading)
    reading.stop_if_wrong()
    contents, staged = _binaries(reading)
    submission = _submission(reading, subjects, contents)
    reading.stop_if_wrong()
    for slot_index, (data, content_type) in contents.items():
        held = submit.stage(data, content_type, caller=request.caller)
        staged[slot_index] = held.id
    named = {slot_id: held for slot_id, held in _contents(reading, staged).items() if held}
    places = reading.places | {slot.id: slot.path for slot in reading.slots if slot.id}
    submission = Submission(
        submission_set=submission.submission_set,
        entries=submission.entries,
        folders=submission.folders,
        associations=submission.associations,
        contents=named,
        level=reading.level,
    )
    with told_with(element_path(places)):
        receipt = submit.submit(submission, request.caller)
    return Answer(resource=_response(reading, receipt, staged))


def rehearse(bundle: JsonObject, subject: CX) -> Iterator[tuple[str, list[Problem]]]:
    """The steps of `provide` one by one, each by name and with the problems it found; nothing is stored or looked up.

    `subject` stands for the patient of every object. Only a Bundle that submits new objects is rehearsed.

    Raises:
        FhirSyntax, ProfileViolation, MalformedContent: as `provide`.
    """
    if bundle.get("type") != "transaction":
        raise FhirSyntax("a Bundle of type transaction is expected here", element="Bundle.type")
    caller = Caller(participant_id="", organization_id="", client_id="", user_id="", role="system", face="fhir")
    reading = _Reading(request=FhirRequest(http=HttpRequest(), caller=caller), level=_level(bundle))
    _read_slots(reading, bundle)
    for slot in reading.slots:
        if slot.method != "POST" and slot.kind:
            reading.add(f"Bundle.entry[{slot.index}].request", "only what is new can be rehearsed", "not-supported")
    yield "Bundle holds what may be sent", _taken(reading)
    _check_profiles(reading)
    for slot in reading.slots:
        if slot.kind in ("set", "document", "folder") and not slot.resource.get("subject"):
            reading.add(f"{slot.path}.subject", "subject is required here", "required")
    yield "Resources hold the profile", _taken(reading)
    contents, _ = _binaries(reading)
    yield "Documents are in the Bundle", _taken(reading)
    subjects = Subjects(caller, reading.request.base)
    subjects.cx = subject
    submission = _submission(reading, subjects, contents)
    yield "What hangs together does", _taken(reading)
    held: dict[str, bytes] = {}
    for slot in reading.of("document"):
        target = reading.named(str(slot.resource["content"][0]["attachment"]["url"]))
        if target is not None:
            held[slot.id] = contents[target.index][0]
    path = element_path(reading.places | {slot.id: slot.path for slot in reading.slots if slot.id})
    found = submit.rehearse(submission, held, caller)
    yield (
        "Metadata and documents agree",
        [_problem(issue) for error in found for issue in outcome.issues_of(error, path)],
    )


def _taken(reading: _Reading) -> list[Problem]:
    found, reading.problems = reading.problems, []
    return found


def _problem(issue: Issue) -> Problem:
    return Problem(expression=issue.expression, message=issue.diagnostics, code=issue.code, details=issue.details)


# --- reading ----------------------------------------------------------------------------------------------------------


def _level(bundle: JsonObject) -> MetadataLevel:
    profiles = (bundle.get("meta") or {}).get("profile", ())
    found = [mhd.BUNDLE_PROFILES[p.partition("|")[0]] for p in profiles if p.partition("|")[0] in mhd.BUNDLE_PROFILES]
    if not found:
        raise ProfileViolation(
            [
                Problem(
                    expression="Bundle.meta.profile",
                    message="one of the ProvideBundle profiles of MHD (Minimal, UnContained.Comprehensive, Comprehensive)",
                    code="required",
                )
            ]
        )
    order = (MetadataLevel.COMPREHENSIVE, MetadataLevel.UNCONTAINED, MetadataLevel.MINIMAL)
    level = next(candidate for candidate in order if candidate in found)
    wanted = str(getattr(settings, "MHD_MINIMUM_LEVEL", "minimal"))
    if wanted == "comprehensive" and level is MetadataLevel.MINIMAL:
        return MetadataLevel.UNCONTAINED
    return level


def _read_slots(reading: _Reading, bundle: JsonObject) -> None:
    seen: set[str] = set()
    for index, entry in enumerate(bundle.get("entry", ())):
        where = f"Bundle.entry[{index}]"
        request = entry.get("request") or {}
        slot = _Slot(
            index=index,
            full_url=entry.get("fullUrl", ""),
            resource=entry.get("resource") or {},
            method=request.get("method", ""),
            url=str(request.get("url", "")).removeprefix(f"{reading.request.base}/"),
            if_match=request.get("ifMatch", ""),
        )
        reading.slots.append(slot)
        if not request:
            reading.add(f"{where}.request", "request is required in a transaction", "required")
            continue
        _check_url(reading, slot)
        if request.get("ifNoneExist"):
            reading.add(f"{where}.request.ifNoneExist", "conditional creates are not offered here", "not-supported")
        slot.kind = _kind(slot)
        if not slot.kind:
            reading.add(where, f"{_described(slot)} has no place in a Provide Document Bundle", "not-supported")
            continue
        if slot.full_url:
            if slot.full_url in seen:
                reading.add(f"{where}.fullUrl", "a fullUrl names one entry only", "duplicate")
            seen.add(slot.full_url)
            reading.by_url[slot.full_url] = slot
        elif slot.kind in ("document", "binary", "fhir-document", "folder"):
            reading.add(f"{where}.fullUrl", "fullUrl is required: other entries refer to it", "required")
        _give_id(slot, reading)
    sets = reading.of("set")
    if len(sets) != 1:
        reading.add("Bundle.entry", f"exactly one SubmissionSet is needed, found {len(sets)}", "business-rule")
    if len(reading.of("patient")) > 1:
        reading.add("Bundle.entry", "at most one Patient", "business-rule")


def _check_url(reading: _Reading, slot: _Slot) -> None:
    """What is posted is posted to its own type."""
    kind = slot.resource.get("resourceType", "")
    if slot.method == "POST" and kind and slot.url.strip("/") != kind:
        reading.add(f"Bundle.entry[{slot.index}].request.url", f"a {kind} is posted to {kind}", "value")


def _described(slot: _Slot) -> str:
    return f"{slot.method} of {slot.resource.get('resourceType', 'nothing')}"


def _kind(slot: _Slot) -> str:
    resource_type, method = slot.resource.get("resourceType", ""), slot.method
    if resource_type == "List":
        kind = list_resource.kind_of(slot.resource)
        if kind == "submissionset" and method == "POST":
            return "set"
        if kind == "folder" and method in ("POST", "PUT"):
            return "folder"
        return ""
    if resource_type == "Parameters":
        return "patch" if method == "PATCH" else ""
    if resource_type == "Patient" or (not resource_type and slot.url.startswith("Patient")):
        return "patient" if method in ("GET", "POST", "PUT") else ""
    if method != "POST":
        return ""
    if resource_type == "Bundle":
        return "fhir-document" if slot.resource.get("type") == "document" else ""
    return {"DocumentReference": "document", "Binary": "binary"}.get(resource_type, "")


def _give_id(slot: _Slot, reading: _Reading) -> None:
    """The id under which the object travels: the entryUUID it states, of a PUT the one in its url, or a symbolic one."""
    if slot.kind == "folder" and slot.method == "PUT":
        existing = entry_uuid_of(slot.url, reading.request.base, "List")
        if existing is None:
            reading.add(f"Bundle.entry[{slot.index}].request.url", "PUT names List/id", "value")
        slot.id = existing or ""
        return
    if slot.kind not in ("document", "folder", "set"):
        return
    for identifier in slot.resource.get("identifier", ()):
        if mapping.identifier_kind(identifier) == "entryUUID":
            value = str(identifier.get("value", "")).lower()
            if value.startswith("urn:uuid:"):
                slot.id = value
                return
    slot.id = _SET if slot.kind == "set" else f"{slot.kind}-{slot.index}"


def _check_profiles(reading: _Reading) -> None:
    for slot in reading.slots:
        if slot.kind == "document":
            reading.problems += mhd.check_document_reference(slot.path, slot.resource, reading.level)
        elif slot.kind == "set":
            reading.problems += mhd.check_submission_set(slot.path, slot.resource, reading.level)
        elif slot.kind == "folder":
            reading.problems += mhd.check_folder(slot.path, slot.resource, reading.level)
        elif slot.kind == "patch":
            reading.problems += mhd.check_patch(slot.path, slot.resource)
        elif slot.kind == "patient" and not getattr(settings, "MHD_ACCEPT_PATIENT", False):
            reading.add(slot.path, "Patients are fed by ITI-104; a Patient entry is not accepted here", "not-supported")
    if reading.level is not MetadataLevel.MINIMAL and not reading.of("document") and not reading.of("folder"):
        reading.add("Bundle.entry", "nothing is submitted", "business-rule")


def _subjects(reading: _Reading) -> Subjects:
    patients = {slot.full_url: slot.resource for slot in reading.of("patient") if slot.full_url}
    subjects = Subjects(reading.request.caller, reading.request.base, patients)
    for slot in reading.slots:
        if slot.kind in ("set", "document", "folder"):
            subjects.see(f"{slot.path}.subject", slot.resource.get("subject"))
    reading.problems += subjects.problems
    return subjects


# --- bytes ------------------------------------------------------------------------------------------------------------


def _binaries(reading: _Reading) -> tuple[dict[int, tuple[bytes, str]], dict[int, str]]:
    """The bytes to stage by entry index, and what is staged already (nothing yet)."""
    contents: dict[int, tuple[bytes, str]] = {}
    for slot in reading.of("binary"):
        try:
            data = decode_data(slot.resource.get("data", ""))
        except ValueError:
            reading.add(f"{slot.path}.data", "data is not base64", "structure")
            continue
        contents[slot.index] = (data, str(slot.resource.get("contentType", "")))
    for slot in reading.of("fhir-document"):
        # As sent: a document inside a Bundle in XML is XML.
        contents[slot.index] = (formats.write(slot.resource, reading.request.format), reading.request.format.value)
    used: set[int] = set()
    for slot in reading.of("document"):
        attachment = slot.resource["content"][0]["attachment"]
        url = str(attachment.get("url", ""))
        target = reading.named(url)
        where = f"{slot.path}.content[0].attachment.url"
        if target is not None and target.index in contents:
            used.add(target.index)
            _check_type(reading, slot, attachment, target)
        elif target is not None:
            reading.add(where, "url names an entry that is not a document", "value", "XDSMissingDocument")
        elif local_id(url, "Binary", reading.request.base) is None:
            reading.add(
                where, "the document is neither in the Bundle nor on this server", "value", "XDSMissingDocument"
            )
    for index in contents:
        if index not in used:
            reading.add(
                f"Bundle.entry[{index}].resource", "no DocumentReference names this document", "business-rule",
                "XDSMissingDocumentMetadata",
            )  # fmt: skip
    return contents, {}


def _check_type(reading: _Reading, slot: _Slot, attachment: Mapping[str, Any], target: _Slot) -> None:
    stated = str(attachment.get("contentType", "")).partition(";")[0].strip().lower()
    where = f"{slot.path}.content[0].attachment"
    if target.kind == "binary":
        held = str(target.resource.get("contentType", "")).partition(";")[0].strip().lower()
        if held != stated:
            reading.add(
                f"{where}.contentType", "contentType is not that of the Binary", "value", "XDSRepositoryMetadataError"
            )
    elif stated != reading.request.format.value and stated != reading.request.format.value.replace("fhir+", ""):
        as_sent = reading.request.format
        message = f"a FHIR document sent as {as_sent.name} is {as_sent.value}"
        reading.add(f"{where}.contentType", message, "value")


def _contents(reading: _Reading, staged: Mapping[int, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for slot in reading.of("document"):
        url = str(slot.resource["content"][0]["attachment"]["url"])
        target = reading.named(url)
        found[slot.id] = (
            staged[target.index] if target is not None else local_id(url, "Binary", reading.request.base) or ""
        )
    return found


# --- the submission ---------------------------------------------------------------------------------------------------


def _submission(reading: _Reading, subjects: Subjects, contents: Mapping[int, tuple[bytes, str]]) -> Submission:
    limited = reading.level is MetadataLevel.MINIMAL
    resources = {slot.full_url: slot.resource for slot in reading.slots if slot.full_url}
    entries: list[EntryMetadata] = []
    folders: list[FolderMetadata] = []
    associations: list[AssociationMetadata] = []
    for slot in reading.of("document"):
        entries.append(
            document_reference.decode(
                slot.resource,
                entry_uuid=slot.id,
                patient_id=subjects.cx,
                bundle=resources,
                limited_metadata=limited,
            )
        )
        associations += _relations(reading, slot)
    held = reading.of("set")[0]
    submission_set = list_resource.decode_submission_set(
        held.resource,
        entry_uuid=held.id,
        unique_id=oids.new(),
        patient_id=subjects.cx,
        bundle=resources,
        limited_metadata=limited,
    )
    memberships: list[AssociationMetadata] = []
    for slot in reading.of("folder"):
        if slot.method == "POST":
            folders.append(
                list_resource.decode_folder(
                    slot.resource,
                    entry_uuid=slot.id,
                    unique_id=oids.new(),
                    patient_id=subjects.cx,
                    limited_metadata=limited,
                )
            )
        memberships += _folder_members(reading, slot)
    associations += memberships
    associations += _set_members(reading, held, memberships)
    _check_patches(reading, associations)
    _check_versions(reading)
    _recipients(reading, held)
    return Submission(
        submission_set=submission_set,
        entries=tuple(entries),
        folders=tuple(folders),
        associations=tuple(associations),
        level=reading.level,
    )


def _association(kind: AssociationType, source: str, target: str, status: str | None = None) -> AssociationMetadata:
    return AssociationMetadata(
        entry_uuid=f"urn:uuid:{uuid.uuid4()}", type=kind, source=source, target=target, submission_set_status=status
    )


def _target(reading: _Reading, reference: str, kinds: tuple[str, ...]) -> str | None:
    """The id behind a reference to something of this Bundle or of this server."""
    slot = reading.named(reference)
    if slot is not None:
        return slot.id if slot.kind in kinds else None
    if "document" in kinds:
        found = entry_uuid_of(reference, reading.request.base)
        if found is not None:
            return found
    return entry_uuid_of(reference, reading.request.base, "List") if "folder" in kinds else None


def _relations(reading: _Reading, slot: _Slot) -> list[AssociationMetadata]:
    found: list[AssociationMetadata] = []
    for index, relation in enumerate(slot.resource.get("relatesTo", ())):
        target = _target(reading, str(relation["target"].get("reference", "")), ("document",))
        if target is None:
            reading.add(
                f"{slot.path}.relatesTo[{index}].target", "no such DocumentReference", "not-found",
                "UnresolvedReferenceException",
            )  # fmt: skip
            continue
        made = _association(document_reference.ASSOCIATION[relation["code"]], slot.id, target)
        reading.places[made.entry_uuid] = f"{slot.path}.relatesTo[{index}].target"
        found.append(made)
    return found


def _folder_members(reading: _Reading, slot: _Slot) -> list[AssociationMetadata]:
    """The memberships a folder brings. A PUT only adds: what is in the folder already stays, listed or not."""
    present: frozenset[str] = frozenset()
    if slot.method == "PUT":
        folder = find.folder_to_extend(slot.id, caller=reading.request.caller)
        if folder is None:
            reading.add(
                f"Bundle.entry[{slot.index}].request.url", "no such folder", "not-found", "UnresolvedReferenceException"
            )
            return []
        present = frozenset(folder.members)
    found: list[AssociationMetadata] = []
    for index, item in enumerate(slot.resource.get("entry", ())):
        target = _target(reading, str(item["item"].get("reference", "")), ("document",))
        if target is None:
            reading.add(
                f"{slot.path}.entry[{index}].item", "a folder holds DocumentReferences of this server", "not-found",
                "UnresolvedReferenceException",
            )  # fmt: skip
        elif target not in present:
            made = _association(AssociationType.HAS_MEMBER, slot.id, target)
            reading.places[made.entry_uuid] = f"{slot.path}.entry[{index}].item"
            found.append(made)
    return found


def _set_members(reading: _Reading, held: _Slot, memberships: list[AssociationMetadata]) -> list[AssociationMetadata]:
    """What the set holds: everything submitted, and what its entries name besides."""
    new = [slot for slot in reading.slots if slot.kind in ("document", "folder") and slot.method == "POST"]
    status = {slot.id: "Original" if slot.kind == "document" else None for slot in new}
    for index, item in enumerate(held.resource.get("entry", ())):
        reference = str(item["item"].get("reference", ""))
        target = _target(reading, reference, ("document", "folder"))
        if target is None:
            reading.add(
                f"{held.path}.entry[{index}].item", "names nothing of this submission or server", "not-found",
                "UnresolvedReferenceException",
            )  # fmt: skip
        elif target not in status and target not in {s.id for s in reading.of("folder")}:
            status[target] = "Reference"
    found = [_association(AssociationType.HAS_MEMBER, held.id, target, value) for target, value in status.items()]
    reading.places |= {made.entry_uuid: f"{held.path}.entry" for made in found}
    found += [_association(AssociationType.HAS_MEMBER, held.id, item.entry_uuid) for item in memberships]
    return found


def _check_patches(reading: _Reading, associations: list[AssociationMetadata]) -> None:
    """A status may only be patched on what this Bundle replaces; replacing supersedes with or without the patch."""
    replaced = {item.target for item in associations if item.type is AssociationType.RPLC}
    for slot in reading.of("patch"):
        where = f"Bundle.entry[{slot.index}].request.url"
        target = entry_uuid_of(slot.url, reading.request.base)
        if target is None:
            reading.add(where, "PATCH names DocumentReference/id", "value")
        elif target not in replaced:
            reading.add(where, "only a document that this Bundle replaces becomes superseded")
        slot.id = slot.id or ""


def _check_versions(reading: _Reading) -> None:
    """What an entry says with ifMatch is the version it changes.

    Raises:
        VersionConflict: it has changed meanwhile.
    """
    for slot in reading.slots:
        if not slot.if_match or slot.kind not in ("folder", "patch") or slot.method == "POST":
            continue
        kind = "List" if slot.kind == "folder" else "DocumentReference"
        key = entry_uuid_of(slot.url, reading.request.base, kind)
        if key is not None and slot.if_match.removeprefix("W/") != f'"{find.revision_of(key)}"':
            raise VersionConflict(
                "the resource has changed since that version", element=f"Bundle.entry[{slot.index}].request.ifMatch"
            )


def _recipients(reading: _Reading, held: _Slot) -> None:
    """Warn of intended recipients that cannot be told."""
    known = _participant_names()
    for index, extension in enumerate(held.resource.get("extension", ())):
        if extension.get("url") != list_resource.INTENDED_RECIPIENT:
            continue
        reference = extension.get("valueReference") or {}
        contained = {f"#{item.get('id')}": item for item in held.resource.get("contained", ())}
        resource = contained.get(str(reference.get("reference", "")), {})
        values = {str(item.get("value", "")) for item in resource.get("identifier", ())}
        values |= {str((reference.get("identifier") or {}).get("value", "")), str(reference.get("reference", ""))}
        found = any(oids.bare(value).removeprefix("Organization/") in known for value in values if value)
        code = "UnavailableRecipient" if found else "UnknownRecipient"
        words = "has no channel to be notified on" if found else "is not known here"
        reading.warnings.setdefault(held.index, []).append(
            Issue(
                severity="warning",
                code="not-found" if not found else "transient",
                details=code,
                diagnostics=f"the intended recipient {words}; the documents are stored",
                expression=f"{held.path}.extension[{index}]",
            )
        )


def _participant_names() -> frozenset[str]:
    return _names_at(directory.epoch())


@lru_cache(maxsize=2)
def _names_at(epoch: int) -> frozenset[str]:
    found: set[str] = set()
    for participant in directory.participants().values():
        found |= {participant.id, oids.bare(participant.organization_oid)}
    return frozenset(found - {""})


# --- the answer -------------------------------------------------------------------------------------------------------


def _response(reading: _Reading, receipt: submit.Receipt, staged: Mapping[int, str]) -> JsonObject:
    modified = instant_text(reading.request.now)
    for warning in getattr(receipt, "warnings", ()):
        index = reading.of("set")[0].index
        reading.warnings.setdefault(index, []).append(
            Issue(severity="warning", code="business-rule", diagnostics=str(warning))
        )
    entries: list[JsonObject] = []
    representation = reading.request.prefer.returns == "representation"
    for slot in reading.slots:
        response: JsonObject = {"status": "201 Created" if slot.method == "POST" else "200 OK"}
        location = _location(reading, slot, receipt, staged)
        if location:
            version = _version(slot, location)
            response["location"] = f"{location}/_history/{version}"
            response["etag"] = f'W/"{version}"'
            response["lastModified"] = modified
        warnings = reading.warnings.get(slot.index, [])
        if reading.request.prefer.returns == "OperationOutcome":
            warnings = [*warnings, Issue(severity="information", code="informational", diagnostics="stored")]
        if warnings:
            response["outcome"] = outcome.outcome(warnings)
        shown = _representation(reading, slot, location) if representation else None
        entries.append({"response": response} if shown is None else {"resource": shown, "response": response})
    return {"resourceType": "Bundle", "id": str(uuid.uuid4()), "type": "transaction-response", "entry": entries}


def _version(slot: _Slot, location: str) -> int:
    """The version that this submission made."""
    changed = slot.method != "POST" and slot.kind in ("folder", "patch")
    return find.revision_of(location.rpartition("/")[2]) if changed else 1


def _representation(reading: _Reading, slot: _Slot, location: str) -> JsonObject | None:
    """The resource as stored, for a client that asked for it and may read it; bytes are not sent back."""
    kind, _, key = location.partition("/")
    caller = reading.request.caller
    if not scopes.allows(caller.scopes, kind, "r"):
        return None
    try:
        if kind == "DocumentReference":
            found = find.read_document(key, caller=caller, raw=location)
            return document_reference.render(found.row, found.person_id)
        if kind == "List":
            return lists.encode(document_lists.read_list(key, caller=caller, raw=location))
    except HubError:
        return None
    return None


def _location(reading: _Reading, slot: _Slot, receipt: submit.Receipt, staged: Mapping[int, str]) -> str:
    if slot.kind in ("binary", "fhir-document"):
        return f"Binary/{staged[slot.index]}"
    if slot.kind == "patch":
        return slot.url
    if slot.kind == "patient":
        return ""
    given = receipt.ids.get(slot.id, slot.id)
    if slot.kind == "set":
        given = receipt.submission_set_uuid or given
    kind = "DocumentReference" if slot.kind == "document" else "List"
    return f"{kind}/{given.removeprefix('urn:uuid:')}"


INTERACTION = Interaction(
    handler=provide,
    verb="",
    transactions=("ITI-65",),
    body="json",
    documentation="Provide Document Bundle [ITI-65]",
)
