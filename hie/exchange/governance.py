"""Policy changed by two people: propose with a report on what it would change, activate, withdraw, go back.

Each look and act is recorded, and each attempt that was refused. The report stands on the policy in force when it was
made (`hie.exchange.policy_reports`): activated is only by one that still does, and that the second person has read.

`load_laws` is for the command line, which knows no two people: it sets up a law where none was in force, and while
nothing has been decided yet. After that it proposes, as the member of staff named.

Source: spec/consent.md 11.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from consent import governance, governed_retention, jurisdictions
from consent.errors import PolicyChanged, PolicyRefused
from consent.governance import Made, Version
from consent.models import PolicyProposal, PolicyReport
from hie.audit import queries as audit
from hie.audit import recorder
from hie.audit.recorder import HUB, EventType
from hie.directory import queries as directory
from hie.directory import registration
from hie.directory.errors import UnknownParticipant
from hie.exchange import policy_reports
from hie.exchange.access import COMMAND_LINE, Staff
from hie.exchange.errors import AccessRefused
from hie.exchange.policy_reports import Report
from hie.standards.facts import Caller
from hie.trust import second_person
from hie.trust.second_person import Member

__all__ = [
    "Loaded",
    "Report",
    "activate",
    "at_once",
    "load_laws",
    "look",
    "may",
    "newest_report",
    "not_second",
    "outdated",
    "propose",
    "proposed_first",
    "report",
    "report_again",
    "suspend",
    "versions",
    "withdraw",
]

ROLES = frozenset({"administrator", "privacy-officer"})
"""Who proposes and activates changes of policy."""
_COMMAND = Caller(
    participant_id=HUB, organization_id=HUB, client_id=COMMAND_LINE, user_id="", role="system", face="hub"
)


ONBOARDING = "onboarding"
"""Who suspends, and proposes and agrees to the end of a suspension, besides."""


def may(staff: Staff, kind: str = "") -> bool:
    """Whether a member of staff proposes and activates changes of policy of this kind ("" any kind), by role."""
    more = {ONBOARDING} if kind == governance.Kind.REINSTATEMENT else set()
    return bool(staff.roles & (ROLES | more))


def look(staff: Staff, *, page: str, subject: str = "") -> None:
    """Record that a member of staff opened a page of policy."""
    detail = {"page": page, "subject": subject}
    recorder.write([recorder.EventDraft(kind=EventType.POLICY_READ, caller=staff.caller(), detail=detail)])


def versions(kind: str, subject: str) -> list[Version]:
    """Every version of a part of policy, newest first."""
    return governance.versions(kind, subject)


def proposed_first(kind: str, body: Any) -> Any:
    """What a form offers as the next version after this one: itself, or the only thing there is to propose."""
    only: dict[str, Any] = {
        governance.Kind.REINSTATEMENT: {"status": "active"},
        governance.Kind.HOLD: governed_retention.LIFTED,
    }
    return only.get(kind, body)


def at_once(kind: str) -> bool:
    """Whether a change of this kind cannot be put off."""
    return kind in governance.AT_ONCE


def newest_report(row: PolicyProposal) -> PolicyReport | None:
    """The report of a proposal that counts."""
    return governance.newest_report(row)


def outdated(row: PolicyProposal, report: PolicyReport | None) -> str:
    """Why a proposal that waits cannot be activated by this report now, in words; "" where it can."""
    return governance.why_outdated(report, policy_reports.basis(row.kind))


def not_second(row: PolicyProposal, staff: Staff) -> str:
    """Why this member of staff cannot be the second person for a proposal that waits, in words; "" where they can."""
    return second_person.why_not(governance.proposer(row), _member(staff), since=row.proposed_at)


def report(kind: str, subject: str, body: Any, staff: Staff) -> Report:
    """What a version would have changed of the last month's decisions, and of labels; recorded, changes nothing.

    Raises:
        AccessRefused: not by this role. PolicyRefused: the version cannot be used; by element.
    """
    with _act(EventType.POLICY_READ, staff, what="report", kind=kind, subject=subject) as event:
        governance.check(kind, subject, body)
        found = policy_reports.made(kind, subject, body)
        event.about(None, detail={"what": "report", "kind": kind, "subject": subject, "decisions": found.decisions})
    return found


def propose(
    kind: str, subject: str, body: Any, staff: Staff, *, reason: str, effective_from: datetime | None = None
) -> PolicyProposal:
    """Propose a version, with the report that belongs to it; in force only once another person activates it.

    Raises:
        AccessRefused: not by this role. PolicyRefused: as `consent.governance.propose`.
    """
    with _act(EventType.POLICY_PROPOSED, staff, kind=kind, subject=subject) as event:
        by = _member(staff)
        governance.check(kind, subject, body)
        made = _made(kind, subject, body)
        with transaction.atomic():
            row = governance.propose(
                kind, subject, body, reason=reason, by=by, effective_from=effective_from, report=made
            )
            event.about(None, detail=_about(row)).commit()
    return row


def report_again(proposal_id: UUID, staff: Staff) -> PolicyReport:
    """Make the report of a proposal that waits anew, on the policy in force now.

    Raises:
        AccessRefused: not by this role. PolicyRefused: no such proposal, it was decided, or cannot be used any more.
    """
    kind = _kind(proposal_id)
    with _act(EventType.POLICY_READ, staff, kind=kind, what="report", proposal=str(proposal_id)) as event:
        by = _member(staff)
        row = PolicyProposal.objects.filter(pk=proposal_id).first()
        if row is None:
            raise PolicyRefused("there is no such proposal", element="proposal")
        governance.check(row.kind, row.subject, row.body)
        made = _made(row.kind, row.subject, row.body)
        with transaction.atomic():
            kept = governance.report_on(row.pk, made, by=by)
            event.about(None, detail={"what": "report", "report": kept.pk, **_about(row)}).commit()
    return kept


def activate(proposal_id: UUID, staff: Staff, *, reason: str, report: int) -> PolicyProposal:
    """Put a proposal into force, as the second person, who has read the report of this number.

    Raises:
        AccessRefused: not by this role.
        PolicyRefused, FourEyes, PolicyChanged, ReportOutdated: as `consent.governance.activate`.
    """
    kind = _kind(proposal_id)
    with _act(EventType.POLICY_ACTIVATED, staff, kind=kind, proposal=str(proposal_id), report=report) as event:
        by = _member(staff)
        with transaction.atomic():
            # Else another change could be activated between the look at what is in force and ours.
            directory.hold_epoch()
            basis = policy_reports.basis(kind)
            row = governance.activate(proposal_id, by=by, reason=reason, report=report, basis=basis)
            event.about(None, detail={"report": report, **_about(row)}).commit()
    return row


def withdraw(proposal_id: UUID, staff: Staff, *, reason: str) -> PolicyProposal:
    """End a proposal without effect.

    Raises:
        AccessRefused: not by this role. PolicyRefused: as `consent.governance.withdraw`.
    """
    with _act(EventType.POLICY_WITHDRAWN, staff, kind=_kind(proposal_id), proposal=str(proposal_id)) as event:
        by = _member(staff)
        with transaction.atomic():
            row = governance.withdraw(proposal_id, by=by, reason=reason)
            event.about(None, detail=_about(row)).commit()
    return row


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What became of a law of a file: `outcome` created, updated, unchanged, kept, proposed or waits; `why` in words or ""."""

    outcome: str
    why: str = ""


