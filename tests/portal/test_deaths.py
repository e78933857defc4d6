"""Whom the record says is dead: what she reads as she signs in, how she says that she lives, how a steward settles it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from hie.audit.models import AuditEvent
from hie.exchange import deaths, queues
from hie.exchange.access import Staff
from hie.exchange.errors import AccessRefused, BadRequest, NotFound
from hie.exchange.models import DeathObjection
from patients import linking
from patients.demographics import Demographics, HumanName, RecordFeed
from tests import second_factor
from tests.portal.conftest import signed_in

STEWARD = Staff(user_id="ida", roles=frozenset({"steward"}))


def said_dead(died: bool = True) -> None:
    """The clinic's feed says that Alice has died, or that she has not."""
    person = Demographics(
        names=(HumanName(family="Delgado", given=("Rosa",)),), birth_date="1970-05-01", gender="female", deceased=died
    )
    linking.feed(RecordFeed(participant_id="org-clinic", authority="2.999.10.1.1", value="A1", demographics=person))


def test_she_reads_why_nothing_is_shown_and_says_that_she_lives(alice: str) -> None:
    client = signed_in()
    said_dead()
    for address in ("/my/", "/my/helpers", "/my/emergencies"):
        page = client.get(address)
        assert (page.status_code, "told us that you have died" in page.content.decode()) == (403, True), address
    assert client.post("/my/alive", {"words": "Call 555-0100"}).status_code == 302
    assert "We know that you say this is wrong" in client.get("/my/").content.decode()
    assert client.post("/my/alive", {"words": "In the mornings"}).status_code == 302
    row = DeathObjection.objects.get()
    assert (row.said, row.closed_at) == ("Call 555-0100\n\nIn the mornings", None)
    (queue,) = [one for one in queues.waiting() if one.key == "deaths"]
    assert (queue.count, queue.owner, queue.urgent) == (1, "steward", True)
    assert AuditEvent.objects.filter(kind="concern", person_id=alice, outcome=0).count() == 2


def test_it_opens_nothing_until_the_record_is_set_right(alice: str) -> None:
    client = signed_in()
    said_dead()
    client.post("/my/alive", {"words": ""})
    assert client.get("/my/").status_code == 403
    deaths.close(DeathObjection.objects.get().pk, STEWARD, reason="Her passport was shown; the clinic sends it right")
    assert client.get("/my/").status_code == 403
    said_dead(False)
    assert client.get("/my/").status_code == 200
    assert not deaths.waits(alice)


@pytest.mark.parametrize("words", ["x" * 501, "a zero \x00 in it"])
def test_too_much_is_not_kept_and_stays_typed(alice: str, words: str) -> None:
    client = signed_in()
    said_dead()
    answer = client.post("/my/alive", {"words": words})
    assert (answer.status_code, "Write at most 500 letters" in answer.content.decode()) == (422, True)
    assert not DeathObjection.objects.exists()


def test_who_lives_and_who_is_only_a_helper_objects_to_nothing(alice: str) -> None:
    assert signed_in().post("/my/alive", {"words": "I live"}).status_code == 404
    helper = signed_in("sam")
    helper.post("/my/person", {"person": alice})
    said_dead()
    assert helper.post("/my/alive", {"words": "She lives"}).status_code in (403, 404)
    assert Client().post("/my/alive", {"words": "I live"}).status_code == 302  # to the sign-in
    assert not DeathObjection.objects.exists()


def test_only_who_cares_for_records_closes_one_with_a_reason_and_once(alice: str) -> None:
    client = signed_in()
    said_dead()
    client.post("/my/alive", {"words": ""})
    number = DeathObjection.objects.get().pk
    with pytest.raises(AccessRefused):
        deaths.close(number, Staff(user_id="otto", roles=frozenset({"operator"})), reason="why not")
    with pytest.raises(BadRequest):
        deaths.close(number, STEWARD, reason=" ")
    deaths.close(number, STEWARD, reason="It was somebody else")
    with pytest.raises(NotFound):
        deaths.close(number, STEWARD, reason="It was somebody else")
    told = AuditEvent.objects.filter(person_id=alice, user="Staff/ida").get()
    assert told.detail["objection"] == number


def test_a_steward_closes_it_at_the_desk(alice: str) -> None:
    said_dead()
    row = DeathObjection.objects.create(identifier_id=_pk(alice), said="I live", at="2026-01-01T00:00:00Z")
    boss = second_factor.sign_in(User.objects.create_superuser("boss"))
    page = boss.get(f"/admin/exchange/deathobjection/{row.pk}/change/")
    assert (page.status_code, "I live" in page.content.decode()) == (200, True)
    address = f"/admin/tasks/deaths/{row.pk}/"
    assert address in page.content.decode()
    form = {"act": "decide", "outcome": "stays", "seen": "0"}
    assert boss.get(address).status_code == 200
    assert boss.post(address, {**form, "reason": ""}).status_code == 422
    assert boss.post(address, {**form, "reason": "It was somebody else"}).status_code == 302
    row.refresh_from_db()
    assert (row.closed_by, row.closed_reason) == ("Staff/boss", "It was somebody else")


def _pk(person: str) -> Any:
    from patients import identifiers

    return identifiers.own_anchor(person).pk
