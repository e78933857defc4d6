"""Who may open and do what at the desk: read from the code role by role, and held against the table people read.

`docs/reference/roles.md` is that table. Where this fails, look at what has become wider before you write it down:
`.venv/bin/python -m pytest tests/backoffice/test_roles.py` prints the table as the code has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from django.test import Client

from consent.models import PolicyProposal
from hie.exchange import access, governance
from hie.exchange.access import Held
from hie.exchange.desk_queues import QUEUES
from hie.exchange.staff_pages import staff_of
from hie.trust.staff import PAGES, ensure_roles
from tests.backoffice.test_every_look_is_recorded import NO_PAGE_OF_THE_DESK, address_of, desk_pages, everything
from tests.backoffice.test_tasks import LOOKED_AT
from tests.second_factor import sign_in

__all__ = ["everything"]

pytestmark = pytest.mark.django_db
TABLE = Path(__file__).parents[2] / "docs" / "reference" / "roles.md"
ROLES = (*PAGES, "")
"""Every role, and who works at the desk in none."""
_TITLES = {"": "no role"}
_DJANGO = re.compile(r"admin/((\^|\(\?P<app_label>|r/).*)?$")
"""Django's own: the first page, apps, and its way to a page of a row, which no model here has."""
_OF_A_LIST = re.compile(r"admin/([a-z_0-9]+/[a-z_0-9]+)/(add/|<path:object_id>/.*)?$")
"""What comes with each list, which is asked by its rights."""


def person_in(role: str) -> User:
    user = User.objects.create_user(f"in-{role or 'none'}", password="a long enough one", is_staff=True)
    user.is_superuser = role == "administrator"
    user.save()
    user.groups.set(Group.objects.filter(name=role))
    return user


def asked_by(user: User) -> HttpRequest:
    request = HttpRequest()
    request.user = user
    request.META["REMOTE_ADDR"] = "127.0.0.1"
    return request


def rows_and_forms(users: Mapping[str, User]) -> dict[str, list[str]]:
    """Of each list: whether a role sees it, and may add, change or delete rows on Django's own forms."""
    found = {}
    for model, held in sorted(admin.site._registry.items(), key=lambda item: item[0]._meta.label):
        cells = []
        for user in users.values():
            request = asked_by(user)
            may = [
                act for act in ("view", "add", "change", "delete") if getattr(held, f"has_{act}_permission")(request)
            ]
            cells.append(" ".join(["see" if act == "view" else act for act in may]))
        found[model._meta.label] = cells
    return found


def actions(users: Mapping[str, User]) -> dict[str, list[str]]:
    """Of each action on rows of a list: who is offered it."""
    found: dict[str, list[str]] = {}
    for model, held in sorted(admin.site._registry.items(), key=lambda item: item[0]._meta.label):
        for name in held.actions or ():
            found[f"{model._meta.label} {name}"] = [
                "do" if held.has_view_permission(asked_by(user)) and name in held.get_actions(asked_by(user)) else ""
                for user in users.values()
            ]
    return found


def pages(clients: Mapping[str, Client]) -> dict[str, list[str]]:
    """Of each page of our own: who may open it, and who may act on it."""
    found = {}
    lists = {f"{model._meta.app_label}/{model._meta.model_name}" for model in admin.site._registry}
    routes = [
        route.replace("<slug:queue>", queue) for route, _ in desk_pages() for queue in (QUEUES if "<slug:queue>" in route else ("",))
    ]  # fmt: skip
    for route in routes:
        of_a_list = _OF_A_LIST.match(route)
        if route in NO_PAGE_OF_THE_DESK or _DJANGO.match(route) or (of_a_list and of_a_list[1] in lists):
            continue
        cells = []
        for client in clients.values():
            url = address_of(route)
            # What somebody is not let in to look at is not acted on either: an answer that says so may look otherwise.
            opens = client.get(url).status_code not in (403, 405)
            acts = opens and client.post(url).status_code not in (403, 405)
            cells.append(" ".join(word for word, may in (("open", opens), ("act", acts)) if may))
        found[route.removeprefix("admin/")] = cells
    return dict(sorted(found.items()))


def policy(users: Mapping[str, User]) -> dict[str, list[str]]:
    """Of each kind of change that takes two people: who proposes and activates it."""
    return {
        str(name): [
            "propose activate" if governance.may(staff_of(asked_by(user)), kind) else "" for user in users.values()
        ]
        for kind, name in PolicyProposal.Kind.choices
    }


def patients(users: Mapping[str, User]) -> dict[str, list[str]]:
    """Of what the exchange holds of a patient: who may look at it, for a reason."""
    return {
        held.value: [
            "look" if access.staff_view(staff_of(asked_by(user)).roles, held) else "" for user in users.values()
        ]
        for held in Held
    }


