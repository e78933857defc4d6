"""What legal holds protect just now, so that whoever removes something can ask of each row whether it stays.

A hold on a person reaches whoever it was merged with, and follows the identifiers that the person had when it was
placed. Where a row does not say whom it is about (a message as it came in is encrypted), everything stays that could
have come from an organization that knows the held person or document.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from consent import holds
from consent.models import LegalHold
from documents.models import DocumentEntry
from hie.directory import queries as directory
from hie.standards.demographics import system_of
from patients import identifiers
from patients.models import Person

_MERGES_DEEP = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Spared:
    """What stays: ids of persons, row ids and texts of identifiers, ids of documents, organizations.

    `senders` are the held organizations and all that may have sent something of what is held.
    """

    persons: frozenset[UUID] = frozenset()
    identifiers: frozenset[int] = frozenset()
    named: frozenset[str] = frozenset()
    documents: frozenset[str] = frozenset()
    organizations: frozenset[str] = frozenset()
    senders: frozenset[str] = frozenset()

    @property
    def anything(self) -> bool:
        """Whether any hold stands."""
        return bool(self.persons or self.documents or self.organizations)

    def names(self, text: str) -> bool:
        """Whether a text holds the id of something held."""
        return any(str(one) in text for one in (*self.persons, *self.documents))


def spared() -> Spared:
    """What the holds that stand protect. One statement where none stands; else some for each."""
    persons: set[UUID] = set()
    pks: set[int] = set()
    documents: set[str] = set()
    organizations: set[str] = set()
    senders: set[str] = set()
    for hold in holds.standing():
        if hold.kind == LegalHold.Kind.PERSON:
            found = _persons(UUID(hold.subject), hold.identifiers)
            persons |= found
            pks.update(hold.identifiers)
        elif hold.kind == LegalHold.Kind.DOCUMENT:
            for row in _entries(hold.subject):
                documents |= {row.unique_id, str(row.entry_uuid), str(row.logical_id)}
                senders.add(row.custodian)
            documents.add(hold.subject)
        else:
            organizations |= {one for one in directory.participants() if directory.within(one, hold.subject)}
            organizations.add(hold.subject)
    named: set[str] = set()
    for person in persons:
        for one in identifiers.of_person(person):
            pks.add(one.pk)
            senders.add(one.participant_id)
            named |= {f"{system_of(one.authority)}|{one.value}", f"{one.value}^^^&{one.authority}&ISO"}
    held = DocumentEntry.objects.filter(patient_identifier__in=pks) if pks else DocumentEntry.objects.none()
    senders |= set(held.order_by().values_list("custodian", flat=True).distinct())
    return Spared(
        persons=frozenset(persons),
        identifiers=frozenset(pks),
        named=frozenset(named),
        documents=frozenset(documents - {""}),
        organizations=frozenset(organizations),
        senders=frozenset(senders | organizations) - {""},
    )


def _persons(person: UUID, pks: Iterable[int]) -> set[UUID]:
    """A person with whoever holds its identifiers, what these became, and who was merged into them."""
    found = {person, *identifiers.persons_of(pks).values()}
    found |= set(identifiers.survivors_of(found).values())
    for _ in range(_MERGES_DEEP):
        merged = set(Person.objects.filter(merged_into__in=found).values_list("pk", flat=True))
        if merged <= found:
            break
        found |= merged
    return found


def entries_named(subject: str) -> list[DocumentEntry]:
    """The versions of a document that is named by its unique id or the id of an entry."""
    return list(_entries(subject))


def _entries(subject: str) -> Iterable[DocumentEntry]:
    rows = DocumentEntry.objects.filter(unique_id=subject)
    with suppress(ValueError):
        rows = rows | DocumentEntry.objects.filter(entry_uuid=UUID(subject))
    logical = rows.values_list("logical_id", flat=True)
    return DocumentEntry.objects.filter(logical_id__in=list(logical))
