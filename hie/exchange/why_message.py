"""Why a message did not arrive: what became of one that is kept, step by step; and of one that never came, what did.

Nothing of a patient is told: steps name segments, fields, codes and organizations. Of what a message says only its handler
reads anything, to say what it lacks.

Source: HL7 v2.5.1 2.14.9 (MSH), table 0357; HL7 V3, AcknowledgementDetailCode; ITI TF-2 3.8, 3.44.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import QuerySet
from django.utils import timezone

from hie.directory import queries as directory
from hie.exchange import inbox
from hie.exchange.errors import BadRequest
from hie.exchange.models import InboundMessage
from hie.exchange.why import Step, Why, bad, good, note, sentence
from hie.standards.errors import HubError
from patients import identifiers

Status = InboundMessage.Status
LONGEST = timedelta(days=92)
"""The longest time that is looked through."""
_COUNTED = 1000
_SHOWN = 10

_ADVICE: Mapping[str, str] = {
    "100": "Have the sender send the segments in the order of the standard.",
    "101": "Have the sender fill the field that is named.",
    "102": "Have the sender write the field that is named as the standard says.",
    "103": "Have the sender use a value of the table, or enter it among the codes.",
    "200": "Nothing here takes this type of message. Have the sender leave it out.",
    "201": "Nothing here takes this event. Have the sender leave it out.",
    "202": "Have the sender write MSH-11 as agreed.",
    "203": "Have the sender send a version 2.",
    "204": "Register what is named with the organization that sends it, or have the sender mend it. Then try it again.",
    "205": "A steward decides whether it is the same patient. See the review queue.",
    "206": "Try it again.",
    "207": "The hub failed. Find the incident in the operators’ log, have it mended, then try it again.",
    # HL7 V3
    "KEY204": "Register what is named with the organization that sends it, or have the sender mend it. Then try it again.",
    "NS200": "Have the sender say the interaction that the message is.",
    "NS260": "Have the sender name itself, or register what it names with its organization. Then try it again.",
    "SYN101": "Have the sender fill the element that is named.",
    "SYN102": "Have the sender write the element that is named as the standard says.",
    "SYN110": "Have the sender send a message for each.",
}


def kept(row: InboundMessage) -> Why:
    """What became of a kept message; its bytes are read by its handler alone."""
    received = good(
        "Received", f"On {row.received_at:%-d %B %Y, %H:%M:%S} UTC, {row.size} bytes{f' from {row.network_address}' if row.network_address else ''}. Kept before it was read."
    )  # fmt: skip
    try:
        handler, raw = inbox.handler_of(row), inbox.opened(row)
    except HubError as problem:
        step = bad("Opened", sentence(str(problem)), "Put the key back under which it was kept.")
        return Why(heading="It came, and cannot be opened any more", steps=(received, step))
    envelope = inbox.envelope_of(row)
    steps = [received, _sender(row)]
    checks = () if row.status == Status.ACCEPTED or handler.asks(row.kind) else handler.checks(raw, envelope=envelope)
    for check in checks:
        place = f"{check.field}: " if check.field else ""
        if check.result == "pass":
            steps.append(good(check.check, f"{check.field}, as {check.clause} says."))
        else:
            steps.append(bad(check.check, f"{place}{sentence(check.found)}", check.fix))
    steps.append(_settled(row))
    if row.status == Status.ACCEPTED and not handler.asks(row.kind):
        steps.append(_known(handler.subjects(raw, envelope=envelope)))
    return Why(heading=_heading(row), steps=tuple(steps))


def _heading(row: InboundMessage) -> str:
    if row.status == Status.RECEIVED:
        return "It came, and nothing has been done with it yet"
    if row.status == Status.ACCEPTED:
        return "It arrived and was accepted"
    return "It came and was refused" if row.status == Status.REFUSED else "It came, and the hub failed on it"


def _sender(row: InboundMessage) -> Step:
    title = "Sender is known"
    facts = directory.participant(row.participant_id)
    if facts is None:
        said = row.sender or "nobody"
        return bad(title, f"It names {said} as sender, and nobody who takes part is registered so.", "Register the sender’s application and facility with its organization.")  # fmt: skip
    if not directory.is_active(facts.id, timezone.now()):
        return bad(title, f"It is {facts.name}, which does not take part now.", "See why the organization cannot ask or send.")  # fmt: skip
    return good(title, f"It is {facts.name}, which takes part.")


def _settled(row: InboundMessage) -> Step:
    title = "Taken in"
    if row.status == Status.RECEIVED:
        return bad(title, "Not yet. The work on it broke off, or is still going on.", "Try it again.")
    tries = f" after {row.attempts} tries" if row.attempts > 1 else ""
    at = f" on {row.settled_at:%-d %B %Y, %H:%M:%S} UTC" if row.settled_at else ""
    if row.status == Status.ACCEPTED:
        return good(title, f"Accepted{at}{tries}.")
    place = f" at {row.error_element}" if row.error_element else ""
    code = f", code {row.error_code}" if row.error_code else ""
    word = "Refused" if row.status == Status.REFUSED else "Failed"
    return bad(title, f"{word}{at}{tries}{place}{code}: {sentence(row.error_text) or 'no reason was kept.'}", _ADVICE.get(row.error_code, "Try it again once the cause is mended."))  # fmt: skip


def _known(subjects: Sequence[tuple[str, str]]) -> Step:
    title = "Its records are there"
    known = identifiers.resolve_many(subjects)
    active = sum(one.active for one in known.values())
    if not subjects:
        return note(title, "It speaks of no record that can be told now.")
    if not known:
        return bad(title, "The records that it speaks of are not known any more.", "See the identity events.")
    if active < len(subjects):
        return note(title, f"{active} of the {len(subjects)} records that it speaks of {'is' if active == 1 else 'are'} in use; the others were replaced or withdrawn since.")  # fmt: skip
    return good(title, f"{'The record' if active == 1 else f'All {active} records'} that it speaks of {'is' if active == 1 else 'are'} in use.")  # fmt: skip


# --- one that is looked for -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What is known of a message that somebody says was sent; `found` are those with its control id, newest first."""

    why: Why
    found: tuple[InboundMessage, ...] = ()


