"""The pages of policy in Chromium: no violation, no sideways scrolling, light and dark, at every width."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.contrib.auth.models import Group, User
from pytest_django.live_server_helper import LiveServer

from consent import jurisdictions, policies, tables
from documents.models import DocumentEntry
from hie.trust.staff import ensure_roles
from tests.backoffice.conftest import PASSWORD
from tests.backoffice.looking import IN_CHROMIUM, look_at, signed_in
from tests.backoffice.test_governance import CLOSED, listed
from tests.portal.conftest import world
from tests.portal.test_choices import publish

pytestmark = IN_CHROMIUM
PROPOSE = "/admin/consent/policyproposal/propose/"


def officer(username: str) -> User:
    ensure_roles()
    user = User.objects.create_user(username, password=PASSWORD, is_staff=True, first_name="Ida", last_name="Moss")
    user.groups.set(Group.objects.filter(name="privacy-officer"))
    return user


def letters_are_private() -> dict[str, Any]:
    """The labelling rules with one for the only document there is."""
    code = DocumentEntry.objects.get().metadata["type_code"]
    rule = {"id": "letters", "label": "MH", "codes": [f"{code['scheme']}|{code['code']}"]}
    return {"version": "9", "rules": [*tables.shipped("labels")["rules"], rule]}


def test_the_pages_of_policy_have_no_violation_and_fit(
    browser: Any, live_server: LiveServer, settings: Any, tmp_path: Path
) -> None:
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"
    alice = world()
    publish(1, "Letter", (), "20250301")
    listed(alice)
    # Both accounts are there before anything is proposed: one made later could be the first one's.
    second = officer("bo")
    page = signed_in(browser, live_server, officer("ada"))
    page.goto(live_server.url + PROPOSE)
    wrong = look_at(page, "policy-choose")
    page.get_by_label("Kind").select_option("release-policy")
    page.get_by_label("Code of the place").fill("org-clinic")
    page.get_by_role("button", name="Open it").click()
    page.get_by_label("All of it, as JSON").fill("{")
    page.get_by_role("button", name="Propose it").click()
    wrong += look_at(page, "policy-wrong")
    page.get_by_label("All of it, as JSON").fill(json.dumps(CLOSED))
    page.get_by_role("button", name="See what it would change").click()
    page.locator("#report").wait_for()
    wrong += look_at(page, "policy-report")
    page.get_by_label("Reason").fill("The board decided")
    page.get_by_role("button", name="Propose it").click()
    page.get_by_text("You proposed this.").wait_for()
    wrong += look_at(page, "policy-own")
    other = signed_in(browser, live_server, second)
    other.goto(page.url)
    wrong += look_at(other, "policy-decide")
    jurisdictions.load({"JX": tables.shipped("jurisdictions")["jurisdictions"]["JB"]})
    other.get_by_label("Reason").fill("Checked")
    other.get_by_role("button", name="Activate it").click()
    other.get_by_text("Out of date").wait_for()
    assert other.get_by_role("button", name="Activate it").count() == 0
    wrong += look_at(other, "policy-outdated")
    other.get_by_role("button", name="Make the report again").click()
    other.get_by_role("button", name="Activate it").wait_for()
    wrong += look_at(other, "policy-made-again")
    other.get_by_label("Reason").fill("Checked")
    other.get_by_role("button", name="Activate it").click()
    other.get_by_text("Activated, version 1").wait_for()
    wrong += look_at(other, "policy-done")
    page.goto(f"{live_server.url}{PROPOSE}?kind=code-table&subject=labels")
    page.get_by_label("All of it, as JSON").fill(json.dumps(letters_are_private()))
    page.get_by_role("button", name="See what it would change").click()
    page.get_by_text("Documents labelled under both: 1 of 1.").wait_for()
    wrong += look_at(page, "policy-labels")
    policies.forget()
    assert wrong == []
    assert [word for word in (*page.said, *other.said) if "422" not in word] == []
    assert page.elsewhere == other.elsewhere == []
    assert listed(alice) == 0
