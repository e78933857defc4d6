"""PMIR: subscriptions, what their endpoints are told and who is told nothing; the feed by message."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest

from hie.audit.models import AuditEvent, Disclosure
from hie.directory import registration
from hie.exchange import feed, notices, retention
from hie.exchange.models import Subscription
from hie.outbox import outbox
from hie.outbox.models import OutboxMessage
from hie.trust import hub_keys
from patients import identifiers, linking
from tests.directory.forms import clinic, file
from tests.exchange import people, world
from tests.fhir.conftest import Api, World
from tests.trust import conftest as trust

pytestmark = pytest.mark.django_db

EVENT = "urn:ihe:iti:pmir:2019:patient-feed"


class Consumer:
    """An endpoint on loopback that keeps what it is sent and answers as it is told."""

    def __init__(self) -> None:
        self.status = 200
        self.received: list[tuple[dict[str, str], bytes]] = []
        consumer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                consumer.received.append((dict(self.headers), body))
                self.send_response(consumer.status)
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/feed"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def patients(self) -> list[dict[str, Any]]:
        """The history entries of all messages, in order."""
        return [entry for _, body in self.received for entry in json.loads(body)["entry"][1]["resource"]["entry"]]


@pytest.fixture(autouse=True)
def _committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Senders look again on a connection of their own, which sees nothing of a test's transaction.

    That they look is held by tests/exchange/test_release.py, which commits.
    """
    monkeypatch.setattr(notices, "_stands", lambda basis: True)


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    one = Consumer()
    yield one
    one.server.shutdown()
    one.server.server_close()


class MllpConsumer:
    """An MLLP listener on loopback that acknowledges with one code."""

    def __init__(self) -> None:
        self.code = "AA"
        self.received: list[str] = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"mllp://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection:
                data = b""
                while piece := connection.recv(65536):
                    data += piece
                    while b"\x1c\r" in data:
                        block, _, data = data.partition(b"\x1c\r")
                        message = block.lstrip(b"\x0b").decode()
                        self.received.append(message)
                        control_id = message.split("|")[9]
                        reply = f"MSH|^~\\&|C|S|HIE||20260101||ACK^A31^ACK|1|P|2.5\rMSA|{self.code}|{control_id}\r"
                        connection.sendall(b"\x0b" + reply.encode() + b"\x1c\r")


@pytest.fixture
def mllp() -> Iterator[MllpConsumer]:
    one = MllpConsumer()
    yield one
    one.server.close()


def subscription(endpoint: str, criteria: str = "Patient", **changes: Any) -> dict[str, Any]:
    whole = {
        "resourceType": "Subscription",
        "status": "requested",
        "contact": [{"system": "phone", "value": "+12025550100"}],
        "reason": "keep our copy in step",
        "criteria": criteria,
        "channel": {"type": "message", "endpoint": endpoint, "payload": "application/fhir+json"},
    } | changes
    return {key: value for key, value in whole.items() if value is not None}


def revise(value: str = "P1", **changes: Any) -> None:
    feed.feed(
        feed.Revision(authority=world.HOSPITAL_AUTHORITY, value=value, demographics=world.rosa(value, **changes)),
        world.hospital_caller(),
    )


def stranger(value: str) -> None:
    """A hospital patient who is nobody else's."""
    from hie.standards.demographics import HumanName

    name = HumanName(family="Oddfellow", given=("Barnaby",), use="official")
    revise(value, names=(name,), birth_date="1933-11-30", gender="male", addresses=(), telecoms=())


def test_a_subscriber_is_told_of_a_change_in_a_signed_message(hub_world: World, consumer: Consumer) -> None:
    answer = hub_world.clinic.post("/Subscription", subscription(consumer.url))
    assert (answer.status_code, answer.json()["status"]) == (201, "active")
    revise(birth_date="1971-04-10")
    assert notices.deliver_all() == 1
    ((headers, body),) = consumer.received
    message = json.loads(body)
    header, history = (entry["resource"] for entry in message["entry"])
    assert (message["type"], header["eventUri"], history["type"]) == ("message", EVENT, "history")
    assert header["focus"][0]["reference"] == message["entry"][1]["fullUrl"]
    (entry,) = history["entry"]
    assert entry["request"] == {"method": "PUT", "url": f"Patient/{hub_world.person}"}
    assert entry["resource"]["id"] == hub_world.person
    key = hub_keys.verifying_key(hub_keys.Ring.CLIENT, jwt.get_unverified_header(headers["X-HIE-Signature"])["kid"])
    assert key is not None
    claims = jwt.decode(headers["X-HIE-Signature"], key.public, algorithms=["ES384"], audience=consumer.url)
    assert claims["sha256"] == base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
    assert notices.deliver_all() == 0


