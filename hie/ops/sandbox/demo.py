"""`./hub demo`: the story of design.md, told with real calls to a running hub.

Each step prints one line and raises when it does not hold.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from django_otp.oath import TOTP

from hie.ops.sandbox import load, world, xds
from hie.ops.sandbox.hub import Client, Unexpected, provide_bundle, send_hl7v2
from hie.ops.sandbox.world import CLINIC, HOSPITAL, LAB, PAYER, Record

ROOT = Path(__file__).resolve().parents[3]
STARTING_S = 300


class Story:
    """What the steps share: the sandbox, its clients, and the patient they are about."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sandbox: dict[str, Any] = json.loads((folder / "sandbox.json").read_bytes())
        self.clients = {
            item["id"]: Client.of(self.sandbox, item["id"], folder)
            for item in self.sandbox["participants"]
            if item["status"] == "active"
        }
        self.users = {item["id"]: item["users"] for item in self.sandbox["participants"]}
        self.number = int(time.time())
        # A different person each time the story is told: the index would rightly know the last one again.
        dice = random.Random(self.number)  # noqa: S311 - names, not secrets
        self.family = f"{_syllables(dice, 3)}moor".capitalize()
        self.given = _syllables(dice, 3).capitalize()
        self.birth_date = f"{dice.randint(1935, 1999)}-{dice.randint(1, 12):02d}-{dice.randint(1, 28):02d}"
        self.street = f"{dice.randint(1, 99)} {_syllables(dice, 2).capitalize()} Street"
        self.phone = f"+1 202 555 {dice.randint(100, 9999):04d}"
        self.hospital_id, self.clinic_id, self.lab_id = (f"{kind}-{self.number}" for kind in ("VG", "RC", "DL"))
        self.sent: dict[str, bytes] = {}
        self.person_id = ""
        self.listed: dict[str, Any] = {}

    def user(self, participant: str, role: str) -> dict[str, Any]:
        """A user of a participant with this role."""
        user: dict[str, Any] = next(item for item in self.users[participant] if item["role"] == role)
        return user

    def organization(self, participant: str) -> world.Organization:
        """The sandbox's organization."""
        return next(item for item in world.ORGANIZATIONS if item.id == participant)

    def patient(self) -> world.Patient:
        """The patient of the story; a new one each time it is told."""
        return world.Patient(
            key="story",
            story="ordinary",
            family=self.family,
            given=(self.given, "June"),
            birth_date=self.birth_date,
            gender="female",
            street=self.street,
            city="Velmoor",
            postal_code="40127",
            phone=self.phone,
            records=(),
        )


def step_1(story: Story) -> str:
    """A hospital's feed (HL7 v2) and a clinic's (FHIR), another identifier, a slightly different name: one person."""
    hospital, clinic, lab = (story.organization(item) for item in (HOSPITAL, CLINIC, LAB))
    patient = story.patient()
    answer = send_hl7v2(
        story.sandbox["mllp"]["host"],
        story.sandbox["mllp"]["port"],
        load.adt_a04(hospital, patient, Record(organization=HOSPITAL, local_id=story.hospital_id)),
    )
    _hold("MSA|AA" in answer, f"the hospital's ADT was answered {answer!r}")
    for organization, local_id, family in (
        (clinic, story.clinic_id, _misspelt(story.family)),
        (lab, story.lab_id, None),
    ):
        record = Record(organization=organization.id, local_id=local_id, family=family, given=(story.given,))
        story.clients[organization.id].feed(
            load.fhir_patient(patient, record, organization.authority), f"urn:oid:{organization.authority}", local_id
        )
    found = (
        story.clients[CLINIC]
        .call(
            "GET",
            "/fhir/Patient/$ihe-pix",
            user=story.user(CLINIC, "physician"),
            purpose="TREAT",
            params={
                "sourceIdentifier": f"urn:oid:{clinic.authority}|{story.clinic_id}",
                "targetSystem": f"urn:oid:{hospital.authority}",
            },
        )
        .json()
    )
    values = [item.get("valueIdentifier", {}).get("value") for item in found.get("parameter", [])]
    _hold(story.hospital_id in values, f"the clinic's and the hospital's record are not one person: {values}")
    grade = _match_grade(story)
    return f"HL7 v2 and FHIR feeds: {story.hospital_id} and {story.clinic_id} are one person ($match: {grade})"