def missing(control_id: str, organization: str, since: datetime, until: datetime) -> Missing:
    """Why a message with this control id from this organization ("": any) is not there, by what came in that time.

    9 statements at most; of a time at most `_COUNTED` messages are counted.

    Raises:
        BadRequest: too little is said, or the time is too long.
    """
    control_id = control_id.strip()
    if not control_id and not organization:
        raise BadRequest("write the control id, or choose the organization", element="control")
    if until <= since:
        raise BadRequest("the time must end after it begins", element="until")
    if until - since > LONGEST:
        raise BadRequest(f"choose at most {LONGEST.days} days", element="since")
    rows = InboundMessage.objects.defer("raw", "reply", "digest")
    found = tuple(rows.filter(control_id=control_id).order_by("-received_at", "pk")[:_SHOWN]) if control_id else ()
    steps: list[Step] = []
    if control_id:
        steps.append(_by_control_id(control_id, organization, found, since, until))
    facts = directory.participant(organization) if organization else None
    if facts is not None:
        steps += [_takes_part(facts.id), _registered(rows, facts.id)]
        steps += _traffic(rows, facts.id, facts.name, since, until)
    steps.append(_strangers(rows, since, until))
    return Missing(why=Why(heading=_missing_heading(control_id, found, steps), steps=tuple(steps)), found=found)


def _missing_heading(control_id: str, found: Sequence[InboundMessage], steps: Sequence[Step]) -> str:
    if found:
        return "It is here" if len(found) == 1 else f"There are {len(found)} with this control id"
    if control_id:
        return "No message with this control id came in"
    return "What came from it in that time" if all(step.sign != "bad" for step in steps) else "Something stands in the way of its messages"  # fmt: skip


