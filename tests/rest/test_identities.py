"""`/api/identities/`: changes of identity by an entrusted client, undone exactly; who was who on a day."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client as Browser
from django.utils import timezone

from hie.audit.models import AuditEvent
from hie.directory import registration
from hie.exchange import feed
from hie.trust import token_service
from patients import identifiers
from tests.directory.forms import clinic, file, hospital
from tests.exchange.world import CLINIC_AUTHORITY, HOSPITAL_AUTHORITY, caller, hospital_caller, rosa
from tests.patients import state

pytestmark = pytest.mark.django_db(transaction=True)

SCOPES = frozenset({"system/*.cruds", "hie:stewardship"})
WHY = "Same passport, asked by phone"


@pytest.fixture(autouse=True)
def place(settings: Any, tmp_path: Any) -> None:
    settings.HUB_KEYS_DIR = tmp_path / "keys"
    register()


def register(*silent: dict[str, Any]) -> None:
    """Clinic and hospital, both entrusted; `silent` are rules of the hospital against releasing."""
    scopes = sorted(SCOPES)
    registration.apply(file(clinic(scopes=scopes), hospital(users=[], scopes=scopes, release_policy=list(silent))))


SILENT = {"id": "S1", "recipients": ["org-clinic"], "absolute": True}


def fed(value: str, given: str = "Rosamund", born: str = "1971-04-09", **more: Any) -> str:
    """The hospital feeds a woman, and the clinic where its authority is given; her person id."""
    who, authority = (
        (caller(), CLINIC_AUTHORITY) if more.pop("clinic", False) else (hospital_caller(), HOSPITAL_AUTHORITY)
    )
    name = rosa(value).names[0]
    said = rosa(value, names=(replace(name, given=(given,)),), birth_date=born, identifiers=(), **more)
    result = feed.feed(feed.Revision(authority=authority, value=value, demographics=said), who).result
    assert result is not None
    return str(result.person_id)


def two() -> tuple[str, str]:
    """Two persons: sisters, one at the hospital and the clinic, one at the hospital alone."""
    one = fed("P1")
    assert fed("C1", clinic=True) == one
    other = fed("P2", "Beatrix", "1975-11-30", telecoms=())
    assert other != one
    return one, other


def bearer(**changes: Any) -> dict[str, str]:
    who = hospital_caller(**{"scopes": SCOPES} | changes)
    token = token_service.encode(who, tuple(who.scopes), now=timezone.now(), lifetime_s=300)
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


def post(path: str, body: Any, **changes: Any) -> Any:
    raw = body if isinstance(body, str) else json.dumps({"reason": WHY} | body)
    headers = bearer(**changes)
    return Browser().post(f"/api/identities/{path}", data=raw, content_type="application/json", **headers)  # type: ignore[arg-type]


def history(value: str, at: datetime | str, *, system: str = f"urn:oid:{HOSPITAL_AUTHORITY}", **changes: Any) -> Any:
    asked = {"system": system, "value": value, "at": at if isinstance(at, str) else at.isoformat()}
    return Browser().get("/api/identities/history", asked, **bearer(**changes))  # type: ignore[arg-type]


def hospital_id(value: str) -> dict[str, str]:
    return {"system": f"urn:oid:{HOSPITAL_AUTHORITY}", "value": value}


def requests(one: str, other: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Each verb with a body that it takes."""
    return {
        "merge": ("merges", {"survivor": f"Patient/{one}", "subsumed": f"Patient/{other}"}),
        "link": ("links", {"identifier": hospital_id("P2"), "person": f"Patient/{one}"}),
        "unlink": ("unlinks", {"identifier": hospital_id("P1")}),
        "split": ("splits", {"person": f"Patient/{one}", "identifiers": [hospital_id("P1")]}),
    }


