"""Documents that other communities named in answers: as they are kept, decided and shown.

How they are written, the FHIR face hands in. What policy needs to know of one is made of what was answered and of the
directory and labelling rules as they are now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from consent.labelling import LabelTables
from hie.directory import queries as directory
from hie.exchange import access
from hie.exchange.access import Shown
from hie.exchange.models import Query, RemoteDocument
from hie.standards.facts import DocumentFacts, ParticipantFacts


class NamedDocument(NamedTuple):
    """A document that another community named in an answer, as it is decided and shown."""

    id: UUID
    target: int  # the row of the question to its community
    community_id: str  # the participant that was asked
    community_name: str
    custodian: str
    unique_id: str
    resource: Mapping[str, Any]  # the DocumentReference as answered
    received_at: datetime

    @classmethod
    def of(cls, document: RemoteDocument) -> NamedDocument:
        """From its row, the target read with it."""
        target = document.target
        return cls(
            document.id,
            target.pk,
            target.participant_id,
            target.name,
            document.custodian,
            document.unique_id,
            document.resource,
            document.received_at,
        )


class DocumentRendering(Protocol):
    """How the FHIR face writes a document of this hub, and one of another community."""

    def local(self, row: Any, person_id: str) -> dict[str, Any]:
        """The DocumentReference of a registered entry."""

    def remote(self, document: NamedDocument, person_id: str, *, community: ParticipantFacts | None) -> dict[str, Any]:
        """The DocumentReference of a remote document, its attachment under this hub."""

    def remote_facts(
        self,
        document: NamedDocument,
        person_id: str,
        *,
        community: ParticipantFacts | None,
        tables: LabelTables,
        others: Sequence[NamedDocument] = (),
    ) -> DocumentFacts:
        """What policy needs to know of a remote document, labelled by `tables`; `others` are of the same answer."""

    def remote_shown(self, document: NamedDocument) -> Shown:
        """What the patient's log calls it."""


_RENDERING: list[DocumentRendering] = []


def register_rendering(rendering: DocumentRendering) -> None:
    """The FHIR face hands in how documents are written (called from its `AppConfig.ready()`)."""
    _RENDERING[:] = [rendering]


def rendering() -> DocumentRendering:
    """The registered rendering."""
    return _RENDERING[0]


@dataclass(frozen=True, slots=True)
class RemoteRow:
    """A remote document as the door sees it, with its community and the labelling rules, as they are now.

    `others` of the same answer are there where it says that it was made from another document.

    What is made of it is made once: nothing of that depends on who looks, or when.
    """

    document: NamedDocument
    community: ParticipantFacts | None
    tables: LabelTables
    others: tuple[NamedDocument, ...] = ()
    _made: dict[tuple[str, str], Any] = field(default_factory=dict, compare=False, repr=False)

    def facts(self, person_id: str, identifier_pks: Collection[int] | None = None) -> DocumentFacts:
        """Facts from the answered metadata; the custodian is its organization, or the community."""
        found: DocumentFacts | None = self._made.get(("facts", person_id))
        if found is None:
            found = rendering().remote_facts(
                self.document, person_id, community=self.community, tables=self.tables, others=self.others
            )
            self._made["facts", person_id] = found
        return found

    def rendered(self, person_id: str) -> dict[str, Any]:
        """Its DocumentReference, the attachment under this hub."""
        found: dict[str, Any] | None = self._made.get(("rendered", person_id))
        if found is None:
            found = rendering().remote(self.document, person_id, community=self.community)
            self._made["rendered", person_id] = found
        return found

    def shown(self) -> Shown:
        """What the patient's log calls it."""
        found: Shown | None = self._made.get(("shown", ""))
        if found is None:
            found = self._made["shown", ""] = rendering().remote_shown(self.document)
        return found


def remote_rows(documents: Iterable[NamedDocument]) -> list[RemoteRow]:
    """The rows of remote documents, with one reading of the directory and the labelling rules."""
    named = list(documents)
    participants, tables = directory.participants(), access.label_tables()
    answers = _answers_with({item.target for item in named if item.resource.get("relatesTo")})
    return [
        RemoteRow(
            item,
            participants.get(item.community_id),
            tables,
            answers.get(item.target, ()) if item.resource.get("relatesTo") else (),
        )
        for item in named
    ]


def _answers_with(targets: Collection[int]) -> dict[int, tuple[NamedDocument, ...]]:
    """Every document of these answers, by target; one statement, none when there are none."""
    if not targets:
        return {}
    found: dict[int, list[NamedDocument]] = {}
    rows = RemoteDocument.objects.filter(target__in=targets).select_related("target").order_by("pk")
    for row in rows:
        found.setdefault(row.target_id, []).append(NamedDocument.of(row))
    return {target: tuple(items) for target, items in found.items()}


def remote_document(document_id: UUID) -> RemoteDocument | None:
    """A remote document some query brought in and that has not expired."""
    return (
        RemoteDocument.objects.filter(id=document_id, target__query__expires_at__gt=datetime.now(UTC))
        .exclude(target__query__status=Query.Status.CANCELLED)
        .select_related("target__query")
        .first()
    )