def _match_grade(story: Story) -> str:
    clinic = story.organization(CLINIC)
    record = Record(organization=CLINIC, local_id="unknown-here", family=_misspelt(story.family), given=(story.given,))
    resource = load.fhir_patient(story.patient(), record, clinic.authority)
    resource.pop("identifier")
    found = (
        story.clients[CLINIC]
        .call(
            "POST",
            "/fhir/Patient/$match",
            user=story.user(CLINIC, "physician"),
            purpose="TREAT",
            json={"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": resource}]},
        )
        .json()
    )
    patients = [item for item in found.get("entry", []) if item.get("resource", {}).get("resourceType") == "Patient"]
    _hold(bool(patients), "$match finds nobody")
    story.person_id = patients[0]["resource"]["id"]
    search = patients[0]["search"]
    return f"{search['extension'][0]['valueCode']}, score {search['score']:.2f}"


def step_2(story: Story) -> str:
    """The hospital provides and registers a discharge summary and an image over XDS.b; a laboratory a report over MHD."""
    hospital = story.organization(HOSPITAL)
    provided = [
        _made(story, hospital, story.hospital_id, "ccda", "Discharge summary", "18842-5", "Discharge summary"),
        _made(story, hospital, story.hospital_id, "dicom", "Chest radiograph", "36643-5", "XR Chest 2 Views"),
    ]
    _provide(story, hospital, provided)
    lab = story.organization(LAB)
    document, unique_id, content = _made(
        story, lab, story.lab_id, "fhir", "Lipid panel", "11502-2", "Laboratory report"
    )
    _publish(story, lab, document, unique_id, story.lab_id, content)
    elsewhere = _publish_elsewhere(story)
    return (
        "provided and registered over XDS.b [ITI-41]: discharge summary, DICOM image; published over MHD [ITI-65]: "
        f"laboratory report; and at {elsewhere} a letter"
    )


def _made(
    story: Story, organization: world.Organization, local_id: str, kind: str, title: str, code: str, display: str
) -> tuple[world.Document, str, bytes]:
    """A document of the story's patient, its unique id and its bytes, which will be looked for."""
    document = world.Document(
        key=f"{kind}-{story.number}",
        custodian=organization.id,
        kind=kind,
        title=title,
        type_code=code,
        type_display=display,
        text=("Admitted with chest pain, sent home in good state.",),
    )
    patient = replace(story.patient(), records=(Record(organization=organization.id, local_id=local_id),))
    unique_id = load.unique_id_of(organization, patient, document)
    content = load.content_of(organization, patient, document, unique_id, local_id)
    story.sent[unique_id] = content
    return document, unique_id, content


def _provide(story: Story, organization: world.Organization, provided: list[tuple[world.Document, str, bytes]]) -> None:
    """One submission [ITI-41]: an MTOM package with a part for each document."""
    to = story.sandbox["soap"]["repository"]
    documents = [
        xds.Sent(
            unique_id=unique_id,
            patient=xds.cx(organization.authority, story.hospital_id),
            content=content,
            mime_type=load.MIME[document.kind],
            title=document.title,
            created=re.sub(r"[^0-9]", "", document.created),
            kind=xds.Code(code=document.type_code, scheme=xds.LOINC, display=document.type_display),
            format=xds.FORMAT[document.kind],
        )
        for document, unique_id, content in provided
    ]
    message = xds.provide(
        documents, source_id=organization.source_id, set_unique_id=f"{documents[0].unique_id}.1", to=to
    )
    xds.send(story.clients[organization.id], to, message)


