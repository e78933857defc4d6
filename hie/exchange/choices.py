"""A patient's choices on the portal: what is in force, what a change would do, and the change.

A page of choices is one FHIR Consent (`consent/choices.py`), filed, changed and ended by `consents` like any that comes
over FHIR; who may is that module's rule. A change is shown first (`preview`, computed by `what_if`), with the warnings of
filing, and saved with the `basis` it was shown on: when a choice, a grant or a policy has changed since, it is not saved
but shown anew.

Source: spec/consent.md 5.7, 10, 12.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils.crypto import salted_hmac

from consent import choices as rules
from consent.choices import Choices
from consent.drafts import ConsentDraft, Draft
from consent.owners import Capacity
from hie.audit import queries as audit
from hie.directory import queries as directory
from hie.exchange import access, consent_rights, consent_sight, consents, release, what_if
from hie.exchange.access import Subject
from hie.exchange.consents import StoredConsent
from hie.exchange.errors import NotFound
from hie.exchange.named_patients import PatientNamed
from hie.exchange.what_if import SeenDocument, WhatIf
from hie.standards.errors import HubError
from hie.standards.facts import Caller

__all__ = [
    "Action",
    "ChoicesMoved",
    "NothingToSave",
    "Overview",
    "Place",
    "Preview",
    "Received",
    "Version",
    "history",
    "overview",
    "preview",
    "save",
]

_FORMS = frozenset({Capacity.PATIENT, Capacity.PROXY, Capacity.STAFF})
"""Who stands behind a Consent that the page is a form of: the privacy office only ends one."""
_NOT_NAMED = frozenset({"patient-portal", "community"})
_KEPT_IN_MIND = timedelta(days=3653)
"""How far back copies are looked for: as long as the log is kept (spec/consent.md 17)."""
_ENDED_HERE = "chosen on the page of choices"


class ChoicesMoved(HubError):
    """What a change was shown on is not what is in force any more: it is to be shown anew. Nothing was saved."""


class NothingToSave(HubError):
    """The change would leave everything as it is. Nothing was saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An organization that can be named in a choice."""

    id: str
    name: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a Consent. `choices`: what it says in the words of the page; None where these cannot say it.

    `number` counts, from 1, the versions that this reader may see: that of the store would tell of those hidden between.
    `capacity` and `organization` (a participant's id) say who stands behind it, `active` whether it is in force.
    """

    consent_id: UUID
    number: int
    recorded_at: datetime
    active: bool
    capacity: str
    organization: str
    choices: Choices | None
    mine: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The page of choices of a person, as this caller may see and change it.

    `mine`: the Consent that the page is a form of, in force or ended; None before the first. `others`: what else is in
    force, `mine` of each whether the caller may end it. `kinds`: the kinds of information to choose from.
    """

    person_id: str
    may_choose: bool
    minor: bool
    kinds: Mapping[str, tuple[str, ...]]
    mine: Version | None
    others: tuple[Version, ...]
    places: tuple[Place, ...]

    @property
    def in_force(self) -> Choices:
        """The choices of the form as they are in force."""
        if self.mine is not None and self.mine.active and self.mine.choices is not None:
            return self.mine.choices
        return Choices(minor=self.minor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What somebody wants to do: save `choices`, go back to a version of a Consent (`restore`, its number), or `end` one."""

    choices: Choices | None = None
    restore: int | None = None
    consent_id: UUID | None = None
    end: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What an action would do, before it is done.

    `before` and `after`: the choices in force then and now (None where the page's words cannot say it); `found`: for
    whom what would change; `warnings`: those of filing, (element, words); `basis`: what `save` needs to save just this.
    `allowed`, `forbidden`: whether some who keep records are under a law that lets a patient refuse emergency access,
    and whether some are under one that does not. `received`: who keeps copies of what would close.
    """

    before: Choices | None
    after: Choices | None
    found: WhatIf
    warnings: tuple[tuple[str, str], ...]
    basis: str
    allowed: bool
    forbidden: bool
    received: tuple[Received, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A participant that opened documents before which would close for it, and when it last did: it keeps what it has."""

    organization: str
    documents: tuple[SeenDocument, ...]
    last_at: datetime


@dataclass(frozen=True, slots=True)
class _Change:
    """An action as filing takes it: the resource, and the Consent it replaces at a version."""

    resource: dict[str, Any]
    replaces: StoredConsent | None


@release.point
def overview(person_id: str, *, caller: Caller, raw: str = "") -> Overview:
    """What is chosen, and what can be.

    Raises:
        AccessRefused: the gate's rules. NotFound: no such person.
    """
    held = [one.stored for one in consents.search([[PatientNamed(id=person_id)]], [], _any, caller=caller, raw=raw)]
    about = access.subject(person_id)
    mine = _form_of(held, caller, about)
    limited = consent_rights.limited_to(caller, about)
    others = [one for one in held if one.status == "active" and (mine is None or one.id != mine.id)]
    return Overview(
        person_id=about.person_id,
        may_choose=consent_rights.chooses_for(caller, about),
        minor=limited is not None,
        kinds=rules.kinds_for(limited),
        mine=_version(mine, len(consent_sight.versions(mine, about, caller=caller)), mine=True)
        if mine is not None
        else None,
        others=tuple(_version(one, 1, mine=consent_rights.may_change(caller, one, about)) for one in others),
        places=_places(),
    )


@release.point
def history(person_id: str, *, caller: Caller, raw: str = "") -> list[Version]:
    """Every version of the Consent that the page is a form of, newest first; () before the first.

    Raises:
        AccessRefused, NotFound: as `overview`.
    """
    held = [one.stored for one in consents.search([[PatientNamed(id=person_id)]], [], _any, caller=caller, raw=raw)]
    mine = _form_of(held, caller, access.subject(person_id))
    if mine is None:
        return []
    seen = consents.history(str(mine.id), caller=caller, raw=raw)
    return [_version(one.stored, len(seen) - n, mine=True) for n, one in enumerate(seen)]


@release.point
def preview(person_id: str, action: Action, *, caller: Caller, raw: str = "") -> Preview:
    """What an action would change, for whom, and what is worth a warning. Nothing is stored but the trace.

    Raises:
        AccessRefused: the gate's rules. NotFound: no such person, or not for this caller to choose.
        ChoicesRefused: the choices cannot be saved. DirectiveRefused: an old version cannot be filed today.
        NothingToSave: it would leave everything as it is.
    """
    about, change = _change(person_id, action, caller, raw)
    replaces = change.replaces
    ends = change.resource.get("status") != "active"
    draft = ConsentDraft(resource=None if ends else change.resource, replaces=replaces.id if replaces else None)
    warnings: tuple[tuple[str, str], ...] = ()
    if not ends:
        named = [PatientNamed(id=about.person_id)]
        checked = consents.check(
            change.resource, named, caller=caller, raw=raw, replaces=replaces.id if replaces else None
        )
        warnings = tuple((one.element, one.message) for one in checked.warnings)
    honoured = consent_rights.refusal_honoured(about)
    found = what_if.compare(about.person_id, Draft(consents=(draft,)), caller=caller, raw=raw)
    return Preview(
        before=_said(replaces.resource) if replaces is not None and replaces.status == "active" else Choices(),
        after=_said(change.resource) if not ends else Choices(),
        found=found,
        warnings=warnings,
        basis=_basis(about, replaces),
        allowed=True in honoured,
        forbidden=False in honoured,
        received=_received(found),
    )


def _received(found: WhatIf) -> tuple[Received, ...]:
    """Of those for whom documents would close, whoever was given the bytes of one; the newest look first.

    Only documents that the changes name, which are those that the reader may see.
    """
    closing: dict[str, dict[str, SeenDocument]] = {}
    for change in found.changes:
        if not change.opens and not change.block.person:
            for organization in change.block.organizations:
                closing.setdefault(organization, {}).update({one.document_id: one for one in change.documents})
    wanted = {document for documents in closing.values() for document in documents}
    taken: dict[str, list[tuple[datetime, SeenDocument]]] = {}
    for organization, document, at in audit.received(wanted, since=access.now() - _KEPT_IN_MIND):
        if document in closing.get(organization, {}):
            taken.setdefault(organization, []).append((at, closing[organization][document]))
    made = [
        Received(
            organization=organization,
            documents=tuple(one for _, one in sorted(some, key=lambda pair: pair[0], reverse=True)),
            last_at=max(at for at, _ in some),
        )
        for organization, some in taken.items()
    ]
    return tuple(sorted(made, key=lambda one: (-one.last_at.timestamp(), one.organization)))


@release.point
def save(person_id: str, action: Action, *, basis: str, caller: Caller, raw: str = "") -> StoredConsent:
    """Do what was previewed; in force from the moment this returns, for requests under way too.

    Raises:
        As `preview`, and ChoicesMoved: something that decisions rest on has changed since.
    """
    about, change = _change(person_id, action, caller, raw)
    if basis != _basis(about, change.replaces):
        raise ChoicesMoved("the choices were shown on another state")
    named = [PatientNamed(id=about.person_id)]
    if change.replaces is None:
        return consents.file(change.resource, named, caller=caller, raw=raw).stored
    done = consents.change(
        str(change.replaces.id),
        change.resource,
        named,
        caller=caller,
        if_version=change.replaces.version,
        reason=_ENDED_HERE if change.resource.get("status") != "active" else "",
        raw=raw,
    )
    return done.stored


def _change(person_id: str, action: Action, caller: Caller, raw: str) -> tuple[Subject, _Change]:
    """The action as a resource to file, when the caller may choose.

    Raises:
        As `preview`.
    """
    held = [one.stored for one in consents.search([[PatientNamed(id=person_id)]], [], _any, caller=caller, raw=raw)]
    about = access.subject(person_id)
    if not consent_rights.chooses_for(caller, about):
        raise NotFound("no such patient")
    mine = _form_of(held, caller, about)
    if action.choices is not None:
        return about, _chosen(action.choices, mine, about, caller)
    named = next((one for one in held if one.id == (action.consent_id or (mine.id if mine else None))), None)
    if named is None or not consent_rights.may_change(caller, named, about):
        raise NotFound("no such choice")
    if action.end:
        resource = {**named.resource, "status": "inactive"}
    else:
        seen = consents.history(str(named.id), caller=caller, raw=raw)
        if action.restore is None or not 1 <= action.restore <= len(seen):
            raise NotFound("no such choice")
        old = seen[-action.restore].stored
        # As it stands from now on: the status of then, the words of then.
        resource = {**old.resource, "status": "active" if old.status == "active" else "inactive"}
    if resource["status"] == named.status and (named.status != "active" or _words(resource) == _words(named.resource)):
        raise NothingToSave("nothing would change")
    return about, _Change(resource, named)


def _chosen(choices: Choices, mine: StoredConsent | None, about: Subject, caller: Caller) -> _Change:
    limited = consent_rights.limited_to(caller, about)
    places = _places()
    named, types = {one.id for one in places}, {one.type for one in places}
    # Who was named once may be named still, whatever has become of it.
    held = _said(mine.resource) if mine is not None else None
    if held is not None:
        named |= held.named_places
        types |= held.named_types
    rules.check(choices, places=named, types=types, only_labels=limited)
    active = mine is not None and mine.status == "active"
    if (choices == held and active) or (choices.empty and not active):
        raise NothingToSave("nothing would change")
    if choices.empty and mine is not None:
        return _Change({**mine.resource, "status": "inactive"}, mine)
    resource = rules.consent_of(choices, person_id=about.person_id, by=caller.user_id, at=access.now())
    return _Change(resource, mine)


def _form_of(held: Sequence[StoredConsent], caller: Caller, about: Subject) -> StoredConsent | None:
    """Of these, the Consent that the page is a form of: the caller's to change, said in its words; in force if any is."""
    said = [
        one
        for one in held
        if one.capacity in _FORMS and _said(one.resource) is not None and consent_rights.may_change(caller, one, about)
    ]
    return min(said, key=lambda one: (one.status != "active", -one.recorded_at.timestamp(), str(one.id)), default=None)


def _version(stored: StoredConsent, number: int, *, mine: bool) -> Version:
    return Version(
        consent_id=stored.id,
        number=number,
        recorded_at=stored.recorded_at,
        active=stored.status == "active",
        capacity=stored.capacity,
        organization=stored.organization,
        choices=_said(stored.resource),
        mine=mine,
    )


def _said(resource: Mapping[str, Any]) -> Choices | None:
    return rules.choices_of(resource, now=access.now())


def _words(resource: Mapping[str, Any]) -> dict[str, Any]:
    """What a Consent says, without what the hub notes on it."""
    return {name: value for name, value in resource.items() if name not in ("id", "meta", "text")}


def _any(_: StoredConsent) -> bool:
    return True


def _places() -> tuple[Place, ...]:
    """Organizations that can be named: those that stand by themselves and take part now, by name."""
    now = access.now()
    return tuple(
        sorted(
            (
                Place(id=one.id, name=one.name or one.id, type=one.type or "")
                for one in directory.participants().values()
                if one.part_of is None and one.type not in _NOT_NAMED and directory.is_active(one, now)
            ),
            key=lambda place: (place.name.casefold(), place.id),
        )
    )


def _basis(about: Subject, replaces: StoredConsent | None) -> str:
    """What the decisions about a person rest on, as a short text that changes with it and tells nothing of it."""
    stands = f"{replaces.id}@{replaces.version}" if replaces is not None else ""
    text = f"{about.person_id} {about.consent_epoch} {directory.epoch()} {stands}"
    # Keyed: the epoch counts the changes of choices that the reader may not know of, and few numbers are soon tried.
    return salted_hmac("hie.exchange.choices", text, algorithm="sha256").hexdigest()[:32]
