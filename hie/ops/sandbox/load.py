"""Load the sandbox through the public interfaces, once; write `sandbox.json` when all of it is there.

Safe to run again after an interruption: what a start before left behind is found and kept.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from hie.ops.sandbox import make, world
from hie.ops.sandbox.hub import Client, new_key, provide_bundle, public_jwk, send_hl7v2
from hie.ops.sandbox.world import Community, Document, Organization, Patient, Record

ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
MIME = {
    "ccda": "text/xml",
    "pdf": "application/pdf",
    "png": "image/png",
    "dicom": "application/dicom",
    "fhir": "application/fhir+json",
    "text": "text/plain",
}
FORMAT = {
    "ccda": ("urn:hl7-org:sdwg:ccda-structuredBody:2.1", world.FORMATS),
    "dicom": ("1.2.840.10008.5.1.4.1.1.7", "urn:oid:1.2.840.10008.2.6.1"),
}
CODES = Path(__file__).parent / "codes.xml"
"""The affinity domain of the sandbox, as `./hub affinity_domain` takes it."""
STAFF_ROLES = ("steward", "privacy-officer", "onboarding", "auditor", "operator")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class HubPlace:
    """Where one hub is: its address, data folder, and the environment its commands run in."""

    name: str
    base_url: str
    data_dir: Path
    home_community_id: str
    repository_unique_id: str
    assigning_authority: str
    mllp_port: int | None
    env: Mapping[str, str] = field(repr=False)

    def manage(self, *arguments: str) -> str:
        """Run `manage.py` of this hub; its output, or an error with its last lines."""
        root = Path(__file__).resolve().parents[3]
        done = subprocess.run(
            [sys.executable, str(root / "manage.py"), *arguments],
            env={**os.environ, **self.env},
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(
                f"{self.name}: {' '.join(arguments[:1])} failed: {done.stdout[-800:]}{done.stderr[-800:]}"
            )
        return done.stdout


def ensure(
    main: HubPlace, peers: Mapping[str, HubPlace], faulty_url: str, *, hub_client_id: str, say: Say
) -> dict[str, Any]:
    """Load whatever is missing and return the sandbox description; quick when all is there."""
    target = main.data_dir / "sandbox.json"
    if target.exists():
        known: dict[str, Any] = json.loads(target.read_bytes())
        if known.get("base_url") == main.base_url and known.get("complete"):
            addresses = {item["home_community_id"]: item["base_url"] for item in known["remote_communities"]}
            current = {item.home_community_id: peers[item.id].base_url for item in world.COMMUNITIES}
            if addresses == current | {world.FAULTY[2]: faulty_url}:
                if known.get("affinity_domain") != CODES.name:
                    # A sandbox of a release that had no sets of codes of its own.
                    for place in (main, *(peers[item.id] for item in world.COMMUNITIES)):
                        load_codes(place)
                    write_private(target, known | {"affinity_domain": CODES.name})
                return known | {"affinity_domain": CODES.name}
    for community in world.COMMUNITIES:
        say(f"loading {community.name}")
        load_community(community, peers[community.id], main, hub_client_id=hub_client_id)
    say("registering the sandbox's participants")
    organizations = list(world.ORGANIZATIONS)
    for organization in organizations:
        _key(main.data_dir, organization.id)
    entries = [participant_entry(organization, main.data_dir) for organization in organizations]
    entries += [
        community_entry(community.id, community.name, community.home_community_id, community.number, url)
        for community, url in ((item, f"{peers[item.id].base_url}/fhir") for item in world.COMMUNITIES)
    ]
    faulty_id, faulty_name, faulty_home = world.FAULTY
    entries.append(community_entry(faulty_id, faulty_name, faulty_home, 700, f"{faulty_url}/fhir"))
    write_private(main.data_dir / "participants.json", {"participants": entries})
    main.manage("participants", str(main.data_dir / "participants.json"))
    load_codes(main)
    description = describe(main, peers, faulty_url)
    clients = {item.id: Client.of(description, item.id, main.data_dir) for item in organizations}
    users = {item["id"]: item["users"][0] if item["users"] else None for item in description["participants"]}
    say("feeding patients")
    for patient in world.PATIENTS:
        for record in patient.records:
            feed(clients[record.organization], main, patient, record)
    say("publishing documents")
    by_key = {item["story"]: item for item in description["patients"]}
    for patient in world.PATIENTS:
        for document in patient.documents:
            unique_id = publish(clients[document.custodian], patient, document)
            by_key[patient.story]["documents"].append(
                {
                    "unique_id": unique_id,
                    "custodian": document.custodian,
                    "mime_type": MIME[document.kind],
                    "labels": list(document.labels),
                }
            )
    say("filing the patients' choices")
    for patient in world.PATIENTS:
        if patient.choice:
            file_choice(clients[patient.records[0].organization], patient, users[patient.records[0].organization])
    for key, wrong in world.OVERLAY.items():
        patient = next(item for item in world.PATIENTS if item.key == key)
        feed_overlay(clients[patient.records[0].organization], patient, wrong)
    say("feeding what stewards must decide")
    feed_doubts(clients, main)
    say("opening accounts")
    open_accounts(main, description)
    description |= {"affinity_domain": CODES.name, "complete": True}
    write_private(target, description)
    return description


def load_codes(place: HubPlace) -> None:
    """Give a hub the sandbox's sets of codes, where it has none: never over what its staff loaded or chose."""
    place.manage("affinity_domain", str(CODES), "--unless-loaded")


