"""Agreements, places and the end of a suspension: proposed by one, put into force by another, safe from files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from consent import governance as rules
from consent import policies
from consent.errors import PolicyRefused
from consent.models import PolicyProposal
from hie.audit.models import AuditEvent
from hie.directory import queries as directory
from hie.directory import registration
from hie.directory.errors import RegistrationRefused
from hie.directory.models import Agreement, DirectoryChange, Participant, Placement
from hie.exchange import governance
from hie.exchange.access import Staff
from hie.exchange.errors import AccessRefused
from hie.trust.errors import FourEyes
from tests.backoffice.test_governance import BO, CLOSED, IDA, activate, activated, letter, listed
from tests.backoffice.test_tasks import decide
from tests.directory.forms import clinic, file, hospital

__all__ = ["letter"]

WARD = {"id": "org-ward", "name": "The Ward", "type": "hospital", "organization_oid": "2.999.77.1", "scopes": [], "purposes": [], "part_of": "org-hospital"}  # fmt: skip
ONBOARDING = Staff(user_id="uma", roles=frozenset({"onboarding"}), account=5)
OTHER_ONBOARDING = Staff(user_id="vic", roles=frozenset({"onboarding"}), account=6)


def agreement(**changes: Any) -> dict[str, Any]:
    """The hospital's agreement in force, with changes."""
    found: dict[str, Any] = rules.versions("agreement", "org-hospital")[0].body
    return found | changes


def test_an_agreement_changes_what_is_decided_once_a_second_person_has_put_it_into_force(letter: str) -> None:
    assert listed(letter) == 1
    less = agreement(purposes=["HOPERAT"])
    proposal = governance.propose("agreement", "org-hospital", less, IDA, reason="notice of May")
    report = proposal.reports.get().body
    assert [(one["was"], one["would_be"], one["would_rule"]) for one in report["turned"]] == [("permit", "deny", "G4")]
    assert listed(letter) == 1
    with pytest.raises(FourEyes):
        activate(proposal, IDA)
    before = directory.epoch()
    done = activate(proposal)
    assert directory.epoch() > before
    with pytest.raises(AccessRefused):
        listed(letter)
    row = Agreement.objects.filter(participant="org-hospital").order_by("-version")[0]
    assert (row.version, row.recorded_by, row.approved_by) == (done.version, "ida", "bo")
    found = governance.report("agreement", "org-hospital", agreement(purposes=["HOPERAT", "TREAT"]), IDA)
    assert ("deny", "G4", "goes on") in {(one.was, one.rule, one.would_be) for one in found.turned}
    versions = rules.versions("agreement", "org-hospital")
    back = activated("agreement", "org-hospital", versions[1].body)
    assert back.version == (done.version or 0) + 1
    assert listed(letter) == 1


def test_a_file_changes_an_agreement_until_two_people_have_and_then_no_more(letter: str) -> None:
    said = hospital(purposes=["TREAT", "HOPERAT"])
    registration.apply(file(said))
    activated("agreement", "org-hospital", agreement(purposes=["HOPERAT"], decision_point=True))
    assert registration.apply(file(said)) == [("unchanged", "org-hospital")]
    for purposes in (["HOPERAT"], ["TREAT", "HOPERAT"]):
        assert registration.apply(file(said | {"purposes": purposes})) == [("unchanged", "org-hospital")]
    for change, member in (
        ({"purposes": ["TREAT"]}, "purposes"),
        ({"agreement": {"status": "suspended", "period": {"start": "2020-01-01"}}}, "agreement"),
    ):
        with pytest.raises(RegistrationRefused) as refused:
            registration.apply(file(said | change | {"name": "Other"}))
        assert [one.path for one in refused.value.faults] == [f"participants[0].{member}"]
    facts = directory.participant("org-hospital")
    assert facts is not None
    assert facts.agreement is not None
    assert (facts.name, facts.agreement.purposes, facts.agreement.decision_point) == (said["name"], ("HOPERAT",), True)
    # What else the file says is still the file's to say.
    assert registration.apply(file(said | {"name": "Other"})) == [("updated", "org-hospital")]
    assert rules.versions("agreement", "org-hospital")[0].body["purposes"] == ["HOPERAT"]
    with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
        Agreement.objects.update(purposes=["BTG"])


def test_a_department_that_two_people_gave_an_agreement_keeps_it_when_its_file_comes_again(letter: str) -> None:
    registration.apply(file(WARD))
    assert rules.versions("agreement", "org-ward") == []
    own = {"status": "suspended", "period": {"start": "2026-01-01"}, "purposes": ["TREAT"]}
    activated("agreement", "org-ward", own)
    assert not directory.is_active("org-ward", timezone.now())
    assert registration.apply(file(WARD)) == [("unchanged", "org-ward")]
    assert not directory.is_active("org-ward", timezone.now())


