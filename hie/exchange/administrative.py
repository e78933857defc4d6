"""The door for the exchange's own staff: by role, with a task or a reason, shown to each patient concerned.

Part of the one door, and reached through it: `access.administrative`. Neither consent nor suspension concerns the hub's
own staff; they look at identities, consents, the log and the metadata of documents, never at bytes, and titles and codes of
what is above N are for the privacy officer alone.

Source: spec/consent.md 7, item 5.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NoReturn
from uuid import UUID

from django.db import transaction

from hie.audit import recorder
from hie.exchange.errors import AccessRefused, BadRequest
from hie.standards.facts import Caller


class Held(StrEnum):
    """What the exchange holds of a patient, as its own staff may look at it; the words stand in the patient's log."""

    IDENTITIES = "identity"
    CONSENTS = "consents"
    AUDIT = "access log"
    DOCUMENT_METADATA = "documents"
    QUERIES = "queries"


PRIVACY_OFFICER = "privacy-officer"
DESK, COMMAND_LINE = "backoffice", "command-line"
"""Ways by which staff act, as the log names the client."""
STAFF_MAY: Mapping[str, frozenset[Held]] = MappingProxyType(
    {
        PRIVACY_OFFICER: frozenset(Held),
        "administrator": frozenset(Held),
        "steward": frozenset({Held.IDENTITIES, Held.DOCUMENT_METADATA}),
        "auditor": frozenset({Held.AUDIT, Held.QUERIES, Held.CONSENTS}),
        "operator": frozenset({Held.QUERIES}),
        "onboarding": frozenset(),
    }
)
"""Who of the hub's own staff may look at what; never bytes. The first role in this order that may is the one recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    """A member of the hub's own staff, as signed in. `roles` are the names of `STAFF_MAY`.

    `account` is the account's primary key: what takes two people goes by it, and not by `user_id`, its name.
    `channel`: `DESK`, or `COMMAND_LINE` where somebody at the machine acts in their name, unproven.
    """

    user_id: str
    roles: frozenset[str]
    name: str = ""
    account: int | None = None
    network_address: str = ""
    request_id: str = ""
    channel: str = DESK

    def caller(self, role: str = "") -> Caller:
        """As the caller of a use case of the exchange, let in as `role`; else by the first of the roles held."""
        return Caller(
            participant_id=recorder.HUB,
            organization_id=recorder.HUB,
            client_id=self.channel,
            user_id=f"Staff/{self.user_id}",
            user_name=self.name,
            role=role or min(self.roles, default=""),
            network_address=self.network_address,
            request_id=self.request_id,
            face=DESK if self.channel == DESK else recorder.HUB,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffView:
    """What may be shown to a member of staff who was let in as `role`."""

    held: Held
    role: str
    consent_outcomes: bool

    def words_of(self, confidentiality: str | None) -> bool:
        """Whether titles, codes and labels of a document of this confidentiality may be shown; absent counts as above N."""
        return self.role == PRIVACY_OFFICER or confidentiality in {"N", "M", "L", "U"}


def staff_view(roles: Collection[str], held: Held) -> StaffView | None:
    """What somebody with these roles may see of such things; None: nothing. Records nothing: for menus and columns."""
    role = next((name for name, things in STAFF_MAY.items() if name in roles and held in things), None)
    if role is None:
        return None
    outcomes = any(Held.CONSENTS in STAFF_MAY.get(name, ()) for name in roles)
    return StaffView(held=held, role=role, consent_outcomes=outcomes)


def administrative(
    staff: Staff,
    held: Held,
    person_ids: Iterable[UUID | str | None],
    *,
    reason: str,
    act: bool = False,
    detail: Mapping[str, Any] | None = None,
) -> StaffView:
    """The one door for the hub's own staff: by role, with a task or a reason, shown to each patient concerned.

    One look a person is written before anything is shown; `act` when something of them is changed.

    Raises:
        AccessRefused: no role of theirs may look at this; the attempt stands in the log of each person.
        BadRequest: no reason was given; nothing is recorded, nothing shown.

    Source: spec/consent.md 7, item 5.
    """
    about = sorted({str(person_id) for person_id in person_ids if person_id})
    view = staff_view(staff.roles, held)
    if view is None:
        _refuse_staff(staff, held, about, detail or {})
    if not reason.strip():
        raise BadRequest("a task or a reason is needed", element="reason")
    with transaction.atomic():
        for person_id in about:
            recorder.staff_look(
                staff_user=staff.user_id,
                staff_name=staff.name,
                role=view.role,
                person_id=person_id,
                what=held.value,
                reason=reason.strip(),
                network_address=staff.network_address,
                request_id=staff.request_id,
                act=act,
                detail=detail,
            )
    return view


def may_see_decisions(roles: Collection[str]) -> bool:
    """Whether somebody with these roles may look at what is decided on documents. Records nothing: for menus and links."""
    return all(staff_view(roles, held) is not None for held in (Held.CONSENTS, Held.DOCUMENT_METADATA))


def administrative_decisions(
    staff: Staff, person_ids: Iterable[UUID | str | None], *, reason: str, detail: Mapping[str, Any] | None = None
) -> StaffView:
    """As `administrative`, for what is decided on documents: by who may look at the documents and at the choices too.

    Who may not look at both looks at neither, and no look is written.
    """
    about = sorted({str(person_id) for person_id in person_ids if person_id})
    if staff_view(staff.roles, Held.CONSENTS) is None:
        _refuse_staff(staff, Held.CONSENTS, about, detail or {})
    return administrative(staff, Held.DOCUMENT_METADATA, about, reason=reason, detail=detail)


def _refuse_staff(staff: Staff, held: Held, about: Sequence[str], detail: Mapping[str, Any]) -> NoReturn:
    caller = staff.caller()
    recorder.write_apart(
        recorder.EventDraft(
            kind=recorder.EventType.STAFF_LOOK,
            caller=caller,
            outcome=recorder.Outcome.REFUSED,
            person_id=person_id,
            rule="G5",
            reason="role-not-permitted",
            detail={"what": held.value} | dict(detail),
        )
        for person_id in (about or (None,))
    )
    raise AccessRefused("G5", "role-not-permitted")
