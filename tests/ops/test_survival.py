"""A whole hub, killed in the middle of a question: nothing is lost, nothing doubled; a hub added by hand is asked.

Real processes, real kills. Run by `./hub test -m survival`; a lane of its own in `.ci/run`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hie.ops.bench import fanout, place
from hie.ops.bench.exchange import patient
from hie.ops.bench.place import USER, Place

pytestmark = [pytest.mark.slow, pytest.mark.survival]

DELAY_S = 3


@contextlib.contextmanager
def peer(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Simulated communities in a process of their own."""
    process = subprocess.Popen([sys.executable, "-m", "hie.ops.sandbox.peer", "--port", str(port)])
    try:
        fanout._wait(f"http://127.0.0.1:{port}")
        yield process
    finally:
        process.kill()
        process.wait(10)


@pytest.fixture(scope="module")
def hub() -> Iterator[Place]:
    with place.running() as started:
        started.register([started.participant("org", "hospital", 21, ["TREAT"])])
        started.clients["org"].feed(patient(1, "2.999.8.21.1"), "urn:oid:2.999.8.21.1", "B1")
        yield started


def communities(hub: Place, port: int, count: int) -> None:
    """Register as many communities of one peer process, all slow."""
    hub.register([fanout._community(number, port) for number in range(1, count + 1)])
    for number in range(1, count + 1):
        behaviour = {"mode": "slow", "delay_s": DELAY_S / 3}  # three steps: token, patient, documents
        httpx.put(f"http://127.0.0.1:{port}/c/{number}/control", json=behaviour).raise_for_status()


def call(hub: Place, method: str, path: str, **more: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {hub.clients['org'].token(USER, 'TREAT')}"} | more.pop("headers", {})
    return httpx.request(method, f"{hub.base_url}{path}", headers=headers, timeout=60, **more)


def ask(hub: Place, targets: list[str]) -> str:
    body = {
        "patient": {"identifier": {"system": "urn:oid:2.999.8.21.1", "value": "B1"}},
        "deadline_s": 60,
        "targets": targets,
    }
    answer = call(hub, "POST", "/api/queries", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def settled(hub: Place, query_id: str, *, within_s: float = 40) -> dict[str, Any]:
    until = time.monotonic() + within_s
    while True:
        body: dict[str, Any] = call(hub, "GET", f"/api/queries/{query_id}", params={"wait": 5}).json()
        if body["status"] == "complete" and all(target["status"] == "answered" for target in body["targets"]):
            return body
        assert time.monotonic() < until, body["targets"]


def pids(hub: Place, word: str) -> list[int]:
    found = []
    for pid in place.tree(hub.process.pid):
        with contextlib.suppress(OSError):
            if word in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "):
                found.append(pid)
    return found


def homes(count: int) -> list[str]:
    return [f"urn:oid:2.999.9.{number}" for number in range(1, count + 1)]


@pytest.mark.parametrize("victim", ["hie.ops.worker", "valkey-server", "hie.ops.web"])
def test_a_killed_process_ends_the_hub_with_an_error_and_its_next_start_finishes_the_question(
    hub: Place, victim: str
) -> None:
    with peer(place.free_port()) as process:
        port = int(process.args[-1])  # type: ignore[index]  # the list given above
        communities(hub, port, 4)
        query_id = ask(hub, homes(4))
        time.sleep(0.5)
        for pid in pids(hub, victim):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert hub.process.wait(60) == 1, "the supervisor did not end with an error"
        place.start(hub)
        body = settled(hub, query_id)
        assert len(body["documents"]) == 4
        assert len({document["masterIdentifier"]["value"] for document in body["documents"]}) == 4


def test_a_hub_killed_whole_starts_again_with_nothing_lost(hub: Place) -> None:
    with peer(place.free_port()) as process:
        communities(hub, int(process.args[-1]), 3)  # type: ignore[index]  # the list given above
        query_id = ask(hub, homes(3))
        everyone = place.tree(hub.process.pid)
        for pid in everyone:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        hub.process.wait(30)
        place.start(hub)
        assert len(settled(hub, query_id)["documents"]) == 3
        verified = hub.hub("verify_audit")
        assert '"ok": true' in verified.stdout.replace('"ok":true', '"ok": true')


def test_a_peer_killed_in_the_middle_still_gives_its_answer_when_it_is_back(hub: Place) -> None:
    port = place.free_port()
    with peer(port) as process:
        communities(hub, port, 1)
        query_id = ask(hub, homes(1))
        until = time.monotonic() + 20
        while not httpx.get(f"http://127.0.0.1:{port}/c/1/control").json()["asked"]:
            assert time.monotonic() < until, "the peer was never asked"
            time.sleep(0.05)
        process.kill()
        process.wait(10)
    with peer(port):
        assert len(settled(hub, query_id)["documents"]) == 1


def test_a_hub_started_by_hand_and_added_with_participants_is_asked_by_the_next_question(hub: Place) -> None:
    """Two hubs of this code that never met: each is registered at the other with the command, then asked."""
    with place.running(HIE_HOME_COMMUNITY_ID="urn:oid:2.999.77", HIE_ASSIGNING_AUTHORITY="2.999.77.1") as third:
        asker_home, asker_client = "2.999.1.1", "urn:oid:2.999.1.1"
        third.register(
            [
                third.participant("third-hospital", "hospital", 31, ["TREAT"]),
                {
                    "id": "first-hub",
                    "name": "First hub",
                    "type": "community",
                    "organization_oid": asker_home,
                    "home_community_id": f"urn:oid:{asker_home}",
                    "client_id": asker_client,
                    "jwks_url": f"{hub.base_url}/oauth/jwks",
                    "scopes": ["system/Patient.rs", "system/DocumentReference.rs", "system/Binary.r"],
                    "purposes": ["TREAT"],
                },
            ]
        )
        client = third.clients["third-hospital"]
        client.feed(patient(1, "2.999.8.31.1"), "urn:oid:2.999.8.31.1", "B1")
        from hie.ops.bench.exchange import reference

        content = b"a letter of the third hub\n"
        client.call("POST", "/fhir/DocumentReference", json=reference("2.999.8.31.1", "B1", content))
        hub.register(
            [
                {
                    "id": "third-hub",
                    "name": "Third hub",
                    "type": "community",
                    "organization_oid": "2.999.77",
                    "home_community_id": "urn:oid:2.999.77",
                    "jwks": {"keys": []},
                    "scopes": [],
                    "purposes": ["TREAT"],
                    "agreement": {"status": "active", "period": {"start": "2026-01-01"}, "labels_documents": True},
                    "endpoints": [{"kind": "fhir", "url": f"{third.base_url}/fhir"}],
                }
            ]
        )
        body = settled(hub, ask(hub, ["urn:oid:2.999.77"]))
        (document,) = body["documents"]
        url = document["content"][0]["attachment"]["url"]
        assert url.startswith(hub.base_url)
        read = call(hub, "GET", url.removeprefix(hub.base_url), headers={"Accept": "*/*"})
        assert read.content == content
