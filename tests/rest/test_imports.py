"""`/api/patients/imports` over HTTP: who may, what is answered, what the files say (design.md, import_patients)."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from django.test import Client as Browser
from django.utils import timezone

from hie.audit.models import AuditEvent
from hie.directory import registration
from hie.exchange import imports, tasks
from hie.trust import token_service
from patients.models import ImportRun, Person
from tests.exchange.world import CLINIC_AUTHORITY, HOSPITAL_AUTHORITY, caller, exchange, feed_rosa, hospital_caller

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/api/patients/imports"
STATUS = {
    "id", "status", "read", "new", "linked", "review", "updated", "refused", "started_at", "finished_at", "links_url",
    "refused_url",
}  # fmt: skip


@pytest.fixture(autouse=True)
def place(settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.HUB_KEYS_DIR = tmp_path / "keys"
    settings.DOCUMENT_DIR = tmp_path / "documents"
    exchange()
    monkeypatch.setattr(tasks, "nudge_imports", lambda: None)


def bearer(who: Any) -> dict[str, str]:
    token = token_service.encode(who, tuple(who.scopes), now=timezone.now(), lifetime_s=300)
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


def post(body: bytes, *, query: str = "", content_type: str = "application/x-ndjson", who: Any = None) -> Any:
    headers = bearer(who or caller())
    return Browser().post(f"{PATH}{query}", data=body, content_type=content_type, **headers)  # type: ignore[arg-type]


def get(url: str, *, who: Any = None) -> Any:
    return Browser().get(url.removeprefix("http://127.0.0.1:8000"), **bearer(who or caller()))  # type: ignore[arg-type]


def told(url: str, **more: Any) -> list[dict[str, Any]]:
    answer = get(url, **more)
    assert answer.status_code == 200, answer.content
    return [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]


def patient(value: str, family: str, authority: str = CLINIC_AUTHORITY) -> bytes:
    return json.dumps(
        {
            "resourceType": "Patient",
            "identifier": [{"system": f"urn:oid:{authority}", "value": value}],
            "name": [{"family": family, "given": ["Rosamund", "Ivy"]}],
            "gender": "female",
            "birthDate": "1971-04-09",
            "address": [{"line": ["7 Tern Street"], "city": "Velmoor", "postalCode": "40129"}],
            "telecom": [{"system": "phone", "value": "+12025550119"}],
        }
    ).encode()


def test_an_import_is_taken_followed_and_told_line_by_line() -> None:
    rosa = feed_rosa()
    other = patient("C2", "Holloway").replace(b"1971", b"1933").replace(b"Rosamund", b"Bert").replace(b"0119", b"7733")
    body = b"\n".join([patient("C1", "Quarrel"), b"nonsense", other.replace(b"7 Tern", b"90 Elm")])
    answer = post(body, query="?participant=org-clinic")
    assert answer.status_code == 202, answer.content
    begun = answer.json()
    assert set(begun) == STATUS
    assert (begun["status"], begun["finished_at"], begun["links_url"]) == ("running", None, None)
    assert answer["Location"].endswith(f"{PATH}/{begun['id']}")
    running = get(answer["Location"] + "/links")
    assert (running.status_code, running.json()["error"]["field"]) == (422, "status")

    assert imports.carry_on() == 1
    done = get(answer["Location"]).json()
    assert set(done) == STATUS
    counts = {name: done[name] for name in ("status", "read", "new", "linked", "review", "updated", "refused")}
    assert counts == {"status": "done", "read": 3, "new": 1, "linked": 1, "review": 0, "updated": 0, "refused": 1}
    assert done["finished_at"].endswith("Z")

    path = done["links_url"].removeprefix("http://127.0.0.1:8000")
    for accept in ("application/x-ndjson", "application/json", "*/*"):
        assert Browser().get(path, HTTP_ACCEPT=accept, **bearer(caller())).status_code == 200  # type: ignore[arg-type]
    lines = told(done["links_url"])
    assert [line["outcome"] for line in lines] == ["linked", "refused", "new"]
    assert lines[0]["person"] == rosa
    assert lines[0]["identifier"] == f"urn:oid:{CLINIC_AUTHORITY}|C1"
    assert lines[0]["score"] > 0.99
    # In which fields another organization's record agrees is that one's to tell.
    assert "reason" not in lines[0]
    assert told(done["refused_url"]) == [{"line": 2, "identifier": "", "reason": "line 2: not JSON"}]
    assert imports.carry_on() == 0


def test_the_import_and_each_look_at_its_lines_stand_in_the_log() -> None:
    run = post(patient("C1", "Quarrel")).json()
    imports.carry_on()
    told(f"{PATH}/{run['id']}/links")
    events = AuditEvent.objects.filter(kind="patient-import").order_by("at")
    assert [(event.action, event.participant, event.detail["run"]) for event in events] == [
        ("C", "org-clinic", run["id"]),
        ("C", "org-clinic", run["id"]),
        ("R", "org-clinic", run["id"]),
    ]
    assert {event.user for event in events} == {"Practitioner/ada"}
    assert events[1].detail["new"] == 1


@pytest.mark.parametrize(
    ("query", "who", "body", "content_type", "status", "field"),
    [
        pytest.param("?participant=org-hospital", {}, b"{}", "application/x-ndjson", 403, None, id="another's"),
        pytest.param("?participant=nobody", {}, b"{}", "application/x-ndjson", 403, None, id="nobody"),
        pytest.param("", {"scopes": frozenset({"system/Patient.rs"})}, b"{}", "application/x-ndjson", 403, None, id="scope"),
        pytest.param("", {}, gzip.compress(b""), "application/gzip", 422, None, id="empty"),
        pytest.param("", {}, b"\n\n", "application/x-ndjson", 422, None, id="blank"),
        pytest.param("", {}, b"{}", "image/png", 415, None, id="type"),
        pytest.param("?columns=7", {}, b"id,family\n1,x\n", "text/csv", 422, "columns", id="map"),
        pytest.param("?columns={%22shoe%22:%22id%22}", {}, b"id,family\n1,x\n", "text/csv", 422, "columns.shoe", id="field"),
        pytest.param("", {}, gzip.compress(b"id,family\n")[:-6], "application/gzip", 422, None, id="broken"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_refused_at_once_and_leaves_no_run(
    query: str, who: dict[str, Any], body: bytes, content_type: str, status: int, field: str | None
) -> None:
    assert post(patient("C9", "Quarrel")).status_code == 202  # the good case: nothing else stands in the way
    answer = post(body, query=query, content_type=content_type, who=caller(**who))
    assert answer.status_code == status, answer.content
    assert answer.json()["error"]["field"] == field
    assert ImportRun.objects.count() == 1


def test_anothers_import_is_as_absent_as_none() -> None:
    run = post(patient("C1", "Quarrel")).json()
    imports.carry_on()
    for path in (f"{PATH}/{run['id']}", f"{PATH}/{run['id']}/links", f"{PATH}/{run['id']}/refused"):
        other = get(path, who=hospital_caller())
        none = get(path.replace(run["id"], "0" * 8 + run["id"][8:]), who=hospital_caller())
        assert (other.status_code, other.content) == (none.status_code, none.content)
        assert other.status_code == 404
        assert get(path).status_code == 200


def test_a_suspended_participant_imports_nothing_and_its_waiting_run_fails_with_the_reason() -> None:
    run = post(patient("C1", "Quarrel")).json()
    registration.suspend("org-clinic", "unpaid", "ops")
    assert imports.carry_on() == 0
    row = ImportRun.objects.get(pk=run["id"])
    assert (row.status, row.message) == ("failed", "participant org-clinic is not active")
    assert Person.objects.count() == 0
    assert post(patient("C2", "Quarrel")).status_code == 401


def test_a_stolen_identifier_and_a_packed_csv_are_judged_like_anywhere() -> None:
    stolen = json.loads(patient("C1", "Quarrel"))
    stolen["identifier"].append({"system": f"urn:oid:{HOSPITAL_AUTHORITY}", "value": "P1"})
    post(json.dumps(stolen).encode())
    packed = post(gzip.compress(b"mrn,last_name\n7,Quarrel\n"), content_type="application/gzip").json()
    assert imports.carry_on() == 2
    first, second = ImportRun.objects.order_by("started_at")
    assert (first.refused, first.new) == (1, 0)
    assert str(second.pk) == packed["id"]
    assert (second.refused, second.new) == (0, 1)
