"""A DocumentReference of another community as this hub shows it, and as policy sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings

from hie.exchange.access import Shown
from hie.exchange.query import NamedDocument
from hie.standards.facts import DocumentFacts, ParticipantFacts

MIME_CLASS = "urn:ietf:bcp:13"
RESOURCE_TYPES = "http://hl7.org/fhir/resource-types"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
HOME_COMMUNITY = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/ihe-HomeCommunityId"
RANK = "ULMNRV"

NO_LABELS = frozenset(
    {"MINEC", "NORDSCLCD", "NORDSLCD", "NOREUSE", "NORELINK", "NOAUTH", "NOCOLLECT", "NODSCLCD", "DELAU", "ENCRYPT"}
)
"""Obligations and refrains of v3-ActCode that may stand among security labels and say nothing of sensitivity."""

KEPT = (
    "contained",
    "masterIdentifier",
    "identifier",
    "status",
    "type",
    "category",
    "date",
    "author",
    "authenticator",
    "description",
    "securityLabel",
    "context",
)
"""Elements shown as the community answered them; the rest names things this hub cannot resolve."""


def document_reference(document: NamedDocument, person_id: str, community: ParticipantFacts | None) -> dict[str, Any]:
    """The resource under this hub's id, patient and Binary; the community named in the MHD extension."""
    source = document.resource
    shown: dict[str, Any] = {"resourceType": "DocumentReference", "id": str(document.id)}
    shown["meta"] = {"lastUpdated": document.received_at.isoformat().replace("+00:00", "Z")}
    if community is not None and community.home_community_id:
        oid = community.home_community_id.removeprefix("urn:oid:")
        shown["extension"] = [{"url": HOME_COMMUNITY, "valueOid": f"urn:oid:{oid}"}]
    shown |= {name: source[name] for name in KEPT if name in source}
    shown["subject"] = {"reference": f"Patient/{person_id}"}
    shown["custodian"] = {"display": document.community_name}
    content = dict(source["content"][0])
    attachment = {key: value for key, value in content["attachment"].items() if key != "data"}
    attachment["url"] = f"{settings.BASE_URL}/fhir/Binary/{document.id}"
    shown["content"] = [content | {"attachment": attachment}]
    return shown


def facts(
    document: NamedDocument, person_id: str, community: ParticipantFacts | None, known: frozenset[str]
) -> DocumentFacts:
    """What the answered metadata says; unlabelled unless the agreement of its source vouches for labels.

    Source: spec/consent.md 3 "Across communities" and 8.
    """
    source = document.resource
    labels = list(_codings(source.get("securityLabel")))
    confidentiality = [code for system, code in labels if system == CONFIDENTIALITY and code in RANK]
    context = source.get("context")
    context = context if isinstance(context, dict) else {}
    period = context.get("period")
    period = period if isinstance(period, dict) else {}
    content = source["content"][0]
    attachment = content["attachment"]
    classes = {f"{RESOURCE_TYPES}|DocumentReference"}
    if isinstance(attachment.get("contentType"), str):
        classes.add(f"{MIME_CLASS}|{attachment['contentType'].split(';')[0].strip().lower()}")
    classes |= {f"{system}|{code}" for system, code in _codings(source.get("category"))}
    classes |= {f"{system}|{code}" for system, code in _codings(content.get("format"))}
    codes = {f"{system}|{code}" for system, code in _codings(source.get("type"))}
    codes |= {f"{system}|{code}" for system, code in _codings(context.get("event"))}
    codes_said = {code for system, code in labels if system == ACT_CODE}
    agreement = community.agreement if community is not None else None
    return DocumentFacts(
        id=str(document.id),
        patient=person_id,
        custodian=document.custodian,
        authors=tuple(sorted(_references(source.get("author")))),
        classes=frozenset(classes),
        codes=frozenset(codes),
        confidentiality=max(confidentiality, key=RANK.index) if confidentiality else None,
        labels=frozenset(codes_said & known),
        # A label this hub does not know may mean anything: then the document counts as not labelled.
        labelled=bool(agreement is not None and agreement.labels_documents) and codes_said <= known | NO_LABELS,
        service_start=_text(period.get("start")),
        service_stop=_text(period.get("end")),
        created=_text(attachment.get("creation")) or _text(source.get("date")),
    )


def shown(document: NamedDocument) -> Shown:
    """What the patient's log calls it."""
    source = document.resource
    attachment = source["content"][0]["attachment"]
    display = next((text for text in _displays(source.get("type")) if text), "")
    return Shown(
        document_id=str(document.id),
        unique_id=document.unique_id,
        title=_text(attachment.get("title")) or display,
        type_display=display,
    )


class Rendering:
    """How the exchange has documents written: local ones by the codec, remote ones by this module."""

    def local(self, row: Any, person_id: str) -> dict[str, Any]:
        """The DocumentReference of a registered entry."""
        from hie.faces.fhir import document_reference as codec

        return codec.render(row, person_id)

    def remote(self, document: NamedDocument, person_id: str, *, community: ParticipantFacts | None) -> dict[str, Any]:
        """The DocumentReference of a remote document."""
        return document_reference(document, person_id, community)

    def remote_facts(
        self, document: NamedDocument, person_id: str, *, community: ParticipantFacts | None, known: frozenset[str]
    ) -> DocumentFacts:
        """Facts of a remote document."""
        return facts(document, person_id, community, known)

    def remote_shown(self, document: NamedDocument) -> Shown:
        """Its name in the log."""
        return shown(document)


def _codings(value: Any) -> list[tuple[str, str]]:
    """(system, code) of a Coding, a CodeableConcept, or a list of either."""
    found: list[tuple[str, str]] = []
    if value is None:
        return found
    for item in value if isinstance(value, list) else (value,):
        if isinstance(item, dict):
            codings = item.get("coding")
            for coding in codings if isinstance(codings, list) else (item,):
                if isinstance(coding, dict):
                    system, code = coding.get("system"), coding.get("code")
                    if isinstance(code, str) and isinstance(system, str):
                        found.append((system, code))
    return found


def _displays(value: Any) -> Iterable[str]:
    if isinstance(value, Mapping):
        for coding in value.get("coding") or ():
            if isinstance(coding, Mapping) and isinstance(coding.get("display"), str):
                yield coding["display"]
        if isinstance(value.get("text"), str):
            yield value["text"]


def _references(value: Any) -> Iterable[str]:
    for item in value if isinstance(value, list) else ():
        if isinstance(item, Mapping) and isinstance(item.get("reference"), str):
            yield item["reference"]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