def load_community(community: Community, place: HubPlace, main: HubPlace, *, hub_client_id: str) -> None:
    """A further hub: one hospital, the people it shares with the main hub, and the main hub as a community."""
    hospital = hospital_of(community)
    _key(place.data_dir, hospital.id)
    asker = {
        "id": "main-hub",
        "name": main.name,
        "type": "community",
        "organization_oid": main.home_community_id.removeprefix("urn:oid:"),
        "home_community_id": main.home_community_id,
        "client_id": hub_client_id,
        "jwks_url": f"{main.base_url}/oauth/jwks",
        "scopes": ["system/Patient.rs", "system/DocumentReference.rs", "system/Binary.r"],
        "purposes": ["TREAT", "HPAYMT", "HOPERAT", "BTG", "PATRQT"],
        "default_role": "system",
        "default_purpose": "TREAT",
    }
    write_private(
        place.data_dir / "participants.json",
        {"participants": [participant_entry(hospital, place.data_dir), asker]},
    )
    place.manage("participants", str(place.data_dir / "participants.json"))
    load_codes(place)
    client = client_of(hospital, place.base_url, place.data_dir)
    for key, local_id in community.patients:
        patient = next(item for item in world.PATIENTS if item.key == key)
        record = Record(organization=hospital.id, local_id=local_id)
        client.feed(fhir_patient(patient, record, hospital.authority), f"urn:oid:{hospital.authority}", local_id)
        for document in community.documents.get(key, ()):
            publish(client, patient, document, organization=hospital, local_id=local_id)


def hospital_of(community: Community) -> Organization:
    """The one hospital of a further hub."""
    return Organization(
        id=f"{community.id}-hospital",
        name=community.hospital,
        type="hospital",
        number=community.number + 1,
        purposes=("TREAT", "HPAYMT", "HOPERAT", "BTG"),
        users=(
            world.User(id="Practitioner/lou-haze", name="Dr. Lou Haze", role="physician", purposes=world.PHYSICIAN),
        ),
    )


def client_of(organization: Organization, base_url: str, folder: Path) -> Client:
    """The client of an organization whose key lies in this data folder."""
    return Client(
        base_url=base_url,
        client_id=organization.id,
        kid=f"{organization.id}-1",
        key=(folder / "keys" / f"{organization.id}.pem").read_bytes(),
        scopes=tuple(organization.scopes),
        organization_oid=organization.oid,
        organization_name=organization.name,
        http=httpx.Client(base_url=base_url, timeout=60.0),
    )


def _key(folder: Path, participant_id: str) -> None:
    path = folder / "keys" / f"{participant_id}.pem"
    if not path.exists():
        new_key(path)


def participant_entry(organization: Organization, folder: Path) -> dict[str, Any]:
    """An organization in the form of the participants file."""
    key = folder / "keys" / f"{organization.id}.pem"
    entry: dict[str, Any] = {
        "id": organization.id,
        "name": organization.name,
        "type": organization.type,
        "organization_oid": organization.oid,
        "assigning_authority": organization.authority,
        "source_id": organization.source_id,
        "status": organization.status,
        "jwks": {"keys": [public_jwk(key, f"{organization.id}-1")]},
        "scopes": [*organization.scopes, "system/Consent.cruds"],
        "purposes": list(organization.purposes),
        "users": [{"id": user.id, "name": user.name, "role": user.role} for user in organization.users],
    }
    if organization.part_of:
        entry["part_of"] = organization.part_of
    if organization.default_role:
        entry |= {"default_role": organization.default_role, "default_purpose": organization.default_purpose}
    return entry | organization.more


