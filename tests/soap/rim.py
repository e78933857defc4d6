"""ebRIM in tests: the schema, samples as ebRIM 3.0, and what an object says, whatever order and ids it says it in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from lxml import etree

from hie.faces.soap.ebxml import names

SHARED = Path(os.environ.get("HIE_SHARED", "../shared"))
SCHEMAS = SHARED / "spec/wsdl/xds/schema-plain"
SAMPLES = SHARED / "data/xds"
OLD = "urn:oasis:names:tc:ebxml-regrep:rim:xsd:2.1"
_SHORT = {
    "HasMember": "urn:oasis:names:tc:ebxml-regrep:AssociationType:HasMember",
    "RPLC": "urn:ihe:iti:2007:AssociationType:RPLC",
    "XFRM": "urn:ihe:iti:2007:AssociationType:XFRM",
    "APND": "urn:ihe:iti:2007:AssociationType:APND",
    "XFRM_RPLC": "urn:ihe:iti:2007:AssociationType:XFRM_RPLC",
    "signs": "urn:ihe:iti:2007:AssociationType:signs",
}
_KINDS = ("ExtrinsicObject", "RegistryPackage", "Association")


@cache
def schema() -> etree.XMLSchema:
    """The schema of requests and answers."""
    return etree.XMLSchema(etree.parse(str(SCHEMAS / "IHE/IHEXDSB.xsd")))


def check_schema(element: etree._Element) -> None:
    """Fail unless the element is valid."""
    copy = etree.fromstring(etree.tostring(element))
    assert schema().validate(copy), schema().error_log


def modern(root: etree._Element) -> etree._Element:
    """The objects of a sample as a RegistryObjectList of ebRIM 3.0: what the test tool's sender does with its raw files."""
    listed = etree.Element(names.tag(names.RIM, "RegistryObjectList"), nsmap=names.NSMAP)
    for element in root.iter():
        if isinstance(element.tag, str) and etree.QName(element).namespace in (OLD, None):
            element.tag = names.tag(names.RIM, etree.QName(element).localname)
    for element in root.iter("{*}Association"):
        kind = element.get("associationType", "")
        element.set("associationType", _SHORT.get(kind, kind))
    kinds = (*_KINDS, "Classification", "ExternalIdentifier")
    holder = root if etree.QName(root).localname.endswith("RegistryObjectList") else None
    for name in ("LeafRegistryObjectList", "RegistryObjectList"):
        holder = holder if holder is not None else next(root.iter(f"{{*}}{name}"), None)
    for element in list(root if holder is None else holder):
        if isinstance(element.tag, str) and etree.QName(element).localname in kinds:
            listed.append(element)
    return listed


def samples() -> Iterator[tuple[str, etree._Element]]:
    """Every sample that holds registry objects, by name."""
    for path in sorted(SAMPLES.rglob("*.xml")):
        data = path.read_bytes()
        if path.name == "testplan.xml" or not any(f"{kind} ".encode() in data for kind in _KINDS):
            continue
        root = etree.fromstring(data)
        if not any(True for kind in _KINDS for _ in root.iter(f"{{*}}{kind}")):
            continue
        yield str(path.relative_to(SAMPLES)), modern(root)


def statements(listed: etree._Element) -> dict[str, set[Any]]:
    """What is said of each object, by its id and number; classifications and identifiers from outside with what they name."""
    said: dict[str, set[Any]] = {}
    for number, element in enumerate(listed):
        if etree.QName(element).localname in _KINDS:
            said[element.get("id") or f"object-{number + 1}"] = set(_said(element))
    for element in listed:
        holder = element.get("classifiedObject") or element.get("registryObject")
        if etree.QName(element).localname not in _KINDS and holder in said:
            said[holder].add(_part(element))
    return said


def _said(element: etree._Element) -> Iterator[Any]:
    for name, value in element.attrib.items():
        if not name.startswith("{") and name != "id" and (name, value) != ("isOpaque", "false") and value:
            yield "attribute", name, value
    for child in element:
        if not isinstance(child.tag, str):
            continue
        kind = etree.QName(child).localname
        if kind in ("Classification", "ExternalIdentifier"):
            yield _part(child)
        elif kind == "Slot" and child.get("name") != "lastUpdateTime":
            yield from _slots([child])
        elif kind in ("Name", "Description"):
            yield from _strings(kind, child)


def _part(element: etree._Element) -> Any:
    known = element.get("identificationScheme") in names.LABELS
    return (
        etree.QName(element).localname,
        element.get("classificationScheme") or element.get("identificationScheme") or "",
        element.get("classificationNode") or "",
        (element.get("nodeRepresentation") or element.get("value") or "").strip(),
        frozenset(_slots(element.iterfind("{*}Slot"))),
        frozenset(() if known else (s for kind in ("Name", "Description") for c in element.iterfind(f"{{*}}{kind}") for s in _strings(kind, c))),
    )  # fmt: skip


def _slots(slots: Any) -> Iterator[Any]:
    for slot in slots:
        values = tuple((value.text or "").strip() for value in slot.iter("{*}Value"))
        if any(values):
            yield "slot", slot.get("name"), values


def _strings(kind: str, element: etree._Element) -> Iterator[Any]:
    for one in element.iterfind("{*}LocalizedString"):
        if one.get("value"):
            yield kind, one.get(names.XML_LANG) or one.get("lang") or "", one.get("charset") or "", one.get("value")
