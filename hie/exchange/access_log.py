"""The patient's access log, and the search of audit events for those entitled.

A log is shown to the patient, and to a helper whose grant is in force; each document
a line would name is decided again for the viewer, at this instant. What a helper
may not see is not there: not in a line, not in a count. Reading the log is an event.

Source: spec/consent.md 15, 16; spec/fhir.md 6.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from consent import directives, emergency_reviews, jurisdictions, owners, policies
from consent.models import BreakGlassGrant
from documents import queries as registry
from hie.audit import queries as audit
from hie.audit.recorder import EventType, Recording, recording
from hie.audit.values import AuditPage, AuditQuery, Cursor, EventRecord
from hie.directory import queries as directory
from hie.exchange import access, consent_sight, release, withheld_names
from hie.exchange.access_log_lines import (
    ActorKind,
    Item,
    LogEntry,
    Looker,
    Names,
    Part,
    RuleSentence,
    Seen,
    Verb,
    Who,
    group_key,
    joins,
    lines,
    part_of,
    seen_of,
    sentence_words,
)
from hie.exchange.access_log_words import rule_words
from hie.exchange.errors import AccessRefused, NotFound
from hie.standards.facts import Caller, DocumentFacts, Operation
from hie.standards.folding import folded
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
    "View",
    "Who",
    "is_first_look",
    "learn_users",
    "line_of",
    "log_for_patient",
    "looks_since",
    "names_of",
    "seen_of_these",
    "sentence_words",
    "view_of",
    "visible_to",
]

_CHUNK = 200
_MAX_LOOKED_AT = 20_000


_HINTS = frozenset({"words", "users", "documents"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilters:
    """What of the log is asked for; empty means all. `kind` and `text` match words, whatever their case and accents.

    `since` inclusive, `until` exclusive; `organization` an id or a legal name; `person` a name or user id; `purpose` one
    with all below it, of which emergency access is one of its own. `words`: the text of a line as its reader sees it,
    which `text` is looked for in; without it, the English one. `users` and `documents` are those that `person` and `kind`
    are known to stand for (`log_choices`): they only save looking at the rest.
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
    users: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    words: Callable[[LogEntry], str] | None = field(default=None, compare=False, repr=False)

    @property
    def active(self) -> Mapping[str, str]:
        """The filters that are on, by name."""
        values = {name: getattr(self, name) for name in self.__slots__ if name not in _HINTS}
        return {name: str(value) for name, value in values.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """Lines, newest first; `next` continues after them. `events` are the records behind the lines, as far as visible.

    `looked_until`: where the search for words stopped before it was through, having looked at enough for one page.
    """

    entries: tuple[LogEntry, ...]
    next: Cursor | None = None
    looked_until: datetime | None = None
    events: tuple[EventRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class _LoggedDocument:
    """A document known from the log alone (removed since, or another community's), as it was then."""

    document: DocumentFacts

    def facts(self, person_id: str, identifier_pks: Collection[int] | None = None) -> DocumentFacts:
        return replace(self.document, patient=person_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Who looks at whose log; `names` are the rules by which laws hold back names from the patient's side."""

    caller: Caller
    subject: access.Subject
    own: bool
    names: withheld_names.NameRules
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
        view = view_of(caller, person_id, event)
        event.about(view.subject.person_id, detail={"filters": sorted(asked.active)})
        page = _page(view, asked, before, limit)
        event.commit()
    return page


_LINE_SPAN = timedelta(hours=6)


def line_of(
    event_id: UUID | str, person_id: UUID | str, *, caller: Caller, event: Recording
) -> tuple[LogEntry, EventRecord, access.Subject]:
    """The line whose newest look is this event, as this reader may see it, with the event as it was written, and whose it is.

    A part of a use case that records itself, in `event`.

    Raises:
        AccessRefused, NotFound: as `log_for_patient`, or there is no such line for this reader.
    """
    view = view_of(caller, person_id, event)
    found = _visible_of(view, [event_id])
    if str(event_id) not in found:
        raise NotFound("no such line")
    written = found[str(event_id)]
    span = LogFilters(since=written.at - _LINE_SPAN, until=written.at + timedelta(microseconds=1))
    for entry in _page(view, span, None, _CHUNK).entries:
        if written.id in entry.event_ids:
            return entry, written, view.subject
    raise NotFound("no such line")


def seen_of_these(
    event_ids: Iterable[UUID | str], person_id: UUID | str, *, caller: Caller, event: Recording
) -> tuple[frozenset[str], access.Subject]:
    """Which of these events this reader may see, and whose log it is. A part of a use case that records itself.

    Raises:
        AccessRefused, NotFound: as `log_for_patient`.
    """
    view = view_of(caller, person_id, event)
    return frozenset(_visible_of(view, event_ids)), view.subject


def looks_since(person_id: UUID | str, since: datetime, until: datetime, *, caller: Caller) -> list[LogEntry]:
    """The lines of this time, newest first, in which others than the reader looked, tried to, or sent something on.

    For the machine that tells a reader that somebody looked: what it reads is shown to nobody, and it leaves no trace.
    At most a thousand lines.

    Raises:
        AccessRefused, NotFound: as `log_for_patient`.
    """
    view = view_of(caller, person_id, Recording(EventType.ACCESS_LOG_READ, caller, action=None, query=None))
    found = _page(view, LogFilters(since=since, until=until), None, _MOST_LOOKS).entries
    return [entry for entry in found if entry.part is not Part.AUTOMATIC and _is_look(entry)]


def is_first_look(entry: LogEntry, person_id: UUID | str, *, caller: Caller) -> bool:
    """Whether the organization of a line had never looked before, as far as this reader may know."""
    view = view_of(caller, person_id, Recording(EventType.ACCESS_LOG_READ, caller, action=None, query=None))
    held = directory.snapshot()
    house = tree(held, held.root_of(entry.who.organization_id))
    cursor: Cursor | None = None
    while True:
        asked = AuditQuery(organizations=house, until=entry.first_at)
        page = audit.events_for_person(view.subject.facts.ids, before=cursor, filters=asked, limit=_CHUNK)
        visible, withheld = as_visible(view, page.events)
        shown = [visible[one.id] for one in page.events if one.id in visible]
        before = lines(shown, names=names_of(view), looker=_looker(view, withheld))
        if any(_is_look(one) and one.seen is not Seen.REFUSED for one in before):
            return False
        if page.next is None:
            return True
        cursor = page.next


_MOST_LOOKS = 1000
_LOOKS = frozenset({Verb.OPENED, Verb.LOOKED_AT, Verb.ASKED_FOR, Verb.LOOKED_UP, Verb.SENT, Verb.DECLARED})


def _is_look(entry: LogEntry) -> bool:
    """Whether somebody else looked, or tried to: neither the reader, nor the patient herself."""
    if entry.who.kind in {ActorKind.YOU, ActorKind.PATIENT} or entry.sentence in {"sent.question", "sent.withheld"}:
        return False  # a question to others is of the same task as the look at their answers
    return entry.verb in _LOOKS


def _visible_of(view: View, event_ids: Iterable[UUID | str]) -> dict[str, EventRecord]:
    """Those of these events that the reader may see, each as it was written."""
    wanted = sorted({str(one) for one in event_ids})
    found: dict[str, EventRecord] = {}
    for start in range(0, len(wanted), _CHUNK):
        asked = AuditQuery(
            ids=tuple(wanted[start : start + _CHUNK]), person_ids=tuple(view.subject.facts.ids), limit=_CHUNK
        )
        events = audit.search(asked).events
        visible, _ = as_visible(view, events)
        found |= {one.id: one for one in events if one.id in visible}
    return found


def view_of(caller: Caller, person_id: UUID | str, event: Recording) -> View:
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
    return View(caller=caller, subject=subject, own=own, names=withheld_names.in_force(), held=tuple(held))


def asks_for_self(caller: Caller) -> bool:
    return caller.purpose in {"PATRQT", "FAMRQT", "PWATRNY", "SUPNWK"}


def _page(view: View, asked: LogFilters, before: Cursor | None, limit: int) -> LogPage:
    names = names_of(view)
    kept: list[EventRecord] = []
    heads: dict[tuple[object, ...], list[EventRecord]] = {}
    count, looked_at, cursor, withheld = 0, 0, before, set[str]()
    # A page is continued behind the last event that is seen, and ends after so many that are: neither where it ends nor
    # when must tell of one that is not.
    seen_last, query = before, _query(asked)
    # Most pages are filled by about twice as many events as they have lines.
    chunks: tuple[int, ...] = (min(_CHUNK, limit * 2),) * 2
    while True:
        page = audit.events_for_person(view.subject.facts.ids, before=cursor, filters=query, limit=chunks[0])
        visible, hidden_titles = as_visible(view, page.events)
        withheld |= hidden_titles
        looker = _looker(view, withheld)
        learn_users(names, visible.values())
        for original in page.events:
            event = visible.get(original.id)
            if event is None:
                continue
            if looked_at == _MAX_LOOKED_AT and seen_last is not None:
                return _finish(kept, names, looker, seen_last, looked_until=seen_last.at)
            looked_at += 1
            if _wanted(event, asked, names, looker):
                key = group_key(event)
                group = heads.get(key)
                if group is None or not joins(group, event):
                    if count == limit:
                        return _finish(kept, names, looker, seen_last)
                    count += 1
                    group = heads[key] = []
                group.append(event)
                kept.append(event)
            seen_last = Cursor(at=original.at, id=original.id)
        if page.next is None:
            return _finish(kept, names, looker, None)
        cursor, chunks = page.next, chunks[1:] or (_CHUNK,)


def _finish(
    kept: list[EventRecord],
    names: Names,
    looker: Looker,
    cursor: Cursor | None,
    *,
    looked_until: datetime | None = None,
) -> LogPage:
    entries = tuple(lines(kept, names=names, looker=looker))
    return LogPage(entries=entries, next=cursor, events=tuple(kept), looked_until=looked_until)


def visible_to(view: View, events: Sequence[EventRecord]) -> tuple[dict[str, EventRecord], Looker]:
    """The events by id as far as the viewer may see them, and with whose eyes their lines are to be made."""
    visible, withheld = as_visible(view, events)
    return visible, _looker(view, withheld)


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
    automatic, own_side = _OF_PARTS.get(asked.part, (None, None))
    return AuditQuery(
        organizations=organizations,
        purposes=_family(asked.purpose) if asked.purpose else (),
        documents=(asked.document,) if asked.document else asked.documents,
        users=asked.users,
        since=asked.since,
        until=asked.until,
        automatic=automatic,
        own_side=own_side,
        held_back=asked.seen in {Seen.REFUSED, Seen.PARTLY},
        emergency=asked.seen is Seen.EMERGENCY,
    )


_OF_PARTS: Mapping[Part | None, tuple[bool | None, bool | None]] = {
    Part.EVERYONE: (False, None),
    Part.PEOPLE: (False, None),
    Part.OWN: (None, True),
    Part.AUTOMATIC: (True, None),
}
"""What the database can tell of a part of the log; who the viewer is decides the rest (`_is_of_part`)."""


def _family(purpose: str) -> tuple[str, ...]:
    """The purpose and those below it; emergency access is asked for by itself."""
    families = policies.current().tables.families
    below = {code for code, family in families.items() if purpose in family and code != "BTG"}
    return tuple(sorted(below | {purpose}))


def _is_of_part(event: EventRecord, part: Part | None, looker: Looker) -> bool:
    if part is None:
        return True
    its = part_of(event, looker)
    return its is not Part.AUTOMATIC if part is Part.EVERYONE else its is part


def _wanted(event: EventRecord, asked: LogFilters, names: Names, looker: Looker) -> bool:
    if asked.seen is not None and seen_of(event) is not asked.seen:
        return False
    if asked.document and not names_any(event, (asked.document,)):
        return False
    if not _is_of_part(event, asked.part, looker):
        return False
    if not (asked.text or asked.kind or asked.person):
        return True
    (entry,) = lines([event], names=names, looker=looker)
    person = folded(asked.person)
    if person and person not in folded(entry.who.name) and asked.person.casefold() != event.user.casefold():
        return False
    kinds = " ".join(f"{item.kind} {item.title}" for item in entry.items)
    if folded(asked.kind) not in folded(kinds):
        return False
    # Only words a line shows are searched: nothing withheld can be found out by trying.
    said = asked.words(entry) if asked.words else f"{sentence_words(entry)} {rule_words(entry)}"
    return folded(asked.text) in folded(f"{said} {kinds} {entry.quotation} {entry.relay}")


def as_visible(view: View, events: Sequence[EventRecord]) -> tuple[dict[str, EventRecord], set[str]]:
    """The events as this viewer may see them (absent: not at all), and documents whose titles stay back for now."""
    shown, withheld = _as_decided(view, events)
    told = withheld_names.told(list(shown.values()), view.names, person_id=view.subject.person_id)
    return {event.id: event for event in told}, withheld


def _as_decided(view: View, events: Sequence[EventRecord]) -> tuple[dict[str, EventRecord], set[str]]:
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
        if "concern" in event.detail:
            # A doubt may be about the helper himself: he is told of those alone that he raised.
            if event.detail.get("by") == view.caller.user_id:
                shown[event.id] = event
            continue
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


class _Users:
    """Name and role of a participant's user, or of one of an organization above it; learned for many by one statement."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, tuple[str, str]]] = {}

    def learn(self, user_ids: Iterable[str]) -> None:
        new = set(user_ids) - self._held.keys()
        self._held |= {user_id: {} for user_id in new}
        for facts in directory.users_named(new):
            self._held[facts.id][facts.participant_id] = (facts.name, facts.role)

    def __call__(self, participant_id: str, user_id: str) -> tuple[str, str]:
        self.learn([user_id])
        registered = self._held[user_id]
        line = (facts.id for facts in directory.snapshot().lineage(participant_id)) if registered else ()
        return next((registered[owner] for owner in line if owner in registered), ("", ""))


def learn_users(names: Names, events: Iterable[EventRecord]) -> None:
    """Learn at once how those are called whose events do not say it."""
    if isinstance(names.user, _Users):
        names.user.learn(
            e.user
            for e in events
            if e.user and not e.user_name and e.name_withheld is None and not e.user.startswith("Device/")
        )


def names_of(view: View) -> Names:
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

    def jurisdiction(custodian: str) -> str:
        code = held.jurisdiction_of(custodian) if custodian in members else view.subject.facts.jurisdiction or ""
        return str(places.get(code, {}).get("name") or code)

    return Names(
        organization=organization,
        user=_Users(),
        choice_on=lambda consent_id: choices.get(consent_id.rpartition("/")[2], ""),
        jurisdiction=jurisdiction,
    )


def without_titles(event: EventRecord, withheld: set[str]) -> EventRecord:
    if not any(item.document_id in withheld for item in event.disclosures):
        return event
    return replace(
        event,
        disclosures=tuple(
            replace(item, title="", type_display="") if item.document_id in withheld else item
            for item in event.disclosures
        ),
    )


def is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def tree(held: directory.Directory, root: str) -> tuple[str, ...]:
    """An organization and all below it."""
    return tuple(sorted({root} | {facts.id for facts in held.participants.values() if held.within(facts.id, root)}))


def names_any(event: EventRecord, asked: Collection[str]) -> bool:
    """Whether an event, as it is shown, names one of these persons, identifiers or documents; nothing asked is always so."""
    named = {event.person_id, event.patient_identifier}
    named |= {name for item in event.disclosures for name in (item.document_id, item.unique_id)}
    return not asked or not named.isdisjoint(asked)
