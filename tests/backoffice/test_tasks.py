"""Tasks of the desk over HTTP: each queue's list and page, who decides, the reason, undo, next, and the trace of each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from consent.models import Consent
from documents.models import DocumentEntry, ReviewItem
from hie.audit.models import AuditEvent
from hie.directory.models import Participant
from hie.exchange import queues
from hie.exchange.desk_models import DeskTask, DeskTaskAct
from hie.exchange.desk_queues import QUEUES
from hie.exchange.models import DeathObjection, InboundMessage
from hie.outbox.models import OutboxMessage
from tests.backoffice import waiting
from tests.backoffice.waiting import MAKE

pytestmark = pytest.mark.django_db
AsRole = Callable[..., Client]


def url(queue: str, key: str = "") -> str:
    return reverse("admin:desk_task", args=[queue, key]) if key else reverse("admin:desk_tasks", args=[queue])


def day(days: int) -> str:
    return f"{timezone.now() + timedelta(days=days):%Y-%m-%d}"


def seen(client: Client, queue: str, key: str) -> dict[str, str]:
    """What the form of a task holds besides what one types."""
    context = client.get(url(queue, key)).context_data
    hidden = {field.name: field.value for field in context["task"].fields if field.kind == "hidden"}
    return {"seen": context["seen"], **hidden}


def decide(client: Client, queue: str, key: str, outcome: str, **typed: str) -> Any:
    form = {"act": "decide", "outcome": outcome, "reason": "It was looked at", **seen(client, queue, key), **typed}
    return client.post(url(queue, key), form)


def undo(client: Client, queue: str, key: str, reason: str = "It was too early") -> Any:
    return client.post(url(queue, key), {"act": "undo", "reason": reason, **seen(client, queue, key)})


def keys_in(client: Client, queue: str, state: str = "waiting") -> list[str]:
    return [item.key for item in client.get(url(queue), {"state": state}).context_data["items"]]


def acts(queue: str) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(kind="desk-task", detail__queue=queue, action="U").order_by("at", "pk"))


PUT_OFF: dict[str, tuple[str, dict[str, str]]] = {
    "messages": ("told", {"told": "Their desk, by phone", "until": day(5)}),
    "codes": ("local", {}),
    "consents": ("asked", {"told": "The clinic’s desk, by phone", "until": day(5)}),
    "doubtful-documents": ("keep", {}),
    "deaths": ("stays", {}),
    "raised": ("spoke", {"told": "Their head, by phone", "until": day(5)}),
    "suspended": ("stays", {"until": day(30)}),
    "communities": ("known", {"until": day(2)}),
    "keys": ("told", {"told": "Their operator, by mail", "until": day(5)}),
    "notices": ("aside", {}),
}
DECIDERS = {
    "messages": "operator", "codes": "steward", "consents": "privacy-officer", "doubtful-documents": "steward",
    "deaths": "steward", "raised": "onboarding", "suspended": "onboarding", "communities": "operator", "keys": "onboarding",
    "notices": "operator",
}  # fmt: skip
STRANGERS = {
    "messages": "steward", "codes": "auditor", "consents": "operator", "doubtful-documents": "operator",
    "deaths": "operator", "raised": "steward", "suspended": "steward", "communities": "onboarding", "keys": "steward",
    "notices": "steward",
}  # fmt: skip
LOOKED_AT = frozenset({"consents", "raised", "suspended", "keys", "communities"})
"""Queues whose tasks an auditor may look at, and decides none of."""


def test_every_queue_is_tried() -> None:
    assert set(QUEUES) == set(MAKE) == set(PUT_OFF) == set(DECIDERS) == set(STRANGERS)


@pytest.mark.parametrize("queue", list(MAKE))
def test_a_task_is_decided_with_a_reason_once_and_taken_back(world: UUID, as_role: AsRole, queue: str) -> None:
    key = MAKE[queue](world)
    outcome, typed = PUT_OFF[queue]
    officer = as_role(DECIDERS[queue])
    assert keys_in(officer, queue) == [key]
    shown = officer.get(url(queue, key))
    assert (shown.status_code, b"Your decision" in shown.content) == (200, True)
    assert b"SECRETBYTES" not in shown.content
    form = seen(officer, queue, key)

    wanting = decide(officer, queue, key, outcome, **{**typed, "reason": " "})
    assert (wanting.status_code, wanting.context_data["problem_field"]) == (422, "why")
    assert (decide(officer, queue, key, "", **typed).status_code, decide(officer, queue, key, "what", **typed).status_code) == (422, 422)  # fmt: skip
    for name in typed:
        missing = decide(officer, queue, key, outcome, **{**typed, name: ""})
        assert (missing.status_code, missing.context_data["problem_field"]) == (422, f"field-{name}"), name
        assert b"It was looked at" in missing.content
    assert not DeskTaskAct.objects.exists()
    assert keys_in(officer, queue) == [key]

    done = decide(officer, queue, key, outcome, **typed)
    assert (done.status_code, "done=" in done["Location"]) == (302, True), done.content
    assert keys_in(officer, queue) == []
    (event,) = [one for one in acts(queue) if one.outcome == 0]
    assert (event.user, event.detail["act"]) == (f"Staff/{DECIDERS[queue]}", outcome)
    # Of a patient's task the words stand in the patient's own log alone.
    assert event.detail.get("reason", "") == ("" if QUEUES[queue].held else "It was looked at")
    assert not QUEUES[queue].held or set(event.detail) == {"queue", "task", "act"}
    assert DeskTaskAct.objects.get().reason == "It was looked at"

    twice = officer.post(
        url(queue, key), {"act": "decide", "outcome": outcome, "reason": "Pressed twice", **typed, **form}
    )
    assert twice.status_code == 409
    assert DeskTaskAct.objects.count() == 1

    after = officer.get(url(queue, key))
    assert b"It was looked at" in after.content
    assert b"Take it back" in after.content
    assert undo(officer, queue, key, " ").status_code == 422
    assert undo(officer, queue, key).status_code == 302
    assert keys_in(officer, queue) == [key]
    assert [one.detail["act"] for one in acts(queue) if one.outcome == 0] == [outcome, "reopened"]
    assert [one.kind for one in DeskTaskAct.objects.order_by("pk")] == [outcome, "reopened"]
    assert undo(officer, queue, key).status_code == 409


@pytest.mark.parametrize("queue", list(MAKE))
def test_only_who_decides_a_queue_acts_and_a_stranger_sees_nothing(world: UUID, as_role: AsRole, queue: str) -> None:
    key = MAKE[queue](world)
    outcome, typed = PUT_OFF[queue]
    stranger = as_role(STRANGERS[queue])
    for address in (url(queue), url(queue, key), url(queue, "nothing-there")):
        assert stranger.get(address).status_code == 403, address
    form = {"act": "decide", "outcome": outcome, "reason": "I may not", "seen": "0", **typed}
    assert stranger.post(url(queue, key), form).status_code == 403
    assert not DeskTaskAct.objects.exists()
    onlooker = stranger if STRANGERS[queue] == "auditor" else as_role("auditor")
    if queue not in LOOKED_AT:
        assert onlooker.get(url(queue, key)).status_code == 403
    else:
        shown = onlooker.get(url(queue, key))
        assert (shown.status_code, b"This is not yours to decide" in shown.content) == (200, True)
        assert onlooker.post(url(queue, key), form).status_code == 403
        assert not DeskTaskAct.objects.exists()
        assert [one.reason for one in acts(queue)] == ["role-not-permitted"]


@pytest.mark.parametrize("queue", list(MAKE))
def test_a_look_is_recorded_and_what_is_not_there_is_not_found(world: UUID, as_role: AsRole, queue: str) -> None:
    key = MAKE[queue](world)
    officer = as_role(DECIDERS[queue])
    officer.get(url(queue))
    looks = AuditEvent.objects.filter(kind="desk-task", action="R", detail__queue=queue)
    assert looks.count() == 1
    officer.get(url(queue, key))
    if QUEUES[queue].held is None:
        assert looks.filter(detail__task=key).count() == 1
    else:
        (look,) = AuditEvent.objects.filter(kind="staff-look", person_id=world)
        assert (look.detail["task"], look.detail["what"]) == (key, QUEUES[queue].held)
    for nothing in ("nothing-there", "999999999", "11111111-1111-1111-1111-111111111111"):
        assert officer.get(url(queue, nothing)).status_code == 404, nothing
        assert officer.post(url(queue, nothing), {"act": "decide", "outcome": PUT_OFF[queue][0], "reason": "x", "seen": "0"}).status_code == 404  # fmt: skip
    assert officer.get("/admin/tasks/nothing/").status_code == 404


@pytest.mark.parametrize("queue", list(MAKE))
def test_a_list_and_a_page_cost_a_few_statements(
    world: UUID, as_role: AsRole, django_assert_max_num_queries: Any, queue: str
) -> None:
    key = MAKE[queue](world)
    officer = as_role(DECIDERS[queue])
    officer.get(url(queue, key))
    with django_assert_max_num_queries(16, info=f"list of {queue}"):
        officer.get(url(queue))
    with django_assert_max_num_queries(33, info=f"page of {queue}"):
        officer.get(url(queue, key))


def test_a_reason_is_kept_word_for_word_and_what_cannot_be_kept_is_refused(world: UUID, as_role: AsRole) -> None:
    key, operator = waiting.messages(world), as_role("operator")
    assert decide(operator, "messages", key, "aside", reason="x" * 501).status_code == 422
    assert decide(operator, "messages", key, "aside", reason="nul \0 here").status_code == 422
    assert decide(operator, "messages", key, "aside", reason="<b>Known</b> since “March”").status_code == 302
    assert "&lt;b&gt;Known&lt;/b&gt; since “March”" in operator.get(url("messages", key)).content.decode()


@pytest.mark.parametrize("until", ["", "tomorrow", "2020-01-01", day(0), day(400)])
def test_a_thing_is_put_off_to_a_day_to_come_only(world: UUID, as_role: AsRole, until: str) -> None:
    key, operator = waiting.messages(world), as_role("operator")
    answer = decide(operator, "messages", key, "later", until=until)
    assert (answer.status_code, answer.context_data["problem_field"]) == (422, "field-until")


def test_what_was_put_off_comes_back_on_its_day(world: UUID, as_role: AsRole) -> None:
    key, operator = waiting.messages(world), as_role("operator")
    decide(operator, "messages", key, "later", until=day(3))
    assert (keys_in(operator, "messages"), keys_in(operator, "messages", "off")) == ([], [key])
    assert {queue.key: queue.count for queue in queues.waiting()}["messages"] == 0
    DeskTask.objects.update(until_at=timezone.now() - timedelta(minutes=1))
    assert keys_in(operator, "messages") == [key]
    assert {queue.key: queue.count for queue in queues.waiting()}["messages"] == 1


def test_next_goes_through_the_queue_and_skipping_decides_nothing(world: UUID, as_role: AsRole) -> None:
    for n in range(3):
        for one in range(3 - n):
            waiting.message(f"{n}-{one}", error_element=f"PID-{n}")
    operator = as_role("operator")
    first, second, third = keys_in(operator, "messages")
    for here, there in ((first, second), (second, third), (third, first)):
        assert operator.post(url("messages", here), {"act": "skip"})["Location"] == url("messages", there)
    assert not DeskTask.objects.exists()
    assert decide(operator, "messages", second, "aside")["Location"].startswith(url("messages", third))
    notice = operator.get(decide(operator, "messages", third, "aside")["Location"])
    assert b"Put aside: known, or answered by the sender" in notice.content
    assert b"or take it back" in notice.content
    assert decide(operator, "messages", first, "aside")["Location"].startswith(url("messages") + "?")
    assert operator.post(url("messages", first), {"act": "skip"})["Location"] == url("messages")


def test_the_list_of_what_was_done_says_by_whom_and_why(world: UUID, as_role: AsRole) -> None:
    key, operator = waiting.messages(world), as_role("operator")
    decide(operator, "messages", key, "aside", reason="Their clock was wrong")
    shown = operator.get(url("messages"), {"state": "done"}).content.decode()
    assert "Ida Moss" in shown
    assert "Their clock was wrong" in shown
    assert url("messages", key) in shown


# --- messages ----------------------------------------------------------------------------------------------------------


def test_messages_that_come_after_the_page_was_shown_are_not_put_aside_with_it(world: UUID, as_role: AsRole) -> None:
    key, operator = waiting.messages(world), as_role("operator")
    form = seen(operator, "messages", key)
    late = waiting.message("78", received_at=timezone.now())
    operator.post(url("messages", key), {"act": "decide", "outcome": "aside", "reason": "Known", **form})
    assert list(InboundMessage.objects.filter(aside__isnull=True)) == [late]
    (item,) = operator.get(url("messages")).context_data["items"]
    assert (item.key, item.count) == (key, 1)
    undo(operator, "messages", key)
    assert InboundMessage.objects.filter(aside__isnull=True).count() == 2


def test_a_message_that_is_tried_again_and_fails_again_waits_anew(world: UUID, as_role: AsRole, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    from hie.exchange import inbox

    class Refusing:
        def handle(self, raw: bytes, *, envelope: Any, message_id: Any) -> inbox.Handled:
            return inbox.Handled(
                accepted=False, reply=b"", error_code="102", error_element="PID-7", error_text="Not a date"
            )

    monkeypatch.setitem(inbox._handlers, "hl7v2", Refusing())
    key, operator = waiting.messages(world), as_role("operator")
    decide(operator, "messages", key, "aside")
    row = InboundMessage.objects.get()
    inbox._run(row, b"", inbox.envelope_of(row))
    assert keys_in(operator, "messages") == [key]


def test_the_page_of_a_cause_says_from_whom_and_leads_to_the_messages(world: UUID, as_role: AsRole) -> None:
    key = waiting.messages(world)
    waiting.message("78")
    operator = as_role("operator")
    shown = operator.get(url("messages", key))
    text = shown.content.decode()
    assert all(words in text for words in ("The Hospital", "PID-7", "Not a date.", "2 messages wait"))
    (link,) = shown.context_data["links"]
    assert operator.get(link.url).context_data["cl"].result_count == 2
    decide(operator, "messages", key, "aside")
    assert operator.get(link.url).context_data["cl"].result_count == 0


# --- consents ----------------------------------------------------------------------------------------------------------


def test_a_consent_that_cannot_be_read_says_what_and_is_ended_only_with_evidence(world: UUID, as_role: AsRole) -> None:
    key, officer = waiting.consents(world), as_role("privacy-officer")
    text = officer.get(url("consents", key)).content.decode()
    assert "provision.type" in text
    assert "Taken over from another system" in text
    without = decide(officer, "consents", key, "end")
    assert (without.status_code, without.context_data["problem_field"]) == (422, "field-evidence")
    assert Consent.objects.get(pk=key).status == "active"
    assert decide(officer, "consents", key, "end", evidence="Letter of 3 May").status_code == 302
    row = Consent.objects.get(pk=key)
    assert (row.status, row.evidence, row.revoked_by) == ("inactive", "Letter of 3 May", "Staff/privacy-officer")
    assert keys_in(officer, "consents") == []
    assert AuditEvent.objects.filter(kind="staff-act", person_id=world, outcome=0).count() == 1
    assert undo(officer, "consents", key).status_code == 409
    assert Consent.objects.get(pk=key).status == "inactive"


def test_an_administrator_or_auditor_ends_no_consent_here(world: UUID, as_role: AsRole) -> None:
    key = waiting.consents(world)
    for role in ("administrator", "auditor"):
        client = as_role(role)
        assert decide(client, "consents", key, "end", evidence="Letter").status_code == 403
    assert Consent.objects.get(pk=key).status == "active"


@pytest.mark.parametrize("outcome", ["asked", "later"])
def test_to_ask_or_to_leave_it_opens_nothing(world: UUID, as_role: AsRole, outcome: str) -> None:
    from consent import directives
    from hie.exchange import access

    key, officer = waiting.consents(world), as_role("privacy-officer")
    before = Consent.objects.values().get(pk=key)
    about = access.subject(world)
    epoch = directives.consent_epoch(about.identifier_pks)
    decide(officer, "consents", key, outcome, told="Their desk", until=day(3))
    assert keys_in(officer, "consents") == []
    assert Consent.objects.values().get(pk=key) == before
    assert directives.consent_epoch(about.identifier_pks) == epoch
    assert AuditEvent.objects.filter(kind="staff-act", person_id=world).count() == 0
    assert decide(officer, "consents", key, outcome, told="x", until=day(45)).status_code in {409, 422}


def test_a_consent_that_another_officer_ended_meanwhile_is_not_put_off(world: UUID, as_role: AsRole) -> None:
    key, officer = waiting.consents(world), as_role("privacy-officer")
    form = seen(officer, "consents", key)
    Consent.objects.filter(pk=key).update(status="inactive")
    answer = officer.post(
        url("consents", key), {"act": "decide", "outcome": "later", "reason": "x", "until": day(3), **form}
    )
    assert answer.status_code == 409
    assert not DeskTaskAct.objects.exists()


# --- documents and deaths ----------------------------------------------------------------------------------------------


def test_a_doubtful_document_is_released_and_taken_back_restricts_it_at_once(world: UUID, as_role: AsRole) -> None:
    key, steward = waiting.documents(world), as_role("steward")
    text = steward.get(url("doubtful-documents", key)).content.decode()
    assert "The document has another name than the index" in text
    assert "HIV" not in text
    decide(steward, "doubtful-documents", key, "release")
    entry = DocumentEntry.objects.get()
    assert (entry.restricted, ReviewItem.objects.get().outcome) == (False, "released")
    undo(steward, "doubtful-documents", key)
    entry.refresh_from_db()
    assert (entry.restricted, entry.confidentiality, ReviewItem.objects.get().closed_at) == (True, "R", None)
    outcomes = [
        one.detail["outcome"] for one in AuditEvent.objects.filter(kind="staff-act", person_id=world).order_by("at")
    ]
    assert outcomes == ["released", "reopened"]


def test_an_objection_is_closed_as_right_only_once_the_record_is(world: UUID, as_role: AsRole, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    from hie.exchange import deaths

    key, steward = waiting.deaths(world), as_role("steward")
    assert "I am alive and at home." in steward.get(url("deaths", key)).content.decode()
    with monkeypatch.context() as dead:
        dead.setattr(deaths, "is_said_dead", lambda person_id: True)
        refused = decide(steward, "deaths", key, "right")
        assert (refused.status_code, b"set it right first" in refused.content) == (409, True)
    assert decide(steward, "deaths", key, "right", reason="She called").status_code == 302
    row = DeathObjection.objects.get()
    assert (row.closed_by, row.closed_reason) == ("Staff/steward", "She called")
    DeathObjection.objects.create(identifier_id=row.identifier_id, said="Still", at=timezone.now())
    assert undo(steward, "deaths", key).status_code == 404
    DeathObjection.objects.filter(closed_at__isnull=True).delete()
    assert undo(steward, "deaths", key).status_code == 302
    assert DeathObjection.objects.get().closed_at is None


# --- participants, keys, notices ---------------------------------------------------------------------------------------


def test_a_participant_is_suspended_for_a_reason_at_once_and_its_end_takes_two(world: UUID, as_role: AsRole) -> None:
    key, desk = waiting.raised(world), as_role("onboarding")
    assert "3" in desk.get(url("raised", key)).content.decode()
    assert decide(desk, "raised", key, "suspend", reason="Three cases, no answer").status_code == 302
    assert Participant.objects.get(pk=key).status == "suspended"
    assert (keys_in(desk, "raised"), keys_in(desk, "suspended")) == ([], [key])
    assert undo(desk, "raised", key).status_code == 409
    shown = desk.get(url("suspended", key))
    assert b"Three cases, no answer" in shown.content
    propose = next(link.url for link in shown.context_data["links"] if "Propose" in link.words)
    assert desk.get(propose).status_code == 200


def test_the_list_of_participants_leads_to_the_page_that_suspends(world: UUID, as_role: AsRole) -> None:
    desk = as_role("onboarding")
    form = {"action": "suspend", "_selected_action": ["org-clinic"]}
    sent = desk.post("/admin/directory/participant/", form)
    assert sent["Location"] == url("raised", "org-clinic")
    assert Participant.objects.get(pk="org-clinic").status == "active"
    assert decide(desk, "raised", "org-clinic", "suspend").status_code == 302
    assert Participant.objects.get(pk="org-clinic").status == "suspended"


def test_a_key_is_asked_about_again_before_it_ends(world: UUID, as_role: AsRole) -> None:
    key, desk = waiting.keys(world), as_role("onboarding")
    assert decide(desk, "keys", key, "told", told="Ola, by phone", until=day(20)).status_code == 409
    assert decide(desk, "keys", key, "unused").status_code == 302
    assert keys_in(desk, "keys") == []
    from hie.directory.models import Certificate

    Certificate.objects.update(expires=timezone.now() + timedelta(days=20))
    (other,) = keys_in(desk, "keys")
    assert other != key
    assert desk.get(url("keys", key)).status_code == 404


def test_notices_given_up_are_tried_again_or_put_aside_and_taken_up(world: UUID, as_role: AsRole) -> None:
    key, operator = waiting.notices(world), as_role("operator")
    assert "the endpoint answered 503" in operator.get(url("notices", key)).content.decode()
    decide(operator, "notices", key, "aside", reason="They left")
    row = OutboxMessage.objects.get()
    assert row.aside_at is not None
    undo(operator, "notices", key)
    assert keys_in(operator, "notices") == [key]
    assert decide(operator, "notices", key, "again", reason="Their server is back").status_code == 302
    row.refresh_from_db()
    assert (row.failed_at, row.aside_at, row.attempts) == (None, None, 0)
    assert AuditEvent.objects.filter(kind="message-replayed").count() == 1


def test_notices_that_are_still_tried_are_not_tried_again_by_hand(world: UUID, as_role: AsRole) -> None:
    key, operator = waiting.notices(world), as_role("operator")
    old = timezone.now() - timedelta(hours=2)
    OutboxMessage.objects.update(failed_at=None, attempts=3, created_at=old)
    answer = decide(operator, "notices", key, "again")
    assert (answer.status_code, b"still tried" in answer.content) == (409, True)


# --- home --------------------------------------------------------------------------------------------------------------


def test_home_leads_to_each_queue_with_its_count_and_due_day(world: UUID, as_role: AsRole) -> None:
    for make in MAKE.values():
        make(world)
    boss = as_role("administrator", "privacy-officer")
    rows = {row.queue.key: row for row in boss.get("/admin/").context_data["rows"]}
    for queue in QUEUES:
        assert rows[queue].queue.count == 1, queue
        assert rows[queue].url == url(queue)
        assert boss.get(rows[queue].url).context_data["waits"] == 1
    for queue in set(QUEUES) - {"suspended", "communities"}:
        assert rows[queue].due, queue


def test_to_count_everything_costs_the_same_however_much_waits(world: UUID, django_assert_num_queries: Any) -> None:
    from django.test.utils import CaptureQueriesContext

    for make in MAKE.values():
        make(world)
    queues.waiting()
    with CaptureQueriesContext(connection) as first:
        queues.waiting()
    for n in range(5):
        waiting.message(f"more-{n}", error_element=f"PID-{n}")
        waiting.code_inside(f"MORE-{n}")
        waiting.consents(world)
        waiting.communities(world)
    with django_assert_num_queries(len(first)):
        found = {queue.key: queue.count for queue in queues.waiting()}
    assert (found["messages"], found["codes"], found["consents"]) == (6, 6, 6)


def test_home_says_who_has_taken_a_case(world: UUID, as_role: AsRole) -> None:
    from hie.exchange import emergency_review
    from hie.exchange.access import Staff
    from tests.backoffice.emergencies import emergency

    review = emergency(world)
    officer = as_role("privacy-officer")
    emergency_review.claim(review.pk, Staff(user_id="privacy-officer", roles=frozenset({"privacy-officer"})))
    rows = {row.queue.key: row for row in officer.get("/admin/").context_data["rows"]}
    assert (rows["emergency"].claimed, rows["duplicates"].claimed) == ("Ida Moss", "")


def test_acts_are_never_changed_or_removed(world: UUID, as_role: AsRole) -> None:
    from django.db import IntegrityError, transaction
    from django.db.utils import DatabaseError

    key, operator = waiting.messages(world), as_role("operator")
    decide(operator, "messages", key, "aside")
    for statement in ("UPDATE exchange_desktaskact SET reason = 'x'", "DELETE FROM exchange_desktaskact"):
        with pytest.raises((IntegrityError, DatabaseError)), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
