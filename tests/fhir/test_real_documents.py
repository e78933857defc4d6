"""Every real file of the sample data goes in over MHD and comes back byte for byte at another participant."""

from __future__ import annotations

import mimetypes
import os
import re
from pathlib import Path

import pytest
from lxml import etree

from hie.exchange import feed
from hie.standards.demographics import Demographics, HumanName
from tests.exchange import world
from tests.fhir.conftest import World, oid, provide_bundle
from tests.fhir.test_consents import consent

pytestmark = [pytest.mark.django_db, pytest.mark.shared]

SHARED = Path(os.environ.get("HIE_SHARED", "../shared"))
CDA_FORMAT = {
    "system": "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
    "code": "urn:hl7-org:sdwg:ccda-structuredBody:2.1",
}
REFUSED = {
    "031-hl7ex-Share_with_Patient_or_Proxy_C-CDAR2.1_.xml": "not well formed",
    "032-hl7ex-Person_Name_Formatting_C-CDA_R2.1_.xml": "no ClinicalDocument",
    "036-onc-NT_BadXml_r11_v2.xml": "not well formed",
}
V3 = "{urn:hl7-org:v3}"
TYPES = {".dcm": "application/dicom", ".wav": "audio/x-wav", ".zip": "application/zip", ".pdf": "application/pdf"}


def header(data: bytes) -> tuple[Demographics, str]:
    """Who the document is about, and its own id, read independently of the hub."""
    try:
        root = etree.fromstring(data, etree.XMLParser(recover=True, resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError:
        root = None
    if root is None or root.tag != f"{V3}ClinicalDocument":
        return Demographics(names=(HumanName(family="Nobody", given=("Known",)),), birth_date="1950-01-01"), ""
    patient = root.find(f"{V3}recordTarget/{V3}patientRole/{V3}patient")
    name = patient.find(f"{V3}name") if patient is not None else None
    family = (name.findtext(f"{V3}family") or "").strip() if name is not None else ""
    given = tuple(g.text.strip() for g in name.findall(f"{V3}given") if g.text) if name is not None else ()
    birth = patient.find(f"{V3}birthTime") if patient is not None else None
    digits = re.sub(r"\D", "", (birth.get("value") or "")[:8]) if birth is not None else ""
    date = "-".join(part for part in (digits[:4], digits[4:6], digits[6:8]) if part)
    gender = patient.find(f"{V3}administrativeGenderCode") if patient is not None else None
    sex = {"M": "male", "F": "female"}.get(gender.get("code", "") if gender is not None else "", "unknown")
    own = root.find(f"{V3}id")
    unique_id = ""
    if own is not None and own.get("root"):
        extension = own.get("extension")
        unique_id = own.get("root") + (f"^{extension}" if extension else "")
    return (
        Demographics(names=(HumanName(family=family or "Unnamed", given=given),), birth_date=date, gender=sex),
        unique_id,
    )


def master(unique_id: str) -> dict[str, object]:
    root, caret, extension = unique_id.partition("^")
    kind = {
        "coding": [
            {"system": "https://profiles.ihe.net/ITI/MHD/CodeSystem/IHE.MHD.MHDIdentifierType", "code": "uniqueId"}
        ]
    }
    if caret:
        return {"type": kind, "system": f"urn:oid:{root}", "value": extension}
    scheme = "urn:oid:" if root[:1].isdigit() and "-" not in root else "urn:uuid:"
    return {"type": kind, "system": "urn:ietf:rfc:3986", "value": scheme + root}


def publish(world_: World, number: int, path: Path, content_type: str, *, cda: bool):
    data = path.read_bytes()
    demographics, unique_id = header(data) if cda else (world.rosa(f"F{number}"), "")
    feed.feed(
        feed.Revision(authority=world.HOSPITAL_AUTHORITY, value=f"F{number}", demographics=demographics),
        world.hospital_caller(),
    )
    subject = {"identifier": {"system": f"urn:oid:{world.HOSPITAL_AUTHORITY}", "value": f"F{number}"}}
    bundle = provide_bundle(data, content_type, subject=subject, masterIdentifier=master(unique_id or oid()))
    bundle["entry"][0]["resource"]["subject"] = subject
    if cda:
        bundle["entry"][1]["resource"]["content"][0]["format"] = CDA_FORMAT
    return data, world_.hospital.post("", bundle)


def permit(world_: World, number: int) -> None:
    """The patient permits everything: several samples are marked very restricted by their own header."""
    identifier = {"system": f"urn:oid:{world.HOSPITAL_AUTHORITY}", "value": f"F{number}"}
    resource = {**consent("", decision="permit"), "patient": {"identifier": identifier}}
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}
    resource["provision"]["securityLabel"] = [label]
    answer = world_.hospital.post("/Consent", resource)
    assert answer.status_code == 201, answer.content


def read_back(world_: World, answer) -> bytes:
    location = answer.json()["entry"][1]["response"]["location"]
    found = world_.clinic.get("/" + location.split("/_history")[0])
    assert found.status_code == 200, found.content
    content = world_.clinic.get(found.json()["content"][0]["attachment"]["url"])
    assert content.status_code == 200
    return content.getvalue()


def test_every_media_file_comes_back_byte_for_byte_at_another_participant(hub_world):
    files = sorted(p for p in (SHARED / "data/media").iterdir() if p.name not in ("MANIFEST.csv", "README.md"))
    assert len(files) == 14
    for number, path in enumerate(files):
        content_type = (
            TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        )
        data, answer = publish(hub_world, number, path, content_type, cda=False)
        assert answer.status_code == 200, (path.name, answer.content)
        assert read_back(hub_world, answer) == data, path.name


def rounds() -> list[list[Path]]:
    """The files in rounds of one registry each: several samples carry the same document id with other content."""
    found: list[list[Path]] = []
    seen: dict[str, int] = {}
    for path in sorted((SHARED / "data/cda").glob("*.xml")):
        _, unique_id = header(path.read_bytes())
        turn = seen.get(unique_id, 0) if unique_id else 0
        seen[unique_id] = turn + 1
        while len(found) <= turn:
            found.append([])
        found[turn].append(path)
    return found


@pytest.mark.parametrize("turn", range(4))
def test_every_cda_comes_back_byte_for_byte_or_gets_the_refusal_it_deserves(hub_world, turn):
    files = rounds()[turn]
    refused: dict[str, list[str]] = {}
    for number, path in enumerate(files):
        data, answer = publish(hub_world, number, path, "text/xml", cda=True)
        if answer.status_code != 200:
            assert answer.status_code in (400, 422)
            refused[path.name] = [issue.get("diagnostics") for issue in answer.json()["issue"]]
            continue
        permit(hub_world, number)
        assert read_back(hub_world, answer) == data, path.name
    deserved = {path.name for path in files} & set(REFUSED)
    assert set(refused) == deserved, "\n".join(f"{name}: {told}" for name, told in refused.items())


def test_the_rounds_hold_every_cda_and_forty_of_them_are_to_be_accepted():
    names = [path.name for turn in rounds() for path in turn]
    assert (len(names), len(set(names)), len(rounds())) == (43, 43, 4)
    assert len(set(names) - set(REFUSED)) == 40
