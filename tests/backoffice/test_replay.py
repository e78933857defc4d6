"""Trying messages again at the desk: a look ahead that keeps nothing, the order of a patient's messages, one run a button."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from hie.audit.models import AuditEvent
from hie.directory import registration
from hie.exchange import inbox, message_replay
from hie.exchange.models import InboundMessage
from hie.faces.hl7v2 import mllp
from hie.outbox.models import OutboxMessage
from patients.models import IdentityEvent, Link, Person, ReviewItem, SourceRecord, SourceRecordVersion
from tests.hl7v2 import messages
from tests.hl7v2.messages import adt, pid

pytestmark = pytest.mark.django_db
AsRole = Callable[..., Client]
REPLAY = "/admin/exchange/inboundmessage/replay/"
WHY = "The sender is registered now, ticket 4711"
EAST_OID = "2.999.33.1"


@pytest.fixture(autouse=True)
def participants(db: None) -> None:
    messages.register()


def east(event: str, control_id: str, number: str = "77", **fields: str) -> bytes:
    """A message of a hospital that nobody has registered yet."""
    return adt(event, control_id, pid(f"{number}^^^&{EAST_OID}&ISO^MR", **fields), application="LATER", facility="EAST")


def sent(*raws: bytes, ago_minutes: int = 60) -> list[InboundMessage]:
    """Messages as they came in, one a minute."""
    rows = []
    for place, raw in enumerate(raws):
        mllp.answer(raw)
        row = InboundMessage.objects.order_by("-received_at").first()
        assert row is not None
        row.received_at = timezone.now() - timedelta(minutes=ago_minutes - place)
        row.save()
        rows.append(row)
    return rows


def let_in() -> None:
    """The hospital is registered."""
    registration.apply({"participants": [messages.participant("org-east", EAST_OID, "LATER", "EAST")]})


def looked(client: Client, *rows: InboundMessage, reason: str = WHY) -> Any:
    return client.post(REPLAY, {"act": "look", "of": [str(row.pk) for row in rows], "reason": reason})


def form_of(ahead: Any, **changes: Any) -> dict[str, Any]:
    """The form of a look ahead as the page proposes it."""
    shown = ahead.context_data["ahead"]
    return {
        "act": "try",
        "run": str(shown.run),
        "reason": WHY,
        "looked": shown.reason,
        "of": [str(one.message.pk) for one in shown.messages],
        "message": [str(one.message.pk) for one in shown.messages if one.wise],
    } | changes


def everything() -> dict[str, int]:
    """How much there is of all that a message makes or changes."""
    tables = (Person, SourceRecord, SourceRecordVersion, Link, IdentityEvent, ReviewItem, OutboxMessage)
    return {table.__name__: table._default_manager.count() for table in tables}


def replayed() -> list[str]:
    """Control ids in the order in which they were tried."""
    found = AuditEvent.objects.filter(kind="message-replayed").order_by("at").values_list("detail", flat=True)
    return [InboundMessage.objects.get(pk=detail["message"]).control_id for detail in found]


def test_a_look_ahead_says_what_each_message_would_do_and_keeps_nothing_of_it(as_role: AsRole) -> None:
    operator = as_role("operator")
    rows = sent(east("A04", "1"), east("A08", "2", name="Quimby^Eleonora^L", birth="19700203"), east("A04", "3", birth="soon"), east("A03", "4"))  # fmt: skip
    let_in()
    before, states = everything(), list(InboundMessage.objects.order_by("pk").values("status", "attempts", "error_code"))  # fmt: skip
    events = AuditEvent.objects.count()
    answer = looked(operator, *rows)
    content = answer.content.decode()
    assert answer.status_code == 200
    assert "2 of 4 would be accepted now" in content
    assert "A person not known before would be made known" in content
    # The second is looked at as after the first, and only the names of parts are told.
    assert "Changed: name." in content
    assert "Refused" in content
    assert not re.search("Quimby|Eleonora|1970", content)
    came = [one.came.value for one in answer.context_data["ahead"].messages]
    assert came == ["accepted", "accepted", "refused", "refused"]
    assert [one.patients for one in answer.context_data["ahead"].messages] == [(1,), (1,), (), ()]
    assert everything() == before
    assert list(InboundMessage.objects.order_by("pk").values("status", "attempts", "error_code")) == states
    assert AuditEvent.objects.count() == events + 1
    event = AuditEvent.objects.get(kind="message-rehearsed")
    assert (event.detail["reason"], event.user, len(event.detail["messages"])) == (WHY, "Staff/operator", 4)


def test_those_that_are_chosen_are_tried_in_their_order_and_the_page_says_what_came(as_role: AsRole) -> None:
    operator = as_role("operator")
    rows = sent(east("A04", "1"), east("A08", "2", name="Quimby^Eleonora^L"), east("A03", "3"))
    let_in()
    ahead = looked(operator, *rows[::-1])
    done = operator.post(REPLAY, form_of(ahead), follow=True)
    content = done.content.decode()
    assert "2 accepted" in content
    assert "1 left out" in content
    assert "Otherwise than foreseen" not in content
    assert WHY in content
    assert replayed() == ["1", "2"]
    assert [row.status for row in InboundMessage.objects.order_by("received_at")] == ["accepted", "accepted", "refused"]
    record = SourceRecord.objects.get()
    assert record.current_version is not None
    assert record.current_version.raw["names"][0]["given"] == ["Eleonora", "L"]
    assert {event.detail["reason"] for event in AuditEvent.objects.filter(kind="message-replayed")} == {WHY}


def test_pressing_twice_tries_nothing_twice(as_role: AsRole) -> None:
    operator = as_role("operator")
    rows = sent(east("A04", "1"), east("A04", "2", "78", name="Arden^Felix"))
    let_in()
    form = form_of(looked(operator, *rows))
    first = operator.post(REPLAY, form)
    again = operator.post(REPLAY, form)
    assert first["Location"] == again["Location"]
    assert replayed() == ["1", "2"]
    assert set(InboundMessage.objects.values_list("attempts", flat=True)) == {2}


def test_a_run_that_broke_off_goes_on_where_it_was(as_role: AsRole, monkeypatch: pytest.MonkeyPatch) -> None:
    operator = as_role("operator")
    rows = sent(east("A04", "1"), east("A04", "2", "78", name="Arden^Felix"))
    let_in()
    form = form_of(looked(operator, *rows))
    real, calls = inbox.replay, []

    def breaking(message_id: Any, *args: Any, **more: Any) -> Any:
        calls.append(message_id)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(message_id, *args, **more)

    monkeypatch.setattr(inbox, "replay", breaking)
    with pytest.raises(KeyboardInterrupt):
        operator.post(REPLAY, form)
    assert replayed() == ["1"]
    operator.post(REPLAY, form)
    assert replayed() == ["1", "2"]


def test_older_news_than_was_taken_in_since_is_marked_and_not_proposed(as_role: AsRole) -> None:
    operator = as_role("operator")
    older, newer = sent(
        adt("A04", "1", pid(birth="soon")), adt("A04", "2", pid(name="Quimby^Eleonora^L")), ago_minutes=60
    )
    assert (older.status, newer.status) == ("refused", "accepted")
    # The rule that refused it is mended: here by what it says itself.
    older.raw = inbox._encrypt(adt("A04", "1", pid(name="Quimby^Nora")), inbox._current_key()[1], older.pk)
    older.save()
    ahead = looked(operator, older)
    (one,) = ahead.context_data["ahead"].messages
    assert one.came == "accepted"
    assert not one.wise
    assert "Newer news of this patient was taken in on" in ahead.content.decode()
    assert "1 out of order" in ahead.content.decode()
    assert operator.post(REPLAY, form_of(ahead)).status_code == 422
    # Who wants it all the same may have it.
    operator.post(REPLAY, form_of(ahead, message=[str(older.pk)]))
    assert replayed() == ["1"]


def test_what_is_older_by_its_own_time_spoils_nothing_and_is_shown_so(as_role: AsRole) -> None:
    operator = as_role("operator")
    older, _newer = sent(adt("A04", "1", pid(birth="soon")), adt("A04", "2", pid(name="Quimby^Eleonora^L")))
    raw = adt("A08", "1", pid(name="Quimby^Nora")).replace(b"20260101120000", b"20260101110000")
    older.raw = inbox._encrypt(raw, inbox._current_key()[1], older.pk)
    older.save()
    ahead = looked(operator, older)
    (one,) = ahead.context_data["ahead"].messages
    assert (one.came, one.wise, one.troubles) == ("accepted", True, ())
    assert "it would change nothing" in ahead.content.decode()
    operator.post(REPLAY, form_of(ahead))
    assert replayed() == ["1"]
    assert SourceRecordVersion.objects.count() == 1


def test_an_older_message_of_the_same_patient_that_waits_and_is_not_chosen_is_named(as_role: AsRole) -> None:
    operator = as_role("operator")
    first, second, other = sent(east("A04", "first"), east("A08", "second"), east("A04", "third", "79", name="Arden^Felix"))  # fmt: skip
    let_in()
    ahead = looked(operator, second, other)
    one, fine = ahead.context_data["ahead"].messages
    assert (one.wise, fine.wise) == (False, True)
    assert "An older message of this patient waits too" in one.troubles[0]
    assert "first" in one.troubles[0]
    assert all(item.wise for item in looked(operator, first, second, other).context_data["ahead"].messages)


def test_a_message_that_was_accepted_and_stands_may_be_tried_again_without_trouble(as_role: AsRole) -> None:
    (row,) = sent(adt("A04", "1"))
    (one,) = looked(as_role("operator"), row).context_data["ahead"].messages
    assert (one.came, one.troubles) == ("accepted", ())
    assert one.effects[0].words == "The record says this already"


@pytest.mark.parametrize("act", ["look", "try"])
def test_without_a_reason_nothing_is_looked_at_or_tried(as_role: AsRole, act: str) -> None:
    operator = as_role("operator")
    rows = sent(east("A04", "1"))
    let_in()
    answer = looked(operator, *rows, reason=" ") if act == "look" else operator.post(REPLAY, form_of(looked(operator, *rows), reason=" "))  # fmt: skip
    content = answer.content.decode()
    assert (answer.status_code, 'href="#why"' in content, "Give a reason." in content) == (422, True, True)
    assert replayed() == []
    assert AuditEvent.objects.filter(kind="message-rehearsed").count() == (0 if act == "look" else 2)


def test_a_run_is_tried_by_who_looked_ahead_within_the_hour_and_of_what_was_looked_at(as_role: AsRole) -> None:
    operator = as_role("operator")
    rows = sent(east("A04", "1"), east("A04", "2", "78", name="Arden^Felix"))
    let_in()
    ahead = looked(operator, rows[0])
    assert operator.post(REPLAY, form_of(ahead, message=[str(rows[1].pk)])).status_code == 422
    assert as_role("operator", username="bo").post(REPLAY, form_of(ahead)).status_code == 403
    assert operator.post(REPLAY, form_of(ahead, run=str(uuid4()))).status_code == 404
    assert operator.post(REPLAY, form_of(ahead, run="x")).status_code == 422
    assert replayed() == []


def test_a_cause_is_tried_from_its_line_the_oldest_first(as_role: AsRole, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_replay, "AT_ONCE", 2)
    operator = as_role("operator")
    rows = sent(*(east("A04", str(n), str(n)) for n in range(3)))
    page = operator.get(reverse("admin:exchange_inboundmessage_changelist")).content.decode()
    found = re.search(r'href="(/admin/exchange/inboundmessage/replay/\?protocol=[^"]+)"', page)
    assert found is not None
    chosen = operator.get(found[1].replace("&amp;", "&"))
    content = chosen.content.decode()
    assert "Try 2 messages again?" in content
    assert "1 more waits" in content or "1 more wait" in content
    assert chosen.context_data["picked"].ids == (rows[0].pk, rows[1].pk)
    gone = operator.get(f"{REPLAY}?protocol=hl7v2&code=999&element=&kind=ADT%5EA04")
    assert gone.status_code == 302


def test_too_many_at_once_are_refused_in_words(as_role: AsRole, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_replay, "AT_ONCE", 2)
    operator = as_role("operator")
    rows = sent(*(east("A04", str(n), str(n)) for n in range(3)))
    form = {"action": "replay", "_selected_action": [str(row.pk) for row in rows]}
    answer = operator.post(reverse("admin:exchange_inboundmessage_changelist"), form)
    assert answer.status_code == 422
    assert "Choose at most 2 messages at once" in answer.content.decode()
    fine = operator.post(reverse("admin:exchange_inboundmessage_changelist"), form | {"_selected_action": form["_selected_action"][:2]})  # fmt: skip
    assert "Try 2 messages again?" in fine.content.decode()


def test_a_look_ahead_ends_in_time_and_says_what_it_did_not_reach(
    as_role: AsRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = sent(east("A04", "1"), east("A04", "2", "78", name="Arden^Felix"))
    let_in()
    monkeypatch.setattr(message_replay, "LOOKS_AHEAD_S", 0)
    operator = as_role("operator")
    ahead = looked(operator, *rows)
    assert "2 not looked at" in ahead.content.decode()
    # What was not looked at is not tried, whatever the form says.
    assert operator.post(REPLAY, form_of(ahead, message=[str(rows[0].pk)])).status_code == 422
    assert replayed() == []


def test_a_question_is_left_alone_and_what_cannot_be_opened_is_said(as_role: AsRole) -> None:
    rows = sent(adt("A04", "1"))
    question, locked = rows[0], sent(adt("A04", "2"))[0]
    InboundMessage.objects.filter(pk=question.pk).update(kind="QBP^Q22")
    InboundMessage.objects.filter(pk=locked.pk).update(raw=b"x" * 40)
    came = {one.message.pk: one.came for one in looked(as_role("operator"), question, locked).context_data["ahead"].messages}  # fmt: skip
    assert came == {question.pk: "question", locked.pk: "unreadable"}


def test_a_crash_in_the_look_ahead_costs_that_message_and_not_the_others(
    as_role: AsRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hie.faces.hl7v2.handler import Hl7v2Handler

    rows = sent(east("A04", "1"), east("A04", "2", "78", name="Arden^Felix"))
    let_in()
    real = Hl7v2Handler.handle

    def crashing(self: Any, raw: bytes, **more: Any) -> Any:
        if b"|1|P|" in raw:
            SourceRecord.objects.raw("SELECT no_such_column FROM patients_sourcerecord")[0]
        return real(self, raw, **more)

    monkeypatch.setattr(Hl7v2Handler, "handle", crashing)
    came = [one.came for one in looked(as_role("operator"), *rows).context_data["ahead"].messages]
    assert came == ["failed", "accepted"]


@pytest.mark.parametrize("role", ["steward", "auditor", "privacy-officer", "onboarding"])
def test_only_operators_and_administrators_try_messages_again(as_role: AsRole, role: str) -> None:
    (row,) = sent(east("A04", "1"))
    client = as_role(role)
    assert client.get(f"{REPLAY}?message={row.pk}").status_code == 403
    assert looked(client, row).status_code == 403
    assert client.get(f"{REPLAY}{uuid4()}/").status_code == 403
    assert AuditEvent.objects.filter(kind__startswith="message-re").count() == 0
    assert as_role("administrator").get(f"{REPLAY}?message={row.pk}").status_code == 200
