"""An event as the patient's side reads it where a law holds back the name of who acted: the one place where that is done.

The log, its copies, the accounting, concerns, notices, emergencies and explained decisions are all made from events that
went through here; the desk and the organizations read them as they were written. What takes the place of the person is a
word that is the same in each line of one patient, so that two people stay two, and of which nobody can tell who it is.

Source: spec/consent.md 15.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.utils.crypto import salted_hmac

from consent.withheld_names import NameRules, in_force
from hie.audit.recorder import HUB
from hie.audit.values import AuditQuery, EventRecord, NameWithheld
from hie.directory import queries as directory

__all__ = ["NameRules", "in_force", "is_found_by_what_it_shows", "of_look", "told"]
_SALT = "hie.exchange.withheld_names"
_NOBODY = ("Patient", "RelatedPerson", "Staff")
"""The patient's side knows itself, and the hub's own staff is under no law of a place."""


def told(events: Sequence[EventRecord], rules: NameRules, *, person_id: str) -> list[EventRecord]:
    """The events in their order, each without the name that a law holds back; `person_id` whose log it is.

    No statement where no law does, one more where an event does not say the role of who acted.
    """
    if not rules:
        return list(events)
    unsaid = {event.user for event in events if event.user and not event.role and _is_somebody(event)}
    roles: dict[str, dict[str, str]] = {}
    for user in directory.users_named(unsaid):
        roles.setdefault(user.id, {})[user.participant_id] = user.role
    return [_told(event, rules, person_id, roles.get(event.user, {})) for event in events]


def of_look(organization: str, role: str, purpose: str) -> NameWithheld | None:
    """Whether the name of who looked is held back, and who can tell it; None: it is told."""
    return _of_look(in_force(), organization, role, purpose)


def is_found_by_what_it_shows(event: EventRecord, query: AuditQuery) -> bool:
    """Whether an event, as told, was found by an agent that it names: else trying names would find out who it was."""
    if event.name_withheld is None or not (query.agents or query.users):
        return True
    shown = {event.user, event.client, event.participant, event.organization}
    return all(not asked or not shown.isdisjoint(asked) for asked in (query.agents, query.users))


def _is_somebody(event: EventRecord) -> bool:
    kind = event.user.partition("/")[0]
    if event.organization in {"", HUB} or event.role in {"proxy", "patient"} or kind in _NOBODY:
        return False
    # A program is nobody; where it says for whom it asks, that one is.
    return bool(event.user_name) if kind == "Device" else bool(event.user or event.user_name)


def _of_look(rules: NameRules, organization: str, role: str, purpose: str) -> NameWithheld | None:
    found = rules.of_look(organization, role, purpose)
    if found is None:
        return None
    contact = found.contact
    return NameWithheld(rule=found.rule, office=contact.office, phone=contact.phone, address=contact.address)


def _told(event: EventRecord, rules: NameRules, person_id: str, registered: dict[str, str]) -> EventRecord:
    if not _is_somebody(event):
        return event
    role = event.role
    if not role and registered:
        line = (facts.id for facts in directory.snapshot().lineage(event.participant))
        role = next((registered[owner] for owner in line if owner in registered), "")
    withheld = _of_look(rules, event.organization, role, event.purpose)
    if withheld is None:
        return event
    user = event.user
    if user and not user.startswith("Device/"):
        user = "Withheld/" + salted_hmac(_SALT, f"{person_id} {user}", algorithm="sha256").hexdigest()[:16]
    gone = {text: word for text, word in ((event.user, user), (event.user_name, "")) if text}
    said = {
        name: text.replace(event.user_name, "…") if isinstance(text, str) and event.user_name else text
        for name, text in event.words.items()
    }
    return replace(
        event, user=user, user_name="", role=role, name_withheld=withheld, words=said,
        detail=_without(event.detail, gone), decision=_without(event.decision, gone),
    )  # fmt: skip


def _without(value: Any, gone: dict[str, str]) -> Any:
    """JSON with each text that names the person changed."""
    if isinstance(value, str):
        return gone.get(value, value)
    if isinstance(value, dict):
        return {name: _without(one, gone) for name, one in value.items()}
    return [_without(one, gone) for one in value] if isinstance(value, list | tuple) else value