def _publish_elsewhere(story: Story) -> str:
    """The patient was once seen in another community: a hub of its own, with its own keys and database."""
    community = world.COMMUNITIES[0]
    place = next(
        item for item in story.sandbox["remote_communities"] if item["home_community_id"] == community.home_community_id
    )
    hospital = load.hospital_of(community)
    client = load.client_of(hospital, place["base_url"], story.folder / "hubs" / community.id)
    patient = replace(story.patient(), records=(Record(organization=hospital.id, local_id=f"WB-{story.number}"),))
    record = patient.records[0]
    client.feed(
        load.fhir_patient(patient, record, hospital.authority), f"urn:oid:{hospital.authority}", record.local_id
    )
    document = world.Document(
        key=f"letter-{story.number}",
        custodian="",
        kind="pdf",
        title="Letter of the heart clinic",
        type_code="68608-9",
        type_display="Summary note",
        text=("Seen in spring, all well.",),
    )
    load.publish(client, patient, document, organization=hospital, local_id=record.local_id)
    return community.name


def _publish(
    story: Story,
    organization: world.Organization,
    document: world.Document,
    unique_id: str,
    local_id: str,
    content: bytes,
) -> None:
    reference: dict[str, Any] = {
        "type": {"coding": [{"system": world.LOINC, "code": document.type_code, "display": document.type_display}]},
        "securityLabel": [{"coding": [{"system": load.CONFIDENTIALITY, "code": "N"}]}],
        "description": document.title,
        "date": document.created,
    }
    if document.kind in load.FORMAT:
        code, system = load.FORMAT[document.kind]
        reference["format"] = {"system": system, "code": code}
    story.clients[organization.id].provide(
        provide_bundle(
            unique_id=unique_id,
            set_unique_id=f"{unique_id}.1",
            source_id=organization.source_id,
            patient_system=f"urn:oid:{organization.authority}",
            patient_value=local_id,
            content=content,
            content_type=load.MIME[document.kind],
            reference=reference,
            created=document.created,
        )
    )


def step_3(story: Story) -> str:
    """A physician at the clinic asks this hub and every community, and reads a document: the very bytes sent."""
    client, user = story.clients[CLINIC], story.user(CLINIC, "physician")
    faulty = next(item for item in story.sandbox["remote_communities"] if item["health"] == "faulty")
    httpx.put(faulty["control_url"], json={"mode": "down"}, timeout=10).raise_for_status()
    answer = _ask(story, client, user, "TREAT", wait=10)
    states = {item["name"]: item["status"] for item in answer["targets"]}
    _hold(answer["status"] == "complete", f"the query is {answer['status']}")
    _hold(len(states) >= 4, f"too few communities were asked: {states}")
    _hold(states[faulty["name"]] in ("down", "error"), f"the dead community reads {states[faulty['name']]}")
    _hold("answered" in [states[item.name] for item in world.COMMUNITIES], f"no other community answered: {states}")
    found = {_unique_id(item): item for item in answer["documents"]}
    _hold(set(story.sent) <= set(found), f"of {len(story.sent)} documents sent, listed are {len(found)}")
    for unique_id, sent in story.sent.items():
        url = found[unique_id]["content"][0]["attachment"]["url"]
        read = client.call("GET", url, user=user, purpose="TREAT", headers={"Accept": "*/*"}).content
        _hold(read == sent, f"document {unique_id} came back different")
    _retrieve(story, client, user)
    (remote,) = [item for unique_id, item in found.items() if unique_id not in story.sent and _is_letter(item)]
    read = client.call("GET", _url(remote), user=user, purpose="TREAT", headers={"Accept": "*/*"}).content
    digest = base64.b64encode(hashlib.sha1(read, usedforsecurity=False).digest()).decode()
    _hold(digest == remote["content"][0]["attachment"]["hash"], "the other community's letter came back different")
    story.listed = answer
    told = ", ".join(f"{name}: {state}" for name, state in states.items())
    return f"one list from {len(states)} places ({told}); {len(story.sent) + 1} documents read, bytes and hash as sent; also over XDS.b [ITI-18, ITI-43]"