def test_where_an_organization_stands_is_changed_by_two_people_and_decides_at_once(letter: str) -> None:
    registration.apply(file(WARD))
    assert listed(letter) == 1
    # The custodian under the law of a place where nothing is shared without consent.
    proposal = governance.propose("placement", "org-clinic", {"jurisdiction": "JB"}, IDA, reason="it moved")
    turned = proposal.reports.get().body["turned"]
    assert [(one["was"], one["would_be"], one["would_rule"]) for one in turned] == [("permit", "deny", "F3")]
    assert activate(proposal).version == 1
    assert listed(letter) == 0
    assert Participant.objects.get(pk="org-clinic").jurisdiction == "JB"
    assert registration.apply(file(clinic())) == [("unchanged", "org-clinic")]
    with pytest.raises(RegistrationRefused) as refused:
        registration.apply(file(clinic(jurisdiction="JX")))
    assert refused.value.faults[0].path == "participants[0].jurisdiction"
    with pytest.raises(RegistrationRefused) as refused:
        registration.apply(file(clinic(part_of="org-hospital")))
    assert refused.value.faults[0].path == "participants[0].part_of"
    assert listed(letter) == 0
    activated("placement", "org-ward", {"part_of": "org-clinic"})
    assert directory.root_of("org-ward") == "org-clinic"
    assert registration.apply(file(WARD)) == [("unchanged", "org-ward")]
    assert directory.root_of("org-ward") == "org-clinic"
    versions = rules.versions("placement", "org-clinic")
    assert [(one.number, one.in_force) for one in versions] == [(1, True), (0, False)]
    back = activated("placement", "org-clinic", versions[-1].body)
    assert (back.version, listed(letter)) == (2, 1)
    for change in (
        lambda: Placement.objects.update(part_of=""),
        lambda: Placement.objects.all().delete(),
    ):
        with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
            change()


@pytest.mark.parametrize(
    ("kind", "subject", "body", "element"),
    [
        ("agreement", "org-nowhere", {}, "subject"),
        ("agreement", "org-clinic", [], "body"),
        ("agreement", "org-clinic", {"purposes": ["TREAT"]}, "body.status"),
        ("agreement", "org-clinic", {"status": "active", "period": {"start": "2026-01-01"}}, "body.purposes"),
        ("agreement", "org-clinic", {"status": "active", "period": {"start": "x"}, "purposes": []}, "body.period.start"),
        ("agreement", "org-clinic", {"status": "active", "period": {"start": "2026"}, "purposes": ["TREATING"]}, "body.purposes[0]"),
        ("agreement", "org-clinic", {"status": "active", "period": {"start": "2026"}, "purposes": [], "x": 1}, "body.x"),
        ("placement", "org-clinic", {}, "body"),
        ("placement", "org-clinic", {"part_of": "org-clinic"}, "body.part_of"),
        ("placement", "org-clinic", {"part_of": "org-nowhere"}, "body.part_of"),
        ("placement", "org-hospital", {"part_of": "org-ward"}, "body.part_of"),
        ("placement", "org-clinic", {"jurisdiction": "JNOWHERE"}, "body.jurisdiction"),
        ("placement", "org-clinic", {"type": "payer"}, "body.type"),
        ("reinstatement", "org-clinic", {"status": "active"}, "subject"),
        ("reinstatement", "org-clinic", {"status": "suspended"}, "body"),
        ("reinstatement", "org-nowhere", {"status": "active"}, "subject"),
    ],
)  # fmt: skip
def test_what_of_an_organization_cannot_be_is_refused_by_element(
    letter: str, kind: str, subject: str, body: Any, element: str
) -> None:
    registration.apply(file(WARD))
    with pytest.raises(PolicyRefused) as refused:
        governance.propose(kind, subject, body, IDA, reason="x")
    assert refused.value.element == element
    assert not PolicyProposal.objects.exists()


def test_only_a_release_policy_of_an_organization_is_put_off(letter: str) -> None:
    later = timezone.now() + timedelta(days=1)
    for kind, body in (("agreement", agreement(purposes=[])), ("placement", {"jurisdiction": "JB"})):
        with pytest.raises(PolicyRefused) as refused:
            governance.propose(kind, "org-hospital", body, IDA, reason="x", effective_from=later)
        assert refused.value.element == "effective_from"
    assert activated("release-policy", "org-hospital", CLOSED, effective_from=later).version == 1