def suspend(participant_id: str, staff: Staff, *, reason: str) -> None:
    """Stop a participant from its next request on; one person is enough. Its end is proposed (`Kind.REINSTATEMENT`).

    Raises:
        AccessRefused: not by this role. PolicyRefused: no reason, or no such participant.
    """
    what = {"what": "suspended", "participant": participant_id}
    with recorder.recording(EventType.DIRECTORY_CHANGED, staff.caller()) as event:
        event.note(detail=what)
        if not may(staff, governance.Kind.REINSTATEMENT):
            raise AccessRefused("G5", "role-not-permitted")
        if not reason.strip():
            raise PolicyRefused("a reason is needed", element="reason")
        with transaction.atomic():
            try:
                registration.suspend(participant_id, reason.strip(), staff.user_id)
            except UnknownParticipant as error:
                raise PolicyRefused("there is no such participant", element="subject") from error
            event.about(None, detail=what | {"reason": reason.strip()}).commit()


def load_laws(laws: Mapping[str, Any], *, staff: Staff | None = None, reason: str = "") -> dict[str, Loaded]:
    """Load the laws of a file, all or none: code to what became of it. A file that says nothing new changes nothing.

    A law of a place that has none in force counts at once, and so does any law while nothing has been decided on this
    hub. Else what would change a law in force becomes a proposal of `staff`, which another person activates. Where
    nobody is named, a file that says what an older version said keeps what two people have put into force since.

    Raises:
        JurisdictionRefused: one cannot be read. AccessRefused: not by this role.
        PolicyRefused: a law says what the hub does not know; or one in force would change and nobody is named who
        proposes it, or it cannot be proposed. PolicyChanged: a law was changed meanwhile.
    """
    jurisdictions.readable(laws)
    for code, body in laws.items():
        with _named(code):
            governance.check(governance.Kind.JURISDICTION, code, body, members_known=False)
    named = staff is not None
    at_once, waiting, outcomes = _sorted_out(laws, named=named)
    if not waiting:
        with transaction.atomic():
            return outcomes | _load(at_once, laws, named=named)
    if staff is None:
        code = next(iter(waiting))
        raise PolicyRefused(
            f"{waiting[code]} is in force and says something else: a change of it is proposed by one member of staff "
            "and activated by another",
            element=f"jurisdictions.{code}",
        )
    kind = governance.Kind.JURISDICTION
    # One recording around the transaction: a refusal is recorded once that has been rolled back.
    with _act(EventType.POLICY_PROPOSED, staff, kind=kind.value, subject=" ".join(waiting)) as event:
        by = _member(staff)
        reports = {code: _made(kind, code, laws[code]) for code in waiting}
        with transaction.atomic():
            for code in waiting:
                with _named(code):
                    row = governance.propose(
                        kind, code, laws[code], reason=reason, by=by, effective_from=None, report=reports[code]
                    )
                draft = recorder.EventDraft(kind=EventType.POLICY_PROPOSED, caller=staff.caller(), detail=_about(row))
                recorder.write([draft])
            outcomes |= _load(at_once, laws, named=named)
        event.dismiss()
    return outcomes


