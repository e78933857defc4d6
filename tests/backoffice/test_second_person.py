"""One rule of two people: an account that may be the other's is no second pair of eyes, wherever two are needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import IntegrityError, transaction
from django.test import Client

from consent.models import PolicyProposal
from hie.audit.models import AuditEvent
from hie.exchange import governance
from hie.exchange.access import Staff
from hie.trust import accounts, second_person, staff_accounts
from hie.trust.errors import FourEyes
from hie.trust.models import StaffAccountAct
from tests import second_factor
from tests.backoffice.conftest import PASSWORD
from tests.backoffice.test_governance import CLOSED, activate

NEW = "quite another one 7"


def staff(username: str) -> Staff:
    user = User.objects.get(username=username)
    return Staff(user_id=username, roles=frozenset({"privacy-officer"}), account=user.pk)


def proposed(by: str) -> PolicyProposal:
    return governance.propose("release-policy", "org-clinic", CLOSED, staff(by), reason="x")


def refused(proposal: PolicyProposal, by: str) -> str:
    """Why this person cannot activate it; "" once it is done."""
    try:
        activate(proposal, staff(by))
    except FourEyes as refusal:
        assert PolicyProposal.objects.get(pk=proposal.pk).state == "proposed"
        return str(refusal)
    return ""


def make(desk: Client, username: str, **more: str) -> User:
    """An account made at the desk, with the role of the privacy officer."""
    sent = {"username": username, "password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    assert desk.post("/admin/auth/user/add/", sent).status_code == 302
    user = User.objects.get(username=username)
    change(desk, user, **more)
    return user


def change(desk: Client, user: User, **more: str) -> None:
    officer = str(Group.objects.get(name="privacy-officer").pk)
    sent = {"first_name": "", "last_name": "", "email": "", "staff_number": "", "is_active": "on", "is_staff": "on"}
    answer = desk.post(f"/admin/auth/user/{user.pk}/change/", sent | {"groups": officer} | more)
    assert answer.status_code == 302, answer.content


def test_an_administrator_is_not_the_second_person_by_an_account_of_his_making(
    alice: str, as_role: Callable[..., Client]
) -> None:
    desk = as_role("administrator", username="ida")
    make(desk, "puppet")
    as_role("privacy-officer", username="bo")
    proposal = proposed("ida")
    assert refused(proposal, "puppet") == second_person.MADE
    event = AuditEvent.objects.get(kind="policy-activated")
    assert (event.outcome, event.reason, event.user) == (4, "four-eyes", "Staff/puppet")
    assert refused(proposal, "bo") == ""
    # And the other way round: what the puppet proposes its maker does not activate.
    back = governance.propose("release-policy", "org-clinic", [], staff("puppet"), reason="x")
    assert refused(back, "ida") == second_person.MADE
    assert refused(back, "bo") == ""


@pytest.mark.parametrize("way", ["password", "second-factor"])
def test_who_set_anothers_password_or_factor_is_no_second_person_with_him_until_somebody_else_sets_it(
    alice: str, as_role: Callable[..., Client], way: str
) -> None:
    ida, eva = as_role("administrator", username="ida"), as_role("administrator", username="eva")
    bo = as_role("privacy-officer", username="bo")
    user = User.objects.get(username="bo")

    def set_by(desk: Client, name: str) -> None:
        if way == "password":
            sent = {"password1": NEW + name, "password2": NEW + name, "usable_password": "true"}
            assert desk.post(f"/admin/auth/user/{user.pk}/password/", sent).status_code == 302
        else:
            by = User.objects.get(username=name).pk
            staff_accounts.note(user, staff_accounts.Kind.SECOND_FACTOR, by=by)

    set_by(ida, "ida")
    second_factor.sign_in(User.objects.get(username="bo"), bo)
    if way == "password":
        # That its holder changes it afterwards shows nothing: whoever set it could have done so.
        sent = {"old_password": NEW + "ida", "new_password1": PASSWORD, "new_password2": PASSWORD}
        assert bo.post("/admin/password_change/", sent).status_code == 302
        assert User.objects.get(username="bo").check_password(PASSWORD)
    proposal = proposed("ida")
    assert refused(proposal, "bo") == second_person.OPENED
    governance.withdraw(proposal.pk, staff("ida"), reason="x")
    set_by(eva, "eva")
    proposal = proposed("ida")
    assert refused(proposal, "bo") == ""
    acts = [(one.kind, one.by_name) for one in staff_accounts.history(user.pk)]
    if way == "password":
        assert acts == [("password", "eva"), ("password", "bo"), ("password", "ida")]


@pytest.mark.parametrize("act", ["made", "password", "roles", "command"])
def test_what_was_done_to_an_account_since_the_proposal_may_have_been_done_for_it(
    alice: str, as_role: Callable[..., Client], act: str
) -> None:
    eva = as_role("administrator", username="eva")
    as_role("privacy-officer", username="ida")
    if act != "made":
        as_role("privacy-officer", username="bo")
    proposal = proposed("ida")
    if act == "made":
        make(eva, "bo")
    elif act == "password":
        sent = {"password1": NEW, "password2": NEW, "usable_password": "true"}
        assert eva.post(f"/admin/auth/user/{User.objects.get(username='bo').pk}/password/", sent).status_code == 302
    elif act == "roles":
        change(eva, User.objects.get(username="bo"), is_superuser="on")
    else:
        assert accounts.open_staff(username="bo", password=NEW, roles=["privacy-officer"])
    assert refused(proposal, "bo") == second_person.SINCE
    governance.withdraw(proposal.pk, staff("ida"), reason="x")
    assert refused(proposed("ida"), "bo") == ""


def test_two_accounts_of_one_staff_number_or_address_are_one_person(alice: str, as_role: Callable[..., Client]) -> None:
    eva = as_role("administrator", username="eva")
    as_role("privacy-officer", username="ida")
    as_role("privacy-officer", username="bo")
    users = {name: User.objects.get(username=name) for name in ("ida", "bo")}
    for one, other in (
        ({"staff_number": "P-17"}, {"staff_number": " p-17 "}),
        ({"email": "Ida@Example.org"}, {"email": "ida@example.org"}),
    ):
        change(eva, users["ida"], **one)
        change(eva, users["bo"], **other)
        proposal = proposed("ida")
        assert refused(proposal, "bo") == second_person.ONE_PERSON
        governance.withdraw(proposal.pk, staff("ida"), reason="x")
    change(eva, users["ida"], staff_number="P-17")
    change(eva, users["bo"], staff_number="P-18")
    assert refused(proposed("ida"), "bo") == ""


def test_what_is_done_to_an_account_stands_in_the_sealed_log_with_who_did_it_and_no_secret(
    as_role: Callable[..., Client],
) -> None:
    desk = as_role("administrator", username="ida")
    user = make(desk, "bo", staff_number="P-17", email="bo@example.org")
    desk.post(f"/admin/auth/user/{user.pk}/password/", {"password1": NEW, "password2": NEW, "usable_password": "true"})
    desk.post(f"/admin/auth/user/{user.pk}/password/", {"password1": NEW, "password2": "x", "usable_password": "true"})
    change(desk, user, staff_number="P-18", email="bo@example.org")
    events = AuditEvent.objects.filter(kind="staff-act").order_by("at", "pk")
    assert [one.detail["act"] for one in events] == ["created", "person", "person", "roles", "password", "person"]
    assert {(one.user, one.detail["username"], one.detail["account"]) for one in events} == {
        ("Staff/ida", "bo", user.pk)
    }
    roles = next(one for one in events if one.detail["act"] == "roles").detail["changed"]
    assert roles == {"staff": [False, True], "roles": [[], ["privacy-officer"]]}
    text = str([one.detail for one in events])
    assert NEW not in text
    assert PASSWORD not in text
    page = desk.get(f"/admin/auth/user/{user.pk}/change/").content.decode()
    assert "Made by ida" in page
    assert "Password set by ida" in page
    assert 'value="P-18"' in page
    for change_it in (
        lambda: StaffAccountAct.objects.update(by=None),
        lambda: StaffAccountAct.objects.all().delete(),
    ):
        with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
            change_it()


def test_the_page_says_why_somebody_is_no_second_person_and_offers_nothing(
    alice: str, as_role: Callable[..., Client]
) -> None:
    desk = as_role("administrator", username="ida")
    puppet = make(desk, "puppet")
    proposal = proposed("ida")
    other = Client()
    second_factor.sign_in(puppet, other)
    address = f"/admin/consent/policyproposal/{proposal.pk}/decide/"
    page = other.get(address).content.decode()
    assert "one of these two accounts was made by the other" in page
    assert 'name="activate"' not in page
    newest = governance.newest_report(proposal)
    assert newest is not None
    sent: dict[str, Any] = {"activate": "1", "reason": "x", "report": str(newest.pk)}
    answer = other.post(address, sent)
    assert (answer.status_code, PolicyProposal.objects.get().state) == (422, "proposed")
