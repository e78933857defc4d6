"""Law, code tables, what counts of one organization, and how long things are kept, as versions that one person proposes and another puts into force.

Of the versions whose time has come the one with the highest number counts: what was activated later stands, even where
an older version was put off to a later instant. A version is never changed: to go back is a new version with the words of an old one, proposed and activated like any.
What is shipped with the hub, or what an organization registered with, is version 0 where nothing else is there.

Source: spec/consent.md 11.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from consent import governed_organizations, governed_retention, jurisdictions, policies, tables, withheld_names
from consent.drafts import Draft
from consent.engine import Tables, compile_jurisdiction
from consent.engine.codes import RANK
from consent.errors import PolicyChanged, PolicyRefused, ReportOutdated
from consent.labelling import LabelTables
from consent.models import CodeTable, Jurisdiction, PolicyProposal, PolicyReport
from hie.directory import queries as directory
from hie.directory.models import ParticipantType
from hie.trust import second_person
from hie.trust.second_person import Member

Kind = PolicyProposal.Kind
State = PolicyProposal.State

AT_ONCE = governed_organizations.AT_ONCE | governed_retention.AT_ONCE
"""Kinds of change that cannot be put off."""
FURTHEST = timedelta(days=3653)
"""So far ahead a version may be put off."""
REPORT_LASTS = timedelta(days=1)
"""So long a report counts while the policy it was made on is in force."""
_DEEPEST = 32
_RULE_MEMBERS = {
    "prohibitions": {"emergencyOverride"},
    "mandates": set[str](),
}
_RULE_LISTS = ("purposes", "recipientTypes", "recipients", "exceptRecipients", "labels", "classes", "codes")
_RULE_WORDS = {"id", "title", "description", "source", "minConfidentiality", *_RULE_LISTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a part of policy; `in_force` whether it counts now. 0: as shipped or registered."""

    number: int
    body: Any
    effective_from: datetime | None
    in_force: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A report as it was made: what it says, and the policy in force that it was made on."""

    body: Mapping[str, Any]
    basis: str


def versions(kind: str, subject: str) -> list[Version]:
    """Every version, newest first; the last is what there was before any, where there was something. Two statements.

    Raises:
        PolicyRefused: there is no such part of policy, and none can be made.
    """
    now = timezone.now()
    rows = _rows(kind, subject)
    counts = max(
        (row for row in rows if row.effective_from is None or row.effective_from <= now),
        key=lambda row: row.version,
        default=None,
    )
    found = [
        Version(number=row.version, body=row.body, effective_from=row.effective_from, in_force=row is counts)
        for row in rows
    ]
    first = _before_any(kind, subject)
    if first is not None:
        found.append(Version(number=0, body=first, effective_from=None, in_force=counts is None))
    return found


def check(kind: str, subject: str, body: Any, *, members_known: bool = True) -> None:
    """Refuse a new version that could not be read, or names what the hub does not know.

    `members_known` False: it is set up before the participants that it may name.

    Raises:
        PolicyRefused: the first thing that is wrong; `element` names it.
    """
    _check_storable(body)
    if kind == Kind.JURISDICTION:
        _check_law(subject, body, members_known)
    elif kind == Kind.CODE_TABLE:
        _check_table(subject, body)
    elif kind in governed_organizations.KINDS:
        governed_organizations.check(kind, subject, body)
    elif kind in governed_retention.KINDS:
        governed_retention.check(kind, subject, body)
    else:
        raise PolicyRefused("is no kind of policy", element="kind")


def draft_of(kind: str, subject: str, body: Any) -> Draft:
    """A version as a draft to decide with. Value sets of labels change no decision before documents are labelled anew."""
    if kind == Kind.JURISDICTION:
        return Draft(jurisdictions={subject: body})
    if kind == Kind.CODE_TABLE:
        # Over what is shipped, as it would count: an override that this version no longer has is gone then.
        return Draft(codes={**tables.shipped("codes"), **body}) if subject == CodeTable.Name.CODES else Draft()
    return governed_organizations.draft_of(kind, subject, body)


def label_tables_of(kind: str, subject: str, body: Any) -> LabelTables | None:
    """The labelling rules with a version in place of what counts; None where it cannot change a label."""
    if kind != Kind.CODE_TABLE:
        return None
    whole = {**tables.shipped(subject), **body}
    if subject == CodeTable.Name.LABELS:
        return tables.compiled_labels(whole, policies.current().tables)
    made = tables.compiled_labels(tables.in_effect(CodeTable.Name.LABELS), Tables.from_json(whole))
    return made if made.digest != policies.labelling().digest else None


def propose(
    kind: str,
    subject: str,
    body: Any,
    *,
    reason: str,
    by: Member,
    effective_from: datetime | None,
    report: Made,
) -> PolicyProposal:
    """Store a proposal with its first report; it changes nothing yet.

    Raises:
        PolicyRefused: it cannot be used, says what counts already, or another for the same waits.
    """
    check(kind, subject, body)
    _check_reason(reason)
    if effective_from is not None and kind in AT_ONCE:
        raise PolicyRefused("is not for this kind: it counts from its activation on", element="effective_from")
    if effective_from is not None and effective_from <= timezone.now():
        raise PolicyRefused("lies in the past", element="effective_from")
    if effective_from is not None and effective_from > timezone.now() + FURTHEST:
        raise PolicyRefused("lies more than ten years ahead", element="effective_from")
    found = versions(kind, subject)
    if found and found[0].body == body:
        raise PolicyRefused("says what the newest version says", element="body")
    try:
        with transaction.atomic():
            row = PolicyProposal.objects.create(
                kind=kind,
                subject=subject,
                body=body,
                on_version=found[0].number if found else 0,
                reason=reason.strip(),
                effective_from=effective_from,
                proposed_by=by.name,
                proposed_account=by.account,
            )
            _keep(row, report, by)
            return row
    except IntegrityError as error:
        raise PolicyRefused("another change of it waits for a decision", element="subject") from error


def report_on(proposal_id: UUID, report: Made, *, by: Member) -> PolicyReport:
    """Put another report beside those that a proposal has; the newest counts.

    Raises:
        PolicyRefused: no such proposal, or it was decided already.
    """
    with transaction.atomic():
        return _keep(_open(proposal_id), report, by)


def why_outdated(report: PolicyReport | None, basis: str) -> str:
    """Why nothing can be activated by this report while `basis` is in force, in words; "" while it can."""
    if report is None:
        return "is missing"
    if report.basis != basis:
        return "was made on a policy that is no longer in force"
    if report.made_at + REPORT_LASTS <= timezone.now():
        return "is more than a day old"
    return ""


def was_activated(kind: str, subject: str) -> bool:
    """Whether two people have ever put a version of this into force; one statement."""
    return PolicyProposal.objects.filter(kind=kind, subject=subject, state=PolicyProposal.State.ACTIVATED).exists()


def waiting(kind: str, subjects: Iterable[str]) -> list[PolicyProposal]:
    """The proposals on these that wait for a second person, at most one each; one statement."""
    rows = PolicyProposal.objects.filter(kind=kind, subject__in=list(subjects), state=State.PROPOSED)
    return list(rows.order_by("subject"))


def newest_report(row: PolicyProposal) -> PolicyReport | None:
    """The report of a proposal that counts; one statement."""
    return row.reports.order_by("-pk").first()


def activate(proposal_id: UUID, *, by: Member, reason: str, report: int, basis: str) -> PolicyProposal:
    """Make the proposal a version: in force now, or from the instant it names where that is still to come.

    `report`: the number of the one that was read. `basis`: the policy in force, which the caller lets nobody change until
    the transaction ends.

    Raises:
        PolicyRefused: no such proposal, it was decided already, or it cannot be used any more.
        FourEyes: by who proposed it, or by who may be the same person. PolicyChanged: a newer version has been made since.
        ReportOutdated: there is a newer report, or it is out of date.
    """
    with transaction.atomic():
        row = _open(proposal_id)
        if row.proposed_account is None:
            raise PolicyRefused("was proposed under an account that is gone: propose it anew", element="proposal")
        second_person.check(proposer(row), by, since=row.proposed_at)
        _check_reason(reason)
        check(row.kind, row.subject, row.body)
        found = versions(row.kind, row.subject)
        if (found[0].number if found else 0) != row.on_version:
            raise PolicyChanged(f"proposal {row.pk} is on version {row.on_version}", element="on_version")
        newest = newest_report(row)
        if newest is not None and newest.pk != report:
            raise ReportOutdated("that was read is not the newest")
        if why := why_outdated(newest, basis):
            raise ReportOutdated(why)
        now = timezone.now()
        row.version = _store(row, max(row.effective_from or now, now), by)
        _decide(row, State.ACTIVATED, by, reason, now)
    return row


def proposer(row: PolicyProposal) -> Member:
    """Who proposed it."""
    return Member(name=row.proposed_by, account=row.proposed_account)


def withdraw(proposal_id: UUID, *, by: Member, reason: str) -> PolicyProposal:
    """End a proposal without effect; whoever may propose may do so.

    Raises:
        PolicyRefused: no such proposal, or it was decided already.
    """
    with transaction.atomic():
        row = _open(proposal_id)
        _check_reason(reason)
        _decide(row, State.WITHDRAWN, by, reason, timezone.now())
    return row


def _keep(row: PolicyProposal, report: Made, by: Member) -> PolicyReport:
    return PolicyReport.objects.create(proposal=row, body=report.body, basis=report.basis, made_by=by.name)


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise PolicyRefused("a reason is needed", element="reason")
    if "\0" in reason:
        raise PolicyRefused("holds a character that cannot be stored", element="reason")


def _open(proposal_id: UUID) -> PolicyProposal:
    row = PolicyProposal.objects.select_for_update().filter(pk=proposal_id).first()
    if row is None:
        raise PolicyRefused("there is no such proposal", element="proposal")
    if row.state != State.PROPOSED:
        raise PolicyRefused("was decided already", element="proposal")
    return row


def _decide(row: PolicyProposal, state: str, by: Member, reason: str, at: datetime) -> None:
    row.state, row.decided_by, row.decided_account = state, by.name, by.account
    row.decided_at, row.decided_reason = at, reason.strip()
    row.save(update_fields=["state", "decided_by", "decided_account", "decided_at", "decided_reason", "version"])


def _store(row: PolicyProposal, effective_from: datetime, by: Member) -> int:
    """The version as a row; its unique number makes two at once one."""
    if row.kind in governed_organizations.KINDS:
        return governed_organizations.store(
            row.kind,
            row.subject,
            row.body,
            effective_from=effective_from,
            actor=row.proposed_by,
            approved_by=by.name,
        )
    if row.kind in governed_retention.KINDS:
        return governed_retention.store(row, effective_from=effective_from, approved_by=by.name)
    try:
        with transaction.atomic():
            if row.kind == Kind.JURISDICTION:
                Jurisdiction.objects.create(
                    code=row.subject, version=row.on_version + 1, body=row.body, effective_from=effective_from
                )
            else:
                CodeTable.objects.create(
                    name=row.subject, version=row.on_version + 1, body=row.body, effective_from=effective_from
                )
    except IntegrityError as error:
        raise PolicyChanged(f"proposal {row.pk} is on version {row.on_version}", element="on_version") from error
    return row.on_version + 1


def _rows(kind: str, subject: str) -> list[Any]:
    if kind == Kind.JURISDICTION:
        return list(Jurisdiction.objects.filter(code=subject).order_by("-version"))
    if kind == Kind.CODE_TABLE:
        return list(CodeTable.objects.filter(name=subject).order_by("-version"))
    if kind in governed_retention.KINDS:
        return list(governed_retention.rows(kind, subject))
    return list(governed_organizations.rows(kind, subject)) if kind in governed_organizations.KINDS else []


def _before_any(kind: str, subject: str) -> Any:
    if kind == Kind.JURISDICTION:
        return tables.shipped("jurisdictions")["jurisdictions"].get(subject)
    if kind == Kind.CODE_TABLE:
        return tables.shipped(subject) if subject in CodeTable.Name.values else None
    if kind in governed_retention.KINDS:
        return governed_retention.before_any(kind, subject)
    return governed_organizations.before_any(kind, subject)


# --- what can be read -------------------------------------------------------------------------------------------------


def _check_storable(body: Any) -> None:
    """Refuse what Python reads as JSON and the database does not."""
    level = [body]
    for _ in range(_DEEPEST):
        inside: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inside += [*one, *one.values()]
            elif isinstance(one, list):
                inside += one
            elif isinstance(one, float) and not math.isfinite(one):
                raise PolicyRefused("holds a number that is none", element="body")
            elif isinstance(one, str) and ("\0" in one or any("\ud800" <= sign <= "\udfff" for sign in one)):
                raise PolicyRefused("holds a character that cannot be stored", element="body")
        if not inside:
            return
        level = inside
    raise PolicyRefused("is nested too deep", element="body")


def _check_law(subject: str, body: Any, members_known: bool) -> None:
    if not subject or len(subject) > 64 or not subject.replace("-", "").isalnum() or not subject.isascii():
        raise PolicyRefused("is a code of letters, digits and hyphens", element="subject")
    if not isinstance(body, dict):
        raise PolicyRefused("is not an object", element="body")
    try:
        compile_jurisdiction(subject, body)
    except ValueError as problem:
        place = jurisdictions.place_of(problem)
        raise PolicyRefused(f"{problem} cannot be read", element=f"body.{place}" if place else "body") from problem
    for member in body:
        if member not in jurisdictions.MEMBERS:
            raise PolicyRefused("is no member of a law", element=f"body.{member}")
    known = policies.current().tables
    default = body.get("default", {})
    if default.get("model") not in ("opt-in", "opt-out"):
        raise PolicyRefused("is neither opt-in nor opt-out", element="body.default.model")
    _codes(default.get("purposes", []), known.families, "body.default.purposes")
    _codes(default.get("excludeLabels", []), known.label_families, "body.default.excludeLabels")
    _letter(default.get("ceiling", "R"), "body.default.ceiling")
    _codes(body.get("confidentialLabels", []), known.label_families, "body.confidentialLabels")
    for n, rule in enumerate(body.get("consentRequired", [])):
        place = f"body.consentRequired[{n}]"
        _codes([rule.get("label"), *rule.get("coveredBy", [])], known.label_families, place)
    for member, more in _RULE_MEMBERS.items():
        seen: set[str] = set()
        for n, rule in enumerate(body.get(member, [])):
            place = f"body.{member}[{n}]"
            _check_rule(rule, place, more, known, seen)
            if members_known:
                members = directory.participants()
                for listed in ("recipients", "exceptRecipients"):
                    _codes(rule.get(listed, []), members, f"{place}.{listed}")
    if withheld_names.MEMBER in body:
        withheld_names.check(body[withheld_names.MEMBER], known, directory.participants() if members_known else None)


def _check_rule(rule: Mapping[str, Any], place: str, more: set[str], known: Tables, seen: set[str]) -> None:
    identifier = rule.get("id")
    if not isinstance(identifier, str) or not identifier.strip() or identifier in seen:
        raise PolicyRefused("is a name of its own", element=f"{place}.id")
    seen.add(identifier)
    for member in rule:
        if member not in _RULE_WORDS | more:
            raise PolicyRefused("is no member of a rule", element=f"{place}.{member}")
    for member in _RULE_LISTS:
        if member in rule and not rule[member]:
            # To the engine an empty list is no limit in a prohibition and reaches nothing in a mandate.
            raise PolicyRefused("is empty: leave it out", element=f"{place}.{member}")
    _codes(rule.get("purposes", []), known.families, f"{place}.purposes")
    _codes(rule.get("labels", []), known.label_families, f"{place}.labels")
    _codes(rule.get("recipientTypes", []), dict.fromkeys(ParticipantType.values), f"{place}.recipientTypes")
    if "minConfidentiality" in rule:
        _letter(rule["minConfidentiality"], f"{place}.minConfidentiality")


def _check_table(subject: str, body: Any) -> None:
    if subject not in CodeTable.Name.values:
        raise PolicyRefused("is no code table", element="subject")
    if not isinstance(body, dict):
        raise PolicyRefused("is not an object", element="body")
    shipped = tables.shipped(subject)
    for member in body:
        if member not in shipped:
            raise PolicyRefused("is no member of this table", element=f"body.{member}")
    try:
        whole = {**shipped, **body}
        if subject == CodeTable.Name.CODES:
            read = Tables.from_json(whole)
            for member in _unknown_codes(read, whole):
                raise PolicyRefused("names a code that the table does not have", element=f"body.{member}")
        else:
            LabelTables.from_json(whole, policies.current().tables)
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise PolicyRefused(f"{problem} cannot be read", element="body") from problem


def _unknown_codes(read: Tables, whole: Mapping[str, Any]) -> Iterator[str]:
    for member, known in (("purposeParent", read.families), ("labelParent", read.label_families)):
        if any(parent is not None and parent not in known for parent in whole[member].values()):
            yield member
    if any(purpose not in read.families for listed in read.roles.values() for purpose in listed):
        yield "roles"
    if any(letter not in RANK for letter in whole["labelFloor"].values()):
        yield "labelFloor"


def _codes(given: Any, known: Mapping[str, Any], element: str) -> None:
    for one in given:
        if one not in known:
            raise PolicyRefused(f"{one} is not known", element=element)


def _letter(given: Any, element: str) -> None:
    if not isinstance(given, str) or given not in RANK:
        raise PolicyRefused("is no letter of confidentiality", element=element)