def _retrieve(story: Story, client: Client, user: dict[str, Any]) -> None:
    """The same documents over XDS.b: found by the clinic's own identifier, retrieved in one set."""
    registry, repository = story.sandbox["soap"]["registry"], story.sandbox["soap"]["repository"]
    patient = xds.cx(story.organization(CLINIC).authority, story.clinic_id)
    found = xds.send(client, registry, xds.find_documents(patient, to=registry), user=user, purpose="TREAT").entries()
    _hold(set(found) == set(story.sent), f"of {len(story.sent)} documents sent, ITI-18 lists {len(found)}")
    for unique_id, sent in story.sent.items():
        digest = hashlib.sha1(sent, usedforsecurity=False).hexdigest()
        _hold(found[unique_id]["hash"] == digest, f"document {unique_id} is listed with another hash")
    wanted = [(entry["repositoryUniqueId"], unique_id) for unique_id, entry in found.items()]
    read = xds.send(client, repository, xds.retrieve(wanted, to=repository), user=user, purpose="TREAT").documents()
    _hold(read == story.sent, "a document came back different over ITI-43")


def _ask(
    story: Story, client: Client, user: dict[str, Any], purpose: str, *, wait: int, deadline_s: float = 5
) -> dict[str, Any]:
    response = client.call(
        "POST",
        "/api/queries",
        user=user,
        purpose=purpose,
        json={"patient": {"reference": f"Patient/{story.person_id}"}, "deadline_s": deadline_s},
        headers={"Prefer": f"wait={wait}", "Accept": "application/json"},
        expect=(200, 202),
    )
    answer: dict[str, Any] = response.json()
    return answer


def step_4(story: Story) -> str:
    """A payer gets what agreement and consent allow, and no hint of the rest."""
    hospital = story.organization(HOSPITAL)
    _file_choice(story, "no-payers", deny_class="application/dicom")
    client, user = story.clients[PAYER], story.user(PAYER, "billing")
    found = client.call(
        "GET",
        "/fhir/DocumentReference",
        user=user,
        purpose="HPAYMT",
        params={"patient.identifier": f"urn:oid:{hospital.authority}|{story.hospital_id}", "status": "current"},
    ).json()
    shown = {_unique_id(item["resource"]) for item in found.get("entry", [])}
    _hold(
        found["total"] == len(shown) == len(story.sent) - 1, f"the payer is shown {len(shown)}, told {found['total']}"
    )
    image = next(item for item in story.listed["documents"] if _content_type(item) == "application/dicom")
    hidden = client.call(
        "GET",
        image["content"][0]["attachment"]["url"],
        user=user,
        purpose="HPAYMT",
        headers={"Accept": "*/*"},
        expect=(404,),
    )
    invented = client.call(
        "GET",
        "/fhir/Binary/00000000-0000-4000-8000-000000000000",
        user=user,
        purpose="HPAYMT",
        headers={"Accept": "*/*"},
        expect=(404,),
    )
    _hold(_bare(hidden.text) == _bare(invented.text), "a hidden document answers otherwise than one that is not there")
    return f"the payer sees {len(shown)} of {len(story.sent)} documents, total {found['total']}; the hidden one is 404 like none"


def step_5(story: Story) -> str:
    """The patient opens the access log: each look with person, organization, purpose, document, time, outcome."""
    login = next(item for item in story.sandbox["patients"] if item["portal_login"] == "amara")
    with httpx.Client(base_url=story.sandbox["base_url"], follow_redirects=True, timeout=30) as browser:
        looked = (
            story.clients[CLINIC]
            .call(
                "GET",
                "/fhir/DocumentReference",
                user=story.user(CLINIC, "physician"),
                purpose="TREAT",
                params={
                    "patient.identifier": _system_value(login["identifiers"][0]),
                    "status": "current",
                },
            )
            .json()
        )
        _hold(looked["total"] >= 3, "the clinic does not find Amara's documents")
        page = _sign_in(browser, login["portal_login"], login["portal_password"])
        _hold("Ada Quist" in page and "Riverside Family Clinic" in page, "the look is not in the patient's log")
        _hold("to treat you" in page, "the log does not say why")
    return "the patient reads in plain words who looked, where, why, at what and when"


