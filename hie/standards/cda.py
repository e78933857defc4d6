"""C-CDA and other CDA R2 documents: the header, and the codes of the whole document.

One pass over the bytes, in memory bounded by the largest header part: what is read is let go
element by element. Tolerant of what real systems send (byte order mark, missing parts, null
flavours, times of any precision, names in any order of parts); strict only about being XML with a
ClinicalDocument at its root, which `MalformedContent` and `NotClinicalDocument` refuse.

Codes are ``system|code`` with the system as URI. Nothing is normalised that a rule may want to
see as sent: `birth_time`, `gender`, `effective_time` are the raw text.

Source: HL7 CDA R2; C-CDA R2.1; DS4P CDA privacy annotations (templates 2.16.840.1.113883.3.445.*).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from itertools import chain

from lxml import etree

from hie.standards import oids, xml
from hie.standards.demographics import HumanName
from hie.standards.errors import HubError, MalformedContent
from hie.standards.facts import CodedContent

NS = "urn:hl7-org:v3"
SDTC = "urn:hl7-org:sdtc"
ROOT = f"{{{NS}}}ClinicalDocument"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_DS4P = "2.16.840.1.113883.3.445."
_ROW, _OUTER = 64, 4
_WHOLE = xml.MiB
_CODED = etree.XPath(f"descendant-or-self::*[@code or (local-name() = 'templateId' and starts-with(@root, '{_DS4P}'))]")
_LEVELS = {level: rank for rank, level in enumerate("ULMNRV")}
LIMITS = xml.Limits(size=256 * xml.MiB, depth=200)
# Codes that are none of a value set: written without a system, they would be taken for one.
_NOT_CLINICAL = frozenset({"statusCode", "languageCode", "moodCode", "realmCode", "interpretationCode", "modeCode"})
_TS = re.compile(r"(\d{4,14})(?:\d*)(?:\.\d+)?([+-]\d{2}(?:\d{2})?|Z)?\Z", re.ASCII)


class NotClinicalDocument(HubError):
    """Well-formed XML whose root is not an HL7 v3 ClinicalDocument."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceId:
    """An II: root OID (or UUID) and extension."""

    root: str
    extension: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A CD: code, system URI, display."""

    code: str
    system: str
    display: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Participation:
    """An author, custodian or authenticator: who, of which organization, when."""

    ids: tuple[InstanceId, ...] = ()
    name: HumanName | None = None
    organization_name: str = ""
    organization_ids: tuple[InstanceId, ...] = ()
    role: Code | None = None
    time: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelatedDocument:
    """A parent document: ``RPLC``, ``APND`` or ``XFRM``."""

    type: str
    ids: tuple[InstanceId, ...] = ()
    set_id: InstanceId | None = None
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEvent:
    """What the document is about, from when to when (raw TS)."""

    code: Code | None = None
    low: str = ""
    high: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CdaHeader:
    """The header as sent; absent parts are empty. `body` is ``structured``, ``unstructured`` or ""."""

    id: InstanceId | None = None
    code: Code | None = None
    title: str = ""
    effective_time: str = ""
    confidentiality: str = ""
    language: str = ""
    template_ids: tuple[InstanceId, ...] = ()
    set_id: InstanceId | None = None
    version: str = ""
    patient_ids: tuple[InstanceId, ...] = ()
    names: tuple[HumanName, ...] = ()
    birth_time: str = ""
    gender: str = ""
    record_targets: int = 0
    authors: tuple[Participation, ...] = ()
    custodian: Participation | None = None
    legal_authenticator: Participation | None = None
    service_events: tuple[ServiceEvent, ...] = ()
    related: tuple[RelatedDocument, ...] = ()
    facility: Code | None = None
    body: str = ""

    @property
    def unique_id(self) -> str:
        """The id as DocumentEntry.uniqueId: ``root`` or ``root^extension``; "" without one (spec/xds.md 3.2)."""
        if self.id is None or not self.id.root:
            return ""
        return f"{self.id.root}^{self.id.extension}" if self.id.extension else self.id.root

    @property
    def birth_date(self) -> str:
        """The day of birth as FHIR date text of the precision sent; the clock is left out, not converted."""
        digits = re.match(r"\d+", self.birth_time)
        text = digits.group() if digits else ""
        if len(text) >= 8:
            return f"{text[:4]}-{text[4:6]}-{text[6:8]}"
        return f"{text[:4]}-{text[4:6]}" if len(text) >= 6 else text[:4] if len(text) >= 4 else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CdaDocument:
    """Header and codes of one document."""

    header: CdaHeader
    content: CodedContent = field(default_factory=CodedContent)


def read(chunks: Iterable[bytes], *, limits: xml.Limits = LIMITS) -> CdaDocument:
    """The header and the codes, in one pass to the end of the bytes.

    Raises:
        MalformedContent: not acceptable XML; `element` says at which line.
        NotClinicalDocument: another root element.
    """
    reader, source, head = _Reader(), iter(chunks), bytearray()
    for chunk in source:
        head += chunk
        if len(head) > _WHOLE:
            break
    if len(head) <= _WHOLE:
        data = bytes(head)
        try:
            root = xml.parse(data, limits=limits)
        except MalformedContent as error:
            # What begins as something else is that before it is broken, as where it is read element by element.
            raise error if xml.root_name(data) in (None, ROOT) else NotClinicalDocument(element="/") from error
        reader.whole(root)
        return reader.document()
    for event, element in xml.elements(chain((bytes(head),), source), limits=limits):
        if event == "start":
            reader.start(element)
        else:
            reader.end(element)
    return reader.document()


def header(data: bytes) -> CdaHeader:
    """The header of a document in memory; raises as `read`."""
    return read([data]).header


def header_of(root: etree._Element) -> CdaHeader:
    """The header of a document whose root is in memory, whatever has become of its body."""
    reader = _Reader()
    for part in root:
        if isinstance(part.tag, str) and part.tag != _q("component"):
            reader._part(part, etree.QName(part).localname)
    return reader.document().header


def codes(data: bytes) -> CodedContent:
    """Every code of a document in memory; raises as `read`."""
    return read([data]).content


class _Reader:
    """Takes a whole tree, or elements as they open and close: then a header part is kept only until it has been read.

    Both come to the same. A tree is looked through in a third of the time, but it holds ten times the document's size.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.members: dict[str, list[object]] = {}
        self.single: dict[str, object] = {}
        self.codes: set[str] = set()
        self.sections: set[str] = set()
        self.levels: set[str] = set()
        self.labels: set[str] = set()
        self.in_body = 0  # depth at which `component` opened, 0 outside
        self.annotation: list[int] = []  # depths of open DS4P observations
        self.passed = 0
        self.record_targets = 0
        self.patient: _Patient | None = None
        self.body = ""

    def start(self, element: etree._Element) -> None:
        self.depth += 1
        if self.depth == 1 and element.tag != ROOT:
            raise NotClinicalDocument(element="/")
        if self.depth == 2 and element.tag == _q("component"):
            self.in_body = 2
        elif self.depth == 3 and self.in_body:
            self._begin_body(element)
        if self.in_body:
            root = element.get("root")
            if root is not None and root.startswith(_DS4P) and etree.QName(element).localname == "templateId":
                self.annotation.append(self.depth - 1)

    def end(self, element: etree._Element) -> None:
        depth, self.depth = self.depth, self.depth - 1
        if self.in_body:
            # Most elements of a body say nothing in codes: they cost no more than being passed.
            if element.get("code") is not None:
                self._labelled(element, etree.QName(element).localname, annotated=bool(self.annotation))
            while self.annotation and self.annotation[-1] >= depth:
                self.annotation.pop()
            if depth == 2:
                self.in_body = 0
            element.clear(keep_tail=False)
            self.passed += 1
            # What is left of an element, and goes with its parent: of a long row now and then.
            if self.passed % _ROW == 0 or depth <= _OUTER:
                _drop_before(element)
        elif depth == 2:
            self._part(element, etree.QName(element).localname)
            element.clear(keep_tail=False)
            _drop_before(element)

    def whole(self, root: etree._Element) -> None:
        if root.tag != ROOT:
            raise NotClinicalDocument(element="/")
        for part in root:
            if part.tag == _q("component"):
                for child in part:
                    self._begin_body(child)
                self._take_body(part)
            else:
                self._part(part, etree.QName(part).localname)

    def _take_body(self, component: etree._Element) -> None:
        annotated: set[etree._Element] = set()  # parents of the templates of DS4P that have been met
        for element in _CODED(component):
            name = element.tag.rpartition("}")[2]
            if name == "templateId" and element.get("root", "").startswith(_DS4P):
                parent = element.getparent()
                annotated.add(parent)
                self._labelled(parent, parent.tag.rpartition("}")[2], annotated=True)
            within = name == "value" and bool(annotated) and not annotated.isdisjoint(element.iterancestors())
            self._labelled(element, name, annotated=within)

    def _begin_body(self, element: etree._Element) -> None:
        if element.tag == _q("structuredBody"):
            self.body = "structured"
        elif element.tag == _q("nonXMLBody"):
            self.body = "unstructured"

    def _labelled(self, element: etree._Element, name: str, *, annotated: bool = False) -> None:
        """What an element says that a labelling rule may want to see: any code, however little stands with it."""
        code = (element.get("code") or "").strip()
        if not code or name in _NOT_CLINICAL:
            return
        system = oids.scheme_uri(element.get("codeSystem") or element.get("codeSystemName") or "")
        if name == "confidentialityCode" or oids.compared_scheme(system) == CONFIDENTIALITY:
            # Older tables had sensitivities (HIV, PSY) and letters of their own (S, T, C) among the levels.
            (self.levels if code in _LEVELS else self.labels).add(code)
            return
        self.codes.add(f"{system}|{code}")
        parent = element.getparent()
        if name == "code" and parent is not None and parent.tag == _q("section"):
            self.sections.add(code)
        if annotated and name == "value":
            # Senders write the letters of an annotation under several systems.
            (self.levels if code in _LEVELS else self.labels).add(code)

    def _part(self, element: etree._Element, name: str) -> None:
        if name != "recordTarget":  # who somebody is, in codes of birth and language, is no content
            for part in element.iter(etree.Element):
                self._labelled(part, etree.QName(part).localname)
        match name:
            case "id" | "setId":
                self.single.setdefault(name, _instance(element))
            case "title":
                self.single.setdefault(name, _text(element))
            case "effectiveTime" | "versionNumber":
                self.single.setdefault(name, (element.get("value") or "").strip())
            case "confidentialityCode" | "languageCode":
                self.single.setdefault(name, (element.get("code") or "").strip())
            case "code":
                self.single.setdefault(name, _code(element))
            case "templateId":
                self._add(name, _instance(element))
            case "recordTarget":
                self.record_targets += 1
                if self.record_targets == 1:
                    self.patient = _patient(element)
            case "author":
                self._add(name, _participation(element, "assignedAuthor", "assignedPerson", "representedOrganization"))
            case "legalAuthenticator":
                self.single.setdefault(
                    name, _participation(element, "assignedEntity", "assignedPerson", "representedOrganization")
                )
            case "custodian":
                self.single.setdefault(name, _custodian(element))
            case "documentationOf":
                for event in element.iterfind(_q("serviceEvent")):
                    self._add(name, _service_event(event))
            case "relatedDocument":
                self._add(name, _related(element))
            case "componentOf":
                place = element.find(f".//{_q('healthCareFacility')}/{_q('code')}")
                if place is not None:
                    self.single.setdefault("facility", _code(place))

    def _add(self, name: str, value: object) -> None:
        if value is not None:
            self.members.setdefault(name, []).append(value)

    def document(self) -> CdaDocument:
        """What has been read, once the input is over."""
        patient = self.patient or _Patient()
        own = str(self.single.get("confidentialityCode") or "")
        code = self.single.get("code")
        if isinstance(code, Code):
            self.codes.add(f"{code.system}|{code.code}")
        levels = self.levels | ({own} if own in _LEVELS else set())
        document_header = CdaHeader(
            id=self.single.get("id"),  # type: ignore[arg-type]  # by _instance
            code=code,  # type: ignore[arg-type]  # by _code
            title=str(self.single.get("title") or ""),
            effective_time=str(self.single.get("effectiveTime") or ""),
            confidentiality=own,
            language=str(self.single.get("languageCode") or ""),
            template_ids=tuple(self.members.get("templateId", ())),  # type: ignore[arg-type]  # by _instance
            set_id=self.single.get("setId"),  # type: ignore[arg-type]  # by _instance
            version=str(self.single.get("versionNumber") or ""),
            patient_ids=patient.ids,
            names=patient.names,
            birth_time=patient.birth_time,
            gender=patient.gender,
            record_targets=self.record_targets,
            authors=tuple(self.members.get("author", ())),  # type: ignore[arg-type]  # by _participation
            custodian=self.single.get("custodian"),  # type: ignore[arg-type]  # by _custodian
            legal_authenticator=self.single.get("legalAuthenticator"),  # type: ignore[arg-type]  # by _participation
            service_events=tuple(self.members.get("documentationOf", ())),  # type: ignore[arg-type]  # by _service_event
            related=tuple(self.members.get("relatedDocument", ())),  # type: ignore[arg-type]  # by _related
            facility=self.single.get("facility"),  # type: ignore[arg-type]  # by _code
            body=self.body,
        )
        return CdaDocument(
            header=document_header,
            content=CodedContent(
                codes=frozenset(self.codes),
                sections=frozenset(self.sections),
                # The most confidential section makes the document: the whole of it leaves, or nothing.
                confidentiality=max(levels, key=_LEVELS.__getitem__) if levels else None,
                security_labels=frozenset(self.labels),
                read=True,
            ),
        )


