"""A hub that is set back to an older version and forward again: what its rows say afterwards, and what is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from django.utils import timezone

from consent.models import HelperCode, PolicyProposal, SupervisorLeave
from hie.directory import registration
from hie.exchange import governance, retention
from hie.exchange.access import Staff
from hie.exchange.models import DeathObjection, DeskTask, DeskTaskAct
from hie.terminology import local_codes
from hie.terminology.models import LocalCode
from hie.trust import staff_accounts
from patients.models import PatientIdentifier
from tests.backoffice.conftest import as_role, roles
from tests.backoffice.test_governance import CLOSED, activate, law
from tests.directory.forms import clinic, file
from tests.portal.conftest import alice

__all__ = ["alice", "as_role", "roles"]

THEN = [
    ("exchange", "0008_flags_raise"),
    ("consent", "0007_emergency_marks"),
    ("directory", "0004_release_policy_versions"),
    ("trust", "0004_step_up_organization"),
    ("terminology", "0001_initial"),
    ("outbox", "0002_receivers"),
]
LOST = {
    "consent_helpercode",
    "consent_supervisorleave",
    "consent_legalhold",
    "consent_retentionrule",
    "consent_retentionrun",
    "exchange_deathobjection",
    "trust_signedin",
    "exchange_desktask",
    "exchange_desktaskact",
    "terminology_localcode",
    "terminology_codesender",
    "trust_staffperson",
    "trust_staffaccountact",
}
"""Tables that those versions did not have, and that nothing else holds. The manual says so."""
NUMBERED_ANEW = {"consent_policyreport", "directory_placement"}
CHANGED = {*NUMBERED_ANEW, "directory_policyepoch"}


def migrate(to: list[tuple[str, str]]) -> None:
    """In the running transaction: all of it is undone at the end of the test."""
    MigrationExecutor(connection, progress_callback=as_of_its_own).migrate(to)


def as_of_its_own(action: str, *_: Any) -> None:
    """Before each migration what is deferred is looked at, as at the end of the transaction that it would begin after."""
    if action in ("apply_start", "unapply_start"):
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def newest() -> list[tuple[str, str]]:
    executor = MigrationExecutor(connection)
    return [leaf for leaf in executor.loader.graph.leaf_nodes() if leaf[0] in {app for app, _ in THEN}]


def rows() -> dict[str, list[str]]:
    """Every row of every table that the migrations touch, as JSON."""
    found: dict[str, list[str]] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            " AND relname ~ '^(consent|directory|exchange|outbox|terminology|trust)_' ORDER BY 1"
        )
        for (table,) in cursor.fetchall():
            # A column added again stands last: by name they compare.
            cursor.execute(f'SELECT to_jsonb(t)::text FROM "{table}" t ORDER BY 1')
            found[table] = [text for (text,) in cursor.fetchall()]
    return found


def a_hub_with_everything(desk: Client) -> None:
    """Versions by two people of every kind, one that waits, accounts with a history, and what helpers and clinicians left."""
    ida, bo = (Staff(user_id=user.username, roles=frozenset({"administrator"}), account=user.pk) for user in User.objects.order_by("pk")[:2])  # fmt: skip
    registration.apply(file(clinic(release_policy=[{"id": "old", "labels": ["HIV"]}])))
    for kind, subject, body in (
        ("release-policy", "org-clinic", CLOSED),
        ("jurisdiction", "JA", law(majorityAge=21)),
        ("code-table", "codes", {"version": "9"}),
        ("agreement", "org-clinic", {"status": "active", "period": {"start": "2026"}, "purposes": ["TREAT"]}),
        ("placement", "org-clinic", {"jurisdiction": "JB"}),
        ("placement", "org-clinic", {"part_of": "org-portal"}),
        ("retention", "questions", {"days": 30}),
    ):
        activate(governance.propose(kind, subject, body, ida, reason="x"), bo)
    governance.propose("release-policy", "org-clinic", [], ida, reason="later")
    at = timezone.now()
    retention.place("organization", "org-clinic", ida, reason="x")
    retention.carry_on(until=time.monotonic() + 60)
    staff_accounts.set_person(User.objects.get(username="ida"), "P-17")
    staff_accounts.note(User.objects.get(username="bo"), staff_accounts.Kind.PASSWORD, by=ida.account)
    HelperCode.objects.create(digest=b"d" * 32, person="RelatedPerson/x", made_at=at, ends_at=at + timedelta(days=7))
    SupervisorLeave.objects.create(user="Practitioner/x", organization="org-clinic", given_by="Practitioner/y", text="x", given_at=at, ends_at=at + timedelta(hours=4))  # fmt: skip
    DeathObjection.objects.create(identifier=PatientIdentifier.objects.order_by("pk")[0], said="alive", at=at)
    local_codes.note("org-clinic", [local_codes.Met("", "urn:oid:1.2.840.7", "X7")])
    local_codes.map_to(LocalCode.objects.get(), to=("http://loinc.org", "11488-4", ""), raises=False)
    task = DeskTask.objects.create(queue="messages", key="x", until_at=at)
    DeskTaskAct.objects.create(task=task, kind="later", actor="Staff/ida", reason="x", at=at)


def test_what_two_people_put_into_force_is_the_same_after_a_way_back_and_forth(
    alice: str, as_role: Callable[..., Client], settings: Any
) -> None:
    desk = as_role("administrator", username="ida")
    as_role("administrator", username="bo")
    a_hub_with_everything(desk)
    before = rows()
    assert all(before[table] for table in LOST | CHANGED)
    here = newest()
    migrate(THEN)
    back = rows()
    # Nothing that says who approved what is gone on the way.
    assert sum("ida and bo" in text for text in back["directory_releasepolicy"]) == 1
    assert sum("ida and bo" in text for text in back["directory_agreement"]) == 1
    assert len(back["consent_policyproposal"]) == len(before["consent_policyproposal"]) == 8
    assert all('"turned"' in text for text in back["consent_policyproposal"])
    migrate(here)
    after = rows()
    assert before.keys() == after.keys()
    different = {table for table in before if before[table] != after[table]}
    assert different <= LOST | CHANGED
    assert {table for table in LOST if after[table]} == set()
    for table in NUMBERED_ANEW:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {table}")
            assert cursor.fetchone() == (len(before[table]),)
    placed = [(one.version, one.part_of, one.jurisdiction, one.recorded_by, one.approved_by) for one in registration.Placement.objects.order_by("version")]  # fmt: skip
    assert placed == [
        (0, "", settings.HUB_JURISDICTION, "registration", ""),
        (1, "", "JB", "ida", "bo"),
        (2, "org-portal", "", "ida", "bo"),
    ]
    assert {one.proposed_account for one in PolicyProposal.objects.all()} == {User.objects.get(username="ida").pk}
