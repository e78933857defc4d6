"""The search of audit events for those entitled, and the proof that one of them is in the sealed log.

A patient and a helper find what names the patient, as the log shows it (`hie.exchange.access_log`); the exchange's own
privacy officers and auditors all; a participant what it did itself, without a word on what was hidden from it.

Source: spec/consent.md 16, 17; spec/fhir.md 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from hie.audit import export
from hie.audit import queries as audit
from hie.audit.recorder import EventType, Outcome, Recording, recording
from hie.audit.values import AuditPage, AuditQuery, Cursor, EventRecord
from hie.directory import queries as directory
from hie.exchange import access, release, withheld_names
from hie.exchange.access_log import as_visible, asks_for_self, is_uuid, names_any, tree, view_of, without_titles
from hie.exchange.access_log_lines import (
    GROUP_MAX,
)
from hie.exchange.errors import AccessRefused, BadRequest, NotFound
from hie.standards.facts import Caller, Operation
from patients import queries as index

STAFF_ROLES = frozenset({"privacy-officer", "auditor"})
_GATE_RULES = frozenset({"G1", "G2", "G4", "G5", "G6", "G7"})


@release.point
def search_events(query: AuditQuery, caller: Caller, *, raw: str = "") -> AuditPage:
    """Audit events for `GET /fhir/AuditEvent` [ITI-81]; itself recorded, once a patient found.

    Patients and helpers see what names the patient; the exchange's own privacy officers and
    auditors all; a participant only what it did itself, without any word on what was hidden from it.

    Raises:
        BadRequest: no date range and no id.
        AccessRefused: no role or purpose that may read the log.
        NotFound: a helper who names no patient, or one whose log is not for him.
    """
    with recording(EventType.AUDIT_SEARCH, caller, query=raw or None) as event:
        if not query.ids and (query.since is None and query.until is None):
            raise BadRequest("a search of audit events needs a date range", element="date")
        page = _entitled_page(query, caller, event)
        people = {found.person_id for found in page.events if found.person_id}
        for person in sorted(people):
            event.about(person)
        event.note(detail={"events": len(page.events)})
        event.commit()
    return page


def _entitled_page(query: AuditQuery, caller: Caller, event: Recording) -> AuditPage:
    if asks_for_self(caller):
        kind, _, identifier = caller.user_id.partition("/")
        person = identifier if kind == "Patient" else (query.person_ids or ("",))[0]
        view = view_of(caller, person, event) if is_uuid(person) else None
        if view is None:
            raise NotFound("no such log")
        asked = frozenset(query.person_ids) if query.person_ids is not None else None
        if asked is not None and not asked & view.subject.facts.ids:
            return AuditPage(events=())

        def own_view(events: Sequence[EventRecord]) -> Iterator[EventRecord]:
            visible, withheld = as_visible(view, events)
            shown = (without_titles(visible[e.id], withheld) for e in events if e.id in visible)
            # Found by a document that is not in it any more, an event would tell of that document.
            return (
                e
                for e in shown
                if names_any(e, (*query.entities, *query.documents))
                and withheld_names.is_found_by_what_it_shows(e, query)
            )

        return _filled(replace(query, person_ids=tuple(sorted(view.subject.facts.ids))), own_view)
    if caller.participant_id == "hub" and caller.role in STAFF_ROLES:
        return audit.search(_with_merged(query))
    access.gate(caller, Operation.QUERY)
    if not caller.role or not caller.purpose:
        raise AccessRefused("G1", "invalid-request")
    held = directory.snapshot()
    own = tree(held, held.root_of(caller.organization_id))
    wanted = tuple(o for o in query.organizations if o in own) if query.organizations else own
    if not wanted:
        return AuditPage(events=())
    about_somebody = query.person_ids is not None or query.patient_identifiers or query.entities

    def participants_view(events: Sequence[EventRecord]) -> Iterator[EventRecord]:
        shown = (_for_participant(event) for event in events)
        # A search by patient must not find the looks that were told "no such patient".
        return (event for event in shown if not about_somebody or event.person_id or event.disclosures)

    return _filled(replace(_with_merged(query), organizations=wanted), participants_view)


_BATCH = 100


def _filled(query: AuditQuery, keep: Callable[[Sequence[EventRecord]], Iterable[EventRecord]]) -> AuditPage:
    """A page of what `keep` leaves, read on until it is full.

    Neither a short page nor a link behind it may tell of what was left out.
    """
    kept: list[EventRecord] = []
    page = AuditPage(events=(), next=query.before)
    while True:
        page = audit.search(replace(query, before=page.next, limit=max(query.limit + 1, _BATCH)))
        kept += keep(page.events)
        if page.next is None or len(kept) > query.limit:
            break
    shown = tuple(kept[: query.limit])
    more = len(kept) > len(shown) and bool(shown)
    return AuditPage(events=shown, next=Cursor(at=shown[-1].at, id=shown[-1].id) if more else None)


def _with_merged(query: AuditQuery) -> AuditQuery:
    """The search over every id the persons have had."""
    if query.person_ids is None:
        return query
    ids: set[str] = set(query.person_ids)
    for person in query.person_ids:
        facts = index.subject_facts(person) if is_uuid(person) else None
        ids |= facts.ids if facts else set()
    return replace(query, person_ids=tuple(sorted(ids)))


def refused_at_gate(event: EventRecord) -> str:
    """The rule that refused a caller for what it is and claims; "" where none did.

    The rule of an event may be that of a document, G7 or G1 too: that one would tell hidden from absent.
    """
    refused = event.outcome == Outcome.REFUSED and event.detail.get("error") == AccessRefused.__name__
    return event.rule if refused and event.rule in _GATE_RULES else ""


def was_told(event: EventRecord) -> bool:
    """Whether whoever asked was told that there is such a patient: something was shown, or was taken in of her."""
    return bool(event.disclosures) or (event.action in "CUD" and event.outcome == 0)


def _for_participant(event: EventRecord) -> EventRecord:
    """An own event as a participant may see it: nothing that tells hidden from absent."""
    gate_rule = refused_at_gate(event)
    # What a decision refused was answered as absent, so its reason is that of what is not there.
    decided = bool(event.rule or event.decision) and not gate_rule
    of_a_concern = "concern" in event.detail
    return replace(
        event,
        # Who answers a concern is told its number, and not whose it is.
        person_id=event.person_id if was_told(event) and not of_a_concern else "",
        detail={name: value for name, value in event.detail.items() if name != "by"} if of_a_concern else event.detail,
        denied=(),
        decision={},
        rule=gate_rule,
        reason=("not-found" if decided else event.reason) if gate_rule or event.outcome else "",
    )


@release.point
def proof(event_id: str, caller: Caller, *, seal: int | None = None) -> dict[str, Any]:
    """What shows that one event is in the sealed log (`hie.audit.export.inclusion_proof`); recorded.

    For the patient whose event it is and for the exchange's privacy officers and auditors: the
    hashed text names every document of the event, so nobody who may see only a part gets it. It names who acted too: where
    a law holds back that name, `json` is "", and the proof says that the line is in the log and not what it says.
    `seal`: the size of a checkpoint that the proof is to lead to, else the newest.

    Raises:
        NotFound: no such event for this caller, not sealed under a checkpoint yet, or no checkpoint of that size.
    """
    return proofs([event_id], caller, seal=seal)[0]


@release.point
def proofs(event_ids: Sequence[str], caller: Caller, *, seal: int | None = None) -> list[dict[str, Any]]:
    """The `proof` of each of these events, at most 200, in their order; one event of the log for all. Raises as `proof`."""
    asked = event_ids[0] if len(event_ids) == 1 else f"{len(event_ids)} events from {event_ids[0]} on"
    with recording(EventType.AUDIT_SEARCH, caller, action="R", query=f"proof of {asked}") as event:
        own = caller.user_id.startswith("Patient/") and asks_for_self(caller)
        staff = caller.participant_id == "hub" and caller.role in STAFF_ROLES
        if not (own or staff) or not all(map(is_uuid, event_ids)) or len(event_ids) > GROUP_MAX:
            raise NotFound("no such event")
        wanted = {str(UUID(one)) for one in event_ids}
        page = _entitled_page(AuditQuery(ids=tuple(sorted(wanted)), limit=len(wanted)), caller, event)
        if {found.id for found in page.events} != wanted:
            raise NotFound("no such event")
        event.about(page.events[0].person_id or None, detail={"proof": event_ids[0]})
        try:
            shown = export.inclusion_proofs([UUID(one) for one in event_ids], seal=seal)
        except export.NotSealed:
            raise NotFound("not sealed yet: a checkpoint is signed every minute") from None
        event.commit()
    untold = {found.id for found in page.events if found.name_withheld is not None}
    return [one | {"json": ""} if one["event_id"] in untold else one for one in shown]
