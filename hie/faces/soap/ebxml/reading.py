"""One registry object of ebRIM as it came: its slots, names, classifications and identifiers, with what is wrong in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from lxml import etree

from documents.errors import InvalidAttribute, InvalidStructure
from hie.faces.soap.ebxml.names import RIM, XML_LANG, tag
from hie.standards.errors import HubError

_SLOT, _VALUE_LIST, _VALUE = tag(RIM, "Slot"), tag(RIM, "ValueList"), tag(RIM, "Value")
_NAME, _DESCRIPTION, _STRING = tag(RIM, "Name"), tag(RIM, "Description"), tag(RIM, "LocalizedString")
_VERSION, _CLASSIFICATION = tag(RIM, "VersionInfo"), tag(RIM, "Classification")
_IDENTIFIER = tag(RIM, "ExternalIdentifier")
_IGNORED = {tag(RIM, "ContentVersionInfo"), tag(RIM, "ObjectRef"), tag(RIM, "ExternalLink")}


@dataclass(slots=True)
class Slotted:
    """An element with slots and names; `where` is how an error calls it (``DocumentEntry[doc1]``)."""

    element: etree._Element
    where: str
    problems: list[HubError]
    slots: dict[str, tuple[str, ...]] = field(default_factory=dict)
    name: list[tuple[str, str, str]] = field(default_factory=list)
    description: list[tuple[str, str, str]] = field(default_factory=list)

    def wrong(self, attribute: str, message: str) -> None:
        """Note that an attribute is not as it should be."""
        self.problems.append(InvalidAttribute(message, element=f"{self.where}.{attribute}"))

    def one(self, name: str, attribute: str | None = None) -> str | None:
        """The single value of a slot, which is then read; None when there is none."""
        values = self.slots.pop(name, ())
        if len(values) > 1:
            self.wrong(attribute or name, f"slot {name} has one value, not {len(values)}")
        return values[0].strip() if values else None

    def all(self, name: str) -> tuple[str, ...]:
        """The values of a slot, which is then read."""
        return tuple(value.strip() for value in self.slots.pop(name, ()))


@dataclass(slots=True)
class RegistryObject(Slotted):
    """A top-level object with its classifications and identifiers, nested or naming it from outside."""

    id: str = ""
    classifications: list[Classification] = field(default_factory=list)
    identifiers: list[Identifier] = field(default_factory=list)

    def get(self, attribute: str) -> str:
        """An attribute of the element, "" when absent."""
        return (self.element.get(attribute) or "").strip()

    def classified(self, scheme: str) -> list[Classification]:
        """The classifications under a scheme, which are then read."""
        found = [one for one in self.classifications if one.scheme == scheme]
        self.classifications = [one for one in self.classifications if one.scheme != scheme]
        return found

    def has_node(self, node: str) -> bool:
        """Whether the object is classified by a node; its classification is then read."""
        others = [one for one in self.classifications if one.node != node]
        found, self.classifications = len(others) < len(self.classifications), others
        return found

    def called(self, kind: str) -> None:
        """Name the object in errors by what it turned out to be."""
        self.where = f"{kind}[{self.id}]"
        for part in (*self.classifications, *self.identifiers):
            part.where = self.where

    def identifier(self, scheme: str, attribute: str) -> str:
        """The identifier under a scheme, "" when absent, which is then read. There is one."""
        found = [one for one in self.identifiers if one.scheme == scheme]
        self.identifiers = [one for one in self.identifiers if one.scheme != scheme]
        if len(found) > 1:
            self.wrong(attribute, f"{attribute} is given {len(found)} times")
        return found[0].value if found else ""

    @property
    def version(self) -> int:
        """VersionInfo, 1 where it is none of the registry's own."""
        info = self.element.find(_VERSION)
        text = "" if info is None else (info.get("versionName") or "").strip()
        return int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 9 else 1


@dataclass(slots=True)
class Classification(Slotted):
    """A classification: of a coded attribute, an author, or by a node."""

    scheme: str = ""
    node: str = ""
    code: str = ""


@dataclass(slots=True)
class Identifier(Slotted):
    """An external identifier."""

    scheme: str = ""
    value: str = ""