def test_a_notice_stands_in_the_patients_log(hub_world: World, consumer: Consumer) -> None:
    hub_world.clinic.post("/Subscription", subscription(consumer.url))
    revise(birth_date="1971-04-10")
    notices.deliver_all()
    event = AuditEvent.objects.get(kind="notification-sent")
    assert (str(event.person_id), event.organization, event.purpose) == (hub_world.person, "org-clinic", "TREAT")
    assert Disclosure.objects.filter(event=event, what="demographics").count() == 2


def test_nothing_is_told_of_who_may_not_be_known(consumer: Consumer) -> None:
    people.world()
    assert Api(trust.token("org-clinic")).post("/Subscription", subscription(consumer.url)).status_code == 201
    people.fed(people.QUIET, "Q1", people.nora())
    assert OutboxMessage.objects.count() == 1
    notices.deliver_all()
    assert consumer.received == []
    assert AuditEvent.objects.filter(kind="notification-sent").count() == 0


def test_a_change_of_a_hidden_record_is_not_told_even_of_a_known_person(consumer: Consumer) -> None:
    people.world()
    people.fed(people.HOSPITAL, "H1", people.nora())
    Api(trust.token("org-clinic")).post("/Subscription", subscription(consumer.url))
    people.fed(people.QUIET, "Q1", people.nora())
    one, other = identifiers.resolve(people.HOSPITAL, "H1"), identifiers.resolve(people.QUIET, "Q1")
    assert one is not None
    assert other is not None
    if one.person_id != other.person_id:
        linking.link(other.source_record_id, one.person_id, actor="Staff/steward")
    linking.unlink(other.source_record_id, actor="Staff/steward")
    notices.deliver_all()
    assert consumer.received == []


@pytest.mark.parametrize(
    ("criteria", "told"),
    [
        ("Patient", True),
        ("Patient?_id={person}", True),
        ("Patient?_id=00000000-0000-4000-8000-000000000000", False),
        ("Patient?organization=Organization/org-hospital", True),
        ("Patient?organization=org-clinic", False),
        ("Patient?identifier=urn:oid:2.999.10.2.1|P1", True),
        ("Patient?identifier=urn:oid:2.999.10.2.1|P2", False),
        ("Patient?identifier=urn:oid:2.999.10.2.1|", True),
    ],
)
def test_criteria_narrow_what_is_told(hub_world: World, consumer: Consumer, criteria: str, told: bool) -> None:
    wanted = subscription(consumer.url, criteria.format(person=hub_world.person))
    assert hub_world.clinic.post("/Subscription", wanted).status_code == 201
    revise(birth_date="1971-04-10")
    notices.deliver_all()
    assert len(consumer.received) == int(told)


def test_a_merge_tells_the_survivor_and_who_it_replaces(hub_world: World, consumer: Consumer) -> None:
    stranger("P9")
    loser = identifiers.resolve(world.HOSPITAL_AUTHORITY, "P9")
    assert loser is not None
    hub_world.clinic.post("/Subscription", subscription(consumer.url))
    event = linking.merge(UUID(hub_world.person), loser.person_id, actor="Staff/steward")
    notices.deliver_all()
    survivor, subsumed = consumer.patients()
    assert survivor["resource"]["id"] == hub_world.person
    assert subsumed["resource"]["active"] is False
    assert subsumed["resource"]["link"] == [
        {"other": {"reference": f"Patient/{hub_world.person}"}, "type": "replaced-by"}
    ]
    linking.unmerge(event, actor="Staff/steward")
    notices.deliver_all()
    back = consumer.patients()[2:]
    assert {(e["resource"]["id"], e["resource"]["active"]) for e in back} == {
        (hub_world.person, True),
        (str(loser.person_id), True),
    }


