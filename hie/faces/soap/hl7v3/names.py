"""Names of HL7 V3 as the patient identity feed writes them, and the parts of its data types that are read. Pure.

Source: ITI TF-2 3.44 and appendix O; HL7 V3 NE2008 (MCCI_MT000100, MFMI_MT700701, PRPA_MT201301, 302, 303).
"""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

HL7 = "urn:hl7-org:v3"
ADDED, REVISED, RESOLVED = "PRPA_IN201301UV02", "PRPA_IN201302UV02", "PRPA_IN201304UV02"
INTERACTIONS = (ADDED, REVISED, RESOLVED)
ACKNOWLEDGEMENT = "MCCI_IN000002UV01"
INTERACTION_IDS = "2.16.840.1.113883.1.6"


def tag(name: str) -> str:
    """The name as lxml writes it."""
    return f"{{{HL7}}}{name}"


def path(names: str) -> str:
    """A path of HL7 names, such as ``subject1/patient``, as lxml finds by it."""
    return "/".join(tag(name) for name in names.split("/"))


def each(element: etree._Element, names: str) -> Iterator[etree._Element]:
    """The elements at a path that say something: no nullFlavor, and not there only to be taken away."""
    for one in element.iterfind(path(names)):
        if not one.get("nullFlavor") and one.get("updateMode") != "D":
            yield one


def first(element: etree._Element | None, names: str) -> etree._Element | None:
    """The first of `each`; None where there is none, or nothing to look in."""
    return next(each(element, names), None) if element is not None else None


def attribute(element: etree._Element | None, names: str, attribute: str) -> str:
    """An attribute of the first element at a path, stripped; "" where it is not said."""
    found = first(element, names)
    return (found.get(attribute) or "").strip() if found is not None else ""


def code(element: etree._Element | None, names: str) -> str:
    """The code at a path."""
    return attribute(element, names, "code")


def text(element: etree._Element | None) -> str:
    """The text of an element with all below it, spaces as one; comments are no text."""
    return " ".join(str(element.xpath("string()")).split()) if element is not None else ""


def boolean(element: etree._Element | None, names: str) -> bool | None:
    """A BL; None where it is not said."""
    return {"true": True, "1": True, "false": False, "0": False}.get(attribute(element, names, "value"))
