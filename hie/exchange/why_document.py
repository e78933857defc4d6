"""Why a document does not show to somebody, rule by rule; and why one is not there at all, by what was refused.

For the hub's own staff, with a reason; each patient concerned finds the look in the log.

Source: spec/consent.md 6 and 14; spec/xds.md 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from consent import explain, policies
from documents import queries as registry
from documents.metadata import Status
from documents.queries import EntryRow
from hie.audit.kinds import SHAPES, EventType
from hie.audit.models import AuditEvent
from hie.directory import queries as directory
from hie.exchange import access, askers
from hie.exchange.access import Held, Staff
from hie.exchange.askers import Asker
from hie.exchange.errors import BadRequest, NotFound
from hie.exchange.why import Step, Why, bad, good, note, sentence
from patients import identifiers

LOOKED_BACK = timedelta(days=31)
_READ = 5000
_SHOWN = 10
_SUBMITTING = (
    EventType.PROVIDE_DOCUMENT_BUNDLE, EventType.PROVIDE_AND_REGISTER, EventType.REGISTER_DOCUMENTS, EventType.REGISTER_ON_DEMAND,
)  # fmt: skip


def choices() -> tuple[list[tuple[str, str]], list[tuple[str, str]], list[str]]:
    """What an asker may be: organizations by name, purposes in words, roles."""
    tables = policies.current().tables
    organizations = sorted((facts.name or key, key) for key, facts in directory.participants().items())
    purposes = sorted((explain.purpose_words(one), one) for one in tables.families)
    return [(key, name) for name, key in organizations], [(code, words) for words, code in purposes], sorted(tables.roles)  # fmt: skip


def not_shown(document_id: str, staff: Staff, *, organization: str, purpose: str, role: str, reason: str) -> Why:
    """Whether this document would be shown to somebody of this organization now, and by which rule; tried, not released.

    Assumed are, as where all askers are listed, a treatment relationship and for an emergency a valid grant.

    Raises:
        NotFound: no such document. BadRequest: no reason, or an asker that cannot be.
        AccessRefused: no role of theirs may look at documents and choices.
    """
    row = registry.entry(document_id)
    if row is None:
        raise NotFound("no such document")
    tables = policies.current().tables
    facts = directory.participant(organization)
    for element, known in (("organization", facts is not None), ("purpose", purpose in tables.families), ("role", role in tables.roles)):  # fmt: skip
        if not known:
            raise BadRequest(f"choose the {element}", element=element)
    person_id = identifiers.person_of_pk(row.identifier_pk)
    detail = {"why not shown": registry.bare_uuid(row.entry_uuid), "to": organization, "purpose": purpose, "role": role}
    access.administrative_decisions(staff, [person_id], reason=reason, detail=detail)
    about = access.subject(person_id)
    world = access.as_it_is(about)
    document = row.facts(about.person_id, about.identifier_pks)
    asked = [askers.request(about, Asker(organization, purpose, role), world)]
    ((decision,),) = access.tried(world, [asked], [document])
    who = f"{facts.name if facts is not None else organization}, {role}, for {explain.purpose_words(purpose)}"
    verdict = "would be shown" if decision.permitted else "is not shown"
    steps = [*_state(row)]
    for rule in access.traced(world, asked, document):
        if not rule.fired:
            steps.append(note(f"Rule {rule.rule}", sentence(explain.passed(rule.rule) or "It does not apply.")))
            continue
        said = sentence(explain.sentence(decision, explain.Audience.ADMINISTRATOR, {"o2": _name(row.custodian)}))
        basis = ", ".join(f"{item.kind} {item.id}{f' {item.path}' if item.path else ''}" for item in rule.basis)
        found = f"{said}{f' By {basis}.' if basis else ''}"
        steps.append(good(f"Rule {rule.rule} decides", found) if decision.permitted else bad(f"Rule {rule.rule} decides", found))  # fmt: skip
    return Why(heading=f"It {verdict} to {who}", steps=tuple(steps))


def _state(row: EntryRow) -> list[Step]:
    """What of the document itself keeps it from lists, whoever asks."""
    steps = []
    if row.metadata.availability_status != Status.APPROVED:
        steps.append(bad("It is current", "It was replaced or withdrawn: a list shows it only to who asks for such ones too.", "Look at the document that replaced it."))  # fmt: skip
    else:
        steps.append(good("It is current", "It is approved."))
    if row.restricted:
        steps.append(bad("No doubt about it", "It was accepted with doubts and counts as restricted (R) until a steward has looked.", "Look at it among the doubtful documents."))  # fmt: skip
    if not row.labelled:
        steps.append(bad("It is labelled", "Its labels are not set yet: until then it counts as above normal.", "Wait for the labelling, or see why it fails."))  # fmt: skip
    return steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A document with the uniqueId that was looked for: `pk` is its page's."""

    pk: int
    custodian: str
    status: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What is known of a uniqueId: documents that have it, newest first."""

    why: Why
    found: tuple[Registered, ...] = ()


def missing(
    unique_id: str, staff: Staff, *, organization: str = "", reason: str, now: datetime | None = None
) -> Missing:
    """Why a document with this uniqueId is not there: registered after all, or refused, and for what. 8 statements.

    Of refused submissions the newest `_READ` of `LOOKED_BACK` are gone through.

    Raises:
        BadRequest: no uniqueId, or no reason. AccessRefused: no role of theirs may look at documents.
    """
    at = now or timezone.now()
    wanted = unique_id.strip()
    for prefix in ("urn:oid:", "urn:uuid:"):
        wanted = wanted.removeprefix(prefix)
    if not wanted:
        raise BadRequest("write the uniqueId of the document", element="unique")
    rows = registry.entries_by_unique_id(wanted)[:_SHOWN]
    refused = [event for event in _refused(at) if wanted in event.detail.get("submitted", ())]
    people = set(identifiers.persons_of(row.identifier_pk for row in rows).values())
    people |= {event.person_id for event in refused[:_SHOWN] if event.person_id}
    detail = {"why not there": wanted}
    access.administrative(staff, Held.DOCUMENT_METADATA, people, reason=reason, detail=detail)
    steps = [_registered(rows), *_refusals(refused)]
    if organization:
        steps.append(_last(organization))
    heading = "It is registered" if rows else "It was sent, and refused" if refused else "Nothing with this uniqueId came in"  # fmt: skip
    return Missing(
        why=Why(heading=heading, steps=tuple(steps)),
        found=tuple(
            Registered(
                pk=row.pk,
                custodian=_name(row.custodian),
                status=str(row.metadata.availability_status).rpartition(":")[2],
                at=row.registered_at,
            )
            for row in rows
        ),
    )


def _refused(at: datetime) -> list[AuditEvent]:
    """Submissions that were refused lately, newest first. 1 statement."""
    return list(
        AuditEvent.objects.filter(kind__in=_SUBMITTING, outcome__in=(4, 8, 12), at__gte=at - LOOKED_BACK)
        .only("id", "at", "kind", "organization", "organization_name", "reason", "detail", "person_id")
        .order_by("-at", "-id")[:_READ]
    )


def _registered(rows: Sequence[EntryRow]) -> Step:
    title = "Registered"
    if not rows:
        return bad(title, "No document has this uniqueId.")
    first = rows[0]
    return good(title, f"{len(rows)} {'entry has' if len(rows) == 1 else 'entries have'} it, the newest of {first.registered_at:%-d %B %Y, %H:%M} UTC by {_name(first.custodian)}.")  # fmt: skip


def _refusals(found: Sequence[AuditEvent]) -> list[Step]:
    title = "Submissions that were refused"
    if not found:
        return [note(title, f"None with this uniqueId in the last {LOOKED_BACK.days} days. One that could not be read at all left no uniqueId.", "Ask the sender for the time and the reply, then look at the audit events of that time.")]  # fmt: skip
    return [
        bad(
            f"Refused on {event.at:%-d %B %Y, %H:%M:%S} UTC",
            f"{SHAPES[EventType(event.kind)].title}, by {event.organization_name or _name(event.organization)}: "
            + sentence(str(event.detail.get("message") or event.reason.replace("-", " ")))
            + (f" At {event.detail['element']}." if event.detail.get("element") else ""),
            "Have the sender mend what is named, and send it again.",
        )
        for event in found[:_SHOWN]
    ]


def _last(organization: str) -> Step:
    title = "Last submission of this organization"
    last = (
        AuditEvent.objects.filter(organization=organization, kind__in=_SUBMITTING)
        .only("id", "at", "kind", "outcome")
        .order_by("-at")
        .first()
    )
    if last is None:
        return bad(title, f"None from {_name(organization)} is known.", "See whether it can send at all.")
    word = "refused" if last.outcome else "taken in"
    return note(title, f"{SHAPES[EventType(last.kind)].title} on {last.at:%-d %B %Y, %H:%M} UTC, {word}.")


def _name(participant_id: str) -> str:
    facts = directory.participant(participant_id)
    return facts.name if facts is not None and facts.name else participant_id