def table(title: str, rows: Mapping[str, list[str]]) -> str:
    heads = [_TITLES.get(role, role) for role in ROLES]
    lines = [f"| {title} | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    lines += [
        f"| {name.replace('|', '/')} | {' | '.join(cell or '–' for cell in cells)} |" for name, cells in rows.items()
    ]
    return "\n".join(lines)


_made: list[str] = []


@pytest.fixture
def as_the_code_has_it(request: pytest.FixtureRequest, db: None) -> str:
    """The tables of the manual, from the code: tried out once in a process, which takes every page for every role."""
    if not _made:
        request.getfixturevalue("everything")
        _made.append(_tried())
    return _made[0]


def _tried() -> str:
    ensure_roles()
    users = {role: person_in(role) for role in ROLES}
    clients = {role: sign_in(user) for role, user in users.items()}
    parts = [
        table("What of a patient", patients(users)),
        table("What takes two people", policy(users)),
        table("List", rows_and_forms(users)),
        table("Action on rows", actions(users)),
        table("Page", pages(clients)),
    ]
    return "\n\n".join(parts)


def test_the_manual_says_who_may_do_what_as_the_code_has_it(as_the_code_has_it: str) -> None:
    written = TABLE.read_text(encoding="utf-8")
    here = [line for line in as_the_code_has_it.splitlines() if line.startswith("|")]
    there = [line for line in written.splitlines() if line.startswith("|")]
    wrong = [f"the code: {line}" for line in here if line not in there]
    wrong += [f"the manual: {line}" for line in there if line not in here]
    assert not wrong, "\n".join([*wrong, "", as_the_code_has_it])


def test_a_right_that_becomes_wider_is_found(
    everything: None, as_the_code_has_it: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PAGES, "steward", (*PAGES["steward"], "audit.view_auditseal"))
    ensure_roles()
    users = {"steward": User.objects.filter(username="in-steward").first() or person_in("steward")}
    line = rows_and_forms(users)["audit.AuditSeal"]
    assert line == ["see"]
    assert "| audit.AuditSeal | see | see | – |" in as_the_code_has_it


OWN = {"account/": "open act", "account/passkeys/": "open act", "account/stay/": "open act", "find/": "open act", "password_change/": "open act", "password_change/done/": "open", "search/": "open act"}  # fmt: skip
"""One's own account, and a search over the names of pages, which are for everybody at the desk."""


def cells_of(made: str, role: str) -> dict[str, str]:
    """What a role has in each line of the tables."""
    at = ROLES.index(role) + 2
    lines = [line.split("|") for line in made.splitlines() if line.startswith("| ") and "no role" not in line]
    return {cells[1].strip(): cells[at].strip() for cells in lines}


def test_who_has_no_role_opens_nothing_of_a_list(as_the_code_has_it: str) -> None:
    assert {name: cell for name, cell in cells_of(as_the_code_has_it, "").items() if cell != "–"} == OWN


def test_an_auditor_changes_nothing(as_the_code_has_it: str) -> None:
    found = cells_of(as_the_code_has_it, "auditor")
    harmless = {"–", "see", "open", "look"}
    acts = {name for name, cell in found.items() if cell not in harmless and name not in OWN}
    # Whose task it is is asked behind these pages: `test_only_who_decides_a_queue_acts_and_a_stranger_sees_nothing`.
    assert acts == {f"tasks/{queue}/{one}" for queue in LOOKED_AT for one in ("", "<path:key>/")}


def test_only_administrators_touch_accounts_of_staff(as_the_code_has_it: str) -> None:
    for role in ROLES:
        found = cells_of(as_the_code_has_it, role)
        wide = [found[name] for name in ("auth.User", "trust.StaffAffiliation", "auth.User new_factor")]
        assert (wide == ["–"] * 3) is (role != "administrator"), role


def test_who_brings_organizations_in_sees_of_policy_only_the_ends_of_suspensions(everything: None) -> None:
    ensure_roles()
    row = PolicyProposal.objects.get(kind="retention")
    for role, sees in (("onboarding", False), ("auditor", True), ("privacy-officer", True)):
        client = sign_in(person_in(role))
        listed = client.get("/admin/consent/policyproposal/")
        assert (b"questions" in listed.content.split(b"result_list")[-1]) is sees, role
        assert (client.get(f"/admin/consent/policyproposal/{row.pk}/decide/").status_code == 200) is sees, role


def test_limits_and_trust_of_a_participant_are_an_administrators(everything: None) -> None:
    ensure_roles()
    url = "/admin/directory/participant/org-clinic/change/"
    page = sign_in(person_in("onboarding")).get(url)
    assert page.status_code == 200
    assert not [name for name in ("rate_per_s", "burst", "concurrency", "source_trust") if f'name="{name}"' in page.content.decode()]  # fmt: skip
    assert 'name="source_trust"' in sign_in(person_in("administrator")).get(url).content.decode()
