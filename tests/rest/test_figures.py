"""A participant's own view over the API: its own acts whole, of others only what eleven patients and more stand behind."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from hie.audit.models import AuditEvent
from hie.directory import registration
from hie.exchange import own_figures
from hie.exchange.figures import Period
from hie.standards.facts import Caller
from tests.directory.forms import clinic, file, hospital
from tests.exchange import figures_made, world
from tests.fhir.conftest import hub, hub_world  # noqa: F401 - fixtures
from tests.leaks.walking import token

pytestmark = pytest.mark.django_db

TODAY = date(2026, 11, 20)


@pytest.fixture(autouse=True)
def _place(hub: None, settings: Any) -> None:  # noqa: F811
    settings.ROOT_URLCONF = "hie.urls"
    own_rule = {"id": "RR-1", "recipients": ["org-payer"], "purposes": ["HPAYMT"], "absolute": True}
    payer = {"id": "org-payer", "name": "The Payer", "type": "payer", "organization_oid": "2.999.10.3", "scopes": [], "purposes": ["HPAYMT", "HOPERAT"]}  # fmt: skip
    police = {"id": "org-police", "name": "The Police", "type": "law-enforcement", "organization_oid": "2.999.10.8", "scopes": [], "purposes": ["HLEGAL"]}  # fmt: skip
    registration.apply(file(clinic(purposes=["TREAT", "HOPERAT"]), hospital(users=[], purposes=["TREAT", "HOPERAT"], release_policy=[own_rule]), payer, police))  # fmt: skip
    figures_made.busy(timezone.now().date())


def get(caller: Caller, query: str = "") -> tuple[int, Any]:
    answer = Client().get(f"/api/participants/self/figures{query}", HTTP_AUTHORIZATION=f"Bearer {token(caller)}")
    return answer.status_code, json.loads(answer.content)


def office(**changes: Any) -> Caller:
    return world.hospital_caller(purpose="HOPERAT", role="quality", **changes)


def test_its_own_acts_are_told_whole_and_only_its_own() -> None:
    status, body = get(office(), "?period=7")
    assert status == 200
    assert [one["id"] for one in body["participants"]] == ["org-hospital"]
    assert len({one["on"] for one in body["asked"]}) == 7
    assert {one["what"] for one in body["asked"]} == {"find-documents", "read-document"}
    assert {(one["came"]) for one in body["sent_as"]} == {"answered", "partly", "refused", "failed"}
    assert body["refused_at_the_door"] == 14
    assert body["messages"] == [
        {"status": "accepted", "protocol": "hl7v2", "messages": 350, "again": 0},
        {"status": "refused", "protocol": "hl7v2", "messages": 14, "again": 7},
    ]
    assert {one["field"]: one["of"] for one in body["document_fields"]}["title"] == 280
    assert body["records"] == {"in_use": 900, "one_too_many": 10}
    mine = get(world.caller(purpose="HOPERAT", role="quality"), "?period=7")[1]
    assert mine["asked"] != body["asked"]


def test_nothing_says_what_came_of_what_it_asked() -> None:
    body = get(office())[1]
    assert {key for one in body["asked"] for key in one} == {"on", "what", "requests"}
    assert "partly" not in json.dumps(body["asked"])
    assert "denied" not in json.dumps(body)
    assert "D3" not in json.dumps(body)


def test_others_are_told_of_by_whole_months_and_no_small_group() -> None:
    now = datetime(2026, 12, 20, tzinfo=UTC)
    at = Period(key="90", name="", since=TODAY - timedelta(days=60), until=TODAY + timedelta(days=30))
    months = own_figures.closed_months(at, now)
    assert months == (date(2026, 9, 1), date(2026, 10, 1), date(2026, 11, 1))
    assert own_figures.closed_months(at, datetime(2026, 12, 2, 23, tzinfo=UTC)) == months[:2]
    found = own_figures.asked_for(["org-hospital"], [timezone.now().date().replace(day=1)])
    assert {(one.organization, one.purpose) for one in found} == {
        ("org-clinic", "TREAT")
    }  # three people, and a court: not


def test_who_may_ask_goes_by_agreements_and_its_own_rules() -> None:
    body = get(office())[1]
    assert [(one["organization"]["id"], one["purposes"], one["limited"]) for one in body["may_ask"]] == [
        ("org-clinic", ["HOPERAT", "TREAT"], False),
        ("org-payer", ["HOPERAT"], True),
    ]
    registration.suspend("org-clinic", reason="test", actor="test")
    assert [one["organization"]["id"] for one in get(office())[1]["may_ask"]] == ["org-payer"]


@pytest.mark.parametrize(
    ("caller", "query", "status"),
    [
        pytest.param(world.hospital_caller(purpose="TREAT"), "", 403, id="for treatment"),
        pytest.param(
            world.hospital_caller(purpose="HOPERAT", role="patient", user_id="Patient/x"), "", 403, id="a patient"
        ),
        pytest.param(office(), "?period=5", 422, id="no such period"),
        pytest.param(office(), "?period=2019-01", 422, id="too long ago"),
        pytest.param(office(), "?participant=org-clinic", 422, id="another's"),
    ],
)
def test_who_may_not_and_what_is_not_understood(caller: Caller, query: str, status: int) -> None:
    assert get(caller, query)[0] == status


def test_a_suspended_participant_reads_nothing() -> None:
    registration.suspend("org-hospital", reason="test", actor="test")
    assert get(office())[0] in (401, 403)


def test_every_look_and_refusal_is_recorded() -> None:
    get(office(), "?period=90")
    get(world.hospital_caller(purpose="TREAT"))
    events = list(
        AuditEvent.objects.filter(kind="ITI-81").order_by("at").values_list("outcome", "participant", "person_id")
    )
    assert events == [(0, "org-hospital", None), (4, "org-hospital", None)]
    assert AuditEvent.objects.get(kind="ITI-81", outcome=0).detail == {"what": "own figures", "period": "90"}


def test_it_costs_the_same_whatever_there_is(django_assert_max_num_queries: Any) -> None:
    get(office())
    with django_assert_max_num_queries(25):
        get(office(), "?period=365")


def test_the_description_names_it() -> None:
    schema = Client().get("/api/schema", HTTP_ACCEPT="application/json").content.decode()
    assert "/api/participants/self/figures" in schema
    assert "OwnFiguresOutput" in schema or "OwnFigures" in schema
