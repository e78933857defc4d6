"""The helpers' page: whom the patient sees, whom she ends, and what a helper reads of his own end."""

from __future__ import annotations

import uuid
from typing import Any

from django.test import Client

from consent import proxies
from consent.models import ProxyGrant
from hie.trust.models import PatientAccount
from patients import identifiers
from tests.portal.conftest import signed_in


def grant() -> ProxyGrant:
    return ProxyGrant.objects.get()


def test_the_patient_reads_who_may_see_what(alice: str) -> None:
    page = signed_in().get("/my/helpers").content.decode()
    for words in ("Sam Delgado", "You named this helper", "May see private documents too", "End this help"):
        assert words in page


def test_she_is_asked_first_and_then_it_has_ended(alice: str) -> None:
    client, helper = signed_in(), signed_in("sam")
    helper.post("/my/person", {"person": alice})
    assert "acting for" in helper.get("/my/").content.decode()
    address = f"/my/helpers/{grant().pk}/end"
    asked = client.get(address).content.decode()
    assert "End the help of" in asked
    assert "Sam Delgado" in asked
    assert grant().status == "active"
    answer = client.post(address)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/my/helpers?ended=1#notice")
    assert "This help has ended" in client.get("/my/helpers?ended=1").content.decode()
    assert grant().status == "ended"
    assert "acting for" not in helper.get("/my/").content.decode()
    assert client.post(address).status_code == 404


def test_a_helper_reads_no_other_helpers_and_ends_none(alice: str) -> None:
    helper = signed_in("sam")
    helper.post("/my/person", {"person": alice})
    assert helper.get("/my/helpers").status_code == 403
    assert helper.post(f"/my/helpers/{grant().pk}/end").status_code == 403
    assert Client().post(f"/my/helpers/{grant().pk}/end").status_code == 302
    assert grant().status == "active"


def test_what_is_not_there_and_what_is_anothers_are_one_answer(alice: str) -> None:
    client = signed_in("sam")
    answers: set[Any] = set()
    for number in (grant().pk, uuid.uuid4()):
        answers.add(
            (client.post(f"/my/helpers/{number}/end").status_code, client.get(f"/my/helpers/{number}/end").status_code)
        )
    assert answers == {(404, 404)}


def test_a_parent_reads_until_when_he_can_act(alice: str) -> None:
    proxies.set_status(grant().pk, "ended")
    from datetime import UTC, datetime, timedelta

    soon = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
    sam = PatientAccount.objects.get(login="sam").pk
    proxies.grant(
        identifier_pk=identifiers.anchor(alice).pk, person=f"RelatedPerson/{sam}", kind="nominated",
        max_confidentiality="R", end=soon,
    )  # fmt: skip
    client = signed_in("sam")
    client.post("/my/person", {"person": alice})
    assert "You can do this until" in client.get("/my/documents").content.decode()
