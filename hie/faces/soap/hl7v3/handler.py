"""What the hub does with one message of the patient identity feed: from XML to use case to acknowledgement.

Which domain an identifier belongs to is said by its root: one of the sender's own names the record; one of another's is
refused; one that nobody is registered for (a state's, a payer's) is kept as evidence. The record is named by the patient's
ids, of which one must be the sender's own; `asOtherIDs` adds to them. The changes are those of ADT: see `feed_changes`.

Who sends is whom the connection proved. A message that names a registered organization as its sender must name that one
or one below it; a device that nobody registered says nothing. A message tried again is its organization's, not the person's.

Source: IHE ITI TF-2 3.44; spec/mpi.md 4; spec/xds.md 10.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID

from lxml import etree

from hie.audit.kinds import EventType
from hie.directory import queries as directory
from hie.exchange import feed, feed_changes, inbox
from hie.exchange.devices import device
from hie.exchange.errors import AccessRefused, AuthorityNotOwned, InvalidFeed, NotFound
from hie.exchange.feed_changes import Name, Whose
from hie.exchange.self_test import Check, failed, passed
from hie.faces.soap import envelope as soap
from hie.faces.soap.hl7v3 import acks, names, reading, structure
from hie.faces.soap.hl7v3.problems import Malformed, Refused
from hie.faces.soap.hl7v3.reading import Ii
from hie.standards import oids
from hie.standards.demographics import Identifier, system_of
from hie.standards.errors import HubError
from hie.standards.facts import Caller
from hie.standards.hl7_time import Span

PROTOCOL = "hl7v3"
SSN = "2.16.840.1.113883.4.1"
_CLAUSE = "ITI TF-2 3.44.4"


class Hl7v3Handler:
    """The handler this face registers with the inbox."""

    def handle(self, raw: bytes, *, envelope: inbox.Envelope, message_id: UUID) -> inbox.Handled:
        """Do what the message asks and acknowledge it. Refusals are answered, not raised."""
        root = _root(raw)
        caller: Caller | None = None
        try:
            caller = _caller(envelope)
            message = reading.read(root)
            _check_sender(message, caller)
            fed = feed.apply(
                _changes(message, caller),
                caller,
                raw=raw,
                source=PROTOCOL,
                kind=EventType.PATIENT_FEED_V3,
                said=_said(root, caller),
            )
        except HubError as problem:
            return _refused(root, _named(problem), caller)
        sender = caller
        return inbox.Handled(
            accepted=True, reply=acks.accept(root, [*_warnings(fed), *structure.remarks(root)]), caller=caller, fed=tuple(fed),
            entered_at=reading.entered_at(root, zone=lambda: feed_changes.zone(sender)),
        )  # fmt: skip

    def asks(self, kind: str) -> bool:
        """A feed asks nothing."""
        return False

    def failed(self, raw: bytes, *, incident: str) -> bytes:
        """CE with the incident number."""
        return acks.failure(_root(raw), incident)

    def subjects(self, raw: bytes, *, envelope: inbox.Envelope) -> tuple[Name, ...]:
        """The identifiers of the patient, and of those whom it replaces, in the sender's domains."""
        try:
            changes = _changes(reading.read(_root(raw)), _caller(envelope))
        except HubError:
            return ()
        return tuple(dict.fromkeys(key for change in changes for key in feed.named_by(change)))

    def checks(self, raw: bytes, *, envelope: inbox.Envelope) -> Iterable[Check]:
        """The checks of one message; the first that fails is the last."""
        return _checks(_root(raw), envelope)


def envelope_of(root: etree._Element, caller: Caller) -> inbox.Envelope:
    """What the inbox notes of a message that the caller sent."""
    message_id, senders = reading.message_id(root), reading.senders(root)
    return inbox.Envelope(
        protocol=PROTOCOL,
        sender=(senders[0].root if senders else "")[:512],
        participant_id=caller.participant_id,
        control_id=_written(message_id)[:512] if message_id is not None else "",
        kind=etree.QName(root).localname,
        network_address=caller.network_address,
        caller=caller,
    )


def _written(given: Ii) -> str:
    return f"{given.root}^{given.extension}" if given.extension else given.root


def _root(raw: bytes) -> etree._Element:
    return soap.parse([raw], size=len(raw))


def _caller(envelope: inbox.Envelope) -> Caller:
    """Who sends: the caller of the connection, or of a message tried again the system of its organization.

    Raises:
        Refused: that organization is not registered any more.
    """
    if envelope.caller is not None:
        return envelope.caller
    found = directory.participant(envelope.participant_id)
    if found is None:
        raise Refused("the sender is not registered", code="NS260", location="sender/device/id", reject=True)
    return device(found, face="soap", network_address=envelope.network_address, request_id=envelope.control_id[:255])


