"""What a patient's log can be narrowed down to: every place, person, kind and document in it, not those of one page.

Read from the whole time asked for and then held against what the viewer may see: a place whose every look is hidden
from a helper is no choice, and one with a look that is not is one, whatever lies beside it.

Source: spec/consent.md 15, filters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from uuid import UUID

from hie.audit import queries as audit
from hie.audit.recorder import EventType, recording
from hie.audit.values import AuditQuery
from hie.exchange import access_log, release
from hie.exchange.access_log_lines import HUB, ActorKind, Item, LogEntry, Names, lines
from hie.standards.facts import Caller

MOST = 300
"""Of more people or documents those of the newest looks are offered; the others are found by their names."""
_AT_ONCE = 500
_PEOPLE = frozenset({ActorKind.PERSON, ActorKind.HELPER, ActorKind.STAFF})


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Names of places, of people, kinds of information, and documents as (id, title), each in order of their names.

    `users` of the people by name, `of_kind` the documents by kind: of all of them, also those not offered.
    """

    organizations: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    documents: tuple[tuple[str, str], ...] = ()
    users: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    of_kind: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@release.point
def choices(
    caller: Caller, person_id: UUID | str, *, since: datetime | None = None, until: datetime | None = None
) -> Choices:
    """What stands in the log of this time, for the patient or a helper; recorded as a look at the log.

    Work grows with the different readers and documents, not with the looks; a helper's with the looks that are hidden too.

    Raises:
        AccessRefused, NotFound: as `access_log.log_for_patient`.
    """
    with recording(EventType.ACCESS_LOG_READ, caller) as event:
        view = access_log.view_of(caller, person_id, event)
        event.about(view.subject.person_id, detail={"choices": True})
        found = _choices(view, since, until)
        event.commit()
    return found


def _choices(view: access_log.View, since: datetime | None, until: datetime | None) -> Choices:
    ids = view.subject.facts.ids
    period = AuditQuery(person_ids=tuple(sorted(ids)), since=since, until=until)
    readers = audit.readers(ids, since=since, until=until)
    documents = audit.documents_of(ids, since=since, until=until)
    names = access_log.names_of(view)
    newest = _entries(view, [event for _, event in (*readers, *documents)], names)
    seen: list[LogEntry] = []
    for (organization, participant, user), event in readers:
        query = replace(period, organizations=(organization,), participants=(participant,), users=(user,))
        # An empty value is no filter: what no user or no organization did is looked for by its newest event alone.
        found = newest.get(event) or (
            _first_visible(view, query, names) if organization and participant and user else None
        )
        seen += [found] if found else []
    items: dict[str, Item] = {}
    for document, event in documents:
        entry = newest.get(event) or _first_visible(view, replace(period, documents=(document,)), names)
        items |= {item.document_id: item for item in (entry.items if entry else ()) if item.document_id == document}
    seen.sort(key=lambda entry: entry.at, reverse=True)
    others = [entry for entry in seen if entry.who.kind is not ActorKind.YOU]
    shown = sorted(
        (item for item in items.values() if not item.withheld and (item.title or item.kind)),
        key=lambda item: (item.at, item.document_id),
        reverse=True,
    )
    named = [entry for entry in others if entry.who.kind in _PEOPLE]
    return Choices(
        users=_by_name((entry.who.name, str(entry.detail["user"])) for entry in named),
        of_kind=_by_name((item.kind, item.document_id) for item in shown),
        organizations=_newest(e.who.organization for e in others if e.who.organization_id not in {"", HUB}),
        people=_newest(entry.who.name for entry in named),
        kinds=_newest(item.kind for item in shown),
        documents=tuple(
            sorted(
                ((item.document_id, item.title or item.kind) for item in shown[:MOST]),
                key=lambda pair: (pair[1].casefold(), pair[0]),
            )
        ),
    )


def _first_visible(view: access_log.View, query: AuditQuery, names: Names) -> LogEntry | None:
    """The newest event of a search that the viewer sees, as a line."""
    page = audit.search(replace(query, limit=100))
    while True:
        visible, looker = access_log.visible_to(view, page.events)
        for event in page.events:
            if event.id in visible:
                return lines([visible[event.id]], names=names, looker=looker)[0]
        if page.next is None:
            return None
        page = audit.search(replace(query, before=page.next, limit=100))


def _entries(view: access_log.View, event_ids: Iterable[str], names: Names) -> dict[str, LogEntry]:
    """These events as lines of one each, as far as the viewer sees them, by event."""
    wanted, found = sorted(set(event_ids)), dict[str, LogEntry]()
    for start in range(0, len(wanted), _AT_ONCE):
        page = audit.search(AuditQuery(ids=tuple(wanted[start : start + _AT_ONCE]), limit=_AT_ONCE))
        visible, looker = access_log.visible_to(view, page.events)
        access_log.learn_users(names, visible.values())
        found |= {one: lines([event], names=names, looker=looker)[0] for one, event in visible.items()}
    return found


def _by_name(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    held: dict[str, set[str]] = {}
    for name, value in pairs:
        if name and value:
            held.setdefault(name, set()).add(value)
    return {name: tuple(sorted(values)) for name, values in held.items()}


def _newest(names: Iterable[str]) -> tuple[str, ...]:
    """The first `MOST` different names, in their own order."""
    kept = list(islice(dict.fromkeys(name for name in names if name), MOST))
    return tuple(sorted(kept, key=lambda name: (name.casefold(), name)))
