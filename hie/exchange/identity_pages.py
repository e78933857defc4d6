"""A person's identity as a steward sees it: who is meant, which records there are, what was changed and by whom.

For the steward whom a registrar calls: to find a person, to say which records are somebody else's, to see who an identity
was on a day. What is done is in `stewardship`. Each person shown here must have a look in the log before the page is.

Source: spec/mpi.md 2 and 5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from hie.directory import queries as directory
from hie.exchange import review_list
from hie.exchange.errors import BadRequest
from hie.exchange.review_comparison import in_words
from hie.exchange.review_records import hanging_on
from hie.standards.demographics import DateMatch, Demographics, IdentifierMatch, PatientQuery, StringMatch, authority_of
from hie.standards.demographics import from_json as demographics_of
from patients import changes, history, identifiers, standing
from patients import queries as index
from patients.demographics import SourceRecordView
from patients.models import IdentityEvent, Link, Person
from patients.search import search

MOST_FOUND = 20
"""Persons shown of a search; where there are more it must be narrowed."""
LONGEST = 200
"""Characters of one part of a question."""
MOST_EVENTS = 200
"""Changes and links shown of a person, the newest."""

Kind = IdentityEvent.Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is known of somebody who is looked for. `system` "" is any; `born` is a date, a month or a year."""

    system: str = ""
    value: str = ""
    family: str = ""
    given: str = ""
    born: str = ""

    @classmethod
    def of(cls, form: Mapping[str, str]) -> Asked:
        """From a form.

        Raises:
            BadRequest: too little, too long, or a date that the calendar does not have; `element` is the input.
        """
        said = {name: " ".join(form.get(name, "").split()) for name in ("system", "value", "family", "given", "born")}
        for name, text in said.items():
            if len(text) > LONGEST:
                raise BadRequest(f"write it in at most {LONGEST} letters", element=name)
            if not text.isprintable():
                raise BadRequest("take out the sign that cannot be shown", element=name)
        if said["born"] and not _is_date(said["born"]):
            raise BadRequest("write a date that the calendar has, as 1980-03-14, 1980-03 or 1980", element="born")
        if said["system"] and not said["value"]:
            raise BadRequest("write the number as its organization writes it", element="value")
        if not said["value"] and not (said["family"] and (said["given"] or said["born"])):
            raise BadRequest(
                "write a number, or the family name with the given name or the date of birth", element="value"
            )
        return cls(**said)

    def query(self) -> PatientQuery:
        """As the index is asked."""
        number = IdentifierMatch(value=self.value, system=authority_of(self.system) if self.system else None)
        return PatientQuery(
            identifiers=((number,),) if self.value else (),
            family=(StringMatch(values=(self.family,)),) if self.family else (),
            given=(StringMatch(values=(self.given,)),) if self.given else (),
            birth_dates=((DateMatch(value=self.born),),) if self.born else (),
            limit=MOST_FOUND + 1,
        )


def _is_date(text: str) -> bool:
    for shape in ("%Y-%m-%d", "%Y-%m", "%Y"):
        try:
            datetime.strptime(text, shape)  # noqa: DTZ007  # a calendar day has no zone
        except ValueError:
            continue
        return len(text) == len(datetime(2000, 1, 1, tzinfo=UTC).strftime(shape))
    return False


