"""Within five seconds, over processes: a suspension bites wherever something is under way, and a look is in the log.

A whole hub with three web processes and two workers. Whoever is suspended holds a token, a question that is still out, a
stream of its events and a document half sent. Run by `./hub test -m survival`, like every test of whole hubs.
"""

from __future__ import annotations

import json
import re
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from hie.ops.bench import fanout, log, place
from hie.ops.bench.exchange import patient, reference
from hie.ops.bench.place import USER, Place
from tests.ops.test_survival import homes, peer

pytestmark = [pytest.mark.slow, pytest.mark.survival]

WITHIN_S = 5.0
ASKER, HOLDER = "2.999.8.41", "2.999.8.42"
BYTES = 44 << 20
_PASSWORD = secrets.token_urlsafe(18)
PEOPLE = [{"id": f"Practitioner/{n}", "name": f"Reader Number {n}", "role": "physician"} for n in range(6)]


@pytest.fixture(scope="module")
def hub() -> Iterator[Place]:
    with place.running(HIE_WEB_WORKERS="3", HIE_WORKERS="2") as started:
        asker = started.participant("asker", "hospital", 41, ["TREAT"])
        holder = started.participant("holder", "hospital", 42, ["TREAT"])
        portal = started.participant("portal", "patient-portal", 43, ["PATRQT", "FAMRQT"])
        asker["users"] += PEOPLE
        started.register([asker, holder, {**portal, "users": []}])
        for name, oid in (("asker", ASKER), ("holder", HOLDER)):
            started.clients[name].feed(patient(1, f"{oid}.1"), f"urn:oid:{oid}.1", "B1")
        content = reference(f"{HOLDER}.1", "B1", secrets.token_bytes(BYTES // 2).hex().encode())
        started.clients["holder"].call("POST", "/fhir/DocumentReference", user=USER, purpose="TREAT", json=content)
        accounts = {
            "patients": [{"login": "bench", "password": _PASSWORD, "name": "Bench Patient", "identifier": f"B1^^^&{ASKER}.1&ISO"}],
            "staff": [{"username": "ona", "password": _PASSWORD, "totp_secret": log._TOTP, "roles": ["onboarding"]}],
        }  # fmt: skip
        path = started.folder / "accounts.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(accounts))
        started.hub("accounts", str(path))
        yield started


def port_of(process: subprocess.Popen[bytes]) -> int:
    """The port that the communities of `peer` listen on."""
    return int(str(list(process.args)[-1]))  # type: ignore[arg-type]  # the list that `peer` starts it by


@pytest.fixture(scope="module")
def desk(hub: Place) -> Iterator[httpx.Client]:
    """The desk as onboarding staff, signed in once: a code of the second factor is taken once in its half minute."""
    with httpx.Client(base_url=hub.base_url, timeout=60, follow_redirects=True) as client:
        form = {"username": "ona", "password": _PASSWORD, "otp_token": log._code(log._TOTP), "next": "/admin/"}
        log._send(client, "/admin/login/", form)
        yield client


def suspend(desk: httpx.Client, participant: str) -> tuple[float, float]:
    """Suspend at its task, as onboarding staff do: just before it was pressed, and when the desk had done it."""
    address = f"/admin/tasks/raised/{participant}/"
    page = desk.get(address)
    assert page.url.path == address
    form = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
    form |= {"act": "decide", "outcome": "suspend", "reason": "It sends what it must not"}
    began = time.monotonic()
    desk.post(address, data=form, headers={"Referer": str(desk.base_url)})
    done = time.monotonic()
    assert participant in desk.get("/admin/directory/participant/?status__exact=suspended").text
    return began, done


@dataclass
class Watched:
    """What somebody saw, with when: (instant, what)."""

    seen: list[tuple[float, Any]] = field(default_factory=list)
    ended: float | None = None

    def note(self, what: Any) -> None:
        self.seen.append((time.monotonic(), what))

    def last(self, wanted: Callable[[Any], bool]) -> float:
        """When something of this kind was seen last; 0 for never."""
        return max((at for at, what in self.seen if wanted(what)), default=0.0)


def get(hub: Place, token: str, path: str, **more: Any) -> httpx.Response:
    """On a connection of its own, so that any of the processes may answer."""
    headers = {"Authorization": f"Bearer {token}", **more.pop("headers", {})}
    return httpx.get(f"{hub.base_url}{path}", headers=headers, timeout=60, **more)


def keep_asking(hub: Place, token: str, path: str, stop: threading.Event) -> Watched:
    """Ask over and over, and note what is answered: the status, and how many documents."""
    watched = Watched()
    while not stop.is_set():
        answer = get(hub, token, path)
        watched.note((answer.status_code, answer.json().get("total") if answer.status_code == 200 else None))
        time.sleep(0.02)
    return watched


def keep_reading(hub: Place, token: str, path: str, stop: threading.Event) -> Watched:
    """Read a document slowly, and note the bytes until it ends.

    What the system's own buffer holds has left the hub: it is small here, else it would go on for seconds by itself.
    """
    watched = Watched()
    headers = {"Authorization": f"Bearer {token}", "Accept": "*/*"}
    small = httpx.HTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)])
    with (
        httpx.Client(transport=small, timeout=60) as client,
        suppress(httpx.HTTPError),
        client.stream("GET", f"{hub.base_url}{path}", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        for piece in answer.iter_raw(1 << 16):
            watched.note(len(piece))
            if stop.is_set():
                return watched
            time.sleep(0.02)
    watched.ended = time.monotonic()
    return watched


def keep_listening(hub: Place, token: str, path: str, stop: threading.Event) -> Watched:
    """Follow the events of a question, and note each line until it ends."""
    watched = Watched()
    headers = {"Authorization": f"Bearer {token}"}
    with suppress(httpx.HTTPError), httpx.stream("GET", f"{hub.base_url}{path}", headers=headers, timeout=60) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            watched.note(line)
            if stop.is_set():
                return watched
    watched.ended = time.monotonic()
    return watched


@contextmanager
def beside(*acts: Callable[[threading.Event], Watched]) -> Iterator[tuple[threading.Event, list[Any]]]:
    """Run these while the block lasts; `stop` ends those that do not end by themselves."""
    stop = threading.Event()
    with ThreadPoolExecutor(len(acts)) as pool:
        running = [pool.submit(act, stop) for act in acts]
        try:
            yield stop, running
        finally:
            stop.set()


def slow_question(hub: Place, port: int, token: str, delays_s: Mapping[int, float]) -> str:
    """Ask communities that answer after so many seconds; the id of the question."""
    hub.register([fanout._community(number, port) for number in delays_s])
    for number, delay in delays_s.items():
        behaviour = {"mode": "slow", "delay_s": delay / 3}  # three steps: token, patient, documents
        httpx.put(f"http://127.0.0.1:{port}/c/{number}/control", json=behaviour).raise_for_status()
    body = {
        "patient": {"identifier": {"system": f"urn:oid:{ASKER}.1", "value": "B1"}},
        "deadline_s": 60,
        "targets": homes(len(delays_s)),
    }
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx.post(f"{hub.base_url}/api/queries", json=body, headers=headers, timeout=60)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


SEARCH = f"/fhir/DocumentReference?patient.identifier=urn:oid:{ASKER}.1|B1&status=current&_count=5"


def document_of(hub: Place, token: str) -> str:
    """The path of the large document, as the asker finds it."""
    found = get(hub, token, SEARCH).json()
    assert found["total"] == 1, found
    url = str(found["entry"][0]["resource"]["content"][0]["attachment"]["url"])
    return url.removeprefix(hub.base_url)


def test_a_look_is_in_the_patients_log_within_five_seconds_in_every_process(hub: Place) -> None:
    with httpx.Client(base_url=hub.base_url, timeout=60, follow_redirects=True) as client:
        log._send(client, "/my/sign-in", {"login": "bench", "password": _PASSWORD})
        cookies = dict(client.cookies)

    def log_page() -> str:
        answer = httpx.get(f"{hub.base_url}/my/", cookies=cookies, timeout=60)
        assert answer.status_code == 200
        return answer.text

    for _ in range(12):
        log_page()  # each of the processes has read its policy and shown the log once
    took = []
    for person in PEOPLE:
        assert person["name"] not in log_page()
        hub.clients["asker"].call("GET", SEARCH, user=person, purpose="TREAT")
        looked = time.monotonic()
        while person["name"] not in log_page():
            assert time.monotonic() < looked + WITHIN_S
        took.append(time.monotonic() - looked)
        # In each of them, not in one: on connections of their own.
        for _ in range(9):
            assert person["name"] in log_page()
    assert max(took) < WITHIN_S


def test_a_suspended_custodian_gives_out_nothing_more_within_five_seconds(hub: Place, desk: httpx.Client) -> None:
    token = hub.clients["asker"].token(USER, "TREAT")
    path = document_of(hub, token)
    with beside(
        lambda stop: keep_asking(hub, token, SEARCH, stop), lambda stop: keep_reading(hub, token, path, stop)
    ) as (stop, running):
        time.sleep(2)
        began, done = suspend(desk, "holder")
        time.sleep(WITHIN_S + 2)
        stop.set()
        asking, reading = (one.result(60) for one in running)
    assert asking.last(lambda what: what == (200, 1)) > 0
    assert asking.last(lambda what: what == (200, 1)) < began + WITHIN_S
    assert asking.last(lambda what: what == (200, 0)) > began + WITHIN_S
    assert reading.ended is not None
    # What had left before still comes through the buffers of the system, some seconds of it at this pace.
    assert began < reading.ended < done + WITHIN_S
    assert sum(size for _, size in reading.seen) < BYTES


def test_a_suspended_community_adds_nothing_to_a_question_that_is_out(hub: Place, desk: httpx.Client) -> None:
    token = hub.clients["asker"].token(USER, "TREAT")
    with peer(place.free_port()) as process:
        port = port_of(process)
        query_id = slow_question(hub, port, token, {1: 6.0, 2: 6.0})
        with beside(lambda stop: keep_listening(hub, token, f"/api/queries/{query_id}/events", stop)) as (_, running):
            began, _ = suspend(desk, "fan-2")
            listening = running[0].result(60)
        answer = get(hub, token, f"/api/queries/{query_id}?wait=20").json()
    assert answer["status"] == "complete"
    told = [json.loads(line[6:]) for _, line in listening.seen if line.startswith("data: ")]
    shown = json.dumps([*told, answer["documents"]])
    assert "urn:oid:2.999.9.1" in shown
    documents = [one for one in told if one.get("resourceType") == "DocumentReference"]
    assert documents, "the other community's documents came"
    assert "2.999.9.2" not in json.dumps([documents, answer["documents"]])
    assert listening.last(lambda line: "DocumentReference" in line) > began


def test_a_suspended_asker_is_refused_everywhere_within_five_seconds(hub: Place, desk: httpx.Client) -> None:
    """Its token in hand, a new token, the stream of its question, the wait for it, and what comes of it later."""
    client = hub.clients["asker"]
    token = client.token(USER, "TREAT")
    with peer(place.free_port()) as process:
        port = port_of(process)
        query_id = slow_question(hub, port, token, {1: 12.0})
        own = f"/api/queries/{query_id}"
        waited = Watched()

        def wait(stop: threading.Event) -> Watched:
            waited.note(get(hub, token, f"{own}?wait=30").status_code)
            return waited

        with beside(
            lambda stop: keep_asking(hub, token, SEARCH, stop),
            lambda stop: keep_listening(hub, token, f"{own}/events", stop),
            wait,
        ) as (stop, running):
            time.sleep(1.5)
            began, _ = suspend(desk, "asker")
            time.sleep(WITHIN_S + 3)
            stop.set()
            asking, listening, _ = (one.result(60) for one in running)
        # The community has answered by now: whoever may not ask is shown nothing of it.
        time.sleep(max(0.0, began + 14 - time.monotonic()))
        late = {get(hub, token, own).status_code for _ in range(12)}
    assert asking.last(lambda what: what[0] == 200) > 0
    assert asking.last(lambda what: what[0] == 200) < began + WITHIN_S
    assert {what[0] for at, what in asking.seen if at > began + WITHIN_S} <= {401, 403}
    assert sum(at > began + WITHIN_S for at, _ in asking.seen) > 20
    assert listening.ended is not None
    assert began < listening.ended < began + WITHIN_S
    assert [line for _, line in listening.seen if line.startswith("event: ")][-1] == "event: error"
    assert not [line for _, line in listening.seen if "DocumentReference" in line]
    assert {what for _, what in waited.seen} <= {401, 403}
    assert late <= {401, 403}
    assert client.request_token(USER, "TREAT").status_code in {400, 401, 403}