def _sign_in(browser: httpx.Client, login: str, password: str) -> str:
    form = browser.get("/my/sign-in")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)
    _hold(token is not None, "the sign-in page has no form")
    page = browser.post(
        str(form.url),
        data={"csrfmiddlewaretoken": token.group(1) if token else "", "login": login, "password": password},
        headers={"Referer": str(form.url)},
    )
    _hold(page.status_code == 200, f"signing in gave {page.status_code}")
    return browser.get("/my/").text


def step_6(story: Story) -> str:
    """The patient withdraws consent while a query is running; nothing more leaves."""
    client, user = story.clients[CLINIC], story.user(CLINIC, "physician")
    faulty = next(item for item in story.sandbox["remote_communities"] if item["health"] == "faulty")
    httpx.put(faulty["control_url"], json={"mode": "slow", "delay_s": 2}, timeout=10).raise_for_status()
    started = _ask(story, client, user, "TREAT", wait=0, deadline_s=20)
    _hold(started["status"] == "running", "the query was over before consent could be withdrawn")
    _file_choice(story, "opt-out")
    time.sleep(4)
    after = client.call(
        "GET",
        f"/api/queries/{started['id']}",
        user=user,
        purpose="TREAT",
        params={"wait": "15"},
        headers={"Accept": "application/json"},
    ).json()
    shown = [item for item in after["documents"] if item.get("masterIdentifier")]
    own = [item for item in shown if _unique_id(item) in story.sent]
    _hold(not own and not shown, f"{len(shown)} documents were still shown after consent was withdrawn")
    httpx.put(faulty["control_url"], json={"mode": "ok"}, timeout=10).raise_for_status()
    return "consent withdrawn in a running query: no document in the list any more, late answers included"


def step_7(story: Story) -> str:
    """An emergency physician breaks the glass with a reason; patient and administrator see it at once, and it is reviewed."""
    # Somebody new each time: a user may declare three emergencies a day, and the story is told more often.
    user = {"id": f"Practitioner/on-call-{story.number}", "name": "Ona Calder", "role": "physician"}
    own = f"urn:oid:{story.organization(HOSPITAL).authority}|{story.hospital_id}"
    closed = _find(story, user, own, expect=(403,))
    _hold("break-glass-invalid" in closed.text, "the refusal does not say that a grant is missing")
    opened = _declare(story, user, own, "Brought in without speech; we need medicines and allergies.")
    found = _find(story, user, own).json()
    _hold(found["total"] == len(story.sent), f"of {len(story.sent)} documents the emergency opened {found['total']}")
    amara = next(item for item in story.sandbox["patients"] if item["portal_login"] == "amara")
    words = f"Collapsed at the market, emergency {story.number}."
    _declare(story, user, _system_value(amara["identifiers"][0]), words)
    with httpx.Client(base_url=story.sandbox["base_url"], follow_redirects=True, timeout=30) as browser:
        log = _sign_in(browser, amara["portal_login"], amara["portal_password"])
        _hold("Ona Calder" in log, "the patient does not see in the log who declared an emergency")
        told = browser.get("/my/emergencies").text
        _hold("Ona Calder" in told and words in told, "the patient is not told who, and why")
    case = _review(story, words)
    return f"grant until {opened['end']}; the patient reads who and why; case {case} reviewed at the desk: justified"


def _find(story: Story, user: dict[str, Any], patient: str, expect: tuple[int, ...] = (200,)) -> httpx.Response:
    asked = {"patient.identifier": patient, "status": "current"}
    hospital = story.clients[HOSPITAL]
    return hospital.call("GET", "/fhir/DocumentReference", user=user, purpose="BTG", params=asked, expect=expect)


def _declare(story: Story, user: dict[str, Any], patient: str, words: str) -> dict[str, Any]:
    hospital = story.clients[HOSPITAL]
    system, _, value = patient.partition("|")
    said = {
        "patient": {"identifier": {"system": system, "value": value}},
        "reason": "UNABLE-TO-CONSENT",
        "text": words,
        "statement_accepted": True,
        "step_up": hospital.step_up(user, "BTG"),
    }

    def send(expect: tuple[int, ...]) -> dict[str, Any]:
        headers = {"Accept": "application/json"}
        sent = hospital.call(
            "POST", "/api/break-glass", user=user, purpose="BTG", json=said, headers=headers, expect=expect
        )
        answer: dict[str, Any] = sent.json()
        return answer

    opened = send((201,))
    again = send((422,))
    _hold(again["error"]["field"] == "step_up", f"the same step-up opened another grant: {again}")
    return opened


