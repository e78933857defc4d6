"""The helpers' page: whom the patient sees, whom she ends, and what a helper reads of his own end."""

from __future__ import annotations

import re
import threading
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client

from consent import proxies
from consent.models import HelperCode, ProxyGrant
from hie.audit.models import AuditEvent
from hie.exchange import accounts
from hie.trust.models import PatientAccount
from patients import identifiers
from tests.portal.conftest import PASSWORD, fed, signed_in


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


def test_who_acts_for_a_patient_stops_with_the_patients_death_and_an_executor_does_not(alice: str) -> None:
    helper = signed_in("sam")
    helper.post("/my/person", {"person": alice})
    assert "acting for" in helper.get("/my/").content.decode()
    fed("A1", "Delgado", "Rosa", "1970-05-01", deceased=True)
    page = helper.get("/my/")
    assert (page.status_code, "acting for" in page.content.decode()) == (200, False)
    helper.post("/my/person", {"person": alice})
    assert "acting for" not in helper.get("/my/").content.decode()
    proxies.grant(
        identifier_pk=identifiers.anchor(alice).pk, person=grant().person, kind="attorney", verified_by="desk",
        evidence="letters of administration", executor=True,
    )  # fmt: skip
    helper.post("/my/person", {"person": alice})
    assert "acting for" in helper.get("/my/").content.decode()


def test_a_helper_who_has_died_acts_for_nobody(alice: str) -> None:
    helper = signed_in("sam")
    helper.post("/my/person", {"person": alice})
    fed("S1", "Delgado", "Sam", "1995-06-02", deceased=True)
    assert helper.get("/my/").status_code == 403
    fed("S1", "Delgado", "Sam", "1995-06-02")
    assert "acting for" in helper.get("/my/").content.decode()


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


def code_of(client: Client) -> str:
    """A code that whoever is signed in makes."""
    answer = client.post("/my/helpers/code")
    assert answer.status_code == 200
    found = re.search(r"[2-9A-Z]{4}-[2-9A-Z]{4}-[2-9A-Z]{4}", answer.content.decode())
    assert found is not None
    return found.group()


def give(client: Client, code: str, **changes: str) -> Any:
    return client.post("/my/helpers/name", {"step": "give", "code": code, "letter": "N"} | changes)


def another(login: str, given: str, birth_date: str = "1980-03-04") -> str:
    """One more person with an account; the person's id."""
    person = fed(login.upper(), "Okafor", given, birth_date)
    account = {"login": login, "password": PASSWORD, "name": f"{given} Okafor", "identifier": f"{login.upper()}^^^&2.999.10.1.1&ISO"}  # fmt: skip
    accounts.load({"patients": [account]})
    return person


def test_a_patient_names_whom_the_code_is_of_after_seeing_the_name(alice: str) -> None:
    another("noor", "Noor")
    client, helper = signed_in(), signed_in("noor")
    code = code_of(helper)
    asked = client.post("/my/helpers/name", {"code": code.lower().replace("-", " ")})
    assert "Noor Okafor" in asked.content.decode()
    assert ProxyGrant.objects.count() == 1
    answer = give(client, code, letter="R", end="2999-01-31", may_consent="yes")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/my/helpers?named=1#notice")
    assert "Your helper is named" in client.get("/my/helpers?named=1").content.decode()
    named = ProxyGrant.objects.exclude(evidence="form 7").get()
    assert (named.kind, named.max_confidentiality, named.end, named.may_consent, named.verified_by) == (
        "nominated", "R", "2999-01-31", True, f"Patient/{alice}",
    )  # fmt: skip
    helper.post("/my/person", {"person": alice})
    assert "acting for" in helper.get("/my/").content.decode()
    (event,) = AuditEvent.objects.filter(kind="proxy-changed", person_id=alice)
    assert (event.detail["act"], event.detail["helper"]) == ("given", named.person)
    client.post(f"/my/helpers/{named.pk}/end")
    assert "acting for" not in helper.get("/my/").content.decode()