def _check_sender(message: reading.Message, caller: Caller) -> None:
    for one in message.senders:
        facts = directory.participant_by_oid(one.root)
        owner = facts.id if facts is not None else directory.authority_owner(one.root)
        if owner is not None and (owner == directory.HUB or not directory.within(owner, caller.participant_id)):
            raise Refused("the sender is not the caller", code="NS260", location=one.location, reject=True)


def _said(root: etree._Element, caller: Caller) -> Span | None:
    return reading.said(root, zone=lambda: feed_changes.zone(caller))


def _changes(message: reading.Message, caller: Caller) -> list[feed.Change]:
    own, said = _sorted(message.ids, caller)
    more, others = _sorted(message.other_ids, caller)
    if not own:
        text = "the patient has no id of a domain of the sender"
        raise Refused(text, code="KEY204", location="patient/id", reject=True)
    identifiers = [*(Identifier(system=system_of(a), value=v) for a, v in (*own, *more)), *said, *others]
    revision = feed_changes.revision(
        own[0], message.demographics, identifiers, element="patient/id", deleted=message.deleted
    )
    if message.interaction != names.RESOLVED:
        return [revision]
    location = "priorRegisteredRole/id"
    priors, _ = _sorted(message.priors, caller)
    if not priors:
        text = "the replaced registration has no id of a domain of the sender"
        raise Refused(text, code="KEY204", location=location, reject=True)
    return feed_changes.duplicates(revision, own, priors, element=location)


def _sorted(found: Sequence[Ii], caller: Caller) -> tuple[list[Name], list[Identifier]]:
    """The identifiers in domains of the sender, and the others worth keeping.

    Raises:
        Refused: one of another's domain.
    """
    own: list[Name] = []
    others: list[Identifier] = []
    for one in found:
        whose = feed_changes.whose(one.root, caller)
        if whose is Whose.ANOTHERS:
            raise Refused("an id of another's domain", code="KEY204", location=one.location, reject=True)
        if whose is Whose.OWN:
            own.append((one.root, one.extension))
        elif whose is Whose.NOBODYS and oids.is_oid(one.root):
            system = oids.URI_OF_OID.get(one.root, system_of(one.root))
            others.append(Identifier(system=system, value=one.extension, type="SS" if one.root == SSN else ""))
    return list(dict.fromkeys(own)), others


def _named(problem: HubError) -> HubError:
    """A refusal of the feed by its code."""
    element = problem.element or "patient/id"
    if isinstance(problem, AuthorityNotOwned):
        return Refused(str(problem), code="KEY204", location=element, reject=True)
    if isinstance(problem, AccessRefused):
        return Refused(str(problem), code="NS260", location="sender/device/id", reject=True)
    if isinstance(problem, NotFound | InvalidFeed):
        return Refused(str(problem), code="KEY204", location=element)
    return problem


def _warnings(fed: Sequence[feed.Fed]) -> list[HubError]:
    if any(one.outcome == "quarantined" for one in fed):
        note = "the patient looks like another person than before; kept aside until somebody has looked"
        return [Refused(note, code="KEY205", location="patient/id")]
    if any(one.outcome == "outdated" for one in fed):
        note = "a newer message about this patient was taken in before; this one changed nothing"
        return [Refused(note, code="", location="creationTime")]
    return []


def _refused(root: etree._Element, problem: HubError, caller: Caller | None) -> inbox.Handled:
    return inbox.Handled(
        accepted=False,
        reply=acks.refuse(root, problem.problems if isinstance(problem, Malformed) else [problem]),
        error_code=acks.code_of(problem),
        error_element=problem.element or "",
        error_text=str(problem),
        caller=caller,
    )


def _checks(root: etree._Element, envelope: inbox.Envelope) -> Iterator[Check]:
    name = "Message can be read"
    try:
        message = reading.read(root)
        yield passed(name, _CLAUSE, etree.QName(root).localname)
        name = "Sender is the one registered"
        caller = _caller(envelope)
        _check_sender(message, caller)
        yield passed(name, _CLAUSE, "sender/device/id")
        name = "Identifier is of your own domain"
        _changes(message, caller)
        yield passed(name, _CLAUSE, "patient/id")
    except HubError as refused:
        yield failed(name, _CLAUSE, refused.element or "id", found=str(refused), fix="Mend the element that is named")