def authorities() -> list[tuple[str, str]]:
    """Who issues numbers: (authority, name), by name."""
    names = _organizations()
    issued = directory.snapshot().authorities
    return sorted(((oid, names.get(owner, owner)) for oid, owner in issued.items()), key=lambda one: (one[1], one[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A person in a line: `numbers` are those of its records, with whose they are."""

    person_id: UUID
    name: str
    born: str
    sex: str
    address: str
    numbers: tuple[tuple[str, str], ...]


def find(asked: Asked) -> tuple[list[Summary], bool]:
    """Persons who may be meant, by family name, at most `MOST_FOUND`; and whether there are more. 4 statements."""
    people = search(asked.query())
    found = sorted(summaries(people[:MOST_FOUND]).values(), key=lambda one: (one.name, str(one.person_id)))
    return found, len(people) > MOST_FOUND


def summaries(person_ids: Collection[UUID]) -> dict[UUID, Summary]:
    """Persons in a line each; those that are not known are absent. 3 statements."""
    views = index.source_records_of(person_ids)
    names = _organizations()
    return {
        person.pk: _summary(person, views.get(person.pk, ()), names)
        for person in Person.objects.filter(pk__in=list(person_ids)).order_by("pk")
    }


def _summary(person: Person, views: Sequence[SourceRecordView], names: Mapping[str, str]) -> Summary:
    known = demographics_of(person.golden.get("demographics") or {})
    return Summary(
        person_id=person.pk,
        name=name_of(known),
        born=in_words(known.birth_date),
        sex=known.gender,
        address=_address_of(known),
        numbers=tuple(
            (view.value, names.get(view.participant_id, view.participant_id))
            for view in views
            if view.active and view.participant_id != identifiers.HUB
        ),
    )


def name_of(demographics: Demographics) -> str:
    """The first name in one line, the family name first; "" where there is none."""
    for name in demographics.names[:1]:
        return ", ".join(part for part in (name.family, " ".join(name.given)) if part) or name.text
    return ""


def _address_of(demographics: Demographics) -> str:
    for one in demographics.addresses[:1]:
        return ", ".join(part for part in (*one.lines, one.postal_code, one.city) if part) or one.text
    return ""


def _organizations() -> dict[str, str]:
    return {key: facts.name for key, facts in directory.participants().items()} | {identifiers.HUB: "The hub itself"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of a person, with what hangs on it; `own` is False for an anchor of the hub."""

    record_id: int
    organization: str
    identifier: str
    name: str
    born: str
    address: str
    state: str
    own: bool
    linked: str
    since: datetime | None
    documents: int
    newest: datetime | None
    choices: int
    folders: int
    helpers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A link of a record: from when until when (None: still), with whom if not this person, and why; `by` is in words."""

    organization: str
    identifier: str
    elsewhere: UUID | None
    since: datetime
    until: datetime | None
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that happened to the person's identity, in words; `state` is "", ``undone`` or ``can-be-undone``.

    `again`: undoing it would bring back what it undid.
    """

    event_id: UUID
    at: datetime
    words: str
    by: str
    reason: str
    other: UUID | None
    state: str
    again: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A person for the page: `seen` changes whenever a record, its version or its link does.

    `people` are those it says something of: whoever has now one of the records that it names.
    """

    person: Summary
    people: frozenset[UUID]
    records: tuple[Record, ...]
    links: tuple[Held, ...]
    changes: tuple[Change, ...]
    seen: str

    def change(self, event_id: str) -> Change | None:
        """A change of the page by its id."""
        return next((one for one in self.changes if str(one.event_id) == event_id), None)


_LINKED = {Link.Kind.AUTO: "the machine", Link.Kind.MANUAL: "somebody"}
_CHANGED: Mapping[str, str] = {
    Kind.CREATED: "A record made this person known",
    Kind.LINKED: "Linked",
    Kind.UNLINKED: "Taken out",
    Kind.MERGED: "Two persons merged",
    Kind.UNMERGED: "Merge undone",
    Kind.SPLIT: "Records moved out",
    Kind.REPLACED: "An organization merged two of its records",
    Kind.REMOVED: "An organization withdrew its record",
    Kind.REVISED: "A record’s new version taken in",
    Kind.DECIDED: "Decided, nothing moved",
    Kind.OVERLAY_SUSPECTED: "A number may have been used for somebody else",
}


def identity(person: Person) -> Identity:
    """The page of a person who was not merged away; 18 statements at most, whatever was done."""
    views = index.source_records(person.pk)
    names = _organizations()
    now = {link.source_record_id: link for link in standing.current_links(person_id=person.pk)}
    hanging = hanging_on(view.source_record_id for view in views)
    records = []
    for view in views:
        link, key = now.get(view.source_record_id), view.source_record_id
        documents, newest = hanging.documents.get(key, (0, None))
        own = view.participant_id != identifiers.HUB
        records.append(
            Record(
                record_id=key,
                organization=names.get(view.participant_id, view.participant_id),
                identifier=view.value if own else "Values by hand, and what was sent for the person",
                name=name_of(view.demographics),
                born=in_words(view.demographics.birth_date),
                address=_address_of(view.demographics),
                state="" if view.active else "replaced" if view.replaced_by is not None else "withdrawn",
                own=own,
                linked=_LINKED[Link.Kind(link.kind)] if link is not None else "",
                since=link.valid_from if link is not None else None,
                documents=documents,
                newest=newest,
                choices=hanging.choices.get(key, 0),
                folders=hanging.folders.get(key, 0),
                helpers=hanging.helpers.get(key, 0),
            )
        )
    links, people = _links(person.pk, views, names)
    return Identity(
        person=_summary(person, views, names),
        people=frozenset(people | {person.pk}),
        records=tuple(records),
        links=links,
        changes=tuple(_changes(person.pk)),
        seen=seen(person.pk, views),
    )


def chosen(found: Identity, form: Collection[str]) -> set[int]:
    """The records that a form names, of those that the page shows.

    Raises:
        BadRequest: none, or all of them.
    """
    own = {record.record_id for record in found.records if record.own}
    named = {record for record in own if str(record) in form}
    if not named:
        raise BadRequest("choose the records that are not this person’s", element="records")
    if named == own:
        raise BadRequest("leave at least one record: where all are another person’s, open a case for the two", element="records")  # fmt: skip
    return named


def seen(person_id: UUID, views: Sequence[SourceRecordView]) -> str:
    """Sixteen letters that change with any record, version or link of this person."""
    parts = [str(person_id), *(f"{view.source_record_id}/{view.version}/{view.active}" for view in views)]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def _links(
    person_id: UUID, views: Sequence[SourceRecordView], names: Mapping[str, str]
) -> tuple[tuple[Held, ...], set[UUID]]:
    of_records = Q(source_record__in=[view.source_record_id for view in views])
    rows = list(
        Link.objects.filter(Q(person=person_id) | of_records)
        .exclude(kind=Link.Kind.REJECTED)
        .select_related("source_record", "event")
        .order_by("-pk")[:MOST_EVENTS]
    )
    records = {row.source_record_id for row in rows}
    numbers = identifiers.values_of(records)
    staff = review_list.names_of({row.event.actor for row in rows if row.event is not None})
    held = tuple(
        Held(
            organization=names.get(row.source_record.participant_id, row.source_record.participant_id),
            identifier=numbers.get(row.source_record_id, "")
            if row.source_record.participant_id != identifiers.HUB
            else "",
            elsewhere=row.person_id if row.person_id != person_id else None,
            since=row.restored_at or row.valid_from,
            until=row.valid_to,
            by=_by(row.event, staff) if row.event is not None else _LINKED[Link.Kind(row.kind)],
            reason=row.reason,
        )
        for row in rows
    )
    return held, {link.person_id for link in standing.current_links(source_record__in=records)}


def _changes(person_id: UUID) -> list[Change]:
    rows = list(
        IdentityEvent.objects.filter(Q(person=person_id) | Q(other_person=person_id))
        # What is shown is recomputed after every change: that says nothing that the change does not.
        .exclude(kind=Kind.SURVIVORSHIP_CHANGED)
        .select_related("undoes", "undone_by")
        .order_by("-seq")[:MOST_EVENTS]
    )
    staff = review_list.names_of({row.actor for row in rows})
    return [
        Change(
            event_id=row.id,
            at=row.at,
            words=_words(row),
            by=_by(row, staff),
            reason=row.reason,
            other=next((one for one in (row.person_id, row.other_person_id) if one not in (None, person_id)), None),
            state="undone"
            if getattr(row, "undone_by", None) is not None
            else "can-be-undone"
            if row.undoes is not None or changes.undoable(row)
            else "",
            again=row.undoes is not None and row.undoes.undoes_id is None,
        )
        for row in rows
    ]


def _words(row: IdentityEvent) -> str:
    if row.detail.get("by_hand"):
        return "A value by hand withdrawn" if row.detail.get("withdrawn") else "A value set by hand"
    if row.undoes is None:
        return _CHANGED[row.kind]
    first = row.undoes.undoes_id is None
    words = _CHANGED[row.undoes.kind if first else row.kind]
    return f"{'Undone' if first else 'Brought back'}: {words[:1].lower()}{words[1:]}"


def _by(event: IdentityEvent, staff: Mapping[str, str]) -> str:
    if event.detail.get("automatic") or not event.actor:
        return "the machine"
    return staff.get(event.actor, event.actor.removeprefix("Staff/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Then:
    """Whose a record was at an instant: `elsewhere` is who, where that was somebody else."""

    organization: str
    identifier: str
    elsewhere: UUID | None
    now: UUID
    since: datetime
    until: datetime | None
    by: str
    reason: str


def instant_of(day: str, clock: str) -> datetime:
    """A day written as 2026-03-01 and a time as 09:30, UTC; without a time the end of the day, now if it is today.

    Raises:
        BadRequest: no such day or time, or one to come.
    """
    now = timezone.now()
    try:
        on = date.fromisoformat(day)
    except ValueError as error:
        raise BadRequest("choose a day", element="on") from error
    try:
        at = datetime.combine(on, time.fromisoformat(clock) if clock else time(), tzinfo=UTC)
    except ValueError as error:
        raise BadRequest("write a time as 09:30, or leave it out", element="at") from error
    if at > now:
        raise BadRequest("choose a day that has come", element="on")
    if clock:
        return at
    try:
        return min(at + timedelta(days=1, microseconds=-1), now)
    except OverflowError:
        return now


def then(person_id: UUID, at: datetime) -> list[Then]:
    """The records that this person had at an instant, and those of today that somebody else had; 3 statements."""
    names = _organizations()
    members = {one.source_record_id: one for one in reversed(history.on(person_id, at))}
    found = sorted(members.values(), key=lambda one: (one.person_id != person_id, one.authority, one.value))
    staff = review_list.names_of({one.event.actor for one in found if one.event is not None})
    return [
        Then(
            organization=names.get(one.participant_id, one.participant_id),
            identifier=one.value if one.participant_id != identifiers.HUB else "",
            elsewhere=one.person_id if one.person_id != person_id else None,
            now=one.now,
            since=one.since,
            until=one.until,
            by=_by(one.event, staff) if one.event is not None else _LINKED[Link.Kind(one.kind)],
            reason=one.reason,
        )
        for one in found
    ]
