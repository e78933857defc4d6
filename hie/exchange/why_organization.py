"""Why an organization cannot ask or send: its standing, agreement, keys, certificates and endpoints, and what it was refused for.

Nothing of a patient is told: of the log only kinds, rules and reasons are counted.

Source: spec/consent.md 4 and 6 (G1 to G7); SMART App Launch 2, backend services.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db.models import Q

from consent import explain
from hie.audit.kinds import SHAPES, EventType
from hie.audit.models import AuditEvent
from hie.directory import queries as directory
from hie.directory.models import Agreement, Certificate, DirectoryChange, Endpoint, Participant, Standing
from hie.exchange.why import Step, Why, bad, good, note
from hie.standards.facts import ParticipantFacts

LOOKED_BACK = timedelta(days=7)
EXPIRES_SOON = timedelta(days=30)
_COUNTED = 1000
_REASONS: Mapping[str, str] = {
    "G1": "the request was incomplete", "G2": "it did not take part then", "G3": "the organization it asked for did not take part",
    "G4": "its agreement does not allow the purpose", "G5": "the role does not allow it",
    "G6": "it did not say that it treats the patient", "G7": "emergency access without a valid emergency",
}  # fmt: skip


def organization(participant_id: str, now: datetime) -> Why | None:
    """What must hold for it to ask and to send, in the order in which it is asked; None when there is none. 9 statements."""
    with directory.one_reading():
        return _organization(participant_id, now)


def _organization(participant_id: str, now: datetime) -> Why | None:
    held = directory.snapshot()
    facts = held.participant(participant_id)
    row = Participant.objects.filter(pk=participant_id).first()
    if facts is None or row is None:
        return None
    steps = [
        *_standing(held, row),
        *_agreement(held, facts, now),
        _client(held, row, now),
        _certificates(row, now),
        _sends(held, row),
        _endpoints(row),
        _refused(row, now),
    ]
    stopped = next((step for step in steps if step.sign == "bad"), None)
    if stopped is None:
        return Why(heading=f"{facts.name} can ask and send", steps=tuple(steps))
    blocks = any(step.sign == "bad" and step.title in (_STANDING, _AGREEMENT, _PERIOD, _KEYS) for step in steps)
    return Why(heading=f"{facts.name} {'cannot ask now' if blocks else 'can ask, but something is missing'}", steps=tuple(steps))  # fmt: skip


_STANDING, _AGREEMENT, _PERIOD, _KEYS = "It takes part", "Agreement in force", "Agreement’s time", "Keys for its tokens"


def _standing(held: directory.Directory, row: Participant) -> list[Step]:
    out = []
    for facts in held.lineage(row.pk):
        own = Participant.objects.filter(pk=facts.id).values_list("status", flat=True).first()
        if own == Standing.ACTIVE:
            continue
        last = (
            DirectoryChange.objects.filter(participant_id=facts.id, kind=DirectoryChange.Kind.SUSPENDED)
            .order_by("-at", "-pk")
            .first()
        )
        since = f" since {last.at:%-d %B %Y, %H:%M} UTC" if last is not None else ""
        name = "It" if facts.id == row.pk else f"{facts.name}, of which it is part,"
        out.append(bad(_STANDING, f"{name} is {own}{since}.", "Propose to end the suspension: two people decide."))
    return out or [good(_STANDING, "It and all that it is part of are active.")]


def _agreement(held: directory.Directory, facts: ParticipantFacts, now: datetime) -> list[Step]:
    agreement = held.agreement_of(facts.id)
    if agreement is None:
        return [bad(_AGREEMENT, "There is none, of its own or of what it is part of.", "Propose an agreement.")]
    whose = next((one for one in held.lineage(facts.id) if one.agreement is not None), facts)
    newest = Agreement.objects.filter(participant=whose.id).order_by("-version").first()
    name = "its own" if whose.id == facts.id else f"that of {whose.name}"
    version = f", version {newest.version}" if newest is not None else ""
    if agreement.status != Standing.ACTIVE:
        return [bad(_AGREEMENT, f"It is {name}{version}, and {agreement.status}.", "Propose an agreement.")]
    steps = [good(_AGREEMENT, f"It is {name}{version}.")]
    span = f"from {agreement.start or 'the beginning'} to {agreement.end or 'no end'}"
    if facts.status == Standing.ACTIVE and not held.is_active(facts.id, now):
        steps.append(bad(_PERIOD, f"It runs {span}: not today.", "Propose an agreement with a new period."))
    else:
        steps.append(good(_PERIOD, f"It runs {span}."))
    purposes = ", ".join(sorted(explain.purpose_words(one) for one in agreement.purposes))
    steps.append(
        note("Purposes it may ask for", f"{purposes[:1].upper()}{purposes[1:]}. For any other it is refused.")
        if purposes
        else bad("Purposes it may ask for", "None: whatever it asks is refused.", "Propose an agreement with purposes.")
    )
    return steps


def _client(held: directory.Directory, row: Participant, now: datetime) -> Step:
    if row.jwks_url:
        return note(_KEYS, f"They are fetched from {row.jwks_url}. Whether they can be is seen by its self-test.")
    client = held.clients.get(row.client_id)
    keys = client.keys if client is not None else ()
    valid = [key for key in keys if (key.not_before is None or key.not_before <= now) and (key.expires is None or key.expires > now)]  # fmt: skip
    if not keys:
        return bad(_KEYS, "None is registered, so it gets no token.", "Have it send its public keys.")
    if not valid:
        return bad(_KEYS, f"All {len(keys)} have expired, or do not hold yet.", "Have it send a new public key.")
    ends = min((key.expires for key in valid if key.expires is not None), default=None)
    until = f" The first ends on {ends:%-d %B %Y}." if ends is not None else ""
    scopes = f" It may have the scopes {', '.join(row.scopes)}." if row.scopes else " It has no scopes, so no token lets it do anything."  # fmt: skip
    if not row.scopes:
        return bad(_KEYS, f"{len(valid)} of {len(keys)} hold now.{until}{scopes}", "Register the scopes it needs.")
    return good(_KEYS, f"{len(valid)} of {len(keys)} hold now.{until}{scopes}")


def _certificates(row: Participant, now: datetime) -> Step:
    title = "Certificates for its connections"
    ends = list(Certificate.objects.filter(participant=row.pk).values_list("expires", flat=True))
    if not ends:
        return note(title, "None is registered: it is known by its token, or by MSH-3 and MSH-4.")
    living = [end for end in ends if end is None or end > now]
    if not living:
        return bad(title, f"All {len(ends)} have expired.", "Have it send a new certificate.")
    first = min((end for end in living if end is not None), default=None)
    return good(
        title, f"{len(living)} of {len(ends)} hold now{f', the first until {first:%-d %B %Y}' if first else ''}."
    )


def _sends(held: directory.Directory, row: Participant) -> Step:
    title = "What it may send"
    parts = [f"numbers of patients in {oid}" for oid, owner in sorted(held.authorities.items()) if owner == row.pk]
    if row.hl7v2_application:
        parts.append(f"HL7 v2 messages as {row.hl7v2_application}|{row.hl7v2_facility}")
    if not parts:
        return note(title, "It has no domain of numbers and no HL7 v2 sender of its own: it feeds no patients.")
    return note(title, f"{'; '.join(parts).capitalize()}.")


def _endpoints(row: Participant) -> Step:
    title = "Where it can be asked"
    kinds = Counter(Endpoint.objects.filter(participant=row.pk).values_list("kind", flat=True))
    if not kinds:
        return note(title, "Nowhere: no endpoint is registered, so no question goes to it. It can ask all the same.")
    return note(title, f"{', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))}.")


def _refused(row: Participant, now: datetime) -> Step:
    """What it was refused for lately, by rule or reason; the newest `_COUNTED`."""
    title = f"Refused in the last {LOOKED_BACK.days} days"
    mine = Q(organization=row.pk)
    found = (
        AuditEvent.objects.filter(mine, at__gte=now - LOOKED_BACK, outcome__in=(4, 8, 12))
        .order_by("-at")
        .values_list("kind", "rule", "reason", "at")[:_COUNTED]
    )
    counted: Counter[str] = Counter()
    last: datetime | None = None
    for kind, rule, reason, at in found:
        last = last or at
        words = _REASONS.get(rule) or (reason or "no reason was kept").replace("-", " ")
        counted[f"{_title(kind)}: {words}"] += 1
    if last is None:
        return good(title, "Nothing.")
    shown = "; ".join(f"{n} × {words}" for words, n in counted.most_common(5))
    more = len(counted) - 5
    return note(title, f"{shown}{f'; and {more} more kinds' if more > 0 else ''}. The last on {last:%-d %B %Y, %H:%M} UTC.")  # fmt: skip


def _title(kind: str) -> str:
    try:
        return SHAPES[EventType(kind)].title
    except ValueError:
        return kind