def _review(story: Story, words: str) -> str:
    """The privacy officer finds the emergency in the queue, reads it and decides; the number of its case."""
    officer = next(item for item in story.sandbox["staff"] if item["roles"] == ["privacy-officer"])
    queue = "/admin/consent/emergencyreview/"
    with httpx.Client(base_url=story.sandbox["base_url"], follow_redirects=True, timeout=30) as desk:
        form = desk.get("/admin/login/?next=" + queue)
        signing = {"username": officer["username"], "password": officer["password"], "next": queue}
        page = _send(desk, form, **signing, otp_token=_code_of(officer["totp_secret"]))
        cases = re.findall(r'href="/admin/consent/emergencyreview/(\d+)/change/"', page.text)
        while "page=" in page.text and (more := re.search(r'href="(\?[^"]*page=\d+)">Next page', page.text)):
            page = desk.get(queue + more.group(1).replace("&amp;", "&"))
            cases += re.findall(r'href="/admin/consent/emergencyreview/(\d+)/change/"', page.text)
        for number in reversed(cases):
            page = desk.get(f"{queue}{number}/change/")
            if words in page.text:
                break
        else:
            raise Unexpected("the emergency is not in the queue of the privacy officer")
        page = _send(desk, page, act="claim")
        seen = re.search(r'name="seen" value="([^"]+)"', page.text)
        _hold(seen is not None, "the case cannot be taken")
        reason = "The ambulance confirms it."
        _send(desk, page, act="decide", outcome="justified", reason=reason, seen=seen.group(1) if seen else "")
        decided = desk.get(f"{queue}{number}/change/").text
        _hold(reason in decided and "Open the case again" in decided, "the decision does not stand in the case")
    return str(number)


def _code_of(secret: str) -> str:
    """The six digits that a code app shows now (RFC 6238)."""
    made = TOTP(base64.b32decode(secret))
    made.time = time.time()
    return f"{made.token():06d}"


def _send(browser: httpx.Client, page: httpx.Response, **said: str) -> httpx.Response:
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    _hold(token is not None, f"{page.url.path} has no form")
    data = {"csrfmiddlewaretoken": token.group(1) if token else ""} | said
    answer = browser.post(str(page.url), data=data, headers={"Referer": str(page.url)})
    _hold(answer.status_code == 200, f"{page.url.path} answered {answer.status_code}")
    return answer


def step_8(story: Story) -> str:
    """The audit log verifies; one changed byte in an export is found and the row named."""
    time.sleep(3)
    live = _hub("verify_audit")
    _hold(live.returncode == 0, f"the live log does not verify: {live.stdout[-300:]}{live.stderr[-300:]}")
    export = story.folder / "demo-export.ndjson"
    with contextlib.suppress(FileNotFoundError):
        export.unlink()
    written = _hub("audit_export", "--out", str(export))
    _hold(written.returncode == 0, f"the export failed: {written.stderr[-300:]}")
    lines = export.read_bytes().split(b"\n")
    position = max(index for index, line in enumerate(lines) if b"ITI-67" in line)
    lines[position] = lines[position].replace(b"ITI-67", b"ITI-66", 1)
    export.write_bytes(b"\n".join(lines))
    checked = _hub("verify_audit", "--export", str(export))
    _hold(checked.returncode == 1, "the changed export verifies")
    bad = json.loads(checked.stdout.strip().splitlines()[-1])["first_bad"]
    _hold(bad is not None and bad["kind"] == "changed", f"the change was called {bad}")
    export.unlink()
    return f"the live log verifies; in the changed export row {bad['seq']} is named as {bad['kind']}"


STEPS: tuple[Callable[[Story], str], ...] = (step_1, step_2, step_3, step_4, step_5, step_6, step_7, step_8)