def community_entry(community_id: str, name: str, home: str, number: int, url: str) -> dict[str, Any]:
    """Another community, asked over FHIR; its agreement says that it labels its documents."""
    return {
        "id": community_id,
        "name": name,
        "type": "community",
        "organization_oid": f"{world.ARC}.{number}",
        "home_community_id": home,
        "jwks": {"keys": []},
        "scopes": [],
        "purposes": ["TREAT", "HPAYMT", "HOPERAT", "PATRQT"],
        "agreement": {"status": "active", "period": {"start": "2026-01-01"}, "labels_documents": True},
        "endpoints": [{"kind": "fhir", "url": url}],
    }


def fhir_patient(patient: Patient, record: Record, authority: str) -> dict[str, Any]:
    """The patient as one organization knows her."""
    resource: dict[str, Any] = {
        "resourceType": "Patient",
        "identifier": [{"system": f"urn:oid:{authority}", "value": record.local_id}],
        "active": True,
        "name": [
            {
                "use": "official",
                "family": record.family or patient.family,
                "given": list(record.given or patient.given),
            }
        ],
        "gender": patient.gender,
        "birthDate": record.birth_date or patient.birth_date,
    }
    if not record.moved:
        resource["telecom"] = [{"system": "phone", "value": patient.phone, "use": "home"}]
        resource["address"] = [
            {
                "use": "home",
                "line": [patient.street],
                "city": patient.city,
                "postalCode": patient.postal_code,
                "country": "US",
            }
        ]
    if patient.deceased:
        resource["deceasedDateTime"] = patient.deceased
    if patient.multiple_birth:
        resource["multipleBirthInteger"] = patient.multiple_birth
    return resource


def feed(client: Client, place: HubPlace, patient: Patient, record: Record) -> None:
    """Tell the hub of a patient, over FHIR [ITI-104] or HL7 v2 [ITI-8] as the organization does."""
    organization = next(item for item in world.ORGANIZATIONS if item.id == record.organization)
    if record.channel == "hl7v2" and place.mllp_port:
        answer = send_hl7v2("127.0.0.1", place.mllp_port, adt_a04(organization, patient, record))
        if "MSA|AA" not in answer:
            raise RuntimeError(f"feed of {patient.key} not taken: {answer!r}")
        return
    client.feed(
        fhir_patient(patient, record, organization.authority), f"urn:oid:{organization.authority}", record.local_id
    )


def feed_overlay(client: Client, patient: Patient, wrong: Mapping[str, Any]) -> None:
    """An update that is another person: the hub keeps it apart and asks a steward."""
    organization = next(item for item in world.ORGANIZATIONS if item.id == patient.records[0].organization)
    resource = fhir_patient(patient, patient.records[0], organization.authority)
    resource["name"] = [{"use": "official", "family": wrong["family"], "given": list(wrong["given"])}]
    resource["birthDate"] = wrong["birth_date"]
    resource["gender"] = wrong["gender"]
    client.call(
        "PUT",
        "/fhir/Patient",
        params={"identifier": f"urn:oid:{organization.authority}|{patient.records[0].local_id}"},
        json=resource,
        expect=(200, 201, 202, 409, 422),
    )


def feed_doubts(clients: Mapping[str, Client], place: HubPlace) -> None:
    """Records that the hub must not decide on by itself, and what becomes of two of them."""
    organizations = {item.id: item for item in world.ORGANIZATIONS}
    for patient in world.DOUBTS:
        for record in patient.records:
            feed(clients[record.organization], place, patient, record)
        for document in patient.documents:
            publish(clients[document.custodian], patient, document)
        revised = world.REVISED.get(patient.key)
        if revised is not None:
            feed(clients[revised.organization], place, patient, revised)
    for key, (gone, kept) in world.REPLACED.items():
        patient = next(item for item in world.DOUBTS if item.key == key)
        record = next(item for item in patient.records if item.local_id == gone)
        system = f"urn:oid:{organizations[record.organization].authority}"
        resource = fhir_patient(patient, record, organizations[record.organization].authority)
        resource["active"] = False
        resource["link"] = [{"other": {"identifier": {"system": system, "value": kept}}, "type": "replaced-by"}]
        clients[record.organization].call(
            "PUT",
            "/fhir/Patient",
            params={"identifier": f"{system}|{gone}"},
            json=resource,
            expect=(200, 201, 409, 422),  # said before, by a start that was interrupted
        )