@dataclass(slots=True)
class Objects:
    """The objects of a submission in the order they came, and what is wrong with how they hang together."""

    entries: list[RegistryObject] = field(default_factory=list)
    packages: list[RegistryObject] = field(default_factory=list)
    associations: list[RegistryObject] = field(default_factory=list)
    structure: list[HubError] = field(default_factory=list)
    attributes: list[HubError] = field(default_factory=list)

    @property
    def all(self) -> Iterator[RegistryObject]:
        """Every object."""
        yield from self.entries
        yield from self.packages
        yield from self.associations


_KINDS = {
    tag(RIM, "ExtrinsicObject"): ("DocumentEntry", "entries"),
    tag(RIM, "RegistryPackage"): ("RegistryPackage", "packages"),
    tag(RIM, "Association"): ("Association", "associations"),
}


def objects(listed: Iterable[etree._Element]) -> Objects:
    """The children of a RegistryObjectList; classifications and identifiers from outside stand with what they name."""
    found = Objects()
    loose: list[etree._Element] = []
    for number, element in enumerate(listed, 1):
        kind = _KINDS.get(element.tag)
        if kind is not None:
            getattr(found, kind[1]).append(_object(element, kind[0], number, found.attributes))
        elif element.tag in (_CLASSIFICATION, _IDENTIFIER):
            loose.append(element)
        elif isinstance(element.tag, str) and element.tag not in _IGNORED:
            name = etree.QName(element)
            found.structure.append(
                InvalidStructure(f"{name.localname} is no object of a submission", element=name.localname)
            )
    by_id = {one.id: one for one in found.all}
    for element in loose:
        is_code = element.tag == _CLASSIFICATION
        named = (element.get("classifiedObject" if is_code else "registryObject") or "").strip()
        holder = by_id.get(named)
        if holder is None:
            name = etree.QName(element).localname
            found.structure.append(
                InvalidStructure(f"{name} names {named or 'nothing'}, which is not in the submission", element=name)
            )
        elif is_code:
            holder.classifications.append(_classification(element, holder))
        else:
            holder.identifiers.append(_identifier(element, holder))
    return found


def _object(element: etree._Element, kind: str, number: int, problems: list[HubError]) -> RegistryObject:
    object_id = (element.get("id") or "").strip() or f"object-{number}"
    found = RegistryObject(element=element, where=f"{kind}[{object_id}]", problems=problems, id=object_id)
    for child in element:
        if not _common(child, found):
            if child.tag == _CLASSIFICATION:
                found.classifications.append(_classification(child, found))
            elif child.tag == _IDENTIFIER:
                found.identifiers.append(_identifier(child, found))
    return found


def _classification(element: etree._Element, holder: RegistryObject) -> Classification:
    found = Classification(
        element=element,
        where=holder.where,
        problems=holder.problems,
        scheme=(element.get("classificationScheme") or "").strip(),
        node=(element.get("classificationNode") or "").strip(),
        code=element.get("nodeRepresentation") or "",
    )
    for child in element:
        _common(child, found)
    named = (element.get("classifiedObject") or "").strip()
    if named and named != holder.id:
        found.wrong("classifiedObject", f"a classification within the object names {named}")
    return found


def _identifier(element: etree._Element, holder: RegistryObject) -> Identifier:
    found = Identifier(
        element=element,
        where=holder.where,
        problems=holder.problems,
        scheme=(element.get("identificationScheme") or "").strip(),
        value=(element.get("value") or "").strip(),
    )
    for child in element:
        _common(child, found)
    named = (element.get("registryObject") or "").strip()
    if named and named != holder.id:
        found.wrong("registryObject", f"an identifier within the object names {named}")
    return found


def _common(child: etree._Element, holder: Slotted) -> bool:
    """Read what every object may have; whether this was it."""
    if child.tag == _SLOT:
        name = (child.get("name") or "").strip()
        values = tuple(value.text or "" for value in child.iterfind(f"{_VALUE_LIST}/{_VALUE}"))
        if name in holder.slots:
            holder.wrong(name or "Slot", f"slot {name} is given twice")
        if any(values):
            holder.slots.setdefault(name, values)
    elif child.tag == _NAME:
        holder.name += _strings(child)
    elif child.tag == _DESCRIPTION:
        holder.description += _strings(child)
    else:
        return False
    return True


def _strings(element: etree._Element) -> Iterator[tuple[str, str, str]]:
    for one in element.iterfind(_STRING):
        # The schema says xml:lang; senders write lang as well.
        language = one.get(XML_LANG) or one.get("lang") or ""
        yield language, one.get("charset") or "", one.get("value") or ""
