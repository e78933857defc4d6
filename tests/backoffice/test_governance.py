"""Changes of policy: a report, two people, an instant, and a way back; every look and act recorded."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone

from consent import governance as rules
from consent import jurisdictions, policies, tables
from consent.errors import PolicyChanged, PolicyRefused, ReportOutdated
from consent.models import CodeTable, Jurisdiction, PolicyProposal, PolicyReport
from documents.models import DocumentEntry
from hie.audit import queries as audit
from hie.audit.models import AuditEvent
from hie.directory import queries as directory
from hie.directory import registration
from hie.directory.errors import Fault, RegistrationRefused, UnknownParticipant
from hie.directory.models import ReleasePolicy
from hie.exchange import find, found_pages, governance, named_patients, relabel, submit
from hie.exchange.access import Staff
from hie.exchange.errors import AccessRefused
from hie.standards.errors import HubError
from hie.trust.errors import FourEyes
from tests.backoffice.conftest import PASSWORD
from tests.directory.forms import clinic, file, hospital
from tests.documents import samples
from tests.portal.conftest import signed_in
from tests.portal.test_choices import ASKERS
from tests.portal.test_documents import ALICE_ID, CLINIC

__all__ = ["PASSWORD"]

IDA = Staff(user_id="ida", roles=frozenset({"administrator"}), account=1)
BO = Staff(user_id="bo", roles=frozenset({"privacy-officer"}), account=2)
EVA = Staff(user_id="eva", roles=frozenset({"auditor"}), account=3)
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
    search = found_pages.DocumentSearch(patients=((named_patients.PatientNamed(id=person),),), count=10)
    return find.find_documents(search, caller=HOSPITAL).total


def law(**changes: Any) -> dict[str, Any]:
    """The law of JA as shipped, with changes."""
    body: dict[str, Any] = json.loads(json.dumps(tables.shipped("jurisdictions")["jurisdictions"]["JA"]))
    return body | changes


def activated(kind: str, subject: str, body: Any, **more: Any) -> PolicyProposal:
    return activate(governance.propose(kind, subject, body, IDA, reason="the board decided", **more))


def activate(proposal: PolicyProposal, by: Staff = BO, *, reason: str = "checked") -> PolicyProposal:
    """By somebody who has read the newest report."""
    newest = governance.newest_report(proposal)
    assert newest is not None
    return governance.activate(proposal.pk, by, reason=reason, report=newest.pk)


def test_a_release_policy_counts_from_its_activation_by_a_second_person_and_can_be_gone_back_from(letter: str) -> None:
    assert listed(letter) == listed(letter) == 1
    before = directory.epoch()
    proposal = governance.propose("release-policy", "org-clinic", CLOSED, IDA, reason="audit finding 7")
    assert listed(letter) == 1
    report = proposal.reports.get().body
    turned = report["turned"]
    assert [(one["was"], one["would_be"], one["would_rule"]) for one in turned] == [("permit", "deny", "O1")]
    assert (report["decisions"], turned[0]["count"]) == (2, 2)
    assert {one["organization"] for one in report["listed"]} == {"org-hospital"}
    with pytest.raises(FourEyes):
        activate(proposal, IDA)
    assert listed(letter) == 1
    done = activate(proposal)
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
    assert {(one.was, one.would_be, one.count) for one in found.turned} == {
        ("deny", "permit", 1),
        ("deny", "goes on", 1),
    }
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
            activate(proposal)
        assert refused.value.element == element
    assert PolicyProposal.objects.get().state == "proposed"


def test_one_account_under_two_names_is_one_person(alice: str) -> None:
    proposal = governance.propose("release-policy", "org-clinic", CLOSED, IDA, reason="x")
    renamed = Staff(user_id="somebody-else", roles=IDA.roles, account=IDA.account)
    with pytest.raises(FourEyes):
        activate(proposal, renamed)
    nobody = Staff(user_id="bo", roles=BO.roles)
    with pytest.raises(AccessRefused):
        activate(proposal, nobody)
    assert PolicyProposal.objects.get().state == "proposed"
    assert activate(proposal).decided_account == 2


def test_the_name_of_an_account_is_chosen_once(as_role: Callable[..., Client]) -> None:
    desk = as_role("administrator", username="ida")
    user = User.objects.get(username="ida")
    page = desk.get(f"/admin/auth/user/{user.pk}/change/").content.decode()
    assert 'name="username"' not in page
    assert 'name="first_name"' in page
    sent = {"username": "bo", "first_name": "Ada", "last_name": "Moss", "email": "", "is_active": "on", "is_staff": "on", "is_superuser": "on"}  # fmt: skip
    assert desk.post(f"/admin/auth/user/{user.pk}/change/", sent).status_code == 302
    user.refresh_from_db()
    assert (user.username, user.first_name) == ("ida", "Ada")
    assert 'name="username"' in desk.get("/admin/auth/user/add/").content.decode()


@pytest.mark.parametrize("outdated", ["policy", "day", "another", "missing"])
def test_nothing_is_activated_by_a_report_that_is_out_of_date_until_it_is_made_again(
    letter: str, outdated: str, as_role: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed(letter)
    desk = as_role("privacy-officer", username="bo")
    proposal = governance.propose("release-policy", "org-clinic", CLOSED, IDA, reason="x")
    address = f"/admin/consent/policyproposal/{proposal.pk}/decide/"
    read = proposal.reports.get().pk
    if outdated == "policy":
        activated("jurisdiction", "JA", law(majorityAge=21))
    elif outdated == "another":
        governance.report_again(proposal.pk, IDA)
    elif outdated == "missing":
        read = 0
    with monkeypatch.context() as later:
        if outdated == "day":
            later.setattr(rules, "REPORT_LASTS", timedelta(0))
        with pytest.raises(ReportOutdated) as refused:
            governance.activate(proposal.pk, BO, reason="x", report=read)
        page = desk.get(address).content.decode()
    assert refused.value.element == "report"
    assert PolicyProposal.objects.get(pk=proposal.pk).state == "proposed"
    assert listed(letter) == 1
    assert ("Out of date" in page, 'name="activate"' in page) == (
        (True, False) if outdated in ("policy", "day") else (False, True)
    )
    assert desk.post(address, {"report_again": "1"}).status_code == 302
    again = governance.newest_report(proposal)
    assert again is not None
    assert again.made_by == "bo"
    page = desk.get(address).content.decode()
    assert ("Out of date" in page, f'name="report" value="{again.pk}"' in page) == (False, True)
    assert desk.post(address, {"activate": "1", "reason": "x", "report": str(again.pk)}).status_code == 302
    assert listed(letter) == 0
    with pytest.raises(PolicyRefused):
        governance.report_again(proposal.pk, BO)


def test_every_refused_attempt_leaves_a_record(alice: str) -> None:
    proposal = governance.propose("release-policy", "org-clinic", CLOSED, IDA, reason="x")
    attempts: list[tuple[Callable[[], Any], str, str]] = [
        (lambda: activate(proposal, IDA), "policy-activated", "four-eyes"),
        (lambda: activate(proposal, reason=" "), "policy-activated", "policy-refused"),
        (lambda: governance.activate(uuid4(), BO, reason="x", report=1), "policy-activated", "policy-refused"),
        (lambda: governance.activate(proposal.pk, BO, reason="x", report=0), "policy-activated", "report-outdated"),
        (lambda: governance.withdraw(proposal.pk, BO, reason=""), "policy-withdrawn", "policy-refused"),
        (lambda: governance.propose("release-policy", "org-clinic", [], BO, reason="x"), "policy-proposed", "policy-refused"),
        (lambda: governance.report("release-policy", "org-clinic", {}, BO), "policy-read", "policy-refused"),
    ]  # fmt: skip
    for attempt, kind, reason in attempts:
        before = set(AuditEvent.objects.values_list("pk", flat=True))
        with pytest.raises(HubError):
            attempt()
        (event,) = AuditEvent.objects.exclude(pk__in=before)
        assert (event.kind, event.outcome, event.reason) == (kind, 4, reason)
        assert event.user in ("Staff/ida", "Staff/bo")
        assert event.detail.get("proposal") or event.detail["subject"] == "org-clinic"
    assert PolicyProposal.objects.get().state == "proposed"


def test_a_report_says_which_refusals_at_the_gate_would_go_on(letter: str) -> None:
    roles = tables.shipped("codes")["roles"]
    activated("code-table", "codes", {"roles": {**roles, "physician": ["HOPERAT"]}})
    for _ in range(2):
        with pytest.raises(AccessRefused):
            listed(letter)
    found = governance.report("code-table", "codes", {}, IDA)
    assert (found.stopped, found.decisions) == (2, 0)
    assert [(one.was, one.rule, one.would_be, one.would_rule, one.count) for one in found.turned] == [
        ("deny", "G5", "goes on", "", 2)
    ]
    assert {(one["document"], one["organization"], one["purpose"]) for one in found.listed} == {
        (0, "org-hospital", "TREAT")
    }
    # Under a version that leaves the role as it is they stay refused; what staff were refused is no request at all.
    with pytest.raises(AccessRefused):
        governance.report("code-table", "codes", {}, EVA)
    same = governance.report("code-table", "codes", {"version": "9", "roles": {**roles, "physician": ["HOPERAT"]}}, IDA)
    assert (same.stopped, same.turned) == (2, ())


def test_a_report_on_label_tables_says_how_many_documents_become_more_or_less_secret(letter: str) -> None:
    shipped = tables.shipped("labels")
    entry = DocumentEntry.objects.get()
    code = entry.metadata["type_code"]
    scheme, value = code["scheme"], code["code"]
    rule = {"id": "letters", "label": "MH", "codes": [f"{scheme}|{value}"]}
    more = {"version": "9", "rules": [*shipped["rules"], rule]}
    found = governance.report("code-table", "labels", more, IDA).documents
    assert found is not None
    assert (found.there, found.looked_at, found.raised, found.lower) == (1, 1, 1, 0)
    assert [dict(one) for one in found.labels] == [{"label": "MH", "more": 1, "less": 0}]
    same = governance.report("code-table", "labels", {"version": "9"}, IDA).documents
    assert same is not None
    assert (same.looked_at, same.raised, same.lower, same.labels) == (1, 0, 0, ())
    proposal = activated("code-table", "labels", more)
    assert proposal.reports.get().body["documents"]["raised"] == 1
    relabel.carry_on(until=time.monotonic() + 10)
    entry.refresh_from_db()
    # What the report said came true; and to take the rule out again would take nothing off the document.
    assert (entry.labels, entry.confidentiality) == (["MH"], "R")
    less = governance.report("code-table", "labels", {"version": "10"}, IDA).documents
    assert less is not None
    assert (less.raised, less.lower) == (0, 1)
    assert [dict(one) for one in less.labels] == [{"label": "MH", "more": 0, "less": 1}]
    # A table of codes that raises the floor of a label reaches documents as well as decisions.
    floors = governance.report(
        "code-table", "codes", {"labelFloor": {**tables.shipped("codes")["labelFloor"], "MH": "V"}}, IDA
    )
    assert floors.documents is not None
    assert (floors.decides, floors.documents.raised) == (True, 1)


def test_what_was_stored_of_policy_is_never_changed_or_removed(alice: str) -> None:
    proposals = [
        activated("release-policy", "org-clinic", CLOSED),
        activated("jurisdiction", "JA", law(majorityAge=21)),
        activated("code-table", "codes", {"version": "9"}),
        governance.propose("release-policy", "org-clinic", [], IDA, reason="x"),
    ]
    waiting = PolicyProposal.objects.filter(pk=proposals[-1].pk)
    changes: list[Callable[[], Any]] = [
        lambda: ReleasePolicy.objects.update(rules=[]),
        lambda: ReleasePolicy.objects.all().delete(),
        lambda: Jurisdiction.objects.update(body={}),
        lambda: Jurisdiction.objects.update(effective_from=timezone.now() + timedelta(days=1)),
        lambda: Jurisdiction.objects.all().delete(),
        lambda: CodeTable.objects.update(version=7),
        lambda: CodeTable.objects.all().delete(),
        lambda: PolicyReport.objects.update(basis="x"),
        lambda: PolicyReport.objects.all().delete(),
        lambda: waiting._raw_delete("default"),
        *(
            lambda change=change: waiting.update(**change)  # type: ignore[misc]  # mypy takes the star for a clash
            for change in (
                {"body": CLOSED}, {"kind": "jurisdiction"}, {"subject": "org-hospital"}, {"on_version": 7}, {"reason": "y"},
                {"proposed_by": "bo"}, {"proposed_account": 7}, {"effective_from": timezone.now()},
                {"state": "withdrawn", "decided_by": "bo", "proposed_by": "eva"},
            )
        ),
        lambda: PolicyProposal.objects.filter(state="activated").update(decided_by="eva", decided_account=3),
        lambda: PolicyProposal.objects.filter(state="activated").update(state="proposed"),
    ]  # fmt: skip
    for change in changes:
        with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
            change()
    for table in ("directory_releasepolicy", "consent_jurisdiction", "consent_codetable", "consent_policyreport"):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_trigger WHERE tgrelid = %s::regclass AND tgtype & 32 <> 0 AND NOT tgisinternal"
                " AND tgname LIKE '%%no_truncate'",
                [table],
            )
            assert cursor.fetchone() == (1,)
    assert waiting.get().body == []


def laws(tmp_path: Path, **bodies: Any) -> str:
    path = tmp_path / "laws.json"
    path.write_text(json.dumps({"jurisdictions": bodies}))
    return str(path)


def loaded(file: str, *more: str) -> list[str]:
    out = io.StringIO()
    call_command("jurisdictions", file, *more, stdout=out)
    return out.getvalue().splitlines()


def test_a_fresh_hub_loads_its_law_by_command_and_loads_it_again(alice: str, tmp_path: Path) -> None:
    assert loaded(laws(tmp_path, JA=law(majorityAge=21), JX=law())) == ["created JA", "created JX"]
    assert loaded(laws(tmp_path, JA=law(majorityAge=20), JX=law())) == ["updated JA", "unchanged JX"]
    assert jurisdictions.in_effect()["JA"]["majorityAge"] == 20
    assert AuditEvent.objects.filter(kind="policy-activated", client="command-line").count() == 2
    with pytest.raises(CommandError, match=r"jurisdictions\.JA\.prohibitons"):
        loaded(laws(tmp_path, JX=law(majorityAge=19), JA=law(prohibitons=[])))
    assert jurisdictions.in_effect()["JX"] == law()


def test_a_law_in_force_is_changed_by_command_only_as_a_proposal_that_another_person_activates(
    letter: str, tmp_path: Path, as_role: Callable[..., Client]
) -> None:
    as_role("administrator", username="ida")
    as_role("auditor", username="eva")
    ida = User.objects.get(username="ida")
    assert listed(letter) == 1
    changed = laws(tmp_path, JA=law(default={"model": "opt-in"}), JX=law())
    for more in ((), ("--as", "nobody"), ("--as", "eva", "--reason", "x"), ("--as", "ida")):
        with pytest.raises(CommandError):
            loaded(changed, *more)
        assert not PolicyProposal.objects.exists()
        assert not Jurisdiction.objects.exists()
    with pytest.raises(CommandError, match="--as USERNAME"):
        loaded(changed)
    # What had no law gets its first one at once.
    assert loaded(changed, "--as", "ida", "--reason", "the act of May") == ["proposed JA", "created JX"]
    assert listed(letter) == 1
    proposal = PolicyProposal.objects.get()
    assert (proposal.proposed_account, proposal.reason) == (ida.pk, "the act of May")
    with pytest.raises(FourEyes):
        activate(proposal, Staff(user_id="ida", roles=IDA.roles, account=ida.pk))
    # The law that came with it is another policy than the report was made on.
    governance.report_again(proposal.pk, IDA)
    activate(proposal, Staff(user_id="bo", roles=BO.roles, account=ida.pk + 100))
    assert listed(letter) == 0
    assert loaded(changed) == ["unchanged JA", "unchanged JX", "nothing to do"]
    with pytest.raises(CommandError, match=r"^jurisdictions\.JX: version 1 is in force and says something else"):
        loaded(laws(tmp_path, JA=law(), JX=law(majorityAge=21)))


def test_a_law_file_is_loaded_again_whatever_two_people_made_of_the_law_since(
    letter: str, tmp_path: Path, as_role: Callable[..., Client]
) -> None:
    as_role("administrator", username="ida")
    same, other = laws(tmp_path, JA=law(majorityAge=21)), law(majorityAge=20)
    assert loaded(same) == ["created JA"]
    assert listed(letter) == 1
    activated("jurisdiction", "JA", other)
    kept, nothing = loaded(same)
    assert kept == ("kept JA: version 2 counts, put into force by two people; the file says what version 1 said")
    assert nothing == "nothing to do (to go back: --as USERNAME --reason TEXT)"
    assert jurisdictions.in_effect()["JA"] == other
    assert loaded(laws(tmp_path, JA=law()))[0].endswith("the file says what the law as shipped said")
    for new in (law(majorityAge=19), law(majorityAge=17)):
        with pytest.raises(CommandError, match=r"jurisdictions\.JA: version 2 is in force .*--as USERNAME"):
            loaded(laws(tmp_path, JA=new))
    assert loaded(laws(tmp_path, JA=law(majorityAge=21)), "--as", "ida", "--reason", "back") == ["proposed JA"]
    assert PolicyProposal.objects.get(state="proposed").body["majorityAge"] == 21


def test_a_change_of_law_proposed_by_command_is_proposed_once_and_the_log_names_the_command(
    letter: str, tmp_path: Path, as_role: Callable[..., Client]
) -> None:
    as_role("administrator", username="ida")
    assert listed(letter) == 1
    changed = laws(tmp_path, JA=law(majorityAge=21))
    named = ("--as", "ida", "--reason", "the act of May")
    assert loaded(changed, *named) == ["proposed JA"]
    again = ["waits JA: proposed by ida already: another person activates it at the desk", "nothing to do"]
    assert loaded(changed, *named) == loaded(changed) == again
    assert PolicyProposal.objects.count() == 1
    event = AuditEvent.objects.get(kind="policy-proposed")
    assert (event.client, event.face, event.user) == ("command-line", "hub", "Staff/ida")
    with pytest.raises(CommandError, match=r"^jurisdictions\.JA: another change of it waits"):
        loaded(laws(tmp_path, JA=law(majorityAge=20)), *named)


@pytest.mark.parametrize(
    ("body", "more", "element"),
    [
        ({}, ("--as", "ida"), "jurisdictions.JA.reason"),
        ({"prohibitons": []}, (), "jurisdictions.JA.prohibitons"),
        ({"mandates": [{"id": "m", "codes": []}]}, (), "jurisdictions.JA.mandates[0].codes"),
        ({"timezone": "Nowhere/Land"}, (), "jurisdictions.JA.timezone"),
        ({"majorityAge": "x"}, (), "jurisdictions.JA.majorityAge"),
    ],
)
def test_what_is_wrong_with_a_file_of_laws_is_named_by_its_place(
    letter: str, tmp_path: Path, as_role: Callable[..., Client], body: Any, more: tuple[str, ...], element: str
) -> None:
    as_role("administrator", username="ida")
    assert listed(letter) == 1
    with pytest.raises(CommandError) as refused:
        loaded(laws(tmp_path, JA=law(majorityAge=21) | body), *more)
    assert str(refused.value).startswith(f"{element}: ")


def test_the_database_itself_refuses_one_person_and_two_open_proposals(alice: str) -> None:
    governance.propose("release-policy", "org-clinic", CLOSED, IDA, reason="x")
    with pytest.raises(PolicyRefused) as refused:
        governance.propose("release-policy", "org-clinic", [], BO, reason="x")
    assert refused.value.element in ("subject", "body")
    with pytest.raises(IntegrityError), transaction.atomic():
        PolicyProposal.objects.update(state="activated", decided_by="ida", decided_account=9)
    with pytest.raises(IntegrityError), transaction.atomic():
        PolicyProposal.objects.update(state="activated", decided_by="another name", decided_account=1)


def test_a_proposal_on_an_old_version_is_to_be_made_anew(alice: str) -> None:
    proposal = governance.propose("jurisdiction", "JA", law(majorityAge=21), IDA, reason="x")
    Jurisdiction.objects.create(code="JA", version=1, body=law(majorityAge=19))
    with pytest.raises(PolicyChanged):
        activate(proposal)
    assert PolicyProposal.objects.get().state == "proposed"
    governance.withdraw(proposal.pk, IDA, reason="outdated")
    with pytest.raises(PolicyRefused):
        activate(proposal)


def test_a_file_that_says_the_same_as_ever_undoes_no_activated_policy(letter: str) -> None:
    activated("release-policy", "org-clinic", CLOSED)
    registration.apply(file(clinic(), hospital()))
    assert listed(letter) == 0
    assert [one.version for one in ReleasePolicy.objects.order_by("version")] == [1]


def test_a_file_changes_a_release_policy_until_two_people_have_and_then_no_more(letter: str) -> None:
    registration.apply(file(clinic() | {"release_policy": CLOSED}))
    assert listed(letter) == 0
    registration.apply(file(clinic()))
    assert listed(letter) == 1
    activated("release-policy", "org-clinic", CLOSED)
    with pytest.raises(RegistrationRefused) as refused:
        registration.apply(
            file(clinic(name="Other") | {"release_policy": [{"id": "r", "labels": ["HIV"]}]}, hospital(name="Other"))
        )
    (fault,) = refused.value.faults
    assert fault.path == "participants[0].release_policy"
    assert "version 3 " not in fault.message
    assert "(version 3)" in fault.message
    assert listed(letter) == 0
    assert {one.name for one in directory.participants().values()}.isdisjoint({"Other"})
    # What is in force may be said again, and makes no version of its own; what was said before, too.
    registration.apply(file(clinic() | {"release_policy": CLOSED}))
    registration.apply(file(clinic() | {"release_policy": CLOSED}))
    assert [(one.version, one.approved_by) for one in ReleasePolicy.objects.order_by("version")] == [
        (1, ""), (2, ""), (3, "bo"),
    ]  # fmt: skip
    with pytest.raises(RegistrationRefused):
        registration.apply(file(clinic()))
    assert listed(letter) == 0


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
        lambda: activate(proposal, EVA),
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
    number = str(PolicyProposal.objects.get().reports.get().pk)
    forced = ida.post(answer["Location"], {"activate": "1", "reason": "x", "report": number})
    assert (forced.status_code, "another person" in forced.content.decode()) == (422, True)
    assert eva.get(answer["Location"]).status_code == 200
    assert eva.post(answer["Location"], {"activate": "1", "reason": "x"}).status_code == 403
    assert eva.get(address).status_code == 403
    other = bo.get(answer["Location"]).content.decode()
    assert "no-treatment" in other
    assert f'name="report" value="{number}"' in other
    assert bo.post(answer["Location"], {"activate": "1", "reason": "", "report": number}).status_code == 422
    assert bo.post(answer["Location"], {"activate": "1", "reason": "checked"}).status_code == 422
    assert bo.post(answer["Location"], {"activate": "1", "reason": "checked", "report": number}).status_code == 302
    assert listed(letter) == 0
    assert "Propose a version from this one" in bo.get("/admin/directory/releasepolicy/").content.decode()
    kinds = set(AuditEvent.objects.filter(client="backoffice").values_list("kind", flat=True))
    assert {"policy-read", "policy-proposed", "policy-activated"} <= kinds
    assert bo.get(f"/admin/consent/policyproposal/{uuid4()}/decide/").status_code == 404