def adt_a04(organization: Organization, patient: Patient, record: Record, event: str = "A04") -> str:
    """Register a patient, HL7 v2.5."""
    sender = organization.more["hl7v2"]
    given = record.given or patient.given
    name = "^".join([record.family or patient.family, given[0], " ".join(given[1:])])
    birth = (record.birth_date or patient.birth_date).replace("-", "")
    address = f"{patient.street}^^{patient.city}^^{patient.postal_code}^US"
    phone = patient.phone.replace(" ", "")
    return "\r".join(
        [
            f"MSH|^~\\&|{sender['application']}|{sender['facility']}|HUB|HUB|20260401080000||ADT^{event}^ADT_A01|"
            f"{uuid.uuid4().hex[:20]}|P|2.5|||||||UNICODE UTF-8",
            f"EVN|{event}|20260401080000",
            f"PID|1||{record.local_id}^^^&{organization.authority}&ISO^MR||{name}||{birth}|{patient.sex}|||"
            f"{address}||{phone}",
            "PV1|1|O",
            "",
        ]
    )


def unique_id_of(organization: Organization, patient: Patient, document: Document) -> str:
    """A stable OID for a sandbox document."""
    return f"{organization.oid}.9.{uuid.uuid5(uuid.NAMESPACE_OID, f'{patient.key}/{document.key}').int % 10**12}"


def content_of(
    organization: Organization, patient: Patient, document: Document, unique_id: str, local_id: str
) -> bytes:
    """The bytes of a sandbox document."""
    if document.kind == "pdf":
        return make.pdf((document.title, *document.text))
    if document.kind == "png":
        return make.png(seed=len(document.key))
    if document.kind == "dicom":
        return make.dicom(patient_id=local_id, study_uid=unique_id, seed=len(document.key))
    if document.kind == "fhir":
        return make.fhir_report(
            unique_id=unique_id,
            title=document.title,
            results=(
                ("2093-3", "Cholesterol", "188", "mg/dL"),
                ("2085-9", "HDL cholesterol", "52", "mg/dL"),
                ("2571-8", "Triglyceride", "131", "mg/dL"),
            ),
        )
    if document.kind == "text":
        return "\n".join((document.title, *document.text, "")).encode()
    record = next((item for item in patient.records if item.organization == organization.id), None)
    author = organization.users[0].name.removeprefix("Dr. ").split() if organization.users else ["The", "Office"]
    header = make.CdaHeader(
        unique_id=unique_id,
        patient_id=local_id,
        authority=organization.authority,
        family=(record and record.family) or patient.family,
        given=(record and record.given) or patient.given,
        birth_date=patient.birth_date.replace("-", ""),
        gender=patient.sex,
        code=document.type_code,
        display=document.type_display,
        title=document.title,
        effective_time=document.created.replace("-", "").replace(":", "").replace("T", "").removesuffix("Z"),
        author_family=author[-1],
        author_given=author[0],
        organization=organization.name,
        organization_oid=organization.oid,
        confidentiality=document.confidentiality,
    )
    section = make.Section(code="11450-4", title="Problems", text=document.text, codes=document.codes)
    return make.ccda(header, (section,))


