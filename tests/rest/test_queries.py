"""`/api/queries` over HTTP: real tokens, real peers, the forms of design.md."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client as Browser
from django.test import RequestFactory

from hie.exchange import loop, tasks, waiting
from hie.faces.rest import queries
from hie.trust import token_service
from tests.exchange.world import HOSPITAL_AUTHORITY, Peers, caller, community_at, exchange, feed_rosa, peers

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Any) -> Iterator[Peers]:
    settings.HUB_KEYS_DIR = tmp_path / "keys"
    with peers() as running:
        fan_out = loop.FanOut()
        fan_out.start()
        monkeypatch.setattr(tasks, "nudge", lambda query_id: fan_out.nudge())
        yield running
        fan_out.stop()


def bearer(**changes: Any) -> dict[str, str]:
    """A token of Dr Moor's, as the token service writes it."""
    from django.utils import timezone

    who = caller(**changes)
    token = token_service.encode(who, tuple(who.scopes), now=timezone.now(), lifetime_s=300)
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


def post(body: Any, **headers: str) -> Any:
    raw = body if isinstance(body, str | bytes) else json.dumps(body)
    return Browser().post("/api/queries", data=raw, content_type="application/json", **(bearer() | headers))


def rosa() -> dict[str, Any]:
    return {"patient": {"identifier": {"system": f"urn:oid:{HOSPITAL_AUTHORITY}", "value": "P1"}}, "deadline_s": 5}


def test_whoever_sends_a_question_slowly_keeps_nobody_from_asking(others: Peers) -> None:
    exchange()
    free: list[int] = []

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            free.append(waiting.ROOM._places._value)  # how many places are left
            return super().read(size)

    body = json.dumps(rosa()).encode()
    request = RequestFactory().post("/api/queries", data=body, content_type="application/json", **bearer())
    request._stream = Slow(body)
    assert queries.Queries.as_view()(request).status_code == 404
    assert free
    assert min(free) == 3


def test_a_query_waited_for_answers_200_with_every_target_and_document(others: Peers) -> None:
    exchange(community_at(1, others.port), community_at(2, 1))
    person_id = feed_rosa()
    answer = post(rosa(), HTTP_PREFER="wait=5")
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert set(body) == {
        "id",
        "status",
        "created_at",
        "deadline_at",
        "completed_at",
        "patient",
        "purpose",
        "targets",
        "documents",
    }
    assert body["status"] == "complete"
    assert body["patient"] == {"reference": f"Patient/{person_id}"}
    assert body["purpose"] == "TREAT"
    states = {target["id"]: target["status"] for target in body["targets"]}
    assert states["urn:oid:2.999.30.1"] == "answered"
    assert states["urn:oid:2.999.30.2"] == "down"
    assert [document["resourceType"] for document in body["documents"]] == ["DocumentReference"]
    assert answer["Cache-Control"] == "no-store"


def test_a_query_not_waited_for_is_202_with_its_location_and_can_be_polled_and_cancelled(others: Peers) -> None:
    exchange(community_at(1, others.port))
    feed_rosa()
    others[1].mode, others[1].delay_s = "slow", 20
    started = post(rosa())
    assert started.status_code == 202
    path = started["Location"].split("/api", 1)[1]
    read = Browser().get(f"/api{path}", **bearer())
    assert read.json()["status"] == "running"
    assert Browser().delete(f"/api{path}", **bearer()).status_code == 204
    assert Browser().get(f"/api{path}", **bearer()).json()["status"] == "cancelled"


