"""A question to 100 simulated communities, of which 10 are dead and 10 slow; once, and 20 at a time."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from hie.ops.bench.exchange import patient
from hie.ops.bench.place import USER, Place, free_port
from hie.ops.sandbox.hub import Client

COMMUNITIES = 100
DEAD, SLOW = 10, 10
HEALTHY = COMMUNITIES - DEAD - SLOW
DEADLINE_S = 2.0
AT_ONCE = 20


def run(place: Place) -> list[dict[str, Any]]:
    """Rows for one query and for 20 at once; a row says how many healthy answers missed the deadline."""
    port, closed = free_port(), free_port()
    process = subprocess.Popen([sys.executable, "-m", "hie.ops.sandbox.peer", "--port", str(port), "--delay", "0.05"])
    try:
        base = f"http://127.0.0.1:{port}"
        _wait(base)
        for number in range(DEAD + 1, DEAD + SLOW + 1):
            httpx.put(f"{base}/c/{number}/control", json={"mode": "slow", "delay_s": 20}).raise_for_status()
        entries = [place.participant("fan-hospital", "hospital", 11, ["TREAT"])]
        entries += [_community(number, closed if number <= DEAD else port) for number in range(1, COMMUNITIES + 1)]
        place.register(entries)
        client = place.clients["fan-hospital"]
        authority = f"{client.organization_oid}.1"
        client.feed(patient(900_001, authority), f"urn:oid:{authority}", "B900001")
        body = {
            "patient": {"identifier": {"system": f"urn:oid:{authority}", "value": "B900001"}},
            "deadline_s": DEADLINE_S,
        }
        client.token(USER, "TREAT")
        # Tokens and connections as a hub in use has them: the first question pays for them.
        asker = _Asker(client)
        asker.ask(body | {"deadline_s": 9})
        # A connection each, made before the clock runs: a client in use has one.
        askers = [asker, *(_Asker(client) for _ in range(AT_ONCE - 1))]
        rows = []
        # The burst twice: the first opens the connections to all peers, the second finds them as a hub in use does.
        burst = f"fanout 100 x {AT_ONCE}"
        for name, at_once in (("fanout 100", 1), (f"{burst} cold", AT_ONCE), (burst, AT_ONCE)):
            before, began = place.cpu_s(), time.perf_counter()
            with ThreadPoolExecutor(at_once) as pool:
                asked = list(pool.map(lambda asking: asking.ask(body), askers[:at_once]))
            took = sorted(seconds for seconds, _ in asked)
            missing = sum(late for _, late in asked)
            elapsed = time.perf_counter() - began
            rows.append(
                {
                    "name": name,
                    "cpu_ms": round((place.cpu_s() - before) / at_once * 1000, 1),
                    "rate_per_s": round(at_once / elapsed, 2),
                    "p50_ms": round(took[len(took) // 2] * 1000, 1),
                    "p99_ms": round(took[-1] * 1000, 1),
                    "ceiling": f"deadline {DEADLINE_S * 1000:.0f} ms",
                    "note": f"{DEAD} dead, {SLOW} slow, {HEALTHY} healthy at 50 ms a step; "
                    f"{missing} of {HEALTHY * at_once} healthy answers missed the deadline",
                }
            )
        return rows
    finally:
        # Slow peers still hold their answers back: nothing of theirs is worth waiting for.
        process.kill()
        process.wait(10)


def _community(number: int, port: int) -> dict[str, Any]:
    oid = f"2.999.9.{number}"
    return {
        "id": f"fan-{number}",
        "name": f"Community {number}",
        "type": "community",
        "organization_oid": oid,
        "home_community_id": f"urn:oid:{oid}",
        "jwks": {"keys": []},
        "scopes": [],
        "purposes": ["TREAT"],
        "agreement": {"status": "active", "period": {"start": "2026-01-01"}, "labels_documents": True},
        "endpoints": [{"kind": "fhir", "url": f"http://127.0.0.1:{port}/c/{number}/fhir"}],
    }


class _Asker:
    """A client system that asks and waits, on a connection of its own."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._http = httpx.Client(base_url=client.base_url, timeout=60.0)

    def ask(self, body: dict[str, Any]) -> tuple[float, int]:
        """Ask once and wait: the time to the complete list, and how many healthy communities are not among the answers."""
        headers = {"Authorization": f"Bearer {self._client.token(USER, 'TREAT')}", "Prefer": "wait=10"}
        began = time.perf_counter()
        answer = self._http.post("/api/queries", json=body, headers=headers)
        took = time.perf_counter() - began
        if answer.status_code != 200:
            raise RuntimeError(f"the query answered {answer.status_code}: {answer.text[:300]}")
        states: dict[str, int] = {}
        for target in answer.json()["targets"]:
            states[target["status"]] = states.get(target["status"], 0) + 1
        return took, HEALTHY - states.get("answered", 0)


def _wait(base: str) -> None:
    for _ in range(100):
        try:
            httpx.get(f"{base}/healthz", timeout=1)
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the peers did not start")
