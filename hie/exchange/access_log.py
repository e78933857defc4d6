"""The patient's access log.

A log is shown to the patient, and to a helper whose grant is in force; each document
a line would name is decided again for the viewer, at this instant. What a helper
may not see is not there: not in a line, not in a count. Reading the log is an event.

Source: spec/consent.md 15.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from consent import directives, emergency_reviews, jurisdictions, owners, policies
from consent.models import BreakGlassGrant
from documents import queries as registry
from hie.audit import queries as audit
from hie.audit.recorder import EventType, Recording, recording
from hie.audit.values import AuditPage, AuditQuery, Cursor, EventRecord
from hie.directory import queries as directory
from hie.exchange import access, consent_sight, release
from hie.exchange.access_log_lines import Looker, Names, group_key, joins, lines, seen_of
from hie.exchange.access_log_values import ActorKind, Item, LogEntry, Part, RuleSentence, Seen, Verb, Who
from hie.exchange.access_log_words import sentence_words
from hie.exchange.errors import AccessRefused, NotFound
from hie.standards.facts import Caller, DocumentFacts, Operation
from patients import queries as index

__all__ = [
    "ActorKind",
    "AuditPage",
    "AuditQuery",
    "Cursor",
    "EventRecord",
    "Item",
    "LogEntry",
    "LogFilters",
    "LogPage",
    "Part",
    "RuleSentence",
    "Seen",
    "Verb",
    "Who",
    "log_for_patient",
    "sentence_words",
]

_CHUNK = 200
_MAX_SCANNED = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilters:
    """What of the log is asked for; empty means all. `kind` and `text` match words, ignoring case.

    `since` inclusive, `until` exclusive; `organization` an id or a legal name; `person` a name or user id.
    """

    organization: str = ""
    person: str = ""
    purpose: str = ""
    kind: str = ""
    document: str = ""
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None
    seen: Seen | None = None
    part: Part | None = None

    @property
    def active(self) -> Mapping[str, str]:
        """The filters that are on, by name."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: str(value) for name, value in values.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """Lines, newest first; `next` continues after them. `events` are the records behind the lines, as far as visible."""

    entries: tuple[LogEntry, ...]
    next: Cursor | None = None
    events: tuple[EventRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class _LoggedDocument:
    """A document known from the log alone (removed since, or another community's), as it was then."""

    document: DocumentFacts

    def facts(self, person_id: str, identifier_pks: Collection[int] | None = None) -> DocumentFacts:
        return replace(self.document, patient=person_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Who looks at whose log."""

    caller: Caller
    subject: access.Subject
    own: bool
    held: tuple[BreakGlassGrant, ...] = ()


@release.point
def log_for_patient(
    caller: Caller,
    person_id: UUID | str,
    filters: LogFilters | None = None,
    before: Cursor | None = None,
    limit: int = 50,
) -> LogPage:
    """A page of the log of one patient, for the patient or a helper; recorded as a look at the log.

    `limit` counts lines. A line may go on at the top of the next page. With word filters at most
    20,000 of the events that this reader may see are looked through for a page; `next` then goes on behind the last of them.

    Raises:
        AccessRefused: the caller's role or purpose does not allow it.
        NotFound: nobody of this id, or not a log for this caller.
    """
    with recording(EventType.ACCESS_LOG_READ, caller) as event:
        asked = filters or LogFilters()
        view = who_looks(caller, person_id, event)
        event.about(view.subject.person_id, detail={"filters": sorted(asked.active)})
        page = _page(view, asked, before, limit)
        event.commit()
    return page


def who_looks(caller: Caller, person_id: UUID | str, event: Recording) -> View:
    """Who looks; an attempt at somebody's log stands in that log, refused."""
    access.gate(caller, Operation.QUERY)
    if not asks_for_self(caller):
        raise AccessRefused("G4", "purpose-not-permitted")
    if index.subject_facts(person_id) is None:
        raise NotFound("no such log")
    subject = access.subject(person_id)
    event.about(subject.person_id)
    kind, _, identifier = caller.user_id.partition("/")
    own = kind == "Patient" and identifier in subject.facts.ids
    records = access.demographics_rows(index.source_records(subject.person_id))
    verdict = access.permitted(caller, subject, records, Operation.QUERY)
    if own:
        # A custodian that left the exchange takes nothing of the log with it; an age limit does, and death.
        allowed = not subject.facts.deceased and not any(decision.rule == "P2" for _, decision in verdict.denied)
    else:
        allowed = bool(verdict.permitted)
    if not allowed:
        raise NotFound("no such log")
    held = emergency_reviews.held_back(subject.identifier_pks, now=access.now())
    return View(caller=caller, subject=subject, own=own, held=tuple(held))


def asks_for_self(caller: Caller) -> bool:
    """Whether a patient, or a helper for one, asks about herself."""
    return caller.purpose in {"PATRQT", "FAMRQT", "PWATRNY", "SUPNWK"}


def _page(view: View, asked: LogFilters, before: Cursor | None, limit: int) -> LogPage:
    names = _names(view)
    kept: list[EventRecord] = []
    heads: dict[tuple[object, ...], list[EventRecord]] = {}
    count, scanned, cursor, withheld = 0, 0, before, set[str]()
    # A page is continued behind the last event that is seen: where it ends must not tell of one that is not.
    seen_last = before
    while True:
        page = audit.events_for_person(view.subject.facts.ids, before=cursor, filters=_query(asked), limit=_CHUNK)
        visible, hidden_titles = as_visible(view, page.events)
        withheld |= hidden_titles
        looker = _looker(view, withheld)
        for original in page.events:
            event = visible.get(original.id)
            if event is not None and _wanted(event, asked, names, looker):
                key = group_key(event)
                group = heads.get(key)
                if group is None or not joins(group, event):
                    if count == limit:
                        return _finish(kept, names, looker, seen_last)
                    count += 1
                    group = heads[key] = []
                group.append(event)
                kept.append(event)
            if event is not None:
                seen_last = Cursor(at=original.at, id=original.id)
                scanned += 1
                if scanned == _MAX_SCANNED:
                    return _finish(kept, names, looker, seen_last)
        if page.next is None:
            return _finish(kept, names, looker, None)
        cursor = page.next


def _finish(kept: list[EventRecord], names: Names, looker: Looker, cursor: Cursor | None) -> LogPage:
    return LogPage(entries=tuple(lines(kept, names=names, looker=looker)), next=cursor, events=tuple(kept))


def _looker(view: View, withheld: Iterable[str]) -> Looker:
    return Looker(
        user_id=view.caller.user_id, patient_ids=frozenset(view.subject.facts.ids), withheld=frozenset(withheld)
    )


def _query(asked: LogFilters) -> AuditQuery:
    """The filters the database can answer; the rest is words, and decided on the lines."""
    organizations: tuple[str, ...] = ()
    if asked.organization:
        held = directory.snapshot()
        word = asked.organization.casefold()
        found = {
            facts.id for facts in held.participants.values() if word in {facts.id.casefold(), facts.name.casefold()}
        }
        organizations = tuple(sorted({o for root in found or {asked.organization} for o in tree(held, root)}))
    return AuditQuery(
        organizations=organizations,
        purposes=(asked.purpose,) if asked.purpose else (),
        documents=(asked.document,) if asked.document else (),
        since=asked.since,
        until=asked.until,
    )


def _wanted(event: EventRecord, asked: LogFilters, names: Names, looker: Looker) -> bool:
    if asked.seen is not None and seen_of(event) is not asked.seen:
        return False
    if asked.document and not names_any(event, (asked.document,)):
        return False
    if not (asked.text or asked.kind or asked.person or asked.part):
        return True
    (entry,) = lines([event], names=names, looker=looker)
    if asked.part is not None and entry.part is not asked.part:
        return False
    person = asked.person.casefold()
    if person and person not in entry.who.name.casefold() and person != event.user.casefold():
        return False
    kinds = " ".join(f"{item.kind} {item.title}" for item in entry.items).casefold()
    if asked.kind and asked.kind.casefold() not in kinds:
        return False
    # Only words a line shows are searched: nothing withheld can be found out by trying.
    text = f"{sentence_words(entry)} {kinds} {entry.quotation} {entry.relay}".casefold()
    return asked.text.casefold() in text


def as_visible(view: View, events: Sequence[EventRecord]) -> tuple[dict[str, EventRecord], set[str]]:
    """The events as this viewer may see them (absent: not at all), and documents whose titles stay back for now."""
    events = [event for event in events if not _is_held_back(view, event)]
    ids = {item.document_id for event in events for item in event.disclosures if _is_document(item.what)}
    ids |= {document for event in events for document, _ in event.denied}
    ids |= {document for event in events for document in _filed(event)}
    current = {registry.bare_uuid(key): row for key, row in registry.entries_by_uuid(ids).items()}
    rows: list[Any] = []
    owners: list[str] = []
    for document in sorted(ids):
        row = current.get(registry.bare_uuid(document))
        rows.append(row if row is not None else _LoggedDocument(_logged(document, events)))
        owners.append(document)
    verdict = access.permitted(view.caller, view.subject, rows, Operation.QUERY)
    by_row = {id(row): decision for row, decision in (*verdict.permitted, *verdict.denied)}
    decisions = {document: by_row[id(row)] for document, row in zip(owners, rows, strict=True)}
    if view.own:
        # The patient sees that a look happened even where the care team asked to talk first: the line stays, the title waits.
        kept_back = {document for document, decision in decisions.items() if decision.rule == "P1"}
        return {event.id: event for event in events}, kept_back
    seen = {document for document, decision in decisions.items() if decision.permitted}
    choices = consent_sight.versions_seen(
        view.caller, view.subject, {one for event in events if (one := _choice(event))}
    )
    shown: dict[str, EventRecord] = {}
    whole, untold = _reads_words(view), _is_of_a_teenager(view)
    for event in events:
        if untold and (event.type in _OF_EMERGENCIES or event.purpose == "BTG"):
            continue  # of which a helper of a teenager is not told (P6), so of no look under it either
        if _choice(event) is not None and _choice(event) not in choices:
            continue
        cleaned = _for_helper(event, seen)
        if cleaned is not None:
            shown[event.id] = cleaned if whole else _without_words(cleaned)
    return shown, set()


def _choice(event: EventRecord) -> tuple[str, int | None] | None:
    """The consent, and its version, that an event is about; None for one about none."""
    if "consent" not in event.detail:
        return None
    version = event.detail.get("version")
    return str(event.detail["consent"]), version if isinstance(version, int) else None


def _is_held_back(view: View, event: EventRecord) -> bool:
    """Whether an event tells of an emergency of which the patient's side is told later: declaration, look or review.

    A reviewer's look at the case is one, which says by its reason that there is a case.
    """
    return any(
        event.detail.get("grant") == str(grant.pk)
        or (event.purpose == "BTG" and event.user == grant.user and grant.start <= event.at < grant.end)
        or (
            event.type is EventType.STAFF_LOOK
            and (event.detail.get("page"), event.detail.get("row"))
            in {("consent.emergencyreview", str(grant.review.pk)), ("consent.breakglassgrant", str(grant.pk))}
        )
        for grant in view.held
    )


def _reads_words(view: View) -> bool:
    """Whether a helper may read what people wrote: of a child alone who can keep nothing from a parent (P6)."""
    law = policies.current().jurisdiction_of(view.subject.facts.jurisdiction)
    return owners.keeps_nothing_from_parents(view.subject.facts, law, now=access.now())


def _is_of_a_teenager(view: View) -> bool:
    """Whether the patient is a minor who may keep something from a parent (P6), or may be."""
    law = policies.current().jurisdiction_of(view.subject.facts.jurisdiction)
    minor = owners.only_confidential_care(view.subject.facts, law, now=access.now()) is not None
    return minor and not _reads_words(view)


_WORDS_FOR_HELPERS = frozenset(
    {
        EventType.IDENTITY_LINK,
        EventType.IDENTITY_UNLINK,
        EventType.IDENTITY_MERGE,
        EventType.IDENTITY_UNMERGE,
        EventType.IDENTITY_REVIEW,
        EventType.IDENTITY_BY_HAND,
    }
)
"""What is said there is of whose record it is, and of no care."""
_OF_EMERGENCIES = frozenset({EventType.BREAK_GLASS, EventType.BREAK_GLASS_REVIEWED, EventType.CONCERN})


def _without_words(event: EventRecord) -> EventRecord:
    """The event without what people wrote: it may say what a document that the helper may not see is about.

    Each look under an emergency grant carries the clinician's words, and so do the review and the objection.
    """
    if event.type in _WORDS_FOR_HELPERS:
        return event
    cleaned = replace(event, words={}, query="")
    if event.type in _OF_EMERGENCIES or event.purpose == "BTG":
        cleaned = replace(cleaned, detail={}, decision={})
    return cleaned


def _filed(event: EventRecord) -> tuple[str, ...]:
    """The documents that an event says were published."""
    listed = event.detail.get("documents", ()) if event.action == "C" else ()
    return tuple(str(one["id"]) for one in listed if isinstance(one, Mapping) and "id" in one)


def _is_document(what: str) -> bool:
    return what not in {"demographics", "query"}


def _logged(document: str, events: Sequence[EventRecord]) -> DocumentFacts:
    """The facts of a document as the log last stated them; nothing known reads as very restricted."""
    for event in events:
        for item in event.disclosures:
            if item.document_id == document:
                return DocumentFacts(
                    id=document,
                    patient="",
                    custodian=item.custodian,
                    confidentiality=item.confidentiality or None,
                    labels=frozenset(item.labels),
                )
    return DocumentFacts(id=document, patient="", custodian="", confidentiality="V", labelled=False)


def _for_helper(event: EventRecord, seen: set[str]) -> EventRecord | None:
    """The event without the documents a helper may not see; None when it was about such documents alone.

    A search by the patient stays, as one that found nothing.
    """
    disclosures = tuple(item for item in event.disclosures if not _is_document(item.what) or item.document_id in seen)
    denied = tuple(pair for pair in event.denied if pair[0] in seen)
    filed = _filed(event)
    told = [document for document in filed if document in seen]
    had, has = bool(event.disclosures or event.denied or filed), bool(disclosures or denied or told)
    asked_of_her = event.detail.get("names") == access.NAMES_THE_PATIENT["names"]
    if had and not has and not asked_of_her:
        return None
    if not had and not asked_of_her:
        return event
    # What could name more goes with it, always, else its lack would tell that there was more: the raw request, the
    # decision record, the rule that was not of what is left.
    rule = disclosures[0].rule if disclosures else denied[0][1] if denied else event.rule if has else ""
    return replace(
        event, disclosures=disclosures, denied=denied, rule=rule, reason="", query="", decision={}, detail={}
    )


def _names(view: View) -> Names:
    choices: dict[str, str] = {}
    for consent in directives.in_store(view.subject.identifier_pks):
        made_on = str(consent.resource.get("dateTime") or consent.recorded_at.date().isoformat())[:10]
        choices[str(consent.id)] = made_on
        if consent.resource.get("id"):
            choices[str(consent.resource["id"])] = made_on

    held = directory.snapshot()
    members, places = held.participants, jurisdictions.in_effect()

    def organization(participant_id: str) -> str:
        facts = members.get(participant_id)
        return facts.name or participant_id if facts else participant_id

    @cache
    def user(participant_id: str, user_id: str) -> tuple[str, str]:
        found = directory.user(participant_id, user_id)
        return (found.name, found.role) if found else ("", "")

    def jurisdiction(custodian: str) -> str:
        code = held.jurisdiction_of(custodian) if custodian in members else view.subject.facts.jurisdiction or ""
        return str(places.get(code, {}).get("name") or code)

    return Names(
        organization=organization,
        user=user,
        choice_on=lambda consent_id: choices.get(consent_id.rpartition("/")[2], ""),
        jurisdiction=jurisdiction,
    )


def without_titles(event: EventRecord, withheld: set[str]) -> EventRecord:
    """The event without the titles of documents whose titles are kept back."""
    if not any(item.document_id in withheld for item in event.disclosures):
        return event
    return replace(
        event,
        disclosures=tuple(
            replace(item, title="", type_display="") if item.document_id in withheld else item
            for item in event.disclosures
        ),
    )


def names_any(event: EventRecord, asked: Collection[str]) -> bool:
    """Whether an event, as it is shown, names one of these persons, identifiers or documents; nothing asked is always so."""
    named = {event.person_id, event.patient_identifier}
    named |= {name for item in event.disclosures for name in (item.document_id, item.unique_id)}
    return not asked or not named.isdisjoint(asked)


def tree(held: directory.Directory, root: str) -> tuple[str, ...]:
    """An organization and all below it."""
    return tuple(sorted({root} | {facts.id for facts in held.participants.values() if held.within(facts.id, root)}))
