"""The sections of several C-CDA documents put together, those of one LOINC code into one section.

What each document says in such a section stays together: its narrative is an item of a list under a heading that names
the document, its entries follow in the order of the documents. An entry that names no author of its own is given that
of its section or document, so that it is not taken for the word of whoever merged it. A section claims the templates
that all sections in it claim. A section with a subject or an informant of its own stays whole, as a section inside;
so do sections inside sections.

A section that another document holds already, by its own id and word for word, comes once; one that has the same id and says
something else comes too.

Source: HL7 CDA R2 4.3; C-CDA R2.1 volume 2, section-level templates.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lxml import etree

from hie.standards import cda, oids
from hie.standards.cda_copy import Copy, Names, add, local, new, plain, q

LOINC = "2.16.840.1.113883.6.1"
CONFIDENTIALITY = "2.16.840.1.113883.5.25"
_LEVELS = "ULMNRV"
_LOINC_CODE = re.compile(r"\d{1,7}-\d\Z", re.ASCII)
_STATEMENTS = frozenset({
    "act", "encounter", "observation", "observationMedia", "organizer", "procedure", "regionOfInterest",
    "substanceAdministration", "supply",
})  # fmt: skip
_AFTER_AUTHOR = frozenset({
    "informant", "participant", "entryRelationship", "reference", "precondition", "referenceRange", "component",
    "inFulfillmentOf1", "precondition2",
})  # fmt: skip
"""What stands behind the authors of an entry, those of the extension for the US realm among them."""
_AFTER_LANGUAGE = frozenset({"subject", "author", "informant", "entry", "component"})
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*\Z", re.ASCII)
_AUTHORS = 3
"""Authors of a document that its entries are given; further ones stand in the document itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What the narrative calls a document: its title, the organization of its author, its day (``YYYY-MM-DD``); "" unknown.

    `language` is that of the document, which what it says keeps beside documents in others.
    """

    title: str
    organization: str = ""
    day: str = ""
    language: str = ""

    @property
    def text(self) -> str:
        """In one line."""
        where = ", ".join(one for one in (self.organization, self.day) if one)
        return " \N{EM DASH} ".join(one for one in (self.title, where) if one)


@dataclass(slots=True)
class Group:
    """The sections of one code, as they come: `code` and `system` "" for sections that have none."""

    code: str
    system: str
    title: str
    display: str
    templates: dict[tuple[str, str], None]
    nulls: list[str] = field(default_factory=list)
    levels: list[str] = field(default_factory=list)
    items: list[etree._Element] = field(default_factory=list)
    entries: list[etree._Element] = field(default_factory=list)
    inner: list[etree._Element] = field(default_factory=list)

    def claims(self, root: str, extension: str) -> bool:
        """Whether every section in it claims a template."""
        return (root, extension) in self.templates

    def section(self) -> etree._Element:
        """The merged section. What was collected is moved into it."""
        section = new("section")
        says_nothing = not self.entries and not self.inner and self.nulls and all(self.nulls)
        if says_nothing:
            section.set("nullFlavor", self.nulls[0])
        for root, extension in self.templates:
            add(section, "templateId", **({"root": root} | ({"extension": extension} if extension else {})))
        if self.code:
            named = {"displayName": self.display} if self.display else {}
            add(section, "code", **({"code": self.code, "codeSystem": self.system} | named))
        add(section, "title", self.title or self.display or "Other content")
        listed = add(add(section, "text"), "list", listType="unordered")
        listed.extend(self.items)
        if self.levels:
            add(section, "confidentialityCode", code=max(self.levels, key=_LEVELS.index), codeSystem=CONFIDENTIALITY)
        section.extend(self.entries)
        for one in self.inner:
            add(section, "component").append(one)
        return section


class Merge:
    """Takes documents, newest first, and gives the merged sections."""

    def __init__(self) -> None:
        self.groups: dict[tuple[str, str], Group] = {}
        self.number = 0
        self._met: dict[tuple[str, str, bytes], dict[str, str]] = {}

    def add(self, root: etree._Element, heading: Heading) -> bool:
        """Take the sections of a document in memory; False where it has no structured body with any, and nothing was taken."""
        body = root.find(f"{q('component')}/{q('structuredBody')}") if root.tag == cda.ROOT else None
        sections = [] if body is None else body.findall(f"{q('component')}/{q('section')}")
        if not sections:
            return False
        self.number += 1
        names = Names(self.number)
        authors = _authors(root.findall(q("author"))) or _authors([root.find(q("custodian"))])
        taken: list[tuple[etree._Element, dict[str, str]]] = []
        for section in sections:
            mark = _mark(section)
            held = self._met.get(mark) if mark is not None else None
            if held is not None:
                names.also(held)
                continue
            own = names.of(section)
            if mark is not None:
                self._met[mark] = own
            taken.append((section, own))
        for section, own in taken:
            self._take(section, Copy(names, own), heading, authors)
        return True

    def _take(self, section: etree._Element, copy: Copy, heading: Heading, authors: Sequence[etree._Element]) -> None:
        group = self._group(section)
        if section.find(q("subject")) is not None or section.find(q("informant")) is not None:
            self._whole(section, copy, heading, group)
            return
        group.nulls.append(section.get("nullFlavor", ""))
        group.levels += _levels(section)
        item = _item(heading)
        own_title = _words(section.find(q("title")))
        if own_title and own_title.casefold() != group.title.casefold():
            add(add(item, "paragraph"), "content", own_title, styleCode="Bold")
        text = section.find(q("text"))
        if text is not None:
            name = copy.name(text)
            if name:
                item.set("ID", name)
            copy.narrative(text, item)
        group.items.append(item)
        own_authors = _authors(section.findall(q("author"))) or authors
        for entry in section.iterchildren(q("entry")):
            made = copy.part(entry)
            if made is not None and len(made):
                _attribute(made, own_authors)
                group.entries.append(made)
        for inner in section.findall(f"{q('component')}/{q('section')}"):
            made = copy.part(inner)
            if made is not None:
                _named(made, heading)
                for entry in made.iter(q("entry")):
                    _attribute(entry, own_authors)
                group.inner.append(made)

    def _whole(self, section: etree._Element, copy: Copy, heading: Heading, group: Group) -> None:
        made = copy.part(section)
        if made is None:
            return
        _named(made, heading)
        group.items.append(_item(heading))
        group.inner.append(made)

    def _group(self, section: etree._Element) -> Group:
        coded = section.find(q("code"))
        code, system = _code(coded)
        title = _words(section.find(q("title")))
        key = (system, code) if code else ("", title.casefold())
        templates = dict.fromkeys(
            (root, (one.get("extension") or "").strip())
            for one in section.iterchildren(q("templateId"))
            if (root := (one.get("root") or "").strip())
        )
        group = self.groups.get(key)
        if group is None:
            display = (coded.get("displayName") or "").strip() if coded is not None else ""
            group = self.groups[key] = Group(
                code=code, system=system, title=title, display=display, templates=templates
            )
        else:
            group.templates = {one: None for one in group.templates if one in templates}
        return group


def _code(coded: etree._Element | None) -> tuple[str, str]:
    """Code and system of a section, LOINC however its sender spells it or leaves it out; "" where there is none."""
    code = (coded.get("code") or "").strip() if coded is not None else ""
    if coded is None or not code:
        return "", ""
    system = (coded.get("codeSystem") or "").strip()
    spelled = system or (coded.get("codeSystemName") or "").strip()
    is_loinc = oids.compared_scheme(spelled) == oids.URI_OF_OID[LOINC] or (not spelled and _LOINC_CODE.match(code))
    return code, LOINC if is_loinc else system


def _mark(section: etree._Element) -> tuple[str, str, bytes] | None:
    """What a section is known by when another document holds it too; None without an id of its own."""
    named = section.find(q("id"))
    root = (named.get("root") or "").strip() if named is not None else ""
    if named is None or not root:
        return None
    said = hashlib.sha256(etree.tostring(section, method="c14n", exclusive=True, with_tail=False)).digest()
    return root, (named.get("extension") or "").strip(), said


def _levels(section: etree._Element) -> Iterable[str]:
    for element in section.iterchildren(q("confidentialityCode")):
        code = (element.get("code") or "").strip()
        if code and code in _LEVELS:
            yield code


def _item(heading: Heading) -> etree._Element:
    """Where the narrative of a document goes: under its heading, in its language."""
    item = new("item")
    if _LANGUAGE.match(heading.language):
        item.set("language", heading.language)
    add(item, "caption", heading.text)
    return item


def _named(section: etree._Element, heading: Heading) -> None:
    """Let a section that stays whole say which document it is of, and in which language that is."""
    if section.find(q("languageCode")) is None and _LANGUAGE.match(heading.language):
        before = next((one for one in section if local(one) in _AFTER_LANGUAGE), None)
        language = new("languageCode", code=heading.language)
        if before is None:
            section.append(language)
        else:
            before.addprevious(language)
    title = section.find(q("title"))
    if title is None:
        title = new("title")
        after = {"text", "confidentialityCode", "languageCode", *_AFTER_LANGUAGE}
        before = next((one for one in section if local(one) in after), None)
        if before is None:
            section.append(title)
        else:
            before.addprevious(title)
    said = _words(title)
    for child in list(title):
        title.remove(child)
    title.text = plain(f"{said} ({heading.text})" if said else heading.text)


def _attribute(entry: etree._Element, authors: Sequence[etree._Element]) -> None:
    """Give an entry the authors, where it names none."""
    statement = next((one for one in entry if local(one) in _STATEMENTS), None)
    if statement is None or statement.find(q("author")) is not None:
        return
    before = next((one for one in statement if etree.QName(one).localname in _AFTER_AUTHOR), None)
    for author in authors:
        copied = Copy(Names(0), {}).part(author)
        if copied is None:  # pragma: no cover - made by `_authors`
            continue
        if before is None:
            statement.append(copied)
        else:
            before.addprevious(copied)


def _authors(found: Iterable[etree._Element | None]) -> list[etree._Element]:
    """Authors as entries carry them: when, who, of which organization; without addresses."""
    return [made for one in list(found)[:_AUTHORS] if one is not None and (made := _author(one)) is not None]


def _author(source: etree._Element) -> etree._Element | None:
    author = new("author")
    time = source.find(q("time"))
    assigned = source.find(q("assignedAuthor"))
    if local(source) == "custodian":
        place = source.find(f"{q('assignedCustodian')}/{q('representedCustodianOrganization')}")
    else:
        place = assigned.find(q("representedOrganization")) if assigned is not None else None
    if assigned is None and place is None:
        return None
    copy = Copy(Names(0), {})
    made = copy.part(time) if time is not None else None
    author.append(made if made is not None else new("time", nullFlavor="UNK"))
    role = add(author, "assignedAuthor")
    ids = assigned.findall(q("id")) if assigned is not None else []
    _copied(copy, ids, role)
    if not len(role):
        add(role, "id", nullFlavor="UNK")
    if assigned is not None:
        _copied(copy, assigned.findall(q("code"))[:1], role)
        for kind, parts in (
            ("assignedPerson", ("name",)),
            ("assignedAuthoringDevice", ("manufacturerModelName", "softwareName")),
        ):
            played = assigned.find(q(kind))
            if played is not None:
                player = add(role, kind)
                _copied(copy, [one for one in played if local(one) in parts], player)
                break
    if place is not None:
        organization = add(role, "representedOrganization")
        _copied(copy, [*place.findall(q("id")), *place.findall(q("name"))], organization)
    return author


def _copied(copy: Copy, elements: Iterable[etree._Element], into: etree._Element) -> None:
    into.extend(made for one in elements if (made := copy.part(one)) is not None)


def _words(element: etree._Element | None) -> str:
    return "" if element is None else " ".join("".join(element.itertext()).split())