def to_utc(ts: str) -> str | None:
    """An HL7 TS as XDS DTM: in UTC where it carries a zone and a clock, else as it stands; None when unusable."""
    match = _TS.match(ts.strip())
    if match is None:
        return None
    digits, zone = match.groups()
    digits = digits[: len(digits) - len(digits) % 2]
    try:
        padded = digits + "00000101000000"[len(digits) :]
        moment = datetime(
            int(padded[:4]),
            int(padded[4:6]),
            int(padded[6:8]),
            int(padded[8:10]),
            int(padded[10:12]),
            int(padded[12:14]),
            tzinfo=UTC,
        )
        if len(digits) > 8 and zone and zone != "Z":
            offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5] or 0))
            moment = moment.replace(tzinfo=timezone(-offset if zone[0] == "-" else offset)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment.strftime("%Y%m%d%H%M%S").rjust(14, "0")[: len(digits)]


def _q(name: str) -> str:
    return f"{{{NS}}}{name}"


def _drop_before(element: etree._Element) -> None:
    parent = element.getparent()
    if parent is None:
        return
    while element.getprevious() is not None:
        del parent[0]


def _text(element: etree._Element | None) -> str:
    return "" if element is None else " ".join("".join(element.itertext()).split())


def _instance(element: etree._Element) -> InstanceId | None:
    root = (element.get("root") or "").strip()
    extension = (element.get("extension") or "").strip()
    return InstanceId(root=root, extension=extension) if root or extension else None


def _instances(elements: Iterable[etree._Element]) -> tuple[InstanceId, ...]:
    return tuple(found for element in elements if (found := _instance(element)) is not None and found.root)


def _code(element: etree._Element) -> Code | None:
    code, system = element.get("code"), element.get("codeSystem")
    if not code or not system or element.get("nullFlavor"):
        return None
    return Code(code=code.strip(), system=oids.scheme_uri(system), display=(element.get("displayName") or "").strip())


def _name(element: etree._Element) -> HumanName | None:
    """A PN or EN: parts in any order, blanks and delimiters around them left out, or plain text."""
    if element.get("nullFlavor") and len(element) == 0:
        return None
    parts: dict[str, list[str]] = {"family": [], "given": [], "prefix": [], "suffix": []}
    for part in element:
        if isinstance(part.tag, str):
            name, text = etree.QName(part).localname, _text(part)
            if text and name in parts:
                parts[name].append(text)
    text = _text(element)
    if not parts["family"] and not parts["given"] and not text:
        return None
    use = {"L": "official", "P": "nickname", "A": "nickname", "C": "usual"}.get(
        (element.get("use") or "").split(" ")[0]
    )
    return HumanName(
        family=" ".join(parts["family"]),
        given=tuple(parts["given"]),
        prefix=tuple(parts["prefix"]),
        suffix=tuple(parts["suffix"]),
        use=use or "",
        text="" if parts["family"] or parts["given"] else text,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Patient:
    ids: tuple[InstanceId, ...] = ()
    names: tuple[HumanName, ...] = ()
    birth_time: str = ""
    gender: str = ""


def _patient(element: etree._Element) -> _Patient:
    role = element.find(_q("patientRole"))
    if role is None:
        return _Patient()
    person = role.find(_q("patient"))
    ids = _instances(role.iterfind(_q("id")))
    if person is None:
        return _Patient(ids=ids)
    birth, sex = person.find(_q("birthTime")), person.find(_q("administrativeGenderCode"))
    return _Patient(
        ids=ids,
        names=tuple(found for n in person.iterfind(_q("name")) if (found := _name(n)) is not None),
        birth_time="" if birth is None else (birth.get("value") or "").strip(),
        gender="" if sex is None else (sex.get("code") or "").strip(),
    )


def _participation(element: etree._Element, role: str, person: str, organization: str) -> Participation | None:
    assigned = element.find(_q(role))
    if assigned is None:
        return None
    named = assigned.find(f"{_q(person)}/{_q('name')}")
    place = assigned.find(_q(organization))
    role_code = assigned.find(_q("code"))
    time = element.find(_q("time"))
    return Participation(
        ids=_instances(assigned.iterfind(_q("id"))),
        name=None if named is None else _name(named),
        organization_name="" if place is None else _text(place.find(_q("name"))),
        organization_ids=() if place is None else _instances(place.iterfind(_q("id"))),
        role=None if role_code is None else _code(role_code),
        time="" if time is None else (time.get("value") or "").strip(),
    )


def _custodian(element: etree._Element) -> Participation | None:
    place = element.find(f"{_q('assignedCustodian')}/{_q('representedCustodianOrganization')}")
    if place is None:
        return None
    return Participation(
        organization_name=_text(place.find(_q("name"))), organization_ids=_instances(place.iterfind(_q("id")))
    )


def _service_event(element: etree._Element) -> ServiceEvent:
    code, time = element.find(_q("code")), element.find(_q("effectiveTime"))
    low = high = ""
    if time is not None:
        low = high = (time.get("value") or "").strip()
        start, stop = time.find(_q("low")), time.find(_q("high"))
        low = (start.get("value") or "").strip() if start is not None else low
        high = (stop.get("value") or "").strip() if stop is not None else high
    return ServiceEvent(code=None if code is None else _code(code), low=low, high=high)


def _related(element: etree._Element) -> RelatedDocument:
    parent = element.find(_q("parentDocument"))
    set_id = None if parent is None else parent.find(_q("setId"))
    version = None if parent is None else parent.find(_q("versionNumber"))
    return RelatedDocument(
        type=(element.get("typeCode") or "").strip(),
        ids=() if parent is None else _instances(parent.iterfind(_q("id"))),
        set_id=None if set_id is None else _instance(set_id),
        version="" if version is None else (version.get("value") or "").strip(),
    )