@pytest.mark.parametrize(
    ("verb", "kind", "logged"),
    [
        ("merge", "merged", "identity-merge"),
        ("link", "linked", "identity-link"),
        ("unlink", "unlinked", "identity-unlink"),
        ("split", "split", "identity-unlink"),
    ],
)
def test_a_change_is_made_logged_for_everybody_concerned_and_undone_exactly(verb: str, kind: str, logged: str) -> None:
    one, other = two()
    before = state.dump()
    answer = post(*requests(one, other)[verb])
    assert answer.status_code == 201, answer.content
    made = answer.json()
    assert set(made) == {"event", "kind", "at", "persons", "undoes"}
    assert (made["kind"], made["undoes"]) == (kind, None)
    after = state.dump()
    assert after != before
    events = AuditEvent.objects.filter(kind=logged)
    assert {f"Patient/{event.person_id}" for event in events} == {person["reference"] for person in made["persons"]}
    assert {(event.user, event.participant) for event in events} == {("Practitioner/north", "org-hospital")}
    undone = post(f"events/{made['event']}/undo", {})
    assert (undone.status_code, undone.json()["undoes"]) == (201, made["event"])
    assert state.dump() == before
    again = post(f"events/{made['event']}/undo", {})
    assert (again.status_code, again.json()["error"]["code"]) == (422, "already-undone")
    assert post(f"events/{undone.json()['event']}/undo", {}).status_code == 201
    assert state.dump() == after


def test_who_was_merged_away_is_unmerged_by_her_own_id() -> None:
    one, other = two()
    before = state.dump()
    assert post(*requests(one, other)["merge"]).status_code == 201
    answer = post("unmerges", {"person": f"Patient/{other}"})
    assert (answer.status_code, answer.json()["kind"]) == (201, "unmerged")
    assert state.dump() == before
    assert post("unmerges", {"person": f"Patient/{other}"}).status_code == 404


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ({"scopes": frozenset({"system/*.cruds"})}, 403),
        ({"role": None, "purpose": None}, 403),
        ({}, 201),
    ],
)
def test_only_an_entrusted_client_with_a_purpose_changes_identities(who: dict[str, Any], status: int) -> None:
    one, other = two()
    before = state.dump()
    made = [post(path, body, **who).status_code for path, body in requests(one, other).values()][:1]
    assert made == [status]
    assert (state.dump() == before) is (status == 403)
    if status == 403:
        refused = AuditEvent.objects.filter(kind="identity-merge", outcome=4)
        assert refused.count() == 1