def publish(
    client: Client,
    patient: Patient,
    document: Document,
    *,
    organization: Organization | None = None,
    local_id: str | None = None,
) -> str:
    """Provide one document [ITI-65], unless it is there already; its unique id."""
    custodian = organization or next(item for item in world.ORGANIZATIONS if item.id == document.custodian)
    known = local_id or next(
        (item.local_id for item in patient.records if item.organization == custodian.id), f"X-{patient.key}"
    )
    if local_id is None and not any(item.organization == custodian.id for item in patient.records):
        # An imaging centre that sees a patient for the first time registers her itself.
        record = Record(organization=custodian.id, local_id=known)
        client.feed(fhir_patient(patient, record, custodian.authority), f"urn:oid:{custodian.authority}", known)
    unique_id = unique_id_of(custodian, patient, document)
    user = custodian.users[0]
    purpose = user.purposes[0]
    if purpose == "TREAT":
        found = client.call(
            "GET",
            "/fhir/DocumentReference",
            user={"id": user.id, "name": user.name, "role": user.role},
            purpose=purpose,
            params={
                "patient.identifier": f"urn:oid:{custodian.authority}|{known}",
                "identifier": f"urn:ietf:rfc:3986|urn:oid:{unique_id}",
                "status": "current",
            },
        ).json()
        if found.get("total"):
            return unique_id
    content = content_of(custodian, patient, document, unique_id, known)
    labels = [{"coding": [{"system": CONFIDENTIALITY, "code": document.confidentiality}]}]
    labels += [{"coding": [{"system": ACT_CODE, "code": label}]} for label in document.labels]
    reference: dict[str, Any] = {
        "type": {"coding": [{"system": world.LOINC, "code": document.type_code, "display": document.type_display}]},
        "category": [{"coding": [{"system": world.LOINC, "code": "34133-9", "display": "Summary of episode note"}]}],
        "securityLabel": labels,
        "description": document.title,
        "date": document.created,
    }
    if document.kind in FORMAT:
        code, system = FORMAT[document.kind]
        reference["format"] = {"system": system, "code": code}
    client.provide(
        provide_bundle(
            unique_id=unique_id,
            set_unique_id=f"{unique_id}.1",
            source_id=custodian.source_id,
            patient_system=f"urn:oid:{custodian.authority}",
            patient_value=known,
            content=content,
            content_type=MIME[document.kind],
            reference=reference,
            created=document.created,
        )
    )
    return unique_id


def consent_resource(
    patient_reference: Mapping[str, Any], organization: str, provision: Mapping[str, Any]
) -> dict[str, Any]:
    """A patient's choice as a FHIR Consent."""
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": dict(patient_reference),
        "dateTime": "2026-05-03",
        "performer": [dict(patient_reference)],
        "organization": [{"reference": f"Organization/{organization}"}],
        "policy": [{"uri": "urn:hie:policy:exchange:1"}],
        "provision": dict(provision),
    }


def provision_of(choice: str) -> dict[str, Any]:
    """What a sandbox choice says."""
    if choice == "opt-out":
        return {"type": "deny"}
    payer = {
        "role": {"coding": [{"system": PARTICIPATION, "code": "IRCP"}]},
        "reference": {"identifier": {"system": "urn:hie:org-type", "value": "payer"}},
    }
    pdf_only = {"system": "urn:ietf:bcp:13", "code": "application/pdf"}
    # Payers may see visits and reports, never letters: a choice that leaves a payer part of the record.
    return {"type": "permit", "provision": [{"type": "deny", "actor": [payer], "class": [pdf_only]}]}


def file_choice(client: Client, patient: Patient, user: Mapping[str, Any] | None) -> None:
    """File a patient's choice at her hospital's desk, unless one is on file."""
    organization = next(item for item in world.ORGANIZATIONS if item.id == patient.records[0].organization)
    identifier = f"urn:oid:{organization.authority}|{patient.records[0].local_id}"
    found = client.call(
        "GET",
        "/fhir/Consent",
        user=user,
        purpose="TREAT",
        params={"patient.identifier": identifier, "status": "active"},
    ).json()
    if found.get("total"):
        return
    system, value = identifier.split("|")
    patient_reference = {"identifier": {"system": system, "value": value}}
    resource = consent_resource(patient_reference, organization.id, provision_of(patient.choice or ""))
    client.call("POST", "/fhir/Consent", user=user, purpose="TREAT", json=resource)


def _totp_secret() -> str:
    return base64.b32encode(secrets.token_bytes(20)).decode()