def _load(at_once: Mapping[str, Any], laws: Mapping[str, Any], *, named: bool) -> dict[str, Loaded]:
    """Store the laws that count at once, in the caller's transaction."""
    if not at_once:
        return {}
    # Behind whoever changes policy just now, who may have made one of them a law in force.
    directory.hold_epoch()
    if _sorted_out({code: laws[code] for code in at_once}, named=named)[0] != at_once:
        raise PolicyChanged("the law was changed meanwhile: load it again", element="jurisdictions")
    detail = {"what": "loaded by command", "kind": governance.Kind.JURISDICTION.value, "codes": sorted(at_once)}
    recorder.write([recorder.EventDraft(kind=EventType.POLICY_ACTIVATED, caller=_COMMAND, detail=detail)])
    return {code: Loaded(outcome=outcome) for code, outcome in jurisdictions.load(at_once).items()}


def _sorted_out(laws: Mapping[str, Any], *, named: bool) -> tuple[dict[str, Any], dict[str, str], dict[str, Loaded]]:
    """Which laws of a file count at once; which are to be proposed, with the version in force in words; an outcome for each.

    `named`: a member of staff stands behind the file, who may want to go back to what it said before.
    """
    kind = governance.Kind.JURISDICTION
    fresh = not audit.any_decided()
    open_ = {row.subject: row for row in governance.waiting(kind, laws)}
    at_once: dict[str, Any] = {}
    waiting: dict[str, str] = {}
    outcomes: dict[str, Loaded] = {}
    for code, body in laws.items():
        found = governance.versions(kind, code)
        newest, proposal = next(iter(found), None), open_.get(code)
        governed = governance.was_activated(kind, code)
        if newest is not None and newest.body == body:
            outcomes[code] = Loaded(outcome="unchanged")
        elif proposal is not None and proposal.body == body:
            why = f"proposed by {proposal.proposed_by} already: another person activates it at the desk"
            outcomes[code] = Loaded(outcome="waits", why=why)
        elif newest is None or (fresh and not governed):
            at_once[code] = body
            outcomes[code] = Loaded(outcome="created")
        elif governed and not named and (said := next((one for one in found if one.body == body), None)) is not None:
            why = f"{_in_words(newest)} counts, put into force by two people; the file says what {_in_words(said)} said"
            outcomes[code] = Loaded(outcome="kept", why=why)
        else:
            waiting[code] = _in_words(newest)
            outcomes[code] = Loaded(outcome="proposed")
    return at_once, waiting, outcomes


def _in_words(version: Version) -> str:
    return f"version {version.number}" if version.number else "the law as shipped"


@contextmanager
def _named(code: str) -> Iterator[None]:
    """Refusals with the place in the file of laws."""
    try:
        yield
    except PolicyRefused as refusal:
        place, _, member = (refusal.element or "").partition(".")
        # The law itself is the member of the file; what else is refused (its reason, its instant) is named beside it.
        path = [code, *([] if place in ("", "body", "subject") else [place]), *([member] if member else [])]
        raise PolicyRefused(str(refusal), element=".".join(["jurisdictions", *path])) from refusal


@contextmanager
def _act(event_type: EventType, staff: Staff, /, *, kind: str = "", **detail: Any) -> Iterator[recorder.Recording]:
    """A recording of what a member of staff does by role; a refusal is recorded with what was asked."""
    with recorder.recording(event_type, staff.caller()) as event:
        event.note(detail={"kind": kind, **detail} if kind else detail)
        if not may(staff, kind):
            raise AccessRefused("G5", "role-not-permitted")
        yield event


def _member(staff: Staff) -> Member:
    if staff.account is None:
        raise AccessRefused("G5", "role-not-permitted")
    return Member(name=staff.user_id, account=staff.account)


def _made(kind: str, subject: str, body: Any) -> Made:
    # The policy that it stands on is read first: what changes meanwhile makes it outdated.
    basis = policy_reports.basis(kind)
    return Made(body=policy_reports.made(kind, subject, body).as_json(), basis=basis)


def _kind(proposal_id: UUID) -> str:
    return PolicyProposal.objects.filter(pk=proposal_id).values_list("kind", flat=True).first() or ""


def _about(row: PolicyProposal) -> dict[str, Any]:
    return {
        "proposal": str(row.pk),
        "kind": row.kind,
        "subject": row.subject,
        "on_version": row.on_version,
        "version": row.version,
        "reason": row.decided_reason or row.reason,
    }