def test_a_subscription_to_a_person_follows_her_into_a_merge_and_back(hub_world: World, consumer: Consumer) -> None:
    stranger("P9")
    loser = identifiers.resolve(world.HOSPITAL_AUTHORITY, "P9")
    assert loser is not None
    hub_world.clinic.post("/Subscription", subscription(consumer.url, f"Patient?_id={loser.person_id}"))

    def told_of(value: str, **changes: Any) -> list[str]:
        consumer.received.clear()
        revise(value, **changes)
        notices.deliver_all()
        return [entry["resource"]["id"] for entry in consumer.patients()]

    assert told_of("P1", birth_date="1971-04-10") == []
    event = linking.merge(UUID(hub_world.person), loser.person_id, actor="Staff/steward")
    notices.deliver_all()
    assert told_of("P1", birth_date="1971-04-09") == [hub_world.person]
    linking.unmerge(event, actor="Staff/steward")
    notices.deliver_all()
    assert told_of("P1", birth_date="1971-04-10") == []


def test_a_removed_record_that_was_all_there_was_is_told_as_deleted(hub_world: World, consumer: Consumer) -> None:
    stranger("P9")
    hub_world.clinic.post("/Subscription", subscription(consumer.url))
    feed.remove(world.HOSPITAL_AUTHORITY, "P9", world.hospital_caller())
    notices.deliver_all()
    (entry,) = consumer.patients()
    assert (entry["request"]["method"], "resource" in entry) == ("DELETE", False)


def test_a_failed_notice_is_tried_again_in_order_and_given_up_after_a_day(hub_world: World, consumer: Consumer) -> None:
    made = hub_world.clinic.post("/Subscription", subscription(consumer.url)).json()
    consumer.status = 503
    revise(birth_date="1971-04-10")
    revise(birth_date="1971-04-11")
    assert notices.deliver() == 1  # the second waits for the first
    first, second = OutboxMessage.objects.order_by("pk")
    assert (first.attempts, second.attempts, first.last_error) == (1, 0, "the endpoint answered 503")
    assert notices.deliver() == 0
    soon = datetime.now(UTC) + timedelta(minutes=1)
    assert notices.deliver(now=soon) == 1
    assert AuditEvent.objects.filter(kind="notification-sent").count() == 1
    assert notices.deliver(now=datetime.now(UTC) + timedelta(hours=25)) == 1
    first.refresh_from_db()
    assert first.failed_at is not None
    shown = hub_world.clinic.get(f"/Subscription/{made['id']}").json()
    assert (shown["status"], shown["error"]) == ("error", "the endpoint answered 503")
    consumer.status = 200
    assert outbox.try_again([first.pk]) == 1
    consumer.received.clear()
    assert notices.deliver_all() == 2
    assert len(consumer.received) == 2
    assert OutboxMessage.objects.filter(delivered_at__isnull=True).count() == 0


@pytest.mark.parametrize(("status", "given_up"), [(302, False), (410, True)])
def test_redirects_are_not_followed_and_gone_is_final(
    hub_world: World, consumer: Consumer, status: int, given_up: bool
) -> None:
    hub_world.clinic.post("/Subscription", subscription(consumer.url))
    consumer.status = status
    revise(birth_date="1971-04-10")
    notices.deliver()
    row = OutboxMessage.objects.get()
    assert (row.delivered_at, row.failed_at is not None) == (None, given_up)


def test_off_and_delete_end_it_and_requested_revives_it(hub_world: World, consumer: Consumer) -> None:
    made = hub_world.clinic.post("/Subscription", subscription(consumer.url)).json()
    where = f"/Subscription/{made['id']}"
    off = hub_world.clinic.call("PUT", where, made | {"status": "off"}, if_match='W/"1"')
    assert (off.status_code, off.json()["status"]) == (200, "off")
    revise(birth_date="1971-04-10")
    notices.deliver_all()
    assert consumer.received == []
    assert hub_world.clinic.call("PUT", where, made, if_match='W/"1"').status_code == 412
    assert hub_world.clinic.call("PUT", where, made | {"status": "requested"}).json()["status"] == "active"
    revise(birth_date="1971-04-11")
    notices.deliver_all()
    assert len(consumer.received) == 1
    assert hub_world.clinic.call("DELETE", where).status_code == 204
    assert hub_world.clinic.get(where).status_code == 404
    assert Subscription.objects.count() == 0


