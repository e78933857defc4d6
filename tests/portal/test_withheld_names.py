"""Names that a law lets an organization hold back: nowhere on the patient's side, with who can tell them in their place."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from consent.errors import PolicyRefused
from hie.audit import export, seal
from hie.audit.models import AuditEvent
from hie.audit.recorder import EventType
from hie.audit.values import AuditQuery
from hie.directory import registration
from hie.exchange import audit_search, governance, log_choices
from hie.trust.staff import ensure_roles
from tests import second_factor
from tests.backoffice.emergencies import TEXT
from tests.backoffice.emergencies import emergency as opened
from tests.backoffice.test_governance import IDA, activated, law
from tests.directory.forms import clinic, file, hospital, ward
from tests.portal.conftest import EVE, PORTAL, busy_log, document, look, signed_in
from tests.portal.test_copies import said, table
from tests.portal.test_log import read, text_of
from tests.portal.test_proofs import proof_of

__all__ = ["said"]

PHONE = "555-0142"
NURSES = {"id": "JA-NURSES", "roles": ["nurse"], "contact": {"phone": PHONE}}
DOCTORS = {"id": "JA-DOCTORS", "roles": ["physician"], "contact": {"phone": PHONE}}
TOLD = "The law lets The Clinic hold back this name. Its privacy office can tell you more: 555-0142."
EVES = "Dr. Eve Marlowe"
ME = replace(
    EVE, participant_id="org-portal", organization_id="org-portal", client_id="portal", role="patient", purpose="PATRQT",
    user_name="Rosa Delgado",
)  # fmt: skip


def holds_back(*rules: dict[str, Any]) -> None:
    """Two people put a law with these rules into force."""
    activated("jurisdiction", "JA", law(withheldNames=list(rules)))


def body(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, path
    return html.unescape(answer.getvalue().decode("utf-8", "replace"))


@pytest.fixture(autouse=True)
def _folders(settings: Any, tmp_path: Path) -> None:
    settings.SECRETS_DIR, settings.CHECKPOINT_DIR = tmp_path / "keys", tmp_path / "checkpoints"


@pytest.fixture
def looked(alice: str) -> str:
    """Dr. Marlowe, a doctor, and Jo Adeyemi-Clarke, a nurse, looked."""
    look(alice, 10, disclosures=(document("Hospital letter"),))
    nurse = replace(EVE, user_id="Practitioner/jo", user_name="Jo Adeyemi-Clarke", role="nurse")
    look(alice, 90, nurse, EventType.FIND_DOCUMENTS, disclosures=(document("Letter", what="metadata"),))
    return alice


def test_a_name_is_held_back_everywhere_once_two_people_put_the_rule_into_force(looked: str, said: list[str]) -> None:
    client = signed_in()
    proposal = governance.propose("jurisdiction", "JA", law(withheldNames=[DOCTORS]), IDA, reason="a statute")
    assert EVES in read(client)
    governance.withdraw(proposal.pk, IDA, reason="once more")
    holds_back(DOCTORS)
    page = read(client)
    assert (
        "Someone at The Clinic (doctor) opened your hospital letter to treat you. Shown under the general rule of"
        in page
    )
    assert page.count(TOLD) == 1
    assert "Jo Adeyemi-Clarke, nurse at The Clinic, looked at" in page
    event = str(AuditEvent.objects.get(kind=EventType.RETRIEVE_DOCUMENT).pk)
    doubt = f"/my/log/{event}/concern"
    assert client.post(doubt, {"reason": "person", "words": "Who was it?"}).status_code == 302
    concern = re.search(r"/my/concerns/C-[\d-]+", client.get("/my/concerns").content.decode())
    assert concern is not None
    shown = ["/my/", "/my/?period=all&more=1", f"/my/log/{event}", doubt, "/my/concerns", concern[0], "/my/accounting",
             "/my/accounting?all=1", "/my/accounting.csv?all=1", "/my/log.csv?period=all", "/my/log.json?period=all",
             f"/my/log/{event}/proof", "/my/notices"]  # fmt: skip
    for path in shown:
        found = body(client, path)
        for secret in ("Marlowe", "Practitioner/eve"):
            assert secret not in found, path
    client.get("/my/log.pdf?period=all").getvalue()
    assert TOLD in " ".join(said)
    assert "Marlowe" not in " ".join(said)
    for path in (f"/my/log/{event}", doubt, concern[0]):
        assert TOLD in text_of(client.get(path).content), path
    rows = table(client)
    row = next(dict(zip(rows[0], one, strict=True)) for one in rows if event in one[-2])
    assert (row["who"], row["role"], row["name held back"]) == ("", "doctor", TOLD)
    bundle = json.loads(body(client, "/my/log.json?period=all"))
    (resource,) = (one["resource"] for one in bundle["entry"] if one["resource"]["id"] == event)
    agent = next(one for one in resource["agent"] if one["requestor"])
    assert agent["_name"]["extension"][0]["valueCode"] == "masked"
    assert (
        agent["who"]["display"] == f"held back by law; can be told by the privacy office of the organization, {PHONE}"
    )
    # The desk and the organization that looked have its name as before.
    ensure_roles()
    auditor = User.objects.create_user("aud", password="x" * 12, is_staff=True)
    auditor.groups.add(Group.objects.get(name="auditor"))
    desk, page_of = second_factor.sign_in(auditor), f"/admin/audit/auditevent/{event}/change/"
    desk.post(page_of, {"look_reason": "a question by phone"})
    assert "Practitioner/eve" in body(desk, page_of)
    theirs = replace(EVE, scopes=frozenset({"system/*.cruds"}))
    (own,) = audit_search.search_events(AuditQuery(ids=(event,)), theirs).events
    assert (own.user, own.user_name) == (EVE.user_id, EVES)


def test_trying_names_finds_out_nothing(looked: str) -> None:
    client = signed_in()
    me = replace(ME, user_id=f"Patient/{looked}")
    since = datetime.now(UTC) - timedelta(days=1)
    tries = ["/my/?person=Marlowe", "/my/?person=Practitioner/eve", "/my/?text=marlowe", "/my/?text=Practitioner/eve"]
    found = audit_search.search_events(AuditQuery(since=since, agents=(EVE.user_id,)), me)
    assert len(found.events) == 1
    assert "opened your hospital letter" in read(client, tries[0])
    assert EVES in log_choices.choices(me, looked).people
    holds_back(DOCTORS)
    for path in tries:
        assert "opened your hospital letter" not in read(client, path), path
    assert "opened your hospital letter" in read(client, "/my/?text=hold+back")
    assert log_choices.choices(me, looked).people == ("Jo Adeyemi-Clarke",)
    for agent, count in ((EVE.user_id, 0), ("Practitioner/jo", 1), ("org-clinic", 2)):
        page = audit_search.search_events(AuditQuery(since=since, agents=(agent,)), me)
        assert len(page.events) == count, agent


def test_two_people_stay_two_and_one_stays_one_of_one_patient_only(looked: str) -> None:
    other = replace(EVE, user_id="Practitioner/varga", user_name="Dr. Tomas Varga")
    for minutes, who in ((11, EVE), (12, other), (13, other)):
        look(looked, minutes, who, disclosures=(document("Hospital letter"),))
    holds_back(DOCTORS)
    page = read(signed_in())
    assert page.count("Someone at The Clinic (doctor) opened") == 2
    me = replace(ME, user_id=f"Patient/{looked}")
    events = audit_search.search_events(AuditQuery(since=datetime.now(UTC) - timedelta(days=1)), me).events
    users = [event.user for event in events if event.kind == EventType.RETRIEVE_DOCUMENT]
    assert len(users) == 4
    assert len(set(users)) == 2
    assert all(re.fullmatch(r"Withheld/[0-9a-f]{16}", user) for user in users)


@pytest.mark.parametrize(
    ("rule", "held"),
    [
        pytest.param({}, True, id="everybody-of-the-place"),
        pytest.param({"roles": ["nurse"]}, False, id="another-role"),
        pytest.param({"roles": ["nurse", "physician"]}, True, id="one-of-two-roles"),
        pytest.param({"purposes": ["TREAT"]}, True, id="the-purpose"),
        pytest.param({"purposes": ["HLEGAL"]}, False, id="another-purpose"),
        pytest.param({"roles": ["physician"], "purposes": ["HLEGAL"]}, False, id="all-that-is-named-must-hold"),
        pytest.param({"organizationTypes": ["hospital"]}, False, id="another-type"),
        pytest.param({"organizationTypes": ["primary-care"]}, True, id="the-type"),
        pytest.param({"organizations": ["org-clinic"]}, True, id="the-organization"),
        pytest.param({"organizations": ["org-hospital"]}, False, id="another-organization"),
        pytest.param({"exceptOrganizations": ["org-clinic"]}, False, id="excepted"),
    ],
)
def test_a_rule_reaches_whom_it_names(looked: str, rule: dict[str, Any], held: bool) -> None:
    holds_back({"id": "JA-NAMES", "contact": {"phone": PHONE}} | rule)
    page = read(signed_in())
    assert (EVES in page, "Someone at The Clinic (doctor) opened" in page) == (not held, held)


def test_who_can_tell_is_said_of_the_nearest_organization(alice: str) -> None:
    registration.apply(file(clinic(), hospital(), ward(), PORTAL))
    contacts = {"org-hospital": {"office": "The Data Office", "address": "1 Tern Street, Velmoor", "phone": "555-0199"}}
    on_ward = replace(EVE, organization_id="org-hospital-ward", organization_name="The Ward")
    look(alice, 10, disclosures=(document("Hospital letter"),))
    look(alice, 20, on_ward, disclosures=(document("Hospital letter"),))
    holds_back(DOCTORS | {"contacts": contacts})
    page = read(signed_in())
    assert TOLD in page
    told = "hold back this name. The Data Office can tell you more: 555-0199, 1 Tern Street, Velmoor."
    assert f"The law lets The Ward {told}" in page


def test_a_role_that_only_the_directory_knows_counts_too(alice: str) -> None:
    ada = replace(EVE, user_id="Practitioner/ada", user_name="", role="")
    look(alice, 10, ada, disclosures=(document("Hospital letter"),))
    client = signed_in()
    assert "Ada Moor" in read(client)
    holds_back(DOCTORS)
    page = read(client)
    assert "Ada Moor" not in page
    assert "Someone at The Clinic (doctor) opened" in page


def test_the_patients_side_and_the_exchanges_own_staff_are_named_as_before(alice: str) -> None:
    busy_log(alice)
    sam = signed_in("sam")
    assert sam.post("/my/person", {"person": alice}).status_code == 302
    read(sam)
    holds_back({"id": "JA-ALL", "contact": {"phone": PHONE}})
    page = read(signed_in())
    assert "Sam Delgado, on your behalf, read this log." in page
    assert "The exchange’s own staff (records staff)" in page
    assert not re.search(r"Marlowe|Varga|Mei-Hua|Adeyemi|Featherstone", page)
    theirs = read(sam)
    assert "Someone at The Clinic (doctor) opened 3 of their documents to treat them." in theirs
    assert not re.search(r"Marlowe|Varga|Mei-Hua|Adeyemi|Featherstone", theirs)


def test_an_emergency_is_told_without_the_name(alice: str) -> None:
    opened(alice)
    client = signed_in()
    assert "Ada Moor" in body(client, "/my/emergencies")
    holds_back({"id": "JA-EMERGENCIES", "purposes": ["BTG", "TREAT"], "contact": {"phone": PHONE}})
    page = body(client, "/my/emergencies")
    assert "Ada Moor" not in page
    assert TEXT in page
    assert TOLD in text_of(page.encode())
    link = re.search(r'href="(/my/\?result=emergency[^"]*)"', page)
    assert link is not None
    assert "person" not in link[1]


def test_a_proof_shows_that_the_line_is_there_and_not_who_it_was(looked: str, tmp_path: Path) -> None:
    holds_back(DOCTORS)
    seal.seal_now()
    client = signed_in()
    _, address = proof_of(client, "opened your hospital letter")
    page = text_of(client.get(address).content)
    assert f"{TOLD} The sealed text would tell it" in page
    assert "“NOT CHECKED”" in page
    proof = tmp_path / "proof.json"
    proof.write_bytes(client.get(address.replace("/proof?", "/proof.json?")).content)
    assert EVE.user_id not in proof.read_text()

    def verified() -> tuple[int, str]:
        command = [sys.executable, str(export.STANDALONE), str(proof)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    code, text = verified()
    assert code == 2
    assert text.startswith("NOT CHECKED: line ")
    assert "is in the log as sealed at" in text
    assert "what this line says could not be checked" in text
    given = json.loads(proof.read_text())
    for changed in ({"leaf": "00" * 32}, {"seq": given["seq"] % 2 + 1}, {"path": given["path"][:-1]}):
        proof.write_text(json.dumps(given | changed))
        assert verified()[0] == 1, changed
    # The other line has its text, and its proof is whole.
    _, address = proof_of(client, "looked at the entry of your letter")
    proof.write_bytes(client.get(address.replace("/proof?", "/proof.json?")).content)
    assert verified()[0] == 0


@pytest.mark.parametrize(
    ("language", "sentence", "told"),
    [
        ("es", "Alguien en The Clinic (profesional médico) abrió", "La ley permite que The Clinic no dé este nombre. Su oficina de privacidad puede decirle más: 555-0142."),
        ("ar", "شخص في The Clinic (طبيب) فتح", "يسمح القانون لـ\u2068The Clinic\u2069 بحجب هذا الاسم. يمكن لمكتب الخصوصية فيها أن يخبرك بالمزيد: \u2068555-0142\u2069."),
    ],
)  # fmt: skip
def test_it_is_said_in_the_readers_language(looked: str, language: str, sentence: str, told: str) -> None:
    holds_back(DOCTORS)
    client = signed_in()
    client.post("/my/language", {"language": language})
    page = read(client)
    assert sentence in page
    assert told in page


@pytest.mark.parametrize(
    ("rules", "element"),
    [
        ("all", "body.withheldNames"),
        ([{"contact": {"phone": PHONE}}], "body.withheldNames[0].id"),
        ([NURSES, NURSES], "body.withheldNames[1].id"),
        ([NURSES | {"roles": ["gardener"]}], "body.withheldNames[0].roles"),
        ([NURSES | {"roles": []}], "body.withheldNames[0].roles"),
        ([NURSES | {"purposes": ["FUN"]}], "body.withheldNames[0].purposes"),
        ([NURSES | {"organizations": ["org-nobody"]}], "body.withheldNames[0].organizations"),
        ([NURSES | {"organizationTypes": ["circus"]}], "body.withheldNames[0].organizationTypes"),
        ([NURSES | {"labels": ["HIV"]}], "body.withheldNames[0].labels"),
        ([{"id": "N"}], "body.withheldNames[0].contact"),
        ([NURSES | {"contact": {"office": "Us"}}], "body.withheldNames[0].contact"),
        ([NURSES | {"contact": {"phone": " "}}], "body.withheldNames[0].contact.phone"),
        ([NURSES | {"contact": {"phone": "1\n2"}}], "body.withheldNames[0].contact.phone"),
        ([NURSES | {"contact": {"phone": PHONE, "mail": "a@b"}}], "body.withheldNames[0].contact.mail"),
        ([NURSES | {"contacts": {"org-nobody": {"phone": PHONE}}}], "body.withheldNames[0].contacts"),
    ],
)
def test_a_rule_that_could_not_be_read_is_not_even_proposed(alice: str, rules: Any, element: str) -> None:
    with pytest.raises(PolicyRefused) as refused:
        governance.propose("jurisdiction", "JA", law(withheldNames=rules), IDA, reason="a statute")
    assert refused.value.element == element
    governance.propose("jurisdiction", "JA", law(withheldNames=[NURSES]), IDA, reason="a statute")