def test_a_code_counts_once_for_a_week_and_only_the_newest(alice: str) -> None:
    another("noor", "Noor")
    client, helper = signed_in(), signed_in("noor")
    old, code = code_of(helper), code_of(helper)
    for wrong in (old, "", "AAAA-BBBB-CCCC", "\x00", "x" * 5000):
        answer = give(client, wrong)
        assert (answer.status_code, "This code does not work" in answer.content.decode()) == (422, True)
    HelperCode.objects.update(made_at=F("made_at") - timedelta(days=8), ends_at=F("ends_at") - timedelta(days=8))
    assert give(client, code).status_code == 422
    code = code_of(helper)
    assert give(client, code).status_code == 302
    assert ProxyGrant.objects.count() == 2
    assert give(client, code).status_code == 422
    assert give(client, code_of(helper)).status_code == 422  # has such a permission already
    assert ProxyGrant.objects.count() == 2
    assert not any(code.replace("-", "").encode() in bytes(row.digest) for row in HelperCode.objects.all())


def test_nobody_comes_back_by_a_code_whom_an_order_suspended(alice: str) -> None:
    client, helper = signed_in(), signed_in("sam")
    proxies.set_status(grant().pk, "suspended")
    answer = give(client, code_of(helper))
    assert (answer.status_code, "only our office can allow it" in answer.content.decode()) == (422, True)
    assert ProxyGrant.objects.count() == 1


def test_whose_permission_ran_out_is_named_again_by_a_new_code(alice: str) -> None:
    another("noor", "Noor")
    client, helper = signed_in(), signed_in("noor")
    assert give(client, code_of(helper)).status_code == 302
    named = ProxyGrant.objects.exclude(evidence="form 7")
    assert give(client, code_of(helper)).status_code == 422
    named.update(end="2020-01-31")
    assert give(client, code_of(helper)).status_code == 302
    assert named.count() == 2


def test_the_code_of_somebody_who_died_names_nobody(alice: str) -> None:
    another("noor", "Noor")
    client, code = signed_in(), code_of(signed_in("noor"))
    fed("NOOR", "Okafor", "Noor", "1980-03-04", deceased=True)
    assert give(client, code).status_code == 422
    assert ProxyGrant.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"letter": "V"}, "Choose what they may see", id="very-private"),
        pytest.param({"letter": ""}, "Choose what they may see", id="no-letter"),
        pytest.param({"end": "2001-01-01"}, "Choose a day that is still to come", id="past"),
        pytest.param({"end": "soon"}, "Choose a day that is still to come", id="no-day"),
        pytest.param({"end": "29990101"}, "Choose a day that is still to come", id="other-spelling"),
    ],
)
def test_what_does_not_fit_is_said_and_the_code_stays_good(alice: str, changes: Any, says: str) -> None:
    another("noor", "Noor")
    client, code = signed_in(), code_of(signed_in("noor"))
    answer = give(client, code, **changes)
    assert answer.status_code == 422
    assert says in answer.content.decode()
    assert "Noor Okafor" in answer.content.decode()
    assert give(client, code).status_code == 302


def test_nobody_names_himself_a_child_nobody_and_a_helper_nobody_for_another(alice: str) -> None:
    client = signed_in()
    assert give(client, code_of(client)).status_code == 422
    another("teen", "Teo", "2010-01-01")
    another("noor", "Noor")
    code = code_of(signed_in("noor"))
    answer = give(signed_in("teen"), code)
    assert (answer.status_code, "when you are of age" in answer.content.decode()) == (422, True)
    helper = signed_in("sam")
    helper.post("/my/person", {"person": alice})
    assert give(helper, code).status_code == 403
    assert helper.post("/my/helpers/code").status_code == 403
    assert ProxyGrant.objects.count() == 1


def test_who_guesses_codes_is_stopped(alice: str, settings: Any) -> None:
    settings.GUESSING_PER_MINUTE = 3
    client = signed_in()
    assert 429 in {give(client, f"AAAA-BBBB-CC{number:02}").status_code for number in range(20, 30)}


@pytest.mark.django_db(transaction=True)
def test_of_two_patients_with_one_code_one_names_the_helper(db: None) -> None:
    from tests.portal.conftest import world

    world()
    another("noor", "Noor")
    another("olu", "Olu")
    code = code_of(signed_in("noor"))
    clients = [signed_in(), signed_in("olu")]
    together, got = threading.Barrier(2), []

    def press(client: Client) -> None:
        try:
            together.wait(20)
            got.append(give(client, code).status_code)
        finally:
            connection.close()

    pressing = [threading.Thread(target=press, args=(client,)) for client in clients]
    for one in pressing:
        one.start()
    for one in pressing:
        one.join(60)
    assert sorted(got) == [302, 422]
    assert ProxyGrant.objects.count() == 2