def _file_choice(story: Story, choice: str, *, deny_class: str = "") -> None:
    hospital = story.organization(HOSPITAL)
    reference = {"identifier": {"system": f"urn:oid:{hospital.authority}", "value": story.hospital_id}}
    provision = load.provision_of(choice)
    if deny_class:
        provision["provision"][0]["class"] = [{"system": "urn:ietf:bcp:13", "code": deny_class}]
    story.clients[HOSPITAL].call(
        "POST",
        "/fhir/Consent",
        user=story.user(HOSPITAL, "physician"),
        purpose="TREAT",
        json=load.consent_resource(reference, HOSPITAL, provision),
    )


def _hold(condition: bool, problem: str) -> None:
    if not condition:
        raise Unexpected(problem)


def _misspelt(family: str) -> str:
    """The name as the clinic heard it."""
    return family.removesuffix("moor") + "more"


def _syllables(dice: random.Random, count: int) -> str:
    return "".join(dice.choice("bdfgklmnprstvz") + dice.choice("aeiou") for _ in range(count))


def _unique_id(resource: dict[str, Any]) -> str:
    return str(resource.get("masterIdentifier", {}).get("value", "")).removeprefix("urn:oid:")


def _url(resource: dict[str, Any]) -> str:
    return str(resource["content"][0]["attachment"]["url"])


def _is_letter(resource: dict[str, Any]) -> bool:
    return bool(resource["content"][0]["attachment"].get("title") == "Letter of the heart clinic")


def _content_type(resource: dict[str, Any]) -> str:
    return str(resource["content"][0]["attachment"]["contentType"])


def _bare(text: str) -> str:
    """An error text without what differs by nature: ids and times."""
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\dT[0-9:.]+Z", "", text)


def _system_value(cx: str) -> str:
    value, _, rest = cx.partition("^^^&")
    return f"urn:oid:{rest.split('&')[0]}|{value}"


def _hub(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(ROOT / "hub"), *arguments], capture_output=True, text=True, check=False, cwd=ROOT)


@contextlib.contextmanager
def running_hub(folder: Path) -> Iterator[None]:
    """The hub of this data folder, started for the story when none runs."""
    if _answers(folder):
        yield
        return
    print("no hub is running here: starting one", flush=True)
    hub = subprocess.Popen(
        [str(ROOT / "hub"), "up"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )
    lines: list[str] = []

    def follow() -> None:
        for line in hub.stdout or ():
            lines.append(line)

    threading.Thread(target=follow, daemon=True).start()
    try:
        until = time.monotonic() + STARTING_S
        while not _answers(folder):
            if hub.poll() is not None or time.monotonic() > until:
                raise Unexpected("the hub did not start:\n" + "".join(lines[-30:]))
            time.sleep(0.5)
        yield
    finally:
        hub.send_signal(signal.SIGINT)
        try:
            hub.wait(60)
        except subprocess.TimeoutExpired:
            hub.kill()


def _answers(folder: Path) -> bool:
    try:
        sandbox = json.loads((folder / "sandbox.json").read_bytes())
        ready = httpx.get(f"{sandbox['base_url']}/readyz", timeout=2)
    except (OSError, ValueError, httpx.HTTPError):
        return False
    return bool(sandbox.get("complete")) and ready.status_code == 200


def main(arguments: list[str]) -> int:
    """Tell the story; 0 when every step holds."""
    argparse.ArgumentParser(prog="hub demo", description="Tell the story through the public interfaces.").parse_args(
        arguments
    )
    folder = Path(os.environ.get("HIE_DATA_DIR", ROOT / ".data")).resolve()
    try:
        with running_hub(folder):
            story = Story(folder)
            for number, step in enumerate(STEPS, start=1):
                began = time.monotonic()
                print(f"{number}. {step(story)}  ({time.monotonic() - began:.1f} s)", flush=True)
    except (Unexpected, httpx.HTTPError) as error:
        print(f"does not hold: {error}", file=sys.stderr)
        return 1
    print("the story holds")
    return 0