def open_accounts(main: HubPlace, description: dict[str, Any]) -> None:
    """Portal accounts for the patients that have one, a proxy for the minor, and one member of staff a role."""
    patients = []
    for patient, entry in zip(world.PATIENTS, description["patients"], strict=True):
        if patient.portal_login:
            entry["portal_login"] = patient.portal_login
            entry["portal_password"] = secrets.token_urlsafe(12)
            patients.append(
                {
                    "login": patient.portal_login,
                    "password": entry["portal_password"],
                    "name": f"{patient.given[0]} {patient.family}",
                    "identifier": entry["identifiers"][0],
                    "proxy_for": [
                        description["patients"][_position(key)]["identifiers"][0]
                        for key in world.PROXIES.get(patient.key, ())
                    ],
                }
            )
            entry["proxy_for"] = [
                description["patients"][_position(key)]["identifiers"][0] for key in world.PROXIES.get(patient.key, ())
            ]
    administrator = {
        "username": "admin",
        "password": secrets.token_urlsafe(12),
        "totp_secret": _totp_secret(),
        "roles": ["administrator"],
    }
    staff = [
        {"username": role, "password": secrets.token_urlsafe(12), "totp_secret": _totp_secret(), "roles": [role]}
        for role in STAFF_ROLES
    ]
    path = main.data_dir / "accounts.json"
    write_private(path, {"patients": patients, "staff": [administrator, *staff]})
    try:
        main.manage("accounts", str(path))
    finally:
        path.unlink()
    description["admin"] = administrator
    description["staff"] = staff


def _position(key: str) -> int:
    return next(index for index, item in enumerate(world.PATIENTS) if item.key == key)


def describe(main: HubPlace, peers: Mapping[str, HubPlace], faulty_url: str) -> dict[str, Any]:
    """The sandbox in the form of design.md."""
    base = main.base_url
    faulty_id, faulty_name, faulty_home = world.FAULTY
    del faulty_id
    return {
        "version": 1,
        "profile": "sandbox",
        "base_url": base,
        "fhir_base": f"{base}/fhir",
        "api_base": f"{base}/api",
        "token_url": f"{base}/oauth/token",
        "jwks_url": f"{base}/oauth/jwks",
        "soap": {
            "registry": f"{base}/xds/registry",
            "repository": f"{base}/xds/repository",
            "xca_query": f"{base}/xca/query",
            "xca_retrieve": f"{base}/xca/retrieve",
            "xca_initiating": f"{base}/xca/initiating",
            "xcpd": f"{base}/xcpd",
            "pix": f"{base}/pix",
            "pdq": f"{base}/pdq",
        },
        "mllp": {"host": "127.0.0.1", "port": main.mllp_port, "tls": False},
        "home_community_id": main.home_community_id,
        "repository_unique_id": main.repository_unique_id,
        "assigning_authority": main.assigning_authority,
        "participants": [_participant_description(item) for item in world.ORGANIZATIONS],
        "patients": [_patient_description(item) for item in world.PATIENTS],
        "admin": {},
        "staff": [],
        "remote_communities": [
            {
                "name": item.name,
                "home_community_id": item.home_community_id,
                "base_url": peers[item.id].base_url,
                "health": "ok",
                "control_url": None,
            }
            for item in world.COMMUNITIES
        ]
        + [
            {
                "name": faulty_name,
                "home_community_id": faulty_home,
                "base_url": faulty_url,
                "health": "faulty",
                "control_url": f"{faulty_url}/control",
            }
        ],
    }


def _participant_description(organization: Organization) -> dict[str, Any]:
    return {
        "id": organization.id,
        "name": organization.name,
        "type": organization.type,
        "organization_oid": organization.oid,
        "assigning_authority": organization.authority,
        "status": organization.status,
        "jurisdiction": organization.jurisdiction,
        "part_of": organization.part_of,
        "client_id": organization.id,
        "kid": f"{organization.id}-1",
        "alg": "ES384",
        "private_key_file": f"keys/{organization.id}.pem",
        "source_id": organization.source_id,
        "hl7v2": organization.more.get("hl7v2"),
        "scopes": [*organization.scopes, "system/Consent.cruds"],
        "purposes": list(organization.purposes),
        "users": [
            {"id": user.id, "name": user.name, "role": user.role, "purposes": list(user.purposes)}
            for user in organization.users
        ],
    }


def _patient_description(patient: Patient) -> dict[str, Any]:
    authorities = {item.id: item.authority for item in world.ORGANIZATIONS}
    return {
        "name": f"{' '.join(patient.given)} {patient.family}",
        "family": patient.family,
        "given": list(patient.given),
        "birth_date": patient.birth_date,
        "gender": patient.gender,
        "story": patient.story,
        "identifiers": [f"{record.local_id}^^^&{authorities[record.organization]}&ISO" for record in patient.records],
        "documents": [],
        "portal_login": None,
        "portal_password": None,
        "portal_totp_secret": None,
        "proxy_for": [],
    }


def write_private(path: Path, value: Any) -> None:
    """Write JSON readable by its owner only, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(value, file, indent=1)
    draft.replace(path)
