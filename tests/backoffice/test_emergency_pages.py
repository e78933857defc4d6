"""The queue of emergency access: who may judge, what the page shows, what a decision brings, each act in the log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from consent import break_glass, emergency_reviews
from consent.models import BreakGlassGrant, EmergencyAct, EmergencyBan, EmergencyCase, EmergencyReview
from hie.audit.models import AuditEvent
from hie.directory import queries as directory
from hie.directory import registration
from hie.exchange import emergency_review, queues
from hie.exchange.access import Staff
from hie.trust import staff as staff_roles
from tests.backoffice.emergencies import TEXT, emergency, looked
from tests.directory.forms import clinic, file

pytestmark = pytest.mark.django_db
QUEUE = "/admin/consent/emergencyreview/"
WHY = "The ambulance confirms it"
AsRole = Callable[..., Client]


def url(review: EmergencyReview) -> str:
    return reverse("admin:consent_emergencyreview_change", args=[review.pk])


def act(client: Client, review: EmergencyReview, name: str, **said: str) -> Any:
    seen = f"{review.pk}/{review.acts.count()}"
    return client.post(url(review), {"act": name, "seen": seen} | said)


def decided(client: Client, review: EmergencyReview, outcome: str, reason: str = WHY) -> Any:
    assert act(client, review, "claim").status_code == 302
    return act(client, review, "decide", outcome=outcome, reason=reason)


def test_the_queue_names_no_patient_and_shows_first_what_is_due_first(world: UUID, as_role: AsRole) -> None:
    late = emergency(world, text="A first emergency, long ago", at=timezone.now() - timedelta(hours=80))
    soon = emergency(world)
    page = as_role("privacy-officer").get(QUEUE).content.decode()
    assert page.index(url(late)) < page.index(url(soon))
    assert "Overdue for 8 hours" in page
    assert "Due in 2 days" in page
    assert "Quarrel" not in page
    assert TEXT not in page
    (row,) = [queue for queue in queues.waiting() if queue.key == "emergency"]
    assert (row.count, row.due_at, row.urgent) == (2, late.due_at, True)


def test_a_case_shows_who_why_and_what_was_looked_at_and_the_look_is_logged(world: UUID, as_role: AsRole) -> None:
    review = emergency(world)
    looked(world, review, "Result of the HIV test", "R")
    looked(world, review, "List of medicines", "N")
    page = as_role("privacy-officer").get(url(review)).content.decode()
    for words in (
        "Ada Moor",
        "doctor",
        "The Clinic",
        TEXT,
        "unconscious",
        "Result of the HIV test",
        "List of medicines",
    ):
        assert words in page
    assert "Opened by the emergency" in page
    looks = AuditEvent.objects.filter(kind="staff-look", person_id=world)
    assert [event.role for event in looks] == ["privacy-officer"]


def test_an_administrator_reads_no_title_above_n(world: UUID, as_role: AsRole) -> None:
    review = emergency(world)
    looked(world, review, "Result of the HIV test", "R")
    page = as_role("administrator").get(url(review)).content.decode()
    assert "HIV" not in page
    assert "1 document above normal secrecy" in page


@pytest.mark.parametrize("role", ["steward", "operator", "onboarding"])
def test_who_has_no_business_with_it_sees_nothing(world: UUID, as_role: AsRole, role: str) -> None:
    review = emergency(world)
    client = as_role(role)
    assert client.get(QUEUE).status_code == 403
    assert client.get(url(review)).status_code == 403
    assert act(client, review, "claim").status_code == 403


def test_an_auditor_reads_and_decides_nothing(world: UUID, as_role: AsRole) -> None:
    review = emergency(world)
    client = as_role("auditor")
    assert "Privacy officers decide this" in client.get(url(review)).content.decode()
    assert act(client, review, "claim").status_code == 403
    assert act(client, review, "decide", outcome="justified", reason=WHY).status_code == 403
    review.refresh_from_db()
    assert (review.status, review.claimed_by) == ("open", "")


def test_justified_closes_the_case_and_the_patient_reads_why(world: UUID, as_role: AsRole) -> None:
    review = emergency(world)
    assert decided(as_role("privacy-officer"), review, "justified").status_code == 302
    review.refresh_from_db()
    assert (review.status, review.outcome, review.reason, review.decided_by) == (
        "decided", "justified", WHY, "Staff/privacy-officer",
    )  # fmt: skip
    assert BreakGlassGrant.objects.get().status == "active"
    assert not EmergencyBan.objects.exists()
    told = AuditEvent.objects.get(kind="break-glass-reviewed", person_id=world)
    assert (told.detail["what"], told.detail["act"]) == ("emergency justified", "justified")


def test_not_justified_takes_emergency_access_away_and_opens_a_case_with_the_organization(
    world: UUID, as_role: AsRole
) -> None:
    review = emergency(world)
    client = as_role("privacy-officer")
    decided(client, review, "not-justified", "No emergency that day")
    assert [grant.status for grant in BreakGlassGrant.objects.all()] == ["revoked"]
    assert break_glass.is_banned("Practitioner/ada", ["org-clinic"])
    assert not break_glass.is_banned("Practitioner/ada", ["org-hospital"])
    case = EmergencyCase.objects.get()
    assert (case.participant, case.answered_at) == ("org-clinic", None)
    with pytest.raises(break_glass.EmergencyGrantRefused):
        emergency(world, text="Another emergency on the next day")
    assert act(client, review, "answer", reason="We have spoken with her").status_code == 302
    assert act(client, review, "give-back", reason="Trained anew").status_code == 302
    assert not break_glass.is_banned("Practitioner/ada", ["org-clinic"])
    assert review.acts.filter(kind="answered").count() == review.acts.filter(kind="access-given-back").count() == 1


def test_what_ended_by_itself_is_not_taken_away_afterwards(world: UUID, as_role: AsRole) -> None:
    review = emergency(world, at=timezone.now() - timedelta(hours=5))
    still_open = emergency(world, text="Another emergency, just now")
    decided(as_role("privacy-officer"), review, "not-justified", "No emergency that day")
    for one, status in ((review, "active"), (still_open, "revoked")):
        grant = BreakGlassGrant.objects.get(pk=one.grant_id)
        assert (grant.status, grant.revoked_at is not None) == (status, status == "revoked")


def test_a_ban_holds_when_the_organization_comes_to_stand_below_another(world: UUID, as_role: AsRole) -> None:
    decided(as_role("privacy-officer"), emergency(world), "not-justified", "No emergency that day")
    group = {"id": "org-group", "name": "The Group", "type": "hospital", "organization_oid": "2.999.10.8", "scopes": [], "purposes": []}  # fmt: skip
    registration.apply(file(group, clinic(part_of="org-group")))
    houses = directory.same_organization("org-group")
    assert break_glass.is_banned("Practitioner/ada", houses)
    review = EmergencyReview.objects.get()
    staff_roles.set_employers("bo", ["org-group"])
    officer = Staff(user_id="bo", roles=frozenset({"privacy-officer"}))
    assert review.grant.organization in emergency_review.houses_of(officer)


def raised() -> tuple[int, str]:
    (row,) = [queue for queue in queues.waiting() if queue.key == "raised"]
    return row.count, row.what


def test_three_not_justified_that_stand_in_a_month_raise_the_organization(world: UUID, as_role: AsRole) -> None:
    client = as_role("privacy-officer")
    for user in ("ada", "bo", "cy"):
        assert raised() == (0, "None")
        review = emergency(world, user_id=f"Practitioner/{user}")
        decided(client, review, "not-justified", "No emergency")
    assert raised() == (1, "The Clinic: three emergencies not justified in a month")
    first = EmergencyReview.objects.order_by("pk")[0]
    assert "think about suspending" in client.get(url(first)).content.decode()
    # One taken back is none, whichever it was.
    act(client, first, "reopen", reason="The ambulance's sheet has come")
    assert raised() == (0, "None")
    assert "think about suspending" not in client.get(url(review)).content.decode()


def test_cases_of_departments_count_for_their_house(world: UUID, as_role: AsRole) -> None:
    client = as_role("privacy-officer")
    for user in ("ada", "bo", "cy"):
        decided(client, emergency(world, user_id=f"Practitioner/{user}"), "not-justified", "No emergency")
    group = {"id": "org-group", "name": "The Group", "type": "hospital", "organization_oid": "2.999.10.8", "scopes": [], "purposes": []}  # fmt: skip
    registration.apply(file(group, clinic(part_of="org-group")))
    assert raised() == (1, "The Group: three emergencies not justified in a month")


def test_what_an_organization_has_to_answer_is_listed_with_its_day(world: UUID, as_role: AsRole) -> None:
    client = as_role("privacy-officer")
    review = emergency(world)
    decided(client, review, "not-justified", "No emergency that day")
    assert url(review) in client.get(f"{QUEUE}?state=unanswered").content.decode()
    zone = directory.zone_of(settings.HUB_JURISDICTION)
    due = EmergencyCase.objects.get().opened_at.astimezone(zone)
    for _ in range(10):
        due += timedelta(days={4: 3, 5: 2}.get(due.weekday(), 1))
    assert f"Due on {due.day} {due:%B}" in client.get(url(review)).content.decode()
    act(client, review, "answer", reason="We have spoken with her")
    assert url(review) not in client.get(f"{QUEUE}?state=unanswered").content.decode()


def test_the_queue_costs_the_same_for_one_case_and_for_ten(world: UUID, as_role: AsRole) -> None:
    staff_roles.set_employers("ida", ["org-hospital"])
    client = as_role("privacy-officer", username="ida")
    costs = []
    for more in (1, 9):
        for number in range(more):
            emergency(world, text=f"An emergency, the {more}.{number}th", user_id=f"Practitioner/u{more}-{number}")
        client.get(QUEUE)
        with CaptureQueriesContext(connection) as seen:
            client.get(QUEUE)
        costs.append(len(seen))
    assert costs[0] == costs[1]


def test_a_case_says_whether_the_directory_knows_its_user_and_who_allowed_a_fourth(
    world: UUID, as_role: AsRole
) -> None:
    for number in range(3):
        emergency(world, text=f"An emergency of the day, {number}", user_id="Practitioner/zoe")
    break_glass.give_leave(
        user_id="Practitioner/zoe", organization="org-clinic", given_by="Practitioner/bo",
        text="An accident with many injured", now=timezone.now() - timedelta(hours=1),
    )  # fmt: skip
    fourth = emergency(world, text="A fourth emergency of the day", user_id="Practitioner/zoe")
    page = as_role("privacy-officer").get(url(fourth)).content.decode()
    assert "Allowed by Practitioner/bo: An accident with many injured" in page
    assert "not registered" in page
    assert "Registered by the organization" in as_role("auditor").get(url(emergency(world))).content.decode()


def test_a_case_says_how_often_the_two_have_allowed_each_other(world: UUID, as_role: AsRole) -> None:
    at = timezone.now() - timedelta(days=3)
    for user, by in (("bo", "zoe"), ("zoe", "bo")):
        for number in range(3):
            emergency(world, text=f"An emergency of {user}, {number}", user_id=f"Practitioner/{user}", at=at)
        break_glass.give_leave(
            user_id=f"Practitioner/{user}", organization="org-clinic", given_by=f"Practitioner/{by}",
            text="An accident with many injured", now=at + timedelta(hours=1),
        )  # fmt: skip
        last = emergency(
            world, text="A fourth emergency of the day", user_id=f"Practitioner/{user}", at=at + timedelta(hours=2)
        )
        at += timedelta(days=1, hours=3)
    page = as_role("privacy-officer").get(url(last)).content.decode()
    assert "In 30 days 1 for this user by the same, 1 the other way round." in page


@pytest.mark.parametrize(
    ("username", "user"),
    [
        pytest.param("bo", {"user_id": "Practitioner/BO"}, id="one-id"),
        pytest.param("desk-7", {"user_id": "Practitioner/im", "user_name": "Dr. Ida Moss"}, id="one-name"),
        pytest.param("desk-7", {"user_id": "Practitioner/im", "user_name": "Moss, Ida Clara"}, id="more-of-a-name"),
    ],
)
def test_nobody_judges_an_emergency_of_his_own_by_an_account_of_the_desk(
    world: UUID, as_role: AsRole, username: str, user: dict[str, str]
) -> None:
    own, other = emergency(world, **user), emergency(world, text="Another emergency, of another's")
    client = as_role("privacy-officer", username=username)
    page = client.get(url(own)).content.decode()
    assert "You are called like the user" in page
    assert "Take this case" not in page
    for name in ("claim", "decide", "reopen", "hold", "answer"):
        assert act(client, own, name, outcome="justified", reason=WHY, hours="2").status_code == 422
    assert decided(client, other, "justified").status_code == 302
    own.refresh_from_db()
    assert (own.status, own.claimed_by) == ("open", "")


def test_a_case_is_decided_with_a_reason_by_whoever_took_it_and_not_twice(world: UUID, as_role: AsRole) -> None:
    review = emergency(world)
    ida, bo = as_role("privacy-officer", username="ida"), as_role("privacy-officer", username="bo")
    assert act(ida, review, "decide", outcome="justified", reason=WHY).status_code == 409
    act(ida, review, "claim")
    assert act(bo, review, "claim").status_code == 409
    assert act(bo, review, "decide", outcome="justified", reason=WHY).status_code == 409
    answer = act(ida, review, "decide", outcome="justified", reason="  ")
    assert (answer.status_code, "A task or a reason is needed" in answer.content.decode()) == (422, True)
    assert act(ida, review, "decide", outcome="maybe", reason=WHY).status_code == 422
    assert act(ida, review, "decide", outcome="justified", reason="x" * 501).status_code == 422
    assert act(ida, review, "decide", outcome="justified", reason=WHY).status_code == 302
    assert act(bo, review, "claim").status_code == 409
    assert act(ida, review, "decide", outcome="not-justified", reason=WHY).status_code == 409
    review.refresh_from_db()
    assert review.outcome == "justified"


def test_what_was_added_since_the_page_was_made_is_read_first(world: UUID, as_role: AsRole) -> None:
    review = emergency(world)
    client = as_role("privacy-officer")
    act(client, review, "claim")
    answer = act(client, review, "decide", outcome="justified", reason=WHY, seen=f"{review.pk}/0")
    assert answer.status_code == 422
    review.refresh_from_db()
    assert review.status == "open"


def test_who_works_at_the_users_organization_does_not_judge(world: UUID, as_role: AsRole) -> None:
    ward = {"id": "org-clinic-ward", "name": "The Ward", "type": "hospital", "organization_oid": "2.999.10.1.7", "part_of": "org-clinic", "scopes": [], "purposes": []}  # fmt: skip
    registration.apply(file(clinic(), ward))
    review = emergency(world)
    client = as_role("privacy-officer")
    staff_roles.set_employers("privacy-officer", ["org-clinic-ward"])
    page = client.get(url(review)).content.decode()
    assert "You work at this organization" in page
    assert "Take this case" not in page
    for name in ("claim", "decide", "reopen", "hold"):
        assert act(client, review, name, outcome="justified", reason=WHY, hours="2").status_code == 422
    review.refresh_from_db()
    assert (review.status, review.claimed_by) == ("open", "")
    refused = AuditEvent.objects.filter(kind="break-glass-reviewed", outcome=4)
    assert refused.count() == 4
    assert client.post(QUEUE).headers["Location"] == QUEUE
    staff_roles.set_employers("privacy-officer", ["org-hospital"])
    assert decided(client, review, "justified").status_code == 302


def test_passed_on_it_is_for_somebody_else(world: UUID, as_role: AsRole) -> None:
    review = emergency(world)
    ida, bo = as_role("privacy-officer", username="ida"), as_role("administrator", username="bo")
    decided(ida, review, "escalate", "I know her")
    review.refresh_from_db()
    assert (review.passed_on_by, review.status, review.escalated_at is not None) == ("Staff/ida", "open", True)
    assert act(ida, review, "claim").status_code == 422
    assert decided(bo, review, "justified").status_code == 302


def test_who_passed_a_case_on_does_not_judge_it_when_it_is_opened_again(world: UUID, as_role: AsRole) -> None:
    review = emergency(world)
    ida, bo = as_role("privacy-officer", username="ida"), as_role("administrator", username="bo")
    decided(ida, review, "escalate", "I know her")
    decided(bo, review, "justified")
    act(bo, review, "reopen", reason="The sheet has come")
    for client in (ida, bo):
        assert act(client, review, "claim").status_code == 422
    assert decided(as_role("privacy-officer", username="cy"), review, "justified").status_code == 302


def test_an_objection_makes_what_was_found_justified_wait_again_and_each_is_kept(world: UUID, as_role: AsRole) -> None:
    review = emergency(world)
    decided(as_role("privacy-officer"), review, "justified")
    for words in ("I was at home", "And I can prove it"):
        emergency_reviews.object_to(
            EmergencyReview.objects.get(pk=review.pk), words, actor=f"Patient/{world}", now=timezone.now()
        )
    review.refresh_from_db()
    assert (review.status, review.outcome, review.due_at > timezone.now() + timedelta(hours=71)) == ("open", "", True)
    assert review.objection == "I was at home\n\nAnd I can prove it"
    assert review.acts.filter(kind="reopened").count() == 1
    page = as_role("administrator", username="bo").get(url(review)).content.decode()
    assert "I was at home" in page


def test_an_overdue_case_becomes_the_hubs_own_matter_once(world: UUID) -> None:
    review = emergency(world, at=timezone.now() - timedelta(hours=73))
    fresh = emergency(world, text="Another emergency, just now")
    assert emergency_review.escalate() == 1
    assert emergency_review.escalate() == 0
    review.refresh_from_db()
    fresh.refresh_from_db()
    assert (review.overdue_at is not None, review.status, fresh.overdue_at) == (True, "open", None)
    assert AuditEvent.objects.filter(kind="break-glass-reviewed", detail__act="overdue").count() == 1


def test_a_decision_is_taken_back_within_thirty_days_with_all_it_brought(world: UUID, as_role: AsRole) -> None:
    review = emergency(world)
    client = as_role("privacy-officer")
    decided(client, review, "not-justified", "No emergency")
    for unusable in ("", "a zero \x00 in it"):
        assert act(client, review, "reopen", reason=unusable).status_code == 422
    assert act(client, review, "reopen", reason="The sheet has come").status_code == 302
    review.refresh_from_db()
    assert (review.status, review.outcome, review.due_at > timezone.now() + timedelta(hours=71)) == ("open", "", True)
    assert not break_glass.is_banned("Practitioner/ada", ["org-clinic"])
    assert EmergencyCase.objects.get().withdrawn_at is not None
    assert act(client, review, "claim").status_code == 422, "who judged it once does not judge it again"
    assert "judged it before" in client.get(url(review)).content.decode()
    assert decided(as_role("administrator", username="bo"), review, "justified").status_code == 302
    EmergencyReview.objects.update(decided_at=timezone.now() - timedelta(days=31))
    assert act(client, review, "reopen", reason="Too late").status_code == 422


def test_of_two_cases_of_one_user_the_ban_of_each_stands_by_itself(world: UUID, as_role: AsRole) -> None:
    first, second = emergency(world), emergency(world, text="A second emergency that day")
    client = as_role("privacy-officer")
    for review in (first, second):
        decided(client, review, "not-justified", "No emergency")
    act(client, first, "reopen", reason="The sheet has come")
    assert break_glass.is_banned("Practitioner/ada", ["org-clinic"])
    act(client, second, "give-back", reason="Trained anew")
    assert not break_glass.is_banned("Practitioner/ada", ["org-clinic"])


def test_what_was_done_can_be_neither_changed_nor_removed(world: UUID) -> None:
    from django.db import DatabaseError, connection, transaction

    emergency(world)

    def emptied() -> None:
        with connection.cursor() as cursor:
            # Tests that commit empty their tables: switched off for them, it is on for the hub.
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("ALTER TABLE consent_emergencyact ENABLE TRIGGER consent_emergency_act_no_truncate")
            cursor.execute("TRUNCATE consent_emergencyact")

    changes = (
        lambda: EmergencyAct.objects.update(reason="x"),
        lambda: EmergencyAct.objects.all().delete(),
        emptied,
    )
    for change in changes:
        with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
            change()


def test_a_reviewer_is_named_by_the_role_that_decided(world: UUID, as_role: AsRole) -> None:
    review = emergency(world)
    emergency_review.claim(review.pk, Staff(user_id="both", roles=frozenset({"privacy-officer", "steward"})))
    assert AuditEvent.objects.get(kind="break-glass-reviewed").role == "privacy-officer"


def test_what_the_patient_says_after_the_decision_is_shown_for_somebody_to_read(world: UUID, as_role: AsRole) -> None:
    from consent import emergency_reviews

    review = emergency(world)
    client = as_role("privacy-officer")
    decided(client, review, "not-justified")
    review.refresh_from_db()
    emergency_reviews.object_to(review, "I was at home", actor="Patient/x", now=timezone.now())
    page = client.get(f"{QUEUE}?state=objected").content.decode()
    assert url(review) in page
    assert "The patient objects since" in page
    (row,) = [queue for queue in queues.waiting() if queue.key == "emergency"]
    assert row.what == "1 decided, and the patient objects since"


def test_an_administrator_says_where_staff_work_besides_and_that_is_recorded(world: UUID, as_role: AsRole) -> None:
    client = as_role("administrator")
    add = "/admin/trust/staffaffiliation/add/"
    for wrong in (
        {"username": "nobody", "organization": "org-clinic"},
        {"username": "administrator", "organization": "x"},
    ):
        assert client.post(add, wrong).status_code == 200
    assert staff_roles.employers("administrator") == ()
    assert client.post(add, {"username": "administrator", "organization": "org-clinic"}).status_code == 302
    assert staff_roles.employers("administrator") == ("org-clinic",)
    (event,) = AuditEvent.objects.filter(kind="staff-act", detail__what="second employer")
    assert (event.detail["act"], event.user) == ("added", "Staff/administrator")
    assert act(client, emergency(world), "claim").status_code == 422
    assert as_role("privacy-officer").post(add, {"username": "x", "organization": "y"}).status_code == 403
