"""Patient Demographics Query [ITI-21] and PIX Query [ITI-9]: from QBP to RSP, through the door.

A message states neither role nor purpose; those of the sender's registration count, and without them nothing is
answered. A patient whom the sender may not know is absent, in every count. A demographics answer that is longer than
RCP-2 is continued: DSC-1 is bound to the sender and to the question, and holds no state here.

Source: IHE ITI TF-2 3.9.4.2, 3.21.4.2; spec/consent.md 8.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace

from django.core import signing

from hie.audit.kinds import EventType
from hie.directory import queries as directory
from hie.exchange import identity
from hie.exchange.errors import (
    AccessRefused,
    UnknownSourceDomain,
    UnknownSourceIdentifier,
    UnknownTargetDomain,
    Unsettled,
)
from hie.faces.hl7v2 import acks, er7, pid, qbp
from hie.faces.hl7v2.adt import Cx
from hie.faces.hl7v2.er7 import MessageRefused
from hie.standards.demographics import IdentifierMatch, system_of
from hie.standards.facts import Caller
from hie.trust.errors import TooManyRequests

POINTER_LIVES_S = 3600
_SALT = "hie.faces.hl7v2.continuation"
OID = re.compile(r"[0-2](\.(0|[1-9]\d*))+\Z")


def answer(message: er7.Message, raw: bytes, caller: Caller) -> bytes:
    """The RSP of a query.

    Raises:
        MessageRefused: an unknown domain or identifier (AE `204`), or a field that cannot be used.
    """
    try:
        if message.event == qbp.CROSS_REFERENCE:
            return _cross_reference(message, raw, caller)
        return _demographics(message, raw, caller)
    except AccessRefused as problem:
        raise MessageRefused(str(problem), code="204", location=("MSH", 1, 3)) from problem
    except (TooManyRequests, Unsettled) as problem:
        raise MessageRefused(str(problem), code="207", location=("MSH", 1, 3), reject=False) from problem


def _cross_reference(message: er7.Message, raw: bytes, caller: Caller) -> bytes:
    question, named = qbp.cross_reference(message)
    identity.may_ask(caller)
    targets = _domains(question.domains)
    domain = domain_of(named, caller)
    place = ("QPD", 1, 3, 1)
    if domain is None:
        raise MessageRefused("the domain of QPD-3 is not known", code="204", location=(*place, 4), reject=False)
    try:
        found = identity.cross_reference(
            system_of(domain),
            named.value,
            caller,
            targets=[system_of(target) for target in targets],
            raw_query=raw,
            kind=EventType.CROSS_REFERENCE_V2,
        )
    except UnknownSourceDomain as problem:
        text = "the domain of QPD-3 is not known"
        raise MessageRefused(text, code="204", location=(*place, 4), reject=False) from problem
    except UnknownSourceIdentifier as problem:
        text = "the identifier of QPD-3 is not known"
        raise MessageRefused(text, code="204", location=(*place, 1), reject=False) from problem
    if not found.identifiers:
        return acks.response(message, hits=0)
    return acks.response(message, hits=1, bodies=[pid.cross_referenced(found.identifiers)])


def _demographics(message: er7.Message, raw: bytes, caller: Caller) -> bytes:
    asked = qbp.demographics(message)
    identity.may_ask(caller)
    question = asked.question
    targets = _domains(question.domains)
    query = asked.query
    if asked.named is not None:
        query = replace(query, identifiers=(*query.identifiers, (_named(asked.named, caller),)))
    bound = _digest(message, caller)
    after, shown = _position(question.pointer, bound)
    count = question.quantity or qbp.MAX_QUANTITY
    try:
        found = identity.find_patients(
            query,
            caller,
            domains=[system_of(target) for target in targets],
            after=(after,) if after else (),
            count=count,
            raw_query=raw,
            kind=EventType.PATIENT_QUERY_V2,
        )
    except UnknownTargetDomain as problem:
        text = "a domain of QPD-8 is not known"
        raise MessageRefused(text, code="204", location=("QPD", 1, 8), reject=False) from problem
    bodies = [pid.described(patient.demographics, set_id=n) for n, patient in enumerate(found.patients, start=1)]
    pointer, remaining = "", 0
    if found.more and found.patients:
        done = shown + len(bodies)
        pointer = signing.dumps([str(found.patients[-1].person_id), done, bound], salt=_SALT)
        remaining = max(found.total - done, 1)
    return acks.response(message, hits=found.total, bodies=bodies, remaining=remaining, pointer=pointer)


def _named(cx: Cx, caller: Caller) -> IdentifierMatch:
    """What PID-3 asks for: a value in a domain, any value of a domain, or a value in whatever domain."""
    if not (cx.namespace or cx.universal_id):
        return IdentifierMatch(system=None, value=cx.value)
    domain = domain_of(cx, caller)
    # Of a domain that nobody has, nobody has an identifier.
    return IdentifierMatch(system=system_of(domain) if domain else f"urn:x-unknown:{cx.namespace}", value=cx.value)


def _domains(asked: Sequence[Cx]) -> list[str]:
    """The domains asked for; each has an issuer.

    Raises:
        MessageRefused: naming the first repetition that has none.
    """
    for cx in asked:
        if not OID.match(cx.universal_id) or directory.authority_owner(cx.universal_id) is None:
            field = cx.location[2]
            place = ("QPD", 1, field, cx.location[3])
            raise MessageRefused(f"a domain of QPD-{field} is not known", code="204", location=place, reject=False)
    return [cx.universal_id for cx in asked]


def domain_of(cx: Cx, caller: Caller) -> str | None:
    """The domain a query means: the OID it names; by a local name or none, the asker's own, as in what it feeds."""
    if OID.match(cx.universal_id):
        return cx.universal_id
    if cx.universal_id:
        return None
    facts = directory.participant(caller.participant_id)
    return facts.assigning_authority if facts is not None else None


def _digest(message: er7.Message, caller: Caller) -> str:
    qpd = message.first("QPD")
    text = f"{caller.participant_id}|{er7.encode(qpd) if qpd is not None else ''}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _position(pointer: str, bound: str) -> tuple[str, int]:
    """Where an answer goes on: the person after whom, and how many were given.

    Raises:
        MessageRefused: the pointer is not one that this sender got for this question within the last hour.
    """
    if not pointer:
        return "", 0
    try:
        after, shown, of = signing.loads(pointer, salt=_SALT, max_age=POINTER_LIVES_S)
    except (signing.BadSignature, ValueError, TypeError) as problem:
        text = "DSC-1 is no continuation of this question, or too old"
        raise MessageRefused(text, code="204", location=("DSC", 1, 1), reject=False) from problem
    if of != bound:
        text = "DSC-1 is no continuation of this question, or too old"
        raise MessageRefused(text, code="204", location=("DSC", 1, 1), reject=False)
    return str(after), int(shown)
