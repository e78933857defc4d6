"""Those who took copies by a consent are told that it ended, in ids alone; each version of a consent can be named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from consent import directives
from hie.audit.models import AuditEvent
from hie.directory import registration
from hie.exchange import consents, notices
from hie.exchange.access import Staff
from hie.outbox.models import OutboxMessage
from tests.fhir.conftest import World, provide_bundle
from tests.fhir.test_consents import consent
from tests.fhir.test_patient_notices import Consumer, _committed, consumer, revise, subscription

__all__ = ["_committed", "consumer"]

pytestmark = pytest.mark.django_db
SECRET = "Rosa"


def permitted(hub_world: World, *, read_by: Any = None) -> tuple[str, str, dict[str, Any]]:
    """A document, and the consent by which the clinic reads it: its id, the path of the bytes, the consent."""
    published = hub_world.hospital.post("", provide_bundle()).json()
    document, binary = (published["entry"][n]["response"]["location"].split("/_history")[0] for n in (1, 2))
    filed = hub_world.hospital.post("/Consent", consent(hub_world.person, decision="permit"))
    assert filed.status_code == 201, filed.content
    answer = (read_by or hub_world.clinic).get(f"/{binary}")
    assert answer.status_code == 200
    b"".join(answer.streaming_content)
    return document.rpartition("/")[2], binary, filed.json()


def ended(hub_world: World, filed: dict[str, Any]) -> None:
    answer = hub_world.hospital.call("PUT", f"/Consent/{filed['id']}", {**filed, "status": "inactive"})
    assert answer.status_code == 200, answer.content


def said(body: bytes) -> dict[str, list[str]]:
    """The parameters of a notice by name."""
    found: dict[str, list[str]] = {}
    header, parameters = (entry["resource"] for entry in json.loads(body)["entry"])
    assert header["eventUri"] == "urn:hie:fhir:consent-ended"
    for one in parameters["parameter"]:
        value = next(value for name, value in one.items() if name.startswith("value"))
        found.setdefault(one["name"], []).append(value["reference"] if isinstance(value, dict) else value)
    return found


@pytest.mark.parametrize("by", ["put", "officer"])
def test_who_took_a_copy_by_a_consent_hears_that_it_ended_and_of_what_it_took_alone(
    hub_world: World, consumer: Consumer, by: str
) -> None:
    assert hub_world.clinic.post("/Subscription", subscription(consumer.url, "Consent")).status_code == 201
    document, _, filed = permitted(hub_world)
    other = hub_world.hospital.post("", provide_bundle()).json()["entry"][1]["response"]["location"]
    if by == "put":
        ended(hub_world, filed)
    else:
        officer = Staff(user_id="ida", roles=frozenset({"privacy-officer"}), account=1)
        stored = directives.in_store(range(10_000))[0]
        consents.end(stored.id, officer, reason="court", evidence="order 7")
    assert notices.deliver_all() == 1
    ((headers, body),) = consumer.received
    assert headers["X-HIE-Signature"]
    told = said(body)
    base = "https://hub.example/fhir"
    assert told["consent"] == [f"{base}/Consent/{filed['id']}"]
    assert (told["status"], told["versionId"]) == (["inactive"], ["2"])
    assert told["document"] == [f"{base}/DocumentReference/{document}"]
    text = body.decode()
    assert SECRET not in text
    assert hub_world.person not in text
    assert other.split("/")[1] not in text
    events = {one.kind: one for one in AuditEvent.objects.exclude(detail={})}
    revoked = events["consent-revoked" if by == "put" else "staff-act"]
    assert revoked.detail["copies"] == {"held_by": ["org-clinic"], "told": ["org-clinic"]}
    sent = events["notification-sent"]
    assert (str(sent.person_id), sent.organization, sent.detail["consent"]) == (
        hub_world.person,
        "org-clinic",
        filed["id"],
    )
    assert notices.deliver_all() == 0


def test_nobody_else_is_told_and_who_did_not_ask_stands_in_the_log_as_not_told(
    hub_world: World, consumer: Consumer
) -> None:
    _, _, filed = permitted(hub_world)
    # Of those who subscribe one has no copy, one asks for patients alone.
    hub_world.hospital.post("/Subscription", subscription(consumer.url, "Consent"))
    hub_world.clinic.post("/Subscription", subscription(consumer.url))
    OutboxMessage.objects.all().delete()
    ended(hub_world, filed)
    notices.deliver_all()
    assert consumer.received == []
    revoked = AuditEvent.objects.get(kind="consent-revoked")
    assert revoked.detail["copies"] == {"held_by": ["org-clinic"], "told": []}
    # And whoever asks for consents hears nothing of patients.
    revise(birth_date="1971-04-10")
    notices.deliver_all()
    assert len(consumer.received) == 1
    assert json.loads(consumer.received[0][1])["entry"][0]["resource"]["eventUri"].startswith("urn:ihe")


def test_what_was_read_under_the_general_rule_is_no_copy_by_a_consent(hub_world: World, consumer: Consumer) -> None:
    hub_world.clinic.post("/Subscription", subscription(consumer.url, "Consent"))
    published = hub_world.hospital.post("", provide_bundle()).json()
    binary = published["entry"][2]["response"]["location"].split("/_history")[0]
    b"".join(hub_world.clinic.get(f"/{binary}").streaming_content)
    filed = hub_world.hospital.post("/Consent", consent(hub_world.person, decision="permit")).json()
    ended(hub_world, filed)
    assert "copies" not in AuditEvent.objects.get(kind="consent-revoked").detail
    assert notices.deliver_all() == 0


def test_a_suspended_holder_is_not_told_and_a_dead_endpoint_is_tried_again(
    hub_world: World, consumer: Consumer
) -> None:
    hub_world.clinic.post("/Subscription", subscription(consumer.url, "Consent"))
    _, _, filed = permitted(hub_world)
    consumer.status = 503
    ended(hub_world, filed)
    notices.deliver()
    OutboxMessage.objects.update(next_attempt_at="2026-01-01T00:00:00Z")
    consumer.status = 200
    notices.deliver()
    first, second = (said(body) for _, body in consumer.received)
    assert first == second
    # Tried again it is no second look.
    assert AuditEvent.objects.filter(kind="notification-sent").count() == 1
    OutboxMessage.objects.update(next_attempt_at="2026-01-01T00:00:00Z", delivered_at=None)
    registration.suspend("org-clinic", "unpaid", "ops")
    notices.deliver()
    assert len(consumer.received) == 2


@pytest.mark.parametrize("criteria", ["Consent?status=active", "consent", "Consents", "Consent?patient=1"])
def test_only_all_consents_can_be_asked_for(hub_world: World, consumer: Consumer, criteria: str) -> None:
    answer = hub_world.clinic.post("/Subscription", subscription(consumer.url, criteria))
    assert answer.status_code == 422
    assert answer.json()["issue"][0]["expression"] == ["Subscription.criteria"]


def test_every_version_that_a_history_lists_is_read_by_its_number_and_the_newest_is_changed_by_it(
    hub_world: World,
) -> None:
    filed = hub_world.hospital.post("/Consent", consent(hub_world.person, decision="permit")).json()
    path = f"/Consent/{filed['id']}"
    for day in ("2026-01-02", "2026-01-03"):
        assert hub_world.hospital.call("PUT", path, {**filed, "dateTime": day}).status_code == 200
    listed = hub_world.hospital.get(f"{path}/_history").json()["entry"]
    numbers = [one["resource"]["meta"]["versionId"] for one in listed]
    assert numbers == ["3", "2", "1"]
    for one in listed:
        version = one["resource"]["meta"]["versionId"]
        read = hub_world.hospital.get(f"{path}/_history/{version}")
        assert read.status_code == 200
        assert read.json() == one["resource"]
        assert read["ETag"] == f'W/"{version}"'
    for version, status in (("1", 412), ("2", 412), ("4", 412), ("3", 200)):
        again = {**filed, "dateTime": "2026-01-04"}
        changed = hub_world.hospital.call("PUT", path, again, **{"If-Match": f'W/"{version}"'})
        assert changed.status_code == status, version
    assert changed["ETag"] == 'W/"4"'
    for absent in ("0", "5", "01", "x", "99999999999999999999"):
        assert hub_world.hospital.get(f"{path}/_history/{absent}").status_code == 404
