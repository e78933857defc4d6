"""Rules of the MHD profiles for what is submitted: what each level requires and forbids. Pure.

Source: spec/fhir.md 3.1 (table), 3.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from documents.metadata import MetadataLevel
from hie.faces.fhir import list_resource, mapping
from hie.faces.fhir.document_reference import hash_to_hex
from hie.standards import oids
from hie.standards.fhir import JsonObject, Problem, fhir_to_dtm

BUNDLE_PROFILES: Mapping[str, MetadataLevel] = {
    f"{mapping.MHD_STRUCTURE}/IHE.MHD.Minimal.ProvideBundle": MetadataLevel.MINIMAL,
    f"{mapping.MHD_STRUCTURE}/IHE.MHD.UnContained.Comprehensive.ProvideBundle": MetadataLevel.UNCONTAINED,
    f"{mapping.MHD_STRUCTURE}/IHE.MHD.Comprehensive.ProvideBundle": MetadataLevel.COMPREHENSIVE,
}
PATCH_PROFILE = f"{mapping.MHD_STRUCTURE}/IHE.MHD.Patch.Parameters"

ENTRY_PATHS: Mapping[str, str] = {
    "author": "author",
    "authors": "author",
    "classCode": "category",
    "comments": "description",
    "confidentialityCode": "securityLabel",
    "creationTime": "content[0].attachment.creation",
    "entryUUID": "identifier",
    "eventCodeList": "context.event",
    "formatCode": "content[0].format",
    "hash": "content[0].attachment.hash",
    "healthcareFacilityTypeCode": "context.facilityType",
    "homeCommunityId": "extension",
    "languageCode": "content[0].attachment.language",
    "legalAuthenticator": "authenticator",
    "mimeType": "content[0].attachment.contentType",
    "patientId": "subject",
    "practiceSettingCode": "context.practiceSetting",
    "referenceIdList": "context.related",
    "serviceStartTime": "context.period.start",
    "serviceStopTime": "context.period.end",
    "size": "content[0].attachment.size",
    "sourcePatientId": "context.sourcePatientInfo",
    "sourcePatientInfo": "context.sourcePatientInfo",
    "title": "content[0].attachment.title",
    "typeCode": "type",
    "uniqueId": "masterIdentifier",
    "URI": "content[0].attachment.url",
}
"""DocumentEntry attribute to the element of a DocumentReference."""

LIST_PATHS: Mapping[str, str] = {
    "author": "source",
    "codeList": "extension",
    "comments": "note",
    "contentTypeCode": "extension",
    "entryUUID": "identifier",
    "homeCommunityId": "extension",
    "intendedRecipient": "extension",
    "patientId": "subject",
    "sourceId": "extension",
    "submissionTime": "date",
    "title": "title",
    "uniqueId": "identifier",
}
"""SubmissionSet and Folder attribute to the element of a List."""


class Rules:
    """Collects what a resource at `path` breaks."""

    def __init__(self, path: str, resource: JsonObject) -> None:
        self.path = path
        self.resource = resource
        self.problems: list[Problem] = []

    def add(self, element: str, message: str, code: str = "value", details: str = "XDSRegistryMetadataError") -> None:
        """Note a problem with an element (relative to the resource; "" for the resource itself)."""
        expression = f"{self.path}.{element}" if element else self.path
        self.problems.append(Problem(expression=expression, message=message, code=code, details=details))

    def need(self, element: str, present: Any) -> bool:
        """Note a missing element."""
        if present in (None, "", [], {}):
            self.add(element, f"{element} is required here", "required")
            return False
        return True

    def time(self, element: str, text: Any) -> None:
        """Note a time that is not of the calendar (2026-02-30)."""
        if text:
            try:
                fhir_to_dtm(str(text))
            except ValueError:
                self.add(element, "this is no day of the calendar")

    def home_community(self, resource: Mapping[str, Any]) -> None:
        """Note a home community that is no OID."""
        url = mapping.HOME_COMMUNITY_EXTENSION
        value = mapping.extension_value(resource, url)
        if value is not None and not isinstance(value, str):
            self.add(f"extension('{url}')", "the home community is a valueOid")

    def contained(self, element: str, reference: Any) -> None:
        """Note a reference into the resource itself that leads nowhere."""
        target = str((reference or {}).get("reference", ""))
        if target.startswith("#") and target != "#":
            held = {f"#{item.get('id')}" for item in self.resource.get("contained", ())}
            if target not in held:
                self.add(element, "nothing of this id is contained", "not-found")

    def forbid(self, element: str, present: Any) -> None:
        """Note an element that may not be there."""
        if present not in (None, "", [], {}):
            self.add(element, f"{element} is not allowed here", "business-rule")


def check_document_reference(path: str, resource: JsonObject, level: MetadataLevel) -> list[Problem]:
    """What a DocumentReference of a Provide Document Bundle breaks at this level."""
    rules = Rules(path, resource)
    comprehensive = level is not MetadataLevel.MINIMAL
    _common(rules, resource)
    if resource.get("status") not in ("current", "superseded"):
        rules.add("status", "status is current or superseded")
    master = resource.get("masterIdentifier") or {}
    if rules.need("masterIdentifier", master):
        rules.need("masterIdentifier.system", master.get("system"))
        rules.need("masterIdentifier.value", master.get("value"))
        if mapping.identifier_kind(master) != "uniqueId":
            rules.add("masterIdentifier.type", "the type of masterIdentifier is uniqueId", "required")
    content = resource.get("content", [{}])[0]
    attachment = content.get("attachment") or {}
    rules.forbid("content[0].attachment.data", attachment.get("data"))
    rules.need("content[0].attachment.url", attachment.get("url"))
    if comprehensive:
        context = resource.get("context") or {}
        for element, present in (
            ("type", resource.get("type")),
            ("category", resource.get("category")),
            ("subject", resource.get("subject")),
            ("securityLabel", resource.get("securityLabel")),
            ("content[0].attachment.language", attachment.get("language")),
            ("content[0].attachment.creation", attachment.get("creation")),
            ("content[0].format", content.get("format")),
            ("context.facilityType", context.get("facilityType")),
            ("context.practiceSetting", context.get("practiceSetting")),
            ("context.sourcePatientInfo", context.get("sourcePatientInfo")),
        ):
            rules.need(element, present)
    if level is MetadataLevel.COMPREHENSIVE:
        _contained_only(rules, resource)
    return rules.problems


def check_simplified(path: str, resource: JsonObject) -> list[Problem]:
    """What a DocumentReference of Simplified Publish breaks."""
    rules = Rules(path, resource)
    _common(rules, resource)
    if resource.get("status") != "current":
        rules.add("status", "status is current")
    master = resource.get("masterIdentifier") or {}
    if rules.need("masterIdentifier", master):
        rules.need("masterIdentifier.value", master.get("value"))
    rules.need("subject", resource.get("subject"))
    attachment = resource.get("content", [{}])[0].get("attachment") or {}
    rules.need("content[0].attachment.data", attachment.get("data"))
    rules.forbid("content[0].attachment.url", attachment.get("url"))
    for index, identifier in enumerate(resource.get("identifier", ())):
        if mapping.identifier_kind(identifier) == "entryUUID":
            rules.forbid(f"identifier[{index}]", identifier)
    return rules.problems


def _common(rules: Rules, resource: JsonObject) -> None:
    """What holds for every DocumentReference that is published."""
    rules.forbid("docStatus", resource.get("docStatus"))
    rules.forbid("modifierExtension", resource.get("modifierExtension"))
    rules.forbid("implicitRules", resource.get("implicitRules"))
    if len(resource.get("category", ())) > 1:
        rules.add("category", "at most one category", "business-rule")
    if len(resource.get("content", ())) != 1:
        rules.add("content", "exactly one content", "business-rule")
    attachment = resource.get("content", [{}])[0].get("attachment") or {}
    rules.need("content[0].attachment.contentType", attachment.get("contentType"))
    if attachment.get("hash"):
        try:
            hash_to_hex(attachment["hash"])
        except ValueError:
            rules.add(
                "content[0].attachment.hash", "hash is the base64 of a SHA-1", details="XDSRepositoryMetadataError"
            )
    context = resource.get("context") or {}
    period = context.get("period") or {}
    for element, text in (
        ("date", resource.get("date")),
        ("content[0].attachment.creation", attachment.get("creation")),
        ("context.period.start", period.get("start")),
        ("context.period.end", period.get("end")),
    ):
        rules.time(element, text)
    rules.home_community(resource)
    for index, author in enumerate(resource.get("author", ())):
        rules.contained(f"author[{index}]", author)
    rules.contained("authenticator", resource.get("authenticator"))
    rules.contained("context.sourcePatientInfo", context.get("sourcePatientInfo"))
    master = str((resource.get("masterIdentifier") or {}).get("value", ""))
    if master.startswith("urn:oid:") and not oids.is_oid(master[8:]):
        rules.add("masterIdentifier.value", "what follows urn:oid: is an OID")
    unique_id = mapping.unique_id_of(resource.get("masterIdentifier") or {})
    for index, identifier in enumerate(resource.get("identifier", ())):
        kind = mapping.identifier_kind(identifier)
        if kind == "uniqueId" and mapping.unique_id_of(identifier) != unique_id:
            rules.add(f"identifier[{index}]", "an identifier of type uniqueId equals masterIdentifier")
        if kind == "entryUUID":
            _entry_uuid(rules, f"identifier[{index}]", identifier)
    for element, codes in (
        ("type", [resource.get("type")]),
        ("category", resource.get("category", ())),
        ("securityLabel", resource.get("securityLabel", ())),
        ("context.event", (resource.get("context") or {}).get("event", ())),
        ("context.facilityType", [(resource.get("context") or {}).get("facilityType")]),
        ("context.practiceSetting", [(resource.get("context") or {}).get("practiceSetting")]),
    ):
        for index, concept in enumerate(codes):
            if concept and mapping.decode_code(concept) is None:
                where = element if element.count(".") or element == "type" else f"{element}[{index}]"
                rules.add(where, "a coding with a code is needed", "code-invalid")
    for index, relation in enumerate(resource.get("relatesTo", ())):
        rules.need(f"relatesTo[{index}].target.reference", (relation.get("target") or {}).get("reference"))


def _entry_uuid(rules: Rules, element: str, identifier: Mapping[str, Any]) -> None:
    value = str(identifier.get("value", ""))
    if not value.startswith("urn:uuid:"):
        rules.add(element, "an entryUUID is a urn:uuid:")


def _contained_only(rules: Rules, resource: JsonObject) -> None:
    held = {f"#{item.get('id')}" for item in resource.get("contained", ())}
    context = resource.get("context") or {}
    references = [(f"author[{index}]", item) for index, item in enumerate(resource.get("author", ()))]
    if resource.get("authenticator"):
        references.append(("authenticator", resource["authenticator"]))
    if context.get("sourcePatientInfo"):
        references.append(("context.sourcePatientInfo", context["sourcePatientInfo"]))
    for element, reference in references:
        if reference.get("reference") not in held:
            rules.add(element, "Comprehensive metadata wants this resource contained", "business-rule")


def check_submission_set(path: str, resource: JsonObject, level: MetadataLevel) -> list[Problem]:
    """What the List of a submission set breaks at this level."""
    rules = Rules(path, resource)
    _common_list(rules, resource)
    if resource.get("status") != "current":
        rules.add("status", "status is current")
    rules.need("date", resource.get("date"))
    source_id = mapping.extension_value(resource, list_resource.SOURCE_ID)
    if rules.need(f"extension('{list_resource.SOURCE_ID}')", source_id):
        value = str(source_id.get("value", "")) if isinstance(source_id, dict) else ""
        if not oids.is_oid(oids.bare(value)):
            rules.add(f"extension('{list_resource.SOURCE_ID}')", "sourceId is an Identifier whose value is urn:oid:")
    if level is not MetadataLevel.MINIMAL:
        rules.need("subject", resource.get("subject"))
        designation = mapping.extension_value(resource, list_resource.DESIGNATION_TYPE)
        rules.need(f"extension('{list_resource.DESIGNATION_TYPE}')", designation)
    if level is MetadataLevel.COMPREHENSIVE and resource.get("source"):
        held = {f"#{item.get('id')}" for item in resource.get("contained", ())}
        if resource["source"].get("reference") not in held:
            rules.add("source", "Comprehensive metadata wants this resource contained", "business-rule")
    return rules.problems


def check_folder(path: str, resource: JsonObject, level: MetadataLevel) -> list[Problem]:
    """What the List of a folder breaks at this level."""
    rules = Rules(path, resource)
    _common_list(rules, resource)
    rules.forbid("source", resource.get("source"))
    if level is not MetadataLevel.MINIMAL:
        rules.need("subject", resource.get("subject"))
        rules.need("title", resource.get("title"))
        designation = mapping.extension_value(resource, list_resource.DESIGNATION_TYPE)
        rules.need(f"extension('{list_resource.DESIGNATION_TYPE}')", designation)
    return rules.problems


def _common_list(rules: Rules, resource: JsonObject) -> None:
    if resource.get("mode") != "working":
        rules.add("mode", "mode is working")
    rules.time("date", resource.get("date"))
    rules.home_community(resource)
    rules.contained("source", resource.get("source"))
    for element in ("encounter", "orderedBy", "emptyReason", "modifierExtension", "implicitRules"):
        rules.forbid(element, resource.get(element))
    for index, identifier in enumerate(resource.get("identifier", ())):
        kind, value = mapping.identifier_kind(identifier), str(identifier.get("value", ""))
        if kind == "uniqueId" and not (value.startswith("urn:oid:") and oids.is_oid(value[8:])):
            rules.add(f"identifier[{index}]", "the uniqueId of a List is a urn:oid:")
        if kind == "entryUUID":
            _entry_uuid(rules, f"identifier[{index}]", identifier)
    for index, item in enumerate(resource.get("entry", ())):
        for element in ("flag", "deleted", "date"):
            rules.forbid(f"entry[{index}].{element}", item.get(element))
        rules.need(f"entry[{index}].item.reference", (item.get("item") or {}).get("reference"))


def check_patch(path: str, resource: JsonObject) -> list[Problem]:
    """What the Parameters of an UpdateDocumentRefs entry break: the only change is to ``superseded``."""
    rules = Rules(path, resource)
    parameters = resource.get("parameter", ())
    if len(parameters) != 1 or parameters[0].get("name") != "operation":
        rules.add("parameter", "exactly one parameter, operation", "business-rule")
        return rules.problems
    parts = {
        part.get("name"): next((value for key, value in part.items() if key.startswith("value")), None)
        for part in parameters[0].get("part", ())
    }
    wanted = {"type": "replace", "path": "DocumentReference.status", "value": "superseded"}
    if parts != wanted:
        rules.add("parameter[0].part", "only DocumentReference.status may be replaced, by superseded", "business-rule")
    return rules.problems
