"""A DocumentReference of another community as this hub shows it, and as policy sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings

from consent.labelling import LabelTables
from documents import facts as facts_of_entries
from hie.exchange import labels
from hie.exchange.access import Shown
from hie.exchange.remote_documents import NamedDocument
from hie.faces.fhir import said
from hie.standards import naming
from hie.standards.facts import CodedContent, DocumentFacts, ParticipantFacts, Perhaps

MIME_CLASS = "urn:ietf:bcp:13"
RESOURCE_TYPES = "http://hl7.org/fhir/resource-types"
HOME_COMMUNITY = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/ihe-HomeCommunityId"
RANK = frozenset("ULMNRV")

NO_LABELS = frozenset(
    {"MINEC", "NORDSCLCD", "NORDSLCD", "NOREUSE", "NORELINK", "NOAUTH", "NOCOLLECT", "NODSCLCD", "DELAU", "ENCRYPT"}
)
"""Obligations and refrains of v3-ActCode that may stand among security labels and say nothing of sensitivity."""

DERIVING = ("transforms",)

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
    document: NamedDocument,
    person_id: str,
    community: ParticipantFacts | None,
    tables: LabelTables,
    others: Sequence[NamedDocument] = (),
) -> DocumentFacts:
    """What the answered metadata says, labelled from it by the rules in force.

    It counts as labelled only when the agreement of its source vouches for labels. What it transforms is its source:
    one of the `others` of the same answer, or else a document of which nothing is known but that it is there,
    not labelled and so restricted.

    Source: spec/consent.md 3 "Across communities" and 8.
    """
    source = document.resource
    context = _object(source.get("context"))
    period = _object(context.get("period"))
    attachment = _object(_object(_first(source.get("content"))).get("attachment"))
    codings = {kind: [(system, code) for system, code in found] for kind, found in said.codings(source).items()}
    security = codings.get("security", [])
    found = labels.of(
        frozenset(f"{system}|{code}" for listed in codings.values() for system, code in listed),
        security,
        CodedContent(),
        tables,
    )
    known = tables.tables.known_labels
    agreement = community.agreement if community is not None else None
    classes = facts_of_entries.spelled(codings.get("class", ())) | {f"{RESOURCE_TYPES}|DocumentReference"}
    if isinstance(attachment.get("contentType"), str):
        classes |= {f"{MIME_CLASS}|{attachment['contentType'].split(';')[0].strip().lower()}"}
    names = said.authors(source)
    related = {code: list(references) for code, references in _relations(source)}
    everything = [one for references in related.values() for one in references]
    derived = [one for code in DERIVING for one in related.get(code, ())]
    encounter = next((one for one in _references(context.get("encounter"))), None)
    return DocumentFacts(
        id=str(document.id),
        patient=person_id,
        custodian=document.custodian,
        authors=tuple(sorted(filter(_anywhere, names.sure))),
        classes=classes,
        codes=facts_of_entries.spelled(codings.get("clinical", ())),
        confidentiality=found.confidentiality,
        labels=found.labels,
        # A label this hub does not know may mean anything: then the document counts as not labelled.
        labelled=bool(agreement is not None and agreement.labels_documents)
        and {code for _, code in security if code not in RANK} <= known | NO_LABELS,
        service_start=_text(period.get("start")),
        service_stop=_text(period.get("end")),
        created=_text(attachment.get("creation")) or _text(source.get("date")),
        encounter=encounter if encounter is not None and _anywhere(encounter) else None,
        related=tuple(sorted(filter(_anywhere, everything))),
        depends_on=tuple(sorted(filter(_anywhere, everything))),
        derived_from=tuple(
            _source(one, document, person_id, community, tables, others) for one in sorted(set(derived))
        ),
        perhaps=Perhaps(
            authors=names.perhaps | names.sure,
            ids=_ids(document),
            related=frozenset(naming.bare(one) for one in (*said.belongs_to(source), *everything)),
        ),
    )


def _anywhere(name: str) -> bool:
    """Whether a name means the same here as in the community that said it: a relative reference is its own, not ours."""
    return "|" in name or "://" in name or name.startswith("urn:")


def _source(
    reference: str,
    document: NamedDocument,
    person_id: str,
    community: ParticipantFacts | None,
    tables: LabelTables,
    others: Sequence[NamedDocument],
) -> DocumentFacts:
    """The facts of what a document was made from; the sources of that in turn are not followed."""
    wanted = naming.bare(reference.rpartition("|")[2])
    for other in others:
        if other.id != document.id and wanted in _ids(other):
            return facts(other, person_id, community, tables)
    return DocumentFacts(id=reference, patient=person_id, custodian=document.custodian, labelled=False)


def _ids(document: NamedDocument) -> frozenset[str]:
    """What a remote document is called where it comes from."""
    names = (document.unique_id, document.resource.get("id"))
    return frozenset(naming.bare(name) for name in names if isinstance(name, str) and name)


def _relations(source: Mapping[str, Any]) -> Iterable[tuple[str, list[str]]]:
    """`relatesTo` by its code: the names of the targets."""
    found: dict[str, list[str]] = {}
    for item in _items(source.get("relatesTo")):
        names = naming.referred(item.get("target")) if isinstance(item, Mapping) else naming.Names()
        # One name a target: the literal reference before the identifiers.
        name = next((one for one in sorted(names.sure, key=lambda one: ("|" in one, one))), "")
        if isinstance(item, Mapping) and isinstance(item.get("code"), str):
            found.setdefault(item["code"], []).append(name)
    return found.items()


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
        self,
        document: NamedDocument,
        person_id: str,
        *,
        community: ParticipantFacts | None,
        tables: LabelTables,
        others: Sequence[NamedDocument] = (),
    ) -> DocumentFacts:
        """Facts of a remote document."""
        return facts(document, person_id, community, tables, others)

    def remote_shown(self, document: NamedDocument) -> Shown:
        """Its name in the log."""
        return shown(document)


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


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
