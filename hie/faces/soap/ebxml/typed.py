"""Members of a list of objects that say what they are by a type: what some toolkits write where others write an element.

`rim:Identifiable` heads a substitution group, and `rim:RegistryObject` is of the type that its other members extend:
``<rim:Identifiable xsi:type="rim:ExtrinsicObjectType">`` is a ``rim:ExtrinsicObject``. zeep, among others, writes it so.

Source: XML Schema part 1, 3.3.6 (substitution groups) and 2.6.1 (xsi:type); ebRIM 3.0, rim.xsd.
"""

from __future__ import annotations

from lxml import etree

from hie.faces.soap.ebxml.names import RIM, tag

_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_GENERAL = (tag(RIM, "Identifiable"), tag(RIM, "RegistryObject"))
_ELEMENTS = {
    "ExtrinsicObjectType": "ExtrinsicObject",
    "RegistryPackageType": "RegistryPackage",
    "AssociationType1": "Association",
    "ClassificationType": "Classification",
    "ExternalIdentifierType": "ExternalIdentifier",
    "ObjectRefType": "ObjectRef",
}


def named(body: etree._Element) -> None:
    """Give each such member of a body the name of its element, in place; one of another type stays as it is."""
    for element in list(body.iter(*_GENERAL)):
        prefix, _, local = (element.get(_TYPE) or "").strip().rpartition(":")
        if element.nsmap.get(prefix or None) == RIM and local in _ELEMENTS:
            del element.attrib[_TYPE]
            element.tag = tag(RIM, _ELEMENTS[local])
