"""The accounting of disclosures, as the law words it, and the whole list of who received what.

45 CFR 164.528: for up to six years before the day of the request, each disclosure with its date, the recipient's name, what
was disclosed, and for what purpose; several to one recipient for one purpose are told as the first, how often, and the
last. Exempt are disclosures for treatment, payment and operations, to the patient or by the patient's wish, and under the
patient's written authorization. What a law makes a custodian report (obligation ACCOUNT) is listed in any case.

An organization's looks at its own record are uses, not disclosures. The view of everything lists all that left, exempt or
not, as article 15 GDPR asks for recipients, purposes and categories.

Source: spec/consent.md 15; 45 CFR 164.528(a), (b).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from consent import policies
from hie.audit import queries as audit
from hie.audit.recorder import EventType, Outcome, recording
from hie.audit.values import AuditQuery, DisclosureRecord, EventRecord
from hie.exchange import access, access_log, release
from hie.exchange.access_log_lines import HUB, Looker, Names
from hie.standards.facts import Caller

YEARS = 6
_BATCH = 500
_TPO = ("TREAT", "HPAYMT", "HOPERAT")


class Exempt(StrEnum):
    """Why the law does not ask for a disclosure to be listed (45 CFR 164.528(a)(1))."""

    CARE = "care"  # (i): treatment, payment, health care operations
    OWN = "own"  # (ii): to the patient, or to somebody at her wish
    AUTHORIZED = "authorized"  # (iv): under the patient's own authorization


@dataclass(slots=True, kw_only=True)
class Row:
    """All disclosures to one recipient for one purpose: the first, the last, how many, and what kinds.

    `exempt` None for what the law asks for; `required` where a law made the custodian report it.
    """

    recipient: str
    purpose: str
    first_at: datetime
    last_at: datetime
    count: int = 0
    kinds: set[str] = field(default_factory=set)
    custodians: set[str] = field(default_factory=set)
    exempt: Exempt | None = None
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounting:
    """The rows, newest last disclosure first, of the time from `since` to `until`."""

    since: datetime
    until: datetime
    rows: tuple[Row, ...]


@release.point
def accounting(caller: Caller, person_id: UUID | str, *, everything: bool = False) -> Accounting:
    """The accounting of one patient's disclosures, for the patient or a helper; recorded as a look at the log.

    `everything`: also what the law exempts. A helper's holds what the grant reaches, and is whole as far as it can tell.
    Memory grows with recipients and purposes, not with looks.

    Raises:
        AccessRefused, NotFound: as `access_log.log_for_patient`.
    """
    with recording(EventType.ACCESS_LOG_READ, caller) as event:
        view = access_log.view_of(caller, person_id, event)
        event.about(view.subject.person_id, detail={"accounting": "all" if everything else "law"})
        until = access.now()
        since = _years_before(until, YEARS)
        names = access_log.names_of(view)
        rows: dict[tuple[str, str, Exempt | None], Row] = {}
        for found, looker in _events(view, since, until, everything):
            _count(found, looker, names, rows, everything)
        event.commit()
    ordered = sorted(rows.values(), key=lambda row: (row.last_at, row.recipient, row.purpose), reverse=True)
    return Accounting(since=since, until=until, rows=tuple(ordered))


def _years_before(moment: datetime, years: int) -> datetime:
    try:
        return moment.replace(year=moment.year - years)
    except ValueError:  # 29 February
        return moment.replace(year=moment.year - years, day=28)


def _events(
    view: access_log.View, since: datetime, until: datetime, everything: bool
) -> Iterator[tuple[EventRecord, Looker]]:
    """The patient's events that may hold a disclosure to be listed, as the viewer sees them, newest first, each once."""
    base = AuditQuery(
        person_ids=tuple(sorted(view.subject.facts.ids)),
        since=since,
        until=until,
        outcomes=(Outcome.SUCCESS,),
        limit=_BATCH,
    )
    families = policies.current().tables.families
    listed = tuple(sorted(code for code in families if exemption(code, "", own=False) is None))
    # By the purposes that are not exempt as such; and what a mandate made somebody report, for whatever purpose.
    searches = [base] if everything else [replace(base, purposes=listed), replace(base, rules=("L2",))]
    seen: set[str] = set()
    for query in searches:
        page = audit.search(query)
        while True:
            visible, looker = access_log.visible_to(view, page.events)
            for event in page.events:
                if event.id in visible and event.id not in seen:
                    if len(searches) > 1:
                        seen.add(event.id)
                    yield visible[event.id], looker
            if page.next is None:
                break
            page = audit.search(replace(query, before=page.next))


def exemption(purpose: str, rule: str, *, own: bool) -> Exempt | None:
    """Whether the law exempts a disclosure for this purpose, permitted by this rule; `own`: to the patient's side.

    Treatment, payment and operations with all below them, in whose family emergency access is (164.528(a)(1)(i)).
    """
    family = policies.current().tables.families.get(purpose, frozenset({purpose}))
    if own or "PATRQT" in family:
        return Exempt.OWN
    if not family.isdisjoint(_TPO):
        return Exempt.CARE
    return Exempt.AUTHORIZED if rule == "D6" else None


def _count(
    event: EventRecord,
    looker: Looker,
    names: Names,
    rows: dict[tuple[str, str, Exempt | None], Row],
    everything: bool,
) -> None:
    own = event.user.startswith("Patient/") or event.role == "proxy"
    groups: dict[tuple[str, str, Exempt | None], list[DisclosureRecord]] = {}
    for item in event.disclosures:
        recipient = item.recipient or event.organization
        if recipient in {"", HUB} or item.rule == "C1":
            continue
        required = "ACCOUNT" in item.obligations
        exempt = None if required else exemption(event.purpose, item.rule, own=own)
        if exempt is not None and not everything:
            continue
        name = (
            names.organization(recipient)
            if item.recipient
            else event.organization_name or names.organization(recipient)
        )
        groups.setdefault((name, event.purpose, exempt), []).append(item)
    for key, items in groups.items():
        row = rows.setdefault(
            key, Row(recipient=key[0], purpose=key[1], first_at=event.at, last_at=event.at, exempt=key[2])
        )
        row.first_at, row.last_at = min(row.first_at, event.at), max(row.last_at, event.at)
        row.count += 1
        row.required = row.required or any("ACCOUNT" in item.obligations for item in items)
        row.custodians |= {names.organization(item.custodian) for item in items if item.custodian}
        row.kinds |= _kinds(items, looker)


def _kinds(items: Iterable[DisclosureRecord], looker: Looker) -> set[str]:
    """What was disclosed in a word each; `demographics` is name and contact data. "" for what is not to be named yet."""
    return {
        "demographics" if item.what in {"demographics", "query"}
        else "" if item.document_id in looker.withheld
        else item.type_display or item.title
        for item in items
    }  # fmt: skip
