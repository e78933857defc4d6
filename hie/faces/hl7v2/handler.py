"""What the hub does with one HL7 v2 message: from bytes to use case to acknowledgement.

Which domain an identifier of PID-3 or MRG-1 belongs to:

1. PID-3.4.2 is an OID that somebody is registered for: his. The sender's own (or of an organization below it), or
   the message is rejected.
2. An OID of type ISO that nobody is registered for: an identifier like any other (a state's, a payer's), kept as evidence.
3. Only a local name (PID-3.4.1), another kind of universal id, or nothing: the sender's own assigning authority, unless
   another repetition names one of the sender's domains by OID. Several local names: that of the first.
4. Types that a hospital does not issue (SS, DL, NI …): evidence.

At least one identifier must fall in a domain of the sender. Source: IHE ITI TF-2 3.8, 3.64; spec/mpi.md 4; design.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from hie.audit.kinds import EventType
from hie.directory import queries as directory
from hie.exchange import feed, feed_changes, inbox
from hie.exchange.devices import device
from hie.exchange.errors import AccessRefused, AuthorityNotOwned, NotFound
from hie.exchange.feed_changes import Whose
from hie.exchange.self_test import Check
from hie.faces.hl7v2 import acks, adt, er7, qbp, questions, rehearsal, senders
from hie.faces.hl7v2.er7 import MessageRefused
from hie.standards.demographics import Identifier, system_of
from hie.standards.errors import HubError, MalformedContent
from hie.standards.facts import Caller

PROTOCOL = "hl7v2"


class Hl7v2Handler:
    """The handler this face registers with the inbox."""

    def handle(self, raw: bytes, *, envelope: inbox.Envelope, message_id: UUID) -> inbox.Handled:
        """Do what the message asks and acknowledge it. Refusals are answered, not raised."""
        try:
            message = er7.parse(raw)
        except MalformedContent as problem:
            return _refused(er7.header(raw), problem, None)
        caller: Caller | None = None
        try:
            caller = sender(message, envelope)
            senders.check_header(message)
            if self.asks(message.kind):
                reply = questions.answer(message, raw, caller)
                return inbox.Handled(accepted=True, reply=reply, keep_reply=False, caller=caller)
            warnings, fed = _act(message, raw, caller)
        except HubError as problem:
            return _refused(message, problem, caller)
        return inbox.Handled(
            accepted=True, reply=acks.accept(message, warnings), caller=caller, fed=tuple(fed),
            entered_at=adt.entered_at(message, zone=lambda: feed_changes.zone(caller)),
        )  # fmt: skip

    def asks(self, kind: str) -> bool:
        """Queries: what they were answered is decided anew for each, and none is replayed."""
        return kind in {f"QBP^{event}" for event in qbp.QUESTIONS}

    def failed(self, raw: bytes, *, incident: str) -> bytes:
        """AE 207 with the incident number."""
        return acks.failure(er7.header(raw), incident)

    def subjects(self, raw: bytes, *, envelope: inbox.Envelope) -> tuple[tuple[str, str], ...]:
        """The identifiers of PID-3, MRG-1 and PID-2 in the sender's domains."""
        try:
            message = er7.parse(raw)
            changes = _changes(message, sender(message, envelope)) if message.event in adt.EVENTS else []
        except HubError:
            return ()
        return tuple(dict.fromkeys(key for change in changes for key in feed.named_by(change)))

    def checks(self, raw: bytes, *, envelope: inbox.Envelope) -> Iterable[Check]:
        """As a self-test reads it, for the organization that it is from."""
        header = er7.header(raw)
        return rehearsal.rehearse(raw, senders.candidate(header.header) if header is not None else None)


def envelope_of(raw: bytes, *, participant_id: str = "", network_address: str = "") -> inbox.Envelope:
    """What the inbox notes of a message; `participant_id` is the owner of the TLS client certificate."""
    message = er7.header(raw)
    if message is None:
        return inbox.Envelope(protocol=PROTOCOL, participant_id=participant_id, network_address=network_address)
    return inbox.Envelope(
        protocol=PROTOCOL,
        sender=f"{message.header.text(3)}|{message.header.text(4)}"[:512],
        participant_id=participant_id,
        control_id=message.control_id[:512],
        kind=message.kind[:64],
        network_address=network_address,
    )


