"""A summary in C-CDA R2.1 made of other documents: the header, the sections that a summary has, the documents it only names.

The same values give the same bytes, its id among them: the id is drawn from what the document says, so that it is new when,
and only when, that is. Nothing in it is of the moment at which it is made.

Source: HL7 CDA R2; C-CDA R2.1 volume 2: US Realm Header (V3), Continuity of Care Document (V3).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from lxml import etree

from hie.standards import oids
from hie.standards.cda_copy import NSMAP, add, new, plain, q, settle
from hie.standards.cda_merge import CONFIDENTIALITY, LOINC, Group, Merge
from hie.standards.demographics import Address, Demographics, HumanName, Telecom

SUMMARY = "34133-9"
_GENDER = {"male": ("M", "Male"), "female": ("F", "Female"), "other": ("UN", "Undifferentiated")}
_RELEASE = "2015-08-01"
_HEADER, _CCD = "2.16.840.1.113883.10.20.22.1.1", "2.16.840.1.113883.10.20.22.1.2"
_NAME_USE = {"official": "L", "usual": "C", "nickname": "P"}
_PLACE_USE = {"home": "HP", "work": "WP", "temp": "TMP"}
_PHONE_USE = {"home": "HP", "work": "WP", "mobile": "MC"}
_SCHEME = {"phone": "tel:", "fax": "fax:", "email": "mailto:", "sms": "sms:", "pager": "tel:"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Core:
    """A section that every summary has, with the template of which it claims that there are entries or nothing known."""

    code: str
    title: str
    template: str
    extension: str


_CORE = (
    _Core(code="48765-2", title="Allergies", template="2.16.840.1.113883.10.20.22.2.6.1", extension="2015-08-01"),
    _Core(code="10160-0", title="Medications", template="2.16.840.1.113883.10.20.22.2.1.1", extension="2014-06-09"),
    _Core(code="11450-4", title="Problems", template="2.16.840.1.113883.10.20.22.2.5.1", extension="2015-08-01"),
    _Core(code="47519-4", title="Procedures", template="2.16.840.1.113883.10.20.22.2.7.1", extension="2014-06-09"),
    _Core(code="30954-2", title="Results", template="2.16.840.1.113883.10.20.22.2.3.1", extension="2015-08-01"),
    _Core(code="29762-2", title="Social History", template="2.16.840.1.113883.10.20.22.2.17", extension="2015-08-01"),
    _Core(code="8716-3", title="Vital Signs", template="2.16.840.1.113883.10.20.22.2.4.1", extension="2015-08-01"),
)
NOTHING_KNOWN = "No information is available."
_OWN_LANGUAGE = "en-US"
"""In which the summary itself speaks, whatever the documents do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """Who makes the summary, as author (a device) and custodian: a bare OID and a name."""

    oid: str
    name: str
    software: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A document that is named and not put in: why in a few words; `day` ``YYYY-MM-DD`` or less, "" unknown."""

    title: str
    type: str
    day: str
    unique_id: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the header says.

    `salt` sets apart two summaries that say the same. `made_at` and the period are TS with a zone, or "" for unknown.
    `patient_ids` are pairs of OID and value; `level` a confidentiality of ``N R V``; `code` a LOINC code with its display.
    """

    salt: str
    title: str
    made_at: str
    language: str
    level: str
    hub: Hub
    code: tuple[str, str] = (SUMMARY, "Summarization of Episode Note")
    patient_ids: tuple[tuple[str, str], ...] = ()
    patient: Demographics = field(default_factory=Demographics)
    period: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A summary as bytes, and the OID that is its id."""

    data: bytes = field(repr=False)
    unique_id: str


class Body:
    """The body of summaries about one patient, whatever their headers: it is made once and moved from one into the next."""

    def __init__(self, merge: Merge, listed: Sequence[Listed], note: str = "") -> None:
        groups = dict(merge.groups)
        self.is_ccd = True
        self._element = new("structuredBody")
        for core in _CORE:
            group = groups.pop((LOINC, core.code), None)
            self.is_ccd &= group is None or group.claims(core.template, core.extension)
            self._put(_unknown(core) if group is None else _of(group, core.title))
        for group in groups.values():
            self._put(group.section())
        if listed or note:
            self._put(_listed(listed, note))
        settle(self._element)

    def _put(self, section: etree._Element) -> None:
        add(self._element, "component").append(section)

    def summary(self, about: About) -> Summary:
        """The document with this header."""
        root = etree.Element(q("ClinicalDocument"), nsmap=NSMAP)
        own = _header(root, about, is_ccd=self.is_ccd and about.code[0] == SUMMARY)
        add(root, "component").append(self._element)
        said = etree.tostring(root, encoding="UTF-8")
        digest = hashlib.sha256(about.salt.encode() + b"\0" + said).hexdigest()
        unique_id = oids.from_uuid(uuid.uuid5(uuid.NAMESPACE_OID, digest))
        own.set("root", unique_id)
        return Summary(data=etree.tostring(root, encoding="UTF-8", xml_declaration=True), unique_id=unique_id)


def _of(group: Group, title: str) -> etree._Element:
    group.title = group.title or title
    return group.section()


def _unknown(core: _Core) -> etree._Element:
    section = new("section", nullFlavor="NI")
    add(section, "templateId", root=core.template)
    add(section, "templateId", root=core.template, extension=core.extension)
    add(section, "code", code=core.code, codeSystem=LOINC, codeSystemName="LOINC", displayName=core.title)
    add(section, "title", core.title)
    add(section, "text", NOTHING_KNOWN)
    add(section, "languageCode", code=_OWN_LANGUAGE)
    return section


def _listed(listed: Sequence[Listed], note: str) -> etree._Element:
    section = new("section")
    add(
        section,
        "code",
        code="77599-9",
        codeSystem=LOINC,
        codeSystemName="LOINC",
        displayName="Additional documentation",
    )
    add(section, "title", "Documents named only")
    text = add(section, "text")
    if note:
        add(text, "paragraph", note)
    if listed:
        table = add(text, "table")
        row = add(add(table, "thead"), "tr")
        for head in ("Title", "Type", "Date", "Document id", "Why it is not put in"):
            add(row, "th", head)
        rows = add(table, "tbody")
        for one in listed:
            row = add(rows, "tr")
            for value in (one.title, one.type, one.day, one.unique_id, one.why):
                add(row, "td", value)
    add(section, "languageCode", code=_OWN_LANGUAGE)
    return section


# --- the header -------------------------------------------------------------------------------------------------------


def _header(root: etree._Element, about: About, *, is_ccd: bool) -> etree._Element:
    """Write the header; its id element, which has no root yet."""
    add(root, "realmCode", code="US")
    add(root, "typeId", root="2.16.840.1.113883.1.3", extension="POCD_HD000040")
    for template in (_HEADER, _CCD) if is_ccd else (_HEADER,):
        add(root, "templateId", root=template)
        add(root, "templateId", root=template, extension=_RELEASE)
    own = add(root, "id")
    code, display = about.code
    add(root, "code", code=code, codeSystem=LOINC, codeSystemName="LOINC", **_told(displayName=display))
    add(root, "title", about.title)
    _time(root, "effectiveTime", about.made_at)
    add(root, "confidentialityCode", code=about.level, codeSystem=CONFIDENTIALITY)
    add(root, "languageCode", code=about.language)
    _patient(add(add(root, "recordTarget"), "patientRole"), about)
    author = add(root, "author")
    _time(author, "time", about.made_at)
    device = add(author, "assignedAuthor")
    add(device, "id", root=about.hub.oid)
    add(device, "addr", nullFlavor="NI")
    add(device, "telecom", nullFlavor="NI")
    made = add(device, "assignedAuthoringDevice")
    add(made, "manufacturerModelName", about.hub.software)
    add(made, "softwareName", about.hub.software)
    _organization(add(device, "representedOrganization"), about.hub)
    _organization(add(add(add(root, "custodian"), "assignedCustodian"), "representedCustodianOrganization"), about.hub)
    event = add(add(root, "documentationOf"), "serviceEvent", classCode="PCPR")
    time = add(event, "effectiveTime")
    _time(time, "low", about.period[0])
    _time(time, "high", about.period[1])
    return own


def _organization(element: etree._Element, hub: Hub) -> None:
    add(element, "id", root=hub.oid)
    add(element, "name", hub.name)
    add(element, "telecom", nullFlavor="NI")
    add(element, "addr", nullFlavor="NI")


def _patient(role: etree._Element, about: About) -> None:
    for root, extension in about.patient_ids:
        add(role, "id", root=root, extension=extension)
    if not about.patient_ids:
        add(role, "id", nullFlavor="NI")
    known = about.patient
    for address in known.addresses:
        _address(role, address)
    if not known.addresses:
        add(role, "addr", nullFlavor="NI")
    telecoms = [one for one in known.telecoms if one.value]
    for telecom in telecoms:
        _telecom(role, telecom)
    if not telecoms:
        add(role, "telecom", nullFlavor="NI")
    person = add(role, "patient")
    for name in known.names:
        _name(person, name)
    if not known.names:
        add(person, "name", nullFlavor="NI")
    gender = _GENDER.get(known.gender)
    if gender is None:
        add(person, "administrativeGenderCode", nullFlavor="UNK")
    else:
        add(
            person, "administrativeGenderCode",
            code=gender[0], codeSystem="2.16.840.1.113883.5.1", displayName=gender[1],
        )  # fmt: skip
    _time(person, "birthTime", known.birth_date[:10].replace("-", ""))
    add(person, "raceCode", nullFlavor="UNK")
    add(person, "ethnicGroupCode", nullFlavor="UNK")


def _name(person: etree._Element, known: HumanName) -> None:
    name = add(person, "name", **_told(use=_NAME_USE.get(known.use, "")))
    if not known.family and not known.given:
        name.text = plain(known.text)
        return
    for kind, parts in (
        ("prefix", known.prefix), ("given", known.given), ("family", (known.family,)), ("suffix", known.suffix)
    ):  # fmt: skip
        for part in parts:
            if part:
                add(name, kind, part)


def _address(role: etree._Element, known: Address) -> None:
    address = add(role, "addr", **_told(use=_PLACE_USE.get(known.use, "")))
    for kind, value in (
        *(("streetAddressLine", line) for line in known.lines),
        ("city", known.city),
        ("state", known.state),
        ("postalCode", known.postal_code),
        ("country", known.country),
    ):
        if value:
            add(address, kind, value)
    if not len(address):
        address.text = plain(known.text)


def _telecom(role: etree._Element, known: Telecom) -> None:
    scheme = _SCHEME.get(known.system, "")
    value = "".join(known.value.split()) if scheme else known.value
    told = value if value.lower().startswith(scheme) else f"{scheme}{value}"
    add(role, "telecom", value=told, **_told(use=_PHONE_USE.get(known.use, "")))


def _time(parent: etree._Element, name: str, value: str) -> None:
    if value:
        add(parent, name, value=value)
    else:
        add(parent, name, nullFlavor="UNK")


def _told(**attributes: str) -> dict[str, str]:
    return {name: value for name, value in attributes.items() if value}