@pytest.mark.parametrize("verb", ["merge", "link", "unlink", "split"])
def test_a_patient_not_to_be_known_is_answered_like_one_that_is_not(verb: str) -> None:
    one, other = two()
    event = post(*requests(one, other)["merge"]).json()["event"]
    assert post(f"events/{event}/undo", {}).status_code == 201
    register(SILENT)
    before = state.dump()
    as_clinic = {"participant_id": "org-clinic", "organization_id": "org-clinic", "client_id": "org-clinic"}
    path, body = requests(one, other)[verb]
    hidden = post(path, body, **as_clinic)
    path, body = requests(str(uuid.uuid4()), str(uuid.uuid4()))[verb]
    for absent in ("P2", "P1"):
        body = json.loads(json.dumps(body).replace(f'"{absent}"', f'"X{absent}"'))
    missing = post(path, body, **as_clinic)
    assert (hidden.status_code, hidden.content) == (missing.status_code, missing.content)
    assert hidden.status_code == 404
    assert post(f"events/{event}/undo", {}, **as_clinic).status_code == 404
    assert history("P2", timezone.now(), **as_clinic).status_code == 404
    assert state.dump() == before


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("merges", {"survivor": "Patient/1", "subsumed": f"Patient/{uuid.UUID(int=1)}"}, 422, "survivor"),
        ("merges", {"survivor": f"Patient/{uuid.UUID(int=1)}"}, 422, "subsumed"),
        ("merges", {"survivor": f"Patient/{uuid.UUID(int=1)}", "subsumed": 7}, 422, "subsumed"),
        (
            "links",
            {"identifier": {"system": "urn:oid:1.2"}, "person": f"Patient/{uuid.UUID(int=1)}"},
            422,
            "identifier.value",
        ),
        ("unlinks", {"identifier": hospital_id("P1"), "more": 1}, 422, "more"),
        ("unlinks", {"identifier": hospital_id("P\x00")}, 400, None),
        ("unlinks", {"identifier": hospital_id("P1"), "reason": "  "}, 422, "reason"),
        ("unlinks", {"identifier": hospital_id("P1"), "reason": "x" * 501}, 422, "reason"),
        ("splits", {"person": f"Patient/{uuid.UUID(int=1)}", "identifiers": []}, 422, "identifiers"),
        ("merges", "nonsense", 400, None),
        ("merges", " " * 3_000_000, 413, None),
        ("events/no-id/undo", {}, 404, None),
        (f"events/{uuid.UUID(int=1)}/undo", {}, 404, None),
        ("unlinks", {"identifier": {"system": "urn:oid:1.2.3", "value": "P1"}}, 404, None),
    ],
)
def test_what_cannot_be_used_names_its_member_and_changes_nothing(
    path: str, body: Any, status: int, field: str | None
) -> None:
    two()
    before = state.dump()
    answer = post(path, body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (status, field), answer.content
    assert state.dump() == before


def test_what_contradicts_the_index_is_refused_and_changes_nothing() -> None:
    one, other = two()
    before = state.dump()
    for path, body in (
        ("merges", {"survivor": f"Patient/{one}", "subsumed": f"Patient/{one}"}),
        ("links", {"identifier": hospital_id("P1"), "person": f"Patient/{one}"}),
        ("unlinks", {"identifier": hospital_id("P2")}),
        ("splits", {"person": f"Patient/{other}", "identifiers": [hospital_id("P1")]}),
    ):
        answer = post(path, body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid-merge")
    assert state.dump() == before


def test_who_an_identifier_was_on_a_day_is_what_the_hub_held_then() -> None:
    unborn = timezone.now()
    one, other = two()
    apart = timezone.now()
    merged = post(*requests(one, other)["merge"]).json()
    together = timezone.now()
    post(f"events/{merged['event']}/undo", {})
    parted = timezone.now()

    assert history("P2", unborn).status_code == 404
    then = history("P2", apart).json()
    assert (then["person"]["reference"], then["identifiers"]) == (f"Patient/{other}", [])
    assert then["why"]["kind"] == "auto"
    then = history("P2", together).json()
    assert then["person"]["reference"] == f"Patient/{one}"
    assert {item["value"] for item in then["identifiers"]} == {"P1", "C1"}
    assert then["why"] == {"kind": "manual", "reason": WHY, "event": merged["event"], "event_kind": "merged"}
    assert then["now"]["reference"] == f"Patient/{other}"
    assert then["until"] is not None
    then = history("P2", parted).json()
    assert (then["person"]["reference"], then["identifiers"], then["until"]) == (f"Patient/{other}", [], None)
    assert then["why"]["kind"] == "auto"
    assert {f"Patient/{event.person_id}" for event in AuditEvent.objects.filter(kind="identity-history", outcome=0)} >= {
        f"Patient/{one}", f"Patient/{other}"
    }  # fmt: skip


def test_history_names_no_identifier_and_no_person_that_is_not_to_be_known() -> None:
    one, other = two()
    merged = post(*requests(one, other)["merge"]).json()
    together = timezone.now()
    post(f"events/{merged['event']}/undo", {})
    register(SILENT)
    as_clinic = {"participant_id": "org-clinic", "organization_id": "org-clinic", "client_id": "org-clinic"}
    answer = history("C1", together, system=f"urn:oid:{CLINIC_AUTHORITY}", **as_clinic)
    assert answer.status_code == 200, answer.content
    assert answer.json()["identifiers"] == []
    assert answer.json()["why"]["reason"] is None
    assert "P2" not in answer.content.decode()
    assert other not in answer.content.decode()


def test_a_removed_record_has_no_history_to_tell() -> None:
    two()
    then = timezone.now()
    assert history("P2", then).status_code == 200
    feed.remove(HOSPITAL_AUTHORITY, "P2", hospital_caller())
    assert history("P2", then).status_code == 404


@pytest.mark.parametrize(
    ("at", "field"),
    [("2026-03-01T12:00:00", "at"), ("yesterday", "at"), ("", "at"), (datetime(2999, 1, 1, tzinfo=UTC), "at")],
)
def test_an_instant_that_is_none_or_is_to_come_is_refused(at: Any, field: str) -> None:
    two()
    answer = history("P1", at)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


def test_documents_and_anchors_follow_the_person_by_her_identifiers() -> None:
    one, other = two()
    anchor = identifiers.anchor(uuid.UUID(other))
    merged = post(*requests(one, other)["merge"]).json()
    assert identifiers.person_of_pk(anchor.pk) == uuid.UUID(one)
    post(f"events/{merged['event']}/undo", {})
    assert identifiers.person_of_pk(anchor.pk) == uuid.UUID(other)