def test_a_subscription_is_its_clients_own(hub_world: World, consumer: Consumer) -> None:
    made = hub_world.clinic.post("/Subscription", subscription(consumer.url)).json()
    where = f"/Subscription/{made['id']}"
    other, none = hub_world.hospital.get(where), hub_world.hospital.get(f"/Subscription/{uuid4()}")
    assert (other.status_code, other.content) == (none.status_code, none.content) == (404, none.content)
    assert hub_world.hospital.call("DELETE", where).status_code == 404
    assert hub_world.hospital.get("/Subscription").json()["total"] == 0
    assert hub_world.clinic.get("/Subscription?status=active").json()["total"] == 1


def test_a_suspended_subscriber_is_told_nothing_more(hub_world: World, consumer: Consumer) -> None:
    hub_world.clinic.post("/Subscription", subscription(consumer.url))
    registration.apply(file(clinic(status="suspended")))
    revise(birth_date="1971-04-10")
    notices.deliver_all()
    assert consumer.received == []


@pytest.mark.parametrize(
    ("change", "expression"),
    [
        pytest.param({"status": "active"}, "Subscription.status", id="status"),
        pytest.param({"contact": None}, "Subscription.contact", id="contact"),
        pytest.param({"contact": [{"system": "phone"}]}, "Subscription.contact[0]", id="contact-value"),
        pytest.param({"criteria": "Observation"}, "Subscription.criteria", id="other-type"),
        pytest.param({"criteria": "Patient?birthdate=1970"}, "Subscription.criteria", id="other-criterion"),
        pytest.param({"criteria": "Patient?identifier=|"}, "Subscription.criteria", id="empty-criterion"),
        pytest.param({"channel": {"type": "email"}}, "Subscription.channel.type", id="channel"),
        pytest.param(
            {"channel": {"type": "message", "endpoint": "https://evil.example/x", "payload": "application/fhir+json"}},
            "Subscription.channel.endpoint",
            id="unregistered-host",
        ),
        pytest.param(
            {"channel": {"type": "message", "endpoint": "http://10.0.0.1/x", "payload": "application/fhir+json"}},
            "Subscription.channel.endpoint",
            id="plain",
        ),
        pytest.param(
            {"channel": {"type": "message", "endpoint": "http://127.0.0.1/x", "payload": "application/fhir+xml"}},
            "Subscription.channel.payload",
            id="payload",
        ),
    ],
)
def test_a_subscription_that_cannot_be_kept_is_refused_by_name(
    hub_world: World, change: dict[str, Any], expression: str
) -> None:
    answer = hub_world.clinic.post("/Subscription", subscription("http://127.0.0.1:9/x", **change))
    assert answer.status_code == 422
    assert expression in [place for issue in answer.json()["issue"] for place in issue.get("expression", ())]
    assert Subscription.objects.count() == 0


def pix_consumer(mllp: MllpConsumer) -> dict[str, Any]:
    """The clinic as a system that is told over MLLP, for the purpose of its registration."""
    return clinic(
        scopes=["system/*.cruds"],
        default_role="system",
        default_purpose="TREAT",
        endpoints=[{"kind": "mllp", "url": mllp.url}],
    )


def test_a_pix_consumer_is_told_over_mllp_which_identifiers_belong_together(
    hub_world: World, mllp: MllpConsumer
) -> None:
    registration.apply(file(pix_consumer(mllp)))
    stranger("P9")
    loser = identifiers.resolve(world.HOSPITAL_AUTHORITY, "P9")
    assert loser is not None
    linking.merge(UUID(hub_world.person), loser.person_id, actor="Staff/steward")
    assert notices.deliver_all() == 1  # a new patient alone is no cross-reference
    (message,) = mllp.received
    segments = {line.split("|")[0]: line.split("|") for line in message.split("\r") if line}
    assert (segments["MSH"][8], segments["EVN"][1], segments["PV1"][2]) == ("ADT^A31^ADT_A05", "A31", "N")
    told = segments["PID"][3].split("~")
    for wanted in ("P1^^^&2.999.10.2.1&ISO", "P9^^^&2.999.10.2.1&ISO", "C1^^^&2.999.10.1.1&ISO"):
        assert wanted in told
    assert segments["PID"][5] == "~^^^^^^S"
    assert OutboxMessage.objects.get().delivered_at is not None


