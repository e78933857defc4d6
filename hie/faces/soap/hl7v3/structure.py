"""Which elements a message of the patient identity feed has, and how often: what is not so is named by its place. Pure.

HL7's schemas may not be passed on, so the cardinalities of the elements that the feed rests on stand here. What a message
has besides is passed over, and an element may say by a nullFlavor that there is nothing to say.

Source: HL7 V3 NE2008, MCCI_MT000100UV01, MFMI_MT700701UV01, PRPA_MT201301UV02 to 303; ITI TF-2 3.44.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from hie.faces.soap.hl7v3 import names
from hie.faces.soap.hl7v3.problems import Refused

ACT = "controlActProcess"
EVENT = f"{ACT}/subject/registrationEvent"
PATIENT = f"{EVENT}/subject1/patient"
PERSON = f"{PATIENT}/patientPerson"
_PRIOR = f"{EVENT}/replacementOf/priorRegistration"


@dataclass(frozen=True, slots=True)
class _Children:
    """Children of each element at `parent`: `one` once, `some` at least once, `at_most` once or not at all.

    HL7 asks for those of `usual` too, of which nothing rests here: senders leave them out, and are told so.
    """

    parent: str
    one: tuple[str, ...] = ()
    some: tuple[str, ...] = ()
    at_most: tuple[str, ...] = ()
    usual: tuple[str, ...] = ()


_COMMON = (
    _Children(
        "",
        one=("id", "creationTime", "sender", ACT),
        at_most=("interactionId", "processingCode", "processingModeCode", "acceptAckCode"),
        usual=("interactionId", "processingCode", "processingModeCode", "acceptAckCode", "receiver"),
    ),
    _Children("receiver", at_most=("device",), usual=("device",)),
    _Children("receiver/device", usual=("id",)),
    _Children("sender", one=("device",)),
    _Children("sender/device", some=("id",)),
    # HL7 lets one act have several subjects; the profile speaks of one patient in a message.
    _Children(ACT, one=("subject",), at_most=("effectiveTime",)),
    _Children(f"{ACT}/subject", one=("registrationEvent",)),
    _Children(
        EVENT,
        one=("subject1",),
        at_most=("statusCode", "custodian", "effectiveTime", "author"),
        usual=("statusCode", "custodian"),
    ),
    _Children(f"{EVENT}/subject1", one=("patient",)),
    _Children(
        PATIENT,
        one=("patientPerson",),
        some=("id",),
        at_most=("statusCode", "veryImportantPersonCode", "providerOrganization"),
        usual=("statusCode",),
    ),
    _Children(
        PERSON,
        at_most=(
            "administrativeGenderCode", "birthTime", "deceasedInd", "deceasedTime", "multipleBirthInd",
            "multipleBirthOrderNumber", "maritalStatusCode", "birthPlace",
        ),
        usual=("name",),
    ),
    _Children(f"{EVENT}/custodian", at_most=("assignedEntity",), usual=("assignedEntity",)),
)  # fmt: skip
_OF_ADDED = (_Children(PATIENT, usual=("providerOrganization",)),)
_OF_RESOLVED = (
    _Children(f"{EVENT}/replacementOf", one=("priorRegistration",)),
    _Children(_PRIOR, one=("subject1",)),
    _Children(f"{_PRIOR}/subject1", one=("priorRegisteredRole",)),
    _Children(f"{_PRIOR}/subject1/priorRegisteredRole", some=("id",)),
)
_MORE = {names.ADDED: _OF_ADDED, names.RESOLVED: _OF_RESOLVED}


def problems(root: etree._Element) -> Iterator[Refused]:
    """What a message lacks, or has too often; of one that stands too often nothing is said of what is in it.

    What is wrong with the transmission rejects the message; what is wrong with the registration is an error in it.
    """
    doubled: list[str] = []
    for rule in (*_COMMON, *_MORE.get(etree.QName(root).localname, ())):
        if any(f"{rule.parent}/".startswith(one) for one in doubled):
            continue
        for parent in [root] if not rule.parent else root.iterfind(names.path(rule.parent)):
            if parent.get("nullFlavor") and not f"{PATIENT}/".startswith(f"{rule.parent}/"):
                continue
            for name in (*rule.one, *rule.some):
                if parent.find(names.tag(name)) is None:
                    yield _refused(f"{name} is missing", "SYN101", rule.parent, name)
            for name in (*rule.one, *rule.at_most):
                if len(parent.findall(names.tag(name))) > 1:
                    doubled.append(f"{rule.parent}/{name}/".lstrip("/"))
                    yield _refused(f"{name} stands here more than once", "SYN110", rule.parent, name)


def remarks(root: etree._Element) -> Iterator[Refused]:
    """What HL7 asks for and a message that is taken does not have."""
    for rule in (*_COMMON, *_MORE.get(etree.QName(root).localname, ())):
        for parent in [root] if not rule.parent else root.iterfind(names.path(rule.parent)):
            for name in () if parent.get("nullFlavor") else rule.usual:
                if parent.find(names.tag(name)) is None:
                    yield _refused(f"{name} is missing", "SYN101", rule.parent, name)


def _refused(text: str, code: str, parent: str, name: str) -> Refused:
    location = f"{parent}/{name}" if parent else name
    return Refused(text, code=code, location=location, reject=not location.startswith(f"{ACT}/"))