def sender(message: er7.Message, envelope: inbox.Envelope) -> Caller:
    """The participant that MSH-3 and MSH-4 name, which must be the certificate's where there is one.

    Raises:
        MessageRefused: nobody is registered as this sender, or another than the certificate says.
    """
    found = senders.registered(message.header)
    if found is None:
        raise MessageRefused("MSH-3 and MSH-4 name no known sender", code="204", location=("MSH", 1, 3))
    if envelope.participant_id and not directory.within(found.id, envelope.participant_id):
        raise MessageRefused(
            "MSH-3 and MSH-4 are not the sender that the certificate names", code="204", location=("MSH", 1, 3)
        )
    return device(found, face=PROTOCOL, network_address=envelope.network_address, request_id=message.control_id[:255])


def _act(message: er7.Message, raw: bytes, caller: Caller) -> tuple[Sequence[HubError], Sequence[feed.Fed]]:
    if message.kind == qbp.CANCEL:
        return [], []  # no answer is kept for its continuation: there is nothing to give up
    if message.type_code not in ("ADT", "QBP", "QCN"):
        raise MessageRefused("the message type is not supported", code="200", location=("MSH", 1, 9, 1, 1))
    if message.type_code != "ADT" or message.event not in adt.EVENTS:
        raise MessageRefused("the event is not supported", code="201", location=("MSH", 1, 9, 1, 2))
    try:
        fed = feed.apply(
            _changes(message, caller), caller, raw=raw, source=PROTOCOL, kind=EventType.PATIENT_FEED_V2,
            said=adt.said(message, zone=lambda: feed_changes.zone(caller)),
        )  # fmt: skip
    except AuthorityNotOwned as problem:
        raise MessageRefused(str(problem), code="204", location=("PID", 1, 3)) from problem
    except AccessRefused as problem:
        raise MessageRefused(str(problem), code="204", location=("MSH", 1, 3)) from problem
    except NotFound as problem:
        segment, _, number = (problem.element or "PID-3").partition("-")
        place = (segment, 1, int(number))
        raise MessageRefused(str(problem), code="204", location=place, reject=False) from problem
    if any(one.outcome == "quarantined" for one in fed):
        note = "the patient of PID-3 looks like another person than before; kept aside until somebody has looked"
        return [MessageRefused(note, code="205", location=("PID", 1, 3))], fed
    if any(one.outcome == "outdated" for one in fed):
        note = "newer news of this patient was taken in before; of this message what is older changed nothing"
        return [MessageRefused(note, code="0", location=("MSH", 1, 7))], fed
    return [], fed


def _changes(message: er7.Message, caller: Caller) -> list[feed.Change]:
    if message.event in adt.REGISTERING:
        return [_revision(adt.patient(message), caller)]
    if message.event in adt.LINKING | adt.UNLINKING:
        return _linked(*adt.pair(message), caller, apart=message.event in adt.UNLINKING)
    act = _renamed if message.event in adt.RENAMING else _moved if message.event in adt.MOVING else _duplicates
    return [change for pair in adt.merges(message) for change in act(pair, caller)]


def _revision(
    patient: adt.Patient, caller: Caller, *, only_new: bool = False, named: tuple[str, str] | None = None
) -> feed.Revision:
    """The record of the patient's first own identifier, or of `named`, as the PID says it."""
    own, others = domains(patient.identifiers, caller)
    identifiers = (
        *(Identifier(system=system_of(a), value=v, type=_type(patient, v)) for a, v in own),
        *others,
        *patient.demographics.identifiers,
    )
    return feed_changes.revision(
        named or own[0], patient.demographics, identifiers, element="PID-3", deleted=patient.deleted, only_new=only_new
    )


def _type(patient: adt.Patient, value: str) -> str:
    return next((cx.type for cx in patient.identifiers if cx.value == value), "")


def _duplicates(pair: adt.Merge, caller: Caller) -> list[feed.Change]:
    survivors, _ = domains(pair.patient.identifiers, caller)
    priors, _ = domains(pair.prior, caller)
    return feed_changes.duplicates(_revision(pair.patient, caller), survivors, priors, element="MRG-1")


