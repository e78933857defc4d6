"""A message of the patient identity feed taken apart: whose it is, what it is about, which identifiers. Pure.

Its form is held against the cardinalities of `structure`; what real toolkits add is passed over. What would change who the
patient is and cannot be told for certain is refused: two subjects, a replacement in a message that announces none.

Source: ITI TF-2 3.44.4 and appendix O; HL7 V3 NE2008 (MCCI_MT000100, MFMI_MT700701).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo

from lxml import etree

from hie.faces.soap.hl7v3 import names, person, structure
from hie.faces.soap.hl7v3.names import attribute, each, first, tag
from hie.faces.soap.hl7v3.problems import Malformed, Refused
from hie.standards import hl7_time
from hie.standards.demographics import Demographics

_OTHER = "asOtherIDs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ii:
    """An instance identifier, and where it stood below the registration."""

    root: str
    extension: str = ""
    location: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message: `ids` are those of the patient, `other_ids` what else the person is known by, `priors` whom it replaces.

    `senders` are the identifiers of the device and the organization that sent it.
    """

    interaction: str
    senders: tuple[Ii, ...]
    ids: tuple[Ii, ...]
    other_ids: tuple[Ii, ...]
    demographics: Demographics
    deleted: frozenset[str]
    priors: tuple[Ii, ...] = ()


def message_id(root: etree._Element) -> Ii | None:
    """The identifier of a message, where it has one."""
    found = first(root, "id")
    given = _ii(found, "id") if found is not None else None
    return given if given is not None and given.root else None


def senders(root: etree._Element) -> tuple[Ii, ...]:
    """What the message says of who sent it: its device, then the organization that the device acts for."""
    device = "sender/device"
    found = (*_ids(root, f"{device}/id"), *_ids(root, f"{device}/asAgent/representedOrganization/id"))
    return tuple(one for one in found if one.root)


def read(root: etree._Element) -> Message:
    """What a message of one of the three interactions asks.

    Raises:
        Malformed: an element is missing, or there too often. Refused: it leaves open what it asks.
    """
    interaction = etree.QName(root).localname
    if wrong := list(structure.problems(root)):
        raise Malformed(wrong)
    if message_id(root) is None:
        raise Refused("the message has no id", code="SYN101", location="id", reject=True)
    said = attribute(root, "interactionId", "extension")
    if said not in ("", interaction):
        raise Refused("interactionId is not that of the message", code="NS200", location="interactionId", reject=True)
    sending = senders(root)
    if not sending:
        raise Refused("the sending device has no id", code="SYN101", location="sender/device/id", reject=True)
    event = root.find(names.path(structure.EVENT))
    patient = root.find(names.path(structure.PATIENT))
    ids = tuple(one for one in _ids(patient, "id") if one.root and one.extension)
    if not ids:
        raise Refused("the patient has no id of root and extension", code="SYN101", location="patient/id")
    found = first(patient, person.PERSON)
    others = _ids(found, f"{_OTHER}/id") if found is not None else ()
    return Message(
        interaction=interaction,
        senders=sending,
        ids=ids,
        other_ids=tuple(one for one in others if one.root and one.extension),
        demographics=person.demographics(patient),
        deleted=person.deleted(patient),
        priors=_priors(event, interaction),
    )


def _priors(event: etree._Element, interaction: str) -> tuple[Ii, ...]:
    location = "priorRegisteredRole/id"
    replaced = list(event.iterfind(tag("replacementOf")))
    if interaction != names.RESOLVED:
        if replaced:
            raise Refused(f"a replacement is told in {names.RESOLVED}", code="NS200", location="replacementOf")
        return ()
    found: list[Ii] = []
    for one in replaced:
        ids = [ii for ii in _ids(one, "priorRegistration/subject1/priorRegisteredRole/id") if ii.root and ii.extension]
        if not ids:
            raise Refused("a replaced registration names no patient", code="SYN101", location=location)
        found += ids
    if not found:
        raise Refused("no registration is said to be replaced", code="SYN101", location="replacementOf")
    return tuple(found)


def _ids(element: etree._Element, where: str) -> Iterator[Ii]:
    location = "/".join(where.split("/")[-2:]) if "/" in where else f"{etree.QName(element).localname}/{where}"
    for one in each(element, where):
        yield _ii(one, location)


def _ii(element: etree._Element, location: str) -> Ii:
    root, extension = ((element.get(name) or "").strip() for name in ("root", "extension"))
    return Ii(root=root.removeprefix("urn:oid:"), extension=extension, location=location)


def said(root: etree._Element, *, zone: Callable[[], tzinfo]) -> hl7_time.Span | None:
    """The time of the message, its creationTime; None where it is not said to the minute. `zone` as in `entered_at`."""
    return hl7_time.span(attribute(root, "creationTime", "value"), zone=zone)


def entered_at(root: etree._Element, *, zone: Callable[[], tzinfo]) -> datetime | None:
    """When the sender's system was told: the time of the control act, else of the registration, else of the message.

    None where none says it to the minute. A time without an offset is one of `zone`, the sender's, asked only then.
    """
    act = first(root, "controlActProcess")
    event = first(root, structure.EVENT)
    times = (
        attribute(act, "effectiveTime", "value"),
        attribute(act, "effectiveTime/low", "value"),
        attribute(event, "effectiveTime", "value"),
        attribute(event, "author/time", "value"),
        attribute(root, "creationTime", "value"),
    )
    return next((found for one in times if (found := hl7_time.moment(one, zone=zone)) is not None), None)
