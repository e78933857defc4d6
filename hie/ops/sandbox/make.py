"""Small valid documents of every kind the sandbox needs: C-CDA, PDF, image, DICOM, FHIR, text.

All invented; the same input gives the same bytes, so that a second start can tell what is there.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass

import orjson
from lxml import etree

HL7 = "urn:hl7-org:v3"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
SDTC = "urn:hl7-org:sdtc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section of a C-CDA: LOINC code, title, paragraphs, and coded entries (code, system OID, display)."""

    code: str
    title: str
    text: tuple[str, ...]
    codes: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CdaHeader:
    """What the header of a sandbox C-CDA says."""

    unique_id: str
    patient_id: str
    authority: str
    family: str
    given: tuple[str, ...]
    birth_date: str  # YYYYMMDD
    gender: str  # M | F
    code: str
    display: str
    title: str
    effective_time: str  # YYYYMMDDhhmmss
    author_family: str
    author_given: str
    organization: str
    organization_oid: str
    confidentiality: str = "N"
    template: str = "2.16.840.1.113883.10.20.22.1.2"


def ccda(header: CdaHeader, sections: tuple[Section, ...]) -> bytes:
    """A C-CDA R2.1 document with narrative and coded entries."""
    root = etree.Element(_n("ClinicalDocument"), nsmap={None: HL7, "xsi": XSI, "sdtc": SDTC})
    _sub(root, "realmCode", code="US")
    _sub(root, "typeId", root="2.16.840.1.113883.1.3", extension="POCD_HD000040")
    _sub(root, "templateId", root="2.16.840.1.113883.10.20.22.1.1", extension="2015-08-01")
    _sub(root, "templateId", root=header.template, extension="2015-08-01")
    _sub(root, "id", root=header.unique_id)
    _sub(root, "code", code=header.code, codeSystem="2.16.840.1.113883.6.1", displayName=header.display)
    _sub(root, "title").text = header.title
    _sub(root, "effectiveTime", value=f"{header.effective_time}+0000")
    _sub(root, "confidentialityCode", code=header.confidentiality, codeSystem="2.16.840.1.113883.5.25")
    _sub(root, "languageCode", code="en-US")
    role = _sub(_sub(root, "recordTarget"), "patientRole")
    _sub(role, "id", root=header.authority, extension=header.patient_id)
    patient = _sub(role, "patient")
    name = _sub(patient, "name", use="L")
    for given in header.given:
        _sub(name, "given").text = given
    _sub(name, "family").text = header.family
    _sub(patient, "administrativeGenderCode", code=header.gender, codeSystem="2.16.840.1.113883.5.1")
    _sub(patient, "birthTime", value=header.birth_date)
    author = _sub(root, "author")
    _sub(author, "time", value=f"{header.effective_time}+0000")
    assigned = _sub(author, "assignedAuthor")
    _sub(assigned, "id", root=header.organization_oid, extension=f"author-{header.author_family.lower()}")
    person = _sub(_sub(assigned, "assignedPerson"), "name")
    _sub(person, "given").text = header.author_given
    _sub(person, "family").text = header.author_family
    organization = _sub(assigned, "representedOrganization")
    _sub(organization, "id", root=header.organization_oid)
    _sub(organization, "name").text = header.organization
    custodian = _sub(_sub(_sub(root, "custodian"), "assignedCustodian"), "representedCustodianOrganization")
    _sub(custodian, "id", root=header.organization_oid)
    _sub(custodian, "name").text = header.organization
    body = _sub(_sub(root, "component"), "structuredBody")
    for section in sections:
        _section(body, section)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _section(body: etree._Element, content: Section) -> None:
    section = _sub(_sub(body, "component"), "section")
    _sub(section, "code", code=content.code, codeSystem="2.16.840.1.113883.6.1", displayName=content.title)
    _sub(section, "title").text = content.title
    text = _sub(section, "text")
    for paragraph in content.text:
        _sub(text, "paragraph").text = paragraph
    for code, system, display in content.codes:
        observation = _sub(_sub(section, "entry"), "observation", classCode="OBS", moodCode="EVN")
        _sub(observation, "code", code="29308-4", codeSystem="2.16.840.1.113883.6.1", displayName="Diagnosis")
        _sub(observation, "statusCode", code="completed")
        value = _sub(observation, "value", code=code, codeSystem=system, displayName=display)
        value.set(f"{{{XSI}}}type", "CD")


def _n(name: str) -> str:
    return f"{{{HL7}}}{name}"


def _sub(parent: etree._Element, name: str, **attributes: str) -> etree._Element:
    return etree.SubElement(parent, _n(name), attributes)