def test_anothers_and_an_unknown_query_are_one_404(others: Peers) -> None:
    exchange(community_at(1, others.port))
    feed_rosa()
    started = post(rosa())
    path = "/api" + started["Location"].split("/api", 1)[1]
    other = bearer(user_id="Practitioner/other")
    hidden = Browser().get(path, **other)
    unknown = Browser().get("/api/queries/00000000-0000-4000-8000-000000000000", **other)
    assert hidden.status_code == unknown.status_code == 404
    assert hidden.content == unknown.content


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param({"colour": "red"}, "colour", id="unknown-member"),
        pytest.param(
            {"patient": {"identifier": {"system": "urn:oid:1.2", "value": "x", "extra": 1}}},
            "patient.identifier.extra",
            id="unknown-inner-member",
        ),
        pytest.param({"patient": {}}, "patient", id="patient-unnamed"),
        pytest.param({"deadline_s": 0}, "deadline_s", id="deadline-too-short"),
        pytest.param({"deadline_s": "soon"}, "deadline_s", id="deadline-no-number"),
        pytest.param({"deadline_s": "nan"}, "deadline_s", id="deadline-not-a-number-in-words"),
        pytest.param({"deadline_s": "5"}, "deadline_s", id="deadline-as-text"),
        pytest.param({"deadline_s": True}, "deadline_s", id="deadline-as-truth"),
        pytest.param({"filter": {"shape": ["round"]}}, "filter.shape", id="unknown-filter"),
        pytest.param({"targets": ["urn:oid:2.999.404"]}, "targets", id="unknown-target"),
        pytest.param({"patient": {"reference": "Practitioner/1"}}, "patient.reference", id="wrong-reference"),
    ],
)
def test_what_is_wrong_is_named(others: Peers, change: dict[str, Any], field: str) -> None:
    exchange(community_at(1, others.port))
    feed_rosa()
    answer = post(rosa() | change)
    assert answer.status_code == 422, answer.content
    assert answer.json()["error"]["field"] == field


HOSTILE = {
    "cut": "{",
    "list": "[]",
    "text": '"x"',
    "not-utf-8": b"\xff\xfe",
    "null": "null",
    "cut-later": '{"patient": ',
    "too-deep": "[" * 100_000,
    "too-deep-object": '{"patient":' * 20_000 + "1" + "}" * 20_000,
    "member-twice": '{"patient": {"reference": "Patient/1"}, "patient": {"reference": "Patient/2"}}',
    "many-digits": '{"deadline_s": ' + "9" * 5000 + "}",
    "nan": '{"deadline_s": NaN}',
    "nul": '{"patient": {"reference": "Patient/\\u0000"}}',
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_body_that_is_no_json_object_is_refused_in_the_one_form(others: Peers, body: Any) -> None:
    exchange(community_at(1, others.port))
    answer = post(body)
    assert answer.status_code in (400, 422), answer.content
    assert set(answer.json()) == {"error"}


def test_a_body_longer_than_any_question_is_refused(others: Peers) -> None:
    exchange(community_at(1, others.port))
    assert post('{"patient": {}}' + " " * (1 << 20)).status_code == 413


def test_without_a_token_nothing_is_said(others: Peers) -> None:
    answer = Browser().post("/api/queries", data="{}", content_type="application/json")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthenticated"
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_a_caller_without_purpose_is_refused_before_the_patient_is_looked_up(others: Peers) -> None:
    exchange(community_at(1, others.port))
    feed_rosa()
    headers = bearer(purpose=None, role=None)
    known = Browser().post("/api/queries", data=json.dumps(rosa()), content_type="application/json", **headers)
    invented = rosa()
    invented["patient"]["identifier"]["value"] = "nobody"
    unknown = Browser().post("/api/queries", data=json.dumps(invented), content_type="application/json", **headers)
    assert known.status_code == unknown.status_code == 403
    assert known.content == unknown.content


def test_the_stream_ends_with_done_and_resumes_after_an_event(others: Peers) -> None:
    exchange(community_at(1, others.port))
    feed_rosa()
    path = "/api" + post(rosa(), HTTP_PREFER="wait=5")["Location"].split("/api", 1)[1]
    stream = Browser().get(f"{path}/events", **bearer())
    assert stream["Content-Type"] == "text/event-stream"
    text = b"".join(stream.streaming_content).decode()  # type: ignore[attr-defined]  # the client's answer is a stream or whole
    kinds = [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]
    assert kinds[-1] == "done"
    assert kinds.count("document") == 1
    last = [line.removeprefix("id: ") for line in text.splitlines() if line.startswith("id: ")][-2]
    rest = Browser().get(f"{path}/events", HTTP_LAST_EVENT_ID=last, **bearer())
    assert b"".join(rest.streaming_content).decode().count("event: ") == 1  # type: ignore[attr-defined]  # the client's answer is a stream or whole


def test_the_schema_names_the_paths(client: Any) -> None:
    schema = client.get("/api/schema", HTTP_ACCEPT="application/vnd.oai.openapi+json")
    assert schema.status_code == 200
    body = schema.json()
    assert body["openapi"].startswith("3.1")
    assert "/api/queries" in body["paths"]
    assert "/api/queries/{query_id}" in body["paths"]
