"""One search for the hub's own staff: whatever is known of a thing, typed into one field, answered by kind.

Each kind is looked for by who may open its pages, and each person shown or spoken of has a look in the log before anything
is. By name and number of a patient it is only looked with a reason: an answer that somebody is there, or is not, is a look.
What is found by an exact id of its own follows the lists of the desk, where a search is the reason.

Every kind costs a constant number of statements, each by an index.

Source: spec/consent.md 7, item 5.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from django.db.models import Model, Q, QuerySet

from documents.models import DocumentEntry
from hie.audit.kinds import SHAPES, EventType
from hie.audit.models import AuditEvent
from hie.directory import queries as directory
from hie.exchange import access, identity_pages
from hie.exchange.access import Held, Staff
from hie.exchange.desk_words import Words
from hie.exchange.identity_pages import Summary
from hie.exchange.models import Concern, InboundMessage, Query
from hie.standards.demographics import DateMatch, IdentifierMatch, PatientQuery, StringMatch, system_of
from patients import identifiers
from patients.normalise import fold
from patients.search import search as search_index

_Row = TypeVar("_Row", bound=Model)

MOST = 20
"""Things shown of one kind; where there are more, the search must say more."""
SEARCHED = "Searched the desk for an exact id"
"""The reason that stands in the log where none was asked for, as of a search in a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One thing found: `key` is its page's among those of `model` ("app.name"); nothing of it names a patient."""

    model: str
    key: str
    heading: str
    lines: tuple[str, ...] = ()
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What was found of one kind. `people` only of persons; `note` says why it was not looked, or what to add."""

    kind: str
    title: str
    hits: tuple[Hit, ...] = ()
    people: tuple[Summary, ...] = ()
    more: bool = False
    note: str = ""

    @property
    def count(self) -> int:
        """How many are shown."""
        return len(self.hits) + len(self.people)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The answer, by kind. `asks_reason`: persons were not looked for as no reason was given. `shown` whom it speaks of."""

    groups: tuple[Group, ...]
    asks_reason: bool = False
    shown: frozenset[UUID] = field(default_factory=frozenset)

    @property
    def count(self) -> int:
        """How many things are shown."""
        return sum(group.count for group in self.groups)

    @property
    def full(self) -> tuple[Group, ...]:
        """The kinds of which something was found, or must be said."""
        return tuple(group for group in self.groups if group.count or group.note)

    @property
    def empty(self) -> tuple[str, ...]:
        """The kinds that were looked for in vain, in words."""
        return tuple(group.title.lower() for group in self.groups if not group.count and not group.note)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of thing: its list ("app.name"), and what of patients it is (None: nothing)."""

    key: str
    title: str
    model: str
    held: Held | None


KINDS = (
    Kind(key="persons", title="Persons", model="patients.person", held=Held.IDENTITIES),
    Kind(key="documents", title="Documents", model="documents.documententry", held=Held.DOCUMENT_METADATA),
    Kind(key="messages", title="Messages", model="exchange.inboundmessage", held=None),
    Kind(key="organizations", title="Organizations", model="directory.participant", held=None),
    Kind(key="queries", title="Questions to others", model="exchange.query", held=Held.QUERIES),
    Kind(key="concerns", title="Concerns of patients", model="exchange.concern", held=Held.AUDIT),
    Kind(key="events", title="Audit events", model="audit.auditevent", held=Held.AUDIT),
)


def kinds_for(roles: Collection[str], may_open: Callable[[str], bool]) -> tuple[Kind, ...]:
    """The kinds that somebody with these roles may look for, who `may_open` the list of a model. Records nothing."""
    return tuple(
        kind
        for kind in KINDS
        if may_open(kind.model) and (kind.held is None or access.staff_view(roles, kind.held) is not None)
    )


def search(words: Words, kinds: Collection[Kind], staff: Staff, *, reason: str) -> Found:
    """Look among these kinds; each person concerned has a look in the log before this returns.

    Without a `reason` persons are not looked for. At most `MOST` of each kind; 22 statements at most, whatever is found.

    Raises:
        AccessRefused: a kind that no role of theirs may look at was asked for.
    """
    with directory.one_reading():
        return _search(words, kinds, staff, reason)


def _search(words: Words, kinds: Collection[Kind], staff: Staff, reason: str) -> Found:
    groups: list[Group] = []
    shown: set[UUID] = set()
    asks = False
    for kind in kinds:
        if kind.held is Held.IDENTITIES and not reason:
            asks = True
            groups.append(Group(kind=kind.key, title=kind.title, note=_WHY_FIRST))
            continue
        group, people = _LOOKS[kind.key](kind, words)
        if kind.held is not None:
            detail = {"page": "find", "list": True}
            access.administrative(staff, kind.held, people, reason=reason or SEARCHED, detail=detail)
        shown |= people
        groups.append(group)
    return Found(groups=tuple(groups), asks_reason=asks, shown=frozenset(shown))


_WHY_FIRST = "Say why you look. Then persons are looked for too, and each who is found sees in the log that you looked."
_NAME_ALONE = "To find somebody by name, write the date of birth too, or family name and given name."


def persons_by_number(words: Words) -> list[UUID]:
    """Whom an id or a number may mean, by id, at most one more than `MOST`; 4 statements at most.

    Tells of persons: whoever shows anything of them records a look at each first.
    """
    found: set[UUID] = set()
    limit = MOST + 1
    if words.uuid is not None and (living := identifiers.survivor(words.uuid)) is not None:
        found.add(living)
    if words.number is not None:
        authority, value = words.number
        if authority:
            named = IdentifierMatch(value=value, system=system_of(authority))
            found.update(search_index(PatientQuery(identifiers=((named,),), limit=limit)))
        else:
            found.update(identifiers.named(value, limit=limit))
    return sorted(found)


def _persons(kind: Kind, words: Words) -> tuple[Group, set[UUID]]:
    found, limit = set(persons_by_number(words)), MOST + 1
    if words.person:
        found.update(search_index(_by_name(words, limit)))
    shown = identity_pages.summaries(sorted(found)[:MOST])
    note = _NAME_ALONE if words.names and not found and not words.person else ""
    group = Group(
        kind=kind.key,
        title=kind.title,
        people=tuple(sorted(shown.values(), key=lambda one: (one.name, str(one.person_id)))),
        more=len(found) > MOST,
        note=note,
    )
    return group, set(shown)


def _by_name(words: Words, limit: int) -> PatientQuery:
    return PatientQuery(
        family=(StringMatch(values=(words.family,)),) if words.family else (),
        given=(StringMatch(values=(words.given,)),) if words.given else (),
        name=() if words.family or words.given else tuple(StringMatch(values=(one,)) for one in words.names),
        birth_dates=((DateMatch(value=words.born),),) if words.born else (),
        limit=limit,
    )


def _documents(kind: Kind, words: Words) -> tuple[Group, set[UUID]]:
    named = Q(unique_id__in={words.text, words.bare})
    if words.uuid is not None:
        named |= Q(entry_uuid=words.uuid) | Q(logical_id=words.uuid)
    columns = (
        "pk", "unique_id", "availability_status", "custodian", "mime_type", "version", "registered_at", "patient_identifier_id",
    )  # fmt: skip
    rows = _first(DocumentEntry.objects.filter(named).only(*columns).order_by("-pk"))
    people = set(identifiers.persons_of(row.patient_identifier_id for row in rows[:MOST]).values()) if rows else set()
    hits = (
        Hit(
            model=kind.model,
            key=str(row.pk),
            heading=row.unique_id,
            lines=(
                f"{row.availability_status.rpartition(':')[2]}, version {row.version}",
                f"{row.mime_type} from {name_of(row.custodian)}",
            ),
            at=row.registered_at,
        )
        for row in rows
    )
    return _group(kind, hits), people


def _messages(kind: Kind, words: Words) -> tuple[Group, set[UUID]]:
    named = Q(control_id=words.text)
    if words.uuid is not None:
        named |= Q(pk=words.uuid)
    columns = ("pk", "kind", "control_id", "sender", "participant_id", "status", "error_text", "received_at")
    rows = _first(InboundMessage.objects.filter(named).only(*columns).order_by("-received_at", "pk"))
    hits = (
        Hit(
            model=kind.model,
            key=str(row.pk),
            heading=f"{row.kind or 'Message'}, control id {row.control_id or 'missing'}",
            lines=(
                f"{row.status.capitalize()}{f': {row.error_text}' if row.error_text else ''}",
                f"From {name_of(row.participant_id) if row.participant_id else row.sender or 'nobody known'}",
            ),
            at=row.received_at,
        )
        for row in rows
    )
    return _group(kind, hits), set()


def _organizations(kind: Kind, words: Words) -> tuple[Group, set[UUID]]:
    """In memory: by part of the name, id, OID, home community, authority, or application and facility of HL7 v2."""
    held = directory.snapshot()
    text, folded = words.text.casefold(), fold(words.text)
    owners = {held.authorities.get(words.bare), held.by_oid.get(words.bare), held.by_home_community.get(words.bare)}
    application, bar, facility = words.text.partition("|")
    if bar:
        owners.add(held.by_sender.get((application, facility)))
    found = [
        facts
        for facts in sorted(held.participants.values(), key=lambda one: (one.name, one.id))
        if facts.id in owners or facts.id.casefold() == text or (folded and folded in fold(facts.name))
    ]
    hits = (
        Hit(
            model=kind.model,
            key=facts.id,
            heading=facts.name or facts.id,
            lines=(f"{facts.id}, {facts.status}", f"OID {facts.organization_oid}"),
        )
        for facts in found
    )
    return _group(kind, hits), set()


def _queries(kind: Kind, words: Words) -> tuple[Group, set[UUID]]:
    if words.uuid is None:
        return _group(kind, ()), set()
    rows = list(Query.objects.filter(pk=words.uuid))
    hits = (
        Hit(
            model=kind.model,
            key=str(row.pk),
            heading=f"Question of {name_of(row.participant_id)}",
            lines=(f"{row.status.capitalize()}, {row.purpose}",),
            at=row.created_at,
        )
        for row in rows
    )
    return _group(kind, hits), {row.person_id for row in rows if row.person_id}


def _concerns(kind: Kind, words: Words) -> tuple[Group, set[UUID]]:
    rows = list(Concern.objects.filter(number=words.text.upper()))
    people = set(identifiers.persons_of(row.identifier_id for row in rows).values()) if rows else set()
    hits = (
        Hit(
            model=kind.model,
            key=str(row.pk),
            heading=f"Concern {row.number}",
            lines=(f"{row.get_status_display()}, due {row.due_at:%-d %B %Y}",),
            at=row.raised_at,
        )
        for row in rows
    )
    return _group(kind, hits), people


def _events(kind: Kind, words: Words) -> tuple[Group, set[UUID]]:
    named = Q(pk=words.uuid) if words.uuid is not None else Q(request_id=words.text)
    rows = _first(AuditEvent.objects.filter(named).defer("personal", "decision", "denied").order_by("-at", "-pk"))
    if words.uuid is not None and not rows:
        rows = _first(
            AuditEvent.objects.filter(correlation=str(words.uuid))
            .defer("personal", "decision", "denied")
            .order_by("-at", "-pk")
        )
    hits = (
        Hit(
            model=kind.model,
            key=str(row.pk),
            heading=_title(row.kind),
            lines=(
                f"{_OUTCOMES.get(row.outcome, 'Done')}, by {row.organization_name or name_of(row.organization) or 'nobody known'}",
            ),
            at=row.at,
        )
        for row in rows
    )
    return _group(kind, hits), {row.person_id for row in rows[:MOST] if row.person_id}


_OUTCOMES = {4: "Refused", 8: "Failed", 12: "Failed gravely"}


def _title(kind: str) -> str:
    try:
        return SHAPES[EventType(kind)].title
    except ValueError:
        return kind


def _first(rows: QuerySet[_Row]) -> list[_Row]:
    return list(rows[: MOST + 1])


def _group(kind: Kind, hits: Iterable[Hit]) -> Group:
    found = tuple(hits)
    return Group(kind=kind.key, title=kind.title, hits=found[:MOST], more=len(found) > MOST)


def name_of(participant_id: str) -> str:
    """An organization by its name; by its id where it has none."""
    facts = directory.participant(participant_id)
    return facts.name if facts is not None and facts.name else participant_id


_LOOKS: Mapping[str, Callable[[Kind, Words], tuple[Group, set[UUID]]]] = {
    "persons": _persons,
    "documents": _documents,
    "messages": _messages,
    "organizations": _organizations,
    "queries": _queries,
    "concerns": _concerns,
    "events": _events,
}