@pytest.mark.parametrize(("code", "given_up"), [("AE", False), ("AR", True)])
def test_an_error_is_tried_again_and_a_rejection_is_not(
    hub_world: World, mllp: MllpConsumer, code: str, given_up: bool
) -> None:
    registration.apply(file(pix_consumer(mllp)))
    mllp.code = code
    feed.remove(world.HOSPITAL_AUTHORITY, "P1", world.hospital_caller())
    notices.deliver()
    row = OutboxMessage.objects.get()
    assert (row.delivered_at, row.failed_at is not None, row.last_error) == (None, given_up, f"acknowledged {code}")


def test_an_endpoint_that_is_not_there_costs_only_its_own_notices(hub_world: World, consumer: Consumer) -> None:
    hub_world.clinic.post("/Subscription", subscription("http://127.0.0.1:9/nobody"))
    hub_world.hospital.post("/Subscription", subscription(consumer.url))
    revise(birth_date="1971-04-10")
    notices.deliver()
    assert len(consumer.received) == 1
    assert OutboxMessage.objects.filter(delivered_at__isnull=True).count() == 1


def test_a_receiver_that_never_ends_its_answer_keeps_nobody_waiting(
    hub_world: World, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "WAIT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hub_world.clinic.post("/Subscription", subscription(f"http://127.0.0.1:{silent.getsockname()[1]}/"))
        hub_world.hospital.post("/Subscription", subscription(consumer.url))
        revise(birth_date="1971-04-10")
        notices.deliver()
    assert len(consumer.received) == 1
    row = OutboxMessage.objects.get(delivered_at__isnull=True)
    assert (row.attempts, row.last_error) == (1, "no answer in time")


def test_delivered_notices_are_forgotten_after_a_month_and_others_never(hub_world: World, consumer: Consumer) -> None:
    hub_world.clinic.post("/Subscription", subscription(consumer.url))
    hub_world.clinic.post("/Subscription", subscription("http://127.0.0.1:9/nobody"))
    revise(birth_date="1971-04-10")
    notices.deliver()
    retention.carry_on(until=time.monotonic() + 60)
    assert OutboxMessage.objects.count() == 2
    retention.carry_on(until=time.monotonic() + 60, now=datetime.now(UTC) + timedelta(days=31))
    assert OutboxMessage.objects.count() == 1


# --- the feed by message ---------------------------------------------------------------------------------------------


def patient(value: str, **changes: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "identifier": [{"system": f"urn:oid:{world.HOSPITAL_AUTHORITY}", "value": value}],
        "name": [{"family": "Sallow", "given": ["Petra"]}],
        "gender": "female",
        "birthDate": "1988-08-18",
    } | changes


def entry(method: str, url: str, resource: dict[str, Any] | None = None, full_url: str = "") -> dict[str, Any]:
    status = {"POST": "201", "PUT": "200", "DELETE": "204"}[method]
    one: dict[str, Any] = {"request": {"method": method, "url": url}, "response": {"status": status}}
    if resource is not None:
        one["resource"] = resource
    if full_url:
        one["fullUrl"] = full_url
    return one


def message(*entries: dict[str, Any], **header: Any) -> dict[str, Any]:
    head = {
        "resourceType": "MessageHeader",
        "id": "h1",
        "eventUri": EVENT,
        "source": {"endpoint": "https://north.example/fhir"},
        "destination": [{"endpoint": "https://hub.example/fhir/$process-message"}],
        "focus": [{"reference": "urn:uuid:0a0a0a0a-0000-4000-8000-000000000002"}],
        "definition": "https://profiles.ihe.net/ITI/PMIR/MessageDefinition/IHE.PMIR.MessageDefinition",
    } | header
    return {
        "resourceType": "Bundle",
        "type": "message",
        "entry": [
            {"fullUrl": "urn:uuid:0a0a0a0a-0000-4000-8000-000000000001", "resource": head},
            {
                "fullUrl": "urn:uuid:0a0a0a0a-0000-4000-8000-000000000002",
                "resource": {"resourceType": "Bundle", "type": "history", "entry": list(entries)},
            },
        ],
    }


def send(hub_world: World, *entries: dict[str, Any], **header: Any) -> Any:
    return hub_world.hospital.post("/$process-message", message(*entries, **header))


def person(value: str) -> UUID | None:
    found = identifiers.resolve(world.HOSPITAL_AUTHORITY, value)
    return found.person_id if found else None


def test_a_message_creates_revises_merges_and_removes(hub_world: World) -> None:
    answer = send(
        hub_world,
        entry("POST", "Patient", patient("M1"), "https://north.example/fhir/Patient/1"),
        entry("POST", "Patient", patient("M2", birthDate="1944-01-30", name=[{"family": "Wren", "given": ["Ogden"]}])),
    )
    assert answer.status_code == 200
    (header,) = (one["resource"] for one in answer.json()["entry"])
    assert (header["eventUri"], header["response"]) == (f"{EVENT}-response", {"identifier": "h1", "code": "ok"})
    assert "destination" not in header
    assert person("M1") != person("M2")
    link = {"link": [{"other": {"reference": "https://north.example/fhir/Patient/1"}, "type": "replaced-by"}]}
    merged = send(
        hub_world,
        entry("PUT", "Patient/2", patient("M2", active=False, **link)),
        entry("PUT", "Patient/1", patient("M1", gender="other"), "https://north.example/fhir/Patient/1"),
    )
    assert merged.status_code == 200
    assert person("M1") == person("M2")
    undone = send(hub_world, entry("PUT", "Patient/2", patient("M2")))
    assert undone.status_code == 405
    removed = send(hub_world, entry("DELETE", f"Patient?identifier=urn:oid:{world.HOSPITAL_AUTHORITY}|M1"))
    assert removed.status_code == 200
    found = identifiers.resolve(world.HOSPITAL_AUTHORITY, "M1")
    assert found is not None
    assert not found.active


def test_a_message_is_done_whole_or_not_at_all(hub_world: World) -> None:
    answer = send(
        hub_world,
        entry("POST", "Patient", patient("M1")),
        entry(
            "PUT",
            "Patient/2",
            patient("M2", active=False, link=[{"other": {"reference": "Patient/7"}, "type": "replaced-by"}]),
        ),
    )
    assert answer.status_code == 422
    assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[1].resource.entry[1].resource.link[0].other"]
    assert person("M1") is None


@pytest.mark.parametrize(
    ("header", "expression"),
    [
        ({"eventUri": "urn:other"}, "Bundle.entry[0].resource.eventUri"),
        ({"focus": [{"reference": "urn:uuid:0a0a0a0a-0000-4000-8000-000000000009"}]}, "Bundle.entry[0].resource.focus"),
    ],
)
def test_a_message_of_another_kind_is_refused_by_name(hub_world: World, header: Any, expression: str) -> None:
    answer = send(hub_world, entry("POST", "Patient", patient("M1")), **header)
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (422, [expression])
    assert person("M1") is None


def test_a_patient_of_anothers_domain_is_forbidden(hub_world: World) -> None:
    foreign = patient("X", identifier=[{"system": f"urn:oid:{world.CLINIC_AUTHORITY}", "value": "C9"}])
    assert send(hub_world, entry("POST", "Patient", foreign)).status_code == 403


def test_a_message_needs_a_scope_for_all_it_may_do(hub_world: World) -> None:
    north = trust.b2b(subject_id="Practitioner/north", organization_id="urn:oid:2.999.10.2")
    reader = Api(trust.token("org-hospital", scope="system/Patient.rs", extensions={"hl7-b2b": north}))
    assert reader.post("/$process-message", message(entry("POST", "Patient", patient("M1")))).status_code == 403
    assert reader.get("/$process-message").status_code == 405