def pdf(lines: tuple[str, ...]) -> bytes:
    """A one-page PDF 1.4 with these lines of text."""
    escaped = [line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)") for line in lines]
    stream = "BT /F1 12 Tf 72 770 Td 16 TL " + " ".join(f"({line}) Tj T*" for line in escaped) + " ET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        " /Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(stream.encode('latin-1', 'replace'))} >>\nstream\n{stream}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    out = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n".encode() + body.encode("latin-1", "replace") + b"\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{offset:010d} 00000 n \n".encode() for offset in offsets)
    return out + f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()


def png(width: int = 96, height: int = 96, seed: int = 0) -> bytes:
    """A grey picture with a lighter disc: a stand-in for a radiograph."""
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            inside = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (width / 3 + seed % 9) ** 2
            rows.append(min(255, (200 if inside else 40) + (x * 7 + y * 13 + seed) % 32))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(rows), 9))
        + chunk(b"IEND", b"")
    )


def dicom(*, patient_id: str, study_uid: str, seed: int = 0, rows: int = 64, columns: int = 64) -> bytes:
    """A DICOM Part 10 file, explicit VR little endian, 8-bit secondary capture."""
    pixels = bytes((x * 3 + y * 5 + seed) % 256 for y in range(rows) for x in range(columns))
    sop = f"{study_uid}.1.1"

    def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
        if len(value) % 2:
            value += b"\x00" if vr in (b"UI", b"OB") else b" "
        if vr in (b"OB", b"OW"):
            return struct.pack("<HH2sHI", group, number, vr, 0, len(value)) + value
        return struct.pack("<HH2sH", group, number, vr, len(value)) + value

    meta = (
        element(0x0002, 0x0001, b"OB", b"\x00\x01")
        + element(0x0002, 0x0002, b"UI", b"1.2.840.10008.5.1.4.1.1.7")
        + element(0x0002, 0x0003, b"UI", sop.encode())
        + element(0x0002, 0x0010, b"UI", b"1.2.840.10008.1.2.1")
        + element(0x0002, 0x0012, b"UI", b"2.999.1.99")
    )
    body = (
        element(0x0008, 0x0016, b"UI", b"1.2.840.10008.5.1.4.1.1.7")
        + element(0x0008, 0x0018, b"UI", sop.encode())
        + element(0x0008, 0x0020, b"DA", b"20260412")
        + element(0x0008, 0x0060, b"CS", b"OT")
        + element(0x0010, 0x0020, b"LO", patient_id.encode())
        + element(0x0020, 0x000D, b"UI", study_uid.encode())
        + element(0x0020, 0x000E, b"UI", f"{study_uid}.1".encode())
        + element(0x0028, 0x0002, b"US", struct.pack("<H", 1))
        + element(0x0028, 0x0004, b"CS", b"MONOCHROME2")
        + element(0x0028, 0x0010, b"US", struct.pack("<H", rows))
        + element(0x0028, 0x0011, b"US", struct.pack("<H", columns))
        + element(0x0028, 0x0100, b"US", struct.pack("<H", 8))
        + element(0x0028, 0x0101, b"US", struct.pack("<H", 8))
        + element(0x0028, 0x0102, b"US", struct.pack("<H", 7))
        + element(0x0028, 0x0103, b"US", struct.pack("<H", 0))
        + element(0x7FE0, 0x0010, b"OB", pixels)
    )
    return b"\x00" * 128 + b"DICM" + element(0x0002, 0x0000, b"UL", struct.pack("<I", len(meta))) + meta + body


def fhir_report(*, unique_id: str, title: str, results: tuple[tuple[str, str, str, str], ...]) -> bytes:
    """A FHIR document Bundle: a Composition with coded observations (LOINC code, display, value, unit)."""
    observations = [
        {
            "fullUrl": f"urn:uuid:{_uuid(unique_id, code)}",
            "resource": {
                "resourceType": "Observation",
                "id": _uuid(unique_id, code),
                "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": code, "display": display}]},
                "valueQuantity": {
                    "value": float(value),
                    "unit": unit,
                    "system": "http://unitsofmeasure.org",
                    "code": unit,
                },
            },
        }
        for code, display, value, unit in results
    ]
    composition = {
        "resourceType": "Composition",
        "id": _uuid(unique_id, "composition"),
        "status": "final",
        "type": {"coding": [{"system": "http://loinc.org", "code": "11502-2", "display": "Laboratory report"}]},
        "date": "2026-04-12T09:30:00Z",
        "author": [{"display": "Laboratory"}],
        "title": title,
        "section": [{"title": "Results", "entry": [{"reference": item["fullUrl"]} for item in observations]}],
    }
    bundle = {
        "resourceType": "Bundle",
        "type": "document",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:{unique_id}"},
        "timestamp": "2026-04-12T09:30:00Z",
        "entry": [
            {"fullUrl": f"urn:uuid:{_uuid(unique_id, 'composition')}", "resource": composition},
            *observations,
        ],
    }
    return orjson.dumps(bundle)


def _uuid(*parts: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "|".join(parts)))