def _by_control_id(
    control_id: str, organization: str, found: Sequence[InboundMessage], since: datetime, until: datetime
) -> Step:
    title = f"A message with control id {control_id}"
    if not found:
        return bad(title, "None ever came, from whomever. What cannot be read at all is kept without a control id.", "Ask the sender for the time at which it was sent and for the reply that came.")  # fmt: skip
    theirs = [row for row in found if not organization or row.participant_id == organization]
    within = [row for row in theirs if since <= row.received_at < until]
    if within:
        return good(title, f"{len(within)} came in that time. Open it to see what became of it.")
    if theirs:
        return note(title, f"One came, but on {theirs[0].received_at:%-d %B %Y, %H:%M} UTC.")
    return note(title, f"One came, but from {found[0].sender or 'nobody known'}.")


def _takes_part(participant_id: str) -> Step:
    title = "The organization takes part"
    if directory.is_active(participant_id, timezone.now()):
        return good(title, "It does.")
    return bad(title, "It does not, now: what it sends is refused.", "See why the organization cannot ask or send.")


def _registered(rows: QuerySet[InboundMessage], participant_id: str) -> Step:
    title = "Its sender is registered"
    names = [f"{app}|{facility}" for (app, facility), owner in directory.snapshot().by_sender.items() if owner == participant_id]  # fmt: skip
    if names:
        return good(title, f"Its messages must say {' or '.join(names)} in MSH-3 and MSH-4.")
    if rows.filter(participant_id=participant_id).exclude(protocol="hl7v2").exists():
        return note(title, "No application and facility is registered for it. It sends HL7 V3, as whom its connection proves it to be.")  # fmt: skip
    return bad(title, "No application and facility is registered for it, so no HL7 v2 message is known to be its.", "Register MSH-3 and MSH-4 with the organization.")  # fmt: skip


def _traffic(
    rows: QuerySet[InboundMessage], participant_id: str, name: str, since: datetime, until: datetime
) -> list[Step]:
    theirs = rows.filter(participant_id=participant_id)
    last = theirs.order_by("-received_at").first()
    if last is None:
        return [bad("Messages from it", f"None has ever come from {name}.", "Ask whether it sends to this hub, and whether its connection stands.")]  # fmt: skip
    within = theirs.filter(received_at__gte=since, received_at__lt=until)
    states = Counter(within.order_by("-received_at").values_list("status", flat=True)[: _COUNTED + 1])
    count = sum(states.values())
    said = f"The last one came on {last.received_at:%-d %B %Y, %H:%M} UTC, {last.kind or 'of no kind'}, {last.status}."
    if not count:
        return [bad("Messages from it", f"None came in that time. {said}", "Ask whether it was sent, and whether the connection stood then.")]  # fmt: skip
    many = f"More than {_COUNTED}" if count > _COUNTED else str(count)
    parts = ", ".join(f"{n} {state}" for state, n in sorted(states.items()))
    return [good("Messages from it", f"{many} came in that time: {parts}. {said}")]


def _strangers(rows: QuerySet[InboundMessage], since: datetime, until: datetime) -> Step:
    title = "Messages of nobody known"
    within = rows.filter(participant_id="", received_at__gte=since, received_at__lt=until)
    senders = Counter(within.order_by("-received_at").values_list("sender", flat=True)[: _COUNTED + 1])
    if not senders:
        return good(title, "None came in that time.")
    count = sum(senders.values())
    many = f"More than {_COUNTED}" if count > _COUNTED else str(count)
    named = ", ".join(f"{sender or 'no sender that can be read'} ({n})" for sender, n in senders.most_common(5))
    return note(title, f"{many} came in that time under names that nobody is registered by: {named}.", "If one of these is the sender, register its MSH-3 and MSH-4, then try them again.")  # fmt: skip
