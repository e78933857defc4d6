"""Changes of policy: a report, two people, an instant, and a way back; every look and act recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from consent import governance as rules
from consent import jurisdictions, policies, tables
from consent.errors import FourEyes, PolicyChanged, PolicyRefused
from consent.models import CodeTable, Jurisdiction, PolicyProposal
from hie.audit import queries as audit
from hie.audit.models import AuditEvent
from hie.directory import queries as directory
from hie.directory import registration
from hie.directory.errors import Fault, RegistrationRefused, UnknownParticipant
from hie.directory.models import ReleasePolicy
from hie.exchange import find, governance, submit
from hie.exchange.access import Staff
from hie.exchange.errors import AccessRefused
from tests.backoffice.conftest import PASSWORD
from tests.directory.forms import clinic, file, hospital
from tests.documents import samples
from tests.portal.conftest import signed_in
from tests.portal.test_choices import ASKERS
from tests.portal.test_documents import ALICE_ID, CLINIC

__all__ = ["PASSWORD"]

IDA = Staff(user_id="ida", roles=frozenset({"administrator"}))
BO = Staff(user_id="bo", roles=frozenset({"privacy-officer"}))
EVA = Staff(user_id="eva", roles=frozenset({"auditor"}))
HOSPITAL = next(one for one in ASKERS if (one.organization_id, one.role) == ("org-hospital", "physician"))
CLOSED = [{"id": "no-treatment", "purposes": ["TREAT"], "absolute": True}]


@pytest.fixture
def letter(alice: str, settings: Any, tmp_path: Path) -> str:
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"
    entry = samples.entry(patient_id=ALICE_ID, source_patient_id=ALICE_ID, title="Letter", mime_type="text/plain")
    staged = submit.stage(b"Dear Alice", "text/plain", CLINIC)
    submit.submit(samples.submission(entry, contents={entry.entry_uuid: staged.id}, patient_id=ALICE_ID), CLINIC)
    return alice


def listed(person: str) -> int:
    """How many documents the hospital finds; recorded like every search."""
    search = find.DocumentSearch(patients=((find.PatientNamed(id=person),),), count=10)
    return find.find_documents(search, caller=HOSPITAL).total


def law(**changes: Any) -> dict[str, Any]:
    """The law of JA as shipped, with changes."""
    body: dict[str, Any] = json.loads(json.dumps(tables.shipped("jurisdictions")["jurisdictions"]["JA"]))
    return body | changes


def activated(kind: str, subject: str, body: Any, **more: Any) -> PolicyProposal:
    proposal = governance.propose(kind, subject, body, IDA, reason="the board decided", **more)
    return governance.activate(proposal.pk, BO, reason="checked")


def test_a_release_policy_counts_from_its_activation_by_a_second_person_and_can_be_gone_back_from(letter: str) -> None:
    assert listed(letter) == listed(letter) == 1
    before = directory.epoch()
    proposal = governance.propose("release-policy", "org-clinic", CLOSED, IDA, reason="audit finding 7")
    assert listed(letter) == 1
    turned = proposal.report["turned"]
    assert [(one["was"], one["would_be"], one["would_rule"]) for one in turned] == [("permit", "deny", "O1")]
    assert (proposal.report["decisions"], turned[0]["count"]) == (2, 2)
    assert {one["organization"] for one in proposal.report["listed"]} == {"org-hospital"}
    with pytest.raises(FourEyes):
        governance.activate(proposal.pk, IDA, reason="quickly")
    assert listed(letter) == 1
    done = governance.activate(proposal.pk, BO, reason="checked")
    assert done.version == 1
    assert directory.epoch() > before
    assert listed(letter) == 0
    (basis,) = [
        one
        for one in AuditEvent.objects.order_by("-at")[0].decision["decisions"][0]["basis"]
        if one["kind"] == "release"
    ]
    assert basis["version"] == "1"
    line = signed_in().get(f"/my/log/{AuditEvent.objects.filter(person_id=letter).order_by('-at')[0].pk}")
    assert "release no-treatment 1" in line.content.decode()
    back = activated("release-policy", "org-clinic", rules.versions("release-policy", "org-clinic")[-1].body)
    assert back.version == 2
    assert listed(letter) == 1
    assert [one.version for one in ReleasePolicy.objects.order_by("version")] == [1, 2]


def test_a_law_with_a_time_to_come_counts_from_that_instant(letter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    later = timezone.now() + timedelta(hours=1)
    body = law(default={"model": "opt-in"})
    assert listed(letter) == 1
    proposal = activated("jurisdiction", "JA", body, effective_from=later)
    assert proposal.version == 1
    assert listed(letter) == 1
    monkeypatch.setattr("django.utils.timezone.now", lambda: later + timedelta(seconds=1))
    assert listed(letter) == 0


def test_a_report_says_how_many_of_the_last_months_decisions_turn_and_names_no_document(letter: str) -> None:
    for _ in range(3):
        listed(letter)
    found = governance.report("jurisdiction", "JA", law(default={"model": "opt-in"}), IDA)
    assert found.whole
    assert {(one.was, one.rule, one.would_be, one.would_rule) for one in found.turned} == {
        ("permit", "F1", "deny", "F3")
    }
    assert sum(one.count for one in found.turned) == 3
    text = json.dumps(found.as_json())
    assert letter not in text
    assert "Letter" not in text
    same = governance.report("jurisdiction", "JA", law(title="Another title"), IDA)
    assert same.turned == ()
    assert same.decisions == found.decisions
    # What a report says comes true: under the new law the same searches find nothing.
    activated("jurisdiction", "JA", law(default={"model": "opt-in"}))
    assert listed(letter) == 0


def test_a_code_table_is_a_version_too_and_raises_the_epoch(letter: str) -> None:
    roles = tables.shipped("codes")["roles"]
    assert listed(letter) == 1
    before = directory.epoch()
    proposal = activated("code-table", "codes", {"roles": {**roles, "physician": ["HOPERAT"]}})
    assert CodeTable.objects.get().version == proposal.version == 1
    assert directory.epoch() > before
    with pytest.raises(AccessRefused):
        listed(letter)
    found = governance.report("code-table", "codes", {}, IDA)
    assert {(one.was, one.would_be, one.count) for one in found.turned} == {("deny", "permit", 1)}
    assert governance.report("code-table", "codes", {"version": "9"}, IDA).turned == found.turned
    activated("code-table", "codes", {})
    assert listed(letter) == 1


def test_what_was_only_tried_is_no_decision_that_a_report_counts(letter: str) -> None:
    assert listed(letter) == 1
    row = AuditEvent.objects.exclude(decision={}).get()
    row.pk, row.kind = uuid4(), "decision-simulated"
    row.save(force_insert=True)
    since, until = timezone.now() - timedelta(days=1), timezone.now()
    assert len(list(audit.decided_between(since, until))) == 2
    found = governance.report("release-policy", "org-clinic", CLOSED, IDA)
    assert (found.events, found.decisions) == (1, 1)
    assert [one.count for one in found.turned] == [1]


@pytest.mark.parametrize(
    ("kind", "subject", "first", "second"),
    [
        ("jurisdiction", "JA", law(majorityAge=21), law(majorityAge=20)),
        ("release-policy", "org-clinic", CLOSED, [{"id": "other", "labels": ["HIV"]}]),
        ("code-table", "codes", {"version": "7"}, {"version": "8"}),
        ("code-table", "labels", {"version": "7"}, {"version": "8"}),
    ],
)
def test_a_newer_version_in_force_stands_when_the_time_of_an_older_one_comes(
    alice: str, monkeypatch: pytest.MonkeyPatch, kind: str, subject: str, first: Any, second: Any
) -> None:
    later = timezone.now() + timedelta(days=2)
    activated(kind, subject, first, effective_from=later)
    assert policies.next_change() == later
    activated(kind, subject, second)
    assert policies.next_change() is None
    monkeypatch.setattr("django.utils.timezone.now", lambda: later + timedelta(seconds=1))
    assert [one.number for one in rules.versions(kind, subject) if one.in_force] == [2]
    counts = {
        "jurisdiction": lambda: (
            jurisdictions.in_effect()[subject] == second and jurisdictions.versions()[subject] == "2"
        ),
        "release-policy": lambda: directory.release_policies(timezone.now())[subject][0] == 2,
        "code-table": lambda: tables.in_effect(subject)["version"] == "8",
    }
    assert counts[kind]()


@pytest.mark.parametrize(
    "text", ["9999-12-31T23:59:59-10:00", "2060-01-01T00:00:00+00:00", "0001-01-01T00:00:00+10:00"]
)
def test_a_version_cannot_be_put_off_beyond_ten_years_or_into_the_past(alice: str, text: str) -> None:
    with pytest.raises(PolicyRefused) as refused:
        governance.propose(
            "release-policy", "org-clinic", CLOSED, IDA, reason="x", effective_from=datetime.fromisoformat(text)
        )
    assert refused.value.element == "effective_from"
    assert not PolicyProposal.objects.exists()


def test_a_participant_that_is_gone_at_activation_is_a_refusal(alice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    proposal = governance.propose("release-policy", "org-clinic", CLOSED, IDA, reason="x")
    for error, element in (
        (UnknownParticipant("org-clinic"), "subject"),
        (RegistrationRefused([Fault(path="rules", message="are wrong")]), "body"),
    ):
        monkeypatch.setattr(registration, "release", Mock(side_effect=error))
        with pytest.raises(PolicyRefused) as refused:
            governance.activate(proposal.pk, BO, reason="x")
        assert refused.value.element == element
    assert PolicyProposal.objects.get().state == "proposed"


def test_the_database_itself_refuses_one_person_and_two_open_proposals(alice: str) -> None:
    governance.propose("release-policy", "org-clinic", CLOSED, IDA, reason="x")
    with pytest.raises(PolicyRefused) as refused:
        governance.propose("release-policy", "org-clinic", [], BO, reason="x")
    assert refused.value.element in ("subject", "body")
    with pytest.raises(IntegrityError), transaction.atomic():
        PolicyProposal.objects.update(state="activated", decided_by="ida")


def test_a_proposal_on_an_old_version_is_to_be_made_anew(alice: str) -> None:
    proposal = governance.propose("jurisdiction", "JA", law(majorityAge=21), IDA, reason="x")
    Jurisdiction.objects.create(code="JA", version=1, body=law(majorityAge=19))
    with pytest.raises(PolicyChanged):
        governance.activate(proposal.pk, BO, reason="x")
    assert PolicyProposal.objects.get().state == "proposed"
    governance.withdraw(proposal.pk, IDA, reason="outdated")
    with pytest.raises(PolicyRefused):
        governance.activate(proposal.pk, BO, reason="x")


def test_a_file_that_says_the_same_as_ever_undoes_no_activated_policy(letter: str) -> None:
    activated("release-policy", "org-clinic", CLOSED)
    registration.apply(file(clinic(), hospital()))
    assert listed(letter) == 0
    registration.apply(file(clinic() | {"release_policy": [{"id": "r", "labels": ["HIV"]}]}))
    assert listed(letter) == 1
    assert [one.version for one in ReleasePolicy.objects.order_by("version")] == [1, 2]


@pytest.mark.parametrize(
    ("kind", "subject", "body", "element"),
    [
        ("release-policy", "org-nowhere", [], "subject"),
        ("release-policy", "org-clinic", {}, "body"),
        ("release-policy", "org-clinic", [{"id": "a", "labels": ["NOSUCH"]}], "body[0].labels[0]"),
        ("release-policy", "org-clinic", [{"labels": ["HIV"]}], "body[0].id"),
        ("release-policy", "org-clinic", [{"id": "a", "lables": ["HIV"]}], "body[0].lables"),
        ("jurisdiction", "JA", [], "body"),
        ("jurisdiction", "J A", {}, "subject"),
        ("jurisdiction", "JA", law(timezone="Nowhere/Land"), "body.timezone"),
        ("jurisdiction", "JA", law(prohibitons=[]), "body.prohibitons"),
        ("jurisdiction", "JA", law(default={"model": "optout"}), "body.default.model"),
        ("jurisdiction", "JA", law(default={"model": "opt-out", "purposes": ["TREATMENT"]}), "body.default.purposes"),
        ("jurisdiction", "JA", law(prohibitions=[{"id": "p", "labels": ["SECRET"]}]), "body.prohibitions[0].labels"),
        ("jurisdiction", "JA", law(mandates=[{"id": "m", "codes": []}]), "body.mandates[0].codes"),
        (
            "jurisdiction",
            "JA",
            law(mandates=[{"id": "m", "emergencyOverride": True}]),
            "body.mandates[0].emergencyOverride",
        ),
        ("code-table", "nothing", {}, "subject"),
        ("code-table", "codes", {"role": {}}, "body.role"),
        ("code-table", "codes", {"roles": {"nurse": ["TREATING"]}}, "body.roles"),
        ("code-table", "codes", {"purposeParent": 7}, "body"),
        ("code-table", "labels", {"rules": 7}, "body"),
        ("jurisdiction", "JA", law(title="a\0b"), "body"),
        ("jurisdiction", "JA", law(title="\ud800"), "body"),
        ("jurisdiction", "JA", law(majorityAge=float("nan")), "body"),
        ("jurisdiction", "JA", law(source=[float("inf")]), "body"),
        ("release-policy", "org-clinic", [{"id": "a\0", "labels": ["HIV"]}], "body"),
        ("code-table", "codes", {"labelParent": {"A\0": None}}, "body"),
        ("nothing", "x", {}, "kind"),
    ],
)
def test_a_version_that_cannot_be_read_or_names_what_is_not_there_is_refused_by_element(
    alice: str, kind: str, subject: str, body: Any, element: str
) -> None:
    with pytest.raises(PolicyRefused) as refused:
        governance.propose(kind, subject, body, IDA, reason="x")
    assert refused.value.element == element
    assert not PolicyProposal.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subject", "org\0clinic"),
        ("reason", "be\0cause"),
        ("body", '[{"id": "\\u0000", "labels": ["HIV"]}]'),
        ("body", '[{"id": "\\ud800", "labels": ["HIV"]}]'),
        ("body", '[{"id": "a", "labels": [NaN]}]'),
        ("body", '[{"id": "a", "labels": [1e999]}]'),
        ("from", "9999-12-31T23:59:59-10:00"),
    ],
)
def test_the_desk_refuses_what_cannot_be_stored_by_field(
    letter: str, as_role: Callable[..., Client], field: str, value: str
) -> None:
    desk, address = as_role("administrator"), "/admin/consent/policyproposal/propose/"
    sent = {"kind": "release-policy", "subject": "org-clinic", "body": json.dumps(CLOSED), "reason": "x", "from": ""}
    answer = desk.post(address, sent | {field: value, "propose": "1"})
    assert answer.status_code == 422
    assert {"from": "effective_from"}.get(field, field) + ":" in answer.content.decode()
    assert not PolicyProposal.objects.exists()
    assert desk.get(address, {"kind": "release-policy", "subject": "org\0clinic"}).status_code == 422
    proposal = governance.propose("release-policy", "org-clinic", CLOSED, BO, reason="x")
    for act in ("activate", "withdraw"):
        decided = desk.post(f"/admin/consent/policyproposal/{proposal.pk}/decide/", {act: "1", "reason": "x\0"})
        assert decided.status_code == 422


def test_only_administrators_and_the_privacy_officer_change_policy(alice: str) -> None:
    proposal = governance.propose("release-policy", "org-clinic", CLOSED, BO, reason="x")
    for act in (
        lambda: governance.propose("jurisdiction", "JA", law(majorityAge=21), EVA, reason="x"),
        lambda: governance.report("jurisdiction", "JA", law(majorityAge=21), EVA),
        lambda: governance.activate(proposal.pk, EVA, reason="x"),
        lambda: governance.withdraw(proposal.pk, EVA, reason="x"),
    ):
        with pytest.raises(AccessRefused):
            act()
    assert AuditEvent.objects.filter(outcome=4, user="Staff/eva", rule="G5").count() == 4
    assert PolicyProposal.objects.get().state == "proposed"


def test_the_desk_proposes_shows_and_activates_by_two_people(letter: str, as_role: Callable[..., Client]) -> None:
    listed(letter)
    ida, bo, eva = as_role("administrator"), as_role("privacy-officer"), as_role("auditor")
    address = "/admin/consent/policyproposal/propose/"
    page = ida.get(address, {"kind": "release-policy", "subject": "org-clinic"}).content.decode()
    assert "The next version" in page
    sent = {"kind": "release-policy", "subject": "org-clinic", "body": "{", "reason": "x", "from": ""}
    bad = ida.post(address, sent | {"propose": "1"})
    assert (bad.status_code, "body: is no JSON" in bad.content.decode()) == (422, True)
    sent["body"] = json.dumps(CLOSED)
    seen = ida.post(address, sent | {"report": "1"}).content.decode()
    assert "deny (O1)" in seen
    assert not PolicyProposal.objects.exists()
    answer = ida.post(address, sent | {"propose": "1"})
    assert answer.status_code == 302
    own = ida.get(answer["Location"]).content.decode()
    assert "You proposed this." in own
    assert 'name="activate"' not in own
    forced = ida.post(answer["Location"], {"activate": "1", "reason": "x"})
    assert forced.status_code == 422
    assert eva.get(answer["Location"]).status_code == 200
    assert eva.post(answer["Location"], {"activate": "1", "reason": "x"}).status_code == 403
    assert eva.get(address).status_code == 403
    other = bo.get(answer["Location"]).content.decode()
    assert "no-treatment" in other
    assert bo.post(answer["Location"], {"activate": "1", "reason": ""}).status_code == 422
    assert bo.post(answer["Location"], {"activate": "1", "reason": "checked"}).status_code == 302
    assert listed(letter) == 0
    assert "Propose a version from this one" in bo.get("/admin/directory/releasepolicy/").content.decode()
    kinds = set(AuditEvent.objects.filter(client="backoffice").values_list("kind", flat=True))
    assert {"policy-read", "policy-proposed", "policy-activated"} <= kinds
    assert bo.get(f"/admin/consent/policyproposal/{uuid4()}/decide/").status_code == 404
