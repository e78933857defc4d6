"""The schemas of XDS.b: whether a request or answer has the form that IHE and ebXML RegRep give it.

The files in `data/xds` are those of OASIS and IHE without IPF's extension for cross-gateway fetch (see NOTICE); only
`IHE/rmd.xsd` is ours. A complaint names the element, the line and the kind of fault, and never quotes a value.

Source: ../spec/xds.md 2 (5); ebRIM, ebRS 3.0.
"""

from __future__ import annotations

import re
import threading
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

FOLDER = Path(__file__).resolve().parent / "data" / "xds"
XDS = "urn:ihe:iti:xds-b:2007"
RMD = "urn:ihe:iti:rmd:2017"
NAMESPACES = {
    "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0": "ebRS30/rim.xsd",
    "urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0": "ebRS30/rs.xsd",
    "urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0": "ebRS30/lcm.xsd",
    "urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0": "ebRS30/query.xsd",
    XDS: "IHE/IHEXDSB.xsd",
    RMD: "IHE/rmd.xsd",
}
"""Namespace of a schema to its file."""
_ELEMENT = re.compile(r"Element '(\{[^}']*\})?([^']{1,100})'(?:, attribute '([^']{1,100})')?")
_MOST = 5
_IMPLIED = re.compile(r"The attribute '(?:id|registryObject)' is required")
_RIM = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"
_OBJECTS = tuple(
    f"{{{_RIM}}}{name}"
    for name in ("ExtrinsicObject", "RegistryPackage", "Association", "Classification", "ExternalIdentifier")
)
_ADHOC_QUERY = "{urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0}AdhocQueryRequest"
_HELD = ("Slot", "Name", "Description", "VersionInfo", "Classification", "ExternalIdentifier")
_PLACES = {f"{{{_RIM}}}{name}": place for place, name in enumerate(_HELD)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """One fault: `element` (a local name, with ``@attribute`` where one is meant), `line`, `kind` as libxml2 calls it."""

    element: str
    line: int
    kind: str

    def __str__(self) -> str:
        return f"{self.element} (line {self.line}): {self.kind.removeprefix('SCHEMAV_').lower().replace('_', ' ')}"


_held = threading.local()


def complaints(element: etree._Element) -> list[Complaint]:
    """What the schema has against an element and all below it, at most five; of a name it does not know, one.

    An xop:Include inside a document must have been taken out: it is no base64. What loses nothing is no fault, and
    senders in use have it (NIST's own messages too): a missing `id`, which is given where the object is taken in
    (spec/xds.md 3), a missing `registryObject`, which is the object around it, what a registry object holds in
    another order than the schema's, and in a stored query a Value of more than 256 characters: a list that its sender
    has not split.
    """
    if element.tag == f"{{{RMD}}}RemoveDocumentsRequest":
        # The type of its children is known as that of another request's.
        asked = etree.Element(f"{{{XDS}}}RetrieveDocumentSetRequest")
        asked.extend(deepcopy(child) for child in element)
        return _complaints(element) or _complaints(asked)
    return _complaints(element)


def _complaints(element: etree._Element) -> list[Complaint]:
    schema = _schema()
    if schema.validate(element) or schema.validate(_in_order(element)):
        return []
    found = []
    for entry in schema.error_log:
        if entry.type_name == "SCHEMAV_CVC_COMPLEX_TYPE_4" and _IMPLIED.search(entry.message) is not None:
            continue
        if entry.type_name == "SCHEMAV_CVC_MAXLENGTH_VALID" and element.tag == _ADHOC_QUERY:
            continue
        named = _ELEMENT.match(entry.message)
        name = element.tag.rpartition("}")[2] if named is None else named[2] + (f"@{named[3]}" if named[3] else "")
        found.append(Complaint(element=name, line=entry.line, kind=entry.type_name))
        if len(found) == _MOST:
            break
    return found


def _in_order(element: etree._Element) -> etree._Element:
    """A copy in which what each registry object holds stands in the schema's order."""
    copied = deepcopy(element)
    for one in copied.iter(*_OBJECTS):
        one[:] = sorted(one, key=lambda child: _PLACES.get(child.tag, len(_PLACES)))
    return copied


def _schema() -> etree.XMLSchema:
    """The compiled schema, one a thread: its list of faults belongs to the last validation."""
    held: etree.XMLSchema | None = getattr(_held, "schema", None)
    if held is None:
        imports = "".join(
            f'<xs:import namespace="{namespace}" schemaLocation="{(FOLDER / file).as_uri()}"/>'
            for namespace, file in NAMESPACES.items()
        )
        text = f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">{imports}</xs:schema>'
        held = _held.schema = etree.XMLSchema(etree.fromstring(text))
    return held