def _linked(first: adt.Patient, second: adt.Patient, caller: Caller, *, apart: bool) -> list[feed.Change]:
    """A24 and A37: the two patients are one person, or are not. A link makes known whom the hub did not know."""
    named = [domains(patient.identifiers, caller)[0][0] for patient in (first, second)]
    made: list[feed.Change] = [] if apart else [_revision(one, caller, only_new=True) for one in (first, second)]
    return [*made, feed.Linking(first=named[0], second=named[1], apart=apart)]


def _moved(pair: adt.Merge, caller: Caller) -> list[feed.Change]:
    """A43: the records of MRG-1 are the patient's of PID-3, or of PID-2 where PID-3 only repeats them."""
    priors, _ = domains(pair.prior, caller)
    named, _ = domains(pair.patient.identifiers, caller)
    targets = [one for one in named if one not in priors]
    if not targets and pair.patient.external:
        targets = [one for one in domains(pair.patient.external, caller)[0] if one not in priors]
    if not targets:
        place = ("PID", pair.patient.sequence, 3)
        raise MessageRefused("PID-3 names nobody but MRG-1", code="101", location=place, reject=False)
    return [
        _revision(pair.patient, caller, only_new=True, named=targets[0]),
        *(feed.Linking(first=targets[0], second=prior, element="MRG-1") for prior in priors),
    ]


def _renamed(pair: adt.Merge, caller: Caller) -> list[feed.Change]:
    """A47: each identifier of MRG-1 gives way to that of PID-3 in its own domain, or to the first."""
    named, _ = domains(pair.patient.identifiers, caller)
    priors, _ = domains(pair.prior, caller)
    by_domain = dict(reversed(named))
    changes: list[feed.Change] = []
    for prior in priors:
        new = (prior[0], by_domain[prior[0]]) if prior[0] in by_domain else named[0]
        if new != prior:
            revision = _revision(pair.patient, caller, only_new=True, named=new)
            changes.append(feed.Renaming(revision=revision, former=prior))
    return changes or [_revision(pair.patient, caller, only_new=True)]


def domains(found: Sequence[adt.Cx], caller: Caller) -> tuple[list[tuple[str, str]], list[Identifier]]:
    """The identifiers in domains of the sender as (authority, value), and the others worth keeping.

    Raises:
        MessageRefused: an identifier of somebody else's domain, or none of the sender's own.
    """
    named: list[tuple[str, str]] = []
    local: list[adt.Cx] = []
    others: list[Identifier] = []
    for cx in found:
        oid = cx.universal_id if questions.OID.match(cx.universal_id) else ""
        owner = feed_changes.whose(oid, caller)
        if owner is Whose.HUBS:
            continue
        if owner is Whose.ANOTHERS:
            raise MessageRefused(
                f"{cx.location[0]}-{cx.location[2]} holds an identifier of another's domain",
                code="204",
                location=cx.location,
            )
        if owner is Whose.OWN:
            named.append((oid, cx.value))
        elif cx.type in adt.PERSONAL_TYPES:
            system = adt.SSN if cx.type == "SS" else system_of(oid) if oid else ""
            if system:
                others.append(Identifier(system=system, value=cx.value, type=cx.type))
        elif oid and cx.universal_type == "ISO":
            others.append(Identifier(system=system_of(oid), value=cx.value, type=cx.type))
        else:
            local.append(cx)
    if not named and local:
        authority = _own_authority(caller, local[0])
        named = [(authority, cx.value) for cx in local if cx.namespace == local[0].namespace]
    if not named:
        place = found[0].location if found else ("PID", 1, 3)
        raise MessageRefused(
            f"{place[0]}-{place[2]} holds no identifier of a domain of the sender", code="204", location=place[:3]
        )
    return list(dict.fromkeys(named)), others


def _own_authority(caller: Caller, cx: adt.Cx) -> str:
    facts = directory.participant(caller.participant_id)
    if facts is None or not facts.assigning_authority:
        raise MessageRefused("the sender has no assigning authority of its own", code="204", location=cx.location)
    return facts.assigning_authority


def _refused(message: er7.Message | None, problem: HubError, caller: Caller | None) -> inbox.Handled:
    code = problem.code if isinstance(problem, MessageRefused) else "102"
    return inbox.Handled(
        accepted=False,
        reply=acks.refuse(message, [problem]),
        error_code=code,
        error_element=problem.element or "",
        error_text=str(problem),
        caller=caller,
    )