def test_one_suspends_at_once_and_two_let_in_again_with_each_act_in_the_sealed_log(letter: str) -> None:
    registration.apply(file(WARD))
    assert listed(letter) == 1
    governance.suspend("org-hospital", ONBOARDING, reason="unpaid")
    with pytest.raises(AccessRefused):
        listed(letter)
    event = AuditEvent.objects.get(kind="directory-changed")
    assert (event.user, event.outcome, event.detail["participant"]) == ("Staff/uma", 0, "org-hospital")
    proposal = governance.propose("reinstatement", "org-hospital", {"status": "active"}, ONBOARDING, reason="paid")
    turned = proposal.reports.get().body["turned"]
    assert ("deny", "G2", "goes on") in {(one["was"], one["rule"], one["would_be"]) for one in turned}
    assert (
        rules.draft_of("reinstatement", "org-hospital", {"status": "active"}).participants["org-ward"].status
        == "active"
    )
    with pytest.raises(FourEyes):
        activate(proposal, ONBOARDING)
    assert not directory.is_active("org-hospital", timezone.now())
    activate(proposal, OTHER_ONBOARDING)
    assert listed(letter) == 1
    assert DirectoryChange.objects.filter(kind="reinstated").get().actor == "uma and vic"
    for refused in (
        lambda: governance.suspend(
            "org-hospital", Staff(user_id="eva", roles=frozenset({"auditor"}), account=3), reason="x"
        ),
        lambda: governance.propose("agreement", "org-hospital", agreement(purposes=[]), ONBOARDING, reason="x"),
    ):
        with pytest.raises(AccessRefused):
            refused()
    with pytest.raises(PolicyRefused):
        governance.suspend("org-hospital", IDA, reason=" ")
    with pytest.raises(PolicyRefused):
        governance.suspend("org-nowhere", IDA, reason="x")
    assert AuditEvent.objects.filter(kind="directory-changed", outcome=4).count() == 3
    assert directory.is_active("org-hospital", timezone.now())


def test_a_suspension_that_came_since_is_not_ended_by_an_older_proposal(letter: str) -> None:
    governance.suspend("org-hospital", ONBOARDING, reason="unpaid")
    proposal = governance.propose("reinstatement", "org-hospital", {"status": "active"}, IDA, reason="paid")
    registration.reinstate("org-hospital", "x", "races")
    governance.suspend("org-hospital", ONBOARDING, reason="another thing")
    governance.report_again(proposal.pk, IDA)
    with pytest.raises(Exception, match="is on version 1"):
        activate(proposal, BO)
    assert not directory.is_active("org-hospital", timezone.now())


def test_the_desk_leads_from_an_organization_to_what_two_people_change_of_it(
    letter: str, as_role: Callable[..., Client]
) -> None:
    ida, uma = as_role("administrator", username="ida"), as_role("onboarding", username="uma")
    address = "/admin/directory/participant/"
    assert decide(uma, "raised", "org-hospital", "suspend").status_code == 302
    assert not directory.is_active("org-hospital", timezone.now())
    answer = uma.post(address, {"action": "reinstate", "_selected_action": "org-hospital"})
    assert not directory.is_active("org-hospital", timezone.now())
    form = uma.get(answer["Location"]).content.decode()
    assert "&quot;status&quot;: &quot;active&quot;" in form
    assert "agreement of an organization" not in form
    page, own = (one.get(f"{address}org-hospital/change/").content.decode() for one in (ida, uma))
    assert ("kind=agreement&amp;subject=org-hospital" in page, "kind=agreement" in own) == (True, False)
    assert "kind=reinstatement&amp;subject=org-hospital" in own
    assert uma.get("/admin/consent/policyproposal/propose/", {"kind": "agreement", "subject": "org-hospital"}).status_code == 403  # fmt: skip
    sent = {
        "kind": "reinstatement",
        "subject": "org-hospital",
        "body": '{"status": "active"}',
        "reason": "paid",
        "from": "",
    }
    made = uma.post("/admin/consent/policyproposal/propose/", sent | {"propose": "1"})
    assert made.status_code == 302
    assert "You proposed this." in uma.get(made["Location"]).content.decode()
    # Whoever came to the desk since is no second person for it; who was there is.
    seen = ida.get(made["Location"]).content.decode()
    assert 'name="activate"' in seen
    number = str(PolicyProposal.objects.get().reports.get().pk)
    done = ida.post(made["Location"], {"activate": "1", "reason": "checked", "report": number})
    assert done.status_code == 302
    assert directory.is_active("org-hospital", timezone.now())
    assert ida.get("/admin/directory/placement/").status_code == 200
    assert User.objects.count() == 2
    policies.forget()
